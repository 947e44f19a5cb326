"""`python -m bench failover`: how long callers at a site wait when something happens to the leading zone.

Three zones and a site, a process each, on loopback with durable stores. `--callers` callers at the site hand in one
operation after the other, over connections that a real client would hold. Per trial: everything is up and level; the
fault is done to the leader (bench/faults.py says what each is); every caller's wait around it is a value
(bench/waiting.py says what counts). Then the fault is undone, and the next trial begins when all zones have caught up,
after a pause of random length so that trials do not beat in time with heartbeats, and `--rest` seconds more. `--load`
callers more write at another site all the time, from a process of their own; `--state-size` cases are made before. The
budget of every operation is far above what is measured, so the receipt waited for is the quorum's.

`--peer etcd` does the same to three members of etcd on the same disk, afterwards in the same run, once with etcd's own
times and once tuned; its callers hold connections to all members and go round a fault at once (peers/etcd_caller.py).
`--false-elections SECONDS` does nothing to the leader: it saturates the cluster for so long and counts elections.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import plots
from bench.faults import FAULTS, SUDDEN
from bench.load import Loaded
from bench.machine import this_machine
from bench.peers.etcd import find_etcd
from bench.peers.etcd_cluster import HOW_TO
from bench.report import Report, add_output, publish, refused
from bench.trials import Setting, TrialsRun, no_fault, on_etcd, on_ours
from bench.waiting import Waits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRIALS: Final = 30
QUICK_TRIALS: Final = 3
CASES: Final = 10
LOAD_OF_FALSE_ELECTIONS: Final = 100
TARGET_RATIO: Final = 5.0
TARGETS: Final = {
    "kill": "p50 ≤ 20, p99 ≤ 60",
    "stop": "p50 ≤ 300, p99 ≤ 600",
    "cut": "p50 ≤ 300, p99 ≤ 600",
    "leave": "max ≤ 30",
    "transfer": "max ≤ 30",
}


class FalseElections(Struct, frozen=True, kw_only=True):
    """A saturated cluster with no fault: elections seen meanwhile, and what the load did."""

    seconds: float
    elections: int
    load: Loaded | None


class FailoverReport(Report, frozen=True, kw_only=True):
    """`replica`, `etcd_default`, `etcd_tuned`: each system's waits, None where there are none; `failed_by` counts for
    each the trials without an agreed answer for every caller or with a failed write, which are in no percentile, and
    `failed` ours. `rest_s`: calm before each trial besides the pause. `load_by`: what the load did beside each.
    `ratio_p50`: tuned etcd's p50 over ours. `prepare_s`: how long the cases took to make. `false_elections`: None
    unless that was asked for; then nothing else is."""

    fault: str
    trials: int
    callers: int
    load: int
    state_size: int
    rest_s: float
    replica: Waits | None
    etcd_default: Waits | None
    etcd_tuned: Waits | None
    ratio_p50: float | None
    failed: int
    failed_by: dict[str, int]
    load_by: dict[str, Loaded]
    prepare_s: float
    etcd_version: str
    false_elections: FalseElections | None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `failover` command and its options."""
    parser = subparsers.add_parser("failover", help="how long callers wait when the leader fails", description=__doc__)
    parser.add_argument("--fault", choices=FAULTS, default="kill")
    parser.add_argument("--trials", type=int, default=None, help=f"{TRIALS}; quick: {QUICK_TRIALS}")
    parser.add_argument("--callers", type=int, default=1, help="that wait at the site (1)")
    parser.add_argument("--load", type=int, default=0, help="callers that write at another site meanwhile (0)")
    parser.add_argument("--state-size", type=int, default=CASES, help=f"cases in the state ({CASES})")
    parser.add_argument("--peer", choices=("etcd",), default=None, help="the same to it, in the same run")
    parser.add_argument("--zones", type=int, default=3)
    parser.add_argument("--rest", type=float, default=0.0, metavar="SECONDS", help="calm before each trial besides (0)")
    parser.add_argument("--seed", type=int, default=1, help="decides the pauses between trials")
    parser.add_argument(
        "--false-elections",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="no fault: saturate for so long and count elections",
    )
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every trial ended well, 1 where something went wrong (`went_wrong`), 2 for wrong options."""
    trials = args.trials if args.trials is not None else QUICK_TRIALS if args.quick else TRIALS
    if problem := _problem(args, trials):
        return refused(problem)
    console = Console()
    setting = Setting(
        fault=args.fault,
        trials=trials,
        callers=args.callers,
        load=args.load or (LOAD_OF_FALSE_ELECTIONS if args.false_elections else 0),
        state_size=args.state_size,
        zones=args.zones,
        rest_s=args.rest,
        tell=lambda text: console.print(text, highlight=False),
    )
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        report = _measured(args, setting, Path(folder))
    console.print(table(report))
    publish(args, report, console, lambda: draw(report))
    return 1 if went_wrong(report) else 0


def went_wrong(report: FailoverReport) -> bool:
    """Whether a trial failed, ours or a peer's, a write of ours or of the load beside it did, or an election was
    false."""
    false = report.false_elections
    return (
        any(report.failed_by.values())
        or (report.replica is not None and report.replica.failed_writes > 0)
        or any(one.failed for name, one in report.load_by.items() if name == "replica")
        or (false is not None and false.elections > 0)
    )


def _problem(args: argparse.Namespace, trials: int) -> str:
    """What is wrong with the options, or ""."""
    if trials < 1 or not 3 <= args.zones <= 7:
        return "--trials must be at least 1, --zones 3 to 7 (with fewer, nobody leads while one is dead)"
    if args.callers < 1 or args.load < 0 or args.state_size < 1 or min(args.false_elections, args.rest) < 0:
        return "--callers and --state-size must be at least 1, --load, --rest and --false-elections not negative"
    if args.peer == "etcd" and find_etcd() is None:
        return HOW_TO
    if args.peer and args.false_elections:
        return "--false-elections is of our own cluster: leave --peer out"
    return ""


def _measured(args: argparse.Namespace, setting: Setting, folder: Path) -> FailoverReport:
    machine, false = this_machine(folder), None
    runs: dict[str, TrialsRun] = {}
    if args.false_elections:
        elections, runs["replica"] = trio.run(no_fault, setting, folder / "replica", args.false_elections)
        false = FalseElections(seconds=args.false_elections, elections=elections, load=runs["replica"].load)
    else:
        runs["replica"] = trio.run(on_ours, setting, folder / "replica", random.Random(args.seed))
        for timing in ("default", "tuned") if args.peer == "etcd" else ():
            name = f"etcd_{timing}"
            runs[name] = trio.run(on_etcd, setting, folder / name, random.Random(args.seed), timing)
    program = find_etcd() if args.peer else None
    waits = {name: one.side.waits for name, one in runs.items()}
    return FailoverReport(
        machine=machine,
        quick=args.quick,
        not_measured=_not_measured(args),
        fault=args.fault,
        trials=0 if false else setting.trials,
        callers=setting.callers,
        load=setting.load,
        state_size=setting.state_size,
        rest_s=setting.rest_s,
        replica=waits["replica"],
        etcd_default=waits.get("etcd_default"),
        etcd_tuned=waits.get("etcd_tuned"),
        ratio_p50=ratio_p50(waits.get("etcd_tuned"), waits["replica"]),
        failed=runs["replica"].side.failed,
        failed_by={name: one.side.failed for name, one in runs.items()},
        load_by={name: one.load for name, one in runs.items() if one.load is not None},
        prepare_s=runs["replica"].prepare_s,
        etcd_version=program.version if program else "",
        false_elections=false,
    )


def _not_measured(args: argparse.Namespace) -> tuple[str, ...]:
    found = ["zones a distance apart: all lines are loopback", "a machine that loses its power"]
    if args.fault == "cut":
        found.append("lines without a proxy: what can be cut goes through one in the bench's own process")
    if not args.load:
        found.append("load beside the callers")
    if not args.peer:
        found.append("other systems")
    return tuple(found)


def ratio_p50(etcd: Waits | None, ours: Waits | None) -> float | None:
    """How many times as long etcd's callers waited; None where one of them has no waits."""
    return None if etcd is None or ours is None else round(etcd.p50 / ours.p50, 2)


def named(report: FailoverReport) -> dict[str, Waits]:
    """Each system that has waits, by its name for people."""
    found = {
        "replica": report.replica,
        f"etcd {report.etcd_version}": report.etcd_default,
        f"etcd {report.etcd_version} tuned": report.etcd_tuned,
    }
    return {name: waits for name, waits in found.items() if waits is not None}


def table(report: FailoverReport) -> Table:
    """The report for a person, with the targets. Of all operations of the run: the longest wait and how many failed. Of
    the waits around faults: the percentiles and how many were longer than a usual budget. `calm`: p50 without a
    fault."""
    shown = Table(title=_title(report), title_justify="left")
    for column in ("ms", "p50", "p90", "p99", "max", "n", "longest", "> 250", "failed", "calm"):
        shown.add_column(column, justify="left" if column == "ms" else "right")
    for name, one in named(report).items():
        shown.add_row(
            name,
            *(f"{value:,.1f}" for value in (one.p50, one.p90, one.p99, one.max)),
            str(len(one.ms)),
            f"{one.longest_submit_ms:,.1f}",
            str(one.journalled),
            f"{one.failed_writes:,}",
            f"{one.calm.p50:,.1f}" if one.calm else "",
        )
    told = [f"target: {TARGETS[report.fault]}"]
    if report.fault not in SUDDEN:
        told[0] += ", no failed write"
    if report.ratio_p50 is not None:
        told.append(
            f"tuned etcd waits {report.ratio_p50:.1f} × as long"
            + (f" (≥ {TARGET_RATIO:g} ×)" * (report.fault == "kill"))
        )
    told += [f"load beside {name}: {one.per_s:,.0f}/s, {one.failed} failed" for name, one in report.load_by.items()]
    told += [f"failed trials of {name}: {count}" for name, count in report.failed_by.items()]
    if report.false_elections is not None:
        false = report.false_elections
        told = [f"elections in {false.seconds:g} saturated seconds without a fault: {false.elections} (0)", *told[1:]]
    shown.caption = "; ".join(told)
    return shown


def _title(report: FailoverReport) -> str:
    return (
        f"{report.fault} of the leader: {report.trials} trials, {report.callers} callers, {report.load} more as load, "
        f"{report.state_size:,} cases"
    )


def draw(report: FailoverReport) -> Figure:
    """The share of callers that had waited at most so long."""
    return plots.waits(_title(report), {name: one.ms for name, one in named(report).items()}, log=True)
