"""What a site's journal has let go of and still remembers for a while: the table beside it in LMDB.

A record goes from the journal once the flushed state has it. But a cluster that is founded anew may go on from a state
that has it no more, and then nobody else can offer it again. So a trim may move records here instead of deleting them:
under their old position, with the wall time of the move. They are read only on that day, from one end to the other, and
forgotten oldest first. A record that is damaged here is passed over: it is one that cannot be offered.

One table, *past*: position → wall time, incarnation, seq, payload; and one record of its length and bytes in the main
database, so that opening a store does not read a week's worth of it.

Left out: for how long and how much is remembered (runtime), and what is made of it (replica/offline).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from replica.storage.contract import JournalRecord
from replica.storage.environment import MAIN, Environment
from replica.storage.records import SUM_BYTES, Kind, decode_pair, encode_pair, is_sound, key_number, number_key, seal

if TYPE_CHECKING:
    from replica.storage.environment import Transaction

PAST = b"journal past"
ENDS_KEY = b"@journal past"

_HEAD = Struct(">Q16sQ")
_HEADER_BYTES = SUM_BYTES + _HEAD.size


@dataclass(frozen=True, slots=True)
class PastEnds:
    """How much is remembered."""

    length: int = 0
    payload_bytes: int = 0


class Past:
    """The table. None of its methods commits; a store that is only read may be without it."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._main = env.database(MAIN)
        self._table = env.database_if_any(PAST)

    def measure(self) -> PastEnds:
        """How much there is, when the store is opened."""
        if self._table is None:
            return PastEnds()
        with self._env.read() as txn:
            sealed = txn.get(ENDS_KEY, None, self._main)
            if sealed is not None and is_sound(Kind.PAST_ENDS, ENDS_KEY, sealed):
                return PastEnds(*decode_pair(Kind.PAST_ENDS, ENDS_KEY, sealed, "size of the journal's past"))
            sizes = [len(value) - _HEADER_BYTES for _, value in txn.cursor(self._table)]
        return PastEnds(len(sizes), sum(sizes))

    def read(self, after_position: int, limit: int) -> list[JournalRecord]:
        """As `JournalStore.read_past`."""
        found: list[JournalRecord] = []
        if self._table is None:
            return found
        with self._env.read() as txn:
            cursor = txn.cursor(self._table)
            cursor.set_range(number_key(after_position + 1))
            while cursor.key() and len(found) < limit:
                key, sealed = cursor.item()
                if is_sound(Kind.PAST, key, sealed):
                    _, incarnation, seq = _HEAD.unpack_from(sealed, SUM_BYTES)
                    found.append(JournalRecord(key_number(key), incarnation, seq, sealed[_HEADER_BYTES:]))
                cursor.next()
        return found

    def remember(self, txn: Transaction, records: Iterable[JournalRecord], at_ms: int, ends: PastEnds) -> PastEnds:
        """Put records here that go from the journal in the same transaction."""
        assert self._table is not None, "a store that is written has all its tables"
        puts, added = [], 0
        for record in records:
            key = number_key(record.position)
            head = _HEAD.pack(at_ms, record.incarnation, record.seq)
            puts.append((key, seal(Kind.PAST, key, head + record.payload)))
            added += len(record.payload)
        if not puts:
            return ends
        txn.cursor(self._table).putmulti(sorted(puts))
        return self._counted(txn, PastEnds(ends.length + len(puts), ends.payload_bytes + added))

    def forget(
        self, txn: Transaction, before_ms: int, most_bytes: int, room: int, ends: PastEnds
    ) -> tuple[PastEnds, bool]:
        """Delete the oldest, `room` of them at most; and whether there are more to be deleted."""
        assert self._table is not None, "a store that is written has all its tables"
        cursor = txn.cursor(self._table)
        cursor.first()
        left = ends
        while cursor.key():
            key, sealed = cursor.item()
            if left.payload_bytes <= most_bytes and _at_ms(key, sealed) >= before_ms:
                break
            if ends.length - left.length >= room:
                return self._counted(txn, left), True
            left = PastEnds(left.length - 1, left.payload_bytes - (len(sealed) - _HEADER_BYTES))
            cursor.delete()
        else:
            left = PastEnds()
        return left if left == ends else self._counted(txn, left), False

    def _counted(self, txn: Transaction, ends: PastEnds) -> PastEnds:
        pair = (ends.length, ends.payload_bytes)
        txn.put(ENDS_KEY, encode_pair(Kind.PAST_ENDS, ENDS_KEY, pair), db=self._main)
        return ends


def _at_ms(key: bytes, sealed: bytes) -> int:
    """When it was put here; 0, older than all, for what cannot be read."""
    if not is_sound(Kind.PAST, key, sealed):
        return 0
    at_ms: int = _HEAD.unpack_from(sealed, SUM_BYTES)[0]
    return at_ms
