"""A cluster of real processes on this machine: zones, sites, and the lines between them, each of which can fail.

One class serves the demo, live chaos and the benchmarks. Every node is a process with a folder of its own under one
data folder: its configuration, its log, its store. Every port is held before the first process starts, and every line
that may be cut is a proxy, so no address changes when a node comes back. No child outlives the `async with`.

```python
async with open_cluster(Plan(folder, zones=3, sites=(SitePlan("fr.health.samu440"),))) as cluster:
    await cluster.start_all()
    await cluster.kill("zone-1")
    cluster.cut("fr.health.samu440")
```

Left out: what is said to the nodes (runtime/client.py), and when something is to fail: that is the caller's plan.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from replica.config import (
    ClusterSection,
    Limits,
    SiteConfig,
    SiteSection,
    Timing,
    ZoneConfig,
    ZonePeer,
    ZoneSection,
    check_site,
    check_zone,
)
from replica.demo.processes import Child, ProcessFailed, hold_port
from replica.demo.proxy import Mode, Proxy
from replica.errors import ConfigError

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0
CONFIG_FILE: Final = "config.toml"
LOG_FILE: Final = "stderr.log"
TIMING: Final = Timing()
LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class SitePlan:
    """A site: its Samu's organisation id, and the organisations it speaks for besides."""

    name: str
    organisations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cluster is made of. `zone_lines`: lines between zones are proxies too, so that they can be cut."""

    folder: Path
    zones: int = 3
    sites: tuple[SitePlan, ...] = ()
    site_lines: bool = True
    zone_lines: bool = False
    cluster: str = "demo"
    timing: Timing = TIMING
    limits: Limits = LIMITS
    program: tuple[str, ...] = (sys.executable, "-m", "replica")
    """What is run, before `zone CONFIG` or `site CONFIG`. The tests have one of their own."""

    def __post_init__(self) -> None:
        if not 1 <= self.zones <= 7:
            raise ConfigError("zones", f"{self.zones} is not a number of 1 to 7")
        names = [site.name for site in self.sites]
        if len(set(names)) != len(names):
            raise ConfigError("sites", f"a name is there twice: {sorted(names)}")

    @property
    def zone_names(self) -> tuple[str, ...]:
        return tuple(f"zone-{number}" for number in range(1, self.zones + 1))

    @property
    def site_names(self) -> tuple[str, ...]:
        return tuple(site.name for site in self.sites)


@dataclass(eq=False, slots=True)
class Node:
    """One process of the cluster. `data`: its store, to be read once it is stopped."""

    name: str
    role: str
    address: str
    data: Path
    child: Child
    held: socket.socket
    started: int = 0
    """How often it was started; a founding zone may vote with an empty store only the first time."""
    wanted: bool = False
    """Whether it is meant to run now: an end while it is, is a crash."""


@dataclass(eq=False)
class Cluster:
    """Built by `open_cluster`. Names of nodes and lines are those of the plan; an unknown one raises KeyError."""

    plan: Plan
    nodes: dict[str, Node]
    lines: dict[tuple[str, str], Proxy]
    """(who connects, to whom) → the line."""
    nursery: trio.Nursery

    @property
    def zones(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.role == "zone"]

    @property
    def sites(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.role == "site"]

    async def start_all(self) -> None:
        """Zones first, all at once; then the sites. Raises ProcessFailed where one is not ready in time."""
        for group in (self.zones, self.sites):
            async with trio.open_nursery() as nursery:
                for node in group:
                    nursery.start_soon(self.start, node.name)

    async def start(self, name: str) -> None:
        """Start a node that is not running and wait until it serves. Raises ProcessFailed, with the end of its log."""
        node = self.nodes[name]
        founding = node.role == "zone" and node.started == 0
        node.child.command = (*self.plan.program, *_arguments(node, founding))
        node.started += 1
        await node.child.start(START_SECONDS)
        node.wanted = True
        self.nursery.start_soon(self._watch, node)

    async def kill(self, name: str) -> float:
        """SIGKILL: `trio.current_time()` of the signal. Returns when the process is gone."""
        node = self.nodes[name]
        node.wanted = False
        return await node.child.kill()

    def strike(self, name: str) -> float:
        """SIGKILL without waiting: `trio.current_time()` of the signal. `gone` before it is started again."""
        node = self.nodes[name]
        node.wanted = False
        node.child.signal(signal.SIGKILL)
        return trio.current_time()

    async def gone(self, name: str) -> None:
        """Wait until the process has ended, whoever ended it."""
        await self.nodes[name].child.ended()

    async def stop(self, name: str) -> int:
        """SIGTERM: the exit code. Raises ProcessFailed where it takes too long; it is killed then."""
        node = self.nodes[name]
        node.wanted = False
        return await node.child.stop(STOP_SECONDS)

    async def stop_all(self) -> dict[str, int]:
        """Stop what runs, sites first: name → exit code. Raises as `stop`."""
        codes: dict[str, int] = {}

        async def stop(name: str) -> None:
            codes[name] = await self.stop(name)

        for group in (self.sites, self.zones):
            async with trio.open_nursery() as nursery:
                for node in group:
                    if node.child.alive:
                        nursery.start_soon(stop, node.name)
        return codes

    def pause(self, name: str) -> None:
        """SIGSTOP: it keeps its sockets and says nothing."""
        self.nodes[name].child.signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT after `pause`."""
        self.nodes[name].child.signal(signal.SIGCONT)

    def lines_of(self, name: str, other: str = "") -> Iterator[Proxy]:
        """The lines that begin or end at `name` (and at `other`, if given). None where the plan has no lines there."""
        for ends, line in self.lines.items():
            if name in ends and (not other or other in ends):
                yield line

    def cut(self, name: str, other: str = "", *, silently: bool = True) -> float:
        """Cut the lines of `name` (to `other`, or all): `trio.current_time()` of it. Not silently: both ends are told.

        Raises KeyError where there is no such line: a cut that cuts nothing would prove nothing.
        """
        lines = list(self.lines_of(name, other))
        if not lines:
            raise KeyError(f"no line between {name} and {other or 'anyone'} that could be cut")
        for line in lines:
            line.set_mode(Mode.BLACK_HOLE if silently else Mode.REFUSE)
        return trio.current_time()

    def heal(self, name: str = "", other: str = "") -> float:
        """The lines of `name` pass again, or all lines: `trio.current_time()` of it."""
        for line in self.lines_of(name, other) if name else self.lines.values():
            line.set_mode(Mode.PASS)
        return trio.current_time()

    def is_cut(self, name: str) -> bool:
        """Whether every line of `name` is cut."""
        modes = [line.mode for line in self.lines_of(name)]
        return bool(modes) and all(mode in (Mode.BLACK_HOLE, Mode.REFUSE) for mode in modes)

    async def _watch(self, node: Node) -> None:
        life = node.started
        code = await node.child.ended()
        if node.wanted and node.started == life:
            raise ProcessFailed(f"{node.name} ended by itself with {code}\n{node.child.last_log()}")


@asynccontextmanager
async def open_cluster(plan: Plan) -> AsyncIterator[Cluster]:
    """Folders, ports and lines for `plan`; no process runs yet. On leaving, whatever still runs is killed.

    Raises ConfigError where the folder already holds a node of that name; ProcessFailed, out of whatever the body is
    doing, as soon as a node ends though nobody here has ended it; what the body raises comes out as itself.
    """
    held = {name: hold_port() for name in (*plan.zone_names, *plan.site_names)}
    try:
        async with trio.open_nursery() as nursery:
            lines = {ends: _line(ends, held) for ends in _line_ends(plan)}
            for line in lines.values():
                await nursery.start(line.serve)
            nodes = {name: _node(plan, name, held, lines) for name in held}
            try:
                yield Cluster(plan, nodes, lines, nursery)
            finally:
                for node in nodes.values():
                    node.wanted = False
                    node.child.kill_now()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
    finally:
        for port in held.values():
            port.close()


def toml(value: dict[str, Any], path: str = "") -> str:
    """A configuration as TOML text: plain values, tables, and lists of tables, which is all that one holds. What is
    None is left out."""
    own = [f"{key} = {_scalar(item)}\n" for key, item in value.items() if item is not None and not _is_table(item)]
    text = "".join(own)
    for key, item in value.items():
        if isinstance(item, dict):
            text += f"\n[{path}{key}]\n{toml(item, f'{path}{key}.')}"
        elif _is_table(item):
            text += "".join(f"\n[[{path}{key}]]\n{toml(element, f'{path}{key}.')}" for element in item)
    return text


def _is_table(item: object) -> bool:
    return isinstance(item, dict) or (isinstance(item, list | tuple) and bool(item) and isinstance(item[0], dict))


def _scalar(item: object) -> str:
    """JSON's text of a string, number, truth value or list of them is TOML's too."""
    return msgspec.json.encode(item).decode()


def _line_ends(plan: Plan) -> Iterator[tuple[str, str]]:
    for zone in plan.zone_names:
        if plan.site_lines:
            yield from ((site, zone) for site in plan.site_names)
        if plan.zone_lines:
            yield from ((other, zone) for other in plan.zone_names if other != zone)


def _line(ends: tuple[str, str], held: dict[str, socket.socket]) -> Proxy:
    host, port = held[ends[1]].getsockname()
    return Proxy(f"{ends[0]}→{ends[1]}", (host, port))


def _address(held: socket.socket) -> str:
    host, port = held.getsockname()
    return f"{host}:{port}"


def _node(plan: Plan, name: str, held: dict[str, socket.socket], lines: dict[tuple[str, str], Proxy]) -> Node:
    """Its folder and configuration file, written; not started."""
    folder = plan.folder / name
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(str(folder), "is not empty: a new cluster needs new folders")
    folder.mkdir(parents=True, exist_ok=True)
    peers = tuple(
        ZonePeer(number, zone, lines[name, zone].address if (name, zone) in lines else _address(held[zone]))
        for number, zone in enumerate(plan.zone_names, 1)
    )
    config = _config(plan, name, _address(held[name]), peers)
    (folder / CONFIG_FILE).write_text(toml(msgspec.to_builtins(config)), encoding="utf-8")
    role = "zone" if isinstance(config, ZoneConfig) else "site"
    child = Child(name, (), folder / LOG_FILE)
    return Node(name, role, _address(held[name]), folder, child, held[name])


def _config(plan: Plan, name: str, listen: str, peers: tuple[ZonePeer, ...]) -> ZoneConfig | SiteConfig:
    cluster = ClusterSection(plan.cluster)
    if name in plan.zone_names:
        zone = ZoneSection(name, plan.zone_names.index(name) + 1, listen, ".")
        zone_config = ZoneConfig(cluster, zone, peers, plan.timing, plan.limits)
        check_zone(zone_config)
        return zone_config
    planned = plan.sites[plan.site_names.index(name)]
    site_config = SiteConfig(
        cluster, SiteSection(name, listen, ".", planned.organisations), peers, plan.timing, plan.limits
    )
    check_site(site_config)
    return site_config


def _arguments(node: Node, founding: bool) -> tuple[str, ...]:
    arguments = (node.role, str(node.data / CONFIG_FILE))
    return (*arguments, "--found") if founding else arguments
