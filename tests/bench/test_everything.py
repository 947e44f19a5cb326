"""`bench all`: targets are read out of reports, a missing one is said, and the page holds nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.__main__ import main
from bench.machine import this_machine
from bench.page import page
from bench.sampling import hop_of
from bench.targets import TARGETS, rows

FAILOVER = {"replica": {"p50": 18.0, "p99": 70.0, "max": 71.0, "failed_writes": 0}, "ratio_p50": 6.5}


def row_of(act: str, *reports: dict[str, Any]) -> tuple[tuple[float, ...], str]:
    (row,) = (one for one in rows(reports) if one.act == act)
    return row.values, row.word()


def test_a_target_has_one_value_per_round_and_goes_by_their_median() -> None:
    rounds = [{"failover-kill": {"replica": {"p50": ms}}} for ms in (19.0, 30.0, 12.0)]
    assert row_of("leader killed → agreed at a site: p50", *rounds) == ((19.0, 30.0, 12.0), "reached")


def test_a_target_that_is_missed_says_so_whichever_way_it_goes() -> None:
    assert row_of("leader killed → agreed at a site: p99", {"failover-kill": FAILOVER})[1] == "missed"
    assert row_of("the same, against tuned etcd", {"failover-kill-etcd": FAILOVER})[1] == "reached"
    assert row_of("the same, against tuned etcd", {"failover-kill-etcd": {"ratio_p50": 4.9}})[1] == "missed"


@pytest.mark.parametrize("report", [{}, {"failover-kill": {}}, {"failover-kill": {"replica": None}}])
def test_what_was_not_measured_is_not_reached(report: dict[str, object]) -> None:
    """Nor missed: it is said."""
    assert row_of("leader killed → agreed at a site: p50", report) == ((), "not measured")


def test_every_target_is_on_the_page(tmp_path: Path) -> None:
    reports = [{"failover-kill": FAILOVER | {"not_measured": ["a machine that loses its power"]}}]
    text = page(rows(reports), reports, this_machine(tmp_path), tmp_path)
    assert all(f"| {one.act} |" in text for one in TARGETS)
    assert "18.0 ms | reached" in text
    assert "Not measured: a machine that loses its power." in text


def test_the_page_can_be_made_again_from_kept_reports(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"failover-kill-{number}.json").write_bytes(msgspec.json.encode(FAILOVER))
    there = tmp_path / "benchmarks.md"
    words = ["all", "--page-only", "--folder", str(folder), "--page", str(there), "--json", str(tmp_path / "all.json")]
    assert main(words) == 0
    assert "18.0 / 18.0 ms" in there.read_text(encoding="utf-8")
    assert msgspec.json.decode((tmp_path / "all.json").read_bytes())["rounds"] == 2


def test_an_unknown_report_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["all", "--only", "weather"]) == 2
    assert "throughput" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("frames", "hop"),
    [
        ([("/x/replica/wire/frames.py", "take"), ("/x/replica/runtime/connection.py", "receive")], "codec"),
        ([("/x/replica/cases/draft.py", "load"), ("/x/replica/cases/machine.py", "apply")], "applier"),
        ([("/x/replica/cases/authority.py", "permitted"), ("/x/replica/offline/core.py", "_why_not")], "desk"),
        ([("/x/msgspec/__init__.py", "f"), ("/x/replica/raft/core.py", "step")], "core"),
        ([("/x/trio/_core/_run.py", "unrolled_run")], "loop"),
        ([("/usr/lib/python3/runpy.py", "run")], "other"),
    ],
)
def test_a_look_counts_for_the_innermost_of_our_own_functions(frames: list[tuple[str, str]], hop: str) -> None:
    assert hop_of(frames) == hop
