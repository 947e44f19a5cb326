"""The applied state in LMDB: records and, in the same transaction, the log entry they are the result of.

A crash loses only whole flushes, and the log replays them from `applied`. The local table beside the records is this
node's own (a site's verdicts, its clock): it is flushed together with them and not part of what is compared.

Puts go in as one sorted `putmulti`, since every single put hands the interpreter lock to whoever waits for it.

Left out: caching and the unflushed part (the runtime reads its dirty records before it asks here).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from replica.raft.types import Index, Term
from replica.storage.contract import MAX_KEY_BYTES, StateFlush, StateJob, StateReplaceAll
from replica.storage.environment import MAIN, Environment
from replica.storage.records import Kind, decode_pair, encode_pair, seal, unseal

if TYPE_CHECKING:
    from replica.storage.environment import Database, Transaction

RECORDS = b"records"
LOCAL = b"local"
APPLIED_KEY = b"@applied"

SCAN_RECORDS = 1000
SCAN_BYTES = 1 << 20
"""One portion of a scan: it ends after this many records or bytes, whichever comes first."""


def initial_state_records() -> dict[bytes, bytes]:
    """What a new state environment holds."""
    return {APPLIED_KEY: encode_pair(Kind.APPLIED, APPLIED_KEY, (0, 0))}


class LmdbState:
    """`contract.StateStore` on one environment."""

    def __init__(self, env: Environment, commit: Callable[[Sequence[StateJob]], Sequence[StateJob]]) -> None:
        self._env = env
        self._commit = commit
        self._main = env.database(MAIN)
        self._tables = {Kind.STATE: env.database(RECORDS), Kind.LOCAL: env.database(LOCAL)}

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
        return decode_pair(Kind.APPLIED, APPLIED_KEY, self._env.fixed(APPLIED_KEY), "applied index and term")

    def is_untouched(self) -> bool:
        """Whether no entry was ever applied here."""
        return self._env.fixed(APPLIED_KEY) == initial_state_records()[APPLIED_KEY]

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

    # --- inside the transaction of the environment ---

    def write(self, txn: Transaction, jobs: Sequence[StateJob]) -> None:
        """Write several jobs as one: each key once, with its last value."""
        changes: dict[bytes, bytes | None] = {}
        local: dict[bytes, bytes | None] = {}
        for job in jobs:
            match job:
                case StateFlush(changed):
                    changes |= changed
                case StateReplaceAll(records):
                    changes = dict(records)
                    txn.drop(self._tables[Kind.STATE], delete=False)
            local |= job.local
        self._change(txn, Kind.STATE, changes)
        self._change(txn, Kind.LOCAL, local)
        if jobs:
            txn.put(APPLIED_KEY, encode_pair(Kind.APPLIED, APPLIED_KEY, jobs[-1].applied), db=self._main)

    def _change(self, txn: Transaction, kind: Kind, changes: Mapping[bytes, bytes | None]) -> None:
        table = self._tables[kind]
        puts = []
        for key in sorted(changes):
            assert 0 < len(key) <= MAX_KEY_BYTES, f"a key of {len(key)} bytes, the limit is {MAX_KEY_BYTES}: {key!r}"
            value = changes[key]
            if value is None:
                txn.delete(key, db=table)
            else:
                puts.append((key, seal(kind, key, value)))
        txn.cursor(table).putmulti(puts)

    # --- details ---

    def _get(self, kind: Kind, key: bytes) -> bytes | None:
        sealed = self._env.get(self._tables[kind], key)
        return None if sealed is None else unseal(kind, key, sealed, _named(kind, key))

    def _scan(self, kind: Kind, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        start: bytes | None = prefix
        while start is not None:
            portion, start = self._portion(self._tables[kind], prefix, start)
            for key, sealed in portion:
                yield key, unseal(kind, key, sealed, _named(kind, key))

    def _portion(self, table: Database, prefix: bytes, start: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """The next records, still sealed, and where to go on; None at the end."""
        found: list[tuple[bytes, bytes]] = []
        size = 0
        with self._env.read() as txn:
            cursor = txn.cursor(table)
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
