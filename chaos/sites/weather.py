"""What a seed of the depth of sites decides before anything runs. As in chaos/nodes/weather.py, swarm-wise: each seed
has another half of the faults. The cluster is sound and near; what is harsh is the way to the sites."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from chaos.nodes.weather import Weather
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL
from replica.config import Limits, Timing

SITES = (
    "fr.health.samu440",
    "fr.health.samu690",
    "fr.health.samu750",
    "fr.health.samu330",
    "fr.health.samu130",
    "fr.health.samu59",
)

FAULTS = (
    "cut: a site's line",
    "cut: a site's line, bytes lost",
    "cut: a site hears nobody",
    "cut: a site is not heard",
    "cut: from some zones",
    "cut: several sites at once",
    "cut: a zone with its sites",
    "cut: all sites from all zones",
    "cut: halves",
    "cut: longer than the log is kept",
    "flapping line",
    "connection reset",
    "slow drip",
    "kill site",
    "kill site while it is cut off",
    "kill site in mid-replay",
    "kill leader in mid-replay",
    "kill leader",
    "kill zone",
    "whole cluster down",
    "power cut at a site",
    "pause site",
    "graceful stop of a site",
    "slow fsync at a site",
    "backup restored",
    "clone",
    "disk emptied",
    "clock 3 h ahead",
    "clock 3 h behind",
    "clock in 1970",
    "clock jumping",
    "take-over of a site that is cut off",
    "two take over at once",
    "two decide apart",
)
"""What a seed can have, by name."""


@dataclass(frozen=True, slots=True)
class SitesWeather(Weather):
    """One seed's world of sites."""

    people: int
    """At each site; beside them, one at a zone."""
    cases: int
    """That everybody works on; more are opened as it goes."""
    level: int
    """The feature level that is raised to before the storm."""


def storm(rng: Random) -> SitesWeather:
    """A seed's weather."""
    sites = rng.choice((2, 2, 3, 3, 4, 6))
    return SitesWeather(
        zones=rng.choice((3, 3, 3, 5)) if sites < 6 else 3,
        sites=SITES[:sites],
        callers=0,
        think_s=rng.choice((0.15, 0.25, 0.4)) * (1 if sites < 4 else 1.5),
        timing=_timing(rng),
        between_zones_s=rng.choice(((0.0002, 0.001), (0.001, 0.005))),
        to_sites_s=rng.choice(((0.001, 0.005), (0.005, 0.04))),
        jitter=rng.choice((0.0, 0.3, 1.0)),
        disk_s=rng.choice(((0.0005, 0.002), (0.001, 0.008))),
        priorities=rng.random() < 0.3,
        limits=Limits(
            # Smaller than a configuration file may ask for: a few seconds away are then longer than the log is kept.
            feed_ring_bytes=rng.choice((4 << 10, 16 << 10, 1 << 20)),
            log_keep_mib=rng.choice((0, 64)),
            changed_mib=rng.choice((0, 8)),
            snapshot_keep_s=rng.choice((1, 600)),
            preview_entries=20,
        ),
        chunk_bytes=rng.choice((8192, 256 << 10)),
        lease_reads=False,
        faults=tuple(name for name in FAULTS if rng.random() < 0.5),
        fault_every_s=rng.choice((0.4, 0.8, 1.5)),
        fault_lasts_s=rng.choice((0.8, 2.0, 4.0)),
        people=rng.choice((1, 1, 2)),
        cases=rng.choice((2, 3, 4)),
        level=rng.choice((FIRST_LEVEL, HIGHEST_LEVEL, HIGHEST_LEVEL)),
    )


def _timing(rng: Random) -> Timing:
    election_timeout_ms = rng.choice((600, 1000))
    return Timing(
        election_timeout_ms=election_timeout_ms,
        heartbeat_interval_ms=election_timeout_ms // rng.choice((3, 4)),
        feed_interval_ms=rng.choice((150, 250)),
        line_silent_ms=rng.choice((500, 1000)),
        flush_interval_ms=rng.choice((200, 500, 2000)),
        handshake_ms=rng.choice((500, 2000)),
        reconnect_most_ms=rng.choice((200, 1000)),
    )
