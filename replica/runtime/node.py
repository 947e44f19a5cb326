"""A whole node as one context: store opened, tasks started, door open; on the way out everything in reverse.

A background task that ends, for whatever reason, raises out of the `async with`: a node that looks alive and does
nothing is worse than a dead one. Leaving tidies up within two seconds even when cancelled; nothing can be lost by it,
since whatever was acknowledged was durable before it was said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL
from replica.config import SiteConfig, ZoneConfig
from replica.errors import ConfigError
from replica.raft.types import HardState
from replica.runtime.bell import WALL_CLOCK
from replica.runtime.belonging import generation_of
from replica.runtime.control import Control
from replica.runtime.disk import Disk
from replica.runtime.members import Office
from replica.runtime.outside import REAL, Outside
from replica.runtime.server import Server, listen
from replica.runtime.service import Service
from replica.runtime.sheet_keeper import Plan, SheetKeeper, of_site
from replica.runtime.site import SiteNode
from replica.runtime.status import site_status, zone_status
from replica.runtime.zone import ZoneNode
from replica.storage import Identity as StoreIdentity
from replica.storage import Store
from replica.version import __version__
from replica.wire import Identity
from replica.wire.handshake import cluster_name

CLOSE_WITHIN_S = 2
LEVELS = (FIRST_LEVEL, HIGHEST_LEVEL)


@dataclass(frozen=True, slots=True)
class Running:
    """A node that serves: its service, where it listens, how it stands, and itself for who looks inside."""

    service: Service
    address: str
    status: Callable[[], dict[str, Any]]
    node: ZoneNode | SiteNode


@asynccontextmanager
async def run_zone(
    config: ZoneConfig, *, found: bool = False, join: bool = False, outside: Outside = REAL
) -> AsyncIterator[Running]:
    """A zone node, serving. `found`: this is a new cluster, so an empty store may vote (docs/decisions/0001).
    `join`: an empty store of a number never used before: it has no promises to forget, and votes once it is a member.

    Raises ConfigError, StoreError before anything is started; afterwards whatever ends the node.
    """
    WALL_CLOCK.set(outside.wall_ms)
    log = outside.logger(config.zone.name)
    name = StoreIdentity(config.cluster.id, config.zone.name, "zone", outside.random_bytes(16).hex())
    life = outside.random_bytes(16)
    me = Identity(config.cluster.id, config.zone.name, "zone", life, config.zone.number, LEVELS, __version__)
    with outside.open_store(config.zone.data, name, config.limits.map_size_gib) as store:
        if store.fresh:
            check_beginning(config, found, join)
            store.log.save(HardState(rebuilding=not (found or join)), ())
            log.info("store-founded" if found else "store-joins" if join else "store-empty-does-not-vote")
        me = replace(me, cluster_id=cluster_name(config.cluster.id, generation_of(config, store.log)))
        async with disk_of(store, log, outside) as disk:
            node = ZoneNode(config, me, store, disk, log, outside)
            service = node.service
            status = partial(zone_status, node)
            control = Control(service, status, Office(node))
            roles = {
                "zone": node.links.serve,
                "site": node.sites.serve,
                "client": control.serve,
                "probe": control.serve,
            }
            server = Server(me, node.links.zones, roles, config.timing, config.limits.connections, log)
            tasks = [
                node.turn_for_ever,
                node.save_again_for_ever,
                node.beat_for_ever,
                node.flush_for_ever,
                node.desk.keep_time,
                node.end_take_overs,
                node.links.run,
                node.snapshots.run,
                disk.watch,
            ]
            door = serving(server, config.zone.listen, tasks, outside, node.hand_over)
            async with flushed_at_the_end(node.flush_at_the_end), door as address:
                log.info("ready", listen=address)
                yield Running(service, address, status, node)


def check_beginning(config: ZoneConfig, found: bool, join: bool) -> None:
    """Whether an empty store may begin so. Raises ConfigError: a zone that counts on the wrong others is worse than
    none."""
    if found and not config.is_listed:
        raise ConfigError("$.zones", f"a zone that founds a cluster is listed, and {config.zone.name!r} is not")
    if join and config.is_listed:
        raise ConfigError("$.zones", f"lists {config.zone.name!r}: a joining zone lists those already there")
    if found and join:
        raise ConfigError("--join", "a zone founds a cluster or joins one, not both")


@asynccontextmanager
async def run_site(config: SiteConfig, *, outside: Outside = REAL) -> AsyncIterator[Running]:
    """A site, serving: with or without any zone in reach. Raises as `run_zone`."""
    WALL_CLOCK.set(outside.wall_ms)
    log = outside.logger(config.site.name)
    name = StoreIdentity(config.cluster.id, config.site.name, "site", outside.random_bytes(16).hex())
    me = Identity(config.cluster.id, config.site.name, "site", outside.random_bytes(16), 0, LEVELS, __version__)
    with outside.open_store(config.site.data, name, config.limits.map_size_gib) as store:
        async with disk_of(store, log, outside) as disk:
            node = SiteNode(config, me, store, disk, log, outside)
            service = node.service
            status = partial(site_status, node)
            control = Control(service, status, driller=node.drills.ask)
            roles = {"client": control.serve, "probe": control.serve}
            zones = {peer.name: peer.number for peer in config.zones}
            server = Server(me, zones, roles, config.timing, config.limits.connections, log)
            tasks = [
                node.desk.keep_time,
                node.line.run,
                node.flush_for_ever,
                node.register_for_ever,
                node.return_for_ever,
                node.drills.watch,
                disk.watch,
            ]
            if config.sheet is not None:
                kept = config.sheet
                plan = Plan(Path(kept.path), kept.every_s, kept.language, kept.time_zone)
                tasks.append(SheetKeeper(plan, of_site(node), log, outside).run)
            door = serving(server, config.site.listen, tasks, outside)
            async with flushed_at_the_end(node.flush_at_the_end), door as address:
                log.info("ready", listen=address)
                yield Running(service, address, status, node)


@asynccontextmanager
async def disk_of(store: Store, log: Any, outside: Outside) -> AsyncIterator[Disk]:
    """The store's two writers, and what lets them run beside a busy loop."""
    disk = Disk(store, log, outside)
    try:
        with outside.beside(disk.busy):
            yield disk
    finally:
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
async def serving(
    server: Server,
    address: str,
    tasks: Sequence[Callable[[], Awaitable[None]]],
    outside: Outside,
    leave: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[str]:
    """Run the node's tasks and its door. Yields the address a client can dial.

    `leave` is awaited at the end, while the tasks still run, however the end came; they do not hear a cancellation
    from outside before that is done.
    """
    listeners, bound = await listen(address, outside)
    async with trio.open_nursery() as nursery:
        running = trio.CancelScope(shield=True)

        async def run() -> None:
            with running:
                async with trio.open_nursery() as inner:
                    for task in tasks:
                        inner.start_soon(for_ever, task)
                    inner.start_soon(for_ever, partial(server.run, listeners))

        nursery.start_soon(run)
        try:
            yield bound
        finally:
            if leave is not None:
                with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
                    await leave()
            running.cancel()
            nursery.cancel_scope.cancel()


async def for_ever(task: Callable[[], Awaitable[None]]) -> None:
    """Run a background task that must not end; if it does, that is the end of the node."""
    await task()
    raise AssertionError(f"the background task {task} ended")
