"""The thin client: who asked gets the answer, whatever the order; and a lost connection says what it means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from replica.cases.commands import CloseCase
from replica.errors import (
    ConfigError,
    HandshakeRefused,
    InvalidMessage,
    NotAvailable,
    NotPermitted,
    OutcomeUnknown,
    Place,
    RemoteProtocolError,
)
from replica.runtime import client as client_module
from replica.runtime.client import Client, open_client
from replica.runtime.connection import Connection, run_both
from replica.runtime.dial import greet
from replica.wire import FROM_CLIENT, Identity, decode, encode
from replica.wire.client import (
    Answer,
    ClientRequest,
    Receipt,
    Receipts,
    Status,
    SubmitCommand,
    SubmitMessage,
    answers,
    failure_of,
)

SITE = "fr.health.samu440"
ME = Identity("demo", SITE, "site", b"s" * 16)
Behave = Callable[[Connection, ClientRequest], Awaitable[None]]


@asynccontextmanager
async def site_that(behave: Behave) -> AsyncIterator[str]:
    """A site at a door of its own that answers each request as `behave` does. Its address."""

    async def serve(stream: trio.SocketStream) -> None:
        connection, _ = await greet(ME, stream, zones={}, accepts=frozenset({"client"}), within_ms=1000)

        async def receive() -> None:
            while frames := await connection.receive():
                for payload in frames:
                    await behave(connection, decode(payload, FROM_CLIENT))

        await run_both(connection, receive)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        host, port = listeners[0].socket.getsockname()[:2]
        yield f"{host}:{port}"
        nursery.cancel_scope.cancel()


async def hang_up(connection: Connection, request: ClientRequest) -> None:
    connection.give_up()


async def say_nothing(connection: Connection, request: ClientRequest) -> None:
    return None


async def test_answers_find_their_callers_in_whatever_order_they_come() -> None:
    """Two callers share a connection; the second's answer comes first."""
    waiting: list[ClientRequest] = []

    async def backwards(connection: Connection, request: ClientRequest) -> None:
        waiting.append(request)
        if len(waiting) == 2:
            for one in reversed(waiting):
                assert isinstance(one, SubmitCommand)
                connection.post(encode(Receipts(one.request, (Receipt("journalled", one.key),))))

    got: dict[str, str] = {}

    async def submit(client: Client, key: str) -> None:
        got[key] = (await client.submit(CloseCase("c"), key=key)).operation

    async with site_that(backwards) as address, open_client(address, expect=SITE) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit, client, "one")
            nursery.start_soon(submit, client, "two")
    assert got == {"one": "one", "two": "two"}


async def test_what_is_submitted_arrives_as_it_was_said() -> None:
    """Command, author, time, key and budget; a message's bytes unread."""
    seen: list[ClientRequest] = []

    async def take(connection: Connection, request: ClientRequest) -> None:
        seen.append(request)
        connection.post(encode(Receipts(request.request, (Receipt("journalled", "x"),))))

    async with site_that(take) as address, open_client(address) as client:
        await client.submit(CloseCase("c"), 77, author="a", act_ms=5, key="k")
        await client.submit_message(b"bytes", 78, sender="s", author="a", key="k")
    assert seen == [
        SubmitCommand(1, CloseCase("c"), "a", 5, "k", 77),
        SubmitMessage(2, b"bytes", "s", "a", "k", 78),
    ]


async def test_an_answer_in_pieces_is_put_together() -> None:
    """What is larger than a frame comes in several."""
    whole = {"node": SITE, "filler": "x" * 3_000_000}

    async def in_pieces(connection: Connection, request: ClientRequest) -> None:
        for piece in answers(request.request, msgspec.json.encode(whole)):
            connection.post(encode(piece))

    async with site_that(in_pieces) as address, open_client(address) as client:
        assert await client.status() == whole


@pytest.mark.parametrize(
    "error",
    [NotPermitted("needs the quorum"), InvalidMessage((Place("$.caseId", "missing"),)), OutcomeUnknown("a/00/1")],
)
async def test_what_the_site_raises_is_raised_here(error: InvalidMessage | NotPermitted | OutcomeUnknown) -> None:
    """The library's own errors cross the line whole."""

    async def fail(connection: Connection, request: ClientRequest) -> None:
        connection.post(encode(failure_of(request.request, error)))

    async with site_that(fail) as address, open_client(address) as client:
        with pytest.raises(type(error)) as raised:
            await client.submit(CloseCase("c"))
    assert str(raised.value) == str(error)


async def test_a_submit_whose_connection_breaks_has_an_unknown_outcome_under_its_key() -> None:
    """It may have been kept: not NotAvailable, which would say that it surely was not."""
    async with site_that(hang_up) as address, open_client(address) as client:
        with pytest.raises(OutcomeUnknown) as raised:
            await client.submit(CloseCase("c"), key="mine")
        assert raised.value.operation == "mine"
        assert client.closed.is_set()
        with pytest.raises(NotAvailable):
            await client.submit(CloseCase("c"), key="mine")


async def test_a_reading_request_whose_connection_breaks_is_just_not_answered() -> None:
    """Nothing can have happened."""
    async with site_that(hang_up) as address, open_client(address) as client:
        with pytest.raises(NotAvailable, match="closed the connection before it answered"):
            await client.status()


async def test_a_silent_node_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the budget and a grace the caller is told."""
    monkeypatch.setattr(client_module, "GRACE_MS", 20)
    async with site_that(say_nothing) as address, open_client(address) as client:
        with pytest.raises(OutcomeUnknown):
            await client.submit(CloseCase("c"), 10)
        with pytest.raises(NotAvailable, match="has not answered"):
            await client.status()


async def test_an_answer_that_comes_after_its_caller_has_gone_is_let_go() -> None:
    """And the next request on the connection is answered as ever."""
    late: list[int] = []

    async def late_then_prompt(connection: Connection, request: ClientRequest) -> None:
        late.append(request.request)
        if len(late) == 2:
            for number in late:
                connection.post(encode(Answer(number, b'{"n": %d}' % number)))

    async with site_that(late_then_prompt) as address, open_client(address) as client:
        with trio.move_on_after(0.05):
            await client.status()
        assert await client.status() == {"n": 2}


async def test_an_answer_of_the_wrong_kind_is_a_protocol_error() -> None:
    """Receipts for a question, or bytes that are no JSON."""

    async def mixed_up(connection: Connection, request: ClientRequest) -> None:
        wrong = Receipts(request.request, ()) if isinstance(request, Status) else Answer(request.request, b"{}")
        connection.post(encode(wrong))

    async def no_json(connection: Connection, request: ClientRequest) -> None:
        connection.post(encode(Answer(request.request, b"\xff")))

    async with site_that(mixed_up) as address, open_client(address) as client:
        with pytest.raises(RemoteProtocolError):
            await client.status()
        with pytest.raises(RemoteProtocolError):
            await client.submit(CloseCase("c"))
    async with site_that(no_json) as address, open_client(address) as client:
        with pytest.raises(RemoteProtocolError, match="not JSON"):
            await client.status()


async def test_a_message_that_is_no_answer_ends_the_connection_and_every_wait() -> None:
    """A node that breaks the protocol is not talked to any more."""

    async def babble(connection: Connection, request: ClientRequest) -> None:
        connection.post(b"\x91\xa3abc")

    async with site_that(babble) as address, open_client(address) as client:
        with pytest.raises(NotAvailable):
            await client.status()
        assert client.closed.is_set()


async def test_who_answers_in_anothers_place_is_refused() -> None:
    """The node id that was meant has to answer."""
    async with site_that(say_nothing) as address:
        with pytest.raises(HandshakeRefused):
            async with open_client(address, expect="fr.health.samu690"):
                pass


async def test_nobody_there_is_not_available() -> None:
    """With the address, so that a person can look."""
    with pytest.raises(NotAvailable, match=r"127\.0\.0\.1:1 "):
        async with open_client("127.0.0.1:1"):
            pass
    with pytest.raises(ConfigError):
        async with open_client("nowhere"):
            pass


async def test_what_the_body_raises_comes_out_as_itself() -> None:
    """Not wrapped in a group."""

    async def fail(address: str) -> None:
        async with open_client(address):
            raise ZeroDivisionError

    async with site_that(say_nothing) as address:
        with pytest.raises(ZeroDivisionError):
            await fail(address)
