"""Writing the applied state back, off the hot path.

What is applied and not written back lies in memory, so it is counted here: `unwritten_bytes`. A disk that is full
refuses a write-back, and then nothing of it was written; it goes back into the dirty layer and is tried again with the
next one, so `refused` is over by itself once there is room.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from replica.runtime.disk import Disk, Done
from replica.runtime.state import State


async def in_loop(start: Callable[[Done], None]) -> Exception | None:
    """Start a job and wait for its completion. Returns the problem, None where there was none."""
    finished = trio.Event()
    problems: list[Exception | None] = []

    def done(problem: Exception | None) -> None:
        problems.append(problem)
        finished.set()

    start(done)
    await finished.wait()
    return problems[0]


class WriteBack:
    """Writes one node's state back, one write-back at a time."""

    def __init__(self, state: State, disk: Disk) -> None:
        self._state = state
        self._disk = disk
        self._ended = trio.Event()
        self._ended.set()
        self._frozen_bytes = 0
        self._was_refused = False

    @property
    def unwritten_bytes(self) -> int:
        """Of the records applied and not durable in the state: those being written, and those since. A record that
        changed twice counts twice, so there may be less in memory than this, never more."""
        return self._state.dirty_bytes + self._frozen_bytes

    @property
    def refused(self) -> bool:
        """Whether the disk was full when it was last tried, and there is still something to write."""
        return self._was_refused and (self.busy or self._state.can_freeze)

    @property
    def busy(self) -> bool:
        """Whether a write-back is under way."""
        return not self._ended.is_set()

    async def run(self) -> None:
        """Freeze the dirty layer and wait until it is durable; where the disk is full, take it back for another time.

        Cancelled while it waits, the write-back goes on; `finish` waits for it.
        """
        if not self._ended.is_set() or not self._state.can_freeze:
            return
        self._ended = ended = trio.Event()
        self._frozen_bytes = self._state.dirty_bytes
        frozen = self._state.freeze()

        def done(problem: Exception | None) -> None:
            # Before any other task runs: nobody may find a record in no layer, or an old one under a thawed one.
            if problem is None:
                self._state.thaw()
            else:
                self._state.refreeze()
                self._state.dirty_bytes += self._frozen_bytes
            self._frozen_bytes, self._was_refused = 0, problem is not None
            ended.set()

        self._disk.write_state(frozen.job(), done)
        await ended.wait()

    async def finish(self) -> None:
        """Wait for the write-back under way."""
        await self._ended.wait()
