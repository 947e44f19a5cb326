"""A node's data folder, opened: two environments, the snapshots beside them, and the swap of one state for another.

Opening looks first, and writes nothing until everything is as it should be (opening.py); then it makes what is missing
(making.py), converts what is old (upgrading.py) and removes what a crash left over.

An `Install` is one transaction of the log environment: the name of the state's folder changes and the log is reset. The
prepared environment is open before that transaction begins, so nothing can go wrong after it: a reader of the state
goes from one to the other, and the old folder is deleted. A crash before the commit leaves the old state and log and a
prepared folder that nobody names; after it, the new ones and an old folder that nobody names. Both are deleted by the
next opening.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from replica.errors import StoreError
from replica.storage.contract import CHANGED_BYTES, Install, LogCompact, LogJob, LogReset, LogSave, StateJob
from replica.storage.environment import Environment, disk_is_full
from replica.storage.folder import FolderLock, check_folder, lock_as_owner, lock_as_reader
from replica.storage.identity import Identity
from replica.storage.journal import JournalEnds, LmdbJournal
from replica.storage.layout import (
    LOG_NAME,
    MAP_LIMIT,
    MAP_SIZE,
    STATE_NAME,
    Found,
    Sizes,
    open_environment,
)
from replica.storage.log import LmdbLog, LogEnds
from replica.storage.making import finish_creation, make_folder
from replica.storage.opening import inspect, look_before_locking, remove_leftovers, remove_state
from replica.storage.preparing import open_prepared
from replica.storage.snapshot_contract import CHUNK_BYTES, OnStep, Step, no_step
from replica.storage.snapshots import LmdbSnapshots
from replica.storage.state import LmdbState
from replica.storage.upgrading import upgrade

if TYPE_CHECKING:
    from replica.storage.environment import Transaction


def open_store(
    path: Path, identity: Identity, *, create: bool, read_only: bool = False, map_size: int = MAP_SIZE,
    map_limit: int = MAP_LIMIT, chunk_bytes: int = CHUNK_BYTES, changed_bytes: int = CHANGED_BYTES,
    on_step: OnStep = no_step,
) -> LmdbStore:  # fmt: skip
    """Open the data folder `path` of the node `identity`. The caller closes the store, after its writers.

    With `create`, a folder without a store gets one, with `identity.store_id`; the folder's parent must be there (an
    unmounted disk is not a new one). Otherwise the store id in `identity` is not looked at; `Store.identity` has the
    recorded one. `read_only` reads the store of a stopped node (or, through LMDB's table of readers, of a running one)
    and writes nothing at all to a stopped one's folder; meanwhile that node cannot be started. What can be read of a
    store with damaged pages can be read in this way only.

    `map_size` is the most that each environment may hold before its map is grown, up to `map_limit` (bytes).
    `chunk_bytes` is for the snapshots taken here, `changed_bytes` bounds the record of changed keys, `on_step` is
    called before each `Step` (for tests).

    Raises `StoreError` (`StoreDamaged` for a failed checksum or structure) with what and where; nothing was written.
    """
    assert not (create and read_only), "a store that is only read cannot be created"
    sizes = Sizes(map_size, map_limit, chunk_bytes, changed_bytes, on_step)
    folder = Path(path)
    if read_only:
        return _open_for_reading(folder, identity, sizes)
    if create:
        make_folder(folder)
    check_folder(folder, writing=True)
    look_before_locking(folder, identity, create=create)
    lock = lock_as_owner(folder)
    try:
        if create:
            finish_creation(folder, identity, sizes)
        found = inspect(folder, identity, writing=True, live=False)
        lock.announce()
        found = upgrade(folder, found, sizes)
        store = LmdbStore(folder, found, lock, sizes, read_only=False, live=False)
        try:
            store.clean()
        except BaseException:
            store.close()
            raise
        return store
    except BaseException:
        lock.release()
        raise


def peek_identity(path: Path) -> Identity:
    """Whose store the folder `path` holds. Writes nothing. Raises `StoreError` as a read-only `open_store` does."""
    folder = Path(path)
    check_folder(folder, writing=False)
    lock, live = lock_as_reader(folder)
    try:
        return inspect(folder, None, writing=False, live=live).log
    finally:
        if lock is not None:
            lock.release()


class LmdbStore:
    """`contract.Store` on disk. Made by `open_store`."""

    def __init__(
        self, folder: Path, found: Found, lock: FolderLock | None, sizes: Sizes, *, read_only: bool, live: bool
    ) -> None:
        self.folder = folder
        self.read_only = read_only
        self._identity = found.log
        self._lock = lock
        self._sizes = sizes
        shared = live or not read_only  # a reader of a stopped store takes no lock at all
        self._log_env = open_environment(
            folder / LOG_NAME, LOG_NAME, sizes, version=found.log.format_version, read_only=read_only, lock=shared
        )
        try:
            state_env = open_environment(
                folder / found.state_name, STATE_NAME, sizes, version=found.state.format_version, read_only=read_only,
                lock=shared,
            )  # fmt: skip
        except BaseException:
            self._log_env.close()
            raise
        try:
            self._state = LmdbState(state_env, self.commit_state, sizes.changed_bytes)
            self._log = LmdbLog(self._log_env, self.commit_log)
            self._journal = LmdbJournal(self._log_env, self.commit_log)
            self._fresh = self._log.is_untouched() and self._journal.is_untouched() and self._state.is_untouched()
            self._snapshots = LmdbSnapshots(
                folder, self._identity, sizes, self._state, self._log.memberships, read_only=read_only
            )
        except BaseException:
            self._log_env.close()
            state_env.close()
            raise

    @property
    def log(self) -> LmdbLog:
        return self._log

    @property
    def journal(self) -> LmdbJournal:
        return self._journal

    @property
    def state(self) -> LmdbState:
        return self._state

    @property
    def snapshots(self) -> LmdbSnapshots:
        return self._snapshots

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def fresh(self) -> bool:
        return self._fresh

    def commit_log(self, jobs: Sequence[LogJob]) -> Sequence[LogJob]:
        unfinished: list[LogJob] = []
        prepared = self._open_prepared(jobs)

        def work(txn: Transaction) -> tuple[LogEnds, JournalEnds]:
            unfinished.clear()  # the map may have been grown, and this is the second try
            return self._write_log(txn, jobs, unfinished)

        def publish(ends: tuple[LogEnds, JournalEnds]) -> None:
            self._log.publish(ends[0])
            self._journal.publish(ends[1])
            if prepared is not None:
                self._switch(prepared)

        try:
            self._log_env.write(work, publish)
        except BaseException:
            if prepared is not None and prepared is not self._state.env:
                prepared.close()
            raise
        return unfinished

    def commit_state(self, jobs: Sequence[StateJob]) -> Sequence[StateJob]:
        self._state.commit(jobs)
        return ()

    def has_room(self) -> bool:
        return not disk_is_full(self._log_env.folder)

    def clean(self) -> None:
        """Remove what a crash has left over. Called once, after the opening has found everything in order."""
        state_name = self._state.env.folder.name
        remove_leftovers(self.folder, state_name)
        self._snapshots.clean(state_name)

    def close(self) -> None:
        self._snapshots.close()
        self._log_env.close()
        self._state.env.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_log(
        self, txn: Transaction, jobs: Sequence[LogJob], unfinished: list[LogJob]
    ) -> tuple[LogEnds, JournalEnds]:
        log, journal = self._log.staged(), self._journal.staged()
        for job in jobs:
            if isinstance(job, LogSave | LogCompact | LogReset | Install):
                log, more = self._log.write(txn, job, log)
            else:
                journal, more = self._journal.write(txn, job, journal)
            if more:
                unfinished.append(job)
        return log, journal

    def _open_prepared(self, jobs: Sequence[LogJob]) -> Environment | None:
        """The environment that an `Install` among the jobs will switch to: everything that can fail, fails here."""
        installs = [job for job in jobs if isinstance(job, Install)]
        assert len(installs) <= 1, f"{len(installs)} installs in one commit"
        if not installs:
            return None
        job = installs[0]
        self._sizes.on_step(Step.INSTALL_OPEN)
        prepared = open_prepared(self.folder, self._identity, self._sizes, job.name, (job.index, job.term))
        try:
            self._sizes.on_step(Step.INSTALL_COMMIT)
        except BaseException:
            prepared.close()
            raise
        return prepared

    def _switch(self, prepared: Environment) -> None:
        """The log names the new state, durably. From here on nothing raises but the end of the process."""
        self._sizes.on_step(Step.INSTALL_SWITCH)
        before = self._state.switch(prepared)
        before.close()
        self._sizes.on_step(Step.INSTALL_CLEAN)
        remove_state(before.folder)
        self._snapshots.clean_received(prepared.folder.name)
        self._sizes.on_step(Step.INSTALL_DONE)


def _open_for_reading(folder: Path, identity: Identity, sizes: Sizes) -> LmdbStore:
    check_folder(folder, writing=False)
    lock, live = lock_as_reader(folder)
    try:
        while True:
            found = inspect(folder, identity, writing=False, live=live)
            try:
                return LmdbStore(folder, found, lock, sizes, read_only=True, live=live)
            except StoreError:  # a snapshot was installed while we looked
                if not live or inspect(folder, identity, writing=False, live=live).state_name == found.state_name:
                    raise
    except BaseException:
        if lock is not None:
            lock.release()
        raise
