"""The one place that changes the role (figure 4 of the paper, with the pre-candidate of dissertation 9.6 put in).

`MOVES` is the whole of it: from which role, why, into which. A move that is not in the table stops the node. Read it
first; docs/raft.md draws it.

Each function makes the new role's type afresh and asserts what must hold afterwards. Who was promised an answer by the
role that ends (reads, a hand-over) gets it here: nobody waits for a role that is gone.

Leaves out: when to change (core.py) and what to say on the way (election.py).
"""

from __future__ import annotations

from replica.raft.progress import Progress
from replica.raft.ready import Refusal, Transferred
from replica.raft.state import ROLES, Candidate, Follower, Leader, PreCandidate, RoleState, State
from replica.raft.types import NOBODY, NodeId, Role, Term

MOVES: dict[tuple[Role, str], Role] = {
    (Role.FOLLOWER, "campaigns"): Role.PRE_CANDIDATE,
    (Role.FOLLOWER, "stands"): Role.CANDIDATE,
    (Role.FOLLOWER, "higher-term"): Role.FOLLOWER,
    (Role.FOLLOWER, "leader-heard"): Role.FOLLOWER,
    (Role.FOLLOWER, "timeout"): Role.FOLLOWER,
    (Role.FOLLOWER, "leader-lost"): Role.FOLLOWER,
    (Role.FOLLOWER, "snapshot"): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, "campaigns"): Role.PRE_CANDIDATE,
    (Role.PRE_CANDIDATE, "stands"): Role.CANDIDATE,
    (Role.PRE_CANDIDATE, "higher-term"): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, "leader-heard"): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, "gives-way"): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, "vote-granted"): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, "snapshot"): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, "timeout"): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, "removed"): Role.FOLLOWER,
    (Role.CANDIDATE, "campaigns"): Role.PRE_CANDIDATE,
    (Role.CANDIDATE, "stands"): Role.CANDIDATE,
    (Role.CANDIDATE, "elected"): Role.LEADER,
    (Role.CANDIDATE, "higher-term"): Role.FOLLOWER,
    (Role.CANDIDATE, "leader-heard"): Role.FOLLOWER,
    (Role.CANDIDATE, "snapshot"): Role.FOLLOWER,
    (Role.CANDIDATE, "timeout"): Role.FOLLOWER,
    (Role.LEADER, "higher-term"): Role.FOLLOWER,
    (Role.LEADER, "no-quorum"): Role.FOLLOWER,
    (Role.LEADER, "overslept"): Role.FOLLOWER,
    (Role.LEADER, "removed"): Role.FOLLOWER,
    (Role.LEADER, "snapshot"): Role.FOLLOWER,
}
"""`timeout` and `leader-lost` end in a follower where the node may not campaign; `stands` is the election proper: after
the pre-vote, without one where that is off, or because the leader asked for it (3.10)."""


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
    waiting = left if isinstance(left, Follower) and stays else Follower(leader, state.now_ms, 0)
    known = waiting is left
    if isinstance(left, Follower) and term > before and leader == NOBODY:
        deadline_ms = left.election_deadline_ms  # only a leader, or a vote given, puts an election off (figure 2)
    else:
        deadline_ms = state.draw_election_deadline()
    _move(state, why, Follower(leader, state.now_ms, deadline_ms, waiting.reads, waiting.asked))
    if not stays:
        _let_go(state, left, deposed=term > before)
    if not known:
        state.note("became-follower", term=term, leader=leader, why=why)


def become_pre_candidate(state: State) -> None:
    """Ask before raising the term. Nothing durable changes."""
    _assert_electable(state)
    left = state.role
    state.attempts += 1
    ask_again_ms = state.now_ms + state.config.heartbeat_interval_ms
    _move(state, "campaigns", PreCandidate(state.draw_election_deadline(), ask_again_ms, granted={state.node}))
    _let_go(state, left, deposed=False)
    state.note("became-pre-candidate", term=state.term)


def become_candidate(state: State, transfer: bool = False) -> None:
    """Figure 2, candidates: "increment currentTerm, vote for self, reset election timer". The vote is not durable."""
    _assert_electable(state)
    left = state.role
    state.promise(term=state.term + 1, vote=state.node)
    state.attempts = 0
    ask_again_ms = state.now_ms + state.config.heartbeat_interval_ms
    _move(state, "stands", Candidate(state.draw_election_deadline(), ask_again_ms, transfer=transfer))
    _let_go(state, left, deposed=False)
    state.note("became-candidate", term=state.term)


def become_leader(state: State) -> None:
    """Lead the term of the won election: nextIndex = last + 1, matchIndex = 0 for everyone (figure 2, leaders)."""
    assert state.durable == state.hard, f"leader of {state.hard} while {state.durable} is on disk"
    assert state.hard.vote == state.node, f"leader with its vote given to {state.hard.vote}"
    next_index = state.log.last_index + 1
    leader = Leader(
        progress={peer: Progress(next_index, heard_ms=state.now_ms) for peer in state.peers},
        heartbeat_deadline_ms=state.now_ms + state.config.heartbeat_interval_ms,
        first_index=next_index,
    )
    _move(state, "elected", leader)
    state.note("became-leader", term=state.term, last=state.log.last_index)


def _move(state: State, why: str, role: RoleState) -> None:
    """The only assignment of a role after a start."""
    before, after = ROLES[type(state.role)], ROLES[type(role)]
    assert MOVES.get((before, why)) is after, f"node {state.node}: no way from {before.value} to {after.value} by {why}"
    state.role = role


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
