"""A zone whose store is damaged is rebuilt from the others by itself (D5), where they can spare it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from replica.admin.serve import damage_in
from replica.demo.caller import open_callers
from replica.demo.clash import note, priority_report
from replica.demo.ledger import Ledger
from replica.demo.looking import until_equal
from replica.demo.processes import ProcessFailed
from replica.demo.supervisor import LOG_FILE, Plan, SitePlan, open_cluster
from replica.errors import StorageFailed, StoreDamaged

SITE = "fr.health.samu440"
CASE = "fr.health.samu440.damaged"


def flip_the_vote(folder: Path) -> None:
    """One bit of every copy of the record of term and vote."""
    data = folder / "log" / "data.mdb"
    image, key = bytearray(data.read_bytes()), b"@hard state"
    place = image.find(key)
    assert place >= 0, "no record of term and vote"
    while place >= 0:
        image[place + len(key) + 6] ^= 1
        place = image.find(key, place + 1)
    data.write_bytes(image)


@pytest.mark.processes
async def test_a_damaged_zone_is_set_aside_and_rebuilt_while_the_others_lead(tmp_path: Path) -> None:
    """One flipped bit of its vote: the store lies aside, the zone comes back empty and ends with the others' digest."""
    plan = Plan(tmp_path, 3, (SitePlan(SITE),), site_lines=False)
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        nodes = {node.name: node.address for node in cluster.nodes.values()}
        async with open_callers(nodes, Ledger()) as callers:
            site = callers[SITE]
            await site.message(priority_report(CASE, "P1", "A case"), "k", "case", sender=SITE)
            await cluster.stop("zone-3")
            flip_the_vote(tmp_path / "zone-3")
            write = note(CASE, SITE, "written meanwhile")
            assert write.note is not None
            await site.command(write.note, "n", "note", text=write.text)
            await cluster.start("zone-3")
            with trio.fail_after(30):
                await until_equal(callers.values(), 30)
    assert (tmp_path / "zone-3" / "damaged-1" / "log").is_dir()
    log = (tmp_path / "zone-3" / LOG_FILE).read_text(encoding="utf-8")
    assert [word in log for word in ("store-damaged", "store-set-aside", "readmitted")] == [True, True, True]


@pytest.mark.processes
async def test_a_damaged_zone_is_kept_as_it_is_where_nobody_leads(tmp_path: Path) -> None:
    """Its store may be the best there is: it ends, says so, and nothing was moved."""
    plan = Plan(tmp_path, 3, (SitePlan(SITE),), site_lines=False)
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        for name in plan.zone_names:
            await cluster.stop(name)
        flip_the_vote(tmp_path / "zone-3")
        with pytest.raises(ProcessFailed):
            await cluster.start("zone-3")
    assert (tmp_path / "zone-3" / "log").is_dir()
    assert not (tmp_path / "zone-3" / "damaged-1").exists()
    assert "store-kept" in (tmp_path / "zone-3" / LOG_FILE).read_text(encoding="utf-8")


def test_a_node_that_ended_of_more_than_damage_is_not_taken_for_damaged() -> None:
    """A failed sync beside it is the disk's own word: that store is not set aside."""
    damage = StoreDamaged("entry 5", "its checksum does not match")
    assert damage_in(BaseExceptionGroup("", [damage])) is damage
    assert damage_in(BaseExceptionGroup("", [damage, StorageFailed("fsync")])) is None
    assert damage_in(StorageFailed("fsync")) is None
