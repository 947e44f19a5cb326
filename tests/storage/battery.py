"""What every store must do, whatever it is made of: the disk store and the memory store pass the same tests.

A test here speaks only of `replica.storage.contract`. It gets a `disk`, which opens the same store again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import pytest

from replica.errors import StoreError
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import (
    Identity,
    JournalAppend,
    JournalRecord,
    LogJob,
    LogSave,
    StateFlush,
    StateReplaceAll,
    Store,
)

ME = Identity("lifeline", "zone-a", "zone", "0" * 32)
LIFE_1, LIFE_2, LIFE_3 = b"1" * 16, b"2" * 16, b"3" * 16
UNLIMITED = 1 << 30

T = TypeVar("T")


class Disk(Protocol):
    """Something a store is on. `open` is what a new process does; the store opened before is closed by it."""

    def open(self) -> Store: ...


def entry(index: int, term: int = 1, data: bytes = b"data") -> Entry:
    return Entry(index, term, EntryKind.DATA, data)


def entries(first: int, last: int, term: int = 1) -> list[Entry]:
    """Entries whose bytes tell their index and term."""
    return [entry(index, term, b"%d in %d" % (index, term)) for index in range(first, last + 1)]


def names(records: list[JournalRecord]) -> list[tuple[bytes, int, bytes]]:
    return [(record.incarnation, record.seq, record.payload) for record in records]


def now_and_later(view: T, reopen: Callable[[], T]) -> Iterator[T]:
    """The part of the store that wrote, then the same part as the next process finds it."""
    yield view
    yield reopen()


def commit_all(store: Store, jobs: list[LogJob]) -> None:
    """Commit jobs until none has more to do."""
    left = store.commit_log(jobs)
    while left:
        left = store.commit_log(left)


class StoreBattery:
    """Inherit, and give a `disk` fixture."""

    # --- the log ---

    def test_a_new_store_is_empty(self, disk: Disk) -> None:
        """Index 0 of term 0 stands before the first entry; nobody was voted for."""
        log = disk.open().log
        assert (log.first_index(), log.last_index(), log.term(0)) == (1, 0, 0)
        assert log.hard_state() == HardState()
        assert log.commit_hint() == 0

    def test_what_was_saved_is_there_at_the_next_opening(self, disk: Disk) -> None:
        """Hard state, entries of every kind and the commit hint survive as they were."""
        saved = [
            Entry(1, 1, EntryKind.NOOP, b""),
            Entry(2, 1, EntryKind.DATA, bytes(range(256)) * 20),
            Entry(3, 2, EntryKind.MEMBERSHIP, b"\0"),
        ]
        disk.open().log.save(HardState(2, 3, rebuilding=True), saved, 2)
        log = disk.open().log
        assert log.entries(1, 3, UNLIMITED) == tuple(saved)
        assert log.hard_state() == HardState(2, 3, rebuilding=True)
        assert log.commit_hint() == 2
        assert (log.first_index(), log.last_index(), log.term(3), log.term(1)) == (1, 3, 2, 1)

    def test_a_part_that_is_not_given_stays_as_it_is(self, disk: Disk) -> None:
        """A save of entries alone keeps the vote; a save of the vote alone keeps entries and hint."""
        log = disk.open().log
        log.save(HardState(1, 2), entries(1, 2), 1)
        log.save(None, entries(3, 3))
        log.save(HardState(2, 1), [])
        assert (log.hard_state(), log.last_index(), log.commit_hint()) == (HardState(2, 1), 3, 1)

    def test_entries_replace_everything_from_the_first_of_them_on(self, disk: Disk) -> None:
        """A new leader's entry 3 removes the old 3, 4 and 5 (dissertation 3.5), also for the next process."""
        log = disk.open().log
        log.save(HardState(1, 1), entries(1, 5))
        log.save(HardState(2, 2), entries(3, 3, term=2))
        for view in now_and_later(log, lambda: disk.open().log):
            assert view.last_index() == 3
            assert view.entries(1, 3, UNLIMITED) == (*entries(1, 2), *entries(3, 3, term=2))

    def test_the_whole_log_can_be_replaced(self, disk: Disk) -> None:
        """Nothing of it need have been committed."""
        log = disk.open().log
        log.save(None, entries(1, 3))
        log.save(None, entries(1, 1, term=4))
        assert log.entries(1, log.last_index(), UNLIMITED) == tuple(entries(1, 1, term=4))

    def test_a_gap_is_refused(self, disk: Disk) -> None:
        """Entry 4 does not join a log that ends at 2; neither do 3 and 5."""
        log = disk.open().log
        log.save(None, entries(1, 2))
        with pytest.raises(AssertionError, match=r"entries from 4 on do not join a log of 1\.\.2"):
            log.save(None, entries(4, 4))
        with pytest.raises(AssertionError, match="entry 5 stands where 4 should"):
            log.save(None, [entry(3), entry(5)])
        assert log.last_index() == 2

    @pytest.mark.parametrize(("max_bytes", "expected"), [(0, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3)])
    def test_reading_stops_after_max_bytes_but_gives_one(self, disk: Disk, max_bytes: int, expected: int) -> None:
        """Three entries of 10 bytes: as many as fit, and never none."""
        log = disk.open().log
        log.save(None, [entry(index, data=b"x" * 10) for index in (1, 2, 3)])
        assert [each.index for each in log.entries(1, 3, max_bytes)] == [1, 2, 3][:expected]

    def test_an_index_that_is_not_held_is_a_bug(self, disk: Disk) -> None:
        """Asking for what is not there is answered with both numbers, not with nothing."""
        log = disk.open().log
        log.save(None, entries(1, 2))
        with pytest.raises(AssertionError, match=r"term of 3 asked, the log holds 1\.\.2"):
            log.term(3)
        with pytest.raises(AssertionError, match=r"entries 2\.\.3 asked, the log holds 1\.\.2"):
            log.entries(2, 3, UNLIMITED)

    # --- compaction ---

    def test_compaction_keeps_the_term_of_the_last_entry_it_drops(self, disk: Disk) -> None:
        """The consistency check of the first entry held needs the one before it (dissertation 5.1)."""
        log = disk.open().log
        log.save(None, [*entries(1, 3), *entries(4, 6, term=2)])
        log.compact(4)
        for view in now_and_later(log, lambda: disk.open().log):
            assert (view.first_index(), view.last_index(), view.term(4)) == (5, 6, 2)
            assert view.entries(5, 6, UNLIMITED) == tuple(entries(5, 6, term=2))
            with pytest.raises(AssertionError, match="term of 3 asked"):
                view.term(3)

    def test_a_wholly_compacted_log_goes_on_where_it_was(self, disk: Disk) -> None:
        """first_index is last_index + 1, and the next entry is the next one."""
        log = disk.open().log
        log.save(None, entries(1, 3))
        log.compact(3)
        log = disk.open().log
        assert (log.first_index(), log.last_index(), log.term(3)) == (4, 3, 1)
        log.save(None, entries(4, 4))
        assert disk.open().log.entries(4, 4, UNLIMITED) == tuple(entries(4, 4))

    def test_the_floor_rises_when_the_compaction_is_made_not_when_it_is_done(self, disk: Disk) -> None:
        """So the core never sees an entry vanish between two of its own calls."""
        store = disk.open()
        store.log.save(None, entries(1, 5))
        job = store.log.compaction(3)
        assert (store.log.first_index(), store.log.term(3)) == (4, 1)
        commit_all(store, [job])
        assert (store.log.first_index(), store.log.last_index()) == (4, 5)

    def test_compaction_takes_thousands_of_entries(self, disk: Disk) -> None:
        """However many transactions it takes, at the end exactly the right ones are left."""
        log = disk.open().log
        log.save(None, entries(1, 3500))
        log.compact(3400)
        log = disk.open().log
        assert log.entries(log.first_index(), 3500, UNLIMITED) == tuple(entries(3401, 3500))

    def test_an_old_compaction_changes_nothing(self, disk: Disk) -> None:
        """Compacting again to the same or a lower index is harmless."""
        log = disk.open().log
        log.save(None, entries(1, 5))
        log.compact(4)
        log.compact(4)
        log.compact(2)
        assert (log.first_index(), log.last_index()) == (5, 5)

    def test_what_is_not_there_cannot_be_compacted(self, disk: Disk) -> None:
        """Compaction past the end would invent a term."""
        log = disk.open().log
        log.save(None, entries(1, 2))
        with pytest.raises(AssertionError, match="through 3 asked, the log ends at 2"):
            log.compaction(3)

    def test_compacted_entries_are_never_written_again(self, disk: Disk) -> None:
        """They were committed, so a save that reaches below the floor is a bug."""
        log = disk.open().log
        log.save(None, entries(1, 5))
        log.compact(3)
        with pytest.raises(AssertionError, match="do not join"):
            log.save(None, entries(3, 6, term=2))

    def test_a_reset_log_begins_after_the_installed_state(self, disk: Disk) -> None:
        """After a state as of (100, 7) was installed, the next entry is 101; the vote stays."""
        log = disk.open().log
        log.save(HardState(7, 2), entries(1, 5), 4)
        log.reset(100, 7)
        log = disk.open().log
        assert (log.first_index(), log.last_index(), log.term(100)) == (101, 100, 7)
        assert log.hard_state() == HardState(7, 2)
        log.save(None, entries(101, 102, term=7))
        assert disk.open().log.entries(101, 102, UNLIMITED) == tuple(entries(101, 102, term=7))

    # --- the journal ---

    def test_the_journal_keeps_the_order_of_journalling(self, disk: Disk) -> None:
        """Over all incarnations, with positions that count up."""
        records = [(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a"), (LIFE_2, 0, b"drain"), (LIFE_1, 2, b"b")]
        journal = disk.open().journal
        journal.append(records[:2])
        journal.append(records[2:])
        for view in now_and_later(journal, lambda: disk.open().journal):
            assert names(view.read()) == records
            assert [record.position for record in view.read()] == [1, 2, 3, 4]
            assert (view.length, view.payload_bytes) == (4, 11)

    def test_the_journal_is_read_in_portions(self, disk: Disk) -> None:
        """`limit` records behind a position; an empty list at the end."""
        journal = disk.open().journal
        journal.append([(LIFE_1, seq, b"%d" % seq) for seq in range(5)])
        assert [record.seq for record in journal.read(0, 2)] == [0, 1]
        assert [record.seq for record in journal.read(2, 2)] == [2, 3]
        assert journal.read(5) == []
        assert journal.read(0, 0) == []

    def test_the_counter_outlives_the_records(self, disk: Disk) -> None:
        """A trimmed journal is empty, and still knows how far it has counted (OFFLINE_RULES.md, rule 3)."""
        journal = disk.open().journal
        journal.append([(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a"), (LIFE_1, 2, b"b")])
        journal.trim([(LIFE_1, 2)])
        journal = disk.open().journal
        assert (journal.length, journal.payload_bytes, journal.read()) == (0, 0, [])
        assert journal.last_seq(LIFE_1) == 2
        assert journal.latest_incarnation() == (LIFE_1, 2)

    def test_what_is_trimmed_may_be_remembered(self, disk: Disk) -> None:
        """Out of the journal, in the order of journalling, until it is too old or too much; over a restart."""
        journal = disk.open().journal
        journal.append([(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a"), (LIFE_2, 0, b"open"), (LIFE_1, 2, b"bb")])
        journal.trim([(LIFE_2, 0)], at_ms=1000)
        journal.trim([(LIFE_1, 1)], at_ms=2000)
        for view in now_and_later(journal, lambda: disk.open().journal):
            assert names(view.read()) == [(LIFE_1, 2, b"bb")]
            assert (view.length, view.past_length, view.past_bytes) == (1, 3, 9)
            assert names(view.read_past()) == [(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a"), (LIFE_2, 0, b"open")]
            assert names(view.read_past(1, 1)) == [(LIFE_1, 1, b"a")]
            assert view.last_seq(LIFE_1) == 2

    def test_the_past_is_forgotten_from_its_oldest_end(self, disk: Disk) -> None:
        """By the day on which it was trimmed, and by its bytes; what is trimmed without a day was never remembered."""
        journal = disk.open().journal
        journal.append([(LIFE_1, seq, b"%d" % seq * 10) for seq in range(6)])
        journal.trim([(LIFE_1, 1)], at_ms=1000)
        journal.trim([(LIFE_1, 3)], at_ms=2000)
        journal.trim([(LIFE_1, 4)])
        journal.forget(1000, 100)
        assert journal.past_length == 4
        journal.forget(1001, 100)
        assert [record.seq for record in journal.read_past()] == [2, 3]
        journal.forget(0, 15)
        for view in now_and_later(journal, lambda: disk.open().journal):
            assert ([record.seq for record in view.read_past()], view.past_bytes) == ([3], 10)
        journal = disk.open().journal
        journal.forget(0, 0)
        assert (journal.read_past(), journal.past_length, journal.length) == ([], 0, 1)

    def test_a_long_past_is_made_and_forgotten_in_portions(self, disk: Disk) -> None:
        """More than one transaction each; nothing is left behind."""
        journal = disk.open().journal
        journal.append([(LIFE_1, seq, b"%d" % seq) for seq in range(2600)])
        journal.trim([(LIFE_1, 2580)], at_ms=7)
        assert [record.seq for record in journal.read_past(0, 3000)] == [*range(2581)]
        journal.forget(8, 1 << 30)
        for view in now_and_later(journal, lambda: disk.open().journal):
            assert (view.past_length, view.past_bytes, view.read_past()) == (0, 0, [])
            assert view.length == 19

    def test_a_position_is_never_used_twice(self, disk: Disk) -> None:
        """A reader that remembers its position would otherwise miss what came later."""
        journal = disk.open().journal
        journal.append([(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a")])
        journal.trim([(LIFE_1, 1)])
        journal = disk.open().journal
        journal.append([(LIFE_2, 0, b"open")])
        assert [record.position for record in journal.read()] == [3]

    def test_the_incarnation_opened_last_is_the_latest(self, disk: Disk) -> None:
        """Not the one that wrote last, and not the one whose bytes are greatest."""
        journal = disk.open().journal
        assert journal.latest_incarnation() is None
        journal.append([(LIFE_3, 0, b"open")])
        journal.append([(LIFE_1, 0, b"open")])
        journal.append([(LIFE_3, 1, b"late")])
        for view in now_and_later(journal, lambda: disk.open().journal):
            assert view.latest_incarnation() == (LIFE_1, 0)
            assert view.incarnations() == ((LIFE_3, 1), (LIFE_1, 0))
            assert view.last_seq(LIFE_2) is None

    def test_a_number_is_neither_skipped_nor_used_twice(self, disk: Disk) -> None:
        """Rule 5: a gap would hold up everything behind it, a number used again would be swallowed."""
        journal = disk.open().journal
        with pytest.raises(AssertionError, match="expected seq 0"):
            journal.append([(LIFE_1, 1, b"a")])
        journal.append([(LIFE_1, 0, b"open")])
        with pytest.raises(AssertionError, match="expected seq 1"):
            journal.append([(LIFE_1, 0, b"again")])
        journal = disk.open().journal
        with pytest.raises(AssertionError, match="expected seq 1"):
            journal.append([(LIFE_1, 2, b"c")])
        assert journal.length == 1

    def test_trimming_takes_exactly_what_is_named(self, disk: Disk) -> None:
        """Per incarnation up to and including the number; others stay, in order."""
        journal = disk.open().journal
        journal.append([(LIFE_1, seq, b"a") for seq in range(3)])
        journal.append([(LIFE_2, seq, b"bb") for seq in range(3)])
        journal.trim([(LIFE_1, 1), (LIFE_2, 0), (LIFE_3, 9), (LIFE_2, -1)])
        for view in now_and_later(journal, lambda: disk.open().journal):
            assert names(view.read()) == [(LIFE_1, 2, b"a"), (LIFE_2, 1, b"bb"), (LIFE_2, 2, b"bb")]
            assert (view.length, view.payload_bytes) == (3, 5)

    def test_trimming_takes_thousands(self, disk: Disk) -> None:
        """However many transactions it takes."""
        journal = disk.open().journal
        journal.append([(LIFE_1, seq, b"%d" % seq) for seq in range(2600)])
        journal.append([(LIFE_2, seq, b"%d" % seq) for seq in range(1200)])
        journal.trim([(LIFE_1, 2580), (LIFE_2, 1190)])
        assert [record.seq for record in journal.read()] == [*range(2581, 2600), *range(1191, 1200)]
        assert journal.length == 28

    def test_an_opening_is_written_anew_in_its_place(self, disk: Disk) -> None:
        """Rule 7: the same name and position, another payload."""
        journal = disk.open().journal
        journal.append([(LIFE_1, 0, b"replaces nothing"), (LIFE_1, 1, b"a")])
        journal.replace(LIFE_1, 0, b"replaces life 3")
        for view in now_and_later(journal, lambda: disk.open().journal):
            assert names(view.read()) == [(LIFE_1, 0, b"replaces life 3"), (LIFE_1, 1, b"a")]
            assert [record.position for record in view.read()] == [1, 2]
            assert (view.length, view.payload_bytes, view.last_seq(LIFE_1)) == (2, 16, 1)
        journal = disk.open().journal
        with pytest.raises(AssertionError, match="is not held"):
            journal.replace(LIFE_2, 0, b"")

    # --- the state ---

    def test_records_and_applied_index_come_together(self, disk: Disk) -> None:
        """What is flushed is there at the next opening, with the entry it is the result of."""
        disk.open().state.flush({b"case/1": b"one", b"case/2": b"two"}, (7, 2), {b"clock": b"12"})
        state = disk.open().state
        assert state.applied() == (7, 2)
        assert (state.get(b"case/1"), state.get(b"case/2"), state.get(b"case/3")) == (b"one", b"two", None)
        assert (state.local_get(b"clock"), state.local_get(b"case/1")) == (b"12", None)

    def test_a_new_state_is_the_result_of_nothing(self, disk: Disk) -> None:
        """(0, 0), and no record."""
        state = disk.open().state
        assert (state.applied(), list(state.scan(b"")), list(state.local_scan(b""))) == ((0, 0), [], [])

    def test_none_deletes(self, disk: Disk) -> None:
        """Deleting what is not there is harmless; an empty value is a value."""
        state = disk.open().state
        state.flush({b"a": b"1", b"b": b"2"}, (1, 1), {b"x": b"1", b"y": b"2"})
        state.flush([(b"a", None), (b"c", None), (b"b", b"")], (2, 1), {b"x": None})
        state = disk.open().state
        assert list(state.scan(b"")) == [(b"b", b"")]
        assert list(state.local_scan(b"")) == [(b"y", b"2")]

    def test_a_scan_gives_its_prefix_in_key_order(self, disk: Disk) -> None:
        """Bytes order, neighbours excluded, over any number of portions."""
        keys = [b"case/%05d" % number for number in range(2500)]
        state = disk.open().state
        state.flush({key: key[::-1] for key in reversed(keys)} | {b"casd": b"-", b"casf": b"-"}, (1, 1), {})
        assert list(state.scan(b"case/")) == [(key, key[::-1]) for key in keys]
        assert [key for key, _ in state.scan(b"case/0000")] == keys[:10]
        assert list(state.scan(b"caso")) == []
        assert [key for key, _ in state.scan(b"")] == [b"casd", *keys, b"casf"]

    def test_a_scan_may_be_left_and_written_into(self, disk: Disk) -> None:
        """An open scan holds nobody up and sees flushes between its portions, or not, but no half of one record."""
        state = disk.open().state
        state.flush({b"%05d" % number: b"old" for number in range(3000)}, (1, 1), {})
        scan = state.scan(b"")
        assert next(scan) == (b"00000", b"old")
        state.flush({b"%05d" % number: b"new" for number in range(3000)}, (2, 1), {})
        rest = list(scan)
        assert [key for key, _ in rest] == [b"%05d" % number for number in range(1, 3000)]
        assert {value for _, value in rest} <= {b"old", b"new"}

    def test_a_whole_state_replaces_the_old_one(self, disk: Disk) -> None:
        """No record of the old state is left; the local table keeps what is not named."""
        state = disk.open().state
        state.flush({b"a": b"1", b"b": b"2"}, (1, 1), {b"x": b"1", b"y": b"2"})
        state.replace_all({b"b": b"3", b"c": b"4"}, (9, 3), {b"x": None})
        state = disk.open().state
        assert list(state.scan(b"")) == [(b"b", b"3"), (b"c", b"4")]
        assert (state.applied(), list(state.local_scan(b""))) == ((9, 3), [(b"y", b"2")])

    def test_the_longest_key_is_500_bytes(self, disk: Disk) -> None:
        """Longer identifiers are hashed by the caller, so a longer key is a bug, and so is an empty one."""
        state = disk.open().state
        state.flush({b"k" * 500: b"v"}, (1, 1), {})
        assert list(state.scan(b"k")) == [(b"k" * 500, b"v")]
        for wrong in (b"k" * 501, b""):
            with pytest.raises(AssertionError, match="the limit is 500"):
                state.flush({wrong: b"v"}, (2, 1), {})
        assert state.applied() == (1, 1)

    # --- the store ---

    def test_several_jobs_are_one_commit(self, disk: Disk) -> None:
        """Saves and journal records that waited together become durable together, in their order."""
        store = disk.open()
        left = store.commit_log(
            [
                LogSave(HardState(1, 1), entries(1, 2), 0),
                JournalAppend([(LIFE_1, 0, b"open")]),
                LogSave(HardState(2, 0), entries(2, 4, term=2), 1),
                JournalAppend([(LIFE_1, 1, b"a")]),
            ]
        )
        assert list(left) == []
        store = disk.open()
        assert store.log.entries(1, 4, UNLIMITED) == (*entries(1, 1), *entries(2, 4, term=2))
        assert (store.log.hard_state(), store.log.commit_hint()) == (HardState(2, 0), 1)
        assert names(store.journal.read()) == [(LIFE_1, 0, b"open"), (LIFE_1, 1, b"a")]

    def test_several_flushes_are_one_commit(self, disk: Disk) -> None:
        """The later one stands on the earlier one."""
        store = disk.open()
        store.commit_state(
            [
                StateReplaceAll({b"a": b"1", b"b": b"1"}, (1, 1), {}),
                StateFlush({b"a": None, b"c": b"2"}, (2, 1), {b"x": b"1"}),
            ]
        )
        state = disk.open().state
        assert list(state.scan(b"")) == [(b"b", b"1"), (b"c", b"2")]
        assert (state.applied(), state.local_get(b"x")) == ((2, 1), b"1")

    def test_a_store_is_fresh_until_something_is_saved(self, disk: Disk) -> None:
        """Not until it is opened again: a node that crashed right after creation has still lost its promises (D10)."""
        assert disk.open().fresh
        store = disk.open()
        assert store.fresh
        store.log.save(HardState(0, 0, rebuilding=True), [])
        assert not disk.open().fresh

    @pytest.mark.parametrize("kind", ["entry", "journal", "state", "reset"])
    def test_any_save_ends_the_freshness(self, disk: Disk, kind: str) -> None:
        """Entries, a journal record, a flush, an installed state."""
        store = disk.open()
        match kind:
            case "entry":
                store.log.save(None, entries(1, 1))
            case "journal":
                store.journal.append([(LIFE_1, 0, b"")])
                store.journal.trim([(LIFE_1, 0)])
            case "state":
                store.state.flush({}, (1, 1), {})
            case "reset":
                store.log.reset(5, 1)
        assert not disk.open().fresh

    def test_the_identity_is_the_one_it_was_made_with(self, disk: Disk) -> None:
        """Whoever opens it."""
        assert disk.open().identity == ME
        assert disk.open().identity == ME

    def test_a_closed_store_takes_nothing(self, disk: Disk) -> None:
        """And closing it twice is harmless."""
        store = disk.open()
        with store:
            store.log.save(None, entries(1, 1))
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.log.save(None, entries(2, 2))
        with pytest.raises(StoreError, match="closed"):
            store.state.flush({}, (1, 1), {})
