"""Opening a connection and greeting, from either side."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from replica.errors import HandshakeRefused, NotAvailable
from replica.runtime.connection import Connection, receive_one
from replica.runtime.outside import REAL, ClientOutside
from replica.wire import FRAME_LIMITS, Acceptor, Dialler, Identity, Peer


async def dial(
    me: Identity,
    address: str,
    *,
    zones: Mapping[str, int],
    expect: str | None,
    within_ms: int,
    outside: ClientOutside = REAL,
) -> tuple[Connection, Peer]:
    """A greeted connection to `address`; the caller runs and closes it.

    Raises NotAvailable where nobody answers there in time, HandshakeRefused with the reason where they will not have
    us.
    """
    connection: Connection | None = None
    try:
        with trio.fail_after(within_ms / 1000):
            connection = Connection(await outside.connect(address))
            dialler = Dialler(me, zones, expect)
            await connection.send(dialler.hello())
            peer = dialler.receive(await receive_one(connection, within_ms))
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as problem:
        await _drop(connection)
        raise NotAvailable(f"{address} does not answer: {str(problem) or 'too slow'}") from problem
    except BaseException:
        await _drop(connection)
        raise
    connection.trust(FRAME_LIMITS[peer.role])
    return connection, peer


async def greet(
    me: Identity, stream: trio.abc.Stream, *, zones: Mapping[str, int], accepts: frozenset[str], within_ms: int
) -> tuple[Connection, Peer]:
    """The accepting side's greeting on a fresh stream. Raises HandshakeRefused, with the other side told why."""
    connection = Connection(stream)
    acceptor = Acceptor(me, zones, accepts)
    payload = await receive_one(connection, within_ms)
    try:
        welcome = acceptor.receive(payload)
    except HandshakeRefused:
        if acceptor.refusal is not None:
            with trio.move_on_after(within_ms / 1000):
                await connection.send(acceptor.refusal)
        raise
    try:
        await connection.send(welcome)
    except trio.BrokenResourceError as problem:
        raise HandshakeRefused("the other side left before it was welcomed") from problem
    assert acceptor.peer is not None, "welcomed without knowing whom"
    connection.trust(FRAME_LIMITS[acceptor.peer.role])
    return connection, acceptor.peer


async def _drop(connection: Connection | None) -> None:
    if connection is not None:
        with trio.CancelScope(shield=True):
            await connection.aclose()
