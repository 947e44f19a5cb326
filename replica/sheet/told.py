"""Structured values as a person reads them: addresses, callers, patients, coded words. JSON of the standard in, text
out. What is not of the expected shape is shown as the text it is: nothing is hidden for being unusual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from replica.cases.views import CaseView, ValueView
from replica.sheet.model import Said


def said(value: ValueView, text: str | None = None) -> Said:
    """A value with its author and the time it happened; its own time goes before the act's."""
    return Said(value.value if text is None else text, value.author, value.at_ms or value.act_ms, value.tentative)


def members(value: str) -> Mapping[str, Any]:
    """The members of a structured value; none where it is not an object."""
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def member(value: Any, *path: str) -> str:
    """The text at a path; empty where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return "" if value is None or isinstance(value, Mapping | list) else str(value)


def joined(parts: Iterable[str], between: str = ", ") -> str:
    """The parts that say something."""
    return between.join(part for part in parts if part)


def coded(value: str | None) -> str:
    """A coded value: its label, and the code in brackets."""
    if not value:
        return ""
    found = members(value)
    label, code = member(found, "label"), member(found, "code")
    if not found:
        return value
    return f"{label} ({code})" if label and code else label or code


def place(case: CaseView) -> str:
    """Where it is, in one line."""
    address = case.value("location.address") or ""
    city = members(case.value("location.city") or "")
    number = member(members(address), "complete") or ("" if members(address) else address)
    return joined(
        [
            case.value("location.name") or "",
            case.value("location.loc_label") or "",
            number,
            joined([member(city, "name"), member(city, "detail"), _in_brackets(member(city, "inseeCode"))], " "),
            case.value("location.freetext") or "",
        ]
    )


def _in_brackets(text: str) -> str:
    return f"({text})" if text else ""


ACCESS = ("building_name", "entrance", "floor", "room_number", "interphone", "elevator", "entity", "phone_number")


def access(case: CaseView) -> list[tuple[str, str]]:
    """How one gets in, as (label, text): building, floor, interphone, codes."""
    named = [(f"access.{name}", case.value(f"location.access.{name}") or "") for name in ACCESS]
    codes = [one.value.value for one in case.elements if one.field == "location.access.access_code"]
    return [*named, *(("access.code", code) for code in codes)]


def position(case: CaseView) -> str:
    """Latitude and longitude as they were sent."""
    point = members(case.value("location.geometry") or "").get("point")
    coord = point.get("coord") if isinstance(point, Mapping) else None
    return joined([member(coord, "lat"), member(coord, "lon"), _in_brackets(member(coord, "precision"))], " ")


def caller(alert: str) -> str:
    """Who called, and where to call back."""
    found = members(alert).get("caller")
    name = member(found, "detailedName", "complete")
    back = member(found, "callbackContact", "detail") or member(found, "callerContact", "detail")
    return joined([name, member(found, "type"), back, member(found, "freetext")])


def alert_notes(alert: str) -> list[str]:
    """What the caller said."""
    notes = members(alert).get("notes")
    return [member(note, "freetext") for note in notes] if isinstance(notes, list) else []


def note_text(value: str) -> tuple[str, str, str]:
    """(text, who wrote it, patient) of a medical note."""
    found = members(value)
    role = joined([member(found, "operator", "label"), member(found, "operator", "role").replace("INCONNU", "")], " ")
    return member(found, "freetext") or value, role, member(found, "patientId")


def decision_text(value: str) -> tuple[str, str]:
    """(what was decided as codes and text, who decided). The first word is the decision's code."""
    found = members(value)
    text = joined(
        [
            member(found, "resourceType"),
            member(found, "orientationType"),
            member(found, "destination", "freetext"),
            member(found, "freetext"),
        ]
    )
    who = joined([member(found, "operator", "label"), member(found, "operator", "role").replace("INCONNU", "")], " ")
    return joined([member(found, "decisionType"), text], " ") or value, who


def patient_name(value: str | None) -> str:
    return member(members(value or ""), "complete") or (value or "")
