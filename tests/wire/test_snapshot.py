"""What a state on its way may say, and how the rest is refused: before a byte of it is kept."""

from __future__ import annotations

import pytest

from replica.errors import RemoteProtocolError
from replica.wire import FROM_SITE, FROM_ZONE, ZONE_TO_SITE, decode, encode
from replica.wire.limits import HASH_BYTES, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_CHUNKS_WANTED, MAX_FRAME_BYTES
from replica.wire.snapshot import SnapshotChunk, SnapshotDone, SnapshotOffer, SnapshotWant, StateAsk, StateNeeded

OFFER = SnapshotOffer("9-1-ab", 9, 1, 0, b"", bytes(16), 10, 4, bytes(3 * HASH_BYTES))


def test_the_hashes_of_an_offer_come_apart_again() -> None:
    """They travel in one piece, since there may be hundreds of thousands."""
    assert OFFER.chunks() == (bytes(HASH_BYTES),) * 3


def test_the_offer_of_the_largest_snapshot_fits_one_frame() -> None:
    """220 GiB; what is larger needs larger chunks."""
    size = MAX_CHUNKS * MAX_CHUNK_BYTES
    offer = SnapshotOffer("a" * 80, 9, 1, 0, b"", bytes(64), size, MAX_CHUNK_BYTES, bytes(MAX_CHUNKS * HASH_BYTES))
    encoded = encode(offer)
    assert len(encoded) <= MAX_FRAME_BYTES
    assert decode(encoded, FROM_ZONE) == offer


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (SnapshotWant("9-1-ab", ()), r"\$\[2\]"),
        (SnapshotWant("9-1-ab", tuple(range(MAX_CHUNKS_WANTED + 1))), r"\$\[2\]"),
        (SnapshotWant("9-1-ab", (MAX_CHUNKS,)), r"\$\[2\]"),
        (SnapshotWant("", (0,)), r"\$\[1\]"),
        (SnapshotWant("a" * 81, (0,)), r"\$\[1\]"),
        (StateAsk(-1, 0), r"\$\[1\]"),
        (SnapshotDone(False, "x" * 5000), r"\$\[2\]"),
    ],
)
def test_what_no_receiver_says_is_refused_with_its_place(message: SnapshotWant, where: str) -> None:
    """A receiver cannot make the sender read more than a few chunks for one message."""
    with pytest.raises(RemoteProtocolError, match=where):
        decode(encode(message), FROM_SITE)


@pytest.mark.parametrize(
    "message",
    [
        SnapshotChunk("9-1-ab", 0, bytes(MAX_CHUNK_BYTES + 1)),
        SnapshotChunk("9-1-ab", 0, b""),
        SnapshotOffer("9-1-ab", 0, 1, 0, b"", b"", 10, 4, bytes(HASH_BYTES)),
        SnapshotOffer("9-1-ab", 9, 1, 0, b"", b"", 0, 4, bytes(HASH_BYTES)),
        SnapshotOffer("9-1-ab", 9, 1, 0, b"", b"", 10, MAX_CHUNK_BYTES + 1, bytes(HASH_BYTES)),
        SnapshotOffer("9-1-ab", 9, 1, 0, b"", b"", 10, 4, b""),
    ],
)
def test_what_no_sender_says_is_refused(message: SnapshotChunk) -> None:
    """A chunk is at most 256 KiB, and a snapshot is of some entry."""
    with pytest.raises(RemoteProtocolError):
        decode(encode(message), ZONE_TO_SITE)


def test_a_site_sends_no_state_and_a_zone_asks_a_site_for_none() -> None:
    """Each side keeps to its half of the conversation."""
    with pytest.raises(RemoteProtocolError, match="'state-needed' is not spoken"):
        decode(encode(StateNeeded(5)), FROM_SITE)
    with pytest.raises(RemoteProtocolError, match="'state-ask' is not spoken"):
        decode(encode(StateAsk(5, 1)), ZONE_TO_SITE)
