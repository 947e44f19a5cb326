"""The demo itself, on real processes: what it promises holds, and its options and JSON are the ones agreed."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import msgspec
import pytest

from replica.demo.clash import Clash, Common, note_report, priority_report
from replica.demo.command import write_json
from replica.demo.messages import find
from replica.demo.options import Options
from replica.demo.result import DemoResult, Shown
from replica.demo.run import candidates_of, parse, run_demo
from replica.demo.stores import read_stores
from replica.demo.supervisor import Plan, SitePlan
from replica.demo.voices import spread
from replica.errors import ConfigError
from replica.hubsante.decode import read
from replica.storage import peek_identity
from tests.demo.small_cluster import SITES, plan

AGREED_FIELDS = [
    "messages",
    "operations",
    "agreed",
    "journalled",
    "verdicts",
    "verdicts_total",
    "lost",
    "duplicated",
    "refused_messages",
    "digests_equal",
    "conflicts_open",
    "failover_ms",
    "cut_off_detected_ms",
    "longest_submit_ms",
    "reconcile_ms",
    "seconds",
    "ok",
]


class Silent:
    """Looks on and keeps what it sees."""

    def __init__(self) -> None:
        self.moments: list[str] = []
        self.count = 0

    def total(self, messages: int) -> None:
        pass

    def moment(self, what: str) -> None:
        self.moments.append(what)

    def played(self, messages: int) -> None:
        self.count = messages


async def play(options: Options) -> tuple[DemoResult, Shown]:
    watch = Silent()
    result, shown = await run_demo(options, watch)
    assert result.problems == ()
    assert watch.count == result.messages
    return result, shown


def check(result: DemoResult) -> None:
    """What must hold of every run, whatever was killed or cut."""
    assert result.ok
    assert (result.lost, result.duplicated, result.refused_messages) == (0, 0, 0)
    assert result.verdicts_total == result.operations == result.agreed + result.journalled
    assert sum(result.verdicts.values()) == result.operations
    assert result.digests_equal


@pytest.mark.processes
async def test_a_killed_leader_and_a_cut_line_lose_nothing(tmp_path: Path) -> None:
    """The whole walk on the project's own stories; the clash ends as conflicts; the stores stay, one folder a node."""
    data = tmp_path / "data"
    result, shown = await play(Options(data=data))
    check(result)
    assert result.messages == len(find(None))
    assert result.failover_ms is not None
    assert result.cut_off_detected_ms is not None
    assert result.reconcile_ms is not None
    assert result.journalled > 0, "nothing was written while cut off: the cut cut nothing"
    assert {conflict.field for conflict in shown.conflicts} >= {"priority", "engagement"}
    assert len(set(shown.digests.values())) == 1
    assert len(shown.digests) == 5
    assert {peek_identity(data / name).role for name in ("zone-1", "zone-2", "zone-3")} == {"zone"}
    assert len([folder for folder in data.iterdir() if peek_identity(folder).role == "site"]) == 2


@pytest.mark.processes
async def test_a_site_killed_while_it_replays_loses_nothing() -> None:
    """It is started again, its callers hand in anew under the same keys, and every act is there once."""
    result, shown = await play(Options(also_kill="cut-site", also_kill_at="replay", seed=3))
    check(result)
    assert any("is killed too" in moment.what for moment in shown.timeline)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"zones": 0}, "--zones"),
        ({"zones": 8}, "--zones"),
        ({"sites": 0}, "--sites"),
        ({"cut_after": -1}, "--cut-after"),
        ({"also_kill": "nobody"}, "--also-kill"),
        ({"also_kill": "random", "also_kill_at": "soon"}, "--also-kill-at"),
        ({"messages": Path("/nonexistent")}, "--messages"),
    ],
)
async def test_an_option_that_cannot_be_played_is_refused_by_name(change: dict[str, object], where: str) -> None:
    """Nothing is started then."""
    options = dataclasses.replace(Options(), **change)  # type: ignore[arg-type] # each case changes other fields
    with pytest.raises(ConfigError, match=f"^{where}: "):
        await run_demo(options, Silent())


async def test_stores_are_never_played_over(tmp_path: Path) -> None:
    """A data folder that holds something is refused."""
    (tmp_path / "something").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"^--data: "):
        await run_demo(Options(data=tmp_path), Silent())


def test_the_json_has_the_fields_agreed_on(tmp_path: Path) -> None:
    """Each by its name, null where it did not happen; and what is wrong, in words."""
    write_json(tmp_path / "result.json", DemoResult(problems=("one thing",)))
    written = msgspec.json.decode((tmp_path / "result.json").read_bytes())
    assert list(written) == [*AGREED_FIELDS, "problems"]
    assert written["failover_ms"] is None
    assert written["problems"] == ["one thing"]


def test_the_clash_is_made_of_messages_that_the_standard_knows() -> None:
    """Each parses, and says what it is meant to: two priorities, one vehicle for two cases."""
    from datetime import UTC, datetime

    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for coin in (False, True):
        clash = Clash(SITES[0], SITES[1], Common("fr.health.samu440.1", "fr.health.samu440.2"), coin)
        sides = [list(clash.by_cut_off(now)), list(clash.by_other(now))]
        reports = [
            read(write.message, default_sender=SITES[0]).contents[0].outcome
            for write in (*clash.before(now), *sides[0], *sides[1])
            if write.message
        ]
        assert len(reports) == 6
        assert {side[0].what for side in sides} == {"reports priority P0", "reports priority P2"}
        notes = [write.note for side in sides for write in side if write.note is not None]
        assert len({one.text for one in notes}) == len({one.note for one in notes}) == 2
        assert {one.case for one in notes} == {"fr.health.samu440.1"}


def test_the_same_words_with_another_remark_are_another_message() -> None:
    """A bare content is known again by what it says."""

    def name(data: bytes) -> str:
        return read(data, default_sender=SITES[0]).contents[0].message

    case = "fr.health.samu440.1"
    assert name(priority_report(case, "P1")) == name(priority_report(case, "P1"))
    assert name(priority_report(case, "P1", "one")) != name(priority_report(case, "P1", "two"))
    assert name(note_report(case, SITES[0], "one")) != name(note_report(case, SITES[0], "two"))


def test_a_bare_message_comes_from_the_owner_that_earlier_ones_named() -> None:
    """Its case's number says another organisation; the message that created the case said who owns it."""
    parsed = [parse(message) for message in find(None)]
    candidates = list(candidates_of(parsed))
    assert len(candidates) == len(parsed)
    assert all(candidates), "a story message that could come from nobody"
    creation = b"""{"createCaseHealth": {"caseId": "fr.fire.sis044.1", "creation": "2026-01-01T10:00:00+01:00",
        "owner": "fr.health.samu440", "location": {}, "qualification": {}}}"""
    first, second = (
        read(creation, default_sender=None),
        read(note_report("fr.fire.sis044.1", SITES[1], "x"), default_sender=None),
    )
    alone, after = next(candidates_of([second])), list(candidates_of([first, second]))[1]
    assert alone[0] != "fr.health.samu440"
    assert after[0] == "fr.health.samu440"
    assert spread([after], 1, random.Random(1)).choose(after) == ("fr.health.samu440", "fr.health.samu440")


def test_common_ground_is_the_last_two_cases_named() -> None:
    """Whatever kind of message names them."""
    common = Common()
    for case in ("a.b.c.1", "a.b.c.2", "a.b.c.2", "a.b.c.3"):
        outcome = read(note_report(case, SITES[0], "x"), default_sender=SITES[0]).contents[0].outcome
        common = common.learn([outcome])  # type: ignore[list-item] # a note is a report
    assert common == Common("a.b.c.3", "a.b.c.2")


def test_nodes_without_a_store_are_reported_one_by_one(tmp_path: Path) -> None:
    """A run that never started has five problems, not a traceback."""
    stores = read_stores(tmp_path, plan(tmp_path), [])
    assert [store.node for store in stores] == ["zone-1", "zone-2", "zone-3", *SITES]
    assert all(store.problem.startswith("StoreError") for store in stores)
    assert Plan(tmp_path, 1, (SitePlan("a"),)).site_names == ("a",)
