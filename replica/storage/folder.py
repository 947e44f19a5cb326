"""The data folder before LMDB sees it: may we, is it whole, and is nobody else at it.

LMDB maps the file into memory and trusts it. A file that was cut short kills the process at the first missing page, and
a second owner in another process would be let in silently. So all of that is found here first, and nothing is written
while looking.

The folder's own lock is `DIR/LOCK`, held (flock) by the owner while the store is open, with its process id inside. Each
environment is a folder with `data.mdb` and LMDB's table of readers, `lock.mdb`; which there are says layout.py.

Left out: who is meant to own the store (identity.py), and network file systems, on which neither flock nor LMDB can be
trusted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from lmdb.verify import VerifyError, verify

from replica.errors import StoreDamaged, StoreError

LOCK_NAME = "LOCK"
DATA_NAME = "data.mdb"

VERIFY_BELOW_BYTES = 64 << 20
"""Files up to this size are walked page by page at each opening (0.4 s); larger ones (6 s a GB) only if cut short."""


# --- may we ---


def check_folder(folder: Path, *, writing: bool) -> None:
    """Raise `StoreError` unless `folder` is a directory that we may read (and write, and own, where `writing`)."""
    _check(folder, stat.S_ISDIR, "a directory", writing=writing)


def check_data_file(environment: Path, *, writing: bool) -> None:
    """Raise `StoreError` unless `environment` is a folder with a data file that we may use."""
    _check(environment, stat.S_ISDIR, "a directory", writing=writing)
    _check(environment / DATA_NAME, stat.S_ISREG, "a file", writing=writing)


def _check(path: Path, is_right: Callable[[int], bool], wanted: str, *, writing: bool) -> None:
    try:
        found = path.stat()
    except FileNotFoundError as problem:
        raise StoreError(f"{path}: is missing") from problem
    except OSError as problem:
        raise StoreError(f"{path}: cannot be looked at: {problem.strerror}") from problem
    if not is_right(found.st_mode):
        raise StoreError(f"{path}: is not {wanted}")
    if writing and found.st_uid != os.geteuid():
        raise StoreError(f"{path}: is owned by user {found.st_uid}, this process runs as user {os.geteuid()}")
    if not os.access(path, os.R_OK):
        raise StoreError(f"{path}: may not be read by user {os.geteuid()}")
    if writing and not os.access(path, os.W_OK):
        raise StoreError(f"{path}: is read-only")


# --- is it whole ---

_MAGIC = 0xBEEFC0DE
_META = Struct("=16xII8x8xI44x48xQQ")
"""Page header; magic, version, address, map size; page size and the rest of two table roots; last page, transaction.
In the byte order of the machine, as LMDB writes it."""


def check_whole(environment: Path, *, writing: bool, at_rest: bool) -> None:
    """Raise `StoreError` where the data file is empty, cut short, or not LMDB's; `StoreDamaged` for damaged structure.

    `at_rest` says that no process has it open, so that its pages can be walked. Whoever only reads may look at damaged
    pages too (LMDB checks what it follows): so a journal can be saved from a store that its node no longer opens.
    """
    path = environment / DATA_NAME
    even, odd = _read_metas(path)
    if at_rest:
        _check_transactions(path, even, odd)
        size, needed = path.stat().st_size, max(even, odd, key=lambda meta: meta.transaction).needed_bytes
        if (writing and size < VERIFY_BELOW_BYTES) or size < needed:
            _walk(path, cut_short=size < needed, size=size)


@dataclass(frozen=True, slots=True)
class _Meta:
    """One of the two pages at the head of the file; the one with the higher transaction number is the newest commit."""

    transaction: int
    page_bytes: int
    needed_bytes: int
    """Where this commit says that the file ends. Its last pages may be free ones that were never written."""


def _read_metas(path: Path) -> tuple[_Meta, _Meta]:
    with path.open("rb") as file:
        head = file.read(_META.size)
        if not head:
            raise StoreError(f"{path}: is empty (zero bytes)")
        first = _read_meta(path, head)
        file.seek(first.page_bytes)
        return first, _read_meta(path, file.read(_META.size))


def _read_meta(path: Path, head: bytes) -> _Meta:
    if len(head) < _META.size:
        raise StoreError(f"{path}: is cut short at {path.stat().st_size} bytes")
    magic, _, page_bytes, last_page, transaction = _META.unpack(head)
    if magic != _MAGIC:
        raise StoreError(f"{path}: is not an LMDB file")
    return _Meta(transaction, page_bytes, (last_page + 1) * page_bytes)


def _check_transactions(path: Path, even: _Meta, odd: _Meta) -> None:
    """Commits go to the two pages in turn. A number out of turn is damage that would silently undo the last commit."""
    numbers = (even.transaction, odd.transaction)
    in_turn = abs(numbers[0] - numbers[1]) == 1 and numbers[0] % 2 == 0
    if not in_turn and numbers != (0, 0):
        raise StoreDamaged(str(path), f"its head names transactions {numbers[0]} and {numbers[1]}, out of turn")


def _walk(path: Path, *, cut_short: bool, size: int) -> None:
    """The walk also objects to a sound form that we never write: a long value made short within one transaction."""
    try:
        problems: list[str] = verify(str(path))  # type: ignore[no-untyped-call]  # the module carries no types
    except VerifyError as problem:
        problems = [str(problem)]
    if problems and cut_short:
        raise StoreError(f"{path}: is cut short at {size} bytes: {problems[0]}")
    if problems:
        raise StoreDamaged(str(path), f"its structure is damaged: {problems[0]}")


# --- is nobody else at it ---


class FolderLock:
    """A flock on DIR/LOCK: exclusive for the owner, shared for a reader of a stopped node's store.

    The kernel drops it with the process, however that ends. Closing the object releases it.
    """

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        self._announced = False

    def announce(self) -> None:
        """Write our process id into the file, for the error message of whoever comes second."""
        assert self._fd is not None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        self._announced = True

    def release(self) -> None:
        if self._fd is None:
            return
        if self._announced:
            os.ftruncate(self._fd, 0)
        os.close(self._fd)
        self._fd = None


def lock_as_owner(folder: Path) -> FolderLock:
    """Take the lock for writing. Raises `StoreError` naming the holder."""
    path = folder / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise StoreError(f"{path}: cannot be opened for writing: {problem.strerror}") from problem
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        holder = _holder(fd)
        os.close(fd)
        if problem.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise StoreError(f"{path}: cannot be locked: {problem.strerror}") from problem
        raise StoreError(f"{folder}: is in use by {holder}") from problem
    return FolderLock(fd)


def lock_as_reader(folder: Path) -> tuple[FolderLock | None, bool]:
    """Take the lock for reading, without writing anything. The lock, and whether a living owner has the store.

    No lock file, no owner: a copy of the two environments can be read too.
    """
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, False
    except OSError as problem:
        raise StoreError(f"{folder / LOCK_NAME}: cannot be opened: {problem.strerror}") from problem
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(fd)
        if problem.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise StoreError(f"{folder / LOCK_NAME}: cannot be locked: {problem.strerror}") from problem
        return None, True
    return FolderLock(fd), False


def _holder(fd: int) -> str:
    """Who holds the lock. A reader writes no process id, so one that is absent or dead means a reader."""
    text = os.pread(fd, 32, 0).strip()
    if text.isdigit() and _is_alive(int(text)):
        return f"process {int(text)}"
    return "a process that reads it"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file whose name is lost is lost."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
