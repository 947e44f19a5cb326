"""Plots, drawn to a file without a screen. matplotlib is imported when one is asked for: it costs half a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES: Final = (8.0, 4.5)
DPI: Final = 120
COLOURS: Final = ("#1b6ca8", "#d1495b", "#edae49", "#3c8d53", "#7d5ba6", "#6c757d")


def sheet(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot with its words."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def waits(title: str, series_ms: Mapping[str, Sequence[float]], *, log: bool = False) -> Figure:
    """The share of callers that waited at most so long: one stair per series, every value in it."""
    figure, axes = sheet(title, "wait in ms", "share of all")
    for (name, values), colour in zip(series_ms.items(), COLOURS, strict=False):
        axes.ecdf(list(values), label=name, color=colour)
    if log:
        axes.set_xscale("log")
    axes.legend(loc="lower right")
    return figure


def lines(
    title: str,
    x: str,
    y: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """One line per series of (x, y)."""
    figure, axes = sheet(title, x, y)
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        axes.plot([point[0] for point in points], [point[1] for point in points], marker="o", label=name, color=colour)
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def bars(
    title: str, y: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], *, log: bool = False
) -> Figure:
    """Bars side by side: one group per name in `groups`, in it one bar per series."""
    figure, axes = sheet(title, "", y)
    width = 0.8 / max(1, len(series))
    for number, (name, values) in enumerate(series.items()):
        at = [place + number * width for place in range(len(groups))]
        axes.bar(at, list(values), width, label=name, color=COLOURS[number % len(COLOURS)])
    axes.set_xticks([place + width * (len(series) - 1) / 2 for place in range(len(groups))], list(groups))
    if log:
        axes.set_yscale("log")
    axes.legend()
    return figure
