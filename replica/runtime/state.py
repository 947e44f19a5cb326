"""The replicated state of a node, in layers: dirty over frozen over what is on disk (docs/architecture.md).

Applying an entry changes memory only. Every so often the dirty layer is frozen and written back with its applied
index in one transaction; until that is done *and* readable, reads find it in the frozen layer. A crash in between
costs nothing: the log is applied again from the index on disk.

Who meets a record that is damaged is told so by `StoreDamaged`; the node is told besides, since most readers can only
say that they failed. What follows from it is the node's business (a site has its state rebuilt, a zone ends).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge

from replica.cases.records import Layer, Overlay
from replica.cases.remembered import Remembered
from replica.errors import StoreDamaged
from replica.storage import StateFlush, StateStore

CLEAN_BYTES = 16 << 20
"""Of keys and values of the store that are kept in memory because they were read or written lately."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """One write-back: these records, and the local table's, with the index they stand for."""

    changes: Layer
    local: Mapping[bytes, bytes | None]
    index: int
    term: int

    def job(self) -> StateFlush:
        """The write-back as the store wants it."""
        return StateFlush(self.changes, (self.index, self.term), self.local)


@dataclass(frozen=True, slots=True)
class Moment:
    """The state as of one entry, as far as it is in memory: these records over those on disk.

    Those on disk stay this moment's as long as `last_frozen_index` is the state's.
    """

    index: int
    term: int
    above: Mapping[bytes, bytes | None]
    last_frozen_index: int


class State:
    """A `Records` that can be changed at the top and written back from below. Below the layers, what was read or
    written back lately is kept in memory as it is in the store, so that work on a case reads the disk once.

    `on_damage` is called from within the read that meets a damaged record of the replicated state, before it raises.
    """

    def __init__(self, store: StateStore, on_damage: Callable[[StoreDamaged], None] = lambda damaged: None) -> None:
        self._store = store
        self._on_damage = on_damage
        self.index, self.term = store.applied()
        self.flushed_index, self.flushed_term = self.index, self.term
        self.last_frozen_index = self.index
        """Of the latest write-back that was begun."""
        self._dirty = Layer()
        self._local: dict[bytes, bytes | None] = {}
        self._frozen: Frozen | None = None
        self.dirty_bytes = 0
        self._clean: dict[bytes, bytes | None] = {}
        self._older_clean: dict[bytes, bytes | None] = {}
        self._clean_bytes = 0
        """Of keys and values in `_clean`."""
        self.remembered = Remembered(self)

    def get(self, key: bytes) -> bytes | None:
        if key in self._dirty:
            return self._dirty[key]
        if self._frozen is not None and key in self._frozen.changes:
            return self._frozen.changes[key]
        if key in self._clean:
            return self._clean[key]
        value = self._older_clean[key] if key in self._older_clean else self._stored(key)
        self._clean[key] = value
        self._spent(len(key) + len(value or b""))
        return value

    def _stored(self, key: bytes) -> bytes | None:
        try:
            return self._store.get(key)
        except StoreDamaged as damaged:
            self._on_damage(damaged)
            raise

    def _spent(self, size: int) -> None:
        """So much more is kept of what the store holds. Two halves, of which the older goes: what was not asked for
        since is in it alone."""
        self._clean_bytes += size
        if self._clean_bytes > CLEAN_BYTES // 2:
            self._older_clean, self._clean, self._clean_bytes = self._clean, {}, 0

    def let_go(self) -> None:
        """Keep nothing in memory that is in the store: it is read anew."""
        self._clean, self._older_clean, self._clean_bytes = {}, {}, 0
        self.remembered.forget()

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        below = self._store if self._frozen is None else Overlay(self._store, self._frozen.changes)
        return self._watched(Overlay(below, self._dirty).scan(prefix))

    def _watched(self, records: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        try:
            yield from records
        except StoreDamaged as damaged:
            self._on_damage(damaged)
            raise

    def local(self, key: bytes) -> bytes | None:
        """A record of this node's own table, which is not replicated."""
        if key in self._local:
            return self._local[key]
        if self._frozen is not None and key in self._frozen.local:
            return self._frozen.local[key]
        return self._store.local_get(key)

    def scan_local(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Records of the local table whose keys begin with `prefix`, in order of the keys."""
        changed = {key: value for key, value in self.local_above().items() if key.startswith(prefix)}
        below = ((key, value) for key, value in self._store.local_scan(prefix) if key not in changed)
        above = sorted((key, value) for key, value in changed.items() if value is not None)
        return merge(below, above)

    def put_local(self, key: bytes, value: bytes | None) -> None:
        self._local[key] = value

    def advance(self, changes: tuple[tuple[bytes, bytes | None], ...], index: int, term: int) -> None:
        """Put the records of one entry in place: the state is at `index` now."""
        assert index == self.index + 1, f"applied index jumps from {self.index} to {index}"
        changed = dict(changes)
        self._dirty.update(changed)
        self.remembered.moved(changed)
        self.dirty_bytes += sum([len(key) + (len(value) if value is not None else 0) for key, value in changes])
        self.index, self.term = index, term

    @property
    def can_freeze(self) -> bool:
        """Whether there is anything to write back, and no write-back under way."""
        return self._frozen is None and (self.index > self.flushed_index or bool(self._local))

    def freeze(self) -> Frozen:
        """Take what is dirty out, at an entry boundary, to be written back. Call `thaw` once it is durable."""
        assert self._frozen is None, f"a write-back at {self.index} while one is under way"
        self._frozen = Frozen(self._dirty, self._local, self.index, self.term)
        self.last_frozen_index = self.index
        self._dirty, self._local, self.dirty_bytes = Layer(), {}, 0
        return self._frozen

    def thaw(self) -> int:
        """The write-back is durable and readable: the frozen layer may go. Returns its index."""
        assert self._frozen is not None, "no write-back is under way"
        self.flushed_index, self.flushed_term = self._frozen.index, self._frozen.term
        changes, self._frozen = self._frozen.changes, None
        # What was just written is likely to be read next; and what was kept of it before is old now.
        self._clean.update(changes)
        self._spent(sum([len(key) + (len(value) if value is not None else 0) for key, value in changes.items()]))
        return self.flushed_index

    def refreeze(self) -> None:
        """The write-back failed and nothing of it was written (disk full): take it back into the dirty layer."""
        assert self._frozen is not None, "no write-back is under way"
        newer, self._dirty = self._dirty, self._frozen.changes
        self._dirty.update(newer)
        self._local = {**self._frozen.local, **self._local}
        self._frozen = None

    def replaced(self, index: int, term: int) -> None:
        """The store below was replaced as a whole, at `index`: every layer above it is void, but the local table."""
        assert self._frozen is None, f"the state is replaced at {index} while a write-back is under way"
        self._dirty, self.dirty_bytes = Layer(), 0
        self.let_go()
        self.index, self.term = index, term
        self.flushed_index, self.flushed_term, self.last_frozen_index = index, term, index

    def moment(self) -> Moment:
        """What is in memory of the state as it is now, however it moves on meanwhile."""
        above: dict[bytes, bytes | None] = {}
        if self._frozen is not None:
            above.update(self._frozen.changes)
        above.update(self._dirty)
        return Moment(self.index, self.term, above, self.last_frozen_index)

    def local_above(self) -> dict[bytes, bytes | None]:
        """The changes of the local table that are not on disk yet."""
        return {**(self._frozen.local if self._frozen is not None else {}), **self._local}
