"""A zone or a site of a cluster opened in this very process, as a hub process embeds it; the others stay processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
import trio

import replica
from replica.admin.serve import seldom_pause
from replica.demo.caller import Caller, open_callers
from replica.demo.ledger import Ledger
from replica.demo.looking import leader_of
from replica.demo.supervisor import CONFIG_FILE, Cluster
from replica.errors import ReplicaError
from replica.offline.events import Mode

LEADS_WITHIN_S: Final = 20.0
ERRORS_ONLY: Final = 40
"""structlog's level of an error."""


def quiet() -> None:
    """Nodes inside this process say nothing below an error, as those beside it write to a file of their own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(ERRORS_ONLY))


@asynccontextmanager
async def zone_inside(cluster: Cluster, name: str) -> AsyncIterator[replica.Zone]:
    """The zone `name` of the cluster, opened here instead of started there (the first time: founding). The others must
    be started by the caller of this, at the same time or later; `make_lead` afterwards."""
    node = cluster.nodes[name]
    found = node.started == 0
    node.started += 1
    async with replica.open_zone(node.data / CONFIG_FILE, found=found) as zone:
        seldom_pause()
        yield zone


@asynccontextmanager
async def site_inside(cluster: Cluster, name: str) -> AsyncIterator[replica.Site]:
    """The site `name` of the cluster, opened here instead of started there."""
    node = cluster.nodes[name]
    node.started += 1
    async with replica.open_site(node.data / CONFIG_FILE) as site:
        seldom_pause()
        yield site


async def make_lead(zones: dict[str, Caller], name: str) -> None:
    """Leadership is handed to the zone `name`, from whoever has it. Raises NotAvailable where it has not got it in
    time."""
    with trio.fail_after(LEADS_WITHIN_S):
        while (leader := await leader_of(zones.values(), LEADS_WITHIN_S)) != name:
            try:
                await (await zones[leader].client()).hand_over(name)
            except ReplicaError:
                await trio.sleep(0.1)  # it has not caught up yet


@asynccontextmanager
async def leading_inside(cluster: Cluster) -> AsyncIterator[replica.Zone]:
    """The first zone in this process, leading; the other zones as processes."""
    first, *others = cluster.plan.zone_names
    async with zone_inside(cluster, first) as zone:
        async with trio.open_nursery() as nursery:
            for other in others:
                nursery.start_soon(cluster.start, other)
        async with open_callers({node.name: node.address for node in cluster.zones}, Ledger()) as callers:
            await make_lead(callers, first)
        yield zone


async def start_zones(cluster: Cluster) -> str:
    """Every zone as a process of its own; the name of the one that leads."""
    async with trio.open_nursery() as nursery:
        for node in cluster.zones:
            nursery.start_soon(cluster.start, node.name)
    async with open_callers({node.name: node.address for node in cluster.zones}, Ledger()) as callers:
        return await leader_of(callers.values(), LEADS_WITHIN_S)


async def until_followed(site: replica.Site) -> None:
    """Wait until a site in this process hears a quorum. Raises TooSlowError where it does not in time."""
    with trio.fail_after(LEADS_WITHIN_S):
        while site.freshness().mode is not Mode.CONNECTED:  # noqa: ASYNC110 - a node tells changes of the log alone
            await trio.sleep(0.02)
