"""One promise of each chapter, in the shortest form in which breaking it shows: what the mutants are held against.

Membership (dissertation 4), reads (6.4), transfer (3.10), snapshots (5), and the write-back's one rule. One node and
the test in the place of all others, so that each fact takes a few events and the failing line names the promise.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replica.raft.events import (
    ChangeRequested,
    LearnerCompared,
    ReadRequested,
    Received,
    SnapshotArrived,
    Tick,
    TransferRequested,
)
from replica.raft.memberships import encode_membership
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.ready import Ready, Refusal
from replica.raft.types import Entry, EntryKind, HardState, Membership, NodeId, Role
from replica.runtime.zone import ZoneNode
from tests.raft.solo import Solo, entries, only, sent


def voters(*nodes: NodeId, learners: tuple[NodeId, ...] = (), outgoing: tuple[NodeId, ...] = ()) -> Membership:
    return Membership(frozenset(nodes), learners=frozenset(learners), outgoing=frozenset(outgoing))


def leader(voters: int = 3, **config: object) -> Solo:
    """Node 1, leading: its no-op is committed."""
    solo = Solo(voters, **config)  # type: ignore[arg-type]  # any field of RaftConfig
    solo.lead()
    return solo


def acknowledge(solo: Solo, *peers: NodeId, index: int | None = None) -> Ready:
    """These hold the leader's log, up to `index` or its end; saved, with all that follows, up to the last Ready."""
    at = solo.raft.last_index if index is None else index
    ready = solo.hear(*(AppendReply(peer, 1, solo.raft.term, True, at) for peer in peers))
    return solo.save(ready)


def beat(solo: Solo, ready: Ready, *peers: NodeId) -> Ready:
    """These answer the heartbeats of `ready`."""
    context = max(message.context for message in sent(ready, Heartbeat))
    return solo.hear(*(HeartbeatReply(peer, 1, solo.raft.term, context) for peer in peers))


def reason(ready: Ready) -> Refusal:
    assert len(ready.refused) == 1, f"refused: {ready.refused}"
    return ready.refused[0].reason


# ---- membership (4)


def test_learners_count_for_nothing_in_a_commit() -> None:
    """Two of them and the leader are three of five, but one of three voters."""
    solo = leader(membership=voters(1, 2, 3, learners=(4, 5)))
    solo.settle(solo.propose(b"x"))
    acknowledge(solo, 4, 5)
    assert solo.raft.commit_index == 1
    acknowledge(solo, 2)
    assert solo.raft.commit_index == 2


def test_who_votes_first_stands_in_the_log() -> None:
    """Not in configurations alone, which may be edited before a node that lost its store reads its own."""
    solo = leader()
    assert [(entry.kind, entry.data) for entry in solo.store.log] == [
        (EntryKind.MEMBERSHIP, encode_membership(voters(1, 2, 3)))
    ]


def joint() -> Solo:
    """The leader of 1, 4, 5 coming from 1, 2, 3."""
    solo = Solo(membership=voters(1, 4, 5, outgoing=(1, 2, 3)))
    solo.settle(solo.time_out())
    term = solo.raft.term + 1
    solo.settle(solo.hear(*(PreVoteReply(peer, 1, term, True) for peer in (2, 4))))
    assert solo.raft.role is Role.CANDIDATE
    return solo


def vote(solo: Solo, *peers: NodeId) -> None:
    solo.settle(solo.hear(*(RequestVoteReply(peer, 1, solo.raft.term, True) for peer in peers)))


def test_the_joint_state_elects_by_both_majorities() -> None:
    """Neither half alone."""
    solo = joint()
    vote(solo, 4, 5)
    assert solo.is_a(Role.CANDIDATE)
    vote(solo, 2)
    assert solo.is_a(Role.LEADER)


def test_the_joint_state_commits_by_both_majorities() -> None:
    """Neither half alone."""
    solo = joint()
    vote(solo, 2, 4)
    solo.hear(*(AppendReply(peer, 1, solo.raft.term, True, 1) for peer in (2, 3)))
    assert solo.raft.commit_index == 0
    solo.hear(AppendReply(4, 1, solo.raft.term, True, 1))
    assert solo.raft.commit_index > 0


def test_no_change_before_an_entry_of_the_own_term_is_committed() -> None:
    """The leader does not know yet which change of its predecessor is (the defect found in 4.1's first form)."""
    solo = Solo()
    solo.settle(solo.become_leader())
    assert reason(solo.step(ChangeRequested(0, 7, voters(1, 2)))) is Refusal.CHANGE_PENDING


def test_one_change_at_a_time() -> None:
    """The second is refused while a step of the first is not committed."""
    solo = leader()
    assert solo.step(ChangeRequested(0, 7, voters(1, 2))).accepted
    assert reason(solo.step(ChangeRequested(0, 8, voters(1, 3)))) is Refusal.CHANGE_PENDING


def test_a_change_that_would_lose_the_quorum_now_is_refused() -> None:
    """From three to two while one of the two is silent."""
    solo = leader()
    for _ in range(2):
        beat(solo, solo.wait(200), 3)
    assert reason(solo.step(ChangeRequested(solo.now_ms, 7, voters(1, 2)))) is Refusal.QUORUM_LOST
    assert solo.step(ChangeRequested(solo.now_ms, 8, voters(1, 3))).accepted


def test_removed_voters_count_no_more_once_the_joint_state_is_left() -> None:
    """1, 2, 3 become 1, 2: through both majorities to exactly these two."""
    solo = leader()
    solo.settle(solo.step(ChangeRequested(0, 7, voters(1, 2))))
    assert solo.raft.membership == voters(1, 2, outgoing=(1, 2, 3))
    acknowledge(solo, 2, 3)
    assert solo.raft.membership == voters(1, 2)
    solo.settle(solo.propose(b"x"))
    acknowledge(solo, 3)
    assert solo.raft.commit_index < solo.raft.last_index
    acknowledge(solo, 2)
    assert solo.raft.commit_index == solo.raft.last_index


def growing() -> Solo:
    """A leader of three that was asked to let node 4 vote; that is committed."""
    solo = leader()
    solo.settle(solo.step(ChangeRequested(0, 7, voters(1, 2, 3, 4))))
    acknowledge(solo, 2, 3)
    assert solo.raft.membership.incoming == {4}
    assert solo.raft.membership.voters == {1, 2, 3}
    return solo


def catch_up(solo: Solo) -> None:
    """Node 4 gets the whole log, in two short rounds."""
    for _ in range(2):
        solo.settle(acknowledge(solo, 4))


def test_a_learner_votes_only_when_it_has_caught_up() -> None:
    """Compared and equal, but far behind: it would hold up every commit (4.2.1)."""
    solo = growing()
    solo.settle(solo.step(LearnerCompared(0, 4, 1, same=True)))
    assert solo.raft.membership.voters == {1, 2, 3}
    catch_up(solo)
    assert solo.raft.membership.voters == {1, 2, 3, 4}


def test_a_learner_votes_only_when_its_state_is_the_same() -> None:
    """Caught up, but nobody has compared; and compared, but another."""
    solo = growing()
    catch_up(solo)
    assert solo.raft.membership.voters == {1, 2, 3}
    solo.settle(solo.step(LearnerCompared(0, 4, 1, same=False)))
    assert solo.raft.membership.voters == {1, 2, 3}
    solo.settle(solo.step(LearnerCompared(0, 4, 2, same=True)))
    assert solo.raft.membership.voters == {1, 2, 3, 4}


def test_a_removed_leader_leaves_when_its_removal_is_committed_and_not_before() -> None:
    """And asks the best placed voter to go on."""
    solo = leader()
    solo.settle(solo.step(ChangeRequested(0, 7, voters(2, 3))))
    solo.settle(acknowledge(solo, 2, 3))
    assert solo.raft.membership == voters(2, 3)
    assert solo.is_a(Role.LEADER)
    left = solo.hear(*(AppendReply(peer, 1, solo.raft.term, True, solo.raft.last_index) for peer in (2, 3)))
    assert solo.is_a(Role.FOLLOWER)
    assert only(left, TimeoutNow).to == 2


def test_a_leader_that_removes_itself_does_not_count_itself() -> None:
    """Of 2 and 3, both are needed (4.2.2)."""
    solo = leader()
    solo.settle(solo.step(ChangeRequested(0, 7, voters(2, 3))))
    solo.settle(acknowledge(solo, 2, 3))
    solo.settle(acknowledge(solo, 2))
    assert solo.raft.commit_index < solo.raft.last_index


def test_a_membership_whose_entry_is_replaced_holds_no_more() -> None:
    """A follower goes back to the one before (4.1)."""
    solo = Solo()
    changed = Entry(1, 1, EntryKind.MEMBERSHIP, encode_membership(voters(1, 2, outgoing=(1, 2, 3))))
    solo.settle(solo.hear(Append(2, 1, 1, 0, 0, (changed,), 0)))
    assert solo.raft.membership == voters(1, 2, outgoing=(1, 2, 3))
    solo.settle(solo.hear(Append(3, 1, 2, 0, 0, entries(2), 0)))
    assert solo.raft.membership == voters(1, 2, 3)


# ---- reads (6.4)


def test_a_read_index_is_never_below_the_own_terms_no_op() -> None:
    """What earlier terms committed the leader does not know; all of it lies below its no-op."""
    solo = Solo(log=(1, 1))
    solo.settle(solo.become_leader())
    asked = solo.step(ReadRequested(0, 7))
    confirmed = beat(solo, asked, 2)
    assert [read.index for read in confirmed.reads] == [3]
    assert solo.raft.commit_index == 0


def test_a_read_is_answered_only_when_a_quorum_has_confirmed_its_leader() -> None:
    """A deposed leader does not know that it is one."""
    solo = leader(voters=5)
    asked = solo.step(ReadRequested(0, 7))
    assert asked.reads == ()
    assert beat(solo, asked, 2).reads == ()
    assert [read.token for read in beat(solo, asked, 3).reads] == [7]


def test_a_round_begun_before_a_read_confirms_nothing_of_it() -> None:
    """Between the two another may have been elected."""
    solo = leader()
    context = max(message.context for message in sent(solo.time_out(), Heartbeat))
    earlier = Received(solo.now_ms, HeartbeatReply(2, 1, solo.raft.term, context))
    asked = solo.step(ReadRequested(solo.now_ms, 7), earlier)
    assert asked.reads == ()
    assert [read.token for read in beat(solo, asked, 2).reads] == [7]


def leased() -> Solo:
    """A leader with leases and clocks that may differ by a tenth each; a quorum has just answered a round."""
    solo = leader(lease_reads=True, clock_drift_permille=100)
    beat(solo, solo.time_out(), 2, 3)
    assert solo.step(ReadRequested(solo.now_ms, 1)).reads
    return solo


def test_a_lease_is_shorter_than_the_promise_it_rests_on_by_the_drift_of_both_clocks() -> None:
    """300 ms of a clock that gains a tenth are over after 245 of one that loses a tenth."""
    solo = leased()
    assert solo.step(ReadRequested(solo.now_ms + 240, 2)).reads
    assert not solo.step(ReadRequested(solo.now_ms + 246, 3)).reads


def test_offering_leadership_ends_all_leases_of_the_term() -> None:
    """The heir may campaign at any time from then on (3.10)."""
    solo = leased()
    assert only(solo.step(TransferRequested(solo.now_ms, 2, 2)), TimeoutNow).to == 2
    assert not solo.step(ReadRequested(solo.now_ms, 3)).reads


def test_a_clock_outside_the_declared_bound_ends_the_leases() -> None:
    """Node 2's goes twice as fast as ours; it is compared over ten election timeouts."""
    solo = leased()
    begun_ms = solo.now_ms
    for _ in range(80):
        asked = solo.time_out()
        context = max(message.context for message in sent(asked, Heartbeat))
        fast, true = 2 * (solo.now_ms - begun_ms), solo.now_ms - begun_ms
        solo.hear(
            HeartbeatReply(2, 1, solo.raft.term, context, clock_ms=fast),
            HeartbeatReply(3, 1, solo.raft.term, context, clock_ms=true),
        )
    assert not solo.step(ReadRequested(solo.now_ms, 3)).reads


def test_with_leases_a_promise_to_a_leader_outlives_its_term() -> None:
    """A follower hears of a higher term and is asked for a vote in it: a lease may still rest on it."""
    solo = Solo(lease_reads=True)
    solo.wait(200)
    solo.settle(solo.hear(Heartbeat(2, 1, 1, 0, 1)))
    solo.settle(solo.hear(PreVoteReply(3, 1, 5, granted=False)))
    assert solo.raft.term == 5
    solo.hear(RequestVote(3, 1, 5, 0, 0))
    assert solo.raft.vote == 0


# ---- transfer (3.10)


def test_the_heir_is_asked_to_campaign_only_when_it_has_all_there_is() -> None:
    """Else it would lose the election, or the leader its proposals."""
    solo = leader()
    solo.settle(solo.propose(b"x"))
    assert sent(solo.step(TransferRequested(0, 7, 2)), TimeoutNow) == []
    caught_up = solo.hear(AppendReply(2, 1, solo.raft.term, True, solo.raft.last_index))
    assert only(caught_up, TimeoutNow).to == 2


def test_a_leader_that_hands_over_takes_no_proposals_until_that_has_ended() -> None:
    """Surely not done; and after an election timeout without a successor it goes on."""
    solo = leader()
    solo.settle(solo.propose(b"x"))
    solo.step(TransferRequested(0, 7, 2))
    assert reason(solo.propose(b"y")) is Refusal.TRANSFERRING
    for _ in range(6):
        beat(solo, solo.time_out(), 3)
    aborted = solo.step(Tick(solo.now_ms))
    assert aborted is not None
    assert not solo.raft.transferring
    assert solo.propose(b"y").accepted


# ---- snapshots (5)


def snapshot(index: int, term: int) -> SnapshotArrived:
    return SnapshotArrived(0, 7, index, term, (0, encode_membership(voters(1, 2, 3))))


def follower(*log: int, committed: int = 0) -> Solo:
    """Node 1 with entries of these terms, following node 2 in the last one's term."""
    solo = Solo(log=log, hard=HardState(log[-1]))
    solo.settle(solo.hear(Append(2, 1, log[-1], len(log), log[-1], (), committed)))
    return solo


def test_a_stale_snapshot_is_refused() -> None:
    """It would take the state back in time, the more so where the log has dropped what the snapshot ends with."""
    solo = follower(1, 1, 1, committed=3)
    solo.store.compact(3)
    refused = solo.step(snapshot(1, 1))
    assert refused.install is None
    assert reason(refused) is Refusal.STALE
    assert refused.commit_index == 3


def test_a_snapshot_of_what_the_log_has_is_not_installed_but_tells_what_is_committed() -> None:
    """Figure 5.3: the entries behind it are kept."""
    solo = follower(1, 1, 1)
    ready = solo.step(snapshot(2, 1))
    assert ready.install is None
    assert (ready.commit_index, solo.raft.last_index) == (2, 3)


def test_after_a_snapshot_the_log_goes_on_with_the_very_next_entry() -> None:
    """Committed is exactly what the snapshot covers; the next entry is the first that is applied."""
    solo = follower(1, 1)
    ready = solo.step(snapshot(10, 1))
    assert ready.install is not None
    assert (ready.install.index, ready.commit_index, ready.committed) == (10, 10, ())
    assert (solo.raft.first_index, solo.raft.last_index) == (11, 10)
    assert only(ready, AppendReply).match_index == 10
    after = solo.hear(Append(2, 1, 1, 10, 1, entries(1, first=11), 11))
    assert [entry.index for entry in after.committed] == [11]


def test_a_snapshots_acknowledgement_leaves_only_when_it_is_installed() -> None:
    """It is a promise like any other."""
    ready = follower(1).step(snapshot(10, 1))
    assert [type(message) for message in ready.send_saved] == [AppendReply]
    assert [message for message in ready.send_now if isinstance(message, AppendReply)] == []


def test_the_log_is_compacted_up_to_the_least_of_what_is_needed() -> None:
    """What is flushed, what is kept for followers, what goes on behind a snapshot under way."""
    raft = follower(1, 1, 1, 1, 1, 1, committed=6).raft
    assert raft.compaction_index(flushed_index=3, keep_from=6) == 3
    assert raft.compaction_index(flushed_index=6, keep_from=3) == 2
    assert raft.compaction_index(flushed_index=6, keep_from=6, sending=4) == 4


# ---- elections


def test_the_own_vote_counts_when_its_own_save_is_done_and_not_an_earlier_one() -> None:
    """A disk that is late with the vote of the term before says nothing about the vote of this one."""
    solo = Solo(voters=1)
    first = solo.become_candidate()
    second = solo.wait(1_000)
    assert second.hard_state is not None
    assert second.hard_state.term > 1
    solo.save(first)
    assert solo.is_a(Role.CANDIDATE)
    solo.save(second)
    assert solo.is_a(Role.LEADER)


# ---- a node's loop


@pytest.mark.parametrize("waits", [True, False])
def test_entries_behind_an_install_are_applied_after_it(waits: bool) -> None:
    """While a snapshot is to take the state's place, what is committed behind it waits; otherwise it is applied."""
    applied: list[int] = []

    def nothing(*_: object) -> tuple[()]:
        return ()

    node = SimpleNamespace(
        log=None,
        _post=nothing,
        _saving=SimpleNamespace(add=nothing, install_waits=waits),
        _settle=nothing,
        _save=nothing,
        snapshots=SimpleNamespace(take_ready=nothing),
        _after_install=[],
        _apply=lambda entry: applied.append(entry.index),
        beat=nothing,
    )
    empty = follower(1).raft.ready()
    ready = replace(empty, committed=entries(1, 1, first=11), standing=None, membership=None, notes=())
    cast(Any, ZoneNode)._carry_out(node, ready)
    assert (applied, [entry.index for entry in node._after_install]) == (([], [11, 12]) if waits else ([11, 12], []))


# ---- the write-back


@pytest.mark.parametrize(
    ("stable", "applied", "quiet", "install", "may"),
    [
        (5, 5, False, False, True),
        (4, 5, False, False, False),
        (5, 5, True, False, False),
        (5, 5, False, True, False),
    ],
)
def test_the_state_is_not_flushed_ahead_of_the_nodes_own_log(
    stable: int, applied: int, quiet: bool, install: bool, may: bool
) -> None:
    """A leader may apply what only the others have synced; nor while another state is to take this one's place."""
    node = SimpleNamespace(
        raft=SimpleNamespace(stable_index=stable),
        state=SimpleNamespace(index=applied),
        snapshots=SimpleNamespace(fetcher=SimpleNamespace(quiet=quiet)),
        _saving=SimpleNamespace(install_waits=install),
    )
    may_flush = cast(Any, ZoneNode._may_flush).fget
    assert may_flush(node) is may
