"""Openings, restored backups, clones, damaged records (rules 2, 3, 6, 7, 8)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from replica.cases import queries
from replica.cases.commands import AddNote, Opening, Tombstone
from replica.cases.operations import Operation, OperationId
from replica.errors import StoreDamaged
from replica.offline import events
from replica.offline.events import Agreed, TurnedAway
from replica.offline.lives import DRAIN_MARK, drain_incarnation, is_drain, last_life
from tests.offline.solo import LIFE, Solo, report
from tests.offline.world import CASES, A, Memory, World

NEXT, OTHER = bytes([8] * 16), bytes([5] * 16)


def opening(operation: Operation) -> Opening:
    assert isinstance(operation.payload, Opening)
    return operation.payload


def test_the_first_thing_written_is_the_opening() -> None:
    """Rule 3: number 0 of the incarnation, with the life before and how far that one had counted."""
    solo = Solo(latest=(OTHER, 17))
    [first] = solo.journal
    assert first.id == OperationId(A, LIFE, 0)
    assert opening(first) == Opening(OTHER, 17, OTHER)


def test_a_new_store_has_no_life_before() -> None:
    solo = Solo()
    assert opening(solo.journal[0]) == Opening(None, 0, None)


def test_an_emptied_store_is_told_apart_and_takes_its_place() -> None:
    """Rule 7: stale, so its opening is written anew, replacing the life that is current as far as the feed shows."""
    first = Solo().connected()
    solo = Solo(life=NEXT, zone=first.zone, index=first.index)
    assert [opening(operation) for operation in solo.journal] == [Opening(None, 0, LIFE)]
    solo.journalled()
    solo.line_up()
    solo.agree(*solo.sent())
    assert queries.current(solo.zone, A) == NEXT
    assert solo.core.restored
    assert not solo.core.fenced


def test_a_reworded_opening_leaves_only_once_it_is_durable() -> None:
    """Rule 9 holds for it as well."""
    solo = Solo(knows_case=False).connected()
    other = Solo(life=NEXT, knows_case=False)
    other.journalled()
    other.line_up()
    other.forget()
    for operation in solo.sent():
        other.feed(other.take(operation))
    assert [todo.rewrite[0].id.seq for todo in other.done if todo.rewrite] == [0]
    assert other.sent() == []
    other.journalled()
    assert [opening(operation).replaces for operation in other.sent()] == [LIFE]


def test_a_process_that_was_replaced_takes_nothing_more() -> None:
    """Rule 8: the feed shows its own incarnation closed."""
    solo = Solo().connected()
    usurper = Operation(OperationId(A, OTHER, 0), 0, 0, solo.journal[0].clock, 0, A, Opening(LIFE, 0, LIFE))
    solo.agree(usurper)
    assert solo.core.fenced
    solo.issue()
    assert "another process" in solo.receipts(TurnedAway)[0].why


def test_closed_records_go_on_under_a_drain_unsynced_ones_too() -> None:
    """Their callers get their verdicts, and are found by the names they know."""
    solo = Solo().connected()
    solo.cut()
    solo.issue()
    solo.journalled()
    solo.line_up()
    solo.hear()
    solo.issue(budget_ms=60_000)
    usurper = Operation(OperationId(A, OTHER, 0), 0, 0, solo.journal[0].clock, 0, A, Opening(LIFE, 0, LIFE))
    solo.agree(usurper)
    solo.journalled()
    drain = drain_incarnation(LIFE, 0)
    drained = [operation for operation in solo.sent() if operation.id.incarnation == drain]
    assert [operation.id.seq for operation in drained] == [0, 1, 2]
    assert opening(drained[0]) == Opening(LIFE, 0, None, drain=True)
    solo.agree(*drained)
    assert [receipt.operation for receipt in solo.receipts(Agreed)] == [OperationId(A, drain, 2)]
    for seq in (1, 2):
        assert solo.core.outcome(OperationId(A, LIFE, seq)).state == "agreed"
    solo.flush()
    assert (LIFE, 2) in solo.trims()
    assert list(solo.core._journal) == []


def test_a_backup_that_drains_the_same_records_again_applies_nothing_twice() -> None:
    """A drain's name is derived from what it drains, so the second is the first again."""
    world = World(sites=(A,))
    box = world.boxes[0]
    box.back_up()
    box.cut()
    box.issue("note", "", CASES[A])
    box.sync()
    before_draining = [*box.disk.journal]
    world.clone(0)
    world.heal()
    assert len(world.decided["u1"]) == 1
    counters = {LIFE: 0, **box.disk.counters}
    for operation in before_draining:
        box.disk.journal.append(operation)
        counters.pop(operation.id.incarnation, None)
    box.disk.counters = {before_draining[0].id.incarnation: before_draining[-1].id.seq}
    box.crash()
    world.heal()
    assert len(world.decided["u1"]) == 1
    assert box.disk.journal == []


def test_a_crash_in_the_middle_of_draining_drains_once() -> None:
    """The originals and their drain lie on one disk; the state is still the one from before the closing."""
    world = World(sites=(A,))
    box = world.boxes[0]
    box.back_up()
    box.cut()
    box.issue("note", "", CASES[A])
    box.sync()
    world.clone(0)
    for operation in list(world.net):
        world.deliver(operation)
    box.connect()
    while box.applied[0] < world.top:
        box.feed()
    box.sync()
    assert {is_drain(operation.id.incarnation) for operation in box.disk.journal} == {True, False}
    box.line_up = False
    box.crash()
    assert box.core.undecided == 1
    box.connect()
    world.heal()
    assert len(world.decided["u1"]) == 1


def test_a_damaged_record_becomes_a_tombstone_and_a_person_is_told() -> None:
    """Else rule 5 waits for ever; the rest of the journal goes on."""
    lost = Solo()
    for _ in range(3):
        lost.issue()
    lost.journalled()
    kept = [operation for operation in lost.journal if operation.id.seq != 2]
    solo = Solo(life=NEXT, journal=kept, latest=(LIFE, 3), damaged=[(LIFE, 2)])
    assert any(f"{A}/{LIFE.hex()}/2" in text for text in solo.notes())
    solo.line_up()
    assert solo.sent() == []
    solo.journalled()
    kinds = [type(operation.payload) for operation in solo.sent()]
    assert kinds[2] is Tombstone
    solo.agree(*solo.sent())
    assert solo.core.undecided == 0
    outcomes = [solo.core.outcome(OperationId(A, LIFE, seq)) for seq in (1, 2, 3)]
    assert [outcome.verdict.kind.value for outcome in outcomes if outcome.verdict] == ["applied", "refused", "applied"]


def test_a_damaged_opening_is_made_again() -> None:
    """From the life before it and what that is known to have counted."""
    first = Solo()
    first.issue()
    first.journalled()
    second = Solo(life=NEXT, journal=first.journal, latest=(LIFE, 1))
    second.issue()
    second.journalled()
    found = [*first.journal, second.journal[-1]]
    third = Solo(life=OTHER, journal=found, latest=(NEXT, 1), damaged=[(NEXT, 0)])
    third.journalled()
    third.line_up()
    third.agree(*third.sent())
    assert third.core.undecided == 0
    assert not third.core.restored


def test_a_journal_with_a_gap_is_refused() -> None:
    """Nothing behind the gap would ever be agreed: a person has to look."""
    lost = Solo()
    for _ in range(3):
        lost.issue()
    lost.journalled()
    with pytest.raises(StoreDamaged, match="2: is missing"):
        Solo(life=NEXT, journal=[operation for operation in lost.journal if operation.id.seq != 2])


def test_a_drain_is_not_the_life_before() -> None:
    """The journal counts drains too; a new life follows the last one that was lived."""
    drain = drain_incarnation(LIFE, 0)
    assert drain.startswith(DRAIN_MARK)
    assert last_life([(OTHER, 3), (LIFE, 5), (drain, 4)]) == (LIFE, 5)
    assert last_life([]) is None


def test_a_life_that_was_drained_counts_only_up_to_its_closing() -> None:
    """What lies above is in the drain; a new life that waited for it under the old name would wait for ever."""
    source = Solo(knows_case=False)
    source.issue(report())
    source.journalled()
    drain = drain_incarnation(LIFE, 0)
    drained = [
        replace(source.journal[0], id=OperationId(A, drain, 0), payload=Opening(LIFE, 0, None, drain=True)),
        replace(source.journal[1], id=OperationId(A, drain, 1)),
    ]
    zone = Memory()
    world = Solo(zone=zone, knows_case=False)
    world.take(source.journal[0])
    solo = Solo(life=NEXT, journal=drained, latest=(LIFE, 1), zone=zone, index=1)
    assert opening(solo.journal[0]) == Opening(LIFE, 0, LIFE)
    assert solo.core.undecided == 1
    view = queries.stream(solo.core.view(), A, NEXT)
    assert view is not None


def test_only_the_newest_write_is_believed() -> None:
    """A word about an older Todo changes nothing."""
    solo = Solo()
    solo.issue()
    number = solo.done[0].number
    solo.step(events.Journalled(solo.now_ms, number - 1))
    assert not solo.core._journal.is_durable(OperationId(A, LIFE, 0))


def test_what_is_drained_goes_before_what_later_lives_built_upon_it() -> None:
    """Found by the world of sites (seed 440): a life opened a case and was closed by a clone; the life after it kept a
    note on that case. Handed over behind the note, the opening came too late: "there is no case"."""
    first = Solo().connected()
    first.cut()
    first.issue(report(f"{A}.new"))
    first.journalled()
    kept = [operation for operation in first.journal if operation.id.seq > 0]
    again = Solo(life=NEXT, journal=kept, latest=(LIFE, 1), zone=first.zone, index=first.index, counted=[(LIFE, 1)])
    again.cut()
    again.issue(AddNote(f"{A}.new", "n", "on the new case"))
    again.journalled()
    clone = Operation(OperationId(A, OTHER, 0), 0, 0, kept[0].clock, 0, A, Opening(LIFE, 0, LIFE))
    again.feed(again.take(clone))
    again.journalled()
    drain = drain_incarnation(LIFE, 0)
    order = [operation.id.incarnation for operation in again.core._journal if operation.id.seq > 0]
    assert order == [drain, NEXT]
    view = queries.read_case(again.core.view(), f"{A}.new")
    assert view is not None
    assert [one.key for one in view.elements if one.field == "medical_note"] == ["n"]
    held = [*again.core._journal]
    counted = [(LIFE, 1), (NEXT, 1), (drain, 1)]
    third = bytes([7] * 16)
    restarted = Solo(life=third, journal=held, latest=(NEXT, 1), zone=again.zone, index=again.index, counted=counted)
    order = [operation.id.incarnation for operation in restarted.core._journal if operation.id.seq > 0]
    assert order == [drain, NEXT]
