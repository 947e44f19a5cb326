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
    EndTakeOver,
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
"""Stands for every subject: an operation that may change who is in charge of any."""
CHARGES: Subject = ("charge", "")
"""Stands for what is said of whole Samu: who answers for their work, under which epoch, and which site serves whom."""


def shapes(operation: Operation) -> frozenset[Subject]:
    """What the operation may change."""
    match operation.payload:
        case Report(subjects=subjects):
            return frozenset((one.kind, one.id) if one.id else ANY for one in subjects)
        case TransferCase() | DecideConflict():
            return frozenset((ANY,))
        case TakeOver() | HandBack() | EndTakeOver() | RegisterOrganisation():
            return frozenset((ANY, CHARGES))
        # The first opening of all enters its site into the state, and with it all that the site owns.
        case Opening(prev=None):
            return frozenset((ANY, CHARGES))
        case _:
            return frozenset()


class Shapers:
    """The undecided own operations that count, by what they may change."""

    __slots__ = ("_count", "_last_seq", "_of", "changes")

    def __init__(self) -> None:
        self.changes = 0
        """How often what counts has changed."""
        self._last_seq: dict[bytes, int] = {}
        self._of: dict[OperationId, frozenset[Subject]] = {}
        self._count: Counter[Subject] = Counter()

    def add(self, operation: Operation) -> None:
        """An operation that is undecided; or another wording of one."""
        self.remove(operation.id)
        subjects = shapes(operation)
        if subjects:
            self._of[operation.id] = subjects
            self._count.update(subjects)
            self.changes += 1
            name = operation.id.incarnation
            self._last_seq[name] = max(operation.id.seq, self._last_seq.get(name, 0))

    def remove(self, ident: OperationId) -> None:
        """It is decided, or never was."""
        subjects = self._of.pop(ident, None)
        if subjects is None:
            return
        self.changes += 1
        self._count.subtract(subjects)
        for subject in subjects:
            if not self._count[subject]:
                del self._count[subject]

    def last_seq(self, incarnation: bytes) -> int:
        """The last operation of this life that ever counted: none behind it does. Its opening where none did."""
        return self._last_seq.get(incarnation, 0)

    @property
    def may_change_charges(self) -> bool:
        """Whether epochs and charges may be others in the view than agreed."""
        return self._count[CHARGES] > 0

    def may_change(self, command: Command) -> bool:
        """Whether an undecided operation may decide what `permitted` says of the command."""
        subject = subject_of(command)
        return self._count[ANY] > 0 or (subject is not None and self._count[subject] > 0)
