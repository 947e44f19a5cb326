"""Waking one waiting task: from the loop, or from a thread through the trio token."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

import trio


class Bell:
    """Rung any number of times, it wakes its one listener once. A ring while nobody waits is kept."""

    __slots__ = ("_lot", "_rung")

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()
        self._rung = False

    def ring(self) -> None:
        self._rung = True
        self._lot.unpark()

    async def wait(self) -> None:
        """Return at the next ring, or at once if it rang since the last wait."""
        if self._rung:
            await trio.lowlevel.checkpoint()
        else:
            await self._lot.park()
        self._rung = False

    async def wait_until(self, deadline_ms: int) -> None:
        """As `wait`, but not past `deadline_ms` of `now_ms`."""
        # Half a millisecond more: waking a hair early would only mean turning round once for nothing.
        with trio.move_on_at(deadline_ms / 1000 + 0.0005):
            await self.wait()


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
