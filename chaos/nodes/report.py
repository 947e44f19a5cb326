"""Runs seeds at the depth of nodes and says what came of each: see chaos/world/report.py, whose report this fills."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing import get_context

from chaos.nodes import loop
from chaos.nodes.process import leaves
from chaos.nodes.world import DEFAULT_STEPS, World
from chaos.world.invariants import InvariantViolated
from chaos.world.report import Failure, Report, SeedResult, calm_collector

EXPECTED_FAULTS = (
    "kill leader",
    "kill zone",
    "kill site",
    "kill whole cluster",
    "kill between two disk jobs",
    "kill: saved, and nobody was told",
    "kill: unsynced saves lost",
    "kill: torn write, its transaction undone",
    "power cut",
    "disk: sync error",
    "node ended: sync error",
    "disk: full at append",
    "disk: full at write-back",
    "disk: full at journal",
    "disk: space returned",
    "disk: stall of 5 s",
    "disk: slow fsync",
    "disk: emptied",
    "disk: bit flip in entry",
    "disk: bit flip in term and vote",
    "disk: bit flip in state record",
    "disk: bit flip in journal record",
    "node ended: damage",
    "operator empties a damaged disk",
    "node: journal-record-damaged",
    "cut: one zone alone",
    "cut: halves",
    "cut: two of three apart",
    "cut: one way",
    "cut: a site's line",
    "cut: half-open, bytes lost",
    "cut: flapping line",
    "connection reset",
    "slow drip",
    "pause leader",
    "pause zone",
    "pause site",
    "wall clock jumps",
    "wall clock jumps back to right",
    "graceful stop",
    "handed over by hand",
    "hand-over failed: NotAvailable",
    "change: add",
    "change: add a learner",
    "change: promote",
    "change: replace",
    "change: replace the leader",
    "change: remove",
    "change: remove the leader",
    "change: settled",
    "change: its answer was lost",
    "zone taken away",
    "snapshot killed: while taken",
    "snapshot killed: receive: chunk",
    "snapshot killed: prepare: copy",
    "snapshot killed: install: commit",
    "snapshot resumed",
    "node ended: task death",
    "task dies: ZoneNode.turn_for_ever",
    "task dies: SiteNode.flush_for_ever",
    "task dies: Server.run",
    "node: rebuilding",
    "node: readmitted",
    "node: store-empty-does-not-vote",
    "node: state-replaced",
    "node: snapshot-taken",
    "node: snapshot-offered",
    "node: snapshot-installed",
    "node: needs-snapshot",
    "node: transfer-begun",
    "node: transfer-aborted",
    "node: timeout-now-sent",
    "node: leader-disk",
    "node: overslept",
    "node: changes-sent",
    "node: zone-behind",
    "node: zone-without-quorum",
    "node: line-silent",
    "node: storage-full",
    "receipt: agreed",
    "receipt: journalled",
    "receipt: refused at the door",
    "verdict: applied",
    "verdict: duplicate",
    "caller met OutcomeUnknown",
    "caller met StorageFull",
    "read of an own write",
    "session read answered",
    "session read elsewhere",
    "linearizable read answered",
    "linearizable read: NotAvailable",
)
"""What the world of nodes must do to be worth its name, as in chaos/world/report.py."""


def report() -> Report:
    """A report of no seeds yet."""
    return Report(depth="node", expected=EXPECTED_FAULTS, faults=Counter(dict.fromkeys(EXPECTED_FAULTS, 0)))


def replay_command(seed: int, steps: int) -> str:
    """The command that shows one seed again, event by event."""
    options = f" --steps {steps}" if steps != DEFAULT_STEPS else ""
    return f"python -m chaos sim --seeds 1 --start {seed} --depth node{options} --trace"


def run_seed(
    seed: int,
    steps: int = DEFAULT_STEPS,
    *,
    follow: Callable[[str], None] | None = None,
    hashed: bool = False,
) -> SeedResult:
    """One seed, from start to rest."""
    return run_world(partial(World, follow=follow, hashed=hashed), seed, steps, replay_command(seed, steps))


def run_world(make: Callable[[loop.Loop, int], World], seed: int, steps: int, replay: str) -> SeedResult:
    """A world of that seed, from start to rest. `replay`: the command that shows it again."""
    made: list[World] = []

    async def main(here: loop.Loop) -> None:
        made.append(make(here, seed))
        await made[0].run(steps)

    problem: BaseException | None = None
    try:
        loop.run(seed, main)
    except Exception as found:  # a check, or whatever the shipped code raised: the seed must be reported
        problem = found
    if not made:
        raise RuntimeError(f"seed {seed}: no world could be made") from problem
    world = made[0]
    failure = None if problem is None else failure_of(world, problem, replay)
    calm = world.commit_s * 1000 / world.weather.timing.election_timeout_ms
    return SeedResult(seed, world.events, dict(world.counts), calm, world.trace.digest(), failure)


def failure_of(world: World, problem: BaseException, replay: str) -> Failure:
    """What a seed is reported with that ended so; `replay`: the command that shows it again."""
    first = next(leaves(problem))
    name, text = type(first).__name__, str(first)
    if isinstance(first, InvariantViolated):
        name = first.name
    elif first.__traceback__ is not None:
        where = traceback.extract_tb(first.__traceback__)[-1]
        text = f"{text} (in {where.name}, line {where.lineno} of {where.filename.rsplit('/', 1)[-1]})"
    return Failure(world.seed, name, text, replay, tuple(world.trace.recent()))


def run_seeds(seeds: Iterable[int], steps: int, jobs: int) -> Iterator[SeedResult]:
    """Results in seed order. With `jobs` above 1 in processes of their own, which share nothing."""
    yield from run_all(_run_task, ((seed, steps) for seed in seeds), jobs)


def run_all(
    task: Callable[[tuple[int, int]], SeedResult], tasks: Iterable[tuple[int, int]], jobs: int
) -> Iterator[SeedResult]:
    """Each (seed, steps) by `task`, a function of a module."""
    if jobs <= 1:
        calm_collector()
        yield from map(task, tasks)
        return
    with get_context("spawn").Pool(jobs, calm_collector) as pool:
        yield from pool.imap(task, tasks, chunksize=2)


def _run_task(task: tuple[int, int]) -> SeedResult:
    return run_seed(*task)
