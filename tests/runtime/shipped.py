"""Zones and sites in this process on real stores, with small chunks, that can be killed in the middle of a transfer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

import replica
from replica.config import Limits, SiteConfig, Timing, ZoneConfig
from replica.errors import StorageFailed
from replica.runtime.node import Running, run_site, run_zone
from replica.runtime.outside import RealOutside
from replica.runtime.site import SiteNode
from replica.runtime.zone import ZoneNode
from replica.storage import Identity, Store, open_store
from replica.storage.snapshot_contract import Step
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Plan, until

CHUNK_BYTES = 8 << 10
QUICK = Timing(flush_interval_ms=40, election_timeout_ms=1000, heartbeat_interval_ms=100)
"""Written back often; and no election but where a zone dies, however busy the machine is."""
SMALL = Limits(log_keep_mib=0, changed_mib=0, feed_ring_bytes=65_536, map_size_gib=1, snapshot_mib_per_s=1000)
"""Nothing is kept of the log, and never only what changed is sent: every gap is a snapshot."""
CHANGES = msgspec.structs.replace(SMALL, changed_mib=8)

T = TypeVar("T")


class Killed(Exception):
    """The node died here."""


class Chunks(RealOutside):
    """The operating system, with small chunks, and a hook before each step of the store and each chunk read."""

    def __init__(self) -> None:
        self.on_step: Callable[[Step], None] = lambda step: None
        self.on_read: Callable[[int], None] = lambda chunk: None
        self.spoilt: set[int] = set()
        """Chunks that leave with one bit wrong, once."""
        self.read = 0
        self.written = 0

    def open_store(self, data: str, name: Identity, map_size_gib: int) -> Store:
        def step(step: Step) -> None:
            self.on_step(step)
            self.written += step is Step.RECEIVE_CHUNK

        store = open_store(
            Path(data), name, create=True, map_size=map_size_gib << 24, chunk_bytes=CHUNK_BYTES, on_step=step
        )
        read = store.snapshots.read

        def read_and_count(name: str, chunk: int) -> bytes:
            self.on_read(chunk)
            self.read += 1
            data = read(name, chunk)
            if chunk in self.spoilt:
                self.spoilt.remove(chunk)
                return bytes([data[0] ^ 1]) + data[1:]
            return data

        store.snapshots.read = read_and_count  # type: ignore[method-assign]
        return store


@dataclass
class _Task:
    scope: trio.CancelScope
    ended: trio.Event
    running: Running


@dataclass
class World:
    """Up to three zones and some sites, by name."""

    nursery: trio.Nursery
    plan: Plan
    limits: Limits = SMALL
    outsides: dict[str, Chunks] = field(default_factory=dict)
    tasks: dict[str, _Task] = field(default_factory=dict)
    deaths: int = 0
    _ended: dict[str, trio.Event] = field(default_factory=dict)

    def outside(self, name: str) -> Chunks:
        return self.outsides.setdefault(name, Chunks())

    def zone_config(self, number: int) -> ZoneConfig:
        return msgspec.structs.replace(self.plan.zone(number), limits=self.limits)

    def site_config(self, name: str = SAMU) -> SiteConfig:
        return msgspec.structs.replace(self.plan.site(name), limits=self.limits)

    async def start(self, name: str) -> None:
        """Start a zone (by its name) or a site, in a task of its own; its last life has to be over."""
        if name in self._ended:
            await self._ended[name].wait()
        await self.nursery.start(self._run, name)

    async def stop(self, name: str) -> None:
        """End a node as a crash would: nothing is handed over."""
        task = self.tasks.pop(name)
        if isinstance(task.running.node, ZoneNode):
            task.running.node.graceful = False
        task.scope.cancel()
        await task.ended.wait()

    async def _run(self, name: str, task_status: trio.TaskStatus[None]) -> None:
        outside, ended = self.outside(name), trio.Event()
        self._ended[name] = ended
        if name.startswith("zone-"):
            context = run_zone(self.zone_config(int(name[5:])), found=True, outside=outside)
        else:
            context = run_site(self.site_config(name), outside=outside)
        try:
            with trio.CancelScope() as scope:
                async with context as running:
                    if isinstance(running.node, ZoneNode):
                        # The core's cache of the newest entries would do for the few that a test writes.
                        running.node.raft._state.log._cache_bytes = 0
                    self.tasks[name] = _Task(scope, ended, running)
                    task_status.started()
                    await trio.sleep_forever()
        except* (Killed, StorageFailed):
            self.deaths += 1
            self.tasks.pop(name, None)
        finally:
            ended.set()

    def kill(self, name: str) -> None:
        """What a hook of that node raises at the place where it dies. From then on it is not counted on."""
        self.tasks.pop(name, None)
        raise Killed

    def zone(self, name: str) -> ZoneNode:
        node = self.tasks[name].running.node
        assert isinstance(node, ZoneNode)
        return node

    def site(self, name: str = SAMU) -> SiteNode:
        node = self.tasks[name].running.node
        assert isinstance(node, SiteNode)
        return node

    def lives(self, name: str) -> bool:
        return name in self.tasks

    async def until_deaths(self, count: int, otherwise: Callable[[], bool]) -> None:
        """Wait until so many nodes have died of their hooks, or `otherwise` is so."""
        await until(lambda: self.deaths >= count or otherwise())

    @property
    def leader(self) -> str:
        return next((name for name in self.tasks if name.startswith("zone-") and self.zone(name).leads), "")

    async def until_led(self) -> ZoneNode:
        await until(lambda: bool(self.leader))
        return self.zone(self.leader)

    async def write(self, count: int, size: int = 400, begin: bool = False) -> None:
        """So many notes, agreed."""
        service = (await self.until_led()).service
        if begin:
            await service.submit_message(CASE, budget_ms=10_000)
        for at in range(count):
            note = replica.AddNote(CASE_ID, f"{service.freshness().confirmed_age_ms}-{at}-{id(object())}", "x" * size)
            await service.submit(note, author="Dr Martin", budget_ms=10_000)

    async def until_compacted(self, index: int) -> None:
        """Wait until no zone that runs has the log up to `index` any more."""
        zones = [self.zone(name) for name in self.tasks if name.startswith("zone-")]
        await until(lambda: all(zone.compaction.through >= index for zone in zones))

    async def until_equal(self, *names: str) -> None:
        """Wait until these stand at one index, and see that they have one digest there."""
        found: list[dict[str, Any]] = []

        def same_index() -> bool:
            if not all(self.lives(name) for name in names):
                return False
            nodes = [self.tasks[name].running for name in names]
            found[:] = [msgspec.json.decode(node.service.json_digest()) for node in nodes]
            return len({one["index"] for one in found}) == 1

        await until(same_index)
        assert len({one["digest"] for one in found}) == 1, found
