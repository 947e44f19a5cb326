"""A socket without what trio puts around it, for the few connections on which every message counts.

Trio tries before it waits, and gives other tasks their turn after what went at once: right in general, and one failed
call or one round of the loop too many for a message that is waited for. Here a send is tried and never waited for, and
a receive is waited for and then done. Any other stream (TLS, memory) goes trio's own way.
"""

from __future__ import annotations

import os

import trio


def socket_of(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """What `stream` speaks through, where that is a plain socket."""
    return stream.socket if type(stream) is trio.SocketStream else None


def send_now(socket: trio.socket.SocketType, data: bytes) -> int:
    """How many bytes the kernel took just now. 0 also for a broken one: whoever sends next by trio hears of it.

    Nobody else may be sending."""
    try:
        return os.write(socket.fileno(), data)
    except OSError:
        return 0


async def receive_from(socket: trio.socket.SocketType, most_bytes: int) -> bytes:
    """What comes next; empty at the end of the stream, whichever side ended it, and however."""
    while True:
        try:
            await trio.lowlevel.wait_readable(socket)
            return os.read(socket.fileno(), most_bytes)
        except BlockingIOError:
            continue
        except (OSError, ValueError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()
            return b""
