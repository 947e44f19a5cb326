"""What sites and zones say to each other, and zones among themselves about operations that are on their way.

A site says where it is (`Follow`) and is sent what the quorum has agreed since: effects, entry by entry, or the whole
state where it is too far behind. It offers its operations (`Submit`); answers to those are hints only, the feed is
the truth (rule 16). A zone that does not lead sends them on (`Forward`).

A site that is far behind may be sent its own cases before all that (cases/scope.py). It asks for that in its `Follow`,
which an older zone does not read; a zone says nothing of it to a site that did not ask:

    site                                     zone
    Follow(index, term, preview=True)  ->
                                       <-    PreviewNeeded: you are far behind; what do you show as yours?
    PreviewWant(site, subjects)        ->
                                       <-    Preview(index, term, covered, records, more) ...
                                       <-    the effects, or the state, as ever

Beats say what a quorum has confirmed. A zone that knows of no leader has nothing to confirm and says so (`NoQuorum`):
a site must never take silence of the quorum for calm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from replica.cases.operations import OperationId
from replica.wire.limits import (
    MAX_OPERATIONS_PER_MESSAGE,
    MAX_RECORDS_PER_CHUNK,
    MAX_SITES,
    MAX_ZONES,
    PIECE_BYTES,
    Count,
    MembershipBytes,
    Milliseconds,
    Name,
    NodeNumber,
    Operations,
    Text,
)
from replica.wire.pieces import cut


class Follow(Struct, frozen=True, array_like=True, tag="follow"):
    """Site to zone: my applied state is at (index, term); send what comes after. (0, 0): I have nothing.

    `whole`: a record of my state is damaged; first send me a whole one, as of that index or later. `preview`: where I
    am far behind, first send me my own."""

    index: Count
    term: Count
    whole: bool = False
    preview: bool = False


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
    """Zone to site or zone (snapshot.py): what changed in the state since `since` follows, as it is at (index, term);
    so many records, and bytes of keys and values. `since` 0: all of it. The membership is the one in force there."""

    index: Count
    term: Count
    records: Count
    bytes: Count
    since: Count = 0
    membership_index: Count = 0
    membership: MembershipBytes = b""


class StateChunk(Struct, frozen=True, array_like=True, tag="state-chunk"):
    """The next of those records, and keys whose records are gone."""

    records: Annotated[tuple[tuple[bytes, bytes], ...], Meta(max_length=MAX_RECORDS_PER_CHUNK)]
    deleted: Annotated[tuple[bytes, ...], Meta(max_length=MAX_RECORDS_PER_CHUNK)] = ()


class StateEnd(Struct, frozen=True, array_like=True, tag="state-end"):
    """That was all of it; `digest` is the whole state's, to be compared before it is put in place."""

    digest: Annotated[bytes, Meta(max_length=64)]


class PreviewNeeded(Struct, frozen=True, array_like=True, tag="preview-needed"):
    """Zone to site, which asked: you are far behind (my state is at `index`), and are sent your own first. Say what you
    show as yours now."""

    index: Count


class Preview(Struct, frozen=True, array_like=True, tag="preview"):
    """Zone to site: records as they are agreed at (index, term), or a part of them, and keys of what they cover. What
    would stand under a covered key and is not sent is not there. (0, 0): there is no preview to be had."""

    index: Count
    term: Count
    covered: Annotated[tuple[bytes, ...], Meta(max_length=MAX_RECORDS_PER_CHUNK)]
    records: Annotated[tuple[tuple[bytes, bytes], ...], Meta(max_length=MAX_RECORDS_PER_CHUNK)]
    more: bool = False


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


class LearnerDigest(Struct, frozen=True, array_like=True, tag="learner-digest"):
    """A zone that learns to the leading one, every so often: my state at `index` has this digest."""

    index: Count
    digest: Annotated[bytes, Meta(max_length=64)]


class SitesHeard(Struct, frozen=True, array_like=True, tag="sites-heard"):
    """Zone to the leading one, with every beat, from feature level 3 on: these sites follow me just now."""

    sites: Annotated[tuple[Name, ...], Meta(max_length=MAX_SITES)]


class ZoneAt(Struct, frozen=True, array_like=True):
    """A zone of the cluster, for who wants to follow it."""

    number: NodeNumber
    name: Name
    address: Name
    retired: bool = False


class Zones(Struct, frozen=True, array_like=True, tag="zones"):
    """Zone to site, at first and whenever it changes: the zones there are, and those that are gone for good."""

    zones: Annotated[tuple[ZoneAt, ...], Meta(max_length=MAX_ZONES)]
    generation: Count = 1


class ConfirmRead(Struct, frozen=True, array_like=True, tag="confirm-read"):
    """Site to zone: from which index on may I answer a read that is asked now (dissertation 6.4)?"""

    number: Count


class Here(Struct, frozen=True, array_like=True, tag="here"):
    """Site to zone, every so often, from feature level 3 on: I still hear you. A zone that hears nothing of a site for
    `cut_off_after_ms` does not call it heard, whatever its socket says."""

    index: Count


class ReadConfirmed(Struct, frozen=True, array_like=True, tag="read-confirmed"):
    """Zone to site: a state as of `index` or later answers it. Or why not, in `refusal`; `retry_after_ms` above 0 where
    too much waits."""

    number: Count
    index: Count
    refusal: Text = ""
    retry_after_ms: Count = 0


SiteMessage: TypeAlias = Follow | Submit | ConfirmRead | Here
"""What a site may send a zone."""
ZoneToSiteMessage: TypeAlias = (
    FeedBeat
    | NoQuorum
    | EffectsMessage
    | StateBegin
    | StateChunk
    | StateEnd
    | Behind
    | Hint
    | Zones
    | ReadConfirmed
    | PreviewNeeded
    | Preview
)
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


def state_chunks(records: Iterable[tuple[bytes, bytes | None]], max_bytes: int = PIECE_BYTES) -> Iterator[StateChunk]:
    """Records (None: gone) in chunks of about `max_bytes`; a record larger than that goes alone."""
    held: list[tuple[bytes, bytes]] = []
    deleted: list[bytes] = []
    size = 0
    for key, value in records:
        more = len(key) + len(value or b"")
        count = len(held) + len(deleted)
        if count and (size + more > max_bytes or count == MAX_RECORDS_PER_CHUNK):
            yield StateChunk(tuple(held), tuple(deleted))
            held, deleted, size = [], [], 0
        if value is None:
            deleted.append(key)
        else:
            held.append((key, value))
        size += more
    if held or deleted:
        yield StateChunk(tuple(held), tuple(deleted))


def previews(
    index: int,
    term: int,
    covered: Iterable[bytes],
    records: Iterable[tuple[bytes, bytes]],
    max_bytes: int = PIECE_BYTES,
) -> Iterator[Preview]:
    """What is covered and the records, in parts of about `max_bytes`. The last one says that it is the last."""
    keys: list[bytes] = []
    held: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in chain(((key, None) for key in covered), records):
        more = len(key) + len(value or b"")
        if size and (size + more > max_bytes or len(keys) + len(held) == MAX_RECORDS_PER_CHUNK):
            yield Preview(index, term, tuple(keys), tuple(held), more=True)
            keys, held, size = [], [], 0
        if value is None:
            keys.append(key)
        else:
            held.append((key, value))
        size += more
    yield Preview(index, term, tuple(keys), tuple(held))
