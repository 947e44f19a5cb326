"""One node's clock: goes forward only, a little too fast or too slow, and jumps when told to.

The world has one true time in milliseconds. A node never sees it: its timers run on a clock of its own, whose rate
differs by some per cent and whose origin changes with each life of the process. Leaves out: clocks that go backwards;
the core is promised a clock that only goes forward (`RaftConfig`).
"""

from __future__ import annotations


class Clock:
    """`rate` is in thousandths: 1000 is a true clock, 1050 gains five per cent."""

    __slots__ = ("_base_ms", "_since_ms", "rate")

    def __init__(self, since_ms: int, base_ms: int, rate: int) -> None:
        self._since_ms = since_ms
        self._base_ms = base_ms
        self.rate = rate

    def at(self, world_ms: int) -> int:
        """What this clock shows at a true time."""
        return self._base_ms + (world_ms - self._since_ms) * self.rate // 1000

    def when(self, local_ms: int) -> int:
        """The first true time at which this clock shows `local_ms` or more; may lie in the past."""
        return self._since_ms - (self._base_ms - local_ms) * 1000 // self.rate

    def jump(self, ms: int) -> None:
        """Forward, at once: the host was suspended, or a debugger held the process."""
        assert ms >= 0, f"a clock only goes forward, not by {ms} ms"
        self._base_ms += ms
