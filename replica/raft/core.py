"""The switchboard of the agreed log: one event in, then one Ready out.

`Raft.step` decides *which* chapter an event belongs to; the chapters (election, replication, rebuild, and the places
kept for membership, reads, transfer, snapshots) compute *what* follows. They never call each other: each returns what
it found and this module calls the next. So the whole protocol can be read here at one level, and each chapter of the
dissertation in one file.

The driver's side of it (see ready.py for the order in which a Ready is carried out):

    for event in inbox: raft.step(event)
    if raft.has_ready(): ready = raft.ready(); ...; raft.step(Persisted(now_ms, ready.number))
    sleep until raft.deadline_ms, then raft.step(Tick(now_ms))

Nothing here looks at a clock or rolls dice of its own: `now_ms` comes with each event, the random source at the start.
Asserts are part of the core and stay on. One that fails means that a promise of the protocol, of the store or of the
driver is broken, and the node must stop.

Leaves out: what an entry means, who is at which address, and everything that waits.
"""

from __future__ import annotations

import random as dice
from typing import assert_never

from replica.raft import election, membership, reads, rebuild, replication, roles, snapshots, transfer
from replica.raft.events import (
    ChangeRequested,
    Event,
    PeerFound,
    PeerLost,
    Persisted,
    Propose,
    ReadRequested,
    Received,
    SnapshotSent,
    Tick,
    TransferRequested,
)
from replica.raft.handout import Handout
from replica.raft.log import Log
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    Readmit,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.progress import NEVER_MS, Sign
from replica.raft.ready import Ready, Refusal
from replica.raft.rebuild import Heard
from replica.raft.state import Candidate, Follower, Leader, PreCandidate, State
from replica.raft.types import NOBODY, HardState, Index, LogReader, NodeId, RaftConfig
from replica.raft.view import View


class Raft(View):
    """One node's part in the agreed log, from a start of its process to the next.

    `hard_state` and `log` are what the store has; a node that never ran has `HardState()` and an empty log. A node that
    *lost* its store has `HardState(rebuilding=True)` (rebuild.py). `applied_index` is up to where the state machine has
    applied: `committed` begins after it. `random` must differ between nodes and between starts of one node.
    """

    def __init__(
        self,
        config: RaftConfig,
        hard_state: HardState,
        log: LogReader,
        applied_index: Index,
        random: dice.Random,
        now_ms: int,
    ) -> None:
        tail = Log(log)
        first, last = tail.first_index, tail.last_index
        assert first - 1 <= applied_index <= last, f"applied {applied_index} of a log from {first} to {last}"
        assert tail.last_term <= hard_state.term, f"log of term {tail.last_term}, hard state of term {hard_state.term}"
        waiting = Follower(NOBODY, heard_ms=now_ms, election_deadline_ms=now_ms)
        self._state = State(
            config=config,
            random=random,
            now_ms=now_ms,
            hard=hard_state,
            durable=hard_state,
            log=tail,
            role=waiting,
            membership=config.membership,
            commit_index=applied_index,
        )
        if hard_state.rebuilding:
            self._state.draw_life()
        waiting.election_deadline_ms = self._state.draw_election_deadline()
        self._handout = Handout(saved=hard_state, given_index=applied_index)

    @property
    def deadline_ms(self) -> int:
        """When to step a `Tick` at the latest; never before the latest event, which may mean: at once."""
        return max(self._state.now_ms, self._role_deadline_ms())

    def _role_deadline_ms(self) -> int:
        match self._state.role:
            case Follower() as role:
                return role.election_deadline_ms
            case PreCandidate() | Candidate() as role:
                return min(role.election_deadline_ms, role.ask_deadline_ms)
            case Leader() as role if self._state.config.check_quorum:
                return min(role.heartbeat_deadline_ms, election.quorum_deadline_ms(self._state, role))
            case Leader() as role:
                return role.heartbeat_deadline_ms
            case never:
                assert_never(never)

    # ---- events in

    def step(self, event: Event) -> None:
        """Take note of one event. Nothing leaves before `ready` is asked."""
        self._state.now_ms = max(self._state.now_ms, event.now_ms)
        self._step_down_without_quorum()
        match event:
            case Tick():
                self._tick()
            case Received(message=message):
                self._receive(message)
            case Propose():
                self._propose(event)
            case Persisted(ready=number):
                self._persist(number)
            case PeerLost(peer=peer):
                self._lose_peer(peer)
            case PeerFound(peer=peer):
                self._find_peer(peer)
            case TransferRequested():
                transfer.request(self._state, event)
            case ReadRequested():
                reads.request(self._state, event)
            case ChangeRequested():
                membership.request(self._state, event)
            case SnapshotSent():
                if isinstance(self._state.role, Leader):
                    snapshots.transfer_ended(self._state, self._state.role, event)
            case never:
                assert_never(never)

    def _step_down_without_quorum(self) -> None:
        """Check-quorum (6.2). Before *every* event: a leader that stood still for longer than an election timeout (a
        pause of its host) must notice that before it answers anybody.
        """
        state = self._state
        if not isinstance(state.role, Leader) or not state.config.check_quorum:
            return
        if state.now_ms >= election.quorum_deadline_ms(state, state.role):
            roles.become_follower(state, state.term, NOBODY, "no-quorum")

    def _tick(self) -> None:
        state = self._state
        match state.role:
            case Leader() as role:
                if state.now_ms >= role.heartbeat_deadline_ms:
                    role.heartbeat_due = True
                    role.heartbeat_deadline_ms = state.now_ms + state.config.heartbeat_interval_ms
            case Follower(election_deadline_ms=deadline_ms):
                if state.now_ms >= deadline_ms:
                    self._campaign("timeout")
            case PreCandidate() | Candidate() as role:
                if state.now_ms >= role.election_deadline_ms:
                    self._campaign("timeout")
                elif state.now_ms >= role.ask_deadline_ms:
                    role.ask_deadline_ms = state.now_ms + state.config.heartbeat_interval_ms
                    self._ask(NOBODY)

    def _propose(self, event: Propose) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            replication.propose(state, state.role, event.token, event.data)
        else:
            state.refuse(event.token, Refusal.NOT_LEADER)

    def _persist(self, number: int) -> None:
        """Something is durable: a leader counts itself further, a candidate its own vote."""
        state = self._state
        state.durable = self._handout.persisted(number) or state.durable
        grown = state.log.persisted(number)
        match state.role:
            case Leader() if grown:
                self._advance_commit()
            case Candidate() as role if election.count_own_vote(state, role):
                self._lead()
            case _:
                pass

    def _lose_peer(self, peer: NodeId) -> None:
        """The kernel says a process is gone. Its leader's followers do not wait for silence to tell them."""
        state = self._state
        match state.role:
            case Follower(leader=leader) if leader == peer and peer != NOBODY:
                self._campaign("leader-lost")
            case Leader(progress=progress) if peer in progress:
                progress[peer].sees(Sign.LOST)
                progress[peer].probe_sent_ms = state.now_ms
                progress[peer].heard_ms = NEVER_MS
            case _:
                pass

    def _find_peer(self, peer: NodeId) -> None:
        """A connection stands again, and what was on the way is lost: say at once what would be said later."""
        match self._state.role:
            case Leader(progress=progress) if peer in progress:
                progress[peer].sees(Sign.LOST)
            case PreCandidate() | Candidate():
                self._ask(peer)
            case _:
                pass

    # ---- elections

    def _campaign(self, why: str) -> None:
        """Without a leader: ask to become one, or wait on, if this node may not."""
        state = self._state
        if not election.may_campaign(state):
            roles.become_follower(state, state.term, NOBODY, why)
        elif state.config.pre_vote:
            roles.become_pre_candidate(state)
            self._ask(NOBODY)
            assert isinstance(state.role, PreCandidate), f"{self.role} after asking"
            if election.would_win(state, state.role):
                self._stand()
        else:
            self._stand()

    def _stand(self) -> None:
        """The election proper. Nothing is won before the own vote is durable, not even by a single voter."""
        roles.become_candidate(self._state)
        self._ask(NOBODY)

    def _ask(self, only: NodeId) -> None:
        match self._state.role:
            case PreCandidate() as role:
                election.ask_pre_votes(self._state, role, only)
            case Candidate() as role:
                election.ask_votes(self._state, role, only)
            case _:
                pass

    def _lead(self) -> None:
        """Leaders "commit a blank no-op entry into the log at the start of" their term (6.4)."""
        roles.become_leader(self._state)
        replication.append_noop(self._state)

    # ---- messages

    def _receive(self, message: Message) -> None:
        state = self._state
        if message.to != state.node or message.frm == state.node:
            state.note("misaddressed", frm=message.frm, to=message.to)
            return
        if not self._is_of_this_term(message):
            return
        match message:
            case PreVote():
                self._answer_pre_vote(message)
            case PreVoteReply():
                if isinstance(state.role, PreCandidate) and election.count_pre_vote(state, state.role, message):
                    self._stand()
            case RequestVote():
                self._answer_vote(message)
            case RequestVoteReply():
                if isinstance(state.role, Candidate) and election.count_vote(state, state.role, message):
                    self._lead()
            case Append():
                self._follow(message.frm)
                replication.receive_append(state, message)
            case Heartbeat():
                self._follow(message.frm)
                replication.receive_heartbeat(state, message)
            case AppendReply() | HeartbeatReply():
                if isinstance(state.role, Leader) and message.frm in state.role.progress:
                    self._hear_follower(state.role, message)
            case Readmit():
                rebuild.obey(state, message)
            case TimeoutNow():
                transfer.receive(state, message)
            case never:
                assert_never(never)

    def _is_of_this_term(self, message: Message) -> bool:
        """Bring the terms together before anything else: whether the message is still to be handled.

        "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower" (figure 2).
        A pre-vote's term is one nobody is in yet, so neither the question nor a yes to it is adopted (9.6).
        """
        state = self._state
        match message:
            case PreVote() | PreVoteReply(granted=True):
                return True
            case RequestVote(transfer=False) if message.term > state.term and election.hears_leader(state, message):
                state.note("vote-refused", term=message.term, to=message.frm, why="leader-heard")
                return False
        if message.term < state.term:
            self._answer_old(message)
            return False
        if message.term > state.term:
            leader = message.frm if isinstance(message, Append | Heartbeat) else NOBODY
            roles.become_follower(state, message.term, leader, "higher-term")
        return True

    def _answer_old(self, message: Message) -> None:
        """Refuse a request of an older term in this one, so that its sender learns of it; an old answer is nothing."""
        match message:
            case RequestVote():
                self._state.send(RequestVoteReply(self._state.node, message.frm, self._state.term, granted=False))
            case Append():
                replication.answer_old_append(self._state, message)
            case Heartbeat():
                replication.answer_heartbeat(self._state, message)
            case _:
                pass

    def _answer_pre_vote(self, ask: PreVote) -> None:
        state = self._state
        judgement = election.answer_pre_vote(state, ask)
        if judgement.give_way:
            roles.become_follower(state, state.term, NOBODY, "gives-way")
        elif judgement.ask_back:
            self._ask(ask.frm)

    def _answer_vote(self, ask: RequestVote) -> None:
        """A vote given puts the own wish to be elected off: "without … granting vote to candidate" (figure 2)."""
        state = self._state
        if not election.answer_vote(state, ask).granted:
            return
        if isinstance(state.role, Follower):
            state.role.election_deadline_ms = state.draw_election_deadline()
        else:
            roles.become_follower(state, state.term, NOBODY, "vote-granted")

    def _follow(self, leader: NodeId) -> None:
        """A message that only the leader of this term can have sent."""
        state = self._state
        assert not isinstance(state.role, Leader), f"nodes {state.node} and {leader} both lead term {state.term}"
        if isinstance(state.role, Follower) and state.role.leader == leader:
            state.role.heard_ms = state.now_ms
            state.role.election_deadline_ms = state.draw_election_deadline()
            state.attempts = 0
        else:
            known = state.leader
            assert known in (NOBODY, leader), f"nodes {known} and {leader} both lead term {state.term}"
            roles.become_follower(state, state.term, leader, "leader-heard")

    def _hear_follower(self, leader: Leader, reply: AppendReply | HeartbeatReply) -> None:
        """An answer in this term: does its sender count, what does it hold, what is committed, who is readmitted?"""
        state = self._state
        match rebuild.hear(leader, reply):
            case Heard.LOST:
                index = replication.append_noop(state)
                rebuild.begin(state, leader, reply.frm, reply.life, index)
                return
            case Heard.DOUBTFUL:
                return
            case Heard.READMITTED:
                rebuild.end(state, leader, reply.frm)
            case Heard.REBUILDING:
                rebuild.go_on(leader, reply)
            case Heard.WHOLE:
                pass
        leader.progress[reply.frm].heard_ms = state.now_ms
        if isinstance(reply, AppendReply):
            replication.receive_append_reply(state, leader, reply)
        else:
            replication.receive_heartbeat_reply(state, leader, reply)
        self._advance_commit()

    def _advance_commit(self) -> None:
        role = self._state.role
        assert isinstance(role, Leader), f"a {self.role.value} commits by counting"
        replication.commit_by_counting(self._state, role)
        rebuild.readmit_ready(self._state, role)

    # ---- one Ready out

    def has_ready(self) -> bool:
        """Whether `ready` would have anything in it. Cheap enough to ask after every turn."""
        state = self._state
        due = isinstance(state.role, Leader) and replication.has_due(state, state.role)
        return due or self._handout.has_news(state)

    def ready(self) -> Ready:
        """All that the events since the last Ready ask for. Every one must be carried out, in the order of numbers."""
        state = self._state
        if isinstance(state.role, Leader):
            replication.send_due(state, state.role)
        return self._handout.take(state)
