"""How many are enough: majorities of one membership, and of both memberships while it changes.

Knows nothing of Raft: sets of voters and numbers go in, a number or a yes comes out. A joint membership (dissertation
4.3: "agreement (for elections and entry commitment) requires separate majorities from both the old and new
configurations") is
two plain majorities and the lesser of their answers, so no caller ever asks which of the two it has.

Even sizes need no rule of their own: of 4 voters 3 are a majority, of 2 both. An even cluster survives no more losses
than the odd one below it, but it is not wrong.

Leaves out: witnesses, weights and flexible quorums.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from replica.raft.types import Membership, NodeId


def majority(count: int) -> int:
    """The least number of `count` voters such that any two choices of so many share a voter."""
    assert count >= 1, f"a majority of {count} voters"
    return count // 2 + 1


def halves(membership: Membership) -> tuple[frozenset[NodeId], ...]:
    """The sets each of which must agree by majority: one outside a change, two within."""
    return (membership.voters, membership.outgoing) if membership.outgoing else (membership.voters,)


def voters(membership: Membership) -> tuple[NodeId, ...]:
    """Everyone whose vote counts in either half, by id."""
    return tuple(sorted(membership.voters | membership.outgoing))


def won(membership: Membership, granted: Collection[NodeId]) -> bool:
    """Whether those in `granted` are a quorum. Who is no voter counts for nothing."""
    return all(len(half.intersection(granted)) >= majority(len(half)) for half in halves(membership))


def agreed(membership: Membership, values: Mapping[NodeId, int], missing: int = 0) -> int:
    """The greatest number that a quorum of voters has reached; `missing` stands for a voter without a value.

    With match indexes this is the index a quorum stores; with times of last contact, the time since which a quorum has
    been heard. Sorted from the greatest, the value at place `majority` has that many voters at or above it: of
    5, 3, 9 a majority of two has reached 5.
    """
    if not membership.outgoing:
        return _reached(membership.voters, values, missing)
    return min(_reached(half, values, missing) for half in halves(membership))


def _reached(half: frozenset[NodeId], values: Mapping[NodeId, int], missing: int) -> int:
    ordered = sorted([values.get(voter, missing) for voter in half], reverse=True)
    return ordered[majority(len(half)) - 1]
