"""Snapshots where scenarios do not reach (snapshots.py): one node, the test in the place of driver and peers."""

from __future__ import annotations

import pytest

from replica.raft.events import PeerFound, PeerLost, SnapshotArrived, SnapshotSent
from replica.raft.memberships import encode_membership
from replica.raft.messages import Append, AppendReply, Heartbeat
from replica.raft.progress import Phase
from replica.raft.ready import Install, Ready, Refusal
from replica.raft.types import Index, Membership, Role, Term
from tests.raft.solo import Solo, entries, only, sent

THREE = encode_membership(Membership(frozenset({1, 2, 3})))


def arrive(node: Solo, index: Index, term: Term, token: int = 9, membership: tuple[Index, bytes] = (0, THREE)) -> Ready:
    return node.step(SnapshotArrived(node.now_ms, token, index, term, membership))


def follower(*terms: Term) -> Solo:
    """Of node 2, in term 3, with entries of these terms."""
    node = Solo(log=terms)
    node.settle(node.hear(Heartbeat(2, 1, 3, 0)))
    return node


def test_an_install_is_durable_before_anybody_hears_of_it() -> None:
    """The acknowledgement leaves after the save; nothing is believed durable before."""
    node = follower(1)
    ready = arrive(node, 10, 3)
    assert ready.install == Install(9, 10, 3, (0, THREE))
    assert ready.must_save
    assert only(ready, AppendReply).match_index == 10
    assert sent(ready, AppendReply) == list(ready.send_saved)
    assert (node.raft.commit_index, node.raft.last_index, node.raft.first_index) == (10, 10, 11)
    assert node.raft.stable_index == 0
    node.save(ready)
    assert node.raft.stable_index == 10


def test_entries_that_follow_on_a_snapshot_need_not_wait_for_its_install() -> None:
    """They go to the disk after it, in one Ready or in the next."""
    node = follower(1)
    arrived = arrive(node, 10, 3)
    more = node.hear(Append(2, 1, 3, 10, 3, entries(3, 3, first=11), 11))
    assert [one.index for one in more.committed] == [11]
    node.save(arrived)
    assert node.raft.stable_index == 10
    node.save(more)
    assert node.raft.stable_index == 12


def test_of_two_snapshots_in_one_turn_the_newer_one_is_installed() -> None:
    """The driver is told that the other is of no use."""
    node = follower(1)
    ready = node.step(
        SnapshotArrived(0, 8, 10, 3, (0, THREE)),
        SnapshotArrived(0, 9, 20, 3, (15, THREE)),
    )
    assert ready.install is not None
    assert (ready.install.token, ready.install.index) == (9, 20)
    assert [(one.token, one.reason) for one in ready.refused] == [(8, Refusal.STALE)]


@pytest.mark.parametrize(
    ("membership", "says"),
    [
        ((0, b""), "Expecting value"),
        ((0, b"[]"), "other fields"),
        ((11, THREE), "a membership at 11 of a snapshot at 10"),
    ],
)
def test_a_snapshot_without_a_membership_is_refused(membership: tuple[Index, bytes], says: str) -> None:
    """Who votes is part of the state (5.1)."""
    node = follower(1)
    ready = arrive(node, 10, 3, membership=membership)
    assert ready.refused[0].reason is Refusal.INVALID
    assert says in ready.refused[0].detail
    assert (ready.install, node.raft.commit_index) == (None, 0)


def test_a_leader_that_lacks_what_is_committed_stops() -> None:
    """Leader Completeness (figure 3): such a snapshot says that something is broken."""
    node = Solo()
    node.lead()
    with pytest.raises(AssertionError, match="lacks the committed entry 10"):
        arrive(node, 10, 1)


def test_a_leader_that_gets_a_snapshot_of_a_later_term_steps_down() -> None:
    """Another has led since."""
    node = Solo()
    node.lead()
    ready = arrive(node, 10, 4)
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 4)
    assert ready.hard_state is not None
    assert ready.hard_state.term == 4
    assert sent(ready, AppendReply) == []


def test_what_lies_before_a_snapshot_is_not_known_any_more() -> None:
    """Its last entry's term is; and an Append that begins before it is cut to what follows."""
    node = follower(1, 1)
    node.settle(arrive(node, 10, 3))
    assert [node.raft.entry_term(index) for index in (1, 9, 10, 11)] == [None, None, 3, None]
    reply = only(node.hear(Append(2, 1, 3, 8, 2, entries(3, 3, 3, first=9), 11)), AppendReply)
    assert (reply.ok, reply.match_index) == (True, 11)


def test_before_the_install_is_saved_nothing_older_is_read_from_the_store() -> None:
    """The store still has the old log; the core has forgotten it."""
    node = follower(1, 1)
    arrive(node, 10, 3)
    assert [node.raft.entry_term(index) for index in (1, 2, 9, 10)] == [None, None, None, 3]


def test_the_end_of_a_transfer_is_the_business_of_a_leader_that_waits_for_it() -> None:
    """Said late, of a stranger, or of who needs none, it changes nothing."""
    node = Solo()
    assert not node.step(SnapshotSent(0, 2, True)).notes
    node.lead()
    assert not node.step(SnapshotSent(node.now_ms, 9, True), SnapshotSent(node.now_ms, 2, True)).notes


def test_a_snapshot_carries_the_membership_in_force_at_its_index() -> None:
    """Not the latest one."""
    node = Solo()
    assert node.raft.membership_at(0) == (0, THREE)


def test_no_more_is_compacted_than_is_committed() -> None:
    """What was flushed was applied, and what was applied was committed: anything else is a driver's mistake."""
    node = follower(1, 1)
    with pytest.raises(AssertionError, match="flushed 2, committed 0"):
        node.raft.compaction_index(2, keep_from=3)


def compacting_leader(log: int, cached: int) -> Solo:
    """Leads term 2 over `log` entries of term 1 read from the store, and `cached` of its own that are in memory too.

    3 has not answered anything but votes.
    """
    node = Solo(log=(1,) * log)
    node.settle(node.become_leader())
    node.settle(node.propose(*(b"%d" % number for number in range(cached - 1))))
    node.settle(node.hear(AppendReply(2, 1, 2, True, node.raft.last_index)))
    assert node.raft.commit_index == log + cached
    return node


def phase_of_3(node: Solo) -> Phase:
    return node.raft.progress[1].phase


def test_a_late_acknowledgement_below_the_log_does_not_end_the_wait_for_a_snapshot() -> None:
    """What comes after it is still compacted."""
    node = compacting_leader(log=4, cached=1)
    node.store.compact(5)
    ready = node.hear(AppendReply(3, 1, 2, False, 4, hint_index=2, hint_term=0))
    assert [one.peer for one in ready.snapshots] == [3]
    node.settle(ready)
    node.settle(node.hear(AppendReply(3, 1, 2, True, 1)))
    assert phase_of_3(node) is Phase.SNAPSHOT
    node.settle(node.hear(AppendReply(3, 1, 2, True, 5)))
    assert phase_of_3(node) is Phase.PROBE


def test_a_follower_is_asked_where_the_cache_begins_when_the_store_begins_later() -> None:
    """The term of the cache's first entry is known, that of the one before it is compacted."""
    node = compacting_leader(log=4, cached=4)
    node.store.compact(8)
    assert (node.raft.first_index, node.raft.entry_term(4)) == (5, None)
    ready = node.step(PeerLost(node.now_ms, 3), PeerFound(node.now_ms, 3))
    asked = only(ready, Append)
    assert (asked.to, asked.prev_index, asked.prev_term) == (3, 5, 2)
    assert [one.index for one in asked.entries] == [6, 7, 8]
