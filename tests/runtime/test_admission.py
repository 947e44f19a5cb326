"""Whose operations go into the next entry."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from replica.cases.commands import AddNote
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.runtime.admission import (
    BACKLOG_AGE_MS,
    FEW_OPERATIONS,
    MOST_BYTES,
    MOST_OPERATIONS,
    OTHERS_FOR_MS,
    RESTS,
    Admission,
)
from replica.runtime.ingress import Waiting

OLD_MS = BACKLOG_AGE_MS
NEW_MS = BACKLOG_AGE_MS - 1


def of(site: str, seq: int, size: int = 100) -> Waiting:
    ident = OperationId(site, b"1" * 16, seq)
    return Waiting(Operation(ident, 0, 0, HybridTime(0), 0, "", AddNote("c", "k", "t")), bytes(size))


def numbers(taken: Iterable[Waiting]) -> list[tuple[str, int]]:
    return [(one.operation.id.site, one.operation.id.seq) for one in taken]


def with_backlog(count: int) -> Admission[Waiting]:
    admission = Admission[Waiting]()
    for seq in range(count):
        admission.add(of("back", seq), OLD_MS, 0)
    return admission


def operations(taken: Iterable[Waiting]) -> list[Operation]:
    return [one.operation for one in taken]


def test_a_backlog_alone_goes_in_as_fast_as_it_comes() -> None:
    admission = with_backlog(2 * MOST_OPERATIONS + 1)
    assert [len(admission.take(0)) for _ in range(4)] == [MOST_OPERATIONS, MOST_OPERATIONS, 1, 0]


def test_who_waits_goes_before_a_backlog_that_came_first() -> None:
    admission = with_backlog(500)
    admission.add(of("live", 1), NEW_MS, 0)
    assert numbers(admission.take(0)) == [("live", 1)]
    assert len(admission.take(0)) == FEW_OPERATIONS


def test_while_others_work_a_backlog_waits_for_its_turn_to_end_and_then_rests_for_longer() -> None:
    admission = with_backlog(500)
    admission.add(of("live", 1), NEW_MS, 100)
    admission.take(100)
    turn = admission.take(100)
    assert admission.take(105) == [], "its turn has not ended"
    admission.applied(operations(turn[:-1]), 105)
    assert admission.take(107) == []
    admission.applied(operations(turn), 107)
    assert admission.deadline_ms() == 107 + RESTS * 7
    assert admission.take(106 + RESTS * 7) == [], "it rests"
    assert numbers(admission.take(107 + RESTS * 7))[0] == ("back", FEW_OPERATIONS)


def test_others_go_on_while_a_backlog_has_its_turn_or_rests() -> None:
    admission = with_backlog(500)
    for now_ms, seq in enumerate(range(1, 20)):
        admission.add(of("live", seq), 0, now_ms)
        assert numbers(admission.take(now_ms)) == [("live", seq)]
        admission.take(now_ms)


def test_some_time_after_the_last_of_them_others_count_as_gone() -> None:
    admission = with_backlog(2 * MOST_OPERATIONS)
    admission.add(of("live", 1), 0, 0)
    admission.take(0)
    admission.take(0)
    assert admission.deadline_ms() == OTHERS_FOR_MS
    assert admission.take(OTHERS_FOR_MS - 1) == []
    assert len(admission.take(OTHERS_FOR_MS)) == MOST_OPERATIONS


def test_a_site_does_not_rest_for_its_own_sake() -> None:
    """It was away for as long as an operation is young: some of what it kept is backlog, some is not yet."""
    admission = Admission[Waiting]()
    admission.add(of("back", 0), NEW_MS, 0)
    assert numbers(admission.take(0)) == [("back", 0)]
    for seq in range(1, 500):
        admission.add(of("back", seq), OLD_MS, 1)
    assert len(admission.take(1)) == MOST_OPERATIONS
    admission.add(of("other", 1), NEW_MS, 1)
    admission.take(1)
    assert len(admission.take(1)) == FEW_OPERATIONS


def test_what_a_site_does_now_stays_behind_what_it_did_before() -> None:
    admission = with_backlog(1)
    admission.add(of("back", 1), 0, 0)
    admission.add(of("other", 1), 0, 0)
    assert numbers(admission.take(0)) == [("other", 1)]
    assert numbers(admission.take(0)) == [("back", 0), ("back", 1)]
    admission.add(of("back", 2), 0, 0)
    admission.add(of("other", 2), 0, 0)
    assert numbers(admission.take(0)) == [("back", 2), ("other", 2)], "its backlog is over"


def test_what_the_log_refused_goes_first_the_next_time() -> None:
    admission = with_backlog(40)
    admission.add(of("live", 1), 0, 0)
    live, turn = admission.take(0), admission.take(0)
    admission.put_back(turn)
    admission.put_back(live)
    assert numbers(admission.take(0)) == numbers([*live, *turn])


def test_a_large_operation_goes_alone_and_an_entry_has_its_bytes() -> None:
    admission = Admission[Waiting]()
    for seq, size in enumerate((MOST_BYTES + 1, MOST_BYTES // 2, MOST_BYTES // 2, 1)):
        admission.add(of("live", seq, size), 0, 0)
    taken = [[seq for _, seq in numbers(admission.take(0))] for _ in range(4)]
    assert taken == [[0], [1, 2], [3], []]


def test_with_a_new_leader_all_that_waits_is_handed_over_and_nothing_rests() -> None:
    admission = with_backlog(40)
    admission.add(of("live", 1), 0, 0)
    admission.take(0)
    admission.applied(operations(admission.take(0)), 50)
    assert len(admission.clear()) == 40 - FEW_OPERATIONS
    assert len(admission) == 0
    admission.add(of("back", 50), OLD_MS, 51)
    assert numbers(admission.take(51)) == [("back", 50)]


offers = st.tuples(st.sampled_from("abc"), st.sampled_from([0, NEW_MS, OLD_MS, 10 * OLD_MS]))
steps = st.lists(st.one_of(offers, st.just("take"), st.just("apply"), st.just("refuse")), max_size=60)


@given(steps, st.lists(st.integers(0, 900), min_size=60, max_size=60))
def test_whatever_comes_each_sites_operations_leave_once_and_in_order(
    what: list[tuple[str, int] | str], waits_ms: list[int]
) -> None:
    admission = Admission[Waiting]()
    seqs = {site: itertools.count() for site in "abc"}
    offered, left, flying, now_ms = list[Waiting](), list[Waiting](), list[list[Waiting]](), 0
    for step, wait_ms in zip(what, waits_ms, strict=False):
        now_ms += wait_ms
        match step:
            case "take":
                flying.append(admission.take(now_ms))
            case "apply" if flying:
                left += flying[0]
                admission.applied(operations(flying.pop(0)), now_ms)
            case "refuse":
                for entry in reversed(flying):
                    admission.put_back(entry)
                flying.clear()
            case (site, age_ms):
                offered.append(of(site, next(seqs[site])))
                admission.add(offered[-1], age_ms, now_ms)
    left += [one for entry in flying for one in entry]
    while len(admission):
        now_ms += 3 * OTHERS_FOR_MS
        left += admission.take(now_ms)
    for site in "abc":
        of_site = [seq for name, seq in numbers(left) if name == site]
        assert of_site == list(range(next(seqs[site]))), f"{site} left as {of_site}"
    assert len(left) == len(offered)
