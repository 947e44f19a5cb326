"""What another system bears beside ours, in the same shape as our own windows. The other system is imported here, at
the call, and nowhere else in the commands that only compare themselves with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from bench.callers import Window

ETCD: Final = "etcd"


async def etcd_puts(
    folder: Path, callers: Sequence[int], seconds: float, value_bytes: int
) -> AsyncIterator[tuple[int, str, Window]]:
    """(callers, the client's words, what came of it), one after the other on one etcd."""
    raise NotImplementedError
    yield
