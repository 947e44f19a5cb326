"""The result as a person reads it: the figures, and each (field, rule) that differed with one example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chaos.cuts.trial import CutsResult, Listed

Group: TypeAlias = tuple[str, str, str, list[Listed]]
SHOWN: Final = 60
"""Characters of a value in the table."""
NAMED: Final = 20
"""Unexplained differences and problems that are printed; all of them are in the JSON."""


def show(console: Console, result: CutsResult) -> None:
    """Figures, table, and what is wrong, if anything is."""
    for name, messages in result.stories.items():
        _say(console, f"{name}: {messages} messages")
    if result.refused:
        _say(console, f"refused at the door, with and without a cut: {', '.join(result.refused)}")
    groups = list(by_field(result.differences))
    if groups:
        console.print(_table(groups))
    for number, (_, _, _, some) in enumerate(groups, 1):
        _say(console, f"{number}, for one: {_sentence(some[0])}")
    for one in result.unexplained[:NAMED]:
        _say(console, f"✗ nothing explains it: {_sentence(one)}")
    for problem in result.problems[:NAMED]:
        _say(console, f"✗ {problem}")
    _say(console, last_line(result))


def last_line(result: CutsResult) -> str:
    """Everything in one line."""
    verdicts = ", ".join(f"{count} {kind}" for kind, count in result.verdicts.items())
    return (
        f"{result.messages} messages, {result.runs} runs with a cut, {result.undiffering} without a difference; "
        f"{len(result.differences)} differences with their rule, {len(result.unexplained)} without; "
        f"{result.operations} operations, {result.journalled} of them journalled while cut off, verdicts: {verdicts}; "
        f"lost {result.lost}, duplicated {result.duplicated}, digests equal: {result.digests_equal}, "
        f"reconciled in {result.reconcile_ms_max} ms at most, {result.seconds:.0f} s: "
        f"{'ok' if result.ok else 'NOT OK'}"
    )


def by_field(differences: Iterable[Listed]) -> Iterator[Group]:
    """(kind of subject and field without its key, rule, why) and the differences it made, the most frequent first."""
    groups: dict[tuple[str, str, str], list[Listed]] = {}
    for one in differences:
        kind, field = one.subject.partition(" ")[0], one.field.partition(" [")[0]
        groups.setdefault((f"{kind} {field}", one.rule, one.why), []).append(one)
    for (field, rule, why), some in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        yield field, rule, why, some


def _table(groups: Iterable[Group]) -> Table:
    table = Table(title="What holds otherwise than without the cut", title_justify="left")
    for heading in ("", "field", "rule", "verdict", "count"):
        table.add_column(heading, justify="right" if heading in ("", "count") else "left", overflow="fold")
    for number, (field, rule, why, some) in enumerate(groups, 1):
        verdicts = ", ".join(sorted({one.verdict for one in some}))
        table.add_row(str(number), escape(field), escape(f"{rule}: {why}"), verdicts, str(len(some)))
    return table


def _sentence(one: Listed) -> str:
    told = f"; told by {one.told_by}: {one.verdict}" if one.told_by else ""
    return (
        f"{one.story}, {one.variant} cut before {one.number} ({one.cut_before}): {one.subject} {one.field} "
        f"is {_short(one.with_)}, without the cut {_short(one.without)}{told}"
    )


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    return value if len(value) <= SHOWN else f"{value[: SHOWN - 1]}…"


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)
