"""Which undecided own operations can change who is in charge, and of what.

A command is checked against authority in the *working view*: a case this site opened a minute ago, cut off, is its own.
But the view is remade whenever the feed moves, and most commands meet no such operation. Where none of the undecided
could make a difference, the agreed state answers the same, at the cost of three reads.

Conservative on purpose: what cannot be told counts as making a difference.
"""

from __future__ import annotations

from collections import Counter

from replica.cases.authority import subject_of
from replica.cases.commands import (
    Command,
    DecideConflict,
    HandBack,
    Opening,
    RegisterOrganisation,
    Report,
    TakeOver,
    TransferCase,
)
from replica.cases.operations import Operation, OperationId

Subject = tuple[str, str]
ANY: Subject = ("", "")
"""Stands for every subject: an operation that may change the charge of any."""


def shapes(operation: Operation) -> frozenset[Subject]:
    """The subjects whose charge the operation may change."""
    match operation.payload:
        case Report(subjects=subjects):
            return frozenset((one.kind, one.id) if one.id else ANY for one in subjects)
        # An opening enters its site into the state, and with it all that the site owns.
        case Opening() | TakeOver() | HandBack() | TransferCase() | RegisterOrganisation() | DecideConflict():
            return frozenset((ANY,))
        case _:
            return frozenset()


class Shapers:
    """The undecided own operations that count, by what they may change."""

    __slots__ = ("_count", "_of")

    def __init__(self) -> None:
        self._of: dict[OperationId, frozenset[Subject]] = {}
        self._count: Counter[Subject] = Counter()

    def add(self, operation: Operation) -> None:
        subjects = shapes(operation)
        if subjects:
            self._of[operation.id] = subjects
            self._count.update(subjects)

    def remove(self, ident: OperationId) -> None:
        """It is decided, or never was."""
        subjects = self._of.pop(ident, frozenset())
        self._count.subtract(subjects)

    @property
    def may_change_epochs(self) -> bool:
        return self._count[ANY] > 0

    def may_change(self, command: Command) -> bool:
        """Whether an undecided operation may decide what `permitted` says of the command."""
        if self._count[ANY] > 0:
            return True
        subject = subject_of(command)
        return subject is not None and self._count[subject] > 0
