"""Laws of quorums, against a second, naive implementation that counts."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from replica.raft.quorum import agreed, majority, voters, won
from replica.raft.types import Membership, NodeId

NODES = st.frozensets(st.integers(1, 9), min_size=1, max_size=7)
JOINT = st.builds(Membership, NODES, st.one_of(st.just(frozenset[int]()), NODES), st.frozensets(st.integers(1, 9)))
VALUES = st.dictionaries(st.integers(1, 9), st.integers(0, 12))


def counts_enough(half: frozenset[NodeId], yes: set[NodeId]) -> bool:
    """More than half, by counting each."""
    return sum(1 for node in half if node in yes) * 2 > len(half)


def naive_won(membership: Membership, yes: set[NodeId]) -> bool:
    halves = [membership.voters] + ([membership.outgoing] if membership.outgoing else [])
    return all(counts_enough(half, yes) for half in halves)


def naive_agreed(membership: Membership, values: dict[NodeId, int]) -> int:
    """Try every number from the top: the first that a quorum has reached."""
    for number in range(12, 0, -1):
        if naive_won(membership, {node for node, value in values.items() if value >= number}):
            return number
    return 0


def test_a_majority_is_more_than_half() -> None:
    """1 to 7 voters, even sizes too."""
    assert [majority(count) for count in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


@given(JOINT, st.sets(st.integers(1, 9)))
def test_won_counts_both_halves(membership: Membership, yes: set[NodeId]) -> None:
    """Joint or not, the same as counting."""
    assert won(membership, yes) is naive_won(membership, yes)


@given(JOINT, VALUES)
def test_agreed_is_the_greatest_number_a_quorum_reached(membership: Membership, values: dict[NodeId, int]) -> None:
    """Joint or not, the same as trying every number."""
    assert agreed(membership, values) == naive_agreed(membership, values)


@given(JOINT)
def test_any_two_quorums_share_a_voter(membership: Membership) -> None:
    """What all of Raft's safety rests on."""
    everyone = voters(membership)
    quorums = [
        set(chosen)
        for size in range(1, len(everyone) + 1)
        for chosen in combinations(everyone, size)
        if won(membership, chosen) and not any(won(membership, set(chosen) - {one}) for one in chosen)
    ]
    assert quorums
    assert all(one & other for one in quorums[:200] for other in quorums[:200])


@given(JOINT, VALUES, st.integers(1, 9), st.integers(0, 12))
def test_agreed_never_falls_when_a_value_rises(
    membership: Membership, values: dict[NodeId, int], node: NodeId, value: int
) -> None:
    """A commit index is never taken back by an acknowledgement."""
    more = values | {node: max(value, values.get(node, 0))}
    assert agreed(membership, more) >= agreed(membership, values)


@given(JOINT, VALUES)
def test_learners_and_strangers_change_nothing(membership: Membership, values: dict[NodeId, int]) -> None:
    """Only voters count."""
    of_voters = {node: value for node, value in values.items() if node in voters(membership)}
    assert agreed(membership, values) == agreed(membership, of_voters)
