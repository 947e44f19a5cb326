"""Who waits for what: callers and their budgets, and what each may be told (rule 9).

"No receipt of either kind before the local fsync." A caller is told `Agreed` once the verdict is here *and* the record
is durable here; `KeptHere` when the budget is over, or at once where the line is known to be cut; `NotKnown` when the
budget is over and the disk has not answered. There is no other success, and nobody is told twice.

An operation whose caller was told `NotKnown` stays what it is, under its number, for ever: somebody may ask for it by
name."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import Verdict
from replica.offline.events import Agreed, KeptHere, NotKnown, Receipt, TurnedAway
from replica.offline.lives import tombstone


@dataclass(frozen=True, slots=True)
class _Caller:
    deadline_ms: int
    operation: OperationId


class Callers:
    """The callers that have no receipt yet, and the receipts to hand out."""

    __slots__ = ("_due", "_of", "_waiting", "ready", "told")

    def __init__(self) -> None:
        self._waiting: dict[int, _Caller] = {}
        self._of: dict[OperationId, list[int]] = {}
        self._due: list[tuple[int, int]] = []
        self.ready: list[Receipt] = []
        self.told: set[OperationId] = set()
        """Operations that are not durable yet and whose callers were told `NotKnown`."""

    def wait(self, token: int, operation: OperationId, deadline_ms: int) -> None:
        assert token not in self._waiting, f"token {token} waits for {self._waiting[token].operation} already"
        self._waiting[token] = _Caller(deadline_ms, operation)
        self._of.setdefault(operation, []).append(token)
        heapq.heappush(self._due, (deadline_ms, token))

    def waits_for(self, operation: OperationId) -> bool:
        return operation in self._of

    def agreed(self, operation: OperationId, index: int, verdict: Verdict) -> None:
        """The verdict is known and the record durable."""
        self.ready += [Agreed(token, operation, index, verdict) for token in self._leave(operation)]

    def kept(self, operation: OperationId) -> None:
        """The record is durable and nobody is to wait for more."""
        self.ready += [KeptHere(token, operation) for token in self._leave(operation)]

    def turned_away(self, operation: OperationId, why: str, full: bool) -> None:
        """Surely not done."""
        self.ready += [TurnedAway(token, why, full) for token in self._leave(operation)]

    def not_written(
        self, unwritten: Sequence[Operation], life: bytes, problem: str
    ) -> tuple[list[Operation], list[OperationId]]:
        """A full disk has nothing of these. Returns what is to be tried again, and whose callers were turned away.

        Callers who still wait are told that it is surely not done. But a caller who was told `NotKnown` may ask for its
        operation by name, so that one keeps its number and is tried again; a number below it that was turned away is
        filled with a tombstone, since rule 5 allows no gap. Openings and drains are nobody's to turn away: of the
        present `life` alone are others.
        """
        kept_to = max((ident.seq for ident in self.told if ident.incarnation == life), default=0)
        again: list[Operation] = []
        away: list[OperationId] = []
        for operation in unwritten:
            ident = operation.id
            if ident.incarnation != life or not self.waits_for(ident):
                again.append(operation)
                continue
            self.turned_away(ident, problem, full=True)
            away.append(ident)
            if ident.seq <= kept_to:
                again.append(tombstone(ident, "turned away: the disk was full"))
        return again, away

    def renamed(self, before: OperationId, after: OperationId) -> None:
        """The operation goes on under another id (a drain's)."""
        if before in self.told:
            self.told.remove(before)
            self.told.add(after)
        tokens = self._of.pop(before, [])
        for token in tokens:
            self._waiting[token] = _Caller(self._waiting[token].deadline_ms, after)
        if tokens:
            self._of[after] = tokens

    def waiting(self) -> list[OperationId]:
        """Every operation somebody waits for, in the order in which they came."""
        return list(self._of)

    def overdue(self, now_ms: int) -> list[OperationId]:
        """The operations with a caller whose budget is over."""
        due = []
        while self._due and (self._due[0][0] <= now_ms or self._due[0][1] not in self._waiting):
            _, token = heapq.heappop(self._due)
            if token in self._waiting:
                due.append(token)
        return [self._waiting[token].operation for token in due]

    def not_known(self, operation: OperationId) -> None:
        """The budget is over and the disk has not answered."""
        self.told.add(operation)
        self.ready += [NotKnown(token, operation) for token in self._leave(operation)]

    def deadline_ms(self) -> int | None:
        while self._due and self._due[0][1] not in self._waiting:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def _leave(self, operation: OperationId) -> list[int]:
        tokens = self._of.pop(operation, [])
        for token in tokens:
            del self._waiting[token]
        return tokens
