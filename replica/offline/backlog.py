"""What a return waits for: what was kept here before it is decided, and the feed has brought what was agreed by then.

Only then is a site called connected again. What is issued meanwhile does not prolong it, else a busy site would never
be back.
"""

from __future__ import annotations

from collections.abc import Mapping

from replica.offline.journal import Journal


class Backlog:
    """Of one return; the next one begins anew."""

    __slots__ = ("_catch_up", "_ends")

    def __init__(self) -> None:
        self._ends: dict[bytes, int] = {}
        """Incarnation → the number up to which it has to be decided."""
        self._catch_up = 0
        """The entry the feed has to reach."""

    def begin(self, ends: Mapping[bytes, int], catch_up: int) -> None:
        """A return begins. `ends`: life by life the last number journalled here; `catch_up`: what was agreed, as last
        heard."""
        self._ends, self._catch_up = dict(ends), catch_up

    def add(self, ends: Mapping[bytes, int]) -> None:
        """More was taken back into the journal, and is waited for as well."""
        self._ends |= ends

    def is_done(self, index: int, journal: Journal) -> bool:
        """Whether nothing is waited for any more. `index`: where the feed is."""
        if index < self._catch_up:
            return False
        for incarnation in sorted(self._ends):
            run = journal.run(incarnation)
            if run is None or run.decided >= min(self._ends[incarnation], run.last):
                del self._ends[incarnation]
        return not self._ends
