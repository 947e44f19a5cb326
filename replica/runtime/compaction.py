"""Compaction: the log is kept for as long as it is worth more than a snapshot, and not longer.

Entries may go once the state they led to is on this disk (the flushed index), except those that a follower a little
behind will ask for: the latest ones, up to a byte budget, but no more than a snapshot has, since beyond that the
snapshot is the shorter way. A state that is on its way to another zone holds on to the log behind it. The core has the
last word (raft/snapshots.py), and the disk does it in small steps between its saves (storage/log.py).

Leaves out: when (the zone's write-back calls it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from replica.storage import LogCompact, LogStore

LEAST_WORTH_BYTES = 1 << 20
"""However small the state: less than this of the log is not worth dropping."""


class Core(Protocol):
    """What of the log's core is asked."""

    def compaction_index(self, flushed_index: int, keep_from: int, sending: int | None = None) -> int: ...


class Compaction:
    """One node's. One job at a time is with the disk."""

    def __init__(
        self,
        core: Core,
        log: LogStore,
        write: Callable[[LogCompact, Callable[[Exception | None], None]], None],
        keep_bytes: int,
    ) -> None:
        self._core = core
        self._log = log
        self._write = write
        self._keep_bytes = keep_bytes
        self._busy = False
        self.through = log.first_index() - 1
        """Everything up to here is dropped."""

    def run(self, flushed_index: int, sending: int | None, snapshot_bytes: int) -> bool:
        """Drop what need not be kept. `snapshot_bytes`: what a snapshot has, 0 where none was ever taken. Returns
        whether a job went to the disk."""
        keep_bytes = self._budget(snapshot_bytes)
        if self._busy or self._log.payload_bytes <= keep_bytes:
            return False
        through = self._core.compaction_index(flushed_index, self._log.first_within(keep_bytes), sending)
        if through < self._log.first_index():
            return False
        self._busy = True
        self.through = through
        self._write(self._log.compaction(through), self._done)
        return True

    def _budget(self, snapshot_bytes: int) -> int:
        if not snapshot_bytes:
            return self._keep_bytes
        return min(self._keep_bytes, max(snapshot_bytes, LEAST_WORTH_BYTES))

    def _done(self, problem: Exception | None) -> None:
        # On a full disk it is tried again with the next one; what was to go is still there or not, both are right.
        self._busy = False
