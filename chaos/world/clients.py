"""Those who ask the cluster for something: proposals with unique payloads, at whichever node they think leads, or at
any.

A proposal is acknowledged when the node that accepted it applies that very entry, `(index, term)`, as committed: that
is what a caller's receipt rests on. A proposal whose index went to another entry is lost with its leader; one whose
node died has an unknown outcome. Neither is retried here: telling a repeated operation from a new one is the state
machine's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from replica.raft.events import Propose, ReadRequested, TransferRequested
from replica.raft.ready import Ready
from replica.raft.types import Entry, NodeId, Role

if TYPE_CHECKING:
    from chaos.world.node import Node
    from chaos.world.world import World


class Clients:
    """All clients of one world. A token names a proposal for the whole run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._token = 0
        self._payload: dict[int, bytes] = {}
        self.acknowledged: set[int] = set()

    # -- asking ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._world.at(self._world.now_ms + self._interval_ms(), self._ask, None)

    def _interval_ms(self) -> int:
        return 1 + int(self._world.rng.random() * 2 * self._world.weather.proposal_interval_ms)

    def _ask(self, _: None) -> None:
        world = self._world
        if not world.storming:
            return
        random, weather = world.rng.random, world.weather
        leaders = [node for node in world.alive() if node.role is Role.LEADER]  # a deposed one does not know it is one
        choices = leaders if leaders and random() < 0.8 else world.peers()
        node = choices[int(random() * len(choices))]
        for _count in range(1 + int(random() * weather.burst)):
            if node.raft is not None:
                self.propose(node)
        if node.raft is not None and weather.stray_requests and random() < weather.stray_requests:
            self._stray_request(node)
        world.at(world.now_ms + self._interval_ms(), self._ask, None)

    def propose(self, node: Node) -> int:
        """One new proposal at this node. Returns its token."""
        self._token += 1
        padding = int(self._world.rng.random() * (self._world.weather.padding + 1))
        payload = b"%d" % self._token + b"." * padding
        self._payload[self._token] = payload
        self._world.count("proposed", node.number, self._token)
        node.receive((Propose, self._token, payload))
        return self._token

    def _stray_request(self, node: Node) -> None:
        """A request that may be refused or served; either way nothing may break."""
        self._token += 1
        if self._world.rng.random() < 0.5:
            to: NodeId = 1 + int(self._world.rng.random() * self._world.weather.nodes)
            self._world.count("transfer requested", node.number, to)
            node.receive((TransferRequested, self._token, to))
        else:
            self._world.count("read requested", node.number, self._token)
            node.receive((ReadRequested, self._token))

    # -- hearing --------------------------------------------------------------------------------------------------

    def hear(self, node: Node, ready: Ready) -> None:
        """What a Ready tells those who asked, and the operator."""
        world = self._world
        for accepted in ready.accepted:
            if accepted.index in node.accepted:
                world.counts["proposal lost with its leader"] += 1
            node.accepted[accepted.index] = (accepted.term, accepted.token)
        for refused in ready.refused:
            world.counts[f"refused: {refused.reason.value}"] += 1
        for note in ready.notes:
            world.counts[f"note: {note.what}"] += 1
            world.log(node.number, "notes", note)

    def applied(self, node: Node, entry: Entry) -> None:
        """The node applied an entry at an index where it had accepted a proposal."""
        term, token = node.accepted.pop(entry.index)
        if term != entry.term:
            self._world.count("proposal lost with its leader", node.number, token)
            return
        self._world.count("acknowledged", node.number, token)
        self._world.judge.acknowledges(entry, self._payload.pop(token))
        self.acknowledged.add(token)

    def crashed(self, node: Node) -> None:
        """Nobody will answer for what this node had accepted or still had to."""
        self._world.counts["outcome unknown"] += len(node.accepted)
