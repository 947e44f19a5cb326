"""The sheet as plain text: 80 columns, a form feed before each further page, a head on each, for any printer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Final

from replica.sheet.document import Block, Document, Line, Table

WIDTH: Final = 80
PAGE_LINES: Final = 60
"""A4 at six lines an inch has 70; what is over is the printer's own margin."""
HEAD_LINES: Final = 2
ROOM: Final = PAGE_LINES - HEAD_LINES
ENOUGH_LINES: Final = 20
"""What must be left of a page for a case that is longer than one to begin there."""
LABEL: Final = 15


def as_text(document: Document) -> str:
    """All pages, each with its head; form feeds between them."""
    pages = list(_pages(document))
    shown = (_page(document, lines, at, len(pages)) for at, lines in enumerate(pages, 1))
    return "\f".join(shown)


def _page(document: Document, lines: list[str], number: int, count: int) -> str:
    page = document.page.format(page=number, pages=count)
    running = _cut(document.running, WIDTH - len(page) - 1)
    head = [f"{running}{page:>{WIDTH - len(running)}}", "=" * WIDTH]
    return "\n".join(line.rstrip() for line in [*head, *lines]) + "\n"


def _pages(document: Document) -> Iterator[list[str]]:
    """Blocks one after the other. One that does not fit what is left of a page begins a new one; one that would not fit
    a whole page either begins where there is still some room, and is parted between its groups."""
    pages = _Pages()
    for line in _alarms(document.alarms):
        pages.add([line])
    for block in document.blocks:
        groups = list(_groups(block))
        length = sum(map(len, groups))
        needed = ENOUGH_LINES if length > ROOM else length
        pages.begin(needed)
        heading = _cut(f"{block.title} {document.continued}", WIDTH)
        for group in groups:
            pages.add(group, heading)
    yield from pages.all


class _Pages:
    """Pages being filled from above."""

    def __init__(self) -> None:
        self.all: list[list[str]] = [[]]

    def begin(self, needed: int) -> None:
        """A blank line, or a new page where `needed` lines do not fit any more."""
        page = self.all[-1]
        if page and len(page) + 1 + needed > ROOM:
            self.all.append([])
        elif page:
            page.append("")

    def add(self, group: list[str], heading: str = "") -> None:
        """Lines that stay together where one page holds them."""
        if len(self.all[-1]) + len(group) > ROOM:
            self.all.append([heading, ""] if heading else [])
        while len(self.all[-1]) + len(group) > ROOM:
            room = ROOM - len(self.all[-1])
            self.all[-1] += group[:room]
            group = group[room:]
            self.all.append([heading, ""] if heading else [])
        self.all[-1] += group


def _alarms(alarms: tuple[str, ...]) -> Iterator[str]:
    if not alarms:
        return
    yield "!" * WIDTH
    for alarm in alarms:
        yield from (f"!! {line}" for line in _wrapped(alarm, WIDTH - 6))
    yield "!" * WIDTH


def _groups(block: Block) -> Iterator[list[str]]:
    """A block's lines, in groups that stay together: its head, each further line, a table's head with its first row,
    each further row, the lines to write on."""
    yield list(_heading(block))
    for line in block.lines:
        yield list(_line(line))
    for table in block.tables:
        rows = [list(_row(row, table.widths)) for row in table.rows]
        head = list(_table_head(table))
        if table.empty:
            yield head + _to_write_on(table)
        elif rows:
            yield head + rows[0]
        yield from rows[1:] if not table.empty else rows


def _heading(block: Block) -> Iterator[str]:
    badge = f"{block.badge}  " if block.badge else ""
    yield ("-" if block.kind == "case" else "=") * WIDTH
    yield from _wrapped(" ".join([f"{badge}{block.title}", *block.marks]), WIDTH)
    yield from (f"!! {line}" for alarm in block.alarms for line in _wrapped(alarm, WIDTH - 3))


def _line(line: Line) -> Iterator[str]:
    mark = "!" if line.loud else ""
    if not line.label:
        yield from _wrapped(f"{mark} {line.text}".strip(), WIDTH)
        return
    label = f"{mark}{line.label}"
    if len(label) >= LABEL:
        yield _cut(label, WIDTH)
        label = ""
    for at, text in enumerate(_wrapped(line.text, WIDTH - LABEL)):
        yield f"{label if at == 0 else '':{LABEL}}{text}"


def _table_head(table: Table) -> Iterator[str]:
    yield ""
    if table.title:
        yield _cut(table.title, WIDTH)
    yield from _row(table.head, table.widths)
    yield " ".join("-" * width for width in table.widths)


def _to_write_on(table: Table) -> list[str]:
    return ["", " ".join("_" * width for width in table.widths)] * table.empty


def _row(cells: Iterable[str], widths: tuple[int, ...]) -> Iterator[str]:
    columns = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*columns, fillvalue=""):
        yield " ".join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True)).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
