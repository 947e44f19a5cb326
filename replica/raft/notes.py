"""Small facts the core tells its driver, who logs them. One vocabulary for operator, test and code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """`what` happened (a fixed word, `became-leader`), with its few numbers in `facts`, in a fixed order."""

    what: str
    facts: tuple[tuple[str, int | str], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.what, *(f"{name}={value}" for name, value in self.facts)])
