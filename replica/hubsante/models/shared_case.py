"""RC-EDA: the case as health and fire services share it. Another call: it is sent again, whole, with a further alert.

It knows no owner, patient, note or decision; an alert carries its own place and qualification.
"""

from __future__ import annotations

from msgspec import field

from replica.hubsante.models.case import (
    Access,
    AdditionalInformation,
    AlertNote,
    Caller,
    Contact,
    ExternalLocationId,
    HealthMotive,
    LocationKind,
    RiskThreat,
    WayName,
    WhatsHappen,
)
from replica.hubsante.models.types import (
    AlertReporting,
    CaseId,
    CommuneCode,
    Country,
    DateTime,
    MainVictim,
    MapSource,
    MapType,
    Part,
    Precision,
    Short,
    VictimCount,
)


class Victims(Part, frozen=True):
    count: VictimCount | None = None
    main_victim: MainVictim | None = None
    freetext: str | None = None


class SharedQualification(Part, frozen=True):
    whats_happen: WhatsHappen
    risk_threat: tuple[RiskThreat, ...] = ()
    location_kind: LocationKind | None = None
    health_motive: HealthMotive | None = None
    victims: Victims | None = None


class SharedAddress(Part, frozen=True):
    complete: str
    number: str | None = None
    way_name: WayName | None = None


class SharedCity(Part, frozen=True):
    name: str | None = None
    insee_code: CommuneCode | None = None
    detail: str | None = None


class SharedCoord(Part, frozen=True):
    lat: float
    lon: float
    precision: Precision
    height: float | None = None
    heading: float | None = None
    speed: float | None = None


class SharedPoint(Part, frozen=True):
    coord: SharedCoord


class SharedGeometry(Part, frozen=True):
    datetime: DateTime
    point: SharedPoint | None = None
    sketch: str | None = None


class SharedInfo(Part, frozen=True):
    freetext: MapSource
    type: MapType
    uri: str


class SharedLocation(Part, frozen=True):
    loc_id: str = field(name="locID")
    country: Country
    loc_label: str | None = None
    name: str | None = None
    external_location_id: tuple[ExternalLocationId, ...] = ()
    detailed_address: SharedAddress | None = None
    city: SharedCity | None = None
    access: Access | None = None
    geometry: SharedGeometry | None = None
    external_info: tuple[SharedInfo, ...] = ()
    freetext: str | None = None


class CallTaker(Part, frozen=True):
    organization: str
    control_room: str
    role: str | None = None
    calltaker_contact: Contact | None = None
    calltaker_id: str | None = None


class Attachment(Part, frozen=True):
    uri: str = field(name="URI")
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    deref_uri: str | None = field(name="derefURI", default=None)
    digest: str | None = None


class SharedAlert(Part, frozen=True):
    id: Short
    reception: DateTime
    reporting: AlertReporting
    caller: Caller
    location: SharedLocation
    qualification: SharedQualification
    call_taker: CallTaker
    notes: tuple[AlertNote, ...] = ()
    attachment: tuple[Attachment, ...] = ()


class CreateCase(Part, frozen=True):
    """RC-EDA."""

    case_id: CaseId
    creation: DateTime
    reference_version: str
    qualification: SharedQualification
    location: SharedLocation
    sender_case_id: Short | None = None
    initial_alert: SharedAlert | None = None
    new_alert: tuple[SharedAlert, ...] = ()
    freetext: tuple[str, ...] = ()
    additional_information: AdditionalInformation | None = None
