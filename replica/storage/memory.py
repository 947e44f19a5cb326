"""A store in memory that keeps the same promises, and a disk under it that can be made to break its own.

For tests in virtual time and for the simulated world. What is committed is visible at once; whether it is *durable* is
a matter of its own: with `auto_sync` every commit is (as on a sound disk), without it only after `sync()`. The faults,
by name:

    before_commit      called with every batch of jobs; may raise what a disk raises (`StorageFull`, `StorageFailed`):
                       then nothing of the batch happened
    on_step            called before each `Step` of a snapshot's life, up to the commit of an install; may raise the
                       same, or whatever ends the process: then that step did not happen. After INSTALL_COMMIT it may
                       only end the process
    crash(survivors)   the power cut: the store as a new process would find it, with the commits that were synced and,
                       as a disk may have got to them anyway, the first `survivors` of those that were not. A commit is
                       there whole or not at all
    crash(…, torn=n)   the next commit after these was torn: its first n records are sound, the others fail their
                       checksum. Where the opening needs one of those, `crash` raises the `StoreDamaged` of the opening
    crash(…, kept=f)   which of the snapshot chunks that were not synced are there all the same; any subset
    reopen()           the end of the process on a machine that goes on
    damage_…           a bit flips: in an entry, term and vote, a membership, a journal record, a state record, a chunk
                       of a held snapshot, a chunk of one that comes in

Left out: lost identities. Those are the business of folder.py and its tests on real files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from replica.errors import StorageFailed, StoreDamaged, StoreError
from replica.raft.types import Index
from replica.storage.contract import CHANGED_BYTES, Incarnation, Install, LogJob, StateJob
from replica.storage.identity import Identity
from replica.storage.memory_contents import Contents, Installing, MemoryJob, records_in, tear
from replica.storage.memory_journal import MemoryJournal
from replica.storage.memory_log import MemoryLog
from replica.storage.memory_snapshots import Kept, MemoryFolders, MemorySnapshots, flipped
from replica.storage.memory_state import MemoryState
from replica.storage.snapshot_contract import CHUNK_BYTES, OnStep, Step, no_step

BeforeCommit: TypeAlias = Callable[[Sequence[LogJob] | Sequence[StateJob]], None]


def _none_kept(_: str, __: int) -> bool:
    return False


class MemoryStore:
    """`contract.Store` in memory.

    `before_commit` and `on_step` may raise instead of a disk; after `StorageFailed` from the first every later commit
    raises it again. `unsynced` is how many commits a power cut would lose.
    """

    def __init__(
        self, identity: Identity, *, auto_sync: bool = True, before_commit: BeforeCommit | None = None,
        on_step: OnStep = no_step, chunk_bytes: int = CHUNK_BYTES, changed_bytes: int = CHANGED_BYTES,
        contents: Contents | None = None, folders: MemoryFolders | None = None,
    ) -> None:  # fmt: skip
        self._identity = identity
        self._auto_sync = auto_sync
        self.before_commit = before_commit
        self.on_step = on_step
        self._chunk_bytes = chunk_bytes
        self._changed_bytes = changed_bytes
        self._failure: StorageFailed | None = None
        self._closed = False
        self._lock = threading.RLock()
        self._seen = (contents or Contents.empty(self, changed_bytes)).copy(self)
        self._durable = self._seen if auto_sync else self._seen.copy(self)
        self._unsynced: list[Sequence[MemoryJob]] = []
        self._fresh = self._seen.is_untouched()
        self._folders = folders or MemoryFolders()
        self._snapshots = MemorySnapshots(
            self._folders, self._seen.state, self._seen.log.memberships, self._lock, chunk_bytes=chunk_bytes,
            synced=auto_sync, installed=lambda: self._seen.installed, on_step=self._step,
        )  # fmt: skip

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
    def snapshots(self) -> MemorySnapshots:
        return self._snapshots

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
        prepared = self._find_prepared(jobs)
        self._check(jobs)
        self._take([Installing(job, prepared) if isinstance(job, Install) and prepared else job for job in jobs])
        if prepared is not None:
            self._finish_install(next(job.name for job in jobs if isinstance(job, Install)))
        return ()

    def commit_state(self, jobs: Sequence[StateJob]) -> Sequence[StateJob]:
        self._check(jobs)
        self._take(jobs)
        return ()

    def sync(self) -> None:
        """Everything committed, and every chunk that came in, is durable from now on."""
        for jobs in self._unsynced:
            self._durable.apply(jobs)
        self._unsynced = []
        self._folders.sync()

    def crash(self, survivors: int = 0, *, torn: int | None = None, kept: Kept = _none_kept) -> MemoryStore:
        """Close this store, and give the one that a new process finds after a power cut now.

        The first `survivors` of the unsynced commits got to the disk all the same; with `torn`, so many records of the
        one after them. The new store is on the same kind of disk, without the hooks of the old one. Raises
        `StoreDamaged` where the torn commit leaves a store that does not open.
        """
        assert 0 <= survivors <= len(self._unsynced), f"{survivors} of {len(self._unsynced)} unsynced commits"
        self.close()
        for jobs in self._unsynced[:survivors]:
            self._durable.apply(jobs)
        if torn is not None:
            assert survivors < len(self._unsynced), f"no commit after the first {survivors} to be torn"
            tear(self._durable, self._unsynced[survivors], torn)
        return MemoryStore(
            self._identity, auto_sync=self._auto_sync, chunk_bytes=self._chunk_bytes,
            changed_bytes=self._changed_bytes, contents=self._durable,
            folders=self._folders.after_crash(self._durable.installed, kept),
        )  # fmt: skip

    def reopen(self) -> MemoryStore:
        """As `crash`, for a process that ended on a machine that went on: everything committed is there."""
        return self.crash(len(self._unsynced), kept=lambda _, __: True)

    def records_unsynced(self, commit: int) -> int:
        """How many records the unsynced commit number `commit` (from 0) writes: `torn` is sensible below that."""
        return len(records_in(self._unsynced[commit]))

    # --- a bit flips ---

    def damage_entry(self, index: Index) -> None:
        """Flip a bit in a log entry."""
        for contents in self._disks():
            contents.log.damage(index)

    def damage_hard_state(self) -> None:
        """Flip a bit in term and vote."""
        for contents in self._disks():
            contents.log.damage(None)

    def damage_membership(self, index: Index) -> None:
        """Flip a bit in what is kept of a membership apart from its entry."""
        for contents in self._disks():
            contents.log.damage_membership(index)

    def damage_journal(self, incarnation: Incarnation, seq: int) -> None:
        """Flip a bit in a journal record."""
        for contents in self._disks():
            contents.journal.damage(incarnation, seq)

    def damage_record(self, key: bytes) -> None:
        """Flip a bit in a state record."""
        for contents in self._disks():
            contents.state.damage(key)

    def damage_chunk(self, name: str, chunk: int) -> None:
        """Flip a bit in a chunk of a held snapshot."""
        manifest, packed = self._folders.snapshots[name]
        self._folders.snapshots[name] = (manifest, flipped(packed, chunk * manifest.chunk_bytes))

    def damage_received(self, name: str, chunk: int) -> None:
        """Flip a bit in a chunk that came in."""
        chunks = self._folders.receiving[name].chunks
        chunks[chunk] = flipped(chunks[chunk], 0)

    def has_room(self) -> bool:
        return True

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- details ---

    def _step(self, step: Step) -> None:
        if self._closed:
            raise StoreError(f"memory store of {self._identity}: is closed")
        self.on_step(step)

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

    def _find_prepared(self, jobs: Sequence[LogJob]) -> MemoryState | None:
        """The state that an `Install` among the jobs will switch to."""
        installs = [job for job in jobs if isinstance(job, Install)]
        assert len(installs) <= 1, f"{len(installs)} installs in one commit"
        if not installs:
            return None
        job = installs[0]
        self._step(Step.INSTALL_OPEN)
        prepared = self._folders.prepared.get(job.name)
        if prepared is None:
            raise StoreError(f"snapshot {job.name}: no state was prepared under this name")
        if prepared.applied() != (job.index, job.term):
            as_of = prepared.applied()
            raise StoreDamaged(
                f"snapshot {job.name}", f"is as of {as_of}, to be installed as of {(job.index, job.term)}"
            )
        self._step(Step.INSTALL_COMMIT)
        return prepared

    def _take(self, jobs: Sequence[MemoryJob]) -> None:
        """A job refused by an assert is a bug, and with others before it in the batch leaves half of it done: stop."""
        with self._lock:
            try:
                self._seen.apply(jobs)
            except BaseException as problem:
                if len(jobs) > 1:
                    self._failure = StorageFailed(f"memory store of {self._identity}: stopped after {problem!r}")
                raise
            if not self._auto_sync:
                self._unsynced.append(list(jobs))

    def _finish_install(self, name: str) -> None:
        self._step(Step.INSTALL_SWITCH)
        self._step(Step.INSTALL_CLEAN)
        self._folders.prepared.pop(name, None)
        self._snapshots.drop_received(name)
        self._step(Step.INSTALL_DONE)

    def _disks(self) -> tuple[Contents, ...]:
        return (self._seen,) if self._seen is self._durable else (self._seen, self._durable)
