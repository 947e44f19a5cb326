"""`python -m bench.sampled zone CONFIG …`: a node as `replica` runs it, with its main thread looked at meanwhile.

Looks are taken from SIGUSR1 to SIGUSR2 (by `bench profile`, around its window); at the end they are written to a file
beside the node's store.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from bench.sampling import EVERY_S, Sampler
from replica.cli import main as replica_main

LOOKS_FILE: Final = "looks.json"


def main() -> None:
    """Run `replica` with the same words."""
    sampler = Sampler()

    def begin(_: int, __: FrameType | None) -> None:
        sampler.looks.clear()
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def end(_: int, __: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    signal.signal(signal.SIGPROF, sampler.look)
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    config = next(Path(word) for word in sys.argv if word.endswith(".toml"))
    try:
        replica_main()
    finally:
        (config.parent / LOOKS_FILE).write_bytes(msgspec.json.encode(sampler.shares()))


if __name__ == "__main__":
    main()
