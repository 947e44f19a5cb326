"""Zones come and go while others work: one by one, several at once, and until none of the first ones is left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio

import replica
from replica.admin import members
from replica.api import Site, Zone
from replica.config import Timing, ZoneConfig, ZonePeer, ZoneSection
from replica.errors import ConfigError, InvalidMessage, NotPermitted
from replica.raft.types import NOBODY, Membership
from replica.runtime.belonging import Belonging
from replica.runtime.client import Client, open_client
from replica.runtime.directory import Directory, Listed
from replica.runtime.learning import Digests
from replica.runtime.members import Office
from replica.wire.client import ChangeMembers, Meet, NewZone
from replica.wire.feed import ZoneAt
from replica.wire.handshake import NOT_A_MEMBER
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Nodes, Plan, free_port, until, until_mode

pytestmark = pytest.mark.processes


def joining(plan: Plan, number: int) -> ZoneConfig:
    """A zone that is not in the plan: it lists those that are."""
    name = f"zone-{number}"
    section = ZoneSection(name, number, f"127.0.0.1:{free_port()}", str(plan.folder / name))
    return msgspec.structs.replace(plan.zone(1), zone=section)


async def _add(zone: NewZone, client: Client) -> dict[str, Any]:
    return await client.change_members(add=(zone,))


class Growing:
    """A cluster whose zones come and go, with a site that writes all the while."""

    def __init__(self, nursery: trio.Nursery, plan: Plan) -> None:
        self.plan = plan
        self.nodes = Nodes(nursery)
        self.zones: dict[str, Zone] = {}
        self.addresses: dict[str, str] = {}

    async def found(self) -> Site:
        for number in range(1, self.plan.zones + 1):
            await self.start(self.plan.zone(number), found=True)
        site: Site = await self.nodes.start(replica.open_site(self.plan.site()))
        await until_mode(site, "connected")
        await site.submit_message(CASE, budget_ms=20_000)
        return site

    async def start(self, config: ZoneConfig, *, found: bool = False, join: bool = False) -> NewZone:
        name = config.zone.name
        self.zones[name] = zone = await self.nodes.start(replica.open_zone(config, found=found, join=join))
        self.addresses[name] = zone.address
        return NewZone(config.zone.number, name, zone.address)

    async def stop(self, name: str) -> None:
        del self.zones[name]
        await self.nodes.stop(name)

    @property
    def any_address(self) -> str:
        return next(iter(self.zones.values())).address

    async def change(self, ask: Callable[[Client], Any], wanted: dict[str, str]) -> dict[str, Any]:
        """As the command line does it: asked of any zone, and watched until it is committed."""
        await members.at_leader(self.any_address, ask, 30)
        seen = await members.until_settled(
            self.any_address, lambda roles: wanted.items() <= roles.items(), 60, lambda words: None
        )
        assert "pending" not in seen
        return seen

    def voters(self) -> list[list[int]]:
        return [zone.status()["raft"]["voters"] for zone in self.zones.values()]


class Writing:
    """Notes, one after the other, and what became of each."""

    def __init__(self, site: Site) -> None:
        self.receipts: list[replica.Receipt] = []
        self.stop = False
        self._site = site

    async def run(self) -> None:
        while not self.stop:
            note = replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.{len(self.receipts)}", "note")
            self.receipts.append(await self._site.submit(note, budget_ms=10_000))


async def test_a_cluster_goes_from_three_to_five_to_three_with_every_first_zone_replaced_under_writes(
    tmp_path: Path,
) -> None:
    """The site finds the new zones by itself; it never stops writing; every write has one verdict at the end."""
    plan = Plan(tmp_path, zones=3, timing=Timing(reconnect_most_ms=100))
    async with trio.open_nursery() as nursery:
        growing = Growing(nursery, plan)
        site = await growing.found()
        writing = Writing(site)
        nursery.start_soon(writing.run)
        added = tuple([await growing.start(joining(plan, number), join=True) for number in (4, 5)])
        await growing.change(lambda c: c.change_members(add=added), {"zone-4": "voter", "zone-5": "voter"})
        assert all(voters == [1, 2, 3, 4, 5] for voters in growing.voters()[:3])
        new = await growing.start(joining(plan, 6), join=True)
        await growing.change(
            lambda c: c.change_members(add=(new,), remove=("zone-1",)), {"zone-6": "voter", "zone-1": "retired"}
        )
        await growing.change(
            lambda c: c.change_members(remove=("zone-2", "zone-3")), {"zone-2": "retired", "zone-3": "retired"}
        )
        await until(lambda: growing.zones["zone-2"].status()["removed"])
        for name in ("zone-1", "zone-2", "zone-3"):
            await growing.stop(name)
        count = len(writing.receipts)
        await until(lambda: len(writing.receipts) > count + 10)
        writing.stop = True
        assert sorted(growing.voters()[0]) == [4, 5, 6]
        for receipt in writing.receipts:
            verdict = (
                receipt.verdict if isinstance(receipt, replica.Agreed) else (await site.verdict(receipt.operation))[1]
            )
            assert verdict.kind is replica.VerdictKind.APPLIED
        index = site.status()["applied_index"]
        await until(lambda: all(zone.status()["applied_index"] >= index for zone in growing.zones.values()))
        assert site.status()["zone"] in growing.zones
        nursery.cancel_scope.cancel()


async def test_a_learner_learns_and_votes_only_when_it_is_promoted(tmp_path: Path) -> None:
    plan = Plan(tmp_path, zones=1, timing=Timing(reconnect_most_ms=100))
    async with trio.open_nursery() as nursery:
        growing = Growing(nursery, plan)
        await growing.found()
        new = await growing.start(joining(plan, 2), join=True)
        await growing.change(lambda c: c.change_members(add=(new,), learners=True), {"zone-2": "learner"})
        zone_1, zone_2 = growing.zones["zone-1"], growing.zones["zone-2"]
        await until(lambda: zone_2.status()["applied_index"] >= zone_1.status()["applied_index"])
        assert zone_1.status()["raft"]["voters"] == [1]
        await growing.change(lambda c: c.change_members(promote=("zone-2",)), {"zone-2": "voter"})
        assert zone_1.status()["raft"]["voters"] == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_zone_that_was_away_while_its_leader_joined_is_told_of_it_and_catches_up(tmp_path: Path) -> None:
    """Its own log knows no zone of that name, and the entry that names it comes from nobody else."""
    plan = Plan(tmp_path, zones=3, timing=Timing(reconnect_most_ms=100))
    async with trio.open_nursery() as nursery:
        growing = Growing(nursery, plan)
        await growing.found()
        await growing.stop("zone-3")
        new = await growing.start(joining(plan, 4), join=True)
        await growing.change(partial(_add, new), {"zone-4": "voter"})
        await members.at_leader(growing.any_address, lambda c: c.hand_over("zone-4"), 10)
        await growing.start(plan.zone(3))
        back = growing.zones["zone-3"]
        await until(lambda: back.status()["raft"]["voters"] == [1, 2, 3, 4])
        await until(lambda: back.status()["raft"]["leader"] == 4)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["nowhere", "host:port", ":7000", "host:70000"])
async def test_an_address_that_is_none_is_refused_before_anybody_could_dial_it(address: str) -> None:
    """In the log it would stand for every zone. Neither a change nor an introduction takes it."""
    office = Office(SimpleNamespace(belonging=SimpleNamespace(meet=len)))  # type: ignore[arg-type]  # it must not come to more than that
    with pytest.raises(InvalidMessage, match=r"add\[0\]\.address"):
        await office.change(ChangeMembers(1, (NewZone(4, "zone-4", address),)))
    with pytest.raises(InvalidMessage, match=r"zones\[1\]\.address"):
        office.meet(Meet(1, (ZoneAt(4, "zone-4", "h:1"), ZoneAt(5, "zone-5", address))))
    assert office.meet(Meet(1, (ZoneAt(4, "zone-4", "h:1"),))) == {"met": 1}


async def test_a_change_that_would_lose_the_quorum_is_refused_with_who_does_not_answer(tmp_path: Path) -> None:
    """From three to two while one of the two is down: nothing could be committed any more."""
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        growing = Growing(nursery, plan)
        await growing.found()
        await growing.stop("zone-3")
        lost = growing.zones["zone-1"]
        await until(lambda: lost.status()["raft"]["leader"] in (1, 2))
        with pytest.raises(NotPermitted, match=r"too few of the voters answer now: of the voters 2, 3 these .* 3"):
            await members.at_leader(lost.address, lambda c: c.change_members(remove=("zone-1",)), 10)
        nursery.cancel_scope.cancel()


async def test_the_zone_that_was_removed_says_so_and_its_number_and_name_are_never_given_again(tmp_path: Path) -> None:
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        growing = Growing(nursery, plan)
        await growing.found()
        await growing.change(lambda c: c.change_members(remove=("zone-1",)), {"zone-1": "retired"})
        gone = growing.zones.pop("zone-1")
        await until(lambda: bool(gone.status()["removed"]))
        with pytest.raises(replica.NotAvailable, match="removed from the cluster"):
            await gone.submit(replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.1", "to nobody"))
        for again in (NewZone(1, "zone-x", "127.0.0.1:1"), NewZone(9, "zone-1", "127.0.0.1:1")):
            with pytest.raises(NotPermitted, match="never given again"):
                await members.at_leader(growing.any_address, partial(_add, again), 10)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("voters", "retired", "out"),
    [({1, 2, 3}, False, True), ({2, 3}, True, True), ({2, 3}, False, False)],
    ids=["away when it was removed", "never told that its removal is committed", "not added yet"],
)
def test_a_zone_that_nobody_will_have_is_out_unless_it_only_waits_to_be_added(
    tmp_path: Path, voters: set[int], retired: bool, out: bool
) -> None:
    """Its leader went with it: the entry that removes it is the last of its log, and nobody is there to commit it."""
    refused = SimpleNamespace(refusals=dict.fromkeys(("zone-2", "zone-3"), NOT_A_MEMBER))
    log = SimpleNamespace(membership=Membership(frozenset(voters)))
    zone = Belonging(Plan(tmp_path).zone(1), 1, log, refused, lambda: 1, lambda: None, None)  # type: ignore[arg-type]
    zone.directory = Directory((Listed(1, "zone-1", "h:1", retired=retired),))
    zone._linked = {2, 3}
    assert zone.is_out(NOBODY) is out
    assert not zone.is_out(2)
    del refused.refusals["zone-3"]  # one of two is no majority
    assert not zone.is_out(NOBODY)


async def test_a_zone_that_joins_does_not_list_itself_and_one_that_founds_does(tmp_path: Path) -> None:
    """Else it could lead a cluster of its own making."""
    plan = Plan(tmp_path, zones=3)
    with pytest.raises(ConfigError, match="joining zone lists those already there"):
        async with replica.open_zone(plan.zone(1), join=True):
            pass
    with pytest.raises(ConfigError, match="is not"):
        async with replica.open_zone(joining(plan, 4), found=True):
            pass


async def test_a_zone_that_joins_waits_and_leads_nothing_until_it_is_added(tmp_path: Path) -> None:
    plan = Plan(tmp_path, zones=1)
    async with replica.open_zone(joining(plan, 2), join=True) as zone:
        with trio.move_on_after(1):
            await until(lambda: zone.status()["raft"]["role"] != "follower")
        assert zone.status()["raft"]["role"] == "follower"
        assert zone.status()["raft"]["term"] == 0


async def test_a_site_that_restarts_remembers_the_zones_that_came_after_its_configuration(tmp_path: Path) -> None:
    """All zones of its configuration are gone for good when it comes back."""
    plan = Plan(tmp_path, zones=1, timing=Timing(reconnect_most_ms=100))
    async with trio.open_nursery() as nursery:
        growing = Growing(nursery, plan)
        site = await growing.found()
        new = await growing.start(joining(plan, 2), join=True)
        await growing.change(
            lambda c: c.change_members(add=(new,), remove=("zone-1",)), {"zone-1": "retired", "zone-2": "voter"}
        )
        await until(lambda: site.status()["zone"] == "zone-2")
        await growing.nodes.stop(SAMU)
        await growing.stop("zone-1")
        back = await growing.nodes.start(replica.open_site(plan.site()))
        await until(lambda: back.status()["zone"] == "zone-2")
        nursery.cancel_scope.cancel()


async def test_a_site_has_no_say_in_who_votes(tmp_path: Path) -> None:
    async with replica.open_site(Plan(tmp_path).site()) as site, open_client(site.address) as client:
        with pytest.raises(NotPermitted, match="ask a zone"):
            await client.members()


# ---- the directory


def test_the_directory_says_the_same_after_a_round_trip() -> None:
    directory = Directory.of([ZonePeer(2, "b", "h:2", 5), ZonePeer(1, "a", "h:1")]).without("b")
    assert Directory.decode(directory.encode()) == directory
    assert [zone.number for zone in directory.zones] == [1, 2]
    assert directory.priorities() == ((1, 0),)


@pytest.mark.parametrize(
    ("new", "words"),
    [(Listed(1, "c", "h:3"), "number 1"), (Listed(3, "a", "h:3"), "name a"), (Listed(128, "c", "h:3"), "1 to 127")],
)
def test_what_was_ever_used_or_is_no_number_is_refused_in_words(new: Listed, words: str) -> None:
    with pytest.raises(NotPermitted, match=words):
        Directory.of([ZonePeer(1, "a", "h:1")]).with_zone(new)


@pytest.mark.parametrize("text", ["4", "4:zone-d", "x:zone-d@h:1", "4:zone-d@h", "4:zone-d@h:1/x", ":@:"])
def test_a_new_zone_that_is_not_written_right_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="NUMBER:NAME@HOST:PORT"):
        members.new_zone(text)


def test_a_new_zone_is_read() -> None:
    assert members.new_zone("4:zone-d@h:1/7") == NewZone(4, "zone-d", "h:1", 7)


# ---- digests


def test_a_digest_is_compared_where_it_is_remembered_and_nowhere_else() -> None:
    digests = Digests(10, "aa")
    digests.note(11, "bb")
    assert [digests.same(index, "bb") for index in (9, 10, 11, 12)] == [None, False, True, None]
    digests.note(20, "cc")
    assert [digests.same(index, "cc") for index in (11, 20)] == [None, True]
