"""A node that was away for too long is brought up by a snapshot, whoever dies on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

import replica
from replica.config import Limits
from replica.runtime.fetching import Prepared
from replica.runtime.shipping import Changes, Goal
from replica.storage.snapshot_contract import Step
from replica.wire.limits import RAFT_FRAME_BYTES
from tests.runtime.nodes import CASE_ID, SAMU, Plan, until
from tests.runtime.shipped import CHANGES, QUICK, SMALL, Killed, World

pytestmark = pytest.mark.processes
ALL = ("zone-1", "zone-2", "zone-3")


async def left_behind(world: World, notes: int = 60) -> str:
    """Three zones, one of which is away past the compaction of what it needs. Returns its name."""
    for name in ALL:
        await world.start(name)
    await world.write(20, begin=True)
    away = next(name for name in ALL if name != world.leader)
    await world.until_equal(*ALL)
    missed = world.zone(away).state.index
    await world.stop(away)
    await world.write(notes)
    await world.until_compacted(missed + 1)
    return away


async def test_a_follower_away_past_compaction_comes_back_by_snapshot_and_is_equal(tmp_path: Path) -> None:
    """What it needs is not in anybody's log any more."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK))
        away = await left_behind(world)
        await world.start(away)
        await world.until_equal(*ALL)
        assert world.zone(away).snapshots.installs == 1
        assert world.zone(away).raft.first_index > 20
        await world.write(5)
        await world.until_equal(*ALL)
        nursery.cancel_scope.cancel()


def dying(at: Step, after: int = 0) -> Callable[[Step], None]:
    """Dies at the step after so many of the same."""
    seen = 0

    def on_step(step: Step) -> None:
        nonlocal seen
        if step is at:
            seen += 1
            if seen > after:
                raise Killed

    return on_step


async def test_a_follower_killed_at_each_chunk_ends_equal_and_no_chunk_is_written_twice(tmp_path: Path) -> None:
    """Each of its lives writes one chunk more, and dies at the next."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK))
        away = await left_behind(world)
        outside = world.outside(away)
        while not world.deaths or world.tasks.get(away) is None:
            deaths = world.deaths
            outside.on_step = dying(Step.RECEIVE_CHUNK, after=1)
            await world.start(away)
            await world.until_deaths(deaths + 1, lambda: world.zone(away).snapshots.installs == 1)
        chunks = len(world.zone(world.leader).snapshots.shipper.held[0].chunks)
        print(f"{world.deaths} deaths, {chunks} chunks, {outside.written} written")
        assert world.deaths >= chunks - 1
        assert outside.written == chunks
        await world.until_equal(*ALL)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "step",
    [
        Step.RECEIVE_BEGIN,
        Step.PREPARE_COPY,
        Step.PREPARE_REWRITE,
        Step.PREPARE_CHECK,
        Step.PREPARE_NAME,
        Step.INSTALL_OPEN,
        Step.INSTALL_COMMIT,
        Step.INSTALL_SWITCH,
        Step.INSTALL_CLEAN,
        Step.INSTALL_DONE,
    ],
)
async def test_a_follower_killed_between_the_last_chunk_and_the_end_of_the_install_ends_equal(
    tmp_path: Path, step: Step
) -> None:
    """It has the old state or the new one, and no chunk is sent again that it had."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK))
        away = await left_behind(world, notes=30)
        outside = world.outside(away)
        outside.on_step = dying(step)
        await world.start(away)
        await until(lambda: world.deaths == 1)
        written, outside.on_step = outside.written, dying(Step.TAKE_NAME, after=99)
        await world.start(away)
        await world.until_equal(*ALL)
        assert written == 0 or outside.written == written
        nursery.cancel_scope.cancel()


async def test_a_sender_killed_at_one_chunk_after_the_other_leaves_the_follower_equal_in_the_end(
    tmp_path: Path,
) -> None:
    """The next leader has a snapshot of its own, or the old one comes back with the one it had."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK))
        away = await left_behind(world)
        senders = [name for name in ALL if name != away]

        def die(name: str, at: int) -> None:
            def on_read(chunk: int) -> None:
                if chunk >= at:
                    world.kill(name)

            world.outside(name).on_read = on_read

        async def revive() -> None:
            for name in senders:
                if not world.lives(name):
                    await world.start(name)

        def is_there() -> bool:
            return world.lives(away) and world.zone(away).snapshots.installs > 0

        await world.start(away)
        for at in range(5):
            for name in senders:
                die(name, at)
            await world.until_deaths(at + 1, is_there)
            if is_there():
                break
            for name in senders:
                die(name, 1 << 30)
            await revive()
        print(f"{world.deaths} senders died")
        assert world.deaths >= 3
        for name in senders:
            die(name, 1 << 30)
        await revive()
        await world.until_equal(*ALL)
        assert world.zone(away).snapshots.installs == 1
        nursery.cancel_scope.cancel()


async def test_a_follower_a_little_behind_is_sent_only_the_records_that_changed(tmp_path: Path) -> None:
    """The log it needs is gone, but the state knows what changed since."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK), CHANGES)
        for name in ALL:
            await world.start(name)
        await world.write(400, begin=True)
        away = next(name for name in ALL if name != world.leader)
        await world.until_equal(*ALL)
        missed = world.zone(away).state.index
        await world.stop(away)
        await world.write(10)
        await world.until_compacted(missed + 1)
        await world.start(away)
        await world.until_equal(*ALL)
        sender = world.zone(world.leader).snapshots.shipper
        whole = sum(len(key) + len(value) for key, value in world.zone(away).state.scan(b""))
        print(f"{sender.sent_bytes} bytes of {whole} sent")
        assert world.zone(away).snapshots.installs == 1
        assert (sender.sent_changes, sender.sent_snapshots) == (1, 0)
        assert 0 < sender.sent_bytes < whole / 4
        await world.write(5)
        await world.until_equal(*ALL)
        nursery.cancel_scope.cancel()


async def test_entries_are_agreed_and_applied_while_a_state_is_on_its_way(tmp_path: Path) -> None:
    """Neither the sender nor the others stand still; and the log behind the snapshot is kept until it is there."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK))
        away = await left_behind(world)
        leader = world.zone(world.leader)
        begun: list[int] = []
        world.outside(world.leader).on_read = lambda chunk: begun.append(leader.state.index)
        await world.start(away)
        while not world.zone(away).snapshots.installs:
            await world.write(1)
        print(f"applied {begun[-1] - begun[0]} entries during {len(begun)} chunks")
        assert begun[-1] > begun[0]
        await world.until_equal(*ALL)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("limits", "snapshots"), [(SMALL, 1), (CHANGES, 0)], ids=["by chunks", "what changed"])
async def test_a_site_away_longer_than_the_ring_comes_back_equal(
    tmp_path: Path, limits: Limits, snapshots: int
) -> None:
    """And its journal and what it knows of its own operations are as they were."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), limits)
        await world.start("zone-1")
        await world.write(40, begin=True)
        await world.start(SAMU)
        await world.until_equal("zone-1", SAMU)
        service = world.site().service
        await until(lambda: world.site().line.zone == "zone-1")
        handed = await service.submit(replica.ChangePriority(CASE_ID, "P0"), author="Dr Martin", budget_ms=10_000)
        await world.until_equal("zone-1", SAMU)
        await world.stop(SAMU)
        await world.write(150)
        shipper = world.zone("zone-1").snapshots.shipper
        sent, whole = shipper.sent_snapshots, shipper.sent_bytes
        await world.start(SAMU)
        await world.until_equal("zone-1", SAMU)
        assert shipper.sent_snapshots - sent == snapshots
        assert shipper.sent_bytes > whole
        assert world.site().service.outcome(handed.operation).state == "agreed"
        case = world.site().service.case(CASE_ID)
        assert case is not None
        assert case.value("priority") == "P0"
        nursery.cancel_scope.cancel()


async def test_a_site_killed_in_the_middle_of_a_snapshot_goes_on_with_the_chunks_that_miss(tmp_path: Path) -> None:
    """The same conversation as between zones, on its line, and resumed after a restart."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK))
        await world.start("zone-1")
        await world.write(40, begin=True)
        await world.start(SAMU)
        await world.until_equal("zone-1", SAMU)
        await world.stop(SAMU)
        await world.write(150)
        outside, shipper = world.outside(SAMU), world.zone("zone-1").snapshots.shipper
        before = outside.written
        for at in range(3):
            outside.on_step = dying(Step.RECEIVE_CHUNK, after=4)
            await world.start(SAMU)
            await world.until_deaths(at + 1, lambda: False)
        outside.on_step = dying(Step.TAKE_NAME, after=99)
        await world.start(SAMU)
        await world.until_equal("zone-1", SAMU)
        assert outside.written - before == len(shipper.held[-1].chunks)
        assert len(shipper.held[-1].chunks) > 12
        nursery.cancel_scope.cancel()


async def test_a_follower_a_thousand_times_slower_costs_the_leader_a_bounded_amount_of_memory(tmp_path: Path) -> None:
    """What waits for it never passes `limits.link_bytes` by more than one message; the others go on."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK), msgspec.structs.replace(SMALL, link_bytes=1 << 20))
        for name in ALL:
            await world.start(name)
        await world.write(2, begin=True)
        leader = world.zone(world.leader)
        slow = next(name for name in ALL if name != world.leader)
        peer = world.zone(slow).number
        connection = leader.links.link(peer)
        assert connection is not None
        connection._stream = Slow(connection._stream)
        most = 0
        for _ in range(30):
            await world.write(1, size=100_000)
            most = max(most, leader.links.waiting_bytes[slow])
        print(f"{most} bytes waited for the slow one, {leader.config.limits.link_bytes} is the bound")
        assert most <= leader.config.limits.link_bytes + RAFT_FRAME_BYTES
        assert leader.raft.commit_index - world.zone(slow).state.index > 5, "it was not slow"
        nursery.cancel_scope.cancel()


class Slow(trio.abc.Stream):
    """A line that takes a kilobyte at a time, and its time for each."""

    def __init__(self, fast: trio.abc.Stream) -> None:
        self._fast = fast

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for at in range(0, len(data), 1024):
            await trio.sleep(0.01)
            await self._fast.send_all(bytes(data[at : at + 1024]))

    async def wait_send_all_might_not_block(self) -> None:
        await self._fast.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._fast.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._fast.aclose()


async def test_a_lying_digest_leaves_a_site_as_it_was_and_the_whole_state_comes_next(
    tmp_path: Path,
) -> None:
    """The check before the install is shown to fail when it should; the whole state comes after changes that failed."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), CHANGES)
        await world.start("zone-1")
        await world.write(40, begin=True)
        await world.start(SAMU)
        await world.until_equal("zone-1", SAMU)
        stood = world.site().state.index
        await world.stop(SAMU)
        await world.write(150)
        shipper = world.zone("zone-1").snapshots.shipper
        honest = shipper.changes_since
        lied: list[int] = []

        async def lie(index: int) -> Changes | None:
            changes = await honest(index)
            assert changes is not None
            lied.append(world.site().state.index)
            return replace(changes, digest=bytes(16))

        shipper.changes_since = lie  # type: ignore[method-assign]
        await world.start(SAMU)
        await world.until_equal("zone-1", SAMU)
        assert lied == [stood]
        assert shipper.sent_snapshots == 1
        nursery.cancel_scope.cancel()


async def test_a_chunk_that_is_not_what_was_offered_is_refused_and_asked_for_again(tmp_path: Path) -> None:
    """Each is checked by its hash before it is kept."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 3, QUICK))
        away = await left_behind(world, notes=30)
        for name in ALL:
            world.outside(name).spoilt = {0, 3, 4}
        await world.start(away)
        await world.until_equal(*ALL)
        leader = world.leader
        assert world.outside(leader).spoilt == set()
        assert world.outside(leader).read == len(world.zone(leader).snapshots.shipper.held[0].chunks) + 3
        assert world.zone(away).snapshots.installs == 1
        nursery.cancel_scope.cancel()


async def test_a_stale_state_is_refused_and_the_zone_stays_as_it_was(tmp_path: Path) -> None:
    """The log's core decides, by what is committed here."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK))
        await world.start("zone-1")
        await world.write(5, begin=True)
        zone = world.zone("zone-1")
        stood = (zone.state.index, zone.service.json_digest())
        refused = await zone.snapshots._hand_over(Prepared("3-1-old", 3, 1, (0, b"")))
        assert "committed here" in refused
        assert (zone.state.index, zone.service.json_digest()) == stood
        assert zone.snapshots.installs == 0
        await world.write(1)
        nursery.cancel_scope.cancel()


async def test_a_snapshot_that_nobody_asks_for_is_dropped_after_a_while_and_no_more_than_two_are_held(
    tmp_path: Path,
) -> None:
    """They are copies of the whole state."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), msgspec.structs.replace(SMALL, snapshot_keep_s=0))
        await world.start("zone-1")
        zone = world.zone("zone-1")
        for count in range(4):
            await world.write(3, begin=count == 0)
            await zone.flush()
            index = zone.state.flushed_index
            goal = Goal(1, partial(int, index), lambda at: (0, b""))
            async with zone.snapshots.shipper._snapshot(goal, object()) as manifest:
                assert manifest.index >= index
                await zone.snapshots.shipper.tidy()
                assert 1 <= len(zone.snapshots.shipper.held) <= 2
                assert manifest in zone.snapshots.shipper.held, "one that is wanted was dropped"
        await zone.snapshots.shipper.tidy()
        assert zone.snapshots.shipper.held == ()
        nursery.cancel_scope.cancel()
