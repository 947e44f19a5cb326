"""`python -m chaos cuts`: every message of a story with a cut just before it, compared with the story without a cut.

A story is played on shipped nodes in virtual time (chaos/nodes): three zones, a site for each Samu that speaks, one
message after the other at its sender's site. Then again for each message: just before it the line of its site is cut
(`own`), or every site's (`all`); what follows is played while cut off, the line heals, everything is reconciled.

The values that hold at the end must be those without the cut, but for fields whose rule says otherwise; each such
difference is listed with its rule and the verdict that told of it. One that no rule and no verdict explains is an
error, as is an operation without exactly one verdict, nodes that differ, or a journal that does not empty.

Left out: every other fault (`chaos sim`), and real processes (`replica demo`, `chaos live`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from chaos.cuts.show import show
from chaos.cuts.stories import ORDERS, VARIANTS, cuts, stories
from chaos.cuts.trial import CutsResult, Plan, RunResult, run_all
from replica.errors import ConfigError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `cuts` command and its options."""
    parser = subparsers.add_parser("cuts", help="a cut before each message of a story in turn", description=__doc__)
    parser.add_argument("--examples", type=Path, default=None, help="a folder of messages (default: the own stories)")
    parser.add_argument("--story", default="", help="only this one: a folder's name, or an emergency's")
    parser.add_argument("--order", choices=ORDERS, default="both", help="all by number, each emergency alone, or both")
    parser.add_argument("--variant", choices=(*VARIANTS, "both"), default="both", help="whose line is cut")
    parser.add_argument("--length", type=int, default=None, help="heal after so many messages (default: at the end)")
    parser.add_argument("--start", type=int, default=1, help="the first message of each story with a cut before it")
    parser.add_argument("--count", type=int, default=None, help="how many from there on (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--json", type=Path, default=None, help="write the result there")


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every difference has its rule and nothing is lost, 1 where not, 2 for wrong options."""
    console = Console(soft_wrap=False)
    try:
        plan = _plan(args)
    except ConfigError as problem:
        print(problem, file=sys.stderr)
        return 2
    result = run_all(plan, args.jobs, _Progress(len(plan.tasks)).tell)
    show(console, result)
    if args.json is not None:
        write_json(args.json, result)
    return 0 if result.ok else 1


def write_json(path: Path, result: CutsResult) -> None:
    """The result as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def _plan(args: argparse.Namespace) -> Plan:
    for option in ("length", "start", "count", "jobs"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option}", f"{value} is not a number of 1 or more")
    variants = VARIANTS if args.variant == "both" else (args.variant,)
    if args.examples is not None and not args.examples.is_dir():
        raise ConfigError("--examples", f"{args.examples} is not a folder")
    played = stories(args.examples, args.order, args.story)
    tasks = [(one, cut) for one in played for cut in cuts(one, variants, args.length, args.start, args.count)]
    if not tasks:
        raise ConfigError("--start", f"{args.start} is beyond the last message of every story")
    return Plan(tasks, len({turn.name for one in played for turn in one.turns}))


class _Progress:
    """One line on standard error that says how far it is, where somebody looks."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def tell(self, result: RunResult) -> None:
        self._done += 1
        if sys.stderr.isatty():
            end = "\n" if self._done == self._total else "\r"
            print(f"{self._done} of {self._total} runs", end=end, file=sys.stderr, flush=True)
