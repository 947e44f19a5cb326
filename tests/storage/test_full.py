"""A full disk and a broken disk: nothing acknowledged in either case, and only the first is recovered from (D3, D4)."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import lmdb
import pytest

from replica.errors import StorageFailed, StorageFull, StoreDamaged
from replica.raft.types import HardState
from replica.storage import LmdbStore, open_store
from replica.storage import environment as environment_module
from replica.storage.environment import Environment, disk_is_full

from .battery import LIFE_1, ME, UNLIMITED, entries, entry

if TYPE_CHECKING:
    from replica.storage.environment import Transaction

MIB = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[LmdbStore]:
    """A store whose map of one MiB may not grow."""
    with open_store(tmp_path / "store", ME, create=True, map_size=MIB, map_limit=MIB) as store:
        yield store


def fill(store: LmdbStore) -> int:
    """Save entries of 10 kB until nothing more fits. The last index that was acknowledged."""
    for index in range(1, 1000):
        try:
            store.log.save(HardState(index, 1), [entry(index, data=b"x" * 10_000)], index)
        except StorageFull:
            return index - 1
    raise AssertionError("a map of one MiB took ten")


def test_a_full_map_acknowledges_nothing_and_keeps_everything(small: LmdbStore, tmp_path: Path) -> None:
    """What did not fit left no trace: no entry, no hard state, no hint; also for the next process."""
    last = fill(small)
    assert last > 20
    assert (small.log.last_index(), small.log.hard_state(), small.log.commit_hint()) == (last, HardState(last, 1), last)
    small.close()
    with open_store(tmp_path / "store", ME, create=False, map_size=MIB, map_limit=MIB) as found:
        assert (found.log.last_index(), found.log.hard_state()) == (last, HardState(last, 1))
        assert len(found.log.entries(1, last, UNLIMITED)) == last


def make_room(store: LmdbStore) -> None:
    """Allow the log's map another MiB, as an operator who gives the disk more room."""
    store._log_env._map_limit += MIB


def test_a_full_store_goes_on_when_there_is_room_again(small: LmdbStore) -> None:
    """By itself, without being opened again: the same save succeeds."""
    last = fill(small)
    make_room(small)
    small.log.save(None, [entry(last + 1, data=b"x" * 10_000)])
    assert small.log.last_index() == last + 1


def test_a_full_journal_takes_no_number(small: LmdbStore) -> None:
    """The number of a refused record is free for the next attempt."""
    fill(small)
    with pytest.raises(StorageFull, match="store/log: the map of 1048576 bytes is full and may not grow further"):
        small.journal.append([(LIFE_1, 0, b"x" * 20_000)])
    assert (small.journal.length, small.journal.last_seq(LIFE_1)) == (0, None)
    make_room(small)
    small.journal.append([(LIFE_1, 0, b"x" * 20_000)])
    assert small.journal.last_seq(LIFE_1) == 0


def test_a_full_state_keeps_the_last_flush(small: LmdbStore) -> None:
    """Records and applied index of the one before; the log is another environment and has room."""
    small.state.flush({b"a": b"1"}, (1, 1), {})
    with pytest.raises(StorageFull, match="store/state"):
        small.state.flush({b"%d" % number: b"x" * 10_000 for number in range(200)} | {b"a": b"2"}, (2, 1), {})
    assert (small.state.applied(), list(small.state.scan(b""))) == ((1, 1), [(b"a", b"1")])
    small.log.save(None, entries(1, 1))
    small.state.flush({b"a": b"3"}, (3, 1), {})
    assert small.state.get(b"a") == b"3"


def test_a_full_map_grows_where_it_may(tmp_path: Path) -> None:
    """Doubling until it fits, in the middle of one save, with readers before and after."""
    with open_store(tmp_path / "store", ME, create=True, map_size=MIB) as store:
        store.log.save(None, entries(1, 3))
        store.log.save(None, [entry(index, data=b"x" * MIB) for index in range(4, 24)])
        assert store.log.entries(1, 3, UNLIMITED) == tuple(entries(1, 3))
        assert store.log.last_index() == 23


Work: TypeAlias = "Callable[[Transaction], object]"


def raising(kind: type[lmdb.Error], code: int) -> Callable[[Environment, Work], object]:
    """An environment whose transactions do all their work and then fail to commit, as the library says it."""
    problem = kind("mdb_txn_commit")
    problem.code = code  # type: ignore[misc]  # the library sets it from C

    def write_once(self: Environment, work: Work) -> object:
        with self._env.begin(write=True) as txn:
            work(txn)
            raise problem

    return write_once


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_an_error_that_says_full_is_full(small: LmdbStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No space, no quota, no longer file: try again later, and later it works."""
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "_write_once", raising(lmdb.Error, number))
        with pytest.raises(StorageFull, match="the disk is full"):
            small.log.save(None, entries(1, 1))
    assert small.log.last_index() == 0
    small.log.save(None, entries(1, 1))
    assert small.log.last_index() == 1


def test_an_input_output_error_on_a_full_disk_is_full(small: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB says EIO where a write was cut short, as on a full disk; the probe tells."""
    monkeypatch.setattr(environment_module, "PROBE_BYTES", 1 << 60)  # more than fits on any disk
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "_write_once", raising(lmdb.DiskError, errno.EIO))
        with pytest.raises(StorageFull, match="the disk is full"):
            small.log.save(None, entries(1, 1))
    small.log.save(None, entries(1, 1))
    assert [each.name for each in (small.folder / "log").iterdir() if each.name.startswith("probe")] == []


def test_a_failed_commit_is_never_tried_again(small: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync nobody knows what is on the disk: this environment is written no more (fsyncgate, D3)."""
    monkeypatch.setattr(environment_module, "PROBE_BYTES", 4096)
    small.log.save(None, entries(1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "_write_once", raising(lmdb.DiskError, errno.EIO))
        with pytest.raises(StorageFailed, match="what is on the disk is unknown"):
            small.log.save(None, entries(2, 2))
    with pytest.raises(StorageFailed, match="what is on the disk is unknown"):
        small.log.save(None, entries(2, 2))
    with pytest.raises(StorageFailed):
        small.journal.append([(LIFE_1, 0, b"")])
    assert small.log.entries(1, 1, UNLIMITED) == tuple(entries(1, 1))
    small.state.flush({}, (1, 1), {})  # another environment, another file


def test_after_a_failed_commit_reading_fails_in_the_same_words(
    small: LmdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where LMDB refuses reads as well (the head of the file is in doubt), it is the same failure, not a new one."""
    monkeypatch.setattr(environment_module, "PROBE_BYTES", 4096)
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "_write_once", raising(lmdb.PanicError, -30795))
        with pytest.raises(StorageFailed):
            small.log.save(None, entries(1, 1))

    def panic(_: Environment) -> NoReturn:
        raise lmdb.PanicError("mdb_txn_renew")

    monkeypatch.setattr(Environment, "_begin_read", panic)
    with pytest.raises(StorageFailed, match="what is on the disk is unknown"):
        small.log.hard_state()
    with pytest.raises(StorageFailed, match="what is on the disk is unknown"):
        small.journal.read()


def test_a_damaged_structure_is_not_called_a_failed_disk(small: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another cure: the node is rebuilt from its peers."""
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "_write_once", raising(lmdb.CorruptedError, -30796))
        with pytest.raises(StoreDamaged, match=r"log/data\.mdb: its structure is damaged"):
            small.log.save(None, entries(1, 1))


def test_a_bug_in_a_job_undoes_its_transaction(small: LmdbStore) -> None:
    """Half a save is not left behind: the hard state before the entries that were refused is not there either."""
    with pytest.raises(AssertionError, match="do not join"):
        small.log.save(HardState(9, 9), entries(5, 6), 5)
    assert (small.log.hard_state(), small.log.commit_hint(), small.log.last_index()) == (HardState(), 0, 0)
    small.log.save(None, entries(1, 1))


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    """And finds room where there is room."""
    assert not disk_is_full(tmp_path)
    assert list(tmp_path.iterdir()) == []


WRITER = """
import os, resource, sys
from pathlib import Path
from replica.errors import StorageFull
from replica.raft.types import Entry, EntryKind
from replica.storage import Identity, open_store

folder, ballast = map(Path, sys.argv[1:])
me = Identity("lifeline", "zone-a", "zone", "0" * 32)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
if soft == hard:
    ballast.write_bytes(b"x" * (2 << 20))


def entry(index):
    return Entry(index, 1, EntryKind.DATA, bytes([index % 256]) * 10_000)


with open_store(folder, me, create=True) as store:
    last = 0
    try:
        while last < 1000:
            store.log.save(None, [entry(last + 1)])
            last += 1
    except StorageFull as problem:
        print("full", problem)
    assert store.log.last_index() == last
    try:
        store.log.save(None, [entry(last + 1)])
    except StorageFull as problem:
        print("still", problem)
    if soft == hard:
        ballast.unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for index in range(last + 1, last + 21):
        store.log.save(None, [entry(index)])
with open_store(folder, me, create=False) as store:
    found = store.log.entries(1, last + 20, 1 << 30)
    assert found == tuple(entry(index) for index in range(1, last + 21))
    print("recovered", 10 < last < 1000)
"""


def check_recovery(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    """Full was said, nothing acknowledged was lost, and saving went on when there was room."""
    assert done.stderr == ""
    first, second, third = done.stdout.splitlines()
    assert first.startswith(f"full {folder}/log: the disk is full")
    assert second.startswith(f"still {folder}/log: the disk is full")
    assert third == "recovered True"


SMALL_DISK = 'mount -t tmpfs -o size=4m tmpfs "$2" && exec "$0" -c "$1" "$2/store" "$2/ballast"'


@pytest.mark.processes
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounts a file system of its own")
def test_a_really_full_disk_is_recovered_from(tmp_path: Path) -> None:
    """Four MiB of tmpfs, then two more."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", SMALL_DISK, sys.executable, WRITER, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "mount" in done.stderr:
        pytest.skip("no permission to mount here")
    check_recovery(done, tmp_path / "store")


@pytest.mark.processes
def test_a_file_that_may_not_grow_is_recovered_from(tmp_path: Path) -> None:
    """A limit on the size of files, as a quota would be: there is room on the disk, and not for us."""
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 1 << 30)); exec(sys.argv.pop(1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, WRITER, str(tmp_path / "store"), str(tmp_path / "ballast")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    check_recovery(done, tmp_path / "store")


SAVER = """
import sys
from pathlib import Path
from replica.errors import StorageFailed
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import Identity, open_store

me = Identity("lifeline", "zone-a", "zone", "0" * 32)
with open_store(Path(sys.argv[1]), me, create=False) as store:
    acknowledged = 0
    failures = 0
    for index in range(1, 30):
        try:
            store.log.save(HardState(index, 1), [Entry(acknowledged + 1, 1, EntryKind.DATA, b"x")])
            acknowledged += 1
        except StorageFailed:
            failures += 1
    store.state.flush({b"other": b"environment"}, (1, 1), {})
print(acknowledged, failures)
"""


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make one system call fail")
def test_an_fsync_that_fails_once_is_the_last(tmp_path: Path) -> None:
    """The kernel returns EIO once (D3): everything before it is there, nothing after it was acknowledged."""
    open_store(tmp_path / "store", ME, create=True).close()
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=12", sys.executable, "-c",
         SAVER, str(tmp_path / "store")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("no permission to trace here")
    assert done.stderr == ""
    acknowledged, failures = map(int, done.stdout.split())
    assert (0 < acknowledged < 29, acknowledged + failures) == (True, 29)
    with open_store(tmp_path / "store", ME, create=False) as found:
        assert (found.log.last_index(), found.log.hard_state()) == (acknowledged, HardState(acknowledged, 1))
        assert found.state.applied() == (1, 1)
