"""The sites that follow one zone: each is fed, its operations and questions are taken, and who is heard is told.

Leaves out: what they are fed (feed.py), and what becomes of an operation (ingress.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio

from replica.cases.operations import OperationId
from replica.errors import RemoteProtocolError
from replica.raft import events as raft_events
from replica.raft.ready import ReadConfirmed as Confirmed
from replica.raft.ready import Refused
from replica.runtime.bell import now_ms
from replica.runtime.connection import Connection
from replica.runtime.feed import Feed
from replica.runtime.inbox import Inbox
from replica.runtime.presence import LEVEL as PRESENCE_LEVEL
from replica.runtime.presence import Presence
from replica.runtime.requests import Answered, Requests, error_of
from replica.wire import FROM_SITE, Peer, decode, encode
from replica.wire.feed import Behind, ConfirmRead, Follow, Here, Hint, ReadConfirmed, Submit, Zones
from replica.wire.snapshot import FromReceiver

GOODBYE = Behind("this zone was removed from the cluster")


class Receiver(Protocol):
    """The zone, as its sites see it."""

    def submit(self, encoded: Sequence[bytes], hint: Callable[[OperationId, str], None] | None) -> None:
        """Operations of a site. Raises RemoteProtocolError for bytes that are no operation."""


class SitesHere:
    """Who follows this zone now. `zones`: all zones there are, as a site is told; `removed`: whether this one is not
    among them any more."""

    def __init__(
        self,
        receiver: Receiver,
        feed: Feed,
        requests: Requests,
        zones: Callable[[], Zones],
        removed: Callable[[], bool],
        silent_ms: int,
        log: Any,
    ) -> None:
        self._receiver = receiver
        self._feed = feed
        self._requests = requests
        self._zones = zones
        self._removed = removed
        self._log = log
        self._connections: set[Connection] = set()
        self.presence = Presence(silent_ms)

    async def serve(self, connection: Connection, peer: Peer) -> None:
        """Feed a site, and take its operations, until its connection ends."""
        frames = await connection.receive()
        if not frames:
            return
        follow = decode(frames[0], FROM_SITE)
        if not isinstance(follow, Follow):
            raise RemoteProtocolError("a site says first where it stands")
        if self._removed():
            connection.post(encode(GOODBYE))
            with trio.move_on_after(1):
                await connection.until_below(0)
            return
        self._log.info("site-follows", site=peer.node_id, index=follow.index)
        connection.post(encode(self._zones()))
        self._connections.add(connection)
        self.presence.came(connection, peer.node_id, now_ms(), peer.levels[1] >= PRESENCE_LEVEL)
        inbox = Inbox[FromReceiver]()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed.serve, connection, follow, inbox)
                self._take(frames[1:], connection, inbox)
                while frames := await connection.receive():
                    self._take(frames, connection, inbox)
                nursery.cancel_scope.cancel()
        finally:
            self._connections.discard(connection)
            self.presence.went(connection)

    def tell(self, message: Zones | Behind) -> None:
        """The same to all of them."""
        told = encode(message)
        for connection in self._connections:
            connection.post(told)

    def _take(self, frames: Sequence[bytes], connection: Connection, inbox: Inbox[FromReceiver]) -> None:
        self.presence.spoke(connection, now_ms())
        for payload in frames:
            message = decode(payload, FROM_SITE)
            match message:
                case Submit():
                    self._receiver.submit(
                        message.operations, lambda name, why: connection.post(encode(Hint(name, why)))
                    )
                case ConfirmRead():
                    self._confirm_for(connection, message.number)
                case Follow():
                    raise RemoteProtocolError("a site says only once where it stands")
                case Here():
                    pass  # that it speaks is all it says
                case _:
                    inbox.put(message)

    def _confirm_for(self, connection: Connection, number: int) -> None:
        def done(answer: Answered) -> None:
            match answer:
                case Confirmed(index=index):
                    connection.post(encode(ReadConfirmed(number, index)))
                case Refused():
                    error = error_of(answer)
                    retry_ms = getattr(error, "retry_after_ms", 0)
                    connection.post(encode(ReadConfirmed(number, 0, str(error), retry_ms)))

        self._requests.put(lambda token: raft_events.ReadRequested(now_ms(), token), done)
