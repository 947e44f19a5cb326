"""`python -m bench throughput`: agreed operations a second, at so many callers, by each way in; etcd beside it.

An operation is a note of `--size` bytes or a priority, in turn, on one of CASES cases; it goes the whole walk, and only
a receipt of the quorum with a verdict counts. Each caller waits for its receipt before it hands in the next. Three
zones on loopback with durable stores, and by three ways:

* *embedded*: the callers are tasks in the process of the leading zone;
* *site*: the callers are tasks in the process of a site, with its durable journal, and all zones are processes;
* *remote*: the callers are a thin client's, in a process of their own, over TCP to the process of the leading zone, one
  connection per caller up to a hundred.

etcd gets puts of as many bytes as an operation has in our log, from h2load.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

import replica
from bench import remote
from bench.callers import AGREED, WARM_UP_S, Figure, Window, drive, failures, figure, ratio, word_of
from bench.inside import leading_inside, quiet, site_inside, start_zones, until_followed
from bench.machine import this_machine
from bench.peer_load import ETCD, etcd_puts, missing
from bench.plots import lines
from bench.report import Report, add_output, counts, publish, refused
from bench.work import DEFAULT_BYTES, case_id, command, encoded_bytes, opening
from replica.cases.commands import RegisterOrganisation
from replica.demo.supervisor import Cluster, Plan, SitePlan, open_cluster
from replica.errors import ReplicaError
from replica.runtime.client import Client, open_client

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

CASES: Final = 1000
"""Enough that none grows long in a run: a case with thousands of notes is nobody's case."""
QUICK_CASES: Final = 100
SITE: Final = "fr.health.samu440"
SAMU_OF_ZONE: Final = "fr.health.samu990"
"""Served by the zone itself, so that its own callers have the say in its cases that a site's have in a Samu's."""
BUDGET_MS: Final = 5000
"""What is counted is the quorum's receipt, so the budget is far above what is measured."""
AUTHOR: Final = "bench"
WAYS: Final = ("embedded", "site", "remote")
TARGETS: Final = {1: 1.0, 10: 1.5, 100: 2.0, 1000: 1.5}
"""Callers → embedded against etcd, at least."""
REMOTE_TARGETS: Final = {100: 1.0}


class Row(Struct, frozen=True, kw_only=True):
    """One number of callers. None: not measured, or no answer came in one of the runs."""

    embedded: Figure | None = None
    site: Figure | None = None
    remote: Figure | None = None
    etcd: Figure | None = None
    ratio_embedded: float | None = None
    ratio_site: float | None = None
    ratio_remote: float | None = None


class ThroughputReport(Report, frozen=True, kw_only=True):
    """`callers`: by their number. `value_bytes`: what an operation has in the log, and etcd's values. `failures`: what
    came instead of an agreed receipt, by way in and word, over all runs.
    `etcd_clients`: the best client found, by the number of callers."""

    callers: dict[str, Row]
    size: int
    value_bytes: int
    cases: int
    seconds: float
    runs: int
    warm_up_s: float
    failed: int
    failures: dict[str, int]
    etcd_clients: dict[str, str]


Windows = dict[tuple[str, int], list[Window]]
"""(way in, callers) → a window per run."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `throughput` command and its options."""
    parser = subparsers.add_parser("throughput", help="agreed operations a second", description=__doc__)
    parser.add_argument("--callers", type=counts, default=(1, 10, 100, 1000), metavar="N,N", help="how many at once")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each window")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=DEFAULT_BYTES, help="bytes of a note's text")
    parser.add_argument("--ways", default=",".join(WAYS), help="which ways in; all by default")
    parser.add_argument("--peer", choices=(ETCD,), default=None, help="measured in the same run, on the same disk")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every operation was agreed, 1 where one was not, 2 for wrong options."""
    ways = tuple(args.ways.split(","))
    if args.seconds <= 0 or args.runs < 1 or not 16 <= args.size <= 2000 or not set(ways) <= set(WAYS):
        return refused(f"--seconds above 0, --runs at least 1, --size 16 to 2000, --ways of {', '.join(WAYS)}")
    if args.peer and (why := missing()):
        return refused(why)
    if args.quick:
        args.callers, args.seconds, args.runs = args.callers[:2], min(args.seconds, 1.0), 1
    quiet()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        report = trio.run(_Measuring(args, ways, Path(folder), console).report)
    console.print(_table(report))
    for callers, client in report.etcd_clients.items():
        console.print(f"etcd, {callers} callers: {client}", highlight=False)
    for word, times in report.failures.items():
        console.print(f"failed: {word}, {times} times", highlight=False)
    publish(args, report, console, lambda: _drawing(report))
    return 1 if report.failed else 0


class _Measuring:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, ways: tuple[str, ...], folder: Path, console: Console) -> None:
        self.args = args
        self.ways = ways
        self.folder = folder
        self.console = console
        self.cases = QUICK_CASES if args.quick else CASES
        self.value_bytes = encoded_bytes(SITE, args.size)
        self.windows: Windows = defaultdict(list)
        self.etcd_clients: dict[str, str] = {}
        self.numbered = 0

    async def report(self) -> ThroughputReport:
        machine = this_machine(self.folder)
        for run in range(self.args.runs):
            self.console.print(f"run {run + 1} of {self.args.runs}", highlight=False)
            if "embedded" in self.ways:
                await self._embedded(self.folder / f"embedded-{run}")
            if {"site", "remote"} & set(self.ways):
                await self._processes(self.folder / f"processes-{run}")
            if self.args.peer == ETCD:
                await self._etcd(self.folder / f"etcd-{run}")
        failed = {
            f"{way}, {callers} callers: {word}": sum(one.failed.get(word, 0) for one in kept)
            for (way, callers), kept in self.windows.items()
            for word in sorted({word for one in kept for word in one.failed})
        }
        return ThroughputReport(
            machine=machine,
            quick=self.args.quick,
            not_measured=_not_measured(self.args),
            callers={str(callers): self._row(callers) for callers in self.args.callers},
            size=self.args.size,
            value_bytes=self.value_bytes,
            cases=self.cases,
            seconds=self.args.seconds,
            runs=self.args.runs,
            warm_up_s=WARM_UP_S,
            failed=sum(failures(kept) for kept in self.windows.values()),
            failures=failed,
            etcd_clients=self.etcd_clients,
        )

    def _row(self, callers: int) -> Row:
        kept = {way: self.windows.get((way, callers), []) for way in (*WAYS, ETCD)}
        return Row(
            embedded=figure(kept["embedded"]),
            site=figure(kept["site"]),
            remote=figure(kept["remote"]),
            etcd=figure(kept[ETCD]),
            ratio_embedded=ratio(kept["embedded"], kept[ETCD]),
            ratio_site=ratio(kept["site"], kept[ETCD]),
            ratio_remote=ratio(kept["remote"], kept[ETCD]),
        )

    def _keep(self, way: str, callers: int, window: Window) -> None:
        self.windows[way, callers].append(window)
        said = f"{window.per_s:8,.0f} a second, p50 {window.p50:.2f}  p99 {window.p99:.2f} ms"
        said += f"  failed {window.failed}" if window.failed else ""
        self.console.print(f"  {way:9} {callers:5} callers: {said}", highlight=False)

    def _first(self) -> int:
        """Where the next window begins to number its operations, far behind the last one's."""
        self.numbered += 100_000_000
        return self.numbered

    async def _embedded(self, folder: Path) -> None:
        async with open_cluster(Plan(folder, 3, (), site_lines=False, cluster="bench")) as cluster:
            async with leading_inside(cluster) as zone:
                await zone.submit(RegisterOrganisation(SAMU_OF_ZONE, SAMU_OF_ZONE, cluster.plan.zone_names[0]))
                await open_cases(zone, SAMU_OF_ZONE, self.cases)
                await self._inside("embedded", zone, SAMU_OF_ZONE, cluster)

    async def _processes(self, folder: Path) -> None:
        plan = Plan(folder, 3, (SitePlan(SITE),), site_lines=False, cluster="bench")
        async with open_cluster(plan) as cluster:
            leader = await start_zones(cluster)
            if "site" in self.ways:
                async with site_inside(cluster, SITE) as site:
                    await until_followed(site)
                    await open_cases(site, SITE, self.cases)
                    await self._inside("site", site, SITE, cluster)
            if "remote" in self.ways:
                await self._remote(cluster, leader)
            await cluster.stop_all()

    async def _inside(self, way: str, node: replica.Zone | replica.Site, samu: str, cluster: Cluster) -> None:
        """The callers' windows in this process, which is the node's."""

        async def act(number: int) -> str:
            case = case_id(samu, number // 2 % self.cases)
            decided = command(case, number, self.args.size)
            return word_of(await node.submit(decided, author=AUTHOR, budget_ms=BUDGET_MS))

        pids = {way: os.getpid(), **zone_pids(cluster)}
        for callers in self.args.callers:
            self._keep(way, callers, await drive(callers, act, self.args.seconds, pids, first=self._first()))

    async def _remote(self, cluster: Cluster, leader: str) -> None:
        address = cluster.nodes[leader].address
        async with open_client(address) as client:
            await client.submit(RegisterOrganisation(SAMU_OF_ZONE, SAMU_OF_ZONE, leader), BUDGET_MS, author=AUTHOR)
            await open_cases(client, SAMU_OF_ZONE, self.cases)
        for callers in self.args.callers:
            orders = remote.Orders(
                address,
                callers,
                self.args.seconds,
                SAMU_OF_ZONE,
                self.cases,
                self.args.size,
                self._first(),
                zone_pids(cluster),
            )
            self._keep("remote", callers, await remote.measured(orders))

    async def _etcd(self, folder: Path) -> None:
        for callers, client, window in await etcd_puts(folder, self.args.callers, self.args.seconds, self.value_bytes):
            self.etcd_clients[str(callers)] = client
            self._keep(ETCD, callers, window)


async def open_cases(node: replica.Zone | replica.Site | Client, samu: str, cases: int) -> None:
    """The cases that the callers work on. Raises ReplicaError where one is not agreed."""

    async def some(part: int) -> None:
        for number in range(part, cases, 20):
            message = opening(samu, number)
            receipts = await node.submit_message(message, budget_ms=BUDGET_MS, sender=samu, key=f"open/{samu}/{number}")
            if [word_of(receipt) for receipt in receipts] != [AGREED]:
                raise ReplicaError(f"a case was not opened: {receipts}")

    async with trio.open_nursery() as nursery:
        for part in range(20):
            nursery.start_soon(some, part)


def zone_pids(cluster: Cluster) -> dict[str, int]:
    """The zones that are processes of their own."""
    return {node.name: node.child.pid for node in cluster.zones if node.child.alive}


def _not_measured(args: argparse.Namespace) -> tuple[str, ...]:
    always = (
        "zones apart from each other: all processes share one machine and its disk",
        "sites that follow meanwhile",
    )
    return always if args.peer else (*always, "other systems (--peer etcd)")


def _table(report: ThroughputReport) -> Table:
    table = Table(title=f"agreed operations a second, {report.value_bytes} bytes each")
    for name in ("callers", *WAYS, ETCD, "embedded / etcd", "remote / etcd"):
        table.add_column(name, justify="right")
    for callers, row in report.callers.items():
        figures = [_cell(one) for one in (row.embedded, row.site, row.remote, row.etcd)]
        table.add_row(
            callers,
            *figures,
            _against(row.ratio_embedded, TARGETS.get(int(callers))),
            _against(row.ratio_remote, REMOTE_TARGETS.get(int(callers))),
        )
    return table


def _cell(found: Figure | None) -> str:
    if found is None:
        return "-"
    return f"{found.spread.text()}\np99 {found.p99:.1f} ms\n{found.cpu_s_per_1000:.2f} CPU s / 1000"


def _against(found: float | None, target: float | None) -> str:
    if found is None:
        return "-" if target is None else f"-\ntarget {target:g}"
    return f"{found:.2f}" if target is None else f"{found:.2f}\ntarget {target:g}"


def _drawing(report: ThroughputReport) -> Drawing:
    series = {
        way: [(float(callers), one.per_s) for callers, row in report.callers.items() if (one := getattr(row, way))]
        for way in (*WAYS, ETCD)
    }
    shown = {way: points for way, points in series.items() if points}
    return lines("Agreed operations", "callers at once", "a second", shown, log_x=True, log_y=True)
