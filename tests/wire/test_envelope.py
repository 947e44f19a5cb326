"""Every message after the handshake: there and back, as others read it, and only what the peer's role may say."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from replica.cases.commands import AddNote, CloseCase
from replica.cases.operations import OperationId
from replica.errors import InvalidMessage, RemoteProtocolError
from replica.raft.messages import Heartbeat
from replica.wire import (
    ALL_MESSAGES,
    FROM_CLIENT,
    FROM_PROBE,
    FROM_SITE,
    FROM_ZONE,
    TO_CLIENT,
    ZONE_TO_SITE,
    Message,
    RaftMessages,
    client,
    decode,
    encode,
    encode_request,
    feed,
)
from replica.wire.limits import (
    MAX_CLIENT_FRAME_BYTES,
    MAX_ENTRIES_PER_APPEND,
    MAX_HUB_MESSAGE_BYTES,
    MAX_NAME,
    MAX_OPERATIONS_PER_MESSAGE,
)
from tests.wire.strategies import MESSAGES, mutated, of_message, plain

EACH = pytest.mark.parametrize("kind", ALL_MESSAGES, ids=lambda kind: kind.__name__)


def tag_of(kind: type[Message]) -> str:
    return str(kind.__struct_config__.tag)


@EACH
@settings(max_examples=40)
@given(data=st.data())
def test_every_message_comes_back_as_it_was_sent(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(of_message(kind))
    assert message == decode(encode(message), ALL_MESSAGES)
    assert message == decode(encode(message), (kind,))


@EACH
@settings(max_examples=40)
@given(data=st.data())
def test_another_decoder_reads_the_same_plain_value(kind: type[Message], data: st.DataObject) -> None:
    """An independent msgpack library reads our bytes to the same value, and writes the same bytes for it."""
    message = data.draw(of_message(kind))
    payload = encode(message)
    assert plain(message) == msgpack.unpackb(payload)
    assert payload == msgpack.packb(plain(message))


def test_tags_are_unique() -> None:
    assert len(ALL_MESSAGES) == len({tag_of(kind) for kind in ALL_MESSAGES})


ROLES = {
    "zone": FROM_ZONE,
    "site": FROM_SITE,
    "client": FROM_CLIENT,
    "probe": FROM_PROBE,
    "zone to site": ZONE_TO_SITE,
    "to client": TO_CLIENT,
}


@pytest.mark.parametrize("allowed", ROLES.values(), ids=ROLES)
@given(message=MESSAGES)
def test_a_message_is_read_only_where_its_role_may_say_it(allowed: tuple[type[Message], ...], message: Message) -> None:
    """A site that sends a raft message is refused, by name, whatever the message holds."""
    if type(message) in allowed:
        assert message == decode(encode(message), allowed)
    else:
        with pytest.raises(RemoteProtocolError, match=f"'{tag_of(type(message))}' is not spoken on this connection"):
            decode(encode(message), allowed)


def test_an_unknown_tag_is_named() -> None:
    with pytest.raises(RemoteProtocolError, match="message 'teleport' is not known"):
        decode(msgpack.packb(["teleport", 1]), FROM_SITE)


def test_a_hostile_tag_neither_floods_nor_breaks_the_log() -> None:
    """A megabyte of a tag, with line breaks and a bell in it, is one short printable line."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode(msgpack.packb(["\n\x07é" + "x" * 1_000_000]), FROM_SITE)
    text = str(caught.value)
    assert text.isprintable()
    assert "\\n\\x07é" in text
    assert len(text) < 300


@EACH
@settings(max_examples=20)
@given(data=st.data())
def test_a_field_of_a_newer_release_is_ignored(kind: type[Message], data: st.DataObject) -> None:
    """New trailing fields, of whatever shape, do not disturb an older reader."""
    message = data.draw(of_message(kind))
    longer = [*msgpack.unpackb(encode(message)), {"new": [1, 2.5, None]}, b"more"]
    assert message == decode(msgpack.packb(longer), (kind,))


@EACH
@settings(max_examples=20)
@given(data=st.data())
def test_fields_an_older_release_does_not_know_get_their_defaults(kind: type[Message], data: st.DataObject) -> None:
    """Each trailing field with a default may be missing; each without one is asked for, with its place."""
    message = data.draw(of_message(kind))
    values = msgpack.unpackb(encode(message))
    needed = 1 + sum(field.required for field in msgspec.structs.fields(kind))
    shorter: Any = decode(msgpack.packb(values[:needed]), (kind,))
    for field in msgspec.structs.fields(kind):
        expected = getattr(message, field.name) if field.required else field.default
        assert expected == getattr(shorter, field.name)
    with pytest.raises(RemoteProtocolError, match="length"):
        decode(msgpack.packb(values[: needed - 1]), (kind,))


def test_both_ways_between_two_releases_of_one_message() -> None:
    """The same, seen from a newer release's own type: what it sends is read here, what we send is read there."""

    class NewerHint(feed.Hint, frozen=True, array_like=True, tag="hint"):
        retry_ms: int = 100

    ours = decode(encode(feed.Hint(OP, "gap")), (feed.Hint,))
    assert NewerHint(OP, "gap", 100) == msgspec.msgpack.decode(encode(ours), type=NewerHint)
    assert ours == decode(msgspec.msgpack.encode(NewerHint(OP, "gap", 7)), (feed.Hint,))


OP = OperationId("site-44", bytes(16), 3)


def refused(payload: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(payload, ALL_MESSAGES)
    return str(caught.value)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    """No message is that short of luck: whatever is not one is a RemoteProtocolError and nothing else."""
    refused(data)


@settings(max_examples=400)
@given(mutated(MESSAGES.map(encode)))
def test_damaged_messages_are_refused_or_are_messages(data: bytes) -> None:
    """What still decodes is whole: it encodes again, and its raft messages can be read."""
    try:
        message = decode(data, ALL_MESSAGES)
    except RemoteProtocolError:
        return
    assert message == decode(encode(message), ALL_MESSAGES)
    if isinstance(message, RaftMessages):
        assert message == RaftMessages.of(message.messages())


@settings(max_examples=40)
@given(MESSAGES.map(encode), st.data())
def test_a_message_torn_off_anywhere_is_refused(payload: bytes, data: st.DataObject) -> None:
    refused(payload[: data.draw(st.integers(0, len(payload) - 1))])


@given(MESSAGES.map(encode), st.binary(min_size=1, max_size=9))
def test_bytes_after_a_message_are_refused(payload: bytes, rest: bytes) -> None:
    """One frame, one message: nothing rides along unread."""
    refused(payload + rest)


@pytest.mark.parametrize("deep", [b"\x91", b"\x81\xa1a", b"\x81"], ids=["arrays", "maps", "keys"])
def test_deep_nesting_is_refused(deep: bytes) -> None:
    """Also in a trailing field that would only be skipped."""
    bare = deep * 200_000 + b"\x01"
    hidden = b"\x93\xa9no-quorum\x01" + deep * 200_000 + b"\x01"
    assert "recursion" in refused(hidden)
    refused(bare)


def test_bad_utf8_is_refused_with_its_place() -> None:
    payload = encode(feed.Behind("reason")).replace(b"reason", b"rea\xffon")
    assert "utf-8" in refused(payload)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["no-quorum", True], r"Expected `int`, got `bool` - at `$[1]`"),
        (["no-quorum", 1.0], r"Expected `int`, got `float` - at `$[1]`"),
        (["no-quorum", -1], r"Expected `int` >= 0 - at `$[1]`"),
        (["no-quorum", 1 << 63], r"Expected `int` <= 9223372036854775807 - at `$[1]`"),
        (["no-quorum", "1"], r"Expected `int`, got `str` - at `$[1]`"),
        (["beat", 1, 2, 3, 0], r"Expected `int` >= 1 - at `$[4]`"),
        (["follow", 1], "Expected `array` of at least length 3, got 2"),
        (["show-case", 1, "x" * (MAX_NAME + 1)], f"Expected `str` of length <= {MAX_NAME} - at `$[2]`"),
        (["submit-message", 1, bytes(MAX_HUB_MESSAGE_BYTES + 1)], f"length <= {MAX_HUB_MESSAGE_BYTES} - at `$[2]`"),
        (["submit-message", 1, b""], "length >= 1 - at `$[2]`"),
        ({"no-quorum": 1}, "Expected `array`, got `object`"),
        ("no-quorum", "Expected `array`, got `str`"),
        ([5, 1], "Expected `str`, got `int` - at `$[0]`"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_its_place(wrong: object, says: str) -> None:
    assert says in refused(msgpack.packb(wrong))


def peak_of(payload: bytes) -> int:
    tracemalloc.start()
    try:
        refused(payload)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "length", [b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff"]
)
def test_a_length_inside_a_message_reserves_nothing(length: bytes) -> None:
    """A list, bytes or text that claims gigabytes within a small frame costs nothing."""
    for head in (b"", b"\x92\xa6submit", b"\x92\xa4raft", b"\x92\xabstate-chunk", b"\x92\xa6behind"):
        assert peak_of(head + length) < 200_000


@pytest.mark.parametrize(
    ("head", "item", "most"),
    [
        (b"\x92\xa6submit", b"\xc4\x01x", MAX_OPERATIONS_PER_MESSAGE),
        (b"\x92\xabstate-chunk", b"\x92\xc4\x00\xc4\x00", MAX_OPERATIONS_PER_MESSAGE),
        (b"\x92\xa4raft\x91\x9a\xa6append\x01\x02\x01\x00\x00\x00", b"\x01", MAX_ENTRIES_PER_APPEND),
        (b"\x92\xa4raft", b"\x94\xa7readmit\x01\x02\x03", MAX_ENTRIES_PER_APPEND),
    ],
    ids=["operations", "records", "entries", "raft messages"],
)
def test_a_list_above_its_limit_is_refused_before_its_items_are_built(head: bytes, item: bytes, most: int) -> None:
    """A frame full of the smallest items would take many times its size in memory."""
    count = 500_000
    assert count > most
    assert peak_of(head + b"\xdd" + count.to_bytes(4, "big") + item * count) < 200_000


def test_a_request_is_checked_where_it_is_made() -> None:
    """What the other side would close the connection for is told to the person who typed it."""
    fine = client.SubmitCommand(1, CloseCase("fr.health.samu44.1"), author="dr. Le Goff")
    assert fine == decode(encode_request(fine), FROM_CLIENT)
    for wrong, says in (
        (client.ShowCase(1, "\udcff"), "surrogates"),
        (client.ShowCase(1, "x" * 201), "length <= 200"),
        (client.ShowCase(-1, "x"), ">= 0"),
        (client.SubmitCommand(1, CloseCase("c"), act_ms=1 << 70), "serialize ints"),
        (client.SubmitCommand(1, AddNote("c", "n", "x" * MAX_CLIENT_FRAME_BYTES)), f"at most {MAX_CLIENT_FRAME_BYTES}"),
    ):
        with pytest.raises(InvalidMessage, match=says) as caught:
            encode_request(wrong)
        assert str(wrong.__struct_config__.tag) in caught.value.places[0].path


def test_raft_messages_from_somebody_else_are_refused() -> None:
    """The handshake named the peer; what it forwards in another's name, or to another, is not looked at."""
    messages = RaftMessages.of([Heartbeat(2, 1, 5, 9), Heartbeat(3, 1, 5, 9)])
    RaftMessages.of([Heartbeat(2, 1, 5, 9)]).check_route(frm=2, to=1)
    with pytest.raises(RemoteProtocolError, match="from 3 to 1 on the connection from 2 to 1"):
        messages.check_route(frm=2, to=1)
    with pytest.raises(RemoteProtocolError, match="from 2 to 1 on the connection from 2 to 3"):
        messages.check_route(frm=2, to=3)


def test_every_message_is_an_array_so_that_new_fields_can_follow() -> None:
    for kind in ALL_MESSAGES:
        assert issubclass(kind, Struct)
        assert kind.__struct_config__.array_like
        assert kind.__struct_config__.frozen
        assert not kind.__struct_config__.forbid_unknown_fields
