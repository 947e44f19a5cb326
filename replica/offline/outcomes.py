"""What became of this site's own operations, out of the four places that can know it.

    the journal            it is undecided, and kept here
    what is not flushed    its verdict came since (flushed.py)
    the local table        its verdict is on disk
    the state              "a number ≤ `last` with no kept verdict was applied"

The journal is asked first: where a cluster was founded anew, the table may hold a verdict of the history that was given
up. The state's is then the one that counts.

Left out: who is told of it (receipts.py), and asking the store for what the state lacks (core.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from replica.cases import queries
from replica.cases.draft import drafted
from replica.cases.gate import load_stream
from replica.cases.operations import OperationId
from replica.cases.records import Records
from replica.cases.verdicts import Verdict, VerdictKind
from replica.errors import StoreDamaged
from replica.offline import lives
from replica.offline.events import Outcome
from replica.offline.ledger import Ledger

Table = Callable[[OperationId], tuple[int, Verdict] | None]
"""Looks a verdict up in the local table: (index, verdict)."""


class Outcomes:
    """`forgetful`: the journal does not outlive the process, so nothing counts as kept in it."""

    __slots__ = ("_base", "_forgetful", "_ledger", "_site", "_table")

    def __init__(self, site: str, base: Records, ledger: Ledger, table: Table, forgetful: bool) -> None:
        self._site = site
        self._base = base
        self._ledger = ledger
        self._table = table
        self._forgetful = forgetful

    def outcome(self, operation: OperationId, looked_for: Mapping[bytes, int]) -> Outcome:
        """As `SiteCore.outcome`. `looked_for`: life → the number above which the state lacks it, of lives whose
        operations are looked for in what the store remembers."""
        operation = self._ledger.present_id(operation)
        run = self._ledger.journal.run(operation.incarnation)
        # First what is undecided: the local table may know a verdict of a history that was given up.
        if run is not None and self._ledger.journal.is_durable(operation) and operation.seq > run.decided:
            return Outcome("unknown" if self._forgetful else "journalled")
        if operation.seq > looked_for.get(operation.incarnation, operation.seq):
            return Outcome("journalled")
        if any(span.has(operation) for span in self._ledger.gone):
            return Outcome("unknown")
        known = self._known(operation)
        if known is not None:
            return Outcome("agreed", *known)
        stream = load_stream(drafted(self._base), operation.site, operation.incarnation)
        if stream is not None and operation.seq <= stream.last:
            return Outcome("agreed", *self.in_state(operation))
        return Outcome("unknown")

    def in_state(self, ident: OperationId) -> tuple[int, Verdict]:
        """ "A number ≤ `last` with no kept verdict was applied." The index it had is not known any more."""
        return queries.verdict_of(self._base, ident) or (0, Verdict(VerdictKind.APPLIED))

    def decided_anew(self, agreed: int) -> Iterator[tuple[OperationId, int, Verdict]]:
        """Own operations that the state has, and that this site knows as agreed after entry `agreed` of the history
        that was given up, with another verdict there: the one that counts is the state's, given here."""
        for incarnation, last in self._ledger.counted.items():
            stream = lives.stream_of(self._base, self._site, incarnation)
            # What its author held the verdict of is not kept in the state any more, and is as it was.
            above = range(0) if stream is None else range(min(last, stream.last), stream.released, -1)
            with suppress(StoreDamaged):
                for seq in above:
                    ident = OperationId(self._site, incarnation, seq)
                    known = self._known(ident)
                    if known is None or known[0] <= agreed:
                        break
                    index, verdict = self.in_state(ident)
                    if verdict != known[1] and {verdict.kind, known[1].kind} != {VerdictKind.APPLIED}:
                        yield ident, index, verdict

    def _known(self, ident: OperationId) -> tuple[int, Verdict] | None:
        return self._ledger.flushed.verdict(ident) or self._table(ident)
