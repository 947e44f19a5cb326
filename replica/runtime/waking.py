"""Answers of a thread, on their way into the loop: one byte through a pipe, and one task that reads it.

Trio's own way (`TrioToken.run_sync_soon`) is made to be called from signal handlers, too, and asks its socket twice for
every waking. Measured around a commit of 0.25 ms: 0.015 ms less.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

import trio

Answer = Callable[[], None]


class Answers:
    """Made in the loop that is to be called. It listens until `close`, or until the loop ends."""

    def __init__(self) -> None:
        self._waiting: deque[Answer] = deque()
        self._rung = False
        """A byte is on its way, which the listener has not read: whatever waits by then goes with it."""
        self._ended = False
        self._end_lock = threading.Lock()
        """Held while a byte is written, and while the pipe is closed: its number may be another file's afterwards."""
        self._scope = trio.CancelScope()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        trio.lowlevel.spawn_system_task(self._listen)

    def call_soon(self, answer: Answer) -> None:
        """From any thread: `answer` is called in the loop, after those before it. Nobody waits for it any more where
        the loop has ended."""
        self._waiting.append(answer)
        if not self._rung:
            self._rung = True
            with self._end_lock:
                if not self._ended:
                    os.write(self._write, b"!")

    def close(self) -> None:
        """In the loop, once no thread calls any more: give the answers that wait, and listen no longer."""
        self._give()
        self._scope.cancel()

    async def _listen(self) -> None:
        try:
            with self._scope:
                while True:
                    await trio.lowlevel.wait_readable(self._read)
                    os.read(self._read, 4096)
                    self._rung = False  # before they are given: whoever comes from now on rings again
                    self._give()
        finally:
            with self._end_lock:
                self._ended = True
                os.close(self._read)
                os.close(self._write)

    def _give(self) -> None:
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
