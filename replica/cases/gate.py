"""The gate: exactly once, in order, without asking the author (rules 3-8 and 10 of docs/offline.md).

A site numbers its operations within an incarnation; the replicated state remembers, per incarnation, the last
number taken. The next number is applied, a lower one is a duplicate, a higher one has to wait: nothing is consumed
and it is sent again. An opening links an incarnation to the one before it and closes that, so that a restored
backup or a second process with the same identity cannot reuse a number. The working view of a site runs through the
same gate (rule 14).

Left out: who may open a store under a site's name; that is the handshake's and the certificate's business.
"""

from __future__ import annotations

from enum import Enum

from replica.cases import keys
from replica.cases.commands import Opening
from replica.cases.draft import Draft, drafted
from replica.cases.operations import Operation, OperationId
from replica.cases.records import Records
from replica.cases.state import BYTES, IDENTITY, SITE, STREAM, SiteRecord, Stream
from replica.cases.verdicts import VerdictKind

CALLER_KEYS = 1000
"""How many operations that carried a caller's key are remembered per site."""

RELEASED_AT_ONCE = 64
"""How many numbers of kept verdicts one operation lets go, so that a site back after a week costs nobody a pause."""

_NO_COUNTS = (0,) * len(VerdictKind)
_COUNTER = {kind: place for place, kind in enumerate(VerdictKind)}


class Gate(Enum):
    """What the gate says of an operation (rules 5 and 6)."""

    OK = "ok"
    DUPLICATE = "duplicate"
    GAP = "gap"
    CLOSED = "closed"
    STALE = "stale"


def judge(records: Records, operation: Operation, mine: bool = False) -> Gate:
    """Whether `operation` is the next of its incarnation. `mine`: in a site's own working view, where its own
    openings and its own records of a closed incarnation count as accepted (rule 14)."""
    draft = drafted(records)
    stream = load_stream(draft, operation.id.site, operation.id.incarnation)
    if isinstance(operation.payload, Opening) and operation.id.seq == 0:
        return _judge_opening(draft, operation.id, operation.payload, stream, mine)
    if stream is None:
        return Gate.GAP
    seq = operation.id.seq
    if seq <= stream.last:
        return Gate.DUPLICATE
    if stream.closed_at is not None and seq > stream.closed_at and not mine:
        return Gate.CLOSED
    return Gate.OK if seq == stream.last + 1 else Gate.GAP


def _judge_opening(draft: Draft, ident: OperationId, opening: Opening, stream: Stream | None, mine: bool) -> Gate:
    """Rule 6. The order of the questions is the model's: a predecessor still on its way is a gap, not stale."""
    if stream is not None:
        return Gate.DUPLICATE
    before = load_stream(draft, ident.site, opening.prev) if opening.prev is not None else None
    if not opening.drain and not mine and opening.replaces != current(draft, ident.site):
        return Gate.GAP if opening.prev is not None and before is None else Gate.STALE
    if opening.prev is None:
        return Gate.OK
    if before is None:
        return Gate.GAP
    waits = not mine and before.last < opening.prev_last and before.closed_at is None
    return Gate.GAP if waits else Gate.OK


def accept_opening(draft: Draft, operation: Operation, opening: Opening) -> None:
    """Register the incarnation; it is current from now on and its predecessors are closed (rules 4, 6, 7, 8)."""
    ident = operation.id
    record = load_site(draft, ident.site)
    if not opening.drain:
        before = load_stream(draft, ident.site, opening.prev) if opening.prev is not None else None
        # Rule 7: a restored backup shows itself. It replaces another life than its own predecessor, or that life
        # went further than this disk knows.
        restored = record.current != opening.prev or (before is not None and before.last > opening.prev_last)
        for earlier in (opening.prev, record.current):
            _close(draft, ident.site, earlier)
        draft.put(
            keys.site(ident.site),
            SiteRecord(ident.site, ident.incarnation, record.restored or restored, record.counters, record.keyed),
        )
    elif not draft.has(keys.site(ident.site)):
        draft.put(keys.site(ident.site), record)
    fresh = Stream(0, None, opening.prev, opening.prev_last, opening.drain, behind=opening.prev)
    draft.put(keys.stream(ident.site, ident.incarnation), fresh)


def _close(draft: Draft, site: str, incarnation: bytes | None) -> None:
    if incarnation is None:
        return
    stream = _ancestor(draft, site, incarnation)
    if stream.closed_at is None and not stream.drain:
        closed = Stream(
            stream.last, stream.last, stream.prev, stream.prev_last, stream.drain, stream.released, stream.behind
        )
        draft.put(keys.stream(site, incarnation), closed)


def consume(draft: Draft, operation: Operation) -> Stream:
    """The operation's number is used up (rule 5), whatever its verdict; verdicts its author holds durably are let
    go."""
    ident = operation.id
    stream = load_stream(draft, ident.site, ident.incarnation)
    assert stream is not None, f"{ident} passed the gate without a stream"
    assert ident.seq == stream.last + 1, f"{ident} passed the gate after number {stream.last}"
    released, behind = stream.released, stream.behind
    if operation.have > released:
        upto = min(operation.have, stream.last)
        released = _release(draft, ident.site, ident.incarnation, released, upto)
    if operation.have > 0 and behind is not None:
        behind = _release_behind(draft, ident.site, stream, behind)
    after = Stream(ident.seq, stream.closed_at, stream.prev, stream.prev_last, stream.drain, released, behind)
    draft.put(keys.stream(ident.site, ident.incarnation), after)
    return stream


def _release(draft: Draft, site: str, incarnation: bytes, released: int, upto: int) -> int:
    upto = min(upto, released + RELEASED_AT_ONCE)
    for seq in range(released + 1, upto + 1):
        key = keys.kept_verdict(site, incarnation, seq)
        if draft.has(key):
            draft.put(key, None)
    return max(released, upto)


def _release_behind(draft: Draft, site: str, stream: Stream, behind: bytes) -> bytes | None:
    """Let go of what is kept of earlier incarnations. Verdicts come in the order of the log, so who holds one of this
    incarnation durably holds those of its ancestors too, as far as this store's own past goes (rule 3)."""
    limit, at = stream.prev_last, stream.prev
    while at != behind:
        passed = _ancestor(draft, site, at)
        limit, at = passed.prev_last, passed.prev
    earlier = _ancestor(draft, site, behind)
    upto = min(limit, earlier.last)
    released = _release(draft, site, behind, earlier.released, upto)
    if released != earlier.released:
        kept = Stream(
            earlier.last, earlier.closed_at, earlier.prev, earlier.prev_last, earlier.drain, released, earlier.behind
        )
        draft.put(keys.stream(site, behind), kept)
    return earlier.behind if released >= upto else behind


def _ancestor(draft: Draft, site: str, incarnation: bytes | None) -> Stream:
    """A life that another one names as its past. It is registered: an opening waits for its predecessor (rule 6), so
    every chain of them ends at one without, and none is ever forgotten (rule 4)."""
    assert incarnation is not None, f"a life of {site} has {incarnation} as its past, where one is looked for in it"
    stream = load_stream(draft, site, incarnation)
    assert stream is not None, f"a life of {site} names {incarnation!r} as its past, which is not registered"
    return stream


def count(draft: Draft, site: str, kind: VerdictKind) -> None:
    """One more verdict of this kind for the site."""
    record = load_site(draft, site)
    place = _COUNTER[kind]
    counters = list(record.counters)
    counters[place] += 1
    draft.put(keys.site(site), SiteRecord(site, record.current, record.restored, tuple(counters), record.keyed))


def first_with_key(draft: Draft, operation: Operation) -> OperationId | None:
    """The operation of this site that carried the same caller's key already, among its last `CALLER_KEYS` keyed
    ones; else remembers this one. A ring: the newest takes the place of the oldest, so memory stays as it is for
    ever."""
    site, key = operation.id.site, keys.caller_key(operation.id.site, operation.key)
    found = draft.load(key, IDENTITY)
    if found is not None:
        return found
    record = load_site(draft, site)
    place = keys.caller_key_place(site, record.keyed % CALLER_KEYS)
    oldest = draft.load(place, BYTES)
    if oldest is not None:
        draft.put(oldest, None)
    draft.put(key, operation.id)
    draft.put(place, key)
    draft.put(keys.site(site), SiteRecord(site, record.current, record.restored, record.counters, record.keyed + 1))
    return None


def seen(draft: Draft, operation: Operation, other: OperationId, index: int) -> bool:
    """Rule 10: whether the author of `operation` had seen operation `other`, agreed at `index`: its state reached
    that far, or `other` is in its own journal's past. Never "the same site": a restored site has not seen its lost
    life."""
    return index <= operation.seen or own_past(draft, operation.id, other)


def own_past(draft: Draft, ident: OperationId, other: OperationId) -> bool:
    """Whether `other` is `ident` itself or lies before it in one journal: the same incarnation and a lower number,
    or an ancestor up to the number that was on disk when the next incarnation was opened."""
    if ident.site != other.site:
        return False
    incarnation: bytes | None = ident.incarnation
    limit = ident.seq
    while incarnation is not None:
        if incarnation == other.incarnation:
            return other.seq <= limit
        # No ring: what a life names as its past was registered before it.
        stream = _ancestor(draft, ident.site, incarnation)
        incarnation, limit = stream.prev, stream.prev_last
    return False


def current(draft: Draft, site: str) -> bytes | None:
    return load_site(draft, site).current


def load_stream(draft: Draft, site: str, incarnation: bytes) -> Stream | None:
    return draft.load(keys.stream(site, incarnation), STREAM)


def load_site(draft: Draft, site: str) -> SiteRecord:
    return draft.load(keys.site(site), SITE) or SiteRecord(site, None, False, _NO_COUNTS)
