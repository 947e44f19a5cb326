"""Which keys each write-back changed: so that a receiver a little behind gets those and not the whole state.

One record per write-back, in its transaction: the applied index before and after, and the keys. The records are few and
large, so a write-back costs one put more however many records it changes. They are bounded in bytes; the oldest goes
first, and `@changed` says from which index on the table is whole (its *reach*) and how many bytes it holds.

    write-backs 10→20 {a, b} and 20→30 {b, c}; the receiver is at 20: {b, c}; at 15: {a, b, c}; at 5: not known

Why not buckets of keys with the last index of each: docs/decisions/0008. Left out: the values. Whoever asks reads them
from the state, where a key that is absent was deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING

from replica.errors import StoreDamaged
from replica.raft.types import Index
from replica.storage.records import Kind, decode_pair, encode_pair, number_key, seal, unseal

if TYPE_CHECKING:
    from replica.storage.environment import Database, Transaction

CHANGED = b"changed"
REACH_KEY = b"@changed"

_SPAN = Struct(">QQ")
_LENGTH = Struct(">H")


def initial_reach(index: Index = 0) -> bytes:
    """What `REACH_KEY` holds in an environment whose write-backs are recorded from `index` on."""
    return encode_pair(Kind.REACH, REACH_KEY, (index, 0))


def begin_anew(txn: Transaction, main: Database, table: Database, index: Index) -> None:
    """The state was replaced as a whole by one as of `index`."""
    txn.drop(table, delete=False)
    txn.put(REACH_KEY, initial_reach(index), db=main)


def note(
    txn: Transaction, main: Database, table: Database, span: tuple[Index, Index], keys: Iterable[bytes], limit: int
) -> None:
    """Record that the write-back from index `span[0]` to `span[1]` changed `keys`; drop the oldest beyond `limit`."""
    body = _SPAN.pack(*span) + b"".join(_LENGTH.pack(len(key)) + key for key in keys)
    if len(body) == _SPAN.size:
        return
    reach, held = _reach(txn, main)
    cursor = txn.cursor(table)
    number = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 0
    key = number_key(number)
    txn.put(key, seal(Kind.CHANGED, key, body), db=table, append=True)
    held += len(body)
    while held > limit and cursor.first():
        oldest = _unsealed(*cursor.item())
        reach, held = _SPAN.unpack_from(oldest)[1], held - len(oldest)
        cursor.delete()
    txn.put(REACH_KEY, encode_pair(Kind.REACH, REACH_KEY, (reach, held)), db=main)


def since(txn: Transaction, main: Database, table: Database, index: Index) -> frozenset[bytes] | None:
    """As `StateStore.changed_since`. Raises `StoreDamaged`."""
    if index < _reach(txn, main)[0]:
        return None
    found: set[bytes] = set()
    for key, sealed in txn.cursor(table):
        body = _unsealed(key, sealed)
        before, after = _SPAN.unpack_from(body)
        if after > index or before >= index:  # the second: written back again at the same index
            found.update(_keys(body))
    return frozenset(found)


def _reach(txn: Transaction, main: Database) -> tuple[Index, int]:
    sealed = txn.get(REACH_KEY, None, main)
    if sealed is None:
        raise StoreDamaged("reach of the changed keys", "it is missing")
    return decode_pair(Kind.REACH, REACH_KEY, sealed, "reach of the changed keys")


def _unsealed(key: bytes, sealed: bytes) -> bytes:
    return unseal(Kind.CHANGED, key, sealed, f"changed keys {int.from_bytes(key, 'big')}")


def _keys(body: bytes) -> Iterator[bytes]:
    place = _SPAN.size
    while place < len(body):
        length = _LENGTH.unpack_from(body, place)[0]
        place += _LENGTH.size
        yield body[place : place + length]
        place += length
