"""Figure 2 of the Raft paper, sentence by sentence. Each test quotes the sentence it checks."""

from __future__ import annotations

import pytest

from replica.raft.events import Received
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVoteReply,
    Readmit,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from replica.raft.progress import Phase
from replica.raft.types import EntryKind, HardState, Role
from tests.raft.solo import Solo, entries, entry, only, sent

# ---- State


def test_current_term_voted_for_and_log_are_on_stable_storage_before_the_answer_to_a_vote() -> None:
    """ "Persistent state on all servers (updated on stable storage before responding to RPCs)": a vote."""
    node = Solo()
    ready = node.hear(RequestVote(2, 1, term=5, last_index=0, last_term=0))
    assert ready.hard_state == HardState(term=5, vote=2)
    assert ready.send_now == ()
    assert ready.send_saved == (RequestVoteReply(1, 2, term=5, granted=True),)


def test_current_term_voted_for_and_log_are_on_stable_storage_before_the_answer_to_an_append() -> None:
    """ "Persistent state on all servers (updated on stable storage before responding to RPCs)": entries."""
    node = Solo()
    ready = node.hear(Append(2, 1, term=3, prev_index=0, prev_term=0, entries=entries(3, 3), commit=0))
    assert ready.hard_state == HardState(term=3, vote=0)
    assert ready.entries == entries(3, 3)
    assert ready.send_now == ()
    assert ready.send_saved == (AppendReply(1, 2, term=3, ok=True, match_index=2),)


def test_current_term_voted_for_and_log_survive_a_restart() -> None:
    """ "currentTerm: latest term server has seen; votedFor: candidateId that received vote; log[]: log entries"."""
    node = Solo()
    node.settle(node.hear(Append(2, 1, 3, 0, 0, entries(3, 3), 0), RequestVote(3, 1, 4, 9, 3, transfer=True)))
    node.restart()
    assert (node.raft.term, node.raft.vote) == (4, 3)
    assert node.raft.entries(1, 2) == entries(3, 3)


def test_commit_index_is_initialised_to_zero() -> None:
    """ "commitIndex: index of highest log entry known to be committed (initialized to 0)": whatever the log holds."""
    assert Solo(log=[1, 1, 2]).raft.commit_index == 0


def test_commit_index_begins_at_what_was_applied() -> None:
    """What the state machine kept was committed: commitIndex begins there, and nothing of it is given out again."""
    node = Solo(log=[1, 1, 2], applied=2)
    assert node.raft.commit_index == 2
    ready = node.hear(Append(2, 1, 2, 3, 2, (), commit=3))
    assert [given.index for given in ready.committed] == [3]


def test_commit_index_increases_monotonically() -> None:
    """ "commitIndex … increases monotonically": an older leader message cannot take it back."""
    node = Solo(log=[1, 1, 1])
    node.settle(node.hear(Append(2, 1, 1, 3, 1, (), commit=3)))
    node.settle(node.hear(Append(2, 1, 1, 3, 1, (), commit=1), Heartbeat(2, 1, 1, commit=0)))
    assert node.raft.commit_index == 3


def test_next_index_is_initialised_to_the_leaders_last_index_plus_one() -> None:
    """ "nextIndex[]: … (initialized to leader last log index + 1)": of the log as it was at the election."""
    node = Solo(log=[1, 1, 2])
    ready = node.become_leader()
    assert [(append.to, append.prev_index) for append in sent(ready, Append)] == [(2, 3), (3, 3)]


def test_match_index_is_initialised_to_zero() -> None:
    """ "matchIndex[]: … (initialized to 0, increases monotonically)"."""
    node = Solo(log=[1, 1, 2])
    node.become_leader()
    assert [view.match_index for view in node.raft.progress] == [0, 0]


def test_match_index_increases_monotonically() -> None:
    """ "matchIndex[]: … increases monotonically": an answer overtaken by a later one takes nothing back."""
    node = Solo()
    node.lead()
    node.settle(node.propose(b"a", b"b"))
    node.settle(node.hear(AppendReply(2, 1, 1, True, 3), AppendReply(2, 1, 1, True, 2)))
    assert node.raft.progress[0].match_index == 3


# ---- AppendEntries RPC, receiver


def test_append_of_an_old_term_is_answered_false() -> None:
    """ "1. Reply false if term < currentTerm", with the term, "for leader to update itself"."""
    node = Solo(log=[1], hard=HardState(term=5))
    ready = node.hear(Append(2, 1, term=4, prev_index=1, prev_term=1, entries=entries(4, first=2), commit=1))
    reply = only(ready, AppendReply)
    assert (reply.ok, reply.term) == (False, 5)
    assert (node.raft.last_index, node.raft.commit_index, node.raft.leader) == (1, 0, 0)


def test_append_that_leaves_a_gap_is_answered_false() -> None:
    """ "2. Reply false if log doesn't contain an entry at prevLogIndex …": the log ends before."""
    node = Solo(log=[1, 1])
    reply = only(node.hear(Append(2, 1, 1, prev_index=5, prev_term=1, entries=(), commit=0)), AppendReply)
    assert (reply.ok, reply.match_index) == (False, 5)
    assert (reply.hint_index, reply.hint_term) == (3, 0)


def test_append_on_another_term_is_answered_false() -> None:
    """ "2. … whose term matches prevLogTerm": with the term found there, and where that begins (5.3, end)."""
    node = Solo(log=[1, 2, 2, 2])
    reply = only(node.hear(Append(2, 1, 3, prev_index=4, prev_term=3, entries=(), commit=0)), AppendReply)
    assert (reply.ok, reply.match_index) == (False, 4)
    assert (reply.hint_index, reply.hint_term) == (2, 2)


def test_a_conflicting_entry_and_all_that_follow_are_deleted() -> None:
    """ "3. If an existing entry conflicts with a new one, delete the existing entry and all that follow it"."""
    node = Solo(log=[1, 2, 2, 2])
    ready = node.hear(Append(2, 1, 3, prev_index=1, prev_term=1, entries=entries(3, first=2), commit=0))
    assert ready.entries == entries(3, first=2)
    assert node.raft.entries(1, node.raft.last_index) == (entry(1, 1), entry(2, 3))


def test_entries_already_in_the_log_are_not_written_again_and_cut_nothing_off() -> None:
    """ "4. Append any new entries not already in the log": and only those; what follows them stays."""
    node = Solo(log=[1, 1, 1, 1])
    ready = node.hear(Append(2, 1, 1, prev_index=1, prev_term=1, entries=entries(1, first=2), commit=0))
    assert ready.entries == ()
    assert node.raft.last_index == 4
    assert only(ready, AppendReply).match_index == 2


def test_commit_index_becomes_the_leaders() -> None:
    """ "5. If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, …)"."""
    node = Solo(log=[1, 1, 1])
    ready = node.hear(Append(2, 1, 1, 3, 1, (), commit=2))
    assert (node.raft.commit_index, ready.commit_index) == (2, 2)


def test_commit_index_goes_no_further_than_the_last_new_entry() -> None:
    """ "5. … min(leaderCommit, index of last new entry)": what follows it here may conflict with the leader's log."""
    node = Solo(log=[1, 1, 1, 1])
    node.hear(Append(2, 1, 2, prev_index=1, prev_term=1, entries=entries(1, first=2), commit=4))
    assert node.raft.commit_index == 2


def test_append_is_answered_true_where_the_logs_meet() -> None:
    """ "success: true if follower contained entry matching prevLogIndex and prevLogTerm"."""
    node = Solo(log=[1, 2])
    assert only(node.hear(Append(2, 1, 2, 2, 2, (), 0)), AppendReply) == AppendReply(1, 2, 2, True, 2)


# ---- RequestVote RPC, receiver


def test_vote_of_an_old_term_is_refused() -> None:
    """ "1. Reply false if term < currentTerm", with the term, "for candidate to update itself"."""
    node = Solo(hard=HardState(term=5))
    ready = node.hear(RequestVote(2, 1, term=4, last_index=9, last_term=4))
    assert only(ready, RequestVoteReply) == RequestVoteReply(1, 2, term=5, granted=False)


def test_a_vote_not_given_is_given() -> None:
    """ "2. If votedFor is null …, and candidate's log is at least as up-to-date …, grant vote"."""
    node = Solo(hard=HardState(term=5))
    ready = node.hear(RequestVote(2, 1, 5, 0, 0))
    assert only(ready, RequestVoteReply).granted
    assert ready.hard_state == HardState(5, vote=2)
    assert ready.send_now == (), "the term is durable, the vote is not"


def test_a_vote_given_is_given_again_to_the_same() -> None:
    """ "2. If votedFor is … candidateId …, grant vote": the first answer may have been lost."""
    node = Solo(hard=HardState(term=5, vote=2))
    assert only(node.hear(RequestVote(2, 1, 5, 0, 0)), RequestVoteReply).granted


def test_a_vote_given_is_refused_to_another() -> None:
    """ "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis" (5.2)."""
    node = Solo(hard=HardState(term=5, vote=2))
    assert not only(node.hear(RequestVote(3, 1, 5, 0, 0)), RequestVoteReply).granted
    assert node.raft.vote == 2


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(3, 2, True), (4, 2, True), (2, 2, False), (1, 3, True), (9, 1, False)],
)
def test_a_vote_is_given_only_to_a_log_at_least_as_up_to_date(last_index: int, last_term: int, granted: bool) -> None:
    """ "If the logs have last entries with different terms, then the log with the later term is more up-to-date. If the
    logs end with the same term, then whichever log is longer" (5.4.1).
    """
    node = Solo(log=[1, 2, 2])
    assert only(node.hear(RequestVote(2, 1, 4, last_index, last_term)), RequestVoteReply).granted is granted


# ---- Rules for servers: all


def test_what_is_committed_is_applied_in_order() -> None:
    """ "If commitIndex > lastApplied: increment lastApplied, apply log[lastApplied] to state machine"."""
    node = Solo(log=[1, 1, 1])
    assert node.hear(Append(2, 1, 1, 3, 1, (), commit=2)).committed == entries(1, 1)
    assert node.hear(Heartbeat(2, 1, 1, commit=3)).committed == entries(1, first=3)
    assert node.hear(Heartbeat(2, 1, 1, commit=3)).committed == ()


HIGHER: list[Message] = [
    RequestVote(2, 1, 9, 0, 0, transfer=True),
    RequestVoteReply(2, 1, 9, False),
    PreVoteReply(2, 1, 9, False),
    Append(2, 1, 9, 0, 0, (), 0),
    AppendReply(2, 1, 9, False, 0),
    Heartbeat(2, 1, 9, 0),
    HeartbeatReply(2, 1, 9),
    Readmit(2, 1, 9),
    TimeoutNow(2, 1, 9),
]


@pytest.mark.parametrize("message", HIGHER, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
def test_a_higher_term_makes_everyone_a_follower_of_that_term(message: Message, role: Role) -> None:
    """ "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower"."""
    node = Solo()
    match role:
        case Role.FOLLOWER:
            pass
        case Role.PRE_CANDIDATE:
            node.settle(node.time_out())
        case Role.CANDIDATE:
            node.settle(node.become_candidate())
        case Role.LEADER:
            node.lead()
    assert node.raft.role is role
    ready = node.hear(message)
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 9)
    assert ready.hard_state is not None
    assert ready.hard_state.term == 9


# ---- Rules for servers: followers


def test_a_follower_answers_candidates_and_leaders() -> None:
    """ "Respond to RPCs from candidates and leaders"."""
    node = Solo()
    ready = node.hear(RequestVote(2, 1, 1, 0, 0), Append(2, 1, 1, 0, 0, (), 0), Heartbeat(2, 1, 1, 0, context=7))
    assert ready.send_saved == (
        RequestVoteReply(1, 2, 1, True),
        AppendReply(1, 2, 1, True, 0),
        HeartbeatReply(1, 2, 1, context=7),
    )


def test_a_follower_without_word_from_a_leader_campaigns() -> None:
    """ "If election timeout elapses without receiving AppendEntries RPC from current leader or granting vote to
    candidate: convert to candidate" (by way of pre-vote, 9.6).
    """
    node = Solo()
    node.wait(node.raft.deadline_ms - node.now_ms - 1)
    assert node.is_a(Role.FOLLOWER)
    node.wait(1)
    assert node.is_a(Role.PRE_CANDIDATE)


@pytest.mark.parametrize(
    "message", [Append(2, 1, 1, 0, 0, (), 0), Heartbeat(2, 1, 1, 0), RequestVote(2, 1, 1, 0, 0)], ids=str
)
def test_word_from_the_leader_or_a_vote_given_puts_the_campaign_off(message: Message) -> None:
    """ "… without receiving AppendEntries RPC from current leader or granting vote to candidate"."""
    node = Solo()
    node.wait(200)
    node.settle(node.hear(message))
    node.wait(299)
    assert node.is_a(Role.FOLLOWER)


def test_a_vote_refused_puts_nothing_off() -> None:
    """Only "granting vote to candidate" does: else a node that cannot win could keep all others waiting."""
    node = Solo(log=[3])
    before_ms = node.raft.deadline_ms
    node.wait(200)
    node.settle(node.hear(RequestVote(2, 1, 3, 9, 2)))
    assert node.raft.deadline_ms == before_ms


# ---- Rules for servers: candidates


def test_a_candidate_raises_its_term_votes_for_itself_resets_its_timer_and_asks_everyone() -> None:
    """ "On conversion to candidate, start election: increment currentTerm, vote for self, reset election timer, send
    RequestVote RPCs to all other servers". They leave after the vote is durable.
    """
    node = Solo(voters=5, log=[1, 2])
    ready = node.become_candidate()
    assert ready.hard_state == HardState(term=3, vote=1)
    assert ready.send_now == ()
    assert ready.send_saved == tuple(RequestVote(1, peer, 3, 2, 2) for peer in (2, 3, 4, 5))
    assert node.raft.deadline_ms > node.now_ms


@pytest.mark.parametrize(("voters", "needed"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)])
def test_votes_of_a_majority_make_a_leader(voters: int, needed: int) -> None:
    """ "If votes received from majority of servers: become leader", the own among them."""
    node = Solo(voters=voters)
    node.settle(node.become_candidate())
    for count, peer in enumerate(node.others[:needed], start=1):
        assert node.is_a(Role.CANDIDATE), f"leader of {voters} with {count} votes"
        node.settle(node.hear(RequestVoteReply(peer, 1, 1, True)))
    assert node.is_a(Role.LEADER)


def test_votes_refused_doubled_or_of_strangers_make_no_leader() -> None:
    """ "votes received from majority of servers": each server once, and servers of the cluster only."""
    node = Solo(voters=5)
    node.settle(node.become_candidate())
    yes, no = RequestVoteReply(2, 1, 1, True), RequestVoteReply(3, 1, 1, False)
    node.settle(node.hear(yes, yes, no, no, RequestVoteReply(9, 1, 1, True), RequestVoteReply(8, 1, 1, True)))
    assert node.is_a(Role.CANDIDATE)


def test_a_candidate_that_hears_the_new_leader_follows_it() -> None:
    """ "If AppendEntries RPC received from new leader: convert to follower"."""
    node = Solo()
    node.settle(node.become_candidate())
    node.settle(node.hear(Append(2, 1, 1, 0, 0, (), 0)))
    assert (node.raft.role, node.raft.leader, node.raft.vote) == (Role.FOLLOWER, 2, 1)


def test_a_candidate_whose_timeout_elapses_begins_anew() -> None:
    """ "If election timeout elapses: start new election": by pre-vote, so that its term rises only if it may win."""
    node = Solo()
    node.settle(node.become_candidate())
    node.settle(node.wait(600))
    assert (node.raft.role, node.raft.term) == (Role.PRE_CANDIDATE, 1)


def test_without_pre_vote_the_new_election_is_in_a_new_term() -> None:
    """ "start new election": the term rises each time, as the paper has it."""
    node = Solo(pre_vote=False)
    node.settle(node.time_out())
    node.settle(node.wait(600))
    assert (node.raft.role, node.raft.term) == (Role.CANDIDATE, 2)


# ---- Rules for servers: leaders


def test_a_new_leader_speaks_to_everyone_at_once() -> None:
    """ "Upon election: send initial AppendEntries RPCs to each server": here with the first entry of its term (6.4)."""
    ready = Solo(voters=5).become_leader()
    appends = sent(ready, Append)
    assert [append.to for append in appends] == [2, 3, 4, 5]
    assert {append.entries[0].kind for append in appends} == {EntryKind.MEMBERSHIP}
    assert ready.send_now == tuple(appends)


def test_a_leader_repeats_heartbeats_while_idle() -> None:
    """ "repeat during idle periods to prevent election timeouts"."""
    node = Solo()
    node.lead()
    for _ in range(5):
        ready = node.time_out()
        assert [heartbeat.to for heartbeat in sent(ready, Heartbeat)] == [2, 3]
        node.settle(node.hear(*(HeartbeatReply(peer, 1, 1, 1) for peer in (2, 3))))
    assert node.now_ms - 310 == 5 * node.config.heartbeat_interval_ms


def test_a_command_is_appended_and_given_out_once_committed() -> None:
    """ "If command received from client: append entry to local log, respond after entry applied to state machine"."""
    node = Solo()
    node.lead()
    ready = node.propose(b"a")
    assert [(one.token, one.index, one.term) for one in ready.accepted] == [(1, 2, 1)]
    assert [(one.index, one.data) for one in ready.entries] == [(2, b"a")]
    assert ready.committed == ()
    after = node.save(ready)
    assert after.committed == ()
    ready = node.hear(AppendReply(3, 1, 1, True, 2))
    assert [one.data for one in ready.committed] == [b"a"]


def test_a_follower_gets_the_entries_from_next_index_on() -> None:
    """ "If last log index ≥ nextIndex …: send AppendEntries RPC with log entries starting at nextIndex"."""
    node = Solo()
    node.lead()
    appends = sent(node.propose(b"a", b"b"), Append)
    assert [(append.to, append.prev_index, [one.index for one in append.entries]) for append in appends] == [
        (2, 1, [2, 3]),
        (3, 1, [2, 3]),
    ]


def test_success_moves_next_index_and_match_index() -> None:
    """ "If successful: update nextIndex and matchIndex for follower"."""
    node = Solo(log=[1, 1])
    node.settle(node.become_leader())
    node.settle(node.hear(AppendReply(2, 1, 2, True, 3)))
    view = node.raft.progress[0]
    assert (view.match_index, view.next_index, view.phase) == (3, 4, Phase.REPLICATE)


def test_inconsistency_moves_next_index_back_and_asks_again() -> None:
    """ "If AppendEntries fails because of log inconsistency: decrement nextIndex and retry": a term at a time."""
    node = Solo(log=[1, 1, 4, 4, 4])
    node.settle(node.become_leader())
    ready = node.hear(AppendReply(2, 1, 5, ok=False, match_index=5, hint_index=3, hint_term=2))
    append = only(ready, Append)
    assert (append.to, append.prev_index, append.prev_term) == (2, 2, 1)
    assert [one.index for one in append.entries] == [3, 4, 5, 6]


def test_a_hint_of_a_term_the_leader_has_not_leads_before_that_term_begins() -> None:
    """5.3, end: the follower has term 3 from index 3 on; the leader has nothing of term 3, so they meet before 3."""
    node = Solo(log=[1, 1, 1, 1, 1, 5, 5])
    node.settle(node.become_leader())
    ready = node.hear(AppendReply(2, 1, 6, ok=False, match_index=7, hint_index=3, hint_term=3))
    assert only(ready, Append).prev_index == 2


def test_a_hint_of_a_term_the_leader_has_leads_to_its_last_entry_of_it() -> None:
    """5.3, end: both have term 3 at index 4, and one entry names all before it (Log Matching)."""
    node = Solo(log=[1, 1, 3, 3, 5, 5, 5])
    node.settle(node.become_leader())
    ready = node.hear(AppendReply(2, 1, 6, ok=False, match_index=7, hint_index=3, hint_term=3))
    assert only(ready, Append).prev_index == 4


def test_a_majority_at_an_index_of_this_term_commits_it_and_all_before() -> None:
    """ "If there exists an N such that N > commitIndex, a majority of matchIndex[i] ≥ N, and log[N].term ==
    currentTerm: set commitIndex = N".
    """
    node = Solo(voters=5, log=[1, 1, 2])
    node.settle(node.become_leader())
    node.settle(node.hear(AppendReply(2, 1, 3, True, 4)))
    assert node.raft.commit_index == 0
    node.settle(node.hear(AppendReply(3, 1, 3, True, 4)))
    assert node.raft.commit_index == 4


def test_a_majority_at_an_index_of_an_older_term_commits_nothing() -> None:
    """ "… and log[N].term == currentTerm" (5.4.2, figure 8)."""
    node = Solo(voters=5, log=[1, 1, 2])
    node.settle(node.become_leader())
    node.settle(node.hear(*(AppendReply(peer, 1, 3, True, 3) for peer in (2, 3, 4, 5))))
    assert node.raft.commit_index == 0


def test_answers_of_other_terms_are_ignored() -> None:
    """An answer belongs to the term it was given in: older ones count for nothing."""
    node = Solo(hard=HardState(term=4))
    node.settle(node.become_leader())
    node.raft.step(Received(node.now_ms, AppendReply(2, 1, 4, True, 1)))
    node.raft.step(Received(node.now_ms, RequestVoteReply(2, 1, 3, True)))
    assert [view.match_index for view in node.raft.progress] == [0, 0]
    assert node.raft.commit_index == 0
