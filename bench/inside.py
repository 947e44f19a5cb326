"""A zone or a site of a cluster opened in this very process, as a hub process embeds it; the others stay processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

import replica
from replica.admin.serve import seldom_pause
from replica.demo.caller import Caller
from replica.demo.looking import leader_of
from replica.demo.supervisor import CONFIG_FILE, Cluster
from replica.errors import ReplicaError

LEADS_WITHIN_S: Final = 20.0


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
