"""What came of all mutants: the table, the JSON, and the page of the documentation, which is made from the JSON alone.

Leaves out: running them (command.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.mutants.mutant import Mutant
from chaos.mutants.workshop import Caught

PAGE = """\
# Mutants

{mutants} lies of one line, each told to a copy of the program and caught: by a scenario of `tests/raft/scenarios`, by a
named test, or by an invariant of the simulated world. {caught} of {mutants} were caught{survived}. The same checks pass
on the program as it is ({baseline}).

Made by `python -m chaos mutants --json docs/mutants.json`, then `python -m chaos mutants --docs docs/mutants.md`.

| mutant | the lie | in | caught by | seeds |
|---|---|---|---|---|
{rows}
"""


@dataclass(slots=True)
class Report:
    """Results in the order of the catalogue."""

    baseline: dict[str, Any] = field(default_factory=dict)
    results: list[tuple[Mutant, Caught]] = field(default_factory=list)

    @property
    def survived(self) -> list[str]:
        return [mutant.name for mutant, caught in self.results if caught.by is None]

    @property
    def ok(self) -> bool:
        return not self.survived

    def as_json(self) -> dict[str, Any]:
        return {
            "mutants": len(self.results),
            "caught": len(self.results) - len(self.survived),
            "survived": self.survived,
            "baseline": self.baseline,
            "by": dict(sorted(Counter(kind(caught.by) for _, caught in self.results if caught.by).items())),
            "table": [_row(mutant, caught) for mutant, caught in self.results],
            "ok": self.ok,
        }


def kind(by: str) -> str:
    """Who caught it, coarsely: one scenario is as good as the next, an invariant is named."""
    first = by.split(" ", 1)[0]
    return first if first in ("scenario", "test") else by


def _row(mutant: Mutant, caught: Caught) -> dict[str, Any]:
    return {
        "name": mutant.name,
        "sentence": mutant.sentence,
        "file": mutant.file,
        "caught_by": caught.by,
        "detail": caught.detail,
        "seeds": caught.seeds,
        "seconds": round(caught.seconds, 1),
    }


def line(mutant: Mutant, caught: Caught, width: int) -> str:
    """One row of the table on the terminal."""
    seeds = "" if caught.seeds is None else f"{caught.seeds} seeds"
    return f"{mutant.name:<{width}}  {caught.by or 'SURVIVED':<52.52}  {seeds:>10}  {caught.seconds:>6.1f} s"


def page(report: dict[str, Any]) -> str:
    """The page of the documentation, from the JSON of a run."""
    rows = "\n".join(_page_row(row) for row in report["table"])
    names: Sequence[str] = report["survived"]
    survived = f"; survived: {', '.join(names)}" if names else ""
    baseline = report["baseline"]
    told = f"{baseline['checks']} checks, {baseline['seeds']} seeds"
    return PAGE.format(mutants=report["mutants"], caught=report["caught"], survived=survived, baseline=told, rows=rows)


def _page_row(row: dict[str, Any]) -> str:
    caught_by = str(row["caught_by"] or "nobody").replace("|", "\\|")
    seeds = "" if row["seeds"] is None else row["seeds"]
    sentence = str(row["sentence"]).replace("|", "\\|")
    return f"| {row['name']} | {sentence} | `{row['file']}` | {caught_by} | {seeds} |"
