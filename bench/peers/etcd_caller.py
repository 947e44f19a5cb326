"""A caller of etcd that waits as little as one can: connections to all members held, and a fault gone round at once.

It writes through one member. Where that one breaks the connection, answers with an error, or is silent for longer
than its patience, it writes the same through all of them at once, again and again, until one has it. A put is the same
twice, so it may race itself. Its patience is set to four times a calm write, at least 10 ms: less, and a busy cluster
is asked everything twice; more, and a silent fault is gone round later than it could be.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Final

import trio

from bench.peers import etcd_wire as wire
from bench.peers.http import HttpLine, HttpLost
from replica.errors import ReplicaError

LEAST_PATIENCE_MS: Final = 10.0
PATIENCE_TIMES: Final = 4.0
RETRY_S: Final = 0.002
WITHIN_S: Final = 10.0
CALM_WRITES: Final = 50


class NotWritten(ReplicaError):
    """No member took it in time."""


class EtcdCaller:
    """`retry_s`: the pause after a member's error; many callers that all ask all members need a longer one."""

    def __init__(self, addresses: Iterable[str], retry_s: float = RETRY_S) -> None:
        self._lines = [HttpLine(address) for address in addresses]
        self._retry_s = retry_s
        self._at = 0
        self.patience_ms = 1000.0

    async def learn(self, key: bytes, size: int) -> None:
        """Some writes on a calm cluster, after which it knows how long to be patient; connected to all members."""
        for line in self._lines:
            await line.connect()
        taken = []
        for _ in range(CALM_WRITES):
            began = trio.current_time()
            await self.put(key, b"x" * size)
            taken.append((trio.current_time() - began) * 1000)
        self.patience_ms = max(LEAST_PATIENCE_MS, PATIENCE_TIMES * statistics.median(taken))

    def close(self) -> None:
        """Its connections. Whoever made it closes it."""
        for line in self._lines:
            line.close()

    async def put(self, key: bytes, value: bytes) -> None:
        """Returns once a member says it is written. Raises NotWritten past WITHIN_S."""
        body = wire.put_json(key, value)
        if await self._try(self._at, wire.PUT_JSON, body):
            return
        with trio.move_on_after(WITHIN_S):
            await self._race(wire.PUT_JSON, body)
            return
        raise NotWritten(f"no member of etcd wrote it within {WITHIN_S:g} s")

    async def fill(self, bodies: Iterable[bytes]) -> None:
        """Transactions, one after the other. Raises NotWritten."""
        for body in bodies:
            status, said = await self._lines[0].post(wire.TXN_JSON, body)
            if status != 200:
                raise NotWritten(f"etcd: {said!r}")

    async def _race(self, path: str, body: bytes) -> None:
        async with trio.open_nursery() as nursery:

            async def insist(place: int) -> None:
                while True:
                    if await self._try(place, path, body):
                        self._at = place
                        nursery.cancel_scope.cancel()
                        return
                    await trio.sleep(self._retry_s)

            for place in range(len(self._lines)):
                nursery.start_soon(insist, place)

    async def _try(self, place: int, path: str, body: bytes) -> bool:
        with trio.move_on_after(self.patience_ms / 1000):
            try:
                return (await self._lines[place].post(path, body))[0] == 200
            except HttpLost:
                pass
        return False
