"""Replication: dissertation 3.5 and 3.6, with pipelining and the leader's parallel disk write (10.2).

The follower's side takes entries that follow on what both logs have, refuses the others with a hint where to try, and
acknowledges what is durable. The leader's side keeps each follower's `Progress`, commits by counting, and writes
messages only when a Ready is taken (`send_due`): however many proposals came in one turn, each follower gets one
Append, and what is newly committed rides on it. Only where nothing else goes to a follower does a heartbeat carry the
commit index: at once where somebody is known to wait there, else after a moment in which the next entry may come. Such
a notice is no round (its number is 0) and wants no answer.

**Hints.** A refusal names the term the follower has at the asked index and the first index of it. The leader then skips
a whole term at a time ("with this optimization, one AppendEntries RPC will be required for each term with conflicting
entries, rather than one RPC per entry", 5.3). Worked example, leader above, follower below, asked at index 8:

    index     1 2 3 4 5 6 7 8
    leader    1 1 1 4 4 5 5 6      hint: term 3 from index 6. Below 8 the leader has nothing of a term up to 3
    follower  1 1 1 2 2 3 3 3      after index 3 (term 1, not 3), so the logs cannot meet above 3: next question there.

**Commit by counting** looks at entries of the leader's own term only (5.4.2, figure 8); what lies before is committed
with them. The leader counts itself up to what its own disk has, which may be less than its followers have (10.2.1).

Leaves out: snapshots for who needs compacted entries (snapshots.py), who counts for nothing (rebuild.py).
"""

from __future__ import annotations

from replica.raft import pace
from replica.raft.memberships import NO_INDEX, decode_membership, encode_membership
from replica.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from replica.raft.progress import EXPECTS_MS, NEVER_MS, Progress, Sign
from replica.raft.quorum import agreed
from replica.raft.ready import Accepted, Refusal, SnapshotWanted
from replica.raft.state import Leader, State
from replica.raft.types import Entry, EntryKind, Index, Membership, NodeId

SILENT_BEATS = 2
"""Who answers so many heartbeats after another is the one that was silent."""
SETTLING_ROUNDS = 8
"""Who was silent reads what has gathered before its door, and what it lacks of the log, before it answers in time."""
NOTICE = 0
"""The number of a heartbeat that only tells of a commit. Rounds count from 1."""

# ---- the follower's side


def receive_append(state: State, append: Append) -> None:
    """Take, refuse or recognise the leader's entries, and answer. The answer leaves when they are durable."""
    if append.prev_index < state.commit_index:
        append = _without_committed(state, append)
    if state.log.term(append.prev_index) != append.prev_term:
        _refuse(state, append)
        return
    replaced = state.log.splice(append.entries)
    if replaced:
        assert replaced > state.commit_index, f"entry {replaced} replaced, {state.commit_index} is committed"
        state.note("log-replaced", first=replaced, last=state.log.last_index)
        if state.memberships.cut(replaced):
            state.note("membership-undone", index=replaced)
    _adopt_memberships(state, append)
    match_index = append.prev_index + len(append.entries)
    # "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)" (figure 2). What
    # this log has beyond the last new entry has not been compared with the leader's.
    state.commit_to(min(append.commit, match_index))
    _answer(state, append, ok=True, match_index=match_index)


def _adopt_memberships(state: State, append: Append) -> None:
    """A membership holds from the moment its entry is in the log (4.1), whoever led when it was written."""
    for entry in append.entries:
        if entry.kind is EntryKind.MEMBERSHIP and entry.index > state.memberships.latest_index:
            state.memberships.add(entry.index, decode_membership(entry.data))
            state.note("membership", index=entry.index)


def _without_committed(state: State, append: Append) -> Append:
    """The part of an Append beyond what is committed here: that much every leader's log has (Leader Completeness).

    It need not be compared, and may be compacted already. An Append that ends below is wholly known.
    """
    skipped = state.commit_index - append.prev_index
    prev_term = state.log.term(state.commit_index)
    assert prev_term is not None, f"the term of the committed index {state.commit_index} must be known"
    entries = append.entries[skipped:]
    return Append(append.frm, append.to, append.term, state.commit_index, prev_term, entries, append.commit)


def _refuse(state: State, append: Append) -> None:
    log = state.log
    if append.prev_index > log.last_index:
        hint_index, hint_term = log.last_index + 1, 0
    else:
        known = log.term(append.prev_index)
        # What is asked is not below what is committed here (`_without_committed`), and no more than that is compacted.
        assert known is not None, f"the term of {append.prev_index} in a log of {log.first_index}..{log.last_index}"
        hint_index, hint_term = log.first_of_term(append.prev_index), known
    _answer(state, append, ok=False, match_index=append.prev_index, hint_index=hint_index, hint_term=hint_term)


def answer_old_append(state: State, append: Append) -> None:
    """Figure 2: "Reply false if term < currentTerm". The answer's term tells an old leader that it is one."""
    _answer(state, append, ok=False, match_index=append.prev_index)


def _answer(
    state: State, append: Append, ok: bool, match_index: Index, hint_index: Index = 0, hint_term: int = 0
) -> None:
    rebuilding, life = state.hard.rebuilding, state.life
    state.send(
        AppendReply(state.node, append.frm, state.term, ok, match_index, hint_index, hint_term, rebuilding, life)
    )


def receive_heartbeat(state: State, heartbeat: Heartbeat) -> None:
    """The leader lives; up to `commit` this log is known to equal its.

    That knowledge is the leader's, from this node's acknowledgements. A node that is rebuilding may have given them in
    a life it forgot, so it learns of commits by Append alone, which compares.
    """
    if not state.hard.rebuilding:
        state.commit_to(heartbeat.commit)
    if heartbeat.election_timeout_ms:
        state.election_timeout_ms = pace.election_timeout_ms(state.config, heartbeat.election_timeout_ms)
    if heartbeat.context != NOTICE:
        answer_heartbeat(state, heartbeat)


def answer_heartbeat(state: State, heartbeat: Heartbeat) -> None:
    """Say that it was heard, or in a higher term that its sender leads no more."""
    rebuilding, life = state.hard.rebuilding, state.life
    context, clock_ms = heartbeat.context, state.now_ms
    state.send(HeartbeatReply(state.node, heartbeat.frm, state.term, context, rebuilding, life, clock_ms))


# ---- the leader's side: taking entries


def propose(state: State, leader: Leader, token: int, data: bytes) -> None:
    """Append one proposal; refuse it where too much is uncommitted already (a single one of any size is taken), or
    while the leadership is handed over."""
    size = len(data)
    if leader.transfer is not None:
        state.refuse(token, Refusal.TRANSFERRING)
        return
    if leader.uncommitted and leader.uncommitted_bytes + size > state.config.max_uncommitted_bytes:
        state.refuse(token, Refusal.OVERLOADED)
        return
    entry = _append_own(state, EntryKind.DATA, data)
    leader.uncommitted.append((entry.index, size))
    leader.uncommitted_bytes += size
    state.outbox.accepted.append(Accepted(token, entry.index, entry.term))


def append_membership(state: State, membership: Membership) -> Entry:
    """One step of a change; it holds at once, for this node as for everyone who gets it."""
    entry = _append_own(state, EntryKind.MEMBERSHIP, encode_membership(membership))
    state.memberships.add(entry.index, membership)
    state.note("membership", index=entry.index)
    return entry


def begin_term(state: State) -> None:
    """Leaders "commit a blank no-op entry into the log at the start of" their term (6.4). The first leader of all
    writes the membership that the log begins with instead.

    That one stands in the configuration, and a configuration may be edited: a node that lost its store and was told of
    zones that never came to vote would, once it counts again, count by those. With the entry the log says who votes,
    and so does every snapshot of it, before anybody new or rebuilt has a vote.
    """
    if state.memberships.latest_index == NO_INDEX:
        append_membership(state, state.membership)
    else:
        append_noop(state)


def append_noop(state: State) -> Index:
    """An entry of this term without content: what came before can be committed with it (6.4; figure 8)."""
    return _append_own(state, EntryKind.NOOP, b"").index


def _append_own(state: State, kind: EntryKind, data: bytes) -> Entry:
    entry = Entry(state.log.last_index + 1, state.term, kind, data)
    state.log.append(entry)
    return entry


# ---- the leader's side: hearing answers


def receive_append_reply(state: State, leader: Leader, reply: AppendReply) -> None:
    """Move the follower's match, or go back to where the logs may meet."""
    progress = leader.progress[reply.frm]
    if reply.ok:
        last_index = state.log.last_index
        assert reply.match_index <= last_index, f"node {reply.frm} has {reply.match_index}, the leader {last_index}"
        progress.accepted(reply.match_index)
    elif progress.is_news(reply.match_index):
        next_index = max(_meeting_point(state, reply) + 1, progress.match_index + 1)
        progress.rejected(reply.match_index, next_index)
        facts = {"asked": reply.match_index, "hint_term": reply.hint_term, "hint_index": reply.hint_index}
        state.note("conflict-hint", peer=reply.frm, **facts, next=next_index)


def _meeting_point(state: State, reply: AppendReply) -> Index:
    """The highest index at which both logs may still agree, from the follower's hint.

    The follower has `hint_term` from `hint_index` up to the index asked, and lower terms before. We look for our last
    entry below the index asked whose term is not above. If it is of that very term, the logs may meet there; if not,
    then not before the follower's hinted term begins.
    """
    if reply.hint_term == 0:
        return min(reply.hint_index, reply.match_index) - 1
    ours = state.log.last_not_above(reply.hint_term, reply.match_index - 1)
    return ours if state.log.term(ours) == reply.hint_term else min(ours, reply.hint_index - 1)


def receive_heartbeat_reply(state: State, leader: Leader, reply: HeartbeatReply) -> None:
    """It lives, and that is how far away it is. If what we sent it has been unanswered for long, that was lost: ask
    again.

    "If followers crash or run slowly, or if network packets are lost, the leader retries AppendEntries RPCs
    indefinitely" (5.3). Patience is a whole election timeout: a heartbeat is answered at once and an Append after the
    disk, and a slow disk grows no faster by having all of it sent again. (Where the connection broke, `PeerFound`
    comes first.)
    """
    progress = leader.progress[reply.frm]
    sent_ms = leader.rounds.sent_ms(reply.context)
    if sent_ms is not None and reply.context > progress.acked_round:
        progress.acked_round, progress.acked_sent_ms = reply.context, sent_ms
        if reply.context > progress.silent_through:
            progress.round_trip.measured(state.now_ms - sent_ms)
    if progress.overdue(state.now_ms, state.election_timeout_ms):
        progress.sees(Sign.OVERDUE)


def note_silence(state: State, leader: Leader, progress: Progress) -> None:
    """It is heard again, and what it answers late is no measure of the way to it, if another was heard meanwhile: then
    it was it that said nothing, and not this leader that was slow to listen. Nor are its answers of the next rounds:
    one that comes 30 ms late would make everybody's patience three times as long for half a second (`pace`)."""
    others_ms = max((p.heard_ms for p in leader.progress.values() if p is not progress), default=NEVER_MS)
    interval_ms = pace.heartbeat_interval_ms(state.config, state.election_timeout_ms)
    if others_ms - progress.heard_ms > SILENT_BEATS * interval_ms:
        progress.silent_through = leader.rounds.latest + SETTLING_ROUNDS


def commit_by_counting(state: State, leader: Leader) -> bool:
    """Figure 2: "If there exists an N such that N > commitIndex, a majority of matchIndex[i] ≥ N, and log[N].term ==
    currentTerm: set commitIndex = N". Whether it moved.
    """
    match = {peer: p.match_index for peer, p in leader.progress.items() if peer not in leader.readmissions}
    match[state.node] = state.log.stable_index
    index = agreed(state.membership, match)
    if index <= state.commit_index or state.log.term(index) != state.term:
        return False
    state.commit_to(index)
    while leader.uncommitted and leader.uncommitted[0][0] <= index:
        leader.uncommitted_bytes -= leader.uncommitted.popleft()[1]
    return True


# ---- the leader's side: speaking


def has_due(state: State, leader: Leader) -> bool:
    """Whether `send_due` would send anything."""
    if leader.heartbeat_due and leader.progress:
        return True
    last_index, config = state.log.last_index, state.config
    for progress in leader.progress.values():
        if progress.wants_append(last_index, config) or _is_notice_due(state, progress):
            return True
    return False


def send_due(state: State, leader: Leader) -> None:
    """Write what each follower is due, in the order of their ids: Appends while there is room, else news of commits."""
    for peer, progress in leader.progress.items():
        sent = _send_appends(state, leader, peer, progress)
        if not sent and not leader.heartbeat_due and _is_notice_due(state, progress):
            _send_heartbeat(state, peer, progress, NOTICE)
    if leader.heartbeat_due and leader.progress:
        number = leader.rounds.begin(state.now_ms)
        for peer, progress in leader.progress.items():
            _send_heartbeat(state, peer, progress, number)
    leader.heartbeat_due = False
    plan_notices(state, leader)


def plan_notices(state: State, leader: Leader) -> None:
    """When to tell whom of a commit. Asked whenever a match, the commit index or what was told has moved."""
    for progress in leader.progress.values():
        if not _lacks_commit(state, progress):
            progress.notice_ms = None
        elif state.now_ms < progress.waits_until_ms:
            progress.notice_ms = state.now_ms
        elif progress.notice_ms is None:
            progress.notice_ms = state.now_ms + state.config.commit_notice_ms


def expect_commits(state: State, leader: Leader, peer: NodeId) -> None:
    """Somebody waits at this follower: for a while it is told of every commit at once."""
    leader.progress[peer].waits_until_ms = state.now_ms + EXPECTS_MS
    plan_notices(state, leader)


def _is_notice_due(state: State, progress: Progress) -> bool:
    return progress.notice_ms is not None and state.now_ms >= progress.notice_ms and _lacks_commit(state, progress)


def _send_appends(state: State, leader: Leader, peer: NodeId, progress: Progress) -> bool:
    """Fill the follower's window; whether anything was sent."""
    sent = False
    while progress.wants_append(state.log.last_index, state.config):
        prev_index = progress.next_index - 1
        prev_term = state.log.term(prev_index)
        if prev_term is None and not progress.lacks(floor := _floor(state)):
            # Where its log ends is not known, only that nothing was confirmed. Ask where ours begins before a whole
            # state is sent: a snapshot it does not need would be refused, and be wanted again.
            progress.next_index = floor + 1
            continue
        if prev_term is None:
            progress.sees(Sign.COMPACTED)
            state.outbox.snapshots.append(SnapshotWanted(peer, progress.next_index))
            state.note("needs-snapshot", peer=peer, next=progress.next_index, first=state.log.first_index)
            break
        entries = state.log.entries(progress.next_index, state.log.last_index, state.config.max_append_bytes)
        last_index = prev_index + len(entries)
        state.send(Append(state.node, peer, state.term, prev_index, prev_term, entries, state.commit_index))
        progress.sent(last_index, sum(len(entry.data) for entry in entries), state.now_ms)
        progress.told_commit = max(progress.told_commit, min(state.commit_index, last_index))
        sent = True
    return sent


def _floor(state: State) -> Index:
    """The lowest index whose term is known: the one before the log, unless only the cache still has the beginning."""
    first_index = state.log.first_index
    return first_index if state.log.term(first_index - 1) is None else first_index - 1


def _lacks_commit(state: State, progress: Progress) -> bool:
    """Whether it holds committed entries and has not been told that they are."""
    return progress.told_commit < min(progress.match_index, state.commit_index)


def _send_heartbeat(state: State, peer: NodeId, progress: Progress, number: int) -> None:
    """Of one round, the same number for all, or a notice. A follower is never told of a commit beyond what it surely
    holds."""
    commit = min(progress.match_index, state.commit_index)
    progress.told_commit = max(progress.told_commit, commit)
    state.send(Heartbeat(state.node, peer, state.term, commit, number, state.election_timeout_ms))
