"""The state as records: bytes under bytes, in layers.

The whole replicated state is a map from key to record, so that what changed in an entry, what is flushed, what a site
is sent and what a digest covers are all the same kind of thing. A reader merges layers from the newest down:
tentative → dirty → frozen → on disk, deletions included. Records stay bytes; they are decoded where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol


class Records(Protocol):
    """A readable state. `scan` yields keys that begin with `prefix`, in order of the keys."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...


class Overlay:
    """Changes over an older state. None stands for a record that is gone."""

    __slots__ = ("base", "changes")

    def __init__(self, base: Records, changes: dict[bytes, bytes | None] | None = None) -> None:
        self.base = base
        self.changes: dict[bytes, bytes | None] = {} if changes is None else changes

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        return self.base.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        self.changes[key] = value

    def update(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.changes.update(changes)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        newer = iter(sorted((k, v) for k, v in self.changes.items() if k.startswith(prefix)))
        held = next(newer, None)
        for key, value in self.base.scan(prefix):
            while held is not None and held[0] < key:
                if held[1] is not None:
                    yield held[0], held[1]
                held = next(newer, None)
            if held is not None and held[0] == key:
                if held[1] is not None:
                    yield key, held[1]
                held = next(newer, None)
            else:
                yield key, value
        while held is not None:
            if held[1] is not None:
                yield held[0], held[1]
            held = next(newer, None)


class Empty:
    """A state without records: the bottom of a layering that has nothing on disk."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())
