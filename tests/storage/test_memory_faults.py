"""The memory store's disk at its worst: torn commits, chunks in any subset, bits that flip in what a snapshot needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import StorageFailed, StorageFull, StoreDamaged, StoreError
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import (
    Install,
    JournalAppend,
    LogCompact,
    LogReset,
    LogSave,
    MemoryStore,
    StateFlush,
    StateReplaceAll,
    Step,
)
from replica.storage.memory_snapshots import unpack

from .battery import LIFE_1, ME, UNLIMITED, entries, entry, names, now_and_later
from .snapshot_battery import CHUNK_BYTES, HARD, YOU, filled, install, log_of, records, state_of, transfer


def lying(identity: object = None) -> MemoryStore:
    """A store on a disk that syncs only when it is told to."""
    return MemoryStore(ME if identity is None else YOU, auto_sync=False, chunk_bytes=CHUNK_BYTES)


def reads(store: MemoryStore) -> list[object]:
    """Each entry and the vote as they are read: bytes, the vote, or "damaged"."""
    log = store.log
    found = [read(partial(log.entries, index, index, 0)) for index in range(1, log.last_index() + 1)]
    return [each if isinstance(each, str) else each[0].data for each in found] + [read(log.hard_state)]


def read(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except StoreDamaged:
        return "damaged"


# --- torn commits ---


@given(sound=st.integers(0, 6), survivors=st.integers(0, 1))
def test_a_torn_save_is_the_new_one_or_is_found(sound: int, survivors: int) -> None:
    """Its first records as they were written, the others damaged; never an old entry under a new index."""
    store = lying()
    store.log.save(HardState(1, 1), entries(1, 4))
    store.sync()
    store.log.save(None, entries(5, 5))
    store.log.save(HardState(2, 3), entries(3, 6, term=2))
    if survivors == 0:
        found = store.crash(0, torn=min(sound, 1))
        assert reads(found)[:5] == [each.data for each in entries(1, 4)] + ([b"5 in 1"] if sound >= 1 else ["damaged"])
        return
    assert store.records_unsynced(1) == 5
    found = store.crash(1, torn=sound)
    new: list[object] = [each.data for each in entries(3, 6, term=2)]
    expected = [entry.data for entry in entries(1, 2)] + new[: max(0, sound - 1)] + ["damaged"] * (5 - max(1, sound))
    assert reads(found)[:6] == expected[:6]
    assert reads(found)[6] == (HardState(2, 3) if sound >= 1 else "damaged")


def test_a_torn_commit_without_survivors_before_it_is_the_first_lost_one() -> None:
    """What comes after it never got to the disk at all."""
    store = lying()
    store.log.save(HardState(1, 1), entries(1, 2))
    store.log.save(None, entries(3, 9))
    found = store.crash(torn=2)
    assert reads(found)[:3] == [b"1 in 1", "damaged", HardState(1, 1)]


def test_a_torn_journal_record_is_named() -> None:
    """As a flipped bit in it is."""
    store = lying()
    store.commit_log([JournalAppend([(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a")])])
    found = store.crash(torn=1)
    assert names(found.journal.read()) == [(LIFE_1, 0, b"open"), (LIFE_1, 1, b"")]
    assert [record.damaged for record in found.journal.read()] == [False, True]


@pytest.mark.parametrize(
    "job", [StateFlush({b"a": b"2", b"b": None}, (2, 1), {}), StateReplaceAll({b"a": b"2"}, (2, 1), {})]
)
def test_a_torn_write_back_does_not_open(job: StateFlush | StateReplaceAll) -> None:
    """Its applied index is its last record, and an opening needs it."""
    store = lying()
    store.state.flush({b"a": b"1"}, (1, 1))
    store.sync()
    store.commit_state([job])
    with pytest.raises(StoreDamaged, match="applied index and term"):
        store.crash(torn=store.records_unsynced(0) - 1)


def test_a_commit_torn_behind_its_last_record_is_whole() -> None:
    """Nothing of it is missing."""
    store = lying()
    store.state.flush({b"a": b"1"}, (1, 1))
    found = store.crash(torn=store.records_unsynced(0))
    assert (found.state.get(b"a"), found.state.applied()) == (b"1", (1, 1))


def test_a_torn_end_of_the_log_does_not_open() -> None:
    """Compaction and reset write where the log begins."""
    for job in (LogCompact(2), LogReset(9, 1)):
        store = lying()
        store.log.save(None, entries(1, 3))
        store.sync()
        store.commit_log([job])
        with pytest.raises(StoreDamaged, match="log floor"):
            store.crash(torn=0)


def test_only_a_commit_that_is_there_can_be_torn() -> None:
    """The simulation's own mistake."""
    store = lying()
    with pytest.raises(AssertionError, match="no commit after the first 0 to be torn"):
        store.crash(torn=0)


def test_trimming_cannot_be_torn() -> None:
    """It writes no record; what was trimmed is gone, as after a commit."""
    store = lying()
    store.journal.append([(LIFE_1, 0, b"open")])
    store.sync()
    store.journal.trim([(LIFE_1, 0)])
    assert store.crash(torn=0).journal.length == 0


# --- an install on a disk that lies ---


def ready_to_install() -> tuple[MemoryStore, MemoryStore, Install]:
    source, target = lying(), lying(YOU)
    filled(source)
    filled(target, index=10)
    target.sync()
    manifest = source.snapshots.take()
    transfer(source, target, manifest)
    target.snapshots.prepare(manifest.name, {b"clock": b"mine"})
    return source, target, Install(manifest.name, 30, 3, manifest.membership, HARD)


@pytest.mark.parametrize("survivors", [0, 1, 2])
def test_an_unsynced_install_is_there_whole_or_not_at_all(survivors: int) -> None:
    """State, log, vote and what was flushed on top of it: old, new, or newer."""
    _, target, job = ready_to_install()
    old = (state_of(target), log_of(target))
    target.commit_log([job])
    target.state.flush({b"case/000": None}, (31, 3))
    found = target.crash(survivors)
    if survivors == 0:
        assert (state_of(found), log_of(found)) == old
    else:
        assert (found.log.first_index(), found.log.hard_state()) == (31, HARD)
        assert found.state.applied() == (30 + survivors - 1, 3)
        assert found.state.get(b"case/000") == (None if survivors == 2 else records(30)[b"case/000"])
        assert found.state.local_get(b"clock") == b"mine"


@pytest.mark.parametrize("torn", [0, 1])
def test_a_torn_install_does_not_open(torn: int) -> None:
    """Where the log begins, or where the state is, is unknown: found, and not guessed."""
    _, target, job = ready_to_install()
    target.commit_log([job])
    with pytest.raises(StoreDamaged, match="log floor" if torn == 0 else "name of the state's folder"):
        target.crash(torn=torn)


def test_an_install_needs_its_own_prepared_state() -> None:
    """Committed, it keeps the one it was committed with; another preparation under the name does not change it."""
    _, target, job = ready_to_install()
    target.commit_log([job])
    assert state_of(target.reopen()) == ((30, 3), records(30), {b"clock": b"mine"})


@given(lost=st.sets(st.integers(0, 30)))
def test_chunks_survive_in_any_subset(lost: set[int]) -> None:
    """What was not synced may be there or not, chunk by chunk; the transfer goes on with the rest and ends equal."""
    source, target = lying(), lying(YOU)
    filled(source)
    manifest = source.snapshots.take()
    transfer(source, target, manifest)
    found = target.crash(kept=lambda name, chunk: name == manifest.name and chunk not in lost)
    assert set(found.snapshots.receive(manifest).missing) == lost & set(range(len(manifest.chunks)))
    transfer(source, found, manifest)
    found.snapshots.prepare(manifest.name, {})
    install(found, manifest)
    assert state_of(found) == ((30, 3), records(30), {})


def test_synced_chunks_are_there() -> None:
    """Whatever the power cut takes."""
    source, target = lying(), lying(YOU)
    filled(source)
    manifest = source.snapshots.take()
    transfer(source, target, manifest)
    target.sync()
    assert target.crash().snapshots.receive(manifest).complete


# --- a bit flips ---


def test_damage_of_a_snapshot_is_found_where_it_is() -> None:
    """In a held chunk, in a received one, in a record before it was copied."""
    source, target = MemoryStore(ME, chunk_bytes=CHUNK_BYTES), MemoryStore(YOU, chunk_bytes=CHUNK_BYTES)
    filled(source)
    manifest = source.snapshots.take()
    transfer(source, target, manifest)
    target.damage_received(manifest.name, 3)
    with pytest.raises(StoreDamaged, match=f"snapshot {manifest.name} chunk 3"):
        target.snapshots.prepare(manifest.name, {})
    assert target.snapshots.receive(manifest).missing == (3,)
    target.damage_received(manifest.name, 1)
    target = target.crash()
    assert set(target.snapshots.receive(manifest).missing) == {1, 3}
    source.damage_chunk(manifest.name, 1)
    with pytest.raises(StoreDamaged, match=f"snapshot {manifest.name} chunk 1"):
        source.snapshots.read(manifest.name, 1)
    source.damage_record(b"case/007")
    source.snapshots.drop(manifest.name)
    damaged = source.snapshots.take()
    transfer(source, target, damaged)
    with pytest.raises(StoreDamaged, match="state record b'case/007'"):
        target.snapshots.prepare(damaged.name, {})


def test_bytes_that_are_no_state_are_refused() -> None:
    """A sender that is no memory store: the hashes are right and the content is not."""
    for packed in (b"", b"x" * 15, b"x" * 64):
        with pytest.raises(StoreDamaged, match="snapshot s: is no state"):
            unpack(packed, "s")


def test_a_damaged_membership_is_found_until_it_is_replaced() -> None:
    """Apart from its entry, which is read."""
    store = MemoryStore(ME)
    store.log.save(None, [Entry(1, 1, EntryKind.MEMBERSHIP, b"a"), entry(2)])
    store.damage_membership(1)
    for view in now_and_later(store, store.crash):
        with pytest.raises(StoreDamaged, match="membership 1"):
            view.log.memberships()
    assert store.log.entries(1, 1, UNLIMITED)[0].data == b"a"
    store = store.crash()
    store.log.save(None, entries(1, 1, term=2))
    assert store.log.memberships() == ()
    store.damage_membership(1)
    store.commit_log([LogReset(9, 2, (1, b"a"))])
    assert store.log.memberships() == ((1, b"a"),)


# --- the hook ---


@pytest.mark.parametrize("step", [Step.INSTALL_OPEN, Step.INSTALL_COMMIT])
@pytest.mark.parametrize("kind", [StorageFull, StorageFailed])
def test_an_install_that_the_disk_refuses_did_nothing(step: Step, kind: type[StoreError]) -> None:
    """Whatever the step; it can be tried again."""
    _, target, job = ready_to_install()
    old = (state_of(target), log_of(target))

    def refuse(at: Step) -> None:
        if at is step:
            raise kind("refused")

    target.on_step = refuse
    with pytest.raises(kind, match="refused"):
        target.commit_log([job, LogSave(None, entries(31, 31))])
    assert (state_of(target), log_of(target)) == old
    target.on_step = lambda _: None
    target.commit_log([job, LogSave(None, entries(31, 31))])
    assert target.log.last_index() == 31


def test_a_closed_store_does_nothing_for_snapshots() -> None:
    """As it commits nothing."""
    source = filled(MemoryStore(ME))
    source.close()
    with pytest.raises(StoreError, match="is closed"):
        source.snapshots.take()
