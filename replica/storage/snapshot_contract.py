"""What a store promises about snapshots: taking one, sending it in chunks, receiving one, and making it the state.

A snapshot is an immutable copy of the state environment, described by a `Manifest` with the hash of every chunk. The
sender takes it and reads chunks from it. The receiver collects chunks, prepares a new state beside its old one, and
one `Install` (a job of the log environment, contract.py) swaps the two in the transaction that resets the log:

    manifest = store.snapshots.take()                         # at the sender, in a worker thread
    receiving = other.snapshots.receive(manifest)             # goes on where an earlier life stopped
    for chunk in receiving.missing:
        receiving.write(chunk, store.snapshots.read(manifest.name, chunk))
    other.snapshots.prepare(manifest.name, local={})          # blocking, in a worker thread
    other.commit_log([Install(manifest.name, manifest.index, manifest.term, manifest.membership, hard_state)])

Everything here may block and may be called from any thread, beside both writers and the loop; nothing of it pauses
them. Left out: when to take one, whom to send it, and how fast (the runtime).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import Protocol, TypeAlias

from replica.raft.types import Index, Term

CHUNK_BYTES = 256 << 10
"""What is sent, hashed, resumed and lost at once."""

NO_MEMBERSHIP: tuple[Index, bytes] = (0, b"")
"""Where no membership was ever agreed: the one of the configuration holds."""

_HASH_BYTES = 16
_NAME_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz-")
_LONGEST_NAME = 80

Digest: TypeAlias = Callable[[Iterable[tuple[bytes, bytes]]], bytes]
"""The digest of a whole state from all its records, in key order."""

Look: TypeAlias = Callable[[bytes], bytes | None]
"""Reads one record of the copy that is being described."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One snapshot: of which entry it is the state, and what its bytes are."""

    name: str
    """Made of index, term and content, so equal names mean equal bytes. Digits, small letters and hyphens."""
    index: Index
    term: Term
    membership: tuple[Index, bytes]
    """The newest membership entry up to `index`, as (its index, its data); `NO_MEMBERSHIP` where there was none."""
    digest: bytes
    """The digest of the state, as the taker gave it. The store does not know how it is made."""
    size: int
    chunk_bytes: int
    chunks: tuple[bytes, ...]
    """The hash of each chunk (`hash_chunk`), in order."""

    def length_of(self, chunk: int) -> int:
        """How many bytes chunk number `chunk` has."""
        return min(self.chunk_bytes, self.size - chunk * self.chunk_bytes)


def hash_chunk(data: bytes) -> bytes:
    """BLAKE2b with 16 bytes. Releases the interpreter while it works."""
    return blake2b(data, digest_size=_HASH_BYTES).digest()


def hash_name(
    index: Index, term: Term, membership: tuple[Index, bytes], digest: bytes, chunks: tuple[bytes, ...]
) -> str:
    """The name of a snapshot: where it stands, then a hash of all that its manifest says."""
    said = repr((index, term, membership, digest, chunks)).encode()
    return f"{index}-{term}-{blake2b(said, digest_size=8).hexdigest()}"


def check_name(name: str) -> None:
    """Raise `ValueError` for a name that a folder should not have. Names come over the wire."""
    if not 0 < len(name) <= _LONGEST_NAME or not _NAME_CHARACTERS.issuperset(name):
        raise ValueError(f"snapshot name {name[:100]!r}: expected 1 to {_LONGEST_NAME} of [0-9a-z-]")


def check_manifest(manifest: Manifest) -> None:
    """Raise `ValueError` where a manifest contradicts itself. It comes over the wire."""
    check_name(manifest.name)
    if manifest.chunk_bytes <= 0 or manifest.size <= 0 or manifest.index <= 0 or manifest.term <= 0:
        raise ValueError(f"snapshot {manifest.name}: index, term, size and chunk bytes must be above 0")
    expected = -(-manifest.size // manifest.chunk_bytes)
    if len(manifest.chunks) != expected:
        raise ValueError(f"snapshot {manifest.name}: {len(manifest.chunks)} chunk hashes, {expected} chunks")
    if any(len(each) != _HASH_BYTES for each in manifest.chunks):
        raise ValueError(f"snapshot {manifest.name}: a chunk hash has other than {_HASH_BYTES} bytes")
    if manifest.membership[0] > manifest.index:
        raise ValueError(f"snapshot {manifest.name}: membership {manifest.membership[0]} is after {manifest.index}")


class Step(Enum):
    """The moments between two of which a crash may come. A store calls `on_step` with each, just before it begins.

    For tests and the simulated world: what is called may raise what a disk raises, or end the process.
    """

    TAKE_COPY = "take: copy"
    TAKE_HASH = "take: hash"
    TAKE_MANIFEST = "take: manifest"
    TAKE_NAME = "take: name"
    RECEIVE_BEGIN = "receive: begin"
    RECEIVE_REUSE = "receive: reuse"
    RECEIVE_CHUNK = "receive: chunk"
    PREPARE_COPY = "prepare: copy"
    PREPARE_REWRITE = "prepare: rewrite"
    PREPARE_CHECK = "prepare: check"
    PREPARE_NAME = "prepare: name"
    INSTALL_OPEN = "install: open"
    INSTALL_COMMIT = "install: commit"
    INSTALL_SWITCH = "install: switch"
    INSTALL_CLEAN = "install: clean"
    INSTALL_DONE = "install: done"


OnStep: TypeAlias = Callable[[Step], None]


def no_step(_: Step) -> None:
    """The `on_step` of a store in service."""


class Receiving(Protocol):
    """A snapshot on its way in. Whoever comes back after a crash asks for the same one again and writes what misses."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def missing(self) -> tuple[int, ...]:
        """The chunks that are not here yet, in order."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing: `SnapshotStore.prepare` may be called."""

    def write(self, chunk: int, data: bytes) -> None:
        """Keep one chunk. One that is here already changes nothing.

        Not synced: after a power cut it may be missing again, which `receive` finds by its hash. Raises `ValueError`
        naming the chunk for a number or bytes that are not the manifest's (nothing was written: ask again),
        `StorageFull`, `StorageFailed`, `StoreError` where it was given up for another snapshot or dropped.
        """


class SnapshotStore(Protocol):
    """The snapshots of a store, those that come in, and the states prepared from them."""

    def take(
        self, membership: tuple[Index, bytes] | None = None, digest: bytes | Callable[[Look], bytes] = b""
    ) -> Manifest:
        """Copy the state environment as of its last flush, hash it, make it durable. Blocking: seconds for a gigabyte.

        Index and term are read from the copy, since a flush may come between asking and copying. So may the membership
        (None: the newest one the log store knows up to that index) and the digest (a function is handed a look into the
        copy). A membership that is given and newer than the copy is a bug (AssertionError).

        Raises `StorageFull` (nothing is left behind), `StorageFailed`, `StoreError`.
        """

    def held(self) -> tuple[Manifest, ...]:
        """The snapshots that can be read, oldest index first; also those of earlier lives. Drop what is not needed."""

    def read(self, name: str, chunk: int) -> bytes:
        """One chunk, its hash checked. Never waits for `take`.

        Raises `StoreDamaged` naming snapshot and chunk (drop it and take another), `StoreError` where `name` is not
        held (dropped meanwhile), `ValueError` for a number that it does not have.
        """

    def drop(self, name: str) -> None:
        """Delete a held snapshot, what was received of one, and a state prepared from it. Unknown names are no error.

        The installed state is not touched, whatever it was made from.
        """

    def receive(self, manifest: Manifest) -> Receiving:
        """Begin or go on. What an earlier life has of the same manifest is picked up, each chunk checked by its hash.

        One snapshot comes in at a time: any other unfinished one hands over its equal chunks and is deleted. Raises
        `ValueError` for a manifest that contradicts itself, `StorageFull` (nothing is left behind), `StorageFailed`.
        Blocking: about four seconds for a gigabyte that is picked up.
        """

    def prepare(self, name: str, local: Mapping[bytes, bytes], total: Digest | None = None) -> None:
        """Make a state of the received snapshot `name`, whole, durable and checked, beside the one in use.

        Identity and local table are this store's: the sender's local values are emptied, `local` written. Every record
        is read once and its checksum verified; with `total`, the digest of all of them must be the manifest's. The
        received chunks stay until the install, so a crash costs no second transfer.

        Raises `StoreError` where chunks are missing or `name` is not received, `StoreDamaged` (drop it, receive it
        again), `StorageFull` (nothing is left behind), `StorageFailed`.
        """

    def prepare_changed(
        self, name: str, changes: Mapping[bytes, bytes | None], applied: tuple[Index, Term],
        local: Mapping[bytes, bytes], total: Digest | None = None, digest: bytes = b"",
    ) -> None:  # fmt: skip
        """As `prepare`, from a copy of this node's own flushed state and the records changed since (None deletes).

        For a node a little behind: the sender has `StateStore.changed_since(our flushed index)` and reads those keys in
        one moment. `name` is the caller's choice. `applied` below our own is a bug (AssertionError).
        """
