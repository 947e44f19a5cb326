"""After the storm: what a healthy quorum, and then the whole cluster, must do within a bounded virtual time.

First the faults end, and of all nodes only so many live as make a quorum of every membership that may come to hold:
these must elect a leader and commit something new. Then the others come back: what was asked for must have an answer,
changes under way must come to an end, and all members must end with the same log and the same state.

Leaves out: what must hold in the storm as well (judge.py).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from chaos.world import members
from chaos.world.invariants import InvariantViolated
from chaos.world.weather import calm
from replica.raft.events import ChangeRequested
from replica.raft.types import NodeId

if TYPE_CHECKING:
    from chaos.world.node import Node
    from chaos.world.world import World

TIMEOUTS_TO_COMMIT = 30
"""A healthy majority has so many election timeouts, and `GRACE_MS`, to commit something new."""
TIMEOUTS_TO_CONVERGE = 40
TIMEOUTS_TO_CHANGE = 60
"""More, where a change of the membership may have to be finished first."""
GRACE_MS = 2_000
SLOWEST_ROUND_TRIP_MS = 15
"""An append, its save and its answer in the calm, with time to spare."""


def end_storm(world: World) -> None:
    """Faults off, cuts healed, and a healthy quorum chosen; the others are dead for now."""
    world.storming = False
    world.log(0, "the storm is over", None)
    world.weather = calm(world.weather)
    world.network.set_weather(world.weather)
    _hurry_the_late(world)
    _withdraw_changes(world)
    healthy = _choose_healthy(world)
    for node in world.peers():
        node.armed, node.disk.sync_fails, node.disk.stalled_until_ms = None, False, 0
        if node.raft is not None and node not in healthy:
            world.crash(node, "left dead in the calm", None)
        elif node.paused:
            node.pause(world.now_ms)
    for node in healthy:
        world.boot(node)
    world.network.heal()


def _hurry_the_late(world: World) -> None:
    """What is still under way arrives within two election timeouts, so that the calm meets it too."""
    latest_ms = world.now_ms + 2 * world.weather.election_timeout_ms
    deliver = world.network.deliver
    for place, (at_ms, order, handler, argument) in enumerate(world.queue):
        if handler == deliver and at_ms > latest_ms:
            soon_ms = world.now_ms + int(world.rng.random() * (latest_ms - world.now_ms))
            world.queue[place] = (soon_ms, order, handler, argument)
    heapq.heapify(world.queue)


def _withdraw_changes(world: World) -> None:
    """Who is left dead now was there when the operator asked; nobody asks for a change that needs the dead."""
    for node in world.alive():
        for item in [item for item in node.inbox if isinstance(item, tuple) and item[0] is ChangeRequested]:
            node.inbox.remove(item)
            node.waiting.discard(item[1])


def _choose_healthy(world: World) -> list[Node]:
    """A quorum, or more, of nodes that count: those that lost their store cannot carry the cluster."""
    whole = [node for node in world.peers() if not node.disk.hard_state.rebuilding]
    world.rng.shuffle(whole)
    every = members.possible(world)
    every += [members.to_come(membership) for membership in every]  # who dies this moment may be promoted the next
    chosen: list[NodeId] = []
    for node in whole:
        chosen.append(node.number)
        if members.carries(every, chosen):
            break
    return whole[: max(len(chosen), 1 + int(world.rng.random() * len(whole)))]


def must_commit(world: World) -> None:
    """The healthy quorum elects a leader and commits something new, which every healthy member applies."""
    begun_ms = world.now_ms
    bound_ms = TIMEOUTS_TO_COMMIT * world.weather.patience_ms + GRACE_MS + _catch_up_ms(world)
    token = 0
    while not _committed_everywhere(world, token):
        if world.now_ms > begun_ms + bound_ms:
            facts = (
                f"healthy: nodes {[node.number for node in world.alive()]}",
                f"nothing new within {bound_ms} ms",
            )
            raise InvariantViolated("Progress", "a healthy quorum makes none", facts)
        leader = world.leader()
        under_way = leader is not None and token in [waiting for _, waiting in leader.accepted.values()]
        # One at a time, and none once one is committed: or the slowest would be an entry behind for ever.
        if leader is not None and not under_way and token not in world.clients.acknowledged:
            token = world.clients.propose(leader)
        world.run_until_ms(world.now_ms + world.weather.heartbeat_interval_ms)
    world.calm_after_ms = world.now_ms - begun_ms


def _catch_up_ms(world: World) -> int:
    """What the slowest pipeline these settings allow, one entry for each round trip, takes for the longest log."""
    if not world.weather.narrow:
        return 0
    shortest = min(node.disk.last_index() for node in world.peers())
    longest = max(node.disk.written.last for node in world.peers())
    return (longest - shortest) * SLOWEST_ROUND_TRIP_MS


def _committed_everywhere(world: World, token: int) -> bool:
    if token not in world.clients.acknowledged:
        return False
    agreed, everyone = len(world.judge.agreed), members.members(world)
    return all(node.applied == agreed for node in world.alive() if node.number in everyone)


def must_converge(world: World) -> None:
    """The others come back; every member ends with the same log, all of it applied, and none is still rebuilding."""
    for node in world.peers():
        world.boot(node)
    begun_ms = world.now_ms
    timeouts = TIMEOUTS_TO_CONVERGE + (TIMEOUTS_TO_CHANGE if world.weather.change_interval_ms else 0)
    bound_ms = timeouts * world.weather.patience_ms + GRACE_MS + _catch_up_ms(world)
    while (lagging := _lagging(world)) is not None:
        if world.now_ms > begun_ms + bound_ms:
            facts = (f"agreed are {len(world.judge.agreed)} entries", lagging)
            raise InvariantViolated("Convergence", f"nodes still differ after {bound_ms} ms of calm", facts)
        world.run_until_ms(world.now_ms + world.weather.heartbeat_interval_ms)
    world.judge.acknowledged_is_durable.survives(world.judge.agreed)


def _lagging(world: World) -> str | None:
    """What still keeps the world from being at rest, None where nothing does."""
    agreed, everyone = len(world.judge.agreed), members.members(world)
    latest = world.judge.latest_membership
    if latest.outgoing or latest.incoming:
        return f"a change is under way: {latest}"
    rebuilding = [node for node in world.peers() if node.disk.hard_state.rebuilding and node.number in everyone]
    for node in world.peers():
        if node.number not in everyone:
            continue  # it may wait for ever to apply what a confirmed read needs: nobody sends it anything
        if owed := sorted(node.waiting - node.reads_to_come()):
            return f"node {node.number} owes an answer to requests {owed}"
        if len(rebuilding) > 1 and node in rebuilding:
            continue  # nobody is left who could vouch for either: they wait for an operator (D10)
        assert node.raft is not None
        ends = (node.applied, node.raft.last_index, node.disk.last_index())
        if ends != (agreed, agreed, agreed):
            return f"node {node.number}: applied {ends[0]}, log {ends[1]}, durable {ends[2]}"
        if node.disk.hard_state.rebuilding:
            return f"node {node.number} still does not count"
    return None
