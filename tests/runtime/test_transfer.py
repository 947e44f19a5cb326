"""Leadership is handed over: by hand, at a graceful stop, and when the leader's own disk fails it. No write fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

import replica
from replica.api import Zone
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.config import Timing, ZoneConfig
from replica.errors import NotPermitted
from replica.runtime.client import open_client
from replica.runtime.ingress import Ingress, Waiting
from replica.runtime.node import run_zone
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Nodes, Plan, cluster, until, until_mode
from tests.runtime.sick import SickWorld

pytestmark = pytest.mark.processes


def leading(zones: Sequence[Zone]) -> Zone | None:
    """The zone that leads, as it says itself."""
    return next((zone for zone in zones if zone.status()["raft"]["role"] == "leader"), None)


async def until_leading(zones: Sequence[Zone]) -> Zone:
    await until(lambda: leading(zones) is not None)
    found = leading(zones)
    assert found is not None
    return found


class Writing:
    """Notes written one after the other for as long as it is told to, and what became of each."""

    def __init__(self, node: replica.Node, name: str) -> None:
        self.receipts: list[replica.Receipt] = []
        self.stop = False
        self._node = node
        self._name = name

    def has_gone_on(self) -> Callable[[], bool]:
        """Whether more was written than now."""
        count = len(self.receipts)
        return lambda: len(self.receipts) > count

    async def run(self) -> None:
        # A command needs a case its own node has heard of, and that one may be an entry behind the site's.
        await until(lambda: self._node.read_case(CASE_ID).value is not None)
        while not self.stop:
            note = replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.{self._name}-{len(self.receipts)}", "note")
            self.receipts.append(await self._node.submit(note, budget_ms=5000))


async def test_while_leadership_moves_by_hand_every_write_is_agreed(tmp_path: Path) -> None:
    """Three hand-overs in a row, to a zone named and to whichever is best, under writes from a site and a zone."""
    async with cluster(Plan(tmp_path, zones=3)) as (zones, site):
        await site.submit_message(CASE, budget_ms=5000)
        writing = [Writing(site, "site"), *(Writing(zone, str(at)) for at, zone in enumerate(zones))]
        async with trio.open_nursery() as nursery:
            for one in writing:
                nursery.start_soon(one.run)
            for wanted in ("other", "best", "best"):
                leader = await until_leading(zones)
                name = leader.status()["node"]
                others = [zone.status()["node"] for zone in zones if zone is not leader]
                to = others[0] if wanted == "other" else "best"
                async with open_client(leader.address) as client:
                    answer = await client.hand_over(to, 5000)
                assert answer["leader"] not in ("", name)
                assert to in ("best", answer["leader"])
                for one in writing:
                    await until(one.has_gone_on())
            for one in writing:
                one.stop = True
        assert {type(receipt) for one in writing for receipt in one.receipts} == {replica.Agreed}


async def test_who_does_not_lead_says_who_does_and_a_stranger_is_refused_in_words(tmp_path: Path) -> None:
    async with cluster(Plan(tmp_path, zones=3)) as (zones, _):
        leader = await until_leading(zones)
        name = leader.status()["node"]
        other = next(zone for zone in zones if zone is not leader)
        await until(lambda: other.status()["raft"]["leader_name"] == name)
        async with open_client(other.address) as client:
            assert (await client.hand_over())["redirect"] == {"name": name, "address": leader.address}
        async with open_client(leader.address) as client:
            assert await client.hand_over(name) == {"leader": name}
            with pytest.raises(NotPermitted, match="zone-9 is no zone of this cluster"):
                await client.hand_over("zone-9")


async def test_a_leader_that_is_stopped_hands_over_first_and_nobody_waits_for_an_election(tmp_path: Path) -> None:
    """The others never start an election of their own: they are asked to lead."""
    plan = Plan(tmp_path, zones=3, timing=Timing(election_timeout_ms=3000, cut_off_after_ms=10_000))
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zones = [await nodes.start(replica.open_zone(plan.zone(number), found=True)) for number in (1, 2, 3)]
        site = await nodes.start(replica.open_site(plan.site()))
        await until_mode(site, "connected")
        await site.submit_message(CASE, budget_ms=20_000)
        leader = await until_leading(zones)
        others = [zone for zone in zones if zone is not leader]
        writing = Writing(others[0], "other")
        nursery.start_soon(writing.run)
        await until(lambda: len(writing.receipts) > 5)
        begun = trio.current_time()
        await nodes.stop(leader.status()["node"])
        await until_leading(others)
        assert trio.current_time() - begun < 3, "an election timeout: they had to find out by silence"
        count = len(writing.receipts)
        await until(lambda: len(writing.receipts) > count + 5)
        writing.stop = True
        assert {type(receipt) for receipt in writing.receipts} == {replica.Agreed}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("illness", ["stalled", "full"])
async def test_a_leader_whose_disk_fails_it_hands_over_and_writes_are_agreed_without_it(
    tmp_path: Path, illness: str
) -> None:
    """D4 and D7: a save in flight for an election timeout, or a full store."""
    plan = Plan(tmp_path, zones=3)
    worlds = {number: SickWorld() for number in (1, 2, 3)}
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zones = {}
        for number, world in worlds.items():
            zones[number] = await nodes.start(opened(plan, number, world))
        await until_leading(list(zones.values()))
        await zones[1].submit_message(CASE, budget_ms=20_000)
        await until(lambda: all(zone.read_case(CASE_ID).value is not None for zone in zones.values()))
        sick = next(number for number, zone in zones.items() if zone.status()["raft"]["role"] == "leader")
        other = zones[sick % 3 + 1]
        writer = worlds[sick].log
        setattr(writer, illness, True)
        command = replica.ChangePriority(CASE_ID, "P1")
        receipts = [await other.submit(command, budget_ms=20_000, key=str(at)) for at in range(3)]
        await until(lambda: leading([zone for number, zone in zones.items() if number != sick]) is not None)
        receipts += [await other.submit(command, budget_ms=20_000, key=f"after-{at}") for at in range(3)]
        assert {type(receipt) for receipt in receipts} == {replica.Agreed}
        writer.recover()
        await until(lambda: zones[sick].status()["applied_index"] >= other.status()["applied_index"])
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(plan: Plan, number: int, world: SickWorld) -> AsyncIterator[Zone]:
    async with run_zone(plan.zone(number), found=True, outside=world) as running:
        yield Zone(running)


async def test_the_preferred_zone_leads_again_once_it_has_kept_up(tmp_path: Path) -> None:
    """Zone 3 is preferred: it is stopped, another leads; it comes back, and is handed leadership."""
    plan = Plan(tmp_path, zones=3, timing=Timing(priority_patience_ms=300))
    preferred = {number: preferring(plan, number, 3) for number in (1, 2, 3)}
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zones = [await nodes.start(replica.open_zone(preferred[number], found=True)) for number in (1, 2, 3)]
        await until(lambda: zones[2].status()["raft"]["role"] == "leader")
        await nodes.stop("zone-3")
        await until_leading(zones[:2])
        back = await nodes.start(replica.open_zone(preferred[3]))
        await until(lambda: back.status()["raft"]["role"] == "leader")
        nursery.cancel_scope.cancel()


def preferring(plan: Plan, number: int, preferred: int) -> ZoneConfig:
    config = plan.zone(number)
    peers = tuple(msgspec.structs.replace(peer, priority=int(peer.number == preferred)) for peer in config.zones)
    return msgspec.structs.replace(config, zones=peers)


# ---- what waits while nobody leads


def waiting(seq: int) -> Waiting:
    operation = Operation(OperationId("s", bytes(16), seq), 0, 0, HybridTime(1), 0, "", replica.CloseCase("c"))
    return Waiting(operation, bytes([seq]))


class NoRecords:
    def get(self, key: bytes) -> None:
        return None

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return []


def test_what_waits_when_leadership_ends_is_held_for_the_next_leader_in_order_and_once() -> None:
    ingress = Ingress(NoRecords(), 10)  # type: ignore[arg-type]  # nothing is judged here
    ingress.put_back([waiting(1), waiting(2)])
    ingress.hold(waiting(3))
    ingress.hold(waiting(3))
    ingress.new_term()
    assert [one.encoded for one in ingress.release()] == [b"\x01", b"\x02", b"\x03"]
    assert len(ingress) == 0


def test_no_more_is_held_than_may_wait() -> None:
    ingress = Ingress(NoRecords(), 2)  # type: ignore[arg-type]  # nothing is judged here
    assert [ingress.hold(waiting(seq)) for seq in (1, 2, 3, 2)] == [None, None, "overloaded", None]
