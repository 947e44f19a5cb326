"""What messages say about cases, resources and requests, as subjects: the mapping beyond one line a field.

A status comes with its own time. Of a message's statuses the latest that says so gives the availability; where none
does, it is *unknown*, a legal value and the one absence that is kept. A vehicle that RS-ER names without an id gets a
placeholder made of case, message and number; only a person links it to a real one.

A list of resources engages them for its case, except those whose latest status already ends the mission: such a list is
an account of what was, and must not engage a vehicle again that serves another case by now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from replica.cases.commands import Fact, Subject
from replica.cases.fields import ENDS_MISSION, RESOURCE_STATUSES
from replica.hubsante.mapping import (
    CASE,
    ITSELF,
    PATIENT,
    PATIENT_KEY,
    PATIENT_LIST,
    REQUEST,
    RESOURCE,
    once,
    read_lines,
    time_of,
)
from replica.hubsante.models.case import CreateCaseHealth, CreateCaseHealthUpdate
from replica.hubsante.models.geography import GeoResource, Position
from replica.hubsante.models.request import ResourcesRequest, ResourcesResponse
from replica.hubsante.models.resource import EngagedResource, Resource, ResourcesStatus, SharedResource, State
from replica.hubsante.models.shared_case import CreateCase
from replica.hubsante.models.types import Part
from replica.hubsante.text import canonical

UNKNOWN = "unknown"
"""The availability nobody has stated."""
PLACEHOLDER = "sans-id-"
"""Begins the last but one part of a placeholder's id."""


def plain(part: Part) -> dict[str, Any]:
    """A struct as the members the message would have, absent ones left out."""
    return dict(msgspec.to_builtins(part))


def case_subject(content: CreateCase | CreateCaseHealth | CreateCaseHealthUpdate, speaker: str) -> Subject:
    members = plain(content)
    facts = [*read_lines("case", CASE, members, speaker=speaker)]
    for patient in members.get(PATIENT_LIST, ()):
        key = patient[PATIENT_KEY]
        facts += [Fact("patient", key, key), *read_lines("case", PATIENT, patient, key=key)]
    return Subject(
        kind="case",
        id=content.case_id,
        facts=once(facts),
        organisation=members.get("owner", ""),
        creates=not isinstance(content, CreateCaseHealthUpdate),
    )


def described_resource(resource: Resource | SharedResource, case: str) -> Subject:
    """A resource of RS-RI or RC-RI."""
    states = resource.state if isinstance(resource, Resource) else (resource.state,)
    facts = [*read_lines("resource", RESOURCE, plain(resource))]
    facts += state_facts(states)
    if not ends_mission(states):
        facts.append(_engagement(plain(resource), case))
    if isinstance(resource, SharedResource) and resource.position is not None:
        facts.append(_position(plain(resource.position)))
    return Subject("resource", resource.resource_id, once(facts), resource.org_id or "", case, creates=True)


def state_facts(states: Sequence[State]) -> Iterator[Fact]:
    """Every status, and one availability: the latest that is said, with its own time, else unknown as of the latest
    status."""
    for state in states:
        yield Fact("status", state.status, at_ms=_state_ms(state))
    told = _latest(state for state in states if state.availability is not None) or _latest(states)
    if told is not None:
        available = UNKNOWN if told.availability is None else str(told.availability).lower()
        yield Fact("availability", available, at_ms=_state_ms(told))


def ends_mission(states: Sequence[State]) -> bool:
    """Whether the latest status ends a mission."""
    latest = _latest(states)
    return latest is not None and latest.status in ENDS_MISSION


def _latest(states: Iterable[State]) -> State | None:
    """The latest, the furthest of equal times; None of none."""
    return max(states, key=lambda state: (_state_ms(state), RESOURCE_STATUSES.index(state.status)), default=None)


def _state_ms(state: State) -> int:
    return time_of(state.datetime, ITSELF)


def _engagement(resource: Mapping[str, Any], case: str) -> Fact:
    named = {name: resource[name] for name in ("missionId", "patientId") if resource.get(name)}
    return Fact("engagement", canonical({"caseId": case, **named}), at_ms=time_of(resource, "datetime"))


def _position(position: Mapping[str, Any]) -> Fact:
    return Fact("position", canonical(position), at_ms=time_of(position, "datetime"))


def engaged_resource(resource: EngagedResource, case: str, message: str, number: int) -> Subject:
    """A vehicle of RS-ER, the `number`th (from 1) of its message."""
    facts = [*read_lines("resource", RESOURCE, plain(resource)), Fact("engagement", canonical({"caseId": case}))]
    return Subject("resource", placeholder_id(case, message, number), once(facts), case=case, creates=True)


def placeholder_id(case: str, message: str, number: int) -> str:
    """`{case}.resource.sans-id-{message}.{number}`: the same for the same message, never that of a real vehicle."""
    digest = blake2b(message.encode(), digest_size=6).hexdigest()
    return f"{case.removesuffix('.')}.resource.{PLACEHOLDER}{digest}.{number}"


def is_placeholder(resource: str) -> bool:
    return f".resource.{PLACEHOLDER}" in resource


def resource_status(content: ResourcesStatus) -> Subject:
    return Subject("resource", content.resource_id, once(state_facts((content.state,))), case=content.case_id)


def resource_position(position: Position) -> Subject:
    """A position with all that GEO-POS says beside it (heading, engine, its own word for availability).

    That word stays inside the position: positions are thinned out before they reach the log, and nothing that decides
    whether a vehicle is free may hang on a message that can be dropped.
    """
    members = {name: value for name, value in plain(position).items() if name != "resourceId"}
    return Subject("resource", position.resource_id, (_position(members),))


def geographic_resource(resource: GeoResource) -> Subject:
    facts = once(read_lines("resource", RESOURCE, plain(resource)))
    return Subject("resource", resource.resource_id, facts, resource.org_id, creates=True)


def request(content: ResourcesRequest) -> Subject:
    facts = [*read_lines("request", REQUEST, plain(content), at_ms=time_of(content.request.datetime, ITSELF))]
    if content.status is not None:
        facts.append(Fact("cancelled", "true"))
    return Subject("request", content.request.request_id, tuple(facts), case=content.case_id, creates=True)


def answer(content: ResourcesResponse) -> Subject:
    members = plain(content.response)
    fact = Fact("answer", canonical(members), at_ms=time_of(members, "datetime"))
    return Subject("request", content.request_id, (fact,), case=content.case_id)
