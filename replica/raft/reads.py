"""Linearizable reads: dissertation 6.4. The place is kept; this release refuses every read index.

What stands already: a leader commits a no-op of its term at once (6.4, step 1), each round of heartbeats has a number
that its answers repeat (step 3), and a follower's answer is one to a leader of its own term only.

What comes here: a read index is the commit index at the time of asking, confirmed when a quorum has answered a round
begun after it; several reads share one round. Lease reads (6.4.1) skip the round while a quorum's answers are young
enough by a clock with a declared bound. They also need a restarted node to wait an election timeout before it votes.

State it will own: the reads that wait, by round, in `Leader`.
"""

from __future__ import annotations

from replica.raft.events import ReadRequested
from replica.raft.ready import Refusal
from replica.raft.state import State


def request(state: State, event: ReadRequested) -> None:
    """Refuse: surely not done."""
    state.refuse(event.token, Refusal.UNSUPPORTED)
