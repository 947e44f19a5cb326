"""A snapshot on its way in: a file of the full size, of which some chunks are there and the others are not.

Nothing is remembered about a chunk but its hash, which the manifest has. So a chunk is written in its place without a
sync, and whoever comes back after a crash, of the process or of the machine, hashes the file and knows what is missing:
a chunk is whole or it is not there.

Left out: how fast (the runtime throttles the sender), and a second snapshot at the same time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from replica.errors import StoreDamaged, StoreError
from replica.storage.folder import sync_folder
from replica.storage.manifests import disk_errors, read_manifest, write_manifest
from replica.storage.opening import remove_folder
from replica.storage.snapshot_contract import Manifest, OnStep, Step, check_manifest, hash_chunk

CHUNKS_NAME = "chunks"


class LmdbReceiving:
    """`snapshot_contract.Receiving` in a folder. `pick_up` or `begin` make one; `close` ends it."""

    def __init__(self, folder: Path, manifest: Manifest, on_step: OnStep) -> None:
        self.folder = folder
        self._manifest = manifest
        self._on_step = on_step
        self._lock = threading.Lock()
        self._fd: int | None = os.open(folder / CHUNKS_NAME, os.O_RDWR | os.O_CLOEXEC)
        self._here = bytearray(len(manifest.chunks))

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(chunk for chunk, here in enumerate(self._here) if not here)

    @property
    def complete(self) -> bool:
        return all(self._here)

    def write(self, chunk: int, data: bytes) -> None:
        manifest = self._manifest
        if not 0 <= chunk < len(manifest.chunks):
            raise ValueError(f"snapshot {manifest.name} has no chunk {chunk}, only {len(manifest.chunks)}")
        if self._fd is not None and self._here[chunk]:
            return
        if hash_chunk(data) != manifest.chunks[chunk]:
            raise ValueError(f"snapshot {manifest.name} chunk {chunk}: its hash is not the manifest's")
        self._on_step(Step.RECEIVE_CHUNK)
        with self._lock, disk_errors(self.folder):
            _write_at(self._opened(), data, chunk * manifest.chunk_bytes)
            self._here[chunk] = True

    def read(self, chunk: int) -> bytes:
        """A chunk that is here. One that does not have its hash any more is missing again: `StoreDamaged`."""
        data = self._read(chunk)
        if hash_chunk(data) != self._manifest.chunks[chunk]:
            self._here[chunk] = False
            raise StoreDamaged(f"snapshot {self._manifest.name} chunk {chunk}", "its hash is not the manifest's")
        return data

    def pick_up(self) -> None:
        """Find out which chunks are here."""
        for chunk, expected in enumerate(self._manifest.chunks):
            self._here[chunk] = hash_chunk(self._read(chunk)) == expected

    def take_over(self, other: Path, manifest: Manifest) -> None:
        """Copy the chunks that the folder `other` has of another snapshot, and that are the same here."""
        places = {expected: place for place, expected in enumerate(manifest.chunks)}
        with suppress(FileNotFoundError), (other / CHUNKS_NAME).open("rb") as file:
            for chunk in self.missing:
                place = places.get(self._manifest.chunks[chunk])
                if place is not None:
                    file.seek(place * manifest.chunk_bytes)
                    data = file.read(manifest.length_of(place))
                    if hash_chunk(data) == self._manifest.chunks[chunk]:
                        self.write(chunk, data)

    def close(self) -> None:
        """No more of it: a late `write` is refused."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _read(self, chunk: int) -> bytes:
        with self._lock:
            return os.pread(self._opened(), self._manifest.length_of(chunk), chunk * self._manifest.chunk_bytes)

    def _opened(self) -> int:
        if self._fd is None:
            raise StoreError(f"snapshot {self._manifest.name}: is not received any more")
        return self._fd


class Incoming:
    """The folder of what comes in: at most one snapshot after each `receive`."""

    def __init__(self, folder: Path, on_step: OnStep) -> None:
        self._folder = folder
        self._on_step = on_step
        self._current: LmdbReceiving | None = None

    def receive(self, manifest: Manifest) -> LmdbReceiving:
        """As `SnapshotStore.receive`."""
        check_manifest(manifest)
        if self._current is not None and self._current.manifest == manifest:
            return self._current
        self.close()
        self._current = None
        current = self._pick_up(manifest) or self._begin(manifest)
        self._on_step(Step.RECEIVE_REUSE)
        for other in self._others(manifest.name):
            known = read_manifest(other)
            if known is not None:
                current.take_over(other, known)
            remove_folder(other)
        self._current = current
        return current

    def find(self, name: str) -> LmdbReceiving | None:
        """What comes in, or came in an earlier life, under this name."""
        if self._current is not None and self._current.manifest.name == name:
            return self._current
        manifest = read_manifest(self._folder / name)
        return None if manifest is None else self.receive(manifest)

    def drop(self, name: str) -> None:
        """Delete what is here of one snapshot."""
        if self._current is not None and self._current.manifest.name == name:
            self.close()
            self._current = None
        remove_folder(self._folder / name)

    def close(self) -> None:
        if self._current is not None:
            self._current.close()

    def _pick_up(self, manifest: Manifest) -> LmdbReceiving | None:
        folder = self._folder / manifest.name
        if read_manifest(folder) != manifest or not (folder / CHUNKS_NAME).exists():
            return None
        receiving = LmdbReceiving(folder, manifest, self._on_step)
        receiving.pick_up()
        return receiving

    def _begin(self, manifest: Manifest) -> LmdbReceiving:
        """The room is taken at once, so that a disk too small for it is known before the first chunk is sent."""
        folder = self._folder / manifest.name
        remove_folder(folder)
        self._on_step(Step.RECEIVE_BEGIN)
        try:
            with disk_errors(folder):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                folder.mkdir(mode=0o700)
                _allocate(folder / CHUNKS_NAME, manifest.size)
                write_manifest(folder, manifest)
                sync_folder(self._folder)
        except BaseException:
            remove_folder(folder)
            raise
        return LmdbReceiving(folder, manifest, self._on_step)

    def _others(self, name: str) -> Iterator[Path]:
        for each in sorted(self._folder.iterdir()):
            if each.name != name:
                yield each


def _allocate(path: Path, size: int) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def _write_at(fd: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, place)
        view, place = view[written:], place + written
