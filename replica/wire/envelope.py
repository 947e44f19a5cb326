"""One way in and out for every message after the handshake: a tagged array, `[tag, field, field, …]`.

What may be said depends on who says it: `decode` takes the message types allowed on this connection, so a site that
sends a raft message is refused as one that speaks out of its role, before anything of the message is built.

Evolution, both ways: a new trailing field with a default is ignored by an older reader and filled in by a newer one.
A new message is only sent where the peer's feature level says that it is understood; here an unknown tag ends the
connection.
"""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias, TypeVar, Union

import msgspec
from msgspec import Struct

from replica.errors import InvalidMessage, Place, RemoteProtocolError
from replica.wire import client, feed, snapshot
from replica.wire.decoding import brief, decode_with
from replica.wire.limits import MAX_CLIENT_FRAME_BYTES, MAX_FRAME_BYTES
from replica.wire.raft_codec import RaftMessages

StateRecords: TypeAlias = feed.StateBegin | feed.StateChunk | feed.StateEnd
ZoneMessage: TypeAlias = (
    RaftMessages
    | feed.Forward
    | feed.ForwardHint
    | feed.LeaderClock
    | feed.LearnerDigest
    | feed.SitesHeard
    | snapshot.FromSender
    | snapshot.FromReceiver
    | StateRecords
)
"""What a zone may send another zone."""
SiteMessage: TypeAlias = feed.SiteMessage | snapshot.FromReceiver
"""What a site may send a zone."""
ZoneToSiteMessage: TypeAlias = feed.ZoneToSiteMessage | snapshot.FromSender
"""What a zone may send a site."""
Message: TypeAlias = ZoneMessage | SiteMessage | ZoneToSiteMessage | client.ClientRequest | client.ClientResponse
"""Every message after the handshake."""

FROM_ZONE: Final[tuple[type[ZoneMessage], ...]] = (
    RaftMessages,
    feed.Forward,
    feed.ForwardHint,
    feed.LeaderClock,
    feed.LearnerDigest,
    feed.SitesHeard,
    snapshot.StateNeeded,
    snapshot.SnapshotOffer,
    snapshot.SnapshotChunk,
    feed.StateBegin,
    feed.StateChunk,
    feed.StateEnd,
    snapshot.StateAsk,
    snapshot.SnapshotWant,
    snapshot.SnapshotDone,
    snapshot.StillHere,
)
FROM_SITE: Final[tuple[type[SiteMessage], ...]] = (
    feed.Follow,
    feed.Submit,
    feed.ConfirmRead,
    feed.Here,
    *snapshot.FROM_RECEIVER,
)
FROM_CLIENT: Final[tuple[type[client.ClientRequest], ...]] = (
    client.SubmitCommand,
    client.SubmitMessage,
    client.OutcomeOf,
    client.VerdictOf,
    client.ShowCase,
    client.ShowResource,
    client.ListCases,
    client.ListResources,
    client.Conflicts,
    client.Charges,
    client.Verdicts,
    client.Drill,
    client.Status,
    client.Digest,
    client.Members,
    client.ChangeMembers,
    client.HandOver,
    client.Meet,
)
FROM_PROBE: Final[tuple[type[client.ProbeRequest], ...]] = (client.Status, client.Digest)
ZONE_TO_SITE: Final[tuple[type[ZoneToSiteMessage], ...]] = (
    feed.FeedBeat,
    feed.NoQuorum,
    feed.EffectsMessage,
    feed.StateBegin,
    feed.StateChunk,
    feed.StateEnd,
    feed.Behind,
    feed.Hint,
    feed.Zones,
    feed.ReadConfirmed,
    feed.PreviewNeeded,
    feed.Preview,
    *snapshot.FROM_SENDER,
)
TO_CLIENT: Final[tuple[type[client.ClientResponse], ...]] = (client.Receipts, client.Answer, client.Failure)

ALL_MESSAGES: Final[tuple[type[Message], ...]] = tuple(
    dict.fromkeys((*FROM_ZONE, *FROM_SITE, *ZONE_TO_SITE, *FROM_CLIENT, *TO_CLIENT))
)

FRAME_LIMITS: Final[dict[str, int]] = {
    "zone": MAX_FRAME_BYTES,
    "site": MAX_FRAME_BYTES,
    "client": MAX_CLIENT_FRAME_BYTES,
    "probe": MAX_CLIENT_FRAME_BYTES,
}
"""The frame limit of what a peer of this role may send, after the handshake."""

M = TypeVar("M", bound=Message)
_ENCODER: Final = msgspec.msgpack.Encoder()


class _Head(Struct, array_like=True):
    tag: str


_HEAD: Final = msgspec.msgpack.Decoder(_Head)
_TAGS: Final = {str(kind.__struct_config__.tag): kind for kind in ALL_MESSAGES}


def encode(message: Message) -> bytes:
    """The payload of one frame. What this library builds is within the limits; `frame` checks the size once more."""
    return _ENCODER.encode(message)


def encode_request(request: client.ClientRequest) -> bytes:
    """The same for what a person or a program outside made up: checked here as the other side will check it.

    Raises InvalidMessage, naming the place, where the other side would close the connection. Nothing was sent.
    """
    tag = str(request.__struct_config__.tag)
    try:
        payload = _ENCODER.encode(request)
        decode(payload, FROM_CLIENT)
    except (UnicodeEncodeError, OverflowError, RemoteProtocolError) as error:
        raise InvalidMessage((Place(f"$.{tag}", brief(str(error))),)) from None
    if len(payload) > MAX_CLIENT_FRAME_BYTES:
        problem = f"{len(payload)} bytes encoded; at most {MAX_CLIENT_FRAME_BYTES} are accepted"
        raise InvalidMessage((Place(f"$.{tag}", problem),))
    return payload


def decode(payload: bytes, allowed: tuple[type[M], ...]) -> M:
    """One message of the allowed types (FROM_SITE, TO_CLIENT, …), fully validated.

    Raises RemoteProtocolError that says what is wrong and where: close the connection.
    """
    decoder: msgspec.msgpack.Decoder[M] = _decoder(allowed)
    try:
        return decode_with(decoder, payload, "message")
    except RemoteProtocolError:
        problem = _wrong_tag(payload, allowed)
        if problem is None:
            raise
    raise RemoteProtocolError(problem)


@cache
def _decoder(allowed: tuple[type[M], ...]) -> msgspec.msgpack.Decoder[M]:
    decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(Union[allowed])  # noqa: UP007 - built at run time
    return decoder


def _wrong_tag(payload: bytes, allowed: tuple[type[M], ...]) -> str | None:
    """What to say where the tag itself is the problem. Only looked at once decoding has failed."""
    try:
        tag = decode_with(_HEAD, payload, "message").tag
    except RemoteProtocolError:
        return None
    if tag not in _TAGS:
        return f"message '{brief(tag)}' is not known"
    if _TAGS[tag] not in allowed:
        spoken = ", ".join(sorted(str(kind.__struct_config__.tag) for kind in allowed))
        return f"message '{tag}' is not spoken on this connection; expected one of: {spoken}"
    return None
