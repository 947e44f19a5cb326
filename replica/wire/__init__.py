"""Bytes to values and back, without a socket: frames, the handshake, and every message after it.

A connection's life: `FrameReader` cuts the stream into payloads; the first payload goes to `Acceptor` or `Dialler`;
from then on `decode(payload, FROM_SITE)` (or whatever the peer's role may say) gives typed, validated messages, and
`frame(encode(message))` is what leaves. Whatever a peer sends, the only errors are RemoteProtocolError and its
HandshakeRefused.

The messages themselves are in `feed` (sites and zones), `client` (everybody else) and `raft_codec` (zones); the sizes
in `limits`, each with its reason. Encoding is msgpack: small, typed, and readable by any other decoder of it.
"""

from __future__ import annotations

from replica.wire.envelope import (
    ALL_MESSAGES,
    FRAME_LIMITS,
    FROM_CLIENT,
    FROM_PROBE,
    FROM_SITE,
    FROM_ZONE,
    TO_CLIENT,
    ZONE_TO_SITE,
    Message,
    ZoneMessage,
    decode,
    encode,
    encode_request,
)
from replica.wire.frames import FrameReader, frame
from replica.wire.handshake import Acceptor, Dialler, Identity, Peer
from replica.wire.operation_codec import (
    batch,
    decode_batch,
    decode_effects,
    decode_operation,
    decode_verdict,
    encode_effects,
    encode_operation,
    encode_verdict,
    fits,
    split_batch,
)
from replica.wire.pieces import Joiner
from replica.wire.raft_codec import RaftMessages, share_frames

__all__ = [
    "ALL_MESSAGES",
    "FRAME_LIMITS",
    "FROM_CLIENT",
    "FROM_PROBE",
    "FROM_SITE",
    "FROM_ZONE",
    "TO_CLIENT",
    "ZONE_TO_SITE",
    "Acceptor",
    "Dialler",
    "FrameReader",
    "Identity",
    "Joiner",
    "Message",
    "Peer",
    "RaftMessages",
    "ZoneMessage",
    "batch",
    "decode",
    "decode_batch",
    "decode_effects",
    "decode_operation",
    "decode_verdict",
    "encode",
    "encode_effects",
    "encode_operation",
    "encode_request",
    "encode_verdict",
    "fits",
    "frame",
    "share_frames",
    "split_batch",
]
