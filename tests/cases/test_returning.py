"""Level 3: who is heard is not taken over, a take-over may end by itself, a charge goes home when all is in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replica.cases import queries
from replica.cases.authority import PermissionKind, charge_of, permitted
from replica.cases.charge_reading import charge_state, charge_states, held_by, take_overs
from replica.cases.commands import (
    AskHandBack,
    ChangePriority,
    CloseCase,
    EndTakeOver,
    Fact,
    HandBack,
    RaiseLevel,
    ReopenCase,
    TakeOver,
)
from replica.cases.draft import drafted
from replica.cases.levels import HIGHEST_LEVEL
from tests.cases.world import (
    APPLIED,
    FIRE,
    MERGED,
    REFUSED,
    A,
    B,
    C,
    Site,
    World,
    about,
    creation,
    three_sites,
    values,
    vehicle,
)


def at_level_3() -> tuple[World, Site, Site, Site]:
    world, a, b, c = three_sites()
    for level in range(2, HIGHEST_LEVEL + 1):
        assert a.do(RaiseLevel(level)).kind is APPLIED
    a.do(creation("c1", A))
    a.do(creation("c2", A))
    return world, a, b, c


def holder(world: World, samu: str = A) -> str:
    return charge_of(drafted(world.records), samu).holder


# ---- who is heard


def test_a_site_that_is_heard_is_not_taken_over() -> None:
    """The refusal says whom to ask; nothing changed, and the epoch is free for who asks again."""
    world, _, b, _ = at_level_3()
    world.heard = (A, B)
    verdict = b.do(TakeOver(A, B, 1, "no answer on the phone"))
    assert verdict.kind is REFUSED
    assert A in verdict.reason
    assert "force" in verdict.reason
    assert (holder(world), take_overs(world.records)) == (A, [])


def test_it_is_taken_over_once_it_is_heard_no_more() -> None:
    """The same command, from the moment the line is cut."""
    world, _, b, _ = at_level_3()
    world.heard = (B, C)
    assert b.do(TakeOver(A, B, 1, "line cut")).kind is APPLIED
    assert holder(world) == B


def test_forcing_it_wants_a_reason_and_keeps_it() -> None:
    """Who, when, why: all of it stays, and that it was forced."""
    world, _, b, _ = at_level_3()
    world.heard = (A, B)
    assert b.do(TakeOver(A, B, 1, "  ", forced=True)).kind is REFUSED
    assert b.do(TakeOver(A, B, 1, "the room is on fire", forced=True)).kind is APPLIED
    (change,) = queries.charge_changes(world.records, A)
    assert (change.reason, change.before, change.holder) == ("the room is on fire", A, B)
    assert take_overs(world.records)[0].forced


def test_who_is_in_charge_may_let_another_take_over() -> None:
    """It is heard, and asks for it itself: nobody is overruled."""
    world, a, _, _ = at_level_3()
    world.heard = (A, B)
    assert a.do(TakeOver(A, B, 1, "our power fails in ten minutes")).kind is APPLIED


def test_of_chosen_cases_it_counts_who_is_in_charge_of_them() -> None:
    """B has c1 and is heard; c2 is A's, who is not."""
    world, _, b, c = at_level_3()
    world.heard = (B, C)
    b.do(TakeOver(A, B, 1, "c1 is urgent", ("c1",)))
    assert c.do(TakeOver(A, C, 2, "both", ("c1", "c2"))).kind is REFUSED
    assert c.do(TakeOver(A, C, 2, "the other", ("c2",))).kind is APPLIED


def test_an_old_epoch_is_the_reason_even_where_the_holder_is_heard() -> None:
    """Look, and ask again: forcing would not help."""
    world, _, b, _ = at_level_3()
    world.heard = (A,)
    assert "epoch" in b.do(TakeOver(A, B, 7, "late")).reason


def test_below_level_3_nobody_is_asked_whether_it_is_heard() -> None:
    """The rule came with level 3; an entry of level 1 or 2 is applied as it ever was."""
    world, _, b, _ = three_sites()
    world.heard = (A, B)
    assert b.do(TakeOver(A, B, 1, "no answer")).kind is APPLIED
    assert take_overs(world.records) == []


def test_a_chain_of_take_overs_ends_where_it_began() -> None:
    """A by B; then B is cut off as well, and C takes both: A's work and B's."""
    world, a, b, c = at_level_3()
    b.do(TakeOver(A, B, 1, "A is cut off"))
    assert c.do(TakeOver(A, C, 2, "and now B, who had A")).kind is APPLIED
    assert c.do(TakeOver(B, C, 1, "and now B")).kind is APPLIED
    assert [one.samu for one in held_by(world.records, C)] == [A, B]
    assert b.do(ChangePriority("c1", "P0")).kind is MERGED
    a.do(AskHandBack(A, "back"))
    assert c.do(HandBack(A, "welcome")).kind is APPLIED
    assert (holder(world), holder(world, B)) == (A, C)
    assert a.do(ChangePriority("c1", "P1")).kind is not MERGED


# ---- the end by itself


def test_a_take_over_ends_when_its_time_is_over() -> None:
    """Not before, whoever says so; and once."""
    world, _, b, c = at_level_3()
    until_ms = world.now_ms + 5000
    b.do(TakeOver(A, B, 1, "for the night", until_ms=until_ms))
    assert "not over yet" in c.do(EndTakeOver(A, 2)).reason
    world.now_ms = until_ms
    assert c.do(EndTakeOver(A, 2)).kind is APPLIED
    assert (holder(world), take_overs(world.records)) == (A, [])
    assert "ended already" in c.do(EndTakeOver(A, 2)).reason
    assert [one.reason for one in queries.charge_changes(world.records, A)] == ["for the night", "its time is over"]


def test_an_end_that_is_past_is_refused() -> None:
    """A form filled in with yesterday's date takes nothing over for no time."""
    world, _, b, _ = at_level_3()
    assert "is past" in b.do(TakeOver(A, B, 1, "yesterday", until_ms=world.now_ms - 1)).reason
    assert "no site of ours" in b.do(TakeOver(FIRE, B, 1, "not ours")).reason


def test_the_end_of_chosen_cases_leaves_alone_what_was_taken_since() -> None:
    """c2 is C's by now: only c1 goes home."""
    world, _, b, c = at_level_3()
    until_ms = world.now_ms + 60_000
    b.do(TakeOver(A, B, 1, "two cases", ("c1", "c2"), until_ms=until_ms))
    c.do(TakeOver(A, C, 2, "one of them", ("c2",)))
    world.now_ms = until_ms
    assert c.do(EndTakeOver(A, 2)).kind is APPLIED
    assert [(world.case(case).charge.holder) for case in ("c1", "c2")] == [A, C]
    assert [one.cases for one in take_overs(world.records)] == [("c2",)]


def test_a_take_over_without_an_end_does_not_end() -> None:
    """And one that never was neither."""
    _, _, b, c = at_level_3()
    b.do(TakeOver(A, B, 1, "until further notice"))
    assert "not over yet" in c.do(EndTakeOver(A, 2)).reason
    assert "no take-over" in c.do(EndTakeOver(A, 9)).reason
    assert "no take-over" in c.do(EndTakeOver(FIRE, 1)).reason


def test_the_old_holder_is_a_stranger_after_the_end() -> None:
    """What it does under the epoch that is over is merged: neither lost nor winning."""
    world, _, b, c = at_level_3()
    b.do(TakeOver(A, B, 1, "short", until_ms=world.now_ms + 1500))
    world.now_ms += 2000
    c.do(EndTakeOver(A, 2))
    assert b.do(ChangePriority("c1", "P1")).kind is MERGED


# ---- home


def test_a_charge_goes_home_when_its_samu_has_asked() -> None:
    """The asking stands in the Samu's own sequence, behind all that it did while it was away."""
    world, a, b, _ = at_level_3()
    b.do(TakeOver(A, B, 1, "cut off"))
    refused = b.do(HandBack(A, "I saw them on the news"))
    assert refused.kind is REFUSED
    assert "has not asked" in refused.reason
    assert a.do(AskHandBack(A, "back, all in")).kind is APPLIED
    assert charge_state(world.records, A).is_asked
    assert b.do(HandBack(A, "welcome back")).kind is APPLIED
    state = charge_state(world.records, A)
    assert (state.holder, state.is_taken, take_overs(world.records)) == (A, False, [])


def test_it_may_be_handed_back_now() -> None:
    """A person knows better: the word is in the command."""
    world, _, b, _ = at_level_3()
    b.do(TakeOver(A, B, 1, "cut off"))
    assert b.do(HandBack(A, "they have it on paper", now=True)).kind is APPLIED
    assert holder(world) == A


def test_an_old_asking_does_not_count_for_the_next_take_over() -> None:
    """It was asked for in another epoch; since then more may have been done apart."""
    _, a, b, c = at_level_3()
    b.do(TakeOver(A, B, 1, "cut off"))
    a.do(AskHandBack(A, "back"))
    c.do(TakeOver(A, C, 2, "cut off again"))
    assert c.do(HandBack(A, "?")).kind is REFUSED
    a.do(AskHandBack(A, "back again"))
    assert c.do(HandBack(A, "now")).kind is APPLIED


def test_chosen_cases_go_home_when_their_samu_has_asked() -> None:
    """Case by case, or all of them; what is left keeps its terms."""
    world, a, b, _ = at_level_3()
    b.do(TakeOver(A, B, 1, "two", ("c1", "c2")))
    assert b.do(HandBack(A, "one", ("c1",))).kind is REFUSED
    a.do(AskHandBack(A, "back"))
    assert b.do(HandBack(A, "one", ("c1",))).kind is APPLIED
    assert [one.cases for one in take_overs(world.records)] == [("c1", "c2")]
    assert b.do(HandBack(A, "the other", ("c2",))).kind is APPLIED
    assert take_overs(world.records) == []


def test_only_a_samu_whose_work_was_taken_asks_for_it() -> None:
    """Before it is journalled, and again where it is applied."""
    world, a, b, _ = at_level_3()
    assert permitted(world.records, A, AskHandBack(A, ""), True).kind is PermissionKind.REFUSED
    assert "own work" in a.do(AskHandBack(A, "")).reason
    b.do(TakeOver(A, B, 1, "cut off"))
    assert permitted(world.records, A, AskHandBack(A, ""), False).kind is PermissionKind.ALLOWED
    assert permitted(world.records, B, AskHandBack(A, ""), True).kind is PermissionKind.REFUSED
    assert "only the site" in b.do(AskHandBack(A, "")).reason


def test_asking_and_ending_are_refused_below_level_3() -> None:
    """The doors let neither in; an entry that has one all the same is applied alike everywhere."""
    _, a, b, _ = three_sites()
    for command in (AskHandBack(A, ""), EndTakeOver(A, 1)):
        assert "level 3" in a.do(command).reason
        assert "level 3" in b.do(command).reason


def test_who_is_in_charge_of_what_is_read_in_one_go() -> None:
    """For `replica charges`: all that ever changed, with what stands and who asked."""
    world, a, b, _ = at_level_3()
    b.do(TakeOver(A, B, 1, "cut off", automatic=True))
    a.do(AskHandBack(A, "back"))
    (state,) = charge_states(world.records)
    assert (state.samu, state.holder, state.epoch, state.author) == (A, B, 2, f"someone at {B}")
    assert state.asked is not None
    assert state.asked.reason == "back"
    assert [(one.automatic, one.asked) for one in held_by(world.records, B)] == [(True, True)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "cases", "ask", "back", "now", "end"]), st.sampled_from([A, B, C])), max_size=25
)


@given(STEPS)
def test_terms_stand_for_as_long_as_the_charge_is_away(steps: list[tuple[str, str]]) -> None:
    """After any sequence: someone else is in charge of everything iff terms of everything stand, held by that one; a
    charge that has ended never comes back by itself; digests are those of the records."""
    world, a, b, c = at_level_3()
    sites = {A: a, B: b, C: c}
    for what, name in steps:
        site, epoch = sites[name], charge_of(drafted(world.records), A).epoch
        match what:
            case "take":
                site.do(TakeOver(A, name, epoch, "why", until_ms=world.now_ms + 4000))
            case "cases":
                site.do(TakeOver(A, name, epoch, "why", ("c1",), until_ms=world.now_ms + 4000))
            case "ask":
                site.do(AskHandBack(A, "back"))
            case "back" | "now":
                site.do(HandBack(A, "here", now=what == "now"))
            case "end":
                for one in take_overs(world.records):
                    site.do(EndTakeOver(A, one.epoch))
        everything = [one for one in take_overs(world.records) if not one.cases]
        assert [one.holder for one in everything] == ([] if holder(world) == A else [holder(world)])
        world.check()


def test_what_was_opened_under_a_take_over_stays_its_own_when_the_rest_comes_home() -> None:
    """Found by the naive model: A, cut off, opened c9 while B was in charge, and could close it; when B had given
    everything back, A's closing of its own case counted as a stranger's until A had seen that."""
    _, a, b, _ = at_level_3()
    b.do(TakeOver(A, B, 1, "cut off"))
    a.cut()
    a.do(creation("c9", A))
    assert a.do(ChangePriority("c9", "P1")).kind is APPLIED
    b.do(HandBack(A, "they will be back", now=True))
    assert a.do(ChangePriority("c9", "P0")).kind is APPLIED
    a.do(creation("c10", A))
    assert a.do(CloseCase("c10")).kind is APPLIED
    assert a.do(ChangePriority("c1", "P1")).kind is MERGED, "what was B's is A's again once it has seen that"


def test_turns_that_stand_in_one_entry_are_told_apart() -> None:
    """Found by the world of sites (seed 58): one case taken, then everything handed back, agreed in one entry. By the
    entry's index neither is older, and the case stayed away."""
    world, _, b, _ = at_level_3()
    b.do(TakeOver(A, B, 1, "all of it"))
    world.agree(b.operation(TakeOver(A, B, 2, "and this", ("c1",))), b.operation(HandBack(A, "all back", now=True)))
    assert [world.case(case).charge.holder for case in ("c1", "c2")] == [A, A]
    world.agree(b.operation(TakeOver(A, B, 4, "all again")), b.operation(TakeOver(A, B, 5, "this one", ("c1",))))
    world.agree(b.operation(TakeOver(A, A, 6, "home")))
    assert [world.case(case).charge.holder for case in ("c1", "c2")] == [A, A]
    world.check()


def test_a_take_over_by_its_own_samu_brings_it_home() -> None:
    """A takes its own work back by the quorum: no hand-back is needed."""
    world, a, b, _ = at_level_3()
    b.do(TakeOver(A, B, 1, "cut off"))
    world.heard = (A,)
    assert a.do(TakeOver(A, A, 2, "we are here")).kind is APPLIED
    assert holder(world) == A


# ---- what level 3 mended besides


def test_who_holds_by_the_clock_owns_the_vehicle() -> None:
    """Found by the naive model: A gave the vehicle to the fire service; C, apart and with an older clock, said that it
    is B's. The fire service holds, and under the first levels B owned it all the same."""
    world, a, _, c = at_level_3()
    a.do(vehicle("r1", A))
    c.cut()
    c.clock_ms = -60_000
    a.do(about("r1", "", Fact("organisation", FIRE), sender=A))
    c.do(about("r1", "", Fact("organisation", B), sender=A))
    shown = world.resource()
    assert (values(shown, "organisation"), shown.owner) == ([FIRE], FIRE)


def test_opening_again_what_is_open_is_a_strangers_word_too() -> None:
    """Found by the world of sites: nothing was to be done, and a stranger was told "applied"."""
    _, a, b, _ = at_level_3()
    assert b.do(ReopenCase("c1")).kind is MERGED
    assert a.do(ReopenCase("c1")).kind is APPLIED
