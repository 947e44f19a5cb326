"""A site: the desk with its journal, the local copy of the state, and the line to whichever zone answers.

The core decides (replica/offline); this carries it out: journal records to the disk, operations to the zone, effects from the
feed into the local copy, and what came back durable back to the core.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import trio

from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import Verdict
from replica.config import SiteConfig
from replica.errors import RemoteProtocolError
from replica.offline import events
from replica.offline.core import SiteConfig as CoreConfig
from replica.offline.core import SiteCore
from replica.runtime.bell import now_ms
from replica.runtime.desk import Desk, Done
from replica.runtime.disk import Disk
from replica.runtime.line import Line
from replica.runtime.state import State
from replica.runtime.writeback import in_loop, write_back
from replica.storage import JournalAppend, JournalReplace, JournalTrim, StateReplaceAll, Store
from replica.wire.operation_codec import decode_operation, decode_verdict, encode_verdict

READ_AT_ONCE = 1000


class DiskJournal:
    """A desk's journal on disk: records and rewritten openings in one write, `done` when they are durable."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

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
        self._disk.write_log(JournalTrim(tuple(through)), lambda problem: None)


class SiteNode:
    """One Samu's copy and journal. `run_line` and the other tasks serve until cancelled."""

    def __init__(self, config: SiteConfig, store: Store, disk: Disk, log: Any) -> None:
        self.config = config
        self.log = log
        self._disk = disk
        self.state = State(store.state)
        journal, damaged = read_journal(store)
        for record in damaged:
            log.error("journal-record-damaged", operation=f"{config.site.name}/{record[0].hex()}/{record[1]}")
        core = SiteCore(
            site=config.site.name,
            incarnation=secrets.token_bytes(16),
            base=self.state,
            applied=(self.state.index, self.state.term),
            journal=journal,
            latest=store.journal.latest_incarnation(),
            config=core_config(config),
            now_ms=now_ms(),
            decided=self.decided,
            mint=lambda: secrets.token_bytes(16),
            damaged=damaged,
        )
        self.line = Line(config, self, log)
        self.desk = Desk(
            core, DiskJournal(disk), self.line.submit, self._keep, log, config.limits.waiting_operations
        )
        self.desk.turn()

    def decided(self, operation: OperationId) -> tuple[int, Verdict] | None:
        """What the local table knows of an own operation: (index, verdict)."""
        record = self.state.local(decision_key(operation))
        if record is None:
            return None
        return int.from_bytes(record[:8], "big"), decode_verdict(record[8:])

    # ------------------------------------------------------------------ what the line brings

    def arrived(self, effects: events.Effects) -> None:
        """The effects of the next entry. Raises RemoteProtocolError where they are not the next: the line is renewed."""
        if effects.index != self.state.index + 1:
            raise RemoteProtocolError(f"effects of {effects.index} after {self.state.index}")
        self.state.advance(effects.changes, effects.index, effects.term)
        self.desk.step(events.Arrived(now_ms(), effects))

    async def replace_state(self, index: int, term: int, records: dict[bytes, bytes]) -> None:
        """Put a whole state in place: this site was too far behind for the feed."""
        problem = await in_loop(lambda done: self._disk.write_state(StateReplaceAll(records, (index, term), {}), done))
        if problem is not None:
            raise problem
        self.state.replaced(index, term)
        self.log.info("state-replaced", index=index, records=len(records))
        self.desk.step(events.Replaced(now_ms(), index, term))
        self.desk.step(events.Flushed(now_ms(), index))

    async def flush_for_ever(self) -> None:
        """Write the local copy back every so often; what is flushed may be trimmed from the journal."""
        while True:
            await trio.sleep(self.config.timing.flush_interval_ms / 1000)
            await self.flush()

    async def flush(self) -> None:
        if self.state.can_freeze and not self.line.replacing:
            await write_back(self.state, self._disk)
            self.desk.step(events.Flushed(now_ms(), self.state.flushed_index))

    def _keep(self, decisions: Sequence[events.Decision]) -> None:
        for decision in decisions:
            record = decision.index.to_bytes(8, "big") + encode_verdict(decision.verdict)
            self.state.put_local(decision_key(decision.operation), record)


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


def core_config(config: SiteConfig) -> CoreConfig:
    """The core's configuration out of the file's."""
    return CoreConfig(
        cut_off_after_ms=config.timing.cut_off_after_ms,
        stable_ms=config.timing.stable_ms,
        resend_ms=config.timing.resend_ms,
    )
