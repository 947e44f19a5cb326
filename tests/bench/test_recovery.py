"""A zone's store that was made here is one that a zone works with, and restarts on it are measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from bench.__main__ import main
from bench.grown import SAMU, Grown, grow
from bench.recovery import Start, summed
from replica.cases import queries
from replica.cases.machine import apply
from replica.cases.records import Empty, Overlay
from replica.storage import Identity, open_store
from replica.wire.operation_codec import decode_batch

ZONE = Identity("bench", "zone-1", "zone", "00" * 16)


def test_a_grown_store_has_its_entries_and_its_cases(tmp_path: Path) -> None:
    """Every operation was plainly applied, and the log gives the very state that is there."""
    made = grow(tmp_path / "zone", ZONE, 400, 50)
    with open_store(tmp_path / "zone", ZONE, create=False, read_only=True) as store:
        assert (store.log.first_index(), store.log.last_index(), store.state.applied()) == (1, 400, (400, 1))
        cases = queries.list_cases(store.state)
        assert len(cases) == made.cases == 50
        assert {made.first_case, made.last_case} <= set(cases)
        records, verdicts = Overlay(Empty()), Counter[str]()
        for entry in store.log.entries(1, 400, 1 << 30):
            effects = apply(records, decode_batch(entry.data), entry.index, entry.term)
            records.update(dict(effects.changes))
            verdicts.update(decided.verdict.kind.value for decided in effects.decided)
        assert verdicts == {"applied": 400}
        assert queries.digest(records) == queries.digest(store.state)


def test_a_tail_is_in_the_log_and_not_in_the_state(tmp_path: Path) -> None:
    """As after a crash right before a write-back."""
    grow(tmp_path / "zone", ZONE, 400, 50, tail=30)
    with open_store(tmp_path / "zone", ZONE, create=False, read_only=True) as store:
        assert (store.log.last_index(), store.state.applied()) == (400, (370, 1))


@pytest.mark.parametrize(("entries", "cases", "tail"), [(SAMU + 9, 10, 0), (400, 0, 0), (400, 10, 400)])
def test_a_store_that_cannot_be_grown_is_refused(tmp_path: Path, entries: int, cases: int, tail: int) -> None:
    with pytest.raises(ValueError, match="need at least"):
        grow(tmp_path / "zone", ZONE, entries, cases, tail)


def test_starts_on_one_store_are_summed_by_medians_and_memory_by_its_most() -> None:
    made = Grown(entries=1000, cases=100, tail=0, first_case="a", last_case="b")
    starts = [Start(serving_ms=ms, level_ms=2 * ms, rss_mb=ms, private_mb=ms / 2) for ms in (50.0, 70.0, 60.0)]
    row = summed(made, 0, starts, 90.0, (2.0, 1.0))
    assert (row.serving_ms, row.level_ms, row.cold_ms, row.rss_mb, row.private_mb) == (60, 120, 90, 70, 35)
    assert (row.disk_mb, row.log_bytes_per_entry, row.state_bytes_per_case) == (3.0, 2000, 10_000)


@pytest.mark.parametrize("words", [["--cases", "0"], ["--entries", "10"], ["--runs", "0"], ["--tail", "-1"]])
def test_a_recovery_that_cannot_be_measured_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recovery", "--quick", *words]) == 2
    assert "at least" in capsys.readouterr().err


@pytest.mark.processes
def test_a_killed_zone_serves_again_from_what_it_had(tmp_path: Path) -> None:
    """A small store on a real process: with a tail that is applied again, and without."""
    words = ["--entries", "2000", "--cases", "300", "--tail", "100", "--runs", "1"]
    assert main(["recovery", *words, "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert [(one["entries"], one["cases"], one["tail"]) for one in report["runs"]] == [(2000, 300, 100), (2000, 300, 0)]
    assert report["failed"] == 0
    for one in report["runs"]:
        assert 0 < one["serving_ms"] <= one["level_ms"]
        assert one["rss_mb"] > 0
        assert one["disk_mb"] > 0
    assert report["runs"][1]["cold_ms"] > 0
