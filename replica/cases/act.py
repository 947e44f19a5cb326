"""One operation being applied: what every rule needs to know of it, and what the rules found.

`index`, `term` and the leader's time come from the log; the clock is clamped here, once (docs/offline.md, "Clock").
"""

from __future__ import annotations

from msgspec import Struct

from replica.cases import gate
from replica.cases.draft import Draft
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.rules import Rules
from replica.cases.state import Held, Mark
from replica.cases.verdicts import Finding, Verdict, VerdictKind

CLOCK_AHEAD_MS = 500
"""A hybrid clock may be this far ahead of the leader's time; beyond, it is taken as that."""

NO_AUTHORITY = "no-authority"
"""The rule named where a value went in, but its author had no authority over what it is said of (rule 11)."""

_RANK = {kind: rank for rank, kind in enumerate(VerdictKind)}


def clamped(clock: HybridTime, time_ms: int) -> HybridTime:
    """A site hours ahead neither wins everything nor poisons the others' clocks."""
    limit = time_ms + CLOCK_AHEAD_MS
    return clock if clock.wall_ms <= limit else HybridTime(limit, clock.counter)


class Act(Struct):
    """`position`: of the operation in its entry; `drain`: it comes under a draining incarnation (rule 8), so it is a
    stranger's whatever its site; `rules`: of the level its entry was appended under; `spoken`: the highest level that
    every voter spoke then; `heard`: the sites that were heard then; `anchor`: the case in whose history its verdict
    belongs, empty for none."""

    draft: Draft
    operation: Operation
    index: int
    position: int
    time_ms: int
    drain: bool
    clock: HybridTime
    rules: Rules
    spoken: int
    heard: tuple[str, ...] = ()
    findings: list[Finding] = []
    anchor: str = ""
    ordinal: int = 0

    @property
    def site(self) -> str:
        return self.operation.id.site

    @property
    def mark(self) -> Mark:
        return Mark(self.operation.id, self.index)

    def held(self, value: str, authority: bool, at_ms: int = 0, before: str = "") -> Held:
        """`value` with where it comes from. `at_ms` 0: the operation's own time."""
        said = self.operation.clock
        return Held(
            value,
            self.operation.id,
            self.index,
            self.time_ms,
            self.clock,
            self.operation.act_ms,
            at_ms or self.operation.act_ms,
            self.operation.author,
            authority,
            before,
            None if said == self.clock else said,
        )

    def seen(self, other: OperationId, index: int) -> bool:
        return gate.seen(self.draft, self.operation, other, index)

    def find(
        self, subject: str, field_name: str, key: str, kind: VerdictKind, rule: str, other: OperationId | None = None
    ) -> None:
        """Note what a rule said of one field; plain `applied` needs no word."""
        if kind is not VerdictKind.APPLIED:
            self.findings.append(Finding(subject, field_name, key, kind, rule, other))

    def next_ordinal(self) -> int:
        self.ordinal += 1
        return self.ordinal

    def verdict(self) -> Verdict:
        """The highest of what was found."""
        kind = VerdictKind.APPLIED
        for finding in self.findings:
            if _RANK[finding.kind] > _RANK[kind]:
                kind = finding.kind
        return Verdict(kind, tuple(self.findings))


def refused(reason: str) -> Verdict:
    """A refused operation consumes its number (rule 5); the reason is for a person."""
    return Verdict(VerdictKind.REFUSED, (), reason)


def plain(authority: bool) -> VerdictKind:
    """Rule 11, none left: `applied`, or `merged` when without authority."""
    return VerdictKind.APPLIED if authority else VerdictKind.MERGED
