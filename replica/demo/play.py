"""The walk: messages come in, the leader is killed, a line is cut, both sides go on, the line heals, all agree again.

Each site has one caller who hands in its messages one after the other, so that as many are under way as there are
sites; what goes wrong happens beside that, in tasks of its own, when enough has been played. While a leader is being
replaced the callers of every connected site keep trying, because the time without agreement is theirs to measure.

Left out: which stores then hold what (audit.py), and how it is shown (show.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import trio

from replica.cases.commands import Report
from replica.demo.caller import Caller, until_decided
from replica.demo.clash import Clash, Common, Write, note_report
from replica.demo.ledger import Held, Ledger
from replica.demo.looking import leader_of, until_equal, until_level, until_mode
from replica.demo.messages import Message
from replica.demo.options import Options
from replica.demo.supervisor import Cluster
from replica.wire.client import Receipt

LEADER_SECONDS: Final = 10.0
MODE_SECONDS: Final = 30.0
EQUAL_SECONDS: Final = 30.0
DOWN_SECONDS: Final = 0.2
"""How long a process killed in passing stays away."""
QUORUM_NEEDS: Final = 3
"""With fewer zones nobody leads while one is away, so it is started again at once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, whose it is, through which site it enters, and what it reports (nothing, where it is refused)."""

    message: Message
    sender: str
    site: str
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, for the timeline."""

    at_ms: float
    what: str


@dataclass(slots=True)
class Course:
    """How the run went, as the callers saw it. Times in ms; None for what did not happen."""

    ledger: Ledger
    began: float = 0.0
    messages: int = 0
    refused: list[Held] = field(default_factory=list)
    timeline: list[Moment] = field(default_factory=list)
    decided: dict[str, Receipt] = field(default_factory=dict)
    """Operation → the receipt with its verdict, for those that were only journalled at first."""
    failover_ms: float | None = None
    cut_off_detected_ms: float | None = None
    reconcile_ms: float | None = None
    on_moment: Callable[[str], None] = lambda what: None
    on_message: Callable[[int], None] = lambda messages: None

    def note(self, what: str) -> None:
        self.timeline.append(Moment((trio.current_time() - self.began) * 1000, what))
        self.on_moment(what)

    @property
    def operations(self) -> int:
        return len(self.ledger.operations())


class Play:
    """One run over a cluster that stands. `run` returns when every operation has its verdict at its site."""

    def __init__(
        self, options: Options, cluster: Cluster, callers: dict[str, Caller], turns: Sequence[Turn], course: Course
    ) -> None:
        self.options = options
        self.cluster = cluster
        self.callers = callers
        self.turns = turns
        self.course = course
        self.rng = random.Random(options.seed)
        self.zones = [callers[node.name] for node in cluster.zones]
        self.sites = [callers[node.name] for node in cluster.sites]
        self.common = Common()
        self.cut_site = ""
        self._cut_time = 0.0
        self._clash: Clash | None = None
        self._zone_down = trio.Lock()
        self._pulse = trio.Event()
        self._sent = 0
        self._cut_at_turn: int | None = None
        self._enough = self._healed = self._over = False
        self._notes = 0

    async def run(self) -> None:
        """Play everything. Raises NotAvailable or ProcessFailed where the cluster does not come through."""
        async with trio.open_nursery() as nursery:
            if self.options.kill:
                nursery.start_soon(self._kill_the_leader)
            if self.options.also_kill:
                nursery.start_soon(self._kill_one_more)
            nursery.start_soon(self._cut_a_line)
            await self._play_all()
        everything = [receipt for _, receipt in self.course.ledger.receipts()]
        await until_decided(self.callers, everything, self.course.decided)
        self.course.note("every operation has its verdict at its site")
        await until_equal(self.callers.values(), EQUAL_SECONDS)
        self.course.note("all nodes show the same state")

    # ------------------------------------------------------------------ the messages

    async def _play_all(self) -> None:
        async with trio.open_nursery() as nursery:
            channels: dict[str, trio.MemorySendChannel[Turn]] = {}
            for site in self.sites:
                channels[site.name], take = trio.open_memory_channel[Turn](0)
                nursery.start_soon(self._speak, site, take)
            for turn in self.turns:
                await self._before(turn)
                await channels[turn.site].send(turn)
                self._sent += 1
                self._ring()
            for channel in channels.values():
                channel.close()
        self._over = self._enough = True
        self._ring()

    async def _before(self, turn: Turn) -> None:
        """Cut the line of the site whose turn it is, when it is time; and keep the last messages for after the cut."""
        if not self.cut_site and self.course.operations >= self._cut_after:
            await self._cut(turn.site)
        if self._cut_at_turn is not None and self._sent - self._cut_at_turn >= self._while_cut:
            self._enough = True
            self._ring()
            await self._until(lambda: self._healed)

    async def _speak(self, site: Caller, turns: trio.MemoryReceiveChannel[Turn]) -> None:
        async for turn in turns:
            held = await site.message(
                turn.message.data, f"demo/message/{self._key()}", turn.message.name, sender=turn.sender
            )
            self.course.messages += 1
            self.course.on_message(self.course.messages)
            if held.invalid is not None or held.not_permitted:
                self.course.refused.append(held)
            else:
                self.common = self.common.learn(turn.reports)
            self._ring()

    def _key(self) -> int:
        self._notes += 1
        return self._notes

    @property
    def _cut_after(self) -> int:
        return len(self.turns) // 2 if self.options.cut_after is None else self.options.cut_after

    @property
    def _while_cut(self) -> int:
        """How many messages are played while the line is cut, if there are so many left."""
        return max(4, len(self.turns) // 6)

    # ------------------------------------------------------------------ a killed leader

    async def _kill_the_leader(self) -> None:
        third = len(self.turns) // 3
        await self._until(lambda: self._sent >= third or self._over)
        await self._until(lambda: len(self.sites) > 1 or not self.cut_site or self._healed)
        async with self._zone_down:
            name = await leader_of(self.zones, LEADER_SECONDS)
            killed = await self.cluster.kill(name)
            self.course.note(f"{name}, which leads, is killed (SIGKILL)")
            if len(self.zones) < QUORUM_NEEDS:
                await self.cluster.start(name)
                await self._measure_failover(killed)
                return
            await self._measure_failover(killed)
            later = self._sent + max(3, len(self.turns) // 6)
            await self._until(lambda: self._sent >= later or self._over or self._enough)
            await self._back(name)

    async def _measure_failover(self, killed: float) -> None:
        """The callers of every connected site go on trying; the first agreed receipt asked for since ends the wait."""
        async with trio.open_nursery() as nursery:
            for site in self.sites:
                if site.name != self.cut_site or self._healed:
                    nursery.start_soon(self._try_until_agreed, site, killed, nursery.cancel_scope)
        answered = [held.answered_at for held in self.course.ledger.held if held.agreed and held.asked_at >= killed]
        if answered:
            self.course.failover_ms = (min(answered) - killed) * 1000
            new = await leader_of(self.zones, LEADER_SECONDS)
            self.course.note(f"{new} leads; first agreed receipt after {self.course.failover_ms:.0f} ms")

    async def _try_until_agreed(self, site: Caller, killed: float, others: trio.CancelScope) -> None:
        while not any(held.agreed and held.asked_at >= killed for held in self.course.ledger.held):
            if site.name == self.cut_site and not self._healed:
                return
            text = f"Note {self._key()} of {site.name}, while the leader is away"
            await self._hand_in(site, Write("reports a note", note_report(self.common.case, site.name, text)))

    # ------------------------------------------------------------------ a cut line

    async def _cut(self, name: str) -> None:
        """Cut the line of this site; what the sides will clash about is prepared while they still hear each other."""
        others = [site.name for site in self.sites if site.name != name]
        if others:
            self._clash = Clash(name, self.rng.choice(others), self.common, self.rng.random() < 0.5)
            asks, grants = self._clash.before(_now())
            await self._hand_in(self.callers[self._clash.other], asks)
            await self._hand_in(self.callers[name], grants)
        self.cut_site, self._cut_at_turn = name, self._sent
        self._cut_time = self.cluster.cut(name)
        self.course.note(f"the line of {name} is cut after {self.course.operations} operations")
        self._ring()

    async def _cut_a_line(self) -> None:
        await self._until(lambda: bool(self.cut_site) or self._over)
        if not self.cut_site:
            await self._cut(self.turns[-1].site)
        name = self.cut_site
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_on_both_sides)
            nursery.start_soon(self._see_the_cut)
            await self._until(lambda: self._enough)
        healed = self.cluster.heal(name)
        self._healed = True
        self.course.note(f"the line of {name} is whole again")
        self._ring()
        mine = [receipt for held, receipt in self.course.ledger.receipts() if held.site == name]
        await until_decided(self.callers, mine, self.course.decided)
        self.course.reconcile_ms = (trio.current_time() - healed) * 1000
        self.course.note(f"{name} has a verdict for each of its {len(mine)} operations so far")

    async def _see_the_cut(self) -> None:
        seen = await until_mode(self.callers[self.cut_site], "cut-off", MODE_SECONDS)
        self.course.cut_off_detected_ms = (seen - self._cut_time) * 1000
        self.course.note(f"{self.cut_site} knows that it is cut off")

    async def _write_on_both_sides(self) -> None:
        """Two reports of priority, two engagements of a vehicle, two notes: one each by the site that is cut off."""
        clash = self._clash
        if clash is None:  # a single site has nobody to clash with
            text = f"Note of {self.cut_site}, alone"
            report = note_report(self.common.case, self.cut_site, text)
            await self._hand_in(self.callers[self.cut_site], Write("reports a note", report))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hand_in_all, self.callers[clash.cut_off], list(clash.by_cut_off(_now())))
            nursery.start_soon(self._hand_in_all, self.callers[clash.other], list(clash.by_other(_now())))

    # ------------------------------------------------------------------ one process more

    async def _kill_one_more(self) -> None:
        at = self.options.also_kill_at
        if at == "cut":
            await self._until(lambda: bool(self.cut_site))
        elif at == "replay":
            await self._until(lambda: self._healed)
            await trio.sleep(self.rng.uniform(0, 0.05))
        else:
            await self._until(lambda: self.course.operations >= int(at) or self._over)
        name = await self._victim()
        if self.cluster.nodes[name].role == "zone":
            async with self._zone_down:
                await self._kill_and_start(name)
        else:
            await self._kill_and_start(name)

    async def _victim(self) -> str:
        """The node that `also_kill` means now. Raises KeyError for a name that is no node."""
        who = self.options.also_kill
        match who:
            case "random":
                return self.rng.choice(sorted(self.cluster.nodes))
            case "site":
                return self.rng.choice([site.name for site in self.sites])
            case "cut-site":
                return self.cut_site or self.sites[0].name
            case "leader":
                return await leader_of(self.zones, LEADER_SECONDS)
            case "follower":
                leader = await leader_of(self.zones, LEADER_SECONDS)
                return self.rng.choice([zone.name for zone in self.zones if zone.name != leader] or [leader])
            case _:
                return self.cluster.nodes[who].name

    async def _kill_and_start(self, name: str) -> None:
        await self.cluster.kill(name)
        self.course.note(f"{name} is killed too (SIGKILL)")
        await trio.sleep(DOWN_SECONDS)
        await self._back(name)

    async def _back(self, name: str) -> None:
        """Started again; a zone is back when the quorum could spare another one."""
        await self.cluster.start(name)
        if self.cluster.nodes[name].role == "zone":
            await until_level(self.zones, LEADER_SECONDS)
        self.course.note(f"{name} is back")

    # ------------------------------------------------------------------ in common

    async def _hand_in_all(self, site: Caller, some: Sequence[Write]) -> None:
        for one in some:
            await self._hand_in(site, one)

    async def _hand_in(self, site: Caller, write: Write) -> Held:
        key, what = f"demo/write/{self._key()}", f"{site.name} {write.what}"
        if write.note is not None:
            held = await site.command(write.note, key, what, text=write.text)
        else:
            held = await site.message(write.message, key, what, sender=site.name)
        self._ring()
        return held

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._pulse.wait()

    def _ring(self) -> None:
        """Something was played or answered: whoever waits for enough of it looks again."""
        self._pulse.set()
        self._pulse = trio.Event()


def _now() -> datetime:
    """The wall clock: what goes into messages, and nothing else."""
    return datetime.now(tz=UTC)


async def until_connected(callers: dict[str, Caller], cluster: Cluster, within_s: float) -> None:
    """Wait until a zone leads and every site is connected to the quorum. Raises NotAvailable past `within_s`."""
    await leader_of([callers[node.name] for node in cluster.zones], within_s)
    async with trio.open_nursery() as nursery:
        for node in cluster.sites:
            nursery.start_soon(until_mode, callers[node.name], "connected", within_s)
