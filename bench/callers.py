"""Callers that each wait for their answer before they ask again, and what came of it in a window of time.

What is counted is what was answered within the window, after a warm-up that is in no figure. An answer other than the
one that is measured (a receipt that only says journalled, a refusal, an error) is counted as failed, whenever it came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from time import perf_counter
from typing import Final

import trio
from msgspec import Struct

from bench.figures import percentile
from bench.processes import cpu_s
from bench.report import Spread, spread
from replica.api import Agreed, Journalled
from replica.cases.verdicts import VerdictKind
from replica.errors import ReplicaError
from replica.wire.client import Receipt

WARM_UP_S: Final = 1.0
AFTER_FAILURE_S: Final = 0.01
LAST_ANSWERS_S: Final = 6.0
"""How long the answers that are still due at the end of a window are waited for. They are in no figure."""
AGREED: Final = "agreed"

Act = Callable[[int], Awaitable[str]]
"""One operation, by its running number: AGREED, or the word for what came instead. May raise ReplicaError."""


class Window(Struct, frozen=True, kw_only=True):
    """What a number of callers got in so many seconds. `p50` and `p99` of their waits in ms, 0 where nobody got an
    answer. `cpu_s`: by the name of the process, what it used meanwhile. `failed`: what came instead, and how often."""

    seconds: float
    operations: int
    p50: float
    p99: float
    cpu_s: dict[str, float]
    failed: dict[str, int]

    @property
    def per_s(self) -> float:
        return self.operations / self.seconds


class Figure(Struct, frozen=True, kw_only=True):
    """The medians of the runs; `spread` and `p99_spread` have each run's. `cpu_s_per_1000`: of all processes that make
    up the system, for a thousand operations; `cpu_by_process` tells them apart. `client_cpu_s_per_1000`: what the
    callers' own process used besides; None where the callers live in a process of the system."""

    per_s: float
    p50: float
    p99: float
    cpu_s_per_1000: float
    cpu_by_process: dict[str, float]
    client_cpu_s_per_1000: float | None
    operations: int
    failed: int
    spread: Spread
    p99_spread: Spread


CLIENT: Final = "client"
"""The name in `Window.cpu_s` of a process that is no part of the system."""


def window(seconds: float, ms: Sequence[float], cpu_used_s: dict[str, float], failed: dict[str, int]) -> Window:
    """A window out of each answer's wait."""
    ordered = sorted(ms)
    p50, p99 = (percentile(ordered, percent) if ordered else 0.0 for percent in (50, 99))
    return Window(seconds=seconds, operations=len(ms), p50=p50, p99=p99, cpu_s=cpu_used_s, failed=failed)


def figure(windows: Sequence[Window]) -> Figure | None:
    """One figure out of repeated windows; None where there is none, or one of them has no answer at all."""
    if not windows or not all(one.operations for one in windows):
        return None
    names = sorted({name for one in windows for name in one.cpu_s})
    by_process = {
        name: spread([one.cpu_s.get(name, 0.0) / one.operations * 1000 for one in windows]).median for name in names
    }
    client = by_process.pop(CLIENT, None)
    per_s, p99 = spread([one.per_s for one in windows]), spread([one.p99 for one in windows])
    return Figure(
        per_s=per_s.median,
        p50=spread([one.p50 for one in windows]).median,
        p99=p99.median,
        cpu_s_per_1000=round(sum(by_process.values()), 4),
        cpu_by_process=by_process,
        client_cpu_s_per_1000=client,
        operations=sum(one.operations for one in windows),
        failed=failures(windows),
        spread=per_s,
        p99_spread=p99,
    )


def failures(windows: Sequence[Window]) -> int:
    """How often something else came than what was asked for."""
    return sum(sum(one.failed.values()) for one in windows)


def ratio(ours: Sequence[Window], theirs: Sequence[Window]) -> float | None:
    """How many times as much a second, the median over runs of which each measured both; None where one got nothing."""
    if not ours or len(ours) != len(theirs) or not all(one.operations for one in (*ours, *theirs)):
        return None
    return round(spread([one.per_s / other.per_s for one, other in zip(ours, theirs, strict=True)]).median, 3)


async def drive(
    callers: int,
    act: Act,
    seconds: float,
    pids: Mapping[str, int],
    *,
    first: int = 0,
    warm_up_s: float = WARM_UP_S,
) -> Window:
    """So many callers at once for so long: what they got, and what the processes (name → pid) used meanwhile."""
    tally = _Tally(count(first))
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(_call, act, tally)
        await trio.sleep(warm_up_s)
        before = {name: cpu_s([pid]) for name, pid in pids.items()}
        began = perf_counter()
        tally.open = True
        await trio.sleep(seconds)
        tally.open = False
        took = perf_counter() - began
        used = {name: round(cpu_s([pid]) - before[name], 4) for name, pid in pids.items()}
        tally.ended = True
        nursery.cancel_scope.deadline = trio.current_time() + LAST_ANSWERS_S
    return window(took, tally.ms, used, dict(tally.failed))


class _Tally:
    def __init__(self, numbers: count[int]) -> None:
        self.numbers = numbers
        self.ms: list[float] = []
        self.failed: Counter[str] = Counter()
        self.open = False
        self.ended = False


async def _call(act: Act, tally: _Tally) -> None:
    while not tally.ended:
        began = perf_counter()
        try:
            word = await act(next(tally.numbers))
        except ReplicaError as problem:
            word = type(problem).__name__
        if word == AGREED:
            if tally.open:
                tally.ms.append((perf_counter() - began) * 1000)
        else:
            tally.failed[word] += 1
            await trio.sleep(AFTER_FAILURE_S)


def word_of(receipt: Agreed | Journalled | Receipt) -> str:
    """AGREED for a receipt of the quorum with a verdict that took the operation; else what it says instead."""
    if isinstance(receipt, Journalled):
        return "journalled"
    if isinstance(receipt, Receipt) and (receipt.state != AGREED or receipt.verdict is None):
        return receipt.state
    verdict = receipt.verdict
    assert verdict is not None, "an agreed receipt has its verdict"
    return "refused" if verdict.kind is VerdictKind.REFUSED else AGREED
