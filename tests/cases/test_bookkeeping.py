"""Verdicts kept and let go, counters, digests, and what readers are told."""

from __future__ import annotations

import msgspec

from replica.cases import digest, keys, queries
from replica.cases.commands import AddNote, ChangePriority, Fact, Opening, RegisterOrganisation, Subject, TransferCase
from replica.cases.draft import Draft
from replica.cases.gate import RELEASED_AT_ONCE
from replica.cases.machine import apply, apply_tentative
from replica.cases.operations import Batch, OperationId
from replica.cases.records import Empty, Layer, Overlay
from replica.cases.state import ELEMENT, NUMBER
from tests.cases.world import (
    APPLIED,
    DUPLICATE,
    MERGED,
    REFUSED,
    A,
    B,
    Site,
    World,
    about,
    creation,
    field_of,
    proposals,
    report,
    status,
    two_sites,
    update,
    values,
    vehicle,
)


def kept(world: World) -> int:
    return len(list(world.records.scan(b"v")))


def verdict(world: World, site: Site, seq: int) -> object:
    found = queries.verdict_of(world.records, OperationId(site.name, site.incarnation, seq))
    return None if found is None else (found[0], found[1].kind)


# --- verdicts ---


def test_every_verdict_other_than_applied_is_kept_until_its_site_holds_it() -> None:
    """A number ≤ `last` with no kept verdict was applied; a site away for a week still learns the fate of each act."""
    world, a, b = two_sites()
    a.do(creation())
    b.do(ChangePriority("c1", "P1"))
    b.do(ChangePriority("c9", "P1"))
    assert (verdict(world, a, 1), verdict(world, b, 1), verdict(world, b, 2)) == (
        (0, APPLIED),
        (4, MERGED),
        (5, REFUSED),
    )
    assert verdict(world, b, 3) is None
    assert verdict(world, b, 0) == (0, APPLIED)
    assert verdict(world, Site(A, b"?" * 16, world), 1) is None
    assert kept(world) == 2
    b.have = 2
    b.do(AddNote("c1", "n", "t"))
    assert kept(world) == 1


def test_a_verdict_let_go_stays_in_the_cases_history() -> None:
    """Then in the case's history until the case is archived."""
    world, a, b = two_sites()
    a.do(creation())
    b.do(ChangePriority("c1", "P1"))
    b.have = 1
    b.do(AddNote("c1", "n", "t"))
    assert [(one.kind, one.act) for one in world.case().verdicts] == [
        ("merged", "change-priority"),
        ("merged", "add-note"),
    ]


def test_letting_go_is_done_in_portions() -> None:
    """A site back after a week declares thousands at once; no operation pays for all of them."""
    world, a, b = two_sites()
    a.do(creation())
    count = RELEASED_AT_ONCE + 10
    world.agree(*[b.operation(ChangePriority("c9", "P1")) for _ in range(count)])
    assert kept(world) == count
    b.have = count
    b.do(ChangePriority("c9", "P1"))
    assert kept(world) == 10 + 1
    b.do(ChangePriority("c9", "P1"))
    assert kept(world) == 2


def test_an_earlier_lifes_verdicts_are_let_go_in_portions_too() -> None:
    """The life before is not done with before all of them are gone."""
    world, _, b = two_sites()
    count = RELEASED_AT_ONCE + 10
    world.agree(*[b.operation(ChangePriority("c9", "P1")) for _ in range(count)])
    second = Site(B, b"\x08" * 16, world)
    assert world.verdict(second.numbered(0, Opening(b.incarnation, b.last, b.incarnation))).kind is APPLIED
    second.have = 1
    left = []
    for n in range(3):
        second.do(creation(f"c{n}", B))
        left.append(kept(world))
    assert left == [10, 0, 0]


def test_a_site_cannot_let_go_of_what_is_not_decided() -> None:
    """`have` beyond the last number is taken as the last number."""
    world, _, b = two_sites()
    b.have = 10**18
    b.do(ChangePriority("c9", "P1"))
    b.do(ChangePriority("c9", "P1"))
    assert kept(world) == 1


def test_verdicts_of_earlier_lives_are_let_go_with_the_later_ones() -> None:
    """Verdicts come in the order of the log: who holds one of this life durably holds those before it."""
    world, a, b = two_sites()
    b.do(ChangePriority("c9", "P1"))
    lives = [b]
    for byte in (8, 9):
        life = Site(B, bytes((byte,)) * 16, world)
        before = lives[-1]
        opening = Opening(before.incarnation, before.last, before.incarnation)
        assert world.verdict(life.numbered(0, opening)).kind is APPLIED
        life.do(ChangePriority("c9", "P1"))
        lives.append(life)
    assert kept(world) == 3
    lives[-1].have = 1
    for _ in range(3):
        lives[-1].do(creation("c1", B))
    assert kept(world) <= 3
    assert verdict(world, b, 1) == (0, APPLIED)
    assert a.name == A
    world.check()


def test_verdicts_are_counted_per_site_and_kind() -> None:
    """#operations = #verdicts, by the state itself."""
    world, a, b = two_sites()
    a.do(creation())
    b.do(ChangePriority("c1", "P1"))
    b.do(ChangePriority("c9", "P1"))
    site = queries.site(world.records, B)
    assert site is not None
    assert {kind: count for kind, count in site.verdicts.items() if count} == {"applied": 1, "merged": 1, "refused": 1}
    assert queries.sites(world.records) == [A, B]
    assert queries.site(world.records, "nobody") is None


# --- digests ---


def test_the_digest_kept_is_that_of_the_records() -> None:
    """Updated at each change; recomputed from scratch it is the same."""
    world, a, b = two_sites()
    a.do(RegisterOrganisation("samu44", A))
    a.do(creation("c1", A, Fact("priority", "P1"), Fact("sender_case", "N", A)))
    b.do(ChangePriority("c1", "P2"), key="k")
    a.do(vehicle("r1", A, "c1"))
    b.do(about("r1", "c1", status("DECLENCHE")))
    a.do(TransferCase("c1", B))
    world.check()
    total = sum(int(one, 16) for one in queries.digests(world.records).values()) % (1 << 128)
    assert int(queries.digest(world.records), 16) == total


def test_a_cases_digest_moves_with_it_to_the_new_owner() -> None:
    """Digests are kept per owner, so that a feed of a part of the state stays possible."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("freetext", "x")))
    before = queries.digests(world.records)
    assert A in before
    assert B not in before
    a.do(TransferCase("c1", B))
    after = queries.digests(world.records)
    assert A not in after
    assert after[B] != before[A]


def test_the_digest_does_not_depend_on_the_order_of_writes() -> None:
    """Two histories that end in the same records have the same digest."""
    records = {b"a": b"1", b"b": b"2"}
    sums = [digest.ZERO, digest.ZERO]
    for place, names in enumerate((sorted(records), sorted(records, reverse=True))):
        for name in names:
            sums[place] = digest.add(sums[place], digest.term(name, records[name]))
    assert sums[0] == sums[1]
    assert digest.add(sums[0], -digest.term(b"a", b"1")) == digest.add(digest.ZERO, digest.term(b"b", b"2"))
    assert digest.term(b"ab", b"c") != digest.term(b"a", b"bc")


def test_a_working_view_keeps_no_digest() -> None:
    """Nobody compares it."""
    world, a, _ = two_sites()
    view = Overlay(world.records)
    assert apply_tentative(view, a.operation(creation()), world.index + 1, world.now_ms) is not None
    assert not [key for key in view.changes if not digest.is_covered(key)]


# --- apply ---


def test_apply_changes_nothing_but_what_it_returns() -> None:
    """A pure function: the records stay as they are."""
    world, a, _ = two_sites()
    before = dict(world.records.changes)
    effects = apply(world.records, Batch(world.now_ms, 1, (a.operation(creation()),)), world.index + 1, 1)
    assert dict(world.records.changes) == before
    assert list(effects.changes) == sorted(effects.changes)


def test_an_empty_entry_has_no_effects() -> None:
    """A leader's first entry of its term."""
    effects = apply(Overlay(Empty()), Batch(0, 1, ()), 1, 1)
    assert (effects.decided, effects.changes, effects.held) == ((), (), ())


def test_an_update_writes_only_the_group_it_touches() -> None:
    """State records are small, so that an update writes what changed."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("location.name", "x"), Fact("patient", "p", "p"), Fact("freetext", "t")))
    effects = world.agree(a.operation(ChangePriority("c1", "P0")))
    groups = [key for key, _ in effects.changes if key.startswith(b"cc1\0f")]
    assert groups == [b"cc1\0fcore\0"]


# --- what readers see ---


def test_a_case_is_shown_whole_and_as_plain_json() -> None:
    """Every value with author and act time, notes, engagements, documents, history; `msgspec.to_builtins` suffices."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("priority", "P2"), Fact("status", "ACTIF", A), Fact("medical_note", "{}", "n")))
    a.do(vehicle("r1", A, "c1"))
    one, two = a.operation(ChangePriority("c1", "P1")), b.operation(ChangePriority("c1", "P0"))
    world.verdict(one)
    world.verdict(two)
    plain = msgspec.to_builtins(world.case())
    assert plain["owner"] == A
    assert plain["conflicts"] == ("priority",)
    assert plain["engagements"][0]["resource"] == "r1"
    assert [one["value"]["value"] for one in plain["elements"]] == ["{}"]
    priority = next(field for field in plain["fields"] if field["field"] == "priority")
    assert [value["author"] for value in priority["values"]] == [f"someone at {B}", f"someone at {A}"]
    assert OperationId.parse(priority["values"][0]["operation"]) == two.id
    assert msgspec.json.decode(msgspec.json.encode(world.case())) == msgspec.json.decode(msgspec.json.encode(plain))
    assert msgspec.to_builtins(world.resource())["serves"] == "c1"


def test_what_is_above_the_applied_index_is_tentative() -> None:
    """A read says what is agreed and what is this site's own so far."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("priority", "P1")))
    view = Overlay(world.records)
    apply_tentative(view, a.operation(ChangePriority("c1", "P0")), world.index + 1, world.now_ms)
    shown = queries.read_case(view, "c1", world.index)
    assert shown is not None
    assert [one.tentative for one in field_of(shown, "priority").values] == [True]
    assert [one.tentative for one in field_of(shown, "owner").values] == [False]
    assert values(world.case(), "priority") == ["P1"]


def test_many_own_operations_at_one_index_keep_their_history_apart() -> None:
    """A working view applies the whole journal at the index that comes next."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("priority", "P1")))
    view = Overlay(world.records)
    for priority in ("P0", "P2", "P3"):
        apply_tentative(view, a.operation(ChangePriority("c1", priority)), world.index + 1, world.now_ms)
    shown = queries.read_case(view, "c1", world.index)
    assert shown is not None
    assert sorted(one.value.value for one in shown.history) == ["P0", "P1", "P2"]


def test_changed_subjects_of_an_entry() -> None:
    """The feed of changes names what to read again."""
    world, a, _ = two_sites()
    effects = world.agree(a.operation(creation()), a.operation(vehicle("r1", A, "c1")))
    assert queries.changed_subjects(world.records, effects) == (("case", "c1"), ("resource", "r1"))


def test_a_message_about_a_vehicle_without_a_name_changes_that_vehicle_alone() -> None:
    """Where its message is remembered is no resource that anybody could read."""
    world, a, _ = two_sites()
    nameless = Subject("resource", "", (Fact("name", "VSAV"),))
    effects = world.agree(a.operation(report(nameless, message="m")))
    assert queries.changed_subjects(world.records, effects) == (("resource", ".placeholder.m.1"),)
    assert a.do(report(nameless, message="m")).kind is DUPLICATE
    world.check()


def test_streams_of_a_site() -> None:
    """What the state knows of each life of a site."""
    world, a, _ = two_sites()
    a.do(creation())
    second = Site(A, b"\7" * 16, world)
    world.verdict(second.numbered(0, Opening(a.incarnation, 1, a.incarnation)))
    first, now = queries.streams(world.records, A)
    assert (first.last, first.closed_at, first.current) == (1, 1, False)
    assert (now.prev, now.prev_last, now.current) == (a.incarnation, 1, True)
    assert queries.last_number(world.records, A, a.incarnation) == 1
    assert queries.last_number(world.records, A, b"?") == -1
    assert queries.stream(world.records, A, b"?") is None


def test_a_life_whose_name_no_honest_site_would_have_is_not_listed() -> None:
    """It is kept under a hash, from which nobody could name it again."""
    world, a, _ = two_sites()
    odd = Site(A, b"short", world)
    assert world.verdict(odd.numbered(0, Opening(a.incarnation, 0, a.incarnation))).kind is APPLIED
    assert [one.incarnation for one in queries.streams(world.records, A)] == [a.incarnation]
    found = queries.stream(world.records, A, b"short")
    assert found is not None
    assert found.current


def test_a_name_that_looks_like_a_hash_is_hashed_itself() -> None:
    """Else somebody could choose the name that another's key is."""
    hashed = keys.name("x" * 5000)
    assert hashed.startswith(b"#")
    assert keys.name(hashed.decode()) != hashed


def test_nothing_is_there_of_what_nobody_named() -> None:
    """None, empty, zero: no question raises."""
    empty = Overlay(Empty())
    assert queries.read_case(empty, "c") is None
    assert queries.read_resource(empty, "r") is None
    assert queries.read_request(empty, "q") is None
    assert queries.list_cases(empty) == queries.list_resources(empty) == []
    assert queries.list_conflicts(empty) == []
    assert (queries.owner_of(empty, "c"), queries.find_case(empty, "o", "n"), queries.current(empty, A)) == (
        "",
        None,
        None,
    )
    assert (queries.digests(empty), queries.digest(empty), queries.epoch_of(empty, A)) == ({}, "0" * 32, 1)


# --- layers ---


def test_a_layer_finds_what_a_plain_map_finds() -> None:
    """Reading one subject looks into its drawer only; the answer is the same."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("freetext", "x")))
    a.do(creation("c2", A))
    a.do(update("c1", Fact("priority", "P1")))
    plain = {key: value for key, value in world.records.changes.items() if value is not None}
    gone = next(iter(plain))
    layer = Layer(plain)
    layer[gone] = None
    layer.update({b"new\0x": b"1", b"n": b"2"})
    same = dict(layer.items())
    for prefix in (b"", b"c", b"C", b"cc1\0", b"cc1\0f", b"new\0", b"n", b"new", gone, b"zzz"):
        assert list(Overlay(Empty(), layer).scan(prefix)) == list(Overlay(Empty(), same).scan(prefix)), prefix


def test_an_overlay_shows_what_is_new_what_was_changed_and_not_what_is_gone() -> None:
    """New before, between and after what is below; changed in its place; gone, whether it was below or not."""
    below = Overlay(Empty(), {b"b": b"1", b"d": b"1", b"f": b"1", b"h": b"1"})
    changes: dict[bytes, bytes | None] = {
        b"a": b"new", b"b": None, b"c": b"new", b"d": b"changed", b"e": None, b"i": b"new", b"j": None,
    }  # fmt: skip
    shown = [(b"a", b"new"), (b"c", b"new"), (b"d", b"changed"), (b"f", b"1"), (b"h", b"1"), (b"i", b"new")]
    for over in (Overlay(below, dict(changes)), Overlay(below, Layer(changes))):
        assert list(over.scan(b"")) == shown
        names = [bytes((byte,)) for byte in b"abcdefghij"]
        assert [over.get(name) for name in names] == [dict(shown).get(name) for name in names]


def test_a_draft_reads_as_the_state_it_will_be() -> None:
    """Whatever reads a state reads a draft: records changed, set for the first time, and taken away."""
    base = Overlay(Empty(), {b"oa": b"\x01", b"ob": b"\x02", b"oc": b"\x03"})
    draft = Draft(base)
    assert (draft.load(b"oa", NUMBER), draft.load(b"oa", NUMBER), draft.load(b"od", NUMBER)) == (1, 1, None)
    draft.put(b"oa", 7)
    draft.put(b"ob", None)
    draft.put(b"od", 8)
    draft.put(b"pa", 9)
    after = Overlay(base)
    after.update(dict(draft.finish(with_digest=False)))
    assert [draft.get(key) for key in (b"oa", b"ob", b"oc", b"od")] == [b"\x07", None, b"\x03", b"\x08"]
    assert list(draft.scan(b"o")) == list(after.scan(b"o")) == [(b"oa", b"\x07"), (b"oc", b"\x03"), (b"od", b"\x08")]
    assert (draft.has(b"ob"), draft.has(b"oc"), draft.has(b"oe")) == (False, True, False)


def test_what_is_put_back_as_it_was_is_no_change() -> None:
    """Effects name no record that stayed as it was."""
    base = Overlay(Empty(), {b"oa": b"\x01"})
    draft = Draft(base)
    draft.put(b"oa", 7)
    draft.put(b"oa", 1)
    draft.put(b"ob", 2)
    draft.put(b"ob", None)
    assert draft.finish() == ()


def test_verdicts_that_an_earlier_life_let_go_itself_are_not_let_go_again() -> None:
    """The life before had said that it holds them; the next one goes on with the life before that."""
    world, _, b = two_sites()
    b.do(ChangePriority("c9", "P1"))
    b.have = 1
    b.do(creation("c1", B))
    second = Site(B, b"\x08" * 16, world)
    assert world.verdict(second.numbered(0, Opening(b.incarnation, 1, b.incarnation))).kind is APPLIED
    second.do(ChangePriority("c9", "P1"))
    assert kept(world) == 1
    second.have = 1
    second.do(creation("c2", B))
    assert kept(world) == 0
    world.check()


def test_conflicts_are_listed_by_owner() -> None:
    """Of one owner, by any of its names; another's are not among them."""
    world, a, b = two_sites()
    a.do(RegisterOrganisation("samu44", A))
    a.do(creation("c1", A, Fact("priority", "P2")))
    one, two = a.operation(ChangePriority("c1", "P1")), b.operation(ChangePriority("c1", "P0"))
    world.verdict(one)
    world.verdict(two)
    assert [view.id for view in queries.list_conflicts(world.records, "samu44")] == ["c1"]
    assert [view.id for view in queries.list_conflicts(world.records)] == ["c1"]
    assert queries.list_conflicts(world.records, B) == []


def test_a_view_of_a_case_says_what_holds_of_a_field() -> None:
    """The holder; None for what nobody said, and for what is only proposed."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("priority", "P2"), Fact("patient.name", "x", "p")))
    a.do(update("c2", Fact("origin", "15")))
    b.do(TransferCase("c2", A))
    case = world.case()
    assert (case.value("priority"), case.value("patient.name", "p"), case.value("owner")) == ("P2", "x", A)
    assert (case.value("patient.name"), case.value("origin")) == (None, None)
    assert proposals(world.case("c2"), "owner") == [A]
    assert world.case("c2").value("owner") is None


def test_what_only_grows_lies_under_one_prefix_of_its_case() -> None:
    """Notes, decisions and patients of a case are found without reading its fields."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("freetext", "x"), Fact("patient", "p", "p"), Fact("priority", "P1")))
    a.do(creation("c10", A, Fact("freetext", "y")))
    found = [ELEMENT.decode(value) for _, value in world.records.scan(keys.elements(keys.parts("case", "c1")))]
    assert sorted((one.field, one.held.value) for one in found) == [("freetext", "x"), ("patient", "p")]
