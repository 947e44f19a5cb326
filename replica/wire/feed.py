"""What sites and zones say to each other, and zones among themselves about operations that are on their way.

A site says where it is (`Follow`) and is sent what the quorum has agreed since: effects, entry by entry, or the whole
state where it is too far behind. It offers its operations (`Submit`); answers to those are hints only, the feed is
the truth (rule 16). A zone that does not lead sends them on (`Forward`).

Beats say what a quorum has confirmed. A zone that knows of no leader has nothing to confirm and says so (`NoQuorum`):
a site must never take silence of the quorum for calm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from replica.cases.operations import OperationId
from replica.wire.limits import (
    MAX_OPERATIONS_PER_MESSAGE,
    MAX_RECORDS_PER_CHUNK,
    PIECE_BYTES,
    Count,
    Milliseconds,
    Name,
    NodeNumber,
    Operations,
    Text,
)
from replica.wire.pieces import cut


class Follow(Struct, frozen=True, array_like=True, tag="follow"):
    """Site to zone: my applied state is at (index, term); send what comes after. (0, 0): I have nothing."""

    index: Count
    term: Count


class Submit(Struct, frozen=True, array_like=True, tag="submit"):
    """Site to zone: operations of mine, encoded, in order, each durable in my journal (rule 9)."""

    operations: Operations


class FeedBeat(Struct, frozen=True, array_like=True, tag="beat"):
    """Zone to site: a quorum has confirmed `leader` in `term`, and `commit`; its wall clock said `leader_ms`."""

    term: Count
    commit: Count
    leader_ms: Milliseconds
    leader: NodeNumber


class NoQuorum(Struct, frozen=True, array_like=True, tag="no-quorum"):
    """Zone to site, in place of a beat: I am here, but I know of no leader that a quorum has confirmed."""

    term: Count


class EffectsMessage(Struct, frozen=True, array_like=True, tag="effects"):
    """Zone to site: the next entry's effects, encoded, or a piece of them where they are larger than PIECE_BYTES."""

    effects: bytes
    more: bool = False


class StateBegin(Struct, frozen=True, array_like=True, tag="state-begin"):
    """Zone to site: you are too far behind for effects; the whole state at (index, term) follows, this many records
    and bytes of keys and values; 0 where the zone has not counted them beforehand."""

    index: Count
    term: Count
    records: Count
    bytes: Count


class StateChunk(Struct, frozen=True, array_like=True, tag="state-chunk"):
    """Zone to site: the next records of the state, in order of their keys."""

    records: Annotated[tuple[tuple[bytes, bytes], ...], Meta(max_length=MAX_RECORDS_PER_CHUNK)]


class StateEnd(Struct, frozen=True, array_like=True, tag="state-end"):
    """Zone to site: that was all of it; `digest` is the state's, to be compared before it is put in place."""

    digest: Annotated[bytes, Meta(max_length=64)]


class Behind(Struct, frozen=True, array_like=True, tag="behind"):
    """Zone to site: I am behind you, or cannot tell; look elsewhere. Sent as the last message."""

    reason: Text


class Hint(Struct, frozen=True, array_like=True, tag="hint"):
    """Zone to site: this operation was not taken. `why`: "gap", "stale", "closed", "no-leader", "overloaded", …"""

    operation: OperationId
    why: Text


class Forward(Struct, frozen=True, array_like=True, tag="forward"):
    """Zone to leading zone: operations that `origin` (a site's id, or the zone's own) handed in at my door."""

    operations: Operations
    origin: Name


class ForwardHint(Struct, frozen=True, array_like=True, tag="forward-hint"):
    """The answer to a Forward where an operation was not taken: to be handed on to `origin` as a Hint."""

    origin: Name
    operation: OperationId
    why: Text


class LeaderClock(Struct, frozen=True, array_like=True, tag="leader-clock"):
    """Leading zone to the others, every so often: its wall clock, for the beats of their feeds. Sites' hybrid clocks
    go by the leader's time, whichever zone they follow."""

    term: Count
    wall_ms: Milliseconds


SiteMessage: TypeAlias = Follow | Submit
"""What a site may send a zone."""
ZoneToSiteMessage: TypeAlias = FeedBeat | NoQuorum | EffectsMessage | StateBegin | StateChunk | StateEnd | Behind | Hint
"""What a zone may send a site."""


def parcels(operations: Iterable[bytes], max_bytes: int = PIECE_BYTES) -> Iterator[tuple[bytes, ...]]:
    """Encoded operations in order, as many at a time as one Submit or Forward may hold: cut by bytes, not by count
    alone, since a few hundred large ones would not fit a frame. One larger than `max_bytes` goes alone."""
    parcel: list[bytes] = []
    size = 0
    for operation in operations:
        if parcel and (size + len(operation) > max_bytes or len(parcel) == MAX_OPERATIONS_PER_MESSAGE):
            yield tuple(parcel)
            parcel, size = [], 0
        parcel.append(operation)
        size += len(operation)
    if parcel:
        yield tuple(parcel)


def effects_messages(effects: bytes) -> Iterator[EffectsMessage]:
    """What each site is sent for one entry's encoded effects: one message, or several pieces.

    Encode and frame these once, for all sites. The site puts them together with `Joiner(MAX_EFFECTS_BYTES, "effects")`.
    """
    return (EffectsMessage(piece, more) for piece, more in cut(effects))


def state_chunks(records: Iterable[tuple[bytes, bytes]], max_bytes: int = PIECE_BYTES) -> Iterator[StateChunk]:
    """Records in chunks of about `max_bytes`; a record larger than that goes alone."""
    chunk: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in records:
        more = len(key) + len(value)
        if chunk and (size + more > max_bytes or len(chunk) == MAX_RECORDS_PER_CHUNK):
            yield StateChunk(tuple(chunk))
            chunk, size = [], 0
        chunk.append((key, value))
        size += more
    if chunk:
        yield StateChunk(tuple(chunk))
