"""The naive model's vehicles: how far on its way one is, and which case it serves (naive_merge.py)."""

from __future__ import annotations

from tests.cases.naive_fields import (
    ENDS,
    MERGED,
    STARTS,
    STEPS,
    SUPERSEDED,
    Fields,
    case_in,
    engaged,
)
from tests.cases.naive_log import Missions, Run, Said, Thing


class Vehicles(Fields):
    """Missions and engagements, and things as they are opened."""

    def open(self, kind: str, name: str, owner: str = "", case: str = "") -> Thing:
        """The thing, opened *incomplete* where nobody has named it yet: an emergency's data is never thrown away."""
        fresh = Thing(kind, name, owner, self.place, self.site, self.place, case=case)
        return self.things.setdefault((kind, name), fresh)

    # ---------------------------------------------------------------- where a vehicle is on its way

    def of_mission(self, thing: Thing, case: str) -> Missions:
        return self.missions.setdefault((thing.id, case), Missions())

    def step(self, thing: Thing, case: str, status: str, at_ms: int, authority: bool) -> None:
        """A status, and what it implies: the vehicle serves the case; at the end of its mission it is released."""
        case = case or self.present.get(thing.id, ("", 0))[0]
        ended = self._count(thing, case, self.new(status, authority, at_ms))
        if case and ended:
            self.release(thing, case, authority)
        elif case:
            self.imply(thing, case, authority)

    def _count(self, thing: Thing, case: str, new: Said) -> bool:
        """Count a status to its mission: "a new one begins only with DECISION or DECLENCHE after a terminal status";
        "an earlier one that arrives late is history, not a step back". Returns whether it ended one."""
        missions, quiet = self.of_mission(thing, case), self.plain(new.authority)
        last = missions.runs[-1] if missions.runs else None
        again = bool(case) and last is not None and (new.value, new.at_ms) in missions.steps
        missions.steps.add((new.value, new.at_ms))
        ended = new.value in ENDS
        if again:
            self.say(quiet)
            return False
        if last is None or (last.ended and new.value in STARTS):
            self._begin_mission(thing, case, Run(last.n + 1 if last else 1, new, ended))
            self.say(quiet)
            return ended
        if STEPS.index(new.value) <= STEPS.index(last.said.value):
            self.say(quiet if new.value == last.said.value else SUPERSEDED)
            return False
        self.say(quiet if self.saw(last.said) else MERGED)
        if last.ended and not ended:
            missions.engaged = False  # nobody called it off in time
        missions.runs[-1] = Run(last.n, new, ended)
        if self.present[thing.id] == (case, last.n):
            thing.of("status").holds = [new]
        return ended and not last.ended

    def _begin_mission(self, thing: Thing, case: str, run: Run) -> None:
        missions, present = self.of_mission(thing, case), self.present.get(thing.id)
        over = present is None or self.of_mission(thing, present[0]).runs[-1].ended
        missions.runs.append(run)
        missions.engaged = missions.engaged and run.n == 1
        if over or not run.ended:  # one that was over before it was heard of takes no other's place
            self.present[thing.id] = (case, run.n)
            thing.of("status").holds = [run.said]

    # ---------------------------------------------------------------- which case a vehicle serves

    def is_own(self, thing: Thing, authority: bool) -> bool:
        return authority or self.nobodys(thing) or self.samu(thing.owner) == self.site

    def may_engage(self, thing: Thing, case: str, authority: bool) -> bool:
        """Its owner engages, or an accepted request."""
        if self.is_own(thing, authority):
            return True
        named = thing.of("request").holds
        request = self.things.get(("request", named[0].value)) if named else None
        answers = request.of("answer").holds if request is not None and request.case == case else []
        if not answers or answers[0].value not in ("ACCEPTEE", "PARTIELLE"):
            return False
        return answers[0].by.site in (self.in_charge(thing)[0], self.samu(thing.owner))

    def imply(self, thing: Thing, case: str, authority: bool) -> None:
        """A report speaks of the vehicle for this case: it serves it, unless that was said of this mission before."""
        missions = self.of_mission(thing, case)
        proposed = [case_in(said.value) for said in thing.of("engagement").proposed]
        if (missions.runs and missions.runs[-1].ended) or missions.engaged:
            return
        if self.may_engage(thing, case, authority) or case not in proposed:
            self.engage(thing, case, authority)

    def engage(self, thing: Thing, case: str, authority: bool) -> None:
        """A stranger's report is proposed. One case at a time: two are a conflict, the owner's holds meanwhile."""
        values = thing.of("engagement")
        if self.may_engage(thing, case, authority):
            self.of_mission(thing, case).engaged = True
            self.keep_both(values, self.new(engaged(case), authority), "engagement")
            values.proposed = [said for said in values.proposed if case_in(said.value) != case]
        elif case in [case_in(said.value) for said in values.holds]:
            self.say(MERGED)
        else:
            self.propose(thing, "engagement", "", engaged(case))

    def release(self, thing: Thing, case: str, authority: bool) -> bool:
        """It serves the case no longer, whoever reports it. False where it did not."""
        values = thing.of("engagement")
        served = case in [case_in(said.value) for said in values.holds + values.proposed]
        if served:
            values.holds = [said for said in values.holds if case_in(said.value) != case]
            values.proposed = [said for said in values.proposed if case_in(said.value) != case]
            self.say(self.plain(authority))
        return served
