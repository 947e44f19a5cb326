"""The switchboard's other half: what a message leads to, and how one role follows on another.

`Receiving` is `Raft` without its doors. It is read from top to bottom like core.py: one line for each message, and for
each the chapters that have to do with it, in order.

Leaves out: the driver's events and what a Ready has (core.py).
"""

from __future__ import annotations

from typing import assert_never

from replica.raft import election, membership, reads, rebuild, replication, roles, snapshots, transfer
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
from replica.raft.rebuild import Heard
from replica.raft.state import Candidate, Follower, Leader, PreCandidate, State
from replica.raft.types import NOBODY, Membership, NodeId
from replica.raft.view import View


class Receiving(View):
    """Everything between an event and what is found out of it."""

    _state: State

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

    def _stand(self, transferred: bool = False) -> None:
        """The election proper. Nothing is won before the own vote is durable, not even by a single voter."""
        if not election.may_campaign(self._state):
            # It asked while its removal was not committed, and has learned since that it is.
            self._demote("removed")
            return
        roles.become_candidate(self._state, transferred)
        self._ask(NOBODY)

    def _ask(self, only: NodeId) -> None:
        match self._state.role:
            case PreCandidate() as role:
                election.ask_pre_votes(self._state, role, only)
            case role:
                # Every caller has just looked, or has just made it so.
                assert isinstance(role, Candidate), f"a {self.role.value} asks for votes"
                election.ask_votes(self._state, role, only)

    def _lead(self) -> None:
        roles.become_leader(self._state)
        replication.begin_term(self._state)

    def _demote(self, why: str) -> None:
        """Lead no more, in the same term."""
        roles.become_follower(self._state, self._state.term, NOBODY, why)

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
                reads.give_up_old(state, self._follow(message.frm))
                replication.receive_heartbeat(state, message)
            case AppendReply() | HeartbeatReply():
                if isinstance(state.role, Leader) and message.frm in state.role.progress:
                    self._hear_follower(state.role, message)
            case Readmit():
                rebuild.obey(state, message)
            case TimeoutNow():
                if transfer.obeys(state, message):
                    self._stand(transferred=True)
            case ReadIndex():
                self._answer_read(message)
            case ReadIndexReply():
                if isinstance(state.role, Follower):
                    reads.take_answer(state, state.role, message)
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

    def _answer_read(self, question: ReadIndex) -> None:
        state = self._state
        if isinstance(state.role, Leader) and question.frm in state.role.progress:
            reads.ask(state, state.role, question.frm, question.context)
        else:
            state.send(ReadIndexReply(state.node, question.frm, state.term, question.context, 0, ok=False))

    def _follow(self, leader: NodeId) -> Follower:
        """A message that only the leader of this term can have sent."""
        state = self._state
        state.heard_leader_ms = state.now_ms
        assert not isinstance(state.role, Leader), f"nodes {state.node} and {leader} both lead term {state.term}"
        if isinstance(state.role, Follower) and state.role.leader == leader:
            state.role.heard_ms = state.now_ms
            state.role.election_deadline_ms = state.draw_election_deadline()
            state.attempts = 0
        else:
            known = state.leader
            assert known in (NOBODY, leader), f"nodes {known} and {leader} both lead term {state.term}"
            roles.become_follower(state, state.term, leader, "leader-heard")
        assert isinstance(state.role, Follower), f"{self.role} after hearing a leader"
        return state.role

    def _hear_follower(self, leader: Leader, reply: AppendReply | HeartbeatReply) -> None:
        """An answer in this term: does its sender count, what does it hold, what is committed, who is readmitted?"""
        state = self._state
        heard = rebuild.hear(leader, reply)
        if heard is not Heard.WHOLE:
            leader.quorum_until_ms = 0  # who counts may be another set
        match heard:
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
            case never:
                assert_never(never)
        progress = leader.progress[reply.frm]
        replication.note_silence(state, leader, progress)
        progress.heard_ms = state.now_ms
        if isinstance(reply, AppendReply):
            replication.receive_append_reply(state, leader, reply)
            snapshots.reached(state, leader, reply.frm)
        else:
            replication.receive_heartbeat_reply(state, leader, reply)
            reads.watch_clock(state, leader, reply.frm, progress, reply)
            reads.confirm(state, leader)
        self._advance_commit()

    def _advance_commit(self) -> None:
        """What a quorum holds has grown, perhaps: commit it, and see what that allows."""
        state, role = self._state, self._state.role
        assert isinstance(role, Leader), f"a {self.role.value} commits by counting"
        replication.commit_by_counting(state, role)
        replication.plan_notices(state, role)
        rebuild.readmit_ready(state, role)
        self._hand_over(role)
        self._change_membership(role)

    def _hand_over(self, leader: Leader) -> None:
        """Ask the heir to campaign once it has all there is. From then on it may, at any time: no lease is safe."""
        if transfer.go_on(self._state, leader):
            reads.end_leases(self._state, leader, "leadership was offered to another node")

    # ---- membership

    def _change_membership(self, leader: Leader) -> None:
        """Take the next step of a change that is under way; leave, where the change was our own removal."""
        state = self._state
        if state.membership.incoming:
            membership.measure_rounds(state, leader)
        step = membership.next_step(state, leader)
        if step is not None:
            self._append_membership(leader, step)
        if membership.is_removed(state):
            heir = transfer.best_target(state, leader)
            # It was committed this moment, by the answer of a voter that counts.
            assert heir != NOBODY, f"node {state.node} is removed at {state.commit_index} and no voter answers"
            self._demote("removed")
            transfer.send_timeout_now(state, heir)

    def _append_membership(self, leader: Leader, step: Membership) -> int:
        """One entry of a change; a leader that is the only voter commits it as soon as its own disk has it."""
        entry = replication.append_membership(self._state, step)
        membership.adopt(self._state, leader)
        leader.quorum_until_ms = 0
        return entry.index
