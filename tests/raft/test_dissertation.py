"""Sentences of the dissertation beyond figure 2: chapters 3, 4.2.3, 6.2, 6.4, 9.6 and 10.2; and of our own."""

from __future__ import annotations

import random

import pytest

from replica.raft.core import Raft
from replica.raft.events import PeerFound, PeerLost, PeerWaits, Persisted, Propose, Received, Tick
from replica.raft.memberships import decode_membership
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from replica.raft.progress import Phase
from replica.raft.ready import Refusal, Standing
from replica.raft.types import EntryKind, HardState, Membership, RaftConfig, Role
from tests.raft.cluster import MemoryStore
from tests.raft.solo import Solo, entries, entry, only, sent

# ---- chapter 3


def test_servers_start_up_as_followers() -> None:
    """3.4: "When servers start up, they begin as followers"."""
    node = Solo(log=[1], hard=HardState(4, vote=1))
    assert (node.raft.role, node.raft.leader) == (Role.FOLLOWER, 0)


def test_election_timeouts_are_spread_over_a_whole_interval() -> None:
    """3.4: "election timeouts are chosen randomly from a fixed interval": here [T, 2T), all of it."""
    config = RaftConfig(1, Membership(frozenset({1, 2, 3})), election_timeout_ms=20)
    deadlines = {
        Raft(config, HardState(), MemoryStore(), 0, random.Random(seed), now_ms=1000).deadline_ms for seed in range(500)
    }
    assert deadlines == set(range(1020, 1040))


def test_each_election_draws_a_new_timeout() -> None:
    """3.4: "each candidate restarts its randomized election timeout at the start of an election"."""
    config = RaftConfig(1, Membership(frozenset({1, 2, 3})), heartbeat_interval_ms=10_000)
    raft = Raft(config, HardState(), MemoryStore(), 0, random.Random(7), now_ms=0)
    waits = []
    now_ms = 0
    for _ in range(20):
        waits.append(raft.deadline_ms - now_ms)
        now_ms = raft.deadline_ms
        raft.step(Tick(now_ms))
    assert all(300 <= wait < 600 for wait in waits)
    assert len(set(waits)) > 10


def test_a_leader_never_overwrites_or_deletes_its_entries() -> None:
    """Figure 3, Leader Append-Only: becoming leader appends to what is there, whatever the followers say."""
    node = Solo(log=[1, 2, 2])
    node.settle(node.become_leader())
    node.settle(node.hear(AppendReply(2, 1, 3, ok=False, match_index=3, hint_index=1, hint_term=1)))
    assert [one.term for one in node.raft.entries(1, 4)] == [1, 2, 2, 3]


def test_a_candidates_own_vote_counts_only_once_it_is_durable() -> None:
    """3.8: "each server persists its current term and vote": the vote for itself is one like any other."""
    node = Solo(voters=3)
    ready = node.become_candidate()
    node.hear(RequestVoteReply(2, 1, 1, True), RequestVoteReply(3, 1, 1, True))
    assert node.is_a(Role.CANDIDATE)
    node.save(ready)
    assert node.is_a(Role.LEADER)


def test_an_earlier_saves_completion_does_not_make_the_own_vote_durable() -> None:
    """3.8: the disk is behind; what it has finished is the Ready before the one with the vote."""
    node = Solo(voters=3, pre_vote=False)
    before = node.hear(Append(2, 1, 1, 0, 0, entries(1), 0))
    campaign = node.time_out()
    node.hear(RequestVoteReply(2, 1, 2, True), RequestVoteReply(3, 1, 2, True))
    node.save(before)
    assert node.is_a(Role.CANDIDATE)
    node.save(campaign)
    assert node.is_a(Role.LEADER)


def test_a_vote_is_not_given_again_after_a_crash_that_followed_its_answer() -> None:
    """3.8: "this is necessary to prevent the server from voting twice in the same term"."""
    node = Solo()
    ready = node.hear(RequestVote(2, 1, 1, 0, 0))
    node.store.save(ready)
    node.restart()
    assert not only(node.hear(RequestVote(3, 1, 1, 0, 0)), RequestVoteReply).granted


def test_a_vote_that_was_never_durable_was_never_sent() -> None:
    """3.8, the other half: a crash before the save leaves no promise behind, so the vote may go to another."""
    node = Solo()
    assert node.hear(RequestVote(2, 1, 1, 0, 0)).send_now == ()
    node.restart()
    assert only(node.hear(RequestVote(3, 1, 1, 0, 0)), RequestVoteReply).granted


def test_entries_not_yet_durable_are_acknowledged_by_a_ready_that_waits_for_them() -> None:
    """3.8: a doubled Append is answered behind the save of its first copy, though nothing is left to save."""
    node = Solo(hard=HardState(1))
    append = Append(2, 1, 1, 0, 0, entries(1, 1), 0)
    first = node.hear(append)
    second = node.hear(append)
    assert (first.must_save, second.must_save) == (True, False)
    assert second.send_now == ()
    assert second.send_saved == (AppendReply(1, 2, 1, True, 2),)


def test_many_appends_of_one_turn_are_acknowledged_once() -> None:
    """One save, one answer: the greatest match stands for all."""
    node = Solo(hard=HardState(1))
    ready = node.hear(Append(2, 1, 1, 0, 0, entries(1), 0), Append(2, 1, 1, 1, 1, entries(1, first=2), 0))
    assert ready.send_saved == (AppendReply(1, 2, 1, True, 2),)


@pytest.mark.parametrize(
    ("messages", "answers"),
    [
        ((Append(2, 1, 1, 9, 1, (), 0), Append(2, 1, 1, 0, 0, entries(1), 0)), [(False, 9), (True, 1)]),
        ((Append(2, 1, 1, 0, 0, entries(1), 0), Append(2, 1, 1, 9, 1, (), 0)), [(True, 1), (False, 9)]),
        ((Append(2, 1, 1, 9, 1, (), 0), Append(2, 1, 1, 8, 1, (), 0)), [(False, 9), (False, 8)]),
        ((Append(2, 1, 1, 0, 0, entries(1), 0), Append(3, 1, 2, 0, 0, entries(1), 0)), [(True, 1), (True, 1)]),
        ((Append(2, 1, 1, 0, 0, entries(1), 0), Append(2, 1, 2, 0, 0, entries(1), 0)), [(True, 1), (True, 1)]),
    ],
    ids=["no, then yes", "yes, then no", "no twice", "to another leader", "in another term"],
)
def test_an_acknowledgement_stands_for_others_to_the_same_leader_only(
    messages: tuple[Append, ...], answers: list[tuple[bool, int]]
) -> None:
    """A refusal says what no other answer says, and each leader, and each term of one, is told for itself."""
    node = Solo(hard=HardState(1))
    ready = node.hear(*messages)
    assert [(one.ok, one.match_index) for one in sent(ready, AppendReply)] == answers
    assert [(one.to, one.term) for one in sent(ready, AppendReply)] == [(one.frm, one.term) for one in messages]


def test_a_single_server_leads_and_commits_alone_once_its_disk_has_it() -> None:
    """5.1 with one server: the majority is itself, and its disk decides."""
    node = Solo(voters=1)
    ready = node.time_out()
    assert node.is_a(Role.CANDIDATE)
    ready = node.save(ready)
    assert node.is_a(Role.LEADER)
    assert (node.raft.commit_index, ready.committed) == (0, ())
    ready = node.save(ready)
    assert [one.kind for one in ready.committed] == [EntryKind.MEMBERSHIP]


def test_a_late_completion_says_nothing_about_entries_that_replaced_others() -> None:
    """An entry replaced, and brought again, is durable when the Ready that brought it last is, not before."""
    node = Solo(log=[1], hard=HardState(2))
    first = node.hear(Append(2, 1, 2, 1, 1, entries(2, first=2), 0))
    second = node.hear(Append(3, 1, 3, 1, 1, entries(3, first=2), 0))
    third = node.hear(Append(2, 1, 4, 1, 1, (entry(2, 2), entry(3, 4)), 0))
    assert (first.entries[0], second.entries[0], third.entries[0]) == (entry(2, 2), entry(2, 3), entry(2, 2))
    node.save(first)
    assert node.raft.stable_index == 1
    node.save(second)
    assert node.raft.stable_index == 1
    node.save(third)
    assert node.raft.stable_index == 3


# ---- 4.2.3: disruptive servers


@pytest.mark.parametrize("waited_ms", [0, 1, 299])
def test_a_vote_is_not_considered_while_a_leader_was_heard_lately(waited_ms: int) -> None:
    """4.2.3: "If a server receives a RequestVote request within the minimum election timeout of hearing from a current
    leader, it does not update its term or grant its vote".
    """
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.now_ms += waited_ms
    ready = node.hear(RequestVote(3, 1, 7, 9, 6))
    assert (node.raft.term, node.raft.vote, node.raft.leader) == (1, 0, 2)
    assert sent(ready, RequestVoteReply) == []


def test_a_vote_is_considered_once_the_minimum_election_timeout_has_passed() -> None:
    """4.2.3: the minimum, not this node's own random timeout."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    node.now_ms += 300
    assert node.raft.deadline_ms > node.now_ms
    assert only(node.hear(RequestVote(3, 1, 7, 9, 6)), RequestVoteReply).granted


def test_a_leader_with_a_quorum_ignores_votes_too() -> None:
    """4.2.3: the leader is a server that hears the leader."""
    node = Solo()
    node.lead()
    node.settle(node.hear(RequestVote(3, 1, 7, 9, 6)))
    assert (node.raft.role, node.raft.term) == (Role.LEADER, 1)


def test_a_vote_the_leader_itself_asked_for_is_considered() -> None:
    """4.2.3, end: a flag says that the leader permits the disruption (leadership transfer): no stickiness then."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    assert only(node.hear(RequestVote(3, 1, 2, 0, 0, transfer=True)), RequestVoteReply).granted


def test_a_leader_that_asks_for_the_next_terms_vote_is_no_longer_heard() -> None:
    """What our leader says itself is better evidence than its silence: it restarted, and leads no more."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    assert only(node.hear(PreVote(2, 1, 2, 0, 0)), PreVoteReply).granted
    assert not only(node.hear(PreVote(3, 1, 2, 0, 0)), PreVoteReply).granted


# ---- 6.2: check-quorum


def test_a_leader_steps_down_after_an_election_timeout_without_a_quorum() -> None:
    """6.2: it "steps down if an election timeout elapses without a successful round of heartbeats to a majority"."""
    node = Solo(voters=5)
    node.lead()
    node.now_ms += 200
    node.settle(node.hear(HeartbeatReply(2, 1, 1, 1), HeartbeatReply(3, 1, 1, 1)))
    node.settle(node.wait(299))
    assert node.is_a(Role.LEADER)
    node.settle(node.wait(1))
    assert (node.raft.role, node.raft.leader) == (Role.FOLLOWER, 0)


def test_a_leader_that_stood_still_notices_before_it_answers_anyone() -> None:
    """A pause of the host longer than an election timeout: the first event after it finds a follower (C21)."""
    node = Solo()
    node.lead()
    node.now_ms += 5000
    ready = node.propose(b"late")
    assert [refused.reason for refused in ready.refused] == [Refusal.NOT_LEADER]
    assert ready.standing == Standing(Role.FOLLOWER, 0, 1)


def test_without_check_quorum_a_leader_stays() -> None:
    """The switch works, for tests and measurements."""
    node = Solo(check_quorum=False)
    node.lead()
    node.settle(node.wait(5000))
    assert node.is_a(Role.LEADER)


# ---- 6.4: the no-op


def test_a_leader_begins_its_term_with_a_no_op() -> None:
    """6.4: it commits "a blank no-op entry into the log at the start of its term", and with it what came before."""
    node = Solo()
    node.lead()
    node.settle(node.propose(b"a"))
    node.restart()
    ready = node.become_leader()
    assert [(one.index, one.term, one.kind) for one in ready.entries] == [(3, 2, EntryKind.NOOP)]
    node.settle(ready)
    assert [one.index for one in node.hear(AppendReply(2, 1, 2, True, 3)).committed] == [1, 2, 3]


def test_the_first_leader_writes_who_votes_in_place_of_its_no_op() -> None:
    """4.1: "configurations are stored and communicated using special entries in the replicated log". So the very first
    is there too, whatever configurations become; and like a no-op it commits what came before."""
    node = Solo(log=[1, 1])
    ready = node.become_leader()
    (entry,) = ready.entries
    assert (entry.index, entry.term, entry.kind) == (3, 2, EntryKind.MEMBERSHIP)
    assert decode_membership(entry.data) == node.raft.membership
    node.settle(ready)
    assert [one.index for one in node.hear(AppendReply(2, 1, 2, True, 3)).committed] == [1, 2, 3]


def test_rounds_of_heartbeats_are_numbered_and_answers_repeat_the_number() -> None:
    """6.4, 3: a leader must know which round a quorum has answered."""
    node = Solo()
    node.lead()
    rounds = [only_round(sent(node.wait(50), Heartbeat)) for _ in range(3)]
    assert rounds == [rounds[0], rounds[0] + 1, rounds[0] + 2]
    follower = Solo()
    assert only(follower.hear(Heartbeat(2, 1, 1, 0, context=12)), HeartbeatReply).context == 12


def only_round(heartbeats: list[Heartbeat]) -> int:
    numbers = {heartbeat.context for heartbeat in heartbeats}
    assert len(numbers) == 1, numbers
    return numbers.pop()


# ---- 9.6: pre-vote


def test_a_pre_candidate_does_not_raise_its_term() -> None:
    """9.6: "In the Pre-Vote algorithm, a candidate only increments its term if it first learns from a majority of the
    cluster that they would be willing to grant the candidate their votes".
    """
    node = Solo(voters=5, hard=HardState(4))
    ready = node.time_out()
    assert sent(ready, PreVote) == [PreVote(1, peer, 5, 0, 0) for peer in (2, 3, 4, 5)]
    assert (node.raft.term, ready.hard_state) == (4, None)
    node.settle(node.hear(PreVoteReply(2, 1, 5, True)))
    assert node.raft.term == 4
    node.settle(node.hear(PreVoteReply(3, 1, 5, True)))
    assert (node.raft.role, node.raft.term) == (Role.CANDIDATE, 5)


def test_a_pre_vote_is_refused_while_a_leader_is_heard() -> None:
    """9.6: willing "if … have not received heartbeats from a valid leader for at least a baseline election timeout"."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    assert not only(node.hear(PreVote(3, 1, 2, 9, 1)), PreVoteReply).granted
    node.now_ms += 300
    assert only(node.hear(PreVote(3, 1, 2, 9, 1)), PreVoteReply).granted


def test_a_pre_vote_is_refused_to_an_older_log() -> None:
    """9.6: willing "if the candidate's log is sufficiently up-to-date"."""
    node = Solo(log=[1, 2])
    assert not only(node.hear(PreVote(3, 1, 3, 5, 1)), PreVoteReply).granted
    assert only(node.hear(PreVote(3, 1, 3, 2, 2)), PreVoteReply).granted


def test_a_pre_vote_promises_and_changes_nothing() -> None:
    """9.6: it is a question. Two may be told yes, no term is adopted, no timer put off, nothing is saved."""
    node = Solo()
    before_ms = node.raft.deadline_ms
    ready = node.hear(PreVote(2, 1, 9, 0, 0), PreVote(3, 1, 9, 0, 0))
    assert [reply.granted for reply in sent(ready, PreVoteReply)] == [True, True]
    assert (node.raft.term, node.raft.vote, ready.hard_state) == (0, 0, None)
    assert node.raft.deadline_ms == before_ms


def test_a_pre_vote_leaves_at_once_only_while_the_term_is_durable() -> None:
    """A term that a crash could take back is seen by nobody: the question waits for the disk then."""
    node = Solo()
    first = node.hear(Heartbeat(2, 1, 7, 0))
    ready = node.step(PeerLost(node.now_ms, 2))
    assert (sent(ready, PreVote)[0].term, ready.send_now) == (8, ())
    node.save(first)
    assert node.wait(50).send_now == tuple(PreVote(1, peer, 8, 0, 0) for peer in (2, 3))


def test_a_refused_pre_vote_teaches_a_newer_term() -> None:
    """9.6 with ours: the refusal carries the term, and who is behind catches up with it as a follower."""
    node = Solo()
    node.settle(node.time_out())
    ready = node.hear(PreVoteReply(2, 1, 6, False))
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 6)
    assert ready.hard_state == HardState(6)


def test_a_yes_to_an_earlier_question_does_not_count() -> None:
    """9.6: a pre-vote granted for one term is none for another."""
    node = Solo(hard=HardState(4))
    node.settle(node.time_out())
    node.settle(node.hear(PreVoteReply(2, 1, 4, True), PreVoteReply(3, 1, 6, True)))
    assert node.is_a(Role.PRE_CANDIDATE)


def test_who_has_not_said_yes_is_asked_again() -> None:
    """5.1: "Servers retry RPCs if they do not receive a response in a timely manner"; and a no may have changed."""
    node = Solo(voters=4)
    node.settle(node.time_out())
    node.settle(node.hear(PreVoteReply(2, 1, 1, True), PreVoteReply(3, 1, 0, False)))
    assert [ask.to for ask in sent(node.wait(50), PreVote)] == [3, 4]


def test_a_candidate_asks_those_again_who_have_not_answered() -> None:
    """5.1, as above, for votes: a refusal is final in its term."""
    node = Solo(voters=4)
    node.settle(node.become_candidate())
    node.settle(node.hear(RequestVoteReply(2, 1, 1, False)))
    ready = node.wait(50)
    assert [ask.to for ask in sent(ready, RequestVote)] == [3, 4]
    assert ready.send_now == ()


# ---- precedence among pre-candidates (a deviation; election.py)


def competing(**options: object) -> Solo:
    """A node that has just lost its leader 3, and asks for pre-votes."""
    node = Solo(log=[1, 1], **options)  # type: ignore[arg-type]  # RaftConfig's fields
    node.settle(node.hear(Heartbeat(3, 1, 1, 0)))
    node.settle(node.step(PeerLost(node.now_ms, 3)))
    assert node.is_a(Role.PRE_CANDIDATE)
    return node


@pytest.mark.parametrize(
    ("priority", "last_index", "gives_way"),
    [({}, 3, True), ({2: 1}, 2, True), ({}, 2, False), ({1: 1}, 2, False), ({1: 9}, 3, True), ({2: 9}, 1, False)],
)
def test_of_two_pre_candidates_the_worse_gives_way(priority: dict[int, int], last_index: int, gives_way: bool) -> None:
    """Newer log, then higher priority, then lower id: the worse one says yes and follows, the better one says no."""
    node = competing(priority=priority)
    reply = only(node.hear(PreVote(2, 1, 2, last_index, 1)), PreVoteReply)
    assert reply.granted is gives_way
    assert node.raft.role is (Role.FOLLOWER if gives_way else Role.PRE_CANDIDATE)


def test_who_goes_first_asks_back() -> None:
    """The worse one may have refused a moment ago, still believing in the leader: it is asked again at once."""
    node = competing()
    ready = node.hear(PreVote(2, 1, 2, 2, 1))
    assert sent(ready, PreVote) == [PreVote(1, 2, 2, 2, 1)]


def test_precedence_holds_for_the_first_attempt_only() -> None:
    """Where the better one cannot win it must not hold up the rest for ever: later attempts are plain pre-vote."""
    node = competing()
    node.settle(node.wait(600))
    ready = node.hear(PreVote(2, 1, 2, 2, 1))
    assert only(ready, PreVoteReply).granted
    assert node.is_a(Role.PRE_CANDIDATE)


# ---- failure detection by the kernel (PeerLost, PeerFound)


def test_a_follower_whose_leader_is_lost_campaigns_at_once() -> None:
    """The kernel's word is not a guess by silence: no timeout is waited for."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    ready = node.step(PeerLost(node.now_ms, 2))
    assert [ask.to for ask in sent(ready, PreVote)] == [2, 3]


def test_a_follower_that_loses_another_follower_does_nothing() -> None:
    """Only the leader's end is news."""
    node = Solo()
    node.settle(node.hear(Heartbeat(2, 1, 1, 0)))
    assert node.step(PeerLost(node.now_ms, 3)).send_now == ()
    assert (node.raft.role, node.raft.leader) == (Role.FOLLOWER, 2)


def test_a_leader_that_loses_a_follower_probes_it_and_takes_it_for_silent() -> None:
    """What was on the way is lost; and it does not count for the quorum that must be heard."""
    node = Solo(voters=3)
    node.lead()
    node.settle(node.propose(b"a"))
    node.raft.step(PeerLost(node.now_ms, 2))
    view = node.raft.progress[0]
    assert (view.phase, view.next_index, view.inflight_appends) == (Phase.PROBE, 2, 0)
    assert node.is_a(Role.LEADER)
    node.raft.step(PeerLost(node.now_ms, 3))
    node.raft.step(Tick(node.now_ms))
    assert node.is_a(Role.FOLLOWER)


def test_a_leader_that_finds_a_follower_asks_it_at_once() -> None:
    """What was on the way before is lost: say it again now, not at the next heartbeat."""
    node = Solo()
    node.lead()
    node.settle(node.propose(b"a"))
    node.settle(node.step(PeerLost(node.now_ms, 2)))
    append = only(node.step(PeerFound(node.now_ms, 2)), Append)
    assert (append.to, append.prev_index, [one.index for one in append.entries]) == (2, 1, [2])


def test_a_candidate_that_finds_a_voter_asks_it_at_once() -> None:
    """At the start of a cluster connections come up one by one; no timeout is spent on that."""
    node = Solo()
    node.settle(node.time_out())
    assert [ask.to for ask in sent(node.step(PeerFound(node.now_ms, 3)), PreVote)] == [3]


# ---- 10.2: performance


def test_a_leader_sends_before_its_own_disk_is_done() -> None:
    """10.2.1: the leader writes to its disk in parallel with replicating to the followers."""
    node = Solo()
    node.lead()
    ready = node.propose(b"a")
    assert [type(message) for message in ready.send_now] == [Append, Append]
    assert ready.must_save


def test_a_leader_counts_itself_only_up_to_its_own_disk() -> None:
    """10.2.1: its own match index indicates "the latest entry to have been durably written to its disk"."""
    node = Solo(voters=3)
    node.lead()
    ready = node.propose(b"a")
    assert node.raft.stable_index == 1
    node.save(ready)
    assert (node.raft.stable_index, node.raft.commit_index) == (2, 1)


def test_a_leader_may_commit_what_its_own_disk_does_not_have() -> None:
    """10.2.1: "the leader may even commit an entry before it has been written to its own disk, if a majority of
    followers have written it to their disks".
    """
    node = Solo(voters=3)
    node.lead()
    node.propose(b"a")
    ready = node.hear(AppendReply(2, 1, 1, True, 2))
    assert ready.committed == ()
    ready = node.hear(AppendReply(3, 1, 1, True, 2))
    assert [one.index for one in ready.committed] == [2]
    assert node.raft.stable_index == 1


def test_requests_of_one_turn_share_one_append() -> None:
    """10.2.2, batching: one message to each follower, however many proposals."""
    node = Solo()
    node.lead()
    ready = node.propose(b"a", b"b", b"c")
    assert [(append.to, len(append.entries)) for append in sent(ready, Append)] == [(2, 3), (3, 3)]


def test_appends_are_cut_at_a_bound_of_bytes() -> None:
    """10.2.2: a batch has a bound; an entry above it goes alone."""
    node = Solo(voters=2, max_append_bytes=5)
    node.lead()
    ready = node.propose(b"aa", b"bbb", b"c", b"dddddddd", b"e")
    sizes = [[len(one.data) for one in append.entries] for append in sent(ready, Append)]
    assert sizes == [[2, 3], [1], [8], [1]]


def test_appends_do_not_wait_for_answers() -> None:
    """10.2.2, pipelining: nextIndex moves on at sending, once the logs are known to meet."""
    node = Solo(voters=2)
    node.lead()
    prevs = [only(node.propose(data), Append).prev_index for data in (b"a", b"b", b"c")]
    assert prevs == [1, 2, 3]


def test_a_probe_waits_for_its_answer() -> None:
    """10.2.2: before the logs are known to meet, one Append at a time."""
    node = Solo(voters=2)
    node.settle(node.become_leader())
    assert sent(node.propose(b"a"), Append) == []
    append = only(node.hear(AppendReply(2, 1, 1, True, 1)), Append)
    assert [one.index for one in append.entries] == [2]


def test_news_of_a_commit_rides_on_entries() -> None:
    """One turn, one message for each follower: where entries go, the commit index goes with them."""
    node = Solo(voters=2)
    node.lead()
    node.settle(node.propose(b"a"))
    ready = node.step(Received(node.now_ms, AppendReply(2, 1, 1, True, 2)), Propose(node.now_ms, token=9, data=b"b"))
    assert only(ready, Append).commit == 2
    assert sent(ready, Heartbeat) == []


def test_news_of_a_commit_goes_out_at_once_and_once() -> None:
    """Where no entries go, a heartbeat tells it in the same Ready; it is not repeated before the next round."""
    node = Solo(voters=2)
    node.lead()
    node.settle(node.propose(b"a"))
    ready = node.hear(AppendReply(2, 1, 1, True, 2))
    assert only(ready, Heartbeat).commit == 2
    assert not node.raft.has_ready()


def test_news_of_a_commit_may_wait_for_the_next_entry() -> None:
    """Where it is allowed to: a moment later it goes by itself, and if an entry comes before, with that."""
    node = Solo(voters=2, commit_notice_ms=3)
    node.lead()
    node.settle(node.propose(b"a"))
    assert sent(node.hear(AppendReply(2, 1, 1, True, 2)), Heartbeat) == []
    assert not node.raft.has_ready()
    assert node.raft.deadline_ms == node.now_ms + 3
    assert only(node.wait(3), Heartbeat).commit == 2
    node.settle(node.propose(b"b"))
    node.hear(AppendReply(2, 1, 1, True, 3))
    assert only(node.propose(b"c"), Append).commit == 3
    assert sent(node.wait(3), Heartbeat) == []


def test_news_of_a_commit_that_is_due_asks_for_no_waking() -> None:
    """It is in the next Ready: a driver that takes none yet, since its disk works, is not woken for it again and
    again."""
    node = Solo(voters=2)
    node.lead()
    node.settle(node.propose(b"a"))
    node.raft.step(Received(node.now_ms, AppendReply(2, 1, 1, True, 2)))
    assert node.raft.has_ready()
    assert node.raft.deadline_ms > node.now_ms


def test_a_follower_at_which_somebody_waits_is_told_of_a_commit_at_once() -> None:
    """It has passed something on, so its callers and sites wait for what becomes of it."""
    node = Solo(voters=2, commit_notice_ms=3)
    node.lead()
    node.settle(node.step(PeerWaits(node.now_ms, 2), Propose(node.now_ms, token=1, data=b"a")))
    assert only(node.hear(AppendReply(2, 1, 1, True, 2)), Heartbeat).commit == 2
    node.settle(node.step(PeerWaits(node.now_ms, 3)))
    follower = Solo()
    assert follower.step(PeerWaits(0, 2)).send_now == ()


def test_a_notice_of_a_commit_is_no_round_and_wants_no_answer() -> None:
    """Only in a higher term it is answered, as everything is: its sender leads no more."""
    follower = Solo(log=[1])
    ready = follower.hear(Append(2, 1, 1, 0, 0, entries(1), 0), Heartbeat(2, 1, 1, commit=1))
    assert sent(ready, HeartbeatReply) == []
    assert follower.raft.commit_index == 1
    follower.settle(follower.hear(Heartbeat(3, 1, 2, 0)))
    assert only(follower.hear(Heartbeat(2, 1, 1, commit=1)), HeartbeatReply).term == 2


def test_a_follower_is_never_told_of_a_commit_it_is_not_known_to_hold() -> None:
    """A heartbeat asks for no log check, so it carries min(matchIndex, commitIndex)."""
    node = Solo(voters=3)
    node.lead()
    node.settle(node.propose(b"a"))
    node.settle(node.hear(AppendReply(2, 1, 1, True, 2)))
    assert [(one.to, one.commit) for one in sent(node.wait(50), Heartbeat)] == [(2, 2), (3, 1)]


def test_too_much_uncommitted_is_refused_and_counted_down_by_commits() -> None:
    """Back-pressure: refused at once, surely not done; commits make room again."""
    node = Solo(voters=2, max_uncommitted_bytes=4)
    node.lead()
    ready = node.propose(b"aaa", b"bb", b"c")
    assert [one.token for one in ready.accepted] == [1, 3]
    assert [(one.token, one.reason) for one in ready.refused] == [(2, Refusal.OVERLOADED)]
    node.settle(ready)
    node.settle(node.hear(AppendReply(2, 1, 1, True, 3)))
    assert len(node.propose(b"dddd").accepted) == 1


def test_a_single_proposal_above_the_bound_is_taken_when_nothing_waits() -> None:
    """A bound smaller than one entry would refuse it for ever."""
    node = Solo(voters=2, max_uncommitted_bytes=4)
    node.lead()
    assert len(node.propose(b"a" * 100).accepted) == 1


def test_a_turn_without_news_has_no_ready() -> None:
    """`has_ready` is exact: an idle node gives its driver nothing to do."""
    node = Solo()
    node.lead()
    assert not node.raft.has_ready()
    node.raft.step(Persisted(node.now_ms, 1))
    node.raft.step(Tick(node.now_ms + 10))
    assert not node.raft.has_ready()
