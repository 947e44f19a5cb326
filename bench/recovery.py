"""`python -m bench recovery`: how long a zone that was killed takes until it serves again, from its own disk alone.

A store with so many entries in its log and so many cases in its state is made (bench/grown.py), and a zone process is
started on it, the only voter of its cluster, so that nothing is fetched from others. Then, run after run: SIGKILL, the
process is started again, and the time from the signal is taken until it has said that it is ready *and* has answered a
local read of a case (`serving_ms`), and until it leads and has applied all that its log holds (`level_ms`). Its memory
is read then. All but the first starts find the state written back; the first is on a store whose last `--tail` entries
are in the log alone, as after a crash right before a write-back, and is a row of its own.

The files are in the system's page cache, as they are when a process dies and its machine does not. `cold_ms` is a start
for which the cache was asked to let go of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import plots
from bench.grown import SAMU, Grown, grow
from bench.machine import this_machine
from bench.processes import disk_mb, private_mb, rss_mb
from bench.report import Report, Spread, add_output, publish, refused, spread
from replica.config import Limits
from replica.demo.supervisor import Cluster, Plan, open_cluster
from replica.errors import ReplicaError
from replica.runtime.client import Client, open_client
from replica.storage import Identity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ZONE: Final = "zone-1"
CLUSTER: Final = "bench"
SIZE: Final = (1_000_000, 200_000)
QUICK_SIZE: Final = (20_000, 4_000)
TAIL: Final = 10_000
QUICK_TAIL: Final = 1_000
KEPT_MIB: Final = 1 << 18
"""Of the log: more than any here, so that all its entries stay."""
WITHIN_S: Final = 120.0
LOOK_S: Final = 0.005
TARGET_MS: Final = 1000
TARGET_RSS_MB: Final = 300


class Recovered(Struct, frozen=True, kw_only=True):
    """Starts on one store; medians of `times`. `serving_ms`: SIGKILL → ready and a local read answered. `level_ms`:
    SIGKILL → it leads and has applied its whole log. `cold_ms`: as `serving_ms`, once, with the page cache emptied of
    the store; None where it was not tried. `tail`: entries that were in the log and not in the state. `rss_mb` and
    `private_mb`: the most of what was read when it served and when it was level; in the first, pages of the store that
    the system can drop are counted. `disk_mb`: log and state. `log_bytes_per_entry`, `state_bytes_per_case`: of those
    files."""

    entries: int
    cases: int
    tail: int
    times: int
    serving_ms: float
    serving_spread: Spread
    level_ms: float
    cold_ms: float | None
    rss_mb: float
    private_mb: float
    disk_mb: float
    log_bytes_per_entry: float
    state_bytes_per_case: float


class RecoveryReport(Report, frozen=True, kw_only=True):
    """`failed`: starts after which the zone did not serve in time, or did not show the case; they are in no figure."""

    runs: tuple[Recovered, ...]
    failed: int


class Start(Struct, frozen=True, kw_only=True):
    """One start."""

    serving_ms: float
    level_ms: float
    rss_mb: float
    private_mb: float


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `recovery` command and its options."""
    parser = subparsers.add_parser("recovery", help="how long a killed zone takes to serve again", description=__doc__)
    parser.add_argument("--entries", type=int, default=None, help="in the log (1000000; quick: 20000)")
    parser.add_argument("--cases", type=int, default=None, help="in the state (200000; quick: 4000)")
    parser.add_argument("--tail", type=int, default=None, help="of the entries, not in the state (10000; quick: 1000)")
    parser.add_argument("--runs", type=int, default=None, help="starts without a tail (3; quick: 1)")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every start served, 1 where one did not, 2 for wrong options."""
    default_entries, default_cases = QUICK_SIZE if args.quick else SIZE
    entries = default_entries if args.entries is None else args.entries
    cases = default_cases if args.cases is None else args.cases
    tail = (QUICK_TAIL if args.quick else TAIL) if args.tail is None else args.tail
    runs = args.runs if args.runs is not None else 1 if args.quick else 3
    if cases < 1 or entries < cases + SAMU or runs < 1 or not 0 <= tail < entries:
        return refused(
            f"--cases and --runs must be at least 1, --entries at least {SAMU} more than --cases, --tail less than that"
        )
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        machine = this_machine(Path(folder))
        rows, failed = trio.run(_measure, Path(folder), (entries, cases, tail), runs, console)
    report = RecoveryReport(
        machine=machine,
        quick=args.quick,
        runs=tuple(rows),
        failed=failed,
        not_measured=(
            "a machine that was switched off, but for the page cache (cold)",
            "a zone that has missed entries and gets them from the others",
            "a log of batches: each entry here is one operation",
        ),
    )
    console.print(table(report))
    publish(args, report, console, lambda: draw(report))
    return 1 if report.failed else 0


def summed(
    made: Grown, tail: int, starts: list[Start], cold_ms: float | None, sizes_mb: tuple[float, float]
) -> Recovered:
    """Starts on one store as one row. `sizes_mb`: of log and state on the disk."""
    serving = spread([one.serving_ms for one in starts])
    return Recovered(
        entries=made.entries,
        cases=made.cases,
        tail=tail,
        times=len(starts),
        serving_ms=serving.median,
        serving_spread=serving,
        level_ms=spread([one.level_ms for one in starts]).median,
        cold_ms=cold_ms,
        rss_mb=max(one.rss_mb for one in starts),
        private_mb=max(one.private_mb for one in starts),
        disk_mb=round(sum(sizes_mb), 1),
        log_bytes_per_entry=round(sizes_mb[0] * 1e6 / made.entries, 1),
        state_bytes_per_case=round(sizes_mb[1] * 1e6 / made.cases, 1),
    )


def table(report: RecoveryReport) -> Table:
    """The report for a person, with the targets."""
    shown = Table(title="a killed zone, serving again from its own disk", title_justify="left")
    for column in ("entries", "cases", "tail", f"serving ms (< {TARGET_MS})", "level ms", "cold ms"):
        shown.add_column(column, justify="right")
    for column in (f"resident MB (< {TARGET_RSS_MB})", "private MB", "disk MB"):
        shown.add_column(column, justify="right")
    for one in report.runs:
        cold = "" if one.cold_ms is None else f"{one.cold_ms:,.0f}"
        sizes = (f"{value:,.0f}" for value in (one.rss_mb, one.private_mb, one.disk_mb))
        counted = (f"{count:,}" for count in (one.entries, one.cases, one.tail))
        shown.add_row(*counted, one.serving_spread.text(), f"{one.level_ms:,.0f}", cold, *sizes)
    per = [f"{one.log_bytes_per_entry:,.0f} bytes of log an entry, {one.state_bytes_per_case:,.0f} of state a case"
           for one in report.runs[-1:]]  # fmt: skip
    shown.caption = "; ".join([*per, f"failed starts: {report.failed}"])
    return shown


def draw(report: RecoveryReport) -> Figure:
    """Each row's times, side by side."""
    groups = [f"{one.entries:,} entries\n{one.cases:,} cases\ntail {one.tail:,}" for one in report.runs]
    series = {
        "serving": [one.serving_ms for one in report.runs],
        "level": [one.level_ms for one in report.runs],
        "target (serving)": [float(TARGET_MS)] * len(groups),
    }
    return plots.bars("A killed zone, started again", "ms since SIGKILL", groups, series)


async def _measure(
    folder: Path, size: tuple[int, int, int], runs: int, console: Console
) -> tuple[list[Recovered], int]:
    entries, cases, tail = size
    plan = Plan(folder, 1, site_lines=False, cluster=CLUSTER, limits=Limits(log_keep_mib=KEPT_MIB))
    async with open_cluster(plan) as cluster:
        data = cluster.nodes[ZONE].data
        tell = partial(console.print, highlight=False)
        made = await _grow(data, entries, cases, tail, console)
        first, cold = await _Starts(cluster, made, tell).all(1), None
        later = await _Starts(cluster, made, tell).all(runs)
        _forget(data)
        starts = _Starts(cluster, made, tell)
        if (await starts.all(1)).done:
            cold = starts.done[0].serving_ms
        await cluster.stop_all()
        sizes = (disk_mb([data / "log"]), disk_mb([data / "state"]))
    rows = [summed(made, tail, first.done, None, sizes)] if tail and first.done else []
    rows += [summed(made, 0, later.done, cold, sizes)] if later.done else []
    return rows, first.failed + later.failed + starts.failed


async def _grow(data: Path, entries: int, cases: int, tail: int, console: Console) -> Grown:
    identity = Identity(CLUSTER, ZONE, "zone", os.urandom(16).hex())
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"a store of {entries:,} entries", total=entries)
        made = await trio.to_thread.run_sync(
            lambda: grow(data, identity, entries, cases, tail, lambda at: progress.update(task, completed=at))
        )
    console.print(f"a store of {entries:,} entries and {cases:,} cases is made", highlight=False)
    return made


class _Starts:
    """Starts of one zone, those that served and the number of those that did not."""

    def __init__(self, cluster: Cluster, made: Grown, tell: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.made = made
        self.tell = tell
        self.done: list[Start] = []
        self.failed = 0

    async def all(self, times: int) -> _Starts:
        for _ in range(times):
            try:
                with trio.fail_after(WITHIN_S):
                    self.done.append(await self.once())
            except (ReplicaError, trio.TooSlowError) as problem:
                self.tell(f"a start failed: {problem}")
                self.failed += 1
        return self

    async def once(self) -> Start:
        """Kill it where it runs, start it, wait until it serves and is level. Raises where it does not, or does
        not know a case that was made."""
        node, began = self.cluster.nodes[ZONE], trio.current_time()
        if node.child.alive:
            began = self.cluster.strike(ZONE)
            await self.cluster.gone(ZONE)
        await self.cluster.start(ZONE)
        async with open_client(node.address, name="bench") as client:
            await client.show_case(self.made.first_case)
            serving_s = trio.current_time() - began
            memory = [(rss_mb(node.child.pid), private_mb(node.child.pid))]
            level_s = await self._until_level(client) - began
            memory.append((rss_mb(node.child.pid), private_mb(node.child.pid)))
            await client.show_case(self.made.last_case)
            await self._until_flushed(client)
        return Start(
            serving_ms=round(serving_s * 1000, 1),
            level_ms=round(level_s * 1000, 1),
            rss_mb=round(max(rss for rss, _ in memory), 1),
            private_mb=round(max(private for _, private in memory), 1),
        )

    async def _until_level(self, client: Client) -> float:
        while True:
            status = await client.status()
            raft = status["raft"]
            if raft["role"] == "leader" and status["applied_index"] == raft["last_index"] >= self.made.entries:
                return trio.current_time()
            await trio.sleep(LOOK_S)

    async def _until_flushed(self, client: Client) -> None:
        while True:
            status = await client.status()
            if status["flushed_index"] == status["applied_index"]:
                return
            await trio.sleep(LOOK_S)


def _forget(folder: Path) -> None:
    """Ask the system to let go of what it keeps of these files in memory. Mapped pages stay."""
    for file in folder.rglob("*.mdb"):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
