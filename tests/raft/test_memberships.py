"""Memberships along a log: their bytes, and which one holds where (memberships.py)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.raft.memberships import NO_INDEX, Memberships, decode_membership, encode_membership
from replica.raft.types import Index, Membership
from tests.wire.strategies import MEMBERSHIPS

BASE = Membership(frozenset({1, 2, 3}))


def of(*voters: int, **parts: frozenset[int]) -> Membership:
    return Membership(frozenset(voters), **parts)  # type: ignore[arg-type]  # sets of nodes only


@given(MEMBERSHIPS)
def test_a_membership_is_read_as_it_was_written(membership: Membership) -> None:
    assert decode_membership(encode_membership(membership)) == membership


@given(st.permutations([1, 2, 3, 40, 5]))
def test_the_bytes_do_not_depend_on_the_order_in_which_nodes_are_named(nodes: list[int]) -> None:
    """Replicas compare entries."""
    assert encode_membership(of(*nodes)) == encode_membership(of(1, 2, 3, 5, 40))


@given(st.binary(max_size=60))
def test_garbage_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_membership(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [("[1,2,3]", "[0]"), ("[1,2,3]", "[true]"), ("[1,2,3]", '["1"]'), ("[1,2,3]", "7"), ('""', "7"), ('""', '"x"')],
)
def test_a_field_of_another_kind_is_a_value_error(old: str, new: str) -> None:
    """Every one is looked at."""
    data = encode_membership(BASE).decode()
    assert old in data
    with pytest.raises(ValueError, match=r"."):
        decode_membership(data.replace(old, new, 1).encode())


@pytest.mark.parametrize(
    ("old", "new"), [('"leaving":[],', ""), ('"leaving":', '"departing":'), ("{", '{"weights":[],')]
)
def test_a_membership_has_all_its_fields_and_no_other(old: str, new: str) -> None:
    """What an older or a newer release wrote is not half understood."""
    data = encode_membership(BASE).decode()
    assert old in data
    with pytest.raises(ValueError, match="other fields than it has"):
        decode_membership(data.replace(old, new, 1).encode())


@pytest.mark.parametrize("rank", ["1.5", "true", '"1"', "null", "Infinity"])
def test_a_priority_that_is_no_number_is_a_value_error(rank: str) -> None:
    data = encode_membership(Membership(frozenset({1}), priority=((1, 9),))).decode()
    with pytest.raises(ValueError, match="no priority"):
        decode_membership(data.replace("[1,9]", f"[1,{rank}]").encode())


# ---- along the log


@dataclass
class Naive:
    """A log that remembers everything, and looks through all of it each time."""

    base: Membership
    entries: list[tuple[Index, Membership]] = field(default_factory=list)

    def latest(self) -> Membership:
        return self.entries[-1][1] if self.entries else self.base

    def cut(self, index: Index) -> bool:
        before = self.latest()
        self.entries = [entry for entry in self.entries if entry[0] < index]
        return self.latest() is not before

    def at(self, index: Index) -> Membership:
        return ([self.base] + [membership for place, membership in self.entries if place <= index])[-1]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 4), st.frozensets(st.integers(1, 9), min_size=1)),
        st.tuples(st.just("cut"), st.integers(0, 9), st.just(frozenset[int]())),
        st.tuples(st.just("forget"), st.integers(0, 9), st.just(frozenset[int]())),
        st.tuples(st.just("replace"), st.integers(1, 4), st.frozensets(st.integers(1, 9), min_size=1)),
    ),
    max_size=30,
)


@given(STEPS)
def test_it_agrees_with_a_log_that_forgets_nothing(steps: list[tuple[str, int, frozenset[int]]]) -> None:
    """Nothing is cut at or below what was forgotten or replaced: all of that is committed."""
    memberships, naive, committed = Memberships(BASE, ()), Naive(BASE), 0
    for what, number, voters in steps:
        last = max([committed, *(index for index, _ in naive.entries)])
        membership = Membership(voters)
        if what == "add":
            memberships.add(last + number, membership)
            naive.entries.append((last + number, membership))
        elif what == "cut":
            index = committed + 1 + number
            assert memberships.cut(index) == naive.cut(index)
        elif what == "forget":
            committed += number
            memberships.forget_before(committed)
        else:
            committed = last + number
            memberships.replace(committed, encode_membership(membership))
            naive.entries = [(committed, membership)]
        assert memberships.latest == naive.latest()
        for index in range(committed, committed + 12):
            assert memberships.at(index)[1] == naive.at(index)


def test_the_model_would_see_a_cut_that_cuts_too_little() -> None:
    """The comparison can fail."""

    class Lazy(Memberships):
        __slots__ = ()

        def cut(self, index: Index) -> bool:
            return super().cut(index + 1)

    memberships = Lazy(BASE, ((5, encode_membership(of(1))),))
    naive = Naive(BASE, [(5, of(1))])
    assert memberships.cut(5) != naive.cut(5)


def test_a_start_reads_what_the_store_has() -> None:
    """The last one that was compacted may stand at no index at all: a snapshot from before the first change."""
    two, three = encode_membership(of(1, 2)), encode_membership(of(1, 2, 3))
    memberships = Memberships(Membership(frozenset()), ((NO_INDEX, two), (7, three)))
    assert (memberships.latest, memberships.latest_index) == (of(1, 2, 3), 7)
    assert memberships.at(6) == (NO_INDEX, of(1, 2))


def test_a_store_without_a_membership_leaves_the_configured_one() -> None:
    """An empty value stands for none."""
    memberships = Memberships(BASE, ((NO_INDEX, b""),))
    assert memberships.latest == BASE


def test_memberships_are_added_in_the_order_of_the_log() -> None:
    memberships = Memberships(BASE, ((5, encode_membership(of(1))),))
    with pytest.raises(AssertionError, match="membership at 5 after one at 5"):
        memberships.add(5, of(2))


def test_the_membership_a_log_begins_with_is_never_cut_off() -> None:
    """It is in no entry."""
    memberships = Memberships(BASE, ((5, encode_membership(of(1))),))
    assert memberships.cut(NO_INDEX)
    assert (memberships.latest, memberships.latest_index) == (BASE, NO_INDEX)
    assert not memberships.cut(NO_INDEX)


def test_a_voter_calls_elections_and_so_does_one_whose_removal_may_not_be_committed() -> None:
    """4.2.2: its log may be the only one that has the entry which removes it."""
    memberships = Memberships(BASE, ((5, encode_membership(of(1, 2, outgoing=frozenset({1, 2, 3})))),))
    assert memberships.may_elect(3, 5)
    memberships.add(6, of(1, 2))
    assert memberships.may_elect(3, 5)
    assert not memberships.may_elect(3, 6)
    assert memberships.may_elect(1, 6)
    assert not memberships.may_elect(4, 5)
