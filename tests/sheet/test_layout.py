"""On A4, in French and English: nothing over the edge, nothing unescaped, no word missing."""

from __future__ import annotations

import dataclasses
import re
import string
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from replica.cases.fields import CASE_FIELDS, CASE_STATUSES, RESOURCE_FIELDS, RESOURCE_STATUSES, Rule
from replica.hubsante.vocabulary import DECISIONS, SEXES
from replica.sheet import text
from replica.sheet.collect import Damage
from replica.sheet.compose import compose
from replica.sheet.english import ENGLISH
from replica.sheet.french import FRENCH
from replica.sheet.model import CaseSheet, Clash, Engaged, Facts, Note, Patient, ResourceSheet, Said, Sheet, Trouble
from replica.sheet.words import LANGUAGES, Words
from tests.sheet.printed import clock, flat, printed, sheet_of
from tests.sheet.stores import HEART, NOW_MS, killed

SAMU = "fr.health.samu440"
FACTS = Facts(SAMU, "samu-france", "cut-off", NOW_MS, 7, NOW_MS - 5000, SAMU, 2, 3)
NASTY = '</style><script>alert(1)</script>" onload="x" & \'é\''


def case(number: int, notes: int = 0, **more: object) -> CaseSheet:
    said = Said("P1", "Dr Martin", NOW_MS, tentative=True)
    written = tuple(Note("note", Said(f"note {at} " + "mot " * 30, "ARM", NOW_MS + at)) for at in range(notes))
    bare = CaseSheet(f"{SAMU}.C{number}", (), SAMU, "", 1, "ACTIF", said, None, NOW_MS, False, False)
    return dataclasses.replace(bare, notes=written, **more)  # type: ignore[arg-type]  # fields of CaseSheet


def sheet(*cases: CaseSheet, resources: int = 0, troubles: tuple[Trouble, ...] = ()) -> Sheet:
    fleet = tuple(
        ResourceSheet(f"fr.health.samu440.resource.R{at}", "SMUR.VLM", "VLM", "PEC", NOW_MS, None, "", "")
        for at in range(resources)
    )
    return Sheet(FACTS, troubles, cases, fleet)


# --- words ---


def test_both_languages_have_the_same_words() -> None:
    """No key is missing in either, and none is empty."""
    assert FRENCH.keys() == ENGLISH.keys()
    assert all(text.strip() for words in LANGUAGES.values() for text in words.values())


def test_both_languages_say_the_same_values_in_each_sentence() -> None:
    """A translation that forgets a value would lose it from the sheet."""
    for key in FRENCH:
        names = [
            {name for _, name, _, _ in string.Formatter().parse(words[key]) if name} for words in LANGUAGES.values()
        ]
        assert names[0] == names[1], key


def test_the_two_languages_differ() -> None:
    """A French sheet is French: only codes and names are the same in both."""
    same = {key for key in FRENCH if FRENCH[key] == ENGLISH[key]}
    assert {key.partition(".")[0] for key in same} <= {
        "mark", "case", "position", "patient", "note", "decision", "step", "sex", "age", "part", "field", "page",
        "access", "type", "engaged", "mode",
    }  # fmt: skip


def test_every_code_of_the_vocabularies_has_its_word() -> None:
    codes = [
        *(f"status.{code}" for code in CASE_STATUSES),
        *(f"step.{code}" for code in RESOURCE_STATUSES),
        *(f"decision.{code}" for code in DECISIONS),
        *(f"sex.{code}" for code in SEXES),
    ]
    assert [code for code in codes if code not in FRENCH] == []


def test_every_field_that_can_be_in_conflict_has_its_name() -> None:
    rules = (Rule.FIRST, Rule.MORE_SEVERE, Rule.OWNER, Rule.ENGAGEMENT)
    names = [field.name for field in (*CASE_FIELDS, *RESOURCE_FIELDS) if field.rule in rules]
    assert [name for name in names if f"field.{name}" not in FRENCH] == []


@pytest.mark.parametrize("what", ["journal", "journal-record", "state", "state-guessed", "applied", "structure",
                                  "record", "other-record", "subject", "clock", "more"])  # fmt: skip
def test_every_trouble_can_be_said(what: str) -> None:
    shown = printed(sheet(troubles=(Trouble(what, "record 7", "case 8"),)))
    assert "!! " + ENGLISH["alarm"] in shown


def test_labels_fit_beside_what_they_label() -> None:
    """A label that is too long would stand in a line of its own."""
    labels = ("as-of", "confirmed", "mode", "undecided", "authority", "index", "numbers", "owner", "holder",
              "care-level", "place", "access", "position", "what", "motive", "where-kind", "risk", "victims", "caller",
              "request", "others", "joined", "documents", "patient", "engaged")  # fmt: skip
    for words in LANGUAGES.values():
        assert [label for label in labels if len(words[label]) + 1 >= text.LABEL] == []


# --- A4 ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_line_is_wider_than_the_page_and_no_page_longer(tmp_path: Path, language: str) -> None:
    """The stories' own cases, with their long ids and French texts; and a case of a hundred notes."""
    killed(tmp_path / "site")
    for made in (sheet_of(tmp_path / "site", everyone=True), sheet(case(1, notes=100), case(2), resources=120)):
        shown = printed(made, language)
        assert max(map(len, shown.replace("\f", "").split("\n"))) <= 80
        for page in shown.split("\f"):
            assert len(page.split("\n")) <= text.PAGE_LINES + 1


def test_every_page_says_whose_sheet_it_is_and_which_page_of_how_many() -> None:
    """Pages fall on the floor."""
    pages = printed(sheet(case(1, notes=100), case(2))).split("\f")
    assert len(pages) > 3
    for number, page in enumerate(pages, 1):
        head = page.split("\n")[0]
        assert head.startswith("Sheet of fr.health.samu440")
        assert head.endswith(f"page {number}/{len(pages)}")


def test_a_case_that_fits_a_page_is_on_one_page_and_a_longer_one_says_that_it_goes_on() -> None:
    pages = printed(sheet(*(case(number, notes=5) for number in range(6)), case(99, notes=60))).split("\f")
    for number in range(6):
        assert len([page for page in pages if "note 4 mot" in page]) > 0
        assert (
            len([page for page in pages if f"  fr.health.samu440.C{number}\n" in page or f"C{number} (con" in page])
            == 1
        )
    assert sum("C99 (continued)" in page for page in pages) >= 1


def test_the_lines_to_write_on_stay_together() -> None:
    """Whatever stands before them: three lines and their names on one page."""
    for notes in range(20, 45):
        for page in printed(sheet(case(1, notes=notes))).split("\f"):
            if "By hand" in page:
                assert page.count("_" * 36) == 3
                break
        else:
            pytest.fail("there are no lines to write on")


def test_no_note_is_lost_by_the_layout() -> None:
    """Between two pages, either."""
    for kind in ("txt", "html"):
        shown = flat(printed(sheet(case(1, notes=100)), kind=kind))
        assert [at for at in range(100) if f"note {at} mot" not in shown] == []


def test_what_is_written_cannot_break_the_page() -> None:
    """Line breaks, form feeds, escapes of a printer and marks that turn the writing direction are not printed."""
    evil = "a\fb\x1b[2Jc\r\nd\u202ee\u2028f\x00"
    made = sheet(case(1, notes=0, lines=(("place", evil),)))
    shown = printed(made)
    assert shown.count("\f") == len(re.findall(r"page \d+/\d+", shown)) - 1
    assert not set(shown) & set("\x1b\r\x00\u202e\u2028")
    assert "a b\ufffd[2Jc d\ufffde f\ufffd" in shown


# --- HTML ---


class Seen(HTMLParser):
    """Every tag with its attributes, and whether all that opened closed in its order."""

    VOID = {"meta", "col", "br", "!doctype"}

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def nasty() -> Sheet:
    said = Said(NASTY, NASTY, NOW_MS)
    made = case(
        1,
        lines=(("place", NASTY), ("access.floor", NASTY)),
        patients=(Patient(NASTY, (("name", NASTY), ("age", NASTY))),),
        engaged=(Engaged(NASTY, NASTY, "engaged", NASTY, NOW_MS, False),),
        clashes=(Clash(NASTY, NASTY, (said, said), True, (said,)),),
        numbers=((NASTY, NASTY),),
        documents=(NASTY,),
    )
    made = dataclasses.replace(made, id=NASTY, owner=NASTY, status=NASTY, priority=said, notes=(Note("note", said),))
    resource = ResourceSheet(NASTY, NASTY, NASTY, NASTY, NOW_MS, True, NASTY, NASTY)
    facts = dataclasses.replace(FACTS, whose=NASTY, authority=NASTY, cluster=NASTY)
    return Sheet(facts, (Trouble("record", NASTY, NASTY),), (made,), (resource,))


def test_html_escapes_whatever_people_write() -> None:
    """In texts, in attributes and in the style sheet: there is no script, and no tag that is not ours."""
    shown = printed(nasty(), kind="html")
    seen = Seen()
    seen.feed(shown)
    assert seen.open == []
    assert {tag for tag, _ in seen.tags} == {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "div", "p", "section", "span", "dl", "dt", "dd",
        "table", "caption", "colgroup", "col", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert shown.count("</style>") == 1
    assert "&lt;script&gt;" in shown


def test_html_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    """It is opened on a machine without a network."""
    killed(tmp_path / "site")
    seen = Seen()
    shown = printed(sheet_of(tmp_path / "site"), "fr", "html")
    seen.feed(shown)
    assert seen.open == []
    assert not [name for _, attributes in seen.tags for name in attributes if name in ("src", "href")]
    assert "url(" not in shown
    assert "@import" not in shown
    assert "@page { size: A4;" in shown


def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    """Every word of the text stands in the HTML too, but for what belongs to its lines and pages."""
    killed(tmp_path / "site")
    document = compose(sheet_of(tmp_path / "site"), Words("fr"), clock)
    html = printed(sheet_of(tmp_path / "site"), "fr", "html")
    cells = [cell for block in document.blocks for table in block.tables for row in table.rows for cell in row]
    lines = [line.text for block in document.blocks for line in block.lines]
    titles = [block.title for block in document.blocks]
    assert [one for one in (*cells, *lines, *titles) if escape(one) not in html] == []
    assert HEART in titles


# --- times ---


def test_ages_are_said_in_the_unit_that_a_person_uses() -> None:
    ages = {
        5_000: "5 s before",
        600_000: "10 min before",
        7_500_000: "2 h 05 min before",
        400_000_000: "4 d 15 h before",
    }
    for age_ms, said in ages.items():
        facts = dataclasses.replace(FACTS, confirmed_ms=NOW_MS - age_ms)
        assert said in flat(printed(Sheet(facts, (), (), ())))


def test_a_clock_that_disagrees_is_said_and_not_reckoned_with() -> None:
    """Confirmed in the future: this machine's clock is wrong, and an age would be made up."""
    facts = dataclasses.replace(FACTS, confirmed_ms=NOW_MS + 3_600_000)
    assert "the clock of this machine disagrees" in flat(printed(Sheet(facts, (), (), ())))


def test_many_troubles_are_counted_beyond_the_first() -> None:
    """A file that is damaged all over would fill the page with names."""
    damage = Damage(troubles=dict.fromkeys(Trouble("journal-record", str(number)) for number in range(50)))
    assert len(damage.all()) == 13
    assert damage.all()[-1] == Trouble("more", "38")
