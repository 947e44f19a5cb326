"""The invariants of memberships, snapshots, reads and transfers: each says no to a bad history made by hand."""

from __future__ import annotations

import pytest

from chaos.world.invariants import InvariantViolated
from chaos.world.later_invariants import (
    CommitHasQuorum,
    CommittedMembershipsOverlap,
    CompactedIsFlushed,
    DigestsEqual,
    ReadsAreLinearizable,
    RemovedDoNotDisturb,
    SnapshotIsCommitted,
    TransferAbortsInOneTimeout,
    is_quorum,
)
from replica.raft.types import Entry, EntryKind, Membership


def voting(*voters: int, outgoing: tuple[int, ...] = ()) -> Membership:
    return Membership(frozenset(voters), outgoing=frozenset(outgoing))


def test_a_commit_wants_a_majority_of_each_half_on_disk() -> None:
    """Of voters 1 2 4 and outgoing 1 2 3: nodes 1 and 2 are both majorities, 3 and 4 and 1 are, 2 and 4 are one."""
    quorum = CommitHasQuorum()
    joint = voting(1, 2, 4, outgoing=(1, 2, 3))
    quorum.commits(1, 5, joint, [1, 2])
    quorum.commits(1, 6, joint, [1, 3, 4])

    with pytest.raises(InvariantViolated, match="CommitHasQuorum: a commit without a quorum of disks"):
        quorum.commits(1, 7, joint, [2, 4])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (voting(1, 2, 3), voting(1, 2, 4, outgoing=(1, 2, 3))),
        (voting(1, 2, 4, outgoing=(1, 2, 3)), voting(1, 2, 4)),
        (voting(1, 2, 3), voting(1, 2, 3, 4)),
    ],
    ids=["into the joint state", "out of it", "one more"],
)
def test_memberships_that_share_a_node_in_all_their_quorums_follow_on_each_other(
    before: Membership, after: Membership
) -> None:
    """The joint state overlaps with both of its halves; so do memberships that differ by one voter."""
    CommittedMembershipsOverlap(before).commits(5, after)


def test_memberships_that_can_decide_apart_must_not_follow_on_each_other() -> None:
    """Of 1 2 3 the nodes 1 and 2 can decide, of 1 2 3 4 5 the nodes 3, 4 and 5: figure 4.2."""
    with pytest.raises(InvariantViolated, match="two memberships can decide apart"):
        CommittedMembershipsOverlap(voting(1, 2, 3)).commits(5, voting(1, 2, 3, 4, 5))


def test_the_judges_own_quorum_knows_both_halves() -> None:
    """Even sizes too: of four voters two are none."""
    assert [is_quorum(voting(1, 2, 3, 4), nodes) for nodes in ((1, 2), (1, 2, 3))] == [False, True]
    assert [is_quorum(voting(1, outgoing=(2, 3)), nodes) for nodes in ((1, 2), (1, 2, 3))] == [False, True]


def test_a_snapshot_is_of_a_committed_entry_and_its_membership() -> None:
    """Another term at its index, an index nobody agreed on, another membership: each is none."""
    snapshots = SnapshotIsCommitted()
    agreed, base = Entry(7, 2, EntryKind.DATA, b""), (3, b"who votes")
    snapshots.holds(1, agreed, (7, 2, base), base)

    with pytest.raises(InvariantViolated, match=r"what was not committed: .* as of 7/3; agreed there is 7/2"):
        snapshots.holds(1, agreed, (7, 3, base), base)
    with pytest.raises(InvariantViolated, match="nothing is agreed there"):
        snapshots.holds(1, None, (8, 2, base), base)
    with pytest.raises(InvariantViolated, match="a snapshot of another membership"):
        snapshots.holds(1, agreed, (7, 2, (0, b"old")), base)


def test_only_what_is_flushed_may_be_dropped() -> None:
    """A crash replays the log from the state on the disk on."""
    CompactedIsFlushed().compacts(1, through=5, flushed=5)

    with pytest.raises(InvariantViolated, match="node 1 dropped what it may need"):
        CompactedIsFlushed().compacts(1, through=6, flushed=5)


def test_two_states_at_one_index_are_one_state() -> None:
    """Whoever comes later is compared with the first."""
    digests = DigestsEqual()
    digests.reaches(1, 1, 0xAA)
    digests.reaches(2, 1, 0xAA)

    with pytest.raises(InvariantViolated, match="node 3's state differs at 1"):
        digests.reaches(3, 1, 0xBB)


def test_a_read_never_misses_what_was_shown_before_it_was_asked() -> None:
    """An acknowledged write binds every read asked after it; one asked before may be older."""
    reads = ReadsAreLinearizable()
    reads.shows(4)
    reads.asked(1)
    reads.shows(7)
    reads.asked(2)
    reads.confirmed(1, 1, 4)

    with pytest.raises(InvariantViolated, match=r"a stale read on node 1: .* index 7 had been shown"):
        reads.confirmed(1, 2, 6)


def test_a_removed_node_that_campaigns_long_after_disturbs() -> None:
    """At once it may still use what it was told before; a node that came back into a membership is not removed."""
    removed = RemovedDoNotDisturb()
    removed.removed([4, 5], now_ms=100)
    removed.removed([4], now_ms=500)
    removed.campaigns(4, 7, now_ms=300, grace_ms=200)
    removed.campaigns(5, 7, now_ms=900, grace_ms=200)

    with pytest.raises(InvariantViolated, match="the removed node 4 disturbs: its removal is committed since 100 ms"):
        removed.campaigns(4, 8, now_ms=301, grace_ms=200)


def test_a_transfer_ends_within_an_election_timeout() -> None:
    """At the deadline's tick the leader takes requests again."""
    transfer = TransferAbortsInOneTimeout()
    transfer.ticks(1, now_ms=299, until_ms=300, transferring=True)
    transfer.ticks(1, now_ms=300, until_ms=300, transferring=False)

    with pytest.raises(InvariantViolated, match="leader 1 refuses requests too long"):
        transfer.ticks(1, now_ms=300, until_ms=300, transferring=True)
