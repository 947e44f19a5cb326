"""Everything in the two environments of a simulated disk, as somebody sees it: the process, or the power cut.

A commit is applied whole. A torn one is applied and then some of its records are spoiled, as pages that never got to
the disk: what it wrote is there new or is found damaged, and nothing is quietly the old value under a new index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from replica.errors import StoreDamaged
from replica.storage.contract import (
    Install,
    JournalAppend,
    JournalForget,
    JournalReplace,
    JournalTrim,
    LogCompact,
    LogJob,
    LogReset,
    LogSave,
    StateFlush,
    StateJob,
    StateReplaceAll,
)
from replica.storage.memory_journal import MemoryJournal
from replica.storage.memory_log import MemoryLog
from replica.storage.memory_state import MemoryState

if TYPE_CHECKING:
    from collections.abc import Callable

    from replica.storage.contract import Store


@dataclass(frozen=True, slots=True)
class Installing:
    """An `Install` with the state that had been prepared when it was committed."""

    job: Install
    prepared: MemoryState


MemoryJob: TypeAlias = LogJob | StateJob | Installing


class Contents:
    """Log, journal and state. `installed` is the name of the snapshot the state was made from, None for none."""

    def __init__(self, log: MemoryLog, journal: MemoryJournal, state: MemoryState, installed: str | None) -> None:
        self.log = log
        self.journal = journal
        self.state = state
        self.installed = installed

    @classmethod
    def empty(cls, store: Store, changed_bytes: int) -> Contents:
        """Of a new store."""
        return cls(
            MemoryLog(store.commit_log), MemoryJournal(store.commit_log),
            MemoryState(store.commit_state, changed_bytes), None,
        )  # fmt: skip

    def copy(self, store: Store) -> Contents:
        """What a new process finds, to be written through `store`."""
        return Contents(
            self.log.copy(store.commit_log), self.journal.copy(store.commit_log), self.state.copy(store.commit_state),
            self.installed,
        )  # fmt: skip

    def apply(self, jobs: Sequence[MemoryJob]) -> None:
        """Do what committed jobs do."""
        for job in jobs:
            match job:
                case LogSave() | LogCompact() | LogReset():
                    self.log.apply(job)
                case JournalAppend() | JournalReplace() | JournalTrim() | JournalForget():
                    self.journal.apply(job)
                case Installing(install, prepared):
                    self.log.apply(install)
                    self.state.become(prepared)
                    self.installed = install.name
                case Install():
                    raise AssertionError(f"an install of {job.name} without its prepared state")
                case StateFlush() | StateReplaceAll():
                    self.state.apply(job)

    def is_untouched(self) -> bool:
        """Whether nothing was ever saved here that anybody could rely on."""
        return self.log.untouched and self.state.untouched and not self.journal.incarnations()


Spoil: TypeAlias = "Callable[[Contents], None]"


def records_in(jobs: Sequence[MemoryJob]) -> list[Spoil]:
    """For each record that a commit writes, in order, what it means that this one is damaged."""
    return [spoil for job in jobs for spoil in _records_of(job)]


def tear(contents: Contents, jobs: Sequence[MemoryJob], sound: int) -> None:
    """Apply a commit of which only the first `sound` records got to the disk.

    Raises `StoreDamaged` where an opening would: without the floor, the applied index or the state's name.
    """
    contents.apply(jobs)
    for spoil in records_in(jobs)[sound:]:
        spoil(contents)


def _records_of(job: MemoryJob) -> list[Spoil]:
    match job:
        case LogSave():
            entries: list[Spoil] = [_entry(entry.index) for entry in job.entries]
            return ([] if job.hard_state is None else [_hard_state]) + entries
        case LogCompact() | LogReset():
            return [_refused("log floor")]
        case Installing():
            return [_refused("log floor"), _refused("name of the state's folder")]
        case JournalAppend(records):
            return [_journal(incarnation, seq) for incarnation, seq, _ in records]
        case JournalReplace(incarnation, seq):
            return [_journal(incarnation, seq)]
        case JournalTrim() | JournalForget() | Install():
            return []
        case StateFlush(written) | StateReplaceAll(written):
            return [*(_record(key) for key in sorted(written)), _refused("applied index and term")]


def _entry(index: int) -> Spoil:
    return lambda contents: contents.log.damage(index)


def _hard_state(contents: Contents) -> None:
    contents.log.damage(None)


def _journal(incarnation: bytes, seq: int) -> Spoil:
    return lambda contents: contents.journal.damage(incarnation, seq)


def _record(key: bytes) -> Spoil:
    return lambda contents: contents.state.damage(key)


def _refused(record: str) -> Spoil:
    def spoil(_: Contents) -> None:
        raise StoreDamaged(record, "its checksum does not match its bytes")

    return spoil
