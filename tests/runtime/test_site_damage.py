"""One bit of a site's copy flips (D5): it says so, goes on with all else, and has its state rebuilt by a zone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

import replica
from replica.cases import keys, queries
from replica.config import Limits
from replica.errors import NotAvailable, StoreDamaged
from replica.offline.events import Mode
from replica.runtime.site import SiteNode
from replica.runtime.status import site_status
from replica.storage.records import Kind, seal
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Plan, until
from tests.runtime.shipped import QUICK, Chunks, World

pytestmark = pytest.mark.processes
HEAD = keys.head("case", CASE_ID)
OTHER = CASE.replace(b".T1", b".T2")
OTHER_ID = "fr.health.samu440.T2"


class Overheard(Chunks):
    """What the node writes into its log is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, dict[str, Any]]] = []

    def logger(self, node: str) -> Any:
        return self

    def info(self, event: str, **facts: Any) -> None:
        self.said.append((event, facts))

    debug = warning = error = info

    def heard(self, event: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.said if name == event]


def world_of(nursery: trio.Nursery, folder: Path) -> tuple[World, Overheard]:
    overheard = Overheard()
    world = World(nursery, Plan(folder, 1, QUICK), Limits(map_size_gib=1))
    world.outsides[SAMU] = overheard
    return world, overheard


async def begun(world: World) -> None:
    """A zone and a site that has two cases, all of it agreed and written back."""
    await world.start("zone-1")
    await world.start(SAMU)
    for case in (CASE, OTHER):
        (handed,) = await world.site().service.submit_message(case, budget_ms=10_000)
        assert handed.state == "agreed"
    await until(lambda: world.site().state.flushed_index == world.zone("zone-1").state.index and is_even(world))


def is_even(world: World) -> bool:
    """Whether the site is connected and has all that the zone has, and the same."""
    site, zone = world.site(), world.zone("zone-1")
    even = site.desk.core.mode is Mode.CONNECTED and site.state.index == zone.state.index
    return even and queries.digest(site.state) == queries.digest(zone.state)


async def rebuilt(world: World, overheard: Overheard, times: int) -> None:
    """Wait until the site was sent so many states, and has what the zone has."""
    await until(lambda: len(overheard.heard("state-replaced")) == times and is_even(world))


def flip(site: SiteNode, key: bytes) -> None:
    """One bit of this record is wrong on the disk, in every copy that the file has (LMDB keeps old pages)."""
    folder = Path(site.config.site.data)
    record = site.store.state.get(key)
    assert record is not None
    sealed = seal(Kind.STATE, key, record)
    (data,) = folder.glob("state*/data.mdb")
    image = data.read_bytes()
    place = image.find(sealed)
    assert place >= 0, f"{key!r} is not in {data}"
    with data.open("r+b") as file:
        while place >= 0:
            file.seek(place + len(sealed) - 1)
            file.write(bytes([sealed[-1] ^ 4]))
            place = image.find(sealed, place + 1)
    site.state.let_go()  # what is kept in memory is right, and would hide the disk for a while


def note(case: str, name: str) -> replica.AddNote:
    return replica.AddNote(case, f"{SAMU}.medicalNote.{name}", name)


def notes(site: SiteNode, case: str) -> list[str]:
    view = site.service.case(case)
    assert view is not None
    return [json.loads(one.value.value)["freetext"] for one in view.elements]


@pytest.mark.parametrize(
    "key", [HEAD, keys.organisation(SAMU), keys.site(SAMU)], ids=["a case", "its organisation", "the site itself"]
)
async def test_nobody_is_refused_and_a_zone_rebuilds_the_state_by_itself(tmp_path: Path, key: bytes) -> None:
    """The site starts on a disk with one wrong bit, whichever record it is in, and an operator has nothing to do."""
    async with trio.open_nursery() as nursery:
        world, overheard = world_of(nursery, tmp_path)
        await begun(world)
        flip(world.site(), key)
        await world.stop(SAMU)
        await world.start(SAMU)
        site = world.site()
        handed = await site.service.submit(note(CASE_ID, "1"), author="Dr Martin", budget_ms=10_000)
        assert handed.state in ("agreed", "journalled")
        await rebuilt(world, overheard, 1)
        assert overheard.heard("state-damaged")[0]["record"] == f"state record {key!r}"
        assert overheard.heard("state-replaced")[0]["rebuilt"] == [f"state record {key!r}"]
        await site.service.verdict(handed.operation)
        assert (notes(site, CASE_ID), site_status(site)["damaged"]) == (["1"], [])
        nursery.cancel_scope.cancel()


async def test_cut_off_it_keeps_what_it_is_told_and_says_what_is_damaged(tmp_path: Path) -> None:
    """Reports and notes are journalled, what is not touched is read and written; a command whose authority nobody can
    tell is surely not done. Back, everything is decided, and shown once."""
    async with trio.open_nursery() as nursery:
        world, overheard = world_of(nursery, tmp_path)
        await begun(world)
        await world.stop("zone-1")
        flip(world.site(), HEAD)
        site = world.site()
        await until(lambda: site.desk.core.mode is Mode.CUT_OFF)
        handed = [
            await site.service.submit(note(CASE_ID, "1"), author="Dr Martin"),
            *await site.service.submit_message(CASE.replace(b"P2", b"P1")),
            await site.service.submit(note(OTHER_ID, "2"), author="Dr Martin"),
        ]
        assert [one.state for one in handed] == ["journalled"] * 3
        assert notes(site, OTHER_ID) == ["2"]
        with pytest.raises(StoreDamaged, match="checksum"):
            site.service.case(CASE_ID)
        with pytest.raises(NotAvailable, match="is damaged here and being rebuilt") as refused:
            await site.service.submit(replica.CloseCase(CASE_ID), author="Dr Martin")
        assert refused.value.definite
        await site.service.submit(replica.CloseCase(OTHER_ID), author="Dr Martin")
        assert site_status(site)["damaged"] == [f"state record {HEAD!r}"]
        assert len(overheard.heard("state-damaged")) == 1
        await world.start("zone-1")
        await until(lambda: not site.damaged and is_even(world))
        for one in handed:
            assert (await site.service.verdict(one.operation))[1].kind is not replica.VerdictKind.REFUSED
        assert (notes(site, CASE_ID), notes(site, OTHER_ID)) == (["1"], ["2"])
        assert site.desk.core.undecided == site.store.journal.length == 0
        nursery.cancel_scope.cancel()


async def test_a_read_that_meets_the_damage_is_enough_and_the_same_snapshot_serves_twice(tmp_path: Path) -> None:
    """Nothing was agreed since: the state that is sent is as of the very entry that is applied here. And once more, on
    the state that was made of that snapshot."""
    async with trio.open_nursery() as nursery:
        world, overheard = world_of(nursery, tmp_path)
        await begun(world)
        site, index = world.site(), world.site().state.index
        for times in (1, 2):
            flip(site, HEAD)
            with pytest.raises(StoreDamaged):
                site.service.case(CASE_ID)
            await rebuilt(world, overheard, times)
            assert site.service.case(CASE_ID) is not None
        assert {facts["index"] for facts in overheard.heard("state-replaced")} == {index}
        assert world.zone("zone-1").snapshots.shipper.sent_snapshots == 2
        assert len(world.zone("zone-1").snapshots.shipper.held) == 1
        nursery.cancel_scope.cancel()
