"""Runs in the copy: the checks of one mutant in their order, until one fails.

    python -m chaos.mutants.inside '[{"kind": "seeds", ...}, ...]'

prints one JSON line for each check when it ends: who caught it (null: nobody), and after how many seeds. It ends after
the first that was caught. The exit status is 0 either way; anything else is a check that could not run.

Leaves out: how the copy came to be (workshop.py).
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from chaos.mutants.mutant import Check, NamedTests, Scenarios, Seeds, from_json

SEEDS_AT_ONCE = 10
SCENARIOS = Path("tests/raft/scenarios")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check. `caught_by` is None where it passed."""

    caught_by: str | None
    detail: str = ""
    seeds: int | None = None
    """Seeds that were run, for a check of seeds."""


def run_check(check: Check) -> Outcome:
    """Runs one check on the code of this process; the working directory is the copy."""
    match check:
        case Scenarios(names=names):
            return _scenarios(names)
        case NamedTests(ids=ids):
            return _tests(ids)
        case Seeds():
            return _seeds(check)


def _scenarios(names: Sequence[str]) -> Outcome:
    module = import_module("tests.raft.scenario")
    paths = [SCENARIOS / f"{name}.txt" for name in names] or sorted(SCENARIOS.glob("*.txt"))
    for path in paths:
        recorded = path.read_text(encoding="utf-8")
        try:
            played = module.run(recorded)
        except module.BadScenario as problem:
            return Outcome(f"scenario {path.stem}", str(problem))
        if played != recorded:
            return Outcome(f"scenario {path.stem}", _first_difference(recorded, played))
    return Outcome(None)


def _first_difference(recorded: str, played: str) -> str:
    for one, other in zip(recorded.splitlines(), played.splitlines(), strict=False):
        if one != other:
            return f"recorded {one!r}, played {other!r}"
    return "one is longer than the other"


def _tests(ids: Sequence[str]) -> Outcome:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--tb=line", *ids]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return Outcome(None)
    lines = ended.stdout.splitlines()
    named = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if not named:
        raise RuntimeError(f"pytest ended with {ended.returncode}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    test, _, why = named[0].split(" ", 1)[1].partition(" - ")
    return Outcome(f"test {test.rpartition('::')[2]}", why)


def _seeds(check: Seeds) -> Outcome:
    for begin in range(1, check.seeds + 1, SEEDS_AT_ONCE):
        count = min(SEEDS_AT_ONCE, check.seeds + 1 - begin)
        failures = _sim(check, begin, count)
        if failures:
            first = min(failures, key=lambda failure: int(str(failure["seed"])))
            return Outcome(f"{check.depth} world: {first['invariant']}", str(first["text"]), int(str(first["seed"])))
    return Outcome(None, seeds=check.seeds)


def _sim(check: Seeds, start: int, count: int) -> list[dict[str, object]]:
    """Seeds through the command line, which is the same for every depth. Its words are not wanted here."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        report = Path(folder) / "sim.json"
        words = ["sim", "--seeds", str(count), "--start", str(start), "--steps", str(check.steps)]
        words += ["--depth", check.depth, "--weather", check.weather, "--json", str(report)]
        import_module("chaos.__main__").main(words)
        failures: list[dict[str, object]] = json.loads(report.read_text(encoding="utf-8"))["failures"]
    return failures


def main(told: str) -> None:
    """Runs the checks handed over as JSON."""
    for check in map(from_json, json.loads(told)):
        outcome = run_check(check)
        line = {"caught_by": outcome.caught_by, "detail": outcome.detail, "seeds": outcome.seeds}
        print(json.dumps(line), flush=True)
        if outcome.caught_by is not None:
            return


if __name__ == "__main__":
    main(sys.argv[1])
