"""Looks for an order in which one copy could have answered: Wing and Gong's search, with Lowe's memory.

Wing and Gong (1993): take some operation that may come first, that is, one that was asked for before anything that is
left was answered; if the copy could have answered it so, go on with the rest; if the rest fails, take another. Lowe
(2017): two ways that have placed the same set of operations and left the same state have the same future, so the second
is not walked. The set is a number with one bit for each operation.

Three things keep it short beside that:

* An operation that only looks is taken as soon as it may, and the choice is never reopened: it changes nothing, so
  every order in which it comes later can be changed into one in which it comes now.
* Operations of unknown outcome are tried last: mostly they are needed nowhere. The search ends as soon as every
  *answered* operation has its place; what is left unplaced never took effect, or after all else.
* The number of steps is bounded, and so may be the time. Where that is not enough the answer is `None`: undecided. The
  problem is NP-complete (Gibbons and Korach, 1997), so some histories must end so.

Leaves out: the split by key (operations.py), and what to say of a failure (check.py).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from chaos.history.models import REFUSED, Machine
from chaos.history.operations import Operation

LOOK_AT_THE_CLOCK_EVERY = 1024


class OutOfSteps(Exception):
    """The search was given up: neither yes nor no."""


@dataclass(slots=True)
class Budget:
    """How much may be spent: `steps` questions to a machine, and until `is_late` says so."""

    steps: int
    is_late: Callable[[], bool] = lambda: False
    used: int = 0

    def spend(self) -> None:
        self.used += 1
        if self.used > self.steps or (self.used % LOOK_AT_THE_CLOCK_EVERY == 0 and self.is_late()):
            raise OutOfSteps


@dataclass(slots=True)
class _Placed:
    """An operation that has its place, and how to take it back."""

    operation: int
    state_before: Hashable
    others: Iterator[int]
    """What else may be tried in its stead."""


def linearise(operations: Sequence[Operation], machine: Machine, budget: Budget) -> list[Operation] | None:
    """An order of (at least) all answered operations that one copy could have answered, None where there is none.

    Raises OutOfSteps where the budget did not suffice to find out.
    """
    return _Search(operations, machine, budget).run()


class _Search:
    """One search. Operations are numbers here: their places in the order in which they were asked for."""

    def __init__(self, operations: Sequence[Operation], machine: Machine, budget: Budget) -> None:
        kept = [one for one in operations if one.is_known or machine.may_matter(one)]
        self._all = sorted(kept, key=lambda one: one.invoked_at)
        self._machine = machine
        self._budget = budget
        self._looks = [machine.only_looks(one) for one in self._all]
        self._left = _Waiting(self._all)

    def run(self) -> list[Operation] | None:
        machine, budget, left = self._machine, self._budget, self._left
        state = machine.initial
        path: list[_Placed] = []
        known_ways: set[tuple[int, Hashable]] = set()
        placed = 0
        candidates = self._candidates(state)
        while left.answered:
            for number in candidates:
                budget.spend()
                after = machine.step(state, self._all[number])
                way = (placed | 1 << number, after)
                if after is REFUSED or way in known_ways:
                    continue
                known_ways.add(way)
                path.append(_Placed(number, state, iter(()) if self._looks[number] else candidates))
                placed, state = way
                left.take(number)
                candidates = self._candidates(state)
                break
            else:
                if not path:
                    return None
                last = path.pop()
                placed, state, candidates = placed & ~(1 << last.operation), last.state_before, last.others
                left.put_back(last.operation)
        return [self._all[one.operation] for one in path]

    def _candidates(self, state: Hashable) -> Iterator[int]:
        """What may come next: one that only looks and is right now, alone; else all, of unknown outcome last."""
        known, unknown = self._left.first()
        for number in known:
            if self._looks[number]:
                self._budget.spend()
                if self._machine.step(state, self._all[number]) is not REFUSED:
                    return iter((number,))
        changing = [number for number in known if not self._looks[number]]
        return iter(changing + unknown)


class _Waiting:
    """The operations that have no place yet: two linked lists, so that taking one out and back costs nothing."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        known = [number for number, one in enumerate(operations) if one.is_known]
        self._open = [number for number, one in enumerate(operations) if not one.is_known]
        self._taken = [False] * len(operations)
        self.answered = len(known)
        end = len(operations)
        self._next = [end] * (end + 1)
        self._before = [end] * (end + 1)
        for one, other in zip([end, *known], [*known, end], strict=True):  # a ring through place `end`
            self._next[one], self._before[other] = other, one

    def first(self) -> tuple[list[int], list[int]]:
        """Those that were asked for before anything that waits was answered: of known and of unknown outcome."""
        end, at = len(self._operations), self._next[-1]
        known: list[int] = []
        earliest: float = float("inf")
        while at != end and self._operations[at].invoked_at <= earliest:
            returned_at = self._operations[at].returned_at
            assert returned_at is not None, f"operation {at} waits among the answered"
            earliest = min(earliest, returned_at)
            known.append(at)
            at = self._next[at]
        unknown: list[int] = []
        for number in self._open:
            if self._operations[number].invoked_at > earliest:
                break
            if not self._taken[number]:
                unknown.append(number)
        return known, unknown

    def take(self, number: int) -> None:
        self._taken[number] = True
        if self._operations[number].is_known:
            self.answered -= 1
            before, after = self._before[number], self._next[number]
            self._next[before], self._before[after] = after, before

    def put_back(self, number: int) -> None:
        """Undo the latest `take` that is not undone; the links of `number` still say where it was."""
        self._taken[number] = False
        if self._operations[number].is_known:
            self.answered += 1
            before, after = self._before[number], self._next[number]
            self._next[before], self._before[after] = number, number
