"""Both stores pass the battery, and hypothesis finds no sequence of jobs after which they differ."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import (
    JournalAppend,
    JournalReplace,
    JournalTrim,
    LmdbStore,
    LogJob,
    LogSave,
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

    def both(self, jobs: list[LogJob]) -> None:
        commit_all(self.lmdb, jobs)
        commit_all(self.memory, jobs)

    @rule(back=st.integers(0, 4), datas=st.lists(payloads, max_size=6), vote=st.integers(0, 3), newer=st.booleans())
    def save(self, back: int, datas: list[bytes], vote: int, newer: bool) -> None:
        """Append, or replace the newest entries; with hard state or without."""
        self.term += newer
        log = self.memory.log
        first = max(log.first_index(), log.last_index() + 1 - back)
        new = [Entry(first + place, self.term, EntryKind.DATA, data) for place, data in enumerate(datas)]
        hard = HardState(self.term, vote, rebuilding=vote == 3) if newer else None
        self.both([LogSave(hard, new, first - 1 if vote else None)])

    @rule(keep=st.integers(0, 5))
    def compact(self, keep: int) -> None:
        through = self.memory.log.last_index() - keep
        if through >= 0:
            self.lmdb.log.compact(through)
            self.memory.log.compact(through)

    @rule(ahead=st.integers(0, 5))
    def reset(self, ahead: int) -> None:
        index = self.memory.log.last_index() + ahead
        self.lmdb.log.reset(index, self.term)
        self.memory.log.reset(index, self.term)

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

    @rule(through=st.lists(st.tuples(lives, st.integers(0, 12)), max_size=3))
    def trim(self, through: list[tuple[bytes, int]]) -> None:
        self.both([JournalTrim(through)])

    @precondition(lambda self: self.memory.journal.length > 0)
    @rule(which=st.integers(0, 1000), payload=payloads)
    def replace(self, which: int, payload: bytes) -> None:
        held = self.memory.journal.read()
        record = held[which % len(held)]
        self.both([JournalReplace(record.incarnation, record.seq, payload)])

    @rule(changed=changes, local=changes, index=st.integers(0, 99))
    def flush(self, changed: dict[bytes, bytes | None], local: dict[bytes, bytes | None], index: int) -> None:
        job = StateFlush(changed, (index, self.term), local)
        self.lmdb.commit_state([job])
        self.memory.commit_state([job])

    @rule(records=st.dictionaries(keys, payloads, max_size=4), local=changes)
    def replace_all(self, records: dict[bytes, bytes], local: dict[bytes, bytes | None]) -> None:
        job = StateReplaceAll(records, (5, self.term), local)
        self.lmdb.commit_state([job])
        self.memory.commit_state([job])

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
        "incarnations": (journal.incarnations(), journal.latest_incarnation(), journal.last_seq(LIFE_2)),
        "state": (list(state.scan(b"")), list(state.scan(b"b")), state.get(b"ab"), state.applied()),
        "local": (list(state.local_scan(b"")), state.local_get(b"a")),
    }


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
