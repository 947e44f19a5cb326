"""What the system must reach on one machine, and how it is read out of the commands' reports."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from msgspec import Struct

Read: TypeAlias = Callable[[dict[str, Any]], float | None]
"""A report → the value, None where it does not have it."""


class Row(Struct, frozen=True, kw_only=True):
    """One target. `most`: the value may be at most that; else at least. `values`: one per round, in order."""

    act: str
    target: str
    limit: float
    most: bool
    unit: str
    values: tuple[float, ...]

    @property
    def met(self) -> bool:
        """Whether the median of the rounds reaches it."""
        if not self.values:
            return False
        middle = statistics.median(self.values)
        return middle <= self.limit if self.most else middle >= self.limit

    def reached(self) -> float:
        """The median as a share of the target; above 1 is better, whichever way the target goes."""
        middle = statistics.median(self.values)
        if self.most:
            return self.limit / middle if middle > 0 else 2.0
        return middle / self.limit if self.limit else 2.0

    def text(self) -> str:
        """The values, in the order of the rounds."""
        digits = 2 if self.limit < 10 else 1 if self.limit < 100 else 0
        return " / ".join(f"{value:,.{digits}f}" for value in self.values) + f" {self.unit}" if self.values else "-"

    def word(self) -> str:
        """How it stands."""
        if not self.values:
            return "not measured"
        return "reached" if self.met else "missed"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a row comes from: the report's name, and how the value is read out of it."""

    act: str
    target: str
    report: str
    read: Read
    limit: float
    most: bool
    unit: str


def rows(reports: Sequence[dict[str, Any]]) -> tuple[Row, ...]:
    """Every target, with one value for each round that has it. `reports`: per round, name → report."""
    return tuple(
        Row(
            act=one.act,
            target=one.target,
            limit=one.limit,
            most=one.most,
            unit=one.unit,
            values=tuple(
                round(value, 4)
                for reported in reports
                if one.report in reported and (value := one.read(reported[one.report])) is not None
            ),
        )
        for one in TARGETS
    )


def at(*path: str | int) -> Read:
    """The value at a path of names and places; None where there is none."""

    def read(report: dict[str, Any]) -> float | None:
        found: Any = report
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return None if found is None else float(found)

    return read


def _most(act: str, target: str, report: str, read: Read, limit: float, unit: str) -> Target:
    return Target(act, target, report, read, limit, True, unit)


def _least(act: str, target: str, report: str, read: Read, limit: float, unit: str) -> Target:
    return Target(act, target, report, read, limit, False, unit)


def _where(name: str, field: str, **matching: object) -> Read:
    """`field` of the first element of the list `name` that has these values."""

    def read(report: dict[str, Any]) -> float | None:
        for element in report.get(name, ()):
            if all(element.get(key) == value for key, value in matching.items()):
                return None if element.get(field) is None else float(element[field])
        return None

    return read


TARGETS: Final[tuple[Target, ...]] = ()
