"""What a state holds, laid open: the values of every field with their siblings, what is proposed, and the past.

`Place` names a field of one case, resource or request, and is the same in every run of a story; so two runs can be
laid beside each other. What only ever grows (notes, decisions, patients, documents, steps of a mission) are elements:
a set of (place, content).

A case opened under its sender's number alone, and found to be another, is inside that one for every reader; what it
holds is counted there, so it does not matter which of the two was heard of first.

Left out: comparing (compare.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from replica.cases import keys
from replica.cases.draft import drafted
from replica.cases.fields import FIELDS
from replica.cases.reading import Parts, parts_of
from replica.cases.records import Records
from replica.cases.state import ELEMENT, HEAD, Head, Held, Past, Slot, Step

STEP, DOCUMENT, REQUEST_LINK = "step", "document", "request of the case"
"""Elements that are no field of the table."""
OWNER, STATUS, INCOMPLETE, MISSION = "(owner)", "(status)", "(incomplete)", "(mission)"
"""What follows from values, and is kept for lists. No field has brackets in its name."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One field, or one key of a keyed one."""

    kind: str
    id: str
    field: str
    key: str = ""

    @property
    def subject(self) -> str:
        return f"{self.kind} {self.id}".strip()

    @property
    def named(self) -> str:
        """The field and its key."""
        return f"{self.field}{f' [{self.key}]' if self.key else ''}"


@dataclass(slots=True)
class Holding:
    """One state. `steps`: of a resource (its own place, the case in the key), as the case has them."""

    slots: dict[Place, Slot] = field(default_factory=dict)
    past: dict[Place, list[Past]] = field(default_factory=dict)
    elements: set[tuple[Place, str]] = field(default_factory=set)
    derived: dict[Place, str] = field(default_factory=dict)
    steps: dict[Place, list[Step]] = field(default_factory=dict)

    def value(self, place: Place) -> str | None:
        """The value that holds; None where nothing does."""
        if place in self.derived:
            return self.derived[place]
        held = self.holder(place)
        return None if held is None else held.value

    def holder(self, place: Place) -> Held | None:
        siblings = self.slots.get(place, Slot()).siblings
        return siblings[0] if siblings else None

    def kept(self, place: Place) -> Iterator[Held]:
        """Every value that was said here and is still to be found: held, beside it, proposed, or past."""
        slot = self.slots.get(place, Slot())
        yield from (*slot.siblings, *slot.proposed)
        yield from (past.held for past in self.past.get(place, ()))


def rule_of(place: Place) -> str:
    """The rule of the table by which a place is merged; `union` for what only grows; empty for what is derived."""
    if place.field.startswith("("):
        return ""
    known = FIELDS.get(place.kind, {}).get(place.field)
    return "union" if known is None else known.rule.value


def read_holding(records: Records) -> Holding:
    """All that a state holds."""
    heads = [HEAD.decode(value) for prefix in keys.HEADS.values() for _, value in records.scan(prefix)]
    same = {head.id: head.same_as for head in heads if head.kind == "case" and head.same_as}
    found, draft = Holding(), drafted(records)
    for head in sorted(heads, key=lambda head: bool(head.same_as)):
        _add_subject(found, head, parts_of(draft, head.kind, head.id), same)
    for _, value in records.scan(keys.LOOSE_DOCUMENTS):
        one = ELEMENT.decode(value)
        found.elements.add((Place("", "", DOCUMENT, one.key), f"{one.field} {one.held.value}"))
    return found


def _add_subject(found: Holding, head: Head, parts: Parts, same: Mapping[str, str]) -> None:
    kind, subject = head.kind, same.get(head.id, head.id) if head.kind == "case" else head.id
    for name, slot in parts.slots.items():
        field_name, _, key = name.partition("\0")
        place = Place(kind, subject, field_name, key)
        # Two values in two cases that are one are not one value: the second is shown as what it is.
        found.slots[place if place not in found.slots else Place(kind, head.id, field_name, key)] = slot
    for past in parts.history:
        found.past.setdefault(Place(past.subject_kind, past.subject, past.field, past.key), []).append(past)
    for one in parts.elements:
        found.elements.add((Place(kind, subject, one.field, one.key), one.held.value))
    for one in parts.documents:
        found.elements.add((Place(kind, subject, DOCUMENT, one.key), f"{one.field} {one.held.value}"))
    for request in parts.requests:
        found.elements.add((Place(kind, subject, REQUEST_LINK), request))
    for step in parts.steps:
        place = Place("resource", step.resource, STEP, same.get(step.case, step.case))
        found.elements.add((place, f"{step.held.value} at {step.held.at_ms}"))
        found.steps.setdefault(place, []).append(step)
    _add_derived(found, head, parts)


def _add_derived(found: Holding, head: Head, parts: Parts) -> None:
    """A case that is another has no owner, status and creation of its own to compare."""
    if not head.same_as:
        found.derived[Place(head.kind, head.id, OWNER)] = head.owner
        found.derived[Place(head.kind, head.id, INCOMPLETE)] = str(head.incomplete)
    if head.kind == "case" and not head.same_as:
        found.derived[Place(head.kind, head.id, STATUS)] = head.status
    for mission in parts.missions:
        runs = ", ".join(f"{run.n} {run.held.value}{', over' if run.ended else ''}" for run in mission.runs)
        found.derived[Place("resource", mission.resource, MISSION, head.id)] = runs
