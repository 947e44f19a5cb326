"""The sheet as one HTML file for A4: nothing is loaded from anywhere, nothing runs, every text is escaped.

The head of each page and its number are print CSS (margin boxes); a browser without them prints the rest the same, and
every case carries its own head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from replica.sheet.document import Block, Document, Line, Table

_STYLE: Final = """
@page { size: A4; margin: 18mm 12mm 14mm 12mm;
  @top-left { content: "%s"; font: 9pt sans-serif; }
  @bottom-right { content: %s; font: 9pt sans-serif; } }
* { box-sizing: border-box; }
body { font: 10pt/1.3 "DejaVu Sans", Arial, sans-serif; color: #000; background: #fff; margin: 0 auto;
  max-width: 186mm; }
h1 { font-size: 15pt; margin: 0 0 2mm; } h2 { font-size: 11.5pt; margin: 0; }
.alarm { border: 1mm solid #000; padding: 2mm 3mm; margin: 0 0 4mm; font-weight: bold; }
.alarm p { margin: 0 0 1mm; } .alarm p.first { font-size: 12.5pt; }
section { margin: 0 0 4mm; break-inside: avoid; }
section.long { break-inside: auto; }
section.part > h2 { border-bottom: .6mm solid #000; margin: 4mm 0 1mm; break-after: avoid; }
section.case { border: .35mm solid #000; padding: 2mm 2.5mm; }
section.case > h2 { display: flex; gap: 3mm; align-items: baseline; break-after: avoid; }
.badge { border: .5mm solid #000; padding: 0 1.6mm; font-size: 12pt; }
.badge.P0, .badge.P1 { background: #000; color: #fff; }
.mark { font-size: 9pt; }
dl { display: grid; grid-template-columns: 34mm 1fr; gap: .3mm 2mm; margin: 1mm 0; }
dt { font-weight: bold; } dd { margin: 0; overflow-wrap: anywhere; } dd.all { grid-column: 1 / 3; }
.loud { font-weight: bold; text-decoration: underline; }
table { width: 100%%; border-collapse: collapse; margin: 1.5mm 0 0; table-layout: fixed; font-size: 9pt; }
caption { text-align: left; font-weight: bold; }
th { text-align: left; border-bottom: .3mm solid #000; vertical-align: bottom; }
th, td { padding: 0 1.2mm 0 0; }
td { vertical-align: top; overflow-wrap: anywhere; border-bottom: .1mm solid #999; }
tr { break-inside: avoid; } thead { display: table-header-group; }
tr.hand td { height: 8mm; padding: 0; border: .2mm solid #000; }
@media print { .badge.P0, .badge.P1 { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
LONG_ROWS: Final = 25
"""A block with more rows than this may go over a page's end: it would leave half a page empty, or not fit one."""


def as_html(document: Document) -> str:
    """The whole file."""
    return "\n".join(_parts(document)) + "\n"


def _parts(document: Document) -> Iterator[str]:
    yield f'<!doctype html>\n<html lang="{escape(document.language)}">\n<head>\n<meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{escape(document.title)}</title>"
    yield f"<style>{_STYLE % (_css(document.running), _page_counter(document.page))}</style>\n</head>\n<body>"
    yield f"<h1>{escape(document.title)}</h1>"
    if document.alarms:
        yield '<div class="alarm">'
        yield from (
            f'<p class="{"first" if at == 0 else "more"}">{escape(one)}</p>' for at, one in enumerate(document.alarms)
        )
        yield "</div>"
    for block in document.blocks:
        yield from _block(block)
    yield "</body>\n</html>"


def _css(text: str) -> str:
    """Inside a CSS string, inside a style element: everything but letters, digits and blanks by its number, which a
    blank ends."""
    return "".join(one if one.isalnum() or one in " .:-/" else f"\\{ord(one):06x} " for one in text)


def _page_counter(page: str) -> str:
    """`page {page}/{pages}` as the value of CSS `content`."""
    quoted = '"' + _css_around(page) + '"'
    return quoted.replace("{page}", '" counter(page) "').replace("{pages}", '" counter(pages) "')


def _css_around(page: str) -> str:
    return "".join(one if one in "{}" else _css(one) for one in page)


def _block(block: Block) -> Iterator[str]:
    rows = sum(len(table.rows) + table.empty for table in block.tables)
    kind = "case" if block.kind == "case" else "part"
    yield f'<section class="{kind}{" long" if rows > LONG_ROWS else ""}">'
    badge = (
        f'<span class="badge {escape(block.badge.split(" ")[0])}">{escape(block.badge)}</span>' if block.badge else ""
    )
    marks = "".join(f'<span class="mark">{escape(mark)}</span>' for mark in block.marks)
    yield f"<h2>{badge}<span>{escape(block.title)}</span>{marks}</h2>"
    yield from (f'<p class="loud">{escape(alarm)}</p>' for alarm in block.alarms)
    if block.lines:
        yield "<dl>" + "".join(map(_line, block.lines)) + "</dl>"
    for table in block.tables:
        yield from _table(table)
    yield "</section>"


def _line(line: Line) -> str:
    loud = ' class="loud"' if line.loud else ""
    if line.label:
        return f"<dt>{escape(line.label)}</dt><dd{loud}>{escape(line.text)}</dd>"
    return f'<dd class="all{" loud" if line.loud else ""}">{escape(line.text)}</dd>'


def _table(table: Table) -> Iterator[str]:
    whole = sum(table.widths)
    yield "<table>"
    if table.title:
        yield f"<caption>{escape(table.title)}</caption>"
    yield (
        "<colgroup>"
        + "".join(f'<col style="width:{100 * width / whole:.1f}%">' for width in table.widths)
        + "</colgroup>"
    )
    yield f"<thead><tr>{_cells('th', table.head)}</tr></thead><tbody>"
    yield from (f"<tr>{_cells('td', row)}</tr>" for row in table.rows)
    yield from (f'<tr class="hand">{_cells("td", ("",) * len(table.widths))}</tr>' for _ in range(table.empty))
    yield "</tbody></table>"


def _cells(tag: str, cells: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
