"""The real world with disks that can be told to stop answering, or to be full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio

from replica.errors import StorageFull
from replica.runtime.outside import Done, Job, LoopWriter, RealOutside, ThreadWriter


class SickWriter(LoopWriter[Job]):
    """The writer of a disk that stops answering, or is full, when it is told to."""

    def __init__(self, inner: LoopWriter[Job]) -> None:
        self._inner = inner
        self.stalled = False
        self.full = False
        self._late: list[Callable[[], None]] = []

    @property
    def busy(self) -> bool:
        return self._inner.busy

    def submit(self, job: Job, done: Done) -> None:
        if self.full:
            trio.lowlevel.current_trio_token().run_sync_soon(done, StorageFull("no room, says the test"))
        elif self.stalled:
            self._late.append(lambda: self._inner.submit(job, done))
        else:
            self._inner.submit(job, done)

    def resume(self) -> None:
        self._inner.resume()

    def recover(self) -> None:
        self.stalled = self.full = False
        while self._late:
            self._late.pop(0)()

    async def aclose(self) -> None:
        self.recover()
        await self._inner.aclose()


class SickWorld(RealOutside):
    """The real world, but for the two writers of a node's disk."""

    log: SickWriter[Any]
    state: SickWriter[Any]

    def writer(self, name: str, commit: Callable[[Sequence[Job]], Sequence[Job]]) -> LoopWriter[Job]:
        sick: SickWriter[Job] = SickWriter(ThreadWriter(name, commit))
        setattr(self, name.removeprefix("replica-"), sick)
        return sick
