"""Light followers of the feed in a process of their own: `python -m bench.follower ORDERS`, started by the bench.

A light follower is a site's line with nothing behind it: the site's own code on the wire (replica/runtime/line.py)
dials the zone that a site of its name would, greets, says where it is, joins and decodes effects, answers the beats. It
lacks the copy, the journal and the disk. A zone cannot tell it from a site, and fifty fit one process.

Says `ready` once all follow; at the end of its input, when each entry had come to how many and to the last of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

import msgspec
import trio
from msgspec import Struct

from bench.inside import quiet
from replica.admin.serve import seldom_pause
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL
from replica.cases.verdicts import Effects
from replica.config import ClusterSection, SiteConfig, SiteSection, ZonePeer, load_zone
from replica.demo.supervisor import CONFIG_FILE, Cluster
from replica.offline import events
from replica.runtime.connection import Connection
from replica.runtime.inbox import Inbox
from replica.runtime.line import Line
from replica.telemetry import logger
from replica.version import __version__
from replica.wire import Identity
from replica.wire.envelope import StateRecords
from replica.wire.feed import Zones
from replica.wire.snapshot import FromSender

if TYPE_CHECKING:
    from replica.runtime.previewed import Previews

READY: Final = b"ready\n"
UP_WITHIN_S: Final = 20.0


class Orders(Struct, frozen=True):
    """Whom to follow, under which names. One of `zones` each: the one a site of that name begins with."""

    cluster: str
    zones: tuple[ZonePeer, ...]
    names: tuple[str, ...]


class Seen(Struct, frozen=True):
    """One entry: to how many followers it has come, and when (`perf_counter`, the same clock in all processes of a
    machine) to the middle one and to the last."""

    index: int
    followers: int
    middle: float
    last: float


class Told(Struct, frozen=True):
    """What the process says at its end. `lost`: lines that broke, and states sent in place of effects."""

    seen: tuple[Seen, ...]
    lost: int


class Follower:
    """One line, and when entries came over it."""

    def __init__(self, name: str, orders: Orders) -> None:
        config = SiteConfig(ClusterSection(orders.cluster), SiteSection(name, "127.0.0.1:0", "."), orders.zones)
        life = name.encode()[-16:].rjust(16, b"\0")
        levels = (FIRST_LEVEL, HIGHEST_LEVEL)
        identity = Identity(orders.cluster, name, "site", life, 0, levels, f"replica {__version__}")
        self._position = (0, 0)
        self.line = Line(config, identity, self, logger(node=name))
        self.arrivals: dict[int, float] = {}
        self.up = trio.Event()
        self.lost = 0

    # ------------------------------------------------------------------ what the line asks of a site

    def followed_to(self) -> tuple[int, int]:
        return self._position

    def needs_whole(self) -> bool:
        return False

    def arrived(self, effects: Effects) -> None:
        self._position = effects.index, effects.term
        self.arrivals[effects.index] = perf_counter()

    async def replace_state(self, connection: Connection, inbox: Inbox[FromSender | StateRecords]) -> None:
        self.lost += 1

    def event(self, event: events.Event) -> None:
        match event:
            case events.LineUp():
                self.up.set()
            case events.LineDown():
                self.lost += 1

    def learn_zones(self, zones: Zones) -> None:
        """It knows those it was given."""

    @property
    def previews(self) -> Previews:
        return cast("Previews", _NoPreviews)


class _NoPreviews:
    """No preview is ever wanted."""

    are_wanted = False


def told(followers: Sequence[Follower]) -> Told:
    """What all of them have seen, entry by entry."""
    indexes = sorted({index for follower in followers for index in follower.arrivals})
    seen = []
    for index in indexes:
        times = sorted(one.arrivals[index] for one in followers if index in one.arrivals)
        seen.append(Seen(index, len(times), times[(len(times) - 1) // 2], times[-1]))
    return Told(tuple(seen), sum(follower.lost for follower in followers))


async def follow(orders: Orders) -> Told:
    """Follow until the input ends."""
    followers = [Follower(name, orders) for name in orders.names]
    async with trio.open_nursery() as nursery:
        for follower in followers:
            nursery.start_soon(follower.line.run)
        with trio.fail_after(UP_WITHIN_S):
            for follower in followers:
                await follower.up.wait()
        seldom_pause()
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        async with trio.lowlevel.FdStream(0) as given:
            while await given.receive_some(1024):
                pass
        found = told(followers)
        nursery.cancel_scope.cancel()
    return found


class Following:
    """The process, from outside. `end` once: what it has seen."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Wait until all follow. Raises RuntimeError where it ends instead."""
        assert self._process.stdout is not None, "asked for as a pipe"
        if await self._process.stdout.receive_some(len(READY)) != READY:
            raise RuntimeError("the followers have ended before they followed")

    async def end(self) -> Told:
        assert self._process.stdin is not None, "asked for as a pipe"
        assert self._process.stdout is not None, "asked for as a pipe"
        await self._process.stdin.aclose()
        said = bytearray()
        async for chunk in self._process.stdout:
            said += chunk
        await self._process.wait()
        return msgspec.json.decode(said, type=Told)


@asynccontextmanager
async def following(cluster: Cluster, names: Sequence[str]) -> AsyncIterator[Following]:
    """Followers of these names beside a cluster that serves, all of them up. Killed on leaving, if still there."""
    zones = load_zone(cluster.zones[0].data / CONFIG_FILE).zones
    orders = msgspec.json.encode(Orders(cluster.plan.cluster, zones, tuple(names))).decode()
    command = (sys.executable, "-m", "bench.follower", orders)
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        this = Following(process)
        await this.ready()
        yield this
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def main() -> int:
    """Follow, by the orders of the only argument."""
    parser = argparse.ArgumentParser(prog="python -m bench.follower", description=__doc__)
    parser.add_argument("orders", help="JSON; see Orders")
    orders = msgspec.json.decode(parser.parse_args().orders, type=Orders)
    quiet()
    sys.stdout.buffer.write(msgspec.json.encode(trio.run(follow, orders)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
