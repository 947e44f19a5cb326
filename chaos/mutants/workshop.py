"""Where mutants are made and run: a pristine copy of the sources, and a copy of that for each lie.

The pristine copy is taken once, so that whoever edits the sources meanwhile changes nothing. A check runs in a process
of its own, which imports from the copy; a process that does not end in time counts as caught (a program that hangs is
noticed too), one that dies without a word as an error.

Leaves out: mutating in place. The sources of the project are only read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.mutants.mutant import Check, Mutant, as_json

COPIED = ("replica", "chaos", "tests", "pyproject.toml")
DEFAULT_TIMEOUT_S = 300.0


class CannotRun(Exception):
    """A check ended in a way that says nothing about the mutant: the text has its last words."""


@dataclass(frozen=True, slots=True)
class Caught:
    """What came of one mutant. `by` is None where nobody noticed."""

    by: str | None
    detail: str
    seeds: int | None
    """Seeds of the simulated world that were run in all, None where it was not asked."""
    seconds: float


@contextmanager
def pristine(sources: Path) -> Iterator[Path]:
    """A copy of the sources as they are now, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder) / "pristine"
        copy(sources, root)
        yield root


def copy(sources: Path, root: Path) -> None:
    """Copies what the checks need; no caches, which could hold the code as it was."""
    root.mkdir()
    for name in COPIED:
        if (sources / name).is_dir():
            shutil.copytree(sources / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(sources / name, root / name)


def try_on(root: Path, mutant: Mutant, timeout_s: float = DEFAULT_TIMEOUT_S) -> Caught:
    """Tells one lie in a copy of `root` and asks its checks. Raises NoLongerApplies and CannotRun."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        lying = Path(folder) / "lying"
        copy(root, lying)
        mutant.lie_in(lying)
        return ask(lying, mutant.checks, timeout_s)


def ask(root: Path, checks: Sequence[Check], timeout_s: float = DEFAULT_TIMEOUT_S) -> Caught:
    """Runs checks on the copy at `root`, until one fails."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "chaos.mutants.inside", json.dumps([as_json(check) for check in checks])]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    try:
        ended = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        return Caught("does not end", f"killed after {timeout_s:.0f} s", _seeds(_text(late.stdout)), timeout_s)
    outcomes = _outcomes(ended.stdout)
    last = outcomes[-1] if outcomes else {}
    if last.get("caught_by") is None and (ended.returncode or len(outcomes) < len(checks)):
        return _died(ended, time.monotonic() - begun)
    by = last.get("caught_by")
    detail = str(last.get("detail", ""))
    return Caught(None if by is None else str(by), detail, _seeds(ended.stdout), time.monotonic() - begun)


def _died(ended: subprocess.CompletedProcess[str], seconds: float) -> Caught:
    """A program that no longer starts is noticed by whoever starts it; all else is our own fault."""
    words = ended.stderr.strip().splitlines()
    last = words[-1] if words else f"status {ended.returncode}, no word"
    if any("/replica/" in line for line in words):
        return Caught("does not run", last, None, seconds)
    raise CannotRun("\n".join(words[-15:]) or last)


def _outcomes(printed: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def _seeds(printed: str) -> int | None:
    counted = [outcome["seeds"] for outcome in _outcomes(printed) if outcome.get("seeds") is not None]
    return sum(int(str(seeds)) for seeds in counted) if counted else None


def _text(printed: bytes | str | None) -> str:
    return printed.decode(errors="replace") if isinstance(printed, bytes) else printed or ""
