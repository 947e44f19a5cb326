"""The quorum is gone for good: a cluster is founded anew out of one store, and what was lost stays out."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import replica
from replica.admin import founding
from replica.admin.founding import JUMP, found_anew
from replica.config import ZoneConfig
from replica.errors import StoreError
from replica.storage import LogReset
from replica.wire.handshake import cluster_name, generation_within
from tests.runtime.nodes import CASE, CASE_ID, Nodes, Plan, until, until_mode

pytestmark = pytest.mark.processes


async def lost_but_one(plan: Plan, nodes: Nodes) -> tuple[replica.Site, int]:
    """Three zones and a site have worked; then all zones stop. The site, and how far it is."""
    for number in (1, 2, 3):
        await nodes.start(replica.open_zone(plan.zone(number), found=True))
    site = await nodes.start(replica.open_site(plan.site()))
    await until_mode(site, "connected")
    receipt = (await site.submit_message(CASE, budget_ms=5000))[-1]
    assert isinstance(receipt, replica.Agreed)
    for name in ("zone-2", "zone-3", "zone-1"):
        await nodes.stop(name)
    return site, receipt.index


async def test_the_site_goes_on_with_the_new_cluster_and_a_lost_zone_that_comes_back_is_refused(tmp_path: Path) -> None:
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        site, index = await lost_but_one(plan, nodes)
        kept = await site.submit(replica.ChangePriority(CASE_ID, "P0"))
        assert isinstance(kept, replica.Journalled)
        done = found_anew(plan.zone(1), "an operator", 1_700_000_000_000)
        assert (done.generation, done.zone, done.by) == (2, "zone-1", "an operator")
        zone = await nodes.start(replica.open_zone(plan.zone(1)))
        await until_mode(site, "connected")
        assert (await site.verdict(kept.operation))[1].kind is replica.VerdictKind.APPLIED
        assert zone.read_case(CASE_ID).value is not None
        assert site.status()["applied_index"] > index + JUMP
        assert zone.status()["raft"]["voters"] == [1]
        back = await nodes.start(replica.open_zone(plan.zone(2)))
        await until(lambda: bool(back.status()["refused_by"].get("zone-1")))
        assert "'test' there, 'test@2' here" in back.status()["refused_by"]["zone-1"]
        assert zone.status()["raft"]["voters"] == [1]
        nursery.cancel_scope.cancel()


async def test_done_again_after_a_crash_in_the_middle_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is new, the log is not yet."""
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        site, _ = await lost_but_one(plan, nodes)

        def crash(*arguments: object) -> LogReset:
            raise KeyboardInterrupt

        with monkeypatch.context() as broken:
            broken.setattr(founding, "LogReset", crash)
            with pytest.raises(KeyboardInterrupt):
                found_anew(plan.zone(1), "an operator", 1)
        assert found_anew(plan.zone(1), "an operator", 2).generation == 2
        zone = await nodes.start(replica.open_zone(plan.zone(1)))
        await until_mode(site, "connected")
        assert zone.read_case(CASE_ID).value is not None
        nursery.cancel_scope.cancel()


async def test_it_can_be_done_twice_and_each_time_is_another_generation(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    async with replica.open_zone(plan.zone(1), found=True) as zone:
        await until(lambda: zone.status()["raft"]["role"] == "leader")
    assert [found_anew(plan.zone(1), "x", at).generation for at in (1, 2)] == [2, 3]


async def test_another_cluster_s_store_a_store_in_use_and_none_are_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    plan = Plan(tmp_path)
    with pytest.raises(StoreError):
        found_anew(plan.zone(1), "x", 1)
    async with replica.open_zone(plan.zone(1), found=True):
        with pytest.raises(StoreError):
            found_anew(plan.zone(1), "x", 1)
    other: ZoneConfig = plan.zone(1, cluster="other")
    with pytest.raises(StoreError, match="not to zone-1 of other"):
        found_anew(other, "x", 1)


@pytest.mark.parametrize(
    ("mine", "theirs", "goes"),
    [
        ("a", "a", True),
        ("a", "a@2", True),
        ("a@2", "a@10", True),
        ("a@2", "a", False),
        ("a@3", "a@2", False),
        ("a", "b@2", False),
    ],
)
def test_a_site_goes_with_a_later_generation_of_its_own_cluster_only(mine: str, theirs: str, goes: bool) -> None:
    assert generation_within(mine, theirs) is goes


def test_the_first_generation_is_the_name_itself() -> None:
    assert [cluster_name("a", generation) for generation in (1, 2)] == ["a", "a@2"]
