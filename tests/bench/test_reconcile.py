"""How fast a site is reconciled: what is counted, and how a cost per operation is compared."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.__main__ import main
from bench.reconcile import SITE, Run, act_of, flatness, line_up_s, summed
from bench.work import case_id
from replica.cases.commands import AddNote, ChangePriority


def a_run(operations: int, seconds: float, verdicts: int | None = None) -> Run:
    found = operations if verdicts is None else verdicts
    cpu_s = {"leader": seconds / 2, "others": seconds, "site": seconds / 4}
    return Run(
        operations=operations,
        seconds=seconds,
        line_s=0.1,
        connected_s=seconds + 0.1,
        write_s=1.0,
        verdicts=found,
        cpu_s=cpu_s,
    )


def test_flatness_is_the_worst_cost_over_the_best() -> None:
    """1,000 operations in 0.1 s cost 100 µs each, 10,000 in 1.5 s cost 150."""
    assert flatness([a_run(1000, 0.1), a_run(10_000, 1.5)]) == 1.5


def test_flatness_compares_medians_so_that_one_odd_run_does_not_decide() -> None:
    """Of three runs of each length the middle one counts."""
    odd = [a_run(1000, 0.1), a_run(1000, 9.0), a_run(1000, 0.1), a_run(10_000, 1.0)]
    assert flatness(odd) == 1.0


def test_a_single_length_has_no_flatness() -> None:
    assert flatness([a_run(1000, 0.1), a_run(1000, 0.3)]) == 0.0


def test_runs_of_one_length_are_summed_by_their_medians() -> None:
    """And their verdicts by the mean: one that is missing in one run shows."""
    summary = summed([a_run(1000, 0.1), a_run(1000, 0.2), a_run(1000, 0.4, 997)])
    assert (summary.operations, summary.times, summary.seconds, summary.per_s) == (1000, 3, 0.2, 5000.0)
    assert summary.verdicts == 999
    assert summary.per_s_spread.least == 2500
    assert summary.cpu_s == {"leader": 0.1, "others": 0.2, "site": 0.05}


def test_operations_go_through_the_cases_in_turn() -> None:
    """First a note for each case, then a priority for each, and so on; no note is written twice."""
    made = [act_of(number, 2, first=0) for number in range(8)] + [act_of(number, 2, first=100) for number in range(4)]
    assert [getattr(one, "case", "") for one in made] == [case_id(SITE, 0), case_id(SITE, 1)] * 6
    assert [type(one) for one in made] == [AddNote, AddNote, ChangePriority, ChangePriority] * 3
    notes = [one.note for one in made if isinstance(one, AddNote)]
    assert len(set(notes)) == len(notes)


def test_the_line_of_a_site_is_dated_by_its_log() -> None:
    """The first that came up since a moment counts, not those before and not one after a break."""
    log = (
        '{"event": "line-up", "timestamp": "2026-11-27T08:00:00Z"}\n'
        '{"event": "line-down", "timestamp": "2026-11-27T08:00:01Z"}\n'
        '{"event": "line-up", "timestamp": "2026-11-27T08:00:02.5Z"}\n'
        '{"event": "line-up", "timestamp": "2026-11-27T08:00:03Z"}\n'
    )
    first = line_up_s(log, 0)
    assert line_up_s(log, first + 1) == first + 2.5
    with pytest.raises(ValueError, match="no line"):
        line_up_s(log, first + 10)


@pytest.mark.parametrize("words", [["--runs", "0"]])
def test_runs_that_cannot_be_made_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", *words]) == 2
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.processes
def test_every_operation_of_a_reconciled_site_has_its_verdict(tmp_path: Path) -> None:
    """A small replay on real processes: as many verdicts as operations, by the site's own store."""
    assert main(["reconcile", "--operations", "600", "--runs", "1", "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    (one,) = report["runs"]
    assert (one["operations"], one["verdicts"], report["failed"], report["flatness"]) == (600, 600, 0, 0)
    assert one["seconds"] > 0
    assert one["per_s"] == pytest.approx(600 / one["seconds"], rel=0.01)
    assert set(one["cpu_s"]) == {"leader", "others", "site"}
    assert report["not_measured"]
