"""`python -m bench sites`: what a site costs a zone, and what a site costs its own machine.

Three zones as processes, so many sites that follow them (light followers, bench/follower.py, spread over the zones by
their names), and `--processes` whole sites besides. For each number of sites two windows: nobody does anything, and
`--rate` operations a second are handed in at the leading zone, as if all the country's sites did them. In each, CPU and
memory of every zone and of every whole site, as the system counts them.

What one more site costs a zone is the slope: a zone's CPU with so many sites less its CPU with none, by the sites that
follow it on average.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.callers import AGREED, word_of
from bench.follower import following
from bench.inside import quiet, start_zones
from bench.machine import this_machine
from bench.plots import lines
from bench.processes import cpu_s, private_mb, rss_mb
from bench.report import Report, add_output, counts, publish, refused
from bench.throughput import SAMU_OF_ZONE, open_cases
from bench.work import DEFAULT_BYTES, case_id, command
from replica.cases.commands import RegisterOrganisation
from replica.demo.supervisor import Cluster, Plan, SitePlan, open_cluster
from replica.errors import ReplicaError
from replica.runtime.client import Client, open_client

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES: Final = 200
BUDGET_MS: Final = 5000
SETTLE_S: Final = 2.0
"""After the sites have come: states sent and caches filled belong to no figure."""
TARGET_IDLE_PERCENT: Final = 1.0
TARGET_BUSY_PERCENT: Final = 10.0


class Row(Struct, frozen=True, kw_only=True):
    """`sites`: light followers, shared by the zones. `rate`: operations a second. CPU in percent of one core, memory in
    MB: `zone_*` the mean over zones (`leader_cpu_percent` the leading one alone), `site_*` the mean over whole site
    processes, None without any. `private`: what is the process's own, without pages of the store that the system can
    drop. `zone_cpu_percent_per_site`: against the row of this rate with no sites, for each that follows the zone."""

    sites: int
    rate: float
    zone_cpu_percent: float
    leader_cpu_percent: float
    zone_rss_mb: float
    zone_private_mb: float
    zone_cpu_percent_per_site: float | None
    zone_private_mb_per_site: float | None
    site_cpu_percent: float | None
    site_rss_mb: float | None
    site_private_mb: float | None
    failed: int


class SitesReport(Report, frozen=True, kw_only=True):
    """`rows`: with no sites first. `idle_site_cpu_percent` and `busy_site_cpu_percent`: a whole site's, the median over
    the rows without and with operations."""

    rows: tuple[Row, ...]
    processes: int
    seconds: float
    idle_site_cpu_percent: float | None
    busy_site_cpu_percent: float | None
    failed: int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `sites` command and its options."""
    parser = subparsers.add_parser("sites", help="what a site costs", description=__doc__)
    parser.add_argument("--n", type=counts, default=(10, 50, 100), metavar="N,N", help="how many light followers")
    parser.add_argument("--processes", type=int, default=2, help="whole sites besides")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each window")
    parser.add_argument("--rate", type=float, default=50.0, help="operations a second, of all sites together")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every operation was agreed, 1 where one was not, 2 for wrong options."""
    if args.seconds <= 0 or not 0 < args.rate <= 10_000 or not 0 <= args.processes <= 20 or max(args.n) > 900:
        return refused("--seconds above 0, --rate above 0 and up to 10000, --processes 0 to 20, --n up to 900")
    if args.quick:
        args.n, args.seconds, args.processes = args.n[:2], min(args.seconds, 2.0), min(args.processes, 1)
    quiet()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        report = trio.run(_measure, args, Path(folder), console)
    console.print(_table(report))
    publish(args, report, console, lambda: _drawing(report))
    return 1 if report.failed else 0


async def _measure(args: argparse.Namespace, folder: Path, console: Console) -> SitesReport:
    machine = this_machine(folder)
    sites = tuple(SitePlan(f"fr.health.samu{number:02}0") for number in range(1, args.processes + 1))
    rows: list[Row] = []
    async with open_cluster(Plan(folder, 3, sites, site_lines=False, cluster="bench")) as cluster:
        leader = await start_zones(cluster)
        for site in sites:
            await cluster.start(site.name)
        async with open_client(cluster.nodes[leader].address) as client:
            await client.submit(RegisterOrganisation(SAMU_OF_ZONE, SAMU_OF_ZONE, leader), BUDGET_MS, author="bench")
            await open_cases(client, SAMU_OF_ZONE, CASES)
            work = _Work(client)
            for count in (0, *args.n):
                async with AsyncExitStack() as stack:
                    if count:
                        names = [f"fr.health.follower{number:03}" for number in range(count)]
                        await stack.enter_async_context(following(cluster, names))
                    await trio.sleep(SETTLE_S)
                    for rate in (0.0, args.rate):
                        rows.append(await _window(cluster, leader, work, count, rate, args.seconds, rows))
                        console.print(_said(rows[-1]), highlight=False)
        await cluster.stop_all()
    return SitesReport(
        machine=machine,
        quick=args.quick,
        not_measured=(
            "so many whole sites: light followers stand for them at the zones' doors",
            "sites that write themselves, and callers that read there",
        ),
        rows=tuple(rows),
        processes=args.processes,
        seconds=args.seconds,
        idle_site_cpu_percent=_median(row.site_cpu_percent for row in rows if not row.rate),
        busy_site_cpu_percent=_median(row.site_cpu_percent for row in rows if row.rate),
        failed=sum(row.failed for row in rows),
    )


class _Work:
    """Operations at an even rate, handed in at the leading zone."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._number = 0
        self.failed = 0

    async def keep_on(self, rate: float) -> None:
        """For ever, or with a rate of 0 not at all."""
        if not rate:
            return
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for turn in range(1 << 40):
                await trio.sleep_until(began + turn / rate)
                self._number += 1
                nursery.start_soon(self._one, self._number)

    async def _one(self, number: int) -> None:
        case = case_id(SAMU_OF_ZONE, number // 2 % CASES)
        try:
            receipt = await self._client.submit(command(case, number, DEFAULT_BYTES), BUDGET_MS, author="bench")
            self.failed += word_of(receipt) != AGREED
        except ReplicaError:
            self.failed += 1


async def _window(
    cluster: Cluster, leader: str, work: _Work, sites: int, rate: float, seconds: float, before: list[Row]
) -> Row:
    """One window: its row. `before`: the rows so far, among them the one of this rate without sites."""
    pids = {node.name: node.child.pid for node in (*cluster.zones, *cluster.sites)}
    failed = work.failed
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.keep_on, rate)
        await trio.sleep(min(1.0, seconds))
        used, began = {name: cpu_s([pid]) for name, pid in pids.items()}, perf_counter()
        await trio.sleep(seconds)
        took = perf_counter() - began
        percent = {name: (cpu_s([pid]) - used[name]) / took * 100 for name, pid in pids.items()}
        nursery.cancel_scope.cancel()
    zones, whole = [node.name for node in cluster.zones], [node.name for node in cluster.sites]
    zone_cpu = round(fmean(percent[name] for name in zones), 3)
    zone_private = round(fmean(private_mb(pids[name]) for name in zones), 2)
    base = next((row for row in before if row.rate == rate and row.sites == 0), None)
    each = sites / len(zones)
    return Row(
        sites=sites,
        rate=rate,
        zone_cpu_percent=zone_cpu,
        leader_cpu_percent=round(percent[leader], 3),
        zone_rss_mb=round(fmean(rss_mb(pids[name]) for name in zones), 2),
        zone_private_mb=zone_private,
        zone_cpu_percent_per_site=round((zone_cpu - base.zone_cpu_percent) / each, 4) if base and each else None,
        zone_private_mb_per_site=round((zone_private - base.zone_private_mb) / each, 4) if base and each else None,
        site_cpu_percent=_mean(percent[name] for name in whole),
        site_rss_mb=_mean(rss_mb(pids[name]) for name in whole),
        site_private_mb=_mean(private_mb(pids[name]) for name in whole),
        failed=work.failed - failed,
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(fmean(found), 3) if found else None


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return round(median(found), 3) if found else None


def _said(row: Row) -> str:
    whole = "" if row.site_cpu_percent is None else f", a whole site {row.site_cpu_percent:.2f} %"
    return f"{row.sites:4} sites, {row.rate:3g} a second: a zone {row.zone_cpu_percent:.2f} % of a core{whole}"


def _table(report: SitesReport) -> Table:
    table = Table(title="CPU in percent of a core, memory in MB (its own)")
    for name in ("sites", "a second", "zone", "leader", "more per site", "zone MB", "whole site", "site MB", "target"):
        table.add_column(name, justify="right")
    for row in report.rows:
        table.add_row(
            str(row.sites),
            f"{row.rate:g}",
            f"{row.zone_cpu_percent:.2f}",
            f"{row.leader_cpu_percent:.2f}",
            _cell(row.zone_cpu_percent_per_site, 3),
            f"{row.zone_private_mb:.1f}",
            _cell(row.site_cpu_percent, 2),
            _cell(row.site_private_mb, 1),
            f"site < {TARGET_BUSY_PERCENT if row.rate else TARGET_IDLE_PERCENT:g} %",
        )
    return table


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _drawing(report: SitesReport) -> Figure:
    series: dict[str, list[tuple[float, float]]] = {}
    for row in report.rows:
        kind = f"{row.rate:g} operations a second" if row.rate else "idle"
        series.setdefault(f"a zone, {kind}", []).append((row.sites, row.zone_cpu_percent))
        if row.site_cpu_percent is not None:
            series.setdefault(f"a whole site, {kind}", []).append((row.sites, row.site_cpu_percent))
    return lines("What sites cost", "sites that follow the three zones", "percent of a core", series)
