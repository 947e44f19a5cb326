"""The links between zones: each zone dials every other, sends on the connection it dialled, and listens on those
dialled to it.

A connection that the kernel closes is news for the log's core at once (`PeerLost`): that is how a killed leader is
noticed in a millisecond. A connection that is merely silent is not; that is what heartbeats are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import trio

from replica.config import ZoneConfig, ZonePeer
from replica.errors import HandshakeRefused, NotAvailable, RemoteProtocolError
from replica.raft.messages import Message
from replica.runtime.connection import Connection, run_both
from replica.runtime.dial import dial
from replica.wire import FROM_ZONE, Identity, Peer, RaftMessages, decode, encode, share_frames
from replica.wire.feed import Forward, ForwardHint, LeaderClock, parcels


class Receiver(Protocol):
    """Who hears what comes over the links."""

    number: int

    def deliver_raft(self, messages: Sequence[Message]) -> None: ...
    def submit(self, encoded: Sequence[bytes]) -> None: ...
    def found(self, peer: int) -> None: ...
    def lost(self, peer: int) -> None: ...
    def beat(self) -> None: ...


class Links:
    """Where messages to other zones go out, and what comes in from them goes on to the node."""

    def __init__(self, config: ZoneConfig, me: Identity, node: Receiver, log: Any) -> None:
        self._config = config
        self._me = me
        self._node = node
        self._log = log
        self._out: dict[int, Connection] = {}
        self.leader_ms = 0
        """The leader's wall clock, as it last told it. Not extrapolated: a zone that hears no leader has nothing
        new."""
        self.zones = {peer.name: peer.number for peer in config.zones}

    def post(self, messages: Sequence[Message]) -> None:
        """Send messages of the log, those to one zone in as few frames as possible. What cannot leave is lost."""
        if not messages:
            return
        by_peer: dict[int, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for peer, its in by_peer.items():
            connection = self._out.get(peer)
            if connection is not None:
                for shared in share_frames(its):
                    connection.post(encode(shared))

    def forward(self, leader: int, operations: Sequence[bytes]) -> None:
        """Pass operations on to the leading zone. Lost with the connection; their site sends them again."""
        connection = self._out.get(leader)
        if connection is not None:
            for parcel in parcels(operations):
                connection.post(encode(Forward(parcel, self._config.zone.name)))

    def tell_time(self, term: int, wall_ms: int) -> None:
        """The leader's wall clock to every other zone, whose feeds pass it on."""
        for connection in self._out.values():
            connection.post(encode(LeaderClock(term, wall_ms)))

    @property
    def connected(self) -> list[int]:
        """The zones that messages can leave for just now."""
        return sorted(self._out)

    async def run(self) -> None:
        """Keep a connection to every other zone, for ever."""
        async with trio.open_nursery() as nursery:
            for peer in self._config.zones:
                if peer.number != self._config.zone.number:
                    nursery.start_soon(self._keep, peer)
            await trio.sleep_forever()

    async def _keep(self, peer: ZonePeer) -> None:
        timing = self._config.timing
        wait_ms = timing.reconnect_first_ms
        while True:
            try:
                connection, _ = await dial(
                    self._me, peer.address, zones=self.zones, expect=peer.name, within_ms=timing.handshake_ms
                )
            except NotAvailable:
                pass
            except RemoteProtocolError as problem:
                self._log.warning("zone-refused", peer=peer.name, reason=str(problem))
            else:
                wait_ms = timing.reconnect_first_ms
                await self._hold(peer, connection)
            await trio.sleep(wait_ms / 1000)
            wait_ms = min(wait_ms * 2, timing.reconnect_most_ms)

    async def _hold(self, peer: ZonePeer, connection: Connection) -> None:
        self._out[peer.number] = connection
        self._log.info("zone-linked", peer=peer.name)
        self._node.found(peer.number)
        try:
            await run_both(connection, lambda: _until_closed(connection))
        except RemoteProtocolError as problem:
            self._log.warning("zone-broke-protocol", peer=peer.name, problem=str(problem))
        finally:
            del self._out[peer.number]
            self._log.info("zone-lost", peer=peer.name)
            self._node.lost(peer.number)

    async def serve(self, connection: Connection, peer: Peer) -> None:
        """Listen to a zone that dialled us, until its connection ends."""
        try:
            while frames := await connection.receive():
                for payload in frames:
                    self._take(payload, peer)
        finally:
            self._node.lost(peer.raft)

    def _take(self, payload: bytes, peer: Peer) -> None:
        message = decode(payload, FROM_ZONE)
        match message:
            case RaftMessages():
                message.check_route(peer.raft, self._node.number)
                self._node.deliver_raft(message.messages())
            case Forward():
                self._node.submit(message.operations)
            case LeaderClock():
                self.leader_ms = message.wall_ms
                self._node.beat()
            case ForwardHint():
                # A hint: the site sends again by itself when nothing comes of it.
                return


async def _until_closed(connection: Connection) -> None:
    """A zone says nothing on a connection it was dialled on: the end of it is all there is to hear."""
    while await connection.receive():
        raise HandshakeRefused("a zone spoke on a connection that is ours to speak on")
