"""What waits is bounded: for a slow zone, for a busy loop, for a leader who is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

import replica
from replica.config import Limits, ZonePeer
from replica.raft.messages import Append, Heartbeat
from replica.raft.types import Entry, EntryKind
from replica.runtime.connection import Connection
from replica.runtime.links import Links
from replica.runtime.zone import ZoneNode
from replica.telemetry import logger
from replica.wire import Identity
from tests.runtime.nodes import Plan, until

LIMIT = 1 << 20


def links_of(plan: Plan) -> Links:
    config = plan.zone(1)
    limited = replica.ZoneConfig(config.cluster, config.zone, config.zones, limits=Limits(link_bytes=LIMIT))
    return Links(limited, Identity("test", "zone-1", "zone", bytes(16), 1), None, logger())  # type: ignore[arg-type]


def append(index: int, size: int) -> Append:
    return Append(1, 2, 1, index - 1, 1, (Entry(index, 1, EntryKind.DATA, bytes(size)),), 0)


async def test_a_zone_that_reads_nothing_costs_a_bounded_amount_and_keeps_its_connection(tmp_path: Path) -> None:
    """A thousand messages of 100 kB to a zone that reads none of them: one megabyte waits, the rest is not sent."""
    links = links_of(Plan(tmp_path, zones=2))
    stream, _unread = trio.testing.lockstep_stream_pair()
    connection = links._links[2].out = Connection(stream)
    for index in range(1, 1001):
        links.post([append(index, 100_000)])
        assert connection.waiting_bytes <= LIMIT
    assert links.waiting_bytes == {"zone-2": connection.waiting_bytes}
    assert links.dropped["zone-2"] > 900
    assert not connection.broken


async def test_once_it_reads_again_it_is_sent_to_again(tmp_path: Path) -> None:
    links = links_of(Plan(tmp_path, zones=2))
    stream, other = trio.testing.memory_stream_pair()
    connection = links._links[2].out = Connection(stream)
    for index in range(1, 20):
        links.post([append(index, 100_000)])
    dropped = links.dropped["zone-2"]
    assert dropped
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_posted)
        await links.until_sent()
        links.post([Heartbeat(1, 2, 1, 0)])
        assert links.dropped["zone-2"] == dropped
        assert links.waiting_bytes["zone-2"] > 0
        await links.until_sent()
        nursery.cancel_scope.cancel()
    await other.aclose()


async def test_one_message_larger_than_the_bound_is_sent_when_nothing_waits(tmp_path: Path) -> None:
    """Else it could never be sent."""
    links = links_of(Plan(tmp_path, zones=2))
    stream, _unread = trio.testing.lockstep_stream_pair()
    connection = links._links[2].out = Connection(stream)
    links.post([append(1, 3 * LIMIT)])
    assert connection.waiting_bytes > LIMIT


@pytest.mark.processes
async def test_what_other_zones_say_is_not_read_while_too_much_of_it_waits(tmp_path: Path) -> None:
    """The loop of this node stands still: the reader of a link waits, and goes on with the loop's next turn."""
    plan = Plan(tmp_path, zones=3)
    config = replica.ZoneConfig(*(getattr(plan.zone(1), name) for name in ("cluster", "zone", "zones")))
    async with replica.open_zone(config, found=True) as zone:
        node = zone._running.node
        assert isinstance(node, ZoneNode)
        beats = [Heartbeat(2, 1, 0, 0)] * config.limits.inbox_messages
        node.deliver_raft(beats)
        passed = trio.Event()

        async def read() -> None:
            await node.until_room()
            passed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            node.deliver_raft(beats)
            assert not passed.is_set()
            await until(passed.is_set)


def test_the_zones_of_a_link_change_while_it_runs(tmp_path: Path) -> None:
    """The mapping that the door goes by follows."""
    links = links_of(Plan(tmp_path, zones=3))
    assert links.zones == {"zone-1": 1, "zone-2": 2, "zone-3": 3}
    links.follow([ZonePeer(3, "zone-3", "h:3"), ZonePeer(4, "zone-4", "h:4")])
    assert links.zones == {"zone-1": 1, "zone-3": 3, "zone-4": 4}
