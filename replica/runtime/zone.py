"""A zone node: the log's core, its disk, its peers, the state it applies and the feed it serves, in one trio task tree.

The loop is dull on purpose: drain the inbox, step each event, take one Ready; send, save, and when it is durable say
so. Any background task that ends takes the node with it, loudly: a node that looks alive and does nothing is worse
than a dead one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import trio

from replica.cases import queries
from replica.cases.commands import Payload, RaiseLevel
from replica.cases.levels import check_known, spoken_by_all
from replica.cases.machine import apply
from replica.cases.operations import OperationId
from replica.cases.verdicts import Effects
from replica.config import ZoneConfig
from replica.errors import NotAvailable
from replica.offline import events as site_events
from replica.offline.core import SiteCore
from replica.raft import events as raft_events
from replica.raft.core import Raft
from replica.raft.messages import Message
from replica.raft.ready import Install, Ready, Refusal, Refused, Standing, Transferred
from replica.raft.ready import ReadConfirmed as Confirmed
from replica.raft.types import NOBODY, Entry, EntryKind, Membership, RaftConfig, Role
from replica.runtime.bell import Bell, now_ms, wall_ms
from replica.runtime.belonging import Belonging
from replica.runtime.charges import check_spoken, end_for_ever
from replica.runtime.compaction import Compaction
from replica.runtime.desk import Desk, ForgetfulJournal, desk_config
from replica.runtime.disk import Disk
from replica.runtime.feed import STALE_BEATS, Feed
from replica.runtime.ingress import Ingress, Waiting
from replica.runtime.learning import Digests
from replica.runtime.links import Links
from replica.runtime.outside import REAL, Outside
from replica.runtime.presence import LEVEL as PRESENCE_LEVEL
from replica.runtime.requests import Answered, Requests, error_of
from replica.runtime.saving import Saving
from replica.runtime.service import Service
from replica.runtime.sites_here import GOODBYE, SitesHere
from replica.runtime.snapshots import SnapshotMessage, Snapshots
from replica.runtime.state import State
from replica.runtime.writeback import WriteBack
from replica.storage import LogStore, Store
from replica.wire import Identity
from replica.wire.feed import ZoneAt
from replica.wire.limits import MAX_SITES
from replica.wire.operation_codec import batch, decode_batch, decode_operation, encode_effects

FULL_RETRY_S = 0.5
FLUSH_RETRY_S = 0.01
FOREVER_MS = 1 << 62
LEAST_STALL_MS = 300
"""A save that takes so long is no rare one on a busy disk."""
COMMIT_NOTICE_MS = 3
"""A zone at which nobody is known to wait hears of a commit with the next entry, or so much later."""


class ZoneNode:
    """One voter. `run` serves until cancelled or until something in it fails."""

    def __init__(
        self, config: ZoneConfig, me: Identity, store: Store, disk: Disk, log: Any, outside: Outside = REAL
    ) -> None:
        self.config = config
        self._me = me
        self._outside = outside
        self.log = log
        self.number = config.zone.number
        self._disk = disk
        self._store = store
        self._bell = Bell()
        self._inbox: list[raft_events.Event] = []
        self._room = trio.lowlevel.ParkingLot()
        self.requests = Requests(self.step)
        self.state = State(store.state)
        check_known(queries.feature_level(self.state), "the state in this store")
        self._write_back = WriteBack(self.state, disk)
        self.ingress = Ingress(self.state, config.limits.waiting_operations)
        self.feed = Feed(self.state, config.limits.feed_ring_bytes, config.timing.feed_interval_ms, log)
        self.links = Links(config, me, self, log, outside)
        self._saving = Saving(disk.write_log, lambda token: self.snapshots.prepared_as(token))
        self._after_install: list[Entry] = []
        """Committed, and to be applied to the state that is being put in place."""
        self.raft = Raft(
            raft_config(config),
            store.log.hard_state(),
            store.log,
            self.state.index,
            random.Random(int.from_bytes(outside.random_bytes(8), "big")),
            now_ms(),
        )
        self.snapshots = Snapshots(
            self.raft,
            self.state,
            store,
            outside,
            config.limits,
            log,
            link=self.links.link,
            step=self.step,
            written_back=self._write_back.finish,
        )
        self.feed.shipper = self.snapshots.shipper
        self.compaction = Compaction(self.raft, store.log, disk.write_log, config.limits.log_keep_mib << 20)
        self.standing = Standing(self.raft.role, self.raft.leader, self.raft.term)
        self._log_full = False
        """The disk was full when the log's last save was tried."""
        self._holds_back = False
        """Too much is applied and not written back for anything new: said once in the log."""
        self._proposed: dict[int, list[Waiting]] = {}
        self._full_at = -1
        """The commit index at which the log took no more; it does once more is committed."""
        self._take_at_ms = FOREVER_MS
        """When a backlog that rests goes on."""
        self._leads_from = 0
        """A leader's first entry: once it is applied, the state tells what is on its way already."""
        self._stalled_ms = 0
        self._turned_ms = now_ms()
        self._unload_again_ms = 0
        self._stood = trio.Event()
        self.belonging = Belonging(
            config,
            me.levels[1],
            self.raft,
            self.links,
            level=lambda: queries.feature_level(self.state),
            changed=lambda: self.sites.tell(self.belonging.zones()),
            log=log,
        )
        self.sites = SitesHere(
            self,
            self.feed,
            self.requests,
            zones=self.belonging.zones,
            removed=lambda: self.belonging.removed,
            silent_ms=config.timing.cut_off_after_ms,
            log=log,
        )
        self.digests = Digests(self.state.index, queries.digest(self.state))
        self.graceful = True
        """Whether leadership is handed over before this node's tasks end. A test of a crash says no."""
        self._save_again = Bell()
        self.elections = 0
        self.desk = self._open_desk()
        self.desk.step(site_events.LineUp(now_ms(), self.number))
        self.service = Service(
            self.desk,
            lambda: self.state,
            lambda: (self.state.index, self.state.term),
            self.confirm_read,
            self._check,
            remembered=self.state.remembered,
        )
        self.belonging.look()

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
            incarnation=self._outside.random_bytes(16),
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

    async def until_room(self) -> None:
        """Wait until the loop has looked at what came: a zone that says more than that is not read meanwhile."""
        while len(self._inbox) >= self.config.limits.inbox_messages:
            await self._room.park()

    def step(self, event: raft_events.Event) -> None:
        """An event for the log's core, with the loop's next turn."""
        self._inbox.append(event)
        self._bell.ring()

    def submit(self, encoded: Sequence[bytes], hint: Callable[[OperationId, str], None] | None = None) -> None:
        """Operations from a site, from another zone or from our own desk: into the next entry, or on to the leader.

        Raises RemoteProtocolError for bytes that are no operation; none of them is taken then.
        """
        # Decoded at the door where they come in: one bad site must not break the link between two zones.
        arrived = [Waiting(decode_operation(one), one, hint) for one in encoded]
        if self.leads and self._may_judge:
            self._offer(arrived)
            self._bell.ring()
        elif self.leads or not self._forward(encoded):
            for waiting in arrived:
                _tell(waiting, self.ingress.hold(waiting))

    def _offer(self, arrived: Sequence[Waiting]) -> None:
        now, wall = now_ms(), wall_ms()
        for waiting in arrived:
            _tell(waiting, self.ingress.offer(waiting, now, wall))

    def _forward(self, encoded: Sequence[bytes]) -> bool:
        """Pass operations on towards the leader; whether there was anybody to pass them to."""
        leader = self.raft.leader
        if leader == NOBODY and self.belonging.removed:
            # Nobody tells a removed zone who leads; any of the others knows.
            leader = next(iter(self.links.connected), NOBODY)
        return leader not in (NOBODY, self.number) and self.links.forward(leader, encoded)

    def _release(self) -> None:
        """What was held goes where it can: into the log, or on to who leads."""
        if self.leads and self._may_judge:
            self._offer(self.ingress.release())
        elif not self.leads and len(self.ingress) and self._forward([]):
            self._forward([waiting.encoded for waiting in self.ingress.release()])

    @property
    def _may_judge(self) -> bool:
        return self.state.index >= self._leads_from

    async def confirm_read(self) -> int:
        """From which index on a read asked now may be answered. Raises NotAvailable, Overloaded: surely not read."""
        answer = await self.requests.ask(lambda token: raft_events.ReadRequested(now_ms(), token))
        if isinstance(answer, Refused):
            raise error_of(answer)
        assert isinstance(answer, Confirmed), f"a read was answered with {answer}"
        return answer.index

    def compare(self, peer: int, index: int, digest: str) -> None:
        """A learner has told its digest."""
        same = self.digests.same(index, digest)
        if self.leads and same is not None and not self.belonging.unfit(peer):
            self.step(raft_events.LearnerCompared(now_ms(), peer, index, same))

    def hears(self, peer: int, sites: Sequence[str]) -> None:
        """Another zone has told which sites follow it."""
        self.sites.presence.told(peer, sites)

    def _tell_sites(self) -> None:
        leader = self.standing.leader
        if leader not in (NOBODY, self.number) and queries.feature_level(self.state) >= PRESENCE_LEVEL:
            self.links.tell_sites(leader, self.sites.presence.here(now_ms())[:MAX_SITES])

    async def end_take_overs(self) -> None:
        """See charges.py."""
        await end_for_ever(self.service, self.state, lambda: self.leads, self.log)

    def found(self, peer: int) -> None:
        """There is a link to a zone, and it has said what it can apply."""
        if unfit := self.belonging.unfit(peer):
            self.log.warning("zone-unfit", peer=self.belonging.name(peer), reason=unfit)
        self._inbox.append(raft_events.PeerFound(now_ms(), peer))
        self._bell.ring()

    def take_snapshot(self, peer: int, message: SnapshotMessage) -> None:
        """What another zone says about a state on its way."""
        self.snapshots.take(peer, message)

    def lost(self, peer: int) -> None:
        self.snapshots.lost(peer)
        self.sites.presence.lost(peer)
        self._inbox.append(raft_events.PeerLost(now_ms(), peer))
        self._bell.ring()

    # ------------------------------------------------------------------ the loop

    async def turn_for_ever(self) -> None:
        """The loop of the log."""
        await self._bell.turn_for_ever(lambda: min(self.raft.deadline_ms, self._take_at_ms), self._turn)

    def _turn(self) -> None:
        now = now_ms()
        self._watch_disk(now)
        self._unload(now)
        inbox, self._inbox = self._inbox, []
        if self._room:
            self._room.unpark_all()
        for event in inbox:
            self.raft.step(event)
        now = now_ms()
        if now >= self.raft.deadline_ms:
            self.raft.step(raft_events.Tick(now))
        self._take_at_ms = FOREVER_MS
        if len(self.ingress):
            self._release()
            if self.leads:
                self._propose(now)
                self._take_at_ms = self.ingress.deadline_ms(now) or FOREVER_MS
        while self.raft.has_ready():
            self._carry_out(self.raft.ready())
        self._save()

    def _save(self) -> None:
        if self._saving.start(self._saved, may_install=not self._write_back.busy):
            self._stalled_ms = 0

    def _watch_disk(self, now: int) -> None:
        """How long a save has been under way, of the time in which this loop was there to hear that it is done: a loop
        that is late itself must not blame the disk (C17)."""
        if self._saving.busy:
            self._stalled_ms += min(now - self._turned_ms, self.config.timing.heartbeat_interval_ms)
        self._turned_ms = now

    def _propose(self, now: int) -> None:
        if self.raft.transferring or self.raft.commit_index <= self._full_at:
            return  # what waits is for the next leader, or for when more is committed
        if self._must_hold_back():
            return  # or for when the state is written back
        while taken := self.ingress.take(now):
            token = self.requests.token()
            self._proposed[token] = taken
            level = queries.feature_level(self.state)
            heard = self.sites.presence.heard([one.operation for one in taken], now)
            data = batch(wall_ms(), level, [one.encoded for one in taken], spoken_by_all(self.belonging.spoken), heard)
            self.raft.step(raft_events.Propose(now, token, data))

    def _must_hold_back(self) -> bool:
        """Whether as much is applied and not written back as may be: memory has an end, and a start would have to
        apply it all again. Only new proposals wait for it; the log, reads and heartbeats do not."""
        holds_back = self._is_heavy
        if holds_back != self._holds_back:
            self._holds_back = holds_back
            say = self.log.warning if holds_back else self.log.info
            say("proposals-wait" if holds_back else "proposals-go-on", dirty_bytes=self.unwritten_bytes)
        return holds_back

    @property
    def _is_heavy(self) -> bool:
        return self.unwritten_bytes >= self.config.limits.dirty_mib << 20

    @property
    def unwritten_bytes(self) -> int:
        """Of the records applied and not written back."""
        return self._write_back.unwritten_bytes

    @property
    def storage_full(self) -> bool:
        """Whether the disk has refused what this zone has to write, of the log or of the state, and nothing since."""
        return self._log_full or self._write_back.refused

    def _settle(self, ready: Ready) -> None:
        """What became of proposals and requests."""
        for accepted in ready.accepted:
            self._proposed.pop(accepted.token, None)
        for refused in reversed(ready.refused):
            taken = self._proposed.pop(refused.token, None)
            if taken is not None:
                self.ingress.put_back(taken)
                if refused.reason is Refusal.OVERLOADED:
                    self._full_at = self.raft.commit_index
                self.log.warning("proposal-refused", reason=refused.reason.value)
        self.requests.take(ready)

    def _unload(self, now: int) -> None:
        """A leader whose disk is full or does not answer hands over to one whose disk does (D4, D7)."""
        if not self.leads or self.raft.transferring or now < self._unload_again_ms:
            return
        stall_ms = self.config.timing.disk_stall_ms or max(LEAST_STALL_MS, self.config.timing.election_timeout_ms)
        # A state that cannot be written back is nothing to the log, until it is too much for anything new.
        full = self._log_full or (self._is_heavy and self._write_back.refused)
        if not full and self._stalled_ms <= stall_ms:
            return
        self._unload_again_ms = now + self.raft.election_timeout_ms
        self.log.warning("leader-disk", full=full, stalled_ms=self._stalled_ms)
        self.requests.put(lambda token: raft_events.TransferRequested(now, token), self._unloaded)

    def _unloaded(self, answer: Answered) -> None:
        if isinstance(answer, Refused):
            self.log.warning("hand-over-refused", reason=str(error_of(answer)))

    def _carry_out(self, ready: Ready) -> None:
        for note in ready.notes:
            self.log.info(note.what, **dict(note.facts))
        self._post(ready.send_now)
        self._post(self._saving.add(ready))
        self._save()  # before anything is applied: somebody waits for the disk
        self._settle(ready)
        self.snapshots.take_ready(ready)
        if ready.membership is not None:
            self.belonging.look()
        if ready.standing is not None:
            self._stand(ready.standing)
        if self._saving.install_waits:
            self._after_install += ready.committed
        else:
            for entry in ready.committed:
                self._apply(entry)
        if ready.committed or ready.standing is not None:
            self.beat()

    def _post(self, messages: Sequence[Message]) -> None:
        """Messages of the log to other zones; to a learner of an older release none, as if there were no link: it
        waits, whole, to be upgraded. (A voter cannot be of one: the level was not raised before all could apply it.)"""
        if not messages:
            return
        unfit = {number for number in self.raft.membership.learners if self.belonging.unfit(number)}
        self.links.post([message for message in messages if message.to not in unfit] if unfit else messages)

    def _saved(self, problem: Exception | None) -> None:
        self._log_full = problem is not None
        self._stalled_ms = 0
        if problem is not None:
            self._save_again.ring()
            return
        number, messages = self._saving.finish()
        if self._saving.installed is not None:
            self._replace(self._saving.installed)
        self._post(messages)
        persisted = raft_events.Persisted(now_ms(), number)
        if self.raft.role is Role.FOLLOWER:
            self.raft.step(persisted)  # nothing follows from it at once
        else:
            self._inbox.append(persisted)
        if self._inbox or self._saving.waits or self._saving.installed is not None or self.raft.has_ready():
            self._bell.ring()

    def _replace(self, install: Install) -> None:
        """The snapshot is the state now, durably: everything built on the old one begins anew."""
        self.state.replaced(install.index, install.term)
        check_known(queries.feature_level(self.state), "the state that was installed")
        self.digests.note(install.index, queries.digest(self.state))
        self.feed.replaced()
        self.desk.step(site_events.Replaced(now_ms(), install.index, install.term))
        self.service.replaced()
        self.snapshots.installed(install.token)
        self.log.info("state-replaced", index=install.index)
        entries, self._after_install = self._after_install, []
        for entry in entries:
            self._apply(entry)

    async def save_again_for_ever(self) -> None:
        """While the disk is full: try the same save again every so often. Nothing is acknowledged meanwhile."""
        while True:
            await self._save_again.wait()
            await trio.sleep(FULL_RETRY_S)
            self._saving.again(self._saved)

    def _stand(self, standing: Standing) -> None:
        if standing.term != self.standing.term or standing.leader != self.standing.leader:
            self.ingress.new_term()
            self._full_at = -1
            self._leads_from = self.raft.last_index if standing.role is Role.LEADER else 0
        if standing.leader != NOBODY and standing.leader != self.standing.leader:
            self.elections += 1
        self.standing = standing
        self._stood.set()
        self._stood = trio.Event()
        self.belonging.look()
        self._bell.ring()
        self.tell_time()
        self.log.info("standing", role=standing.role.value, leader=standing.leader, term=standing.term)

    # ------------------------------------------------------------------ applying

    def _apply(self, entry: Entry) -> None:
        effects = Effects(entry.index, entry.term, 0, (), ())
        if entry.kind is EntryKind.DATA:
            decoded = decode_batch(entry.data)
            effects = apply(self.state, decoded, entry.index, entry.term)
            self.ingress.applied(decoded.operations, now_ms())
        self.state.advance(effects.changes, entry.index, entry.term)
        self.digests.note(entry.index, queries.digest(self.state))
        if entry.index == self._leads_from:
            self._bell.ring()
        self.feed.add(effects, encode_effects(effects))
        self.desk.step(site_events.Arrived(now_ms(), effects))
        self.service.arrived(effects)

    def beat(self) -> None:
        """Tell sites and our own desk what the quorum has confirmed, or that nobody leads."""
        leader_ms = wall_ms() if self.leads else self.links.leader_ms
        if self.standing.leader != NOBODY and not self.leads and not self._knows_the_time:
            return
        self.feed.beat(self.standing.term, self.raft.commit_index, leader_ms, self.standing.leader)
        if self.standing.leader != NOBODY:
            self.desk.step(site_events.Heard(now_ms(), self.standing.term, self.raft.commit_index, leader_ms))

    @property
    def _knows_the_time(self) -> bool:
        """Whether the present leader has told its clock, and lately. Else what it said is as old as the time without a
        leader, or as the cut between them, and a site would take it for the zones' time."""
        age_ms, most_ms = now_ms() - self.links.leader_told_ms, STALE_BEATS * self.config.timing.feed_interval_ms
        return self.links.leader_ms_term == self.standing.term and age_ms <= most_ms

    @property
    def stored_log(self) -> LogStore:
        """The log on disk, for who wants to know what is kept of it."""
        return self._store.log

    @property
    def leads(self) -> bool:
        return self.raft.role is Role.LEADER

    async def beat_for_ever(self) -> None:
        """The feed's heartbeat, and the leader's clock to the other zones."""
        while True:
            await trio.sleep(self.config.timing.feed_interval_ms / 1000)
            self.tell_time()
            self.belonging.look()
            self._leave_if_removed()
            if self.number in self.raft.membership.learners and self.standing.leader != NOBODY:
                self.links.tell_digest(self.standing.leader, self.state.index, self.digests.latest)
            self._tell_sites()
            if len(self.ingress):
                self._bell.ring()
            self.beat()

    def tell_time(self) -> None:
        """The leader's clock to the other zones, whose sites go by it too."""
        if self.leads:
            self.links.tell_time(self.standing.term, wall_ms())

    # ------------------------------------------------------------------ who belongs to the cluster

    def _leave_if_removed(self) -> None:
        """Once this zone's removal is committed it has nothing to say any more."""
        if self.belonging.leaves():
            self._release()
            self.log.warning("removed", zone=self.config.zone.name)
            self.sites.tell(GOODBYE)

    def acquaintance(self, peer: int) -> tuple[ZoneAt, ...]:
        """What a zone that will not have this one is told: see `Belonging.acquaintance`."""
        return self.belonging.acquaintance(peer)

    @property
    def is_out(self) -> bool:
        """Whether this zone was removed: see `Belonging.is_out`."""
        return self.belonging.is_out(self.standing.leader)

    def _check(self, payload: Payload) -> None:
        """What this zone will not even hand in. Raises NotAvailable, NotPermitted: surely not done."""
        if self.is_out:
            raise NotAvailable("this zone was removed from the cluster: ask another")
        if isinstance(payload, RaiseLevel):
            self.belonging.check_level(payload.level)
        check_spoken(payload, queries.feature_level(self.state))

    async def until_another_leads(self) -> None:
        """Wait until this zone knows of a leader that it is not."""
        while self.standing.leader in (NOBODY, self.number):
            await self._stood.wait()

    async def hand_over(self) -> None:
        """Before this node ends: let another lead, and answer who waits here. One election timeout at most."""
        self.desk.shut()
        with trio.move_on_after(self.raft.election_timeout_ms / 1000):
            if self.leads and self.graceful:
                answer = await self.requests.ask(lambda token: raft_events.TransferRequested(now_ms(), token))
                if isinstance(answer, Transferred) and answer.ok:
                    await self.until_another_leads()
            if self.graceful:
                await self.desk.until_idle()
                await self.links.until_sent()

    async def flush_for_ever(self) -> None:
        """Write the applied state back, every so often, off the hot path."""
        while True:
            await trio.sleep(self.config.timing.flush_interval_ms / 1000 if self._may_flush else FLUSH_RETRY_S)
            await self.flush()

    @property
    def _may_flush(self) -> bool:
        # Flushed index <= durable log index, always: a leader may commit, by the others' disks, what its own has not
        # synced, and a state that is ahead of its own log could not be built upon after a crash. And a state that is
        # about to take the place of this one must not meet a write-back of it.
        quiet = self.snapshots.fetcher.quiet or self._saving.install_waits
        return self.raft.stable_index >= self.state.index and not quiet

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
            shipper = self.snapshots.shipper
            self.compaction.run(self.state.flushed_index, shipper.sending_index, shipper.snapshot_bytes)
        if self._saving.install_waits or self._holds_back:
            self._bell.ring()  # they may wait for the end of a write-back


def raft_config(config: ZoneConfig) -> RaftConfig:
    """The core's configuration out of the file's."""
    return RaftConfig(
        node=config.zone.number,
        membership=Membership(frozenset(peer.number for peer in config.zones if config.is_listed)),
        election_timeout_ms=config.timing.election_timeout_ms,
        election_timeout_most_ms=config.timing.election_timeout_most_ms or 8 * config.timing.election_timeout_ms,
        heartbeat_interval_ms=config.timing.heartbeat_interval_ms,
        priority={peer.number: peer.priority for peer in config.zones},
        priority_patience_ms=config.timing.priority_patience_ms,
        lease_reads=config.reads.lease_reads,
        clock_drift_permille=config.reads.clock_drift_permille,
        max_apply_bytes=128 << 10,
        commit_notice_ms=COMMIT_NOTICE_MS,
    )


def _tell(waiting: Waiting, why: str | None) -> None:
    if why is not None and waiting.hint is not None:
        waiting.hint(waiting.operation.id, why)
