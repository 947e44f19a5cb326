"""`python -m chaos live-members`: zones come and go for good, under load, in real processes.

Three stories, each told by the operator's own command (`replica member …`), with callers at two sites writing all the
while:

* `replace`: 3 → 5 → 3, until every zone of the beginning is gone;
* `leader-leaves`: the leading zone is removed, three times over, each time a new one is put in its place;
* `two-lost`: two of three are killed for good, and the cluster is founded anew out of the third
  (`replica member force-new-cluster`); two new zones join it.

At the end every write must have one verdict, every node that is left one digest, read from the stores on disk, and one
copy of the cases could have given all the answers to linearizable reads (chaos/history).

Left out: faults besides those of the story (chaos live has them).
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

from chaos.live.reading import History
from chaos.live.run import folder_for, unavailable_ms
from replica.admin.ask import stopped_node
from replica.config import ClusterSection, ZoneConfig, ZonePeer, ZoneSection
from replica.demo.caller import Caller, open_callers, until_decided
from replica.demo.clash import note, priority_report
from replica.demo.ledger import Ledger
from replica.demo.looking import until_equal, until_mode
from replica.demo.processes import Child, hold_port
from replica.demo.supervisor import CONFIG_FILE, LOG_FILE, Cluster, Node, Plan, SitePlan, open_cluster, toml
from replica.errors import ReplicaError
from replica.wire.client import Receipt

SITES: Final = 2
CASES: Final = 20
CLUSTER: Final = "chaos"
CASE: Final = "fr.health.samu440.members"
CONNECT_SECONDS: Final = 30.0
DECIDE_SECONDS: Final = 120.0
EQUAL_SECONDS: Final = 60.0
COMMAND_SECONDS: Final = 90.0
START_SECONDS: Final = 20.0
PAUSE_SECONDS: Final = 0.02
READ_EVERY: Final = 5


class MembersResult(Struct, frozen=True, kw_only=True):
    """`failed`: writes that were refused, or have no verdict. `journalled`: first receipts that were not "agreed".
    `linearizable`: whether one copy could have given all answers; `reads`: linearizable ones that were answered,
    `reads_refused` those that were not (surely not read)."""

    story: str
    seconds: float
    steps: tuple[str, ...]
    writes: int
    agreed: int
    journalled: int
    failed: int
    reads: int
    reads_refused: int
    linearizable: bool
    unavailable_ms_max: float
    longest_submit_ms: float
    zones_at_the_end: tuple[str, ...]
    digests_equal: bool
    ok: bool
    problems: tuple[str, ...] = ()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `live-members` command and its options."""
    parser = subparsers.add_parser("live-members", help="zones come and go for good, under load", description=__doc__)
    parser.add_argument("--story", choices=sorted(STORIES), default="replace")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the load lasts at least (default 20)")
    parser.add_argument("--callers", type=int, default=20, help="callers, spread over two sites (default 20)")
    parser.add_argument("--data", type=Path, default=None, help="keep the nodes' folders there")
    parser.add_argument("--json", type=Path, default=None, help="write the result there")


def run(args: argparse.Namespace) -> int:
    """Run it: 0 where no write failed and all that is left is equal, 1 where not."""
    result = trio.run(run_members, args.story, args.seconds, args.callers, args.data, print)
    for problem in result.problems:
        print(f"✗ {problem}")
    print(
        f"{result.story}: {result.seconds:.0f} s, {result.writes} writes, {result.agreed} agreed at once, "
        f"{result.journalled} journalled first, {result.failed} failed, {result.reads} linearizable reads and "
        f"{result.reads_refused} refused, linearizable: {result.linearizable}, longest without an agreed receipt "
        f"{result.unavailable_ms_max:.0f} ms, left: {', '.join(result.zones_at_the_end)}, "
        f"digests equal: {result.digests_equal}: {'ok' if result.ok else 'NOT OK'}"
    )
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return 0 if result.ok else 1


class Stage:
    """A running cluster whose zones come and go, and what was done with it."""

    def __init__(self, cluster: Cluster, callers: dict[str, Caller], tell: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.callers = callers
        self.steps: list[str] = []
        self._began = trio.current_time()
        self._tell = tell
        self._next = len(cluster.zones) + 1
        self.generation = 1

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.cluster.zones if node.child.alive]

    def say(self, what: str) -> None:
        self.steps.append(what)
        self._tell(f"{trio.current_time() - self._began:6.1f} s  {what}")

    async def join(self) -> str:
        """Start a zone that joins: the way `member add` names it."""
        number, self._next = self._next, self._next + 1
        name, held = f"zone-{number}", hold_port()
        host, port = held.getsockname()
        folder = self.cluster.plan.folder / name
        folder.mkdir()
        there = tuple(ZonePeer(int(node.name.partition("-")[2]), node.name, node.address) for node in self.alive)
        section = ZoneSection(name, number, f"{host}:{port}", ".")
        config = ZoneConfig(ClusterSection(CLUSTER, self.generation), section, there)
        (folder / CONFIG_FILE).write_text(toml(msgspec.to_builtins(config)), encoding="utf-8")
        program = (*self.cluster.plan.program, "zone", str(folder / CONFIG_FILE), "--join")
        node = Node(name, "zone", f"{host}:{port}", folder, Child(name, program, folder / LOG_FILE), held, started=1)
        self.cluster.nodes[name] = node
        await node.child.start(START_SECONDS)
        return f"{number}:{name}@{node.address}"

    async def member(self, *words: str) -> dict[str, Any]:
        """`replica member …`, asked of the last zone alive."""
        command = (*self.cluster.plan.program, "member", *words, "--at", self.alive[-1].address, "--json", "-")
        with trio.fail_after(COMMAND_SECONDS):
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode:
            raise ReplicaError(f"replica member {' '.join(words)}: {done.stderr.decode(errors='replace')[-500:]}")
        answer: dict[str, Any] = msgspec.json.decode(done.stdout)
        return answer

    async def until_led(self) -> None:
        """Wait until some zone leads."""
        with trio.fail_after(COMMAND_SECONDS):
            while not await self.leader():  # noqa: ASYNC110 - asked as an operator asks
                await trio.sleep(PAUSE_SECONDS)

    async def leader(self) -> str:
        return str((await self.member("list"))["leader"])

    async def stop(self, name: str) -> None:
        """Stop a zone that is a member no more."""
        code = await self.cluster.stop(name)
        self.say(f"{name} stopped ({code})")


async def replace(stage: Stage) -> None:
    """3 → 5 → 3, with every zone of the beginning replaced."""
    new = [await stage.join(), await stage.join()]
    await stage.member("add", *new)
    stage.say("3 → 5 voters")
    await stage.member("replace", "zone-1", await stage.join())
    stage.say("zone-6 for zone-1")
    await stage.stop("zone-1")
    await stage.member("remove", "zone-2", "zone-3")
    stage.say("5 → 3 voters")
    await stage.stop("zone-2")
    await stage.stop("zone-3")


async def leader_leaves(stage: Stage) -> None:
    """Whoever leads is replaced, three times."""
    for _ in range(3):
        leader = await stage.leader()
        new = await stage.join()
        await stage.member("replace", leader, new)
        stage.say(f"{new.partition('@')[0]} for {leader}, which led")
        await stage.stop(leader)


async def two_lost(stage: Stage) -> None:
    """Two of three are gone for good; the third begins anew."""
    # The one that led: whatever anybody was told is agreed, it has.
    left = await stage.leader()
    lost = [node.name for node in stage.alive if node.name != left]
    for name in lost:
        stage.cluster.strike(name)
    for name in lost:
        await stage.cluster.gone(name)
    stage.say(f"{' and '.join(lost)} are lost for good")
    await stage.stop(left)
    config = stage.cluster.plan.folder / left / CONFIG_FILE
    program = (*stage.cluster.plan.program, "member", "force-new-cluster")
    done = await trio.run_process(
        (*program, "--config", str(config), "--yes-cluster", CLUSTER), capture_stdout=True, stderr=subprocess.STDOUT
    )
    stage.say(done.stdout.decode().strip())
    stage.generation += 1
    await stage.cluster.start(left)
    await stage.until_led()
    await stage.member("add", await stage.join(), await stage.join())
    stage.say("1 → 3 voters")


STORIES: Final[dict[str, Callable[[Stage], Awaitable[None]]]] = {
    "replace": replace,
    "leader-leaves": leader_leaves,
    "two-lost": two_lost,
}


async def run_members(
    story: str, seconds: float, callers: int, data: Path | None, tell: Callable[[str], None]
) -> MembersResult:
    """One run. Whatever goes wrong ends in a result that is not ok and says why; nothing is raised for it."""
    ledger, decided, problems = Ledger(), dict[str, Receipt](), list[str]()
    steps: list[str] = []
    left: list[str] = []
    load = (0.0, 0.0)
    history = History()
    began = trio.current_time()
    equal = False
    with folder_for(data) as folder:
        sites = tuple(SitePlan(f"fr.health.samu{440 + at}") for at in range(SITES))
        plan = Plan(folder, 3, sites, site_lines=False, cluster=CLUSTER)
        try:
            async with open_cluster(plan) as cluster:
                await cluster.start_all()
                async with open_callers({node.name: node.address for node in cluster.sites}, ledger) as at_sites:
                    for site in at_sites.values():
                        await until_mode(site, "connected", CONNECT_SECONDS)
                    await _open_cases(at_sites)
                    stage = Stage(cluster, at_sites, tell)
                    steps = stage.steps
                    load = await _under_load(stage, STORIES[story], seconds, callers, history)
                    with trio.fail_after(DECIDE_SECONDS):
                        await until_decided(at_sites, [receipt for _, receipt in ledger.receipts()], decided)
                left = [node.name for node in stage.alive]
                async with open_callers({node.name: node.address for node in cluster.nodes.values()
                                         if node.child.alive}, ledger) as everybody:  # fmt: skip
                    await until_equal(everybody.values(), EQUAL_SECONDS)
                await cluster.stop_all()
            equal = _digests_equal(folder, [*left, *(site.name for site in sites)], problems)
        except* (ReplicaError, trio.TooSlowError, subprocess.CalledProcessError) as group:
            problems += [f"{type(problem).__name__}: {problem}" for problem in _flat(group)]
    failed = [held for held in ledger.held if held.not_permitted or held.invalid or not held.receipts]
    undecided = [
        receipt.operation
        for _, receipt in ledger.receipts()
        if receipt.verdict is None and receipt.operation not in decided
    ]
    problems += [f"refused: {held.key}: {held.not_permitted or held.invalid}" for held in failed[:5]]
    problems += [f"{len(undecided)} writes without a verdict, {undecided[0]} first"] if undecided else []
    problems += history.problems()
    agreed_at = [held.answered_at for held in ledger.held if held.agreed]
    return MembersResult(
        story=story,
        seconds=round(trio.current_time() - began, 1),
        steps=tuple(steps),
        writes=len(ledger.held),
        agreed=len(agreed_at),
        journalled=ledger.count("journalled"),
        failed=len(failed) + len(undecided),
        reads=history.reads,
        reads_refused=history.refused,
        linearizable=not history.problems(),
        unavailable_ms_max=round(unavailable_ms(agreed_at, load), 1),
        longest_submit_ms=round(ledger.longest_wait_ms(), 1),
        zones_at_the_end=tuple(left),
        digests_equal=equal,
        ok=not problems and not failed and equal,
        problems=tuple(problems),
    )


async def _under_load(
    stage: Stage, story: Callable[[Stage], Awaitable[None]], seconds: float, callers: int, history: History
) -> tuple[float, float]:
    """Play the story while all callers write; from when to when they did."""
    began, over = trio.current_time(), trio.Event()
    async with trio.open_nursery() as writers:
        names = sorted(stage.callers)
        for number in range(callers):
            writers.start_soon(_write, stage.callers[names[number % len(names)]], number, history, over)
        await trio.sleep(min(2.0, seconds / 4))
        await story(stage)
        await trio.sleep(max(2.0, began + seconds - trio.current_time()))
        over.set()
    return began, trio.current_time()


async def _open_cases(sites: dict[str, Caller]) -> None:
    first = next(iter(sites.values()))
    for at in range(CASES):
        message = priority_report(f"{CASE}{at}", "P1", f"Case {at}")
        await first.message(message, f"members/case/{at}", "case", sender=first.name)
    for site in sites.values():
        while not (await site.read(lambda client: client.show_case(f"{CASE}{CASES - 1}"))):  # noqa: ASYNC110 - asked as an operator asks
            await trio.sleep(PAUSE_SECONDS)


async def _write(site: Caller, number: int, history: History, over: trio.Event) -> None:
    """One caller: notes on all cases in turn, and now and then a linearizable read of one."""
    written = 0
    while not over.is_set():
        written += 1
        case = f"{CASE}{(number + written) % CASES}"
        if written % READ_EVERY == 0:
            await history.ask(site, str(number), case)
        write = note(case, site.name, f"Note {written} of caller {number}")
        assert write.note is not None, "a note is a command"
        began = time.monotonic_ns()
        held = await site.command(write.note, f"members/{number}/{written}", "note", text=write.text)
        history.wrote(str(number), case, write.note.note, began, held)
        await trio.sleep(PAUSE_SECONDS)


def _digests_equal(folder: Path, names: list[str], problems: list[str]) -> bool:
    """Whether the stores on disk are at one index with one digest."""
    seen = {}
    for name in names:
        with stopped_node(folder / name) as node:
            status = node.status()
            seen[name] = (status["applied_index"], status["digest"])
    if len({digest for _, digest in seen.values()}) != 1:
        problems.append(f"the stores differ: {seen}")
        return False
    return True


def _flat(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for problem in group.exceptions:
        found += _flat(problem) if isinstance(problem, BaseExceptionGroup) else [problem]
    return found
