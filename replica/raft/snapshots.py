"""Snapshots: dissertation chapter 5.

The log cannot grow for ever: what the state machine has applied *and the disk has* may be dropped, and who needs what
was dropped gets the state instead. Bytes are the driver's affair: it copies the state, sends it in chunks, and resumes.
The core decides four things.

* **Who needs one**: a follower whose next entry is no longer in the log (`SnapshotWanted`, once for each time it is
  found out). While it is on its way the follower gets heartbeats only, and so costs nothing.
* **What a snapshot that has arrived is worth.** One that is not beyond what is committed here is refused: it would take
  the state back in time. One whose last entry is in this log is not needed either: "if existing log entry has same
  index and term as snapshot's last included entry, retain log entries following it" (figure 5.3): everything up to
  there is then known to be committed, and the log is nearer than the copy.
* **Installing**: the log begins after the snapshot, everything up to it is committed, and the membership is the
  snapshot's. That is decided here, and durable with the Ready that says `install`, in one step with state and pointer.
* **How far the log may be compacted**: `compaction_index`.

A snapshot is of committed state only, so it does not matter who sent it, or in which term.

Leaves out: chunks, hashes, files and throttling (storage and runtime).
"""

from __future__ import annotations

from replica.raft.events import SnapshotArrived, SnapshotSent
from replica.raft.memberships import decode_membership
from replica.raft.messages import AppendReply
from replica.raft.progress import Phase, Sign
from replica.raft.ready import Install, Refusal
from replica.raft.state import Leader, State
from replica.raft.types import NOBODY, Index, NodeId

# ---- the leader's side


def transfer_ended(state: State, leader: Leader, event: SnapshotSent) -> None:
    """Ask the follower where its log stands now."""
    progress = leader.progress.get(event.peer)
    if progress is not None and progress.sees(Sign.DELIVERED):
        state.note("snapshot-transfer-ended", peer=event.peer, ok=int(event.ok))


def reached(state: State, leader: Leader, peer: NodeId) -> None:
    """It has acknowledged: if the log has what comes next, it needs no snapshot any more."""
    progress = leader.progress[peer]
    if progress.phase is Phase.SNAPSHOT and state.log.term(progress.match_index) is not None:
        progress.sees(Sign.DELIVERED)


# ---- the receiver's side


def is_useful(state: State, event: SnapshotArrived) -> bool:
    """Whether the snapshot that arrived is to be installed; else its token is refused."""
    if event.index <= state.commit_index:
        state.refuse(event.token, Refusal.STALE, f"it is as of {event.index}, {state.commit_index} is committed here")
        state.note("snapshot-stale", index=event.index, commit=state.commit_index)
        return False
    if state.log.term(event.index) == event.term:
        state.commit_to(event.index)
        state.refuse(event.token, Refusal.STALE, f"the log here has entry {event.index} of term {event.term}")
        state.note("snapshot-not-needed", index=event.index, term=event.term)
        return False
    return True


def install(state: State, event: SnapshotArrived) -> None:
    """Let it take the place of the log, and tell the leader what is held once that is durable."""
    index, term = event.index, event.term
    if state.outbox.install is not None:
        state.refuse(state.outbox.install.token, Refusal.STALE, f"one as of {index} has come since")
    assert term <= state.term, f"a snapshot of term {term} in term {state.term}"
    state.log.reset(index, term)
    state.memberships.replace(*event.membership)
    state.commit_index = index
    state.outbox.install = Install(event.token, index, term, event.membership)
    state.note("snapshot-installed", index=index, term=term)
    if state.leader != NOBODY:
        rebuilding, life = state.hard.rebuilding, state.life
        state.send(AppendReply(state.node, state.leader, state.term, True, index, 0, 0, rebuilding, life))


def check_membership(event: SnapshotArrived) -> str:
    """What is wrong with the membership a snapshot carries; empty where nothing is."""
    index, data = event.membership
    try:
        decode_membership(data)
    except ValueError as problem:
        return str(problem)
    return "" if index <= event.index else f"a membership at {index} of a snapshot at {event.index}"


# ---- compaction


def compaction_index(state: State, flushed_index: Index, keep_from: Index, sending: Index | None) -> Index:
    """Up to which index the log may be dropped.

    `flushed_index`: what of the applied state is on disk: a crash replays the log from there. `keep_from`: where the
    part begins that is kept for followers a little behind (a byte budget). `sending`: the index of a snapshot on its
    way to somebody, who will go on after it.
    """
    assert flushed_index <= state.commit_index, f"flushed {flushed_index}, committed {state.commit_index}"
    through = min(flushed_index, keep_from - 1, state.log.stable_index)
    state.memberships.forget_before(through)
    return through if sending is None else min(through, sending)
