"""Hand-overs where scenarios do not reach (transfer.py): one leader, the test in everybody else's place."""

from __future__ import annotations

from dataclasses import replace

from replica.raft.events import ChangeRequested, LearnerCompared, Tick, TransferRequested
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.ready import Ready, Refusal
from replica.raft.types import HardState, Membership, NodeId, Role
from tests.raft.solo import Solo, entries, only, sent


def leader(**config: object) -> Solo:
    node = Solo(**config)  # type: ignore[arg-type]  # any field
    node.lead()
    return node


def transfer(node: Solo, to: NodeId = 0) -> Ready:
    return node.step(TransferRequested(node.now_ms, 9, to))


def acknowledge(node: Solo, *peers: NodeId) -> Ready:
    return node.hear(*(AppendReply(peer, 1, node.raft.term, True, node.raft.last_index) for peer in peers))


def test_a_leader_says_that_it_hands_over() -> None:
    """A driver keeps what comes meanwhile for who leads next."""
    node = leader()
    assert not node.raft.transferring
    transfer(node, 2)
    assert node.raft.transferring
    node.hear(Heartbeat(2, 1, 2, 0))
    assert not node.raft.transferring


def test_a_target_that_lost_its_store_is_none() -> None:
    """It could not even be elected."""
    node = leader()
    node.settle(node.hear(HeartbeatReply(2, 1, 1, 0, rebuilding=True, life=4)))
    refused = transfer(node, 2).refused[0]
    assert (refused.reason, refused.detail) == (
        Refusal.NO_TARGET,
        "node 2 lost its store and does not count yet",
    )


def test_a_leader_that_loses_its_role_otherwise_says_that_nothing_came_of_it() -> None:
    """Without a quorum, in its own term; and if a newer term begins before the target was asked."""
    node = leader()
    node.settle(node.propose(b"x"))
    transfer(node, 2)
    done = node.step(Tick(node.now_ms + 10_000)).transfers[0]
    assert (done.ok, done.why) == (False, "this node does not lead any more")
    other = leader()
    other.settle(other.propose(b"x"))
    transfer(other, 2)
    assert not other.hear(Heartbeat(3, 1, 2, 0)).transfers[0].ok


def test_a_target_that_a_change_removes_meanwhile_is_not_asked() -> None:
    """The change was under way before: its farewell may end before the hand-over is given up."""
    node = leader()
    target = Membership(frozenset({1, 2, 4}))
    node.settle(node.step(ChangeRequested(node.now_ms, 8, target)))
    node.settle(acknowledge(node, 2, 3, 4))
    node.settle(acknowledge(node, 4))
    node.settle(node.propose(b"x"))
    node.settle(transfer(node, 3))
    node.settle(node.step(LearnerCompared(node.now_ms, 4, 2, True)))
    for _ in range(2):
        node.settle(acknowledge(node, 2, 4))
    assert node.raft.membership == target
    last = node.raft.last_index
    # 3 has the entry that removes it, and more has come since: it is level with the farewell, not with the log.
    node.settle(node.hear(AppendReply(3, 1, 1, True, last - 1)))
    node.settle(node.hear(AppendReply(3, 1, 1, True, last)))
    for _ in range(8):
        node.settle(node.wait(50))
        node.settle(acknowledge(node, 2, 4))
    assert not node.raft.transferring
    assert 3 not in [view.peer for view in node.raft.progress]


def test_a_rebuilding_node_does_not_campaign_when_asked() -> None:
    node = Solo(hard=HardState(rebuilding=True))
    node.settle(node.hear(Append(2, 1, 1, 0, 0, entries(1), 0)))
    ready = node.hear(TimeoutNow(2, 1, 1))
    assert not sent(ready, RequestVote)
    assert [note.what for note in ready.notes] == ["timeout-now-ignored"]


def test_who_was_asked_to_campaign_says_so_in_its_request() -> None:
    """With that mark it passes stickiness; what it asks a second time has it too."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    asked = [one for one in node.settle(node.hear(TimeoutNow(2, 1, 1))) if isinstance(one, RequestVote)]
    asked += sent(node.wait(50), RequestVote)
    assert len(asked) == 4
    assert all(one.transfer for one in asked)


def test_a_leader_that_hands_over_by_itself_waits_for_a_target_that_keeps_up() -> None:
    """Higher priority alone does not make an heir: it answers in time, holds what is committed, and for long enough."""
    node = leader(priority={2: 5}, priority_patience_ms=200)
    asked = []
    for turn in range(40):
        ready = node.wait(50)
        asked += sent(ready, TimeoutNow)
        # 2 answers heartbeats and never an Append; 3 does both.
        node.settle(node.propose(b"x"))
        beats = [replace(HeartbeatReply(beat.to, 1, 1, beat.context)) for beat in sent(ready, Heartbeat)]
        node.settle(node.hear(*beats, AppendReply(3, 1, 1, True, node.raft.last_index)))
        assert node.is_a(Role.LEADER), turn
    assert asked == []
    for _ in range(6):
        ready = node.wait(50)
        asked += sent(ready, TimeoutNow)
        beats = [HeartbeatReply(beat.to, 1, 1, beat.context) for beat in sent(ready, Heartbeat)]
        asked += sent(node.hear(*beats, AppendReply(2, 1, 1, True, node.raft.last_index)), TimeoutNow)
    assert [one.to for one in asked] == [2]


def test_a_candidate_that_was_asked_is_elected_like_any_other() -> None:
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.settle(node.hear(TimeoutNow(2, 1, 1)))
    node.settle(node.hear(RequestVoteReply(3, 1, 2, True)))
    assert node.is_a(Role.LEADER)


def test_a_duplicate_of_timeout_now_from_an_earlier_term_is_nothing() -> None:
    """Terms are compared before anything else."""
    node = Solo()
    node.settle(node.hear(Heartbeat(3, 1, 2, 0)))
    assert not sent(node.hear(TimeoutNow(2, 1, 1)), RequestVote)
    assert only(node.hear(Heartbeat(3, 1, 2, 0)), HeartbeatReply).term == 2
