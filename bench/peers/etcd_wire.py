"""What is said to etcd: the bodies of its gRPC and JSON requests, and what its answers mean. Nothing is sent here.

The protobuf messages needed have two or three fields each, so they are written out by hand: field number and type, a
length, the bytes. A gRPC body is one such message behind a zero byte (not compressed) and its length in four bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final

import msgspec

PUT_GRPC: Final = "/etcdserverpb.KV/Put"
RANGE_GRPC: Final = "/etcdserverpb.KV/Range"
PUT_JSON: Final = "/v3/kv/put"
RANGE_JSON: Final = "/v3/kv/range"
TXN_JSON: Final = "/v3/kv/txn"
STATUS_JSON: Final = "/v3/maintenance/status"
MOVE_JSON: Final = "/v3/maintenance/transfer-leadership"
LENGTH_DELIMITED: Final = 2
VARINT: Final = 0
SERIALIZABLE_FIELD: Final = 7
"""Of a RangeRequest: answered by the member asked from what it has, without the quorum."""


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the high bit."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    return varint(number << 3 | LENGTH_DELIMITED) + varint(len(value)) + value


def framed(message: bytes) -> bytes:
    """A message as the body of a gRPC request."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def put_grpc(key: bytes, value: bytes) -> bytes:
    """The body of a Put."""
    return framed(field(1, key) + field(2, value))


def range_grpc(key: bytes, *, linearizable: bool) -> bytes:
    """The body of a Range for one key."""
    return framed(field(1, key) + (b"" if linearizable else field(SERIALIZABLE_FIELD, 1)))


def put_json(key: bytes, value: bytes) -> bytes:
    """The same for the JSON gateway."""
    return msgspec.json.encode({"key": b64encode(key).decode(), "value": b64encode(value).decode()})


def range_json(key: bytes, *, linearizable: bool) -> bytes:
    """The same for the JSON gateway."""
    return msgspec.json.encode({"key": b64encode(key).decode(), "serializable": not linearizable})


def txn_json(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Keys and values that are put together, 128 at most."""
    puts = [
        {"requestPut": {"key": b64encode(key).decode(), "value": b64encode(value).decode()}} for key, value in items
    ]
    return msgspec.json.encode({"success": puts})


class Status(msgspec.Struct, frozen=True):
    """What a member says of itself. `leader` 0: it knows none now."""

    member: int
    leader: int
    term: int
    revision: int


def status(body: bytes) -> Status:
    """The answer to STATUS_JSON. Numbers of 64 bits are strings there, and what is zero is left out."""
    said: dict[str, Any] = msgspec.json.decode(body)
    header = said.get("header", {})
    return Status(
        int(header.get("member_id", 0)),
        int(said.get("leader", 0)),
        int(said.get("raftTerm", 0)),
        int(header.get("revision", 0)),
    )
