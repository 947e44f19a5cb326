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
from chaos.sites.charges import Charges, Opened, Turn
from chaos.sites.papers import ACT, Drawer, Issued, Life, name_of
from chaos.sites.severity import SCALES, Said, Severities, rank, said_in
from replica.cases import authority, keys
from replica.cases.act import CLOCK_AHEAD_MS
from replica.cases.commands import (
    AddNote,
    CloseCase,
    Command,
    DecideConflict,
    EndTakeOver,
    EngageResource,
    HandBack,
    Opening,
    ReleaseResource,
    ReopenCase,
    Report,
    SetStatus,
    TakeOver,
    TransferCase,
)
from replica.cases.draft import Draft
from replica.cases.operations import Operation, OperationId
from replica.cases.state import HEAD, Held
from replica.cases.verdicts import Effects, Verdict, VerdictKind
from replica.offline.lives import is_drain
from replica.storage import JournalAppend, JournalTrim, LogSave
from replica.wire.operation_codec import decode_batch, decode_operation

NEVER = 1 << 62
"""An index above all."""
TURNS = (TakeOver, HandBack, EndTakeOver)
REFUSALS = {
    "the epoch of": "take-over by an old epoch",
    "is heard": "take-over of who is heard",
    "is past": "take-over whose end is past",
    "has not asked": "hand-back that was not asked for",
}
"""A part of a reason → what it means."""
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
        self.charges = Charges()
        self.severities = Severities()
        self.opened: dict[tuple[str, str], Opened] = {}
        """(kind, id) → how it stands in the state."""
        self._holders: dict[tuple[str, str, str, int], str] = {}
        """(kind, id, its Samu, epoch) → who has decided there plainly."""
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
            self.agreed(effects, decode_batch(data).operations if effects.decided or effects.held else (), state)

    def _once(self, effects: Effects) -> None:
        for one in effects.decided:
            before = self.decided.get(one.id)
            if before is not None:
                raise violated("NothingAppliedTwice", f"{one.id} is decided again", before[0], effects.index)
        super()._once(effects)

    def agreed(self, effects: Effects, operations: Sequence[Operation], state: Any) -> None:
        """An entry that nobody has applied before: what it held, and the state behind it."""
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
            self._look_at(operation, state)

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
            self._turn(effects, operation, operation.payload)
        issued = self.issued.get(name)
        if issued is None or not name.startswith(ACT):
            return
        if issued.turned_away:
            raise violated("EveryOperationHasOneVerdict", f"{name} was turned away, and is agreed", f"at {index}")
        if name not in self.durable_ever and operation.id.site in self._sites:
            raise violated("DurableFirst", f"{name} is agreed at {index}, and was never on a disk of its site", issued)
        self._charge(operation, verdict, issued, moved)
        self._note(index, operation, verdict, issued)
        drained = is_drain(operation.id.incarnation)
        for case, field, value in said_in(operation, verdict):
            self._apart_is_said(issued, verdict, case, field, value)
            self.severities.said(case, field, Said(value, index, issued, drained))

    def _apart_is_said(self, issued: Issued, verdict: Verdict, case: str, field: str, value: str) -> None:
        """Who says another value than one that stands, and did not know of it, is told so."""
        standing = self.severities.of(case, field).standing
        apart = [said for said in standing if said.value != value and not issued.knew(said.by, said.index)]
        if apart and verdict.kind is not VerdictKind.CONFLICT:
            text = f"{issued.name} said {value} of {field} of {case} apart and was told {verdict.kind.value}"
            raise violated("NothingLostSilently", text, f"{apart[0].by.name} said {apart[0].value}")

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

    # ------------------------------------------------------------------ authority

    def _charge(self, operation: Operation, verdict: Verdict, issued: Issued, moved: set[tuple[str, str]]) -> None:
        payload = operation.payload
        # To reopen what is open is no act.
        if verdict.kind is VerdictKind.APPLIED and not isinstance(payload, Report | ReopenCase):
            subject = subject_of(payload)
            if subject is not None and subject not in moved:
                self._plainly(operation, issued, subject)
        if isinstance(payload, Report):
            moved.update((subject.kind, subject.id) for subject in payload.subjects)
        elif isinstance(payload, TransferCase | DecideConflict):
            moved.add(("case", payload.case if isinstance(payload, TransferCase) else payload.id))

    def _turn(self, effects: Effects, operation: Operation, payload: TakeOver | HandBack | EndTakeOver) -> None:
        """The charge of a Samu's work, or of some of its cases, is another's from here on."""
        samu, site, index, name = payload.owner, operation.id.site, effects.index, name_of(operation)
        if name not in self.issued:  # a node's own doing
            seen = operation.seen
            self.issued[name] = Issued(name, site, Life(site, frozenset()), 0, seen, payload, "")
        if isinstance(payload, TakeOver):
            if payload.epoch != self.charges.epoch(samu):
                told = f"for epoch {payload.epoch}", f"it is {self.charges.epoch(samu)}"
                raise violated("AuthorityIsOne", f"a take-over of {samu} was agreed", *told)
            cases = payload.cases or None
            self.charges.turn(samu, Turn(index, name, site, payload.by, cases, payload.until_ms))
        elif isinstance(payload, HandBack):
            holders = {self.charges.holder(samu)}
            if payload.cases:
                holders = {self.charges.of(case, self.opened["case", case])[0] for case in payload.cases}
            if holders != {site}:
                raise violated("AuthorityIsOne", f"{site} handed {samu} back, in the hands of", holders, operation)
            self.charges.turn(samu, Turn(index, name, site, samu, payload.cases or None))
        else:
            self._ends(effects, payload, name)

    def _ends(self, effects: Effects, payload: EndTakeOver, name: str) -> None:
        turn = self.charges.raised(payload.owner, payload.epoch)
        if turn is None or not turn.until_ms or turn.until_ms > effects.time_ms:
            told = f"{turn}", f"the zones' time is {effects.time_ms}"
            raise violated("AuthorityIsOne", f"a take-over of {payload.owner} has ended before its time", *told)
        cases = None
        if turn.cases is not None:
            taken = [case for case in turn.cases if self.charges.of(case, self.opened["case", case])[1] is turn]
            cases = tuple(taken)
        self.charges.turn(payload.owner, Turn(effects.index, name, turn.holder, payload.owner, cases))

    def _plainly(self, operation: Operation, issued: Issued, subject: tuple[str, str]) -> None:
        """It was applied as of somebody in charge: that must be so, and its author must have known it."""
        opened = self.opened.get(subject)
        if opened is None:
            return  # opened in this very entry
        if self.charges.is_muddled(opened.owner, opened.opened_index):
            self._counts["two turns in one entry"] += 1
            return
        holder, turn = self.charges.of(subject[1], opened)
        site = operation.id.site
        if site != holder or is_drain(operation.id.incarnation):
            text = f"{issued.name} decided on {subject[1]} plainly"
            raise violated("AuthorityIsOne", text, f"{holder} is in charge", operation)
        if turn is not None:
            by = self.issued[turn.name]
            if not issued.knew(by, turn.index):
                text = f"{issued.name} decided on {subject[1]} plainly, not knowing whose it was"
                raise violated("AuthorityIsOne", text, f"turned at {turn.index}", f"seen {issued.seen}")
        epoch = self.charges.epoch(opened.owner)
        first = self._holders.setdefault((*subject, opened.owner, epoch), site)
        if first != site:
            raise violated("AuthorityIsOne", f"two decide on {subject[1]} in epoch {epoch}", first, site)

    # ------------------------------------------------------------------ the state behind an entry

    def _look_at(self, operation: Operation, state: Any) -> None:
        """Compare what the entry touched with what was written down."""
        payload, draft = operation.payload, Draft(state)
        if isinstance(payload, TURNS):
            charge = authority.charge_of(draft, payload.owner)
            mine = self.charges.holder(payload.owner), self.charges.epoch(payload.owner)
            if (charge.holder, charge.epoch) != mine:
                raise violated("AuthorityIsOne", f"the charge of {payload.owner}", charge, mine)
        for subject in subjects_of(payload):
            self._learn(draft, subject)
            if subject[0] == "case":
                for field in SCALES:
                    self.stands(subject[1], field, draft)

    def _learn(self, draft: Draft, subject: tuple[str, str]) -> None:
        head = draft.load(keys.head(*subject), HEAD)
        if head is None:
            return
        known = self.opened.get(subject)
        if known is None:
            self.opened[subject] = Opened(head.owner, head.opened_by, head.opened.index)
        elif known.owner != head.owner:
            self._counts["owner changed"] += 1
            self.opened[subject] = Opened(head.owner, head.opened_by, head.opened.index, max(self.entries))

    def stands(self, case: str, field: str, draft: Draft) -> None:
        """Compare a priority's or care level's values with those that stand."""
        mine = self.severities.of(case, field)
        held = draft.slot(keys.group(keys.parts("case", case), "core", ""), field).siblings
        here = {one.author for one in held}
        for stands in mine.standing:
            if stands.by.name not in here:
                text = f"{stands.by.name} said {stands.value} of {field} of {case}, and it is gone"
                raise violated("NothingLostSilently", text, [one.author for one in held])
        for one in held:
            said_over = mine.over.get(one.author)
            drained = is_drain(one.operation.incarnation) or (said_over is not None and said_over.drained)
            if said_over is not None and not drained:
                text = f"{one.author} said {one.value} of {field} of {case}, and stands again"
                raise violated("LaterOfOneSiteHolds", text, f"after {said_over.by.name}", said_over.value)
            limit_ms = one.time_ms + CLOCK_AHEAD_MS
            said = one.clock if one.said is None else one.said
            if one.clock.wall_ms > limit_ms or (said.wall_ms > limit_ms) != (one.said is not None):
                text = f"{one.author} said {one.value} of {field} of {case} by a clock that is ahead"
                raise violated("ClocksAreBounded", text, one.clock, f"said {one.said}, the zones' time {one.time_ms}")
        most_severe(case, field, [one.value for one in held] + [one.value for one in mine.standing], held)


def most_severe(case: str, field: str, values: Sequence[str], held: Sequence[Held]) -> None:
    """The value that holds is the most severe of all that stand."""
    if held and rank(field, held[0].value) > min(rank(field, value) for value in values):
        raise violated("MoreSevereHolds", f"{held[0].value} holds as {field} of {case}", values)


def level_of(issued: Issued) -> str:
    """Which field a plain change of severity is about."""
    tag = str(issued.payload.__struct_config__.tag)
    return {"change-priority": "priority", "change-care-level": "care_level"}.get(tag, "")


def subject_of(payload: Command | Any) -> tuple[str, str] | None:
    """Whose authority a command asks for."""
    match payload:
        case SetStatus(resource=resource) | EngageResource(resource=resource) | ReleaseResource(resource=resource):
            return "resource", resource
        case DecideConflict(subject=kind, id=ident):
            return kind, ident
        case CloseCase(case=case) | ReopenCase(case=case) | TransferCase(case=case):
            return "case", case
    of_case: str | None = getattr(payload, "case", None)
    return None if of_case is None else ("case", of_case)


def subjects_of(payload: Any) -> list[tuple[str, str]]:
    """All that an operation may have changed."""
    if isinstance(payload, Report):
        return [(subject.kind, subject.id) for subject in payload.subjects]
    subject = subject_of(payload)
    return [] if subject is None else [subject]
