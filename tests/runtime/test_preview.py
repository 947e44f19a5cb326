"""A site that is far behind reads its own cases as of now before the rest has come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio

import replica
from replica.cases.commands import CloseCase
from replica.cases.records import Empty
from replica.config import Limits
from replica.errors import NotAvailable
from replica.offline.events import Mode
from replica.runtime.previewed import Previews
from replica.runtime.service import Change, Changes, Service
from replica.runtime.site import SiteNode
from replica.runtime.status import site_status
from replica.wire.feed import Preview
from tests.runtime.nodes import CASE_ID, SAMU, Plan, until
from tests.runtime.shipped import QUICK, SMALL, World
from tests.runtime.test_site_damage import OTHER_ID, begun, is_even, note, notes

pytestmark = pytest.mark.processes
RING = Limits(map_size_gib=1, preview_entries=20)
"""All that the site lacks is kept entry by entry."""


class Held:
    """Keeps a whole state from being put in place for as long as the test wants it to wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = trio.Event()
        replace = SiteNode.replace_state

        async def wait_first(site: SiteNode, *rest: Any) -> None:
            await self.go.wait()
            await replace(site, *rest)

        monkeypatch.setattr(SiteNode, "replace_state", wait_first)


async def write(world: World, count: int) -> None:
    """So many notes of somebody at the zone on a case of the site's, large enough for a ring to let go of the first."""
    for at in range(count):
        command = replica.AddNote(CASE_ID, f"zone.medicalNote.{at}", f"{at} " + "x" * 2000)
        await world.zone("zone-1").service.submit(command, budget_ms=10_000)


async def first(changes: Changes) -> AsyncIterator[Change]:
    """The first few."""
    for _ in range(4):
        yield await anext(changes)


async def has_preview(world: World) -> None:
    await until(lambda: world.site().desk.core.preview is not None)


def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing of the site's copy reaches its disk, not even when it is stopped: as in a crash."""

    async def nothing(site: SiteNode) -> None:
        await site._write_back.finish()

    monkeypatch.setattr(SiteNode, "flush", nothing)


async def test_own_cases_are_as_of_now_before_the_state_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed meanwhile: closed. What was decided when the line was cut is there once, and is not tentative."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), SMALL)
        await begun(world)
        site = world.site()
        await site.flush()
        forgetful(monkeypatch)
        for command in (note(CASE_ID, "own"), CloseCase(OTHER_ID)):
            handed = await site.service.submit(command, budget_ms=10_000)
            assert handed.state == "agreed"
        await world.stop(SAMU)
        monkeypatch.undo()
        await write(world, 60)
        held = Held(monkeypatch)
        await world.start(SAMU)
        await has_preview(world)
        site, zone = world.site(), world.zone("zone-1")
        behind = site.state.index
        assert behind < zone.state.index - 60
        shown = notes(site, CASE_ID)
        assert len(shown) == 61
        assert shown.count("own") == 1
        view, other = site.service.case(CASE_ID), site.service.case(OTHER_ID)
        assert view is not None
        assert other is not None
        assert not other.open
        assert not any(one.value.tentative for one in view.elements)
        fresh = site.service.freshness(subject=("case", CASE_ID))
        assert fresh.index == fresh.preview_index == site_status(site)["preview_index"] > behind + 60
        assert site.service.freshness().index == site_status(site)["applied_index"] == behind
        await site.service.hold("session", fresh.index, 100, ("case", CASE_ID))
        with pytest.raises(NotAvailable):
            await site.service.hold("session", fresh.index, 100)
        held.go.set()
        await until(lambda: is_even(world))
        assert site.desk.core.preview is None
        assert site_status(site)["preview_index"] == 0
        assert sorted(notes(site, CASE_ID)) == sorted(shown)
        nursery.cancel_scope.cancel()


async def test_a_first_start_begins_with_the_own_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is empty, and the state is large."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), SMALL)
        await world.start("zone-1")
        await world.write(1, begin=True)
        await write(world, 60)
        held = Held(monkeypatch)
        await world.start(SAMU)
        await has_preview(world)
        site = world.site()
        assert site.state.index == 0
        assert [one.id for one in site.service.cases(open=True)] == [CASE_ID]
        assert len(notes(site, CASE_ID)) >= 60
        held.go.set()
        await until(lambda: is_even(world))
        nursery.cancel_scope.cancel()


async def test_thousands_of_entries_come_behind_the_own_cases_and_those_who_follow_changes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs a state here; but the last entry of a long backlog is the last one to come."""
    told: list[Change] = []

    async def listen(service: Service) -> None:
        told.extend([change async for change in first(service.changes(None))])

    def at_first(site: SiteNode, subjects: tuple[tuple[str, str], ...]) -> None:
        ahead.append((site.state.index, subjects, len(notes(site, CASE_ID))))

    ahead: list[tuple[int, tuple[tuple[str, str], ...], int]] = []
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), RING)
        await begun(world)
        await world.stop(SAMU)
        await write(world, 40)
        put = Service.previewed

        def previewed(service: Service, subjects: tuple[tuple[str, str], ...]) -> None:
            put(service, subjects)
            at_first(world.site(), subjects)

        monkeypatch.setattr(Service, "previewed", previewed)
        start = Service.__init__

        def followed(service: Service, *rest: Any, **named: Any) -> None:
            start(service, *rest, **named)
            nursery.start_soon(listen, service)

        monkeypatch.setattr(Service, "__init__", followed)
        await world.start(SAMU)
        await until(lambda: is_even(world) and bool(told))
        (index, subjects, count) = ahead[0]
        assert index < world.site().state.index - 40
        assert subjects == (("case", CASE_ID),)
        assert count == 40
        assert told[0].subjects == (("case", CASE_ID),)
        assert (told[0].index, told[0].time_ms, told[0].decided) == (index, 0, ())
        assert [one.index for one in told[1:4]] == [index + 1, index + 2, index + 3]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("in_drill", [False, True])
async def test_in_a_drill_nothing_is_asked_for_and_nothing_taken(in_drill: bool) -> None:
    """The site is to behave as cut off."""
    await trio.lowlevel.checkpoint()
    steps: list[object] = []
    core = SimpleNamespace(preview=None)
    site = SimpleNamespace(
        drills=SimpleNamespace(current=object() if in_drill else None),
        desk=SimpleNamespace(core=core, step=steps.append),
        state=Empty(),
    )
    previews = Previews(site)
    previews.take(Preview(9, 1, (b"L",), (), more=True))
    previews.take(Preview(9, 1, (), ((b"L", b"\x01"),)))
    assert previews.are_wanted is not in_drill
    assert len(steps) == (0 if in_drill else 1)


@pytest.mark.parametrize("what", ["an older zone", "a site that does not ask", "too late"])
async def test_without_a_preview_all_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A zone that does not read what the site asks, an older site, or one that is in a drill; or nothing to be had."""
    if what == "a site that does not ask":
        monkeypatch.setattr("replica.runtime.previewed.Previews.are_wanted", property(lambda self: False))
    if what == "too late":
        monkeypatch.setattr("replica.runtime.previewing.MADE_WITHIN_S", 0.0)
    limits = msgspec.structs.replace(SMALL, preview_mib=0 if what == "an older zone" else 16)
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), limits)
        await begun(world)
        await world.stop(SAMU)
        await write(world, 60)
        await world.start(SAMU)
        seen = []
        while not is_even(world):
            seen.append(world.site().desk.core.preview)
            await trio.sleep(0.01)
        assert set(seen) <= {None}
        assert world.site().desk.core.mode is Mode.CONNECTED
        assert len(notes(world.site(), CASE_ID)) == 60
        nursery.cancel_scope.cancel()
