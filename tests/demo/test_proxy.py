"""A line does to bytes what its mode says: lets them pass, swallows them silently, resets, or delays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from replica.demo.proxy import Mode, Proxy

pytestmark = pytest.mark.processes


async def echo(stream: trio.SocketStream) -> None:
    try:
        async for chunk in stream:
            await stream.send_all(chunk)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def echoing_line() -> AsyncIterator[Proxy]:
    """A line to a server that sends back what it hears."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        line = Proxy("test", listeners[0].socket.getsockname()[:2])
        await nursery.start(line.serve)
        yield line
        nursery.cancel_scope.cancel()


async def connect(line: Proxy) -> trio.SocketStream:
    host, port = line.address.split(":")
    return await trio.open_tcp_stream(host, int(port))


async def receive(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await stream.receive_some()
        assert chunk, f"the line ended after {len(data)} of {count} bytes"
        data += chunk
    return data


async def test_an_open_line_passes_every_byte_in_order_and_an_orderly_end() -> None:
    """A megabyte comes back as it went, and after our end of stream the other side's follows."""
    sent = bytes(range(256)) * 4096
    async with echoing_line() as line, await connect(line) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, sent)
            assert await receive(stream, len(sent)) == sent
        await stream.send_eof()
        assert await stream.receive_some() == b""


async def test_a_silent_line_says_nothing_and_after_healing_delivers_what_was_under_way() -> None:
    """In a black hole nothing arrives and nobody is told; healed, the same connection goes on in order."""
    async with echoing_line() as line, await connect(line) as stream:
        await stream.send_all(b"one")
        assert await receive(stream, 3) == b"one"
        line.set_mode(Mode.BLACK_HOLE)
        await stream.send_all(b"two")
        with trio.move_on_after(0.1) as waiting:
            await stream.receive_some()
        assert waiting.cancelled_caught, "a cut line let something through"
        line.set_mode(Mode.PASS)
        await stream.send_all(b"three")
        assert await receive(stream, 8) == b"twothree"


async def test_a_new_connection_on_a_silent_line_is_taken_and_then_silent() -> None:
    """Whoever connects meanwhile waits, and is served after healing."""
    async with echoing_line() as line:
        line.set_mode(Mode.BLACK_HOLE)
        async with await connect(line) as stream:
            await stream.send_all(b"one")
            with trio.move_on_after(0.1) as waiting:
                await stream.receive_some()
            assert waiting.cancelled_caught, "a cut line let something through"
            line.set_mode(Mode.PASS)
            assert await receive(stream, 3) == b"one"


async def test_a_refusing_line_resets_what_is_connected_and_what_comes() -> None:
    """REFUSE is told at once, unlike silence, and PASS takes new connections again."""
    async with echoing_line() as line, await connect(line) as stream:
        await stream.send_all(b"one")
        assert await receive(stream, 3) == b"one"
        line.set_mode(Mode.REFUSE)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        async with await connect(line) as refused:
            with pytest.raises(trio.BrokenResourceError):
                await refused.receive_some()
        line.set_mode(Mode.PASS)
        async with await connect(line) as again:
            await again.send_all(b"two")
            assert await receive(again, 3) == b"two"


async def test_a_delayed_line_is_late_by_its_delay_each_way_and_not_by_more_for_a_burst() -> None:
    """40 ms there and 40 ms back; three chunks sent together do not wait for one another."""
    async with echoing_line() as line, await connect(line) as stream:
        await stream.send_all(b"warm")
        assert await receive(stream, 4) == b"warm"
        line.set_mode(Mode.DELAY, delay_ms=40)
        began = trio.current_time()
        for _ in range(3):
            await stream.send_all(b"x" * 1000)
            await trio.sleep(0.005)
        await receive(stream, 3000)
        took_ms = (trio.current_time() - began) * 1000
        assert 80 <= took_ms < 200, f"{took_ms:.0f} ms for a round trip of 80 ms"


async def test_a_line_to_nobody_resets_its_connection() -> None:
    """Where no process listens behind the line, the caller is told, as by a kernel without a listener."""
    async with echoing_line() as line:
        line.target = ("127.0.0.1", 1)
        async with await connect(line) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_a_dead_process_behind_the_line_ends_the_connection() -> None:
    """The server closing its socket is seen through the line."""
    async with trio.open_nursery() as nursery:

        async def hang_up(stream: trio.SocketStream) -> None:
            await stream.receive_some(1)

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, listeners)
        line = Proxy("test", listeners[0].socket.getsockname()[:2])
        await nursery.start(line.serve)
        async with await connect(line) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
