"""One question for all who ask the same in one turn of the loop.

A linearizable read has to be confirmed by a quorum after it was asked (dissertation 6.4). Whoever asks before the
question has left may share it, so a hundred readers of one turn cost one question.

The first of them asks, with a timer of its own; who has as much patience needs none, and waits for the first. That is
the common case, and most of what a shared read costs is the one switch of tasks that is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from replica.errors import ReplicaError

ALIKE_S: Final = 0.001
"""Deadlines no further apart are one: who asks in the same turn with the same budget is a few µs later."""


class _Round:
    """One question, and who waits for it, besides the one who asks."""

    __slots__ = ("answer", "at_s", "problem", "waiting")

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        """When the one who asks gives up."""
        self.waiting: dict[trio.lowlevel.Task, None] = {}
        self.answer: int | None = None
        self.problem: ReplicaError | None = None

    async def wait(self) -> None:
        """Until there is an answer or a problem, or the one who asked is gone."""
        task = trio.lowlevel.current_task()
        self.waiting[task] = None

        def leave(_: object) -> trio.lowlevel.Abort:
            self.waiting.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def over(self) -> None:
        waiting, self.waiting = self.waiting, {}
        for task in waiting:
            trio.lowlevel.reschedule(task)


class Together:
    """`ask`, shared. Raises what it raises, in each of those who share."""

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self._gathering: _Round | None = None

    async def until(self, at_s: float) -> int | None:
        """The answer to a question that leaves after this call; None where there is none by `at_s` of the loop's
        clock."""
        while True:
            shared = self._gathering
            if shared is None:
                shared = await self._asked(at_s)
            elif at_s >= shared.at_s:
                await shared.wait()
            else:
                with trio.CancelScope(deadline=at_s):
                    await shared.wait()
            if shared.problem is not None:
                raise shared.problem
            if shared.answer is not None or trio.current_time() >= at_s - ALIKE_S:
                return shared.answer
            # Who asked for all was cancelled, or had less patience: the rest ask again.

    async def _asked(self, at_s: float) -> _Round:
        shared = self._gathering = _Round(at_s)
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._gathering = None  # who comes now comes after the question has left
        try:
            with trio.CancelScope(deadline=at_s):
                shared.answer = await self._ask()
        except ReplicaError as problem:
            shared.problem = problem
        finally:
            shared.over()
        return shared
