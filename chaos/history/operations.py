"""What a caller did: one operation, with the two moments between which it took effect, or may have.

An answer is one of three. *ok*: it was done, and this came back. *fail*: it was surely not done, so it is left out of
the check. *unknown*: nobody can say (a timeout, a lost connection, the caller died); it may take effect at any moment
after it was asked for, however late, or never.

Moments are numbers of any kind that only grow (nanoseconds, places in a file). Of two moments that are equal the asking
comes first: then the two operations overlap, and what overlaps may be ordered either way. So a clock that is too coarse
makes the check milder, never wrong.

Leaves out: what the operations mean (models.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `returned_at` is None where the outcome is unknown; `result` means nothing then."""

    process: str
    key: str
    what: str
    value: Hashable
    invoked_at: int
    returned_at: int | None = None
    result: Hashable = None

    @property
    def is_known(self) -> bool:
        """Whether an answer came."""
        return self.returned_at is not None


def by_key(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The operations of each key, in the order they were asked for; keys in the order they were first met.

    Linearizability is *local* (Herlihy and Wing, theorem 1): a history is linearizable if that of each object is. So
    each key is searched by itself, and the search sees tens of operations instead of thousands.
    """
    parts: dict[str, list[Operation]] = {}
    for operation in sorted(history, key=lambda one: one.invoked_at):
        parts.setdefault(operation.key, []).append(operation)
    return parts


def until(operations: Sequence[Operation], moment: int) -> list[Operation]:
    """The history as it stood at `moment`: what was not asked for yet is not in it, what was not answered is open."""
    return [
        one
        if one.returned_at is not None and one.returned_at <= moment
        else replace(one, returned_at=None, result=None)
        for one in operations
        if one.invoked_at <= moment
    ]


def frozen(value: object) -> Hashable:
    """A value out of JSON as one that can be compared and kept in a set: lists become tuples, objects sorted pairs."""
    match value:
        case list() | tuple():
            return tuple(frozen(item) for item in value)
        case dict():
            return tuple(sorted((str(key), frozen(item)) for key, item in value.items()))
        case Hashable():
            return value
        case _:
            raise TypeError(f"a history holds JSON values, not {type(value).__name__}")
