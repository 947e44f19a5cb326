"""What leaves within a call, what waits for the loop, and the bell that wakes one task."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from replica.runtime.bell import Bell, now_ms
from replica.runtime.connection import Connection
from replica.runtime.feed import Feed
from replica.runtime.inbox import Inbox
from replica.runtime.straight import receive_from, send_now, socket_of
from replica.wire import ZONE_TO_SITE, decode
from replica.wire.feed import FeedBeat, Follow
from replica.wire.frames import FrameReader
from replica.wire.snapshot import FromReceiver

MOST = 1 << 20


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of one socket."""
    here, there = trio.socket.socketpair()
    return trio.SocketStream(here), trio.SocketStream(there)


async def test_what_is_posted_now_has_left_when_the_call_returns() -> None:
    """No task of the sending side has run since."""
    here, there = await pair()
    async with here, there:
        Connection(here).post_now(b"hello")
        assert await there.receive_some() == b"\0\0\0\5hello"


async def test_what_is_posted_leaves_before_what_is_posted_now_after_it() -> None:
    """They share one line, in the order of the calls."""
    here, there = await pair()
    async with here, there:
        connection = Connection(here)
        connection.post(b"first")
        connection.post_now(b"second")
        assert connection.waiting_bytes == 0
        assert FrameReader(MOST).feed(bytes(await there.receive_some())) == [b"first", b"second"]


async def test_what_the_kernel_does_not_take_follows_in_order() -> None:
    """A slow reader: the first frames are cut anywhere, and nothing is lost or torn."""
    here, there = await pair()
    connection, reader = Connection(here), FrameReader(MOST)
    wanted = [bytes([number]) * 100_000 for number in range(1, 30)]
    async with there, trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_posted)
        for payload in wanted:
            connection.post_now(payload)
        assert connection.waiting_bytes > 0
        found: list[bytes] = []
        while len(found) < len(wanted):
            found += reader.feed(bytes(await there.receive_some()))
        assert found == wanted
        await connection.until_below(0)
        connection.give_up()


async def test_posting_on_a_line_whose_other_end_is_gone_raises_nothing() -> None:
    """The task that sends finds out, and ends."""
    here, there = await pair()
    connection = Connection(here)
    await there.aclose()
    connection.post_now(b"nobody reads this")
    await connection.send_posted()
    assert connection.broken
    connection.post_now(b"nor this")
    assert send_now(here.socket, b"closed here too") == 0


async def test_a_line_that_is_given_up_for_too_much_sends_no_half_of_it() -> None:
    """Past the bound nothing more leaves."""
    here, there = await pair()
    async with here, there:
        connection = Connection(here, most_bytes=10)
        connection.post_now(b"far too much for this line")
        assert connection.broken
        await connection.send_posted()
        assert await there.receive_some() == b""


async def test_the_end_of_a_line_reads_as_nothing() -> None:
    """Whichever side ended it."""
    here, there = await pair()
    await there.aclose()
    assert await receive_from(here.socket, MOST) == b""
    async with trio.open_nursery() as nursery:
        other, far = await pair()
        nursery.start_soon(other.aclose)
        assert await receive_from(other.socket, MOST) == b""
        assert await receive_from(other.socket, MOST) == b""
        await far.aclose()
    await here.aclose()


def test_a_stream_that_is_no_plain_socket_goes_its_own_way() -> None:
    """Memory and TLS have nothing to write to directly."""
    assert socket_of(trio.testing.memory_stream_pair()[0]) is None


async def test_a_bell_wakes_its_listener_once_however_often_it_rang() -> None:
    """And a listener that was cancelled is not woken afterwards."""
    bell = Bell()
    bell.ring()
    bell.ring()
    await bell.wait()
    with trio.move_on_after(0.01) as scope:
        await bell.wait()
    assert scope.cancelled_caught
    bell.ring()
    await bell.wait()


async def test_turns_come_with_rings_and_at_deadlines_as_they_stand(autojump_clock: MockClock) -> None:
    """A deadline that moved on is not kept at its old time; one that came nearer is kept at its new."""
    bell, turns, deadline = Bell(), list[int](), [now_ms() + 100]
    began = now_ms()

    def turn() -> None:
        turns.append(now_ms() - began)
        if now_ms() >= deadline[0]:
            deadline[0] = now_ms() + 1000

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bell.turn_for_ever, lambda: deadline[0], turn)
        await wait_all_tasks_blocked()
        deadline[0] = began + 300
        await trio.sleep(0.2)
        assert turns == []
        bell.ring()
        await trio.sleep(0.05)
        assert turns == [200]
        await trio.sleep(0.1)
        assert turns == [200, 300]
        deadline[0] = began + 400
        bell.ring()
        await trio.sleep(0.1)
        assert turns == [200, 300, 350, 400]
        bell.ring_before(deadline[0])
        bell.ring_before(deadline[0] + 500)
        await wait_all_tasks_blocked()
        assert len(turns) == 4
        bell.ring_before(deadline[0] - 500)
        await wait_all_tasks_blocked()
        assert len(turns) == 5
        nursery.cancel_scope.cancel()


async def test_the_same_beat_is_not_told_twice_in_a_row(autojump_clock: MockClock) -> None:
    """A zone that follows beats with the leader's clock and with its own; what is new is told at once."""
    line = _Line()
    feed = Feed(_Nothing(), 1 << 16, 100, None)  # type: ignore[arg-type]  # all it asks of a state
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve, line, Follow(0, 0), Inbox[FromReceiver]())
        await trio.sleep(1)
        line.posted.clear()
        feed.beat(1, 5, 1000, 2)
        feed.beat(1, 5, 1000, 2)
        feed.beat(1, 6, 1000, 2)
        told = [decode(one, ZONE_TO_SITE) for one in line.posted]
        assert told == [FeedBeat(1, 5, 1000, 2), FeedBeat(1, 6, 1000, 2)]
        await trio.sleep(0.1)
        feed.beat(1, 6, 1000, 2)
        assert len(line.posted) == 3
        nursery.cancel_scope.cancel()


class _Nothing:
    """A state before the first entry."""

    index = term = 0


class _Line(Connection):
    """Keeps what is posted."""

    def __init__(self) -> None:
        super().__init__(trio.testing.memory_stream_pair()[0])
        self.posted: list[bytes] = []

    def post(self, payload: bytes) -> None:
        self.posted.append(payload)
