"""Exactly once, whatever is lost in between: all that the gate goes by stands in the records, and nowhere else.

A snapshot is the records and nothing more. So a replica that has only those must answer an operation that comes again
as the one that took it did, and every question about it too.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from replica.cases import digest, keys, queries
from replica.cases.commands import AddNote, ChangePriority, Opening
from replica.cases.machine import apply
from replica.cases.operations import Batch, Operation
from replica.cases.records import Empty, Overlay
from tests.cases.histories import Step, histories, play
from tests.cases.world import A, B, Site, World, creation, notes, three_sites, two_sites


def copied(records: Overlay) -> Overlay:
    """As a snapshot brings it: record by record, into an empty state."""
    copy = Overlay(Empty())
    for key, value in records.scan(b""):
        copy.put(bytes(key), bytes(value))
    return copy


def on_copy(world: World) -> World:
    """The world goes on at a replica that was sent a snapshot."""
    return World(copied(world.records), world.index, world.now_ms, list(world.log), world.spoken)


def life(before: Site, byte: int, world: World) -> tuple[Site, Operation]:
    """The next opening of a site's store, and its operation 0."""
    opened = Site(before.name, bytes((byte,)) * 16, world)
    return opened, opened.numbered(0, Opening(before.incarnation, before.last, before.incarnation))


def test_an_operation_sent_again_after_a_snapshot_is_a_duplicate_with_its_verdict() -> None:
    """Applied, merged and refused ones alike: nothing happens twice, and each is told its fate."""
    world, a, b = two_sites()
    said = [
        a.operation(creation()),
        b.operation(ChangePriority("c1", "P1")),
        b.operation(AddNote("c1", "n", "once")),
        b.operation(ChangePriority("c9", "P1")),
    ]
    verdicts = {operation.id: world.verdict(operation) for operation in said}
    copy = on_copy(world)
    for operation in said:
        assert copy.held(operation) == "duplicate"
        found = queries.verdict_of(copy.records, operation.id)
        assert found is not None
        assert found[1].kind is verdicts[operation.id].kind
        assert found == queries.verdict_of(world.records, operation.id)
    assert len(notes(copy.case())) == 1


def test_it_is_a_duplicate_across_a_new_life_of_the_site_too() -> None:
    """The old life's numbers stay taken after it was closed, and so do the new one's: snapshots before, between and
    after."""
    world, a, b = two_sites()
    a.do(creation())
    first = b.operation(ChangePriority("c1", "P1"))
    told = world.verdict(first)
    world = on_copy(world)
    again, opening = life(b, 8, world)
    world.verdict(opening)
    second = again.operation(ChangePriority("c1", "P0"))
    told_too = world.verdict(second)
    world = on_copy(world)
    for operation, verdict in ((first, told), (second, told_too)):
        assert world.held(operation) == "duplicate"
        found = queries.verdict_of(world.records, operation.id)
        assert found is not None
        assert found[1] == verdict
    assert world.held(opening) == "duplicate"
    assert world.held(b.numbered(2, AddNote("c1", "n", "late"))) == "closed"
    assert queries.current(world.records, B) == again.incarnation


def test_a_callers_key_is_known_after_a_snapshot_and_in_a_new_life() -> None:
    """A caller whose hub process died tries again through the new one, under the same key."""
    world, a, _ = two_sites()
    a.do(creation())
    first = a.operation(AddNote("c1", "n1", "once"), key="k")
    world.verdict(first)
    again, opening = life(a, 8, world)
    world.verdict(opening)
    world = on_copy(world)
    verdict = world.verdict(again.operation(AddNote("c1", "n2", "twice"), key="k"))
    assert [finding.other for finding in verdict.findings] == [first.id]
    assert len(notes(world.case())) == 1


def test_what_was_let_go_is_let_go_after_a_snapshot() -> None:
    """How far verdicts were let go stands in the stream, so the copy goes on from there and keeps no more than the
    original."""
    world, a, b = two_sites()
    a.do(creation())
    for _ in range(3):
        b.do(ChangePriority("c9", "P1"))
    b.have = 2
    b.do(ChangePriority("c9", "P1"))
    copy = on_copy(world)
    b.have = 4
    last = b.operation(ChangePriority("c9", "P1"))
    for one in (world, copy):
        one.verdict(last)
    assert copied(world.records).changes == copied(copy.records).changes
    assert len(list(copy.records.scan(b"v"))) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories)
def test_a_replica_that_was_sent_a_snapshot_at_any_entry_goes_on_the_same(history: list[Step]) -> None:
    """Equal records, digests, verdicts and words of the gate at every later entry; and all of the history sent again is
    duplicate."""
    played = play(history)
    log = played.world.log
    at = len(log) // 2
    whole, copy = Overlay(Empty()), Overlay(Empty())
    for index, batch in enumerate(log, 1):
        effects = apply(whole, batch, index, 1)
        whole.update(dict(effects.changes))
        if index == at:
            copy = copied(whole)
        elif index > at:
            assert apply(copy, batch, index, 1) == effects
            copy.update(dict(effects.changes))
    assert queries.digest(copy) == queries.digest(whole)
    assert digest.total(copy.scan(b"")).hex() == queries.digest(copy)
    again = apply(copied(copy), Batch(1, 1, tuple(played.said)), len(log) + 1, 1)
    assert (again.decided, again.changes) == ((), ())
    assert {why for _, why in again.held} <= {"duplicate"}


def test_a_snapshot_without_the_gates_records_is_not_equal_and_takes_things_twice() -> None:
    """The check can fail: leave out streams, kept verdicts or callers' keys, and the copy's digest says so; without its
    stream, an operation is no duplicate any more."""
    world, a, _, _ = three_sites()
    said = a.operation(creation(), key="k")
    world.verdict(said)
    world.verdict(a.operation(ChangePriority("c9", "P1")))
    for left_out in (keys.STREAMS, b"v", b"k", b"K", keys.SITES):
        copy = copied(world.records)
        for key in [key for key, _ in copy.scan(left_out)]:
            copy.put(key, None)
        assert digest.total(copy.scan(b"")).hex() != queries.digest(world.records), left_out
    without = copied(world.records)
    without.put(keys.stream(A, a.incarnation), None)
    held = apply(without, Batch(1, 1, (said,)), world.index + 1, 1).held
    assert [why for _, why in held] == ["gap"]
