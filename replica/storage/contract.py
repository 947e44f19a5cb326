"""What a store promises, and the jobs it is given: one contract for the disk and for the simulated disk.

A store has two environments. Each takes *jobs*: plain values that say what to make durable. `commit_log` and
`commit_state` take a sequence of jobs, write all of them in one transaction with one fsync, and return. What returned
is durable; what raised left no trace. A job is a value, not a function, so that a queue of them can be merged, printed
and simulated.

Whoever wants no queue calls the methods of the same name (`log.save`, `journal.append`, `state.flush`): one job, one
transaction. Reading never waits for a writer.

Left out: what the bytes mean. Entries, journal payloads and state records are opaque here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from replica.raft.types import Entry, HardState, Index, LogReader, Term
from replica.storage.identity import Identity
from replica.storage.snapshot_contract import SnapshotStore

Incarnation: TypeAlias = bytes
"""16 random bytes: one life of a site's store (OFFLINE_RULES.md, rule 2)."""

MAX_KEY_BYTES = 500
"""The longest state key. LMDB stops at 511; the caller hashes identifiers over 120 bytes, so a longer key is a bug."""


CHANGED_BYTES = 16 << 20
"""How much the record of changed keys may hold: half a million keys."""


# --- jobs of the log environment ---


@dataclass(frozen=True, slots=True)
class LogSave:
    """One Ready to be made durable: hard state and entries together.

    The entries are contiguous. They replace everything from the first one's index on: a truncation is a save.
    `commit` is the commit index to remember as a hint; None leaves the hint as it is.
    """

    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()
    commit: Index | None = None


@dataclass(frozen=True, slots=True)
class LogCompact:
    """Drop the entries up to and including `through`. Make it with `LogStore.compaction`, never by hand."""

    through: Index


@dataclass(frozen=True, slots=True)
class LogReset:
    """Drop every entry: the log begins after `(index, term)`, as after the install of a state as of that entry.

    `membership` is the newest membership entry up to `index`, as (its index, its data); None where there was none.
    """

    index: Index
    term: Term
    membership: tuple[Index, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Install:
    """Make the state prepared as `name` the state, and do what `LogReset` does, in one transaction.

    Jobs behind it in the same `commit_log` (a `LogSave` of entries after `index`) are in that transaction, too. Once
    it has returned, the same `StateStore` reads the new state, and the old one is deleted. The journal is untouched;
    `hard_state` is written where it is given. A prepared state that is missing, or as of another entry, is refused
    before anything is written (`StoreError`, `StoreDamaged`).

    The caller sees to it that no write-back is queued or under way. One that comes late all the same, with an applied
    index below the new one, is refused as a bug (`StateFlush`).
    """

    name: str
    index: Index
    term: Term
    membership: tuple[Index, bytes] | None = None
    hard_state: HardState | None = None


@dataclass(frozen=True, slots=True)
class JournalAppend:
    """Journal `(incarnation, seq, payload)` in this order. Per incarnation `seq` starts at 0 and has no gap."""

    records: Sequence[tuple[Incarnation, int, bytes]]


@dataclass(frozen=True, slots=True)
class JournalReplace:
    """Write the payload of one held record anew, at its old place (an opening whose `replaces` has changed, rule 7)."""

    incarnation: Incarnation
    seq: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class JournalTrim:
    """Take the records up to and including `seq` (-1: none), per incarnation named, out of the journal. Counters stay
    (rules 3, 15).

    They are deleted; with `at_ms`, a wall time, those that can be read become the journal's *past* instead.
    """

    through: Sequence[tuple[Incarnation, int]]
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class JournalForget:
    """Delete of the journal's past what is from before `before_ms`, and the oldest until what is left has `most_bytes`
    of payload at most."""

    before_ms: int
    most_bytes: int


LogJob: TypeAlias = (
    LogSave | LogCompact | LogReset | Install | JournalAppend | JournalReplace | JournalTrim | JournalForget
)


# --- jobs of the state environment ---


@dataclass(frozen=True, slots=True)
class StateFlush:
    """Changed records (None deletes) with the index and term they are the result of, and changes of the local table.

    `applied` never goes back: an index below the store's own, or the same index with another term, is a bug
    (AssertionError, nothing written). So a write-back that was queued before an `Install` cannot spoil the new state.
    """

    changes: Mapping[bytes, bytes | None]
    applied: tuple[Index, Term]
    local: Mapping[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class StateReplaceAll:
    """A whole new state instead of the old one, in one transaction. `local` is changes, as in `StateFlush`."""

    records: Mapping[bytes, bytes]
    applied: tuple[Index, Term]
    local: Mapping[bytes, bytes | None]


StateJob: TypeAlias = StateFlush | StateReplaceAll


# --- what is read ---


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record of the journal. A damaged one has its name and place, and no payload."""

    position: int
    """Counts up from 1 over all incarnations, in the order of journalling; never used twice."""
    incarnation: Incarnation
    seq: int
    payload: bytes
    damaged: bool = False


class LogStore(LogReader, Protocol):
    """The Raft log, the term and the vote. Everything that can be read here is durable.

    Reads of an entry, the hard state or a term raise `StoreDamaged` where the checksum fails. An index that is not held
    is the caller's bug (AssertionError).
    """

    def hard_state(self) -> HardState:
        """The last hard state saved; `HardState()` where none ever was."""

    def memberships(self) -> tuple[tuple[Index, bytes], ...]:
        """The membership entries held, oldest first, as (index, data), and before them the last compacted one.

        So that a restart finds the membership in force at every index held without scanning the log. () for a log that
        never had one.
        """

    @property
    def payload_bytes(self) -> int:
        """How many bytes of data the entries held have."""

    def first_within(self, max_bytes: int) -> Index:
        """The least index such that the entries from it to the end have at most `max_bytes` of data.

        `last_index() + 1` where not even the last one fits. It costs some twenty reads, however long the log is.
        """

    def commit_hint(self) -> Index:
        """The last commit index saved, 0 where none was. A hint only: the truth is found by Raft."""

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], commit: Index | None = None) -> None:
        """Commit one `LogSave`."""

    def compaction(self, through: Index) -> LogCompact:
        """From this call on `first_index()` is `through + 1`; committing the returned job frees the space.

        Two steps, so that the core (same thread as this call) never sees an entry vanish between asking whether it is
        held and reading it. `through` below the first index changes nothing; above the last it is a bug.
        """

    def compact(self, through: Index) -> None:
        """`compaction(through)` and all the transactions its job takes."""

    def reset(self, index: Index, term: Term, membership: tuple[Index, bytes] | None = None) -> None:
        """Commit one `LogReset`."""


class JournalStore(Protocol):
    """A site's journal: what this site did and the agreed log may not have yet (OFFLINE_RULES.md)."""

    @property
    def length(self) -> int:
        """How many records are held."""

    @property
    def payload_bytes(self) -> int:
        """How many bytes their payloads have."""

    def append(self, records: Sequence[tuple[Incarnation, int, bytes]]) -> None:
        """Commit one `JournalAppend`."""

    def replace(self, incarnation: Incarnation, seq: int, payload: bytes) -> None:
        """Commit one `JournalReplace`."""

    @property
    def past_length(self) -> int:
        """How many records the journal has let go of and still remembers."""

    @property
    def past_bytes(self) -> int:
        """How many bytes their payloads have."""

    def trim(self, through: Sequence[tuple[Incarnation, int]], at_ms: int | None = None) -> None:
        """Commit one `JournalTrim`, in as many transactions as it takes."""

    def forget(self, before_ms: int, most_bytes: int) -> None:
        """Commit one `JournalForget`, in as many transactions as it takes."""

    def read_past(self, after_position: int = 0, limit: int = 1000) -> list[JournalRecord]:
        """As `read`, from the past: in the order of journalling, without those that cannot be read."""

    def read(self, after_position: int = 0, limit: int = 1000) -> list[JournalRecord]:
        """The next `limit` records behind `after_position`, in order, damaged ones among them."""

    def last_seq(self, incarnation: Incarnation) -> int | None:
        """The highest number ever journalled under this incarnation, trimmed or not; None for one never seen."""

    def latest_incarnation(self) -> tuple[Incarnation, int] | None:
        """The incarnation opened last with its `last_seq`; None before the first."""

    def incarnations(self) -> tuple[tuple[Incarnation, int], ...]:
        """Every incarnation ever opened here with its `last_seq`, in the order of their first record."""


class StateStore(Protocol):
    """The applied state, its applied index, and a table of local values that are not replicated.

    After an `Install` the same object reads the new state; an open scan goes on in it. Every value read is checked;
    `StoreDamaged` names the key.
    """

    def get(self, key: bytes) -> bytes | None:
        """The record under `key`, as of the last flush.

        A record whose *key* was damaged is absent here; only a scan meets it. Scan everything once at start.
        """

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All records whose key begins with `prefix`, in key order.

        Read in portions, each of one moment: a slow caller holds no old pages, and may see a flush that happened
        between two portions.
        """

    def applied(self) -> tuple[Index, Term]:
        """The log entry the records are the result of; (0, 0) for a new store."""

    def changed_since(self, index: Index) -> frozenset[bytes] | None:
        """The keys changed or deleted by write-backs after `index`; None where that is no longer known.

        As fine as the write-backs are: one that reaches over `index` counts whole. The record is bounded
        (`CHANGED_BYTES`), the oldest goes first; a whole state that replaced another, or was installed, begins it anew.
        Reading all of it takes a tenth of a second: ask in a worker thread.
        """

    def local_get(self, key: bytes) -> bytes | None:
        """As `get`, from the local table."""

    def local_scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As `scan`, from the local table."""

    def flush(
        self,
        changes: Mapping[bytes, bytes | None] | Iterable[tuple[bytes, bytes | None]],
        applied: tuple[Index, Term],
        local: Mapping[bytes, bytes | None] | None = None,
    ) -> None:
        """Commit one `StateFlush`."""

    def replace_all(
        self,
        records: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]],
        applied: tuple[Index, Term],
        local: Mapping[bytes, bytes | None] | None = None,
    ) -> None:
        """Commit one `StateReplaceAll`."""


class Store(Protocol):
    """One node's data: the log environment (log and journal) and the state environment."""

    @property
    def log(self) -> LogStore: ...
    @property
    def journal(self) -> JournalStore: ...
    @property
    def state(self) -> StateStore: ...
    @property
    def snapshots(self) -> SnapshotStore: ...
    @property
    def identity(self) -> Identity:
        """Whose store it is, as recorded in it."""

    @property
    def fresh(self) -> bool:
        """Whether it was opened with nothing in it that counts: no vote, entry, journal record or applied index.

        A node of an existing cluster that finds its store fresh has lost it, and with it its promises (D10). It stays
        fresh until the first save, also over a crash right after creation.
        """

    def commit_log(self, jobs: Sequence[LogJob]) -> Sequence[LogJob]:
        """Make all jobs durable in one transaction. Returns those that have more to do: commit them again, later.

        Raises `StorageFull` (nothing was written, all can be tried again), `StorageFailed` (stop), `StoreDamaged`.
        """

    def commit_state(self, jobs: Sequence[StateJob]) -> Sequence[StateJob]:
        """As `commit_log`, for the state environment."""

    def has_room(self) -> bool:
        """Whether the log and the journal could grow, as far as the disk goes: asked by trying, so it blocks a
        little."""

    def close(self) -> None:
        """Release everything. Close the writers first. Closing twice is harmless."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
