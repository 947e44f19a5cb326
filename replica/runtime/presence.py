"""Which sites the zones hear just now: what is heard is not taken over without being asked (cases/returning.py).

Each zone knows which sites follow it, and tells the leading zone with every beat; the leader writes the names of all
into an entry that takes something over. Soft state: a zone that is lost is heard of no more, and a leader that has just
come knows its own sites until the others' next beat.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from replica.cases.commands import TakeOver
from replica.cases.operations import Operation

LEVEL = 3
"""Zones speak of it from this feature level on: an older one does not know the message."""


class Presence:
    """The sites at this zone's door, and those at the others'."""

    def __init__(self) -> None:
        self._here: dict[Hashable, str] = {}
        self._elsewhere: dict[int, frozenset[str]] = {}

    def came(self, line: Hashable, site: str) -> None:
        """A site follows this zone, by this line."""
        self._here[line] = site

    def went(self, line: Hashable) -> None:
        """That line is gone."""
        self._here.pop(line, None)

    @property
    def here(self) -> tuple[str, ...]:
        """The sites that follow this zone, each once, in order."""
        return tuple(sorted(set(self._here.values())))

    def told(self, zone: int, sites: Iterable[str]) -> None:
        """Another zone has said which sites follow it."""
        self._elsewhere[zone] = frozenset(sites)

    def lost(self, zone: int) -> None:
        """There is no link to that zone: whom it hears is not known."""
        self._elsewhere.pop(zone, None)

    def heard(self, operations: Sequence[Operation]) -> tuple[str, ...]:
        """What an entry with these operations has to say of it: nothing, where none of them asks."""
        if not any(isinstance(operation.payload, TakeOver) for operation in operations):
            return ()
        return tuple(sorted({*self.here, *(site for sites in self._elsewhere.values() for site in sites)}))
