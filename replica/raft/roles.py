"""The one place that changes the role (figure 4 of the paper, with the pre-candidate of dissertation 9.6 put in).

    follower ──no leader for a timeout, or its process is lost──► pre-candidate
    pre-candidate ──a quorum would vote for it──► candidate      (without pre-vote: straight from follower)
    candidate ──a quorum's votes, its own durable──► leader
    candidate ──timeout──► pre-candidate again
    any ──higher term, or a leader of this term──► follower
    leader ──no quorum heard for a timeout──► follower

Each function makes the new role's type afresh and asserts what must hold afterwards. Who was promised an answer by the
role that ends (reads, a hand-over) gets it here: nobody waits for a role that is gone.

Leaves out: when to change (core.py) and what to say on the way (election.py).
"""

from __future__ import annotations

from replica.raft.progress import Progress
from replica.raft.ready import Refusal, Transferred
from replica.raft.state import ROLES, Candidate, Follower, Leader, PreCandidate, RoleState, State
from replica.raft.types import NOBODY, NodeId, Term


def become_follower(state: State, term: Term, leader: NodeId, why: str) -> None:
    """Follow `leader` in `term`, or wait for one (NOBODY). The term stays or rises; a risen one has no vote yet."""
    assert term >= state.term, f"follower of term {term} below {state.term}"
    if isinstance(state.role, Leader):
        state.note("stepped-down", term=state.term, why=why)
    before, left = state.term, state.role
    stays = term == before and leader == state.leader
    if term > before or leader != NOBODY:
        state.attempts = 0
    if term > before:
        state.promise(term=term, vote=NOBODY)
    known = isinstance(state.role, Follower) and (state.role.leader, term) == (leader, before)
    reads, asked = (state.role.reads, state.role.asked) if known and isinstance(state.role, Follower) else ([], {})
    if isinstance(left, Follower) and term > before and leader == NOBODY:
        deadline_ms = left.election_deadline_ms  # only a leader, or a vote given, puts an election off (figure 2)
    else:
        deadline_ms = state.draw_election_deadline()
    state.role = Follower(leader, state.now_ms, deadline_ms, reads, asked)
    if not stays:
        _let_go(state, left, deposed=term > before)
    if not known:
        state.note("became-follower", term=term, leader=leader, why=why)


def become_pre_candidate(state: State) -> None:
    """Ask before raising the term. Nothing durable changes."""
    _assert_electable(state)
    assert not isinstance(state.role, Leader), f"the leader of term {state.term} campaigns"
    left = state.role
    state.attempts += 1
    ask_again_ms = state.now_ms + state.config.heartbeat_interval_ms
    state.role = PreCandidate(state.draw_election_deadline(), ask_again_ms, granted={state.node})
    _let_go(state, left, deposed=False)
    state.note("became-pre-candidate", term=state.term)


def become_candidate(state: State, transfer: bool = False) -> None:
    """Figure 2, candidates: "increment currentTerm, vote for self, reset election timer". The vote is not durable."""
    _assert_electable(state)
    assert not isinstance(state.role, Leader), f"the leader of term {state.term} campaigns"
    left = state.role
    state.promise(term=state.term + 1, vote=state.node)
    state.attempts = 0
    ask_again_ms = state.now_ms + state.config.heartbeat_interval_ms
    state.role = Candidate(state.draw_election_deadline(), ask_again_ms, transfer=transfer)
    _let_go(state, left, deposed=False)
    state.note("became-candidate", term=state.term)


def become_leader(state: State) -> None:
    """Lead the term of the won election: nextIndex = last + 1, matchIndex = 0 for everyone (figure 2, leaders)."""
    assert isinstance(state.role, Candidate), f"leader out of a {ROLES[type(state.role)].value}"
    assert state.durable == state.hard, f"leader of {state.hard} while {state.durable} is on disk"
    assert state.hard.vote == state.node, f"leader with its vote given to {state.hard.vote}"
    next_index = state.log.last_index + 1
    state.role = Leader(
        progress={peer: Progress(next_index, heard_ms=state.now_ms) for peer in state.peers},
        heartbeat_deadline_ms=state.now_ms + state.config.heartbeat_interval_ms,
        first_index=next_index,
    )
    state.note("became-leader", term=state.term, last=state.log.last_index)


def _assert_electable(state: State) -> None:
    assert not state.hard.rebuilding, f"node {state.node} campaigns while rebuilding"
    assert state.memberships.may_elect(state.node, state.commit_index), f"node {state.node} campaigns without a vote"


def _let_go(state: State, left: RoleState, deposed: bool) -> None:
    """A role has ended, or its leader is another: answer who waits for it. None of it has happened, nor will.

    Asked once the new role stands, so that a refusal names who leads now.
    """
    match left:
        case Leader() as leader:
            for read in leader.reads:
                if read.frm == state.node:
                    state.refuse(read.token, Refusal.NOT_LEADER)
            if leader.transfer is not None:
                transfer = leader.transfer
                ok = transfer.asked and deposed
                why = "a newer term has begun" if ok else "this node does not lead any more"
                state.outbox.transfers.append(Transferred(transfer.token, transfer.to, ok, why))
        case Follower() as follower:
            for token in [*follower.reads, *(token for asked in follower.asked.values() for token in asked.tokens)]:
                state.refuse(token, Refusal.UNCONFIRMED)
        case _:
            pass
