"""A disk that loses what was not synced.

A save is queued, and durable only when its sync is done. A crash keeps a prefix of the queue and loses the rest: saves
are transactions of one store, so none is durable before those queued earlier, and none is durable by half. An install
is part of its save: a snapshot takes the place of log and state in the one step that makes the save durable. The disk
is also the core's `LogReader`: the core reads durable entries only and keeps newer ones itself.

`written` is the log as it will be when all that is queued is durable: what the node believes its log to be.

Leaves out: torn pages and flipped bits (the store's checksums are tested where the store is), and a full disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from replica.raft.ready import Ready
from replica.raft.types import Entry, EntryKind, HardState, Index, Term

NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state as of the committed entry `(index, term)`: of the state itself the digest is all that matters here."""

    index: Index
    term: Term
    membership: tuple[Index, bytes]
    digest: int


@dataclass(slots=True)
class Stored:
    """A log that begins after `(base, base_term)`."""

    base: Index = 0
    base_term: Term = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def last(self) -> Index:
        return self.base + len(self.entries)

    def term(self, index: Index) -> Term | None:
        """None where the log does not reach, or no longer reaches."""
        if index <= self.base:
            return self.base_term if index == self.base else None
        return self.entries[index - self.base - 1].term if index <= self.last else None

    def splice(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Replaces the log from the first of `entries` on, as `Ready.entries` asks. Returns what was cut away."""
        at = entries[0].index - self.base - 1
        assert 0 <= at <= len(self.entries), (
            f"a save leaves a gap: it begins at {entries[0].index}, the log goes from {self.base + 1} to {self.last}"
        )
        cut = tuple(self.entries[at:])
        if cut:
            del self.entries[at:]
        self.entries.extend(entries)
        return cut

    def reset(self, index: Index, term: Term) -> tuple[Entry, ...]:
        """Begins after `(index, term)`. Returns what stood beyond it: the rest is in the snapshot."""
        beyond = tuple(entry for entry in self.entries if entry.index > index)
        self.base, self.base_term, self.entries = index, term, []
        return beyond

    def compact(self, through: Index) -> tuple[Entry, ...]:
        """Drops the entries up to `through`, and returns them."""
        term = self.term(through)
        assert term is not None, f"compaction through {through} of a log from {self.base + 1} to {self.last}"
        dropped = tuple(self.entries[: through - self.base])
        del self.entries[: through - self.base]
        self.base, self.base_term = through, term
        return dropped

    def copy(self) -> Stored:
        return Stored(self.base, self.base_term, list(self.entries))


@dataclass(slots=True)
class Save:
    """One transaction in the queue: of which Ready, what it writes, when its sync is done (true time)."""

    ready: Ready
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    due_ms: int
    snapshot: Snapshot | None = None
    """What `Ready.install` puts in the place of log and state."""


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Durable entries that a save replaced: `old` were from index `old[0].index` on, `new` stands there now."""

    old: tuple[Entry, ...]
    new: tuple[Entry, ...]


class Disk:
    """One node's store. `flushed` is the applied index its state machine was last made durable with, `digest` that
    state's."""

    __slots__ = (
        "compacted_membership",
        "digest",
        "durable",
        "flushed",
        "former_lives",
        "hard_state",
        "partial",
        "pending",
        "stalled_until_ms",
        "sync_fails",
        "written",
    )

    def __init__(self) -> None:
        self.durable = Stored()
        self.written = Stored()
        self.hard_state = HardState()
        self.flushed: Index = 0
        self.digest = 0
        self.compacted_membership: tuple[Index, bytes] | None = None
        """The last membership that was compacted, or that a snapshot brought."""
        self.partial: tuple[Snapshot, int] | None = None
        """A snapshot that has not arrived whole: how many of its chunks lie here."""
        self.pending: deque[Save] = deque()
        self.stalled_until_ms = 0
        self.sync_fails = False
        self.former_lives: list[Stored] = []
        """What was durable here before the disk was emptied, oldest life first."""

    # -- the queue ------------------------------------------------------------------------------------------------

    def write(self, save: Save) -> None:
        """Queues a save. Nothing is durable yet."""
        self.pending.append(save)
        if save.snapshot is not None:
            self.written.reset(save.snapshot.index, save.snapshot.term)
        if save.entries:
            self.written.splice(save.entries)

    def sync(self, now_ms: int) -> tuple[list[Ready], list[Overwritten]]:
        """Makes durable what is due. Returns the Readies it stands for and the durable entries it replaced."""
        done: list[Ready] = []
        overwritten: list[Overwritten] = []
        while self.pending and self.pending[0].due_ms <= now_ms:
            save = self.pending.popleft()
            cut = self._make_durable(save)
            if cut:
                overwritten.append(Overwritten(cut, save.entries))
            done.append(save.ready)
        return done, overwritten

    def _make_durable(self, save: Save) -> tuple[Entry, ...]:
        cut: tuple[Entry, ...] = ()
        if save.snapshot is not None:
            cut = self._install(save.snapshot)
        if save.hard_state is not None:
            self.hard_state = save.hard_state
        return cut + self.durable.splice(save.entries) if save.entries else cut

    def _install(self, snapshot: Snapshot) -> tuple[Entry, ...]:
        self.flushed, self.digest = snapshot.index, snapshot.digest
        self.compacted_membership = snapshot.membership
        return self.durable.reset(snapshot.index, snapshot.term)

    def compact(self, through: Index) -> None:
        """Drops the log up to `through`; the last membership in it is remembered."""
        for entry in self.durable.compact(through):
            if entry.kind is EntryKind.MEMBERSHIP:
                self.compacted_membership = (entry.index, entry.data)
        self.written.compact(through)

    def crash(self, kept: int) -> list[Overwritten]:
        """The process or its power is gone: the first `kept` queued saves reached the disk, the others are lost."""
        overwritten: list[Overwritten] = []
        for save in list(self.pending)[:kept]:
            cut = self._make_durable(save)
            if cut:
                overwritten.append(Overwritten(cut, save.entries))
        self.pending.clear()
        self.written = self.durable.copy()
        self.stalled_until_ms = 0
        self.sync_fails = False
        return overwritten

    def empty(self) -> None:
        """The disk was replaced. The node knows that much: it starts as one that lost its store (D10)."""
        assert not self.pending, "only the disk of a dead process is replaced"
        self.former_lives.append(self.durable)
        self.durable, self.written = Stored(), Stored()
        self.hard_state = HardState(rebuilding=True)
        self.flushed, self.digest = 0, 0
        self.compacted_membership = self.partial = None

    def holds(self, index: Index, term: Term) -> bool:
        """Whether the committed entry `(index, term)` is durable here, in the log or in the state it was dropped
        for."""
        durable = self.durable
        if index <= durable.base:
            return index > 0
        return index <= durable.last and durable.entries[index - durable.base - 1].term == term

    def held_before_emptied(self, index: Index, term: Term) -> bool:
        """Whether the entry was durable here in a life that ended with an emptied disk."""
        return any(0 < index <= log.base or (index and log.term(index) == term) for log in self.former_lives)

    # -- LogReader ------------------------------------------------------------------------------------------------

    def first_index(self) -> Index:
        return self.durable.base + 1

    def last_index(self) -> Index:
        durable = self.durable
        return durable.base + len(durable.entries)

    def term(self, index: Index) -> Term:
        term = self.durable.term(index)
        assert term is not None, f"term of {index} in a log from {self.first_index()} to {self.last_index()}"
        return term

    def memberships(self) -> tuple[tuple[Index, bytes], ...]:
        held = tuple((e.index, e.data) for e in self.durable.entries if e.kind is EntryKind.MEMBERSHIP)
        return held if self.compacted_membership is None else (self.compacted_membership, *held)

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        base, held = self.durable.base, self.durable.entries
        assert base < first <= last <= base + len(held), (
            f"entries {first}..{last} of a log from {base + 1} to {base + len(held)}"
        )
        size = 0
        for at in range(first - base - 1, last - base):
            size += len(held[at].data)
            if size > max_bytes and at >= first - base:
                return tuple(held[first - base - 1 : at])
        return tuple(held[first - base - 1 : last - base])
