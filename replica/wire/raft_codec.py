"""What zones say to each other about the log, as bytes and back.

The core's messages are plain dataclasses that know nothing of bytes; beside each stands its wire form here, a tagged
array. The two differ in one place: an Append's entries travel as columns (terms, kinds, data). Their indexes are not
sent, since they follow `prev_index` one by one, so entries with a hole between them cannot even be said. An entry's
data are bytes and stay bytes.

Evolution: a new field goes to the end with a default, here and in the dataclass. Tags are never reused. What is left
out: whether a message makes sense now (the core decides), and that its sender is who it says (`check_route`, with the
handshake's answer).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, Struct

from replica.errors import RemoteProtocolError
from replica.raft.memberships import decode_membership
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    Readmit,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.types import Entry, EntryKind
from replica.wire.limits import MAX_BATCH_BYTES, MAX_ENTRIES_PER_APPEND, RAFT_FRAME_BYTES, Count, NodeNumber

EntryData: TypeAlias = Annotated[bytes, Meta(max_length=MAX_BATCH_BYTES)]
_KINDS: Final = tuple(EntryKind)
_KIND_BYTES: Final = bytes(_KINDS)
_MESSAGE_BYTES: Final = 64
_ENTRY_BYTES: Final = 16


class _Wire(Struct, frozen=True, array_like=True):
    frm: NodeNumber
    to: NodeNumber
    term: Count


class _PreVote(_Wire, frozen=True, array_like=True, tag="pre-vote"):
    last_index: Count
    last_term: Count


class _PreVoteReply(_Wire, frozen=True, array_like=True, tag="pre-vote-reply"):
    granted: bool


class _RequestVote(_Wire, frozen=True, array_like=True, tag="vote"):
    last_index: Count
    last_term: Count
    transfer: bool = False


class _RequestVoteReply(_Wire, frozen=True, array_like=True, tag="vote-reply"):
    granted: bool


class _Append(_Wire, frozen=True, array_like=True, tag="append"):
    prev_index: Count
    prev_term: Count
    commit: Count
    terms: Annotated[tuple[Count, ...], Meta(max_length=MAX_ENTRIES_PER_APPEND)]
    kinds: Annotated[bytes, Meta(max_length=MAX_ENTRIES_PER_APPEND)]
    data: Annotated[tuple[EntryData, ...], Meta(max_length=MAX_ENTRIES_PER_APPEND)]

    def __post_init__(self) -> None:
        """What holds for every log (figure 3): terms never fall along it, and none is above its leader's."""
        if not len(self.terms) == len(self.kinds) == len(self.data):
            raise ValueError(f"{len(self.terms)} terms, {len(self.kinds)} kinds, {len(self.data)} data of entries")
        if self.kinds.translate(None, _KIND_BYTES):
            raise ValueError(f"entry kind {self.kinds.translate(None, _KIND_BYTES)[0]} is not known")
        along = [self.prev_term, *self.terms, self.term]
        if sorted(along) != along:
            raise ValueError(f"terms fall along the entries: {self.prev_term}, {self.terms[:8]}…, sender {self.term}")
        for kind, data in zip(self.kinds, self.data, strict=True):
            if kind == EntryKind.MEMBERSHIP:
                decode_membership(data)


class _AppendReply(_Wire, frozen=True, array_like=True, tag="append-reply"):
    ok: bool
    match_index: Count
    hint_index: Count = 0
    hint_term: Count = 0
    rebuilding: bool = False
    life: Count = 0


class _Heartbeat(_Wire, frozen=True, array_like=True, tag="heartbeat"):
    commit: Count
    context: Count = 0
    election_timeout_ms: Count = 0


class _HeartbeatReply(_Wire, frozen=True, array_like=True, tag="heartbeat-reply"):
    context: Count = 0
    rebuilding: bool = False
    life: Count = 0
    clock_ms: Count = 0


class _Readmit(_Wire, frozen=True, array_like=True, tag="readmit"):
    life: Count = 0


class _TimeoutNow(_Wire, frozen=True, array_like=True, tag="timeout-now"):
    pass


class _ReadIndex(_Wire, frozen=True, array_like=True, tag="read-index"):
    context: Count


class _ReadIndexReply(_Wire, frozen=True, array_like=True, tag="read-index-reply"):
    context: Count
    index: Count
    ok: bool


_WireMessage: TypeAlias = (
    _PreVote
    | _PreVoteReply
    | _RequestVote
    | _RequestVoteReply
    | _Append
    | _AppendReply
    | _Heartbeat
    | _HeartbeatReply
    | _Readmit
    | _TimeoutNow
    | _ReadIndex
    | _ReadIndexReply
)


def _append_out(m: Append) -> _Append:
    entries = m.entries
    if entries:
        ends = entries[0].index, entries[-1].index
        assert ends == (m.prev_index + 1, m.prev_index + len(entries)), (
            f"{len(entries)} entries {ends} do not follow prev_index {m.prev_index}"
        )
    terms = tuple([entry.term for entry in entries])
    kinds = bytes([entry.kind for entry in entries])
    data = tuple([entry.data for entry in entries])
    return _Append(m.frm, m.to, m.term, m.prev_index, m.prev_term, m.commit, terms, kinds, data)


def _append_in(w: _Append) -> Append:
    kinds = [_KINDS[kind] for kind in w.kinds]
    indexes = range(w.prev_index + 1, w.prev_index + 1 + len(kinds))
    entries = tuple(map(Entry, indexes, w.terms, kinds, w.data))
    return Append(w.frm, w.to, w.term, w.prev_index, w.prev_term, entries, w.commit)


_OUT: Final[dict[type, Callable[[Any], _WireMessage]]] = {
    PreVote: lambda m: _PreVote(m.frm, m.to, m.term, m.last_index, m.last_term),
    PreVoteReply: lambda m: _PreVoteReply(m.frm, m.to, m.term, m.granted),
    RequestVote: lambda m: _RequestVote(m.frm, m.to, m.term, m.last_index, m.last_term, m.transfer),
    RequestVoteReply: lambda m: _RequestVoteReply(m.frm, m.to, m.term, m.granted),
    Append: _append_out,
    AppendReply: lambda m: _AppendReply(
        m.frm, m.to, m.term, m.ok, m.match_index, m.hint_index, m.hint_term, m.rebuilding, m.life
    ),
    Heartbeat: lambda m: _Heartbeat(m.frm, m.to, m.term, m.commit, m.context, m.election_timeout_ms),
    HeartbeatReply: lambda m: _HeartbeatReply(m.frm, m.to, m.term, m.context, m.rebuilding, m.life, m.clock_ms),
    Readmit: lambda m: _Readmit(m.frm, m.to, m.term, m.life),
    TimeoutNow: lambda m: _TimeoutNow(m.frm, m.to, m.term),
    ReadIndex: lambda m: _ReadIndex(m.frm, m.to, m.term, m.context),
    ReadIndexReply: lambda m: _ReadIndexReply(m.frm, m.to, m.term, m.context, m.index, m.ok),
}

_IN: Final[dict[type, Callable[[Any], Message]]] = {
    _PreVote: lambda w: PreVote(w.frm, w.to, w.term, w.last_index, w.last_term),
    _PreVoteReply: lambda w: PreVoteReply(w.frm, w.to, w.term, w.granted),
    _RequestVote: lambda w: RequestVote(w.frm, w.to, w.term, w.last_index, w.last_term, w.transfer),
    _RequestVoteReply: lambda w: RequestVoteReply(w.frm, w.to, w.term, w.granted),
    _Append: _append_in,
    _AppendReply: lambda w: AppendReply(
        w.frm, w.to, w.term, w.ok, w.match_index, w.hint_index, w.hint_term, w.rebuilding, w.life
    ),
    _Heartbeat: lambda w: Heartbeat(w.frm, w.to, w.term, w.commit, w.context, w.election_timeout_ms),
    _HeartbeatReply: lambda w: HeartbeatReply(w.frm, w.to, w.term, w.context, w.rebuilding, w.life, w.clock_ms),
    _Readmit: lambda w: Readmit(w.frm, w.to, w.term, w.life),
    _TimeoutNow: lambda w: TimeoutNow(w.frm, w.to, w.term),
    _ReadIndex: lambda w: ReadIndex(w.frm, w.to, w.term, w.context),
    _ReadIndexReply: lambda w: ReadIndexReply(w.frm, w.to, w.term, w.context, w.index, w.ok),
}


class RaftMessages(Struct, frozen=True, array_like=True, tag="raft"):
    """Zone to zone: raft messages that share a frame, in the order they were sent. Make it with `of`, read it with
    `messages`: what has been decoded has been validated, so reading cannot fail."""

    wire: Annotated[tuple[_WireMessage, ...], Meta(max_length=MAX_ENTRIES_PER_APPEND)]

    @classmethod
    def of(cls, messages: Iterable[Message]) -> RaftMessages:
        return cls(tuple([_OUT[type(message)](message) for message in messages]))

    def messages(self) -> tuple[Message, ...]:
        return tuple([_IN[type(wire)](wire) for wire in self.wire])

    def check_route(self, frm: int, to: int) -> None:
        """Raises RemoteProtocolError where a message is not from the peer that the handshake named, or not to us."""
        for wire in self.wire:
            if (wire.frm, wire.to) != (frm, to):
                raise RemoteProtocolError(
                    f"raft message from {wire.frm} to {wire.to} on the connection from {frm} to {to}"
                )


def share_frames(messages: Sequence[Message], max_bytes: int = RAFT_FRAME_BYTES) -> list[RaftMessages]:
    """All messages for one peer, in order, in as few frames as stay near `max_bytes`; a larger message goes alone."""
    frames: list[RaftMessages] = []
    held: list[Message] = []
    size = 0
    for message in messages:
        more = _size(message)
        if held and size + more > max_bytes:
            frames.append(RaftMessages.of(held))
            held, size = [], 0
        held.append(message)
        size += more
    if held:
        frames.append(RaftMessages.of(held))
    return frames


def _size(message: Message) -> int:
    """At least what it takes encoded."""
    if not isinstance(message, Append):
        return _MESSAGE_BYTES + _ENTRY_BYTES
    return _MESSAGE_BYTES + _ENTRY_BYTES * (1 + len(message.entries)) + sum([len(e.data) for e in message.entries])
