"""Which feature levels this release knows, and when the cluster's may be raised (docs/decisions/0009).

The cluster's level stands in the replicated state, 1 until somebody raises it. A leader writes the level it finds there
into each entry it appends, and by that level's rules the entry is applied, on every replica and for ever, whatever the
state's level is by then. So replicas of two releases never differ: what one of them cannot apply stops it.

    level 1, every voter speaks up to 2        RaiseLevel(2), an operation like any other
    entry 70 (level 1): RaiseLevel(2)          → the state's level is 2
    entry 71 (level 1): appended before 70 was applied, and applied by the rules of level 1
    entry 72 (level 2)

A raise that comes before every voter speaks the new level is refused with a verdict. Only the leader knows what they
speak (each said so in its handshake), so it writes that into the entry too: `Batch.spoken`.

Leaves out: what a level's rules are (level1.py to level3.py), and who asks for a raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from replica.errors import UnknownLevel

FIRST_LEVEL = 1
HIGHEST_LEVEL = 3
"""What this release can apply. A node names both in its handshake: `Identity.levels` is this pair."""

N = TypeVar("N", int, str)


def spoken_by_all(spoken: Mapping[N, int]) -> int:
    """The highest level that all `spoken` speak: what a leader writes into `Batch.spoken`.

    `spoken`: every voter (of both memberships, while two are joint) → the highest level its handshake named; 0 for one
    that was not heard since this node started. This node itself is among them.
    """
    return min(spoken.values(), default=0)


def may_raise(target: int, spoken: Mapping[N, int]) -> str | None:
    """Why the cluster cannot be raised to `target` now, naming every voter that is in the way; None where it can.

    For whoever asks beforehand, and for a membership change: a new voter must speak the level the cluster is at. What
    counts is the verdict, by `Batch.spoken`. `spoken` as for `spoken_by_all`.
    """
    if not spoken:
        return f"feature level {target}: no voter is known"
    late = [
        f"{node} was not heard yet" if spoken[node] <= 0 else f"{node} speaks up to level {spoken[node]}"
        for node in sorted(spoken)
        if spoken[node] < target
    ]
    return f"feature level {target}: {', '.join(late)}" if late else None


def check_known(level: int, where: str, first: int = FIRST_LEVEL, highest: int = HIGHEST_LEVEL) -> None:
    """Raise UnknownLevel for a level that this release cannot apply. `where`: what asks for it (entry 70, this
    store).

    A node calls it with the level of its state when it opens its store, and apply calls it for each entry.
    """
    if not first <= level <= highest:
        raise UnknownLevel(where, level, first, highest)
