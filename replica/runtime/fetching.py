"""Receiving a state: from its first chunk to one that lies prepared beside the old one, ready to take its place.

The same for a zone and a site (wire/snapshot.py has the conversation). Chunks go to the disk as they come, so whoever
is cut off or killed goes on where it was; nothing of the state in use is touched before the install, which is the
caller's (snapshots.py for zones, site.py).

    prepared = await fetcher.fetch(connection, inbox)      # raises Unfetched: everything is as it was
    ...                                                    # install it, or drop it
    fetcher.release()

From the moment a state is being prepared until `release`, nothing is written back here: what lies prepared has this
node's local table as it was, and an install must not meet a write-back. Applying goes on in memory.

A state that takes the place of a damaged one (`anew`) may be as of the very entry that is applied here already, and is
prepared under a name of its own: the one in use may have been made of the same snapshot.

Leaves out: throttling, which is the sender's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from replica.cases import digest as digests
from replica.errors import RemoteProtocolError, StorageFailed, StoreDamaged, StoreError
from replica.runtime.connection import Connection
from replica.runtime.inbox import Inbox, Silent
from replica.runtime.outside import Outside
from replica.runtime.shipping import SILENT_S, still_here
from replica.runtime.state import State
from replica.storage import Store
from replica.storage.snapshot_contract import Manifest, Receiving, check_manifest
from replica.wire.envelope import StateRecords, encode
from replica.wire.feed import StateBegin, StateChunk, StateEnd
from replica.wire.snapshot import FromSender, SnapshotChunk, SnapshotOffer, SnapshotWant, StateAsk

WANTED_AT_ONCE = 8
"""Chunks of one Want; two of those are on their way, so that the line never waits for us."""
MOST_REFUSED = 8
"""Chunks that are not what the offer says, in one attempt."""
MOST_CHANGED_BYTES = 1 << 30


class Unfetched(Exception):
    """This attempt came to nothing; the state is as it was. Says why."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A state that lies beside the one in use, under `name` in the store, as of a committed entry."""

    name: str
    index: int
    term: int
    membership: tuple[int, bytes]


class Fetcher:
    """The receiving side of a node: one state at a time."""

    def __init__(
        self, state: State, store: Store, outside: Outside, log: Any, written_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._state = state
        self._store = store
        self._outside = outside
        self._log = log
        self._written_back = written_back
        self.quiet = False
        """Nothing may be written back just now."""
        self.received_bytes = 0

    def release(self) -> None:
        """The prepared state is in place, or dropped: writing back may go on."""
        self.quiet = False

    async def fetch(
        self, connection: Connection, inbox: Inbox[FromSender | StateRecords], *, anew: bool = False
    ) -> Prepared:
        """One attempt. Call `release` afterwards, whatever comes of it. `anew`: in place of a state that is damaged.

        Raises Unfetched; RemoteProtocolError where the sender does not keep to the protocol; StorageFailed.
        """
        try:
            async with still_here(connection, "receives the state"):
                connection.post(encode(StateAsk(self._state.flushed_index, self._state.flushed_term)))
                while True:
                    first = await inbox.next(SILENT_S)
                    if isinstance(first, SnapshotOffer):
                        return await self._fetch_chunks(connection, inbox, first, anew)
                    if isinstance(first, StateBegin):
                        return await self._fetch_changes(inbox, first)
        except StorageFailed:
            raise
        except (Silent, StoreError) as problem:
            raise Unfetched(str(problem)) from problem

    # ------------------------------------------------------------------ a snapshot

    async def _fetch_chunks(
        self, connection: Connection, inbox: Inbox[FromSender | StateRecords], offered: SnapshotOffer, anew: bool
    ) -> Prepared:
        manifest = manifest_of(offered)
        if manifest.term <= self._state.term:
            # Of a later term and a lower index: this node's own history was given up (a cluster founded anew).
            self._check_newer(manifest.index + anew)
        if anew:
            manifest = replace(manifest, name=f"{offered.name}-{self._outside.random_bytes(4).hex()}")
        receiving = await self._outside.in_worker(partial(self._store.snapshots.receive, manifest))
        missing = len(receiving.missing)
        self._log.info("snapshot-offered", name=manifest.name, chunks=len(manifest.chunks), missing=missing)
        await self._pull(connection, inbox, receiving, offered.name)
        await self._be_quiet()
        local = await self._local()
        try:
            prepare = partial(self._store.snapshots.prepare, manifest.name, local, digests.total)
            await self._outside.in_worker(prepare)
        except StoreDamaged:
            await self.drop(manifest.name)
            raise
        return Prepared(manifest.name, manifest.index, manifest.term, manifest.membership)

    async def _pull(
        self, connection: Connection, inbox: Inbox[FromSender | StateRecords], receiving: Receiving, name: str
    ) -> None:
        """Ask for what misses of the sender's snapshot `name`, a few chunks ahead, until nothing does."""
        refused = 0
        to_ask, asked = list(reversed(receiving.missing)), set[int]()
        while to_ask or asked:
            if to_ask and len(asked) <= WANTED_AT_ONCE:
                want = [to_ask.pop() for _ in range(min(WANTED_AT_ONCE, len(to_ask)))]
                asked.update(want)
                connection.post(encode(SnapshotWant(name, tuple(want))))
                continue
            message = await inbox.next(SILENT_S)
            if not isinstance(message, SnapshotChunk) or message.name != name or message.chunk not in asked:
                continue
            asked.remove(message.chunk)
            try:
                await self._outside.in_worker(partial(receiving.write, message.chunk, message.data))
                self.received_bytes += len(message.data)
            except ValueError as problem:
                refused += 1
                self._log.warning("snapshot-chunk-refused", problem=str(problem))
                if refused > MOST_REFUSED:
                    raise Unfetched(f"{refused} chunks were not what was offered; the last: {problem}") from problem
                to_ask.append(message.chunk)

    # ------------------------------------------------------------------ what changed

    async def _fetch_changes(self, inbox: Inbox[FromSender | StateRecords], begin: StateBegin) -> Prepared:
        self._check_newer(begin.index)
        if begin.bytes > MOST_CHANGED_BYTES:
            raise RemoteProtocolError(f"{begin.bytes} bytes of changed records announced; most {MOST_CHANGED_BYTES}")
        changes: dict[bytes, bytes | None] = {}
        size = 0
        while not isinstance(message := await inbox.next(SILENT_S), StateEnd):
            if isinstance(message, StateChunk):
                changes.update(message.records)
                changes.update(dict.fromkeys(message.deleted))
                size += sum(len(key) + len(value) for key, value in message.records) + sum(map(len, message.deleted))
                if size > begin.bytes:
                    raise RemoteProtocolError(f"more than the {begin.bytes} bytes announced were sent")
        self.received_bytes += size
        await self._be_quiet()
        # Entries that were applied meanwhile may have been written back before it became quiet.
        self._check_newer(begin.index)
        name = f"changed-{begin.index}-{begin.term}"
        local = await self._local()
        applied = (begin.index, begin.term)
        prepare = self._store.snapshots.prepare_changed
        await self._outside.in_worker(partial(prepare, name, changes, applied, local, digests.total, message.digest))
        self._log.info("changes-received", since=begin.since, index=begin.index, bytes=size)
        return Prepared(name, begin.index, begin.term, (begin.membership_index, begin.membership))

    # ------------------------------------------------------------------ both

    def _check_newer(self, index: int) -> None:
        if index <= self._state.index:
            raise Unfetched(f"a state as of {index} was offered, {self._state.index} is applied here")

    async def _be_quiet(self) -> None:
        self.quiet = True
        await self._written_back()

    async def _local(self) -> dict[bytes, bytes]:
        """This node's own table, whole, as the prepared state is to have it."""
        above = self._state.local_above()
        on_disk = await self._outside.in_worker(lambda: dict(self._store.state.local_scan(b"")))
        merged = {**on_disk, **above}
        return {key: value for key, value in merged.items() if value is not None}

    async def drop(self, name: str) -> None:
        """Throw a prepared state away, and the chunks it was made from."""
        await self._outside.in_worker(partial(self._store.snapshots.drop, name))


def manifest_of(offered: SnapshotOffer) -> Manifest:
    """An offer as the store wants it. Raises RemoteProtocolError where it contradicts itself."""
    manifest = Manifest(
        offered.name,
        offered.index,
        offered.term,
        (offered.membership_index, offered.membership),
        offered.digest,
        offered.size,
        offered.chunk_bytes,
        offered.chunks(),
    )
    try:
        check_manifest(manifest)
    except ValueError as problem:
        raise RemoteProtocolError(f"an offer that contradicts itself: {problem}") from problem
    return manifest
