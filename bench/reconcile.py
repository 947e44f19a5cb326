"""`python -m bench reconcile`: how fast a site that was cut off is brought together with the rest again.

Three zones and a site, a process each, on loopback with durable stores. Per run, on a cluster of its own: a short cut
and its replay warm everything up; then the site's lines are cut silently, so many operations are handed in at the site
by many callers at once, each answered once it is in the site's journal; when the site has come to rest (it makes its
view of a long journal ready, which after a cut of hours was long done) the lines heal. Measured: from the healing
until the site follows a zone again (`line_s`: it dials in rounds up to a second apart, however much there is to bring);
from there until it holds the verdict on every one of its operations (`seconds`: what the reconciliation takes, lines
that broke meanwhile included); and from the healing until it says that it is connected (`connected_s`: on purpose not
before its line was stable for half a second).

When all processes are stopped, the verdicts are counted in the site's store: on each operation that a caller holds a
receipt for there must be one. No other site is at work meanwhile, so the zones take the backlog as fast as it comes;
beside others it takes turns with rests, which `python -m chaos journals` shows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import plots
from bench.machine import this_machine
from bench.processes import cpu_s
from bench.report import Report, Spread, add_output, counts, publish, refused, spread
from bench.work import case_id, command, opening
from replica.cases.commands import Command
from replica.cases.operations import OperationId
from replica.demo.caller import Caller, open_callers
from replica.demo.ledger import Ledger
from replica.demo.looking import leader_of, status_of, until_level, until_mode
from replica.demo.play import until_connected
from replica.demo.supervisor import LOG_FILE, Cluster, Plan, SitePlan, open_cluster
from replica.runtime.client import Client, open_client
from replica.runtime.site import decision_key
from replica.storage import open_store, peek_identity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SITE: Final = "fr.health.samu440"
OPERATIONS: Final = (1000, 10_000, 100_000)
QUICK_OPERATIONS: Final = (1000, 10_000)
PER_CASE: Final = 50
WARM_UP: Final = 1000
AT_ONCE: Final = 400
BUDGET_MS: Final = 10_000
WITHIN_S: Final = 300.0
LOOK_S: Final = (0.01, 0.1)
"""Between two looks at the site's status: the least, and the most. A look costs the site a walk through its journal, so
it is a hundredth of the time that the target allows."""
IDLE_S: Final = 0.5
IDLE_SHARE: Final = 0.2
"""A site that uses less than that of a core for so long is at rest. (Cut off, it still dials and writes back.)"""
TARGET_PER_S: Final = 10_000
TARGET_FLATNESS: Final = 1.5


class Reconciled(Struct, frozen=True, kw_only=True):
    """One number of operations; medians of `times` runs. `seconds`: the site follows a zone again → it holds every
    verdict; `per_s`: of that. `line_s`: healing → it follows a zone. `connected_s`: healing → it holds every verdict
    and says that it is connected. `verdicts`: as counted in the site's store, the mean of the runs, so that one that is
    missing shows. `write_per_s`: how fast the operations were journalled, cut off. `cpu_s`: CPU seconds from the
    healing to the last verdict, by process: leader, the other zones together, site."""

    operations: int
    times: int
    seconds: float
    per_s: float
    verdicts: float
    line_s: float
    connected_s: float
    per_s_spread: Spread
    write_per_s: float
    cpu_s: dict[str, float]


class ReconcileReport(Report, frozen=True, kw_only=True):
    """`flatness`: the worst cost per operation over the best, of `seconds`; 0 of a single length. `failed`: operations
    without a verdict in the site's store, of all runs. `warm_up_operations`: replayed before, in every run."""

    runs: tuple[Reconciled, ...]
    flatness: float
    failed: int
    warm_up_operations: int


class Run(Struct, frozen=True, kw_only=True):
    """One run of one length."""

    operations: int
    seconds: float
    line_s: float
    connected_s: float
    write_s: float
    verdicts: int
    cpu_s: dict[str, float]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `reconcile` command and its options."""
    parser = subparsers.add_parser(
        "reconcile", help="how fast a site that was cut off is brought together again", description=__doc__
    )
    parser.add_argument("--operations", type=counts, default=None, help="made while cut off (1000,10000,100000)")
    parser.add_argument("--runs", type=int, default=None, help="of each length, the median counts (3; quick: 1)")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every operation has its verdict, 1 where one has not, 2 for wrong options."""
    lengths: Sequence[int] = args.operations or (QUICK_OPERATIONS if args.quick else OPERATIONS)
    times = args.runs if args.runs is not None else 1 if args.quick else 3
    if times < 1:
        return refused("--runs must be at least 1")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        machine = this_machine(Path(folder))
        runs = []
        for length in lengths:
            for number in range(times):
                place = Path(folder) / f"{length}-{number}"
                place.mkdir()
                runs.append(trio.run(_measure, length, place, console))
    report = ReconcileReport(
        machine=machine,
        quick=args.quick,
        runs=tuple(summed([one for one in runs if one.operations == length]) for length in dict.fromkeys(lengths)),
        flatness=flatness(runs),
        failed=sum(one.operations - one.verdicts for one in runs),
        warm_up_operations=WARM_UP,
        not_measured=(
            "a replay beside other sites at work, which it rests for",
            "lines with a delay or a limited rate",
            "a site that was killed meanwhile",
        ),
    )
    console.print(table(report))
    for line in cpu_lines(report):
        console.print(line, highlight=False)
    publish(args, report, console, lambda: draw(report))
    return 1 if report.failed else 0


def summed(runs: Sequence[Run]) -> Reconciled:
    """Runs of one length as one: medians."""
    parts = {part: spread([one.cpu_s[part] for one in runs]).median for part in runs[0].cpu_s}
    return Reconciled(
        operations=runs[0].operations,
        times=len(runs),
        seconds=spread([one.seconds for one in runs]).median,
        per_s=round(spread([one.operations / one.seconds for one in runs]).median, 1),
        verdicts=sum(one.verdicts for one in runs) / len(runs),
        line_s=spread([one.line_s for one in runs]).median,
        connected_s=spread([one.connected_s for one in runs]).median,
        per_s_spread=spread([one.operations / one.seconds for one in runs]),
        write_per_s=round(spread([one.operations / one.write_s for one in runs]).median, 1),
        cpu_s=parts,
    )


def flatness(runs: Iterable[Run]) -> float:
    """The worst cost per operation over the best, each length by its median; 0 for a single length."""
    costs: dict[int, list[float]] = {}
    for one in runs:
        costs.setdefault(one.operations, []).append(one.seconds / one.operations)
    medians = [spread(values).median for values in ([cost * 1e6 for cost in each] for each in costs.values())]
    return round(max(medians) / min(medians), 2) if len(medians) > 1 else 0.0


def table(report: ReconcileReport) -> Table:
    """The report for a person, with the targets."""
    shown = Table(title="a site that was cut off, brought together again", title_justify="left")
    for column in ("operations", "seconds", f"per second (≥ {TARGET_PER_S:,})", "line s", "connected s", "verdicts"):
        shown.add_column(column, justify="right")
    for one in report.runs:
        shown.add_row(
            f"{one.operations:,}",
            f"{one.seconds:.2f}",
            one.per_s_spread.text(),
            f"{one.line_s:.2f}",
            f"{one.connected_s:.2f}",
            f"{one.verdicts:,.0f}",
        )
    told = f"{report.flatness:.2f} (≤ {TARGET_FLATNESS})" if report.flatness else "needs two lengths"
    shown.caption = f"flatness {told}; operations without a verdict: {report.failed}"
    return shown


def cpu_lines(report: ReconcileReport) -> list[str]:
    """What the processes used, in µs of CPU per operation."""
    return [
        f"{one.operations:,} operations, CPU µs each: "
        + ", ".join(f"{part} {value / one.operations * 1e6:.0f}" for part, value in one.cpu_s.items())
        for one in report.runs
    ]


def draw(report: ReconcileReport) -> Figure:
    """Operations a second over their number."""
    points = [(float(one.operations), one.per_s) for one in report.runs]
    target = [(operations, float(TARGET_PER_S)) for operations, _ in points]
    series = {"to the last verdict": points, "target": target}
    return plots.lines("Reconciling a site", "operations made while cut off", "operations/s", series, log_x=True)


async def _measure(length: int, folder: Path, console: Console) -> Run:
    plan = Plan(folder, 3, (SitePlan(SITE),), cluster="bench")
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        async with open_callers({node.name: node.address for node in cluster.nodes.values()}, Ledger()) as callers:
            await until_connected(callers, cluster, WITHIN_S)
            async with open_client(cluster.nodes[SITE].address, name="bench") as client:
                cases = range(-(-length // PER_CASE))
                await _each(cases, lambda number: client.submit_message(opening(SITE, number), BUDGET_MS, sender=SITE))
                bench = _Bench(cluster, callers, client, len(cases))
                await bench.once(WARM_UP, 0)
                measured, operations = await bench.once(length, WARM_UP)
        await cluster.stop_all()
    found = verdicts_in(folder / SITE, operations)
    console.print(
        f"{length:>7,} operations: {measured.seconds:6.2f} s, {length / measured.seconds:,.0f}/s, "
        f"connected after {measured.connected_s:.2f} s; {found:,} verdicts",
        highlight=False,
    )
    return Run(
        operations=length,
        seconds=measured.seconds,
        line_s=measured.line_s,
        connected_s=measured.connected_s,
        write_s=measured.write_s,
        verdicts=found,
        cpu_s=measured.cpu_s,
    )


class _Bench:
    """One cluster, and the client that speaks to its site."""

    def __init__(self, cluster: Cluster, callers: dict[str, Caller], client: Client, cases: int) -> None:
        self.cluster = cluster
        self.callers = callers
        self.client = client
        self.cases = cases

    async def once(self, length: int, first: int) -> tuple[Run, list[str]]:
        """Cut, write `length` operations, heal, wait: what it took, and the operations (`verdicts` not yet counted).
        `first`: the number of each case's first one, so that no note is written twice."""
        self.cluster.cut(SITE)
        await until_mode(self.callers[SITE], "cut-off", WITHIN_S)
        operations: list[str] = []

        async def write(number: int) -> None:
            receipt = await self.client.submit(act_of(number, self.cases, first), BUDGET_MS)
            operations.append(receipt.operation)

        began = trio.current_time()
        await _each(range(length), write)
        write_s = trio.current_time() - began
        await self._until_idle()
        await until_level([self.callers[zone.name] for zone in self.cluster.zones], WITHIN_S)
        leader = await leader_of([self.callers[zone.name] for zone in self.cluster.zones], WITHIN_S)
        before = self._cpu(leader)
        wall_s, healed = time.time(), self.cluster.heal(SITE)
        decided_s = await self._until(length, lambda status: status.get("undecided", 1) == 0) - healed
        used = {part: round(value - before[part], 3) for part, value in self._cpu(leader).items()}
        connected_s = await self._until(length, lambda status: status.get("mode") == "connected") - healed
        log = (self.cluster.nodes[SITE].data / LOG_FILE).read_text(encoding="utf-8")
        line_s = line_up_s(log, wall_s) - wall_s
        run = Run(
            operations=length,
            seconds=round(decided_s - line_s, 4),
            line_s=round(line_s, 4),
            connected_s=round(connected_s, 4),
            write_s=round(write_s, 4),
            verdicts=0,
            cpu_s=used,
        )
        return run, operations

    async def _until_idle(self) -> None:
        pid, used_s = self.cluster.nodes[SITE].child.pid, IDLE_S
        with trio.fail_after(WITHIN_S):
            while used_s > IDLE_S * IDLE_SHARE:
                before = cpu_s([pid])
                await trio.sleep(IDLE_S)
                used_s = cpu_s([pid]) - before

    def _cpu(self, leader: str) -> dict[str, float]:
        pids = {name: node.child.pid for name, node in self.cluster.nodes.items()}
        others = [pids[zone.name] for zone in self.cluster.zones if zone.name != leader]
        return {"leader": cpu_s([pids[leader]]), "others": cpu_s(others), "site": cpu_s([pids[SITE]])}

    async def _until(self, length: int, condition: Callable[[dict[str, Any]], bool]) -> float:
        look_s = min(max(LOOK_S[0], length / TARGET_PER_S / 100), LOOK_S[1])
        with trio.fail_after(WITHIN_S):
            while not condition(await status_of(self.callers[SITE])):  # noqa: ASYNC110 - asked as a caller asks
                await trio.sleep(look_s)
        return trio.current_time()


def act_of(number: int, cases: int, first: int) -> Command:
    """The operation `number`: the site's own cases in turn; of each, notes and priorities in turn from `first` on."""
    return command(case_id(SITE, number % cases), first + number // cases)


def line_up_s(log: str, since_s: float) -> float:
    """When a site's line came up first since then, by its log: seconds since 1970. Raises ValueError where it never
    did."""
    for line in log.splitlines():
        if '"line-up"' in line:
            at_s = datetime.fromisoformat(str(msgspec.json.decode(line)["timestamp"])).timestamp()
            if at_s >= since_s:
                return at_s
    raise ValueError("the site's log names no line that came up since then")


def verdicts_in(folder: Path, operations: Iterable[str]) -> int:
    """On how many of these operations the site whose store is in `folder` keeps a verdict. It must be stopped."""
    with open_store(folder, peek_identity(folder), create=False, read_only=True) as store:
        return sum(store.state.local_get(decision_key(OperationId.parse(one))) is not None for one in operations)


async def _each(items: Iterable[Any], does: Callable[[Any], Awaitable[object]]) -> None:
    """`AT_ONCE` at a time."""
    todo = iter(items)

    async def work() -> None:
        for item in todo:
            await does(item)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)
