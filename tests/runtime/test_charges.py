"""Charges at running nodes: who is heard is not taken over, what is over ends, and what was taken goes home."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

import replica
from replica.cases.charge_reading import ChargeStateView
from replica.cases.commands import HandBack, TakeOver
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.verdicts import Verdict, VerdictKind
from replica.errors import NotPermitted
from replica.runtime.bell import now_ms, wall_ms
from replica.runtime.presence import Presence
from replica.runtime.zone import ZoneNode
from tests.runtime.nodes import SAMU, Nodes, Plan, raised, until, until_mode

OTHER = "fr.health.samu690"


def operation(payload: TakeOver | HandBack) -> Operation:
    return Operation(OperationId(OTHER, bytes(16), 1), 1, 0, HybridTime(1), 1, "", payload)


def test_an_entry_names_the_sites_that_any_zone_hears_where_something_is_taken_over() -> None:
    """And no other entry does: it would be paid for by every one of them."""
    presence = Presence(silent_ms=1500)
    presence.came("line 1", "b", 0)
    presence.came("line 2", "b", 0)
    presence.told(2, ["c", "a"])
    presence.told(3, ["a"])
    taking = [operation(TakeOver("x", "y", 1, ""))]
    assert presence.heard(taking, 1) == ("a", "b", "c")
    assert presence.heard([operation(HandBack("x", ""))], 1) == ()
    presence.went("line 1")
    assert presence.here(1) == ("b",)
    presence.went("line 2")
    presence.lost(2)
    assert presence.heard(taking, 1) == ("a",)


def test_a_line_that_says_nothing_is_none_whatever_its_socket_says() -> None:
    """A black hole closes nothing. A site of an older release says nothing, and is heard while its line is up."""
    presence = Presence(silent_ms=1500)
    presence.came("line 1", "b", 0)
    presence.came("line 2", "old", 0, speaks=False)
    presence.spoke("line 1", 1000)
    assert presence.here(2500) == ("b", "old")
    assert presence.here(2501) == ("old",)
    presence.spoke("line 1", 3000)
    assert presence.here(3000) == ("b", "old")


def charge(node: replica.Site) -> ChargeStateView:
    """Of SAMU's work, as this node knows it."""
    return node.charges(SAMU).value[0]


def hears_it(zone: replica.Zone) -> bool:
    """Whether SAMU's site is heard, as far as this zone knows: the others tell with their beats."""
    node = zone._running.node
    assert isinstance(node, ZoneNode)
    taking = [operation(TakeOver(SAMU, OTHER, 0, ""))]
    return SAMU in node.sites.presence.heard(taking, now_ms()) or not node.leads


async def take_over(site: replica.Site, command: TakeOver) -> Verdict:
    """Of SAMU's work, with the epoch as the site knows it now."""
    command = msgspec.structs.replace(command, epoch=charge(site).epoch)
    receipt = await site.submit(command, budget_ms=5000)
    assert isinstance(receipt, replica.Agreed)
    return receipt.verdict


@pytest.mark.processes
async def test_a_site_is_taken_over_while_it_is_away_and_gets_its_work_back(tmp_path: Path) -> None:
    """Refused while it is heard at any zone; it asks by itself when it is back, and is given back by itself."""
    plan = Plan(tmp_path, zones=2)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zones = [await nodes.start(replica.open_zone(plan.zone(number), found=True)) for number in (1, 2)]
        await raised(zones[0])
        neighbour = await nodes.start(replica.open_site(plan.site(OTHER)))
        await until_mode(neighbour, "connected")
        async with replica.open_site(plan.site()) as site:
            await until_mode(site, "connected")
            await until(lambda: neighbour.status()["applied_index"] >= site.status()["applied_index"])
            await until(lambda: all(hears_it(zone) for zone in zones))
            heard = (await take_over(neighbour, TakeOver(SAMU, OTHER, 0, "no answer"))).reason
            assert "is heard" in heard
        with trio.fail_after(20):
            while charge(neighbour).holder != OTHER:
                await take_over(neighbour, TakeOver(SAMU, OTHER, 0, "cut off", automatic=True))
        site = await nodes.start(replica.open_site(plan.site()))
        await until(lambda: charge(site).epoch == 3)
        assert charge(site).holder == SAMU
        assert charge(site).asked is not None
        assert [one.before for one in site.charge_changes(SAMU)] == [SAMU, OTHER]
        nursery.cancel_scope.cancel()


@pytest.mark.processes
async def test_a_take_over_ends_by_itself_when_its_time_is_over(tmp_path: Path) -> None:
    """The leading zone sees to it; below level 3 nobody may ask for it."""
    plan = Plan(tmp_path)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zone = await nodes.start(replica.open_zone(plan.zone(), found=True))
        site = await nodes.start(replica.open_site(plan.site()))
        neighbour = await nodes.start(replica.open_site(plan.site(OTHER)))
        await until_mode(site, "connected")
        await until_mode(neighbour, "connected")
        with pytest.raises(NotPermitted, match="feature level 3"):
            await neighbour.submit(TakeOver(SAMU, OTHER, 1, "short", until_ms=1))
        await raised(zone)
        await until(lambda: neighbour.status()["feature_level"] == HIGHEST_LEVEL)
        command = TakeOver(SAMU, OTHER, 0, "for a moment", forced=True, until_ms=wall_ms() + 1500)
        with trio.fail_after(20):
            while (verdict := await take_over(neighbour, command)).kind is VerdictKind.REFUSED:
                assert "serves" in verdict.reason, verdict.reason  # the sites are still being registered
        await until(lambda: charge(site).epoch == 3)
        assert charge(site).holder == SAMU
        assert [one.reason for one in site.charge_changes(SAMU)] == ["for a moment", "its time is over"]
        nursery.cancel_scope.cancel()
