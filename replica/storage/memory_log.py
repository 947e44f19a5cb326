"""The log in memory: a list that answers as the table on disk does.

Written apart from the LMDB stores on purpose, and as plainly as can be: one battery of tests and one random comparison
hold the two against each other, so a mistake would have to be made twice.

Left out: durability (memory.py) and any thought of speed beyond that of lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from replica.errors import StoreDamaged
from replica.raft.types import Entry, EntryKind, HardState, Index, Term
from replica.storage.contract import Install, LogCompact, LogJob, LogReset, LogSave

CommitLog: TypeAlias = Callable[[Sequence[LogJob]], Sequence[LogJob]]


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
        self._compacted: tuple[Index, bytes] | None = None
        """The newest membership that is not among the entries any more."""
        self._damaged_memberships: set[Index] = set()

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

    def memberships(self) -> tuple[tuple[Index, bytes], ...]:
        floor, known = self._visible_floor()[0], self._known_memberships()
        for index, _ in known:
            if index in self._damaged_memberships:
                raise StoreDamaged(f"membership {index}", "its checksum does not match its bytes")
        below = [each for each in known if each[0] <= floor]
        return (*below[-1:], *known[len(below) :])

    @property
    def payload_bytes(self) -> int:
        return sum(len(entry.data) for entry in self._visible())

    def first_within(self, max_bytes: int) -> Index:
        first, room = self.last_index() + 1, max_bytes
        for entry in reversed(self._visible()):
            room -= len(entry.data)
            if room < 0:
                break
            first = entry.index
        return first

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

    def reset(self, index: Index, term: Term, membership: tuple[Index, bytes] | None = None) -> None:
        self._commit([LogReset(index, term, membership)])

    @property
    def untouched(self) -> bool:
        """Whether nothing was ever saved here that anybody could rely on."""
        return self._hard == HardState() and self._floor == (0, 0) and not self._held

    def damage(self, index: Index | None) -> None:
        """Flip a bit in entry `index`, or in the hard state (None). Nothing happens where it is not held."""
        if index is None or self._floor[0] < index <= self.last_index():
            self._damaged.add(index)

    def damage_membership(self, index: Index) -> None:
        """Flip a bit in what the store keeps of a membership apart from its entry."""
        self._damaged_memberships.add(index)

    def copy(self, commit: CommitLog) -> MemoryLog:
        """What a new process finds: the same, but for what only this process had hidden."""
        other = MemoryLog(commit)
        other._hard, other._hint, other._floor, other._hidden = self._hard, self._hint, self._floor, self._floor
        other._held, other._damaged = list(self._held), set(self._damaged)
        other._compacted, other._damaged_memberships = self._compacted, set(self._damaged_memberships)
        return other

    def apply(self, job: LogSave | LogCompact | LogReset | Install) -> None:
        """Do what a committed job does."""
        match job:
            case LogSave():
                self._save(job)
            case LogCompact(through):
                self._drop(min(through, self.last_index()))
            case LogReset(index, term, membership):
                self._reset(index, term, membership)
            case Install():
                self._reset(job.index, job.term, job.membership)
                self._save(LogSave(job.hard_state))

    def _reset(self, index: Index, term: Term, membership: tuple[Index, bytes] | None) -> None:
        floor = self._visible_floor()[0]
        assert index >= floor, f"reset to {index} of a log that begins after {floor}"
        self._compacted = None
        if membership is not None and membership[0] > 0:
            assert membership[0] <= index, f"membership {membership[0]} of a log that begins after {index}"
            self._compacted = membership
        self._held, self._floor, self._hidden = [], (index, term), (index, term)
        self._damaged -= {damaged for damaged in self._damaged if damaged is not None}
        self._damaged_memberships = set()

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
        self._damaged_memberships = {index for index in self._damaged_memberships if index < first}
        del self._held[first - self._floor[0] - 1 :]
        self._held.extend(entries)

    def _drop(self, through: Index) -> None:
        if through > self._floor[0]:
            floor = (through, self._entry(through).term)
            known = [each for each in self._known_memberships() if each[0] <= through]
            self._compacted = known[-1] if known else None
            del self._held[: through - self._floor[0]]
            self._floor = floor

    def _visible_floor(self) -> tuple[Index, Term]:
        return max(self._hidden, self._floor)

    def _visible(self) -> list[Entry]:
        return self._held[self._visible_floor()[0] - self._floor[0] :]

    def _known_memberships(self) -> list[tuple[Index, bytes]]:
        compacted = [] if self._compacted is None else [self._compacted]
        return compacted + [(entry.index, entry.data) for entry in self._held if entry.kind is EntryKind.MEMBERSHIP]

    def _entry(self, index: Index) -> Entry:
        entry = self._held[index - self._floor[0] - 1]
        if index in self._damaged:
            raise StoreDamaged(f"log entry ({index}, {entry.term})", "its checksum does not match its bytes")
        return entry
