"""A message's bytes → what it says: reports, a query, something to note, something to set aside.

Both shapes come in: an EDXL-DE envelope with one or more contents, and a bare content (`{"createCaseHealth": {…}}`).
All of a message is checked before any of it is read, envelope, headers and contents alike, so it is never half applied
and its sender hears of every wrong place at once.

Left out: time (an expired message is still an emergency's), routing (the caller's), what a report does to the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from replica.cases.commands import Fact, Report, Subject
from replica.errors import InvalidMessage
from replica.hubsante import subjects
from replica.hubsante.check import OPEN, Checker, build, join, kind_of, shape_of
from replica.hubsante.formats import CASE_ID, MAX_ID
from replica.hubsante.kinds import BY_KEY, UNREAD, WITHOUT_HEADER
from replica.hubsante.models.case import CreateCaseHealth, CreateCaseHealthUpdate
from replica.hubsante.models.document import DocumentLink, Rpis
from replica.hubsante.models.envelope import MAX_CONTENTS, DistributionElement, Error, Header
from replica.hubsante.models.geography import GeoPositionsUpdate, GeoResourcesDetails, GeoResourcesRequest
from replica.hubsante.models.request import ResourcesRequest, ResourcesResponse
from replica.hubsante.models.resource import ResourcesEngagement, ResourcesInfo, ResourcesInfoCisu, ResourcesStatus
from replica.hubsante.models.shared_case import CreateCase
from replica.hubsante.models.types import Part
from replica.hubsante.speakers import with_sender
from replica.hubsante.text import canonical, parse
from replica.hubsante.times import instant_ms
from replica.hubsante.values import Content, Envelope, Noted, Outcome, Parsed, Query, SetAside

_ENVELOPE = frozenset(shape_of(DistributionElement).members)
_HEADER = frozenset(shape_of(Header).members)
_MESSAGE = ("jsonContent", "embeddedJsonContent", "message")
_NAMING = "caseId, or context.orgId and context.senderCaseId"
_CANCELS_BY_ITSELF = frozenset({"RS-DR", "RS-SR", "RS-RI", "RC-RI"})
"""Types whose own content says what is cancelled (ANNULEE, ANNULE)."""


def read(data: bytes, *, default_sender: str | None) -> Parsed:
    """Reads one message.

    default_sender: the organisation a bare content speaks for; None where only the state can tell (then the report's
    sender is empty: see speakers.py). An envelope's own sender always goes first.

    Raises InvalidMessage, with every wrong place; nothing of the message may be applied, its sender gets
    `answer.error_answer`.
    """
    message = parse(data)
    checker = Checker()
    if isinstance(message, dict) and not _ENVELOPE.isdisjoint(message):
        return _read_enveloped(message, checker)
    content = _read_content(message, "$", checker, bare=True)
    if content is None:
        raise InvalidMessage(tuple(checker.places))
    key = f"content-{blake2b(canonical(message).encode(), digest_size=16).hexdigest()}"
    return Parsed(None, (_settle(content, key, default_sender or "", envelope=None),))


@dataclass(frozen=True, slots=True)
class _Checked:
    """A content that keeps its form: a struct where its type is modelled, plain members where it is not."""

    place: str
    key: str
    body: Part | Mapping[str, Any]
    members: Mapping[str, Any]
    header: Header | None
    status: str

    @property
    def kind(self) -> str:
        known = BY_KEY.get(self.key)
        return known.name if known else UNREAD.get(self.key, self.key)


def _read_enveloped(message: dict[str, Any], checker: Checker) -> Parsed:
    element = build(message, DistributionElement, "$", checker)
    found: list[_Checked] = []
    for at, holder in enumerate(_contents(message)):
        inner, path = _inner_message(holder, f"$.content[{at}]", checker)
        checked = _read_content(inner, path, checker, bare=False) if path else None
        if checked is not None:
            found.append(checked)
    if checker.places or element is None:
        raise InvalidMessage(tuple(checker.places))
    envelope = _envelope(element, found)
    stem = envelope.distribution_id
    if not stem.startswith(envelope.sender):  # ids are unique within their sender only
        stem = f"{envelope.sender}/{stem}"
    return Parsed(
        envelope,
        tuple(_settle(one, f"{stem}/{at}", envelope.sender, envelope) for at, one in enumerate(found)),
    )


def _contents(message: Mapping[str, Any]) -> list[Any]:
    """The contents to look into; none where the list itself is wrong (too long, no list), which is reported already."""
    contents = message.get("content")
    return contents if isinstance(contents, list) and len(contents) <= MAX_CONTENTS else []


def _inner_message(holder: Any, path: str, checker: Checker) -> tuple[Any, str]:
    """The message inside one content and its path; an empty path where the way to it is broken (and reported)."""
    for name in _MESSAGE:
        if not isinstance(holder, dict):
            return None, ""
        path = join(path, name)
        if name == "message" and name not in holder:
            checker.report(path, "missing, but required: expected an object with a header and one content")
        if name not in holder:
            return None, ""
        holder = holder[name]
        if name == "embeddedJsonContent" and not isinstance(holder, dict):
            checker.report(path, f"expected an object, got {kind_of(holder)}")
    return holder, path


def _read_content(message: Any, path: str, checker: Checker, *, bare: bool) -> _Checked | None:
    """The one content of a message, checked with its header; None where anything is wrong (and reported)."""
    if not isinstance(message, dict):
        what = "an EDXL-DE envelope or one content" if bare else "an object with a header and one content"
        checker.report(path, f"expected {what}, got {kind_of(message)}")
        return None
    before = len(checker.places)
    checker.check_twice(message, path)
    names = [name for name in message if bare or name not in _HEADER]
    single = names[0] if len(names) == 1 else ""
    header = None if bare else _read_header(message, single, path, checker)
    if not single:
        beside = "" if bare else " beside the header"
        checker.report(path, f"expected exactly one content{beside} ({_known()}), got {_listed(names)}")
        return None
    body = _read_body(message[single], single, join(path, single), checker)
    if body is None or len(checker.places) > before:
        return None
    status = header.status if header else message.get("status", "")
    return _Checked(path, single, body, message[single], header, status if isinstance(status, str) else "")


def _known() -> str:
    return ", ".join(BY_KEY)


def _listed(names: list[str]) -> str:
    shown = ", ".join(ascii(name[:40]) for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown or "none"


def _read_header(message: Mapping[str, Any], single: str, path: str, checker: Checker) -> Header | None:
    if single in WITHOUT_HEADER:
        return None
    return build({name: value for name, value in message.items() if name in _HEADER}, Header, path, checker)


def _read_body(body: Any, key: str, path: str, checker: Checker) -> Part | Mapping[str, Any] | None:
    known = BY_KEY.get(key)
    if known is not None:
        return build(body, known.model, path, checker)
    before = len(checker.places)
    checker.check(body, OPEN, path)
    if not isinstance(body, dict):
        return None
    case = body.get("caseId")
    if case is not None and not (isinstance(case, str) and CASE_ID.accepts(case)):
        checker.report(join(path, "caseId"), CASE_ID.expected)
    elif key not in UNREAD and _document_case(body) is None:
        checker.report(path, f"expected {_known()}, or a type that names its case ({_NAMING})")
    return body if len(checker.places) == before else None


def _document_case(body: Mapping[str, Any]) -> Subject | None:
    """The case an unread document names: by its id, or by an organisation and that organisation's own number."""
    case = body.get("caseId")
    if isinstance(case, str):
        return Subject("case", case, ())
    context = body.get("context")
    if not isinstance(context, dict):
        return None
    organisation, number = context.get("orgId"), context.get("senderCaseId")
    if not (isinstance(organisation, str) and isinstance(number, str) and CASE_ID.accepts(organisation)):
        return None
    return _numbered_case(organisation, number) if 0 < len(number) <= MAX_ID else None


def _numbered_case(organisation: str, number: str) -> Subject:
    return Subject("case", "", (), organisation=organisation, sender_case=number)


def _envelope(element: DistributionElement, found: Iterable[_Checked]) -> Envelope:
    addressed = [element.descriptor.explicit_address.explicit_address_value]
    addressed += [system.uri for one in found if one.header for system in one.header.recipient]
    return Envelope(
        distribution_id=element.distribution_id,
        sender=element.sender_id,
        sent_ms=_ms(element.date_time_sent),
        expires_ms=_ms(element.date_time_expires),
        status=element.distribution_status,
        kind=element.distribution_kind,
        recipients=tuple(dict.fromkeys(without_scheme(address) for address in addressed)),
    )


def without_scheme(address: str) -> str:
    """`hubex:fr.health.samu440` → `fr.health.samu440`."""
    return address.rpartition(":")[2]


def _ms(text: str) -> int:
    at_ms = instant_ms(text, last_year=9999)
    assert at_ms is not None, f"{text!r} passed the check of its format"
    return at_ms


def _settle(content: _Checked, message: str, sender: str, envelope: Envelope | None) -> Content:
    """What a checked content means, given how its envelope and header say to take it."""
    outcome = _outcome(content, message, sender, envelope)
    named = _latest_ms(outcome) if isinstance(outcome, Report) else 0
    return Content(content.place, content.kind, message, outcome, named or (envelope.sent_ms if envelope else 0))


def _latest_ms(report: Report) -> int:
    return max((fact.at_ms for subject in report.subjects for fact in subject.facts), default=0)


def _outcome(content: _Checked, message: str, sender: str, envelope: Envelope | None) -> Outcome:
    for status in (envelope.status if envelope else "", content.status):
        if status not in ("", "Actual"):
            return SetAside(f"{content.kind} with status {status}: only Actual touches real state")
    cancels = "Cancel" in (envelope.kind if envelope else "", content.header.kind if content.header else "")
    if cancels and content.kind not in _CANCELS_BY_ITSELF:
        return _cancellation(content, message, sender)
    match content.body:
        case Error() as error:
            text = f"{error.error_code.status_string}: {error.error_cause}"
            return Noted(text, error.referenced_distribution_id)
        case GeoResourcesRequest(resource_id=resources):
            return Query(resources)
        case Part() as body:
            said = _subjects(body, message, sender)
            documents = _documents(content) if isinstance(body, DocumentLink | Rpis) else ()
            return with_sender(Report(message, content.kind, sender, said, documents), sender)
    return _as_document(content, message, sender, f"{content.kind} carries no state and names no case")


def _cancellation(content: _Checked, message: str, sender: str) -> Outcome:
    """Nothing is taken back by a message (the state only grows): it is kept with its case, unread, for a person."""
    return _as_document(content, message, sender, f"{content.kind} is cancelled, and names no case")


def _as_document(content: _Checked, message: str, sender: str, otherwise: str) -> Outcome:
    case = _document_case(content.members)
    if case is None:
        return Noted(otherwise)
    return Report(message, content.kind, sender, (case,), _documents(content))


def _documents(content: _Checked) -> tuple[Fact, ...]:
    return (Fact(content.kind, canonical(content.members)),)


def _subjects(body: Part, message: str, speaker: str) -> tuple[Subject, ...]:
    """What a modelled content says, by its type."""
    match body:
        case CreateCase() | CreateCaseHealth() | CreateCaseHealthUpdate():
            return (subjects.case_subject(body, speaker),)
        case ResourcesInfo(case_id=case, resource=resources) | ResourcesInfoCisu(case_id=case, resource=resources):
            return tuple(subjects.described_resource(resource, case) for resource in resources)
        case ResourcesEngagement(case_id=case, resource=engaged):
            return tuple(
                subjects.engaged_resource(resource, case, message, number)
                for number, resource in enumerate(engaged, start=1)
            )
        case ResourcesStatus():
            return (subjects.resource_status(body),)
        case ResourcesRequest():
            return (subjects.request(body),)
        case ResourcesResponse():
            return (subjects.answer(body),)
        case GeoPositionsUpdate(position=positions):
            return tuple(subjects.resource_position(position) for position in positions)
        case GeoResourcesDetails(resource=described):
            return tuple(subjects.geographic_resource(resource) for resource in described)
        case DocumentLink(case_id=case):
            return (Subject("case", case, ()),)
        case Rpis(context=context):
            return (_numbered_case(context.org_id, context.sender_case_id),)
    raise AssertionError(f"no reading for {type(body).__name__}")
