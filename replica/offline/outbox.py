"""What is wanted done, collected until it is asked for: many events, one `Todo`.

Receipts and what may go from the disk wait where they came about (receipts.py, ledger.py), and are handed in last.
"""

from __future__ import annotations

from collections.abc import Iterable

from replica.cases.operations import Operation
from replica.offline.events import Decision, Mode, Receipt, Todo
from replica.offline.writing import Write


class Outbox:
    """The fields are those of `Todo`, whose docstring says what each of them asks for."""

    __slots__ = ("decisions", "mode", "notes", "recall", "send")

    def __init__(self) -> None:
        self._empty()

    def _empty(self) -> None:
        self.send: list[Operation] = []
        self.decisions: list[Decision] = []
        self.recall: tuple[tuple[bytes, int], ...] = ()
        self.mode: Mode | None = None
        self.notes: list[str] = []

    def has_any(self) -> bool:
        """Whether there is anything to do but to write, to answer and to trim."""
        return bool(self.send or self.decisions or self.recall or self.notes or self.mode is not None)

    def todo(
        self, number: int, write: Write | None, receipts: Iterable[Receipt], trim: Iterable[tuple[bytes, int]]
    ) -> Todo:
        """All that there is, once. `write`: what is to become durable under this number."""
        todo = Todo(
            number=number,
            journal=() if write is None else write.operations,
            rewrite=() if write is None else write.rewrites,
            send=tuple(self.send),
            receipts=tuple(receipts),
            decisions=tuple(self.decisions),
            trim=tuple(trim),
            recall=self.recall,
            mode=self.mode,
            notes=tuple(self.notes),
        )
        self._empty()
        return todo
