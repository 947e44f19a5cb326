"""The desk: where callers hand in operations and get their receipts. It does what a site's core decides.

A site's desk has a journal on disk. A zone's own callers use the same desk with a journal that forgets
(docs/decisions/0004): it has the order and the exactly-once of a site, and says nothing is journalled that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from replica.cases.commands import Payload
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.config import Timing
from replica.errors import Closed, NotAvailable, NotPermitted, OutcomeUnknown, Overloaded, StorageFull
from replica.offline import events
from replica.offline.core import SiteConfig as CoreConfig
from replica.offline.core import SiteCore
from replica.runtime.bell import Bell, now_ms, wall_ms
from replica.wire.operation_codec import encode_operation


class Journal(Protocol):
    """Where a desk's operations are made durable. `done` is called in the loop, with the problem where there was
    one."""

    def append(
        self, records: Sequence[tuple[bytes, int, bytes]], rewrite: Sequence[tuple[bytes, int, bytes]], done: Done
    ) -> None: ...

    def trim(self, through: Sequence[tuple[bytes, int]]) -> None: ...


Done = Callable[[Exception | None], None]


class ForgetfulJournal:
    """Durable at once, and gone: for callers who are told `agreed` or nothing."""

    def append(
        self, records: Sequence[tuple[bytes, int, bytes]], rewrite: Sequence[tuple[bytes, int, bytes]], done: Done
    ) -> None:
        done(None)

    def trim(self, through: Sequence[tuple[bytes, int]]) -> None:
        return None


_NAMELESS = OperationId("-", bytes(16), 1)


@dataclass(slots=True)
class _Caller:
    bell: trio.Event
    receipt: events.Receipt | None = None


class Desk:
    """Steps the core, carries out what it wants, and answers callers. Everything happens in the loop's thread."""

    def __init__(
        self,
        core: SiteCore,
        journal: Journal,
        send: Callable[[Sequence[bytes]], None],
        keep: Callable[[Sequence[events.Decision]], None],
        log: Any,
        most_waiting: int,
        *,
        dormant: bool = False,
        recall: Callable[[Sequence[tuple[bytes, int]]], None] = lambda lives: None,
        answered: Callable[[Payload, events.Receipt | None], None] = lambda payload, receipt: None,
        moded: Callable[[events.Mode], None] = lambda mode: None,
    ) -> None:
        self._answered = answered
        self._moded = moded
        self.core = core
        self._journal = journal
        self._send = send
        self._keep = keep
        self._log = log
        self._most_waiting = most_waiting
        self._recall = recall
        self._dormant = dormant
        """Nothing is carried out before the first submit: a zone that nobody writes at opens no life of its own."""
        self._callers: dict[int, _Caller] = {}
        self._issued: list[events.Issue] = []
        """Handed in since the loop's turn began; the first of them takes them all in."""
        self._tokens = 0
        self._encoded: dict[tuple[bytes, int], tuple[Operation, bytes]] = {}
        self._turning = False
        self._closed = False
        self.journal_full = False
        """The disk had no room for the journal when it was last written to."""
        self._idle = trio.Event()
        self.bell = Bell()

    async def submit(
        self, payload: Payload, *, author: str, budget_ms: int, act_ms: int = 0, key: str = ""
    ) -> events.Agreed | events.KeptHere:
        """Hand in one operation and wait for its receipt, `budget_ms` at most.

        Raises InvalidMessage, NotPermitted, NotAvailable, StorageFull, Overloaded or Closed: surely not done;
        OutcomeUnknown: ask `core.outcome`.
        Cancelled before it is handed in, surely not done; after, the work goes on and `core.outcome` answers.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        # Once the core has given it a number it must go out; so whatever cannot be encoded is found before.
        encode_operation(Operation(_NAMELESS, 0, 0, HybridTime(0), act_ms, author, payload, key=key))
        if self._closed:
            raise Closed("this node is closing")
        if len(self._callers) >= self._most_waiting:
            raise Overloaded(f"{len(self._callers)} callers wait already", retry_after_ms=budget_ms)
        self._tokens += 1
        token, caller = self._tokens, _Caller(trio.Event())
        self._dormant = False
        self._callers[token] = caller
        try:
            self._issued.append(
                events.Issue(
                    now_ms=now_ms(),
                    wall_ms=wall_ms(),
                    token=token,
                    payload=payload,
                    author=author,
                    budget_ms=budget_ms,
                    act_ms=act_ms,
                    key=key,
                )
            )
            if len(self._issued) == 1:
                if len(self._callers) > 1:
                    # Whoever else runs in this turn of the loop puts its own beside it: the core is stepped once for
                    # all. Alone, nobody is waited for.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                issued, self._issued = self._issued, []
                self.step(*issued)
            await caller.bell.wait()
        finally:
            self._callers.pop(token, None)
            if self._closed and not self._callers:
                self._idle.set()
        self._answered(payload, caller.receipt)
        return _answer(caller.receipt)

    def step(self, *arrived: events.Event) -> None:
        """Events into the core, and all it then wants done out."""
        self.core.step(*arrived)
        self.turn()

    def turn(self) -> None:
        """Carry out what the core wants. Doing so may step it again (a journal that is durable at once)."""
        if self._dormant:
            # Nothing is carried out, but its mode goes by the hour all the same.
            self.bell.ring_before(self.core.deadline_ms)
            return
        if self._turning:
            return
        self._turning = True
        try:
            while self.core.has_todo():
                self._carry_out(self.core.todo())
        finally:
            self._turning = False
        self.bell.ring_before(self.core.deadline_ms)

    async def keep_time(self) -> None:
        """Tick the core at its deadlines, for ever."""
        await self.bell.turn_for_ever(lambda: self.core.deadline_ms, self._tick)

    def _tick(self) -> None:
        if now_ms() >= self.core.deadline_ms:
            self.step(events.Tick(now_ms()))

    def shut(self) -> None:
        """No more operations; those that were handed in go on."""
        self._closed = True

    async def until_idle(self) -> None:
        """Wait until nobody waits for a receipt. Only after `shut`."""
        await trio.lowlevel.checkpoint()
        if self._callers:
            await self._idle.wait()

    def close(self) -> None:
        """No more operations; who still waits is told that the outcome is not known yet."""
        self._closed = True
        for caller in self._callers.values():
            caller.bell.set()

    def _carry_out(self, todo: events.Todo) -> None:
        if todo.journal or todo.rewrite:
            append = [self._record(operation) for operation in todo.journal]
            rewrite = [self._record(operation) for operation in todo.rewrite]
            number = todo.number
            self._journal.append(append, rewrite, lambda problem: self._journalled(number, problem))
        if todo.send:
            self._send([self._bytes(operation) for operation in todo.send])
        for receipt in todo.receipts:
            caller = self._callers.get(receipt.token)
            if caller is not None:
                caller.receipt = receipt
                caller.bell.set()
        if todo.decisions:
            self._keep(todo.decisions)
            for decision in todo.decisions:
                self._encoded.pop((decision.operation.incarnation, decision.operation.seq), None)
        if todo.trim:
            self._journal.trim(todo.trim)
        if todo.recall:
            self._recall(todo.recall)
        if todo.mode is not None:
            self._log.info("mode", mode=todo.mode.value)
            self._moded(todo.mode)
        for note in todo.notes:
            self._log.info("site", note=note)

    def _journalled(self, number: int, problem: Exception | None) -> None:
        self.journal_full = isinstance(problem, StorageFull)
        if problem is None:
            self.step(events.Journalled(now_ms(), number))
        elif isinstance(problem, StorageFull):
            self.step(events.JournalRefused(now_ms(), number, str(problem)))
        else:
            self._log.error("journal-failed", problem=str(problem))

    def _record(self, operation: Operation) -> tuple[bytes, int, bytes]:
        self._encoded.pop((operation.id.incarnation, operation.id.seq), None)
        return operation.id.incarnation, operation.id.seq, self._bytes(operation)

    def _bytes(self, operation: Operation) -> bytes:
        """An operation is encoded once, however often it is journalled and sent; once more where it is worded anew."""
        name = (operation.id.incarnation, operation.id.seq)
        known, encoded = self._encoded.get(name, (None, b""))
        if known is not operation:
            encoded = encode_operation(operation)
            self._encoded[name] = operation, encoded
        return encoded


def _answer(receipt: events.Receipt | None) -> events.Agreed | events.KeptHere:
    match receipt:
        case events.Agreed() | events.KeptHere():
            return receipt
        case events.NotKnown(operation=operation):
            raise OutcomeUnknown(operation)
        case events.TurnedAway(why=why, untold=True):
            raise NotAvailable(why)
        case events.TurnedAway(why=why, full=full):
            raise StorageFull(why) if full else NotPermitted(why)
        case None:
            # It has a number and may be on disk: "surely not done" would be a lie.
            raise OutcomeUnknown("an operation handed in just before this node closed")


def desk_config(timing: Timing, *, forgetful: bool = False) -> CoreConfig:
    """The core's configuration out of the file's."""
    return CoreConfig(
        cut_off_after_ms=timing.cut_off_after_ms,
        stable_ms=timing.stable_ms,
        resend_ms=timing.resend_ms,
        forgetful=forgetful,
    )
