"""Every stored value carries a checksum, and every reading checks it: LMDB itself does not notice a flipped bit.

The checksum is BLAKE2b cut to 8 bytes, over what the record is, the key it lies under, and its bytes. With kind and key
inside, a sound record in the wrong place (a page written to another page's address, a journal record read as an entry)
fails as a flipped bit does. Why not CRC-32: it misses one random damage in 4 * 10^9, and a hundred nodes over years
read more records than that; and CRC is linear, so damage in key and body can cancel out. BLAKE2b-8 costs 0.8 µs for
256 bytes, CRC-32 0.3 µs; a commit costs 200 µs.

Left out: protection from people. The sum has no key, so whoever can write the file can also make sums.
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from struct import Struct

from replica.errors import StoreDamaged, StoreError
from replica.raft.types import Entry, EntryKind, HardState, Index

SUM_BYTES = 8


class Kind(Enum):
    """What a record is: part of what is summed. On disk by its effect, so never renamed."""

    IDENTITY = b"identity"
    ENTRY = b"log entry"
    HARD_STATE = b"hard state"
    COMMIT = b"commit hint"
    FLOOR = b"log floor"
    JOURNAL = b"journal record"
    JOURNAL_PLACE = b"journal place"
    INCARNATION = b"incarnation"
    KNOWN = b"incarnations"
    STATE = b"state record"
    LOCAL = b"local value"
    APPLIED = b"applied"
    MEMBERSHIP = b"membership"
    POINTER = b"state folder"
    CHANGED = b"changed keys"
    REACH = b"changed reach"
    MANIFEST = b"manifest"
    PAST = b"journal past"
    PAST_ENDS = b"journal past sum"


_BEGUN = {kind: blake2b(digest_size=SUM_BYTES, person=kind.value) for kind in Kind}
_LENGTH = Struct(">H")


def _sum(kind: Kind, key: bytes, body: bytes) -> bytes:
    summed = _BEGUN[kind].copy()
    summed.update(_LENGTH.pack(len(key)) + key)  # the length says where the key ends and the body begins
    summed.update(body)
    return summed.digest()


def seal(kind: Kind, key: bytes, body: bytes) -> bytes:
    """What is stored under `key`: the checksum, then the body."""
    return _sum(kind, key, body) + body


def is_sound(kind: Kind, key: bytes, sealed: bytes) -> bool:
    """Whether the checksum holds."""
    return len(sealed) >= SUM_BYTES and _sum(kind, key, sealed[SUM_BYTES:]) == sealed[:SUM_BYTES]


def unseal(kind: Kind, key: bytes, sealed: bytes, name: str) -> bytes:
    """The body. Raises `StoreDamaged` with `name` as the record where the checksum fails."""
    body = sealed[SUM_BYTES:]
    if len(sealed) < SUM_BYTES or _sum(kind, key, body) != sealed[:SUM_BYTES]:
        raise StoreDamaged(name, "its checksum does not match its bytes")
    return body


# --- numbers as keys ---

_NUMBER = Struct(">Q")


def number_key(number: int) -> bytes:
    """Eight bytes, big-endian: LMDB orders keys as bytes, so numbers come in their order."""
    return _NUMBER.pack(number)


def key_number(key: bytes) -> int:
    """Back from `number_key`. Raises `StoreDamaged` for a key of another length."""
    if len(key) != _NUMBER.size:
        raise StoreDamaged(f"key {key!r}", "it should have 8 bytes")
    number: int = _NUMBER.unpack(key)[0]
    return number


# --- fixed layouts ---

_ENTRY = Struct(">QBQ")
"""Term, kind with `_COUNTED`, and how many bytes of data the log has up to and including this entry. LMDB keeps the
length of the data, and the sum covers all of it."""
_ENTRY_1 = Struct(">QB")
"""As release 1 wrote it."""
_COUNTED = 0x80
_HARD_STATE = Struct(">QQB")
_PAIR = Struct(">QQ")
_TRIPLE = Struct(">QQQ")


def encode_entry(entry: Entry, end_bytes: int) -> bytes:
    """The sealed value of an entry, to be stored under its index.

    `end_bytes` counts the data of this entry and of all before it, from where the count began. It only ever serves as
    the difference of two of them: what lies between two entries is known without reading what lies between.
    """
    return seal(
        Kind.ENTRY, number_key(entry.index), _ENTRY.pack(entry.term, entry.kind | _COUNTED, end_bytes) + entry.data
    )


def decode_entry(index: Index, sealed: bytes) -> Entry:
    """Raises `StoreDamaged` naming `(index, term)`, with the term as it is readable now."""
    return decode_counted_entry(index, sealed)[0]


def decode_counted_entry(index: Index, sealed: bytes) -> tuple[Entry, int | None]:
    """The entry and its `end_bytes`; None for one that release 1 wrote. Raises as `decode_entry` does."""
    term = int.from_bytes(sealed[SUM_BYTES : SUM_BYTES + 8], "big")
    name = f"log entry ({index}, {term})"
    body = unseal(Kind.ENTRY, number_key(index), sealed, name)
    kind = body[8] & ~_COUNTED
    if kind not in EntryKind._value2member_map_:
        raise StoreError(f"{name}: its kind {kind} is not known to this release: use a newer one")
    if body[8] == kind:
        return Entry(index, term, EntryKind(kind), body[_ENTRY_1.size :]), None
    return Entry(index, term, EntryKind(kind), body[_ENTRY.size :]), _ENTRY.unpack_from(body)[2]


def encode_hard_state(key: bytes, hard: HardState) -> bytes:
    return seal(Kind.HARD_STATE, key, _HARD_STATE.pack(hard.term, hard.vote, hard.rebuilding))


def decode_hard_state(key: bytes, sealed: bytes) -> HardState:
    term, vote, rebuilding = _HARD_STATE.unpack(unseal(Kind.HARD_STATE, key, sealed, "hard state (term and vote)"))
    return HardState(term, vote, bool(rebuilding))


def encode_pair(kind: Kind, key: bytes, pair: tuple[int, int]) -> bytes:
    """An (index, term)."""
    return seal(kind, key, _PAIR.pack(*pair))


def decode_pair(kind: Kind, key: bytes, sealed: bytes, name: str) -> tuple[int, int]:
    first, second = _PAIR.unpack(unseal(kind, key, sealed, name))
    return first, second


def encode_number(kind: Kind, key: bytes, number: int) -> bytes:
    return seal(kind, key, _NUMBER.pack(number))


def decode_number(kind: Kind, key: bytes, sealed: bytes, name: str) -> int:
    return key_number(unseal(kind, key, sealed, name))


def encode_counter(key: bytes, counter: tuple[int, int, int]) -> bytes:
    """Of one incarnation: its place in the order of openings, its last seq, the journal position of that."""
    return seal(Kind.INCARNATION, key, _TRIPLE.pack(*counter))


def decode_counter(key: bytes, sealed: bytes, name: str) -> tuple[int, int, int]:
    order, last_seq, position = _TRIPLE.unpack(unseal(Kind.INCARNATION, key, sealed, name))
    return order, last_seq, position


def encode_floor(key: bytes, floor: tuple[int, int, int]) -> bytes:
    """Where the log begins: (index, term) of the entry before the first one, and its `end_bytes`."""
    return seal(Kind.FLOOR, key, _TRIPLE.pack(*floor))


def decode_floor(key: bytes, sealed: bytes) -> tuple[int, int, int]:
    body = unseal(Kind.FLOOR, key, sealed, "log floor")
    if len(body) == _PAIR.size:  # as release 1 wrote it
        return (*_PAIR.unpack(body), 0)
    index, term, end_bytes = _TRIPLE.unpack(body)
    return index, term, end_bytes
