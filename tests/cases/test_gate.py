"""The gate: rules 3 to 8 and 10."""

from __future__ import annotations

import pytest

from replica.cases import gate, queries
from replica.cases.commands import AddNote, ChangePriority, Opening, RaiseLevel, Tombstone
from replica.cases.draft import Draft
from replica.cases.gate import Gate, judge
from replica.cases.machine import apply_tentative
from replica.cases.operations import OperationId
from replica.cases.records import Overlay
from tests.cases.world import (
    APPLIED,
    CONFLICT,
    DUPLICATE,
    MERGED,
    REFUSED,
    A,
    Site,
    World,
    creation,
    notes,
    two_sites,
    values,
)

NOTHING = RaiseLevel(99)
"""A command that is refused, and so only uses its number."""


def opening(site: Site, prev: Site | None, prev_last: int, replaces: Site | None, drain: bool = False) -> Opening:
    before = prev.incarnation if prev is not None else None
    return Opening(before, prev_last, replaces.incarnation if replaces is not None else None, drain)


def again(site: Site, byte: int) -> Site:
    return Site(site.name, bytes((byte,)) * 16, site.world)


def restored(world: World, name: str = A) -> bool:
    view = queries.site(world.records, name)
    assert view is not None
    return view.restored


def test_the_next_number_is_applied() -> None:
    """Rule 5: `= last + 1` → apply."""
    world, a, _ = two_sites()
    assert judge(world.records, a.operation(NOTHING)) is Gate.OK


def test_a_lower_number_is_a_duplicate_and_changes_nothing() -> None:
    """Rule 5: `seq ≤ last` → duplicate; there is one verdict an operation, so none is given again."""
    world, a, _ = two_sites()
    operation = a.operation(creation())
    assert world.verdict(operation).kind is APPLIED
    assert world.held(operation) == "duplicate"


def test_a_higher_number_waits_and_is_applied_when_sent_again() -> None:
    """Rule 5: above → gap: nothing consumed, no verdict, sent again."""
    world, a, _ = two_sites()
    first, second = a.operation(creation()), a.operation(ChangePriority("c1", "P1"))
    assert world.held(second) == "gap"
    assert world.verdict(first).kind is APPLIED
    assert world.verdict(second).kind is APPLIED


def test_an_incarnation_nobody_opened_is_a_gap() -> None:
    """Rule 5: incarnation not registered → gap."""
    world, a, _ = two_sites()
    assert world.held(again(a, 9).operation(NOTHING)) == "gap"


def test_numbers_of_an_entry_follow_each_other_within_it() -> None:
    """Operations of one entry pass the gate one after the other, over what the ones before did."""
    world, a, _ = two_sites()
    operations = [a.operation(creation()), a.operation(ChangePriority("c1", "P1"))]
    effects = world.agree(operations[1], *operations, operations[0])
    assert [one.id.seq for one in effects.decided] == [1, 2]
    assert [why for _, why in effects.held] == ["gap", "duplicate"]


def test_a_refused_operation_consumes_its_number() -> None:
    """Rule 5: "A refused operation consumes its number." """
    _, a, _ = two_sites()
    assert a.do(ChangePriority("nowhere", "P1")).kind is REFUSED
    assert a.do(creation()).kind is APPLIED


def test_a_tombstone_consumes_its_number_and_names_the_problem() -> None:
    """A damaged journal record must not hold up the ones behind it for ever."""
    _, a, _ = two_sites()
    verdict = a.do(Tombstone("checksum"))
    assert verdict.kind is REFUSED
    assert "checksum" in verdict.reason
    assert a.do(creation()).kind is APPLIED


def test_an_opening_with_another_number_than_0_is_refused() -> None:
    """Rule 3: an opening is number 0 of its incarnation."""
    _, a, _ = two_sites()
    assert a.do(Opening(None, 0, None)).kind is REFUSED


def test_an_opening_makes_current_and_closes_its_predecessor() -> None:
    """Rule 6: accepting it sets `current` and closes `prev` at its `last`."""
    world, a, _ = two_sites()
    a.do(creation())
    next_life = again(a, 9)
    assert world.verdict(next_life.numbered(0, opening(next_life, a, 1, a))).kind is APPLIED
    assert queries.current(world.records, A) == next_life.incarnation
    assert world.held(a.operation(NOTHING)) == "closed"
    assert not restored(world)


def test_an_opening_waits_for_what_its_store_says_came_before() -> None:
    """Rule 6: `prev.last ≥ prev_last`, else gap: the new life does not shut out the old one's records."""
    world, a, _ = two_sites()
    late = a.operation(creation())
    next_life = again(a, 9)
    open_it = next_life.numbered(0, opening(next_life, a, 1, a))
    assert world.held(open_it) == "gap"
    assert world.verdict(late).kind is APPLIED
    assert world.verdict(open_it).kind is APPLIED


def test_an_opening_does_not_wait_for_what_a_closed_life_will_never_bring() -> None:
    """Rule 6: another life has closed the predecessor before its last records came; they come under a drain now."""
    world, a, _ = two_sites()
    a.last = 3
    second, third = again(a, 8), again(a, 9)
    world.verdict(second.numbered(0, opening(second, a, 0, a)))
    assert world.held(a.numbered(1, NOTHING)) == "closed"
    assert world.verdict(third.numbered(0, opening(third, a, 3, second))).kind is APPLIED
    assert restored(world)


def test_an_opening_whose_predecessor_is_on_its_way_is_a_gap_and_not_stale() -> None:
    """Rule 6 asks for the predecessor before it compares `replaces`."""
    world, a, _ = two_sites()
    second, third = again(a, 8), again(a, 9)
    assert world.held(third.numbered(0, opening(third, second, 0, second))) == "gap"


def test_an_opening_that_replaces_another_than_the_current_is_stale() -> None:
    """Rule 6: `replaces == current`, else stale: a dead life's late opening cannot close the living one."""
    world, a, _ = two_sites()
    second, third = again(a, 8), again(a, 9)
    world.verdict(second.numbered(0, opening(second, a, 0, a)))
    assert world.held(third.numbered(0, opening(third, a, 0, a))) == "stale"
    assert world.verdict(third.numbered(0, opening(third, a, 0, second))).kind is APPLIED


def test_a_restored_backup_shows_itself_by_the_life_it_replaces() -> None:
    """Rule 7: `current ≠ prev`."""
    world, a, _ = two_sites()
    second, third = again(a, 8), again(a, 9)
    world.verdict(second.numbered(0, opening(second, a, 0, a)))
    assert not restored(world)
    world.verdict(third.numbered(0, opening(third, a, 0, second)))
    assert restored(world)


def test_a_backup_restored_within_one_incarnation_shows_itself_by_the_number() -> None:
    """Rule 7: `prev.last > prev_last`."""
    world, a, _ = two_sites()
    a.do(creation())
    second = again(a, 8)
    world.verdict(second.numbered(0, opening(second, a, 0, a)))
    assert restored(world)


def test_an_emptied_disk_shows_itself() -> None:
    """Rule 7: the same with `prev` = none."""
    world, a, _ = two_sites()
    second = again(a, 8)
    assert world.held(second.numbered(0, opening(second, None, 0, None))) == "stale"
    world.verdict(second.numbered(0, opening(second, None, 0, a)))
    assert restored(world)


def test_a_drain_is_never_current_and_always_a_strangers() -> None:
    """Rule 8: closed records come under a drain: never current, without authority."""
    world, a, _ = two_sites()
    a.do(creation())
    second, drain = again(a, 8), again(a, 9)
    world.verdict(second.numbered(0, opening(second, a, 1, a)))
    world.verdict(drain.numbered(0, opening(drain, a, 1, None, drain=True)))
    assert queries.current(world.records, A) == second.incarnation
    drain.cut()
    verdict = drain.do(ChangePriority("c1", "P1"))
    assert [finding.rule for finding in verdict.findings] == ["no-authority"]
    assert not restored(world)


def test_a_life_that_follows_on_a_drain_does_not_close_it() -> None:
    """Rule 8: what is drained is taken to its end, whatever else the site's stores do meanwhile."""
    world, a, _ = two_sites()
    second, drain, third = again(a, 8), again(a, 9), again(a, 10)
    world.verdict(second.numbered(0, opening(second, a, 0, a)))
    world.verdict(drain.numbered(0, opening(drain, a, 0, None, drain=True)))
    world.verdict(third.numbered(0, opening(third, drain, 0, second)))
    assert world.held(second.operation(NOTHING)) == "closed"
    assert drain.do(NOTHING).kind is REFUSED
    assert third.do(creation()).kind is APPLIED


def test_the_view_takes_own_openings_and_own_closed_records() -> None:
    """Rule 14: in the working view they count as accepted, in order."""
    world, a, _ = two_sites()
    a.do(creation())
    second, third = again(a, 8), again(a, 9)
    world.verdict(second.numbered(0, opening(second, a, 1, a)))
    view = Overlay(world.records)
    closed = a.operation(ChangePriority("c1", "P0"))
    late = third.numbered(0, opening(third, a, 2, a))
    assert judge(world.records, closed) is Gate.CLOSED
    assert judge(world.records, late) is Gate.STALE
    for operation in (closed, late, third.operation(AddNote("c1", "n", "text"))):
        decided = apply_tentative(view, operation, world.index + 1, world.now_ms)
        assert decided is not None
    shown = queries.read_case(view, "c1", world.index)
    assert shown is not None
    assert values(shown, "priority") == ["P0"]
    assert shown.fields[-1].values[0].tentative
    assert len(notes(shown)) == 1
    assert notes(world.case()) == []


def test_the_view_shows_nothing_twice() -> None:
    """Rule 14: what the state contains already does not pass the view's gate."""
    world, a, _ = two_sites()
    operation = a.operation(creation())
    world.verdict(operation)
    view = Overlay(world.records)
    assert apply_tentative(view, operation, world.index + 1, world.now_ms) is None
    assert view.changes == {}


def test_seen_is_the_index_or_the_own_journal_never_the_same_site() -> None:
    """Rule 10, with a restored life: what the lost life did was not in this one's past."""
    world, a, _ = two_sites()
    a.do(creation())
    a.do(ChangePriority("c1", "P3"))
    backup_at = a.last
    seen_then = world.index
    a.do(ChangePriority("c1", "P0"))
    second = again(a, 8)
    world.verdict(second.numbered(0, opening(second, a, backup_at, a)))
    second.seen = seen_then
    draft = Draft(world.records)
    operation = second.operation(ChangePriority("c1", "P2"))
    assert gate.seen(draft, operation, OperationId(A, a.incarnation, 2), 4)
    assert not gate.seen(draft, operation, OperationId(A, a.incarnation, 3), 5)
    assert world.verdict(operation).kind is CONFLICT
    assert values(world.case(), "priority") == ["P0", "P2"]


def test_own_earlier_operations_are_seen_through_ancestors() -> None:
    """Rule 10: an ancestor incarnation up to its declared `prev_last`; a site does not conflict with itself."""
    world, a, _ = two_sites()
    a.cut()
    a.do(creation())
    a.do(ChangePriority("c1", "P0"))
    second = again(a, 8)
    world.verdict(second.numbered(0, opening(second, a, 2, a)))
    second.seen = a.seen
    assert second.do(ChangePriority("c1", "P3")).kind is APPLIED
    assert values(world.case(), "priority") == ["P3"]


def test_a_caller_that_tries_again_under_its_key_is_a_duplicate() -> None:
    """The same key of the same site: nothing happens twice, and the first operation is named."""
    world, a, b = two_sites()
    a.do(creation())
    assert a.do(AddNote("c1", "n1", "once"), key="k").kind is APPLIED
    verdict = a.do(AddNote("c1", "n2", "twice"), key="k")
    assert verdict.kind is DUPLICATE
    assert verdict.findings[0].other == OperationId(A, a.incarnation, 2)
    assert len(notes(world.case())) == 1
    assert b.do(AddNote("c1", "n3", "another site's own key"), key="k").kind is not DUPLICATE


def test_keys_are_remembered_for_a_thousand_operations_and_no_longer() -> None:
    """Memory of keys is a ring: it does not grow with the years."""
    world, a, _ = two_sites()
    a.do(creation())
    operations = [a.operation(NOTHING, key=f"k{n}") for n in range(gate.CALLER_KEYS)]
    world.agree(*operations)
    size = len(list(world.records.scan(b"k")))
    assert a.do(NOTHING, key="k0").kind is DUPLICATE
    assert a.do(NOTHING, key="one more").kind is REFUSED
    assert len(list(world.records.scan(b"k"))) == size == gate.CALLER_KEYS
    assert a.do(NOTHING, key="k0").kind is REFUSED
    world.check()


def test_strange_ids_are_held_and_break_nothing() -> None:
    """Every decodable operation gets a verdict or is held: odd incarnations, negative numbers, empty and huge names."""
    world, a, _ = two_sites()
    for name, incarnation, seq in (
        ("", b"", 5),
        (A, a.incarnation, -3),
        ("x" * 5000, b"\0" * 99, 2**62),
        ("\0#", b"a", 1),
    ):
        operation = Site(name, incarnation, world).numbered(seq, NOTHING)
        assert world.held(operation) in ("gap", "duplicate")
    odd = Site("n\0ul" + "l" * 500, b"short", world)
    assert world.verdict(odd.numbered(0, Opening(None, 0, None))).kind is APPLIED
    assert odd.do(creation("c\0" + "9" * 500)).kind is MERGED
    world.check()


def test_a_drain_waits_for_the_life_it_continues() -> None:
    """Rule 6 for a drain too: what it drains has to be registered first; then it passes, whatever is current."""
    world, a, _ = two_sites()
    lost, drain = again(a, 8), again(a, 9)
    drained = drain.numbered(0, opening(drain, lost, 0, None, drain=True))
    assert world.held(drained) == "gap"
    world.verdict(lost.numbered(0, opening(lost, a, 0, a)))
    assert world.verdict(drained).kind is APPLIED


def test_the_view_too_waits_for_a_life_that_is_not_there() -> None:
    """Rule 14: own openings count as accepted, in order."""
    world, a, _ = two_sites()
    lost, late = again(a, 8), again(a, 9)
    view = Overlay(world.records)
    assert apply_tentative(view, late.numbered(0, opening(late, lost, 0, lost)), 9, world.now_ms) is None
    for life, before in ((lost, a), (late, lost)):
        assert apply_tentative(view, life.numbered(0, opening(life, before, 0, before)), 9, world.now_ms) is not None


def test_an_operation_of_another_line_of_lives_is_not_in_the_own_past() -> None:
    """Rule 10: the chain of lives ends at one without a predecessor, and what is not in it was not seen."""
    world, a, _ = two_sites()
    a.do(creation())
    emptied = again(a, 8)
    world.verdict(emptied.numbered(0, opening(emptied, None, 0, a)))
    draft = Draft(world.records)
    assert not gate.own_past(draft, OperationId(A, emptied.incarnation, 1), OperationId(A, a.incarnation, 1))
    assert gate.own_past(draft, OperationId(A, a.incarnation, 1), OperationId(A, a.incarnation, 1))


def test_a_past_that_is_not_registered_stops_loudly() -> None:
    """It cannot be, since an opening waits for its predecessor: a state that was damaged must not be guessed over."""
    world, a, _ = two_sites()
    with pytest.raises(AssertionError, match=r"names .* as its past, which is not registered"):
        gate.own_past(Draft(world.records), OperationId(A, b"?" * 16, 1), OperationId(A, a.incarnation, 1))
