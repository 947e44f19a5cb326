"""Lives of a store: openings, restored backups, clones, and records that cannot be read any more (rules 2, 3, 6, 7, 8).

Every opening of a store is a new life, an *incarnation*: a random value nobody else can draw. Its opening says which
life came before and how far that one had counted; the gate does the rest. Three things go wrong in practice, and each
has its answer here:

* **A restored or emptied store**: its opening is *stale*, because another life is current. It is written anew,
  replacing that one (rule 7).
* **A clone, or a process that was replaced**: its records are *closed*. They are sent as a stranger's, under a drain
  (rule 8).
* **A damaged record**: a tombstone takes its number (else rule 5 waits for ever). A damaged opening is made again from
  what is known: the life before it, and how far that is known to have counted.

A drain's incarnation is not drawn but *derived* from what it drains: (closed incarnation, `closed_at`), both of which
the agreed log has fixed for ever. So whoever drains the same records does so under the same ids, and the gate takes
each once: a process that is killed while draining and drains again, and equally a backup that is restored later and
finds the same records closed once more. With a random one the second would be a stranger's new operations, applied
twice.

Left out: taking the clone's operations again after it was fenced. A person has to look at a second process first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b

from msgspec.structs import replace

from replica.cases.commands import Opening, Tombstone
from replica.cases.draft import drafted
from replica.cases.gate import Gate, judge, load_site, load_stream
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Records
from replica.cases.state import Stream
from replica.errors import StoreDamaged
from replica.offline.journal import Run

DRAIN_MARK = b"\0drain\0\0"
"""How a drain's incarnation begins. A random one begins so once in 2^64 openings; it would then only be asked for
again."""


def stream_of(records: Records, site: str, incarnation: bytes) -> Stream | None:
    """What the state says of one incarnation; None for one it does not know, or cannot say because the record is
    damaged: what is not known to be decided is offered, and the gate knows better."""
    with suppress(StoreDamaged):
        return load_stream(drafted(records), site, incarnation)
    return None


def current_of(records: Records, site: str) -> tuple[bytes | None, bool]:
    """The incarnation that is current, and whether the site is marked as restored (rule 4). (None, False) also where
    the record that says so is damaged."""
    with suppress(StoreDamaged):
        record = load_site(drafted(records), site)
        return record.current, record.restored
    return None, False


def drain_incarnation(closed: bytes, closed_at: int) -> bytes:
    """The incarnation under which the records of `closed` above `closed_at` are sent as a stranger's."""
    fixed = blake2b(closed + closed_at.to_bytes(8, "big"), digest_size=8, person=b"drain").digest()
    return DRAIN_MARK + fixed


def is_drain(incarnation: bytes) -> bool:
    return incarnation.startswith(DRAIN_MARK)


def last_life(incarnations: Iterable[tuple[bytes, int]]) -> tuple[bytes, int] | None:
    """The life a store had before this opening, with its durable counter (rule 3), out of every incarnation the journal
    has counted, in order: the last that is no drain. None for a new store."""
    lives = [life for life in incarnations if not is_drain(life[0])]
    return lives[-1] if lives else None


def opening(site: str, incarnation: bytes, before: tuple[bytes, int] | None, clock: HybridTime) -> Operation:
    """The opening of a new life. `before`: the life before it, and that one's durable counter.

    It claims to replace its own predecessor. Where another life is current, the gate will say stale: that is how a
    restored backup is found out (rule 7)."""
    prev, prev_last = (None, 0) if before is None else before
    payload = Opening(prev, prev_last, replaces=prev)
    return Operation(OperationId(site, incarnation, 0), 0, 0, clock, 0, site, payload)


def reopened(records: Records, operation: Operation) -> Operation | None:
    """Another wording of an opening that the gate calls stale: it replaces whoever is current as far as the feed shows
    (rule 7). None where nothing is to be changed, or what would have to be known for it cannot be read now."""
    payload = operation.payload
    with suppress(StoreDamaged):
        if isinstance(payload, Opening) and judge(records, operation) is Gate.STALE:
            current = load_site(drafted(records), operation.id.site).current
            return replace(operation, payload=replace(payload, replaces=current))
    return None


def relabelled(site: str, closed: Sequence[Operation], source: bytes, closed_at: int) -> list[Operation]:
    """The drain of `closed`, the records of `source` above `closed_at`: its opening, and each record under its new
    number.

    What the author had seen, its epoch and clock stay. `have` goes: it counted another incarnation's verdicts.
    """
    incarnation = drain_incarnation(source, closed_at)
    payload = Opening(source, closed_at, None, drain=True)
    first = Operation(OperationId(site, incarnation, 0), 0, 0, HybridTime(0, 0), 0, site, payload)
    return [first] + [
        replace(operation, id=OperationId(site, incarnation, number), have=0)
        for number, operation in enumerate(closed, 1)
    ]


def drained_id(operation: OperationId, source_closed_at: int) -> OperationId:
    """The id under which a closed record is sent."""
    incarnation = drain_incarnation(operation.incarnation, source_closed_at)
    return OperationId(operation.site, incarnation, operation.seq - source_closed_at)


def tombstone(operation: OperationId, problem: str) -> Operation:
    """In place of a record that is not to be had any more: its number is used up, and a person is told."""
    return Operation(operation, 0, 0, HybridTime(0, 0), 0, operation.site, Tombstone(problem))


def mend(
    records: Records, site: str, found: Sequence[Operation], damaged: Sequence[tuple[bytes, int]]
) -> list[Operation]:
    """What stands in for the damaged records of a journal, given as (incarnation, seq)."""
    tops: dict[bytes, int] = {}
    for operation in found:
        incarnation = operation.id.incarnation
        tops[incarnation] = max(tops.get(incarnation, 0), operation.id.seq)
    mended = []
    for incarnation, seq in damaged:
        ident = OperationId(site, incarnation, seq)
        if seq > 0:
            mended.append(tombstone(ident, "this journal record could not be read"))
        else:
            after = _lives_after(incarnation, found)
            earlier = {life: top for life, top in tops.items() if life not in after}
            mended.append(_opening_again(records, ident, earlier))
    return mended


def _lives_after(incarnation: bytes, found: Sequence[Operation]) -> set[bytes]:
    """The lives whose openings name this one as their past, or one that does: none of them can be its predecessor,
    though nothing else of it may be left to show where it stood in the journal."""
    after = {incarnation}
    for operation in found:
        if isinstance(operation.payload, Opening) and operation.payload.prev in after:
            after.add(operation.id.incarnation)
    return after - {incarnation}


def _opening_again(records: Records, ident: OperationId, tops: dict[bytes, int]) -> Operation:
    """A damaged opening, made again. Its predecessor is the life before it in the journal, else the one that is
    current."""
    if is_drain(ident.incarnation):
        return _drain_opening_again(records, ident, tops)
    before: tuple[bytes, int] | None = None
    for incarnation, top in tops.items():
        if incarnation == ident.incarnation:
            break
        if not is_drain(incarnation):
            before = incarnation, top
    current, _ = current_of(records, ident.site)
    if before is None and current is not None and current != ident.incarnation:
        stream = stream_of(records, ident.site, current)
        before = current, 0 if stream is None else stream.last
    return opening(ident.site, ident.incarnation, before, HybridTime(0, 0))


def _drain_opening_again(records: Records, ident: OperationId, tops: dict[bytes, int]) -> Operation:
    for incarnation in tops:
        stream = stream_of(records, ident.site, incarnation)
        if stream is None or stream.closed_at is None:
            continue
        if drain_incarnation(incarnation, stream.closed_at) == ident.incarnation:
            payload = Opening(incarnation, stream.closed_at, None, drain=True)
            return Operation(ident, 0, 0, HybridTime(0, 0), 0, ident.site, payload)
    return drain_without_past(ident)  # what it drained is trimmed already


def drain_without_past(ident: OperationId) -> Operation:
    """The opening of a drain of which nobody knows what it drained. Nothing is lost by it: with no predecessor it is a
    stranger with no past."""
    return Operation(ident, 0, 0, HybridTime(0, 0), 0, ident.site, Opening(None, 0, None, drain=True))


def drains_in(runs: Sequence[Run], records: Records, site: str) -> dict[bytes, int]:
    """Incarnation → the number from which on its records are drained, for every drain in the journal. Known from its
    opening, or from the state once that is trimmed."""
    found: dict[bytes, int] = {}
    for run in runs:
        if not is_drain(run.incarnation):
            continue
        first = run.get(0)
        stream = stream_of(records, site, run.incarnation)
        source: Opening | Stream | None = stream
        if first is not None and isinstance(first.payload, Opening):
            source = first.payload
        if source is not None and source.prev is not None:
            found[source.prev] = source.prev_last
    return found
