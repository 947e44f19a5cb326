"""A digest of the state that does not depend on the order in which records came: a sum of keyed hashes, modulo 2^128.

Each record adds one number; a change subtracts the old record's and adds the new one's. So two replicas compare at
one index in constant time, and the digest of one owner moves with a case when the case is handed over. Covered is
every record but the digests themselves: streams, verdicts, registry and charges stand under the owner ""
(nobody's), parts of a case, resource or request under its owner.

Left out: protection from an adversary who can choose records freely (a sum can be steered); replicas trust each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from replica.cases import keys
from replica.cases.records import Records
from replica.cases.state import HEAD

_BEGUN = blake2b(digest_size=16, key=b"replica state")
_MODULUS = 1 << 128
ZERO = bytes(16)


def term(key: bytes, value: bytes) -> int:
    """What one record adds to the sum."""
    hashed = _BEGUN.copy()
    hashed.update(len(key).to_bytes(4, "big") + key + value)
    return int.from_bytes(hashed.digest(), "big")


def add(total: bytes, delta: int) -> bytes:
    return ((int.from_bytes(total, "big") + delta) % _MODULUS).to_bytes(16, "big")


def is_covered(key: bytes) -> bool:
    return key[:1] not in (keys.DIGESTS, keys.SUBJECT_DIGESTS, keys.DIGEST_TOTAL)


def owner_key(owner: str) -> bytes:
    return keys.DIGESTS + keys.name(owner)


def total(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The digest of a whole state from its records alone, as 16 bytes: what a state that was received must add up
    to."""
    return add(ZERO, sum(term(key, value) for key, value in items if is_covered(key)))


def recomputed(records: Records) -> dict[str, str]:
    """The digests by owner from the records alone: what `queries.digests` must equal. Reads everything; for checks."""
    totals: dict[str, bytes] = {}
    for key, value in records.scan(b""):
        if is_covered(key):
            owner = keys.name(_owner_of(records, key)).decode("utf-8", "surrogatepass")
            totals[owner] = add(totals.get(owner, ZERO), term(key, value))
    return {owner: totals[owner].hex() for owner in sorted(totals) if totals[owner] != ZERO}


def _owner_of(records: Records, key: bytes) -> str:
    if key[0] not in keys.KINDS:
        return ""
    head = records.get(bytes((keys.subject_digest(key)[1] - 32,)) + keys.subject_digest(key)[2:])
    return HEAD.decode(head).owner if head is not None else ""


def stored(records: Records) -> Iterator[tuple[str, str]]:
    """The digests by owner as kept."""
    for key, value in records.scan(keys.DIGESTS):
        if value != ZERO:
            yield key[1:].decode("utf-8", "surrogatepass"), value.hex()
