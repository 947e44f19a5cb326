"""A preview in front of the copy: own cases ahead of the rest, nothing twice, nothing missing, nothing going back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from replica.cases import keys, queries
from replica.cases.commands import AddNote, ChangePriority, CloseCase, Payload, TakeOver, TransferCase
from replica.cases.queries import CaseView
from replica.cases.records import Empty, Layer, Overlay
from replica.cases.scope import Gathering, Subject, wanted
from replica.cases.verdicts import Effects
from replica.cases.views import ValueView
from replica.offline import events
from replica.offline.preview import Preview, Shown, Split, preview
from replica.offline.view import WorkingView
from tests.offline.solo import CASE, Solo, note, report
from tests.offline.world import A, B

THEIRS = f"{B}.case1"
"""A case of the neighbour's, which is not covered."""


def of_now(solo: Solo, *known: Subject) -> Preview:
    """As a zone would make it now."""
    found = Gathering(solo.zone, A, 1 << 24)
    found.take(wanted(solo.zone, A, known))
    return preview(solo.index, solo.term, found.covered, found.records)


def given_preview(solo: Solo, *known: Subject) -> Preview:
    made = of_now(solo, *known)
    solo.step(events.Previewed(solo.now_ms, made))
    return made


def shown(solo: Solo, case: str = CASE) -> list[str]:
    view = read(solo, case)
    return sorted(one.key for one in view.elements if one.field == "medical_note")


def read(solo: Solo, case: str = CASE) -> CaseView:
    view = queries.read_case(solo.core.view(), case, solo.core.agreed_up_to)
    assert view is not None
    return view


class Away:
    """A site that was cut off while the log went on; what the feed still has to bring is kept."""

    def __init__(self) -> None:
        self.solo = Solo().connected()
        self.seq = 2
        self.backlog: list[Effects] = []
        self.solo.feed(self.theirs(report(THEIRS, B)))
        self.backlog.clear()

    def theirs(self, payload: Payload) -> Effects:
        effects = self.solo.partner(payload, self.seq)
        self.seq += 1
        self.backlog.append(effects)
        return effects

    def own(self, payload: Payload, reaches: bool) -> None:
        """Somebody here does something; `reaches`: the zones agree on it, and nobody here hears of that."""
        solo = self.solo
        solo.issue(payload)
        solo.journalled()
        if reaches:
            agreed = {effects.decided[0].id for effects in self.backlog if effects.decided}
            for operation in solo.core._ledger.undecided():
                if operation.id not in agreed:
                    self.backlog.append(solo.take(operation))


def test_own_cases_are_as_of_now_while_the_copy_is_as_it_was() -> None:
    away = Away()
    solo = away.solo
    away.theirs(AddNote(CASE, "new", "ahead"))
    away.theirs(AddNote(THEIRS, "far", "with the rest"))
    held = given_preview(solo)
    assert (shown(solo), shown(solo, THEIRS)) == (["new"], [])
    assert not any(value.tentative for value in values(read(solo)))
    fresh = solo.core.freshness(solo.now_ms)
    ahead = solo.core.freshness(solo.now_ms, A, ("case", CASE))
    assert (fresh.index, fresh.preview_index, ahead.index) == (held.index - 2, held.index, held.index)
    assert solo.core.freshness(solo.now_ms, A, ("case", THEIRS)).index == fresh.index
    assert solo.core.freshness(solo.now_ms, B, ("case", THEIRS)).index == fresh.index
    solo.issue(note("mine"))
    assert solo.core._ledger.own.last == 1
    assert shown(solo) == ["mine", "new"]
    assert [one.seen for one in solo.core._ledger.undecided()] == [fresh.index]


def values(view: CaseView) -> list[ValueView]:
    return [one.value for one in view.elements]


def test_an_operation_is_shown_once_wherever_it_is_decided() -> None:
    """In the preview and not in the copy; about what is covered, and about what is not."""
    away = Away()
    solo = away.solo
    solo.cut()
    away.own(AddNote(CASE, "own, agreed", "x"), reaches=True)
    away.own(AddNote(THEIRS, "theirs, agreed", "x"), reaches=True)
    away.own(AddNote(CASE, "own, here", "x"), reaches=False)
    away.own(AddNote(THEIRS, "theirs, here", "x"), reaches=False)
    given_preview(solo)
    for _ in range(len(away.backlog) + 1):
        assert shown(solo) == ["own, agreed", "own, here"]
        assert shown(solo, THEIRS) == ["theirs, agreed", "theirs, here"]
        if away.backlog:
            solo.feed(away.backlog.pop(0))
    assert solo.core.preview is None
    assert solo.core.undecided == 2


def test_the_way_back_to_the_copy_costs_nothing_and_changes_nothing() -> None:
    """When the feed comes to the preview's entry both say the same, and the view over the copy is made already."""
    away = Away()
    solo = away.solo
    solo.cut()
    away.own(note("here"), reaches=False)
    for number in range(5):
        away.theirs(AddNote(CASE, f"n{number}", "x"))
    held = given_preview(solo)
    for effects in away.backlog[:-1]:
        solo.feed(effects)
    before = solo.core.view()
    assert isinstance(before, Shown)
    was = {key: value for key, value in before.scan(b"") if held.covers(key)}
    below = solo.core._view._below.records(())
    solo.feed(away.backlog[-1])
    assert solo.core.preview is None
    assert solo.core.view() is below
    assert {key: value for key, value in solo.core.view().scan(b"") if held.covers(key)} == was
    agreed = {key: value for key, value in solo.base.records.items() if held.covers(key)}
    assert agreed == dict(held.records.scan(b""))


def test_a_case_closed_meanwhile_is_not_shown_open() -> None:
    """Nor one handed over; by whoever was in charge."""
    away = Away()
    solo = away.solo
    solo.issue(report(f"{A}.gone"))
    solo.journalled()
    solo.agree(*solo.core._ledger.undecided())
    away.theirs(TakeOver(A, B, 1, "silent"))
    away.theirs(CloseCase(CASE))
    away.theirs(TransferCase(f"{A}.gone", B))
    assert read(solo).open
    given_preview(solo, ("case", CASE), ("case", f"{A}.gone"))
    assert not read(solo).open
    assert read(solo, f"{A}.gone").owner == B
    assert queries.list_cases(solo.core.view(), owner=A, open=True) == []
    assert solo.core.freshness(solo.now_ms).authority == B
    assert solo.core.freshness(solo.now_ms).epoch == 2


def test_a_preview_that_would_go_back_is_not_taken() -> None:
    """Older than the copy or than the one held; or without a case that is shown ahead now."""
    away = Away()
    solo = away.solo
    behind = of_now(solo)
    solo.feed(away.theirs(note("a")))
    away.backlog.clear()
    solo.step(events.Previewed(solo.now_ms, behind))
    assert solo.core.preview is None
    first = of_now_after(away, "b")
    second = of_now_after(away, "c")
    solo.step(events.Previewed(solo.now_ms, second))
    solo.step(events.Previewed(solo.now_ms, first))
    assert solo.core.preview is second
    away.theirs(TakeOver(A, B, 1, "silent"))
    away.theirs(CloseCase(CASE))
    given_preview(solo)
    assert solo.core.preview is second
    third = given_preview(solo, ("case", CASE))
    assert solo.core.preview is third
    assert not read(solo).open


def of_now_after(away: Away, name: str) -> Preview:
    away.theirs(AddNote(CASE, name, "x"))
    return of_now(away.solo)


def test_a_whole_state_takes_its_place_or_leaves_it_standing() -> None:
    """As of the preview's entry or later it goes; before that the view is remade under it."""
    away = Away()
    solo = away.solo
    away.theirs(AddNote(CASE, "n1", "x"))
    older = dict(solo.zone.records), solo.index
    away.theirs(AddNote(CASE, "n2", "x"))
    held = given_preview(solo)
    solo.base.records.clear()
    solo.base.records.update(older[0])
    solo.step(events.Replaced(solo.now_ms, older[1], solo.term))
    assert solo.core.preview is held
    assert shown(solo) == ["n1", "n2"]
    solo.replaced()
    assert solo.core.preview is None
    assert shown(solo) == ["n1", "n2"]


def test_a_preview_goes_with_its_history() -> None:
    """The cluster is founded anew out of a zone that was behind."""
    away = Away()
    solo = away.solo
    state, index = dict(solo.zone.records), solo.index
    away.theirs(AddNote(CASE, "lost", "x"))
    held = given_preview(solo)
    solo.found_anew(state, index)
    solo.replaced()
    assert solo.core.preview is None
    assert shown(solo) == []
    solo.step(events.Previewed(solo.now_ms, held))
    assert solo.core.preview is None


def test_a_cut_leaves_it_and_a_first_start_begins_with_it() -> None:
    away = Away()
    solo = away.solo
    away.theirs(AddNote(CASE, "n", "x"))
    held = given_preview(solo)
    solo.cut()
    assert solo.core.preview is held
    new = Solo(life=bytes([8] * 16), knows_case=False)
    new.step(events.Previewed(new.now_ms, held))
    assert shown(new) == ["n"]
    assert (new.core.applied[0], new.core.agreed_up_to) == (0, held.index)


def test_split_records_are_read_in_order_of_their_keys() -> None:
    """A list of cases goes through what is ahead and what is not as through one."""
    front = preview(9, 1, (b"Cb", b"cb\0", b"L"), ((b"Cb", b"new"), (b"cb\0x", b"1"), (b"L", b"2")))
    back = above_nothing({b"Ca": b"a", b"Cb": b"old", b"Cc": b"c", b"cb\0gone": b"0", b"cc\0x": b"3"})
    split = Split(front, front.records, back)
    assert list(split.scan(b"C")) == [(b"Ca", b"a"), (b"Cb", b"new"), (b"Cc", b"c")]
    assert list(split.scan(b"cb\0")) == [(b"cb\0x", b"1")]
    assert list(split.scan(b"cc\0")) == [(b"cc\0x", b"3")]
    assert [key for key, _ in split.scan(b"")] == [b"Ca", b"Cb", b"Cc", b"L", b"cb\0x", b"cc\0x"]
    assert (split.get(b"cb\0gone"), split.get(b"cc\0x"), split.get(b"L")) == (None, b"3", b"2")


def above_nothing(records: dict[bytes, bytes]) -> Overlay:
    return Overlay(Empty(), Layer(dict(records)))


CASES = (CASE, THEIRS)
ACTS = st.one_of(
    st.builds(AddNote, st.sampled_from(CASES), st.sampled_from(("n1", "n2", "n3")), st.sampled_from(("x", "y"))),
    st.builds(ChangePriority, st.sampled_from(CASES), st.sampled_from(("P0", "P1", "P2"))),
    st.builds(CloseCase, st.sampled_from(CASES)),
)
STEPS = st.lists(st.tuples(st.sampled_from(("theirs", "own, agreed", "own, here")), ACTS), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(STEPS, STEPS, st.integers(0, 12))
def test_what_is_covered_is_as_in_the_whole_state_and_never_goes_back(
    before: list[tuple[str, Payload]], after: list[tuple[str, Payload]], later: int
) -> None:
    """At every step of the catch-up: what is covered, as the whole state of the preview's entry with the journal on
    top, through the same apply and gate; the rest, as the copy with the journal on top."""
    away = Away()
    solo = away.solo
    solo.cut()
    play(away, before)
    held = given_preview(solo, ("case", CASE))
    state = above_nothing(solo.zone.records)
    for at in range(len(away.backlog) + 1):
        if at == min(later, len(away.backlog)):
            play(away, [one for one in after if one[0] == "own, here"])
        if solo.core.preview is not None:
            ahead = WorkingView(state).records([one for one in solo.core._ledger.undecided() if not held.has(one.id)])
            below = WorkingView(solo.base).records(solo.core._ledger.undecided())
            view = dict(solo.core.view().scan(b""))
            assert covered(held, view, True) == covered(held, dict(ahead.scan(b"")), True)
            assert covered(held, view, False) == covered(held, dict(below.scan(b"")), False)
        assert own_agreed(read(solo)) >= own_agreed_in(solo, held)
        if at < len(away.backlog):
            solo.feed(away.backlog[at])
    assert solo.core.preview is None or not away.backlog
    if away.backlog:
        whole = dict(WorkingView(solo.base).records(solo.core._ledger.undecided()).scan(b""))
        assert cases_of(dict(solo.core.view().scan(b""))) == cases_of(whole)


def play(away: Away, steps: list[tuple[str, Payload]]) -> None:
    for who, payload in steps:
        if who == "theirs":
            away.theirs(payload)
        else:
            away.own(payload, reaches=who == "own, agreed")


def covered(held: Preview, records: dict[bytes, bytes], is_covered: bool) -> dict[bytes, bytes]:
    """Without digests, which nobody compares in a view, and without the site's counts: those forecast verdicts about
    what is not covered, too."""
    return {key: one for key, one in records.items() if held.covers(key) == is_covered and key[:1] not in b"dDtS"}


def cases_of(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: one for key, one in records.items() if key[:1] in b"Ccx"}


def own_agreed(view: CaseView) -> set[tuple[str, str]]:
    return {(one.key, one.value.value) for one in view.elements}


def own_agreed_in(solo: Solo, held: Preview) -> set[tuple[str, str]]:
    view = queries.read_case(held.records, CASE)
    assert view is not None
    assert keys.head("case", CASE) in held.covered
    return own_agreed(view)
