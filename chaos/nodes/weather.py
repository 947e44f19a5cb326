"""What a seed decides before anything runs: the cluster, its links, disks and times, and which faults it has.

Swarm-wise: each seed enables another half of the faults, so that one fault's shadow does not always fall on the same
others. Everything here is plain values; `nemesis.py` does what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from replica.config import Limits, Timing

SITES = ("fr.health.samu440", "fr.health.samu750", "fr.health.samu330")

FAULTS = (
    "kill leader",
    "kill zone",
    "kill site",
    "kill whole cluster",
    "kill at a disk job",
    "power cut",
    "sync error",
    "full at append",
    "full at write-back",
    "full at journal",
    "disk stall",
    "slow fsync",
    "disk emptied",
    "bit flip in log",
    "bit flip in state",
    "bit flip in journal",
    "cut: isolate",
    "cut: halves",
    "cut: bridge",
    "cut: one way",
    "cut: site off",
    "cut: loses",
    "link flaps",
    "reset",
    "slow drip",
    "pause leader",
    "pause zone",
    "pause site",
    "wall clock",
    "task death",
    "members change",
    "hand-over",
    "graceful stop",
    "snapshot killed at a chunk",
)
"""What a seed can have, by name."""


@dataclass(frozen=True, slots=True)
class Weather:
    """One seed's world."""

    zones: int
    sites: tuple[str, ...]
    callers: int
    think_s: float
    """How long a caller waits between two acts, on average."""
    timing: Timing
    between_zones_s: tuple[float, float]
    """Latency of a link between zones: drawn for each link between these two."""
    to_sites_s: tuple[float, float]
    jitter: float
    """As a share of the link's latency."""
    disk_s: tuple[float, float]
    """How long a batch of the disk takes: between these two."""
    priorities: bool
    limits: Limits
    chunk_bytes: int
    """Of snapshots."""
    lease_reads: bool
    faults: tuple[str, ...]
    fault_every_s: float
    fault_lasts_s: float


def storm(rng: Random) -> Weather:
    """A seed's weather."""
    fast_disk = rng.choice(((0.0005, 0.002), (0.001, 0.004), (0.002, 0.012)))
    return Weather(
        zones=rng.choice((1, 3, 3, 3, 3, 5)),
        sites=SITES[: rng.choice((1, 2, 2, 3))],
        callers=rng.choice((2, 3, 4)),
        think_s=rng.choice((0.05, 0.15, 0.4)),
        timing=_timing(rng),
        between_zones_s=rng.choice(((0.0001, 0.001), (0.001, 0.005), (0.004, 0.02))),
        to_sites_s=rng.choice(((0.001, 0.005), (0.005, 0.04))),
        jitter=rng.choice((0.0, 0.3, 2.0)),
        disk_s=fast_disk,
        priorities=rng.random() < 0.5,
        limits=Limits(
            feed_ring_bytes=rng.choice((64 << 10, 1 << 20)),
            log_keep_mib=rng.choice((0, 0, 64)),
            changed_mib=rng.choice((0, 8)),
            snapshot_keep_s=rng.choice((1, 600)),
        ),
        chunk_bytes=rng.choice((2048, 8192, 256 << 10)),
        lease_reads=rng.random() < 0.25,
        faults=tuple(name for name in FAULTS if rng.random() < 0.5),
        fault_every_s=rng.choice((0.3, 0.7, 1.5)),
        fault_lasts_s=rng.choice((0.3, 1.0, 2.5)),
    )


def _timing(rng: Random) -> Timing:
    election_timeout_ms = rng.choice((200, 300, 600))
    return Timing(
        election_timeout_ms=election_timeout_ms,
        heartbeat_interval_ms=election_timeout_ms // rng.choice((3, 4, 6)),
        feed_interval_ms=rng.choice((100, 100, 200)),
        flush_interval_ms=rng.choice((100, 500, 2000)),
        handshake_ms=rng.choice((500, 2000)),
        reconnect_most_ms=rng.choice((200, 1000)),
    )
