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


class Layer(dict[bytes, bytes | None]):
    """Changed records, which also knows them by subject: so that reading one case looks at that case's records, not at
    every record that changed since the last write-back.

    The parts of a subject begin with its name and a zero byte (keys.py); that beginning is the drawer a key lies in.
    Records are set with `[]` and `update`; one that is gone stays, as None.
    """

    __slots__ = ("_drawers", "_unfiled")

    def __init__(self, changes: Mapping[bytes, bytes | None] | None = None) -> None:
        super().__init__(changes or ())
        self._drawers: dict[bytes, dict[bytes, None]] = {}
        self._unfiled: list[bytes] = list(self)
        """Set since a drawer was last looked into, perhaps more than once: most records are never looked for so."""

    def __setitem__(self, key: bytes, value: bytes | None) -> None:
        self._unfiled.append(key)
        super().__setitem__(key, value)

    def update(self, changes: Mapping[bytes, bytes | None]) -> None:  # type: ignore[override]  # no other form is used
        self._unfiled += changes
        super().update(changes)

    def forget(self, key: bytes) -> None:
        """As if the record had never been set: what is below shows again."""
        if key in self:
            self._file()
            super().__delitem__(key)
            del self._drawers[_drawer(key)][key]

    def _file(self) -> None:
        drawers, unfiled = self._drawers, self._unfiled
        for key in unfiled:
            drawers.setdefault(_drawer(key), {})[key] = None
        unfiled.clear()

    def beginning(self, prefix: bytes) -> list[bytes]:
        """The keys that begin with `prefix`, in order."""
        self._file()
        if b"\0" in prefix:
            found = [key for key in self._drawers.get(_drawer(prefix), ()) if key.startswith(prefix)]
        else:
            found = [
                key
                for drawer, keys in self._drawers.items()
                if drawer.startswith(prefix) or prefix.startswith(drawer)
                for key in keys
                if key.startswith(prefix)
            ]
        return sorted(found)


def _drawer(key: bytes) -> bytes:
    """Up to the first zero byte; the first byte alone where there is none."""
    return key[: key.find(b"\0") + 1] or key[:1]


class Overlay:
    """Changes over an older state. None stands for a record that is gone. Over a `Layer` a scan costs what it finds."""

    __slots__ = ("base", "changes")

    def __init__(self, base: Records, changes: dict[bytes, bytes | None] | None = None) -> None:
        self.base = base
        self.changes: dict[bytes, bytes | None] = Layer() if changes is None else changes

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        return self.base.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        self.changes[key] = value

    def update(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.changes.update(changes)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        changes = self.changes
        if isinstance(changes, Layer):
            newer = iter([(key, changes[key]) for key in changes.beginning(prefix)])
        else:
            newer = iter(sorted((key, value) for key, value in changes.items() if key.startswith(prefix)))
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
