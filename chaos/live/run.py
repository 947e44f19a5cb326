"""One live run: a cluster, load, faults; then calm, a verdict for everything, and the stores read from disk."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from chaos.live.nemesis import FAULTS, Nemesis
from chaos.live.reading import History
from replica.demo.audit import Audit, audit
from replica.demo.caller import Caller, open_callers, until_decided
from replica.demo.clash import note, note_id, note_report, priority_report
from replica.demo.ledger import Ledger
from replica.demo.looking import status_of, until_equal
from replica.demo.play import until_connected
from replica.demo.stores import read_stores
from replica.demo.supervisor import Cluster, Plan, SitePlan, open_cluster
from replica.errors import ConfigError, ReplicaError
from replica.wire.client import Receipt

CONNECT_SECONDS: Final = 20.0
DECIDE_SECONDS: Final = 120.0
EQUAL_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1
CASES: Final = 8
READ_PAUSE_SECONDS: Final = 0.2
PRIORITIES: Final = ("P0", "P1", "P2", "P3")


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What is asked for. `faults`: names of nemesis.FAULTS; none for load alone."""

    seconds: float = 60.0
    seed: int = 1
    faults: tuple[str, ...] = ("kill", "cut", "restart")
    zones: int = 3
    sites: int = 2
    callers: int = 3
    pause_ms: float = 10.0
    data: Path | None = None

    def check(self) -> None:
        """Raises ConfigError, naming the option and what is allowed."""
        for name in self.faults:
            if name not in FAULTS:
                raise ConfigError("--faults", f"{name!r} is none of {', '.join(sorted(FAULTS))}")
        for option, value in (("--seconds", self.seconds), ("--sites", self.sites), ("--callers", self.callers)):
            if value <= 0:
                raise ConfigError(option, f"{value:g} is not above 0")
        if not 1 <= self.zones <= 7:
            raise ConfigError("--zones", f"{self.zones} is not a number of 1 to 7")
        if self.pause_ms < 0:
            raise ConfigError("--pause-ms", f"{self.pause_ms:g} is below 0")


class LiveResult(Struct, frozen=True, kw_only=True):
    """`unavailable_ms_max`: the longest time in which no caller anywhere was given an agreed receipt, under load."""

    seconds: float
    operations: int
    faults: int
    faults_by_kind: dict[str, int]
    elections: int
    unavailable_ms_max: float
    lost: int
    duplicated: int
    digests_equal: bool
    verdicts: dict[str, int]
    journalled: int
    reads: int
    """Linearizable ones that were answered."""
    linearizable: bool
    longest_submit_ms: float
    seed: int
    ok: bool
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Course:
    """How it went, as seen from outside."""

    ledger: Ledger = field(default_factory=Ledger)
    decided: dict[str, Receipt] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    terms: set[int] = field(default_factory=set)
    """Terms in which somebody led."""
    load: tuple[float, float] = (0.0, 0.0)
    history: History = field(default_factory=History)


async def run_live(options: LiveOptions, tell: Callable[[str], None]) -> LiveResult:
    """One run. Whatever goes wrong ends in a result that is not ok and says why; nothing is raised for it."""
    course, problems = _Course(), list[str]()
    with folder_for(options.data) as folder:
        names = [f"fr.health.samu{440 + at}" for at in range(options.sites)]
        plan = Plan(folder, options.zones, tuple(SitePlan(name) for name in names), zone_lines=True, cluster="chaos")
        began = trio.current_time()
        try:
            async with open_cluster(plan) as cluster:
                await _run(options, cluster, course, tell)
        except* (ReplicaError, trio.TooSlowError) as group:
            problems += _texts(group)
        tell("reading the stores")
        found = audit(course.ledger, course.decided, read_stores(folder, plan, course.ledger.operations()))
        return _result(options, course, found, problems, trio.current_time() - began)


async def _run(options: LiveOptions, cluster: Cluster, course: _Course, tell: Callable[[str], None]) -> None:
    rng = random.Random(options.seed)
    await cluster.start_all()
    async with open_callers({node.name: node.address for node in cluster.nodes.values()}, course.ledger) as callers:
        await until_connected(callers, cluster, CONNECT_SECONDS)
        began = trio.current_time()
        nemesis = Nemesis(
            cluster,
            callers,
            options.faults,
            random.Random(rng.random()),
            lambda what: tell(f"{trio.current_time() - began:6.1f} s  {what}"),
        )
        over = trio.Event()
        async with trio.open_nursery() as writers:
            for site in cluster.sites:
                for number in range(options.callers):
                    own = random.Random(rng.random())
                    writers.start_soon(
                        _write, callers[site.name], number, own, options.pause_ms / 1000, course.history, over
                    )
            for node in cluster.nodes.values():
                own = random.Random(rng.random())
                writers.start_soon(_read, callers[node.name], own, course.history, over)
            with trio.move_on_after(options.seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_watch_terms, [callers[zone.name] for zone in cluster.zones], course)
                    nursery.start_soon(nemesis.torment)
            course.load = (began, trio.current_time())
            course.faults = dict(nemesis.done)
            tell(f"{trio.current_time() - began:6.1f} s  all heals; {len(course.ledger.operations())} operations")
            await nemesis.heal()
            over.set()  # not before: whoever waits for an answer now is still to be given one
        await _settle(callers, course)
    codes = await cluster.stop_all()
    wrong = {name: code for name, code in codes.items() if code != 0}
    if wrong:
        raise ReplicaError(f"stopped with an exit code other than 0: {wrong}")


async def _settle(callers: dict[str, Caller], course: _Course) -> None:
    """Wait until every operation is decided and all nodes are equal. Raises TooSlowError, NotAvailable."""
    with trio.fail_after(DECIDE_SECONDS):
        await until_decided(callers, [receipt for _, receipt in course.ledger.receipts()], course.decided)
    await until_equal(callers.values(), EQUAL_SECONDS)


async def _read(node: Caller, rng: random.Random, history: History, over: trio.Event) -> None:
    """One reader at each node, zones too: a leader that was stopped must not answer from what it knew (C7)."""
    while not over.is_set():
        await history.ask(node, f"reader at {node.name}", f"fr.health.samu440.chaos{rng.randrange(CASES)}")
        await trio.sleep(rng.uniform(0, 2 * READ_PAUSE_SECONDS))


async def _write(
    site: Caller, number: int, rng: random.Random, pause_s: float, history: History, over: trio.Event
) -> None:
    """One caller: notes and priorities to a few cases of everybody's, one after the other, until it is `over`."""
    written = 0
    while not over.is_set():
        written += 1
        key = f"chaos/{number}/{written}"
        case = f"fr.health.samu440.chaos{rng.randrange(CASES)}"
        if rng.random() < 0.25:
            message = priority_report(case, rng.choice(PRIORITIES), f"Said {written} by {number}")
            await site.message(message, key, "priority", sender=site.name)
        elif rng.random() < 0.5:
            text, began = f"Note {written} of caller {number} at {site.name}", time.monotonic_ns()
            held = await site.message(note_report(case, site.name, text), key, "note", sender=site.name)
            history.wrote(f"{number} at {site.name}", case, note_id(site.name, text), began, held)
        else:
            write = note(case, site.name, f"Note {written} of caller {number} at {site.name}")
            assert write.note is not None, "a note is a command"
            began = time.monotonic_ns()
            held = await site.command(write.note, key, "note", text=write.text)
            history.wrote(f"{number} at {site.name}", case, write.note.note, began, held)
        await trio.sleep(rng.uniform(0, 2 * pause_s))


async def _watch_terms(zones: Sequence[Caller], course: _Course) -> None:
    while True:
        for zone in zones:
            raft = (await status_of(zone)).get("raft", {})
            if raft.get("role") == "leader":
                course.terms.add(int(raft["term"]))
        await trio.sleep(LOOK_SECONDS)


def unavailable_ms(answered: Sequence[float], load: tuple[float, float]) -> float:
    """The longest gap between agreed receipts within the time of load, its ends included."""
    times = [load[0], *sorted(at for at in answered if load[0] <= at <= load[1]), load[1]]
    return max(later - earlier for earlier, later in pairwise(times)) * 1000


def _result(options: LiveOptions, course: _Course, found: Audit, problems: list[str], seconds: float) -> LiveResult:
    everything = (*problems, *found.problems, *course.history.problems())
    agreed = [held.answered_at for held in course.ledger.held if held.agreed]
    return LiveResult(
        seconds=round(seconds, 1),
        operations=len(course.ledger.operations()),
        faults=sum(course.faults.values()),
        faults_by_kind=course.faults,
        elections=max(0, len(course.terms) - 1),
        unavailable_ms_max=round(unavailable_ms(agreed, course.load), 1),
        lost=len(found.lost),
        duplicated=len(found.duplicated),
        digests_equal=found.digests_equal,
        verdicts=found.verdicts,
        journalled=course.ledger.count("journalled"),
        reads=course.history.reads,
        linearizable=not course.history.problems(),
        longest_submit_ms=round(course.ledger.longest_wait_ms(), 1),
        seed=options.seed,
        ok=not everything,
        problems=everything,
    )


def _texts(group: BaseExceptionGroup[BaseException]) -> Iterator[str]:
    for problem in group.exceptions:
        if isinstance(problem, BaseExceptionGroup):
            yield from _texts(problem)
        else:
            yield f"{type(problem).__name__}: {problem}"


@contextmanager
def folder_for(data: Path | None) -> Iterator[Path]:
    """Where the nodes' folders are: `data`, kept, or a temporary one."""
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
        yield data.resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="replica-chaos-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
