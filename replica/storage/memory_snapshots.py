"""Snapshots in memory: the same manifests, chunks and steps as on disk, over a packed copy of the records.

What is taken or prepared is durable when the call returns, as on disk; a chunk that came in is not, until `sync`. What
a power cut leaves is `MemoryFolders.after_crash`. A record that is damaged is packed as damaged: its chunk is sound,
and whoever prepares a state of it finds it.

Left out: the layout of a real file (a chunk of two snapshots is equal here more often than there).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from struct import Struct

from replica.errors import StoreDamaged, StoreError
from replica.raft.types import Index, Term
from replica.storage.memory_state import MemoryState, Table
from replica.storage.snapshot_contract import (
    NO_MEMBERSHIP,
    Digest,
    Look,
    Manifest,
    OnStep,
    Receiving,
    Step,
    check_manifest,
    check_name,
    hash_chunk,
    hash_name,
)

Kept = Callable[[str, int], bool]
"""Whether a power cut leaves a chunk that was not synced: (snapshot, chunk)."""

_PAIR = Struct(">QQ")
_ITEM = Struct(">?HI")


@dataclass(slots=True)
class Arriving:
    """What the disk has of a snapshot on its way in."""

    manifest: Manifest
    chunks: dict[int, bytes] = field(default_factory=dict)
    unsynced: set[int] = field(default_factory=set)


@dataclass(slots=True)
class MemoryFolders:
    """The folders beside the two environments."""

    snapshots: dict[str, tuple[Manifest, bytes]] = field(default_factory=dict)
    receiving: dict[str, Arriving] = field(default_factory=dict)
    prepared: dict[str, MemoryState] = field(default_factory=dict)

    def after_crash(self, installed: str | None, kept: Kept) -> MemoryFolders:
        """What the next process finds, once its opening has deleted the leftovers."""
        found = MemoryFolders(dict(self.snapshots))
        for name, arriving in self.receiving.items():
            if name != installed:
                lost = {chunk for chunk in sorted(arriving.unsynced) if not kept(name, chunk)}
                chunks = {chunk: data for chunk, data in arriving.chunks.items() if chunk not in lost}
                found.receiving[name] = Arriving(arriving.manifest, chunks)
        return found

    def sync(self) -> None:
        for arriving in self.receiving.values():
            arriving.unsynced.clear()


class MemoryReceiving:
    """`snapshot_contract.Receiving` over an `Arriving`."""

    def __init__(self, arriving: Arriving, on_step: OnStep, *, synced: bool) -> None:
        self._arriving = arriving
        self._on_step = on_step
        self._synced = synced
        self._given_up = False
        self._here = {
            chunk for chunk, data in arriving.chunks.items() if hash_chunk(data) == arriving.manifest.chunks[chunk]
        }

    @property
    def manifest(self) -> Manifest:
        return self._arriving.manifest

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(chunk for chunk in range(len(self.manifest.chunks)) if chunk not in self._here)

    @property
    def complete(self) -> bool:
        return not self.missing

    def write(self, chunk: int, data: bytes) -> None:
        manifest = self.manifest
        if not 0 <= chunk < len(manifest.chunks):
            raise ValueError(f"snapshot {manifest.name} has no chunk {chunk}, only {len(manifest.chunks)}")
        if chunk in self._here and not self._given_up:
            return
        if hash_chunk(data) != manifest.chunks[chunk]:
            raise ValueError(f"snapshot {manifest.name} chunk {chunk}: its hash is not the manifest's")
        self._on_step(Step.RECEIVE_CHUNK)
        if self._given_up:
            raise StoreError(f"snapshot {manifest.name}: is not received any more")
        self._arriving.chunks[chunk] = data
        self._here.add(chunk)
        if not self._synced:
            self._arriving.unsynced.add(chunk)

    def read(self, chunk: int) -> bytes:
        """A chunk that is here. One that does not have its hash any more is missing again: `StoreDamaged`."""
        data = self._arriving.chunks[chunk]
        if hash_chunk(data) != self.manifest.chunks[chunk]:
            self._here.discard(chunk)
            raise StoreDamaged(f"snapshot {self.manifest.name} chunk {chunk}", "its hash is not the manifest's")
        return data

    def take_over(self, other: Arriving) -> None:
        """Copy the chunks of another snapshot that are the same here."""
        by_hash = {hash_chunk(data): data for data in other.chunks.values()}
        for chunk in self.missing:
            data = by_hash.get(self.manifest.chunks[chunk])
            if data is not None:
                self.write(chunk, data)

    def give_up(self) -> None:
        """No more of it: a late `write` is refused."""
        self._given_up = True


class MemorySnapshots:
    """`snapshot_contract.SnapshotStore` in memory."""

    def __init__(
        self, folders: MemoryFolders, state: MemoryState, memberships: Callable[[], tuple[tuple[Index, bytes], ...]],
        lock: AbstractContextManager[object], *, chunk_bytes: int, synced: bool, installed: Callable[[], str | None],
        on_step: OnStep,
    ) -> None:  # fmt: skip
        self._folders = folders
        self._state = state
        self._memberships = memberships
        self._lock = lock
        self._chunk_bytes = chunk_bytes
        self._synced = synced
        self._installed = installed
        self._on_step = on_step
        self._current: MemoryReceiving | None = None

    def take(
        self, membership: tuple[Index, bytes] | None = None, digest: bytes | Callable[[Look], bytes] = b""
    ) -> Manifest:
        self._on_step(Step.TAKE_COPY)
        with self._lock:
            copy = self._state.copy(lambda jobs: jobs)
        self._on_step(Step.TAKE_HASH)
        packed = pack(copy)
        manifest = self._describe(copy, packed, membership, digest)
        if manifest.name not in self._folders.snapshots:
            self._on_step(Step.TAKE_MANIFEST)
            self._on_step(Step.TAKE_NAME)
            self._folders.snapshots[manifest.name] = (manifest, packed)
        return self._folders.snapshots[manifest.name][0]

    def held(self) -> tuple[Manifest, ...]:
        found = [manifest for manifest, _ in self._folders.snapshots.values()]
        return tuple(sorted(found, key=lambda held: (held.index, held.term, held.name)))

    def read(self, name: str, chunk: int) -> bytes:
        held = self._folders.snapshots.get(name)
        if held is None:
            raise StoreError(f"snapshot {name[:100]}: is not held")
        manifest, packed = held
        if not 0 <= chunk < len(manifest.chunks):
            raise ValueError(f"snapshot {name} has no chunk {chunk}, only {len(manifest.chunks)}")
        data = packed[chunk * manifest.chunk_bytes :][: manifest.chunk_bytes]
        if hash_chunk(data) != manifest.chunks[chunk]:
            raise StoreDamaged(f"snapshot {name} chunk {chunk}", "its hash is not the manifest's")
        return data

    def drop(self, name: str) -> None:
        check_name(name)
        for folder in (self._folders.snapshots, self._folders.prepared):
            folder.pop(name, None)
        self.drop_received(name)

    def drop_received(self, name: str) -> None:
        """Its state is installed, or nobody wants it any more."""
        self._folders.receiving.pop(name, None)
        if self._current is not None and self._current.manifest.name == name:
            self._current.give_up()
            self._current = None

    def receive(self, manifest: Manifest) -> Receiving:
        return self._receive(manifest)

    def prepare(self, name: str, local: Mapping[bytes, bytes], total: Digest | None = None) -> None:
        self._check_preparable(name)
        arriving = self._folders.receiving.get(name)
        if arriving is None:
            raise StoreError(f"snapshot {name}: nothing of it was received")
        receiving = self._receive(arriving.manifest)
        if not receiving.complete:
            raise StoreError(f"snapshot {name}: {len(receiving.missing)} chunks are missing")
        manifest = receiving.manifest
        self._folders.prepared.pop(name, None)
        self._on_step(Step.PREPARE_COPY)
        packed = b"".join(receiving.read(chunk) for chunk in range(len(manifest.chunks)))
        copy = unpack(packed, manifest.name)
        self._prepare(name, copy, {}, (manifest.index, manifest.term), local, total, manifest.digest)

    def prepare_changed(
        self, name: str, changes: Mapping[bytes, bytes | None], applied: tuple[Index, Term],
        local: Mapping[bytes, bytes], total: Digest | None = None, digest: bytes = b"",
    ) -> None:  # fmt: skip
        self._check_preparable(name)
        before = self._state.applied()
        assert applied[0] > before[0] or applied == before, f"a write-back as of {applied} on a state as of {before}"
        self._folders.prepared.pop(name, None)
        self._on_step(Step.PREPARE_COPY)
        with self._lock:
            copy = self._state.copy(lambda jobs: jobs)
        copy.stand_at(applied)
        self._prepare(name, copy, changes, applied, local, total, digest)

    # --- details ---

    def _describe(
        self, copy: MemoryState, packed: bytes, membership: tuple[Index, bytes] | None,
        digest: bytes | Callable[[Look], bytes],
    ) -> Manifest:  # fmt: skip
        index, term = copy.applied()
        assert index > 0, "a snapshot of a state that is the result of nothing"
        if membership is None:
            known = [each for each in self._memberships() if each[0] <= index]
            membership = known[-1] if known else NO_MEMBERSHIP
        assert membership[0] <= index, f"membership {membership[0]} in a snapshot of {index}"
        described = digest if isinstance(digest, bytes) else digest(copy.get)
        places = range(0, len(packed), self._chunk_bytes)
        chunks = tuple(hash_chunk(packed[place : place + self._chunk_bytes]) for place in places)
        name = hash_name(index, term, membership, described, chunks)
        return Manifest(name, index, term, membership, described, len(packed), self._chunk_bytes, chunks)

    def _receive(self, manifest: Manifest) -> MemoryReceiving:
        check_manifest(manifest)
        if self._current is not None and self._current.manifest == manifest:
            return self._current
        if self._current is not None:
            self._current.give_up()
            self._current = None
        arriving = self._folders.receiving.get(manifest.name)
        if arriving is None or arriving.manifest != manifest:
            self._on_step(Step.RECEIVE_BEGIN)
            arriving = self._folders.receiving[manifest.name] = Arriving(manifest)
        current = MemoryReceiving(arriving, self._on_step, synced=self._synced)
        self._on_step(Step.RECEIVE_REUSE)
        for other in sorted(set(self._folders.receiving) - {manifest.name}):
            current.take_over(self._folders.receiving[other])
            del self._folders.receiving[other]
        self._current = current
        return current

    def _prepare(
        self, name: str, copy: MemoryState, changes: Mapping[bytes, bytes | None], applied: tuple[Index, Term],
        local: Mapping[bytes, bytes], total: Digest | None, digest: bytes,
    ) -> None:  # fmt: skip
        self._on_step(Step.PREPARE_REWRITE)
        copy.rewrite(changes, local)
        self._on_step(Step.PREPARE_CHECK)
        if copy.applied() != applied:
            raise StoreDamaged(f"snapshot {name}", f"is as of {copy.applied()}, not {applied}")
        records = list(copy.scan(b""))
        found = digest if total is None else total(iter(records))
        if found != digest:
            raise StoreDamaged(f"snapshot {name}", f"its digest is {found.hex()}, not {digest.hex()}")
        self._on_step(Step.PREPARE_NAME)
        self._folders.prepared[name] = copy

    def _check_preparable(self, name: str) -> None:
        check_name(name)
        if self._installed() == name:
            raise StoreError(f"snapshot {name}: is installed already")


# --- a state as bytes ---


def pack(state: MemoryState) -> bytes:
    """Applied index, records and local values, in key order: equal states give equal bytes."""
    return _PAIR.pack(*state.applied()) + b"".join(_pack_table(table) for table in state.tables())


def unpack(packed: bytes, name: str) -> MemoryState:
    """Back from `pack`. Raises `StoreDamaged` for bytes that are something else."""
    state = MemoryState(lambda jobs: jobs)
    try:
        state.stand_at(_PAIR.unpack_from(packed))
        place = _PAIR.size
        for table in state.tables():
            place = _unpack_table(packed, place, table)
    except Exception as problem:
        raise StoreDamaged(f"snapshot {name}", f"is no state: {problem!r}") from problem
    return state


def _pack_table(table: Table) -> bytes:
    items = table.items()
    packed = [_ITEM.pack(sound, len(key), len(value)) + key + value for key, value, sound in items]
    return _PAIR.pack(len(items), 0) + b"".join(packed)


def _unpack_table(packed: bytes, place: int, table: Table) -> int:
    count, _ = _PAIR.unpack_from(packed, place)
    place += _PAIR.size
    for _ in range(count):
        sound, key_bytes, value_bytes = _ITEM.unpack_from(packed, place)
        place += _ITEM.size
        key = packed[place : place + key_bytes]
        table.change({key: packed[place + key_bytes : place + key_bytes + value_bytes]})
        if not sound:
            table.damage(key)
        place += key_bytes + value_bytes
    return place


def flipped(data: bytes, place: int) -> bytes:
    """One bit of the byte at `place` the other way round."""
    return data[:place] + bytes((data[place] ^ 0x04,)) + data[place + 1 :]
