"""Waking one waiting task: from the loop, or from a thread through the trio token."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

import trio


class Bell:
    """Rung any number of times, it wakes its one listener once. A ring while nobody waits is kept."""

    __slots__ = ("_alarm_s", "_listener", "_rung")

    def __init__(self) -> None:
        self._listener: trio.lowlevel.Task | None = None
        self._rung = False
        self._alarm_s = float("inf")

    def ring(self) -> None:
        self._rung = True
        if self._listener is not None:
            listener, self._listener = self._listener, None
            trio.lowlevel.reschedule(listener)

    async def wait(self) -> None:
        """Return at the next ring, or at once if it rang since the last wait."""
        if self._rung:
            await trio.lowlevel.checkpoint()
        else:
            assert self._listener is None, "a bell has one listener"
            self._listener = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._leave)
        self._rung = False

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        """The listener was cancelled."""
        self._listener = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def wait_until(self, deadline_ms: int) -> None:
        """As `wait`, but not past `deadline_ms` of `now_ms`."""
        with trio.move_on_at(_at_s(deadline_ms)):
            await self.wait()

    async def turn_for_ever(self, deadline_ms: Callable[[], int], turn: Callable[[], None]) -> None:
        """Call `turn` after each ring, and at each deadline as it stands then.

        A deadline that moves on costs nothing: the alarm stays where it is, and goes off once for nothing. One that
        comes nearer moves the alarm."""
        while True:
            self._alarm_s = float("inf")
            with trio.CancelScope() as alarm:
                while True:
                    at_s = _at_s(deadline_ms())
                    if at_s < self._alarm_s:
                        self._alarm_s = alarm.deadline = at_s
                    await self.wait()
                    turn()
            if now_ms() >= deadline_ms():
                turn()

    def ring_before(self, deadline_ms: int) -> None:
        """The deadline of `turn_for_ever` may have changed: ring only where it would be slept through."""
        if _at_s(deadline_ms) < self._alarm_s:
            self.ring()


def _at_s(deadline_ms: int) -> float:
    # Half a millisecond more: waking a hair early would only mean turning round once for nothing.
    return deadline_ms / 1000 + 0.0005


def now_ms() -> int:
    """The loop's clock in ms: it only goes forward, and tests can turn it."""
    return int(trio.current_time() * 1000)


def wall_ms() -> int:
    """The wall clock in ms since 1970, UTC. It may be wrong; nothing but hybrid clocks and log lines goes by it."""
    return WALL_CLOCK.get()()


def real_wall_ms() -> int:
    """The operating system's."""
    return time.time_ns() // 1_000_000


WALL_CLOCK: ContextVar[Callable[[], int]] = ContextVar("wall clock", default=real_wall_ms)
"""The wall clock of the node whose task runs, as `trio.current_time` is that of the run: tasks inherit it."""
