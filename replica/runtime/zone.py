"""A zone node: the log's core, its disk, its peers, the state it applies and the feed it serves, in one trio task tree.

The loop is dull on purpose: drain the inbox, step each event, take one Ready; send, save, and when it is durable say
so. Any background task that ends takes the node with it, loudly: a node that looks alive and does nothing is worse
than a dead one.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import trio

from replica.cases import queries
from replica.cases.machine import apply
from replica.cases.operations import OperationId
from replica.cases.verdicts import Effects
from replica.config import ZoneConfig
from replica.errors import RemoteProtocolError
from replica.offline import events as site_events
from replica.offline.core import SiteCore
from replica.raft import events as raft_events
from replica.raft.core import Raft
from replica.raft.messages import Message
from replica.raft.ready import Ready, Standing
from replica.raft.types import NOBODY, Entry, EntryKind, Membership, RaftConfig, Role
from replica.runtime.bell import Bell, now_ms, wall_ms
from replica.runtime.connection import Connection
from replica.runtime.desk import Desk, ForgetfulJournal, desk_config
from replica.runtime.disk import Disk
from replica.runtime.feed import Feed
from replica.runtime.ingress import Ingress
from replica.runtime.links import Links
from replica.runtime.saving import Saving
from replica.runtime.service import Service
from replica.runtime.state import State
from replica.runtime.writeback import WriteBack
from replica.storage import Store
from replica.wire import FROM_SITE, Identity, Peer, decode, encode
from replica.wire.feed import Follow, Hint, Submit
from replica.wire.operation_codec import batch, decode_batch, decode_operation, encode_effects

FULL_RETRY_S = 0.5
FLUSH_RETRY_S = 0.01


class ZoneNode:
    """One voter. `run` serves until cancelled or until something in it fails."""

    def __init__(self, config: ZoneConfig, me: Identity, store: Store, disk: Disk, log: Any) -> None:
        self.config = config
        self.log = log
        self.number = config.zone.number
        self._disk = disk
        self._store = store
        self._bell = Bell()
        self._inbox: list[raft_events.Event] = []
        self._tokens = 0
        self.state = State(store.state)
        self._write_back = WriteBack(self.state, disk)
        self.ingress = Ingress(self.state, config.limits.waiting_operations)
        self.feed = Feed(self.state, config.limits.feed_ring_bytes, config.timing.feed_interval_ms, log)
        self.links = Links(config, me, self, log)
        self._saving = Saving(disk.write_log)
        self.raft = Raft(
            raft_config(config),
            store.log.hard_state(),
            store.log,
            self.state.index,
            random.Random(secrets.randbits(64)),
            now_ms(),
        )
        self.standing = Standing(self.raft.role, self.raft.leader, self.raft.term)
        self.storage_full = False
        self._save_again = Bell()
        self.elections = 0
        self.desk = self._open_desk()
        self.desk.step(site_events.LineUp(now_ms(), self.number))
        self.service = Service(self.desk, lambda: self.state, lambda: (self.state.index, self.state.term))

    def _open_desk(self) -> Desk:
        """The desk of this zone's own callers (docs/decisions/0004): a new life, with what the state knows of the
        last."""
        name = self.config.zone.name
        current = queries.current(self.state, name)
        latest = None
        if current is not None:
            latest = (current, queries.last_number(self.state, name, current))
        core = SiteCore(
            site=name,
            incarnation=secrets.token_bytes(16),
            base=self.state,
            applied=(self.state.index, self.state.term),
            journal=(),
            latest=latest,
            config=desk_config(self.config.timing, forgetful=True),
            now_ms=now_ms(),
            decided=lambda operation: None,
        )
        return Desk(
            core,
            ForgetfulJournal(),
            self.submit,
            lambda decisions: None,
            self.log,
            self.config.limits.waiting_operations,
            dormant=True,
        )

    # ------------------------------------------------------------------ what arrives

    def deliver_raft(self, messages: Sequence[Message]) -> None:
        """Messages of the log from a peer."""
        now = now_ms()
        self._inbox += [raft_events.Received(now, message) for message in messages if message.to == self.number]
        self._bell.ring()

    def submit(self, encoded: Sequence[bytes], hint: Callable[[OperationId, str], None] | None = None) -> None:
        """Operations from a site, from another zone or from our own desk: into the next entry, or on to the leader.

        Raises RemoteProtocolError for bytes that are no operation; none of them is taken then.
        """
        # Decoded at the door where they come in: one bad site must not break the link between two zones.
        operations = [decode_operation(one) for one in encoded]
        leader = self.raft.leader
        if leader == self.number:
            for operation, one in zip(operations, encoded, strict=True):
                why = self.ingress.offer(operation, one)
                if why is not None and hint is not None:
                    hint(operation.id, why)
            self._bell.ring()
        elif leader != NOBODY:
            self.links.forward(leader, encoded)

    async def serve_site(self, connection: Connection, peer: Peer) -> None:
        """Feed a site, and take its operations, until its connection ends."""
        frames = await connection.receive()
        if not frames:
            return
        follow = decode(frames[0], FROM_SITE)
        if not isinstance(follow, Follow):
            raise RemoteProtocolError("a site says first where it stands")
        self.log.info("site-follows", site=peer.node_id, index=follow.index)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.feed.serve, connection, follow)
            self._take(frames[1:], connection, peer)
            while frames := await connection.receive():
                self._take(frames, connection, peer)
            nursery.cancel_scope.cancel()

    def _take(self, frames: Sequence[bytes], connection: Connection, peer: Peer) -> None:
        for payload in frames:
            message = decode(payload, FROM_SITE)
            if not isinstance(message, Submit):
                raise RemoteProtocolError("a site says only once where it stands")
            self.submit(message.operations, lambda name, why: connection.post(encode(Hint(name, why))))

    def found(self, peer: int) -> None:
        self._inbox.append(raft_events.PeerFound(now_ms(), peer))
        self._bell.ring()

    def lost(self, peer: int) -> None:
        self._inbox.append(raft_events.PeerLost(now_ms(), peer))
        self._bell.ring()

    # ------------------------------------------------------------------ the loop

    async def turn_for_ever(self) -> None:
        """The loop of the log."""
        while True:
            await self._bell.wait_until(self.raft.deadline_ms)
            self._turn()

    def _turn(self) -> None:
        inbox, self._inbox = self._inbox, []
        for event in inbox:
            self.raft.step(event)
        now = now_ms()
        if now >= self.raft.deadline_ms:
            self.raft.step(raft_events.Tick(now))
        if self.raft.role is Role.LEADER:
            self._propose(now)
        while self.raft.has_ready():
            self._carry_out(self.raft.ready())
        self._saving.start(self._saved)

    def _propose(self, now: int) -> None:
        while taken := self.ingress.take():
            self._tokens += 1
            data = batch(wall_ms(), queries.feature_level(self.state), [one.encoded for one in taken])
            self.raft.step(raft_events.Propose(now, self._tokens, data))

    def _carry_out(self, ready: Ready) -> None:
        for note in ready.notes:
            self.log.info(note.what, **dict(note.facts))
        self.links.post(ready.send_now)
        self.links.post(self._saving.add(ready))
        for refused in ready.refused:
            self.ingress.new_term()
            self.log.warning("proposal-refused", reason=refused.reason.value)
        if ready.standing is not None:
            self._stand(ready.standing)
        for entry in ready.committed:
            self._apply(entry)
        if ready.committed or ready.standing is not None:
            self.beat()

    def _saved(self, problem: Exception | None) -> None:
        self.storage_full = problem is not None
        if problem is not None:
            self._save_again.ring()
            return
        number, messages = self._saving.finish()
        self.links.post(messages)
        self._inbox.append(raft_events.Persisted(now_ms(), number))
        self._bell.ring()

    async def save_again_for_ever(self) -> None:
        """While the disk is full: try the same save again every so often. Nothing is acknowledged meanwhile."""
        while True:
            await self._save_again.wait()
            await trio.sleep(FULL_RETRY_S)
            self._saving.again(self._saved)

    def _stand(self, standing: Standing) -> None:
        if standing.term != self.standing.term or standing.leader != self.standing.leader:
            self.ingress.new_term()
        if standing.leader != NOBODY and standing.leader != self.standing.leader:
            self.elections += 1
        self.standing = standing
        self.tell_time()
        self.log.info("standing", role=standing.role.value, leader=standing.leader, term=standing.term)

    # ------------------------------------------------------------------ applying

    def _apply(self, entry: Entry) -> None:
        effects = Effects(entry.index, entry.term, 0, (), ())
        if entry.kind is EntryKind.DATA:
            effects = apply(self.state, decode_batch(entry.data), entry.index, entry.term)
        self.state.advance(effects.changes, entry.index, entry.term)
        self.feed.add(effects, encode_effects(effects))
        self.desk.step(site_events.Arrived(now_ms(), effects))
        self.service.arrived(effects)

    def beat(self) -> None:
        """Tell sites and our own desk what the quorum has confirmed, or that nobody leads."""
        leader_ms = wall_ms() if self.leads else self.links.leader_ms
        self.feed.beat(self.standing.term, self.raft.commit_index, leader_ms, self.standing.leader)
        if self.standing.leader != NOBODY:
            self.desk.step(site_events.Heard(now_ms(), self.standing.term, self.raft.commit_index, leader_ms))

    @property
    def leads(self) -> bool:
        return self.raft.role is Role.LEADER

    async def beat_for_ever(self) -> None:
        """The feed's heartbeat, and the leader's clock to the other zones."""
        while True:
            await trio.sleep(self.config.timing.feed_interval_ms / 1000)
            self.tell_time()
            self.beat()

    def tell_time(self) -> None:
        """The leader's clock to the other zones, whose sites go by it too."""
        if self.leads:
            self.links.tell_time(self.standing.term, wall_ms())

    async def flush_for_ever(self) -> None:
        """Write the applied state back, every so often, off the hot path."""
        while True:
            await trio.sleep(self.config.timing.flush_interval_ms / 1000 if self._may_flush else FLUSH_RETRY_S)
            await self.flush()

    @property
    def _may_flush(self) -> bool:
        # Flushed index <= durable log index, always: a leader may commit, by the others' disks, what its own has not
        # synced, and a state that is ahead of its own log could not be built upon after a crash. And a site that is
        # just reading the state whole must find one moment of it.
        return self.raft.stable_index >= self.state.index and not self.feed.transfers

    async def flush_at_the_end(self) -> None:
        """Answer who still waits, and write back all that was applied: a stopped store then shows it."""
        self.desk.close()
        await self._write_back.finish()
        await self.flush()

    async def flush(self) -> None:
        """Write back what is dirty, if it may be."""
        if self._may_flush:
            await self._write_back.run()
            self.desk.step(site_events.Flushed(now_ms(), self.state.flushed_index))


def raft_config(config: ZoneConfig) -> RaftConfig:
    """The core's configuration out of the file's."""
    return RaftConfig(
        node=config.zone.number,
        membership=Membership(frozenset(peer.number for peer in config.zones)),
        election_timeout_ms=config.timing.election_timeout_ms,
        heartbeat_interval_ms=config.timing.heartbeat_interval_ms,
        priority={peer.number: peer.priority for peer in config.zones},
        max_apply_bytes=512 << 10,
    )
