"""The trials of `bench failover`: a cluster brought up, filled, loaded, its callers at work, its leader hurt again and
again. Once for our own cluster and once for etcd; what is in between is the same code."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from bench.faults import READY_SECONDS, SUDDEN, Etcds, Ours, System
from bench.load import Loaded, LoadOrders, etcd_act, loaded_by, site_act
from bench.peers.etcd import EtcdPlan, open_etcd
from bench.peers.etcd_caller import EtcdCaller
from bench.peers.etcd_cluster import Timing
from bench.peers.etcd_wire import txn_json
from bench.waiting import WATCH_S, Side, Waiters, side
from bench.work import DEFAULT_BYTES, case_id, opening
from replica.admin.serve import seldom_pause
from replica.demo.caller import open_callers
from replica.demo.ledger import Ledger
from replica.demo.looking import elections_seen
from replica.demo.play import until_connected
from replica.demo.supervisor import Plan, SitePlan, open_cluster
from replica.runtime.client import Client, open_client

SITE: Final = "fr.health.samu440"
LOADED_SITE: Final = "fr.health.samu750"
LOADED_CASES: Final = 200
ACTED_CASES: Final = 1000
"""The callers act on so many of the cases at most."""
TRIAL_SECONDS: Final = 10.0
WARM_UP_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = (0.2, 0.6)
FILLING_AT_ONCE: Final = 500
FILL_BUDGET_MS: Final = 60_000
PUTS_AT_ONCE: Final = 100
CASE_BYTES: Final = 512
"""What a case is as a value of etcd."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What was asked for. `tell`: a line of progress."""

    fault: str
    trials: int
    callers: int
    load: int
    state_size: int
    zones: int
    rest_s: float
    tell: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrialsRun:
    """One system's part of the run."""

    side: Side
    load: Loaded | None
    prepare_s: float


async def on_ours(setting: Setting, folder: Path, rng: random.Random) -> TrialsRun:
    """All trials on a cluster of our own."""
    async with _ours(setting, folder) as (system, waiters, orders, prepare_s), loaded_by(orders) as load:
        measured = await _all(setting, system, waiters, rng)
    return TrialsRun(measured, load.loaded, prepare_s)


async def no_fault(setting: Setting, folder: Path, seconds: float) -> tuple[int, TrialsRun]:
    """Callers and load at work on a cluster of our own for so long: elections meanwhile, and the run."""
    async with _ours(setting, folder) as (system, waiters, orders, prepare_s), loaded_by(orders) as load:
        zones = system.zones
        before = await elections_seen(zones)
        ends = trio.current_time() + seconds
        while (left := ends - trio.current_time()) > 0:
            await trio.sleep(min(10.0, left))
            waiters.forget()
            seen = await elections_seen(zones) - before
            setting.tell(
                f"{max(0.0, ends - trio.current_time()):5.0f} s left: {seen} elections, {waiters.operations} operations"
            )
    return seen, TrialsRun(side([], [], waiters.failed_writes, waiters), load.loaded, prepare_s)


async def on_etcd(setting: Setting, folder: Path, rng: random.Random, timing: Timing) -> TrialsRun:
    """All trials on etcd."""
    async with open_etcd(EtcdPlan(folder, timing, lines=setting.fault == "cut")) as cluster:
        await cluster.start_all()
        addresses = tuple(cluster.addresses.values())
        began = trio.current_time()
        filler = EtcdCaller(addresses)
        await filler.fill(_puts(setting.state_size))
        filler.close()
        prepare_s = round(trio.current_time() - began, 2)
        orders = LoadOrders(addresses, setting.load, "", 0) if setting.load else None
        async with (
            loaded_by(orders) as load,
            etcd_act(addresses, setting.callers, DEFAULT_BYTES, "wait") as act,
            trio.open_nursery() as nursery,
        ):
            waiters = Waiters(setting.callers, act)
            nursery.start_soon(waiters.run)
            setting.tell(f"etcd {cluster.version} {timing}")
            measured = await _all(setting, Etcds(cluster, nursery), waiters, rng)
            nursery.cancel_scope.cancel()
    return TrialsRun(measured, load.loaded, prepare_s)


@asynccontextmanager
async def _ours(setting: Setting, folder: Path) -> AsyncIterator[tuple[Ours, Waiters, LoadOrders | None, float]]:
    """A cluster of our own, filled, with its callers at work: what hurts it, the callers, the load it is to bear, and
    how long the filling took. All its processes are stopped afterwards."""
    cut, sites = setting.fault == "cut", (SITE, LOADED_SITE)[: 2 if setting.load else 1]
    plan = Plan(folder, setting.zones, tuple(SitePlan(name) for name in sites), cut, zone_lines=cut, cluster="bench")
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        async with open_callers({node.name: node.address for node in cluster.nodes.values()}, Ledger()) as callers:
            await until_connected(callers, cluster, READY_SECONDS)
            began = trio.current_time()
            await fill(cluster.nodes[SITE].address, SITE, setting.state_size, setting.tell)
            prepare_s = round(trio.current_time() - began, 2)
            orders = None
            if setting.load:
                address = cluster.nodes[LOADED_SITE].address
                await fill(address, LOADED_SITE, LOADED_CASES, setting.tell)
                orders = LoadOrders((address,), setting.load, LOADED_SITE, LOADED_CASES)
            acted = min(setting.state_size, ACTED_CASES)
            async with (
                site_act(cluster.nodes[SITE].address, SITE, acted, setting.callers, 0) as act,
                trio.open_nursery() as nursery,
            ):
                seldom_pause()
                waiters = Waiters(setting.callers, act)
                nursery.start_soon(waiters.run)
                yield Ours(cluster, callers, nursery), waiters, orders, prepare_s
                nursery.cancel_scope.cancel()
        await cluster.stop_all()


async def _all(setting: Setting, system: System, waiters: Waiters, rng: random.Random) -> Side:
    """Every trial, after a warm-up."""
    waited: list[float] = []
    calm: list[float] = []
    failed = 0
    await trio.sleep(WARM_UP_SECONDS)
    for trial in range(setting.trials):
        found = await _once(setting, system, waiters, rng, calm)
        if found is None:
            failed += 1
        else:
            waited += found
        said = "failed" if found is None else f"{max(found):.1f} ms"
        setting.tell(f"trial {trial + 1:3} of {setting.trials}: {said}")
    return side(waited, calm, failed, waiters)


async def _once(
    setting: Setting, system: System, waiters: Waiters, rng: random.Random, calm: list[float]
) -> list[float] | None:
    """One trial: each caller's wait in ms; None where it failed. All runs again afterwards."""
    fault = setting.fault
    watch_s = 0.0 if fault in SUDDEN else WATCH_S
    await system.level()
    await trio.sleep(setting.rest_s + rng.uniform(*PAUSE_SECONDS))
    waiters.forget()
    calm += await waiters.around(trio.current_time(), TRIAL_SECONDS, watch_s) or []
    leader = await system.leader()
    waiters.forget()
    failed_before = waiters.failed_writes
    moment = await system.hurt(fault, leader)
    found = await waiters.around(moment, TRIAL_SECONDS, watch_s)
    await system.repair(fault, leader)
    await system.level()
    waiters.forget()
    return None if system.problem or waiters.failed_writes > failed_before else found


async def fill(address: str, samu: str, cases: int, tell: Callable[[str], None]) -> None:
    """So many cases made at this Samu's site, many at once; each is agreed."""
    began = trio.current_time()
    numbers = iter(range(cases))

    async def work(client: Client) -> None:
        for number in numbers:
            receipts = await client.submit_message(opening(samu, number), FILL_BUDGET_MS, sender=samu, author="bench")
            assert receipts, f"{case_id(samu, number)} was not taken"
            if number % 20_000 == 19_999:
                tell(f"{number + 1:,} cases after {trio.current_time() - began:.0f} s")

    async with open_client(address) as client, trio.open_nursery() as nursery:
        for _ in range(min(cases, FILLING_AT_ONCE)):
            nursery.start_soon(work, client)


def _puts(cases: int) -> Iterable[bytes]:
    for first in range(0, cases, PUTS_AT_ONCE):
        numbers = range(first, min(cases, first + PUTS_AT_ONCE))
        yield txn_json((b"bench/case/%d" % number, b"x" * CASE_BYTES) for number in numbers)
