"""`python -m bench reads`: reads a second with their freshness, by what they promise, and what they wait.

* `local`: at a site in this process, at once: `site.read_case`, one after the other in one task. The figure is that of
  a program that embeds the site and does nothing else; while it reads it lets the site's own tasks run as often as a
  real one would, every LET_OTHERS reads.
* `session`: awaited at that site; never older than what this object has seen.
* `linearizable`: awaited, `--callers` at once, at the leading zone in this process, and at a site in this process whose
  zones are processes: with all that was agreed anywhere before, confirmed by a quorum. etcd beside it: its linearizable
  and its serializable range of one key with a value as large as an operation, over loopback, by h2load.

Whole cases, and single fields: there is no cheaper question for one field than the case, so a field is
`read_case(…).value.value("priority")`. Each is measured with nobody writing and with `--rate` operations a second.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

import replica
from bench.callers import AGREED, Window, drive, failures, ratio, window, word_of
from bench.inside import leading_inside, quiet, site_inside, start_zones, until_followed
from bench.machine import this_machine
from bench.peer_load import ETCD, etcd_ranges, missing
from bench.plots import bars
from bench.processes import cpu_s
from bench.report import Report, Spread, add_output, publish, refused, spread
from bench.throughput import SAMU_OF_ZONE, SITE, open_cases, zone_pids
from bench.work import DEFAULT_BYTES, act, case_id, command, encoded_bytes
from replica.cases.commands import RegisterOrganisation
from replica.demo.supervisor import Plan, SitePlan, open_cluster
from replica.errors import ReplicaError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Node: TypeAlias = replica.Zone | replica.Site
Waits: TypeAlias = Literal["session", "linearizable"]
Key: TypeAlias = tuple[str, str, str, bool]
"""(consistency, where, what, while writing)."""

WHAT: Final = ("case", "field")
LET_OTHERS: Final = 200
"""Local reads in a row: some two milliseconds, as a request that shows a list of cases is."""
SAMPLED: Final = 20
"""One of so many local reads is timed; to look at the clock for each would cost as much as a part of the read."""
NOTES_PER_CASE: Final = 4
BUDGET_MS: Final = 5000
TARGET_LOCAL_PER_S: Final = 100_000
TARGET_RATIO: Final = 2.0
WARM_UP_S: Final = 0.5


class Kind(Struct, frozen=True, kw_only=True):
    """One way to read. `where`: "site" or "zone", in whose process the readers are. `per_s` and the rest are medians
    over the runs, times in ms; `spread` has each run's rate. `written_per_s`: what the writer beside got done."""

    consistency: str
    where: str
    what: str
    while_writing: bool
    callers: int
    per_s: float
    p50: float
    p99: float
    spread: Spread
    cpu_s_per_1000: float
    written_per_s: float
    failed: int


class Etcd(Struct, frozen=True, kw_only=True):
    """etcd's range of one key, with nobody writing."""

    linearizable_per_s: float
    linearizable_p50: float
    linearizable_p99: float
    serializable_per_s: float
    serializable_p50: float
    serializable_p99: float
    linearizable_spread: Spread
    value_bytes: int
    client: str


class ReadsReport(Report, frozen=True, kw_only=True):
    """`ratio_linearizable`: reads of whole cases with nobody writing at the leading zone, against etcd's, in the same
    run; `ratio_linearizable_site`: the same at a site, which asks its zone first."""

    kinds: tuple[Kind, ...]
    etcd: Etcd | None
    ratio_linearizable: float | None
    ratio_linearizable_site: float | None
    cases: int
    callers: int
    rate: float
    seconds: float
    runs: int
    failed: int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `reads` command and its options."""
    parser = subparsers.add_parser("reads", help="reads a second, by what they promise", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each window")
    parser.add_argument("--callers", type=int, default=100, help="at once, of linearizable and session reads")
    parser.add_argument("--rate", type=float, default=50.0, help="operations a second while writing")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", choices=(ETCD,), default=None, help="measured in the same run, on the same disk")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every read was answered, 1 where one was not, 2 for wrong options."""
    if args.cases < 1 or args.seconds <= 0 or args.callers < 1 or args.runs < 1 or not 0 < args.rate <= 10_000:
        return refused("--cases, --callers and --runs at least 1, --seconds above 0, --rate above 0 and up to 10000")
    if args.peer and (why := missing()):
        return refused(why)
    if args.quick:
        args.cases, args.seconds, args.runs = min(args.cases, 100), min(args.seconds, 0.5), 1
    quiet()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        report = trio.run(_Measuring(args, Path(folder), console).report)
    console.print(_table(report))
    publish(args, report, console, lambda: _drawing(report))
    return 1 if report.failed else 0


class _Measuring:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, folder: Path, console: Console) -> None:
        self.args = args
        self.folder = folder
        self.console = console
        self.windows: dict[Key, list[Window]] = defaultdict(list)
        self.written: dict[Key, list[float]] = defaultdict(list)
        self.etcd: dict[str, list[Window]] = defaultdict(list)
        self.etcd_client = ""
        self.numbered = 0
        self.random = random.Random(1)

    async def report(self) -> ReadsReport:
        machine = this_machine(self.folder)
        for run in range(self.args.runs):
            self.console.print(f"run {run + 1} of {self.args.runs}", highlight=False)
            await self._at_site(self.folder / f"site-{run}")
            await self._at_zone(self.folder / f"zone-{run}")
            if self.args.peer == ETCD:
                size = encoded_bytes(SITE, DEFAULT_BYTES)
                found = await etcd_ranges(self.folder / f"etcd-{run}", self.args.callers, self.args.seconds, size)
                for word, (self.etcd_client, read) in found.items():
                    self.etcd[word].append(read)
                    self.console.print(f"  etcd {word}: {_rate(read)}", highlight=False)
        kinds = tuple(self._kind(key) for key, kept in self.windows.items() if all(one.operations for one in kept))
        missed = sum(failures(kept) for kept in (*self.windows.values(), *self.etcd.values()))
        return ReadsReport(
            machine=machine,
            quick=self.args.quick,
            not_measured=(
                "fields asked for alone: there is no such question, the whole case is read",
                *(() if self.args.peer else ("other systems (--peer etcd)",)),
                "etcd's client reads one key again and again, ours a random case each",
            ),
            kinds=kinds,
            etcd=self._etcd() if self.etcd else None,
            ratio_linearizable=self._ratio("zone"),
            ratio_linearizable_site=self._ratio("site"),
            cases=self.args.cases,
            callers=self.args.callers,
            rate=self.args.rate,
            seconds=self.args.seconds,
            runs=self.args.runs,
            failed=missed + sum(not one.operations for kept in self.windows.values() for one in kept),
        )

    # ------------------------------------------------------------------ where it is read

    async def _at_site(self, folder: Path) -> None:
        plan = Plan(folder, 3, (SitePlan(SITE),), site_lines=False, cluster="bench")
        async with open_cluster(plan) as cluster:
            await start_zones(cluster)
            async with site_inside(cluster, SITE) as site:
                await until_followed(site)
                await self._filled(site, SITE)
                pids = {"site": os.getpid(), **zone_pids(cluster)}
                for writing in (False, True):
                    for what in WHAT:
                        await self._window(("local", "site", what, writing), site, SITE, pids)
                        await self._window(("session", "site", what, writing), site, SITE, pids)
                    await self._window(("linearizable", "site", "case", writing), site, SITE, pids)
            await cluster.stop_all()

    async def _at_zone(self, folder: Path) -> None:
        async with open_cluster(Plan(folder, 3, (), site_lines=False, cluster="bench")) as cluster:
            async with leading_inside(cluster) as zone:
                await zone.submit(RegisterOrganisation(SAMU_OF_ZONE, SAMU_OF_ZONE, cluster.plan.zone_names[0]))
                await self._filled(zone, SAMU_OF_ZONE)
                pids = {"zone": os.getpid(), **zone_pids(cluster)}
                for writing in (False, True):
                    for what in WHAT:
                        await self._window(("linearizable", "zone", what, writing), zone, SAMU_OF_ZONE, pids)

    async def _filled(self, node: Node, samu: str) -> None:
        """Cases with what a case has after a while: where it is, and a few notes."""
        await open_cases(node, samu, self.args.cases)

        async def some(part: int) -> None:
            for number in range(part, self.args.cases, 20):
                for note in range(NOTES_PER_CASE):
                    await node.submit(act(samu, case_id(samu, number), note, 80), author="bench", budget_ms=BUDGET_MS)

        async with trio.open_nursery() as nursery:
            for part in range(20):
                nursery.start_soon(some, part)

    async def _window(self, key: Key, node: Node, samu: str, pids: dict[str, int]) -> None:
        consistency, _, what, writing = key
        names = [case_id(samu, self.random.randrange(self.args.cases)) for _ in range(4096)]
        async with self._writing(node, samu, writing) as written:
            if consistency == "local":
                found = await read_locally(node, names, what, self.args.seconds, pids)
            else:
                asked: Waits = "session" if consistency == "session" else "linearizable"
                read = _reading(node, names, what, asked)
                found = await drive(self.args.callers, read, self.args.seconds, pids, warm_up_s=WARM_UP_S)
        self.windows[key].append(found)
        self.written[key].append(written() if writing else 0.0)
        said = f"{consistency} at a {key[1]}, {what}{', while writing' if writing else ''}"
        self.console.print(f"  {said}: {_rate(found)}", highlight=False)

    @asynccontextmanager
    async def _writing(self, node: Node, samu: str, wanted: bool) -> AsyncIterator[Callable[[], float]]:
        """Operations at an even rate meanwhile; asked at the end, how many a second were agreed."""
        done = 0

        async def one(number: int) -> None:
            nonlocal done
            case = case_id(samu, number // 2 % self.args.cases)
            try:
                receipt = await node.submit(command(case, number), author="bench", budget_ms=BUDGET_MS)
                done += word_of(receipt) == AGREED
            except ReplicaError:
                pass  # what is not agreed is missing from the rate; what is measured here are the reads

        async def keep_on() -> None:
            began = trio.current_time()
            for turn in range(1 << 40):
                await trio.sleep_until(began + turn / self.args.rate)
                self.numbered += 1
                nursery.start_soon(one, 1_000_000 + self.numbered)

        began = perf_counter()
        async with trio.open_nursery() as nursery:
            if wanted:
                nursery.start_soon(keep_on)
            yield lambda: done / (perf_counter() - began)
            nursery.cancel_scope.cancel()

    # ------------------------------------------------------------------ what came of it

    def _kind(self, key: Key) -> Kind:
        kept = self.windows[key]
        rate = spread([one.per_s for one in kept])
        return Kind(
            consistency=key[0],
            where=key[1],
            what=key[2],
            while_writing=key[3],
            callers=1 if key[0] == "local" else self.args.callers,
            per_s=rate.median,
            p50=spread([one.p50 for one in kept]).median,
            p99=spread([one.p99 for one in kept]).median,
            spread=rate,
            cpu_s_per_1000=spread([sum(one.cpu_s.values()) / one.operations * 1000 for one in kept]).median,
            written_per_s=spread(self.written[key]).median,
            failed=failures(kept),
        )

    def _etcd(self) -> Etcd:
        confirmed, own = self.etcd["linearizable"], self.etcd["serializable"]
        rate = spread([one.per_s for one in confirmed])
        return Etcd(
            linearizable_per_s=rate.median,
            linearizable_p50=spread([one.p50 for one in confirmed]).median,
            linearizable_p99=spread([one.p99 for one in confirmed]).median,
            serializable_per_s=spread([one.per_s for one in own]).median,
            serializable_p50=spread([one.p50 for one in own]).median,
            serializable_p99=spread([one.p99 for one in own]).median,
            linearizable_spread=rate,
            value_bytes=encoded_bytes(SITE, DEFAULT_BYTES),
            client=self.etcd_client,
        )

    def _ratio(self, where: str) -> float | None:
        return ratio(self.windows[("linearizable", where, "case", False)], self.etcd["linearizable"])


def _reading(node: Node, names: Sequence[str], what: str, consistency: Waits) -> Callable[[int], Any]:
    """One awaited read, by its running number."""

    async def read(number: int) -> str:
        found = await node.read_case(names[number % len(names)], consistency, BUDGET_MS)
        if found.value is None:
            return "not there"
        if what == "field" and found.value.value("priority") is None:
            return "without the field"
        return AGREED

    return read


async def read_locally(node: Node, names: Sequence[str], what: str, seconds: float, pids: dict[str, int]) -> Window:
    """Local reads one after the other, the first of each SAMPLED timed."""
    ms, failed = list[float](), Counter[str]()
    parts = [names[at : at + SAMPLED] for at in range(0, len(names), SAMPLED)]
    for wanted in (min(WARM_UP_S, seconds), seconds):
        ms.clear()
        before, began = {name: cpu_s([pid]) for name, pid in pids.items()}, perf_counter()
        count = at = 0
        while perf_counter() - began < wanted:
            for _ in range(LET_OTHERS // SAMPLED):
                at = (at + 1) % len(parts)
                since = perf_counter()
                _look(node, parts[at][0], what, failed)
                ms.append((perf_counter() - since) * 1000)
                for name in parts[at][1:]:
                    _look(node, name, what, failed)
                count += len(parts[at])
            await trio.lowlevel.checkpoint()
        took = perf_counter() - began
        used = {name: cpu_s([pid]) - before[name] for name, pid in pids.items()}
    timed = window(took, ms, used, dict(failed))
    return Window(seconds=took, operations=count, p50=timed.p50, p99=timed.p99, cpu_s=used, failed=timed.failed)


def _look(node: Node, case: str, what: str, failed: Counter[str]) -> None:
    read = node.read_case(case)
    if read.value is None or read.freshness is None:
        failed["not there"] += 1
    elif what == "field" and read.value.value("priority") is None:
        failed["without the field"] += 1


def _rate(found: Window) -> str:
    said = f"{found.per_s:,.0f} a second, p50 {found.p50:.3f}  p99 {found.p99:.3f} ms"
    return said + (f"  failed {found.failed}" if found.failed else "")


def _table(report: ReadsReport) -> Table:
    table = Table(title=f"reads a second, {report.callers} callers where they are awaited")
    for name in ("read", "at a", "what", "writing", "a second", "p50 ms", "p99 ms", "target"):
        table.add_column(name, justify="right")
    for one in report.kinds:
        target = f"≥ {TARGET_LOCAL_PER_S:,}" if (one.consistency, one.what) == ("local", "case") else ""
        if (one.consistency, one.where, one.what, one.while_writing) == ("linearizable", "zone", "case", False):
            target = f"≥ {TARGET_RATIO:g} × etcd" + _times(report.ratio_linearizable)
        words = (
            one.consistency,
            one.where,
            one.what,
            f"{one.written_per_s:.0f} a second" if one.while_writing else "no",
        )
        table.add_row(*words, one.spread.text(), f"{one.p50:.3f}", f"{one.p99:.3f}", target)
    if report.etcd is not None:
        etcd = report.etcd
        times = (f"{etcd.linearizable_p50:.3f}", f"{etcd.linearizable_p99:.3f}")
        table.add_row("linearizable", "client", "key", "no", etcd.linearizable_spread.text(), *times, "")
        times = (f"{etcd.serializable_p50:.3f}", f"{etcd.serializable_p99:.3f}")
        table.add_row("serializable", "client", "key", "no", f"{etcd.serializable_per_s:,.0f}", *times, "")
        table.caption = etcd.client
    return table


def _times(found: float | None) -> str:
    return "" if found is None else f" (is {found:.2f})"


def _drawing(report: ReadsReport) -> Figure:
    idle = [one for one in report.kinds if not one.while_writing]
    busy = {(one.consistency, one.where, one.what): one.per_s for one in report.kinds if one.while_writing}
    groups = [f"{one.consistency}\n{one.where}, {one.what}" for one in idle]
    series = {
        "nobody writes": [one.per_s for one in idle],
        "while writing": [busy.get((one.consistency, one.where, one.what), 0.0) for one in idle],
    }
    if report.etcd is not None:
        groups.append("etcd\nlinearizable")
        series["nobody writes"].append(report.etcd.linearizable_per_s)
        series["while writing"].append(0.0)
    return bars("Reads", "a second", groups, series, log=True)
