"""The Raft log in LMDB: one key per entry, its index; everything else about it is two numbers at each end.

A save is one transaction: cut off what the new entries replace, append them, put hard state and commit hint beside
them. Reads open a read transaction each (1 µs), so that they see the latest durable commit and hold no old pages.

The *floor* is the (index, term) just before the first entry. It is raised in two steps: `compaction` raises what the
core sees, at once and in the core's own thread; the job frees the space later, some entries per transaction, so that
saves queued behind it do not wait. A crash in between leaves entries below the promised floor: harmless, they are the
same committed entries, and the next compaction takes them.

Left out: which entries may go. The caller keeps what the flushed state does not yet cover (ARCHITECTURE.md section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from replica.errors import StoreDamaged
from replica.raft.types import Entry, HardState, Index, Term
from replica.storage.contract import LogCompact, LogJob, LogReset, LogSave
from replica.storage.environment import MAIN, Environment
from replica.storage.records import (
    Kind,
    decode_entry,
    decode_hard_state,
    decode_number,
    decode_pair,
    encode_entry,
    encode_hard_state,
    encode_number,
    encode_pair,
    key_number,
    number_key,
)

if TYPE_CHECKING:
    import lmdb

    from replica.storage.environment import Transaction

ENTRIES = b"entries"

HARD_STATE_KEY = b"@hard state"
COMMIT_KEY = b"@commit"
FLOOR_KEY = b"@floor"

ENTRIES_PER_COMPACTION = 1000
"""How many entries one transaction drops: about a millisecond, after which waiting saves get their turn."""


def initial_log_records() -> dict[bytes, bytes]:
    """What a new log environment holds. A vote that is absent is never taken for a vote that was not given."""
    return {
        HARD_STATE_KEY: encode_hard_state(HARD_STATE_KEY, HardState()),
        COMMIT_KEY: encode_number(Kind.COMMIT, COMMIT_KEY, 0),
        FLOOR_KEY: encode_pair(Kind.FLOOR, FLOOR_KEY, (0, 0)),
    }


@dataclass(frozen=True, slots=True)
class LogEnds:
    """Where the log begins and ends. Replaced as a whole, so a reader in another thread never sees half of it."""

    floor: tuple[Index, Term]
    last: Index


class LmdbLog:
    """`contract.LogStore` on one environment. `commit` is the way its own jobs take; the store hands it in."""

    def __init__(self, env: Environment, commit: Callable[[Sequence[LogJob]], Sequence[LogJob]]) -> None:
        self._env = env
        self._commit = commit
        self._main = env.database(MAIN)
        self._entries = env.database(ENTRIES)
        self._ends = self._read_ends()
        self._hidden = self._ends.floor

    # --- reading ---

    def first_index(self) -> Index:
        return self._floor()[0] + 1

    def last_index(self) -> Index:
        return self._ends.last

    def term(self, index: Index) -> Term:
        floor, last = self._floor(), self._ends.last
        if index == floor[0]:
            return floor[1]
        assert floor[0] < index <= last, f"term of {index} asked, the log holds {floor[0] + 1}..{last}"
        return self._entry(index).term

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        floor, end = self._floor(), self._ends.last
        assert floor[0] < first <= last <= end, f"entries {first}..{last} asked, the log holds {floor[0] + 1}..{end}"
        with self._env.read() as txn:
            return tuple(self._read_on(txn.cursor(self._entries), first, last, max_bytes))

    def hard_state(self) -> HardState:
        return decode_hard_state(HARD_STATE_KEY, self._env.fixed(HARD_STATE_KEY))

    def commit_hint(self) -> Index:
        return decode_number(Kind.COMMIT, COMMIT_KEY, self._env.fixed(COMMIT_KEY), "commit hint")

    def is_untouched(self) -> bool:
        """Whether nothing was ever saved here that anybody could rely on."""
        hard = self._env.fixed(HARD_STATE_KEY)
        return self._ends == LogEnds((0, 0), 0) and hard == encode_hard_state(HARD_STATE_KEY, HardState())

    # --- one job, one transaction ---

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], commit: Index | None = None) -> None:
        self._commit([LogSave(hard_state, entries, commit)])

    def compaction(self, through: Index) -> LogCompact:
        floor, last = self._floor(), self._ends.last
        assert through <= last, f"compaction through {through} asked, the log ends at {last}"
        if through > floor[0]:
            self._hidden = (through, self.term(through))
        return LogCompact(through)

    def compact(self, through: Index) -> None:
        jobs: Sequence[LogJob] = [self.compaction(through)]
        while jobs:
            jobs = self._commit(jobs)

    def reset(self, index: Index, term: Term) -> None:
        self._commit([LogReset(index, term)])

    # --- inside the transaction of the environment ---

    def staged(self) -> LogEnds:
        """Where a transaction starts from."""
        return self._ends

    def publish(self, ends: LogEnds) -> None:
        """What `write` returned is durable now."""
        self._ends = ends

    def write(self, txn: Transaction, job: LogSave | LogCompact | LogReset, ends: LogEnds) -> tuple[LogEnds, bool]:
        """Write one job. The ends once it is committed, and whether the job has more to do."""
        match job:
            case LogSave():
                return self._save(txn, job, ends), False
            case LogCompact(through):
                return self._drop_some(txn, min(through, ends.last), ends)
            case LogReset(index, term):
                floor = self._floor()[0]
                assert index >= floor, f"reset to {index} of a log that begins after {floor}"
                txn.drop(self._entries, delete=False)
                self._put_floor(txn, (index, term))
                return LogEnds((index, term), index), False

    def _save(self, txn: Transaction, job: LogSave, ends: LogEnds) -> LogEnds:
        if job.hard_state is not None:
            txn.put(HARD_STATE_KEY, encode_hard_state(HARD_STATE_KEY, job.hard_state), db=self._main)
        if job.commit is not None:
            txn.put(COMMIT_KEY, encode_number(Kind.COMMIT, COMMIT_KEY, job.commit), db=self._main)
        if not job.entries:
            return ends
        first = job.entries[0].index
        floor = self._floor()[0]
        assert floor < first <= ends.last + 1, f"entries from {first} on do not join a log of {floor + 1}..{ends.last}"
        cursor = txn.cursor(self._entries)
        if first <= ends.last:
            _delete_from(cursor, first)
        cursor.putmulti(_contiguous(job.entries), append=True)
        return replace(ends, last=job.entries[-1].index)

    def _drop_some(self, txn: Transaction, through: Index, ends: LogEnds) -> tuple[LogEnds, bool]:
        end = min(through, ends.floor[0] + ENTRIES_PER_COMPACTION)
        if end <= ends.floor[0]:
            return ends, False
        sealed = txn.get(number_key(end), None, self._entries)
        if sealed is None:
            raise StoreDamaged(f"log entry {end}", "it is missing")
        floor = (end, decode_entry(end, sealed).term)
        cursor = txn.cursor(self._entries)
        cursor.first()
        while cursor.key() and key_number(cursor.key()) <= end:
            cursor.delete()
        self._put_floor(txn, floor)
        return replace(ends, floor=floor), end < through

    def _put_floor(self, txn: Transaction, floor: tuple[Index, Term]) -> None:
        txn.put(FLOOR_KEY, encode_pair(Kind.FLOOR, FLOOR_KEY, floor), db=self._main)

    # --- details ---

    def _floor(self) -> tuple[Index, Term]:
        """What the core may see: the higher of what is hidden and what is gone. Written by one thread each."""
        return max(self._hidden, self._ends.floor)

    def _entry(self, index: Index) -> Entry:
        sealed = self._env.get(self._entries, number_key(index))
        if sealed is None:
            raise StoreDamaged(f"log entry {index}", "it is missing")
        return decode_entry(index, sealed)

    def _read_on(self, cursor: lmdb.Cursor[bytes], first: Index, last: Index, max_bytes: int) -> Iterator[Entry]:
        expected, total = first, 0
        cursor.set_range(number_key(first))
        while cursor.key() == number_key(expected):
            index, sealed = expected, cursor.value()
            entry = decode_entry(index, sealed)
            total += len(entry.data)
            if index > first and total > max_bytes:
                return
            yield entry
            if index == last:
                return
            expected += 1
            cursor.next()
        raise StoreDamaged(f"log entry {expected}", "it is missing")

    def _read_ends(self) -> LogEnds:
        """Find both ends at opening, and check that nothing is missing between them."""
        floor = decode_pair(Kind.FLOOR, FLOOR_KEY, self._env.fixed(FLOOR_KEY), "log floor")
        with self._env.read() as txn:
            cursor = txn.cursor(self._entries)
            if not cursor.first():
                return LogEnds(floor, floor[0])
            first = key_number(cursor.key())
            cursor.last()
            last = key_number(cursor.key())
            held = txn.stat(self._entries)["entries"]
        if first != floor[0] + 1 or held != last - first + 1:
            raise StoreDamaged(
                f"log entries {first}..{last}", f"{held} are held, and the first should be {floor[0] + 1}"
            )
        return LogEnds(floor, last)


def _delete_from(cursor: lmdb.Cursor[bytes], first: Index) -> None:
    """Delete every entry from `first` on. Deleting moves the cursor on to the next one."""
    if cursor.set_range(number_key(first)):
        while cursor.key():
            cursor.delete()


def _contiguous(entries: Sequence[Entry]) -> Iterator[tuple[bytes, bytes]]:
    for place, entry in enumerate(entries, entries[0].index):
        assert entry.index == place, f"entry {entry.index} stands where {place} should"
        yield number_key(entry.index), encode_entry(entry)
