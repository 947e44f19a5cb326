"""What a person at a site may want to do next: drawn from the dice and from what this site shows, nothing else.

Everybody works on the same few cases, so that what is done apart meets. Some of it is not theirs to do, and goes in as
a note, is proposed or is refused: that is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from replica.cases import authority, queries
from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    CloseCase,
    DecideConflict,
    EngageResource,
    Fact,
    HandBack,
    Payload,
    ReleaseResource,
    ReopenCase,
    Report,
    SetStatus,
    Subject,
    TakeOver,
    TransferCase,
)
from replica.cases.draft import Draft
from replica.cases.records import Records
from replica.runtime.bell import wall_ms

if TYPE_CHECKING:
    from replica.runtime.service import Service

PRIORITIES = ("P0", "P1", "P2", "P3")
CARE_LEVELS = ("R1", "R2", "R3", "R4")
STATUSES = ("DECISION", "DECLENCHE", "DEPART", "ARRIVEE", "PEC", "FINPEC")
TERMS_LEVEL = 3
"""From this feature level on a take-over has terms."""


@dataclass(frozen=True, slots=True)
class Wanted:
    payload: Payload
    case: str
    """Whose read shows what came of it; empty for none."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What a person sees here now: good until anything else runs."""

    service: Service
    records: Records


class Whims:
    """One person's. `site`: where it sits, or the zone's name; `cases` and `sites`: those of the whole world, live."""

    def __init__(self, rng: Random, site: str, name: str, cases: Sequence[str], sites: Sequence[str]) -> None:
        self._rng = rng
        self._site = site
        self._name = name
        self._cases = cases
        self._sites = sites
        self._count = 0

    def next(self, look: Look) -> Wanted | None:
        """The next thing wanted; None where there is nothing of the kind to do."""
        whim = self._rng.choices(list(DRAWN), list(DRAWN.values()))[0]
        return whim(self, look)

    def note(self, look: Look) -> Wanted:
        self._count += 1
        text = f"{self._name} note {self._count}."
        case = self._rng.choice(self._cases)
        return Wanted(AddNote(case, f"{self._site}.medicalNote.{self._name}-{self._count}", text), case, text)

    def priority(self, look: Look) -> Wanted:
        case = self._rng.choice(self._cases[:4])
        return Wanted(ChangePriority(case, self._rng.choice(PRIORITIES)), case)

    def care_level(self, look: Look) -> Wanted:
        case = self._rng.choice(self._cases[:4])
        return Wanted(ChangeCareLevel(case, self._rng.choice(CARE_LEVELS)), case)

    def status(self, look: Look) -> Wanted:
        case = self._rng.choice(self._cases)
        return Wanted(SetStatus(resource_of(self._rng.choice(self._sites)), case, self._rng.choice(STATUSES)), case)

    def engage(self, look: Look) -> Wanted:
        site = self._site if self._rng.random() < 0.6 else self._rng.choice(self._sites)
        case = self._rng.choice(self._cases)
        return Wanted(EngageResource(resource_of(site), case), case)

    def release(self, look: Look) -> Wanted | None:
        resource = resource_of(self._rng.choice(self._sites))
        view = look.service.resource(resource)
        if view is None or not view.serves:
            return None
        return Wanted(ReleaseResource(resource, view.serves), view.serves)

    def close(self, look: Look) -> Wanted:
        case = self._rng.choice(self._cases)
        return Wanted(CloseCase(case), case)

    def reopen(self, look: Look) -> Wanted:
        case = self._rng.choice(self._cases)
        return Wanted(ReopenCase(case), case)

    def transfer(self, look: Look) -> Wanted:
        case = self._rng.choice(self._cases)
        return Wanted(TransferCase(case, self._rng.choice(self._sites)), case)

    def report(self, look: Look) -> Wanted:
        """What a partner's message says, here of a case that may be anybody's."""
        case = self._rng.choice(self._cases)
        self._count += 1
        facts = [Fact("priority", self._rng.choice(PRIORITIES)), Fact("location.name", f"Quai {self._count}")]
        if self._rng.random() < 0.2:
            facts.append(Fact("owner", self._rng.choice(self._sites)))
        subject = Subject("case", case, tuple(self._rng.sample(facts, self._rng.randint(1, len(facts)))))
        sender = self._rng.choice(self._sites)
        return Wanted(Report(f"{self._name} {self._count}", "RS-EDA-MAJ", sender, (subject,)), case)

    def open_case(self, look: Look) -> Wanted:
        self._count += 1
        return opening_of(f"{self._site}.{self._name}-{self._count}", self._site)

    def take_over(self, look: Look) -> Wanted | None:
        others = [site for site in self._sites if site != self._site]
        return self.take(self._rng.choice(others), look)

    def take(self, samu: str, look: Look) -> Wanted | None:
        """Take a Samu's work over, whole or some cases of it, by the epoch that is known here."""
        if self._site not in self._sites:
            return None
        epoch = authority.charge_of(Draft(look.records), samu).epoch
        cases: tuple[str, ...] = ()
        if self._rng.random() < 0.3:
            known = [
                case for case in self._cases if (view := look.service.case(case)) is not None and view.owner == samu
            ]
            cases = tuple(known[:2])
        return Wanted(TakeOver(samu, self._site, epoch, "it does not answer", cases, *self._terms(look)), "")

    def _terms(self, look: Look) -> tuple[bool, int, bool]:
        """Forced, until when by this person's own clock, and whether it goes home by itself."""
        if queries.feature_level(look.records) < TERMS_LEVEL:
            return False, 0, False
        until_ms = wall_ms() + self._rng.randint(500, 4_000) if self._rng.random() < 0.4 else 0
        return self._rng.random() < 0.6, until_ms, self._rng.random() < 0.4

    def hand_back(self, look: Look) -> Wanted | None:
        draft = Draft(look.records)
        now = queries.feature_level(look.records) >= TERMS_LEVEL and self._rng.random() < 0.5
        held = [site for site in self._sites if authority.charge_of(draft, site).holder == self._site != site]
        if held:
            return Wanted(HandBack(self._rng.choice(held), "it answers again", (), now), "")
        for case in self._cases:
            view = look.service.case(case)
            if view is not None and view.charge.holder == self._site != view.charge.samu:
                return Wanted(HandBack(view.charge.samu, "it answers again", (case,), now), case)
        return None

    def decide(self, look: Look) -> Wanted | None:
        open_now = look.service.conflicts()
        if not open_now:
            return None
        one = self._rng.choice(open_now)
        value = self._rng.choice(one.values).value
        case = one.id if one.subject == "case" else ""
        return Wanted(DecideConflict(one.subject, one.id, one.field, one.key, value), case)


def opening_of(case: str, owner: str) -> Wanted:
    """The report that creates a case."""
    facts = (Fact("owner", owner), Fact("priority", "P2"), Fact("location.name", "Quai 4"))
    return Wanted(Report(f"{case} opens", "RS-EDA", owner, (Subject("case", case, facts, owner, creates=True),)), case)


def resource_of(site: str) -> str:
    return f"{site}.resource.SMUR1"


def resource_report(site: str) -> Wanted:
    """The report that describes a site's one vehicle."""
    facts = (Fact("organisation", site), Fact("vehicle_type", "SMUR.VLM"))
    subject = Subject("resource", resource_of(site), facts, site)
    return Wanted(Report(f"{site} vehicle", "RS-RI", site, (subject,)), "")


DRAWN: dict[Callable[[Whims, Look], Wanted | None], int] = {
    Whims.note: 30,
    Whims.priority: 16,
    Whims.care_level: 8,
    Whims.status: 5,
    Whims.engage: 6,
    Whims.release: 2,
    Whims.close: 4,
    Whims.reopen: 3,
    Whims.transfer: 4,
    Whims.report: 6,
    Whims.open_case: 3,
    Whims.take_over: 5,
    Whims.hand_back: 6,
    Whims.decide: 8,
}
"""How often what is wanted."""
