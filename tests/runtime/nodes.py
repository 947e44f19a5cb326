"""Zones and sites in this process, with real sockets and real disks: for tests that need nodes, not processes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

from replica.api import Agreed, Node, Site, Zone, open_site, open_zone
from replica.cases.commands import RaiseLevel
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.verdicts import VerdictKind
from replica.config import ClusterSection, SiteConfig, SiteSection, Timing, ZoneConfig, ZonePeer, ZoneSection

CASE = b"""{"createCaseHealth": {"caseId": "fr.health.samu440.T1", "creation": "2026-01-05T10:00:00+01:00",
"qualification": {"details": {"priority": "P2"}}, "location": {"name": "Quai 4"}, "owner": "fr.health.samu440"}}"""
CASE_ID = "fr.health.samu440.T1"
SAMU = "fr.health.samu440"
N = TypeVar("N", bound=Node)


@dataclass
class Plan:
    """Where each node of a small cluster lives. Ports are the kernel's, held until the node listens."""

    folder: Path
    zones: int = 1
    timing: Timing = field(default_factory=Timing)

    def __post_init__(self) -> None:
        self.ports = [free_port() for _ in range(self.zones)]

    @property
    def peers(self) -> tuple[ZonePeer, ...]:
        return tuple(ZonePeer(at + 1, f"zone-{at + 1}", f"127.0.0.1:{port}") for at, port in enumerate(self.ports))

    def zone(self, number: int = 1, cluster: str = "test") -> ZoneConfig:
        name = f"zone-{number}"
        section = ZoneSection(name, number, self.peers[number - 1].address, str(self.folder / name))
        return ZoneConfig(ClusterSection(cluster), section, self.peers, self.timing)

    def site(self, name: str = SAMU, organisations: tuple[str, ...] = ()) -> SiteConfig:
        section = SiteSection(name, "127.0.0.1:0", str(self.folder / name), organisations)
        return SiteConfig(ClusterSection("test"), section, self.peers, self.timing)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def cluster(plan: Plan, *, found: bool = True) -> AsyncIterator[tuple[list[Zone], Site]]:
    """All zones of the plan and one site, which is connected when this is entered."""
    async with AsyncExitStack() as stack:
        zones = [
            await stack.enter_async_context(open_zone(plan.zone(number), found=found))
            for number in range(1, plan.zones + 1)
        ]
        site = await stack.enter_async_context(open_site(plan.site()))
        await until_mode(site, "connected")
        yield zones, site


async def until(true: Callable[[], bool]) -> None:
    """Wait until it is so; the test's own timeout ends a wait that never does."""
    while not true():  # noqa: ASYNC110 - a node's status is asked, as an operator asks it
        await trio.sleep(0.01)


async def until_mode(site: Site, mode: str) -> None:
    """Wait until a site says so."""
    await until(lambda: site.status()["mode"] == mode)


async def raised(zone: Zone) -> None:
    """Raise the cluster to the highest feature level, one step at a time, once a zone leads."""
    await until(lambda: bool(zone.status()["raft"]["leader"]))
    for level in range(int(zone.status()["feature_level"]) + 1, HIGHEST_LEVEL + 1):
        receipt = await zone.submit(RaiseLevel(level), budget_ms=20_000)
        assert isinstance(receipt, Agreed), f"level {level}: {receipt}"
        assert receipt.verdict.kind is VerdictKind.APPLIED, f"level {level}: {receipt.verdict}"


async def until_applied(zones: list[Zone], index: int) -> None:
    """Wait until every zone has applied the log up to `index`."""
    await until(lambda: all(zone.status()["applied_index"] >= index for zone in zones))


class Nodes:
    """Nodes that start and stop one by one, each in a task of its own."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._ends: dict[str, tuple[trio.CancelScope, trio.Event]] = {}

    async def start(self, context: AbstractAsyncContextManager[N]) -> N:
        """Enter the node's context in its own task."""
        node: N = await self._nursery.start(self._run, context)
        return node

    async def stop(self, name: str) -> None:
        """Leave the context of the node of that name, and wait until it has."""
        scope, ended = self._ends.pop(name)
        scope.cancel()
        await ended.wait()

    async def _run(self, context: AbstractAsyncContextManager[Node], task_status: trio.TaskStatus[Node]) -> None:
        ended = trio.Event()
        with trio.CancelScope() as scope:
            async with context as node:
                self._ends[str(node.status()["node"])] = scope, ended
                task_status.started(node)
                await trio.sleep_forever()
        ended.set()
