"""A sheet as things to lay out: already in one language, not yet on paper. Both layouts (text.py, html.py) are made of
these and of nothing else, so neither says what the other does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A label and what is said under it. `loud`: not to be missed."""

    label: str
    text: str
    loud: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`widths`: of the columns, in characters of an 80-column line; the space between two is one more. `empty`: rows to
    write in by hand."""

    head: tuple[str, ...]
    widths: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    title: str = ""
    empty: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """What stays together on a page where it fits one. `kind`: head, case, section, note. `badge`: the priority."""

    kind: str
    title: str
    badge: str = ""
    marks: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """`running`: what stands at the head of every page. `alarms`: what could not be read, above all else. `page` and
    `continued`: the words for a page's number (`{page}`, `{pages}`) and for what goes on from the page before."""

    language: str
    title: str
    running: str
    page: str
    continued: str
    alarms: tuple[str, ...]
    blocks: tuple[Block, ...]
