"""The journal in memory: what this site did and the flushed state does not have yet, life by life.

A *run* is what one incarnation journalled: numbers without a gap, the opening (`seq` 0) first. Three marks go along it,

    trimmed … first … decided … sent … durable … last

`decided` is the gate's own number (rule 5: "`seq ≤ last` → duplicate"), so acknowledgement needs no bookkeeping of its
own: whatever the gate calls duplicate has its verdict. Records between `first` and `decided` are kept until the
*flushed* state calls them duplicate as well (rule 15); until then a crash could still take their effects from this
site's view.

Left out: bytes and positions (storage), and what may be sent when (replay.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from replica.cases.operations import Operation, OperationId
from replica.errors import StoreDamaged


class Run:
    """The records of one incarnation that are still held, in order of `seq`."""

    __slots__ = ("decided", "durable", "first", "held", "incarnation", "operations", "past", "sent")

    def __init__(self, incarnation: bytes, operations: Sequence[Operation] = ()) -> None:
        self.incarnation = incarnation
        self.operations = list(operations)
        self.first: int = self.operations[0].id.seq if self.operations else 0
        """The number of the first record held; the next one's where none is."""
        self.decided = -1
        """The highest number the gate calls duplicate in the state as fed; -1 for none."""
        self.durable = self.first - 1
        """The highest number that is durable here."""
        self.sent = -1
        """The highest number sent on the present line."""
        self.held = False
        """A record is being written anew: nothing of this run leaves before that is durable (rule 9)."""
        self.past = -1
        """The highest number that was taken back from what is remembered: the journal on disk holds none up to it."""

    @property
    def last(self) -> int:
        """The highest number given out."""
        return self.first + len(self.operations) - 1

    def get(self, seq: int) -> Operation | None:
        at = seq - self.first
        return self.operations[at] if 0 <= at < len(self.operations) else None

    def put(self, operation: Operation) -> None:
        """Another wording of a record that is held."""
        self.operations[operation.id.seq - self.first] = operation

    def append(self, operation: Operation) -> None:
        assert operation.id.seq == self.last + 1, f"seq {operation.id.seq} journalled after {self.last}"
        self.operations.append(operation)

    def take_back(self, operations: Sequence[Operation]) -> None:
        """Hold again what was let go, up to the first that is held. It is durable, and lies elsewhere."""
        last = operations[-1].id.seq
        assert last + 1 == self.first or not self.operations, f"{last} taken back before {self.first}"
        self.durable = self.durable if self.operations else max(self.durable, last)
        self.operations[:0] = operations
        self.first, self.past = operations[0].id.seq, last
        self.decided = self.sent = self.first - 1

    @property
    def offered_again(self) -> Iterator[Operation]:
        """What was taken back and has no verdict yet."""
        return islice(self.after(self.decided), max(0, self.past - max(self.decided, self.first - 1)))

    def after(self, seq: int) -> Iterator[Operation]:
        """The records above `seq`, in order."""
        for at in range(max(0, seq + 1 - self.first), len(self.operations)):
            yield self.operations[at]

    def drop_through(self, seq: int) -> list[Operation]:
        """Let the records up to `seq` go: they are trimmed. Returns them."""
        count = max(0, min(seq - self.first + 1, len(self.operations)))
        gone = self.operations[:count]
        del self.operations[:count]
        self.first += count
        return gone

    def cut_after(self, seq: int) -> list[Operation]:
        """Take the records above `seq` out. Their numbers are free again, or used up elsewhere: the caller knows."""
        keep = max(0, seq + 1 - self.first)
        taken = self.operations[keep:]
        del self.operations[keep:]
        self.durable = min(self.durable, self.last)
        self.sent = min(self.sent, self.last)
        return taken

    @property
    def undecided(self) -> int:
        """How many operations have no verdict; openings are not somebody's operations and do not count."""
        return max(0, self.last - max(self.decided, self.first - 1, 0))

    @property
    def is_settled(self) -> bool:
        """Whether every record, the opening too, has its verdict."""
        return self.last <= max(self.decided, self.first - 1)


class Journal:
    """All runs, in the order of their first record."""

    __slots__ = ("_by_incarnation", "runs")

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._by_incarnation: dict[bytes, Run] = {}

    def __iter__(self) -> Iterator[Operation]:
        for run in self.runs:
            yield from run.operations

    def run(self, incarnation: bytes) -> Run | None:
        return self._by_incarnation.get(incarnation)

    def open(self, run: Run, later: Collection[bytes] = ()) -> Run:
        """Take a run in, before those of the lives in `later`, behind all others."""
        assert run.incarnation not in self._by_incarnation, f"incarnation {run.incarnation.hex()} journalled twice"
        places = (place for place, other in enumerate(self.runs) if other.incarnation in later)
        self.runs.insert(next(places, len(self.runs)), run)
        self._by_incarnation[run.incarnation] = run
        return run

    def close(self, run: Run) -> None:
        """Let an empty run go."""
        assert not run.operations, f"a run with {len(run.operations)} records is let go"
        self.runs.remove(run)
        del self._by_incarnation[run.incarnation]

    def get(self, operation: OperationId) -> Operation | None:
        run = self._by_incarnation.get(operation.incarnation)
        return None if run is None else run.get(operation.seq)

    def put(self, operation: Operation) -> None:
        """Another wording of a record that is held."""
        self._by_incarnation[operation.id.incarnation].put(operation)

    def is_durable(self, operation: OperationId) -> bool:
        """Whether the record is held and durable."""
        run = self._by_incarnation.get(operation.incarnation)
        return run is not None and run.first <= operation.seq <= run.durable

    @property
    def undecided(self) -> int:
        return sum(run.undecided for run in self.runs)

    def ends(self) -> dict[bytes, int]:
        """Per run that has something undecided, its last number: what a return has to wait for."""
        return {run.incarnation: run.last for run in self.runs if not run.is_settled}


def runs_found(site: str, found: Sequence[Operation], mended: Sequence[Operation]) -> list[Run]:
    """The runs of a journal as found on disk, `mended` standing in for the records that could not be read.

    Raises StoreDamaged where a number is missing: everything behind it would wait for ever (rule 5), so a person must
    look. The store itself never leaves such a gap.
    """
    records: dict[bytes, dict[int, Operation]] = {}
    for operation in [*found, *mended]:
        if operation.id.site != site:
            raise StoreDamaged(f"journal record {operation.id}", f"is not of the site {site}")
        records.setdefault(operation.id.incarnation, {})[operation.id.seq] = operation
    runs = []
    for incarnation, by_seq in records.items():
        run = Run(incarnation, [by_seq[seq] for seq in sorted(by_seq)])
        for expected, operation in enumerate(run.operations, run.first):
            if operation.id.seq != expected:
                raise StoreDamaged(f"journal record {site}/{incarnation.hex()}/{expected}", "is missing")
        run.durable = run.last
        runs.append(run)
    return runs
