"""Elections: dissertation 3.4, with pre-vote (9.6), check-quorum (6.2) and leader stickiness (4.2.3).

Who may win is decided by three questions, asked in this order of anyone who wants a vote:

1. Is a leader alive? "If a server receives a RequestVote request within the minimum election timeout of hearing from a
   current leader, it does not update its term or grant its vote" (4.2.3). The same for PreVote.
2. Is its log at least as up to date as mine? (5.4.1: the later last term wins, of equal terms the longer log.)
3. Have I given this term's vote away? (PreVote gives nothing away, so it skips this.)

**Precedence, a deviation.** When a leading process dies, the kernel tells both followers in the same millisecond
(`PeerLost`), and randomised timeouts, which keep elections apart after a silent loss, have had no time to. Both would
pass each other's pre-vote, both become candidates, and each vote for itself: a split vote costs an election timeout. So
of two pre-candidates one gives way: a pre-candidate that is asked by a better one (newer log, then higher priority of
its zone, then lower id) says yes and becomes a follower; asked by a worse one it says no and asks back at once, since
the worse one may have refused it a moment ago, when it still believed in the leader. This touches nothing that safety
rests on: a pre-vote promises nothing, and refusing one is always allowed. It could cost liveness, where the better one
reaches too few others to win; so precedence holds for a node's *first* attempt only. Later attempts rest on chance, as
in 3.4.

A pre-vote refused in a higher term teaches the asker that term. It disturbs nobody: the asker becomes a follower with a
fresh timeout, and the term was one its teacher is in already.

A node that is rebuilding (D10) neither asks nor grants. A learner does not ask, but it does answer: whether its answer
counts is the asker's membership's affair, which may be newer than its own.

Leaves out: changing the role (roles.py), leadership transfer (transfer.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from replica.raft import pace
from replica.raft.messages import PreVote, PreVoteReply, RequestVote, RequestVoteReply
from replica.raft.progress import NEVER_MS
from replica.raft.quorum import agreed, won
from replica.raft.state import Candidate, Follower, Leader, PreCandidate, State
from replica.raft.types import NOBODY, NodeId

PRECEDENCE_ATTEMPTS = 1
"""In how many attempts since it last heard a leader a pre-candidate heeds precedence."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to say to someone who asks, and why."""

    granted: bool
    why: str
    give_way: bool = False
    """We wanted to be elected too, and the asker goes first."""
    ask_back: bool = False
    """We go first: ask the asker again."""


def may_campaign(state: State) -> bool:
    """Only a voter (memberships.py says in which sense) whose promises are whole."""
    return state.memberships.may_elect(state.node, state.commit_index) and not state.hard.rebuilding


# ---- asking


def ask_pre_votes(state: State, role: PreCandidate, only: NodeId = NOBODY) -> None:
    """Ask everyone who has not said yes, or one node. A no may change: its leader's silence grows older."""
    for voter in state.other_voters:
        if voter not in role.granted and only in (NOBODY, voter):
            last_index, last_term = state.log.last_index, state.log.last_term
            state.send(PreVote(state.node, voter, state.term + 1, last_index, last_term))


def ask_votes(state: State, role: Candidate, only: NodeId = NOBODY) -> None:
    """Ask who has not answered: "servers retry RPCs if they do not receive a response in a timely manner" (5.1)."""
    for voter in state.other_voters:
        if voter not in role.answered and only in (NOBODY, voter):
            last_index, last_term = state.log.last_index, state.log.last_term
            state.send(RequestVote(state.node, voter, state.term, last_index, last_term, role.transfer))


def count_pre_vote(state: State, role: PreCandidate, reply: PreVoteReply) -> bool:
    """Whether a quorum would elect us. A yes to an earlier term's question is of no use."""
    if reply.granted and reply.term == state.term + 1:
        role.granted.add(reply.frm)
    return would_win(state, role)


def would_win(state: State, role: PreCandidate) -> bool:
    """Whether a quorum has said that it would vote for us. The own yes is among them: it promises nothing."""
    return won(state.membership, role.granted)


def count_vote(state: State, role: Candidate, reply: RequestVoteReply) -> bool:
    """Whether we are elected in this term."""
    role.answered.add(reply.frm)
    if reply.granted:
        role.granted.add(reply.frm)
    return is_elected(state, role)


def count_own_vote(state: State, role: Candidate) -> bool:
    """Our own vote counts once it is durable; whether we are elected in this term.

    If it counted before, a crash would let this node forget it, vote for another in the same term, and two leaders of
    one term could each count it. That a single voter waits for its own disk before it leads follows of itself.
    """
    if state.durable == state.hard:
        role.granted.add(state.node)
    return is_elected(state, role)


def is_elected(state: State, role: Candidate) -> bool:
    """A quorum, the own vote among it: a leader whose own term were not durable could not send at once."""
    return state.node in role.granted and won(state.membership, role.granted)


# ---- answering


def answer_pre_vote(state: State, ask: PreVote) -> Judgement:
    """Say whether we would vote for the asker. The caller gives way or asks back, where that is found."""
    judgement = judge_pre_vote(state, ask)
    term = ask.term if judgement.granted else state.term
    state.send(PreVoteReply(state.node, ask.frm, term, judgement.granted))
    if state.judged.get(ask.frm) != (ask.term, judgement.why):
        state.judged[ask.frm] = (ask.term, judgement.why)
        what = "pre-vote-granted" if judgement.granted else "pre-vote-refused"
        state.note(what, term=ask.term, to=ask.frm, why=judgement.why)
    return judgement


def judge_pre_vote(state: State, ask: PreVote) -> Judgement:
    if state.hard.rebuilding:
        return Judgement(False, "rebuilding")
    if ask.term < state.term:
        return Judgement(False, "old-term")
    if hears_leader(state, ask):
        return Judgement(False, "leader-heard")
    if ask.term == state.term and (state.leader != NOBODY or state.hard.vote not in (NOBODY, ask.frm)):
        return Judgement(False, "vote-given")
    competing = isinstance(state.role, PreCandidate)
    if not is_up_to_date(state, ask):
        return Judgement(False, "log-behind", ask_back=competing)
    if not competing or state.attempts > PRECEDENCE_ATTEMPTS:
        return Judgement(True, "up-to-date")
    if goes_first(state, ask):
        return Judgement(True, "goes-first", give_way=True)
    return Judgement(False, "goes-second", ask_back=True)


def goes_first(state: State, ask: PreVote) -> bool:
    """Whether the asker precedes this node: newer log, then higher priority, then lower id. No two nodes are equal."""
    theirs = (ask.last_term, ask.last_index, state.priority(ask.frm), -ask.frm)
    ours = (state.log.last_term, state.log.last_index, state.priority(state.node), -state.node)
    return theirs > ours


def answer_vote(state: State, ask: RequestVote) -> Judgement:
    """Vote or refuse, in the asker's term, which is ours by now. A vote given is durable before the answer leaves."""
    judgement = judge_vote(state, ask)
    if judgement.granted:
        state.promise(vote=ask.frm)
    state.send(RequestVoteReply(state.node, ask.frm, state.term, judgement.granted))
    what = "vote-granted" if judgement.granted else "vote-refused"
    state.note(what, term=ask.term, to=ask.frm, why=judgement.why)
    return judgement


def judge_vote(state: State, ask: RequestVote) -> Judgement:
    """Figure 2: "If votedFor is null or candidateId, and candidate's log is at least as up-to-date …, grant vote"."""
    assert ask.term == state.term, f"vote asked in term {ask.term}, this is term {state.term}"
    if state.hard.rebuilding:
        return Judgement(False, "rebuilding")
    if state.hard.vote not in (NOBODY, ask.frm) or state.leader not in (NOBODY, ask.frm):
        return Judgement(False, "vote-given")
    if state.config.lease_reads and not ask.transfer and hears_leader(state, ask):
        # Asked in a term we came to by other news, so nobody has asked yet whether a lease may rest on us.
        return Judgement(False, "leader-heard")
    if not is_up_to_date(state, ask):
        return Judgement(False, "log-behind")
    return Judgement(True, "up-to-date")


def is_up_to_date(state: State, ask: PreVote | RequestVote) -> bool:
    """5.4.1: later last term, or the same and at least as long."""
    return (ask.last_term, ask.last_index) >= (state.log.last_term, state.log.last_index)


def hears_leader(state: State, ask: PreVote | RequestVote) -> bool:
    """Stickiness (4.2.3): a leader was heard within the minimum election timeout. A leader hears itself, with a quorum.

    A leader that asks for the *next* term's vote leads no more, whatever was heard of it; its followers need not wait.
    With leases (reads.py) this is a promise that a read may rest on: it holds whatever was learned since, and a node
    that has just started may have made it before it stopped.
    """
    if state.config.lease_reads and not isinstance(state.role, Leader):
        return state.now_ms - state.heard_leader_ms < state.config.election_timeout_ms
    match state.role:
        case Follower(leader=leader, heard_ms=heard_ms) if leader != NOBODY:
            if leader == ask.frm and ask.term > state.term:
                return False
            return state.now_ms - heard_ms < state.config.election_timeout_ms
        case Leader() as role:
            return state.now_ms < quorum_deadline_ms(state, role)
        case _:
            return False


# ---- staying


def quorum_deadline_ms(state: State, role: Leader) -> int:
    """When a leader has not heard a quorum for an election timeout: 6.2, "a leader steps down if an election timeout
    elapses without a successful round of heartbeats to a majority of its cluster".

    A node that is rebuilding counts for nothing here too.
    """
    heard = {peer: p.heard_ms for peer, p in role.progress.items() if peer not in role.readmissions}
    heard[state.node] = state.now_ms
    return agreed(state.membership, heard, missing=NEVER_MS) + state.election_timeout_ms


def lacks_quorum(state: State, role: Leader) -> bool:
    """Whether no quorum was heard for an election timeout. Counted anew only when it may be so: who answers meanwhile
    can but put it off. Whatever could bring it nearer sets `quorum_until_ms` to 0."""
    if state.now_ms < role.quorum_until_ms:
        return False
    role.quorum_until_ms = quorum_deadline_ms(state, role)
    return state.now_ms >= role.quorum_until_ms


def measured_timeout_ms(state: State, leader: Leader) -> int:
    """The election timeout that the measured round trips ask for (pace.py). It shrinks slowly: what the followers were
    told a moment ago is what they are patient by.
    """
    alive_ms = state.now_ms - state.election_timeout_ms
    followers = [leader.progress[voter] for voter in state.other_voters]
    slowest_ms = max((p.round_trip.most_ms for p in followers if p.heard_ms >= alive_ms), default=0)
    wanted_ms = max(pace.ROUND_TRIPS * slowest_ms, state.election_timeout_ms * 7 // 8)
    return pace.election_timeout_ms(state.config, wanted_ms)
