"""Operations, batches, effects and verdicts: encoded once, carried unread, and checked at the door."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.cases.commands import (
    AddNote,
    ChangePriority,
    Fact,
    Opening,
    Payload,
    RaiseLevel,
    Report,
    Subject,
    TakeOver,
)
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.verdicts import Effects, Verdict, VerdictKind
from replica.errors import InvalidMessage, RemoteProtocolError
from replica.wire import (
    batch,
    decode_batch,
    decode_effects,
    decode_operation,
    decode_verdict,
    encode_effects,
    encode_operation,
    encode_verdict,
    fits,
    split_batch,
)
from replica.wire.limits import BATCH_OVERHEAD_BYTES, MAX_BATCH_BYTES, MAX_COUNT, MAX_OPERATION_BYTES
from tests.wire.strategies import OPERATIONS, mutated, of_type, plain

TIMES = st.integers(0, 1 << 53)


def operation(payload: Payload = ChangePriority("fr.health.samu44.1", "P1"), **changes: Any) -> Operation:  # noqa: B008
    made = Operation(OperationId("site-44", bytes(16), 1), 1, 7, HybridTime(5), 5, "dr. Ker", payload)
    return msgspec.structs.replace(made, **changes)


@given(OPERATIONS)
def test_an_operation_comes_back_as_it_was_made(made: Operation) -> None:
    data = encode_operation(made)
    assert made == decode_operation(data)
    assert plain(made) == msgpack.unpackb(data)
    assert data == msgpack.packb(plain(made))


@given(of_type(Effects))
def test_effects_come_back_as_they_were_made(effects: Effects) -> None:
    data = encode_effects(effects)
    assert effects == decode_effects(data)
    assert plain(effects) == msgpack.unpackb(data)


@given(of_type(Verdict))
def test_a_verdict_comes_back_as_it_was_made(verdict: Verdict) -> None:
    data = encode_verdict(verdict)
    assert verdict == decode_verdict(data)
    assert plain(verdict) == msgpack.unpackb(data)


@given(TIMES, st.integers(0, 9), st.lists(OPERATIONS, max_size=4))
def test_a_batch_of_encoded_operations_is_the_batch_of_the_operations(
    time_ms: int, level: int, operations: list[Operation]
) -> None:
    """Put together without decoding, it is byte for byte what encoding the whole would give."""
    encoded = [encode_operation(made) for made in operations]
    data = batch(time_ms, level, encoded)
    assert data == msgspec.msgpack.encode(Batch(time_ms, level, tuple(operations)))
    assert Batch(time_ms, level, tuple(operations)) == decode_batch(data)
    assert (time_ms, level, tuple(encoded)) == split_batch(data)
    assert len(data) <= BATCH_OVERHEAD_BYTES + sum(map(len, encoded))


def test_what_a_newer_release_wrote_into_an_operation_travels_on_unread() -> None:
    """Bytes are copied, never decoded and encoded again: a field unknown here is still there at the other end."""
    newer = msgpack.packb([*msgpack.unpackb(encode_operation(operation())), "a field of tomorrow"])
    data = batch(1, 1, [newer])
    assert (newer,) == split_batch(data)[2]
    assert decode_batch(data).operations == (operation(),)
    assert decode_operation(newer) == operation()


def test_a_batch_of_a_newer_release_is_read() -> None:
    longer = msgpack.packb([*msgpack.unpackb(batch(1, 2, [encode_operation(operation())])), "more"])
    assert decode_batch(longer) == Batch(1, 2, (operation(),))
    assert split_batch(longer) == (1, 2, (encode_operation(operation()),))


def test_an_operation_of_an_older_release_gets_the_defaults() -> None:
    shorter = msgpack.packb(msgpack.unpackb(encode_operation(operation()))[:7])
    assert decode_operation(shorter) == operation(have=0, key="")


FACT = Fact("priority", "P1", at_ms=1 << 54)
WRONG = {
    "$.id.site": operation(id=OperationId("", bytes(16), 1)),
    "$.id.incarnation": operation(id=OperationId("site-44", b"short", 1)),
    "$.id.seq": operation(id=OperationId("site-44", bytes(16), -1)),
    "$.epoch": operation(epoch=-1),
    "$.seen": operation(seen=MAX_COUNT + 1),
    "$.clock.wall_ms": operation(clock=HybridTime((1 << 53) + 1)),
    "$.clock.counter": operation(clock=HybridTime(1, -1)),
    "$.act_ms": operation(act_ms=-(1 << 53) - 1),
    "$.have": operation(have=-1),
    "$.payload.prev": operation(Opening(b"x", 0, None)),
    "$.payload.replaces": operation(Opening(None, 0, b"x" * 17)),
    "$.payload.prev_last": operation(Opening(None, -1, None)),
    "$.payload.epoch": operation(TakeOver("a", "b", -1, "flood")),
    "$.payload.level": operation(RaiseLevel(-1)),
    "$.payload.documents[1].at_ms": operation(Report("m", "RS-X", "s", (), (Fact("a", "b"), FACT))),
    "$.payload.subjects[0].facts[0].at_ms": operation(Report("m", "RS-X", "s", (Subject("case", "c", (FACT,)),))),
}


@pytest.mark.parametrize("path", WRONG)
def test_a_number_out_of_its_range_is_refused_on_both_sides_with_its_place(path: str) -> None:
    """Once agreed, such a number would stop every replica at the same entry."""
    with pytest.raises(InvalidMessage) as ours:
        encode_operation(WRONG[path])
    assert [path] == [place.path for place in ours.value.places]
    with pytest.raises(RemoteProtocolError) as theirs:
        decode_operation(msgspec.msgpack.encode(WRONG[path]))
    assert f"at `{path}`" in str(theirs.value)


def test_the_year_one_and_the_year_9999_are_times() -> None:
    for act_ms in (-62_135_596_800_000, 253_402_300_799_999):
        assert decode_operation(encode_operation(operation(act_ms=act_ms))).act_ms == act_ms


def test_a_text_that_is_not_unicode_is_refused_before_anything_is_journalled() -> None:
    """JSON can spell a lone surrogate; UTF-8 cannot."""
    with pytest.raises(InvalidMessage, match="surrogates not allowed"):
        encode_operation(operation(AddNote("c", "n", "\ud800")))


def test_an_operation_above_the_limit_is_refused_on_both_sides() -> None:
    fixed = len(encode_operation(operation(AddNote("c", "n", "x" * 70_000)))) - 70_000
    most = operation(AddNote("c", "n", "x" * (MAX_OPERATION_BYTES - fixed)))
    assert len(encode_operation(most)) == MAX_OPERATION_BYTES
    assert decode_operation(encode_operation(most)) == most
    above = operation(AddNote("c", "n", "x" * (MAX_OPERATION_BYTES - fixed + 1)))
    with pytest.raises(InvalidMessage, match=f"{MAX_OPERATION_BYTES + 1} bytes encoded"):
        encode_operation(above)
    with pytest.raises(RemoteProtocolError, match=f"operation of {MAX_OPERATION_BYTES + 1} bytes"):
        decode_operation(msgspec.msgpack.encode(above))


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(30, 200))
def test_what_fits_one_batch_fits_and_one_more_would_not(sizes: list[int], max_bytes: int) -> None:
    operations = [b"\x00" * size for size in sizes]
    count = fits(operations, max_bytes)
    assert (count > 0) == bool(operations)
    room = max_bytes - BATCH_OVERHEAD_BYTES
    assert count <= 1 or sum(sizes[:count]) <= room
    assert count == len(sizes) or sum(sizes[: count + 1]) > room


def test_the_largest_operations_make_a_batch() -> None:
    """However large, what `fits` says is accepted by `batch`."""
    operations = [bytes(MAX_OPERATION_BYTES)] * 5
    assert fits(operations) == 3
    assert len(batch((1 << 53), 1, operations[:3])) <= MAX_BATCH_BYTES
    with pytest.raises(ValueError, match=f"at most {MAX_BATCH_BYTES} make one entry"):
        batch(1, 1, operations)


def test_an_empty_operation_would_shift_everything_after_it() -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        batch(1, 1, [b""])


DECODERS = {
    "operation": decode_operation,
    "batch": decode_batch,
    "split batch": split_batch,
    "effects": decode_effects,
    "verdict": decode_verdict,
}


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
@given(data=st.binary(max_size=100))
def test_random_bytes_are_refused(decoder: Any, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decoder(data)


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_deep_nesting_bombs_and_rests_are_refused(decoder: Any) -> None:
    valid = encode_verdict(Verdict(VerdictKind.APPLIED))
    for data in (b"\x91" * 200_000, b"\xdd\xff\xff\xff\xff", b"\x93\x01\x01\xdd\xff\xff\xff\xff", valid + b"\x00"):
        with pytest.raises(RemoteProtocolError):
            decoder(data)


@settings(max_examples=200)
@given(mutated(OPERATIONS.map(encode_operation)))
def test_a_damaged_operation_is_refused_or_is_an_operation(data: bytes) -> None:
    """What passes the door can be encoded again, put into a batch, and read from it."""
    try:
        made = decode_operation(data)
    except RemoteProtocolError:
        return
    assert made == decode_operation(encode_operation(made))
    assert decode_batch(batch(1, 1, [data])).operations == (made,)


@given(mutated(st.builds(batch, TIMES, st.just(1), st.lists(OPERATIONS.map(encode_operation), max_size=2))))
def test_a_damaged_batch_is_refused_or_is_a_batch(data: bytes) -> None:
    try:
        read = decode_batch(data)
    except RemoteProtocolError:
        return
    assert len(read.operations) == len(split_batch(data)[2])
