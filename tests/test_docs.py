"""The tables in the documents are the tables in the code."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from replica.cases.authority import TABLE, Place
from replica.cases.fields import FIELDS
from replica.offline import mode
from replica.raft import progress, roles

DOCS = Path(__file__).parents[1] / "docs"
RAFT = Path(roles.__file__).parent
SCENARIOS = Path(__file__).parent / "raft" / "scenarios"


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


def diagram(begins: str, moves: list[tuple[str, str, str]]) -> str:
    """A state diagram: (from, why, to), moves between the same two in one arrow."""
    names = dict.fromkeys(name for before, _, after in moves for name in (before, after))
    lines = [f'    state "{name}" as {name.replace("-", "_")}' for name in names if "-" in name]
    whys: dict[tuple[str, str], list[str]] = {}
    for before, why, after in moves:
        whys.setdefault((before, after), []).append(why)
    lines.append(f"    [*] --> {begins}")
    lines += [
        f"    {before.replace('-', '_')} --> {after.replace('-', '_')}: {', '.join(reasons)}"
        for (before, after), reasons in whys.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def roles_diagram() -> str:
    return diagram("follower", [(before.value, why, after.value) for (before, why), after in roles.MOVES.items()])


def progress_diagram() -> str:
    moves = [(before.value, sign.value, after.value) for (before, sign), after in progress.TRANSITIONS.items()]
    return diagram(progress.Phase.PROBE.value, moves)


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "offline.md": {"mode": mode_table, "authority": authority_table, "fields": fields_table},
    "raft.md": {"roles": roles_diagram, "progress": progress_diagram},
}


def rendered(page: str) -> str:
    """The page with its tables as the code has them now."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, table in PAGES[page].items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        assert found, f"table {name} has no place in {page}"
        text = f"{before}{begin}{table()}\n{end}{rest.partition(end)[2]}"
    return text


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_design_page_are_those_of_the_code(page: str) -> None:
    """`python -m tests.test_docs` writes them anew; read the difference."""
    assert rendered(page) == (DOCS / page).read_text(encoding="utf-8")


def missing_names(text: str) -> list[str]:
    """The names of the core and the scenarios that a page mentions and that do not exist."""
    modules = {path.stem for path in RAFT.glob("*.py")}
    missing = [name for name in re.findall(r"`(\w+\.txt)`", text) if not (SCENARIOS / name).exists()]
    for name in re.findall(r"`(\w+(?:\.\w+)+)`", text):
        module, *parts = name.split(".")
        if module in modules:
            found: object = importlib.import_module(f"replica.raft.{module}")
            for part in parts:
                found = getattr(found, part, None)
            missing += [] if found is not None else [name]
    return missing


def test_what_the_page_about_the_core_names_exists() -> None:
    """Modules, functions, fields and scenarios; and there are enough of them to be worth the check."""
    text = (DOCS / "raft.md").read_text(encoding="utf-8")
    assert missing_names(text) == []
    assert len(re.findall(r"`(\w+(?:\.\w+)+)`", text)) > 100


def test_a_name_that_is_gone_is_found() -> None:
    """The check can fail."""
    assert missing_names("`election.guess` and `core.Raft.nap` and `no_such.txt`, `election.judge_vote`") == [
        "no_such.txt",
        "election.guess",
        "core.Raft.nap",
    ]


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(rendered(page), encoding="utf-8")
    sys.exit(0)
