"""Stories on real processes: their list, how they are judged, and one told from beginning to end."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import msgspec
import pytest
import trio

import chaos.story
from chaos.story import add_parser, listing, run
from chaos.story.catalogue import BY_NAME, STORIES
from chaos.story.expecting import SHOWN, Expectations
from chaos.story.night import notes_in, proposed_in, values_in
from chaos.story.play import Setting, Story, planned
from chaos.story.reading import audited, drains_of, renamed
from chaos.story.result import StoryResult, Told, judged, together
from chaos.story.shipped import ahead_by
from replica.cases.operations import OperationId
from replica.demo.audit import Audit
from replica.demo.ledger import Held, Ledger
from replica.runtime.site import decision_key
from replica.storage import open_store, peek_identity
from replica.wire.client import Receipt
from tests.demo.small_cluster import SITES, build, operations, plan

NAMES = [
    "call-while-cut",
    "both-escalate",
    "double-engagement",
    "both-close",
    "owner-transfer-while-cut",
    "takeover-and-return",
    "chain-of-takeovers",
    "two-sites-cut",
    "zone-and-its-sites-cut",
    "all-zones-gone",
    "restored-backup",
    "clone-beside-it",
    "emptied-disk",
    "clock-three-hours-ahead",
    "kill-in-mid-replay",
    "flapping-line",
    "longer-than-the-log",
]
CLEAN = Audit(verdicts={"applied": 2}, verdicts_total=2, digests_equal=True)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["story", *words])


def told(**other: object) -> Told:
    """A story that went well, but for what is said otherwise."""
    expect = Expectations()
    expect.equal("priority at Lyon", "P0", "P0")
    usual: dict[str, object] = {
        "name": "a-story",
        "sentence": "Something happens.",
        "operations": 2,
        "agreed": 1,
        "journalled": 1,
        "seconds": 1.234,
        "expectations": expect.all,
    }
    return Told(**(usual | other))  # type: ignore[arg-type]  # whatever a test says otherwise is of its field's type


def wrong_fact() -> StoryResult:
    expect = Expectations()
    expect.equal("priority at Lyon", "P3", "P0")
    return judged(told(expectations=expect.all), CLEAN)


# --- the list ---


def test_every_story_is_listed_with_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """One a line: the name, blanks, one sentence that tells what is shown; nothing is started."""
    assert run(arguments("--list")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == listing()
    assert [line.split()[0] for line in lines] == NAMES
    for line, story in zip(lines, STORIES, strict=True):
        name, sentence = line.split(maxsplit=1)
        assert (name, sentence) == (story.name, story.sentence)
        assert len(sentence) > 40
        assert sentence.endswith(".")


def test_a_sentence_is_the_first_paragraph_of_the_script() -> None:
    """What comes after is for who reads the script."""

    async def tells(night: object) -> None:
        """One thing
        happens.

        More about it."""

    assert Story("name", tells).sentence == "One thing happens."


@pytest.mark.parametrize("words", [(), ("call-while-cut", "gossip")])
def test_a_name_there_is_none_of_ends_with_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started, and with the names there are."""
    assert run(arguments(*words)) == 2
    assert "longer-than-the-log" in capsys.readouterr().err


# --- facts ---


def test_each_kind_of_fact_can_be_so_and_not_be_so() -> None:
    """None of them raises; what is not so is kept with both values."""
    expect = Expectations()
    assert [
        expect.equal("equal", 1, 1),
        expect.at_least("least", 2, 2),
        expect.at_most("most", 2, 2),
        expect.between("between", 1, 1, 2),
        expect.holds("holds", "no quorum", "quorum"),
    ] == [True] * 5
    assert expect.failed == []
    assert [
        expect.equal("equal", 1, 2),
        expect.at_least("least", 1, 2),
        expect.at_most("most", 3, 2),
        expect.between("between", 0, 1, 2),
        expect.between("between", 3, 1, 2),
        expect.holds("holds", "", "quorum"),
    ] == [False] * 6
    assert [str(one) for one in expect.failed] == [
        "equal: expected 2, saw 1",
        "least: expected at least 2, saw 1",
        "most: expected at most 2, saw 3",
        "between: expected 1 to 2, saw 0",
        "between: expected 1 to 2, saw 3",
        "holds: expected something with 'quorum' in it, saw ''",
    ]
    assert len(expect.all) == 11


def test_a_long_value_is_cut_where_it_is_shown() -> None:
    """Thousands of notes in one line help nobody; they are compared whole all the same."""
    expect = Expectations()
    assert not expect.equal("notes", ["x" * SHOWN, "y"], ["x" * SHOWN, "z"])
    assert len(str(expect.failed[0])) < 3 * SHOWN


async def test_what_becomes_so_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """And no longer than that."""
    expect, began = Expectations(), trio.current_time()

    async def late() -> bool:
        return trio.current_time() - began >= 2

    assert await expect.becomes("late", late, True, 5.0)
    assert 2 <= trio.current_time() - began < 2.1


async def test_what_does_not_become_so_is_told_with_what_was_seen_last(autojump_clock: trio.testing.MockClock) -> None:
    """Not with what was seen first."""
    expect, seen = Expectations(), list[int]()

    async def never() -> int:
        seen.append(len(seen))
        return seen[-1]

    assert not await expect.becomes("never", never, -1, 1.0)
    assert str(expect.failed[0]) == f"never: expected -1 within 1 s, saw {seen[-1]}"


# --- judgement ---


def test_a_story_whose_facts_and_stores_are_as_expected_is_ok() -> None:
    """With every figure in its place."""
    result = judged(told(showed={"mode_changes": 7}), CLEAN)
    assert (result.ok, result.problems) == (True, ())
    assert (result.operations, result.verdicts, result.verdicts_total) == (2, {"applied": 2}, 2)
    assert (result.lost, result.duplicated, result.digests_equal, result.conflicts_open) == (0, 0, True, 0)
    assert (result.seconds, result.showed) == (1.23, {"mode_changes": 7})


def test_one_fact_that_is_not_so_makes_the_story_not_ok() -> None:
    """And is told with both values."""
    result = wrong_fact()
    assert not result.ok
    assert result.problems == ("priority at Lyon: expected 'P0', saw 'P3'",)


@pytest.mark.parametrize(
    ("other", "found", "why"),
    [
        ({"troubles": ["ProcessFailed: zone-1 ended"]}, CLEAN, "ProcessFailed: zone-1 ended"),
        ({"expectations": []}, CLEAN, "no fact"),
        ({"operations": 0}, CLEAN, "nobody did anything"),
        ({}, Audit(lost={"a/b/1"}, digests_equal=True, problems=("lost: a/b/1",)), "lost: a/b/1"),
        ({}, Audit(duplicated={"a/b/1"}, digests_equal=True, problems=("duplicated: a/b/1",)), "duplicated: a/b/1"),
        ({}, Audit(problems=("the records differ",)), "the records differ"),
    ],
)
def test_the_bookkeeping_counts_whatever_the_story_saw(other: dict[str, object], found: Audit, why: str) -> None:
    """A trouble on the way, a story that states nothing, and all that the audit finds."""
    result = judged(told(**other), found)
    assert not result.ok
    assert any(why in problem for problem in result.problems)


def test_several_stories_are_ok_when_each_is() -> None:
    """Their figures are added up; no story at all shows nothing."""
    good, bad = judged(told(), CLEAN), wrong_fact()
    both = together([good, good])
    assert (both.ok, both.operations, both.verdicts, len(both.stories)) == (True, 4, {"applied": 4}, 2)
    assert not together([good, bad]).ok
    assert not together([]).ok


def test_a_story_that_is_not_ok_says_which_fact_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And is written down all the same."""

    async def tell(*anything: object) -> StoryResult:
        await trio.lowlevel.checkpoint()
        return wrong_fact()

    monkeypatch.setattr(chaos.story, "told", tell)
    assert run(arguments("both-escalate", "--json", str(tmp_path / "r.json"))) == 1
    shown = capsys.readouterr().out
    assert "✗ priority at Lyon: expected 'P0', saw 'P3'" in shown
    assert "NOT OK" in shown
    assert msgspec.json.decode((tmp_path / "r.json").read_bytes())["ok"] is False


# --- what is seen ---


def test_a_field_is_read_with_the_value_that_holds_first() -> None:
    """Of a case's own fields, keyed ones, and the statuses of organisations; empty where nothing was said."""
    shown = {
        "fields": [
            {"field": "priority", "values": [{"value": "P0"}, {"value": "P1"}]},
            {"field": "additional", "key": "code", "values": [{"value": "12"}]},
        ],
        "statuses": [{"field": "status", "key": "a", "values": [], "proposed": [{"value": "CLOTURE"}]}],
        "elements": [{"field": "medical_note", "value": {"value": f'{{"freetext":"{text}"}}'}} for text in "baa"],
    }
    assert values_in(shown, "priority") == ["P0", "P1"]
    assert values_in(shown, "additional", "code") == ["12"]
    assert values_in(shown, "additional", "door") == values_in({}, "priority") == []
    assert proposed_in(shown, "status") == ["CLOTURE"]
    assert notes_in(shown) == ["a", "a", "b"]


# --- the stores of a site that had more than one disk ---


def test_a_verdict_that_stands_on_a_disk_set_aside_is_not_lost(tmp_path: Path) -> None:
    """A site on a new disk has forgotten what its old one said; without the old one it would be lost."""
    ledger, last = small_cluster(tmp_path)
    forget(tmp_path / SITES[0], last)
    assert audited(plan(tmp_path), ledger, {}, {}, {}).lost == {str(last)}
    found = audited(plan(tmp_path), ledger, {}, {SITES[0]: [tmp_path / "aside"]}, {})
    assert (found.lost, found.problems) == (set(), ())


def test_two_disks_that_contradict_each_other_are_a_problem(tmp_path: Path) -> None:
    """Whichever of them the callers were told from."""
    ledger, last = small_cluster(tmp_path)
    with open_store(tmp_path / "aside", peek_identity(tmp_path / "aside"), create=False) as store:
        kept = store.state.local_get(decision_key(operations()[0].id))
        assert kept is not None
        other = kept.replace(b"applied", b"refused")
        assert other != kept
        store.state.flush({}, store.state.applied(), {decision_key(last): other})
    found = audited(plan(tmp_path), ledger, {}, {SITES[0]: [tmp_path / "aside"]}, {})
    assert any("aside says refused" in problem for problem in found.problems)


def test_a_clone_has_to_be_as_whole_as_every_other_store(tmp_path: Path) -> None:
    """One that lacks a record differs."""
    ledger, _ = small_cluster(tmp_path)
    clone = {SITES[0]: tmp_path / "aside"}
    assert audited(plan(tmp_path), ledger, {}, {}, clone).problems == ()
    with open_store(tmp_path / "aside", peek_identity(tmp_path / "aside"), create=False) as store:
        key = next(key for key, _ in store.state.scan(b"") if b"samu440.1" in key)
        store.state.flush({key: None}, store.state.applied(), {})
    assert not audited(plan(tmp_path), ledger, {}, {}, clone).digests_equal


def test_a_receipt_is_looked_for_under_its_drain(tmp_path: Path) -> None:
    """Only the id changes; where no life was closed, nothing does."""
    ledger, last = small_cluster(tmp_path)
    assert drains_of(tmp_path / "zone-1", ledger.operations()) == {}
    drained = str(OperationId(last.site, bytes(16), 1))
    told_again = renamed(ledger, {str(last): drained})
    assert told_again.operations() == (ledger.operations() - {str(last)}) | {drained}
    assert [held.key for held in told_again.held] == [held.key for held in ledger.held]


def test_the_ledger_of_a_story_is_the_callers(tmp_path: Path) -> None:
    """What nobody was given a receipt for is nobody's loss."""
    ledger, _ = small_cluster(tmp_path)
    ledger.open(Held("key", SITES[0], "refused", not_permitted="cut off"))
    assert audited(plan(tmp_path), ledger, {}, {}, {}).problems == ()
    unknown = Receipt("journalled", str(OperationId(SITES[0], bytes(16), 7)))
    ledger.open(Held("key", SITES[0], "note", receipts=(unknown,)))
    assert audited(plan(tmp_path), ledger, {}, {}, {}).lost == {unknown.operation}


def small_cluster(folder: Path) -> tuple[Ledger, OperationId]:
    """Stores of a run that went well, a copy of the first site's beside them, and that site's last operation."""
    ledger, _ = build(folder)
    shutil.copytree(folder / SITES[0], folder / "aside")
    return ledger, max(one.id for one in operations() if one.id.site == SITES[0])


def forget(folder: Path, operation: OperationId) -> None:
    with open_store(folder, peek_identity(folder), create=False) as store:
        store.state.flush({}, store.state.applied(), {decision_key(operation): None})


# --- the setting ---


def test_a_wrong_clock_is_ahead_by_so_much() -> None:
    """And goes on at the pace of the right one."""
    times = iter([1_000_000, 2_000_000])
    clock = ahead_by(10_800_000, lambda: next(times))
    assert (clock(), clock()) == (10_800_000_000_000 + 1_000_000, 10_800_000_000_000 + 2_000_000)


def test_only_a_night_with_a_wrong_clock_runs_another_program(tmp_path: Path) -> None:
    """Everything else runs what is shipped."""
    assert planned(Setting(), tmp_path).program[1:] == ("-m", "replica")
    assert planned(BY_NAME["clock-three-hours-ahead"].setting, tmp_path).program[1:] == ("-m", "chaos.story.shipped")


# --- one story, told ---


@pytest.mark.processes
def test_a_call_taken_while_the_line_is_cut_is_handed_over(tmp_path: Path) -> None:
    """Real processes: every fact is so, every operation has its verdict, all stores are equal."""
    assert run(arguments("call-while-cut", "--json", str(tmp_path / "r.json"))) == 0
    result = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    assert result["problems"] == []
    assert (result["ok"], result["lost"], result["duplicated"], result["digests_equal"]) == (True, 0, 0, True)
    assert (result["operations"], result["verdicts"], result["conflicts_open"]) == (2, {"applied": 2}, 0)
    assert all(fact["ok"] for fact in result["expectations"])
    assert len(result["expectations"]) >= 10
