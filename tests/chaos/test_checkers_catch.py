"""The checkers can fail: each lie told here, one line in a core or in its driver, is caught by a named invariant.

An invariant that never failed proves nothing. Some lies are caught the moment they are told, because `PromiseIsDurable`
compares what leaves a node with its disk; they are told a second time with that invariant silenced, to show that the
harm they do is seen too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from types import ModuleType
from typing import ClassVar

import pytest

from chaos.world.climates import changing_members, leases
from chaos.world.disk import Snapshot
from chaos.world.invariants import InvariantViolated
from chaos.world.node import Node
from chaos.world.weather import Weather, figure_8, lost_stores, storm
from chaos.world.world import World
from replica.raft import election, pace, reads, replication, snapshots, transfer
from replica.raft.core import Raft
from replica.raft.events import Event, Received, SnapshotArrived
from replica.raft.log import Log
from replica.raft.messages import Append, ReadIndexReply, RequestVoteReply
from replica.raft.quorum import agreed, halves, majority
from replica.raft.ready import Install, ReadConfirmed, Ready
from replica.raft.state import Leader, State, WaitingRead
from replica.raft.types import NOBODY, Entry, HardState, Index, Membership, NodeId, RaftConfig

AT_ONCE = frozenset({"PromiseIsDurable"})


# ---- lies of the driver


class ForgetsItsVote(Node):
    """Saves the term, never the vote."""

    def what_is_saved(self, ready: Ready) -> tuple[HardState | None, tuple[Entry, ...]]:
        hard_state, entries = super().what_is_saved(ready)
        return hard_state and replace(hard_state, vote=NOBODY), entries


class ForgetsItsTerm(Node):
    """Saves entries, never term or vote."""

    def what_is_saved(self, ready: Ready) -> tuple[HardState | None, tuple[Entry, ...]]:
        return None, super().what_is_saved(ready)[1]

    def boot(self) -> None:
        """Finds a term not below its entries', or the core would refuse to start before any harm is done."""
        last = self.disk.term(self.disk.last_index())
        self.disk.hard_state = replace(self.disk.hard_state, term=max(last, self.disk.hard_state.term))
        super().boot()


class RepliesBeforeThePersisted(Node):
    """Sends replies and votes at once, while the disk still works."""

    def save(self, ready: Ready) -> None:
        super().send_saved(ready)
        super().save(ready)

    def send_saved(self, ready: Ready) -> None:
        """They have left already."""


class TrustsAnEmptiedDisk(Node):
    """Starts on an emptied disk as if it had never promised anything (D10)."""

    def boot(self) -> None:
        self.disk.hard_state = replace(self.disk.hard_state, rebuilding=False)
        super().boot()


class AppliesTwice(Node):
    """Gives the state machine each tenth entry again."""

    def carry_out(self, ready: Ready) -> None:
        again = tuple(entry for entry in ready.committed if entry.index % 10 == 0)
        super().carry_out(replace(ready, committed=ready.committed + again))


# ---- lies of the core


class GrantsEveryVote(Raft):
    """Answers every request for a vote with yes."""

    def ready(self) -> Ready:
        ready = super().ready()
        votes = tuple(replace(m, granted=True) if isinstance(m, RequestVoteReply) else m for m in ready.send_saved)
        return replace(ready, send_saved=votes)


class IgnoresConflicts(Raft):
    """Takes entries behind an entry of another term as if the logs met there."""

    def step(self, event: Event) -> None:
        if isinstance(event, Received) and isinstance(event.message, Append):
            term = self.entry_term(event.message.prev_index)
            if term:
                event = replace(event, message=replace(event.message, prev_term=term))
        super().step(event)


class ForgetsCommits(Raft):
    """Reports a commit index that wavers."""

    def ready(self) -> Ready:
        ready = super().ready()
        wavering = ready.commit_index - (1 if ready.number % 50 == 0 and ready.commit_index else 0)
        return replace(ready, commit_index=wavering)


def commits_older_terms(state: State, leader: Leader) -> bool:
    """Commits whatever a majority holds, of any term: figure 8 shows how that is overwritten."""
    match = {peer: progress.match_index for peer, progress in leader.progress.items()}
    match[state.node] = state.log.stable_index
    return state.commit_to(agreed(state.membership, match))


# ---- weathers in which a lie does harm soon


def hard_on_voters(rng: Random) -> Weather:
    """Many elections, many of them split, and processes that die between asking and being elected."""
    weather = Weather(nodes=3, election_timeout_ms=60, heartbeat_interval_ms=20, latency_ms=5, jitter_ms=20)
    weather.pre_vote = weather.check_quorum = weather.connections = False
    weather.faults, weather.aim_at_leader = ("crash", "crash at a point", "whole cluster down"), 0.2
    weather.fault_interval_ms, weather.down_ms, weather.leaders_live_ms = 30, 5, 30
    return weather


@dataclass(frozen=True)
class Lie:
    """A lie, the weather to tell it in, who must catch it, and within how many seeds."""

    catchers: tuple[str, ...]
    node_class: type[Node] = Node
    core: type[Raft] = Raft
    weather: Callable[[Random], Weather] = storm
    without: frozenset[str] = frozenset()
    seeds: int = 30


class Lies:
    TABLE: ClassVar[dict[str, Lie]] = {
        "vote not persisted": Lie(("PromiseIsDurable",), ForgetsItsVote),
        "vote not persisted, harm done": Lie(
            ("VoteOnce", "ElectionSafety"), ForgetsItsVote, weather=hard_on_voters, without=AT_ONCE
        ),
        "term not persisted": Lie(("PromiseIsDurable",), ForgetsItsTerm),
        "term not persisted, harm done": Lie(
            ("VoteOnce", "ElectionSafety", "LogMatching"), ForgetsItsTerm, weather=hard_on_voters, without=AT_ONCE
        ),
        "reply before Persisted": Lie(("PromiseIsDurable",), RepliesBeforeThePersisted),
        "reply before Persisted, harm done": Lie(
            ("CommitHasQuorum", "AcknowledgedIsDurable"), RepliesBeforeThePersisted, without=AT_ONCE
        ),
        "vote granted twice": Lie(("VoteOnce",), core=GrantsEveryVote, without=AT_ONCE),
        "vote granted twice, harm done": Lie(
            ("ElectionSafety",),
            core=GrantsEveryVote,
            weather=hard_on_voters,
            without=AT_ONCE | {"VoteOnce"},
        ),
        "conflict ignored": Lie(("LogMatching",), core=IgnoresConflicts),
        "conflict ignored, harm done": Lie(
            ("StateMachineSafety", "LeaderCompleteness", "AcknowledgedIsDurable"),
            core=IgnoresConflicts,
            weather=figure_8,
            without=frozenset({"LogMatching"}),
        ),
        "emptied disk trusted": Lie(
            ("VoteOnce", "LeaderCompleteness", "AcknowledgedIsDurable", "ElectionSafety", "StateMachineSafety"),
            TrustsAnEmptiedDisk,
            weather=lost_stores,
        ),
        "applied twice": Lie(("StateMachineSafety",), AppliesTwice),
        "commit index wavers": Lie(("CommitMonotonic",), core=ForgetsCommits),
    }


def hunt(lie: Lie) -> tuple[str, int] | None:
    """Which invariant catches the lie first, and at which seed; None where none does within the lie's seeds."""
    for seed in range(1, lie.seeds + 1):
        world = World(seed, weather=lie.weather, core=lie.core, node_class=lie.node_class, without=lie.without)
        try:
            world.run(2_000)
        except InvariantViolated as violated:
            return violated.name, seed
        except AssertionError:
            continue  # the core noticed by itself; the invariants must as well, in another seed
    return None


@pytest.mark.parametrize("name", Lies.TABLE)
def test_a_lie_is_caught_by_a_named_invariant(name: str) -> None:
    """Each lie of the table is caught by one of the invariants the table names, within the seeds it allows."""
    lie = Lies.TABLE[name]

    caught = hunt(lie)

    assert caught is not None, f"{name}: nobody noticed within {lie.seeds} seeds"
    assert caught[0] in lie.catchers


def test_committing_an_older_term_by_counting_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 8: without "log[N].term == currentTerm" a committed entry is overwritten, and it is noticed."""
    monkeypatch.setattr(replication, "commit_by_counting", commits_older_terms)

    caught = hunt(Lie((), weather=figure_8, seeds=60))

    assert caught is not None, "nobody noticed within 60 seeds"
    assert caught[0] in ("LeaderCompleteness", "StateMachineSafety", "AcknowledgedIsDurable")


def test_a_leader_that_counts_its_own_unsaved_entries_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """10.2.1: a leader may send before its own disk has the entry, but must not count itself until then."""
    monkeypatch.setattr(Log, "stable_index", Log.last_index)

    caught = hunt(Lie(()))

    assert caught is not None
    assert caught[0] in ("CommitHasQuorum", "AcknowledgedIsDurable", "StateMachineSafety")


# ---- lies of the later chapters


def won_by_either_half(membership: Membership, granted: Collection[NodeId]) -> bool:
    """A joint quorum of one majority (4.3 wants both)."""
    return any(len(half.intersection(granted)) >= majority(len(half)) for half in halves(membership))


def agreed_by_either_half(membership: Membership, values: Mapping[NodeId, int], missing: int = 0) -> int:
    """The same for commits."""
    return max(agreed(Membership(half), values, missing) for half in halves(membership))


def answers_with_what_it_knows(state: State, leader: Leader, read: WaitingRead) -> None:
    """A read index without the term's own first entry (6.4, step 1): a new leader's commit index may be old."""
    if read.frm == state.node:
        state.outbox.reads.append(ReadConfirmed(read.token, read.index))
    else:
        state.send(ReadIndexReply(state.node, read.frm, state.term, read.token, read.index, ok=True))


def takes_any_snapshot(state: State, event: SnapshotArrived) -> bool:
    """Installs one that is older than what is here."""
    return True


def drops_what_is_committed(state: State, flushed_index: Index, keep_from: Index, sending: Index | None) -> Index:
    """Compaction past the flushed state."""
    return min(state.commit_index, state.log.stable_index)


def leases_without_margin(config: RaftConfig) -> int:
    """A lease as long as the promise, whatever the clocks do (6.4.1)."""
    return config.election_timeout_ms


def never_gives_up(state: State, leader: Leader) -> None:
    """A hand-over that goes on until the target leads, if ever (3.10)."""


@dataclass(frozen=True)
class Patch:
    """A lie told by functions put in the place of the core's: where, which, and who must catch it."""

    places: tuple[tuple[ModuleType, str], ...]
    lies: tuple[Callable[..., object], ...]
    catchers: tuple[str, ...]
    weather: Callable[[Random], Weather] = changing_members


LATER_SEEDS = 400
LATER_LIES = {
    "joint quorum by either majority": Patch(
        ((election, "won"), (election, "agreed"), (replication, "agreed")),
        (won_by_either_half, agreed_by_either_half, agreed_by_either_half),
        ("CommitHasQuorum",),
    ),
    "read index before the term's own commit": Patch(
        ((reads, "_answer"),), (answers_with_what_it_knows,), ("ReadsAreLinearizable",)
    ),
    "stale snapshot accepted": Patch(
        ((snapshots, "is_useful"),), (takes_any_snapshot,), ("StateMachineSafety", "CommitMonotonic")
    ),
    "compaction past what is flushed": Patch(
        ((snapshots, "compaction_index"),), (drops_what_is_committed,), ("CompactedIsFlushed",)
    ),
    "lease without margin": Patch(((pace, "lease_ms"),), (leases_without_margin,), ("ReadsAreLinearizable",), leases),
    "hand-over without end": Patch(((transfer, "give_up_late"),), (never_gives_up,), ("TransferAbortsInOneTimeout",)),
}


@pytest.mark.parametrize("name", LATER_LIES)
def test_a_lie_of_a_later_chapter_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memberships, reads, snapshots, leases, transfers: each chapter's rule, left out, is missed by its invariant."""
    patch = LATER_LIES[name]
    for (module, attribute), lie in zip(patch.places, patch.lies, strict=True):
        monkeypatch.setattr(module, attribute, lie)

    caught = hunt(Lie(patch.catchers, weather=patch.weather, seeds=LATER_SEEDS))

    assert caught is not None, f"{name}: nobody noticed within {LATER_SEEDS} seeds"
    assert caught[0] in patch.catchers


def test_a_snapshot_of_another_state_is_caught() -> None:
    """A digest that is not the state's: two replicas at one index would have two states."""

    class Garbles(Node):
        def take_state(self, install: Install) -> Snapshot:
            self.arrived[install.token] = replace(self.arrived[install.token], digest=1)
            return super().take_state(install)

    caught = hunt(Lie((), Garbles, weather=changing_members))

    assert caught is not None
    assert caught[0] == "DigestsEqual"


def test_the_honest_core_passes_where_the_lies_are_told() -> None:
    """The weathers that catch lies find nothing in the shipped core: it is the lie that is caught, not the weather."""
    for weather in (hard_on_voters, lost_stores, figure_8, changing_members, leases):
        for seed in range(1, 9):
            World(seed, weather=weather).run(2_000)
