"""Each rule of fields.py, seen and apart: rules 10 to 12 and the merge column of the domain."""

from __future__ import annotations

from replica.cases import queries
from replica.cases.commands import AddNote, ChangeCareLevel, ChangePriority, DecideConflict, Fact, Report, Subject
from replica.cases.operations import OperationId
from tests.cases.world import (
    APPLIED,
    CONFLICT,
    MERGED,
    NOON,
    REFUSED,
    SUPERSEDED,
    A,
    B,
    Site,
    World,
    about,
    creation,
    notes,
    past,
    report,
    three_sites,
    two_sites,
    update,
    values,
    vehicle,
)


def opened(*said: Fact) -> tuple[World, Site, Site]:
    """A case of site A that both sites have seen."""
    world, a, b = two_sites()
    assert a.do(creation("c1", A, *said)).kind is APPLIED
    return world, a, b


# --- rule 11 and 12 ---


def test_a_write_that_saw_the_value_replaces_it_and_history_keeps_it() -> None:
    """None left: `applied`; the value replaced is in the history, with its author."""
    world, a, _ = opened(Fact("priority", "P0"))
    assert a.do(ChangePriority("c1", "P3")).kind is APPLIED
    assert values(world.case(), "priority") == ["P3"]
    (replaced,) = world.case().history
    assert (replaced.value.value, replaced.value.author, replaced.became) == ("P0", f"someone at {A}", "replaced")


def test_without_authority_what_saw_everything_is_merged() -> None:
    """None left: `merged` when without authority; it holds."""
    world, _, b = opened(Fact("priority", "P0"))
    verdict = b.do(ChangePriority("c1", "P3"))
    assert verdict.kind is MERGED
    assert [(one.field, one.rule) for one in verdict.findings] == [("priority", "no-authority")]
    assert values(world.case(), "priority") == ["P3"]


def test_authority_never_skips_the_seen_test() -> None:
    """Rule 12: the owner does not erase another's change that it never saw."""
    world, a, b = opened(Fact("priority", "P3"))
    a.cut()
    assert b.do(ChangePriority("c1", "P0")).kind is MERGED
    assert a.do(ChangePriority("c1", "P2")).kind is CONFLICT
    assert values(world.case(), "priority") == ["P0", "P2"]


def test_a_third_write_that_saw_only_the_holder_keeps_the_hidden_one() -> None:
    """Rule 4: siblings, not the holder alone, are what a write is compared with."""
    world, a, b, c = three_sites()
    a.do(creation())
    a.cut()
    b.cut()
    c.cut()
    b.do(ChangePriority("c1", "P0"))
    c.seen = world.index
    a.do(ChangePriority("c1", "P2"))
    assert c.do(ChangePriority("c1", "P3")).kind is CONFLICT
    assert values(world.case(), "priority") == ["P2", "P3"]


def test_the_later_of_one_sites_two_never_loses_to_the_earlier() -> None:
    """I7, for two operations journalled while cut off."""
    world, a, _ = opened()
    a.cut()
    assert a.do(ChangePriority("c1", "P0")).kind is APPLIED
    assert a.do(ChangePriority("c1", "P3")).kind is APPLIED
    assert values(world.case(), "priority") == ["P3"]


# --- more severe ---


def test_apart_the_more_severe_holds_and_both_stay() -> None:
    """Priority: the more severe holds; kept as conflict until a person decides; in either order of the log."""
    for first, second in (("P1", "P3"), ("P3", "P1")):
        world, a, b = opened()
        one, two = a.operation(ChangePriority("c1", first)), b.operation(ChangePriority("c1", second))
        assert world.verdict(one).kind is APPLIED
        assert world.verdict(two).kind is CONFLICT
        assert values(world.case(), "priority") == ["P1", "P3"]
        assert world.case().conflicts == ("priority",)


def test_apart_the_same_word_is_no_conflict_and_both_are_kept() -> None:
    """Two who say the same agree. Each statement stays, so that who has seen only one does not erase the other."""
    world, a, b = opened()
    b.cut()
    a.do(ChangePriority("c1", "P1"))
    assert b.do(ChangePriority("c1", "P1")).kind is MERGED
    assert (values(world.case(), "priority"), world.case().conflicts) == (["P1", "P1"], ())
    assert queries.list_conflicts(world.records) == []
    assert b.do(ChangePriority("c1", "P3")).kind is CONFLICT
    assert values(world.case(), "priority") == ["P1", "P3"]


def test_care_levels_of_case_and_patient_go_by_severity_each() -> None:
    """careLevel (also per patient): likewise."""
    world, a, b = opened(Fact("patient", "p1", "p1"))
    one, two = a.operation(ChangeCareLevel("c1", "R2", "p1")), b.operation(ChangeCareLevel("c1", "R1", "p1"))
    world.verdict(one)
    assert world.verdict(two).kind is CONFLICT
    assert values(world.case(), "patient.care_level", "p1") == ["R1", "R2"]
    assert a.do(ChangeCareLevel("c1", "R4")).kind is APPLIED
    assert values(world.case(), "care_level") == ["R4"]


def test_a_person_decides_and_the_conflict_is_over() -> None:
    """A decision that saw both values leaves one; the other is history."""
    world, a, b = opened()
    one, two = a.operation(ChangePriority("c1", "P1")), b.operation(ChangePriority("c1", "P3"))
    world.verdict(one)
    world.verdict(two)
    assert [conflict.field for conflict in queries.list_conflicts(world.records, A)] == ["priority"]
    assert a.do(DecideConflict("case", "c1", "priority", "", "P3")).kind is APPLIED
    assert values(world.case(), "priority") == ["P3"]
    assert sorted(past(world.case(), "priority")) == ["P1", "P3"]
    assert queries.list_conflicts(world.records) == []


def test_two_people_who_decide_apart_are_a_conflict_again() -> None:
    """A decision is an operation like any other: what it had not seen stays beside it."""
    world, a, b = opened()
    one, two = a.operation(ChangePriority("c1", "P1")), b.operation(ChangePriority("c1", "P3"))
    world.verdict(one)
    world.verdict(two)
    other_desk = a.cut().operation(DecideConflict("case", "c1", "priority", "", "P3"))
    b.do(ChangePriority("c1", "P2"))
    assert world.verdict(other_desk).kind is CONFLICT
    assert values(world.case(), "priority") == ["P2", "P3"]


# --- latest ---


def test_apart_the_latest_by_hybrid_clock_holds() -> None:
    """Whoever is agreed first, the later clock holds: merged, or superseded."""
    for ahead_first in (True, False):
        world, a, b = opened()
        a.clock_ms, b.clock_ms = (100, 0) if ahead_first else (0, 100)
        one, two = a.operation(update("c1", Fact("origin", "a"))), b.operation(update("c1", Fact("origin", "b")))
        assert world.verdict(one).kind is APPLIED
        assert world.verdict(two).kind is (SUPERSEDED if ahead_first else MERGED)
        assert values(world.case(), "origin") == ["a" if ahead_first else "b"]
        assert past(world.case(), "origin") == ["b" if ahead_first else "a"]


def test_what_was_seen_is_replaced_whatever_the_clocks_say() -> None:
    """Rule 11 first, the field's rule only for what was written apart."""
    world, a, b = opened()
    a.clock_ms = 400
    a.do(update("c1", Fact("origin", "a")))
    b.clock_ms = -10_000_000
    assert b.do(update("c1", Fact("origin", "b"))).kind is MERGED
    assert values(world.case(), "origin") == ["b"]


def test_a_clock_hours_ahead_counts_as_the_leaders_time_and_is_kept_beside() -> None:
    """Clock: clamped to leader's time + 500 ms, so it neither wins everything nor hides what it said."""
    world, a, b = opened()
    b.cut()
    a.clock_ms = 3 * 3_600_000
    a.do(update("c1", Fact("origin", "a")))
    world.now_ms += 1000
    assert b.do(update("c1", Fact("origin", "b"))).kind is MERGED
    (lost,) = [one.value for one in world.case().history if one.field == "origin"]
    assert lost.clock_said_ms == NOON + 3 * 3_600_000 + 3000
    assert values(world.case(), "origin") == ["b"]


def test_keys_of_the_open_map_are_settled_each() -> None:
    """additionalInformation: latest by hybrid clock per key."""
    world, a, b = opened()
    one = a.operation(update("c1", Fact("additional", '"1"', "x")))
    two = b.operation(update("c1", Fact("additional", '"2"', "y")))
    world.verdict(one)
    assert world.verdict(two).kind is MERGED
    assert (values(world.case(), "additional", "x"), values(world.case(), "additional", "y")) == (['"1"'], ['"2"'])


# --- latest by its own time ---


def test_an_older_position_never_replaces_a_newer_seen_or_not() -> None:
    """Position: latest by datetime. The site has seen the newer one, the vehicle that sent the older has not."""
    world, a, b = two_sites()
    a.do(vehicle("r1", A))
    a.do(about("r1", "", Fact("position", "new", at_ms=NOON - 1000)))
    assert a.do(about("r1", "", Fact("position", "old", at_ms=NOON - 2000))).kind is SUPERSEDED
    assert b.do(about("r1", "", Fact("position", "newer", at_ms=NOON))).kind is MERGED
    assert values(world.resource(), "position") == ["newer"]


def test_a_wrong_year_does_not_hold_a_place_for_ever() -> None:
    """A value's own time counts no later than when it was heard."""
    world, a, _ = two_sites()
    a.do(vehicle("r1", A))
    a.do(about("r1", "", Fact("position", "year 9999", at_ms=253_402_300_799_000)))
    assert a.do(about("r1", "", Fact("position", "now", at_ms=world.now_ms + 1000))).kind is APPLIED
    assert values(world.resource(), "position") == ["now"]


def test_equal_own_times_go_by_the_hybrid_clock() -> None:
    """geometry: latest by its own datetime; hybrid clock where equal."""
    world, a, b = opened()
    a.clock_ms = 50
    one = a.operation(update("c1", Fact("location.geometry", "a", at_ms=NOON)))
    two = b.operation(update("c1", Fact("location.geometry", "b", at_ms=NOON)))
    world.verdict(one)
    assert world.verdict(two).kind is SUPERSEDED
    assert values(world.case(), "location.geometry") == ["a"]


# --- first ---


def test_what_is_set_once_stays_and_a_differing_one_is_a_conflict() -> None:
    """creation, perimeter, interventionType: first value; a differing one is a conflict, seen or not."""
    for cut in (True, False):
        world, a, b = two_sites()
        if cut:
            b.cut()
        a.do(creation("c1", A, Fact("perimeter", "AMU")))
        assert b.do(update("c1", Fact("perimeter", "PSY"))).kind is CONFLICT
        assert b.do(update("c1", Fact("perimeter", "AMU"))).kind is MERGED
        assert values(world.case(), "perimeter")[:2] == ["AMU", "PSY"]
        assert set(values(world.case(), "perimeter")) == {"AMU", "PSY"}


def test_a_decision_settles_what_is_set_once() -> None:
    """Only a person changes it."""
    world, a, b = opened(Fact("perimeter", "AMU"))
    b.do(update("c1", Fact("perimeter", "PSY")))
    assert a.do(DecideConflict("case", "c1", "perimeter", "", "PSY")).kind is APPLIED
    assert values(world.case(), "perimeter") == ["PSY"]


# --- union ---


def test_notes_grow_and_one_id_may_have_two_texts() -> None:
    """medicalNote: real input reuses one id for two different notes; versions stand together by act time."""
    world, a, b = opened()
    one = a.operation(update("c1", Fact("medical_note", "later", "n1", at_ms=NOON + 5)))
    two = b.operation(update("c1", Fact("medical_note", "earlier", "n1", at_ms=NOON)))
    world.verdict(one)
    assert world.verdict(two).kind is MERGED
    assert notes(world.case()) == ["earlier", "later"]


def test_the_same_element_twice_is_one() -> None:
    """Union by content."""
    world, a, b = opened()
    a.do(update("c1", Fact("decision", "{}")))
    b.do(update("c1", Fact("decision", "{}")))
    assert notes(world.case()) == ["{}"]


def test_a_note_of_a_stranger_is_kept() -> None:
    """Notes are never refused: allowed as a note."""
    world, _, b = opened()
    assert b.do(AddNote("c1", "n1", "he is allergic", role="MEDECIN")).kind is MERGED
    (note,) = notes(world.case())
    assert note == (
        '{"creation":"2023-11-14T22:13:23+00:00","freetext":"he is allergic","medicalNoteId":"n1",'
        '"operator":{"role":"MEDECIN"}}'
    )


def test_absent_never_clears() -> None:
    """Updates are partial: what a message does not mention stays."""
    world, a, _ = opened(Fact("priority", "P1"), Fact("origin", "15"), Fact("risk_threat", "{}", "R1"))
    a.do(update("c1", Fact("origin", "18")))
    assert (values(world.case(), "priority"), values(world.case(), "origin")) == (["P1"], ["18"])
    assert [one.field for one in world.case().elements] == ["risk_threat"]


# --- answers ---


def answer(word: str, at_ms: int = 0) -> Fact:
    return Fact("answer", f'{{"answer":"{word}"}}', at_ms=at_ms)


def asked(a: Site) -> None:
    a.do(creation())
    a.do(report(Subject("request", "q1", (Fact("details", "{}"),), case="c1", creates=True)))


def answered(*said: Fact) -> Report:
    return report(Subject("request", "q1", said, case="c1"), sender=B)


def test_one_request_has_one_standing_answer() -> None:
    """A later answer that saw the former replaces it."""
    world, a, b = two_sites()
    asked(a)
    b.do(answered(answer("DIFFEREE")))
    assert b.do(answered(answer("ACCEPTEE"))).kind is MERGED
    request = queries.read_request(world.records, "q1")
    assert request is not None
    assert [value.value for value in request.fields[0].values] == ['{"answer":"ACCEPTEE"}']


def test_two_answers_apart_are_a_conflict_and_the_latest_by_its_own_time_holds() -> None:
    """answer: conflict; the latest by its own time holds meanwhile."""
    world, a, b = two_sites()
    asked(a)
    one = b.operation(answered(answer("ACCEPTEE", NOON)))
    two = a.operation(answered(answer("REFUSEE", NOON - 1)))
    world.verdict(one)
    assert world.verdict(two).kind is CONFLICT
    request = queries.read_request(world.records, "q1")
    assert request is not None
    assert [value.value for value in request.fields[0].values] == ['{"answer":"ACCEPTEE"}', '{"answer":"REFUSEE"}']
    assert [one.subject for one in queries.list_conflicts(world.records)] == ["request"]


# --- nonsense ---


def test_words_outside_their_vocabulary_are_refused_and_nothing_is_half_applied() -> None:
    """A rule that goes by an order of words has no place for another word; the whole message is refused."""
    world, a, _ = opened(Fact("origin", "15"))
    verdict = a.do(update("c1", Fact("origin", "18"), Fact("priority", "P9")))
    assert verdict.kind is REFUSED
    assert "P9" in verdict.reason
    assert values(world.case(), "origin") == ["15"]
    assert a.do(ChangePriority("c1", "urgent")).kind is REFUSED
    assert a.do(update("c1", Fact("colour", "red"))).kind is REFUSED
    assert a.do(update("c1", Fact("origin", "18", "key"))).kind is REFUSED
    for field, key in (("origin", ""), ("perimeter", ""), ("priority", "key"), ("medical_note", "n")):
        assert a.do(DecideConflict("case", "c1", field, key, "P1")).kind is REFUSED, field


def test_a_finding_names_the_operation_it_met() -> None:
    """superseded (by what), conflict (with what)."""
    world, a, b = opened()
    one, two = a.operation(ChangePriority("c1", "P1")), b.operation(ChangePriority("c1", "P3"))
    world.verdict(one)
    (finding,) = world.verdict(two).findings
    assert finding.other == OperationId(A, a.incarnation, 2)
    world.check()
