"""Processes killed while they write: the short run of tests/storage/crash.py, and the proof that it can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes


def run(*options: str) -> tuple[int, dict[str, Any]]:
    """In a process of its own, since it forks and this one may have threads."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("crash.py")), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_nothing_acknowledged_is_lost_by_forty_kills() -> None:
    """D1, on a real disk with real kills: log, vote, journal and state, and stores cut in the making."""
    code, report = run("--times", "40", "--seed", "7")
    assert (code, report["ok"]) == (0, True)
    assert report["kills"] == 40
    assert report["jobs_acknowledged"] > 500


def test_an_acknowledgement_before_the_commit_is_found() -> None:
    """The same run on a writer that lies: so the run above could have failed."""
    code, report = run("--times", "40", "--seed", "7", "--lie")
    assert (code, report["ok"]) == (1, False)
    assert "differs from every outcome" in report["problem"]
