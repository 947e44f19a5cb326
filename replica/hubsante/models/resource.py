"""Resources on a case: RS-RI and RC-RI describe them, RS-ER names those engaged, RS-SR gives one's status."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from replica.hubsante.models.types import (
    CaseId,
    CommuneCode,
    ContactType,
    DateTime,
    MedicalLevel,
    Part,
    RequestId,
    ResourceId,
    ResourceStatus,
    SharedVehicle,
    Short,
    Vehicle,
)


class Team(Part, frozen=True):
    medical_level: MedicalLevel | None = None
    name: str | None = None


class State(Part, frozen=True):
    """A status and, where known, whether the resource is available; an absent availability means unknown."""

    datetime: DateTime
    status: ResourceStatus
    availability: bool | None = None


class ResourceContact(Part, frozen=True):
    type: ContactType | None = None
    details: str | None = None


class Resource(Part, frozen=True):
    datetime: DateTime
    resource_id: ResourceId
    vehicle_type: Vehicle
    request_id: RequestId | None = None
    mission_id: Short | None = None
    org_id: Short | None = None
    patient_id: Short | None = None
    center_name: str | None = None
    name: str | None = None
    center_city: CommuneCode | None = None
    team: Team | None = None
    state: tuple[State, ...] = ()
    contact: ResourceContact | None = None
    freetext: tuple[str, ...] = ()


class ResourcesInfo(Part, frozen=True):
    """RS-RI."""

    case_id: CaseId
    resource: Annotated[tuple[Resource, ...], Meta(min_length=1)]


class ResourceCoord(Part, frozen=True):
    lat: float
    lon: float
    height: float | None = None


class ResourcePosition(Part, frozen=True):
    datetime: DateTime
    coord: ResourceCoord
    speed: float | None = None


class SharedResource(Part, frozen=True):
    datetime: DateTime
    resource_id: ResourceId
    vehicle_type: SharedVehicle
    state: State
    request_id: RequestId | None = None
    mission_id: Short | None = None
    operation_id: Short | None = None
    org_id: Short | None = None
    center_name: str | None = None
    name: str | None = None
    center_city: CommuneCode | None = None
    team: Team | None = None
    position: ResourcePosition | None = None
    contact: ResourceContact | None = None
    freetext: tuple[str, ...] = ()


class ResourcesInfoCisu(Part, frozen=True):
    """RC-RI."""

    case_id: CaseId
    resource: Annotated[tuple[SharedResource, ...], Meta(min_length=1)]


class EngagedResource(Part, frozen=True):
    """A vehicle without an id: the standard asks for none here."""

    vehicle_type: Vehicle
    name: str | None = None
    team: Team | None = None
    freetext: tuple[str, ...] = ()


class ResourcesEngagement(Part, frozen=True):
    """RS-ER."""

    case_id: CaseId
    resource: Annotated[tuple[EngagedResource, ...], Meta(min_length=1)]


class ResourcesStatus(Part, frozen=True):
    """RS-SR."""

    case_id: CaseId
    resource_id: ResourceId
    state: State
