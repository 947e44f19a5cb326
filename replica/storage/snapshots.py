"""The snapshots of a node on disk: taken, held, read, received, prepared (`snapshot_contract.SnapshotStore`).

Taking one copies the state environment file with its free pages left out (0.1 s for 150 MB) and hashes the copy
(0.6 s); both let other threads run. It is made in a corner and moved into place when it is whole, its manifest last.

    DIR/snapshots/.taking/           while it is taken
    DIR/snapshots/NAME/data.mdb      never written again
    DIR/snapshots/NAME/manifest

One act that writes is done at a time (`take` and `prepare` wait for each other); reading waits for nothing. Left out:
machines whose pages or byte order are not ours, since LMDB's file is sent as it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from replica.errors import StoreDamaged, StoreError
from replica.raft.types import Index, Term
from replica.storage.folder import DATA_NAME, sync_folder
from replica.storage.identity import FORMAT_VERSION, Identity
from replica.storage.layout import (
    RECEIVING_NAME,
    SNAPSHOTS_NAME,
    STATE_NAME,
    Sizes,
    open_environment,
)
from replica.storage.log import state_folder_of
from replica.storage.manifests import disk_errors, read_manifest, sync_file, write_manifest
from replica.storage.opening import remove_folder, remove_state
from replica.storage.preparing import Preparing, from_chunks
from replica.storage.receiving import Incoming
from replica.storage.snapshot_contract import (
    NO_MEMBERSHIP,
    Digest,
    Look,
    Manifest,
    Receiving,
    Step,
    check_name,
    hash_chunk,
    hash_name,
)
from replica.storage.state import LmdbState, check_order

TAKING_NAME = ".taking"


class LmdbSnapshots:
    """`snapshot_contract.SnapshotStore` in a data folder."""

    def __init__(
        self, folder: Path, identity: Identity, sizes: Sizes, state: LmdbState,
        memberships: Callable[[], tuple[tuple[Index, bytes], ...]], *, read_only: bool,
    ) -> None:  # fmt: skip
        self._data_folder = folder
        self._folder = folder / SNAPSHOTS_NAME
        self._identity = identity
        self._sizes = sizes
        self._state = state
        self._memberships = memberships
        self._read_only = read_only
        self._acting = threading.Lock()
        self._receiving = threading.RLock()
        self._incoming = Incoming(folder / RECEIVING_NAME, sizes.on_step)
        self._held = _manifests(self._folder)

    # --- taken here ---

    def take(
        self, membership: tuple[Index, bytes] | None = None, digest: bytes | Callable[[Look], bytes] = b""
    ) -> Manifest:
        self._check_writable()
        with self._acting:
            taking = self._folder / TAKING_NAME
            remove_folder(taking)
            try:
                with disk_errors(taking):
                    return self._take(taking, membership, digest)
            except BaseException:
                remove_folder(taking)
                raise

    def held(self) -> tuple[Manifest, ...]:
        return tuple(sorted(self._held.values(), key=lambda held: (held.index, held.term, held.name)))

    def read(self, name: str, chunk: int) -> bytes:
        manifest = self._held.get(name)
        if manifest is None:
            raise StoreError(f"snapshot {name[:100]}: is not held")
        if not 0 <= chunk < len(manifest.chunks):
            raise ValueError(f"snapshot {name} has no chunk {chunk}, only {len(manifest.chunks)}")
        try:
            data = _read_at(self._folder / name / DATA_NAME, chunk * manifest.chunk_bytes, manifest.length_of(chunk))
        except OSError as problem:  # dropped between two lines of this function, or the disk is at fault
            raise StoreError(f"snapshot {name} chunk {chunk}: cannot be read: {problem}") from problem
        if hash_chunk(data) != manifest.chunks[chunk]:
            raise StoreDamaged(f"snapshot {name} chunk {chunk}", "its hash is not the manifest's")
        return data

    def drop(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        with self._acting, self._receiving:
            held = dict(self._held)
            held.pop(name, None)
            self._held = held
            remove_folder(self._folder / name)
            self._incoming.drop(name)
            path = self._data_folder / state_folder_of(name)
            if path.exists() and path != self._state.env.folder:
                remove_state(path)

    # --- coming in ---

    def receive(self, manifest: Manifest) -> Receiving:
        self._check_writable()
        with self._receiving:
            return self._incoming.receive(manifest)

    def prepare(self, name: str, local: Mapping[bytes, bytes], total: Digest | None = None) -> None:
        self._check_preparable(name)
        with self._acting:
            with self._receiving:
                receiving = self._incoming.find(name)
            if receiving is None:
                raise StoreError(f"snapshot {name}: nothing of it was received")
            if not receiving.complete:
                raise StoreError(f"snapshot {name}: {len(receiving.missing)} chunks are missing")
            manifest = receiving.manifest
            making = Preparing(self._data_folder, self._identity, self._sizes, name)
            making.make(from_chunks(receiving), None, (manifest.index, manifest.term), local, total, manifest.digest)

    def prepare_changed(
        self, name: str, changes: Mapping[bytes, bytes | None], applied: tuple[Index, Term],
        local: Mapping[bytes, bytes], total: Digest | None = None, digest: bytes = b"",
    ) -> None:  # fmt: skip
        self._check_preparable(name)
        with self._acting:
            check_order(self._state.applied(), applied)
            making = Preparing(self._data_folder, self._identity, self._sizes, name)
            making.make(self._state.copy, changes, applied, local, total, digest)

    # --- opening, installing, closing ---

    def clean(self, state_name: str) -> None:
        """Remove what a crash has left of taking, dropping and receiving. What is only unfinished stays."""
        for folder in (self._folder, self._data_folder / RECEIVING_NAME):
            with suppress(FileNotFoundError):
                for each in folder.iterdir():
                    if read_manifest(each) is None:
                        remove_folder(each)
        self.clean_received(state_name)

    def clean_received(self, state_name: str) -> None:
        """The state of this folder is installed: the chunks it was made of have done their work."""
        if state_name != STATE_NAME:
            with self._receiving:
                self._incoming.drop(state_name.removeprefix(f"{STATE_NAME}."))

    def close(self) -> None:
        with self._receiving:
            self._incoming.close()

    # --- details ---

    def _take(
        self, taking: Path, membership: tuple[Index, bytes] | None, digest: bytes | Callable[[Look], bytes]
    ) -> Manifest:
        self._sizes.on_step(Step.TAKE_COPY)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        taking.mkdir(mode=0o700)
        self._state.copy(taking)
        self._sizes.on_step(Step.TAKE_HASH)
        sync_file(taking / DATA_NAME)
        size, chunks = _hash_file(taking / DATA_NAME, self._sizes.chunk_bytes)
        manifest = self._describe(taking, membership, digest, size, chunks)
        if manifest.name in self._held:
            remove_folder(taking)
            return self._held[manifest.name]
        self._sizes.on_step(Step.TAKE_MANIFEST)
        write_manifest(taking, manifest)
        self._sizes.on_step(Step.TAKE_NAME)
        taking.rename(self._folder / manifest.name)
        sync_folder(self._folder)
        sync_folder(self._data_folder)
        self._held = {**self._held, manifest.name: manifest}
        return manifest

    def _describe(
        self, taking: Path, membership: tuple[Index, bytes] | None, digest: bytes | Callable[[Look], bytes],
        size: int, chunks: tuple[bytes, ...],
    ) -> Manifest:  # fmt: skip
        """What can only be said of the copy itself, since flushes go on."""
        env = open_environment(
            taking, STATE_NAME, self._sizes, version=FORMAT_VERSION, read_only=True, lock=False
        )  # fmt: skip
        with closing(env):
            copy = LmdbState(env, lambda jobs: jobs, 0)
            index, term = copy.applied()
            assert index > 0, "a snapshot of a state that is the result of nothing"
            if membership is None:
                known = [each for each in self._memberships() if each[0] <= index]
                membership = known[-1] if known else NO_MEMBERSHIP
            assert membership[0] <= index, f"membership {membership[0]} in a snapshot of {index}"
            described = digest if isinstance(digest, bytes) else digest(copy.get)
        name = hash_name(index, term, membership, described, chunks)
        return Manifest(name, index, term, membership, described, size, self._sizes.chunk_bytes, chunks)

    def _check_preparable(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        if self._state.env.folder.name == state_folder_of(name):
            raise StoreError(f"snapshot {name}: is installed already")

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreError(f"{self._data_folder}: was opened for reading only")


def _manifests(folder: Path) -> dict[str, Manifest]:
    with suppress(FileNotFoundError):
        found = (read_manifest(each) for each in sorted(folder.iterdir()))
        return {each.name: each for each in found if each is not None}
    return {}


def _hash_file(path: Path, chunk_bytes: int) -> tuple[int, tuple[bytes, ...]]:
    """Size, and the hash of each chunk."""
    chunks = []
    with path.open("rb") as file:
        while data := file.read(chunk_bytes):
            chunks.append(hash_chunk(data))
        return file.tell(), tuple(chunks)


def _read_at(path: Path, place: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, place)
    finally:
        os.close(fd)
