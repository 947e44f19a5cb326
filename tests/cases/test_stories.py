"""Both sides write while the line is cut (O4, O13): nothing is lost without a word, and each learns its fate."""

from __future__ import annotations

from replica.cases import queries
from replica.cases.commands import (
    AddNote,
    ChangePriority,
    CloseCase,
    DecideConflict,
    EngageResource,
    Fact,
    Opening,
    ReopenCase,
    TakeOver,
    TransferCase,
)
from tests.cases.world import (
    APPLIED,
    CONFLICT,
    MERGED,
    PROPOSED,
    SUPERSEDED,
    A,
    B,
    Site,
    World,
    about,
    creation,
    notes,
    past,
    proposals,
    status,
    two_sites,
    update,
    values,
    vehicle,
)


def emergency() -> tuple[World, Site, Site]:
    """A case of A with a vehicle of A; then A's line is cut."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("priority", "P2"), Fact("status", "ACTIF", A)))
    a.do(vehicle("r1", A))
    a.cut()
    return world, a, b


def test_both_change_priority() -> None:
    """The more severe holds until a person decides; both are told, both values are kept."""
    world, a, b = emergency()
    journal = [a.operation(ChangePriority("c1", "P1")), a.operation(AddNote("c1", "n1", "worse"))]
    assert b.do(ChangePriority("c1", "P0")).kind is MERGED
    assert [one.verdict.kind for one in world.agree(*journal).decided] == [CONFLICT, APPLIED]
    assert values(world.case(), "priority") == ["P0", "P1"]
    assert len(notes(world.case())) == 1
    a.heal()
    assert a.do(DecideConflict("case", "c1", "priority", "", "P1")).kind is APPLIED
    assert values(world.case(), "priority") == ["P1"]
    world.check()


def test_both_engage_one_vehicle() -> None:
    """The owner's engagement holds, the stranger's is shown beside it, for the owner to accept."""
    world, a, b = emergency()
    journal = a.operation(EngageResource("r1", "c1"))
    b.do(creation("c2", B))
    assert b.do(EngageResource("r1", "c2")).kind is PROPOSED
    assert world.verdict(journal).kind is APPLIED
    assert world.resource().serves == "c1"
    assert proposals(world.resource(), "engagement") == ['{"case":"c2"}']
    assert [one.state for one in world.case("c2").engagements] == ["proposed"]


def test_both_engage_one_vehicle_after_a_take_over() -> None:
    """Both had the right as far as they knew: a double engagement, the present charge holds meanwhile."""
    world, a, b = emergency()
    journal = [a.operation(EngageResource("r1", "c1")), a.operation(about("r1", "c1", status("DECLENCHE")))]
    b.do(TakeOver(A, B, 1, "drowned"))
    b.do(creation("c2", B))
    assert b.do(EngageResource("r1", "c2")).kind is APPLIED
    assert [one.verdict.kind for one in world.agree(*journal).decided] == [CONFLICT, MERGED]
    assert world.resource().serves == "c2"
    (conflict,) = queries.list_conflicts(world.records, A)
    assert [value.value for value in conflict.values] == ['{"case":"c2"}', '{"case":"c1"}']
    assert {one.state for one in (*world.case("c1").engagements, *world.case("c2").engagements)} == {"conflict"}
    world.check()


def test_both_close() -> None:
    """Closed once; the second to arrive is told that it was so already."""
    world, a, b = emergency()
    journal = a.operation(CloseCase("c1"))
    b.do(TakeOver(A, B, 1, "drowned"))
    assert b.do(CloseCase("c1")).kind is APPLIED
    assert world.verdict(journal).kind is MERGED
    assert not world.case().open
    assert world.case().conflicts == ()


def test_one_closes_while_the_other_treats() -> None:
    """Under the old epoch a closing does not win over the one who is in charge: it is proposed."""
    world, a, b = emergency()
    journal = a.operation(CloseCase("c1"))
    b.do(TakeOver(A, B, 1, "drowned"))
    b.do(AddNote("c1", "n1", "still here"))
    assert world.verdict(journal).kind is PROPOSED
    assert world.case().open
    assert len(notes(world.case())) == 1


def test_a_closing_and_a_reopening_apart() -> None:
    """Neither comes back by itself: the closing that the re-opener had not seen stands, and the re-opener is told."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("status", "CLOTURE", A)))
    backup = (a.last, world.index)
    a.do(update("c1", Fact("status", "CLASSE", A)))
    restored = Site(A, b"\7" * 16, world, seen=backup[1])
    opening = Opening(a.incarnation, backup[0], a.incarnation)
    assert world.verdict(restored.numbered(0, opening)).kind is APPLIED
    assert restored.do(ReopenCase("c1")).kind is SUPERSEDED
    assert not world.case().open
    assert past(world.case(), "status") == ["CLOTURE", "ACTIF"]
    restored.heal()
    assert restored.do(ReopenCase("c1")).kind is APPLIED
    assert world.case().open


def test_two_closings_apart_are_two_to_undo() -> None:
    """Who saw only one of them, whichever, has not decided about the other: the case stays closed."""
    for saw_first in (True, False):
        world, a, _ = two_sites()
        a.do(creation("c1", A, Fact("status", "ACTIF", A)))
        backup = (a.last, world.index)
        a.do(CloseCase("c1"))
        restored = Site(A, b"\7" * 16, world, seen=backup[1])
        assert world.verdict(restored.numbered(0, Opening(a.incarnation, backup[0], a.incarnation))).kind is APPLIED
        assert restored.do(CloseCase("c1")).kind is MERGED
        undoes = restored
        if saw_first:
            undoes = Site(A, b"\6" * 16, world, seen=backup[1] + 1)
            opening = Opening(a.incarnation, a.last, restored.incarnation)
            assert world.verdict(undoes.numbered(0, opening)).kind is APPLIED
        assert undoes.do(ReopenCase("c1")).kind is SUPERSEDED
        assert not world.case().open
        assert world.case().conflicts == ()


def test_the_owner_changes_while_the_other_writes() -> None:
    """What the former owner wrote meanwhile is merged under the new one; nothing of it is lost."""
    world, a, b = emergency()
    journal = [
        a.operation(update("c1", Fact("whats_happen", "fall"))),
        a.operation(ChangePriority("c1", "P0")),
        a.operation(AddNote("c1", "n1", "bleeding")),
    ]
    assert b.do(update("c1", Fact("owner", B), sender=B)).kind is MERGED
    assert b.do(ChangePriority("c1", "P3")).kind is APPLIED
    assert [one.verdict.kind for one in world.agree(*journal).decided] == [MERGED, CONFLICT, MERGED]
    case = world.case()
    assert (case.owner, values(case, "priority"), values(case, "whats_happen")) == (B, ["P0", "P3"], ["fall"])
    assert len(notes(case)) == 1
    world.check()


def test_the_owner_is_transferred_twice_apart() -> None:
    """One charge, two transfers: a conflict for a person, and the agreed one holds meanwhile."""
    world, a, b = emergency()
    world.open("fr.health.samu750", 3)
    journal = a.operation(TransferCase("c1", "fr.health.samu750"))
    assert b.do(update("c1", Fact("owner", B), sender=B)).kind is MERGED
    assert world.verdict(journal).kind is CONFLICT
    assert values(world.case(), "owner") == [B, "fr.health.samu750"]
    (conflict,) = queries.list_conflicts(world.records)
    assert (conflict.field, conflict.owner) == ("owner", B)
    assert b.do(DecideConflict("case", "c1", "owner", "", B)).kind is APPLIED
    assert queries.list_conflicts(world.records) == []


def test_a_whole_emergency_with_a_cut_in_the_middle_holds_what_it_would_without() -> None:
    """Alert, case, engagement, statuses, notes, closing: the values that hold are the same; verdicts may differ."""

    def play(cut_at: int | None) -> World:
        world, a, b = two_sites()
        b.do(vehicle("r9", B))
        journal = []
        story = (
            (a, creation("c1", A, Fact("priority", "P2"), Fact("status", "ACTIF", A), message="1")),
            (a, vehicle("r1", A, "c1")),
            (a, about("r1", "c1", status("DECLENCHE", 1), message="3")),
            (b, update("c1", Fact("medical_note", '{"freetext":"conscious"}', "n1", 1), message="4", sender=B)),
            (a, about("r1", "c1", status("ARRIVEE", 3), message="5")),
            (a, update("c1", Fact("priority", "P1"), message="6")),
            (b, update("c1", Fact("decision", '{"decisionType":"INTER"}', "", 2), message="7", sender=B)),
            (a, about("r1", "c1", status("RETOUR", 4), message="8")),
            (a, update("c1", Fact("status", "CLOTURE", A), message="9")),
        )
        for place, (site, payload) in enumerate(story):
            if place == cut_at:
                a.cut()
            if site is a and cut_at is not None and place >= cut_at:
                journal.append(a.operation(payload))
            else:
                site.do(payload)
        for operation in journal:
            assert world.verdict(operation).kind is not SUPERSEDED
        return world

    def holding(world: World) -> object:
        case, resource = world.case(), world.resource()
        held = {(one.field, one.key): one.values[0].value for one in (*case.fields, *case.statuses, *resource.fields)}
        return held, sorted(notes(case)), case.open, resource.serves, resource.status

    wanted = holding(play(None))
    for cut_at in range(1, 9):
        assert holding(play(cut_at)) == wanted, cut_at
