"""Snapshots on their way: made from the state on a disk, sent in chunks, received beside the old state.

What the core leaves to its driver (raft/snapshots.py) is done here, with all that may happen on the way: either side
dies at a chunk, a cut holds the transfer up, the sender gives up, a whole copy arrives twice or minutes late. A
receiver keeps the chunks it has through a crash: whoever sends the same snapshot again goes on where it ended, another
one begins anew.

Leaves out: bytes, hashes and files (the store's tests); the state is its digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.world.disk import Snapshot
from replica.raft.events import SnapshotArrived, SnapshotSent
from replica.raft.memberships import decode_membership
from replica.raft.ready import SnapshotWanted
from replica.raft.types import Index, NodeId

if TYPE_CHECKING:
    from chaos.world.applying import Applying
    from chaos.world.node import Node
    from chaos.world.world import World


@dataclass(slots=True)
class Shipment:
    """One transfer, from one life of its sender to a peer."""

    sender: Node
    life: int
    to: NodeId
    snapshot: Snapshot
    chunks: int
    receiver_life: int = 0
    """Which life of the receiver was asked what it has already; 0: none yet."""
    next_chunk: int = 0
    waited: int = 0
    """How often the next chunk found no way."""


class Shipping:
    """All snapshots under way, at most one from each node to each other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.rng.random
        self._under_way: dict[tuple[NodeId, NodeId], Shipment] = {}

    def sending(self, node: Applying) -> Index | None:
        """The oldest snapshot this node is sending: who gets it goes on behind it."""
        return min((s.snapshot.index for s in self._under_way.values() if s.sender is node), default=None)

    def ends(self, node: Node) -> None:
        """The process died, and its transfers with it."""
        for key in [key for key, shipment in self._under_way.items() if shipment.sender is node]:
            del self._under_way[key]

    # -- the sender -----------------------------------------------------------------------------------------------

    def wanted(self, sender: Node, wanted: SnapshotWanted) -> None:
        """The core wants `peer` to get the state: what is on the disk now is what is sent."""
        world, snapshot = self._world, self._make(sender)
        if snapshot is None:
            again_ms = world.now_ms + world.weather.election_timeout_ms
            world.at(again_ms, self._not_yet, (sender, sender.life, wanted.peer))
            return
        index = snapshot.index
        assert index >= wanted.next_index, f"a state of {index} for who needs {wanted.next_index}"
        world.count("snapshot begun", sender.number, ("of", index, "for", wanted.peer))
        chunks = 1 + int(self._random() * world.weather.most_chunks)
        known = self._under_way.get((sender.number, wanted.peer))
        if known is not None and known.life == sender.life:
            return  # the one on its way will do
        shipment = Shipment(sender, sender.life, wanted.peer, snapshot, chunks)
        self._under_way[sender.number, wanted.peer] = shipment
        world.at(world.now_ms + self._chunk_ms(), self._send_chunk, shipment)

    def _not_yet(self, what: tuple[Node, int, NodeId]) -> None:
        sender, life, peer = what
        if sender.raft is not None and sender.life == life:
            sender.receive((SnapshotSent, peer, False))

    def _make(self, sender: Node) -> Snapshot | None:
        """The state on its disk; None for one that a node which joined has from before it knew who votes."""
        raft, disk = sender.raft, sender.disk
        assert raft is not None
        if not decode_membership(raft.membership_at(disk.flushed)[1]).voters:
            self._world.counts["snapshot put off: its membership is not known"] += 1
            return None
        snapshot = Snapshot(disk.flushed, disk.term(disk.flushed), raft.membership_at(disk.flushed), disk.digest)
        self._world.judge.made(sender, snapshot)
        return snapshot

    def unasked(self, sender: Node, receiver: Node) -> None:
        """The state on one disk, whole and at once, for a node that may not need it."""
        world, snapshot = self._world, self._make(sender)
        if snapshot is None:
            return
        world.count("snapshot nobody asked for", receiver.number, ("of", snapshot.index, "from", sender.number))
        world.at(world.now_ms + world.weather.latency_ms, self._deliver, (receiver, receiver.life, snapshot))

    def _chunk_ms(self) -> int:
        weather = self._world.weather
        return 1 + weather.latency_ms + int(self._random() * (weather.jitter_ms + weather.chunk_ms + 1))

    def _send_chunk(self, shipment: Shipment) -> None:
        """One more chunk arrives, or somebody dies over it."""
        world, sender = self._world, shipment.sender
        if self._under_way.get((sender.number, shipment.to)) is not shipment:
            return
        receiver = world.nodes[shipment.to]
        if receiver.raft is None or world.network.blocked[sender.number][shipment.to]:
            self._wait(shipment)
            return
        if self._kills():
            victim, side = (sender, "sender") if self._random() < 0.5 else (receiver, "receiver")
            self._kill(victim, side, "before")
        elif not receiver.paused:
            self._take_chunk(shipment, receiver)
        if self._under_way.get((sender.number, shipment.to)) is shipment:
            world.at(world.now_ms + self._chunk_ms(), self._send_chunk, shipment)

    def _wait(self, shipment: Shipment) -> None:
        """Nobody is there to take it: try again, but not for ever."""
        shipment.waited += 1
        if shipment.waited > 2:
            self._world.count("snapshot given up", shipment.sender.number, shipment.to)
            self._end(shipment, ok=False)
        else:
            self._world.at(self._world.now_ms + self._world.weather.election_timeout_ms, self._send_chunk, shipment)

    def _kills(self) -> bool:
        weather = self._world.weather
        return bool(weather.chunk_kill) and self._random() < weather.chunk_kill

    def _kill(self, victim: Node, side: str, when: str) -> None:
        world = self._world
        world.counts[f"snapshot killed at a chunk: {side}"] += 1
        world.crash(victim, f"killed {when} a chunk", 1 + int(self._random() * 2 * world.weather.down_ms))

    def _end(self, shipment: Shipment, ok: bool) -> None:
        sender = shipment.sender
        del self._under_way[sender.number, shipment.to]
        if sender.raft is not None and sender.life == shipment.life:
            sender.receive((SnapshotSent, shipment.to, ok))

    # -- the receiver ---------------------------------------------------------------------------------------------

    def _take_chunk(self, shipment: Shipment, receiver: Node) -> None:
        world, snapshot = self._world, shipment.snapshot
        if shipment.receiver_life != receiver.life:
            self._ask_what_it_has(shipment, receiver)
        shipment.next_chunk += 1
        receiver.disk.partial = (snapshot, shipment.next_chunk)
        world.log(receiver.number, "has chunk", (shipment.next_chunk, "of", shipment.chunks))
        if self._kills():
            self._kill(receiver, "receiver", "after")
        elif shipment.next_chunk >= shipment.chunks:
            self._arrives(shipment, receiver)

    def _ask_what_it_has(self, shipment: Shipment, receiver: Node) -> None:
        """A receiver that has just started, or that is sent this for the first time, may have chunks of it, or of
        another."""
        shipment.receiver_life, shipment.next_chunk = receiver.life, 0
        if receiver.disk.partial is None:
            return
        known, have = receiver.disk.partial
        if known == shipment.snapshot and have < shipment.chunks:
            self._world.count("snapshot resumed", receiver.number, ("at chunk", have))
            shipment.next_chunk = have
        else:
            self._world.count("snapshot begun anew", receiver.number, known.index)

    def _arrives(self, shipment: Shipment, receiver: Node) -> None:
        world, weather = self._world, self._world.weather
        receiver.disk.partial = None
        self._deliver((receiver, receiver.life, shipment.snapshot))
        if weather.snapshot_doubling and self._random() < weather.snapshot_doubling:
            world.count("snapshot doubled", receiver.number, shipment.snapshot.index)
            late_ms = int(self._random() * self._random() * 20 * weather.election_timeout_ms)
            world.at(world.now_ms + late_ms, self._deliver, (receiver, 0, shipment.snapshot))
        self._end(shipment, ok=True)

    def _deliver(self, what: tuple[Node, int, Snapshot]) -> None:
        """It lies whole beside the state: the core is asked. `life` 0: whichever life the receiver has by now."""
        receiver, life, snapshot = what
        if receiver.raft is None or life not in (0, receiver.life):
            return
        token = self._world.clients.next_token()
        receiver.arrived[token] = snapshot
        self._world.log(receiver.number, "snapshot arrives", snapshot.index)
        receiver.receive((SnapshotArrived, token, snapshot.index, snapshot.term, snapshot.membership))
