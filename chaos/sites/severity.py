"""Which priorities and care levels stand, told a second time, from who knew of what.

A value stands until somebody who knew of it has said another. Of those that stand the most severe holds (DOMAIN: "the
more severe holds until a person has decided").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaos.nodes.checks import violated
from chaos.sites.papers import Issued
from replica.cases import keys
from replica.cases.act import CLOCK_AHEAD_MS
from replica.cases.commands import ChangeCareLevel, ChangePriority, DecideConflict, Report
from replica.cases.draft import Draft
from replica.cases.operations import Operation
from replica.cases.state import Held
from replica.cases.verdicts import Verdict, VerdictKind
from replica.offline.lives import is_drain

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

    def apart_is_said(self, issued: Issued, verdict: Verdict, case: str, field: str, value: str) -> None:
        """Who says another value than one that stands, and did not know of it, is told so."""
        standing = self.of(case, field).standing
        apart = [said for said in standing if said.value != value and not issued.knew(said.by, said.index)]
        if apart and verdict.kind is not VerdictKind.CONFLICT:
            text = f"{issued.name} said {value} of {field} of {case} apart and was told {verdict.kind.value}"
            raise violated("NothingLostSilently", text, f"{apart[0].by.name} said {apart[0].value}")

    def stands(self, case: str, field: str, draft: Draft) -> None:
        """Compare a priority's or care level's values with those that stand."""
        mine = self.of(case, field)
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


def most_severe(case: str, field: str, values: Sequence[str], held: Sequence[Held]) -> None:
    """The value that holds is the most severe of all that stand."""
    if held and rank(field, held[0].value) > min(rank(field, value) for value in values):
        raise violated("MoreSevereHolds", f"{held[0].value} holds as {field} of {case}", values)
