"""A line between two processes that can be cut: a TCP proxy on loopback whose mode is changed while it runs.

A cable that is cut says nothing: bytes stop, nobody is told, and what was under way arrives later or never. Of a
process that dies, or a firewall that rejects, the kernel tells at once. The two look so different that both are modes.
A silent line keeps its connections: healed, they go on where they stopped, in order, as TCP's own retransmission would.

Left out: loss inside a stream (TCP hides it from both ends) and lines cut in one direction only.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import trio

CHUNK_BYTES: Final = 65_536
IN_FLIGHT_CHUNKS: Final = 64
"""What a line holds at most in each direction; past that the sender feels the back pressure, as on a real line."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing such a socket sends a reset, not an orderly end."""


class Mode(Enum):
    """What a line does to the bytes given to it."""

    PASS = "pass"
    BLACK_HOLE = "black-hole"
    """Connections stay, or are even taken, and nothing comes out at the other end."""
    REFUSE = "refuse"
    """Connections are reset, new ones too."""
    DELAY = "delay"
    """Every byte comes `delay_ms` later, in each direction; nothing waits for the bytes before it."""


@dataclass(eq=False, slots=True)
class Proxy:
    """One line to `target` (host, port), `name` for people and logs. Run `serve` in a nursery; then set its mode."""

    name: str
    target: tuple[str, int]
    mode: Mode = Mode.PASS
    delay_ms: float = 0.0
    address: str = ""
    """`host:port` to connect to; known once `serve` has started."""
    taken: int = 0
    """Connections taken so far."""
    _changed: trio.Event = field(default_factory=trio.Event)
    _open: set[trio.CancelScope] = field(default_factory=set)

    def set_mode(self, mode: Mode, delay_ms: float = 0.0) -> None:
        """From now on. REFUSE also resets what is connected; PASS and DELAY let out what a silent line held back."""
        if delay_ms < 0:
            raise ValueError(f"delay_ms is {delay_ms}, must be 0 or more")
        self.mode, self.delay_ms = mode, delay_ms
        self._changed.set()
        self._changed = trio.Event()
        if mode is Mode.REFUSE:
            self.reset()

    def reset(self) -> None:
        """Reset every connection there is now, whatever the mode."""
        for scope in tuple(self._open):
            scope.cancel()

    async def serve(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on a free port of 127.0.0.1 until cancelled; starts with the address."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        host, port = listeners[0].socket.getsockname()[:2]
        self.address = f"{host}:{port}"
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(self.address)
                await trio.serve_listeners(self._carry, listeners, handler_nursery=nursery)
        finally:
            self.reset()

    async def _carry(self, near: trio.SocketStream) -> None:
        """One connection, until either end closes it, the line is reset, or the far end cannot be reached."""
        self.taken += 1
        with trio.CancelScope() as scope:
            self._open.add(scope)
            if self.mode is Mode.REFUSE:
                scope.cancel()
            orderly = False
            try:
                orderly = await self._connect_and_copy(near)
            finally:
                self._open.discard(scope)
                _close(near, orderly)

    async def _connect_and_copy(self, near: trio.SocketStream) -> bool:
        """Whether both directions came to an orderly end."""
        await self._until_open()
        try:
            far = await trio.open_tcp_stream(*self.target)
        except OSError:
            return False  # nobody listens there: the near side sees its connection reset
        orderly = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, near, far, nursery.cancel_scope)
                nursery.start_soon(self._copy, far, near, nursery.cancel_scope)
            orderly = not nursery.cancel_scope.cancelled_caught
        finally:
            _close(far, orderly)
        return orderly

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream, line: trio.CancelScope) -> None:
        """One direction. An orderly end is passed on and the other direction goes on; a broken one ends the line."""
        give, take = trio.open_memory_channel[tuple[float, bytes]](IN_FLIGHT_CHUNKS)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._deliver, take, sink, line)
                async with give:
                    while chunk := await source.receive_some(CHUNK_BYTES):
                        await give.send((trio.current_time(), bytes(chunk)))
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            line.cancel()

    async def _deliver(
        self, take: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.SocketStream, line: trio.CancelScope
    ) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for arrived, chunk in take:
                await self._until_due(arrived)
                await sink.send_all(chunk)
            await self._until_open()  # the end of a stream does not cross a cut line either
            await sink.send_eof()
            return
        line.cancel()

    async def _until_due(self, arrived: float) -> None:
        await self._until_open()
        if self.mode is Mode.DELAY:
            await trio.sleep_until(arrived + self.delay_ms / 1000)
            await self._until_open()

    async def _until_open(self) -> None:
        while self.mode is Mode.BLACK_HOLE:
            await self._changed.wait()


def _close(stream: trio.SocketStream, orderly: bool) -> None:
    """Close at once; unless `orderly`, by a reset, so that whoever still waits at the other end is told."""
    with contextlib.suppress(OSError):
        if not orderly:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    stream.socket.close()
