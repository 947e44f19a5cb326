"""What leaves parses back to the same facts, and keeps the published schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from replica.cases.commands import Fact, Report, Subject
from replica.hubsante.decode import read
from replica.hubsante.encode import Leaving, Outgoing, case_contents, request_contents, resource_contents
from replica.hubsante.kinds import BY_NAME, KINDS
from replica.hubsante.speakers import speakers, with_sender
from replica.hubsante.text import canonical

from .samples import message

SAMU = "fr.health.samu440"
OTHER = "fr.health.samu780"
CASE = f"{SAMU}.DRFR154402414300123"
VEHICLE = f"{SAMU}.resource.VLM4"
NOON = "2024-05-26T12:00:00+02:00"
LATER = "2024-05-26T12:05:00+02:00"
WITH_STATE = [kind for kind in KINDS if kind.name not in ("GEO-REQ", "RS-ERROR", "RS-URL", "RS-RPIS", "RC-RI")]


def spoken(data: bytes) -> Report:
    """A bare message as somebody says it."""
    outcome = read(data, default_sender=None).contents[0].outcome
    assert isinstance(outcome, Report)
    return with_sender(outcome, next(iter(speakers(outcome)), SAMU))


def leaving(subject: Subject, speaker: str) -> Leaving:
    match subject.kind:
        case "case":
            return case_contents(subject.id, subject.facts, speaker)
        case "resource":
            return resource_contents(subject.id, subject.facts, speaker, subject.case)
        case _:
            return request_contents(subject.id, subject.facts, speaker, subject.case)


def facts_of(contents: tuple[Outgoing, ...]) -> set[Fact]:
    """What contents say, read back one by one."""
    found: set[Fact] = set()
    for content in contents:
        outcome = read(content.data, default_sender=content.speaker).contents[0].outcome
        assert isinstance(outcome, Report)
        found |= {fact for subject in outcome.subjects for fact in subject.facts}
    return found


def check_round_trip(report: Report) -> tuple[Outgoing, ...]:
    """Each subject of a report leaves as contents that say its facts and nothing more."""
    contents: tuple[Outgoing, ...] = ()
    for subject in report.subjects:
        if subject.facts:
            left = leaving(subject, report.sender)
            assert left.left == ()
            assert facts_of(left.contents) == set(subject.facts)
            contents += left.contents
    return contents


@pytest.mark.parametrize("kind", WITH_STATE, ids=lambda kind: kind.name)
def test_a_message_with_every_member_leaves_as_it_came(kind: Any) -> None:
    """Every field of every type goes out again under the name it came in with."""
    contents = check_round_trip(spoken(json.dumps(message(kind)).encode()))
    assert contents


def test_a_story_leaves_as_it_came(story: Path) -> None:
    """Every message of our own stories, subject by subject."""
    for content in read(story.read_bytes(), default_sender=None).contents:
        if isinstance(content.outcome, Report):
            sender = content.outcome.sender or next(iter(speakers(content.outcome)))
            check_round_trip(with_sender(content.outcome, sender))


@pytest.mark.hub_messages
def test_an_example_leaves_as_it_came_and_keeps_its_schema(example: Path, published: dict[str, Any]) -> None:
    """Every published message with state: out again, valid under the published schemas."""
    outcome = read(example.read_bytes(), default_sender=None).contents[0].outcome
    if isinstance(outcome, Report):
        contents = check_round_trip(with_sender(outcome, next(iter(speakers(outcome)), SAMU)))
        for content in contents:
            Draft7Validator(published[content.kind]).validate(content.content[BY_NAME[content.kind].key])


CREATION = (Fact("creation", NOON), Fact("owner", SAMU))


def kinds_of(left: Leaving) -> list[tuple[str, str]]:
    return [(content.kind, content.speaker) for content in left.contents]


def test_a_case_leaves_as_its_creation() -> None:
    """What fits RS-EDA needs no second message."""
    left = case_contents(CASE, (*CREATION, Fact("priority", "P1"), Fact("status", "ACTIF", SAMU)), SAMU)
    assert kinds_of(left) == [("RS-EDA", SAMU)]
    assert left.contents[0].content["createCaseHealth"]["qualification"] == {
        "details": {"priority": "P1", "status": "ACTIF"}
    }


def test_an_incomplete_case_leaves_as_updates() -> None:
    """Without a creation there is only RS-EDA-MAJ."""
    assert kinds_of(case_contents(CASE, (Fact("priority", "P1"),), SAMU)) == [("RS-EDA-MAJ", SAMU)]


def test_each_organisation_speaks_its_own_status() -> None:
    """The status of another leaves as said by that other."""
    facts = (*CREATION, Fact("status", "ACTIF", SAMU), Fact("status", "CLOTURE", OTHER))
    left = case_contents(CASE, facts, SAMU)
    assert kinds_of(left) == [("RS-EDA", SAMU), ("RS-EDA-MAJ", OTHER)]
    assert left.left == ()


def test_what_one_message_cannot_hold_goes_into_more() -> None:
    """Three entries of the open map a message, one free text an update."""
    entries = [Fact("additional", f'{{"key":"k{at}","value":"v"}}', f"k{at}") for at in range(5)]
    texts = [Fact("freetext", text) for text in ("un", "deux")]
    left = case_contents(CASE, (*CREATION, *entries, *texts), SAMU)
    assert kinds_of(left) == [("RS-EDA", SAMU), ("RS-EDA-MAJ", SAMU), ("RS-EDA-MAJ", SAMU)]
    assert left.left == ()
    assert facts_of(left.contents) >= {*entries, *texts}


def test_what_no_message_can_say_is_named() -> None:
    """A shared case's victims need RC-EDA, which needs its place's number: nothing is dropped in silence."""
    victims = Fact("victims.count", "1")
    left = case_contents(CASE, (*CREATION, victims), SAMU)
    assert left.left == (victims,)


def test_a_vehicle_known_by_its_statuses_leaves_as_statuses() -> None:
    """Without a description there is RS-SR, one a status."""
    facts = [Fact("status", "DEPART", at_ms=60_000), Fact("status", "ARRIVEE", at_ms=120_000)]
    left = resource_contents(VEHICLE, facts, SAMU, CASE)
    assert [kind for kind, _ in kinds_of(left)] == ["RS-SR", "RS-SR"]
    assert left.left == ()


def test_a_vehicle_without_a_case_has_no_status_to_send() -> None:
    """RS-RI and RS-SR name a case; without one only position and description leave."""
    position = Fact("position", f'{{"coord":{{"lat":1,"lon":2}},"datetime":"{NOON}"}}', at_ms=1716717600000)
    status = Fact("status", "DEPART", at_ms=60_000)
    left = resource_contents(VEHICLE, (position, status), SAMU)
    assert kinds_of(left) == [("GEO-POS", SAMU)]
    assert left.left == (status,)


REQUEST = f"{SAMU}.request.1"
ASKED_MS, AGAIN_MS = 1716717600000, 1716717900000
REQUEST_FACTS = (
    Fact("details", '{"datetime":"2024-05-26T12:05:00+02:00","purpose":"TIH"}', at_ms=AGAIN_MS),
    Fact("deadline", "1H", at_ms=AGAIN_MS),
    Fact("freetext", "Jonction ?", at_ms=ASKED_MS),
    Fact("cancelled", "true"),
)


def test_what_a_later_request_left_out_leaves_with_its_own_time() -> None:
    """Asked at noon with a text, again five minutes later without: the text leaves first, in a request of noon."""
    left = request_contents(REQUEST, REQUEST_FACTS, SAMU, CASE)
    first, second = (content.content["resourcesRequest"] for content in left.contents)
    assert left.left == ()
    assert first["request"] == {
        "requestId": REQUEST,
        "datetime": "2024-05-26T10:00:00-00:00",
        "purpose": "TIH",
        "freetext": "Jonction ?",
    }
    assert (second["request"]["datetime"], second["status"]) == ("2024-05-26T12:05:00+02:00", "ANNULEE")
    assert set(REQUEST_FACTS) <= facts_of(left.contents)


def test_a_request_that_was_never_described_is_named() -> None:
    """RS-DR needs a purpose: without one nothing of it can leave, and nothing is dropped in silence."""
    facts = REQUEST_FACTS[1:]
    assert request_contents(REQUEST, facts, SAMU, CASE) == Leaving((), facts)


def test_two_geometries_of_two_times_leave_apart() -> None:
    """A sketch of another time than the point does not take over the point's, where one type can say both."""
    place = {"point": {"coord": {"lat": 1, "lon": 2, "precision": "RUE", "heading": 90}}}
    facts = (
        Fact("creation", NOON, at_ms=ASKED_MS),
        Fact("owner", SAMU),
        Fact("reference_version", "1"),
        Fact("whats_happen", '{"code":"C02.08.05","label":"Chute"}'),
        Fact("location.loc_id", "1"),
        Fact("location.country", "FR"),
        Fact("location.geometry", canonical({"datetime": NOON, **place}), at_ms=ASKED_MS),
        Fact("location.sketch", canonical({"datetime": LATER, "sketch": "s"}), at_ms=AGAIN_MS),
    )
    left = case_contents(CASE, facts, SAMU)
    assert left.left == ()
    assert facts_of(left.contents) == set(facts)


def test_an_engagement_leaves_in_the_standards_words() -> None:
    """The state's own words for an engagement are understood; one that is over is not said."""
    described = (Fact("described_at", NOON), Fact("vehicle_type", "SMUR.VLM"))
    engaged = Fact("engagement", json.dumps({"case": CASE, "mission": "M1"}))
    left = resource_contents(VEHICLE, (*described, engaged), SAMU, CASE)
    assert left.contents[0].content["resourcesInfo"]["resource"][0]["missionId"] == "M1"
    assert left.left == ()
    released = Fact("engagement", json.dumps({"case": "", "released": True}))
    assert resource_contents(VEHICLE, (*described, released), SAMU, CASE).left == ()
