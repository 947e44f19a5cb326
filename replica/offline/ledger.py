"""The durable side of a site: what lies in its journal, what is being written to it, and what may go from it.

The ledger holds the runs of the journal (journal.py), the one write under way (writing.py) and the numbers of the
flushed state (flushed.py), and keeps them in step with each other. It knows the lives of the store: it takes over the
journal found on disk, opens the new life, words openings anew, and drains what was closed.

Left out: callers, the line, and when to look (core.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Records
from replica.offline import ahead, lives
from replica.offline.ahead import Break, Span, TakenBack
from replica.offline.flushed import FlushedGate
from replica.offline.journal import Journal, Run, runs_found
from replica.offline.writing import Write, Writing


class Ledger:
    """`base` is the replicated state, live; `incarnation` the life that is being lived; `counted` what the store's
    journal has counted, and `gone` what was passed over already (ahead.py)."""

    __slots__ = (
        "_base",
        "_counted",
        "_drained",
        "_leftovers",
        "_site",
        "flushed",
        "gone",
        "incarnation",
        "journal",
        "trim",
        "writing",
    )

    def __init__(
        self,
        site: str,
        incarnation: bytes,
        base: Records,
        retry_ms: int,
        counted: Sequence[tuple[bytes, int]] = (),
        gone: Sequence[Span] = (),
    ) -> None:
        self._site = site
        self._base = base
        self.incarnation = incarnation
        self.journal = Journal()
        self.writing = Writing(retry_ms)
        self.flushed = FlushedGate()
        self.trim: list[tuple[bytes, int]] = []
        """What may go from the disk: per incarnation, the records up to this number."""
        self._drained: dict[bytes, int] = {}
        """Incarnation → `closed_at`, of the lives whose records above that are in a drain (rule 8)."""
        self._leftovers: dict[bytes, int] = {}
        """Incarnation → the last of its records that still lie on the disk though a drain there holds them."""
        self._counted = dict(counted)
        """Every life journalled in this store, in the order of openings, with its last number."""
        self.gone = list(gone)
        """What was agreed once, is not in the state any more, and cannot be offered again."""

    # ------------------------------------------------------------------ opening the store

    def take_over(self, found: Sequence[Operation], damaged: Sequence[tuple[bytes, int]]) -> list[OperationId]:
        """Take over the journal found on disk. Returns the damaged records that had to be replaced.

        The base is as flushed now, so what its gate calls duplicate may go at once (rule 15). Raises StoreDamaged where
        a number is missing."""
        mended = lives.mend(self._base, self._site, found, damaged)
        runs = runs_found(self._site, found, mended)
        self._drained = lives.drains_in(runs, self._base, self._site)
        for run in self._in_order(runs):
            self._leave_to_drain(run)
            self.journal.open(run)
            stream = lives.stream_of(self._base, self._site, run.incarnation)
            if stream is not None:
                run.decided = run.sent = stream.last
                self.flushed.opened(run.incarnation, stream.last)
        self.let_go()
        return [operation.id for operation in mended if self.reword(operation)]

    def _in_order(self, runs: Sequence[Run]) -> list[Run]:
        """Lives in the order of openings, and each drain behind the life that it drains."""
        names = list(self._counted)
        sources = {lives.drain_incarnation(source, at): source for source, at in self._drained.items()}

        def place(run: Run) -> tuple[int, bool]:
            source = sources.get(run.incarnation, run.incarnation)
            return (names.index(source) if source in names else len(names)), source != run.incarnation

        return sorted(runs, key=place)

    def _leave_to_drain(self, run: Run) -> None:
        """A drain was journalled in one write with every record it drains: those are in it, or decided already."""
        closed_at = self._drained.get(run.incarnation)
        if closed_at is not None and run.last > closed_at:
            self._leftovers[run.incarnation] = run.last
            run.cut_after(closed_at)

    def open(self, latest: tuple[bytes, int] | None, clock: HybridTime) -> Operation:
        """Rule 3: the opening is "seq 0 of the incarnation, journalled like any operation"."""
        if latest is not None and lives.is_drain(latest[0]):
            latest = self._life_before_drain(latest)
        if latest is not None and latest[0] in self._drained:
            # Its records above the closing are in a drain: under its own name it never gets further than that.
            latest = latest[0], min(latest[1], self._drained[latest[0]])
        opening = lives.opening(self._site, self.incarnation, latest, clock)
        self.journal.open(Run(self.incarnation, [opening])).durable = -1
        self._counted[self.incarnation] = 0
        self.writing.add([opening])
        return opening

    def _life_before_drain(self, drain: tuple[bytes, int]) -> tuple[bytes, int] | None:
        """Which life came before, where the journal counted a drain last: the one that journalled beside it, else the
        drained one, all of whose records above its closing have a number in the drain."""
        own = [run for run in self.journal.runs if not lives.is_drain(run.incarnation)]
        if own:
            return own[-1].incarnation, own[-1].last
        stream = lives.stream_of(self._base, self._site, drain[0])
        for source, closed_at in sorted(self._drained.items()):
            if lives.drain_incarnation(source, closed_at) == drain[0]:
                return source, closed_at + drain[1]
        return None if stream is None or stream.prev is None else (stream.prev, stream.prev_last + drain[1])

    # ------------------------------------------------------------------ writing

    @property
    def own(self) -> Run:
        """The run of the life that is being lived."""
        run = self.journal.run(self.incarnation)
        assert run is not None, f"the present life {self.incarnation.hex()} has no run"
        return run

    def issue(self, operation: Operation) -> None:
        """A new operation, to be written soon: somebody waits for it."""
        self.own.append(operation)
        self.writing.add([operation])
        self.writing.issued()

    def reword(self, operation: Operation) -> bool:
        """Put another wording in a record's place. Nothing of its life leaves before that is durable (rule 9). False
        where the record is not held any more. What was taken back is worded anew in memory alone, and so again
        whenever it is taken back."""
        run = self.journal.run(operation.id.incarnation)
        if run is None or run.get(operation.id.seq) is None:
            return False
        run.put(operation)
        if operation.id.seq > run.past:
            self.writing.reword(operation)
            self._hold()
        return True

    def journalled(self, number: int) -> Write | None:
        """Todo `number` is durable; what was written, None where this is about no write under way."""
        write = self.writing.done(number)
        if write is None:
            return None
        for operation in write.operations:
            run = self.journal.run(operation.id.incarnation)
            if run is not None:
                run.durable = max(run.durable, min(operation.id.seq, run.last))
        self._leftovers.update(write.leftovers)
        self._hold()
        self.let_go()
        return write

    def unwritten(self, number: int, now_ms: int) -> list[Operation] | None:
        """A full disk refused Todo `number`: all that is not durable, in order and as it is worded now. To be sorted
        out and given to `write_again`."""
        operations = self.writing.refused(number, now_ms)
        if operations is None:
            return None
        present = [self.journal.get(operation.id) for operation in operations]
        return [operation for operation in present if operation is not None]

    def write_again(self, operations: Sequence[Operation]) -> None:
        """Of what was refused, this is tried again; the other numbers of the present life are free, they never left
        this process. An operation given here takes the place of the one that had its number."""
        for operation in operations:
            self.journal.put(operation)
        own = [operation.id.seq for operation in operations if operation.id.incarnation == self.incarnation]
        self.own.cut_after(max(own, default=self.own.durable))
        self.writing.keep(operations)
        self._hold()

    def _hold(self) -> None:
        for run in self.journal.runs:
            run.held = self.writing.is_reworded(run.incarnation)

    # ------------------------------------------------------------------ letting go

    def flushed_to(self, index: int) -> None:
        """The base is durable up to `index`."""
        self.flushed.flushed(index)
        self.let_go()

    def let_go(self) -> None:
        """Trim (rule 15): "only what the gate calls duplicate in the *flushed* state". What a drain holds goes once its
        own life, up to the closing, is flushed: a trim takes everything below as well."""
        for incarnation in sorted(self._leftovers):
            if self.flushed.last(incarnation) >= self._drained[incarnation]:
                self.trim.append((incarnation, self._leftovers.pop(incarnation)))
        for run in list(self.journal.runs):
            upto = min(self.flushed.last(run.incarnation), run.durable)
            if run.operations and run.first <= upto:
                self.trim.append((run.incarnation, upto))
                self.writing.forget(operation.id for operation in run.drop_through(upto))
                self._hold()
            if not run.operations and run.incarnation != self.incarnation:
                self.journal.close(run)

    # ------------------------------------------------------------------ ahead of the state

    @property
    def counted(self) -> dict[bytes, int]:
        """Every life journalled in this store, in the order of openings, with its last number."""
        return {**self._counted, self.incarnation: self.own.last}

    def went_back(self) -> bool:
        """Another state is in place. Whether its gate stands below numbers that were known to be decided."""
        names = {*self.flushed.lives(), *(run.incarnation for run in self.journal.runs)}
        streams = {name: lives.stream_of(self._base, self._site, name) for name in sorted(names)}
        gates = {name: -1 if stream is None else stream.last for name, stream in streams.items()}
        below = self.flushed.is_above(gates) or any(run.decided > gates[run.incarnation] for run in self.journal.runs)
        if below:
            self.flushed.went_back(gates)
        return below

    def lacking(self) -> dict[bytes, int]:
        """See `ahead.lacking`."""
        return ahead.lacking(self._base, self._site, self.counted, self.journal, self.gone)

    def take_back(self, lacks: Mapping[bytes, int], found: Iterable[Operation]) -> TakenBack:
        """Hold again what `lacks` names, as far as it was `found`; nobody waits for the rest any more."""
        counted = self.counted
        taken = ahead.take_back(self._base, self._site, self.incarnation, counted, self.journal, lacks, found)
        order = list(counted)
        for back in taken.back:
            incarnation = back[0].id.incarnation
            run = self.journal.run(incarnation)
            if run is None:
                run = self.journal.open(Run(incarnation), order[order.index(incarnation) + 1 :])
            run.take_back(back)
        for operation in taken.reworded:
            self.reword(operation)
        self.gone += taken.gone
        return taken

    def fit(self, breaks: Sequence[Break]) -> None:
        """Fit what is undecided to the history that goes on (see `ahead.fitted`)."""
        for run in self.journal.runs:
            held = max(0, self.flushed.last(run.incarnation))
            for operation in list(run.after(run.decided)):
                run.put(ahead.fitted(operation, breaks, held))
        for operation in ahead.drained_in_vain(self._base, self._site, self.journal):
            self.journal.put(operation)

    # ------------------------------------------------------------------ a state that came whole

    def overtaken(self, incarnation: bytes, at_index: int) -> list[Operation]:
        """A run is set to where the gate of the state in place stands, entry `at_index`. Returns what is held of it and
        was decided meanwhile."""
        run = self.journal.run(incarnation)
        if run is None:
            return []
        stream = lives.stream_of(self._base, self._site, incarnation)
        last = -1 if stream is None else stream.last
        run.decided = min(run.decided, last)
        self.flushed.taken(at_index, incarnation, min(last, run.first - 1))
        return [operation for operation in run.after(run.decided) if operation.id.seq <= last]

    # ------------------------------------------------------------------ restored and closed lives

    def reopen(self) -> list[OperationId]:
        """Rule 7: "on *stale* the site … writes its opening anew with `replaces = current` from the feed". Returns the
        openings worded anew."""
        again = []
        for run in self.journal.runs:
            first = run.get(0)
            operation = lives.reopened(self._base, first) if first is not None and run.decided < 0 else None
            if operation is not None and self.reword(operation):
                again.append(operation.id)
        return again

    def drain(self) -> list[tuple[Operation, Operation]]:
        """Rule 8: "sends its *closed* records, unsynced ones too, under a `drain` incarnation". Returns each record as
        it was and as it is now.

        Also the closed records of earlier lives of this store, which nobody else may have. Not while a write is under
        way: it might still be refused, and then some of the drained numbers would stand for nothing.
        """
        moved: list[tuple[Operation, Operation]] = []
        if self.writing.is_under_way:
            return moved
        for run in list(self.journal.runs):
            stream = lives.stream_of(self._base, self._site, run.incarnation)
            if stream is None or stream.closed_at is None or run.last <= stream.closed_at:
                continue
            if self.journal.run(lives.drain_incarnation(run.incarnation, stream.closed_at)) is not None:
                # Drained in an earlier life, which could not be seen when this store was opened (a damaged record).
                self._drained[run.incarnation] = stream.closed_at
                self._leave_to_drain(run)
            else:
                moved += self._drain(run, stream.closed_at)
        return moved

    def _drain(self, run: Run, closed_at: int) -> list[tuple[Operation, Operation]]:
        assert run.first <= closed_at + 1, f"{run.incarnation.hex()} is drained from {run.first}, closed at {closed_at}"
        durable = run.durable
        closed = run.cut_after(closed_at)
        self.writing.forget(operation.id for operation in closed)
        self._hold()
        drained = lives.relabelled(self._site, closed, run.incarnation, closed_at)
        self._drained[run.incarnation] = closed_at
        # What later lives did builds upon it: it goes before them.
        order = list(self.counted)
        later = order[order.index(run.incarnation) + 1 :] if run.incarnation in order else []
        self.journal.open(Run(drained[0].id.incarnation, drained), later).durable = -1
        self._counted[drained[0].id.incarnation] = drained[-1].id.seq
        self.writing.add(drained)
        if durable > closed_at:
            self.writing.leave(run.incarnation, durable)
        return list(zip(closed, drained[1:], strict=True))

    def present_id(self, operation: OperationId) -> OperationId:
        """Under which id an operation of this site goes now: a drain's, if its own life was closed before it."""
        closed_at = self._drained.get(operation.incarnation)
        if closed_at is None:
            stream = lives.stream_of(self._base, operation.site, operation.incarnation)
            closed_at = None if stream is None else stream.closed_at
        if closed_at is None or operation.seq <= closed_at or self.journal.get(operation) is not None:
            return operation
        return lives.drained_id(operation, closed_at)

    def undecided(self) -> Iterator[Operation]:
        """The records without a verdict, in order."""
        for run in self.journal.runs:
            yield from run.after(run.decided)
