"""The memory store's disk: what a power cut takes and leaves, and the faults that a simulation asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import StorageFailed, StorageFull, StoreDamaged
from replica.raft.types import HardState
from replica.storage import MemoryStore

from .battery import LIFE_1, ME, UNLIMITED, entries, names


def test_what_was_not_synced_is_lost() -> None:
    """It was visible, and it is gone: log, journal and state alike."""
    store = MemoryStore(ME, auto_sync=False)
    store.log.save(HardState(1, 1), entries(1, 2))
    store.sync()
    store.log.save(HardState(2, 3), entries(2, 5, term=2))
    store.journal.append([(LIFE_1, 0, b"open")])
    store.state.flush({b"a": b"1"}, (2, 1), {})
    assert (store.log.last_index(), store.unsynced) == (5, 3)
    found = store.crash()
    assert found.log.entries(1, found.log.last_index(), UNLIMITED) == tuple(entries(1, 2))
    assert (found.log.hard_state(), found.journal.length, found.state.applied()) == (HardState(1, 1), 0, (0, 0))
    assert found.journal.latest_incarnation() is None


@given(survivors=st.integers(0, 4))
def test_a_disk_may_have_got_to_some_commits_all_the_same(survivors: int) -> None:
    """The first of them, each whole or not at all: fsync orders nothing but what it was asked for."""
    store = MemoryStore(ME, auto_sync=False)
    for number in range(1, 5):
        store.log.save(HardState(number, 1), entries(number, number))
    found = store.crash(survivors)
    assert (found.log.last_index(), found.log.hard_state().term) == (survivors, survivors)


def test_a_process_that_ends_on_a_machine_that_goes_on_loses_nothing() -> None:
    """What was written is the kernel's."""
    store = MemoryStore(ME, auto_sync=False)
    store.log.save(None, entries(1, 3))
    found = store.reopen()
    assert found.log.last_index() == 3
    assert not found.fresh


def test_the_crashed_store_can_be_used_and_crashed_again() -> None:
    """It is on the same kind of disk, and a stranger to its former self."""
    store = MemoryStore(ME, auto_sync=False)
    store.log.save(None, entries(1, 3))
    store.sync()
    second = store.crash()
    second.log.save(None, entries(4, 4))
    assert second.unsynced == 1
    third = second.crash()
    assert third.log.last_index() == 3
    third.log.save(None, entries(4, 6))
    assert (second.log.last_index(), third.log.last_index()) == (4, 6)


def test_a_hidden_floor_is_forgotten_by_a_crash() -> None:
    """As on disk: what was only hidden is there again, what was compacted is not."""
    store = MemoryStore(ME)
    store.log.save(None, entries(1, 5))
    store.log.compact(2)
    store.log.compaction(4)
    assert store.log.first_index() == 5
    assert store.crash().log.first_index() == 3


def test_a_disk_that_is_full_did_nothing() -> None:
    """Neither to what is seen nor to what is durable; and it recovers."""
    full = [True]

    def before_commit(_: object) -> None:
        if full[0]:
            raise StorageFull("full")

    store = MemoryStore(ME, before_commit=before_commit)
    with pytest.raises(StorageFull):
        store.log.save(HardState(1, 1), entries(1, 1))
    assert (store.log.last_index(), store.log.hard_state(), store.fresh) == (0, HardState(), True)
    full[0] = False
    store.log.save(None, entries(1, 1))
    assert store.log.last_index() == 1


def test_a_disk_that_failed_once_stays_failed() -> None:
    """As LMDB's environment does; the next process may try again."""
    broken = [True]

    def before_commit(_: object) -> None:
        if broken.pop():
            raise StorageFailed("fsync")

    store = MemoryStore(ME, before_commit=before_commit)
    for _ in range(2):
        with pytest.raises(StorageFailed, match="fsync"):
            store.log.save(None, entries(1, 1))
    found = store.crash()
    found.log.save(None, entries(1, 1))
    assert found.log.last_index() == 1


@pytest.mark.parametrize("auto_sync", [True, False])
def test_damage_is_on_the_disk(auto_sync: bool) -> None:
    """So it is found before and after a crash, and names the record as the store on disk does."""
    store = MemoryStore(ME, auto_sync=auto_sync)
    store.log.save(HardState(1, 1), entries(1, 3))
    store.journal.append([(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a")])
    store.state.flush({b"a": b"1", b"b": b"2"}, (1, 1), {})
    store.sync()
    store.damage_entry(2)
    store.damage_hard_state()
    store.damage_journal(LIFE_1, 0)
    store.damage_record(b"a")
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=r"log entry \(2, 1\)"):
            store.log.entries(1, 3, UNLIMITED)
        with pytest.raises(StoreDamaged, match="hard state"):
            store.log.hard_state()
        with pytest.raises(StoreDamaged, match="state record b'a'"):
            list(store.state.scan(b""))
        assert store.state.get(b"b") == b"2"
        assert names(store.journal.read()) == [(LIFE_1, 0, b""), (LIFE_1, 1, b"a")]
        assert [record.damaged for record in store.journal.read()] == [True, False]
        store = store.crash()


def test_what_is_written_anew_is_sound_again() -> None:
    """A damaged entry that is replaced, a hard state that is saved, a record that is flushed."""
    store = MemoryStore(ME)
    store.log.save(HardState(1, 1), entries(1, 3))
    store.state.flush({b"a": b"1"}, (1, 1), {})
    store.damage_entry(2)
    store.damage_hard_state()
    store.damage_record(b"a")
    store.log.save(HardState(2, 2), entries(2, 2, term=2))
    store.state.flush({b"a": b"2"}, (2, 1), {})
    assert store.log.entries(1, 2, UNLIMITED) == (*entries(1, 1), *entries(2, 2, term=2))
    assert (store.log.hard_state(), store.state.get(b"a")) == (HardState(2, 2), b"2")
