"""Tells the invariants what happened, and only what changed.

The judge sees through every node at once, which no node can. It turns the world's doings (a Ready was taken, a message
left, a save became durable) into the plain facts the invariants are told. Each costs a few comparisons, so it is done
after every event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from chaos.world.disk import Overwritten
from chaos.world.invariants import (
    AcknowledgedIsDurable,
    CommitMonotonic,
    ElectionSafety,
    InvariantViolated,
    LeaderAppendOnly,
    LeaderCompleteness,
    LogMatching,
    PromiseIsDurable,
    StateMachineSafety,
    TermAt,
    VoteOnce,
)
from replica.raft.messages import AppendReply, HeartbeatReply, Message, RequestVote, RequestVoteReply
from replica.raft.ready import Ready
from replica.raft.types import Entry, Index, NodeId, Role, Term

if TYPE_CHECKING:
    from chaos.world.node import Node
    from chaos.world.world import World


class Judge:
    """One instance of each invariant, and the wires to them. `without` names invariants that are not asked.

    A test that shows what one invariant catches leaves out another that would catch it sooner.
    """

    def __init__(self, world: World, without: frozenset[str] = frozenset()) -> None:
        self._world = world
        self._without = without
        self.election_safety = ElectionSafety()
        self.leader_append_only = LeaderAppendOnly()
        self.log_matching = LogMatching()
        self.state_machine_safety = StateMachineSafety()
        self.leader_completeness = LeaderCompleteness()
        self.vote_once = VoteOnce()
        self.promise_is_durable = PromiseIsDurable()
        self.commit_monotonic = CommitMonotonic()
        self.acknowledged_is_durable = AcknowledgedIsDurable()
        for name in without:
            _silence(self, name)

    @property
    def agreed(self) -> list[Entry]:
        """The one sequence all state machines apply."""
        return self.state_machine_safety.agreed

    # -- life and death -------------------------------------------------------------------------------------------

    def starts(self, node: Node) -> None:
        self.state_machine_safety.starts(node.number, node.disk.flushed)
        self.commit_monotonic.starts(node.number, node.disk.flushed)

    def stops(self, node: Node) -> None:
        self.leader_append_only.stops(node.number, node.led_at_last_ready)

    def emptied(self, node: Node) -> None:
        self.vote_once.loses_store(node.number)

    # -- what a node decides ----------------------------------------------------------------------------------------

    def elected(self, node: Node) -> None:
        """The node leads its term, as of the event just stepped."""
        self.election_safety.leads(node.number, node.term)
        self.leader_completeness.elected(node.number, node.term, core_log(node))

    def decides(self, node: Node, ready: Ready) -> None:
        """A Ready was taken; none of its effects has happened yet."""
        raft = node.raft
        assert raft is not None
        leads = raft.role is Role.LEADER
        if ready.entries:
            self._writes(node, ready.entries, leads and node.led_at_last_ready == node.term)
        if leads:
            if node.led_at_last_ready != node.term:
                self.leader_append_only.stops(node.number, node.led_at_last_ready)
                node.led_at_last_ready = node.term
            self.leader_append_only.leads_with(node.number, node.term, raft.last_index)
        if ready.commit_index != node.commit_index:
            self._commits(node, ready.commit_index)

    def _writes(self, node: Node, entries: tuple[Entry, ...], led_before: bool) -> None:
        first, written = entries[0].index, node.disk.written
        if first > len(written) + 1:
            gap = (f"its log ends at {len(written)}", f"it writes from {first} on")
            raise InvariantViolated("LogMatching", f"node {node.number} leaves a gap", gap)
        if led_before:
            self.leader_append_only.writes(node.number, node.term, first)
        self.log_matching.appends(node.number, written[first - 2].term if first > 1 else 0, entries)

    def _commits(self, node: Node, commit_index: Index) -> None:
        assert node.raft is not None
        self.commit_monotonic.commits(node.number, commit_index, node.raft.last_index)
        node.commit_index = commit_index
        self.leader_completeness.commits(node.term, commit_index, core_log(node), self._leaders())

    def _leaders(self) -> Iterator[tuple[NodeId, Term, TermAt]]:
        for node in self._world.alive():
            if node.role is Role.LEADER:
                yield node.number, node.term, core_log(node)

    # -- what leaves a node -----------------------------------------------------------------------------------------

    def promises(self, node: Node, message: Message) -> None:
        """A vote, a confirmation or a claim to count leaves the node."""
        match message:
            case AppendReply(rebuilding=False) | HeartbeatReply(rebuilding=False) if node.disk.hard_state.rebuilding:
                self.promise_is_durable.counts(node.number, message.term)
            case RequestVoteReply(granted=True):
                self._votes(node, message.term, message.to)
            case RequestVote():
                self._votes(node, message.term, node.number)
            case AppendReply(ok=True):
                self._confirms(node, message)
            case _:
                pass

    def _votes(self, node: Node, term: Term, candidate: NodeId) -> None:
        disk = node.disk.hard_state
        if disk.rebuilding:
            self.vote_once.votes_unknowing(node.number, term, candidate)
        self.vote_once.votes(node.number, term, candidate)
        self.promise_is_durable.votes(node.number, term, candidate, (disk.term, disk.vote))

    def _confirms(self, node: Node, reply: AppendReply) -> None:
        disk = node.disk
        if disk.hard_state.term > reply.term:
            return  # it has since moved on, durably: it may have replaced what it confirmed, as its new leader said
        at, end = reply.match_index, len(disk.durable)
        if 0 < at <= end and node.term == reply.term and disk.durable[at - 1].term != disk.written[at - 1].term:
            end = at - 1
        self.promise_is_durable.confirms(node.number, reply.term, at, (disk.hard_state.term, end))

    # -- what becomes durable ---------------------------------------------------------------------------------------

    def overwrites(self, node: Node, replaced: Overwritten) -> None:
        self._world.counts["durable entries replaced"] += 1
        self.acknowledged_is_durable.overwrites(node.number, replaced.old, replaced.new)

    def flushes(self, node: Node, index: Index) -> None:
        """The state machine is written back up to `index`: the durable log must say the same, or a restart would
        apply something else behind it."""
        entry = self.agreed[index - 1]
        if not node.disk.holds(index, entry.term):
            facts = (f"applied and flushed {index}/{entry.term}", f"its durable log ends at {len(node.disk.durable)}")
            raise InvariantViolated("StateMachineSafety", f"node {node.number} flushed ahead of its log", facts)

    def readmitted(self, node: Node) -> None:
        counting = [peer for peer in self._world.peers() if not peer.disk.hard_state.rebuilding]
        needed = self._world.quorum - (self._world.weather.nodes - len(counting))
        self.acknowledged_is_durable.readmitted(node.number, lambda entry: _holders(counting, entry), needed)

    # -- what is done -----------------------------------------------------------------------------------------------

    def applies(self, node: Node, entry: Entry) -> None:
        self.state_machine_safety.applies(node.number, entry)

    def acknowledges(self, entry: Entry, payload: bytes) -> None:
        holders = [
            peer.number
            for peer in self._world.peers()
            if (peer.disk.holds(entry.index, entry.term) and not peer.disk.hard_state.rebuilding)
            or peer.disk.held_before_emptied(entry.index, entry.term)
        ]
        self.acknowledged_is_durable.acknowledges(entry, payload, holders, self._world.quorum)


def core_log(node: Node) -> TermAt:
    """The log the core believes it has, newest entries included."""
    raft = node.raft
    assert raft is not None

    return lambda index: raft.entry_term(index) or 0


def _holders(nodes: list[Node], entry: Entry) -> list[NodeId]:
    return [node.number for node in nodes if node.disk.holds(entry.index, entry.term)]


class _Silent:
    """Stands in for an invariant that is not asked: takes every fact and says nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *facts: None


def _silence(judge: Judge, name: str) -> None:
    attributes = [key for key, value in vars(judge).items() if type(value).__name__ == name]
    assert attributes, f"no invariant is named {name}"
    setattr(judge, attributes[0], _Silent())
