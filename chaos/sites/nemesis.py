"""Makes the faults of a seed of the depth of sites. What it has of chaos/nodes/nemesis.py it does as there.

No disk of a zone is ever lost or damaged here, and no task dies: those seeds are another depth's. Here lines are cut in
every shape, and what people do meanwhile is what is looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import trio

from chaos.nodes.nemesis import HOUR_MS, Nemesis, both
from chaos.nodes.process import Host
from chaos.sites.weather import FAULTS as NAMES
from replica.offline.events import Mode

if TYPE_CHECKING:
    from chaos.sites.world import SitesWorld

LONG_S = (6.0, 12.0)
"""How long a long cut lasts: some of the seeds' logs keep less."""
MOST_CLONES = 2
MOST_BUSY_HOURS = 1
Ways = list[tuple[str, str]]


class SitesNemesis(Nemesis):
    """As its base, with doers of its own."""

    def __init__(self, world: SitesWorld, rng: Random) -> None:
        super().__init__(world, rng)
        self._sites = world
        self._clones = self._busy_hours = 0

    def _doer(self, name: str) -> Callable[[], Awaitable[None]]:
        return partial(DOERS[name], self)

    def _zones(self) -> list[str]:
        return [zone.name for zone in self._world.zones]

    # ------------------------------------------------------------------ cuts

    async def cut_line(self) -> None:
        await self._cut("cut: a site's line", both(self._site().name, self._zones()))

    async def cut_line_loses(self) -> None:
        await self._cut("cut: a site's line, bytes lost", both(self._site().name, self._zones()), loses=True)

    async def cut_hears_nobody(self) -> None:
        site = self._site().name
        await self._cut("cut: a site hears nobody", [(zone, site) for zone in self._zones()])

    async def cut_not_heard(self) -> None:
        site = self._site().name
        await self._cut("cut: a site is not heard", [(site, zone) for zone in self._zones()])

    async def cut_from_some(self) -> None:
        zones = self._zones()
        await self._cut(
            "cut: from some zones", both(self._site().name, self._rng.sample(zones, self._rng.randrange(1, len(zones))))
        )

    async def cut_several(self) -> None:
        sites = self._rng.sample(self._world.sites, self._rng.randint(2, len(self._world.sites)))
        await self._cut("cut: several sites at once", [way for site in sites for way in both(site.name, self._zones())])

    async def cut_zone_with_its_sites(self) -> None:
        """One zone and some sites see each other, and nobody else (O7)."""
        zone = self._rng.choice((self._leader(), self._zone())).name
        others = [name for name in self._zones() if name != zone]
        sites = self._rng.sample(self._world.sites, self._rng.randint(1, len(self._world.sites)))
        inside = [zone, *(site.name for site in sites)]
        await self._cut("cut: a zone with its sites", [way for one in inside for way in both(one, others)])

    async def cut_all(self) -> None:
        ways = [way for site in self._world.sites for way in both(site.name, self._zones())]
        await self._cut("cut: all sites from all zones", ways)

    async def cut_long(self) -> None:
        """O8: on return there is a whole state to be taken first."""
        site = self._site()
        await self._cut_for(self._rng.uniform(*LONG_S), "cut: longer than the log is kept", site)

    async def _cut_for(self, seconds: float, name: str, site: Host, *, loses: bool = False) -> None:
        self._count(name, site)
        ways = both(site.name, self._zones())
        for frm, to in ways:
            self._network.cut(frm, to, loses=loses)
        await trio.sleep(seconds)
        for frm, to in ways:
            self._network.heal(frm, to)

    async def flap(self) -> None:
        """O10: the mode must not flap with the line."""
        site = self._site()
        before, cuts = self._sites.mode_changes[site.name], self._rng.randint(6, 15)
        for _ in range(cuts):
            await self._cut_for(self._rng.random() * 0.6, "flapping line", site)
            await trio.sleep(self._rng.random() * 0.6)
        # A cut and a return are two changes at least, and three where it was called connected in between.
        if self._sites.mode_changes[site.name] - before < 2 * cuts:
            self._count("flapping damped", site)

    # ------------------------------------------------------------------ kills

    async def kill_cut_off(self) -> None:
        """O2: what it has done alone is on its disk, and its clock has heard nobody."""
        site = self._site()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_for, 2 + 3 * self._rng.random(), "cut: a site's line", site)
            await trio.sleep(1 + self._rng.random())
            if site.process is not None:
                self._count("kill site while it is cut off", site)
                site.kill("while cut off")
                await trio.sleep(self._rng.random())
                site.start()

    async def kill_in_mid_replay(self) -> None:
        await self._in_mid_replay("killed in mid-replay", lambda site: site)

    async def kill_leader_in_mid_replay(self) -> None:
        await self._in_mid_replay("leader killed in mid-replay", lambda site: self._leader())

    async def _in_mid_replay(self, name: str, whom: Callable[[Host], Host]) -> None:
        """Cut a site off, let it work, and strike when it replays with something undecided."""
        site = self._site()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_for, 2 + 2 * self._rng.random(), "cut: a site's line", site)
            if self._busy_hours < MOST_BUSY_HOURS and self._rng.random() < 0.5:
                nursery.start_soon(self._busy_hour, site)
        with trio.move_on_after(4):
            await self._until_it_replays(site)
            await trio.sleep(self._rng.choice((0, 0, 0.005)))
            target = whom(site)
            if target.process is not None and self._replays(site):
                self._count(name, target)
                target.kill(name)
                await trio.sleep(0.2 + self._rng.random())
                target.start()

    async def _busy_hour(self, site: Host) -> None:
        """So much is kept there that more than one window of it has to be replayed."""
        self._busy_hours += 1
        await trio.sleep(1.6)
        self._count("busy hour while cut off", site)
        person = next(person for person in self._sites.at_sites if person.host is site)
        await person.write_notes(self._rng.randint(30, 100))

    async def _until_it_replays(self, site: Host) -> None:
        while True:
            if self._replays(site):
                return
            await trio.sleep(0.005)

    @staticmethod
    def _replays(site: Host) -> bool:
        running = site.running
        return (
            running is not None
            and running.node.desk.core.undecided > 0
            and (running.node.desk.core.mode is Mode.REPLAYING)
        )

    async def whole_cluster_down(self) -> None:
        self._count("whole cluster down")
        for zone in self._world.zones:
            zone.kill("with all zones")
        await trio.sleep(self._rng.choice((0.5, 2.0, 5.0)))
        for zone in self._world.zones:
            zone.start()

    async def power_cut_at_a_site(self) -> None:
        await self._kill("power cut at a site", self._site(), power=True)

    async def stop_site(self) -> None:
        host = self._site()
        if host.running is not None:
            self._count("graceful stop of a site", host)
            await host.stop()
            await self._hold()
            host.start()

    async def slow_site(self) -> None:
        host = self._site()
        self._count("slow fsync at a site", host)
        host.disk.slow_s = self._rng.choice((0.05, 0.15, 0.4))
        await self._hold()
        host.disk.slow_s = 0.0

    # ------------------------------------------------------------------ disks

    async def restore_backup(self) -> None:
        """O9: some seconds of a disk's life are lost, and nobody tells the process."""
        site = self._site()
        if site.disk.store is None:
            return
        self._count("backup taken", site)
        image = self._sites.back_up(site)
        await trio.sleep(self._rng.uniform(0.3, 6))
        if site.process is not None:
            site.kill("to get its backup back")
            await trio.sleep(self._rng.random())
        if site.process is None:
            self._count("backup restored", site)
            self._sites.restore(site, image)
            site.start()

    async def clone(self) -> None:
        """O15: a copy of a disk starts beside the machine it was taken from, as it is now or as it was."""
        site = self._site()
        if self._clones >= MOST_CLONES or site.disk.store is None or site in self._sites.clones:
            return
        self._clones += 1
        image = self._sites.back_up(site)
        await trio.sleep(self._rng.choice((0, 0.2, 3)))
        self._count("clone", site)
        twin = self._sites.clone(site, image)
        if self._rng.random() < 0.7:
            # One of the two works on alone, and finds itself closed when it is back.
            alone = self._rng.choice((site, twin))
            await self._cut_for(1.5 + 3 * self._rng.random(), "cut: a site's line", alone)

    async def empty_disk(self) -> None:
        site = self._site()
        if site.process is not None:
            self._count("disk emptied", site)
            site.kill("to get a new disk")
            await trio.sleep(0.2 + self._rng.random())
            if site.process is None:
                self._sites.empty(site)
                site.start()

    # ------------------------------------------------------------------ clocks

    async def _clock(self, name: str, offset_ms: int) -> None:
        host = self._rng.choice((self._site, self._site, self._any))()
        self._count(name, host)
        host.clock_offset_ms = offset_ms
        self._sites.clocks_sound = self._sites.clocks_sound and not host.is_zone
        if not host.is_zone and self._rng.random() < 0.5:
            # Only who has heard no zone since it was opened goes by that clock.
            await self.restart_cut_off(host)
        await self._hold()

    async def restart_cut_off(self, site: Host) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_for, 1.5 + 2 * self._rng.random(), "cut: a site's line", site)
            await trio.sleep(0.3)
            if site.process is not None:
                site.kill("with a wrong clock")
                site.start()

    async def clock_ahead(self) -> None:
        await self._clock("clock 3 h ahead", 3 * HOUR_MS)

    async def clock_behind(self) -> None:
        await self._clock("clock 3 h behind", -3 * HOUR_MS)

    async def clock_1970(self) -> None:
        await self._clock("clock in 1970", -60 * 365 * 24 * HOUR_MS)

    async def clock_jumps(self) -> None:
        host = self._site()
        for _ in range(self._rng.randint(2, 6)):
            self._count("clock jumping", host)
            host.clock_offset_ms = self._rng.randint(-HOUR_MS, HOUR_MS)
            await trio.sleep(self._rng.random())
        host.clock_offset_ms = 0

    # ------------------------------------------------------------------ people

    async def take_over_the_cut_off(self) -> None:
        """Mutual aid (O6): while a Samu is cut off another one takes its work over, and hands it back later."""
        site = self._site()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_for, 3 + 3 * self._rng.random(), "cut: a site's line", site)
            await trio.sleep(0.5 + self._rng.random())
            takers = [person for person in self._sites.at_sites if person.host.site != site.site]
            if await self._rng.choice(takers).take_now(site.site):
                self._count("take-over of a site that is cut off", site)

    async def two_take_over(self) -> None:
        """Both by one epoch: one of them is refused."""
        samu = self._rng.choice(self._world.weather.sites)
        takers = [person for person in self._sites.at_sites if person.host.site != samu]
        if len({person.host.site for person in takers}) > 1:
            self._count("two take over at once")
            async with trio.open_nursery() as nursery:
                for person in self._rng.sample(takers, 2):
                    nursery.start_soon(person.take_now, samu)

    async def two_decide(self) -> None:
        """Two people see one conflict and decide it at once, each for themselves."""
        for _ in range(20):
            found = [person for person in self._sites.people if person.sees_conflict()]
            if len(found) > 1:
                self._count("two decide at once")
                async with trio.open_nursery() as nursery:
                    for person in self._rng.sample(found, 2):
                        nursery.start_soon(person.decide_now)
                return
            await trio.sleep(0.3)


DOERS: dict[str, Callable[[SitesNemesis], Awaitable[None]]] = {
    "cut: a site's line": SitesNemesis.cut_line,
    "cut: a site's line, bytes lost": SitesNemesis.cut_line_loses,
    "cut: a site hears nobody": SitesNemesis.cut_hears_nobody,
    "cut: a site is not heard": SitesNemesis.cut_not_heard,
    "cut: from some zones": SitesNemesis.cut_from_some,
    "cut: several sites at once": SitesNemesis.cut_several,
    "cut: a zone with its sites": SitesNemesis.cut_zone_with_its_sites,
    "cut: all sites from all zones": SitesNemesis.cut_all,
    "cut: halves": Nemesis.cut_halves,
    "cut: longer than the log is kept": SitesNemesis.cut_long,
    "flapping line": SitesNemesis.flap,
    "connection reset": Nemesis.reset,
    "slow drip": Nemesis.slow_drip,
    "kill site": Nemesis.kill_site,
    "kill site while it is cut off": SitesNemesis.kill_cut_off,
    "kill site in mid-replay": SitesNemesis.kill_in_mid_replay,
    "kill leader in mid-replay": SitesNemesis.kill_leader_in_mid_replay,
    "kill leader": Nemesis.kill_leader,
    "kill zone": Nemesis.kill_zone,
    "whole cluster down": SitesNemesis.whole_cluster_down,
    "power cut at a site": SitesNemesis.power_cut_at_a_site,
    "pause site": Nemesis.pause_site,
    "graceful stop of a site": SitesNemesis.stop_site,
    "slow fsync at a site": SitesNemesis.slow_site,
    "backup restored": SitesNemesis.restore_backup,
    "clone": SitesNemesis.clone,
    "disk emptied": SitesNemesis.empty_disk,
    "clock 3 h ahead": SitesNemesis.clock_ahead,
    "clock 3 h behind": SitesNemesis.clock_behind,
    "clock in 1970": SitesNemesis.clock_1970,
    "clock jumping": SitesNemesis.clock_jumps,
    "take-over of a site that is cut off": SitesNemesis.take_over_the_cut_off,
    "two take over at once": SitesNemesis.two_take_over,
    "two decide apart": SitesNemesis.two_decide,
}
assert set(DOERS) == set(NAMES), set(DOERS) ^ set(NAMES)
