"""What every store keeps beside its entries and records: memberships, sizes, and which keys each write-back changed."""

from __future__ import annotations

import random

import pytest

from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import LogReset, LogSave, StateFlush, StateReplaceAll

from .battery import UNLIMITED, Disk, commit_all, entries, entry, now_and_later


def membership(index: int, data: bytes = b"") -> Entry:
    return Entry(index, 1, EntryKind.MEMBERSHIP, data or b"members %d" % index)


def sized(first: int, sizes: list[int]) -> list[Entry]:
    """Entries with so many bytes of data each."""
    return [entry(index, data=b"x" * size) for index, size in enumerate(sizes, first)]


class KeptBattery:
    """Inherit, and give a `disk` fixture."""

    # --- memberships ---

    def test_a_log_without_memberships_says_so(self, disk: Disk) -> None:
        """() for a new one and for one with other entries only."""
        log = disk.open().log
        assert log.memberships() == ()
        log.save(None, entries(1, 3))
        assert disk.open().log.memberships() == ()

    def test_memberships_are_found_without_a_scan(self, disk: Disk) -> None:
        """As saved, oldest first, also by the next process."""
        log = disk.open().log
        log.save(None, [entry(1), membership(2), entry(3), membership(4)])
        log.save(None, [membership(5)])
        for view in now_and_later(log, lambda: disk.open().log):
            assert view.memberships() == ((2, b"members 2"), (4, b"members 4"), (5, b"members 5"))

    def test_a_replaced_membership_is_forgotten(self, disk: Disk) -> None:
        """It was never committed: a new leader's entry stands there now (dissertation 4.1, "latest in the log")."""
        log = disk.open().log
        log.save(None, [membership(1), entry(2), membership(3), membership(4)])
        log.save(None, entries(3, 3, term=2))
        for view in now_and_later(log, lambda: disk.open().log):
            assert view.memberships() == ((1, b"members 1"),)

    def test_a_membership_may_replace_a_membership(self, disk: Disk) -> None:
        """At the same index, with other bytes."""
        log = disk.open().log
        log.save(None, [membership(1), membership(2)])
        log.save(None, [membership(2, b"others"), entry(3)])
        assert disk.open().log.memberships() == ((1, b"members 1"), (2, b"others"))

    def test_compaction_keeps_the_membership_that_is_in_force(self, disk: Disk) -> None:
        """The newest of those it drops; the others go."""
        log = disk.open().log
        log.save(None, [membership(1), membership(2), entry(3), entry(4), membership(5), entry(6)])
        log.compact(4)
        for view in now_and_later(log, lambda: disk.open().log):
            assert view.memberships() == ((2, b"members 2"), (5, b"members 5"))
        log = disk.open().log
        log.compact(6)
        assert disk.open().log.memberships() == ((5, b"members 5"),)

    def test_memberships_follow_the_floor_that_is_seen(self, disk: Disk) -> None:
        """From the moment the compaction is made, as first_index does."""
        store = disk.open()
        store.log.save(None, [membership(1), membership(2), membership(3), entry(4)])
        job = store.log.compaction(2)
        assert store.log.memberships() == ((2, b"members 2"), (3, b"members 3"))
        commit_all(store, [job])
        assert store.log.memberships() == ((2, b"members 2"), (3, b"members 3"))

    def test_compaction_of_thousands_keeps_one_membership(self, disk: Disk) -> None:
        """However many transactions it takes."""
        log = disk.open().log
        log.save(None, [membership(index) if index % 700 == 1 else entry(index) for index in range(1, 3501)])
        log.compact(3000)
        assert [index for index, _ in disk.open().log.memberships()] == [2801]

    def test_a_reset_log_has_the_membership_it_is_given(self, disk: Disk) -> None:
        """And none of its own any more; None, and (0, b""), mean that there was none."""
        for given, expected in (((90, b"new"), ((90, b"new"),)), (None, ()), ((0, b""), ())):
            log = disk.open().log
            at = log.last_index() + 100
            log.save(None, [membership(log.last_index() + 1)])
            log.reset(at, 7, given)
            for view in now_and_later(log, lambda: disk.open().log):
                assert view.memberships() == expected
            assert disk.open().log.last_index() == at

    def test_a_membership_after_the_reset_is_a_bug(self, disk: Disk) -> None:
        """Nothing of the reset happened."""
        log = disk.open().log
        log.save(None, [membership(1)])
        with pytest.raises(AssertionError, match="membership 11 of a log that begins after 10"):
            log.reset(10, 1, (11, b"later"))
        assert disk.open().log.memberships() == ((1, b"members 1"),)

    def test_memberships_of_several_jobs_in_one_commit(self, disk: Disk) -> None:
        """Reset, save, replace: in their order."""
        store = disk.open()
        store.commit_log(
            [
                LogReset(10, 1, (4, b"old")),
                LogSave(None, [membership(11), membership(12)]),
                LogSave(HardState(2, 1), [entry(12, 2)]),
            ]
        )
        assert disk.open().log.memberships() == ((4, b"old"), (11, b"members 11"))

    # --- sizes ---

    def test_the_log_knows_its_bytes(self, disk: Disk) -> None:
        """Of data, of the entries held: after saving, replacing, compacting and resetting."""
        log = disk.open().log
        assert log.payload_bytes == 0
        log.save(None, sized(1, [10, 20, 30, 40]))
        assert log.payload_bytes == 100
        log.save(None, sized(3, [5, 6, 7]))
        for view in now_and_later(log, lambda: disk.open().log):
            assert view.payload_bytes == 48
        log = disk.open().log
        log.compact(2)
        for view in now_and_later(log, lambda: disk.open().log):
            assert view.payload_bytes == 18
        log = disk.open().log
        log.reset(9, 1)
        assert log.payload_bytes == 0
        log.save(None, sized(10, [8]))
        assert disk.open().log.payload_bytes == 8

    def test_bytes_follow_the_floor_that_is_seen(self, disk: Disk) -> None:
        """What is hidden from the core is not counted."""
        log = disk.open().log
        log.save(None, sized(1, [10, 20, 30]))
        log.compaction(2)
        assert (log.payload_bytes, log.first_within(30), log.first_within(UNLIMITED)) == (30, 3, 3)

    @pytest.mark.parametrize(
        ("max_bytes", "first"),
        [(0, 6), (1, 6), (9, 6), (10, 5), (39, 5), (40, 4), (41, 3), (90, 2), (99, 2), (100, 1), (UNLIMITED, 1)],
    )
    def test_the_last_so_many_bytes_begin_at(self, disk: Disk, max_bytes: int, first: int) -> None:
        """The least index from which on at most `max_bytes` are held; empty entries cost nothing."""
        log = disk.open().log
        log.save(None, sized(1, [10, 49, 1, 30, 10]))
        for view in now_and_later(log, lambda: disk.open().log):
            assert view.first_within(max_bytes) == first

    def test_an_empty_log_has_nothing_within(self, disk: Disk) -> None:
        """first_index, which is last_index + 1."""
        log = disk.open().log
        assert (log.first_within(0), log.first_within(UNLIMITED)) == (1, 1)
        log.save(None, sized(1, [10, 10]))
        log.compact(2)
        assert disk.open().log.first_within(UNLIMITED) == 3

    def test_a_long_log_agrees_with_counting(self, disk: Disk) -> None:
        """Thousands of entries, replaced and compacted at odd places: as adding up would say."""
        dice = random.Random(1)
        sizes = [dice.choice([0, 1, 7, 300]) for _ in range(3000)]
        log = disk.open().log
        log.save(None, sized(1, sizes))
        sizes[2222:] = [dice.choice([0, 50]) for _ in range(900)]
        log.save(None, sized(2223, sizes[2222:]))
        log.compact(777)
        log = disk.open().log
        held = sizes[777:]
        assert log.payload_bytes == sum(held)
        for max_bytes in [*(dice.randrange(sum(held) + 2) for _ in range(50)), sum(held)]:
            first = log.first_within(max_bytes)
            assert sum(sizes[first - 1 :]) <= max_bytes
            assert first == 778 or sum(sizes[first - 2 :]) > max_bytes

    # --- changed keys ---

    def test_a_new_state_has_changed_nothing(self, disk: Disk) -> None:
        """Since the beginning."""
        assert disk.open().state.changed_since(0) == frozenset()

    def test_changed_keys_are_those_of_later_write_backs(self, disk: Disk) -> None:
        """Deleted ones among them; a write-back that reaches over the index counts whole."""
        state = disk.open().state
        state.flush({b"a": b"1", b"b": b"1"}, (20, 1))
        state.flush({b"b": None, b"c": b"1"}, (30, 1))
        for view in now_and_later(state, lambda: disk.open().state):
            assert view.changed_since(30) == frozenset()
            assert view.changed_since(99) == frozenset()
            assert view.changed_since(20) == view.changed_since(29) == frozenset({b"b", b"c"})
            assert view.changed_since(0) == view.changed_since(19) == frozenset({b"a", b"b", b"c"})

    def test_a_second_write_back_at_one_index_counts_for_it(self, disk: Disk) -> None:
        """Whoever has that index may have the first only."""
        state = disk.open().state
        state.flush({b"a": b"1"}, (20, 1))
        state.flush({b"b": b"1"}, (20, 1))
        state.flush({}, (20, 1), {b"clock": b"1"})
        assert disk.open().state.changed_since(20) == frozenset({b"b"})

    def test_a_replaced_state_knows_no_changes_before_it(self, disk: Disk) -> None:
        """Everything may have changed; from then on it is known again."""
        store = disk.open()
        store.state.flush({b"a": b"1"}, (20, 1))
        store.commit_state([StateReplaceAll({b"b": b"2"}, (50, 2), {}), StateFlush({b"c": b"3"}, (60, 2), {})])
        state = disk.open().state
        assert (state.changed_since(20), state.changed_since(49)) == (None, None)
        assert (state.changed_since(50), state.changed_since(60)) == (frozenset({b"c"}), frozenset())

    def test_the_record_of_changes_is_bounded(self, small_disk: Disk) -> None:
        """To 1000 bytes here: the oldest write-backs are forgotten, and asking for them says so."""
        state = small_disk.open().state
        for index in range(1, 101):
            state.flush({b"key %04d" % index: b"v"}, (index, 1))
        state = small_disk.open().state
        kept = [index for index in range(101) if state.changed_since(index) is not None]
        assert kept == list(range(kept[0], 101))
        assert 100 - kept[0] == 1000 // (16 + 2 + 8)
        assert state.changed_since(kept[0]) == frozenset({b"key %04d" % index for index in range(kept[0] + 1, 101)})

    def test_a_write_back_larger_than_the_record_empties_it(self, small_disk: Disk) -> None:
        """Then only a whole snapshot helps, until the next write-back."""
        state = small_disk.open().state
        state.flush({b"%0100d" % number: b"v" for number in range(20)}, (7, 1))
        assert (state.changed_since(6), state.changed_since(7)) == (None, frozenset())
        state.flush({b"a": b"v"}, (8, 1))
        assert small_disk.open().state.changed_since(7) == frozenset({b"a"})

    # --- write-backs in order ---

    @pytest.mark.parametrize("late", [(4, 3), (4, 1), (5, 2), (5, 4)])
    def test_a_write_back_of_an_older_state_is_refused(self, disk: Disk, late: tuple[int, int]) -> None:
        """A lower index, or another term at the same index: a bug, and nothing is written."""
        state = disk.open().state
        state.flush({b"a": b"5"}, (5, 3))
        with pytest.raises(AssertionError, match=r"a write-back as of .* on a state as of \(5, 3\)"):
            state.flush({b"a": b"late"}, late, {b"clock": b"late"})
        state = disk.open().state
        assert (state.get(b"a"), state.applied(), state.local_get(b"clock")) == (b"5", (5, 3), None)

    def test_a_write_back_of_local_values_alone_stays_where_it_is(self, disk: Disk) -> None:
        """The same index and term again."""
        state = disk.open().state
        state.flush({b"a": b"5"}, (5, 3))
        state.flush({}, (5, 3), {b"clock": b"9"})
        assert disk.open().state.local_get(b"clock") == b"9"
