"""The stream cut into payloads: whatever the chunks, within the limit, and never more memory than that."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import RemoteProtocolError
from replica.wire import FrameReader, frame
from replica.wire.limits import LENGTH_BYTES, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES

LIMIT = 64
PAYLOADS = st.lists(st.binary(min_size=1, max_size=LIMIT), max_size=6)


def in_chunks(reader: FrameReader, stream: bytes, sizes: list[int]) -> list[bytes]:
    """Feed the stream in chunks of these sizes, and what is left at once."""
    payloads, place = [], 0
    for size in [*sizes, len(stream)]:
        payloads += reader.feed(stream[place : place + size])
        place += size
    return payloads


@given(PAYLOADS, st.lists(st.integers(0, 40)))
def test_payloads_do_not_depend_on_how_the_stream_was_chunked(payloads: list[bytes], sizes: list[int]) -> None:
    """Byte by byte, at once, or in any chunks: the same payloads in the same order, and nothing left."""
    stream = b"".join(frame(payload) for payload in payloads)
    for chunks in ([], [1] * len(stream), sizes):
        reader = FrameReader(LIMIT)
        assert payloads == in_chunks(reader, stream, chunks)
        assert reader.held == 0


@given(st.binary(max_size=400), st.lists(st.integers(0, 40)))
def test_random_bytes_give_payloads_or_a_protocol_error_alike_in_any_chunks(data: bytes, sizes: list[int]) -> None:
    """What comes before the first wrong length, and whether there is one, does not depend on the chunks either."""

    def read(chunks: list[int]) -> tuple[list[bytes], str]:
        reader, payloads, place = FrameReader(LIMIT), [], 0
        try:
            for size in [*chunks, len(data)]:
                payload = reader.take(data[place : place + size])
                place += size
                while payload is not None:
                    payloads.append(payload)
                    payload = reader.take()
        except RemoteProtocolError as error:
            return payloads, str(error)
        return payloads, ""

    assert read([]) == read([1] * len(data)) == read(sizes)


@given(st.binary(max_size=2000), st.lists(st.integers(1, 50)))
def test_a_reader_never_holds_more_than_its_limit_and_one_read(data: bytes, sizes: list[int]) -> None:
    """The memory of a connection is bounded by its limit, whatever comes."""
    reader, place = FrameReader(LIMIT), 0
    for size in [*sizes, 50]:
        try:
            reader.feed(data[place : place + size])
        except RemoteProtocolError:
            assert reader.held == 0
            return
        place += size
        assert reader.held < LENGTH_BYTES + LIMIT


@pytest.mark.parametrize("length", [LIMIT + 1, 1 << 20, (1 << 32) - 1])
def test_a_length_above_the_limit_is_refused_before_any_of_it_comes(length: int) -> None:
    """Four bytes are enough to refuse, and the text says both numbers."""
    reader = FrameReader(LIMIT)
    with pytest.raises(RemoteProtocolError, match=f"{length} bytes announced; at most {LIMIT}"):
        reader.feed(length.to_bytes(4, "big"))


def test_a_huge_length_reserves_no_memory() -> None:
    """Announcing four gigabytes, or all that is allowed, costs us some bytes."""
    tracemalloc.start()
    try:
        for length in (MAX_FRAME_BYTES, (1 << 32) - 1):
            reader = FrameReader(MAX_FRAME_BYTES)
            try:
                assert reader.feed(length.to_bytes(4, "big") + b"x") == []
            except RemoteProtocolError:
                assert length > MAX_FRAME_BYTES
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000, f"{peak} bytes for two announcements"


def test_an_empty_frame_is_refused() -> None:
    """No message is empty, and a stream of zeros must not keep a reader busy for ever."""
    with pytest.raises(RemoteProtocolError, match="empty frame"):
        FrameReader().feed(bytes(1000))


def test_after_an_error_a_reader_refuses_everything() -> None:
    """Where a frame begins is not known any more: a valid frame after it proves nothing."""
    reader = FrameReader(LIMIT)
    with pytest.raises(RemoteProtocolError):
        reader.feed(bytes(4))
    with pytest.raises(RemoteProtocolError, match="empty frame"):
        reader.feed(frame(b"fine"))
    assert reader.held == 0


def test_before_the_handshake_the_limit_is_small() -> None:
    """A stranger gets 4 kB; exactly that much is still accepted."""
    assert FrameReader().feed(frame(bytes(MAX_HANDSHAKE_BYTES))) == [bytes(MAX_HANDSHAKE_BYTES)]
    with pytest.raises(RemoteProtocolError):
        FrameReader().feed(frame(bytes(MAX_HANDSHAKE_BYTES + 1))[:4])


def test_what_follows_the_first_frame_in_one_read_is_judged_by_the_limit_set_after_it() -> None:
    """A zone may send a large frame right behind its Welcome, and both may come in one read."""
    large = bytes(MAX_HANDSHAKE_BYTES * 10)
    reader = FrameReader()
    assert reader.take(frame(b"welcome") + frame(large) + frame(b"small")) == b"welcome"
    reader.limit = MAX_FRAME_BYTES
    assert reader.feed(b"") == [large, b"small"]


@pytest.mark.parametrize("payload", [b"", bytes(MAX_FRAME_BYTES + 1)], ids=["empty", "too large"])
def test_no_frame_is_made_that_every_reader_refuses(payload: bytes) -> None:
    """Our own mistake shows where it is made, not at the other end."""
    with pytest.raises(ValueError, match="a frame holds 1 to"):
        frame(payload)
