"""Membership changes: dissertation chapter 4. The place is kept; this release refuses every change.

What stands already: `Membership` has two halves and learners, quorum.py asks both halves, a leader's followers come
from `State.peers`, a learner gets the log and counts for nothing, and `EntryKind.MEMBERSHIP` is on disk and wire.

What comes here (4.3, joint consensus): a change appends an entry with the joint membership, which holds from the moment
it is appended (4.1: "a server always uses the latest configuration in its log"), is undone if that entry is replaced,
and is followed by the entry that leaves the joint state once the first is committed. A change that would lose the
quorum, or a second one while the first is open, is refused. New voters are learners until they have caught up (4.2.1).

State it will own: the memberships in the log by index, the open change, the target of the next entry.
"""

from __future__ import annotations

from replica.raft.events import ChangeRequested
from replica.raft.ready import Refusal
from replica.raft.state import State


def request(state: State, event: ChangeRequested) -> None:
    """Refuse: surely not done."""
    state.refuse(event.token, Refusal.UNSUPPORTED)
