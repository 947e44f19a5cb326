"""One seed at the depth of sites: the world of nodes with people at its sites, in another weather.

Dawn: all nodes start, every site is registered, the cases and vehicles are there. Storm: people decide while
`nemesis.py` cuts lines and worse. Calm: everything is healed; in bounded virtual time every journal must be empty,
every site connected and every node level, and then what was promised is looked for (ending.py).

An event is a piece of a stream that arrived, a job of a disk that became durable, an entry applied at one node, an act
that was handed in, or a read that was checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import trio

from chaos.nodes.checks import violated
from chaos.nodes.loop import Loop
from chaos.nodes.process import Host, Process
from chaos.nodes.world import DAWN_S, LEVEL_WITHIN_S, World
from chaos.sites.acts import Wanted, opening_of, resource_report
from chaos.sites.checks import SiteChecks
from chaos.sites.ending import settle
from chaos.sites.nemesis import SitesNemesis
from chaos.sites.papers import Drawer
from chaos.sites.people import Person
from chaos.sites.reading import Shown, Truth
from chaos.sites.weather import SitesWeather, storm
from replica.cases import queries
from replica.cases.commands import AddNote, RaiseLevel
from replica.errors import ReplicaError
from replica.offline.events import Mode
from replica.storage.memory import MemoryStore

DEFAULT_STEPS = 3_500
STORM_S = 30.0
LOOK_S = 0.1
Image = tuple[MemoryStore, Drawer]


class SitesWorld(World):
    """One seed's world. `await run(steps)` inside `loop.run`."""

    storm_s = STORM_S
    weather: SitesWeather
    checks: SiteChecks

    def __init__(
        self,
        loop: Loop,
        seed: int,
        *,
        weather: SitesWeather | None = None,
        follow: Callable[[str], None] | None = None,
        hashed: bool = False,
    ) -> None:
        self.acts = self.reads = 0
        self.cases: list[str] = []
        self.shown: dict[Process, Shown] = {}
        self.clocks_sound = True
        """No zone's clock was ever wrong."""
        self.mode_changes: Counter[str] = Counter()
        self.clones: list[Host] = []
        self.replaced: set[str] = set()
        """Sites whose disk was emptied or put back, or of which there was a clone."""
        super().__init__(loop, seed, weather=weather, follow=follow, hashed=hashed)
        for host in self.sites:
            self._listen(host)
        for zone in self.zones:
            self._listen(zone)
        self.people = [self._person(site, number) for site in self.sites for number in range(self.weather.people)]
        self.people.append(self._person(self.zones[0], 0))

    @property
    def at_sites(self) -> list[Person]:
        """The people at sites, those beside a clone among them."""
        return [person for person in self.people if not person.host.is_zone]

    @property
    def events(self) -> int:
        return super().events + self.acts + self.reads

    # ------------------------------------------------------------------ building

    def _draw(self) -> SitesWeather:
        return storm(self.rng)

    def _make_checks(self) -> SiteChecks:
        return SiteChecks(self.zones, self.ever, self.counts)

    def _make_nemesis(self) -> SitesNemesis:
        return SitesNemesis(self, self._dice())

    def _person(self, host: Host, number: int) -> Person:
        return Person(self, f"{host.name.rpartition('.')[2]}-{number}", host, self._dice())

    def _listen(self, host: Host) -> None:
        host.disk.on_took = partial(self.check, self.checks.took, host)

    def check(self, check: Callable[..., None], *facts: Any) -> None:
        """Tell a check something; what it raises is the end of the seed."""
        self._check(check, *facts)

    # ------------------------------------------------------------------ disks that come back, or come twice

    def back_up(self, site: Host) -> Image:
        image = site.disk.image()
        assert image is not None, f"{site.name} has nothing to be backed up"
        return image, self.checks.drawer(site).copy()

    def restore(self, site: Host, image: Image) -> None:
        """The disk is lost; its backup takes its place."""
        site.disk.put_back(image[0])
        self._replace(site, image[1])

    def empty(self, site: Host) -> None:
        site.disk.empty()
        self._replace(site, Drawer())

    def _replace(self, site: Host, drawer: Drawer) -> None:
        self.checks.drawers[site.name] = drawer
        self.replaced.add(site.site)

    def _lost(self) -> set[str]:
        """Sites of which the log has lives that their disk has never heard of. With a clone beside it, each of the two
        may be such a one, and neither need be restored."""
        alone = [site for site in self.sites if all(twin.site != site.site for twin in self.clones)]
        return {
            site.site
            for site in alone
            for life, opening in self.checks.openings.get(site.site, {}).items()
            if not opening.drain and life not in self.checks.drawer(site).tops
        }

    def clone(self, site: Host, image: Image) -> Host:
        """A second machine starts under the same name, on a copy of the disk; somebody works there, too."""
        name = f"{site.name}-b{len(self.clones)}"
        section = msgspec.structs.replace(site.config.site, listen=f"{name}:7000")  # type: ignore[union-attr]  # a site
        config = msgspec.structs.replace(site.config, site=section)
        twin = Host(self, config, self._disk(), self._dice())
        twin.name = name
        twin.disk.put_back(image[0])
        self._listen(twin)
        self.checks.drawers[name] = image[1]
        self.replaced.add(site.site)
        self.clones.append(twin)
        self.sites.append(twin)
        self.hosts.append(twin)
        self.ever[name] = twin
        twin.start()
        person = self._person(twin, 0)
        self.people.append(person)
        self.nursery.start_soon(person.run)
        return twin

    # ------------------------------------------------------------------ what is true

    def truth(self, process: Process) -> Truth:
        """Of the node that is read now."""
        assert process.running is not None, "a node is read that is not up"
        host = process.host
        return Truth(
            index=self.checks._index[process],
            now_s=self.loop.now_s,
            apart_since_s=None if host.is_zone else self._apart_since_s(host),
            cut_off_after_s=self.weather.timing.cut_off_after_ms / 1000,
            clocks_sound=self.clocks_sound and not host.thawed_s,
            ever_replaced=host.is_zone or host.site in self.replaced,
            ever_cloned=not host.is_zone and any(twin.site == host.site for twin in self.clones),
        )

    def _apart_since_s(self, site: Host) -> float | None:
        """Since when no zone can be heard there, at the latest; None where one may be. A process that was paused has to
        look at its clock first; what came in a pause too short to be noticed is heard late by as much."""
        timing = self.weather.timing
        since_s = site.thawed_s - timing.cut_off_after_ms / 1000
        late_s = timing.line_silent_ms / 1000 if site.thawed_s else 0.0
        for zone in self.zones:
            reasons = []
            way = self.network.way(zone.name, site.name)
            if way.cut:
                reasons.append(way.cut_since_s)
            if zone.process is None:
                reasons.append(max(zone.died_s, way.healed_s))  # what it had sent into the cut comes after that
            if not reasons:
                return None
            since_s = max(since_s, min(reasons) + late_s)
        return since_s

    # ------------------------------------------------------------------ what nodes tell

    def started(self, process: Process) -> None:
        self.check(self.checks.opens, process)
        super().started(process)

    def logged(self, process: Process, event: str, fields: dict[str, Any]) -> None:
        super().logged(process, event, fields)
        if event == "mode":
            self.mode_changes[process.host.name] += 1
            self.counts[f"mode: {fields['mode']}"] += 1
        elif event == "site":
            word = fields["note"].partition(":")[0]
            if word in ("restored", "fenced", "drained", "preview"):
                self.counts[f"site: {word}"] += 1
        elif event == "state-replaced":
            self.counts["state replaced (longer than the log)"] += 1

    # ------------------------------------------------------------------ the phases

    async def _dawn(self) -> None:
        for host in self.hosts:
            host.start()
        with trio.move_on_after(DAWN_S) as dawn:
            await self._registered()
            await self._raise_level()
            await self._open_cases()
        if dawn.cancelled_caught:
            raise violated("Liveness", "no cases were created at dawn", self._stands())
        for person in self.people:
            self.nursery.start_soon(person.run)

    async def _registered(self) -> None:
        """Wait until every site knows of every other one, and of itself."""
        for host in self.sites:
            for name in self.weather.sites:
                while True:
                    running = host.running
                    if running is not None and queries.site_of(running.node.state, name) == name:
                        break
                    await trio.sleep(LOOK_S)

    async def _raise_level(self) -> None:
        """One level after the other, at a zone, as soon as every voter has said that it speaks it."""
        while True:
            running = self.zones[0].running
            level = 0 if running is None else queries.feature_level(running.node.state)
            if level >= self.weather.level:
                return
            if running is not None:
                with suppress(ReplicaError):
                    await running.service.submit(RaiseLevel(level + 1), author="replica", budget_ms=1000)
            await trio.sleep(LOOK_S)

    async def _open_cases(self) -> None:
        names = self.weather.sites
        owners = [names[number % len(names)] for number in range(self.weather.cases)]
        cases = [(owner, opening_of(f"{owner}.SIM{number}", owner)) for number, owner in enumerate(owners)]
        for site, wanted in [*((site, resource_report(site)) for site in names), *cases]:
            person = next(person for person in self.at_sites if person.host.site == site)
            done: bool | None = False
            while not done:
                done = await person.hand_in(wanted)
                await trio.sleep(0 if done else LOOK_S)

    async def _commits(self) -> bool:
        """Something new is agreed at a site."""
        self._supervise()
        before = max(self.checks.entries, default=0)
        person = self.rng.choice(self.at_sites)
        text = f"{person.name} after the storm {self.acts}."
        command = AddNote(self.cases[0], f"{person.host.site}.medicalNote.{self.acts}", text)
        await person.hand_in(Wanted(command, self.cases[0], text))
        notes = self.checks.notes.get(self.cases[0], {})
        return any(at > before for at in notes.values())

    async def _calm(self) -> None:
        self.trace.add("world", "heals")
        begun_s = self.loop.now_s
        self._heal()
        await self._until(self._commits, LEVEL_WITHIN_S, "something new is agreed")
        self.commit_s = self.loop.now_s - begun_s
        self.calm = True
        try:
            await self._until(self._is_level, LEVEL_WITHIN_S, "all nodes are level and nothing is undecided")
        except Exception:
            if any(not self._is_emptied(site) for site in self.sites):
                text = f"{LEVEL_WITHIN_S} s after the storm a journal holds something"
                raise violated("JournalEmptiesAfterHeal", text, self._stands()) from None
            raise
        settle(self.checks, self.hosts, self._lost())

    async def _is_level(self) -> bool:
        self._supervise()
        if any(host.running is None for host in self.hosts) or any(person.busy for person in self.people):
            return False
        nodes = [host.running.node for host in self.hosts if host.running is not None]
        if len({node.state.index for node in nodes}) > 1 or any(node.desk.core.undecided for node in nodes):
            return False
        return all(self._is_emptied(site) and self._is_connected(site) for site in self.sites)

    @staticmethod
    def _is_emptied(site: Host) -> bool:
        return site.disk.store is not None and site.disk.store.journal.length == 0

    @staticmethod
    def _is_connected(site: Host) -> bool:
        return site.running is not None and site.running.node.desk.core.mode is Mode.CONNECTED
