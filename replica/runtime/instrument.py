"""The cure for a starving disk thread.

A loop that always has a task to run polls its sockets without waiting: that frees the interpreter's lock for a
microsecond and wakes the disk thread, which finds the lock taken again. Measured without a cure: a commit of 0.3 ms
took 240 ms, at worst seconds, and the log takes that for a dead disk. So while a disk job is pending, a loop that has
not waited for anything for a while sleeps for a moment between two turns, seldom enough that it hardly shows. One that
waits for its sockets by itself is left alone: the disk thread has the lock meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

NAP_S = 50e-6
NAP_AFTER_S = 500e-6
"""For so long a loop may go on without a wait, while the disk has something to do."""


class LetTheDiskRun(trio.abc.Instrument):
    """Installed for as long as a node runs. `busy` says whether a disk job is pending."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._rested = 0.0
        """When the loop last waited, or slept."""

    def before_io_wait(self, timeout: float) -> None:
        """Called by trio before it polls; a timeout of 0 means that some task is ready to run."""
        if timeout > 0:
            self._rested = 0.0
            return
        if not self._busy():
            return
        now = time.perf_counter()
        if not self._rested:
            self._rested = now
        elif now - self._rested >= NAP_AFTER_S:
            time.sleep(NAP_S)
            self._rested = time.perf_counter()
