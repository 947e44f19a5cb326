"""The nouns of the log: entry, hard state, membership.

Raft's own words are kept (term, index, vote). A node of the log is a small integer here; its name and address belong to
the configuration. What an entry's `data` means is not the log's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol, TypeAlias

NodeId: TypeAlias = int
Term: TypeAlias = int
Index: TypeAlias = int

NOBODY: NodeId = 0
"""No node: "has not voted in this term", "knows no leader"."""


class EntryKind(IntEnum):
    """What an entry is for the log itself. The numbers are on disk and on the wire: never renumber."""

    NOOP = 0
    """A leader's first entry of its term (dissertation 6.4): earlier terms' entries are committed with it (5.4.2)."""
    DATA = 1
    """One batch for the state machine."""
    MEMBERSHIP = 2
    """A change of the membership (dissertation 4.3)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the replicated log. `(index, term)` names it for ever (Log Matching, figure 3)."""

    index: Index
    term: Term
    kind: EntryKind
    data: bytes


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be on disk before any answer that depends on it leaves (figure 2, "persistent state").

    `rebuilding` is a promise about promises: this node lost its store, so votes and acknowledgements it once gave may
    be forgotten. Until a leader has shown that no forgotten promise can matter any more, it neither votes nor counts.
    """

    term: Term = 0
    vote: NodeId = NOBODY
    rebuilding: bool = False


@dataclass(frozen=True, slots=True)
class Membership:
    """Who votes. Outside a change `outgoing` is empty; in a joint state (4.3) both majorities are needed.

    A learner receives the log and counts for nothing. A change that adds voters is two entries long before it is joint:
    `incoming` and `leaving` say, in the log itself, what is to come as soon as the learners have caught up, so that
    whoever leads then can go on with it.
    """

    voters: frozenset[NodeId]
    outgoing: frozenset[NodeId] = frozenset()
    learners: frozenset[NodeId] = frozenset()
    incoming: frozenset[NodeId] = frozenset()
    """Learners that become voters, all at once, as soon as each has caught up (4.2.1)."""
    leaving: frozenset[NodeId] = frozenset()
    """Voters that stop voting in the same change."""
    directory: bytes = b""
    """The driver's: names and addresses of all these nodes. It changes with the membership, so it travels with it."""
    priority: tuple[tuple[NodeId, int], ...] = ()
    """Of each zone, ordered by node; a node that is not in it has `RaftConfig.priority`'s, or 0."""


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class LogReader(Protocol):
    """What the core may ask of the stored log. Reading is from memory-mapped pages: no waiting, no side effect.

    Everything in it is durable. The newest entries, not yet durable, are kept by the core itself.
    """

    def first_index(self) -> Index:
        """The oldest index still held; last_index() + 1 where the log is empty."""

    def last_index(self) -> Index:
        """The newest durable index; 0 for a log that never held anything."""

    def term(self, index: Index) -> Term:
        """The term of a held entry, or of the one just before the first (0 for index 0)."""

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        """Entries first..last, both included, cut after `max_bytes` of data but never fewer than one."""

    def memberships(self) -> tuple[tuple[Index, bytes], ...]:
        """(index, data) of the entries of kind MEMBERSHIP, oldest first: those held, and before them the last one that
        was compacted. () where the log never had one."""


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """How one node takes part. All times in milliseconds of a clock that only goes forward.

    `priority` orders the zones: of two equally up-to-date nodes that call an election at the same moment, the one with
    the higher priority (then the lower id) goes first, the other gives way. `membership` is what a log without an entry
    of kind MEMBERSHIP begins with; a node that joins a running cluster begins with no voters at all.
    """

    node: NodeId
    membership: Membership
    election_timeout_ms: int = 300
    """The shortest: stickiness, leases and the first elections go by it."""
    election_timeout_most_ms: int = 0
    """How far it may grow with the measured round trips (pace.py); 0: it does not."""
    heartbeat_interval_ms: int = 50
    max_append_bytes: int = 1 << 20
    max_inflight_appends: int = 64
    max_inflight_bytes: int = 8 << 20
    max_apply_bytes: int = 4 << 20
    max_uncommitted_bytes: int = 64 << 20
    priority: dict[NodeId, int] = field(default_factory=dict)
    priority_patience_ms: int = 0
    """A leader hands over to a voter of higher priority that was level with it for so long; 0: never by itself."""
    max_waiting_reads: int = 10_000
    lease_reads: bool = False
    """Answer reads without asking the others while a lease holds (6.4.1). All nodes alike, or it is not safe."""
    clock_drift_permille: int = 10
    """The declared bound: no node's clock runs faster or slower than true time by more than so many thousandths."""
    pre_vote: bool = True
    check_quorum: bool = True
    commit_notice_ms: int = 0
    """How long news of a commit may wait for an Append to ride on. Who is known to wait for it is told at once."""
