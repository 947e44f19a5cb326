"""Which priorities and care levels stand, told a second time, from who knew of what.

A value stands until somebody who knew of it has said another. Of those that stand the most severe holds (DOMAIN: "the
more severe holds until a person has decided").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.sites.papers import Issued
from replica.cases.commands import ChangeCareLevel, ChangePriority, DecideConflict, Report
from replica.cases.operations import Operation
from replica.cases.verdicts import Verdict, VerdictKind

SCALES = {"priority": ("P0", "P1", "P2", "P3", "NR"), "care_level": ("R1", "R2", "R3", "R4")}
"""Most severe first."""


@dataclass(frozen=True, slots=True)
class Said:
    """One agreed value. `drained`: it came under a drain, whose past is told as shorter than it was."""

    value: str
    index: int
    by: Issued
    drained: bool


@dataclass(slots=True)
class Field:
    standing: list[Said] = field(default_factory=list)
    over: dict[str, Said] = field(default_factory=dict)
    """Name → who replaced it, knowing of it."""


class Severities:
    """Every case's two fields."""

    def __init__(self) -> None:
        self._fields: dict[tuple[str, str], Field] = {}

    def said(self, case: str, name: str, said: Said) -> None:
        of = self.of(case, name)
        replaced = [one for one in of.standing if said.by.knew(one.by, one.index)]
        of.standing = [one for one in of.standing if one not in replaced] + [said]
        of.over.update((one.by.name, said) for one in replaced)

    def of(self, case: str, name: str) -> Field:
        return self._fields.setdefault((case, name), Field())

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)


def rank(name: str, value: str) -> int:
    """Lower is more severe."""
    return SCALES[name].index(value)


def said_in(operation: Operation, verdict: Verdict) -> list[tuple[str, str, str]]:
    """(case, field, value) of what this operation has said of a priority or care level, by its verdict."""
    if verdict.kind in (VerdictKind.REFUSED, VerdictKind.DUPLICATE):
        return []
    match operation.payload:
        case ChangePriority(case, value):
            return [(case, "priority", value)]
        case ChangeCareLevel(case, value, ""):
            return [(case, "care_level", value)]
        case DecideConflict("case", case, name, "", value) if name in SCALES:
            return [] if verdict.kind is VerdictKind.PROPOSED else [(case, name, value)]
        case Report(subjects=subjects):
            cases = [subject for subject in subjects if subject.kind == "case"]
            return [(one.id, fact.field, fact.value) for one in cases for fact in one.facts if fact.field in SCALES]
    return []
