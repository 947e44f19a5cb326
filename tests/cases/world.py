"""A small world for the tests: one log, sites that number their operations, and messages in a line each."""

from __future__ import annotations

from dataclasses import dataclass, field

from replica.cases import machine, queries
from replica.cases.commands import Command, Fact, Opening, Payload, RegisterOrganisation, Report, Subject
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.records import Empty, Overlay
from replica.cases.verdicts import Decided, Effects, Verdict, VerdictKind
from replica.cases.views import CaseView, ResourceView

A, B, C = "fr.health.samu440", "fr.health.samu690", "fr.health.samu750"
FIRE = "fr.fire.sis077"
NOON = 1_700_000_000_000
"""The leader's time when the log begins."""


@dataclass
class Site:
    """One process of a site: its numbers, and how far it has followed the log."""

    name: str
    incarnation: bytes
    world: World
    last: int = 0
    seen: int = 0
    cut: bool = False
    have: int = 0
    clock_ms: int = 0
    """Added to the world's time."""

    def operation(self, payload: Payload, **more: object) -> Operation:
        """The next operation of this site, not yet sent."""
        self.last += 1
        return self.numbered(self.last, payload, **more)

    def numbered(self, seq: int, payload: Payload, **more: object) -> Operation:
        now = self.world.now_ms
        said: dict[str, object] = {
            "epoch": queries.epoch_of(self.world.records, self.name),
            "seen": self.seen if self.cut else self.world.index,
            "clock": HybridTime(now + self.clock_ms),
            "act_ms": now,
            "author": f"someone at {self.name}",
            "have": self.have,
            **more,
        }
        return Operation(OperationId(self.name, self.incarnation, seq), payload=payload, **said)  # type: ignore[arg-type]

    def do(self, payload: Payload, **more: object) -> Verdict:
        """Say it and have it agreed at once."""
        return self.world.verdict(self.operation(payload, **more))

    def cut_off(self) -> Site:
        """From here on it has seen no more than this."""
        self.cut, self.seen = True, self.world.index
        return self

    def heal(self) -> Site:
        self.cut = False
        return self


@dataclass
class World:
    """The agreed log, applied as it grows. Every entry is also replayed as plain records on a second replica."""

    records: Overlay = field(default_factory=lambda: Overlay(Empty()))
    replica: Overlay = field(default_factory=lambda: Overlay(Empty()))
    index: int = 0
    now_ms: int = NOON
    log: list[Batch] = field(default_factory=list)

    def agree(self, *operations: Operation, time_ms: int | None = None) -> Effects:
        self.index += 1
        self.now_ms += 1000
        batch = Batch(self.now_ms if time_ms is None else time_ms, queries.feature_level(self.records), operations)
        self.log.append(batch)
        effects = machine.apply(self.records, batch, self.index, 1)
        self.records.update(dict(effects.changes))
        for key, value in effects.changes:
            self.replica.put(key, value)
        return effects

    def verdict(self, operation: Operation) -> Verdict:
        effects = self.agree(operation)
        assert [one.id for one in effects.decided] == [operation.id], effects.held
        return effects.decided[0].verdict

    def open(self, name: str, byte: int = 1) -> Site:
        """A site's first life, accepted."""
        site = Site(name, bytes((byte,)) * 16, self)
        current = queries.current(self.records, name)
        opening = Opening(None, 0, current)
        self.agree(site.numbered(0, opening))
        return site

    def case(self, case_id: str = "c1") -> CaseView:
        view = queries.read_case(self.records, case_id, self.index)
        assert view is not None
        return view

    def resource(self, resource_id: str = "r1") -> ResourceView:
        view = queries.read_resource(self.records, resource_id, self.index)
        assert view is not None
        return view

    def apart(self, first: Operation, second: Operation) -> tuple[Verdict, Verdict]:
        """Two operations issued before either was agreed, agreed in this order."""
        return self.verdict(first), self.verdict(second)


def two_sites() -> tuple[World, Site, Site]:
    world = World()
    return world, world.open(A, 1), world.open(B, 2)


def facts(**said: str) -> tuple[Fact, ...]:
    """`priority="P1"`; a key after two underscores: `status__org`; a dot as one underscore between words is not made."""
    return tuple(Fact(name, value) for name, value in said.items())


_messages = iter(range(1_000_000_000))


def report(*subjects: Subject, message: str = "", sender: str = A, documents: tuple[Fact, ...] = ()) -> Report:
    return Report(message or f"m{next(_messages)}", "RS-EDA", sender, subjects, documents)


def creation(case_id: str = "c1", owner: str = A, *more: Fact, message: str = "", sender: str = "") -> Report:
    said = (Fact("owner", owner), *more) if owner else more
    return report(
        Subject("case", case_id, said, organisation=owner, creates=True), message=message, sender=sender or owner
    )


def update(case_id: str, *said: Fact, message: str = "", sender: str = A) -> Report:
    return report(Subject("case", case_id, said), message=message, sender=sender)


def about(resource: str, case: str, *said: Fact, message: str = "", creates: bool = False, sender: str = A) -> Report:
    """A report about a resource; `organisation` facts say whose it is."""
    return report(Subject("resource", resource, said, case=case, creates=creates), message=message, sender=sender)


def vehicle(resource: str, owner: str, case: str = "") -> Report:
    return about(resource, case, Fact("organisation", owner), Fact("vehicle_type", "SMUR.VLM"), creates=True)


def status(word: str, at_ms: int = 0) -> Fact:
    return Fact("status", word, at_ms=at_ms)


def kinds(verdict: Verdict) -> list[str]:
    return [finding.kind.value for finding in verdict.findings]


APPLIED = VerdictKind.APPLIED
MERGED = VerdictKind.MERGED
PROPOSED = VerdictKind.PROPOSED
SUPERSEDED = VerdictKind.SUPERSEDED
CONFLICT = VerdictKind.CONFLICT
REFUSED = VerdictKind.REFUSED
DUPLICATE = VerdictKind.DUPLICATE

