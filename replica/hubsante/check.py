"""Every wrong place of a message at once, with its path and what was expected there.

The structs of models/ are compiled once into a small tree of shapes; checking walks a parsed message along it. The
walk visits each value at most once and stops at `MAX_VALUES` values or `MAX_PLACES` findings, so its cost is bounded
whatever the message holds. Unknown members are named, not entered.

Why not the schema library's own report: msgspec stops at its first finding, and a JSON schema engine would run the
published patterns (see formats.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import inspect

from replica.errors import InvalidMessage, Place
from replica.hubsante.formats import Format
from replica.hubsante.models.types import Part
from replica.hubsante.text import MAX_NUMBER, Repeated

MAX_VALUES = 20_000
MAX_PLACES = 100
MAX_DEPTH = 32
"""Levels of an object whose members the standard leaves open."""


@dataclass(frozen=True, slots=True)
class Text:
    format: Format | None


@dataclass(frozen=True, slots=True)
class Number:
    whole: bool


@dataclass(frozen=True, slots=True)
class Flag:
    pass


@dataclass(frozen=True, slots=True)
class Many:
    item: Shape
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Object:
    members: dict[str, Shape]
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Open:
    """An object of any members."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Not looked at here: the reader of the message goes on by itself."""


Shape: TypeAlias = Text | Number | Flag | Many | Object | Open | Anything
OPEN = Open()


@cache
def shape_of(model: type[Part]) -> Object:
    """The shape a message part must have, read from its struct."""
    shape = _compile(inspect.type_info(model), None)
    assert isinstance(shape, Object), f"{model.__name__} is no struct"
    return shape


def _compile(info: inspect.Type, form: Format | None) -> Shape:
    match info:
        case inspect.Metadata(type=inner, extra=extra):
            return _compile(inner, (extra or {}).get("format", form))
        case inspect.UnionType(types=types):
            (inner,) = (one for one in types if not isinstance(one, inspect.NoneType))
            return _compile(inner, form)
        case inspect.StrType():
            return Text(form)
        case inspect.IntType():
            return Number(whole=True)
        case inspect.FloatType():
            return Number(whole=False)
        case inspect.BoolType():
            return Flag()
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            return Many(_compile(item, None), least or 0, most)
        case inspect.DictType():
            return OPEN
        case inspect.AnyType():
            return Anything()
        case inspect.StructType(fields=fields):
            members = {field.encode_name: _compile(field.type, None) for field in fields}
            return Object(members, tuple(field.encode_name for field in fields if field.required))
    raise AssertionError(f"no shape for {info}")


class _Enough(Exception):
    """More findings or values than one answer should hold."""


def join(path: str, name: str) -> str:
    """`$.a` and `b` give `$.a.b`; a name that is no plain word is quoted and cut."""
    if name.isascii() and name.replace("_", "a").replace("-", "a").isalnum() and len(name) <= 80:
        return f"{path}.{name}"
    return f"{path}[{name[:80]!a}]"


class Checker:
    """One walk over one message. `places` are its findings, `values` how many values it has looked at, `stopped`
    whether a limit has ended it: what comes after is not looked at, and counts as wrong."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.values = 0
        self.stopped = False

    def report(self, path: str, problem: str) -> None:
        """Adds a finding; beyond `MAX_PLACES` only the remark that there are more."""
        try:
            self._report(path, problem)
        except _Enough:
            self.stopped = True

    def check(self, value: Any, shape: Shape, path: str) -> None:
        """Adds what is wrong with `value` to `places`; a limit ends the walk, with a finding that says so."""
        try:
            self._check(value, shape, path)
        except _Enough:
            self.stopped = True

    def check_twice(self, value: Any, path: str) -> None:
        """Reports keys that an object names twice, of an object that is looked at without a shape."""
        for name in value.twice if isinstance(value, Repeated) else ():
            self.report(join(path, name), "named twice in one object")

    def _report(self, path: str, problem: str) -> None:
        if len(self.places) < MAX_PLACES:
            self.places.append(Place(path, problem))
            return
        if len(self.places) == MAX_PLACES:
            self.places.append(Place("$", f"more than {MAX_PLACES} places are wrong; these are the first"))
        raise _Enough

    def _step(self, path: str) -> None:
        self.values += 1
        if self.values == MAX_VALUES:
            self._report(path, f"expected fewer than {MAX_VALUES} values in a message")
        if self.values >= MAX_VALUES:
            raise _Enough

    def _check(self, value: Any, shape: Shape, path: str) -> None:
        self._step(path)
        match shape:
            case Text(format=form):
                self._check_text(value, form, path)
            case Number(whole=whole):
                self._check_number(value, whole, path)
            case Flag():
                if not isinstance(value, bool):
                    self._report(path, f"expected true or false, got {kind_of(value)}")
            case Many():
                self._check_many(value, shape, path)
            case Object():
                self._check_object(value, shape, path)
            case Open():
                self._check_open(value, path)
            case Anything():
                pass

    def _check_text(self, value: Any, form: Format | None, path: str) -> None:
        if not isinstance(value, str):
            self._report(path, f"{form.expected if form else 'expected a text'}, got {kind_of(value)}")
        elif _has_surrogate(value):
            self._report(path, "expected Unicode text, got half of a surrogate pair")
        elif form is not None and not form.accepts(value):
            self._report(path, f"{form.expected}, got {ascii_cut(value)}")

    def _check_number(self, value: Any, whole: bool, path: str) -> None:
        wanted = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._report(path, f"expected {wanted}, got {kind_of(value)}")
        elif not -MAX_NUMBER < value < MAX_NUMBER:
            self._report(path, f"expected {wanted} between -{MAX_NUMBER:g} and {MAX_NUMBER:g}")
        elif whole and value != int(value):
            self._report(path, f"expected {wanted}, got {value!r}")

    def _check_many(self, value: Any, shape: Many, path: str) -> None:
        if not isinstance(value, list):
            self._report(path, f"expected a list, got {kind_of(value)}")
        elif len(value) < shape.least:
            self._report(path, f"expected at least {shape.least} in the list, got {len(value)}")
        elif shape.most is not None and len(value) > shape.most:
            self._report(path, f"expected at most {shape.most} in the list, got {len(value)}")
        else:
            for at, item in enumerate(value):
                self._check(item, shape.item, f"{path}[{at}]")

    def _check_object(self, value: Any, shape: Object, path: str) -> None:
        if not isinstance(value, dict):
            self._report(path, f"expected an object, got {kind_of(value)}")
            return
        self._check_twice(value, path)
        for name in shape.required:
            if name not in value:
                self._report(join(path, name), f"missing, but required: {wanted(shape.members[name])}")
        for name, member in value.items():
            if name in shape.members:
                self._check(member, shape.members[name], join(path, name))
            else:
                self._report(join(path, name), f"unknown here; allowed: {', '.join(sorted(shape.members))}")

    def _check_twice(self, value: dict[str, Any], path: str) -> None:
        if isinstance(value, Repeated):
            for name in value.twice:
                self._report(join(path, name), "named twice in one object")

    def _check_open(self, value: Any, path: str, depth: int = 0) -> None:
        """Anything JSON can say, within the limits; at the top an object."""
        if depth == 0 and not isinstance(value, dict):
            self._report(path, f"expected an object, got {kind_of(value)}")
        elif depth > MAX_DEPTH:
            self._report(path, f"expected at most {MAX_DEPTH} levels")
        elif isinstance(value, dict):
            self._check_twice(value, path)
            for name, member in value.items():
                self._step(path)
                if _has_surrogate(name):
                    self._report(join(path, name), "expected a Unicode name, got half of a surrogate pair")
                self._check_open_member(member, join(path, name), depth + 1)
        elif isinstance(value, list):
            for at, item in enumerate(value):
                self._check_open_member(item, f"{path}[{at}]", depth + 1)

    def _check_open_member(self, value: Any, path: str, depth: int) -> None:
        if isinstance(value, dict | list):
            self._step(path)
            self._check_open(value, path, depth)
        elif isinstance(value, str):
            self._check(value, Text(None), path)
        elif value is not None and not isinstance(value, bool):
            self._check(value, Number(whole=False), path)


def _has_surrogate(text: str) -> bool:
    """JSON can escape half a surrogate pair; no UTF-8 can hold it."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def wanted(shape: Shape) -> str:
    match shape:
        case Text(format=form):
            return form.expected if form else "expected a text"
        case Number(whole=whole):
            return "expected a whole number" if whole else "expected a number"
        case Flag():
            return "expected true or false"
        case Many():
            return "expected a list"
        case Object(required=required):
            return f"expected an object with {', '.join(required)}" if required else "expected an object"
        case Open() | Anything():
            return "expected an object"


def kind_of(value: Any) -> str:
    """What a value is, in words, without the value itself."""
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        type(None): "null",
    }
    return names.get(type(value), "an object")


def ascii_cut(text: str) -> str:
    """A text as a log or an answer may show it: escaped, at most 60 characters of it."""
    return ascii(text) if len(text) <= 60 else f"{text[:60]!a}… ({len(text)} characters)"


PartT = TypeVar("PartT", bound=Part)


def build(value: Any, model: type[PartT], path: str, checker: Checker) -> PartT | None:
    """`value` as a struct, or None with what is wrong added to the checker's places."""
    before = len(checker.places)
    checker.check(value, shape_of(model), path)
    if checker.stopped or len(checker.places) > before:
        return None
    try:
        return msgspec.convert(value, type=model)
    except msgspec.ValidationError as error:  # the shapes and the structs disagree: still no message half read
        raise InvalidMessage((Place(path, str(error)),)) from None
