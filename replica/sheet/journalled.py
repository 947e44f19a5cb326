"""Undecided operations as the journal holds them: which of them have no verdict yet, and what each says, for those that
cannot be shown in their place."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from replica.cases import queries
from replica.cases.commands import Opening, Payload, Report
from replica.cases.operations import Operation
from replica.cases.records import Records
from replica.errors import StoreDamaged
from replica.sheet.model import PaperAct

_SUBJECTS = ("case", "resource", "id", "owner", "alias")
_SAYS_NOTHING = (*_SUBJECTS, "note", "role", "epoch")


def undecided(journal: Iterable[Operation], agreed: Records) -> list[Operation]:
    """Somebody's operations that the gate of the agreed state has not passed yet, in order. What the state cannot tell
    for damage counts as undecided."""
    decided: dict[bytes, int] = {}
    found = []
    for operation in journal:
        life = operation.id.incarnation
        if life not in decided:
            decided[life] = _last(agreed, operation)
        if operation.id.seq > decided[life] and not isinstance(operation.payload, Opening):
            found.append(operation)
    return found


def _last(agreed: Records, operation: Operation) -> int:
    try:
        return queries.last_number(agreed, operation.id.site, operation.id.incarnation)
    except StoreDamaged:
        return -1


def paper_acts(operations: Iterable[Operation], subjects: Collection[str] | None = None) -> tuple[PaperAct, ...]:
    """What these operations say, by act time; only of `subjects` where they are given."""
    acts = [
        _act(operation)
        for operation in operations
        if subjects is None or any(name in subjects for name in named(operation.payload))
    ]
    return tuple(sorted(acts, key=lambda act: act.when_ms))


def named(payload: Payload) -> list[str]:
    """The cases and resources an operation speaks of."""
    if isinstance(payload, Report):
        return [
            name for subject in payload.subjects for name in (subject.id or subject.sender_case, subject.case) if name
        ]
    members = msgspec.structs.asdict(payload)
    return [str(members[name]) for name in _SUBJECTS if members.get(name)]


def _act(operation: Operation) -> PaperAct:
    payload = operation.payload
    if isinstance(payload, Report):
        facts = [f"{fact.field} {fact.value}" for subject in payload.subjects for fact in subject.facts]
        act, value = payload.kind, "; ".join(facts)
    else:
        act = str(payload.__struct_config__.tag)
        members = msgspec.structs.asdict(payload)
        value = " ".join(str(said) for name, said in members.items() if name not in _SAYS_NOTHING and said)
    when_ms = operation.act_ms or operation.clock.wall_ms
    return PaperAct(when_ms, operation.author, act, ", ".join(dict.fromkeys(named(payload))), value)
