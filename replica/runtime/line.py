"""A site's line to the zones: one zone is followed at a time; when it fails, goes silent or falls behind, the next is
tried."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Protocol

import trio

from replica.cases.verdicts import Effects
from replica.config import SiteConfig, ZonePeer
from replica.errors import NotAvailable, Overloaded, RemoteProtocolError
from replica.offline import events
from replica.runtime.bell import now_ms
from replica.runtime.connection import Connection, run_both
from replica.runtime.dial import dial
from replica.runtime.inbox import Inbox
from replica.runtime.outside import REAL, Outside
from replica.runtime.presence import LEVEL as PRESENCE_LEVEL
from replica.runtime.previewed import Previews
from replica.wire import ZONE_TO_SITE, Identity, Joiner, decode, decode_effects, encode
from replica.wire.envelope import StateRecords
from replica.wire.feed import (
    Behind,
    ConfirmRead,
    EffectsMessage,
    FeedBeat,
    Follow,
    Here,
    Hint,
    NoQuorum,
    Preview,
    PreviewNeeded,
    ReadConfirmed,
    StateBegin,
    StateChunk,
    StateEnd,
    Submit,
    Zones,
    parcels,
)
from replica.wire.handshake import cluster_name
from replica.wire.limits import MAX_EFFECTS_BYTES
from replica.wire.snapshot import FromSender, SnapshotChunk, SnapshotOffer, StateNeeded, StillHere

LEAVE_AFTER_NO_QUORUM_MS = 400
"""A zone that knows no leader for so long may be the one that is cut off: look at another."""


class Tried(Enum):
    """What came of trying one zone."""

    FOLLOWED = "it was worked with, until its connection ended"
    CLOSED = "the kernel refused or closed the connection"
    OTHERWISE = "it is silent, behind, without a quorum, or will not have us"


class Follower(Protocol):
    """Who the line works for."""

    def followed_to(self) -> tuple[int, int]: ...
    def needs_whole(self) -> bool: ...
    def arrived(self, effects: Effects) -> None: ...
    async def replace_state(self, connection: Connection, inbox: Inbox[FromSender | StateRecords]) -> None: ...
    def event(self, event: events.Event) -> None: ...
    def learn_zones(self, zones: Zones) -> None: ...
    @property
    def previews(self) -> Previews: ...


class Line:
    """Follows one zone after another, and carries operations to it."""

    def __init__(self, config: SiteConfig, me: Identity, site: Follower, log: Any, outside: Outside = REAL) -> None:
        self._config = config
        self._outside = outside
        self._me = me
        self._site = site
        self._log = log
        self._connection: Connection | None = None
        self._tried: Connection | None = None
        """To the zone that is being tried or followed."""
        self._peers: tuple[ZonePeer, ...] = config.zones
        self._zones = {peer.name: peer.number for peer in config.zones}
        self._reads: dict[int, _Asked] = {}
        self._asked = 0
        self._heard_ms = 0
        self._looked_ms = 0
        self._quorum_ms = 0
        self.zone: str = ""
        """The zone followed just now; empty for none."""
        self.zone_number = 0

    def submit(self, operations: Sequence[bytes]) -> None:
        """Send operations to the zone followed. Without one they are lost here; the core sends them again."""
        if self._connection is not None:
            for parcel in parcels(operations):
                self._connection.post(encode(Submit(parcel)))

    def know(self, peers: tuple[ZonePeer, ...], generation: int) -> None:
        """From now on these are the zones to try, of this generation of the cluster or a later one."""
        self._me = replace(self._me, cluster_id=cluster_name(self._config.cluster.id, generation))
        self._peers = peers
        self._zones = {peer.name: peer.number for peer in peers}

    def renew(self) -> None:
        """Leave the zone that is followed, if any, and begin anew: there is something else to ask for now."""
        if self._tried is not None:
            self._tried.give_up()

    async def confirm_read(self) -> int:
        """From which index on a read asked now may be answered, by the zone that is followed.

        Raises NotAvailable at once while cut off, and when the line fails meanwhile; Overloaded. Surely not read.
        """
        if self._connection is None:
            raise NotAvailable("cut off: no zone can confirm a read now; what is known here can be read locally")
        self._asked += 1
        number, asked = self._asked, _Asked()
        self._reads[number] = asked
        self._connection.post(encode(ConfirmRead(number)))
        try:
            await asked.done.wait()
        finally:
            del self._reads[number]
        match asked.answer:
            case None:
                raise NotAvailable("cut off: the line failed before a zone had confirmed the read")
            case ReadConfirmed(refusal=""):
                return asked.answer.index
            case ReadConfirmed(retry_after_ms=0):
                raise NotAvailable(asked.answer.refusal)
            case _:
                raise Overloaded("too many reads wait at the zone", asked.answer.retry_after_ms)

    async def run(self) -> None:
        """Follow some zone, for ever. Each round over all zones that fails waits a little longer before the next."""
        timing = self._config.timing
        wait_ms = timing.reconnect_first_ms
        failed: list[Tried] = []
        # A hundred sites spread over the zones, and each begins at the same one after every restart.
        at = zlib.crc32(self._config.site.name.encode())
        while True:
            tried = await self._try(self._peers[at % len(self._peers)])
            at += 1
            if tried is Tried.FOLLOWED:
                failed, wait_ms = [], timing.reconnect_first_ms
                continue
            failed.append(tried)
            if len(failed) >= len(self._peers):
                if all(one is Tried.CLOSED for one in failed):
                    self._site.event(events.AllClosed(now_ms()))
                await trio.sleep(wait_ms / 1000)
                failed, wait_ms = [], min(wait_ms * 2, timing.reconnect_most_ms)

    async def _try(self, zone: ZonePeer) -> Tried:
        """Follow one zone until that ends."""
        try:
            connection, met = await dial(
                self._me,
                zone.address,
                zones=self._zones,
                expect=zone.name,
                within_ms=2 * self._config.timing.line_silent_ms,
                outside=self._outside,
            )
        except NotAvailable as problem:
            return Tried.CLOSED if isinstance(problem.__cause__, OSError) else Tried.OTHERWISE
        except RemoteProtocolError as problem:
            self._log.warning("zone-refused", zone=zone.name, reason=str(problem))
            return Tried.OTHERWISE
        self._heard_ms = self._quorum_ms = self._looked_ms = now_ms()
        progress = _Progress(speaks=met.levels[1] >= PRESENCE_LEVEL)
        self._tried = connection
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_silence, connection, zone, progress)
                await run_both(connection, lambda: self._follow(connection, zone, progress))
                nursery.cancel_scope.cancel()
        except* RemoteProtocolError as problems:
            self._log.warning("line-broke", zone=zone.name, problem=_words(problems))
        finally:
            self._connection, self._tried, self.zone, self.zone_number = None, None, "", 0
            for asked in self._reads.values():
                asked.done.set()
            if progress.up:
                self._log.info("line-down", zone=zone.name)
                self._site.event(events.LineDown(now_ms(), zone.number, closed=not progress.silent))
        return Tried.FOLLOWED if progress.up else Tried.OTHERWISE

    async def _follow(self, connection: Connection, zone: ZonePeer, progress: _Progress) -> None:
        index, term = self._site.followed_to()
        connection.post(encode(Follow(index, term, self._site.needs_whole(), self._site.previews.are_wanted)))
        async with trio.open_nursery() as nursery:
            await self._listen(connection, zone, progress, nursery)
            nursery.cancel_scope.cancel()

    async def _listen(self, connection: Connection, zone: ZonePeer, progress: _Progress, nursery: trio.Nursery) -> None:
        joiner = Joiner(MAX_EFFECTS_BYTES, "effects")
        fetch = _Fetch()
        fetch.ended = True
        while frames := await connection.receive():
            if progress.silent:
                return
            if self._stood_still():
                # This process stood still: what waited in its socket is as old as that, and no news of a quorum (B3).
                progress.silent = True
                self._log.info("line-slept", zone=zone.name, silent_ms=now_ms() - self._looked_ms)
                connection.give_up()
                return
            self._heard_ms = now_ms()
            for payload in frames:
                message = decode(payload, ZONE_TO_SITE)
                match message:
                    case EffectsMessage():
                        whole = joiner.add(message.effects, message.more)
                        if whole is not None:
                            self._site.arrived(decode_effects(whole))
                    case FeedBeat():
                        self._quorum_ms = now_ms()
                        self._up(connection, zone, progress)
                        self._say_here(connection, progress)
                        self._site.event(events.Heard(now_ms(), message.term, message.commit, message.leader_ms))
                    case NoQuorum():
                        if now_ms() - self._quorum_ms > LEAVE_AFTER_NO_QUORUM_MS:
                            self._log.info("zone-without-quorum", zone=zone.name)
                            return
                    case StateNeeded():
                        fetch.scope.cancel()
                        fetch = _Fetch()
                        nursery.start_soon(self._fetch, connection, fetch)
                    case SnapshotOffer() | SnapshotChunk() | StillHere() | StateBegin() | StateChunk() | StateEnd():
                        if not fetch.ended:
                            fetch.inbox.put(message)
                    case PreviewNeeded():
                        nursery.start_soon(self._site.previews.want, connection)
                    case Preview():
                        self._site.previews.take(message)
                    case Hint():
                        self._site.event(events.Hinted(now_ms(), message.operation, message.why))
                    case Zones():
                        self._site.learn_zones(message)
                    case ReadConfirmed():
                        asked = self._reads.get(message.number)
                        if asked is not None:
                            asked.answer = message
                            asked.done.set()
                    case Behind():
                        self._log.info("zone-behind", zone=zone.name, reason=message.reason)
                        return

    async def _fetch(self, connection: Connection, fetch: _Fetch) -> None:
        try:
            with fetch.scope:
                await self._site.replace_state(connection, fetch.inbox)
        finally:
            fetch.ended = True

    def _up(self, connection: Connection, zone: ZonePeer, progress: _Progress) -> None:
        """The first confirmed beat: only now is the zone one to work with."""
        if not progress.up:
            progress.up = True
            self._connection, self.zone, self.zone_number = connection, zone.name, zone.number
            self._log.info("line-up", zone=zone.name)
            self._site.event(events.LineUp(now_ms(), zone.number))

    def _say_here(self, connection: Connection, progress: _Progress) -> None:
        """Let the zone hear that this site hears it; a few times within the time after which it would not."""
        if progress.speaks and now_ms() >= progress.speaks_at_ms:
            progress.speaks_at_ms = now_ms() + self._config.timing.cut_off_after_ms // 5
            connection.post(encode(Here(self._site.followed_to()[0])))

    def _stood_still(self) -> bool:
        """Whether nobody here has looked at the clock for longer than a line may be silent."""
        return now_ms() - self._looked_ms > self._config.timing.line_silent_ms

    async def _watch_silence(self, connection: Connection, zone: ZonePeer, progress: _Progress) -> None:
        """Give a connection up that says nothing: a cut line closes no sockets. One that is not up yet may be busy with
        a state, between two attempts at it: it is given twice the time."""
        least_ms = self._config.timing.line_silent_ms
        received = connection.received_bytes
        while True:
            await trio.sleep(least_ms / 3000)
            silent_ms = least_ms if progress.up else 2 * least_ms
            if connection.received_bytes != received and not self._stood_still():
                received, self._heard_ms = connection.received_bytes, now_ms()
            self._looked_ms = now_ms()
            if self._looked_ms - self._heard_ms > silent_ms:
                self._log.info("line-silent", zone=zone.name, silent_ms=now_ms() - self._heard_ms)
                progress.silent = True
                connection.give_up()
                return


class _Progress:
    """How far one connection came: whether it was worked with, and whether it ended by silence. `speaks`: the zone
    wants to hear every so often that it is heard."""

    def __init__(self, speaks: bool) -> None:
        self.up = False
        self.silent = False
        self.speaks = speaks
        self.speaks_at_ms = 0


class _Asked:
    """A read that waits for its confirmation; None where the line failed before."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: ReadConfirmed | None = None


class _Fetch:
    """A state on its way in."""

    def __init__(self) -> None:
        self.inbox = Inbox[FromSender | StateRecords]()
        self.scope = trio.CancelScope()
        self.ended = False


def _words(problem: BaseException) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem)
