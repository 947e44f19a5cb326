"""What happened in a simulated world of nodes, line by line: virtual time in µs, who, what.

The last lines are kept for whoever reads a failure. With `hashed` every line goes through a hash, bytes on the wire
with theirs: two runs of one seed must agree on it. Lines are made into text only where somebody wants them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from chaos.nodes.loop import Loop

KEPT_LINES = 80


class Trace:
    """Collects lines. `follow` is handed each one as text."""

    def __init__(self, loop: Loop, follow: Callable[[str], None] | None = None, *, hashed: bool = False) -> None:
        self._loop = loop
        self._follow = follow
        self._loud = hashed or follow is not None
        self._recent: deque[tuple[int, str, str, tuple[Any, ...]]] = deque(maxlen=KEPT_LINES)
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, who: str, what: str, *details: Any) -> None:
        line = (self._loop.now_us, who, what, details)
        self._recent.append(line)
        if self._loud:
            self._say(_text(line))

    def piece(self, end: object, piece: bytes | str) -> None:
        """A piece of a stream arrived. Not kept: there are too many of them to read."""
        if self._loud:
            what = piece if isinstance(piece, str) else f"{len(piece)} bytes {zlib.crc32(piece):08x}"
            self._say(f"{self._loop.now_us:>12} {end}  {what}")

    def digest(self) -> str:
        return self._hash.hexdigest()

    def recent(self) -> list[str]:
        return [_text(line) for line in self._recent]

    def _say(self, text: str) -> None:
        self._hash.update(text.encode() + b"\n")
        if self._follow is not None:
            self._follow(text)


def _text(line: tuple[int, str, str, tuple[Any, ...]]) -> str:
    at_us, who, what, details = line
    return f"{at_us:>12} {who}  {what} {' '.join(str(one) for one in details)}".rstrip()
