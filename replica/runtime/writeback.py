"""Writing the applied state back, off the hot path."""

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


async def write_back(state: State, disk: Disk) -> None:
    """Freeze the dirty layer and wait until it is durable; where the disk is full, take it back and try another
    time."""
    frozen = state.freeze()

    def start(done: Done) -> None:
        def thaw_first(problem: Exception | None) -> None:
            # Before any other task runs: nobody may find a record in no layer, or an old one under a thawed one.
            if problem is None:
                state.thaw()
            else:
                state.refreeze()
            done(problem)

        disk.write_state(frozen.job(), thaw_first)

    await in_loop(start)
