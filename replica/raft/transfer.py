"""Leadership transfer: dissertation 3.10.

"1. The prior leader stops accepting new client requests. 2. The prior leader fully updates the target server's log to
match its own. 3. The prior leader sends a TimeoutNow request to the target server", which then campaigns at once,
without a pre-vote, and with a mark that lets its request pass stickiness. If nobody else leads within an election
timeout, the prior leader takes requests again: the hand-over has failed and nothing else has.

No write fails by it: what was proposed before is in the log that the target has whole before it campaigns, and what
comes meanwhile is refused here as surely not done (`TRANSFERRING`), so that the driver keeps it for who leads next.

Asked for by an operator, by a driver that is about to stop or whose disk stalls (`to` NOBODY: to the best placed), and
by the core itself, when a voter whose zone is preferred has been level with the leader for long enough.

Leaves out: a target that is not a voter; it would have nothing to campaign with.
"""

from __future__ import annotations

from replica.raft import pace
from replica.raft.messages import TimeoutNow
from replica.raft.progress import Phase
from replica.raft.quorum import voters
from replica.raft.ready import Refusal, Transferred
from replica.raft.state import Follower, Leader, State, Transfer
from replica.raft.types import NOBODY, NodeId

OWN_ACCORD = 0
"""The token of a hand-over nobody asked for. No driver's token: those count from 1."""


def begin(state: State, leader: Leader, token: int, to: NodeId) -> bool:
    """Begin to hand over; refuse it where that cannot work. Whether it has begun."""
    if leader.transfer is not None:
        state.refuse(token, Refusal.TRANSFERRING, f"to node {leader.transfer.to}")
        return False
    target = best_target(state, leader) if to == NOBODY else to
    why = _unfit(state, leader, target)
    if why:
        state.refuse(token, Refusal.NO_TARGET, why)
        return False
    leader.transfer = Transfer(token, target, state.now_ms + state.election_timeout_ms)
    state.note("transfer-begun", to=target, match=leader.progress[target].match_index, last=state.log.last_index)
    return True


def _unfit(state: State, leader: Leader, target: NodeId) -> str:
    """Why `target` cannot lead next; empty where it can."""
    if target == NOBODY:
        return "no other voter answers"
    if target == state.node:
        return f"node {target} leads already"
    if target not in state.membership.voters:
        return f"node {target} is no voter"
    if target in leader.readmissions:
        return f"node {target} lost its store and does not count yet"
    if state.now_ms - leader.progress[target].heard_ms >= state.election_timeout_ms:
        return f"node {target} has not answered for {state.election_timeout_ms} ms"
    return ""


def best_target(state: State, leader: Leader) -> NodeId:
    """The fit voter with the longest log; of equals the one of the highest priority, then the lowest id."""
    fit = [peer for peer in state.other_voters if not _unfit(state, leader, peer)]
    order = [(leader.progress[peer].match_index, state.priority(peer), -peer) for peer in fit]
    return -max(order)[2] if order else NOBODY


def go_on(state: State, leader: Leader) -> bool:
    """Ask the target to campaign as soon as its log is as long as ours; whether that was now."""
    transfer = leader.transfer
    if transfer is None or transfer.asked or not _is_voter(state, transfer.to):
        return False
    if leader.progress[transfer.to].match_index < state.log.last_index:
        return False
    transfer.asked = True
    send_timeout_now(state, transfer.to)
    return True


def _is_voter(state: State, node: NodeId) -> bool:
    """A change that was under way may have removed the target meanwhile. It would not campaign if it were asked."""
    return node in state.membership.voters


def send_timeout_now(state: State, to: NodeId) -> None:
    """Ask a node to campaign, at once."""
    state.send(TimeoutNow(state.node, to, state.term))
    state.note("timeout-now-sent", to=to, term=state.term)


def give_up_late(state: State, leader: Leader) -> None:
    """Nobody else leads an election timeout after, or the target may not lead any more: take requests again."""
    transfer = leader.transfer
    if transfer is not None and (state.now_ms >= transfer.deadline_ms or not _is_voter(state, transfer.to)):
        leader.transfer = None
        leader.preferred = (NOBODY, 0)
        state.outbox.transfers.append(Transferred(transfer.token, transfer.to, False, "it did not take over in time"))
        state.note("transfer-aborted", to=transfer.to, asked=int(transfer.asked))


def obeys(state: State, message: TimeoutNow) -> bool:
    """Whether a node that is asked to campaign will: it follows who asks, and may be elected."""
    is_ours = isinstance(state.role, Follower) and state.role.leader == message.frm
    may = state.node in voters(state.membership) and not state.hard.rebuilding
    if not (is_ours and may):
        state.note("timeout-now-ignored", frm=message.frm, term=message.term)
    return is_ours and may


def preferred_target(state: State, leader: Leader) -> NodeId:
    """The voter to hand over to of our own accord, NOBODY for none: of higher priority than ours, and level with us for
    the configured time. Asked at each heartbeat.
    """
    patience_ms = state.config.priority_patience_ms
    if not patience_ms or leader.transfer is not None or state.membership.outgoing:
        return NOBODY
    better = [peer for peer in state.other_voters if state.priority(peer) > state.priority(state.node)]
    level = [peer for peer in better if not _unfit(state, leader, peer) and _is_level(state, leader, peer)]
    best = max(level, key=lambda peer: (state.priority(peer), -peer), default=NOBODY)
    if best != leader.preferred[0]:
        leader.preferred = (best, state.now_ms)
    return best if best != NOBODY and state.now_ms - leader.preferred[1] >= patience_ms else NOBODY


def _is_level(state: State, leader: Leader, peer: NodeId) -> bool:
    """Whether it keeps up: it holds what is committed, and answers within half an election timeout."""
    progress = leader.progress[peer]
    recent = state.now_ms - progress.heard_ms < max(
        2 * pace.heartbeat_interval_ms(state.config, state.election_timeout_ms), state.election_timeout_ms // 2
    )
    return progress.phase is Phase.REPLICATE and progress.match_index >= state.commit_index and recent
