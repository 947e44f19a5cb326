"""What a site remembers beyond its journal and its copy, for the day the cluster is founded anew without it (O17).

* Its own operations, for `limits.past_days` after their verdict: the journal's past, on the disk beside the journal.
* The copy as it was, where a later generation's state takes its place that may lack some of it: a snapshot in the data
  folder, under `snapshots/`, until an operator deletes it.
* What became of it: which operations are offered again, which could not be, and which got another verdict than before.
  In the local table, so that a restart changes nothing of it.

Nothing is forgotten while something is offered again, and by its age not before the whole time has passed once more.

Leaves out: which operations those are (offline/ahead.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from replica.cases import keys
from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import Verdict
from replica.config import SiteConfig
from replica.errors import StoreError
from replica.offline.ahead import Break, Span, TakenBack
from replica.runtime.outside import Outside
from replica.runtime.state import State
from replica.storage import JournalForget, JournalRecord, Store
from replica.storage.layout import SNAPSHOTS_NAME
from replica.storage.snapshot_contract import Manifest
from replica.wire.operation_codec import decode_operation

AGAIN = b"offered-again"
"""Where the local table keeps what became of it."""
DAY_MS = 86_400_000
READ_AT_ONCE = 1000


class Again(Struct, frozen=True):
    """What became of a founding. `generation`: how many of them this site has gone through; `since_ms`: zone time of
    the last one that found it ahead."""

    generation: int = 0
    since_ms: int = 0
    offered: tuple[Span, ...] = ()
    filled: tuple[Span, ...] = ()
    gone: tuple[Span, ...] = ()
    otherwise: int = 0


class History:
    """`state` and `store` are the site's. All but `set_aside` and `drop` is done at once, in the loop."""

    def __init__(self, config: SiteConfig, state: State, store: Store, outside: Outside, log: Any) -> None:
        self._config = config
        self._state = state
        self._store = store
        self._outside = outside
        self._log = log
        kept = state.local(AGAIN)
        self.again = Again() if kept is None else msgspec.msgpack.decode(kept, type=Again)

    # ------------------------------------------------------------------ the journal's past

    @property
    def remembers(self) -> bool:
        """Whether the journal's past is kept at all."""
        return bool(self._config.limits.past_days and self._config.limits.past_mib)

    def forgets(self, zone_ms: int | None) -> JournalForget | None:
        """What is too old by now, or too much; None where there is nothing to forget. `zone_ms`: the zones' time,
        where it is known: by a wrong clock nothing is too old."""
        if not self._store.journal.past_length:
            return None
        keep_ms = self._config.limits.past_days * DAY_MS
        before_ms = 0 if zone_ms is None or zone_ms < self.again.since_ms + keep_ms else zone_ms - keep_ms
        return JournalForget(before_ms, self._config.limits.past_mib << 20)

    # ------------------------------------------------------------------ the copy as it was

    @property
    def aside(self) -> list[str]:
        """Where the copies lie that were set aside."""
        folder = Path(self._config.site.data) / SNAPSHOTS_NAME
        return [str(folder / manifest.name) for manifest in self._store.snapshots.held()]

    async def set_aside(self) -> Manifest | None:
        """Keep the copy as it was last written back. None where that cannot be: then the new one matters more."""
        at = self._state.flushed_index, self._state.flushed_term
        if at[0] == 0:
            return None
        for manifest in self._store.snapshots.held():
            if (manifest.index, manifest.term) == at:
                return manifest  # of an attempt that came to nothing
        try:
            return await self._outside.in_worker(
                partial(self._store.snapshots.take, None, lambda look: look(keys.DIGEST_TOTAL) or b"")
            )
        except StoreError as problem:
            self._log.error("state-not-set-aside", problem=str(problem))
            return None

    async def settle(self, aside: Manifest | None, breaks: Sequence[Break]) -> None:
        """Another state is in place: what was set aside stays where it may hold what that one lacks."""
        if aside is None:
            return
        if any(one.agreed < aside.index < one.begins for one in breaks):
            folder = Path(self._config.site.data) / SNAPSHOTS_NAME
            self._log.warning("state-set-aside", index=aside.index, folder=str(folder / aside.name))
            return
        try:
            await self._outside.in_worker(partial(self._store.snapshots.drop, aside.name))
        except StoreError as problem:
            self._log.warning("snapshot-not-dropped", name=aside.name, problem=str(problem))

    # ------------------------------------------------------------------ what became of it

    def met(self, generation: int) -> None:
        """The state in place is of this generation: so many foundings are behind it."""
        if generation != self.again.generation:
            self._put(generation=generation, offered=(), otherwise=0)

    def tell(self, taken: TakenBack, zone_ms: int) -> None:
        """What is offered again, and what cannot be."""
        missing = [span for span in (*taken.filled, *taken.gone) if span not in (*self.again.filled, *self.again.gone)]
        for span in missing:
            self._log.error("operations-missing", life=span.incarnation.hex(), first=span.first, last=span.last)
        for span in taken.offered:
            self._log.warning("offered-again", life=span.incarnation.hex(), first=span.first, last=span.last)
        if not missing and not taken.offered:
            return
        self._put(
            since_ms=self.again.since_ms if self.again.offered else zone_ms,
            offered=_joined((*self.again.offered, *taken.offered)),
            filled=_united((*self.again.filled, *taken.filled)),
            gone=_united((*self.again.gone, *taken.gone)),
        )

    def decided(self, operation: OperationId, before: tuple[int, Verdict], after: Verdict) -> None:
        """An operation that had a verdict has another one now, in the history that goes on."""
        if before[1].kind is not after.kind:
            kinds = before[1].kind.value, after.kind.value
            self._log.warning("decided-otherwise", operation=str(operation), before=kinds[0], after=kinds[1])
            self._put(otherwise=self.again.otherwise + 1)

    def status(self, waiting: int) -> dict[str, Any]:
        """For an operator. `waiting`: how many of what is offered again have no verdict yet."""
        filled = sum(_size(span) for span in self.again.filled if any(_is_in(span, one) for one in self.again.offered))
        count = sum(_size(span) for span in self.again.offered) - filled
        missing = (*self.again.filled, *self.again.gone)
        return {
            "offered_again": {"count": count, "decided": count - waiting, "otherwise": self.again.otherwise},
            "missing": [f"{span.incarnation.hex()} {span.first}-{span.last}" for span in missing],
            "set_aside": self.aside,
        }

    def _put(self, **changes: Any) -> None:
        self.again = msgspec.structs.replace(self.again, **changes)
        self._state.put_local(AGAIN, msgspec.msgpack.encode(self.again))


def remembered(store: Store, recall: Sequence[tuple[bytes, int]]) -> tuple[Operation, ...]:
    """Per life, its operations above a number that the store still has: a trim may be under way, so first those of the
    journal, then those it has let go of."""
    above = dict(recall)
    found: dict[tuple[bytes, int], Operation] = {}
    for read in (store.journal.read, store.journal.read_past):
        position = 0
        while records := read(position, READ_AT_ONCE):
            position = records[-1].position
            found.update(_operations(records, above))
    return tuple(found.values())


def _operations(records: Iterable[JournalRecord], above: dict[bytes, int]) -> dict[tuple[bytes, int], Operation]:
    return {
        (record.incarnation, record.seq): decode_operation(record.payload)
        for record in records
        if not record.damaged and record.seq > above.get(record.incarnation, record.seq)
    }


def _size(span: Span) -> int:
    """How many operations: an opening is nobody's."""
    return span.last - max(span.first, 1) + 1


def _is_in(span: Span, other: Span) -> bool:
    return span.incarnation == other.incarnation and other.first <= span.first and span.last <= other.last


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """One span for each life: what is offered of one goes up to its end, and after a restart again."""
    joined: dict[bytes, Span] = {}
    for span in spans:
        known = joined.get(span.incarnation, span)
        joined[span.incarnation] = Span(span.incarnation, min(known.first, span.first), max(known.last, span.last))
    return tuple(joined.values())


def _united(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Without those that lie within another."""
    kept: list[Span] = []
    for span in spans:
        if not any(_is_in(span, one) for one in kept):
            kept.append(span)
    return tuple(kept)
