"""The links between zones: each zone dials every other, sends on the connection it dialled, and listens on those
dialled to it.

A connection that the kernel closes is news for the log's core at once (`PeerLost`): that is how a killed leader is
noticed in a millisecond. A connection that is merely silent is not; that is what heartbeats are for.

Who the others are changes while this runs (`follow`): new ones are dialled and let in, those that are gone are not.

What waits for one zone is bounded (`limits.link_bytes`). A message of the log that would wait behind more than that is
not sent, as if it had been lost: the log's protocol says it again, and a slow zone costs no more memory than a fast one
and is not cut off for being slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import trio

from replica.config import ZoneConfig, ZonePeer
from replica.errors import HandshakeRefused, NotAvailable, RemoteProtocolError, ReplicaError
from replica.raft.events import Event, PeerWaits
from replica.raft.messages import Message
from replica.runtime.bell import now_ms
from replica.runtime.client import open_client
from replica.runtime.connection import Connection, run_both
from replica.runtime.dial import dial
from replica.runtime.outside import REAL, Outside
from replica.runtime.snapshots import SnapshotMessage
from replica.wire import FROM_ZONE, Identity, Peer, RaftMessages, decode, encode, share_frames
from replica.wire.feed import (
    Forward,
    ForwardHint,
    LeaderClock,
    LearnerDigest,
    SitesHeard,
    StateBegin,
    StateChunk,
    StateEnd,
    ZoneAt,
    parcels,
)
from replica.wire.handshake import NOT_A_MEMBER
from replica.wire.snapshot import (
    SnapshotChunk,
    SnapshotDone,
    SnapshotOffer,
    SnapshotWant,
    StateAsk,
    StateNeeded,
    StillHere,
)

PART_S = 1.0
"""How long the connections to a zone that is gone from the membership are kept."""


class Receiver(Protocol):
    """Who hears what comes over the links."""

    number: int

    def deliver_raft(self, messages: Sequence[Message]) -> None: ...
    def submit(self, encoded: Sequence[bytes]) -> None: ...
    def step(self, event: Event) -> None: ...
    def found(self, peer: int) -> None: ...
    def lost(self, peer: int) -> None: ...
    def take_snapshot(self, peer: int, message: SnapshotMessage) -> None: ...
    def beat(self) -> None: ...
    def compare(self, peer: int, index: int, digest: str) -> None: ...
    def hears(self, peer: int, sites: Sequence[str]) -> None: ...
    async def until_room(self) -> None: ...
    def acquaintance(self, peer: int) -> tuple[ZoneAt, ...]: ...


class _Link:
    """One other zone: its connection while there is one, and what became of the last attempt."""

    def __init__(self, peer: ZonePeer) -> None:
        self.peer = peer
        self.out: Connection | None = None
        self.scope = trio.CancelScope()
        self.call = trio.Event()
        """It has called us: it is there, whatever the last attempt found."""
        self.refused = ""
        self.dropped = 0


class Links:
    """Where messages to other zones go out, and what comes in from them goes on to the node."""

    def __init__(self, config: ZoneConfig, me: Identity, node: Receiver, log: Any, outside: Outside = REAL) -> None:
        self._config = config
        self._outside = outside
        self._me = me
        self._node = node
        self._log = log
        self._links: dict[int, _Link] = {}
        self._parting: dict[int, _Link] = {}
        self._in: dict[int, Connection] = {}
        self._nursery: trio.Nursery | None = None
        self.levels: dict[int, tuple[int, int]] = {}
        """The feature levels each zone can apply, as it said when it was last met."""
        self.leader_ms = self.leader_ms_term = self.leader_told_ms = 0
        """The leader's wall clock, as it last told it. Not extrapolated: a zone that hears no leader has nothing
        new."""
        self.zones = {config.zone.name: config.zone.number}
        """Whom this zone lets in, and as which number. The door goes by this very mapping."""
        self.follow(config.zones)

    def follow(self, peers: Iterable[ZonePeer]) -> None:
        """From now on these are the other zones."""
        wanted = {peer.number: peer for peer in peers if peer.number != self._config.zone.number}
        for number in [number for number, link in self._links.items() if wanted.get(number) != link.peer]:
            link = self._links.pop(number)
            del self.zones[link.peer.name]
            if self._nursery is None or number in wanted:
                link.scope.cancel()
            else:
                self._parting[number] = link
                self._nursery.start_soon(self._part, link, self._in.get(number))
        for number, peer in wanted.items():
            if number not in self._links:
                self._links[number] = link = _Link(peer)
                self.zones[peer.name] = number
                if self._nursery is not None:
                    self._nursery.start_soon(self._keep, link)

    async def _part(self, link: _Link, incoming: Connection | None) -> None:
        """Let what was said last arrive: that it is removed is news to a zone."""
        await trio.sleep(PART_S)
        link.scope.cancel()
        if self._parting.get(link.peer.number) is link:
            del self._parting[link.peer.number]
        if incoming is not None and link.peer.number not in self._links:
            incoming.give_up()

    def post(self, messages: Sequence[Message]) -> None:
        """Send messages of the log, those to one zone in as few frames as possible. What cannot leave is lost."""
        by_peer: dict[int, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for peer, its in by_peer.items():
            for shared in share_frames(its):
                self._post(peer, encode(shared))

    def forward(self, leader: int, operations: Sequence[bytes]) -> bool:
        """Pass operations on to the leading zone; whether there is a connection to it. Lost with that connection;
        their site sends them again."""
        link = self._links.get(leader)
        if link is None or link.out is None:
            return False
        for parcel in parcels(operations):
            self._post(leader, encode(Forward(parcel, self._config.zone.name)))
        return True

    def tell_time(self, term: int, wall_ms: int) -> None:
        """The leader's wall clock to every other zone, whose feeds pass it on."""
        for peer in self._links:
            self._post(peer, encode(LeaderClock(term, wall_ms)))

    def tell_digest(self, leader: int, index: int, digest: str) -> None:
        """A learner's state to the leading zone, which compares it with its own."""
        self._post(leader, encode(LearnerDigest(index, bytes.fromhex(digest))))

    def tell_sites(self, leader: int, sites: tuple[str, ...]) -> None:
        """Which sites follow this zone, to the leading one."""
        self._post(leader, encode(SitesHeard(sites)))

    def _post(self, peer: int, payload: bytes) -> None:
        link = self._links.get(peer) or self._parting.get(peer)
        if link is None or link.out is None:
            return
        if link.out.waiting_bytes and link.out.waiting_bytes + len(payload) > self._config.limits.link_bytes:
            link.dropped += 1
            return
        link.out.post_now(payload)

    def link(self, peer: int) -> Connection | None:
        """The connection to a zone, for what is too long for a message; None where there is none just now."""
        link = self._links.get(peer)
        return link.out if link is not None else None

    @property
    def connected(self) -> list[int]:
        """The zones that messages can leave for just now."""
        return sorted(number for number, link in self._links.items() if link.out is not None)

    @property
    def waiting_bytes(self) -> dict[str, int]:
        """By zone: what was posted and has not left yet."""
        return {link.peer.name: link.out.waiting_bytes if link.out else 0 for link in self._links.values()}

    @property
    def dropped(self) -> dict[str, int]:
        """By zone: messages that were not sent because too much was waiting."""
        return {link.peer.name: link.dropped for link in self._links.values()}

    @property
    def refusals(self) -> dict[str, str]:
        """By zone: why it will not have us."""
        return {link.peer.name: link.refused for link in self._links.values() if link.refused}

    async def until_sent(self) -> None:
        """Wait until all that was posted has left, or its connection is broken."""
        for link in list(self._links.values()):
            if link.out is not None:
                await link.out.until_below(0)

    async def run(self) -> None:
        """Keep a connection to every other zone, for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for link in self._links.values():
                nursery.start_soon(self._keep, link)
            await trio.sleep_forever()

    async def _keep(self, link: _Link) -> None:
        with link.scope:
            await self._dial_for_ever(link)

    async def _dial_for_ever(self, link: _Link) -> None:
        peer = link.peer
        timing = self._config.timing
        wait_ms = timing.reconnect_first_ms
        while True:
            try:
                connection, met = await dial(
                    self._me,
                    peer.address,
                    zones=self.zones,
                    expect=peer.name,
                    within_ms=timing.handshake_ms,
                    outside=self._outside,
                )
            except NotAvailable:
                pass
            except RemoteProtocolError as problem:
                if str(problem) != link.refused:
                    self._log.warning("zone-refused", peer=peer.name, reason=str(problem))
                link.refused = str(problem)
                if NOT_A_MEMBER in link.refused:
                    await self._introduce(peer)
            else:
                wait_ms, link.refused = timing.reconnect_first_ms, ""
                self.levels[peer.number] = met.levels
                await self._hold(link, connection)
            link.call = trio.Event()
            with trio.move_on_after(wait_ms / 1000):
                await link.call.wait()
            wait_ms = min(wait_ms * 2, timing.reconnect_most_ms)

    async def _introduce(self, peer: ZonePeer) -> None:
        """A zone of ours does not know us: it was away when we joined, and its log ends before that. Tell it which
        zones there are, by the door that is open to anybody: the next dial is let in, and then it can be told the
        rest."""
        zones = self._node.acquaintance(peer.number)
        if not zones:
            return
        try:
            async with open_client(
                peer.address,
                name=f"{self._config.zone.name}-introduces-itself",
                cluster=self._me.cluster_id,
                expect=peer.name,
                connect_ms=self._config.timing.handshake_ms,
                outside=self._outside,
            ) as client:
                await client.meet(zones)
        except ReplicaError as problem:
            self._log.info("zone-not-met", peer=peer.name, reason=str(problem))

    async def _hold(self, link: _Link, connection: Connection) -> None:
        peer, link.out = link.peer, connection
        self._log.info("zone-linked", peer=peer.name)
        self._node.found(peer.number)
        try:
            await run_both(connection, lambda: _until_closed(connection))
        except RemoteProtocolError as problem:
            self._log.warning("zone-broke-protocol", peer=peer.name, problem=str(problem))
        finally:
            link.out = None
            self._log.info("zone-lost", peer=peer.name)
            self._node.lost(peer.number)

    async def serve(self, connection: Connection, peer: Peer) -> None:
        """Listen to a zone that dialled us, until its connection ends."""
        self._in[peer.raft] = connection
        self.levels[peer.raft] = peer.levels
        link = self._links.get(peer.raft)
        if link is not None:
            link.call.set()
        try:
            while frames := await connection.receive():
                for payload in frames:
                    self._take(payload, peer)
                await self._node.until_room()
        finally:
            if self._in.get(peer.raft) is connection:
                del self._in[peer.raft]
            self._node.lost(peer.raft)

    def _take(self, payload: bytes, peer: Peer) -> None:
        message = decode(payload, FROM_ZONE)
        match message:
            case RaftMessages():
                message.check_route(peer.raft, self._node.number)
                self._node.deliver_raft(message.messages())
            case Forward():
                self._node.step(PeerWaits(now_ms(), peer.raft))
                self._node.submit(message.operations)
            case LeaderClock():
                self.leader_ms, self.leader_ms_term = message.wall_ms, message.term
                self.leader_told_ms = now_ms()
                self._node.beat()
            case LearnerDigest():
                self._node.compare(peer.raft, message.index, message.digest.hex())
            case SitesHeard():
                self._node.hears(peer.raft, message.sites)
            case (
                StateNeeded()
                | SnapshotOffer()
                | SnapshotChunk()
                | StateBegin()
                | StateChunk()
                | StateEnd()
                | StateAsk()
                | SnapshotWant()
                | SnapshotDone()
                | StillHere()
            ):
                self._node.take_snapshot(peer.raft, message)
            case ForwardHint():
                # A hint: the site sends again by itself when nothing comes of it.
                return


async def _until_closed(connection: Connection) -> None:
    """A zone says nothing on a connection it was dialled on: the end of it is all there is to hear."""
    while await connection.receive():
        raise HandshakeRefused("a zone spoke on a connection that is ours to speak on")
