"""What the stores of stopped nodes hold, read from disk: nothing here asks a process, and nothing is written.

Of every node: its records, with their digest taken anew from the records themselves; for each operation, whether the
gate in those records has counted it; and how often a case's history judges it. Of a site besides: the verdicts it keeps
on its own operations. Of a zone besides: its log, applied once more from the first entry on an empty state, which says
what became of each operation, how often, and what the records ought to be.

Left out: the judgement (audit.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from replica.cases import digest, keys, queries
from replica.cases.machine import apply
from replica.cases.operations import OperationId
from replica.cases.records import Empty, Overlay, Records
from replica.cases.state import JUDGED, STREAM
from replica.cases.verdicts import VerdictKind
from replica.demo.supervisor import Plan
from replica.errors import StoreError
from replica.raft.types import EntryKind
from replica.runtime.site import decision_key
from replica.storage import Store, open_store, peek_identity
from replica.wire.operation_codec import decode_batch, decode_verdict


@dataclass(slots=True)
class LogRead:
    """A zone's log, applied from its first entry to the applied index of its state."""

    decided: Counter[str] = field(default_factory=Counter)
    """Operation → how often it got a verdict of its own (a repetition that the gate turns away gets none)."""
    kinds: dict[str, str] = field(default_factory=dict)
    by_key: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """(site, caller's key) → the operations that carried it and took effect."""
    digest: str = ""
    """Of the records that this log gives."""
    whole: bool = True
    """Whether the log begins at the first entry; else the rest of this says nothing."""


@dataclass(slots=True)
class StoreRead:
    """One node's store."""

    node: str
    role: str
    applied: int = 0
    digest: str = ""
    """Taken from the records themselves."""
    kept_digest: str = ""
    """As the node kept it while it ran."""
    counted: dict[tuple[str, bytes], int] = field(default_factory=dict)
    """(site, incarnation) → the last number the gate has counted."""
    judged: Counter[str] = field(default_factory=Counter)
    """Operation → how often the history of one case, resource or request holds a verdict on it, at most."""
    own: dict[str, str] = field(default_factory=dict)
    """Of a site: own operation → the kind of the verdict it keeps."""
    undecided: int = 0
    """Of a site: records of its journal that the gate has not counted."""
    conflicts: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    log: LogRead | None = None
    problem: str = ""
    """Why it could not be read; empty where it was."""

    def has(self, operation: OperationId) -> bool:
        """Whether its state has counted this operation."""
        return self.counted.get((operation.site, operation.incarnation), -1) >= operation.seq


def read_stores(folder: Path, plan: Plan, operations: Iterable[str]) -> list[StoreRead]:
    """Every node's store under `folder`. One that cannot be read is there too, with its problem."""
    wanted = sorted(operations)
    return [_read(folder / name, name, wanted) for name in (*plan.zone_names, *plan.site_names)]


def _read(folder: Path, name: str, operations: list[str]) -> StoreRead:
    try:
        identity = peek_identity(folder)
        with open_store(folder, identity, create=False, read_only=True) as store:
            return read_store(store, name, operations)
    except StoreError as problem:
        return StoreRead(name, "", problem=f"{type(problem).__name__}: {problem}")


def read_store(store: Store, name: str, operations: Iterable[str]) -> StoreRead:
    """One open store. Raises StoreDamaged where something in it fails its checksum."""
    state, role = store.state, store.identity.role
    read = StoreRead(name, role, store.state.applied()[0])
    read.digest, read.kept_digest = digest_of(state), queries.digest(state)
    read.conflicts = tuple(_conflict(view) for view in queries.list_conflicts(state))
    read.judged = _judged(state)
    for operation in map(OperationId.parse, operations):
        _count(state, read.counted, operation)
        own = state.local_get(decision_key(operation)) if operation.site == name else None
        if own is not None:
            read.own[str(operation)] = decode_verdict(own[8:]).kind.value
    if role == "zone":
        read.log = _replay(store, read.applied)
    else:
        read.undecided = _undecided(store, name, read)
    return read


def digest_of(records: Records) -> str:
    """One digest over all records but the digests kept among them, which may not be trusted here."""
    total = digest.ZERO
    for key, value in records.scan(b""):
        if digest.is_covered(key):
            total = digest.add(total, digest.term(key, value))
    return total.hex()


def _count(state: Records, counted: dict[tuple[str, bytes], int], operation: OperationId) -> None:
    name = (operation.site, operation.incarnation)
    if name not in counted:
        record = state.get(keys.stream(*name))
        counted[name] = -1 if record is None else STREAM.decode(record).last


def _judged(state: Records) -> Counter[str]:
    """Verdicts in the histories of cases, resources and requests: `prefix name 0 v …`."""
    found: Counter[tuple[bytes, OperationId]] = Counter()
    for kind in sorted(keys.PARTS.values()):
        for key, value in state.scan(kind):
            subject, _, part = key.partition(b"\0")
            if part.startswith(b"v"):
                found[subject, JUDGED.decode(value).operation] += 1
    most: Counter[str] = Counter()
    for (_, operation), times in found.items():
        most[str(operation)] = max(most[str(operation)], times)
    return most


def _undecided(store: Store, site: str, read: StoreRead) -> int:
    """A journal keeps what is counted until it is trimmed; what is not counted has no verdict yet."""
    waiting = position = 0
    while records := store.journal.read(position):
        for record in records:
            position = record.position
            operation = OperationId(site, record.incarnation, record.seq)
            _count(store.state, read.counted, operation)
            waiting += not read.has(operation)
    return waiting


def _replay(store: Store, applied: int) -> LogRead:
    read, records = LogRead(), Overlay(Empty())
    first = store.log.first_index()
    if first != 1:
        return LogRead(whole=False)
    for index in range(first, applied + 1):
        (entry,) = store.log.entries(index, index, 1 << 30)
        if entry.kind is not EntryKind.DATA:
            continue
        batch = decode_batch(entry.data)
        effects = apply(records, batch, entry.index, entry.term)
        records.update(dict(effects.changes))
        carried = {operation.id: operation.key for operation in batch.operations}
        for decided in effects.decided:
            _note(read, decided.id, decided.verdict.kind, carried.get(decided.id, ""))
    read.digest = digest_of(records)
    return read


def _note(read: LogRead, operation: OperationId, kind: VerdictKind, key: str) -> None:
    name = str(operation)
    read.decided[name] += 1
    read.kinds[name] = kind.value
    if key and kind is not VerdictKind.DUPLICATE:
        read.by_key.setdefault((operation.site, key), set()).add(name)


def _conflict(view: queries.ConflictView) -> tuple[str, str, tuple[str, ...]]:
    """(what it is about, field, values with who said them, the one that holds first)."""
    read = case_served if view.field == "engagement" else str
    values = tuple(f"{read(value.value)} ({value.author})" for value in view.values)
    return f"{view.subject} {view.id}", f"{view.field} {view.key}".strip(), values


def case_served(engagement: str) -> str:
    """An engagement for a person: the case, where the value names one."""
    try:
        return f"serves {msgspec.json.decode(engagement, type=dict[str, Any])['case']}"
    except (msgspec.DecodeError, KeyError):
        return engagement
