"""Readies on their way to the disk: one save at a time, whatever came meanwhile merged into the next.

Merging is the second half of the group commit: while the disk works on one save, the loop goes on, and all it wants
saved in between is one write and one fsync more. One at a time also keeps the order when a save must be tried again:
nothing that came later can be on disk before it.

A snapshot that takes the place of state and log (`Ready.install`) is a save like any other: one job before the
entries that follow on it. What waited of the log it replaces is void.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from replica.raft.messages import Message
from replica.raft.ready import Install, Ready
from replica.raft.types import Entry, HardState
from replica.storage import Install as InstallJob
from replica.storage import LogJob, LogSave


class Saving:
    """Collects what Readies want saved, and what may leave only afterwards."""

    def __init__(
        self,
        write: Callable[[LogJob, Callable[[Exception | None], None]], None],
        prepared_as: Callable[[int], str] = str,
    ) -> None:
        self._write = write
        self._prepared_as = prepared_as
        """The name in the store of the snapshot that arrived as a token."""
        self._install: Install | None = None
        self._installing: Install | None = None
        self.installed: Install | None = None
        """The install that became durable with the latest `finish`; None where it had none."""
        self._hard_state: HardState | None = None
        self._entries: list[Entry] = []
        self._commit = 0
        self._number = 0
        self._in_flight: tuple[LogJob, ...] = ()
        self._in_flight_number = 0
        self._held: list[tuple[int, tuple[Message, ...]]] = []
        self.saved_number = 0

    @property
    def busy(self) -> bool:
        return bool(self._in_flight)

    @property
    def waits(self) -> bool:
        """Whether anything has come together for the next write."""
        return self._pending

    @property
    def install_waits(self) -> bool:
        """Whether an install was asked for that is not durable: nothing may be applied on the old state, or written
        back."""
        return self._install is not None or self._installing is not None

    def add(self, ready: Ready) -> tuple[Message, ...]:
        """Take one Ready in. Returns what may leave at once because nothing before it is unsaved."""
        if ready.must_save:
            if ready.install is not None:
                assert not self.install_waits, f"an install of {ready.install.index} while one is under way"
                self._install = ready.install
                self._entries.clear()
            if ready.hard_state is not None:
                self._hard_state = ready.hard_state
            if ready.entries:
                self._splice(ready.entries)
            self._number = ready.number
        elif not self._unsaved:
            return ready.send_saved
        self._commit = ready.commit_index
        if ready.send_saved:
            self._held.append((ready.number, ready.send_saved))
        return ()

    def start(self, done: Callable[[Exception | None], None], *, may_install: bool = True) -> bool:
        """Write what has come together, unless a write is under way, or an install is due and may not be done yet.
        Returns whether one was started."""
        if self._in_flight or not self._pending or (self._install is not None and not may_install):
            return False
        save = LogSave(self._hard_state, tuple(self._entries), self._commit)
        self._in_flight = (save,) if self._install is None else (self._install_job(self._install), save)
        self._in_flight_number = self._number
        self._installing, self._install = self._install, None
        self._hard_state, self._entries = None, []
        self.again(done)
        return True

    def again(self, done: Callable[[Exception | None], None]) -> None:
        """The write under way left no trace (the disk was full): try the same once more."""
        assert self._in_flight, "nothing is being saved"
        # Jobs are done in their order, and a failure takes all that wait behind it along: `done` may hang on the last.
        for job in self._in_flight[:-1]:
            self._write(job, partial(self._ended, job))
        self._write(self._in_flight[-1], done)

    def _ended(self, job: LogJob, problem: Exception | None) -> None:
        """One of several jobs. An install that is done is not tried again with the entries behind it, for which there
        was no room: what it installed is in its place, and not prepared any more."""
        if problem is None:
            self._in_flight = tuple(one for one in self._in_flight if one is not job)

    def _install_job(self, install: Install) -> InstallJob:
        name = self._prepared_as(install.token)
        return InstallJob(name, install.index, install.term, install.membership, self._hard_state)

    def finish(self) -> tuple[int, tuple[Message, ...]]:
        """The write under way is durable. Returns the Ready's number it stands for, and what may leave now."""
        assert self._in_flight, "nothing is being saved"
        self._in_flight = ()
        self.installed, self._installing = self._installing, None
        self.saved_number = self._in_flight_number
        # A Ready without a save of its own is covered by the save before it, up to the next that has one.
        first_unsaved = self._number if self._pending else None
        messages: list[Message] = []
        while self._held and (self._held[0][0] <= self.saved_number or first_unsaved is None):
            messages += self._held.pop(0)[1]
        return self.saved_number, tuple(messages)

    @property
    def _pending(self) -> bool:
        return self._hard_state is not None or bool(self._entries) or self._install is not None

    @property
    def _unsaved(self) -> bool:
        return bool(self._in_flight) or self._pending

    def _splice(self, entries: tuple[Entry, ...]) -> None:
        """Newer entries replace what waits from their first index on, as they do in the store."""
        first = entries[0].index
        while self._entries and self._entries[-1].index >= first:
            self._entries.pop()
        assert not self._entries or self._entries[-1].index == first - 1, (
            f"entries from {first} after {self._entries[-1].index}"
        )
        self._entries += entries
