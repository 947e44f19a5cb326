"""Linearizable reads without an entry for each: dissertation 6.4.

A read may be answered from any state that contains all that was committed when the read was asked. Which index that is,
only a leader knows, and only one that still leads. So (6.4, steps 1 to 5):

1. The leader's commit index tells it only once an entry of its own term is committed. The index of the read is
   therefore never below its term's no-op: a state as of that entry has all that any earlier leader committed.
2. That index is noted when the read is asked.
3. A round of heartbeats *begun after that* and answered by a quorum proves that no newer leader had been elected when
   the read was asked. One round serves all reads that wait, and while one is on its way the next reads gather for the
   next: however many callers, one round trip at a time.
4. The driver waits until the state machine has applied so far, and answers.

**From a follower** (6.4, end): it asks the leader (`ReadIndex`) and then reads its own state. The question's context is
a number that this life of the follower gives once only; an answer to an earlier life fits nothing.

**Leases** (6.4.1), off by default. Whoever answered a round sent at s votes for nobody else for `election_timeout_ms`
after it *received* it (stickiness, 4.2.3). While a quorum is so bound, nobody else leads and step 3 can be skipped. The
lease is shorter than the promise by the declared drift of both clocks (`pace.lease_ms`). What makes it true:

* With leases, stickiness holds whatever else a follower learns (a higher term, a lost connection), and from its own
  start on, since it may have forgotten a promise. A lost connection then calls no election at once: that is the price.
* A hand-over lets its target campaign at any time after (3.10), so asking for one ends leases for the term.
* A clock that is seen to run outside the declared bound ends leases for the term: each answer to a heartbeat carries
  the replier's clock, and over ten election timeouts the two must not drift apart by more than both drifts, and the
  round trips, allow. What this cannot see is a drift that stops before it has lasted so long; the bound must be true.

Leaves out: applying, and who may read what.
"""

from __future__ import annotations

from replica.raft import pace
from replica.raft.messages import HeartbeatReply, ReadIndex, ReadIndexReply
from replica.raft.progress import EXPECTS_MS, NEVER_MS, Progress
from replica.raft.quorum import agreed, won
from replica.raft.ready import ReadConfirmed, Refusal
from replica.raft.state import Asked, Follower, Leader, State, WaitingRead
from replica.raft.types import NOBODY, NodeId

DRIFT_OVER_TIMEOUTS = 10
"""Over how many election timeouts two clocks are compared."""


# ---- at the leader


def ask(state: State, leader: Leader, frm: NodeId, token: int) -> None:
    """A read of our own driver, or of a follower's: answered at once, refused, or put to the next round."""
    if len(leader.reads) >= state.config.max_waiting_reads:
        _refuse(state, frm, token)
        return
    if won(state.membership, {state.node}) or lease_holds(state, leader):
        _answer(state, leader, WaitingRead(frm, token, state.commit_index))
        return
    leader.reads.append(WaitingRead(frm, token, state.commit_index))
    ask_for_round(leader)


def ask_for_round(leader: Leader) -> None:
    """A round of heartbeats for the reads that have none, unless one that serves others is on its way."""
    if leader.reads and leader.reads[-1].round == 0 and leader.reads[0].round == 0:
        leader.heartbeat_due = True


def begin_round(leader: Leader, number: int) -> None:
    """Round `number` begins: every read that waits was asked before it."""
    for read in reversed(leader.reads):
        if read.round:
            break
        read.round = number


def confirm(state: State, leader: Leader) -> None:
    """A round was answered: answer the reads that a quorum has confirmed."""
    if not leader.reads:
        return
    answered = {peer: p.acked_round for peer, p in leader.progress.items() if peer not in leader.readmissions}
    answered[state.node] = leader.rounds.latest
    confirmed = agreed(state.membership, answered)
    while leader.reads and 0 < leader.reads[0].round <= confirmed:
        _answer(state, leader, leader.reads.popleft())
    ask_for_round(leader)


def _answer(state: State, leader: Leader, read: WaitingRead) -> None:
    index = max(read.index, leader.first_index)
    if read.frm == state.node:
        state.outbox.reads.append(ReadConfirmed(read.token, index))
    else:
        if read.frm in leader.progress:
            leader.progress[read.frm].waits_until_ms = state.now_ms + EXPECTS_MS
        state.send(ReadIndexReply(state.node, read.frm, state.term, read.token, index, ok=True))


def _refuse(state: State, frm: NodeId, token: int) -> None:
    if frm == state.node:
        state.refuse(token, Refusal.OVERLOADED)
    else:
        state.send(ReadIndexReply(state.node, frm, state.term, token, 0, ok=False))


# ---- leases


def lease_until_ms(state: State, leader: Leader) -> int:
    """Until when, by our clock, nobody else can lead; NEVER_MS where no lease is given."""
    # Only `lease_holds` asks, and it asks of leases that are on.
    assert state.config.lease_reads, f"a lease of node {state.node}, whose leases are {state.config.lease_reads}"
    if leader.lease_off:
        return NEVER_MS
    bound = {peer: p.acked_sent_ms for peer, p in leader.progress.items() if peer not in leader.readmissions}
    bound[state.node] = state.now_ms
    since_ms = agreed(state.membership, bound, missing=NEVER_MS)
    return since_ms + pace.lease_ms(state.config) if since_ms > NEVER_MS else NEVER_MS


def lease_holds(state: State, leader: Leader) -> bool:
    """Whether a read may be answered without asking."""
    if not state.config.lease_reads:
        return False
    holds = state.now_ms < lease_until_ms(state, leader)
    state.note("lease-used" if holds else "lease-refused", why=leader.lease_off)
    return holds


def end_leases(state: State, leader: Leader, why: str) -> None:
    """No lease is given any more in this term."""
    if state.config.lease_reads and not leader.lease_off:
        leader.lease_off = why
        state.note("leases-ended", term=state.term, why=why)


def watch_clock(state: State, leader: Leader, peer: NodeId, progress: Progress, reply: HeartbeatReply) -> None:
    """See whether a follower's clock, which its promises are kept by, runs as ours does."""
    if not state.config.lease_reads:
        return
    if progress.clock is None:
        progress.clock = (state.now_ms, reply.clock_ms)
        return
    ours_ms, theirs_ms = state.now_ms - progress.clock[0], reply.clock_ms - progress.clock[1]
    allowed_ms = ours_ms * 2 * state.config.clock_drift_permille // 1000 + 2 * progress.round_trip.most_ms + 2
    if ours_ms < DRIFT_OVER_TIMEOUTS * state.config.election_timeout_ms:
        return
    if abs(theirs_ms - ours_ms) > allowed_ms:
        end_leases(state, leader, f"the clock of node {peer} went {theirs_ms} ms while ours went {ours_ms} ms")
    progress.clock = (state.now_ms, reply.clock_ms)


# ---- at a follower


def ask_leader(state: State, follower: Follower, token: int) -> None:
    """A read of our own driver: the next Ready asks the leader about it."""
    if follower.leader == NOBODY:
        state.refuse(token, Refusal.NOT_LEADER)
    elif len(follower.reads) >= state.config.max_waiting_reads:
        state.refuse(token, Refusal.OVERLOADED)
    else:
        follower.reads.append(token)


def send_questions(state: State, follower: Follower) -> None:
    """One message for all reads that came since the last Ready."""
    if follower.reads:
        state.read_context += 1
        follower.asked[state.read_context] = Asked(tuple(follower.reads), state.now_ms)
        state.send(ReadIndex(state.node, follower.leader, state.term, state.read_context))
        follower.reads = []


def take_answer(state: State, follower: Follower, reply: ReadIndexReply) -> None:
    """The leader has confirmed, or will not."""
    asked = follower.asked.pop(reply.context, None)
    if asked is None:
        return
    assert reply.frm == follower.leader, f"asked node {follower.leader}, node {reply.frm} answers in the same term"
    for token in asked.tokens:
        if reply.ok:
            state.outbox.reads.append(ReadConfirmed(token, reply.index))
        else:
            state.refuse(token, Refusal.UNCONFIRMED)


def give_up_old(state: State, follower: Follower) -> None:
    """The leader was heard, but an election timeout ago it was asked and has not answered: that was lost."""
    while follower.asked:
        context, asked = next(iter(follower.asked.items()))
        if state.now_ms - asked.sent_ms < state.election_timeout_ms:
            return
        del follower.asked[context]
        for token in asked.tokens:
            state.refuse(token, Refusal.UNCONFIRMED)
