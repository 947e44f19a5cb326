"""Three processes of PySyncObj on loopback, its journal without fsync, which it has no setting for.

It is a library, so its best client lives in the process of its leader: `python -m bench.peers.pysyncobj ADDRESS OTHERS
JOURNAL` is one such process. It reads orders from standard input, a JSON line each, and answers each with one line.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from replica.demo.processes import hold_port
from replica.errors import NotAvailable

HOW_TO: Final = "PySyncObj: install the Python package pysyncobj"
PROCESSES: Final = 3
LEADS_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.02
WRITE_AGAIN_S: Final = 0.005
LINE_BYTES: Final = 16 << 20


class Order(msgspec.Struct, frozen=True):
    """`what`: "leader" (whether it leads), "load" (so many `callers` for `seconds` with values of `size` bytes), or
    "write" (answered once one write has been agreed)."""

    what: str
    callers: int = 0
    seconds: float = 0.0
    size: int = 0


class Told(msgspec.Struct, frozen=True):
    """The answer: `leads`, and what each write of a load took; `at_s`: when a write was agreed, of time.monotonic()."""

    leads: bool = False
    ms: tuple[float, ...] = ()
    failed: int = 0
    at_s: float = 0.0


def find_pysyncobj() -> str:
    """Its version, or "" where it is not here."""
    try:
        return version("pysyncobj") if find_spec("pysyncobj") else ""
    except PackageNotFoundError:
        return ""


@dataclass(eq=False, slots=True)
class SyncProcess:
    """One process, and what it has said that nobody has read."""

    name: str
    process: trio.Process
    buffer: bytes = b""

    async def ask(self, order: Order) -> Told:
        """Raises NotAvailable where it has ended."""
        assert self.process.stdin is not None, "it was asked for as a pipe"
        assert self.process.stdout is not None, "it was asked for as a pipe"
        await self.process.stdin.send_all(msgspec.json.encode(order) + b"\n")
        while b"\n" not in self.buffer:
            chunk = await self.process.stdout.receive_some(LINE_BYTES)
            if not chunk:
                raise NotAvailable(f"{self.name} ended with {await self.process.wait()}")
            self.buffer += bytes(chunk)
        line, _, self.buffer = self.buffer.partition(b"\n")
        return msgspec.json.decode(line, type=Told)


@dataclass(eq=False)
class SyncCluster:
    """Built by `open_pysyncobj`; its processes run."""

    version: str
    processes: dict[str, SyncProcess]

    @property
    def pids(self) -> list[int]:
        return [one.process.pid for one in self.processes.values() if one.process.poll() is None]

    async def leader(self) -> str:
        """Raises NotAvailable where none leads in time."""
        with trio.move_on_after(LEADS_SECONDS):
            while True:
                for one in self.processes.values():
                    if one.process.poll() is None and (await one.ask(Order("leader"))).leads:
                        return one.name
                await trio.sleep(LOOK_SECONDS)
        raise NotAvailable(f"no process of PySyncObj leads after {LEADS_SECONDS:g} s")

    async def failover_ms(self) -> float:
        """SIGKILL of the leader → the first write agreed at another process. The killed one stays away."""
        leader = await self.leader()
        other = next(name for name in self.processes if name != leader)
        self.processes[leader].process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        with trio.fail_after(LEADS_SECONDS):
            told = await self.processes[other].ask(Order("write"))
        return (told.at_s - killed) * 1000


@asynccontextmanager
async def open_pysyncobj(folder: Path) -> AsyncIterator[SyncCluster]:
    """Three processes, with a leader. On leaving they are killed. Raises NotAvailable where it is not here."""
    if not find_pysyncobj():
        raise NotAvailable(HOW_TO)
    held = [hold_port() for _ in range(PROCESSES)]
    addresses = ["{}:{}".format(*port.getsockname()) for port in held]
    processes: dict[str, SyncProcess] = {}
    try:
        for number, address in enumerate(addresses, 1):
            others = ",".join(other for other in addresses if other != address)
            journal = str(folder / f"pysyncobj-{number}.journal")
            process = await trio.lowlevel.open_process(
                (sys.executable, "-m", "bench.peers.pysyncobj", address, others, journal),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            processes[f"pysyncobj-{number}"] = SyncProcess(f"pysyncobj-{number}", process)
        cluster = SyncCluster(find_pysyncobj(), processes)
        await cluster.leader()
        yield cluster
    finally:
        for one in processes.values():
            if one.process.poll() is None:
                one.process.kill()
        with trio.CancelScope(shield=True):
            for one in processes.values():
                await one.process.wait()
        for port in held:
            port.close()


# ------------------------------------------------------------------------------------ one of the processes


def serve(address: str, others: list[str], journal: str) -> None:
    """Take part, and do the orders, until standard input ends."""
    library: Any = import_module("pysyncobj")

    class Store(library.SyncObj):  # type: ignore[misc]  # imported when it is there: no type is known
        """What is replicated: one value."""

        def __init__(self) -> None:
            super().__init__(address, others, library.SyncObjConf(journalFile=journal))
            self.value = ""

        @library.replicated  # type: ignore[untyped-decorator]  # of the same library
        def put(self, value: str) -> None:
            self.value = value

    store = Store()
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        match order.what:
            case "leader":
                told = Told(leads=bool(store._isLeader()))
            case "load":
                told = _load(store, order)
            case _:
                told = _write(store)
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()


def _load(store: Any, order: Order) -> Told:
    """Each caller hands in the next write from the callback of the one before."""
    took: list[float] = []
    failed: list[object] = []
    value, ends = "x" * order.size, time.monotonic() + order.seconds

    def again() -> None:
        began = time.monotonic()

        def done(_: object, error: object) -> None:
            now = time.monotonic()
            if error:
                failed.append(error)
            elif now <= ends:
                took.append((now - began) * 1000)
            if now < ends:
                again()

        store.put(value, callback=done)

    for _ in range(order.callers):
        again()
    time.sleep(order.seconds + 0.2)
    return Told(ms=tuple(took), failed=len(failed))


def _write(store: Any) -> Told:
    """Tried again and again beside what was tried before, until one is agreed."""
    agreed: list[float] = []

    def done(_: object, error: object) -> None:
        if not error:
            agreed.append(time.monotonic())

    while not agreed:
        store.put("x", callback=done)
        time.sleep(WRITE_AGAIN_S)
    return Told(at_s=agreed[0])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2].split(","), sys.argv[3])
