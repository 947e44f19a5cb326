"""Sending a state to who lacks it: another zone whose next entry is compacted, or a site that the feed's ring has left
behind.

Who is only a little behind gets the records that changed since, read as of one moment while applying and writing back
go on; who is further behind, or was never here, pulls a snapshot chunk by chunk (wire/snapshot.py). Both are paced
together, and never more than about one chunk waits on a connection, so that heartbeats pass between them.

    done = await shipper.send(connection, inbox, goal)      # one attempt; whoever failed is tried again by its caller

Leaves out: who needs it and when (snapshots.py for zones, feed.py for sites), and how snapshots are kept (storage).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import trio

from replica.cases import digest as digests
from replica.cases import keys, queries
from replica.cases.records import Layer, Overlay, Records
from replica.config import Limits
from replica.errors import RemoteProtocolError, StorageFailed, StoreDamaged, StoreError
from replica.runtime.connection import Connection
from replica.runtime.inbox import Inbox, Silent
from replica.runtime.outside import Outside
from replica.runtime.state import Moment, State
from replica.storage import Store
from replica.storage.snapshot_contract import Look, Manifest
from replica.wire.envelope import encode
from replica.wire.feed import StateBegin, StateEnd, state_chunks
from replica.wire.limits import MAX_CHUNK_BYTES
from replica.wire.snapshot import (
    FromReceiver,
    SnapshotChunk,
    SnapshotDone,
    SnapshotOffer,
    SnapshotWant,
    StateAsk,
    StateNeeded,
    StillHere,
)

T = TypeVar("T")

SILENT_S = 10.0
"""A receiver that says nothing for so long is given up. While it works it says that it is still there."""
STILL_HERE_S = 0.1
LOOK_AGAIN_S = 10.0
"""This node's own state is read through no more often than that."""
MOST_WAITING_BYTES = MAX_CHUNK_BYTES // 4
"""With more than that waiting to leave, the next chunk is not put on top."""
MOST_HELD = 2
MOST_CHANGED_KEYS = 200_000
MOMENTS = 5
"""How often the records of one moment are tried for before the whole is sent: a write-back in between spoils one."""
FLUSHED_AGAIN_S = 0.02
RESUME_S = 30.0
"""After an attempt that failed, the log behind its snapshot is kept for so long: who died in the middle comes back for
the rest, and would have to begin anew with a newer one."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What one receiver needs. `first`: what is kept begins there. `least`: a state as of an index below this is of no
    use to it, as things are when it is called. `membership`: the one in force at an index."""

    first: int
    least: Callable[[], int]
    membership: Callable[[int], tuple[int, bytes]]
    whole: bool = False
    """Whether the records that changed will not do: an attempt with those has failed."""
    holds_log: bool = False
    """Whether the log after it is to be kept until it is there (zones)."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Records as of (index, term) that changed after `since`; None: gone."""

    since: int
    index: int
    term: int
    digest: bytes
    records: tuple[tuple[bytes, bytes | None], ...]
    size: int


@dataclass(frozen=True, slots=True)
class _Hold:
    """The log after `index` is kept."""

    index: int
    until_s: float = math.inf


class Pace:
    """So many bytes a second, for everybody who spends from it together."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_s = -1.0

    async def spend(self, size: int) -> None:
        """Wait until so much may leave."""
        self._free_s = max(self._free_s, trio.current_time()) + size / self._bytes_per_s
        await trio.sleep_until(self._free_s)


class Shipper:
    """The sending side of a node. Every receiver has its own task; what they share is the pace and the snapshots."""

    def __init__(self, state: State, store: Store, outside: Outside, limits: Limits, log: Any) -> None:
        self._state = state
        self._store = store
        self._outside = outside
        self.limits = limits
        self._log = log
        self._pace = Pace(limits.snapshot_mib_per_s << 20)
        self._taking = trio.Lock()
        self._in_use: Counter[str] = Counter()
        self._used_s: dict[str, float] = {}
        self._held_for: dict[object, _Hold] = {}
        self.snapshot_bytes = 0
        """Of the snapshot that was taken or used last; 0 before the first."""
        self.sent_bytes = 0
        """Of chunks and changed records, since the start."""
        self.sent_changes = 0
        self.sent_snapshots = 0
        self.failed = 0
        self._looked_s = -LOOK_AGAIN_S

    @property
    def sending_index(self) -> int | None:
        """The least index of a state that is on its way to another zone, or was until just now; None for none."""
        now = trio.current_time()
        self._held_for = {at: hold for at, hold in self._held_for.items() if hold.until_s > now}
        return min((hold.index for hold in self._held_for.values()), default=None)

    @property
    def sending(self) -> int:
        """How many receivers are being served."""
        return self._in_use.total()

    async def send(self, connection: Connection, inbox: Inbox[FromReceiver], goal: Goal) -> tuple[SnapshotDone, int]:
        """Bring one receiver up: what it said at the end, and the index it then stands at.

        Raises RemoteProtocolError where it does not keep to the protocol, StorageFailed, and StoreDamaged where what
        could not be used was damaged here: then this node has to be rebuilt.
        """
        done, index = await self._send(connection, inbox, goal)
        if not done.ok:
            await self._look_at_own_state()
        return done, index

    async def _look_at_own_state(self) -> None:
        """After a failed attempt: what was sent may be no good because it is none here. Each record has a checksum that
        only its reader checks, and a copy of the store is made without reading. So all are read now; rarely, since that
        takes a second for a million of them."""
        now = trio.current_time()
        if now - self._looked_s < LOOK_AGAIN_S:
            return
        self._looked_s = now
        await self._outside.in_worker(partial(_read_all, self._store))

    async def _send(self, connection: Connection, inbox: Inbox[FromReceiver], goal: Goal) -> tuple[SnapshotDone, int]:
        inbox.clear()
        at = object()
        done = SnapshotDone(False)
        try:
            async with still_here(connection, "sends the state"):
                connection.post(encode(StateNeeded(goal.first)))
                ask = await _heard(inbox, StateAsk)
                done, index = await self._answer(connection, inbox, goal, ask, at)
                return done, index
        except StorageFailed:
            raise
        except (Silent, StoreError) as problem:
            return SnapshotDone(False, str(problem)), 0
        finally:
            hold = self._held_for.pop(at, None)
            if hold is not None and not done.ok:
                self._held_for[at] = _Hold(hold.index, trio.current_time() + RESUME_S)

    async def _answer(
        self, connection: Connection, inbox: Inbox[FromReceiver], goal: Goal, ask: StateAsk, at: object
    ) -> tuple[SnapshotDone, int]:
        changes = None if goal.whole else await self.changes_since(ask.index)
        if changes is not None and changes.index >= goal.least():
            if goal.holds_log:
                self._held_for[at] = _Hold(changes.index)
            self.sent_changes += 1
            return await self._send_changes(connection, inbox, changes, goal), changes.index
        async with self._snapshot(goal, at) as manifest:
            self.sent_snapshots += 1
            return await self._send_chunks(connection, inbox, manifest), manifest.index

    # ------------------------------------------------------------------ what changed

    async def changes_since(self, index: int) -> Changes | None:
        """The records that changed after `index`, as of one moment; None where there are too many, or nobody knows."""
        for _ in range(MOMENTS):
            flushed = self._state.flushed_index
            changed = await self._outside.in_worker(partial(self._store.state.changed_since, index))
            if changed is None or len(changed) > MOST_CHANGED_KEYS:
                return None
            if self._state.flushed_index != flushed:
                continue
            moment = self._state.moment()
            digest = bytes.fromhex(queries.digest(self._state))
            most = self.limits.changed_mib << 20
            records = await self._outside.in_worker(partial(_read_changed, self._store, moment, changed, most))
            if records is None:
                return None
            # A write-back that began since may have put later records under those just read.
            if self._state.last_frozen_index == moment.last_frozen_index:
                size = sum(len(key) + len(value or b"") for key, value in records)
                return Changes(index, moment.index, moment.term, digest, records, size)
        return None

    async def as_of_one_moment(self, read: Callable[[Records], T]) -> tuple[Moment, T] | None:
        """What `read` finds in the state, beside the loop, and the moment it is of. None where the state was written
        back each time meanwhile: then it is of none."""
        for _ in range(MOMENTS):
            moment = self._state.moment()
            found = await self._read_as_of(read, moment)
            if self._state.last_frozen_index == moment.last_frozen_index:
                return moment, found
        return None

    async def of_about_now(self, read: Callable[[Records], T]) -> T:
        """The same of no one moment: records of a little later may be among them."""
        return await self._read_as_of(read, self._state.moment())

    async def _read_as_of(self, read: Callable[[Records], T], moment: Moment) -> T:
        return await self._outside.in_worker(lambda: read(Overlay(self._store.state, Layer(moment.above))))

    async def _send_changes(
        self, connection: Connection, inbox: Inbox[FromReceiver], changes: Changes, goal: Goal
    ) -> SnapshotDone:
        self._log.info("changes-sent", since=changes.since, index=changes.index, bytes=changes.size)
        count = len(changes.records)
        membership = goal.membership(changes.index)
        begin = StateBegin(changes.index, changes.term, count, changes.size, changes.since, *membership)
        connection.post(encode(begin))
        for chunk in state_chunks(changes.records, MAX_CHUNK_BYTES):
            encoded = encode(chunk)
            await self.put(connection, encoded)
        connection.post(encode(StateEnd(changes.digest)))
        done: SnapshotDone = await _heard(inbox, SnapshotDone)
        return done

    async def put(self, connection: Connection, encoded: bytes) -> None:
        """Send it when its time has come: what one node sends of its state is paced together."""
        await self._pace.spend(len(encoded))
        await connection.until_below(MOST_WAITING_BYTES)
        connection.post(encoded)
        self.sent_bytes += len(encoded)

    # ------------------------------------------------------------------ a snapshot

    async def _send_chunks(
        self, connection: Connection, inbox: Inbox[FromReceiver], manifest: Manifest
    ) -> SnapshotDone:
        connection.post(encode(offer(manifest)))
        while not connection.broken:
            message = await inbox.next(SILENT_S)
            if isinstance(message, SnapshotDone):
                return message
            if not isinstance(message, SnapshotWant) or message.name != manifest.name:
                continue
            for number in message.chunks:
                if number >= len(manifest.chunks):
                    raise RemoteProtocolError(f"chunk {number} of {len(manifest.chunks)} was asked for")
                data = await self._read(manifest, number)
                await self.put(connection, encode(SnapshotChunk(manifest.name, number, data)))
        return SnapshotDone(False, "the connection broke")

    async def _read(self, manifest: Manifest, number: int) -> bytes:
        try:
            return await self._outside.in_worker(partial(self._store.snapshots.read, manifest.name, number))
        except StoreDamaged as damaged:
            # The next attempt takes a new one.
            self._log.error("snapshot-damaged", problem=str(damaged))
            await self._outside.in_worker(partial(self._store.snapshots.drop, manifest.name))
            raise

    @asynccontextmanager
    async def _snapshot(self, goal: Goal, at: object) -> AsyncIterator[Manifest]:
        """A snapshot that is new enough: one that is held, or a new one. Kept while in here."""
        async with self._taking:
            manifest = next((one for one in reversed(self.held) if one.index >= goal.least()), None)
            if manifest is None:
                manifest = await self._take(goal, at)
            self._in_use[manifest.name] += 1
            if goal.holds_log:
                self._held_for[at] = _Hold(manifest.index)
        self.snapshot_bytes = manifest.size
        try:
            yield manifest
        finally:
            self._in_use[manifest.name] -= 1
            self._used_s[manifest.name] = trio.current_time()

    async def _take(self, goal: Goal, at: object) -> Manifest:
        # Only what is written back can be copied.
        while self._state.flushed_index < max(1, goal.least()):  # noqa: ASYNC110 - the next write-back is near
            await trio.sleep(FLUSHED_AGAIN_S)
        if goal.holds_log:
            # Taking takes its time; the log behind the copy must be there when it is done.
            self._held_for[at] = _Hold(self._state.flushed_index)
        await self._drop_unused(MOST_HELD - 1)
        begun = trio.current_time()
        manifest = await self._outside.in_worker(partial(self._store.snapshots.take, None, _digest_of))
        ms = int((trio.current_time() - begun) * 1000)
        self._log.info("snapshot-taken", name=manifest.name, index=manifest.index, bytes=manifest.size, ms=ms)
        return manifest

    @property
    def held(self) -> tuple[Manifest, ...]:
        """The snapshots that can be sent, oldest first."""
        return self._store.snapshots.held()

    async def tidy(self) -> None:
        """Drop what nobody has asked for in a long time. Call it every so often."""
        now = trio.current_time()
        for manifest in self.held:
            used = self._used_s.setdefault(manifest.name, now)
            if not self._in_use[manifest.name] and now - used >= self.limits.snapshot_keep_s:
                await self._drop(manifest)

    async def _drop_unused(self, most: int) -> None:
        """Make room for one more: the oldest go first. Those on their way stay, however many."""
        held = self.held
        unused = [manifest for manifest in held if not self._in_use[manifest.name]]
        for manifest in unused[: max(0, len(held) - most)]:
            await self._drop(manifest)

    async def _drop(self, manifest: Manifest) -> None:
        self._used_s.pop(manifest.name, None)
        self._in_use.pop(manifest.name, None)
        try:
            await self._outside.in_worker(partial(self._store.snapshots.drop, manifest.name))
        except StoreError as problem:
            self._log.warning("snapshot-not-dropped", name=manifest.name, problem=str(problem))


def offer(manifest: Manifest) -> SnapshotOffer:
    """A manifest as it goes over the wire."""
    return SnapshotOffer(
        manifest.name,
        manifest.index,
        manifest.term,
        *manifest.membership,
        manifest.digest,
        manifest.size,
        manifest.chunk_bytes,
        b"".join(manifest.chunks),
    )


@asynccontextmanager
async def still_here(connection: Connection, work: str) -> AsyncIterator[None]:
    """Say every so often that this side is at work, so that nobody takes it for dead."""
    message = encode(StillHere(work))

    async def say() -> None:
        while True:
            await trio.sleep(STILL_HERE_S)
            if connection.waiting_bytes < MOST_WAITING_BYTES:
                connection.post(message)

    problem: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        try:
            yield
        except Exception as raised:  # out of the nursery as it is, not in a group of one
            problem = raised
        nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem


async def _heard(inbox: Inbox[FromReceiver], kind: type[Any]) -> Any:
    """The next message of that kind. Others belong to an earlier attempt."""
    while not isinstance(message := await inbox.next(SILENT_S), kind):
        pass
    return message


def _digest_of(look: Look) -> bytes:
    """The digest that a copied state keeps of itself."""
    return look(keys.DIGEST_TOTAL) or digests.ZERO


def _read_all(store: Store) -> None:
    """Raises StoreDamaged for the first record that is not what was written."""
    for _ in store.state.scan(b""):
        pass


def _read_changed(
    store: Store, moment: Moment, changed: frozenset[bytes], most: int
) -> tuple[tuple[bytes, bytes | None], ...] | None:
    """The records under those keys, memory over disk, in key order; None where they have more than `most` bytes."""
    records: list[tuple[bytes, bytes | None]] = []
    size = 0
    for key in sorted(changed | moment.above.keys()):
        value = moment.above[key] if key in moment.above else store.state.get(key)
        size += len(key) + len(value or b"")
        if size > most:
            return None
        records.append((key, value))
    return tuple(records)
