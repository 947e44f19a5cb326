"""Three kinds of reads: what is known here, what this session has seen, and what anybody has agreed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

import replica
from replica.cases.commands import RaiseLevel
from replica.cases.queries import CaseView
from replica.config import Reads
from replica.errors import InvalidMessage, NotAvailable, NotPermitted
from replica.runtime.client import open_client
from tests.runtime.nodes import CASE, CASE_ID, Nodes, Plan, cluster, until, until_mode

pytestmark = pytest.mark.processes


def priority(case: CaseView | None) -> str:
    assert case is not None
    return next(field.values[0].value for field in case.fields if field.field == "priority")


async def test_a_linearizable_read_at_any_node_has_what_was_agreed_anywhere_before_it(tmp_path: Path) -> None:
    """Written at the site, read at each zone at once; written at a zone, read at the site at once."""
    async with cluster(Plan(tmp_path, zones=3)) as (zones, site):
        await site.submit_message(CASE, budget_ms=5000)
        for at in range(10):
            writer, wanted = (site, *zones)[at % 4], ("P0", "P1")[at % 2]
            receipt = await writer.submit(replica.ChangePriority(CASE_ID, wanted), budget_ms=5000)
            assert isinstance(receipt, replica.Agreed)
            for node in (*zones, site):
                read = await node.read_case(CASE_ID, "linearizable", 5000)
                assert read.freshness.index >= receipt.index
                assert priority(read.value) == wanted


async def test_with_leases_a_linearizable_read_is_as_true(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    config = msgspec.structs.replace(plan.zone(1), reads=Reads(lease_reads=True))
    async with replica.open_zone(config, found=True) as zone:
        await until(lambda: zone.status()["raft"]["role"] == "leader")
        await zone.submit_message(CASE, budget_ms=5000)
        assert (await zone.read_case(CASE_ID, "linearizable", 5000)).value is not None


async def test_cut_off_a_site_refuses_a_linearizable_read_at_once_and_answers_a_local_one(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        nodes, plan = Nodes(nursery), Plan(tmp_path)
        await nodes.start(replica.open_zone(plan.zone(1), found=True))
        site = await nodes.start(replica.open_site(plan.site()))
        await until_mode(site, "connected")
        await site.submit_message(CASE, budget_ms=5000)
        await nodes.stop("zone-1")
        await until(lambda: site.status()["zone"] == "")
        with pytest.raises(NotAvailable, match="cut off"):
            await site.read_case(CASE_ID, "linearizable", 60_000)
        assert site.read_case(CASE_ID).value is not None
        nursery.cancel_scope.cancel()


async def test_without_a_quorum_a_zone_answers_no_linearizable_read(tmp_path: Path) -> None:
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zones = [await nodes.start(replica.open_zone(plan.zone(number), found=True)) for number in (1, 2, 3)]
        await until(lambda: all(zone.status()["raft"]["leader"] for zone in zones))
        await nodes.stop("zone-2")
        await nodes.stop("zone-3")
        with pytest.raises(NotAvailable):
            await zones[0].read_case(CASE_ID, "linearizable", 500)
        nursery.cancel_scope.cancel()


async def test_a_session_goes_on_at_another_node_and_never_sees_less(tmp_path: Path) -> None:
    """Each write at one zone is read through the next node, wherever that stands just then."""
    async with cluster(Plan(tmp_path, zones=3)) as (zones, site):
        (opened,) = await site.submit_message(CASE, budget_ms=5000)
        assert isinstance(opened, replica.Agreed)
        seen = opened.index
        # Nobody can work on a case at a zone that has not heard of it yet.
        await zones[0].read_case(CASE_ID, "session", 5000, after_index=seen)
        for at in range(12):
            wanted = ("P0", "P1")[at % 2]
            async with open_client(zones[at % 3].address) as client:
                await client.submit(replica.ChangePriority(CASE_ID, wanted), 5000, author="a")
                seen = max(seen, client.seen_index)
            async with open_client((site, zones[(at + 1) % 3])[at % 2].address) as client:
                client.seen_index = seen
                answer = await client.show_case(CASE_ID, consistency="session", budget_ms=5000)
                assert answer["freshness"]["index"] >= seen
                fields = {field["field"]: field["values"][0]["value"] for field in answer["case"]["fields"]}
                assert fields["priority"] == wanted


async def test_a_session_that_has_seen_more_than_is_here_waits_for_its_budget_and_is_told(tmp_path: Path) -> None:
    async with cluster(Plan(tmp_path)) as (_, site):
        with pytest.raises(NotAvailable, match="as of"):
            await site.read_case(CASE_ID, "session", 50, after_index=1_000_000)


async def test_another_word_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    async with cluster(Plan(tmp_path)) as (zones, _), open_client(zones[0].address) as client:
        with pytest.raises(InvalidMessage, match="local, session or linearizable"):
            await client.show_case(CASE_ID, consistency="eventual")


async def test_a_level_is_raised_at_a_zone_and_only_once_every_voter_was_met_and_can_apply_it(tmp_path: Path) -> None:
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zone = await nodes.start(replica.open_zone(plan.zone(1), found=True))
        site = await nodes.start(replica.open_site(plan.site()))
        with pytest.raises(NotPermitted, match="zone-2 was not heard yet, zone-3 was not heard yet"):
            await zone.submit(RaiseLevel(1))
        with pytest.raises(NotPermitted, match="at a zone"):
            await site.submit(RaiseLevel(1))
        await nodes.start(replica.open_zone(plan.zone(2), found=True))
        await nodes.start(replica.open_zone(plan.zone(3), found=True))
        await until(lambda: zone.status()["linked_zones"] == [2, 3])
        with pytest.raises(NotPermitted, match="speaks up to level"):
            await zone.submit(RaiseLevel(1000))
        nursery.cancel_scope.cancel()
