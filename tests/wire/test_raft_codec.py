"""The log's messages as bytes: what the core says arrives as said, and nothing arrives that no core could say."""

from __future__ import annotations

import dataclasses
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import RemoteProtocolError
from replica.raft import messages as raft
from replica.raft.memberships import encode_membership
from replica.raft.messages import Append, Heartbeat
from replica.raft.types import Entry, EntryKind, Membership
from replica.wire import FROM_ZONE, FrameReader, RaftMessages, decode, encode, frame, raft_codec, share_frames
from replica.wire.limits import MAX_BATCH_BYTES, MAX_FRAME_BYTES, MIB
from tests.wire.strategies import RAFT_MESSAGES

MESSAGE_TYPES = typing.get_args(raft.Message)


def across(messages: list[raft.Message]) -> list[raft.Message]:
    decoded = decode(encode(RaftMessages.of(messages)), FROM_ZONE)
    assert isinstance(decoded, RaftMessages)
    return list(decoded.messages())


@given(st.lists(RAFT_MESSAGES, max_size=5))
def test_messages_that_share_a_frame_arrive_as_sent_and_in_order(messages: list[raft.Message]) -> None:
    assert messages == across(messages)


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_every_message_of_the_core_has_its_wire_form_with_the_same_fields_and_defaults(
    kind: type[raft.Message],
) -> None:
    """A field added to the core and forgotten here would be lost without a word."""
    wire = getattr(raft_codec, f"_{kind.__name__}")
    said = {field.name: field.default for field in dataclasses.fields(kind)}
    sent = {
        field.name: dataclasses.MISSING if field.required else field.default for field in msgspec.structs.fields(wire)
    }
    if kind is Append:
        columns = {name: sent.pop(name) for name in ("terms", "kinds", "data")}
        sent["entries"] = columns["data"]
    assert said == sent


def append(*entries: Entry, term: int = 5, prev_term: int = 1) -> Append:
    return Append(1, 2, term, 9, prev_term, entries, 8)


def entry(index: int = 10, term: int = 5, data: bytes = b"x") -> Entry:
    return Entry(index, term, EntryKind.DATA, data)


def test_the_kind_of_an_entry_survives_as_the_kind_and_not_as_its_number() -> None:
    three = encode_membership(Membership(frozenset({1, 2, 3})))
    (message,) = across([append(*[Entry(10 + kind, 5, kind, three) for kind in EntryKind])])
    assert isinstance(message, Append)
    assert [type(e.kind) for e in message.entries] == [EntryKind] * len(EntryKind)


@pytest.mark.parametrize("indexes", [(11,), (9,), (10, 12), (12, 11)], ids=str)
def test_entries_that_do_not_follow_prev_index_cannot_be_sent(indexes: tuple[int, ...]) -> None:
    """Their indexes do not travel, so a hole would silently close: our own mistake, and loud."""
    with pytest.raises(AssertionError, match="do not follow prev_index 9"):
        RaftMessages.of([append(*[entry(index) for index in indexes])])


def payload(*, terms: object = (5,), kinds: object = b"\x01", data: object = (b"x",), term: object = 5) -> bytes:
    """An Append frame written field by field, as a peer could that has no core."""
    return msgspec.msgpack.encode(["raft", [["append", 1, 2, term, 9, 1, 8, terms, kinds, data]]])


THREE = encode_membership(Membership(frozenset({1, 2, 3}), priority=((3, 1),)))


def test_the_membership_written_by_hand_is_accepted() -> None:
    """The cases below break one thing each."""
    (message,) = RaftMessages.messages(decode(payload(kinds=b"\x02", data=(THREE,)), (RaftMessages,)))
    assert isinstance(message, Append)
    assert message.entries[0].data == THREE


def test_a_membership_of_garbage_cannot_be_sent() -> None:
    """Our own mistake: it must not reach a peer's log."""
    with pytest.raises(ValueError, match="Expecting value"):
        RaftMessages.of([append(Entry(10, 5, EntryKind.MEMBERSHIP, b""))])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (payload(terms=(5, 5)), "2 terms, 1 kinds, 1 data of entries"),
        (payload(kinds=b""), "1 terms, 0 kinds, 1 data of entries"),
        (payload(data=()), "1 terms, 1 kinds, 0 data of entries"),
        (payload(kinds=b"\x03"), "entry kind 3 is not known"),
        (payload(kinds=b"\x02"), "Expecting value"),
        (payload(kinds=b"\x02", data=(b"[]",)), "a membership entry with other fields than it has"),
        (payload(kinds=b"\x02", data=(b'{"voters":[1]}',)), "a membership entry with other fields than it has"),
        (payload(kinds=b"\x02", data=(b"\xff",)), "codec can't decode"),
        (payload(kinds=b"\x02", data=(b"[" * 100_000,)), "a membership entry with a field of another kind"),
        (payload(kinds=b"\x02", data=(THREE.replace(b"3]", b"0]"),)), "0 is no node of the log"),
        (payload(kinds=b"\x02", data=(THREE.replace(b"3]", b"true]"),)), "True is no node of the log"),
        (payload(kinds=b"\x02", data=(THREE.replace(b"[]", b"7"),)), "a membership entry with a field of another kind"),
        (payload(kinds=b"\x02", data=(THREE.replace(b"[[3,1]]", b"[[3]]"),)), "not enough values to unpack"),
        (payload(kinds=b"\x02", data=(THREE.replace(b"3,1", b"3,Infinity"),)), "inf is no priority"),
        (payload(terms=(5, 4), kinds=b"\1\1", data=(b"", b"")), "terms fall along the entries"),
        (payload(terms=(6,)), "terms fall along the entries"),
        (payload(terms=(0,)), "terms fall along the entries"),
        (payload(terms=(-1,)), "Expected `int` >= 0 - at `$[1][0][7][0]`"),
        (payload(data=("x",)), "Expected `bytes`, got `str`"),
        (payload(data=(bytes(MAX_BATCH_BYTES + 1),)), f"length <= {MAX_BATCH_BYTES}"),
        (payload(term=1 << 63), "<= 9223372036854775807"),
        (msgspec.msgpack.encode(["raft", [["abdicate", 1, 2, 3]]]), "Invalid value 'abdicate' - at `$[1][0][0]`"),
        (msgspec.msgpack.encode(["raft", [["readmit", 0, 2, 3]]]), "Expected `int` >= 1"),
        (msgspec.msgpack.encode(["raft", [["vote-reply", 1, 2, 3, 1]]]), "Expected `bool`, got `int`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_core_says_is_refused_with_its_place(wrong: bytes, says: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(wrong, FROM_ZONE)
    assert says in str(caught.value)


def test_the_frame_written_by_hand_is_the_one_we_write() -> None:
    """The cases above break one thing each: without it, they are accepted."""
    assert payload() == encode(RaftMessages.of([append(entry())]))


@given(st.lists(RAFT_MESSAGES, max_size=8), st.integers(1, 600))
def test_frames_share_all_messages_in_order(messages: list[raft.Message], max_bytes: int) -> None:
    frames = share_frames(messages, max_bytes)
    assert messages == [message for shared in frames for message in shared.messages()]
    for shared in frames:
        assert shared.wire
        assert len(encode(shared)) <= max_bytes + 8 or len(shared.wire) == 1


def test_a_vote_does_not_wait_behind_megabytes_in_its_frame() -> None:
    """Large appends go alone, small messages share; the largest append the core builds fits a frame."""
    largest = append(*[entry(10 + place, data=bytes(MIB - 200)) for place in range(4)], entry(14, data=bytes(4 * MIB)))
    beat = Heartbeat(1, 2, 5, 9)
    frames = share_frames([beat, beat, largest, beat, beat])
    assert [len(shared.wire) for shared in frames] == [2, 1, 2]
    stream = b"".join(frame(encode(shared)) for shared in frames)
    assert len(FrameReader(MAX_FRAME_BYTES).feed(stream)) == 3
