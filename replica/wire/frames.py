"""Where one message ends and the next begins: a 4-byte big-endian length, then the payload.

The length is judged before a byte of the payload is kept, so a stranger cannot make us reserve what he never sends. A
reader never holds more than one frame of its limit and what one read brought.

Left out: what a payload means (envelope.py, handshake.py), and how long a half-sent frame may take (the runtime).
"""

from __future__ import annotations

from replica.errors import RemoteProtocolError
from replica.wire.limits import LENGTH_BYTES, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES


def frame(payload: bytes) -> bytes:
    """The payload with its length before it. Encode once, frame once, send to a hundred sites.

    Raises ValueError for an empty or too large payload: ours to prevent, by pieces.py and the codecs' limits.
    """
    if not 0 < len(payload) <= MAX_FRAME_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes; a frame holds 1 to {MAX_FRAME_BYTES}")
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Bytes in as they come off the line, payloads out. One per connection and direction.

    It begins with the small limit of the handshake. Read the first frame with `take`, which leaves what follows
    unjudged, then raise `limit` to what the peer's role may send, and go on with `feed` (the first time with b"", for
    what the same read may have brought along).
    """

    __slots__ = ("_buffer", "_problem", "limit")

    def __init__(self, max_frame_bytes: int = MAX_HANDSHAKE_BYTES) -> None:
        self.limit = max_frame_bytes
        """The largest payload accepted, in bytes. May be set at any time; holds from the next frame on."""
        self._buffer = bytearray()
        self._problem = ""

    @property
    def held(self) -> int:
        """Bytes of an unfinished (or not yet taken) frame. At the end of a stream: 0, or it was torn."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Every payload that is complete now, in order.

        Raises RemoteProtocolError where a length is zero or above the limit. Payloads complete before it in the same
        read are lost with the connection. After that the reader refuses everything: close the connection.
        """
        payloads = []
        payload = self.take(data)
        while payload is not None:
            payloads.append(payload)
            payload = self.take()
        return payloads

    def take(self, data: bytes = b"") -> bytes | None:
        """The next payload, or None where it is not complete yet. What follows it is kept, not yet looked at.

        Raises RemoteProtocolError as `feed` does.
        """
        if self._problem:
            raise RemoteProtocolError(self._problem)
        self._buffer += data
        if len(self._buffer) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if not 0 < length <= self.limit:
            self._refuse(length)
        end = LENGTH_BYTES + length
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            payload = bytes(view[LENGTH_BYTES:end])
        del self._buffer[:end]
        return payload

    def _refuse(self, length: int) -> None:
        self._buffer.clear()
        self._problem = (
            f"frame of {length} bytes announced; at most {self.limit} are accepted here" if length else "empty frame"
        )
        raise RemoteProtocolError(self._problem)
