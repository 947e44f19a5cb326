"""The door of a node: who comes in says first who it is, and is then served by its role.

Whatever happens on one connection stays there: a stranger, a broken frame or a slow drip ends that connection, with a
line in the log that says why, and nobody else notices.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from replica.config import Timing
from replica.errors import NotAvailable, RemoteProtocolError
from replica.runtime.connection import Connection, run_both
from replica.runtime.dial import greet
from replica.runtime.outside import Outside
from replica.wire import Identity, Peer

Serve = Callable[[Connection, Peer], Awaitable[None]]


class Server:
    """Listens, greets, and hands each connection to the task of its role."""

    def __init__(
        self,
        me: Identity,
        zones: Mapping[str, int],
        roles: Mapping[str, Serve],
        timing: Timing,
        most_connections: int,
        log: Any,
    ) -> None:
        self._me = me
        self._zones = zones
        self._roles = roles
        self._timing = timing
        self._most = most_connections
        self._log = log
        self.connections = 0
        self.refused = 0

    async def run(self, listeners: Sequence[trio.abc.Listener[Any]]) -> None:
        """Serve for ever."""
        await trio.serve_listeners(self._one, list(listeners))

    async def _one(self, stream: trio.abc.Stream) -> None:
        where = _name(stream)
        if self.connections >= self._most:
            self._refuse(where, f"{self.connections} connections are open already")
            await trio.aclose_forcefully(stream)
            return
        self.connections += 1
        try:
            await self._serve(stream, where)
        except* (RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as problems:
            for problem in problems.exceptions:
                self._refuse(where, _first(problem))
        finally:
            self.connections -= 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream, where: str) -> None:
        connection, peer = await greet(
            self._me,
            stream,
            zones=self._zones,
            accepts=frozenset(self._roles),
            within_ms=self._timing.handshake_ms,
        )
        self._log.debug("accepted", peer=peer.node_id, role=peer.role, where=where)
        serve = self._roles[peer.role]
        await run_both(connection, lambda: serve(connection, peer))

    def _refuse(self, where: str, reason: str) -> None:
        self.refused += 1
        self._log.warning("connection-refused", where=where, reason=reason)


async def listen(address: str, outside: Outside) -> tuple[Sequence[trio.abc.Listener[Any]], str]:
    """Listeners on `address`, and what a client can dial. Raises NotAvailable where it is taken or not ours."""
    try:
        return await outside.listen(address)
    except OSError as problem:
        raise NotAvailable(f"cannot listen on {address}: {problem.strerror or problem}") from problem


def _name(stream: trio.abc.Stream) -> str:
    if not isinstance(stream, trio.SocketStream):
        return str(stream)
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "?"
    return f"{host}:{port}"


def _first(problem: BaseException) -> str:
    """The words of the first real error within however many groups."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem) or type(problem).__name__
