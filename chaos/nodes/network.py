"""Memory links that behave as TCP does: nothing is reordered within a stream, and everything else may happen to it.

Between two hosts there are two ways, each with its latency and jitter. A way can be cut: bytes then wait until it is
healed (as retransmission makes them), or are lost for good with the connection they were on, which nobody is told: who
speaks on it after the cut is told that nobody knows it, who only listens stays half-open for ever. A dial into a cut
way hangs. A process that dies has its streams closed by the kernel; a machine that loses power says nothing at all.

Leaves out: acknowledgements' own way back. A full window opens again when the far side has read.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random
from typing import Any

import trio

from chaos.nodes.loop import Loop
from chaos.nodes.trace import Trace

WINDOW_BYTES = 1 << 20
"""What one direction holds unread; then its sender waits."""
DIAL_AGAIN_S = 1.0
"""A dial into a cut way tries again about so often."""

FIN, RESET = "fin", "reset"
Piece = bytes | str


class Way:
    """One direction between two hosts."""

    __slots__ = ("cut", "cut_since_s", "drip_bytes", "healed", "healed_s", "held", "jitter_s", "latency_s", "loses")

    def __init__(self, latency_s: float, jitter_s: float) -> None:
        self.latency_s = latency_s
        self.jitter_s = jitter_s
        self.cut = False
        self.cut_since_s = self.healed_s = 0.0
        self.loses = False
        self.drip_bytes = 0
        """Where not 0, a stream comes in pieces of so many bytes."""
        self.held: list[tuple[End, Piece]] = []
        self.healed = trio.Event()


class End(trio.abc.Stream):
    """One end of a connection. Named by its host and the far host."""

    def __init__(self, network: Network, host: str, far: str) -> None:
        self.network = network
        self.host = host
        self.peer: End
        self.way = network.way(host, far)
        self.far = far
        self.silent = False
        """The connection is lost here and nobody was told; or the machine has no power."""
        self._last_s = 0.0
        self._buffer = bytearray()
        self._unread_there = 0
        self._eof = self._broken = self._closed = False
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None

    def __str__(self) -> str:
        return f"{self.far}>{self.host}"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check()
        self._unread_there += len(data)
        self.network.depart(self, bytes(data))
        while self._unread_there > WINDOW_BYTES:
            await self._park("_writer")
            self._check()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._buffer:
            if self._closed:
                raise trio.ClosedResourceError
            if self._broken:
                raise trio.BrokenResourceError
            if self._eof:
                return b""
            await self._park("_reader")
        if self._closed:
            raise trio.ClosedResourceError
        taken = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        self.peer._read_there(len(taken))
        return taken

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self, how: str = FIN) -> None:
        """Let go of this end, as the kernel does when its process ends: the far one is told."""
        if not self._closed:
            self._closed = True
            self._wake()
            if not self._broken and not self.silent:
                self.network.depart(self, RESET if self._buffer else how)

    def arrive(self, piece: Piece) -> None:
        """What the far side sent is here."""
        if self._closed:
            # Nobody knows this connection any more; whoever speaks on it is told.
            if piece != RESET:
                self.network.refuse(self)
        elif piece == RESET:
            self._broken = True
            self._buffer.clear()
            self._wake()
        elif piece == FIN:
            self._eof = True
            self._wake()
        else:
            assert isinstance(piece, bytes), piece
            self._buffer += piece
            self._wake_one("_reader")

    def lose_power(self) -> None:
        """The machine stopped in the middle of it: nobody is told."""
        self._closed = self.silent = True
        self._wake()

    @property
    def open(self) -> bool:
        return not self._closed and not self._broken

    def _read_there(self, count: int) -> None:
        self._unread_there -= count
        if self._unread_there <= WINDOW_BYTES:
            self._wake_one("_writer")

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._broken:
            raise trio.BrokenResourceError

    async def _park(self, place: str) -> None:
        if getattr(self, place) is not None:
            raise trio.BusyResourceError(f"two tasks at one end of {self}")
        setattr(self, place, trio.lowlevel.current_task())

        def abort(_: Any) -> trio.lowlevel.Abort:
            setattr(self, place, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake_one(self, place: str) -> None:
        task = getattr(self, place)
        if task is not None:
            setattr(self, place, None)
            trio.lowlevel.reschedule(task)

    def _wake(self) -> None:
        self._wake_one("_reader")
        self._wake_one("_writer")


class Listener(trio.abc.Listener[End]):
    """A door: the kernel takes connections in, whether or not the process looks."""

    def __init__(self, network: Network, address: str) -> None:
        self._network = network
        self._address = address
        self._send, self._receive = trio.open_memory_channel[End](float("inf"))

    def take_in(self, end: End) -> None:
        self._send.send_nowait(end)

    async def accept(self) -> End:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self._network.shut(self._address, self)
        await trio.lowlevel.checkpoint()


class Network:
    """All hosts' links and doors."""

    def __init__(self, loop: Loop, rng: Random, trace: Trace, way_of: Callable[[str, str], Way]) -> None:
        self._loop = loop
        self._random = rng.random
        self._trace = trace
        self._way_of = way_of
        self._ways: dict[tuple[str, str], Way] = {}
        self._doors: dict[str, Listener] = {}
        self._without_power: set[str] = set()
        self.ends: list[End] = []
        self.pieces = 0
        """How many pieces of streams have arrived."""

    def way(self, frm: str, to: str) -> Way:
        found = self._ways.get((frm, to))
        if found is None:
            found = self._ways[frm, to] = self._way_of(frm, to)
        return found

    def has_power(self, host: str) -> bool:
        return host not in self._without_power

    # ------------------------------------------------------------------ doors and dialling

    def open_door(self, address: str) -> Listener:
        """Raises OSError where the address is taken."""
        if address in self._doors:
            raise OSError(errno.EADDRINUSE, "address already in use")
        self._doors[address] = door = Listener(self, address)
        return door

    def shut(self, address: str, door: Listener) -> None:
        if self._doors.get(address) is door:
            del self._doors[address]

    async def connect(self, host: str, address: str) -> End:
        """A stream from `host` to whoever listens at `address`. Raises OSError; hangs where a machine would."""
        far = address.rpartition(":")[0]
        await self._travel(host, far)
        while not self.has_power(far):
            await trio.sleep(DIAL_AGAIN_S)
        door = self._doors.get(address)
        if door is None:
            await self._travel(far, host)
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        near, there = End(self, host, far), End(self, far, host)
        near.peer, there.peer = there, near
        self.ends = [end for end in self.ends if end.open]
        self.ends += [near, there]
        door.take_in(there)
        try:
            await self._travel(far, host)
        except BaseException:
            near.close(RESET)
            raise
        return near

    async def _travel(self, frm: str, to: str) -> None:
        way = self.way(frm, to)
        while way.cut:
            await way.healed.wait()
            await trio.sleep(self._random() * DIAL_AGAIN_S)
        await trio.sleep(way.latency_s + way.jitter_s * self._random())

    # ------------------------------------------------------------------ pieces on their way

    def depart(self, end: End, piece: Piece) -> None:
        """Send a piece from `end` to its peer, behind everything sent before."""
        way = end.way
        if way.cut and way.loses:
            end.silent = True
        elif end.silent and not way.cut:
            # Whoever stands in between has forgotten the connection, and says so to whom goes on using it.
            self._loop.after(2 * way.latency_s, end.arrive, RESET)
        elif end.silent:
            pass
        elif way.cut:
            way.held.append((end, piece))
        elif way.drip_bytes and isinstance(piece, bytes):
            for start in range(0, len(piece), way.drip_bytes):
                self._send(end, way, piece[start : start + way.drip_bytes])
        else:
            self._send(end, way, piece)

    def refuse(self, end: End) -> None:
        """Tell the peer of a closed end that nobody knows the connection."""
        if not end.way.cut:
            self._send(end, end.way, RESET)

    def _send(self, end: End, way: Way, piece: Piece) -> None:
        at_s = max(end._last_s, self._loop.now_s + way.latency_s + way.jitter_s * self._random())
        end._last_s = at_s
        self._loop.at(at_s, self._arrive, end.peer, piece)

    def _arrive(self, end: End, piece: Piece) -> None:
        self.pieces += 1
        self._trace.piece(end, piece)
        if self.has_power(end.host):
            end.arrive(piece)

    # ------------------------------------------------------------------ faults

    def cut(self, frm: str, to: str, *, loses: bool) -> None:
        """Nothing gets from `frm` to `to` until `heal`."""
        way = self.way(frm, to)
        if not way.cut:
            way.cut, way.loses, way.cut_since_s = True, loses, self._loop.now_s

    def heal(self, frm: str, to: str) -> None:
        way = self.way(frm, to)
        if not way.cut:
            return
        way.cut = way.loses = False
        way.healed_s = self._loop.now_s
        held, way.held = way.held, []
        for end, piece in held:
            self._send(end, way, piece)
        way.healed.set()
        way.healed = trio.Event()

    def heal_all(self) -> None:
        for (frm, to), way in self._ways.items():
            way.drip_bytes = 0
            self.heal(frm, to)

    def close_all(self, ends: list[End], how: str) -> None:
        """The kernel closes what a dead process left."""
        for end in ends:
            end.close(how)

    def power_off(self, host: str) -> None:
        """A machine stops: its connections are gone, and nobody is told."""
        self._without_power.add(host)
        for end in self.ends_of(host):
            end.lose_power()

    def power_on(self, host: str) -> None:
        self._without_power.discard(host)

    def ends_of(self, host: str) -> list[End]:
        return [end for end in self.ends if end.host == host and end.open]


class Visitor:
    """`ClientOutside` for who is no node: a caller, or the operator, beside the machine it speaks to."""

    def __init__(self, network: Network, name: str, rng: Random) -> None:
        self._network = network
        self._name = name
        self._rng = rng

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    async def connect(self, address: str) -> trio.abc.Stream:
        return await self._network.connect(self._name, address)
