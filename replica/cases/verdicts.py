"""What became of an operation: one verdict each, the same on every replica, decided when it is applied."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from replica.cases.operations import OperationId


class VerdictKind(Enum):
    """In rising order of how much a person ought to know of it; an operation on several fields gets its highest."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    MERGED = "merged"
    PROPOSED = "proposed"
    SUPERSEDED = "superseded"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Finding(Struct, frozen=True, array_like=True):
    """What one rule said of one field of the operation. `other`: the operation it met, where there is one."""

    subject: str
    field: str
    key: str
    kind: VerdictKind
    rule: str
    other: OperationId | None = None


class Verdict(Struct, frozen=True, array_like=True):
    """`findings` name what differs from plain `applied`; `reason` says in words why an operation was refused."""

    kind: VerdictKind
    findings: tuple[Finding, ...] = ()
    reason: str = ""


class Decided(Struct, frozen=True, array_like=True):
    id: OperationId
    verdict: Verdict


class Effects(Struct, frozen=True, array_like=True):
    """All that one entry of the agreed log did: verdicts in the order of its operations, and the records that changed
    (None: the record is gone). Sites put these records in place; they never decide again what is agreed.

    `held` names operations the gate let pass without using their number (gap, stale, closed: rules 5 and 6), as hints.
    """

    index: int
    term: int
    time_ms: int
    decided: tuple[Decided, ...]
    changes: tuple[tuple[bytes, bytes | None], ...]
    held: tuple[tuple[OperationId, str], ...] = ()
