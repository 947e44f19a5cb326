"""Random schedules over a few cores: whatever the order of events, figure 3 holds; a healthy cluster makes progress.

Two drivers of the same cluster (cluster.py checks Election Safety, Log Matching, Leader Completeness and State Machine
Safety after each action): rules that hypothesis chooses and shrinks, and plain seeds for breadth. A failing seed says
which it is; `run_seed(seed)` replays it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.raft.cluster import Cluster, Node, make_cluster

NODES = st.integers(1, 3)


def heal(cluster: Cluster) -> None:
    """Everything works from now on."""
    cluster.cut.clear()
    for one in cluster.nodes.values():
        one.stalled = False
        if one.raft is None:
            cluster.start(one.id)
        else:
            cluster.save(one.id)


def lost_stores(cluster: Cluster) -> list[int]:
    """Who is rebuilding, running or not."""
    return [one.id for one in cluster.nodes.values() if one.store.hard_state.rebuilding]


def must_progress(cluster: Cluster) -> None:
    """Healed, the cluster elects, takes everyone back, commits a proposal everywhere, and keeps its leader."""
    heal(cluster)
    cluster.advance(6000)
    leader = cluster.leader()
    assert leader, "no leader after 20 election timeouts of health"
    term = cluster.raft(leader).term
    cluster.propose(leader, b"last")
    cluster.advance(500)
    assert lost_stores(cluster) == []
    last_index = cluster.raft(leader).last_index
    assert {one.id: len(one.applied) for one in cluster.nodes.values()} == dict.fromkeys(cluster.nodes, last_index)
    assert cluster.raft(leader).term == term, "the leader of a healthy cluster changed"


class ThreeNodes(RuleBasedStateMachine):
    """Three nodes, one event at a time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = make_cluster(3, max_append_bytes=3, max_inflight_appends=2)
        self.cluster.start_all()
        self.proposed = 0

    @precondition(lambda self: self.cluster.wires)
    @rule(place=st.integers(0, 30))
    def deliver(self, place: int) -> None:
        self.cluster.deliver(place % len(self.cluster.wires))

    @rule(count=st.integers(1, 12))
    def deliver_in_order(self, count: int) -> None:
        for _ in range(min(count, len(self.cluster.wires))):
            self.cluster.deliver()

    @precondition(lambda self: self.cluster.wires)
    @rule(place=st.integers(0, 30), again=st.booleans())
    def drop_or_double(self, place: int, again: bool) -> None:
        message = self.cluster.wires.pop(place % len(self.cluster.wires))
        self.cluster.wires += [message, message] if again else []

    @rule(node=NODES)
    def reach_deadline(self, node: int) -> None:
        raft = self.cluster.nodes[node].raft
        if raft is not None:
            self.cluster.now_ms = max(self.cluster.now_ms, raft.deadline_ms)
            self.cluster.tick(node)

    @rule(duration_ms=st.integers(1, 400))
    def let_time_pass(self, duration_ms: int) -> None:
        self.cluster.advance(duration_ms, settle=False)

    @rule(node=NODES, count=st.integers(1, 3))
    def propose(self, node: int, count: int) -> None:
        node = self.cluster.leader() or node
        if self.cluster.nodes[node].raft is not None:
            self.proposed += count
            self.cluster.propose(node, *[b"%d" % (self.proposed + place) for place in range(count)])

    @rule(node=NODES, told=st.booleans())
    def crash(self, node: int, told: bool) -> None:
        self.cluster.crash(node)
        if told:
            for other, _ in list(self.cluster.running()):
                self.cluster.peer_lost(other.id, node)

    @rule(node=NODES)
    def restart(self, node: int) -> None:
        if self.cluster.nodes[node].raft is None:
            self.cluster.start(node)

    @rule(node=NODES)
    def lose_store(self, node: int) -> None:
        """One at a time: two of three lost is more than any three can survive."""
        if set(lost_stores(self.cluster)) <= {node}:
            self.cluster.lose_store(node)

    @rule(node=NODES, stalled=st.booleans())
    def stall(self, node: int, stalled: bool) -> None:
        self.cluster.nodes[node].stalled = stalled
        if not stalled and self.cluster.nodes[node].raft is not None:
            self.cluster.save(node)

    @rule(node=NODES)
    def save_one(self, node: int) -> None:
        if self.cluster.nodes[node].raft is not None:
            self.cluster.save(node, 1)

    @rule(node=NODES, peer=NODES, found=st.booleans())
    def connection(self, node: int, peer: int, found: bool) -> None:
        if found:
            self.cluster.peer_found(node, peer)
        else:
            self.cluster.peer_lost(node, peer)

    def teardown(self) -> None:
        must_progress(self.cluster)


ThreeNodes.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestThreeNodes = ThreeNodes.TestCase


# ---- breadth: seeds


@dataclass
class Walk:
    """One seed's cluster: its size, limits and the weights of what happens are drawn first."""

    seed: int
    dice: random.Random = field(init=False)
    cluster: Cluster = field(init=False)
    weights: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        dice = self.dice = random.Random(self.seed)
        self.cluster = make_cluster(
            dice.choice([1, 2, 3, 3, 3, 4, 5, 5, 7]),
            max_append_bytes=dice.choice([1, 20, 1 << 20]),
            max_inflight_appends=dice.choice([1, 2, 64]),
            max_apply_bytes=dice.choice([1, 30, 1 << 20]),
            pre_vote=dice.random() < 0.8,
            check_quorum=dice.random() < 0.8,
        )
        self.cluster.make_dice = lambda node, start: random.Random(f"{self.seed} {node} {start}")
        self.weights = {
            "deliver": 60,
            "drop": dice.choice([0, 1, 4]),
            "double": dice.choice([0, 1, 4]),
            "tick": 15,
            "propose": 8,
            "crash": dice.choice([0, 1, 2]),
            "restart": 4,
            "stall": dice.choice([0, 2, 4]),
            "save": 6,
            "unstall": 2,
            "cut": dice.choice([0, 1, 2]),
            "heal": 1,
            "lose_store": dice.choice([0, 0, 1]),
            "peer_lost": 1,
            "peer_found": 1,
        }

    def run(self, steps: int) -> None:
        self.cluster.start_all()
        for what in self.dice.choices(list(self.weights), list(self.weights.values()), k=steps):
            one = self.cluster.nodes[self.dice.choice(list(self.cluster.nodes))]
            getattr(self, what)(one)

    def deliver(self, one: Node) -> None:
        if wires := self.cluster.wires:
            self.cluster.deliver(0 if self.dice.random() < 0.7 else self.dice.randrange(len(wires)))

    def drop(self, one: Node) -> None:
        if wires := self.cluster.wires:
            wires.pop(self.dice.randrange(len(wires)))

    def double(self, one: Node) -> None:
        if wires := self.cluster.wires:
            wires.append(self.dice.choice(wires))

    def tick(self, one: Node) -> None:
        if one.raft is not None:
            wait_ms = self.dice.choice([0, 0, 0, 1, 10, 50, 300])
            due_ms = one.raft.deadline_ms if self.dice.random() < 0.5 else 0
            self.cluster.now_ms = max(self.cluster.now_ms + wait_ms, due_ms)
            self.cluster.tick(one.id)

    def propose(self, one: Node) -> None:
        leader = self.cluster.leader()
        if leader:
            self.cluster.propose(leader, *[b"%d" % self.cluster.tokens] * self.dice.choice([1, 1, 3]))

    def crash(self, one: Node) -> None:
        self.cluster.crash(one.id)
        if self.dice.random() < 0.5:
            for other, _ in list(self.cluster.running()):
                self.cluster.peer_lost(other.id, one.id)

    def restart(self, one: Node) -> None:
        if one.raft is None:
            self.cluster.start(one.id)

    def stall(self, one: Node) -> None:
        one.stalled = True

    def save(self, one: Node) -> None:
        if one.raft is not None:
            self.cluster.save(one.id, 1)

    def unstall(self, one: Node) -> None:
        one.stalled = False
        if one.raft is not None:
            self.cluster.save(one.id)

    def cut(self, one: Node) -> None:
        self.cluster.cut.add((one.id, self.dice.choice(list(self.cluster.nodes))))

    def heal(self, one: Node) -> None:
        self.cluster.cut.clear()

    def lose_store(self, one: Node) -> None:
        if len(self.cluster.nodes) > 2 and set(lost_stores(self.cluster)) <= {one.id}:
            self.cluster.lose_store(one.id)

    def peer_lost(self, one: Node) -> None:
        self.cluster.peer_lost(one.id, self.dice.choice(list(self.cluster.nodes)))

    def peer_found(self, one: Node) -> None:
        self.cluster.peer_found(one.id, self.dice.choice(list(self.cluster.nodes)))


def run_seed(seed: int, steps: int = 400) -> None:
    """A walk of so many steps, then health and progress."""
    walk = Walk(seed)
    walk.run(steps)
    must_progress(walk.cluster)


@pytest.mark.parametrize("seed", range(0, 100, 10))
def test_any_schedule_keeps_figure_3_and_ends_in_progress(seed: int) -> None:
    """Ten seeds a test; the assertion that fails names the property, the note the seed."""
    for one in range(seed, seed + 10):
        try:
            run_seed(one)
        except AssertionError as error:
            error.add_note(f"replay: run_seed({one})")
            raise
