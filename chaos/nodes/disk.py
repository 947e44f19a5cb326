"""A host's disk, through all the lives of its process: jobs take time, and what was under way at a crash may be lost.

The node's two writers are the shipped `JobQueue`, stepped by hand: a batch begins, takes its time, and is committed and
durable at the end of it. A kill in between leaves a coin to toss, for the batch as a whole, as LMDB's transactions are:

* it got to the disk, and nobody was told;
* it did not;
* its last page is torn: LMDB finds the transaction unfinished and goes by the one before.

Beside that a disk can be full (for some kinds of jobs), fail a sync, stall, be slow, have a bit flipped while the
machine is off, or be replaced by an empty one. `written` remembers every entry that was ever durable here, so that the
checks can say whether a majority had it, whatever became of the disk since.

Leaves out: a disk that forgets what it has synced. No replication survives that on a majority, and none claims to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from chaos.nodes.loop import Loop
from replica.errors import StorageFailed, StorageFull
from replica.runtime.outside import Done, LoopWriter
from replica.storage import JournalAppend, LogSave, StateFlush
from replica.storage.identity import Identity
from replica.storage.memory import MemoryStore
from replica.storage.snapshot_contract import Step, no_step
from replica.storage.writer import JobQueue

if TYPE_CHECKING:
    from chaos.nodes.process import Process

J = TypeVar("J")
APPEND, WRITE_BACK, JOURNAL = "append", "write-back", "journal"


class SimDisk:
    """What outlives the process: the store's contents and how the disk behaves."""

    def __init__(
        self, loop: Loop, rng: Random, latency_s: tuple[float, float], counts: Counter[str], chunk_bytes: int
    ) -> None:
        self.loop = loop
        self.rng = rng
        self.counts = counts
        self.latency_s = latency_s
        self.chunk_bytes = chunk_bytes
        """Of the snapshots taken here."""
        self.on_step: Callable[[Step], None] = no_step
        """Told of each step of a snapshot, before it is done."""
        self.slow_s = 0.0
        """Added to every batch."""
        self.stalled_until_s = 0.0
        self.full: set[str] = set()
        self.fail_next = False
        self.kill_in = 0
        """Kill the process when so many more batches have begun or ended; 0: not."""
        self.store: MemoryStore | None = None
        self.jobs = 0
        self.written: dict[int, int] = {}
        """Index → term of the entry last durable there, also over an emptied disk."""
        self.empties = 0
        self.on_took: Callable[[Sequence[Any]], None] = _no_word
        """Told of the jobs that became durable."""

    def open(self, name: Identity) -> MemoryStore:
        """The store as a process finds it."""
        if self.store is None:
            self.store = MemoryStore(name, chunk_bytes=self.chunk_bytes)
        self.store.before_commit = self._before_commit
        self.store.on_step = self.on_step
        return self.store

    def settle(self) -> None:
        """The process is gone: its handle is dead, and the disk is as the next one finds it."""
        if self.store is not None:
            self.store.before_commit = None
            self.store = self.store.reopen()

    def empty(self) -> None:
        """Replaced by a new one."""
        assert self.store is None or self.store.before_commit is None, "a disk was taken out of a running machine"
        self.store = None
        self.empties += 1

    def image(self) -> MemoryStore | None:
        """A copy of all that is on it now, as a backup takes one; None where nothing ever was."""
        if self.store is None:
            return None
        # What the process sees is what is durable: there are no commits in between on this disk.
        return MemoryStore(self.store.identity, chunk_bytes=self.chunk_bytes, contents=self.store._seen)

    def put_back(self, image: MemoryStore) -> None:
        """A backup takes the place of what is on it."""
        assert self.store is None or self.store.before_commit is None, "a disk was taken out of a running machine"
        self.store = image

    def sound(self) -> None:
        """Whatever ailed it is over."""
        self.slow_s = self.stalled_until_s = 0.0
        self.full.clear()
        self.fail_next, self.kill_in = False, 0

    def took(self, jobs: Sequence[Any]) -> None:
        """Jobs became durable."""
        self.jobs += len(jobs)
        for job in jobs:
            if isinstance(job, LogSave):
                for entry in job.entries:
                    self.written[entry.index] = entry.term
        self.on_took(jobs)

    def batch_s(self) -> float:
        """How long the next batch takes."""
        least, most = self.latency_s
        wait_s = max(0.0, self.stalled_until_s - self.loop.now_s)
        return wait_s + self.slow_s + least + (most - least) * self.rng.random()

    def _before_commit(self, jobs: Sequence[Any]) -> None:
        if self.fail_next:
            self.fail_next = False
            self.counts["disk: sync error"] += 1
            raise StorageFailed("the simulated disk: Input/output error")
        for job in jobs:
            kind = kind_of(job)
            if kind in self.full:
                self.counts[f"disk: full at {kind}"] += 1
                raise StorageFull(f"the simulated disk: no space left ({kind})")


def _no_word(jobs: Sequence[Any]) -> None:
    """Nobody listens."""


def kind_of(job: object) -> str:
    match job:
        case LogSave():
            return APPEND
        case StateFlush():
            return WRITE_BACK
        case JournalAppend():
            return JOURNAL
    return ""


class _Resume:
    """A mark among the jobs, as in storage/writer.py."""


class SimWriter(LoopWriter[J]):
    """One environment's jobs, for one life of the process."""

    def __init__(
        self, name: str, commit: Callable[[Sequence[J]], Sequence[J]], disk: SimDisk, process: Process
    ) -> None:
        self._disk = disk
        self._process = process
        self._queue: JobQueue[J] = JobQueue(name, self._commit)
        self._commit_in_store = commit
        self._waiting: list[tuple[J, Done] | _Resume] = []
        self._under_way: list[J] = []
        self._answers: list[tuple[Done, Exception | None]] = []
        self._running = False
        self._idle = trio.Event()
        self._open: list[Done] = []
        """Whom nobody has answered yet."""
        self._buried = False

    @property
    def busy(self) -> bool:
        return self._running

    def submit(self, job: J, done: Done) -> None:
        if self._buried:
            done(StorageFailed("the process is dead"))
            return
        self._open.append(done)
        if self._process.dead:
            return
        self._waiting.append((job, done))
        self._begin()

    def resume(self) -> None:
        self._waiting.append(_Resume())

    async def aclose(self) -> None:
        while self._running and not self._process.dead:
            await self._idle.wait()
        await trio.lowlevel.checkpoint()

    def die(self) -> None:
        """The process is killed now: a batch under way is on the disk, or it is not."""
        self._idle.set()
        if not self._under_way:
            return
        chance = self._disk.rng.random()
        if chance < 0.4:
            try:
                self._commit(self._under_way)
            except (StorageFull, StorageFailed):
                return
            self._disk.counts["kill: saved, and nobody was told"] += 1
        elif chance < 0.7:
            self._disk.counts["kill: unsynced saves lost"] += 1
        else:
            self._disk.counts["kill: torn write, its transaction undone"] += 1

    def bury(self) -> None:
        """The tasks of a dead process are unwound: who waits for its disk, shielded, could not end otherwise."""
        self._buried = True
        waiting, self._open = self._open, []
        for done in waiting:
            done(StorageFailed("the process is dead"))

    def _commit(self, jobs: Sequence[J]) -> Sequence[J]:
        unfinished = self._commit_in_store(jobs)
        self._disk.took(jobs)
        return unfinished

    def _begin(self) -> None:
        """Take what waits as one batch; its time runs."""
        if self._running or not self._waiting:
            return
        self._running = True
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            if isinstance(item, _Resume):
                self._queue.resume()
            else:
                job, done = item
                self._under_way.append(job)
                self._queue.submit(job, lambda problem, done=done: self._answers.append((done, problem)))  # type: ignore[misc]  # a default binds it
        self._disk.loop.after(self._disk.batch_s(), self._process.call, self._end)
        self._kill_point()

    def _end(self) -> None:
        """The batch is done: durable, and its jobs answered. Not called for a dead process."""
        if self._disk.stalled_until_s > self._disk.loop.now_s:
            self._disk.loop.at(self._disk.stalled_until_s, self._process.call, self._end)
            return
        self._queue.step()
        self._under_way = []
        if self._kill_point():
            return
        answers, self._answers = self._answers, []
        for done, problem in answers:
            self._open.remove(done)
            done(problem)
        self._running = False
        self._begin()
        if not self._running:
            self._idle.set()
            self._idle = trio.Event()

    def _kill_point(self) -> bool:
        """Between two jobs of the disk, if that is where the process is to die."""
        if self._disk.kill_in:
            self._disk.kill_in -= 1
            if self._disk.kill_in == 0:
                self._disk.counts["kill between two disk jobs"] += 1
                self._process.host.kill("between two disk jobs")
                return True
        return False
