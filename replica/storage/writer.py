"""One thread per environment, to which the loop hands jobs and from which it is called back when they are durable.

The thread takes everything that waits, commits it as one transaction, and calls each job's `done`. While the disk
works, the next jobs gather: the slower the disk, the more one fsync carries.

What an error does to the jobs behind it is the delicate part, since a job may rest on the one before it (entries 8-9
join only a log that has 7):

* full: nothing was written. This batch and everything submitted before `resume()` ends in `StorageFull`; after
  `resume()` the submitter, who has heard of it by then, starts again from what it knows to be durable.
* anything else: a failed fsync, a damaged record, a bug. This batch gets the error as it is, every later job
  `StorageFailed`. There is no way back but a new process.

`JobQueue` is these rules without a thread; the simulated world steps it by hand. Left out: waiting for the callback.
The runtime hands in one that wakes its loop; the callback is called in the writer's thread and must not block or raise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeAlias, TypeVar

from replica.errors import Closed, ReplicaError, StorageFailed, StorageFull, StoreError

J = TypeVar("J")
JobT = TypeVar("JobT", contravariant=True)

Done: TypeAlias = Callable[[ReplicaError | None], None]
"""Called once per job: None where it is durable, else why it is surely not acknowledged."""

Commit: TypeAlias = Callable[[Sequence[J]], Sequence[J]]
"""`Store.commit_log` or `Store.commit_state`: durable on return; what it returns has more to do."""


class JobWriter(Protocol[JobT]):
    """What the runtime needs of a writer, with a thread behind it or not."""

    @property
    def pending(self) -> int:
        """Jobs submitted whose `done` has not returned yet."""

    def submit(self, job: JobT, done: Done) -> None:
        """Queue a job. Raises `Closed` after `close`."""

    def resume(self) -> None:
        """After `StorageFull` was heard: jobs submitted from now on are tried again."""


class _Resume:
    """A mark in the queue: what comes behind it was submitted in knowledge of the full disk."""


_Item: TypeAlias = tuple[J, Done] | _Resume


class JobQueue(Generic[J]):
    """The rules of this module, without a thread: `submit` from anywhere, `step` from one place only."""

    def __init__(self, name: str, commit: Commit[J]) -> None:
        self.name = name
        self._commit = commit
        self._items: SimpleQueue[_Item[J] | None] = SimpleQueue()
        self._count_lock = threading.Lock()
        self._pending = 0
        self._closed = False
        self._full: StorageFull | None = None
        self._failed: StorageFailed | None = None
        self._begun_at: float | None = None
        self.commits = 0

    @property
    def pending(self) -> int:
        return self._pending

    @property
    def busy(self) -> bool:
        """Whether a job waits for the disk: a plain read, cheap enough for every tick of a loop."""
        return self._pending > 0

    @property
    def failure(self) -> StorageFailed | None:
        """Why this writer does nothing any more."""
        return self._failed

    def stalled_for_s(self) -> float:
        """How long the commit in progress has been going on; 0 where there is none. A disk that hangs shows here."""
        begun = self._begun_at
        return 0.0 if begun is None else time.monotonic() - begun

    def submit(self, job: J, done: Done) -> None:
        """Queue `job`; `done` is called by whoever steps, in the order of submission except for unfinished jobs."""
        with self._count_lock:
            if self._closed:
                raise Closed(f"{self.name} writer: is closed, the job was not taken")
            self._pending += 1
            self._items.put((job, done))

    def resume(self) -> None:
        """Jobs submitted from now on are tried again. Harmless where the disk is not full."""
        self._items.put(_Resume())

    def step(self) -> int:
        """Commit and answer everything that waits, without waiting for more. How many jobs were answered."""
        answered = 0
        items = self._waiting()
        while items:
            answered += self._run(items)
            items = self._waiting()
        return answered

    def _waiting(self) -> list[_Item[J]]:
        """Everything queued at this moment."""
        items: list[_Item[J]] = []
        while True:
            try:
                item = self._items.get_nowait()
            except Empty:
                return items
            if item is not None:
                items.append(item)

    def _run(self, items: Sequence[_Item[J]]) -> int:
        """Commit the jobs between two marks together. How many were answered."""
        answered = 0
        batch: list[tuple[J, Done]] = []
        for item in items:
            if isinstance(item, _Resume):
                answered += self._run_batch(batch)
                batch = []
                self._full = None
            else:
                batch.append(item)
        return answered + self._run_batch(batch)

    def _run_batch(self, batch: Sequence[tuple[J, Done]]) -> int:
        if not batch:
            return 0
        error, unfinished = self._try(batch)
        answered = 0
        for job, done in batch:
            if error is None and any(job is other for other in unfinished):
                self._items.put((job, done))  # behind what came meanwhile: it has no hurry
            else:
                answered += 1
                self._answer(done, error)
        return answered

    def _try(self, batch: Sequence[tuple[J, Done]]) -> tuple[ReplicaError | None, Sequence[J]]:
        if self._failed is not None or self._full is not None:
            return self._failed or self._full, ()
        self._begun_at = time.monotonic()
        try:
            unfinished = self._commit([job for job, _ in batch])
        except StorageFull as full:
            self._full = full
            return full, ()
        except Exception as problem:
            return self._fail(problem), ()
        finally:
            self._begun_at = None
        self.commits += 1
        return None, unfinished

    def _fail(self, problem: Exception) -> StoreError:
        """Stop for good. The store's own errors go out as they are, a bug as `StorageFailed` with its cause."""
        self._failed = StorageFailed(f"{self.name} writer: stopped after: {problem!r}")
        self._failed.__cause__ = problem
        return problem if isinstance(problem, StoreError) else self._failed

    def _answer(self, done: Done, error: ReplicaError | None) -> None:
        try:
            done(error)
        except Exception as problem:
            self._fail(problem)
        finally:
            with self._count_lock:
                self._pending -= 1


class Writer(JobQueue[J]):
    """A `JobQueue` with its own thread, which begins, works and commits every transaction of one environment."""

    def __init__(self, name: str, commit: Commit[J]) -> None:
        super().__init__(name, commit)
        self._thread = threading.Thread(target=self._serve, name=f"{name} writer", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float | None = None) -> bool:
        """Take no more jobs, finish what was submitted, end the thread. Call it before closing the store.

        Whether it ended within `timeout_s`; False means that the disk hangs, and the jobs are without an answer.
        """
        with self._count_lock:
            if not self._closed:
                self._closed = True
                self._items.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while not (self._closed and self._pending == 0):
            first = self._items.get()
            self._run(([] if first is None else [first]) + self._waiting())
