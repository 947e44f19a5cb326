"""What is applied and not written back lies in memory: it has a bound, and a disk that refuses it is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

import replica
from replica.config import Limits, Timing
from replica.errors import Overloaded, StorageFull
from replica.raft.types import Role
from replica.runtime.node import Running, run_site, run_zone
from replica.runtime.state import State
from replica.runtime.writeback import WriteBack
from replica.runtime.zone import ZoneNode
from replica.storage import Identity, MemoryStore
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Plan, until
from tests.runtime.sick import SickWorld

LIMITS = Limits(dirty_mib=1, waiting_operations=8, map_size_gib=1)
QUICK = Timing(flush_interval_ms=20, election_timeout_ms=1000, heartbeat_interval_ms=100, cut_off_after_ms=10_000)


@asynccontextmanager
async def zones(plan: Plan) -> AsyncIterator[tuple[list[Running], list[SickWorld]]]:
    """The zones of the plan, and their disks."""
    worlds = [SickWorld() for _ in range(plan.zones)]
    async with trio.open_nursery() as nursery:
        running: list[Running] = []
        for number, world in enumerate(worlds, 1):
            config = msgspec.structs.replace(plan.zone(number), limits=LIMITS)
            running.append(await nursery.start(_run, config, world))
        await until(lambda: any(node(one).leads for one in running))
        await running[0].service.submit_message(CASE, budget_ms=20_000)
        yield running, worlds
        for world in worlds:
            world.state.recover()
            world.log.recover()
        nursery.cancel_scope.cancel()


async def _run(
    config: replica.ZoneConfig, world: SickWorld, task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED
) -> None:
    async with run_zone(config, found=True, outside=world) as running:
        task_status.started(running)
        await trio.sleep_forever()


def node(running: Running) -> ZoneNode:
    assert isinstance(running.node, ZoneNode)
    return running.node


def notes(size: int = 100_000) -> Iterator[replica.AddNote]:
    """Notes, one after the other."""
    at = 0
    while True:
        at += 1
        yield replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.{at}", "x" * size)


async def fill(running: Running, writing: Iterator[replica.AddNote], leader: ZoneNode) -> None:
    """Write until the leader has applied as much as may wait to be written back."""
    while leader.unwritten_bytes < LIMITS.dirty_mib << 20:
        handed = await running.service.submit(next(writing), budget_ms=20_000)
        assert handed.state == "agreed"


@pytest.mark.processes
async def test_past_the_bound_nothing_new_goes_into_the_log_until_the_state_is_written_back(tmp_path: Path) -> None:
    """A disk that is full for the state alone: who writes waits, one too many is turned away, and it ends by itself."""
    async with zones(Plan(tmp_path, timing=QUICK)) as ([zone], [world]):
        writing, leader = notes(), node(zone)
        world.state.full = True
        await fill(zone, writing, leader)
        await until(lambda: zone.status()["storage"] == "full")
        last = leader.raft.last_index
        agreed: list[int] = []

        async def write() -> None:
            agreed.append((await zone.service.submit(next(writing), budget_ms=60_000)).index)

        async with trio.open_nursery() as nursery:
            for _ in range(LIMITS.waiting_operations):
                nursery.start_soon(write)
            await until(lambda: len(leader.ingress) == LIMITS.waiting_operations)
            with pytest.raises(Overloaded) as turned_away:
                await zone.service.submit(next(writing), budget_ms=250)
            assert turned_away.value.retry_after_ms == 250
            assert await leader.confirm_read() >= 0
            assert leader.raft.last_index == last
            assert zone.status()["dirty_bytes"] >= LIMITS.dirty_mib << 20
            world.state.recover()
        assert len(agreed) == LIMITS.waiting_operations
        assert min(agreed) > last
        await until(lambda: zone.status()["storage"] == "ok")
        await until(lambda: leader.state.flushed_index == leader.state.index)
        assert zone.status()["dirty_bytes"] == 0


@pytest.mark.processes
async def test_a_leader_that_holds_back_still_leads_confirms_reads_and_counts_what_is_being_written(
    tmp_path: Path,
) -> None:
    """Its state's disk is only slow: nothing to hand over for. What is in a write-back under way is in memory, too."""
    async with zones(Plan(tmp_path, zones=3, timing=QUICK)) as (running, worlds):
        at = next(at for at, one in enumerate(running) if node(one).leads)
        leader, writing = node(running[at]), notes()
        worlds[at].state.stalled = True
        await fill(running[at], writing, leader)
        await until(lambda: leader._write_back.busy)
        assert leader.state.dirty_bytes < leader.unwritten_bytes
        term, last = leader.raft.term, leader.raft.last_index
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: running[at].service.submit(next(writing), budget_ms=60_000))
            await until(lambda: len(leader.ingress) == 1)
            await leader.confirm_read()
            heard = {view.peer: view.heard_ms for view in leader.raft.progress}
            await until(lambda: all(view.heard_ms > heard[view.peer] for view in leader.raft.progress))
            assert (leader.raft.last_index, len(leader.ingress)) == (last, 1)
            assert running[at].status()["storage"] == "ok"
            worlds[at].state.recover()
        assert (leader.raft.role, leader.raft.term) == (Role.LEADER, term)
        assert leader.raft.last_index > last


@pytest.mark.processes
async def test_a_leader_that_may_take_no_more_because_its_disk_is_full_hands_over(tmp_path: Path) -> None:
    """D4: the others have room. Nobody's write fails."""
    async with zones(Plan(tmp_path, zones=3, timing=QUICK)) as (running, worlds):
        at = next(at for at, one in enumerate(running) if node(one).leads)
        leader, writing = node(running[at]), notes()
        worlds[at].state.full = True
        await fill(running[at], writing, leader)
        handed = await running[at].service.submit(next(writing), budget_ms=60_000)
        assert handed.state == "agreed"
        assert not leader.leads


# ---- a disk that refuses is said, and not any longer than it does


@pytest.mark.processes
async def test_a_site_whose_journal_or_copy_is_refused_says_so_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller is told; afterwards nothing is written by itself, so the disk is asked."""
    world, plan = SickWorld(), Plan(tmp_path, timing=QUICK)
    room = [False]
    monkeypatch.setattr("replica.storage.store.disk_is_full", lambda folder: not room[0])
    async with run_site(plan.site(), outside=world) as site:
        await until(lambda: site.status()["journal_length"] > 0)
        assert site.status()["storage"] == "ok"
        world.log.full = True
        with pytest.raises(StorageFull):
            await site.service.submit_message(CASE, budget_ms=5000)
        assert site.status()["storage"] == "full"
        world.log.recover()
        room[0] = True
        await until(lambda: site.status()["storage"] == "ok")
        world.state.full = True
        site.node.state.put_local(b"something", b"to be written")
        await until(lambda: site.status()["storage"] == "full")
        world.state.recover()
        await until(lambda: site.status()["storage"] == "ok")


class Refusing:
    """A disk that answers when it is told to, and how it is told to."""

    def __init__(self) -> None:
        self.done: Callable[[Exception | None], None] = lambda problem: None

    def write_state(self, job: object, done: Callable[[Exception | None], None]) -> None:
        self.done = done


async def test_a_refused_write_back_counts_on_and_is_over_with_the_next_that_is_not(
    nursery: trio.Nursery,
) -> None:
    """What was refused is in memory as before: the figure does not begin anew with each attempt."""
    state, disk = State(MemoryStore(Identity("test", "zone-1", "zone", "0" * 32)).state), Refusing()
    write_back = WriteBack(state, disk)  # type: ignore[arg-type]  # nothing else is asked of it
    state.advance(((b"key", b"12345"),), 1, 1)

    async def attempt(problem: Exception | None) -> tuple[int, bool]:
        nursery.start_soon(write_back.run)
        await trio.testing.wait_all_tasks_blocked()
        assert write_back.busy
        assert write_back.unwritten_bytes == 8 * state.index
        disk.done(problem)
        return write_back.unwritten_bytes, write_back.refused

    assert await attempt(StorageFull("full")) == (8, True)
    state.advance(((b"yek", b"54321"),), 2, 1)
    assert await attempt(StorageFull("full")) == (16, True)
    assert await attempt(None) == (0, False)


async def test_a_state_that_was_replaced_has_nothing_that_could_be_refused(nursery: trio.Nursery) -> None:
    """What was in memory is void, and with it the refusal."""
    state, disk = State(MemoryStore(Identity("test", "zone-1", "zone", "0" * 32)).state), Refusing()
    write_back = WriteBack(state, disk)  # type: ignore[arg-type]  # nothing else is asked of it
    state.advance(((b"key", b"12345"),), 1, 1)
    nursery.start_soon(write_back.run)
    await trio.testing.wait_all_tasks_blocked()
    disk.done(StorageFull("full"))
    assert write_back.refused
    state.replaced(7, 1)
    assert (write_back.refused, write_back.unwritten_bytes) == (False, 0)
