"""Whose operations go into the next entry: those of people who wait go before those of a journal that is replayed.

A site that comes back offers in seconds what it did in hours. Nobody waits for a receipt of that; at every other site
somebody does. So while there are such others, a backlog takes turns with rest: a small entry of it, and when that is
applied a pause of three times its time, in which the machines are the others'. While there are none, it goes in as fast
as it comes.

An operation is backlog by its age, and so is what its site does behind it: a site's operations keep their order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from replica.cases.operations import Operation, OperationId

MOST_OPERATIONS = 256
MOST_BYTES = 256 << 10
"""One entry's operations. Applying it holds up the loop for some ten milliseconds at most, well below a heartbeat."""
FEW_OPERATIONS = 24
"""Of a backlog in one entry while others are at work: some two milliseconds of every loop."""
BACKLOG_AGE_MS = 2000
"""Older operations are backlog. Above any budget that people set: of a live one somebody would have been told."""
RESTS = 3
"""How many times as long as its turn a backlog rests."""
OTHERS_FOR_MS = 2000
"""So long after a live operation others count as at work."""


class Offered(Protocol):
    """What waits, as far as its turn hangs on it."""

    @property
    def operation(self) -> Operation: ...

    @property
    def encoded(self) -> bytes: ...


W = TypeVar("W", bound=Offered)


@dataclass(slots=True)
class _Turn:
    """A backlog's entry that is on its way, by the last operation in it."""

    last: OperationId
    begun_ms: int


class Admission(Generic[W]):
    """Two lines at one door. `now_ms` is the loop's clock in every call."""

    def __init__(self) -> None:
        self._live: deque[W] = deque()
        self._backlog: deque[W] = deque()
        self._behind: Counter[str] = Counter()
        """Per site, how many of its operations wait in the backlog."""
        self._at_work_until_ms: dict[str, int] = {}
        """Per site, until when it counts as at work. Not one that turned out to have a backlog: what of it came before
        and was young enough was the beginning of that, and nobody rests for his own sake."""
        self._turn: _Turn | None = None
        self._rests_until_ms = 0

    def __len__(self) -> int:
        return len(self._live) + len(self._backlog)

    def add(self, offered: W, age_ms: int, now_ms: int) -> None:
        """One more, `age_ms` after it was issued."""
        site = offered.operation.id.site
        if age_ms >= BACKLOG_AGE_MS or self._behind[site]:
            self._backlog.append(offered)
            self._behind[site] += 1
            self._at_work_until_ms.pop(site, None)
        else:
            self._live.append(offered)
            self._at_work_until_ms[site] = now_ms + OTHERS_FOR_MS

    def put_back(self, refused: Sequence[W]) -> None:
        """What was taken and could not be had: it goes first the next time."""
        self._live.extendleft(reversed(refused))
        self._turn = None

    def clear(self) -> list[W]:
        """All that waits, in order; nothing waits afterwards."""
        waiting = [*self._live, *self._backlog]
        self._live.clear()
        self._backlog.clear()
        self._behind.clear()
        self._turn, self._rests_until_ms = None, 0
        return waiting

    def applied(self, operations: Sequence[Operation], now_ms: int) -> None:
        """An entry with these was applied."""
        turn = self._turn
        if turn is not None and any(operation.id == turn.last for operation in operations):
            self._turn = None
            self._rests_until_ms = now_ms + RESTS * (now_ms - turn.begun_ms)

    def take(self, now_ms: int) -> list[W]:
        """The operations of the next entry, in order; empty where none may go now."""
        if self._live:
            return _first(self._live, MOST_OPERATIONS)
        if now_ms >= self._others_until_ms():
            return self._counted(_first(self._backlog, MOST_OPERATIONS))
        if self._turn is not None or now_ms < self._rests_until_ms:
            return []
        taken = self._counted(_first(self._backlog, FEW_OPERATIONS))
        if taken:
            self._turn = _Turn(taken[-1].operation.id, now_ms)
        return taken

    def deadline_ms(self) -> int | None:
        """When a backlog that rests may go on; None where only an event can change anything."""
        if not self._backlog:
            return None
        others_ms = self._others_until_ms()
        return others_ms if self._turn is not None else min(self._rests_until_ms, others_ms)

    def _others_until_ms(self) -> int:
        return max(self._at_work_until_ms.values(), default=0)

    def _counted(self, taken: list[W]) -> list[W]:
        self._behind.subtract(one.operation.id.site for one in taken)
        return taken


def _first(line: deque[W], most: int) -> list[W]:
    """The head of a line that fits one entry; the first fits in any case."""
    size = count = 0
    for one in islice(line, most):
        size += len(one.encoded)
        if count and size > MOST_BYTES:
            break
        count += 1
    return [line.popleft() for _ in range(count)]
