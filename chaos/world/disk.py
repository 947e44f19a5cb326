"""A disk that loses what was not synced.

A save is queued, and durable only when its sync is done. A crash keeps a prefix of the queue and loses the rest: saves
are transactions of one store, so none is durable before those queued earlier, and none is durable by half. The disk is
also the core's `LogReader`: the core reads durable entries only and keeps newer ones itself.

`written` is the log as it will be when all that is queued is durable: what the node believes its log to be.

Leaves out: torn pages and flipped bits (the store's checksums are tested where the store is), compaction
(`first_index` is 1 until snapshots exist), and a full disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from replica.raft.ready import Ready
from replica.raft.types import Entry, HardState, Index, Term

NEVER_MS = 1 << 62


@dataclass(slots=True)
class Save:
    """One transaction in the queue: of which Ready, what it writes, when its sync is done (true time)."""

    ready: Ready
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    due_ms: int


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Durable entries that a save replaced: `old` were from index `old[0].index` on, `new` stands there now."""

    old: tuple[Entry, ...]
    new: tuple[Entry, ...]


def splice(log: list[Entry], entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Replaces `log` from the first of `entries` on, as `Ready.entries` asks. Returns what was cut away."""
    at = entries[0].index - 1
    assert at <= len(log), f"a save leaves a gap: it begins at {at + 1}, the log ends at {len(log)}"
    cut = tuple(log[at:])
    if cut:
        del log[at:]
    log.extend(entries)
    return cut


class Disk:
    """One node's store. `flushed` is the applied index its state machine was last made durable with."""

    __slots__ = (
        "durable",
        "flushed",
        "former_lives",
        "hard_state",
        "pending",
        "stalled_until_ms",
        "sync_fails",
        "written",
    )

    def __init__(self) -> None:
        self.durable: list[Entry] = []
        self.written: list[Entry] = []
        self.hard_state = HardState()
        self.flushed: Index = 0
        self.pending: deque[Save] = deque()
        self.stalled_until_ms = 0
        self.sync_fails = False
        self.former_lives: list[list[Entry]] = []
        """What was durable here before the disk was emptied, oldest life first."""

    # -- the queue ------------------------------------------------------------------------------------------------

    def write(self, save: Save) -> None:
        """Queues a save. Nothing is durable yet."""
        self.pending.append(save)
        if save.entries:
            splice(self.written, save.entries)

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
        if save.hard_state is not None:
            self.hard_state = save.hard_state
        return splice(self.durable, save.entries) if save.entries else ()

    def crash(self, kept: int) -> list[Overwritten]:
        """The process or its power is gone: the first `kept` queued saves reached the disk, the others are lost."""
        overwritten: list[Overwritten] = []
        for save in list(self.pending)[:kept]:
            cut = self._make_durable(save)
            if cut:
                overwritten.append(Overwritten(cut, save.entries))
        self.pending.clear()
        self.written = list(self.durable)
        self.stalled_until_ms = 0
        self.sync_fails = False
        return overwritten

    def empty(self) -> None:
        """The disk was replaced. The node knows that much: it starts as one that lost its store (D10)."""
        assert not self.pending, "only the disk of a dead process is replaced"
        self.former_lives.append(self.durable)
        self.durable, self.written = [], []
        self.hard_state = HardState(rebuilding=True)
        self.flushed = 0

    def holds(self, index: Index, term: Term) -> bool:
        """Whether the entry `(index, term)` is durable here."""
        return 0 < index <= len(self.durable) and self.durable[index - 1].term == term

    def held_before_emptied(self, index: Index, term: Term) -> bool:
        """Whether the entry was durable here in a life that ended with an emptied disk."""
        return any(index <= len(log) and log[index - 1].term == term for log in self.former_lives)

    # -- LogReader ------------------------------------------------------------------------------------------------

    def first_index(self) -> Index:
        return 1

    def last_index(self) -> Index:
        return len(self.durable)

    def term(self, index: Index) -> Term:
        return self.durable[index - 1].term if index else 0

    def memberships(self) -> tuple[tuple[Index, bytes], ...]:
        return ()

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        assert 1 <= first <= last <= len(self.durable), (
            f"entries {first}..{last} of a log that ends at {len(self.durable)}"
        )
        size = 0
        for at in range(first - 1, last):
            size += len(self.durable[at].data)
            if size > max_bytes and at >= first:
                return tuple(self.durable[first - 1 : at])
        return tuple(self.durable[first - 1 : last])
