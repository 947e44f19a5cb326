"""`python -m chaos live-commits`: a million commits on one zone with compaction on; memory and disk must stay flat.

One zone node as shipped (loop, desk, LMDB with fsync, write-back, compaction, feed's ring) in this process, without
sockets in between: what is measured is what a commit leaves behind, not how fast a line is. Callers report the position
of the same vehicles again and again, so that the state itself has no reason to grow. With every report the process's
memory and the files of both environments are looked at.

Leaves out: other voters (`live` and `saturate` have them), and a state that grows because it is used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import trio

from replica.cases.commands import Fact, Report, Subject
from replica.config import ClusterSection, Limits, ZoneConfig, ZonePeer, ZoneSection
from replica.runtime.node import Running, run_zone
from replica.runtime.zone import ZoneNode

HELP = "a million commits on one zone with compaction on: memory and disk stay flat"
EPILOG = """\
examples:
  python -m chaos live-commits --commits 50000 --every 5000 --keep-mib 2
  python -m chaos live-commits --commits 1000000 --every 100000 --json commits.json
"""
RESOURCES: Final = 500
CALLERS: Final = 500
KEEP_MIB: Final = 16
BUDGET_MS: Final = 60_000
SLACK_MB: Final = 16.0
GROWTH: Final = 1.25
"""Flat: in the second half of the run no more than this times the first half's most, and SLACK_MB."""


@dataclass(frozen=True, slots=True)
class Look:
    """How it stands after so many commits."""

    commits: int
    entries: int
    seconds: float
    rss_mb: float
    log_mb: float
    state_mb: float
    log_kept_mb: float
    compacted_through: int

    def line(self) -> str:
        return (
            f"{self.commits:>9} commits  {self.seconds:8.1f} s  rss_mb {self.rss_mb:7.1f}  log_mb {self.log_mb:7.1f}  "
            f"state_mb {self.state_mb:7.1f}  kept {self.log_kept_mb:5.1f} MB of {self.entries} entries"
        )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers `live-commits` with the command line of `chaos`."""
    style = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser("live-commits", help=HELP, description=HELP, epilog=EPILOG, formatter_class=style)
    parser.add_argument("--commits", type=_positive, default=1_000_000, metavar="N", help="how many (default 1000000)")
    parser.add_argument("--every", type=_positive, default=100_000, metavar="K", help="report after each K of them")
    parser.add_argument("--callers", type=_positive, default=CALLERS, metavar="C", help=f"at once (default {CALLERS})")
    keep = f"what the zone keeps of its log, and of effects for sites, in MiB each (default {KEEP_MIB})"
    parser.add_argument("--keep-mib", type=_positive, default=KEEP_MIB, metavar="M", help=keep)
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the zone's store goes (default: removed after)")
    parser.add_argument(
        "--json", type=Path, metavar="F", help="write the report as JSON to this file; - for the screen"
    )


def run(args: argparse.Namespace) -> int:
    """Runs it. Returns 1 where memory or disk did not stay flat."""
    with tempfile.TemporaryDirectory(prefix="chaos-commits-") as folder:
        looks = trio.run(commit, args, Path(args.data or folder))
    grown = growth(looks)
    report = {"looks": [asdict(look) for look in looks], "grown": grown, "ok": not grown}
    if args.json is not None:
        text = json.dumps(report, indent=2)
        print(text) if str(args.json) == "-" else args.json.write_text(text + "\n", encoding="utf-8")
    for what in grown:
        print(f"not flat: {what}", file=sys.stderr)
    return 1 if grown else 0


async def commit(args: argparse.Namespace, folder: Path) -> list[Look]:
    """So many commits; one look with each report."""
    config = zone_config(folder / "zone-1", args.keep_mib)
    async with run_zone(config, found=True) as running:
        load = _Load(running, args.commits, args.every, folder / "zone-1")
        await load.place()
        async with trio.open_nursery() as nursery:
            for caller in range(args.callers):
                nursery.start_soon(load.call, caller)
        return load.looks


def zone_config(data: Path, keep_mib: int) -> ZoneConfig:
    """One voter. What it keeps for others is full early, so that whatever grows afterwards grows without an end."""
    peers = (ZonePeer(1, "zone-1", "127.0.0.1:1"),)
    limits = Limits(log_keep_mib=keep_mib, feed_ring_bytes=keep_mib << 20)
    zone = ZoneSection("zone-1", 1, "127.0.0.1:0", str(data))
    return ZoneConfig(ClusterSection("commits"), zone, peers, limits=limits)


class _Load:
    """The callers, and who looks at what they leave behind."""

    def __init__(self, running: Running, commits: int, every: int, data: Path) -> None:
        assert isinstance(running.node, ZoneNode), "commits are made at a zone"
        self._service = running.service
        self._node = running.node
        self._commits = commits
        self._every = every
        self._data = data
        self._begun_s = time.monotonic()
        self._handed = 0
        self._agreed = 0
        self.looks: list[Look] = []

    async def place(self) -> None:
        """Each resource is somewhere, before the first look."""
        for number in range(RESOURCES):
            await self._service.submit(moved(number), author="founder", budget_ms=BUDGET_MS)
        self._begun_s = time.monotonic()

    async def call(self, caller: int) -> None:
        """One caller: its next change once the last is agreed."""
        while self._handed < self._commits:
            self._handed += 1
            number = self._handed
            handed = await self._service.submit(moved(number), author=f"caller {caller}", budget_ms=BUDGET_MS)
            assert handed.state == "agreed", f"{handed.operation} is {handed.state}"
            self._agreed += 1
            if self._agreed % self._every == 0 or self._agreed == self._commits:
                self._look()

    def _look(self) -> None:
        log = self._node.stored_log
        look = Look(
            commits=self._agreed,
            entries=self._node.state.index,
            seconds=round(time.monotonic() - self._begun_s, 1),
            rss_mb=round(rss_bytes() / 1e6, 1),
            log_mb=round(size_of(self._data / "log") / 1e6, 1),
            state_mb=round(sum(size_of(each) for each in self._data.glob("state*")) / 1e6, 1),
            log_kept_mb=round(log.payload_bytes / 1e6, 1),
            compacted_through=self._node.compaction.through,
        )
        self.looks.append(look)
        print(look.line(), flush=True)


def moved(number: int) -> Report:
    """A vehicle says where it is: the newer position takes the place of the older, and nothing else is kept."""
    at = f"{47 + number % 1000 / 10_000:.4f},{-1.5 - number % 777 / 10_000:.4f}"
    facts = (Fact("position", json.dumps({"coord": at}), at_ms=1_770_000_000_000 + number * 1000),)
    return Report("", "GEO-POS", "fr.health.samu440", (Subject("resource", resource_id(number % RESOURCES), facts),))


def resource_id(number: int) -> str:
    return f"fr.health.samu440.resource.R{number}"


def rss_bytes() -> int:
    """What of this process is in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def size_of(folder: Path) -> int:
    """What the files of a folder take on the disk, holes left out."""
    return sum(each.stat().st_blocks * 512 for each in folder.iterdir() if each.is_file())


def growth(looks: list[Look]) -> list[str]:
    """What grew, in words; nothing for a run that is flat, or too short to tell."""
    half = len(looks) // 2
    grown: list[str] = []
    for what in ("rss_mb", "log_mb", "state_mb"):
        values = [getattr(look, what) for look in looks]
        if half and max(values[half:]) > max(values[:half]) * GROWTH + SLACK_MB:
            grown.append(f"{what}: at most {max(values[:half])} in the first half, {max(values[half:])} in the second")
    return grown


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number
