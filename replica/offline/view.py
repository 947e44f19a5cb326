"""The working view: the agreed state with this site's own undecided operations on top (rule 14).

"State at index i plus the journal through the same apply *and the same gate*, on one snapshot of (state, last)."
Without the gate an operation would be applied twice in the moment when the feed has brought it and the journal still
holds it. With it there is no such moment: the very state that contains the operation says so, and the view is made of
that state.

The view is made when it is first read, kept, and carried on by each new own operation. When the state below moves, only
what that concerns is made anew, with the next read: an operation is concerned if a record that it looked at or set has
changed below, if it was decided, or if it shares a record that somebody sets with an operation that is concerned:

    journal     1: P0 for case a   2: a note on case b   3: a note on case a   4: a step of a vehicle of case b
    below       the entry that decides 1               → 1 goes; 3 is made anew; 2 and 4 stay as they are

So what a feed entry costs a reader is what it concerns, however long the journal is; and where nobody reads it costs
next to nothing. Everything is made anew where that cannot be told: where lives were opened, where an operation did not
pass the gate, or looked at records by how their keys begin, and where something was damaged; and where so much is
concerned that it costs less.

A damaged record of the state below hides what it says and nothing else. An operation that cannot be shown without it is
left out; its number is used up all the same, else the gate would let nothing behind it pass. Where the damaged record
is this site's own count of lives and numbers, a stand-in takes its place in the view, until the state is rebuilt.

Left out: the index that what is tentative will get. It stands at `TENTATIVE_INDEX` meanwhile.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from contextlib import suppress

from msgspec.msgpack import Encoder

from replica.cases import keys
from replica.cases.draft import Draft, drafted
from replica.cases.gate import load_site, load_stream
from replica.cases.machine import Foreseen, apply_tentative, foresee
from replica.cases.operations import Operation, OperationId
from replica.cases.records import Layer, Overlay, Records
from replica.cases.state import STREAM, SiteRecord, Stream
from replica.cases.verdicts import VerdictKind
from replica.errors import StoreDamaged
from replica.offline.lives import tombstone

TENTATIVE_INDEX = 1 << 48
"""Above all that anybody can have seen; and a whole number to every reader of JSON."""
LEAST_DEAD = 1000
LEAST_ANEW = 1000
"""A view of so many operations is begun anew where most of them are concerned: what is decided need not be taken out
one by one then."""

_encode = Encoder(order="deterministic").encode


_NOT_BY_KEY = (keys.LEVEL, keys.STREAMS, keys.SITES)
"""How the keys begin of what concerns a view otherwise than that somebody looked at it."""


class _Taken:
    """An operation that is in the view, the verdict it may get, and what it hangs on."""

    __slots__ = ("kind", "operation", "touched", "written")

    def __init__(self, operation: Operation, foreseen: Foreseen) -> None:
        self.operation = operation
        self.kind = foreseen.decided.verdict.kind
        self.touched = tuple(foreseen.touched)
        self.written = tuple(foreseen.written)


class WorkingView:
    """A cache of the view over `base`, a live state that others move forward (and then say so by `moved`)."""

    __slots__ = (
        "_base",
        "_by_key",
        "_changed",
        "_dead",
        "_foreseen",
        "_keyed",
        "_layer",
        "_next",
        "_numbers",
        "_overlay",
        "_pending",
        "_plain",
        "_recount",
        "_stale",
        "_taken",
        "_writers",
    )  # fmt: skip

    def __init__(self, base: Records) -> None:
        self._base = base
        self._overlay: Overlay | None = None
        self._reset()

    def _reset(self) -> None:
        self._layer = Layer()
        self._pending: deque[Operation] = deque()
        """Own operations that are not in the view yet, in order."""
        self._taken: dict[int, _Taken] = {}
        """Those that are, by their place in the journal's order."""
        self._numbers: dict[OperationId, int] = {}
        self._by_key: dict[bytes, list[int]] = {}
        """Who looked at a record or set it. May name some that do not any more."""
        self._writers: Counter[bytes] = Counter()
        self._foreseen: Counter[VerdictKind] = Counter()
        self._keyed = 0
        self._recount = False
        """What is counted of this site, below or foreseen, has changed."""
        self._stale: set[int] = set()
        self._changed: set[bytes] = set()
        """What changed below of the records that anybody looked at or set; whom it concerns is found for who reads."""
        self._next = self._dead = 0
        self._plain = False
        """What an operation here hangs on cannot be told: with the next move all is made anew."""

    def add(self, operation: Operation) -> None:
        """A new own operation, behind all others."""
        if self._overlay is not None:
            self._pending.append(operation)

    def invalidate(self) -> None:
        """The state below, or the journal but for its end, is another one now."""
        self._overlay = None
        self._reset()

    def moved(self, changed: Iterable[bytes], decided: Collection[OperationId]) -> None:
        """The state below has other records under these keys now, and the verdicts on these own operations."""
        if self._overlay is None:
            return
        if self._plain:
            self.invalidate()
            return
        moved = frozenset(changed)
        for key in [key for key in moved if key[:1] in _NOT_BY_KEY]:
            if key == keys.LEVEL or (key[:1] == keys.STREAMS and self._is_of_another_life(key)):
                self.invalidate()
                return
            self._recount = self._recount or (key[:1] == keys.SITES and key in self._layer)
        self._changed |= moved & self._by_key.keys()
        for ident in decided:
            number = self._numbers.pop(ident, None)
            if number is not None:
                self._stale.add(number)
        if not self._numbers and not self._pending:
            self.invalidate()  # nothing is left on top: the counts, too, are the state's own again

    def _is_of_another_life(self, key: bytes) -> bool:
        """Whether the record of a life of this site has changed below by what is not in the view: what an opening in
        the view says of its store (rule 7) may be otherwise then."""
        taken = next(iter(self._taken.values()), None)
        if taken is None or not key.startswith(keys.STREAMS + keys.name(taken.operation.id.site) + b"\0"):
            return False
        above, below = self._layer.get(key), self._base.get(key)
        return above is None or below is None or STREAM.decode(below).last > STREAM.decode(above).last

    @property
    def pending(self) -> int:
        """How many operations the next read has to take in."""
        return len(self._pending)

    def records(self, undecided: Iterable[Operation], most: int | None = None) -> Overlay:
        """The view. `undecided`: the journal's operations without a verdict, in order. `most`: do no more than take in
        so many: for who makes it ready little by little, and does not read it yet."""
        if self._overlay is None:
            self._overlay = Overlay(self._base, self._layer)
            self._pending.extend(undecided)
        if self._stale or self._changed:
            self._make_anew(undecided)
        if self._recount:
            self._count_anew()
        for _ in range(len(self._pending) if most is None else min(most, len(self._pending))):
            self._take_in(self._pending.popleft())
        return self._overlay

    # ------------------------------------------------------------------ taking in

    def _take_in(self, operation: Operation) -> None:
        """What the gate does not let pass (duplicate here, or waiting for another) leaves the view as it was."""
        assert self._overlay is not None, f"{operation.id} is taken into a view that is not made"
        try:
            foreseen = foresee(self._overlay, operation, TENTATIVE_INDEX, operation.clock.wall_ms)
        except StoreDamaged as damaged:
            self._plain = True
            _without(self._overlay, operation, damaged.record)
            return
        if foreseen is None:
            self._plain = True
            return
        self._plain = self._plain or foreseen.scanned
        self._numbers[operation.id] = self._next
        self._put(self._next, operation, foreseen)
        self._next += 1

    def _put(self, number: int, operation: Operation, foreseen: Foreseen) -> None:
        taken = self._taken[number] = _Taken(operation, foreseen)
        self._writers.update(taken.written)
        self._foreseen[taken.kind] += 1
        self._keyed += bool(operation.key)
        for key in taken.touched:
            self._by_key.setdefault(key, []).append(number)

    # ------------------------------------------------------------------ making anew

    def _make_anew(self, undecided: Iterable[Operation]) -> None:
        """Take out all that is concerned, then put back what is not decided, in its order."""
        assert self._overlay is not None, f"{len(self._stale)} operations are stale in a view that is not made"
        for key in self._changed:
            self._stale.update(number for number in self._by_key.get(key, ()) if number in self._taken)
        self._changed.clear()
        concerned = self._concerned()
        self._stale.clear()
        if len(self._taken) >= LEAST_ANEW and len(concerned) > len(self._taken) // 2:
            self._begin_anew(undecided)
            return
        self._recount = True
        out = [(number, self._taken.pop(number)) for number in sorted(concerned)]
        for _, taken in out:
            self._writers.subtract(taken.written)
            self._foreseen[taken.kind] -= 1
            self._keyed -= bool(taken.operation.key)
            for key in taken.written:
                self._layer.forget(key)
                if not self._writers[key]:
                    del self._writers[key]
        for number, taken in out:
            if taken.operation.id in self._numbers:
                self._take_again(number, taken.operation)
        self._dead += len(out)
        if self._dead > max(LEAST_DEAD, len(self._taken)):
            self._tidy()

    def _begin_anew(self, undecided: Iterable[Operation]) -> None:
        """At one go, as what else is concerned: in slices a feed that moves on in between would let it never end."""
        self._reset()
        self._overlay = Overlay(self._base, self._layer)
        for operation in undecided:
            self._take_in(operation)

    def _count_anew(self) -> None:
        """Of this site's own record: what the state counts, and what may come on top."""
        self._recount = False
        taken = next(iter(self._taken.values()), None)
        if taken is None:
            return
        site = taken.operation.id.site
        below, above = load_site(drafted(self._base), site), load_site(Draft(self._overlay or self._base), site)
        pairs = zip(VerdictKind, below.counters, strict=True)
        counters = tuple(number + self._foreseen[kind] for kind, number in pairs)
        keyed = below.keyed + self._keyed
        record = SiteRecord(site, above.current, above.restored, counters, keyed)
        self._layer[keys.site(site)] = _encode(record)

    def _concerned(self) -> set[int]:
        found, look = set(self._stale), list(self._stale)
        while look:
            for key in self._taken[look.pop()].touched:
                if self._writers[key]:
                    more = [number for number in self._by_key[key] if number not in found and number in self._taken]
                    found.update(more)
                    look += more
        return found

    def _take_again(self, number: int, operation: Operation) -> None:
        assert self._overlay is not None, f"{operation.id} is taken into a view that is not made"
        try:
            foreseen = foresee(self._overlay, operation, TENTATIVE_INDEX, operation.clock.wall_ms, again=True)
        except StoreDamaged:
            self._plain = True  # shown without it until the next move, then made anew as a whole
            return
        assert foreseen is not None, f"{operation.id} does not pass a gate that nobody asks"
        self._plain = self._plain or foreseen.scanned
        self._put(number, operation, foreseen)

    def _tidy(self) -> None:
        """Forget who touched what once and is gone."""
        self._dead = 0
        self._by_key = {}
        for number, taken in sorted(self._taken.items()):
            for key in taken.touched:
                self._by_key.setdefault(key, []).append(number)


def _without(overlay: Overlay, operation: Operation, record: str) -> None:
    """Show the operation without what the damaged record says; where that cannot be, leave it out."""
    _stand_in(overlay, operation)
    use_up = tombstone(operation.id, f"{record} is damaged")
    for instead in (operation, use_up):
        with suppress(StoreDamaged):
            apply_tentative(overlay, instead, TENTATIVE_INDEX, operation.clock.wall_ms)
            return


def _stand_in(overlay: Overlay, operation: Operation) -> None:
    """In place of this site's own records that cannot be read. Openings count as accepted in the view (rule 14)."""
    site, incarnation, seq = operation.id.site, operation.id.incarnation, operation.id.seq
    try:
        load_site(drafted(overlay), site)
    except StoreDamaged:
        overlay.put(keys.site(site), _encode(SiteRecord(site, incarnation, False, (0,) * len(VerdictKind))))
    try:
        load_stream(drafted(overlay), site, incarnation)
    except StoreDamaged:
        overlay.put(keys.stream(site, incarnation), _encode(Stream(max(0, seq - 1), None, None, 0, False)))
