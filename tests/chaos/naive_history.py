"""The checker's oracle: tries every order. Written from the definition alone, in the plainest words there are.

Only for small histories: with n operations it looks at n! orders, for each choice of what took effect.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, combinations, permutations
from random import Random
from typing import Any

from chaos.history.operations import Operation


def is_linearizable(history: Sequence[Operation], model: str) -> bool:
    """By the definition: some choice of the open operations, some order that respects time, and a copy that agrees."""
    known = [one for one in history if one.returned_at is not None]
    open_ones = [one for one in history if one.returned_at is None]
    choices = chain.from_iterable(combinations(open_ones, count) for count in range(len(open_ones) + 1))
    return any(
        respects_time(order) and agrees(order, model) for chosen in choices for order in permutations([*known, *chosen])
    )


def respects_time(order: Sequence[Operation]) -> bool:
    """Nobody stands before one that was answered before they asked."""
    return not any(
        later.returned_at is not None and later.returned_at < earlier.invoked_at
        for place, earlier in enumerate(order)
        for later in order[place + 1 :]
    )


def agrees(order: Sequence[Operation], model: str) -> bool:
    """One copy, asked in this order, gives these answers. Of open operations no answer is compared."""
    for operation, answer in zip(order, answers(order, model), strict=True):
        if operation.returned_at is not None and operation.result != answer:
            return False
    return True


def answers(order: Sequence[Operation], model: str) -> Iterator[Hashable]:
    """What one copy answers, one after the other."""
    value: Hashable = None
    notes: list[Hashable] = []
    bag: set[Any] = set()
    total = 0
    for operation in order:
        match model, operation.what, operation.value:
            case "register", "write", written:
                value = written
                yield None
            case "register", "cas", (old, new):
                hit = value == old
                value = new if hit else value
                yield hit
            case "register", "read", _:
                yield value
            case "notes", "append", note:
                notes.append(note)
                yield None
            case "notes", "read", _:
                yield tuple(notes)
            case "bag", "add", value_added:
                bag.add(value_added)
                yield None
            case "bag", "read", _:
                yield tuple(sorted(bag))
            case "counter", "add", int(number):
                total += number
                yield None
            case "counter", "read", _:
                yield total
            case _:
                raise AssertionError(f"{model} cannot {operation.what}")


def random_question(rng: Random, model: str, few: int) -> tuple[str, Hashable]:
    """What to ask, and with which value; `few` values only, so that they meet."""
    kinds = {
        "register": ("write", "cas", "read", "read"),
        "notes": ("append", "read"),
        "bag": ("add", "read"),
        "counter": ("add", "read"),
    }
    what = rng.choice(kinds[model])
    match what:
        case "read":
            return what, None
        case "cas":
            return what, (rng.choice([None, *range(few)]), rng.randrange(few))
        case _:
            return what, rng.randrange(few)


def honest(rng: Random, model: str, count: int, key: str = "k", few: int = 3, lost: float = 0.2) -> list[Operation]:
    """A history out of a real execution, one operation after the other, each asked for a random while before its moment
    and answered a random while after; of some the answer is lost."""
    asked = [random_question(rng, model, few) for _ in range(count)]
    order = [Operation("", key, what, value, 0, 0) for what, value in asked]
    found = list(answers(order, model))
    history = []
    for place, (one, result) in enumerate(zip(order, found, strict=True)):
        moment = 10 * place
        begun, ended = moment - rng.randrange(40), moment + rng.randrange(40)
        if rng.random() < lost:
            history.append(Operation(f"p{place}", key, one.what, one.value, begun))
        else:
            history.append(Operation(f"p{place}", key, one.what, one.value, begun, ended, result))
    return history


def wild(rng: Random, model: str, count: int, few: int = 2) -> list[Operation]:
    """A history of random answers: mostly wrong ones, sometimes right by chance."""
    history = []
    for place in range(count):
        what, value = random_question(rng, model, few)
        begun = rng.randrange(12)
        ended = None if rng.random() < 0.2 else begun + rng.randrange(8)
        result = _random_answer(rng, what, model, few) if ended is not None else None
        history.append(Operation(f"p{place}", "k", what, value, begun, ended, result))
    return history


def _random_answer(rng: Random, what: str, model: str, few: int) -> Hashable:
    match what, model:
        case "cas", _:
            return rng.random() < 0.5
        case "read", "register":
            value: int | None = rng.choice([None, *range(few)])
            return value
        case "read", "notes":
            return tuple(rng.randrange(few) for _ in range(rng.randrange(3)))
        case "read", "bag":
            return tuple(sorted(rng.randrange(few) for _ in range(rng.randrange(3))))
        case "read", "counter":
            return rng.randrange(3)
        case _:
            return None
