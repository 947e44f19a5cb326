"""RS-EDA (a case is created or described whole) and RS-EDA-MAJ (a part of it has changed), between health services.

The update's parts are the creation's, fewer: it admits no call, no address, no motive. Parts that RC-EDA has too, in
the same form, stand here and are taken over there.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from replica.hubsante.models.types import (
    Age,
    Attribution,
    BirthDate,
    CallerTrouble,
    CallerType,
    CareLevel,
    CaseId,
    CommuneCode,
    ContactChannel,
    ContactType,
    DateTime,
    DecisionType,
    DiagnosisCode,
    InterventionType,
    Language,
    LocationKindCode,
    MapSource,
    MapType,
    MotiveCode,
    NoteId,
    OrganisationId,
    Orientation,
    Origin,
    Part,
    PatientId,
    PatientIdSource,
    Perimeter,
    Phone,
    PlaceId,
    PlaceSource,
    Precision,
    Priority,
    ResourceKind,
    RiskCode,
    Role,
    Sex,
    Short,
    Status,
    WhatsHappenCode,
)


class RiskThreat(Part, frozen=True):
    code: RiskCode
    label: str


class WhatsHappen(Part, frozen=True):
    code: WhatsHappenCode
    label: str


class LocationKind(Part, frozen=True):
    code: LocationKindCode
    label: str


class HealthMotive(Part, frozen=True):
    code: MotiveCode
    label: str


class CaseDetails(Part, frozen=True):
    status: Status | None = None
    attribution: Attribution | None = None
    priority: Priority | None = None
    care_level: CareLevel | None = None


class Qualification(Part, frozen=True):
    origin: Origin | None = None
    risk_threat: tuple[RiskThreat, ...] = ()
    whats_happen: WhatsHappen | None = None
    location_kind: LocationKind | None = None
    health_motive: HealthMotive | None = None
    details: CaseDetails | None = None


class ExternalLocationId(Part, frozen=True):
    source: PlaceSource
    value: PlaceId


class Highway(Part, frozen=True):
    name: str | None = None
    pk: str | None = None
    direction: str | None = None


class WayName(Part, frozen=True):
    complete: str
    type: str | None = None
    name: str | None = None


class DetailedAddress(Part, frozen=True):
    complete: str
    highway: Highway | None = None
    number: str | None = None
    way_name: WayName | None = None


class City(Part, frozen=True):
    name: str | None = None
    insee_code: CommuneCode | None = None


class Access(Part, frozen=True):
    floor: str | None = None
    room_number: str | None = None
    interphone: str | None = None
    access_code: tuple[str, ...] = ()
    elevator: str | None = None
    building_name: str | None = None
    entrance: str | None = None
    entity: str | None = None
    phone_number: Phone | None = None


class Coord(Part, frozen=True):
    lat: float
    lon: float
    precision: Precision
    height: float | None = None


class Point(Part, frozen=True):
    coord: Coord
    is_aml: bool | None = None


class Geometry(Part, frozen=True):
    datetime: DateTime
    point: Point | None = None


class ExternalInfo(Part, frozen=True):
    freetext: MapSource
    uri: str
    type: MapType | None = None


class Location(Part, frozen=True):
    name: str | None = None
    external_location_id: tuple[ExternalLocationId, ...] = ()
    detailed_address: DetailedAddress | None = None
    city: City | None = None
    access: Access | None = None
    geometry: Geometry | None = None
    external_info: tuple[ExternalInfo, ...] = ()
    freetext: str | None = None


class AlertNote(Part, frozen=True):
    creation: DateTime | None = None
    freetext: str | None = None


class Contact(Part, frozen=True):
    channel: ContactChannel
    type: ContactType
    detail: str


class DetailedName(Part, frozen=True):
    complete: str
    last_name: str | None = None
    first_name: str | None = None


class Caller(Part, frozen=True):
    caller_contact: Contact
    callback_contact: Contact | None = None
    language: Language | None = None
    type: CallerType | None = None
    communication: CallerTrouble | None = None
    freetext: str | None = None
    detailed_name: DetailedName | None = None


class Alert(Part, frozen=True):
    reception: DateTime
    caller: Caller
    notes: tuple[AlertNote, ...] = ()


class ExternalId(Part, frozen=True):
    source: PatientIdSource
    value: str


class PersonalContact(Part, frozen=True):
    type: ContactType
    detail: str


class GeneralPractitioner(Part, frozen=True):
    detailed_name: DetailedName
    rpps_id: str | None = None
    contact: tuple[PersonalContact, ...] = ()


class AdministrativeFile(Part, frozen=True):
    external_id: tuple[ExternalId, ...] = ()
    general_practitioner: GeneralPractitioner | None = None


class StrictFeatures(Part, frozen=True):
    birth_name: str | None = None
    birth_date: BirthDate | None = None
    sex: Sex | None = None


class Identity(Part, frozen=True):
    strict_features: StrictFeatures | None = None
    non_strict_features: DetailedName | None = None


class PatientDetail(Part, frozen=True):
    weight: float | None = None
    height: float | None = None
    age: Age | None = None
    care_level: CareLevel | None = None
    medical_history: str | None = None
    treatment: str | None = None


class Diagnosis(Part, frozen=True):
    code: DiagnosisCode
    label: str


class Hypothesis(Part, frozen=True):
    main_diagnosis: Diagnosis | None = None
    other_diagnosis: tuple[Diagnosis, ...] = ()


class Patient(Part, frozen=True):
    patient_id: PatientId
    administrative_file: AdministrativeFile | None = None
    identity: Identity | None = None
    detail: PatientDetail | None = None
    hypothesis: Hypothesis | None = None


class Operator(Part, frozen=True):
    role: Role
    label: str | None = None


class MedicalNote(Part, frozen=True):
    operator: Operator
    medical_note_id: NoteId
    freetext: str
    patient_id: PatientId | None = None
    creation: DateTime | None = None


class Destination(Part, frozen=True):
    external_location_id: tuple[ExternalLocationId, ...] = ()
    freetext: str | None = None


class Decision(Part, frozen=True):
    creation: DateTime
    operator: Operator
    decision_type: DecisionType
    patient_id: Short | None = None
    resource_type: ResourceKind | None = None
    medical_transport: bool | None = None
    orientation_type: Orientation | None = None
    destination: Destination | None = None


class CustomMap(Part, frozen=True):
    key: Short
    value: str
    label: str | None = None
    freetext: str | None = None


class AdditionalInformation(Part, frozen=True):
    custom_map: Annotated[tuple[CustomMap, ...], Meta(max_length=3)] = ()


class CreateCaseHealth(Part, frozen=True):
    """RS-EDA."""

    case_id: CaseId
    creation: DateTime
    qualification: Qualification
    location: Location
    owner: OrganisationId
    sender_case_id: Short | None = None
    perimeter: Perimeter | None = None
    intervention_type: InterventionType | None = None
    initial_alert: Alert | None = None
    patient: tuple[Patient, ...] = ()
    medical_note: tuple[MedicalNote, ...] = ()
    decision: tuple[Decision, ...] = ()
    additional_information: AdditionalInformation | None = None


class UpdateDetails(Part, frozen=True):
    status: Status | None = None
    priority: Priority | None = None
    care_level: CareLevel | None = None


class UpdateQualification(Part, frozen=True):
    risk_threat: tuple[RiskThreat, ...] = ()
    details: UpdateDetails | None = None


class UpdateLocation(Part, frozen=True):
    external_info: tuple[ExternalInfo, ...] = ()


class UpdateAlert(Part, frozen=True):
    notes: tuple[AlertNote, ...] = ()


class CreateCaseHealthUpdate(Part, frozen=True):
    """RS-EDA-MAJ. Only the case is required: what is absent has not changed."""

    case_id: CaseId
    sender_case_id: Short | None = None
    perimeter: Perimeter | None = None
    qualification: UpdateQualification | None = None
    location: UpdateLocation | None = None
    initial_alert: UpdateAlert | None = None
    owner: OrganisationId | None = None
    patient: tuple[Patient, ...] = ()
    medical_note: tuple[MedicalNote, ...] = ()
    decision: tuple[Decision, ...] = ()
    freetext: str | None = None
    additional_information: AdditionalInformation | None = None
