"""Lies about the chapters a running service needs: membership (dissertation 4), reads (6.4), transfer (3.10),
snapshots (5).

Each is held against the world where that can see the harm, then against all scenarios, at last against the test that
states the promise in its shortest form.
"""

from __future__ import annotations

from chaos.mutants.mutant import Mutant, Scenarios, Seeds, promise

MEMBERSHIP = "replica/raft/membership.py"
READS = "replica/raft/reads.py"
TRANSFER = "replica/raft/transfer.py"
SNAPSHOTS = "replica/raft/snapshots.py"

SCENARIOS = Scenarios()
STORM = Seeds(100)
CHANGING = Seeds(100, "changing-members")
LEASES = Seeds(100, "leases")


CHAPTERS = (
    Mutant(
        "first-membership-not-in-the-log",
        "The membership a log begins with stands in configurations alone.",
        "replica/raft/replication.py",
        "if state.memberships.latest_index == NO_INDEX:",
        "if False:",
        (
            SCENARIOS,
            promise("test_who_votes_first_stands_in_the_log"),
        ),
    ),
    Mutant(
        "learner-counted",
        "Learners count in every majority.",
        "replica/raft/quorum.py",
        "if membership.outgoing else (membership.voters,)",
        "if membership.outgoing else (membership.voters | membership.learners,)",
        (
            CHANGING,
            SCENARIOS,
            promise("test_learners_count_for_nothing_in_a_commit"),
        ),
    ),
    Mutant(
        "joint-elected-by-either-majority",
        "In the joint state one of the two majorities elects a leader.",
        "replica/raft/quorum.py",
        "return all(len(half.intersection(granted))",
        "return any(len(half.intersection(granted))",
        (
            SCENARIOS,
            promise("test_the_joint_state_elects_by_both_majorities"),
        ),
    ),
    Mutant(
        "joint-committed-by-either-majority",
        "In the joint state one of the two majorities commits an entry.",
        "replica/raft/quorum.py",
        "return min(_reached(half, values, missing) for half in halves(membership))",
        "return max(_reached(half, values, missing) for half in halves(membership))",
        (
            CHANGING,
            SCENARIOS,
            promise("test_the_joint_state_commits_by_both_majorities"),
        ),
    ),
    Mutant(
        "change-before-the-own-terms-commit",
        "A new leader begins a change before an entry of its own term is committed.",
        MEMBERSHIP,
        "awaited = max(state.memberships.latest_index, leader.first_index)",
        "awaited = state.memberships.latest_index",
        (
            SCENARIOS,
            promise("test_no_change_before_an_entry_of_the_own_term_is_committed"),
        ),
    ),
    Mutant(
        "two-changes-at-once",
        "A change is begun while a step of another is not committed.",
        MEMBERSHIP,
        "if is_open(state) or state.commit_index < awaited:",
        "if state.commit_index < leader.first_index:",
        (
            CHANGING,
            SCENARIOS,
            promise("test_one_change_at_a_time"),
        ),
    ),
    Mutant(
        "quorum-lost-by-a-change",
        "A change is taken though the voters that answer now could not commit anything after it.",
        MEMBERSHIP,
        "    if lost:\n        return Refusal.QUORUM_LOST, lost",
        "    if not target.voters:\n        return Refusal.QUORUM_LOST, lost",
        (
            SCENARIOS,
            promise("test_a_change_that_would_lose_the_quorum_now_is_refused"),
        ),
    ),
    Mutant(
        "removed-voter-still-counted",
        "Who was removed stays a voter when the joint state is left.",
        MEMBERSHIP,
        "return replace(now, outgoing=frozenset())",
        "return replace(now, voters=now.voters | now.outgoing, outgoing=frozenset())",
        (
            CHANGING,
            SCENARIOS,
            promise("test_removed_voters_count_no_more_once_the_joint_state_is_left"),
        ),
    ),
    Mutant(
        "voter-far-behind",
        "A learner votes as soon as its state was compared, however far behind its log is.",
        MEMBERSHIP,
        "return quick and progress.same and node not in leader.readmissions",
        "return progress.same and node not in leader.readmissions",
        (
            SCENARIOS,
            promise("test_a_learner_votes_only_when_it_has_caught_up"),
        ),
    ),
    Mutant(
        "voter-with-another-state",
        "A learner votes as soon as it has caught up, whatever its state is.",
        MEMBERSHIP,
        "return quick and progress.same and node not in leader.readmissions",
        "return quick and node not in leader.readmissions",
        (
            SCENARIOS,
            promise("test_a_learner_votes_only_when_its_state_is_the_same"),
        ),
    ),
    Mutant(
        "removed-leader-stays",
        "A leader that was removed goes on leading.",
        MEMBERSHIP,
        "return done and state.node not in state.membership.voters",
        "return done and not state.membership.voters",
        (
            CHANGING,
            SCENARIOS,
            promise("test_a_removed_leader_leaves_when_its_removal_is_committed_and_not_before"),
        ),
    ),
    Mutant(
        "removed-leader-leaves-early",
        "A leader that is removed leaves before its removal is committed.",
        MEMBERSHIP,
        "done = not state.membership.outgoing and state.memberships.latest_index <= state.commit_index",
        "done = not state.membership.outgoing",
        (
            CHANGING,
            SCENARIOS,
            promise("test_a_removed_leader_leaves_when_its_removal_is_committed_and_not_before"),
        ),
    ),
    Mutant(
        "membership-survives-its-entry",
        "A membership holds on after its entry was replaced.",
        "replica/raft/memberships.py",
        "while self._known[-1][0] >= index and len(self._known) > 1:",
        "while self._known[-1][0] > index and len(self._known) > 1:",
        (
            SCENARIOS,
            promise("test_a_membership_whose_entry_is_replaced_holds_no_more"),
        ),
    ),
    Mutant(
        "read-index-without-own-commit",
        "A new leader's read index is what it knows to be committed, before anything of its own term is.",
        READS,
        "index = max(read.index, leader.first_index)",
        "index = read.index",
        (
            CHANGING,
            SCENARIOS,
            promise("test_a_read_index_is_never_below_the_own_terms_no_op"),
        ),
    ),
    Mutant(
        "dirty-read-served",
        "A leader answers a read without asking whether it still leads.",
        READS,
        "if won(state.membership, {state.node}) or lease_holds(state, leader):",
        "if won(state.membership, {state.node, *state.peers}):",
        (
            STORM,
            SCENARIOS,
            promise("test_a_read_is_answered_only_when_a_quorum_has_confirmed_its_leader"),
        ),
    ),
    Mutant(
        "read-confirmed-by-an-earlier-round",
        "The answer to a heartbeat sent before a read was asked confirms it.",
        READS,
        "while leader.reads and 0 < leader.reads[0].round <= confirmed:",
        "while leader.reads and leader.reads[0].round <= confirmed:",
        (
            SCENARIOS,
            promise("test_a_round_begun_before_a_read_confirms_nothing_of_it"),
        ),
    ),
    Mutant(
        "read-confirmed-by-one",
        "One follower's answer confirms a read, whatever a quorum is.",
        READS,
        "confirmed = agreed(state.membership, answered)",
        "confirmed = max(answered[peer] for peer in answered if peer != state.node)",
        (
            SCENARIOS,
            promise("test_a_read_is_answered_only_when_a_quorum_has_confirmed_its_leader"),
        ),
    ),
    Mutant(
        "lease-without-the-margin",
        "A lease lasts as long as the promise it rests on, as if all clocks were one.",
        "replica/raft/pace.py",
        "return config.election_timeout_ms * (1000 - drift) // (1000 + drift) - 2",
        "return config.election_timeout_ms * (1000 + 0 * drift) // 1000",
        (
            LEASES,
            SCENARIOS,
            promise("test_a_lease_is_shorter_than_the_promise_it_rests_on_by_the_drift_of_both_clocks"),
        ),
    ),
    Mutant(
        "lease-goes-on-during-a-transfer",
        "Reads are answered under a lease after leadership was offered to another.",
        READS,
        "if state.config.lease_reads and not leader.lease_off:\n        leader.lease_off = why",
        'if state.config.lease_reads and not leader.lease_off and "clock" in why:\n        leader.lease_off = why',
        (
            SCENARIOS,
            promise("test_offering_leadership_ends_all_leases_of_the_term"),
        ),
    ),
    Mutant(
        "wrong-clock-not-seen",
        "Leases go on though a follower's clock runs outside the declared bound.",
        READS,
        "if abs(theirs_ms - ours_ms) > allowed_ms:",
        "if abs(theirs_ms - ours_ms) > 1000 * allowed_ms:",
        (
            SCENARIOS,
            promise("test_a_clock_outside_the_declared_bound_ends_the_leases"),
        ),
    ),
    Mutant(
        "lease-promise-forgotten",
        "A follower that hears of a higher term votes, though a lease rests on it.",
        "replica/raft/election.py",
        "if state.config.lease_reads and not ask.transfer and hears_leader(state, ask):",
        "if state.config.lease_reads and ask.transfer and hears_leader(state, ask):",
        (
            SCENARIOS,
            promise("test_with_leases_a_promise_to_a_leader_outlives_its_term"),
        ),
    ),
    Mutant(
        "transfer-without-catching-up",
        "The heir is asked to campaign before it has the leader's log.",
        TRANSFER,
        "if leader.progress[transfer.to].match_index < state.log.last_index:",
        "if leader.progress[transfer.to].match_index < 0:",
        (
            SCENARIOS,
            promise("test_the_heir_is_asked_to_campaign_only_when_it_has_all_there_is"),
        ),
    ),
    Mutant(
        "transfer-never-given-up",
        "A leader whose heir never campaigns refuses proposals for ever.",
        TRANSFER,
        "if transfer is not None and (state.now_ms >= transfer.deadline_ms or not _is_voter(state, transfer.to)):",
        "if transfer is not None and not _is_voter(state, transfer.to):",
        (
            CHANGING,
            SCENARIOS,
            promise("test_a_leader_that_hands_over_takes_no_proposals_until_that_has_ended"),
        ),
    ),
    Mutant(
        "proposals-during-a-transfer",
        "Proposals are taken while leadership is handed over.",
        "replica/raft/replication.py",
        "    if leader.transfer is not None:\n        state.refuse(token, Refusal.TRANSFERRING)",
        "    if leader.transfer is not None and size < 0:\n        state.refuse(token, Refusal.TRANSFERRING)",
        (
            SCENARIOS,
            promise("test_a_leader_that_hands_over_takes_no_proposals_until_that_has_ended"),
        ),
    ),
    Mutant(
        "stale-snapshot-accepted",
        "A snapshot from before what is committed here is installed.",
        SNAPSHOTS,
        "if event.index <= state.commit_index:",
        "if event.index <= 0:",
        (
            CHANGING,
            SCENARIOS,
            promise("test_a_stale_snapshot_is_refused"),
        ),
    ),
    Mutant(
        "snapshot-instead-of-the-log",
        "A snapshot is installed though the log has its last entry and more behind it.",
        SNAPSHOTS,
        "if state.log.term(event.index) == event.term:",
        "if state.log.term(event.index) == event.term + 1:",
        (
            STORM,
            SCENARIOS,
            promise("test_a_snapshot_of_what_the_log_has_is_not_installed_but_tells_what_is_committed"),
        ),
    ),
    Mutant(
        "snapshot-index-off-by-one",
        "After a snapshot the log goes on one entry too late.",
        SNAPSHOTS,
        "state.log.reset(index, term)",
        "state.log.reset(index + 1, term)",
        (
            CHANGING,
            SCENARIOS,
            promise("test_after_a_snapshot_the_log_goes_on_with_the_very_next_entry"),
        ),
    ),
    Mutant(
        "compaction-past-the-flushed-index",
        "Entries are dropped that a crash would have to replay.",
        SNAPSHOTS,
        "through = min(flushed_index, keep_from - 1, state.log.stable_index)",
        "through = min(state.commit_index, keep_from - 1, state.log.stable_index)",
        (
            SCENARIOS,
            promise("test_the_log_is_compacted_up_to_the_least_of_what_is_needed"),
        ),
    ),
    Mutant(
        "compaction-past-a-snapshot-under-way",
        "Entries are dropped that the receiver of a snapshot needs next.",
        SNAPSHOTS,
        "return through if sending is None else min(through, sending)",
        "return through if sending is None else max(through, sending)",
        (
            SCENARIOS,
            promise("test_the_log_is_compacted_up_to_the_least_of_what_is_needed"),
        ),
    ),
)
