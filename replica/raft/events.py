"""What can happen to a node of the log. Every event carries the time it happened, in ms of a clock that only goes
forward.

Completion is an event too (`Persisted`): the disk may be slow or fail, and there is no second door into the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from replica.raft.messages import Message
from replica.raft.types import NOBODY, Index, Membership, NodeId, Term


@dataclass(frozen=True, slots=True)
class Tick:
    """`Raft.deadline_ms` has come (or passed)."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message from another node of the same cluster. It may be old, doubled, or out of order."""

    now_ms: int
    message: Message


@dataclass(frozen=True, slots=True)
class Propose:
    """Append `data` as one entry, if this node leads. The answer is in the next Ready, under `token`."""

    now_ms: int
    token: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Persisted:
    """All that Ready number `ready` (and those before it) asked to save is durable."""

    now_ms: int
    ready: int


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The kernel says that the process at the other end is gone: its sockets are closed. Not a guess by silence."""

    now_ms: int
    peer: NodeId


@dataclass(frozen=True, slots=True)
class PeerFound:
    """A connection to this peer stands (again). What was on the way before it is lost."""

    now_ms: int
    peer: NodeId


@dataclass(frozen=True, slots=True)
class PeerWaits:
    """Somebody at this peer waits for what is about to be committed: it is told of commits at once, for a while."""

    now_ms: int
    peer: NodeId


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """Hand leadership to `to`, or with NOBODY to whoever is best placed (3.10). Answered by `Ready.transfers`."""

    now_ms: int
    token: int
    to: NodeId = NOBODY


@dataclass(frozen=True, slots=True)
class ReadRequested:
    """Confirm a read index (6.4), at a leader or at a follower. Answered by `Ready.reads`."""

    now_ms: int
    token: int


@dataclass(frozen=True, slots=True)
class ChangeRequested:
    """Make `target` the membership (4.3). It names voters and learners, the directory and the priorities; how to get
    there (learners first, then the joint state) is the core's affair. Accepted as an entry, like a proposal."""

    now_ms: int
    token: int
    target: Membership


@dataclass(frozen=True, slots=True)
class LearnerCompared:
    """The state of a learner and this leader's were compared at `index`: whether they are the same. A learner is
    promoted only after a yes."""

    now_ms: int
    peer: NodeId
    index: Index
    same: bool


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """A snapshot transfer to `peer` ended (chapter 5)."""

    now_ms: int
    peer: NodeId
    ok: bool


@dataclass(frozen=True, slots=True)
class SnapshotArrived:
    """A snapshot lies beside the old state, whole and checked: the state as of the committed entry `(index, term)`.

    `membership` is (index, data) of the membership in force there, as its sender's `Raft.membership_at` gave it. The
    next Ready asks for it to be installed, or refuses `token`: then it is of no use and may be thrown away.
    """

    now_ms: int
    token: int
    index: Index
    term: Term
    membership: tuple[Index, bytes] = (0, b"")


Event: TypeAlias = (
    Tick
    | Received
    | Propose
    | Persisted
    | PeerLost
    | PeerFound
    | PeerWaits
    | TransferRequested
    | ReadRequested
    | ChangeRequested
    | LearnerCompared
    | SnapshotSent
    | SnapshotArrived
)
