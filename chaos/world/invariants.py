"""What must hold, whatever happens: each a named class, told what happened, that raises `InvariantViolated`.

Five are the properties of figure 3 of the Raft paper, three say what the rest of the system relies on, and one is the
rule by which they are kept ("updated on stable storage before responding"). A class knows nothing of the world: it is
told plain facts, one method per kind of fact, and looks only at what the new fact can contradict. So checking after
every event stays cheap, and a test can hand any of them a bad history made by hand.

Facts are told in the order they happened. A class never guesses: what it has not been told did not happen.

Left out: what belongs to memberships, snapshots, reads and transfers (later_invariants.py). A quorum is handed in
wherever one is needed, as the sets each of which must agree by majority, so that a joint one fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from replica.raft.types import Entry, EntryKind, Index, NodeId, Term

TermAt = Callable[[Index], Term]
"""A log as the checks need it: the term of the entry at an index, 0 where there is none."""
Halves = tuple[frozenset[NodeId], ...]
"""The sets of voters each of which must agree by majority: one, or two while the membership changes."""


class InvariantViolated(Exception):
    """A property that must always hold does not: `name` is the class, `facts` the two things that cannot both be
    true."""

    def __init__(self, name: str, text: str, facts: tuple[str, str]) -> None:
        super().__init__(f"{name}: {text}: {facts[0]}; {facts[1]}")
        self.name = name
        self.text = text
        self.facts = facts

    def __reduce__(self) -> tuple[type[InvariantViolated], tuple[str, str, tuple[str, str]]]:
        return type(self), (self.name, self.text, self.facts)


class ElectionSafety:
    """ "At most one leader can be elected in a given term. §5.2" (figure 3).

    Looks at every node that leads, with its term, and remembers who led a term for ever: a crash forgets nothing here.
    """

    def __init__(self) -> None:
        self.leader_of: dict[Term, NodeId] = {}

    def leads(self, node: NodeId, term: Term) -> None:
        first = self.leader_of.setdefault(term, node)
        if first != node:
            violated(self, f"term {term} has two leaders", f"node {first} leads it", f"node {node} leads it")


class LeaderAppendOnly:
    """ "A leader never overwrites or deletes entries in its log; it only appends new entries. §5.3" (figure 3).

    Looks at what a node writes while it leads one and the same term, against the end of its log before.
    """

    def __init__(self) -> None:
        self._end: dict[tuple[NodeId, Term], Index] = {}

    def leads_with(self, node: NodeId, term: Term, last: Index) -> None:
        """The node leads `term` and its log ends at `last`."""
        end = self._end.get((node, term), 0)
        if last < end:
            violated(self, f"leader {node} of term {term} deleted", f"its log ended at {end}", f"it ends at {last}")
        self._end[node, term] = last

    def writes(self, node: NodeId, term: Term, first: Index) -> None:
        """A leader that was one already at its previous write writes from `first` on."""
        end = self._end.get((node, term), 0)
        if first <= end:
            violated(self, f"leader {node} of term {term} overwrote", f"its log ended at {end}", f"it wrote at {first}")

    def stops(self, node: NodeId, term: Term) -> None:
        """The node died or left the term; a later life may have lost what was not durable, but cannot lead it again."""
        self._end.pop((node, term), None)


class LogMatching:
    """ "If two logs contain an entry with the same index and term, then the logs are identical in all entries up
    through the given index. §5.3" (figure 3).

    Looks at each entry when any log gains it, together with the term of the entry before it. `(index, term)` must
    always come with the same content and the same predecessor; by induction the logs are then equal all the way down.
    Entries that were lost again are remembered: a name is never used twice.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Index, Term], tuple[Term, Entry]] = {}

    def appends(self, node: NodeId, previous_term: Term, entries: Iterable[Entry]) -> None:
        """The node's log gains `entries`, the first of them behind an entry of `previous_term` (0: behind nothing)."""
        for entry in entries:
            known = self._known.setdefault((entry.index, entry.term), (previous_term, entry))
            if known[1] is not entry or known[0] != previous_term:
                self._compare(node, entry, previous_term, known)
            previous_term = entry.term

    def _compare(self, node: NodeId, entry: Entry, previous_term: Term, known: tuple[Term, Entry]) -> None:
        name = f"entry {entry.index}/{entry.term}"
        if known[1] != entry:
            violated(self, f"{name} has two contents", f"first seen as {known[1]}", f"node {node} holds {entry}")
        if known[0] != previous_term:
            first, now = f"first seen behind term {known[0]}", f"on node {node} behind term {previous_term}"
            violated(self, f"{name} stands in two different logs", first, now)


class StateMachineSafety:
    """ "If a server has applied a log entry at a given index to its state machine, no other server will ever apply a
    different log entry for the same index. §5.4.3" (figure 3). Nor does one skip, go back, or apply a payload twice.

    Looks at each entry when a node applies it, against the one sequence all nodes agree on (`agreed[index - 1]`).
    """

    def __init__(self) -> None:
        self.agreed: list[Entry] = []
        self._applied: dict[NodeId, Index] = {}
        self._index_of: dict[bytes, Index] = {}

    def starts(self, node: NodeId, applied: Index) -> None:
        """A new life of the node begins with the state of `applied`."""
        self._applied[node] = applied

    def installs(self, node: NodeId, index: Index) -> None:
        """A snapshot as of `index` takes the place of the node's state."""
        due = self._applied[node] + 1
        if index < due:
            violated(self, f"node {node} went back in time", f"index {due} is due", f"it installed a state of {index}")
        self._applied[node] = index

    def applies(self, node: NodeId, entry: Entry) -> None:
        due = self._applied[node] + 1
        if entry.index != due:
            violated(self, f"node {node} applied out of order", f"index {due} is due", f"it applied {entry.index}")
        self._applied[node] = due
        if due > len(self.agreed):
            self._agree(entry)
        else:
            agreed = self.agreed[due - 1]
            if agreed is not entry and agreed != entry:
                violated(self, f"index {due} was applied twice differently", f"as {agreed}", f"node {node}: {entry}")

    def _agree(self, entry: Entry) -> None:
        self.agreed.append(entry)
        if entry.kind is EntryKind.DATA:
            first = self._index_of.setdefault(entry.data, entry.index)
            if first != entry.index:
                violated(self, f"payload {entry.data!r} is twice in the log", f"at {first}", f"at {entry.index}")


class LeaderCompleteness:
    """ "If a log entry is committed in a given term, then that entry will be present in the logs of the leaders for all
    higher-numbered terms. §5.4" (figure 3).

    Looks at each new leader's log when it is elected, and at the logs of the leaders that exist when an entry is first
    known to be committed. Only the newest entry that must be there is looked up: `LogMatching` vouches for those below.
    """

    def __init__(self) -> None:
        self._committed: list[tuple[Term, Term]] = []
        """For each index: the entry's term, and the term in which a leader first knew it committed."""

    def commits(
        self, in_term: Term, commit_index: Index, log: TermAt, leaders: Iterable[tuple[NodeId, Term, TermAt]]
    ) -> None:
        """A node in `in_term` knows all up to `commit_index` committed; `leaders` are those that lead right now."""
        known = len(self._committed)
        if commit_index <= known:
            return
        self._committed.extend((log(index), in_term) for index in range(known + 1, commit_index + 1))
        for node, term, leader_log in leaders:
            if term > in_term:
                self._must_hold(node, term, leader_log, commit_index)

    def elected(self, node: NodeId, term: Term, log: TermAt) -> None:
        for at in range(len(self._committed) - 1, -1, -1):
            if self._committed[at][1] < term:
                self._must_hold(node, term, log, at + 1)
                return

    def _must_hold(self, node: NodeId, term: Term, log: TermAt, index: Index) -> None:
        entry_term, in_term = self._committed[index - 1]
        found = log(index)
        if found != entry_term:
            committed = f"entry {index}/{entry_term} was committed in term {in_term}"
            there = f"it holds an entry of term {found} there" if found else "its log ends before"
            violated(self, f"leader {node} of term {term} lacks a committed entry", committed, there)


class VoteOnce:
    """ "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis" (§5.2).

    Looks at the votes that left a node: granted replies, and its own requests for votes (a candidate votes for
    itself). What was decided but never left binds nobody. What left binds the node through every crash. A vote for
    another binds it through an emptied disk too. Its own candidacies end with the life that forgot them: that life can
    no longer be elected, and whoever lets the node vote again must know that it was not (D10, raft/rebuild.py).
    """

    def __init__(self) -> None:
        self._voted: dict[tuple[NodeId, Term], NodeId] = {}

    def votes(self, node: NodeId, term: Term, candidate: NodeId) -> None:
        first = self._voted.setdefault((node, term), candidate)
        if first != candidate:
            violated(self, f"node {node} voted twice in term {term}", f"for node {first}", f"for node {candidate}")

    def loses_store(self, node: NodeId) -> None:
        """The node's disk was emptied: its own candidacies are over."""
        for voter, term in [key for key, candidate in self._voted.items() if key[0] == node == candidate]:
            del self._voted[voter, term]

    def votes_unknowing(self, node: NodeId, term: Term, candidate: NodeId) -> None:
        """The node lost its store and was not readmitted: it cannot know whom it voted for, so it must not vote."""
        text = f"node {node} votes without knowing its votes"
        violated(self, text, "its disk was emptied", f"it votes for node {candidate} in term {term}")


class PromiseIsDurable:
    """ "Persistent state on all servers (Updated on stable storage before responding to RPCs)" (figure 2).

    Looks at each promise when it leaves a node, against the node's disk: a vote must be on it, and so must the entries
    that a reply to an append confirms, and that a node which lost its store counts again. Without this rule the other
    properties still hold until the right crash comes.
    """

    def votes(self, node: NodeId, term: Term, candidate: NodeId, disk: tuple[Term, NodeId]) -> None:
        """`disk` is the durable term and vote. A newer term on it is no fault: this vote cannot be given again."""
        if disk[0] < term or (disk[0] == term and disk[1] != candidate):
            left, kept = f"a vote for node {candidate} in term {term} left", f"term {disk[0]}, vote {disk[1]}"
            violated(self, f"node {node} promised what it may forget", left, f"its disk says {kept}")

    def counts(self, node: NodeId, term: Term) -> None:
        """An answer left that does not say "rebuilding", while the disk says that the store was lost (D10)."""
        text = f"node {node} promised what it may forget"
        violated(self, text, f"it answers in term {term} as one that counts", "its disk says that it is rebuilding")

    def confirms(self, node: NodeId, term: Term, match_index: Index, disk: tuple[Term, Index]) -> None:
        """`disk` is the durable term and how far the durable log equals the log the node believes it has."""
        if disk[0] < term or disk[1] < match_index:
            left, kept = f"a confirmation of {match_index} in term {term} left", f"term {disk[0]}, log up to {disk[1]}"
            violated(self, f"node {node} promised what it may forget", left, f"its disk says {kept}")


class CommitMonotonic:
    """The commit index "initialized to 0, increases monotonically" (figure 2), and never passes the end of the log.

    Looks at the commit index of one life of a node. A new life may begin lower: the commit index is volatile, but never
    lower than what its state machine has durably applied.
    """

    def __init__(self) -> None:
        self._commit: dict[NodeId, Index] = {}

    def starts(self, node: NodeId, applied: Index) -> None:
        self._commit[node] = applied

    def commits(self, node: NodeId, commit_index: Index, last_index: Index) -> None:
        before = self._commit[node]
        if commit_index < before:
            violated(self, f"node {node}'s commit index went back", f"it was {before}", f"it is {commit_index}")
        if commit_index > last_index:
            violated(
                self, f"node {node} commits what it lacks", f"commit {commit_index}", f"its log ends at {last_index}"
            )
        self._commit[node] = commit_index


class AcknowledgedIsDurable:
    """What a client was told is done stays done: a leader acknowledges "once the entry has been safely replicated"
    (§5.3), and "committed entries are durable" (§5.3). Safely means on the disks of a majority, not in its memory.

    Looks at each acknowledgement, against the disks; at each durable entry that is replaced; and at a node that lost
    its store and takes part again. `acknowledged` maps index to entry.
    """

    def __init__(self) -> None:
        self.acknowledged: dict[Index, Entry] = {}
        self._newest: Index = 0

    def acknowledges(self, entry: Entry, payload: bytes, holders: list[NodeId], halves: Halves) -> None:
        """`holders` made the entry durable, now or before their disk was emptied; `halves` is who must."""
        name = f"entry {entry.index}/{entry.term}"
        if entry.data != payload:
            violated(self, f"{name} is not what was proposed", f"proposed {payload!r}", f"acknowledged {entry.data!r}")
        for half in halves:
            if 2 * len(half.intersection(holders)) <= len(half):
                voters, disks = f"a majority of {sorted(half)} must hold it", f"it is durable on nodes {holders}"
                violated(self, f"{name} was acknowledged too early", voters, disks)
        self.acknowledged[entry.index] = entry
        self._newest = max(self._newest, entry.index)

    def overwrites(self, node: NodeId, old: Iterable[Entry], new: tuple[Entry, ...]) -> None:
        """Durable entries `old` made way for `new` on the disk of `node`."""
        for entry in old:
            if entry.index > self._newest or entry.index not in self.acknowledged:
                continue
            at = entry.index - new[0].index if new else 0
            now = new[at] if at < len(new) else None
            if entry == self.acknowledged[entry.index] and now != entry:
                was = f"entry {entry.index}/{entry.term} was acknowledged"
                violated(self, f"node {node} lost an acknowledged entry", was, f"its disk holds {now} there now")

    def readmitted(
        self,
        node: NodeId,
        holds: Callable[[Entry], list[NodeId]],
        halves: Callable[[Index], Halves],
        counting: set[NodeId],
    ) -> None:
        """A node that had lost its store counts again. `holds`: nodes that count and hold an entry now, durably;
        `halves`: who had to hold the entry at an index; `counting`: nodes that did not lose their store, this one
        among them."""
        if not self._newest:
            return
        entry = self.acknowledged[self._newest]
        holders = holds(entry)
        for half in halves(self._newest):
            needed = len(half) // 2 + 1 - len(half - counting)
            if len(half.intersection(holders)) < needed:
                was = f"entry {entry.index}/{entry.term} was acknowledged"
                disks = f"of {sorted(half)} those that count and hold it are among {holders}, {needed} must"
                violated(self, f"node {node} counts again too early", was, disks)

    def survives(self, agreed: list[Entry]) -> None:
        """At the end of all: what was acknowledged is in the agreed sequence, at its index."""
        for index, entry in self.acknowledged.items():
            if index > len(agreed) or agreed[index - 1] != entry:
                found = agreed[index - 1] if index <= len(agreed) else "nothing"
                violated(self, "an acknowledged entry is gone", f"{entry} was acknowledged", f"agreed is {found}")


def violated(invariant: object, text: str, first: str, second: str) -> None:
    """Raises `InvariantViolated` in the name of the invariant's class."""
    raise InvariantViolated(type(invariant).__name__, text, (first, second))
