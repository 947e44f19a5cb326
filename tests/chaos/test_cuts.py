"""A cut before each message: what holds is compared with the story without a cut, and each of the checks can fail."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from chaos.cuts import add_parser, run
from chaos.cuts.compare import compare, problems_between
from chaos.cuts.holding import INCOMPLETE, OWNER, Holding, Place, rule_of
from chaos.cuts.show import by_field, last_line
from chaos.cuts.stage import Played, Said, Stage, play
from chaos.cuts.stories import SIDE_BY_SIDE, VARIANTS, Cut, Story, Turn, cuts, emergency_of, stories
from chaos.cuts.trial import CutsResult, Listed, Plan, RunResult, judge, run_all, summary
from chaos.nodes.network import Network
from replica.cases import merge, subjects
from replica.cases.act import Act
from replica.cases.fields import Field, Rule
from replica.cases.merge import Outcome, Siblings
from replica.cases.operations import HybridTime, OperationId
from replica.cases.state import Held, Slot, Step
from replica.cases.subjects import Target
from replica.cases.verdicts import Finding, Verdict, VerdictKind
from replica.demo import ledger
from replica.demo.clash import note_report, priority_report
from replica.demo.supervisor import SitePlan
from replica.errors import ConfigError
from replica.wire.client import Receipt

EXAMPLES = Path(__file__).parents[3] / "shared" / "hub-messages" / "examples"
A, B = "fr.health.samu220", "fr.health.samu350"
CASE = f"{A}.1"
EARLIER, LATER = "aspirine", "aucun"


# ---- what is played


def test_emergencies_are_found_by_the_last_word_of_their_files() -> None:
    """Whatever the type, the case of the letters and the separator."""
    names = ("RS-SR/RS-SR_X_DelphineVIGNEAU.04.json", "RC-EDA-X-DelphineVigneau.01.json", "GEO-POS/CU2_DelphineVigneau")
    assert {emergency_of(name) for name in names} == {"delphinevigneau"}


def test_the_own_stories_are_played_side_by_side_and_each_alone() -> None:
    """All messages in both orders, each emergency by number, and never fewer than two sites."""
    whole, *each = stories(None)
    assert whole.name == SIDE_BY_SIDE
    assert sum(len(story.turns) for story in each) == len(whole.turns) >= 60
    assert all(len(story.sites) >= 2 for story in (whole, *each))
    assert {turn.site for story in each for turn in story.turns} <= {site.name for site in whole.sites}
    assert [story.name for story in stories(None, "each-emergency")] == [story.name for story in each]


def test_one_story_is_chosen_by_its_folder_or_its_emergency() -> None:
    """It is the same either way; one that is not there is named with those that are."""
    assert stories(None, name="04-appel-benin") == stories(None, name="lenaprigent")
    with pytest.raises(ConfigError, match="04-appel-benin"):
        stories(None, name="nobody")


def test_a_cut_comes_before_each_message_in_turn() -> None:
    """At its own site, then at all; and whole again after `length` messages, where that is asked for."""
    (story,) = stories(None, name="lenaprigent")
    own = list(cuts(story, ("own",), None, 1, None))
    assert [(cut.before, cut.sites) for cut in own] == [(n, (turn.site,)) for n, turn in enumerate(story.turns)]
    assert [cut.heals_before for cut in own[:1]] == [None]
    (one,) = cuts(story, ("all",), 3, 5, 1)
    assert (one.before, one.heals_before, set(one.sites)) == (4, 7, {site.name for site in story.sites})


# ---- the shipped nodes


def outcome(story: Story, cut: Cut) -> RunResult:
    return judge(story, cut, play(story), play(story, cut))


def two_sites(*turns: tuple[str, bytes]) -> Story:
    """A story of (who, message) between A and B."""
    said = tuple(Turn(f"{n}", data, who, who, 0) for n, (who, data) in enumerate(turns, 1))
    return Story("two sites", said, (SitePlan(A), SitePlan(B)))


def treated(treatment: str) -> bytes:
    """An update that says nothing but a patient's treatment: the latest holds."""
    patient = b'{"patientId":"%s.patient.1","detail":{"treatment":"%s"}}' % (A.encode(), treatment.encode())
    return b'{"createCaseHealthUpdate":{"caseId":"%s","patient":[%s]}}' % (CASE.encode(), patient)


CREATED = b'{"createCaseHealth":{"caseId":"%s","creation":"2026-01-05T10:00:00+01:00","qualification":' % CASE.encode()
CREATION = CREATED + b'{"details":{"priority":"P2"}},"location":{"name":"Quai 4"},"owner":"%s"}}' % A.encode()
ESCALATION = two_sites(
    (A, CREATION),
    (A, priority_report(CASE, "P0")),
    (B, priority_report(CASE, "P3")),
    (A, note_report(CASE, A, "by A")),
    (B, note_report(CASE, B, "by B")),
)
TREATED = two_sites((A, CREATION), (A, treated(EARLIER)), (B, treated(LATER)))
AT_A = Cut("own", 1, (A,))
"""A hands in the second message, and all that it says after, cut off."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_own_story_holds_what_it_holds_without_the_cut(variant: str) -> None:
    """Before the first message and in the middle; to the end, and healed after three."""
    (story,) = stories(None, name="lenaprigent")
    plan = Plan(
        [(story, next(iter(cuts(story, (variant,), length, start, 1)))) for start, length in ((1, None), (6, 3))], 11
    )
    result = run_all(plan)
    assert result.ok, last_line(result)
    assert (result.undiffering, result.operations) == (2, 22)
    assert 0 < result.journalled < 22


def test_what_two_sites_escalate_apart_is_listed_with_its_rule() -> None:
    """Without the cut B's milder word, which has seen the other, holds; with it the more severe, as a conflict."""
    result = outcome(ESCALATION, AT_A)
    assert result.ok, result
    (listed,) = result.differences
    assert (listed.field, listed.rule, listed.without, listed.with_) == ("priority", "more-severe", "P3", "P0")
    assert (listed.verdict, listed.told_by, listed.cut_before) == ("conflict", "2", "2")
    assert listed.operation.startswith(f"{A}/")


def test_the_latest_holds_whatever_order_the_log_has() -> None:
    """A's earlier word comes behind B's later one in the log, and does not hold: no difference."""
    result = outcome(TREATED, AT_A)
    assert result.ok, result
    assert result.differences == ()
    assert result.verdicts["superseded"] == 1


def test_a_value_that_a_rule_lets_win_without_a_word_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rule that overwrites what its author had not seen, the check names field and values."""

    def overwrites(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
        return merge.replaced(seen, new)

    monkeypatch.setitem(merge.RULES, Rule.LATEST, overwrites)
    result = outcome(TREATED, AT_A)
    assert not result.ok
    (listed,) = result.unexplained
    assert (listed.field, listed.without, listed.with_) == (f"patient.treatment [{A}.patient.1]", LATER, EARLIER)


def test_a_note_that_is_lost_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a union that drops what was said apart, the check names the note."""
    add = subjects.add

    def drops(act: Act, target: Target, field: Field, key: str, value: str, at_ms: int = 0) -> VerdictKind:
        apart = field.name == "medical_note" and act.operation.seen < act.index - 1
        return VerdictKind.APPLIED if apart else add(act, target, field, key, value, at_ms)

    monkeypatch.setattr(subjects, "add", drops)
    result = outcome(ESCALATION, AT_A)
    assert not result.ok
    assert {listed.rule for listed in result.unexplained} == {"union"}
    assert any("by A" in str(listed.without) and listed.with_ is None for listed in result.unexplained)


def test_an_operation_with_a_receipt_and_nowhere_in_the_stores_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody was told is laid beside what every node has on its disk."""
    judges = Stage._judge

    def told_of_one_more(stage: Stage, decided: dict[str, Receipt]) -> None:
        forged = Receipt("agreed", f"{A}/{'00' * 16}/7", 9, Verdict(VerdictKind.APPLIED))
        stage.ledger.open(ledger.Held("forged", A, "forged", receipts=(forged,)))
        judges(stage, decided)

    monkeypatch.setattr(Stage, "_judge", told_of_one_more)
    result = outcome(TREATED, AT_A)
    assert not result.ok
    assert result.lost == (f"{A}/{'00' * 16}/7",)


def test_a_line_that_is_never_whole_again_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals that do not empty, and nodes that are not level, fail the run."""
    monkeypatch.setattr(Network, "heal_all", lambda network: None)
    result = run_all(Plan([(TREATED, AT_A)], 3))
    assert not result.ok
    assert "every journal empty" in result.problems[0]


@pytest.mark.hub_messages
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="no published messages beside the project")
def test_the_published_examples_hold_with_a_handful_of_cuts() -> None:
    """Two emergencies of several sites; all of them, before each message, by command."""
    tasks = []
    for name in ("geolocation", "robertvermande"):
        (story,) = stories(EXAMPLES, name=name)
        tasks += [(story, cut) for cut in cuts(story, VARIANTS, None, 1, 2)]
    result = run_all(Plan(tasks, 13))
    assert result.ok, result
    assert result.runs == 8
    assert {one.rule for one in result.differences} == {"latest"}


# ---- the comparison, on made-up differences

SAID_A = OperationId(A, b"\x01" * 16, 1)
SAID_B = OperationId(B, b"\x02" * 16, 1)


def held(value: str, by: OperationId, index: int, clock_ms: int = 0, at_ms: int = 0, authority: bool = False) -> Held:
    return Held(value, by, index, 10_000, HybridTime(clock_ms), at_ms, at_ms, "author", authority)


def played(place: Place, *siblings: Held, proposed: tuple[Held, ...] = (), word: VerdictKind | None = None) -> Played:
    """A run in which these stand at `place`, and the last of them in the log was told so."""
    rule = rule_of(place)
    findings = () if word is None else (Finding(place.id, place.field, place.key, word, rule),)
    said = [
        Said(0, SAID_B, 5, Verdict(VerdictKind.APPLIED)),
        Said(1, SAID_A, 6, Verdict(word or VerdictKind.APPLIED, findings)),
    ]
    return Played(Holding({place: Slot(siblings, proposed)}), said)


CONFLICT, SUPERSEDED, MERGED = VerdictKind.CONFLICT, VerdictKind.SUPERSEDED, VerdictKind.MERGED
BEFORE, BEHIND = 5, 6
"""Entries of the log: B's is before A's."""
RULES_KEPT = {
    "more-severe": (Place("case", CASE, "priority"), held("P0", SAID_A, BEHIND), held("P3", SAID_B, BEFORE), CONFLICT),
    "first": (Place("case", CASE, "creation"), held("x", SAID_B, BEFORE), held("y", SAID_A, BEHIND), CONFLICT),
    "answer": (
        Place("request", "r", "answer"),
        held("ACCEPTEE", SAID_A, BEHIND, at_ms=9),
        held("REFUSEE", SAID_B, BEFORE, at_ms=8),
        CONFLICT,
    ),
    "latest": (Place("case", CASE, "origin"), held("x", SAID_A, BEHIND, 9), held("y", SAID_B, BEFORE, 8), MERGED),
    "latest-at": (
        Place("resource", "v", "availability"),
        held("true", SAID_A, BEHIND, 1, at_ms=9),
        held("false", SAID_B, BEFORE, 2, at_ms=8),
        MERGED,
    ),
    "furthest": (
        Place("case", CASE, "status", A),
        held("CLOTURE", SAID_A, BEHIND),
        held("ACTIF", SAID_B, BEFORE),
        MERGED,
    ),
    "owner": (Place("case", CASE, "owner"), held(A, SAID_A, BEHIND, authority=True), held(B, SAID_B, BEFORE), CONFLICT),
    "engagement": (
        Place("resource", "v", "engagement"),
        held('{"case":"1"}', SAID_A, BEHIND, authority=True),
        held('{"case":"2"}', SAID_B, BEFORE),
        CONFLICT,
    ),
}
"""Rule → (place, what it puts first, the other, the word it says)."""


@pytest.mark.parametrize("rule", RULES_KEPT)
def test_a_difference_that_its_rule_makes_is_explained(rule: str) -> None:
    """With its verdict: who was told, and why."""
    place, first, second, word = RULES_KEPT[rule]
    (found,) = compare(played(place, second), played(place, first, second, word=word))
    assert (found.rule, found.without, found.with_) == (rule, second.value, first.value)
    assert found.because is not None
    assert (found.because.operation, found.because.verdict) == (SAID_A, word)


@pytest.mark.parametrize("rule", RULES_KEPT)
def test_a_difference_without_a_word_is_not_explained(rule: str) -> None:
    """Nobody was told, or was told the same without the cut."""
    place, first, second, word = RULES_KEPT[rule]
    (found,) = compare(played(place, second), played(place, first, second))
    assert found.because is None
    (found,) = compare(played(place, second, word=word), played(place, first, second, word=word))
    assert found.because is None


@pytest.mark.parametrize("rule", RULES_KEPT)
def test_a_difference_against_its_rules_order_is_not_explained(rule: str) -> None:
    """The other one holds, whatever anybody was told."""
    place, first, second, word = RULES_KEPT[rule]
    (found,) = compare(played(place, first), played(place, second, first, word=word))
    assert found.because is None


@pytest.mark.parametrize("rule", RULES_KEPT)
def test_a_difference_that_lost_the_other_value_is_not_explained(rule: str) -> None:
    """It is not beside the one that holds, not proposed, not in the history."""
    place, first, second, word = RULES_KEPT[rule]
    (found,) = compare(played(place, second), played(place, first, word=word))
    assert found.because is None


def test_what_is_proposed_is_explained_by_the_proposal() -> None:
    """It holds without the cut; with it it waits for whoever is in charge."""
    place, value = Place("case", CASE, "owner"), held(B, SAID_A, BEHIND)
    without = played(place, value)
    (found,) = compare(without, played(place, proposed=(value,), word=VerdictKind.PROPOSED))
    assert found.because is not None
    assert found.because.verdict is VerdictKind.PROPOSED
    (found,) = compare(without, played(place, proposed=(), word=VerdictKind.PROPOSED))
    assert found.because is None


def test_what_only_grows_may_not_differ_whatever_was_said() -> None:
    """A note more or less is never explained."""
    place = Place("case", CASE, "medical_note", "n")
    without, cut = played(place), played(place, word=MERGED)
    without.holding.elements.add((place, "text"))
    (missing,) = compare(without, cut)
    assert (missing.without, missing.with_, missing.because) == ("text", None, None)
    (more,) = compare(cut, without)
    assert (more.without, more.with_, more.because) == (None, "text", None)


def test_a_case_incomplete_only_with_the_cut_is_not_explained() -> None:
    """And an owner in a head differs only where the owner's field does."""
    without, cut = Played(), Played()
    for name, before, after in ((INCOMPLETE, "False", "True"), (OWNER, A, B)):
        without.holding.derived[Place("case", CASE, name)] = before
        cut.holding.derived[Place("case", CASE, name)] = after
    assert [found.because for found in compare(without, cut)] == [None, None]


def mission(*steps: tuple[int, str, OperationId]) -> Played:
    """A vehicle's steps: (mission, status, who), in the order of the log."""
    place = Place("resource", "v", "step", CASE)
    kept = [Step("v", CASE, n, held(word, by, index)) for index, (n, word, by) in enumerate(steps, 5)]
    said = [
        Said(index, step.held.operation, step.held.index, Verdict(VerdictKind.APPLIED))
        for index, step in enumerate(kept)
    ]
    last = steps[-1]
    found = Holding({Place("resource", "v", "status"): Slot((held(last[1], last[2], 9),))}, steps={place: kept})
    found.derived[Place("resource", "v", "(mission)", CASE)] = " ".join(f"{n}" for n, _, _ in steps)
    return Played(found, said)


def test_a_mission_that_began_by_the_order_of_the_log_is_listed_as_that() -> None:
    """A start that came behind an end; one that came before it began nothing, and explains nothing."""
    without = mission((1, "DECLENCHE", SAID_A), (1, "REN-BASE", SAID_B))
    found = compare(without, mission((1, "REN-BASE", SAID_B), (2, "DECLENCHE", SAID_A)))
    assert [(one.rule, one.because is not None) for one in found] == [("status", True)] * 2
    found = compare(without, mission((2, "DECLENCHE", SAID_A), (1, "REN-BASE", SAID_B), (1, "PEC", SAID_B)))
    assert [one.because for one in found] == [None] * 2


def test_what_is_no_value_may_not_differ_either() -> None:
    """A message refused only with the cut, and one that has a verdict more or less."""
    without, cut = Played(), Played(refused={2: "no"})
    assert "refused at the door" in next(iter(problems_between(without, cut)))
    one = Said(0, SAID_A, 5, Verdict(VerdictKind.APPLIED))
    problems = list(problems_between(Played(said=[one]), Played(said=[one, replace(one, turn=3)])))
    assert problems == ["message 4: 1 verdicts, without the cut 0"]


# ---- the result and the command

CLEAN = RunResult(story="s", variant="own", cut_before="m", number=1, digests_equal=True)
LISTED = Listed(
    story="s",
    variant="own",
    cut_before="m",
    number=1,
    subject="case 1",
    field="f [k]",
    rule="r",
    without=None,
    with_="x",
)


def total(*results: RunResult) -> CutsResult:
    return summary(Plan([(TREATED, AT_A)], 3), results, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lost": ("operation",)},
        {"duplicated": ("operation",)},
        {"digests_equal": False},
        {"unexplained": (LISTED,)},
        {"problems": ("something",)},
    ],
)
def test_each_thing_that_is_wrong_with_one_run_is_wrong_with_all(wrong: dict[str, object]) -> None:
    """One of two."""
    assert total(CLEAN, CLEAN).ok
    changed = msgspec.structs.replace(CLEAN, **wrong)
    assert not total(CLEAN, changed).ok
    assert last_line(total(CLEAN, changed)).endswith("NOT OK")


def test_no_run_at_all_is_not_ok() -> None:
    """Nothing was shown."""
    assert not total().ok


def test_a_run_that_is_compared_with_one_that_was_not_clean_says_so() -> None:
    """Without a cut everything has to be agreed at once, and in order."""
    without = Played(journalled=1, problems=("lost: x",), digests_equal=True)
    result = judge(TREATED, AT_A, without, Played(digests_equal=True))
    assert len(result.problems) == 2


def test_differences_are_counted_by_field_and_rule_whatever_the_key() -> None:
    """The most frequent first."""
    other = msgspec.structs.replace(LISTED, field="g")
    groups = list(by_field((other, LISTED, msgspec.structs.replace(LISTED, field="f [other]"))))
    assert [(field, rule, len(some)) for field, rule, _, some in groups] == [("case f", "r", 2), ("case g", "r", 1)]


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["cuts", *words])


def test_the_command_plays_compares_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, the figures in words and as JSON."""
    words = ("--story", "lenaprigent", "--start", "3", "--count", "1", "--variant", "own")
    assert run(arguments(*words, "--json", str(tmp_path / "cuts.json"))) == 0
    assert "ok" in capsys.readouterr().out
    found = msgspec.json.decode((tmp_path / "cuts.json").read_bytes())
    assert (found["runs"], found["messages"], found["ok"]) == (1, 11, True)
    assert (found["lost"], found["duplicated"], found["digests_equal"], found["unexplained"]) == (0, 0, True, [])


@pytest.mark.parametrize(
    "words", [("--story", "nobody"), ("--start", "99"), ("--length", "0"), ("--examples", "/nowhere")]
)
def test_wrong_options_are_exit_code_2(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """And said in a line."""
    assert run(arguments(*words)) == 2
    assert words[0] in capsys.readouterr().err or words[0] == "--examples"
