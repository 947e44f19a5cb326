"""One framed connection: what is posted leaves in order, what arrives comes as whole frames.

Posting never waits: a slow other side must not hold up the loop that has something to say to everybody. What cannot
leave is kept up to `most_bytes`; past that the connection is given up, and the protocol above recovers as from any cut.

What somebody waits for (`post_now`) leaves within the call, as far as the kernel takes it; what is posted leaves with
the loop's next round, all of it together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from replica.errors import HandshakeRefused
from replica.runtime.bell import Bell
from replica.runtime.straight import receive_from, send_now, socket_of
from replica.wire.frames import FrameReader, frame
from replica.wire.limits import LENGTH_BYTES, MAX_HANDSHAKE_BYTES

RECEIVE_BYTES = 1 << 16


class Connection:
    """A stream of frames in both directions. Run `send_posted` in a task of its own; `aclose` ends it and `receive`."""

    def __init__(self, stream: trio.abc.Stream, most_bytes: int = 32 << 20) -> None:
        self._stream = stream
        self._socket = socket_of(stream)
        self._reader = FrameReader(MAX_HANDSHAKE_BYTES)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._most_bytes = most_bytes
        self._bell = Bell()
        self._room = Bell()
        self._sending = False
        """`send_posted` is in the middle of something."""
        self._early: list[bytes] = []
        """Frames that arrived behind the greeting, before the connection was trusted."""
        self.broken = False
        self.received_bytes = 0
        """Of whole and half frames: a slow line is not a silent one."""

    @property
    def waiting_bytes(self) -> int:
        """What was posted and has not left yet."""
        return self._held_bytes

    def post(self, payload: bytes) -> None:
        """Send one frame soon. Gives the connection up where too much is waiting already."""
        if not self.broken:
            self._keep(payload)
            self._bell.ring()

    def post_now(self, payload: bytes) -> None:
        """As `post`, but what the kernel takes at this moment leaves before this returns. One system call each: not for
        many in a row."""
        if not self.broken:
            self._keep(payload)
            if not self._has_left_at_once():
                self._bell.ring()

    def _keep(self, payload: bytes) -> None:
        if self._held_bytes + len(payload) > self._most_bytes:
            self.broken = True
            self._held.clear()
        else:
            self._held.append(frame(payload))
            self._held_bytes += len(payload) + LENGTH_BYTES

    def _has_left_at_once(self) -> bool:
        """Give the kernel what is held; whether it took all of it. What it did not take `send_posted` sends."""
        if self._socket is None or self._sending or self.broken:
            return False
        out = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        taken = send_now(self._socket, out)
        self._held = [out[taken:]] if taken < len(out) else []
        self._held_bytes -= taken
        return not self._held

    async def send_posted(self) -> None:
        """Send what is posted until the connection breaks. Returns then; never raises for a broken stream."""
        try:
            while not self.broken:
                await self._bell.wait()
                while self._held and not self.broken:
                    out, size = b"".join(self._held), self._held_bytes
                    self._held.clear()
                    self._sending = True
                    await self._stream.send_all(out)
                    self._sending = False
                    self._held_bytes -= size
                    self._room.ring()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.broken = True
        self._room.ring()
        await trio.aclose_forcefully(self._stream)

    async def until_below(self, waiting_bytes: int) -> None:
        """Wait until no more than so much is waiting to leave, or the connection is broken. For one task at a time."""
        await trio.lowlevel.checkpoint()
        while self._held_bytes > waiting_bytes and not self.broken:
            await self._room.wait()

    async def send(self, payload: bytes) -> None:
        """Send one frame now; for the handshake, before `send_posted` runs. Raises trio.BrokenResourceError."""
        await self._stream.send_all(frame(payload))

    async def receive(self) -> list[bytes]:
        """The next frames, at least one; an empty list at the end of the connection, whichever side ended it.

        Raises RemoteProtocolError for a frame no rule allows; the caller closes the connection.
        """
        if self._early:
            early, self._early = self._early, []
            return early
        while data := await self._read():
            frames = self._reader.feed(data)
            if frames:
                return frames
        return []

    async def _read(self) -> bytes:
        try:
            if self._socket is not None:
                data = await receive_from(self._socket, RECEIVE_BYTES)
            else:
                data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""
        self.received_bytes += len(data)
        return data

    def trust(self, max_frame_bytes: int) -> None:
        """The handshake is done: whole messages may come now, not only a greeting."""
        self._reader.limit = max_frame_bytes
        self._early = self._reader.feed(b"")

    async def receive_greeting(self) -> bytes | None:
        """The first frame, and no more than that: what came with it in one piece waits for `trust`. None at the end."""
        greeting = self._reader.take()
        while greeting is None:
            data = await self._read()
            if not data:
                return None
            greeting = self._reader.take(data)
        return greeting

    def give_up(self) -> None:
        """Break the connection from here; the tasks on it end soon."""
        self.broken = True
        self._bell.ring()

    async def aclose(self) -> None:
        self.broken = True
        await trio.aclose_forcefully(self._stream)


async def receive_one(connection: Connection, within_ms: int) -> bytes:
    """One frame of a handshake. Raises HandshakeRefused where none comes in time, or the other side leaves."""
    with trio.move_on_after(within_ms / 1000):
        greeting = await connection.receive_greeting()
        if greeting is None:
            raise HandshakeRefused("the other side closed the connection before it said who it is")
        return greeting
    raise HandshakeRefused(f"nothing said within {within_ms} ms")


async def run_both(connection: Connection, receiving: Callable[[], Awaitable[None]]) -> None:
    """Send what is posted and run `receiving` until either ends; then the connection is closed."""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await connection.send_posted()
            nursery.cancel_scope.cancel()

        nursery.start_soon(send)
        try:
            await receiving()
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await connection.aclose()
