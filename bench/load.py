"""Callers that write all the time, in a process of their own: `python -m bench.load`, started by the bench.

They are the load beside which something else is measured, at a site of ours or at a peer's members. The process writes
until its standard input ends, so it cannot outlive whoever started it; then it prints what it did as JSON.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
import trio
from msgspec import Struct

from bench.callers import AGREED, word_of
from bench.peers.etcd_caller import RETRY_S, EtcdCaller
from bench.waiting import Act, Waiters
from bench.work import DEFAULT_BYTES, case_id, command
from replica.admin.serve import seldom_pause
from replica.errors import ReplicaError
from replica.runtime.client import open_client

MOST_CONNECTIONS: Final = 100
BUDGET_MS: Final = 10_000
STARTED: Final = b"writing\n"
FORGET_SECONDS: Final = 1.0


class LoadFailed(ReplicaError):
    """The process of the load ended before it was told to; the text is what it said."""


class LoadOrders(Struct, frozen=True):
    """As one argument of JSON. `addresses`: the site's, or all members of etcd, where `samu` is empty."""

    addresses: tuple[str, ...]
    callers: int
    samu: str
    cases: int
    text_bytes: int = DEFAULT_BYTES


class Loaded(Struct, frozen=True, kw_only=True):
    """What the load did. `failed`: operations that were refused, broke, or were not agreed within ten seconds."""

    callers: int
    seconds: float
    operations: int
    per_s: float
    longest_submit_ms: float
    failed: int


class Load:
    """The load while it runs; `loaded` is there once it has ended."""

    def __init__(self) -> None:
        self.loaded: Loaded | None = None


@asynccontextmanager
async def loaded_by(orders: LoadOrders | None) -> AsyncIterator[Load]:
    """The load at work while the block runs, if there is one. Raises LoadFailed."""
    load = Load()
    if orders is None:
        yield load
        return
    words = (sys.executable, "-m", "bench.load", msgspec.json.encode(orders).decode())
    process = await trio.lowlevel.open_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None, "it was asked for as a pipe"
    assert process.stdout is not None, "it was asked for as a pipe"
    try:
        if (said := await process.stdout.receive_some(len(STARTED))) != STARTED:
            raise LoadFailed(f"the load did not start: {bytes(said)!r}")
        yield load
        await process.stdin.aclose()
        text = b"".join([bytes(chunk) async for chunk in process.stdout])
        if await process.wait() != 0:
            raise LoadFailed(f"the load ended with {process.returncode}")
        load.loaded = msgspec.json.decode(text, type=Loaded)
    finally:
        if process.poll() is None:
            process.kill()


@asynccontextmanager
async def site_act(address: str, samu: str, cases: int, callers: int, text_bytes: int) -> AsyncIterator[Act]:
    """What callers of a site do, over a connection each up to MOST_CONNECTIONS: notes and priorities in turn;
    with 0 `text_bytes` priorities alone, since a case that gets thousands of notes is nobody's case."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(address)) for _ in range(min(callers, MOST_CONNECTIONS))]

        async def act(caller: int, number: int) -> bool:
            told = caller * 1_000_000_000 + number  # no two callers of a case write the same note
            if not text_bytes:
                told = 2 * told + 1
            what = command(case_id(samu, (caller + number) % cases), told, text_bytes)
            return word_of(await clients[caller % len(clients)].submit(what, BUDGET_MS, author="bench")) == AGREED

        yield act


@asynccontextmanager
async def etcd_act(addresses: tuple[str, ...], callers: int, text_bytes: int, name: str) -> AsyncIterator[Act]:
    """What callers of etcd do, each with connections to all members: puts to keys of its own."""
    several = [EtcdCaller(addresses, RETRY_S * max(1.0, callers / 10)) for _ in range(callers)]
    value = b"x" * text_bytes

    async def act(caller: int, number: int) -> bool:
        await several[caller].put(b"bench/%s/%d/%d" % (name.encode(), caller, number % 100), value)
        return True

    try:
        await several[0].learn(b"bench/warm-up", text_bytes)
        for one in several[1:]:
            one.patience_ms = several[0].patience_ms
        yield act
    finally:
        for one in several:
            one.close()


async def run(orders: LoadOrders) -> Loaded:
    """The callers themselves, until standard input ends."""
    async with AsyncExitStack() as stack:
        if orders.samu:
            act = await stack.enter_async_context(
                site_act(orders.addresses[0], orders.samu, orders.cases, orders.callers, orders.text_bytes)
            )
        else:
            act = await stack.enter_async_context(etcd_act(orders.addresses, orders.callers, orders.text_bytes, "load"))
        seldom_pause()
        waiters = Waiters(orders.callers, act)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiters.run)
            nursery.start_soon(_forget, waiters)
            sys.stdout.buffer.write(STARTED)
            sys.stdout.buffer.flush()
            async with trio.lowlevel.FdStream(0) as orders_end:
                while await orders_end.receive_some(1):
                    pass
            nursery.cancel_scope.cancel()
        seconds = trio.current_time() - began
    return Loaded(
        callers=orders.callers,
        seconds=round(seconds, 3),
        operations=waiters.operations,
        per_s=round(waiters.operations / seconds, 1),
        longest_submit_ms=round(waiters.longest_ms, 3),
        failed=waiters.failed_writes,
    )


async def _forget(waiters: Waiters) -> None:
    while True:
        await trio.sleep(FORGET_SECONDS)
        waiters.forget()


def main() -> int:
    """Write by the orders of the only argument."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("orders", help="JSON; see LoadOrders")
    orders = msgspec.json.decode(parser.parse_args().orders, type=LoadOrders)
    sys.stdout.buffer.write(msgspec.json.encode(trio.run(run, orders)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
