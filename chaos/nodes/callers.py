"""Callers at the doors of zones and sites: shipped clients that write notes and priorities, and read them again: what
they wrote, as of their session, or linearizably.

Half of the acts carry a key. Such an act is handed in again under the same key, by the same caller, until it is
answered: whatever died in between, it must take effect once (C13). An act without a key is given up when its outcome
is not known; it may take effect once or not at all.

Leaves out: checking the answers. `checks.py` is told all of them.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

from chaos.history.operations import Operation, frozen
from chaos.nodes.checks import Act
from chaos.nodes.network import Visitor
from chaos.nodes.process import Host
from replica.cases.commands import AddNote, ChangePriority
from replica.cases.verdicts import VerdictKind
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


class Caller:
    """One person at one node."""

    def __init__(self, world: World, number: int, host: Host, rng: Random) -> None:
        self.name = f"caller-{number}"
        self._world = world
        self._host = host
        self._rng = rng
        self._visitor = Visitor(world.network, self.name, rng)
        self._client: Client | None = None
        self._changed = trio.Event()
        self._written = 0
        self._seen: tuple[Client | None, dict[tuple[str, str], set[str]]] = (None, {})
        """A session, and the notes of each case it was shown as agreed, or told of so; then those shown at all."""
        self._answered_by: Client | None = None
        self.busy = False
        """An act is under way."""

    async def run(self) -> None:
        """Write and read until the storm is over; what was begun is brought to its end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_connected)
            while not self._world.calm:
                await trio.sleep(self._rng.expovariate(1 / self._world.weather.think_s))
                self.busy = True
                if self._host.retired:
                    self._move()
                await self._rng.choice((self._act, self._act, self._act, self._act, self._read, self._read_elsewhere))()
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
        invoked_us = self._world.loop.now_us

        async def call(client: Client) -> tuple[Receipt, ...]:
            return (await client.submit(command, BUDGET_MS, author=self.name, key=key),)

        life = await self._hand_in(act, call)
        if isinstance(command, AddNote) and not act.refused:
            done = any(_is_in_the_state(receipt) for receipt in act.receipts)
            self._remember(case, "add", command.note, invoked_us, done=done)
            if done and self._client is not None and self._client is self._answered_by:
                self._knows(self._client, case, {command.note}, agreed=True)
        if text and life is not None and self._rng.random() < 0.5:
            await self._read_own(case, text, life)

    async def _hand_in(self, act: Act, call: Any) -> int | None:
        """Hand an act in until it is answered, or its outcome is unknown and it has no key. Which life of the node
        answered; None where none did."""
        self._world.checks.acts.append(act)
        while True:
            client = await self._connected()
            if client is None:
                return None  # its zone was taken away: nobody says what became of it
            life = self._host.lives
            try:
                receipts = await call(client)
            except (InvalidMessage, NotPermitted):
                self._world.counts["receipt: refused at the door"] += 1
                act.refused = not act.unsure
                return None
            except ReplicaError as problem:
                self._world.counts[f"caller met {type(problem).__name__}"] += 1
                act.unsure = act.unsure or isinstance(problem, OutcomeUnknown)
                if not act.key and isinstance(problem, OutcomeUnknown):
                    return None
                if not act.key and self._world.calm:
                    return None
                await trio.sleep(AGAIN_S)
                continue
            act.empties = self._host.disk.empties
            self._answered_by = client
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

    async def _read(self) -> None:
        """A case as of this session, or as anybody anywhere knows it by now."""
        client = await self._connected()
        if client is None:
            return
        process, case, seen_index = self._host.process, self._rng.choice(CASES), client.seen_index
        consistency = self._rng.choice(("session", "linearizable"))
        known = set(self._session(client).get((case, consistency), ()))
        invoked_us = self._world.loop.now_us
        try:
            found = await client.show_case(case, consistency=consistency, budget_ms=BUDGET_MS)
            notes = {one["key"] for one in found["case"].get("elements", ()) if one["field"] == "medical_note"}
        except InvalidMessage:
            notes, found = (
                set(),
                {"freshness": {"index": seen_index}},
            )  # nobody has created it, as far as is known there
        except ReplicaError as problem:
            self._world.counts[f"{consistency} read: {type(problem).__name__}"] += 1
            return
        if process is None or self._host.flipped:
            return  # what a flipped bit shows is not judged here
        self._world.counts[f"{consistency} read answered"] += 1
        self._world.session_read(self.name, (seen_index, known), (found["freshness"]["index"], notes))
        self._knows(client, case, notes, agreed=consistency == "linearizable")
        if consistency == "linearizable":
            self._remember(case, "read", None, invoked_us, tuple(sorted(notes)))

    async def _read_elsewhere(self) -> None:
        """Take the session over to another node: what was agreed as far as it knows must be there, too."""
        client, case = self._client, self._rng.choice(CASES)
        other = self._rng.choice(self._world.hosts)
        if client is None or other is self._host:
            return
        seen_index, known = client.seen_index, set(self._session(client).get((case, "linearizable"), ()))
        life = other.lives
        try:
            async with open_client(
                other.address, name=f"{self.name}-elsewhere", connect_ms=BUDGET_MS, outside=self._visitor
            ) as there:
                there.seen_index = seen_index
                found = await there.show_case(case, consistency="session", budget_ms=BUDGET_MS)
        except ReplicaError as problem:
            self._world.counts[f"session elsewhere: {type(problem).__name__}"] += 1
            return
        if other.flipped or other.lives != life:
            return
        self._world.counts["session read elsewhere"] += 1
        notes = {one["key"] for one in found["case"].get("elements", ()) if one["field"] == "medical_note"}
        self._world.session_read(self.name, (seen_index, known), (found["freshness"]["index"], notes))

    def _knows(self, client: Client, case: str, notes: set[str], *, agreed: bool) -> None:
        """A read of the agreed state may show less than one of the session, which has what is undecided as well."""
        for consistency in ("session", "linearizable") if agreed else ("session",):
            self._session(client).setdefault((case, consistency), set()).update(notes)

    def _session(self, client: Client) -> dict[tuple[str, str], set[str]]:
        if self._seen[0] is not client:
            self._seen = (client, {})
        return self._seen[1]

    def _remember(
        self, case: str, what: str, value: str | None, invoked_us: int, result: object = None, *, done: bool = True
    ) -> None:
        """One operation more of the history. What is not known to be done may be done later, or never."""
        returned_us = self._world.loop.now_us if done else None
        one = Operation(self.name, case, what, value, invoked_us, returned_us, frozen(result) if done else None)
        self._world.checks.history.append(one)

    def _move(self) -> None:
        """Its zone was taken away: it asks another."""
        self._host = self._rng.choice(self._world.zones)

    async def _connected(self) -> Client | None:
        """The connection, waiting until there is one; None where its node was taken away for good."""
        while self._client is None or self._client.closed.is_set():
            if self._host.retired:
                return None
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
            await trio.sleep(AGAIN_S)  # and whoever waits looks whether its node is there at all

    def _set(self, client: Client | None) -> None:
        self._client = client
        self._changed.set()
        self._changed = trio.Event()


def _took(receipt: Receipt) -> bool:
    return receipt.verdict is not None and receipt.verdict.kind.value == "applied"


def _is_in_the_state(receipt: Receipt) -> bool:
    """Whether the note it is for is in the agreed state now. A note is never merged or kept apart."""
    return receipt.verdict is not None and receipt.verdict.kind in (VerdictKind.APPLIED, VerdictKind.DUPLICATE)
