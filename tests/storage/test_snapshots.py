"""Both stores pass the batteries of snapshots, of installs, and of what is kept beside entries and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replica.storage import Identity, LmdbStore, MemoryStore, Step, Store, open_store
from replica.storage.snapshot_contract import no_step

from .battery import ME, Disk
from .install_battery import InstallBattery
from .kept_battery import KeptBattery
from .snapshot_battery import CHUNK_BYTES, HookedDisk, SnapshotBattery

SMALL_MAP = 1 << 20
SMALL_RECORD = 1000


class LmdbDisk(HookedDisk):
    def __init__(self, path: Path, identity: Identity, changed_bytes: int = 1 << 20) -> None:
        self._path = path
        self._identity = identity
        self._changed_bytes = changed_bytes
        self._store: LmdbStore | None = None
        self.on_step = no_step

    def open(self) -> Store:
        self.close()
        self._store = open_store(
            self._path, self._identity, create=True, map_size=SMALL_MAP, chunk_bytes=CHUNK_BYTES,
            changed_bytes=self._changed_bytes, on_step=self._step,
        )  # fmt: skip
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _step(self, step: Step) -> None:
        self.on_step(step)


class MemoryDisk(HookedDisk):
    """Each opening is after a power cut: what was committed on a disk that syncs is there."""

    def __init__(self, identity: Identity, changed_bytes: int = 1 << 20) -> None:
        self._identity = identity
        self._changed_bytes = changed_bytes
        self._store: MemoryStore | None = None
        self.on_step = no_step

    def open(self) -> Store:
        if self._store is None:
            self._store = MemoryStore(self._identity, chunk_bytes=CHUNK_BYTES, changed_bytes=self._changed_bytes)
        else:
            self._store = self._store.crash()
        self._store.on_step = lambda step: self.on_step(step)
        return self._store


class TestLmdb(SnapshotBattery, InstallBattery, KeptBattery):
    @pytest.fixture
    def disks(self, tmp_path: Path) -> Iterator[Callable[[Identity], HookedDisk]]:
        made: list[LmdbDisk] = []

        def make(identity: Identity) -> HookedDisk:
            made.append(LmdbDisk(tmp_path / str(len(made)), identity))
            return made[-1]

        yield make
        for each in made:
            each.close()

    @pytest.fixture
    def disk(self, disks: Callable[[Identity], HookedDisk]) -> Disk:
        return disks(ME)

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Disk]:
        disk = LmdbDisk(tmp_path / "small", ME, SMALL_RECORD)
        yield disk
        disk.close()


class TestMemory(SnapshotBattery, InstallBattery, KeptBattery):
    @pytest.fixture
    def disks(self) -> Callable[[Identity], HookedDisk]:
        return MemoryDisk

    @pytest.fixture
    def disk(self) -> Disk:
        return MemoryDisk(ME)

    @pytest.fixture
    def small_disk(self) -> Disk:
        return MemoryDisk(ME, SMALL_RECORD)
