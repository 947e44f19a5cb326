"""`python -m chaos mutants`: tell each lie of the catalogue to a copy, and see that it is caught."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chaos.mutants.catalogue import MUTANTS
from chaos.mutants.mutant import Check, Mutant, NamedTests, NoLongerApplies, Scenarios, Seeds
from chaos.mutants.report import Report, line, page
from chaos.mutants.workshop import DEFAULT_TIMEOUT_S, CannotRun, Caught, ask, pristine, try_on

SOURCES = Path(__file__).resolve().parents[2]

HELP = "one-line lies in a copy of the program: each must be caught by a scenario, a test or the simulated world"

DESCRIPTION = """\
Copies the sources, runs all checks once on the copy as it is (they must pass), then for each mutant makes one line of a
fresh copy lie and runs that mutant's checks until one fails.

Exit status: 0 all caught, 1 some survived, 2 a mutant no longer applies, or the copy as it is does not pass.
"""

EPILOG = """\
examples:
  python -m chaos mutants --jobs 2 --json docs/mutants.json     all of them
  python -m chaos mutants --only vote-twice learner-counted     these two
  python -m chaos mutants --list                                names and sentences
  python -m chaos mutants --docs docs/mutants.md                the page, from the JSON of the last run beside it
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers `mutants` with the command line of `chaos`."""
    style = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser("mutants", help=HELP, description=DESCRIPTION, epilog=EPILOG, formatter_class=style)
    names = tuple(mutant.name for mutant in MUTANTS)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these mutants, not all")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="how many to run at once (default 1)")
    limit = f"a mutant that runs longer is caught: it does not end (default {DEFAULT_TIMEOUT_S:.0f})"
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="S", help=limit)
    parser.add_argument(
        "--json", type=Path, metavar="F", help="write the report as JSON to this file; - for the screen"
    )
    docs = "run nothing: write the page from the JSON of the last run (--json, or the same name with .json)"
    parser.add_argument("--docs", type=Path, metavar="F", help=docs)
    parser.add_argument("--list", action="store_true", help="print what there is")


def run(args: argparse.Namespace) -> int:
    """Runs what the command line asks for. The exit status is that of the description."""
    if args.list:
        for mutant in MUTANTS:
            print(f"{mutant.name}: {mutant.sentence} ({mutant.file})")
        return 0
    if args.docs is not None:
        return _write_docs(args.docs, args.json or args.docs.with_suffix(".json"))
    chosen = [mutant for mutant in MUTANTS if args.only is None or mutant.name in args.only]
    try:
        report = run_mutants(chosen, SOURCES, args.jobs, args.timeout, to_stderr=str(args.json) == "-")
    except (NoLongerApplies, CannotRun) as problem:
        print(problem, file=sys.stderr)
        return 2
    if args.json is not None:
        _write_json(report.as_json(), args.json)
    return 0 if report.ok else 1


def run_mutants(
    mutants: Sequence[Mutant],
    sources: Path,
    jobs: int = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    to_stderr: bool = False,
) -> Report:
    """The baseline, then each mutant. Raises NoLongerApplies before anything is run, CannotRun where the baseline does
    not pass or a check cannot be run."""
    out = sys.stderr if to_stderr else sys.stdout
    report = Report()
    width = max(len(mutant.name) for mutant in mutants)
    with pristine(sources) as root, ThreadPoolExecutor(jobs) as pool:
        for mutant in mutants:
            mutant.must_apply(root)
        report.baseline = _run_baseline(root, mutants, pool, timeout_s)
        print(f"the copy as it is passes {report.baseline['checks']} checks, {report.baseline['seconds']} s", file=out)
        results = pool.map(lambda mutant: try_on(root, mutant, timeout_s), mutants)
        for mutant, caught in zip(mutants, results, strict=True):
            report.results.append((mutant, caught))
            print(line(mutant, caught, width), file=out, flush=True)
    survived = f", SURVIVED: {', '.join(report.survived)}" if report.survived else ""
    print(f"{len(mutants)} mutants, {len(mutants) - len(report.survived)} caught{survived}", file=out)
    return report


def _run_baseline(root: Path, mutants: Iterable[Mutant], pool: ThreadPoolExecutor, timeout_s: float) -> dict[str, Any]:
    """Every check once, as hard as any mutant asks for it."""
    begun = time.monotonic()
    checks = all_checks(mutants)
    asked: Iterable[Caught] = pool.map(lambda check: ask(root, [check], timeout_s), checks)
    for check, caught in zip(checks, asked, strict=True):
        if caught.by is not None:
            raise CannotRun(f"the copy as it is does not pass: {check}: {caught.by}: {caught.detail}")
    seeds = sum(check.seeds for check in checks if isinstance(check, Seeds))
    return {"ok": True, "checks": len(checks), "seeds": seeds, "seconds": round(time.monotonic() - begun, 1)}


def all_checks(mutants: Iterable[Mutant]) -> list[Check]:
    """The checks of all mutants, merged: one for all scenarios, one for all tests of a file, and of the same seeds the
    greatest number."""
    asked = [check for mutant in mutants for check in mutant.checks]
    merged: list[Check] = []
    scenarios = {name for check in asked if isinstance(check, Scenarios) for name in check.names or ("",)}
    if scenarios:
        merged.append(Scenarios(() if "" in scenarios else tuple(sorted(scenarios))))
    tests = sorted({name for check in asked if isinstance(check, NamedTests) for name in check.ids})
    files = sorted({name.partition("::")[0] for name in tests})
    merged += [NamedTests(tuple(name for name in tests if name.partition("::")[0] == file)) for file in files]
    worlds: dict[tuple[str, str, int], Seeds] = {}
    for check in asked:
        if isinstance(check, Seeds):
            world = (check.weather, check.depth, check.steps)
            worlds[world] = max(worlds.get(world, check), check, key=lambda one: one.seeds)
    return merged + list(worlds.values())


def _write_docs(path: Path, source: Path) -> int:
    try:
        report = json.loads(source.read_text(encoding="utf-8"))
        path.write_text(page(report), encoding="utf-8")
    except (OSError, ValueError, KeyError) as problem:
        print(f"no page could be made from {source}: {problem!r}", file=sys.stderr)
        return 2
    return 0


def _write_json(report: dict[str, Any], path: Path) -> None:
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
