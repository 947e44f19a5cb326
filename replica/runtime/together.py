"""One question for all who ask the same in one turn of the loop.

A linearizable read has to be confirmed by a quorum after it was asked (dissertation 6.4). Whoever asks before the
question has left may share it, so a hundred readers of one turn cost one question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from replica.errors import ReplicaError


class _Round:
    """One question, and who waits for it."""

    __slots__ = ("answer", "done", "problem")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: int | None = None
        self.problem: ReplicaError | None = None


class Together:
    """`ask`, shared. Called like it, and raises what it raises, each of those who share."""

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self._gathering: _Round | None = None

    async def __call__(self) -> int:
        while True:
            shared = self._gathering
            if shared is None:
                shared = await self._asked()
            else:
                await shared.done.wait()
            if shared.problem is not None:
                raise shared.problem
            if shared.answer is not None:
                return shared.answer
            # Who asked for all was cancelled: the rest ask again.

    async def _asked(self) -> _Round:
        shared = self._gathering = _Round()
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._gathering = None  # who comes now comes after the question has left
        try:
            shared.answer = await self._ask()
        except ReplicaError as problem:
            shared.problem = problem
        finally:
            shared.done.set()
        return shared
