"""Zones fail while sites work: the leader goes, then the quorum, then they are back."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import replica
from replica.cases.verdicts import VerdictKind
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Nodes, Plan, until_mode

pytestmark = pytest.mark.processes


async def test_with_two_zones_of_three_down_a_site_journals_and_gets_its_verdicts_when_they_are_back(
    tmp_path: Path,
) -> None:
    """Degraded mode: no quorum, so nothing is called agreed; nothing is lost either."""
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        for number in (1, 2, 3):
            await nodes.start(replica.open_zone(plan.zone(number), found=True))
        site = await nodes.start(replica.open_site(plan.site()))
        await until_mode(site, "connected")
        await site.submit_message(CASE, budget_ms=5000)
        await nodes.stop("zone-2")
        await nodes.stop("zone-3")
        await until_mode(site, "cut-off")
        receipts = [
            await site.submit(replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.{at}", f"note {at}")) for at in range(20)
        ]
        assert all(isinstance(receipt, replica.Journalled) for receipt in receipts)
        for number in (2, 3):
            await nodes.start(replica.open_zone(plan.zone(number)))
        with trio.fail_after(30):
            verdicts = [(await site.verdict(receipt.operation))[1] for receipt in receipts]
        assert {verdict.kind for verdict in verdicts} == {VerdictKind.APPLIED}
        nursery.cancel_scope.cancel()


async def test_when_the_zone_it_follows_stops_a_site_finds_another_and_goes_on(tmp_path: Path) -> None:
    """The next operation is agreed through another zone."""
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        for number in (1, 2, 3):
            await nodes.start(replica.open_zone(plan.zone(number), found=True))
        site = await nodes.start(replica.open_site(plan.site()))
        await until_mode(site, "connected")
        await site.submit_message(CASE, budget_ms=5000)
        followed = site.status()["zone"]
        await nodes.stop(followed)
        receipt = await site.submit(replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.1", "encore là"), budget_ms=10_000)
        assert isinstance(receipt, replica.Agreed)
        assert site.status()["zone"] not in ("", followed)
        nursery.cancel_scope.cancel()
