"""Where a process's CPU time goes: its main thread is looked at every so many microseconds of CPU that it uses.

Each look counts for one *hop* of an operation's way: the innermost of our own functions that runs then says which. The
loop's own time (trio, the system calls of sockets and waiting) counts for the loop. The disk's threads are not looked
at, their CPU is the system's figure. Looking costs some per cent and is spread evenly, so shares hold.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import psutil

EVERY_S: Final = 0.001
"""Of CPU time between two looks."""
HOPS: Final = ("codec", "sockets", "loop", "core", "applier", "feed", "desk", "disk", "status", "caller", "other")
"""In the order of an operation's way, more or less. `desk`: numbering, authority, receipts. `core`: the agreed log."""

_PLACES: Final = (
    ("/replica/wire/", "codec"),
    ("/replica/runtime/feed.py", "feed"),
    ("/replica/runtime/history.py", "feed"),
    ("/replica/runtime/ring.py", "feed"),
    ("/replica/runtime/connection.py", "sockets"),
    ("/replica/runtime/straight.py", "sockets"),
    ("/replica/runtime/links.py", "sockets"),
    ("/replica/runtime/server.py", "sockets"),
    ("/replica/runtime/desk.py", "desk"),
    ("/replica/runtime/service.py", "desk"),
    ("/replica/runtime/control.py", "desk"),
    ("/replica/runtime/state.py", "applier"),
    ("/replica/runtime/instrument.py", "disk"),
    ("/replica/runtime/disk.py", "disk"),
    ("/replica/storage/", "disk"),
    ("/replica/raft/", "core"),
    ("/replica/offline/", "desk"),
    ("/replica/cases/", "applier"),
    ("/replica/", "core"),
    ("/bench/", "caller"),
    ("/trio/", "loop"),
)


def hop_of(frames: list[tuple[str, str]]) -> str:
    """The hop of one look: (file, function) of the stack, the innermost first."""
    for place, (file, function) in enumerate(frames):
        hop = next((hop for part, hop in _PLACES if part in file), None)
        if hop is None or (hop == "core" and function in ("_apply", "advance")):
            continue
        if hop == "applier" and any("/offline/" in outer for outer, _ in frames[place:]):
            return "desk"  # authority is asked, or the working view is made
        return hop
    return "other"


class Sampler:
    """Looks taken so far, by hop."""

    def __init__(self) -> None:
        self.looks: Counter[str] = Counter()

    def look(self, _: int, frame: FrameType | None) -> None:
        frames = []
        while frame is not None:
            frames.append((frame.f_code.co_filename, frame.f_code.co_name))
            frame = frame.f_back
        self.looks[hop_of(frames)] += 1

    def shares(self) -> dict[str, float]:
        """Hop → its share of the main thread's CPU time; empty before the first look."""
        total = sum(self.looks.values())
        return {hop: self.looks[hop] / total for hop in HOPS if self.looks[hop]}


@contextmanager
def sampling(every_s: float = EVERY_S) -> Iterator[Sampler]:
    """Take looks while in here. Only in the main thread, and only where nobody else uses SIGPROF."""
    sampler = Sampler()
    before = signal.signal(signal.SIGPROF, sampler.look)
    signal.setitimer(signal.ITIMER_PROF, every_s, every_s)
    try:
        yield sampler
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def thread_cpu_s(pid: int, *, main: bool) -> float:
    """CPU seconds of a process's main thread, or of all its others together."""
    return sum(
        thread.user_time + thread.system_time for thread in psutil.Process(pid).threads() if (thread.id == pid) == main
    )


def is_main_thread() -> bool:
    """Whether looks can be taken from here."""
    return threading.current_thread() is threading.main_thread()
