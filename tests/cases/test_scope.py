"""What a site needs first: which cases, in which order, with what it takes to read them whole."""

from __future__ import annotations

from replica.cases import keys, queries
from replica.cases.commands import CloseCase, Fact, RaiseLevel, RegisterOrganisation, Subject, TakeOver, TransferCase
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.records import Empty, Overlay
from replica.cases.scope import Gathering, own_open, wanted
from tests.cases.world import FIRE, A, B, World, about, creation, report, status, two_sites, update, vehicle

MOST = 1 << 20


def gathered(world: World, site: str, *known: tuple[str, str], most: int = MOST) -> Gathering:
    found = Gathering(world.records, site, most)
    found.take(wanted(world.records, site, known))
    return found


def test_own_are_open_cases_that_the_site_serves_and_those_it_is_in_charge_of() -> None:
    """Under any of its names; a case taken over is both Samus' to see; what it opened for nobody of ours is its own."""
    world, a, b = two_sites()
    a.do(RegisterOrganisation("samu44", A, A))
    a.do(creation("mine"))
    a.do(creation("by another name", "samu44"))
    a.do(creation("nobody's", FIRE))
    a.do(creation("over"))
    a.do(CloseCase("over"))
    b.do(creation("theirs", B))
    b.do(creation("given", B))
    b.do(TransferCase("given", A))
    assert sorted(own_open(world.records, A)) == ["by another name", "given", "mine", "nobody's"]
    assert list(own_open(world.records, B)) == ["theirs"]
    b.do(TakeOver(A, B, 1, "drowned", cases=("mine",)))
    assert sorted(own_open(world.records, B)) == ["mine", "theirs"]
    assert "mine" in own_open(world.records, A)


def test_a_site_that_nobody_has_heard_of_yet_has_its_own_too() -> None:
    """Its first start: the cases bear its name, and it has not registered."""
    world = World()
    b = world.open(B, 2)
    b.do(creation("waiting", A))
    assert list(own_open(world.records, A)) == ["waiting"]


def test_neighbours_that_are_helped_come_after_all_that_is_own() -> None:
    world, a, b = two_sites()
    b.do(creation("helped", B))
    b.do(creation("not helped", B))
    a.do(creation("z own"))
    a.do(vehicle("smur", A))
    b.do(about("smur", "helped", status("DECLENCHE"), sender=B))
    found = wanted(world.records, A)
    assert found == [("case", "z own"), ("resource", "smur"), ("case", "helped")]


def test_what_is_named_by_what_is_sent_is_sent_too() -> None:
    """The mission a vehicle is on, whoever's case it is for; the closed case of a take-over that still stands."""
    world, a, b = two_sites()
    for level in range(2, HIGHEST_LEVEL + 1):
        a.do(RaiseLevel(level))
    a.do(creation("own"))
    a.do(creation("lent"))
    b.do(creation("theirs", B))
    a.do(vehicle("smur", A))
    a.do(about("smur", "own", status("DECLENCHE")))
    a.do(about("smur", "theirs", status("DECLENCHE")))
    b.do(TakeOver(A, B, 1, "drowned", cases=("lent",)))
    b.do(CloseCase("lent"))
    sent = Gathering(world.records, A, MOST)
    sent.take([("case", "own")])
    assert keys.mission(keys.parts("case", "theirs"), "smur") in dict(sent.records)
    assert keys.parts("case", "theirs") not in sent.covered
    assert ("case", "lent") in wanted(world.records, A)


def test_what_the_site_shows_as_its_own_is_sent_whatever_has_become_of_it() -> None:
    """Closed or handed over meanwhile: it must not stand there open. What is not known here is passed over."""
    world, a, _ = two_sites()
    for case in ("closed", "gone", "open"):
        a.do(creation(case))
    a.do(CloseCase("closed"))
    a.do(TransferCase("gone", B))
    known = [("case", one) for one in ("closed", "gone", "open", "never agreed")]
    assert wanted(world.records, A, [*known, ("planet", "mars")]) == [
        ("case", one) for one in ("open", "closed", "gone")
    ]


def test_a_case_is_read_from_what_is_sent_as_from_the_state() -> None:
    """Vehicles, requests, conflicts, joined cases, the sender's number: nothing of it is missing."""
    world, a, b = two_sites()
    a.do(report(Subject("case", "", (Fact("freetext", "early"),), FIRE, "", "S-1"), sender=FIRE))
    a.do(creation("c1", A, Fact("sender_case", "S-1", FIRE)))
    b.do(vehicle("their smur", B, "c1"))
    a.cut()
    b.do(update("c1", Fact("priority", "P0"), sender=B))
    b.do(report(Subject("request", "q1", (Fact("details", "{}"),), B, "c1"), sender=B))
    a.do(update("c1", Fact("priority", "P1")))
    sent = Overlay(Empty(), dict(gathered(world, A).records))
    assert queries.read_case(sent, "c1") == queries.read_case(world.records, "c1")
    assert queries.read_resource(sent, "their smur") == queries.read_resource(world.records, "their smur")
    assert queries.list_conflicts(sent) == queries.list_conflicts(world.records)
    assert queries.find_case(sent, FIRE, "S-1") == "c1"
    assert queries.last_number(sent, A, a.incarnation) == a.last
    assert queries.last_number(sent, B, b.incarnation) == -1


def test_it_ends_at_a_subject_where_the_bytes_are_used_up() -> None:
    """Whole cases, the first of the order."""
    world, a, _ = two_sites()
    for number in range(20):
        a.do(creation(f"c{number:02}"))
    whole = gathered(world, A)
    least = Gathering(world.records, A, MOST).size
    part = gathered(world, A, most=least + (whole.size - least) // 2)
    heads = [key for key in part.covered if key[:1] == keys.HEADS["case"] and len(key) > 1]
    assert 5 < len(heads) < 15
    assert part.size <= least + (whole.size - least) // 2
    assert not Gathering(world.records, A, 10).take([("case", "c00")])
    for number, head in enumerate(heads):
        assert head == keys.head("case", f"c{number:02}")
