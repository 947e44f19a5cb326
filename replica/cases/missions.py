"""A resource's status: its missions, the steps of each, and which mission is the present one.

A mission is (resource, case, n). RS-SR names none, so the log's order does: the first status for a case begins
mission 1, and a new one begins only with DECISION or DECLENCHE after a status that ended the last. Steps may be
skipped; an earlier one that arrives late is history, not a step back. All steps are kept with their case, by act
time; the status that holds is the furthest of the present mission."""

from __future__ import annotations

from dataclasses import dataclass

from replica.cases import keys
from replica.cases.act import Act, plain
from replica.cases.fields import ENDS_MISSION, STARTS_MISSION, Rule
from replica.cases.merge import MISSION_PROGRESS
from replica.cases.state import CURRENT, MISSION, Current, Held, Mission, Run, Slot, Step
from replica.cases.subjects import RESOURCE, Target, put_slot, slot_of
from replica.cases.verdicts import VerdictKind

STATUS = RESOURCE["status"]
RUNS_KEPT = 16
"""Missions without a case remembered per resource; those with one are kept with their case."""
CASES_KEPT = 16
"""Cases a resource's record names; all of them name the resource themselves."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a status did: `mission` as it is now; `ended`: this status ended its last run."""

    mission: Mission
    ended: bool


def mission_place(target: Target, case: str) -> bytes:
    return keys.mission(keys.parts("case", case) if case else target.prefix, target.id)


def load_mission(act: Act, target: Target, case: str) -> Mission | None:
    return act.draft.load(mission_place(target, case), MISSION)


def put_mission(act: Act, target: Target, case: str, mission: Mission) -> None:
    act.draft.put(mission_place(target, case), mission)


def present_case(act: Act, target: Target) -> str:
    """The case of the present mission: what a status that names none is about."""
    current = act.draft.load(keys.current_mission(target.prefix), CURRENT)
    return current.case if current is not None else ""


def step(act: Act, target: Target, case: str, status: str, at_ms: int) -> Stepped:
    """One status of a resource, counted to the mission it belongs to."""
    new = act.held(status, target.authority, at_ms)
    mission = load_mission(act, target, case) or Mission(target.id)
    last = mission.runs[-1] if mission.runs else None
    prefix = keys.parts("case", case) if case else target.prefix
    place = keys.step(prefix, target.id, status, new.at_ms)
    if last is not None and act.draft.has(place):
        _find(act, target, last, plain(target.authority))
        return Stepped(mission, False)
    if last is None or (last.ended and status in STARTS_MISSION):
        return _begin(act, target, case, mission, new, place)
    _keep_step(act, target, case, last.n, new, place)
    seen = act.seen(last.held.operation, last.held.index)
    if MISSION_PROGRESS[status] <= MISSION_PROGRESS[last.held.value]:
        late = status != last.held.value
        _find(act, target, last, VerdictKind.SUPERSEDED if late else plain(target.authority))
        return Stepped(mission, False)
    run = Run(last.n, new, status in ENDS_MISSION)
    # An arrival after a call-off: nobody called it off in time, so the mission goes on and serves its case again.
    engaged = mission.engaged and not (last.ended and not run.ended)
    after = Mission(target.id, (*mission.runs[:-1], run), engaged)
    put_mission(act, target, case, after)
    _find(act, target, last, plain(target.authority) if seen else VerdictKind.MERGED)
    current = act.draft.load(keys.current_mission(target.prefix), CURRENT)
    # It has a mission, and the first to begin became the present one, ended or not.
    assert current is not None, f"{target.id} is at {status} for {case!r} and has no present mission: {current}"
    if (current.case, current.n) == (case, run.n):
        _show(act, target, new)
    return Stepped(after, run.ended and not last.ended)


def _begin(act: Act, target: Target, case: str, mission: Mission, new: Held, place: bytes) -> Stepped:
    n = mission.runs[-1].n + 1 if mission.runs else 1
    run = Run(n, new, new.value in ENDS_MISSION)
    runs = (*mission.runs, run) if case else (*mission.runs, run)[-RUNS_KEPT:]
    # What was engaged before the first status was said serves that first mission; a later one has to be engaged again.
    after = Mission(target.id, runs, mission.engaged and n == 1)
    put_mission(act, target, case, after)
    _keep_step(act, target, case, n, new, place)
    act.find(target.id, "status", "", plain(target.authority), Rule.STATUS.value)
    if not run.ended or _present_is_over(act, target):
        _make_present(act, target, case, n)
        _show(act, target, new)
    return Stepped(after, run.ended)


def _present_is_over(act: Act, target: Target) -> bool:
    """A mission that was over before it was first heard of takes no other's place."""
    current = act.draft.load(keys.current_mission(target.prefix), CURRENT)
    if current is None:
        return True
    mission = load_mission(act, target, current.case)
    # It became the present one when its run began, and the latest run is always kept.
    assert mission is not None, f"the present mission of {target.id} is for {current.case!r}, where there is {mission}"
    assert mission.runs, f"the present mission of {target.id} is {current.n}, of {mission.runs}"
    return mission.runs[-1].ended


def _make_present(act: Act, target: Target, case: str, n: int) -> None:
    place = keys.current_mission(target.prefix)
    before = act.draft.load(place, CURRENT)
    cases = tuple(other for other in (before.cases if before is not None else ()) if other != case)
    act.draft.put(place, Current(case, n, (*cases, case)[-CASES_KEPT:] if case else cases))


def _keep_step(act: Act, target: Target, case: str, n: int, new: Held, place: bytes) -> None:
    if case:
        act.draft.put(place, Step(target.id, case, n, new))


def _show(act: Act, target: Target, new: Held) -> None:
    slot = slot_of(act, target, STATUS)
    put_slot(act, target, STATUS, "", slot, Slot((new,), slot.proposed))


def _find(act: Act, target: Target, met: Run, kind: VerdictKind) -> None:
    act.find(target.id, "status", "", kind, Rule.STATUS.value, met.held.operation)
