"""What every store must do with snapshots: take, hold, send and receive them. On disk and in memory alike.

A test gets `disks`, which makes a disk for an identity. Chunks have 4096 bytes, so that a small state has several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import pytest

from replica.errors import StoreError
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import (
    NO_MEMBERSHIP,
    Identity,
    Install,
    LogSave,
    Manifest,
    Store,
    hash_chunk,
)
from replica.storage.snapshot_contract import OnStep

from .battery import ME, UNLIMITED, Disk, entries, now_and_later

CHUNK_BYTES = 4096
YOU = Identity("lifeline", "zone-b", "zone", "1" * 32)
HARD = HardState(9, 2)

T = TypeVar("T")


class HookedDisk(Disk):
    """A disk whose stores call `on_step`."""

    on_step: OnStep


Disks = Callable[[Identity], HookedDisk]


def records(index: int, count: int = 60) -> dict[bytes, bytes]:
    """The state as of `index`: the same bytes for the same index, some tens of kilobytes."""
    return {b"case/%03d" % number: b"case %d at %d " % (number, index) * 40 for number in range(count)}


def filled(store: Store, index: int = 30) -> Store:
    """A store whose state is as of `index`, with its log, a membership and local values of its own."""
    membership = Entry(2, 1, EntryKind.MEMBERSHIP, b"a b c")
    store.log.save(HardState(3, 1), [*entries(1, 1), membership, *entries(3, index + 5, term=3)], index)
    store.state.flush(records(index), (index, 3), {b"clock": b"%s's" % store.identity.node_id.encode()})
    return store


def transfer(source: Store, target: Store, manifest: Manifest) -> None:
    """Every chunk that is missing."""
    receiving = target.snapshots.receive(manifest)
    for chunk in receiving.missing:
        receiving.write(chunk, source.snapshots.read(manifest.name, chunk))
    assert receiving.complete


def install(store: Store, manifest: Manifest, *more: LogSave) -> None:
    job = Install(manifest.name, manifest.index, manifest.term, manifest.membership, HARD)
    assert list(store.commit_log([job, *more])) == []


def total(found: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A digest of a state."""
    return hash_chunk(repr(list(found)).encode())


def state_of(store: Store) -> tuple[object, ...]:
    state = store.state
    return state.applied(), dict(state.scan(b"")), dict(state.local_scan(b""))


def log_of(store: Store) -> tuple[object, ...]:
    log = store.log
    held = log.entries(log.first_index(), log.last_index(), UNLIMITED) if log.last_index() >= log.first_index() else ()
    return log.first_index(), log.term(log.first_index() - 1), held, log.hard_state(), log.memberships()


NEW_STATE = ((30, 3), records(30), {b"clock": b"mine"})
NEW_LOG = (31, 3, (), HARD, ((2, b"a b c"),))


class SnapshotBattery:
    """Inherit, and give a `disks` fixture."""

    # --- taking ---

    def test_a_snapshot_describes_itself(self, disks: Disks) -> None:
        """Index and term of the flushed state, the newest membership up to it, and the hash of each chunk."""
        store = filled(disks(ME).open())
        manifest = store.snapshots.take(digest=b"d" * 16)
        assert (manifest.index, manifest.term, manifest.digest) == (30, 3, b"d" * 16)
        assert manifest.membership == (2, b"a b c")
        assert manifest.chunk_bytes == CHUNK_BYTES
        chunks = [store.snapshots.read(manifest.name, chunk) for chunk in range(len(manifest.chunks))]
        assert len(chunks) >= 5
        assert tuple(hash_chunk(chunk) for chunk in chunks) == manifest.chunks
        assert (sum(map(len, chunks)), {len(chunk) for chunk in chunks[:-1]}) == (manifest.size, {CHUNK_BYTES})
        assert [manifest.length_of(chunk) for chunk in range(len(chunks))] == [len(chunk) for chunk in chunks]

    def test_membership_and_digest_are_of_the_copy(self, disks: Disks) -> None:
        """Though the log has a newer membership, and whatever was flushed since the taker thought of it."""
        store = filled(disks(ME).open())
        store.log.save(None, [Entry(36, 3, EntryKind.MEMBERSHIP, b"later")])
        seen: list[bytes | None] = []

        def digest(look: Callable[[bytes], bytes | None]) -> bytes:
            store.state.flush({b"case/000": b"newer"}, (31, 3))
            seen.extend([look(b"case/000"), look(b"none")])
            return b"read"

        manifest = store.snapshots.take(digest=digest)
        assert (manifest.index, manifest.membership, manifest.digest) == (30, (2, b"a b c"), b"read")
        assert seen == [records(30)[b"case/000"], None]

    def test_a_state_under_no_membership_says_so(self, disks: Disks) -> None:
        """The one of the configuration holds."""
        store = disks(ME).open()
        store.state.flush({b"a": b"1"}, (1, 1))
        assert store.snapshots.take().membership == NO_MEMBERSHIP
        assert store.snapshots.take((1, b"given")).membership == (1, b"given")

    def test_what_cannot_be_true_of_a_snapshot_is_a_bug(self, disks: Disks) -> None:
        """A membership newer than the state; a state that is the result of nothing."""
        store = disks(ME).open()
        with pytest.raises(AssertionError, match="the result of nothing"):
            store.snapshots.take()
        store.state.flush({b"a": b"1"}, (5, 1))
        with pytest.raises(AssertionError, match="membership 6 in a snapshot of 5"):
            store.snapshots.take((6, b"later"))
        assert store.snapshots.held() == ()

    def test_a_snapshot_stays_as_it_is(self, disks: Disks) -> None:
        """Whatever is flushed afterwards, and in the next process."""
        disk = disks(ME)
        store = filled(disk.open())
        manifest = store.snapshots.take()
        before = [store.snapshots.read(manifest.name, chunk) for chunk in range(len(manifest.chunks))]
        store.state.flush(dict.fromkeys(records(30)), (40, 3))
        store = disk.open()
        assert store.snapshots.held() == (manifest,)
        assert [store.snapshots.read(manifest.name, chunk) for chunk in range(len(manifest.chunks))] == before

    def test_several_snapshots_are_held_until_they_are_dropped(self, disks: Disks) -> None:
        """In the order of their index; dropping twice is harmless."""
        disk = disks(ME)
        store = filled(disk.open())
        first = store.snapshots.take()
        assert store.snapshots.take() == first
        store.state.flush({b"a": b"1"}, (31, 3))
        second = store.snapshots.take()
        assert store.snapshots.held() == (first, second)
        store.snapshots.drop(first.name)
        store.snapshots.drop(first.name)
        for view in now_and_later(store, disk.open):
            assert view.snapshots.held() == (second,)
            with pytest.raises(StoreError, match=f"snapshot {first.name}: is not held"):
                view.snapshots.read(first.name, 0)

    def test_a_chunk_that_does_not_exist_is_refused(self, disks: Disks) -> None:
        """The number comes over the wire."""
        store = filled(disks(ME).open())
        manifest = store.snapshots.take()
        for chunk in (-1, len(manifest.chunks)):
            with pytest.raises(ValueError, match=f"has no chunk {chunk}"):
                store.snapshots.read(manifest.name, chunk)

    @pytest.mark.parametrize("name", ["", "..", "a/b", "a.b", "A", "x" * 81, "é"])
    def test_a_name_that_is_no_name_is_refused(self, disks: Disks, name: str) -> None:
        """It would be a folder's."""
        store = filled(disks(ME).open())
        with pytest.raises(ValueError, match="snapshot name"):
            store.snapshots.drop(name)
        with pytest.raises(ValueError, match="snapshot name"):
            store.snapshots.prepare(name, {})
        with pytest.raises(ValueError, match="snapshot name"):
            store.snapshots.receive(replace(store.snapshots.take(), name=name))

    # --- receiving ---

    def test_a_transfer_goes_on_where_it_stopped(self, disks: Disks) -> None:
        """In the next process: what was written is there, the rest is missing."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        manifest = source.snapshots.take()
        receiving = disk.open().snapshots.receive(manifest)
        assert receiving.missing == tuple(range(len(manifest.chunks)))
        for chunk in (0, 3):
            receiving.write(chunk, source.snapshots.read(manifest.name, chunk))
            assert chunk not in receiving.missing
        receiving = disk.open().snapshots.receive(manifest)
        assert receiving.missing == tuple(chunk for chunk in range(len(manifest.chunks)) if chunk not in (0, 3))
        assert (receiving.complete, receiving.manifest) == (False, manifest)

    def test_asking_again_gives_the_same_transfer(self, disks: Disks) -> None:
        """Within one life, too; a chunk that is there already changes nothing."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        manifest = source.snapshots.take()
        data = source.snapshots.read(manifest.name, 1)
        target.snapshots.receive(manifest).write(1, data)
        target.snapshots.receive(manifest).write(1, b"nonsense: it is here already")
        assert 1 not in target.snapshots.receive(manifest).missing

    def test_a_chunk_with_another_hash_is_refused_by_its_number(self, disks: Disks) -> None:
        """Cut short, flipped, of another place: nothing is written."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        manifest = source.snapshots.take()
        receiving = target.snapshots.receive(manifest)
        good = source.snapshots.read(manifest.name, 2)
        wrong = (
            b"",
            good[:-1],
            good + b"\0",
            bytes((good[0] ^ 1,)) + good[1:],
            source.snapshots.read(manifest.name, 3),
        )
        for data in wrong:
            with pytest.raises(ValueError, match="chunk 2: its hash is not the manifest's"):
                receiving.write(2, data)
        for chunk in (-1, len(manifest.chunks)):
            with pytest.raises(ValueError, match=f"has no chunk {chunk}"):
                receiving.write(chunk, good)
        assert 2 in receiving.missing

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"size": 0}, "must be above 0"),
            ({"index": 0}, "must be above 0"),
            ({"chunk_bytes": -1}, "must be above 0"),
            ({"chunks": ()}, "0 chunk hashes"),
            ({"size": 1}, "1 chunks"),
            ({"membership": (31, b"")}, "membership 31 is after 30"),
        ],
    )
    def test_a_manifest_that_contradicts_itself_is_refused(
        self, disks: Disks, change: dict[str, object], text: str
    ) -> None:
        """It comes over the wire, and says how much room to take."""
        manifest = filled(disks(ME).open()).snapshots.take()
        with pytest.raises(ValueError, match=text):
            disks(YOU).open().snapshots.receive(replace(manifest, **change))  # type: ignore[arg-type]  # wrong on purpose

    def test_a_hash_of_another_length_is_refused(self, disks: Disks) -> None:
        """No chunk could ever have it."""
        manifest = filled(disks(ME).open()).snapshots.take()
        wrong = replace(manifest, chunks=(b"short", *manifest.chunks[1:]))
        with pytest.raises(ValueError, match="a chunk hash has other than 16 bytes"):
            disks(YOU).open().snapshots.receive(wrong)

    def test_a_newer_snapshot_takes_over_the_equal_chunks(self, disks: Disks) -> None:
        """And the older, unfinished one is gone: one comes in at a time."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        old = source.snapshots.take()
        target = disk.open()
        earlier = target.snapshots.receive(old)
        for chunk in earlier.missing[1:]:
            earlier.write(chunk, source.snapshots.read(old.name, chunk))
        others = tuple(reversed(old.chunks[:-1]))
        new = replace(old, name="another", chunks=others, size=len(others) * old.chunk_bytes)
        receiving = target.snapshots.receive(new)
        assert receiving.missing == (len(new.chunks) - 1,)
        with pytest.raises(StoreError, match=f"snapshot {old.name}: is not received any more"):
            earlier.write(0, source.snapshots.read(old.name, 0))
        assert disk.open().snapshots.receive(old).missing == (0, len(old.chunks) - 1)

    def test_a_dropped_transfer_begins_anew(self, disks: Disks) -> None:
        """Nothing of it is picked up."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        manifest = source.snapshots.take()
        transfer(source, target, manifest)
        target.snapshots.drop(manifest.name)
        assert len(target.snapshots.receive(manifest).missing) == len(manifest.chunks)
