"""A planned day, run on a cluster of real processes: the calls come when they come, whoever answers how late.

Arrivals do not wait for answers (an open loop): a case that comes while a leader is missing is handed in all the same,
and waits. Each caller keeps its receipts in a ledger, which is laid beside the stores when all is over (replica/demo).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from msgspec import Struct

from bench.day_plan import (
    ACTS_PER_CASE,
    POSITIONS_EVERY_S,
    Positions,
    acts_on,
    arrivals,
    load_at,
    moments,
)
from bench.processes import disk_mb, rss_mb
from replica.demo.caller import Caller
from replica.demo.ledger import Held
from replica.demo.looking import leader_of, status_of, until_level
from replica.demo.supervisor import Cluster

TICK_S: Final = 0.05
BETWEEN_ACTS_S: Final = 1.0
BETWEEN_ACTS_DAY_SHARE: Final = 1 / 60
"""On the average, of one case: its life is compressed too, in a short day to that share of it."""
VEHICLE_SAYS_S: Final = 2.0
VEHICLES_PER_SAMU: Final = 5
SAMPLES: Final = 60
DOWN_DAY_SHARE: Final = 1 / 96
"""A killed zone is started again after a quarter of an hour of the day."""
WITHIN_S: Final = 30.0


class Sample(Struct, frozen=True, kw_only=True):
    """One look at the cluster. `hour`: of the day. Resident MB: of the largest zone and the largest site. MB on disk:
    the data files of the largest zone's log and state, and of the largest site. `compacted_through`: the highest entry
    that some zone has dropped."""

    hour: float
    operations: int
    zone_rss_mb: float
    site_rss_mb: float
    zone_log_mb: float
    zone_state_mb: float
    site_mb: float
    compacted_through: int
    waiting: int


@dataclass(slots=True)
class Course:
    """How the day went. `told`: (hour, what happened)."""

    cases: int = 0
    told: list[tuple[float, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    positions: dict[str, Positions] = field(default_factory=dict)
    """By Samu."""
    elections: int = 0


class Day:
    """One day over a cluster that stands. `speakers`: each Samu → the site that speaks for it."""

    def __init__(
        self,
        cluster: Cluster,
        callers: dict[str, Caller],
        speakers: dict[str, str],
        seconds: float,
        peak_per_s: float,
        seed: int,
        tell: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.callers = callers
        self.speakers = speakers
        self.samu = sorted(speakers)
        self.seconds = seconds
        self.peak_per_s = peak_per_s
        self.rng = random.Random(seed)
        self.tell = tell
        self.course = Course()
        self.zones = [callers[zone.name] for zone in cluster.zones]
        self.ledger = self.zones[0].ledger
        self.cut_samu = cluster.sites[0].name
        self._cut_zone = ""
        self._began = 0.0
        self._leaders: set[tuple[int, str]] = set()

    @property
    def hour(self) -> float:
        return (trio.current_time() - self._began) / self.seconds * 24

    async def run(self) -> Course:
        """From midnight to midnight, until everything that was begun is answered. Raises where a node ends by
        itself."""
        self._began = trio.current_time()
        async with trio.open_nursery() as watching:
            watching.start_soon(self._sample_for_ever)
            watching.start_soon(self._watch_leaders_for_ever)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break)
                for samu in self.samu:
                    nursery.start_soon(self._positions, samu)
                await self._calls(nursery)
            await self._sample()
            watching.cancel_scope.cancel()
        self.course.elections = max(0, len(self._leaders) - 1)
        return self.course

    # ------------------------------------------------------------------ the work

    async def _calls(self, nursery: trio.Nursery) -> None:
        while (hour := self.hour) < 24:
            expected = load_at(hour) * self.peak_per_s / ACTS_PER_CASE * TICK_S
            for _ in range(arrivals(self.rng, expected)):
                nursery.start_soon(self._case, self.rng.choice(self.samu), self.course.cases)
                self.course.cases += 1
            await trio.sleep(TICK_S)

    async def _case(self, samu: str, number: int) -> None:
        caller, rng = self.callers[self.speakers[samu]], random.Random(number)
        pause_s = min(BETWEEN_ACTS_S, self.seconds * BETWEEN_ACTS_DAY_SHARE)
        case, vehicle = f"{samu}.day{number}", f"{samu}.resource.v{rng.randrange(VEHICLES_PER_SAMU)}"
        for place, act in enumerate(acts_on(case, samu, vehicle, f"P{number % 4}", _now)):
            if place:
                await trio.sleep(rng.expovariate(1 / pause_s))
            key = f"{case}/{place}"
            if act.command is not None:
                await caller.command(act.command, key, act.what)
            else:
                await caller.message(act.message, key, act.what, sender=samu)

    async def _positions(self, samu: str) -> None:
        """The vehicles of one Samu say where they are; every so often the latest of each is handed in."""
        caller, rng = self.callers[self.speakers[samu]], random.Random(samu)
        positions = self.course.positions[samu] = Positions()
        await trio.sleep(rng.uniform(0, POSITIONS_EVERY_S))
        number, places = 0, [(rng.uniform(43, 50), rng.uniform(-1, 7)) for _ in range(VEHICLES_PER_SAMU)]
        while True:
            for _ in range(round(POSITIONS_EVERY_S / VEHICLE_SAYS_S)):
                await trio.sleep(VEHICLE_SAYS_S)
                if self.hour >= 24:
                    return
                for vehicle, (latitude, longitude) in enumerate(places):
                    moved = rng.uniform(-0.01, 0.01)
                    positions.say(f"{samu}.resource.v{vehicle}", _now(), latitude + moved, longitude + moved)
            if message := positions.take():
                await caller.message(message, f"{samu}/positions/{number}", "positions", sender=samu)
                number += 1

    # ------------------------------------------------------------------ what goes wrong

    async def _break(self) -> None:
        for moment in moments():
            await trio.sleep(max(0.0, (moment.hour - self.hour) * self.seconds / 24))
            match moment.what:
                case "kill":
                    await self._kill_the_leader()
                case "cut-samu":
                    self.cluster.cut(self.cut_samu)
                    self._note(f"{self.cut_samu} is cut off")
                case "heal-samu":
                    self.cluster.heal(self.cut_samu)
                    self._note(f"{self.cut_samu} is back")
                case "cut-zone":
                    self._cut_zone = await leader_of(self.zones, WITHIN_S)
                    self.cluster.cut(self._cut_zone)
                    self._note(f"{self._cut_zone}, which leads, is cut off")
                case _:
                    self.cluster.heal(self._cut_zone)
                    self._note(f"{self._cut_zone} is back")

    async def _kill_the_leader(self) -> None:
        leader = await leader_of(self.zones, WITHIN_S)
        await self.cluster.kill(leader)
        self._note(f"{leader}, which leads, is killed")
        await trio.sleep(self.seconds * DOWN_DAY_SHARE)
        await self.cluster.start(leader)
        await until_level(self.zones, WITHIN_S)
        self._note(f"{leader} runs again")

    def _note(self, what: str) -> None:
        self.course.told.append((round(self.hour, 2), what))
        self.tell(f"{int(self.hour):02}:{int(self.hour % 1 * 60):02} {what}")

    # ------------------------------------------------------------------ looking on

    async def _watch_leaders_for_ever(self) -> None:
        while True:
            for zone in self.zones:
                raft = (await status_of(zone)).get("raft", {})
                if raft.get("role") == "leader":
                    self._leaders.add((int(raft["term"]), zone.name))
            await trio.sleep(0.25)

    async def _sample_for_ever(self) -> None:
        while True:
            await self._sample()
            await trio.sleep(self.seconds / SAMPLES)

    async def _sample(self) -> None:
        zones = [await status_of(zone) for zone in self.zones]
        alive = [node for node in self.cluster.nodes.values() if node.child.alive]
        rss = {node.name: rss_mb(node.child.pid) for node in alive}
        files = await trio.to_thread.run_sync(partial(_file_sizes, self.cluster))
        held = self.ledger.held
        self.course.samples.append(
            Sample(
                hour=round(self.hour, 2),
                operations=sum(len(one.receipts) for one in held),
                zone_rss_mb=round(max((rss[node.name] for node in alive if node.role == "zone"), default=0.0), 1),
                site_rss_mb=round(max((rss[node.name] for node in alive if node.role == "site"), default=0.0), 1),
                zone_log_mb=files["log"],
                zone_state_mb=files["state"],
                site_mb=files["site"],
                compacted_through=max((_compacted(zone) for zone in zones), default=0),
                waiting=sum(not _is_answered(one) for one in held),
            )
        )


def _compacted(status: dict[str, Any]) -> int:
    return int(status.get("log", {}).get("compacted_through", 0))


def _is_answered(held: Held) -> bool:
    return held.answered_at > 0


def _file_sizes(cluster: Cluster) -> dict[str, float]:
    """MB on disk: of the zone with the largest log, of that with the largest state, of the largest site."""
    zones = [zone.data for zone in cluster.zones]
    return {
        "log": round(max(_size_mb([data / "log"]) for data in zones), 2),
        "state": round(max(_size_mb(sorted(data.glob("state*"))) for data in zones), 2),
        "site": round(max(_size_mb([site.data]) for site in cluster.sites), 2),
    }


def _size_mb(folders: list[Path]) -> float:
    """As `disk_mb`, of a node that may take a file away while it is looked at."""
    while True:
        with suppress(FileNotFoundError):
            return disk_mb(folders)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
