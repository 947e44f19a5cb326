"""The shape of the core: chapters do not know each other, one place changes the role, the contract stays frozen."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from types import ModuleType

import pytest

import replica.raft
from replica.raft import events, messages, notes, ready, types

FOLDER = Path(replica.raft.__file__).parent
CHAPTERS = {"election", "replication", "rebuild", "membership", "reads", "transfer", "snapshots"}
LEAVES = {"quorum", "types", "notes"}


def imports_of(name: str) -> set[str]:
    """The modules of the core that one of them imports."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("replica.raft"):
            module = (node.module or "").removeprefix("replica.raft").removeprefix(".")
            found |= {module} if module else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("chapter", sorted(CHAPTERS))
def test_a_chapter_does_not_call_another_and_does_not_change_the_role(chapter: str) -> None:
    """Each returns what it found; core.py calls the next."""
    assert imports_of(chapter) & (CHAPTERS | {"core", "receiving", "roles"}) == set()


def test_the_core_knows_every_chapter() -> None:
    """None is left aside; and the check above has something to look at."""
    assert imports_of("core") | imports_of("receiving") >= CHAPTERS


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_a_leaf_knows_nothing_of_raft_but_its_nouns(leaf: str) -> None:
    """quorum could count anything."""
    assert imports_of(leaf) <= {"types"}


def test_one_place_changes_the_role() -> None:
    """Nothing but roles.py assigns `role` after a start."""
    for path in sorted(FOLDER.glob("*.py")):
        assigned = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Attribute) and target.attr == "role" for target in node.targets)
        ]
        assert bool(assigned) == (path.stem == "roles"), path.name


@pytest.mark.parametrize("module", [events, messages, notes, ready, types], ids=lambda module: module.__name__)
def test_what_crosses_the_border_is_frozen(module: ModuleType) -> None:
    """A message in the hand of a driver, a simulator or a log is the one that was sent."""
    classes = [one for one in vars(module).values() if isinstance(one, type) and dataclasses.is_dataclass(one)]
    assert classes
    for one in classes:
        assert one.__dataclass_params__.frozen, one  # type: ignore[attr-defined]  # not in the stubs
        assert "__slots__" in vars(one), one
