"""One story on a cluster of shipped nodes in virtual time: nothing goes wrong but the cut.

A message is handed in at its sender's site as a hub process does it, in the site's own process. Between two turns there
is time enough for everybody who can hear to have heard, so the turns are acted in one order with a cut as without.

In the end every line is whole, every operation decided, every journal empty and every node level; then all nodes stop,
and their stores are read as those of real nodes are (replica/demo/audit.py): what was lost, what was done twice,
whether all hold the same.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import trio

from chaos.cuts.holding import Holding, read_holding
from chaos.cuts.stories import Cut, Story, Turn
from chaos.nodes import loop
from chaos.nodes.checks import violated
from chaos.nodes.process import NOON_MS, Host
from chaos.nodes.weather import Weather
from chaos.nodes.world import World, leads
from replica.cases import queries
from replica.cases.commands import RaiseLevel
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.operations import OperationId
from replica.cases.verdicts import Verdict
from replica.config import Limits, SiteConfig, Timing
from replica.demo.audit import audit
from replica.demo.ledger import Held, Ledger
from replica.demo.stores import StoreRead, read_store
from replica.errors import InvalidMessage, NotPermitted
from replica.runtime.site import SiteNode
from replica.wire.client import Receipt

ZONES = 3
GAP_S = 0.1
"""From one turn to the next."""
BUDGET_MS = 60
LATER_MS = 3_600_000
"""The clocks begin so much after the latest time that a message names: what it tells has happened."""
STANDS_WITHIN_S = 30.0
KNOWN_WITHIN_S = 5.0
LEVEL_WITHIN_S = 60.0
SEED = 1


@dataclass(frozen=True, slots=True)
class Said:
    """One operation of one turn, its place in the log, and what became of it."""

    turn: int
    operation: OperationId
    index: int
    verdict: Verdict


@dataclass(slots=True)
class Played:
    """How a run ended. `said`: in the order of the log; `refused`: turns refused at the door, and why; `problems`: what
    is not as it must be at the end of any run, in words."""

    holding: Holding = field(default_factory=Holding)
    said: list[Said] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    journalled: int = 0
    """Receipts that said no more than that this site's disk has it."""
    reconcile_ms: int = 0
    """From the lines being whole again until all was decided, empty and level; virtual time."""
    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    digests_equal: bool = False
    problems: tuple[str, ...] = ()


def play(story: Story, cut: Cut | None = None, seed: int = SEED) -> Played:
    """Play a story, with a cut or without. Raises InvariantViolated, or what shipped code raised that it should not."""

    async def main(here: loop.Loop) -> Played:
        return await Stage(here, story, cut, seed).perform()

    return loop.run(seed, main)


class Stage(World):
    """The world of nodes without a storm. `await perform()` inside `loop.run`."""

    def __init__(self, here: loop.Loop, story: Story, cut: Cut | None, seed: int) -> None:
        self.story = story
        self.cut = cut
        self._organisations = {site.name: site.organisations for site in story.sites}
        super().__init__(here, seed, weather=_still(tuple(self._organisations)))
        latest_ms = max(turn.latest_ms for turn in story.turns) + LATER_MS
        for host in self.hosts:
            host.clock_offset_ms = max(0, latest_ms - NOON_MS)
        self.host_of = {host.name: host for host in self.sites}
        self.ledger = Ledger()
        self.played = Played()
        self._is_whole = True
        self._turn_of: dict[OperationId, int] = {}

    def _site(self, name: str) -> Host:
        host = super()._site(name)
        assert isinstance(host.config, SiteConfig), f"{name} is no site"
        section = type(host.config.site)(name, host.address, name, self._organisations[name])
        host.config = SiteConfig(host.config.cluster, section, host.config.zones, host.config.timing)
        return host

    async def perform(self) -> Played:
        """The whole run."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                try:
                    await self._play()
                finally:
                    self._bury()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if self.failure is None:
                self.failure = group
        if self.failure is not None:
            raise self.failure
        return self.played

    async def _play(self) -> None:
        for host in self.hosts:
            host.start()
        await self._until(self._is_newest, STANDS_WITHIN_S, "the newest rules are agreed")
        await self._until(self._stands_ready, STANDS_WITHIN_S, "everybody hears everybody")
        for number, turn in enumerate(self.story.turns):
            await trio.sleep(GAP_S)
            await self._cut_or_heal(number)
            await self._hand_in(number, turn)
        await trio.sleep(GAP_S)
        if not self._is_whole:
            await self._make_whole()
        begin_s = trio.current_time()
        await self._until(self._is_over, LEVEL_WITHIN_S, "all is decided, every journal empty and every node level")
        self.played.reconcile_ms = round((trio.current_time() - begin_s) * 1000)
        decided = self._outcomes()
        for host in (*self.sites, *self.zones):
            await host.stop()
        self._judge(decided)

    async def _cut_or_heal(self, number: int) -> None:
        cut = self.cut
        if cut is not None and number == cut.before:
            self._is_whole = False
            for site in cut.sites:
                for zone in self.zones:
                    # What is under way is lost with its connection, and nobody is told.
                    self.network.cut(site, zone.name, loses=True)
                    self.network.cut(zone.name, site, loses=True)
        elif cut is not None and number == cut.heals_before:
            await self._make_whole()
            await self._until(self._stands_ready, STANDS_WITHIN_S, "everybody hears everybody again")

    async def _make_whole(self) -> None:
        """Heal the lines that are cut, once their sites know that they are: a shorter cut would be none."""
        await self._until(self._knows_the_cut, KNOWN_WITHIN_S, "who is cut off knows it")
        self.network.heal_all()
        self._is_whole = True

    async def _hand_in(self, number: int, turn: Turn) -> None:
        host, held = self.host_of[turn.site], Held(f"cuts/{number}", turn.site, turn.name)
        assert host.running is not None, f"{turn.site} is down"
        try:
            handed = await host.running.service.submit_message(
                turn.data, sender=turn.sender, author=turn.sender or turn.site, budget_ms=BUDGET_MS, key=held.key
            )
        except (InvalidMessage, NotPermitted) as problem:
            self.played.refused[number] = str(problem)
            return
        held.receipts = tuple(Receipt(one.state, str(one.operation), one.index, one.verdict) for one in handed)
        self._turn_of |= dict.fromkeys((one.operation for one in handed), number)
        self.ledger.open(held)

    # ------------------------------------------------------------------ waiting

    async def _is_newest(self) -> bool:
        """The cluster is at the highest level of this release; an operator raises it, one level at a time."""
        zone = next((host for host in self.zones if host.running is not None and leads(host)), None)
        if zone is None or zone.running is None:
            return False
        level = queries.feature_level(zone.running.node.state)
        if level < HIGHEST_LEVEL:
            with suppress(NotPermitted):  # not every zone was heard yet
                await zone.running.service.submit(RaiseLevel(level + 1), author="operator")
        return level == HIGHEST_LEVEL

    async def _stands_ready(self) -> bool:
        """Every site is connected and in the registry with all its names, everywhere."""
        if not await self._is_level():
            return False
        for host in self.hosts:
            assert host.running is not None, f"{host.name} is down"
            for site, others in self._organisations.items():
                if any(queries.site_of(host.running.node.state, name) != site for name in (site, *others)):
                    return False
        return self._all_connected()

    async def _is_over(self) -> bool:
        if not await self._is_level() or not self._all_connected():
            return False
        return not any(host.disk.store is None or host.disk.store.journal.length for host in self.sites)

    async def _knows_the_cut(self) -> bool:
        assert self.cut is not None, "nobody's line is cut"
        return all(self._mode(self.host_of[site]) == "cut-off" for site in self.cut.sites)

    def _all_connected(self) -> bool:
        return all(self._mode(host) == "connected" for host in self.sites)

    def _mode(self, host: Host) -> str:
        return "" if host.running is None else str(host.running.status()["mode"])

    # ------------------------------------------------------------------ the end

    def _outcomes(self) -> dict[str, Receipt]:
        """What each site says, now that all is over, of what it had only journalled."""
        found: dict[str, Receipt] = {}
        for held, receipt in self.ledger.receipts():
            self.played.journalled += receipt.state == "journalled"
            running = self.host_of[held.site].running
            assert running is not None, f"{held.site} is down"
            assert isinstance(running.node, SiteNode), f"{held.site} is no site"
            outcome = running.service.outcome(OperationId.parse(receipt.operation))
            found[receipt.operation] = Receipt(outcome.state, receipt.operation, outcome.index, outcome.verdict)
        return found

    def _judge(self, decided: dict[str, Receipt]) -> None:
        stores = [self._store(host) for host in (*self.zones, *self.sites)]
        found = audit(self.ledger, decided, stores)
        played = self.played
        played.lost, played.duplicated = tuple(sorted(found.lost)), tuple(sorted(found.duplicated))
        played.digests_equal, played.problems = found.digests_equal, found.problems
        for operation, (index, verdict) in self.checks.decided.items():
            if operation in self._turn_of:
                played.said.append(Said(self._turn_of[operation], operation, index, verdict))
        played.said.sort(key=lambda one: one.index)  # of one entry they are in its order
        store = self.zones[0].disk.store
        assert store is not None, "a zone has stopped without a store"
        played.holding = read_holding(store.state)

    def _store(self, host: Host) -> StoreRead:
        if host.disk.store is None:
            raise violated("Stores", f"{host.name} has stopped without a store")
        return read_store(host.disk.store, host.name, sorted(self.ledger.operations()))


def _still(sites: tuple[str, ...]) -> Weather:
    """Zones close by, sites a few milliseconds away, good disks, no faults."""
    return Weather(
        zones=ZONES,
        sites=sites,
        callers=0,
        think_s=1.0,
        timing=Timing(heartbeat_interval_ms=100, feed_interval_ms=150),
        between_zones_s=(0.001, 0.003),
        to_sites_s=(0.002, 0.01),
        jitter=0.0,
        disk_s=(0.0005, 0.002),
        priorities=False,
        limits=Limits(),
        chunk_bytes=256 << 10,
        lease_reads=False,
        faults=(),
        fault_every_s=1.0,
        fault_lasts_s=1.0,
    )
