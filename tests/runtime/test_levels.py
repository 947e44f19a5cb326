"""The feature level at running nodes: raised by a word, once every zone is there to say that it speaks it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import replica
from replica.cases.commands import RaiseLevel
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL
from replica.cases.verdicts import VerdictKind
from replica.errors import NotPermitted
from tests.runtime.nodes import Nodes, Plan, until

pytestmark = pytest.mark.processes


def level_of(zone: replica.Zone) -> int:
    return int(zone.status()["feature_level"])


async def test_a_level_is_raised_when_all_zones_speak_it_and_not_before(tmp_path: Path) -> None:
    """With one of three zones never met nobody can know; with all of them met the next entry rises."""
    plan = Plan(tmp_path, zones=3)
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zones = [await nodes.start(replica.open_zone(plan.zone(number), found=True)) for number in (1, 2)]
        await until(lambda: all(zone.status()["raft"]["leader"] for zone in zones))
        leader = next(zone for zone in zones if zone.status()["raft"]["role"] == "leader")
        with pytest.raises(NotPermitted, match="zone-3"):
            await leader.submit(RaiseLevel(HIGHEST_LEVEL), budget_ms=5000)
        zones.append(await nodes.start(replica.open_zone(plan.zone(3), found=True)))
        with trio.fail_after(20):
            while True:
                try:
                    receipt = await leader.submit(RaiseLevel(HIGHEST_LEVEL), budget_ms=5000)
                    break
                except NotPermitted:
                    await trio.sleep(0.05)
            assert isinstance(receipt, replica.Agreed)
            assert receipt.verdict.kind is VerdictKind.APPLIED
            await until(lambda: all(level_of(zone) == HIGHEST_LEVEL for zone in zones))
        assert FIRST_LEVEL < HIGHEST_LEVEL
        nursery.cancel_scope.cancel()
