"""Told what the world of sites sees: each disk's records, each agreed entry, each receipt. Raises `InvariantViolated`.

Nothing here asks a node what it thinks; the agreed entries are decoded from the leaders' own bytes, the journals from
what the disks were given, and who knew of what from papers.py. reading.py checks what nodes show, ending.py what is
left when all is calm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chaos.nodes.checks import Checks, violated
from chaos.nodes.process import Host, Process
from chaos.sites.in_charge import TURNS, InCharge, subjects_of
from chaos.sites.papers import ACT, Drawer, Issued, Life, name_of
from chaos.sites.severity import SCALES, Said, Severities, said_in
from replica.cases.act import CLOCK_AHEAD_MS
from replica.cases.commands import AddNote, DecideConflict, Opening, Report
from replica.cases.draft import Draft
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.operations import Batch, Operation, OperationId
from replica.cases.verdicts import Effects, Verdict, VerdictKind
from replica.offline.lives import is_drain
from replica.storage import JournalAppend, JournalTrim, LogSave
from replica.wire.operation_codec import decode_batch, decode_operation

NEVER = 1 << 62
"""An index above all."""
REFUSALS = {
    "the epoch of": "take-over by an old epoch",
    "is heard": "take-over of who is heard",
    "is past": "take-over whose end is past",
    "has not asked": "hand-back that was not asked for",
}
"""A part of a reason → what it means."""
NO_BATCH = Batch(0, HIGHEST_LEVEL, ())
NOT_DONE = (VerdictKind.REFUSED, VerdictKind.DUPLICATE)


class SiteChecks(Checks):
    """Beside what the base class is told: the papers of chaos/sites."""

    def __init__(self, zones: Sequence[Host], ever: Mapping[str, Host], counts: Counter[str]) -> None:
        super().__init__(zones, ever, counts)
        self.issued: dict[str, Issued] = {}
        self.drawers: dict[str, Drawer] = {}
        """Host → its disk's."""
        self.lives: dict[Process, Life] = {}
        self.agreed_at: dict[str, int] = {}
        """Name → index."""
        self.applied_ids: dict[str, OperationId] = {}
        """Name → the id it was decided under."""
        self.notes: dict[str, dict[str, int]] = {}
        """Case → text of each agreed note → index."""
        self.in_charge = InCharge(self.issued, counts)
        self.severities = Severities()
        self.openings: dict[str, dict[bytes, Opening]] = {}
        """Site → its agreed openings."""
        self.undurable: dict[str, set[str]] = {}
        """Host → what people there have handed in and no disk has."""
        self._data: dict[tuple[int, int], bytes] = {}
        self._named: dict[OperationId, str] = {}
        self.durable_ever: set[str] = set()

    # ------------------------------------------------------------------ disks

    def took(self, host: Host, jobs: Sequence[Any]) -> None:
        """Jobs became durable on this host's disk."""
        for job in jobs:
            match job:
                case LogSave(entries=entries):
                    for entry in entries:
                        if entry.index not in self.entries:
                            self._data[entry.index, entry.term] = entry.data
                case JournalAppend(records):
                    for incarnation, seq, payload in records:
                        self._journalled(host, incarnation, seq, decode_operation(payload))
                case JournalTrim(through):
                    for incarnation, seq in through:
                        self._trimmed(host, incarnation, seq)

    def drawer(self, host: Host) -> Drawer:
        return self.drawers.setdefault(host.name, Drawer())

    def _journalled(self, host: Host, incarnation: bytes, seq: int, operation: Operation) -> None:
        drawer = self.drawer(host)
        drawer.tops[incarnation] = max(seq, drawer.tops.get(incarnation, 0))
        if seq == 0:
            return
        name = name_of(operation)
        self._is_named(operation.id, name)
        drawer.held[incarnation, seq] = name
        drawer.names.add(name)
        self.durable_ever.add(name)
        self.undurable.get(host.name, set()).discard(name)

    def _is_named(self, ident: OperationId, name: str) -> None:
        before = self._named.setdefault(ident, name)
        if before != name:
            raise violated("NoNumberReused", f"{ident} stands for two acts", before, name)

    def _trimmed(self, host: Host, incarnation: bytes, seq: int) -> None:
        drawer, store = self.drawer(host), host.disk.store
        assert store is not None, f"{host.name} trims a journal and has no store"
        flushed = store.state.applied()[0]
        going = [place for place in drawer.held if place[0] == incarnation and place[1] <= seq]
        gone = {place: drawer.held.pop(place) for place in going}
        for place, name in gone.items():
            at = self.agreed_at.get(name)
            if (at is None or at > flushed) and name not in drawer.held.values():
                where = f"verdict at {at}, flushed to {flushed}"
                raise violated("TrimmingLosesNothing", f"{host.name} lets go of {name}", place[1], where)

    # ------------------------------------------------------------------ lives and acts

    def opens(self, process: Process) -> None:
        """A life begins on what its disk holds now. A zone's own callers have no journal (decision 0004)."""
        name = process.host.name
        if process.host.is_zone:
            self.drawers[name] = Drawer()
        self.lives[process] = Life(name, frozenset(self.drawer(process.host).names))
        self.undurable[name] = set()

    def issues(self, issued: Issued) -> None:
        """Somebody is about to hand an act in."""
        self.issued[issued.name] = issued
        self.undurable.setdefault(issued.life.host, set()).add(issued.name)

    def turned_away(self, issued: Issued) -> None:
        """Its author was told that it is surely not done."""
        issued.turned_away = True
        self.undurable[issued.life.host].discard(issued.name)
        if issued.name in self.durable_ever or issued.name in self.agreed_at:
            raise violated("EveryOperationHasOneVerdict", f"{issued.name} was turned away, and is kept", issued)

    def receipt(self, host: Host, issued: Issued, operation: OperationId, told: tuple[int, Verdict] | None) -> None:
        """Its author has a receipt: agreed with (index, verdict), or journalled."""
        issued.receipted = True
        drawer = self.drawer(host)
        if not host.is_zone and issued.name not in drawer.names:
            raise violated("DurableFirst", f"a receipt for {issued.name}, and it is not on the disk", operation)
        if told is not None:
            self._is_decided(operation, issued, *told)
        if isinstance(issued.payload, Report):
            drawer.opens.update(subject.id for subject in issued.payload.subjects if subject.creates)
        done = told is None or told[1].kind not in NOT_DONE
        if isinstance(issued.payload, AddNote) and done:
            drawer.promised.setdefault(issued.case, set()).add(issued.text)
        field = "" if host.is_zone or issued.again else level_of(issued)
        if field and (told is None or told[1].kind not in (*NOT_DONE, VerdictKind.PROPOSED)):
            last = drawer.levels.get((issued.case, field))
            if last is None or issued.knew(last, NEVER):
                drawer.levels[issued.case, field] = issued

    def _is_decided(self, operation: OperationId, issued: Issued, index: int, verdict: Verdict) -> None:
        known = self.decided.get(self.applied_ids.get(issued.name, operation))
        if known is None:
            raise violated("EveryOperationHasOneVerdict", f"{issued.name} is called agreed and is not", operation)
        plain = verdict.kind is VerdictKind.APPLIED and not index  # as far as is remembered
        if not plain and (index not in (0, known[0]) or verdict != known[1]):
            facts = f"told {verdict} at {index}", f"the log has {known}"
            raise violated("EveryOperationHasOneVerdict", f"{issued.name} has two verdicts", *facts)

    # ------------------------------------------------------------------ the agreed log

    def _same(self, process: Process, index: int, digest: str) -> None:
        known = self.entries.get(index)
        if known is not None and known.digest != digest:
            raise violated("DigestsEqual", f"{process.host.name} at {index}", digest, f"{known.who}: {known.digest}")

    def arrived(self, process: Process, effects: Effects, digest: str) -> None:
        first = effects.index not in self.entries
        if not first:
            self._same(process, effects.index, digest)
        super().arrived(process, effects, digest)
        if first:
            data = self._data.pop((effects.index, effects.term), b"")
            assert process.running is not None, "an entry at a node that is not up"
            state = process.running.node.state
            batch = decode_batch(data) if effects.decided or effects.held else NO_BATCH
            self.agreed(effects, batch.operations, state, batch.level)

    def _once(self, effects: Effects) -> None:
        for one in effects.decided:
            before = self.decided.get(one.id)
            if before is not None:
                raise violated("NothingAppliedTwice", f"{one.id} is decided again", before[0], effects.index)
        super()._once(effects)

    def agreed(self, effects: Effects, operations: Sequence[Operation], state: Any, level: int = HIGHEST_LEVEL) -> None:
        """An entry that nobody has applied before: what it held, and the state behind it. `level`: whose rules it was
        applied by."""
        self.in_charge.level = level
        if len(operations) != len(effects.decided) + len(effects.held):
            counts = f"{len(operations)} operations, {len(effects.decided)} verdicts, {len(effects.held)} held"
            raise violated("EveryOperationHasOneVerdict", f"entry {effects.index} does not add up", counts)
        verdicts = {one.id: one.verdict for one in effects.decided}
        moved: set[tuple[str, str]] = set()
        for operation in operations:
            if operation.clock.wall_ms > effects.time_ms + CLOCK_AHEAD_MS:
                self._counts["clock clamped"] += 1
            verdict = verdicts.pop(operation.id, None)
            if verdict is None:
                self._held(effects, operation)
            else:
                self._decided(effects, operation, verdict, moved)
        for operation in operations:
            self._look_at(effects.index, operation, state)

    def _held(self, effects: Effects, operation: Operation) -> None:
        """The gate has let nothing of it pass: what it calls duplicate must be this very act."""
        why = next((word for ident, word in effects.held if ident == operation.id), "")
        self._counts[f"gate: {why}"] += 1
        if why == "duplicate" and operation.id.seq:
            name = self._named.get(operation.id)
            if operation.id not in self.decided or (name is not None and name != name_of(operation)):
                text = f"{name_of(operation)} is called a duplicate of another act"
                raise violated("NoNumberReused", text, operation.id, name)

    def _decided(self, effects: Effects, operation: Operation, verdict: Verdict, moved: set[tuple[str, str]]) -> None:
        if isinstance(operation.payload, Opening):
            self.openings.setdefault(operation.id.site, {})[operation.id.incarnation] = operation.payload
            return
        index, name = effects.index, name_of(operation)
        before = self.applied_ids.setdefault(name, operation.id)
        if before != operation.id:
            raise violated("NothingAppliedTwice", f"{name} is decided under two ids", before, operation.id)
        self.agreed_at[name] = index
        self._is_named(operation.id, name)
        self._tell(operation, verdict)
        if isinstance(operation.payload, TURNS) and verdict.kind is VerdictKind.APPLIED:
            self.in_charge.turn(effects, operation, operation.payload)
        issued = self.issued.get(name)
        if issued is None or not name.startswith(ACT):
            return
        if issued.turned_away:
            raise violated("EveryOperationHasOneVerdict", f"{name} was turned away, and is agreed", f"at {index}")
        if name not in self.durable_ever and operation.id.site in self._sites:
            raise violated("DurableFirst", f"{name} is agreed at {index}, and was never on a disk of its site", issued)
        self.in_charge.decided(operation, verdict, issued, moved)
        self._note(index, operation, verdict, issued)
        drained = is_drain(operation.id.incarnation)
        for case, field, value in said_in(operation, verdict):
            self.severities.apart_is_said(issued, verdict, case, field, value)
            self.severities.said(case, field, Said(value, index, issued, drained))

    @property
    def _sites(self) -> set[str]:
        return {name for name, host in self._ever.items() if not host.is_zone}

    def _tell(self, operation: Operation, verdict: Verdict) -> None:
        """Count the branches that a run of many seeds must have met."""
        tag = str(operation.payload.__struct_config__.tag)
        if verdict.kind is VerdictKind.REFUSED:
            word = next((word for part, word in REFUSALS.items() if part in verdict.reason), tag)
            self._counts[f"refused: {word}"] += 1
        else:
            self._counts[f"agreed: {tag}"] += 1
        if is_drain(operation.id.incarnation):
            self._counts["drained act decided"] += 1
        if isinstance(operation.payload, DecideConflict):
            if verdict.kind is VerdictKind.CONFLICT:
                self._counts["two people have decided apart"] += 1
            elif verdict.kind in (VerdictKind.APPLIED, VerdictKind.MERGED):
                self._counts["conflict decided"] += 1

    def _note(self, index: int, operation: Operation, verdict: Verdict, issued: Issued) -> None:
        if not isinstance(operation.payload, AddNote) or verdict.kind is VerdictKind.DUPLICATE:
            return
        if verdict.kind is VerdictKind.REFUSED:
            text = f"the note of {issued.name} was taken by its site and refused: {verdict.reason}"
            raise violated("NotesNeverLost", text, operation.id)
        texts = self.notes.setdefault(issued.case, {})
        if issued.text in texts:
            raise violated("NothingAppliedTwice", f"{issued.text} is applied again", texts[issued.text], index)
        texts[issued.text] = index

    # ------------------------------------------------------------------ the state behind an entry

    def _look_at(self, index: int, operation: Operation, state: Any) -> None:
        """Compare what the entry touched with what was written down."""
        payload, draft = operation.payload, Draft(state)
        if isinstance(payload, TURNS):
            self.in_charge.compare(draft, payload.owner)
        for subject in subjects_of(payload):
            self.in_charge.learn(draft, subject, index)
            if subject[0] == "case":
                for field in SCALES:
                    self.severities.stands(subject[1], field, draft)


def level_of(issued: Issued) -> str:
    """Which field a plain change of severity is about."""
    tag = str(issued.payload.__struct_config__.tag)
    return {"change-priority": "priority", "change-care-level": "care_level"}.get(tag, "")
