"""One LMDB environment: reads that never wait, writes that are one function, and every failure given its right name.

The traps of the library are all kept in this file:

* A write transaction belongs to the thread that began it, and nothing checks that. So `write` takes a function, and
  begins, calls it and commits in one breath; no transaction ever leaves this file's callers as a value to keep.
* The map is full before the disk is: `write` grows it and tries again. Growing kills every open read transaction, so
  reads hold a gate, which only growing (and closing) takes from the other side. A copy of the file is a long read: it
  has a gate of its own, so that growing waits for it and reads do not.
* A full disk comes as EIO, as a failed disk does. On EIO a probe file tells them apart: a disk on which nothing more
  fits is full (recoverable: nothing was written), one with room is broken, and then no commit is tried again ever,
  since after a failed fsync nobody knows what is on the disk. ENOSPC from an fsync counts as full, too: the pages it
  was about belong to no commit yet, and the next transaction writes all of its own pages again.

Left out: who calls from which thread (writer.py), what the values mean (log.py, journal.py, state.py).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import lmdb

from replica.errors import StorageFailed, StorageFull, StoreDamaged, StoreError

if TYPE_CHECKING:
    from lmdb import _Database

    Transaction: TypeAlias = lmdb.Transaction[bytes]
    Database: TypeAlias = _Database

T = TypeVar("T")

MAIN = b""
"""The unnamed database of an environment. Each commit writes its page anyway, so small fixed records live there."""

PROBE_BYTES = 64 << 20
"""A disk on which this much does not fit counts as full: as much as a leader lets wait (max_uncommitted_bytes)."""

COMMITS_PER_READER_CHECK = 256
"""A reading process that was killed leaves a slot that keeps old pages alive: looked for every so many commits."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DAMAGED = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.CursorFullError, lmdb.InvalidError)


class EnvironmentClosed(StoreError):
    """Read or written after `close`. Where another environment took its place, ask that one."""


def open_lmdb(folder: Path, *, read_only: bool, lock: bool, databases: int, map_size: int) -> lmdb.Environment:
    """Open the files in `folder` with everything that makes a commit durable. Raises `StoreError`."""
    try:
        return lmdb.open(
            str(folder), map_size=map_size, readonly=read_only, lock=lock, create=not read_only, max_dbs=databases,
            mode=0o600, max_spare_txns=2,
        )  # fmt: skip
    except (lmdb.Error, OSError) as problem:
        raise StoreError(f"{folder}: cannot be opened: {problem}") from problem


class Environment:
    """An open LMDB environment with its named databases.

    `get`, `read` and `copy` may be called from any thread; `write` from one at a time (a second one waits). After
    `StorageFailed` every further `write` raises it again. `close` waits for a write or a copy in progress.
    """

    def __init__(
        self, folder: Path, names: Sequence[bytes], *, read_only: bool, lock: bool, create: bool, map_size: int,
        map_limit: int, later: Sequence[bytes] = (),
    ) -> None:  # fmt: skip
        """`later`: databases that an older release made the environment without. They are made where they are missing;
        where it is only read, they stay missing."""
        self.folder = folder
        self._read_only = read_only
        self._map_limit = max(map_limit, map_size)
        self._gate = threading.Lock()
        self._copying = threading.Lock()
        self._writing = threading.Lock()
        self._failure: StorageFailed | None = None
        self._commits = 0
        self._closed = False
        self._env = open_lmdb(
            folder, read_only=read_only, lock=lock, databases=len(names) + len(later), map_size=map_size
        )
        try:
            self._databases = {name: self._env.open_db(name or None, create=create) for name in (MAIN, *names)}
            for name in later:
                with suppress(*((lmdb.NotFoundError, lmdb.ReadonlyError) if read_only else ())):
                    self._databases[name] = self._env.open_db(name, create=not read_only)
        except lmdb.Error as problem:
            self._env.close()
            raise StoreError(f"{folder}: a table is missing or cannot be opened: {problem}") from problem

    def database(self, name: bytes) -> Database:
        """The handle of one of the databases named at opening."""
        return self._databases[name]

    def database_if_any(self, name: bytes) -> Database | None:
        """As `database`; None where it was not named, as for a store of an older format that is only read."""
        return self._databases.get(name)

    def fixed(self, key: bytes) -> bytes:
        """A record of the main database that is there from creation on: where it is not, its key was damaged."""
        sealed = self.get(self._databases[MAIN], key)
        if sealed is None:
            raise StoreDamaged(f"record {key.decode()!r} of {self.folder}", "it is missing")
        return sealed

    def get(self, database: Database, key: bytes) -> bytes | None:
        """One value as of the latest commit."""
        with self._gate:
            try:
                with self._begin_read() as txn:
                    return txn.get(key, None, database)
            except lmdb.Error as problem:
                raise self._unreadable(problem) from problem

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A read transaction on the latest commit. Keep it short: the map cannot grow while it is open."""
        with self._gate:
            try:
                with self._begin_read() as txn:
                    yield txn
            except lmdb.Error as problem:
                raise self._unreadable(problem) from problem

    def write(self, work: Callable[[Transaction], T], publish: Callable[[T], None]) -> None:
        """Begin, call `work` with the transaction, commit durably, all in this thread; then `publish` the result.

        `work` may be called again, `publish` is called once, before any other write begins. Whatever raises, nothing
        was written: `StorageFull` (try again when there is room), `StorageFailed` (and so will every later write),
        `StoreDamaged` (the file's structure), or what `work` itself raised.
        """
        if self._read_only:
            raise StoreError(f"{self.folder}: was opened for reading only")
        with self._writing:
            while True:
                if self._failure is not None:
                    raise self._failure
                try:
                    result = self._write_once(work)
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.Error as problem:
                    raise self._not_written(problem) from problem
                else:
                    publish(result)
                    return self._after_commit()

    def count(self, database: Database) -> int:
        """How many keys a database has."""
        with self.read() as txn:
            return txn.stat(database)["entries"]

    def copy(self, to: Path) -> None:
        """Copy the latest commit, without free pages, to a data file in the empty folder `to`. Not synced.

        Reads and writes go on meanwhile; only the map does not grow, and `close` waits. The pages of this one moment
        are kept for as long as it takes. Raises `StorageFull` (remove what was copied), `StoreDamaged`, `StoreError`.
        """
        with self._copying:
            if self._closed:
                raise EnvironmentClosed(f"{self.folder}: is closed")
            try:
                self._env.copy(str(to), compact=True)
            except lmdb.Error as problem:
                raise self._not_copied(problem, to) from problem

    def close(self) -> None:
        with self._writing, self._copying, self._gate:
            if not self._closed:
                self._closed = True
                self._env.close()

    def _write_once(self, work: Callable[[Transaction], T]) -> T:
        if self._closed:
            raise EnvironmentClosed(f"{self.folder}: is closed")
        with self._env.begin(write=True) as txn:
            return work(txn)

    def _begin_read(self) -> Transaction:
        if self._closed:
            raise EnvironmentClosed(f"{self.folder}: is closed")
        try:
            return self._env.begin()
        except lmdb.MapResizedError:  # another process, the store's owner, has grown the map
            self._env.set_mapsize(0)
            return self._env.begin()

    def _grow(self) -> None:
        size = self._env.info()["map_size"]
        if size >= self._map_limit:
            raise StorageFull(f"{self.folder}: the map of {size} bytes is full and may not grow further")
        try:
            with self._copying, self._gate:
                self._env.set_mapsize(min(size * 2, self._map_limit))
        except lmdb.Error as problem:
            raise StorageFull(f"{self.folder}: the map of {size} bytes is full and cannot grow: {problem}") from problem

    def _after_commit(self) -> None:
        self._commits += 1
        if self._commits % COMMITS_PER_READER_CHECK == 0:
            with suppress(lmdb.Error):  # housekeeping: what was committed stays committed
                self._env.reader_check()

    def _unreadable(self, problem: lmdb.Error) -> StoreError:
        if self._failure is not None:  # LMDB lets nobody read either, once the head of the file is in doubt
            return self._failure
        if isinstance(problem, _DAMAGED):
            return StoreDamaged(f"{self.folder}/data.mdb", f"its structure is damaged: {problem}")
        return StoreError(f"{self.folder}: cannot be read: {problem}")

    def _not_copied(self, problem: lmdb.Error, to: Path) -> StoreError:
        """The copy is at fault, not what is copied. A direct write that was cut short by a quota goes on at a place
        that is no block's, and is then told EINVAL."""
        code = getattr(problem, "code", 0)
        if code in FULL or (code in (errno.EIO, errno.EINVAL) and disk_is_full(to)):
            return StorageFull(f"{to}: the disk is full: {problem}")
        if isinstance(problem, _DAMAGED):
            return StoreDamaged(f"{self.folder}/data.mdb", f"its structure is damaged: {problem}")
        return StoreError(f"{self.folder}: cannot be copied to {to}: {problem}")

    def _not_written(self, problem: lmdb.Error) -> StoreError:
        """What a failed transaction means. LMDB has aborted it: the last commit stands."""
        if isinstance(problem, _DAMAGED):
            return StoreDamaged(f"{self.folder}/data.mdb", f"its structure is damaged: {problem}")
        code = getattr(problem, "code", 0)  # the library's own complaints carry none
        if code in FULL or (code == errno.EIO and disk_is_full(self.folder)):
            return StorageFull(f"{self.folder}: the disk is full: {problem}")
        self._failure = StorageFailed(f"{self.folder}: a commit failed, what is on the disk is unknown: {problem}")
        return self._failure


def disk_is_full(folder: Path) -> bool:
    """Whether `PROBE_BYTES` more do not fit: asked by trying, since quotas and limits do not show in `statvfs`."""
    probe = folder / "probe.tmp"
    try:
        fd = os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        return problem.errno in FULL
    try:
        os.posix_fallocate(fd, 0, PROBE_BYTES)
    except OSError as problem:
        return problem.errno in FULL
    else:
        return False
    finally:
        os.close(fd)
        probe.unlink(missing_ok=True)
