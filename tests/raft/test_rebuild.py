"""D10: a node that lost its store neither votes nor counts until nothing it forgot can matter (rebuild.py)."""

from __future__ import annotations

import pytest

from replica.raft.events import Received, SnapshotArrived
from replica.raft.memberships import encode_membership
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Readmit,
    RequestVote,
    RequestVoteReply,
)
from replica.raft.types import Entry, EntryKind, HardState, Membership, Role
from tests.raft.cluster import make_cluster
from tests.raft.solo import Solo, entries, only, sent

LOST = HardState(rebuilding=True)


# ---- the node that lost its store


def test_a_rebuilding_node_does_not_campaign() -> None:
    """However long it hears nobody."""
    node = Solo(hard=LOST)
    for _ in range(10):
        assert sent(node.time_out(), PreVote) == []
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 0)


def test_a_rebuilding_node_grants_no_vote_and_no_pre_vote() -> None:
    """It may have given this term's vote away in the life it forgot."""
    node = Solo(hard=LOST)
    assert not only(node.hear(PreVote(2, 1, 5, 9, 4)), PreVoteReply).granted
    assert not only(node.hear(RequestVote(2, 1, 5, 9, 4)), RequestVoteReply).granted
    assert node.raft.vote == 0


def test_a_rebuilding_node_says_so_in_every_answer_to_a_leader() -> None:
    """And which start of it speaks."""
    node = Solo(hard=LOST)
    ready = node.hear(Append(2, 1, 1, 0, 0, entries(1), 0), Heartbeat(2, 1, 1, 0, context=1))
    lives = {(reply.rebuilding, reply.life) for reply in (only(ready, AppendReply), only(ready, HeartbeatReply))}
    assert len(lives) == 1
    assert lives.pop()[0]


def test_a_rebuilding_node_takes_no_heartbeats_word_for_a_commit() -> None:
    """That word rests on acknowledgements of a life it forgot: only an Append, which compares, tells it."""
    node = Solo(hard=LOST)
    node.settle(node.hear(Append(2, 1, 1, 0, 0, entries(1, 1), 0)))
    node.settle(node.hear(Heartbeat(2, 1, 1, commit=2)))
    assert node.raft.commit_index == 0
    node.settle(node.hear(Append(2, 1, 1, 2, 1, (), commit=2)))
    assert node.raft.commit_index == 2


def life_of(node: Solo) -> int:
    return only(node.hear(Heartbeat(2, 1, 1, 0, context=1)), HeartbeatReply).life


def test_a_readmitted_node_takes_the_leaders_term_and_votes_for_it_durably() -> None:
    """One vote a term, given to the leader of this one; saved with the end of rebuilding, before it speaks again."""
    node = Solo(hard=LOST)
    life = life_of(node)
    ready = node.hear(Readmit(2, 1, 1, life), RequestVote(3, 1, 1, 9, 9))
    assert ready.hard_state == HardState(term=1, vote=2, rebuilding=False)
    assert ready.send_now == ()
    assert not only(ready, RequestVoteReply).granted


def test_a_readmitted_node_answers_as_one_that_counts_only_once_that_is_durable() -> None:
    """A crash could take the readmission back: its answers to heartbeats, too, wait for the disk."""
    node = Solo(hard=LOST)
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    life = life_of(node)
    ready = node.hear(Readmit(2, 1, 1, life), Heartbeat(2, 1, 1, 0, context=1))
    assert (ready.send_now, ready.send_saved) == ((), (HeartbeatReply(1, 2, 1, context=1),))


@pytest.mark.parametrize("why", ["life", "leader", "term"])
def test_a_readmit_for_another_start_leader_or_term_is_not_obeyed(why: str) -> None:
    """A copy may be late by a life: the store may have been lost again since."""
    node = Solo(hard=LOST)
    life = life_of(node)
    message = {
        "life": Readmit(2, 1, 1, life + 1),
        "leader": Readmit(3, 1, 1, life),
        "term": Readmit(2, 1, 0, life),
    }[why]
    node.settle(node.hear(message))
    assert node.raft.hard_state.rebuilding


def test_each_start_of_a_rebuilding_node_is_a_life_of_its_own() -> None:
    """Also where nothing was lost between: the leader begins anew, which costs time and nothing else."""
    node = Solo(hard=LOST)
    first = life_of(node)
    node.restart()
    assert life_of(node) != first


# ---- the leader


def leader(voters: int = 3) -> Solo:
    """Node 1 leads term 1; entry 1 is everywhere; node `voters` has lost its store and says so first."""
    node = Solo(voters=voters)
    node.lead()
    node.settle(node.hear(HeartbeatReply(voters, 1, 1, context=1, rebuilding=True, life=77)))
    return node


def test_a_leader_appends_an_entry_once_it_hears_of_a_loss() -> None:
    """The evidence must be younger than the loss: acknowledgements of what was appended before prove nothing."""
    node = leader()
    assert node.raft.last_index == 2
    view = node.raft.progress[1]
    assert (view.match_index, view.rebuilding) == (0, True)


def test_a_rebuilding_node_counts_for_no_commit() -> None:
    """Its acknowledgement is one of a node that might vote against it."""
    node = leader()
    node.settle(node.hear(AppendReply(3, 1, 1, True, 2, rebuilding=True, life=77)))
    assert node.raft.progress[1].match_index == 2
    assert node.raft.commit_index == 1
    node.settle(node.hear(AppendReply(2, 1, 1, True, 2)))
    assert node.raft.commit_index == 2


def test_a_rebuilding_node_counts_for_no_check_quorum() -> None:
    """A leader that hears only such nodes has no quorum."""
    node = leader()
    for _ in range(6):
        node.settle(node.wait(50))
        node.settle(node.hear(HeartbeatReply(3, 1, 1, context=99, rebuilding=True, life=77)))
    assert node.is_a(Role.FOLLOWER)


def caught_up(node: Solo, voter: int, index: int = 2) -> AppendReply:
    return AppendReply(voter, 1, 1, True, index)


def test_readmission_waits_for_every_other_voter() -> None:
    """With four of five answers a fifth might campaign with the forgotten vote in its hands."""
    node = leader(voters=5)
    back = AppendReply(5, 1, 1, True, 2, rebuilding=True, life=77)
    ready = node.hear(back, caught_up(node, 2), caught_up(node, 3))
    assert sent(ready, Readmit) == []
    node.settle(ready)
    assert node.raft.commit_index == 2
    assert sent(node.hear(caught_up(node, 4)), Readmit) == [Readmit(1, 5, 1, life=77)]


def test_readmission_waits_for_the_leaders_own_disk() -> None:
    """The leader is one of the other voters, also where the others' disks have committed without its own."""
    node = Solo(voters=5)
    node.lead()
    ready = node.hear(HeartbeatReply(5, 1, 1, 1, rebuilding=True, life=77))
    back = AppendReply(5, 1, 1, True, 2, rebuilding=True, life=77)
    late = node.hear(*(caught_up(node, voter) for voter in (2, 3, 4)), back)
    assert node.raft.commit_index == 2
    assert sent(late, Readmit) == []
    assert sent(node.save(ready), Readmit) == [Readmit(1, 5, 1, life=77)]


def test_readmission_waits_for_the_node_itself() -> None:
    """It must hold durably what it may have acknowledged before."""
    node = leader()
    assert sent(node.hear(caught_up(node, 2)), Readmit) == []


def test_two_that_lost_their_stores_do_not_vouch_for_each_other() -> None:
    """Each may have forgotten just what the other's readmission rests on."""
    node = leader(voters=5)
    node.settle(node.hear(HeartbeatReply(4, 1, 1, 1, rebuilding=True, life=88)))
    lives = {4: 88, 5: 77}
    replies = [AppendReply(peer, 1, 1, True, 3, rebuilding=True, life=life) for peer, life in lives.items()]
    ready = node.hear(*replies, caught_up(node, 2, 3), caught_up(node, 3, 3))
    assert node.raft.commit_index == 3
    assert sent(ready, Readmit) == []


def test_an_answer_without_a_word_of_rebuilding_is_believed_only_if_it_is_young() -> None:
    """It may come from the life before the loss: an answer to a heartbeat sent since tells."""
    node = leader()
    node.settle(node.hear(AppendReply(3, 1, 1, True, 2), HeartbeatReply(3, 1, 1, context=0)))
    view = node.raft.progress[1]
    assert (view.rebuilding, view.match_index) == (True, 0)
    heartbeats = sent(node.wait(50), Heartbeat)
    node.settle(node.hear(HeartbeatReply(3, 1, 1, context=heartbeats[0].context)))
    assert not node.raft.progress[1].rebuilding


def test_another_life_begins_from_nothing() -> None:
    """Lost again: what the life before acknowledged holds no more, and the evidence must be younger again."""
    node = leader()
    node.settle(node.hear(AppendReply(3, 1, 1, True, 2, rebuilding=True, life=77)))
    node.settle(node.hear(HeartbeatReply(3, 1, 1, 1, rebuilding=True, life=78)))
    assert (node.raft.progress[1].match_index, node.raft.last_index) == (0, 3)
    assert sent(node.hear(caught_up(node, 2, 2)), Readmit) == []


def test_a_lost_readmit_is_sent_again() -> None:
    """As long as the node answers later heartbeats that it is rebuilding."""
    node = leader()
    back = AppendReply(3, 1, 1, True, 2, rebuilding=True, life=77)
    assert len(sent(node.hear(caught_up(node, 2), back), Readmit)) == 1
    assert sent(node.hear(back), Readmit) == []
    heartbeat = sent(node.wait(50), Heartbeat)[1]
    again = HeartbeatReply(3, 1, 1, heartbeat.context, rebuilding=True, life=77)
    assert sent(node.hear(again), Readmit) == [Readmit(1, 3, 1, life=77)]


# ---- whom it votes with afterwards


def test_a_rebuilt_node_counts_by_the_log_whatever_its_configuration_says() -> None:
    """Found by the world (node seed 812): its operator wrote zones 4 and 5 into its configuration, and they never came
    to vote. With them it elected itself, beside the three that vote."""
    three = Membership(frozenset({1, 2, 3}))
    founding = Entry(1, 1, EntryKind.MEMBERSHIP, encode_membership(three))
    for told in (Received(0, Append(2, 1, 1, 0, 0, (founding,), 1)), SnapshotArrived(0, 7, 5, 1, (1, founding.data))):
        node = Solo(hard=LOST, voters=5)
        node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
        node.settle(node.step(told))
        assert (node.raft.membership, node.raft.membership_index) == (three, 1)


# ---- all together


@pytest.mark.parametrize("voters", [3, 4, 5, 7])
def test_a_cluster_takes_a_node_with_a_lost_store_back(voters: int) -> None:
    """It ends with the same log, a whole vote, and counts: with it just enough others may fail."""
    cluster = make_cluster(voters)
    cluster.start_all()
    cluster.advance(1000)
    cluster.propose(cluster.leader(), b"a", b"b")
    cluster.settle()
    lost = next(node for node in cluster.nodes if node != cluster.leader())
    cluster.lose_store(lost)
    cluster.start(lost)
    cluster.advance(500)
    assert not cluster.raft(lost).hard_state.rebuilding
    others = [node for node in cluster.nodes if node not in (lost, cluster.leader())]
    for node in others[: (voters - 1) // 2]:
        cluster.crash(node)
    cluster.propose(cluster.leader(), b"c")
    cluster.advance(100)
    assert [one.data for one in cluster.nodes[lost].applied if one.kind is EntryKind.DATA] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("voters", [1, 2])
def test_one_or_two_voters_survive_no_loss_of_a_store(voters: int) -> None:
    """No evidence about the lost promises is left: nobody leads, and an operator must decide."""
    cluster = make_cluster(voters)
    cluster.start_all()
    cluster.advance(1000)
    cluster.lose_store(voters)
    cluster.start(voters)
    cluster.advance(5000)
    assert cluster.leader() == 0
    assert cluster.raft(voters).hard_state.rebuilding
