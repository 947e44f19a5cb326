"""A running site keeps its sheet fresh on disk: every so often, whole or not at all, and never at the site's cost."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from replica.cases.commands import AddNote
from replica.errors import StoreDamaged
from replica.runtime.outside import RealOutside
from replica.runtime.sheet_keeper import Now, Plan, SheetKeeper, write_file
from replica.sheet.model import Facts
from tests.cases.world import World, creation

SAMU = "fr.health.samu440"
T = TypeVar("T")


class Overheard(RealOutside):
    """What is logged is kept; what blocks is done at once, as time is the test's own."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **facts: Any) -> None:
        self.said.append((event, facts))

    async def in_worker(self, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        return work()


def keeper(path: Path, world: World, heard: Overheard, every_s: float = 30) -> SheetKeeper:
    def now() -> Now:
        facts = Facts(SAMU, "samu-france", "connected", 1_700_000_000_000, world.index, 1_700_000_000_000, SAMU, 1)
        return Now(world.records, world.index, facts)

    return SheetKeeper(Plan(path, every_s, "en", "UTC"), now, heard, heard)


def begun() -> World:
    world = World()
    world.open(SAMU).do(creation(f"{SAMU}.C1", SAMU))
    return world


async def test_there_is_a_sheet_at_once_and_a_new_one_every_so_often(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Not only after the first interval: a site may die before that."""
    path, world, heard = tmp_path / "sheet.txt", begun(), Overheard()
    (tmp_path / ".sheet.txt.x7.new").write_text("half a sheet: the process was killed")
    kept = keeper(path, world, heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert f"{SAMU}.C1" in path.read_text()
        assert "C2" not in path.read_text()
        world.open("fr.health.samu690", 2).do(creation(f"{SAMU}.C2", SAMU))
        await trio.sleep(31)
        assert "C2" in path.read_text()
        await trio.sleep(300)
        assert kept.written == 12
        assert os.listdir(tmp_path) == ["sheet.txt"]
        assert heard.said == []
        nursery.cancel_scope.cancel()


async def test_a_sheet_that_cannot_be_written_is_logged_and_tried_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A folder that is gone, a disk that is full: the site goes on."""
    folder, world, heard = tmp_path / "later", begun(), Overheard()
    kept = keeper(folder / "sheet.html", world, heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(10)
        assert [event for event, _ in heard.said] == ["sheet-not-written"]
        folder.mkdir()
        await trio.sleep(30)
        assert (folder / "sheet.html").read_text().startswith("<!doctype html>")
        nursery.cancel_scope.cancel()


async def test_other_tasks_run_between_two_cases(tmp_path: Path) -> None:
    """A sheet of many cases must not make the site deaf."""
    world, heard, turns = begun(), Overheard(), 0
    site = world.open("fr.health.samu690", 3)
    for number in range(200):
        site.do(creation(f"{SAMU}.N{number}", SAMU))
    kept = keeper(tmp_path / "sheet.txt", world, heard)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        sheet = await kept.collect()
        nursery.cancel_scope.cancel()
    assert len(sheet.cases) == 201
    assert turns > 150


async def test_what_is_done_while_the_sheet_is_read_is_on_it_or_on_the_next(tmp_path: Path) -> None:
    """Each case is read as it is when its turn comes: never half."""
    world, heard = begun(), Overheard()
    site = world.open("fr.health.samu690", 3)
    kept = keeper(tmp_path / "sheet.txt", world, heard)

    async def write_notes() -> None:
        for number in range(20):
            site.do(AddNote(f"{SAMU}.C1", f"n{number}", f"note {number}"))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_notes)
        before = await kept.collect()
    after = await kept.collect()
    assert len(before.cases) == len(after.cases) == 1
    assert len(after.cases[0].notes) == 20
    assert set(before.cases[0].notes) <= set(after.cases[0].notes)


async def test_a_damaged_record_is_on_the_sheet_and_does_not_end_the_keeper(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The copy is rebuilt once a zone is reached; until then the sheet says what it lacks."""
    world, heard = begun(), Overheard()
    kept = keeper(tmp_path / "sheet.txt", world, heard)
    part = next(key for key, _ in world.records.scan(b"c") if b"fcore" in key)

    class Sick:
        def get(self, key: bytes) -> bytes | None:
            if key == part:
                raise StoreDamaged(f"state record {key!r}", "its checksum does not match its bytes")
            return world.records.get(key)

        def scan(self, prefix: bytes):  # type: ignore[no-untyped-def]  # as Records has it
            for key, _ in world.records.scan(prefix):
                found = self.get(key)
                assert found is not None
                yield key, found

    sound = kept._now
    kept._now = lambda: Now(Sick(), sound().index, sound().facts)
    sheet = await kept.write()
    assert sheet.cases[0].unreadable == ("core",)
    assert "NOT EVERYTHING COULD BE READ" in (tmp_path / "sheet.txt").read_text()


def test_the_file_is_replaced_whole_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Whoever has it open goes on reading the old one; nothing else is left in the folder."""
    path = tmp_path / "sheet.txt"
    write_file(path, "old")
    with path.open() as opened:
        write_file(path, "new é")
        assert opened.read() == "old"
    assert path.read_text(encoding="utf-8") == "new é"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_sheet_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it fails at the fsync."""
    path = tmp_path / "sheet.txt"
    write_file(path, "old")

    def refuse(fd: int) -> None:
        raise OSError(5, "says the test")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="says the test"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
