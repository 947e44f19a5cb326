"""What is to be made durable next, and the one durable write that is under way.

Only one write is asked for at a time; what comes meanwhile waits for the next. That is the group commit, and it settles
what a full disk means: the refused write has no later one behind it that was taken, so no number is missing on disk.

Left out: what a refusal means for callers (core.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from replica.cases.operations import Operation, OperationId


@dataclass(frozen=True, slots=True)
class Write:
    """One durable write: records behind all others, records worded anew, and `leftovers`: what its being durable makes
    superfluous, per incarnation the last number."""

    number: int
    operations: tuple[Operation, ...]
    rewrites: tuple[Operation, ...]
    leftovers: tuple[tuple[bytes, int], ...]


class Writing:
    """`now_ms` is the core's clock. `retry_ms`: how long to wait after a refusal, unless something new is issued."""

    __slots__ = ("_leftovers", "_retry_at_ms", "_retry_ms", "_rewrites", "_under_way", "_unwritten")

    def __init__(self, retry_ms: int) -> None:
        self._retry_ms = retry_ms
        self._retry_at_ms: int | None = None
        self._unwritten: list[Operation] = []
        self._rewrites: dict[OperationId, Operation] = {}
        self._leftovers: list[tuple[bytes, int]] = []
        self._under_way: Write | None = None

    @property
    def is_under_way(self) -> bool:
        return self._under_way is not None

    def add(self, operations: Iterable[Operation]) -> None:
        """Further records, behind all others."""
        self._unwritten += operations

    def issued(self) -> None:
        """Somebody waits: a disk that was full is tried again at once."""
        self._retry_at_ms = None

    def leave(self, incarnation: bytes, last: int) -> None:
        """Once what waits now is durable, the records of `incarnation` up to `last` are superfluous."""
        self._leftovers.append((incarnation, last))

    def reword(self, operation: Operation) -> None:
        """Another wording of a record. Where an older one is on disk, or on its way there, it has to be written
        over."""
        for place, waiting in enumerate(self._unwritten):
            if waiting.id == operation.id:
                self._unwritten[place] = operation
                return
        self._rewrites[operation.id] = operation

    def is_reworded(self, incarnation: bytes) -> bool:
        """Whether another wording of one of its records is not durable yet: nothing of it may leave (rule 9)."""
        under_way = () if self._under_way is None else self._under_way.rewrites
        return any(ident.incarnation == incarnation for ident in [*self._rewrites, *(op.id for op in under_way)])

    def forget(self, gone: Iterable[OperationId]) -> None:
        """These records need not be written any more."""
        names = set(gone)
        self._unwritten = [operation for operation in self._unwritten if operation.id not in names]
        self._rewrites = {ident: operation for ident, operation in self._rewrites.items() if ident not in names}

    def can_start(self, now_ms: int) -> bool:
        if self._under_way is not None or not (self._unwritten or self._rewrites):
            return False
        return self._retry_at_ms is None or now_ms >= self._retry_at_ms

    def start(self, number: int) -> Write:
        write = Write(number, tuple(self._unwritten), tuple(self._rewrites.values()), tuple(self._leftovers))
        self._under_way, self._retry_at_ms = write, None
        self._unwritten, self._rewrites, self._leftovers = [], {}, []
        return write

    def done(self, number: int) -> Write | None:
        """The write under way, if it is durable with Todo `number`; None for a word about another one."""
        write = self._under_way
        if write is None or number < write.number:
            return None
        self._under_way = None
        return write

    def refused(self, number: int, now_ms: int) -> list[Operation] | None:
        """The disk was full: every record that is not durable, in order, to be sorted out and put back by `keep`."""
        write = self.done(number)
        if write is None:
            return None
        self._retry_at_ms = now_ms + self._retry_ms
        self._leftovers = [*write.leftovers, *self._leftovers]
        self._rewrites = {operation.id: operation for operation in write.rewrites} | self._rewrites
        return [*write.operations, *self._unwritten]

    def keep(self, operations: Iterable[Operation]) -> None:
        """What is tried again after a refusal. None of it is on disk, so no wording of it has to be written over."""
        self._unwritten = list(operations)
        for operation in self._unwritten:
            self._rewrites.pop(operation.id, None)

    def deadline_ms(self) -> int | None:
        """When a refused write is tried again; None where nothing waits for the hour."""
        waits = self._under_way is None and (self._unwritten or self._rewrites)
        return self._retry_at_ms if waits else None
