"""Clients at the door: each request is a task of its own, and its answer carries its number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import trio

from replica.cases.operations import OperationId
from replica.errors import InvalidMessage, NotAvailable, OutcomeUnknown, Overloaded, Place, ReplicaError
from replica.runtime.connection import Connection
from replica.runtime.service import Handed, Service
from replica.wire import FROM_CLIENT, FROM_PROBE, Peer, decode, encode
from replica.wire.client import (
    ClientRequest,
    Conflicts,
    Digest,
    ListCases,
    ListResources,
    OutcomeOf,
    Receipt,
    Receipts,
    ShowCase,
    ShowResource,
    Status,
    SubmitCommand,
    SubmitMessage,
    VerdictOf,
    answers,
    failure_of,
)

MOST_AT_ONCE = 1000
"""Requests of one connection under way at the same time."""


class Control:
    """Answers clients out of a node's service and its status."""

    def __init__(self, service: Service, status: Callable[[], dict[str, Any]]) -> None:
        self._service = service
        self._status = status

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
            case ShowCase():
                return answers(number, service.json_case(_local(request).id))
            case ShowResource():
                return answers(number, service.json_resource(_local(request).id))
            case ListCases():
                return answers(number, service.json_cases(_local(request).owner or None, request.open))
            case ListResources():
                return answers(number, service.json_resources(_local(request).owner or None))
            case Conflicts():
                return answers(number, service.json_conflicts(_local(request).owner or None))
            case Status():
                return answers(number, msgspec.json.encode(self._status()))
            case Digest():
                return answers(number, service.json_digest())


def _local(request: Any) -> Any:
    if request.consistency != "local":
        raise NotAvailable(f"consistency {request.consistency!r} is not served by this release; local is")
    return request


def _operation(text: str) -> OperationId:
    try:
        return OperationId.parse(text)
    except ValueError as problem:
        raise InvalidMessage((Place("operation", f"{text!r} is not site/incarnation/number"),)) from problem


def _receipt(handed: Handed) -> Receipt:
    return Receipt(handed.state, str(handed.operation), handed.index, handed.verdict)
