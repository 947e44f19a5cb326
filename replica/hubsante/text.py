"""JSON as this border reads it, and as it writes values into operations.

Reading is strict where a lax reader would let two partners see two different messages: no key twice in one object, no
NaN, nothing but UTF-8. It is bounded before anything is built: a message over `MAX_BYTES` is refused by its length.

Writing is canonical: keys sorted, no blanks, and one text per number, so that equal values are equal bytes on every
replica: a whole number without a point (`48`, also where a partner wrote `48.0`), any other as the shortest text that
reads back the same; `-0.0` is `0`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from replica.errors import InvalidMessage, Place

MAX_BYTES = 256 * 1024
"""Real messages have 200 bytes to 4 kB; a mass accident with a hundred patients stays under 100 kB."""
MAX_NUMBER = 1e15
"""Every whole number up to here is exact as a float too."""


class Repeated(dict[str, Any]):
    """An object that named a key twice; check.py reports the place, which a reader of JSON does not know yet."""

    twice: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeated, seen, twice = Repeated(plain), set[str](), list[str]()
    for name, _ in pairs:
        if name in seen and name not in twice:
            twice.append(name)
        seen.add(name)
    repeated.twice = tuple(twice)
    return repeated


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def _refused(problem: str) -> InvalidMessage:
    return InvalidMessage((Place("$", problem),))


def parse(data: bytes) -> Any:
    """JSON bytes as plain values. Raises InvalidMessage where they are none: answer the sender, nothing was done."""
    if len(data) > MAX_BYTES:
        raise _refused(f"expected at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        return _DECODER.decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _refused(f"expected UTF-8 text, byte {error.start} is none") from None
    except json.JSONDecodeError as error:
        raise _refused(f"expected JSON, at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise _refused("expected a message, got objects nested beyond any message") from None
    except ValueError as error:  # NaN, Infinity, or a number of thousands of digits
        raise _refused(f"expected JSON: {error}") from None


def number(value: float) -> int | float:
    """The canonical form of a finite number."""
    whole = abs(value) < MAX_NUMBER and value == int(value)
    return int(value) if whole else value


def number_text(value: float) -> str:
    return repr(number(value))


def _normal(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, dict):
        return {name: _normal(member) for name, member in value.items()}
    return [_normal(item) for item in _items(value)]


def _items(value: Any) -> Iterable[Any]:
    assert isinstance(value, list | tuple), f"{type(value).__name__} has no place in JSON"
    return value


def canonical(value: Any) -> str:
    """The one text of a value of plain dicts, lists, texts, numbers and booleans.

    The values are checked before (finite, shallow); ValueError or AssertionError otherwise is a fault of ours.
    """
    return json.dumps(_normal(value), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
