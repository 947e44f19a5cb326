"""Leadership transfer: dissertation 3.10. The place is kept; this release refuses to hand over.

What stands already: `TimeoutNow` on the wire, and a `RequestVote` with `transfer` passes stickiness.

What comes here: the leader stops taking proposals, brings the target's log level with its own, sends `TimeoutNow`, and
takes proposals again if the target has not led within an election timeout. The target campaigns at once, without
pre-vote. The runtime asks for it on a clean stop, and when its disk stalls.

State it will own: the target, the token and the deadline, in `Leader`.
"""

from __future__ import annotations

from replica.raft.events import TransferRequested
from replica.raft.messages import TimeoutNow
from replica.raft.ready import Refusal
from replica.raft.state import State


def request(state: State, event: TransferRequested) -> None:
    """Refuse: surely not done."""
    state.refuse(event.token, Refusal.UNSUPPORTED)


def receive(state: State, message: TimeoutNow) -> None:
    """Nobody of this release sends it; one of a later release loses nothing, its deadline passes."""
    state.note("timeout-now-ignored", frm=message.frm, term=message.term)
