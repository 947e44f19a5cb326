"""The mode is a table, moved by what a quorum confirmed, and damped."""

from __future__ import annotations

from itertools import product

from replica.offline import events
from replica.offline.events import Mode
from replica.offline.mode import TABLE, ModeWatch, Signal, next_mode, render_table
from tests.offline.solo import Solo
from tests.offline.world import NOON

CONNECTED, CUT_OFF, REPLAYING = Mode.CONNECTED, Mode.CUT_OFF, Mode.REPLAYING


def changes(solo: Solo) -> list[Mode]:
    return [todo.mode for todo in solo.done if todo.mode is not None]


def test_the_table_has_one_row_for_each_way_and_no_other() -> None:
    """CONNECTED → CUT_OFF → REPLAYING → CONNECTED, and back to CUT_OFF from either."""
    ways = {(row.before, row.signal): row.after for row in TABLE}
    assert len(ways) == len(TABLE) == 6
    for mode, signal in product(Mode, Signal):
        assert next_mode(mode, signal) == ways.get((mode, signal))
    assert {(row.before, row.after) for row in TABLE} == {
        (CONNECTED, CUT_OFF),
        (REPLAYING, CUT_OFF),
        (CUT_OFF, REPLAYING),
        (REPLAYING, CONNECTED),
    }


def test_the_table_is_printed_for_people() -> None:
    """Every row, in words."""
    lines = render_table().splitlines()
    assert lines[0] == "| mode | when | becomes |"
    assert lines[2] == "| connected | every line is closed | cut-off |"
    assert len(lines) == 2 + len(TABLE)


def test_a_store_that_opens_is_connected_once_its_opening_is_agreed() -> None:
    """It was not cut, so there is nothing to be damped."""
    solo = Solo()
    assert solo.core.mode is CUT_OFF
    solo.journalled()
    solo.line_up()
    assert solo.core.mode is CUT_OFF
    solo.hear()
    assert solo.core.mode is REPLAYING
    solo.agree(*solo.sent())
    assert solo.core.mode is CONNECTED


def test_an_open_line_is_no_confirmation() -> None:
    """Only a heartbeat that carries what a quorum confirmed is."""
    solo = Solo()
    solo.journalled()
    solo.line_up()
    solo.pass_ms(10_000)
    assert solo.core.mode is CUT_OFF


def test_losing_the_line_that_is_followed_is_no_cut() -> None:
    """Another zone is found in milliseconds."""
    solo = Solo().connected()
    solo.now_ms += 50
    solo.step(events.LineDown(solo.now_ms, 1, True))
    assert solo.core.mode is CONNECTED
    solo.line_up()
    solo.hear()
    solo.pass_ms(1400)
    assert solo.core.mode is CONNECTED


def test_silence_of_cut_off_after_ms_is_a_cut() -> None:
    """Not a millisecond before, and not one after the core's own deadline."""
    solo = Solo().connected()
    assert solo.core.deadline_ms == solo.now_ms + 1500
    solo.pass_ms(1499)
    assert solo.core.mode is CONNECTED
    solo.pass_ms(1)
    assert solo.core.mode is CUT_OFF


def test_every_line_closed_is_a_cut_at_once() -> None:
    """The kernel has said so; nobody has to guess."""
    solo = Solo().connected()
    solo.cut()
    assert solo.core.mode is CUT_OFF


def test_a_zone_that_is_cut_off_itself_confirms_nothing() -> None:
    """It goes on repeating the leader's last word (a quorum that does not answer though a zone does)."""
    solo = Solo().connected()
    solo.hear()
    heard = events.Heard(solo.now_ms, 1, solo.index, NOON + solo.now_ms)
    for _ in range(20):
        solo.now_ms += 100
        solo.step(events.Heard(solo.now_ms, heard.term, heard.commit, heard.leader_ms))
    assert solo.core.mode is CUT_OFF
    assert solo.core.freshness(solo.now_ms).confirmed_age_ms == 2000


def test_a_leaders_clock_that_is_set_back_still_confirms() -> None:
    """It says something new on its line, though not something later."""
    solo = Solo().connected()
    for beat in range(1, 31):
        solo.now_ms += 100
        solo.step(events.Heard(solo.now_ms, 1, solo.index, NOON - 3_600_000 + 100 * beat))
    assert solo.core.mode is CONNECTED


def test_replaying_ends_when_what_was_kept_is_decided_and_the_line_was_stable() -> None:
    """Both: a stable line with a backlog is not connected, nor is an empty journal on a line just back."""
    solo = Solo().connected()
    solo.cut()
    solo.issue()
    solo.journalled()
    solo.now_ms += 10_000
    solo.line_up()
    solo.hear()
    assert solo.core.mode is REPLAYING
    solo.pass_ms(600)
    assert solo.core.mode is REPLAYING
    solo.hear()
    solo.agree(solo.sent()[-1])
    assert solo.core.mode is CONNECTED
    solo.cut()
    solo.line_up()
    solo.now_ms += 120_000
    solo.hear()
    solo.pass_ms(499)
    assert solo.core.mode is REPLAYING
    solo.pass_ms(1)
    assert solo.core.mode is CONNECTED


def test_new_operations_do_not_hold_up_the_return() -> None:
    """Only what was there when the line came back has to be decided."""
    solo = Solo().connected()
    solo.cut()
    solo.issue()
    solo.journalled()
    solo.line_up()
    solo.hear()
    solo.issue(budget_ms=60_000)
    solo.journalled()
    solo.pass_ms(600)
    solo.hear()
    solo.agree(solo.sent()[1])
    assert solo.core.mode is CONNECTED
    assert solo.core.undecided == 1


def test_replaying_waits_until_the_feed_has_caught_up() -> None:
    """Its own journal is empty, but a thousand entries of the others are still to come."""
    solo = Solo().connected()
    solo.cut()
    solo.line_up()
    solo.step(events.Heard(solo.now_ms, 1, solo.index + 1, NOON + solo.now_ms + 1))
    solo.pass_ms(600)
    assert solo.core.mode is REPLAYING
    solo.issue()
    solo.journalled()
    solo.agree(solo.sent()[-1])
    assert solo.core.mode is CONNECTED


def test_a_line_that_flaps_fifty_times_a_minute_does_not_flap_the_mode() -> None:
    """Each time every line is closed, and each time a quorum is heard again: the mode changes a few times and waits."""
    solo = Solo().connected()
    solo.forget()
    for _ in range(50):
        solo.pass_ms(600)
        solo.cut()
        solo.pass_ms(600)
        solo.line_up()
        solo.hear()
    assert len(changes(solo)) <= 8
    assert solo.core.mode is CUT_OFF
    for _ in range(100):
        solo.pass_ms(100)
        solo.hear()
    assert solo.core.mode is CONNECTED


def test_patience_doubles_with_each_cut_and_is_forgotten_after_a_minute() -> None:
    """stable_ms, twice, four times, up to sixteen."""
    watch = ModeWatch(0, 1500, 500)
    patience = []
    for cut in range(8):
        watch.heard(1000 * cut, 1, 0, NOON + 100_000 * (cut + 1))
        watch.all_closed(1000 * cut + 500)
        patience.append(watch.patience_ms(1000 * cut + 500))
    assert patience == [0, 500, 1000, 2000, 4000, 8000, 8000, 8000]
    assert watch.patience_ms(200_000) == 0


def test_a_return_that_is_not_settled_still_ends_by_silence() -> None:
    """Found by the world of sites (seed 5080): the moment from which the line counts as stable was past, hid the later
    one at which silence is a cut, and the mode stayed as it was for a minute."""
    watch = ModeWatch(0, cut_off_after_ms=1500, stable_ms=500)
    watch.heard(100, 1, 5, 1000)
    assert watch.mode is REPLAYING
    watch.tick(700, settled=False)
    assert watch.deadline_ms(700) == 1600
    change = watch.tick(1600, settled=False)
    assert change is not None
    assert change.after is CUT_OFF
