"""GEO-POS: where resources are; GEO-RES: what they are; GEO-REQ: asks for both."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from replica.hubsante.models.resource import ResourceCoord
from replica.hubsante.models.types import (
    Capacity,
    DateTime,
    EngagedStatus,
    GeoContactType,
    GeoResourceType,
    Mobility,
    Move,
    Nature,
    Part,
    PositionStatus,
    ResourceId,
    Short,
)


class Position(Part, frozen=True):
    resource_id: ResourceId
    datetime: DateTime
    coord: ResourceCoord
    speed: float | None = None
    cap: float | None = None
    move: Move | None = None
    engine_on: bool | None = None
    ground_status: bool | None = None
    status: PositionStatus | None = None
    engaged_status: EngagedStatus | None = None


class GeoPositionsUpdate(Part, frozen=True):
    """GEO-POS."""

    position: Annotated[tuple[Position, ...], Meta(min_length=1)]


class GeoContact(Part, frozen=True):
    type: GeoContactType | None = None
    details: str | None = None


class GeoResource(Part, frozen=True):
    resource_id: ResourceId
    org_id: Short
    resource_type: GeoResourceType
    name: str | None = None
    nature: Nature | None = None
    mobility: Mobility | None = None
    capacity: Capacity | None = None
    contacts: tuple[GeoContact, ...] = ()


class GeoResourcesDetails(Part, frozen=True):
    """GEO-RES."""

    resource: tuple[GeoResource, ...] = ()


class GeoResourcesRequest(Part, frozen=True):
    """GEO-REQ."""

    resource_id: Annotated[tuple[ResourceId, ...], Meta(min_length=1)]
