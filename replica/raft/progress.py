"""What a leader knows of one follower, and how fast it may send to it.

A follower is in one of three phases:

* PROBE: where its log meets ours is not known. One Append at a time, then wait for the answer.
* REPLICATE: the logs meet. Appends leave one after another without waiting (pipelining, dissertation 10.2.2),
  `next_index` moves on at sending; a window in messages and in bytes bounds what is on the way.
* SNAPSHOT: what it needs is no longer in the log (chapter 5). Nothing but heartbeats until a snapshot has reached it.

`TRANSITIONS` is the whole of it; a pair that is not in the table changes nothing. Read it first.

Leaves out: what to send (replication.py) and whether the follower counts (rebuild.py, quorum.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import assert_never

from replica.raft.pace import RoundTrip
from replica.raft.types import Index, NodeId, RaftConfig

NEVER_MS = -(1 << 62)
"""Before any time: a follower not heard since its process was lost."""
EXPECTS_MS = 1000
"""For so long after it was last known to, somebody may still wait at a follower."""


class Phase(Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Sign(Enum):
    """What the leader learned about a follower."""

    ACCEPTED = "accepted"
    """It holds our log up to its answer."""
    REJECTED = "rejected"
    """Its log does not meet ours where we thought."""
    OVERDUE = "overdue"
    """It answers heartbeats but not an Append sent long ago: that one, or its answer, was lost."""
    LOST = "lost"
    """Its process or the connection is gone, and all that was on the way with it."""
    COMPACTED = "compacted"
    """What it needs next is no longer in our log."""
    FORGOT = "forgot"
    """It lost its store (D10)."""
    DELIVERED = "delivered"
    """The transfer of a snapshot ended, well or not, or it has what it needed: ask where it stands."""


TRANSITIONS: dict[tuple[Phase, Sign], Phase] = {
    (Phase.PROBE, Sign.ACCEPTED): Phase.REPLICATE,
    (Phase.PROBE, Sign.REJECTED): Phase.PROBE,
    (Phase.PROBE, Sign.OVERDUE): Phase.PROBE,
    (Phase.PROBE, Sign.LOST): Phase.PROBE,
    (Phase.PROBE, Sign.FORGOT): Phase.PROBE,
    (Phase.PROBE, Sign.COMPACTED): Phase.SNAPSHOT,
    (Phase.REPLICATE, Sign.REJECTED): Phase.PROBE,
    (Phase.REPLICATE, Sign.OVERDUE): Phase.PROBE,
    (Phase.REPLICATE, Sign.LOST): Phase.PROBE,
    (Phase.REPLICATE, Sign.FORGOT): Phase.PROBE,
    (Phase.REPLICATE, Sign.COMPACTED): Phase.SNAPSHOT,
    (Phase.SNAPSHOT, Sign.LOST): Phase.PROBE,
    (Phase.SNAPSHOT, Sign.FORGOT): Phase.PROBE,
    (Phase.SNAPSHOT, Sign.DELIVERED): Phase.PROBE,
}


@dataclass(frozen=True, slots=True)
class Flight:
    """One Append on its way: acknowledged once the follower's match reaches `last_index`."""

    last_index: Index
    size: int
    sent_ms: int


@dataclass(slots=True)
class CatchUp:
    """A learner on its way to a vote, in rounds (4.2.1): "each round replicates all the log entries present in the
    leader's log at the start of the round"."""

    goal_index: Index
    begun_ms: int
    quick: bool = False
    """Whether the latest round that ended took less than an election timeout."""


@dataclass(slots=True)
class Progress:
    """`match_index` and `next_index` of figure 2, and the window."""

    next_index: Index
    heard_ms: int
    """When it last answered in this term; NEVER_MS since its process was lost."""
    match_index: Index = 0
    """It surely holds our log up to here, durably. Only rises, but for a store that was lost."""
    phase: Phase = Phase.PROBE
    probe_sent_ms: int | None = None
    """PROBE: when the one Append left that is not answered yet."""
    refused_index: Index | None = None
    """Where it said last that its log does not meet ours; None since anything else was learned of it."""
    told_commit: Index = 0
    """The highest commit index a message to it has carried. It may have been lost; the next heartbeat repeats it."""
    notice_ms: int | None = None
    """When to tell it of a commit, if no Append does before; None where it knows of all it holds."""
    waits_until_ms: int = NEVER_MS
    """Till then somebody waits there for commits."""
    inflight: deque[Flight] = field(default_factory=deque)
    inflight_bytes: int = 0
    round_trip: RoundTrip = field(default_factory=RoundTrip)
    acked_round: int = 0
    """The latest round of heartbeats it has answered."""
    acked_sent_ms: int = NEVER_MS
    """When that round was sent."""
    silent_through: int = 0
    """The latest round sent while it was silent and others were not. One that was stopped answers them all when it goes
    on: they tell how long it was away, not how far away it is."""
    clock: tuple[int, int] | None = None
    """Its clock beside ours, (ours, its), when a round was first answered."""
    catch_up: CatchUp | None = None
    """While it is a learner that is to vote."""
    same: bool = False
    """Its state was compared with ours and is the same."""

    def sees(self, sign: Sign) -> bool:
        """Move along the table; whether the pair is in it. Entering a phase clears what belonged to the one left."""
        target = TRANSITIONS.get((self.phase, sign))
        if target is None:
            return False
        self.phase = target
        self.probe_sent_ms = None
        self.refused_index = self.refused_index if sign is Sign.REJECTED else None
        self.inflight.clear()
        self.inflight_bytes = 0
        self.next_index = max(self.next_index if sign is Sign.REJECTED else 0, self.match_index + 1)
        return True

    def has_room(self, config: RaftConfig) -> bool:
        """Whether one more Append may leave now."""
        match self.phase:
            case Phase.PROBE:
                return self.probe_sent_ms is None
            case Phase.REPLICATE:
                return (
                    len(self.inflight) < config.max_inflight_appends and self.inflight_bytes < config.max_inflight_bytes
                )
            case Phase.SNAPSHOT:
                return False
            case never:
                assert_never(never)

    def wants_append(self, last_index: Index, config: RaftConfig) -> bool:
        """Whether an Append should leave now: a probe even without entries, otherwise only with some."""
        return (self.phase is Phase.PROBE or self.next_index <= last_index) and self.has_room(config)

    def sent(self, last_index: Index, size: int, now_ms: int) -> None:
        """An Append up to `last_index` has left."""
        if self.phase is Phase.PROBE:
            self.probe_sent_ms = now_ms
            return
        self.inflight.append(Flight(last_index, size, now_ms))
        self.inflight_bytes += size
        self.next_index = last_index + 1

    def accepted(self, match_index: Index) -> None:
        """It holds our log up to `match_index`. An answer older than what we know changes nothing."""
        self.match_index = max(self.match_index, match_index)
        while self.inflight and self.inflight[0].last_index <= self.match_index:
            self.inflight_bytes -= self.inflight.popleft().size
        self.next_index = max(self.next_index, self.match_index + 1)
        self.sees(Sign.ACCEPTED)

    def is_news(self, rejected_prev: Index) -> bool:
        """Whether a rejection at `rejected_prev` says anything: not below what matches, and of the probe on its way."""
        if rejected_prev <= self.match_index or self.phase is Phase.SNAPSHOT:
            return False
        return self.phase is Phase.REPLICATE or (
            rejected_prev == self.next_index - 1 and self.probe_sent_ms is not None
        )

    def rejected(self, asked_index: Index, next_index: Index) -> None:
        """The logs do not meet at `asked_index`. Ask again from `next_index`, one at a time."""
        self.next_index = next_index
        self.refused_index = asked_index
        self.sees(Sign.REJECTED)

    def lacks(self, floor: Index) -> bool:
        """Whether it surely lacks what was compacted up to `floor`: it was asked there, or below, and refused. All of
        that is committed, so a log that does not meet ours below does not meet it there either."""
        return self.refused_index is not None and self.refused_index <= floor

    def overdue(self, now_ms: int, patience_ms: int) -> bool:
        """Whether what is on the way has been for so long that it must be taken for lost."""
        oldest_ms = self.inflight[0].sent_ms if self.inflight else self.probe_sent_ms
        return oldest_ms is not None and now_ms - oldest_ms >= patience_ms

    def forget(self, next_index: Index) -> None:
        """It lost its store: nothing it said before holds (D10). Ask at `next_index`; its answer says where to go."""
        self.match_index = 0
        self.told_commit = 0
        self.notice_ms = None
        self.catch_up = None
        self.same = False
        self.sees(Sign.FORGOT)
        self.next_index = next_index


@dataclass(frozen=True, slots=True)
class ProgressView:
    """One follower as a leader's status shows it."""

    peer: NodeId
    phase: Phase
    match_index: Index
    next_index: Index
    inflight_appends: int
    inflight_bytes: int
    heard_ms: int
    """When it last answered in this term; NEVER_MS since its process was lost."""
    rebuilding: bool
    round_trip_ms: int
    """What a round trip to it may well take."""
    quick: bool
    """A learner that is to vote: its latest round of catching up was short enough."""
    same: bool
    """A learner that is to vote: its state was compared and is the same."""
