"""The list of what must be survived names tests, scenarios, faults and commands: each of them is there."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from chaos.__main__ import COMMANDS, parser_for
from chaos.nodes import report as nodes
from chaos.sites import report as sites
from chaos.world import report as world

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "survives.md"
LINES = tuple(f"{group}{number}" for group, last in (("C", 21), ("D", 10), ("O", 17)) for number in range(1, last + 1))
FAULTS = {
    "core": set(world.EXPECTED_FAULTS),
    "node": set(nodes.EXPECTED_FAULTS),
    "sites": set(sites.EXPECTED_FAULTS),
}
LABELS = {"core", "node", "sites", "scenarios", "tests", "command", "note", "missing", "result"}
RESULTS = {"tested": "tests", "by command": "command", "in part": "missing"}
"""How a result begins → what there must be in the entry."""


def entries(text: str) -> list[tuple[str, dict[str, str]]]:
    """Each `### C1 …` with what stands behind `* label:` under it, in the order of the page."""
    found = []
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        number, _, rest = part.partition(" ")
        body = re.split(r"^## ", rest, flags=re.MULTILINE)[0]
        labelled = re.split(r"^\* (\w+):\s", body, flags=re.MULTILINE)[1:]
        found.append((number, dict(zip(labelled[::2], labelled[1::2], strict=True))))
    return found


def quoted(text: str) -> list[str]:
    """What stands in backticks, with a line's end in it as a blank."""
    return [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", text)]


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of the functions of a file, those in classes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_command(words: str) -> bool:
    """Whether `python -m …` would be understood; nothing is run."""
    _, _, module, *arguments = shlex.split(words)
    if module != "chaos":
        return (ROOT / f"{module.replace('.', '/')}.py").is_file()
    if not arguments or arguments[0] not in COMMANDS:
        return False
    try:
        parser_for(arguments[:1]).parse_args(arguments)
    except SystemExit:
        return False
    return True


def problems(text: str) -> list[str]:
    """Everything the page names that is not there, and every line that is not there exactly once."""
    wrong = []
    for name in quoted(text):
        path, is_test, function = name.partition("::")
        if name.startswith("python -m "):
            wrong += [] if is_command(name) else [f"no command: {name}"]
        elif is_test:
            known = functions(ROOT / path) if (ROOT / path).is_file() else frozenset()
            wrong += [] if function in known else [f"no test: {name}"]
        elif re.match(r"(tests|chaos|replica|bench|docs)/", name):
            wrong += [] if (ROOT / name).exists() else [f"no file: {name}"]
        elif name.endswith(".txt"):
            wrong += [] if (ROOT / "tests/raft/scenarios" / name).is_file() else [f"no scenario: {name}"]
    numbers = [number for number, _ in entries(text)]
    wrong += [f"{number} is there {numbers.count(number)} times" for number in LINES if numbers.count(number) != 1]
    wrong += [f"{number} is no line of the list" for number in numbers if number not in LINES]
    for number, entry in entries(text):
        wrong += [f"{number}: no label: {label}" for label in entry if label not in LABELS]
        for depth, counted in FAULTS.items():
            wrong += [
                f"{number}: no fault of {depth}: {name}" for name in quoted(entry.get(depth, "")) if name not in counted
            ]
        wrong += _what_the_result_lacks(number, entry)
    return wrong


def _what_the_result_lacks(number: str, entry: dict[str, str]) -> list[str]:
    """A result says what its entry shows, and an entry that says what is missing is tested in part."""
    result = " ".join(entry.get("result", "").split())
    behind = next((label for word, label in RESULTS.items() if result.startswith(word)), None)
    if behind is None:
        return [f"{number}: the result is {result!r}, not one of {', '.join(RESULTS)}"]
    if not entry.get(behind, "").strip():
        return [f"{number}: {result}, and nothing stands behind {behind}"]
    if "missing" in entry and behind != "missing":
        return [f"{number}: {result}, and something is missing"]
    return []


def test_everything_the_page_names_is_there() -> None:
    assert problems(PAGE.read_text(encoding="utf-8")) == []


def test_the_page_names_enough_to_be_worth_the_check() -> None:
    """A page that was parsed into nothing would pass."""
    found = [entry for _, entry in entries(PAGE.read_text(encoding="utf-8"))]
    named = {label: sum(len(quoted(entry.get(label, ""))) for entry in found) for label in LABELS}
    assert named["tests"] > 80
    assert named["scenarios"] > 40
    assert named["core"] > 60
    assert named["node"] > 40
    assert named["command"] > 10


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            "::test_a_failed_disk_ends_everything",
            "::test_of_nothing",
            "no test: tests/storage/test_writer.py::test_of_",
        ),
        ("`tests/test_config.py`", "`tests/test_gone.py`", "no file: tests/test_gone.py"),
        ("`voters_two.txt`", "`voters_nine.txt`", "no scenario: voters_nine.txt"),
        ("`cut: ring`", "`cut: square`", "C6: no fault of core: cut: square"),
        ("`power cut`", "`cut: ring`", "D2: no fault of node: cut: ring"),
        ("--story replace", "--story nothing", "no command: python -m chaos live-members --story nothing"),
        (
            "python -m tests.storage.crash ",
            "python -m tests.storage.smash ",
            "no command: python -m tests.storage.smash",
        ),
        ("### C7 ", "### C8 ", "C7 is there 0 times"),
        ("### C7 ", "### C8 ", "C8 is there 2 times"),
        ("### D9 ", "### D11 ", "D11 is no line of the list"),
        (
            "* missing: on real nodes every fsync slow",
            "* lacking: on real nodes every fsync slow",
            "D7: no label: lacking",
        ),
        (
            "* missing: on real nodes every fsync slow",
            "* note: on real nodes every fsync slow",
            "D7: in part, and nothing",
        ),
        ("* result: by command\n", "* result: surely\n", "C17: the result is 'surely'"),
        ("* result: tested\n\n### D2", "* missing: much\n* result: tested\n\n### D2", "D1: tested, and something"),
    ],
)
def test_a_wrong_name_is_found(right: str, wrong: str, said: str) -> None:
    """The check can fail, for each kind of thing it looks at."""
    text = PAGE.read_text(encoding="utf-8")
    assert right in text
    found = problems(text.replace(right, wrong))
    assert any(problem.startswith(said) for problem in found), found
