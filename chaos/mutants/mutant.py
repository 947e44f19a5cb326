"""What a mutant is: a name, a sentence, one replacement in one file, and who is asked to notice, in which order.

The replacement is exact text that must stand in the file exactly once. Where the program has moved on and it does not,
the mutant is an error, never a silent pass: a lie that is not told is caught by nobody.

Leaves out: mutants made by a machine from every operator. Each of these is a mistake that people have made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias


class NoLongerApplies(Exception):
    """The text a mutant replaces is not in its file exactly once. The mutant must be rewritten."""


@dataclass(frozen=True, slots=True)
class Scenarios:
    """Scenario files of tests/raft, by name without `.txt`; () is all of them. Caught: the recording differs."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedTests:
    """pytest's names of tests. Caught: the first that fails."""

    ids: tuple[str, ...]


def promise(*names: str) -> NamedTests:
    """Tests of tests/chaos/test_chapters.py: each states one promise in its shortest form."""
    return NamedTests(tuple(f"tests/chaos/test_chapters.py::{name}" for name in names))


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds of the simulated world, from 1 on, at most so many. Caught: the invariant that is violated."""

    seeds: int
    weather: str = "storm"
    depth: str = "core"
    steps: int = 2_000


Check: TypeAlias = Scenarios | NamedTests | Seeds


@dataclass(frozen=True, slots=True)
class Mutant:
    """One lie. `checks` run in their order until one fails."""

    name: str
    sentence: str
    """What the copy does wrong, for people."""
    file: str
    old: str
    new: str
    checks: tuple[Check, ...]

    def must_apply(self, root: Path) -> str:
        """The text of its file, which has what is replaced exactly once. Raises NoLongerApplies where it has not."""
        path = root / self.file
        if not path.is_file():
            raise NoLongerApplies(f"mutant {self.name!r} no longer applies: there is no {self.file}")
        text = path.read_text(encoding="utf-8")
        found = text.count(self.old)
        if found != 1:
            raise NoLongerApplies(
                f"mutant {self.name!r} no longer applies: {self.file} has {found} times what it replaces: {self.old!r}"
            )
        return text

    def lie_in(self, root: Path) -> None:
        """Tell the lie in the copy below `root`. Raises NoLongerApplies, and the copy is as it was."""
        text = self.must_apply(root).replace(self.old, self.new)
        (root / self.file).write_text(text, encoding="utf-8")


def as_json(check: Check) -> dict[str, Any]:
    """A check as it is handed to the process that runs it."""
    match check:
        case Scenarios(names=names):
            return {"kind": "scenarios", "names": names}
        case NamedTests(ids=ids):
            return {"kind": "tests", "ids": ids}
        case Seeds():
            options = {"seeds": check.seeds, "weather": check.weather, "depth": check.depth, "steps": check.steps}
            return {"kind": "seeds", **options}


def from_json(told: dict[str, Any]) -> Check:
    """The reverse of `as_json`."""
    match told:
        case {"kind": "scenarios", "names": names}:
            return Scenarios(tuple(names))
        case {"kind": "tests", "ids": ids}:
            return NamedTests(tuple(ids))
        case {"kind": "seeds", "seeds": seeds, "weather": weather, "depth": depth, "steps": steps}:
            return Seeds(seeds, weather, depth, steps)
        case _:
            raise ValueError(f"no check: {told}")
