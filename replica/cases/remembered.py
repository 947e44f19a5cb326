"""Cases as they were last read, for as long as nothing that was looked at for them has changed.

A dispatcher's screen reads the same few cases over and over, and to make a view of one takes a dozen records, decoded.
Here the view is kept with the keys of all that was looked at, and with the beginnings by which records were looked for;
whoever moves the state says which records changed (`moved`), and what hangs on one of them goes:

    read case a → kept, hangs on its head, on all that begins with its name, on its owner's charge
    an entry changes a note of a      → a's view goes
    an entry changes case b           → a's view stays

Only the agreed state is remembered. What a site's working view shows on top is read as ever, and where nothing of a
case is on top, its view is the agreed one.

Left out: lists. What is in them depends on every case there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from replica.cases import keys, queries
from replica.cases.draft import Traced
from replica.cases.records import Layer, Overlay, Records
from replica.cases.views import CaseView

MOST_VIEWS: Final = 4096
"""Kept at most; past that all go, and what is read is kept again."""


class _Kept:
    """A view and what it hangs on. `beginnings`: each ends where a subject's name does, with a zero byte."""

    __slots__ = ("beginnings", "looked_at", "view")

    def __init__(self, view: CaseView | None, draft: Traced) -> None:
        self.view = view
        self.looked_at = frozenset([key for key in draft.touched if not _stays(draft, key)])
        self.beginnings = frozenset(draft.prefixes)

    def is_covered(self, changes: Layer) -> bool:
        """Whether one of these records is among those it hangs on."""
        return bool(changes) and (
            not self.looked_at.isdisjoint(changes) or any(changes.beginning(prefix) for prefix in self.beginnings)
        )


def _stays(draft: Traced, key: bytes) -> bool:
    """Whether nothing that a view takes from this record can change: of a site's, that there is one. The record itself
    counts every verdict of the site, and no view would last if it hung on that."""
    return key.startswith(keys.SITES) and draft.has(key)


class Remembered:
    """Views over `base`, a live state. Whoever changes it calls `moved`, or `forget`, before the next read."""

    __slots__ = ("_base", "_by_name", "_hanging")

    def __init__(self, base: Records) -> None:
        self._base = base
        self._by_name: dict[str, _Kept] = {}
        self._hanging: dict[bytes, set[str]] = {}
        """A record's key, or a beginning → the cases whose views hang on it."""

    def case(self, name: str, records: Records, applied_index: int) -> CaseView | None:
        """The case in `records`, whole: the state itself, or changes over it. As `queries.read_case`."""
        if records is self._base:
            return self._kept(name).view
        if isinstance(records, Overlay) and records.base is self._base and isinstance(records.changes, Layer):
            kept = self._kept(name)
            if not kept.is_covered(records.changes):
                return kept.view
        return queries.read_case(records, name, applied_index)

    def moved(self, changed: Iterable[bytes]) -> None:
        """These records of the state are others now."""
        if not self._by_name:
            return
        for key in changed:
            for hangs in (key, key[: key.find(b"\0") + 1]):
                for name in self._hanging.pop(hangs, ()):
                    self._by_name.pop(name, None)

    def forget(self) -> None:
        """The state is another one as a whole."""
        self._by_name.clear()
        self._hanging.clear()

    def _kept(self, name: str) -> _Kept:
        kept = self._by_name.get(name)
        if kept is None:
            if len(self._by_name) >= MOST_VIEWS or len(self._hanging) >= MOST_VIEWS * 16:
                self.forget()
            draft = Traced(self._base)
            kept = self._by_name[name] = _Kept(queries.read_case(draft, name), draft)
            for hangs in (*kept.looked_at, *kept.beginnings):
                self._hanging.setdefault(hangs, set()).add(name)
        return kept
