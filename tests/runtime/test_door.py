"""Who comes in at a node's door: strangers, broken bytes and idlers end their own connection and disturb nobody."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec import structs

import replica
from replica.api import Node
from replica.config import Timing
from replica.errors import HandshakeRefused
from replica.runtime.client import open_client
from replica.runtime.dial import dial
from replica.wire import Identity, frame
from replica.wire.handshake import Dialler
from tests.runtime.nodes import CASE, Plan, cluster

pytestmark = pytest.mark.processes

QUICK = Timing(handshake_ms=300)
LIFE = bytes(16)


@asynccontextmanager
async def still_well(folder: Path) -> AsyncIterator[tuple[Node, Node]]:
    """A zone and a site; whatever the test did at their doors, an operation is agreed afterwards."""
    async with cluster(Plan(folder, timing=QUICK)) as (zones, site):
        yield zones[0], site
        (receipt,) = await site.submit_message(CASE, budget_ms=5000)
        assert isinstance(receipt, replica.Agreed)


async def ends(stream: trio.SocketStream) -> bytes:
    """Read until the node closes. What it said before."""
    said = b""
    with trio.fail_after(5):
        while data := await stream.receive_some(4096):
            said += data
    return said


async def stream_to(node: Node) -> trio.SocketStream:
    host, port = node.address.rsplit(":", 1)
    return await trio.open_tcp_stream(host, int(port))


async def test_random_bytes_end_their_own_connection_only(tmp_path: Path) -> None:
    """I1: noise of every length, at the zone's door and at the site's."""
    rng = random.Random(7)
    async with still_well(tmp_path) as nodes:
        for node in nodes:
            for length in (1, 3, 4, 5, 64, 5000):
                stream = await stream_to(node)
                try:
                    await stream.send_all(rng.randbytes(length))
                    await stream.send_eof()
                    await ends(stream)
                except trio.BrokenResourceError:
                    pass
                await stream.aclose()


async def test_a_huge_length_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    """I1: four bytes that promise four gigabytes."""
    async with still_well(tmp_path) as nodes:
        for node in nodes:
            stream = await stream_to(node)
            await stream.send_all(b"\xff\xff\xff\xff")
            await ends(stream)
            await stream.aclose()


async def test_a_wrong_cluster_is_refused_with_both_names(tmp_path: Path) -> None:
    """I2: a site of another cluster is told why it may not come in."""
    async with still_well(tmp_path) as (zone, _):
        me = Identity("elsewhere", "fr.health.samu750", "site", LIFE)
        with pytest.raises(HandshakeRefused, match=r"elsewhere.*test"):
            await dial(me, zone.address, zones={}, expect=None, within_ms=2000)


async def test_a_wrong_version_is_refused_with_both_ranges(tmp_path: Path) -> None:
    """I2: no common protocol version."""
    async with still_well(tmp_path) as nodes:
        for node in nodes:
            me = Identity("test", "client-1", "client", LIFE, protocols=(90, 91))
            with pytest.raises(HandshakeRefused, match="protocol version"):
                await dial(me, node.address, zones={}, expect=None, within_ms=2000)


async def test_a_zone_that_is_not_in_the_membership_is_refused(tmp_path: Path) -> None:
    """I2: neither an unknown name nor a known one with another number."""
    async with still_well(tmp_path) as (zone, _):
        for name, number in (("zone-9", 9), ("zone-1", 2)):
            me = Identity("test", name, "zone", LIFE, number)
            with pytest.raises(HandshakeRefused):
                await dial(me, zone.address, zones={}, expect=None, within_ms=2000)


async def test_a_site_that_speaks_a_zones_language_is_cut_off(tmp_path: Path) -> None:
    """What may be said depends on who says it."""
    async with still_well(tmp_path) as (zone, _):
        me = Identity("test", "fr.health.samu750", "site", LIFE)
        stream = await stream_to(zone)
        await stream.send_all(frame(Dialler(me).hello()))
        await stream.receive_some(4096)
        await stream.send_all(frame(b"\x92\xa4raft\x90"))
        await ends(stream)
        await stream.aclose()


async def test_two_hundred_idle_connections_are_closed_in_time_and_disturb_nobody(tmp_path: Path) -> None:
    """I1: who does not say who he is within the handshake's time is closed."""
    async with still_well(tmp_path) as nodes:
        for node in nodes:
            idle = [await stream_to(node) for _ in range(200)]
            async with open_client(node.address) as client:
                assert (await client.status())["node"] == node.status()["node"]
            for stream in idle:
                await ends(stream)
                await stream.aclose()


async def test_a_slow_drip_is_cut_at_the_handshakes_time(tmp_path: Path) -> None:
    """A byte now and then does not keep a stranger's connection open."""
    async with still_well(tmp_path) as (zone, _):
        stream = await stream_to(zone)
        with trio.fail_after(5):
            try:
                while True:
                    await stream.send_all(b"\0")
                    await trio.sleep(0.05)
            except trio.BrokenResourceError:
                pass
        await stream.aclose()


async def test_more_connections_than_the_limit_are_turned_away(tmp_path: Path) -> None:
    """A full door says no at once; those inside stay."""
    plan = Plan(tmp_path, timing=QUICK)
    zone_config = plan.zone()
    small = structs.replace(zone_config, limits=structs.replace(zone_config.limits, connections=8))
    async with replica.open_zone(small, found=True) as zone:
        inside = [await stream_to(zone) for _ in range(8)]
        extra = await stream_to(zone)
        assert await ends(extra) == b""
        for stream in [*inside, extra]:
            await stream.aclose()


async def test_a_site_that_sends_no_operation_breaks_its_own_line_only(tmp_path: Path) -> None:
    """Bytes that are no operation are found at the door where they come in."""
    async with still_well(tmp_path) as (zone, _):
        me = Identity("test", "fr.health.samu750", "site", os.urandom(16))
        connection, _ = await dial(me, zone.address, zones={}, expect=None, within_ms=2000)
        await connection.send(b"\x93\xa6follow\x00\x00")
        await connection.send(b"\x92\xa6submit\x91\xc4\x03abc")
        with trio.fail_after(5):
            while await connection.receive():
                pass
        await connection.aclose()
