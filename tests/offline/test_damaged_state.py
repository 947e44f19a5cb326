"""A record of the copy that cannot be read hides what it says, and nothing else (D5)."""

from __future__ import annotations

import json

import pytest

from replica.cases import keys, queries
from replica.cases.commands import AddNote, ChangePriority, CloseCase, Payload, TakeOver
from replica.errors import StoreDamaged
from replica.offline import events
from tests.offline.solo import CASE, LIFE, Solo, note, report
from tests.offline.world import A, B

OTHER = f"{A}.case2"
HEAD = keys.head("case", CASE)
NEXT_LIFE = bytes([8] * 16)


def damage(solo: Solo, *bad: bytes) -> Solo:
    """From now on these records of the copy cannot be read."""
    solo.base.bad = set(bad)
    solo.core._view.invalidate()
    return solo


def two_cases() -> Solo:
    solo = Solo().connected()
    solo.issue(report(OTHER))
    solo.journalled()
    solo.agree(*[sent for sent in solo.sent() if sent.id.seq == 1])
    assert solo.core.undecided == 0
    solo.forget()
    return solo


@pytest.mark.parametrize("bad", [HEAD, keys.charge(A), keys.site(A), keys.organisation(A), keys.stream(A, LIFE)])
def test_a_report_is_kept_whatever_cannot_be_read(bad: bytes) -> None:
    """An emergency's data is not refused for one bad bit, connected or cut off; the receipt is true."""
    for cut in (False, True):
        solo = two_cases()
        if cut:
            solo.cut()
        damage(solo, bad)
        solo.issue(report(CASE))
        solo.journalled()
        if not cut:
            solo.pass_ms(300)
        assert [one.operation.seq for one in solo.receipts(events.KeptHere)] == [2]
        assert solo.core.outcome(solo.receipts(events.KeptHere)[0].operation).state == "journalled"


@pytest.mark.parametrize("payload", [note(), ChangePriority(CASE, "P0")])
def test_what_all_may_do_goes_in_without_asking_the_damaged_record(payload: Payload) -> None:
    solo = damage(two_cases(), HEAD)
    solo.issue(payload)
    solo.journalled()
    assert [operation.payload for operation in solo.journal] == [payload]
    assert not solo.receipts(events.TurnedAway)


@pytest.mark.parametrize(("payload", "bad"), [(CloseCase(CASE), HEAD), (TakeOver(A, B, 1, "x"), None)])
def test_what_somebody_would_be_refused_is_turned_away_only_where_it_needs_the_record(
    payload: Payload, bad: bytes | None
) -> None:
    """Surely not done, and not called forbidden: nobody can say that now."""
    solo = damage(two_cases(), HEAD)
    solo.issue(payload)
    away = solo.receipts(events.TurnedAway)
    assert [one.untold for one in away] == ([True] if bad else [])
    assert bool(away) == (not solo.journal)
    assert all("is damaged here and being rebuilt" in one.why for one in away)


def test_the_epoch_last_known_is_written_where_it_cannot_be_read() -> None:
    solo = two_cases()
    epoch = solo.core.freshness(solo.now_ms, A).epoch
    solo.issue(note())
    damage(solo, keys.organisation(A), keys.charge(A))
    solo.issue(note())
    solo.journalled()
    assert [operation.epoch for operation in solo.journal] == [epoch, epoch]
    fresh = solo.core.freshness(solo.now_ms)
    assert (fresh.authority, fresh.epoch) == ("", epoch)
    assert solo.core.freshness(solo.now_ms, B).authority == B


def shown(solo: Solo, case: str) -> list[str]:
    view = queries.read_case(solo.core.view(), case)
    assert view is not None
    return sorted(json.loads(one.value.value)["freetext"] for one in view.elements)


def test_the_view_leaves_out_what_needs_the_record_and_shows_what_comes_behind_it() -> None:
    """The gate of the view lets nothing pass behind a missing number, so the number is used up."""
    solo = two_cases()
    solo.cut()
    damage(solo, HEAD)
    for case, text in ((CASE, "a"), (OTHER, "b"), (CASE, "c"), (OTHER, "d")):
        solo.issue(AddNote(case, text, text))
    solo.journalled()
    assert shown(solo, OTHER) == ["b", "d"]
    with pytest.raises(StoreDamaged):
        queries.read_case(solo.core.view(), CASE)
    solo.replaced()
    assert (shown(solo, CASE), shown(solo, OTHER)) == (["a", "c"], ["b", "d"])


@pytest.mark.parametrize("bad", [keys.site(A), keys.stream(A, LIFE)])
def test_the_view_shows_own_writes_though_the_count_of_them_cannot_be_read(bad: bytes) -> None:
    solo = two_cases()
    solo.cut()
    damage(solo, bad)
    solo.issue(AddNote(OTHER, "a", "a"))
    solo.issue(AddNote(OTHER, "b", "b"))
    solo.journalled()
    assert shown(solo, OTHER) == ["a", "b"]
    solo.replaced()
    assert shown(solo, OTHER) == ["a", "b"]
    assert solo.core.undecided == 2


@pytest.mark.parametrize(("bad", "offers"), [(keys.site(A), 1), (keys.stream(A, LIFE), 2)])
def test_a_store_opens_with_its_own_count_unreadable_and_offers_all_it_holds(bad: bytes, offers: int) -> None:
    """What is not known to be decided is sent; once the state is rebuilt the gate's word on it is found there."""
    before = Solo().connected()
    before.issue(AddNote(CASE, "a", "a"))
    before.issue(AddNote(CASE, "b", "b"))
    before.journalled()
    journal, sent = list(before.journal), before.sent()[1:]
    before.agree(sent[0])  # the second is not agreed yet
    after = Solo(life=NEXT_LIFE, journal=journal, latest=(LIFE, 2), zone=before.zone, index=before.index, bad=[bad])
    assert after.core.undecided == offers
    assert after.core.restored is after.core.fenced is False
    after.replaced()
    assert after.core.undecided == 1
    after.connected()
    assert after.core.undecided == 0
    assert shown(after, CASE) == ["a", "b"]
    assert not after.core.restored
