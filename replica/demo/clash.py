"""What two sites write to the same case while they cannot hear each other, as it happens in a real emergency.

Both report its priority, each another one; both engage one vehicle, each for another case; both write a note. The first
two have to end as something a person is shown, never as one side silently winning; both notes have to stay.

The vehicle is the cut-off site's own. The other side may engage it all the same, because it had asked for it, and been
given it, before the line was cut: that is mutual aid, and why the two can truly contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from replica.cases.commands import AddNote, Report

APART: Final = ("P0", "P2")
"""The severe and the mild priority; the seed decides which side says which."""
NO_CASE: Final = "fr.health.demo.1"
NO_OTHER_CASE: Final = "fr.health.demo.2"


@dataclass(frozen=True, slots=True)
class Common:
    """Two cases that both sides know of: the last ones that a message named."""

    case: str = NO_CASE
    other_case: str = NO_OTHER_CASE

    def learn(self, reports: Sequence[Report]) -> Common:
        """After reports that everybody has heard."""
        case, other = self.case, self.other_case
        for subject in (subject for report in reports for subject in report.subjects):
            named = subject.id if subject.kind == "case" else subject.case
            if named and named != case:
                case, other = named, case
        return Common(case, other)


@dataclass(frozen=True, slots=True)
class Write:
    """One write: a hub message, or a note as a command. `text` is to be found again in every store."""

    what: str
    message: bytes = b""
    note: AddNote | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Clash:
    """Who clashes about what. `coin`: whether the cut-off site reports the milder priority."""

    cut_off: str
    other: str
    common: Common
    coin: bool

    @property
    def vehicle(self) -> str:
        return f"{self.cut_off}.resource.VLM-DEMO"

    @property
    def request(self) -> str:
        return f"{self.other}.request.DEMO"

    def before(self, now: datetime) -> tuple[Write, Write]:
        """What is said while the line is whole: the other side asks for the vehicle, the cut-off one grants it."""
        at, case = _iso(now), self.common.other_case
        asked = {"requestId": self.request, "datetime": at, "purpose": "SMUR"}
        granted = {"datetime": at, "answer": "ACCEPTEE"}
        return (
            Write("asks for a vehicle", _json("resourcesRequest", case, request=asked)),
            Write("grants it", _json("resourcesResponse", case, requestId=self.request, response=granted)),
        )

    def by_cut_off(self, now: datetime) -> Iterator[Write]:
        """What the cut-off site writes; its vehicle goes to the first case."""
        yield _priority(self.common.case, APART[self.coin])
        yield self._engagement(self.common.case, now, {})
        yield note(self.common.case, self.cut_off, f"Note of {self.cut_off}, cut off")

    def by_other(self, now: datetime) -> Iterator[Write]:
        """What the other side writes meanwhile; the same vehicle, on the request granted, goes to the second case."""
        yield _priority(self.common.case, APART[not self.coin])
        yield self._engagement(self.common.other_case, now, {"requestId": self.request})
        yield note(self.common.case, self.other, f"Note of {self.other}, connected")

    def _engagement(self, case: str, now: datetime, more: dict[str, str]) -> Write:
        """An RS-RI that says the vehicle is sent to this case."""
        at = _iso(now)
        state = {"datetime": at, "status": "DECLENCHE", "availability": False}
        vehicle = {
            "resourceId": self.vehicle,
            "datetime": at,
            "vehicleType": "SMUR.VLM",
            "orgId": self.cut_off,
            "state": [state],
        }
        return Write("engages the vehicle", _json("resourcesInfo", case, resource=[vehicle | more]))


def note(case: str, site: str, text: str) -> Write:
    """A note as a person at `site` writes it: a command, so the case has to be known. No other note has this text."""
    return Write("writes a note", note=AddNote(case, note_id(site, text), text), text=text)


def note_report(case: str, site: str, text: str) -> bytes:
    """An RS-EDA-MAJ that says nothing but a note: always accepted, it opens a case nobody has heard of."""
    written = {"operator": {"role": "ARM"}, "medicalNoteId": note_id(site, text), "freetext": text}
    return _json("createCaseHealthUpdate", case, medicalNote=[written])


def note_id(site: str, text: str) -> str:
    """The id under which a site writes a note with this text."""
    return f"{site}.medicalNote.{sha256(text.encode()).hexdigest()[:16]}"


def priority_report(case: str, priority: str, remark: str = "") -> bytes:
    """An RS-EDA-MAJ that says nothing but a priority. Said again with another remark it is another message."""
    more = {"freetext": remark} if remark else {}
    return _json("createCaseHealthUpdate", case, qualification={"details": {"priority": priority}}, **more)


def _priority(case: str, priority: str) -> Write:
    return Write(f"reports priority {priority}", priority_report(case, priority))


def _json(kind: str, case: str, **members: Any) -> bytes:
    return msgspec.json.encode({kind: {"caseId": case, **members}})


def _iso(now: datetime) -> str:
    """As messages word times: to the second, with an offset."""
    return now.astimezone(UTC).isoformat(timespec="seconds")
