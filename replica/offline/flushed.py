"""How far the gate has counted in the *flushed* state: the only numbers that may be trimmed (rule 15).

The feed runs ahead of the flush. What the gate calls duplicate in the state as fed may be undone, here, by a crash; cut
off for hours, this site would then miss its own effects. So every advance is noted with the index it came at, and
counts once the state is flushed up to there.

The same numbers say whose verdicts are held durably (`Operation.have`): they are stored with the same flush.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import takewhile

from replica.cases.operations import OperationId
from replica.cases.verdicts import Verdict


class FlushedGate:
    """Per incarnation, the gate's `last` as of the flushed index; and the verdicts that are not on disk yet."""

    __slots__ = ("_coming", "_last", "_verdicts")

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}
        self._coming: deque[tuple[int, bytes, int]] = deque()
        self._verdicts: dict[OperationId, tuple[int, int, Verdict]] = {}

    def last(self, incarnation: bytes) -> int:
        """The highest number that is duplicate in the flushed state; -1 for none."""
        return self._last.get(incarnation, -1)

    def opened(self, incarnation: bytes, last: int) -> None:
        """What the state on disk says when the store is opened."""
        self._last[incarnation] = last

    def decided(self, at_index: int, ident: OperationId, index: int, verdict: Verdict) -> None:
        """The state as fed, now at `at_index`, calls `ident` duplicate. `index`: of its own entry, 0 where not
        known."""
        self._coming.append((at_index, ident.incarnation, ident.seq))
        self._verdicts.pop(ident, None)  # the newest stands last, so that a flush looks at what it lets go alone
        self._verdicts[ident] = (at_index, index, verdict)

    def taken(self, at_index: int, incarnation: bytes, last: int) -> None:
        """The state as fed, now at `at_index`, calls this life's numbers up to `last` duplicate, and none of them is
        held here any more."""
        if last > self.last(incarnation):
            self._coming.append((at_index, incarnation, last))

    def verdict(self, ident: OperationId) -> tuple[int, Verdict] | None:
        """(index, verdict) of an operation decided since the last flush."""
        known = self._verdicts.get(ident)
        return None if known is None else known[1:]

    def flushed(self, index: int) -> None:
        """The state is durable up to `index`."""
        while self._coming and self._coming[0][0] <= index:
            _, incarnation, last = self._coming.popleft()
            self._last[incarnation] = max(last, self.last(incarnation))
        gone = takewhile(lambda ident: self._verdicts[ident][0] <= index, self._verdicts)
        for ident in list(gone):
            del self._verdicts[ident]

    def lives(self) -> set[bytes]:
        """The lives of which anything is noted."""
        return {*self._last, *(incarnation for _, incarnation, _ in self._coming)}

    def is_above(self, gates: Mapping[bytes, int]) -> bool:
        """Whether a number is noted here that the gate of the state in place does not call duplicate."""
        noted = [*self._last.items(), *((incarnation, last) for _, incarnation, last in self._coming)]
        return any(last > gates.get(incarnation, -1) for incarnation, last in noted)

    def went_back(self, gates: Mapping[bytes, int]) -> None:
        """The state was replaced by one that lacks some of it: what is noted holds up to the numbers of its gate."""
        self._last = {incarnation: min(last, gates.get(incarnation, -1)) for incarnation, last in self._last.items()}
        self._coming = deque(noted for noted in self._coming if noted[2] <= gates.get(noted[1], -1))
        self._verdicts = {
            ident: known for ident, known in self._verdicts.items() if ident.seq <= gates.get(ident.incarnation, -1)
        }

    def lower(self, incarnation: bytes, last: int) -> None:
        """What is durable here of this life's verdicts above `last` was said in a history that was given up."""
        self._last[incarnation] = min(self.last(incarnation), last)
