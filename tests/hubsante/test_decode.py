"""What messages say, in both shapes: reports with their facts, queries, notes, and what is set aside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replica.cases.commands import Fact, Report, Subject
from replica.cases.fields import FIELDS, Rule
from replica.errors import InvalidMessage
from replica.hubsante.answer import envelope
from replica.hubsante.check import shape_of
from replica.hubsante.decode import read
from replica.hubsante.kinds import KINDS, Kind
from replica.hubsante.models.envelope import DistributionElement, Header
from replica.hubsante.speakers import speakers, with_sender
from replica.hubsante.subjects import is_placeholder
from replica.hubsante.times import instant_ms
from replica.hubsante.values import Content, Noted, Parsed, Query, SetAside

from .samples import alterations, message, mutate

SAMU = "fr.health.samu440"
OTHER = "fr.health.samu780"
CASE = f"{SAMU}.DRFR154402414300123"
VEHICLE = f"{SAMU}.resource.VLM4"
NOON = "2024-05-26T12:00:00+02:00"
INSIDE = "$.content[0].jsonContent.embeddedJsonContent.message"


def ms(text: str) -> int:
    at_ms = instant_ms(text)
    assert at_ms is not None
    return at_ms


def bare(key: str, body: dict[str, Any], sender: str | None = SAMU) -> Content:
    (content,) = read(json.dumps({key: body}).encode(), default_sender=sender).contents
    return content


def report(content: Content) -> Report:
    assert isinstance(content.outcome, Report)
    return content.outcome


def only(content: Content) -> Subject:
    (subject,) = report(content).subjects
    return subject


def enveloped(*contents: dict[str, Any], **fields: Any) -> bytes:
    given = {"distribution_id": f"{SAMU}_7f", "sender": SAMU, "recipient": OTHER, "sent_ms": ms(NOON), **fields}
    return envelope(contents, expires_ms=ms(NOON) + 86_400_000, **given)


def update(**members: Any) -> dict[str, Any]:
    return {"createCaseHealthUpdate": {"caseId": CASE, **members}}


def refused(data: bytes | dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidMessage) as problem:
        read(data if isinstance(data, bytes) else json.dumps(data).encode(), default_sender=None)
    return [place.path for place in problem.value.places]


# --- what a content says ---


def test_a_creation_says_each_field_once() -> None:
    """Plain words, canonical JSON, and the value's own time where its rule goes by it."""
    coord = {"lon": -1.0, "lat": 47.5, "precision": "RUE"}
    content = bare(
        "createCaseHealth",
        {
            "caseId": CASE,
            "senderCaseId": "DRFR154402414300123",
            "creation": NOON,
            "owner": SAMU,
            "qualification": {"details": {"priority": "P1", "status": "ACTIF"}, "origin": "15"},
            "location": {"geometry": {"datetime": NOON, "point": {"coord": coord}}},
            "patient": [{"patientId": f"{SAMU}.patient.1", "detail": {"weight": 65, "height": 176.5}}],
        },
    )
    patient = f"{SAMU}.patient.1"
    assert only(content) == Subject(
        "case",
        CASE,
        (
            Fact("creation", NOON, at_ms=ms(NOON)),
            Fact("sender_case", "DRFR154402414300123", SAMU),
            Fact("status", "ACTIF", SAMU),
            Fact("priority", "P1"),
            Fact("owner", SAMU),
            Fact("origin", "15"),
            Fact(
                "location.geometry",
                f'{{"datetime":"{NOON}","point":{{"coord":{{"lat":47.5,"lon":-1,"precision":"RUE"}}}}}}',
                at_ms=ms(NOON),
            ),
            Fact("patient", patient, patient),
            Fact("patient.weight", "65", patient),
            Fact("patient.height", "176.5", patient),
        ),
        organisation=SAMU,
        creates=True,
    )
    assert content.act_ms == ms(NOON)


def test_an_update_does_not_create() -> None:
    """RS-EDA-MAJ of a case nobody has created yet is still a report about it."""
    subject = only(bare("createCaseHealthUpdate", {"caseId": CASE, "owner": OTHER}))
    assert subject == Subject("case", CASE, (Fact("owner", OTHER),), organisation=OTHER, creates=False)


def test_absent_and_empty_clear_nothing() -> None:
    """No list, an empty list, an empty object, an empty text: no fact at all."""
    full = only(bare("createCaseHealthUpdate", {"caseId": CASE}))
    empty = {"patient": [], "medicalNote": [], "qualification": {"details": {}}, "freetext": "", "senderCaseId": ""}
    assert only(bare("createCaseHealthUpdate", {"caseId": CASE, **empty})) == full
    assert full.facts == ()


def test_two_notes_under_one_id_are_two_facts() -> None:
    """Real systems number two notes alike; both stay."""
    notes = [
        {"operator": {"role": "ARM"}, "medicalNoteId": f"{SAMU}.medicalNote.1", "freetext": text, "creation": NOON}
        for text in ("une", "deux", "une")
    ]
    facts = only(bare("createCaseHealthUpdate", {"caseId": CASE, "medicalNote": notes})).facts
    assert [json.loads(fact.value)["freetext"] for fact in facts] == ["une", "deux"]
    assert {(fact.field, fact.key, fact.at_ms) for fact in facts} == {
        ("medical_note", f"{SAMU}.medicalNote.1", ms(NOON))
    }


def resource(**members: Any) -> dict[str, Any]:
    described = {"resourceId": VEHICLE, "datetime": NOON, "vehicleType": "SMUR.VLM", "orgId": SAMU}
    return {"caseId": CASE, "resource": [{**described, **members}]}


def test_a_described_resource_is_engaged_for_its_case() -> None:
    """RS-RI: the description, every status, the availability, the engagement."""
    states = [
        {"datetime": "2024-05-26T12:01:00+02:00", "status": "DECLENCHE", "availability": False},
        {"datetime": NOON, "status": "DECISION"},
    ]
    subject = only(bare("resourcesInfo", resource(state=states, missionId="M1")))
    later = ms(NOON) + 60_000
    assert subject.facts == (
        Fact("organisation", SAMU),
        Fact("vehicle_type", "SMUR.VLM"),
        Fact("described_at", NOON, at_ms=ms(NOON)),
        Fact("status", "DECLENCHE", at_ms=later),
        Fact("status", "DECISION", at_ms=ms(NOON)),
        Fact("availability", "false", at_ms=later),
        Fact("engagement", f'{{"caseId":"{CASE}","missionId":"M1"}}', at_ms=ms(NOON)),
    )
    assert (subject.kind, subject.id, subject.organisation, subject.case) == ("resource", VEHICLE, SAMU, CASE)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ((None, None, None), ("unknown", 2)),
        ((True, None, False), ("false", 2)),
        ((True, False, None), ("false", 1)),
        ((False, None, None), ("false", 0)),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_message_says_one_availability(told: tuple[bool | None, ...], said: tuple[str, int], turned: bool) -> None:
    """That of the latest status which has a word on it, in whatever order they stand; unknown only where none has."""
    states = [
        {"datetime": f"2024-05-26T12:0{minute}:00+02:00", "status": status}
        | ({} if available is None else {"availability": available})
        for minute, (status, available) in enumerate(zip(("DECISION", "DEPART", "ARRIVEE"), told, strict=True))
    ]
    facts = only(bare("resourcesInfo", resource(state=states[::-1] if turned else states))).facts
    value, minute = said
    assert [fact for fact in facts if fact.field == "availability"] == [
        Fact("availability", value, at_ms=ms(NOON) + minute * 60_000)
    ]


def test_a_mission_that_is_over_engages_nobody() -> None:
    """An account of what was must not call a vehicle back from where it is now."""
    states = [{"datetime": NOON, "status": "DECLENCHE"}, {"datetime": NOON, "status": "REN-BASE"}]
    subject = only(bare("resourcesInfo", resource(state=states)))
    assert "engagement" not in {fact.field for fact in subject.facts}


def test_vehicles_without_an_id_get_placeholders() -> None:
    """RS-ER: the same message gives the same placeholders, another one others."""
    two = {"caseId": CASE, "resource": [{"vehicleType": "SMUR.AR"}, {"vehicleType": "SMUR.AR"}]}
    first = [subject.id for subject in report(bare("resourcesEngagement", two)).subjects]
    again = [subject.id for subject in report(bare("resourcesEngagement", two)).subjects]
    named = {"caseId": CASE, "resource": [{"vehicleType": "SMUR.AR", "name": "AR 3"}]}
    other = only(bare("resourcesEngagement", named)).id
    assert first == again
    assert len({*first, other}) == 3
    assert all(is_placeholder(identifier) for identifier in (*first, other))


def test_a_position_keeps_all_it_says() -> None:
    """GEO-POS: one value with its own time; its word for availability stays inside."""
    position = {"resourceId": VEHICLE, "datetime": NOON, "coord": {"lat": 47.5, "lon": -1.5}, "status": "DISPONIBLE"}
    (fact,) = only(bare("geoPositionsUpdate", {"position": [position]})).facts
    assert (fact.field, fact.at_ms) == ("position", ms(NOON))
    assert json.loads(fact.value) == {name: value for name, value in position.items() if name != "resourceId"}


def test_a_request_and_its_answer_are_one_subject() -> None:
    """RS-DR and RS-RR name the same request."""
    request = f"{SAMU}.request.1"
    asked = only(
        bare(
            "resourcesRequest",
            {
                "caseId": CASE,
                "status": "ANNULEE",
                "request": {"requestId": request, "datetime": NOON, "purpose": "SMUR"},
            },
        )
    )
    response = {"datetime": NOON, "answer": "REFUSEE"}
    answered = only(
        bare(
            "resourcesResponse",
            {"caseId": CASE, "requestId": request, "response": response},
        )
    )
    assert (asked.kind, asked.id) == (answered.kind, answered.id) == ("request", request)
    details = f'{{"datetime":"{NOON}","purpose":"SMUR"}}'
    assert asked.facts == (Fact("details", details, at_ms=ms(NOON)), Fact("cancelled", "true"))
    assert answered.facts == (Fact("answer", f'{{"answer":"REFUSEE","datetime":"{NOON}"}}', at_ms=ms(NOON)),)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_facts_are_what_the_table_of_fields_admits(kind: Kind) -> None:
    """Of a message with every member: the fields exist, structured values are JSON, keys stand where keys may be."""
    outcome = read(json.dumps(message(kind)).encode(), default_sender=SAMU).contents[0].outcome
    for subject in outcome.subjects if isinstance(outcome, Report) else ():
        for fact in subject.facts:
            field = FIELDS[subject.kind][fact.field]
            assert isinstance(json.loads(fact.value), dict | list) if field.structured else fact.value
            assert not fact.key or field.keyed, fact
            assert fact.at_ms or field.rule not in (Rule.LATEST_AT, Rule.STATUS), fact


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_value_of_a_message_is_read(kind: Kind) -> None:
    """Whatever single value of a message is another, what was read is another: nothing is overlooked."""
    if kind.name in ("GEO-REQ", "RS-ERROR"):
        return
    before = report(bare(kind.key, message(kind)[kind.key]))
    count = 0
    for altered in alterations(kind):
        after = report(bare(kind.key, altered.message[kind.key]))
        assert (after.subjects, after.documents) != (before.subjects, before.documents), str(altered)
        count += 1
    assert count >= 3


# --- documents, queries, notes ---


def test_a_document_is_kept_whole_with_the_case_it_names() -> None:
    """RS-URL names it by id; RS-RPIS by an organisation and that organisation's number."""
    link = {"caseId": CASE, "document": [{"url": "https://exemple.invalid/1"}]}
    content = bare("documentLink", link)
    assert only(content) == Subject("case", CASE, ())
    (document,) = report(content).documents
    assert (document.field, json.loads(document.value)) == ("RS-URL", link)


def test_a_report_of_an_intervention_names_its_case_by_number() -> None:
    """RS-RPIS carries no case id."""
    kind = next(kind for kind in KINDS if kind.name == "RS-RPIS")
    content = read(json.dumps(message(kind)).encode(), default_sender=None).contents[0]
    context = message(kind)["rpis"]["context"]
    assert only(content) == Subject("case", "", (), organisation=context["orgId"], sender_case=context["senderCaseId"])
    assert speakers(report(content)) == (context["orgId"],)


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ({"caseId": CASE, "a": [1, None]}, Subject("case", CASE, ())),
        ({"context": {"orgId": SAMU, "senderCaseId": "12"}}, Subject("case", "", (), SAMU, sender_case="12")),
    ],
)
def test_a_type_of_tomorrow_is_kept_with_its_case(body: dict[str, Any], subject: Subject) -> None:
    """A key nobody has modelled, with a case in it: the content stays, whole and unread."""
    content = bare("rapportFutur", body)
    assert (content.kind, only(content)) == ("rapportFutur", subject)
    assert [json.loads(document.value) for document in report(content).documents] == [body]


def test_a_position_request_is_a_query() -> None:
    """GEO-REQ asks; nothing is journalled."""
    assert bare("geoResourcesRequest", {"resourceId": [VEHICLE]}).outcome == Query((VEHICLE,))


def test_an_error_is_noted() -> None:
    """RS-ERROR says which message it is about."""
    error = {"errorCode": {"statusCode": 300, "statusString": "X"}, "errorCause": "y", "referencedDistributionID": "z"}
    assert bare("error", error).outcome == Noted("X: y", "z")


def test_a_technical_message_is_noted() -> None:
    """It names no case, and is no fault."""
    (content,) = read(enveloped({"technicalNoreq": {"a": 1}}), default_sender=None).contents
    assert isinstance(content.outcome, Noted)


# --- envelopes ---


def test_an_envelope_says_who_to_whom_and_when() -> None:
    """Sender and recipients are organisations without the scheme of their address."""
    parsed = read(enveloped(update(freetext="a"), update(freetext="b")), default_sender="fr.health.autre")
    assert parsed.envelope is not None
    assert parsed.envelope.sender == SAMU
    assert parsed.envelope.recipients == (OTHER,)
    assert parsed.envelope.sent_ms == ms(NOON)
    assert [report(content).sender for content in parsed.contents] == [SAMU, SAMU]
    assert [content.act_ms for content in parsed.contents] == [ms(NOON), ms(NOON)]


def test_each_content_has_its_own_key() -> None:
    """The distribution's id and the place in it; the same message again gives the same keys."""
    data = enveloped(update(freetext="a"), update(freetext="a"))
    keys = [content.message for content in read(data, default_sender=None).contents]
    assert keys == [f"{SAMU}_7f/0", f"{SAMU}_7f/1"]
    assert [content.message for content in read(data, default_sender=None).contents] == keys


def test_an_id_is_its_senders_own() -> None:
    """Two senders that both number from 1 do not swallow each other's messages."""
    first = read(enveloped(update(), distribution_id="1"), default_sender=None).contents[0].message
    second = read(enveloped(update(), distribution_id="1", sender=OTHER), default_sender=None).contents[0].message
    assert first != second


def test_a_bare_content_is_known_by_what_it_says() -> None:
    """The same content with other blanks and another order of keys is the same message; another content is not."""
    one = read(b'{"createCaseHealthUpdate":{"caseId":"%s","freetext":"a"}}' % CASE.encode(), default_sender=None)
    same = read(b'{ "createCaseHealthUpdate" : {"freetext":"a", "caseId":"%s"}}' % CASE.encode(), default_sender=None)
    other = read(b'{"createCaseHealthUpdate":{"caseId":"%s","freetext":"b"}}' % CASE.encode(), default_sender=None)
    assert key_of(one) == key_of(same)
    assert key_of(one) != key_of(other)


def key_of(parsed: Parsed) -> str:
    return report(parsed.contents[0]).message


@pytest.mark.parametrize("status", ["Exercise", "System", "Test"])
def test_what_is_not_actual_is_set_aside(status: str) -> None:
    """By the envelope; and by the header alone, where envelope and header disagree."""
    by_envelope = json.loads(enveloped(update(owner=OTHER), status=status))
    by_header = json.loads(enveloped(update(owner=OTHER)))
    by_header["content"][0]["jsonContent"]["embeddedJsonContent"]["message"]["status"] = status
    for element in (by_envelope, by_header):
        (content,) = read(json.dumps(element).encode(), default_sender=None).contents
        assert isinstance(content.outcome, SetAside)
        assert status in content.outcome.reason


def test_a_status_nobody_knows_is_refused() -> None:
    """Neither real nor an exercise: the sender has to say which."""
    element = json.loads(enveloped(update()))
    element["distributionStatus"] = "actual"
    assert refused(element) == ["$.distributionStatus"]


def test_a_cancellation_takes_nothing_back() -> None:
    """It is kept with its case for a person; a request's own ANNULEE is read."""
    (content,) = read(enveloped(update(owner=OTHER), kind="Cancel"), default_sender=None).contents
    assert only(content) == Subject("case", CASE, ())
    assert [document.field for document in report(content).documents] == ["RS-EDA-MAJ"]
    request = {"requestId": f"{SAMU}.request.1", "datetime": NOON, "purpose": "SMUR"}
    cancelled = {"resourcesRequest": {"caseId": CASE, "request": request, "status": "ANNULEE"}}
    (content,) = read(enveloped(cancelled, kind="Cancel"), default_sender=None).contents
    assert Fact("cancelled", "true") in only(content).facts


def test_one_wrong_content_refuses_the_whole_message() -> None:
    """Never half applied: the good content beside the wrong one is not read either."""
    data = enveloped(update(freetext="bon"), update(inconnu=1))
    path = "$.content[1].jsonContent.embeddedJsonContent.message.createCaseHealthUpdate.inconnu"
    assert refused(data) == [path]


def test_envelope_header_and_content_are_answered_together() -> None:
    """A fault in each: three places in one answer."""
    element = json.loads(enveloped(update(inconnu=1)))
    del element["dateTimeSent"]
    del element["content"][0]["jsonContent"]["embeddedJsonContent"]["message"]["recipient"]
    assert sorted(refused(element)) == [
        f"{INSIDE}.createCaseHealthUpdate.inconnu",
        f"{INSIDE}.recipient",
        "$.dateTimeSent",
    ]


def test_every_mutation_of_an_envelope_is_named() -> None:
    """Each member of EDXL-DE dropped, unknown, null, of another type or form."""
    element = json.loads(enveloped(update()))
    element["content"][0]["jsonContent"]["embeddedJsonContent"] = {}
    for mutation in mutate(element, shape_of(DistributionElement), ()):
        if "embeddedJsonContent" not in mutation.path and mutation.path != "$":
            assert mutation.path in refused(mutation.message), str(mutation)


def test_every_mutation_of_a_header_is_named() -> None:
    """Each member of RC-DE, inside its message."""
    element = json.loads(enveloped(update()))
    way = ("content", 0, "jsonContent", "embeddedJsonContent", "message")
    header = shape_of(Header)
    for name, member in header.members.items():
        for mutation in mutate(element, member, (*way, name)):
            assert refused(mutation.message) == [mutation.path], str(mutation)


@pytest.mark.parametrize(
    ("holder", "path"),
    [
        ({}, "$.content[0].jsonContent"),
        ({"jsonContent": {}}, "$.content[0].jsonContent.embeddedJsonContent"),
        ({"jsonContent": {"embeddedJsonContent": 1}}, "$.content[0].jsonContent.embeddedJsonContent"),
        ({"jsonContent": {"embeddedJsonContent": {}}}, INSIDE),
        ({"jsonContent": {"embeddedJsonContent": {"message": 1}}}, INSIDE),
        (1, "$.content[0]"),
    ],
)
def test_a_broken_way_to_the_message_is_named(holder: Any, path: str) -> None:
    """Wherever the nesting ends before the message."""
    element = json.loads(enveloped(update()))
    element["content"] = [holder]
    assert refused(element) == [path]


# --- for whom it speaks ---


def test_the_owner_speaks_before_the_number() -> None:
    """Ids do not tell the owner: the case of a fire service may be owned by a Samu."""
    case = "fr.fire.sis044.cga-044.SC-1"
    body = {"caseId": case, "owner": SAMU}
    assert speakers(report(bare("createCaseHealthUpdate", body, None))) == (
        SAMU,
        "fr.fire.sis044.cga-044",
        "fr.fire.sis044",
    )


def test_the_call_taker_speaks_for_a_shared_case() -> None:
    """RC-EDA names no owner."""
    kind = next(kind for kind in KINDS if kind.name == "RC-EDA")
    body = message(kind)["createCase"]
    body["initialAlert"]["callTaker"]["organization"] = OTHER
    assert speakers(report(bare("createCase", body, None)))[0] == OTHER


def test_a_sender_found_later_completes_the_report() -> None:
    """What is kept per speaking organisation gets its name, and only that."""
    body = {"caseId": CASE, "senderCaseId": "7", "qualification": {"details": {"status": "CLOTURE", "priority": "P2"}}}
    unknown = report(bare("createCaseHealthUpdate", body, None))
    assert unknown.sender == ""
    known = with_sender(unknown, OTHER)
    assert known == report(bare("createCaseHealthUpdate", body, OTHER))
    assert known == with_sender(report(bare("createCaseHealthUpdate", body, SAMU)), OTHER)
    assert {(fact.field, fact.key) for fact in known.subjects[0].facts} == {
        ("sender_case", OTHER),
        ("status", OTHER),
        ("priority", ""),
    }
