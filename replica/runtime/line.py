"""A site's line to the zones: one zone is followed at a time; when it fails, goes silent or falls behind, the next is
tried."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol

import trio

from replica.cases.verdicts import Effects
from replica.config import SiteConfig, ZonePeer
from replica.errors import NotAvailable, RemoteProtocolError
from replica.offline import events
from replica.runtime.bell import now_ms
from replica.runtime.connection import Connection, run_both
from replica.runtime.dial import dial
from replica.wire import ZONE_TO_SITE, Identity, Joiner, decode, decode_effects, encode
from replica.wire.feed import (
    Behind,
    EffectsMessage,
    FeedBeat,
    Follow,
    Hint,
    NoQuorum,
    StateBegin,
    StateChunk,
    StateEnd,
    Submit,
    parcels,
)
from replica.wire.limits import MAX_EFFECTS_BYTES

LEAVE_AFTER_NO_QUORUM_MS = 400
"""A zone that knows no leader for so long may be the one that is cut off: look at another."""


class Tried(Enum):
    """What came of trying one zone."""

    FOLLOWED = "it was worked with, until its connection ended"
    CLOSED = "the kernel refused or closed the connection"
    OTHERWISE = "it is silent, behind, without a quorum, or will not have us"


class Follower(Protocol):
    """Who the line works for."""

    def position(self) -> tuple[int, int]: ...
    def arrived(self, effects: Effects) -> None: ...
    async def replace_state(self, index: int, term: int, records: dict[bytes, bytes], digest: bytes) -> None: ...
    def event(self, event: events.Event) -> None: ...


class Line:
    """Follows one zone after another, and carries operations to it."""

    def __init__(self, config: SiteConfig, me: Identity, site: Follower, log: Any) -> None:
        self._config = config
        self._me = me
        self._site = site
        self._log = log
        self._connection: Connection | None = None
        self._zones = {peer.name: peer.number for peer in config.zones}
        self._heard_ms = 0
        self._quorum_ms = 0
        self.replacing = False
        self.zone: str = ""
        """The zone followed just now; empty for none."""

    def submit(self, operations: Sequence[bytes]) -> None:
        """Send operations to the zone followed. Without one they are lost here; the core sends them again."""
        if self._connection is not None:
            for parcel in parcels(operations):
                self._connection.post(encode(Submit(parcel)))

    async def run(self) -> None:
        """Follow some zone, for ever. Each round over all zones that fails waits a little longer before the next."""
        timing = self._config.timing
        wait_ms = timing.reconnect_first_ms
        failed: list[Tried] = []
        # A hundred sites spread over the zones, and each begins at the same one after every restart.
        at = zlib.crc32(self._config.site.name.encode())
        while True:
            tried = await self._try(self._config.zones[at % len(self._config.zones)])
            at += 1
            if tried is Tried.FOLLOWED:
                failed, wait_ms = [], timing.reconnect_first_ms
                continue
            failed.append(tried)
            if len(failed) == len(self._config.zones):
                if all(one is Tried.CLOSED for one in failed):
                    self._site.event(events.AllClosed(now_ms()))
                await trio.sleep(wait_ms / 1000)
                failed, wait_ms = [], min(wait_ms * 2, timing.reconnect_most_ms)

    async def _try(self, zone: ZonePeer) -> Tried:
        """Follow one zone until that ends."""
        try:
            connection, _ = await dial(
                self._me,
                zone.address,
                zones=self._zones,
                expect=zone.name,
                within_ms=self._config.timing.line_silent_ms,
            )
        except NotAvailable as problem:
            return Tried.CLOSED if isinstance(problem.__cause__, OSError) else Tried.OTHERWISE
        except RemoteProtocolError as problem:
            self._log.warning("zone-refused", zone=zone.name, reason=str(problem))
            return Tried.OTHERWISE
        self._heard_ms = self._quorum_ms = now_ms()
        progress = _Progress()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_silence, connection, zone, progress)
                await run_both(connection, lambda: self._follow(connection, zone, progress))
                nursery.cancel_scope.cancel()
        except* RemoteProtocolError as problems:
            self._log.warning("line-broke", zone=zone.name, problem=_words(problems))
        finally:
            self._connection, self.zone, self.replacing = None, "", False
            if progress.up:
                self._log.info("line-down", zone=zone.name)
                self._site.event(events.LineDown(now_ms(), zone.number, closed=not progress.silent))
        return Tried.FOLLOWED if progress.up else Tried.OTHERWISE

    async def _follow(self, connection: Connection, zone: ZonePeer, progress: _Progress) -> None:
        index, term = self._site.position()
        connection.post(encode(Follow(index, term)))
        joiner = Joiner(MAX_EFFECTS_BYTES, "effects")
        incoming: _Incoming | None = None
        while frames := await connection.receive():
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
                        self._site.event(events.Heard(now_ms(), message.term, message.commit, message.leader_ms))
                    case NoQuorum():
                        if now_ms() - self._quorum_ms > LEAVE_AFTER_NO_QUORUM_MS:
                            self._log.info("zone-without-quorum", zone=zone.name)
                            return
                    case StateBegin():
                        incoming, self.replacing = _Incoming(message.index, message.term), True
                    case StateChunk() if incoming is not None:
                        incoming.records.update(message.records)
                    case StateEnd() if incoming is not None:
                        await self._site.replace_state(incoming.index, incoming.term, incoming.records, message.digest)
                        incoming, self.replacing = None, False
                    case Hint():
                        self._site.event(events.Hinted(now_ms(), message.operation, message.why))
                    case Behind():
                        self._log.info("zone-behind", zone=zone.name, reason=message.reason)
                        return
                    case _:
                        raise RemoteProtocolError(f"{type(message).__name__} outside a state transfer")

    def _up(self, connection: Connection, zone: ZonePeer, progress: _Progress) -> None:
        """The first confirmed beat: only now is the zone one to work with."""
        if not progress.up:
            progress.up = True
            self._connection, self.zone = connection, zone.name
            self._log.info("line-up", zone=zone.name)
            self._site.event(events.LineUp(now_ms(), zone.number))

    async def _watch_silence(self, connection: Connection, zone: ZonePeer, progress: _Progress) -> None:
        """Give a connection up that says nothing: a cut line closes no sockets."""
        silent_ms = self._config.timing.line_silent_ms
        while True:
            await trio.sleep(silent_ms / 4000)
            if now_ms() - self._heard_ms > silent_ms:
                self._log.info("line-silent", zone=zone.name, silent_ms=now_ms() - self._heard_ms)
                progress.silent = True
                connection.give_up()
                return


class _Progress:
    """How far one connection came: whether it was worked with, and whether it ended by silence."""

    def __init__(self) -> None:
        self.up = False
        self.silent = False


class _Incoming:
    def __init__(self, index: int, term: int) -> None:
        self.index = index
        self.term = term
        self.records: dict[bytes, bytes] = {}


def _words(problem: BaseException) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem)
