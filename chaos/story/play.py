"""One story from the evening to the audit: the cluster stands, the story is told, all heals, the stores are read."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from chaos.live.run import folder_for
from chaos.story.expecting import Expectations
from chaos.story.night import Night
from chaos.story.reading import audited
from chaos.story.result import StoryResult, Told, judged
from chaos.story.shipped import AHEAD
from chaos.story.words import LYON, NANTES
from replica.cases.levels import FIRST_LEVEL
from replica.config import Limits, Timing
from replica.demo.caller import open_callers
from replica.demo.ledger import Ledger
from replica.demo.play import until_connected
from replica.demo.supervisor import LIMITS, TIMING, Cluster, Plan, SitePlan, open_cluster
from replica.errors import ReplicaError

CONNECT_SECONDS: Final = 20.0
MOST_SECONDS: Final = 120.0
"""A story that takes longer hangs, and that is a failure to be reported, not to be waited for."""
WRONG_CLOCKS: Final = (sys.executable, "-m", "chaos.story.shipped")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a story needs to stand. `ahead_ms`: site → how far its wall clock is ahead; `level`: the cluster's feature
    level, to which it is raised before the story begins."""

    sites: tuple[str, ...] = (NANTES, LYON)
    zone_lines: bool = False
    timing: Timing = TIMING
    limits: Limits = LIMITS
    ahead_ms: Mapping[str, int] = field(default_factory=dict)
    level: int = FIRST_LEVEL


@dataclass(frozen=True, slots=True)
class Story:
    """A story, by name. What it is about says the first paragraph of its docstring."""

    name: str
    tells: Callable[[Night], Awaitable[None]]
    setting: Setting = Setting()

    @property
    def sentence(self) -> str:
        paragraph = (self.tells.__doc__ or "").strip().partition("\n\n")[0]
        return " ".join(paragraph.split())


async def told(story: Story, data: Path | None, tell: Callable[[str], None]) -> StoryResult:
    """Tell one story. Whatever goes wrong ends in a result that is not ok and says why; nothing is raised for it.

    `data`: where the nodes' folders stay; None for a temporary place.
    """
    ledger, expect, troubles = Ledger(), Expectations(), list[str]()
    nights: list[Night] = []
    began = trio.current_time()
    with folder_for(data) as folder:
        plan = planned(story.setting, folder)
        try:
            with trio.fail_after(MOST_SECONDS):
                async with open_cluster(plan) as cluster:
                    await _night(story, cluster, ledger, expect, tell, nights)
        except* Exception as group:
            troubles += _texts(group)
        night = nights[0] if nights else None
        if night is None:
            found = audited(plan, ledger, {}, {}, {})
        else:
            found = audited(plan, ledger, night.decided, night.set_aside, night.clones)
    return judged(
        Told(
            name=story.name,
            sentence=story.sentence,
            operations=len(ledger.operations()),
            agreed=ledger.count("agreed"),
            journalled=ledger.count("journalled"),
            seconds=trio.current_time() - began,
            expectations=expect.all,
            showed={} if night is None else night.showed,
            troubles=troubles,
        ),
        found,
    )


def planned(setting: Setting, folder: Path) -> Plan:
    """The cluster a story needs: three zones, and its sites."""
    sites = tuple(SitePlan(name) for name in setting.sites)
    plan = Plan(folder, 3, sites, zone_lines=setting.zone_lines, timing=setting.timing, limits=setting.limits)
    return replace(plan, program=WRONG_CLOCKS) if setting.ahead_ms else plan


async def _night(
    story: Story,
    cluster: Cluster,
    ledger: Ledger,
    expect: Expectations,
    tell: Callable[[str], None],
    nights: list[Night],
) -> None:
    for name, ahead_ms in story.setting.ahead_ms.items():
        cluster.nodes[name].child.environment[AHEAD] = str(ahead_ms)
    await cluster.start_all()
    nodes = {node.name: node.address for node in cluster.nodes.values()}
    async with open_callers(nodes, ledger) as callers, trio.open_nursery() as nursery:
        night = Night(cluster, callers, ledger, expect, tell, nursery)
        nights.append(night)
        await until_connected(callers, cluster, CONNECT_SECONDS)
        await night.raise_level(story.setting.level)
        await story.tells(night)
        await night.settle()
        night.say("every line is whole, every operation has its verdict, all nodes show the same state")
        nursery.cancel_scope.cancel()
    codes = await night.stop()
    wrong = {name: code for name, code in codes.items() if code != 0}
    if wrong:
        raise ReplicaError(f"stopped with an exit code other than 0: {wrong}")


def _texts(group: BaseExceptionGroup[BaseException]) -> Iterator[str]:
    """What went wrong, in words, with the line of the story where it did."""
    for problem in group.exceptions:
        if isinstance(problem, BaseExceptionGroup):
            yield from _texts(problem)
        else:
            frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if "story" in frame.filename]
            where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
            yield f"{type(problem).__name__}: {problem}{where}"
