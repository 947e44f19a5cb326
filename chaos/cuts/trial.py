"""Runs of stories, each compared with its run without a cut, and what came of all of them.

Left out: how it is shown (show.py).
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Final, TypeAlias

from msgspec import Struct

from chaos.cuts.compare import Difference, compare, problems_between
from chaos.cuts.stage import Played, play
from chaos.cuts.stories import Cut, Story
from chaos.nodes.process import leaves

MOST_TEXT: Final = 400
"""Characters of what was raised: a world that fails tells how every node stands."""

Task: TypeAlias = tuple[Story, Cut]


class Listed(Struct, frozen=True, kw_only=True, rename={"with_": "with"}):
    """One difference. `cut_before`: the message's name; `number`: its place in the story (1: the first); `told_by`: the
    message whose verdict tells of it. Where nothing explains it: no operation, verdict and `why`."""

    story: str
    variant: str
    cut_before: str
    number: int
    subject: str
    field: str
    rule: str
    without: str | None
    with_: str | None
    operation: str = ""
    verdict: str = ""
    told_by: str = ""
    why: str = ""


class RunResult(Struct, frozen=True, kw_only=True):
    """One run with a cut."""

    story: str
    variant: str
    cut_before: str
    number: int
    operations: int = 0
    journalled: int = 0
    refused: tuple[str, ...] = ()
    """Messages that were refused at the door, with and without the cut."""
    verdicts: dict[str, int] = {}
    reconcile_ms: int = 0
    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    digests_equal: bool = False
    differences: tuple[Listed, ...] = ()
    unexplained: tuple[Listed, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.digests_equal and not (self.lost or self.duplicated or self.unexplained or self.problems)


class CutsResult(Struct, frozen=True, kw_only=True):
    """All runs. `runs`: with a cut; `undiffering`: those after which everything holds that holds without; `operations`
    and `verdicts` of all of them."""

    stories: dict[str, int]
    """Name → messages."""
    messages: int
    runs: int
    undiffering: int
    operations: int
    journalled: int
    refused: tuple[str, ...]
    verdicts: dict[str, int]
    reconcile_ms_max: int
    differences: tuple[Listed, ...]
    unexplained: tuple[Listed, ...]
    lost: int
    duplicated: int
    digests_equal: bool
    problems: tuple[str, ...]
    seconds: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """`tasks`: every run; `messages`: how many different ones are played."""

    tasks: Sequence[Task]
    messages: int


def run_all(plan: Plan, jobs: int = 1, watch: Callable[[RunResult], None] = lambda result: None) -> CutsResult:
    """Every run of the plan, with `jobs` above 1 in processes of their own. `watch` is told of each as it ends."""
    began = time.monotonic()
    results = []
    for result in _results(plan.tasks, jobs):
        results.append(result)
        watch(result)
    return summary(plan, results, time.monotonic() - began)


def summary(plan: Plan, results: Sequence[RunResult], seconds: float) -> CutsResult:
    """What the runs came to together. No run at all is not ok."""
    verdicts: dict[str, int] = {}
    for result in results:
        for kind, count in result.verdicts.items():
            verdicts[kind] = verdicts.get(kind, 0) + count
    return CutsResult(
        stories={story.name: len(story.turns) for story, _ in plan.tasks},
        messages=plan.messages,
        runs=len(results),
        undiffering=sum(not result.differences and not result.unexplained and result.ok for result in results),
        operations=sum(result.operations for result in results),
        journalled=sum(result.journalled for result in results),
        refused=tuple(sorted({name for result in results for name in result.refused})),
        verdicts=dict(sorted(verdicts.items())),
        reconcile_ms_max=max((result.reconcile_ms for result in results), default=0),
        differences=tuple(one for result in results for one in result.differences),
        unexplained=tuple(one for result in results for one in result.unexplained),
        lost=sum(len(result.lost) for result in results),
        duplicated=sum(len(result.duplicated) for result in results),
        digests_equal=all(result.digests_equal for result in results),
        problems=tuple(f"{_where(result)}: {problem}" for result in results for problem in result.problems),
        seconds=round(seconds, 1),
        ok=bool(results) and all(result.ok for result in results),
    )


def _where(result: RunResult) -> str:
    return f"{result.story}, {result.variant}, cut before {result.number} ({result.cut_before})"


def _results(tasks: Iterable[Task], jobs: int) -> Iterator[RunResult]:
    if jobs <= 1:
        yield from map(run_task, tasks)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run_task, tasks, chunksize=4)


@cache
def _without(story: Story) -> Played | str:
    """The run without a cut, or why there is none; in each process once a story."""
    try:
        return play(story)
    except Exception as problem:
        return f"without a cut: {_told(problem)}"


def run_task(task: Task) -> RunResult:
    """One run, compared. Whatever the simulated world or shipped code raises is the run's problem, to be reported."""
    story, cut = task
    without = _without(story)
    if isinstance(without, str):
        return _result(story, cut, problems=(without,))
    try:
        return judge(story, cut, without, play(story, cut))
    except Exception as problem:
        return _result(story, cut, problems=(_told(problem),))


def _told(problem: BaseException) -> str:
    first = next(leaves(problem))
    where = traceback.extract_tb(first.__traceback__)[-1:]
    at = "".join(f" ({one.name}, line {one.lineno} of {one.filename.rpartition('/')[2]})" for one in where)
    return f"{type(first).__name__}{at}: {str(first)[:MOST_TEXT]}"


def judge(story: Story, cut: Cut, without: Played, played: Played) -> RunResult:
    """One run with a cut beside the one without."""
    listed = [_listed(story, cut, one) for one in compare(without, played)]
    verdicts: dict[str, int] = {}
    for said in played.said:
        verdicts[said.verdict.kind.value] = verdicts.get(said.verdict.kind.value, 0) + 1
    baseline = _baseline_problems(without)
    return _result(
        story,
        cut,
        operations=len(played.said),
        journalled=played.journalled,
        refused=tuple(story.turns[turn].name for turn in played.refused),
        verdicts=verdicts,
        reconcile_ms=played.reconcile_ms,
        lost=played.lost,
        duplicated=played.duplicated,
        digests_equal=played.digests_equal,
        differences=tuple(one for one in listed if one.why),
        unexplained=tuple(one for one in listed if not one.why),
        problems=(*baseline, *played.problems, *problems_between(without, played)),
    )


def _baseline_problems(without: Played) -> Iterator[str]:
    """A run to compare with must be clean itself, and all of it agreed at once."""
    if without.journalled:
        yield f"without a cut {without.journalled} receipts were not agreed at once"
    yield from (f"without a cut: {problem}" for problem in without.problems)


def _result(story: Story, cut: Cut, **found: object) -> RunResult:
    name = story.turns[cut.before].name
    facts: dict[str, object] = {"story": story.name, "variant": cut.variant, "cut_before": name, **found}
    return RunResult(number=cut.before + 1, **facts)  # type: ignore[arg-type]  # as `judge` names them


def _listed(story: Story, cut: Cut, one: Difference) -> Listed:
    because = one.because
    return Listed(
        story=story.name,
        variant=cut.variant,
        cut_before=story.turns[cut.before].name,
        number=cut.before + 1,
        subject=one.place.subject,
        field=one.place.named,
        rule=one.rule,
        without=one.without,
        with_=one.with_,
        operation="" if because is None else str(because.operation),
        verdict="" if because is None else because.verdict.value,
        told_by="" if because is None else story.turns[because.turn].name,
        why="" if because is None else because.why,
    )
