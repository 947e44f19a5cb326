"""A zone's store with so many entries in its log and so many cases in its state, made in this process.

What a cluster would take an hour for: operations are encoded, put into entries, one each, applied by the shipped rules
and written back, with the store's own jobs, as a zone does it; only nobody is asked and nothing is sent. So log and
state are those of a zone that has been at work: the cases of a hundred Samu, each with its share of the acts on it.

With `tail` the last so many entries are in the log and not in the state: what a crash right before a write-back leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench import work
from replica.cases.commands import Opening, Payload
from replica.cases.machine import apply
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.raft.types import Entry, EntryKind, HardState
from replica.runtime.state import State
from replica.storage import Identity, StateFlush, open_store
from replica.wire.operation_codec import batch, decode_batch, encode_operation

SAMU: Final = 100
ENTRIES_PER_SAVE: Final = 2_000
ENTRIES_PER_FLUSH: Final = 20_000
NOTE_BYTES: Final = 128
LEVEL: Final = 1
TERM: Final = 1
BEGINS_MS: Final = 1_795_000_000_000
DAY_MS: Final = 86_400_000


class Grown(Struct, frozen=True, kw_only=True):
    """What was made. Of the cases there are the ids of the first and the last: with a tail, the last one is in it."""

    entries: int
    cases: int
    tail: int
    first_case: str
    last_case: str


def samu(number: int) -> str:
    """The organisation id of the Samu `number`, from 0."""
    return f"fr.health.samu{number % SAMU:03}"


def grow(
    folder: Path,
    identity: Identity,
    entries: int,
    cases: int,
    tail: int = 0,
    on_entry: Callable[[int], None] = lambda entry: None,
) -> Grown:
    """Make the store in `folder`, which must have none. `on_entry` is told now and then how far it is.

    Raises ValueError where the entries are too few: each Samu opens once, and each case is made by an entry of its own.
    """
    if entries < cases + SAMU or cases < 1 or not 0 <= tail < entries:
        raise ValueError(f"{cases} cases need at least {cases + SAMU} entries, of which the tail is a part")
    with open_store(folder, identity, create=True) as store:
        state = State(store.state)
        store.log.save(HardState(TERM, 1), ())
        pending: list[Entry] = []

        def save() -> None:
            store.log.save(None, pending, commit=pending[-1].index)
            pending.clear()

        for index, data in enumerate(_batches(entries, cases), 1):
            pending.append(Entry(index, TERM, EntryKind.DATA, data))
            if len(pending) == ENTRIES_PER_SAVE or index == entries:
                save()
                on_entry(index)
            if index <= entries - tail:
                state.advance(apply(state, decode_batch(data), index, TERM).changes, index, TERM)
            if index == entries - tail or (index % ENTRIES_PER_FLUSH == 0 and index < entries - tail):
                if pending:
                    save()  # the state on disk is never ahead of the log
                store.commit_state([_write_back(state)])
                state.thaw()
    first, last = (work.case_id(samu(number), number) for number in (0, cases - 1))
    return Grown(entries=entries, cases=cases, tail=tail, first_case=first, last_case=last)


def _write_back(state: State) -> StateFlush:
    return state.freeze().job()


def _batches(entries: int, cases: int) -> Iterator[bytes]:
    """The data of each entry: first each Samu's opening, then case by case its creation and its share of the acts."""
    last: dict[str, int] = {}
    acts = entries - SAMU
    for number in range(entries):
        now_ms = BEGINS_MS + number * DAY_MS // entries
        opens = number < SAMU
        site, payload = (samu(number), Opening(None, 0, None)) if opens else _act(number - SAMU, acts, cases)
        seq = last[site] = last.get(site, -1) + 1
        operation = Operation(
            OperationId(site, _incarnation(site), seq), 0, number, HybridTime(now_ms), now_ms, site, payload
        )
        yield batch(now_ms, LEVEL, (encode_operation(operation),))


def _act(place: int, acts: int, cases: int) -> tuple[str, Payload]:
    """The act at this place: case `place * cases // acts`, its creation where the one before was another case's."""
    number = place * cases // acts
    site, first = samu(number), -(-number * acts // cases)
    if place == first:
        return site, work.creation(site, number)
    return site, work.act(site, work.case_id(site, number), place - first, NOTE_BYTES)


def _incarnation(site: str) -> bytes:
    return site.encode().rjust(16, b".")[-16:]
