"""A zone's part in snapshots: what the log's core wants is sent, what another zone sends is received and installed.

    core: SnapshotWanted(peer)  →  a task that sends (shipping.py)   →  core: SnapshotSent(peer, ok)
    peer: StateNeeded           →  the task that fetches (fetching.py)  →  core: SnapshotArrived(token)
    core: Install(token) in a Ready  →  one save of the log environment (saving.py)  →  `installed(token)`
    core: Refused(token)             →  what was prepared is thrown away

Each zone speaks on the connection it dialled, so an answer leaves by the link to the peer, not on the connection on
which the question came. A link that breaks ends the attempt on either side; the next begins with what is on disk.

Leaves out: sites, which have no core (feed.py sends to them, site.py installs there).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import trio

from replica.config import Limits
from replica.errors import RemoteProtocolError
from replica.raft.core import Raft
from replica.raft.events import Event, SnapshotArrived, SnapshotSent
from replica.raft.ready import Ready, SnapshotWanted
from replica.runtime.bell import Bell, now_ms
from replica.runtime.connection import Connection
from replica.runtime.fetching import Fetcher, Prepared, Unfetched
from replica.runtime.inbox import Inbox
from replica.runtime.outside import Outside
from replica.runtime.shipping import Goal, Shipper
from replica.runtime.state import State
from replica.storage import Store
from replica.wire.envelope import StateRecords, encode
from replica.wire.feed import StateBegin, StateChunk, StateEnd
from replica.wire.snapshot import (
    FromReceiver,
    FromSender,
    SnapshotChunk,
    SnapshotDone,
    SnapshotOffer,
    SnapshotWant,
    StateAsk,
    StateNeeded,
    StillHere,
)

SnapshotMessage: TypeAlias = FromSender | FromReceiver | StateRecords
TO_SENDER = (StateAsk, SnapshotWant, SnapshotDone, StillHere)
TO_RECEIVER = (SnapshotOffer, SnapshotChunk, StateBegin, StateChunk, StateEnd, StillHere)

RETRY_S = 0.2
TIDY_S = 1.0
FIRST_TOKEN = 1 << 40
"""Tokens of snapshots that arrived: far from those of proposals and requests."""


@dataclass(slots=True)
class _Sending:
    """One receiver being served."""

    inbox: Inbox[FromReceiver] = field(default_factory=Inbox)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass(slots=True)
class _Waiting:
    """A prepared state before the core: what it said."""

    prepared: Prepared
    answered: trio.Event = field(default_factory=trio.Event)
    refused: str = ""


class Snapshots:
    """Both sides of a zone. `run` serves for ever; everything else is called from the loop."""

    def __init__(
        self,
        raft: Raft,
        state: State,
        store: Store,
        outside: Outside,
        limits: Limits,
        log: Any,
        *,
        link: Callable[[int], Connection | None],
        step: Callable[[Event], None],
        written_back: Callable[[], Awaitable[None]],
    ) -> None:
        self._raft = raft
        self._link = link
        self._step = step
        self._log = log
        self._store = store
        # A cluster whose membership never changed has none in its log: then the configuration's holds.
        self._base = raft.membership_at(0)
        self.shipper = Shipper(state, store, outside, limits, log)
        self.fetcher = Fetcher(state, store, outside, log, written_back)
        self._wanted: list[SnapshotWanted] = []
        self._bell = Bell()
        self._sending: dict[int, _Sending] = {}
        self._failed: set[int] = set()
        """Peers whose latest attempt was answered with no: the next is with the whole state."""
        self._offered: int | None = None
        self._offer_bell = Bell()
        self._fetching: int | None = None
        self._fetch_scope = trio.CancelScope()
        self._inbox: Inbox[FromSender | StateRecords] = Inbox()
        self._tokens = FIRST_TOKEN
        self._waiting: dict[int, _Waiting] = {}
        self.installs = 0

    # ------------------------------------------------------------------ what the loop says

    def take_ready(self, ready: Ready) -> None:
        """What of a Ready concerns snapshots, but the install itself, which is saved like all else."""
        for wanted in ready.snapshots:
            self._wanted.append(wanted)
            self._bell.ring()
        for refused in ready.refused:
            waiting = self._waiting.pop(refused.token, None)
            if waiting is not None:
                waiting.refused = refused.detail or refused.reason.value
                waiting.answered.set()

    def prepared_as(self, token: int) -> str:
        """The name in the store of what arrived as `token`."""
        return self._waiting[token].prepared.name

    def installed(self, token: int) -> None:
        """It is the state now, durably."""
        self.installs += 1
        self._waiting.pop(token).answered.set()

    def take(self, peer: int, message: SnapshotMessage) -> None:
        """A message of another zone. Raises RemoteProtocolError where nothing of the kind was asked for so often."""
        if isinstance(message, StateNeeded):
            self._offered = peer
            self._offer_bell.ring()
            if not self._waiting:  # once the core has it, it is only moments
                self._fetch_scope.cancel()
        if isinstance(message, TO_SENDER) and peer in self._sending:
            self._sending[peer].inbox.put(message)
        if isinstance(message, TO_RECEIVER) and peer == self._fetching:
            self._inbox.put(message)

    def lost(self, peer: int) -> None:
        """The link to a zone is gone, and whatever was under way on it."""
        if peer in self._sending:
            self._sending[peer].scope.cancel()
        if peer == self._fetching and not self._waiting:
            self._fetch_scope.cancel()

    # ------------------------------------------------------------------ tasks

    async def run(self) -> None:
        """Send, receive and tidy up, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fetch_for_ever)
            nursery.start_soon(self._tidy_for_ever)
            while True:
                await self._bell.wait()
                wanted, self._wanted = self._wanted, []
                for one in wanted:
                    if one.peer not in self._sending:
                        self._sending[one.peer] = _Sending()
                        nursery.start_soon(self._send, one.peer)

    async def _tidy_for_ever(self) -> None:
        while True:
            await trio.sleep(TIDY_S)
            await self.shipper.tidy()

    # ------------------------------------------------------------------ sending

    async def _send(self, peer: int) -> None:
        """One attempt, and word of it to the core, which wants the next if it still needs one."""
        sending, done = self._sending[peer], SnapshotDone(False, "the link is gone")
        with sending.scope:
            connection = self._link(peer)
            if connection is not None:
                done = await self._try(peer, connection, sending)
        if not done.ok:
            self.shipper.failed += 1
            self._log.warning("snapshot-not-sent", peer=peer, problem=done.why)
            await trio.sleep(RETRY_S)
        del self._sending[peer]
        self._step(SnapshotSent(now_ms(), peer, done.ok))

    async def _try(self, peer: int, connection: Connection, sending: _Sending) -> SnapshotDone:
        first = self._raft.first_index
        whole = peer in self._failed
        self._failed.discard(peer)
        goal = Goal(first, self._least_index, self._raft.membership_at, whole, holds_log=True)
        try:
            done, _ = await self.shipper.send(connection, sending.inbox, goal)
        except RemoteProtocolError as problem:
            connection.give_up()
            return SnapshotDone(False, str(problem))
        if not done.ok:
            self._failed.add(peer)
        return done

    def _least_index(self) -> int:
        """A receiver that has the state as of this index can be sent what follows. Where only the memory of the log
        still has its beginning, the term before it is forgotten: then the first entry has to be in the state, too."""
        first = self._raft.first_index
        return first if self._raft.entry_term(first - 1) is None else first - 1

    # ------------------------------------------------------------------ receiving

    async def _fetch_for_ever(self) -> None:
        while True:
            await self._offer_bell.wait()
            peer, self._offered = self._offered, None
            if peer is None:
                continue
            self._fetching, self._inbox = peer, Inbox()
            try:
                with trio.CancelScope() as self._fetch_scope:
                    await self._fetch(peer)
            finally:
                self._fetching = None
                self.fetcher.release()

    async def _fetch(self, peer: int) -> None:
        connection = self._link(peer)
        if connection is None:  # it will ask again
            return
        try:
            prepared = await self.fetcher.fetch(connection, self._inbox)
            why = await self._hand_over(prepared)
        except (Unfetched, RemoteProtocolError) as problem:
            why = str(problem)
            self._log.warning("snapshot-not-received", peer=peer, problem=why)
        connection.post(encode(SnapshotDone(not why, why[:1000])))

    async def _hand_over(self, prepared: Prepared) -> str:
        """Give a prepared state to the core. Returns why it was not taken; empty where it is the state now."""
        self._tokens += 1
        waiting = self._waiting[self._tokens] = _Waiting(prepared)
        index, data = prepared.membership
        membership = (index, data) if data else self._base
        self._step(SnapshotArrived(now_ms(), self._tokens, prepared.index, prepared.term, membership))
        await waiting.answered.wait()
        if waiting.refused:
            await self.fetcher.drop(prepared.name)
            self._log.info("snapshot-refused", name=prepared.name, reason=waiting.refused)
        return waiting.refused
