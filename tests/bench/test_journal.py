"""A journalled write is measured beside a bare commit of the same bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.__main__ import main


@pytest.mark.parametrize("words", [["--operations", "1"], ["--runs", "0"], ["--size", "5000"]])
def test_a_journal_that_cannot_be_measured_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    assert main(["journal", *words]) == 2
    assert "--operations at least" in capsys.readouterr().err


@pytest.mark.processes
def test_a_journalled_write_stands_beside_a_bare_commit(tmp_path: Path) -> None:
    """As many of each, all of them journalled, and the ratio is of their medians. The plot is drawn without a
    screen."""
    words = ["journal", "--quick", "--operations", "100", "--plot", str(tmp_path / "plot.svg")]
    assert main([*words, "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert (report["operations"], report["failed"]) == (100, 0)
    assert [len(report[kind]["ms"]) for kind in ("journalled", "commit", "loop")] == [100, 100, 100]
    assert report["ratio"] == pytest.approx(report["journalled"]["p50"] / report["commit"]["p50"], abs=0.001)
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()
