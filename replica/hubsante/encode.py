"""Out again: facts that hold → contents of the standard that parse back to the same facts.

No type can say all that a case may hold: RS-EDA admits one call and no free text, RS-EDA-MAJ no address, and an
organisation speaks its own status only. So a subject leaves as a short list of contents. Each is filled with what fits
it, read back with `decode.read`, and what it said is taken off what is left to say: that what leaves parses back is not
hoped for but how it is made. What no content can carry is returned by name (`left`), never dropped in silence.

Left out: RC-RI (its two families of vehicles say less than RS-RI does).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from msgspec.structs import replace

from replica.cases.commands import Fact, Report
from replica.cases.fields import FIELDS
from replica.errors import InvalidMessage
from replica.hubsante.check import Checker, Many, Object, Shape, shape_of
from replica.hubsante.decode import read
from replica.hubsante.kinds import BY_NAME
from replica.hubsante.mapping import CASE, PATIENT, PATIENT_KEY, PATIENT_LIST, REQUEST, RESOURCE, Line, own_time
from replica.hubsante.subjects import UNKNOWN, is_placeholder
from replica.hubsante.text import canonical
from replica.hubsante.times import date_time_text

Members: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One content to send: its type, the organisation that says it, and its members under the type's key."""

    kind: str
    speaker: str
    content: Mapping[str, Any]

    @property
    def data(self) -> bytes:
        """The content as a bare message: `{"createCaseHealth": {…}}`."""
        return canonical(self.content).encode()


@dataclass(frozen=True, slots=True)
class Leaving:
    """Contents in the order they should be sent, and the facts that no content can carry."""

    contents: tuple[Outgoing, ...]
    left: tuple[Fact, ...]


def case_contents(case: str, facts: Iterable[Fact], speaker: str) -> Leaving:
    """A case as RS-EDA (RC-EDA where it is shared with fire services) and as many RS-EDA-MAJ as the rest needs.

    facts: those that hold, all elements of the growing fields included. speaker: the organisation that sends; statuses
    and case numbers of others leave as said by them.
    """
    said = tuple(replace(fact, at_ms=own_time("case", CASE, fact)) for fact in facts)
    others = sorted({fact.key for fact in said if _line_of(CASE, fact.field).by_speaker} - {speaker, ""})
    outbox = _Outbox(said, speaker)
    outbox.say("RS-EDA", lambda left: _case_draft("RS-EDA", case, said, left, speaker))
    outbox.say("RC-EDA", lambda left: _case_draft("RC-EDA", case, said, left, speaker))
    outbox.say_all("RS-EDA-MAJ", lambda left: _case_draft("RS-EDA-MAJ", case, said, left, speaker))
    for other in others:
        outbox.speaker = other
        outbox.say_all("RS-EDA-MAJ", lambda left: _case_draft("RS-EDA-MAJ", case, said, left, outbox.speaker))
    outbox.speaker = speaker
    outbox.say_all("RS-EDA", lambda left: _case_draft("RS-EDA", case, said, left, speaker))
    outbox.say_all("RC-EDA", lambda left: _case_draft("RC-EDA", case, said, left, speaker))
    return outbox.leaving()


def resource_contents(resource: str, facts: Iterable[Fact], speaker: str, case: str = "") -> Leaving:
    """A resource as RS-RI (or, where too little is known, RS-SR a status), GEO-RES and GEO-POS.

    case: the case it is said for; empty for none, then neither RS-RI nor RS-SR can be sent.
    """
    outbox = _Outbox(tuple(_of_resource(fact) for fact in facts if not _is_released(fact)), speaker)
    if case:
        kind = "RS-ER" if is_placeholder(resource) else "RS-RI"
        outbox.say_all(kind, lambda left: _resource_list(kind, resource, case, outbox.said, left))
        outbox.say_all("RS-SR", lambda left: _resource_status(resource, case, left))
    outbox.say_all("GEO-RES", lambda left: _resource_list("GEO-RES", resource, "", outbox.said, left))
    outbox.say_all("GEO-POS", lambda left: _position(resource, left))
    return outbox.leaving()


def request_contents(request: str, facts: Iterable[Fact], speaker: str, case: str) -> Leaving:
    """A request as RS-DR and its answers as RS-RR."""
    outbox = _Outbox(tuple(replace(fact, at_ms=0) if fact.field == "cancelled" else fact for fact in facts), speaker)
    outbox.say_all("RS-DR", lambda left: _request(request, case, outbox.said, left))
    outbox.say_all("RS-RR", lambda left: _answer(request, case, left))
    return outbox.leaving()


def _is_released(fact: Fact) -> bool:
    """An engagement that is over: no message says so, its last status does."""
    return fact.field == "engagement" and bool(json.loads(fact.value).get("released"))


def _of_resource(fact: Fact) -> Fact:
    """As a message says it: times of descriptions are their own, an engagement in the standard's words."""
    if fact.field == "engagement":
        said = json.loads(fact.value)
        named = {name: said.get(name) or said.get(ours, "") for name, ours in _ENGAGEMENT.items()}
        return replace(fact, value=canonical({name: value for name, value in named.items() if value}), at_ms=0)
    if fact.field in ("status", "availability", "position"):
        return fact
    return replace(fact, at_ms=own_time("resource", RESOURCE, fact))


_ENGAGEMENT = {"caseId": "case", "missionId": "mission", "patientId": "patient"}
"""The standard's words for an engagement → those of the state."""


class _Outbox:
    """Contents so far, and what is left to say. Draws one draft after the other and keeps those that say something."""

    def __init__(self, said: tuple[Fact, ...], speaker: str) -> None:
        self.said = said
        self.speaker = speaker
        self._left = list(dict.fromkeys(said))
        self._contents: list[Outgoing] = []

    def say(self, kind: str, draft: Callable[[Sequence[Fact]], Members | None]) -> bool:
        members = draft(self._left)
        if members is None:
            return False
        content = Outgoing(kind, self.speaker, {BY_NAME[kind].key: members})
        told = _told(content)
        left = [fact for fact in self._left if fact not in told]
        if len(left) == len(self._left):
            return False
        self._left = left
        self._contents.append(content)
        return True

    def say_all(self, kind: str, draft: Callable[[Sequence[Fact]], Members | None]) -> None:
        while self.say(kind, draft):
            pass

    def leaving(self) -> Leaving:
        return Leaving(tuple(self._contents), tuple(self._left))


def _told(content: Outgoing) -> frozenset[Fact]:
    """What a content says when read back; nothing where it would be refused."""
    try:
        parsed = read(content.data, default_sender=content.speaker)
    except InvalidMessage:
        return frozenset()
    outcome = parsed.contents[0].outcome
    assert isinstance(outcome, Report), f"{content.kind} reads back as {type(outcome).__name__}"
    told = frozenset(fact for subject in outcome.subjects for fact in subject.facts)
    return told | frozenset(replace(fact, at_ms=0) for fact in told if fact.field == "engagement")


def _line_of(lines: tuple[Line, ...], field: str) -> Line:
    return next((line for line in lines if line.field == field), _NOWHERE)


_NOWHERE = Line("", ())
_REQUIRED = {
    "RS-EDA": ("creation", "owner"),
    "RC-EDA": ("creation", "reference_version", "whats_happen", "location.loc_id", "location.country"),
    "RS-EDA-MAJ": (),
    "RS-RI": ("described_at", "vehicle_type"),
    "RS-ER": ("vehicle_type",),
    "GEO-RES": ("organisation", "resource_type"),
}
"""Fields a type cannot be sent without: they are said again in every content of it."""


def _case_draft(kind: str, case: str, said: Sequence[Fact], left: Sequence[Fact], speaker: str) -> Members | None:
    members: Members = {"caseId": case}
    if kind == "RS-EDA":
        members |= {"qualification": {}, "location": {}}
    shape = shape_of(BY_NAME[kind].model)
    for fact in (*_again(kind, said), *left):
        if fact.field == "patient" or fact.field.startswith("patient."):
            _put_patient(members, shape, fact)
        else:
            line = _line_of(CASE, fact.field)
            if not line.by_speaker or fact.key == speaker:
                _put(members, shape, line, fact, "case")
    return members if _is_valid(members, shape) else None


def _again(kind: str, said: Iterable[Fact]) -> Iterator[Fact]:
    return (fact for fact in said if fact.field in _REQUIRED[kind])


def _is_valid(members: Members, shape: Object) -> bool:
    return not _problems(members, shape)


def _problems(value: Any, shape: Shape) -> bool:
    checker = Checker()
    checker.check(value, shape, "$")
    return bool(checker.places)


def _value(fact: Fact, line: Line, subject: str) -> Any:
    if FIELDS[subject][fact.field].structured or line.measure:
        return json.loads(fact.value)
    return fact.value


def _put_patient(members: Members, shape: Object, fact: Fact) -> None:
    patients = shape.members.get(PATIENT_LIST)
    if not isinstance(patients, Many) or not isinstance(patients.item, Object):
        return
    if _problems(fact.key, patients.item.members[PATIENT_KEY]):
        return
    element = next((one for one in members.get(PATIENT_LIST, ()) if one[PATIENT_KEY] == fact.key), None)
    if element is None:
        element = {PATIENT_KEY: fact.key}
        members.setdefault(PATIENT_LIST, []).append(element)
    if fact.field != "patient":
        _put(element, patients.item, _line_of(PATIENT, fact.field), fact, "case")


def _put(members: Members, shape: Object, line: Line, fact: Fact, subject: str) -> None:
    """Puts a fact's value at its line's path, if the type has that path, the value its form, and the place is free."""
    if not line.path:
        return
    *outer, last = line.path
    for name in outer:
        inner = shape.members.get(name)
        if not isinstance(inner, Object):
            return
        shape = inner
    target = shape.members.get(last)
    value = _value(fact, line, subject)
    if isinstance(target, Many) and line.many:
        if not _problems(value, target.item):
            _append(_inside(members, outer), last, value, target.most)
    elif target is not None and line.only:
        _join(_inside(members, outer), last, value, target)
    elif target is not None and not _problems(value, target):
        _inside(members, outer).setdefault(last, value)


def _inside(members: Members, outer: Iterable[str]) -> Members:
    for name in outer:
        members = members.setdefault(name, {})
    return members


def _join(members: Members, name: str, part: Members, shape: Shape) -> None:
    """Puts part of an object beside what stands there of it already, where the two do not contradict each other."""
    whole = {**part, **members.get(name, {})}
    if part.items() <= whole.items() and not _problems(whole, shape):
        members[name] = whole


def _append(members: Members, name: str, value: Any, most: int | None) -> None:
    values = members.setdefault(name, [])
    if (most is None or len(values) < most) and value not in values:
        values.append(value)


def _resource_list(kind: str, resource: str, case: str, said: Sequence[Fact], left: Sequence[Fact]) -> Members | None:
    """RS-RI, RS-ER or GEO-RES with this one resource."""
    shape = shape_of(BY_NAME[kind].model)
    listed = shape.members["resource"]
    assert isinstance(listed, Many), f"{kind} lists no resources"
    assert isinstance(listed.item, Object), f"{kind} lists something else than objects"
    element: Members = {} if kind == "RS-ER" else {"resourceId": resource}
    for fact in (*_again(kind, said), *left):
        _put(element, listed.item, _line_of(RESOURCE, fact.field), fact, "resource")
    if kind == "RS-RI":
        _put_mission(element, left)
    members: Members = {"resource": [element]}
    if case:
        members["caseId"] = case
    return members if _is_valid(members, shape) else None


def _put_mission(element: Members, left: Sequence[Fact]) -> None:
    states = [_state(fact, left) for fact in left if fact.field == "status"]
    if states:
        element["state"] = sorted(states, key=lambda state: str(state["datetime"]))
    for fact in left:
        if fact.field == "engagement":
            element |= {name: value for name, value in json.loads(fact.value).items() if name != "caseId"}


def _state(status: Fact, left: Iterable[Fact]) -> Members:
    state: Members = {"datetime": date_time_text(status.at_ms), "status": status.value}
    for fact in left:
        if fact.field == "availability" and fact.at_ms == status.at_ms and fact.value != UNKNOWN:
            state["availability"] = fact.value == "true"
    return state


def _resource_status(resource: str, case: str, left: Sequence[Fact]) -> Members | None:
    for fact in left:
        if fact.field == "status":
            return {"caseId": case, "resourceId": resource, "state": _state(fact, left)}
    return None


def _first(field: str, left: Sequence[Fact]) -> Members | None:
    """The structured value of the first fact of a field."""
    return next((json.loads(fact.value) for fact in left if fact.field == field), None)


def _position(resource: str, left: Sequence[Fact]) -> Members | None:
    position = _first("position", left)
    return {"position": [{"resourceId": resource, **position}]} if position else None


def _request(request: str, case: str, said: Sequence[Fact], left: Sequence[Fact]) -> Members | None:
    """An RS-DR with what is left to say of one time, the oldest first: what a later one left out is older than it."""
    details = next((fact for fact in said if fact.field == "details"), None)
    dated = [fact for fact in left if _line_of(REQUEST, fact.field).path]
    cancelled = any(fact.field == "cancelled" and fact.value == "true" for fact in left)
    if details is None or not (dated or cancelled):
        return None
    at_ms = min((fact.at_ms for fact in dated), default=details.at_ms)
    members: Members = {"caseId": case, "request": {"requestId": request}}
    for fact in (_details_of(details, at_ms), *dated):
        if fact.at_ms == at_ms:
            _put(members, shape_of(BY_NAME["RS-DR"].model), _line_of(REQUEST, fact.field), fact, "request")
    if cancelled and all(fact.at_ms == at_ms for fact in dated):
        members["status"] = "ANNULEE"
    return members


def _details_of(details: Fact, at_ms: int) -> Fact:
    """What every request says, as a request of that time says it."""
    if details.at_ms == at_ms:
        return details
    value = json.loads(details.value) | {"datetime": date_time_text(at_ms)}
    return replace(details, value=canonical(value), at_ms=at_ms)


def _answer(request: str, case: str, left: Sequence[Fact]) -> Members | None:
    response = _first("answer", left)
    return {"caseId": case, "requestId": request, "response": response} if response else None
