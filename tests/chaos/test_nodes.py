"""The world of nodes: one seed is one run, its faults are all there, and each of its checks fails when it should."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from chaos.history.operations import Operation
from chaos.nodes import loop, report
from chaos.nodes.checks import Act, Checks
from chaos.nodes.disk import SimDisk
from chaos.nodes.loop import OWNER, Stuck
from chaos.nodes.nemesis import FAULTS
from chaos.nodes.network import RESET, End, Network, Way
from chaos.nodes.process import Host, Process
from chaos.nodes.trace import Trace
from chaos.nodes.weather import FAULTS as NAMED
from chaos.nodes.weather import Weather, storm
from chaos.nodes.world import World
from chaos.world.invariants import InvariantViolated
from replica.cases.operations import OperationId
from replica.cases.verdicts import Decided, Effects, Verdict, VerdictKind
from replica.errors import StorageFailed, StorageFull
from replica.raft.types import Entry, EntryKind, HardState, Membership
from replica.runtime.zone import ZoneNode
from replica.storage import LogSave
from replica.storage.identity import Identity
from replica.wire.client import Receipt

STEPS = 1_200
ROOT = Path(__file__).resolve().parents[2]
APPLIED = Verdict(VerdictKind.APPLIED)


# ---- one seed, one run


def digest(seed: int) -> str:
    result = report.run_seed(seed, STEPS, hashed=True)
    assert result.failure is None, result.failure
    return result.digest


def test_a_seed_is_the_same_run_every_time() -> None:
    """Byte by byte what was on every wire and when, and another seed is another run."""
    assert digest(2) == digest(2)
    assert digest(2) != digest(3)


def test_a_seed_is_the_same_run_in_another_process() -> None:
    """With another hash seed, so nothing hangs on the order of a set; so on another machine it is the same, too."""
    told = f"from chaos.nodes import report; print(report.run_seed(2, {STEPS}, hashed=True).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", told], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.strip() == digest(2), ran.stderr


def test_what_is_looked_at_changes_nothing() -> None:
    """Following a run line by line is the same run."""
    lines: list[str] = []
    followed = report.run_seed(2, STEPS, follow=lines.append, hashed=True)
    assert followed.digest == digest(2)
    assert len(lines) > 100


@pytest.mark.parametrize("seed", range(1, 7))
def test_the_shipped_nodes_hold(seed: int) -> None:
    """Six seeds of every test run; a thousand by command."""
    result = report.run_seed(seed, STEPS)
    assert result.failure is None, result.failure
    assert result.events > STEPS // 4
    assert result.counts["receipt: agreed"]


def test_every_fault_has_its_doer() -> None:
    """And is drawn by some seeds and left out by others."""
    assert set(FAULTS) == set(NAMED)
    drawn = [set(storm(Random(seed)).faults) for seed in range(40)]
    assert set.union(*drawn) == set(NAMED)
    assert not set.intersection(*drawn)


def test_a_failing_seed_says_what_and_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that shows less than it took: the invariant's name, the last lines, and the command."""

    def forgetful(self: World, process: Process, index: int, text: str, found: dict[str, Any]) -> None:
        self._check(self.checks.own_write_missing, process.host, text)

    monkeypatch.setattr(World, "has_read", forgetful)
    failure = report.run_seed(2, STEPS).failure
    assert failure is not None
    assert failure.invariant == "OwnWrites"
    assert failure.replay == f"python -m chaos sim --seeds 1 --start 2 --depth node --steps {STEPS} --trace"
    assert any("FAILED" in line for line in failure.timeline)


# ---- what the checks catch


def disk() -> Any:
    """What the checks ask of a disk."""
    return SimpleNamespace(written={}, empties=0, store=None)


def zone(number: int) -> Host:
    facts = {"name": f"zone-{number}", "number": number, "is_zone": True, "disk": disk(), "retired": False}
    return cast(Host, SimpleNamespace(**facts))


class Court:
    """Checks with three zones that are up to whatever a test says."""

    def __init__(self) -> None:
        self.zones = [zone(number) for number in (1, 2, 3)]
        self.checks = Checks(self.zones, {host.name: host for host in self.zones}, Counter())
        self.processes = [Process(host, 1) for host in self.zones]
        for process in self.processes:
            self.checks.started(process, 0, "nothing")

    def durable(self, index: int, term: int, *numbers: int) -> None:
        for host in self.zones:
            if host.number in numbers:
                host.disk.written[index] = term

    def arrives(self, number: int, effects: Effects, digest: str = "same") -> None:
        self.checks.arrived(self.processes[number - 1], effects, digest)


def effects(index: int, *numbers: int, term: int = 1) -> Effects:
    decided = tuple(Decided(operation(number), APPLIED) for number in numbers)
    return Effects(index, term, 0, decided, ())


def operation(number: int) -> OperationId:
    return OperationId("zone-1", b"\1" * 16, number)


@pytest.fixture
def court() -> Court:
    made = Court()
    made.durable(1, 1, 1, 2)
    made.durable(2, 1, 1, 2)
    return made


def caught(name: str) -> Any:
    return pytest.raises(InvariantViolated, match=name)


def test_what_is_right_passes(court: Court) -> None:
    """Two entries, everywhere the same, on two disks of three."""
    for number in (1, 2, 3):
        court.arrives(number, effects(1, 1))
        court.arrives(number, effects(2, 2), "other")


def test_two_states_at_one_index_are_caught(court: Court) -> None:
    """OneHistory: another digest, other verdicts, a gap, a step back."""
    court.arrives(1, effects(1, 1))
    with caught("OneHistory"):
        court.arrives(2, effects(1, 1), "different")
    with caught("OneHistory"):
        court.arrives(3, effects(1))
    with caught("OneHistory"):
        court.arrives(1, effects(3))
    with caught("OneHistory"):
        court.checks.replaced(court.processes[0], 0, "same")


def test_an_entry_that_is_not_on_a_majority_of_disks_is_caught(court: Court) -> None:
    """OnDisks: durable at one of three, or durable there under another term."""
    court.durable(1, 2, 2)
    with caught("OnDisks"):
        court.arrives(1, effects(1, 1))


def test_disks_are_counted_by_those_who_vote(court: Court) -> None:
    """With five voters two disks are too few; a membership that was replaced does not count any more."""
    court.checks.membership(1, Membership(frozenset({1, 2, 3, 4, 5})))
    with caught("OnDisks"):
        court.arrives(1, effects(1, 1))


def test_an_operation_decided_twice_is_caught(court: Court) -> None:
    """Once."""
    court.arrives(1, effects(1, 1))
    with caught("Once"):
        court.arrives(1, effects(2, 1))


def test_a_receipt_that_is_not_so_is_caught(court: Court) -> None:
    """Receipts: agreed and nowhere applied, agreed with another verdict, journalled and on no disk."""
    act, name = Act("zone-1", "", ""), str(operation(1))
    host = court.zones[0]
    with caught("Receipts"):
        court.checks.answered(act, Receipt("agreed", name, 1, APPLIED), host)
    with caught("Receipts"):
        court.checks.answered(act, Receipt("journalled", name), host)
    court.arrives(1, effects(1, 1))
    court.checks.answered(act, Receipt("agreed", name, 1, APPLIED), host)
    with caught("Receipts"):
        court.checks.answered(act, Receipt("agreed", name, 2, APPLIED), host)


def test_reads_that_go_back_are_caught(court: Court) -> None:
    """NeverBack at a node, Session for somebody: an older index, or a note that was there before."""
    court.checks.read(court.processes[0], 5)
    with caught("NeverBack"):
        court.checks.read(court.processes[0], 4)
    court.checks.session("p", (5, {"a"}), (5, {"a", "b"}))
    with caught("Session"):
        court.checks.session("p", (5, set()), (4, set()))
    with caught("Session"):
        court.checks.session("p", (5, {"a"}), (6, {"b"}))


def test_a_stale_answer_to_a_linearizable_read_is_caught(court: Court) -> None:
    """Linearizable: a note was acknowledged, and a later read does not show it."""
    court.checks.history += [
        Operation("p", "case", "add", "a", 0, 10, None),
        Operation("q", "case", "read", None, 20, 30, ()),
    ]
    with caught("Linearizable"):
        court.checks.settle([])


def test_two_leaders_of_a_term_are_caught(court: Court) -> None:
    """ElectionSafety, by what the nodes' logs say."""
    court.checks.leads(1, 4)
    court.checks.leads(1, 4)
    with caught("ElectionSafety"):
        court.checks.leads(2, 4)


def test_an_unexpected_end_of_a_node_fails_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that ends for a reason this world has not made: the first word is what it died of."""

    def trips(self: ZoneNode) -> None:
        raise ZeroDivisionError("out of the blue")

    monkeypatch.setattr(ZoneNode, "beat", trips)
    failure = report.run_seed(2, STEPS).failure
    assert failure is not None
    assert failure.invariant == "ZeroDivisionError"
    assert "out of the blue" in failure.text


# ---- the loop, the links, the disk


def test_an_hour_takes_no_time_and_a_world_without_a_future_says_so() -> None:
    """Sleeping jumps; waiting for what can never come is an error, not a hang."""

    async def sleeps(here: loop.Loop) -> float:
        await trio.sleep(3600)
        return here.now_s

    async def waits(here: loop.Loop) -> None:
        await trio.sleep_forever()

    assert loop.run(1, sleeps) == 3600
    with pytest.raises(Stuck):
        loop.run(1, waits)


def test_a_paused_process_finds_what_came_when_it_goes_on() -> None:
    """Its deadline passes, it does not run; everybody else does."""
    seen: list[tuple[str, float]] = []

    async def main(here: loop.Loop) -> None:
        owner = cast(Any, SimpleNamespace(frozen=False, held=[]))

        async def sleeper(name: str) -> None:
            if name == "paused":
                OWNER.set(owner)
            await trio.sleep(1)
            seen.append((name, here.now_s))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, "paused")
            nursery.start_soon(sleeper, "free")
            await trio.sleep(0.5)
            here.freeze(owner)
            await trio.sleep(2)
            here.thaw(owner)

    loop.run(1, main)
    assert seen == [("free", 1.0), ("paused", 2.5)]


async def _linked(here: loop.Loop) -> tuple[Network, End, End]:
    network = Network(here, Random(1), Trace(here), lambda frm, to: Way(0.01, 0.0))
    door = network.open_door("b:1")
    near: list[End] = []

    async def dial() -> None:
        near.append(await network.connect("a", "b:1"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        far = await door.accept()
    return network, near[0], far


def test_a_cut_way_holds_bytes_until_it_is_healed() -> None:
    """As retransmission does; and a reset tells both ends."""

    async def main(here: loop.Loop) -> None:
        network, near, far = await _linked(here)
        await near.send_all(b"one")
        assert bytes(await far.receive_some()) == b"one"
        network.cut("a", "b", loses=False)
        await near.send_all(b"two")
        with trio.move_on_after(60) as waiting:
            await far.receive_some()
        assert waiting.cancelled_caught
        network.heal("a", "b")
        assert bytes(await far.receive_some()) == b"two"
        near.arrive(RESET)
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()

    loop.run(1, main)


def test_a_full_disk_takes_nothing_and_a_failed_one_nothing_ever_again() -> None:
    """The simulated disk raises what the real one does, before anything is written."""

    async def main(here: loop.Loop) -> None:
        await trio.lowlevel.checkpoint()
        there = SimDisk(here, Random(1), (0.001, 0.002), Counter(), 512)
        store = there.open(Identity("c", "zone-1", "zone", "1"))
        save = LogSave(HardState(1, 0), (Entry(1, 1, EntryKind.DATA, b"x"),))
        there.full.add("append")
        with pytest.raises(StorageFull):
            store.commit_log([save])
        assert store.log.last_index() == 0
        there.full.clear()
        there.fail_next = True
        for _ in range(2):
            with pytest.raises(StorageFailed):
                store.commit_log([save])

    loop.run(1, main)


def test_a_weather_is_a_plain_value() -> None:
    """Drawn from the seed alone: the same dice, the same weather."""
    assert storm(Random(9)) == storm(Random(9))
    assert isinstance(replace(storm(Random(9)), callers=1), Weather)
