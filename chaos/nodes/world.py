"""One seed at the depth of nodes: a cluster of shipped nodes, a storm of faults under load, and then calm.

Three phases. **Dawn**: all nodes start, a leader is elected, the cases are created. **Storm**: callers write while
`nemesis.py` breaks things, until `steps` events have happened (or `STORM_S` have passed, where everything is down).
**Calm**: everything is healed and started; in bounded virtual time something new must be agreed, every journal be
decided and every node be level. Then the receipts are laid beside the state.

An event is a piece of a stream that arrived, a job of a disk that became durable, or an entry applied at one node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
import trio

from chaos.nodes.callers import CASES, Caller, case_message
from chaos.nodes.checks import Act, Checks, violated
from chaos.nodes.disk import SimDisk
from chaos.nodes.loop import Loop
from chaos.nodes.nemesis import Nemesis
from chaos.nodes.network import Network, Way
from chaos.nodes.operator import Operator
from chaos.nodes.process import Host, Process, leaves, why_of
from chaos.nodes.trace import Trace
from chaos.nodes.weather import Weather, storm
from replica.cases import queries
from replica.cases.commands import ChangePriority
from replica.cases.verdicts import Effects
from replica.config import (
    ClusterSection,
    Reads,
    SiteConfig,
    SiteSection,
    ZoneConfig,
    ZonePeer,
    ZoneSection,
)
from replica.errors import NotPermitted, ReplicaError
from replica.raft.core import Raft
from replica.raft.memberships import decode_membership
from replica.raft.types import Role
from replica.runtime.zone import ZoneNode
from replica.wire.client import Receipt

DEFAULT_STEPS = 6_000
DAWN_S = 30.0
STORM_S = 30.0
COMMIT_WITHIN_S = 20.0
"""From the healing to the first new commit. What it has to cover: dialling again (1 s), a stalled disk's last batch,
a supervisor's or an operator's restart, and a few elections of up to 1.2 s."""
LEVEL_WITHIN_S = 60.0
LOOK_S = 0.1


class World:
    """One seed's world. `await run(steps)` inside `loop.run`."""

    storm_s = STORM_S

    def __init__(
        self,
        loop: Loop,
        seed: int,
        *,
        weather: Weather | None = None,
        follow: Callable[[str], None] | None = None,
        hashed: bool = False,
    ) -> None:
        self.loop = loop
        self.seed = seed
        self.rng = Random(seed)
        self.weather = weather or self._draw()
        self.trace = Trace(loop, follow, hashed=hashed)
        self.counts: Counter[str] = Counter()
        self.network = Network(loop, self._dice(), self.trace, self._way)
        self.watcher = self
        self.zones = [self._zone(number, self._peers()) for number in range(1, self.weather.zones + 1)]
        """Those that are members, or are to be; a zone that was taken away is in it no more."""
        self.sites = [self._site(name) for name in self.weather.sites]
        self.hosts = [*self.zones, *self.sites]
        """Likewise."""
        self.ever = {host.name: host for host in self.hosts}
        self.checks = self._make_checks()
        self.operator = Operator(self, self._dice())
        self.callers = [self._caller(number) for number in range(self.weather.callers)]
        self.nemesis = self._make_nemesis()
        self.nursery: trio.Nursery
        self.calm = False
        self.over = False
        self.failure: BaseException | None = None
        self.commit_s = 0.0
        """From the healing to the first new commit."""

    @property
    def events(self) -> int:
        return self.network.pieces + self.checks.applied + sum(host.disk.jobs for host in self.hosts)

    # ------------------------------------------------------------------ building

    def _draw(self) -> Weather:
        return storm(self.rng)

    def _make_checks(self) -> Checks:
        return Checks(self.zones, self.ever, self.counts)

    def _make_nemesis(self) -> Nemesis:
        return Nemesis(self, self._dice())

    def _dice(self) -> Random:
        return Random(self.rng.getrandbits(64))

    def _way(self, frm: str, to: str) -> Way:
        if "caller" in frm or "caller" in to:
            return Way(0.0001, 0.0001)
        zones = frm.startswith("zone") and to.startswith("zone")
        least, most = self.weather.between_zones_s if zones else self.weather.to_sites_s
        # Drawn from the two names, not from the seed's dice: a link's latency does not hang on who dialled first.
        latency_s = least + (most - least) * Random(f"{self.seed} {min(frm, to)} {max(frm, to)}").random()
        return Way(latency_s, latency_s * self.weather.jitter)

    def _peers(self) -> tuple[ZonePeer, ...]:
        return tuple(
            ZonePeer(number, f"zone-{number}", f"zone-{number}:7000", number if self.weather.priorities else 0)
            for number in range(1, self.weather.zones + 1)
        )

    def _disk(self) -> SimDisk:
        return SimDisk(self.loop, self._dice(), self.weather.disk_s, self.counts, self.weather.chunk_bytes)

    def _zone(self, number: int, peers: tuple[ZonePeer, ...]) -> Host:
        section = ZoneSection(f"zone-{number}", number, f"zone-{number}:7000", f"zone-{number}")
        weather, reads = self.weather, Reads(lease_reads=self.weather.lease_reads)
        config = ZoneConfig(ClusterSection("sim"), section, peers, weather.timing, weather.limits, reads)
        return Host(self, config, self._disk(), self._dice())

    def _peers_now(self) -> tuple[ZonePeer, ...]:
        """The zones there are, as an operator writes them into a configuration."""
        return tuple(ZonePeer(zone.number, zone.name, zone.address) for zone in self.zones)

    def join(self) -> Host:
        """A new machine, with a zone on it that waits to be let in."""
        new = self._zone(1 + sum(host.is_zone for host in self.ever.values()), self._peers_now())
        new.joins = True
        self.zones.append(new)
        self.hosts.append(new)
        self.ever[new.name] = new
        new.start()
        return new

    def retire(self, zone: Host) -> None:
        """Take a zone away for good."""
        if not zone.retired:
            self.counts["zone taken away"] += 1
            zone.go_on()
            zone.kill("taken away")
            zone.retired = True
            self.zones.remove(zone)
            self.hosts.remove(zone)

    def take_away(self, names: Collection[str]) -> None:
        """Those zones, where they are still there."""
        for zone in list(self.zones):
            if zone.name in names:
                self.retire(zone)

    def reconfigure(self, host: Host) -> None:
        """Before a node begins anew on an empty disk its operator writes into its configuration which zones there are.

        A zone of the beginning stays listed there: that it is no newcomer is what keeps it from voting."""
        peers = self._peers_now()
        if host.is_zone and not host.joins and host not in self.zones:
            return
        if host.joins:
            peers = tuple(peer for peer in peers if peer.name != host.name)
        host.config = msgspec.structs.replace(host.config, zones=peers or host.config.zones)

    def _site(self, name: str) -> Host:
        section = SiteSection(name, f"{name}:7000", name)
        config = SiteConfig(ClusterSection("sim"), section, self._peers(), self.weather.timing)
        return Host(self, config, self._disk(), self._dice())

    def _caller(self, number: int) -> Caller:
        """Most callers are at sites, as in life."""
        host = self.sites[number % len(self.sites)] if number % 3 != 2 else self.rng.choice(self.zones)
        return Caller(self, number, host, self._dice())

    # ------------------------------------------------------------------ the phases

    async def run(self, steps: int = DEFAULT_STEPS) -> None:
        """The whole seed. Raises InvariantViolated, or whatever shipped code raised that it should not."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                try:
                    await self._dawn()
                    await self._storm(steps)
                    await self._calm()
                finally:
                    self._bury()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if self.failure is None:
                self.failure = group
        if self.failure is not None:
            raise self.failure

    async def _dawn(self) -> None:
        for host in self.hosts:
            host.start()
        with trio.move_on_after(DAWN_S) as dawn:
            async with trio.open_nursery() as nursery:
                for caller in self.callers[:1]:
                    nursery.start_soon(self._create_cases, caller)
        if dawn.cancelled_caught:
            raise violated("Liveness", "no cases were created at dawn", self._stands())
        for caller in self.callers:
            self.nursery.start_soon(caller.run)

    async def _create_cases(self, caller: Caller) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller._keep_connected)
            for case in CASES:
                await caller.create(case)
            nursery.cancel_scope.cancel()

    async def _storm(self, steps: int) -> None:
        self.trace.add("world", "storm", *self.weather.faults)
        end_s, last = self.loop.now_s + self.storm_s, self.events + steps
        with trio.CancelScope() as storm_scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.nemesis.torment)
                while self.events < last and self.loop.now_s < end_s:
                    await trio.sleep(LOOK_S)
                storm_scope.cancel()

    async def _calm(self) -> None:
        self.trace.add("world", "heals")
        begun_s = self.loop.now_s
        self._heal()
        await self._until(self._commits, COMMIT_WITHIN_S, "something new is agreed")
        self.commit_s = self.loop.now_s - begun_s
        self.calm = True
        await self._until(self._is_level, LEVEL_WITHIN_S, "all nodes are level and nothing is undecided")
        self.checks.settle(self.hosts)
        self.counts["history: operations"] += len(self.checks.history)

    def _supervise(self) -> None:
        """What has stopped or ended is started again."""
        for host in self.hosts:
            host.start()

    def _heal(self) -> None:
        self.network.heal_all()
        for host in list(self.hosts):
            host.disk.sound()
            host.go_on()
            self.network.power_on(host.name)
            host.start()

    async def _until(self, true: Callable[[], Any], within_s: float, what: str) -> None:
        with trio.move_on_after(within_s):
            while not await true():
                await trio.sleep(LOOK_S)
            return
        raise violated("Liveness", f"{within_s} s after the storm it is not so that {what}", self._stands())

    async def _commits(self) -> bool:
        """Something new is agreed at a site."""
        self._supervise()
        before = max(self.checks.entries, default=0)
        running = self.sites[0].running
        if running is None:
            return False
        command = ChangePriority(CASES[0], self.rng.choice(("P0", "P1", "P2", "P3")))
        with trio.move_on_after(2):  # a process that dies meanwhile answers nobody
            try:
                handed = await running.service.submit(command, author="world", budget_ms=1000)
                return handed.state == "agreed" and handed.index > before
            except NotPermitted:  # nobody knows the case: its creation was journalled, and lost with its disk
                with suppress(ReplicaError):
                    await running.service.submit_message(case_message(CASES[0]), author="world", budget_ms=1000)
            except ReplicaError:
                pass
        return False

    async def _is_level(self) -> bool:
        self._supervise()
        if any(host.running is None for host in self.hosts) or not self._is_settled():
            return False
        if any(caller.busy for caller in self.callers):
            return False
        nodes = [host.running.node for host in self.hosts if host.running is not None]
        undecided = any(node.desk.core.undecided for node in nodes)
        return not undecided and len({node.state.index for node in nodes}) == 1

    def _is_settled(self) -> bool:
        """Whether it is agreed who votes; then who does not belong to the cluster is taken away."""
        leaders = [zone for zone in self.zones if zone.running is not None and leads(zone)]
        if not leaders:
            return False
        raft = max((raft_of(zone) for zone in leaders), key=lambda raft: raft.term)
        now = raft.membership
        if raft.membership_is_open or now.incoming:
            return False
        self.take_away({zone.name for zone in self.zones if zone.number not in now.voters | now.learners})
        return True

    def _stands(self) -> dict[str, Any]:
        """How every node stands, for whoever reads a failure."""
        stands: dict[str, Any] = {}
        for host in self.hosts:
            if host.running is None:
                stands[host.name] = "out of order" if host.out_of_order else "down"
            else:
                stands[host.name] = host.running.status()
        return stands

    # ------------------------------------------------------------------ what nodes and callers tell

    def fail(self, problem: BaseException) -> None:
        """The seed has failed: remember why, and stop. The first failure counts."""
        if self.failure is None:
            self.failure = problem
            self.trace.add("world", "FAILED", type(problem).__name__)
            self.nursery.cancel_scope.cancel()
            self._bury()

    def _bury(self) -> None:
        """Let every task run again, so that it can end. Nobody is killed or paused after that."""
        self.over = True
        for host in self.ever.values():
            host.go_on()
            host.bury()

    def started(self, process: Process) -> None:
        running = process.running
        assert running is not None, "started without a node"
        service, state = running.service, running.node.state
        arrived = service.arrived

        def watched(effects: Effects) -> None:
            if not process.dead:
                self._check(self.checks.arrived, process, effects, queries.digest(state))
            arrived(effects)

        service.arrived = watched  # type: ignore[method-assign]  # the one place that every applied entry passes
        self.counts["start"] += 1
        self._check(self.checks.started, process, state.index, queries.digest(state))

    def logged(self, process: Process, event: str, fields: dict[str, Any]) -> None:
        if event in COUNTED_LINES:
            self.counts[f"node: {event}"] += 1
        if event == "snapshot-offered" and fields["missing"] < fields["chunks"]:
            self.counts["snapshot resumed"] += 1
        if event == "standing" and fields["role"] == "leader":
            self._check(self.checks.leads, fields["leader"], fields["term"])
        elif event == "membership-undone":
            self.checks.membership_undone(fields["index"])
        elif event == "membership" and process.running is not None:
            index, told = raft_of(process.host).membership_at(fields["index"])
            self.checks.membership(index, decode_membership(told))
        elif event == "state-replaced" and process.running is not None:
            state = process.running.node.state
            self._check(self.checks.replaced, process, state.index, queries.digest(state))

    def told(self, act: Act, receipt: Receipt, host: Host) -> None:
        self._check(self.checks.answered, act, receipt, host)

    def has_read(self, process: Process, index: int, text: str, found: dict[str, Any]) -> None:
        self.counts["read of an own write"] += 1
        self._check(self.checks.read, process, index)
        # A node that has met a flipped bit in a read answers that read with the error and goes on, with a working
        # view that stopped half way. What it shows then is not judged here.
        if text not in str(found) and not process.host.flipped:
            self._check(self.checks.own_write_missing, process.host, text)

    def session_read(self, name: str, before: tuple[int, set[str]], now: tuple[int, set[str]]) -> None:
        self._check(self.checks.session, name, before, now)

    def _check(self, check: Callable[..., None], *facts: Any) -> None:
        try:
            check(*facts)
        except Exception as problem:
            self.fail(problem)

    def ended(self, host: Host, reasons: list[str], problem: BaseException) -> None:
        """A node has ended by itself."""
        for reason in reasons:
            self.counts[f"node ended: {reason}"] += 1
        unexpected = [reason for reason in reasons if reason not in host.expected]
        if unexpected:
            self.fail(next(one for one in leaves(problem) if why_of(one) in unexpected))
        elif "damage" in reasons:
            host.out_of_order = True
            self.loop.after(0.5 + self.rng.random(), self._operator, host)
        else:
            self.loop.after(0.1 + self.rng.random(), host.start)

    def _operator(self, host: Host) -> None:
        """A damaged store is emptied; the node starts as one that has lost its disk (D10)."""
        if host.process is None and not host.retired:
            self.counts["operator empties a damaged disk"] += 1
            host.disk.empty()
            self.reconfigure(host)
            host.weak, host.out_of_order, host.flipped = True, False, False
            host.start()

    def may_lose(self, host: Host) -> bool:
        """Whether this host's disk may be lost now: sites' always, zones' one at a time (replica/raft/rebuild.py)."""
        if not host.is_zone:
            return True
        for zone in self.zones:
            zone.notice_strength()
        halves = [half for zone in self.zones for half in self._halves(zone)]
        enough = len(self.zones) > 2 and all(len(half) > 2 for half in halves)
        return enough and not any(zone.weak for zone in self.zones if zone is not host)

    def _halves(self, zone: Host) -> list[frozenset[int]]:
        """Whose majorities count, as far as this zone knows."""
        if zone.running is None:
            return []
        now = raft_of(zone).membership
        return [half for half in (now.voters, now.outgoing) if half]


def raft_of(zone: Host) -> Raft:
    """The log's core of a zone that is up."""
    assert zone.process is not None, f"{zone.name} is down"
    assert zone.process.running is not None, f"{zone.name} is not up yet"
    node = zone.process.running.node
    assert isinstance(node, ZoneNode), f"{zone.name} is no zone"
    return node.raft


def leads(zone: Host) -> bool:
    """Whether a zone that is up leads, as it thinks itself."""
    return raft_of(zone).role is Role.LEADER


COUNTED_LINES = frozenset(
    {
        "storage-full",
        "snapshot-taken",
        "snapshot-offered",
        "snapshot-installed",
        "snapshot-chunk-refused",
        "changes-sent",
        "snapshot-not-sent",
        "state-not-sent",
        "state-not-replaced",
        "leader-disk",
        "overslept",
        "transfer-begun",
        "transfer-aborted",
        "timeout-now-sent",
        "stepped-down",
        "needs-snapshot",
        "state-replaced",
        "zone-behind",
        "zone-without-quorum",
        "line-silent",
        "rebuilding",
        "readmitted",
        "store-empty-does-not-vote",
        "connection-refused",
        "journal-record-damaged",
        "proposal-refused",
    }
)
"""Lines of the nodes' logs that show a branch which matters."""
