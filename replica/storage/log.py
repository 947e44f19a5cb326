"""The Raft log in LMDB: one key per entry, its index; everything else about it is two numbers at each end.

A save is one transaction: cut off what the new entries replace, append them, put hard state and commit hint beside
them. Each entry also says how many bytes of data the log has up to it, so the size of any part of it is a difference,
and the place where the last so many bytes begin is a binary search, on a log of a million entries as on a short one.
Reads open a read transaction each (1 µs), so that they see the latest durable commit and hold no old pages.

The *floor* is what is known of the entry just before the first one. It is raised in two steps: `compaction` raises what
the core sees, at once and in the core's own thread; the job frees the space later, some entries per transaction, so
that saves queued behind it do not wait. A crash in between leaves entries below the promised floor: harmless, they are
the same committed entries, and the next compaction takes them.

Left out: which entries may go. The caller keeps what the flushed state does not yet cover (ARCHITECTURE.md section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from replica.errors import StoreDamaged
from replica.raft.types import Entry, HardState, Index, Term
from replica.storage import memberships
from replica.storage.contract import Install, LogCompact, LogJob, LogReset, LogSave
from replica.storage.environment import MAIN, Environment
from replica.storage.memberships import MEMBERSHIPS
from replica.storage.records import (
    Kind,
    decode_counted_entry,
    decode_entry,
    decode_floor,
    decode_hard_state,
    decode_number,
    encode_entry,
    encode_floor,
    encode_hard_state,
    encode_number,
    key_number,
    number_key,
    seal,
    unseal,
)

if TYPE_CHECKING:
    import lmdb

    from replica.storage.environment import Database, Transaction

ENTRIES = b"entries"

HARD_STATE_KEY = b"@hard state"
COMMIT_KEY = b"@commit"
FLOOR_KEY = b"@floor"
POINTER_KEY = b"@state folder"
"""Which folder has the state. It lies here, since it changes in the transaction that resets the log."""

ENTRIES_PER_COMPACTION = 1000
"""How many entries one transaction drops: about a millisecond, after which waiting saves get their turn."""


def initial_log_records() -> dict[bytes, bytes]:
    """What a new log environment holds. A vote that is absent is never taken for a vote that was not given."""
    return {
        HARD_STATE_KEY: encode_hard_state(HARD_STATE_KEY, HardState()),
        COMMIT_KEY: encode_number(Kind.COMMIT, COMMIT_KEY, 0),
        FLOOR_KEY: encode_floor(FLOOR_KEY, (0, 0, 0)),
    }


@dataclass(frozen=True, slots=True, order=True)
class Floor:
    """The entry before the first one. Of two floors the higher holds."""

    index: Index
    term: Term
    end_bytes: int


@dataclass(frozen=True, slots=True)
class LogEnds:
    """Where the log begins and ends. Replaced as a whole, so a reader in another thread never sees half of it."""

    floor: Floor
    last: Index
    last_bytes: int
    """`end_bytes` of the last entry (of the floor, where none is held)."""


class LmdbLog:
    """`contract.LogStore` on one environment. `commit` is the way its own jobs take; the store hands it in."""

    def __init__(self, env: Environment, commit: Callable[[Sequence[LogJob]], Sequence[LogJob]]) -> None:
        self._env = env
        self._commit = commit
        self._main = env.database(MAIN)
        self._entries = env.database(ENTRIES)
        self._memberships = env.database_if_any(MEMBERSHIPS)
        self._ends = self._read_ends()
        self._hidden = self._ends.floor

    # --- reading ---

    def first_index(self) -> Index:
        return self._floor().index + 1

    def last_index(self) -> Index:
        return self._ends.last

    def term(self, index: Index) -> Term:
        floor, last = self._floor(), self._ends.last
        if index == floor.index:
            return floor.term
        assert floor.index < index <= last, f"term of {index} asked, the log holds {floor.index + 1}..{last}"
        return self._entry(index)[0].term

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        floor, end = self._floor(), self._ends.last
        assert floor.index < first <= last <= end, (
            f"entries {first}..{last} asked, the log holds {floor.index + 1}..{end}"
        )
        with self._env.read() as txn:
            return tuple(self._read_on(txn.cursor(self._entries), first, last, max_bytes))

    def memberships(self) -> tuple[tuple[Index, bytes], ...]:
        if self._memberships is None:  # a store of format 1 that is only read
            return ()
        with self._env.read() as txn:
            return memberships.read(txn, self._memberships, self._floor().index)

    @property
    def payload_bytes(self) -> int:
        ends = self._ends
        return ends.last_bytes - max(self._hidden, ends.floor).end_bytes

    def first_within(self, max_bytes: int) -> Index:
        with self._env.read() as txn:  # both ends are of this transaction's moment, whatever was committed since
            floor = max(self._hidden, Floor(*decode_floor(FLOOR_KEY, txn.get(FLOOR_KEY, b"", self._main))))
            cursor = txn.cursor(self._entries)
            if not cursor.last():
                return floor.index + 1
            last = key_number(cursor.key())
            enough = self._counted(last, cursor.value()) - max_bytes
            if floor.end_bytes >= enough:
                return floor.index + 1
            return self._first_reaching(txn, enough, floor.index, last) + 1

    def hard_state(self) -> HardState:
        return decode_hard_state(HARD_STATE_KEY, self._env.fixed(HARD_STATE_KEY))

    def commit_hint(self) -> Index:
        return decode_number(Kind.COMMIT, COMMIT_KEY, self._env.fixed(COMMIT_KEY), "commit hint")

    def is_untouched(self) -> bool:
        """Whether nothing was ever saved here that anybody could rely on."""
        hard = self._env.fixed(HARD_STATE_KEY)
        return self._ends == LogEnds(Floor(0, 0, 0), 0, 0) and hard == encode_hard_state(HARD_STATE_KEY, HardState())

    # --- one job, one transaction ---

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], commit: Index | None = None) -> None:
        self._commit([LogSave(hard_state, entries, commit)])

    def compaction(self, through: Index) -> LogCompact:
        floor, last = self._floor(), self._ends.last
        assert through <= last, f"compaction through {through} asked, the log ends at {last}"
        if through > floor.index:
            self._hidden = self._floor_at(through, *self._entry(through))
        return LogCompact(through)

    def compact(self, through: Index) -> None:
        jobs: Sequence[LogJob] = [self.compaction(through)]
        while jobs:
            jobs = self._commit(jobs)

    def reset(self, index: Index, term: Term, membership: tuple[Index, bytes] | None = None) -> None:
        self._commit([LogReset(index, term, membership)])

    # --- inside the transaction of the environment ---

    def staged(self) -> LogEnds:
        """Where a transaction starts from."""
        return self._ends

    def publish(self, ends: LogEnds) -> None:
        """What `write` returned is durable now."""
        self._ends = ends

    def write(
        self, txn: Transaction, job: LogSave | LogCompact | LogReset | Install, ends: LogEnds
    ) -> tuple[LogEnds, bool]:
        """Write one job. The ends once it is committed, and whether the job has more to do."""
        match job:
            case LogSave():
                return self._save(txn, job, ends), False
            case LogCompact(through):
                return self._drop_some(txn, min(through, ends.last), ends)
            case LogReset(index, term, membership):
                return self._reset(txn, index, term, membership, ends), False
            case Install():
                self._put_hard_state(txn, job.hard_state)
                txn.put(POINTER_KEY, encode_pointer(state_folder_of(job.name)), db=self._main)
                return self._reset(txn, job.index, job.term, job.membership, ends), False

    def _save(self, txn: Transaction, job: LogSave, ends: LogEnds) -> LogEnds:
        self._put_hard_state(txn, job.hard_state)
        if job.commit is not None:
            txn.put(COMMIT_KEY, encode_number(Kind.COMMIT, COMMIT_KEY, job.commit), db=self._main)
        if not job.entries:
            return ends
        first = job.entries[0].index
        floor = self._floor().index
        assert floor < first <= ends.last + 1, f"entries from {first} on do not join a log of {floor + 1}..{ends.last}"
        end_bytes = ends.last_bytes
        cursor = txn.cursor(self._entries)
        if first <= ends.last:
            end_bytes = self._end_bytes(txn, first - 1, ends)
            _delete_from(cursor, first)
            memberships.cut(txn, self._membership_table, first)
        cursor.putmulti(_contiguous(job.entries, end_bytes), append=True)
        memberships.append(txn, self._membership_table, job.entries)
        end_bytes += sum(len(entry.data) for entry in job.entries)
        return replace(ends, last=job.entries[-1].index, last_bytes=end_bytes)

    def _drop_some(self, txn: Transaction, through: Index, ends: LogEnds) -> tuple[LogEnds, bool]:
        end = min(through, ends.floor.index + ENTRIES_PER_COMPACTION)
        if end <= ends.floor.index:
            return ends, False
        sealed = txn.get(number_key(end), None, self._entries)
        if sealed is None:
            raise StoreDamaged(f"log entry {end}", "it is missing")
        floor = self._floor_at(end, *decode_counted_entry(end, sealed))
        cursor = txn.cursor(self._entries)
        cursor.first()
        while cursor.key() and key_number(cursor.key()) <= end:
            cursor.delete()
        memberships.compact(txn, self._membership_table, end)
        self._put_floor(txn, floor)
        return replace(ends, floor=floor), end < through

    def _reset(
        self, txn: Transaction, index: Index, term: Term, membership: tuple[Index, bytes] | None, ends: LogEnds
    ) -> LogEnds:
        """The count of bytes goes on: a floor that was hidden before never stands above the new one."""
        visible = max(self._hidden, ends.floor).index
        assert index >= visible, f"reset to {index} of a log that begins after {visible}"
        txn.drop(self._entries, delete=False)
        memberships.reset(txn, self._membership_table, index, membership)
        floor = Floor(index, term, ends.last_bytes)
        self._put_floor(txn, floor)
        return LogEnds(floor, index, ends.last_bytes)

    def _put_hard_state(self, txn: Transaction, hard: HardState | None) -> None:
        if hard is not None:
            txn.put(HARD_STATE_KEY, encode_hard_state(HARD_STATE_KEY, hard), db=self._main)

    def _put_floor(self, txn: Transaction, floor: Floor) -> None:
        txn.put(FLOOR_KEY, encode_floor(FLOOR_KEY, (floor.index, floor.term, floor.end_bytes)), db=self._main)

    # --- details ---

    def _floor(self) -> Floor:
        """What the core may see: the higher of what is hidden and what is gone. Written by one thread each."""
        return max(self._hidden, self._ends.floor)

    @property
    def _membership_table(self) -> Database:
        assert self._memberships is not None, "a store that is written has all its tables"
        return self._memberships

    def _entry(self, index: Index) -> tuple[Entry, int | None]:
        sealed = self._env.get(self._entries, number_key(index))
        if sealed is None:
            raise StoreDamaged(f"log entry {index}", "it is missing")
        return decode_counted_entry(index, sealed)

    def _floor_at(self, index: Index, entry: Entry, end_bytes: int | None) -> Floor:
        return Floor(index, entry.term, end_bytes or 0)

    def _counted(self, index: Index, sealed: bytes | None) -> int:
        """`end_bytes` of a held entry; 0 in a store of format 1 that is only read."""
        if sealed is None:
            raise StoreDamaged(f"log entry {index}", "it is missing")
        return decode_counted_entry(index, sealed)[1] or 0

    def _end_bytes(self, txn: Transaction, index: Index, ends: LogEnds) -> int:
        """As `_counted`, inside a transaction, also for the floor."""
        if index == ends.floor.index:
            return ends.floor.end_bytes
        return self._counted(index, txn.get(number_key(index), None, self._entries))

    def _first_reaching(self, txn: Transaction, enough: int, below: Index, reaches: Index) -> Index:
        """The first entry whose `end_bytes` is `enough`: `below` is not there yet, `reaches` is."""
        while reaches - below > 1:
            middle = (below + reaches) // 2
            if self._counted(middle, txn.get(number_key(middle), None, self._entries)) < enough:
                below = middle
            else:
                reaches = middle
        return reaches

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
        floor = Floor(*decode_floor(FLOOR_KEY, self._env.fixed(FLOOR_KEY)))
        with self._env.read() as txn:
            cursor = txn.cursor(self._entries)
            if not cursor.first():
                return LogEnds(floor, floor.index, floor.end_bytes)
            first = key_number(cursor.key())
            cursor.last()
            last, sealed = key_number(cursor.key()), cursor.value()
            held = txn.stat(self._entries)["entries"]
        if first != floor.index + 1 or held != last - first + 1:
            raise StoreDamaged(
                f"log entries {first}..{last}", f"{held} are held, and the first should be {floor.index + 1}"
            )
        try:
            return LogEnds(floor, last, self._counted(last, sealed))
        except StoreDamaged:  # whoever reads the entry hears of it; the rest can still be read, and the journal saved
            return LogEnds(floor, last, floor.end_bytes)


def state_folder_of(name: str) -> str:
    """The folder of the state that was prepared as `name`."""
    return f"state.{name}"


def encode_pointer(folder: str) -> bytes:
    return seal(Kind.POINTER, POINTER_KEY, folder.encode())


def decode_pointer(sealed: bytes) -> str:
    """The name of the state's folder. Raises `StoreDamaged`: another state than the log's is not guessed."""
    return unseal(Kind.POINTER, POINTER_KEY, sealed, "name of the state's folder").decode()


def _delete_from(cursor: lmdb.Cursor[bytes], first: Index) -> None:
    """Delete every entry from `first` on. Deleting moves the cursor on to the next one."""
    if cursor.set_range(number_key(first)):
        while cursor.key():
            cursor.delete()


def _contiguous(entries: Sequence[Entry], end_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    for place, entry in enumerate(entries, entries[0].index):
        assert entry.index == place, f"entry {entry.index} stands where {place} should"
        end_bytes += len(entry.data)
        yield number_key(entry.index), encode_entry(entry, end_bytes)
