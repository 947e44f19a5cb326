"""Generated histories: sites cut off and back, messages and commands, deliveries late, doubled, in gaps."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from replica.cases.commands import (
    AddNote,
    ChangePriority,
    CloseCase,
    DecideConflict,
    EngageResource,
    Fact,
    HandBack,
    Payload,
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

cases = st.sampled_from(CASES)
vehicles = st.sampled_from(VEHICLES)
owners = st.sampled_from(OWNERS)
times = st.sampled_from((0, NOON - 5000, NOON, NOON + 4000, NOON + 10**12))
words = st.sampled_from(("x", "y", "z"))

case_facts = st.one_of(
    st.builds(Fact, st.just("priority"), st.sampled_from(PRIORITIES)),
    st.builds(Fact, st.just("care_level"), st.sampled_from(CARE_LEVELS)),
    st.builds(Fact, st.just("status"), st.sampled_from(CASE_STATUSES), st.sampled_from((A, B, FIRE, ""))),
    st.builds(Fact, st.just("perimeter"), words),
    st.builds(Fact, st.just("origin"), words),
    st.builds(Fact, st.just("location.geometry"), words, st.just(""), times),
    st.builds(Fact, st.just("medical_note"), words, words, times),
    st.builds(Fact, st.just("patient.care_level"), st.sampled_from(CARE_LEVELS), words),
    st.builds(Fact, st.just("sender_case"), words, st.sampled_from((A, B))),
    st.builds(Fact, st.just("owner"), owners),
)
resource_facts = st.one_of(
    st.builds(Fact, st.just("organisation"), owners),
    st.builds(Fact, st.just("vehicle_type"), words),
    st.builds(Fact, st.just("status"), st.sampled_from(RESOURCE_STATUSES), st.just(""), times),
    st.builds(Fact, st.just("availability"), st.sampled_from(("true", "false", "unknown")), st.just(""), times),
    st.builds(Fact, st.just("position"), words, st.just(""), times),
    st.builds(Fact, st.just("request"), st.just("q1")),
    st.builds(Fact, st.just("engagement"), st.sampled_from(('{"caseId":"c1"}', '{"case":"c2"}', "{", "c1"))),
)
request_facts = st.one_of(
    st.builds(Fact, st.just("answer"), st.sampled_from(('{"answer":"ACCEPTEE"}', '{"answer":"REFUSEE"}')), st.just("")),
    st.builds(Fact, st.just("details"), words, st.just(""), times),
)


def _said(facts: st.SearchStrategy[Fact], most: int) -> st.SearchStrategy[tuple[Fact, ...]]:
    return st.lists(facts, max_size=most).map(tuple)


subjects = st.one_of(
    st.builds(Subject, st.just("case"), cases, _said(case_facts, 4), owners, creates=st.booleans()),
    st.builds(Subject, st.just("case"), st.just(""), st.just(()), st.sampled_from((A, B)), sender_case=words),
    st.builds(
        Subject,
        st.just("resource"),
        st.sampled_from((*VEHICLES, "")),
        _said(resource_facts, 4),
        case=st.sampled_from((*CASES, "")),
        creates=st.booleans(),
    ),
    st.builds(Subject, st.just("request"), st.just("q1"), _said(request_facts, 2), case=cases, creates=st.booleans()),
)
reports = st.builds(
    Report,
    st.sampled_from([f"m{n}" for n in range(12)]),
    st.just("RS-EDA"),
    st.sampled_from((A, B, FIRE)),
    st.lists(subjects, max_size=3).map(tuple),
    st.lists(st.builds(Fact, st.just("RS-URL"), words), max_size=1).map(tuple),
)
commands = st.one_of(
    st.builds(ChangePriority, cases, st.sampled_from(PRIORITIES)),
    st.builds(AddNote, cases, words, words),
    st.builds(SetStatus, vehicles, st.sampled_from((*CASES, "")), st.sampled_from(RESOURCE_STATUSES)),
    st.builds(EngageResource, vehicles, cases),
    st.builds(ReleaseResource, vehicles, cases),
    st.builds(TransferCase, cases, owners),
    st.builds(CloseCase, cases),
    st.builds(ReopenCase, cases),
    st.builds(RegisterOrganisation, st.just("alias"), st.sampled_from((A, B)), st.sampled_from(("", A))),
    st.builds(TakeOver, st.sampled_from((A, B)), st.sampled_from((A, B, C)), st.integers(1, 3), words),
    st.builds(TakeOver, st.just(A), st.just(B), st.integers(1, 3), words, st.just(("c1",))),
    st.builds(HandBack, st.sampled_from((A, B)), words),
    st.builds(HandBack, st.just(A), words, st.just(("c1",))),
    st.builds(DecideConflict, st.just("case"), cases, st.just("priority"), st.just(""), st.sampled_from(PRIORITIES)),
    st.builds(DecideConflict, st.just("case"), cases, st.just("owner"), st.just(""), owners),
    st.builds(DecideConflict, st.just("case"), cases, st.just("perimeter"), st.just(""), words),
    st.builds(DecideConflict, st.just("case"), cases, st.just("status"), st.just(A), st.sampled_from(CASE_STATUSES)),
    st.builds(DecideConflict, st.just("resource"), vehicles, st.just("engagement"), st.just(""), cases),
)
payloads: st.SearchStrategy[Payload] = st.one_of(reports, commands)

places = st.integers(0, 2)
_says = st.tuples(st.just("say"), places, payloads, st.sampled_from(("", "", "", "", "", "", "k1", "k2")))
steps = st.one_of(
    _says,
    _says,
    _says,
    st.tuples(st.just("send"), places, st.integers(1, 3), st.just("")),
    st.tuples(st.just("again"), places, st.integers(0, 9), st.just("")),
    st.tuples(st.just("ahead"), places, st.integers(0, 9), st.just("")),
    st.tuples(st.just("follow"), places, st.none(), st.just("")),
    st.tuples(st.just("clock"), places, st.sampled_from((-10_000_000, -100, 0, 100, 10_000_000)), st.just("")),
    st.tuples(st.just("hold"), places, st.none(), st.just("")),
)
histories = st.lists(steps, min_size=20, max_size=60)


@dataclass
class Played:
    """A history at its end: every operation said was agreed."""

    world: World
    sites: list[Site]
    said: list[Operation] = field(default_factory=list)
    decided: list[tuple[int, Decided]] = field(default_factory=list)
    held: int = 0


def play(history: list[tuple[str, int, object, str]]) -> Played:
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
    for what, place, more, key in history:
        site, journal = played.sites[place], journals[place]
        if what == "say":
            operation = site.operation(more, key=key)  # type: ignore[arg-type]  # the strategy made a payload
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


def _agree(played: Played, operations: list[Operation], sent: list[Operation]) -> None:
    if operations:
        effects = played.world.agree(*operations)
        played.decided += [(effects.index, one) for one in effects.decided]
        played.held += len(effects.held)
        sent += operations
