"""`python -m chaos journals`: a journal ten times as long costs ten times as much, and no more, in each of its uses.

Real processes, three zones and a site. For each length: the site's lines are cut, so many notes are written at it; it
is killed and started again, so its working view has to be made anew out of the whole journal; then the line comes back
and the journal is replayed, while a second task goes on reading cases: each case has to show every one of its notes
once, in every read. Measured per operation: the writing, the view, the replay.

With `--kills K` one more run of the longest: the site dies K times in the middle of its replay. Every note is there
once in the end, and has one verdict.

A second site goes on working all the while: what its callers wait for a receipt, before and during the replay.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
import trio.lowlevel
from msgspec import Struct
from rich.console import Console

from chaos.live.run import folder_for
from replica.cases.commands import AddNote
from replica.demo.caller import open_callers
from replica.demo.clash import note_report
from replica.demo.ledger import Ledger
from replica.demo.looking import status_of, until_equal, until_mode
from replica.demo.play import until_connected
from replica.demo.proxy import Mode
from replica.demo.supervisor import Cluster, Plan, SitePlan, open_cluster
from replica.errors import ReplicaError
from replica.runtime.client import Client, open_client

SITE: Final = "fr.health.samu440"
OTHER: Final = "fr.health.samu690"
IDLE_WAITS: Final = 200
"""Receipts of the other site that are measured before the replay."""
NOTES_PER_CASE: Final = 50
AT_ONCE: Final = 200
WARM_UP: Final = 400
"""Notes that are written before the clock starts."""
BUDGET_MS: Final = 10_000
WITHIN_SECONDS: Final = 600.0
LOOK_S: Final = 0.01
FLAT: Final = 1.5
SLOW_MS: Final = 20.0
"""Each way, of the line in the run with kills: the replay takes some rounds of it, so that there is a middle."""


class Length(Struct, frozen=True, kw_only=True):
    """One length of the journal. `start_ms`: until the site answers; `view_us`: its first read, which makes the view of
    the whole journal; `reads`: how many cases were read during the replay, `read_ms_max` the slowest; `torn`: reads
    that missed a note or showed one twice. `others_*`: what a caller at another site waits for an agreed receipt,
    before the replay and during it."""

    operations: int
    write_us: float
    start_ms: float
    view_us: float
    replay_us: float
    reads: int
    read_ms_p50: float
    read_ms_max: float
    torn: int
    others_idle_ms_p50: float
    others_idle_ms_p99: float
    others_ms_p50: float
    others_ms_p99: float


class JournalsResult(Struct, frozen=True, kw_only=True):
    """`flatness_*`: the dearest operation's cost over the cheapest's, over all lengths."""

    lengths: tuple[Length, ...]
    flatness_write: float
    flatness_view: float
    flatness_replay: float
    kills: int
    killed_at: tuple[int, ...]
    missing: int
    doubled: int
    torn: int
    digests_equal: bool
    ok: bool
    problems: tuple[str, ...] = ()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `journals` command and its options."""
    parser = subparsers.add_parser(
        "journals", help="long journals: flat in writing, view and replay", description=__doc__
    )
    parser.add_argument(
        "--operations", default="1000,10000,100000", help="lengths, with commas (default 1000,10000,100000)"
    )
    parser.add_argument("--kills", type=int, default=5, help="deaths in mid-replay, of the longest (default 5)")
    parser.add_argument("--data", type=Path, default=None, help="keep the nodes' folders there")
    parser.add_argument("--json", type=Path, default=None, help="write the result there")


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where all is flat and once, 1 where not, 2 for wrong options."""
    try:
        lengths = [int(text) for text in args.operations.split(",")]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) < 2 * WARM_UP or args.kills < 0:
        print(f"--operations must be numbers of {2 * WARM_UP} or more, --kills 0 or more", file=sys.stderr)
        return 2
    console = Console()
    with folder_for(args.data) as folder:
        result = trio.run(_run, lengths, args.kills, folder, lambda what: console.print(what, highlight=False))
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return 0 if result.ok else 1


@dataclass(slots=True)
class _Site:
    """The cluster, and the one client that speaks to the site's process; another after each of its deaths."""

    cluster: Cluster
    callers: dict[str, Any]
    cases: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with open_client(self.cluster.nodes[SITE].address, name="desk") as client:
            yield client

    async def status(self) -> dict[str, Any]:
        return await status_of(self.callers[SITE])

    async def start(self) -> None:
        """Start its process again and wait until it answers."""
        await self.cluster.start(SITE)
        while not await self.status():  # noqa: ASYNC110 - asked as a caller asks
            await trio.sleep(LOOK_S)


async def _run(lengths: list[int], kills: int, folder: Path, tell: Callable[[str], None]) -> JournalsResult:
    measured, problems = [], list[str]()
    for length in lengths:
        async with _standing(folder / str(length)) as site:
            measured.append(await _measure(site, length))
            tell(_line(measured[-1]))
            problems += await _at_the_end(site, length)
    killed_at: list[int] = []
    missing = doubled = 0
    if kills:
        async with _standing(folder / "kills") as site:
            killed_at = await _killed(site, max(lengths), kills, tell)
            problems += await _at_the_end(site, max(lengths))
            missing, doubled = await _count(site, max(lengths))
            times = len(killed_at)
            tell(f"killed {times} times in mid-replay, with {killed_at} undecided: {missing} missing, {doubled} twice")
    return _result(measured, kills, killed_at, missing, doubled, problems, tell)


@asynccontextmanager
async def _standing(folder: Path) -> AsyncIterator[_Site]:
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything runs
    plan = Plan(folder, 3, (SitePlan(SITE), SitePlan(OTHER)), site_lines=True, cluster="chaos")
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        async with open_callers({node.name: node.address for node in cluster.nodes.values()}, Ledger()) as callers:
            await until_connected(callers, cluster, WITHIN_SECONDS)
            yield _Site(cluster, callers)
        await cluster.stop_all()


async def _write(site: _Site, length: int) -> float:
    """Cases while the line is whole, then `length` notes while it is cut. Returns the seconds the notes took, but for
    the first few."""
    site.cases = [f"{SITE}.journal{number}" for number in range(-(-length // NOTES_PER_CASE))]
    async with site.client() as client:
        await _each(
            site.cases, lambda case: client.submit_message(note_report(case, SITE, "Appel"), BUDGET_MS, sender=SITE)
        )
        site.cluster.cut(SITE)
        await until_mode(site.callers[SITE], "cut-off", WITHIN_SECONDS)

        async def note(at: int) -> None:
            await client.submit(AddNote(site.cases[at % len(site.cases)], _note(at), f"Note {at}"), BUDGET_MS)

        # The notes of all cases in turn, as people write them: the journal has no case's notes in one piece.
        await _each(range(WARM_UP), note)
        began = trio.current_time()
        await _each(range(WARM_UP, length), note)
        return trio.current_time() - began


def _note(at: int) -> str:
    return f"n{at:07}"


async def _each(items: Any, does: Callable[[Any], Any]) -> None:
    """`AT_ONCE` at a time."""
    todo = iter(items)

    async def work() -> None:
        for item in todo:
            await does(item)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)


async def _measure(site: _Site, length: int) -> Length:
    write_s = await _write(site, length)
    await site.cluster.kill(SITE)
    began = trio.current_time()
    await site.start()
    start_s, began = trio.current_time() - began, trio.current_time()
    async with site.client() as client, open_client(site.cluster.nodes[OTHER].address, name="other") as other:
        await client.show_case(site.cases[0], budget_ms=int(WITHIN_SECONDS * 1000))
        view_s = trio.current_time() - began
        reads: list[float] = []
        torn = 0

        async def read_on() -> None:
            nonlocal torn
            while True:
                case = site.cases[len(reads) * 7919 % len(site.cases)]
                asked = trio.current_time()
                shown = await client.show_case(case)
                reads.append((trio.current_time() - asked) * 1000)
                torn += _notes(shown["case"]) != _expected(site, case, length)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_on)
            idle = await _waits(other, site.cases[0], "i", IDLE_WAITS)
            waits: list[float] = []
            nursery.start_soon(_wait_on, other, site.cases[0], waits)
            began = trio.current_time()
            site.cluster.heal(SITE)
            await _until_decided(site)
            replay_s = trio.current_time() - began
            nursery.cancel_scope.cancel()
    reads.sort()
    waits.sort()
    return Length(
        operations=length,
        write_us=round(write_s / (length - WARM_UP) * 1e6, 1),
        start_ms=round(start_s * 1000, 1),
        view_us=round(view_s / length * 1e6, 1),
        replay_us=round(replay_s / length * 1e6, 1),
        reads=len(reads),
        read_ms_p50=round(reads[len(reads) // 2], 2),
        read_ms_max=round(reads[-1], 1),
        torn=torn,
        others_idle_ms_p50=round(idle[len(idle) // 2], 1),
        others_idle_ms_p99=round(idle[len(idle) * 99 // 100], 1),
        others_ms_p50=round(waits[len(waits) // 2], 1),
        others_ms_p99=round(waits[len(waits) * 99 // 100], 1),
    )


async def _waits(client: Client, case: str, name: str, count: int) -> list[float]:
    """What one caller waits for `count` agreed receipts, one after another: ms, sorted."""
    waits = []
    for number in range(count):
        asked = trio.current_time()
        await client.submit(AddNote(case, f"{name}{number}x", "meanwhile"), BUDGET_MS)
        waits.append((trio.current_time() - asked) * 1000)
        await trio.sleep(LOOK_S)
    return sorted(waits)


async def _wait_on(client: Client, case: str, waits: list[float]) -> None:
    while True:
        waits += await _waits(client, case, f"r{len(waits)}-", 1)


def _notes(case: dict[str, Any]) -> Counter[str]:
    """How often each note that was written cut off is shown. (The first report of a case has one of its own.)"""
    notes = (one["key"] for one in case["elements"] if one["field"] == "medical_note")
    return Counter(key for key in notes if key.startswith("n") and key[1:].isdigit())


def _expected(site: _Site, case: str, length: int) -> Counter[str]:
    first = site.cases.index(case)
    return Counter(_note(at) for at in range(first, length, len(site.cases)))


async def _until_decided(site: _Site) -> None:
    with trio.fail_after(WITHIN_SECONDS):
        while (await site.status()).get("undecided", 1):  # noqa: ASYNC110 - asked as a caller asks
            await trio.sleep(LOOK_S)


async def _killed(site: _Site, length: int, kills: int, tell: Callable[[str], None]) -> list[int]:
    await _write(site, length)
    killed_at: list[int] = []
    for number in range(1, kills + 1):
        least = length * (kills + 1 - number) // (kills + 1)
        for line in site.cluster.lines_of(SITE):
            line.set_mode(Mode.DELAY, SLOW_MS)
        left = length
        with trio.fail_after(WITHIN_SECONDS):
            while left > least:
                await trio.sleep(LOOK_S)
                left = int((await site.status()).get("undecided", left))
        await site.cluster.kill(SITE)
        killed_at.append(left)
        tell(f"killed with {left} of {length} undecided")
        await site.start()
    site.cluster.heal(SITE)
    await _until_decided(site)
    return killed_at


async def _count(site: _Site, length: int) -> tuple[int, int]:
    """(notes that are missing, notes that are there more than once), in the whole state."""
    found: Counter[str] = Counter()
    async with site.client() as client:
        for case in site.cases:
            found.update(_notes((await client.show_case(case))["case"]))
    return sum(not found[_note(at)] for at in range(length)), sum(count > 1 for count in found.values())


async def _at_the_end(site: _Site, length: int) -> list[str]:
    try:
        await until_equal(site.callers.values(), WITHIN_SECONDS)
    except (ReplicaError, trio.TooSlowError) as problem:
        return [f"with {length} operations the nodes are not equal: {problem}"]
    return []


def _line(one: Length) -> str:
    return (
        f"{one.operations:>8} operations: write {one.write_us:6.1f} µs, view {one.view_us:6.1f} µs, replay "
        f"{one.replay_us:6.1f} µs each; starts in {one.start_ms:.0f} ms; {one.reads} reads meanwhile, "
        f"p50 {one.read_ms_p50:.2f} max {one.read_ms_max:.0f} ms, {one.torn} torn; "
        f"others wait p50 {one.others_idle_ms_p50:.0f} p99 {one.others_idle_ms_p99:.0f} ms before, "
        f"{one.others_ms_p50:.0f} and {one.others_ms_p99:.0f} ms during"
    )


def _flatness(costs: list[float]) -> float:
    return round(max(costs) / max(min(costs), 1e-9), 2)


def _result(
    lengths: list[Length],
    kills: int,
    killed_at: list[int],
    missing: int,
    doubled: int,
    problems: list[str],
    tell: Callable[[str], None],
) -> JournalsResult:
    flat = {
        "write": _flatness([one.write_us for one in lengths]),
        "view": _flatness([one.view_us for one in lengths]),
        "replay": _flatness([one.replay_us for one in lengths]),
    }
    equal = not problems
    torn = sum(one.torn for one in lengths)
    problems += [f"the cost of the {name} differs by {times}" for name, times in flat.items() if times > FLAT]
    problems += [f"{torn} reads missed a note or showed one twice"] if torn else []
    problems += [f"{missing} notes are missing, {doubled} are there twice"] if missing or doubled else []
    result = JournalsResult(
        lengths=tuple(lengths),
        flatness_write=flat["write"],
        flatness_view=flat["view"],
        flatness_replay=flat["replay"],
        kills=kills,
        killed_at=tuple(killed_at),
        missing=missing,
        doubled=doubled,
        torn=torn,
        digests_equal=equal,
        ok=not problems,
        problems=tuple(problems),
    )
    for problem in problems:
        tell(f"✗ {problem}")
    told = ", ".join(f"{name} {times}" for name, times in flat.items())
    tell(f"flatness: {told}; torn reads {torn}; equal: {equal}: {'ok' if result.ok else 'NOT OK'}")
    return result
