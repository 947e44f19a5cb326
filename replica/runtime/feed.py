"""The feed: what was agreed, to every site that follows this zone, encoded once for all of them.

A site says where it stands. If the ring still holds what comes after, it gets effects, entry by entry; if not, it is
first brought up like any other receiver of a state (shipping.py): by the records that changed, or by a snapshot; by a
snapshot in any case where it has found its own state damaged (`Follow.whole`). One that is far behind may be sent its
own cases before all that (previewing.py). A site that stands ahead of this zone, or on another history, is told to look
elsewhere. Every site has its own task and its own place in the ring, so that a
slow one holds up nobody.
"""

from __future__ import annotations

from typing import Any

import trio

from replica.cases.verdicts import Effects
from replica.runtime.bell import Bell, now_ms
from replica.runtime.connection import Connection
from replica.runtime.inbox import Inbox
from replica.runtime.previewing import Previewing
from replica.runtime.ring import Ring
from replica.runtime.shipping import Goal, Shipper
from replica.runtime.state import State
from replica.wire.envelope import encode
from replica.wire.feed import Behind, FeedBeat, Follow, NoQuorum, effects_messages
from replica.wire.snapshot import FromReceiver

AT_ONCE = 64
"""Effects put into a site's connection at one go; more would only wait there."""
MOST_WAITING_BYTES = 4 << 20
RETRY_S = 0.2
NEEDS_STATE = 1 << 62
"""More entries than any limit: none of them is kept."""
STALE_BEATS = 5
"""What a leader has said this many beats ago is not told as news."""
REPEAT_AFTER = 0.75
"""The same beat is told again after this part of the interval."""
NO_MEMBERSHIP = (0, b"")
"""A site has no vote, and need not know who has."""


class _Follower:
    def __init__(self, connection: Connection, inbox: Inbox[FromReceiver]) -> None:
        self.connection = connection
        self.inbox = inbox
        self.bell = Bell()
        self.index = 0


class Feed:
    """Recent effects, and the sites that follow them."""

    def __init__(self, state: State, ring_bytes: int, interval_ms: int, log: Any) -> None:
        self._state = state
        self._ring_bytes = ring_bytes
        self._ring = Ring(state.index, state.term, ring_bytes)
        self._followers: list[_Follower] = []
        self._interval_ms = interval_ms
        self._log = log
        self._beat: FeedBeat | NoQuorum = NoQuorum(0)
        self._beat_ms = 0
        self.shipper: Shipper
        """Who sends whole states; set by the node before it serves."""
        self._previewing: Previewing | None = None

    @property
    def followers(self) -> int:
        return len(self._followers)

    def add(self, effects: Effects, encoded: bytes) -> None:
        """The effects of the next entry; the state is at its index already."""
        frames = [encode(message) for message in effects_messages(encoded)]
        self._ring.add(effects.index, effects.term, frames)
        self._ring_all()

    def replaced(self) -> None:
        """A whole state was put in place: the effects kept do not lead to it."""
        self._ring = Ring(self._state.index, self._state.term, self._ring_bytes)
        self._ring_all()

    def beat(self, term: int, commit: int, leader_ms: int, leader: int) -> None:
        """What the quorum has confirmed, to everybody; with no leader, that there is none. What was just told is not
        told again: the leader's clock and the own one both give a following zone the beat."""
        message = FeedBeat(term, commit, leader_ms, leader) if leader else NoQuorum(term)
        if message == self._beat and now_ms() - self._beat_ms < REPEAT_AFTER * self._interval_ms:
            return
        self._beat, self._beat_ms = message, now_ms()
        if self._followers:
            encoded = encode(self._beat)
            for follower in self._followers:
                follower.connection.post(encoded)

    async def serve(self, connection: Connection, follow: Follow, inbox: Inbox[FromReceiver]) -> None:
        """Send one site what it lacks, until its connection breaks."""
        if follow.index > self._state.index:
            connection.post(encode(Behind(f"this zone has applied {self._state.index}, you {follow.index}")))
            with trio.move_on_after(1):
                await connection.until_below(0)
            return
        follower = _Follower(connection, inbox)
        follower.index = follow.index
        await self._send_own_first(connection, follow, inbox)
        if follow.whole or not self._ring.holds(follow.index, follow.term):
            await self._send_state(follower, follow.whole)
        self._followers.append(follower)
        if now_ms() - self._beat_ms <= STALE_BEATS * self._interval_ms:
            connection.post(encode(self._beat))
        try:
            await self._send_effects(follower)
        finally:
            self._followers.remove(follower)

    async def _send_own_first(self, connection: Connection, follow: Follow, inbox: Inbox[FromReceiver]) -> None:
        """A site that asks for it and is far behind: neither a whole state nor thousands of entries keep it from its
        own cases."""
        if not follow.preview or follow.index >= self._state.index:
            return
        needs_state = follow.whole or not self._ring.holds(follow.index, follow.term)
        lacks = NEEDS_STATE if needs_state else self._ring.last - follow.index
        if self._previewing is None:
            self._previewing = Previewing(self.shipper, self._log)
        if self._previewing.is_due(lacks):
            await self._previewing.send(connection, inbox, self._state.index)

    def _ring_all(self) -> None:
        for follower in self._followers:
            follower.bell.ring()

    async def _send_effects(self, follower: _Follower) -> None:
        while not follower.connection.broken:
            if follower.index < self._ring.floor:
                # It was too slow for the ring: it begins again from the state, as if it had just come.
                await self._send_state(follower)
            for frames in self._ring.after(follower.index, AT_ONCE):
                for frame in frames:
                    follower.connection.post(frame)
                follower.index += 1
            if follower.index < self._ring.last:
                await follower.connection.until_below(MOST_WAITING_BYTES)
            else:
                await follower.bell.wait()

    async def _send_state(self, follower: _Follower, whole: bool = False) -> None:
        """Bring a site up to where the ring takes over. Again and again: in between, the ring may have moved on.

        `whole`: nothing that it has can be built upon, nor may the state be older than what it has.
        """
        least = follower.index if whole else 0
        while not follower.connection.broken:
            goal = Goal(
                self._ring.floor + 1,
                lambda: max(self._ring.floor, least),
                lambda index: NO_MEMBERSHIP,
                whole=whole,
            )
            done, index = await self.shipper.send(follower.connection, follower.inbox, goal)
            if not done.ok:
                self._log.warning("state-not-sent", problem=done.why)
                await trio.sleep(RETRY_S)
                whole = True
                continue
            whole, follower.index = False, index
            if index >= self._ring.floor:
                return
