"""A case or resource as the state shows it → what a sheet says of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from replica.cases.views import CaseView, ElementView, EngagementView, FieldView, ResourceView
from replica.sheet import told
from replica.sheet.model import CaseSheet, Clash, Engaged, Note, Patient, ResourceSheet, Said

NOTES = {"medical_note": "note", "decision": "decision", "freetext": "freetext",
         "initial_alert": "alert", "new_alert": "alert"}  # fmt: skip


def case_sheet(
    case: CaseView, vehicles: Mapping[str, ResourceView | None], unreadable: tuple[str, ...] = ()
) -> CaseSheet:
    """An open case, with the cases that turned out to be the same inside it."""
    whole = (case, *case.linked)
    return CaseSheet(
        id=case.id,
        numbers=tuple((one.key, one.value.value) for each in whole for one in _elements(each, "sender_case")),
        owner=case.owner,
        holder="" if case.charge.holder == case.charge.samu else case.charge.holder,
        epoch=case.charge.epoch,
        status=case.status,
        priority=_holder(case, "priority"),
        care_level=_holder(case, "care_level"),
        opened_ms=case.opened_ms,
        incomplete=case.incomplete,
        tentative=case.tentative,
        lines=tuple((label, text) for label, text in chain.from_iterable(map(_lines, whole)) if text),
        patients=tuple(chain.from_iterable(map(_patients, whole))),
        engaged=tuple(_engaged(one, vehicles.get(one.resource)) for one in case.engagements),
        clashes=tuple(chain.from_iterable(_clashes((*one.fields, *one.statuses)) for one in whole)),
        notes=tuple(sorted(chain.from_iterable(map(_notes, whole)), key=lambda note: note.said.when_ms)),
        documents=tuple(sorted({one.field for each in whole for one in each.documents})),
        unreadable=unreadable,
    )  # fmt: skip


def unreadable_case(case_id: str) -> CaseSheet:
    """A case of which no more than its id is known."""
    return CaseSheet(case_id, (), "", "", 0, "", None, None, 0, True, False, unreadable=("all",))


def _elements(case: CaseView, *names: str) -> list[ElementView]:
    return [one for one in case.elements if one.field in names]


def _field(case: CaseView, name: str) -> FieldView | None:
    return next((one for one in case.fields if one.field == name and not one.key), None)


def _holder(case: CaseView, name: str) -> Said | None:
    """The value that holds, of the case or of one joined to it."""
    for each in (case, *case.linked):
        found = _field(each, name)
        if found is not None and found.values:
            return told.said(found.values[0])
    return None


def _lines(case: CaseView) -> Iterator[tuple[str, str]]:
    """(label, text); empty texts are dropped by who asks."""
    alerts = [one.value.value for one in _elements(case, "initial_alert", "new_alert")]
    yield "place", told.place(case)
    yield from told.access(case)
    yield "position", told.position(case)
    yield "what", told.coded(case.value("whats_happen"))
    yield "motive", told.coded(case.value("health_motive"))
    yield "where-kind", told.coded(case.value("location_kind"))
    yield "risk", told.joined(told.coded(one.value.value) for one in _elements(case, "risk_threat"))
    victims = (case.value(f"victims.{name}") or "" for name in ("count", "main_victim", "freetext"))
    yield "victims", told.joined(victims)
    yield from (("caller", text) for text in dict.fromkeys(map(told.caller, alerts)))
    yield from (("others", f"{one.key} {one.values[0].value}") for one in case.statuses if _elsewhere(case, one))
    for request in case.requests:
        fields = {one.field: one.values[0].value for one in request.fields if one.values}
        purpose = told.member(told.members(fields.get("details", "")), "purpose")
        answer = fields.get("answer", "")
        word = told.member(told.members(answer), "answer") or answer
        yield "request", told.joined([request.id, purpose, fields.get("deadline", ""), word, _said_of(fields)], " ")
    yield "joined", told.joined(one.id for one in case.linked)


def _said_of(fields: Mapping[str, str]) -> str:
    return fields.get("freetext", "")


def _elsewhere(case: CaseView, status: FieldView) -> bool:
    return bool(status.values) and status.key != case.owner


PATIENT = (
    ("sex", "patient.sex"),
    ("born", "patient.birth_date"),
    ("age", "patient.age"),
    ("weight", "patient.weight"),
    ("care", "patient.care_level"),
    ("history", "patient.medical_history"),
    ("treatment", "patient.treatment"),
)


def _patients(case: CaseView) -> Iterator[Patient]:
    """Every patient that any field or element names."""
    named = [one.key for one in case.fields if one.field.startswith("patient.")]
    named += [one.key for one in _elements(case, "patient")]
    for patient in sorted(set(named)):
        name = told.patient_name(case.value("patient.name", patient)) or case.value("patient.birth_name", patient) or ""
        lines = [("name", name)]
        lines += [(label, case.value(field, patient) or "") for label, field in PATIENT]
        lines.append(("diagnosis", told.coded(case.value("patient.main_diagnosis", patient))))
        others = (one for one in _elements(case, "patient.other_diagnosis") if one.key == patient)
        lines += [("diagnosis", told.coded(one.value.value)) for one in others]
        yield Patient(patient, tuple((label, text) for label, text in lines if text))


def _engaged(one: EngagementView, vehicle: ResourceView | None) -> Engaged:
    last = one.steps[-1].status if one.steps else None
    tentative = any(value.tentative for value in (*one.values, *one.proposed)) or bool(last and last.tentative)
    status = one.missions[-1][1] if one.missions else ""
    return Engaged(
        one.resource,
        (vehicle.value("vehicle_type") or "") if vehicle is not None else "",
        one.state,
        status or (last.value if last else ""),
        (last.at_ms or last.act_ms) if last else 0,
        tentative,
    )


def _clashes(fields: Iterable[FieldView]) -> Iterator[Clash]:
    for one in fields:
        if one.conflict or one.proposed:
            yield Clash(
                one.field,
                one.key,
                tuple(map(told.said, one.values)),
                one.conflict,
                tuple(map(told.said, one.proposed)),
            )


def _notes(case: CaseView) -> Iterator[Note]:
    for one in case.elements:
        kind = NOTES.get(one.field)
        if kind is None:
            continue
        value = told.said(one.value)
        if kind == "alert":
            yield from (Note(kind, told.said(one.value, text)) for text in told.alert_notes(value.value) if text)
            continue
        text, who, patient = value.value, "", ""
        if kind == "note":
            text, who, patient = told.note_text(value.value)
        elif kind == "decision":
            text, who = told.decision_text(value.value)
        yield Note(kind, Said(text, who or value.author, value.when_ms, value.tentative), patient)


def resource_sheet(resource: ResourceView, damaged: bool) -> ResourceSheet:
    """A resource's line."""
    status = next((one for one in resource.fields if one.field == "status"), None)
    held = status.values[0] if status is not None and status.values else None
    available = resource.value("availability")
    return ResourceSheet(
        id=resource.id,
        vehicle=resource.value("vehicle_type") or resource.value("resource_type") or "",
        name=resource.value("name") or "",
        status=resource.status,
        status_ms=0 if held is None else held.at_ms or held.act_ms,
        available={"true": True, "false": False}.get((available or "").lower()),
        serves=resource.serves,
        owner=resource.owner,
        clashes=tuple(_clashes(resource.fields)),
        tentative=resource.tentative or any(one.tentative for each in resource.fields for one in each.values),
        unreadable=damaged,
    )


def unreadable_resource(resource_id: str) -> ResourceSheet:
    return ResourceSheet(resource_id, "", "", "", 0, None, "", "", unreadable=True)
