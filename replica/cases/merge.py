"""Two values of one field: which holds, what is kept, what the author is told. One function per rule of fields.py.

Rule 11, for all of them: the siblings the author had seen are removed, those it had not are kept. None left:
`applied`, or `merged` without authority. Some left: the field's own rule. Union, latest and furthest settle it at
once (`merged` where the new value holds, `superseded` where it does not; the loser goes to history). Severity,
first and answer keep both: `conflict`, and the rule names the holder. Authority decides verdict and holder; it
never skips the seen test (rule 12).

Some rules are stricter than rule 11 and keep even what was seen, because reports are relayed: the site has seen the
newer value, the vehicle that sent the older position has not. So "latest by its own time" never lets an older time
replace a newer, "furthest" never goes back, "first" never changes. Nothing is lost by that: the value is in the
history, its author is told.

Owner, engagement and a resource's status need more than two values to decide: owners.py, engagement.py, missions.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct

from replica.cases.act import CLOCK_AHEAD_MS, NO_AUTHORITY, plain
from replica.cases.fields import CARE_LEVELS, CASE_STATUSES, PRIORITIES, RESOURCE_STATUSES, Rule
from replica.cases.operations import HybridTime, OperationId
from replica.cases.state import Held
from replica.cases.verdicts import VerdictKind

SEVERITY = {value: rank for scale in (PRIORITIES, CARE_LEVELS) for rank, value in enumerate(scale)}
"""Lower is more severe."""
CASE_PROGRESS = {status: rank for rank, status in enumerate(CASE_STATUSES)}
MISSION_PROGRESS = {
    status: 2 * rank if status != "ANNULE" else 2 * RESOURCE_STATUSES.index("ARRIVEE") - 1
    for rank, status in enumerate(RESOURCE_STATUSES)
}
"""Along a mission; ANNULE just before ARRIVEE: whoever has arrived was not called off in time, whichever came first."""

Siblings: TypeAlias = tuple[Held, ...]


class Outcome(Struct, frozen=True):
    """`siblings`: what the slot holds now, the holder first; `lost`: what goes to history; `other`: the operation
    met."""

    siblings: Siblings
    lost: Siblings
    kind: VerdictKind
    rule: str
    other: OperationId | None = None


Merge: TypeAlias = Callable[[Siblings, Siblings, Held], Outcome]
"""(siblings seen, siblings unseen, the new value) → outcome."""
Differ: TypeAlias = Callable[[Held, Held], bool]
Order: TypeAlias = Callable[[Held], Any]


def replaced(seen: Siblings, new: Held) -> Outcome:
    """None left."""
    return Outcome((new,), seen, plain(new.authority), NO_AUTHORITY)


def unchanged(siblings: Siblings, new: Held, rule: str, other: OperationId | None = None) -> Outcome:
    """The new value says what holds already; nothing is lost by not keeping it."""
    return Outcome(siblings, (new,), plain(new.authority), rule, other)


def latest(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """By hybrid clock among what was written apart."""
    if not unseen:
        return replaced(seen, new)
    best = max(unseen, key=by_clock)
    if by_clock(new) > by_clock(best):
        return Outcome((new,), seen + unseen, VerdictKind.MERGED, Rule.LATEST.value, best.operation)
    rest = tuple(held for held in unseen if held is not best)
    return Outcome((best,), (*seen, *rest, new), VerdictKind.SUPERSEDED, Rule.LATEST.value, best.operation)


def latest_at(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """By the value's own time, seen or not; hybrid clock where equal."""
    siblings = seen + unseen
    if not siblings:
        return replaced(seen, new)
    best = max(siblings, key=by_own_time)
    if by_own_time(new) >= by_own_time(best):
        kind = VerdictKind.MERGED if unseen else plain(new.authority)
        return Outcome((new,), siblings, kind, Rule.LATEST_AT.value, best.operation)
    rest = tuple(held for held in siblings if held is not best)
    return Outcome((best,), (*rest, new), VerdictKind.SUPERSEDED, Rule.LATEST_AT.value, best.operation)


def keep_all(seen: Siblings, unseen: Siblings, new: Held, rule: str, differ: Differ, order: Order) -> Outcome:
    """Some left, and the rule keeps them: all siblings stay, also those that say the same. Dropping one of two equal
    values would be wrong: who then writes having seen only the other would erase a value it never saw. They are a
    conflict only where they differ; `order` puts the holder first."""
    if not unseen:
        return replaced(seen, new)
    siblings = tuple(sorted((new, *unseen), key=order))
    others = tuple(held for held in unseen if differ(held, new))
    kind = VerdictKind.CONFLICT if others else VerdictKind.MERGED
    return Outcome(siblings, seen, kind, rule, (others or unseen)[0].operation)


def more_severe(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """Apart, the more severe holds and both stay until a person has decided."""
    return keep_all(seen, unseen, new, Rule.MORE_SEVERE.value, values_differ, _by_severity)


def first(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """Set once: the first in the log holds, a differing one stays beside it as a conflict, seen or not. Who states
    again what it has seen writes nothing."""
    siblings = tuple(sorted(seen + unseen, key=by_log))
    if not siblings:
        return replaced(seen, new)
    for held in seen:
        if held.value == new.value:
            return unchanged(siblings, new, Rule.FIRST.value, held.operation)
    same = [held for held in siblings if held.value == new.value]
    kind = VerdictKind.MERGED if same else VerdictKind.CONFLICT
    return Outcome((*siblings, new), (), kind, Rule.FIRST.value, (same or siblings)[0].operation)


def furthest(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """The furthest along its vocabulary, seen or not; going back is not this rule's to do."""
    siblings = seen + unseen
    if not siblings:
        return replaced(seen, new)
    best = max(siblings, key=_by_progress)
    if _by_progress(new) > _by_progress(best):
        kind = VerdictKind.MERGED if unseen else plain(new.authority)
        return Outcome((new,), siblings, kind, Rule.FURTHEST.value, best.operation)
    if new.value == best.value:
        kind = VerdictKind.MERGED if unseen else plain(new.authority)
        return Outcome((*unseen, new), seen, kind, Rule.FURTHEST.value, best.operation)
    return Outcome(siblings, (new,), VerdictKind.SUPERSEDED, Rule.FURTHEST.value, best.operation)


def answer(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """One standing answer. Apart: both stay, the latest by its own time holds meanwhile."""
    siblings = tuple(sorted((new, *unseen), key=by_own_time, reverse=True))
    return keep_all(seen, unseen, new, Rule.ANSWER.value, values_differ, siblings.index)


RULES: dict[Rule, Merge] = {
    Rule.FIRST: first,
    Rule.LATEST: latest,
    Rule.LATEST_AT: latest_at,
    Rule.MORE_SEVERE: more_severe,
    Rule.FURTHEST: furthest,
    Rule.ANSWER: answer,
}
"""The rules that need no more than the values themselves."""


def values_differ(one: Held, other: Held) -> bool:
    return one.value != other.value


def by_clock(held: Held) -> tuple[HybridTime, OperationId]:
    """The operation's id breaks a tie, so that every replica breaks it alike."""
    return held.clock, held.operation


def by_own_time(held: Held) -> tuple[int, HybridTime, OperationId]:
    """The value's own time, but no later than it was heard: a wrong year cannot hold a place for ever."""
    return min(held.at_ms, held.time_ms + CLOCK_AHEAD_MS), held.clock, held.operation


def by_log(held: Held) -> tuple[int, OperationId]:
    return held.index, held.operation


def _by_severity(held: Held) -> tuple[int, int, OperationId]:
    return SEVERITY[held.value], held.index, held.operation


def _by_progress(held: Held) -> int:
    return CASE_PROGRESS[held.value]
