"""Whole messages made from the shapes themselves: every member the standard knows, each with a value of its form."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from replica.hubsante.check import Anything, Flag, Many, Number, Object, Open, Shape, Text, join, shape_of
from replica.hubsante.kinds import Kind

Path = tuple[str | int, ...]


def whole(shape: Shape) -> Any:
    """A value with every member, required or not, and one element in every list."""
    match shape:
        case Text(format=form):
            return form.sample if form else "texte"
        case Number(whole=integral):
            return 7 if integral else 7.5
        case Flag():
            return True
        case Many(item=item):
            return [whole(item)]
        case Object(members=members):
            return {name: whole(member) for name, member in members.items()}
        case Open() | Anything():
            return {"libre": [1, None, {"a": "b"}]}


def least(shape: Shape) -> Any:
    """A value with required members only."""
    match shape:
        case Object(members=members, required=required):
            return {name: least(members[name]) for name in required}
        case Many(item=item, least=count):
            return [least(item)] * count
        case _:
            return whole(shape)


def message(kind: Kind) -> dict[str, Any]:
    return {kind.key: whole(shape_of(kind.model))}


@dataclass(frozen=True)
class Mutation:
    """One change of a whole message: what is done, the path where it must be found, and the message."""

    what: str
    path: str
    message: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.what} {self.path}"


def mutations(kind: Kind) -> Iterator[Mutation]:
    """Every member of a type, changed in every way that its schema forbids."""
    yield from mutate(message(kind), shape_of(kind.model), (kind.key,))


def mutate(root: dict[str, Any], shape: Shape, path: Path) -> Iterator[Mutation]:
    """What stands at `path`, which has this shape, and all within it."""
    for wrong in (None, *_wrong(shape)) if path else ():
        yield _set(root, path, wrong, "wrong type")
    match shape:
        case Text(format=form) if form is not None and not form.accepts("\x07" * 500):
            yield _set(root, path, "\x07" * 500, "bad form")
        case Number():
            yield _set(root, path, 1e300, "no number")
        case Many(item=item, least=count, most=most):
            yield from mutate(root, item, (*path, 0))
            if count:
                yield _set(root, path, [], "too few")
            if most is not None:
                yield _set(root, path, [whole(item)] * (most + 1), "too many")
        case Object(members=members, required=required):
            yield _set(root, (*path, "inconnu"), 1, "unknown")
            for name in required:
                yield _drop(root, (*path, name))
            for name, member in members.items():
                yield from mutate(root, member, (*path, name))
        case _:
            pass


def _wrong(shape: Shape) -> list[Any]:
    """A value of each other type of JSON."""
    values: dict[type, Any] = {Text: "x", Number: 7, Flag: True, Many: [], Object: {}}
    wanted = Object if isinstance(shape, Open) else type(shape)
    return [value for kind, value in values.items() if kind is not wanted]


def text_of(path: Path) -> str:
    text = "$"
    for step in path:
        text = f"{text}[{step}]" if isinstance(step, int) else join(text, step)
    return text


def _changed(root: dict[str, Any], path: Path) -> tuple[dict[str, Any], Any]:
    root = copy.deepcopy(root)
    inner: Any = root
    for step in path[:-1]:
        inner = inner[step]
    return root, inner


def _set(root: dict[str, Any], path: Path, value: Any, what: str) -> Mutation:
    root, inner = _changed(root, path)
    inner[path[-1]] = value
    return Mutation(what, text_of(path), root)


def _drop(root: dict[str, Any], path: Path) -> Mutation:
    root, inner = _changed(root, path)
    del inner[path[-1]]
    return Mutation("missing", text_of(path), root)


def alterations(kind: Kind) -> Iterator[Mutation]:
    """A whole message with one value changed for another of the same form, for every value it has."""
    yield from _alterations(message(kind), shape_of(kind.model), (kind.key,))


def _alterations(root: dict[str, Any], shape: Shape, path: Path) -> Iterator[Mutation]:
    match shape:
        case Text():
            for value in _others(shape)[:1]:
                yield _set(root, path, value, "altered")
        case Number():
            yield _set(root, path, 8, "altered")
        case Flag():
            yield _set(root, path, False, "altered")
        case Many(item=item):
            yield from _alterations(root, item, (*path, 0))
        case Object(members=members):
            for name, member in members.items():
                yield from _alterations(root, member, (*path, name))
        case _:
            pass


def _others(shape: Text) -> list[str]:
    """Other texts of the same form: the list's other words, or the sample with a digit changed."""
    form = shape.format
    if form is None:
        return ["autre"]
    if form.values:
        return list(form.values[1:])
    changed = [
        form.sample[:at] + digit + form.sample[at + 1 :] for at in range(len(form.sample)) for digit in "123456789"
    ]
    return [text for text in changed if text != form.sample and form.accepts(text)]


def reductions(kind: Kind) -> Iterator[Mutation]:
    """A whole message with one thing left out that it may leave out: a member, or all elements of a list."""
    yield from _reductions(message(kind), shape_of(kind.model), (kind.key,))


def _reductions(root: dict[str, Any], shape: Shape, path: Path) -> Iterator[Mutation]:
    match shape:
        case Many(item=item, least=0):
            yield _set(root, path, [], "emptied")
            yield from _reductions(root, item, (*path, 0))
        case Many(item=item):
            yield from _reductions(root, item, (*path, 0))
        case Object(members=members, required=required):
            for name, member in members.items():
                if name not in required:
                    yield _drop(root, (*path, name))
                yield from _reductions(root, member, (*path, name))
        case _:
            pass
