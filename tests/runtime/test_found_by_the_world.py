"""Defects that the simulated world of nodes has found, each in its shortest form."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

import replica
from replica.cases.commands import Opening
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Empty
from replica.config import Timing, ZonePeer
from replica.offline import events, lives
from replica.offline.core import SiteConfig, SiteCore
from replica.runtime.bell import now_ms
from replica.runtime.desk import Desk, ForgetfulJournal
from replica.runtime.ingress import Ingress, Waiting
from replica.runtime.line import Line, _Progress
from replica.runtime.zone import ZoneNode
from replica.wire import encode
from replica.wire.feed import FeedBeat
from tests.runtime.nodes import CASE, Plan, until, until_mode

SITE = "fr.health.samu440"


def opening(life: bytes, prev: bytes | None) -> Operation:
    return Operation(OperationId(SITE, life, 0), 0, 0, HybridTime(0), 0, SITE, Opening(prev, 0, prev))


def test_an_opening_that_was_overtaken_on_its_way_may_come_again() -> None:
    """It passed at the door and not when it was applied: it is not on its way any more."""
    ingress = Ingress(Empty(), 10)
    one = opening(b"1" * 16, None)
    assert ingress.offer(Waiting(one, b""), 0, 0) is None
    assert len(ingress.take(0)) == 1
    assert ingress.offer(Waiting(one, b""), 0, 0) is None
    assert ingress.take(0) == [], "it is on its way"
    ingress.applied([one], 0)
    assert ingress.offer(Waiting(one, b""), 0, 0) is None
    assert len(ingress.take(0)) == 1


def test_a_damaged_opening_is_not_made_again_behind_a_life_that_came_after_it() -> None:
    """Nothing else of it is left in the journal; that the later one names it as its past shows where it stood."""
    first, second, third = b"1" * 16, b"2" * 16, b"3" * 16
    found = [opening(first, None), opening(third, second)]
    (mended,) = lives.mend(Empty(), SITE, found, [(second, 0)])
    assert isinstance(mended.payload, Opening)
    assert mended.payload.prev == first


async def test_a_zone_at_which_nobody_writes_says_when_the_quorum_is_silent() -> None:
    """Its own desk carries nothing out, and its mode went on as it was until the next look, a minute later."""
    desk = Desk(
        SiteCore("zone", b"1" * 16, Empty(), (0, 0), (), None, SiteConfig(), now_ms(), lambda operation: None),
        ForgetfulJournal(),
        lambda operations: None,
        lambda decisions: None,
        SimpleNamespace(info=lambda *told, **more: None),
        10,
        dormant=True,
    )
    with trio.fail_after(1):
        await desk.bell.wait_until(now_ms())  # whatever rang while it was made
        desk.step(events.Heard(now_ms(), 1, 0, 1000))
        await desk.bell.wait()


@pytest.mark.parametrize(("term", "age_ms", "knows"), [(3, 0, True), (3, 450, True), (3, 501, False), (2, 0, False)])
async def test_what_a_leader_said_a_while_ago_or_before_is_no_news(term: int, age_ms: int, knows: bool) -> None:
    """A zone that is cut off itself went on telling the last word it had, and a site took it for the zones' time."""
    node = SimpleNamespace(
        links=SimpleNamespace(leader_told_ms=now_ms() - age_ms, leader_ms_term=term),
        standing=SimpleNamespace(term=3),
        config=SimpleNamespace(timing=Timing(feed_interval_ms=100)),
    )
    assert cast(Any, ZoneNode._knows_the_time).fget(node) is knows


@pytest.mark.processes
async def test_a_cut_flushes_at_once(tmp_path: Path) -> None:
    """What is kept on top of a case could not be shown after a restart without that case."""
    plan = Plan(tmp_path, timing=Timing(flush_interval_ms=3_600_000))
    async with replica.open_site(plan.site()) as site:
        async with replica.open_zone(plan.zone(), found=True):
            await until_mode(site, "connected")
            await site.submit_message(CASE, budget_ms=5000)
            assert site.status()["flushed_index"] == 0
        await until_mode(site, "cut-off")
        await until(lambda: site.status()["flushed_index"] == site.status()["applied_index"] > 0)


@pytest.mark.parametrize(("slept_s", "heard"), [(0.4, 1), (0.6, 0)])
async def test_what_waited_in_the_socket_of_a_process_that_stood_still_is_no_news(
    slept_s: float, heard: int, mock_clock: trio.testing.MockClock
) -> None:
    """Stopped for an hour and cut off meanwhile, a site took the heartbeats of that time for fresh ones (B3)."""
    events_heard, given_up = list[events.Event](), list[bool]()

    class Wire:
        received_bytes = 0

        async def receive(self) -> list[bytes]:
            await trio.lowlevel.checkpoint()
            mock_clock.jump(slept_s)
            return [] if events_heard else [encode(FeedBeat(1, 2, 3, 1))]

        def give_up(self) -> None:
            given_up.append(True)

        def post(self, message: bytes) -> None:
            pass

    site = SimpleNamespace(event=events_heard.append, followed_to=lambda: (0, 0))
    log = SimpleNamespace(info=lambda *told, **more: None)
    zone = ZonePeer(1, "zone-1", "127.0.0.1:1")
    config = SimpleNamespace(timing=Timing(line_silent_ms=500), zones=(zone,))
    line = Line(cast(Any, config), cast(Any, None), cast(Any, site), log)
    line._looked_ms = now_ms()
    async with trio.open_nursery() as nursery:
        await line._listen(cast(Any, Wire()), zone, _Progress(speaks=False), nursery)
    assert sum(isinstance(one, events.Heard) for one in events_heard) == heard
    assert len(given_up) == 1 - heard


@pytest.mark.parametrize(("slept_s", "silent"), [(0.4, False), (0.6, True)])
async def test_a_process_that_stood_still_leaves_its_line_whichever_task_wakes_first(
    slept_s: float, silent: bool, mock_clock: trio.testing.MockClock
) -> None:
    """The task that watches the line counted what had waited in the socket as heard just now (sites, seed 178)."""
    wire = SimpleNamespace(received_bytes=0, give_up=lambda: None)
    log = SimpleNamespace(info=lambda *told, **more: None)
    zone = ZonePeer(1, "zone-1", "127.0.0.1:1")
    config = SimpleNamespace(timing=Timing(line_silent_ms=500), zones=(zone,))
    line = Line(cast(Any, config), cast(Any, None), cast(Any, None), log)
    line._heard_ms = line._looked_ms = now_ms()
    progress = _Progress(speaks=False)
    progress.up = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line._watch_silence, cast(Any, wire), zone, progress)
        await trio.testing.wait_all_tasks_blocked()
        wire.received_bytes = 1
        mock_clock.jump(slept_s)
        await trio.testing.wait_all_tasks_blocked()
        assert progress.silent is silent
        nursery.cancel_scope.cancel()
