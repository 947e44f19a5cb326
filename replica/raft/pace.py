"""Time: how long a round trip takes, and how patient to be because of it.

The paper asks for "broadcastTime ≪ electionTimeout", an order of magnitude (5.6). Zones that are a millisecond apart at
night and busy at noon have no one number for that. So the leader measures: each round of heartbeats has a number that
its answers repeat, so a round trip is the time between. From these a smoothed mean and deviation, as TCP does for its
retransmissions (RFC 6298, section 2), and from the slowest voter that answers at all:

    election timeout = 10 * (mean + 4 * deviation), within [election_timeout_ms, election_timeout_most_ms]

The leader's heartbeats carry it, so leader and followers are patient alike: a follower that waited less than its leader
thinks would call elections that are not needed; one that waited more would be slow where nothing is. The heartbeat
interval keeps its share of it. Stickiness (4.2.3) and leases (6.4.1) go by the configured minimum alone: they are
promises, and a promise must not depend on what somebody measured.

**Oversleeping.** A node whose process was stopped, or whose loop was busy, finds on waking that its own deadline passed
long ago. It cannot know what it would have heard meanwhile; what its peers said lies unread before its door. So a
follower that overslept first gives what is there the time to be read, instead of calling an election because *it* was
away; and a leader that overslept an election timeout leads no more before it answers anybody.

Leaves out: the clock itself; `now_ms` comes with each event.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replica.raft.types import RaftConfig

ROUND_TRIPS = 10
"""An order of magnitude (5.6)."""
ROUNDS_REMEMBERED = 256


@dataclass(slots=True)
class RoundTrip:
    """Smoothed round trip to one follower, RFC 6298 with its alpha of 1/8 and beta of 1/4; in eighths of ms."""

    _mean_8: int = 0
    _deviation_8: int = 0
    _known: bool = False

    def measured(self, ms: int) -> None:
        """One heartbeat came back after so long."""
        sample = 8 * ms
        if not self._known:
            self._known, self._mean_8, self._deviation_8 = True, sample, sample // 2
            return
        self._deviation_8 += (abs(self._mean_8 - sample) - self._deviation_8) // 4
        self._mean_8 += (sample - self._mean_8) // 8

    @property
    def most_ms(self) -> int:
        """What a round trip may well take: mean and four deviations."""
        return (self._mean_8 + 4 * self._deviation_8) // 8


@dataclass(slots=True)
class Rounds:
    """When each of the latest rounds of heartbeats was sent."""

    latest: int = 0
    _sent_ms: dict[int, int] = field(default_factory=dict)

    def begin(self, now_ms: int) -> int:
        """One more round; its number."""
        self.latest += 1
        self._sent_ms[self.latest] = now_ms
        self._sent_ms.pop(self.latest - ROUNDS_REMEMBERED, None)
        return self.latest

    def sent_ms(self, number: int) -> int | None:
        """When round `number` was sent; None for one forgotten, or never begun."""
        return self._sent_ms.get(number)


def election_timeout_ms(config: RaftConfig, wanted_ms: int) -> int:
    """`wanted_ms` within the configured bounds."""
    return max(config.election_timeout_ms, min(wanted_ms, config.election_timeout_most_ms))


def heartbeat_interval_ms(config: RaftConfig, election_timeout: int) -> int:
    """The configured interval, in the same proportion to the timeout as it was configured."""
    return config.heartbeat_interval_ms * election_timeout // config.election_timeout_ms


def overslept_ms(config: RaftConfig, woken_ms: int, last_event_ms: int, deadline_ms: int) -> int:
    """By how much an event came later than the node had asked to be woken; 0 for what any loop is late by."""
    late_ms = woken_ms - max(last_event_ms, deadline_ms)
    return late_ms if late_ms > config.heartbeat_interval_ms else 0


def lease_ms(config: RaftConfig) -> int:
    """How long a lease lasts by the leader's clock, counted from the sending of the round a quorum has answered.

    A follower's promise (stickiness) lasts `election_timeout_ms` of *its* clock and began later, at receipt. Its clock
    may gain the declared drift, ours may lose it. Two ms more, since both clocks are read in whole ms.
    """
    drift = config.clock_drift_permille
    return config.election_timeout_ms * (1000 - drift) // (1000 + drift) - 2
