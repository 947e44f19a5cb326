"""The lines between members of etcd, which can be cut one member at a time.

A member of etcd is known to all others by one address, so a line has two ends but only one door: `PeerLines` listens at
each member's door and finds out whose connection has come, by the process that owns its other end; from there it goes
through the proxy of that pair. Each direction of a pair is a line of its own, as with our own zones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import psutil
import trio

from replica.demo.processes import Child
from replica.demo.proxy import CHUNK_BYTES, Mode, Proxy


class PeerLines:
    """Run `serve` in a nursery; `owners` has to be set before a member is started."""

    def __init__(self, targets: dict[str, str]) -> None:
        self.targets = targets
        self.addresses: dict[str, str] = {}
        """Member → the address of its door, once served."""
        self.lines: dict[tuple[str, str], Proxy] = {}
        """(who connects, to whom) → the line."""
        self.owners: Callable[[], dict[str, Child]] = dict

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen at every door until cancelled."""
        async with trio.open_nursery() as nursery:
            for member, target in self.targets.items():
                host, _, port = target.rpartition(":")
                for other in self.targets:
                    if other != member:
                        line = self.lines[other, member] = Proxy(f"{other}→{member}", (host, int(port)))
                        await nursery.start(line.serve)
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                self.addresses[member] = "{}:{}".format(*listeners[0].socket.getsockname()[:2])
                nursery.start_soon(partial(trio.serve_listeners, partial(self._let_in, member), listeners))
            task_status.started()

    def cut(self, member: str) -> None:
        """Both directions between this member and all others are swallowed."""
        for ends, line in self.lines.items():
            if member in ends:
                line.set_mode(Mode.BLACK_HOLE)

    def heal(self) -> None:
        """All pass again."""
        for line in self.lines.values():
            line.set_mode(Mode.PASS)

    async def _let_in(self, member: str, near: trio.SocketStream) -> None:
        """One connection to `member`'s door, until either end is closed."""
        port = near.socket.getpeername()[1]
        source = await trio.to_thread.run_sync(self._owner, port)
        if source is None or source == member:
            near.socket.close()
            return
        host, _, there = self.lines[source, member].address.rpartition(":")
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with near, await trio.open_tcp_stream(host, int(there)) as far, trio.open_nursery() as nursery:
                nursery.start_soon(_copy, near, far, nursery.cancel_scope)
                nursery.start_soon(_copy, far, near, nursery.cancel_scope)

    def _owner(self, port: int) -> str | None:
        """Which member's process has a socket at this port of its own."""
        for name, child in self.owners().items():
            with contextlib.suppress(psutil.Error):
                if child.alive and any(
                    one.laddr[1] == port for one in psutil.Process(child.pid).net_connections("tcp")
                ):
                    return name
        return None


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, line: trio.CancelScope) -> None:
    """One direction; whatever ends it ends the connection."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while chunk := await source.receive_some(CHUNK_BYTES):
            await sink.send_all(chunk)
    line.cancel()
