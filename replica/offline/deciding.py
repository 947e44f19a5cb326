"""A verdict on an own operation, put together with what the operation was: for the people who did it.

Leaves out: where it is kept (runtime).
"""

from __future__ import annotations

from replica.cases.authority import subject_of
from replica.cases.commands import Opening, Payload, Report, Tombstone
from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import Verdict
from replica.offline.events import Decision


def decision_of(
    operation: Operation | None, ident: OperationId, index: int, verdict: Verdict, agreed_ms: int
) -> Decision:
    """`operation`: as the journal holds it; None where it does not any more."""
    if operation is None:
        return Decision(ident, index, verdict, agreed_ms)
    act, subject = _act(operation.payload), _subject(operation.payload)
    return Decision(ident, index, verdict, agreed_ms, act, subject, operation.author, operation.act_ms)


def _act(payload: Payload) -> str:
    return payload.kind if isinstance(payload, Report) else str(payload.__struct_config__.tag)


def _subject(payload: Payload) -> str:
    """What a person would look for it under: a case before a resource, a Samu where it is about its work."""
    of_case: str = getattr(payload, "case", "")
    if of_case:
        return of_case
    match payload:
        case Opening() | Tombstone():
            return ""
        case Report():
            named = sorted(payload.subjects, key=lambda one: one.kind != "case")
            return next((one.case or one.id for one in named), "")
        case _:
            about = subject_of(payload)
            return about[1] if about is not None else str(getattr(payload, "owner", ""))
