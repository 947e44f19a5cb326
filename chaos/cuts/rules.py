"""Whether a field's rule gives what holds after a cut, and which verdict said so. One function per rule of the table.

Written from the table's own words (docs/offline.md, replica/cases/fields.py), and not with the functions that merge:
these are what is looked at. For each difference there must be

* **a word**: a finding of some verdict on this very field, by this rule, that was not made without the cut;
* **an order**: by the rule's own order, what holds now comes before what held without the cut;
* **nothing lost**: what held without the cut is still to be found: beside it, proposed, or in the history.

Left out: which values are compared (compare.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from chaos.cuts.holding import STEP, Holding, Place, rule_of
from chaos.cuts.stage import Played, Said
from replica.cases.fields import (
    CARE_LEVELS,
    CASE_STATUSES,
    ENDS_MISSION,
    PRIORITIES,
    STARTS_MISSION,
    Rule,
)
from replica.cases.operations import OperationId
from replica.cases.state import Held, Step
from replica.cases.verdicts import Finding, VerdictKind

AHEAD_MS = 500
"""A time may be so much later than the leader's when it was heard; beyond, it counts as that."""
UNRECORDED = ("position", "described_at")
"""Fields whose replaced values are not kept (docs: many, and worth little each)."""
TELLING = frozenset((VerdictKind.MERGED, VerdictKind.PROPOSED, VerdictKind.SUPERSEDED, VerdictKind.CONFLICT))
WORDS: dict[str, tuple[str, ...]] = {Rule.ENGAGEMENT.value: (Rule.ENGAGEMENT.value, "double-engagement")}
"""The rule's names in findings, where it has others than its own."""


@dataclass(frozen=True, slots=True)
class Because:
    """`turn`, `operation`, `verdict`: who was told of it; `why`: the rule in a few words."""

    rule: str
    turn: int
    operation: OperationId
    verdict: VerdictKind
    why: str


Holds = Callable[[Held, Held], bool]
"""(what holds now, what held without the cut) → whether the rule puts it first."""


def because(place: Place, without: Played, cut: Played) -> Because | None:
    """Why another value holds here with the cut; None where no rule says so, or nobody was told."""
    rule = rule_of(place)
    before, now = without.holding.value(place), cut.holding.holder(place)
    words = list(_new_words(place, rule, without, cut))
    for said, finding in words:
        if finding.kind is VerdictKind.PROPOSED and _is_proposed(cut.holding, place, before):
            return Because(rule, said.turn, said.operation, finding.kind, "proposed, for whoever is in charge")
    if now is None or before is None or rule not in ORDERS:
        return None
    then = next((held for held in cut.holding.kept(place) if held.value == before), None)
    if then is None:
        return _unrecorded(place, rule, words)
    holds, why, stays = ORDERS[rule]
    if not holds(now, then) or (stays and then not in cut.holding.slots[place].siblings):
        return None
    for said, finding in words:
        if said.operation in (now.operation, then.operation):
            return Because(rule, said.turn, said.operation, finding.kind, why)
    return None


def _unrecorded(place: Place, rule: str, words: list[tuple[Said, Finding]]) -> Because | None:
    """Nothing of the other value is left. Where nothing is ever kept that may be, and the word alone must do."""
    if place.field not in UNRECORDED or not words:
        return None
    said, finding = words[0]
    return Because(rule, said.turn, said.operation, finding.kind, "replaced values of this field are not kept")


def _new_words(place: Place, rule: str, without: Played, cut: Played) -> Iterator[tuple[Said, Finding]]:
    """Findings on this field, by this rule, that were not made without the cut."""
    names = WORDS.get(rule, (rule,))
    before = {(said.turn, finding.kind, finding.rule) for said, finding in _findings(place, without)}
    for said, finding in _findings(place, cut):
        new = (said.turn, finding.kind, finding.rule) not in before
        if new and finding.kind in TELLING and finding.rule in names:
            yield said, finding


def _findings(place: Place, played: Played) -> Iterator[tuple[Said, Finding]]:
    for said in played.said:
        for finding in said.verdict.findings:
            if (finding.subject, finding.field, finding.key) == (place.id, place.field, place.key):
                yield said, finding


def _is_proposed(holding: Holding, place: Place, value: str | None) -> bool:
    slot = holding.slots.get(place)
    return slot is not None and any(held.value == value for held in slot.proposed)


# --- the orders, as the table words them ---


def _later(now: Held, then: Held) -> bool:
    return (now.clock, now.operation) > (then.clock, then.operation)


def _later_by_own_time(now: Held, then: Held) -> bool:
    return _own_time(now) >= _own_time(then)


def _own_time(held: Held) -> tuple[Any, ...]:
    return min(held.at_ms, held.time_ms + AHEAD_MS), held.clock, held.operation


def _more_severe(now: Held, then: Held) -> bool:
    scale = PRIORITIES if now.value in PRIORITIES else CARE_LEVELS
    return scale.index(now.value) < scale.index(then.value)


def _earlier_in_the_log(now: Held, then: Held) -> bool:
    return (now.index, now.operation) < (then.index, then.operation)


def _further(now: Held, then: Held) -> bool:
    return CASE_STATUSES.index(now.value) > CASE_STATUSES.index(then.value)


def _with_authority(now: Held, then: Held) -> bool:
    if now.authority != then.authority:
        return now.authority
    # Of two who may decide, the one who decided last; of two who may not, the one who was there first.
    return _earlier_in_the_log(then, now) if now.authority else _earlier_in_the_log(now, then)


ORDERS: dict[str, tuple[Holds, str, bool]] = {
    Rule.LATEST.value: (_later, "the latest by hybrid clock", False),
    Rule.LATEST_AT.value: (_later_by_own_time, "the latest by its own time", False),
    Rule.MORE_SEVERE.value: (_more_severe, "the more severe, both kept", True),
    Rule.FIRST.value: (_earlier_in_the_log, "the first in the log, both kept", True),
    Rule.FURTHEST.value: (_further, "the furthest along", False),
    Rule.ANSWER.value: (_later_by_own_time, "the latest answer, both kept", True),
    Rule.OWNER.value: (_with_authority, "who has authority, both kept", True),
    Rule.ENGAGEMENT.value: (_with_authority, "who has authority, both kept", True),
}
"""Rule → (its order, in words, whether the other value must stay beside the one that holds)."""


# --- missions: by the order of the log ---


def mission_began(place: Place, without: Holding, cut: Played) -> Because | None:
    """A mission more than without the cut: its first step came in the log behind an end of the mission before, and that
    end had come after it without the cut. `place`: of the mission."""
    steps = cut.holding.steps.get(Place("resource", place.id, STEP, place.key), [])
    order = {said.operation: number for number, said in enumerate(cut.said)}

    def in_log(step: Step) -> tuple[int, int]:
        return order.get(step.held.operation, -1), step.held.at_ms

    for first in _first_steps(steps, in_log):
        ends = [step for step in steps if _ends(step, first) and in_log(step) <= in_log(first)]
        if first.held.value in STARTS_MISSION and ends and not _began(without, place, first):
            said = cut.said[order[first.held.operation]]
            why = f"{first.held.value} came in the log behind {ends[-1].held.value}: a new mission"
            return Because(Rule.STATUS.value, said.turn, said.operation, _word_on(place.id, said), why)
    return None


def _word_on(resource: str, said: Said) -> VerdictKind:
    """What its author was told of the status; plain `applied` has no finding."""
    found = (one.kind for one in said.verdict.findings if (one.subject, one.field) == (resource, "status"))
    return next(found, VerdictKind.APPLIED)


def _first_steps(steps: list[Step], in_log: Callable[[Step], tuple[int, int]]) -> Iterator[Step]:
    """Of each mission but the first, the step that began it."""
    for number in sorted({step.n for step in steps if step.n > 1}):
        yield min((step for step in steps if step.n == number), key=in_log)


def _ends(step: Step, first: Step) -> bool:
    return step.n < first.n and step.held.value in ENDS_MISSION


def _began(without: Holding, place: Place, first: Step) -> bool:
    """Whether the same step was counted to a mission of this number without the cut, too."""
    steps = without.steps.get(Place("resource", place.id, STEP, place.key), [])
    same = (first.n, first.held.value, first.held.at_ms)
    return any((one.n, one.held.value, one.held.at_ms) == same for one in steps)
