"""What the core wants done, in the order in which it must be done.

The driver steps any number of events, then takes one `Ready`. That is the group commit: one save, one fsync, however
many events. The fields *are* the protocol with the driver; read them from top to bottom:

1. `send_now` may leave at once, while the disk still works (a leader's appends: dissertation 10.2.1).
2. `install`, `hard_state` and `entries` are written together and made durable. An install puts a snapshot that lies
   ready in the place of state and log, in one step; entries replace whatever the store has from the first of them on.
3. Then, and only then, `send_saved` leaves (votes, replies: each of them is a promise), and `Persisted(ready=number)`
   is stepped. Readies are saved in the order of their numbers; one `Persisted` may stand for several.
4. `committed` goes to the state machine at any time after this Ready was taken; a leader may commit by the others'
   disks what its own has not synced yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from replica.raft.messages import Message
from replica.raft.notes import Note
from replica.raft.types import Entry, HardState, Index, Membership, NodeId, Role, Term


class Refusal(Enum):
    """Why a request was turned away. Surely not done, in every case."""

    NOT_LEADER = "not the leader"
    OVERLOADED = "too much is waiting already"
    TRANSFERRING = "leadership is being handed over"
    CHANGE_PENDING = "another change of the membership is under way"
    QUORUM_LOST = "too few of the voters answer now"
    INVALID = "the membership asked for is none"
    NO_TARGET = "nobody is there to hand over to"
    UNCONFIRMED = "the leader has not confirmed it in time"
    STALE = "the snapshot is not newer than what is here"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The proposal `token` is entry `(index, term)` of this leader's log: appended, not yet committed."""

    token: int
    index: Index
    term: Term


@dataclass(frozen=True, slots=True)
class Refused:
    """The request `token` was not taken. `leader` is who may take it, 0 where nobody is known."""

    token: int
    reason: Refusal
    leader: NodeId
    detail: str = ""
    """What exactly, for a person: which voters do not answer, which field is wrong."""


@dataclass(frozen=True, slots=True)
class ReadConfirmed:
    """The read `token` may be answered from a state as of `index` or later."""

    token: int
    index: Index


@dataclass(frozen=True, slots=True)
class Transferred:
    """What came of a hand-over (3.10). `ok`: `to` was asked to campaign and a newer term has begun; who leads it, the
    next standing says. Not ok: this node leads on, or has lost its role otherwise."""

    token: int
    to: NodeId
    ok: bool
    why: str


@dataclass(frozen=True, slots=True)
class SnapshotWanted:
    """`peer` needs entries from `next_index`, and they are compacted: send it a snapshot, and step `SnapshotSent`."""

    peer: NodeId
    next_index: Index


@dataclass(frozen=True, slots=True)
class Install:
    """The snapshot that arrived as `token` is to take the place of the state and of the whole log, which then begins
    after `(index, term)`. `membership` is what the log is to remember of who votes: (index, data)."""

    token: int
    index: Index
    term: Term
    membership: tuple[Index, bytes]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where this node stands: given whenever any part of it changed."""

    role: Role
    leader: NodeId
    term: Term


@dataclass(frozen=True, slots=True)
class Ready:
    number: int
    """Counts up from 1. A Ready with nothing to save needs no `Persisted` of its own."""
    send_now: tuple[Message, ...]
    """May leave before anything is durable."""
    install: Install | None
    """To be carried out before anything else of this Ready is saved; what is `committed` follows on it."""
    hard_state: HardState | None
    """To be made durable, together with `entries`; None where it did not change."""
    entries: tuple[Entry, ...]
    """To be made durable; contiguous; they replace the store's from the first one's index on."""
    send_saved: tuple[Message, ...]
    """Must not leave before `hard_state` and `entries` of this Ready and of all before it are durable."""
    committed: tuple[Entry, ...]
    """To be applied, in order, each exactly once per life of the core; bounded by `max_apply_bytes`, more follows."""
    commit_index: Index
    """What is known to be committed."""
    accepted: tuple[Accepted, ...]
    refused: tuple[Refused, ...]
    reads: tuple[ReadConfirmed, ...]
    transfers: tuple[Transferred, ...]
    snapshots: tuple[SnapshotWanted, ...]
    membership: Membership | None
    """The latest in the log, committed or not: given when it has changed, and with the first Ready."""
    standing: Standing | None
    notes: tuple[Note, ...]

    @property
    def must_save(self) -> bool:
        """Whether this Ready has anything that must become durable."""
        return self.hard_state is not None or bool(self.entries) or self.install is not None
