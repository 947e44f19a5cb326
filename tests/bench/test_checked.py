"""The bench is checked itself: a build that was made slower on purpose shows slower, by as much."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.callers import Window, drive, word_of
from bench.inside import leading_inside, quiet
from bench.throughput import SAMU_OF_ZONE, open_cases
from bench.work import case_id, command
from replica.cases.commands import RegisterOrganisation
from replica.cases.machine import apply
from replica.cases.verdicts import Effects
from replica.demo.supervisor import Plan, open_cluster
from replica.runtime import zone as zone_module

SLOWER_S = 0.02


@pytest.mark.processes
async def test_a_build_with_slower_rules_shows_as_much_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To apply an entry takes the leader 20 ms more: so does one caller's wait, in the same run on the same machine. (A
    slower disk of the leader's would not do: the quorum is then the two others.)"""
    quiet()
    async with (
        open_cluster(Plan(tmp_path, 3, (), site_lines=False, cluster="bench")) as cluster,
        leading_inside(cluster) as zone,
    ):
        await zone.submit(RegisterOrganisation(SAMU_OF_ZONE, SAMU_OF_ZONE, "zone-1"), budget_ms=5000)
        await open_cases(zone, SAMU_OF_ZONE, 20)

        async def act(number: int) -> str:
            decided = command(case_id(SAMU_OF_ZONE, number // 2 % 20), number, 100)
            return word_of(await zone.submit(decided, budget_ms=5000))

        sound = await drive(1, act, 0.7, {}, warm_up_s=0.3)
        monkeypatch.setattr(zone_module, "apply", _slowly(apply))
        slowed = await drive(1, act, 0.7, {}, first=1_000_000, warm_up_s=0.3)
    assert not sound.failed
    assert not slowed.failed
    assert slowed.p50 >= sound.p50 + SLOWER_S * 1000 * 0.9, (sound.p50, slowed.p50)
    assert slowed.per_s < sound.per_s


def _slowly(done: Callable[..., Effects]) -> Callable[..., Effects]:
    def slow(*args: Any) -> Effects:
        time.sleep(SLOWER_S)
        return done(*args)

    return slow


@pytest.mark.parametrize("word", ["journalled", "refused", "OutcomeUnknown"])
async def test_what_is_not_agreed_is_counted_and_in_no_figure(word: str) -> None:
    """An operation that failed is no fast one."""
    failing: Window = await drive(2, _always(word), 0.05, {}, warm_up_s=0.0)
    assert failing.operations == 0
    assert failing.failed[word] >= 2
    assert set(failing.failed) == {word}


def _always(word: str) -> Callable[[int], Any]:
    async def act(_: int) -> str:
        return word

    return act
