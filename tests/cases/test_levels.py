"""The feature level: two releases never differ, one of them stops; and what changes under level 2 (levels.py)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replica.cases import levels, queries
from replica.cases.authority import PermissionKind, permitted
from replica.cases.commands import ChangePriority, Fact, RaiseLevel
from replica.cases.level1 import LEVEL_1
from replica.cases.level2 import COMPLETED, MERGES
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL, may_raise, spoken_by_all
from replica.cases.machine import RULES, apply, apply_tentative
from replica.cases.merge import latest
from replica.cases.operations import Batch
from replica.cases.records import Empty, Overlay
from replica.cases.rules import Rules
from replica.cases.values import completed
from replica.errors import UnknownLevel
from tests.cases.histories import Step, raised, told_of_members
from tests.cases.world import (
    APPLIED,
    MERGED,
    REFUSED,
    SUPERSEDED,
    A,
    Site,
    World,
    about,
    creation,
    past,
    two_sites,
    update,
    values,
    vehicle,
)

FIRST_RELEASE: Mapping[int, Rules] = {LEVEL_1.level: LEVEL_1}
"""All the rules that a release before level 2 has."""
NANTES = '{"inseeCode":"44109","name":"Nantes"}'


def raised_world() -> tuple[World, Site, Site]:
    world, a, b = two_sites()
    assert a.do(RaiseLevel(2)).kind is APPLIED
    return world, a, b


# --- raising it ---


def test_a_cluster_begins_at_level_1_whatever_its_release_speaks() -> None:
    """The founders may be upgraded one by one before anything is raised (docs/decisions/0009)."""
    world, _, _ = two_sites()
    assert queries.feature_level(world.records) == FIRST_LEVEL == 1 < HIGHEST_LEVEL


def test_the_level_rises_by_one_to_what_every_voter_speaks() -> None:
    """The state's level and an audit of nothing else: what is raised holds from the next entry on."""
    world, _, _ = raised_world()
    assert queries.feature_level(world.records) == 2
    assert [batch.level for batch in world.log] == [1, 1, 1]
    world.check()


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        (1, "the feature level is 1 already"),
        (0, "the feature level is 1 already"),
        (-7, "the feature level is 1 already"),
        (3, "the feature level is 1; it can become 2, not 3"),
        (99, "the feature level is 1; it can become 2, not 99"),
    ],
)
def test_a_level_that_is_not_the_next_is_refused_with_a_verdict(level: int, reason: str) -> None:
    """Neither back, nor the same again, nor past a level whose rules nobody would have gone by."""
    world, a, _ = two_sites()
    verdict = a.do(RaiseLevel(level))
    assert (verdict.kind, verdict.reason) == (REFUSED, reason)
    assert queries.feature_level(world.records) == 1


@pytest.mark.parametrize("spoken", [0, 1])
def test_a_level_that_not_every_voter_speaks_is_refused_with_a_verdict(spoken: int) -> None:
    """By what the leader wrote into the entry, so that every replica refuses alike, whatever it speaks itself."""
    world, a, _ = two_sites()
    world.spoken = spoken
    verdict = a.do(RaiseLevel(2))
    assert verdict.kind is REFUSED
    assert f"all of them speak up to {spoken}" in verdict.reason
    assert queries.feature_level(world.records) == 1
    world.spoken = 2
    assert a.do(RaiseLevel(2)).kind is APPLIED


def test_of_two_raises_under_way_the_second_is_refused() -> None:
    """Two operators ask at once."""
    _, a, b = two_sites()
    b.cut()
    assert a.do(RaiseLevel(2)).kind is APPLIED
    assert b.do(RaiseLevel(2)).reason == "the feature level is 2 already"


def test_a_site_does_not_ask_for_a_level_its_own_release_lacks() -> None:
    """Refused before anything is journalled."""
    world, a, _ = two_sites()
    refused = permitted(world.records, a.name, RaiseLevel(HIGHEST_LEVEL + 1), True)
    assert refused.kind is PermissionKind.REFUSED
    assert f"up to {HIGHEST_LEVEL}" in refused.reason


def test_what_all_voters_speak_is_what_the_last_of_them_speaks() -> None:
    """One that was not heard counts as speaking nothing, and no voter at all speaks nothing."""
    assert spoken_by_all({1: 2, 2: 3, 3: 2}) == 2
    assert spoken_by_all({"zone-a": 2, "zone-b": 0, "zone-c": 2}) == 0
    assert spoken_by_all(dict[int, int]()) == 0


def test_whoever_asks_beforehand_is_told_which_voters_are_in_the_way() -> None:
    """In the order of their names, so that two zones answer the same."""
    assert may_raise(2, {"zone-a": 2, "zone-b": 3}) is None
    assert may_raise(3, {"zone-c": 2, "zone-b": 0, "zone-a": 3}) == (
        "feature level 3: zone-b was not heard yet, zone-c speaks up to level 2"
    )
    assert may_raise(2, {2: 1, 1: 2}) == "feature level 2: 2 speaks up to level 1"
    assert may_raise(2, dict[str, int]()) == "feature level 2: no voter is known"


@given(st.dictionaries(st.integers(1, 7), st.integers(0, 4), max_size=7), st.integers(1, 4))
def test_asking_beforehand_and_what_the_leader_writes_say_the_same(spoken: dict[int, int], target: int) -> None:
    assert (may_raise(target, spoken) is None) == (spoken_by_all(spoken) >= target)


# --- two releases ---


def test_an_entry_is_applied_by_the_level_it_was_appended_under() -> None:
    """A leader appended it before the raise was applied: the rules are the entry's, not the state's."""
    found: dict[int, list[str]] = {}
    for level in (1, 2):
        world, a, _ = two_sites()
        a.do(creation("c1", A, Fact("location.city", NANTES)))
        a.do(RaiseLevel(2))
        world.agree(a.operation(update("c1", Fact("location.city", '{"name":"Nantes"}'))), level=level)
        assert queries.feature_level(world.records) == 2
        found[level] = values(world.case(), "location.city")
    assert found == {1: ['{"name":"Nantes"}'], 2: [NANTES]}


def test_what_comes_after_a_raise_in_the_same_entry_is_applied_by_the_entrys_level() -> None:
    """`The replicated feature level becomes level, from the next entry on.`"""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("location.city", NANTES)))
    again = update("c1", Fact("location.city", '{"name":"Nantes"}'))
    world.agree(a.operation(RaiseLevel(2)), a.operation(again))
    assert values(world.case(), "location.city") == ['{"name":"Nantes"}']


def replicas(world: World) -> tuple[int, UnknownLevel | None]:
    """Apply the world's log on a replica of each release. The entries at which both had one digest, and what stopped
    the older one."""
    newer, older = Overlay(Empty()), Overlay(Empty())
    for index, batch in enumerate(world.log, 1):
        newer.update(dict(apply(newer, batch, index, 1).changes))
        before = dict(older.changes)
        try:
            older.update(dict(apply(older, batch, index, 1, FIRST_RELEASE).changes))
        except UnknownLevel as stopped:
            assert dict(older.changes) == before, "something of the entry was applied"
            return index, stopped
        assert queries.digest(newer) == queries.digest(older), f"replicas differ at {index}"
    return len(world.log), None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 50), st.integers(0, 50))
def test_two_releases_are_equal_until_the_raise_and_the_older_stops_there(seed: int, length: int, at: int) -> None:
    """Whatever was said before; loudly, with what it needs and has, and with nothing of that entry applied."""
    history: list[Step] = told_of_members(seed, length)
    world = raised(history, min(at, length - 1)).world
    index, stopped = replicas(world)
    (raising,) = [place for place, batch in enumerate(world.log, 1) if is_raise(batch)]
    assert index == raising
    assert stopped is not None
    assert str(stopped) == (f"what entry {raising} raises needs feature level 2; this release has levels 1 to 1")


def is_raise(batch: Batch) -> bool:
    return any(isinstance(operation.payload, RaiseLevel) for operation in batch.operations)


def test_a_refused_raise_stops_nobody() -> None:
    """Replicas of both releases refuse it alike, and go on."""
    world, a, _ = two_sites()
    world.spoken = 1
    a.do(RaiseLevel(2))
    a.do(creation())
    assert replicas(world) == (4, None)


def test_an_entry_of_an_unknown_level_is_not_applied() -> None:
    """Neither one to come (an older release was put back) nor one that never was."""
    world, a, _ = raised_world()
    for level in (HIGHEST_LEVEL + 1, 0, -1):
        with pytest.raises(UnknownLevel, match=f"entry 9 needs feature level {level}; this release has levels 1 to 3"):
            apply(world.records, Batch(world.now_ms, level, (a.operation(creation()),)), 9, 1)
    with pytest.raises(UnknownLevel, match="levels 1 to 1"):
        apply(world.records, Batch(world.now_ms, 2, ()), 9, 1, FIRST_RELEASE)


def test_an_entry_above_the_level_of_the_state_is_a_bug_and_stops() -> None:
    """A leader takes the level from a state that every replica has behind it when it applies the entry."""
    world, _, _ = two_sites()
    with pytest.raises(AssertionError, match="appended under level 2, but the level is 1"):
        apply(world.records, Batch(world.now_ms, 2, ()), 9, 1)


def test_a_store_above_what_a_release_has_is_refused_when_it_is_opened() -> None:
    """An older release put back after the raise: it says so before it takes part in anything."""
    world, _, _ = raised_world()
    levels.check_known(queries.feature_level(world.records), "this store")
    with pytest.raises(UnknownLevel, match="this store needs feature level 2; this release has levels 1 to 1"):
        levels.check_known(queries.feature_level(world.records), "this store", highest=1)


def test_a_site_of_an_older_release_goes_on_and_forecasts_by_the_rules_it_has() -> None:
    """It puts the zones' records in place and needs no rules for them; its own calls must not stop for the voters'
    upgrade."""
    world, a, _ = raised_world()
    a.do(creation("c1", A, Fact("location.city", NANTES)))
    again = a.operation(update("c1", Fact("location.city", '{"name":"Nantes"}')))
    for known, shown in ((FIRST_RELEASE, '{"name":"Nantes"}'), (RULES, NANTES)):
        view = Overlay(world.records)
        assert apply_tentative(view, again, world.index + 1, world.now_ms, known) is not None
        case = queries.read_case(view, "c1", world.index)
        assert case is not None
        assert values(case, "location.city") == [shown]
        assert values(case, "priority") == []


def test_a_view_forecasts_a_raise_as_its_own_release_would_have_it() -> None:
    """What the voters speak is the leader's to say; the view goes by what its site speaks."""
    world, a, _ = two_sites()
    view = Overlay(world.records)
    for known, kind in ((FIRST_RELEASE, REFUSED), (RULES, APPLIED)):
        raising = a.numbered(1, RaiseLevel(2))
        decided = apply_tentative(Overlay(view), raising, world.index + 1, world.now_ms, known)
        assert decided is not None
        assert decided.verdict.kind is kind


# --- the rule of level 2 ---


def test_a_city_said_again_with_less_keeps_what_it_left_out() -> None:
    """Absent never clears. What holds differs from what was said, so its author is told."""
    world, a, _ = raised_world()
    a.do(creation("c1", A, Fact("location.city", NANTES)))
    verdict = a.do(update("c1", Fact("location.city", '{"name":"Nantes"}')))
    assert (verdict.kind, [finding.rule for finding in verdict.findings]) == (MERGED, [COMPLETED])
    assert values(world.case(), "location.city") == [NANTES]
    assert past(world.case(), "location.city") == [NANTES]
    world.check()


def test_another_city_takes_the_place_of_the_first_whole() -> None:
    """The code of one city with the name of another is no city."""
    world, a, _ = raised_world()
    a.do(creation("c1", A, Fact("location.city", NANTES)))
    assert a.do(update("c1", Fact("location.city", '{"name":"Rezé"}'))).kind is APPLIED
    assert values(world.case(), "location.city") == ['{"name":"Rezé"}']
    assert past(world.case(), "location.city") == [NANTES]


def test_cities_said_apart_are_settled_by_the_clock_whole() -> None:
    """Nobody puts together what two people said who did not know of each other."""
    world, a, b = raised_world()
    a.do(creation("c1", A, Fact("location.city", '{"name":"Nantes"}')))
    a.cut()
    b.do(update("c1", Fact("location.city", '{"inseeCode":"44109"}')))
    assert a.do(update("c1", Fact("location.city", NANTES))).kind is MERGED
    assert values(world.case(), "location.city") == [NANTES]
    b.cut()
    a.heal()
    a.do(update("c1", Fact("location.city", '{"name":"Rezé","x":"1"}')))
    b.clock_ms = -10_000
    assert b.do(update("c1", Fact("location.city", '{"name":"Rezé"}'))).kind is SUPERSEDED
    assert values(world.case(), "location.city") == ['{"name":"Rezé","x":"1"}']


def test_a_contact_and_an_entry_of_the_open_map_are_completed_too() -> None:
    world, a, _ = raised_world()
    a.do(creation("c1", A, Fact("additional", '{"a":1,"b":{"x":[1,2]}}', "k")))
    a.do(vehicle("r1", A))
    a.do(about("r1", "", Fact("contact", '{"channel":"TEL","detail":"+33 2 40"}')))
    assert a.do(update("c1", Fact("additional", '{"b":{"x":[1,2]},"c":null}', "k"))).kind is MERGED
    assert a.do(about("r1", "", Fact("contact", '{"detail":"+33 2 40"}'))).kind is MERGED
    assert values(world.case(), "additional", "k") == ['{"a":1,"b":{"x":[1,2]},"c":null}']
    assert values(world.resource(), "contact") == ['{"channel":"TEL","detail":"+33 2 40"}']


def test_an_address_is_one_value_under_both_levels() -> None:
    """An address without its number is another address: only the three fields of level 2 are completed."""
    assert set(MERGES) == {("case", "location.city"), ("case", "additional"), ("resource", "contact")}
    world, a, _ = raised_world()
    whole = '{"number":"5","street":"rue Haute"}'
    a.do(creation("c1", A, Fact("location.address", whole)))
    assert a.do(update("c1", Fact("location.address", '{"street":"rue Haute"}'))).kind is APPLIED
    assert values(world.case(), "location.address") == ['{"street":"rue Haute"}']


@pytest.mark.parametrize(
    ("said", "before", "kept"),
    [
        ('{"a":1}', '{"a":1,"b":2}', '{"a":1,"b":2}'),
        ('{"a":1,"c":3}', '{"a":1,"b":2}', '{"a":1,"b":2,"c":3}'),
        ('{"a":1,"b":2}', '{"a":1}', '{"a":1,"b":2}'),
        ('{"a":1}', '{"a":1}', '{"a":1}'),
        ('{"a":2}', '{"a":1,"b":2}', '{"a":2}'),
        ('{"c":3}', '{"a":1,"b":2}', '{"c":3}'),
        ("{}", '{"a":1}', "{}"),
        ('{"a":1}', "{}", '{"a":1}'),
        ('"a"', '{"a":1}', '"a"'),
        ('{"a":1}', "Nantes", '{"a":1}'),
        ("[1]", "[1,2]", "[1]"),
        ("", '{"a":1}', ""),
        ('{"a":1}', "\ud800", '{"a":1}'),
        ('{"a":1}', '{"a":1,"\\ud800":2}', '{"a":1}'),
        ('{"a":' + "[" * 600 + "]" * 600 + "}", '{"a":1}', '{"a":' + "[" * 600 + "]" * 600 + "}"),
    ],
)
def test_what_completes_and_what_replaces(said: str, before: str, kept: str) -> None:
    """A member in common and none that differs; anything else, text that is no object included, is as it was said."""
    assert completed(said, before) == kept


objects = st.dictionaries(st.sampled_from("abc"), st.sampled_from(("1", '"x"', "[1]")), max_size=3).map(
    lambda members: "{" + ",".join(f'"{name}":{members[name]}' for name in sorted(members)) + "}"
)


@given(objects, objects)
def test_completing_loses_nothing_said_and_is_done_once(said: str, before: str) -> None:
    """Every member said is there as it was said, and completing what is complete changes nothing."""
    whole = completed(said, before)
    assert completed(said, whole) in (whole, said)
    assert completed(whole, before) == whole
    assert all(member in whole for member in said[1:-1].split(",") if member)


def test_a_release_whose_level_1_has_changed_is_not_equal_any_more() -> None:
    """The check of equal digests can fail: somebody changed a rule in place instead of adding a level."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("location.city", NANTES)))
    a.do(update("c1", Fact("location.city", '{"name":"Nantes"}')))
    changed = {1: Rules(1, LEVEL_1.decide, MERGES)}
    honest, broken = Overlay(Empty()), Overlay(Empty())
    differ = []
    for index, batch in enumerate(world.log, 1):
        honest.update(dict(apply(honest, batch, index, 1).changes))
        broken.update(dict(apply(broken, batch, index, 1, changed).changes))
        differ += [index] if queries.digest(honest) != queries.digest(broken) else []
    assert differ == [4]


def test_level_1_knows_nothing_of_level_2() -> None:
    """Frozen: no field of it is merged otherwise than its rule says."""
    assert LEVEL_1.merges == {}
    assert all(merge is not latest for merge in MERGES.values())
    assert RULES[2].decide is LEVEL_1.decide
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("location.city", NANTES)))
    assert a.do(update("c1", Fact("location.city", '{"name":"Nantes"}'))).kind is APPLIED
    assert a.do(ChangePriority("c1", "P1")).kind is APPLIED
    assert values(world.case(), "location.city") == ['{"name":"Nantes"}']
