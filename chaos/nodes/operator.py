"""The operator of a simulated cluster: lets zones come and go, and hands leadership over, through the shipped client.

One change at a time is asked for, at any zone, in any weather. The answer may be lost; then it is looked at later who
votes, as an operator would. A zone whose removal is agreed is taken away for good (`Host.retired`).

Leaves out: founding a cluster anew. That is done to stopped stores, and no simulated fault takes a quorum for good.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from chaos.nodes.network import Visitor
from chaos.nodes.process import Host
from replica.errors import NotAvailable, NotPermitted, ReplicaError
from replica.runtime.client import Client, open_client
from replica.wire.client import NewZone

if TYPE_CHECKING:
    from chaos.nodes.world import World

LEAST_VOTERS = 3
MOST_VOTERS = 5
SETTLES_WITHIN_S = 15.0
LOOK_S = 0.2
MOST_REDIRECTS = 4

Ask = Callable[[Client], Awaitable[dict[str, Any]]]


class Operator:
    """One person, with a list of the zones there are."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._visitor = Visitor(world.network, "caller-operator", rng)
        self._changing = False

    # ------------------------------------------------------------------ asking

    async def ask(self, question: Ask) -> dict[str, Any]:
        """The leading zone's answer, wherever asking begins. Raises what it refuses with; NotAvailable where nobody
        answers, and then it may have been done or not."""
        zones = list(self._world.zones)
        self._rng.shuffle(zones)
        problem: ReplicaError = NotAvailable("there is no zone")
        for zone in zones:
            address = zone.address
            try:
                for _ in range(MOST_REDIRECTS):
                    async with open_client(address, name="operator", connect_ms=500, outside=self._visitor) as client:
                        answer = await question(client)
                    if "redirect" not in answer:
                        return answer
                    address = str(answer["redirect"]["address"])
            except NotPermitted:
                raise
            except ReplicaError as raised:
                problem = raised
        raise problem

    async def hand_over(self) -> None:
        """To one zone by name, or to whichever is best placed."""
        to = self._rng.choice(["best", *(zone.name for zone in self._world.zones)])
        try:
            await self.ask(lambda client: client.hand_over(to, 1000))
        except ReplicaError as problem:
            self._count(f"hand-over failed: {type(problem).__name__}")
        else:
            self._count("handed over by hand")

    # ------------------------------------------------------------------ changing who votes

    async def change(self) -> None:
        """Add, remove or replace a zone, add a learner, or promote one. Only one change at a time is asked for."""
        if self._changing or self._world.weather.zones < LEAST_VOTERS:
            return
        self._changing = True
        try:
            await self._change()
        finally:
            self._changing = False

    async def _change(self) -> None:
        try:
            seen = await self.ask(lambda client: client.members())
        except ReplicaError:
            return
        voters = [str(zone["name"]) for zone in seen["zones"] if zone["role"] == "voter"]
        learners = [str(zone["name"]) for zone in seen["zones"] if zone["role"] == "learner"]
        kinds = ["replace", "replace the leader"]
        kinds += ["add", "add a learner"] if len(voters) < MOST_VOTERS else []
        kinds += ["remove", "remove the leader"] if len(voters) > LEAST_VOTERS else []
        kinds += ["promote"] * 2 if learners and len(voters) < MOST_VOTERS else []
        kind = self._rng.choice(kinds)
        leaving = str(seen["leader"]) if "leader" in kind else self._rng.choice(voters or [""])
        remove = (leaving,) if kind.startswith(("replace", "remove")) else ()
        promote = (learners[0],) if kind == "promote" else ()
        new = self._world.join() if kind.startswith(("add", "replace")) else None
        add = () if new is None else (NewZone(new.number, new.name, new.address),)
        self._count(f"change: {kind}")
        as_learner = kind == "add a learner"
        await self._ask_for(
            lambda client: client.change_members(add=add, promote=promote, remove=remove, learners=as_learner), new
        )

    async def _ask_for(self, change: Ask, new: Host | None) -> None:
        try:
            await self.ask(change)
        except NotPermitted as problem:
            self._count(f"change refused: {str(problem).partition(':')[0]}")
            if new is not None:
                self._world.retire(new)  # it was never a member
            return
        except ReplicaError:
            self._count("change: its answer was lost")
        with trio.move_on_after(SETTLES_WITHIN_S):
            await self._until_settled()

    async def _until_settled(self) -> None:
        """Watch it, and take away who is no member any more."""
        while True:
            await trio.sleep(LOOK_S)
            try:
                seen = await self.ask(_members_at_the_leader)
            except ReplicaError:
                continue
            if seen["settled"]:
                self._count("change: settled")
                self._world.take_away({str(zone["name"]) for zone in seen["zones"] if zone["role"] == "retired"})
                return

    def _count(self, name: str) -> None:
        self._world.counts[name] += 1
        self._world.trace.add("operator", name)


async def _members_at_the_leader(client: Client) -> dict[str, Any]:
    seen = await client.members()
    if seen["leader"] == seen["asked"]:
        return seen
    if not seen["leader"]:
        raise NotAvailable("nobody leads, as far as it knows")
    return {"redirect": {"name": seen["leader"], "address": seen["leader_address"]}}
