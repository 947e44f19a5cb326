"""`python -m bench profile`: where the microseconds of CPU of one operation go, hop by hop, at so many callers.

The leading zone lives in this process with its callers, two zones follow as processes; while the callers hand in, the
main threads are looked at every millisecond of CPU that they use (bench/sampling.py). A hop's microseconds are its
share of the looks, of the main thread's CPU per agreed operation as the system counts it; `disk threads` is the CPU
of the threads that write. What waits uses no CPU and is not in it: the waits of callers are in `throughput`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

import replica
from bench.callers import drive, word_of
from bench.inside import leading_inside, quiet
from bench.machine import this_machine
from bench.plots import sheet
from bench.report import Report, add_output, counts, publish, refused
from bench.sampled import LOOKS_FILE
from bench.sampling import HOPS, sampling, thread_cpu_s
from bench.throughput import AUTHOR, BUDGET_MS, SAMU_OF_ZONE, open_cases
from bench.work import DEFAULT_BYTES, case_id, command
from replica.cases.commands import RegisterOrganisation
from replica.demo.supervisor import Cluster, Plan, open_cluster

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES: Final = 500
DISK: Final = "disk threads"
LEADER: Final = "leader"
FOLLOWER: Final = "follower"


class Hops(Struct, frozen=True, kw_only=True):
    """Of one operation at one process: hop → microseconds of CPU; `total_us` is their sum."""

    role: str
    callers: int
    per_s: float
    total_us: float
    us: dict[str, float]


class ProfileReport(Report, frozen=True, kw_only=True):
    """`profiles`: the leader and one follower, for each number of callers."""

    profiles: tuple[Hops, ...]
    seconds: float
    failed: int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `profile` command and its options."""
    parser = subparsers.add_parser("profile", help="where an operation's microseconds go", description=__doc__)
    parser.add_argument("--callers", type=counts, default=(1, 10, 100, 1000), metavar="N,N")
    parser.add_argument("--seconds", type=float, default=6.0, help="looked at, for each number of callers")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0, or 1 where an operation was not agreed, 2 for wrong options."""
    if args.seconds <= 0:
        return refused("--seconds must be above 0")
    if args.quick:
        args.callers, args.seconds = (1, 100), min(args.seconds, 2.0)
    quiet()
    console = Console()
    profiles: list[Hops] = []
    failed = 0
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        machine = this_machine(Path(folder))
        for callers in args.callers:
            found, missed = trio.run(_profiled, Path(folder) / str(callers), callers, args.seconds)
            profiles += found
            failed += missed
            console.print(f"{callers} callers: {found[0].per_s:,.0f} operations a second", highlight=False)
    report = ProfileReport(
        machine=machine,
        quick=args.quick,
        not_measured=("waits: only CPU is counted", "sites: the callers are at the leading zone"),
        profiles=tuple(profiles),
        seconds=args.seconds,
        failed=failed,
    )
    console.print(_table(report.profiles))
    publish(args, report, console, lambda: _drawing(report.profiles))
    return 1 if failed else 0


async def _profiled(folder: Path, callers: int, seconds: float) -> tuple[tuple[Hops, Hops], int]:
    program = (sys.executable, "-m", "bench.sampled")
    plan = Plan(folder, 3, (), site_lines=False, cluster="bench", program=program)
    async with open_cluster(plan) as cluster:
        async with leading_inside(cluster) as zone:
            found = await _looked_at(cluster, zone, callers, seconds)
        # The followers have written their looks by now or do so as they stop.
        await cluster.stop_all()
        (per_s, failed, shares, used) = found
        follower = plan.zone_names[1]
        looks = msgspec.json.decode((cluster.nodes[follower].data / LOOKS_FILE).read_bytes(), type=dict[str, float])
    return (_hops(LEADER, callers, per_s, shares, used[0]), _hops(FOLLOWER, callers, per_s, looks, used[1])), failed


Used = tuple[tuple[float, float], tuple[float, float]]
"""CPU microseconds per operation of (leader, follower), each (main thread, other threads)."""


async def _looked_at(
    cluster: Cluster, zone: replica.Zone, callers: int, seconds: float
) -> tuple[float, int, dict[str, float], Used]:
    follower = cluster.nodes[cluster.plan.zone_names[1]].child
    await zone.submit(RegisterOrganisation(SAMU_OF_ZONE, SAMU_OF_ZONE, cluster.plan.zone_names[0]))
    await open_cases(zone, SAMU_OF_ZONE, CASES)

    async def act(number: int) -> str:
        decided = command(case_id(SAMU_OF_ZONE, number // 2 % CASES), number, DEFAULT_BYTES)
        return word_of(await zone.submit(decided, author=AUTHOR, budget_ms=BUDGET_MS))

    await drive(callers, act, 1.0, {})  # warm: none of it is looked at
    pids = (os.getpid(), follower.pid)
    before = [(thread_cpu_s(pid, main=True), thread_cpu_s(pid, main=False)) for pid in pids]
    follower.signal(signal.SIGUSR1)
    with sampling() as sampler:
        window = await drive(callers, act, seconds, {}, first=10_000_000, warm_up_s=0.0)
    follower.signal(signal.SIGUSR2)
    after = [(thread_cpu_s(pid, main=True), thread_cpu_s(pid, main=False)) for pid in pids]
    done = max(1, window.operations)
    used = [
        ((then[0] - first[0]) * 1e6 / done, (then[1] - first[1]) * 1e6 / done)
        for first, then in zip(before, after, strict=True)
    ]
    return window.per_s, sum(window.failed.values()), sampler.shares(), (used[0], used[1])


def _hops(role: str, callers: int, per_s: float, shares: dict[str, float], used: tuple[float, float]) -> Hops:
    us = {hop: round(shares[hop] * used[0], 1) for hop in HOPS if hop in shares} | {DISK: round(used[1], 1)}
    return Hops(role=role, callers=callers, per_s=round(per_s, 1), total_us=round(sum(used), 1), us=us)


def _table(profiles: tuple[Hops, ...]) -> Table:
    table = Table(title="microseconds of CPU of one agreed operation")
    table.add_column("hop")
    for one in profiles:
        table.add_column(f"{one.role}\n{one.callers} callers", justify="right")
    for hop in (*HOPS, DISK):
        if any(hop in one.us for one in profiles):
            table.add_row(hop, *(f"{one.us.get(hop, 0.0):.1f}" for one in profiles))
    table.add_row("all", *(f"{one.total_us:.0f}" for one in profiles), style="bold")
    return table


def _drawing(profiles: tuple[Hops, ...]) -> Figure:
    figure, axes = sheet("CPU of one agreed operation, by hop", "", "microseconds")
    names = [f"{one.role}, {one.callers}" for one in profiles]
    below = [0.0] * len(profiles)
    for hop in (*HOPS, DISK):
        heights = [one.us.get(hop, 0.0) for one in profiles]
        if any(heights):
            axes.bar(names, heights, bottom=below, label=hop)
            below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.tick_params(axis="x", labelrotation=20)
    axes.legend(fontsize="small")
    return figure
