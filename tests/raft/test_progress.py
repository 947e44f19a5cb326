"""A follower's three phases, their table, and the window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.raft.progress import TRANSITIONS, Phase, Progress, Sign
from replica.raft.types import Membership, RaftConfig

CONFIG = RaftConfig(1, Membership(frozenset({1, 2})), max_inflight_appends=2, max_inflight_bytes=10)


def replicating(match_index: int = 4) -> Progress:
    progress = Progress(next_index=5, heard_ms=0)
    progress.sent(5, 1, 0)
    progress.accepted(match_index)
    assert progress.phase is Phase.REPLICATE
    return progress


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("sign", Sign)
def test_the_table_decides_and_nothing_else(phase: Phase, sign: Sign) -> None:
    """A pair in it moves to its phase and empties the window; one that is not changes nothing."""
    progress = replicating()
    progress.phase = phase
    progress.sent(6, 1, 0)
    before = (progress.phase, len(progress.inflight), progress.probe_sent_ms)
    known = (phase, sign) in TRANSITIONS
    assert progress.sees(sign) is known
    after = (progress.phase, len(progress.inflight), progress.probe_sent_ms)
    assert after == ((TRANSITIONS[phase, sign], 0, None) if known else before)


def test_no_phase_is_a_dead_end() -> None:
    """From each another can be reached."""
    assert {phase for phase, _ in TRANSITIONS} == set(Phase)
    assert set(TRANSITIONS.values()) == set(Phase)


def test_a_probe_is_one_append_at_a_time() -> None:
    """Even without entries, it asks; then it waits."""
    progress = Progress(next_index=5, heard_ms=0)
    assert progress.wants_append(4, CONFIG)
    progress.sent(4, 0, 0)
    assert not progress.wants_append(9, CONFIG)


def test_the_window_is_bounded_in_appends() -> None:
    """And opens with each acknowledgement, also one that stands for several."""
    progress = replicating()
    for last_index in (5, 6):
        assert progress.wants_append(9, CONFIG)
        progress.sent(last_index, 1, 0)
    assert not progress.wants_append(9, CONFIG)
    progress.accepted(6)
    assert (len(progress.inflight), progress.inflight_bytes, progress.next_index) == (0, 0, 7)


def test_the_window_is_bounded_in_bytes() -> None:
    """One Append may exceed it; none leaves after."""
    progress = replicating()
    progress.sent(5, 11, 0)
    assert not progress.wants_append(9, CONFIG)


def test_rejections_below_the_match_or_of_another_probe_are_old() -> None:
    """Messages may be late: the match is known to hold, and one probe has one answer."""
    progress = replicating(match_index=4)
    assert [progress.is_news(prev) for prev in (3, 4, 5)] == [False, False, True]
    progress.rejected(9, 5)
    assert not progress.is_news(4)
    progress = Progress(next_index=9, heard_ms=0)
    progress.sent(8, 0, 0)
    assert [progress.is_news(prev) for prev in (7, 8, 9)] == [False, True, False]


def test_a_rejection_while_no_probe_is_on_its_way_is_old() -> None:
    """It may answer the one that was taken for lost; the next asks at the same place."""
    progress = Progress(next_index=9, heard_ms=0)
    assert not progress.is_news(8)
    progress.sent(8, 0, 0)
    assert progress.is_news(8)
    progress.sees(Sign.FORGOT)
    progress.next_index = 9
    assert not progress.is_news(8)


def test_what_is_on_the_way_is_lost_only_after_patience() -> None:
    """The oldest one decides; with nothing on the way nothing is overdue."""
    progress = replicating()
    assert not progress.overdue(10_000, 300)
    progress.sent(5, 1, 100)
    progress.sent(6, 1, 200)
    assert [progress.overdue(now_ms, 300) for now_ms in (399, 400)] == [False, True]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("accept"), st.integers(0, 20)),
            st.tuples(st.just("reject"), st.integers(0, 20)),
            st.tuples(st.just("sign"), st.sampled_from(Sign)),
            st.tuples(st.just("send"), st.integers(1, 3)),
        )
    )
)
def test_next_stays_above_match_and_the_window_adds_up(steps: list[tuple[str, int | Sign]]) -> None:
    """Whatever a follower, or the network, says in whatever order."""
    progress = Progress(next_index=21, heard_ms=0)
    for what, value in steps:
        before = progress.match_index
        if what == "accept" and isinstance(value, int):
            progress.accepted(value)
        elif what == "reject" and isinstance(value, int):
            if progress.is_news(value):
                progress.rejected(value, max(value, progress.match_index + 1))
        elif isinstance(value, Sign):
            progress.sees(value)
        elif progress.has_room(CONFIG):
            progress.sent(progress.next_index - 1 + value, 4, 0)
        assert progress.match_index >= before
        assert progress.next_index > progress.match_index
        assert progress.inflight_bytes == sum(flight.size for flight in progress.inflight)
        assert progress.phase is Phase.REPLICATE or not progress.inflight
