"""What is done to a leader while callers wait, and how it is undone: to our own cluster and to etcd's.

* kill: SIGKILL. The process is started again afterwards.
* stop: SIGSTOP; it keeps its sockets and says nothing. SIGCONT afterwards.
* cut: what it and the other zones (and, of ours, the sites) say to each other is swallowed; nobody is told. Healed
  afterwards.
* leave: SIGTERM; it hands over and ends by itself. Started again afterwards.
* transfer: it is asked to hand its leadership to another, and stays.

The moment of a fault is that of the signal, of the cut, or of the request.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final, Protocol

import trio

from bench.peers.etcd import EtcdCluster
from replica.demo.caller import Caller
from replica.demo.looking import leader_of, until_level
from replica.demo.supervisor import Cluster
from replica.errors import ReplicaError
from replica.runtime.client import Client

SUDDEN: Final = ("kill", "stop", "cut")
FAULTS: Final = (*SUDDEN, "leave", "transfer")
READY_SECONDS: Final = 30.0
UNFAULTED_SECONDS: Final = 0.3
"""A stopped or cut leader that others have replaced stays so for this long before it comes back."""


class System(Protocol):
    """A cluster with a leader that can be hurt. `problem`: what it said where it would not hand over, else empty."""

    problem: str

    async def leader(self) -> str:
        """Who leads now."""

    async def hurt(self, fault: str, leader: str) -> float:
        """Do it: `trio.current_time()` of the fault."""

    async def repair(self, fault: str, leader: str) -> None:
        """Undo it, and wait until all run."""

    async def level(self) -> None:
        """Wait until the quorum can spare one again."""


class Ours:
    """A `System` out of our own processes."""

    def __init__(self, cluster: Cluster, callers: dict[str, Caller], nursery: trio.Nursery) -> None:
        self._cluster = cluster
        self.zones = [callers[zone.name] for zone in cluster.zones]
        self._callers = callers
        self._nursery = nursery
        self._handed = trio.Event()
        self.problem = ""

    async def leader(self) -> str:
        return await leader_of(self.zones, READY_SECONDS)

    async def hurt(self, fault: str, leader: str) -> float:
        node, self.problem = self._cluster.nodes[leader], ""
        match fault:
            case "kill":
                return self._cluster.strike(leader)
            case "stop":
                self._cluster.pause(leader)
            case "cut":
                return self._cluster.cut(leader)
            case "leave":
                node.wanted = False
                node.child.signal(signal.SIGTERM)
            case _:
                self._handed = trio.Event()
                self._nursery.start_soon(self._hand_over, await self._callers[leader].client(), self._handed)
        return trio.current_time()

    async def repair(self, fault: str, leader: str) -> None:
        await _repaired(self._cluster, fault, leader, lambda: self._cluster.heal(leader), self._handed)

    async def level(self) -> None:
        await until_level(self.zones, READY_SECONDS)

    async def _hand_over(self, client: Client, handed: trio.Event) -> None:
        try:
            await client.hand_over()
        except ReplicaError as problem:
            self.problem = f"{type(problem).__name__}: {problem}"
        handed.set()


class Etcds:
    """A `System` out of members of etcd."""

    def __init__(self, cluster: EtcdCluster, nursery: trio.Nursery) -> None:
        self._cluster = cluster
        self._nursery = nursery
        self._handed = trio.Event()
        self.problem = ""

    async def leader(self) -> str:
        return await self._cluster.leader()

    async def hurt(self, fault: str, leader: str) -> float:
        self.problem = ""
        match fault:
            case "kill":
                return self._cluster.strike(leader)
            case "stop":
                return self._cluster.pause(leader)
            case "cut":
                return self._cluster.cut(leader)
            case "leave":
                return self._cluster.terminate(leader)
        other = next(name for name in self._cluster.members if name != leader)
        self._handed = trio.Event()
        self._nursery.start_soon(self._move, leader, other, self._handed)
        return trio.current_time()

    async def repair(self, fault: str, leader: str) -> None:
        await _repaired(self._cluster, fault, leader, self._cluster.heal, self._handed)

    async def level(self) -> None:
        await self._cluster.until_level()

    async def _move(self, leader: str, other: str, handed: trio.Event) -> None:
        try:
            await self._cluster.move_leader(leader, other)
        except (ReplicaError, trio.TooSlowError) as problem:
            self.problem = f"{type(problem).__name__}: {problem}"
        handed.set()


async def _repaired(
    cluster: Cluster | EtcdCluster, fault: str, leader: str, heal: Callable[[], object], handed: trio.Event
) -> None:
    """The same for both systems: who is gone starts again, who was stopped or cut goes on when others have led."""
    match fault:
        case "kill" | "leave":
            await cluster.gone(leader)
            await cluster.start(leader)
        case "stop":
            await trio.sleep(UNFAULTED_SECONDS)
            cluster.resume(leader)
        case "cut":
            await trio.sleep(UNFAULTED_SECONDS)
            heal()
        case _:
            await handed.wait()
