"""Messages kept with their case, whole and unread: RS-URL (a link to a document), RS-RPIS (the report of a SMUR)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from replica.hubsante.models.case import HealthMotive, WhatsHappen
from replica.hubsante.models.types import (
    CaseId,
    CommuneCode,
    Country,
    DateTime,
    LocationKindCode,
    MedicalLevel,
    Part,
    PatientId,
    ReporterId,
    ResourceKind,
    Sex,
    Short,
    Vehicle,
)


class Document(Part, frozen=True):
    url: str
    document_type: str | None = None


class DocumentLink(Part, frozen=True):
    """RS-URL."""

    case_id: CaseId
    document: Annotated[tuple[Document, ...], Meta(min_length=1)]
    patient_id: PatientId | None = None
    code: str | None = None


class Context(Part, frozen=True):
    """Names its case by the organisation and that organisation's own number; there is no caseId."""

    org_id: ReporterId
    sender_case_id: Short
    creation_date: DateTime
    decision_date: DateTime
    ressource_finess_legal: str
    ressource_finess_geo: str
    ressource_structure: str


class Regulation(Part, frozen=True):
    whats_happen: WhatsHappen
    health_motive: HealthMotive
    medical_level: MedicalLevel


class Residence(Part, frozen=True):
    insee_code: CommuneCode
    city: str


class ReportedPatient(Part, frozen=True):
    patient_id: str
    birth_date: str
    sex: Sex
    residential_address: Residence | None = None


class InterventionPlace(Part, frozen=True):
    detailed_address: Residence
    type: LocationKindCode | None = None
    finess_geo: str | None = None
    service: str | None = None


class Crew(Part, frozen=True):
    doctor: bool
    nurse: bool
    driver: bool


class SmurStatus(Part, frozen=True):
    depart_smur: DateTime
    team_available: DateTime
    return_smur: DateTime
    arrived_smur: DateTime | None = None
    depart_location: DateTime | None = None
    arrived_destination: DateTime | None = None


class Intervention(Part, frozen=True):
    location: InterventionPlace
    team: Crew
    main_diagnosis: str
    smur_status: SmurStatus | None = None
    procedure: tuple[str, ...] = ()
    associated_diagnosis: str | None = None


class ReportedDestination(Part, frozen=True):
    destination_country: Country
    destination_category: str
    healthcare_type: str
    finess: str


class ReportedDecision(Part, frozen=True):
    resource_type: ResourceKind
    vehicle_type: Vehicle
    medical_level: MedicalLevel


class ReportedOrientation(Part, frozen=True):
    type: str
    destination: ReportedDestination | None = None
    decision: ReportedDecision | None = None


class Rpis(Part, frozen=True):
    """RS-RPIS."""

    context: Context
    regulation: Regulation
    patient: ReportedPatient
    intervention: Intervention
    orientation: ReportedOrientation
