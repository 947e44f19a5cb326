"""Sending the journal: in order, within the window, again from where the gate stands (rule 16)."""

from __future__ import annotations

from replica.cases.verdicts import Decided, Effects, Verdict, VerdictKind
from replica.offline import events
from replica.offline.core import SiteConfig
from tests.offline.solo import Solo

SMALL = SiteConfig(window_first=4, window_operations=8)
VERDICT = Verdict(VerdictKind.APPLIED)


def numbers(solo: Solo) -> list[int]:
    return [operation.id.seq for operation in solo.sent()]


def backlog(count: int, config: SiteConfig = SMALL) -> Solo:
    """Cut off, with so many operations in the journal."""
    solo = Solo(config=config)
    solo.journalled()
    solo.cut()
    for _ in range(count):
        solo.issue()
    solo.journalled()
    return solo


def test_nothing_leaves_before_it_is_durable() -> None:
    """Rule 9: fsync, then send."""
    solo = Solo().connected()
    solo.issue()
    assert numbers(solo) == [0]
    solo.journalled()
    assert numbers(solo) == [0, 1]


def test_nothing_leaves_while_the_line_is_down() -> None:
    """And all of it does, in order, when it is up."""
    solo = backlog(3)
    assert numbers(solo) == []
    solo.line_up()
    assert numbers(solo) == [0, 1, 2, 3]


def test_the_window_is_refilled_as_the_gate_moves_on() -> None:
    """First few, then twice as many, up to the window; never more in flight."""
    solo = backlog(30)
    solo.line_up()
    solo.hear()
    assert numbers(solo) == [0, 1, 2, 3]
    for expected in (6, 8, 10, 12, 13):
        solo.agree(solo.sent()[solo.core.applied[0] - 2])
        assert len(numbers(solo)) == expected
    assert solo.core._replay.in_flight == 8


def test_a_backlog_flows_once_each() -> None:
    """Ten thousand operations: each is sent once, each decided once, and the journal is empty afterwards."""
    solo = backlog(10_000, SiteConfig())
    solo.line_up()
    solo.hear()
    taken = 0
    while taken < len(solo.sent()):
        operation = solo.sent()[taken]
        taken += 1
        effects = Effects(solo.index + 1, 1, 0, (Decided(operation.id, VERDICT),), ())
        solo.index += 1
        solo.step(events.Arrived(solo.now_ms, effects))
    solo.flush()
    assert numbers(solo) == list(range(10_001))
    assert (solo.core.undecided, list(solo.core._journal)) == (0, [])


def test_a_new_term_sends_again_at_once() -> None:
    """What the old leader had not agreed may be gone; a caller waits for it."""
    solo = Solo().connected()
    solo.issue()
    solo.journalled()
    solo.now_ms += 10
    solo.hear(term=2)
    assert numbers(solo) == [0, 1, 1]
    solo.now_ms += 10
    solo.hear(term=2)
    assert numbers(solo) == [0, 1, 1]


def test_hints_send_again_but_not_more_often_than_resend_ms() -> None:
    """A zone that says "gap" a hundred times gets one answer."""
    solo = Solo().connected()
    solo.issue()
    solo.journalled()
    operation = solo.sent()[-1].id
    solo.now_ms += 499
    for _ in range(100):
        solo.step(events.Hinted(solo.now_ms, operation, "gap"))
    assert numbers(solo) == [0, 1]
    solo.pass_ms(1)
    assert numbers(solo) == [0, 1, 1]
    for _ in range(100):
        solo.step(events.Hinted(solo.now_ms, operation, "gap"))
    assert numbers(solo) == [0, 1, 1]


def test_silence_sends_again_ever_more_seldom() -> None:
    """A quorum that is down is not shouted at."""
    solo = Solo().connected()
    solo.issue()
    solo.journalled()
    times = []
    for _ in range(200):
        before = len(numbers(solo))
        solo.pass_ms(100)
        if len(numbers(solo)) > before:
            times.append(solo.now_ms - 1000)
    assert times == [500, 1500, 3500, 7500, 11500, 15500, 19500]


def test_it_goes_on_from_where_the_gate_stands() -> None:
    """A line that breaks in the middle: what was decided is not sent again."""
    solo = backlog(5)
    solo.line_up()
    solo.hear()
    solo.agree(*solo.sent()[:3])
    solo.cut()
    solo.forget()
    solo.line_up()
    assert numbers(solo) == [3, 4, 5]


def test_a_state_sent_whole_shows_what_was_decided_meanwhile() -> None:
    """After `Replaced` the gate says which operations have their verdict, and callers hear of it."""
    solo = backlog(3)
    solo.line_up()
    for operation in solo.sent()[:3]:
        solo.take(operation)
    solo.replaced()
    assert solo.core.undecided == 1
    decided = [decision.operation.seq for todo in solo.done for decision in todo.decisions]
    assert decided == [0, 1, 2]


def test_a_state_that_goes_back_is_named_and_its_operations_are_sent_again() -> None:
    """The cluster was restored: what this site still holds is offered again."""
    solo = backlog(2)
    solo.line_up()
    old = dict(solo.zone.records), solo.index
    solo.agree(*solo.sent())
    solo.zone.records, solo.index = old
    solo.forget()
    solo.replaced()
    assert any("goes back" in text for text in solo.notes())
    assert numbers(solo) == [0, 1, 2]
    assert solo.core.undecided == 2
