"""How a state goes over: from a zone to a zone or a site that lacks what is no longer kept entry by entry.

The receiver pulls; whoever dies on the way, the next life goes on with the chunks that miss:

    sender                                  receiver
    StateNeeded(first)            ->        what you need next is gone here; I keep what comes from `first` on
                                  <-        StateAsk(index, term): so much of the state is on my disk
    SnapshotOffer(name, ...)      ->        a copy of the state, cut in chunks: these are their hashes
                                  <-        SnapshotWant(name, chunks): those I do not have yet, a few at a time
    SnapshotChunk(name, n, data)  ->
                                  <-        SnapshotDone(name, ok, why): it is the state here now, or not

A receiver a little behind is answered with StateBegin, StateChunk, StateEnd (feed.py) instead of an offer: the records
that changed since. `StillHere` passes while either side works (takes, hashes, prepares) and has nothing to say.

Leaves out: what a manifest means and whether it contradicts itself (storage/snapshot_contract.py).
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from replica.wire.limits import (
    HASH_BYTES,
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_CHUNKS_WANTED,
    MAX_RECORDS_PER_CHUNK,
    MAX_SNAPSHOT_NAME,
    Count,
    MembershipBytes,
    Name,
    Text,
)

SnapshotName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_SNAPSHOT_NAME)]
ChunkNumber: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_CHUNKS - 1)]


class StateNeeded(Struct, frozen=True, array_like=True, tag="state-needed"):
    """Sender: what you need next is not kept here any more; what comes from `first` on is. Say where your state is."""

    first: Count


class StateAsk(Struct, frozen=True, array_like=True, tag="state-ask"):
    """Receiver: the state on my disk is as of (index, term). (0, 0): there is none."""

    index: Count
    term: Count


class SnapshotOffer(Struct, frozen=True, array_like=True, tag="snapshot-offer"):
    """Sender: this is the copy to be had, as of the committed entry (index, term). `hashes` are those of its chunks,
    HASH_BYTES each, one behind the other."""

    name: SnapshotName
    index: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    term: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    membership_index: Count
    membership: MembershipBytes
    digest: Annotated[bytes, Meta(max_length=64)]
    size: Annotated[int, Meta(ge=1, le=MAX_CHUNKS * MAX_CHUNK_BYTES)]
    chunk_bytes: Annotated[int, Meta(ge=1, le=MAX_CHUNK_BYTES)]
    hashes: Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=MAX_CHUNKS * HASH_BYTES)]

    def chunks(self) -> tuple[bytes, ...]:
        """The hash of each chunk, in order; a last one that is too short where the bytes are torn."""
        return tuple(self.hashes[at : at + HASH_BYTES] for at in range(0, len(self.hashes), HASH_BYTES))


class SnapshotWant(Struct, frozen=True, array_like=True, tag="snapshot-want"):
    """Receiver: send me these chunks next. Each Want is answered whole before the next is due."""

    name: SnapshotName
    chunks: Annotated[tuple[ChunkNumber, ...], Meta(min_length=1, max_length=MAX_CHUNKS_WANTED)]


class SnapshotChunk(Struct, frozen=True, array_like=True, tag="snapshot-chunk"):
    """Sender: one chunk."""

    name: SnapshotName
    chunk: ChunkNumber
    data: Annotated[bytes, Meta(min_length=1, max_length=MAX_CHUNK_BYTES)]


class SnapshotDone(Struct, frozen=True, array_like=True, tag="snapshot-done"):
    """Receiver: that is the end of it: the state is in place, or (not ok) it is not, and why."""

    ok: bool
    why: Text = ""


class StillHere(Struct, frozen=True, array_like=True, tag="still-here"):
    """Either side: I am at work on it, and at what: for a person who looks at the line."""

    work: Text


class PreviewWant(Struct, frozen=True, array_like=True, tag="preview-want"):
    """Site to zone, which has said that it is far behind (feed.py): send what is `site`'s own. `subjects`: these, as
    (kind, id), are among what it shows as its own, whatever has become of them."""

    site: Name
    subjects: Annotated[tuple[tuple[Name, Name], ...], Meta(max_length=MAX_RECORDS_PER_CHUNK)]


FromSender: TypeAlias = StateNeeded | SnapshotOffer | SnapshotChunk | StillHere
"""What the sender of a state may say, beside StateBegin, StateChunk and StateEnd."""
FromReceiver: TypeAlias = StateAsk | SnapshotWant | SnapshotDone | StillHere | PreviewWant

FROM_SENDER: Final[tuple[type[FromSender], ...]] = (StateNeeded, SnapshotOffer, SnapshotChunk, StillHere)
FROM_RECEIVER: Final[tuple[type[FromReceiver], ...]] = (
    StateAsk,
    SnapshotWant,
    SnapshotDone,
    StillHere,
    PreviewWant,
)
