"""The node's state machine: applying, answering reads, writing back, dropping the log, taking a snapshot's state.

The state is a digest: each applied entry is folded into the one before, so two nodes that applied other entries, or the
same in another order, differ from then on. A snapshot carries it, and the judge compares it at every index.

Leaves out: what an entry means.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING
from zlib import crc32

from chaos.world.disk import Disk, Snapshot
from replica.raft.ready import Install
from replica.raft.types import Entry, Index, NodeId, Term

if TYPE_CHECKING:
    from chaos.world.world import World
    from replica.raft.core import Raft


class Died(Exception):  # an outcome, not an error
    """The process ended at an armed point. The world buries it and starts it again later."""


class Applying:
    """The half of a node behind the log."""

    world: World
    number: NodeId
    disk: Disk
    raft: Raft | None
    life: int
    armed: str | None
    accepted: dict[Index, tuple[Term, int]]
    waiting: set[int]

    def _forget_state(self) -> None:
        """What only memory knew of the state: it is what the disk was last given."""
        self.applied: Index = self.disk.flushed
        self.digest = self.disk.digest
        self._digests: deque[int] = deque()
        """Of every index applied since the last write-back."""
        self._to_apply: deque[Entry] = deque()
        self._apply_due = False
        self.arrived: dict[int, Snapshot] = {}
        """Snapshots that lie whole beside the state, by the token the core knows them by."""
        self._reads: list[tuple[Index, int]] = []
        """Confirmed reads that wait until so much is applied."""

    def _die_at(self, point: str) -> None:
        if self.armed == point:
            raise Died(point)

    # -- applying -------------------------------------------------------------------------------------------------

    def to_apply(self, committed: tuple[Entry, ...]) -> None:
        """What a Ready gives the state machine: now, or a little later."""
        self._to_apply.extend(committed)
        world = self.world
        if not world.weather.apply_ms:
            self._apply()
        elif not self._apply_due:
            self._apply_due = True
            world.at(world.now_ms + int(world.rng.random() * world.weather.apply_ms), self._apply_came, self.life)

    def _apply_came(self, life: int) -> None:
        if life != self.life or self.raft is None:
            return
        self._apply_due = False
        try:
            self._apply()
        except Died as death:
            self.world.died(self, str(death))  # type: ignore[arg-type]  # the one heir is Node

    def _apply(self) -> None:
        world, judge = self.world, self.world.judge
        if self.armed:
            self._die_at("before apply")
        begun = False
        while self._to_apply:
            if begun and self.armed:
                self._die_at("amid apply")
            begun = True
            entry = self._to_apply.popleft()
            self.digest = self.digest_after(entry)
            self._digests.append(self.digest)
            self.applied = entry.index
            judge.applies(self, entry)
            if entry.index in self.accepted:
                world.clients.applied(self, entry)
        if self._reads:
            self._answer_reads()
        weather, random = world.weather, world.rng.random
        if weather.flush and random() < weather.flush:
            self._flush()
        if weather.compaction and random() < weather.compaction:
            self._compact(int(random() * (weather.kept_entries + 1)))

    def digest_after(self, entry: Entry) -> int:
        """The state's digest with one more entry."""
        return crc32(entry.data, self.digest + entry.term)

    def digest_at(self, index: Index) -> int | None:
        """What the digest was at an index; None where that is not known any more, or not yet."""
        if index == self.disk.flushed:
            return self.disk.digest
        place = len(self._digests) - (self.applied - index) - 1
        return self._digests[place] if 0 <= place < len(self._digests) else None

    # -- reads ----------------------------------------------------------------------------------------------------

    def read_confirmed(self, token: int, index: Index) -> None:
        """The core says from which index on a read may be answered."""
        self._reads.append((index, token))
        self._answer_reads()

    def reads_to_come(self) -> set[int]:
        """Confirmed reads that wait for more to be applied. A leader may confirm one as of its term's first entry, and
        fall before that is committed: then the read waits until the log has grown so far again."""
        return {token for _, token in self._reads}

    def _answer_reads(self) -> None:
        waiting = []
        for index, token in self._reads:
            if index <= self.applied:
                self.world.clients.answered(self, token)
            else:
                waiting.append((index, token))
        self._reads = waiting

    # -- the state on the disk ------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """The state machine's own store is written back: never ahead of the durable log."""
        assert self.raft is not None
        index = min(self.applied, self.raft.stable_index)
        if index > self.disk.flushed:
            digest = self.digest_at(index)
            assert digest is not None, f"the digest at {index} of a state at {self.applied} is forgotten"
            self.world.judge.flushes(self, index)
            self.disk.flushed, self.disk.digest = index, digest
            while len(self._digests) > self.applied - index:
                self._digests.popleft()

    def _compact(self, kept: int) -> None:
        """Drops what the state on the disk has made needless, but for `kept` entries."""
        assert self.raft is not None
        flushed = self.disk.flushed
        through = self.raft.compaction_index(flushed, max(1, flushed + 1 - kept), self.world.shipping.sending(self))
        if through > self.disk.durable.base and not any(save.snapshot for save in self.disk.pending):
            self.world.judge.compacts(self, through)
            self.world.count("log compacted", self.number, through)
            self.disk.compact(through)

    # -- snapshots ------------------------------------------------------------------------------------------------

    def take_state(self, install: Install) -> Snapshot:
        """A snapshot's state takes the place of this one; on the disk as soon as its Ready is saved."""
        snapshot = self.arrived.pop(install.token)
        self.world.judge.installs(self, install, snapshot)
        self.world.counts["outcome unknown"] += len(self.accepted)
        self.accepted.clear()
        self._to_apply.clear()
        self._digests.clear()
        self.applied, self.digest = snapshot.index, snapshot.digest
        self._digests.append(self.digest)
        self._answer_reads()
        return snapshot
