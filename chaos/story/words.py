"""What is said in the stories, as hub messages: a call taken, a door code, a vehicle sent on a request granted.

Left out: what people decide at their desks. Those are commands (replica/cases/commands.py), and the stories name them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

NANTES: Final = "fr.health.samu440"
LYON: Final = "fr.health.samu690"
PARIS: Final = "fr.health.samu750"
DOOR: Final = "codePorte"
"""The key under which a case's open map keeps the door code: a field whose rule is "latest by hybrid clock"."""


def call(case: str, owner: str, priority: str, what: str, at: datetime) -> bytes:
    """An RS-EDA: a call is taken, the case is created, and it is its owner's."""
    return _message(
        "createCaseHealth",
        caseId=case,
        creation=iso(at),
        owner=owner,
        qualification={"origin": "15", "details": {"status": "ACTIF", "priority": priority, "careLevel": "R2"}},
        location={"freetext": what},
    )


def door_code(case: str, code: str) -> bytes:
    """An RS-EDA-MAJ that says nothing but the code of the door."""
    return _message(
        "createCaseHealthUpdate", caseId=case, additionalInformation={"customMap": [{"key": DOOR, "value": code}]}
    )


def code_in(value: str) -> str:
    """The code that an element of the open map says."""
    return str(msgspec.json.decode(value, type=dict[str, Any])["value"])


def engagement(case: str, vehicle: str, owner: str, at: datetime, request: str = "") -> bytes:
    """An RS-RI: the vehicle, its owner's, is sent to the case; on a request, where one is named."""
    told: dict[str, Any] = {
        "resourceId": vehicle,
        "datetime": iso(at),
        "vehicleType": "SMUR.VLM",
        "orgId": owner,
        "state": [{"datetime": iso(at), "status": "DECLENCHE", "availability": False}],
    }
    return _message("resourcesInfo", caseId=case, resource=[told | ({"requestId": request} if request else {})])


def status(case: str, vehicle: str, word: str, at: datetime) -> bytes:
    """An RS-SR: how far the vehicle is."""
    return _message("resourcesStatus", caseId=case, resourceId=vehicle, state={"datetime": iso(at), "status": word})


def asked(case: str, request: str, at: datetime) -> bytes:
    """An RS-DR: please send something for this case."""
    return _message(
        "resourcesRequest", caseId=case, request={"requestId": request, "datetime": iso(at), "purpose": "SMUR"}
    )


def granted(case: str, request: str, at: datetime) -> bytes:
    """An RS-RR: yes."""
    return _message(
        "resourcesResponse", caseId=case, requestId=request, response={"datetime": iso(at), "answer": "ACCEPTEE"}
    )


def iso(at: datetime) -> str:
    """As messages word times: to the second, with an offset."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def now() -> datetime:
    """The wall clock of who tells the story: what goes into messages, and nothing else."""
    return datetime.now(tz=UTC)


def _message(kind: str, **members: Any) -> bytes:
    return msgspec.json.encode({kind: members})
