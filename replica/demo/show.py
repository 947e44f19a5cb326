"""The demo for a person: progress while it runs; at the end what happened, what became of it, and who says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from replica.demo.result import DemoResult, Shown

SHOWN_CONFLICTS = 20


class Watch:
    """What a run tells while it runs. Redrawn when something happens, by whoever makes it happen: it has no thread."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
        )
        self._messages = self._progress.add_task("messages", total=None)
        self._live = Live(self._progress, console=console, auto_refresh=False, transient=True)
        self._began = time.monotonic()
        self._drawn = 0.0

    def total(self, messages: int) -> None:
        self._progress.update(self._messages, total=messages)

    def moment(self, what: str) -> None:
        """A line above the bar."""
        self._live.console.print(Text(f"{time.monotonic() - self._began:7.2f} s  {what}"))
        self._draw(0.0)

    def played(self, messages: int) -> None:
        self._progress.update(self._messages, completed=messages)
        self._draw(0.05)

    def _draw(self, not_within_s: float) -> None:
        if time.monotonic() - self._drawn >= not_within_s:
            self._drawn = time.monotonic()
            self._live.refresh()

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._live:
            yield


def show(console: Console, result: DemoResult, shown: Shown) -> None:
    """Timeline, verdicts, conflicts, digests, and the sentence that matters last."""
    console.print(_timeline(shown))
    console.print(_verdicts(result))
    if shown.refused:
        console.print(_refused(shown))
    if shown.conflicts:
        console.print(_conflicts(shown))
    console.print(_digests(shown))
    console.print(_times(result))
    for problem in result.problems:
        console.print(Text(f"✗ {problem}", style="bold red"))
    console.print(last_line(result))
    if shown.data:
        console.print(f"The stores stay in {shown.data}; e.g. replica show cases --data {shown.data}/zone-1")


def _timeline(shown: Shown) -> Table:
    table = Table(title="What happened", title_justify="left", box=None, show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column()
    for moment in shown.timeline:
        table.add_row(f"{moment.at_ms / 1000:.2f} s", Text(moment.what))
    return table


def _verdicts(result: DemoResult) -> Table:
    table = Table(title="What became of every operation", title_justify="left")
    table.add_column("verdict")
    table.add_column("operations", justify="right")
    for kind, count in result.verdicts.items():
        table.add_row(kind, str(count))
    table.add_row("total", f"{result.verdicts_total} of {result.operations}", style="bold")
    return table


def _refused(shown: Shown) -> Table:
    table = Table(title="Messages refused", title_justify="left")
    table.add_column("message")
    table.add_column("what is wrong")
    for name, problem in shown.refused:
        table.add_row(Text(name), Text(problem))
    return table


def _conflicts(shown: Shown) -> Table:
    table = Table(title="Conflicts that wait for a person", title_justify="left")
    table.add_column("about", overflow="fold")
    table.add_column("field")
    table.add_column("values, the one that holds first", overflow="fold")
    for conflict in shown.conflicts[:SHOWN_CONFLICTS]:
        table.add_row(Text(conflict.subject), Text(conflict.field), Text("\n".join(conflict.values)))
    if len(shown.conflicts) > SHOWN_CONFLICTS:
        table.add_row(f"… and {len(shown.conflicts) - SHOWN_CONFLICTS} more", "", "")
    return table


def _digests(shown: Shown) -> Table:
    table = Table(title="The stores on disk, after all processes have stopped", title_justify="left")
    table.add_column("node")
    table.add_column("digest of its records")
    for name, digest in shown.digests.items():
        table.add_row(Text(name), digest)
    return table


def _times(result: DemoResult) -> Table:
    table = Table(title="How long people waited", title_justify="left", box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = (
        ("leader killed → next agreed receipt", result.failover_ms),
        ("line cut → the site knows", result.cut_off_detected_ms),
        ("line whole → a verdict for everything written there", result.reconcile_ms),
        ("longest wait for one receipt", result.longest_submit_ms),
    )
    for what, took_ms in rows:
        table.add_row(what, "–" if took_ms is None else f"{took_ms:.0f} ms")
    return table


def last_line(result: DemoResult) -> Text:
    """The sentence that matters."""
    text = (
        f"{result.messages} messages, {result.operations} operations ({result.agreed} agreed at once, "
        f"{result.journalled} journalled first), {result.verdicts_total} verdicts, lost {result.lost}, "
        f"duplicated {result.duplicated}, {result.seconds:.1f} s: "
    )
    return Text(text).append("ok" if result.ok else "NOT OK", style="bold green" if result.ok else "bold red")
