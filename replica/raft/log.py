"""The log as the core sees it: the store's durable entries, and on top the tail that is not durable yet.

Everything below `_start` is read from the store. From `_start` on the entries are in memory: those not yet durable, and
before them a bounded cache of durable ones, since the newest entries are asked for again at once, by the followers and
by the state machine.

**Which entries are durable** is remembered by the number of the Ready that handed them out, never by index and term
alone. Worked example (the ABA problem): Ready 1 hands out entry 7 of term 2. A leader of term 3 replaces it, in Ready
2; later a leader brings entry (7, term 2) again, in Ready 3. Now `Persisted(1)` arrives. Entry (7, 2) is on disk at
this moment, but Ready 2 is on its way to overwrite it, so it must not be acknowledged before Ready 3 is saved. Each
batch handed out is a pair (Ready number, last index still valid); cutting the log shortens the pairs, so a late
`Persisted` can only speak for what no later Ready touches.

The first index may be greater than 1 (the entries before it were compacted). Only its term is still known just before
it. A snapshot that is installed (`reset`) makes the log begin after it at once, here; the store follows when that Ready
is saved, and until then nothing below is asked of it.

Leaves out: compaction itself, which the store does behind this module's back, below what is applied and flushed.
"""

from __future__ import annotations

from collections.abc import Sequence

from replica.raft.types import Entry, Index, LogReader, Term

CACHE_BYTES = 8 << 20
"""Data of durable entries kept in memory. A follower further behind than this costs reads of the store."""


class Log:
    """Entries `first_index..last_index`; those up to `stable_index` are durable here."""

    def __init__(self, reader: LogReader, cache_bytes: int = CACHE_BYTES) -> None:
        self._reader = reader
        self._cache_bytes = cache_bytes
        self._floor: tuple[Index, Term] = (0, 0)
        """The log begins after this entry, whatever the store still has: the latest snapshot installed."""
        self._resetting = False
        """An install was decided, and no Ready has had it."""
        self._start: Index = reader.last_index() + 1
        self._tail: list[Entry] = []
        self._stable: Index = reader.last_index()
        self._unsaved_from: Index = self._start
        self._batches: list[tuple[int, Index]] = []
        self._cached = 0

    @property
    def first_index(self) -> Index:
        """The oldest index still held; last_index + 1 where the log is empty.

        The store may have compacted what the cache still has. That can be sent all the same.
        """
        return max(self._floor[0] + 1, min(self._reader.first_index(), self._start))

    @property
    def last_index(self) -> Index:
        return self._start + len(self._tail) - 1

    @property
    def last_term(self) -> Term:
        term = self.term(self.last_index)
        assert term is not None, f"the term of the last index {self.last_index} must be known"
        return term

    @property
    def stable_index(self) -> Index:
        """All entries up to here are durable, and no Ready still to be saved replaces any of them."""
        return self._stable

    @property
    def has_unsaved(self) -> bool:
        """Whether some entries, or an install, have not been handed out to be saved."""
        return self._unsaved_from <= self.last_index or self._resetting

    def term(self, index: Index) -> Term | None:
        """The term of the entry at `index`; None where the log does not reach or no longer reaches."""
        if index > self.last_index:
            return None
        if index >= self._start:
            return self._tail[index - self._start].term
        if index < self._floor[0]:
            return None
        if index == self._floor[0] and self.first_index == index + 1:
            return self._floor[1]
        return None if index < self._reader.first_index() - 1 else self._reader.term(index)

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        """Entries first..last, both included, cut after `max_bytes` of data but never below one; () if last < first."""
        assert last <= self.last_index, f"entries to {last} asked of a log that ends at {self.last_index}"
        if last < first:
            return ()
        assert first >= self.first_index, f"entries from {first} asked of a log that starts at {self.first_index}"
        found: tuple[Entry, ...] = ()
        if first < self._start:
            stored_last = min(last, self._start - 1)
            found = self._reader.entries(first, stored_last, max_bytes)
            if found[-1].index < stored_last:
                return found
        return found + self._from_tail(max(first, self._start), last, max_bytes - _size(found), bool(found))

    def _from_tail(self, first: Index, last: Index, max_bytes: int, may_be_empty: bool) -> tuple[Entry, ...]:
        begin = end = first - self._start
        left = max_bytes
        while end <= last - self._start:
            left -= len(self._tail[end].data)
            if left < 0 and (may_be_empty or end > begin):
                break
            end += 1
        return tuple(self._tail[begin:end])

    def append(self, entry: Entry) -> None:
        """Put one entry after the last: a leader's own ("Leader Append-Only", figure 3)."""
        assert entry.index == self.last_index + 1, f"entry {entry.index} after a log that ends at {self.last_index}"
        assert entry.term >= self.last_term, f"entry of term {entry.term} after an entry of term {self.last_term}"
        self._tail.append(entry)

    def splice(self, entries: Sequence[Entry]) -> Index:
        """Take over a leader's entries, which follow on an entry both logs have; the first index replaced, 0 for none.

        "If an existing entry conflicts with a new one (same index but different terms), delete the existing entry and
        all that follow it. Append any new entries not already in the log" (figure 2, AppendEntries, receiver 3 and 4).
        What is there already stays, and what follows it too: an old, overtaken Append must not cut off newer entries.
        """
        for place, entry in enumerate(entries):
            known = self.term(entry.index)
            if known == entry.term:
                continue
            replaced = 0 if known is None else entry.index
            if replaced:
                self._cut(entry.index)
            for new in entries[place:]:
                self.append(new)
            return replaced
        return 0

    def _cut(self, index: Index) -> None:
        """Forget the entries from `index` on; the store still has them, until the next Ready replaces them."""
        if index < self._start:
            self._start, self._tail, self._cached = index, [], 0
        else:
            del self._tail[index - self._start :]
            if self._stable >= index:
                self._cached = _size(self._tail)
        self._stable = min(self._stable, index - 1)
        self._unsaved_from = min(self._unsaved_from, index)
        self._batches = [(number, min(last, index - 1)) for number, last in self._batches]

    def reset(self, index: Index, term: Term) -> None:
        """Begin after `(index, term)`: a snapshot takes the place of all entries there were (chapter 5)."""
        self._floor = (index, term)
        self._start, self._tail, self._cached = index + 1, [], 0
        self._unsaved_from = index + 1
        self._stable, self._batches = 0, []
        self._resetting = True

    def take_unsaved(self, number: int) -> tuple[Entry, ...]:
        """The entries that Ready `number` must save: contiguous, to the end of the log."""
        if not self.has_unsaved:
            return ()
        taken = tuple(self._tail[self._unsaved_from - self._start :])
        self._unsaved_from = self.last_index + 1
        self._resetting = False
        self._batches.append((number, self.last_index))
        return taken

    def persisted(self, number: int) -> bool:
        """Ready `number` and all before it are saved. Whether more of the log is durable than before."""
        before = self._stable
        while self._batches and self._batches[0][0] <= number:
            self._stable = max(self._stable, self._batches.pop(0)[1])
        assert self._stable <= self.last_index, f"durable to {self._stable} of a log that ends at {self.last_index}"
        if self._stable > before:
            begin = max(before + 1, self._start) - self._start
            self._cached += _size(self._tail[begin : self._stable + 1 - self._start])
            self._trim()
        return self._stable > before

    def _trim(self) -> None:
        """Drop the oldest durable entries beyond the cache's bound; half of it at a time, so that it stays cheap."""
        if self._cached <= self._cache_bytes:
            return
        drop = 0
        while self._cached > self._cache_bytes // 2:
            # What is counted is the data of the durable entries of the tail: while there is any, one of them is left.
            assert self._start + drop <= self._stable, (
                f"{self._cached} bytes above {self._stable}: {self._start + drop}"
            )
            self._cached -= len(self._tail[drop].data)
            drop += 1
        del self._tail[:drop]
        self._start += drop

    def first_of_term(self, index: Index) -> Index:
        """The first index held of the term of the entry at `index`. Terms only rise along a log, so: bisection."""
        term = self.term(index)
        low, high = min(self.first_index, index), index
        while low < high:
            middle = (low + high) // 2
            if self.term(middle) == term:
                high = middle
            else:
                low = middle + 1
        return low

    def last_not_above(self, term: Term, index: Index) -> Index:
        """The last index up to `index` whose entry's term is `term` at most; first_index - 1 where there is none."""
        low, high = self.first_index - 1, index
        while low < high:
            middle = (low + high + 1) // 2
            found = self.term(middle)
            # The log has all of first_index..last_index, and who asks stays within it.
            assert found is not None, f"the term of {middle} in a log of {self.first_index}..{self.last_index}"
            if found <= term:
                low = middle
            else:
                high = middle - 1
        return low


def _size(entries: Sequence[Entry]) -> int:
    return sum(len(entry.data) for entry in entries)
