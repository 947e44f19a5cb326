"""A host and the lives of the process on it: the shipped `run_zone` or `run_site`, started, paused, killed, restarted.

A kill is unlike every other end: the disk, the links and the log of this life go dead, and its tasks never run again.
They are buried, cancelled and unwound, only when the seed is over, and whatever the shipped code then does to tidy up
goes nowhere. A life that ends by itself is another matter: why it did must be a fault that this world knows it has
made (`expected`), else the seed has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio

from chaos.nodes.disk import SimDisk, SimWriter
from chaos.nodes.loop import OWNER, Task
from chaos.nodes.network import FIN, RESET, Listener
from replica.config import SiteConfig, ZoneConfig, host_and_port
from replica.errors import StorageFailed, StorageFull, StoreDamaged
from replica.runtime.node import Running, run_site, run_zone
from replica.storage import Identity, Store

if TYPE_CHECKING:
    from chaos.nodes.world import World

T = TypeVar("T")

NOON_MS = 1_767_610_800_000
"""The wall clock of an accurate host when its world begins."""


class InjectedDeath(Exception):
    """What a background task is made to raise."""


class Watcher(Protocol):
    """Who is told what happens in a process. Called in its loop, never for a dead one."""

    def started(self, process: Process) -> None: ...
    def logged(self, process: Process, event: str, fields: dict[str, Any]) -> None: ...


class Process:
    """One life."""

    def __init__(self, host: Host, life: int) -> None:
        self.host = host
        self.life = life
        self.dead = False
        self.frozen = False
        self.held: list[Task] = []
        self._calls: list[Callable[[], None]] = []
        self.scope = trio.CancelScope()
        self.context: Context | None = None
        self.running: Running | None = None
        self.writers: list[SimWriter[Any]] = []
        self.doors: list[Listener] = []
        self.ended = trio.Event()

    def call(self, event: Callable[[], None]) -> None:
        """What the kernel brings: into the loop, when the loop runs; nowhere, when there is none any more."""
        if self.frozen:
            self._calls.append(event)
        elif not self.dead:
            try:
                assert self.context is not None, "an event before the process runs"
                self.context.run(event)
            except Exception as problem:
                self.host.world.fail(problem)

    def thawed(self) -> None:
        calls, self._calls = self._calls, []
        for event in calls:
            self.call(event)

    def tasks(self) -> Iterator[Task]:
        """Its background tasks, oldest first: those that must not end."""
        runner = trio.lowlevel.current_root_task()
        assert runner is not None
        waiting = [runner]
        found: list[Task] = []
        while waiting:
            task = waiting.pop()
            for nursery in task.child_nurseries:
                waiting += nursery.child_tasks
            if task.context.get(OWNER) is self and task.name.endswith("node.for_ever"):
                found.append(task)
        yield from sorted(found, key=lambda task: task._counter)


class SimOutside:
    """`Outside` for one life: this host's clock, the seed's dice, memory links and the simulated disk."""

    def __init__(self, process: Process, rng: Random) -> None:
        self._process = process
        self._host = process.host
        self._rng = rng

    def wall_ms(self) -> int:
        return self._host.wall_ms()

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    async def connect(self, address: str) -> trio.abc.Stream:
        host_and_port(address, "address")
        if self._process.dead:
            await trio.sleep_forever()
        return await self._host.world.network.connect(self._host.name, address)

    async def listen(self, address: str) -> tuple[Sequence[trio.abc.Listener[Any]], str]:
        host_and_port(address, "listen")
        await trio.lowlevel.checkpoint()
        door = self._host.world.network.open_door(address)
        self._process.doors.append(door)
        return [door], address

    def open_store(self, data: str, name: Identity, map_size_gib: int) -> Store:
        return self._host.disk.open(name)

    def writer(self, name: str, commit: Callable[[Sequence[Any]], Sequence[Any]]) -> SimWriter[Any]:
        if self._process.context is None:
            self._process.context = copy_context()
        writer = SimWriter(name, commit, self._host.disk, self._process)
        self._process.writers.append(writer)
        return writer

    async def in_worker(self, work: Callable[[], T]) -> T:
        with trio.CancelScope(shield=True):
            await trio.sleep(self._host.disk.batch_s())
        if self._process.dead:
            await trio.sleep_forever()
        return work()

    def beside(self, busy: Callable[[], bool]) -> AbstractContextManager[None]:
        return nullcontext()

    def logger(self, node: str) -> Log:
        return Log(self._process)


class Log:
    """A life's log: lines of the trace, and what the checks go by."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def debug(self, event: str, **fields: Any) -> None:
        pass

    def info(self, event: str, **fields: Any) -> None:
        if not self._process.dead:
            world = self._process.host.world
            world.trace.add(self._process.host.name, event, *(f"{key}={value}" for key, value in fields.items()))
            world.watcher.logged(self._process, event, fields)

    warning = error = info


class Host:
    """A machine with one node on it."""

    def __init__(self, world: World, config: ZoneConfig | SiteConfig, disk: SimDisk, rng: Random) -> None:
        self.world = world
        self.config = config
        section = config.zone if isinstance(config, ZoneConfig) else config.site
        self.name = section.name
        self.address = section.listen
        self.is_zone = isinstance(config, ZoneConfig)
        self.disk = disk
        self._rng = rng
        self.lives = 0
        self.died_s = 0.0
        """When its last life ended."""
        self.thawed_s = 0.0
        """When it went on last, after a pause."""
        self.process: Process | None = None
        self._corpses: list[Process] = []
        self.clock_offset_ms = 0
        self.expected: set[str] = set()
        """Why its process may end by itself now: "sync error", "task death", "damage", "full at start"."""
        self.out_of_order = False
        """Its store is damaged: it does not start before somebody has emptied it."""
        self.weak = False
        """A zone whose disk was lost or damaged, and that is not known to be rebuilt."""
        self.flipped = False
        """A bit of its disk was flipped, and the disk was not emptied since."""
        self.joins = False
        """A zone that was never a member when it was first started."""
        self.retired = False
        """Taken away for good: a zone whose removal is agreed, or one that was never let in."""

    @property
    def running(self) -> Running | None:
        """The node, where it is up and not paused."""
        process = self.process
        return None if process is None or process.frozen else process.running

    @property
    def number(self) -> int:
        """Of a zone."""
        assert isinstance(self.config, ZoneConfig), f"{self.name} is no zone"
        return self.config.zone.number

    @property
    def site(self) -> str:
        """The Samu that a site serves. Two machines may hold it at once: one of them a clone."""
        assert isinstance(self.config, SiteConfig), f"{self.name} is no site"
        return self.config.site.name

    @property
    def up(self) -> bool:
        return self.process is not None

    def notice_strength(self) -> None:
        """Look whether a weak zone is rebuilt by now."""
        running = self.running
        if self.weak and not self.flipped and running is not None and self.disk.store is not None:
            self.weak = self.disk.store.log.hard_state().rebuilding

    def wall_ms(self) -> int:
        """Set far back it begins in 1970, and goes on from there."""
        elapsed_ms = int(self.world.loop.now_s * 1000)
        return elapsed_ms + max(0, NOON_MS + self.clock_offset_ms)

    def start(self) -> None:
        """Start a new life, unless one is up."""
        if self.process is not None or self.out_of_order or self.retired:
            return
        self.lives += 1
        self.world.network.power_on(self.name)
        self.process = Process(self, self.lives)
        self.world.trace.add(self.name, "starts", self.lives)
        self.world.nursery.start_soon(self._live, self.process)

    async def stop(self) -> None:
        """SIGTERM: it hands over and says goodbye, if it comes to that."""
        process = self.process
        if process is not None and not process.frozen:
            self.world.trace.add(self.name, "is asked to stop")
            process.scope.cancel()
            await process.ended.wait()

    def kill(self, why: str, *, power: bool = False) -> None:
        """SIGKILL, or with `power` the plug pulled: the machine says goodbye to nobody."""
        process = self.process
        if process is None or self.world.over:
            return
        self.world.trace.add(self.name, "killed", why)
        process.dead = True
        self._leave(process, RESET if self._rng.random() < 0.5 else FIN, power=power)
        for writer in process.writers:
            writer.die()
        self.disk.settle()
        self.world.loop.freeze(process)
        self._corpses.append(process)
        process.ended.set()

    def bury(self) -> None:
        """Unwind the tasks of lives that were killed; none of it has any effect."""
        for process in self._corpses:
            process.scope.cancel()
            self.world.loop.thaw(process)
            for writer in process.writers:
                writer.bury()

    def pause(self) -> None:
        """SIGSTOP."""
        if self.process is not None and not self.process.frozen and not self.world.over:
            self.world.trace.add(self.name, "paused")
            self.world.loop.freeze(self.process)

    def go_on(self) -> None:
        """SIGCONT."""
        if self.process is not None and self.process.frozen:
            self.world.trace.add(self.name, "goes on")
            self.thawed_s = self.world.loop.now_s
            self.world.loop.thaw(self.process)
            self.process.thawed()

    def _leave(self, process: Process, how: str, *, power: bool = False) -> None:
        self.process, self.died_s = None, self.world.loop.now_s
        network = self.world.network
        for door in process.doors:
            network.shut(self.address, door)
        if power:
            network.power_off(self.name)
        network.close_all(network.ends_of(self.name), how)

    async def _live(self, process: Process) -> None:
        OWNER.set(process)
        outside = SimOutside(process, Random(self._rng.getrandbits(64)))
        try:
            with process.scope:
                async with self._node(outside) as running:
                    process.running = running
                    self.world.watcher.started(process)
                    await trio.sleep_forever()
            if not process.dead:  # it was asked to stop, and did
                process.dead = True
                self._leave(process, FIN)
                self.disk.settle()
        except BaseExceptionGroup as group:
            cancelled, problem = group.split(trio.Cancelled)
            self._ended(process, problem)
            if cancelled is not None:
                raise cancelled from None
        except Exception as problem:
            self._ended(process, problem)
        finally:
            process.ended.set()

    def _node(self, outside: SimOutside) -> AbstractAsyncContextManager[Running]:
        if isinstance(self.config, ZoneConfig):
            # Whoever starts it says what it is as long as its disk is the first one: it may have died before it wrote.
            first = self.disk.empties == 0
            return run_zone(self.config, found=first and not self.joins, join=first and self.joins, outside=outside)
        return run_site(self.config, outside=outside)

    def _ended(self, process: Process, problem: BaseException | None) -> None:
        """It has ended by itself, unless it was killed."""
        if problem is None or process.dead:
            return
        reasons = sorted({why_of(one) for one in leaves(problem)})
        self.world.trace.add(self.name, "ended", *reasons)
        process.dead = True
        self._leave(process, FIN)
        self.disk.settle()
        self.world.ended(self, reasons, problem)


def leaves(problem: BaseException) -> Iterator[BaseException]:
    """The errors in however many groups."""
    if isinstance(problem, BaseExceptionGroup):
        for one in problem.exceptions:
            yield from leaves(one)
    else:
        yield problem


def why_of(problem: BaseException) -> str:
    match problem:
        case StorageFailed():
            return "sync error"
        case InjectedDeath():
            return "task death"
        case StoreDamaged():
            return "damage"
        case StorageFull():
            return "full at start"
    return type(problem).__name__
