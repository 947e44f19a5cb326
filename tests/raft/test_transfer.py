"""Hand-overs where scenarios do not reach (transfer.py): one leader, the test in everybody else's place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replica.raft.events import ChangeRequested, LearnerCompared, Tick, TransferRequested
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.ready import Ready, Refusal
from replica.raft.types import HardState, Index, Membership, NodeId, Role
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
    """Without a quorum, in its own term, whether or not the target was asked; and if a newer term begins before it
    was."""
    for asked in (False, True):
        node = leader()
        if not asked:
            node.settle(node.propose(b"x"))
        assert len(sent(transfer(node, 2), TimeoutNow)) == asked
        done = node.step(Tick(node.now_ms + 10_000)).transfers[0]
        assert (done.ok, done.why) == (False, "this node does not lead any more")
    other = leader()
    other.settle(other.propose(b"x"))
    transfer(other, 2)
    assert not other.hear(Heartbeat(3, 1, 2, 0)).transfers[0].ok


def test_a_target_that_a_change_removes_is_not_asked_and_the_leader_takes_requests_again() -> None:
    """The change was under way before. The removed one would not obey, however level it is with the farewell."""
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
    assert node.raft.transferring
    after = node.settle(acknowledge(node, 3))
    ready = node.wait(50)
    assert [(one.to, one.ok) for one in ready.transfers] == [(3, False)]
    after += node.settle(ready)
    assert [one for one in after if isinstance(one, TimeoutNow)] == []
    assert node.propose(b"y").accepted


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


def level_round(node: Solo, *peers: NodeId, match: Index | None = None) -> list[Message]:
    """A heartbeat's time passes, and these answer and hold what they are to hold; what the leader sends meanwhile."""
    ready = node.wait(50)
    spoken = node.settle(ready)
    beats = [HeartbeatReply(beat.to, 1, 1, beat.context) for beat in sent(ready, Heartbeat) if beat.to in peers]
    held = node.raft.last_index if match is None else match
    return spoken + node.settle(node.hear(*beats, *(AppendReply(peer, 1, 1, True, held) for peer in peers)))


def asked_to_campaign(messages: list[Message]) -> list[NodeId]:
    return [one.to for one in messages if isinstance(one, TimeoutNow)]


def test_a_leader_that_hands_over_by_hand_does_not_hand_over_by_itself_as_well() -> None:
    """One at a time, and the one that was asked for; the patience for its own begins anew."""
    node = leader(priority={2: 5}, priority_patience_ms=100)
    node.settle(node.propose(b"x"))
    node.settle(acknowledge(node, 2))
    node.settle(transfer(node, 3))
    spoken = []
    while node.raft.transferring:
        spoken += level_round(node, 2)
    assert asked_to_campaign(spoken) == []
    assert asked_to_campaign(level_round(node, 2)) == []
    assert asked_to_campaign(level_round(node, 2)) == [2]


def test_a_leader_does_not_hand_over_by_itself_within_a_joint_membership() -> None:
    """The change is nearly done, and a new leader would have to commit an entry of its own first."""
    node = leader(priority={2: 5}, priority_patience_ms=200)
    for _ in range(2):
        level_round(node, 2, 3)
    node.settle(node.step(ChangeRequested(node.now_ms, 8, Membership(frozenset({1, 2})))))
    assert node.raft.membership.outgoing
    committed = node.raft.commit_index
    for _ in range(8):
        assert asked_to_campaign(level_round(node, 2, 3, match=committed)) == []
    assert node.raft.membership.outgoing
    spoken = []
    for _ in range(8):
        spoken += level_round(node, 2)
    assert set(asked_to_campaign(spoken)) == {2}


def test_a_voter_that_answers_too_seldom_is_not_level() -> None:
    """Half an election timeout is the most: a leader that is heard so seldom would be deposed by the next loss."""
    node = leader(priority={2: 5}, priority_patience_ms=150)
    for turn in range(20):
        assert asked_to_campaign(level_round(node, 3, *([2] if turn % 4 == 0 else []))) == []
    spoken = []
    for _ in range(5):
        spoken += level_round(node, 2, 3)
    assert set(asked_to_campaign(spoken)) == {2}


@pytest.mark.parametrize("role", [Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
def test_only_a_follower_of_the_asker_campaigns_when_asked(role: Role) -> None:
    """Who is on its way already, or there, needs no asking."""
    node = Solo()
    if role is Role.LEADER:
        node.lead()
    else:
        node.settle(node.time_out() if role is Role.PRE_CANDIDATE else node.become_candidate())
    before = node.raft.term
    ready = node.hear(TimeoutNow(2, 1, before))
    assert [note.what for note in ready.notes] == ["timeout-now-ignored"]
    assert (node.raft.role, node.raft.term) == (role, before)


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
    assert only(node.hear(Heartbeat(3, 1, 2, 0, context=1)), HeartbeatReply).term == 2
