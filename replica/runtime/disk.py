"""The two disk threads of a node, as seen from the loop: a job goes out, its completion comes back into the loop.

A job that fails because the disk is full left no trace and may be tried again; any other failure ends the node,
loudly: what is on disk is then unknown, and an fsync is never retried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from replica.errors import StorageFull
from replica.runtime.outside import REAL, LoopWriter, Outside
from replica.storage import LogJob, StateJob, Store

Done = Callable[[Exception | None], None]


class Disk:
    """The writers of a store's log and state environments. Use it as an async context: leaving drains both."""

    def __init__(self, store: Store, log: Any, outside: Outside = REAL) -> None:
        self._log = log
        self._log_writer: LoopWriter[LogJob] = outside.writer("replica-log", store.commit_log)
        self._state_writer: LoopWriter[StateJob] = outside.writer("replica-state", store.commit_state)
        self.failure: Exception | None = None
        self.failed = trio.Event()
        self._shields: list[trio.CancelScope] = []

    def write_log(self, job: LogJob, done: Done) -> None:
        """Make a job of the log environment durable; `done` is called in the loop, in the order of the jobs."""
        self._log_writer.submit(job, self._back(done, self._log_writer))

    def write_state(self, job: StateJob, done: Done) -> None:
        self._state_writer.submit(job, self._back(done, self._state_writer))

    def busy(self) -> bool:
        """Whether either thread has something to do: the loop must then let it run."""
        return self._log_writer.busy or self._state_writer.busy

    async def watch(self) -> None:
        """Wait until a write has failed for good, and raise it."""
        await self.failed.wait()
        assert self.failure is not None, "a failure without its reason"
        raise self.failure

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """What waits for a job in here is not cancelled meanwhile, unless the disk fails: no answer comes then."""
        with trio.CancelScope(shield=not self.failed.is_set()) as scope:
            self._shields.append(scope)
            try:
                yield
            finally:
                self._shields.remove(scope)

    async def aclose(self) -> None:
        """Finish what is queued, and end the threads."""
        await self._log_writer.aclose()
        await self._state_writer.aclose()

    def _back(self, done: Done, writer: LoopWriter[Any]) -> Done:
        return lambda problem: self._finish(done, problem, writer)

    def _finish(self, done: Done, problem: Exception | None, writer: LoopWriter[Any]) -> None:
        if problem is not None and not isinstance(problem, StorageFull):
            self.failure = problem
            self.failed.set()
            for scope in self._shields:
                scope.shield = False
            return
        if problem is not None:
            self._log.error("storage-full", problem=str(problem))
            writer.resume()
        done(problem)
