"""The switchboard of the agreed log: one event in, then one Ready out.

`Raft.step` decides *which* chapter an event belongs to; the chapters (election, replication, membership, reads,
transfer, snapshots, rebuild) compute *what* follows. They never call each other: each returns what it found, and this
module and its other half, receiving.py, call the next. So the whole protocol can be read here at one level, and each
chapter of the dissertation in one file.

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

from replica.raft import election, membership, pace, reads, replication, roles, snapshots, transfer
from replica.raft.events import (
    ChangeRequested,
    Event,
    LearnerCompared,
    PeerFound,
    PeerLost,
    PeerWaits,
    Persisted,
    Propose,
    ReadRequested,
    Received,
    SnapshotArrived,
    SnapshotSent,
    Tick,
    TransferRequested,
)
from replica.raft.handout import Handout
from replica.raft.log import Log
from replica.raft.memberships import Memberships
from replica.raft.progress import NEVER_MS, Sign
from replica.raft.ready import Accepted, Ready, Refusal
from replica.raft.receiving import Receiving
from replica.raft.state import Candidate, Follower, Leader, PreCandidate, State
from replica.raft.types import NOBODY, HardState, Index, LogReader, Membership, NodeId, RaftConfig


class Raft(Receiving):
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
            memberships=Memberships(config.membership, log.memberships()),
            commit_index=applied_index,
            election_timeout_ms=config.election_timeout_ms,
            heard_leader_ms=now_ms,
        )
        self._state.draw_read_context()
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
            case Leader(transfer=transfer) as role:
                deadline_ms = role.heartbeat_deadline_ms
                for progress in role.progress.values():
                    # One that is due already is in the next Ready, whenever that is taken.
                    if progress.notice_ms is not None and self._state.now_ms < progress.notice_ms < deadline_ms:
                        deadline_ms = progress.notice_ms
                if transfer is not None:
                    deadline_ms = min(deadline_ms, transfer.deadline_ms)
                if self._state.config.check_quorum:
                    if not role.quorum_until_ms:
                        role.quorum_until_ms = election.quorum_deadline_ms(self._state, role)
                    deadline_ms = min(deadline_ms, role.quorum_until_ms)
                return deadline_ms
            case never:
                assert_never(never)

    # ---- events in

    def step(self, event: Event) -> None:
        """Take note of one event. Nothing leaves before `ready` is asked."""
        self._notice_oversleeping(event.now_ms)
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
            case PeerWaits(peer=peer):
                self._expect_commits(peer)
            case TransferRequested():
                self._transfer(event)
            case ReadRequested():
                self._read(event)
            case ChangeRequested():
                self._change(event)
            case LearnerCompared():
                self._compare(event)
            case SnapshotSent():
                if isinstance(self._state.role, Leader):
                    snapshots.transfer_ended(self._state, self._state.role, event)
            case SnapshotArrived():
                self._take_snapshot(event)
            case never:
                assert_never(never)

    def _notice_oversleeping(self, woken_ms: int) -> None:
        """This node was away for longer than it had asked for (pace.py): it does not know what it missed."""
        state = self._state
        if woken_ms - state.now_ms <= state.config.heartbeat_interval_ms:
            return
        late_ms = pace.overslept_ms(state.config, woken_ms, state.now_ms, self._role_deadline_ms())
        if not late_ms:
            return
        state.note("overslept", ms=late_ms)
        state.now_ms = woken_ms
        match state.role:
            case Leader() if late_ms >= state.election_timeout_ms and state.config.check_quorum:
                self._demote("overslept")
            case Follower() | PreCandidate() | Candidate() as role:
                interval_ms = state.config.heartbeat_interval_ms
                grace_ms = state.random.randrange(interval_ms, 2 * interval_ms)
                role.election_deadline_ms = max(role.election_deadline_ms, woken_ms + grace_ms)
            case _:
                pass

    def _step_down_without_quorum(self) -> None:
        """Check-quorum (6.2). Before *every* event: a leader that stood still for longer than an election timeout (a
        pause of its host) must notice that before it answers anybody.
        """
        state = self._state
        if not isinstance(state.role, Leader) or not state.config.check_quorum:
            return
        if election.lacks_quorum(state, state.role):
            self._demote("no-quorum")

    def _tick(self) -> None:
        state = self._state
        match state.role:
            case Leader() as role:
                transfer.give_up_late(state, role)
                if state.now_ms >= role.heartbeat_deadline_ms:
                    self._beat(role)
            case Follower(election_deadline_ms=deadline_ms):
                if state.now_ms >= deadline_ms:
                    self._campaign("timeout")
            case PreCandidate() | Candidate() as role:
                if state.now_ms >= role.election_deadline_ms:
                    self._campaign("timeout")
                elif state.now_ms >= role.ask_deadline_ms:
                    role.ask_deadline_ms = state.now_ms + state.config.heartbeat_interval_ms
                    self._ask(NOBODY)
            case never:
                assert_never(never)

    def _beat(self, leader: Leader) -> None:
        """A heartbeat is due, and with it whatever a leader looks at from time to time."""
        state = self._state
        state.election_timeout_ms = election.measured_timeout_ms(state, leader)
        leader.quorum_until_ms = 0
        leader.heartbeat_due = True
        leader.heartbeat_deadline_ms = state.now_ms + pace.heartbeat_interval_ms(
            state.config, state.election_timeout_ms
        )
        membership.end_farewells(state, leader)
        heir = transfer.preferred_target(state, leader)
        if heir != NOBODY:
            # It was found fit this moment, while no other hand-over was under way.
            begun = transfer.begin(state, leader, transfer.OWN_ACCORD, heir)
            assert begun, f"node {state.node} prefers node {heir} and may not hand over to it: {leader.transfer}"
            self._hand_over(leader)
        self._change_membership(leader)

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
                # With leases this node's promise to that leader stands, whatever became of the connection.
                if not state.config.lease_reads:
                    self._campaign("leader-lost")
            case Leader(progress=progress) as role if peer in progress:
                progress[peer].sees(Sign.LOST)
                progress[peer].probe_sent_ms = state.now_ms
                progress[peer].heard_ms = NEVER_MS
                role.quorum_until_ms = 0
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

    def _expect_commits(self, peer: NodeId) -> None:
        """What a follower has waiting for commits is the leader's to know, and nobody else's."""
        state = self._state
        if isinstance(state.role, Leader) and peer in state.role.progress:
            replication.expect_commits(state, state.role, peer)

    # ---- what a driver asks for

    def _transfer(self, event: TransferRequested) -> None:
        state = self._state
        if not isinstance(state.role, Leader):
            state.refuse(event.token, Refusal.NOT_LEADER)
        elif transfer.begin(state, state.role, event.token, event.to):
            self._hand_over(state.role)

    def _read(self, event: ReadRequested) -> None:
        state = self._state
        match state.role:
            case Leader() as role:
                reads.ask(state, role, state.node, event.token)
            case Follower() as role:
                reads.ask_leader(state, role, event.token)
            case _:
                state.refuse(event.token, Refusal.NOT_LEADER)

    def _change(self, event: ChangeRequested) -> None:
        state = self._state
        if not isinstance(state.role, Leader):
            state.refuse(event.token, Refusal.NOT_LEADER)
            return
        match membership.plan(state, state.role, event.target):
            case Membership() as step:
                index = self._append_membership(state.role, step)
                state.outbox.accepted.append(Accepted(event.token, index, state.term))
            case refusal:
                state.refuse(event.token, *refusal)

    def _compare(self, event: LearnerCompared) -> None:
        state = self._state
        if isinstance(state.role, Leader) and event.peer in state.role.progress:
            membership.compared(state, state.role, event)
            self._change_membership(state.role)

    def _take_snapshot(self, event: SnapshotArrived) -> None:
        """A snapshot is whole: install it, or refuse it and change nothing."""
        state = self._state
        if wrong := snapshots.check_membership(event):
            state.refuse(event.token, Refusal.INVALID, wrong)
        elif snapshots.is_useful(state, event):
            assert not (isinstance(state.role, Leader) and event.term <= state.term), (
                f"the leader of term {state.term} lacks the committed entry {event.index} of term {event.term}"
            )
            if event.term > state.term or not isinstance(state.role, Follower):
                roles.become_follower(state, max(state.term, event.term), NOBODY, "snapshot")
            snapshots.install(state, event)

    # ---- one Ready out

    def has_ready(self) -> bool:
        """Whether `ready` would have anything in it. Cheap enough to ask after every turn."""
        state = self._state
        match state.role:
            case Leader() as role:
                due = replication.has_due(state, role)
            case Follower(reads=reads_waiting):
                due = bool(reads_waiting)
            case _:
                due = False
        return due or self._handout.has_news(state)

    def ready(self) -> Ready:
        """All that the events since the last Ready ask for. Every one must be carried out, in the order of numbers."""
        state = self._state
        match state.role:
            case Leader(heartbeat_due=due) as role:
                replication.send_due(state, role)
                if due:
                    reads.begin_round(role, role.rounds.latest)
            case Follower() as role:
                reads.send_questions(state, role)
            case _:
                pass
        return self._handout.take(state)
