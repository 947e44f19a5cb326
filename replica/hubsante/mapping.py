"""The one place where the standard's names meet ours: a line for every field, read in both directions.

decode.py reads a message along these lines into facts, encode.py writes facts along them into a message, so what leaves
parses back to the same facts by construction. A line's path is the standard's; the same path means the same in every
type that has it (the three forms of a case, the four of a resource), so there is one table a subject, not one a type.

Statuses, engagements and positions of resources are not single members of a message; subjects.py makes them.

Absent never clears: an absent member, an empty list and an empty plain text give no fact at all. So a line is as fine
as what a partner may leave out: a group of members that may each be absent is a line each, an element of a list a fact
of its own (a list that lacks it does not remove it). One value stays what is one to whoever says it: an address, a
name, a code with its label.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from replica.cases.commands import Fact
from replica.cases.fields import FIELDS
from replica.hubsante.text import canonical, number_text
from replica.hubsante.times import instant_ms

ITSELF = "."


@dataclass(frozen=True, slots=True)
class Line:
    """`field` is ours (cases/fields.py), `path` the standard's members from the outside in.

    many: the path holds a list, each element is a fact. key: the member of a value that becomes `Fact.key`. at: the
    member that holds the value's own time (`ITSELF`: the value is that time). by_speaker: `Fact.key` is the
    organisation that speaks. measure: a number in the message, a plain word in the fact. only: the value is these
    members of the object at the path, and says nothing where one of them is absent.
    """

    field: str
    path: tuple[str, ...]
    many: bool = False
    key: str = ""
    at: str = ""
    by_speaker: bool = False
    measure: bool = False
    only: tuple[str, ...] = ()


def _line(
    field: str,
    path: str,
    *,
    many: bool = False,
    key: str = "",
    at: str = "",
    by_speaker: bool = False,
    measure: bool = False,
    only: tuple[str, ...] = (),
) -> Line:
    return Line(field, tuple(path.split(".")), many, key, at, by_speaker, measure, only)


CASE = (
    _line("creation", "creation", at=ITSELF),
    _line("perimeter", "perimeter"),
    _line("intervention_type", "interventionType"),
    _line("reference_version", "referenceVersion"),
    _line("sender_case", "senderCaseId", by_speaker=True),
    _line("status", "qualification.details.status", by_speaker=True),
    _line("priority", "qualification.details.priority"),
    _line("care_level", "qualification.details.careLevel"),
    _line("owner", "owner"),
    _line("origin", "qualification.origin"),
    _line("attribution", "qualification.details.attribution"),
    _line("whats_happen", "qualification.whatsHappen"),
    _line("health_motive", "qualification.healthMotive"),
    _line("location_kind", "qualification.locationKind"),
    _line("victims.count", "qualification.victims.count"),
    _line("victims.main_victim", "qualification.victims.mainVictim"),
    _line("victims.freetext", "qualification.victims.freetext"),
    _line("risk_threat", "qualification.riskThreat", many=True, key="code"),
    _line("location.loc_id", "location.locID"),
    _line("location.loc_label", "location.locLabel"),
    _line("location.name", "location.name"),
    _line("location.external_id", "location.externalLocationId", many=True),
    _line("location.address", "location.detailedAddress"),
    _line("location.city", "location.city"),
    _line("location.country", "location.country"),
    _line("location.access.floor", "location.access.floor"),
    _line("location.access.room_number", "location.access.roomNumber"),
    _line("location.access.interphone", "location.access.interphone"),
    _line("location.access.access_code", "location.access.accessCode", many=True),
    _line("location.access.elevator", "location.access.elevator"),
    _line("location.access.building_name", "location.access.buildingName"),
    _line("location.access.entrance", "location.access.entrance"),
    _line("location.access.entity", "location.access.entity"),
    _line("location.access.phone_number", "location.access.phoneNumber"),
    _line("location.geometry", "location.geometry", at="datetime", only=("datetime", "point")),
    _line("location.sketch", "location.geometry", at="datetime", only=("datetime", "sketch")),
    _line("location.external_info", "location.externalInfo", many=True),
    _line("location.freetext", "location.freetext"),
    _line("initial_alert", "initialAlert", key="id", at="reception"),
    _line("new_alert", "newAlert", many=True, key="id", at="reception"),
    _line("medical_note", "medicalNote", many=True, key="medicalNoteId", at="creation"),
    _line("decision", "decision", many=True, at="creation"),
    _line("freetext", "freetext", many=True),
    _line("additional", "additionalInformation.customMap", many=True, key="key"),
)
PATIENT_LIST = "patient"
PATIENT_KEY = "patientId"
PATIENT = (
    _line("patient.external_id", "administrativeFile.externalId", many=True),
    _line("patient.general_practitioner", "administrativeFile.generalPractitioner"),
    _line("patient.birth_name", "identity.strictFeatures.birthName"),
    _line("patient.birth_date", "identity.strictFeatures.birthDate"),
    _line("patient.sex", "identity.strictFeatures.sex"),
    _line("patient.name", "identity.nonStrictFeatures"),
    _line("patient.weight", "detail.weight", measure=True),
    _line("patient.height", "detail.height", measure=True),
    _line("patient.age", "detail.age"),
    _line("patient.care_level", "detail.careLevel"),
    _line("patient.medical_history", "detail.medicalHistory"),
    _line("patient.treatment", "detail.treatment"),
    _line("patient.main_diagnosis", "hypothesis.mainDiagnosis"),
    _line("patient.other_diagnosis", "hypothesis.otherDiagnosis", many=True),
)
RESOURCE = (
    _line("organisation", "orgId"),
    _line("vehicle_type", "vehicleType"),
    _line("name", "name"),
    _line("center_name", "centerName"),
    _line("center_city", "centerCity"),
    _line("team.medical_level", "team.medicalLevel"),
    _line("team.name", "team.name"),
    _line("contact", "contact"),
    _line("contacts", "contacts", many=True),
    _line("described_at", "datetime", at=ITSELF),
    _line("resource_type", "resourceType"),
    _line("nature", "nature"),
    _line("mobility", "mobility"),
    _line("capacity", "capacity"),
    _line("request", "requestId"),
    _line("operation", "operationId"),
    _line("freetext", "freetext", many=True),
)
REQUEST = (
    _line("details", "request", at="datetime", only=("datetime", "purpose")),
    _line("convention", "request.convention"),
    _line("deadline", "request.deadline"),
    _line("freetext", "request.freetext"),
)
"""What a request must say each time is one value; what it may leave out are fields of their own, as old as the request
that said them."""


def member(content: Any, path: Iterable[str]) -> Any:
    """What stands at a path, or None."""
    for name in path:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def time_of(value: Any, at: str) -> int:
    """The value's own time in ms, 0 where it has none."""
    text = value if at == ITSELF else member(value, (at,))
    return (instant_ms(text) or 0) if isinstance(text, str) else 0


def value_text(value: Any, structured: bool) -> str:
    """A value as a fact holds it: canonical JSON, or the plain word."""
    if structured:
        return canonical(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else number_text(value)


def read_lines(
    subject: str, lines: Iterable[Line], content: Mapping[str, Any], *, key: str = "", speaker: str = "", at_ms: int = 0
) -> Iterator[Fact]:
    """The facts a content states along `lines`. `key`: the element they belong to (a patient); `at_ms`: the time of
    those whose line names none."""
    for line in lines:
        found = _only(member(content, line.path), line.only)
        values = found if line.many and isinstance(found, list | tuple) else (found,)
        for value in values:
            if value is not None and value not in ("", {}, [], ()):
                structured = FIELDS[subject][line.field].structured
                yield Fact(
                    line.field,
                    value_text(value, structured),
                    key or _key(line, value, speaker),
                    time_of(value, line.at) if line.at else at_ms,
                )


def _only(value: Any, names: tuple[str, ...]) -> Any:
    """`value` itself, or of an object these members; None where one is absent."""
    if not names:
        return value
    picked = {name: member(value, (name,)) for name in names}
    return None if None in picked.values() else picked


def _key(line: Line, value: Any, speaker: str) -> str:
    if line.by_speaker:
        return speaker
    return (member(value, (line.key,)) or "") if line.key else ""


def own_time(subject: str, lines: Iterable[Line], fact: Fact) -> int:
    """The time a fact's own value names, 0 for none: what reading it from a message gives as `at_ms`."""
    line = next((line for line in lines if line.field == fact.field), None)
    if line is None or not line.at:
        return 0
    structured = FIELDS[subject][fact.field].structured
    return time_of(json.loads(fact.value) if structured else fact.value, line.at)


def once(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """The facts in order, each said once."""
    return tuple(dict.fromkeys(facts))
