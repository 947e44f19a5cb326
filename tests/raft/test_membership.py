"""Membership changes where scenarios do not reach (membership.py): one leader, the test in everybody else's place."""

from __future__ import annotations

import pytest

from replica.raft.events import ChangeRequested, LearnerCompared, PeerFound, PeerLost, SnapshotArrived
from replica.raft.memberships import decode_membership, encode_membership
from replica.raft.messages import (
    Append,
    AppendReply,
    HeartbeatReply,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.ready import Ready, Refusal
from replica.raft.types import Entry, EntryKind, Index, Membership, NodeId, Role
from tests.raft.solo import Solo, only, sent


def of(*voters: NodeId, learners: tuple[NodeId, ...] = (), outgoing: tuple[NodeId, ...] = ()) -> Membership:
    return Membership(frozenset(voters), frozenset(outgoing), frozenset(learners))


def change(node: Solo, target: Membership, token: int = 9) -> Ready:
    return node.step(ChangeRequested(node.now_ms, token, target))


def acknowledge(node: Solo, *peers: NodeId, match: Index | None = None) -> Ready:
    """These hold everything, and the leader's own disk too."""
    last = node.raft.last_index if match is None else match
    return node.hear(*(AppendReply(peer, 1, node.raft.term, True, last) for peer in peers))


def leader(**config: object) -> Solo:
    node = Solo(**config)  # type: ignore[arg-type]  # any field
    node.lead()
    return node


def catch_up(node: Solo, *learners: NodeId) -> None:
    """Learners named by the latest change hold everything, in no time."""
    node.settle(acknowledge(node, 2, 3, *learners))
    node.settle(acknowledge(node, *learners))


@pytest.mark.parametrize("part", ["outgoing", "incoming", "leaving"])
def test_a_target_that_is_half_a_change_is_refused(part: str) -> None:
    """How to get there is the core's affair."""
    node = leader()
    parts: dict[str, frozenset[NodeId]] = {part: frozenset({3})}
    ready = change(node, Membership(frozenset({1, 2}), **parts))  # type: ignore[arg-type]  # sets of nodes only
    assert (ready.refused[0].reason, ready.refused[0].detail) == (
        Refusal.INVALID,
        "a target names voters and learners only",
    )
    assert node.raft.last_index == 1


def test_promotion_waits_for_a_quorum_of_the_voters_to_come() -> None:
    """Asked again before the joint state: who answered when the change was asked for may be gone."""
    node = leader()
    node.settle(change(node, of(1, 3, 4)))
    catch_up(node, 4)
    node.step(PeerLost(node.now_ms, 3), PeerLost(node.now_ms, 4))
    ready = node.step(LearnerCompared(node.now_ms, 4, 2, True))
    assert [note.what for note in ready.notes if note.what == "promotion-waits"]
    assert not node.raft.membership.outgoing
    node.settle(acknowledge(node, 4))
    assert node.raft.membership.outgoing == {1, 2, 3}


def test_a_voter_that_lost_its_store_is_not_counted_on() -> None:
    """It answers and counts for nothing: the two that would be left could commit nothing."""
    node = leader()
    node.settle(node.hear(HeartbeatReply(2, 1, node.raft.term, 0, rebuilding=True, life=5)))
    node.settle(acknowledge(node, 3))
    refused = change(node, of(1, 2)).refused[0]
    assert (refused.reason, refused.detail) == (
        Refusal.QUORUM_LOST,
        "of the voters 1, 2 these do not answer: 2; 2 must",
    )


def test_a_no_after_a_yes_takes_the_yes_back() -> None:
    """What was equal once may have gone apart."""
    node = leader()
    node.settle(change(node, of(1, 2, 3, 4)))
    node.step(LearnerCompared(node.now_ms, 4, 1, True), LearnerCompared(node.now_ms, 4, 2, False))
    catch_up(node, 4)
    assert node.raft.progress[-1].quick
    assert not node.raft.progress[-1].same
    assert not node.raft.membership.outgoing


def test_a_learner_that_lost_its_store_is_compared_anew() -> None:
    """A yes was about a state that is gone."""
    node = leader()
    node.settle(change(node, of(1, 2, 3, 4)))
    node.settle(node.step(LearnerCompared(node.now_ms, 4, 1, True)))
    node.settle(node.hear(HeartbeatReply(4, 1, node.raft.term, 0, rebuilding=True, life=5)))
    assert [(view.same, view.quick) for view in node.raft.progress if view.peer == 4] == [(False, False)]


def test_a_learner_stays_slow_while_its_round_lasts() -> None:
    """A quick round long ago says nothing: the one that has lasted an election timeout speaks against it."""
    node = leader(check_quorum=False)
    node.settle(change(node, of(1, 2, 3, 4)))
    catch_up(node, 4)
    assert node.raft.progress[-1].quick
    node.settle(node.propose(b"more"))
    node.settle(acknowledge(node, 2, 3))
    node.settle(acknowledge(node, 4, match=2))
    node.settle(node.wait(300))
    node.settle(acknowledge(node, 2))
    node.settle(node.wait(300))
    node.settle(acknowledge(node, 2))
    assert not node.raft.progress[-1].quick


def test_who_is_compared_or_sent_a_snapshot_is_a_leaders_affair() -> None:
    """A driver may be late by a role."""
    node = Solo()
    ready = node.step(LearnerCompared(0, 2, 1, True))
    assert not ready.notes
    leads = leader()
    assert not leads.step(LearnerCompared(leads.now_ms, 9, 1, True)).notes


def test_a_change_of_one_voter_alone_is_committed_by_its_own_disk() -> None:
    """And learners of its own are no obstacle."""
    node = Solo(voters=1)
    node.settle(node.become_candidate())
    assert node.is_a(Role.LEADER)
    node.settle(change(node, of(1, learners=(2,))))
    assert node.raft.commit_index == node.raft.last_index
    assert node.raft.membership == of(1, learners=(2,))


def test_a_node_that_comes_back_while_it_is_told_goodbye_is_told_no_more() -> None:
    """Its progress goes on where it was."""
    node = leader()
    node.settle(change(node, of(1, 2)))
    node.settle(acknowledge(node, 2, 3))
    node.settle(acknowledge(node, 2))
    node.settle(change(node, of(1, 2, learners=(3,))))
    for _ in range(40):
        node.settle(acknowledge(node, 2))
        node.settle(node.wait(50))
    assert [view.peer for view in node.raft.progress] == [2, 3]
    assert node.raft.membership == of(1, 2, learners=(3,))


def test_a_farewell_lasts_until_the_removed_node_holds_the_entry_that_removes_it() -> None:
    """That it is committed was said once, and may have been lost with the entry."""
    node = leader()
    node.settle(change(node, of(1, 2)))
    node.settle(acknowledge(node, 2, 3))
    node.settle(acknowledge(node, 2))
    assert node.raft.membership == of(1, 2)
    assert node.raft.commit_index == node.raft.last_index
    node.settle(acknowledge(node, 2, 3, match=node.raft.last_index - 1))
    (told,) = [one for one in node.settle(node.step(PeerFound(node.now_ms, 3))) if isinstance(one, Append)]
    assert (told.entries[-1].index, told.commit) == (node.raft.last_index, node.raft.last_index)
    for _ in range(3):
        node.settle(node.wait(50))
        node.settle(acknowledge(node, 2))
    assert [view.peer for view in node.raft.progress] == [2, 3]
    node.settle(acknowledge(node, 3))
    node.settle(node.wait(50))
    assert [view.peer for view in node.raft.progress] == [2]


def test_a_farewell_ends_though_nobody_answers_it() -> None:
    """A node that was removed because it is gone costs the leader nothing for ever."""
    node = leader(check_quorum=False)
    node.settle(change(node, of(1, 2)))
    node.settle(acknowledge(node, 2))
    node.settle(acknowledge(node, 2))
    assert [view.peer for view in node.raft.progress] == [2, 3]
    for _ in range(30):
        node.settle(node.wait(50))
        node.settle(node.hear(HeartbeatReply(2, 1, node.raft.term, 0)))
    assert [view.peer for view in node.raft.progress] == [2]


def test_a_farewell_lasts_until_the_removal_is_known_to_be_committed() -> None:
    """The entry alone says nothing: it might yet be replaced, and its holder would call elections for it (4.2.2)."""
    node = leader()
    node.settle(change(node, of(1, 2)))
    node.settle(acknowledge(node, 2, 3))
    assert node.raft.membership == of(1, 2)
    node.settle(acknowledge(node, 3))
    node.settle(node.wait(50))
    assert node.raft.commit_index < node.raft.last_index
    assert [view.peer for view in node.raft.progress] == [2, 3]
    node.settle(acknowledge(node, 2))
    node.settle(node.wait(50))
    assert [view.peer for view in node.raft.progress] == [2]


def test_a_later_change_does_not_begin_a_farewell_anew() -> None:
    """Else a node that is gone would cost something for as long as changes follow each other."""
    node = leader(check_quorum=False)
    node.settle(change(node, of(1, 2)))
    node.settle(acknowledge(node, 2))
    node.settle(acknowledge(node, 2))
    for turn in range(26):
        node.settle(node.wait(50))
        node.settle(acknowledge(node, 2))
        node.settle(change(node, Membership(frozenset({1, 2}), directory=b"%d" % turn)))
        node.settle(acknowledge(node, 2))
    assert node.raft.membership.directory == b"25"
    assert [view.peer for view in node.raft.progress] == [2]


@pytest.mark.parametrize(("count", "fits"), [(7, True), (8, False)])
def test_seven_voters_are_the_most(count: int, fits: bool) -> None:
    node = leader()
    ready = change(node, of(*range(1, count + 1)))
    assert bool(ready.accepted) == fits
    assert [one.detail for one in ready.refused] == ([] if fits else ["8 voters, 7 at most"])


def test_a_change_goes_on_under_a_new_leader_only_once_its_own_term_has_committed() -> None:
    """2015, raft-dev: before that it does not know what is committed."""
    node = Solo()
    joint = Membership(frozenset({1, 2}), frozenset({1, 2, 3}))
    entry = Entry(1, 1, EntryKind.MEMBERSHIP, encode_membership(joint))
    node.settle(node.hear(Append(2, 1, 1, 0, 0, (entry,), 1)))
    assert node.raft.membership == joint
    node.settle(node.become_candidate())
    node.settle(node.hear(*(RequestVoteReply(peer, 1, node.raft.term, True) for peer in (2, 3))))
    assert node.is_a(Role.LEADER)
    node.settle(acknowledge(node, 2, match=1))
    assert node.raft.membership == joint
    ready = acknowledge(node, 2, 3)
    assert [decode_membership(one.data) for one in ready.entries] == [of(1, 2)]


def test_a_removed_leader_hands_over_to_a_voter_that_has_everything() -> None:
    """The better placed of two."""
    node = leader()
    node.settle(change(node, of(2, 3)))
    node.settle(acknowledge(node, 2, 3))
    node.settle(acknowledge(node, 2))
    ready = acknowledge(node, 3)
    assert only(ready, TimeoutNow).to == 2
    assert node.is_a(Role.FOLLOWER)


def test_a_removed_node_does_not_campaign_once_it_knows() -> None:
    node = leader()
    node.settle(change(node, of(2, 3)))
    node.settle(acknowledge(node, 2, 3))
    node.settle(acknowledge(node, 2, 3))
    for _ in range(5):
        assert not sent(node.time_out(), RequestVote)
    assert node.is_a(Role.FOLLOWER)


@pytest.mark.parametrize("role", ["follower", "candidate"])
def test_only_a_leader_changes_the_membership(role: str) -> None:
    node = Solo()
    if role == "candidate":
        node.become_candidate()
    assert change(node, of(1, 2)).refused[0].reason is Refusal.NOT_LEADER


def test_a_pre_candidate_that_learns_of_its_removal_does_not_stand() -> None:
    """It asked while its log alone might have had the entry (4.2.2); a snapshot has told it otherwise since."""
    node = Solo()
    gone = Entry(1, 1, EntryKind.MEMBERSHIP, encode_membership(of(2, 3)))
    node.settle(node.hear(Append(2, 1, 1, 0, 0, (gone,), 0)))
    node.settle(node.time_out())
    assert node.is_a(Role.PRE_CANDIDATE)
    node.settle(node.step(SnapshotArrived(node.now_ms, 7, 1, 1, (1, gone.data))))
    node.settle(node.hear(PreVoteReply(2, 1, 2, True), PreVoteReply(3, 1, 2, True)))
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 1)
    for _ in range(5):
        node.settle(node.time_out())
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 1)
