"""Clients at the door: each request is a task of its own, and its answer carries its number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import msgspec
import trio

from replica.cases.operations import OperationId
from replica.cases.records import Records
from replica.errors import InvalidMessage, NotAvailable, NotPermitted, OutcomeUnknown, Overloaded, Place, ReplicaError
from replica.runtime.acts import Asked
from replica.runtime.connection import Connection
from replica.runtime.members import Office
from replica.runtime.service import Handed, Service
from replica.wire import FROM_CLIENT, FROM_PROBE, Peer, decode, encode
from replica.wire.client import (
    ChangeMembers,
    Charges,
    ClientRequest,
    Conflicts,
    Digest,
    Drill,
    HandOver,
    ListCases,
    ListResources,
    Meet,
    Members,
    OutcomeOf,
    Receipt,
    Receipts,
    ShowCase,
    ShowResource,
    Status,
    SubmitCommand,
    SubmitMessage,
    VerdictOf,
    Verdicts,
    answers,
    failure_of,
)

Reading: TypeAlias = ShowCase | ShowResource | ListCases | ListResources | Conflicts

MOST_AT_ONCE = 1000
"""Requests of one connection under way at the same time."""


class Control:
    """Answers clients out of a node's service and its status."""

    def __init__(
        self,
        service: Service,
        status: Callable[[], dict[str, Any]],
        office: Office | None = None,
        driller: Callable[[int, str, str], Awaitable[dict[str, Any]]] | None = None,
    ) -> None:
        self._driller = driller
        self._service = service
        self._status = status
        self._members = office

    async def serve(self, connection: Connection, peer: Peer) -> None:
        """Answer one client's requests until its connection ends. What it has handed in goes on without it."""
        allowed = FROM_PROBE if peer.role == "probe" else FROM_CLIENT
        limit = trio.CapacityLimiter(MOST_AT_ONCE)
        async with trio.open_nursery() as nursery:
            while frames := await connection.receive():
                for payload in frames:
                    request = decode(payload, allowed)
                    if limit.borrowed_tokens >= MOST_AT_ONCE:
                        error = Overloaded(f"{MOST_AT_ONCE} requests are under way here", retry_after_ms=100)
                        connection.post(encode(failure_of(request.request, error)))
                        continue
                    limit.acquire_on_behalf_of_nowait(request)
                    nursery.start_soon(self._answer, connection, request, limit)
            nursery.cancel_scope.cancel()

    async def _answer(self, connection: Connection, request: ClientRequest, limit: trio.CapacityLimiter) -> None:
        try:
            for message in await self._messages(request):
                connection.post(encode(message))
        except ReplicaError as error:
            connection.post(encode(failure_of(request.request, error)))
        finally:
            limit.release_on_behalf_of(request)

    async def _messages(self, request: ClientRequest) -> Iterable[Any]:
        service, number = self._service, request.request
        match request:
            case SubmitCommand():
                handed = await service.submit(
                    request.command,
                    author=request.author,
                    budget_ms=request.budget_ms,
                    act_ms=request.act_ms,
                    key=request.key,
                )
                return [Receipts(number, (_receipt(handed),))]
            case SubmitMessage():
                several = await service.submit_message(
                    request.message,
                    sender=request.sender,
                    author=request.author,
                    budget_ms=request.budget_ms,
                    key=request.key,
                )
                return [Receipts(number, tuple(_receipt(one) for one in several))]
            case OutcomeOf():
                outcome = service.outcome(_operation(request.operation))
                return [Receipts(number, (Receipt(outcome.state, request.operation, outcome.index, outcome.verdict),))]
            case VerdictOf():
                with trio.move_on_after(request.budget_ms / 1000):
                    index, verdict = await service.verdict(_operation(request.operation))
                    return [Receipts(number, (Receipt("agreed", request.operation, index, verdict),))]
                raise OutcomeUnknown(request.operation)
            case ShowCase() | ShowResource() | ListCases() | ListResources() | Conflicts():
                held = await service.hold(
                    request.consistency, request.after_index, request.budget_ms, _subject(request)
                )
                return answers(number, self._read(request, held))
            case Charges():
                return answers(number, service.json_charges(request.samu))
            case Verdicts():
                return answers(number, service.json_verdicts(_asked(request)))
            case Drill():
                return answers(number, msgspec.json.encode(await self._drill(request)))
            case Status():
                return answers(number, msgspec.json.encode(self._status()))
            case Digest():
                return answers(number, service.json_digest())
            case Members():
                return answers(number, msgspec.json.encode(self._office().members()))
            case ChangeMembers():
                return answers(number, msgspec.json.encode(await self._office().change(request)))
            case Meet():
                return answers(number, msgspec.json.encode(self._office().meet(request)))
            case HandOver():
                with trio.move_on_after(request.budget_ms / 1000):
                    return answers(number, msgspec.json.encode(await self._office().hand_over(request.to)))
                raise NotAvailable(f"leadership was not handed over within {request.budget_ms} ms")

    def _read(self, request: Reading, held: Records) -> bytes:
        service = self._service
        match request:
            case ShowCase():
                return service.json_case(request.id, held)
            case ShowResource():
                return service.json_resource(request.id, held)
            case ListCases():
                return service.json_cases(request.owner or None, request.open, held)
            case ListResources():
                return service.json_resources(request.owner or None, held)
            case Conflicts():
                return service.json_conflicts(request.owner or None, held)

    async def _drill(self, request: Drill) -> dict[str, Any]:
        if self._driller is None:
            raise NotPermitted("a zone has no line to be cut for a drill: ask a site")
        return await self._driller(request.for_ms, request.author, request.reason)

    def _office(self) -> Office:
        if self._members is None:
            raise NotPermitted("a site has no say in who votes: ask a zone")
        return self._members


def _subject(request: Reading) -> tuple[str, str] | None:
    """The one case or resource that is asked for."""
    match request:
        case ShowCase():
            return "case", request.id
        case ShowResource():
            return "resource", request.id
        case _:
            return None


def _operation(text: str) -> OperationId:
    try:
        return OperationId.parse(text)
    except ValueError as problem:
        raise InvalidMessage((Place("operation", f"{text!r} is not site/incarnation/number"),)) from problem


def _asked(request: Verdicts) -> Asked:
    return Asked(request.site, request.case, request.kind, request.operation, request.since_ms, request.limit)


def _receipt(handed: Handed) -> Receipt:
    return Receipt(handed.state, str(handed.operation), handed.index, handed.verdict)
