"""Envelopes around what leaves, and the answer to a message that is refused.

Pure: ids and times are handed in. Times leave as UTC, which the standard writes `-00:00`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from replica.errors import InvalidMessage
from replica.hubsante.check import OPEN, Checker
from replica.hubsante.formats import KEY
from replica.hubsante.kinds import WITHOUT_HEADER
from replica.hubsante.text import canonical, parse
from replica.hubsante.times import date_time_text
from replica.hubsante.vocabulary import DISTRIBUTION_STATUSES

UNRECOGNIZED_FORMAT = (102, "UNRECOGNIZED_MESSAGE_FORMAT")
INVALID_MESSAGE = (300, "INVALID_MESSAGE")
ANSWER_VALID_MS = 24 * 3600 * 1000


def envelope(
    contents: Sequence[Mapping[str, Any]],
    *,
    distribution_id: str,
    sender: str,
    recipient: str,
    sent_ms: int,
    expires_ms: int,
    kind: str = "Update",
    status: str = "Actual",
) -> bytes:
    """Contents (each `{type key: members}`) in one EDXL-DE envelope, with the header each of them needs."""
    head = _header(distribution_id, sender, recipient, sent_ms, kind, status)
    messages = [dict(content) if WITHOUT_HEADER.issuperset(content) else head | dict(content) for content in contents]
    element = {
        "distributionID": distribution_id,
        "senderID": sender,
        "dateTimeSent": date_time_text(sent_ms),
        "dateTimeExpires": date_time_text(expires_ms),
        "distributionStatus": status,
        "distributionKind": kind,
        "descriptor": {
            "language": "fr-FR",
            "explicitAddress": {"explicitAddressScheme": "hubex", "explicitAddressValue": recipient},
        },
        "content": [{"jsonContent": {"embeddedJsonContent": {"message": message}}} for message in messages],
    }
    return canonical(element).encode()


def _header(distribution_id: str, sender: str, recipient: str, sent_ms: int, kind: str, status: str) -> dict[str, Any]:
    return {
        "messageId": distribution_id,
        "sender": {"name": sender, "URI": f"hubex:{sender}"},
        "sentAt": date_time_text(sent_ms),
        "kind": kind,
        "status": status,
        "recipient": [{"name": recipient, "URI": f"hubex:{recipient}"}],
    }


def error_content(problem: InvalidMessage, data: bytes) -> dict[str, Any]:
    """RS-ERROR's content for a message (its bytes) that was refused: every wrong place, one a line, and what was read.

    The refused message is enclosed where it is an object that can be said again; its id as far as it has one.
    """
    source = _readable(data)
    code, name = UNRECOGNIZED_FORMAT if source is None else INVALID_MESSAGE
    error: dict[str, Any] = {
        "errorCode": {"statusCode": code, "statusString": name},
        "errorCause": "\n".join(f"{place.path}: {place.problem}" for place in problem.places),
        "referencedDistributionID": _named(source, "distributionID"),
    }
    if source is not None and _can_be_said_again(source):
        error["sourceMessage"] = source
    return {"error": error}


def error_answer(
    problem: InvalidMessage, data: bytes, *, distribution_id: str, sender: str, sent_ms: int, recipient: str = ""
) -> bytes:
    """The whole answer, addressed to the refused message's sender as far as it names one, else to `recipient`.

    An exercise's answer is an exercise too.
    """
    source = _readable(data)
    status = _named(source, "distributionStatus")
    return envelope(
        [error_content(problem, data)],
        distribution_id=distribution_id,
        sender=sender,
        recipient=_named(source, "senderID") or recipient,
        sent_ms=sent_ms,
        expires_ms=sent_ms + ANSWER_VALID_MS,
        kind="Error",
        status=status if status in DISTRIBUTION_STATUSES else "Actual",
    )


def _readable(data: bytes) -> dict[str, Any] | None:
    try:
        source = parse(data)
    except InvalidMessage:
        return None
    return source if isinstance(source, dict) else None


def _named(source: Mapping[str, Any] | None, name: str) -> str:
    value = source.get(name) if source else None
    return value if isinstance(value, str) and KEY.accepts(value) and not _is_broken(value) else ""


def _is_broken(text: str) -> bool:
    checker = Checker()
    checker.check({"text": text}, OPEN, "$")
    return bool(checker.places)


def _can_be_said_again(source: dict[str, Any]) -> bool:
    """Within the limits, with no key twice and no number or text that JSON cannot hold."""
    checker = Checker()
    checker.check(source, OPEN, "$")
    return not checker.places
