"""The feature level at running nodes: raised by a word, once every zone is there to say that it speaks it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from rich.console import Console, RenderableType

import replica
from replica.admin import members
from replica.cases.commands import RaiseLevel
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL
from replica.cases.verdicts import VerdictKind
from replica.config import Timing
from replica.errors import NotPermitted
from replica.runtime.client import open_client
from replica.wire.client import NewZone
from tests.runtime.nodes import Nodes, Plan, raised, until
from tests.runtime.test_membership import joining

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
            await leader.submit(RaiseLevel(FIRST_LEVEL + 1), budget_ms=5000)
        zones.append(await nodes.start(replica.open_zone(plan.zone(3), found=True)))
        with trio.fail_after(20):
            while True:
                try:
                    receipt = await leader.submit(RaiseLevel(FIRST_LEVEL + 1), budget_ms=5000)
                    break
                except NotPermitted:
                    await trio.sleep(0.05)
            assert isinstance(receipt, replica.Agreed)
            assert receipt.verdict.kind is VerdictKind.APPLIED
            await until(lambda: all(level_of(zone) == FIRST_LEVEL + 1 for zone in zones))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("learner", [False, True])
async def test_a_new_zone_of_an_older_release_waits_to_be_upgraded_and_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: bool
) -> None:
    """It is sent nothing that would stop it, it gets no vote, and who asks is told why; upgraded, it gets both."""
    plan = Plan(tmp_path, timing=Timing(reconnect_most_ms=100))
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zone = await nodes.start(replica.open_zone(plan.zone(), found=True))
        await until(lambda: zone.status()["raft"]["role"] == "leader")
        await raised(zone)
        config = joining(plan, 2)
        with monkeypatch.context() as older:
            older.setattr("replica.runtime.node.LEVELS", (FIRST_LEVEL, HIGHEST_LEVEL - 1))
            new = await nodes.start(replica.open_zone(config, join=True))
        listed = NewZone(2, "zone-2", new.address)
        words = f"feature level {HIGHEST_LEVEL}: zone-2 speaks up to level {HIGHEST_LEVEL - 1}"
        async with open_client(zone.address) as client:
            await client.change_members(add=(listed,), learners=learner)
            await until(lambda: zone.status()["linked_zones"] == [2] and new.status()["linked_zones"] == [1])
            seen: dict[str, Any] = {}
            with trio.fail_after(20):
                while not seen.get("settled", not learner):
                    seen = await client.members()
                seen = await client.members()
            assert seen["zones"][1]["role"] == ("learner" if learner else "joining")
            assert seen["zones"][1]["waits"] == words
            assert words in shown(members.table(seen))
            if learner:
                with pytest.raises(NotPermitted, match=words):
                    await client.change_members(promote=("zone-2",))
            assert (new.status()["applied_index"], new.status()["raft"]["last_index"]) == (0, 0)
            await nodes.stop("zone-2")
            again = msgspec.structs.replace(config, zone=msgspec.structs.replace(config.zone, listen=new.address))
            new = await nodes.start(replica.open_zone(again))
            if learner:
                await until(lambda: new.status()["applied_index"] > 0)
                await client.change_members(promote=("zone-2",))
            await until(lambda: zone.status()["raft"]["voters"] == [1, 2])
            assert "waits" not in (await client.members())["zones"][1]
        nursery.cancel_scope.cancel()


def shown(table: RenderableType) -> str:
    """As it is printed."""
    console = Console(width=200, file=StringIO())
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()
