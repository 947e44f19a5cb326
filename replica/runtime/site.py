"""A site: the desk with its journal, the local copy of the state, and the line to whichever zone answers.

The core decides (replica/offline); this carries it out: journal records to the disk, operations to the zone, effects
from the feed into the local copy, and what came back durable back to the core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import trio

from replica.cases import queries
from replica.cases.commands import Payload, RaiseLevel, RegisterOrganisation
from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import Effects, Verdict
from replica.config import SiteConfig, ZonePeer
from replica.errors import (
    NotAvailable,
    NotPermitted,
    RemoteProtocolError,
    ReplicaError,
    StorageFull,
    StoreDamaged,
    StoreError,
)
from replica.offline import events
from replica.offline.core import SiteCore
from replica.offline.lives import last_life
from replica.runtime.acts import Acts
from replica.runtime.bell import now_ms, wall_ms
from replica.runtime.charges import check_spoken, return_for_ever
from replica.runtime.connection import Connection
from replica.runtime.desk import Desk, Done, desk_config
from replica.runtime.disk import Disk
from replica.runtime.drill import Drills
from replica.runtime.fetching import Fetcher, Prepared, Unfetched
from replica.runtime.history import DAY_MS, History, remembered
from replica.runtime.inbox import Inbox
from replica.runtime.line import Line
from replica.runtime.outside import REAL, Outside
from replica.runtime.previewed import Previews
from replica.runtime.service import Service
from replica.runtime.state import State
from replica.runtime.writeback import WriteBack, in_loop
from replica.storage import Install, JournalAppend, JournalReplace, JournalTrim, Store
from replica.storage.snapshot_contract import Manifest
from replica.wire import Identity, decode, encode
from replica.wire.envelope import StateRecords
from replica.wire.feed import Zones
from replica.wire.operation_codec import decode_operation, decode_verdict, encode_verdict
from replica.wire.snapshot import FromSender, SnapshotDone

T = TypeVar("T")

READ_AT_ONCE = 1000
MOST_DAMAGED = 10
"""Damaged records that are named."""
ZONE_MS = b"zone-ms"
"""Where the local table keeps the last zone time: a site that starts while cut off begins its clock there."""
KEEP_ZONE_MS_EVERY = 5_000
FORGET_EVERY_MS = 60_000
VIEW_SLICE = 200
"""Operations that are taken into the working view at one go: some twenty milliseconds."""
LONG_JOURNAL = 2000
"""From here on the view is made ready before anybody reads. Below, a site that nobody reads would pay for nothing."""
ZONES = b"zones"
"""Where the local table keeps the zones of the cluster as a zone last told them."""


class DiskJournal:
    """A desk's journal on disk: records and rewritten openings in one write, `done` when they are durable."""

    def __init__(self, disk: Disk, at_ms: Callable[[], int | None]) -> None:
        self._disk = disk
        self._at_ms = at_ms

    def append(
        self, records: Sequence[tuple[bytes, int, bytes]], rewrite: Sequence[tuple[bytes, int, bytes]], done: Done
    ) -> None:
        # The writer takes all queued jobs into one transaction in their order, so `done` may hang on the last of them.
        jobs = [JournalReplace(*one) for one in rewrite]
        last = JournalAppend(records) if records else jobs.pop()
        for job in jobs:
            self._disk.write_log(job, lambda problem: None)
        self._disk.write_log(last, done)

    def trim(self, through: Sequence[tuple[bytes, int]]) -> None:
        self._disk.write_log(JournalTrim(tuple(through), self._at_ms()), lambda problem: None)


class SiteNode:
    """One Samu's copy and journal. `run_line` and the other tasks serve until cancelled."""

    def __init__(
        self, config: SiteConfig, me: Identity, store: Store, disk: Disk, log: Any, outside: Outside = REAL
    ) -> None:
        self.config = config
        self.log = log
        self._outside = outside
        self._disk = disk
        self.store = store
        self.line = Line(config, me, self, log, outside)
        self.damaged: list[str] = []
        """Records of the copy that were found damaged. It is rebuilt as soon as a zone is reached."""
        self.state = State(store.state, self._found_damaged)
        self._write_back = WriteBack(self.state, disk)
        self._replacing = trio.Lock()
        self.fetcher = Fetcher(self.state, store, outside, log, self._write_back.finish)
        self._zone_ms = int.from_bytes(self.state.local(ZONE_MS) or b"", "big")
        self.history = History(config, self.state, store, outside, log)
        self.acts = Acts(config.site.name, self.state)
        self.drills = Drills(self)
        self.previews = Previews(self)
        self._flush_now = trio.Event()
        self._replay_from: tuple[int, int] | None = None
        self._recalls: list[tuple[tuple[bytes, int], ...]] = []
        """What is to be looked for in what the store remembers; only the last question still matters."""
        self._forgot_ms = now_ms()
        self._zones_generation = 1
        journal, damaged = read_journal(store)
        for record in damaged:
            log.error("journal-record-damaged", operation=f"{config.site.name}/{record[0].hex()}/{record[1]}")
        core = SiteCore(
            site=config.site.name,
            incarnation=outside.random_bytes(16),
            base=self.state,
            applied=(self.state.index, self.state.term),
            journal=journal,
            latest=last_life(store.journal.incarnations()),
            config=desk_config(config.timing),
            now_ms=now_ms(),
            decided=self.decided,
            damaged=damaged,
            zone_ms=self._zone_ms,
            counted=store.journal.incarnations(),
            generation=self.history.again.generation,
            gone=self.history.again.gone,
        )
        self.desk = Desk(
            core,
            DiskJournal(disk, self._past_ms),
            self.line.submit,
            self._keep,
            log,
            config.limits.waiting_operations,
            recall=self._look_for,
            answered=self.drills.answered,
            moded=self._moded,
        )
        self.service = Service(
            self.desk,
            core.view,
            self.position,
            self._confirm_read,
            self._check,
            lambda: self.state,
            self.acts,
            self._make_view_ready,
            self.state.remembered,
        )
        known = self.state.local(ZONES)
        if known is not None:
            self._use_zones(decode(known, (Zones,)))
        self.desk.turn()
        self._tell_history()

    def decided(self, operation: OperationId) -> tuple[int, Verdict] | None:
        """What the local table knows of an own operation: (index, verdict)."""
        record = self.state.local(decision_key(operation))
        if record is None:
            return None
        return int.from_bytes(record[:8], "big"), decode_verdict(record[8:])

    @property
    def storage_full(self) -> bool:
        """Whether the disk has refused what this site has to write, of the journal or of the copy, and nothing
        since."""
        return self.desk.journal_full or self._write_back.refused

    @property
    def feature_level(self) -> int | None:
        """The level of the agreed state; None where the record that says so is damaged."""
        with suppress(StoreDamaged):
            return queries.feature_level(self.state)
        return None

    @property
    def generation(self) -> int | None:
        """Of the cluster whose state is in place; 1: it was never founded anew. None where the record that says so is
        damaged."""
        with suppress(StoreDamaged):
            return queries.generation(self.state) + 1
        return None

    def _check(self, payload: Payload) -> None:
        """What a site will not even hand in. Raises NotPermitted: surely not done."""
        if isinstance(payload, RaiseLevel):
            raise NotPermitted("the level is raised at a zone, which knows what every voter can apply")
        level = self.feature_level
        if level is not None:
            check_spoken(payload, level)

    def _found_damaged(self, damaged: StoreDamaged) -> None:
        """A read has met a damaged record of the copy (D5). It raises to who asked for that record; all else goes on,
        and the line begins anew to ask for a whole state. The journal is not touched by any of it.

        Called from within the read, wherever that is."""
        if damaged.record not in self.damaged and len(self.damaged) < MOST_DAMAGED:
            self.damaged.append(damaged.record)
            self.log.error("state-damaged", record=damaged.record, problem=str(damaged))
            if len(self.damaged) == 1:
                self.line.renew()

    # ------------------------------------------------------------------ what the line brings

    def needs_whole(self) -> bool:
        """Whether a zone has to send a whole state before anything else."""
        return bool(self.damaged)

    def position(self) -> tuple[int, int]:
        """Where the local copy of the agreed state stands: (index, term)."""
        return self.state.index, self.state.term

    def followed_to(self) -> tuple[int, int]:
        """What the feed has brought, in place or held back by a drill: (index, term)."""
        return self.drills.position() or self.position()

    async def in_worker(self, work: Callable[[], T]) -> T:
        """Run what reads much beside the loop."""
        return await self._outside.in_worker(work)

    async def _confirm_read(self) -> int:
        if self.drills.current is not None:
            raise NotAvailable("a drill: this site behaves as cut off; what is known here can be read locally")
        return await self.line.confirm_read()

    def event(self, event: events.Event) -> None:
        """Something the line noticed."""
        if isinstance(event, events.Heard) and event.leader_ms >= self._zone_ms + KEEP_ZONE_MS_EVERY:
            self._zone_ms = event.leader_ms
            self.state.put_local(ZONE_MS, event.leader_ms.to_bytes(8, "big"))
        if not self.drills.holds(event):
            self.desk.step(event)

    def learn_zones(self, zones: Zones) -> None:
        """A zone has told which zones there are. Kept, so that a site finds them after a restart, too."""
        told = encode(zones)
        if self.state.local(ZONES) != told:
            self.state.put_local(ZONES, told)
            self._use_zones(zones)

    def _use_zones(self, zones: Zones) -> None:
        """Try those of the configuration that are not gone for good, then the others."""
        self._zones_generation = zones.generation
        gone = {zone.number for zone in zones.zones if zone.retired}
        peers = {peer.number: peer for peer in self.config.zones if peer.number not in gone}
        for zone in zones.zones:
            if not zone.retired:
                peers.setdefault(zone.number, ZonePeer(zone.number, zone.name, zone.address))
        self.line.know(tuple(peers.values()) or self.config.zones, zones.generation)

    def arrived(self, effects: Effects) -> None:
        """The effects of the next entry. Raises RemoteProtocolError where they are not the next: the line is
        renewed."""
        here = self.followed_to()[0]
        if effects.index != here + 1:
            raise RemoteProtocolError(f"effects of {effects.index} after {here}")
        if self.drills.holds_back(effects):
            return
        self.state.advance(effects.changes, effects.index, effects.term)
        self.desk.step(events.Arrived(now_ms(), effects))
        self.service.arrived(effects)

    async def replace_state(self, connection: Connection, inbox: Inbox[FromSender | StateRecords]) -> None:
        """Let a zone's state take the place of the local copy: this site was too far behind for the feed, or its copy
        is damaged. The zone hears what came of it; where it came to nothing, all is as it was.

        Raises RemoteProtocolError where the zone does not keep to the protocol.
        """
        self.drills.end("a whole state came")
        async with self._replacing:  # an earlier attempt may still be waiting for its worker
            try:
                aside = await self._set_aside()
                prepared = await self.fetcher.fetch(connection, inbox, anew=self.needs_whole())
                with self._disk.undisturbed():  # a line that breaks now changes nothing any more
                    await self._install(prepared)
                    await self.history.settle(aside, self.desk.core.breaks)
                    await self._bring_back()
            except (Unfetched, StorageFull) as problem:
                self.log.warning("state-not-replaced", problem=str(problem))
                connection.post(encode(SnapshotDone(False, str(problem)[:1000])))
            else:
                connection.post(encode(SnapshotDone(True)))
            finally:
                self.fetcher.release()

    async def _set_aside(self) -> Manifest | None:
        """A later generation's state is about to take the place of the copy, and may lack what this one has."""
        if self._zones_generation <= (self.generation or 0):
            return None
        await self.flush()
        return await self.history.set_aside()

    async def _install(self, prepared: Prepared) -> None:
        job = Install(prepared.name, prepared.index, prepared.term)
        problem = await in_loop(lambda done: self._disk.write_log(job, done))
        if problem is not None:
            raise problem
        self.state.replaced(prepared.index, prepared.term)
        self.log.info("state-replaced", index=prepared.index, rebuilt=list(self.damaged))
        self.damaged.clear()  # every record of what is in place now was read when it was prepared
        self.desk.step(events.Replaced(now_ms(), prepared.index, prepared.term))
        self._tell_history()
        # What it decided about our own operations is durable with the next flush, which then says so.
        self.service.replaced()

    # ------------------------------------------------------------------ ahead of the state

    def _past_ms(self) -> int | None:
        """The time under which what is trimmed now is remembered; None where it is not."""
        if not self.history.remembers:
            return None
        return self.desk.core.zone_ms(now_ms()) or self._zone_ms or wall_ms()

    def _look_for(self, recall: Sequence[tuple[bytes, int]]) -> None:
        """The core asks for what the state lacks. Reading it may take a second: that is done beside the loop."""
        self._recalls.append(tuple(recall))

    async def _bring_back(self) -> None:
        if not self._recalls:
            return
        recall = self._recalls[-1]
        self._recalls.clear()
        try:
            found = await self._outside.in_worker(partial(remembered, self.store, recall))
        except StoreError as problem:
            self.log.error("past-not-read", problem=str(problem))
            self._recalls.insert(0, recall)
            return
        self.desk.step(events.Recalled(now_ms(), recall, found))
        self._tell_history()

    def _tell_history(self) -> None:
        core = self.desk.core
        self.history.met(core.generation)
        for taken in core.taken_back:
            self.history.tell(taken, core.zone_ms(now_ms()) or self._zone_ms or wall_ms())
        core.taken_back.clear()

    @property
    def _zone_now_ms(self) -> int:
        """The zones' time, as well as it is known here."""
        return self.desk.core.zone_ms(now_ms()) or self._zone_ms or wall_ms()

    def _forget_some(self) -> None:
        """What was let go of too long ago; nothing while something is offered again."""
        now, core = now_ms(), self.desk.core
        if now < self._forgot_ms + FORGET_EVERY_MS or core.looks_back:
            return
        self._forgot_ms = now
        zone_ms = core.zone_ms(now)
        if zone_ms is not None:
            for operation in self.acts.forget(zone_ms - self.config.limits.verdict_days * DAY_MS):
                self.state.put_local(decision_key(operation), None)
        job = self.history.forgets(zone_ms)
        if job is not None:
            self._disk.write_log(job, lambda problem: None)

    async def register_for_ever(self) -> None:
        """See to it that the registry knows the organisations this site speaks for; once connected, and once each."""
        wanted = [self.config.site.name, *self.config.site.organisations]
        while True:
            if self.line.zone:
                with suppress(StoreDamaged):  # once it is rebuilt there is another look
                    for name in wanted:
                        if queries.site_of(self.state, name) != self.config.site.name:
                            await self._register(name)
            await self.service.until_moved()

    async def return_for_ever(self) -> None:
        """See charges.py."""
        await return_for_ever(self)

    async def _register(self, organisation: str) -> None:
        command = RegisterOrganisation(organisation, organisation, self.config.site.name)
        try:
            handed = await self.service.submit(command, author="replica")
            await self.service.verdict(handed.operation)
        except ReplicaError as problem:
            self.log.warning("organisation-not-registered", organisation=organisation, problem=str(problem))

    def _moded(self, mode: events.Mode) -> None:
        if mode is events.Mode.CUT_OFF:
            self._flush_now.set()
        self._replay_from = (self.desk.core.undecided, now_ms()) if mode is events.Mode.REPLAYING else None

    @property
    def replay(self) -> dict[str, Any] | None:
        """How far a replay is, and how long it may still take; None while there is none."""
        if self._replay_from is None:
            return None
        (first, since_ms), left = self._replay_from, self.desk.core.undecided
        per_s = (first - left) * 1000 / max(1, now_ms() - since_ms)
        return {
            "first": first,
            "left": left,
            "per_s": round(per_s),
            "left_s": round(left / per_s, 1) if per_s else None,
        }

    async def flush_for_ever(self) -> None:
        """Write the local copy back every so often, and at once when the line is cut: what was kept here of a case that
        is not on the disk yet could not be shown after a restart without it. What is flushed may be trimmed from the
        journal."""
        while True:
            self._flush_now = trio.Event()
            with trio.move_on_after(self.config.timing.flush_interval_ms / 1000):
                await self._flush_now.wait()
            await self._bring_back()
            await self.flush()
            if self.desk.core.undecided > LONG_JOURNAL:
                await self._make_view_ready(ahead=True)
            await self._look_for_room()
            self._forget_some()

    async def _make_view_ready(self, *, ahead: bool = False) -> None:
        """A view of thousands of operations takes seconds to make: it is made here, in slices that hold up nobody, and
        not by whoever reads first. `ahead` of anybody who reads: only while no line is up. With a line the journal is
        being replayed, and every entry of that would make most of the view anew."""
        core = self.desk.core
        while core.undecided > VIEW_SLICE and not (ahead and self.line.zone) and core.prepare_view(VIEW_SLICE):
            await trio.lowlevel.checkpoint()

    async def flush_at_the_end(self) -> None:
        """Answer who still waits, and write back all that is known: a stopped store then shows it."""
        self.desk.close()
        await self._write_back.finish()
        await self.flush()

    async def flush(self) -> None:
        if self.state.can_freeze and not self.fetcher.quiet:
            await self._write_back.run()
            self.desk.step(events.Flushed(now_ms(), self.state.flushed_index))

    async def _look_for_room(self) -> None:
        """What a full journal turned away is not tried again by itself, so the disk is asked whether it still is."""
        if self.desk.journal_full and await self._outside.in_worker(self.store.has_room):
            self.desk.journal_full = False

    def _keep(self, decisions: Sequence[events.Decision]) -> None:
        for decision in decisions:
            if self.history.again.generation:
                before = self.decided(decision.operation)
                if before is not None:
                    self.history.decided(decision.operation, before, decision.verdict)
            record = decision.index.to_bytes(8, "big") + encode_verdict(decision.verdict)
            self.state.put_local(decision_key(decision.operation), record)
            if decision.operation.seq > 0:
                self.acts.keep(decision, self._zone_now_ms)


def decision_key(operation: OperationId) -> bytes:
    """Where the local table keeps the verdict on an own operation."""
    return b"decided/" + operation.incarnation + operation.seq.to_bytes(8, "big")


def read_journal(store: Store) -> tuple[list[Operation], list[tuple[bytes, int]]]:
    """The journal as found at opening: what can be read, in order, and the (incarnation, seq) of what cannot."""
    operations: list[Operation] = []
    damaged: list[tuple[bytes, int]] = []
    position = 0
    while records := store.journal.read(position, READ_AT_ONCE):
        for record in records:
            position = record.position
            if record.damaged:
                damaged.append((record.incarnation, record.seq))
            else:
                operations.append(decode_operation(record.payload))
    return operations, damaged
