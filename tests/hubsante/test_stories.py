"""The project's own stories: valid messages with the faults that real input has, played into the state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from replica.cases import queries
from replica.cases.commands import Fact, Report
from replica.cases.verdicts import VerdictKind
from replica.cases.views import CaseView, EngagementView, ResourceView
from replica.hubsante.decode import read
from replica.hubsante.encode import Leaving, case_contents, resource_contents
from replica.hubsante.holding import case_facts, request_facts, resource_facts
from replica.hubsante.kinds import BY_KEY, KINDS
from replica.hubsante.subjects import UNKNOWN
from replica.hubsante.times import instant_ms
from replica.hubsante.values import Content, SetAside

from .conftest import STORIES
from .world import World

SAMU35, SAMU22 = "fr.health.samu350", "fr.health.samu220"
ORGANISATIONS = (SAMU35, SAMU22, "fr.health.samu35", "fr.fire.sdis35", "fr.fire.sdis22")


def contents_of(path: Path) -> tuple[Content, ...]:
    return read(path.read_bytes(), default_sender=None).contents


def number_of(path: Path) -> tuple[int, str, str]:
    """The order of play: the story number before `.json`, then the letter, then the name."""
    number = path.stem.rpartition(".")[2]
    digits = number.rstrip("abcdefgh")
    return int(digits), number.removeprefix(digits), path.name


def stories() -> list[list[Path]]:
    return [sorted(folder.glob("*.json"), key=number_of) for folder in sorted(STORIES.iterdir()) if folder.is_dir()]


def all_contents() -> list[Content]:
    return [content for story in stories() for path in story for content in contents_of(path)]


# --- the files ---


def test_a_story_message_is_read(story: Path) -> None:
    """Each is accepted, of the type its name says, and ends with its number in the story."""
    kinds = {content.kind for content in contents_of(story)}
    assert story.name.partition("_")[0] in kinds
    assert number_of(story)


@pytest.mark.hub_messages
def test_a_story_message_keeps_the_published_schema(story: Path, published: dict[str, Any]) -> None:
    """Contents, and envelopes where there are any."""
    message = json.loads(story.read_bytes())
    inner = [message]
    if "content" in message:
        Draft7Validator(published["EDXL-DE-envelope-only"]).validate(message)
        inner = [one["jsonContent"]["embeddedJsonContent"]["message"] for one in message["content"]]
    for one in inner:
        (key,) = (key for key in one if key in BY_KEY)
        Draft7Validator(published[BY_KEY[key].name]).validate(one[key])


def test_there_are_four_emergencies_of_ten_to_twenty_messages() -> None:
    """Each between its first call and its closing; both shapes of input occur in every one."""
    assert len(stories()) == 4
    for story in stories():
        assert 10 <= len(story) <= 20
        enveloped = ["content" in json.loads(path.read_bytes()) for path in story]
        assert any(enveloped)
        assert not all(enveloped)


def test_the_stories_use_most_types() -> None:
    """All but the query, the answer to an error, and two descriptions of vehicles that RS-RI covers."""
    used = {content.kind for content in all_contents()}
    assert {kind.name for kind in KINDS} - used == {"GEO-REQ", "GEO-RES", "RC-RI", "RS-ERROR"}


def test_the_stories_have_the_faults_of_real_input() -> None:
    """One message twice, one note id for two notes, an exercise, a message from July in February."""
    contents = all_contents()
    reports = [content.outcome for content in contents if isinstance(content.outcome, Report)]
    assert len({report.message for report in reports}) == len(reports) - 1
    notes = {
        (fact.key, fact.value)
        for report in reports
        for subject in report.subjects
        for fact in subject.facts
        if fact.field == "medical_note"
    }
    assert len({key for key, _ in notes}) == len(notes) - 2
    assert [type(content.outcome) for content in contents].count(SetAside) == 1
    late = instant_ms("2026-07-07T18:14:00+02:00")
    assert late in {content.act_ms for content in contents}


def test_an_update_overtakes_its_creation() -> None:
    """In the second story the first message is about a case that the second creates."""
    first, second = (contents_of(path)[0].outcome for path in stories()[1][:2])
    assert isinstance(first, Report)
    assert isinstance(second, Report)
    assert first.subjects[0].id == second.subjects[0].id
    assert [one.subjects[0].creates for one in (first, second)] == [False, True]


# --- played into the state ---


@pytest.fixture(scope="module")
def played() -> World:
    world = World(ORGANISATIONS)
    verdicts = [world.report(content) for content in all_contents()]
    assert VerdictKind.REFUSED not in verdicts
    assert verdicts.count(VerdictKind.DUPLICATE) == 1
    return world


def case(world: World, case_id: str) -> CaseView:
    view = queries.read_case(world.records, case_id)
    assert view is not None, case_id
    return view


def resource(world: World, resource_id: str) -> ResourceView:
    view = queries.read_resource(world.records, resource_id)
    assert view is not None, resource_id
    return view


def test_every_emergency_ends_closed(played: World) -> None:
    """Four cases, whole, none of them waiting for its creation."""
    cases = [case(played, case_id) for case_id in queries.list_cases(played.records)]
    assert len(cases) == 4
    assert [view.incomplete for view in cases] == [False] * 4
    assert [view.open for view in cases] == [False] * 4


def test_the_exercise_has_left_no_trace(played: World) -> None:
    """It would have closed the accident, made it harmless and given it away."""
    view = case(played, f"{SAMU22}.DRFR152202602070088")
    assert view.owner == SAMU22
    assert view.value("priority") != "P3"
    assert "EXERCICE" not in json.dumps([element.value.value for element in view.elements])


def test_the_transfer_has_a_new_owner(played: World) -> None:
    """RS-EDA-MAJ with an owner moves the charge of the third story's case."""
    assert case(played, f"{SAMU22}.DRFR152202603150021").owner == SAMU35


def leave(world: World, case_id: str) -> list[Leaving]:
    """A case, and each resource that was on it, as contents."""
    view = case(world, case_id)
    left = [case_contents(case_id, case_facts(view), view.owner)]
    for mission in view.engagements:
        facts = resource_facts(resource(world, mission.resource), mission)
        left.append(resource_contents(mission.resource, facts, view.owner, case_id))
    return left


def holding(view: CaseView) -> set[tuple[str, str, str]]:
    return {(fact.field, fact.key, fact.value) for fact in case_facts(view)}


def steps(mission: EngagementView) -> set[tuple[str, int]]:
    return {(step.status.value, step.status.at_ms) for step in mission.steps}


def test_a_case_and_its_resources_leave_and_come_back_the_same(played: World) -> None:
    """Out of one state, into an empty one: the same values hold, the same notes and steps are there."""
    for case_id in queries.list_cases(played.records):
        back = World(ORGANISATIONS)
        for leaving in leave(played, case_id):
            for content in leaving.contents:
                (one,) = read(content.data, default_sender=content.speaker).contents
                assert back.report(one) is not VerdictKind.REFUSED
        before, after = case(played, case_id), case(back, case_id)
        assert holding(after) == holding(before)
        there = {mission.resource: mission for mission in after.engagements}
        for mission in before.engagements:
            if "sans-id" not in mission.resource:
                assert steps(there[mission.resource]) == steps(mission)
                check_resource(resource(back, mission.resource), resource(played, mission.resource), mission)


def check_resource(after: ResourceView, before: ResourceView, mission: EngagementView) -> None:
    def described(view: ResourceView) -> set[tuple[str, str]]:
        return {(fact.field, fact.value) for fact in resource_facts(view, mission) if fact.field != "engagement"}

    assert described(after) == described(before)


def test_requests_are_facts_too(played: World) -> None:
    """The accident's request was first partly, then wholly accepted; the last answer holds."""
    (request,) = case(played, f"{SAMU22}.DRFR152202602070088").requests
    answer = next(fact for fact in request_facts(request) if fact.field == "answer")
    assert json.loads(answer.value)["answer"] == "ACCEPTEE"


def test_availability_is_never_guessed(played: World) -> None:
    """A status without a word on it leaves the availability unknown."""
    view = resource(played, "fr.fire.sis022.cta-022.resource.VSAV-PLOUER-1")
    assert Fact("availability", UNKNOWN) in {
        Fact(fact.field, fact.value) for fact in resource_facts(view) if fact.field == "availability"
    }
