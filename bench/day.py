"""`python -m bench day`: a national day, compressed: no submit waits longer than its budget, and nothing is lost.

Three zones and a handful of sites, a process each, on loopback with durable stores; every line is one that can be cut.
The sites speak for a hundred Samu. Calls come by the hours of the day, each a case with eight acts; in the afternoon an
hour's crisis brings ten times the peak; vehicles say where they are, and the latest positions go in every ten seconds.
The leader is killed in the morning and again in the middle of the crisis; a site is cut off for an hour of the day and
comes back with its journal; in the evening the leading zone is cut off for an hour.

The day is shorter, not more crowded: rates are those of a real one with `--peak` operations a second at the busiest
hour. The file sizes at which a log is compacted are smaller in proportion, so that compaction is seen.

When all is healed every operation gets its verdict; then the processes are stopped and the stores read: an operation
somebody holds a receipt for is lost where a store has not counted it, or where its site keeps another verdict than its
caller was told.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import plots
from bench.day_plan import organisations
from bench.day_run import Course, Day, Sample
from bench.figures import Distribution, distribution
from bench.machine import Machine, this_machine
from bench.processes import disk_mb
from bench.report import Report, add_output, publish, refused
from replica.config import Limits
from replica.demo.audit import Audit, audit
from replica.demo.caller import BUDGET_MS, Caller, open_callers, until_decided
from replica.demo.clash import note_report
from replica.demo.ledger import Ledger
from replica.demo.looking import until_equal
from replica.demo.play import until_connected
from replica.demo.stores import read_stores
from replica.demo.supervisor import Plan, SitePlan, open_cluster
from replica.wire.client import Receipt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ZONES: Final = 3
SAMU: Final = 100
SITES: Final = 5
MINUTES: Final = 10.0
QUICK_MINUTES: Final = 0.4
QUICK_SAMU: Final = 20
QUICK_SITES: Final = 2
PEAK_PER_S: Final = 50.0
QUICK_PEAK_PER_S: Final = 40.0
KEPT_MIB_PER_10_MINUTES: Final = 4
PAST_BUDGET_MS: Final = 100
WARM_UP_OPERATIONS: Final = 100
"""Handed in at each site before midnight, and in no figure."""
WARM_UP_BUDGET_MS: Final = 5_000
UNTIL_READY_S: Final = 60.0
NOT_MEASURED: Final = (
    "a day's number of cases: the rates are a day's, its length is not",
    "a hundred site processes: a few sites speak for all Samu",
    "thinning of positions in the system itself: these callers do it",
    "lines with a delay",
)
UNTIL_EQUAL_S: Final = 300.0


class Bytes(Struct, frozen=True, kw_only=True):
    """What a day leaves behind, in bytes, over all its cases and operations. State: of a zone's state on the disk. Log:
    of a zone's log as far as it is kept, with the room that compaction left free in the file. Memory: what the largest
    zone and the largest site grew by over the day."""

    state_disk_per_case: float
    state_disk_per_operation: float
    log_disk_per_operation: float
    site_disk_per_operation: float
    zone_memory_per_operation: float
    site_memory_per_operation: float


class DayReport(Report, frozen=True, kw_only=True):
    """`longest_submit_ms`: the longest any caller waited for an answer of any kind. `agreed` and `journalled`: what the
    first answers said; together `operations`. `failed`: acts that were refused, or never answered. `lost`: operations
    that a store does not have as their callers were told. `elections`: leaders after the first. `rss_mb_max`: of one
    process. `disk_mb`: all nodes at the end. `levelling_s`: from midnight until every operation had its verdict and all
    nodes were equal. `ok`: no wait above the budget and 100 ms, nothing lost or failed, equal stores."""

    minutes: float
    peak_per_s: float
    budget_ms: int
    warm_up_operations: int
    cases: int
    longest_submit_ms: float
    submit: Distribution
    operations: int
    agreed: int
    journalled: int
    lost: int
    failed: int
    elections: int
    verdicts: dict[str, int]
    positions_said: int
    positions_handed_in: int
    rss_mb_max: float
    disk_mb: float
    bytes: Bytes
    compacted_entries: int
    levelling_s: float
    stores_equal: bool
    problems: tuple[str, ...]
    moments: tuple[tuple[float, str], ...]
    samples: tuple[Sample, ...]
    ok: bool


class Shape(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    minutes: float
    samu: int
    sites: int
    peak_per_s: float
    seed: int


class Ended(Struct, kw_only=True):
    """What the run left: the course as it went, the callers' ledger, and the later verdicts."""

    course: Course
    ledger: Ledger
    decided: dict[str, Receipt]
    levelling_s: float


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `day` command and its options."""
    parser = subparsers.add_parser("day", help="a national day, compressed", description=__doc__)
    parser.add_argument("--minutes", type=float, default=None, help=f"that 24 hours take ({MINUTES:g}; quick: 0.4)")
    parser.add_argument("--peak", type=float, default=None, help="operations a second at the peak (50; quick: 40)")
    parser.add_argument("--seed", type=int, default=1, help="decides who calls when")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where all is ok, 1 where not, 2 for wrong options."""
    minutes = args.minutes if args.minutes is not None else QUICK_MINUTES if args.quick else MINUTES
    peak = args.peak if args.peak is not None else QUICK_PEAK_PER_S if args.quick else PEAK_PER_S
    if not 0.1 <= minutes <= 1440 or not 1 <= peak <= 1000:
        return refused("--minutes must be 0.1 to 1440, --peak 1 to 1000")
    samu, sites = (QUICK_SAMU, QUICK_SITES) if args.quick else (SAMU, SITES)
    shape = Shape(minutes=minutes, samu=samu, sites=sites, peak_per_s=peak, seed=args.seed)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        plan, machine = plan_of(shape, Path(folder)), this_machine(Path(folder))
        ended = trio.run(_live, shape, plan, console)
        console.print("all stopped; the stores are read", highlight=False)
        operations = ended.ledger.operations()
        found = audit(ended.ledger, ended.decided, read_stores(Path(folder), plan, operations))
        disk = disk_mb([Path(folder) / name for name in (*plan.zone_names, *plan.site_names)])
    report = summary(shape, ended, found, disk, machine, args.quick)
    console.print(table(report))
    for problem in report.problems:
        console.print(f"✗ {problem}", highlight=False)
    publish(args, report, console, lambda: draw(report))
    return 0 if report.ok else 1


def plan_of(shape: Shape, folder: Path) -> Plan:
    """The cluster: every line can be cut, and the log is kept as short in proportion as the day is."""
    dealt = organisations(shape.samu, shape.sites)
    limits = Limits(log_keep_mib=max(1, round(KEPT_MIB_PER_10_MINUTES * shape.minutes / 10)))
    return Plan(
        folder,
        ZONES,
        tuple(SitePlan(names[0], names[1:]) for names in dealt),
        zone_lines=True,
        cluster="bench",
        limits=limits,
    )


def summary(shape: Shape, ended: Ended, found: Audit, disk: float, machine: Machine, quick: bool) -> DayReport:
    """The report, out of what the callers hold and what the stores have."""
    held, course = ended.ledger.held, ended.course
    operations = len(ended.ledger.operations())
    failed = sum(not one.receipts for one in held)
    longest = ended.ledger.longest_wait_ms()
    problems = [*found.problems]
    if longest > BUDGET_MS + PAST_BUDGET_MS:
        problems.append(f"a submit waited {longest:.0f} ms, with a budget of {BUDGET_MS}")
    if failed:
        why = Counter(
            f"{one.what}: {one.invalid or one.not_permitted or 'never answered'}" for one in held if not one.receipts
        )
        problems += [f"{count} without a receipt, {reason}" for reason, count in why.most_common(5)]
    return DayReport(
        machine=machine,
        quick=quick,
        not_measured=NOT_MEASURED,
        minutes=shape.minutes,
        peak_per_s=shape.peak_per_s,
        budget_ms=BUDGET_MS,
        warm_up_operations=WARM_UP_OPERATIONS * shape.sites,
        cases=course.cases,
        longest_submit_ms=round(longest, 1),
        submit=distribution([one.waited_ms for one in held]),
        operations=operations,
        agreed=ended.ledger.count("agreed"),
        journalled=ended.ledger.count("journalled"),
        lost=len(found.lost),
        failed=failed,
        elections=course.elections,
        verdicts=found.verdicts,
        positions_said=sum(one.said for one in course.positions.values()),
        positions_handed_in=sum(one.handed_in for one in course.positions.values()),
        rss_mb_max=max(max(one.zone_rss_mb, one.site_rss_mb) for one in course.samples),
        disk_mb=round(disk, 1),
        bytes=bytes_left(course.samples, course.cases, operations),
        compacted_entries=max(one.compacted_through for one in course.samples),
        levelling_s=round(ended.levelling_s, 2),
        stores_equal=found.digests_equal,
        problems=tuple(problems),
        moments=tuple(course.told),
        samples=tuple(course.samples),
        ok=not problems,
    )


def bytes_left(samples: Sequence[Sample], cases: int, operations: int) -> Bytes:
    """The first sample and the last one, over what came between them."""
    first, last = samples[0], samples[-1]

    def each(megabytes: float, count: int) -> float:
        return round(max(0.0, megabytes) * 1e6 / max(1, count), 1)

    return Bytes(
        state_disk_per_case=each(last.zone_state_mb - first.zone_state_mb, cases),
        state_disk_per_operation=each(last.zone_state_mb - first.zone_state_mb, operations),
        log_disk_per_operation=each(last.zone_log_mb - first.zone_log_mb, operations),
        site_disk_per_operation=each(last.site_mb - first.site_mb, operations),
        zone_memory_per_operation=each(last.zone_rss_mb - first.zone_rss_mb, operations),
        site_memory_per_operation=each(last.site_rss_mb - first.site_rss_mb, operations),
    )


def table(report: DayReport) -> Table:
    """The report for a person, with the targets."""
    shown = Table(title="a national day, compressed", title_justify="left", show_header=False)
    shown.add_column()
    shown.add_column()
    allowed = report.budget_ms + PAST_BUDGET_MS
    rows = {
        "longest submit": f"{report.longest_submit_ms:.0f} ms (≤ {allowed})",
        "submits": report.submit.line(),
        "cases, operations": f"{report.cases:,}, {report.operations:,}",
        "agreed, journalled at first": f"{report.agreed:,}, {report.journalled:,}",
        "lost": f"{report.lost} (0)",
        "without a receipt": f"{report.failed} (0)",
        "stores": "equal" if report.stores_equal else "DIFFER",
        "elections": str(report.elections),
        "positions handed in": f"{report.positions_handed_in:,} of {report.positions_said:,}",
        "largest process": f"{report.rss_mb_max:,.0f} MB resident",
        "disk": f"{report.disk_mb:,.0f} MB in all, {report.compacted_entries:,} entries of the log dropped",
        "state on disk": f"{report.bytes.state_disk_per_case:,.0f} bytes a case, "
        f"{report.bytes.state_disk_per_operation:,.0f} an operation",
        "memory": f"{report.bytes.zone_memory_per_operation:,.0f} bytes an operation in a zone, "
        f"{report.bytes.site_memory_per_operation:,.0f} in a site",
        "level after midnight": f"{report.levelling_s:.1f} s",
        "verdicts": ", ".join(f"{kind} {count:,}" for kind, count in report.verdicts.items()),
        "ok": str(report.ok),
    }
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown


def draw(report: DayReport) -> Figure:
    """What the stores grew by over the day."""
    series = {
        "a zone's log": [(one.hour, one.zone_log_mb) for one in report.samples],
        "a zone's state": [(one.hour, one.zone_state_mb) for one in report.samples],
        "a site": [(one.hour, one.site_mb) for one in report.samples],
    }
    return plots.lines("Data files over a compressed day", "hour of the day", "MB on disk", series)


async def _live(shape: Shape, plan: Plan, console: Console) -> Ended:
    ledger = Ledger()
    speakers = {name: names[0] for names in organisations(shape.samu, shape.sites) for name in names}
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        async with open_callers({node.name: node.address for node in cluster.nodes.values()}, ledger) as callers:
            await until_connected(callers, cluster, UNTIL_READY_S)
            for site in cluster.sites:
                await _warm_up(callers[site.name])
            await until_equal(callers.values(), UNTIL_READY_S)  # every organisation is registered then
            console.print(
                f"{shape.samu} Samu at {shape.sites} sites; a day in {shape.minutes:g} minutes", highlight=False
            )
            day = Day(
                cluster,
                callers,
                speakers,
                shape.minutes * 60,
                shape.peak_per_s,
                shape.seed,
                lambda what: console.print(what, highlight=False),
            )
            course = await day.run()
            midnight, decided = trio.current_time(), dict[str, Receipt]()
            cluster.heal()
            await until_decided(callers, [receipt for _, receipt in ledger.receipts()], decided)
            await until_equal(callers.values(), UNTIL_EQUAL_S)
            levelling_s = trio.current_time() - midnight
        await cluster.stop_all()
    return Ended(course=course, ledger=ledger, decided=decided, levelling_s=levelling_s)


async def _warm_up(site: Caller) -> None:
    client = await site.client()
    for number in range(WARM_UP_OPERATIONS):
        note = note_report(f"{site.name}.warm-up", site.name, f"Note {number}")
        await client.submit_message(note, WARM_UP_BUDGET_MS, sender=site.name)
