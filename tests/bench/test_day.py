"""The national day: its curve, its crisis, who speaks for whom, which positions go in, and what is left at the end."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import main
from bench.day import bytes_left
from bench.day_plan import (
    ACTS_PER_CASE,
    CALLS_BY_HOUR,
    CRISIS_HOURS,
    CRISIS_TIMES,
    Positions,
    acts_on,
    arrivals,
    calls_at,
    load_at,
    moments,
    organisations,
)
from bench.day_run import Sample
from replica.hubsante.decode import read


def test_the_curve_has_a_rate_for_each_hour_and_its_peak_is_one() -> None:
    """24 hours, quiet before dawn, and the busiest is what others are compared with."""
    assert len(CALLS_BY_HOUR) == 24
    assert max(calls_at(hour) for hour in range(24)) == 1.0
    assert CALLS_BY_HOUR.index(min(CALLS_BY_HOUR)) in range(2, 6)


@given(st.floats(0, 23.99))
def test_between_two_hours_the_rate_is_between_theirs(hour: float) -> None:
    whole = int(hour)
    ends = CALLS_BY_HOUR[whole], CALLS_BY_HOUR[(whole + 1) % 24]
    assert min(ends) / 100 - 1e-9 <= calls_at(hour) <= max(ends) / 100 + 1e-9


def test_a_crisis_is_ten_times_the_peak_and_only_then() -> None:
    """Whatever the hour would have otherwise."""
    begins, ends = CRISIS_HOURS
    assert load_at(begins) == load_at((begins + ends) / 2) == CRISIS_TIMES == 10
    assert load_at(begins - 0.01) <= 1
    assert load_at(ends) <= 1


def test_as_many_arrive_as_are_expected_on_the_average() -> None:
    """Each on its own, so that often none comes and sometimes three."""
    rng = random.Random(1)
    drawn = [arrivals(rng, 0.5) for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.02)
    assert {0, 1, 2, 3} <= set(drawn)
    assert arrivals(rng, 0.0) == 0


def test_what_is_cut_is_healed_later_the_same_day() -> None:
    """In order; the leader is killed once in a quiet hour and once in the crisis."""
    plan = moments()
    assert [moment.hour for moment in plan] == sorted(moment.hour for moment in plan)
    named = [moment.what for moment in plan]
    assert named.index("cut-samu") < named.index("heal-samu")
    assert named.index("cut-zone") < named.index("heal-zone")
    kills = [load_at(moment.hour) for moment in plan if moment.what == "kill"]
    assert sorted(load > 1 for load in kills) == [False, True]


@given(st.integers(1, 120), st.integers(1, 10))
def test_every_samu_has_one_site_that_speaks_for_it(count: int, sites: int) -> None:
    dealt = [name for names in organisations(max(count, sites), sites) for name in names]
    assert len(dealt) == len(set(dealt)) == max(count, sites)


def test_of_each_vehicle_only_the_latest_position_is_handed_in() -> None:
    """One message for an interval, and nothing where nobody said anything."""
    positions = Positions()
    for at in range(5):
        positions.say("a.resource.v1", "2026-11-27T08:00:00+00:00", 47.0 + at, -1.0)
    positions.say("a.resource.v2", "2026-11-27T08:00:00+00:00", 48.0, 2.0)
    said = msgspec.json.decode(positions.take())["geoPositionsUpdate"]["position"]
    assert [(one["resourceId"], one["coord"]["lat"]) for one in said] == [("a.resource.v1", 51), ("a.resource.v2", 48)]
    assert (positions.said, positions.handed_in) == (6, 2)
    assert positions.take() == b""


def test_what_is_done_on_a_case_is_valid_and_as_much_as_is_counted_on() -> None:
    """Every message of it can be read as what it is."""
    samu = "fr.health.samu001"
    acts = list(acts_on(f"{samu}.1", samu, f"{samu}.resource.v1", "P1", lambda: "2026-11-27T08:00:00+00:00"))
    assert len(acts) == ACTS_PER_CASE
    assert all(bool(act.message) != (act.command is not None) for act in acts)
    assert all(read(act.message, default_sender=samu) for act in acts if act.message)


def a_sample(**changed: float) -> Sample:
    empty = dict.fromkeys(Sample.__struct_fields__, 0.0)
    return msgspec.convert({**empty, **changed}, Sample, strict=False)


def test_bytes_left_are_what_the_day_added() -> None:
    """Over its cases and operations; memory that shrank counts as nothing."""
    before = a_sample(zone_state_mb=1.0, zone_rss_mb=60.0, site_rss_mb=60.0)
    after = a_sample(zone_state_mb=3.0, zone_rss_mb=61.0, site_rss_mb=50.0)
    left = bytes_left([before, after], cases=100, operations=1000)
    assert (left.state_disk_per_case, left.state_disk_per_operation) == (20_000, 2_000)
    assert (left.zone_memory_per_operation, left.site_memory_per_operation) == (1_000, 0)


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--peak", "0"]])
def test_a_day_that_cannot_be_run_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["day", *words]) == 2
    assert "must be" in capsys.readouterr().err


@pytest.mark.processes
def test_a_very_short_day_loses_nothing(tmp_path: Path) -> None:
    """On real processes, with its kills and cuts: every operation is in every store, and the stores are equal."""
    main(["day", "--quick", "--minutes", "0.1", "--json", str(tmp_path / "report.json")])
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert (report["lost"], report["failed"], report["stores_equal"]) == (0, 0, True)
    assert report["operations"] == report["agreed"] + report["journalled"] == sum(report["verdicts"].values())
    assert report["elections"] >= 1
    assert len(report["moments"]) == 8
    assert report["rss_mb_max"] > 0
    assert report["disk_mb"] > 0
