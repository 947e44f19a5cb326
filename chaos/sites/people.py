"""People at the sites, in the hub process itself: they decide and read through the node's own service, as whoever
embeds the library does. Every act is issued under a name of its own, and every read is checked (reading.py).

A process that dies under an act answers nobody: its author then does not know. Some of them carry a key and hand the
same act in again under it, at the same site, until they do know.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import trio

from chaos.nodes.process import Host, Process
from chaos.sites.acts import Look, Wanted, Whims
from chaos.sites.checks import SiteChecks
from chaos.sites.papers import ACT, Issued
from chaos.sites.reading import Reading, Session, Shown
from replica.cases.commands import AddNote, DecideConflict, Report, TakeOver
from replica.cases.verdicts import VerdictKind
from replica.errors import NotAvailable, NotPermitted, OutcomeUnknown, ReplicaError
from replica.offline.events import Mode
from replica.runtime.bell import WALL_CLOCK
from replica.runtime.service import Handed, Service

if TYPE_CHECKING:
    from chaos.sites.world import SitesWorld

BUDGET_MS = 250
PATIENCE_S = 3.0
"""How long an act is waited for beyond its budget before its author gives up: the process may be paused, or dead."""
AGAIN_S = 0.2


class Person:
    """One person at one node."""

    def __init__(self, world: SitesWorld, name: str, host: Host, rng: Random) -> None:
        self.name = name
        self.host = host
        self._world = world
        self._checks: SiteChecks = world.checks
        self._rng = rng
        place = host.name if host.is_zone else host.site
        self.whims = Whims(rng, place, name, world.cases, world.weather.sites)
        self._acts = 0
        self._session = Session()
        self.busy = False

    async def run(self) -> None:
        """Act and read until the storm is over."""
        while not self._world.calm:
            await trio.sleep(self._rng.expovariate(1 / self._world.weather.think_s))
            self.busy = True
            await self._rng.choice((self._act, self._act, self._read, self._read, self._read_session))()
            self.busy = False

    # ------------------------------------------------------------------ acting

    async def _act(self) -> None:
        look = await self._look()
        wanted = None if look is None else self.whims.next(look)
        if wanted is None:
            return
        if isinstance(wanted.payload, DecideConflict | TakeOver):
            await trio.sleep(self._rng.random())  # one thinks before that, and meanwhile it may have moved
        key = f"{self.name}/{self._acts}" if self._rng.random() < 0.25 else ""
        done = await self.hand_in(wanted, key)
        while done is None and key and not self._world.calm:
            await trio.sleep(AGAIN_S)
            done = await self.hand_in(wanted, key, again=True)
        if key and done and self._rng.random() < 0.3:
            await self.hand_in(wanted, key, again=True)  # its answer was lost on the way to the hub, say
        if done and wanted.case and self._rng.random() < 0.7:
            await self._show(wanted.case)

    async def _look(self) -> Look | None:
        WALL_CLOCK.set(self.host.wall_ms)  # as in the tasks of its process
        running = self.host.running
        if running is None:
            return None
        return Look(running.service, await running.service.hold("local"))

    async def write_notes(self, count: int) -> None:
        """One after the other, as fast as they are taken."""
        look = await self._look()
        if look is not None:
            for _ in range(count):
                await self.hand_in(self.whims.note(look))

    def sees_conflict(self) -> bool:
        """Whether anything waits for a decision here."""
        running = self.host.running
        return running is not None and bool(running.service.conflicts())

    async def decide_now(self) -> None:
        """Decide a conflict of those that are shown here."""
        look = await self._look()
        wanted = None if look is None else self.whims.decide(look)
        if wanted is not None:
            await self.hand_in(wanted)

    async def take_now(self, samu: str) -> bool:
        """Take a Samu's work over; whether this site has taken the act."""
        look = await self._look()
        wanted = None if look is None or samu == self.host.site else self.whims.take(samu, look)
        return wanted is not None and bool(await self.hand_in(wanted))

    async def hand_in(self, wanted: Wanted, key: str = "", *, again: bool = False) -> bool | None:
        """Whether it is taken: None where nobody can say."""
        process = self.host.process
        if process is None or process.frozen or process.dead or process.running is None:
            return False
        WALL_CLOCK.set(self.host.wall_ms)
        service = process.running.service
        self._acts += 1
        self._world.acts += 1
        issued = self._issue(process, wanted, again)
        self._world.check(self._checks.issues, issued)
        handed: Handed | None = None
        try:
            with trio.move_on_after(BUDGET_MS / 1000 + PATIENCE_S):
                handed = await service.submit(wanted.payload, author=issued.name, budget_ms=BUDGET_MS, key=key)
        except OutcomeUnknown:
            pass
        except ReplicaError as problem:
            self._refused(process, service, issued, problem)
            return False
        if handed is None or process.dead:
            self._world.counts["act: its outcome is not known"] += 1
            return None
        return self._has(issued, handed)

    def _issue(self, process: Process, wanted: Wanted, again: bool) -> Issued:
        assert process.running is not None, "handed in at a node that is not up"
        seen = process.running.node.state.index
        site = self.host.name if self.host.is_zone else self.host.site
        name = f"{ACT}{self.name}/{self._acts}"
        life = self._checks.lives[process]
        return Issued(name, site, life, self._world.acts, seen, wanted.payload, wanted.case, wanted.text, again)

    def _refused(self, process: Process, service: Service, issued: Issued, problem: ReplicaError) -> None:
        """At the door: surely not done."""
        word = type(problem).__name__
        self._world.counts[f"turned away: {word}"] += 1
        cut_off = service.freshness().mode is Mode.CUT_OFF
        if isinstance(problem, NotPermitted) and cut_off:
            tag = str(issued.payload.__struct_config__.tag)
            self._world.counts[f"refused while cut off: {tag}"] += 1
        if not process.dead:
            self._world.check(self._checks.turned_away, issued)

    def _has(self, issued: Issued, handed: Handed) -> bool:
        self._world.trace.add(
            self.name, "has", handed.state, handed.operation.seq, handed.verdict and handed.verdict.kind
        )
        self._world.counts[f"receipt: {handed.state}"] += 1
        told = None if handed.verdict is None else (handed.index, handed.verdict)
        self._world.check(self._checks.receipt, self.host, issued, handed.operation, told)
        self._session.index = max(self._session.index, handed.index)
        if isinstance(issued.payload, Report) and issued.payload.kind == "RS-EDA":
            self._world.cases.append(issued.case)
        if told is None:
            return True
        if isinstance(issued.payload, AddNote) and told[1].kind is not VerdictKind.DUPLICATE:
            self._session.notes.setdefault(issued.case, set()).add(issued.text)
        return told[1].kind is not VerdictKind.REFUSED

    # ------------------------------------------------------------------ reading

    async def _read(self) -> None:
        await self._show(self._rng.choice(self._world.cases))

    async def _show(self, case: str) -> None:
        """What this node knows now."""
        process = self.host.process
        if process is not None and process.running is not None and not process.frozen:
            await process.running.service.hold("local")
            self._look_at(process, case, None)

    async def _read_session(self) -> None:
        """What this person has seen, or later: here or at another node."""
        host = self.host if self._rng.random() < 0.5 else self._rng.choice(self._world.hosts)
        process, case = host.process, self._rng.choice(self._world.cases)
        if process is None or process.running is None or process.frozen:
            return
        before = self._session.copy()  # what is learnt while this read waits it need not show
        try:
            with trio.move_on_after(1):
                await process.running.service.hold("session", before.index, BUDGET_MS, ("case", case))
                self._look_at(process, case, before)
        except NotAvailable:
            self._world.counts["session read: not there yet"] += 1

    def _look_at(self, process: Process, case: str, session: Session | None) -> None:
        """The read itself: nothing else runs between the records, their freshness and the check."""
        if process.dead or process.frozen or process.running is None:
            return
        world = self._world
        service = process.running.service
        reading = Reading(self._checks, process, case, service.case(case))
        subject = ("case", case)
        shown = world.shown.setdefault(process, Shown())
        world.reads += 1
        world.counts["read" if session is None else "session read"] += 1
        fresh = service.freshness(subject=subject)
        world.counts["read: ahead of the copy"] += fresh.index == fresh.preview_index
        world.counts["clock unsure"] += fresh.clock_unsure
        world.check(reading.look, fresh, world.truth(process), shown, session)
        if session is not None:
            agreed = self._checks.notes.get(case, {})
            here = {text for text, at in agreed.items() if at <= fresh.index}
            self._session.notes.setdefault(case, set()).update(here)
            self._session.index = max(self._session.index, fresh.index)
