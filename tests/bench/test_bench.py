"""Percentiles are values that were measured; a report says where, and on what."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import main
from bench.figures import distribution, percentile
from bench.machine import this_machine


def test_percentiles_are_nearest_ranks() -> None:
    """Of 1 to 100, the 50th is 50 and the 99th is 99; of 20, the 99th is the largest."""
    assert [percentile(list(range(1, 101)), percent) for percent in (1, 50, 90, 99, 100)] == [1, 50, 90, 99, 100]
    assert percentile(list(range(1, 21)), 99) == 20
    assert percentile([7.0], 50) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 100))
def test_a_percentile_was_measured_and_covers_its_share(values: list[float], percent: float) -> None:
    """It is one of the values, at least that share of them is not above it, and less is below it."""
    ordered = sorted(round(value, 3) for value in values)
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= len(ordered) * percent / 100
    assert sum(value < found for value in ordered) < len(ordered) * percent / 100


def test_a_distribution_keeps_every_value_in_the_order_measured() -> None:
    """Nothing is dropped, least of all the worst."""
    found = distribution([3.0, 1.0, 2.0])
    assert (found.p50, found.p90, found.p99, found.max, found.ms) == (2.0, 3.0, 3.0, 3.0, (3.0, 1.0, 2.0))


def test_no_values_have_no_distribution() -> None:
    """Not zero: nothing."""
    with pytest.raises(ValueError, match="no values"):
        distribution([])


@pytest.mark.parametrize("percent", [0.0, -1.0, 100.1])
def test_a_percentile_outside_its_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile([1.0], percent)


def test_the_machine_names_what_figures_depend_on(tmp_path: Path) -> None:
    """Processor, cores, memory, file system, Python, versions."""
    machine = this_machine(tmp_path)
    assert machine.processor
    assert machine.cores >= 1
    assert machine.memory_gib > 0
    assert machine.filesystem not in ("", "unknown")
    assert machine.packages["trio"][0].isdigit()
    assert str(machine.cores) in machine.line()


@pytest.mark.parametrize("words", [["failover", "--trials", "0"], ["failover", "--zones", "2"]])
def test_trials_that_cannot_be_run_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    assert main(words) == 2
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.processes
def test_a_failover_is_measured_and_reported(tmp_path: Path) -> None:
    """Two trials on real processes: each has its value, none failed, and the report says where it was made."""
    assert main(["failover", "--trials", "2", "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert (report["fault"], report["trials"], report["failed"]) == ("kill", 2, 0)
    assert len(report["replica"]["ms"]) == 2
    assert 0 < report["replica"]["p50"] <= report["replica"]["max"] == max(report["replica"]["ms"])
    assert report["machine"]["cores"] >= 1
    assert report["not_measured"]


def test_every_command_has_help_and_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    """The table of commands holds what can be run."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "failover" in capsys.readouterr().out
    assert issubclass(argparse.ArgumentError, Exception)
