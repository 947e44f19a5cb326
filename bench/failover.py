"""`python -m bench failover`: how long a caller at a site waits when the leading zone dies.

Three zones and a site, a process each, on loopback with durable stores. Per trial: everything is up and level; the
leader is killed with SIGKILL; at that moment a caller at the site hands in an operation, from the socket a real
client would hold, and the wait until its agreed receipt is one value. Then the zone is started again, and the next
trial begins when it has caught up, after a pause of random length so that trials do not beat in time with heartbeats.

Left out so far: other faults, load besides, large states, and other systems in the same run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct
from rich.console import Console

from bench.figures import Distribution, distribution
from bench.machine import Machine, this_machine
from replica.demo.caller import Caller, open_callers
from replica.demo.clash import note_report
from replica.demo.ledger import Ledger
from replica.demo.looking import leader_of, until_level
from replica.demo.play import until_connected
from replica.demo.supervisor import Cluster, Plan, SitePlan, open_cluster
from replica.errors import ReplicaError

FAULTS: Final = ("kill",)
SITE: Final = "fr.health.samu440"
READY_SECONDS: Final = 20.0
TRIAL_BUDGET_MS: Final = 10_000
"""The receipt waited for is the quorum's, so the caller's budget is far above what is measured."""
WARM_UP_OPERATIONS: Final = 200
PAUSE_SECONDS: Final = (0.2, 0.6)


class FailoverReport(Struct, frozen=True, kw_only=True):
    """`replica`: SIGKILL → first agreed receipt, in ms. `failed`: trials without one within TRIAL_BUDGET_MS; they are
    in no percentile. `before`: the same operation without a fault, right before each kill."""

    fault: str
    trials: int
    replica: Distribution | None
    before: Distribution | None
    failed: int
    warm_up_operations: int
    machine: Machine
    not_measured: tuple[str, ...]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `failover` command and its options."""
    parser = subparsers.add_parser("failover", help="how long a caller waits when the leader dies", description=__doc__)
    parser.add_argument("--fault", choices=FAULTS, default="kill")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--zones", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="decides the pauses between trials")
    parser.add_argument("--json", type=Path, default=None, help="write the report there")


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where every trial ended with an agreed receipt, 1 where one did not, 2 for wrong options."""
    if args.trials < 1 or not 3 <= args.zones <= 7:
        print(
            "--trials must be at least 1, --zones 3 to 7 (with fewer, nobody leads while one is dead)", file=sys.stderr
        )
        return 2
    console = Console()
    with tempfile.TemporaryDirectory(prefix="replica-bench-", ignore_cleanup_errors=True) as folder:
        report = trio.run(_measure, args, Path(folder), console)
    console.print(report.machine.line(), highlight=False)
    console.print(f"without a fault        {report.before.line() if report.before else 'nothing'}", highlight=False)
    console.print(f"leader killed → agreed {report.replica.line() if report.replica else 'nothing'}", highlight=False)
    if report.failed:
        console.print(f"{report.failed} of {report.trials} trials without an agreed receipt in {TRIAL_BUDGET_MS} ms")
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return 1 if report.failed else 0


async def _measure(args: argparse.Namespace, folder: Path, console: Console) -> FailoverReport:
    rng, machine = random.Random(args.seed), this_machine(folder)
    plan = Plan(folder, args.zones, (SitePlan(SITE),), site_lines=False, cluster="bench")
    waits: list[float] = []
    before: list[float] = []
    async with open_cluster(plan) as cluster:
        await cluster.start_all()
        async with open_callers({node.name: node.address for node in cluster.nodes.values()}, Ledger()) as callers:
            await until_connected(callers, cluster, READY_SECONDS)
            await _warm_up(callers[SITE])
            for trial in range(args.trials):
                await until_level([callers[zone.name] for zone in cluster.zones], READY_SECONDS)
                await trio.sleep(rng.uniform(*PAUSE_SECONDS))
                calm = await _wait_ms(callers[SITE], f"before {trial}", trio.current_time())
                before += [] if calm is None else [calm]
                took = await _kill_once(cluster, callers, trial)
                if took is not None:
                    waits.append(took)
                said = "no agreed receipt" if took is None else f"{took:.1f} ms"
                console.print(f"trial {trial + 1:3} of {args.trials}: {said}", highlight=False)
        await cluster.stop_all()
    return FailoverReport(
        fault=args.fault,
        trials=args.trials,
        replica=distribution(waits) if waits else None,
        before=distribution(before) if before else None,
        failed=args.trials - len(waits),
        warm_up_operations=WARM_UP_OPERATIONS,
        machine=machine,
        not_measured=("faults other than kill", "callers and load besides the one", "large states", "other systems"),
    )


async def _warm_up(site: Caller) -> None:
    """Caches filled, connections made, code compiled: none of it belongs to a figure."""
    for number in range(WARM_UP_OPERATIONS):
        await _wait_ms(site, f"warm-up {number}", trio.current_time())


async def _kill_once(cluster: Cluster, callers: dict[str, Caller], trial: int) -> float | None:
    """One trial: the wait in ms from the signal, None where no agreed receipt came. The zone runs again afterwards."""
    leader = await leader_of([callers[zone.name] for zone in cluster.zones], READY_SECONDS)
    killed = cluster.strike(leader)
    took = await _wait_ms(callers[SITE], f"trial {trial}", killed)
    await cluster.gone(leader)
    await cluster.start(leader)
    return took


async def _wait_ms(site: Caller, text: str, since: float) -> float | None:
    """One operation at the site: ms from `since` to its agreed receipt; None where it was only journalled."""
    message = note_report(f"{SITE}.bench", SITE, f"Note {text}")
    held = await site.message(message, f"bench/{text}", text, sender=SITE, budget_ms=TRIAL_BUDGET_MS)
    if not held.receipts:
        raise ReplicaError(f"an operation was not taken at all: {held.invalid or held.not_permitted}")
    return (held.answered_at - since) * 1000 if held.agreed else None
