"""Callers that hand in one operation after the other, all the time, and how long each waited around a moment.

What counts as a caller's wait around a fault: its operation that was under way at the fault, or those it handed in
right after; each from the fault, or from its own handing in where that was later, to its answer; the longest of them.
After a sudden fault that is two operations: the one under way (which the old leader may have answered just before it
died) and the next (which it cannot). A fault that takes its time, as a leave and a transfer do, is watched for WATCH_S.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import trio
from msgspec import Struct

from bench.figures import Distribution, distribution
from replica.errors import ReplicaError
from replica.wire.client import DEFAULT_BUDGET_MS

WATCH_S: Final = 0.5
LOOK_S: Final = 0.002
AFTER_FAILURE_S: Final = 0.01

Act = Callable[[int, int], Awaitable[bool]]
"""(caller, running number) → whether it was agreed. May raise ReplicaError: it was not."""


class Waited(NamedTuple):
    """One operation of a caller. Times of `trio.current_time()`."""

    caller: int
    handed_in: float
    answered: float
    agreed: bool


class Waits(Distribution, frozen=True):
    """Every caller's wait around every fault. `longest_submit_ms`: the longest wait for an answer in the whole run,
    with what came between the faults. `journalled`: how many of the waits were longer than DEFAULT_BUDGET_MS, so that a
    caller with that budget is told "journalled" instead. `operations`: in the whole run; `failed_writes`: of them,
    those that were refused, broke, or were not agreed. `calm`: the same waits around moments without a fault."""

    longest_submit_ms: float
    journalled: int
    operations: int
    failed_writes: int
    calm: Distribution | None


class Side(Struct, frozen=True, kw_only=True):
    """What one system did: `waits` None where no trial ended well; `failed`: trials in which a caller got no agreed
    answer in time or a write failed."""

    waits: Waits | None
    failed: int


class Waiters:
    """`callers` tasks that call `act`, each again once it is answered. Run `run` in a nursery."""

    def __init__(self, callers: int, act: Act) -> None:
        self.callers = callers
        self._act = act
        self._kept: list[Waited] = []
        self._under_way: dict[int, float] = {}
        self.longest_ms = 0.0
        self.operations = 0
        self.failed_writes = 0

    async def run(self) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            for caller in range(self.callers):
                nursery.start_soon(self._call, caller)

    async def around(self, moment: float, within_s: float, watch_s: float = 0.0) -> list[float] | None:
        """Each caller's wait in ms around `moment`, once it is known: the operations under way then, the next one, and
        all that are handed in until `watch_s` later. None where one was not agreed, or is not answered `within_s`."""
        with trio.move_on_at(moment + within_s):
            while True:
                found = waits(self._kept, moment, watch_s, self.callers)
                if trio.current_time() >= moment + watch_s and all(found) and not self._due(moment + watch_s):
                    return None if any(None in one for one in found) else [max(filter(None, one)) for one in found]
                await trio.sleep(LOOK_S)
        return None

    def forget(self) -> None:
        """What was answered before now is of no trial that follows."""
        self._kept.clear()

    def _due(self, until: float) -> bool:
        """Whether an operation that counts, handed in before `until`, is still under way."""
        return any(handed_in <= until for handed_in in self._under_way.values())

    async def _call(self, caller: int) -> None:
        number = 0
        while True:
            number += 1
            began = self._under_way[caller] = trio.current_time()
            try:
                agreed = await self._act(caller, number)
            except ReplicaError:
                agreed = False
            answered = trio.current_time()
            del self._under_way[caller]
            self._kept.append(Waited(caller, began, answered, agreed))
            self.operations += 1
            self.longest_ms = max(self.longest_ms, (answered - began) * 1000)
            if not agreed:
                self.failed_writes += 1
                await trio.sleep(AFTER_FAILURE_S)


def waits(kept: Sequence[Waited], moment: float, watch_s: float, callers: int) -> list[list[float | None]]:
    """Per caller, the waits that count around `moment`, None for one that was not agreed; an empty list for a caller
    whose first operation after `moment` is not answered yet."""
    found: list[list[float | None]] = [[] for _ in range(callers)]
    after = [False] * callers
    for one in kept:
        if one.answered <= moment or (after[one.caller] and one.handed_in > moment + watch_s):
            continue
        waited = (one.answered - max(moment, one.handed_in)) * 1000
        found[one.caller].append(waited if one.agreed else None)
        after[one.caller] = after[one.caller] or one.handed_in >= moment
    return [values if ended else [] for values, ended in zip(found, after, strict=True)]


def side(waited_ms: Sequence[float], calm_ms: Sequence[float], failed: int, waiters: Waiters) -> Side:
    """A run as it is reported."""
    if not waited_ms:
        return Side(waits=None, failed=failed)
    shape = distribution(waited_ms)
    return Side(
        waits=Waits(
            shape.p50,
            shape.p90,
            shape.p99,
            shape.max,
            shape.ms,
            round(waiters.longest_ms, 3),
            sum(value > DEFAULT_BUDGET_MS for value in waited_ms),
            waiters.operations,
            waiters.failed_writes,
            distribution(calm_ms) if calm_ms else None,
        ),
        failed=failed,
    )
