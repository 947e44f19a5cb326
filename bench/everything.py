"""`python -m bench all`: every command in turn, the table of targets with what was measured, docs/benchmarks.md.

Each command runs as a process of its own, one after the other, with nothing beside it; `--times N` makes the whole
round N times, so that a figure has its spread over rounds that are apart in time. Every report is kept as JSON in
`--folder`, every plot of the last round beside the page. `--only` runs some of the commands; `--page-only` writes the
page again from reports that are there.

`--quick` is for a look in five minutes: short runs, small states, no page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.machine import this_machine
from bench.page import page
from bench.plots import bars
from bench.report import Report, add_output, publish, refused
from bench.targets import TARGETS, Row, rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUND: Final[tuple[tuple[str, str, str], ...]] = (
    ("profile", "profile", "--callers 1,100,1000 --seconds 5"),
    ("throughput", "throughput", "--seconds 2 --runs 1 --peer etcd"),
    ("reads", "reads", "--seconds 1.5 --runs 1 --peer etcd"),
    ("journal", "journal", ""),
    ("failover-kill", "failover", "--fault kill --trials 30"),
    ("failover-kill-etcd", "failover", "--fault kill --trials 12 --peer etcd"),
    ("failover-kill-load", "failover", "--fault kill --trials 15 --load 10"),
    ("failover-stop", "failover", "--fault stop --trials 12"),
    ("failover-cut", "failover", "--fault cut --trials 12"),
    ("failover-leave", "failover", "--fault leave --trials 15"),
    ("failover-transfer", "failover", "--fault transfer --trials 15"),
    ("feed", "feed", "--sites 50 --seconds 10 --runs 1"),
    ("sites", "sites", "--n 10,50,100"),
    ("reconcile", "reconcile", "--operations 1000,10000,100000 --runs 1"),
    ("day", "day", "--minutes 2"),
    ("failover-kill-state", "failover", "--fault kill --trials 15 --state-size 200000"),
    ("recovery", "recovery", "--entries 1000000 --cases 200000"),
    ("peers", "peers", ""),
    ("peers-check", "peers", "--check"),
    ("false-elections", "failover", "--fault kill --trials 1 --load 100 --false-elections 600"),
)
"""(name of the report, command, its options)."""
QUICK: Final[tuple[tuple[str, str, str], ...]] = (
    ("profile", "profile", ""),
    ("throughput", "throughput", ""),
    ("reads", "reads", ""),
    ("journal", "journal", ""),
    ("failover-kill", "failover", "--fault kill --trials 5"),
    ("failover-transfer", "failover", "--fault transfer --trials 3"),
    ("feed", "feed", "--sites 10"),
    ("sites", "sites", "--n 5"),
    ("reconcile", "reconcile", "--operations 1000,5000"),
    ("recovery", "recovery", "--entries 5000 --cases 1000"),
    ("day", "day", ""),
)
ONCE: Final = frozenset(
    (
        "profile",
        "failover-kill-etcd",
        "failover-kill-state",
        "sites",
        "day",
        "recovery",
        "peers",
        "peers-check",
        "false-elections",
    )
)
"""Long ones, made in the first round alone."""
PAGE: Final = Path("docs/benchmarks.md")


class Ran(Struct, frozen=True, kw_only=True):
    """One command of one round. `exit_status` 1: something failed in it, and its report says what."""

    name: str
    round: int
    words: str
    exit_status: int
    seconds: float


class AllReport(Report, frozen=True, kw_only=True):
    """`rows`: the targets with one value per round; `commands`: what was run, in order."""

    rounds: int
    rows: tuple[Row, ...]
    commands: tuple[Ran, ...]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `all` command and its options."""
    parser = subparsers.add_parser("all", help="everything, and the page of it", description=__doc__)
    parser.add_argument("--times", type=int, default=1, help="rounds")
    parser.add_argument("--begin", type=int, default=1, help="the number of the first round made")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="only these reports")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks"), help="where the reports are kept")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that is written")
    parser.add_argument("--page-only", action="store_true", help="write the page from the reports in --folder")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0, or 1 where a command failed; a missed target is told, not a failure. 2 for wrong options."""
    plan = QUICK if args.quick else ROUND
    only = set(filter(None, args.only.split(",")))
    names = {name for name, _, _ in plan}
    if args.times < 1 or args.begin < 1 or not only <= names:
        return refused(f"--times and --begin at least 1, --only of {', '.join(sorted(names))}")
    chosen = [one for one in plan if not only or one[0] in only]
    console = Console()
    args.folder.mkdir(parents=True, exist_ok=True)
    machine = this_machine(args.folder)
    commands: list[Ran] = []
    if not args.page_only:
        for number in range(args.begin, args.begin + args.times):
            for name, command, words in chosen if number == 1 else _not(ONCE, chosen):
                ran = _run(args, number, name, command, words)
                commands.append(ran)
                how = "done" if ran.exit_status == 0 else f"exit status {ran.exit_status}"
                console.print(f"{name}: {how} after {ran.seconds:.0f} s", highlight=False, style="bold")
    reports = _reports(args.folder)
    report = AllReport(
        machine=machine,
        quick=args.quick,
        rounds=len(reports),
        rows=rows(reports),
        commands=tuple(commands),
        not_measured=() if len(chosen) == len(plan) else (f"all but {', '.join(one[0] for one in chosen)}",),
    )
    console.print(_table(report))
    if not args.quick or args.page != PAGE:
        args.page.write_text(page(report.rows, reports, machine, args.page.parent), encoding="utf-8")
        console.print(f"written: {args.page}", highlight=False)
    publish(args, report, console, lambda: _drawing(report))
    return 1 if any(ran.exit_status for ran in commands) else 0


def _not(names: frozenset[str], chosen: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [one for one in chosen if one[0] not in names]


def _run(args: argparse.Namespace, number: int, name: str, command: str, words: str) -> Ran:
    report = args.folder / f"{name}-{number}.json"
    report.unlink(missing_ok=True)
    line = [sys.executable, "-m", "bench", command, *words.split(), "--json", str(report)]
    if args.quick:
        line.append("--quick")
    else:
        plots = args.page.parent / "benchmarks"
        line += ["--plot", str(plots / f"{name}.svg")]
    began = monotonic()
    status = subprocess.run(line, check=False).returncode
    return Ran(name=name, round=number, words=words, exit_status=status, seconds=round(monotonic() - began, 1))


def _reports(folder: Path) -> list[dict[str, Any]]:
    """Per round: name → report."""
    found: dict[int, dict[str, Any]] = {}
    for file in sorted(folder.glob("*-*.json")):
        name, _, number = file.stem.rpartition("-")
        if number.isdigit():
            found.setdefault(int(number), {})[name] = msgspec.json.decode(file.read_bytes())
    return [found[number] for number in sorted(found)]


def _table(report: AllReport) -> Table:
    table = Table(title=f"targets, {report.rounds} rounds")
    for name in ("act", "target", "measured", ""):
        table.add_column(name)
    for row in report.rows:
        table.add_row(row.act, row.target, row.text(), row.word())
    return table


def _drawing(report: AllReport) -> Figure:
    """How far each measured value is from its target: 1 is the target, above it is better."""
    reached = [(row.act, row.reached()) for row in report.rows if row.values]
    return bars(
        "reached, against the target",
        "times the target",
        [act for act, _ in reached],
        {"": [how for _, how in reached]},
    )


assert {row.report for row in TARGETS} <= {name for name, _, _ in ROUND}, "a target of a report that nobody makes"
