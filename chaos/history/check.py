"""The verdict on a history: each key by itself, and for one that fails the shortest prefix that has no order.

Every prefix of a linearizable history is linearizable (a prefix leaves open what was answered later, and an open
operation may always be left out). So along the answers of a key there is one at which it becomes impossible, and
bisection finds it. The operation that was answered there is the *culprit*: not always who did wrong, but the moment
from which nobody can be right.

Leaves out: how it is printed (explain.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from chaos.history.models import Model
from chaos.history.operations import Operation, by_key, until
from chaos.history.search import Budget, OutOfSteps, linearise

DEFAULT_STEPS = 2_000_000
"""For each key. A key whose history is in order needs about one step for each operation."""


class Verdict(Enum):
    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNDECIDED = "undecided"
    """The search was given up. It says nothing about the history, good or bad."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a key has no order.

    `prefix` is the history up to the culprit's answer; `culprit` the operation answered last in it. `order` is an order
    of all that was answered before, which one copy could have answered; None where looking for it took too long.
    `is_shortest` is False where the budget did not suffice to find the shortest prefix: then it is one that fails.
    """

    key: str
    culprit: Operation
    prefix: tuple[Operation, ...]
    order: tuple[Operation, ...] | None
    is_shortest: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on a whole history. Undecided keys count only where no key fails."""

    operations: int
    keys: int
    steps: int
    failures: tuple[Failure, ...]
    undecided: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        if self.failures:
            return Verdict.NOT_LINEARIZABLE
        return Verdict.UNDECIDED if self.undecided else Verdict.LINEARIZABLE


def check(
    history: Sequence[Operation],
    model: Model,
    *,
    steps: int = DEFAULT_STEPS,
    is_late: Callable[[], bool] = lambda: False,
) -> Checked:
    """Check a history against a model.

    `steps` bounds the work for each key, `is_late` (asked now and then) the whole. Raises BadHistory where an operation
    is none the model knows.
    """
    parts = by_key(history)
    failures: list[Failure] = []
    undecided: list[str] = []
    used = 0
    for key, operations in parts.items():
        budget = Budget(steps, is_late)
        try:
            if linearise(operations, model(operations), budget) is None:
                failures.append(_failure(key, operations, model, Budget(steps, is_late)))
        except OutOfSteps:
            undecided.append(key)
        used += budget.used
    return Checked(len(history), len(parts), used, tuple(failures), tuple(undecided))


def _failure(key: str, operations: Sequence[Operation], model: Model, budget: Budget) -> Failure:
    """The shortest prefix without an order, by bisection over the answers."""
    answers = sorted(one.returned_at for one in operations if one.returned_at is not None)
    good, bad = -1, len(answers) - 1  # places in `answers`: the prefix up to there has an order, has none
    is_shortest = True
    while bad - good > 1:
        middle = (good + bad) // 2
        prefix = until(operations, answers[middle])
        try:
            found = linearise(prefix, model(prefix), budget)
        except OutOfSteps:
            is_shortest = False
            break
        good, bad = (good, middle) if found is None else (middle, bad)
    prefix = until(operations, answers[bad])
    culprit = max((one for one in prefix if one.returned_at is not None), key=lambda one: one.returned_at or 0)
    return Failure(key, culprit, tuple(prefix), _order_before(operations, answers, bad, model, budget), is_shortest)


def _order_before(
    operations: Sequence[Operation], answers: Sequence[int], bad: int, model: Model, budget: Budget
) -> tuple[Operation, ...] | None:
    before = until(operations, answers[bad - 1]) if bad else []
    try:
        found = linearise(before, model(before), budget)
    except OutOfSteps:
        return None
    return tuple(found) if found is not None else None
