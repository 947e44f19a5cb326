"""`python -m chaos.story.shipped …`: the `replica` command, in a process whose wall clock is wrong.

How wrong says the environment (`CHAOS_WALL_AHEAD_MS`), so that one node of a cluster has it and the others do not. Only
what the process is told of the time of day changes; the clock that goes forward, by which it waits and measures, is the
machine's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from replica.cli import main as shipped

AHEAD: Final = "CHAOS_WALL_AHEAD_MS"


def ahead_by(ahead_ms: int, real_ns: Callable[[], int]) -> Callable[[], int]:
    """A wall clock in nanoseconds that is `ahead_ms` before the real one."""
    return lambda: real_ns() + ahead_ms * 1_000_000


def main() -> None:
    """Set the clock, then run the command as it is shipped."""
    ahead_ms = int(os.environ.get(AHEAD, "0"))
    time.time_ns = ahead_by(ahead_ms, time.time_ns)
    real_s = time.time
    time.time = lambda: real_s() + ahead_ms / 1000

    shipped()


if __name__ == "__main__":
    main()
