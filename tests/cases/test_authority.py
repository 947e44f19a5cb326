"""Authority: charges, epochs, take-over and hand-back, and the table of what a site may do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.cases import queries
from replica.cases.authority import TABLE, Permission, PermissionKind, Place, epoch_of, permitted, refusal, tag_of
from replica.cases.commands import (
    AddNote,
    AskHandBack,
    ChangeCareLevel,
    ChangePriority,
    CloseCase,
    Command,
    DecideConflict,
    EndTakeOver,
    EngageResource,
    Fact,
    ForceNewCluster,
    HandBack,
    Opening,
    RaiseLevel,
    RegisterOrganisation,
    ReleaseResource,
    ReopenCase,
    SetStatus,
    TakeOver,
    TransferCase,
)
from replica.cases.decisions import timestamp
from replica.cases.levels import HIGHEST_LEVEL
from tests.cases.world import (
    APPLIED,
    CONFLICT,
    FIRE,
    MERGED,
    PROPOSED,
    REFUSED,
    A,
    B,
    C,
    Site,
    World,
    creation,
    three_sites,
    two_sites,
    update,
    values,
    vehicle,
)

ALLOWED, NOTE, NO = PermissionKind.ALLOWED, PermissionKind.NOTE, PermissionKind.REFUSED

SAMPLES: dict[str, Command] = {
    "change-priority": ChangePriority("c1", "P1"),
    "change-care-level": ChangeCareLevel("c1", "R1"),
    "add-note": AddNote("c1", "n", "text"),
    "set-status": SetStatus("r1", "c1", "DEPART"),
    "engage-resource": EngageResource("r1", "c1"),
    "release-resource": ReleaseResource("r1", "c1"),
    "transfer-case": TransferCase("c1", C),
    "close-case": CloseCase("c1"),
    "reopen-case": ReopenCase("c1"),
    "register-organisation": RegisterOrganisation("x", "y"),
    "take-over": TakeOver(A, B, 1, "drowned"),
    "hand-back": HandBack(A, "back"),
    "ask-hand-back": AskHandBack(B, "back"),
    "end-take-over": EndTakeOver(A, 2),
    "decide-conflict": DecideConflict("case", "c1", "priority", "", "P1"),
    "decide-conflict (owner)": DecideConflict("case", "c1", "owner", "", B),
    "raise-level": RaiseLevel(HIGHEST_LEVEL),
    "force-new-cluster": ForceNewCluster("someone", 1, "france", 7, 1),
}


# --- the table ---


def test_every_command_has_a_row() -> None:
    """The table answers for every command, and this file has a sample of each."""
    assert set(SAMPLES) == set(TABLE)
    assert {tag_of(sample) for sample in SAMPLES.values()} == set(TABLE)
    assert {type(sample) for sample in SAMPLES.values()} == set(get_args(Command))
    assert all(len(row) == 2 * len(Place) for row in TABLE.values())


def standing(place: Place) -> World:
    """A world in which case and vehicle belong to A (asked as A: here; as C: elsewhere) or to nobody of ours."""
    world, a, *_ = three_sites()
    owner = FIRE if place is Place.NOBODY else A
    a.do(creation("c1", owner))
    a.do(vehicle("r1", owner))
    if place is Place.HERE:
        a.do(TakeOver(B, A, 1, "for hand-back"))
    return world


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("place", list(Place))
def test_the_answer_is_the_tables(place: Place, connected: bool) -> None:
    """Command × (owner here / elsewhere / nobody's) × (connected / cut off), for all of them."""
    world = standing(place)
    asking = A if place is Place.HERE else B
    for tag, sample in SAMPLES.items():
        command: Command = HandBack(B, "back") if tag == "hand-back" else sample
        if tag in ("register-organisation", "take-over", "end-take-over", "raise-level", "force-new-cluster"):
            continue  # about no case or resource: the same in every place, see below
        if tag == "ask-hand-back":
            continue  # about a Samu's work as a whole (test_returning.py)
        answer = permitted(world.records, asking, command, connected)
        if tag == "hand-back" and place is not Place.HERE:
            assert answer.kind is NO
            continue
        assert answer.kind is TABLE[tag][(place, connected)], (tag, place, connected)
        assert bool(answer.reason) == (answer.kind is not ALLOWED)


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("place", list(Place))
@pytest.mark.parametrize("known", [True, False])
def test_a_refusal_is_the_permissions_own(place: Place, connected: bool, known: bool) -> None:
    """Whether it is told from the subject's being there alone, or from who is in charge."""
    world = standing(place) if known else two_sites()[0]
    for site in (A, B):
        for sample in SAMPLES.values():
            answer = permitted(world.records, site, sample, connected)
            expected = answer.reason if answer.kind is NO else None
            assert refusal(world.records, site, sample, connected) == expected


def test_what_concerns_no_case_needs_the_quorum() -> None:
    """Registry, take-over and level are quorum decisions."""
    world, _, _ = two_sites()
    for tag in ("register-organisation", "take-over", "end-take-over", "raise-level"):
        assert permitted(world.records, A, SAMPLES[tag], True) == Permission(ALLOWED)
        refused = permitted(world.records, A, SAMPLES[tag], False)
        assert refused.kind is NO
        assert "cut off" in refused.reason


def test_a_cut_off_site_does_everything_to_its_own_and_reports_on_the_rest() -> None:
    """The sense of the table, in one line each."""
    world, a, b = two_sites()
    a.do(creation("c1", A))
    a.do(vehicle("r1", A))
    assert permitted(world.records, A, CloseCase("c1"), False).kind is ALLOWED
    assert permitted(world.records, A, EngageResource("r1", "c1"), False).kind is ALLOWED
    assert permitted(world.records, B, AddNote("c1", "n", "t"), False).kind is NOTE
    assert permitted(world.records, B, EngageResource("r1", "c1"), False).kind is NO
    assert permitted(world.records, A, TransferCase("c1", B), False).kind is NO
    assert b.name == B


def test_who_receives_a_case_may_take_it() -> None:
    """A transfer is the present owner's or the named new one's."""
    world, a, _ = two_sites()
    a.do(creation("c1", A))
    assert permitted(world.records, B, TransferCase("c1", B), True).kind is ALLOWED
    assert permitted(world.records, B, TransferCase("c1", C), True).kind is NOTE


def test_what_nobody_knows_is_refused_before_any_journal() -> None:
    """A person cannot act on a case that is not there."""
    world, _, _ = two_sites()
    assert permitted(world.records, A, CloseCase("c9"), True).reason == "there is no case c9 here"


# --- take-over, hand-back ---


def taken() -> tuple[World, Site, Site]:
    """A's case c1, and A's work taken over by B while A was cut off."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("priority", "P2"), Fact("status", "ACTIF")))
    a.do(vehicle("r1", A))
    a.cut()
    assert b.do(TakeOver(A, B, epoch_of(world.records, A), "drowned")).kind is APPLIED
    return world, a, b


def test_a_take_over_moves_the_charge_and_raises_the_epoch() -> None:
    """Rule 13; everything is recorded: who, when, why, from which index."""
    world, _, b = taken()
    assert world.case().charge.holder == B
    assert world.resource().charge.holder == B
    assert epoch_of(world.records, A) == 2
    assert b.do(ChangePriority("c1", "P1")).kind is APPLIED
    (change,) = queries.charge_changes(world.records, A)
    assert (change.before, change.holder, change.epoch, change.reason, change.index) == (A, B, 2, "drowned", 5)


def test_a_take_over_is_compared_with_the_epoch() -> None:
    """Compare-and-set: of two that saw the same epoch one is refused, and told."""
    world, a, b, c = three_sites()
    a.do(creation())
    one, two = b.operation(TakeOver(A, B, 1, "x")), c.operation(TakeOver(A, C, 1, "y"))
    assert world.verdict(one).kind is APPLIED
    refused = world.verdict(two)
    assert refused.kind is REFUSED
    assert B in refused.reason
    assert world.case().charge.holder == B


def test_operations_under_the_old_epoch_are_merged_as_a_strangers() -> None:
    """Never lost, never silently winning."""
    world, a, b = taken()
    assert a.do(ChangePriority("c1", "P3")).kind is MERGED
    b.do(ChangePriority("c1", "P0"))
    assert a.do(ChangePriority("c1", "P2")).kind is CONFLICT
    assert values(world.case(), "priority") == ["P0", "P2"]


def test_a_closing_under_the_old_epoch_does_not_close_what_the_neighbour_treats() -> None:
    """A decision without authority is proposed to whoever is in charge."""
    world, a, b = taken()
    assert a.do(CloseCase("c1")).kind is PROPOSED
    assert world.case().open
    assert b.do(CloseCase("c1")).kind is APPLIED
    assert not world.case().open
    assert a.do(CloseCase("c1")).kind is MERGED


def test_an_engagement_under_the_old_epoch_never_holds_over_the_neighbours() -> None:
    """I8: both are shown, the one in charge holds; alone it stands, for the vehicle has really left."""
    world, a, b = taken()
    b.do(creation("c2", B))
    assert a.do(EngageResource("r1", "c1")).kind is MERGED
    assert world.resource().serves == "c1"
    b.do(EngageResource("r1", "c2"))
    assert a.do(EngageResource("r1", "c1")).kind is CONFLICT
    assert world.resource().serves == "c2"


def test_cases_opened_after_the_take_over_are_the_sites_own() -> None:
    """Rule 13: it opened them cut off, under the old epoch."""
    world, a, b = taken()
    assert a.do(creation("c9", A)).kind is APPLIED
    assert a.do(ChangePriority("c9", "P1")).kind is APPLIED
    assert world.case("c9").charge.holder == A
    assert b.do(CloseCase("c9")).kind is PROPOSED


def test_hand_back_returns_the_charge_and_only_who_holds_it_can_give_it() -> None:
    """An operation in the issuer's own sequence; it raises the epoch."""
    world, a, b = taken()
    assert a.do(HandBack(A, "mine")).kind is REFUSED
    b.do(ChangePriority("c1", "P0"))
    assert b.do(HandBack(A, "you are back")).kind is APPLIED
    assert (world.case().charge.holder, epoch_of(world.records, A)) == (A, 3)
    assert b.do(ChangePriority("c1", "P1")).kind is MERGED
    assert b.do(HandBack(A, "again")).kind is REFUSED


def test_after_a_hand_back_the_site_has_authority_once_it_has_seen_it() -> None:
    """Rule 12: its operations from before, under the old epoch, have none."""
    world, a, b = taken()
    b.do(HandBack(A, "you are back"))
    assert a.do(ChangePriority("c1", "P1")).kind is MERGED
    a.heal()
    assert a.do(ChangePriority("c1", "P2")).kind is APPLIED
    assert world.case().charge.epoch == 3


def test_a_taker_acts_on_its_own_take_over_before_it_sees_it_agreed() -> None:
    """The raising is in its own journal's past (rule 10)."""
    world, a, b = two_sites()
    a.do(creation())
    b.cut()
    b.do(TakeOver(A, B, 1, "x"))
    assert b.do(CloseCase("c1")).kind is APPLIED
    assert not world.case().open


def test_a_chain_of_take_overs() -> None:
    """A by B, then B is cut off and C takes both; hand-back by hand-back."""
    world, a, b, c = three_sites()
    a.do(creation("c1", A))
    b.do(creation("c2", B))
    b.do(TakeOver(A, B, 1, "x"))
    b.cut()
    c.do(TakeOver(A, C, 2, "y"))
    c.do(TakeOver(B, C, 1, "y"))
    assert (world.case("c1").charge.holder, world.case("c2").charge.holder) == (C, C)
    assert b.do(CloseCase("c1")).kind is PROPOSED
    assert b.do(HandBack(A, "late")).kind is REFUSED
    c.do(HandBack(A, "z"))
    assert (world.case("c1").charge.holder, world.case("c2").charge.holder) == (A, C)


def test_chosen_cases_are_taken_and_handed_back_one_by_one() -> None:
    """Case by case or all at once; the rest stays its owner's, with its authority."""
    world, a, b = two_sites()
    a.do(creation("c1", A))
    a.do(creation("c2", A))
    a.cut()
    assert b.do(TakeOver(A, B, 1, "x", ("c1",))).kind is APPLIED
    assert (world.case("c1").charge.holder, world.case("c2").charge.holder) == (B, A)
    assert a.do(ChangePriority("c2", "P1")).kind is APPLIED
    assert a.do(ChangePriority("c1", "P1")).kind is MERGED
    assert b.do(HandBack(A, "x", ("c2",))).kind is REFUSED
    assert b.do(HandBack(A, "x", ("c1",))).kind is APPLIED
    assert world.case("c1").charge.holder == A
    a.heal()
    assert a.do(ChangePriority("c1", "P3")).kind is APPLIED


def test_of_all_that_was_taken_one_case_may_go_back_first() -> None:
    """The taken ones are handed back case by case; the rest follows with everything."""
    world, a, b = taken()
    a.heal()
    a.do(creation("c3", A))
    b.do(HandBack(A, "x", ("c1",)))
    assert (world.case().charge.holder, world.resource().charge.holder) == (A, B)
    b.do(HandBack(A, "x"))
    assert (world.case().charge.holder, world.resource().charge.holder) == (A, A)


def test_a_later_take_over_of_everything_takes_what_was_delegated() -> None:
    """Whole means whole."""
    world, a, b, c = three_sites()
    a.do(creation("c1", A))
    b.do(TakeOver(A, B, 1, "x", ("c1",)))
    c.do(TakeOver(A, C, 2, "y"))
    assert world.case().charge.holder == C


def test_with_everything_goes_back_what_the_issuer_held_case_by_case() -> None:
    """A delegation of its own ends with the hand-back of everything, another's does not."""
    world, a, b, c = three_sites()
    for case in ("c1", "c2"):
        a.do(creation(case, A))
    b.do(TakeOver(A, B, 1, "x"))
    b.do(TakeOver(A, B, 2, "x", ("c1",)))
    c.do(TakeOver(A, C, 3, "x", ("c2",)))
    b.do(HandBack(A, "x"))
    assert (world.case("c1").charge.holder, world.case("c2").charge.holder) == (A, C)


def test_a_case_taken_anew_after_everything_was_handed_back_is_its_takers() -> None:
    """The hand-back ended what the taker held then, not what it takes later."""
    world, a, b = two_sites()
    a.do(creation("c1", A))
    a.do(creation("c2", A))
    b.do(TakeOver(A, B, 1, "x", ("c1",)))
    b.do(TakeOver(A, B, 2, "x"))
    b.do(HandBack(A, "x"))
    assert world.case("c1").charge.holder == A
    assert b.do(TakeOver(A, B, 4, "again", ("c1",))).kind is APPLIED
    assert (world.case("c1").charge.holder, world.case("c2").charge.holder) == (B, A)
    assert b.do(CloseCase("c1")).kind is APPLIED


def test_a_transfer_ends_a_delegation() -> None:
    """The charge of one case was delegated as part of its former owner's work."""
    world, a, b, c = three_sites()
    a.do(creation("c1", A))
    c.do(creation("c9", C))
    b.do(TakeOver(C, B, 1, "x", ("c9",)))
    b.do(TakeOver(A, B, 1, "x", ("c1",)))
    b.do(TransferCase("c1", C))
    assert (world.case().owner, world.case().charge.holder) == (C, C)
    world.check()


def test_nonsense_about_charges_is_refused() -> None:
    """Unknown Samu, unknown taker, unknown case, another's case, what is held already, a fenced process."""
    world, a, b = two_sites()
    a.do(creation("c1", A))
    for command in (
        TakeOver(FIRE, B, 1, "x"),
        TakeOver(A, FIRE, 1, "x"),
        TakeOver(A, A, 1, "x"),
        TakeOver(A, B, 1, "x", ("c9",)),
        TakeOver(B, A, 1, "x", ("c1",)),
        HandBack(FIRE, "x"),
        HandBack(B, "x", ("c9",)),
        HandBack(B, "x", ("c1",)),
    ):
        assert b.do(command).kind is REFUSED, command
    drain = Site(B, b"\x09" * 16, world)
    world.verdict(drain.numbered(0, Opening(b.incarnation, b.last, None, drain=True)))
    assert drain.do(TakeOver(A, B, 1, "x")).kind is REFUSED


def test_a_fenced_process_does_not_take_a_case_for_its_own() -> None:
    """The named new owner may transfer a case to itself; what comes under a drain is a stranger's, whatever its site
    (rule 8)."""
    world, a, b = two_sites()
    a.do(creation("c1", A))
    drain = Site(B, b"\x09" * 16, world)
    world.verdict(drain.numbered(0, Opening(b.incarnation, b.last, None, drain=True)))
    assert drain.do(TransferCase("c1", B)).kind is PROPOSED
    assert world.case().owner == A
    assert b.do(TransferCase("c1", B)).kind is MERGED
    assert world.case().owner == B


def test_a_decision_about_what_does_not_exist_is_let_through_and_refused_when_it_is_applied() -> None:
    """The table is asked before the rules are: a field nobody knows is nobody's owner, a kind nobody knows nobody's."""
    world, a, _ = two_sites()
    a.do(creation("c1", A))
    colour = DecideConflict("case", "c1", "colour", "", "red")
    weather = DecideConflict("weather", "c1", "priority", "", "P1")
    assert (tag_of(colour), tag_of(weather)) == ("decide-conflict", "decide-conflict")
    for command in (colour, weather):
        assert permitted(world.records, A, command, True) == Permission(ALLOWED)
        assert a.do(command).kind is REFUSED


def test_chosen_cases_are_handed_back_by_whoever_holds_all_of_them() -> None:
    """Asked before anything is journalled: one that another holds, or that nobody knows, and it is not here to do."""
    world, a, b, c = three_sites()
    for case in ("c1", "c2", "c3"):
        a.do(creation(case, A))
    b.do(TakeOver(A, B, 1, "x", ("c1", "c2")))
    c.do(TakeOver(A, C, 2, "x", ("c3",)))
    assert permitted(world.records, B, HandBack(A, "x", ("c1", "c2")), True) == Permission(ALLOWED)
    for cases, holder in ((("c1", "c3"), A), (("c3",), C), (("c1", "nowhere"), A), (("nowhere",), A)):
        refused = permitted(world.records, B, HandBack(A, "x", cases), True)
        assert (refused.kind, refused.reason) == (NO, f"{holder} is in charge"), cases
    assert permitted(world.records, B, HandBack(A, "x", ("c1",)), False).reason == "cut off"
    assert permitted(world.records, B, HandBack(FIRE, "x"), True).kind is NO


# --- registry ---


def test_an_entry_of_the_registry_its_author_had_not_seen_is_not_overwritten() -> None:
    """Who serves whom decides authority: no divergent write is lost without a word."""
    world, a, b = two_sites()
    b.cut()
    assert a.do(RegisterOrganisation("x", A)).kind is APPLIED
    refused = b.do(RegisterOrganisation("x", B))
    assert refused.kind is REFUSED
    assert A in refused.reason
    assert b.do(RegisterOrganisation("x", A)).kind is APPLIED
    b.heal()
    assert b.do(RegisterOrganisation("x", B)).kind is APPLIED
    assert queries.site_of(world.records, "x") == B
    assert a.do(RegisterOrganisation("", B)).kind is REFUSED
    assert [one.alias for one in queries.organisations(world.records)] == ["x"]


def test_a_ring_of_aliases_ends() -> None:
    """Two entries that name each other are nobody's, not an endless loop."""
    world, a, _ = two_sites()
    a.do(RegisterOrganisation("x", "y"))
    a.do(RegisterOrganisation("y", "x"))
    assert queries.site_of(world.records, "x") == ""
    assert a.do(creation("c1", "x")).kind is MERGED
    assert a.do(update("c1", Fact("origin", "15"))).kind is MERGED


# --- commands that make no sense ---


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (ChangePriority("c9", "P1"), "there is no case c9"),
        (AddNote("c9", "n", "text"), "there is no case c9"),
        (TransferCase("c9", B), "there is no case c9"),
        (TransferCase("c1", ""), "c1 cannot be handed to nobody"),
        (CloseCase("c9"), "there is no case c9"),
        (ReopenCase("c9"), "there is no case c9"),
        (SetStatus("r9", "c1", "DEPART"), "there is no resource r9"),
        (SetStatus("r1", "c1", "LOST"), "status is 'LOST', not one of DECISION"),
        (EngageResource("r9", "c1"), "there is no resource r9"),
        (EngageResource("r1", ""), "engaging r1 needs a case"),
        (ReleaseResource("r9", "c1"), "there is no resource r9"),
        (ReleaseResource("r1", "c1"), "r1 does not serve c1"),
        (RegisterOrganisation("x", ""), "an entry of the registry needs an alias and an organisation"),
        (DecideConflict("case", "c9", "priority", "", "P1"), "there is no case c9"),
        (DecideConflict("case", "c1", "colour", "", "red"), "a case has no field 'colour'"),
        (DecideConflict("weather", "c1", "priority", "", "P1"), "a weather has no field 'priority'"),
        (DecideConflict("case", "c1", "priority", "", "P7"), "priority is 'P7', not one of P0 P1 P2 P3 NR"),
        (DecideConflict("case", "c1", "priority", "k", "P1"), "priority takes no key, but has 'k'"),
        (DecideConflict("case", "c1", "origin", "", "15"), "origin of c1 has nothing to decide (its rule: latest)"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(command: Command, reason: str) -> None:
    """Only that is refused; it uses its number, and nothing of it is applied."""
    world, a, _ = two_sites()
    a.do(creation("c1", A))
    a.do(vehicle("r1", A))
    before = world.case(), world.resource()
    verdict = a.do(command)
    assert verdict.kind is REFUSED
    assert verdict.reason.startswith(reason)
    seen = world.case()
    assert (seen.fields, seen.elements, seen.statuses) == (before[0].fields, before[0].elements, before[0].statuses)
    assert world.resource() == before[1]
    assert a.do(ChangePriority("c1", "P1")).kind is APPLIED


def test_a_note_about_a_patient_names_the_patient() -> None:
    """In the standard's own words, so that it goes out as it came in."""
    world, a, _ = two_sites()
    a.do(creation("c1", A))
    a.do(AddNote("c1", "n1", "fever", "p1", "MEDECIN"))
    (note,) = world.case().elements
    assert msgspec.json.decode(note.value.value) == {
        "creation": "2023-11-14T22:13:23+00:00",
        "freetext": "fever",
        "medicalNoteId": "n1",
        "operator": {"role": "MEDECIN"},
        "patientId": "p1",
    }


@given(st.integers(-62135596800, 253402300799))
def test_a_note_is_dated_as_the_calendar_has_it(seconds: int) -> None:
    """Every day of the years 1 to 9999, leap days and the months before March among them; without the library whose
    answer it is compared with."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert timestamp(1000 * seconds) == moment.isoformat()


@pytest.mark.parametrize(
    ("ms", "written"),
    [
        (1_709_164_799_999, "2024-02-28T23:59:59+00:00"),
        (1_709_164_800_000, "2024-02-29T00:00:00+00:00"),
        (1_709_251_200_000, "2024-03-01T00:00:00+00:00"),
        (1_735_689_599_999, "2024-12-31T23:59:59+00:00"),
        (1_735_689_600_000, "2025-01-01T00:00:00+00:00"),
        (-(10**18), "0001-01-01T00:00:00+00:00"),
        (10**18, "9999-12-31T23:59:59+00:00"),
    ],
)
def test_the_edges_of_the_calendar_are_dated_right(ms: int, written: str) -> None:
    assert timestamp(ms) == written
