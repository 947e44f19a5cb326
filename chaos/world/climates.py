"""Weathers made for one chapter each, in which a mistake of that chapter does harm soon.

Leaves out: the storm, and the weathers for elections and lost stores (weather.py).
"""

from __future__ import annotations

from random import Random

from chaos.world.weather import Weather, make_mild


def changing_members(rng: Random) -> Weather:
    """The membership changes all the time, logs are dropped at once, and leaders change hands; nodes are away just long
    enough to miss it."""
    weather = Weather(nodes=rng.choice((3, 3, 5)), election_timeout_ms=100, heartbeat_interval_ms=20)
    weather.latency_ms, weather.jitter_ms, weather.loss = 2, 8, 0.01
    weather.faults = ("crash", "cut", "whole cluster down")
    weather.cuts = ("one node apart", "two halves")
    weather.transfer_interval_ms = rng.choice((0, 300))
    weather.reads, weather.reads_after_election = 0.5, 0.5
    make_mild(weather, rng)
    return weather


def leases(rng: Random) -> Weather:
    """Clocks use up all of the drift that is declared, and leaders are cut off while they are asked for reads: a lease
    that lasts a little too long is found out."""
    weather = Weather(nodes=3, election_timeout_ms=300, heartbeat_interval_ms=30, latency_ms=0, jitter_ms=2)
    weather.sync_ms, weather.sync_jitter_ms = 0, 1
    weather.lease_reads, weather.clock_drift_permille, weather.drift = True, 250, 250
    weather.reads, weather.connections, weather.proposal_interval_ms = 1.0, False, 8
    weather.faults, weather.cuts = ("cut",), ("one node apart", "deaf", "mute")
    weather.fault_interval_ms, weather.cut_ms, weather.aim_at_leader = 900, 900, 1.0
    return weather
