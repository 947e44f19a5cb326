"""The membership entries of the log once more, in a table of their own: whoever starts asks for them before all else.

They are among the entries, and few among many. So the table follows the log in every transaction: what is cut off there
is cut off here, and of what is compacted the newest one stays, since it is in force until the next.

Left out: what the bytes mean (replica/raft/membership.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from replica.raft.types import Entry, EntryKind, Index
from replica.storage.records import Kind, key_number, number_key, seal, unseal

if TYPE_CHECKING:
    import lmdb

    from replica.storage.environment import Database, Transaction

MEMBERSHIPS = b"memberships"


def append(txn: Transaction, table: Database, entries: Sequence[Entry]) -> None:
    """Keep those of `entries` that are memberships."""
    for entry in entries:
        if entry.kind is EntryKind.MEMBERSHIP:
            put(txn, table, (entry.index, entry.data))


def put(txn: Transaction, table: Database, membership: tuple[Index, bytes]) -> None:
    key = number_key(membership[0])
    txn.put(key, seal(Kind.MEMBERSHIP, key, membership[1]), db=table)


def cut(txn: Transaction, table: Database, first: Index) -> None:
    """The entries from `first` on were replaced."""
    cursor = txn.cursor(table)
    if cursor.set_range(number_key(first)):
        while cursor.key():
            cursor.delete()


def compact(txn: Transaction, table: Database, through: Index) -> None:
    """The entries up to `through` were dropped: of theirs keep the newest."""
    cursor = txn.cursor(table)
    if not cursor.first():
        return
    below = [index for index in _indexes(cursor) if index <= through]
    for index in below[:-1]:
        txn.delete(number_key(index), db=table)


def reset(txn: Transaction, table: Database, index: Index, membership: tuple[Index, bytes] | None) -> None:
    """The log begins anew after `index`, under `membership` (None, or one of index 0: none was ever agreed)."""
    txn.drop(table, delete=False)
    if membership is not None and membership[0] > 0:
        assert membership[0] <= index, f"membership {membership[0]} of a log that begins after {index}"
        put(txn, table, membership)


def read(txn: Transaction, table: Database, floor: Index) -> tuple[tuple[Index, bytes], ...]:
    """As `LogReader.memberships`, of a log that begins after `floor`. Raises `StoreDamaged` with the index."""
    held = [(key_number(key), _unsealed(key, sealed)) for key, sealed in txn.cursor(table)]
    below = [each for each in held if each[0] <= floor]
    return (*below[-1:], *held[len(below) :])


def _indexes(cursor: lmdb.Cursor[bytes]) -> Iterator[Index]:
    return (key_number(key) for key in cursor.iternext(keys=True, values=False))


def _unsealed(key: bytes, sealed: bytes) -> bytes:
    return unseal(Kind.MEMBERSHIP, key, sealed, f"membership {key_number(key)}")
