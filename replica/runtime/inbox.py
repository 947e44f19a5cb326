"""Messages of one kind from one peer, on their way from the task that reads them to the task that waits for them."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

from replica.errors import RemoteProtocolError
from replica.runtime.bell import Bell

T = TypeVar("T")

MOST_WAITING = 256
"""More than anybody was asked for at once: a peer that sends more does not keep to the protocol."""


class Silent(Exception):
    """Nothing came in time."""


class Inbox(Generic[T]):
    """A queue for one listener."""

    def __init__(self) -> None:
        self._held: deque[T] = deque()
        self._bell = Bell()

    def put(self, message: T) -> None:
        """Raises RemoteProtocolError where too much waits already. The same said twice in a row is one message."""
        if self._held and self._held[-1] == message:
            return
        if len(self._held) >= MOST_WAITING:
            raise RemoteProtocolError(f"{MOST_WAITING} messages wait already: more than was asked for")
        self._held.append(message)
        self._bell.ring()

    async def next(self, within_s: float) -> T:
        """The next message. Raises Silent where none comes within `within_s`."""
        with trio.move_on_after(within_s):
            while not self._held:
                await self._bell.wait()
        if not self._held:
            raise Silent(f"nothing came for {within_s:g} s")
        return self._held.popleft()

    def clear(self) -> None:
        """Forget what waits: it belongs to an attempt that is over."""
        self._held.clear()
