"""Who belongs to the cluster, as one who sees every disk at once would say.

Which membership is committed the judge knows. What else may come to hold stands uncommitted in some log: each of those
may be the one the next leader goes by. Who wants to know whether the cluster can bear a loss must ask all of them.

Leaves out: what a membership means (raft/quorum.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from chaos.world.later_invariants import is_quorum
from replica.raft.memberships import decode_membership
from replica.raft.messages import Append
from replica.raft.types import Entry, EntryKind, Index, Membership, NodeId

if TYPE_CHECKING:
    from chaos.world.disk import Stored
    from chaos.world.world import World


def possible(world: World) -> list[Membership]:
    """The latest committed membership, and every later one that stands in any log or is on its way to one."""
    committed = world.judge.latest_membership_index
    found: dict[bytes, Membership] = {}
    for node in world.peers():
        for entry in _beyond(node.disk.durable, committed):
            found[entry.data] = decode_membership(entry.data)
        for entry in _beyond(node.disk.written, committed):
            found[entry.data] = decode_membership(entry.data)
    for message in _on_the_way(world):
        for entry in message.entries if isinstance(message, Append) else ():
            if entry.kind is EntryKind.MEMBERSHIP and entry.index > committed:
                found[entry.data] = decode_membership(entry.data)
    latest = [node.raft.membership for node in world.alive() if node.raft and node.raft.membership_index > committed]
    return [world.judge.latest_membership, *found.values(), *latest]


def _on_the_way(world: World) -> Iterator[object]:
    """Messages on a link, in a cut, or in an inbox."""
    deliver = world.network.deliver
    yield from (argument[0] for _, _, handler, argument in world.queue if handler == deliver)
    yield from (packet[0] for packet in world.network.held)
    for node in world.alive():
        yield from node.inbox


def _beyond(log: Stored, index: Index) -> Iterator[Entry]:
    return (e for e in log.entries[max(0, index - log.base) :] if e.kind is EntryKind.MEMBERSHIP)


def to_come(membership: Membership) -> Membership:
    """What a membership with learners on their way to a vote turns into."""
    voters = (membership.voters - membership.leaving) | membership.incoming
    return replace(membership, voters=voters)


def carries(memberships: Collection[Membership], nodes: Collection[NodeId]) -> bool:
    """Whether `nodes` are a quorum of every one of them."""
    return all(is_quorum(membership, nodes) for membership in memberships)


def is_changing(world: World) -> bool:
    """Whether any log has a membership that is not committed, or the committed one is a step on the way."""
    latest = world.judge.latest_membership
    return bool(latest.outgoing or latest.incoming) or len(possible(world)) > 1


def members(world: World) -> frozenset[NodeId]:
    """Everyone who gets the log, by the latest committed membership."""
    latest = world.judge.latest_membership
    return latest.voters | latest.outgoing | latest.learners
