"""Make a recording: `python -m tests.cases.record NAME` writes tests/recorded/NAME.log, which must not be there yet.

What is recorded are the worlds of this folder's own tests and stories, a few long histories, and the demo's stories. A
recording stays as it is when those change later: it is made once, read by whoever adds it, and kept. To record anew
under the rules of a further level, take a new name.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from unittest.mock import patch

from hypothesis import is_hypothesis_test

from replica.cases.commands import RaiseLevel, Report
from replica.cases.operations import Batch, Operation
from replica.demo.messages import find
from replica.errors import InvalidMessage
from replica.hubsante.decode import read
from replica.hubsante.speakers import speakers
from replica.wire import encode_operation
from tests.cases import recorded
from tests.cases.histories import play, raised, told, told_of_members
from tests.cases.world import Site, World

LONGEST = 40
"""Entries of a test's world that is still worth recording; longer ones are about amounts, not rules."""
MOST_OPERATIONS = 60
MOST_BYTES = 20_000

Log = tuple[str, list[Batch]]


def of_tests(module: str, level: int = 1) -> Iterator[Log]:
    """The log of every world that the tests of `module` make, named for the test. At a higher level, each is
    raised to it before anything else is said."""
    for name, test in inspect.getmembers(importlib.import_module(f"tests.cases.{module}"), inspect.isfunction):
        if not name.startswith("test_") or inspect.signature(test).parameters or is_hypothesis_test(test):
            continue
        for place, world in enumerate(_worlds_of(test, level)):
            operations = [operation for batch in world.log for operation in batch.operations]
            if 3 < len(world.log) <= LONGEST and len(operations) <= MOST_OPERATIONS and _passes_the_door(operations):
                yield f"{name.removeprefix('test_')}/{place}", world.log


def _passes_the_door(operations: list[Operation]) -> bool:
    """Whether all of them could have come into a log: some tests say what only a bug could. And without great size."""
    try:
        return sum(len(encode_operation(operation)) for operation in operations) <= MOST_BYTES
    except InvalidMessage:
        return False


def _worlds_of(test: Callable[[], object], level: int) -> list[World]:
    made: list[World] = []
    begin = World.__init__

    def noted(world: World, *arguments: object, **named: object) -> None:
        begin(world, *arguments, **named)  # type: ignore[arg-type]  # whatever a world takes
        if not world.log:
            made.append(world)

    with patch.object(World, "__init__", noted):
        test()
    if level > 1:
        for world in made:
            world.log[:] = _raised(world.log, level)
    return made


def _raised(log: list[Batch], level: int) -> list[Batch]:
    """The same, at `level` from its beginning. What its authors had seen is behind by as many entries then, so more of
    it was written apart."""
    before = World()
    operator = before.open("operator", 9)
    for step in range(2, level + 1):
        operator.do(RaiseLevel(step))
    return [*before.log, *(Batch(one.time_ms, level, one.operations, one.spoken, one.heard) for one in log)]


def of_histories(*seeds: int, length: int = 60) -> Iterator[Log]:
    for seed in seeds:
        yield f"seed {seed}", play(told(seed, length)).world.log


def of_raised_histories(*seeds: int, length: int = 90) -> Iterator[Log]:
    """The level rises in the middle, and the next entries still come under the old one."""
    for seed in seeds:
        yield f"seed {seed}", raised(told_of_members(seed, length), length // 3).world.log


def of_the_demo() -> Iterator[Log]:
    """The stories that come with the project, each message by the site of whom it speaks for."""
    world, sites = World(), dict[str, Site]()
    for message in find(None):
        for content in read(message.data, default_sender=None).contents:
            report = content.outcome
            if isinstance(report, Report):
                sender = report.sender or next(iter(speakers(report)), "nobody")
                site = sites.get(sender) or sites.setdefault(sender, world.open(sender, len(sites) + 1))
                site.do(report, content.act_ms)
    yield "the demo's stories", world.log


NAMES: dict[str, Callable[[], Iterator[Log]]] = {
    "stories-1": lambda: of_tests("test_stories"),
    "merge-1": lambda: of_tests("test_merge"),
    "cases-1": lambda: of_tests("test_cases"),
    "resources-1": lambda: of_tests("test_resources"),
    "charges-1": lambda: of_tests("test_authority"),
    "gate-1": lambda: chain(of_tests("test_gate"), of_tests("test_once")),
    "generations-1": lambda: of_tests("test_generations"),
    "levels-1-to-2": lambda: of_tests("test_levels"),
    "demo-1": of_the_demo,
    "histories-1": lambda: of_histories(1, 2, 3, 4),
    "histories-1-to-2": lambda: of_raised_histories(1, 2, 3, 4),
    "stories-2": lambda: of_tests("test_stories", 2),
    "merge-2": lambda: of_tests("test_merge", 2),
    "charges-2": lambda: of_tests("test_authority", 2),
    "gate-2": lambda: of_tests("test_gate", 2),
    "generations-2": lambda: of_tests("test_generations", 2),
    "stories-3": lambda: of_tests("test_stories", 3),
    "merge-3": lambda: of_tests("test_merge", 3),
    "charges-3": lambda: of_tests("test_authority", 3),
    "resources-3": lambda: of_tests("test_resources", 3),
    "gate-3": lambda: of_tests("test_gate", 3),
    "generations-3": lambda: of_tests("test_generations", 3),
    "returning-3": lambda: of_tests("test_returning"),
}


def record(name: str, folder: Path = recorded.FOLDER) -> Path:
    """Write the recording `name`. Raises FileExistsError where it is there: a recording is kept as it was made."""
    path = folder / f"{name}.log"
    lines = chain.from_iterable(recorded.written(*log) for log in NAMES[name]())
    with path.open("x", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def main(arguments: list[str]) -> None:
    if len(arguments) != 1 or arguments[0] not in NAMES:
        sys.exit(f"usage: python -m tests.cases.record NAME, one of: {' '.join(NAMES)}")
    try:
        print(record(arguments[0]))
    except FileExistsError as error:
        sys.exit(f"{error.filename} is there already; a recording is never made anew")


if __name__ == "__main__":
    main(sys.argv[1:])
