"""Operations on their way into the log: at the leader they wait for the next entry, elsewhere they are passed on.

What is surely a repetition is left out here, only to save room in the log: the gate in the replicated state decides,
and it decides the same for whatever slips through (rule 5).
"""

from __future__ import annotations

from dataclasses import dataclass

from replica.cases.gate import Gate, judge
from replica.cases.operations import Operation
from replica.cases.records import Records

MOST_OPERATIONS = 256
MOST_BYTES = 256 << 10
"""One entry's operations. Applying it holds up the loop for some ten milliseconds at most, well below a heartbeat."""


@dataclass(frozen=True, slots=True)
class Waiting:
    operation: Operation
    encoded: bytes


class Ingress:
    """What waits at a leader, and what it has already put into entries of its term."""

    def __init__(self, records: Records, most_waiting: int) -> None:
        self._records = records
        self._most_waiting = most_waiting
        self._waiting: list[Waiting] = []
        self._next: dict[tuple[str, bytes], int] = {}
        """Per (site, incarnation): the number after the last one taken in this term."""

    def __len__(self) -> int:
        return len(self._waiting)

    def new_term(self) -> None:
        """Leadership changed: what was put into entries may be lost, and is sent again by who is responsible for it."""
        self._waiting.clear()
        self._next.clear()

    def offer(self, operation: Operation, encoded: bytes) -> str | None:
        """Take one operation for the next entry. Returns why not, as a hint to its sender; None where it is taken or
        is already on its way."""
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
        if len(self._waiting) >= self._most_waiting:
            return "overloaded"
        self._next[name] = operation.id.seq + 1
        self._waiting.append(Waiting(operation, encoded))
        return None

    def take(self) -> list[Waiting]:
        """The operations of the next entry, in order of arrival; empty where nothing waits."""
        size = count = 0
        for waiting in self._waiting[:MOST_OPERATIONS]:
            size += len(waiting.encoded)
            if count and size > MOST_BYTES:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken
