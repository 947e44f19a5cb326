"""What one node of the log is, between two events: figure 2's state, and one type for each role.

`State` belongs to the core and is handed to each chapter in turn. What only a leader has lives in `Leader`, and so on:
it comes into being with the role and is gone with it, so that no forgotten reset can carry anything from one term into
another. Who changes the role is `roles.py` alone.

The rule for sending is here, in one place (`State.send`), because it is the rule most easily broken: a promise never
leaves before the disk has it.

Leaves out: every decision.
"""

from __future__ import annotations

import random as dice
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from replica.raft import pace
from replica.raft.log import Log
from replica.raft.memberships import Memberships
from replica.raft.messages import AppendReply, Message, RequestVote, RequestVoteReply
from replica.raft.notes import Note
from replica.raft.progress import Progress
from replica.raft.quorum import voters
from replica.raft.ready import Accepted, Install, ReadConfirmed, Refusal, Refused, SnapshotWanted, Transferred
from replica.raft.types import NOBODY, HardState, Index, Membership, NodeId, RaftConfig, Role, Term

NOT_SENT = -1
"""No round of heartbeats."""


@dataclass(slots=True)
class Asked:
    """Reads a follower has asked its leader about in one message."""

    tokens: tuple[int, ...]
    sent_ms: int


@dataclass(slots=True)
class Follower:
    leader: NodeId
    """Whom it follows in this term, NOBODY where it has not heard."""
    heard_ms: int
    """When the leader was last heard; without meaning where there is none."""
    election_deadline_ms: int
    reads: list[int] = field(default_factory=list)
    """Tokens of reads that the leader has not been asked about."""
    asked: dict[int, Asked] = field(default_factory=dict)
    """And those it has, by the context of the question."""


@dataclass(slots=True)
class PreCandidate:
    election_deadline_ms: int
    ask_deadline_ms: int
    """When to ask those again who have not said yes."""
    granted: set[NodeId] = field(default_factory=set)


@dataclass(slots=True)
class Candidate:
    election_deadline_ms: int
    ask_deadline_ms: int
    answered: set[NodeId] = field(default_factory=set)
    granted: set[NodeId] = field(default_factory=set)
    """Its own vote is in here only once it is durable."""
    transfer: bool = False
    """The leader asked for this election (3.10)."""


@dataclass(slots=True)
class Readmission:
    """A follower that lost its store, on its way back (rebuild.py)."""

    life: int
    """Which start of it was heard."""
    index: Index
    """An entry of this leader's term appended after that start was heard."""
    round: int
    """The heartbeat round that was the latest then."""
    sent_round: int = NOT_SENT
    """The round that was the latest when Readmit was sent."""


@dataclass(slots=True)
class WaitingRead:
    """A read at the leader, its own or a follower's (reads.py)."""

    frm: NodeId
    """Who asked; the leader itself for its own driver."""
    token: int
    """The driver's token, or the context of the follower's question."""
    index: Index
    """What was committed when it was asked."""
    round: int = 0
    """The first round of heartbeats begun since; 0 while none was."""


@dataclass(slots=True)
class Transfer:
    """A hand-over under way (transfer.py)."""

    token: int
    to: NodeId
    deadline_ms: int
    asked: bool = False
    """TimeoutNow has left."""


@dataclass(slots=True)
class Leader:
    progress: dict[NodeId, Progress]
    """By follower, in the order of their ids; those that a change has removed, until they know of it."""
    heartbeat_deadline_ms: int
    first_index: Index = 0
    """The no-op this term begins with. Until it is committed the leader does not know what is."""
    heartbeat_due: bool = False
    """To be sent with the next Ready. Not at first: the Append with the no-op tells everyone who leads."""
    rounds: pace.Rounds = field(default_factory=pace.Rounds)
    """Of heartbeats; they carry its number as `context`."""
    uncommitted: deque[tuple[Index, int]] = field(default_factory=deque)
    """Index and bytes of this term's proposals that are not committed."""
    uncommitted_bytes: int = 0
    readmissions: dict[NodeId, Readmission] = field(default_factory=dict)
    reads: deque[WaitingRead] = field(default_factory=deque)
    """In the order in which they were asked."""
    transfer: Transfer | None = None
    lease_off: str = ""
    """Why this term gives no leases any more; empty while it may."""
    preferred: tuple[NodeId, int] = (NOBODY, 0)
    """A voter of higher priority that is level with us, and since when."""
    quorum_until_ms: int = 0
    """No earlier than this a quorum can be missing: what was found when it was last counted. 0: count again."""
    farewells: dict[NodeId, int] = field(default_factory=dict)
    """Nodes that were removed and may not know, with the time until which they are told."""


RoleState: TypeAlias = Follower | PreCandidate | Candidate | Leader

ROLES: dict[type[RoleState], Role] = {
    Follower: Role.FOLLOWER,
    PreCandidate: Role.PRE_CANDIDATE,
    Candidate: Role.CANDIDATE,
    Leader: Role.LEADER,
}


@dataclass(slots=True)
class Outbox:
    """What has been found since the last Ready was taken."""

    send_now: list[Message] = field(default_factory=list)
    send_saved: list[Message] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    reads: list[ReadConfirmed] = field(default_factory=list)
    transfers: list[Transferred] = field(default_factory=list)
    snapshots: list[SnapshotWanted] = field(default_factory=list)
    install: Install | None = None
    notes: list[Note] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.send_now
            or self.send_saved
            or self.accepted
            or self.refused
            or self.notes
            or self.reads
            or self.transfers
            or self.snapshots
            or self.install
        )


@dataclass(slots=True)
class State:
    config: RaftConfig
    random: dice.Random
    now_ms: int
    hard: HardState
    """Term, vote and rebuilding as they are decided: perhaps not durable yet."""
    durable: HardState
    """The same as it is surely on disk."""
    log: Log
    role: RoleState
    """Changed by roles.py only."""
    memberships: Memberships
    commit_index: Index
    """Only rises. Everything up to here is decided for ever."""
    attempts: int = 0
    """How often this node has begun a pre-vote since it last heard a leader or saw a new term."""
    judged: dict[NodeId, tuple[Term, str]] = field(default_factory=dict)
    """What was last said to each who asked for a pre-vote. They ask again and again; the note is taken once."""
    life: int = 0
    """Which start of a node that lost its store this is; 0 for a node that did not."""
    election_timeout_ms: int = 0
    """The present one, between the configured bounds (pace.py)."""
    heard_leader_ms: int = 0
    """When any leader was last heard, whatever has been learned since; at first, when this node started. With leases a
    vote is refused for an election timeout after that."""
    read_context: int = 0
    """The latest number given to a question to a leader. It begins anywhere: an answer to an earlier life of this node
    must fit none of this one's questions."""
    outbox: Outbox = field(default_factory=Outbox)

    @property
    def node(self) -> NodeId:
        return self.config.node

    @property
    def term(self) -> Term:
        return self.hard.term

    @property
    def membership(self) -> Membership:
        """The latest in the log, committed or not (4.1)."""
        return self.memberships.latest

    @property
    def leader(self) -> NodeId:
        """Who leads this term as far as this node knows, NOBODY where it does not."""
        match self.role:
            case Follower(leader=leader):
                return leader
            case Leader():
                return self.node
            case _:
                return NOBODY

    @property
    def peers(self) -> tuple[NodeId, ...]:
        """Everyone else who gets the log, by id."""
        everyone = self.membership.voters | self.membership.outgoing | self.membership.learners
        return tuple(sorted(everyone - {self.node}))

    @property
    def other_voters(self) -> tuple[NodeId, ...]:
        return tuple(voter for voter in voters(self.membership) if voter != self.node)

    def promise(self, **changes: int | bool) -> None:
        """Change term, vote or rebuilding. The next Ready saves it; what follows from it waits for that."""
        before, self.hard = self.hard, replace(self.hard, **changes)  # type: ignore[arg-type]  # mypy sees one union
        assert self.hard.term >= before.term, f"term fell from {before.term} to {self.hard.term}"
        if self.hard.term == before.term and before.vote != NOBODY:
            # A node that is rebuilding has not voted (rebuild.py), so this holds for its readmission too.
            assert self.hard.vote == before.vote, f"vote of term {self.term} changed: {before.vote} to {self.hard.vote}"

    def send(self, message: Message) -> None:
        """Queue a message for the right moment.

        A vote, the wish for one and an acknowledgement are promises: they leave after this Ready is saved. The rest may
        leave at once, but only while what it says of the sender is durable: a term, or the end of rebuilding, that a
        crash could take back must not be seen by anyone. (A leader's term always is: it was elected by the durable vote
        it gave itself.)
        """
        promises = isinstance(message, RequestVote | RequestVoteReply | AppendReply)
        known = (self.durable.term, self.durable.rebuilding) == (self.hard.term, self.hard.rebuilding)
        if known and not promises:
            self.outbox.send_now.append(message)
        elif isinstance(message, AppendReply):
            self._send_acknowledgement(message)
        else:
            self.outbox.send_saved.append(message)

    def _send_acknowledgement(self, reply: AppendReply) -> None:
        """Many Appends in one turn are acknowledged by one message: all that counts is the greatest match."""
        queue = self.outbox.send_saved
        last = queue[-1] if queue else None
        if isinstance(last, AppendReply) and last.ok and reply.ok and (last.to, last.term) == (reply.to, reply.term):
            queue[-1] = replace(reply, match_index=max(last.match_index, reply.match_index))
        else:
            queue.append(reply)

    def refuse(self, token: int, reason: Refusal, detail: str = "") -> None:
        self.outbox.refused.append(Refused(token, reason, self.leader, detail))

    def priority(self, node: NodeId) -> int:
        """Of a node's zone: what the membership says, else the configuration."""
        return dict(self.membership.priority).get(node, self.config.priority.get(node, 0))

    def draw_read_context(self) -> None:
        """Where the numbers of this life's questions begin."""
        self.read_context = self.random.getrandbits(61)

    def note(self, what: str, **facts: int | str) -> None:
        self.outbox.notes.append(Note(what, tuple(facts.items())))

    def draw_election_deadline(self) -> int:
        """When to stop waiting: "election timeouts are chosen randomly from a fixed interval" (5.2), here [T, 2T)."""
        timeout = self.election_timeout_ms
        return self.now_ms + self.random.randrange(timeout, 2 * timeout)

    def draw_life(self) -> None:
        """A number for this start of a rebuilding node, never 0 and never the same twice."""
        self.life = 1 + self.random.getrandbits(62)

    def commit_to(self, index: Index) -> bool:
        """Everything up to `index` is committed; whether that is news."""
        assert index <= self.log.last_index, f"commit {index} of a log that ends at {self.log.last_index}"
        if index <= self.commit_index:
            return False
        self.commit_index = index
        return True
