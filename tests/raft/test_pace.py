"""Time: round trips, timeouts that follow them, oversleeping, and how long a lease may last (pace.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.raft import pace
from replica.raft.events import Tick
from replica.raft.messages import Heartbeat, HeartbeatReply, PreVote, PreVoteReply
from replica.raft.replication import SETTLING_ROUNDS
from replica.raft.types import Membership, RaftConfig, Role
from tests.raft.solo import Solo, only, sent

CONFIG = RaftConfig(1, Membership(frozenset({1, 2, 3})), election_timeout_ms=300, election_timeout_most_ms=2000)


@given(st.integers(60, 100_000), st.integers(0, 300), st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 1_000_000))
def test_a_lease_never_outlasts_the_promise_it_rests_on(
    timeout_ms: int, drift: int, ours: float, theirs: float, begun_ms: int
) -> None:
    """In true time, for any two clocks within the bound: the leader's lease begins at the sending, the follower's
    promise at the receipt, which is never earlier. Both read their clocks in whole ms."""
    config = replace(CONFIG, election_timeout_ms=timeout_ms, clock_drift_permille=drift)
    our_rate, their_rate = 1 + ours * drift / 1000, 1 + theirs * drift / 1000
    # The latest true time at which the leader's clock, read in whole ms, is below the end of the lease; and the first
    # at which the follower's reads a whole timeout more. Each reading may be up to a ms low.
    lease_true_ms = (pace.lease_ms(config) + 1) / our_rate
    promise_true_ms = (timeout_ms - 1) / their_rate
    assert lease_true_ms <= promise_true_ms + 1e-6


def test_a_lease_without_its_margin_would_outlast_the_promise() -> None:
    """The property above can fail: the whole timeout is too long for clocks at the two ends of the bound."""
    drift = CONFIG.clock_drift_permille
    assert CONFIG.election_timeout_ms / (1 - drift / 1000) > CONFIG.election_timeout_ms / (1 + drift / 1000)
    assert pace.lease_ms(CONFIG) < CONFIG.election_timeout_ms * (1000 - drift) / (1000 + drift)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_the_round_trip_lies_within_what_was_measured_and_its_deviation(samples: list[int]) -> None:
    trip = pace.RoundTrip()
    for ms in samples:
        trip.measured(ms)
        assert 0 <= trip.most_ms <= 5 * 5000


def test_the_first_round_trip_is_believed_whole_and_given_half_of_itself_as_deviation() -> None:
    """RFC 6298, 2.2: a leader that began from nothing would call its followers impatient while it learns."""
    trip = pace.RoundTrip()
    assert trip.most_ms == 0
    trip.measured(40)
    assert trip.most_ms == 40 + 4 * 20


def test_a_steady_round_trip_is_learned_and_a_jittery_one_is_given_room() -> None:
    """RFC 6298: mean and four deviations."""
    steady, jittery = pace.RoundTrip(), pace.RoundTrip()
    for turn in range(100):
        steady.measured(20)
        jittery.measured(10 + 20 * (turn % 2))
    assert 20 <= steady.most_ms <= 22
    assert jittery.most_ms > 40


def test_a_round_forgotten_or_never_begun_has_no_time() -> None:
    """A late answer measures nothing."""
    rounds = pace.Rounds()
    numbers = [rounds.begin(now_ms) for now_ms in range(pace.ROUNDS_REMEMBERED + 1)]
    assert rounds.sent_ms(numbers[0]) is None
    assert rounds.sent_ms(numbers[1]) == 1
    assert rounds.sent_ms(numbers[-1] + 1) is None


@given(st.integers(0, 100_000))
def test_a_timeout_stays_within_its_bounds(wanted_ms: int) -> None:
    """And without an upper one it does not move."""
    assert 300 <= pace.election_timeout_ms(CONFIG, wanted_ms) <= 2000
    assert pace.election_timeout_ms(replace(CONFIG, election_timeout_most_ms=0), wanted_ms) == 300


def test_the_heartbeat_interval_keeps_its_share_of_the_timeout() -> None:
    assert pace.heartbeat_interval_ms(CONFIG, 300) == 50
    assert pace.heartbeat_interval_ms(CONFIG, 1200) == 200


def test_a_follower_is_as_patient_as_its_leader_says() -> None:
    """Within its own bounds; a leader that says nothing changes nothing."""
    node = Solo(election_timeout_most_ms=2000)
    for said_ms, expected_ms in ((1500, 1500), (0, 1500), (90_000, 2000), (10, 300)):
        node.settle(node.hear(Heartbeat(2, 1, 1, 0, 1, said_ms)))
        assert node.raft.election_timeout_ms == expected_ms
    node.settle(node.hear(Heartbeat(2, 1, 1, 0, 1, 1500)))
    deadline_ms = node.raft.deadline_ms
    node.settle(node.hear(Heartbeat(2, 1, 1, 0, 1, 1500)))
    assert node.raft.deadline_ms >= node.now_ms + 1500
    assert deadline_ms >= 300


def test_stickiness_goes_by_the_configured_minimum_not_by_what_was_measured() -> None:
    """It is a promise."""
    node = Solo(election_timeout_most_ms=2000)
    node.settle(node.hear(Heartbeat(2, 1, 1, 0, 1, 1500)))
    for wait_ms, granted in ((299, False), (1, True)):
        node.settle(node.wait(wait_ms))
        assert only(node.hear(PreVote(3, 1, 2, 9, 9)), PreVoteReply).granted is granted


@pytest.mark.parametrize(("late_ms", "overslept"), [(50, False), (51, True)])
def test_a_node_that_was_woken_late_waits_once_more(late_ms: int, overslept: bool) -> None:
    """Whatever a loop is late by is not oversleeping."""
    node = Solo()
    node.now_ms = node.raft.deadline_ms + late_ms
    ready = node.step(Tick(node.now_ms))
    assert any(note.what == "overslept" for note in ready.notes) is overslept
    assert node.raft.role is (Role.FOLLOWER if overslept else Role.PRE_CANDIDATE)
    if overslept:
        assert node.now_ms + 50 <= node.raft.deadline_ms < node.now_ms + 100


def test_a_pre_candidate_that_overslept_asks_again_later() -> None:
    node = Solo()
    node.settle(node.time_out())
    node.now_ms += 5000
    ready = node.step(Tick(node.now_ms))
    assert any(note.what == "overslept" for note in ready.notes)
    assert node.is_a(Role.PRE_CANDIDATE)
    assert sent(ready, PreVote)


def test_a_leader_that_overslept_less_than_an_election_timeout_leads_on() -> None:
    """Its followers have not given it up."""
    node = Solo()
    node.lead()
    node.settle(node.hear(*(HeartbeatReply(peer, 1, 1, 0) for peer in (2, 3))))
    node.now_ms += 200
    ready = node.step(Tick(node.now_ms))
    assert any(note.what == "overslept" for note in ready.notes)
    assert node.is_a(Role.LEADER)


def test_without_check_quorum_an_overslept_leader_leads_on() -> None:
    """It was asked not to look."""
    node = Solo(check_quorum=False)
    node.lead()
    node.now_ms += 5000
    node.step(Tick(node.now_ms))
    assert node.is_a(Role.LEADER)


def test_only_voters_that_answer_make_a_leader_patient() -> None:
    """A learner at the end of a slow line, or a voter that is gone, costs nobody a slower failover."""
    node = Solo(learners=(4,), election_timeout_most_ms=2000)
    node.lead()
    held: list[tuple[int, Heartbeat]] = []
    for _ in range(40):
        beats = sent(node.wait(50), Heartbeat)
        held += [(node.now_ms + 150, beat) for beat in beats if beat.to == 4]
        late = [beat for due_ms, beat in held if due_ms <= node.now_ms]
        held = [(due_ms, beat) for due_ms, beat in held if due_ms > node.now_ms]
        for beat in [*(beat for beat in beats if beat.to != 4), *late]:
            node.settle(node.hear(HeartbeatReply(beat.to, 1, 1, beat.context)))
    slow = node.raft.progress[-1]
    assert (slow.peer, slow.round_trip_ms >= 150) == (4, True)
    assert node.raft.election_timeout_ms == 300


def answered_in_one_go(late: tuple[int, ...]) -> Solo:
    """A leader whose peers in `late` answer four rounds of heartbeats all at once; the others each at once."""
    node = Solo(election_timeout_most_ms=2000)
    node.lead()
    held: list[HeartbeatReply] = []
    for _ in range(40):
        beats = sent(node.wait(50), Heartbeat)
        for beat in beats:
            reply = HeartbeatReply(beat.to, 1, 1, beat.context)
            if beat.to in late:
                held.append(reply)
            else:
                node.settle(node.hear(reply))
        if len(held) >= 4 * len(late):
            node.settle(node.hear(*held))
            held = []
    return node


def test_what_a_peer_answers_late_because_it_was_stopped_makes_nobody_patient() -> None:
    """Another was heard meanwhile: that one alone was silent. Else each stop of a zone would make the next failover
    slow."""
    assert answered_in_one_go((3,)).raft.election_timeout_ms == 300


def test_where_everybody_answers_late_the_leader_is_patient() -> None:
    """It may be the leader that is slow to listen, or a line they all share: who is left then needs the time."""
    assert answered_in_one_go((2, 3)).raft.election_timeout_ms > 300


def late_after_a_silence(late_rounds: int) -> int:
    """The election timeout after a peer was silent for four rounds and then answers so many late, the other none."""
    node = Solo(election_timeout_most_ms=2000)
    node.lead()
    for _ in range(20):
        node.settle(
            node.hear(*(HeartbeatReply(beat.to, 1, 1, beat.context) for beat in sent(node.wait(50), Heartbeat)))
        )
    held: list[HeartbeatReply] = []
    for number in range(4 + late_rounds):
        beats = sent(node.wait(50), Heartbeat)
        held += [HeartbeatReply(3, 1, 1, beat.context) for beat in beats if beat.to == 3]
        node.settle(node.hear(*(HeartbeatReply(2, 1, 1, beat.context) for beat in beats if beat.to == 2)))
        if number >= 4:
            node.now_ms += 40
            node.settle(node.hear(*held))
            held = []
    return node.raft.election_timeout_ms


def test_who_was_silent_is_given_some_rounds_before_its_answers_are_a_measure() -> None:
    """It reads what has gathered first, and what it lacks of the log; after that a late answer is a long way."""
    assert late_after_a_silence(SETTLING_ROUNDS) == 300
    assert late_after_a_silence(SETTLING_ROUNDS + 4) > 300
