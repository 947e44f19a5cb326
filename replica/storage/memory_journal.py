"""The journal in memory: a list in order of position.

Written apart from the LMDB stores on purpose, and as plainly as can be: one battery of tests and one random comparison
hold the two against each other, so a mistake would have to be made twice.

Left out: durability (memory.py) and any thought of speed beyond that of lists.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from replica.storage.contract import (
    Incarnation,
    JournalAppend,
    JournalForget,
    JournalRecord,
    JournalReplace,
    JournalTrim,
)
from replica.storage.memory_log import CommitLog


class MemoryJournal:
    """`contract.JournalStore` in a list in order of position."""

    def __init__(self, commit: CommitLog) -> None:
        self._commit = commit
        self._held: list[JournalRecord] = []
        self._past: list[tuple[JournalRecord, int]] = []  # with the wall time of the trim, in order of position
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

    @property
    def past_length(self) -> int:
        return len(self._past)

    @property
    def past_bytes(self) -> int:
        return sum(len(record.payload) for record, _ in self._past)

    def trim(self, through: Sequence[tuple[Incarnation, int]], at_ms: int | None = None) -> None:
        self._commit([JournalTrim(through, at_ms)])

    def forget(self, before_ms: int, most_bytes: int) -> None:
        self._commit([JournalForget(before_ms, most_bytes)])

    def read_past(self, after_position: int = 0, limit: int = 1000) -> list[JournalRecord]:
        return [record for record, _ in self._past if record.position > after_position][:limit]

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
        other._past = list(self._past)
        other._last_position = self._last_position
        return other

    def apply(self, job: JournalAppend | JournalReplace | JournalTrim | JournalForget) -> None:
        """Do what a committed job does."""
        match job:
            case JournalAppend(records):
                for incarnation, seq, payload in records:
                    self._append_one(incarnation, seq, payload)
            case JournalReplace(incarnation, seq, payload):
                place = self._place(incarnation, seq)
                self._held[place] = JournalRecord(self._held[place].position, incarnation, seq, payload)
            case JournalTrim(through, at_ms):
                highest: dict[Incarnation, int] = {}
                for incarnation, seq in through:
                    highest[incarnation] = max(seq, highest.get(incarnation, seq))
                gone = [record for record in self._held if record.seq <= highest.get(record.incarnation, -1)]
                self._held = [record for record in self._held if record.seq > highest.get(record.incarnation, -1)]
                if at_ms is not None:
                    self._past += [(record, at_ms) for record in gone if not record.damaged]
                    self._past.sort(key=lambda each: each[0].position)
            case JournalForget(before_ms, most_bytes):
                while self._past and (self.past_bytes > most_bytes or self._past[0][1] < before_ms):
                    del self._past[0]

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
