"""Whether a learner's state is the leader's: digests of both at one index, before it may vote.

A zone that has copied everything and applied it to something else would, as a voter, confirm what it does not have.
The digest of the state is kept with it (cases/digest.py), so each zone notes it after every entry for the price of a
look-up; a learner tells the leader its own every so often, and the leader compares where it remembers that index.

Leaves out: the promotion itself (raft/membership.py), and what to do with a zone that differs: it stays a learner, and
`replica member list` says so.
"""

from __future__ import annotations

from collections import deque

REMEMBERED = 20_000
"""Entries whose digest is remembered: some seconds of the heaviest load, hours of an ordinary day."""


class Digests:
    """The digests of the state after each of the latest entries."""

    def __init__(self, index: int, digest: str) -> None:
        self._kept: deque[str] = deque([digest], maxlen=REMEMBERED)
        self.index = index

    @property
    def latest(self) -> str:
        return self._kept[-1]

    def note(self, index: int, digest: str) -> None:
        """The state is at `index` now. After a whole state was put in place, what was before is forgotten."""
        if index != self.index + 1:
            self._kept.clear()
        self._kept.append(digest)
        self.index = index

    def same(self, index: int, digest: str) -> bool | None:
        """Whether the state at `index` had this digest; None where that is not remembered, or not known yet."""
        back = self.index - index
        return self._kept[-1 - back] == digest if 0 <= back < len(self._kept) else None
