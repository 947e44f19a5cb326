"""The working view (rule 14), trimming (rule 15), freshness and outcomes."""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from replica.cases import keys, queries
from replica.cases.commands import AddNote, TakeOver
from replica.cases.machine import foresee
from replica.cases.operations import OperationId
from replica.cases.records import Records
from replica.cases.verdicts import Effects
from replica.offline.clock import SURE
from replica.offline.events import Flushed, Mode
from replica.offline.view import WorkingView
from tests.offline.invariants import notes, siblings
from tests.offline.solo import CASE, LIFE, Solo, note, priority, report
from tests.offline.world import NOON, A, B


def test_a_site_reads_its_own_writes_before_anybody_has_agreed() -> None:
    """And before the disk has answered, too."""
    solo = Solo()
    solo.journalled()
    solo.cut()
    solo.issue(priority("P1"))
    assert [held.value for held in siblings(solo.core.view(), CASE)] == ["P1"]
    assert siblings(solo.base, CASE) == ()
    assert solo.core.is_tentative(keys.parts("case", CASE))


def test_the_view_is_kept_while_nothing_moves_and_carried_on_by_new_operations() -> None:
    """A read costs nothing where nothing happened."""
    solo = Solo()
    solo.cut()
    solo.issue(priority("P1"))
    first = solo.core.view()
    assert solo.core.view() is first
    solo.issue(priority("P0"))
    assert solo.core.view() is first
    assert [held.value for held in siblings(first, CASE)] == ["P0"]


def test_no_read_misses_an_operation_or_doubles_it_while_the_feed_brings_it() -> None:
    """The very state that holds it says so, and the view is made of that state."""
    solo = Solo().connected()
    solo.cut()
    for _ in range(5):
        solo.issue()
    solo.journalled()
    solo.line_up()
    seen = []
    for operation in solo.sent()[1:6]:
        seen.append(len(notes_by_operation(solo.core.view())))
        solo.agree(operation)
        seen.append(len(notes_by_operation(solo.core.view())))
    assert seen == [5] * 10
    assert dict(solo.core.view().scan(b"")) == solo.zone.records


def notes_by_operation(records: Records) -> list[bytes]:
    return [key for key, _ in records.scan(keys.elements(keys.parts("case", CASE)))]


def test_after_the_verdict_the_view_is_the_agreed_state() -> None:
    """Nothing of the tentative is left over."""
    solo = Solo().connected()
    solo.issue(priority("P2"))
    solo.journalled()
    solo.agree(solo.sent()[-1])
    assert not solo.core.is_tentative(b"")
    assert notes(solo.core.view(), CASE) == set()


def test_only_what_is_flushed_is_trimmed() -> None:
    """Rule 15: what the feed has brought could be lost again here, and with it this site's own effects."""
    solo = Solo().connected()
    solo.issue()
    solo.journalled()
    solo.agree(solo.sent()[-1])
    assert solo.trims() == []
    solo.flush()
    assert solo.trims() == [(LIFE, 1)]


def test_a_flush_counts_what_was_known_at_its_index_and_no_more() -> None:
    """The flush began before the last entry came."""
    solo = Solo().connected()
    flushed = solo.core.applied[0]
    solo.issue()
    solo.journalled()
    solo.agree(solo.sent()[-1])
    solo.step(Flushed(solo.now_ms, flushed))
    assert solo.trims() == [(LIFE, 0)]


def test_an_operation_carries_what_its_author_had_seen() -> None:
    """Rule 1: index, epoch, clock, and whose verdicts it holds durably."""
    solo = Solo().connected()
    solo.issue(wall_ms=NOON - 10_000_000)
    solo.journalled()
    operation = solo.journal[-1]
    assert (operation.seen, operation.epoch, operation.have) == (solo.core.applied[0], 1, 0)
    assert (operation.clock.wall_ms, operation.clock.counter) == (NOON + solo.now_ms, SURE)
    assert operation.act_ms == operation.clock.wall_ms
    solo.agree(operation)
    solo.issue()
    assert solo.journal[-1].have == 0
    solo.journalled()
    solo.flush()
    solo.issue()
    assert solo.journal[-1].have == 1


def test_freshness_says_what_is_so() -> None:
    """Mode, index, age, authority, what is undecided."""
    solo = Solo()
    before = solo.core.freshness(solo.now_ms)
    assert (before.mode, before.confirmed_age_ms, before.unconfirmed_since_ms) == (Mode.CUT_OFF, None, 0)
    assert before.clock_unsure
    solo.connected()
    solo.issue()
    solo.now_ms += 40
    fresh = solo.core.freshness(solo.now_ms)
    assert (fresh.mode, fresh.index, fresh.confirmed_age_ms) == (Mode.CONNECTED, solo.index, 40)
    assert (fresh.authority, fresh.epoch, fresh.undecided) == (A, 1, 1)
    assert (fresh.unconfirmed_since_ms, fresh.clock_unsure) == (None, False)
    solo.cut()
    solo.now_ms += 7_200_000
    cut = solo.core.freshness(solo.now_ms)
    assert (cut.mode, cut.confirmed_age_ms) == (Mode.CUT_OFF, 7_200_040)
    assert cut.unconfirmed_since_ms == NOON + 1000


def test_freshness_follows_what_happens_within_one_millisecond() -> None:
    """What was told a moment before is told again only as long as nothing happened since."""
    solo = Solo().connected()

    def told() -> tuple[int, int, bool]:
        fresh = solo.core.freshness(solo.now_ms)
        return fresh.index, fresh.undecided, fresh.drill

    before = told()
    solo.issue()
    assert told() == (before[0], 1, False)
    solo.journalled()
    solo.agree(solo.journal[-1])
    assert told() == (before[0] + 1, 0, False)
    solo.core.drill = True
    assert told() == (before[0] + 1, 0, True)


def test_freshness_names_who_took_over() -> None:
    """A case of a Samu that was taken over is in its neighbour's charge, and the epoch says since when."""
    solo = Solo().connected()
    solo.base.change(solo.partner(TakeOver(A, B, 1, "drowned"), 2).changes)
    solo.replaced()
    fresh = solo.core.freshness(solo.now_ms, A)
    assert (fresh.authority, fresh.epoch) == (B, 2)
    solo.issue(note("later"))
    assert solo.journal[-1].epoch == 2


def test_outcomes_are_known_across_restarts() -> None:
    """From the journal, from the local table, and from the gate where neither has it any more."""
    solo = Solo().connected()
    for _ in range(3):
        solo.issue(budget_ms=0)
    solo.journalled()
    solo.agree(*solo.sent()[1:3])
    solo.flush()
    left = [operation for operation in solo.journal if operation.id.seq > 2]
    again = Solo(life=bytes([8] * 16), journal=left, latest=(LIFE, 3), zone=solo.zone, index=solo.index)
    again.local.update(solo.local)
    states = [again.core.outcome(OperationId(A, LIFE, seq)).state for seq in (1, 2, 3, 4)]
    assert states == ["agreed", "agreed", "journalled", "unknown"]
    again.local.clear()
    forgotten = again.core.outcome(OperationId(A, LIFE, 1))
    assert (forgotten.state, forgotten.index) == ("agreed", 0)
    assert queries.current(solo.zone, A) == LIFE


def test_an_entry_without_changes_makes_nothing_of_ours_agreed() -> None:
    """Found by the world of sites (seed 32): a leader's first entry moved the index past the number that a kept note
    had in the view, and it was shown as agreed."""
    solo = Solo().connected()
    solo.cut()
    solo.issue(priority("P1"))
    solo.journalled()
    assert tentative(solo) == [True]
    for _ in range(3):
        solo.index += 1
        solo.feed(Effects(solo.index, 1, NOON, (), ()))
    assert tentative(solo) == [True]


def tentative(solo: Solo) -> list[bool]:
    """Of each value of the case's priority, as read now."""
    view = queries.read_case(solo.core.view(), CASE, solo.core.applied[0])
    assert view is not None
    (priority_field,) = [one for one in view.fields if one.field == "priority"]
    return [value.tentative for value in priority_field.values]


def away(cases: int, notes_each: int) -> Solo:
    """A site that kept a note after the other on its own cases, all of them in turn, while cut off."""
    solo = Solo().connected()
    solo.cut()
    for case in range(cases):
        solo.issue(report(f"{A}.c{case}"))
    for number in range(cases * notes_each):
        solo.issue(AddNote(f"{A}.c{number % cases}", f"n{number}", f"note {number}"))
    solo.journalled()
    return solo


def test_what_a_feed_entry_costs_a_reader_is_what_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the journal, the same work for each entry that comes: one case's operations, not all."""
    made: Counter[bool] = Counter()

    def counted(*arguments: Any, again: bool = False) -> Any:
        made[again] += 1
        return foresee(*arguments, again=again)  # type: ignore[misc]  # as it was called

    monkeypatch.setattr("replica.offline.view.foresee", counted)
    for cases in (4, 40):
        solo = away(cases, 5)
        solo.core.view()
        made.clear()
        solo.line_up()
        for operation in solo.sent()[:5]:
            solo.agree(operation)
            solo.core.view()
        assert made[False] == 0, "an operation was taken in a second time"
        assert made[True] <= 5 * 5, f"{made[True]} operations were made anew for 5 entries"


def test_where_most_is_concerned_the_view_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """In mid-replay: nothing is taken out one by one then, what is decided least of all. And it is the same view."""
    monkeypatch.setattr("replica.offline.view.LEAST_ANEW", 20)
    solo = away(4, 10)
    solo.core.view()
    solo.line_up()
    for operation in solo.sent()[:10]:
        solo.agree(operation)
    taken: list[bool] = []

    def counted(*arguments: Any, again: bool = False) -> Any:
        taken.append(again)
        return foresee(*arguments, again=again)  # type: ignore[misc]  # as it was called

    monkeypatch.setattr("replica.offline.view.foresee", counted)
    view = dict(solo.core.view().scan(b""))
    assert taken == [False] * solo.core.undecided
    assert view == dict(WorkingView(solo.base).records(solo.core._ledger.undecided()).scan(b""))


def test_a_view_made_ready_little_by_little_is_the_view() -> None:
    """In slices, and also where the state moves in between, or somebody reads before it is ready."""
    solo = away(5, 4)
    whole = dict(WorkingView(solo.base).records(solo.core._ledger.undecided()).scan(b""))
    solo.core._view.invalidate()
    assert solo.core.prepare_view(7) > 0
    while solo.core.prepare_view(7):
        pass
    assert dict(solo.core.view().scan(b"")) == whole
    other = away(5, 4)
    other.core._view.invalidate()
    other.core.prepare_view(3)
    assert dict(other.core.view().scan(b"")) == whole


def test_what_comes_to_nothing_takes_with_it_what_was_built_on_it() -> None:
    """A case that a site opened here, and that the log did not open after all: the note on it is not left behind in the
    air, though no record of the case changed below."""
    solo = Solo().connected()
    solo.cut()
    solo.issue(report(f"{A}.x"))
    solo.issue(AddNote(f"{A}.x", "n", "on a case that will not be"))
    solo.journalled()
    assert queries.read_case(solo.core.view(), f"{A}.x") is not None
    solo.line_up()
    effects = solo.take(solo.sent()[-2])
    counted = tuple(change for change in effects.changes if change[0][:1] in (keys.SITES, keys.STREAMS))
    solo.feed(replace(effects, changes=counted))
    view = dict(solo.core.view().scan(b""))
    anew = dict(WorkingView(solo.base).records(solo.core._ledger.undecided()).scan(b""))
    assert {key for key in view if key[:1] in b"Ccv"} == {key for key in anew if key[:1] in b"Ccv"}
    assert queries.read_case(solo.core.view(), f"{A}.x") is None


def test_no_read_misses_or_doubles_an_operation_in_a_thousand_replays() -> None:
    """Of one to six notes each, a stranger's notes in between, and a read after every step; every third replay is
    broken off by a new cut, and goes on with the next."""
    dice, strangers = Random(5), count(2)
    solo, written, read = Solo().connected(), 0, 0
    for replay in range(1000):
        solo.cut()
        for _ in range(dice.randint(1, 6)):
            solo.issue(AddNote(CASE, f"n{written}", f"note {written}"))
            written += 1
        solo.journalled()
        solo.forget()
        solo.line_up()
        waiting = [operation for operation in solo.sent() if operation.id.seq > 0]
        stop = dice.randint(0, len(waiting)) if replay % 3 == 0 else len(waiting)
        for operation in waiting[:stop]:
            solo.agree(operation)
            if dice.random() < 0.3:
                seq = next(strangers)
                solo.feed(solo.partner(AddNote(CASE, f"s{seq}", "theirs"), seq))
            assert shown(solo) == written, f"replay {replay}"
            assert taken(solo) == solo.core.undecided, f"replay {replay}"
            read += 1
        if replay % 50 == 49:
            solo, written, strangers = Solo().connected(), 0, count(2)
    assert read > 2000


def taken(solo: Solo) -> int:
    """How many operations the view has on top of the state: the same note twice would look like one."""
    above, below = (queries.site(records, A) for records in (solo.core.view(), solo.base))
    assert above is not None
    assert below is not None
    return sum(above.verdicts.values()) - sum(below.verdicts.values())


def shown(solo: Solo) -> int:
    """How many of the own notes the case shows; each once."""
    view = queries.read_case(solo.core.view(), CASE)
    assert view is not None
    own = [one.key for one in view.elements if one.field == "medical_note" and one.key.startswith("n")]
    assert len(own) == len(set(own))
    return len(own)
