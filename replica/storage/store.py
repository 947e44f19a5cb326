"""Opening a node's data folder: look first, write nothing until everything is as it should be.

A store is made in a corner of its folder (`.new`), both environments whole and with their identity, and then moved into
place, log first. So an environment that is in its place is complete, and a crash leaves one of three things: a corner
to be thrown away (neither is in place), a corner with the state still to be moved, or an empty corner. Nothing that is
in place is ever deleted here.

Left out: several state folders with a pointer, for snapshot install. The pointer will be one more small record in the
log environment; its absence means `state`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from replica.errors import StoreError
from replica.storage.contract import LogCompact, LogJob, LogReset, LogSave, StateJob
from replica.storage.environment import MAIN, Environment
from replica.storage.folder import (
    LOCK_NAME,
    FolderLock,
    check_data_file,
    check_folder,
    check_whole,
    lock_as_owner,
    lock_as_reader,
    sync_folder,
)
from replica.storage.identity import (
    IDENTITY_KEY,
    Identity,
    check_same_node,
    check_same_store,
    decode_identity,
    encode_identity,
)
from replica.storage.journal import PLACES, JournalEnds, LmdbJournal, initial_journal_records
from replica.storage.journal import RECORDS as JOURNAL_RECORDS
from replica.storage.log import ENTRIES, LmdbLog, LogEnds, initial_log_records
from replica.storage.state import LOCAL, LmdbState, initial_state_records
from replica.storage.state import RECORDS as STATE_RECORDS

if TYPE_CHECKING:
    from replica.storage.environment import Transaction

LOG_NAME = "log"
STATE_NAME = "state"
NEW_NAME = ".new"
INITIAL = {LOG_NAME: lambda: initial_log_records() | initial_journal_records(), STATE_NAME: initial_state_records}
TABLES = {LOG_NAME: (ENTRIES, JOURNAL_RECORDS, PLACES), STATE_NAME: (STATE_RECORDS, LOCAL)}

MAP_SIZE = 64 << 30
"""Address space, not disk: the file grows as it is written."""
MAP_LIMIT = 1 << 40


@dataclass(frozen=True, slots=True)
class _Sizes:
    map_size: int
    map_limit: int


def open_store(
    path: Path, identity: Identity, *, create: bool, read_only: bool = False, map_size: int = MAP_SIZE,
    map_limit: int = MAP_LIMIT,
) -> LmdbStore:  # fmt: skip
    """Open the data folder `path` of the node `identity`. The caller closes the store, after its writers.

    With `create`, a folder without a store gets one, with `identity.store_id`; the folder's parent must be there (an
    unmounted disk is not a new one). Otherwise the store id in `identity` is not looked at; `Store.identity` has the
    recorded one. `read_only` reads the store of a stopped node (or, through LMDB's table of readers, of a running one)
    and writes nothing at all to a stopped one's folder; meanwhile that node cannot be started. What can be read of a
    store with damaged pages can be read in this way only.

    `map_size` is the most that each environment may hold before its map is grown, up to `map_limit` (bytes).

    Raises `StoreError` (`StoreDamaged` for a failed checksum or structure) with what and where; nothing was written.
    """
    assert not (create and read_only), "a store that is only read cannot be created"
    sizes = _Sizes(map_size, map_limit)
    folder = Path(path)
    if read_only:
        return _open_for_reading(folder, identity, sizes)
    if create:
        _make_folder(folder)
    check_folder(folder, writing=True)
    _look_before_locking(folder, identity, create=create)
    lock = lock_as_owner(folder)
    try:
        if create:
            _finish_creation(folder, identity, sizes)
        recorded = _inspect(folder, identity, writing=True, live=False)
        lock.announce()
        return LmdbStore(folder, recorded, lock, sizes, read_only=False, live=False)
    except BaseException:
        lock.release()
        raise


def peek_identity(path: Path) -> Identity:
    """Whose store the folder `path` holds. Writes nothing. Raises `StoreError` as a read-only `open_store` does."""
    folder = Path(path)
    check_folder(folder, writing=False)
    lock, live = lock_as_reader(folder)
    try:
        return _inspect(folder, None, writing=False, live=live)
    finally:
        if lock is not None:
            lock.release()


class LmdbStore:
    """`contract.Store` on disk. Made by `open_store`."""

    def __init__(
        self, folder: Path, identity: Identity, lock: FolderLock | None, sizes: _Sizes, *, read_only: bool, live: bool
    ) -> None:
        self.folder = folder
        self.read_only = read_only
        self._identity = identity
        self._lock = lock
        self._log_env = _open_environment(folder / LOG_NAME, sizes, read_only=read_only, live=live)
        try:
            self._state_env = _open_environment(folder / STATE_NAME, sizes, read_only=read_only, live=live)
        except BaseException:
            self._log_env.close()
            raise
        try:
            self._log = LmdbLog(self._log_env, self.commit_log)
            self._journal = LmdbJournal(self._log_env, self.commit_log)
            self._state = LmdbState(self._state_env, self.commit_state)
            self._fresh = self._log.is_untouched() and self._journal.is_untouched() and self._state.is_untouched()
        except BaseException:
            self._close_environments()
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
    def identity(self) -> Identity:
        return self._identity

    @property
    def fresh(self) -> bool:
        return self._fresh

    def commit_log(self, jobs: Sequence[LogJob]) -> Sequence[LogJob]:
        unfinished: list[LogJob] = []

        def work(txn: Transaction) -> tuple[LogEnds, JournalEnds]:
            unfinished.clear()  # the map may have been grown, and this is the second try
            return self._write_log(txn, jobs, unfinished)

        self._log_env.write(work, self._publish)
        return unfinished

    def commit_state(self, jobs: Sequence[StateJob]) -> Sequence[StateJob]:
        self._state_env.write(lambda txn: self._state.write(txn, jobs), lambda _: None)
        return ()

    def close(self) -> None:
        self._close_environments()
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
            if isinstance(job, LogSave | LogCompact | LogReset):
                log, more = self._log.write(txn, job, log)
            else:
                journal, more = self._journal.write(txn, job, journal)
            if more:
                unfinished.append(job)
        return log, journal

    def _publish(self, ends: tuple[LogEnds, JournalEnds]) -> None:
        self._log.publish(ends[0])
        self._journal.publish(ends[1])

    def _close_environments(self) -> None:
        self._log_env.close()
        self._state_env.close()


# --- looking ---


def _open_for_reading(folder: Path, identity: Identity, sizes: _Sizes) -> LmdbStore:
    check_folder(folder, writing=False)
    lock, live = lock_as_reader(folder)
    try:
        recorded = _inspect(folder, identity, writing=False, live=live)
        return LmdbStore(folder, recorded, lock, sizes, read_only=True, live=live)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def _look_before_locking(folder: Path, identity: Identity, *, create: bool) -> None:
    """Taking the lock makes its file. Where there is none yet, nobody is at it, and we may look first."""
    if (folder / LOCK_NAME).exists():
        return
    if (folder / LOG_NAME).exists() or (folder / STATE_NAME).exists():
        _inspect(folder, identity, writing=True, live=False)
    elif not create:
        raise StoreError(f"{folder}: holds no store ({LOG_NAME} and {STATE_NAME} are missing)")


def _inspect(folder: Path, expected: Identity | None, *, writing: bool, live: bool) -> Identity:
    """Check everything that can be checked without writing. The recorded identity."""
    found = []
    for name in (LOG_NAME, STATE_NAME):
        environment = folder / name
        check_data_file(environment, writing=writing)
        check_whole(environment, writing=writing, at_rest=not live)
        found.append(_recorded_identity(environment, live=live))
        if expected is not None:
            check_same_node(found[-1], expected, str(environment))
    check_same_store(found[0], found[1], str(folder))
    return found[0]


def _recorded_identity(environment: Path, *, live: bool) -> Identity:
    env = Environment(
        environment, (), read_only=True, lock=live, create=False, map_size=MAP_SIZE, map_limit=MAP_SIZE
    )  # fmt: skip
    try:
        return decode_identity(env.get(env.database(MAIN), IDENTITY_KEY), str(environment))
    finally:
        env.close()


def _open_environment(environment: Path, sizes: _Sizes, *, read_only: bool, live: bool) -> Environment:
    """A reader of a stopped store takes no lock at all; any other is in LMDB's table of readers."""
    return Environment(
        environment, TABLES[environment.name], read_only=read_only, lock=live or not read_only, create=False,
        map_size=sizes.map_size, map_limit=sizes.map_limit,
    )  # fmt: skip


# --- making ---


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    except OSError as problem:
        raise StoreError(f"{folder}: cannot be made: {problem.strerror}") from problem
    sync_folder(folder.parent)


def _finish_creation(folder: Path, identity: Identity, sizes: _Sizes) -> None:
    """Make what is missing, or go on where a crash interrupted the making."""
    log, state, new = folder / LOG_NAME, folder / STATE_NAME, folder / NEW_NAME
    try:
        if not log.exists() and not state.exists():
            shutil.rmtree(new, ignore_errors=True)
            _make_environments(new, identity, sizes)
            _move(new / LOG_NAME, log)
            _move(new / STATE_NAME, state)
        elif not state.exists() and (new / STATE_NAME).exists():
            check_same_node(_recorded_identity(log, live=False), identity, str(log))
            _move(new / STATE_NAME, state)
        if log.exists() and state.exists() and new.is_dir() and not any(new.iterdir()):
            new.rmdir()
            sync_folder(folder)
    except OSError as problem:
        raise StoreError(f"{folder}: a store cannot be made here: {problem}") from problem


def _make_environments(new: Path, identity: Identity, sizes: _Sizes) -> None:
    new.mkdir(mode=0o700)
    for name, tables in TABLES.items():
        folder = new / name
        folder.mkdir(mode=0o700)
        env = Environment(
            folder, tables, read_only=False, lock=True, create=True, map_size=sizes.map_size, map_limit=sizes.map_limit
        )
        try:
            _write_first(env, {IDENTITY_KEY: encode_identity(identity), **INITIAL[name]()})
        finally:
            env.close()
        sync_folder(folder)
    sync_folder(new)


def _write_first(env: Environment, records: Mapping[bytes, bytes]) -> None:
    def work(txn: Transaction) -> None:
        for key in sorted(records):
            txn.put(key, records[key], db=env.database(MAIN))

    env.write(work, lambda _: None)


def _move(old: Path, new: Path) -> None:
    old.rename(new)
    sync_folder(new.parent)
