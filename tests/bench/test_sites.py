"""What a site costs is measured at the zones and at a whole site, idle and not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.__main__ import main


@pytest.mark.parametrize("words", [["--seconds", "0"], ["--rate", "0"], ["--processes", "99"], ["--n", "5000"]])
def test_sites_that_cannot_be_measured_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    assert main(["sites", *words]) == 2
    assert "--n up to" in capsys.readouterr().err


@pytest.mark.processes
def test_what_sites_cost_is_measured_idle_and_busy(tmp_path: Path) -> None:
    """With no light followers and with three, each without and with operations; a whole site is there in every row."""
    words = ["sites", "--quick", "--n", "3", "--processes", "1", "--seconds", "0.3", "--rate", "20"]
    assert main([*words, "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert [(row["sites"], row["rate"]) for row in report["rows"]] == [(0, 0.0), (0, 20.0), (3, 0.0), (3, 20.0)]
    assert all(row["zone_rss_mb"] > 10 for row in report["rows"])
    assert all(row["site_rss_mb"] > 10 for row in report["rows"])
    assert report["rows"][0]["zone_cpu_percent_per_site"] is None
    assert report["rows"][2]["zone_cpu_percent_per_site"] is not None
    assert report["idle_site_cpu_percent"] >= 0
    assert report["failed"] == 0
