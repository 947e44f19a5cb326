"""Snapshots: dissertation chapter 5. The place is kept; this release neither sends nor installs one.

What stands already: the log may begin after index 1 (log.py), and a follower that needs what was compacted is in phase
SNAPSHOT, gets heartbeats only, and is named in the note `needs-snapshot`.

What comes here: the leader asks its driver to send a snapshot to such a follower; the follower's driver installs it,
and an event tells its core the index and term to go on from. `SnapshotSent`, the end of a transfer, is handled already:
the follower is asked where it stands, and if that is still below the log, it is in need again.

State it will own: what is being sent to whom, in `Leader`.
"""

from __future__ import annotations

from replica.raft.events import SnapshotSent
from replica.raft.progress import Sign
from replica.raft.state import Leader, State


def transfer_ended(state: State, leader: Leader, event: SnapshotSent) -> None:
    """Ask the follower where its log stands now."""
    progress = leader.progress.get(event.peer)
    if progress is not None and progress.sees(Sign.DELIVERED):
        state.note("snapshot-transfer-ended", peer=event.peer, ok=int(event.ok))
