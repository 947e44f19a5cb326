"""`python -m chaos sim`: run seeds of the simulated world, and replay the one that failed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos.nodes import report as nodes
from chaos.nodes import world as nodes_world
from chaos.sites import report as sites
from chaos.sites import world as sites_world
from chaos.world.report import DEFAULT_STEPS, WEATHERS, Failure, Report, SeedResult, run_seed, run_seeds
from chaos.world.retell import story
from chaos.world.shrink import Run
from chaos.world.softer import softened

HELP = "run seeds of the simulated world: the shipped core in a storm of faults, checked after every event"

DESCRIPTION = """\
Each seed draws its own cluster (1 to 7 nodes), its own links, disks, clocks, load and faults, and is the same run
every time, on any machine. A storm of --steps events tests safety: every invariant of chaos/world/invariants.py is
checked after every event. Then the storm ends, and a healthy majority must commit something new in bounded virtual
time; at last all members must end with the same log and the same state.

With --depth node each seed runs the shipped node code instead (chaos/nodes): zones and sites with their callers, on
memory links and simulated disks, in virtual time. An event is there a piece of a stream that arrived, a job of a disk
that became durable, or an entry applied at one node.

With --depth sites the same nodes stand in another weather (chaos/sites): sites that are cut off in every shape, taken
over, restored from backups, cloned, emptied and told wrong times, and people there who decide about the same cases. An
act of theirs and a read that was checked are events, too.

A failing seed prints its last events and the command that replays it. Exit status 1 when any seed failed.
"""

EPILOG = """\
examples:
  python -m chaos sim --seeds 300                         seeds 1 to 300
  python -m chaos sim --seeds 1 --start 4711 --trace      one seed, every event printed
  python -m chaos sim --seeds 2000 --jobs 2 --json sim.json
  python -m chaos sim --seeds 100 --depth node            the shipped node code, 100 seeds
  python -m chaos sim --seeds 100 --depth sites           the same, cut off and back
  python -m chaos sim --seeds 1 --start 4711 --shrink     the same failure in fewer events, and as a scenario
"""

PROGRESS_S = 1.0


@dataclass(frozen=True, slots=True)
class Depth:
    """A depth of whole nodes: who runs its seeds, and how long a storm is."""

    report: Callable[[], Report]
    run_seed: Callable[..., SeedResult]
    run_seeds: Callable[[Iterable[int], int, int], Iterator[SeedResult]]
    steps: int


DEPTHS = {
    "node": Depth(nodes.report, nodes.run_seed, nodes.run_seeds, nodes_world.DEFAULT_STEPS),
    "sites": Depth(sites.report, sites.run_seed, sites.run_seeds, sites_world.DEFAULT_STEPS),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers `sim` with the command line of `chaos`."""
    style = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser("sim", help=HELP, description=DESCRIPTION, epilog=EPILOG, formatter_class=style)
    parser.add_argument("--seeds", type=_positive, default=100, metavar="N", help="how many seeds (default 100)")
    parser.add_argument("--start", type=int, default=1, metavar="S", help="the first seed (default 1)")
    defaults = f"{DEFAULT_STEPS}, at depth node {nodes_world.DEFAULT_STEPS}, at depth sites {sites_world.DEFAULT_STEPS}"
    steps = f"events of the storm, for each seed (default {defaults})"
    parser.add_argument("--steps", type=_positive, default=None, metavar="M", help=steps)
    depth = (
        "core: the pure core on simulated disks; node: the shipped nodes on memory links; "
        "sites: those, cut off and back (default core)"
    )
    parser.add_argument("--depth", choices=("core", *DEPTHS), default="core", help=depth)
    weathers = (
        "storm: everything; figure-8: leaders die while old entries spread; lost-stores: disks are emptied; "
        "changing-members: members and leaders change, logs are dropped; leases: clocks drift as far as declared"
    )
    weathers += "; softened by words behind it, as in storm,-cut,nodes=3 (chaos/world/softer.py)"
    parser.add_argument("--weather", type=_weather, default="storm", metavar="W", help=weathers)
    parser.add_argument("--jobs", type=_positive, default=1, metavar="J", help="processes to spread the seeds over")
    parser.add_argument(
        "--json", type=Path, metavar="F", help="write the report as JSON to this file; - for the screen"
    )
    shrink = "make each failing seed small, and tell it as a scenario where that can be done"
    parser.add_argument("--shrink", action="store_true", help=shrink)
    parser.add_argument("--trace", action="store_true", help="print every event (best with --seeds 1), and their hash")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _weather(text: str) -> str:
    try:
        softened(text, WEATHERS)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem
    return text


def run(args: argparse.Namespace) -> int:
    """Runs what the command line asks for. 0 when every seed held, else 1."""
    if args.depth in DEPTHS and (args.weather != "storm" or args.shrink):
        print("--weather and --shrink are of depth core", file=sys.stderr)
        return 2
    if args.steps is None:
        args.steps = DEPTHS[args.depth].steps if args.depth in DEPTHS else DEFAULT_STEPS
    report = DEPTHS[args.depth].report() if args.depth in DEPTHS else Report(meets_all=args.weather == "storm")
    begun = time.perf_counter()
    shown = begun
    for result in _results(args):
        report.add(result)
        report.seconds = time.perf_counter() - begun
        if result.failure is not None:
            _print_failure(result.failure)
            if args.shrink:
                print("\n".join(story(Run(result.seed, args.steps, args.weather))) + "\n", flush=True)
        if args.trace:
            print(f"seed {result.seed}: {result.events} events, trace {result.digest}")
        elif time.perf_counter() - shown > PROGRESS_S:
            shown = time.perf_counter()
            _progress(report, args.seeds)
    _summary(report, to_stderr=str(args.json) == "-")
    if args.json is not None:
        _write_json(report, args.json)
    return 0 if report.ok else 1


def _results(args: argparse.Namespace) -> Iterator[SeedResult]:
    seeds = range(args.start, args.start + args.seeds)
    if args.depth in DEPTHS:
        depth = DEPTHS[args.depth]
        if args.trace:
            return (depth.run_seed(seed, args.steps, follow=print, hashed=True) for seed in seeds)
        return depth.run_seeds(seeds, args.steps, args.jobs)
    if args.trace:
        return (run_seed(seed, args.steps, args.weather, follow=print, hashed=True) for seed in seeds)
    return run_seeds(seeds, args.steps, args.weather, args.jobs)


def _progress(report: Report, wanted: int) -> None:
    failed = f", {len(report.failures)} FAILED" if report.failures else ""
    line = f"{report.seeds}/{wanted} seeds, {report.events} events, {report.events_per_s}/s{failed}"
    end = "\r" if sys.stderr.isatty() else "\n"
    print(line, end=end, file=sys.stderr, flush=True)


def _print_failure(failure: Failure) -> None:
    print(f"\nseed {failure.seed} FAILED: {failure.text}\n\nthe last events:", flush=True)
    for line in failure.timeline:
        print("  " + line)
    print(f"\nreplay:\n  {failure.replay}\n", flush=True)


def _summary(report: Report, to_stderr: bool) -> None:
    out = sys.stderr if to_stderr else sys.stdout
    width = max(len(name) for name in report.faults)
    for name, count in sorted(report.faults.items()):
        print(f"  {name:<{width}} {count:>10}", file=out)
    seconds = f"{report.seconds:.1f} s, {report.events_per_s} events/s"
    print(f"{report.seeds} seeds, {report.events} events, {seconds}", file=out)
    print(f"slowest commit after a storm: {report.worst_calm_timeouts:.1f} election timeouts", file=out)
    if report.ok:
        print("ok: every invariant held", file=out)
    if report.failures:
        seeds = ", ".join(str(failure.seed) for failure in report.failures)
        print(f"FAILED: {len(report.failures)} seeds: {seeds}", file=out)
    if report.never_happened() and not report.missing():
        print(f"never happened in these seeds: {', '.join(report.never_happened())}", file=out)
    if report.missing():
        print(f"FAILED: the simulator never met: {', '.join(report.missing())}", file=out)


def _write_json(report: Report, path: Path) -> None:
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
