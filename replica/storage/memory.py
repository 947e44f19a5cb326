"""A store in memory that keeps the same promises, and a disk under it that can be made to break its own.

For tests in virtual time and for the simulated world. What is committed is visible at once; whether it is *durable* is
a matter of its own: with `auto_sync` every commit is (as on a sound disk), without it only after `sync()`. `crash()`
is the power cut: it gives the store as a new process would find it, with the commits that were synced and, as a disk
may have got to them anyway, the first `survivors` of those that were not. A commit is there whole or not at all.

`before_commit` is called with every batch of jobs and may raise what a disk raises (`StorageFull`, `StorageFailed`);
then nothing of the batch happened. `damage_…` makes a record fail its checksum from then on.

Left out: torn pages and lost identities. Those are the business of folder.py and its tests on real files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from replica.errors import StorageFailed, StoreError
from replica.raft.types import Index
from replica.storage.contract import (
    Incarnation,
    JournalAppend,
    JournalReplace,
    JournalTrim,
    LogCompact,
    LogJob,
    LogReset,
    LogSave,
    StateJob,
)
from replica.storage.identity import Identity
from replica.storage.memory_parts import MemoryJournal, MemoryLog, MemoryState

BeforeCommit: TypeAlias = Callable[[Sequence[LogJob] | Sequence[StateJob]], None]


class _Contents:
    """Everything on one simulated disk, as somebody sees it: the process, or the power cut."""

    def __init__(self, log: MemoryLog, journal: MemoryJournal, state: MemoryState) -> None:
        self.log = log
        self.journal = journal
        self.state = state

    def copy(self, store: MemoryStore) -> _Contents:
        return _Contents(
            self.log.copy(store.commit_log), self.journal.copy(store.commit_log), self.state.copy(store.commit_state)
        )

    def apply(self, jobs: Sequence[LogJob | StateJob]) -> None:
        for job in jobs:
            if isinstance(job, LogSave | LogCompact | LogReset):
                self.log.apply(job)
            elif isinstance(job, JournalAppend | JournalReplace | JournalTrim):
                self.journal.apply(job)
            else:
                self.state.apply(job)

    def is_untouched(self) -> bool:
        return self.log.untouched and self.state.untouched and not self.journal.incarnations()


class MemoryStore:
    """`contract.Store` in memory.

    `before_commit` may raise instead of a disk; after `StorageFailed` every later commit raises it again. `unsynced` is
    how many commits a power cut would lose.
    """

    def __init__(
        self, identity: Identity, *, auto_sync: bool = True, before_commit: BeforeCommit | None = None,
        contents: _Contents | None = None,
    ) -> None:  # fmt: skip
        self._identity = identity
        self._auto_sync = auto_sync
        self.before_commit = before_commit
        self._failure: StorageFailed | None = None
        self._closed = False
        empty = _Contents(MemoryLog(self.commit_log), MemoryJournal(self.commit_log), MemoryState(self.commit_state))
        self._seen = (contents or empty).copy(self)
        self._durable = self._seen if auto_sync else self._seen.copy(self)
        self._unsynced: list[Sequence[LogJob | StateJob]] = []
        self._fresh = self._seen.is_untouched()

    @property
    def log(self) -> MemoryLog:
        return self._seen.log

    @property
    def journal(self) -> MemoryJournal:
        return self._seen.journal

    @property
    def state(self) -> MemoryState:
        return self._seen.state

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def fresh(self) -> bool:
        return self._fresh

    @property
    def unsynced(self) -> int:
        return len(self._unsynced)

    def commit_log(self, jobs: Sequence[LogJob]) -> Sequence[LogJob]:
        self._check(jobs)
        self._take(jobs)
        return ()

    def commit_state(self, jobs: Sequence[StateJob]) -> Sequence[StateJob]:
        self._check(jobs)
        self._take(jobs)
        return ()

    def sync(self) -> None:
        """Everything committed is durable from now on."""
        for jobs in self._unsynced:
            self._durable.apply(jobs)
        self._unsynced = []

    def crash(self, survivors: int = 0) -> MemoryStore:
        """Close this store, and give the one that a new process finds after a power cut now.

        The first `survivors` of the unsynced commits got to the disk all the same. The new store is on the same kind
        of disk, without the `before_commit` of the old one.
        """
        assert 0 <= survivors <= len(self._unsynced), f"{survivors} of {len(self._unsynced)} unsynced commits"
        for jobs in self._unsynced[:survivors]:
            self._durable.apply(jobs)
        self.close()
        return MemoryStore(self._identity, auto_sync=self._auto_sync, contents=self._durable)

    def reopen(self) -> MemoryStore:
        """As `crash`, for a process that ended on a machine that went on: everything committed is there."""
        return self.crash(len(self._unsynced))

    def damage_entry(self, index: Index) -> None:
        """Flip a bit in a log entry."""
        for contents in self._disks():
            contents.log.damage(index)

    def damage_hard_state(self) -> None:
        """Flip a bit in term and vote."""
        for contents in self._disks():
            contents.log.damage(None)

    def damage_journal(self, incarnation: Incarnation, seq: int) -> None:
        """Flip a bit in a journal record."""
        for contents in self._disks():
            contents.journal.damage(incarnation, seq)

    def damage_record(self, key: bytes) -> None:
        """Flip a bit in a state record."""
        for contents in self._disks():
            contents.state.damage(key)

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, jobs: Sequence[LogJob] | Sequence[StateJob]) -> None:
        if self._closed:
            raise StoreError(f"memory store of {self._identity}: is closed")
        if self._failure is not None:
            raise self._failure
        if self.before_commit is not None:
            try:
                self.before_commit(jobs)
            except StorageFailed as problem:
                self._failure = problem
                raise

    def _take(self, jobs: Sequence[LogJob | StateJob]) -> None:
        """A job refused by an assert is a bug, and with others before it in the batch leaves half of it done: stop."""
        try:
            self._seen.apply(jobs)
        except BaseException as problem:
            if len(jobs) > 1:
                self._failure = StorageFailed(f"memory store of {self._identity}: stopped after {problem!r}")
            raise
        if not self._auto_sync:
            self._unsynced.append(list(jobs))

    def _disks(self) -> tuple[_Contents, ...]:
        return (self._seen,) if self._seen is self._durable else (self._seen, self._durable)
