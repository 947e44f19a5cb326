"""Trio without a machine under it: the clock jumps, the bytes come from a heap of events, and one seed decides it all.

Three parts of trio's run are put in place of its own; the code that runs in it notices nothing:

* **The clock** stands still while anything can run, then jumps to the next deadline or event.
* **The events** (bytes that arrive, a disk job that is done) are a heap, taken where trio would poll its sockets.
* **The run queue** keeps the tasks of a process that is paused, as the kernel does after SIGSTOP: their time goes by,
  their deadlines pass, what was sent to them piles up, and they find all of it when they go on.

Trio's own scheduler is already deterministic when told so: it orders what can run by age and shuffles it with its dice,
which are seeded here. So a seed is a schedule too.

Leaves out: threads, signals and sockets. A task that waited for one would wait for ever, and the run says so.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol, TypeVar

import trio
from trio._core import _run
from trio._core._run import GLOBAL_RUN_CONTEXT

T = TypeVar("T")

Task = trio.lowlevel.Task


class Owner(Protocol):
    """Whoever can be paused: a simulated process."""

    frozen: bool
    held: list[Task]


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)
"""Whose task runs. Tasks inherit it; the world's own have none."""


class Loop:
    """The events to come. `at` and `after` may be called from tasks and from events alike."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self.scope = trio.CancelScope()

    @property
    def now_s(self) -> float:
        return self._clock.time_s

    @property
    def now_us(self) -> int:
        return round(self._clock.time_s * 1e6)

    def at(self, time_s: float, event: Callable[..., None], *arguments: Any) -> None:
        """Call `event` at `time_s`; of two events at one moment the one asked for first comes first."""
        self._count += 1
        heapq.heappush(self._heap, (time_s, self._count, event, arguments))

    def after(self, seconds: float, event: Callable[..., None], *arguments: Any) -> None:
        self.at(self._clock.time_s + seconds, event, *arguments)

    def jump(self, deadline_s: float) -> None:
        """Go to the next event, or to trio's next deadline where that comes first."""
        next_s = min(deadline_s, self._heap[0][0]) if self._heap else deadline_s
        if next_s == float("inf"):
            if self.scope.cancel_called:
                raise Stuck(f"nothing is to come after {self._clock.time_s} s, not even the end")
            self.scope.cancel()
            return
        self._clock.time_s = max(self._clock.time_s, next_s)

    def take_due(self) -> None:
        """Let everything happen that is due now."""
        heap, clock = self._heap, self._clock
        while heap and heap[0][0] <= clock.time_s:
            _, _, event, arguments = heapq.heappop(heap)
            event(*arguments)

    def freeze(self, owner: Owner) -> None:
        """None of its tasks runs from now on."""
        owner.frozen = True
        queue = GLOBAL_RUN_CONTEXT.runner.runq
        waiting = list(queue)
        queue.clear()
        for task in waiting:
            queue.append(task)  # which sorts out those that are held

    def thaw(self, owner: Owner) -> None:
        """What would have run meanwhile runs now."""
        owner.frozen = False
        held, owner.held = owner.held, []
        for task in held:
            GLOBAL_RUN_CONTEXT.runner.runq.append(task)


class Stuck(Exception):
    """No task can run, no deadline and no event is to come: the simulated world has lost its own thread."""


class _Clock(trio.abc.Clock):
    """A clock that stands still until it is told to jump."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.time_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return max(0.0, deadline - self.time_s)


class _Events:
    """Stands where trio has its epoll: to wait for events is to jump to the next one."""

    def __init__(self, real: Any, loop: Loop) -> None:
        self._real = real
        self._loop = loop

    def get_events(self, timeout: float) -> Any:
        runner = GLOBAL_RUN_CONTEXT.runner
        if runner.entry_queue.size():
            # Trio's own way of calling itself, when it closes a forgotten generator: through its one socket.
            return self._real.get_events(0)
        if timeout > 0:
            self._loop.jump(runner.deadlines.next_deadline())
        return []

    def process_events(self, events: Any) -> None:
        if events:
            self._real.process_events(events)
        self._loop.take_due()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _RunQueue(deque[Task]):
    """What can run, but for the tasks of a paused process."""

    def append(self, task: Task) -> None:
        owner = task.context.get(OWNER)
        if owner is not None and owner.frozen:
            owner.held.append(task)
        else:
            super().append(task)


def run(seed: int, main: Callable[[Loop], Awaitable[T]]) -> T:
    """Run `main` in virtual time, the same way every time for one seed. Raises what it raises."""
    clock = _Clock()
    loop = Loop(clock)
    before, dice = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # trio's own switch for reproducible tests
    _run._r.seed(seed)
    try:
        return trio.run(partial(_inside, loop, main), clock=clock)
    finally:
        # A run that broke in the middle, for want of a future, leaves itself behind; the next could not begin.
        GLOBAL_RUN_CONTEXT.__dict__.clear()
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]  # and back
        _run._r.setstate(dice)


async def _inside(loop: Loop, main: Callable[[Loop], Awaitable[T]]) -> T:
    runner = GLOBAL_RUN_CONTEXT.runner
    runner.runq = _RunQueue(runner.runq)
    runner.io_manager = _Events(runner.io_manager, loop)  # type: ignore[assignment]  # it stands in for it
    with loop.scope:
        return await main(loop)
    raise Stuck(f"nothing was to come after {loop.now_s} s")
