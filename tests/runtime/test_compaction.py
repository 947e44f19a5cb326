"""The log is dropped up to what is on disk as state, but for what a follower a little behind will ask for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replica.raft.types import Entry, EntryKind
from replica.runtime.compaction import LEAST_WORTH_BYTES, Compaction
from replica.storage import Identity, LogCompact, MemoryStore
from replica.storage.contract import LogStore

ENTRY_BYTES = 1000


class Core:
    """Says what it was asked, and lets everything go that is flushed."""

    def compaction_index(self, flushed_index: int, keep_from: int, sending: int | None = None) -> int:
        through = min(flushed_index, keep_from - 1)
        return through if sending is None else min(through, sending)


class Disk:
    """Keeps the jobs until told to do them."""

    def __init__(self) -> None:
        self.jobs: list[tuple[LogCompact, Callable[[Exception | None], None]]] = []

    def write(self, job: LogCompact, done: Callable[[Exception | None], None]) -> None:
        self.jobs.append((job, done))


def log_of(count: int) -> LogStore:
    store = MemoryStore(Identity("test", "zone-1", "zone", "00"))
    store.log.save(None, [Entry(index, 1, EntryKind.DATA, bytes(ENTRY_BYTES)) for index in range(1, count + 1)])
    return store.log


def test_what_is_kept_fits_the_budget_and_the_rest_goes_in_one_job_at_a_time() -> None:
    """The latest entries are those that a follower a little behind needs."""
    log, disk = log_of(100), Disk()
    compaction = Compaction(Core(), log, disk.write, keep_bytes=10 * ENTRY_BYTES)
    assert compaction.run(flushed_index=100, sending=None, snapshot_bytes=0)
    assert compaction.through == 90
    assert log.first_index() == 91
    assert not compaction.run(100, None, 0), "a job is with the disk"
    disk.jobs[0][1](None)
    assert not compaction.run(100, None, 0), "nothing is left to drop"
    assert len(disk.jobs) == 1


@pytest.mark.parametrize(
    ("flushed", "sending", "through"),
    [(100, None, 90), (50, None, 50), (100, 30, 30), (20, 30, 20)],
    ids=["the budget", "the flushed index", "a snapshot on its way", "whichever is least"],
)
def test_the_floor_is_the_least_of_flushed_index_snapshots_on_their_way_and_budget(
    flushed: int, sending: int | None, through: int
) -> None:
    """A crash replays the log from the flushed index; who gets a snapshot goes on behind it."""
    compaction = Compaction(Core(), log_of(100), Disk().write, keep_bytes=10 * ENTRY_BYTES)
    assert compaction.run(flushed, sending, 0)
    assert compaction.through == through


def test_no_more_is_kept_than_a_snapshot_has() -> None:
    """Beyond that the snapshot is the shorter way; below a megabyte it is not worth the asking."""
    entries = 3 * LEAST_WORTH_BYTES // ENTRY_BYTES
    log = log_of(entries)
    compaction = Compaction(Core(), log, Disk().write, keep_bytes=10 * LEAST_WORTH_BYTES)
    assert not compaction.run(entries, None, snapshot_bytes=0)
    assert compaction.run(entries, None, snapshot_bytes=5)
    assert compaction.through == entries - LEAST_WORTH_BYTES // ENTRY_BYTES


def test_on_a_full_disk_it_is_tried_again_with_the_next() -> None:
    """What was to go may still be there; nothing rests on it."""
    log, disk = log_of(100), Disk()
    compaction = Compaction(Core(), log, disk.write, keep_bytes=0)
    assert compaction.run(50, None, 0)
    disk.jobs[0][1](OSError("full"))
    assert compaction.run(60, None, 0)
    assert disk.jobs[1][0] == LogCompact(60)
