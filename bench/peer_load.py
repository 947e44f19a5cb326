"""What another system bears beside ours, in the same shape as our own windows.

The other system is imported at the call: a command that was not asked to compare itself does not need it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.callers import CLIENT, Window

if TYPE_CHECKING:
    from bench.peers.etcd import EtcdCluster, PeerLoad

ETCD: Final = "etcd"


def missing() -> str:
    """What has to be installed to measure etcd beside ours; empty where nothing is missing."""
    from bench.peers.etcd import why_missing

    return why_missing()


@asynccontextmanager
async def started_etcd(folder: Path) -> AsyncIterator[EtcdCluster]:
    """Three members on the disk of this folder, with etcd's own times."""
    from bench.peers.etcd import EtcdPlan, open_etcd

    async with open_etcd(EtcdPlan(folder)) as cluster:
        await cluster.start_all()
        yield cluster


async def etcd_puts(
    folder: Path, callers: Sequence[int], seconds: float, value_bytes: int
) -> list[tuple[int, str, Window]]:
    """(callers, the client in words, what they got) for each number of callers, one after the other on one etcd."""
    from bench.peers.etcd import put_load

    found = []
    async with started_etcd(folder) as cluster:
        for count in callers:
            load = await put_load(cluster, count, seconds, value_bytes)
            found.append((count, f"etcd {cluster.version}, {load.client}", as_window(load)))
    return found


async def etcd_ranges(folder: Path, callers: int, seconds: float, value_bytes: int) -> dict[str, tuple[str, Window]]:
    """Reads of one key, "linearizable" and "serializable": (the client in words, what they got)."""
    from bench.peers.etcd import range_load

    found = {}
    async with started_etcd(folder) as cluster:
        for word in ("linearizable", "serializable"):
            load = await range_load(cluster, callers, seconds, value_bytes, linearizable=word == "linearizable")
            found[word] = f"etcd {cluster.version}, {load.client}", as_window(load)
    return found


def as_window(load: PeerLoad) -> Window:
    """What it tells as rates and shares, as counts in a window."""
    operations = load.done - load.failed
    return Window(
        seconds=operations / load.per_s if load.per_s else 1.0,
        operations=operations,
        p50=load.p50,
        p99=load.p99,
        cpu_s={ETCD: load.cpu_s_per_1000 * load.done / 1000, CLIENT: load.client_cpu_s_per_1000 * load.done / 1000},
        failed={"not done": load.failed} if load.failed else {},
    )
