"""What must hold of the later chapters: memberships (4), snapshots (5), reads (6) and transfers (3.10).

Built as those of invariants.py are: each class is told plain facts in the order they happened, and raises
`InvariantViolated` for two that cannot both be true.

Leaves out: liveness; that changes end and all members converge is asked in the calm (aftermath.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations

from chaos.world.invariants import violated
from replica.raft.quorum import halves, majority
from replica.raft.types import Entry, Index, Membership, NodeId, Term


class CommitHasQuorum:
    """ "Agreement (for elections and entry commitment) requires separate majorities from both the old and new
    configurations" (4.3); and a majority is one of disks, not of memories.

    Looks at each index a leader commits by counting, against the disks of every voter of the membership it counted by.
    """

    def commits(self, leader: NodeId, index: Index, membership: Membership, holders: Collection[NodeId]) -> None:
        for half in halves(membership):
            have = sorted(half.intersection(holders))
            if len(have) < majority(len(half)):
                counted = f"leader {leader} committed {index}, voters {sorted(half)} must hold it by majority"
                violated(self, "a commit without a quorum of disks", counted, f"of these nodes {have} do")


class CommittedMembershipsOverlap:
    """ "It is safe" to change the membership "if any majority of the old overlaps with any majority of the new"
    (4.1 for single servers, 4.3 for the joint state): of two memberships committed in a row no quorum of the one may be
    apart from every quorum of the other.

    Looks at each committed membership beside the one before it.
    """

    def __init__(self, base: Membership) -> None:
        self._latest: tuple[Index, Membership] = (0, base)

    def commits(self, index: Index, membership: Membership) -> None:
        at, before = self._latest
        apart = _apart(before, membership)
        if apart is not None:
            first = f"nodes {sorted(apart[0])} are a quorum of the one at {at}"
            violated(self, "two memberships can decide apart", first, f"{sorted(apart[1])} of the one at {index}")
        self._latest = (index, membership)


def _apart(one: Membership, other: Membership) -> tuple[set[NodeId], set[NodeId]] | None:
    """A quorum of each without a common node; None where there are no such two."""
    if one.voters == other.voters and one.outgoing == other.outgoing:
        return None
    everyone = one.voters | one.outgoing | other.voters | other.outgoing
    for size in range(1, len(everyone)):
        for chosen in combinations(sorted(everyone), size):
            rest = everyone.difference(chosen)
            if is_quorum(one, chosen) and is_quorum(other, rest):
                return set(chosen), set(rest)
    return None


def is_quorum(membership: Membership, nodes: Iterable[NodeId]) -> bool:
    """Whether `nodes` have a majority of each half; written out here, so that the core's own rule is not its judge."""
    present = set(nodes)
    halves_of = [membership.voters, membership.outgoing] if membership.outgoing else [membership.voters]
    return all(2 * len(half & present) > len(half) for half in halves_of)


class SnapshotIsCommitted:
    """A snapshot is of committed state only (chapter 5): the state as of an entry all agree on, with the membership in
    force there.

    Looks at each snapshot when it is made and when it is installed, against the agreed sequence.
    """

    def holds(
        self,
        node: NodeId,
        entry: Entry | None,
        snapshot: tuple[Index, Term, tuple[Index, bytes]],
        membership: tuple[Index, bytes],
    ) -> None:
        """`entry` is what was agreed at the snapshot's index, `membership` what holds there."""
        index, term, carried = snapshot
        said = f"node {node} has a snapshot as of {index}/{term}"
        if entry is None or entry.term != term:
            there = f"agreed there is {entry.index}/{entry.term}" if entry else "nothing is agreed there"
            violated(self, "a snapshot of what was not committed", said, there)
        if carried != membership:
            violated(
                self, "a snapshot of another membership", f"{said}, with {carried}", f"in force there is {membership}"
            )


class CompactedIsFlushed:
    """Only what the state machine has made durable may be dropped from the log: a crash replays the rest (chapter 5).

    Looks at each compaction.
    """

    def compacts(self, node: NodeId, through: Index, flushed: Index) -> None:
        if through > flushed:
            dropped = f"the log was dropped up to {through}"
            violated(
                self, f"node {node} dropped what it may need", dropped, f"the state on its disk is as of {flushed}"
            )


class DigestsEqual:
    """All replicas at one index have one state, however they came to it: entry by entry, or by a snapshot.

    Looks at each node's digest at each index it reaches.
    """

    def __init__(self) -> None:
        self.at: list[int] = []

    def reaches(self, node: NodeId, index: Index, digest: int) -> None:
        if index > len(self.at):
            self.at.append(digest)
        elif self.at[index - 1] != digest:
            first = f"the first to reach {index} had {self.at[index - 1]:08x}"
            violated(self, f"node {node}'s state differs at {index}", first, f"node {node} has {digest:08x}")


class ReadsAreLinearizable:
    """A read never misses what was done before it was asked (6.4): neither an acknowledged write nor what another read
    has shown.

    The history of a log is a line, so the check is exact and cheap: with every acknowledged write, and every answered
    read, some index is known to be visible; a read asked after that must be confirmed at that index or later. That no
    read shows what is not committed, `StateMachineSafety` and `LeaderCompleteness` say of every applied entry.
    """

    def __init__(self) -> None:
        self._visible: Index = 0
        self._asked: dict[int, Index] = {}

    def shows(self, index: Index) -> None:
        """Somebody was told, or shown, what stands at `index`."""
        if index > self._visible:
            self._visible = index

    def asked(self, token: int) -> None:
        self._asked[token] = self._visible

    def is_stale(self, token: int, index: Index) -> bool:
        """Whether a read confirmed at `index` may miss what was visible when it was asked."""
        return index < self._asked[token]

    def confirmed(self, node: NodeId, token: int, index: Index) -> None:
        if self.is_stale(token, index):
            visible = f"when it was asked, index {self._asked[token]} had been shown"
            violated(self, f"a stale read on node {node}", visible, f"it may be answered as of {index}")

    def ends(self, token: int) -> None:
        """The read was answered or refused, or its node died."""
        self._asked.pop(token, None)


class RemovedDoNotDisturb:
    """A removed server must not "disrupt the cluster" (4.2.3): with pre-vote it never gets so far as to raise a term.

    Looks at each request for a vote that leaves a node, and since when the node has been in no committed membership. A
    short time after its removal it may still use the word of those who had not heard of it; so the caller says how
    long that may last in its weather.
    """

    def __init__(self) -> None:
        self._removed_ms: dict[NodeId, int] = {}

    def removed(self, nodes: Iterable[NodeId], now_ms: int) -> None:
        """These stand in no half, and are no learners, of the latest committed membership."""
        known, self._removed_ms = self._removed_ms, {}
        for node in nodes:
            self._removed_ms[node] = known.get(node, now_ms)

    def since_ms(self, node: NodeId) -> int | None:
        return self._removed_ms.get(node)

    def campaigns(self, node: NodeId, term: Term, now_ms: int, grace_ms: int) -> None:
        since_ms = self._removed_ms.get(node)
        if since_ms is not None and now_ms - since_ms > grace_ms:
            removed = f"its removal is committed since {since_ms} ms"
            violated(
                self, f"the removed node {node} disturbs", removed, f"at {now_ms} ms it asks for votes in term {term}"
            )


class TransferAbortsInOneTimeout:
    """ "If leadership transfer does not complete after about an election timeout, the prior leader aborts the transfer
    and resumes accepting client requests" (3.10).

    Looks at a leader's tick after the time by its own clock.
    """

    def ticks(self, node: NodeId, now_ms: int, until_ms: int, transferring: bool) -> None:
        if transferring and now_ms >= until_ms:
            late = f"at {now_ms} ms it still hands over"
            violated(self, f"leader {node} refuses requests too long", f"it had until {until_ms} ms", late)
