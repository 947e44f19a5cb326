"""`python -m bench peers`: what other systems bear on this machine, and how long they are away when a leader is killed.

etcd with its own times and tuned, ZooKeeper, PySyncObj: three processes each on loopback, one system at a time, with
the durability that each has by itself. Writes of `--size` bytes at the leader, so many under way at any time, by the
best client there is for each (the rows say which); then the leader is killed with SIGKILL, and the time until something
is written again is a value. A system that is not on this machine is said to be missing, with what to install.

`--check` lays the figure for etcd beside what its own tool says: `etcdctl check perf --load=xl` writes 1 KiB values for
a minute at a rate that it holds down to 15,000 a second, so it says what the cluster bears up to there and no more.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import plots
from bench.figures import Distribution, distribution
from bench.machine import this_machine
from bench.peers import pysyncobj
from bench.peers.etcd import EtcdPlan, find_etcd, open_etcd, put_load, why_missing
from bench.peers.etcd_cluster import Timing
from bench.peers.pysyncobj import find_pysyncobj, open_pysyncobj
from bench.peers.zookeeper import HOW_TO as ZOOKEEPER_HOW_TO
from bench.peers.zookeeper import Ensemble, ZooKeeperLine, find_zookeeper, open_zookeeper
from bench.report import Report, Spread, add_output, counts, publish, refused, spread
from bench.trials import Setting, on_etcd
from bench.work import DEFAULT_BYTES
from replica.errors import ReplicaError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALLERS: Final = (1, 10, 100, 1000)
SECONDS: Final = 5.0
QUICK_SECONDS: Final = 1.0
TRIALS: Final = 10
QUICK_TRIALS: Final = 2
WARM_UP_SECONDS: Final = 3.0
WARM_UP_CALLERS: Final = 100
ZOOKEEPER_CONNECTIONS: Final = 10
"""Of what Python can do, most; more cost it more than they bring."""
CHECK_CALLERS: Final = 1000
CHECK_BYTES: Final = 1024
CHECK_SECONDS: Final = 5.0
CHECK_SHARE: Final = 0.8
"""Our client must get at least so much of what etcd's own tool got."""
CHECK_WITHIN_S: Final = 150.0


class Wrote(Struct, frozen=True, kw_only=True):
    """Writes at one number of callers: medians over the runs."""

    callers: int
    per_s: float
    p50: float
    p99: float
    client: str
    failed: int
    spread: Spread


class Row(Struct, frozen=True, kw_only=True):
    """One system. `missing`: what to install, or what went wrong; then what it lacks was not measured."""

    name: str
    version: str
    durable: str
    writes: tuple[Wrote, ...] = ()
    failover: Distribution | None = None
    missing: str = ""


class Check(Struct, frozen=True, kw_only=True):
    """What etcd's own tool printed of `per_s` writes of 1 KiB, beside ours. `within`: ours is not less than
    CHECK_SHARE of it."""

    printed: str
    per_s: float
    ours_per_s: float
    within: bool


class PeersReport(Report, frozen=True, kw_only=True):
    """`failed`: writes that did not happen and trials without one; with a check that fails, one more."""

    rows: tuple[Row, ...]
    size: int
    failed: int
    check: Check | None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `peers` command and its options."""
    parser = subparsers.add_parser("peers", help="what other systems bear on this machine", description=__doc__)
    parser.add_argument("--callers", type=counts, default=CALLERS, help="writes under way (1,10,100,1000)")
    parser.add_argument("--seconds", type=float, default=None, help=f"of each load ({SECONDS:g})")
    parser.add_argument("--size", type=int, default=DEFAULT_BYTES, help=f"bytes written ({DEFAULT_BYTES})")
    parser.add_argument("--trials", type=int, default=None, help=f"leaders killed of each system ({TRIALS})")
    parser.add_argument("--runs", type=int, default=None, help="of each load, the median counts (3; quick: 1)")
    parser.add_argument("--check", action="store_true", help="etcd's own benchmark tool beside ours; then nothing else")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where all that is here was measured, 1 where something failed, 2 for wrong options."""
    seconds = args.seconds if args.seconds is not None else QUICK_SECONDS if args.quick else SECONDS
    trials = args.trials if args.trials is not None else QUICK_TRIALS if args.quick else TRIALS
    runs = args.runs if args.runs is not None else 1 if args.quick else 3
    if not seconds > 0 or trials < 1 or runs < 1 or args.size < 1:
        return refused("--seconds must be above 0, --trials, --runs and --size at least 1")
    if args.check and why_missing():
        return refused(why_missing())
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        bench = _Bench(Path(folder), args.callers, seconds, args.size, trials, runs, console)
        machine = this_machine(bench.folder)
        check = trio.run(checked, bench.folder / "check") if args.check else None
        rows = () if args.check else bench.rows()
    report = PeersReport(
        machine=machine,
        quick=args.quick,
        not_measured=(
            "the same operations as ours: a peer stores bytes and judges nothing",
            "machines apart: all is loopback",
            *(f"{row.name}: {row.missing}" for row in rows if row.missing),
        ),
        rows=rows,
        size=args.size,
        failed=bench.failed + (check is not None and not check.within),
        check=check,
    )
    console.print(table(report))
    publish(args, report, console, lambda: draw(report))
    return 1 if report.failed else 0


class _Bench:
    """What all systems have in common."""

    def __init__(
        self,
        folder: Path,
        callers: Sequence[int],
        seconds: float,
        size: int,
        trials: int,
        runs: int,
        console: Console,
    ) -> None:
        self.folder, self.callers, self.seconds, self.size = folder, callers, seconds, size
        self.trials, self.runs = trials, runs
        self.failed = 0
        self._tell = partial(console.print, highlight=False)

    def rows(self) -> tuple[Row, ...]:
        """One system after the other."""
        return (
            self._row("etcd", why_missing(), self._etcd("default"), "fsync"),
            self._row("etcd tuned", why_missing(), self._etcd("tuned"), "fsync"),
            self._row("ZooKeeper", "" if find_zookeeper() else ZOOKEEPER_HOW_TO, self._zookeeper, "fsync"),
            self._row(
                "PySyncObj", "" if find_pysyncobj() else pysyncobj.HOW_TO, self._pysyncobj, "a journal without fsync"
            ),
        )

    def _row(
        self, name: str, missing: str, measure: Callable[[list[Wrote], list[float]], Awaitable[str]], durable: str
    ) -> Row:
        self._tell(f"{name} {missing}")
        if missing:
            return Row(name=name, version="", durable=durable, missing=missing)
        writes: list[Wrote] = []
        away: list[float] = []
        version = ""
        try:
            version = trio.run(measure, writes, away)
        except* (ReplicaError, OSError, trio.TooSlowError) as problems:
            missing = "; ".join(f"{type(one).__name__}: {one}".partition("\n")[0] for one in _leaves(problems))
            self.failed += 1
        self.failed += sum(one.failed for one in writes)
        return Row(
            name=name,
            version=version,
            durable=durable,
            writes=tuple(writes),
            failover=distribution(away) if away else None,
            missing=missing,
        )

    def _etcd(self, timing: Timing) -> Callable[[list[Wrote], list[float]], Awaitable[str]]:
        async def measure(writes: list[Wrote], away: list[float]) -> str:
            async with open_etcd(EtcdPlan(self.folder / f"load-{timing}", timing)) as cluster:
                await cluster.start_all()
                for callers in self.callers:
                    loads = [await put_load(cluster, callers, self.seconds, self.size) for _ in range(self.runs)]
                    per_s = spread([one.per_s for one in loads])
                    p50, p99 = (spread(values).median for values in ([x.p50 for x in loads], [x.p99 for x in loads]))
                    failed = sum(one.failed for one in loads)
                    writes.append(_wrote(callers, per_s, (p50, p99), loads[-1].client, failed))
                    self._tell(f"  {callers:5} callers: {per_s.text()}/s")
                version = cluster.version
            setting = Setting("kill", self.trials, 1, 0, 1, 3, 0.0, lambda text: self._tell(f"  {text}"))
            ran = await on_etcd(setting, self.folder / f"kill-{timing}", random.Random(1), timing)
            away += ran.side.waits.ms if ran.side.waits else ()
            self.failed += ran.side.failed
            return version

        return measure

    async def _zookeeper(self, writes: list[Wrote], away: list[float]) -> str:
        async with open_zookeeper(self.folder / "zookeeper") as ensemble:
            await ensemble.start_all()
            await self._pumped(ensemble, WARM_UP_CALLERS, WARM_UP_SECONDS)
            for callers in self.callers:
                connections = min(callers, ZOOKEEPER_CONNECTIONS)
                client = f"ours in Python, {connections} connections of {-(-callers // connections)}"
                took = [await self._pumped(ensemble, callers, self.seconds) for _ in range(self.runs)]
                self._written(writes, callers, took, client)
            for _ in range(self.trials):
                leader = await ensemble.leader()
                struck = ensemble.strike(leader)
                await ensemble.first_write()
                away.append((trio.current_time() - struck) * 1000)
                self._tell(f"  leader killed: {away[-1]:.1f} ms")
                await ensemble.gone(leader)
                await ensemble.start(leader)
            return ensemble.version

    async def _pumped(self, ensemble: Ensemble, callers: int, seconds: float) -> list[float]:
        address = ensemble.servers[await ensemble.leader()].address
        connections = min(callers, ZOOKEEPER_CONNECTIONS)
        took: list[float] = []

        async def pump() -> None:
            line = ZooKeeperLine(address)
            try:
                await line.open()
                took.extend(await line.pump(-(-callers // connections), seconds, b"x" * self.size))
            finally:
                line.close()

        async with trio.open_nursery() as nursery:
            for _ in range(connections):
                nursery.start_soon(pump)
        return took

    async def _pysyncobj(self, writes: list[Wrote], away: list[float]) -> str:
        for trial in range(self.trials):
            folder = self.folder / f"pysyncobj-{trial}"
            folder.mkdir()
            async with open_pysyncobj(folder) as cluster:
                for callers in self.callers if trial == 0 else ():
                    leader = cluster.processes[await cluster.leader()]
                    order = pysyncobj.Order("load", callers, self.seconds, self.size)
                    told = [await leader.ask(order) for _ in range(self.runs)]
                    took, failed = [list(one.ms) for one in told], sum(one.failed for one in told)
                    self._written(writes, callers, took, "callbacks in the leader's own process", failed)
                away.append(await cluster.failover_ms())
                self._tell(f"  leader killed: {away[-1]:.1f} ms")
        return find_pysyncobj()

    def _written(
        self, writes: list[Wrote], callers: int, took: Sequence[Sequence[float]], client: str, failed: int = 0
    ) -> None:
        """Runs of one number of callers, each as what its writes took. A run without any is a failure of its own."""
        per_s = spread([len(one) / self.seconds for one in took])
        every = [distribution(one) for one in took if one]
        failed += len(took) - len(every)
        p50 = spread([one.p50 for one in every]).median if every else 0.0
        p99 = spread([one.p99 for one in every]).median if every else 0.0
        writes.append(_wrote(callers, per_s, (p50, p99), client, failed))
        self._tell(f"  {callers:5} callers: {per_s.text()}/s")


def _leaves(problems: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for one in problems.exceptions:
        found += _leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found


def _wrote(callers: int, per_s: Spread, waits_ms: tuple[float, float], client: str, failed: int) -> Wrote:
    return Wrote(
        callers=callers,
        per_s=per_s.median,
        p50=waits_ms[0],
        p99=waits_ms[1],
        client=client,
        failed=failed,
        spread=per_s,
    )


async def checked(folder: Path) -> Check:
    """etcd's own tool, then our client with values of the same size, on one cluster. Raises ReplicaError."""
    program = find_etcd()
    assert program is not None, "it was looked for before"
    async with open_etcd(EtcdPlan(folder)) as cluster:
        await cluster.start_all()
        endpoints = ",".join(cluster.addresses.values())
        tool = str(Path(program.path).with_name("etcdctl"))
        with trio.fail_after(CHECK_WITHIN_S):
            ran = await trio.run_process(
                (tool, f"--endpoints={endpoints}", "check", "perf", "--load=xl"),
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
        printed = ran.stdout.decode(errors="replace")
        load = await put_load(cluster, CHECK_CALLERS, CHECK_SECONDS, CHECK_BYTES)
    return judged(printed, load.per_s)


def judged(printed: str, ours_per_s: float) -> Check:
    """Its words beside our figure. The last line of throughput counts; a tool that printed none is never within."""
    lines = [line for line in re.split(r"[\r\n]+", printed) if line.startswith(("PASS", "FAIL"))]
    found = re.findall(r"[Tt]hroughput(?: too low:| is) (\d+) writes/s", printed)
    per_s = float(found[-1]) if found else 0.0
    return Check(
        printed="; ".join(lines) or printed[-500:],
        per_s=per_s,
        ours_per_s=ours_per_s,
        within=bool(found) and ours_per_s >= CHECK_SHARE * per_s,
    )


def table(report: PeersReport) -> Table:
    """The report for a person."""
    shown = Table(title=f"other systems on this machine, writes of {report.size} bytes a second", title_justify="left")
    callers = list(dict.fromkeys(one.callers for row in report.rows for one in row.writes))
    shown.add_column("callers")
    for count in callers:
        shown.add_column(f"{count:,}", justify="right")
    shown.add_column("leader killed, ms", justify="right")
    for row in report.rows:
        wrote = {one.callers: one for one in row.writes}
        rates = [wrote[count].spread.text() if count in wrote else "" for count in callers]
        away = row.failover
        told = f"p50 {away.p50:,.0f} ({min(away.ms):,.0f}-{away.max:,.0f})" if away else ""
        shown.add_row(f"{row.name} {row.version}\n{row.durable}", *rates, told or row.missing)
    if (check := report.check) is not None:
        shown.caption = (
            f"etcdctl check perf: {check.printed}; ours, {CHECK_CALLERS:,} callers and {CHECK_BYTES} bytes: "
            f"{check.ours_per_s:,.0f}/s, {'within' if check.within else 'NOT within'}"
        )
    return shown


def draw(report: PeersReport) -> Figure:
    """Writes a second over callers, a line for each system."""
    series = {
        f"{row.name} {row.version}": [(float(one.callers), one.per_s) for one in row.writes]
        for row in report.rows
        if row.writes
    }
    return plots.lines("Other systems", "writes under way", "writes/s", series, log_x=True, log_y=True)
