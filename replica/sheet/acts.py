"""An act from paper → the operations that enter it: commands like anybody's, or a message that creates a case.

Paper comes late. Where a later value holds already for what the act would change, entering it as a change would undo,
without a word, what somebody decided in full knowledge of what came after. So it is then entered as a note: nothing is
lost, nothing is undone, and a person reads both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    CloseCase,
    Command,
    EngageResource,
    ReleaseResource,
    ReopenCase,
    SetStatus,
    TransferCase,
)
from replica.sheet.form import Act

_json = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation to hand in, under `key`: a command, or the bytes of a message."""

    act: Act
    key: str
    command: Command | None = None
    message: bytes = b""


def entries(act: Act, later: str, organisation: str, language: str) -> Iterator[Entry]:
    """The operations of one act. `later`: a later value that holds already, empty for none."""
    if later:
        yield Entry(act, act.key, AddNote(act.case, note_id(act, organisation), instead(act, later, language)))
    elif act.what == "new-case":
        yield Entry(act, act.key, message=creation(act, organisation))
        if act.value:
            yield Entry(act, f"{act.key}/note", AddNote(act.case, note_id(act, organisation), act.value))
    else:
        yield Entry(act, act.key, command(act, organisation))


def command(act: Act, organisation: str) -> Command:
    """The command of an act that is none of `new-case`. A switch, and nothing else."""
    match act.what:
        case "note":
            return AddNote(act.case, note_id(act, organisation), act.value, act.patient)
        case "priority":
            return ChangePriority(act.case, act.value)
        case "care-level":
            return ChangeCareLevel(act.case, act.value, act.patient)
        case "status":
            return SetStatus(act.resource, act.case, act.value)
        case "engage":
            return EngageResource(act.resource, act.case)
        case "release":
            return ReleaseResource(act.resource, act.case)
        case "close":
            return CloseCase(act.case)
        case "reopen":
            return ReopenCase(act.case)
        case "transfer":
            return TransferCase(act.case, act.value)
    raise AssertionError(f"{act.what} is no command")


def note_id(act: Act, organisation: str) -> str:
    """The note's id, the same for the same act, so that even a forgotten key enters no note twice."""
    return f"{organisation}.medicalNote.{act.key.removeprefix('paper/').replace('/', '-')}"


def creation(act: Act, organisation: str) -> bytes:
    """RS-EDA for a case that was opened on paper: what is known of it, and nothing made up."""
    details = {"status": "ACTIF", "priority": act.priority, "careLevel": act.care_level}
    location: dict[str, Any] = {}
    if act.address:
        location["detailedAddress"] = {"complete": act.address}
    if act.city:
        location["city"] = {"name": act.city}
    content = {
        "caseId": act.case,
        "senderCaseId": act.case.removeprefix(f"{organisation}."),
        "creation": act.time.isoformat(timespec="seconds"),
        "owner": organisation,
        "qualification": {"details": {name: value for name, value in details.items() if value}},
        "location": location,
    }
    return _json({"createCaseHealth": content})


def instead(act: Act, later: str, language: str) -> str:
    """The note in place of a change that came too late."""
    said = " ".join(text for text in (act.what, act.resource, act.value) if text)
    at = act.time.isoformat(timespec="minutes")
    if language == "fr":
        return f"Papier, {at}, {act.author} : {said}. Non appliqué : {later} est plus récent."
    return f"Paper, {at}, {act.author}: {said}. Not applied: {later} is later."


def later_value(act: Act, case: Mapping[str, Any] | None, resource: Mapping[str, Any] | None) -> str:
    """What holds already and is later than this act, where the act would change it; empty for none.

    `case` and `resource`: as a node shows them (JSON of the views). Notes only ever add, and statuses of a resource
    are put in order of act time by their own rule.
    """
    wanted = {"close": "CLOTURE", "reopen": "ACTIF", "engage": act.case}.get(act.what, act.value)
    for field in _changed(act, case, resource):
        for value in field.get("values", ())[:1]:
            shown = _shown(value["value"])
            if _when(value) > act.act_ms and shown != wanted:
                return f"{field['field']} {shown}"
    return ""


def _changed(
    act: Act, case: Mapping[str, Any] | None, resource: Mapping[str, Any] | None
) -> Iterator[Mapping[str, Any]]:
    """The fields that an act would change."""
    wanted = {
        "priority": ("priority", ""),
        "care-level": ("patient.care_level" if act.patient else "care_level", act.patient),
        "transfer": ("owner", ""),
    }.get(act.what)
    if wanted is not None and case is not None:
        yield from (one for one in case.get("fields", ()) if (one["field"], one.get("key", "")) == wanted)
    elif act.what in ("close", "reopen") and case is not None:
        yield from (one for one in case.get("statuses", ()) if one.get("key", "") == case.get("owner"))
    elif act.what in ("engage", "release") and resource is not None:
        yield from (one for one in resource.get("fields", ()) if one["field"] == "engagement")


def _when(value: Mapping[str, Any]) -> int:
    return int(value.get("at_ms") or value.get("act_ms") or 0)


def _shown(value: str) -> str:
    try:
        said = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value
    return str(said.get("case") or said.get("caseId") or value) if isinstance(said, dict) else value
