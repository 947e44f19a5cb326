"""How far the gate has counted in the *flushed* state: the only numbers that may be trimmed (rule 15).

The feed runs ahead of the flush. What the gate calls duplicate in the state as fed may be undone, here, by a crash; cut
off for hours, this site would then miss its own effects. So every advance is noted with the index it came at, and
counts once the state is flushed up to there.

The same numbers say whose verdicts are held durably (`Operation.have`): they are stored with the same flush.
"""

from __future__ import annotations

from collections import deque

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
        self._verdicts[ident] = (at_index, index, verdict)

    def verdict(self, ident: OperationId) -> tuple[int, Verdict] | None:
        """(index, verdict) of an operation decided since the last flush."""
        known = self._verdicts.get(ident)
        return None if known is None else known[1:]

    def flushed(self, index: int) -> None:
        """The state is durable up to `index`."""
        while self._coming and self._coming[0][0] <= index:
            _, incarnation, last = self._coming.popleft()
            self._last[incarnation] = max(last, self.last(incarnation))
        self._verdicts = {ident: known for ident, known in self._verdicts.items() if known[0] > index}

    def went_back(self) -> None:
        """The state was replaced by an older one: nothing noted so far holds."""
        self._last.clear()
        self._coming.clear()
