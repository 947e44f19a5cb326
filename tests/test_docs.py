"""The tables in the documents are the tables in the code."""

from __future__ import annotations

import sys
from pathlib import Path

from replica.cases.authority import TABLE, Place
from replica.cases.fields import FIELDS
from replica.offline import mode

PAGE = Path(__file__).parents[1] / "docs" / "offline.md"


def mode_table() -> str:
    rows = [f"| {row.before.value} | {row.signal.value} | {row.after.value} |" for row in mode.TABLE]
    return "\n".join(["| mode | when | then |", "|---|---|---|", *rows])


def authority_table() -> str:
    places = [(place, line) for place in Place for line in (True, False)]
    head = [f"{place.value}, {'connected' if line else 'cut off'}" for place, line in places]
    rows = [f"| {tag} | " + " | ".join(row[cell].value for cell in places) + " |" for tag, row in TABLE.items()]
    return "\n".join(["| command | " + " | ".join(head) + " |", "|---" * 7 + "|", *rows])


def fields_table() -> str:
    rows = [
        f"| {kind} | {field.name}{' (by key)' if field.keyed else ''} | {field.rule.value} |"
        for kind, fields in FIELDS.items()
        for field in fields.values()
    ]
    return "\n".join(["| of | field | rule |", "|---|---|---|", *rows])


TABLES = {"mode": mode_table, "authority": authority_table, "fields": fields_table}


def rendered(text: str) -> str:
    """The page with its tables as the code has them now."""
    for name, table in TABLES.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        assert found, f"table {name} has no place in {PAGE.name}"
        text = f"{before}{begin}{table()}\n{end}{rest.partition(end)[2]}"
    return text


def test_the_tables_of_the_design_page_are_those_of_the_code() -> None:
    """`python -m tests.test_docs` writes them anew; read the difference."""
    text = PAGE.read_text(encoding="utf-8")
    assert rendered(text) == text


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
