"""What can happen to a node of the log. Every event carries the time it happened, in ms of a clock that only goes
forward.

Completion is an event too (`Persisted`): the disk may be slow or fail, and there is no second door into the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from replica.raft.messages import Message
from replica.raft.types import NodeId


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
class TransferRequested:
    """Hand leadership to `to` (3.10)."""

    now_ms: int
    token: int
    to: NodeId


@dataclass(frozen=True, slots=True)
class ReadRequested:
    """Confirm a read index (6.4)."""

    now_ms: int
    token: int


@dataclass(frozen=True, slots=True)
class ChangeRequested:
    """Change who votes (4.3)."""

    now_ms: int
    token: int
    voters: frozenset[NodeId]
    learners: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """A snapshot transfer to `peer` ended (chapter 5)."""

    now_ms: int
    peer: NodeId
    ok: bool


Event: TypeAlias = (
    Tick
    | Received
    | Propose
    | Persisted
    | PeerLost
    | PeerFound
    | TransferRequested
    | ReadRequested
    | ChangeRequested
    | SnapshotSent
)
