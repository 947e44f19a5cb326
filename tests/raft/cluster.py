"""A cluster of pure cores in memory: stores, a network one can hold in one's hand, and a clock that is turned by hand.

The scenarios and the hypothesis rules drive it; nothing in it is left to chance that they do not choose. What a driver
of the core owes it (ready.py) is here in its shortest form: `_take_readies` and `save`. After every action `check`
compares the nodes (figure 3 of the paper).

A node may be paused (what arrives waits before its door) and its clock may run wrong; a learner may join.

Leaves out: latencies of their own for each way, torn writes. The simulated world has those.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from replica.raft.core import Raft
from replica.raft.events import (
    Event,
    PeerFound,
    PeerLost,
    Persisted,
    Propose,
    ReadRequested,
    Received,
    SnapshotArrived,
    Tick,
)
from replica.raft.memberships import decode_membership
from replica.raft.messages import Message
from replica.raft.ready import Install, Ready
from replica.raft.types import Entry, EntryKind, HardState, Index, Membership, NodeId, RaftConfig, Role, Term


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
    compacted: tuple[tuple[Index, bytes], ...] = ()
    """The last membership before the first entry, or none."""

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
        held = [(entry.index, entry.data) for entry in self.log if entry.kind is EntryKind.MEMBERSHIP]
        return (*self.compacted, *held)

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
        """What one Ready has, at once: a snapshot in the place of the log; entries in that of those from their first
        on."""
        if ready.install is not None:
            self.install(ready.install)
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
        self.compacted = tuple(known for known in self.memberships() if known[0] < first)[-1:]
        del self.log[: first - self.first]
        self.first = first

    def install(self, install: Install) -> None:
        """The log begins after the snapshot."""
        self.log, self.first, self.before_first_term = [], install.index + 1, install.term
        self.compacted = (install.membership,)


@dataclass
class Clock:
    """A node's own: it goes `rate_permille` ms in a second of true time, from a moment at which it was right."""

    rate_permille: int = 1000
    true_ms: int = 0
    own_ms: int = 0

    def reads(self, true_ms: int) -> int:
        return self.own_ms + (true_ms - self.true_ms) * self.rate_permille // 1000

    def reaches(self, own_ms: int) -> int:
        """The true time at which it reads so much, or the first after."""
        return self.true_ms - (self.own_ms - own_ms) * 1000 // self.rate_permille

    def runs(self, rate_permille: int, true_ms: int) -> None:
        """From now on at this rate."""
        self.own_ms, self.true_ms, self.rate_permille = self.reads(true_ms), true_ms, rate_permille


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
    membership: Membership | None = None
    """What its configuration says; None for what the cluster began with."""
    clock: Clock = field(default_factory=Clock)
    paused: list[Event] | None = None
    """What has come since its process was stopped; None while it runs."""


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
    reads: dict[int, Index] = field(default_factory=dict)
    """By token: how much was decided when the read was asked."""

    def __post_init__(self) -> None:
        members = self.config.membership
        for node in sorted(members.voters | members.outgoing | members.learners):
            self.nodes[node] = Node(node, MemoryStore())

    # ---- lives

    def start(self, node: NodeId) -> None:
        """Start the core from what its store has; the state machine begins at the log's first entry."""
        one = self.nodes[node]
        assert one.raft is None, f"node {node} runs already"
        config = replace(self.config, node=node, membership=one.membership or self.config.membership)
        one.applied_from = one.store.first - 1
        one.applied = []
        self.starts += 1
        dice = self.make_dice(node, self.starts)
        one.raft = self.core(config, one.store.hard_state, one.store, one.applied_from, dice, self.clock_ms(node))
        self._after(one)

    def join(self, node: NodeId) -> None:
        """A node nobody knows of: an empty store, and no membership until its leader's log brings one."""
        self.nodes[node] = Node(node, MemoryStore(), membership=Membership(frozenset()))
        self.start(node)

    def start_all(self) -> None:
        for node in self.nodes:
            self.start(node)

    def crash(self, node: NodeId) -> None:
        """The process ends and nobody is told; what was not saved is lost, what is on the wires arrives."""
        one = self.nodes[node]
        one.raft = None
        one.paused = None
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

    def clock_ms(self, node: NodeId) -> int:
        """What the node's own clock reads now."""
        return self.nodes[node].clock.reads(self.now_ms)

    def token(self) -> int:
        self.tokens += 1
        return self.tokens

    def step(self, node: NodeId, event: Event) -> None:
        """One event at one node, and all it asks for; nothing if the node is down. A paused one reads it later."""
        one = self.nodes[node]
        if one.raft is None:
            return
        if one.paused is not None:
            one.paused.append(event)
            return
        one.raft.step(event)
        self._after(one)

    def pause(self, node: NodeId) -> None:
        """Its process stands still; its connections stay."""
        self.nodes[node].paused = []

    def resume(self, node: NodeId, tick_first: bool = True) -> None:
        """It goes on, all in one turn: its own deadline may come first, or what came meanwhile."""
        one = self.nodes[node]
        events, one.paused = one.paused or [], None
        now_ms, raft = self.clock_ms(node), self.raft(node)
        if tick_first:
            raft.step(Tick(now_ms))
        for event in events:
            raft.step(replace(event, now_ms=now_ms))
        self._after(one)

    def read(self, node: NodeId) -> None:
        """Ask for a read index; how much is decided now is remembered, and no answer may be below it."""
        token = self.token()
        self.reads[token] = max(self.decided, default=0)
        self.step(node, ReadRequested(self.clock_ms(node), token))

    def copy(self, node: NodeId) -> tuple[Index, Term, tuple[Index, bytes]]:
        """A snapshot of what the node has applied: index, term and the membership in force there."""
        one, raft = self.nodes[node], self.raft(node)
        index = one.applied_from + len(one.applied)
        term = raft.entry_term(index)
        assert term is not None, f"node {node} does not know the term of {index}"
        return index, term, raft.membership_at(index)

    def ship(self, node: NodeId, snapshot: tuple[Index, Term, tuple[Index, bytes]]) -> None:
        """The snapshot lies whole at the node."""
        self.step(node, SnapshotArrived(self.clock_ms(node), self.token(), *snapshot))

    def propose(self, node: NodeId, *data: bytes) -> None:
        """Proposals of one turn: all are stepped before the Ready is taken."""
        one = self.nodes[node]
        raft = self.raft(node)
        for item in data:
            raft.step(Propose(self.clock_ms(node), self.token(), item))
        self._after(one)

    def tick(self, node: NodeId) -> None:
        self.step(node, Tick(self.clock_ms(node)))

    def peer_lost(self, node: NodeId, peer: NodeId) -> None:
        self.step(node, PeerLost(self.clock_ms(node), peer))

    def peer_found(self, node: NodeId, peer: NodeId) -> None:
        self.step(node, PeerFound(self.clock_ms(node), peer))

    # ---- the wires

    def deliver(self, place: int = 0) -> Message:
        """Let the message at `place` arrive, or get lost where its way is cut or its receiver down."""
        message = self.wires.pop(place)
        if (message.frm, message.to) not in self.cut and message.to in self.nodes:
            self.step(message.to, Received(self.clock_ms(message.to), message))
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
            when_ms, node = self._next_due(end_ms)
            if when_ms > end_ms:
                self.now_ms = end_ms
                return
            self.now_ms = when_ms
            self.tick(node)

    def advance_with_latency(self, duration_ms: int, latency_ms: int) -> None:
        """The same, and each message takes so long to arrive. What has not, stays on the wires."""
        end_ms = self.now_ms + duration_ms
        on_the_way: deque[tuple[int, Message]] = deque()
        while True:
            on_the_way.extend((self.now_ms + latency_ms, message) for message in self.wires)
            self.wires.clear()
            when_ms, node = self._next_due(end_ms)
            arrives_ms = on_the_way[0][0] if on_the_way else end_ms + 1
            if min(when_ms, arrives_ms) > end_ms:
                self.now_ms, self.wires = end_ms, [message for _, message in on_the_way]
                return
            self.now_ms = min(when_ms, arrives_ms)
            if arrives_ms <= when_ms:
                self.wires.insert(0, on_the_way.popleft()[1])
                self.deliver()
            else:
                self.tick(node)

    def _next_due(self, end_ms: int) -> tuple[int, NodeId]:
        """When whose deadline comes next."""
        due = [
            (max(one.clock.reaches(raft.deadline_ms), self.now_ms), one.id)
            for one, raft in self.running()
            if one.paused is None
        ]
        return min(due, default=(end_ms + 1, 0))

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
            if ready.install is not None:
                one.applied, one.applied_from = [], ready.install.index
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
                one.raft.step(Persisted(self.clock_ms(node), ready.number))
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
            detail = f" ({refused.detail})" if refused.detail else ""
            self.report(one.id, f"refused #{refused.token}: {refused.reason.value}, leader={refused.leader}{detail}")
        for read in ready.reads:
            self.report(one.id, f"read #{read.token} at {read.index}")
            asked = self.reads[read.token]
            assert read.index >= asked, f"node {one.id} reads at {read.index} what was at {asked} when it was asked"
        for done in ready.transfers:
            result = "ok" if done.ok else "failed"
            self.report(one.id, f"transfer #{done.token} to {done.to} {result}: {done.why}")
        if ready.membership is not None and ready.number > 1:
            self.report(one.id, f"membership {show_membership(ready.membership)}")
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
    data = entry.data.decode()
    if entry.kind is EntryKind.MEMBERSHIP:
        data = f"<{show_membership(decode_membership(entry.data)).replace(' ', '; ')}>"
    return f"{entry.index}:{entry.term}={data or '-'}"


def show_membership(membership: Membership) -> str:
    """What is not empty of it: `voters=1,2 outgoing=1,2,3`."""
    names = ("voters", "outgoing", "learners", "incoming", "leaving")
    sets = [(name, sorted(getattr(membership, name))) for name in names]
    words = [f"{name}={','.join(map(str, nodes))}" for name, nodes in sets if nodes]
    words += [f"priority={node}:{rank}" for node, rank in membership.priority]
    words += [f"directory={membership.directory.decode()}"] if membership.directory else []
    return " ".join(words) or "nobody"


def make_cluster(voters: int, **config: object) -> Cluster:
    """A cluster of nodes 1..voters, not started; `config` are fields of RaftConfig."""
    membership = Membership(frozenset(range(1, voters + 1)))
    return Cluster(replace(RaftConfig(1, membership), **config))  # type: ignore[arg-type]  # any field
