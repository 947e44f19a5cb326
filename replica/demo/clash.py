"""What two sites write to the same case while they cannot hear each other, as it happens in a real emergency.

Both report its priority, each another one; both report that one vehicle is engaged, each elsewhere; both write a note.
The first two have to end as something a person is shown, never as one side silently winning; both notes have to stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import msgspec

from replica.cases.commands import AddNote, Report

APART: Final = ("P0", "P2")
"""The severe and the mild priority; the seed decides which side says which."""
NO_CASE: Final = "fr.health.demo.case.1"
NO_RESOURCE: Final = "fr.health.demo.resource.1"


@dataclass(frozen=True, slots=True)
class Common:
    """What both sides know: a case, another case, and a vehicle."""

    case: str = NO_CASE
    other_case: str = f"{NO_CASE}.2"
    resource: str = NO_RESOURCE

    def learn(self, report: Report) -> Common:
        """After a report that everybody has heard: the newest case and the newest vehicle."""
        case, other, resource = self.case, self.other_case, self.resource
        for subject in report.subjects:
            named = subject.id if subject.kind == "case" else subject.case
            if named and named != case:
                case, other = named, case
            if subject.kind == "resource" and subject.id:
                resource = subject.id
        return Common(case, other, resource)


@dataclass(frozen=True, slots=True)
class Write:
    """One write: a hub message, or a note as a command. `text` is to be found again in every store."""

    what: str
    message: bytes = b""
    note: AddNote | None = None
    text: str = ""


def writes(common: Common, *, cut_off: bool, milder: bool, name: str, now: datetime) -> Iterator[Write]:
    """The writes of one side. `milder`: its priority is the less severe one; the other side's is the other.

    `name` makes its note's text its own.
    """
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    priority = APART[milder]
    case = common.case if cut_off else common.other_case
    yield Write(f"reports priority {priority}", message=priority_report(common.case, priority))
    yield Write("reports the vehicle engaged", message=engagement_report(case, common.resource, at))
    yield note(common.case, f"Note of {name}, {'cut off' if cut_off else 'connected'}")


def note(case: str, text: str) -> Write:
    """A note whose text, the caller sees to it, no other operation writes."""
    identifier = f"demo.medicalNote.{sha256(text.encode()).hexdigest()[:16]}"
    return Write("writes a note", note=AddNote(case, identifier, text), text=text)


def priority_report(case: str, priority: str) -> bytes:
    """An RS-EDA-MAJ that says nothing but a priority."""
    details = {"details": {"priority": priority}}
    return msgspec.json.encode({"createCaseHealthUpdate": {"caseId": case, "qualification": details}})


def engagement_report(case: str, resource: str, at: str) -> bytes:
    """An RS-RI that says the vehicle serves this case since `at` (ISO 8601 with its offset)."""
    vehicle = {
        "resourceId": resource,
        "datetime": at,
        "vehicleType": "SMUR.VLM",
        "orgId": ".".join(resource.split(".")[:3]),
        "state": [{"datetime": at, "status": "DECLENCHE", "availability": False}],
    }
    return msgspec.json.encode({"resourcesInfo": {"caseId": case, "resource": [vehicle]}})


def learn_all(common: Common, reports: Sequence[Report]) -> Common:
    for report in reports:
        common = common.learn(report)
    return common
