"""Operations on their way into the log: at the leader they wait for the next entry, elsewhere for who leads.

What is surely a repetition is left out here, only to save room in the log: the gate in the replicated state decides,
and it decides the same for whatever slips through (rule 5).

An operation that arrives while nobody leads, or while leadership is handed over, is *held*: nothing can be said of it
yet. Held ones go on to the next leader as soon as there is one, so that a hand-over costs its callers a round trip and
not the time after which they send again. A new leader judges them only when it has applied all that its predecessors
appended: before that its state does not tell what is on its way already.

Leaves out: whose turn it is (admission.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from replica.cases.gate import Gate, judge
from replica.cases.operations import Operation, OperationId
from replica.cases.records import Records
from replica.runtime.admission import Admission


class Waiting(Struct, frozen=True):
    """One operation; `hint` tells its sender why it was not taken, where that can be told."""

    operation: Operation
    encoded: bytes
    hint: Callable[[OperationId, str], None] | None = None


class Ingress:
    """What waits here, and what this leader has already put into entries of its term."""

    def __init__(self, records: Records, most_waiting: int) -> None:
        self._records = records
        self._most_waiting = most_waiting
        self._admission = Admission[Waiting]()
        self._held: dict[OperationId, Waiting] = {}
        self._next: dict[tuple[str, bytes], int] = {}
        """Per (site, incarnation): the number after the last one taken in this term."""

    def __len__(self) -> int:
        return len(self._admission) + len(self._held)

    def new_term(self) -> None:
        """Leadership changed: what waits is for the next leader; what was put into entries may be lost, and is sent
        again by who is responsible for it."""
        self._held = {waiting.operation.id: waiting for waiting in self._admission.clear()} | self._held
        self._next.clear()

    def hold(self, waiting: Waiting) -> str | None:
        """Keep one for whoever leads next. Returns why not; None where it is kept, or was already."""
        if waiting.operation.id not in self._held and len(self) >= self._most_waiting:
            return "overloaded"
        self._held.setdefault(waiting.operation.id, waiting)
        return None

    def release(self) -> list[Waiting]:
        """All that was held, in order of arrival: offer it here, or send it to who leads."""
        held, self._held = self._held, {}
        return list(held.values())

    def put_back(self, refused: Sequence[Waiting]) -> None:
        """The log did not take these: they go first the next time."""
        self._admission.put_back(refused)

    def offer(self, waiting: Waiting, now_ms: int, wall_ms: int) -> str | None:
        """Take one operation for one of the next entries. Returns why not, as a hint to its sender; None where it is
        taken or is already on its way. `now_ms`: the loop's clock; `wall_ms`: the wall's, for the operation's age."""
        operation = waiting.operation
        name = (operation.id.site, operation.id.incarnation)
        following = self._next.get(name)
        if following is None:
            verdict = judge(self._records, operation)
            if verdict is Gate.DUPLICATE:
                return None
            if verdict is not Gate.OK:
                return verdict.name.lower()
        elif operation.id.seq < following:
            return None
        elif operation.id.seq > following:
            return "gap"
        if len(self) >= self._most_waiting:
            return "overloaded"
        self._next[name] = operation.id.seq + 1
        self._admission.add(waiting, wall_ms - operation.clock.wall_ms, now_ms)
        return None

    def applied(self, operations: Sequence[Operation], now_ms: int) -> None:
        """An entry with these was applied: whether they were taken, the state tells now. One that passed here and not
        there (its opening was overtaken by another life's) may come again, worded anew; it must not be taken for one
        that is still on its way."""
        self._admission.applied(operations, now_ms)
        for operation in operations:
            name = (operation.id.site, operation.id.incarnation)
            if self._next.get(name) == operation.id.seq + 1:
                del self._next[name]

    def take(self, now_ms: int) -> list[Waiting]:
        """The operations of the next entry, in order; empty where none may go now."""
        return self._admission.take(now_ms)

    def deadline_ms(self, now_ms: int) -> int | None:
        """When to `take` again, after `now_ms` and with no event before; None where only an event changes anything."""
        due = self._admission.deadline_ms()
        return due if due is not None and due > now_ms else None
