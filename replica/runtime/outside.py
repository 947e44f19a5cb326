"""All that a node asks of the world around it, in one place: its wall clock, its dice, its network, its disk, its log.

Everything else in this room goes by trio alone: tasks, deadlines, and `bell.now_ms`, which is trio's own clock. So the
same code runs on sockets, threads and LMDB, and in the simulated world (chaos/nodes) on memory links, a disk that is
stepped by hand and a clock that jumps. `REAL` is the one for production, and what everybody gets who names none.

Leaves out: the loop itself. Who wants to decide when a task runs decides it in trio, not here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import trio

from replica.config import host_and_port
from replica.runtime.bell import real_wall_ms
from replica.runtime.instrument import LetTheDiskRun
from replica.runtime.waking import Answers
from replica.storage import Identity, Store, Writer, open_store
from replica.telemetry import logger

JobT = TypeVar("JobT", contravariant=True)
Job = TypeVar("Job")
T = TypeVar("T")

Done: TypeAlias = Callable[[Exception | None], None]


class LoopWriter(Protocol[JobT]):
    """One environment's queue of jobs, as the loop sees it."""

    @property
    def busy(self) -> bool:
        """Whether a job waits for the disk."""

    def submit(self, job: JobT, done: Done) -> None:
        """Queue a job; `done` is called in the loop, never within this call, in the order of the jobs."""

    def resume(self) -> None:
        """After `StorageFull` was heard: jobs submitted from now on are tried again."""

    async def aclose(self) -> None:
        """Finish what is queued, and end."""


class ClientOutside(Protocol):
    """What it takes to dial: all that a mere client asks of the world. Given to `dial` and `open_client`."""

    def random_bytes(self, count: int) -> bytes:
        """Bytes that nobody can guess: names of lives, seeds."""

    async def connect(self, address: str) -> trio.abc.Stream:
        """A stream to whoever listens at `address` (host:port). Raises OSError, ConfigError for an address that is
        none."""


class Outside(ClientOutside, Protocol):
    """What a node asks of the world. Given to `run_zone` and `run_site`."""

    def wall_ms(self) -> int:
        """The wall clock in ms since 1970, UTC. It may be wrong."""

    async def listen(self, address: str) -> tuple[Sequence[trio.abc.Listener[Any]], str]:
        """Listeners at `address`, and the address that others can dial. Raises OSError, ConfigError."""

    def open_store(self, data: str, name: Identity, map_size_gib: int) -> Store:
        """The node's store; the caller closes it. Raises StoreError."""

    def writer(self, name: str, commit: Callable[[Sequence[Job]], Sequence[Job]]) -> LoopWriter[Job]:
        """What runs the jobs of one environment, one batch after the other. Called in the loop that gets the
        answers."""

    async def in_worker(self, work: Callable[[], T]) -> T:
        """Run what blocks (copies, hashes, files) beside the loop. Cancelled, it still waits for the end of it."""

    def beside(self, busy: Callable[[], bool]) -> AbstractContextManager[None]:
        """Held for as long as a node runs. `busy` says whether its disk has something to do."""

    def logger(self, node: str) -> Any:
        """Where the node writes what happens to it: `debug`, `info`, `warning`, `error` of (event, **fields)."""


class ThreadWriter(LoopWriter[Job]):
    """A writer thread whose answers come back into the loop."""

    def __init__(self, name: str, commit: Callable[[Sequence[Job]], Sequence[Job]]) -> None:
        self._answers = Answers()
        self._writer: Writer[Job] = Writer(name, commit)

    @property
    def busy(self) -> bool:
        return self._writer.busy

    def submit(self, job: Job, done: Done) -> None:
        # When a node is killed from inside the loop may be gone already; then nobody waits for the answer either.
        self._writer.submit(job, lambda problem: self._answers.call_soon(partial(done, problem)))

    def resume(self) -> None:
        self._writer.resume()

    async def aclose(self) -> None:
        await trio.to_thread.run_sync(self._writer.close)
        self._answers.close()


class RealOutside:
    """The operating system."""

    def wall_ms(self) -> int:
        return real_wall_ms()

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    async def connect(self, address: str) -> trio.abc.Stream:
        host, port = host_and_port(address, "address")
        return await trio.open_tcp_stream(host, port)

    async def listen(self, address: str) -> tuple[Sequence[trio.abc.Listener[Any]], str]:
        host, port = host_and_port(address, "listen")
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=512)
        # For port 0 the kernel has chosen one.
        bound_host, bound_port = listeners[0].socket.getsockname()[:2]
        return listeners, f"{bound_host}:{bound_port}"

    def open_store(self, data: str, name: Identity, map_size_gib: int) -> Store:
        return open_store(Path(data), name, create=True, map_size=map_size_gib << 30)

    def writer(self, name: str, commit: Callable[[Sequence[Job]], Sequence[Job]]) -> LoopWriter[Job]:
        return ThreadWriter(name, commit)

    async def in_worker(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work)

    @contextmanager
    def beside(self, busy: Callable[[], bool]) -> Iterator[None]:
        cure = LetTheDiskRun(busy)
        trio.lowlevel.add_instrument(cure)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(cure)

    def logger(self, node: str) -> Any:
        return logger(node=node)


REAL = RealOutside()
