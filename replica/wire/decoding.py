"""The one door from bytes to values: whatever is wrong with the bytes, the caller gets a RemoteProtocolError in words.

Decoding is validation: the decoders are typed, so nothing of another shape, range or size is ever built. The cause is
not chained, since it would hold the peer's bytes for as long as somebody keeps the error.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from replica.errors import RemoteProtocolError

T = TypeVar("T")

_SHOWN = 200
"""Characters of an error text that may come from the peer: enough to know, too few to flood a log."""


def brief(text: str, most: int = _SHOWN) -> str:
    """The text, cut, and with everything that is not printable escaped, fit for one line of a log."""
    shown = text if len(text) <= most else text[:most] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in shown)


def decode_with(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    """One value from exactly these bytes. `what` names it in the error.

    Raises RemoteProtocolError: malformed, of another type, out of range, too deep, not UTF-8, or with bytes left over.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = brief(str(error))
    raise RemoteProtocolError(f"{what} of {len(data)} bytes: {problem}")
