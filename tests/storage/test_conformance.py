"""Both stores pass the battery, and hypothesis finds no sequence of jobs after which they differ."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replica.errors import StoreError
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import (
    Install,
    JournalAppend,
    JournalForget,
    JournalReplace,
    JournalTrim,
    LmdbStore,
    LogJob,
    LogSave,
    Manifest,
    MemoryStore,
    StateFlush,
    StateReplaceAll,
    Store,
    open_store,
)

from .battery import LIFE_1, LIFE_2, LIFE_3, ME, UNLIMITED, StoreBattery, commit_all

SMALL_MAP = 1 << 20
"""Grown as needed: so the growing is part of every run."""


class LmdbDisk:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: LmdbStore | None = None

    def open(self) -> Store:
        self.close()
        self._store = open_store(self._path, ME, create=True, map_size=SMALL_MAP)
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


class MemoryDisk:
    """Each opening is after a power cut: what was committed on a disk that syncs is there."""

    def __init__(self) -> None:
        self._store: MemoryStore | None = None

    def open(self) -> Store:
        self._store = MemoryStore(ME) if self._store is None else self._store.crash()
        return self._store


class TestLmdb(StoreBattery):
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[LmdbDisk]:
        disk = LmdbDisk(tmp_path / "store")
        yield disk
        disk.close()


class TestMemory(StoreBattery):
    @pytest.fixture
    def disk(self) -> MemoryDisk:
        return MemoryDisk()


kinds = st.sampled_from([EntryKind.DATA, EntryKind.DATA, EntryKind.MEMBERSHIP])
payloads = st.binary(max_size=40)
keys = st.sampled_from([b"a", b"ab", b"b", b"b\0", b"\xff", b"k" * 500])
lives = st.sampled_from([LIFE_1, LIFE_2, LIFE_3])
changes = st.dictionaries(keys, st.none() | payloads, max_size=4)


class TwoStores(RuleBasedStateMachine):
    """The same jobs go to both stores; after each of them everything that can be read is equal."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.lmdb = open_store(Path(self.folder.name) / "store", ME, create=True, map_size=SMALL_MAP)
        self.memory = MemoryStore(ME)
        self.term = 1
        self.installs = 0

    def both(self, jobs: list[LogJob]) -> None:
        commit_all(self.lmdb, jobs)
        commit_all(self.memory, jobs)

    @rule(
        back=st.integers(0, 4), datas=st.lists(st.tuples(payloads, kinds), max_size=6), vote=st.integers(0, 3),
        newer=st.booleans(),
    )  # fmt: skip
    def save(self, back: int, datas: list[tuple[bytes, EntryKind]], vote: int, newer: bool) -> None:
        """Append, or replace the newest entries; memberships among them; with hard state or without."""
        self.term += newer
        log = self.memory.log
        first = max(log.first_index(), log.last_index() + 1 - back)
        new = [Entry(first + place, self.term, kind, data) for place, (data, kind) in enumerate(datas)]
        hard = HardState(self.term, vote, rebuilding=vote == 3) if newer else None
        self.both([LogSave(hard, new, first - 1 if vote else None)])

    @rule(keep=st.integers(0, 5))
    def compact(self, keep: int) -> None:
        through = self.memory.log.last_index() - keep
        if through >= 0:
            self.lmdb.log.compact(through)
            self.memory.log.compact(through)

    @rule(ahead=st.integers(0, 5), under=st.none() | st.integers(0, 5), data=payloads)
    def reset(self, ahead: int, under: int | None, data: bytes) -> None:
        index = self.memory.log.last_index() + ahead
        membership = None if under is None else (max(0, index - under), data)
        self.lmdb.log.reset(index, self.term, membership)
        self.memory.log.reset(index, self.term, membership)

    @rule(records=st.lists(st.tuples(lives, payloads), max_size=5))
    def append(self, records: list[tuple[bytes, bytes]]) -> None:
        numbers: dict[bytes, int] = {}
        numbered = []
        for life, payload in records:
            last = self.memory.journal.last_seq(life)
            seq = numbers.get(life, 0 if last is None else last + 1)
            numbers[life] = seq + 1
            numbered.append((life, seq, payload))
        self.both([JournalAppend(numbered)])

    @rule(through=st.lists(st.tuples(lives, st.integers(0, 12)), max_size=3), at_ms=st.none() | st.integers(1, 9))
    def trim(self, through: list[tuple[bytes, int]], at_ms: int | None) -> None:
        self.both([JournalTrim(through, at_ms)])

    @rule(before_ms=st.integers(0, 9), most_bytes=st.integers(0, 200))
    def forget(self, before_ms: int, most_bytes: int) -> None:
        self.both([JournalForget(before_ms, most_bytes)])

    @precondition(lambda self: self.memory.journal.length > 0)
    @rule(which=st.integers(0, 1000), payload=payloads)
    def replace(self, which: int, payload: bytes) -> None:
        held = self.memory.journal.read()
        record = held[which % len(held)]
        self.both([JournalReplace(record.incarnation, record.seq, payload)])

    @rule(changed=changes, local=changes, ahead=st.integers(0, 3))
    def flush(self, changed: dict[bytes, bytes | None], local: dict[bytes, bytes | None], ahead: int) -> None:
        job = StateFlush(changed, self.applied(ahead), local)
        self.lmdb.commit_state([job])
        self.memory.commit_state([job])

    @rule(records=st.dictionaries(keys, payloads, max_size=4), local=changes, index=st.integers(0, 20))
    def replace_all(self, records: dict[bytes, bytes], local: dict[bytes, bytes | None], index: int) -> None:
        job = StateReplaceAll(records, (index, self.term), local)
        self.lmdb.commit_state([job])
        self.memory.commit_state([job])

    @precondition(lambda self: self.memory.state.applied()[0] > 0)
    @rule(local=st.dictionaries(keys, payloads, max_size=3), vote=st.integers(0, 3))
    def install_own_snapshot(self, local: dict[bytes, bytes], vote: int) -> None:
        """Each store receives what it has itself taken: the state stays, local values and the log change."""
        taken = [(store, store.snapshots.take()) for store in (self.lmdb, self.memory)]
        if any(cannot_be_installed(store, manifest) for store, manifest in taken):
            return
        for store, manifest in taken:
            receiving = store.snapshots.receive(manifest)
            for chunk in receiving.missing:
                receiving.write(chunk, store.snapshots.read(manifest.name, chunk))
            store.snapshots.prepare(manifest.name, local)
            hard = HardState(self.term, vote)
            store.commit_log([Install(manifest.name, manifest.index, manifest.term, manifest.membership, hard)])
            store.snapshots.drop(manifest.name)

    @rule(changed=changes, ahead=st.integers(1, 3))
    def install_changes(self, changed: dict[bytes, bytes | None], ahead: int) -> None:
        applied = self.applied(ahead)
        if applied[0] >= self.memory.log.first_index() - 1:
            self.installs += 1
            for store in (self.lmdb, self.memory):
                name = f"changed-{self.installs}"
                store.snapshots.prepare_changed(name, changed, applied, {})
                store.commit_log([Install(name, *applied)])

    def applied(self, ahead: int) -> tuple[int, int]:
        index, term = self.memory.state.applied()
        return (index, term) if ahead == 0 else (index + ahead, self.term)

    @rule()
    def reopen(self) -> None:
        self.lmdb.close()
        self.lmdb = open_store(Path(self.folder.name) / "store", ME, create=False, map_size=SMALL_MAP)
        self.memory = self.memory.crash()
        assert self.lmdb.fresh == self.memory.fresh

    @invariant()
    def equal(self) -> None:
        assert everything(self.lmdb) == everything(self.memory)

    def teardown(self) -> None:
        self.lmdb.close()
        self.folder.cleanup()


def cannot_be_installed(store: Store, manifest: Manifest) -> bool:
    """Whether it is older than the log, or its name is the one of the state in use: equal bytes, installed before."""
    with pytest.raises(StoreError) as caught:
        store.snapshots.prepare(manifest.name, {})
    return store.log.first_index() - 1 > manifest.index or "is installed already" in str(caught.value)


def everything(store: Store) -> dict[str, object]:
    """All that can be read from a store."""
    log, journal, state = store.log, store.journal, store.state
    first, last = log.first_index(), log.last_index()
    return {
        "ends": (first, last, log.term(first - 1), log.term(last)),
        "entries": log.entries(first, last, UNLIMITED) if first <= last else (),
        "portion": log.entries(first, last, 50) if first <= last else (),
        "hard state": (log.hard_state(), log.commit_hint()),
        "journal": (journal.read(), journal.read(2, 3), journal.length, journal.payload_bytes),
        "past": (journal.read_past(), journal.read_past(2, 3), journal.past_length, journal.past_bytes),
        "incarnations": (journal.incarnations(), journal.latest_incarnation(), journal.last_seq(LIFE_2)),
        "memberships": log.memberships(),
        "sizes": (log.payload_bytes, [log.first_within(size) for size in (0, 1, 20, 50, 100, UNLIMITED)]),
        "changed": [state.changed_since(index) for index in range(state.applied()[0] + 2)],
        "state": (list(state.scan(b"")), list(state.scan(b"b")), state.get(b"ab"), state.applied()),
        "local": (list(state.local_scan(b"")), state.local_get(b"a")),
    }


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
