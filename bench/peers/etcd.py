"""A cluster of etcd on loopback beside ours: the same disk, fsync as it is by default, and its best client.

```python
async with open_etcd(EtcdPlan(folder, timing="tuned")) as cluster:
    await cluster.start_all()
    load = await put_load(cluster, callers=100, seconds=3.0, size=256)
    load = await range_load(cluster, callers=100, seconds=3.0, size=256, linearizable=True)
    struck = cluster.strike(await cluster.leader())
```

For the other measurements:

* `why_missing() -> str`: "" where etcd and h2load are here, else one sentence on what to install.
* `async put_load(cluster, callers, seconds, size) -> PeerLoad`: writes of `size` bytes at the leader, `callers` of
  them under way at any time, for so long. `async range_load(cluster, callers, seconds, size, *, linearizable=True)`:
  reads of one key with a value of `size` bytes, the same way. Both warm up first, and count as failed what did not
  truly happen: writes are compared with the store's revision before and after, reads with the bytes that came.
* `PeerLoad(per_s, p50, p99, cpu_s_per_1000, client_cpu_s_per_1000, client, done, failed)`: times in ms, CPU of all
  members together for 1,000 operations, of the client beside it; `client` says which client it was.

Which client is best is tried once per kind and number of callers, each way for a moment: gRPC or JSON gateway, how many
connections. h2load sends one body again and again, so every write is to one key, in its own revision each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio
from msgspec import Struct

from bench.peers import etcd_wire as wire
from bench.peers.etcd_cluster import HOW_TO, EtcdCluster, EtcdMissing, EtcdPlan, find_etcd, open_etcd
from bench.peers.h2load import HOW_TO as H2LOAD_HOW_TO
from bench.peers.h2load import Ran, Shape, find_h2load, h2load
from bench.peers.http import HttpLine
from bench.processes import cpu_s

__all__ = [
    "EtcdCluster",
    "EtcdMissing",
    "EtcdPlan",
    "PeerLoad",
    "find_etcd",
    "open_etcd",
    "put_load",
    "range_load",
    "why_missing",
]

KEY: Final = b"bench/key"
WARM_UP_SECONDS: Final = 0.5
PROBE_SECONDS: Final = 0.5
MOST_CONNECTIONS: Final = 100
ASK_SECONDS: Final = 5.0


def why_missing() -> str:
    """What has to be installed to measure etcd beside ours, or "" where nothing is missing."""
    missing = [how for found, how in ((find_etcd(), HOW_TO), (find_h2load(), H2LOAD_HOW_TO)) if found is None]
    return "; ".join(missing)


class PeerLoad(Struct, frozen=True, kw_only=True):
    """What a peer did under load. `per_s`: what truly happened. `p50`, `p99`: ms. CPU seconds per 1,000 operations: of
    all members together, and of the client. `failed`: of `done`, those that did not happen."""

    per_s: float
    p50: float
    p99: float
    cpu_s_per_1000: float
    client_cpu_s_per_1000: float
    client: str
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request, as gRPC and for the gateway. `writes`: each makes a revision. `least_bytes`: of each
    answer's body, below which it was an error under a status that says otherwise."""

    name: str
    paths: dict[str, str]
    bodies: dict[str, bytes]
    writes: bool
    least_bytes: int


def put_work(size: int) -> Work:
    """Writes of `size` bytes to one key."""
    value = b"x" * size
    return Work(
        f"put {size}",
        {"grpc": wire.PUT_GRPC, "json": wire.PUT_JSON},
        {"grpc": wire.put_grpc(KEY, value), "json": wire.put_json(KEY, value)},
        writes=True,
        least_bytes=len(wire.framed(b"")),
    )


def range_work(size: int, *, linearizable: bool) -> Work:
    """Reads of that key."""
    return Work(
        f"range {size} {'linearizable' if linearizable else 'serializable'}",
        {"grpc": wire.RANGE_GRPC, "json": wire.RANGE_JSON},
        {
            "grpc": wire.range_grpc(KEY, linearizable=linearizable),
            "json": wire.range_json(KEY, linearizable=linearizable),
        },
        writes=False,
        least_bytes=size,
    )


async def put_load(cluster: EtcdCluster, callers: int, seconds: float, size: int) -> PeerLoad:
    """`callers` writes under way at the leader for `seconds`, after a warm-up. Raises NotAvailable, H2loadFailed,
    EtcdMissing."""
    return await _load(cluster, put_work(size), callers, seconds)


async def range_load(
    cluster: EtcdCluster, callers: int, seconds: float, size: int, *, linearizable: bool = True
) -> PeerLoad:
    """`callers` reads under way at the leader for `seconds`, of a key with `size` bytes, after a warm-up. Raises as
    `put_load`."""
    line = HttpLine(cluster.members[await cluster.leader()].address)
    with trio.fail_after(ASK_SECONDS):
        await line.post(wire.PUT_JSON, wire.put_json(KEY, b"x" * size))
    line.close()
    return await _load(cluster, range_work(size, linearizable=linearizable), callers, seconds)


def shapes(callers: int) -> list[Shape]:
    """The ways tried to keep `callers` requests under way: gRPC over up to a hundred connections and over a tenth of
    those, and the JSON gateway. A number of callers that the connections do not divide is rounded up."""
    most = min(callers, MOST_CONNECTIONS)
    fewer = max(1, most // 10)
    ways = [Shape("grpc", count, -(-callers // count)) for count in dict.fromkeys((most, fewer))]
    return [*ways, Shape("json", callers, 1)]


async def _load(cluster: EtcdCluster, work: Work, callers: int, seconds: float) -> PeerLoad:
    key = (work.name, callers)
    if key not in cluster.shapes:
        tried = [(await _run(cluster, work, shape, PROBE_SECONDS), shape) for shape in shapes(callers)]
        cluster.shapes[key] = max(tried, key=lambda one: one[0].per_s)[1]
    shape = cluster.shapes[key]
    await _run(cluster, work, shape, WARM_UP_SECONDS)
    return await _run(cluster, work, shape, seconds)


async def _run(cluster: EtcdCluster, work: Work, shape: Shape, seconds: float) -> PeerLoad:
    program = find_h2load()
    if program is None:
        raise EtcdMissing(H2LOAD_HOW_TO)
    url = f"http://{cluster.members[await cluster.leader()].address}{work.paths[shape.protocol]}"
    before, cpu_before = await cluster.revision(), cpu_s(cluster.pids)
    ran = await h2load(program, shape, url, work.bodies[shape.protocol], seconds, cluster.plan.folder)
    cpu = cpu_s(cluster.pids) - cpu_before
    made = await cluster.revision() - before if work.writes else ran.summary.data_bytes // work.least_bytes
    return judged(ran, shape, made, cpu)


def judged(ran: Ran, shape: Shape, made: int, members_cpu_s: float) -> PeerLoad:
    """A run with what truly happened: `made` revisions or whole answers. More than were answered is as it should be:
    some were under way when it ended."""
    done = ran.summary.done
    failed = min(done, max(ran.summary.failed, done - made))
    share = (done - failed) / done
    return PeerLoad(
        per_s=round(ran.summary.per_s * share, 1),
        p50=ran.p50,
        p99=ran.p99,
        cpu_s_per_1000=round(members_cpu_s * 1000 / max(1, done), 4),
        client_cpu_s_per_1000=round(ran.cpu_s * 1000 / max(1, done), 4),
        client=shape.text(),
        done=done,
        failed=failed,
    )
