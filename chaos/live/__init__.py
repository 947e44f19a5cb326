"""`python -m chaos live`: real processes, real sockets, real disks, and faults at random while people write.

Several callers at each site write without pause; meanwhile processes are killed, lines cut, nodes restarted, one
fault at a time as far as the quorum is concerned. Then everything heals, every operation gets its verdict, everything
stops, and the stores are read from disk: each operation that a caller holds a receipt for has one verdict on every
replica.

Left out: faults of the disk and the clock, and everything that needs one seed to come out the same twice. Real time
does not; the simulated world (chaos/world) does that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from chaos.live.nemesis import FAULTS
from chaos.live.run import LiveOptions, LiveResult, run_live
from replica.errors import ConfigError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `live` command and its options."""
    parser = subparsers.add_parser("live", help="real processes under random faults and load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults and load last (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="decides which fault comes when, and what is written")
    parser.add_argument(
        "--faults", default="kill,cut,restart", help=f"some of {', '.join(sorted(FAULTS))} (default kill,cut,restart)"
    )
    parser.add_argument("--zones", type=int, default=3)
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--callers", type=int, default=3, help="callers at each site (default 3)")
    parser.add_argument("--pause-ms", type=float, default=10.0, help="a caller's pause between two writes (default 10)")
    parser.add_argument("--data", type=Path, default=None, help="keep the nodes' folders there")
    parser.add_argument("--json", type=Path, default=None, help="write the result there")


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every operation has one verdict on every replica, 1 where not, 2 for wrong options."""
    console = Console()
    try:
        options = LiveOptions(
            args.seconds,
            args.seed,
            tuple(args.faults.split(",")) if args.faults else (),
            args.zones,
            args.sites,
            args.callers,
            args.pause_ms,
            args.data,
        )
        options.check()
    except ConfigError as problem:
        print(problem, file=sys.stderr)
        return 2
    result = trio.run(run_live, options, lambda what: console.print(what, highlight=False, markup=False))
    _report(console, result)
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return 0 if result.ok else 1


def _report(console: Console, result: LiveResult) -> None:
    for problem in result.problems:
        console.print(f"✗ {problem}", highlight=False, markup=False)
    console.print(
        f"{result.seconds:.0f} s, {result.operations} operations, {result.faults} faults {result.faults_by_kind}, "
        f"{result.reads} linearizable reads, linearizable: {result.linearizable}, "
        f"{result.elections} elections, longest without an agreed receipt {result.unavailable_ms_max:.0f} ms, "
        f"lost {result.lost}, duplicated {result.duplicated}, digests equal: {result.digests_equal}: "
        f"{'ok' if result.ok else 'NOT OK'}",
        highlight=False,
        markup=False,
    )
