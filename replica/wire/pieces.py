"""What is larger than a frame, in pieces: each says whether more follow. The receiver joins them up to a limit.

Pieces of one whole are sent in order on one connection, never mixed with pieces of another whole of the same kind (an
answer's carry their request number, so each request has its own joiner).
"""

from __future__ import annotations

from collections.abc import Iterator

from replica.errors import RemoteProtocolError
from replica.wire.limits import PIECE_BYTES


def cut(whole: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[tuple[bytes, bool]]:
    """`(piece, more)` in order; one empty piece for an empty whole."""
    for start in range(0, max(len(whole), 1), piece_bytes):
        end = start + piece_bytes
        yield whole[start:end], end < len(whole)


class Joiner:
    """The receiving side. Holds at most `limit` bytes; `what` names the whole in an error."""

    __slots__ = ("_held", "_pieces", "limit", "what")

    def __init__(self, limit: int, what: str) -> None:
        self.limit = limit
        self.what = what
        self._pieces: list[bytes] = []
        self._held = 0

    def add(self, piece: bytes, more: bool) -> bytes | None:
        """The whole, with its last piece; None before that. Ready for the next whole afterwards.

        Raises RemoteProtocolError past the limit, and for an empty piece with more to come (that could go on for ever).
        """
        if more and not piece:
            raise RemoteProtocolError(f"{self.what}: an empty piece that is not the last")
        if self._held + len(piece) > self.limit:
            raise RemoteProtocolError(f"{self.what}: more than {self.limit} bytes in pieces")
        if not more and not self._pieces:
            return piece
        self._pieces.append(piece)
        self._held += len(piece)
        if more:
            return None
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        return whole
