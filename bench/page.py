"""docs/benchmarks.md, written from reports: nothing on that page is typed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench.machine import Machine
from bench.targets import Row

PLOTS: Final = "benchmarks"
MOST_ROWS: Final = 24
"""Of a table; of a longer one, rows at equal distances."""
HEAD: Final = """# Benchmarks

Written by `python -m bench all`; what is said here was measured, on this machine, in these rounds. Every figure can be
made again with the command of its name; [what makes it fast, and what does not](fast.md) says why they are so. fsync
is on everywhere but where it is said; zones, sites, callers and peers share the machine's cores, so throughput is what
their CPU allows. "Reached" goes by the median of the rounds.
"""


def page(rows: Sequence[Row], reports: Sequence[dict[str, Any]], machine: Machine, beside: Path) -> str:
    """The page as Markdown. `reports`: per round, name → report; `beside`: the folder the page lies in."""
    latest: dict[str, Any] = {}
    for reported in reports:
        latest |= reported
    return "\n".join(
        (
            HEAD,
            f"{machine.line()}; {', '.join(f'{name} {number}' for name, number in machine.packages.items())}.\n",
            *_targets(rows, len(reports)),
            *(line for name, report in sorted(latest.items()) for line in _section(name, report, beside)),
        )
    )


def _targets(rows: Sequence[Row], rounds: int) -> Iterator[str]:
    yield f"## Targets, {rounds} rounds\n"
    yield "| act | target | measured, by round | |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {row.act} | {row.target} | {row.text()} | {row.word()} |"
    yield ""


def _section(name: str, report: dict[str, Any], beside: Path) -> Iterator[str]:
    """One report of the last round: its plot, its profile where it has one, and what was not measured."""
    yield f"## {name}\n"
    if (beside / PLOTS / f"{name}.svg").exists():
        yield f"![{name}]({PLOTS}/{name}.svg)\n"
    if "profiles" in report:
        yield from _profile(report["profiles"])
    else:
        yield from _plain(report)
    missing = report.get("not_measured", ())
    if missing:
        yield "Not measured: " + "; ".join(missing) + ".\n"


def _profile(profiles: Sequence[dict[str, Any]]) -> Iterator[str]:
    hops = list(dict.fromkeys(hop for one in profiles for hop in one["us"]))
    yield "Microseconds of CPU of one agreed operation.\n"
    yield "| hop | " + " | ".join(f"{one['role']}, {one['callers']} callers" for one in profiles) + " |"
    yield "|---|" + "---|" * len(profiles)
    for hop in hops:
        yield f"| {hop} | " + " | ".join(f"{one['us'].get(hop, 0):.1f}" for one in profiles) + " |"
    yield "| **all** | " + " | ".join(f"**{one['total_us']:.0f}**" for one in profiles) + " |\n"


def _plain(report: dict[str, Any]) -> Iterator[str]:
    """The plain values of a report, and its lists of like rows as tables."""
    known = ("machine", "not_measured", "quick")
    flat = {key: value for key, value in report.items() if key not in known}
    said = [(key, value) for key, value in flat.items() if not isinstance(value, dict | list)]
    plain = [f"{key} {_text(value)}" for key, value in said if value is not None and value != ""]
    if plain:
        yield "; ".join(plain) + ".\n"
    for key, value in flat.items():
        if isinstance(value, dict):
            rowed = all(isinstance(inner, dict) for inner in value.values())
            named = [{"": name} | _shallow(inner) for name, inner in value.items()] if rowed else [_shallow(value)]
            yield from _table(key, named)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _table(key, [_shallow(one) for one in value])


def _shallow(value: Any) -> dict[str, Any]:
    """One row's cells: plain values as they are, those one level down with their way in the name."""
    if not isinstance(value, dict):
        return {"value": None if isinstance(value, list) else value}
    cells: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            deeper = {f"{key} {name}": one for name, one in inner.items() if not isinstance(one, dict | list)}
            cells |= deeper
        elif isinstance(inner, list):
            rates = [one for one in inner if isinstance(one, dict) and {"callers", "per_s"} <= one.keys()]
            cells |= {f"{one['callers']:,} callers per_s": one["per_s"] for one in rates}
        else:
            cells[key] = inner
    return cells


def _table(title: str, table: Sequence[dict[str, Any]]) -> Iterator[str]:
    columns = list(dict.fromkeys(column for row in table for column in row))
    if not columns or all(len(row) <= 1 and "" in row for row in table):
        return
    yield f"`{title}`\n"
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    every = -(-len(table) // MOST_ROWS)
    for row in table[::every]:
        yield "| " + " | ".join(_text(row.get(column)) for column in columns) + " |"
    yield "" if every == 1 else f"\nOne row in {every} is shown.\n"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 10 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"
    return (
        "" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )
