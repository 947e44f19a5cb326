"""Histories from a seed for the naive model: what people and lines do at three sites, in steps that can be left out.

Unlike histories.py these shrink: a history is a list of steps, each of which makes sense without the others. What a
step becomes (numbers, clocks, what was seen) is for naive_check.py to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import msgspec

from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    CloseCase,
    Command,
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
    Tombstone,
    TransferCase,
)
from replica.cases.fields import CARE_LEVELS, CASE_STATUSES, PRIORITIES, RESOURCE_STATUSES
from tests.cases.world import FIRE, NOON, A, B, C

SITES = (A, B, C)
CASES, VEHICLES, REQUEST = ("c1", "c2", "c3"), ("r1", "r2"), "q1"
OWNERS = (A, B, C, FIRE)
WORDS = ("x", "y", "z")
TIMES = (0, NOON - 5000, NOON, NOON + 4000, NOON + 10**12)
OFTEN = ("say",) * 12 + ("send",) * 5 + ("follow",) * 3 + ("both",) * 2 + ("clock",)
QUIET = (*OFTEN, *OFTEN, "again", "ahead", "clock", "epoch")
RESTORED = ("reopen", "back up", "restore", "restore", "late", "late", "drain", "drain")
WHATS = (*OFTEN, "again", "ahead", "clock", "epoch", *RESTORED)
EPOCH_AS_KNOWN = 0
"""In a take-over: the epoch that the state shows when it is said."""


@dataclass(frozen=True, slots=True)
class Step:
    """`what` happens at the site of number `site`; `more`: how many, how far, which; `other`: another site."""

    what: str
    site: int
    payload: Payload | None = None
    more: int = 0
    other: int = 0
    key: str = ""


class Teller:
    """Draws what may happen: in each history mostly of one kind, and about one case or several, so that people meet."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        self.pick, self.upto = random.choice, random.randint
        self.cases: Sequence[str] = self.pick((CASES, ("c1", "c3"), ("c1",)))
        self.theme = self.pick((None, self.words, self.vehicles, self.charges, self.owners, self.decisions))
        self.lives = self.pick((QUIET, QUIET, WHATS))
        self.sites: Sequence[int] = (0, 1, 2)
        if self.lives is WHATS:  # one store above all, and few things spoken of, so that its lives meet
            self.cases, self.sites = ("c1",), (0, 0, 0, 0, 1, 2)
        self.taken: tuple[int, str, tuple[str, ...]] = (1, A, ())

    def history(self) -> list[Step]:
        return [self.step() for _ in range(self.upto(1, 50))]

    def step(self) -> Step:
        what, site = self.pick(self.lives), self.pick(self.sites)
        if what == "say":
            payload = self.report() if self.upto(0, 1) else self.command()
            # Whoever takes over says so itself as often as not, and gives back what it took.
            if isinstance(payload, TakeOver) and self.upto(0, 1):
                site = SITES.index(payload.by)
                self.taken = site, payload.owner, payload.cases
            elif isinstance(payload, HandBack) and self.upto(0, 2):
                site, owner, cases = self.taken
                payload = msgspec.structs.replace(payload, owner=owner, cases=cases)
            return Step(what, site, payload, self.pick((0, 0, -3000, 2000)), key=self.pick(("",) * 20 + ("k",)))
        if what == "clock":
            return Step(what, site, more=self.pick((-10_000_000, -100, 0, 100, 10_000_000)))
        return Step(what, site, more=self.upto(1, 4), other=self.upto(0, 2))

    def command(self) -> Command:
        each = (self.words, self.vehicles, self.charges, self.owners, self.decisions)
        draw = self.theme if self.theme is not None and self.upto(0, 2) else self.pick(each)
        return self.pick(draw(self.pick(self.cases), self.pick(VEHICLES)))

    def words(self, case: str, resource: str) -> Sequence[Command]:
        pick = self.pick
        return (
            ChangePriority(case, pick(PRIORITIES)),
            ChangePriority(case, pick((*PRIORITIES, "P9"))),
            ChangeCareLevel(case, pick(CARE_LEVELS), pick(("", "p"))),
            AddNote(case, pick(WORDS), pick(WORDS)),
            DecideConflict("case", case, "priority", "", pick(PRIORITIES)),
        )

    def vehicles(self, case: str, resource: str) -> Sequence[Command]:
        status = SetStatus(resource, self.pick((case, case, "")), self.pick(RESOURCE_STATUSES))
        decide = DecideConflict("resource", resource, "engagement", "", case)
        return status, status, EngageResource(resource, case), ReleaseResource(resource, case), decide

    def charges(self, case: str, resource: str) -> Sequence[Command]:
        pick = self.pick
        some, samu = pick(((), (), (case,), ("c1", "c2"))), pick((A, A, A, B))
        guessed = TakeOver(pick((samu, FIRE)), pick(SITES), self.upto(1, 4), "x", some)
        known = TakeOver(samu, pick(SITES), EPOCH_AS_KNOWN, "x", some)
        return known, known, guessed, HandBack(samu, "x", some), HandBack(samu, "x"), CloseCase(case)

    def owners(self, case: str, resource: str) -> Sequence[Command]:
        pick = self.pick
        to = TransferCase(case, pick((*OWNERS, "")))
        return to, to, CloseCase(case), ReopenCase(case), DecideConflict("case", case, "owner", "", pick(OWNERS))

    def decisions(self, case: str, resource: str) -> Sequence[Command]:
        pick = self.pick
        return (
            DecideConflict("case", case, "priority", "", pick(PRIORITIES)),
            DecideConflict("case", case, "owner", "", pick(OWNERS)),
            DecideConflict("case", case, "perimeter", "", pick(WORDS)),
            DecideConflict("case", case, "status", pick((A, B)), pick(CASE_STATUSES)),
            DecideConflict("resource", resource, "engagement", "", case),
            DecideConflict("resource", resource, "organisation", "", pick(OWNERS)),
            DecideConflict("request", REQUEST, "answer", "", pick(("ACCEPTEE", "REFUSEE"))),
        )

    def report(self) -> Payload:
        if self.upto(0, 40) == 0:
            return Tombstone("unreadable")
        subjects = tuple(self.subject() for _ in range(self.pick((1, 1, 1, 2))))
        return Report(f"m{self.upto(0, 200)}", "RS-EDA", self.pick((A, B, FIRE)), subjects)

    def subject(self) -> Subject:
        kinds = ("resource", "case", "request") if self.theme == self.vehicles else ("case", "case", "case", "resource")
        kind, creates = self.pick((*kinds, *kinds, "resource", "request")), self.upto(0, 3) == 0
        case = self.pick((*self.cases, ""))
        if kind == "case":
            facts = tuple(self.case_fact() for _ in range(self.upto(0, 3)))
            return Subject(kind, self.pick(self.cases), facts, self.pick((*OWNERS, "")), creates=creates)
        if kind == "resource":
            facts = tuple(self.resource_fact() for _ in range(self.upto(0, 3)))
            owner = self.pick((A, B, FIRE, "", "", ""))
            return Subject(kind, self.pick(VEHICLES), facts, owner, case, creates=creates)
        facts = tuple(self.request_fact() for _ in range(self.upto(0, 2)))
        return Subject(kind, REQUEST, facts, self.pick((A, B, "")), case, creates=creates)

    def case_fact(self) -> Fact:
        word, at_ms, pick = self.pick(WORDS), self.pick(TIMES), self.pick
        if self.theme == self.decisions and self.upto(0, 1):
            return pick((Fact("perimeter", word), Fact("priority", pick(PRIORITIES)), Fact("owner", pick(OWNERS))))
        if self.theme == self.words and self.upto(0, 1):
            return pick(
                (Fact("origin", word), Fact("additional", word, "k"), Fact("location.geometry", word, at_ms=at_ms))
            )
        return pick(
            (
                Fact("priority", pick(PRIORITIES)),
                Fact("care_level", pick(CARE_LEVELS)),
                Fact("patient.care_level", pick((*CARE_LEVELS, "R9")), "p"),
                Fact("status", pick(CASE_STATUSES), pick((A, B, FIRE, ""))),
                Fact("perimeter", word),
                Fact("origin", word),
                Fact("patient.name", word, pick(("p", "s"))),
                Fact("additional", word, pick(("k", "l"))),
                Fact("location.geometry", word, at_ms=at_ms),
                Fact("medical_note", word, pick(WORDS), at_ms),
                Fact("decision", word, at_ms=at_ms),
                Fact("owner", pick(OWNERS)),
                Fact("owner", pick(OWNERS)),
            )
        )

    def resource_fact(self) -> Fact:
        word, at_ms, pick = self.pick(WORDS), self.pick(TIMES), self.pick
        return pick(
            (
                Fact("organisation", pick(OWNERS)),
                Fact("vehicle_type", word),
                Fact("status", pick(RESOURCE_STATUSES), at_ms=at_ms),
                Fact("status", pick(RESOURCE_STATUSES), at_ms=at_ms),
                Fact("availability", pick(("true", "unknown")), at_ms=at_ms),
                Fact("position", word, at_ms=at_ms),
                Fact("freetext", word),
                Fact("request", REQUEST),
                Fact("engagement", pick(('{"caseId":"c1"}', '{"case":"c2"}', "c1"))),
            )
        )

    def request_fact(self) -> Fact:
        answer, at_ms = self.pick(("ACCEPTEE", "REFUSEE")), self.pick(TIMES)
        return self.pick((Fact("answer", answer, at_ms=at_ms), Fact("details", self.pick(WORDS), at_ms=at_ms)))
