"""Snapshots on real files: what lies where, what a crash leaves, what is damaged, full, in use, or of another node."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from replica.errors import StorageFull, StoreDamaged, StoreError
from replica.storage import Install, LmdbStore, LogSave, Manifest, open_store, peek_identity
from replica.storage.environment import MAIN
from replica.storage.log import POINTER_KEY, encode_pointer
from replica.storage.opening import remove_leftovers

from .battery import ME, entries, entry
from .snapshot_battery import CHUNK_BYTES, HARD, YOU, filled, records, transfer

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Iterator[LmdbStore]:
    with open_store(tmp_path / "source", ME, create=True, chunk_bytes=CHUNK_BYTES) as store:
        filled(store)
        yield store


@pytest.fixture
def manifest(source: LmdbStore) -> Manifest:
    return source.snapshots.take()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "target"


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def installed(folder: Path, source: LmdbStore, manifest: Manifest) -> Path:
    """A stopped node's store that has installed `manifest`."""
    with open_store(folder, YOU, create=True, map_size=MIB) as target:
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {b"clock": b"mine"})
        target.commit_log([Install(manifest.name, 30, 3, manifest.membership, HARD)])
    return folder / f"state.{manifest.name}"


# --- what lies where ---


def test_the_old_state_is_deleted_and_the_new_one_has_its_own_folder(
    folder: Path, source: LmdbStore, manifest: Manifest
) -> None:
    """And the received chunks are gone."""
    state = installed(folder, source, manifest)
    assert names_in(folder) == ["LOCK", "log", "receiving", state.name]
    assert names_in(folder / "receiving") == []
    assert names_in(source.folder) == ["LOCK", "log", "snapshots", "state"]


def test_a_reader_and_a_peek_follow_the_name_of_the_state(folder: Path, source: LmdbStore, manifest: Manifest) -> None:
    """Without writing anything."""
    installed(folder, source, manifest)
    before = [(path, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
    assert peek_identity(folder) == YOU
    with open_store(folder, YOU, create=False, read_only=True) as found:
        assert (found.state.applied(), found.state.get(b"case/000")) == ((30, 3), records(30)[b"case/000"])
        assert found.snapshots.held() == ()
        for act in (found.snapshots.take, lambda: found.snapshots.receive(manifest)):
            with pytest.raises(StoreError, match="was opened for reading only"):
                act()
    assert [(path, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))] == before


def test_a_reader_of_a_stopped_store_can_read_its_snapshots(source: LmdbStore, manifest: Manifest) -> None:
    """They are files like the others."""
    source.close()
    with open_store(source.folder, ME, create=False, read_only=True) as found:
        assert found.snapshots.held() == (manifest,)
        assert len(found.snapshots.read(manifest.name, 0)) == CHUNK_BYTES


def test_leftovers_go_and_a_strangers_copy_stays(folder: Path, source: LmdbStore, manifest: Manifest) -> None:
    """A prepared state that nothing names, an unfinished one, the old state; not the copy that an operator made."""
    state = installed(folder, source, manifest)
    for name in ("state", "state.unfinished.new", "state.backup"):
        shutil.copytree(state, folder / name)
    (folder / "state" / "prepared").unlink()
    (folder / "state.backup" / "prepared").unlink()
    (folder / "state.empty").mkdir()
    (folder / "receiving" / "half").mkdir()
    open_store(folder, YOU, create=False).close()
    assert names_in(folder) == ["LOCK", "log", "receiving", state.name, "state.backup"]
    assert names_in(folder / "receiving") == []


def test_nothing_is_deleted_from_a_store_that_does_not_open(
    folder: Path, source: LmdbStore, manifest: Manifest
) -> None:
    """Not even what looks like a leftover: it may be all that is left."""
    state = installed(folder, source, manifest)
    shutil.copytree(state, folder / "state")
    (state / "data.mdb").write_bytes(b"")
    with pytest.raises(StoreError, match="is empty"):
        open_store(folder, YOU, create=True)
    assert names_in(folder) == ["LOCK", "log", "receiving", "state", state.name]


def test_the_mark_of_a_prepared_state_is_deleted_last(tmp_path: Path) -> None:
    """So that a deletion cut short is gone on with."""
    (tmp_path / "state").mkdir()
    left = tmp_path / "state.x"
    left.mkdir()
    (left / "prepared").touch()
    (left / "data.mdb").mkdir()  # what cannot be unlinked stops the deletion
    (left / "lock.mdb").touch()
    remove_leftovers(tmp_path, "state")
    assert names_in(left) == ["data.mdb", "lock.mdb", "prepared"]
    (left / "data.mdb").rmdir()
    remove_leftovers(tmp_path, "state")
    assert names_in(tmp_path) == ["state"]


def test_a_store_whose_state_is_missing_is_refused(folder: Path, source: LmdbStore, manifest: Manifest) -> None:
    """With the folder that the log names; also where another state lies beside it, and with `create`."""
    state = installed(folder, source, manifest)
    state.rename(folder / "state")
    for create in (False, True):
        with pytest.raises(StoreError, match=rf"{state.name}: is missing"):
            open_store(folder, YOU, create=create)
    shutil.rmtree(folder / "log")
    for create in (False, True):
        with pytest.raises(StoreError, match="log: is missing"):
            open_store(folder, YOU, create=create)


def test_a_prepared_state_of_another_store_is_not_installed(folder: Path, tmp_path: Path) -> None:
    """Moved by hand from one node's folder to another's."""
    with open_store(tmp_path / "other", ME, create=True) as other:
        filled(other).snapshots.prepare_changed("moved", {}, (31, 3), {})
    with open_store(folder, YOU, create=True) as target:
        (tmp_path / "other" / "state.moved").rename(folder / "state.moved")
        with pytest.raises(StoreError, match=r"belongs to zone 'zone-a' .* not to zone 'zone-b'"):
            target.commit_log([Install("moved", 31, 3)])
        assert (target.state.applied(), target.log.last_index()) == ((0, 0), 0)


def test_a_snapshot_of_another_cluster_is_refused(folder: Path, source: LmdbStore, manifest: Manifest) -> None:
    """However it came here."""
    with open_store(folder, replace(YOU, cluster_id="exercise"), create=True) as target:
        transfer(source, target, manifest)
        with pytest.raises(StoreError, match="not of cluster 'exercise'"):
            target.snapshots.prepare(manifest.name, {})
        assert not [name for name in names_in(folder) if name.startswith("state.")]


# --- damage (D5) ---


def flip(path: Path, place: int) -> None:
    image = bytearray(path.read_bytes())
    image[place] ^= 0x04
    path.write_bytes(image)


def test_a_damaged_chunk_of_a_snapshot_is_named(source: LmdbStore, manifest: Manifest) -> None:
    """And the others are read."""
    flip(source.folder / "snapshots" / manifest.name / "data.mdb", 2 * CHUNK_BYTES + 17)
    with pytest.raises(StoreDamaged) as caught:
        source.snapshots.read(manifest.name, 2)
    assert caught.value.record == f"snapshot {manifest.name} chunk 2"
    assert source.snapshots.read(manifest.name, 1)


def test_a_snapshot_cut_short_is_damaged(source: LmdbStore, manifest: Manifest) -> None:
    """A chunk of fewer bytes is not the chunk."""
    os.truncate(source.folder / "snapshots" / manifest.name / "data.mdb", CHUNK_BYTES + 1)
    with pytest.raises(StoreDamaged, match="chunk 1"):
        source.snapshots.read(manifest.name, 1)


@pytest.mark.parametrize("place", [0, 9, 60])
def test_a_damaged_manifest_is_no_snapshot(source: LmdbStore, manifest: Manifest, place: int) -> None:
    """It is a copy: it goes at the next opening, and another can be taken."""
    flip(source.folder / "snapshots" / manifest.name / "manifest", place)
    source.close()
    with open_store(source.folder, ME, create=False, chunk_bytes=CHUNK_BYTES) as found:
        assert found.snapshots.held() == ()
        assert names_in(found.folder / "snapshots") == []
        assert found.snapshots.take() == manifest


def test_a_received_chunk_that_is_damaged_later_is_missing_again(
    folder: Path, source: LmdbStore, manifest: Manifest
) -> None:
    """Found when the transfer is picked up, and, within one life, when the state is prepared."""
    with open_store(folder, YOU, create=True) as target:
        transfer(source, target, manifest)
        flip(folder / "receiving" / manifest.name / "chunks", 2 * CHUNK_BYTES)
        with pytest.raises(StoreDamaged, match=f"snapshot {manifest.name} chunk 2"):
            target.snapshots.prepare(manifest.name, {})
        assert target.snapshots.receive(manifest).missing == (2,)
    with open_store(folder, YOU, create=False) as target:
        assert target.snapshots.receive(manifest).missing == (2,)
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})


def test_a_damaged_record_in_a_sound_chunk_is_found_before_it_is_used(folder: Path, source: LmdbStore) -> None:
    """The sender's disk flipped it before the copy was taken, so every hash is right."""
    source.close()
    data = source.folder / "state" / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"case 7 at 30 case 7", b"case 7 at 30 cas\xe5 7"))
    with open_store(source.folder, ME, create=False, chunk_bytes=CHUNK_BYTES) as sender:
        manifest = sender.snapshots.take()
        with open_store(folder, YOU, create=True) as target:
            transfer(sender, target, manifest)
            with pytest.raises(StoreDamaged, match="state record b'case/007'"):
                target.snapshots.prepare(manifest.name, {})
            assert not [name for name in names_in(folder) if name.startswith("state.")]


def test_a_damaged_name_of_the_state_is_not_guessed(folder: Path, source: LmdbStore, manifest: Manifest) -> None:
    """Another state than the log's would replay what it must not, or lack what it needs."""
    installed(folder, source, manifest)
    data = folder / "log" / "data.mdb"
    sealed = encode_pointer(f"state.{manifest.name}")
    image = data.read_bytes()
    assert sealed in image
    data.write_bytes(image.replace(sealed, sealed[:-1] + b"?"))
    with pytest.raises(StoreDamaged, match="name of the state's folder"):
        open_store(folder, YOU, create=False)


def test_a_store_without_a_name_of_its_state_has_it_in_state(source: LmdbStore) -> None:
    """As every store that never installed a snapshot."""
    assert source._log_env.get(source._log_env.database(MAIN), POINTER_KEY) is None
    assert source.state.env.folder.name == "state"


# --- full, in use ---


def test_a_snapshot_for_which_there_is_no_room_is_refused_at_once(
    folder: Path, source: LmdbStore, manifest: Manifest
) -> None:
    """Before the first chunk is sent; nothing stays behind."""
    huge = replace(manifest, size=1 << 60, chunk_bytes=1 << 60, chunks=manifest.chunks[:1])
    with open_store(folder, YOU, create=True) as target:
        with pytest.raises(StorageFull, match="the disk is full"):
            target.snapshots.receive(huge)
        assert names_in(folder / "receiving") == []


SNAPSHOTS_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from replica.errors import StorageFull
from replica.storage import Identity, Install, open_store

root = Path(sys.argv[1])
me, you = (Identity("lifeline", f"zone-{each}", "zone", each * 32) for each in "ab")
with open_store(root / "a", me, create=True) as source, open_store(root / "b", you, create=True) as target:
    source.state.flush({b"%06d" % number: b"x" * 300 for number in range(4000)}, (5, 1), {})
    target.state.flush({b"a": b"old"}, (1, 1), {})
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    def refused(act):
        limit(500_000)
        try:
            act()
        except StorageFull as problem:
            print("full", str(problem).startswith(str(root)))
        limit(hard)

    refused(source.snapshots.take)
    manifest = source.snapshots.take()
    refused(lambda: target.snapshots.receive(manifest))
    receiving = target.snapshots.receive(manifest)
    for chunk in receiving.missing:
        receiving.write(chunk, source.snapshots.read(manifest.name, chunk))
    refused(lambda: target.snapshots.prepare(manifest.name, {}))
    print(sorted(each.name for each in (root / "b").iterdir()), target.state.applied())
    target.snapshots.prepare(manifest.name, {})
    target.commit_log([Install(manifest.name, 5, 1)])
    print(target.state.applied(), len(list(target.state.scan(b""))))
"""


@pytest.mark.processes
def test_a_file_that_may_not_grow_stops_each_act_and_harms_none(tmp_path: Path) -> None:
    """A limit on the size of files, as a quota would be: taking, receiving, preparing (D4)."""
    done = subprocess.run(
        [sys.executable, "-c", SNAPSHOTS_ON_A_FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "full True", "full True", "full True", "['LOCK', 'log', 'receiving', 'state'] (1, 1)", "(5, 1) 4000",
    ]  # fmt: skip


def test_nothing_is_paused_by_a_snapshot(tmp_path: Path) -> None:
    """Both writers write, the map grows, and readers read, while snapshots are taken: each is of one flush, whole."""
    wrong: list[object] = []
    taken: list[Manifest] = []
    with open_store(tmp_path / "source", ME, create=True, map_size=MIB, chunk_bytes=CHUNK_BYTES) as store:
        store.state.flush({b"%03d" % key: b"0" * 3000 for key in range(100)}, (1, 1))
        ended = threading.Event()

        def take() -> None:
            try:
                taken.extend(store.snapshots.take(digest=lambda look: (look(b"000") or b"")[:8]) for _ in range(8))
            except BaseException as problem:
                wrong.append(problem)
            finally:
                ended.set()

        thread = threading.Thread(target=take)
        thread.start()
        index = 1
        while not ended.is_set() or index < 40:
            index += 1
            store.log.save(None, [entry(index - 1, data=b"x" * 20_000)])
            store.state.flush({b"%03d" % key: b"%d " % index * 1000 for key in range(100)}, (index, 1))
            if store.state.get(b"000") != b"%d " % index * 1000:
                wrong.append(index)
        thread.join()
        assert wrong == []
        for manifest in {each.name: each for each in taken}.values():
            with open_store(tmp_path / manifest.name, YOU, create=True) as target:
                transfer(store, target, manifest)
                target.snapshots.prepare(manifest.name, {})
                target.commit_log([Install(manifest.name, manifest.index, manifest.term)])
                values = {value for _, value in target.state.scan(b"")}
                expected = b"0" * 3000 if manifest.index == 1 else b"%d " % manifest.index * 1000
                assert (values, manifest.digest) == ({expected}, expected[:8])


def test_a_reader_in_another_thread_never_meets_a_closed_state(folder: Path) -> None:
    """Through twenty installs each read is of one state, and never of an older one than the read before."""
    wrong: list[object] = []
    seen: set[int] = set()
    ended = threading.Event()
    with open_store(folder, YOU, create=True, map_size=MIB) as target:
        target.state.flush({b"%03d" % key: b"1" for key in range(50)}, (1, 1))

        def look() -> None:
            try:
                while not ended.is_set():
                    before = max(seen, default=0)
                    values = {int(value) for _, value in target.state.scan(b"")} | {int(target.state.get(b"000") or 0)}
                    index = target.state.applied()[0]
                    if min(values) < before or max(values) > index or target.state.changed_since(index):
                        wrong.append((before, values, index))
                    seen.add(min(values))
            except BaseException as problem:
                wrong.append(problem)

        thread = threading.Thread(target=look)
        thread.start()
        for index in range(2, 22):
            changes = {b"%03d" % key: b"%d" % index for key in range(50)}
            target.snapshots.prepare_changed(f"s-{index}", changes, (index, 1), {})
            target.commit_log([Install(f"s-{index}", index, 1)])
        ended.set()
        thread.join()
        assert wrong == []
        assert len(seen) > 1
        assert [name for name in names_in(folder) if name.startswith("state")] == ["state.s-21"]


LIVE_READER = """
import sys
from pathlib import Path
from replica.storage import open_store, peek_identity

path = Path(sys.argv[1])
for line in sys.stdin:
    with open_store(path, peek_identity(path), create=False, read_only=True) as store:
        print(store.state.applied(), store.log.first_index(), flush=True)
"""


@pytest.mark.processes
def test_the_store_of_a_running_node_is_read_before_and_after_an_install(
    folder: Path, source: LmdbStore, manifest: Manifest
) -> None:
    """Each opening finds the state that the log names at that moment."""
    with open_store(folder, YOU, create=True) as target:
        filled(target, index=10)
        transfer(source, target, manifest)
        process = subprocess.Popen(
            [sys.executable, "-c", LIVE_READER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            for expected in ("(10, 3) 1\n", "(30, 3) 31\n"):
                process.stdin.write("look\n")
                process.stdin.flush()
                assert process.stdout.readline() == expected
                if target.state.applied() == (10, 3):
                    target.snapshots.prepare(manifest.name, {})
                    target.commit_log([Install(manifest.name, 30, 3)])
            process.stdin.close()


def test_a_full_log_refuses_the_install_and_keeps_the_old_state(folder: Path, source: LmdbStore) -> None:
    """The transaction did not fit: old state, old log, and the prepared state is still there to be installed."""
    manifest = source.snapshots.take()
    with open_store(folder, YOU, create=True, map_size=MIB, map_limit=MIB) as target:
        filled(target, index=10)
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})
        large = [entry(index, data=b"x" * 100_000) for index in range(31, 51)]
        with pytest.raises(StorageFull):
            target.commit_log([Install(manifest.name, 30, 3), LogSave(None, large)])
        assert target.state.applied() == (10, 3)
        assert target.log.first_index() == 1
        target._log_env._map_limit += 8 * MIB
        target.commit_log([Install(manifest.name, 30, 3)])
        assert (target.state.applied(), target.log.first_index()) == ((30, 3), 31)
        target.log.save(None, entries(31, 32))
