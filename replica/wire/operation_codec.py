"""Operations, batches, effects and verdicts as bytes: what is journalled, agreed and sent around.

An operation is encoded once, by the site that makes it. From then on its bytes travel: in a Submit, in a Forward, in
a batch of the log, in a peer's Append; nobody encodes them again. Effects are encoded once by each zone, for all its
sites.

Whoever takes an operation from outside calls `decode_operation`, which checks every number too: what has passed this
door may be agreed, and everybody must be able to apply it. Batches and effects come from zones and from our own disk,
where a checksum has already spoken; a RemoteProtocolError there means damage or a newer release, and the caller says
which.

Left out: whether an operation is permitted or next in its sequence (cases), and how many make one batch (the runtime;
`fits` gives it the sizes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    EndTakeOver,
    EngageResource,
    Fact,
    ForceNewCluster,
    Opening,
    Payload,
    RaiseLevel,
    ReleaseResource,
    Report,
    SetStatus,
    TakeOver,
)
from replica.cases.operations import Batch, Operation
from replica.cases.verdicts import Effects, Verdict
from replica.errors import InvalidMessage, Place, RemoteProtocolError
from replica.wire.decoding import brief, decode_with
from replica.wire.limits import (
    BATCH_OVERHEAD_BYTES,
    INCARNATION_BYTES,
    MAX_BATCH_BYTES,
    MAX_COUNT,
    MAX_NAME,
    MAX_OPERATION_BYTES,
)


class _RawBatch(Struct, frozen=True, array_like=True):
    """A Batch whose operations stay encoded."""

    time_ms: int
    level: int
    operations: tuple[msgspec.Raw, ...]
    spoken: int = 0
    heard: tuple[str, ...] = ()


_ENCODER: Final = msgspec.msgpack.Encoder()
_OPERATION: Final = msgspec.msgpack.Decoder(Operation)
_BATCH: Final = msgspec.msgpack.Decoder(Batch)
_RAW_BATCH: Final = msgspec.msgpack.Decoder(_RawBatch)
_EFFECTS: Final = msgspec.msgpack.Decoder(Effects)
_VERDICT: Final = msgspec.msgpack.Decoder(Verdict)
_ACT_MS: Final = 1 << 53
_NUMBERLESS: Final = frozenset((AddNote, ChangeCareLevel, ChangePriority, EngageResource, ReleaseResource, SetStatus))
"""Payloads without a number or an incarnation."""


def encode_operation(operation: Operation) -> bytes:
    """The operation's bytes, at most MAX_OPERATION_BYTES.

    Raises InvalidMessage, naming the place, for what another side would refuse: a text that is not Unicode (a lone
    surrogate), a number or a name out of range, an operation too large. Nothing was written: correct the input.
    """
    place = _wrong_place(operation)
    if place is not None:
        raise InvalidMessage((place,))
    try:
        data = _ENCODER.encode(operation)
    except (UnicodeEncodeError, OverflowError) as error:
        raise InvalidMessage((Place("$.payload", brief(str(error))),)) from None
    if len(data) > MAX_OPERATION_BYTES:
        problem = f"{len(data)} bytes encoded; at most {MAX_OPERATION_BYTES} are accepted"
        raise InvalidMessage((Place("$.payload", problem),))
    return data


def decode_operation(data: bytes) -> Operation:
    """One operation from outside, every number in its range.

    Raises RemoteProtocolError, naming the place, for anything else, and for what is nobody's to hand in: a cluster is
    forced new by the offline tool, which writes its entry itself. Trailing fields of a newer release are let pass.
    """
    if len(data) > MAX_OPERATION_BYTES:
        raise RemoteProtocolError(f"operation of {len(data)} bytes; at most {MAX_OPERATION_BYTES} are accepted")
    operation = decode_with(_OPERATION, data, "operation")
    if isinstance(operation.payload, ForceNewCluster):
        raise RemoteProtocolError(f"operation {operation.id}: force-new-cluster is the offline tool's alone")
    place = _wrong_place(operation)
    if place is not None:
        raise RemoteProtocolError(f"operation of {len(data)} bytes: {place.problem} - at `{place.path}`")
    return operation


def batch(time_ms: int, level: int, operations: Sequence[bytes], spoken: int = 0, heard: tuple[str, ...] = ()) -> bytes:
    """One entry's data from operations already encoded (and decoded once at the door: they are copied in unread).
    `level`: of the leader's state; `spoken`: the highest level that every voter speaks, 0 where that is not known;
    `heard`: the sites that are heard now, where one of the operations asks for it.

    Raises ValueError above MAX_BATCH_BYTES or for an empty operation: ours to prevent, by `fits`.
    """
    if not all(operations):
        raise ValueError("an operation of 0 bytes in a batch")
    data = _ENCODER.encode(_RawBatch(time_ms, level, tuple(map(msgspec.Raw, operations)), spoken, heard))
    if len(data) > MAX_BATCH_BYTES:
        raise ValueError(f"batch of {len(data)} bytes; at most {MAX_BATCH_BYTES} make one entry")
    return data


def fits(operations: Sequence[bytes], max_bytes: int = MAX_BATCH_BYTES) -> int:
    """How many operations from the head of the queue make one batch of at most `max_bytes`. At least one, where there
    is one: an operation alone always fits."""
    room = max_bytes - BATCH_OVERHEAD_BYTES
    for count, operation in enumerate(operations):
        room -= len(operation)
        if room < 0:
            return max(count, 1)
    return len(operations)


def decode_batch(data: bytes) -> Batch:
    """One entry's data. Raises RemoteProtocolError."""
    return decode_with(_BATCH, data, "batch")


def split_batch(data: bytes) -> tuple[int, int, tuple[bytes, ...]]:
    """`(time_ms, level, operations still encoded)`: for whoever keeps or sends them on. Raises RemoteProtocolError."""
    raw = decode_with(_RAW_BATCH, data, "batch")
    return raw.time_ms, raw.level, tuple(bytes(operation) for operation in raw.operations)


def encode_effects(effects: Effects) -> bytes:
    """Encoded once; `feed.effects_messages` makes of it what every site is sent."""
    return _ENCODER.encode(effects)


def decode_effects(data: bytes) -> Effects:
    """Raises RemoteProtocolError."""
    return decode_with(_EFFECTS, data, "effects")


def encode_verdict(verdict: Verdict) -> bytes:
    return _ENCODER.encode(verdict)


def decode_verdict(data: bytes) -> Verdict:
    """Raises RemoteProtocolError."""
    return decode_with(_VERDICT, data, "verdict")


def _wrong_place(operation: Operation) -> Place | None:
    """The first number or name outside its range. One such in the log would stop every replica when it is applied."""
    if _is_surely_sound(operation):
        return None
    if not 0 < len(operation.id.site) <= MAX_NAME:
        return Place("$.id.site", f"expected 1 to {MAX_NAME} characters, got {len(operation.id.site)}")
    for path, value in (
        ("$.id.incarnation", operation.id.incarnation),
        ("$.payload.prev", getattr(operation.payload, "prev", None)),
        ("$.payload.replaces", getattr(operation.payload, "replaces", None)),
    ):
        if value is not None and len(value) != INCARNATION_BYTES:
            return Place(path, f"expected {INCARNATION_BYTES} bytes, got {len(value)}")
    for path, number, least, most in (*_numbers(operation), *_payload_numbers(operation.payload)):
        if not least <= number <= most:
            return Place(path, f"expected {least} to {most}, got {number}")
    return None


def _is_surely_sound(operation: Operation) -> bool:
    """Whether nothing can be wrong, told in a fraction of the time that it takes to say what is; of the kinds that
    people and partners send all day."""
    ident, clock, payload = operation.id, operation.clock, operation.payload
    return (
        0 < len(ident.site) <= MAX_NAME
        and len(ident.incarnation) == INCARNATION_BYTES
        and 0 <= ident.seq <= MAX_COUNT
        and 0 <= operation.epoch <= MAX_COUNT
        and 0 <= operation.seen <= MAX_COUNT
        and -_ACT_MS <= clock.wall_ms <= _ACT_MS
        and 0 <= clock.counter <= MAX_COUNT
        and -_ACT_MS <= operation.act_ms <= _ACT_MS
        and 0 <= operation.have <= MAX_COUNT
        and (type(payload) in _NUMBERLESS or (isinstance(payload, Report) and _has_sound_times(payload)))
    )


def _has_sound_times(report: Report) -> bool:
    for subject in report.subjects:
        for fact in subject.facts:
            if not -_ACT_MS <= fact.at_ms <= _ACT_MS:
                return False
    return not report.documents or all(-_ACT_MS <= fact.at_ms <= _ACT_MS for fact in report.documents)


def _numbers(operation: Operation) -> tuple[tuple[str, int, int, int], ...]:
    return (
        ("$.id.seq", operation.id.seq, 0, MAX_COUNT),
        ("$.epoch", operation.epoch, 0, MAX_COUNT),
        ("$.seen", operation.seen, 0, MAX_COUNT),
        ("$.clock.wall_ms", operation.clock.wall_ms, -_ACT_MS, _ACT_MS),
        ("$.clock.counter", operation.clock.counter, 0, MAX_COUNT),
        ("$.act_ms", operation.act_ms, -_ACT_MS, _ACT_MS),
        ("$.have", operation.have, 0, MAX_COUNT),
    )


def _payload_numbers(payload: Payload) -> list[tuple[str, int, int, int]]:
    match payload:
        case Opening():
            return [("$.payload.prev_last", payload.prev_last, 0, MAX_COUNT)]
        case TakeOver():
            return [
                ("$.payload.epoch", payload.epoch, 0, MAX_COUNT),
                ("$.payload.until_ms", payload.until_ms, 0, _ACT_MS),
            ]
        case EndTakeOver():
            return [("$.payload.epoch", payload.epoch, 0, MAX_COUNT)]
        case RaiseLevel():
            return [("$.payload.level", payload.level, 0, MAX_COUNT)]
        case ForceNewCluster():
            return [
                ("$.payload.wall_ms", payload.wall_ms, -_ACT_MS, _ACT_MS),
                ("$.payload.from_index", payload.from_index, 0, MAX_COUNT),
                ("$.payload.generation", payload.generation, 0, MAX_COUNT),
            ]
        case Report():
            documents = [_fact(f"$.payload.documents[{n}]", fact) for n, fact in enumerate(payload.documents)]
            return documents + [
                _fact(f"$.payload.subjects[{m}].facts[{n}]", fact)
                for m, subject in enumerate(payload.subjects)
                for n, fact in enumerate(subject.facts)
            ]
        case _:
            return []


def _fact(path: str, fact: Fact) -> tuple[str, int, int, int]:
    return f"{path}.at_ms", fact.at_ms, -_ACT_MS, _ACT_MS
