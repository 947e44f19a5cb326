"""The hybrid clock: the zones' time carried on, the wall clock only where there is nothing better (O5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.offline.clock import SURE, SiteClock, is_sure
from tests.offline.world import NOON

HOUR = 3_600_000


@pytest.mark.parametrize("wall_ms", [NOON + 3 * HOUR, NOON - 3 * HOUR, 0])
def test_a_wrong_wall_clock_counts_for_nothing_once_a_zone_told_the_time(wall_ms: int) -> None:
    """Three hours ahead, three behind, 1970: neither wins everything nor loses everything."""
    clock = SiteClock()
    clock.heard(1000, NOON)
    assert clock.read(1000, wall_ms).wall_ms == NOON
    assert clock.read(1000 + 2 * HOUR, wall_ms).wall_ms == NOON + 2 * HOUR
    assert not clock.unsure


def test_before_any_zone_was_heard_the_clock_is_unsure_and_loses_ties() -> None:
    """At the same millisecond, whoever knew the time is the later."""
    unsure, sure = SiteClock(), SiteClock()
    sure.heard(0, NOON)
    assert unsure.unsure
    assert unsure.read(0, NOON) < sure.read(0, 0)
    assert not is_sure(unsure.read(0, NOON))


def test_a_clock_found_hours_ahead_steps_back() -> None:
    """To count on from it would poison every later reading with the same wrong hours."""
    clock = SiteClock()
    assert clock.read(0, NOON + 3 * HOUR).wall_ms == NOON + 3 * HOUR
    clock.heard(10, NOON)
    reading = clock.read(20, NOON + 3 * HOUR)
    assert (reading.wall_ms, reading.counter) == (NOON + 10, SURE)


def test_a_small_step_back_of_the_zones_clock_keeps_the_order() -> None:
    """A new leader's clock is a little behind: the readings go on by their counter."""
    clock = SiteClock()
    clock.heard(0, NOON + 400)
    first = clock.read(0, 0)
    clock.heard(10, NOON)
    assert clock.read(10, 0) > first


def test_the_latest_zone_time_on_disk_is_a_floor() -> None:
    """A dead clock battery after a restart, cut off: not 1970, but the last that was known."""
    clock = SiteClock(floor_ms=NOON)
    assert clock.read(0, 0).wall_ms == NOON
    assert clock.unsure


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 2 * NOON)), max_size=50))
def test_readings_of_one_clock_never_repeat_and_never_go_back(readings: list[tuple[int, int]]) -> None:
    """Whatever the wall clock does, while no zone corrects it."""
    clock, now_ms, seen = SiteClock(), 0, []
    for passed_ms, wall_ms in readings:
        now_ms += passed_ms
        seen.append(clock.read(now_ms, wall_ms))
    assert seen == sorted(set(seen))
