"""The simulated world: one seed, one queue of events, one to seven nodes of the shipped core.

Whatever is random comes from one `random.Random(seed)`, whatever happens comes out of one queue ordered by (virtual
time, order of being queued), and nothing is iterated whose order could differ between two runs. So a seed is a run:
the same events in the same order, byte by byte, on any machine.

A run has two phases. **Safety**: a storm of faults, in which progress is not asked for and the invariants are, after
every event. **Liveness**: the storm ends; a healthy majority must elect a leader and commit something new within a
bounded virtual time, while the others stay dead; then these come back too, and all must end with the same log.

Leaves out: what only real processes have (sockets, threads, the operating system); `chaos live` breaks those.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from chaos.world.clients import Clients
from chaos.world.invariants import InvariantViolated
from chaos.world.judge import Judge
from chaos.world.nemesis import Nemesis
from chaos.world.network import Network
from chaos.world.node import Node
from chaos.world.timeline import Timeline
from chaos.world.weather import Weather, calm, storm
from replica.raft.core import Raft
from replica.raft.types import Membership, NodeId, RaftConfig, Role

Handler = Callable[[Any], None]

TIMEOUTS_TO_COMMIT = 30
"""A healthy majority has so many election timeouts, and `GRACE_MS`, to commit something new."""
TIMEOUTS_TO_CONVERGE = 40
GRACE_MS = 2_000
SLOWEST_ROUND_TRIP_MS = 15
"""An append, its save and its answer in the calm, with time to spare."""


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
        self._queue: list[tuple[int, int, Handler, Any]] = []
        self._queued = 0
        self.judge = Judge(self, without)
        self.network = Network(self, self.weather.nodes)
        self.clients = Clients(self)
        self.nemesis = Nemesis(self)
        configs = core_configs(self.weather, self.rng)
        nodes = [node_class(self, config) for config in configs]
        self.nodes: list[Node] = [nodes[0], *nodes]
        """Nodes by number; place 0 repeats node 1 and is not used."""
        self.quorum = self.weather.nodes // 2 + 1

    # -- the queue ------------------------------------------------------------------------------------------------

    def at(self, at_ms: int, handler: Handler, argument: Any) -> None:
        """Queues an event. Events of one moment happen in the order in which they were queued."""
        self._queued += 1
        heapq.heappush(self._queue, (at_ms, self._queued, handler, argument))

    def step(self) -> None:
        """The next event."""
        at_ms, _, handler, argument = heapq.heappop(self._queue)
        self.now_ms = at_ms
        self.events += 1
        handler(argument)

    def run_until_ms(self, until_ms: int) -> None:
        """All events up to this moment, for tests that arrange the faults themselves."""
        while self._queue and self._queue[0][0] <= until_ms:
            self.step()
        self.now_ms = until_ms

    # -- who is there ---------------------------------------------------------------------------------------------

    def peers(self) -> list[Node]:
        return self.nodes[1:]

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
            self.count("boot", node.number, ("with term", node.disk.hard_state.term, "log", len(node.disk.durable)))
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
        self.clients.crashed(node)
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
        while self.events < steps:
            self.step()
        self.end_storm()
        self.must_commit()
        self.must_converge()

    def end_storm(self) -> None:
        """Faults off, cuts healed, and a healthy majority chosen; the others are dead for now."""
        self.storming = False
        self.log(0, "the storm is over", None)
        self.weather = calm(self.weather)
        self.network.set_weather(self.weather)
        self._hurry_the_late()
        healthy = self._choose_healthy()
        for node in self.peers():
            node.armed, node.disk.sync_fails, node.disk.stalled_until_ms = None, False, 0
            if node.raft is not None and node not in healthy:
                self.crash(node, "left dead in the calm", None)
            elif node.paused:
                node.pause(self.now_ms)
        for node in healthy:
            self.boot(node)
        self.network.heal()

    def _hurry_the_late(self) -> None:
        """What is still under way arrives within two election timeouts, so that the calm meets it too."""
        latest_ms = self.now_ms + 2 * self.weather.election_timeout_ms
        deliver = self.network.deliver
        for place, (at_ms, order, handler, argument) in enumerate(self._queue):
            if handler == deliver and at_ms > latest_ms:
                soon_ms = self.now_ms + int(self.rng.random() * (latest_ms - self.now_ms))
                self._queue[place] = (soon_ms, order, handler, argument)
        heapq.heapify(self._queue)

    def _choose_healthy(self) -> list[Node]:
        """A majority, or more, of nodes that count: those that lost their store cannot carry the cluster."""
        whole = [node for node in self.peers() if not node.disk.hard_state.rebuilding]
        self.rng.shuffle(whole)
        return whole[: max(self.quorum, 1 + int(self.rng.random() * len(whole)))]

    def must_commit(self) -> None:
        """The healthy majority elects a leader and commits something new, which every healthy node applies."""
        begun_ms = self.now_ms
        bound_ms = TIMEOUTS_TO_COMMIT * self.weather.election_timeout_ms + GRACE_MS + self._catch_up_ms()
        token = 0
        while not self._committed_everywhere(token):
            if self.now_ms > begun_ms + bound_ms:
                facts = (
                    f"healthy: nodes {[node.number for node in self.alive()]}",
                    f"nothing new within {bound_ms} ms",
                )
                raise InvariantViolated("Progress", "a healthy majority makes none", facts)
            leader = self.leader()
            if leader is not None and token not in self._waiting_tokens(leader):
                token = self.clients.propose(leader)
            self.run_until_ms(self.now_ms + self.weather.heartbeat_interval_ms)
        self.calm_after_ms = self.now_ms - begun_ms

    def _catch_up_ms(self) -> int:
        """What the slowest pipeline these settings allow, one entry for each round trip, takes for the longest log."""
        if not self.weather.narrow:
            return 0
        shortest = min(len(node.disk.durable) for node in self.peers())
        longest = max(len(node.disk.written) for node in self.peers())
        return (longest - shortest) * SLOWEST_ROUND_TRIP_MS

    def _waiting_tokens(self, leader: Node) -> list[int]:
        return [token for _, token in leader.accepted.values()]

    def _committed_everywhere(self, token: int) -> bool:
        if token not in self.clients.acknowledged:
            return False
        agreed = len(self.judge.agreed)
        return all(node.applied == agreed for node in self.alive())

    def must_converge(self) -> None:
        """The others come back; every node ends with the same log, all of it applied, and none is still rebuilding."""
        for node in self.peers():
            self.boot(node)
        begun_ms = self.now_ms
        bound_ms = TIMEOUTS_TO_CONVERGE * self.weather.election_timeout_ms + GRACE_MS + self._catch_up_ms()
        while (lagging := self._lagging()) is not None:
            if self.now_ms > begun_ms + bound_ms:
                facts = (f"agreed are {len(self.judge.agreed)} entries", lagging)
                raise InvariantViolated("Convergence", f"nodes still differ after {bound_ms} ms of calm", facts)
            self.run_until_ms(self.now_ms + self.weather.heartbeat_interval_ms)
        self.judge.acknowledged_is_durable.survives(self.judge.agreed)

    def _lagging(self) -> str | None:
        """What still keeps the world from being at rest, None where nothing does."""
        agreed = len(self.judge.agreed)
        rebuilding = [node for node in self.peers() if node.disk.hard_state.rebuilding]
        for node in self.peers():
            assert node.raft is not None
            disk = node.disk
            if len(rebuilding) > 1 and node in rebuilding:
                continue  # nobody is left who could vouch for either: they wait for an operator (D10)
            if node.applied != agreed or node.raft.last_index != agreed or len(disk.durable) != agreed:
                where = f"applied {node.applied}, log {node.raft.last_index}, durable {len(disk.durable)}"
                return f"node {node.number}: {where}"
            if disk.hard_state.rebuilding:
                return f"node {node.number} still does not count"
        return None


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
            priority=priority,
            pre_vote=weather.pre_vote,
            check_quorum=weather.check_quorum,
        )
        for number in numbers
    ]
