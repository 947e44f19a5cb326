"""Every field of a case, a resource and a request, and the rule by which two writes made apart are merged.

The table is the specification (docs/offline.md prints it): `merge.py` has one function per rule, and nothing else in
the project decides between two values. "Apart" always means: the later one's author had not seen the earlier (rule 10).

What stands here under our English name stands in the messages under the standard's own; replica/hubsante keeps the
mapping.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Rule(Enum):
    """How a field settles what was written apart. The safe side first."""

    FIRST = "first"
    """Set once. A differing value written apart is a conflict; one that saw the first is refused the same way."""
    UNION = "union"
    """Grows: an element is identified by (key, content); nothing is edited or dropped."""
    LATEST = "latest"
    """The latest by hybrid clock holds, the others go to the case's history."""
    LATEST_AT = "latest-at"
    """The latest by the value's own time (`Fact.at_ms`) holds; hybrid clock where equal."""
    MORE_SEVERE = "more-severe"
    """Apart, the more severe holds and both stay, as a conflict, until a person has decided."""
    FURTHEST = "furthest"
    """Per key (an organisation), the furthest along its vocabulary; going back takes an explicit command."""
    STATUS = "status"
    """A resource's status: history by act time, the current one is the furthest of the current mission."""
    OWNER = "owner"
    """The charge of a case. Apart: conflict, kept for a person."""
    ENGAGEMENT = "engagement"
    """Which case a resource serves. Apart: conflict "double engagement", the owner's holds meanwhile."""
    ANSWER = "answer"
    """One standing answer to a request. Apart: conflict, the latest by its own time holds meanwhile."""


@dataclass(frozen=True, slots=True)
class Field:
    """`keyed`: several values side by side, one per `Fact.key`. `group`: the state record it is kept in, so that an
    update writes only what changed. `structured`: the value is canonical JSON rather than a plain word."""

    name: str
    rule: Rule
    group: str
    keyed: bool = False
    structured: bool = False


PRIORITIES = ("P0", "P1", "P2", "P3", "NR")
"""Most severe first."""
CARE_LEVELS = ("R1", "R2", "R3", "R4")
"""Most severe first."""
CASE_STATUSES = ("PROGRAM", "ACTIF", "ACHEVE", "VALIDE", "CLOTURE", "CLASSE", "ARCHIVE")
"""In the order a case goes through them."""
RESOURCE_STATUSES = (
    "DECISION",
    "DECLENCHE",
    "DEPART",
    "ARRIVEE",
    "PEC",
    "BILAN",
    "ORIENTAT",
    "TRANSP",
    "ETAPE1",
    "TRANSP2",
    "ETAPE2",
    "TRANSP3",
    "DESTIN",
    "FINPEC",
    "RETOUR",
    "RET-BASE",
    "REN-BASE",
    "ANNULE",
)
"""In the order of a mission; ANNULE ends one before ARRIVEE."""
STARTS_MISSION = ("DECISION", "DECLENCHE")
ENDS_MISSION = ("FINPEC", "RETOUR", "RET-BASE", "REN-BASE", "ANNULE")

CASE_FIELDS = (
    Field("creation", Rule.FIRST, "core"),
    Field("perimeter", Rule.FIRST, "core"),
    Field("intervention_type", Rule.FIRST, "core"),
    Field("reference_version", Rule.LATEST, "core"),
    Field("sender_case", Rule.UNION, "core", keyed=True),
    Field("status", Rule.FURTHEST, "core", keyed=True),
    Field("priority", Rule.MORE_SEVERE, "core"),
    Field("care_level", Rule.MORE_SEVERE, "core"),
    Field("owner", Rule.OWNER, "core"),
    Field("origin", Rule.LATEST, "core"),
    Field("attribution", Rule.LATEST, "core"),
    Field("whats_happen", Rule.LATEST, "core", structured=True),
    Field("health_motive", Rule.LATEST, "core", structured=True),
    Field("location_kind", Rule.LATEST, "core", structured=True),
    Field("victims.count", Rule.LATEST, "core"),
    Field("victims.main_victim", Rule.LATEST, "core"),
    Field("victims.freetext", Rule.LATEST, "core"),
    Field("risk_threat", Rule.UNION, "core", keyed=True, structured=True),
    Field("location.loc_id", Rule.LATEST, "location"),
    Field("location.loc_label", Rule.LATEST, "location"),
    Field("location.name", Rule.LATEST, "location"),
    Field("location.external_id", Rule.UNION, "location", structured=True),
    Field("location.address", Rule.LATEST, "location", structured=True),
    Field("location.city", Rule.LATEST, "location", structured=True),
    Field("location.country", Rule.LATEST, "location"),
    Field("location.access.floor", Rule.LATEST, "location"),
    Field("location.access.room_number", Rule.LATEST, "location"),
    Field("location.access.interphone", Rule.LATEST, "location"),
    Field("location.access.access_code", Rule.UNION, "location"),
    Field("location.access.elevator", Rule.LATEST, "location"),
    Field("location.access.building_name", Rule.LATEST, "location"),
    Field("location.access.entrance", Rule.LATEST, "location"),
    Field("location.access.entity", Rule.LATEST, "location"),
    Field("location.access.phone_number", Rule.LATEST, "location"),
    Field("location.geometry", Rule.LATEST_AT, "location", structured=True),
    Field("location.sketch", Rule.LATEST_AT, "location", structured=True),
    Field("location.external_info", Rule.UNION, "location", structured=True),
    Field("location.freetext", Rule.LATEST, "location"),
    Field("initial_alert", Rule.UNION, "alerts", keyed=True, structured=True),
    Field("new_alert", Rule.UNION, "alerts", keyed=True, structured=True),
    Field("patient", Rule.UNION, "patient", keyed=True),
    Field("patient.external_id", Rule.UNION, "patient", keyed=True, structured=True),
    Field("patient.general_practitioner", Rule.LATEST, "patient", keyed=True, structured=True),
    Field("patient.birth_name", Rule.LATEST, "patient", keyed=True),
    Field("patient.birth_date", Rule.LATEST, "patient", keyed=True),
    Field("patient.sex", Rule.LATEST, "patient", keyed=True),
    Field("patient.name", Rule.LATEST, "patient", keyed=True, structured=True),
    Field("patient.weight", Rule.LATEST, "patient", keyed=True),
    Field("patient.height", Rule.LATEST, "patient", keyed=True),
    Field("patient.age", Rule.LATEST, "patient", keyed=True),
    Field("patient.care_level", Rule.MORE_SEVERE, "patient", keyed=True),
    Field("patient.medical_history", Rule.LATEST, "patient", keyed=True),
    Field("patient.treatment", Rule.LATEST, "patient", keyed=True),
    Field("patient.main_diagnosis", Rule.LATEST, "patient", keyed=True, structured=True),
    Field("patient.other_diagnosis", Rule.UNION, "patient", keyed=True, structured=True),
    Field("medical_note", Rule.UNION, "notes", keyed=True, structured=True),
    Field("decision", Rule.UNION, "decisions", structured=True),
    Field("freetext", Rule.UNION, "notes"),
    Field("additional", Rule.LATEST, "additional", keyed=True, structured=True),
)
RESOURCE_FIELDS = (
    Field("organisation", Rule.LATEST, "core"),
    Field("vehicle_type", Rule.LATEST, "core"),
    Field("name", Rule.LATEST, "core"),
    Field("center_name", Rule.LATEST, "core"),
    Field("center_city", Rule.LATEST, "core"),
    Field("team.medical_level", Rule.LATEST, "core"),
    Field("team.name", Rule.LATEST, "core"),
    Field("contact", Rule.LATEST, "core", structured=True),
    Field("contacts", Rule.UNION, "core", structured=True),
    Field("described_at", Rule.LATEST_AT, "core"),
    Field("resource_type", Rule.LATEST, "core"),
    Field("nature", Rule.LATEST, "core"),
    Field("mobility", Rule.LATEST, "core"),
    Field("capacity", Rule.LATEST, "core"),
    Field("request", Rule.LATEST, "core"),
    Field("operation", Rule.LATEST, "core"),
    Field("freetext", Rule.UNION, "core"),
    Field("availability", Rule.LATEST_AT, "status"),
    Field("status", Rule.STATUS, "status"),
    Field("engagement", Rule.ENGAGEMENT, "engagement", structured=True),
    Field("position", Rule.LATEST_AT, "position", structured=True),
)
REQUEST_FIELDS = (
    Field("details", Rule.LATEST_AT, "core", structured=True),
    Field("convention", Rule.LATEST_AT, "core"),
    Field("deadline", Rule.LATEST_AT, "core"),
    Field("freetext", Rule.LATEST_AT, "core"),
    Field("cancelled", Rule.LATEST, "core"),
    Field("answer", Rule.ANSWER, "core", structured=True),
)
FIELDS: dict[str, dict[str, Field]] = {
    "case": {field.name: field for field in CASE_FIELDS},
    "resource": {field.name: field for field in RESOURCE_FIELDS},
    "request": {field.name: field for field in REQUEST_FIELDS},
}
"""Subject kind → field name → field."""
