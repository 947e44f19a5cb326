"""A whole node as one context: store opened, tasks started, door open; on the way out everything in reverse.

A background task that ends, for whatever reason, raises out of the `async with`: a node that looks alive and does
nothing is worse than a dead one. Leaving tidies up within two seconds even when cancelled; nothing can be lost by it,
since whatever was acknowledged was durable before it was said.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from replica.config import SiteConfig, ZoneConfig
from replica.raft.types import HardState
from replica.runtime.control import Control
from replica.runtime.disk import Disk
from replica.runtime.instrument import LetTheDiskRun
from replica.runtime.server import Server, bound_address, listen
from replica.runtime.service import Service
from replica.runtime.site import SiteNode
from replica.runtime.status import site_status, zone_status
from replica.runtime.zone import ZoneNode
from replica.storage import Identity as StoreIdentity
from replica.storage import Store, open_store
from replica.telemetry import logger
from replica.version import __version__
from replica.wire import Identity

CLOSE_WITHIN_S = 2


@dataclass(frozen=True, slots=True)
class Running:
    """A node that serves: its service, where it listens, and how it stands."""

    service: Service
    address: str
    status: Callable[[], dict[str, Any]]


@asynccontextmanager
async def run_zone(config: ZoneConfig, *, found: bool = False) -> AsyncIterator[Running]:
    """A zone node, serving. `found`: this is a new cluster, so an empty store may vote (docs/decisions/0001).

    Raises StoreError before anything is started; afterwards whatever ends the node.
    """
    log = logger(node=config.zone.name)
    name = StoreIdentity(config.cluster.id, config.zone.name, "zone", secrets.token_hex(16))
    me = Identity(
        config.cluster.id, config.zone.name, "zone", secrets.token_bytes(16), config.zone.number, software=__version__
    )
    with opened(config.zone.data, name, config.limits.map_size_gib) as store:
        if store.fresh:
            store.log.save(HardState(rebuilding=not found), ())
            log.info("store-founded" if found else "store-empty-does-not-vote")
        async with disk_of(store, log) as disk:
            node = ZoneNode(config, me, store, disk, log)
            service = node.service
            status = partial(zone_status, node)
            control = Control(service, status)
            roles = {"zone": node.links.serve, "site": node.serve_site, "client": control.serve, "probe": control.serve}
            server = Server(me, node.links.zones, roles, config.timing, config.limits.connections, log)
            tasks = [
                node.turn_for_ever,
                node.save_again_for_ever,
                node.beat_for_ever,
                node.flush_for_ever,
                node.desk.keep_time,
                node.links.run,
                disk.watch,
            ]
            async with flushed_at_the_end(node.flush_at_the_end), serving(server, config.zone.listen, tasks) as address:
                log.info("ready", listen=address)
                yield Running(service, address, status)


@asynccontextmanager
async def run_site(config: SiteConfig) -> AsyncIterator[Running]:
    """A site, serving: with or without any zone in reach. Raises as `run_zone`."""
    log = logger(node=config.site.name)
    name = StoreIdentity(config.cluster.id, config.site.name, "site", secrets.token_hex(16))
    me = Identity(config.cluster.id, config.site.name, "site", secrets.token_bytes(16), software=__version__)
    with opened(config.site.data, name, config.limits.map_size_gib) as store:
        async with disk_of(store, log) as disk:
            node = SiteNode(config, me, store, disk, log)
            service = node.service
            status = partial(site_status, node)
            control = Control(service, status)
            roles = {"client": control.serve, "probe": control.serve}
            zones = {peer.name: peer.number for peer in config.zones}
            server = Server(me, zones, roles, config.timing, config.limits.connections, log)
            tasks = [node.desk.keep_time, node.line.run, node.flush_for_ever, node.register_for_ever, disk.watch]
            async with flushed_at_the_end(node.flush_at_the_end), serving(server, config.site.listen, tasks) as address:
                log.info("ready", listen=address)
                yield Running(service, address, status)


def opened(data: str, name: StoreIdentity, map_size_gib: int) -> Store:
    """The node's store; the caller closes it. Raises StoreError."""
    return open_store(Path(data), name, create=True, map_size=map_size_gib << 30)


@asynccontextmanager
async def disk_of(store: Store, log: Any) -> AsyncIterator[Disk]:
    """The store's two threads, and the cure that lets them run beside a busy loop."""
    disk = Disk(store, log)
    cure = LetTheDiskRun(disk.busy)
    trio.lowlevel.add_instrument(cure)
    try:
        yield disk
    finally:
        trio.lowlevel.remove_instrument(cure)
        with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
            await disk.aclose()


@asynccontextmanager
async def flushed_at_the_end(flush: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Write the state back once more when the node's tasks have ended: a stopped store then shows all that was
    applied."""
    try:
        yield
    finally:
        with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
            await flush()


@asynccontextmanager
async def serving(server: Server, address: str, tasks: Sequence[Callable[[], Awaitable[None]]]) -> AsyncIterator[str]:
    """Run the node's tasks and its door. Yields the address a client can dial."""
    listeners = await listen(address)
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(for_ever, task)
        nursery.start_soon(for_ever, partial(server.run, listeners))
        try:
            yield bound_address(listeners)
        finally:
            nursery.cancel_scope.cancel()


async def for_ever(task: Callable[[], Awaitable[None]]) -> None:
    """Run a background task that must not end; if it does, that is the end of the node."""
    await task()
    raise AssertionError(f"the background task {task} ended")
