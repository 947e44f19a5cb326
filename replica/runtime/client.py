"""A thin client of a running zone or site: the command line's, the demo's, live chaos' and the benchmarks'.

It keeps nothing: no store, no queue, no second try. What it adds to a connection is who is waiting for which answer, so
that many callers share one. A submit whose connection breaks has an unknown outcome, and only its caller's idempotency
key finds it again: submit the same under the same key and the answer is the first one's.

Left out: reconnecting, and choosing another node. Whoever needs them knows better when and to which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
import trio

from replica.cases.commands import Command
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL
from replica.errors import NotAvailable, OutcomeUnknown, RemoteProtocolError
from replica.runtime.connection import Connection, run_both
from replica.runtime.dial import dial
from replica.runtime.outside import REAL, ClientOutside
from replica.version import __version__
from replica.wire import TO_CLIENT, Identity, Joiner, Peer, client, decode
from replica.wire.client import DEFAULT_BUDGET_MS, Answer, ClientRequest, ClientResponse, Failure, Receipt, Receipts
from replica.wire.envelope import encode_request
from replica.wire.feed import ZoneAt
from replica.wire.limits import MAX_JOINED_BYTES

CONNECT_MS: Final = 2_000
GRACE_MS: Final = 5_000
"""How long past a request's own budget a silent node is waited for."""

T = TypeVar("T")


class _Waiting:
    """One caller, and what has come for it so far."""

    __slots__ = ("answer", "done", "joiner")

    def __init__(self, request: int) -> None:
        self.done = trio.Event()
        self.answer: Receipts | Failure | bytes | None = None
        self.joiner = Joiner(MAX_JOINED_BYTES, f"answer to request {request}")

    def take(self, response: ClientResponse) -> None:
        if isinstance(response, Answer):
            self.answer = self.joiner.add(response.json, response.more)
        else:
            self.answer = response
        if self.answer is not None:
            self.done.set()


class Client:
    """One connection to one node, shared by any number of tasks. Made by `open_client`.

    Every request raises what the node answers with (replica/errors.py). When the connection is gone or the node says
    nothing: NotAvailable from a reading request, OutcomeUnknown(key) from a submit.
    """

    def __init__(self, connection: Connection, peer: Peer) -> None:
        self._connection = connection
        self._waiting: dict[int, _Waiting] = {}
        self._requests = 0
        self.seen_index = 0
        """The highest index of any answer and receipt so far: what a `session` read is never older than. Take it over
        to another client, and the session goes on at another node."""
        self.peer = peer
        """Who answered: node id and role ("zone" or "site")."""
        self.closed = trio.Event()
        """Set once the connection is gone, whoever ended it."""

    async def submit(
        self, command: Command, budget_ms: int = DEFAULT_BUDGET_MS, *, author: str = "", act_ms: int = 0, key: str = ""
    ) -> Receipt:
        """Do `command` at this node: its receipt, "agreed" or "journalled", after `budget_ms` at most.

        `key`: the caller's own name for the act; the same key again gives the same operation's receipt.
        """
        receipts = await self._submit(
            lambda request: client.SubmitCommand(request, command, author, act_ms, key, budget_ms), budget_ms, key
        )
        if len(receipts) != 1:
            raise RemoteProtocolError(f"{len(receipts)} receipts for one command")
        return receipts[0]

    async def submit_message(
        self,
        message: bytes,
        budget_ms: int = DEFAULT_BUDGET_MS,
        *,
        sender: str = "",
        author: str = "",
        key: str = "",
    ) -> tuple[Receipt, ...]:
        """Hand in a hub message (envelope or bare content): a receipt for each operation its contents made, or none.

        Raises InvalidMessage with every wrong place; then nothing of it was applied.
        """
        return await self._submit(
            lambda request: client.SubmitMessage(request, message, sender, author, key, budget_ms), budget_ms, key
        )

    async def outcome(self, operation: str) -> Receipt:
        """What became of an operation of this site, as far as is known now."""
        answer = await self._ask(lambda request: client.OutcomeOf(request, operation), 0)
        return _only(answer)

    async def verdict(self, operation: str, budget_ms: int = DEFAULT_BUDGET_MS) -> Receipt:
        """The same, but waiting up to `budget_ms` for its verdict. Raises OutcomeUnknown where none came by then."""
        answer = await self._ask(lambda request: client.VerdictOf(request, operation, budget_ms), budget_ms)
        return _only(answer)

    async def show_case(
        self, case: str, *, consistency: str = "local", budget_ms: int = DEFAULT_BUDGET_MS
    ) -> dict[str, Any]:
        """The whole case with its freshness, as JSON values."""
        return await self._read(
            lambda n: client.ShowCase(n, case, consistency, budget_ms, self._after(consistency)),
            budget_ms,
            dict[str, Any],
        )

    async def show_resource(
        self, resource: str, *, consistency: str = "local", budget_ms: int = DEFAULT_BUDGET_MS
    ) -> dict[str, Any]:
        """The whole resource with its freshness, as JSON values."""
        return await self._read(
            lambda n: client.ShowResource(n, resource, consistency, budget_ms, self._after(consistency)),
            budget_ms,
            dict[str, Any],
        )

    async def list_cases(
        self,
        *,
        owner: str = "",
        open_only: bool | None = None,
        consistency: str = "local",
        budget_ms: int = DEFAULT_BUDGET_MS,
    ) -> Any:
        """Cases (of `owner`; open ones, closed ones or with None both), as JSON values."""
        return await self._read(
            lambda n: client.ListCases(n, owner, open_only, consistency, budget_ms, self._after(consistency)),
            budget_ms,
            object,
        )

    async def list_resources(
        self, *, owner: str = "", consistency: str = "local", budget_ms: int = DEFAULT_BUDGET_MS
    ) -> Any:
        """Resources (of `owner`), as JSON values."""
        return await self._read(
            lambda n: client.ListResources(n, owner, consistency, budget_ms, self._after(consistency)),
            budget_ms,
            object,
        )

    async def conflicts(
        self, *, owner: str = "", consistency: str = "local", budget_ms: int = DEFAULT_BUDGET_MS
    ) -> Any:
        """The conflicts that wait for a person, as JSON values."""
        return await self._read(
            lambda n: client.Conflicts(n, owner, consistency, budget_ms, self._after(consistency)), budget_ms, object
        )

    async def charges(self, samu: str = "") -> dict[str, Any]:
        """Who answers for whose work; of one Samu with all its changes."""
        return await self._read(lambda n: client.Charges(n, samu), 0, dict[str, Any])

    async def verdicts(
        self,
        *,
        site: str = "",
        case: str = "",
        kind: str = "",
        operation: str = "",
        since_ms: int = 0,
        limit: int = 1000,
    ) -> dict[str, Any]:
        """What became of acts, the newest first (runtime/acts.py, `Asked`)."""
        return await self._read(
            lambda n: client.Verdicts(n, site, case, kind, operation, since_ms, limit), 0, dict[str, Any]
        )

    async def drill(self, for_ms: int, *, author: str = "", reason: str = "") -> dict[str, Any]:
        """Let a site behave as cut off for so long, or with 0 no longer: how the drill stands, or its report."""
        return await self._read(lambda n: client.Drill(n, for_ms, author, reason), GRACE_MS, dict[str, Any])

    async def status(self) -> dict[str, Any]:
        """How the node is, whatever the state of quorum and disk."""
        return await self._read(client.Status, 0, dict[str, Any])

    async def members(self) -> dict[str, Any]:
        """Who votes, who learns, where they are and how far, as the zone asked knows it."""
        return await self._read(client.Members, 0, dict[str, Any])

    async def change_members(
        self,
        *,
        add: tuple[client.NewZone, ...] = (),
        promote: tuple[str, ...] = (),
        remove: tuple[str, ...] = (),
        learners: bool = False,
    ) -> dict[str, Any]:
        """Begin a change of who votes: {"accepted": index} from the leading zone, {"redirect": …} from another.

        Raises NotPermitted with the reason in words: surely not done. `members` shows how it goes on.
        """
        return await self._read(
            lambda n: client.ChangeMembers(n, add, promote, remove, learners), GRACE_MS, dict[str, Any]
        )

    async def hand_over(self, to: str = "best", budget_ms: int = 2000) -> dict[str, Any]:
        """Hand leadership to the zone named `to`: {"leader": name} once it leads, {"redirect": …} from a zone that does
        not lead. Raises NotPermitted, NotAvailable."""
        return await self._read(lambda n: client.HandOver(n, to, budget_ms), budget_ms, dict[str, Any])

    async def meet(self, zones: tuple[ZoneAt, ...]) -> dict[str, Any]:
        """Tell a zone that was away which zones there are by now: {"met": how many of them it did not know}."""
        return await self._read(lambda n: client.Meet(n, zones), GRACE_MS, dict[str, Any])

    async def digest(self) -> dict[str, Any]:
        """The applied index and the digests of the state there."""
        return await self._read(client.Digest, 0, dict[str, Any])

    async def _submit(self, build: Callable[[int], ClientRequest], budget_ms: int, key: str) -> tuple[Receipt, ...]:
        try:
            answer = await self._ask(build, budget_ms)
        except _Lost as problem:
            raise OutcomeUnknown(key or "an operation without a key") from problem
        if not isinstance(answer, Receipts):
            raise RemoteProtocolError("a submit was answered with something other than receipts")
        for receipt in answer.receipts:
            self.seen_index = max(self.seen_index, receipt.index)
        return answer.receipts

    def _after(self, consistency: str) -> int:
        return self.seen_index if consistency == "session" else 0

    async def _read(self, build: Callable[[int], ClientRequest], budget_ms: int, kind: type[T]) -> T:
        answer = await self._ask(build, budget_ms)
        if not isinstance(answer, bytes):
            raise RemoteProtocolError("a reading request was answered with receipts")
        try:
            value = msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise RemoteProtocolError(f"an answer is not JSON of the expected kind: {problem}") from problem
        fresh = value.get("freshness") if isinstance(value, dict) else None
        if isinstance(fresh, dict):
            self.seen_index = max(self.seen_index, int(fresh.get("index", 0)))
        return value

    async def _ask(self, build: Callable[[int], ClientRequest], budget_ms: int) -> Receipts | bytes:
        """One request and its whole answer. Raises what the node answered; NotAvailable before anything left; _Lost."""
        if self.closed.is_set():
            raise NotAvailable(f"the connection to {self.peer.node_id} is closed")
        self._requests = (self._requests + 1) & 0xFFFF_FFFF
        request, waiting = self._requests, _Waiting(self._requests)
        self._waiting[request] = waiting
        try:
            self._connection.post(encode_request(build(request)))
            with trio.move_on_after((budget_ms + GRACE_MS) / 1000):
                await waiting.done.wait()
        finally:
            del self._waiting[request]
        match waiting.answer:
            case None if self.closed.is_set():
                raise _Lost(f"{self.peer.node_id} closed the connection before it answered")
            case None:
                raise _Lost(f"{self.peer.node_id} has not answered {GRACE_MS} ms past the budget")
            case Failure() as failure:
                raise client.error_of(failure)
            case answer:
                return answer

    async def _receive(self) -> None:
        while frames := await self._connection.receive():
            for payload in frames:
                response = decode(payload, TO_CLIENT)
                waiting = self._waiting.get(response.request)
                if waiting is not None:  # else its caller has gone
                    waiting.take(response)

    async def _run(self) -> None:
        try:
            await run_both(self._connection, self._receive)
        except* RemoteProtocolError:
            pass  # whoever waits is told that the connection is lost; there is nothing else to save
        finally:
            self.closed.set()
            for waiting in self._waiting.values():
                waiting.done.set()


class _Lost(NotAvailable):
    """The request left and its answer never came. Unlike a node's own NotAvailable it says nothing of what happened."""


@asynccontextmanager
async def open_client(
    address: str,
    *,
    name: str = "",
    cluster: str = "",
    expect: str | None = None,
    connect_ms: int = CONNECT_MS,
    outside: ClientOutside = REAL,
) -> AsyncIterator[Client]:
    """A client of the node at `address` (host:port). `expect`: the node id that must answer; None for whichever does.

    Raises NotAvailable where nobody answers within `connect_ms`, HandshakeRefused with the reason where it refuses us,
    ConfigError for an address that is none. On leaving, requests that still wait are given up.
    """
    me = Identity(
        cluster,
        name or f"client-{outside.random_bytes(4).hex()}",
        "client",
        outside.random_bytes(16),
        levels=(FIRST_LEVEL, HIGHEST_LEVEL),
        software=f"replica {__version__}",
    )
    connection, peer = await dial(me, address, zones={}, expect=expect, within_ms=connect_ms, outside=outside)
    this = Client(connection, peer)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(this._run)
            try:
                yield this
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


def _only(answer: Receipts | bytes) -> Receipt:
    if not isinstance(answer, Receipts) or len(answer.receipts) != 1:
        raise RemoteProtocolError("one receipt was asked for and something else came")
    return answer.receipts[0]
