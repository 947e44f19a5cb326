"""What a story came to: the fields of its JSON, and when it is ok.

A story is ok when its own facts are so, when it stated any, when nothing went wrong on the way, and when the callers'
receipts laid beside the stores on disk (replica/demo/audit.py) leave nothing to explain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from chaos.story.expecting import Expectation
from replica.demo.audit import Audit


class StoryResult(Struct, frozen=True, kw_only=True):
    """`verdicts`: kind → operations. `conflicts_open`: conflicts that still wait for a person at the end. `showed`:
    what the story saw besides, under names of its own."""

    name: str
    sentence: str
    operations: int
    agreed: int
    journalled: int
    verdicts: dict[str, int]
    verdicts_total: int
    lost: int
    duplicated: int
    digests_equal: bool
    conflicts_open: int
    seconds: float
    ok: bool
    showed: dict[str, object] = {}
    expectations: tuple[Expectation, ...] = ()
    problems: tuple[str, ...] = ()
    """What is not as it should be, in words; empty where `ok`."""


class StoriesResult(Struct, frozen=True, kw_only=True):
    """Several stories: their sums, and each."""

    operations: int
    verdicts: dict[str, int]
    verdicts_total: int
    lost: int
    duplicated: int
    digests_equal: bool
    conflicts_open: int
    seconds: float
    ok: bool
    stories: tuple[StoryResult, ...] = ()


class Told(Struct, frozen=True, kw_only=True):
    """All that a story leaves behind to be judged. `troubles`: what went wrong with processes or budgets on the way."""

    name: str
    sentence: str
    operations: int
    agreed: int
    journalled: int
    seconds: float
    expectations: Sequence[Expectation]
    showed: Mapping[str, object] = {}
    troubles: Sequence[str] = ()


def judged(told: Told, found: Audit) -> StoryResult:
    """The result of one story, ok or not, with every reason why not."""
    problems = tuple(_problems(told, found))
    return StoryResult(
        name=told.name,
        sentence=told.sentence,
        operations=told.operations,
        agreed=told.agreed,
        journalled=told.journalled,
        verdicts=found.verdicts,
        verdicts_total=found.verdicts_total,
        lost=len(found.lost),
        duplicated=len(found.duplicated),
        digests_equal=found.digests_equal,
        conflicts_open=len(found.conflicts),
        seconds=round(told.seconds, 2),
        ok=not problems,
        showed=dict(told.showed),
        expectations=tuple(told.expectations),
        problems=problems,
    )


def together(results: Sequence[StoryResult]) -> StoriesResult:
    """Several stories as one. None at all are not ok."""
    verdicts: Counter[str] = Counter()
    for one in results:
        verdicts.update(one.verdicts)
    return StoriesResult(
        operations=sum(one.operations for one in results),
        verdicts=dict(verdicts),
        verdicts_total=sum(one.verdicts_total for one in results),
        lost=sum(one.lost for one in results),
        duplicated=sum(one.duplicated for one in results),
        digests_equal=all(one.digests_equal for one in results),
        conflicts_open=sum(one.conflicts_open for one in results),
        seconds=round(sum(one.seconds for one in results), 2),
        ok=bool(results) and all(one.ok for one in results),
        stories=tuple(results),
    )


def line(result: StoryResult) -> str:
    """The sentence that matters."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.verdicts.items()) or "none"
    return (
        f"{result.name}: {len(result.expectations)} facts, {result.operations} operations ({result.agreed} agreed at "
        f"once, {result.journalled} journalled first), {result.verdicts_total} verdicts ({kinds}), lost {result.lost}, "
        f"duplicated {result.duplicated}, digests equal: {result.digests_equal}, conflicts open "
        f"{result.conflicts_open}, {result.seconds:.1f} s: {'ok' if result.ok else 'NOT OK'}"
    )


def _problems(told: Told, found: Audit) -> Iterator[str]:
    yield from told.troubles
    yield from (str(one) for one in told.expectations if not one.ok)
    if not told.expectations and not told.troubles:
        yield "the story stated no fact of its own"
    if not told.operations:
        yield "nobody did anything"
    yield from found.problems
