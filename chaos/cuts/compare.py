"""Two runs of one story laid beside each other: what holds with a cut and did not without, and whether a rule says so.

Verdicts, conflicts and proposals differ by nature, and are not compared. Values that hold are: each difference must
be one that its field's own rule makes (rules.py), told by the verdict of an operation. What only grows may not differ.

Left out: the rules' own orders (rules.py), playing (stage.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaos.cuts.holding import INCOMPLETE, MISSION, OWNER, STATUS, Holding, Place, rule_of
from chaos.cuts.rules import Because, because, mission_began
from chaos.cuts.stage import Played, Said
from replica.cases.values import case_of

FOLLOWS = {
    ("resource", OWNER): ("organisation",),
    ("case", OWNER): ("owner",),
    ("case", STATUS): ("owner", "status"),
    ("resource", "status"): (MISSION,),
    ("resource", "engagement"): (MISSION,),
}
"""What a place may follow from, of the same subject: it differs because that does. Only `MISSION` is looked at by the
mission's own rule (the log's order)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`without` and `with_`: the value that holds; None where nothing does, or an element is not there. `because`: None
    where nothing explains it."""

    place: Place
    rule: str
    without: str | None
    with_: str | None
    because: Because | None


def compare(without: Played, cut: Played) -> list[Difference]:
    """Every value that does not hold alike, explained or not."""
    differing = list(_values(without.holding, cut.holding))
    found = [_explained(place, without, cut, {one for one, _, _ in differing}) for place, _, _ in differing]
    differences = [
        Difference(place, reason.rule if reason is not None else rule_of(place), before, after, reason)
        for (place, before, after), reason in zip(differing, found, strict=True)
    ]
    return [*differences, *_elements(without.holding, cut.holding)]


def _values(without: Holding, cut: Holding) -> Iterator[tuple[Place, str | None, str | None]]:
    places = {*without.slots, *without.derived, *cut.slots, *cut.derived}
    for place in sorted(places):
        before, after = without.value(place), cut.value(place)
        if before != after:
            yield place, before, after


def _elements(without: Holding, cut: Holding) -> Iterator[Difference]:
    """What only grows: no rule lets it be missing, or be there for nothing."""
    for place, content in sorted(without.elements ^ cut.elements):
        there = (place, content) in without.elements
        yield Difference(place, "union", content if there else None, None if there else content, None)


def _explained(place: Place, without: Played, cut: Played, differing: set[Place]) -> Because | None:
    if place.field == INCOMPLETE:
        return None
    if place.field == MISSION:
        return mission_began(place, without.holding, cut)
    reason = because(place, without, cut) if rule_of(place) else None
    if reason is not None:
        return reason
    for name in FOLLOWS.get((place.kind, place.field), ()):
        for other in sorted(one for one in differing if (one.kind, one.id, one.field) == (place.kind, place.id, name)):
            reason = _explained(other, without, cut, differing)
            if reason is not None and (place.field != "engagement" or _serves(cut.holding, place, other.key)):
                return reason
    return None


def _serves(holding: Holding, place: Place, case: str) -> bool:
    """Whether the resource is engaged for this case: the one whose mission explains it."""
    held = holding.holder(place)
    return held is not None and case_of(held) == case


def problems_between(without: Played, cut: Played) -> Iterator[str]:
    """What may not differ though it is no value: what was refused, and how many operations each turn made."""
    if cut.refused != without.refused:
        yield f"refused at the door: {cut.refused}, and without the cut {without.refused}"
    before, after = _counts(without.said), _counts(cut.said)
    for turn in sorted(before.keys() | after.keys()):
        if before.get(turn) != after.get(turn):
            yield f"message {turn + 1}: {after.get(turn, 0)} verdicts, without the cut {before.get(turn, 0)}"


def _counts(said: Sequence[Said]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for one in said:
        counts[one.turn] = counts.get(one.turn, 0) + 1
    return counts
