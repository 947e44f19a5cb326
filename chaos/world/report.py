"""Runs seeds and says what came of them: a result for each, a report for all.

A seed fails when an invariant is violated or when the core itself raises (its asserts stay on). The result then
carries the last lines of its timeline and the command that replays it.
"""

from __future__ import annotations

import gc
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from random import Random

from chaos.world.climates import changing_members, leases
from chaos.world.invariants import InvariantViolated
from chaos.world.operator import CHANGES
from chaos.world.softer import softened
from chaos.world.timeline import Timeline
from chaos.world.weather import CRASH_POINTS, CUTS, Weather, figure_8, lost_stores, storm
from chaos.world.world import World

WEATHERS: dict[str, Callable[[Random], Weather]] = {
    "storm": storm,
    "figure-8": figure_8,
    "lost-stores": lost_stores,
    "changing-members": changing_members,
    "leases": leases,
}

DEFAULT_STEPS = 2_000
MANY_SEEDS = 1_000

EXPECTED_FAULTS = (
    *(f"crash {point}" for point in CRASH_POINTS),
    *(f"cut: {shape}" for shape in CUTS),
    "boot",
    "crash at any moment",
    "crash with the whole cluster",
    "whole cluster down",
    "crash and lose the disk",
    "disk emptied",
    "disk stall",
    "sync error",
    "saved but the process died before it knew",
    "unsynced saves lost",
    "pause",
    "goes on late",
    "clock jump",
    "clock drift",
    "heal",
    "link re-made",
    "leader given up",
    "told of a lost peer",
    "told of a found peer",
    "message lost",
    "message doubled",
    "message late",
    "message overtaken",
    "message into a cut",
    "message held by a cut",
    "message of a lost connection",
    "message to a dead process",
    "message from an earlier life",
    "durable entries replaced",
    "proposed",
    "acknowledged",
    "proposal lost with its leader",
    "outcome unknown",
    "disk emptied amid a change",
    # reads
    "read requested",
    "read at a leader",
    "read at a follower",
    "read right after an election",
    "read at a deposed leader",
    "read answered",
    "refused: the leader has not confirmed it in time",
    "note: lease-used",
    "note: lease-refused",
    "note: leases-ended",
    # snapshots
    "log compacted",
    "snapshot begun",
    "snapshot resumed",
    "snapshot begun anew",
    "snapshot given up",
    "snapshot doubled",
    "snapshot nobody asked for",
    "snapshot killed at a chunk: sender",
    "snapshot killed at a chunk: receiver",
    "killed before a chunk",
    "killed after a chunk",
    "note: needs-snapshot",
    "note: snapshot-installed",
    "note: snapshot-stale",
    "note: snapshot-not-needed",
    "note: snapshot-transfer-ended",
    # the operator
    *CHANGES,
    "change accepted",
    "change asked amid another",
    "node joins",
    "joins late",
    "learner seems different",
    "learner dies once it is compared",
    "crash after a membership step",
    "crash in the joint state",
    "note: membership",
    "note: membership-undone",
    "note: learner-round",
    "note: learner-compared",
    "note: promotion-waits",
    "refused: another change of the membership is under way",
    "refused: too few of the voters answer now",
    "transfer requested",
    "transfer to the best placed",
    "transfer to a dead node",
    "transfer to a lagging node",
    "crash amid a transfer",
    "handed over",
    "not handed over",
    "note: transfer-begun",
    "note: transfer-aborted",
    "note: timeout-now-sent",
    "note: timeout-now-ignored",
    "refused: nobody is there to hand over to",
    "refused: leadership is being handed over",
    # the core's own
    "note: conflict-hint",
    "note: log-replaced",
    "note: overslept",
    "note: rebuilding",
    "note: readmitted",
    "note: readmit-ignored",
    "note: stepped-down",
    "refused: too much is waiting already",
)
"""What the world must do to be worth its name. One that never happens in a thousand seeds is a fault of the
simulator."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that failed: which invariant (or which exception of the core), in words, and how to see it again."""

    seed: int
    invariant: str
    text: str
    replay: str
    timeline: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeedResult:
    seed: int
    events: int
    counts: dict[str, int]
    calm_timeouts: float
    """Election timeouts from the end of the storm to the first new commit; 0 where it did not come to that."""
    digest: str
    """Hash of the whole trace, where it was asked for."""
    failure: Failure | None


@dataclass(slots=True)
class Report:
    """All seeds of one run. `faults` has every fault and branch by name, those that never happened with a 0.

    `meets_all` says that the weather has every fault: then a fault that never happened in `MANY_SEEDS` is a failure
    too, of the simulator.
    """

    seeds: int = 0
    events: int = 0
    seconds: float = 0.0
    worst_calm_timeouts: float = 0.0
    meets_all: bool = True
    depth: str = "core"
    expected: tuple[str, ...] = EXPECTED_FAULTS
    faults: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(EXPECTED_FAULTS, 0)))
    failures: list[Failure] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failures and not self.missing()

    @property
    def events_per_s(self) -> int:
        return int(self.events / self.seconds) if self.seconds else 0

    def add(self, result: SeedResult) -> None:
        self.seeds += 1
        self.events += result.events
        self.worst_calm_timeouts = max(self.worst_calm_timeouts, result.calm_timeouts)
        self.faults.update(result.counts)
        if result.failure is not None:
            self.failures.append(result.failure)

    def missing(self) -> list[str]:
        """The faults that should have happened by now and did not."""
        return self.never_happened() if self.meets_all and self.seeds >= MANY_SEEDS else []

    def never_happened(self) -> list[str]:
        return [name for name in self.expected if not self.faults[name]]

    def as_json(self) -> dict[str, object]:
        failures = [
            {"seed": f.seed, "invariant": f.invariant, "text": f.text, "replay": f.replay} for f in self.failures
        ]
        return {
            "depth": self.depth,
            "seeds": self.seeds,
            "events": self.events,
            "events_per_s": self.events_per_s,
            "seconds": round(self.seconds, 3),
            "worst_calm_timeouts": round(self.worst_calm_timeouts, 1),
            "faults": dict(sorted(self.faults.items())),
            "never_happened": self.never_happened(),
            "failures": failures,
            "ok": self.ok,
        }


def replay_command(seed: int, steps: int, weather: str) -> str:
    """The command that shows one seed again, event by event."""
    options = f" --steps {steps}" if steps != DEFAULT_STEPS else ""
    options += f" --weather {weather}" if weather != "storm" else ""
    return f"python -m chaos sim --seeds 1 --start {seed} --depth core{options} --trace"


def run_seed(
    seed: int,
    steps: int = DEFAULT_STEPS,
    weather: str = "storm",
    *,
    follow: Callable[[str], None] | None = None,
    hashed: bool = False,
) -> SeedResult:
    """One seed, from start to rest. `follow` is handed each line of the trace, `hashed` asks for its digest."""
    timeline = Timeline(follow, hashed)
    world = World(seed, weather=softened(weather, WEATHERS), timeline=timeline)
    failure = None
    try:
        world.run(steps)
    except InvariantViolated as violated:
        failure = _failure(world, steps, weather, violated.name, str(violated))
    except Exception as error:  # the core's own asserts, and whatever else it may raise: the seed must be reported
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{error} (in {where.name}, line {where.lineno} of {where.filename.rsplit('/', 1)[-1]})"
        failure = _failure(world, steps, weather, type(error).__name__, text)
    calm = world.calm_after_ms / world.weather.election_timeout_ms
    return SeedResult(seed, world.events, dict(world.counts), calm, timeline.digest(), failure)


def _failure(world: World, steps: int, weather: str, invariant: str, text: str) -> Failure:
    command = replay_command(world.seed, steps, weather)
    return Failure(world.seed, invariant, text, command, tuple(world.timeline.recent()))


def run_seeds(seeds: Iterable[int], steps: int, weather: str, jobs: int) -> Iterator[SeedResult]:
    """Results as they come. With `jobs` above 1 in processes of their own, which share nothing; in seed order
    anyway."""
    tasks = ((seed, steps, weather) for seed in seeds)
    if jobs <= 1:
        calm_collector()
        yield from map(_run_task, tasks)
        return
    with get_context("spawn").Pool(jobs, calm_collector) as pool:
        yield from pool.imap(_run_task, tasks, chunksize=4)


def calm_collector() -> None:
    """A seed makes many values and few cycles: collecting as often as Python does by itself costs a twentieth."""
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


def _run_task(task: tuple[int, int, str]) -> SeedResult:
    random.seed(0)  # nothing may draw from the module's own dice; if something does, it is at least the same each time
    return run_seed(*task)
