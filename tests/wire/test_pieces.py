"""What is larger than a frame goes in pieces, and comes together again, up to a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import RemoteProtocolError
from replica.wire import FROM_SITE, TO_CLIENT, ZONE_TO_SITE, FrameReader, Joiner, decode, encode, frame
from replica.wire.client import answers
from replica.wire.feed import EffectsMessage, StateChunk, Submit, effects_messages, parcels, state_chunks
from replica.wire.limits import (
    MAX_EFFECTS_BYTES,
    MAX_FRAME_BYTES,
    MAX_OPERATION_BYTES,
    MAX_RECORDS_PER_CHUNK,
    MIB,
    PIECE_BYTES,
)
from replica.wire.pieces import cut


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(1, 9))
def test_pieces_join_to_the_same_wholes_one_after_another(wholes: list[bytes], piece_bytes: int) -> None:
    """Also the empty whole, and one that ends exactly where a piece ends."""
    joiner = Joiner(40, "a whole")
    joined = [joiner.add(piece, more) for whole in wholes for piece, more in cut(whole, piece_bytes)]
    assert wholes == [whole for whole in joined if whole is not None]


def test_a_whole_larger_than_the_limit_is_refused_at_the_piece_that_exceeds_it() -> None:
    joiner = Joiner(10, "an answer")
    assert joiner.add(b"12345678", True) is None
    with pytest.raises(RemoteProtocolError, match="an answer: more than 10 bytes in pieces"):
        joiner.add(b"901", True)


def test_a_single_piece_above_the_limit_is_refused_too() -> None:
    with pytest.raises(RemoteProtocolError, match="more than 2 bytes"):
        Joiner(2, "effects").add(b"abc", False)


def test_empty_pieces_cannot_go_on_for_ever() -> None:
    """Only the last piece may be empty: each other one brings the limit nearer."""
    with pytest.raises(RemoteProtocolError, match="an empty piece that is not the last"):
        Joiner(10, "effects").add(b"", True)


def test_effects_larger_than_a_frame_reach_a_site_whole() -> None:
    """An entry that changed very much is no reason why a site could never follow again."""
    effects = bytes(range(256)) * (MAX_FRAME_BYTES // 200)
    stream = b"".join(frame(encode(message)) for message in effects_messages(effects))
    joiner = Joiner(MAX_EFFECTS_BYTES, "effects")
    joined = []
    for payload in FrameReader(MAX_FRAME_BYTES).feed(stream):
        message = decode(payload, ZONE_TO_SITE)
        assert isinstance(message, EffectsMessage)
        joined.append(joiner.add(message.effects, message.more))
    assert joined[-1] == effects
    assert joined[:-1] == [None] * ((len(effects) - 1) // PIECE_BYTES)


def test_small_effects_are_one_message() -> None:
    assert list(effects_messages(b"small")) == [EffectsMessage(b"small")]


def test_a_large_answer_keeps_its_request_number_in_every_piece() -> None:
    messages = [decode(encode(answer), TO_CLIENT) for answer in answers(7, b"1" * (2 * MIB + 1))]
    assert [(m.request, getattr(m, "more", None)) for m in messages] == [(7, True), (7, True), (7, False)]


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=30)), max_size=12), st.integers(1, 60))
def test_state_travels_in_chunks_that_keep_every_record_and_their_order(
    records: list[tuple[bytes, bytes]], max_bytes: int
) -> None:
    chunks = list(state_chunks(iter(records), max_bytes))
    assert records == [record for chunk in chunks for record in chunk.records]
    for chunk in chunks:
        size = sum(len(key) + len(value) for key, value in chunk.records)
        assert len(chunk.records) > 0
        assert size <= max_bytes or len(chunk.records) == 1
        assert chunk == decode(encode(chunk), ZONE_TO_SITE)


def test_a_chunk_of_tiny_records_ends_at_the_limit_of_records() -> None:
    """What we send is what the other side accepts."""
    chunks = list(state_chunks((b"", b"") for _ in range(MAX_RECORDS_PER_CHUNK + 1)))
    assert [len(chunk.records) for chunk in chunks] == [MAX_RECORDS_PER_CHUNK, 1]
    assert all(isinstance(decode(encode(chunk), ZONE_TO_SITE), StateChunk) for chunk in chunks)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=12), st.integers(1, 60))
def test_operations_travel_in_parcels_that_keep_every_one_and_their_order(
    operations: list[bytes], max_bytes: int
) -> None:
    made = list(parcels(operations, max_bytes))
    assert operations == [operation for parcel in made for operation in parcel]
    assert all(parcel and (sum(map(len, parcel)) <= max_bytes or len(parcel) == 1) for parcel in made)


def test_a_journal_of_any_shape_is_submitted_in_frames_that_are_accepted() -> None:
    """A hundred thousand small operations, and the largest there are."""
    journal = [b"x"] * 100_000 + [bytes(MAX_OPERATION_BYTES)] * 20
    stream = b"".join(frame(encode(Submit(parcel))) for parcel in parcels(journal))
    read = [decode(payload, FROM_SITE) for payload in FrameReader(MAX_FRAME_BYTES).feed(stream)]
    assert journal == [operation for message in read if isinstance(message, Submit) for operation in message.operations]


def test_an_empty_operation_is_not_submitted() -> None:
    with pytest.raises(RemoteProtocolError, match=r"\$\[1\]\[0\]"):
        decode(encode(Submit((b"",))), FROM_SITE)
