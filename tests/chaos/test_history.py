"""The checker of histories: what it accepts, what it refuses, and that it says the same as trying every order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.history.check import Checked, Verdict, check
from chaos.history.explain import explain
from chaos.history.models import MODELS, BadHistory, Register
from chaos.history.operations import Operation
from tests.chaos.naive_history import agrees, honest, is_linearizable, respects_time, wild

MODEL_NAMES = tuple(MODELS)


def op(
    process: str, what: str, value: Hashable, begun: int, ended: int | None, result: Hashable = None, key: str = "k"
) -> Operation:
    return Operation(process, key, what, value, begun, ended, result)


def verdict(model: str, *history: Operation) -> Verdict:
    return check(history, MODELS[model]).verdict


def is_good(model: str, *history: Operation) -> bool:
    found = verdict(model, *history)
    assert found is not Verdict.UNDECIDED, f"undecided: {history}"
    assert (found is Verdict.LINEARIZABLE) == is_linearizable(history, model), f"trying every order differs: {history}"
    return found is Verdict.LINEARIZABLE


# ---- histories one knows


def test_an_empty_history_is_linearizable() -> None:
    """Nobody saw anything wrong."""
    assert is_good("register")


def test_a_read_that_overlaps_a_write_may_see_it_or_not() -> None:
    """Both are right, and both at once too, in one order."""
    write = op("p1", "write", 1, 0, 100)
    old, new = op("p2", "read", None, 10, 20, None), op("p3", "read", None, 30, 40, 1)
    assert is_good("register", write, old, new)


def test_two_reads_beside_a_write_do_not_go_back() -> None:
    """New, then old: whoever has seen it has seen it for all."""
    write = op("p1", "write", 1, 0, 100)
    new, old = op("p2", "read", None, 10, 20, 1), op("p3", "read", None, 30, 40, None)
    assert not is_good("register", write, new, old)


def test_a_stale_read_is_refused() -> None:
    """The value before the last acknowledged write."""
    writes = op("p1", "write", 1, 0, 10), op("p1", "write", 2, 20, 30)
    assert not is_good("register", *writes, op("p2", "read", None, 40, 50, 1))
    assert is_good("register", *writes, op("p2", "read", None, 40, 50, 2))


def test_a_lost_write_is_refused() -> None:
    """Acknowledged, and later nobody knows of it."""
    assert not is_good("register", op("p1", "write", 1, 0, 10), op("p2", "read", None, 20, 30, None))
    assert not is_good("notes", op("p1", "append", "a", 0, 10), op("p2", "read", None, 20, 30, ()))


def test_a_read_of_an_unacknowledged_write_is_allowed_where_it_counts_from_then_on() -> None:
    """The write took effect, whether its caller knows or not; after that it may not be gone again."""
    open_write = op("p1", "write", 1, 0, None)
    seen, still = op("p2", "read", None, 10, 20, 1), op("p2", "read", None, 30, 40, 1)
    gone = replace(still, result=None)
    assert is_good("register", open_write, seen, still)
    assert not is_good("register", open_write, seen, gone)


def test_a_write_of_unknown_outcome_may_take_effect_late_or_never_but_not_before_it_was_asked_for() -> None:
    """Its request may have lain somewhere for minutes."""
    open_write, later = op("p1", "write", 1, 0, None), op("p2", "write", 2, 10, 20)
    assert is_good("register", open_write, later, op("p3", "read", None, 30, 40, 2), op("p3", "read", None, 50, 60, 1))
    assert is_good("register", open_write, later, op("p3", "read", None, 30, 40, 2), op("p3", "read", None, 50, 60, 2))
    assert not is_good("register", op("p3", "read", None, 0, 5, 1), op("p1", "write", 1, 10, None))


def test_a_write_nobody_sees_may_be_why_a_comparison_failed() -> None:
    """An open write whose value nobody read still explains a cas that answered False."""
    history = op("p1", "write", 1, 0, 10), op("p2", "cas", (1, 5), 40, 50, False)
    assert not is_good("register", *history)
    assert is_good("register", *history, op("p3", "write", 9, 20, None))


def test_an_open_write_may_be_what_an_open_comparison_met() -> None:
    """A chain of two unknown outcomes explains a value that nobody surely wrote."""
    write, cas = op("p1", "write", 1, 0, None), op("p2", "cas", (1, 2), 0, None)
    assert is_good("register", write, cas, op("p3", "read", None, 10, 20, 2))
    assert not is_good("register", cas, op("p3", "read", None, 10, 20, 2))


def test_a_double_apply_is_refused() -> None:
    """One append, twice in the list; one add, twice in the sum. A retry under another id would be two of each."""
    twice = op("p2", "read", None, 20, 30, ("a", "a"))
    assert not is_good("notes", op("p1", "append", "a", 0, 10), twice)
    assert is_good("notes", op("p1", "append", "a", 0, 10), op("p1", "append", "a", 0, 10), twice)
    assert not is_good("counter", op("p1", "add", 5, 0, 10), op("p2", "read", None, 20, 30, 10))


def test_a_bag_that_shrinks_or_shows_what_nobody_added_is_refused() -> None:
    """The order of what is shown means nothing; what was there once stays."""
    adds = op("p1", "add", "a", 0, 50), op("p2", "add", "b", 0, 50)
    one, other = op("p3", "read", None, 60, 70, ("b", "a")), op("p3", "read", None, 80, 90, ("a", "b"))
    assert verdict("bag", *adds, one, other) is Verdict.LINEARIZABLE
    assert not is_good("bag", *adds, op("p3", "read", None, 10, 20, ("a",)), op("p4", "read", None, 30, 40, ()))
    assert not is_good("bag", *adds, op("p3", "read", None, 10, 20, ("a",)), op("p4", "read", None, 10, 40, ("b",)))
    assert not is_good("bag", *adds, op("p3", "read", None, 60, 70, ("a",)))
    assert not is_good("bag", *adds, op("p3", "read", None, 60, 70, ("a", "b", "c")))


def test_two_reads_that_order_notes_differently_are_refused() -> None:
    """Replicas that applied in another order."""
    appends = op("p1", "append", "a", 0, 50), op("p2", "append", "b", 0, 50)
    assert not is_good(
        "notes", *appends, op("p3", "read", None, 60, 70, ("a", "b")), op("p4", "read", None, 60, 70, ("b", "a"))
    )


def test_two_winners_of_one_comparison_are_refused() -> None:
    """Two leaders, each of which let its caller take the vehicle."""
    first, second = op("p1", "cas", (None, 1), 0, 10, True), op("p2", "cas", (None, 2), 0, 10, True)
    assert not is_good("register", first, second)
    assert is_good("register", first, replace(second, result=False))


def test_operations_that_meet_in_one_moment_overlap() -> None:
    """A coarse clock makes the check milder, never wrong."""
    assert is_good("register", op("p1", "write", 1, 0, 10), op("p2", "read", None, 10, 20, None))
    assert not is_good("register", op("p1", "write", 1, 0, 10), op("p2", "read", None, 11, 20, None))


def test_keys_are_judged_each_by_itself_and_the_failing_one_is_named() -> None:
    """One bad key in the middle of good ones."""
    good = [op("p1", "write", 1, 0, 10, key=f"k{number}") for number in range(5)]
    bad = op("p2", "read", None, 20, 30, 7, key="k3")
    checked = check([*good, bad], Register)
    assert [failure.key for failure in checked.failures] == ["k3"]
    assert checked.keys == 5


@pytest.mark.parametrize(
    ("model", "operation"),
    [
        ("register", op("p", "append", 1, 0, 1)),
        ("register", op("p", "cas", 1, 0, 1, True)),
        ("register", op("p", "cas", (1, 2), 0, 1, "yes")),
        ("notes", op("p", "write", 1, 0, None)),
        ("notes", op("p", "read", None, 0, 1, 7)),
        ("counter", op("p", "add", "x", 0, 1)),
    ],
)
def test_an_operation_the_model_does_not_know_is_a_bad_history(model: str, operation: Operation) -> None:
    """Not a verdict: nothing was checked."""
    with pytest.raises(BadHistory, match="'p'"):
        check([operation], MODELS[model])


# ---- the explanation


def stale_after_many() -> list[Operation]:
    """A hundred good operations, a stale read, and good ones after it."""
    history = [op("p1", "write", number, 10 * number, 10 * number + 5) for number in range(100)]
    history.append(op("p2", "read", None, 1000, 1010, 7))
    return history + [op("p1", "write", number, 10 * number, 10 * number + 5) for number in range(110, 150)]


def test_the_shortest_prefix_ends_with_the_answer_that_made_it_impossible() -> None:
    """What came later is not in it, what came before is."""
    (failure,) = check(stale_after_many(), Register).failures
    assert failure.culprit == op("p2", "read", None, 1000, 1010, 7)
    assert len(failure.prefix) == 101
    assert failure.is_shortest
    assert failure.order is not None
    assert len(failure.order) == 100


def test_a_failure_is_printed_as_a_small_table_with_the_culprit_and_what_explains_it() -> None:
    """The write of the stale value stands in it, though it was long ago."""
    (failure,) = check(stale_after_many(), Register).failures
    lines = explain(failure, rows=6)
    assert lines[0] == 'key "k": not linearizable from this answer on: p2 read → 7'
    assert any(line.startswith("» p2") and line.endswith("7") for line in lines)
    assert any("write 7 " in line for line in lines)
    assert any("write 99" in line for line in lines)
    assert "(95 operations before these are left out)" in lines
    assert lines[-1].endswith("p1 write 98, p1 write 99")
    assert len(lines) == 10


def test_the_table_of_a_small_failure_is_whole() -> None:
    """As the module's docstring shows it."""
    history = op("p1", "write", 1, 10, 20), op("p1", "write", 2, 30, 40), op("p2", "read", None, 50, 60, 1)
    (failure,) = check(history, Register).failures
    assert explain(failure) == [
        'key "k": not linearizable from this answer on: p2 read → 1',
        "  who  what     from  to  answer",
        "  p1   write 1     0  10  ok",
        "  p1   write 2    20  30  ok",
        "» p2   read       40  50  1",
        "in order until then: p1 write 1, p1 write 2",
    ]


# ---- limits


def hard(writers: int) -> list[Operation]:
    """Writers that all overlap, and two reads after them that no order explains: every order must be looked at."""
    history = [op(f"p{number}", "cas", (number % 3, (number + 1) % 3), 0, None) for number in range(writers)]
    history += [op(f"w{number}", "write", number % 3, 0, 1000) for number in range(writers)]
    return [*history, op("r", "read", None, 2000, 2010, 0), op("r", "read", None, 2020, 2030, 9)]


def test_a_search_that_takes_too_long_ends_undecided() -> None:
    """Neither yes nor no: the history is bad, but that was not found out."""
    checked = check(hard(14), Register, steps=500)
    assert checked.verdict is Verdict.UNDECIDED
    assert checked.undecided == ("k",)
    assert checked.steps <= 501


def test_a_search_ends_when_the_time_is_over() -> None:
    """The clock is the caller's; it is asked now and then."""
    assert check(hard(14), Register, is_late=lambda: True).verdict is Verdict.UNDECIDED


def test_a_failure_counts_more_than_a_key_that_is_undecided() -> None:
    """One key surely wrong is enough."""
    bad = op("p", "read", None, 0, 1, 5, key="other")
    checked = check([*hard(14), bad], Register, steps=500)
    assert checked.verdict is Verdict.NOT_LINEARIZABLE
    assert checked.undecided == ("k",)


def many(model: str, count: int, keys: int, callers: int) -> list[Operation]:
    """`callers` at work at any moment: every operation is asked for about so many moments before it takes effect."""
    rng = Random(7)
    order: list[Operation] = []
    for key in range(keys):
        order += honest(rng, model, count // keys, f"k{key}", few=5, lost=0.01)
    spread = callers * keys // 4  # honest() spreads by 40 around moments that are 10 apart
    return [
        replace(
            one,
            invoked_at=one.invoked_at * 1000 - rng.randrange(spread * 100),
            returned_at=None if one.returned_at is None else one.returned_at * 1000 + rng.randrange(spread * 100),
        )
        for one in order
    ]


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_ten_thousand_operations_take_a_few_steps_each(model: str) -> None:
    """Over 50 keys with 20 callers. Counted in steps, since time is the machine's affair."""
    history = many(model, 10_000, 50, 20)
    checked = check(history, MODELS[model])
    assert checked.verdict is Verdict.LINEARIZABLE
    assert checked.steps < 30 * len(history)


# ---- against every order there is


def compare(history: Sequence[Operation], model: str) -> Checked:
    checked = check(history, MODELS[model])
    expected = Verdict.LINEARIZABLE if is_linearizable(history, model) else Verdict.NOT_LINEARIZABLE
    assert checked.verdict is expected, f"every order says {expected.value}: {history}"
    return checked


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_it_says_what_trying_every_order_says(model: str) -> None:
    """Two thousand small histories for each model, of random answers; both verdicts occur often."""
    rng = Random(1)
    refused = sum(bool(compare(wild(rng, model, rng.randrange(1, 6)), model).failures) for _ in range(2000))
    assert 300 < refused < 1900


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_a_real_execution_with_one_answer_changed_is_judged_as_every_order_judges_it(model: str) -> None:
    """Nearly right histories: the hardest to tell."""
    rng = Random(2)
    refused = 0
    for _ in range(700):
        history = honest(rng, model, 6, few=2)
        reads = [place for place, one in enumerate(history) if one.what == "read" and one.is_known]
        if reads:
            place = rng.choice(reads)
            others = [history[read].result for read in reads] + [() if model in ("notes", "bag") else None]
            history[place] = replace(history[place], result=rng.choice(others))
        refused += bool(compare(history, model).failures)
    assert refused > 30


@given(seed=st.integers(0, 2**32), model=st.sampled_from(MODEL_NAMES), count=st.integers(1, 60))
@settings(deadline=None, max_examples=150)
def test_what_one_copy_really_did_is_always_accepted(seed: int, model: str, count: int) -> None:
    """However its operations overlap, and whichever answers are lost."""
    assert check(honest(Random(seed), model, count, lost=0.1), MODELS[model]).verdict is Verdict.LINEARIZABLE


@given(seed=st.integers(0, 2**32), count=st.integers(3, 40))
@settings(deadline=None, max_examples=100)
def test_a_read_changed_to_an_older_value_is_refused(seed: int, count: int) -> None:
    """Unique values, one after the other, nobody overlaps: then every older value is wrong."""
    rng = Random(seed)
    history = [op("w", "write", number, 20 * number, 20 * number + 5) for number in range(count)]
    reads = [op("r", "read", None, 20 * number + 10, 20 * number + 15, number) for number in range(count)]
    at = rng.randrange(1, count)
    stale = replace(reads[at], result=rng.choice([None, *range(at)]))
    assert check([*history, *reads], Register).verdict is Verdict.LINEARIZABLE
    (failure,) = check([*history, *reads[:at], stale, *reads[at + 1 :]], Register).failures
    assert failure.culprit == stale


@given(seed=st.integers(0, 2**32), model=st.sampled_from(MODEL_NAMES))
@settings(deadline=None, max_examples=100)
def test_the_prefix_has_no_order_and_has_one_without_its_last_answer(seed: int, model: str) -> None:
    """By every order there is; and the order shown is one of those that a copy could have answered."""
    for failure in check(wild(Random(seed), model, 5), MODELS[model]).failures:
        assert not is_linearizable(failure.prefix, model)
        last = failure.culprit.returned_at  # others may have been answered in the same moment
        opened = [replace(one, returned_at=None) if one.returned_at == last else one for one in failure.prefix]
        assert is_linearizable(opened, model)
        assert failure.order is not None
        assert respects_time(failure.order)
        assert agrees(failure.order, model)
