"""`python -m chaos saturate`: the cluster as busy as it can be, and nothing else wrong.

Real processes; many callers who each hand in the next operation as soon as the last is answered, so every core is full
for as long as it lasts. A node that is busy is late with everything, and must not be taken for dead because of it
(C17): the run is ok when the leader of the beginning leads to the end, no operation failed, and the nodes are equal
after it.

What the callers are refused early (`Overloaded`: surely not done) is counted, waited for as long as the error says, and
tried again. Left out: faults; `chaos live` has them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct
from rich.console import Console

from chaos.live.run import folder_for
from replica.cases.commands import AddNote
from replica.demo.caller import open_callers
from replica.demo.clash import note_report
from replica.demo.ledger import Ledger
from replica.demo.looking import status_of, until_equal
from replica.demo.play import until_connected
from replica.demo.supervisor import Cluster, Plan, SitePlan, open_cluster
from replica.errors import OutcomeUnknown, Overloaded, ReplicaError
from replica.runtime.client import Client, open_client

READY_SECONDS: Final = 20.0
EQUAL_SECONDS: Final = 120.0
BUDGET_MS: Final = 10_000
NOTES_PER_CASE: Final = 50
CALLERS_PER_CONNECTION: Final = 50
WAITS_KEPT: Final = 200_000
ENDS: Final = ("agreed", "journalled", "unknown", "overloaded")


class SaturateResult(Struct, frozen=True, kw_only=True):
    """`elections`: terms in which somebody led, but for the first. Waits are in ms, of operations that were agreed."""

    seconds: float
    callers: int
    agreed: int
    journalled: int
    unknown: int
    overloaded: int
    per_s: float
    wait_ms_p50: float
    wait_ms_p99: float
    wait_ms_max: float
    elections: int
    election_timeout_ms_max: int
    rss_mb_max: float
    digests_equal: bool
    ok: bool
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Course:
    waits_ms: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDS, 0))
    terms: set[int] = field(default_factory=set)
    election_timeout_ms: int = 0
    rss_mb: float = 0.0
    longest_ms: float = 0.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `saturate` command and its options."""
    parser = subparsers.add_parser("saturate", help="as busy as can be: no election", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60; ten minutes are 600)")
    parser.add_argument("--callers", type=int, default=1000, help="callers, over all sites (default 1000)")
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--data", type=Path, default=None, help="keep the nodes' folders there")
    parser.add_argument("--json", type=Path, default=None, help="write the result there")


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where nobody was elected and nothing failed, 1 where not, 2 for wrong options."""
    if args.seconds <= 0 or args.callers < 1 or args.sites < 1:
        print("--seconds, --callers and --sites must be above 0", file=sys.stderr)
        return 2
    console = Console()
    with folder_for(args.data) as folder:
        result = trio.run(_run, args, folder, lambda what: console.print(what, highlight=False, markup=False))
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return 0 if result.ok else 1


async def _run(args: argparse.Namespace, folder: Path, tell: Callable[[str], None]) -> SaturateResult:
    names = tuple(f"fr.health.samu{440 + at}" for at in range(args.sites))
    plan = Plan(folder, 3, tuple(SitePlan(name) for name in names), site_lines=False, cluster="chaos")
    course, problems, equal = _Course(), list[str](), False
    began = trio.current_time()
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        async with open_callers({node.name: node.address for node in cluster.nodes.values()}, Ledger()) as callers:
            await until_connected(callers, cluster, READY_SECONDS)
            began = trio.current_time()
            await _load(args, cluster, course, tell)
            seconds = trio.current_time() - began
            try:
                await until_equal(callers.values(), EQUAL_SECONDS)
                equal = True
            except (ReplicaError, trio.TooSlowError) as problem:
                problems.append(f"the nodes are not equal: {problem}")
        await cluster.stop_all()
    return _result(args, course, seconds, equal, problems, tell)


async def _load(args: argparse.Namespace, cluster: Cluster, course: _Course, tell: Callable[[str], None]) -> None:
    connections = -(-args.callers // CALLERS_PER_CONNECTION)
    async with AsyncExitStack() as stack:
        clients = []
        for at in range(connections):
            site = cluster.sites[at % len(cluster.sites)]
            clients.append((await stack.enter_async_context(open_client(site.address, name=f"caller-{at}")), site.name))
        async with trio.open_nursery() as nursery:
            for number in range(args.callers):
                client, name = clients[number % connections]
                nursery.start_soon(_call, client, name, number, course)
            nursery.start_soon(_watch, cluster, course, tell)
            await trio.sleep(args.seconds)
            nursery.cancel_scope.cancel()


async def _call(client: Client, site: str, number: int, course: _Course) -> None:
    """One caller: a case by a message, notes to it, and the next."""
    written = 0
    while True:
        case, begun = f"{site}.busy{number}-{written // NOTES_PER_CASE}", trio.current_time()
        try:
            if written % NOTES_PER_CASE == 0:
                message = note_report(case, site, f"Appel reçu {case}")
                state = (await client.submit_message(message, BUDGET_MS, sender=site))[0].state
            else:
                state = (await client.submit(AddNote(case, f"{case}.{written}", "Appel traité"), BUDGET_MS)).state
        except Overloaded as problem:
            course.counts["overloaded"] += 1
            await trio.sleep(problem.retry_after_ms / 1000)
            continue
        except OutcomeUnknown:
            course.counts["unknown"] += 1
            continue
        written += 1
        course.counts[state] += 1
        wait_ms = (trio.current_time() - begun) * 1000
        course.longest_ms = max(course.longest_ms, wait_ms)
        if state == "agreed" and len(course.waits_ms) < WAITS_KEPT:
            course.waits_ms.append(wait_ms)


async def _watch(cluster: Cluster, course: _Course, tell: Callable[[str], None]) -> None:
    """Look at every zone each second; tell how it goes each ten."""
    began, last = trio.current_time(), 0
    async with open_callers({zone.name: zone.address for zone in cluster.zones}, Ledger()) as zones:
        looked = 0
        while True:
            await trio.sleep(1)
            looked += 1
            for zone in zones.values():
                raft: dict[str, Any] = (await status_of(zone)).get("raft", {})
                if raft.get("role") == "leader":
                    course.terms.add(int(raft["term"]))
                course.election_timeout_ms = max(course.election_timeout_ms, int(raft.get("election_timeout_ms", 0)))
            rss = [_rss_mb(node.child.pid) for node in cluster.nodes.values() if node.child.pid]
            course.rss_mb = max([course.rss_mb, *rss])
            if looked % 10 == 0:
                agreed = course.counts["agreed"]
                rate, largest = (agreed - last) / 10, max(rss, default=0)
                tell(
                    f"{trio.current_time() - began:6.0f} s  {rate:7.0f} agreed a second, terms {sorted(course.terms)}, "
                    f"largest process {largest:.0f} MB, load {os.getloadavg()[0]:.1f}"
                )
                last = agreed


def _rss_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _result(
    args: argparse.Namespace,
    course: _Course,
    seconds: float,
    equal: bool,
    problems: list[str],
    tell: Callable[[str], None],
) -> SaturateResult:
    waits = sorted(course.waits_ms) or [0.0]
    elections = max(0, len(course.terms) - 1)
    if elections:
        problems.append(f"{elections} elections, in terms {sorted(course.terms)}")
    if course.counts["unknown"]:
        problems.append(f"{course.counts['unknown']} operations with an unknown outcome")
    if not course.counts["agreed"]:
        problems.append("nothing was agreed")
    result = SaturateResult(
        seconds=round(seconds, 1),
        callers=args.callers,
        per_s=round(course.counts["agreed"] / seconds, 1),
        wait_ms_p50=round(waits[len(waits) // 2], 1),
        wait_ms_p99=round(waits[len(waits) * 99 // 100], 1),
        wait_ms_max=round(course.longest_ms, 1),
        elections=elections,
        election_timeout_ms_max=course.election_timeout_ms,
        rss_mb_max=round(course.rss_mb, 1),
        digests_equal=equal,
        ok=not problems,
        problems=tuple(problems),
        **course.counts,
    )
    for problem in problems:
        tell(f"✗ {problem}")
    tell(
        f"{result.seconds:.0f} s, {result.callers} callers, {result.agreed} agreed ({result.per_s:.0f} a second), "
        f"{result.journalled} journalled, {result.overloaded} refused early, p50 {result.wait_ms_p50:.0f} "
        f"p99 {result.wait_ms_p99:.0f} max {result.wait_ms_max:.0f} ms, {result.elections} elections, largest process "
        f"{result.rss_mb_max:.0f} MB, equal: {result.digests_equal}: {'ok' if result.ok else 'NOT OK'}"
    )
    return result
