"""The one place where the standard's names meet ours: a line for every field, read in both directions.

decode.py reads a message along these lines into facts, encode.py writes facts along them into a message, so what leaves
parses back to the same facts by construction. A line's path is the standard's; the same path means the same in every
type that has it (the three forms of a case, the four of a resource), so there is one table a subject, not one a type.

Statuses, engagements and positions of resources are not single members of a message; subjects.py makes them.

Absent never clears: an absent member, an empty list and an empty plain text give no fact at all.
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
    organisation that speaks. measure: a number in the message, a plain word in the fact.
    """

    field: str
    path: tuple[str, ...]
    many: bool = False
    key: str = ""
    at: str = ""
    by_speaker: bool = False
    measure: bool = False


def _line(
    field: str,
    path: str,
    *,
    many: bool = False,
    key: str = "",
    at: str = "",
    by_speaker: bool = False,
    measure: bool = False,
) -> Line:
    return Line(field, tuple(path.split(".")), many, key, at, by_speaker, measure)


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
    _line("victims", "qualification.victims"),
    _line("risk_threat", "qualification.riskThreat", many=True, key="code"),
    _line("location.loc_id", "location.locID"),
    _line("location.loc_label", "location.locLabel"),
    _line("location.name", "location.name"),
    _line("location.external_id", "location.externalLocationId"),
    _line("location.address", "location.detailedAddress"),
    _line("location.city", "location.city"),
    _line("location.country", "location.country"),
    _line("location.access", "location.access"),
    _line("location.geometry", "location.geometry", at="datetime"),
    _line("location.external_info", "location.externalInfo"),
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
    _line("patient.administrative_file", "administrativeFile"),
    _line("patient.identity", "identity"),
    _line("patient.weight", "detail.weight", measure=True),
    _line("patient.height", "detail.height", measure=True),
    _line("patient.age", "detail.age"),
    _line("patient.care_level", "detail.careLevel"),
    _line("patient.medical_history", "detail.medicalHistory"),
    _line("patient.treatment", "detail.treatment"),
    _line("patient.hypothesis", "hypothesis"),
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
    _line("contacts", "contacts"),
    _line("described_at", "datetime", at=ITSELF),
    _line("resource_type", "resourceType"),
    _line("nature", "nature"),
    _line("mobility", "mobility"),
    _line("capacity", "capacity"),
    _line("request", "requestId"),
    _line("operation", "operationId"),
    _line("freetext", "freetext", many=True),
)


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
    subject: str, lines: Iterable[Line], content: Mapping[str, Any], *, key: str = "", speaker: str = ""
) -> Iterator[Fact]:
    """The facts a content states along `lines`. `key` is the element they belong to (a patient)."""
    for line in lines:
        found = member(content, line.path)
        values = found if line.many and isinstance(found, list | tuple) else (found,)
        for value in values:
            if value is not None and value not in ("", {}, [], ()):
                structured = FIELDS[subject][line.field].structured
                yield Fact(
                    line.field, value_text(value, structured), key or _key(line, value, speaker), _at(line, value)
                )


def _key(line: Line, value: Any, speaker: str) -> str:
    if line.by_speaker:
        return speaker
    return (member(value, (line.key,)) or "") if line.key else ""


def _at(line: Line, value: Any) -> int:
    return time_of(value, line.at) if line.at else 0


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
