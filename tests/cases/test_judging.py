"""Verdicts that the replicated state holds, conflicts that an entry opens, and what a traced draft remembers."""

from __future__ import annotations

from replica.cases import keys, queries
from replica.cases.commands import ChangePriority, TakeOver
from replica.cases.draft import Traced
from replica.cases.judging import kept_of_site, of_case
from replica.cases.records import Empty, Layer, Overlay
from replica.cases.state import HEAD, NUMBER
from tests.cases.world import A, B, Site, World, creation, two_sites


def conflicting() -> tuple[World, Site, Site]:
    """Two priorities said apart, and one act about a case that is not there."""
    world, a, b = two_sites()
    a.do(creation())
    b.cut()
    a.do(ChangePriority("c1", "P1"))
    b.do(ChangePriority("c1", "P0"))
    b.do(ChangePriority("nowhere", "P0"))
    return world, a, b


def test_a_cases_verdicts_are_read_from_its_history() -> None:
    """What was no plain `applied`, with act, author and index; of this case alone."""
    world, _, b = conflicting()
    (verdict,) = of_case(world.records, "c1", world.index)
    assert (verdict.kind, verdict.act, verdict.author) == ("conflict", "change-priority", f"someone at {B}")
    assert verdict.operation == f"{B}/{b.incarnation.hex()}/1"
    assert not verdict.tentative
    assert list(of_case(world.records, "nowhere", world.index)) == []


def test_what_is_kept_for_a_site_is_read_in_its_own_order() -> None:
    """That about a case from the case's history; that about none by its number alone."""
    world, *_ = conflicting()
    first, second = kept_of_site(world.records, B, world.index)
    assert (first.kind, first.act) == ("conflict", "change-priority")
    assert (second.kind, second.act, second.operation.rpartition("/")[2]) == ("refused", "", "2")
    assert "no case nowhere" in second.reason
    assert list(kept_of_site(world.records, A, world.index)) == []


def test_an_entry_names_the_conflicts_it_opens() -> None:
    """And not those it closes."""
    world, a, b = two_sites()
    a.do(creation())
    b.cut()
    assert queries.conflicts_in(world.agree(a.operation(ChangePriority("c1", "P1")))) == ()
    effects = world.agree(b.operation(ChangePriority("c1", "P0")))
    assert queries.conflicts_in(effects) == (("case", "c1", "priority", ""),)
    b.heal()
    assert queries.conflicts_in(world.agree(b.operation(ChangePriority("c1", "P0")))) in (
        (),
        queries.conflicts_in(effects),
    )
    closing = world.agree(a.operation(TakeOver(A, B, 1, "changes no conflict")))
    assert queries.conflicts_in(closing) == ()


def test_a_traced_draft_remembers_what_was_looked_at_and_set() -> None:
    """Whether there was anything or not, and whichever way it was looked at."""
    draft = Traced(Overlay(Empty(), {b"a": b"\x01", b"b": b"\x02"}))
    assert draft.load(b"a", NUMBER) == 1
    assert not draft.has(b"none")
    assert draft.get(b"b") == b"\x02"
    draft.put(b"set", 3)
    assert draft.touched == {b"a", b"b", b"none", b"set"}
    assert draft.written == {b"set"}
    assert not draft.scanned
    assert [key for key, _ in draft.scan(b"a")] == [b"a"]
    assert draft.scanned
    assert draft.load(keys.head("case", "x"), HEAD) is None


def test_a_layer_forgets_a_record_as_if_it_had_never_been_set() -> None:
    """What lies below shows again, by name and by beginning; forgetting what is not there does nothing."""
    layer = Layer({b"c1\0a": b"above", b"c1\0b": None})
    over = Overlay(Overlay(Empty(), {b"c1\0a": b"below", b"c1\0b": b"below"}), layer)
    assert [value for _, value in over.scan(b"c1\0")] == [b"above"]
    for key in (b"c1\0a", b"c1\0b", b"c1\0b", b"never"):
        layer.forget(key)
    assert [value for _, value in over.scan(b"c1\0")] == [b"below", b"below"]
    assert layer == {}
