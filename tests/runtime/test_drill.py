"""Drills: a site behaves as cut off on a sound line, and is back in an instant."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

import replica
from replica.cases.commands import AddNote, ChangePriority, TransferCase
from replica.cases.verdicts import Effects
from replica.errors import NotAvailable, NotPermitted
from replica.offline.events import Mode
from replica.runtime.client import open_client
from replica.runtime.drill import Drills
from tests.runtime.nodes import CASE, CASE_ID, Plan, cluster, until


@pytest.mark.processes
async def test_in_a_drill_a_site_does_what_it_would_do_cut_off(tmp_path: Path) -> None:
    """Journal, authority, view and every read; the zone goes on meanwhile, and nobody here sees it before the end."""
    async with cluster(Plan(tmp_path)) as (zones, site), open_client(site.address) as operator:
        await site.submit_message(CASE)
        begun = await operator.drill(60_000, author="dr. Ker", reason="every month")
        assert begun["under_way"]
        assert (site.status()["mode"], site.freshness().drill) == ("cut-off", True)
        assert site.status()["drill"]["author"] == "dr. Ker"
        receipt = await site.submit(ChangePriority(CASE_ID, "P0"), author="arm")
        assert isinstance(receipt, replica.Journalled)
        with pytest.raises(NotPermitted, match="cut off"):
            await site.submit(TransferCase(CASE_ID, "fr.health.samu690"))
        with pytest.raises(NotAvailable, match="drill"):
            await site.read_case(CASE_ID, "linearizable")
        before = site.freshness().index
        await zones[0].submit(AddNote(CASE_ID, "n1", "from a zone"), budget_ms=5000)
        await until(lambda: site.status()["drill"]["held_entries"] > 0)
        assert site.freshness().index == before
        report = await operator.drill(0)
        assert (report["delayed"], report["refused"], report["verdicts"]) == (1, {"transfer-case": 1}, {"applied": 1})
        assert report["why_refused"]["transfer-case"]
        assert report["replay_ms"] > 0
        assert site.freshness().index > before
        assert not site.freshness().drill
        await until(lambda: site.status()["mode"] == "connected")
        assert site.status()["drill"] is None
        view = site.read_case(CASE_ID).value
        assert view is not None
        assert view.value("priority") == "P0"
        assert any("from a zone" in one.value.value for one in view.elements)


@pytest.mark.processes
async def test_a_drill_ends_by_itself(tmp_path: Path) -> None:
    """After its time, whoever began it has gone home; and its report is there afterwards."""
    async with cluster(Plan(tmp_path)) as (_, site), open_client(site.address) as operator:
        with pytest.raises(NotPermitted, match="no drill"):
            await operator.drill(0)
        await operator.drill(300, reason="short")
        with pytest.raises(NotPermitted, match="under way"):
            await operator.drill(300)
        with trio.fail_after(10):
            await until(lambda: site.status()["mode"] == "connected")
        report = await operator.drill(0)
        assert report["why_ended"] == "its time was over"
        assert report["lasted_ms"] >= 300


@pytest.mark.processes
async def test_a_drill_that_meets_a_real_cut_ends_as_that(tmp_path: Path) -> None:
    """The zone goes away meanwhile: when the drill is over the site is cut off in earnest, and loses nothing by it."""
    plan = Plan(tmp_path)
    async with replica.open_site(plan.site()) as site:
        async with replica.open_zone(plan.zone(), found=True), open_client(site.address) as operator:
            await until(lambda: site.status()["mode"] == "connected")
            await site.submit_message(CASE, budget_ms=5000)
            await operator.drill(60_000)
            await site.submit(AddNote(CASE_ID, "n1", "in the drill"))
        await until(lambda: site.status()["zone"] == "")
        with trio.move_on_after(0.5):
            async with open_client(site.address) as operator:
                await operator.drill(0)
        assert (site.status()["mode"], site.freshness().drill) == ("cut-off", False)
        async with replica.open_zone(plan.zone()):
            await until(lambda: site.status()["undecided"] == 0)
        view = site.read_case(CASE_ID).value
        assert view is not None
        assert sum("in the drill" in one.value.value for one in view.elements) == 1


@pytest.mark.processes
async def test_a_zone_has_no_line_to_be_cut(tmp_path: Path) -> None:
    """And a site that is cut off already needs no drill."""
    plan = Plan(tmp_path)
    async with replica.open_zone(plan.zone(), found=True) as zone, open_client(zone.address) as operator:
        with pytest.raises(NotPermitted, match="ask a site"):
            await operator.drill(1000)
    async with replica.open_site(plan.site()) as site, open_client(site.address) as operator:
        with pytest.raises(NotPermitted, match="sound line"):
            await operator.drill(1000)


async def test_what_was_held_back_is_put_in_place_in_order() -> None:
    """At the end, at once and before anything else: nothing is asked for a second time."""
    arrived: list[int] = []
    core = SimpleNamespace(mode=Mode.CONNECTED, drill=False)
    site = SimpleNamespace(
        desk=SimpleNamespace(core=core, step=lambda event: None),
        line=SimpleNamespace(zone_number=1),
        log=SimpleNamespace(warning=lambda *told, **more: None),
        arrived=lambda effects: arrived.append(effects.index),
    )
    drills = Drills(site)
    drills.begin(1000, "", "")
    assert core.drill
    assert all(drills.holds_back(Effects(index, 1, 0, (), ())) for index in (7, 8, 9))
    assert drills.position() == (9, 1)
    drills.end("enough")
    assert (arrived, core.drill, drills.position()) == ([7, 8, 9], False, None)
