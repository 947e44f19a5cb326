"""Cases, resources and requests as records: opening them, their fields, their history, their conflicts.

Everything that changes a value goes through `write`, `add` or `settle`, so that no value is replaced without its
past being kept and no conflict arises without its entry in the list of conflicts."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from replica.cases import keys
from replica.cases.act import Act, plain
from replica.cases.authority import has_authority
from replica.cases.draft import Draft
from replica.cases.fields import FIELDS, Field, Rule
from replica.cases.merge import RULES, Outcome, Siblings
from replica.cases.state import (
    HEAD,
    NUMBER,
    ConflictRecord,
    Element,
    Head,
    Held,
    Past,
    Slot,
)
from replica.cases.values import case_of
from replica.cases.verdicts import VerdictKind

RESOURCE_HISTORY = 256
"""How many values a resource's own history keeps. What it did for a case is in that case's history, without bound
until the case is archived; what belongs to no case would grow for as long as the vehicle lives."""

UNRECORDED = frozenset(("position", "described_at"))
"""Fields whose replaced values are not kept: many, and worth little each."""


class Target(Struct):
    """One subject that an operation speaks of. `prefix`: of the keys of its parts; `authority`: the operation's
    over it."""

    kind: str
    id: str
    head: Head
    prefix: bytes
    authority: bool


def find(act: Act, kind: str, subject: str) -> Target | None:
    """The subject, or None where nobody has named it yet."""
    head = act.draft.load(keys.head(kind, subject), HEAD)
    if head is None:
        return None
    return Target(kind, subject, head, keys.parts(kind, subject), has_authority(act, head))


def open_subject(act: Act, kind: str, subject: str, owner: str = "", case: str = "") -> Target:
    """The subject, opened now where nobody has named it yet: *incomplete* until something creates it."""
    found = find(act, kind, subject)
    if found is not None:
        return found
    head = Head(kind, subject, owner, act.mark, act.time_ms, case=case)
    act.draft.put(keys.head(kind, subject), head)
    return Target(kind, subject, head, keys.parts(kind, subject), has_authority(act, head))


def put_head(act: Act, target: Target, head: Head) -> None:
    """Change the head. Authority is what it was when the operation began, unless the caller says otherwise."""
    target.head = head
    act.draft.put(keys.head(target.kind, target.id), head)


def field_place(target: Target, field: Field, key: str) -> tuple[bytes, str]:
    """The record and the name under which a field's slot is kept. Patients have a record each."""
    group_key = key if field.group == "patient" else ""
    return keys.group(target.prefix, field.group, group_key), f"{field.name}\0{key}" if field.keyed else field.name


def slot_of(act: Act, target: Target, field: Field, key: str = "") -> Slot:
    return act.draft.slot(*field_place(target, field, key))


def slot_at(draft: Draft, target: Target, field_name: str, key: str) -> Slot:
    """The slot of a field named by its text, for readers."""
    return draft.slot(*field_place(target, FIELDS[target.kind][field_name], key))


def split(act: Act, siblings: Siblings) -> tuple[Siblings, Siblings]:
    """(seen, unseen) by the operation's author (rule 10)."""
    if len(siblings) == 1:
        one = siblings[0]
        return (siblings, ()) if act.seen(one.operation, one.index) else ((), siblings)
    marks = [act.seen(held.operation, held.index) for held in siblings]
    seen = tuple(held for held, was in zip(siblings, marks, strict=True) if was)
    return seen, tuple(held for held, was in zip(siblings, marks, strict=True) if not was)


def write(act: Act, target: Target, field: Field, key: str, value: str, at_ms: int = 0) -> VerdictKind:
    """One value said of one field, by the field's own rule."""
    if field.rule is Rule.UNION:
        return add(act, target, field, key, value, at_ms)
    slot = slot_of(act, target, field, key)
    new = act.held(value, target.authority, at_ms)
    seen, unseen = split(act, slot.siblings)
    merge = act.rules.merges.get((target.kind, field.name)) or RULES[field.rule]
    return settle(act, target, field, key, slot, merge(seen, unseen, new))


def add(act: Act, target: Target, field: Field, key: str, value: str, at_ms: int = 0) -> VerdictKind:
    """An element of a union: identified by (key, content), never edited, never dropped."""
    place = keys.element(target.prefix, field.name, key, value)
    if not act.draft.has(place):
        act.draft.put(place, Element(field.name, key, act.held(value, target.authority, at_ms)))
    kind = plain(target.authority)
    act.find(target.id, field.name, key, kind, Rule.UNION.value)
    return kind


def settle(act: Act, target: Target, field: Field, key: str, slot: Slot, outcome: Outcome) -> VerdictKind:
    """Put an outcome in place: the slot, the history of what was lost, the list of conflicts, the finding."""
    put_slot(act, target, field, key, slot, Slot(outcome.siblings, slot.proposed))
    # Whatever a rule says, something holds after something was said.
    assert outcome.siblings, f"nothing holds of {field.name} of {target.id} after {outcome}"
    winner = outcome.siblings[0]
    for held in outcome.lost:
        if target.kind == "resource" and held.value == winner.value:
            continue  # the same description again and again is no history
        is_new = held.operation == act.operation.id
        remember(act, target, field, key, held, outcome.kind, field.rule.value, winner if is_new else None)
    act.find(target.id, field.name, key, outcome.kind, outcome.rule, outcome.other)
    return outcome.kind


def put_slot(act: Act, target: Target, field: Field, key: str, before: Slot, after: Slot) -> None:
    """Set a slot, and keep the list of conflicts true to it."""
    if after == before:
        return
    act.draft.put_slot(*field_place(target, field, key), after)
    was, now = (is_conflict(field, slot.siblings) for slot in (before, after))
    if was == now:
        return
    place = keys.conflict(target.kind, target.id, field.name, key)
    entry = ConflictRecord(target.kind, target.id, field.name, key, act.index, act.time_ms) if now else None
    act.draft.put(place, entry)


def is_conflict(field: Field, siblings: Siblings) -> bool:
    """Whether siblings say different things. Two that say the same, written apart, are both kept (merge.keep_all)."""
    if len(siblings) < 2:
        return False
    said = {case_of(held) if field.rule is Rule.ENGAGEMENT else held.value for held in siblings}
    return len(said) > 1


def propose(act: Act, target: Target, field: Field, key: str, value: str, rule: str, at_ms: int = 0) -> VerdictKind:
    """Keep a value beside the one that holds, for whoever is in charge to accept or decline."""
    slot = slot_of(act, target, field, key)
    other = slot.siblings[0].operation if slot.siblings else None
    if all(held.value != value for held in slot.proposed):
        new = act.held(value, False, at_ms)
        put_slot(act, target, field, key, slot, Slot(slot.siblings, (*slot.proposed, new)))
    act.find(target.id, field.name, key, VerdictKind.PROPOSED, rule, other)
    return VerdictKind.PROPOSED


def remember(
    act: Act,
    target: Target,
    field: Field,
    key: str,
    held: Held,
    kind: VerdictKind,
    rule: str,
    by: Held | None = None,
    case: str = "",
) -> None:
    """Keep a value that does not hold (any more). `by`: what holds instead, where it is not this operation's;
    `case`: for a resource, the case in whose history it belongs."""
    if field.name in UNRECORDED:
        return
    operation, index = (by.operation, by.index) if by is not None else (act.operation.id, act.index)
    past = Past(target.kind, target.id, field.name, key, held, kind, rule, operation, index)
    if target.kind == "resource" and not case:
        _remember_in_ring(act, target, past)
        return
    prefix = keys.parts("case", case) if case else target.prefix
    act.draft.put_new(keys.history(prefix, act.index, act.position, act.next_ordinal(), act.operation.id), past)


def _remember_in_ring(act: Act, target: Target, past: Past) -> None:
    place = keys.history_count(target.prefix)
    count = act.draft.load(place, NUMBER) or 0
    act.draft.put(place, count + 1)
    act.draft.put(keys.history_ring(target.prefix, count % RESOURCE_HISTORY), past)


def link(act: Act, case: str, request: str) -> None:
    """The request belongs to the case."""
    place = keys.request_link(keys.parts("case", case), request)
    if not act.draft.has(place):
        act.draft.put(place, request)


def change_head(act: Act, target: Target, **changes: object) -> None:
    put_head(act, target, replace(target.head, **changes))


CASE = FIELDS["case"]
RESOURCE = FIELDS["resource"]
REQUEST = FIELDS["request"]
