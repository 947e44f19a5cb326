"""The state in memory: dictionaries that answer as the tables on disk do.

Written apart from the LMDB stores on purpose, and as plainly as can be: one battery of tests and one random comparison
hold the two against each other, so a mistake would have to be made twice.

Left out: durability (memory.py) and any thought of speed beyond that of lists.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from replica.errors import StoreDamaged
from replica.raft.types import Index, Term
from replica.storage.contract import CHANGED_BYTES, MAX_KEY_BYTES, StateFlush, StateJob, StateReplaceAll

CommitState: TypeAlias = Callable[[Sequence[StateJob]], Sequence[StateJob]]


class Table:
    """Keys in order, as a B-tree gives them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._damaged: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        if key in self._damaged:
            raise StoreDamaged(f"{self._name} {key!r}", "its checksum does not match its bytes")
        return self._values.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        key = prefix
        while (place := bisect_left(self._keys, key)) < len(self._keys) and self._keys[place].startswith(prefix):
            value = self.get(self._keys[place])
            assert value is not None, f"key {self._keys[place]!r} without a value"
            yield self._keys[place], value
            key = self._keys[place] + b"\0"

    def change(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            assert 0 < len(key) <= MAX_KEY_BYTES, f"a key of {len(key)} bytes, the limit is {MAX_KEY_BYTES}: {key!r}"
            self._damaged.discard(key)
            if value is not None:
                if key not in self._values:
                    insort(self._keys, key)
                self._values[key] = value
            elif self._values.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def clear(self) -> None:
        self._values, self._keys, self._damaged = {}, [], set()

    def damage(self, key: bytes) -> None:
        if key in self._values:
            self._damaged.add(key)

    def items(self) -> list[tuple[bytes, bytes, bool]]:
        """Key, value and whether it is sound, in key order."""
        return [(key, self._values[key], key not in self._damaged) for key in self._keys]

    def copy(self) -> Table:
        other = Table(self._name)
        other._values, other._keys, other._damaged = dict(self._values), list(self._keys), set(self._damaged)
        return other


@dataclass(frozen=True, slots=True)
class WriteBack:
    """What one flush changed."""

    before: Index
    after: Index
    keys: frozenset[bytes]
    size: int


class MemoryState:
    """`contract.StateStore` in two dictionaries."""

    def __init__(self, commit: CommitState, changed_bytes: int = CHANGED_BYTES) -> None:
        self._commit = commit
        self._records = Table("state record")
        self._local = Table("local value")
        self._applied: tuple[Index, Term] = (0, 0)
        self._changed: list[WriteBack] = []
        self._reach = 0
        """The write-backs after this index are all in `_changed`."""
        self._changed_bytes = changed_bytes

    def get(self, key: bytes) -> bytes | None:
        return self._records.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._records.scan(prefix)

    def applied(self) -> tuple[Index, Term]:
        return self._applied

    def changed_since(self, index: Index) -> frozenset[bytes] | None:
        if index < self._reach:
            return None
        later = [each.keys for each in self._changed if each.after > index or each.before >= index]
        return frozenset().union(*later)

    def local_get(self, key: bytes) -> bytes | None:
        return self._local.get(key)

    def local_scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._local.scan(prefix)

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

    def damage(self, key: bytes) -> None:
        """Flip a bit in one record. Nothing happens where it is not held."""
        self._records.damage(key)

    @property
    def untouched(self) -> bool:
        """Whether no entry was ever applied here."""
        return self._applied == (0, 0)

    def copy(self, commit: CommitState) -> MemoryState:
        """What a new process finds."""
        other = MemoryState(commit, self._changed_bytes)
        other.become(self)
        return other

    def become(self, other: MemoryState) -> None:
        """Have what the other one has, independent of it: the same object, another state."""
        self._records, self._local = other._records.copy(), other._local.copy()
        self._applied, self._changed, self._reach = other._applied, list(other._changed), other._reach

    def tables(self) -> tuple[Table, Table]:
        """The records and the local values."""
        return self._records, self._local

    def stand_at(self, applied: tuple[Index, Term]) -> None:
        """Say which entry the records are the result of."""
        self._applied = applied

    def rewrite(self, changes: Mapping[bytes, bytes | None], local: Mapping[bytes, bytes]) -> None:
        """Make a copy this node's own: changed records, another local table, and no write-back recorded."""
        self._records.change(changes)
        self._local.clear()
        self._local.change(local)
        self._changed, self._reach = [], self._applied[0]

    def apply(self, job: StateJob) -> None:
        """Do what a committed job does."""
        match job:
            case StateFlush(changes):
                before, after = self._applied, job.applied
                sound = after[0] > before[0] or after == before
                assert sound, f"a write-back as of {after} on a state as of {before}"
                self._records.change(changes)
                self._note(before[0], after[0], changes)
            case StateReplaceAll(records):
                self._records.clear()
                self._records.change(records)
                self._changed, self._reach = [], job.applied[0]
        self._local.change(job.local)
        self._applied = job.applied

    def _note(self, before: Index, after: Index, keys: Iterable[bytes]) -> None:
        changed = frozenset(keys)
        if changed:
            size = 16 + sum(2 + len(key) for key in changed)  # as the disk counts it
            self._changed.append(WriteBack(before, after, changed, size))
        while sum(each.size for each in self._changed) > self._changed_bytes:
            self._reach = self._changed.pop(0).after
