"""The one who breaks things: at random moments another fault of those this seed's weather has.

Each fault ends by itself after a while (a dead process starts again, a cut heals), since a world in which all is
broken tests nothing. Two faults are bounded, because nothing could survive them: a disk is emptied only while at most
one other (in some seeds two) waits to be trusted again and a majority is left, and a sync that fails ends the node, as
it must.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from chaos.world import members
from chaos.world.weather import CRASH_POINTS
from replica.raft.types import NOBODY, NodeId

if TYPE_CHECKING:
    from chaos.world.node import Node
    from chaos.world.world import World

T = TypeVar("T")


class Nemesis:
    """Picks a fault, a victim and a duration; the world carries it out."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.rng.random
        table: dict[str, Callable[[], None]] = {
            "crash": self._crash,
            "crash at a point": self._arm,
            "whole cluster down": self._all_down,
            "disk emptied": self._empty_disk,
            "disk stall": self._stall,
            "sync error": self._sync_error,
            "cut": self._cut,
            "pause": self._pause,
            "clock jump": self._jump,
            "link re-made": self._remake,
            "leader given up": self._give_up,
            "unasked snapshot": self._send_unasked,
        }
        self._faults = [table[name] for name in world.weather.faults]

    def begin(self) -> None:
        if self._faults:
            self._world.at(self._world.now_ms + self._around(self._world.weather.fault_interval_ms), self._strike, None)

    def elected(self, node: Node) -> None:
        """A new leader: in some weathers none grows old. It dies soon, or is heard by nobody from the beginning."""
        lives_ms = self._world.weather.leaders_live_ms
        if not lives_ms or not self._world.storming:
            return
        if self._random() < 0.3:
            self._world.count("new leader goes mute", node.number, None)
            cut_shape("mute", self._ring(node.number), 1, self._world.network.cut)
            self._world.at(self._world.now_ms + self._around(self._world.weather.cut_ms), self._heal, None)
        else:
            self._world.at(self._world.now_ms + self._around(lives_ms), self._end_leader, (node, node.life))

    def _end_leader(self, who: tuple[Node, int]) -> None:
        node, life = who
        if node.raft is not None and node.life == life and self._world.storming:
            self._world.crash(node, "new leader dies", self._around(self._world.weather.down_ms))

    def _strike(self, _: None) -> None:
        if self._world.storming:
            self._pick(self._faults)()
            self.begin()

    def _pick(self, choices: list[T]) -> T:
        return choices[int(self._random() * len(choices))]

    def _around(self, mean_ms: int) -> int:
        """From nothing to twice the mean."""
        return 1 + int(self._random() * 2 * mean_ms)

    def _victim(self) -> Node | None:
        """A live node; often the leader."""
        leader = self._world.leader()
        if leader is not None and self._random() < self._world.weather.aim_at_leader:
            return leader
        alive = self._world.alive()
        return self._pick(alive) if alive else None

    # -- processes ------------------------------------------------------------------------------------------------

    def _crash(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._world.crash(victim, "crash at any moment", self._around(self._world.weather.down_ms))

    def _arm(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.armed = self._pick(list(CRASH_POINTS))

    def _all_down(self) -> None:
        """A power cut of everything at once; all come back at about the same time."""
        self._world.counts["whole cluster down"] += 1
        back_ms = self._around(self._world.weather.down_ms)
        for node in self._world.alive():
            self._world.crash(node, "crash with the whole cluster", back_ms + int(self._random() * 5))

    def _pause(self) -> None:
        victim = self._victim()
        if victim is not None and not victim.paused:
            pause_ms = self._around(self._world.weather.pause_ms)
            self._world.count("pause", victim.number, pause_ms)
            victim.pause(self._world.now_ms + pause_ms)

    def _jump(self) -> None:
        victim = self._victim()
        if victim is not None:
            jump_ms = self._around(self._world.weather.election_timeout_ms * self._pick([1, 1, 20]))
            self._world.count("clock jump", victim.number, jump_ms)
            victim.clock.jump(jump_ms)
            victim.arm_timer()

    # -- disks ----------------------------------------------------------------------------------------------------

    def _empty_disk(self) -> None:
        victim = self._victim()
        if victim is not None and self._may_be_emptied(victim):
            self._world.crash(victim, "crash and lose the disk", self._around(self._world.weather.down_ms))
            self.empty(victim)

    def _may_be_emptied(self, node: Node) -> bool:
        world = self._world
        lost = sum(peer.disk.hard_state.rebuilding for peer in world.peers())
        if node.disk.hard_state.rebuilding or lost >= world.weather.stores_lost_at_once:
            return False
        if not world.operator.may_lose_store(node):
            return False
        if members.is_changing(world):
            world.counts["disk emptied amid a change"] += 1
        return True

    def empty(self, dead: Node) -> None:
        """The disk of a dead process is replaced by an empty one, if the others can bear that."""
        if self._may_be_emptied(dead):
            self._world.count("disk emptied", dead.number, None)
            dead.disk.empty()
            self._world.judge.emptied(dead)

    def _stall(self) -> None:
        victim = self._victim()
        if victim is not None:
            stall_ms = self._around(self._world.weather.cut_ms)
            self._world.count("disk stall", victim.number, stall_ms)
            victim.disk.stalled_until_ms = self._world.now_ms + stall_ms

    def _sync_error(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.disk.sync_fails = True

    def _send_unasked(self) -> None:
        """Somebody is given a state that nobody has asked for: of committed entries it is, whoever sends it."""
        alive = [node for node in self._world.alive() if node.disk.flushed]
        if len(alive) > 1:
            sender = self._world.leader() or self._pick(alive)
            receiver = self._pick([node for node in self._world.alive() if node is not sender])
            raft = sender.raft
            # One that is about to replace its own state with a newer one has nothing to send.
            if raft is not None and sender.disk.flushed and raft.first_index <= sender.disk.flushed + 1:
                self._world.shipping.unasked(sender, receiver)

    # -- links ----------------------------------------------------------------------------------------------------

    def _remake(self) -> None:
        size = self._world.size
        one, other = 1 + int(self._random() * size), 1 + int(self._random() * size)
        if one != other:
            self._world.count("link re-made", one, other)
            self._world.network.remake(one, other)

    def _give_up(self) -> None:
        """Something on the way resets the leader's connections and lets nothing more through: the others are told that
        it is lost and elect another at once; it is told nothing, and takes itself for the leader for a while."""
        world, leader = self._world, self._world.leader()
        if leader is None or not world.weather.connections:
            return
        ring = self._ring(leader.number)
        world.count("leader given up", leader.number, None)
        cut_shape("one node apart", ring, 1, world.network.cut)
        for other in ring[1:]:
            world.network.tell_lost(other, leader.number)
        world.at(world.now_ms + self._around(world.weather.cut_ms), self._heal, None)

    def _cut(self) -> None:
        """A partition of one shape. Cuts add up until the next heal, which ends them all."""
        world = self._world
        if world.size < 2:
            return
        shape = self._pick(list(world.weather.cuts))
        heal_ms = self._around(world.weather.cut_ms)
        leader = world.leader()
        aimed = leader is not None and self._random() < world.weather.aim_at_leader
        ring = self._ring(leader.number if aimed and leader is not None else NOBODY)
        world.count(f"cut: {shape}", ring[0], heal_ms)
        cut_shape(shape, ring, 1 + int(self._random() * (len(ring) - 1)), world.network.cut)
        world.at(world.now_ms + heal_ms, self._heal, None)

    def _heal(self, _: None) -> None:
        self._world.count("heal", 0, None)
        self._world.network.heal()

    def _ring(self, first: NodeId) -> list[NodeId]:
        """All nodes in a random order, beginning with `first` (NOBODY: with any)."""
        ring = list(range(1, self._world.size + 1))
        self._world.rng.shuffle(ring)
        ring.sort(key=lambda number: number != first)
        return ring


def cut_shape(shape: str, ring: list[NodeId], size: int, cut: Callable[[NodeId, NodeId], None]) -> None:
    """Cuts a partition of this shape. `ring[0]` is the one apart, the deaf one, the bridge; `size` that of one
    half."""
    first, rest = ring[0], ring[1:]
    match shape:
        case "one node apart":
            _cut_between([first], rest, cut)
        case "two halves":
            _cut_between(ring[:size], ring[size:], cut)
        case "one way":
            cut(first, rest[0])
        case "deaf":
            for other in rest:
                cut(other, first)
        case "mute":
            for other in rest:
                cut(first, other)
        case "one link":
            _cut_between([first], rest[:1], cut)
        case "by a thread":
            _cut_between([first], rest[1:], cut)
        case "ring":
            for place, one in enumerate(ring):
                for other in ring[place + 2 : len(ring) - (place == 0)]:
                    _cut_between([one], [other], cut)
        case "bridge":
            _cut_between(rest[: len(rest) // 2], rest[len(rest) // 2 :], cut)
        case _:
            raise ValueError(f"no cut has the shape {shape!r}")


def _cut_between(some: list[NodeId], others: list[NodeId], cut: Callable[[NodeId, NodeId], None]) -> None:
    for one in some:
        for other in others:
            cut(one, other)
            cut(other, one)
