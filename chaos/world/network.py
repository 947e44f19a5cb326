"""Links that lose, double, reorder, delay and cut; connections that are made, lost and made again.

A message is handed over as the frozen object it is: encoding belongs to the wire. Every link has two directions, each
cut by itself. A connection stands between two *lives* of two processes; when one dies the kernel tells the other
(`PeerLost`), mostly, and when both are reachable again both hear `PeerFound`.

Left out: bandwidth. A big append is as quick as a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.world.weather import Weather
from replica.raft.events import PeerFound, PeerLost
from replica.raft.messages import Message
from replica.raft.types import NodeId

if TYPE_CHECKING:
    from chaos.world.node import Node
    from chaos.world.world import World

Packet = tuple[Message, int, int]
"""A message on its way, its sender's life, and the number of the connection it was sent on."""

MINUTES_MS = 180_000


class Network:
    """All links of one world. Nodes are numbered from 1; row 0 of the tables is unused."""

    def __init__(self, world: World, nodes: int) -> None:
        self._world = world
        self._random = world.rng.random
        size = nodes + 1  # those who may join later among them
        self.blocked = [[False] * size for _ in range(size)]
        self._last_ms = [[0] * size for _ in range(size)]
        self._connection = [[0] * size for _ in range(size)]
        self._connected: dict[tuple[NodeId, NodeId], tuple[int, int]] = {}
        self.held: list[Packet] = []
        self.set_weather(world.weather)

    def set_weather(self, weather: Weather) -> None:
        """Copies what `send` needs on every call."""
        self._latency_ms, self._jitter_ms = weather.latency_ms, weather.jitter_ms + 1
        self._loss, self._doubling, self._lateness = weather.loss, weather.doubling, weather.lateness
        self._ordered, self._held_by_cuts = weather.ordered, weather.held_by_cuts
        self._connections = weather.connections

    # -- messages -------------------------------------------------------------------------------------------------

    def send(self, sender: Node, message: Message) -> None:
        """Puts a message on its link. What becomes of it is the weather's business."""
        random, frm, to = self._random, sender.number, message.to
        packet = (message, sender.life, self._connection[frm][to])
        if self.blocked[frm][to]:
            self._into_a_cut(packet)
            return
        if self._loss and random() < self._loss:
            self._world.count("message lost", frm, message)
            return
        if self._lateness and random() < self._lateness:
            self._send_late(packet)
            return
        now_ms = self._world.now_ms
        at_ms = now_ms + self._latency_ms + int(random() * self._jitter_ms)
        row = self._last_ms[frm]
        if at_ms >= row[to]:
            row[to] = at_ms
        elif self._ordered:
            at_ms = row[to]
        else:
            self._world.counts["message overtaken"] += 1
        self._world.at(at_ms, self.deliver, packet)
        if self._doubling and random() < self._doubling:
            self._world.count("message doubled", frm, message)
            self._world.at(at_ms + int(random() * 4 * self._jitter_ms), self.deliver, packet)

    def _send_late(self, packet: Packet) -> None:
        """Up to minutes, on a scale where each doubling is as likely as the next: most arrive while it still
        matters."""
        timeout_ms = self._world.weather.election_timeout_ms
        delay_ms = int(timeout_ms * (MINUTES_MS / timeout_ms) ** (self._random() ** 2))
        self._world.count("message late", packet[0].frm, packet[0])
        self._world.at(self._world.now_ms + delay_ms, self.deliver, packet)

    def _into_a_cut(self, packet: Packet) -> None:
        if self._held_by_cuts:
            self._world.counts["message held by a cut"] += 1
            self.held.append(packet)
        else:
            self._world.counts["message into a cut"] += 1

    def deliver(self, packet: Packet) -> None:
        message, life, connection = packet
        frm, to = message.frm, message.to
        world = self._world
        receiver = world.nodes[to]
        if self.blocked[frm][to]:
            self._into_a_cut(packet)
        elif receiver.raft is None:
            world.counts["message to a dead process"] += 1
        elif connection != self._connection[frm][to]:
            world.counts["message of a lost connection"] += 1
        else:
            if life != world.nodes[frm].life:
                world.counts["message from an earlier life"] += 1
            world.log(to, "receives", message)
            receiver.receive(message)

    # -- cuts -----------------------------------------------------------------------------------------------------

    def cut(self, frm: NodeId, to: NodeId) -> None:
        """Nothing more arrives in this one direction."""
        self.blocked[frm][to] = True

    def cut_both(self, one: NodeId, other: NodeId) -> None:
        self.cut(one, other)
        self.cut(other, one)

    def heal(self) -> None:
        """All cuts end. What they held arrives now, however old it is."""
        for row in self.blocked:
            row[:] = [False] * len(row)
        held, self.held = self.held, []
        for packet in held:
            self._world.at(self._world.now_ms + self._delay_ms(), self.deliver, packet)
        self.connect_all()

    def _delay_ms(self) -> int:
        return self._latency_ms + int(self._random() * self._jitter_ms)

    # -- connections ----------------------------------------------------------------------------------------------

    def connect_all(self) -> None:
        """Connects every two live nodes that can reach each other and are not connected yet."""
        for number in range(1, len(self._world.nodes)):
            self.connect(number)

    def connect(self, number: NodeId) -> None:
        """Connects one node with each other live node within reach."""
        if not self._connections or self._world.nodes[number].raft is None:
            return
        for peer in range(1, len(self._world.nodes)):
            if peer == number or self._world.nodes[peer].raft is None:
                continue
            if not (self.blocked[peer][number] or self.blocked[number][peer]):
                self._connect_pair(min(peer, number), max(peer, number))

    def _connect_pair(self, one: NodeId, other: NodeId) -> None:
        lives = (self._world.nodes[one].life, self._world.nodes[other].life)
        if self._connected.get((one, other)) != lives:
            self._connected[one, other] = lives
            self._tell(one, PeerFound, other)
            self._tell(other, PeerFound, one)

    def process_died(self, number: NodeId) -> None:
        """The kernel closes the sockets of a dead process. Peers within reach hear of it, nearly always."""
        if not self._connections:
            return
        for peer in range(1, len(self._world.nodes)):
            if peer != number and not self.blocked[number][peer] and self._random() < 0.9:
                self._tell(peer, PeerLost, number)

    def tell_lost(self, number: NodeId, peer: NodeId) -> None:
        """One end of a connection is told that the other is lost, whatever has become of it."""
        self._tell(number, PeerLost, peer)

    def remake(self, one: NodeId, other: NodeId) -> None:
        """The connection breaks and stands again: both ends are told, and what was on the way is lost."""
        for frm, to in ((one, other), (other, one)):
            self._connection[frm][to] += 1
            if self._connections:
                self._tell(frm, PeerLost, to)
                if not self.blocked[frm][to] and not self.blocked[to][frm]:
                    self._tell(frm, PeerFound, to)

    def _tell(self, number: NodeId, event: type[PeerLost | PeerFound], peer: NodeId) -> None:
        """Tells a node about a connection, after the messages already under way to it."""
        at_ms = max(self._world.now_ms + self._delay_ms(), self._last_ms[peer][number])
        self._last_ms[peer][number] = at_ms
        self._world.at(at_ms, self._told, (number, self._world.nodes[number].life, event, peer))

    def _told(self, news: tuple[NodeId, int, type[PeerLost | PeerFound], NodeId]) -> None:
        number, life, event, peer = news
        node = self._world.nodes[number]
        if node.raft is not None and node.life == life:
            self._world.count("told of a lost peer" if event is PeerLost else "told of a found peer", number, peer)
            node.receive((event, peer))
