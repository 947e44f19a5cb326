"""A state being changed: what was read is decoded once, what was written is encoded once, at the end.

One draft serves all operations of one entry, so that a hundred operations of one site update its stream record
once. Nothing reaches the state below: `finish` hands back the records that changed, with the digests brought up to
date.

A group of fields is decoded no deeper than its slots' bytes; only the slot an operation touches is decoded and encoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder

from replica.cases import digest, keys
from replica.cases.records import Overlay, Records
from replica.cases.state import GROUP, HEAD, NO_SLOT, SLOT, SUBJECT_DIGEST, Slot, SubjectDigest

T = TypeVar("T")
Change = tuple[bytes, bytes | None]

_encode = Encoder(order="deterministic").encode
_slot = SLOT.decode


class Draft:
    """Records over a state, decoded. Also a `Records` itself, so that what reads a state reads a draft."""

    __slots__ = ("_dirty", "_now", "_raw", "base")

    def __init__(self, base: Records) -> None:
        self.base = base
        self._raw: dict[bytes, bytes | None] = {}
        self._now: dict[bytes, Any] = {}
        self._dirty: dict[bytes, None] = {}

    def load(self, key: bytes, decoder: Decoder[T]) -> T | None:
        """The record under `key`, decoded; None where there is none."""
        if key in self._now:
            found: T | None = self._now[key]
            return found
        raw = self._raw[key] = self.base.get(key)
        value = self._now[key] = None if raw is None else decoder.decode(raw)
        return value

    def has(self, key: bytes) -> bool:
        if key in self._now:
            return self._now[key] is not None
        if key not in self._raw:
            self._raw[key] = self.base.get(key)
        return self._raw[key] is not None

    def put(self, key: bytes, value: Any) -> None:
        """Set the record under `key`; None takes it away."""
        self._now[key] = value
        self._dirty[key] = None

    def put_new(self, key: bytes, value: Any) -> None:
        """As `put`, under a key that has the number of the operation at work in it and was set by it at most before:
        no look into the state can find anything there."""
        self._raw.setdefault(key, None)
        self.put(key, value)

    def slot(self, group: bytes, field: str) -> Slot:
        """The values of one field of a group. `field`: its name, with a zero byte and the key where it is keyed."""
        found = self.load(group, GROUP)
        if found is None:
            return NO_SLOT
        slot: Slot | Raw | None = found.get(field)
        if slot is None:
            return NO_SLOT
        return slot if isinstance(slot, Slot) else _slot(slot)

    def put_slot(self, group: bytes, field: str, slot: Slot) -> None:
        found: Any = self.load(group, GROUP)
        if found is None:
            found = self._now[group] = {}
        found[field] = slot
        self._dirty[group] = None

    # --- as Records ---

    def get(self, key: bytes) -> bytes | None:
        if key in self._dirty:
            value = self._now[key]
            return None if value is None else _encode(value)
        return self.base.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        changed = {key: self.get(key) for key in self._dirty if key.startswith(prefix)}
        return Overlay(self.base, changed).scan(prefix)

    # --- the end ---

    def finish(self, with_digest: bool = True) -> tuple[Change, ...]:
        """The records that changed, in order of their keys; those written back as they were are not among them.

        A working view (`with_digest` False) is nobody's to compare, so it keeps no digests.
        """
        changed: dict[bytes, bytes | None] = {}
        deltas: dict[bytes, int] = {}
        raw, now = self._raw, self._now
        for key in self._dirty:
            old = raw[key] if key in raw else self.base.get(key)
            value = now[key]
            new = None if value is None else _encode(value)
            if new == old:
                continue
            changed[key] = new
            if with_digest:
                place = keys.subject_digest(key) if key[0] in keys.KINDS else b""
                delta = deltas.get(place, 0)
                if new is not None:
                    delta += digest.term(key, new)
                if old is not None:
                    delta -= digest.term(key, old)
                deltas[place] = delta
        if deltas:
            self._sum_up(deltas, changed)
        return tuple(sorted(changed.items()))

    def _sum_up(self, deltas: dict[bytes, int], changed: dict[bytes, bytes | None]) -> None:
        owners: dict[str, int] = {}
        for place, delta in deltas.items():
            if not place:
                owners[""] = owners.get("", 0) + delta
                continue
            before = self.load(place, SUBJECT_DIGEST) or SubjectDigest("", digest.ZERO)
            after = SubjectDigest(self._owner(place), digest.add(before.total, delta))
            changed[place] = _encode(after)
            # The whole of the subject moves, not the change alone: its digest goes with it to a new owner.
            owners[before.owner] = owners.get(before.owner, 0) - int.from_bytes(before.total, "big")
            owners[after.owner] = owners.get(after.owner, 0) + int.from_bytes(after.total, "big")
        for owner, delta in owners.items():
            key = digest.owner_key(owner)
            changed[key] = digest.add(self.base.get(key) or digest.ZERO, delta)
        total = sum(deltas.values())
        changed[keys.DIGEST_TOTAL] = digest.add(self.base.get(keys.DIGEST_TOTAL) or digest.ZERO, total)

    def _owner(self, place: bytes) -> str:
        head = self.load(bytes((place[1] - 32,)) + place[2:], HEAD)
        return head.owner if head is not None else ""


class Traced(Draft):
    """A draft that remembers what was looked at: for who has to know on what its outcome depends."""

    __slots__ = ("_looked", "prefixes")

    def __init__(self, base: Records) -> None:
        super().__init__(base)
        self._looked: set[bytes] = set()
        self.prefixes: set[bytes] = set()
        """The beginnings of keys by which records were looked for."""

    def get(self, key: bytes) -> bytes | None:
        self._looked.add(key)
        return super().get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        self.prefixes.add(prefix)
        return super().scan(prefix)

    @property
    def scanned(self) -> bool:
        """Whether records were looked for by how their keys begin."""
        return bool(self.prefixes)

    @property
    def touched(self) -> set[bytes]:
        """The keys of all records looked at or set, whether there is one or not."""
        return {*self._raw, *self._now, *self._looked}

    @property
    def written(self) -> set[bytes]:
        """The keys of all records set, to the same value as before included."""
        return set(self._dirty)


def drafted(records: Records) -> Draft:
    """`records` as a draft: itself where it is one."""
    return records if isinstance(records, Draft) else Draft(records)
