"""Questions to the log's core that are answered in a later Ready: reads, hand-overs, changes of the membership.

The core answers each token once, whatever becomes of its role meanwhile, so who waits here is never forgotten.

    answer = await requests.ask(lambda token: raft_events.ReadRequested(now_ms(), token))

Leaves out: proposals, whose answer is their verdict (ingress.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import trio

from replica.errors import NotAvailable, NotPermitted, Overloaded, ReplicaError
from replica.raft.events import Event
from replica.raft.ready import Accepted, ReadConfirmed, Ready, Refusal, Refused, Transferred

Answered: TypeAlias = Accepted | Refused | ReadConfirmed | Transferred
RETRY_MS = 100
"""When to try again what was refused because too much waits: a few round trips later."""


class Requests:
    """Who waits for which token."""

    def __init__(self, step: Callable[[Event], None]) -> None:
        self._step = step
        self._tokens = 0
        self._waiting: dict[int, Callable[[Answered], None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def token(self) -> int:
        """A number for the next request or proposal; never 0, never the same twice."""
        self._tokens += 1
        return self._tokens

    def put(self, build: Callable[[int], Event], done: Callable[[Answered], None]) -> int:
        """Ask, and have `done` called with the answer, in the loop. Returns the token."""
        token = self.token()
        self._waiting[token] = done
        self._step(build(token))
        return token

    async def ask(self, build: Callable[[int], Event]) -> Answered:
        """Ask, and wait for the answer. Cancel it to stop waiting."""
        heard = trio.Event()
        answers: list[Answered] = []

        def done(answer: Answered) -> None:
            answers.append(answer)
            heard.set()

        token = self.put(build, done)
        try:
            await heard.wait()
        finally:
            self._waiting.pop(token, None)
        return answers[0]

    def take(self, ready: Ready) -> None:
        """Give each answer in a Ready to who waits for it."""
        answers: list[Answered] = [*ready.accepted, *ready.refused, *ready.reads, *ready.transfers]
        for answer in answers:
            done = self._waiting.pop(answer.token, None)
            if done is not None:
                done(answer)


def error_of(refused: Refused) -> ReplicaError:
    """A refusal of the core as an error, in words: surely not done, all of them."""
    words = refused.reason.value + (f": {refused.detail}" if refused.detail else "")
    match refused.reason:
        case Refusal.OVERLOADED:
            return Overloaded(words, RETRY_MS)
        case Refusal.NOT_LEADER | Refusal.TRANSFERRING | Refusal.UNCONFIRMED:
            return NotAvailable(words)
        case _:
            return NotPermitted(words)
