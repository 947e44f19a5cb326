"""The log over its store: reading across the seam, cutting, and what is durable when (the ABA problem)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from replica.raft.log import Log
from replica.raft.types import Entry, EntryKind, HardState, Index, Term
from tests.raft.cluster import MemoryStore
from tests.raft.solo import entries, entry


def store_of(*terms: Term, first: Index = 1, before: Term = 0) -> MemoryStore:
    return MemoryStore(HardState(), list(entries(*terms, first=first)), first, before)


def test_an_empty_log_ends_at_zero() -> None:
    """Index 0 with term 0 is before every log."""
    log = Log(store_of())
    assert (log.first_index, log.last_index, log.last_term, log.term(0), log.term(1)) == (1, 0, 0, 0, None)


def test_a_compacted_log_knows_the_term_before_its_first_entry_and_none_earlier() -> None:
    """That is where an Append may still meet it."""
    log = Log(store_of(4, 4, first=8, before=3))
    assert (log.first_index, log.last_index) == (8, 9)
    assert [log.term(index) for index in (6, 7, 8, 9, 10)] == [None, 3, 4, 4, None]


def test_a_wholly_compacted_log_goes_on_after_its_last_index() -> None:
    """No entry is held, but the next index is known."""
    log = Log(store_of(first=8, before=3))
    log.append(entry(8, 4))
    assert (log.first_index, log.last_index, log.term(7), log.last_term) == (8, 8, 3, 4)


def test_reading_crosses_from_the_store_to_memory() -> None:
    """In order, without a gap, and cut by bytes over both together."""
    log = Log(store_of(1, 1, 2))
    log.append(entry(4, 2))
    log.append(entry(5, 2))
    assert log.entries(2, 5, max_bytes=100) == entries(1, 2, 2, 2, first=2)
    assert [one.index for one in log.entries(2, 5, max_bytes=3)] == [2, 3, 4]
    assert [one.index for one in log.entries(2, 5, max_bytes=0)] == [2]
    assert [one.index for one in log.entries(4, 5, max_bytes=0)] == [4]
    assert log.entries(5, 4, max_bytes=9) == ()


def test_splice_keeps_what_is_there_already() -> None:
    """Same index and term: the same entry (Log Matching). What follows it is not touched."""
    log = Log(store_of(1, 1, 2))
    assert log.splice(entries(1, 1)) == 0
    assert (log.last_index, log.has_unsaved) == (3, False)


def test_splice_replaces_from_the_first_difference() -> None:
    """The index where it began is given back."""
    log = Log(store_of(1, 1, 2, 2))
    assert log.splice(entries(1, 3, first=2)) == 3
    assert [log.term(index) for index in range(1, 5)] == [1, 1, 3, None]
    assert (log.stable_index, log.take_unsaved(1)) == (2, entries(3, first=3))


def test_unsaved_entries_are_handed_out_once() -> None:
    """The next Ready has only what came since."""
    log = Log(store_of())
    log.append(entry(1, 1))
    assert log.take_unsaved(1) == entries(1)
    assert log.take_unsaved(2) == ()
    log.append(entry(2, 1))
    assert log.take_unsaved(3) == entries(1, first=2)


def test_a_late_completion_does_not_speak_for_what_replaced_its_entries() -> None:
    """Entry (2, term 2) is on disk when Ready 1 is done, but Ready 2 will overwrite it: durable only with Ready 3."""
    store = store_of(1)
    log = Log(store)
    for number, terms in enumerate(([2, 2], [3], [2, 2, 4]), start=1):
        log.splice(entries(*terms, first=2))
        log.take_unsaved(number)
    log.persisted(1)
    assert log.stable_index == 1
    log.persisted(2)
    assert log.stable_index == 1
    log.persisted(3)
    assert log.stable_index == 4


def test_the_cache_of_durable_entries_is_bounded() -> None:
    """Beyond it entries are read from the store; those not durable are never dropped."""
    store = store_of()
    log = Log(store, cache_bytes=100)
    for index in range(1, 51):
        log.append(Entry(index, 1, EntryKind.DATA, b"x" * 10))
        taken = log.take_unsaved(index)
        store.log.extend(taken)
        if index <= 40:
            log.persisted(index)
    assert len(log._tail) <= 10 + 10
    assert [one.index for one in log.entries(1, 50, 10_000)] == list(range(1, 51))
    assert log.stable_index == 40


@pytest.mark.parametrize(("index", "first"), [(1, 1), (2, 1), (3, 3), (5, 3), (6, 6)])
def test_the_first_index_of_a_term_is_found(index: Index, first: Index) -> None:
    """By bisection: terms only rise."""
    assert Log(store_of(1, 1, 3, 3, 3, 4)).first_of_term(index) == first


@pytest.mark.parametrize(("term", "last"), [(0, 0), (1, 2), (2, 2), (3, 5), (4, 6), (9, 6)])
def test_the_last_index_with_a_term_not_above_is_found(term: Term, last: Index) -> None:
    """first_index - 1 where there is none."""
    assert Log(store_of(1, 1, 3, 3, 3, 4)).last_not_above(term, 6) == last


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 6), st.data())
def test_bisection_finds_what_a_walk_finds(terms: list[Term], term: Term, data: st.DataObject) -> None:
    """Both searches, on any log."""
    terms.sort()
    log = Log(store_of(*terms))
    index = data.draw(st.integers(1, len(terms)))
    assert log.first_of_term(index) == terms.index(terms[index - 1]) + 1
    below = [place for place in range(1, index + 1) if terms[place - 1] <= term]
    assert log.last_not_above(term, index) == max(below, default=0)


class LogAgainstStore(RuleBasedStateMachine):
    """Readies are handed out, saved late and in order; the log may be cut and grown in between, with terms repeated.

    The claim: what the log calls durable is on disk, and stays there whatever Readies are still to be saved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store = store_of()
        self.log = Log(self.store, cache_bytes=3)
        self.model: list[Entry] = []
        self.waiting: list[tuple[int, tuple[Entry, ...]]] = []
        self.number = 0

    @rule(count=st.integers(1, 3), rise=st.integers(0, 1))
    def grow(self, count: int, rise: int) -> None:
        """A leader's own entries."""
        for _ in range(count):
            term = (self.model[-1].term if self.model else 1) + rise
            self.model.append(entry(len(self.model) + 1, term))
            self.log.append(self.model[-1])

    @precondition(lambda self: self.model)
    @rule(data=st.data(), terms=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def replace(self, data: st.DataObject, terms: list[Term]) -> None:
        """Another leader's entries: from somewhere in the log on, perhaps the very ones that were there before."""
        place = data.draw(st.integers(0, len(self.model)))
        low = self.model[place - 1].term if place else 1
        new = entries(*sorted(max(term, low) for term in terms), first=place + 1)
        self.log.splice(new)
        for one in new:
            if one.index <= len(self.model) and self.model[one.index - 1] != one:
                del self.model[one.index - 1 :]
            if one.index == len(self.model) + 1:
                self.model.append(one)

    @rule()
    def hand_out(self) -> None:
        self.number += 1
        self.waiting.append((self.number, self.log.take_unsaved(self.number)))

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 3), told=st.booleans())
    def save(self, count: int, told: bool) -> None:
        """The disk finishes some; the news of it may come later, with the next."""
        for _ in range(min(count, len(self.waiting))):
            number, taken = self.waiting.pop(0)
            if taken:
                del self.store.log[taken[0].index - 1 :]
                self.store.log.extend(taken)
            if told:
                self.log.persisted(number)

    @invariant()
    def the_log_is_the_model(self) -> None:
        assert self.log.last_index == len(self.model)
        assert self.log.entries(1, len(self.model), 10_000) == tuple(self.model)

    @invariant()
    def what_is_called_durable_is_on_disk_to_stay(self) -> None:
        disk = list(self.store.log)
        stable = self.log.stable_index
        assert disk[:stable] == self.model[:stable]
        for _, taken in self.waiting:
            assert not taken or taken[0].index > stable, f"durable to {stable}, to be replaced from {taken[0].index}"


LogAgainstStore.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestLogAgainstStore = LogAgainstStore.TestCase
