"""Values of every type that travels, drawn from the types themselves: a new message needs no strategy of its own."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from replica.cases.commands import ForceNewCluster, Payload
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.raft import messages as raft
from replica.raft.memberships import encode_membership
from replica.raft.types import Entry, EntryKind, Membership
from replica.wire import ALL_MESSAGES, Message, RaftMessages
from replica.wire.limits import INCARNATION_BYTES, MAX_COUNT

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNTS = st.one_of(st.integers(0, 300), st.integers(0, MAX_COUNT))
NODES = st.one_of(st.integers(1, 7), st.integers(1, (1 << 31) - 1))
LIVES = st.binary(min_size=INCARNATION_BYTES, max_size=INCARNATION_BYTES)
OPERATION_IDS = st.builds(OperationId, TEXTS.filter(bool), LIVES, COUNTS)

_LIFE_FIELDS = {"incarnation", "prev", "replaces", "life"}
_MS = st.integers(0, 1 << 53)


def of_type(cls: Any) -> st.SearchStrategy[Any]:
    """Values of a message type (or any type made of the same parts), within the limits it declares."""
    return _drawn(inspect.type_info(cls))


def _drawn(info: inspect.Type, name: str = "") -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType(cls=cls) if cls is OperationId:
            return OPERATION_IDS
        case inspect.StructType():
            return st.builds(info.cls, **{field.name: _drawn(field.type, field.name) for field in info.fields})
        case inspect.UnionType():
            return st.one_of([_drawn(kind, name) for kind in info.types])
        case inspect.VarTupleType():
            return st.lists(_drawn(info.item_type, name), min_size=info.min_length or 0, max_size=3).map(tuple)
        case inspect.TupleType():
            return st.tuples(*[_drawn(kind, name) for kind in info.item_types])
        case inspect.EnumType():
            return st.sampled_from(list(info.cls))
        case inspect.BytesType() if name in _LIFE_FIELDS:
            return LIVES
        case inspect.BytesType():
            return st.binary(min_size=info.min_length or 0, max_size=20)
        case inspect.StrType():
            return TEXTS if not info.min_length else TEXTS.filter(bool)
        case inspect.IntType():
            return _MS if info.le is None else st.one_of(st.integers(info.ge, info.le), st.integers(info.ge, 99))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
    raise NotImplementedError(f"no values for {info}")


_NODE_SETS = st.frozensets(NODES, max_size=5)
MEMBERSHIPS = st.builds(
    Membership,
    voters=_NODE_SETS,
    outgoing=_NODE_SETS,
    learners=_NODE_SETS,
    incoming=_NODE_SETS,
    leaving=_NODE_SETS,
    directory=st.binary(max_size=20),
    priority=st.lists(st.tuples(NODES, st.integers(-9, 9)), max_size=3).map(tuple),
)


@st.composite
def _entry(draw: st.DrawFn, index: int, term: int) -> Entry:
    """One entry; where it is a change of the membership, its bytes are one."""
    kind = draw(st.sampled_from(EntryKind))
    of_any_kind = st.binary(max_size=20)
    return Entry(
        index, term, kind, draw(MEMBERSHIPS.map(encode_membership) if kind is EntryKind.MEMBERSHIP else of_any_kind)
    )


@st.composite
def _appends(draw: st.DrawFn) -> raft.Append:
    """As a leader builds them: terms never fall, indexes follow each other."""
    terms = sorted(draw(st.lists(COUNTS, min_size=2, max_size=8)))
    prev = draw(st.integers(0, MAX_COUNT - 10))
    entries = tuple(draw(_entry(prev + 1 + place, term)) for place, term in enumerate(terms[1:-1]))
    return raft.Append(draw(NODES), draw(NODES), terms[-1], prev, terms[0], entries, draw(COUNTS))


_OTHERS: tuple[st.SearchStrategy[raft.Message], ...] = (
    st.builds(raft.PreVote, NODES, NODES, COUNTS, COUNTS, COUNTS),
    st.builds(raft.PreVoteReply, NODES, NODES, COUNTS, st.booleans()),
    st.builds(raft.RequestVote, NODES, NODES, COUNTS, COUNTS, COUNTS, st.booleans()),
    st.builds(raft.RequestVoteReply, NODES, NODES, COUNTS, st.booleans()),
    st.builds(raft.AppendReply, NODES, NODES, COUNTS, st.booleans(), COUNTS, COUNTS, COUNTS, st.booleans(), COUNTS),
    st.builds(raft.Heartbeat, NODES, NODES, COUNTS, COUNTS, COUNTS, COUNTS),
    st.builds(raft.HeartbeatReply, NODES, NODES, COUNTS, COUNTS, st.booleans(), COUNTS, COUNTS),
    st.builds(raft.Readmit, NODES, NODES, COUNTS, COUNTS),
    st.builds(raft.TimeoutNow, NODES, NODES, COUNTS),
    st.builds(raft.ReadIndex, NODES, NODES, COUNTS, COUNTS),
    st.builds(raft.ReadIndexReply, NODES, NODES, COUNTS, COUNTS, COUNTS, st.booleans()),
)
RAFT_MESSAGES: st.SearchStrategy[raft.Message] = st.one_of(_appends(), *_OTHERS)
OPERATIONS = st.builds(
    Operation,
    id=OPERATION_IDS,
    epoch=COUNTS,
    seen=COUNTS,
    clock=st.builds(HybridTime, _MS, COUNTS),
    act_ms=st.integers(-(1 << 53), 1 << 53),
    author=TEXTS,
    payload=of_type(Payload).filter(lambda payload: not isinstance(payload, ForceNewCluster)),  # nobody hands it in
    have=COUNTS,
    key=TEXTS,
)


def of_message(kind: type[Message]) -> st.SearchStrategy[Message]:
    if kind is RaftMessages:
        return st.lists(RAFT_MESSAGES, max_size=4).map(RaftMessages.of)
    return of_type(kind)


MESSAGES: st.SearchStrategy[Message] = st.sampled_from(ALL_MESSAGES).flatmap(of_message)


def plain(value: Any) -> Any:
    """The value as any msgpack decoder sees it: written anew here, to be compared with what msgspec made of it."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = [plain(getattr(value, name)) for name in value.__struct_fields__]
        return fields if tag is None else [tag, *fields]
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return getattr(value, "value", value)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were a valid payload once: some changed, cut out, put in, or the end torn off."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["set", "delete", "insert", "truncate"])):
            case "set" if data:
                data[place] = draw(st.integers(0, 255))
            case "delete":
                del data[place : place + draw(st.integers(1, 4))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=6))
            case "truncate":
                del data[place:]
            case _:
                pass
    return bytes(data)
