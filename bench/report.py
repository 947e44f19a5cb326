"""What every command of the bench has in common: its options, its report, where the report goes.

A report is a frozen msgspec Struct that derives from `Report`; its fields are a contract that scripts read. `--json F`
writes it, `--plot F.png|.svg` draws it, and a person sees progress while it is made and a table at the end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from rich.console import Console

from bench.machine import Machine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT_ENDINGS: Final = (".png", ".svg")


class Report(Struct, frozen=True, kw_only=True):
    """`machine`: what it was measured on, with versions. `quick`: short runs were asked for, so orders of magnitude.
    `not_measured`: what a reader might take for included and is not."""

    machine: Machine
    quick: bool = False
    not_measured: tuple[str, ...] = ()


class Spread(Struct, frozen=True):
    """One figure over repeated runs: its median, the least and the most, and each run's value in order."""

    median: float
    least: float
    most: float
    runs: tuple[float, ...]

    def text(self, digits: int = 0) -> str:
        """`median (least-most)`; the median alone of one run."""
        if len(self.runs) == 1:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}-{self.most:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    kept = tuple(round(value, 4) for value in values)
    return Spread(round(statistics.median(kept), 4), min(kept), max(kept), kept)


def add_output(parser: argparse.ArgumentParser) -> None:
    """`--json`, `--plot` and `--quick`, which every command has."""
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the report there")
    parser.add_argument(
        "--plot",
        type=_plot_file,
        default=None,
        metavar="FILE",
        help="draw it there, as .png or .svg (needs matplotlib)",
    )
    parser.add_argument("--quick", action="store_true", help="short runs: orders of magnitude in a minute")


def _plot_file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in PLOT_ENDINGS:
        raise argparse.ArgumentTypeError(f"{text}: a plot is a {' or '.join(PLOT_ENDINGS)} file")
    return path


def publish(args: argparse.Namespace, report: Report, console: Console, draw: Callable[[], Figure]) -> None:
    """Write what `--json` and `--plot` ask for, and say on what it was measured and what was not measured."""
    console.print(report.machine.line(), highlight=False)
    for missing in report.not_measured:
        console.print(f"not measured: {missing}", highlight=False)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if args.plot is not None:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        draw().savefig(args.plot)


def refused(problem: str) -> int:
    """Options that cannot be run: says so, and the exit status for it."""
    print(problem, file=sys.stderr)
    return 2


def counts(text: str) -> tuple[int, ...]:
    """`1,10,100` as numbers, for argparse. Each at least 1."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers like 1,10,100") from None
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text}: each must be at least 1")
    return numbers
