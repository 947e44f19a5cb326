"""The working view: the agreed state with this site's own undecided operations on top (rule 14).

"State at index i plus the journal through the same apply *and the same gate*, on one snapshot of (state, last)."
Without the gate an operation would be applied twice in the moment when the feed has brought it and the journal still
holds it. With it there is no such moment: the very state that contains the operation says so, and the view is made of
that state.

The view is made when it is read, kept, and carried on by each new own operation. When the state below moves it is
thrown away. So a read costs nothing while nothing moves, the cost of the new operations while the line is cut, and the
whole undecided journal after the feed brought something.

Left out: making the view again in parts. After a feed entry only the subjects it touched, and own operations on those,
need it; that goes here once journals of 100,000 are read while they are replayed. What a change of the base invalidates
is decided in `invalidate` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable

from replica.cases.machine import apply_tentative
from replica.cases.operations import Operation
from replica.cases.records import Overlay, Records


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
            apply_tentative(overlay, operation, index + 1, operation.clock.wall_ms)
