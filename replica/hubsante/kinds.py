"""Which key of a message is which type, and how its content is checked.

A message holds its header and one content, under a key that names the type: `createCaseHealth` is an RS-EDA.
"""

from __future__ import annotations

from dataclasses import dataclass

from replica.hubsante.models.case import CreateCaseHealth, CreateCaseHealthUpdate
from replica.hubsante.models.document import DocumentLink, Rpis
from replica.hubsante.models.envelope import Error
from replica.hubsante.models.geography import GeoPositionsUpdate, GeoResourcesDetails, GeoResourcesRequest
from replica.hubsante.models.request import ResourcesRequest, ResourcesResponse
from replica.hubsante.models.resource import ResourcesEngagement, ResourcesInfo, ResourcesInfoCisu, ResourcesStatus
from replica.hubsante.models.shared_case import CreateCase
from replica.hubsante.models.types import Part


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of message: `name` as the standard calls it, `key` as a message does."""

    name: str
    key: str
    model: type[Part]


KINDS = (
    Kind("RC-EDA", "createCase", CreateCase),
    Kind("RS-EDA", "createCaseHealth", CreateCaseHealth),
    Kind("RS-EDA-MAJ", "createCaseHealthUpdate", CreateCaseHealthUpdate),
    Kind("RS-RI", "resourcesInfo", ResourcesInfo),
    Kind("RC-RI", "resourcesInfoCisu", ResourcesInfoCisu),
    Kind("RS-ER", "resourcesEngagement", ResourcesEngagement),
    Kind("RS-SR", "resourcesStatus", ResourcesStatus),
    Kind("RS-DR", "resourcesRequest", ResourcesRequest),
    Kind("RS-RR", "resourcesResponse", ResourcesResponse),
    Kind("RS-URL", "documentLink", DocumentLink),
    Kind("RS-RPIS", "rpis", Rpis),
    Kind("GEO-POS", "geoPositionsUpdate", GeoPositionsUpdate),
    Kind("GEO-RES", "geoResourcesDetails", GeoResourcesDetails),
    Kind("GEO-REQ", "geoResourcesRequest", GeoResourcesRequest),
    Kind("RS-ERROR", "error", Error),
)
BY_KEY = {kind.key: kind for kind in KINDS}
BY_NAME = {kind.name: kind for kind in KINDS}

UNREAD = {
    "interventionReport": "RS-BPV",
    "appointment": "RS-SAS-RDV",
    "reference": "RC-REF",
    "emsi": "EMSI",
    "distributionElement": "RC-DE",
    "customContent": "customContent",
    "technical": "TECHNICAL",
    "technicalNoreq": "TECHNICAL_NOREQ",
}
"""Types of the standard that are not modelled here: kept with their case where they name one, else only noted."""
WITHOUT_HEADER = frozenset({"technicalNoreq", "distributionElement", "customContent", "error"})
"""Types the standard admits without the header beside them."""
