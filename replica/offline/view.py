"""The working view: the agreed state with this site's own undecided operations on top (rule 14).

"State at index i plus the journal through the same apply *and the same gate*, on one snapshot of (state, last)."
Without the gate an operation would be applied twice in the moment when the feed has brought it and the journal still
holds it. With it there is no such moment: the very state that contains the operation says so, and the view is made of
that state.

The view is made when it is read, kept, and carried on by each new own operation. When the state below moves it is
thrown away. So a read costs nothing while nothing moves, the cost of the new operations while the line is cut, and the
whole undecided journal after the feed brought something.

A damaged record of the state below hides what it says and nothing else. An operation that cannot be shown without it is
left out; its number is used up all the same, else the gate would let nothing behind it pass. Where the damaged record
is this site's own count of lives and numbers, a stand-in takes its place in the view, until the state is rebuilt.

Left out: making the view again in parts. After a feed entry only the subjects it touched, and own operations on those,
need it; that goes here once journals of 100,000 are read while they are replayed. What a change of the base invalidates
is decided in `invalidate` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from msgspec.msgpack import Encoder

from replica.cases import keys
from replica.cases.draft import drafted
from replica.cases.gate import load_site, load_stream
from replica.cases.machine import apply_tentative
from replica.cases.operations import Operation
from replica.cases.records import Overlay, Records
from replica.cases.state import SiteRecord, Stream
from replica.cases.verdicts import VerdictKind
from replica.errors import StoreDamaged
from replica.offline.lives import tombstone

_encode = Encoder(order="deterministic").encode


class WorkingView:
    """A cache of the view over `base`, a live state that others move forward (and then call `invalidate`)."""

    __slots__ = ("_base", "_more", "_overlay")

    def __init__(self, base: Records) -> None:
        self._base = base
        self._overlay: Overlay | None = None
        self._more: list[Operation] = []
        """Own operations that came since the view was made."""

    def add(self, operation: Operation) -> None:
        """A new own operation, behind all others."""
        if self._overlay is not None:
            self._more.append(operation)

    def invalidate(self) -> None:
        """The state below, or the journal but for its end, is another one now."""
        self._overlay = None
        self._more = []

    def records(self, undecided: Iterable[Operation], index: int) -> Overlay:
        """The view. `undecided`: the journal's operations without a verdict, in order; `index`: the state's own."""
        if self._overlay is None:
            self._overlay = Overlay(self._base)
            self._take_in(self._overlay, undecided, index)
        elif self._more:
            self._take_in(self._overlay, self._more, index)
        self._more = []
        return self._overlay

    def _take_in(self, overlay: Overlay, operations: Iterable[Operation], index: int) -> None:
        for operation in operations:
            # At the index that comes next, whatever it will be: above all that anybody here can have seen. What the
            # gate does not let pass (duplicate here, or waiting for another) leaves the view as it was.
            try:
                apply_tentative(overlay, operation, index + 1, operation.clock.wall_ms)
            except StoreDamaged as damaged:
                _without(overlay, operation, index, damaged.record)


def _without(overlay: Overlay, operation: Operation, index: int, record: str) -> None:
    """Show the operation without what the damaged record says; where that cannot be, leave it out."""
    _stand_in(overlay, operation)
    use_up = tombstone(operation.id, f"{record} is damaged")
    for instead in (operation, use_up):
        with suppress(StoreDamaged):
            apply_tentative(overlay, instead, index + 1, operation.clock.wall_ms)
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
