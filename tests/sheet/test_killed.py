"""A killed site's store gives a sheet: what was agreed, what was not yet, and how old all that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.cases.fields import PRIORITIES
from replica.errors import StoreError
from tests.sheet.printed import case_of, flat, printed, sheet_of
from tests.sheet.stores import CONFIRMED_MS, HEART, OTHER, SAMU, ZONE, Left, killed


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return killed(tmp_path / "site")


def test_the_sheet_says_whose_it_is_how_old_it_is_and_what_has_no_verdict(left: Left) -> None:
    """The head is read first: at three in the morning it decides how far the rest is trusted."""
    facts = sheet_of(left.folder).facts
    assert (facts.whose, facts.mode, facts.index) == (SAMU, "stopped", left.world.index)
    assert (facts.authority, facts.epoch) == (SAMU, 1)
    assert (facts.undecided, facts.confirmed_ms) == (left.undecided, CONFIRMED_MS)
    text = flat(printed(sheet_of(left.folder)))
    assert "process stopped, read from disk" in text
    assert f"{left.undecided} act(s) of this site, marked [TENTATIVE]" in text
    assert "60 min before this sheet" in text


def test_what_was_journalled_and_not_agreed_is_in_its_case_and_marked(left: Left) -> None:
    """Nothing that this site did is missing because nobody agreed to it yet; nothing of it looks agreed."""
    notes = case_of(sheet_of(left.folder), HEART).notes
    tentative = [note.said.value for note in notes if note.said.tentative]
    assert "Ligne coupée, on continue à la main <b>&" in tentative
    assert {note.said.tentative for note in notes} == {True, False}


def test_cases_come_most_severe_first_and_notes_in_order_of_act_time(left: Left) -> None:
    """A dispatcher reads from above; whoever takes over a case reads what happened in the order it happened."""
    sheet = sheet_of(left.folder, everyone=True)
    ranks = [PRIORITIES.index(one.priority.value) for one in sheet.cases if one.priority is not None]
    assert len(ranks) > 2
    assert ranks == sorted(ranks)
    assert len({*ranks}) > 1
    for case in sheet.cases:
        times = [note.said.when_ms for note in case.notes]
        assert times == sorted(times)


def test_a_conflict_shows_both_values_and_which_one_holds(left: Left) -> None:
    """Two people decided apart: both are on paper, with name and time."""
    sheet = sheet_of(left.folder)
    (clash,) = [one for one in case_of(sheet, HEART).clashes if one.field == "priority"]
    assert [value.value for value in clash.values] == ["P0", "P1"]
    assert [value.author for value in clash.values] == [f"someone at {SAMU}", f"someone at {OTHER}"]
    text = flat(printed(sheet))
    assert "P0 [CONFLICT]" in text
    assert "[CONFLICT] someone at" in text


def test_whom_to_call_back_where_it_is_and_who_is_on_the_way_is_on_the_sheet(left: Left) -> None:
    """Enough to go on with the telephone and the radio alone."""
    sheet = sheet_of(left.folder)
    case = case_of(sheet, HEART)
    lines = dict(case.lines)
    assert "14 rue des Charmilles, Cesson-Sévigné (35051)" in lines["place"]
    assert lines["caller"].startswith("Maëlle Kermadec, FAMILLE, +33261910114")
    assert lines["motive"] == "Douleur thoracique (M02.01)"
    assert dict(case.patients[0].lines)["age"] == "P58Y"
    assert {one.vehicle for one in case.engaged} == {"SIS.VSAV", "SMUR.VLM"}
    assert all(one.status and one.status_ms for one in case.engaged)
    served = {one.id for one in sheet.resources if one.serves == HEART}
    assert served == {one.resource for one in case.engaged if one.state == "engaged"}


def test_a_decision_is_said_in_words_with_its_code(left: Left) -> None:
    assert "intervention (INTER) SMUR" in flat(printed(sheet_of(left.folder), "fr"))


def test_an_availability_that_nobody_stated_is_printed_as_unknown(left: Left) -> None:
    """Absent means unknown here, and unknown is never printed as free."""
    sheet = sheet_of(left.folder)
    assert {one.available for one in sheet.resources} >= {None, False}
    assert "unknown" in printed(sheet)
    assert "inconnue" in printed(sheet, "fr")


def test_a_samus_sheet_holds_what_it_answers_for_and_says_how_many_others_there_are(left: Left) -> None:
    """A site holds the whole country; its sheet is a few pages."""
    mine, all_of_it = sheet_of(left.folder), sheet_of(left.folder, everyone=True)
    assert {one.id for one in mine.cases} < {one.id for one in all_of_it.cases}
    assert mine.elsewhere == len(all_of_it.cases) - len(mine.cases) > 0
    assert f"{mine.elsewhere} other open case(s)" in flat(printed(mine))
    others = sheet_of(left.folder, owner=OTHER)
    assert {one.owner for one in others.cases} == {OTHER}


def test_every_case_has_lines_to_write_on_with_the_names_the_form_asks_for(left: Left) -> None:
    """Hour, act, value, author: what is written there is what resume-paper reads."""
    sheet = sheet_of(left.folder)
    text = printed(sheet, "fr")
    assert text.count("À la main\n") == len(sheet.cases)
    assert "Heure   Acte           Valeur" in text
    assert "replica resume-paper" in text


def test_a_zones_store_gives_a_sheet_of_all_cases_and_speaks_of_no_authority(tmp_path: Path) -> None:
    """Where a site's disk is gone for good, any zone's has the agreed cases of every Samu."""
    zone = killed(tmp_path / "zone", ZONE)
    sheet = sheet_of(zone.folder)
    assert {one.owner for one in sheet.cases} == {SAMU, OTHER}
    assert sheet.elsewhere == 0
    text = printed(sheet)
    assert "In charge" not in text
    assert "No verdict" not in text


def test_a_folder_that_holds_no_store_is_no_sheet(tmp_path: Path) -> None:
    """Nothing at all can be read: that is an error, not an empty sheet that looks like a quiet night."""
    with pytest.raises(StoreError, match="nothing can be read"):
        sheet_of(tmp_path)
