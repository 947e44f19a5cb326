"""What a figure was measured on: a number without its machine says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from msgspec import Struct

PACKAGES: Final = ("replica", "trio", "lmdb", "msgspec", "msgpack")


class Machine(Struct, frozen=True):
    """`load_1m`: the machine's load average when the measurement began; other work on it spoils figures."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    filesystem: str
    python: str
    packages: dict[str, str]
    load_1m: float

    def line(self) -> str:
        """One line for a person."""
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB, {self.filesystem}, {self.system}, "
            f"Python {self.python}, load {self.load_1m:.2f}"
        )


def this_machine(data: Path) -> Machine:
    """This machine; `data` is where the stores will be."""
    return Machine(
        _processor(),
        os.cpu_count() or 0,
        round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        f"{platform.system()} {platform.release()}",
        _filesystem(data),
        platform.python_version(),
        {name: _version(name) for name in PACKAGES},
        os.getloadavg()[0],
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no such file on this system
    return platform.processor() or platform.machine()


def _filesystem(data: Path) -> str:
    """The type of the file system `data` is on: the longest mount point above it."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    above = [(len(mount[1]), mount[2]) for mount in mounts if data.resolve().is_relative_to(mount[1])]
    return max(above, default=(0, "unknown"))[1]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
