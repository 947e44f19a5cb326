"""Callers of one node: a connection made again whenever it breaks, and a hand-in that is tried until it is answered.

A caller whose site dies in the middle does what a hub process does: when the site is back it hands in the same thing
under the same key, and is given the receipt of the one operation there is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import trio

from replica.cases.commands import Command
from replica.demo.ledger import Held, Ledger
from replica.errors import (
    Closed,
    InvalidMessage,
    NotAvailable,
    NotPermitted,
    OutcomeUnknown,
    Overloaded,
    ReplicaError,
    StorageFull,
)
from replica.runtime.client import Client, open_client
from replica.wire.client import Receipt

BUDGET_MS: Final = 250
VERDICT_WAIT_MS: Final = 10_000
WAITING_AT_ONCE: Final = 200
RETRY_SECONDS: Final = 0.02
TRY_AGAIN: Final = (OutcomeUnknown, NotAvailable, Closed, Overloaded, StorageFull)
"""No answer yet: the node is gone, going, too busy or full. Everything else is an answer."""

Call = Callable[[Client], Awaitable[tuple[Receipt, ...]]]


class Caller:
    """Any number of tasks that speak to one node. Made by `open_caller`."""

    def __init__(self, name: str, address: str, ledger: Ledger) -> None:
        self.name = name
        self.address = address
        self.ledger = ledger
        self._client: Client | None = None
        self._changed = trio.Event()

    async def client(self) -> Client:
        """The connection, waiting until there is one."""
        while self._client is None or self._client.closed.is_set():
            await self._changed.wait()
        return self._client

    async def message(self, data: bytes, key: str, what: str, *, sender: str = "", budget_ms: int = BUDGET_MS) -> Held:
        """Hand in a hub message: what is held of it. Never raises for what a node answers."""

        async def call(client: Client) -> tuple[Receipt, ...]:
            return await client.submit_message(data, budget_ms, sender=sender, author=sender or self.name, key=key)

        return await self._hand_in(Held(key, self.name, what), call)

    async def command(
        self, command: Command, key: str, what: str, *, text: str = "", budget_ms: int = BUDGET_MS
    ) -> Held:
        """Hand in a command: what is held of it. Never raises for what a node answers."""

        async def call(client: Client) -> tuple[Receipt, ...]:
            return (await client.submit(command, budget_ms, author=self.name, key=key),)

        return await self._hand_in(Held(key, self.name, what, text), call)

    async def read(self, ask: Callable[[Client], Awaitable[dict[str, object]]]) -> dict[str, object] | None:
        """One answer to a reading request, or None where the node does not answer it now."""
        client = self._client
        if client is None:
            return None
        try:
            return await ask(client)
        except ReplicaError:
            return None

    async def decided(self, operation: str) -> Receipt:
        """Wait for the verdict on an operation of this node, however often the node goes and comes back."""
        while True:
            client = await self.client()
            try:
                receipt = await client.verdict(operation, VERDICT_WAIT_MS)
            except TRY_AGAIN:
                await trio.sleep(RETRY_SECONDS)
                continue
            if receipt.verdict is not None:
                return receipt

    async def _hand_in(self, held: Held, call: Call) -> Held:
        self.ledger.open(held)
        while True:
            client = await self.client()
            began = trio.current_time()
            held.asked_at = held.asked_at or began
            held.tries += 1
            try:
                held.receipts = await call(client)
            except TRY_AGAIN:
                held.waited_ms = max(held.waited_ms, (trio.current_time() - began) * 1000)
                await trio.sleep(RETRY_SECONDS)
                continue
            except InvalidMessage as problem:
                held.invalid = problem
            except NotPermitted as problem:
                held.not_permitted = str(problem)
            held.answered_at = trio.current_time()
            held.waited_ms = max(held.waited_ms, (held.answered_at - began) * 1000)
            return held

    async def keep_connected(self) -> None:
        """Connect, and again whenever the connection is gone, for ever."""
        while True:
            try:
                async with open_client(self.address, expect=self.name) as client:
                    self._set(client)
                    await client.closed.wait()
            except ReplicaError:
                pass  # it is down, or not ready yet
            self._set(None)
            await trio.sleep(RETRY_SECONDS)

    def _set(self, client: Client | None) -> None:
        self._client = client
        self._changed.set()
        self._changed = trio.Event()


async def until_decided(callers: dict[str, Caller], receipts: Iterable[Receipt], decided: dict[str, Receipt]) -> None:
    """Wait until the site of each operation knows its verdict, and note it in `decided`; all of them wait together."""

    limit = trio.CapacityLimiter(WAITING_AT_ONCE)

    async def wait(operation: str) -> None:
        async with limit:
            decided[operation] = await callers[operation.partition("/")[0]].decided(operation)

    async with trio.open_nursery() as nursery:
        for receipt in receipts:
            if receipt.verdict is None and receipt.operation not in decided:
                nursery.start_soon(wait, receipt.operation)


@asynccontextmanager
async def open_callers(nodes: dict[str, str], ledger: Ledger) -> AsyncIterator[dict[str, Caller]]:
    """A caller for each of `nodes` (name → address), connected and reconnected until the block is left."""
    callers = {name: Caller(name, address, ledger) for name, address in nodes.items()}
    async with trio.open_nursery() as nursery:
        for caller in callers.values():
            nursery.start_soon(caller.keep_connected)
        try:
            yield callers
        finally:
            nursery.cancel_scope.cancel()
