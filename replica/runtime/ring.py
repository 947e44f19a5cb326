"""Recent effects, encoded once, kept for the sites that follow: a ring bounded in bytes."""

from __future__ import annotations

from collections import deque


class Ring:
    """Effects of entries `floor + 1 ..`, contiguous. `(floor, floor_term)` is the entry just before the oldest one
    kept."""

    def __init__(self, floor: int, floor_term: int, most_bytes: int) -> None:
        self.floor = floor
        self.floor_term = floor_term
        self._most_bytes = most_bytes
        self._kept: deque[tuple[int, list[bytes]]] = deque()
        self._bytes = 0

    @property
    def last(self) -> int:
        return self.floor + len(self._kept)

    def add(self, index: int, term: int, frames: list[bytes]) -> None:
        assert index == self.last + 1, f"effects of {index} after those of {self.last}"
        self._kept.append((term, frames))
        self._bytes += sum(map(len, frames))
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            term, frames = self._kept.popleft()
            self.floor, self.floor_term = self.floor + 1, term
            self._bytes -= sum(map(len, frames))

    def holds(self, index: int, term: int) -> bool:
        """Whether a follower that stands at `(index, term)` can go on from here."""
        if index == self.floor:
            return term == self.floor_term
        return self.floor < index <= self.last and self._kept[index - self.floor - 1][0] == term

    def after(self, index: int, most: int) -> list[list[bytes]]:
        """The frames of the next effects after `index`, of at most `most` entries."""
        start = index - self.floor
        assert start >= 0, f"effects after {index} asked of a ring that begins after {self.floor}"
        return [self._kept[at][1] for at in range(start, min(start + most, len(self._kept)))]
