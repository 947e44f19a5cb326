"""A small world for the tests: one log, sites that number their operations, and messages in a line each."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from replica.cases import digest, machine, queries
from replica.cases.commands import Fact, Opening, Payload, Report, Subject
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.records import Empty, Overlay
from replica.cases.verdicts import Effects, Verdict, VerdictKind
from replica.cases.views import CaseView, FieldView, ResourceView

A, B, C = "fr.health.samu440", "fr.health.samu690", "fr.health.samu750"
FIRE = "fr.fire.sis077"
"""An organisation that no site of ours serves."""
NOON = 1_700_000_000_000
"""The leader's time when the log begins."""

APPLIED = VerdictKind.APPLIED
DUPLICATE = VerdictKind.DUPLICATE
MERGED = VerdictKind.MERGED
PROPOSED = VerdictKind.PROPOSED
SUPERSEDED = VerdictKind.SUPERSEDED
CONFLICT = VerdictKind.CONFLICT
REFUSED = VerdictKind.REFUSED


@dataclass
class Site:
    """One process of a site: its numbers, and how far it has followed the log."""

    name: str
    incarnation: bytes
    world: World
    last: int = 0
    seen: int | None = None
    """How far it follows; None: as far as the log goes."""
    have: int = 0
    clock_ms: int = 0
    """How far its clock is ahead of the world's."""
    epoch: int | None = None

    def operation(self, payload: Payload, act_ms: int = 0, key: str = "") -> Operation:
        """The next operation of this site, not sent yet."""
        self.last += 1
        return self.numbered(self.last, payload, act_ms, key)

    def numbered(self, seq: int, payload: Payload, act_ms: int = 0, key: str = "") -> Operation:
        now = self.world.now_ms
        return Operation(
            OperationId(self.name, self.incarnation, seq),
            queries.epoch_of(self.world.records, self.name) if self.epoch is None else self.epoch,
            self.world.index if self.seen is None else self.seen,
            HybridTime(now + self.clock_ms),
            act_ms or now,
            f"someone at {self.name}",
            payload,
            self.have,
            key,
        )

    def do(self, payload: Payload, act_ms: int = 0, key: str = "") -> Verdict:
        """Say it and have it agreed at once."""
        return self.world.verdict(self.operation(payload, act_ms, key))

    def cut(self) -> Site:
        """From here on it sees no more, not even a change of its own epoch."""
        self.seen, self.epoch = self.world.index, queries.epoch_of(self.world.records, self.name)
        return self

    def heal(self) -> Site:
        self.seen = self.epoch = None
        return self


@dataclass
class World:
    """The agreed log, applied as it grows."""

    records: Overlay = field(default_factory=lambda: Overlay(Empty()))
    index: int = 0
    now_ms: int = NOON
    log: list[Batch] = field(default_factory=list)
    spoken: int = HIGHEST_LEVEL
    """What every voter speaks."""
    heard: tuple[str, ...] = ()
    """The sites that the zones hear."""

    def agree(self, *operations: Operation, level: int = 0) -> Effects:
        """The next entry of the log. `level`: as its leader appended it; 0: the state's."""
        self.index += 1
        self.now_ms += 1000
        batch = Batch(self.now_ms, level or queries.feature_level(self.records), operations, self.spoken, self.heard)
        self.log.append(batch)
        effects = machine.apply(self.records, batch, self.index, 1)
        self.records.update(dict(effects.changes))
        return effects

    def verdict(self, operation: Operation) -> Verdict:
        """Have it agreed, alone; it must pass the gate."""
        effects = self.agree(operation)
        assert [one.id for one in effects.decided] == [operation.id], effects.held
        return effects.decided[0].verdict

    def held(self, operation: Operation) -> str:
        """Have it brought to the gate, which must not let it pass; the gate's word."""
        before = dict(self.records.changes)
        effects = self.agree(operation)
        assert effects.decided == ()
        assert effects.changes == ()
        assert dict(self.records.changes) == before
        return effects.held[0][1]

    def open(self, name: str, byte: int = 1) -> Site:
        """A first life of a site, accepted."""
        site = Site(name, bytes((byte,)) * 16, self)
        assert self.verdict(site.numbered(0, Opening(None, 0, None))).kind is APPLIED
        return site

    def case(self, case_id: str = "c1") -> CaseView:
        view = queries.read_case(self.records, case_id, self.index)
        assert view is not None, f"no case {case_id}"
        return view

    def resource(self, resource_id: str = "r1") -> ResourceView:
        view = queries.read_resource(self.records, resource_id, self.index)
        assert view is not None, f"no resource {resource_id}"
        return view

    def check(self) -> None:
        """What must hold after every entry: the digests kept are those of the records."""
        assert queries.digests(self.records) == digest.recomputed(self.records)


def two_sites() -> tuple[World, Site, Site]:
    world = World()
    return world, world.open(A, 1), world.open(B, 2)


def three_sites() -> tuple[World, Site, Site, Site]:
    world, a, b = two_sites()
    return world, a, b, world.open(C, 3)


_messages = count()


def report(*subjects: Subject, message: str = "", sender: str = A, documents: tuple[Fact, ...] = ()) -> Report:
    return Report(message or f"m{next(_messages)}", "RS-EDA", sender, subjects, documents)


def creation(case_id: str = "c1", owner: str = A, *more: Fact, message: str = "") -> Report:
    said = (Fact("owner", owner), *more) if owner else more
    return report(Subject("case", case_id, said, owner, creates=True), message=message, sender=owner)


def update(case_id: str, *said: Fact, message: str = "", sender: str = A) -> Report:
    return report(Subject("case", case_id, said), message=message, sender=sender)


def about(resource: str, case: str, *said: Fact, message: str = "", creates: bool = False, sender: str = A) -> Report:
    """A report about a resource, for a case or for none."""
    return report(Subject("resource", resource, said, case=case, creates=creates), message=message, sender=sender)


def vehicle(resource: str, owner: str, case: str = "") -> Report:
    """A resource described by its owner; for a case, that engages it."""
    said = (Fact("organisation", owner), Fact("vehicle_type", "SMUR.VLM"))
    return about(resource, case, *said, creates=True, sender=owner)


def status(word: str, at_ms: int = 0) -> Fact:
    return Fact("status", word, at_ms=at_ms)


def values(view: CaseView | ResourceView, name: str, key: str = "") -> list[str]:
    """All that a field holds, the holder first."""
    return [value.value for value in field_of(view, name, key).values]


def proposals(view: CaseView | ResourceView, name: str, key: str = "") -> list[str]:
    return [value.value for value in field_of(view, name, key).proposed]


def field_of(view: CaseView | ResourceView, name: str, key: str = "") -> FieldView:
    statuses = view.statuses if isinstance(view, CaseView) else ()
    found = [one for one in (*view.fields, *statuses) if one.field == name and one.key == key]
    return found[0] if found else FieldView(name, (), key)


def past(view: CaseView | ResourceView, name: str) -> list[str]:
    """The values of a field that do not hold, oldest first."""
    return [one.value.value for one in view.history if one.field == name]


def notes(view: CaseView) -> list[str]:
    return [one.value.value for one in view.elements if one.field in ("medical_note", "freetext", "decision")]
