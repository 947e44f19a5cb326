"""An operation has come to all sites when it has come to the last; one that has not is counted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.__main__ import main
from bench.feed import waits_ms
from bench.follower import Follower, Orders, Seen, Told, told
from replica.cases.verdicts import Effects
from replica.config import ZonePeer

ORDERS = Orders("bench", (ZonePeer(1, "zone-1", "127.0.0.1:1"),), ("a", "b", "c"))


def test_the_last_and_the_middle_of_the_followers_are_told() -> None:
    """Three followers, of whom one has not got the second entry."""
    followers = [Follower(name, ORDERS) for name in ORDERS.names]
    for follower, at in zip(followers, (1.0, 3.0, 2.0), strict=True):
        follower.arrivals[1] = at
    followers[0].arrivals[2] = 4.0
    followers[1].arrivals[2] = 5.0
    assert told(followers).seen == (Seen(1, 3, 2.0, 3.0), Seen(2, 2, 4.0, 5.0))


def test_a_follower_stands_where_the_last_effects_left_it() -> None:
    """So that a line that breaks goes on from there."""
    follower = Follower("a", ORDERS)
    assert follower.followed_to() == (0, 0)
    follower.arrived(Effects(7, 2, 0, (), ()))
    assert follower.followed_to() == (7, 2)
    assert 7 in follower.arrivals


def test_an_entry_that_did_not_come_to_all_is_counted_and_not_timed() -> None:
    """Two receipts of the first entry are timed, each from its own moment; the second entry missed one follower, the
    third came to none."""
    seen = Told((Seen(1, 3, 1.001, 1.004), Seen(2, 2, 2.0, 2.0)), 0)
    last, middle, missing = waits_ms({1: [1.0, 1.002], 2: [2.0], 3: [3.0, 3.0]}, seen, 3)
    assert last == pytest.approx([4.0, 2.0])
    assert middle == pytest.approx([1.0, -1.0])
    assert missing == 3


@pytest.mark.parametrize("words", [["--sites", "0"], ["--processes", "-1"], ["--rate", "0"], ["--seconds", "0"]])
def test_a_feed_that_cannot_be_measured_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    assert main(["feed", *words]) == 2
    assert capsys.readouterr().err.startswith(("--sites 1 to", "--seconds above 0"))


@pytest.mark.processes
def test_the_feed_is_timed_to_the_last_follower(tmp_path: Path) -> None:
    """Five light followers and a whole site: every operation came to all of them."""
    words = ["feed", "--quick", "--sites", "5", "--processes", "1", "--seconds", "1", "--rate", "20"]
    assert main([*words, "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert (report["operations"], report["failed"], report["lost"]) == (20, 0, 0)
    assert len(report["last"]["ms"]) == len(report["middle"]["ms"]) == 20
    assert report["middle"]["p50"] <= report["last"]["p50"]
    assert len(report["site_processes"]["ms"]) == 4
    assert any("light followers" in one for one in report["not_measured"])
