"""A site's journal in LMDB: what this site did, in order, until the agreed state has it for certain.

Three tables, and a fourth for what it lets go of and still remembers (past.py). *Records*: position → incarnation, seq,
payload; positions count up and are never used twice. *Places*: (incarnation, seq) → position, which finds a record to
replace or trim, and tells the name of a record whose own bytes are damaged. *Counters*, one per incarnation: how far it
has counted. "A durable counter kept with the journal, not the journal's maximum (a trimmed journal is empty)"
(OFFLINE_RULES.md, rule 3).

A damaged record does not stop the reading of the others: it is given with its name and without its payload, so that it
can be submitted as a tombstone and named to a person.

Left out: which records may be trimmed, what an opening says, when to send (replica/offline).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from struct import Struct
from typing import TYPE_CHECKING

from replica.errors import StoreDamaged
from replica.storage.contract import (
    Incarnation,
    JournalAppend,
    JournalForget,
    JournalRecord,
    JournalReplace,
    JournalTrim,
    LogJob,
)
from replica.storage.environment import MAIN, Environment
from replica.storage.past import Past, PastEnds
from replica.storage.records import (
    SUM_BYTES,
    Kind,
    decode_counter,
    decode_number,
    encode_counter,
    encode_number,
    is_sound,
    key_number,
    number_key,
    seal,
)

if TYPE_CHECKING:
    from replica.storage.environment import Transaction

RECORDS = b"journal"
PLACES = b"journal places"
COUNTER_PREFIX = b"@incarnation "
KNOWN_KEY = b"@incarnations known"
"""How many counters there are, so that a missing one is missed."""
INCARNATION_BYTES = 16

RECORDS_PER_TRIM = 1000
"""How many records one transaction deletes: a few milliseconds, after which waiting appends get their turn."""

_NAME = Struct(">16sQ")
_HEADER_BYTES = SUM_BYTES + _NAME.size


def initial_journal_records() -> dict[bytes, bytes]:
    """What a new log environment holds for its journal."""
    return {KNOWN_KEY: encode_number(Kind.KNOWN, KNOWN_KEY, 0)}


@dataclass(frozen=True, slots=True)
class Counter:
    """How far one incarnation has counted: its place in the order of openings, its last seq, and where that stands."""

    order: int
    last_seq: int
    position: int


@dataclass(frozen=True, slots=True)
class JournalEnds:
    """What a transaction starts from and leaves. Replaced as a whole once it is durable."""

    counters: dict[Incarnation, Counter] | None
    """None where no append was made since opening. Never changed in place."""
    length: int
    payload_bytes: int
    missing: dict[int, tuple[Incarnation, int]]
    """Places without their record, by position: the key of the record was damaged. Never changed in place."""
    past: PastEnds


class LmdbJournal:
    """`contract.JournalStore` on one environment."""

    def __init__(self, env: Environment, commit: Callable[[Sequence[LogJob]], Sequence[LogJob]]) -> None:
        self._env = env
        self._commit = commit
        self._main = env.database(MAIN)
        self._records = env.database(RECORDS)
        self._places = env.database(PLACES)
        self._past = Past(env)
        self._ends = self._measure()

    # --- reading ---

    @property
    def length(self) -> int:
        return self._ends.length

    @property
    def payload_bytes(self) -> int:
        return self._ends.payload_bytes

    @property
    def past_length(self) -> int:
        return self._ends.past.length

    @property
    def past_bytes(self) -> int:
        return self._ends.past.payload_bytes

    def read_past(self, after_position: int = 0, limit: int = 1000) -> list[JournalRecord]:
        return self._past.read(after_position, limit)

    def read(self, after_position: int = 0, limit: int = 1000) -> list[JournalRecord]:
        missing = self._ends.missing
        found = {at: JournalRecord(at, *missing[at], b"", damaged=True) for at in missing if at > after_position}
        with self._env.read() as txn:
            cursor = txn.cursor(self._records)
            cursor.set_range(number_key(after_position + 1))
            room = limit
            while cursor.key() and room > 0:
                record = self._decode(txn, *cursor.item())
                if record is not None and (record.position not in found or not record.damaged):
                    found[record.position] = record
                    room -= 1
                cursor.next()
        return [found[position] for position in sorted(found)[:limit]]

    def last_seq(self, incarnation: Incarnation) -> int | None:
        counter = self._counters().get(incarnation)
        return None if counter is None else counter.last_seq

    def latest_incarnation(self) -> tuple[Incarnation, int] | None:
        known = self.incarnations()
        return known[-1] if known else None

    def incarnations(self) -> tuple[tuple[Incarnation, int], ...]:
        known = sorted(self._counters().items(), key=lambda item: item[1].order)
        return tuple((incarnation, counter.last_seq) for incarnation, counter in known)

    def is_untouched(self) -> bool:
        """Whether nothing was ever journalled here."""
        return self._env.fixed(KNOWN_KEY) == initial_journal_records()[KNOWN_KEY] and self._ends.length == 0

    # --- one job, one transaction ---

    def append(self, records: Sequence[tuple[Incarnation, int, bytes]]) -> None:
        self._commit([JournalAppend(records)])

    def replace(self, incarnation: Incarnation, seq: int, payload: bytes) -> None:
        self._commit([JournalReplace(incarnation, seq, payload)])

    def trim(self, through: Sequence[tuple[Incarnation, int]], at_ms: int | None = None) -> None:
        self._commit_all(JournalTrim(through, at_ms))

    def forget(self, before_ms: int, most_bytes: int) -> None:
        self._commit_all(JournalForget(before_ms, most_bytes))

    def _commit_all(self, job: LogJob) -> None:
        jobs: Sequence[LogJob] = [job]
        while jobs:
            jobs = self._commit(jobs)

    # --- inside the transaction of the environment ---

    def staged(self) -> JournalEnds:
        """Where a transaction starts from."""
        return self._ends

    def publish(self, ends: JournalEnds) -> None:
        """What `write` returned is durable now."""
        self._ends = ends

    def write(
        self, txn: Transaction, job: JournalAppend | JournalReplace | JournalTrim | JournalForget, ends: JournalEnds
    ) -> tuple[JournalEnds, bool]:
        """Write one job. The ends once it is committed, and whether the job has more to do."""
        match job:
            case JournalAppend():
                return self._append(txn, job, ends), False
            case JournalReplace():
                return self._replace(txn, job, ends), False
            case JournalTrim():
                return self._trim_some(txn, job, ends)
            case JournalForget(before_ms, most_bytes):
                past, more = self._past.forget(txn, before_ms, most_bytes, RECORDS_PER_TRIM, ends.past)
                return replace(ends, past=past), more

    def _append(self, txn: Transaction, job: JournalAppend, ends: JournalEnds) -> JournalEnds:
        counters = dict(self._read_counters(txn) if ends.counters is None else ends.counters)
        position = max([counter.position for counter in counters.values()], default=0)
        records, places, added = [], [], 0
        for incarnation, seq, payload in job.records:
            position += 1
            counters[incarnation] = _counted(counters, incarnation, seq, position)
            records.append((number_key(position), _sealed_record(position, incarnation, seq, payload)))
            place = _NAME.pack(incarnation, seq)
            places.append((place, encode_number(Kind.JOURNAL_PLACE, place, position)))
            added += len(payload)
        txn.cursor(self._records).putmulti(records)
        txn.cursor(self._places).putmulti(places)
        for incarnation in sorted({record[0] for record in job.records}):
            self._put_counter(txn, incarnation, counters[incarnation])
        if ends.counters is None or len(counters) > len(ends.counters):
            txn.put(KNOWN_KEY, encode_number(Kind.KNOWN, KNOWN_KEY, len(counters)), db=self._main)
        return JournalEnds(counters, ends.length + len(records), ends.payload_bytes + added, ends.missing, ends.past)

    def _put_counter(self, txn: Transaction, incarnation: Incarnation, counter: Counter) -> None:
        key = COUNTER_PREFIX + incarnation
        txn.put(key, encode_counter(key, (counter.order, counter.last_seq, counter.position)), db=self._main)

    def _replace(self, txn: Transaction, job: JournalReplace, ends: JournalEnds) -> JournalEnds:
        place = _NAME.pack(job.incarnation, job.seq)
        sealed = txn.get(place, None, self._places)
        assert sealed is not None, f"journal record {_named(job.incarnation, job.seq)} is not held"
        position = _position(place, sealed)
        new = _sealed_record(position, job.incarnation, job.seq, job.payload)
        old = txn.pop(number_key(position), self._records)
        txn.put(number_key(position), new, db=self._records)
        grown = len(new) - (_HEADER_BYTES if old is None else len(old))
        return replace(ends, payload_bytes=ends.payload_bytes + grown, missing=_without(ends.missing, position))

    def _trim_some(self, txn: Transaction, job: JournalTrim, ends: JournalEnds) -> tuple[JournalEnds, bool]:
        for incarnation, seq in job.through:
            room = RECORDS_PER_TRIM - (self._ends.length - ends.length)
            ends, more = self._trim_one(txn, incarnation, seq, room, job.at_ms, ends)
            if more:
                return ends, True
        return ends, False

    def _trim_one(
        self, txn: Transaction, incarnation: Incarnation, seq: int, room: int, at_ms: int | None, ends: JournalEnds
    ) -> tuple[JournalEnds, bool]:
        cursor = txn.cursor(self._places)
        cursor.set_range(_NAME.pack(incarnation, 0))
        end = _NAME.pack(incarnation, seq) if seq >= 0 else b""
        freed = dropped = 0
        missing = ends.missing
        gone: list[JournalRecord] = []
        while cursor.key() and cursor.key() <= end:
            if dropped >= room:
                break
            position = _position(*cursor.item())
            record = txn.pop(number_key(position), self._records)
            freed += 0 if record is None else len(record) - _HEADER_BYTES
            if record is not None and is_sound(Kind.JOURNAL, number_key(position), record):
                name = _NAME.unpack_from(record, SUM_BYTES)
                gone.append(JournalRecord(position, name[0], name[1], record[_HEADER_BYTES:]))
            dropped += 1
            missing = _without(missing, position)
            cursor.delete()
        more = bool(cursor.key()) and cursor.key() <= end
        past = ends.past if at_ms is None else self._past.remember(txn, gone, at_ms, ends.past)
        left = replace(
            ends, length=ends.length - dropped, payload_bytes=ends.payload_bytes - freed, missing=missing, past=past
        )
        return left, more

    # --- details ---

    def _decode(self, txn: Transaction, key: bytes, sealed: bytes) -> JournalRecord | None:
        """None for bytes under a damaged key: whose they are is known from the place that misses them."""
        if is_sound(Kind.JOURNAL, key, sealed):
            incarnation, seq = _NAME.unpack_from(sealed, SUM_BYTES)
            return JournalRecord(key_number(key), incarnation, seq, sealed[_HEADER_BYTES:])
        for place, value in txn.cursor(self._places):
            if is_sound(Kind.JOURNAL_PLACE, place, value) and value[SUM_BYTES:] == key:
                incarnation, seq = _NAME.unpack(place)
                return JournalRecord(key_number(key), incarnation, seq, b"", damaged=True)
        return None

    def _counters(self) -> dict[Incarnation, Counter]:
        known = self._ends.counters
        if known is not None:
            return known
        with self._env.read() as txn:
            return self._read_counters(txn)

    def _read_counters(self, txn: Transaction) -> dict[Incarnation, Counter]:
        """Raises `StoreDamaged`: a number might be used twice, so this site journals nothing more."""
        counters: dict[Incarnation, Counter] = {}
        cursor = txn.cursor(self._main)
        cursor.set_range(COUNTER_PREFIX)
        while cursor.key().startswith(COUNTER_PREFIX):
            key, sealed = cursor.item()
            incarnation = key[len(COUNTER_PREFIX) :]
            name = f"journal counter of incarnation {incarnation.hex()}"
            counters[incarnation] = Counter(*decode_counter(key, sealed, name))
            cursor.next()
        sealed = txn.get(KNOWN_KEY, b"", self._main)
        known = decode_number(Kind.KNOWN, KNOWN_KEY, sealed, "number of journal counters")
        if known != len(counters):
            raise StoreDamaged("journal counters", f"{len(counters)} are held, there were {known}")
        return counters

    def _measure(self) -> JournalEnds:
        """Length and bytes at opening, and the places whose record is not under its key."""
        with self._env.read() as txn:
            sizes = {key: len(value) - _HEADER_BYTES for key, value in txn.cursor(self._records)}
            missing = {
                key_number(value[SUM_BYTES:]): _NAME.unpack(place)
                for place, value in txn.cursor(self._places)
                if value[SUM_BYTES:] not in sizes and is_sound(Kind.JOURNAL_PLACE, place, value)
            }
            length = txn.stat(self._places)["entries"]
        return JournalEnds(None, length, sum(sizes.values()), missing, self._past.measure())


def _position(place: bytes, sealed: bytes) -> int:
    """Where the record named by `place` lies. Raises `StoreDamaged`: a doubtful place could lead to another record."""
    name = _named(*_NAME.unpack(place)) if len(place) == _NAME.size else repr(place)
    return decode_number(Kind.JOURNAL_PLACE, place, sealed, f"place of {name}")


def _without(missing: dict[int, tuple[Incarnation, int]], position: int) -> dict[int, tuple[Incarnation, int]]:
    return {at: name for at, name in missing.items() if at != position} if position in missing else missing


def _counted(counters: dict[Incarnation, Counter], incarnation: Incarnation, seq: int, position: int) -> Counter:
    """The counter after one more record. A gap would keep everything behind it waiting for ever (rule 5)."""
    assert len(incarnation) == INCARNATION_BYTES, f"an incarnation has {len(incarnation)} bytes, not 16"
    before = counters.get(incarnation)
    expected = 0 if before is None else before.last_seq + 1
    assert seq == expected, f"journal record {_named(incarnation, seq)}, expected seq {expected}"
    return Counter(len(counters) + 1 if before is None else before.order, seq, position)


def _sealed_record(position: int, incarnation: Incarnation, seq: int, payload: bytes) -> bytes:
    return seal(Kind.JOURNAL, number_key(position), _NAME.pack(incarnation, seq) + payload)


def _named(incarnation: Incarnation, seq: int) -> str:
    return f"({incarnation.hex()}, {seq})"
