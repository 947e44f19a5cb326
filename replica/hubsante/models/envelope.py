"""EDXL-DE, the envelope of every message; RC-DE, the header inside it; RS-ERROR, the answer to a refused message."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from replica.hubsante.models.types import (
    DateTime,
    DistributionKind,
    DistributionStatus,
    Expiry,
    Free,
    Key,
    Part,
    Unseen,
)

MAX_CONTENTS = 100


class ExplicitAddress(Part, frozen=True):
    explicit_address_scheme: str
    explicit_address_value: str


class Descriptor(Part, frozen=True):
    explicit_address: ExplicitAddress
    language: str


class JsonContent(Part, frozen=True):
    embedded_json_content: Unseen


class ContentObject(Part, frozen=True):
    json_content: JsonContent


class DistributionElement(Part, frozen=True):
    """EDXL-DE. The ids are keys of ours, so they are not empty and of limited length."""

    sender_id: Key = field(name="senderID")
    distribution_id: Key = field(name="distributionID")
    date_time_sent: DateTime
    date_time_expires: Expiry
    distribution_status: DistributionStatus
    distribution_kind: DistributionKind
    descriptor: Descriptor
    content: Annotated[tuple[ContentObject, ...], Meta(min_length=1, max_length=MAX_CONTENTS)]


class System(Part, frozen=True):
    name: str
    uri: str = field(name="URI")


class Header(Part, frozen=True):
    """RC-DE: stands in the message beside its one content."""

    message_id: str
    sender: System
    sent_at: DateTime
    kind: DistributionKind
    status: DistributionStatus
    recipient: Annotated[tuple[System, ...], Meta(min_length=1)]


class ErrorCode(Part, frozen=True):
    status_code: float
    status_string: str


class Error(Part, frozen=True):
    """RS-ERROR."""

    error_code: ErrorCode
    error_cause: str
    referenced_distribution_id: str = field(name="referencedDistributionID")
    source_message: Free | None = None
