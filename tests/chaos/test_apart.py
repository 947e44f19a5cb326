"""One promise of cut off and back a test, in the shortest form in which breaking it shows: what the mutants of
chaos/mutants/apart.py are held against.

The merge, authority, lives. Two or three sites and one log (tests/cases/world.py); what a site's own core promises has
its short tests in tests/offline, but for one.
"""

from __future__ import annotations

from replica.cases import queries
from replica.cases.commands import (
    AddNote,
    ChangePriority,
    CloseCase,
    EngageResource,
    Fact,
    HandBack,
    Opening,
    Payload,
    TakeOver,
)
from replica.cases.operations import Operation
from replica.offline.events import Agreed
from tests.cases.world import (
    APPLIED,
    CONFLICT,
    MERGED,
    NOON,
    PROPOSED,
    REFUSED,
    SUPERSEDED,
    A,
    B,
    C,
    Site,
    World,
    creation,
    notes,
    past,
    proposals,
    three_sites,
    two_sites,
    update,
    values,
    vehicle,
)
from tests.offline.solo import Solo


def apart(*said: Payload) -> tuple[World, Site, Site]:
    """A's case is known to both; A says the first of `said` and B the second, neither having seen the other."""
    world, a, b = two_sites()
    a.do(creation())
    for site in (a, b):
        site.cut()
    for site, payload in zip((a, b), said, strict=False):
        site.do(payload)
    return world, a, b


def reborn(site: Site, counted: int) -> Site:
    """The next life of a site, out of a store that had counted so far."""
    other = Site(site.name, bytes((9,)) * 16, site.world, seen=site.seen, epoch=site.epoch)
    assert site.world.verdict(other.numbered(0, Opening(site.incarnation, counted, site.incarnation))).kind is APPLIED
    return other


# --- what was written apart ---


def test_the_more_severe_of_two_written_apart_holds() -> None:
    """Whichever was agreed first; and both stay for a person."""
    world, *_ = apart(ChangePriority("c1", "P2"), ChangePriority("c1", "P0"))
    assert values(world.case(), "priority") == ["P0", "P2"]


def test_equal_values_written_apart_are_both_kept() -> None:
    """Who saw only one of them has not seen the other."""
    world, *_ = apart(ChangePriority("c1", "P2"), ChangePriority("c1", "P2"))
    assert values(world.case(), "priority") == ["P2", "P2"]
    assert world.case().conflicts == ()


def test_authority_erases_nothing_that_it_never_saw() -> None:
    """The owner's word comes last, and the stranger's stays beside it."""
    world, a, b = two_sites()
    a.do(creation())
    a.cut()
    b.do(ChangePriority("c1", "P1"))
    assert a.do(ChangePriority("c1", "P3")).kind is CONFLICT
    assert values(world.case(), "priority") == ["P1", "P3"]


def test_the_latest_is_so_by_the_hybrid_clock_and_not_by_the_act() -> None:
    """What a message says of its own hour orders nothing but what its rule says."""
    world, a, b = two_sites()
    a.do(creation())
    for site in (a, b):
        site.cut()
    a.do(update("c1", Fact("origin", "told late")), act_ms=NOON - 3_600_000)
    b.clock_ms = -10_000
    assert b.do(update("c1", Fact("origin", "told early")), act_ms=NOON + 3_600_000).kind is SUPERSEDED
    assert world.case().value("origin") == "told late"


def test_a_clock_hours_ahead_wins_nothing_by_it() -> None:
    """Half a second ahead of the leader's time is all that is believed."""
    world, a, b = two_sites()
    a.do(creation())
    for site in (a, b):
        site.cut()
    a.clock_ms, b.clock_ms = 3 * 3_600_000, 1000
    a.do(update("c1", Fact("origin", "from tomorrow")))
    b.do(update("c1", Fact("origin", "from now")))
    assert world.case().value("origin") == "from now"


def test_a_restored_site_has_not_seen_its_lost_life() -> None:
    """Never "the same site": what the lost life did stays beside what the next one does."""
    world, a, _ = two_sites()
    a.do(creation())
    a.cut()
    a.do(ChangePriority("c1", "P1"))
    restored = reborn(a, 1)
    assert restored.do(ChangePriority("c1", "P3")).kind is CONFLICT
    assert values(world.case(), "priority") == ["P1", "P3"]


def test_the_entry_right_behind_what_was_seen_is_unseen() -> None:
    """An author that had seen entry 3 had not seen entry 4."""
    _world, a, b = two_sites()
    a.do(creation())
    b.cut()
    a.do(ChangePriority("c1", "P1"))
    assert b.do(ChangePriority("c1", "P3")).kind is CONFLICT


def test_a_cut_off_site_has_seen_its_own_journal() -> None:
    """Its later word takes the place of its earlier one, agreed or not."""
    world, a, _ = two_sites()
    a.do(creation())
    a.cut()
    a.do(ChangePriority("c1", "P1"))
    assert a.do(ChangePriority("c1", "P3")).kind is APPLIED
    assert values(world.case(), "priority") == ["P3"]
    again = reborn(a, a.last)
    assert again.do(ChangePriority("c1", "P2")).kind is APPLIED


def test_two_notes_of_one_id_are_two() -> None:
    """Real input reuses one id for two different notes."""
    world, *_ = apart(
        update("c1", Fact("medical_note", "breathes", "n")), update("c1", Fact("medical_note", "no", "n"))
    )
    assert sorted(notes(world.case())) == ["breathes", "no"]


def test_a_value_that_gave_way_is_in_the_history() -> None:
    """Replaced by who had seen it, it is still to be read."""
    world, a, _ = two_sites()
    a.do(creation())
    a.do(ChangePriority("c1", "P1"))
    a.do(ChangePriority("c1", "P3"))
    assert past(world.case(), "priority") == ["P1"]


def test_every_verdict_but_applied_is_kept_for_its_site() -> None:
    """So that a site away for a week still learns the fate of each act; what is not kept was applied."""
    world, a, b = two_sites()
    a.do(creation())
    operation = b.operation(AddNote("c1", "n", "text"))
    assert world.verdict(operation).kind is MERGED
    kept = queries.verdict_of(world.records, operation.id)
    assert kept is not None
    assert kept[1].kind is MERGED


# --- who decides ---


def test_what_a_stranger_decides_waits_for_whoever_is_in_charge() -> None:
    """A case is not closed by a stranger's word, and the word is not lost."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "ACTIF", A)))
    assert b.do(CloseCase("c1")).kind is PROPOSED
    assert world.case().open
    assert proposals(world.case(), "status", A) == ["CLOTURE"]


def test_a_strangers_engagement_waits_for_the_vehicles_owner() -> None:
    """It serves nobody by it."""
    world, a, b = two_sites()
    a.do(vehicle("r1", A))
    b.do(creation("c2", B))
    assert b.do(EngageResource("r1", "c2")).kind is PROPOSED
    found = queries.read_resource(world.records, "r1")
    assert found is not None
    assert (found.serves, len(proposals(found, "engagement"))) == ("", 1)


def taken() -> tuple[World, Site, Site, Site]:
    """B has taken over A's work, which has the case c1."""
    world, a, b, c = three_sites()
    a.do(creation())
    a.cut()
    assert b.do(TakeOver(A, B, 1, "drowned")).kind is APPLIED
    return world, a, b, c


def test_an_operation_under_an_old_epoch_is_a_strangers() -> None:
    """Though its author's state had the entry that ended it: the epoch is what it went by."""
    _world, a, b, _ = taken()
    b.do(HandBack(A, "over"))
    a.heal()
    a.epoch = 1
    assert a.do(ChangePriority("c1", "P3")).kind is MERGED
    a.epoch = 3
    assert a.do(ChangePriority("c1", "P2")).kind is APPLIED


def test_who_was_given_the_charge_has_it_once_it_has_seen_that() -> None:
    """C is given A's work, and does not know it yet."""
    _world, a, b, c = three_sites()
    a.do(creation())
    c.cut()
    b.do(TakeOver(A, C, 1, "drowned"))
    assert c.do(ChangePriority("c1", "P3")).kind is MERGED
    assert c.heal().do(ChangePriority("c1", "P2")).kind is APPLIED


def test_a_drain_is_a_strangers() -> None:
    """Whatever its site is in charge of."""
    world, a, _ = two_sites()
    a.do(creation())
    reborn(a, a.last)
    drain = Site(A, bytes((8,)) * 16, world)
    world.verdict(drain.numbered(0, Opening(a.incarnation, a.last, None, drain=True)))
    assert drain.do(ChangePriority("c1", "P3")).kind is MERGED


def test_a_case_opened_after_the_take_over_is_its_sites_own() -> None:
    """It could not know, and nobody else knows of the case."""
    world, a, *_ = taken()
    a.do(creation("c9", A))
    assert world.case("c9").charge.holder == A
    assert a.do(CloseCase("c9")).kind is APPLIED


def test_of_two_take_overs_made_apart_one_is_refused() -> None:
    """Compared with the epoch its author saw."""
    world, _, _, c = taken()
    assert c.do(TakeOver(A, C, 1, "drowned")).kind is REFUSED
    assert world.case().charge.holder == B


def test_a_hand_back_raises_the_epoch() -> None:
    """Else the neighbour's old operations would count as the owner's, and the owner's old ones as well."""
    world, _, b, _ = taken()
    assert queries.epoch_of(world.records, A) == 2
    b.do(HandBack(A, "over"))
    assert queries.epoch_of(world.records, A) == 3
    assert b.do(ChangePriority("c1", "P3")).kind is MERGED


# --- what a site says to its people ---


def test_agreed_is_said_only_of_what_this_disk_has() -> None:
    """The verdict came before the own fsync's answer: nothing is said until that is here."""
    solo = Solo().connected()
    solo.issue()
    operation: Operation = solo.journal[-1]
    solo.agree(operation)
    assert solo.receipts(Agreed) == []
    solo.journalled()
    assert [receipt.operation for receipt in solo.receipts(Agreed)] == [operation.id]
