"""Forms of text as types: what a member of a message may hold, for the structs beside this file.

`Part` is what every object of the standard shares: no unknown members, names in camelCase. `Free` is an object whose
members the standard leaves open.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from replica.cases.fields import CARE_LEVELS, CASE_STATUSES, PRIORITIES, RESOURCE_STATUSES
from replica.hubsante import formats, vocabulary
from replica.hubsante.formats import Format, one_of


class Part(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """An object of the standard. A member without default is required; an absent list is an empty one."""


def _form(form: Format) -> Meta:
    return Meta(extra={"format": form})


def _code(values: tuple[str, ...]) -> Meta:
    return _form(one_of(values))


Free: TypeAlias = dict[str, Any]
Unseen: TypeAlias = Any
"""A member that is checked by whoever reads it on."""

CaseId = Annotated[str, _form(formats.CASE_ID)]
OrganisationId = Annotated[str, _form(formats.ORGANISATION_ID)]
ReporterId = Annotated[str, _form(formats.CASE_ID)]
"""An organisation in the form RS-RPIS gives it: one part more is allowed there."""
ResourceId = Annotated[str, _form(formats.RESOURCE_ID)]
RequestId = Annotated[str, _form(formats.REQUEST_ID)]
PatientId = Annotated[str, _form(formats.PATIENT_ID)]
NoteId = Annotated[str, _form(formats.NOTE_ID)]
Short = Annotated[str, _form(formats.SHORT)]
Key = Annotated[str, _form(formats.KEY)]
DateTime = Annotated[str, _form(formats.DATE_TIME)]
Expiry = Annotated[str, _form(formats.EXPIRY)]
BirthDate = Annotated[str, _form(formats.BIRTH_DATE)]
Age = Annotated[str, _form(formats.AGE)]
Phone = Annotated[str, _form(formats.PHONE)]
CommuneCode = Annotated[str, _form(formats.COMMUNE_CODE)]
PlaceId = Annotated[str, _form(formats.PLACE_ID)]
WhatsHappenCode = Annotated[str, _form(formats.WHATS_HAPPEN_CODE)]
LocationKindCode = Annotated[str, _form(formats.LOCATION_KIND_CODE)]
MotiveCode = Annotated[str, _form(formats.MOTIVE_CODE)]
RiskCode = Annotated[str, _form(formats.RISK_CODE)]
DiagnosisCode = Annotated[str, _form(formats.DIAGNOSIS_CODE)]

Status = Annotated[str, _code(CASE_STATUSES)]
Priority = Annotated[str, _code(PRIORITIES)]
CareLevel = Annotated[str, _code(CARE_LEVELS)]
ResourceStatus = Annotated[str, _code(RESOURCE_STATUSES)]
Cancelled = Annotated[str, _code(("ANNULEE",))]
Language = Annotated[str, _code(vocabulary.LANGUAGES)]
Country = Annotated[str, _code(vocabulary.COUNTRIES)]
CallerType = Annotated[str, _code(vocabulary.CALLER_TYPES)]
CallerTrouble = Annotated[str, _code(vocabulary.CALLER_TROUBLES)]
ContactChannel = Annotated[str, _code(vocabulary.CONTACT_CHANNELS)]
ContactType = Annotated[str, _code(vocabulary.CONTACT_TYPES)]
Origin = Annotated[str, _code(vocabulary.ORIGINS)]
Attribution = Annotated[str, _code(vocabulary.ATTRIBUTIONS)]
Perimeter = Annotated[str, _code(vocabulary.PERIMETERS)]
InterventionType = Annotated[str, _code(vocabulary.INTERVENTION_TYPES)]
PlaceSource = Annotated[str, _code(vocabulary.PLACE_SOURCES)]
MapSource = Annotated[str, _code(vocabulary.MAP_SOURCES)]
MapType = Annotated[str, _code(vocabulary.MAP_TYPES)]
Precision = Annotated[str, _code(vocabulary.PRECISIONS)]
PatientIdSource = Annotated[str, _code(vocabulary.PATIENT_ID_SOURCES)]
Sex = Annotated[str, _code(vocabulary.SEXES)]
Role = Annotated[str, _code(vocabulary.ROLES)]
DecisionType = Annotated[str, _code(vocabulary.DECISIONS)]
Orientation = Annotated[str, _code(vocabulary.ORIENTATIONS)]
ResourceKind = Annotated[str, _code(vocabulary.RESOURCE_KINDS)]
AlertReporting = Annotated[str, _code(vocabulary.ALERT_REPORTING)]
VictimCount = Annotated[str, _code(vocabulary.VICTIM_COUNTS)]
MainVictim = Annotated[str, _code(vocabulary.MAIN_VICTIMS)]
Vehicle = Annotated[str, _code(vocabulary.VEHICLES)]
SharedVehicle = Annotated[str, _code(vocabulary.SHARED_VEHICLES)]
MedicalLevel = Annotated[str, _code(vocabulary.MEDICAL_LEVELS)]
Move = Annotated[str, _code(vocabulary.MOVES)]
PositionStatus = Annotated[str, _code(vocabulary.POSITION_STATUSES)]
EngagedStatus = Annotated[str, _code(vocabulary.ENGAGED_STATUSES)]
GeoResourceType = Annotated[str, _code(vocabulary.GEO_RESOURCE_TYPES)]
Nature = Annotated[str, _code(vocabulary.NATURES)]
Mobility = Annotated[str, _code(vocabulary.MOBILITIES)]
Capacity = Annotated[str, _code(vocabulary.CAPACITIES)]
GeoContactType = Annotated[str, _code(vocabulary.GEO_CONTACT_TYPES)]
Convention = Annotated[str, _code(vocabulary.CONVENTIONS)]
Purpose = Annotated[str, _code(vocabulary.PURPOSES)]
Deadline = Annotated[str, _code(vocabulary.DEADLINES)]
Answer = Annotated[str, _code(vocabulary.ANSWERS)]
DistributionStatus = Annotated[str, _code(vocabulary.DISTRIBUTION_STATUSES)]
DistributionKind = Annotated[str, _code(vocabulary.DISTRIBUTION_KINDS)]
