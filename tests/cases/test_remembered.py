"""Views that are kept: the kept one is what a fresh look would say, always, and looking again is rare."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.cases import keys, machine, queries, remembered
from replica.cases.commands import (
    AddNote,
    ChangePriority,
    CloseCase,
    EngageResource,
    Opening,
    Payload,
    RaiseLevel,
    RegisterOrganisation,
    ReopenCase,
    TakeOver,
    TransferCase,
)
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.operations import Batch
from replica.cases.records import Empty, Layer, Overlay, Records
from replica.cases.remembered import Remembered
from replica.cases.views import CaseView
from tests.cases.world import A, B, C, Site, about, creation, notes, status, two_sites, vehicle

CASES = ("one", "one more", "two")
"""One name is the beginning of another."""


class Watched(Overlay):
    """A state that counts how often it is looked into."""

    looks = 0

    def get(self, key: bytes) -> bytes | None:
        self.looks += 1
        return super().get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        self.looks += 1
        return super().scan(prefix)


class Kept:
    """A world of three cases and a vehicle whose views are kept; each entry says what it changed, as a state does."""

    def __init__(self) -> None:
        self.world, a, b = two_sites()
        self.sites = {A: a, B: b}
        self.records = self.world.records = Watched(Empty(), self.world.records.changes)
        self.views = Remembered(self.records)
        for level in range(2, HIGHEST_LEVEL + 1):
            self.do(A, RaiseLevel(level))
        for name in CASES:
            self.do(A, creation(name, A))
        self.do(A, vehicle("smur", A))

    def do(self, site: str, what: Payload) -> None:
        effects = self.world.agree(self.sites[site].operation(what))
        assert effects.decided, effects.held
        self.views.moved(dict(effects.changes))

    def read(self, name: str, records: Records | None = None) -> CaseView | None:
        return self.views.case(name, self.records if records is None else records, queries.ALL_AGREED)

    def looks(self, name: str, records: Records | None = None) -> int:
        """How often a read of it looks into the state."""
        before = self.records.looks
        self.read(name, records)
        return self.records.looks - before

    def ahead(self, what: Payload, site_name: str = A) -> Overlay:
        """What a site shows: the state with an operation of its own on top."""
        site = self.sites[site_name]
        operation = site.operation(what)
        site.last -= 1  # it is not agreed, and the next has its number
        batch = Batch(self.world.now_ms, HIGHEST_LEVEL, (operation,), HIGHEST_LEVEL, ())
        changes = Layer(dict(machine.apply(self.records, batch, self.world.index + 1, 1).changes))
        assert changes, "the operation changes nothing"
        return Overlay(self.records, changes)


ACTS: tuple[Callable[[str, int], Payload], ...] = (
    lambda case, number: AddNote(case, f"n{number}", f"note {number}"),
    lambda case, number: ChangePriority(case, f"P{number % 4}"),
    lambda case, number: creation(case, B),
    lambda case, number: CloseCase(case),
    lambda case, number: ReopenCase(case),
    lambda case, number: TransferCase(case, B),
    lambda case, number: EngageResource(case, "smur"),
    lambda case, number: about("smur", case, status("DECLENCHE")),
    lambda case, number: TakeOver(A, B, number, "drowned", cases=(case,)),
    lambda case, number: RegisterOrganisation(f"samu44-{number}", A, A),
)


@given(st.lists(st.tuples(st.sampled_from((A, B)), st.sampled_from(ACTS), st.sampled_from(CASES)), max_size=12))
def test_what_is_kept_is_what_a_fresh_look_says_whatever_is_agreed_in_between(
    acts: list[tuple[str, Callable[[str, int], Payload], str]],
) -> None:
    kept = Kept()
    for number, (site, act, case) in enumerate(acts, 1):
        kept.do(site, act(case, number))
        for name in (*CASES, "never named"):
            assert kept.read(name) == queries.read_case(kept.records, name)
            assert kept.looks(name) == 0


def test_a_change_of_a_case_takes_its_view_away_and_leaves_the_others() -> None:
    kept = Kept()
    for name in CASES:
        kept.read(name)
    kept.do(A, AddNote("one", "n1", "he breathes"))
    assert [name for name in CASES if kept.looks(name)] == ["one"]
    seen = kept.read("one")
    assert seen is not None
    assert "he breathes" in notes(seen)[0]


def test_a_case_that_was_asked_for_before_anybody_named_it_is_seen_once_it_is_there() -> None:
    kept = Kept()
    assert kept.read("new") is None
    assert kept.looks("new") == 0
    kept.do(A, creation("new", A))
    assert kept.read("new") is not None


def test_a_site_that_shows_its_own_act_on_a_case_reads_that_case_with_it_and_the_others_as_kept() -> None:
    """A record that the view was looked up for, and one that begins as what was looked for (a first note) alike."""
    kept = Kept()
    for name in CASES:
        kept.read(name)
    for act in (ChangePriority("one", "P0"), AddNote("one", "n1", "on its way")):
        ahead = kept.ahead(act)
        assert kept.read("one", ahead) == queries.read_case(ahead, "one")
        assert kept.read("one", ahead) != kept.read("one")
        assert [name for name in CASES if kept.looks(name, ahead)] == ["one"]


def test_a_change_of_charge_on_top_is_seen_in_the_cases_whose_owner_it_is_about() -> None:
    """Their own records are the same; what they hang on is not."""
    kept = Kept()
    kept.do(B, creation("theirs", B))
    kept.read("one")
    kept.read("theirs")
    ahead = kept.ahead(TakeOver(A, B, 1, "drowned"), B)
    assert not ahead.changes.keys() & dict(kept.records.scan(b"cone")).keys()
    assert kept.read("one", ahead) == queries.read_case(ahead, "one")
    assert kept.looks("one", ahead) > 0
    assert kept.looks("theirs", ahead) == 0


def test_a_case_of_a_samu_that_comes_later_is_looked_at_again_once_it_has_come() -> None:
    """How a site's verdicts count up changes nothing in its cases; that there is the site at all may."""
    kept = Kept()
    kept.do(A, creation("for later", C))
    kept.read("for later")
    opening = Site(C, bytes(16), kept.world).numbered(0, Opening(None, 0, None))
    kept.views.moved(dict(kept.world.agree(opening).changes))
    assert kept.looks("for later") > 0
    assert kept.read("for later") == queries.read_case(kept.records, "for later")


def test_over_another_state_nothing_that_is_kept_is_said() -> None:
    kept, other = Kept(), Kept()
    kept.read("one")
    other.do(A, CloseCase("one"))
    assert kept.read("one", other.records) == queries.read_case(other.records, "one")
    assert kept.read("one", Overlay(other.records)) == queries.read_case(other.records, "one")


def test_where_the_state_is_another_as_a_whole_all_views_go() -> None:
    kept = Kept()
    kept.read("one")
    kept.records.changes[keys.head("case", "one")] = None
    assert kept.read("one") is not None  # nobody has said that it changed
    kept.views.forget()
    assert kept.read("one") is None


def test_no_more_are_kept_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_VIEWS", 2)
    kept = Kept()
    for name in CASES:
        kept.read(name)
    assert [name for name in reversed(CASES) if not kept.looks(name)] == ["two"]
    kept.read("one")
    kept.read("one more")
    assert kept.read("two") == queries.read_case(kept.records, "two")
