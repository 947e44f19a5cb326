"""Histories from a seed: sites cut off and back, messages and commands, deliveries late, doubled, in gaps.

Drawn with a plain generator, not element by element: conflicts need two sites that write one field apart, which a
search for small examples finds too seldom. A failing history is told by its seed and length, and shrinks in length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

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
    RaiseLevel,
    RegisterOrganisation,
    ReleaseResource,
    ReopenCase,
    Report,
    SetStatus,
    Subject,
    TakeOver,
    TransferCase,
)
from replica.cases.fields import CARE_LEVELS, CASE_STATUSES, PRIORITIES, RESOURCE_STATUSES
from replica.cases.operations import Operation
from replica.cases.verdicts import Decided
from tests.cases.world import FIRE, NOON, A, B, C, Site, World, creation, vehicle

CASES = ("c1", "c2")
VEHICLES = ("r1", f"{A}.resource.2")
OWNERS = (A, B, C, FIRE, "alias")
WORDS = ("x", "y", "z")
TIMES = (0, NOON - 5000, NOON, NOON + 4000, NOON + 10**12)

MEMBERS = ('{"a":1}', '{"a":1,"b":2}', '{"a":2}', '{"b":2}', '{"a":1,"c":3}', "plain")
OLD_ENTRIES = 3
"""How many entries a leader had appended under the old level when a raise was applied."""

Step = tuple[str, int, Payload | int, str]


class Teller:
    """Draws what somebody may say."""

    def __init__(self, seed: int) -> None:
        self.pick = Random(seed).choice
        self.upto = Random(seed + 1).randint

    def payload(self) -> Payload:
        return self.report() if self.upto(0, 2) else self.command()

    def command(self) -> Command:
        pick = self.pick
        case, resource, owner = pick(CASES), pick(VEHICLES), pick(OWNERS)
        samu, epoch = pick((A, B)), self.upto(1, 3)
        some = pick(((), (), ("c1",)))
        return pick(
            (
                ChangePriority(case, pick(PRIORITIES)),
                ChangePriority(case, pick(PRIORITIES)),
                ChangeCareLevel(case, pick(CARE_LEVELS), pick(("", "p"))),
                AddNote(case, pick(WORDS), pick(WORDS)),
                SetStatus(resource, pick((*CASES, "")), pick(RESOURCE_STATUSES)),
                EngageResource(resource, case),
                ReleaseResource(resource, case),
                TransferCase(case, owner),
                CloseCase(case),
                ReopenCase(case),
                RegisterOrganisation("alias", samu, pick(("", A))),
                TakeOver(samu, pick((A, B, C)), epoch, "x", some),
                HandBack(samu, "x", some),
                DecideConflict("case", case, "priority", "", pick(PRIORITIES)),
                DecideConflict("case", case, "owner", "", owner),
                DecideConflict("case", case, "perimeter", "", pick(WORDS)),
                DecideConflict("case", case, "status", samu, pick(CASE_STATUSES)),
                DecideConflict("resource", resource, "engagement", "", case),
            )
        )

    def report(self) -> Report:
        subjects = tuple(self.subject() for _ in range(self.upto(0, 2)))
        documents = (Fact("RS-URL", self.pick(WORDS)),) if self.upto(0, 5) == 0 else ()
        return Report(f"m{self.upto(0, 60)}", "RS-EDA", self.pick((A, B, FIRE)), subjects, documents)

    def subject(self) -> Subject:
        kind = self.pick(("case", "case", "case", "number", "resource", "resource", "request"))
        said, creates = range(self.upto(0, 4)), self.upto(0, 2) == 0
        if kind == "number":
            return Subject("case", "", (), self.pick((A, B)), sender_case=self.pick(WORDS))
        if kind == "case":
            facts = tuple(self.case_fact() for _ in said)
            return Subject(kind, self.pick(CASES), facts, self.pick(OWNERS), creates=creates)
        if kind == "resource":
            facts = tuple(self.resource_fact() for _ in said)
            name = self.pick((*VEHICLES, *VEHICLES, ""))
            return Subject(kind, name, facts, case=self.pick((*CASES, "")), creates=creates)
        answer = Fact("answer", self.pick(('{"answer":"ACCEPTEE"}', '{"answer":"REFUSEE"}')), at_ms=self.pick(TIMES))
        facts = self.pick(((), (answer,), (Fact("details", self.pick(WORDS), at_ms=self.pick(TIMES)),)))
        return Subject(kind, "q1", facts, case=self.pick(CASES), creates=creates)

    def case_fact(self) -> Fact:
        word, at_ms = self.pick(WORDS), self.pick(TIMES)
        return self.pick(
            (
                Fact("priority", self.pick(PRIORITIES)),
                Fact("care_level", self.pick(CARE_LEVELS)),
                Fact("status", self.pick(CASE_STATUSES), self.pick((A, B, FIRE, ""))),
                Fact("perimeter", word),
                Fact("origin", word),
                Fact("location.geometry", word, at_ms=at_ms),
                Fact("medical_note", word, self.pick(WORDS), at_ms),
                Fact("patient.care_level", self.pick(CARE_LEVELS), "p"),
                Fact("sender_case", word, self.pick((A, B))),
                Fact("owner", self.pick(OWNERS)),
            )
        )

    def resource_fact(self) -> Fact:
        word, at_ms = self.pick(WORDS), self.pick(TIMES)
        return self.pick(
            (
                Fact("organisation", self.pick(OWNERS)),
                Fact("vehicle_type", word),
                Fact("status", self.pick(RESOURCE_STATUSES), at_ms=at_ms),
                Fact("status", self.pick(RESOURCE_STATUSES), at_ms=at_ms),
                Fact("availability", self.pick(("true", "unknown")), at_ms=at_ms),
                Fact("position", word, at_ms=at_ms),
                Fact("request", "q1"),
                Fact("engagement", self.pick(('{"caseId":"c1"}', '{"case":"c2"}', "{", "c1"))),
            )
        )

    def step(self) -> Step:
        what = self.pick(("say",) * 6 + ("send",) * 3 + ("again", "ahead", "follow", "clock", "hold"))
        if what == "say":
            return what, self.upto(0, 2), self.payload(), self.pick(("",) * 8 + ("k1", "k2"))
        more = self.pick((-10_000_000, -100, 0, 100, 10_000_000)) if what == "clock" else self.upto(1, 3)
        return what, self.upto(0, 2), more, ""


class TellerOfMembers(Teller):
    """One who also says what level 2 merges otherwise: values in several members, whole and in part. Another teller,
    so that a seed kept for the first one still tells its history."""

    def member_fact(self, *fields: tuple[str, str]) -> Fact:
        name, key = self.pick(fields)
        return Fact(name, self.pick(MEMBERS), key)

    def case_fact(self) -> Fact:
        if self.upto(0, 1):
            return super().case_fact()
        return self.member_fact(("location.city", ""), ("additional", "k"), ("location.address", ""))

    def resource_fact(self) -> Fact:
        return super().resource_fact() if self.upto(0, 1) else self.member_fact(("contact", ""))


def told(seed: int, length: int) -> list[Step]:
    teller = Teller(seed)
    return [teller.step() for _ in range(length)]


def told_of_members(seed: int, length: int) -> list[Step]:
    teller = TellerOfMembers(seed)
    return [teller.step() for _ in range(length)]


histories = st.builds(told, st.integers(0, 2**32), st.integers(1, 60))
payloads: st.SearchStrategy[Payload] = st.integers(0, 2**32).map(lambda seed: Teller(seed).payload())


@dataclass
class Played:
    """A history at its end: every operation said was agreed."""

    world: World
    sites: list[Site]
    said: list[Operation] = field(default_factory=list)
    decided: list[tuple[int, Decided]] = field(default_factory=list)
    held: int = 0
    old_entries: int = 0


def raised(history: list[Step], at: int) -> Played:
    """Play a history in which the level is raised before step `at`, and the next entries still come under the old
    one."""
    return play(history, at)


def play(history: list[Step], raise_at: int | None = None) -> Played:
    """Play a history. Sites follow the log only by `follow`; what is said waits in their journals until `send`."""
    world = World()
    played = Played(world, [world.open(name, place + 1) for place, name in enumerate((A, B, C))])
    a, b, _ = played.sites
    for site, payload in ((a, creation("c1", A)), (b, creation("c2", B)), (a, vehicle("r1", A))):
        played.said.append(site.operation(payload))
        _agree(played, played.said[-1:], [])
    for site in played.sites:
        site.cut()
    journals: list[list[Operation]] = [[], [], []]
    sent: list[Operation] = []
    for number, (what, place, more, key) in enumerate(history):
        site, journal = played.sites[place], journals[place]
        if number == raise_at:
            _raise(played)
        if what == "say":
            assert not isinstance(more, int)
            operation = site.operation(more, key=key)
            journal.append(operation)
            played.said.append(operation)
        elif what == "send":
            assert isinstance(more, int)
            _agree(played, journal[:more], sent)
            del journal[:more]
        elif what == "again" and sent:
            assert isinstance(more, int)
            _agree(played, [sent[more % len(sent)]], [])
        elif what == "ahead" and len(journal) > 1:
            _agree(played, journal[1:2], [])
        elif what == "follow":
            site.cut()
        elif what == "clock":
            assert isinstance(more, int)
            site.clock_ms = more
        elif what == "hold":
            site.have = max(0, site.last - len(journal))
    for journal in journals:
        _agree(played, journal, sent)
    return played


def _raise(played: Played) -> None:
    operator = played.world.open("operator", 9)
    played.sites.append(operator)
    played.said.append(operator.operation(RaiseLevel(2)))
    _agree(played, played.said[-1:], [])
    played.old_entries = OLD_ENTRIES


def _agree(played: Played, operations: list[Operation], sent: list[Operation]) -> None:
    if operations:
        effects = played.world.agree(*operations, level=1 if played.old_entries > 0 else 0)
        played.old_entries -= 1
        played.decided += [(effects.index, one) for one in effects.decided]
        played.held += len(effects.held)
        sent += operations
