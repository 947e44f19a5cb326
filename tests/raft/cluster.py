"""A cluster of pure cores in memory: stores, a network one can hold in one's hand, and a clock that is turned by hand.

The scenarios and the hypothesis rules drive it; nothing in it is left to chance that they do not choose. What a driver
of the core owes it (ready.py) is here in its shortest form: `_take_readies` and `save`. After every action `check`
compares the nodes (figure 3 of the paper).

Leaves out: latency, clocks that drift, torn writes. The simulated world has those.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from replica.raft.core import Raft
from replica.raft.events import Event, PeerFound, PeerLost, Persisted, Propose, Received, Tick
from replica.raft.messages import Message
from replica.raft.ready import Ready
from replica.raft.types import Entry, HardState, Index, Membership, NodeId, RaftConfig, Role, Term


class Dice(random.Random):
    """Dice that always show the node's own number: node 2 waits T + 20 ms for an election, where node 1 waits T + 10.

    What else is drawn differs between starts, as the core demands.
    """

    def __init__(self, node: NodeId, start: int) -> None:
        super().__init__(1000 * start + node)
        self._node = node

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """The start and ten for each node before; within the range in any case."""
        return min(start + 10 * self._node, (stop or start + 1) - 1)


@dataclass
class MemoryStore:
    """A log and a hard state on a disk that never fails; `LogReader` for the core."""

    hard_state: HardState = field(default_factory=HardState)
    log: list[Entry] = field(default_factory=list)
    first: Index = 1
    before_first_term: Term = 0
    """The term of the entry just before the first."""

    def first_index(self) -> Index:
        return self.first

    def last_index(self) -> Index:
        return self.first + len(self.log) - 1

    def term(self, index: Index) -> Term:
        if index == self.first - 1:
            return self.before_first_term
        assert self.first <= index <= self.last_index(), f"term {index} of {self.first}..{self.last_index()}"
        return self.log[index - self.first].term

    def memberships(self) -> tuple[tuple[Index, bytes], ...]:
        return ()

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        assert self.first <= first <= last <= self.last_index(), f"{first}..{last} of {self.first}..{self.last_index()}"
        found = self.log[first - self.first : last - self.first + 1]
        size = 0
        for count, entry in enumerate(found):
            size += len(entry.data)
            if size > max_bytes and count:
                return tuple(found[:count])
        return tuple(found)

    def save(self, ready: Ready) -> None:
        """Hard state and entries of one Ready, at once; entries replace what is there from their first on."""
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.entries:
            first = ready.entries[0].index
            assert self.first <= first <= self.last_index() + 1, f"entries from {first} after {self.last_index()}"
            del self.log[first - self.first :]
            self.log.extend(ready.entries)

    def compact(self, first: Index) -> None:
        """Drop the entries before `first`."""
        self.before_first_term = self.term(first - 1)
        del self.log[: first - self.first]
        self.first = first


@dataclass
class Node:
    id: NodeId
    store: MemoryStore
    raft: Raft | None = None
    """None while it is down."""
    saving: deque[Ready] = field(default_factory=deque)
    """Readies handed to the disk and not saved."""
    stalled: bool = False
    """The disk does not finish anything."""
    applied: list[Entry] = field(default_factory=list)
    """What this life of the core gave to the state machine."""
    applied_from: Index = 0


@dataclass
class Cluster:
    config: RaftConfig
    """Of every node but for its number."""
    report: Callable[[NodeId, str], None] = lambda node, line: None
    """Is told what happens, by node."""
    make_dice: Callable[[NodeId, int], random.Random] = Dice
    """From the node and how many starts there were."""
    core: type[Raft] = Raft
    now_ms: int = 0
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    wires: list[Message] = field(default_factory=list)
    """Sent and not arrived, oldest first."""
    cut: set[tuple[NodeId, NodeId]] = field(default_factory=set)
    """From whom to whom nothing arrives."""
    tokens: int = 0
    starts: int = 0
    decided: dict[Index, tuple[Entry, Term]] = field(default_factory=dict)
    """What some state machine was given, by index, and the lowest term a node was in that gave it."""
    leaders: dict[Term, NodeId] = field(default_factory=dict)

    def __post_init__(self) -> None:
        members = self.config.membership
        for node in sorted(members.voters | members.outgoing | members.learners):
            self.nodes[node] = Node(node, MemoryStore())

    # ---- lives

    def start(self, node: NodeId) -> None:
        """Start the core from what its store has; the state machine begins at the log's first entry."""
        one = self.nodes[node]
        assert one.raft is None, f"node {node} runs already"
        config = replace(self.config, node=node)
        one.applied_from = one.store.first - 1
        one.applied = []
        self.starts += 1
        dice = self.make_dice(node, self.starts)
        one.raft = self.core(config, one.store.hard_state, one.store, one.applied_from, dice, self.now_ms)
        self._after(one)

    def start_all(self) -> None:
        for node in self.nodes:
            self.start(node)

    def crash(self, node: NodeId) -> None:
        """The process ends and nobody is told; what was not saved is lost, what is on the wires arrives."""
        one = self.nodes[node]
        one.raft = None
        one.saving.clear()

    def lose_store(self, node: NodeId) -> None:
        """Its disk is gone too: it will start empty, under its old identity, and must rebuild (D10)."""
        self.crash(node)
        self.nodes[node].store = MemoryStore(HardState(rebuilding=True))

    def running(self) -> Iterable[tuple[Node, Raft]]:
        for one in self.nodes.values():
            if one.raft is not None:
                yield one, one.raft

    def raft(self, node: NodeId) -> Raft:
        raft = self.nodes[node].raft
        assert raft is not None, f"node {node} is down"
        return raft

    def leader(self) -> NodeId:
        """The running leader of the highest term, 0 without one."""
        leading = [(raft.term, one.id) for one, raft in self.running() if raft.role is Role.LEADER]
        return max(leading, default=(0, 0))[1]

    # ---- events

    def step(self, node: NodeId, event: Event) -> None:
        """One event at one node, and all it asks for; nothing if the node is down."""
        one = self.nodes[node]
        if one.raft is not None:
            one.raft.step(event)
            self._after(one)

    def propose(self, node: NodeId, *data: bytes) -> None:
        """Proposals of one turn: all are stepped before the Ready is taken."""
        one = self.nodes[node]
        raft = self.raft(node)
        for item in data:
            self.tokens += 1
            raft.step(Propose(self.now_ms, self.tokens, item))
        self._after(one)

    def tick(self, node: NodeId) -> None:
        self.step(node, Tick(self.now_ms))

    def peer_lost(self, node: NodeId, peer: NodeId) -> None:
        self.step(node, PeerLost(self.now_ms, peer))

    def peer_found(self, node: NodeId, peer: NodeId) -> None:
        self.step(node, PeerFound(self.now_ms, peer))

    # ---- the wires

    def deliver(self, place: int = 0) -> Message:
        """Let the message at `place` arrive, or get lost where its way is cut or its receiver down."""
        message = self.wires.pop(place)
        if (message.frm, message.to) not in self.cut:
            self.step(message.to, Received(self.now_ms, message))
        return message

    def settle(self, limit: int = 10_000) -> None:
        """Deliver, oldest first, until nothing is on the way. Takes no time."""
        for _ in range(limit):
            if not self.wires:
                return
            self.deliver()
        raise AssertionError(f"still {len(self.wires)} messages on the way after {limit} deliveries")

    def advance(self, duration_ms: int, settle: bool = True) -> None:
        """Turn the clock; each node is ticked at its deadlines, in the order of time, then of ids."""
        end_ms = self.now_ms + duration_ms
        while True:
            if settle:
                self.settle()
            due = [(max(raft.deadline_ms, self.now_ms), one.id) for one, raft in self.running()]
            when_ms, node = min(due, default=(end_ms + 1, 0))
            if when_ms > end_ms:
                self.now_ms = end_ms
                return
            self.now_ms = when_ms
            self.tick(node)

    # ---- the driver's part

    def _after(self, one: Node) -> None:
        self._take_readies(one)
        if not one.stalled:
            self.save(one.id)
        self.check(one)

    def _take_readies(self, one: Node) -> None:
        assert one.raft is not None, f"node {one.id} is down"
        while one.raft.has_ready():
            ready = one.raft.ready()
            self._tell(one, ready)
            self.wires.extend(ready.send_now)
            one.saving.append(ready)
            self._apply(one, ready.committed)

    def save(self, node: NodeId, count: int | None = None) -> None:
        """Let the disk finish `count` Readies, or all; each is followed by what it allows."""
        one = self.nodes[node]
        left = len(one.saving) if count is None else count
        while one.saving and left and one.raft is not None:
            left -= 1
            ready = one.saving.popleft()
            one.store.save(ready)
            self.wires.extend(ready.send_saved)
            if ready.must_save:
                one.raft.step(Persisted(self.now_ms, ready.number))
                before = len(one.saving)
                self._take_readies(one)
                left += len(one.saving) - before if count is None else 0
        self.check(one)

    def _apply(self, one: Node, committed: tuple[Entry, ...]) -> None:
        for entry in committed:
            expected = one.applied_from + len(one.applied) + 1
            assert entry.index == expected, f"node {one.id} was given entry {entry.index}, not {expected}"
            one.applied.append(entry)
            term = one.raft.term if one.raft is not None else entry.term
            known, known_term = self.decided.get(entry.index, (entry, term))
            assert known == entry, f"State Machine Safety: node {one.id} applies {entry}, another {known}"
            self.decided[entry.index] = (known, min(term, known_term))

    def _tell(self, one: Node, ready: Ready) -> None:
        for note in ready.notes:
            self.report(one.id, str(note))
        for accepted in ready.accepted:
            self.report(one.id, f"accepted #{accepted.token} as {accepted.index}:{accepted.term}")
        for refused in ready.refused:
            self.report(one.id, f"refused #{refused.token}: {refused.reason.value}, leader={refused.leader}")
        if ready.committed:
            self.report(one.id, "applies " + " ".join(show_entry(entry) for entry in ready.committed))

    # ---- figure 3

    def check(self, one: Node) -> None:
        """Election Safety, Leader Completeness, Log Matching, as far as `one` is concerned; after each action at it."""
        raft = one.raft
        if raft is None:
            return
        if raft.role is Role.LEADER:
            known = self.leaders.setdefault(raft.term, one.id)
            assert known == one.id, f"Election Safety: nodes {known} and {one.id} lead term {raft.term}"
            self._check_leader_completeness(one.id, raft)
        assert raft.stable_index <= one.store.last_index(), f"node {one.id} believes too much durable"
        for other, other_raft in self.running():
            if other is not one:
                self._check_log_matching(raft, other_raft, (one.id, other.id))

    def _check_leader_completeness(self, node: NodeId, raft: Raft) -> None:
        """What is committed in a term is present in the logs of the leaders of all higher terms."""
        for index, (entry, term) in self.decided.items():
            if term < raft.term and index >= raft.first_index:
                found = raft.entry_term(index)
                assert found == entry.term, f"Leader Completeness: {node} leads {raft.term}, has {found}, not {entry}"

    def _check_log_matching(self, mine: Raft, theirs: Raft, nodes: tuple[NodeId, NodeId]) -> None:
        """If two logs have an entry with the same index and term, they are identical up to that index."""
        first = max(mine.first_index, theirs.first_index)
        matched = False
        for index in range(min(mine.last_index, theirs.last_index), first - 1, -1):
            equal = mine.entry_term(index) == theirs.entry_term(index)
            assert equal or not matched, f"Log Matching: nodes {nodes} differ at {index} and agree after it"
            matched = equal


def show_entry(entry: Entry) -> str:
    """`index:term` and the data, `-` for none."""
    return f"{entry.index}:{entry.term}={entry.data.decode() or '-'}"


def make_cluster(voters: int, **config: object) -> Cluster:
    """A cluster of nodes 1..voters, not started; `config` are fields of RaftConfig."""
    membership = Membership(frozenset(range(1, voters + 1)))
    return Cluster(replace(RaftConfig(1, membership), **config))  # type: ignore[arg-type]  # any field
