"""A cluster founded anew lacks what this site had agreed (O17): it is offered again, once each and in order."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from replica.cases import keys, queries
from replica.cases.commands import AddNote, ChangePriority, Opening, Payload, Tombstone
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.verdicts import VerdictKind
from replica.offline import events, lives
from replica.offline.ahead import Break, Span, fitted
from replica.offline.core import SiteConfig
from replica.offline.events import Mode
from tests.offline.solo import CASE, LIFE, Solo
from tests.offline.world import JUMP, NOON, A, B

NEXT_LIFE, LAST_LIFE = bytes([8] * 16), bytes([10] * 16)
OTHERS_LIFE = bytes([9] * 16)


@dataclass
class Lost:
    """A site that is connected, and what a zone that was behind had of its log."""

    solo: Solo
    state: dict[bytes, bytes]
    index: int


def note(name: str) -> AddNote:
    return AddNote(CASE, name, name)


def agree(solo: Solo, *payloads: Payload) -> list[Operation]:
    """Issued, agreed and, after the flush, trimmed."""
    solo.forget()
    for payload in payloads:
        solo.issue(payload)
    solo.journalled()
    issued = list(solo.sent())
    solo.agree(*issued)
    solo.flush()
    return issued


def ahead_by(*payloads: Payload, before: int = 1) -> Lost:
    """`before` notes that every zone has, then these, which the zone that is left has not."""
    solo = Solo().connected()
    agree(solo, *[note(f"before {number}") for number in range(before)])
    state, index = dict(solo.zone.records), solo.index
    agree(solo, *payloads)
    assert solo.core.undecided == 0
    assert solo.trims()
    solo.forget()
    return Lost(solo, state, index)


def restarted(solo: Solo, life: bytes = NEXT_LIFE) -> Solo:
    """The same store, opened once more. What it has in its journal and its past is found there again."""
    counted = {one.id.incarnation: one.id.seq for one in solo.remembered}
    held = {run.incarnation: run.first for run in solo.core._journal.runs if run.past < run.first}
    above = [one for one in solo.remembered if one.id.seq >= held.get(one.id.incarnation, one.id.seq + 1)]
    after = Solo(
        life=life,
        journal=above,
        latest=lives.last_life(counted.items()),
        zone=solo.zone,
        index=solo.index,
        counted=list(counted.items()),
        generation=solo.core.generation,
        gone=tuple(solo.core._ledger.gone),
        local=solo.local,
    )
    after.remembered = [*solo.remembered, *after.journal]
    return after


def names(operations: list[Operation]) -> list[str]:
    return [getattr(one.payload, "note", type(one.payload).__name__) for one in operations]


def shown(solo: Solo) -> list[str]:
    view = queries.read_case(solo.core.view(), CASE)
    assert view is not None
    return sorted(json.loads(one.value.value)["freetext"] for one in view.elements)


def test_what_the_state_lacks_is_taken_back_and_offered_again_before_what_is_newer() -> None:
    """Under its own ids, in order; and every operation has one verdict in the history that goes on."""
    lost = ahead_by(note("a"), note("b"))
    solo = lost.solo
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    assert solo.recalls() == [((LIFE, 1),)]
    solo.issue(note("newer"))
    solo.journalled()
    assert shown(solo) == ["before 0"]
    solo.recalled()
    assert shown(solo) == ["a", "b", "before 0", "newer"]
    assert solo.core.offers_again == 2
    solo.forget()
    solo.line_up()
    assert [(one.id.seq, name) for one, name in zip(solo.sent(), names(solo.sent()), strict=True)] == [
        (2, "a"), (3, "b"), (4, "newer"),
    ]  # fmt: skip
    solo.agree(*solo.sent())
    decided = [one.operation.seq for todo in solo.done for one in todo.decisions]
    assert decided == [2, 3, 4]
    assert (solo.core.undecided, solo.core.offers_again, solo.core.looks_back) == (0, 0, False)
    assert shown(solo) == ["a", "b", "before 0", "newer"]
    solo.flush()
    assert solo.trims() == [(LIFE, 4)]


def test_what_is_offered_again_is_undecided_until_it_has_its_new_verdict() -> None:
    """Whatever the local table says of the old one; also while it is looked for."""
    lost = ahead_by(note("a"))
    solo, operation = lost.solo, OperationId(A, LIFE, 2)
    old = solo.core.outcome(operation)
    assert (old.state, old.index) == ("agreed", lost.index + 1)
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    assert solo.core.outcome(operation).state == "journalled"
    assert solo.core.outcome(OperationId(A, LIFE, 1)).state == "agreed"
    solo.recalled()
    assert solo.core.outcome(operation).state == "journalled"
    solo.line_up()
    solo.agree(*solo.sent())
    new = solo.core.outcome(operation)
    assert (new.state, new.index) == ("agreed", lost.index + JUMP + 1)


def test_a_site_that_is_not_ahead_notices_nothing() -> None:
    """All it had agreed is in the state; it looks for nothing and sends nothing."""
    lost = ahead_by(note("a"))
    solo = lost.solo
    solo.found_anew(dict(solo.zone.records), solo.index)
    solo.replaced()
    solo.line_up()
    assert (solo.recalls(), solo.sent(), solo.core.undecided) == ([], [], 0)
    assert not solo.core.taken_back
    assert solo.core.generation == 1
    assert lost.index < solo.index


def test_it_goes_on_where_it_was_after_a_crash_in_between() -> None:
    """Killed before it has looked, after it has looked, and after half of it was agreed: once each all the same."""
    lost = ahead_by(note("a"), note("b"))
    solo = lost.solo
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    solo = restarted(solo)
    assert solo.recalls() == [((LIFE, 1),)]
    solo.recalled()
    solo = restarted(solo, LAST_LIFE)
    assert solo.recalls() == [((LIFE, 1),)]
    solo.recalled()
    solo.connected()
    sent = [(one.id.incarnation, one.id.seq) for one in solo.sent()]
    assert sent == [(LIFE, 2), (LIFE, 3), (NEXT_LIFE, 0), (LAST_LIFE, 0)]
    assert solo.core.undecided == 0
    assert shown(solo) == ["a", "b", "before 0"]
    assert solo.core.restored is solo.core.fenced is False


def test_half_of_it_agreed_before_a_crash_is_not_offered_a_second_time() -> None:
    lost = ahead_by(note("a"), note("b"))
    solo = lost.solo
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    solo.recalled()
    solo.line_up()
    solo.agree(solo.sent()[0])
    solo.flush()
    solo = restarted(solo)
    assert solo.recalls() == [((LIFE, 2),)]
    solo.recalled()
    solo.connected()
    assert names(solo.sent())[0] == "b"
    assert shown(solo) == ["a", "b", "before 0"]


def test_lives_come_back_in_their_order() -> None:
    """A life that the state has half of, one it never heard of, and the present one."""
    lost = ahead_by(note("a"))
    solo = restarted(lost.solo).connected()
    agree(solo, note("b"))
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    assert solo.recalls() == [((LIFE, 1), (NEXT_LIFE, -1))]
    solo.recalled()
    solo.forget()
    solo.line_up()
    assert [(one.id.incarnation, one.id.seq) for one in solo.sent()] == [(LIFE, 2), (NEXT_LIFE, 0), (NEXT_LIFE, 1)]
    solo.agree(*solo.sent())
    assert shown(solo) == ["a", "b", "before 0"]
    assert solo.core.restored is solo.core.fenced is False


def test_numbers_that_are_not_remembered_are_used_up_and_named() -> None:
    """Nobody waits for them for ever: what is remembered behind them goes in, and so does what is newer."""
    lost = ahead_by(note("a"), note("b"), note("c"))
    solo = lost.solo
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    solo.recalled([one for one in solo.remembered if one.id.seq == 4])
    assert solo.core.taken_back[-1].filled == (Span(LIFE, 2, 3),)
    assert any(f"missing: {LIFE.hex()} 2 to 3" in text for text in solo.notes())
    assert solo.core.offers_again == 1
    solo.issue(note("newer"))
    solo.journalled()
    solo.line_up()
    assert [type(one.payload) for one in solo.sent()[:2]] == [Tombstone, Tombstone]
    solo.agree(*solo.sent())
    assert shown(solo) == ["before 0", "c", "newer"]
    lost_verdict = solo.core.outcome(OperationId(A, LIFE, 2)).verdict
    assert lost_verdict is not None
    assert lost_verdict.kind is VerdictKind.REFUSED


def test_nothing_remembered_at_all_uses_up_the_numbers_of_the_present_life() -> None:
    """It goes on under its own numbers, whatever is missing: also where its opening is."""
    solo = Solo().connected()
    agree(solo, note("a"))
    solo.found_anew({}, 0)
    solo.replaced()
    solo.recalled([])
    assert solo.core.taken_back[-1].filled == (Span(LIFE, 0, 1),)
    solo.line_up()
    assert [type(one.payload) for one in solo.sent()[-2:]] == [Opening, Tombstone]
    solo.issue(note("newer"))
    solo.journalled()
    solo.agree(*solo.sent()[-3:])
    assert solo.core.undecided == 0


def test_a_life_of_which_nothing_is_left_is_passed_over() -> None:
    """The opening of the next one comes from the last life that the state has, and closes it: no number is waited for,
    the site is not taken for a restored backup, and what was lost is not called agreed."""
    lost = ahead_by(note("a"))
    solo = restarted(lost.solo).connected()
    agree(solo, note("b"))
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    solo.recalled([one for one in solo.remembered if one.id.incarnation == NEXT_LIFE])
    assert solo.core.taken_back[-1].gone == (Span(LIFE, 2, 2),)
    assert solo.core.outcome(OperationId(A, LIFE, 2)).state == "unknown"
    solo.forget()
    solo.line_up()
    opening = solo.sent()[0].payload
    assert opening == Opening(LIFE, 1, replaces=LIFE)
    solo.agree(*solo.sent())
    assert shown(solo) == ["b", "before 0"]
    assert solo.core.restored is solo.core.fenced is False
    assert solo.core.outcome(OperationId(A, LIFE, 2)).state == "unknown"
    solo.flush()
    solo = restarted(solo, LAST_LIFE)
    assert solo.recalls() == []
    solo.connected()
    assert solo.core.undecided == 0


def test_the_opening_of_a_life_whose_past_is_gone_is_written_anew_before_it_is_sent() -> None:
    """Killed just after it was found that nothing is left: the new life's opening must not wait for it either."""
    lost = ahead_by(note("a"))
    solo = lost.solo
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    solo = restarted(solo)
    solo.journalled()
    solo.recalled([])
    assert solo.done[-1].rewrite[0].payload == Opening(LIFE, 1, replaces=LIFE)
    solo.line_up()
    assert solo.sent() == []
    again = restarted(solo, LAST_LIFE)  # the rewrite is lost, that it was passed over is not
    again.journalled()
    again.line_up()
    again.agree(*again.sent())
    assert again.core.undecided == 0
    assert [one.payload for one in again.sent()] == [
        Opening(LIFE, 1, replaces=LIFE),
        Opening(NEXT_LIFE, 0, replaces=NEXT_LIFE),
    ]


def test_the_answer_to_an_old_question_makes_nobody_missing() -> None:
    """The state went back once more while it was looked for: what that answer does not name is looked for again."""
    lost = ahead_by(note("a"), note("b"), before=2)
    solo = lost.solo
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    first = solo.recalls()[-1]
    assert first == ((LIFE, 2),)
    older = Solo().connected()
    agree(older, note("before 0"))
    solo.found_anew(dict(older.zone.records), older.index)
    solo.replaced()
    assert solo.recalls()[-1] == ((LIFE, 1),)
    solo.recalled(recall=first)
    assert not solo.core.taken_back
    solo.recalled()
    assert solo.core.taken_back[-1].filled == ()
    solo.line_up()
    solo.agree(*solo.sent())
    assert shown(solo) == ["a", "b", "before 0", "before 1"]


def mode_of(solo: Solo) -> Mode:
    return solo.core.mode


def test_replaying_lasts_until_what_is_offered_again_is_decided() -> None:
    lost = ahead_by(note("a"))
    solo = lost.solo
    solo.cut()
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    solo.line_up()
    solo.hear(term=2)
    assert mode_of(solo) is Mode.REPLAYING
    for _ in range(3):
        solo.pass_ms(300)
        solo.hear(term=2)
    assert mode_of(solo) is Mode.REPLAYING
    solo.recalled()
    for _ in range(3):
        solo.pass_ms(300)
        solo.hear(term=2)
    assert mode_of(solo) is Mode.REPLAYING
    solo.agree(*solo.sent()[:1])
    for _ in range(3):
        solo.pass_ms(300)
        solo.hear(term=2)
    assert mode_of(solo) is Mode.CONNECTED


# --- what is said of the history that was given up ---


@pytest.mark.parametrize(
    ("seen", "fits"), [(9, 9), (10, 10), (11, 10), (999, 10), (1000, 1000), (1020, 1020), (1021, 1020), (5000, 5000)]
)
def test_what_was_seen_in_a_history_that_was_given_up_counts_up_to_where_both_are_the_same(
    seen: int, fits: int
) -> None:
    """Entry 11 is another one now; and so once more after entry 1020."""
    operation = Operation(OperationId(A, LIFE, 7), 1, seen, HybridTime(NOON), 0, "x", note("a"), have=5)
    after = fitted(operation, [Break(10, 1000), Break(1020, 2000)], held=5)
    assert after == replace(operation, seen=fits)
    assert (after is operation) == (seen == fits)


def test_verdicts_held_of_the_history_that_was_given_up_are_not_said_to_be_held() -> None:
    """Else the zones would let go of verdicts that this site never had. So is what lies undecided in the journal."""
    lost = ahead_by(note("a"), note("b"), note("c"))
    solo = lost.solo
    solo.issue(note("undecided"))
    solo.journalled()
    assert solo.sent()[-1].have == 4
    solo.found_anew(lost.state, lost.index)
    solo.replaced()
    solo.recalled()
    solo.forget()
    solo.line_up()
    assert [one.have for one in solo.sent()] == [1, 1, 1, 1]
    assert {one.seen for one in solo.sent()} <= set(range(lost.index + 1))


def neighbours(payload: Payload, seen: int) -> Operation:
    """The next operation of another site."""
    return Operation(OperationId(B, OTHERS_LIFE, 2), 1, seen, HybridTime(NOON), NOON, "b", payload)


def test_a_write_that_was_never_agreed_is_not_taken_for_seen() -> None:
    """In the place of the entry that this site saw, the new history has a neighbour's, written down by the zone that
    was left and agreed by nobody. The site's own later write must not erase it unseen."""
    solo = Solo().connected()
    agree(solo, note("before"))
    state, index = dict(solo.zone.records), solo.index
    solo.feed(solo.partner(note("seen here"), 2))
    agree(solo, ChangePriority(CASE, "P2"))
    theirs = Operation(
        OperationId(B, OTHERS_LIFE, 2), 1, index, HybridTime(NOON), NOON, "b", ChangePriority(CASE, "P0")
    )
    solo.found_anew(state, index, [theirs])
    solo.replaced()
    solo.recalled()
    solo.line_up()
    solo.agree(*solo.sent()[-1:])
    case = queries.read_case(solo.base, CASE)
    assert case is not None
    assert "priority" in case.conflicts


def test_a_verdict_given_again_by_the_new_history_is_the_one_that_counts() -> None:
    """The zone that was left had the operation, too, but after another one that was never agreed."""
    solo = Solo().connected()
    agree(solo, note("before"))
    state, index = dict(solo.zone.records), solo.index
    (mine,) = agree(solo, ChangePriority(CASE, "P2"))
    assert solo.core.outcome(mine.id).verdict.kind is VerdictKind.APPLIED  # type: ignore[union-attr]
    theirs = Operation(
        OperationId(B, OTHERS_LIFE, 2), 1, index, HybridTime(NOON), NOON, "b", ChangePriority(CASE, "P0")
    )
    solo.found_anew(state, index, [theirs, mine])
    solo.forget()
    solo.replaced()
    assert solo.recalls() == []
    verdict = solo.core.outcome(mine.id).verdict
    assert verdict is not None
    assert verdict.kind is VerdictKind.CONFLICT
    assert [one.operation for todo in solo.done for one in todo.decisions] == [mine.id]
    solo.issue(note("next"))
    assert solo.core._ledger.own.operations[-1].have == 1
    solo.flush()
    solo.issue(note("next"))
    assert solo.core._ledger.own.operations[-1].have == 2


def clone_opens(solo: Solo, life: bytes, known: int = 1) -> Operation:
    return Operation(OperationId(A, life, 0), 0, 0, HybridTime(NOON), 0, "clone", Opening(LIFE, known, replaces=LIFE))


def test_records_closed_in_the_new_history_are_drained_all_of_them() -> None:
    """A clone has opened this site's identity there before they were agreed: none is drained before all are found."""
    lost = ahead_by(note("a"))
    solo = lost.solo
    solo.issue(note("undecided"))
    solo.journalled()
    solo.found_anew(lost.state, lost.index, [clone_opens(solo, OTHERS_LIFE)])
    solo.replaced()
    assert solo.core.fenced
    assert not any("drained" in text for text in solo.notes())
    solo.recalled()
    solo.journalled()
    solo.forget()
    solo.line_up()
    drain = lives.drain_incarnation(LIFE, 1)
    assert [(one.id.incarnation, one.id.seq) for one in solo.sent()] == [(drain, 0), (drain, 1), (drain, 2)]
    assert names(solo.sent())[1:] == ["a", "undecided"]
    solo.agree(*solo.sent())
    assert shown(solo) == ["a", "before 0", "undecided"]
    assert solo.core.outcome(OperationId(A, LIFE, 2)).state == "agreed"


def test_what_a_drain_holds_leaves_the_journal_also_where_the_state_came_back_by_steps() -> None:
    """A state that never heard of the life, then one that has its opening and closes it there: that number is not held
    here any more, and is known all the same."""
    solo = Solo().connected()
    opening = solo.remembered[0]
    solo.flush()
    solo.issue(note("a"))
    solo.journalled()
    solo.found_anew({}, 0)
    solo.replaced()
    solo = restarted(solo)
    solo.journalled()
    solo.found_anew(dict(solo.zone.records), solo.index, [opening, clone_opens(solo, OTHERS_LIFE, 0)])
    solo.replaced()
    solo.recalled()
    solo.journalled()
    solo.line_up()
    for _ in range(3):
        solo.agree(*solo.sent()[-8:])
        solo.journalled()
        solo.flush()
    assert solo.core.undecided == 0
    assert (LIFE, 1) in solo.trims()


def test_what_was_drained_and_is_now_agreed_under_its_own_name_is_not_offered_twice() -> None:
    """There its life had been closed before it; in the history that goes on it was not."""
    solo = Solo().connected()
    agree(solo, note("before"))
    state, index = dict(solo.zone.records), solo.index
    solo.forget()
    solo.issue(note("a"))
    solo.journalled()
    (mine,) = solo.sent()
    solo.feed(solo.take(clone_opens(solo, OTHERS_LIFE)))
    solo.journalled()
    solo.agree(*solo.sent()[-2:])
    solo.flush()
    assert shown(solo) == ["a", "before"]
    solo.found_anew(state, index, [mine])
    solo.replaced()
    solo.recalled()
    solo.forget()
    solo.line_up()
    assert [type(one.payload) for one in solo.sent()] == [Opening, Tombstone]
    solo.agree(*solo.sent())
    assert shown(solo) == ["a", "before"]
    assert solo.core.undecided == 0


def test_a_zone_s_own_callers_have_nothing_to_be_taken_back() -> None:
    """Their journal forgets; the zone's state never goes back anyway."""
    solo = Solo(config=SiteConfig(forgetful=True)).connected()
    agree(solo, note("a"))
    solo.found_anew({}, 0)
    solo.replaced()
    assert solo.recalls() == []
    assert solo.core.generation == 0


def test_a_damaged_count_of_foundings_is_no_founding() -> None:
    """The state is rebuilt anyway, and then it is looked at again."""
    lost = ahead_by(note("a"))
    solo = lost.solo
    solo.found_anew(lost.state, lost.index)
    solo.base.records = dict(solo.zone.records)
    solo.base.bad = {key for key in solo.base.records if key.startswith(keys.GENERATIONS)}
    solo.step(events.Replaced(solo.now_ms, solo.index, solo.term))
    assert solo.core.generation == 0
    solo.replaced()
    assert solo.core.generation == 1
