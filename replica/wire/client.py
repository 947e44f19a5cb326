"""What a client (the command line, a hub process, a test) asks a zone or a site, and what it is told.

Every request carries a number of the client's choosing; its answers carry the same. Answers may come in another order
than the requests. Values a person reads come as JSON, so that an older client can still show them.

States of a receipt are words, the ones of the library: "agreed", "journalled", "unknown". What surely did not happen
is a `Failure` that says so; `failure_of` and `error_of` carry the library's own errors across.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from replica.cases.commands import Command
from replica.cases.verdicts import Verdict
from replica.errors import (
    Closed,
    ConfigError,
    InvalidMessage,
    NotAvailable,
    NotPermitted,
    OutcomeUnknown,
    Overloaded,
    Place,
    RemoteProtocolError,
    ReplicaError,
    StorageFailed,
    StorageFull,
    StoreError,
)
from replica.wire.feed import ZoneAt
from replica.wire.limits import (
    MAX_HUB_MESSAGE_BYTES,
    MAX_OPERATION_TEXT,
    MAX_TEXT,
    MAX_ZONES,
    Budget,
    Count,
    Milliseconds,
    Name,
    NodeNumber,
    OperationText,
    RequestNumber,
    Text,
)
from replica.wire.pieces import cut

MAX_PLACES: Final = 1000
"""Wrong places named in one failure. Nobody reads on after that."""
MAX_PLACE_TEXT: Final = 500
"""Characters of a path or a problem among them: a thousand places still fit one frame, in any script."""
DEFAULT_BUDGET_MS: Final = 250
"""How long a caller waits for the quorum before "journalled" is the answer."""


class SubmitCommand(Struct, frozen=True, array_like=True, tag="submit-command"):
    """What a person decides. `act_ms` 0: now. `key`: the caller's idempotency key, or empty."""

    request: RequestNumber
    command: Command
    author: Name = ""
    act_ms: Milliseconds = 0
    key: Name = ""
    budget_ms: Budget = DEFAULT_BUDGET_MS


class SubmitMessage(Struct, frozen=True, array_like=True, tag="submit-message"):
    """A hub message as received, an envelope or a bare content, unread. `sender`: who it speaks for where it does not
    say so itself."""

    request: RequestNumber
    message: Annotated[bytes, Meta(min_length=1, max_length=MAX_HUB_MESSAGE_BYTES)]
    sender: Name = ""
    author: Name = ""
    key: Name = ""
    budget_ms: Budget = DEFAULT_BUDGET_MS


class OutcomeOf(Struct, frozen=True, array_like=True, tag="outcome-of"):
    """What became of this operation (its text id)? Answered at once."""

    request: RequestNumber
    operation: OperationText


class VerdictOf(Struct, frozen=True, array_like=True, tag="verdict-of"):
    """The same, but wait up to `budget_ms` for its verdict."""

    request: RequestNumber
    operation: OperationText
    budget_ms: Budget = DEFAULT_BUDGET_MS


class ShowCase(Struct, frozen=True, array_like=True, tag="show-case"):
    request: RequestNumber
    id: Name
    consistency: Name = "local"
    budget_ms: Budget = DEFAULT_BUDGET_MS
    after_index: Count = 0


class ShowResource(Struct, frozen=True, array_like=True, tag="show-resource"):
    request: RequestNumber
    id: Name
    consistency: Name = "local"
    budget_ms: Budget = DEFAULT_BUDGET_MS
    after_index: Count = 0


class ListCases(Struct, frozen=True, array_like=True, tag="list-cases"):
    """`owner` empty: of all. `open` None: open and closed ones."""

    request: RequestNumber
    owner: Name = ""
    open: bool | None = None
    consistency: Name = "local"
    budget_ms: Budget = DEFAULT_BUDGET_MS
    after_index: Count = 0


class ListResources(Struct, frozen=True, array_like=True, tag="list-resources"):
    request: RequestNumber
    owner: Name = ""
    consistency: Name = "local"
    budget_ms: Budget = DEFAULT_BUDGET_MS
    after_index: Count = 0


class Conflicts(Struct, frozen=True, array_like=True, tag="conflicts"):
    """The conflicts that wait for a person."""

    request: RequestNumber
    owner: Name = ""
    consistency: Name = "local"
    budget_ms: Budget = DEFAULT_BUDGET_MS
    after_index: Count = 0


class Charges(Struct, frozen=True, array_like=True, tag="charges"):
    """Who answers for whose work, and how that came about; of one Samu, or of all."""

    request: RequestNumber
    samu: Name = ""


class Verdicts(Struct, frozen=True, array_like=True, tag="verdicts"):
    """What became of operations: of one site, of one case, of one kind of verdict, one operation; agreed at `since_ms`
    (zone time) or later. The newest `limit` of them."""

    request: RequestNumber
    site: Name = ""
    case: Name = ""
    kind: Name = ""
    operation: OperationText = ""
    since_ms: Milliseconds = 0
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000


class Drill(Struct, frozen=True, array_like=True, tag="drill"):
    """To a site: behave as cut off from now on, for so long at most. 0: end it. Answered with how the drill stands, or
    at its end with its report."""

    request: RequestNumber
    for_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0
    author: Name = ""
    reason: Text = ""


class Status(Struct, frozen=True, array_like=True, tag="status"):
    """How the node is. Answered whatever the state of quorum and disk."""

    request: RequestNumber


class Digest(Struct, frozen=True, array_like=True, tag="digest"):
    """The applied index and the digests of the state there, per owner."""

    request: RequestNumber


class Members(Struct, frozen=True, array_like=True, tag="members"):
    """Who votes, who learns, where they are and how far. Any zone answers, as far as it knows."""

    request: RequestNumber


class NewZone(Struct, frozen=True, array_like=True):
    """A zone to be added: a number and a name never used before, and its address as the others reach it."""

    number: NodeNumber
    name: Name
    address: Name
    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0


class ChangeMembers(Struct, frozen=True, array_like=True, tag="change-members"):
    """Change who votes; all of it is one change. `add` become voters, or stay learners with `learners`; `promote` and
    `remove` name zones. The leading zone takes it; another answers who that is."""

    request: RequestNumber
    add: Annotated[tuple[NewZone, ...], Meta(max_length=MAX_ZONES)] = ()
    promote: Annotated[tuple[Name, ...], Meta(max_length=MAX_ZONES)] = ()
    remove: Annotated[tuple[Name, ...], Meta(max_length=MAX_ZONES)] = ()
    learners: bool = False


class HandOver(Struct, frozen=True, array_like=True, tag="hand-over"):
    """Hand leadership to the zone named `to`, or with `best` to whichever is best placed. Answered as ChangeMembers."""

    request: RequestNumber
    to: Name = "best"
    budget_ms: Budget = DEFAULT_BUDGET_MS


class Meet(Struct, frozen=True, array_like=True, tag="meet"):
    """Zone to zone, by the clients' door: these zones there are by now. Said to one that was away while they joined,
    and so will not have them; answered with how many of them it did not know."""

    request: RequestNumber
    zones: Annotated[tuple[ZoneAt, ...], Meta(max_length=MAX_ZONES)]


class Receipt(Struct, frozen=True, array_like=True):
    """What is known of one operation. `state`: "agreed" (then index and verdict), "journalled" (this site's disk has
    it) or "unknown". `index` is 0, too, where it is not known any more (an old `applied`)."""

    state: Name
    operation: OperationText
    index: Count = 0
    verdict: Verdict | None = None


class Receipts(Struct, frozen=True, array_like=True, tag="receipts"):
    """To SubmitCommand, OutcomeOf and VerdictOf one receipt; to SubmitMessage one for each operation its contents made,
    in their order (none: an exercise, or a message that says nothing new to the state)."""

    request: RequestNumber
    receipts: tuple[Receipt, ...]


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """To every reading request: JSON, or a piece of it."""

    request: RequestNumber
    json: bytes
    more: bool = False


class Failure(Struct, frozen=True, array_like=True, tag="failure"):
    """The request failed. `definite`: it surely did not happen. `places`: (path, problem) of an invalid message."""

    request: RequestNumber
    kind: Name
    text: Text
    definite: bool = True
    places: Annotated[tuple[tuple[Text, Text], ...], Meta(max_length=MAX_PLACES)] = ()
    retry_after_ms: Budget = 0
    operation: OperationText = ""


ClientRequest: TypeAlias = (
    SubmitCommand
    | SubmitMessage
    | OutcomeOf
    | VerdictOf
    | ShowCase
    | ShowResource
    | ListCases
    | ListResources
    | Conflicts
    | Charges
    | Verdicts
    | Drill
    | Status
    | Digest
    | Members
    | ChangeMembers
    | HandOver
    | Meet
)
"""What a client may send."""
ProbeRequest: TypeAlias = Status | Digest
"""What a probe may send: it looks at the node's health and at nobody's case."""
ClientResponse: TypeAlias = Receipts | Answer | Failure
"""What a client may be sent."""


def answers(request: int, json: bytes) -> Iterator[Answer]:
    """The answer to a reading request, in pieces where it is large. The client joins them, per request."""
    return (Answer(request, piece, more) for piece, more in cut(json))


_KINDS: Final[dict[str, type[ReplicaError]]] = {
    "not-available": NotAvailable,
    "not-permitted": NotPermitted,
    "storage-full": StorageFull,
    "storage-failed": StorageFailed,
    "store": StoreError,
    "protocol": RemoteProtocolError,
    "closed": Closed,
}
"""Errors that are a text and nothing more. A class not here travels as the nearest one above it."""


def failure_of(request: int, error: ReplicaError) -> Failure:
    """The failure that carries this error to the client. `error_of` is its reverse."""
    text = _clean(str(error))
    match error:
        case InvalidMessage():
            places = tuple(
                (_clean(place.path, MAX_PLACE_TEXT), _clean(place.problem, MAX_PLACE_TEXT))
                for place in error.places[:MAX_PLACES]
            )
            return Failure(request, "invalid-message", text, places=places)
        case Overloaded():
            return Failure(request, "overloaded", text, retry_after_ms=min(max(error.retry_after_ms, 0), 3_600_000))
        case OutcomeUnknown():
            return Failure(
                request,
                "outcome-unknown",
                text,
                definite=False,
                operation=_clean(str(error.operation), MAX_OPERATION_TEXT),
            )
        case ConfigError():
            return Failure(request, "error", text)
    for kind, known in _KINDS.items():
        if isinstance(error, known):
            return Failure(request, kind, text, definite=error.definite)
    return Failure(request, "error", text, definite=error.definite)


def _clean(text: str, most: int = MAX_TEXT) -> str:
    """What the wire can carry: not too long, and without the lone surrogates that a quoted input may hold."""
    return text[:most].encode("utf-8", "backslashreplace").decode()[:most]


def error_of(failure: Failure) -> ReplicaError:
    """The error to raise at the client. A kind of a newer release becomes a plain ReplicaError, as definite as it
    said."""
    match failure.kind:
        case "invalid-message":
            return InvalidMessage(tuple(Place(path, problem) for path, problem in failure.places))
        case "overloaded":
            problem = failure.text.removesuffix(f"; try again in {failure.retry_after_ms} ms")
            return Overloaded(problem, failure.retry_after_ms)
        case "outcome-unknown":
            return OutcomeUnknown(failure.operation)
    error = _KINDS.get(failure.kind, ReplicaError)(failure.text)
    error.definite = failure.definite
    return error
