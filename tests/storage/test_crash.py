"""Processes killed while they write: the short run of tests/storage/crash.py, and the proof that it can fail."""

from __future__ import annotations

import json
import shutil
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
    assert report["installs"] > 20


def test_an_acknowledgement_before_the_commit_is_found() -> None:
    """The same run on a writer that lies: so the run above could have failed."""
    code, report = run("--times", "40", "--seed", "7", "--lie")
    assert (code, report["ok"]) == (1, False)
    assert "differs from every outcome" in report["problem"]


def test_half_an_install_is_found() -> None:
    """The same run on a log that forgets one thing that an install brings."""
    code, report = run("--times", "40", "--seed", "7", "--half")
    assert (code, report["ok"]) == (1, False)
    assert "differs from every outcome" in report["problem"]


def run_install(*options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("install_crash.py")), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_a_process_killed_at_each_chunk_and_step_of_an_install_ends_equal() -> None:
    """C14: taking, every chunk of the transfer, preparing, swapping: the old state and log, or the new ones."""
    code, report = run_install()
    assert (code, report["ok"]) == (0, True)
    assert report["kills"] > 25
    assert (report["found_old"] > 20, report["found_new"] > 2, report["ended_before_the_kill"]) == (True, True, 1)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to kill at a system call")
def test_a_process_killed_at_a_system_call_of_an_install_ends_equal() -> None:
    """D1: some calls spread over all of them; the whole list is for the hand (install_crash --syscalls)."""
    code, report = run_install("--syscalls", "6")
    assert (code, report["ok"], report["ended_before_the_kill"]) == (0, True, 0)
    assert report["kills"] >= 6


def test_a_mixture_of_two_states_is_found() -> None:
    """A receiver that swaps the state without the log: so the runs above could have failed."""
    code, report = run_install("--mix")
    assert (code, report["ok"]) == (1, False)
    assert "the log begins at 1" in report["problem"]
