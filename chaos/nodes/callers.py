"""Callers at the doors of zones and sites: shipped clients that write notes and priorities, and read them again.

Half of the acts carry a key. Such an act is handed in again under the same key, by the same caller, until it is
answered: whatever died in between, it must take effect once (C13). An act without a key is given up when its outcome
is not known; it may take effect once or not at all.

Leaves out: checking the answers. `checks.py` is told all of them.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

from chaos.nodes.checks import Act
from chaos.nodes.process import Host
from replica.cases.commands import AddNote, ChangePriority
from replica.errors import InvalidMessage, NotPermitted, OutcomeUnknown, ReplicaError
from replica.runtime.client import Client, open_client
from replica.wire.client import Receipt

if TYPE_CHECKING:
    from chaos.nodes.world import World

BUDGET_MS = 250
CASES = tuple(f"fr.health.samu440.SIM{number}" for number in range(3))
PRIORITIES = ("P0", "P1", "P2", "P3")
AGAIN_S = 0.05


def case_message(case: str) -> bytes:
    """The hub message that creates a case."""
    return (
        b'{"createCaseHealth": {"caseId": "%s", "creation": "2026-01-05T10:00:00+01:00", "qualification": {"details": '
        b'{"priority": "P2"}}, "location": {"name": "Quai 4"}, "owner": "fr.health.samu440"}}' % case.encode()
    )


class _Visitor:
    """`ClientOutside` for a caller: it stands beside its node's machine."""

    def __init__(self, world: World, name: str, rng: Random) -> None:
        self._world = world
        self._name = name
        self._rng = rng

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    async def connect(self, address: str) -> trio.abc.Stream:
        return await self._world.network.connect(self._name, address)


class Caller:
    """One person at one node."""

    def __init__(self, world: World, number: int, host: Host, rng: Random) -> None:
        self.name = f"caller-{number}"
        self._world = world
        self._host = host
        self._rng = rng
        self._visitor = _Visitor(world, self.name, rng)
        self._client: Client | None = None
        self._changed = trio.Event()
        self._written = 0
        self.busy = False
        """An act is under way."""

    async def run(self) -> None:
        """Write and read until the storm is over; what was begun is brought to its end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_connected)
            while not self._world.calm:
                await trio.sleep(self._rng.expovariate(1 / self._world.weather.think_s))
                self.busy = True
                await self._act()
                self.busy = False
            nursery.cancel_scope.cancel()

    async def create(self, case: str) -> None:
        """Create a case, however long that takes."""
        act = Act(self._host.name, "", f"create {case}")
        message = case_message(case)
        await self._hand_in(act, lambda client: client.submit_message(message, BUDGET_MS, key=act.key))

    async def _act(self) -> None:
        self._written += 1
        case = self._rng.choice(CASES)
        keyed = self._rng.random() < 0.5
        key = f"{self.name}/{self._written}" if keyed else ""
        if self._rng.random() < 0.7:
            text = f"{self.name} note {self._written}"
            command: Any = AddNote(case, f"{self._host.name}.medicalNote.{self.name}-{self._written}", text)
        else:
            text, command = "", ChangePriority(case, self._rng.choice(PRIORITIES))
        act = Act(self._host.name, text, key)

        async def call(client: Client) -> tuple[Receipt, ...]:
            return (await client.submit(command, BUDGET_MS, author=self.name, key=key),)

        life = await self._hand_in(act, call)
        if text and life is not None and self._rng.random() < 0.5:
            await self._read_own(case, text, life)

    async def _hand_in(self, act: Act, call: Any) -> int | None:
        """Hand an act in until it is answered, or its outcome is unknown and it has no key. Which life of the node
        answered; None where none did."""
        self._world.checks.acts.append(act)
        while True:
            client = await self._connected()
            life = self._host.lives
            try:
                receipts = await call(client)
            except (InvalidMessage, NotPermitted):
                self._world.counts["receipt: refused at the door"] += 1
                return None
            except ReplicaError as problem:
                self._world.counts[f"caller met {type(problem).__name__}"] += 1
                if not act.key and isinstance(problem, OutcomeUnknown):
                    return None
                if not act.key and self._world.calm:
                    return None
                await trio.sleep(AGAIN_S)
                continue
            act.empties = self._host.disk.empties
            for receipt in receipts:
                self._world.trace.add(self.name, "has", receipt.state, receipt.operation)
                self._world.told(act, receipt, self._host)
            return life if all(receipt.state == "journalled" or _took(receipt) for receipt in receipts) else None

    async def _read_own(self, case: str, text: str, life: int) -> None:
        """What this node has taken it shows, for as long as it lives."""
        client = self._client
        if client is None or client.closed.is_set():
            return
        process = self._host.process
        try:
            found = await client.show_case(case)
        except ReplicaError:
            return
        if process is None or process is not self._host.process or process.life != life or self._host.lives != life:
            return  # it has died meanwhile: what it shows now may be older, and says so
        self._world.has_read(process, found["freshness"]["index"], text, found)

    async def _connected(self) -> Client:
        while self._client is None or self._client.closed.is_set():
            await self._changed.wait()
        return self._client

    async def _keep_connected(self) -> None:
        while True:
            try:
                async with open_client(
                    self._host.address, name=self.name, expect=self._host.name, outside=self._visitor
                ) as client:
                    self._set(client)
                    await client.closed.wait()
            except ReplicaError:
                pass  # it is down, or not ready yet
            self._set(None)
            await trio.sleep(AGAIN_S)

    def _set(self, client: Client | None) -> None:
        self._client = client
        self._changed.set()
        self._changed = trio.Event()


def _took(receipt: Receipt) -> bool:
    return receipt.verdict is not None and receipt.verdict.kind.value == "applied"
