"""RS-DR asks a partner for a resource, RS-RR answers."""

from __future__ import annotations

from replica.hubsante.models.types import (
    Answer,
    Cancelled,
    CaseId,
    Convention,
    DateTime,
    Deadline,
    Part,
    Purpose,
    RequestId,
)


class Request(Part, frozen=True):
    request_id: RequestId
    datetime: DateTime
    purpose: Purpose
    convention: Convention | None = None
    deadline: Deadline | None = None
    freetext: str | None = None


class ResourcesRequest(Part, frozen=True):
    """RS-DR."""

    case_id: CaseId
    request: Request
    status: Cancelled | None = None


class Response(Part, frozen=True):
    datetime: DateTime
    answer: Answer
    deadline: Deadline | None = None
    freetext: str | None = None


class ResourcesResponse(Part, frozen=True):
    """RS-RR."""

    case_id: CaseId
    request_id: RequestId
    response: Response
