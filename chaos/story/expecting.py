"""What a story expects and what it saw, side by side. A story goes on when one of them is not so, and tells them all.

The bookkeeping (lost, duplicated, digests) is the same for every story and comes from the stores on disk; what is held
here is each story's own fact.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from typing import Any, Final

import trio
from msgspec import Struct

LOOK_SECONDS: Final = 0.02
SHOWN: Final = 400
"""Characters of a value that are shown."""


class Expectation(Struct, frozen=True):
    """One fact: in words, what was expected and what was seen (as text), and whether they agree."""

    what: str
    expected: str
    seen: str
    ok: bool

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, saw {self.seen}"


class Expectations:
    """All that one story expects. Nothing here raises for a fact that is not so."""

    def __init__(self) -> None:
        self.all: list[Expectation] = []

    @property
    def failed(self) -> list[Expectation]:
        return [one for one in self.all if not one.ok]

    def equal(self, what: str, seen: object, expected: object) -> bool:
        return self._add(what, text(expected), seen, seen == expected)

    def at_least(self, what: str, seen: float, least: float) -> bool:
        return self._add(what, f"at least {least:g}", seen, seen >= least)

    def at_most(self, what: str, seen: float, most: float) -> bool:
        return self._add(what, f"at most {most:g}", seen, seen <= most)

    def between(self, what: str, seen: float, least: float, most: float) -> bool:
        """Both bounds count as in between."""
        return self._add(what, f"{least:g} to {most:g}", seen, least <= seen <= most)

    def holds(self, what: str, seen: Container[Any], element: object) -> bool:
        """`seen` has `element` in it: a word in a text, a value in a list."""
        return self._add(what, f"something with {text(element)} in it", seen, element in seen)

    async def becomes(
        self, what: str, look: Callable[[], Awaitable[object]], expected: object, within_s: float
    ) -> bool:
        """Look again and again until it is `expected`; what was seen last counts, where it is not in time."""
        seen = await look()
        with trio.move_on_after(within_s):
            while seen != expected:
                await trio.sleep(LOOK_SECONDS)
                seen = await look()
        return self._add(what, f"{text(expected)} within {within_s:g} s", seen, seen == expected)

    def _add(self, what: str, expected: str, seen: object, ok: bool) -> bool:
        self.all.append(Expectation(what, expected, text(seen), ok))
        return ok


def text(value: object) -> str:
    """A value as a person reads it in a line; a long one is cut."""
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}… ({len(shown)} characters)"
