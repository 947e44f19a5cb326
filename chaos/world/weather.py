"""What one seed makes of the world: how many nodes, how fast, and which faults there are at all.

Swarm: a seed does not turn every fault on a little. It draws which faults exist and how bad each is, so that one run
is a lossy network with perfect disks and the next a calm network whose processes die all the time. Bugs that need one
fault to be frequent, or another to be absent, are then met too.

All times are milliseconds, all chances are per occasion (per message, per save, per turn). Times scale with the
election timeout: what matters is their ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random


class Driving(Enum):
    """How the node's loop uses its disk. The core must be right under each of them."""

    BLOCKING = "waits for the disk"
    """Nothing is stepped while a save is on its way."""
    STEPPING = "steps while the disk works"
    """Events are stepped, but the next Ready is taken only after `Persisted`."""
    PIPELINED = "several saves under way"
    """Readies are taken and queued one behind the other."""


CUTS = ("one node apart", "two halves", "one way", "deaf", "mute", "one link", "by a thread", "ring", "bridge")
"""Shapes of a partition. `deaf` hears nobody but is heard; `mute` is the reverse; `by a thread` leaves one node a
single neighbour, `ring` leaves each node its two; `bridge` is two halves that share one node."""

CRASH_POINTS = (
    "before send_now",
    "amid send_now",
    "before the save",
    "before send_saved",
    "amid send_saved",
    "before Persisted",
    "before apply",
    "amid apply",
)
"""Every place between two effects of carrying out a Ready. The save itself is torn by crashes at any other time."""

FAULTS = ("crash", "crash at a point", "whole cluster down", "disk emptied", "disk stall", "sync error", "cut", "pause",
          "clock jump", "link re-made", "leader given up", "unasked snapshot")  # fmt: skip


@dataclass(slots=True)
class Weather:
    """The parameters of one seed. The storm uses all of them; the calm after it turns the faults off."""

    nodes: int = 3
    driving: Driving = Driving.PIPELINED

    # What the core is told (RaftConfig).
    election_timeout_ms: int = 300
    heartbeat_interval_ms: int = 50
    max_append_bytes: int = 1 << 20
    max_inflight_appends: int = 64
    max_inflight_bytes: int = 8 << 20
    max_apply_bytes: int = 4 << 20
    max_uncommitted_bytes: int = 64 << 20
    pre_vote: bool = True
    check_quorum: bool = True
    priorities: bool = False
    election_timeout_most_ms: int = 0
    priority_patience_ms: int = 0
    lease_reads: bool = False
    clock_drift_permille: int = 10
    clocks_lie: bool = False
    """Clocks run outside the declared bound, or jump, while leases are given: no read may be trusted then."""

    # Links.
    latency_ms: int = 1
    jitter_ms: int = 2
    loss: float = 0.0
    doubling: float = 0.0
    lateness: float = 0.0
    """Chance that a message takes up to minutes."""
    ordered: bool = True
    """Messages of one link arrive in the order they were sent, but for late and doubled ones."""
    connections: bool = True
    """Nodes are told of connections: PeerFound when one is made, PeerLost when a process dies."""
    held_by_cuts: bool = False
    """A cut keeps what was sent into it and delivers it after the heal, as a transport that retransmits would."""

    # Nodes.
    turn_ms: int = 0
    """Up to so long an arrived event waits until the loop drains the inbox."""
    sync_ms: int = 1
    sync_jitter_ms: int = 2
    apply_ms: int = 0
    """Up to so long committed entries wait for the applier; 0: applied in the same turn."""
    flush: float = 0.2
    """Chance that the applied index becomes durable after an apply."""
    drift: int = 0
    """Clock rates differ by up to so many thousandths, either way."""

    # Faults.
    faults: tuple[str, ...] = ()
    cuts: tuple[str, ...] = CUTS
    fault_interval_ms: int = 600
    down_ms: int = 600
    """Mean time a dead process stays dead."""
    cut_ms: int = 1500
    pause_ms: int = 1500
    aim_at_leader: float = 0.5
    leaders_live_ms: int = 0
    """Mean time after which each new leader dies or goes mute; 0: leaders live."""
    emptied_at_a_point: float = 0.0
    """Chance that a process which dies at a point loses its disk as well, where disks are emptied at all."""
    stores_lost_at_once: int = 1
    """Nodes that may be without their promises at one time. One comes back by itself; of two, neither can be trusted to
    vouch for the other, and both wait for an operator, while the others go on."""

    # Load.
    proposal_interval_ms: int = 40
    burst: int = 1
    padding: int = 0
    """Bytes added to each payload, up to so many."""
    reads: float = 0.0
    """Chance that a client asks for a read as well."""
    reads_after_election: float = 0.0
    """Chance that a new leader is asked for a read at once."""

    # Snapshots.
    compaction: float = 0.0
    """Chance, after an apply, that the log is dropped up to where it may be."""
    kept_entries: int = 0
    """Up to so many entries are kept all the same."""
    most_chunks: int = 3
    chunk_ms: int = 5
    chunk_kill: float = 0.0
    """Chance, at each chunk, that one side dies."""
    snapshot_doubling: float = 0.0
    """Chance that a snapshot arrives a second time, later."""

    # The operator.
    change_interval_ms: int = 0
    """Mean time between two requests for another membership; 0: it stays."""
    most_joiners: int = 0
    crash_after_step: float = 0.0
    """Chance that a leader dies soon after it has appended a step of a change."""
    transfer_interval_ms: int = 0
    crash_amid_transfer: float = 0.0

    @property
    def narrow(self) -> bool:
        """Whether the log spreads by about one entry for each round trip."""
        return min(self.max_append_bytes, self.max_inflight_bytes) <= 1000

    @property
    def patience_ms(self) -> int:
        """The longest election timeout there may be."""
        return max(self.election_timeout_ms, self.election_timeout_most_ms)

    @property
    def tells_who_disturbs(self) -> bool:
        """Whether a removed node that campaigns is surely at fault: nothing it was told before can be on its way."""
        held_up = self.lateness or self.held_by_cuts or {"pause", "disk stall"} & set(self.faults)
        return self.pre_vote and self.check_quorum and not held_up

    @property
    def removal_grace_ms(self) -> int:
        """After so long nobody goes by what was said before a removal."""
        slowest_ms = self.latency_ms + 4 * self.jitter_ms + self.sync_ms + self.sync_jitter_ms + self.turn_ms
        return 4 * self.patience_ms + 4 * slowest_ms


def storm(rng: Random) -> Weather:
    """The weather of a seed."""
    weather = Weather(nodes=rng.choices((1, 2, 3, 4, 5, 6, 7), (2, 2, 12, 4, 10, 1, 4))[0])
    _speed(weather, rng)
    _core_settings(weather, rng)
    _links(weather, rng)
    _loops_and_disks(weather, rng)
    _faults(weather, rng)
    _load(weather, rng)
    _snapshots(weather, rng)
    _operator(weather, rng)
    _leases(weather, rng)
    if rng.random() < 0.3:
        make_mild(weather, rng)
    return weather


def make_mild(weather: Weather, rng: Random) -> None:
    """Fewer faults and many requests: leaders live long enough to change the membership again and again, and followers
    stay away just long enough to need a snapshot."""
    timeout = weather.election_timeout_ms
    weather.loss, weather.leaders_live_ms = min(weather.loss, 0.005), 0
    weather.fault_interval_ms = timeout * rng.choice((3, 8))
    weather.down_ms, weather.cut_ms = timeout * rng.choice((1, 4)), timeout * rng.choice((1, 4))
    weather.proposal_interval_ms, weather.burst = timeout // rng.choice((2, 5)), 1
    weather.change_interval_ms = max(1, int(timeout * rng.choice((0.3, 1, 3))))
    weather.most_joiners = 8
    weather.crash_after_step = rng.choice((0.0, 0.1))
    weather.compaction, weather.kept_entries = rng.choice((0.5, 1.0)), rng.choice((0, 3))
    weather.flush = rng.choice((0.2, 1.0))
    weather.most_chunks, weather.chunk_ms = rng.choice((3, 8)), rng.choice((5, timeout // 2))
    weather.chunk_kill = rng.choice((0.0, 0.05, 0.2))
    weather.snapshot_doubling = rng.choice((0.2, 0.6))


def figure_8(rng: Random) -> Weather:
    """Weather in which figure 8 of the paper happens: entries of an old term reach a majority one message at a time,
    and leaders die in between and come back at once. A core that commits such an entry by counting loses it soon."""
    weather = Weather(nodes=5, election_timeout_ms=100, heartbeat_interval_ms=40, latency_ms=1, jitter_ms=6)
    weather.max_append_bytes, weather.max_inflight_appends = 1, 1
    weather.pre_vote, weather.check_quorum, weather.connections = False, False, False
    weather.loss = rng.choice((0.1, 0.2))
    weather.leaders_live_ms, weather.down_ms, weather.cut_ms = rng.choice((5, 30)), 150, 300
    weather.sync_ms, weather.sync_jitter_ms = rng.choice(((1, 2), (3, 8)))
    weather.proposal_interval_ms = rng.choice((20, 40))
    return weather


def lost_stores(rng: Random) -> Weather:
    """Weather in which disks are emptied just after a promise has left, while messages of every earlier life are
    still on the way: what a node has forgotten must not matter, and nobody may take an old answer for a new one
    (D10)."""
    weather = Weather(nodes=rng.choice((3, 4, 5, 5)), election_timeout_ms=60, heartbeat_interval_ms=15)
    weather.latency_ms, weather.jitter_ms, weather.ordered = 1, rng.choice((5, 20)), False
    weather.loss, weather.doubling, weather.lateness = 0.02, 0.1, rng.choice((0.0, 0.05))
    weather.pre_vote, weather.check_quorum = rng.random() < 0.5, rng.random() < 0.5
    weather.connections, weather.held_by_cuts = rng.random() < 0.5, rng.random() < 0.5
    weather.driving = rng.choice(tuple(Driving))
    weather.sync_ms, weather.sync_jitter_ms = rng.choice(((0, 1), (2, 10)))
    weather.faults = ("crash at a point", "disk emptied", "cut")
    weather.cuts = ("one node apart", "mute", "deaf", "by a thread")
    weather.fault_interval_ms, weather.down_ms, weather.cut_ms = rng.choice((20, 50)), rng.choice((3, 30)), 120
    weather.leaders_live_ms, weather.aim_at_leader = rng.choice((0, 60, 200)), 0.3
    weather.emptied_at_a_point = 0.5
    return weather


def calm(weather: Weather) -> Weather:
    """The same cluster after the storm: all faults off, links and disks quick. Settings of the core stay as they
    are."""
    kept = {name: getattr(weather, name) for name in _CORE_SETTINGS}
    return Weather(nodes=weather.nodes, driving=weather.driving, connections=weather.connections, **kept)


_CORE_SETTINGS = (
    "election_timeout_ms",
    "heartbeat_interval_ms",
    "max_append_bytes",
    "max_inflight_appends",
    "max_inflight_bytes",
    "max_apply_bytes",
    "max_uncommitted_bytes",
    "pre_vote",
    "check_quorum",
    "priorities",
    "election_timeout_most_ms",
    "priority_patience_ms",
    "lease_reads",
    "clock_drift_permille",
    "clocks_lie",
    "change_interval_ms",  # learners are compared on
    "most_joiners",
    "compaction",
    "kept_entries",
)


def _speed(weather: Weather, rng: Random) -> None:
    weather.latency_ms, weather.jitter_ms = rng.choice(((0, 2), (1, 3), (2, 20), (15, 10), (5, 60)))
    weather.sync_ms, weather.sync_jitter_ms = rng.choice(((0, 1), (0, 4), (2, 10), (5, 80)))
    slowest = 2 * (weather.latency_ms + weather.jitter_ms) + weather.sync_ms + weather.sync_jitter_ms
    weather.election_timeout_ms = max(50, slowest * rng.choice((2, 4, 10)))
    weather.heartbeat_interval_ms = max(2, weather.election_timeout_ms // rng.choice((3, 5, 8)))


def _core_settings(weather: Weather, rng: Random) -> None:
    if rng.random() < 0.3:
        weather.max_append_bytes = rng.choice((1, 40, 400))
    if rng.random() < 0.3:
        weather.max_inflight_appends = rng.choice((1, 2, 4))
    if rng.random() < 0.2:
        weather.max_inflight_bytes = rng.choice((1, 100, 1000))
    if rng.random() < 0.3:
        weather.max_apply_bytes = rng.choice((1, 50, 500))
    if rng.random() < 0.2:
        weather.max_uncommitted_bytes = rng.choice((20, 200, 2000))
    weather.pre_vote = rng.random() < 0.85
    weather.check_quorum = rng.random() < 0.85
    weather.priorities = rng.random() < 0.4
    if weather.priorities and rng.random() < 0.6:
        weather.priority_patience_ms = weather.election_timeout_ms * rng.choice((1, 3))
    if rng.random() < 0.4:
        weather.election_timeout_most_ms = weather.election_timeout_ms * rng.choice((2, 10))


def _links(weather: Weather, rng: Random) -> None:
    weather.loss = rng.choice((0.0, 0.0, 0.005, 0.05, 0.2))
    weather.doubling = rng.choice((0.0, 0.0, 0.01, 0.1))
    weather.lateness = rng.choice((0.0, 0.0, 0.002, 0.02))
    weather.ordered = rng.random() < 0.5
    weather.connections = rng.random() < 0.7
    weather.held_by_cuts = rng.random() < 0.3


def _loops_and_disks(weather: Weather, rng: Random) -> None:
    weather.driving = rng.choice(tuple(Driving))
    weather.turn_ms = rng.choice((0, 0, 0, 2, 10))
    weather.apply_ms = rng.choice((0, 0, 5, 50))
    weather.flush = rng.choice((0.0, 0.05, 0.5, 1.0))
    weather.drift = rng.choice((0, 0, 10, 100))


def _faults(weather: Weather, rng: Random) -> None:
    timeout = weather.election_timeout_ms
    weather.faults = tuple(name for name in FAULTS if rng.random() < 0.5)
    weather.cuts = tuple(name for name in CUTS if rng.random() < 0.6) or CUTS
    weather.fault_interval_ms = max(10, int(timeout * rng.choice((0.3, 1, 2, 5))))
    weather.down_ms = max(5, int(timeout * rng.choice((0.1, 1, 4))))
    weather.cut_ms = max(10, int(timeout * rng.choice((0.5, 2, 6))))
    weather.pause_ms = rng.choice((50, 500, 2_500))
    weather.aim_at_leader = rng.choice((0.2, 0.5, 0.9))
    weather.leaders_live_ms = int(timeout * rng.choice((0, 0, 0, 0.2, 1, 3)))
    weather.emptied_at_a_point = rng.choice((0.0, 0.2)) if "disk emptied" in weather.faults else 0.0
    weather.stores_lost_at_once = 2 if weather.nodes >= 5 and rng.random() < 0.2 else 1


def _load(weather: Weather, rng: Random) -> None:
    timeout = weather.election_timeout_ms
    weather.proposal_interval_ms = max(1, int(timeout * rng.choice((0.02, 0.1, 0.3, 2))))
    weather.burst = rng.choice((1, 1, 5, 30))
    weather.padding = rng.choice((0, 0, 30, 300))
    if weather.narrow:  # or the log grows faster than it spreads, and the calm is nothing but catching up
        weather.proposal_interval_ms, weather.burst = max(weather.proposal_interval_ms, timeout // 5), 1
    weather.reads = rng.choice((0.0, 0.1, 0.3, 0.8))
    weather.reads_after_election = rng.choice((0.0, 0.5))


def _snapshots(weather: Weather, rng: Random) -> None:
    if rng.random() < 0.5:
        return
    weather.compaction = rng.choice((0.1, 0.5, 1.0))
    weather.kept_entries = rng.choice((0, 0, 5, 50))
    weather.flush = max(weather.flush, 0.05)
    weather.most_chunks = rng.choice((1, 3, 8))
    weather.chunk_ms = rng.choice((1, 5, weather.election_timeout_ms // 4))
    weather.chunk_kill = rng.choice((0.0, 0.1, 0.3))
    weather.snapshot_doubling = rng.choice((0.0, 0.5))


def _operator(weather: Weather, rng: Random) -> None:
    timeout = weather.election_timeout_ms
    if rng.random() < 0.45:
        weather.change_interval_ms = int(timeout * rng.choice((1, 3, 10)))
        weather.most_joiners = rng.choice((2, 5, 8))
        weather.crash_after_step = rng.choice((0.0, 0.0, 0.3))
    if rng.random() < 0.4:
        weather.transfer_interval_ms = int(timeout * rng.choice((0.5, 2, 8)))
        weather.crash_amid_transfer = rng.choice((0.0, 0.3))


def _leases(weather: Weather, rng: Random) -> None:
    """Leases, with clocks that keep their declared bound; or, now and then, with clocks that do not."""
    if rng.random() < 0.7:
        return
    weather.lease_reads = True
    weather.reads = max(weather.reads, 0.3)
    if rng.random() < 0.2:
        weather.clocks_lie, weather.clock_drift_permille, weather.drift = True, 5, rng.choice((50, 200))
        return
    weather.clock_drift_permille = rng.choice((5, 50, 120))
    weather.drift = min(weather.drift, weather.clock_drift_permille)
    weather.faults = tuple(name for name in weather.faults if name != "clock jump")
