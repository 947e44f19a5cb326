"""Updates are partial: what a message leaves out stays as it was. Messages in, into the state, and what holds then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replica.cases import queries
from replica.cases.commands import Report, Subject
from replica.cases.verdicts import VerdictKind
from replica.cases.views import CaseView, ResourceView
from replica.hubsante.decode import read
from replica.hubsante.encode import case_contents, request_contents
from replica.hubsante.holding import case_facts, request_facts, resource_facts
from replica.hubsante.kinds import BY_NAME
from replica.hubsante.values import Content

from .samples import message, reductions
from .world import World

SAMU = "fr.health.samu440"
CASE = f"{SAMU}.DRFR154402414300123"
VEHICLE = f"{SAMU}.resource.VLM4"
ONE, TWO = f"{SAMU}.patient.1", f"{SAMU}.patient.2"
NOON, LATER = "2023-05-26T12:00:00+02:00", "2023-05-26T12:05:00+02:00"
"""Before the world's first entry: a time later than a value was heard counts as when it was heard."""

Held = set[tuple[str, str, str]]


def content_of(told: dict[str, Any]) -> Content:
    (content,) = read(json.dumps(told).encode(), default_sender=SAMU).contents
    return content


def subjects_of(content: Content) -> tuple[Subject, ...]:
    assert isinstance(content.outcome, Report)
    return content.outcome.subjects


def held(world: World, subject: Subject) -> Held:
    """(field, key, value) of what holds; of a resource without its statuses, which are its history."""
    match subject.kind:
        case "case":
            facts = case_facts(case_of(world, subject.id))
        case "resource":
            facts = resource_facts(resource_of(world, subject.id))
        case _:
            request = queries.read_request(world.records, subject.id)
            assert request is not None
            facts = request_facts(request)
    return {(fact.field, fact.key, fact.value) for fact in facts}


def case_of(world: World, case_id: str = CASE) -> CaseView:
    view = queries.read_case(world.records, case_id)
    assert view is not None, case_id
    return view


def resource_of(world: World, resource_id: str = VEHICLE) -> ResourceView:
    view = queries.read_resource(world.records, resource_id)
    assert view is not None, resource_id
    return view


def word(world: World, field: str, patient: str = ONE) -> str:
    """The value that holds of a patient's field."""
    value = case_of(world).value(field, patient)
    assert value is not None, field
    return value


def played(*told: dict[str, Any]) -> World:
    world = World((SAMU,))
    for one in told:
        assert world.report(content_of(one)) in (VerdictKind.APPLIED, VerdictKind.MERGED, VerdictKind.SUPERSEDED), one
    return world


# --- of every member of every type ---

UNITS = {
    "RC-EDA": {"location.address", "location.city", "location.geometry", "additional"},
    "RS-EDA": {
        "location.address",
        "location.city",
        "location.geometry",
        "patient.name",
        "patient.general_practitioner",
        "additional",
    },
    "RS-EDA-MAJ": {"patient.name", "patient.general_practitioner", "additional"},
    "RS-RI": {"contact", "availability"},
    "RC-RI": {"contact", "availability", "position"},
    "RS-SR": {"availability"},
    "RS-DR": set[str](),
    "RS-RR": {"answer"},
    "GEO-POS": {"position"},
    "GEO-RES": set[str](),
}
"""The values that are said whole: an address without its number is another address. And the one absence that says
something, of an availability."""


@pytest.mark.parametrize("name", UNITS)
def test_what_a_message_leaves_out_still_holds(name: str) -> None:
    """A whole message, then the same without one member: all that held still holds, but for the values said whole."""
    kind, lost, count = BY_NAME[name], set[str](), 0
    subjects = subjects_of(content_of(message(kind)))
    for reduced in reductions(kind):
        world = played(message(kind))
        before = [held(world, subject) for subject in subjects]
        world.report(content_of(reduced.message))
        for subject, was in zip(subjects, before, strict=True):
            lost |= {field for field, _, _ in was - held(world, subject)}
        count += 1
    assert lost == UNITS[name]
    assert count >= len(UNITS[name])


# --- patients: fields of the group that has a record for each ---


def update(*patients: dict[str, Any]) -> dict[str, Any]:
    return {"createCaseHealthUpdate": {"caseId": CASE, "patient": list(patients)}}


def numbered(patient: str, *numbers: str) -> dict[str, Any]:
    return {
        "patientId": patient,
        "administrativeFile": {"externalId": [{"source": "SINUS", "value": number} for number in numbers]},
    }


def numbers_of(world: World) -> list[tuple[str, str]]:
    elements = case_of(world).elements
    return [(one.key, json.loads(one.value.value)["value"]) for one in elements if one.field == "patient.external_id"]


def test_a_list_that_lacks_an_element_does_not_remove_it() -> None:
    """Several elements under one patient's id, each kept once; in the order they were agreed, then by content."""
    world = played(
        update(numbered(ONE, "9", "5"), numbered(TWO, "1")),
        update(numbered(ONE, "7", "9")),
        update(numbered(ONE), numbered(TWO, "9", "1")),
    )
    assert numbers_of(world) == [(ONE, "5"), (ONE, "9"), (ONE, "7"), (TWO, "1"), (TWO, "9")]


def test_who_a_patient_is_becomes_known_bit_by_bit() -> None:
    """A name first, the birth date from another message, a corrected sex from a third."""
    name = {"complete": "Léna Prigent", "firstName": "Léna"}
    world = played(
        update({"patientId": ONE, "identity": {"strictFeatures": {"sex": "M"}, "nonStrictFeatures": name}}),
        update({"patientId": ONE, "identity": {"strictFeatures": {"birthDate": "1967-09-17"}}}),
        update({"patientId": ONE, "identity": {"strictFeatures": {"sex": "F", "birthName": "Le Goff"}}}),
    )
    assert json.loads(word(world, "patient.name")) == name
    assert [word(world, f"patient.{field}") for field in ("birth_date", "birth_name", "sex")] == [
        "1967-09-17",
        "Le Goff",
        "F",
    ]


def test_a_name_is_one_value() -> None:
    """Another complete name does not keep the first name of the one before."""
    world = played(
        update({"patientId": ONE, "identity": {"nonStrictFeatures": {"complete": "A B", "firstName": "A"}}}),
        update({"patientId": ONE, "identity": {"nonStrictFeatures": {"complete": "C D"}}}),
    )
    assert json.loads(word(world, "patient.name")) == {"complete": "C D"}


def test_a_main_diagnosis_changes_and_the_others_gather() -> None:
    """The coded unit is replaced whole; an update with it alone leaves the other diagnoses."""
    stroke, fall, pain = (
        {"code": code, "label": label} for code, label in (("I64", "a"), ("S06.9", "b"), ("R07", "c"))
    )
    world = played(
        update({"patientId": ONE, "hypothesis": {"mainDiagnosis": stroke, "otherDiagnosis": [fall]}}),
        update({"patientId": ONE, "hypothesis": {"mainDiagnosis": pain}}),
        update({"patientId": ONE, "hypothesis": {"otherDiagnosis": [stroke]}}),
    )
    elements = case_of(world).elements
    others = [json.loads(one.value.value) for one in elements if one.field == "patient.other_diagnosis"]
    assert json.loads(word(world, "patient.main_diagnosis")) == pain
    assert others == [fall, stroke]


def test_a_patient_told_in_bits_leaves_whole() -> None:
    """All of it fits one message again, under the standard's own names."""
    world = played(
        update(numbered(ONE, "9"), numbered(TWO, "1")),
        update(numbered(ONE, "7"), {"patientId": TWO, "identity": {"strictFeatures": {"sex": "F"}}}),
    )
    left = case_contents(CASE, case_facts(case_of(world)), SAMU)
    assert left.left == ()
    (content,) = left.contents
    both = {one["patientId"]: one for one in content.content["createCaseHealthUpdate"]["patient"]}
    assert both == {
        ONE: numbered(ONE, "9", "7"),
        TWO: numbered(TWO, "1") | {"identity": {"strictFeatures": {"sex": "F"}}},
    }


# --- requests, resources ---


def asked(datetime: str, status: str = "", **members: str) -> dict[str, Any]:
    request = {"requestId": f"{SAMU}.request.1", "datetime": datetime, "purpose": "TIH", **members}
    return {"resourcesRequest": {"caseId": CASE, "request": request} | ({"status": status} if status else {})}


def test_a_cancellation_keeps_what_was_asked() -> None:
    """RS-DR sent again with ANNULEE and no text: the text still stands, and leaves again."""
    world = played(asked(NOON, freetext="Jonction ?", deadline="1H"), asked(LATER, "ANNULEE", deadline="2H"))
    (request,) = case_of(world).requests
    facts = request_facts(request)
    assert {fact.field: fact.value for fact in facts if fact.field != "details"} == {
        "cancelled": "true",
        "deadline": "2H",
        "freetext": "Jonction ?",
    }
    assert request_contents(request.id, facts, SAMU, CASE).left == ()


def test_a_request_overtaken_by_a_later_one_changes_nothing_of_it() -> None:
    """Each member goes by the time of the request that said it, in whatever order they arrive."""
    one, two = asked(NOON, deadline="1H", convention="HORS"), asked(LATER, deadline="2H")
    in_order, turned = (case_of(played(*told)).requests[0] for told in ((one, two), (two, one)))
    assert {(fact.field, fact.value) for fact in request_facts(in_order)} == {
        (fact.field, fact.value) for fact in request_facts(turned)
    }


def test_a_resources_own_states_do_not_contradict_each_other() -> None:
    """RS-RI with two statuses, the availability said with the earlier: nothing of it is superseded."""
    states = [{"datetime": LATER, "status": "DEPART"}, {"datetime": NOON, "status": "DECISION", "availability": False}]
    described = {"datetime": NOON, "resourceId": VEHICLE, "vehicleType": "SMUR.VLM", "orgId": SAMU, "state": states}
    content = content_of({"resourcesInfo": {"caseId": CASE, "resource": [described]}})
    world = World((SAMU,))
    assert isinstance(content.outcome, Report)
    (decided,) = world.apply(content.outcome).decided
    assert VerdictKind.SUPERSEDED not in [finding.kind for finding in decided.verdict.findings]
    assert resource_of(world).value("availability") == "false"


def test_a_vehicles_contacts_gather() -> None:
    """GEO-RES without the first number: both are known."""

    def told(number: str) -> dict[str, Any]:
        contact = {"type": "PHNADD", "details": number}
        described = {"resourceId": VEHICLE, "orgId": SAMU, "resourceType": "SMUR", "contacts": [contact]}
        return {"geoResourcesDetails": {"resource": [described]}}

    elements = resource_of(played(told("2"), told("1"))).elements
    assert [json.loads(one.value.value)["details"] for one in elements if one.field == "contacts"] == ["2", "1"]
