"""What every store must do with a snapshot it has received: prepare a state, install it, survive a crash at each step.

The helpers and the `disks` are those of snapshot_battery.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import pytest

from replica.errors import StorageFull, StoreDamaged, StoreError
from replica.raft.types import HardState
from replica.storage import Install, LogSave, StateFlush, Step, Store

from .battery import LIFE_1, ME, UNLIMITED, entries, names, now_and_later
from .snapshot_battery import (
    HARD,
    NEW_LOG,
    NEW_STATE,
    YOU,
    Disks,
    filled,
    install,
    log_of,
    records,
    state_of,
    total,
    transfer,
)

T = TypeVar("T")


class InstallBattery:
    """Inherit, and give a `disks` fixture."""

    # --- preparing and installing ---

    def test_an_installed_snapshot_is_the_state(self, disks: Disks) -> None:
        """Same object, new records, this node's own local values; the log begins after it. So for the next process."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        manifest = source.snapshots.take(digest=total(source.state.scan(b"")))
        target = filled(disk.open(), index=10)
        target.journal.append([(LIFE_1, 0, b"open")])
        state = target.state
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {b"clock": b"mine"}, total)
        assert state.applied() == (10, 3)
        install(target, manifest)
        assert state is target.state
        assert state.get(b"case/000") == records(30)[b"case/000"]
        for view in now_and_later(target, disk.open):
            assert state_of(view) == NEW_STATE
            assert log_of(view) == NEW_LOG
            assert names(view.journal.read()) == [(LIFE_1, 0, b"open")]
            assert view.identity == YOU
        assert not disk.open().fresh

    def test_an_installed_state_goes_on(self, disks: Disks) -> None:
        """Write-backs, entries, changed keys, and a snapshot of its own, over the next opening."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        target = disk.open()
        manifest = source.snapshots.take()
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})
        install(target, manifest)
        assert (target.state.changed_since(29), target.state.changed_since(30)) == (None, frozenset())
        target.log.save(None, entries(31, 33, term=3))
        target.state.flush({b"case/000": None}, (33, 3))
        target = disk.open()
        assert target.state.changed_since(30) == frozenset({b"case/000"})
        assert target.log.payload_bytes == len(b"31 in 3") * 3
        own = target.snapshots.take()
        assert (own.index, own.membership) == (33, (2, b"a b c"))
        assert (target.state.get(b"case/000"), target.log.last_index()) == (None, 33)

    def test_a_second_install_follows_the_first(self, disks: Disks) -> None:
        """From state to state; each time the one before is gone."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        target = disk.open()
        for index in (30, 40):
            if index > 30:
                source.state.flush(records(index), (index, 3))
            manifest = source.snapshots.take()
            transfer(source, target, manifest)
            target.snapshots.prepare(manifest.name, {b"clock": b"%d" % index})
            install(target, manifest)
            assert state_of(disk.open()) == ((index, 3), records(index), {b"clock": b"%d" % index})
            target = disk.open()
        assert target.log.first_index() == 41

    def test_entries_may_come_in_the_transaction_of_the_install(self, disks: Disks) -> None:
        """What the leader sent after the snapshot."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        manifest = source.snapshots.take()
        target = disk.open()
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})
        install(target, manifest, LogSave(HardState(10, 1), entries(31, 32, term=10), 31))
        for view in now_and_later(target, disk.open):
            assert view.log.entries(31, 32, UNLIMITED) == tuple(entries(31, 32, term=10))
            assert (view.log.hard_state(), view.log.commit_hint()) == (HardState(10, 1), 31)

    def test_an_install_without_a_vote_keeps_the_vote(self, disks: Disks) -> None:
        """And without a membership there is none."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        target.log.save(HardState(5, 2), [])
        manifest = source.snapshots.take()
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})
        target.commit_log([Install(manifest.name, 30, 3)])
        assert (target.log.hard_state(), target.log.memberships()) == (HardState(5, 2), ())

    def test_a_late_write_back_does_not_spoil_the_new_state(self, disks: Disks) -> None:
        """Queued before the install, committed after it: refused, and nothing of it is there."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        manifest = source.snapshots.take()
        target = filled(disk.open(), index=10)
        late = StateFlush({b"case/000": b"old", b"case/old": b"old"}, (12, 3), {b"clock": b"old"})
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {b"clock": b"mine"})
        install(target, manifest)
        with pytest.raises(AssertionError, match=r"a write-back as of \(12, 3\) on a state as of \(30, 3\)"):
            target.commit_state([late])
        for view in now_and_later(target, disk.open):
            assert state_of(view) == NEW_STATE

    def test_a_scan_goes_on_in_the_new_state(self, disks: Disks) -> None:
        """An open one ends without an error, each record of one state or of the other."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        target.state.flush({b"case/%04d" % number: b"old" for number in range(2500)}, (5, 1))
        scan = target.state.scan(b"")
        next(scan)
        manifest = source.snapshots.take()
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})
        install(target, manifest)
        assert {value for _, value in scan} <= {b"old", *records(30).values()}

    def test_what_is_not_whole_is_not_prepared(self, disks: Disks) -> None:
        """Nothing received; a chunk missing."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        manifest = source.snapshots.take()
        with pytest.raises(StoreError, match="nothing of it was received"):
            target.snapshots.prepare(manifest.name, {})
        receiving = target.snapshots.receive(manifest)
        for chunk in receiving.missing[1:]:
            receiving.write(chunk, source.snapshots.read(manifest.name, chunk))
        with pytest.raises(StoreError, match="1 chunks are missing"):
            target.snapshots.prepare(manifest.name, {})

    def test_what_was_not_prepared_is_not_installed(self, disks: Disks) -> None:
        """Nothing of the commit happened, not even the vote."""
        source, target = filled(disks(ME).open()), filled(disks(YOU).open(), index=10)
        before = (state_of(target), log_of(target))
        manifest = source.snapshots.take()
        transfer(source, target, manifest)
        with pytest.raises(StoreError, match="no state was prepared under this name"):
            install(target, manifest)
        assert (state_of(target), log_of(target)) == before

    def test_an_install_as_of_another_entry_is_refused(self, disks: Disks) -> None:
        """The log would begin where the state does not end."""
        source, target = filled(disks(ME).open()), filled(disks(YOU).open(), index=10)
        before = (state_of(target), log_of(target))
        manifest = source.snapshots.take()
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})
        for wrong in (replace(manifest, index=31), replace(manifest, term=4)):
            with pytest.raises(StoreDamaged, match=r"is as of \(30, 3\), to be installed as of"):
                install(target, wrong)
        assert (state_of(target), log_of(target)) == before
        install(target, manifest)
        assert target.state.applied() == (30, 3)

    def test_a_stale_install_is_refused(self, disks: Disks) -> None:
        """The log begins after it already: what was compacted does not come back."""
        source, target = filled(disks(ME).open()), filled(disks(YOU).open(), index=40)
        target.log.compact(35)
        manifest = source.snapshots.take()
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {})
        with pytest.raises(AssertionError, match="reset to 30 of a log that begins after 35"):
            install(target, manifest)
        assert (target.state.applied(), target.log.first_index()) == ((40, 3), 36)

    def test_a_state_that_adds_up_to_something_else_is_refused(self, disks: Disks) -> None:
        """The digest of all its records is the manifest's, or it is not prepared."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        manifest = source.snapshots.take(digest=b"something else..")
        transfer(source, target, manifest)
        with pytest.raises(StoreDamaged, match=f"snapshot {manifest.name}: its digest is"):
            target.snapshots.prepare(manifest.name, {}, total)
        with pytest.raises(StoreError, match="no state was prepared"):
            install(target, manifest)

    def test_a_prepared_state_that_is_not_installed_is_forgotten(self, disks: Disks) -> None:
        """By the next process; the chunks are still there, so it is prepared again without a transfer."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        manifest = source.snapshots.take()
        target = filled(disk.open(), index=10)
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {b"clock": b"first"})
        target = disk.open()
        with pytest.raises(StoreError, match="no state was prepared"):
            install(target, manifest)
        target.snapshots.prepare(manifest.name, {b"clock": b"mine"})
        install(target, manifest)
        assert state_of(disk.open()) == NEW_STATE

    def test_the_installed_snapshot_is_not_prepared_again(self, disks: Disks) -> None:
        """Its folder is the state's. Dropping its name takes nothing away."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        manifest = source.snapshots.take()
        target = disk.open()
        transfer(source, target, manifest)
        target.snapshots.prepare(manifest.name, {b"clock": b"mine"})
        install(target, manifest)
        for view in now_and_later(target, disk.open):
            with pytest.raises(StoreError, match="is installed already"):
                view.snapshots.prepare(manifest.name, {})
            view.snapshots.drop(manifest.name)
        assert state_of(disk.open()) == NEW_STATE

    # --- only what changed ---

    def test_a_node_a_little_behind_needs_only_what_changed(self, disks: Disks) -> None:
        """Changed and deleted records over its own state: equal to the sender's, record by record."""
        source, disk = filled(disks(ME).open()), disks(YOU)
        target = filled(disk.open())
        source.state.flush({b"case/001": b"new", b"case/002": None, b"case/new": b"1"}, (41, 4))
        keys = source.state.changed_since(target.state.applied()[0])
        assert keys == frozenset({b"case/001", b"case/002", b"case/new"})
        changes = {key: source.state.get(key) for key in sorted(keys)}
        target.snapshots.prepare_changed(
            "changed", changes, (41, 4), {b"clock": b"mine"}, total, total(source.state.scan(b""))
        )
        assert target.state.applied() == (30, 3)
        target.commit_log([Install("changed", 41, 4, (2, b"a b c"), HARD)])
        for view in now_and_later(target, disk.open):
            assert state_of(view) == ((41, 4), dict(source.state.scan(b"")), {b"clock": b"mine"})
            assert (view.log.first_index(), view.log.memberships()) == (42, ((2, b"a b c"),))
            assert (view.state.changed_since(40), view.state.changed_since(41)) == (None, frozenset())

    def test_entries_that_changed_nothing_move_the_state_on(self, disks: Disks) -> None:
        """No record, and another index."""
        target = filled(disks(YOU).open())
        target.snapshots.prepare_changed("changed", {}, (41, 4), {})
        target.commit_log([Install("changed", 41, 4)])
        assert (target.state.applied(), dict(target.state.scan(b""))) == ((41, 4), records(30))

    def test_changes_to_an_older_state_are_a_bug(self, disks: Disks) -> None:
        """What is there would be lost."""
        target = filled(disks(YOU).open())
        with pytest.raises(AssertionError, match=r"a write-back as of \(29, 3\) on a state as of \(30, 3\)"):
            target.snapshots.prepare_changed("changed", {}, (29, 3), {})

    def test_changes_that_add_up_to_something_else_are_refused(self, disks: Disks) -> None:
        """A record was missed: the two had been apart before."""
        target = filled(disks(YOU).open())
        with pytest.raises(StoreDamaged, match="snapshot changed: its digest is"):
            target.snapshots.prepare_changed("changed", {}, (41, 4), {}, total, b"something else..")

    # --- a full disk, and a crash at each step ---

    @pytest.mark.parametrize("step", [step for step in Step if not step.name.startswith("INSTALL")])
    def test_a_disk_that_is_full_at_any_step_leaves_nothing_behind(self, disks: Disks, step: Step) -> None:
        """The act is refused, nothing has changed; with room again the same act succeeds."""
        one, two = disks(ME), disks(YOU)
        source, target = filled(one.open()), filled(two.open(), index=10)
        full = FullAt(step)
        one.on_step = two.on_step = full
        manifest = full.until_it_fits(lambda: source.snapshots.take())
        before = (state_of(target), log_of(target))
        full.until_it_fits(lambda: transfer(source, target, manifest))
        full.until_it_fits(lambda: target.snapshots.prepare(manifest.name, {b"clock": b"mine"}))
        assert full.refused == 1
        assert (state_of(target), log_of(target)) == before
        install(target, manifest)
        assert (state_of(two.open()), log_of(two.open())) == (NEW_STATE, NEW_LOG)

    def test_a_crash_at_each_step_ends_equal(self, disks: Disks) -> None:
        """At the n-th step of the whole life of a snapshot, for every n.

        The next process finds the old state and log or the new ones, goes on, and ends with the new ones.
        """
        cut = 0
        while True:
            one, two = disks(ME), disks(YOU)
            source, target = filled(one.open()), filled(two.open(), index=10)
            old = (state_of(target), log_of(target))
            crash = CrashAt(cut)
            one.on_step = two.on_step = crash
            with suppress(PowerCut):
                whole_life(source, target)
            one.on_step = two.on_step = lambda _: None
            source, target = one.open(), two.open()
            now = (state_of(target), log_of(target))
            assert now == (old if crash.seen.count(Step.INSTALL_SWITCH) == 0 else (NEW_STATE, NEW_LOG)), crash.seen
            if now == old:
                whole_life(source, target)
            assert (state_of(target), log_of(target)) == (NEW_STATE, NEW_LOG)
            if not crash.happened:
                break
            cut += 1
        assert cut == len(crash.seen)
        assert cut > 20
        assert set(crash.seen) == set(Step)

    def test_a_check_that_could_not_fail_would_find_nothing(self, disks: Disks) -> None:
        """The comparison of the test above, on a node that wrote the old state after the install."""
        source, target = filled(disks(ME).open()), disks(YOU).open()
        whole_life(source, target)
        target.state.flush({b"case/000": b"old"}, (30, 3))
        assert (state_of(target), log_of(target)) != (NEW_STATE, NEW_LOG)


def whole_life(source: Store, target: Store) -> None:
    """Take, send, receive, prepare, install: each as far as it is not done already."""
    held = source.snapshots.held()
    manifest = held[0] if held else source.snapshots.take()
    transfer(source, target, manifest)
    target.snapshots.prepare(manifest.name, {b"clock": b"mine"})
    install(target, manifest)


class PowerCut(BaseException):
    """The process ends here."""


class CrashAt:
    """Ends the process at the `number`-th step (from 0)."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.seen: list[Step] = []
        self.happened = False

    def __call__(self, step: Step) -> None:
        self.seen.append(step)
        self.happened = self._left == 0
        self._left -= 1
        if self.happened:
            raise PowerCut


class FullAt:
    """A disk that is full the first time a step comes."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.refused = 0

    def __call__(self, step: Step) -> None:
        if step is self._step and self.refused == 0:
            self.refused += 1
            raise StorageFull("full")

    def until_it_fits(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except StorageFull:
            return act()
