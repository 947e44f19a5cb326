"""Reads where scenarios do not reach (reads.py): one node, the test in everybody else's place."""

from __future__ import annotations

import pytest

from replica.raft.events import ReadRequested
from replica.raft.messages import Append, Heartbeat, HeartbeatReply, ReadIndex, ReadIndexReply
from replica.raft.ready import Ready, Refusal
from replica.raft.types import NodeId, Role
from tests.raft.solo import Solo, only, sent


def read(node: Solo, *tokens: int) -> Ready:
    return node.step(*(ReadRequested(node.now_ms, token) for token in tokens))


def answers(ready: Ready) -> list[tuple[int, int]]:
    return [(one.token, one.index) for one in ready.reads]


def refusals(ready: Ready) -> list[tuple[int, Refusal, NodeId]]:
    return [(one.token, one.reason, one.leader) for one in ready.refused]


def leader(**config: object) -> Solo:
    node = Solo(**config)  # type: ignore[arg-type]  # any field
    node.lead()
    return node


def follower(**config: object) -> Solo:
    """Of node 2, in term 1."""
    node = Solo(**config)  # type: ignore[arg-type]  # any field
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    return node


def round_of(ready: Ready) -> int:
    return sent(ready, Heartbeat)[0].context


def test_a_single_voter_answers_at_once() -> None:
    """Nobody else can lead without it; still not below its no-op."""
    node = Solo(voters=1)
    node.settle(node.become_candidate())
    assert answers(read(node, 5)) == [(5, 1)]


def test_an_answer_of_a_follower_that_lost_its_store_confirms_nothing() -> None:
    """It may have voted for another leader, and forgotten it."""
    node = leader()
    ready = read(node, 5)
    number = round_of(ready)
    lost = HeartbeatReply(2, 1, 1, number, rebuilding=True, life=3)
    assert answers(node.hear(lost)) == []
    assert answers(node.hear(HeartbeatReply(3, 1, 1, number))) == [(5, 1)]


def test_a_candidate_refuses_a_read() -> None:
    """It knows of nobody who would know."""
    node = Solo()
    node.become_candidate()
    assert refusals(read(node, 5)) == [(5, Refusal.NOT_LEADER, 0)]


def test_a_follower_with_too_many_waiting_refuses_the_next() -> None:
    node = follower(max_waiting_reads=2)
    ready = read(node, 1, 2, 3)
    assert refusals(ready) == [(3, Refusal.OVERLOADED, 2)]
    assert only(ready, ReadIndex).to == 2


@pytest.mark.parametrize("role", ["candidate", "follower", "stranger"])
def test_a_question_to_who_does_not_lead_the_asker_is_answered_no(role: str) -> None:
    """So that the follower's callers need not wait for silence to tell them."""
    if role == "stranger":
        node, asker = leader(), 9
    elif role == "candidate":
        node, asker = Solo(), 3
        node.settle(node.become_candidate())
    else:
        node, asker = follower(), 3
    reply = only(node.hear(ReadIndex(asker, 1, node.raft.term, 7)), ReadIndexReply)
    assert (reply.to, reply.context, reply.ok) == (asker, 7, False)


def test_an_answer_that_comes_to_who_follows_no_more_is_nothing() -> None:
    """Its callers were refused when it stopped following."""
    node = follower()
    context = only(read(node, 5), ReadIndex).context
    ready = node.time_out()
    assert refusals(ready) == [(5, Refusal.UNCONFIRMED, 0)]
    assert node.is_a(Role.PRE_CANDIDATE)
    assert answers(node.hear(ReadIndexReply(2, 1, 1, context, 4, True))) == []


def test_a_question_of_a_newer_term_deposes_a_leader_and_its_reads() -> None:
    """Its own are refused, a follower's is not answered: that one has a new leader to ask."""
    node = leader()
    node.settle(read(node, 5))
    node.settle(node.hear(ReadIndex(3, 1, 1, 70)))
    ready = node.hear(Heartbeat(2, 1, 2, 0))
    assert refusals(ready) == [(5, Refusal.NOT_LEADER, 2)]
    assert sent(ready, ReadIndexReply) == []


def test_a_followers_reads_wait_across_appends_of_the_same_leader() -> None:
    """Hearing it is no reason to ask again."""
    node = follower()
    context = only(read(node, 5), ReadIndex).context
    node.settle(node.hear(Append(2, 1, 1, 0, 0, (), 0)))
    assert answers(node.hear(ReadIndexReply(2, 1, 1, context, 4, True))) == [(5, 4)]
    assert answers(node.hear(ReadIndexReply(2, 1, 1, context, 4, True))) == []


def test_two_nodes_that_answer_for_one_leader_stop_this_one() -> None:
    """The question went to the leader alone, and nobody else's answer can have its number."""
    node = follower()
    context = only(read(node, 5), ReadIndex).context
    with pytest.raises(AssertionError, match="asked node 2, node 3 answers"):
        node.hear(ReadIndexReply(3, 1, 1, context, 4, True))


def test_questions_of_two_lives_have_different_numbers() -> None:
    """They begin anywhere."""
    node = follower()
    first = only(read(node, 5), ReadIndex).context
    node.restart()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    assert only(read(node, 5), ReadIndex).context != first


def test_reads_wait_for_the_next_round_after_an_answer_that_does_not_confirm_them() -> None:
    """Rounds are not begun one for each read: one is on its way."""
    node = leader(voters=5)
    number = round_of(read(node, 1))
    assert sent(read(node, 2), Heartbeat) == []
    assert answers(node.hear(HeartbeatReply(2, 1, 1, number))) == []
    ready = node.hear(HeartbeatReply(3, 1, 1, number))
    assert answers(ready) == [(1, 1)]
    assert round_of(ready) > number


# ---- leases


def test_no_lease_is_given_before_a_quorum_has_answered_a_round() -> None:
    node = leader(lease_reads=True)
    ready = read(node, 5)
    assert answers(ready) == []
    assert answers(node.hear(HeartbeatReply(2, 1, 1, round_of(ready)))) == [(5, 1)]
    assert answers(read(node, 6)) == [(6, 1)]


def test_a_lease_does_not_rest_on_who_lost_its_store() -> None:
    """Its promise may be forgotten as well."""
    node = leader(lease_reads=True)
    number = round_of(read(node, 5))
    node.settle(node.hear(HeartbeatReply(2, 1, 1, number)))
    assert answers(read(node, 6)) == [(6, 1)]
    node.settle(node.hear(HeartbeatReply(2, 1, 1, number, rebuilding=True, life=3)))
    assert answers(read(node, 7)) == []


def test_a_clock_within_the_bound_ends_no_lease() -> None:
    """It is compared over ten election timeouts, again and again."""
    node = leader(lease_reads=True)
    for turn in range(200):
        ready = node.wait(50)
        for beat in sent(ready, Heartbeat):
            node.hear(HeartbeatReply(beat.to, 1, 1, beat.context, clock_ms=node.now_ms * 1010 // 1000))
        assert node.is_a(Role.LEADER), turn
    assert answers(read(node, 5)) == [(5, 1)]


@pytest.mark.parametrize("rate_permille", [900, 1100])
def test_a_clock_beyond_the_bound_ends_the_leases_of_the_term(rate_permille: int) -> None:
    """Too fast or too slow."""
    node, ended = leader(lease_reads=True), []
    for _ in range(200):
        for beat in sent(node.wait(50), Heartbeat):
            clock_ms = node.now_ms * (rate_permille if beat.to == 2 else 1000) // 1000
            ready = node.hear(HeartbeatReply(beat.to, 1, 1, beat.context, clock_ms=clock_ms))
            ended += [note for note in ready.notes if note.what == "leases-ended"]
    assert len(ended) == 1
    assert answers(read(node, 5)) == []
