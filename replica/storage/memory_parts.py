"""Log, journal and state in memory: lists and dictionaries that answer as the tables on disk do.

Written apart from the LMDB stores on purpose, and as plainly as can be: one battery of tests and one random comparison
hold the two against each other, so a mistake would have to be made twice.

Left out: durability (memory.py) and any thought of speed beyond that of lists.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from replica.errors import StoreDamaged
from replica.raft.types import Entry, HardState, Index, Term
from replica.storage.contract import (
    MAX_KEY_BYTES,
    Incarnation,
    JournalAppend,
    JournalRecord,
    JournalReplace,
    JournalTrim,
    LogCompact,
    LogJob,
    LogReset,
    LogSave,
    StateFlush,
    StateJob,
    StateReplaceAll,
)

CommitLog: TypeAlias = Callable[[Sequence[LogJob]], Sequence[LogJob]]
CommitState: TypeAlias = Callable[[Sequence[StateJob]], Sequence[StateJob]]


class MemoryLog:
    """`contract.LogStore` in a list."""

    def __init__(self, commit: CommitLog) -> None:
        self._commit = commit
        self._hard = HardState()
        self._hint = 0
        self._floor: tuple[Index, Term] = (0, 0)
        self._hidden: tuple[Index, Term] = (0, 0)
        self._held: list[Entry] = []
        self._damaged: set[Index | None] = set()

    def first_index(self) -> Index:
        return self._visible_floor()[0] + 1

    def last_index(self) -> Index:
        return self._floor[0] + len(self._held)

    def term(self, index: Index) -> Term:
        floor, last = self._visible_floor(), self.last_index()
        if index == floor[0]:
            return floor[1]
        assert floor[0] < index <= last, f"term of {index} asked, the log holds {floor[0] + 1}..{last}"
        return self._entry(index).term

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        floor, end = self._visible_floor(), self.last_index()
        assert floor[0] < first <= last <= end, f"entries {first}..{last} asked, the log holds {floor[0] + 1}..{end}"
        found: list[Entry] = []
        total = 0
        for index in range(first, last + 1):
            entry = self._entry(index)
            total += len(entry.data)
            if found and total > max_bytes:
                break
            found.append(entry)
        return tuple(found)

    def hard_state(self) -> HardState:
        if None in self._damaged:
            raise StoreDamaged("hard state (term and vote)", "its checksum does not match its bytes")
        return self._hard

    def commit_hint(self) -> Index:
        return self._hint

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], commit: Index | None = None) -> None:
        self._commit([LogSave(hard_state, entries, commit)])

    def compaction(self, through: Index) -> LogCompact:
        assert through <= self.last_index(), f"compaction through {through} asked, the log ends at {self.last_index()}"
        if through > self._visible_floor()[0]:
            self._hidden = (through, self.term(through))
        return LogCompact(through)

    def compact(self, through: Index) -> None:
        self._commit([self.compaction(through)])

    def reset(self, index: Index, term: Term) -> None:
        self._commit([LogReset(index, term)])

    @property
    def untouched(self) -> bool:
        """Whether nothing was ever saved here that anybody could rely on."""
        return self._hard == HardState() and self._floor == (0, 0) and not self._held

    def damage(self, index: Index | None) -> None:
        """Flip a bit in entry `index`, or in the hard state (None). Nothing happens where it is not held."""
        if index is None or self._floor[0] < index <= self.last_index():
            self._damaged.add(index)

    def copy(self, commit: CommitLog) -> MemoryLog:
        """What a new process finds: the same, but for what only this process had hidden."""
        other = MemoryLog(commit)
        other._hard, other._hint, other._floor, other._hidden = self._hard, self._hint, self._floor, self._floor
        other._held, other._damaged = list(self._held), set(self._damaged)
        return other

    def apply(self, job: LogSave | LogCompact | LogReset) -> None:
        """Do what a committed job does."""
        match job:
            case LogSave():
                self._save(job)
            case LogCompact(through):
                self._drop(min(through, self.last_index()))
            case LogReset(index, term):
                floor = self._visible_floor()[0]
                assert index >= floor, f"reset to {index} of a log that begins after {floor}"
                self._held, self._floor, self._hidden = [], (index, term), (index, term)
                self._damaged -= {damaged for damaged in self._damaged if damaged is not None}

    def _save(self, job: LogSave) -> None:
        if job.entries:
            self._join(job.entries)
        if job.hard_state is not None:
            self._hard = job.hard_state
            self._damaged.discard(None)
        if job.commit is not None:
            self._hint = job.commit

    def _join(self, entries: Sequence[Entry]) -> None:
        first, last, floor = entries[0].index, self.last_index(), self._visible_floor()[0]
        assert floor < first <= last + 1, f"entries from {first} on do not join a log of {floor + 1}..{last}"
        for place, entry in enumerate(entries, first):
            assert entry.index == place, f"entry {entry.index} stands where {place} should"
        self._damaged -= set(range(first, last + 1))
        del self._held[first - self._floor[0] - 1 :]
        self._held.extend(entries)

    def _drop(self, through: Index) -> None:
        if through > self._floor[0]:
            floor = (through, self._entry(through).term)
            del self._held[: through - self._floor[0]]
            self._floor = floor

    def _visible_floor(self) -> tuple[Index, Term]:
        return max(self._hidden, self._floor)

    def _entry(self, index: Index) -> Entry:
        entry = self._held[index - self._floor[0] - 1]
        if index in self._damaged:
            raise StoreDamaged(f"log entry ({index}, {entry.term})", "its checksum does not match its bytes")
        return entry


class MemoryJournal:
    """`contract.JournalStore` in a list in order of position."""

    def __init__(self, commit: CommitLog) -> None:
        self._commit = commit
        self._held: list[JournalRecord] = []
        self._last_seq: dict[Incarnation, int] = {}  # in the order of first use
        self._last_position = 0

    @property
    def length(self) -> int:
        return len(self._held)

    @property
    def payload_bytes(self) -> int:
        return sum(len(record.payload) for record in self._held)

    def append(self, records: Sequence[tuple[Incarnation, int, bytes]]) -> None:
        self._commit([JournalAppend(records)])

    def replace(self, incarnation: Incarnation, seq: int, payload: bytes) -> None:
        self._commit([JournalReplace(incarnation, seq, payload)])

    def trim(self, through: Sequence[tuple[Incarnation, int]]) -> None:
        self._commit([JournalTrim(through)])

    def read(self, after_position: int = 0, limit: int = 1000) -> list[JournalRecord]:
        start = bisect_left(self._held, after_position + 1, key=lambda record: record.position)
        return self._held[start : start + limit]

    def last_seq(self, incarnation: Incarnation) -> int | None:
        return self._last_seq.get(incarnation)

    def latest_incarnation(self) -> tuple[Incarnation, int] | None:
        known = self.incarnations()
        return known[-1] if known else None

    def incarnations(self) -> tuple[tuple[Incarnation, int], ...]:
        return tuple(self._last_seq.items())

    def damage(self, incarnation: Incarnation, seq: int) -> None:
        """Flip a bit in one record. Nothing happens where it is not held."""
        for place, record in enumerate(self._held):
            if (record.incarnation, record.seq) == (incarnation, seq):
                self._held[place] = JournalRecord(record.position, incarnation, seq, b"", damaged=True)

    def copy(self, commit: CommitLog) -> MemoryJournal:
        """What a new process finds."""
        other = MemoryJournal(commit)
        other._held, other._last_seq = list(self._held), dict(self._last_seq)
        other._last_position = self._last_position
        return other

    def apply(self, job: JournalAppend | JournalReplace | JournalTrim) -> None:
        """Do what a committed job does."""
        match job:
            case JournalAppend(records):
                for incarnation, seq, payload in records:
                    self._append_one(incarnation, seq, payload)
            case JournalReplace(incarnation, seq, payload):
                place = self._place(incarnation, seq)
                self._held[place] = JournalRecord(self._held[place].position, incarnation, seq, payload)
            case JournalTrim(through):
                highest: dict[Incarnation, int] = {}
                for incarnation, seq in through:
                    highest[incarnation] = max(seq, highest.get(incarnation, seq))
                self._held = [record for record in self._held if record.seq > highest.get(record.incarnation, -1)]

    def _append_one(self, incarnation: Incarnation, seq: int, payload: bytes) -> None:
        assert len(incarnation) == 16, f"an incarnation has {len(incarnation)} bytes, not 16"
        expected = self._last_seq.get(incarnation, -1) + 1
        assert seq == expected, f"journal record ({incarnation.hex()}, {seq}), expected seq {expected}"
        self._last_seq[incarnation] = seq
        self._last_position += 1
        self._held.append(JournalRecord(self._last_position, incarnation, seq, payload))

    def _place(self, incarnation: Incarnation, seq: int) -> int:
        for place, record in enumerate(self._held):
            if (record.incarnation, record.seq) == (incarnation, seq):
                return place
        raise AssertionError(f"journal record ({incarnation.hex()}, {seq}) is not held")


class _Table:
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

    def copy(self) -> _Table:
        other = _Table(self._name)
        other._values, other._keys, other._damaged = dict(self._values), list(self._keys), set(self._damaged)
        return other


class MemoryState:
    """`contract.StateStore` in two dictionaries."""

    def __init__(self, commit: CommitState) -> None:
        self._commit = commit
        self._records = _Table("state record")
        self._local = _Table("local value")
        self._applied: tuple[Index, Term] = (0, 0)

    def get(self, key: bytes) -> bytes | None:
        return self._records.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._records.scan(prefix)

    def applied(self) -> tuple[Index, Term]:
        return self._applied

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
        other = MemoryState(commit)
        other._records, other._local = self._records.copy(), self._local.copy()
        other._applied = self._applied
        return other

    def apply(self, job: StateJob) -> None:
        """Do what a committed job does."""
        match job:
            case StateFlush(changes):
                self._records.change(changes)
            case StateReplaceAll(records):
                self._records.clear()
                self._records.change(records)
        self._local.change(job.local)
        self._applied = job.applied
