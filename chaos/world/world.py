"""The simulated world: one seed, one queue of events, one to seven nodes of the shipped core, and those that join.

Whatever is random comes from one `random.Random(seed)`, whatever happens comes out of one queue ordered by (virtual
time, order of being queued), and nothing is iterated whose order could differ between two runs. So a seed is a run:
the same events in the same order, byte by byte, on any machine.

A run has two phases. **Safety**: a storm of faults, in which progress is not asked for and the invariants are, after
every event. **Liveness**: the storm ends; a healthy majority must elect a leader and commit something new within a
bounded virtual time, while the others stay dead; then these come back too, and all must end with the same log
(aftermath.py).

Leaves out: what only real processes have (sockets, threads, the operating system); `chaos live` breaks those.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from chaos.world import aftermath
from chaos.world.clients import Clients
from chaos.world.judge import Judge
from chaos.world.nemesis import Nemesis
from chaos.world.network import Network
from chaos.world.node import Node
from chaos.world.operator import Operator
from chaos.world.shipping import Shipping
from chaos.world.timeline import Timeline
from chaos.world.weather import Weather, storm
from replica.raft.core import Raft
from replica.raft.types import Membership, NodeId, RaftConfig, Role

Handler = Callable[[Any], None]

MOST_AT_ONCE = 7
"""By so many a request may go beyond the weather's number of joiners."""


class World:
    """One run. `core` and `node_class` may be broken ones, to show that the invariants notice."""

    def __init__(
        self,
        seed: int,
        *,
        weather: Callable[[Random], Weather] = storm,
        core: Callable[..., Raft] = Raft,
        node_class: type[Node] = Node,
        timeline: Timeline | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.weather = weather(self.rng)
        self.core = core
        self.timeline = timeline or Timeline()
        self.counts: Counter[str] = Counter()
        self.now_ms = 0
        self.events = 0
        self.storming = True
        self.calm_after_ms = 0
        """How long a healthy majority took to commit, once the storm was over."""
        self.queue: list[tuple[int, int, Handler, Any]] = []
        self._queued = 0
        configs = core_configs(self.weather, self.rng)
        self.judge = Judge(self, configs[0].membership, without)
        self.network = Network(self, self.weather.nodes + self.weather.most_joiners + MOST_AT_ONCE)
        self.clients = Clients(self)
        self.shipping = Shipping(self)
        self.nemesis = Nemesis(self)
        self.operator = Operator(self)
        self._node_class = node_class
        nodes = [node_class(self, config) for config in configs]
        self.nodes: list[Node] = [nodes[0], *nodes]
        """Nodes by number; place 0 repeats node 1 and is not used."""

    # -- the queue ------------------------------------------------------------------------------------------------

    def at(self, at_ms: int, handler: Handler, argument: Any) -> None:
        """Queues an event. Events of one moment happen in the order in which they were queued."""
        self._queued += 1
        heapq.heappush(self.queue, (at_ms, self._queued, handler, argument))

    def step(self) -> None:
        """The next event."""
        at_ms, _, handler, argument = heapq.heappop(self.queue)
        self.now_ms = at_ms
        self.events += 1
        handler(argument)

    def run_until_ms(self, until_ms: int) -> None:
        """All events up to this moment, for tests that arrange the faults themselves."""
        while self.queue and self.queue[0][0] <= until_ms:
            self.step()
        self.now_ms = until_ms

    # -- who is there ---------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many nodes there are, and the highest number of one."""
        return len(self.nodes) - 1

    def peers(self) -> list[Node]:
        """All nodes there ever were, the removed ones too."""
        return self.nodes[1:]

    def add_node(self) -> Node:
        """A node that never ran: an empty disk, no membership, and a number nobody had."""
        config = replace(self.nodes[1].config, node=self.size + 1, membership=Membership(frozenset()))
        node = self._node_class(self, config)
        self.nodes.append(node)
        self.count("node joins", node.number, None)
        return node

    def alive(self) -> list[Node]:
        return [node for node in self.nodes[1:] if node.raft is not None]

    def leader(self) -> Node | None:
        """Who leads, as one who sees everything would say: the live leader of the newest term."""
        return max(
            (node for node in self.alive() if node.role is Role.LEADER), key=lambda node: node.term, default=None
        )

    # -- what happened --------------------------------------------------------------------------------------------

    def log(self, node: NodeId, what: str, detail: object) -> None:
        self.timeline.add((self.now_ms, node, what, detail))

    def count(self, name: str, node: NodeId, detail: object) -> None:
        """Counts a fault or a branch and writes it into the timeline."""
        self.counts[name] += 1
        self.timeline.add((self.now_ms, node, name, detail))

    # -- life and death -------------------------------------------------------------------------------------------

    def boot(self, node: Node) -> None:
        if node.raft is None:
            self.count("boot", node.number, ("with term", node.disk.hard_state.term, "log", node.disk.last_index()))
            node.boot()
            self.network.connect(node.number)

    def crash(self, node: Node, how: str, back_after_ms: int | None) -> None:
        """Kills a node; it starts again after so long, or never. A random part of what was not synced survives."""
        queued = len(node.disk.pending)
        kept = int(self.rng.random() * (queued + 1)) if queued else 0
        self.count(how, node.number, (f"({kept} of {queued} saves reached the disk)",))
        if kept:
            self.counts["saved but the process died before it knew"] += 1
        if kept < queued:
            self.counts["unsynced saves lost"] += 1
        if node.raft is not None and node.raft.membership.outgoing:
            self.counts["crash in the joint state"] += 1
        self.clients.crashed(node)
        self.shipping.ends(node)
        node.crash(kept)
        self.network.process_died(node.number)
        if back_after_ms is not None:
            self.at(self.now_ms + back_after_ms, self._comes_back, (node, node.life))

    def _comes_back(self, who: tuple[Node, int]) -> None:
        node, life = who
        if node.life == life and self.storming:
            self.boot(node)

    def died(self, node: Node, point: str) -> None:
        """A node ended at an armed point."""
        self.crash(node, f"crash {point}", 1 + int(self.rng.random() * 2 * self.weather.down_ms))
        if self.weather.emptied_at_a_point and self.rng.random() < self.weather.emptied_at_a_point:
            self.nemesis.empty(node)

    def sync_failed(self, node: Node) -> None:
        """A sync failed: what is on the disk is unknown, so the node ends and never asks again (D3)."""
        self.crash(node, "sync error", 1 + int(self.rng.random() * 2 * self.weather.down_ms))

    # -- the two phases -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """All processes start; nothing else happens by itself."""
        for node in self.peers():
            self.boot(node)

    def run(self, steps: int) -> None:
        """A whole run: a storm of so many events, then the calm. Raises InvariantViolated, or whatever the core
        raises."""
        self.start()
        self.clients.begin()
        self.nemesis.begin()
        self.operator.begin()
        while self.events < steps:
            self.step()
        aftermath.end_storm(self)
        aftermath.must_commit(self)
        aftermath.must_converge(self)


def core_configs(weather: Weather, rng: Random) -> list[RaftConfig]:
    """The core's settings, one for each node of this weather."""
    numbers = range(1, weather.nodes + 1)
    priority = {number: rng.randrange(3) for number in numbers} if weather.priorities else {}
    return [
        RaftConfig(
            node=number,
            membership=Membership(voters=frozenset(numbers)),
            election_timeout_ms=weather.election_timeout_ms,
            heartbeat_interval_ms=weather.heartbeat_interval_ms,
            max_append_bytes=weather.max_append_bytes,
            max_inflight_appends=weather.max_inflight_appends,
            max_inflight_bytes=weather.max_inflight_bytes,
            max_apply_bytes=weather.max_apply_bytes,
            max_uncommitted_bytes=weather.max_uncommitted_bytes,
            election_timeout_most_ms=weather.election_timeout_most_ms,
            priority_patience_ms=weather.priority_patience_ms,
            lease_reads=weather.lease_reads,
            clock_drift_permille=weather.clock_drift_permille,
            priority=priority,
            pre_vote=weather.pre_vote,
            check_quorum=weather.check_quorum,
        )
        for number in numbers
    ]
