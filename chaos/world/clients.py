"""Those who ask the cluster for something: proposals with unique payloads, at whichever node they think leads, or at
any.

Reads are asked anywhere, followers too, and right after an election above all: that is when a leader knows least.

A proposal is acknowledged when the node that accepted it applies that very entry, `(index, term)`, as committed: that
is what a caller's receipt rests on. A proposal whose index went to another entry is lost with its leader; one whose
node died has an unknown outcome. Neither is retried here: telling a repeated operation from a new one is the state
machine's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.world.disk import NEVER_MS
from replica.raft.events import Propose, ReadRequested
from replica.raft.notes import Note
from replica.raft.ready import Ready
from replica.raft.types import Entry, Role

if TYPE_CHECKING:
    from chaos.world.applying import Applying
    from chaos.world.node import Item, Node
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
        if node.raft is not None:
            # What comes in one piece is read in one turn: many steps, then one Ready.
            node.receive_all([self._proposal(node) for _ in range(1 + int(random() * weather.burst))])
        if weather.reads and random() < weather.reads:
            alive = world.alive()
            if alive:
                self.read(alive[int(random() * len(alive))])
        world.at(world.now_ms + self._interval_ms(), self._ask, None)

    def propose(self, node: Node) -> int:
        """One new proposal at this node. Returns its token."""
        node.receive(self._proposal(node))
        return self._token

    def _proposal(self, node: Node) -> Item:
        self.next_token()
        padding = int(self._world.rng.random() * (self._world.weather.padding + 1))
        payload = b"%d" % self._token + b"." * padding
        self._payload[self._token] = payload
        self._world.count("proposed", node.number, self._token)
        return (Propose, self._token, payload)

    def next_token(self) -> int:
        """A number that no request, and no snapshot, of this run had before."""
        self._token += 1
        return self._token

    def read(self, node: Node) -> None:
        """A linearizable read at this node, whatever its role."""
        token = self.next_token()
        self._world.count("read requested", node.number, token)
        self._world.counts[f"read at a {node.role.value}"] += 1
        self._world.judge.reads.asked(token)
        node.waiting.add(token)
        node.receive((ReadRequested, token))

    def elected(self, node: Node) -> None:
        """A new leader: in some weathers it is asked for a read before it has done anything else (C8)."""
        weather = self._world.weather
        if not (weather.reads_after_election and self._world.storming):
            return
        world, random = self._world, self._world.rng.random
        if random() < weather.reads_after_election:
            world.at(world.now_ms, self._read_at_once, (node, node.life))
        for other in world.alive():
            if other is not node and other.role is Role.LEADER:
                # It does not know that it is deposed: what it would answer, once the new one has done something?
                for part in (0.1, 0.5):
                    at_ms = world.now_ms + int((part + random() / 2) * weather.election_timeout_ms)
                    world.at(at_ms, self._read_at_the_deposed, (other, other.life))

    def _read_at_once(self, who: tuple[Node, int]) -> None:
        node, life = who
        if node.raft is not None and node.life == life:
            self._world.count("read right after an election", node.number, None)
            self.read(node)

    def _read_at_the_deposed(self, who: tuple[Node, int]) -> None:
        node, life = who
        if node.raft is not None and node.life == life and node.role is Role.LEADER:
            self._world.count("read at a deposed leader", node.number, None)
            self.read(node)

    # -- hearing --------------------------------------------------------------------------------------------------

    def hear(self, node: Node, ready: Ready) -> None:
        """What a Ready tells those who asked, and the operator."""
        world = self._world
        for accepted in ready.accepted:
            if accepted.index in node.accepted:
                world.counts["proposal lost with its leader"] += 1
            if accepted.token in node.waiting:
                world.counts["change accepted"] += 1
                node.waiting.discard(accepted.token)
            else:
                node.accepted[accepted.index] = (accepted.term, accepted.token)
        for refused in ready.refused:
            world.counts[f"refused: {refused.reason.value}"] += 1
            node.arrived.pop(refused.token, None)
            self._ends(node, refused.token)
        for confirmed in ready.reads:
            world.judge.confirms_read(node, confirmed.token, confirmed.index)
            node.read_confirmed(confirmed.token, confirmed.index)
        for transferred in ready.transfers:
            world.count("handed over" if transferred.ok else "not handed over", node.number, transferred.why)
            node.transfer_until_ms = NEVER_MS
            self._ends(node, transferred.token)
        for note in ready.notes:
            world.counts[f"note: {note.what}"] += 1
            world.log(node.number, "notes", note)
            if note.what in ("transfer-begun", "membership"):
                self._trouble(node, note)

    def _trouble(self, node: Node, note: Note) -> None:
        """What the operator, and those who make trouble, look out for."""
        world = self._world
        if node.raft is None or node.role is not Role.LEADER:
            return
        if note.what == "membership":
            world.operator.appended_step(node)
        elif node.raft.transferring:
            node.transfer_until_ms = node.clock.at(world.now_ms) + world.weather.patience_ms
            world.operator.transfer_begun(node, int(dict(note.facts)["to"]))

    def _ends(self, node: Applying, token: int) -> None:
        """A request has its answer, or will never have one."""
        node.waiting.discard(token)
        self._world.judge.reads.ends(token)

    def answered(self, node: Applying, token: int) -> None:
        """A confirmed read is answered from the state there is by now."""
        self._world.count("read answered", node.number, (token, "as of", node.applied))
        if not self._world.weather.clocks_lie:
            self._world.judge.reads.shows(node.applied)
        self._ends(node, token)

    def applied(self, node: Applying, entry: Entry) -> None:
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
        for token in sorted(node.waiting):
            self._ends(node, token)
