"""Readies become saves: one at a time, merged in between, and nothing leaves before what it rests on is durable."""

from __future__ import annotations

from collections.abc import Callable

from replica.errors import StorageFull
from replica.raft.messages import AppendReply, Message
from replica.raft.ready import Install, Ready
from replica.raft.types import Entry, EntryKind, HardState
from replica.runtime.saving import Saving
from replica.storage import Install as InstallJob
from replica.storage import LogJob, LogSave


class Disk:
    """Writes when told to, or says it is full."""

    def __init__(self) -> None:
        self.jobs: list[tuple[LogJob, Callable[[Exception | None], None]]] = []

    def write(self, job: LogJob, done: Callable[[Exception | None], None]) -> None:
        self.jobs.append((job, done))


def reply(index: int) -> Message:
    return AppendReply(2, 1, 1, True, index)


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(index, term, EntryKind.DATA, b"x") for index in range(first, last + 1))


def ready(
    number: int,
    *,
    save: tuple[Entry, ...] = (),
    hard: HardState | None = None,
    say: tuple[Message, ...] = (),
    install: Install | None = None,
) -> Ready:
    return Ready(number, (), install, hard, save, say, (), 0, (), (), (), (), (), None, None, ())


def ignore(problem: Exception | None) -> None:
    """A completion nobody waits for."""


def test_a_ready_with_nothing_to_save_leaves_at_once_when_nothing_is_unsaved() -> None:
    """There is nothing it could rest on."""
    saving = Saving(Disk().write)
    assert saving.add(ready(1, say=(reply(0),))) == (reply(0),)


def test_what_must_not_leave_before_the_save_leaves_after_it() -> None:
    """Votes and replies are promises."""
    disk = Disk()
    saving = Saving(disk.write)
    assert saving.add(ready(1, save=entries(1, 2), say=(reply(2),))) == ()
    assert saving.start(ignore)
    assert saving.finish() == (1, (reply(2),))


def test_a_ready_without_a_save_waits_for_the_save_before_it() -> None:
    """ "Of this Ready and of all before it": the order of the numbers holds."""
    saving = Saving(Disk().write)
    saving.add(ready(1, save=entries(1, 1)))
    saving.start(ignore)
    assert saving.add(ready(2, say=(reply(1),))) == ()
    assert saving.finish() == (1, (reply(1),))


def test_what_came_during_a_save_is_one_save_more() -> None:
    """Three Readies, two writes."""
    disk = Disk()
    saving = Saving(disk.write)
    saving.add(ready(1, save=entries(1, 1)))
    saving.start(ignore)
    saving.add(ready(2, save=entries(2, 2), hard=HardState(1, 1), say=(reply(2),)))
    saving.add(ready(3, save=entries(3, 3), hard=HardState(2, 2), say=(reply(3),)))
    assert not saving.start(ignore)
    assert saving.finish() == (1, ())
    saving.start(ignore)
    assert disk.jobs[1][0] == LogSave(HardState(2, 2), entries(2, 3), 0)
    assert saving.finish() == (3, (reply(2), reply(3)))


def test_newer_entries_replace_what_waits_from_their_first_index_on() -> None:
    """A truncation is a save, merged or not."""
    disk = Disk()
    saving = Saving(disk.write)
    saving.add(ready(1, save=entries(1, 1)))
    saving.start(ignore)
    saving.add(ready(2, save=entries(2, 5, term=1)))
    saving.add(ready(3, save=entries(4, 4, term=2)))
    saving.finish()
    saving.start(ignore)
    assert disk.jobs[1][0] == LogSave(None, (*entries(2, 3, term=1), *entries(4, 4, term=2)), 0)


def test_a_full_disk_is_tried_again_with_the_same_save_and_nothing_overtakes_it() -> None:
    """Nothing that came later can be on disk before it, and nothing is said meanwhile."""
    disk = Disk()
    problems: list[Exception | None] = []
    saving = Saving(disk.write)
    saving.add(ready(1, save=entries(1, 1), say=(reply(1),)))
    saving.start(problems.append)
    disk.jobs[0][1](StorageFull("full"))
    assert saving.add(ready(2, save=entries(2, 2))) == ()
    assert not saving.start(ignore)
    saving.again(problems.append)
    assert disk.jobs[1][0] == disk.jobs[0][0]
    assert saving.finish() == (1, (reply(1),))


def test_an_install_goes_before_the_entries_that_follow_on_it_and_takes_what_waited_of_the_old_log_away() -> None:
    """One order of jobs, one completion: nothing that rests on the install leaves before it."""
    disk = Disk()
    saving = Saving(disk.write, lambda token: f"snapshot-{token}")
    saving.add(ready(1, save=entries(1, 2)))
    install = Install(7, 50, 1, (0, b"{}"))
    assert saving.add(ready(2, install=install, hard=HardState(2), save=entries(51, 52), say=(reply(52),))) == ()
    assert saving.install_waits
    assert not saving.start(ignore, may_install=False), "a write-back is under way"
    assert saving.start(ignore)
    assert [job for job, _ in disk.jobs] == [
        InstallJob("snapshot-7", 50, 1, (0, b"{}"), HardState(2)),
        LogSave(HardState(2), entries(51, 52), 0),
    ]
    assert saving.install_waits
    assert saving.finish() == (2, (reply(52),))
    assert saving.installed == install
    assert not saving.install_waits


def test_an_install_on_a_full_disk_is_tried_again_whole() -> None:
    """It left no trace, and the entries behind it are nothing without it."""
    disk = Disk()
    saving = Saving(disk.write, str)
    saving.add(ready(1, install=Install(7, 50, 1, (0, b"{}"))))
    saving.start(ignore)
    saving.again(ignore)
    assert [type(job) for job, _ in disk.jobs] == [InstallJob, LogSave, InstallJob, LogSave]


def test_an_install_that_is_done_is_not_done_again_with_the_entries_for_which_there_was_no_room() -> None:
    """What it installed is in its place, and lies prepared no more."""
    disk = Disk()
    saving = Saving(disk.write)
    install = Install(7, 50, 1, (0, b"{}"))
    saving.add(ready(1, install=install, save=entries(51, 51)))
    assert saving.start(ignore)
    (_, install_done), (_, save_done) = disk.jobs
    disk.jobs.clear()
    install_done(None)
    save_done(StorageFull("no space left"))
    assert saving.busy
    saving.again(ignore)
    assert [type(job) for job, _ in disk.jobs] == [LogSave]
    saving.finish()
    assert saving.installed == install
