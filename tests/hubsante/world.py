"""A state that reports are applied to, one entry each: the shipped state machine with one site that speaks for all."""

from __future__ import annotations

from collections.abc import Iterable

from replica.cases.commands import Opening, Payload, RegisterOrganisation, Report
from replica.cases.machine import apply
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.records import Empty, Overlay
from replica.cases.verdicts import Effects, VerdictKind
from replica.hubsante.speakers import speakers, with_sender
from replica.hubsante.values import Content

SITE = "site"
LIFE = b"\x01" * 16
START_MS = 1_700_000_000_000


class World:
    """`index` entries were applied to `records`."""

    def __init__(self, organisations: Iterable[str] = ()) -> None:
        self.records = Overlay(Empty())
        self.index = 0
        self.apply(Opening(None, 0, None))
        for organisation in organisations:
            self.apply(RegisterOrganisation(organisation, organisation, SITE))

    def apply(self, payload: Payload, act_ms: int = 0) -> Effects:
        self.index += 1
        time_ms = START_MS + self.index * 1000
        operation = Operation(
            id=OperationId(SITE, LIFE, self.index - 1),
            epoch=0,
            seen=self.index - 1,
            clock=HybridTime(time_ms),
            act_ms=act_ms or time_ms,
            author="test",
            payload=payload,
        )
        effects = apply(self.records, Batch(time_ms, 1, (operation,)), self.index, 1)
        assert [one.id for one in effects.decided] == [operation.id], effects.held
        self.records.update(dict(effects.changes))
        return effects

    def report(self, content: Content) -> VerdictKind | None:
        """What became of a content; None where it is no report."""
        if not isinstance(content.outcome, Report):
            return None
        report = content.outcome
        if not report.sender:
            report = with_sender(report, next(iter(speakers(report)), ""))
        (decided,) = self.apply(report, content.act_ms).decided
        return decided.verdict.kind
