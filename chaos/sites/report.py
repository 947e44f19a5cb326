"""Runs seeds at the depth of sites and says what came of each: see chaos/world/report.py, whose report this fills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from chaos.nodes.report import run_all, run_world
from chaos.sites.world import DEFAULT_STEPS, SitesWorld
from chaos.world.report import Report, SeedResult
from replica.cases.verdicts import VerdictKind

TAGS = (
    "add-note",
    "change-priority",
    "change-care-level",
    "set-status",
    "engage-resource",
    "release-resource",
    "close-case",
    "reopen-case",
    "transfer-case",
    "take-over",
    "hand-back",
    "decide-conflict",
    "report",
)
"""What people do."""

EXPECTED_FAULTS = (
    # lines
    "cut: a site's line",
    "cut: a site's line, bytes lost",
    "cut: a site hears nobody",
    "cut: a site is not heard",
    "cut: from some zones",
    "cut: several sites at once",
    "cut: a zone with its sites",
    "cut: all sites from all zones",
    "cut: halves",
    "cut: longer than the log is kept",
    "flapping line",
    "flapping damped",
    "connection reset",
    "slow drip",
    # processes and disks
    "kill site",
    "kill site while it is cut off",
    "killed in mid-replay",
    "leader killed in mid-replay",
    "busy hour while cut off",
    "kill leader",
    "kill zone",
    "whole cluster down",
    "power cut at a site",
    "pause site",
    "graceful stop of a site",
    "slow fsync at a site",
    "kill: saved, and nobody was told",
    "kill: unsynced saves lost",
    "kill: torn write, its transaction undone",
    "backup taken",
    "backup restored",
    "clone",
    "disk emptied",
    # clocks
    "clock 3 h ahead",
    "clock 3 h behind",
    "clock in 1970",
    "clock jumping",
    "clock unsure",
    "clock clamped",
    # people
    "take-over of a site that is cut off",
    "refused: take-over by an old epoch",
    "refused: take-over of who is heard",
    "refused: take-over whose end is past",
    "refused: hand-back that was not asked for",
    "agreed: ask-hand-back",
    "agreed: end-take-over",
    "two take over at once",
    "two decide at once",
    "two people have decided apart",
    "conflict decided",
    "owner changed",
    "turned away: NotPermitted",
    "refused while cut off: take-over",
    "refused while cut off: transfer-case",
    "refused while cut off: hand-back",
    "act: its outcome is not known",
    *(f"agreed: {tag}" for tag in TAGS),
    *(f"verdict: {kind.value}" for kind in VerdictKind),
    "receipt: agreed",
    "receipt: journalled",
    "read",
    "session read",
    "read: ahead of the copy",
    "session read: not there yet",
    # what the nodes do about it
    "mode: cut-off",
    "mode: replaying",
    "mode: connected",
    "site: restored",
    "site: fenced",
    "site: drained",
    "site: preview",
    "drained act decided",
    "gate: duplicate",
    "gate: gap",
    "gate: closed",
    "gate: stale",
    "state replaced (longer than the log)",
    "node: changes-sent",
    "node: snapshot-offered",
    "node: zone-behind",
    "node: zone-without-quorum",
    "node: line-silent",
)
"""What the world of sites must do to be worth its name, as in chaos/world/report.py."""


def report() -> Report:
    """A report of no seeds yet."""
    return Report(depth="sites", expected=EXPECTED_FAULTS, faults=Counter(dict.fromkeys(EXPECTED_FAULTS, 0)))


def replay_command(seed: int, steps: int) -> str:
    """The command that shows one seed again, event by event."""
    options = f" --steps {steps}" if steps != DEFAULT_STEPS else ""
    return f"python -m chaos sim --seeds 1 --start {seed} --depth sites{options} --trace"


def run_seed(
    seed: int,
    steps: int = DEFAULT_STEPS,
    *,
    follow: Callable[[str], None] | None = None,
    hashed: bool = False,
) -> SeedResult:
    """One seed, from start to rest."""
    make = partial(SitesWorld, follow=follow, hashed=hashed)
    return run_world(make, seed, steps, replay_command(seed, steps))


def run_seeds(seeds: Iterable[int], steps: int, jobs: int) -> Iterator[SeedResult]:
    """Results in seed order. With `jobs` above 1 in processes of their own, which share nothing."""
    yield from run_all(_run_task, ((seed, steps) for seed in seeds), jobs)


def _run_task(task: tuple[int, int]) -> SeedResult:
    return run_seed(*task)
