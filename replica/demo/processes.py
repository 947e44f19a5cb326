"""One child process that cannot outlive its parent, and a port that nobody else takes while its owner is dead.

A child is started from the calling thread, because the kernel ties "kill me when my parent dies" to the *thread* that
started it, and a pool's thread may end long before the program. It is in a process group of its own, so that Ctrl-C at
a terminal reaches only the parent, which then stops its children in its own order.

Left out: what the processes are for (supervisor.py).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import trio

from replica.errors import ReplicaError

PR_SET_PDEATHSIG: Final = 1
LAST_LOG_BYTES: Final = 4_000
FIRST_LINE_BYTES: Final = 65_536


class ProcessFailed(ReplicaError):
    """A child did not start, did not stop, or ended by itself; the text says which and holds the end of its log."""


class Ready(msgspec.Struct, frozen=True):
    """The one line a node prints on stdout when it serves."""

    ready: str
    listen: str


def hold_port() -> socket.socket:
    """A socket bound to a free port of 127.0.0.1 that never listens: it only keeps the port from everyone else.

    A child can still listen there (both set SO_REUSEADDR, which Linux allows as long as one of them does not listen),
    and while the child is dead a connection is refused, as it should be, instead of reaching a stranger.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def _dies_with(parent: int) -> Callable[[], None] | None:
    """What a child does between fork and exec: ask the kernel for a SIGKILL at its parent's death. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died in between: nobody will tell us any more
            os._exit(1)

    return ask


@dataclass(eq=False, slots=True)
class Child:
    """One process: `command` is started with its stderr appended to `log`."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises ProcessFailed where it was never started."""
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before it was started; negative: the signal that ended it."""
        return None if self._process is None else self._process.poll()

    async def start(self, timeout_s: float) -> Ready:
        """Start, and wait for its `ready` line. Raises ProcessFailed past `timeout_s` or at its end; dead then."""
        if self.alive:
            raise ProcessFailed(f"{self.name} runs already")
        process = self._spawn()
        try:
            with trio.fail_after(timeout_s):
                line = await self._first_line(process)
            return msgspec.json.decode(line, type=Ready)
        except BaseException as problem:
            self.kill_now()
            if isinstance(problem, trio.TooSlowError):
                raise ProcessFailed(f"{self.name} was not ready after {timeout_s:g} s\n{self.last_log()}") from None
            if isinstance(problem, msgspec.DecodeError):
                raise ProcessFailed(f"{self.name} printed no ready line: {problem}\n{self.last_log()}") from problem
            raise

    def signal(self, number: signal.Signals) -> None:
        """Send it; nothing happens where the process has ended. Returns before the process has noticed."""
        if self.alive:
            self._started().send_signal(number)

    async def kill(self) -> float:
        """SIGKILL, and wait until it is gone: `trio.current_time()` of the signal."""
        sent = trio.current_time()
        self._started().kill()
        with trio.CancelScope(shield=True):
            await self.ended()
        return sent

    async def stop(self, timeout_s: float) -> int:
        """SIGTERM, and wait for its end: the exit code. Past `timeout_s` it is killed and ProcessFailed raised."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with trio.move_on_after(timeout_s):
            return await self.ended()
        await self.kill()
        raise ProcessFailed(f"{self.name} had not stopped {timeout_s:g} s after SIGTERM\n{self.last_log()}")

    async def ended(self) -> int:
        """Wait for its end, whoever caused it: the exit code."""
        process = self._started()
        if process.poll() is None and hasattr(os, "pidfd_open"):
            watch = os.pidfd_open(process.pid)
            try:
                await trio.lowlevel.wait_readable(watch)
            finally:
                os.close(watch)
        return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)

    def kill_now(self) -> None:
        """SIGKILL without an event loop, for the very end: returns when it is gone. Never raises."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close_pipe()

    def last_log(self) -> str:
        """The end of its log, for a message to a person."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - LAST_LOG_BYTES))
                return file.read().decode(errors="replace")
        except OSError as problem:
            return f"(no log: {problem})"

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessFailed(f"{self.name} was never started")
        return self._process

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._close_pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | self.environment,
                process_group=0,
                preexec_fn=_dies_with(os.getpid()),
            )
        return self._process

    def _close_pipe(self) -> None:
        """Not before its end: a child that still writes to stdout must not fail at it."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    async def _first_line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None, "stdout was asked for as a pipe"
        line = b""
        async with trio.lowlevel.FdStream(os.dup(process.stdout.fileno())) as stream:
            while b"\n" not in line and len(line) < FIRST_LINE_BYTES:
                chunk = await stream.receive_some()
                if not chunk:
                    code = await self.ended()
                    raise ProcessFailed(f"{self.name} ended with {code} before it was ready\n{self.last_log()}")
                line += chunk
        return line.partition(b"\n")[0]
