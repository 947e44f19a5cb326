"""The product and the naive model side by side, on histories from a seed; and the smallest on which they differ.

A history is what people and lines do at three sites: somebody says something, journals are sent, doubled, overtaken,
cut; stores are opened again, restored from a backup, drained. `Played` turns it into a log of operations, has every
entry applied by both, and compares verdicts entry by entry and what holds at the end.

`python -m tests.cases.naive_merge --histories 100000` runs it. Nothing here knows a rule of the merge.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from replica.cases import queries
from replica.cases.commands import Opening, Payload, Report, TakeOver
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.views import CaseView, ElementView, FieldView, RequestView, ResourceView
from tests.cases.naive_fields import case_in
from tests.cases.naive_histories import CASES, EPOCH_AS_KNOWN, REQUEST, SITES, VEHICLES, Step, Teller
from tests.cases.naive_log import DEVIATIONS, Missions, Thing, Values
from tests.cases.naive_merge import Naive
from tests.cases.world import NOON, A, B, World, creation, vehicle


@dataclass
class Store:
    """One site's store: its life, its journal, and what it has followed."""

    name: str
    life: bytes
    last: int = 0
    seen: int = 0
    epoch: int = 1
    clock_ms: int = 0
    journal: list[Operation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two say something else. `index`: of the entry, 0: at the end."""

    index: int
    what: str
    product: object
    naive: object


class Played:
    """A history played on both. Ends at the first difference."""

    def __init__(
        self, history: Sequence[Step], strictly: Collection[str] = (), ruin: Callable[[Naive], None] | None = None
    ) -> None:
        self.world, self.naive = World(), Naive(strictly)
        if ruin is not None:
            ruin(self.naive)
        self.stores = [Store(name, bytes((1 + place,)) * 16) for place, name in enumerate(SITES)]
        self.kinds: list[str] = []
        self.lines: list[str] = []
        self.difference: Difference | None = None
        self._lives = 10
        self._backups: dict[int, Store] = {}
        self._lost: list[Operation] = []
        self._sent: list[Operation] = []
        self._begin()
        for step in history:
            if self.difference is None:
                self._step(step)
        for store in self.stores:
            while self._send(store, len(store.journal)):
                pass
        if self.difference is None:
            self.difference = differing(self.world, self.naive)

    def _begin(self) -> None:
        """Every site is open, one case of A's, one of B's, one vehicle of A's and one of B's are known to all."""
        for store in self.stores:
            store.journal.append(self._operation(store, Opening(None, 0, None), 0))
            self._send(store, 1)
        known = (creation("c1", A), creation("c2", B), vehicle("r1", A), vehicle("r2", B))
        for number, payload in enumerate(known):
            place = number % 2
            payload = msgspec.structs.replace(payload, message=f"known {number}")
            self._say(self.stores[place], payload)
            self._send(self.stores[place], 1)
        for place, store in enumerate(self.stores):
            self._follow(store)
            self._backups[place] = replace(store, journal=[])

    def _step(self, step: Step) -> None:
        store, other = self.stores[step.site], self.stores[step.other]
        match step.what:
            case "say" if step.payload is not None:
                self._say(store, step.payload, step.more, step.key)
            case "send":
                self._send(store, step.more)
            case "both":
                self._agree([*store.journal[:1], *other.journal[: step.more]])
            case "again" if self._sent:
                self._agree([self._sent[-step.more % len(self._sent)]])
            case "ahead":
                self._agree(store.journal[1:2])
            case "follow":
                self._follow(store)
            case "clock":
                store.clock_ms = step.more
            case "epoch":  # it has the entry, and does not know it yet
                store.epoch = max(1, store.epoch - 1)
            case "late" if self._lost:
                self._agree([self._lost[-step.more % len(self._lost)]])
            case "back up":
                self._backups[step.site] = replace(store, journal=list(store.journal))
            case "reopen":
                self._open(store)
            case "restore":
                self._restore(step.site)
            case "drain":
                self._drain(store)

    def _operation(self, store: Store, payload: Payload, seq: int, act_ms: int = 0, key: str = "") -> Operation:
        now = self.world.now_ms
        clock = HybridTime(now + store.clock_ms, seq % 3)
        ident = OperationId(store.name, store.life, seq)
        return Operation(ident, store.epoch, store.seen, clock, now + act_ms, "someone", payload, 0, key)

    def _say(self, store: Store, payload: Payload, act_ms: int = 0, key: str = "") -> None:
        store.last += 1
        if isinstance(payload, TakeOver) and payload.epoch == EPOCH_AS_KNOWN:
            payload = msgspec.structs.replace(payload, epoch=queries.epoch_of(self.world.records, payload.owner))
        store.journal.append(self._operation(store, payload, store.last, act_ms, key))

    def _follow(self, store: Store) -> None:
        store.seen, store.epoch = self.world.index, queries.epoch_of(self.world.records, store.name)

    def _new_life(self) -> bytes:
        self._lives += 1
        return bytes((self._lives,)) * 16

    def _open(self, store: Store) -> None:
        """Another life of the same store (rule 3)."""
        opening = Opening(store.life, store.last, store.life)
        store.life, store.last = self._new_life(), 0
        store.journal.append(self._operation(store, opening, 0))

    def _restore(self, place: int) -> None:
        """A backup takes the store's place: what was said since is lost there, but may still be on its way."""
        backup = self._backups[place]
        held = {operation.id for operation in backup.journal}
        self._lost += [operation for operation in self.stores[place].journal if operation.id not in held]
        self.stores[place] = replace(backup, journal=list(backup.journal))
        self._open(self.stores[place])

    def _drain(self, store: Store) -> None:
        """What was lost of a life that is closed comes as a stranger's (rule 8)."""
        for stream in queries.streams(self.world.records, store.name):
            life, closed_at = stream.incarnation, stream.closed_at
            lost = [one for one in self._lost if closed_at is not None and one.id.incarnation == life]
            lost = sorted((one for one in lost if one.id.seq > (closed_at or 0)), key=lambda one: one.id.seq)
            if not lost:
                continue
            name = OperationId(store.name, b"drain" + life[:11], 0)
            opening = self._operation(store, Opening(life, closed_at or 0, None, drain=True), 0)
            moved = [replace_id(one, name, number) for number, one in enumerate([opening, *lost])]
            self._agree(moved)
            return

    def _send(self, store: Store, count: int) -> bool:
        """The first of the journal; what waits there stays. An opening that is stale is worded anew (rule 7). Whether
        anything was taken."""
        before = len(store.journal)
        first = store.journal[0] if store.journal else None
        if first is not None and isinstance(first.payload, Opening):
            current = queries.current(self.world.records, store.name)
            again = msgspec.structs.replace(first.payload, replaces=current)
            if self._lives % 4:
                store.journal[0] = msgspec.structs.replace(first, payload=again)
        self._agree(store.journal[:count])
        return len(store.journal) < before

    def _agree(self, operations: list[Operation]) -> None:
        """One entry, on both sides; what is decided, or never will be, leaves the journals."""
        if not operations or self.difference is not None:
            return
        effects = self.world.agree(*operations)
        product = {one.id: one.verdict.kind.value for one in effects.decided}
        held: list[tuple[OperationId, str]] = list(effects.held)
        naive = self.naive.take(self.world.log[-1], effects.index)
        said = [(ident, word if isinstance(word, str) else word.value) for ident, word in naive]
        self._told(self.world.log[-1], effects.index, product, held, said)
        self.kinds += product.values()
        self._sent += operations
        gone = {*product, *(ident for ident, word in held if word in ("duplicate", "closed"))}
        for store in self.stores:
            store.journal = [one for one in store.journal if one.id not in gone]

    def _told(
        self,
        batch: Batch,
        index: int,
        product: dict[OperationId, str],
        held: list[tuple[OperationId, str]],
        naive: list[tuple[OperationId, str]],
    ) -> None:
        waiting = list(held)
        decided = dict(product)
        for operation, (ident, word) in zip(batch.operations, naive, strict=True):
            if (ident, word) in waiting:
                waiting.remove((ident, word))
                theirs = word
            elif decided.get(ident) is not None and word not in ("gap", "stale", "closed"):
                theirs = decided.pop(ident)
            else:
                theirs = decided.pop(ident, next((one for who, one in waiting if who == ident), "?"))
            self.lines.append(
                f"entry {index}: {worded(operation)} → {theirs}{'' if theirs == word else f', naive: {word}'}"
            )
            if theirs != word and self.difference is None:
                self.difference = Difference(index, f"the verdict on {ident}", theirs, word)


def replace_id(operation: Operation, name: OperationId, seq: int) -> Operation:
    return msgspec.structs.replace(operation, id=OperationId(name.site, name.incarnation, seq))


def worded(operation: Operation) -> str:
    """An operation in one line, for people."""
    ident, clock = operation.id, operation.clock.wall_ms - NOON
    life = ident.incarnation[:1].hex() if ident.incarnation[:5] != b"drain" else "drain"
    said = f"{ident.site[-3:]}/{life}/{ident.seq} (saw {operation.seen}, epoch {operation.epoch}, clock {clock:+}"
    return f"{said}{f', key {operation.key}' if operation.key else ''}) {operation.payload}"


# --- what holds ---

Held = tuple[str, str]


def _shown(values: Sequence[Held]) -> object:
    """The value that holds, and all that stand there with who said them, in any order."""
    return (values[0][0], sorted(values)) if values else ()


def _of_product(fields: Sequence[FieldView]) -> dict[tuple[str, str], object]:
    shown: dict[tuple[str, str], object] = {}
    for one in fields:
        values = [(value.value, value.operation) for value in one.values]
        proposed = sorted((value.value, value.operation) for value in one.proposed)
        shown[one.field, one.key] = (_shown(values), proposed, one.conflict)
    return shown


def _of_naive(fields: dict[tuple[str, str], Values]) -> dict[tuple[str, str], object]:
    shown: dict[tuple[str, str], object] = {}
    for (name, key), one in fields.items():
        meaning = case_in if name == "engagement" else str
        values = [(said.value, str(said.by)) for said in one.holds]
        proposed = sorted((said.value, str(said.by)) for said in one.proposed)
        conflict = len({meaning(said.value) for said in one.holds}) > 1
        if values or proposed:
            shown[name, key] = (_shown(values), proposed, conflict)
    return shown


def _elements(elements: Sequence[ElementView]) -> list[tuple[str, str, str]]:
    return sorted((one.field, one.key, _note(one.value.value)) for one in elements)


def _note(value: str) -> str:
    """A note made here, in the naive model's words."""
    if not value.startswith("{"):
        return value
    note = json.loads(value)
    second = int(datetime.fromisoformat(note["creation"]).timestamp())
    return f"{second} {note['operator']['role']} {note.get('patientId', '')} {note['freetext']}"


def differing(world: World, naive: Naive) -> Difference | None:
    """The first thing that does not hold on both sides."""
    for what, product, model in _everything(world, naive):
        if product != model:
            if isinstance(product, dict) and isinstance(model, dict):
                name = next(one for one in sorted({*product, *model}) if product.get(one) != model.get(one))
                return Difference(0, f"{what}: {name}", product.get(name), model.get(name))
            return Difference(0, what, product, model)
    return None


def _everything(world: World, naive: Naive) -> Iterator[tuple[str, object, object]]:
    records = world.records
    for case in CASES:
        yield from _case(queries.read_case(records, case), naive, naive.things.get(("case", case)))
    for resource in VEHICLES:
        yield from _resource(queries.read_resource(records, resource), naive, naive.things.get(("resource", resource)))
    yield from _request(queries.read_request(records, REQUEST), naive.things.get(("request", REQUEST)))
    for samu in SITES:
        yield f"the epoch of {samu}", queries.epoch_of(records, samu), naive.epoch(samu)
        view = queries.site(records, samu)
        yield f"{samu} was restored", view is not None and view.restored, samu in naive.restored


def _case(view: CaseView | None, naive: Naive, case: Thing | None) -> Iterator[tuple[str, object, object]]:
    if view is None or case is None:
        yield "a case", view, case
        return
    yield f"fields of {case.id}", _of_product([*view.fields, *view.statuses]), _of_naive(case.fields)
    yield f"elements of {case.id}", _elements(view.elements), sorted(case.elements)
    yield f"owner and status of {case.id}", (view.owner, view.status), (case.owner, naive.own_status(case))
    yield f"{case.id} is incomplete", view.incomplete, case.created is None
    yield f"who is in charge of {case.id}", (view.charge.holder, view.charge.since_index), _charge(naive, case)
    missions = {one.resource: [run[:2] for run in one.missions] for one in view.engagements if one.missions}
    yield f"missions for {case.id}", missions, _missions(naive.missions, case.id)


def _charge(naive: Naive, thing: Thing) -> tuple[str, int]:
    holder, since = naive.in_charge(thing)
    return holder, since.place[0] if since is not None else 0


def _missions(missions: dict[tuple[str, str], Missions], case: str) -> dict[str, list[tuple[int, str]]]:
    mine = {resource: one.runs for (resource, served), one in missions.items() if served == case and one.runs}
    return {resource: [(run.n, run.said.value) for run in runs] for resource, runs in mine.items()}


def _resource(view: ResourceView | None, naive: Naive, thing: Thing | None) -> Iterator[tuple[str, object, object]]:
    if view is None or thing is None:
        yield "a resource", view, thing
        return
    yield f"fields of {thing.id}", _of_product(view.fields), _of_naive(thing.fields)
    yield f"elements of {thing.id}", _elements(view.elements), sorted(thing.elements)
    yield f"owner of {thing.id}", view.owner, thing.owner
    yield f"who is in charge of {thing.id}", (view.charge.holder, view.charge.since_index), _charge(naive, thing)


def _request(view: RequestView | None, thing: Thing | None) -> Iterator[tuple[str, object, object]]:
    if view is None or thing is None:
        yield "a request", view, thing
        return
    yield "fields of the request", _of_product(view.fields), _of_naive(thing.fields)
    yield "case and owner of the request", (view.case, view.owner), (thing.case, thing.owner)


# --- many histories, and the smallest that differs ---


def disagrees(history: Sequence[Step], strictly: Collection[str] = ()) -> bool:
    return Played(history, strictly).difference is not None


def shrunk(history: Sequence[Step], fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Fewer steps, then fewer subjects and facts, as long as it still fails."""
    small, size = list(history), len(history)
    while size:
        place, before = 0, len(small)
        while place < len(small):
            fewer = small[:place] + small[place + size :]
            if fails(fewer):
                small = fewer
            else:
                place += size
        size = size // 2 if len(small) == before else min(size, len(small))
    for place in range(len(small)):
        for step in iter(_less(small[place])):
            tried = [*small[:place], step, *small[place + 1 :]]
            if fails(tried):
                small = tried
                break
    return small


def _less(step: Step) -> Iterator[Step]:
    """A report with one subject or one fact less, down to the smallest; smallest first."""
    report = step.payload
    if not isinstance(report, Report):
        return
    for subject in report.subjects:
        bare = msgspec.structs.replace(subject, facts=())
        for facts in ((), *((fact,) for fact in subject.facts), subject.facts):
            said = msgspec.structs.replace(bare, facts=facts)
            yield replace(step, payload=msgspec.structs.replace(report, subjects=(said,)))


def report_of(seed: int, strictly: Collection[str] = ()) -> str:
    """The smallest history like that of `seed` on which the two differ, entry by entry."""
    small = shrunk(Teller(seed).history(), lambda history: disagrees(history, strictly))
    played = Played(small, strictly)
    difference = played.difference
    assert difference is not None
    steps = [f"  {step.what} {SITES[step.site][-3:]} {step.more} {step.payload or ''}" for step in small]
    told = [f"  {line}" for line in played.lines]
    where = f"at entry {difference.index}" if difference.index else "at the end"
    found = [f"  {where}, {difference.what}", f"    product: {difference.product}", f"    naive:   {difference.naive}"]
    return "\n".join(
        [f"seed {seed} differs; its smallest part is", *steps, "which becomes", *told, "and differs", *found]
    )


def check(seeds: range, strictly: Collection[str] = ()) -> tuple[int | None, int]:
    """(the first seed on which they differ, or None; how many operations were decided)."""
    decided = 0
    for seed in seeds:
        played = Played(Teller(seed).history(), strictly)
        decided += len(played.kinds)
        if played.difference is not None:
            return seed, decided
    return None, decided


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 they agree, 1 they do not."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.cases.naive_merge", description=about)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, metavar="S", help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, metavar="J")
    parser.add_argument(
        "--strictly",
        nargs="+",
        default=(),
        choices=tuple(DEVIATIONS),
        help="hold the product to the rules in these too",
    )
    args = parser.parse_args(words)
    end, began = args.start + args.histories, time.monotonic()
    parts = [range(seed, min(seed + 500, end)) for seed in range(args.start, end, 500)]
    histories = operations = 0
    with ProcessPoolExecutor(args.jobs) as pool:
        each = pool.map if args.jobs > 1 else map
        for part, (seed, decided) in zip(parts, each(check, parts, [args.strictly] * len(parts)), strict=True):
            if seed is not None:
                print(report_of(seed, args.strictly))
                return 1
            histories, operations = histories + len(part), operations + decided
            if histories % 5000 < len(part) or part is parts[-1]:
                passed = f"{time.monotonic() - began:.0f} s"
                print(f"{histories} histories, {operations} operations agree, {passed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
