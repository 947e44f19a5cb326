"""What reading a message gives: plain values, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from replica.cases.commands import Report


@dataclass(frozen=True, slots=True)
class Envelope:
    """The EDXL-DE envelope. `recipients`: organisations, first the addressed one, then those of the headers."""

    distribution_id: str
    sender: str
    sent_ms: int
    expires_ms: int
    status: str
    kind: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """GEO-REQ: which resources are asked about. Answered from the local state; nothing is journalled."""

    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Noted:
    """Read, and carries no state: a partner's error about message `about`, a reference, a technical message."""

    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """Valid, but never to touch real state: an exercise, a system's test."""

    reason: str


Outcome: TypeAlias = Report | Query | Noted | SetAside


@dataclass(frozen=True, slots=True)
class Content:
    """One content of a message: its path, the standard's name of its type, and its idempotence key (`message`).

    `act_ms`: the latest time the content itself names, else when the message was sent, else 0 (the caller's clock).
    """

    place: str
    kind: str
    message: str
    outcome: Outcome
    act_ms: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole message; `envelope` is None for a bare content."""

    envelope: Envelope | None
    contents: tuple[Content, ...]
