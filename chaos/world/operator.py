"""The operator: changes the membership, hands leadership over, and compares learners with their leader.

Each request is one that a person might make, at the leader or, not knowing better, at another node; some are made while
another change is under way, some are given up half way, and some ought to be refused. Those who make trouble just then
are here as well: the leader dies right after it has appended a step, or amid a hand-over.

Leaves out: what the core makes of a request (raft/membership.py, raft/transfer.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from chaos.world import members
from replica.raft.events import ChangeRequested, LearnerCompared, TransferRequested
from replica.raft.types import NOBODY, Membership, NodeId, Role

if TYPE_CHECKING:
    from chaos.world.node import Node
    from chaos.world.world import World
    from replica.raft.core import Raft

MOST_VOTERS = 7
CHANGES = (
    "change: add one",
    "change: add a learner",
    "change: remove one",
    "change: remove the leader",
    "change: replace one",
    "change: replace all",
    "change: several at once",
    "change: demote",
    "change: promote",
    "change: given up while learners catch up",
    "change: priorities",
    "change: keep the silent ones",
)
Plan = Callable[[Membership, "Node"], Membership | None]


class Operator:
    """Asks for something at random moments, as often as the weather says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.rng.random
        plans = (
            self._add_one,
            self._add_learner,
            self._remove_one,
            self._remove_leader,
            self._replace_one,
            self._replace_all,
            self._several,
            self._demote,
            self._promote,
            self._give_up,
            self._priorities,
            self._keep_the_silent,
        )
        self._plans: dict[str, Plan] = dict(zip(CHANGES, plans, strict=True))

    def begin(self) -> None:
        weather = self._world.weather
        if weather.change_interval_ms:
            self._world.at(self._around(weather.change_interval_ms), self._change, None)
            self._world.at(self._world.now_ms + weather.election_timeout_ms, self._compare, None)
        if weather.transfer_interval_ms:
            self._world.at(self._around(weather.transfer_interval_ms), self._transfer, None)

    def _around(self, mean_ms: int) -> int:
        return self._world.now_ms + 1 + int(self._random() * 2 * mean_ms)

    def _pick(self, choices: list[NodeId]) -> NodeId:
        return choices[int(self._random() * len(choices))]

    # -- membership -----------------------------------------------------------------------------------------------

    def _change(self, _: None) -> None:
        world = self._world
        if not world.storming:
            return
        asked = world.leader()
        if asked is not None and not any(peer.disk.hard_state.rebuilding for peer in world.peers()):
            self.ask(CHANGES[int(self._random() * len(CHANGES))], asked)
        world.at(self._around(world.weather.change_interval_ms), self._change, None)

    def ask(self, name: str, asked: Node) -> None:
        """One request of this kind, if the membership as it is allows for it."""
        world, raft = self._world, asked.raft
        assert raft is not None
        target = self._plans[name](raft.membership, asked)
        if target is None:
            return
        if raft.membership_is_open:
            world.counts["change asked amid another"] += 1
        if self._random() < 0.05:
            asked = world.alive()[int(self._random() * len(world.alive()))]
        token = world.clients.next_token()
        world.count(name, asked.number, (sorted(target.voters), "learners", sorted(target.learners)))
        asked.waiting.add(token)
        asked.receive((ChangeRequested, token, target))

    def _wanted(self, now: Membership) -> tuple[set[NodeId], set[NodeId]]:
        """The voters and learners that the change under way, if any, leads to."""
        return set((now.voters | now.incoming) - now.leaving), set(now.learners - now.incoming)

    def _target(self, now: Membership, voters: set[NodeId], learners: set[NodeId]) -> Membership | None:
        if not 1 <= len(voters) <= MOST_VOTERS:
            return None
        return Membership(frozenset(voters), learners=frozenset(learners - voters), priority=now.priority)

    def _new(self) -> NodeId:
        """The number of a node that never was, on an empty disk; NOBODY where there have been enough of them."""
        world = self._world
        if len(world.nodes) > world.weather.nodes + world.weather.most_joiners:
            return NOBODY
        joiner = world.add_node()
        if self._random() < 0.7:
            world.boot(joiner)
        else:
            world.count("joins late", joiner.number, None)
            world.at(self._around(4 * world.weather.election_timeout_ms), lambda _: world.boot(joiner), None)
        return joiner.number

    def _add_one(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        new = self._new() if len(voters) < MOST_VOTERS else NOBODY
        return self._target(now, voters | {new}, learners) if new else None

    def _add_learner(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        new = self._new()
        return self._target(now, voters, learners | {new}) if new else None

    def _remove_one(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        gone = self._pick(sorted(voters | learners))
        return self._target(now, voters - {gone}, learners - {gone})

    def _remove_leader(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        return self._target(now, voters - {asked.number}, learners) if asked.number in voters else None

    def _replace_one(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        new = self._new()
        return self._target(now, (voters - {self._pick(sorted(voters))}) | {new}, learners) if new else None

    def _replace_all(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        if len(voters) > 3:
            return None
        new = {self._new() for _ in voters}
        return self._target(now, new, learners) if NOBODY not in new else None

    def _several(self, now: Membership, asked: Node) -> Membership | None:
        """Some go, some come, at once."""
        voters, learners = self._wanted(now)
        for _ in range(1 + int(self._random() * 2)):
            if len(voters) > 1:
                voters -= {self._pick(sorted(voters))}
        voters |= {self._new(), self._new()} - {NOBODY}
        return self._target(now, voters, learners)

    def _demote(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        lowered = self._pick(sorted(voters))
        return self._target(now, voters - {lowered}, learners | {lowered})

    def _promote(self, now: Membership, asked: Node) -> Membership | None:
        voters, learners = self._wanted(now)
        return self._target(now, voters | {self._pick(sorted(learners))}, learners) if learners else None

    def _give_up(self, now: Membership, asked: Node) -> Membership | None:
        """Back to the voters there are: a change whose learners are still catching up is called off."""
        if not now.incoming:
            return None
        return self._target(now, set(now.voters), set(now.learners - now.incoming))

    def _priorities(self, now: Membership, asked: Node) -> Membership | None:
        ranks = tuple((node, int(self._random() * 3)) for node in sorted(now.voters))
        target = self._target(now, *self._wanted(now))
        return replace(target, priority=ranks) if target else None

    def _keep_the_silent(self, now: Membership, asked: Node) -> Membership | None:
        """What nobody should ask for: the nodes that answer go, those that do not stay. With two new ones beside them
        it may just do, as long as both keep answering."""
        voters, learners = self._wanted(now)
        silent = {number for number in voters if self._world.nodes[number].raft is None}
        if not silent:
            return None
        new = {self._new(), self._new()} - {NOBODY} if self._random() < 0.5 else set()
        return self._target(now, silent | {asked.number} | new, learners)

    def _compare(self, _: None) -> None:
        """Tell each leader, now and then, whether the learners that are to vote have the state it has. At first one
        may look different that is not: the answer can be asked again."""
        world = self._world
        for leader in world.alive():
            if leader.raft is not None and leader.role is Role.LEADER and not leader.paused:
                for number in sorted(leader.raft.membership.incoming):
                    self._compare_one(leader, world.nodes[number])
        world.at(world.now_ms + max(1, world.weather.election_timeout_ms // 2), self._compare, None)

    def _compare_one(self, leader: Node, learner: Node) -> None:
        if leader.raft is None:
            return  # it died of the answer before
        index = min(leader.applied, learner.applied)
        theirs, ours = learner.digest_at(index), leader.digest_at(index)
        if learner.raft is None or index == 0 or theirs is None or ours is None:
            return
        same = theirs == ours
        if self._world.storming and self._random() < 0.2:
            self._world.count("learner seems different", learner.number, index)
            same = False
        leader.receive((LearnerCompared, learner.number, index, same))
        raft: Raft | None = leader.raft  # it may die of this answer, too
        others = raft is not None and len(raft.membership.incoming) > 1
        if same and others and self._world.storming and self._random() < 0.3:  # while the others still catch up
            who = learner, learner.life, "learner dies once it is compared"
            self._world.at(self._world.now_ms, self._die, who)

    def appended_step(self, leader: Node) -> None:
        """A leader has appended a step of a change: in some weathers it dies over it."""
        world = self._world
        if world.storming and world.weather.crash_after_step and self._random() < world.weather.crash_after_step:
            after_ms = world.now_ms + int(self._random() * world.weather.election_timeout_ms * 0.3)
            world.at(after_ms, self._die, (leader, leader.life, "crash after a membership step"))

    def _die(self, what: tuple[Node, int, str]) -> None:
        node, life, how = what
        world = self._world
        if node.raft is not None and node.life == life and world.storming:
            world.crash(node, how, 1 + int(self._random() * 2 * world.weather.down_ms))

    # -- leadership -----------------------------------------------------------------------------------------------

    def _transfer(self, _: None) -> None:
        world = self._world
        if not world.storming:
            return
        leader = world.leader()
        if leader is not None:
            self.transfer(leader, NOBODY if self._random() < 0.3 else 1 + int(self._random() * world.size))
        world.at(self._around(world.weather.transfer_interval_ms), self._transfer, None)

    def transfer(self, leader: Node, to: NodeId) -> None:
        """Asks a leader to hand over."""
        world = self._world
        world.count("transfer requested", leader.number, to)
        if to == NOBODY:
            world.counts["transfer to the best placed"] += 1
        elif world.nodes[to].raft is None:
            world.counts["transfer to a dead node"] += 1
        elif world.nodes[to].disk.last_index() < leader.disk.last_index():
            world.counts["transfer to a lagging node"] += 1
        token = world.clients.next_token()
        leader.waiting.add(token)
        leader.receive((TransferRequested, token, to))

    def transfer_begun(self, leader: Node, to: NodeId) -> None:
        """A hand-over is under way: in some weathers one of the two dies now."""
        world = self._world
        if world.storming and world.weather.crash_amid_transfer and self._random() < world.weather.crash_amid_transfer:
            victim = leader if self._random() < 0.5 else world.nodes[to]
            after_ms = world.now_ms + int(self._random() * world.weather.election_timeout_ms * 0.5)
            world.at(after_ms, self._die, (victim, victim.life, "crash amid a transfer"))

    def may_lose_store(self, node: Node) -> bool:
        """Whether every membership that may come to hold can bear one more node without its promises."""
        world = self._world
        lost = {peer.number for peer in world.peers() if peer.disk.hard_state.rebuilding} | {node.number}
        whole = {peer.number for peer in world.peers()} - lost
        every = members.possible(world)
        return members.carries([*every, *map(members.to_come, every)], whole)
