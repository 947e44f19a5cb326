"""The applied state in LMDB: records and, in the same transaction, the log entry they are the result of.

A crash loses only whole flushes, and the log replays them from `applied`. The local table beside the records is this
node's own (a site's verdicts, its clock): it is flushed together with them and not part of what is compared.

Puts go in as one sorted `putmulti`, since every single put hands the interpreter lock to whoever waits for it.

Left out: caching and the unflushed part (the runtime reads its dirty records before it asks here).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from replica.raft.types import Index, Term
from replica.storage import changed
from replica.storage.changed import CHANGED, REACH_KEY, initial_reach
from replica.storage.contract import MAX_KEY_BYTES, StateFlush, StateJob, StateReplaceAll
from replica.storage.environment import MAIN, Environment, EnvironmentClosed
from replica.storage.records import SUM_BYTES, Kind, decode_pair, encode_pair, is_sound, seal, unseal

if TYPE_CHECKING:
    from replica.storage.environment import Database, Transaction

RECORDS = b"records"
LOCAL = b"local"
APPLIED_KEY = b"@applied"

SCAN_RECORDS = 1000
SCAN_BYTES = 1 << 20
"""One portion of a scan: it ends after this many records or bytes, whichever comes first."""

T = TypeVar("T")


def initial_state_records() -> dict[bytes, bytes]:
    """What a new state environment holds."""
    return {APPLIED_KEY: encode_pair(Kind.APPLIED, APPLIED_KEY, (0, 0)), REACH_KEY: initial_reach()}


@dataclass(frozen=True, slots=True)
class Tables:
    """One environment and the handles of its tables: what a `LmdbState` reads now."""

    env: Environment
    main: Database
    records: Database
    local: Database
    changed: Database | None
    """None in a store of format 1 that is only read."""

    def of(self, kind: Kind) -> Database:
        return self.records if kind is Kind.STATE else self.local


def tables_of(env: Environment) -> Tables:
    return Tables(
        env, env.database(MAIN), env.database(RECORDS), env.database(LOCAL), env.database_if_any(CHANGED)
    )  # fmt: skip


class LmdbState:
    """`contract.StateStore` on one environment at a time."""

    def __init__(
        self, env: Environment, commit: Callable[[Sequence[StateJob]], Sequence[StateJob]], changed_bytes: int
    ) -> None:
        self._tables = tables_of(env)
        self._commit = commit
        self._changed_bytes = changed_bytes

    @property
    def env(self) -> Environment:
        """The environment in use."""
        return self._tables.env

    def switch(self, env: Environment) -> Environment:
        """From now on read and write `env`. Returns the one before; the caller closes it."""
        before, self._tables = self._tables, tables_of(env)
        return before.env

    def copy(self, to: Path) -> None:
        """`Environment.copy` of the state in use."""
        self._on_current(lambda tables: tables.env.copy(to))

    # --- reading ---

    def get(self, key: bytes) -> bytes | None:
        return self._get(Kind.STATE, key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._scan(Kind.STATE, prefix)

    def local_get(self, key: bytes) -> bytes | None:
        return self._get(Kind.LOCAL, key)

    def local_scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._scan(Kind.LOCAL, prefix)

    def applied(self) -> tuple[Index, Term]:
        return decode_applied(self._on_current(lambda tables: tables.env.fixed(APPLIED_KEY)))

    def changed_since(self, index: Index) -> frozenset[bytes] | None:
        return self._on_current(lambda tables: _changed_since(tables, index))

    def is_untouched(self) -> bool:
        """Whether no entry was ever applied here."""
        return self.applied() == (0, 0)

    # --- one job, one transaction ---

    def flush(
        self,
        changes: Mapping[bytes, bytes | None] | Iterable[tuple[bytes, bytes | None]],
        applied: tuple[Index, Term],
        local: Mapping[bytes, bytes | None] | None = None,
    ) -> None:
        self._commit([StateFlush(dict(changes), applied, local or {})])

    def replace_all(
        self,
        records: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]],
        applied: tuple[Index, Term],
        local: Mapping[bytes, bytes | None] | None = None,
    ) -> None:
        self._commit([StateReplaceAll(dict(records), applied, local or {})])

    def commit(self, jobs: Sequence[StateJob]) -> None:
        """Write several jobs as one transaction: each key once, with its last value."""
        if jobs:
            self._on_current(
                lambda tables: tables.env.write(lambda txn: self._write(txn, tables, jobs), lambda _: None)
            )

    # --- inside the transaction of the environment ---

    def _write(self, txn: Transaction, tables: Tables, jobs: Sequence[StateJob]) -> None:
        applied = decode_applied(txn.get(APPLIED_KEY, b"", tables.main))
        begun = applied[0]
        changes: dict[bytes, bytes | None] = {}
        noted: set[bytes] = set()
        local: dict[bytes, bytes | None] = {}
        for job in jobs:
            match job:
                case StateFlush(changed_records):
                    check_order(applied, job.applied)
                    changes |= changed_records
                    noted.update(changed_records)
                case StateReplaceAll(records):
                    self._empty(txn, tables, job.applied[0])
                    changes, noted, begun = dict(records), set(), job.applied[0]
            local |= job.local
            applied = job.applied
        change(txn, tables, Kind.STATE, changes)
        change(txn, tables, Kind.LOCAL, local)
        put_applied(txn, tables, applied)
        table = _written(tables.changed)
        changed.note(txn, tables.main, table, (begun, applied[0]), sorted(noted), self._changed_bytes)

    def _empty(self, txn: Transaction, tables: Tables, index: Index) -> None:
        txn.drop(tables.records, delete=False)
        changed.begin_anew(txn, tables.main, _written(tables.changed), index)

    # --- details ---

    def _on_current(self, ask: Callable[[Tables], T]) -> T:
        while True:
            tables = self._tables
            try:
                return ask(tables)
            except EnvironmentClosed:
                if tables is self._tables:
                    raise

    def _get(self, kind: Kind, key: bytes) -> bytes | None:
        while True:
            tables = self._tables
            try:
                sealed = tables.env.get(tables.records if kind is Kind.STATE else tables.local, key)
            except EnvironmentClosed:
                if tables is self._tables:
                    raise
                continue  # it was replaced by another just now
            if sealed is None or is_sound(kind, key, sealed):
                return sealed and sealed[SUM_BYTES:]
            return unseal(kind, key, sealed, _named(kind, key))

    def _scan(self, kind: Kind, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        start: bytes | None = prefix
        while start is not None:
            portion, start = self._portion(kind, prefix, start)
            for key, sealed in portion:
                yield key, unseal(kind, key, sealed, _named(kind, key))

    def _portion(self, kind: Kind, prefix: bytes, start: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """The next records, still sealed, and where to go on; None at the end."""
        return self._on_current(lambda tables: _portion(tables, kind, prefix, start))


def check_order(applied: tuple[Index, Term], to: tuple[Index, Term]) -> None:
    """A write-back of an older state than the one that is there: it was queued before that one was installed."""
    sound = to[0] > applied[0] or to == applied
    assert sound, f"a write-back as of {to} on a state as of {applied}"


def change(txn: Transaction, tables: Tables, kind: Kind, changes: Mapping[bytes, bytes | None]) -> None:
    """Put and delete records in their tables, in one sorted walk."""
    table = tables.of(kind)
    puts = []
    for key in sorted(changes):
        assert 0 < len(key) <= MAX_KEY_BYTES, f"a key of {len(key)} bytes, the limit is {MAX_KEY_BYTES}: {key!r}"
        value = changes[key]
        if value is None:
            txn.delete(key, db=table)
        else:
            puts.append((key, seal(kind, key, value)))
    txn.cursor(table).putmulti(puts)


def put_applied(txn: Transaction, tables: Tables, applied: tuple[Index, Term]) -> None:
    txn.put(APPLIED_KEY, encode_pair(Kind.APPLIED, APPLIED_KEY, applied), db=tables.main)


def decode_applied(sealed: bytes) -> tuple[Index, Term]:
    return decode_pair(Kind.APPLIED, APPLIED_KEY, sealed, "applied index and term")


def _written(table: Database | None) -> Database:
    assert table is not None, "a store that is written has all its tables"
    return table


def _changed_since(tables: Tables, index: Index) -> frozenset[bytes] | None:
    if tables.changed is None:
        return None
    with tables.env.read() as txn:
        return changed.since(txn, tables.main, tables.changed, index)


def _portion(tables: Tables, kind: Kind, prefix: bytes, start: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    found: list[tuple[bytes, bytes]] = []
    size = 0
    with tables.env.read() as txn:
        cursor = txn.cursor(tables.of(kind))
        if not cursor.set_range(start):
            return found, None
        for key, sealed in cursor:
            if not key.startswith(prefix):
                return found, None
            found.append((key, sealed))
            size += len(sealed)
            if len(found) >= SCAN_RECORDS or size >= SCAN_BYTES:
                return found, key + b"\0"
    return found, None


def _named(kind: Kind, key: bytes) -> str:
    return f"{kind.value.decode()} {key!r}"
