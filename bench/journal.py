"""`python -m bench journal`: what a journalled write costs while the line is cut, beside a bare commit of its bytes.

One caller at a site in this process, with no zone in reach: each operation is journalled, synced, and answered
`journalled`. Beside it, in the same run and the same folder, an LMDB environment with the same settings commits the
same bytes under a number, and nothing else. Both take turns in blocks, so that whatever else the disk does falls upon
both. It is one environment each; the file system may still treat two files differently.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import lmdb
import trio
from rich.console import Console
from rich.table import Table

import replica
from bench.figures import Distribution, distribution
from bench.inside import quiet, site_inside
from bench.machine import this_machine
from bench.plots import waits
from bench.report import Report, Spread, add_output, publish, refused, spread
from bench.work import DEFAULT_BYTES, case_id, command, encoded_bytes, opening
from replica.api import Journalled
from replica.demo.supervisor import Plan, SitePlan, open_cluster
from replica.offline.events import Mode
from replica.storage.environment import open_lmdb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SITE: Final = "fr.health.samu440"
CASES: Final = 100
BLOCK: Final = 50
"""Operations of one kind before the other has its turn."""
BUDGET_MS: Final = 5000
TARGET_RATIO: Final = 1.5
MAP_BYTES: Final = 1 << 30
CUT_OFF_WITHIN_S: Final = 10.0


class JournalReport(Report, frozen=True, kw_only=True):
    """`journalled` and `commit`: each one's wait. `ratio`: of their medians, the median over runs; `ratio_spread` has
    each run's. `loop`: as `commit`, but handed to a thread and its end waited for in the loop, as any durable write
    under trio has to be: what no code of ours can save. `failed`: operations that were not answered `journalled`."""

    operations: int
    bytes: int
    runs: int
    journalled: Distribution
    commit: Distribution
    loop: Distribution
    ratio: float
    ratio_spread: Spread
    failed: int
    warm_up_operations: int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `journal` command and its options."""
    parser = subparsers.add_parser("journal", help="a journalled write beside a bare commit", description=__doc__)
    parser.add_argument("--operations", type=int, default=2000, help="of each kind, in each run")
    parser.add_argument("--size", type=int, default=DEFAULT_BYTES, help="bytes of a note's text")
    parser.add_argument("--runs", type=int, default=3)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every operation was journalled, 1 where one was not, 2 for wrong options."""
    if args.operations < BLOCK or args.runs < 1 or not 16 <= args.size <= 2000:
        return refused(f"--operations at least {BLOCK}, --runs at least 1, --size 16 to 2000")
    if args.quick:
        args.operations, args.runs = min(args.operations, 400), 1
    quiet()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        report = trio.run(_measure, args, Path(folder), console)
    console.print(_table(report))
    publish(args, report, console, lambda: _drawing(report))
    return 1 if report.failed else 0


async def _measure(args: argparse.Namespace, folder: Path, console: Console) -> JournalReport:
    machine, ms, ratios, failed = this_machine(folder), _Ms(), [], 0
    for run in range(args.runs):
        of_run = _Ms()
        # No zone is started: nobody answers at any of their addresses.
        async with open_cluster(Plan(folder / f"run-{run}", 3, (SitePlan(SITE),), cluster="bench")) as cluster:
            async with site_inside(cluster, SITE) as site:
                await _until_cut_off(site)
                failed += await _one_run(args, site, folder / f"bare-{run}", of_run)
        ratios.append(distribution(of_run.journalled).p50 / distribution(of_run.commit).p50)
        ms.add(of_run)
        console.print(f"run {run + 1} of {args.runs}: {ratios[-1]:.2f} times a bare commit", highlight=False)
    found = spread(ratios)
    return JournalReport(
        machine=machine,
        quick=args.quick,
        not_measured=("callers at once, who share a commit", "a journal that is long already", "reading meanwhile"),
        operations=args.operations * args.runs,
        bytes=encoded_bytes(SITE, args.size),
        runs=args.runs,
        journalled=distribution(ms.journalled),
        commit=distribution(ms.commit),
        loop=distribution(ms.loop),
        ratio=round(found.median, 3),
        ratio_spread=found,
        failed=failed,
        warm_up_operations=BLOCK,
    )


class _Ms:
    """The waits of one run or of all."""

    def __init__(self) -> None:
        self.journalled: list[float] = []
        self.commit: list[float] = []
        self.loop: list[float] = []

    def add(self, other: _Ms) -> None:
        self.journalled += other.journalled
        self.commit += other.commit
        self.loop += other.loop


async def _one_run(args: argparse.Namespace, site: replica.Site, bare: Path, ms: _Ms) -> int:
    """Blocks of each kind in turn, the first of each to warm up. How many operations were not journalled."""
    warm_up = _Ms()
    value = bytes(encoded_bytes(SITE, args.size))
    for number in range(CASES):
        await site.submit_message(opening(SITE, number), sender=SITE, key=f"open/{number}", budget_ms=BUDGET_MS)
    failed = done = 0
    with _bare_environment(bare) as environment:
        commit = _committing(environment, value)
        for block in range(-1, args.operations // BLOCK):
            kept = ms if block >= 0 else warm_up
            for _ in range(BLOCK):
                done += 1
                failed += await _journal(site, done, args.size, kept)
            for _ in range(BLOCK):
                kept.commit.append(_timed(commit))
            for _ in range(BLOCK):
                kept.loop.append(await _in_thread(commit))
    return failed


async def _journal(site: replica.Site, number: int, size: int, ms: _Ms) -> bool:
    """One operation; whether it failed."""
    decided = command(case_id(SITE, number // 2 % CASES), number, size)
    began = perf_counter()
    receipt = await site.submit(decided, author="bench", budget_ms=BUDGET_MS)
    if isinstance(receipt, Journalled):
        ms.journalled.append((perf_counter() - began) * 1000)
    return not isinstance(receipt, Journalled)


def _bare_environment(folder: Path) -> lmdb.Environment:
    """Opened as our stores are, with all that makes a commit durable."""
    folder.mkdir()
    return open_lmdb(folder, read_only=False, lock=True, databases=1, map_size=MAP_BYTES)


def _committing(environment: lmdb.Environment, value: bytes) -> Callable[[], None]:
    """A function that commits the value under the next number, durably."""
    table, numbers = environment.open_db(b"bare"), iter(range(1, 1 << 40))

    def commit() -> None:
        with environment.begin(write=True) as transaction:
            transaction.put(next(numbers).to_bytes(8, "big"), value, db=table)

    return commit


def _timed(commit: Callable[[], None]) -> float:
    began = perf_counter()
    commit()
    return (perf_counter() - began) * 1000


async def _in_thread(commit: Callable[[], None]) -> float:
    began = perf_counter()
    await trio.to_thread.run_sync(commit)
    return (perf_counter() - began) * 1000


async def _until_cut_off(site: replica.Site) -> None:
    """Wait until the site knows that nobody answers: before that it would wait for its callers' whole budget."""
    with trio.fail_after(CUT_OFF_WITHIN_S):
        receipt = await site.submit_message(opening(SITE, CASES), sender=SITE, budget_ms=BUDGET_MS)
        assert all(isinstance(one, Journalled) for one in receipt), "nobody is there to agree"
        assert site.freshness().mode is Mode.CUT_OFF, "nobody is there to follow"


def _table(report: JournalReport) -> Table:
    table = Table(title=f"one caller, line cut, {report.bytes} bytes an operation")
    for name in ("", "p50 ms", "p99 ms", "times a bare commit", "target"):
        table.add_column(name, justify="right")
    bare = report.commit.p50
    rows = (("journalled", report.journalled), ("bare commit", report.commit), ("the same in a thread", report.loop))
    for name, found in rows:
        mine = name == "journalled"
        times = report.ratio_spread.text(2) if mine else f"{found.p50 / bare:.2f}"
        table.add_row(name, f"{found.p50:.3f}", f"{found.p99:.3f}", times, f"≤ {TARGET_RATIO:g}" if mine else "")
    return table


def _drawing(report: JournalReport) -> Figure:
    series = {"journalled": report.journalled.ms, "bare commit": report.commit.ms, "in a thread": report.loop.ms}
    return waits("A journalled write, line cut", series, log=True)
