"""`python -m bench feed`: from agreed at the leader until the last of N sites shows it.

Three zones, the leading one in this process, so that the moment of the receipt is exact. `--rate` operations a second
are handed in to it, evenly, and each one's time runs from its receipt until its effects have come to the last of all
sites, which follow the zones as sites of their names do: some the leader, most the others, who learn of an agreement
from the leader. Two kinds of sites follow:

* *light followers*, `--sites` of them in one process: a site's line and decoding with no copy behind it
  (bench/follower.py). Whole sites for all of them would be more than a machine of two cores is; but as they share one
  process, the last of them also waits for the others' decoding, which at fifty machines it would not.
* *site processes*, `--processes` more: whole sites with copy and disk. Each is asked, over its door, for a `session`
  read of the case at the moment of the receipt, for one operation in ASK_EVERY: the time until the answer is here is
  when a caller there sees it, and holds a request and its answer besides.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import trio
from rich.console import Console
from rich.table import Table

import replica
from bench.callers import AGREED, word_of
from bench.figures import Distribution, distribution
from bench.follower import Told, following
from bench.inside import leading_inside, quiet
from bench.machine import Machine, this_machine
from bench.plots import waits
from bench.report import Report, Spread, add_output, publish, refused, spread
from bench.throughput import SAMU_OF_ZONE, open_cases
from bench.work import DEFAULT_BYTES, case_id, command
from replica.api import Agreed
from replica.cases.commands import RegisterOrganisation
from replica.demo.supervisor import Cluster, Plan, SitePlan, open_cluster
from replica.errors import ReplicaError
from replica.runtime.client import Client, open_client

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES: Final = 200
BUDGET_MS: Final = 5000
ASK_EVERY: Final = 5
WARM_UP_S: Final = 1.0
LAST_S: Final = 1.0
"""How long after the last receipt arrivals are waited for."""
TARGET_P99_MS: Final = 20.0


class FeedReport(Report, frozen=True, kw_only=True):
    """`last`: receipt → the last light follower has it, in ms, of every operation; an entry that came to followers
    before its receipt came to its caller counts with the time it took, which may be below 0. `middle`: → half of them
    have it. `site_processes`: receipt → read at a whole site's door; None without any. `p99_spread`: of `last`, each
    run's. `failed`: operations that were not agreed, or did not come to every follower; `lost`: lines that broke."""

    sites: int
    processes: int
    rate: float
    seconds: float
    runs: int
    operations: int
    last: Distribution | None
    middle: Distribution | None
    site_processes: Distribution | None
    p99_spread: Spread | None
    failed: int
    lost: int
    warm_up_s: float
    target_p99_ms: float = TARGET_P99_MS


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `feed` command and its options."""
    parser = subparsers.add_parser("feed", help="from agreed to visible at the last site", description=__doc__)
    parser.add_argument("--sites", type=int, default=50, help="light followers")
    parser.add_argument("--processes", type=int, default=3, help="whole sites besides")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--rate", type=float, default=50.0, help="operations a second")
    parser.add_argument("--runs", type=int, default=3)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every operation came to every site, 1 where one did not, 2 for wrong options."""
    if not 1 <= args.sites <= 500 or not 0 <= args.processes <= 20 or args.runs < 1:
        return refused("--sites 1 to 500, --processes 0 to 20, --runs at least 1")
    if args.seconds <= 0 or not 0 < args.rate <= 10_000:
        return refused("--seconds above 0, --rate above 0 and up to 10000")
    if args.quick:
        args.seconds, args.runs, args.processes = min(args.seconds, 3.0), 1, min(args.processes, 1)
    quiet()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        report = trio.run(_measure, args, Path(folder), console)
    console.print(_table(report))
    publish(args, report, console, lambda: _drawing(report))
    return 1 if report.failed else 0


@dataclass(slots=True)
class _Run:
    """One run's receipts, by the index of their entry: when each came; and what was read at whole sites."""

    agreed: dict[int, list[float]] = field(default_factory=dict)
    read_ms: list[float] = field(default_factory=list)
    failed: int = 0


async def _measure(args: argparse.Namespace, folder: Path, console: Console) -> FeedReport:
    machine = this_machine(folder)
    sites = tuple(SitePlan(f"fr.health.samu{number:02}0") for number in range(1, args.processes + 1))
    runs: list[_Run] = []
    async with open_cluster(Plan(folder, 3, sites, site_lines=False, cluster="bench")) as cluster:
        async with leading_inside(cluster) as zone, AsyncExitStack() as stack:
            await zone.submit(RegisterOrganisation(SAMU_OF_ZONE, SAMU_OF_ZONE, cluster.plan.zone_names[0]))
            await open_cases(zone, SAMU_OF_ZONE, CASES)
            readers = await _site_processes(cluster, stack)
            names = [f"fr.health.follower{number:03}" for number in range(args.sites)]
            async with following(cluster, names) as followers:
                numbered = await _one_run(zone, readers, args.rate, WARM_UP_S, 0, _Run())
                for number in range(args.runs):
                    runs.append(_Run())
                    numbered = await _one_run(zone, readers, args.rate, args.seconds, numbered, runs[-1])
                    console.print(f"run {number + 1} of {args.runs}: {len(runs[-1].agreed)} entries", highlight=False)
                told = await followers.end()
            await _stop_sites(cluster)
    return _report(args, runs, told, machine)


async def _site_processes(cluster: Cluster, stack: AsyncExitStack) -> list[Client]:
    """Whole sites, started; a client of each."""
    readers = []
    for node in cluster.sites:
        await cluster.start(node.name)
        readers.append(await stack.enter_async_context(open_client(node.address)))
    return readers


async def _stop_sites(cluster: Cluster) -> None:
    for node in cluster.sites:
        await cluster.stop(node.name)


async def _one_run(
    zone: replica.Zone, readers: Sequence[Client], rate: float, seconds: float, numbered: int, run: _Run
) -> int:
    """Operations at an even rate, whatever the earlier ones do; the number of the next."""

    async def one(number: int) -> None:
        case = case_id(SAMU_OF_ZONE, number // 2 % CASES)
        try:
            receipt = await zone.submit(command(case, number, DEFAULT_BYTES), author="bench", budget_ms=BUDGET_MS)
        except ReplicaError:
            run.failed += 1
            return
        at = perf_counter()
        if word_of(receipt) != AGREED or not isinstance(receipt, Agreed):
            run.failed += 1
            return
        run.agreed.setdefault(receipt.index, []).append(at)
        if number % ASK_EVERY == 0:
            for reader in readers:
                nursery.start_soon(read, reader, case, receipt.index, at)

    async def read(reader: Client, case: str, index: int, since: float) -> None:
        reader.seen_index = max(reader.seen_index, index)
        try:
            await reader.show_case(case, consistency="session", budget_ms=BUDGET_MS)
            run.read_ms.append((perf_counter() - since) * 1000)
        except ReplicaError:
            run.failed += 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(int(rate * seconds)):
            await trio.sleep_until(began + number / rate)
            nursery.start_soon(one, numbered + number)
    await trio.sleep(LAST_S)
    return numbered + int(rate * seconds)


def waits_ms(agreed: dict[int, list[float]], told: Told, followers: int) -> tuple[list[float], list[float], int]:
    """Of each receipt: ms until the last and until the middle follower had its entry; and how many receipts' entries
    did not come to all of them, which are in neither."""
    seen = {one.index: one for one in told.seen if one.followers == followers}
    last = [(seen[index].last - at) * 1000 for index, times in agreed.items() if index in seen for at in times]
    middle = [(seen[index].middle - at) * 1000 for index, times in agreed.items() if index in seen for at in times]
    return last, middle, sum(len(times) for index, times in agreed.items() if index not in seen)


def _report(args: argparse.Namespace, runs: Sequence[_Run], told: Told, machine: Machine) -> FeedReport:
    found = [waits_ms(run.agreed, told, args.sites) for run in runs]
    last, middle = [one for run in found for one in run[0]], [one for run in found for one in run[1]]
    read_ms = [one for run in runs for one in run.read_ms]
    return FeedReport(
        machine=machine,
        quick=args.quick,
        not_measured=(
            f"{args.sites} whole site processes: they are light followers in one process; {args.processes} are whole",
            "networks between zones and sites: all is loopback",
        ),
        sites=args.sites,
        processes=args.processes,
        rate=args.rate,
        seconds=args.seconds,
        runs=args.runs,
        operations=sum(len(times) for run in runs for times in run.agreed.values()),
        last=distribution(last) if last else None,
        middle=distribution(middle) if middle else None,
        site_processes=distribution(read_ms) if read_ms else None,
        p99_spread=spread([distribution(run[0]).p99 for run in found if run[0]]) if last else None,
        failed=sum(run.failed for run in runs) + sum(run[2] for run in found),
        lost=told.lost,
        warm_up_s=WARM_UP_S,
    )


def _table(report: FeedReport) -> Table:
    table = Table(title=f"agreed at the leader → at a site, {report.rate:g} operations a second")
    for name in ("", "p50 ms", "p90 ms", "p99 ms", "max ms", "target p99"):
        table.add_column(name, justify="right")
    rows = (
        (f"the last of {report.sites}", report.last, f"≤ {report.target_p99_ms:g}"),
        (f"half of {report.sites}", report.middle, ""),
        (f"read at {report.processes} whole sites", report.site_processes, ""),
    )
    for name, found, target in rows:
        if found is not None:
            values = [f"{value:.1f}" for value in (found.p50, found.p90, found.p99, found.max)]
            table.add_row(name, *values, target)
    table.caption = f"failed {report.failed}, lines lost {report.lost}"
    return table


def _drawing(report: FeedReport) -> Figure:
    series = {"last": report.last, "half": report.middle, "read at a whole site": report.site_processes}
    return waits("From agreed to visible at sites", {name: one.ms for name, one in series.items() if one is not None})
