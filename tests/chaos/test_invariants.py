"""Each invariant, told a bad history made by hand, says no; told the good one beside it, says nothing."""

from __future__ import annotations

import pickle

import pytest

from chaos.world.invariants import (
    AcknowledgedIsDurable,
    CommitMonotonic,
    ElectionSafety,
    InvariantViolated,
    LeaderAppendOnly,
    LeaderCompleteness,
    LogMatching,
    PromiseIsDurable,
    StateMachineSafety,
    TermAt,
    VoteOnce,
)
from replica.raft.types import Entry, EntryKind, Index, Term

THREE = (frozenset({1, 2, 3}),)


def entry(index: Index, term: Term, data: bytes = b"") -> Entry:
    return Entry(index, term, EntryKind.DATA, data or b"%d/%d" % (index, term))


def log_of(*terms: Term) -> TermAt:
    """A log by the terms of its entries, from index 1 on."""
    return lambda index: terms[index - 1] if 0 < index <= len(terms) else 0


def test_election_safety_allows_one_leader_of_a_term_for_ever() -> None:
    """A term's leader may be seen again and again; another node in the same term, however much later, is too many."""
    safety = ElectionSafety()
    safety.leads(1, term=3)
    safety.leads(1, term=3)
    safety.leads(2, term=4)

    with pytest.raises(InvariantViolated, match="term 3 has two leaders") as caught:
        safety.leads(2, term=3)

    assert caught.value.name == "ElectionSafety"
    assert caught.value.facts == ("node 1 leads it", "node 2 leads it")


def test_leader_append_only_refuses_an_overwrite() -> None:
    """A leader whose log ends at 5 may write 6, and may not write 5 again."""
    append_only = LeaderAppendOnly()
    append_only.leads_with(1, term=2, last=5)
    append_only.writes(1, term=2, first=6)

    with pytest.raises(InvariantViolated, match="LeaderAppendOnly: leader 1 of term 2 overwrote"):
        append_only.writes(1, term=2, first=5)


def test_leader_append_only_refuses_a_deletion() -> None:
    """A leader's log never becomes shorter; a follower's may, and so may the log of a node that leads a later term."""
    append_only = LeaderAppendOnly()
    append_only.leads_with(1, term=2, last=5)
    append_only.stops(1, term=2)
    append_only.leads_with(1, term=4, last=3)

    with pytest.raises(InvariantViolated, match="LeaderAppendOnly: leader 1 of term 4 deleted"):
        append_only.leads_with(1, term=4, last=2)


def test_log_matching_refuses_two_contents_under_one_name() -> None:
    """(index 2, term 1) names one entry for ever, on every node."""
    matching = LogMatching()
    matching.appends(1, 0, [entry(1, 1), entry(2, 1, b"a")])
    matching.appends(2, 0, [entry(1, 1), entry(2, 1, b"a")])

    with pytest.raises(InvariantViolated, match="LogMatching: entry 2/1 has two contents"):
        matching.appends(3, 1, [entry(2, 1, b"b")])


def test_log_matching_refuses_one_entry_behind_two_different_ones() -> None:
    """Equal entries must stand in equal logs: here 3/3 follows an entry of term 1 on one node, of term 2 on another."""
    matching = LogMatching()
    matching.appends(1, 1, [entry(3, 3)])

    with pytest.raises(InvariantViolated, match="entry 3/3 stands in two different logs"):
        matching.appends(2, 2, [entry(3, 3)])


def test_log_matching_allows_a_log_to_be_replaced_under_new_names() -> None:
    """Uncommitted entries may make way for those of a later term."""
    matching = LogMatching()
    matching.appends(1, 0, [entry(1, 1), entry(2, 1)])
    matching.appends(1, 1, [entry(2, 2)])
    matching.appends(2, 1, [entry(2, 2)])


def test_state_machine_safety_refuses_two_entries_at_one_index() -> None:
    """What one node applied at index 1, no node applies differently."""
    safety = StateMachineSafety()
    safety.starts(1, 0)
    safety.starts(2, 0)
    safety.applies(1, entry(1, 1))

    with pytest.raises(InvariantViolated, match="StateMachineSafety: index 1 was applied twice differently"):
        safety.applies(2, entry(1, 2))


@pytest.mark.parametrize("index", [1, 3])
def test_state_machine_safety_refuses_again_and_too_early(index: Index) -> None:
    """After index 1 comes index 2: not 1 again, not 3."""
    safety = StateMachineSafety()
    safety.starts(1, 0)
    safety.applies(1, entry(1, 1))

    with pytest.raises(InvariantViolated, match=f"index 2 is due; it applied {index}"):
        safety.applies(1, entry(index, 1))


def test_state_machine_safety_lets_a_new_life_begin_where_its_state_was_flushed() -> None:
    """A restarted node applies again what its state machine had not flushed, and the same entries."""
    safety = StateMachineSafety()
    safety.starts(1, 0)
    safety.applies(1, entry(1, 1))
    safety.applies(1, entry(2, 1))
    safety.starts(1, 1)
    safety.applies(1, entry(2, 1))

    assert [entry(1, 1), entry(2, 1)] == safety.agreed


def test_state_machine_safety_refuses_a_state_that_is_not_newer() -> None:
    """A snapshot takes the state forward; one as of what is applied, or of less, takes it back."""
    safety = StateMachineSafety()
    safety.starts(1, 4)
    safety.installs(1, 7)

    with pytest.raises(InvariantViolated, match="node 1 went back in time: index 8 is due; it installed a state of 7"):
        safety.installs(1, 7)


def test_state_machine_safety_refuses_one_payload_at_two_indexes() -> None:
    """A proposal is proposed once, so it may be agreed once."""
    safety = StateMachineSafety()
    safety.starts(1, 0)
    safety.applies(1, entry(1, 1, b"same"))

    with pytest.raises(InvariantViolated, match="payload b'same' is twice in the log"):
        safety.applies(1, entry(2, 1, b"same"))


def test_leader_completeness_refuses_a_new_leader_without_a_committed_entry() -> None:
    """Entry 2/1 was committed in term 1: whoever leads term 2 must hold it."""
    completeness = LeaderCompleteness()
    completeness.commits(1, 2, log_of(1, 1), [])
    completeness.elected(2, 2, log_of(1, 1, 1))

    with pytest.raises(InvariantViolated, match="leader 3 of term 3 lacks a committed entry"):
        completeness.elected(3, 3, log_of(1))


def test_leader_completeness_refuses_a_commit_that_a_newer_leader_does_not_hold() -> None:
    """Figure 8 (d): the leader of term 2 commits an entry while the leader of term 3, elected before, has another."""
    completeness = LeaderCompleteness()

    with pytest.raises(InvariantViolated, match="it holds an entry of term 3 there"):
        completeness.commits(2, 2, log_of(1, 2), [(5, 3, log_of(1, 3))])


def test_leader_completeness_asks_nothing_of_leaders_of_earlier_terms() -> None:
    """A leader of term 1 that has not heard of term 2 yet need not hold what term 2 committed."""
    completeness = LeaderCompleteness()
    completeness.commits(2, 2, log_of(1, 2), [(1, 1, log_of(1))])
    completeness.elected(1, 1, log_of(1))


def test_vote_once_refuses_a_second_candidate_in_one_term() -> None:
    """The same candidate may be told yes twice, another one may not, not even after a crash."""
    once = VoteOnce()
    once.votes(1, term=2, candidate=3)
    once.votes(1, term=2, candidate=3)
    once.votes(1, term=3, candidate=2)

    with pytest.raises(InvariantViolated, match="node 1 voted twice in term 2: for node 3; for node 2"):
        once.votes(1, term=2, candidate=2)


def test_vote_once_binds_through_an_emptied_disk_but_for_own_candidacies() -> None:
    """A candidacy ends with the life that forgot it; a vote for another may have elected it, and stays given."""
    once = VoteOnce()
    once.votes(1, term=2, candidate=1)
    once.votes(1, term=3, candidate=2)
    once.loses_store(1)
    once.votes(1, term=2, candidate=3)

    with pytest.raises(InvariantViolated, match="node 1 voted twice in term 3"):
        once.votes(1, term=3, candidate=3)


def test_vote_once_refuses_the_vote_of_a_node_that_lost_its_store() -> None:
    """D10: it cannot know whom it voted for."""
    with pytest.raises(InvariantViolated, match="node 1 votes without knowing its votes"):
        VoteOnce().votes_unknowing(1, term=2, candidate=3)


@pytest.mark.parametrize("disk", [(1, 3), (2, 0), (2, 1)], ids=["older term", "no vote", "other vote"])
def test_a_vote_that_is_not_on_the_disk_must_not_leave(disk: tuple[Term, int]) -> None:
    """A vote for node 3 in term 2 leaves while the disk does not have it."""
    promise = PromiseIsDurable()
    promise.votes(1, term=2, candidate=3, disk=(2, 3))
    promise.votes(1, term=2, candidate=3, disk=(5, 0))

    with pytest.raises(InvariantViolated, match="PromiseIsDurable: node 1 promised what it may forget"):
        promise.votes(1, term=2, candidate=3, disk=disk)


@pytest.mark.parametrize("disk", [(1, 7), (2, 6)], ids=["older term", "shorter log"])
def test_a_confirmation_that_is_not_on_the_disk_must_not_leave(disk: tuple[Term, Index]) -> None:
    """A reply that confirms index 7 in term 2 leaves while the disk does not have both."""
    promise = PromiseIsDurable()
    promise.confirms(1, term=2, match_index=7, disk=(2, 7))

    with pytest.raises(InvariantViolated, match="a confirmation of 7 in term 2 left"):
        promise.confirms(1, term=2, match_index=7, disk=disk)


def test_a_node_that_lost_its_store_must_not_claim_to_count() -> None:
    """An answer without "rebuilding" leaves while the disk says rebuilding."""
    with pytest.raises(InvariantViolated, match="it answers in term 4 as one that counts"):
        PromiseIsDurable().counts(1, term=4)


def test_commit_monotonic_refuses_a_commit_index_that_goes_back() -> None:
    """Within one life it only rises; a new life begins with what its state machine has."""
    monotonic = CommitMonotonic()
    monotonic.starts(1, 0)
    monotonic.commits(1, 5, last_index=6)
    monotonic.starts(1, 2)
    monotonic.commits(1, 3, last_index=6)

    with pytest.raises(InvariantViolated, match="node 1's commit index went back: it was 3; it is 2"):
        monotonic.commits(1, 2, last_index=6)


def test_commit_monotonic_refuses_a_commit_beyond_the_log() -> None:
    """Nothing is committed here that is not here."""
    monotonic = CommitMonotonic()
    monotonic.starts(1, 0)

    with pytest.raises(InvariantViolated, match="node 1 commits what it lacks"):
        monotonic.commits(1, 7, last_index=6)


def test_acknowledged_is_durable_wants_a_majority_of_disks() -> None:
    """Two of three disks are enough, one is not."""
    durable = AcknowledgedIsDurable()
    durable.acknowledges(entry(1, 1), entry(1, 1).data, holders=[1, 3], halves=THREE)

    with pytest.raises(InvariantViolated, match="entry 2/1 was acknowledged too early"):
        durable.acknowledges(entry(2, 1), entry(2, 1).data, holders=[1], halves=THREE)


def test_acknowledged_is_durable_wants_a_majority_of_each_half() -> None:
    """In a joint state a majority of the one half is none of the other."""
    halves = (frozenset({1, 2, 3}), frozenset({3, 4, 5}))
    durable = AcknowledgedIsDurable()
    durable.acknowledges(entry(1, 1), entry(1, 1).data, holders=[1, 3, 4], halves=halves)

    with pytest.raises(InvariantViolated, match="entry 2/1 was acknowledged too early"):
        durable.acknowledges(entry(2, 1), entry(2, 1).data, holders=[1, 2, 3], halves=halves)


def test_acknowledged_is_durable_wants_the_proposed_payload() -> None:
    """The caller is told that *its* payload is done."""
    with pytest.raises(InvariantViolated, match="is not what was proposed"):
        AcknowledgedIsDurable().acknowledges(entry(1, 1, b"a"), b"b", holders=[1, 2], halves=THREE)


@pytest.mark.parametrize("new", [(entry(1, 1), entry(2, 4)), (entry(1, 1),)], ids=["replaced", "cut off"])
def test_acknowledged_is_durable_refuses_to_lose_an_entry_from_a_disk(new: tuple[Entry, ...]) -> None:
    """An acknowledged entry is never replaced or cut off on a disk that has it; other entries may be."""
    durable = AcknowledgedIsDurable()
    durable.acknowledges(entry(2, 1), entry(2, 1).data, holders=[1, 2], halves=THREE)
    durable.overwrites(1, [entry(2, 1), entry(3, 1)], (entry(2, 1), entry(3, 4)))
    durable.overwrites(3, [entry(2, 3)], (entry(2, 4),))

    with pytest.raises(InvariantViolated, match="node 1 lost an acknowledged entry"):
        durable.overwrites(1, [entry(1, 1), entry(2, 1)], new)


def test_acknowledged_is_durable_refuses_a_node_that_counts_before_it_holds_what_it_must() -> None:
    """A node that lost its store counts again while the newest acknowledged entry is on one disk that counts."""
    durable = AcknowledgedIsDurable()
    durable.readmitted(3, lambda _: [], lambda _: THREE, counting={1, 2, 3})
    durable.acknowledges(entry(1, 1), entry(1, 1).data, holders=[1, 3], halves=THREE)
    durable.readmitted(3, lambda _: [1, 3], lambda _: THREE, counting={1, 2, 3})
    durable.readmitted(3, lambda _: [1], lambda _: THREE, counting={1, 3})

    with pytest.raises(InvariantViolated, match="node 3 counts again too early"):
        durable.readmitted(3, lambda _: [1], lambda _: THREE, counting={1, 2, 3})


def test_acknowledged_is_durable_looks_again_at_the_end() -> None:
    """What was acknowledged stands in the agreed sequence, at its index."""
    durable = AcknowledgedIsDurable()
    durable.acknowledges(entry(1, 1), entry(1, 1).data, holders=[1, 2], halves=THREE)
    durable.survives([entry(1, 1)])

    with pytest.raises(InvariantViolated, match="an acknowledged entry is gone"):
        durable.survives([entry(1, 2)])


def test_a_violation_survives_the_way_out_of_a_worker_process() -> None:
    """Seeds run in processes of their own hand their violations back whole."""
    violated = InvariantViolated("VoteOnce", "twice", ("one", "other"))

    copy = pickle.loads(pickle.dumps(violated))

    assert (copy.name, copy.text, copy.facts) == ("VoteOnce", "twice", ("one", "other"))
    assert str(copy) == "VoteOnce: twice: one; other"
