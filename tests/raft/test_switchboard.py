"""What the switchboard does with an event that comes to the wrong role, at the wrong time or to the wrong node."""

from __future__ import annotations

import pytest

from replica.raft import roles
from replica.raft.events import LearnerCompared, PeerFound, PeerLost, ReadRequested, SnapshotSent
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.ready import Refusal
from replica.raft.types import NOBODY, HardState, Role
from tests.raft.solo import Solo, entries, only, sent


@pytest.mark.parametrize(("frm", "to"), [(2, 3), (1, 1)])
def test_a_message_for_or_from_the_wrong_node_is_named_and_left(frm: int, to: int) -> None:
    """A driver that routes wrongly is seen; nothing else happens."""
    node = Solo()
    ready = node.hear(Heartbeat(frm, to, 9, 0))
    assert [note.what for note in ready.notes] == ["misaddressed"]
    assert node.raft.term == 0


def test_a_pre_candidate_and_a_candidate_ask_a_peer_that_is_found() -> None:
    """What they asked before was lost with the connection."""
    node = Solo()
    node.settle(node.time_out())
    assert only(node.step(PeerFound(node.now_ms, 3)), PreVote).to == 3
    node.settle(node.hear(PreVoteReply(2, 1, 1, True)))
    assert only(node.step(PeerFound(node.now_ms, 3)), RequestVote).to == 3
    assert not sent(node.step(PeerFound(node.now_ms, 1)), RequestVote)


def test_a_follower_does_nothing_about_a_peer_that_is_found() -> None:
    node = Solo()
    ready = node.step(PeerFound(0, 2))
    assert (ready.send_now, ready.send_saved) == ((), ())


def test_a_follower_that_knows_no_leader_has_lost_none() -> None:
    """It follows nobody, and nobody is no peer."""
    node = Solo()
    assert not sent(node.step(PeerLost(0, NOBODY)), PreVote)
    assert node.is_a(Role.FOLLOWER)


@pytest.mark.parametrize("stranger", [AppendReply(9, 1, 1, True, 1), HeartbeatReply(9, 1, 1, 1)])
def test_what_a_stranger_answers_to_a_leader_is_left(stranger: AppendReply | HeartbeatReply) -> None:
    """A node that was removed, and has been told for long enough, may still answer."""
    node = Solo()
    node.lead()
    before = node.raft.progress
    ready = node.hear(stranger)
    assert (node.raft.progress, ready.send_now, ready.send_saved) == (before, (), ())


def test_a_pre_vote_of_an_old_term_is_refused_and_teaches_the_new_one() -> None:
    """9.6: the asker was away."""
    node = Solo(hard=HardState(5))
    reply = only(node.hear(PreVote(2, 1, 4, 9, 4)), PreVoteReply)
    assert (reply.granted, reply.term) == (False, 5)


def test_a_pre_candidate_that_votes_gives_its_own_election_up() -> None:
    """Figure 2: who grants a vote waits for a whole timeout more."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.settle(node.hear(RequestVoteReply(3, 1, 2, False)))
    node.settle(node.time_out())
    assert node.is_a(Role.PRE_CANDIDATE)
    assert only(node.hear(RequestVote(3, 1, 2, 9, 9)), RequestVoteReply).granted
    assert node.is_a(Role.FOLLOWER)
    assert node.raft.deadline_ms >= node.now_ms + 300


def test_a_vote_refused_in_a_higher_term_puts_no_election_off() -> None:
    """Figure 2 names what does: hearing a leader, and giving a vote. Else a node that cannot win, and asks more often
    than the others wait, keeps all who could from asking."""
    node = Solo(log=(1, 1), hard=HardState(1))
    deadline_ms = node.raft.deadline_ms
    node.now_ms = deadline_ms - 10
    assert not only(node.hear(RequestVote(2, 1, 7, 1, 1)), RequestVoteReply).granted
    assert (node.raft.term, node.raft.deadline_ms) == (7, deadline_ms)


def test_without_pre_vote_a_lagging_node_with_a_short_timeout_does_not_keep_the_others_from_leading() -> None:
    """Its timeout may be at the configured minimum while the others are as patient as their last leader was."""
    node = Solo(log=(1, 1), hard=HardState(1), pre_vote=False, election_timeout_most_ms=2000)
    node.settle(node.hear(Heartbeat(2, 1, 1, 0, 1, 1500)))
    term = 1
    while node.is_a(Role.FOLLOWER):
        term += 1
        node.settle(node.hear(RequestVote(3, 1, term, 1, 1)))
        node.settle(node.wait(300))
        assert term < 20, "kept from its own election for ever"
    assert node.is_a(Role.CANDIDATE)


def test_a_voter_bound_by_a_lease_votes_for_nobody_though_it_came_to_the_term_by_other_news() -> None:
    """6.4.1: whatever else it has learned. The leader itself may ask it to (3.10)."""
    node = Solo(lease_reads=True)
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.settle(node.hear(RequestVoteReply(3, 1, 2, False)))
    assert node.raft.term == 2
    node.now_ms += 299
    assert not only(node.hear(RequestVote(3, 1, 2, 9, 9)), RequestVoteReply).granted
    assert only(node.hear(RequestVote(3, 1, 2, 9, 9, transfer=True)), RequestVoteReply).granted


def test_a_lease_binds_a_voter_for_its_time_and_no_longer() -> None:
    """6.4.1: the configured minimum, to the millisecond; after it the vote is as free as any."""
    node = Solo(lease_reads=True)
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.settle(node.hear(RequestVoteReply(3, 1, 2, False)))
    node.now_ms += 300
    assert only(node.hear(RequestVote(3, 1, 2, 9, 9)), RequestVoteReply).granted


def test_who_has_heard_the_leader_of_a_term_gives_nobody_else_its_vote_in_it() -> None:
    """A leader is elected already: this one asks late, and the vote not given yet is of no use to it."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    assert node.raft.vote == NOBODY
    assert not only(node.hear(RequestVote(3, 1, 1, 9, 9)), RequestVoteReply).granted
    assert node.raft.vote == NOBODY


def test_the_pre_vote_by_which_the_leader_was_elected_is_refused_when_it_comes_late() -> None:
    """It asks about the term it leads: only a question about the next says that it leads no more."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    ready = node.hear(PreVote(2, 1, 1, 0, 0))
    assert not only(ready, PreVoteReply).granted
    assert [dict(note.facts)["why"] for note in ready.notes] == ["leader-heard"]


def test_no_pre_vote_is_given_for_a_term_that_has_had_a_leader() -> None:
    """However long it has been silent: one term has one leader, and another would have to begin the next."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.now_ms += 300
    assert (node.raft.leader, node.raft.vote) == (2, NOBODY)
    assert not only(node.hear(PreVote(3, 1, 1, 9, 9)), PreVoteReply).granted
    assert only(node.hear(PreVote(3, 1, 2, 9, 9)), PreVoteReply).granted


@pytest.mark.parametrize("role", [Role.PRE_CANDIDATE, Role.CANDIDATE])
def test_who_asks_for_votes_asks_again_once_a_heartbeats_time_and_not_when_it_is_woken_before(role: Role) -> None:
    """5.1: "servers retry RPCs if they do not receive a response in a timely manner"; a driver may tick at any time."""
    node = Solo()
    node.settle(node.time_out() if role is Role.PRE_CANDIDATE else node.become_candidate())
    kind = PreVote if role is Role.PRE_CANDIDATE else RequestVote
    assert node.raft.deadline_ms == node.now_ms + 50
    assert not sent(node.wait(49), kind)
    assert len(sent(node.wait(1), kind)) == 2


def test_a_leader_asks_to_be_woken_when_it_has_heard_no_quorum_for_too_long() -> None:
    """6.2: at that very moment, though its next heartbeat is due later."""
    node = Solo()
    node.lead()
    heard_ms = node.now_ms + 120
    node.settle(node.wait(120))
    node.settle(node.hear(AppendReply(2, 1, 1, True, 1)))
    while node.raft.deadline_ms < heard_ms + 300:
        node.settle(node.time_out())
        assert node.is_a(Role.LEADER)
    assert node.raft.deadline_ms == heard_ms + 300
    node.settle(node.time_out())
    assert node.is_a(Role.FOLLOWER)


def test_a_leader_with_leases_hears_itself_while_it_has_a_quorum() -> None:
    """It made nobody a promise that it could forget: how long ago it followed another is no matter."""
    node = Solo(lease_reads=True)
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.settle(node.wait(1000))
    node.lead()
    node.settle(node.hear(RequestVote(3, 1, 9, 9, 6)))
    assert (node.raft.role, node.raft.term) == (Role.LEADER, 2)


def test_an_old_refusal_changes_nothing() -> None:
    """It was overtaken by an acknowledgement."""
    node = Solo()
    node.lead()
    before = node.raft.progress
    ready = node.hear(AppendReply(2, 1, 1, False, 0, 1, 0))
    assert node.raft.progress == before
    assert not sent(ready, Append)


def test_a_follower_shows_no_progress_of_others() -> None:
    assert Solo().raft.progress == ()


def test_what_only_a_leader_knows_of_is_left_by_a_follower() -> None:
    """Drivers answer late: a comparison, the end of a transfer."""
    node = Solo()
    assert not node.step(LearnerCompared(0, 2, 1, True), SnapshotSent(0, 2, True)).notes


def test_the_second_yes_about_a_learner_is_no_news() -> None:
    node = Solo()
    node.lead()
    assert node.step(LearnerCompared(node.now_ms, 2, 1, True)).notes
    assert not node.step(LearnerCompared(node.now_ms, 2, 1, True)).notes


def test_a_pre_candidate_refuses_a_read_as_not_leading() -> None:
    node = Solo()
    node.settle(node.time_out())
    assert node.step(ReadRequested(node.now_ms, 4)).refused[0].reason is Refusal.NOT_LEADER


# ---- the table of roles


def test_every_role_can_be_left_and_reached() -> None:
    """But for the table nothing says which moves there are."""
    assert {before for before, _ in roles.MOVES} == set(Role)
    assert set(roles.MOVES.values()) == set(Role)
    assert {key for key, after in roles.MOVES.items() if after is Role.LEADER} == {(Role.CANDIDATE, "elected")}


def test_a_move_that_is_not_in_the_table_stops_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is what the code goes by: without its line, an election cannot be called."""
    node = Solo()
    without = {key: after for key, after in roles.MOVES.items() if key != (Role.FOLLOWER, "campaigns")}
    monkeypatch.setattr(roles, "MOVES", without)
    with pytest.raises(AssertionError, match="no way from follower to pre-candidate by campaigns"):
        node.time_out()


def test_a_candidate_that_was_asked_by_its_leader_begins_anew_with_a_pre_vote() -> None:
    """The mark is for one election."""
    node = Solo(log=(1,), hard=HardState(1))
    node.settle(node.hear(Append(2, 1, 1, 1, 1, entries(1, first=2), 2)))
    node.settle(node.hear(TimeoutNow(2, 1, 1)))
    assert node.is_a(Role.CANDIDATE)
    for _ in range(20):
        node.settle(node.time_out())
        if node.is_a(Role.PRE_CANDIDATE):
            return
    raise AssertionError(f"still a {node.raft.role.value}")
