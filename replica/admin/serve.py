"""A node as a process of its own: it says when it is ready, and leaves cleanly when told to.

**A zone whose store is damaged** takes no part any more: it ends. Where the others have a leader without it, its store
is set aside, whole, and it begins anew on an empty one, as a zone that lost its disk: it does not vote before all the
others have vouched for it (raft/rebuild.py), and it gets the state from them. Where nobody leads it ends for good: its
store may be the best there is, and a person decides. A site is another matter: its journal is nowhere else.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import trio

from replica.api import Node, open_zone
from replica.config import ZoneConfig
from replica.errors import ReplicaError, StoreDamaged
from replica.runtime.client import open_client
from replica.storage import set_aside
from replica.telemetry import logger

ASK_MS = 1000
SWITCH_S = 0.002
"""How long a thread that writes to the disk may keep the loop waiting; Python's own 5 ms are several heartbeats'
worth of a caller's wait."""
YOUNG_OBJECTS = 50_000
"""Between two looks for garbage. Nearly all of ours goes by counting; a look at all that lives takes long."""


def serve_zone(config: ZoneConfig, *, found: bool = False, join: bool = False) -> None:
    """Serve a zone until it is told to stop; set a damaged store aside and go on, where the others can spare it.

    Raises what ends the node otherwise.
    """
    log = logger(node=config.zone.name)
    while True:
        begun_found, begun_join, found, join = found, join, False, False
        try:
            open_node = partial(open_zone, config, found=begun_found, join=begun_join)
            return trio.run(serve, config.zone.name, open_node)
        except (StoreDamaged, BaseExceptionGroup) as raised:
            damaged = damage_in(raised)
            if damaged is None:
                raise
            log.error("store-damaged", record=damaged.record, problem=str(damaged))
            if not trio.run(is_led_without, config):
                log.error("store-kept", reason="no other zone has a leader: nobody could vouch for this one")
                raise
        aside = set_aside(Path(config.zone.data))
        log.error("store-set-aside", path=str(aside), next="begins anew, and votes when all the others vouch for it")


def damage_in(problem: BaseException) -> StoreDamaged | None:
    """The damage a node ended of, in however many groups; None where it ended of something else as well."""
    if isinstance(problem, BaseExceptionGroup):
        found = [damage_in(one) for one in problem.exceptions]
        return found[0] if all(one is not None for one in found) else None
    return problem if isinstance(problem, StoreDamaged) else None


async def is_led_without(config: ZoneConfig) -> bool:
    """Whether some other zone knows of a leader, which this one is not: it has just ended."""
    led: list[str] = []

    async def ask(address: str) -> None:
        try:
            with trio.move_on_after(2 * ASK_MS / 1000):
                async with open_client(address, connect_ms=ASK_MS) as client:
                    leader = str((await client.members())["leader"])
                    if leader not in ("", config.zone.name):
                        led.append(leader)
        except ReplicaError:
            pass  # it is down, or has nothing to say

    async with trio.open_nursery() as nursery:
        for peer in config.zones:
            if peer.number != config.zone.number:
                nursery.start_soon(ask, peer.address)
    return bool(led)


def seldom_pause() -> None:
    """Set this process up for answers in time: short turns between threads, and no look for garbage through all that
    the node has read at its start. A process that embeds a node does as it sees fit."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)


async def serve(name: str, open_node: Callable[[], AbstractAsyncContextManager[Node]]) -> None:
    """Serve until SIGTERM or SIGINT; a second SIGINT ends the process at once.

    Prints one line of JSON on standard output once the node serves: {"ready": name, "listen": "host:port"}.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            served = trio.CancelScope()

            async def listen_for_signals() -> None:
                heard = 0
                async for number in signals:
                    heard += number == signal.SIGINT
                    if heard > 1:
                        os._exit(130)
                    served.cancel()

            nursery.start_soon(listen_for_signals)
            with served:
                async with open_node() as node:
                    seldom_pause()
                    print(json.dumps({"ready": name, "listen": node.address}), flush=True)
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel()
