"""A site that is ahead of the state it is given: operations it had agreed are not in it any more (O17).

A cluster that is founded anew goes on from what one zone had. A site that was agreed with by the others is then ahead:
the gate of the new state stands below numbers that this site has trimmed from its journal long ago. Rule 5 lets nothing
of it pass before those come again, and nobody else has them. So the store remembers for a week what its journal has let
go of, and what is *lacking* is taken back from there and offered again, under its own ids and in order:

    lacking    the lives of this store whose numbers the state does not have and the journal does not hold
    taken back their operations, put before those that are held; the gate then does the rest, once each

What is not remembered any more cannot be offered, and nobody may wait for it for ever:

    filled     numbers missing within a life of which something is left: tombstones use them up, as for a record of the
               journal that cannot be read
    gone       a life of which nothing is left: it is passed over. The opening of the next one is worded anew, as coming
               from the last life that the state has (rule 6 waits for no number then, and closes that life where it is)

All of them are named to a person. And what an operation says of the history that was given up is *fitted* to the one
that goes on: what its author had seen there counts only up to the last entry that both have (rule 10), and verdicts it
says are held were verdicts of other entries (`have`). What was drained there because its life was closed, and is in the
state under its own name, is not offered a second time.

Left out: reading what is remembered, and what is shown of it (runtime); that two histories part (cases/generations.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from msgspec.structs import replace

from replica.cases import queries
from replica.cases.commands import Opening
from replica.cases.draft import drafted
from replica.cases.gate import load_stream
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Records
from replica.cases.state import Stream
from replica.errors import StoreDamaged
from replica.offline import lives
from replica.offline.journal import Journal

LOST = "agreed before the cluster was founded anew, and not remembered any more"


@dataclass(frozen=True, slots=True)
class Break:
    """A history that was given up: what came after `agreed` in it is not what may stand there now. What goes on begins
    with entry `begins`."""

    agreed: int
    begins: int


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers of one life, both ends included."""

    incarnation: bytes
    first: int
    last: int

    def has(self, operation: OperationId) -> bool:
        return operation.incarnation == self.incarnation and self.first <= operation.seq <= self.last


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What is to be done about all that is lacking."""

    back: tuple[tuple[Operation, ...], ...]
    """Life by life, in the order of openings, the operations to be put before those that are held; no number
    missing."""
    reworded: tuple[Operation, ...]
    """Openings that are held, worded anew."""
    filled: tuple[Span, ...]
    gone: tuple[Span, ...]

    @property
    def offered(self) -> tuple[Span, ...]:
        return tuple(Span(one[0].id.incarnation, one[0].id.seq, one[-1].id.seq) for one in self.back)


def breaks_in(records: Records) -> tuple[Break, ...]:
    """Every history that was given up on the way to this state, oldest first: one for each time the cluster was founded
    anew. () also where that cannot be read."""
    with suppress(StoreDamaged):
        return tuple(Break(one.from_index, one.index) for one in queries.generations(records))
    return ()


def fitted(operation: Operation, breaks: Sequence[Break], held: int) -> Operation:
    """The operation as it may be said now. `held`: up to which number of its own life the verdicts of the present
    history are durable here."""
    seen = operation.seen
    for one in breaks:
        if one.agreed < seen < one.begins:
            seen = one.agreed
    have = min(operation.have, held)
    if (seen, have) == (operation.seen, operation.have):
        return operation
    return replace(operation, seen=seen, have=have)


def lacking(
    records: Records, site: str, counted: Mapping[bytes, int], journal: Journal, gone: Iterable[Span]
) -> dict[bytes, int]:
    """Life → the gate's number, for each life of this store that has agreed numbers above it which neither the state
    nor the journal has. Never one whose numbers went into a drain that was journalled here: the drain has them.

    `counted`: every life journalled in this store with its last number, in the order of openings; `gone`: what was
    passed over already.
    """
    over = {span.incarnation for span in gone}
    found: dict[bytes, int] = {}
    for incarnation, last in counted.items():
        with suppress(StoreDamaged):  # nobody can tell: the state is rebuilt, and then it is looked again
            gate = _last_of(load_stream(drafted(records), site, incarnation))
            held = _first_held(journal, incarnation, last)
            if gate + 1 < held and incarnation not in over and gate < _top(counted, incarnation, last, gate):
                found[incarnation] = gate
    return found


def take_back(
    records: Records,
    site: str,
    own: bytes,
    counted: Mapping[bytes, int],
    journal: Journal,
    lacks: Mapping[bytes, int],
    found: Iterable[Operation],
) -> TakenBack:
    """What is to be done, given all that was found of what `lacks` (see `lacking`) names. `own`: the life that is being
    lived, which goes on under its numbers whatever is missing."""
    remembered: dict[bytes, dict[int, Operation]] = {}
    for operation in found:
        remembered.setdefault(operation.id.incarnation, {})[operation.id.seq] = operation
    plan = _Plan(records, site, journal)
    for incarnation, last in counted.items():
        if incarnation in lacks:
            first = lacks[incarnation] + 1
            upto = min(_first_held(journal, incarnation, last) - 1, _top(counted, incarnation, last, first - 1))
            kept = remembered.get(incarnation, {})
            if not kept and _first_held(journal, incarnation, last) > last and incarnation != own:
                plan.gone.append(Span(incarnation, first, upto))
            else:
                plan.take(incarnation, kept, first, upto)
        plan.lead_on(incarnation)
    return TakenBack(
        tuple(tuple(one) for one in plan.back.values()), tuple(plan.reworded), tuple(plan.filled), tuple(plan.gone)
    )


def drained_in_vain(records: Records, site: str, journal: Journal) -> list[Operation]:
    """Tombstones for what lies undecided in a drain and is in the state under its own name: in the history that was
    given up its life had been closed before it, in the one that goes on it was not."""
    found: list[Operation] = []
    for source, closed_at in lives.drains_in(journal.runs, records, site).items():
        run = journal.run(lives.drain_incarnation(source, closed_at))
        taken = _last_of(lives.stream_of(records, site, source)) - closed_at
        if run is not None and taken > 0:
            waiting = run.after(max(run.decided, 0))
            found += [lives.tombstone(one.id, "agreed under its own name") for one in waiting if one.id.seq <= taken]
    return found


class _Plan:
    """What becomes of the lives one after the other. `tail`: the latest that the state has, or will have when what is
    held and taken back is decided, with its last number then."""

    def __init__(self, records: Records, site: str, journal: Journal) -> None:
        self._records = records
        self._site = site
        self._journal = journal
        self._will: dict[bytes, int] = {}
        self.tail: tuple[bytes, int] | None = None
        self.back: dict[bytes, list[Operation]] = {}
        self.reworded: list[Operation] = []
        self.filled: list[Span] = []
        self.gone: list[Span] = []

    def take(self, incarnation: bytes, kept: Mapping[int, Operation], first: int, upto: int) -> None:
        """Numbers `first` to `upto`, with a stand-in where one is not remembered."""
        back = [kept.get(seq) or self._stand_in(incarnation, seq) for seq in range(first, upto + 1)]
        self.back[incarnation] = back
        self.filled += _spans(incarnation, (seq for seq in range(first, upto + 1) if seq not in kept))

    def _stand_in(self, incarnation: bytes, seq: int) -> Operation:
        ident = OperationId(self._site, incarnation, seq)
        if seq > 0:
            return lives.tombstone(ident, LOST)
        if lives.is_drain(incarnation):
            return lives.drain_without_past(ident)
        return lives.opening(self._site, incarnation, self.tail, HybridTime(0, 0))

    def lead_on(self, incarnation: bytes) -> None:
        """This life is the tail now, if it is ever to be one; where its opening waits for what will not come, it is
        worded anew."""
        stream = lives.stream_of(self._records, self._site, incarnation)
        run = self._journal.run(incarnation)
        back = self.back.get(incarnation, [])
        held = run.operations if run is not None else []
        if stream is None and not back and not held:
            return
        opening = next((one for one in (*back[:1], *held[:1]) if one.id.seq == 0), None)
        if stream is None and opening is not None:
            self._reword(opening, back)
        self._will[incarnation] = (held or back)[-1].id.seq if held or back else _last_of(stream)
        if not lives.is_drain(incarnation):
            self.tail = incarnation, self._will[incarnation]

    def _reword(self, operation: Operation, back: list[Operation]) -> None:
        opening = operation.payload
        if not isinstance(opening, Opening) or opening.drain or opening.prev is None:
            return
        if self._comes(opening.prev, opening.prev_last):
            return
        prev, prev_last = self.tail or (None, 0)
        again = replace(operation, payload=Opening(prev, prev_last, replaces=prev))
        if back:
            back[0] = again
        else:
            self.reworded.append(again)

    def _comes(self, prev: bytes, prev_last: int) -> bool:
        """Whether the gate will ever find the life before complete, or closed (rule 6)."""
        stream = lives.stream_of(self._records, self._site, prev)
        closed = stream is not None and stream.closed_at is not None
        return closed or max(_last_of(stream), self._will.get(prev, -1)) >= prev_last


def _last_of(stream: Stream | None) -> int:
    """The gate's number; -1 for a life it does not know."""
    return -1 if stream is None else stream.last


def _first_held(journal: Journal, incarnation: bytes, last: int) -> int:
    """The first number of a life that the journal holds; the next one to be given out where it holds none."""
    run = journal.run(incarnation)
    return run.first if run is not None and run.operations else last + 1


def _top(counted: Mapping[bytes, int], incarnation: bytes, last: int, gate: int) -> int:
    """The last number that this life has under its own name: above it they are in a drain that was journalled here. The
    gate's own number is tried first: that is the ordinary closed life, and it lacks nothing."""
    drains = {other for other in counted if lives.is_drain(other)}
    if drains and not lives.is_drain(incarnation):
        for closed_at in chain((gate,), range(last + 1)):
            if closed_at >= 0 and lives.drain_incarnation(incarnation, closed_at) in drains:
                return closed_at
    return last


def _spans(incarnation: bytes, numbers: Iterable[int]) -> Iterator[Span]:
    """Numbers that rise, as spans without a gap."""
    first = before = None
    for number in numbers:
        if first is None or before is None or number != before + 1:
            if first is not None and before is not None:
                yield Span(incarnation, first, before)
            first = number
        before = number
    if first is not None and before is not None:
        yield Span(incarnation, first, before)
