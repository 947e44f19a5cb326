"""The national day as a plan, without a clock or a process: how many calls when, what is done on a case, who speaks for
whom, which positions are handed in, and when something goes wrong.

A compressed day keeps the rates of a real one: the curve of 24 hours is run through in some minutes, and an operation
of the peak is as near to the next as it is at 18 h. So the day is shorter, not more crowded; it has fewer cases.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from replica.cases.commands import AddNote, ChangePriority, CloseCase, Command
from replica.demo.clash import note_report, priority_report

CALLS_BY_HOUR: Final = (
    45, 35, 28, 24, 22, 24, 32, 48, 68, 82, 88, 86, 84, 80, 78, 76, 80, 88, 98, 100, 96, 88, 72, 58,
)  # fmt: skip
"""Percent of the busiest hour, by the hour of the day: quiet before dawn, a hill before noon, the peak in the evening.
The shape of a weekday as services publish it, rounded; no one service's figures."""
CRISIS_TIMES: Final = 10
CRISIS_HOURS: Final = (14.0, 15.0)
LEADER_KILLED_HOUR: Final = 8.0
SAMU_CUT_HOURS: Final = (10.0, 11.0)
ZONE_CUT_HOURS: Final = (17.0, 18.0)
CRISIS_KILL_HOUR: Final = 14.5
POSITIONS_EVERY_S: Final = 10.0
ACTS_PER_CASE: Final = 8
NOTE: Final = "Patient conscient, douleur thoracique, VLM engagée. " * 3


def calls_at(hour: float) -> float:
    """The rate of calls at this hour of the day over that of the busiest hour, without a crisis; between two hours it
    is in between."""
    whole = int(hour) % 24
    first, then = CALLS_BY_HOUR[whole], CALLS_BY_HOUR[(whole + 1) % 24]
    return (first + (then - first) * (hour - int(hour))) / 100


def load_at(hour: float) -> float:
    """The same with the crisis: then it is ten times the peak, whatever the hour has otherwise."""
    begins, ends = CRISIS_HOURS
    return float(CRISIS_TIMES) if begins <= hour < ends else calls_at(hour)


def arrivals(rng: random.Random, expected: float) -> int:
    """How many come where so many are expected, each on its own: a Poisson draw."""
    left, count = expected, 0
    while (left := left - rng.expovariate(1.0)) > 0:
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happens at an hour of the day: `what` is "kill", "cut-samu", "heal-samu", "cut-zone" or
    "heal-zone"."""

    hour: float
    what: str


def moments() -> tuple[Moment, ...]:
    """What goes wrong, in the order of the day."""
    planned = (
        Moment(LEADER_KILLED_HOUR, "kill"),
        Moment(SAMU_CUT_HOURS[0], "cut-samu"),
        Moment(SAMU_CUT_HOURS[1], "heal-samu"),
        Moment(CRISIS_KILL_HOUR, "kill"),
        Moment(ZONE_CUT_HOURS[0], "cut-zone"),
        Moment(ZONE_CUT_HOURS[1], "heal-zone"),
    )
    return tuple(sorted(planned, key=lambda moment: moment.hour))


def organisations(count: int, sites: int) -> tuple[tuple[str, ...], ...]:
    """The Samu of the country, dealt out to so many sites; the first of each is the site itself."""
    names = [f"fr.health.samu{number:03}" for number in range(1, count + 1)]
    return tuple(tuple(names[first::sites]) for first in range(sites))


@dataclass(frozen=True, slots=True)
class Act:
    """One thing done on a case: a hub message, or a command."""

    what: str
    message: bytes = b""
    command: Command | None = None


def acts_on(case: str, samu: str, vehicle: str, priority: str, at: Callable[[], str]) -> Iterator[Act]:
    """What is done on a case from the call to its end, ACTS_PER_CASE acts. `at`: the time now as messages word it."""
    yield Act("call", note_report(case, samu, f"Appel {case}"))
    yield Act("priority", priority_report(case, priority))
    yield Act("note", command=AddNote(case, f"{case}.n1", NOTE))
    yield Act("engage", _status(case, samu, vehicle, "DECLENCHE", at()))
    yield Act("arrive", _status(case, samu, vehicle, "ARRIVEE", at()))
    yield Act("note", command=AddNote(case, f"{case}.n2", NOTE))
    yield Act("priority", command=ChangePriority(case, "P3"))
    yield Act("close", command=CloseCase(case))


def _status(case: str, samu: str, vehicle: str, status: str, at: str) -> bytes:
    """An RS-RI: the vehicle serves this case, and how far it is."""
    said = {"datetime": at, "status": status, "availability": False}
    resource = {"resourceId": vehicle, "datetime": at, "vehicleType": "SMUR.VLM", "orgId": samu, "state": [said]}
    return _json({"resourcesInfo": {"caseId": case, "resource": [resource]}})


@dataclass(slots=True)
class Positions:
    """Where vehicles are, thinned out before it reaches the log: of what each says, only the latest is handed in, once
    an interval, with those of its Samu in one message. replica itself leaves that to its callers."""

    said: int = 0
    """How many positions the vehicles have said."""
    handed_in: int = 0
    """How many of them were handed in."""
    _latest: dict[str, dict[str, Any]] = field(default_factory=dict)

    def say(self, vehicle: str, at: str, latitude: float, longitude: float) -> None:
        """A vehicle says where it is."""
        self.said += 1
        coord = {"lat": round(latitude, 5), "lon": round(longitude, 5)}
        self._latest[vehicle] = {"resourceId": vehicle, "datetime": at, "coord": coord}

    def take(self) -> bytes:
        """The latest of each vehicle that said anything since the last time, as one GEO-POS; empty for none."""
        taken, self._latest = self._latest, {}
        self.handed_in += len(taken)
        return _json({"geoPositionsUpdate": {"position": list(taken.values())}}) if taken else b""


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)
