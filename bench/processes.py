"""What a running process costs, as the system counts it: CPU seconds, resident memory, files on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds (user and system) that these processes have used since they began. One that is gone counts as 0."""
    return sum(_times(pid) for pid in pids)


def _times(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def rss_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes); 0 for a process that is gone. Pages of a mapped store count while they are
    in memory, so a store that was just read shows here."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def private_mb(pid: int) -> float:
    """Memory that is this process's own, in MB: without the pages of the store that the system keeps and can drop."""
    try:
        return float(psutil.Process(pid).memory_full_info().uss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def disk_mb(folders: Sequence[Path]) -> float:
    """What the files in there take on disk in MB: blocks in use, not lengths, since a store's file is sparse."""
    return sum(file.stat().st_blocks * 512 for folder in folders for file in folder.rglob("*") if file.is_file()) / 1e6
