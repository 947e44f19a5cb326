"""What one node of the log says to another. Each message is one type; each carries its sender's term.

`frm` is the sender, `to` the receiver. Names follow figure 2 of the Raft paper and chapters 3 and 9 of the
dissertation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from replica.raft.types import Entry, Index, NodeId, Term


@dataclass(frozen=True, slots=True)
class PreVote:
    """ "Would you vote for me in `term`?" Asked before the term is raised, so that asking disturbs nobody (9.6)."""

    frm: NodeId
    to: NodeId
    term: Term
    """The term the sender would campaign in: its own + 1. Not a term anybody is in yet."""
    last_index: Index
    last_term: Term


@dataclass(frozen=True, slots=True)
class PreVoteReply:
    frm: NodeId
    to: NodeId
    term: Term
    """Granted: the term asked about. Refused: the replier's own, so that a node left behind learns of it."""
    granted: bool


@dataclass(frozen=True, slots=True)
class RequestVote:
    """RequestVote of figure 2. Sent only once the sender's own term and vote are durable."""

    frm: NodeId
    to: NodeId
    term: Term
    last_index: Index
    last_term: Term
    transfer: bool = False
    """The leader itself asked for this election (3.10): stickiness does not apply."""


@dataclass(frozen=True, slots=True)
class RequestVoteReply:
    frm: NodeId
    to: NodeId
    term: Term
    granted: bool


@dataclass(frozen=True, slots=True)
class Append:
    """AppendEntries with entries, or an empty one that only asks whether the logs meet at `prev_index`."""

    frm: NodeId
    to: NodeId
    term: Term
    prev_index: Index
    prev_term: Term
    entries: tuple[Entry, ...]
    commit: Index


@dataclass(frozen=True, slots=True)
class AppendReply:
    """`ok`: the log equals the leader's up to `match_index`, and that is durable here.

    Not ok: it does not meet at the leader's `prev_index` (repeated in `match_index`); `hint_term` is the term the
    follower has there (0: it ends before) and `hint_index` the first index of that term (or its end + 1): the leader
    skips a whole term at a time (5.3, end).
    """

    frm: NodeId
    to: NodeId
    term: Term
    ok: bool
    match_index: Index
    hint_index: Index = 0
    hint_term: Term = 0
    rebuilding: bool = False
    """The sender lost its store: count it for nothing, and see to its readmission."""
    life: int = 0
    """While rebuilding: a number this start of the sender drew for itself. `Readmit` repeats it."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """AppendEntries without entries and without a question: the leader is alive, and `commit` is committed.

    `commit` never exceeds what this follower is known to hold, so it is safe without a log check.
    `context` returns in the reply: a leader knows by it which round a quorum has confirmed. 0: only the commit is told,
    and no reply is wanted (but in a higher term).
    """

    frm: NodeId
    to: NodeId
    term: Term
    commit: Index
    context: int = 0
    election_timeout_ms: int = 0
    """What the leader has found the round trips to ask for (pace.py); 0 from one that does not say."""


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    frm: NodeId
    to: NodeId
    term: Term
    context: int = 0
    rebuilding: bool = False
    life: int = 0
    clock_ms: int = 0
    """The replier's own clock. Nobody sets a clock by it; a leader with leases sees by it whose clock runs wrong."""


@dataclass(frozen=True, slots=True)
class Readmit:
    """A leader to a node that lost its store: every other voter has since answered in `term`; your promises count
    again.

    Meant for the start of the node that drew `life`, and for no other: a copy that arrives late, at a later start that
    lost its store again, must readmit nobody.
    """

    frm: NodeId
    to: NodeId
    term: Term
    life: int = 0


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """A leader to the node it hands over to (3.10): call an election at once."""

    frm: NodeId
    to: NodeId
    term: Term


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """A follower to the leader (6.4): from which index on may I answer a read asked for now? `context` returns."""

    frm: NodeId
    to: NodeId
    term: Term
    context: int


@dataclass(frozen=True, slots=True)
class ReadIndexReply:
    """`ok`: the sender led when the question came, and a state as of `index` or later answers it."""

    frm: NodeId
    to: NodeId
    term: Term
    context: int
    index: Index
    ok: bool


Message: TypeAlias = (
    PreVote
    | PreVoteReply
    | RequestVote
    | RequestVoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | Readmit
    | TimeoutNow
    | ReadIndex
    | ReadIndexReply
)
