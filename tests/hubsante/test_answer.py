"""Answers to refused messages: RS-ERROR, in an envelope, for whatever bytes came in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.errors import InvalidMessage
from replica.hubsante.answer import ANSWER_VALID_MS, envelope, error_answer, error_content
from replica.hubsante.check import Checker, shape_of
from replica.hubsante.decode import read
from replica.hubsante.models.envelope import Error
from replica.hubsante.values import Noted

SAMU = "fr.health.samu440"
HUB = "fr.health.hub"


def refusal(data: bytes) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as refused:
        read(data, default_sender=None)
    return refused.value


def answer_to(data: bytes) -> dict[str, Any]:
    raw = error_answer(refusal(data), data, distribution_id=f"{HUB}_1", sender=HUB, sent_ms=0, recipient=SAMU)
    found: dict[str, Any] = json.loads(raw)
    (content,) = read(raw, default_sender=None).contents
    assert isinstance(content.outcome, Noted) or found["distributionStatus"] != "Actual"
    return found


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    error: dict[str, Any] = answer["content"][0]["jsonContent"]["embeddedJsonContent"]["message"]["error"]
    return error


def test_an_answer_goes_back_to_the_sender_as_far_as_it_is_named() -> None:
    """To the sender in the refused envelope, about its id, with the message enclosed."""
    element = {"senderID": "fr.health.samu780", "distributionID": "x_1", "distributionStatus": "Exercise"}
    answer = answer_to(json.dumps(element).encode())
    assert answer["descriptor"]["explicitAddress"]["explicitAddressValue"] == "fr.health.samu780"
    assert answer["distributionKind"] == "Error"
    assert answer["distributionStatus"] == "Exercise"
    error = error_of(answer)
    assert error["referencedDistributionID"] == "x_1"
    assert error["sourceMessage"] == element
    assert error["errorCode"] == {"statusCode": 300, "statusString": "INVALID_MESSAGE"}


def test_every_place_is_a_line_of_the_cause() -> None:
    """Path and what was expected, one a line, all of them."""
    data = b'{"createCaseHealthUpdate": {"a": 1, "b": 2}}'
    lines = error_content(refusal(data), data)["error"]["errorCause"].split("\n")
    assert [line.partition(":")[0] for line in lines] == [
        "$.createCaseHealthUpdate.caseId",
        "$.createCaseHealthUpdate.a",
        "$.createCaseHealthUpdate.b",
    ]


def test_unreadable_bytes_are_answered_too() -> None:
    """Nobody is named in them: the caller says to whom."""
    answer = answer_to(b"\xff\x00")
    assert answer["descriptor"]["explicitAddress"]["explicitAddressValue"] == SAMU
    assert error_of(answer)["errorCode"] == {"statusCode": 102, "statusString": "UNRECOGNIZED_MESSAGE_FORMAT"}
    assert "sourceMessage" not in error_of(answer)


@pytest.mark.parametrize(
    "data",
    [
        b'{"senderID": "\\ud800", "distributionID": 7, "distributionStatus": []}',
        b'{"senderID": "' + b"x" * 10_000 + b'"}',
        b'{"senderID": "a", "senderID": "b"}',
        b'{"content": [1e999]}',
        b'{"content": [' + b"1," * 60_000 + b"1]}",
    ],
    ids=["surrogate", "long", "twice", "overflow", "many"],
)
def test_what_cannot_be_said_again_is_left_out(data: bytes) -> None:
    """The answer is always valid itself."""
    answer = answer_to(data)
    checker = Checker()
    checker.check(error_of(answer), shape_of(Error), "$")
    assert checker.places == []


@settings(deadline=None)
@given(st.binary(max_size=60) | st.dictionaries(st.text(), st.text()).map(lambda it: json.dumps(it).encode()))
def test_any_refusal_has_an_answer(data: bytes) -> None:
    """Whatever comes in is read, or answered in the standard's own shape."""
    try:
        read(data, default_sender=None)
    except InvalidMessage:
        assert answer_to(data)["senderID"] == HUB


def test_an_answer_expires_after_a_day() -> None:
    """Times are handed in and leave as UTC."""
    answer = answer_to(b"{}")
    assert answer["dateTimeSent"] == "1970-01-01T00:00:00-00:00"
    assert answer["dateTimeExpires"] == "1970-01-02T00:00:00-00:00"
    assert ANSWER_VALID_MS == 86_400_000


def test_an_envelope_reads_back() -> None:
    """Several contents for one recipient, each with the header it needs."""
    contents = [{"createCaseHealthUpdate": {"caseId": f"{SAMU}.1", "freetext": text}} for text in ("a", "b")]
    data = envelope(contents, distribution_id=f"{SAMU}_1", sender=SAMU, recipient=HUB, sent_ms=0, expires_ms=1000)
    parsed = read(data, default_sender=None)
    assert parsed.envelope is not None
    assert (parsed.envelope.sender, parsed.envelope.recipients) == (SAMU, (HUB,))
    assert len(parsed.contents) == 2
