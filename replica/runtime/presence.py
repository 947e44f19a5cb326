"""Which sites the zones hear just now: what is heard is not taken over without being asked (cases/returning.py).

Each zone knows which sites follow it, and which of them it still hears, and tells the leading zone with every beat; the
leader writes the names of all into an entry that takes something over. Soft state: a zone that is lost is heard of no
more, and a leader that has just come knows its own sites until the others' next beat.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from replica.cases.commands import TakeOver
from replica.cases.operations import Operation

LEVEL = 3
"""Zones speak of it from this feature level on: an older one does not know the message."""


@dataclass(slots=True)
class _Line:
    site: str
    heard_ms: int
    speaks: bool
    """It says every so often that it is there. (A site of an older release does not.)"""


class Presence:
    """The sites at this zone's door, and those at the others'. `silent_ms`: a line that says nothing for so long is
    none: a cut line closes no sockets."""

    def __init__(self, silent_ms: int) -> None:
        self._silent_ms = silent_ms
        self._here: dict[Hashable, _Line] = {}
        self._elsewhere: dict[int, frozenset[str]] = {}

    def came(self, line: Hashable, site: str, now_ms: int, speaks: bool = True) -> None:
        """A site follows this zone, by this line."""
        self._here[line] = _Line(site, now_ms, speaks)

    def spoke(self, line: Hashable, now_ms: int) -> None:
        """Something came by that line."""
        if line in self._here:
            self._here[line].heard_ms = now_ms

    def went(self, line: Hashable) -> None:
        """That line is gone."""
        self._here.pop(line, None)

    def here(self, now_ms: int) -> tuple[str, ...]:
        """The sites that follow this zone and are heard, each once, in order."""
        since_ms = now_ms - self._silent_ms
        lines = self._here.values()
        return tuple(sorted({line.site for line in lines if line.heard_ms >= since_ms or not line.speaks}))

    def told(self, zone: int, sites: Iterable[str]) -> None:
        """Another zone has said which sites follow it."""
        self._elsewhere[zone] = frozenset(sites)

    def lost(self, zone: int) -> None:
        """There is no link to that zone: whom it hears is not known."""
        self._elsewhere.pop(zone, None)

    def heard(self, operations: Sequence[Operation], now_ms: int) -> tuple[str, ...]:
        """What an entry with these operations has to say of it: nothing, where none of them asks."""
        if not any(isinstance(operation.payload, TakeOver) for operation in operations):
            return ()
        return tuple(sorted({*self.here(now_ms), *(site for sites in self._elsewhere.values() for site in sites)}))
