"""D10: a node whose store was lost comes back under its old identity.

It has forgotten its promises: votes it gave, entries it acknowledged. Two rules keep that from mattering.

**While it is rebuilding** (`HardState.rebuilding`, durable) it neither votes, pre-votes nor campaigns, every answer to
a leader says so, and a leader counts it for nothing. Elections stay safe without it: with q = majority of n, an entry
that q voters acknowledged is still held by at least q - k of them after k lost their stores, an election needs q of the
n - k others, and (q - k) + q > n - k. So every leader still has every committed entry.

**Readmission.** A leader of term T that hears a rebuilding node appends an entry r of its own term *afterwards*. When
every other voter (itself on its own disk, none of them rebuilding) has acknowledged r in term T, r is committed without
the node, and the node itself holds r durably, the leader sends `Readmit`. The node takes term T and a vote for this
leader, durably, and from then on counts. Why that is safe:

* *Votes.* r was acknowledged after the loss, so after the loss every other voter was still in a term ≤ T. Terms only
  rise, and a candidate is in its own term durably before it asks. So no other voter had asked for a vote in a term
  above T before the loss, and the lost life can have given none there. If the lost life itself had asked in a term T' >
  T, nobody had answered; where such a request arrives late, it claims a log of terms ≤ T that ends below r, less than
  this node now holds, so a vote won by it is one this node deserves as well. For terms ≤ T the node votes for nobody
  else: it starts again in term T with its vote given to the leader of T, and `figure 2`'s rule of one vote a term does
  the rest.
* *Acknowledgements.* No leader of a term above T existed before the loss (it would have needed another voter, by then
  in that term). So all the lost life ever acknowledged came from leaders of terms ≤ T. What of it is committed is in
  the log of the leader of T (Leader Completeness), below r, and the node holds that log up to r.
* *Why every other voter and not a quorum:* one voter left out might have campaigned in T + 1 with the lost life's vote
  in its hands. Why none of them rebuilding: it may have forgotten just that.

**Which start is meant.** Messages may be doubled and late, and a store may be lost twice. Each start of a rebuilding
node draws a number (`life`); answers carry it, `Readmit` repeats it, and a node obeys its own only. A leader that hears
another life begins again from nothing. An answer that does *not* say rebuilding, from a node known to be, is doubtful:
it may come from the life before the loss. It is believed only as the answer to a heartbeat sent after the loss was
heard.

Leaves out: two voters that lost their stores at the same time both stay without a vote; so does one of two voters, and
a single one. Then no evidence about their promises is left among the living. An operator must give them a new identity
by a membership change (4.3), knowing what was lost.
"""

from __future__ import annotations

from enum import Enum

from replica.raft.messages import AppendReply, HeartbeatReply, Readmit
from replica.raft.quorum import voters
from replica.raft.state import NOT_SENT, Leader, Readmission, State
from replica.raft.types import Index, NodeId


class Heard(Enum):
    """What an answer says about the promises of its sender."""

    WHOLE = "whole"
    """Nothing was lost."""
    LOST = "lost"
    """It is rebuilding, and this start of it is heard for the first time."""
    REBUILDING = "rebuilding"
    """It is rebuilding, as known."""
    READMITTED = "readmitted"
    """It was rebuilding, and is no more."""
    DOUBTFUL = "doubtful"
    """It may come from before the loss: worth nothing."""


def hear(leader: Leader, reply: AppendReply | HeartbeatReply) -> Heard:
    """Sort an answer in this leader's term. Changes nothing."""
    known = leader.readmissions.get(reply.frm)
    if reply.rebuilding:
        return Heard.REBUILDING if known is not None and known.life == reply.life else Heard.LOST
    if known is None:
        return Heard.WHOLE
    if isinstance(reply, HeartbeatReply) and reply.context > known.round:
        return Heard.READMITTED
    return Heard.DOUBTFUL


def begin(state: State, leader: Leader, peer: NodeId, life: int, index: Index) -> None:
    """`peer` lost its store; `index` is the entry of this term appended since that was heard (r above)."""
    assert state.log.term(index) == state.term, f"entry {index} is not of term {state.term}"
    leader.progress[peer].forget(index)
    leader.readmissions[peer] = Readmission(life, index, leader.rounds.latest)
    state.note("rebuilding", peer=peer, index=index)


def end(state: State, leader: Leader, peer: NodeId) -> None:
    """It has said, after all this leader knew of the loss, that it is rebuilding no more: it counts again."""
    del leader.readmissions[peer]
    state.note("readmitted", peer=peer, term=state.term)


def go_on(leader: Leader, reply: AppendReply | HeartbeatReply) -> None:
    """It is still rebuilding. If it answers so to a heartbeat sent after its Readmit, that was lost: send another."""
    readmission = leader.readmissions[reply.frm]
    if isinstance(reply, HeartbeatReply) and reply.context > readmission.sent_round:
        readmission.sent_round = NOT_SENT


def readmit_ready(state: State, leader: Leader) -> None:
    """Send `Readmit` to each node for which all conditions hold; not while the membership changes, when "every other
    voter" is not one set."""
    if state.membership.outgoing or state.memberships.latest_index > state.commit_index:
        return
    for peer, readmission in leader.readmissions.items():
        if readmission.sent_round == NOT_SENT and _is_ready(state, leader, peer, readmission.index):
            readmission.sent_round = leader.rounds.latest
            state.send(Readmit(state.node, peer, state.term, readmission.life))


def _is_ready(state: State, leader: Leader, peer: NodeId, index: Index) -> bool:
    if state.commit_index < index or leader.progress[peer].match_index < index:
        return False
    return all(_has_acknowledged(state, leader, voter, index) for voter in voters(state.membership) if voter != peer)


def _has_acknowledged(state: State, leader: Leader, voter: NodeId, index: Index) -> bool:
    if voter == state.node:
        return state.log.stable_index >= index
    return voter not in leader.readmissions and leader.progress[voter].match_index >= index


def obey(state: State, readmit: Readmit) -> bool:
    """The node's side: whether it was readmitted. Durable before anything it says from now on leaves."""
    if not state.hard.rebuilding:
        return False
    if readmit.life != state.life or readmit.frm != state.leader:
        state.note("readmit-ignored", frm=readmit.frm, term=readmit.term)
        return False
    state.promise(vote=readmit.frm, rebuilding=False)
    state.life = 0
    state.note("readmitted", peer=state.node, term=state.term)
    return True
