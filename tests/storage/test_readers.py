"""Readers beside a writer: always the newest commit, never half of one, and no file that grows for their sake (D8)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from replica.storage import LmdbStore, open_store
from replica.storage.environment import COMMITS_PER_READER_CHECK
from replica.storage.log import ENTRIES_PER_COMPACTION

from .battery import ME, UNLIMITED, entries, entry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with open_store(tmp_path / "store", ME, create=True, map_size=1 << 20, changed_bytes=1 << 16) as store:
        yield store


def data_bytes(store: LmdbStore, name: str) -> int:
    return (store.folder / name / "data.mdb").stat().st_size


def test_a_scan_that_nobody_finishes_keeps_no_old_pages(store: LmdbStore) -> None:
    """Left open over two hundred flushes of the whole state, it costs what it would cost without."""
    for number in range(1, 21):
        store.state.flush({b"%05d" % key: b"%d" % number for key in range(3000)}, (number, 1), {})
    before = data_bytes(store, "state")
    scan = store.state.scan(b"")
    assert next(scan) == (b"00000", b"20")
    for number in range(21, 221):
        store.state.flush({b"%05d" % key: b"%d" % number for key in range(3000)}, (number, 1), {})
    assert data_bytes(store, "state") <= before
    assert len(list(scan)) == 2999


def test_a_log_that_is_compacted_does_not_grow(store: LmdbStore) -> None:
    """Ten thousand entries through a window of two hundred: the file stays at what the window needs."""
    for first in range(1, 10_001, 50):
        store.log.save(None, [entry(index, data=b"x" * 500) for index in range(first, first + 50)])
        if first > 200:
            store.log.compact(first - 200)
        if first == 1001:
            early = data_bytes(store, "log")
    assert data_bytes(store, "log") <= early + (64 << 10)


def test_reading_in_one_thread_while_another_writes(store: LmdbStore) -> None:
    """Every read is of one whole commit, though the map grows, entries are compacted, and both threads are busy."""
    wrong: list[object] = []
    written = threading.Event()

    def write() -> None:
        try:
            for turn in range(1, 120):
                first = turn * 10 - 9
                store.log.save(None, [entry(index, turn, b"x" * 3000) for index in range(first, first + 10)])
                store.state.flush({b"a": b"%d" % turn, b"b": b"%d" % turn}, (turn, 1), {})
        except BaseException as problem:
            wrong.append(problem)
        finally:
            written.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while not written.is_set():
        last = store.log.last_index()
        if last % 10:
            wrong.append(last)
        if last > 60:
            store.log.compaction(last - 50)
            first = store.log.first_index()
            found = [each.index for each in store.log.entries(first, last, UNLIMITED)]
            if found != list(range(first, last + 1)):
                wrong.append(found)
        records = list(store.state.scan(b""))
        if len({value for _, value in records}) > 1:
            wrong.append(records)
        reads += 1
    thread.join()
    assert wrong == []
    assert reads > 10
    assert data_bytes(store, "log") > 1 << 20


def test_a_crash_in_the_middle_of_a_compaction_is_harmless(tmp_path: Path) -> None:
    """Some entries below the promised floor are still there. They are the same entries; the next compaction goes on."""
    with open_store(tmp_path / "store", ME, create=True) as store:
        store.log.save(None, entries(1, 3000))
        left = store.commit_log([store.log.compaction(2500)])
        assert len(left) == 1
        assert store.log.first_index() == 2501
    with open_store(tmp_path / "store", ME, create=True) as store:
        assert store.log.first_index() == ENTRIES_PER_COMPACTION + 1
        assert store.log.term(ENTRIES_PER_COMPACTION) == 1
        assert store.log.entries(1001, 3000, UNLIMITED) == tuple(entries(1001, 3000))
        store.log.compact(2600)
        assert store.log.first_index() == 2601


READER = """
import sys
from pathlib import Path
from replica.storage import open_store, peek_identity

path = Path(sys.argv[1])
store = open_store(path, peek_identity(path), create=False, read_only=True)
with store.state.env.read() as txn:
    print(store.state.__class__.__name__, flush=True)
    sys.stdin.read()
"""


@pytest.mark.processes
def test_a_reading_process_that_was_killed_is_cleared_away(store: LmdbStore) -> None:
    """Its place in LMDB's table would keep the pages of its moment alive for ever."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, str(store.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "LmdbState\n"
        process.kill()
    assert str(process.pid) in store.state.env._env.readers()
    for number in range(1, COMMITS_PER_READER_CHECK + 1):
        store.state.flush({}, (number, 1), {})
    assert str(process.pid) not in store.state.env._env.readers()


def test_every_commit_is_synced(store: LmdbStore) -> None:
    """Data and head of the file, both (anything less may lose a vote), and not through a writable map."""
    for env in (store._log_env, store.state.env):
        flags = env._env.flags()
        assert (flags["sync"], flags["metasync"], flags["writemap"]) == (True, True, False)
