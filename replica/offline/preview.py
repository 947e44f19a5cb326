"""A preview: what this site needs first, as agreed at an entry that its copy has not reached yet (cases/scope.py).

    copy       at 1,000, on its way to 90,000
    preview    at 90,000: the own cases, and what decides about them

While it is held, what it covers is shown from it, all else from the copy. It lives in memory only, and goes as soon as
the copy stands where it does: by then both say the same.

The journal is shown on top of both (rule 14). An operation that the preview has must not be shown there twice, and one
that it has about what it does not cover must be shown all the same. So there are two working views: one over the copy,
with all that the copy has no verdict of, and one over the preview, with what the preview has none of; each through its
own gate. What is covered is read from the second, the rest from the first.

    1: a note on an own case   2: a note on a case elsewhere   the preview has both, the copy neither
    the own case is the preview's, with note 1; the other is the copy's, with note 2 on top, tentative

Left out: `Operation.seen`. It stays the index of the copy, since it speaks of all that its author could see: at worst
an operation counts as not having seen what the preview had shown, and both are heard.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge

from replica.cases import keys, queries
from replica.cases.draft import drafted
from replica.cases.gate import load_stream
from replica.cases.operations import Operation, OperationId
from replica.cases.records import Empty, Layer, Overlay, Records
from replica.errors import StoreDamaged
from replica.offline.view import WorkingView

Undecided = Callable[[], Iterable[Operation]]
"""The journal's operations that the copy has no verdict of, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Records as agreed at (index, term), and the keys they cover, as cases/scope.py says them."""

    index: int
    term: int
    records: Overlay
    covered: frozenset[bytes]
    _drawers: frozenset[bytes]
    """In which covered records lie that are named one by one."""

    def covers(self, key: bytes) -> bool:
        return key[:1] in self.covered or key in self.covered or key[: key.find(b"\0") + 1] in self.covered

    def covers_all(self, prefix: bytes) -> bool:
        """Whether every key that begins so is covered."""
        return prefix[:1] in self.covered or prefix[: prefix.find(b"\0") + 1] in self.covered

    def covers_some(self, prefix: bytes) -> bool:
        """Whether any key that begins so may be."""
        end = prefix.find(b"\0") + 1
        return not end or prefix[:end] in self._drawers

    def has(self, operation: OperationId) -> bool:
        """Whether this operation is decided in it."""
        stream = load_stream(drafted(self.records), operation.site, operation.incarnation)
        return stream is not None and operation.seq <= stream.last

    def subjects(self) -> Iterator[tuple[bytes, ...]]:
        """The covered keys of each subject: its head, its parts, its conflicts."""
        for head in sorted(key for key in self.covered if len(key) > 1 and key[:1] in keys.HEADS.values()):
            parts = bytes((head[0] + 32,)) + head[1:] + b"\0"
            yield head, parts, keys.CONFLICTS + parts


def preview(index: int, term: int, covered: Iterable[bytes], records: Iterable[tuple[bytes, bytes]]) -> Preview:
    whole = frozenset(key for key in covered if key)
    drawers = frozenset(key[: key.find(b"\0") + 1] for key in whole if not key.endswith(b"\0"))
    return Preview(index, term, Overlay(Empty(), Layer(dict(records))), whole, drawers)


class Split:
    """Records of two states: what a preview covers from one, the rest from the other."""

    __slots__ = ("_covered", "_preview", "_rest")

    def __init__(self, preview: Preview, covered: Records, rest: Records) -> None:
        self._preview = preview
        self._covered = covered
        self._rest = rest

    def get(self, key: bytes) -> bytes | None:
        return self._covered.get(key) if self._preview.covers(key) else self._rest.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        covers = self._preview.covers
        if prefix and self._preview.covers_all(prefix):
            return self._covered.scan(prefix)
        if not self._preview.covers_some(prefix):
            return self._rest.scan(prefix)
        covered = (record for record in self._covered.scan(prefix) if covers(record[0]))
        rest = (record for record in self._rest.scan(prefix) if not covers(record[0]))
        return merge(covered, rest)


class Shown(Split):
    """What a site shows while it holds a preview: as an `Overlay`, `changes` is what is not agreed of it."""

    __slots__ = ("_above", "_ahead")

    def __init__(self, preview: Preview, ahead: Overlay, below: Overlay) -> None:
        # Of the records under the second view only the preview's are asked for: it is not built on the copy here, else
        # each list would read the copy twice.
        super().__init__(preview, Overlay(preview.records, ahead.changes), below)
        self._ahead = ahead
        self._above = below

    @property
    def changes(self) -> Layer:
        found = Layer({key: value for key, value in self._above.changes.items() if not self._preview.covers(key)})
        found.update({key: value for key, value in self._ahead.changes.items() if self._preview.covers(key)})
        return found


class Views:
    """The working view of a site, with a preview or without. Without one it is the `WorkingView` itself."""

    __slots__ = ("_ahead", "_base", "_below", "preview")

    def __init__(self, base: Records) -> None:
        self._base = base
        self._below = WorkingView(base)
        self._ahead = self._below
        self.preview: Preview | None = None

    @property
    def agreed(self) -> Records:
        """What is agreed, as far as it is known here."""
        return self._base if self.preview is None else Split(self.preview, self.preview.records, self._base)

    def offer(self, preview: Preview, index: int) -> bool:
        """Hold a preview, the copy being at entry `index`. Whether it is held.

        What is shown never goes back: a preview that is behind what is known here, or does not cover what the one held
        covers, is of no use. Nor is one of another history; an empty copy has none yet."""
        held = self.preview
        if preview.index <= index or (held is not None and preview.index <= held.index):
            return False
        if held is not None and not held.covered <= preview.covered:
            return False
        if index and not self._is_of_this_history(preview):
            return False
        self.preview = preview
        self._ahead = WorkingView(self.agreed)
        return True

    def reached(self, index: int) -> None:
        """The copy is at entry `index` now. A preview goes where that is as far, or of another history."""
        held = self.preview
        if held is not None and (index >= held.index or not self._is_of_this_history(held)):
            self.drop()

    def _is_of_this_history(self, preview: Preview) -> bool:
        with suppress(StoreDamaged):
            return queries.generation(preview.records) == queries.generation(self._base)
        return False

    def drop(self) -> None:
        """The view over the copy has been carried on all the while: it costs nothing to go back to it."""
        self.preview = None
        self._ahead = self._below

    def known_to(self, subject: tuple[str, str] | None, applied: tuple[int, int]) -> tuple[int, int]:
        """As `SiteCore.known_to`. `applied`: the copy's (index, term)."""
        held = self.preview
        if held is None or subject is None or not held.covers(keys.head(*subject)):
            return applied
        return held.index, held.term

    def add(self, operation: Operation) -> None:
        self._below.add(operation)
        if self.preview is not None:
            self._ahead.add(operation)

    def invalidate(self) -> None:
        self._below.invalidate()
        self._ahead.invalidate()

    def moved(self, changed: Iterable[bytes], decided: Collection[OperationId]) -> None:
        held = self.preview
        if held is None:
            self._below.moved(changed, decided)
            return
        moved = list(changed)
        self._below.moved(moved, decided)
        # What the feed decides on the way to the preview is decided in it already, and not in the view over it.
        self._ahead.moved([key for key in moved if not held.covers(key)], ())

    def invalidate_below(self) -> None:
        """A life was opened somewhere; a preview has all lives that concern it."""
        self._below.invalidate()

    @property
    def pending(self) -> int:
        return self._below.pending + (self._ahead.pending if self.preview is not None else 0)

    def records(self, undecided: Undecided, most: int | None = None) -> Overlay | Shown:
        """As `WorkingView.records`."""
        held, below = self.preview, self._below.records(undecided(), most)
        if held is None:
            return below
        ahead = self._ahead.records((one for one in undecided() if not held.has(one.id)), most)
        return Shown(held, ahead, below)
