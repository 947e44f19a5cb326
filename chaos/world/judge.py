"""Tells the invariants what happened, and only what changed.

The judge sees through every node at once, which no node can. It turns the world's doings (a Ready was taken, a message
left, a save became durable) into the plain facts the invariants are told. Each costs a few comparisons, so it is done
after every event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from chaos.world.disk import Overwritten, Snapshot
from chaos.world.invariants import (
    AcknowledgedIsDurable,
    CommitMonotonic,
    ElectionSafety,
    Halves,
    InvariantViolated,
    LeaderAppendOnly,
    LeaderCompleteness,
    LogMatching,
    PromiseIsDurable,
    StateMachineSafety,
    TermAt,
    VoteOnce,
)
from chaos.world.later_invariants import (
    CommitHasQuorum,
    CommittedMembershipsOverlap,
    CompactedIsFlushed,
    DigestsEqual,
    ReadsAreLinearizable,
    RemovedDoNotDisturb,
    SnapshotIsCommitted,
    TransferAbortsInOneTimeout,
)
from replica.raft.memberships import decode_membership, encode_membership
from replica.raft.messages import AppendReply, HeartbeatReply, Message, RequestVote, RequestVoteReply
from replica.raft.quorum import halves
from replica.raft.ready import Install, Ready
from replica.raft.types import Entry, EntryKind, Index, Membership, NodeId, Role, Term

if TYPE_CHECKING:
    from chaos.world.applying import Applying
    from chaos.world.node import Node
    from chaos.world.world import World


class Judge:
    """One instance of each invariant, and the wires to them. `without` names invariants that are not asked.

    A test that shows what one invariant catches leaves out another that would catch it sooner.
    """

    def __init__(self, world: World, base: Membership, without: frozenset[str] = frozenset()) -> None:
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
        self.commit_has_quorum = CommitHasQuorum()
        self.memberships = CommittedMembershipsOverlap(base)
        self.snapshot_is_committed = SnapshotIsCommitted()
        self.compacted_is_flushed = CompactedIsFlushed()
        self.digests_equal = DigestsEqual()
        self.reads = ReadsAreLinearizable()
        self.removed = RemovedDoNotDisturb()
        self.transfer_aborts = TransferAbortsInOneTimeout()
        self.base = base
        self.under: list[Membership] = []
        """For each committed index the membership by which a leader counted it."""
        self.latest_membership, self.latest_membership_index = base, 0
        """The latest that is committed."""
        self._memberships: dict[Index, bytes] = {}
        """The bytes of each committed membership, by its index."""
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
        self.leader_completeness.elected(node.number, node.term, self.core_log(node))

    def counts(self, node: Node, commit_index: Index, membership_index: Index) -> None:
        """A leader's step has moved its commit index, while the membership at `membership_index` was the latest."""
        raft = node.raft
        assert raft is not None
        membership = raft.membership
        if raft.membership_index != membership_index:  # the step that the commit allowed has been appended since
            membership = decode_membership(raft.membership_at(raft.membership_index - 1)[1])
        term = raft.entry_term(commit_index) or 0
        everyone = membership.voters | membership.outgoing
        holders = [number for number in everyone if _has_held(self._world.nodes[number], commit_index, term)]
        self.commit_has_quorum.commits(node.number, commit_index, membership, holders)
        self.under.extend([membership] * (commit_index - len(self.under)))

    def decides(self, node: Node, ready: Ready) -> None:
        """A Ready was taken; none of its effects has happened yet."""
        raft = node.raft
        assert raft is not None
        leads = raft.role is Role.LEADER
        if ready.entries:
            self._writes(node, ready, leads and node.led_at_last_ready == node.term)
        if leads:
            if node.led_at_last_ready != node.term:
                self.leader_append_only.stops(node.number, node.led_at_last_ready)
                node.led_at_last_ready = node.term
            self.leader_append_only.leads_with(node.number, node.term, raft.last_index)
        if ready.commit_index != node.commit_index:
            self._commits(node, ready.commit_index)

    def _writes(self, node: Node, ready: Ready, led_before: bool) -> None:
        entries, install = ready.entries, ready.install
        first, written = entries[0].index, node.disk.written
        before = written.term(first - 1) if install is None else install.term
        if before is None or (install is not None and first != install.index + 1):
            gap = (f"its log goes from {written.base + 1} to {written.last}", f"it writes from {first} on")
            raise InvariantViolated("LogMatching", f"node {node.number} leaves a gap", gap)
        if led_before:
            self.leader_append_only.writes(node.number, node.term, first)
        self.log_matching.appends(node.number, before, entries)

    def _commits(self, node: Node, commit_index: Index) -> None:
        assert node.raft is not None
        self.commit_monotonic.commits(node.number, commit_index, node.raft.last_index)
        node.commit_index = commit_index
        self.leader_completeness.commits(node.term, commit_index, self.core_log(node), self._leaders())

    def _leaders(self) -> Iterator[tuple[NodeId, Term, TermAt]]:
        for node in self._world.alive():
            if node.role is Role.LEADER:
                yield node.number, node.term, self.core_log(node)

    def core_log(self, node: Node) -> TermAt:
        """The log the core believes it has, newest entries included. What it has dropped was flushed, and so is the
        agreed sequence."""
        raft = node.raft
        assert raft is not None

        def term_at(index: Index) -> Term:
            term = raft.entry_term(index)
            if term is None and index < raft.first_index and index <= len(self.agreed):
                return self.agreed[index - 1].term
            return term or 0

        return term_at

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
                if not message.transfer and self._world.weather.tells_who_disturbs and self._never_heard(node):
                    grace_ms = self._world.weather.removal_grace_ms
                    self.removed.campaigns(node.number, message.term, self._world.now_ms, grace_ms)
            case AppendReply(ok=True):
                self._confirms(node, message)
            case _:
                pass

    def _never_heard(self, node: Node) -> bool:
        """Whether the latest committed membership is not in the node's log. One that has it, and does not know that it
        is committed, may have to campaign (4.2.2)."""
        return node.raft is not None and node.raft.membership_index < self.latest_membership_index

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
        at, end = reply.match_index, disk.last_index()
        known = 0 < at <= end and node.term == reply.term and at >= disk.written.base
        if known and disk.durable.term(at) not in (None, disk.written.term(at)):
            end = at - 1
        self.promise_is_durable.confirms(node.number, reply.term, at, (disk.hard_state.term, end))

    # -- what becomes durable ---------------------------------------------------------------------------------------

    def overwrites(self, node: Node, replaced: Overwritten) -> None:
        self._world.counts["durable entries replaced"] += 1
        self.acknowledged_is_durable.overwrites(node.number, replaced.old, replaced.new)

    def flushes(self, node: Applying, index: Index) -> None:
        """The state machine is written back up to `index`: the durable log must say the same, or a restart would
        apply something else behind it."""
        entry = self.agreed[index - 1]
        if not node.disk.holds(index, entry.term):
            facts = (f"applied and flushed {index}/{entry.term}", f"its durable log ends at {node.disk.last_index()}")
            raise InvariantViolated("StateMachineSafety", f"node {node.number} flushed ahead of its log", facts)

    def compacts(self, node: Applying, through: Index) -> None:
        """The log is about to be dropped up to `through`."""
        self.compacted_is_flushed.compacts(node.number, through, node.disk.flushed)

    def readmitted(self, node: Node) -> None:
        counting = [peer for peer in self._world.peers() if not peer.disk.hard_state.rebuilding]
        numbers = {peer.number for peer in counting}
        self.acknowledged_is_durable.readmitted(
            node.number, lambda entry: _holders(counting, entry), self._halves_at, numbers
        )

    # -- snapshots --------------------------------------------------------------------------------------------------

    def made(self, node: Node, snapshot: Snapshot) -> None:
        """A node made a snapshot of the state on its disk."""
        index = snapshot.index
        entry = self.agreed[index - 1] if 0 < index <= len(self.agreed) else None
        facts = (index, snapshot.term, snapshot.membership)
        self.snapshot_is_committed.holds(node.number, entry, facts, self._membership_at(index))
        self.digests_equal.reaches(node.number, index, snapshot.digest)

    def installs(self, node: Applying, install: Install, snapshot: Snapshot) -> None:
        """A snapshot takes the place of a node's state and log."""
        index = install.index
        entry = self.agreed[index - 1] if 0 < index <= len(self.agreed) else None
        facts = (index, install.term, install.membership)
        self.snapshot_is_committed.holds(node.number, entry, facts, self._membership_at(index))
        self.state_machine_safety.installs(node.number, index)
        self.digests_equal.reaches(node.number, index, snapshot.digest)

    def _membership_at(self, index: Index) -> tuple[Index, bytes]:
        """The membership in force at a committed index, as snapshots carry it."""
        at = max((place for place in self._memberships if place <= index), default=0)
        return (at, self._memberships[at]) if at else (0, encode_membership(self.base))

    # -- what is done -----------------------------------------------------------------------------------------------

    def applies(self, node: Applying, entry: Entry) -> None:
        """The node has applied an entry; its digest is that of the state with it."""
        self.state_machine_safety.applies(node.number, entry)
        self.digests_equal.reaches(node.number, entry.index, node.digest)
        if entry.kind is EntryKind.MEMBERSHIP and entry.index > self.latest_membership_index:
            self._changes(entry)

    def _changes(self, entry: Entry) -> None:
        self._memberships[entry.index] = entry.data
        membership = decode_membership(entry.data)
        self.memberships.commits(entry.index, membership)
        self.latest_membership, self.latest_membership_index = membership, entry.index
        members = membership.voters | membership.outgoing | membership.learners
        self.removed.removed(
            (node.number for node in self._world.peers() if node.number not in members), self._world.now_ms
        )

    def acknowledges(self, entry: Entry, payload: bytes) -> None:
        holders = [peer.number for peer in self._world.peers() if _has_held(peer, entry.index, entry.term)]
        self.acknowledged_is_durable.acknowledges(entry, payload, holders, self._halves_at(entry.index))
        self.reads.shows(entry.index)

    def _halves_at(self, index: Index) -> Halves:
        """Who had to hold an entry for it to be committed."""
        return halves(self.under[index - 1]) if index <= len(self.under) else ()

    def confirms_read(self, node: Node, token: int, index: Index) -> None:
        """The core says that a read may be answered from a state as of `index`. Where the clocks break their declared
        bound, leases cannot be right, and a stale read is counted only."""
        if not self._world.weather.clocks_lie:
            self.reads.confirmed(node.number, token, index)
        elif self.reads.is_stale(token, index):
            self._world.count("stale read by a lying clock", node.number, index)

    def ticks_in_transfer(self, node: Node, now_ms: int) -> None:
        assert node.raft is not None
        self.transfer_aborts.ticks(node.number, now_ms, node.transfer_until_ms, node.raft.transferring)


def _has_held(node: Node, index: Index, term: Term) -> bool:
    """Whether an entry is durable there, or was in a life that ended with an emptied disk."""
    disk = node.disk
    return (disk.holds(index, term) and not disk.hard_state.rebuilding) or disk.held_before_emptied(index, term)


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
