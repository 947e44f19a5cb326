"""A cluster forced new: counted in the state, recorded for ever, and done by nobody but the offline tool (O17)."""

from __future__ import annotations

import pytest

from replica.cases import queries
from replica.cases.authority import TABLE, PermissionKind, permitted
from replica.cases.commands import ChangePriority, ForceNewCluster
from replica.cases.generations import operations
from replica.cases.operations import Batch
from replica.cases.views import GenerationView
from replica.errors import RemoteProtocolError
from replica.wire import batch, decode_batch, decode_operation, encode_operation
from tests.cases.world import APPLIED, NOON, REFUSED, A, B, Site, World, creation, two_sites

ZONE = "zone-a"
LIFE = b"\x0f" * 16


def force(world: World, life: bytes = LIFE, who: str = "dr. Ker") -> None:
    """As the offline tool does it: both operations in one entry, at the end of what the store has."""
    made = operations(world.records, ZONE, life, who, world.now_ms, "france", world.index, "france-2")
    effects = world.agree(*made)
    assert [one.verdict.kind for one in effects.decided] == [APPLIED, APPLIED]


def test_a_cluster_as_it_was_founded_is_in_generation_0() -> None:
    world, _, _ = two_sites()
    assert (queries.generation(world.records), queries.generations(world.records)) == (0, [])


def test_forcing_a_cluster_new_counts_and_is_recorded_for_ever() -> None:
    """Who, when, out of which cluster, from which index; and the record is part of the digest."""
    world, a, _ = two_sites()
    a.do(creation())
    before = queries.digest(world.records)
    force(world)
    assert queries.digest(world.records) != before
    force(world, b"\x0e" * 16, "arm Le Goff")
    assert queries.generation(world.records) == 2
    first, second = queries.generations(world.records)
    assert first == GenerationView(
        1, "dr. Ker", NOON + 3000, "france", 3, "france-2", NOON + 4000, f"{ZONE}/{LIFE.hex()}/1", 4
    )
    assert (second.generation, second.who, second.from_index, second.index) == (2, "arm Le Goff", 4, 5)
    world.check()


def test_it_leaves_cases_sites_and_charges_as_they_are() -> None:
    """It comes under a drain, which is never current and has no authority: nobody is restored or fenced by it."""
    world, a, b = two_sites()
    a.do(creation())
    sites = [queries.site(world.records, name) for name in (A, B)]
    case = world.case()
    force(world)
    assert [queries.site(world.records, name) for name in (A, B)] == sites
    assert world.case() == case
    assert queries.current(world.records, ZONE) is None
    assert a.do(ChangePriority("c1", "P1")).kind is APPLIED
    assert b.name == B


def test_it_is_done_at_a_node_that_has_callers_of_its_own() -> None:
    """The node's own life goes on as the current one."""
    world, _, _ = two_sites()
    node = world.open(ZONE, 5)
    force(world)
    assert queries.current(world.records, ZONE) == node.incarnation
    view = queries.site(world.records, ZONE)
    assert view is not None
    assert not view.restored
    assert node.do(creation("c5", ZONE)).kind is APPLIED


@pytest.mark.parametrize("generation", [0, 1, 3, -1, 1 << 60])
def test_a_generation_that_is_not_the_next_is_refused(generation: int) -> None:
    """The same done twice, or two copies of one store forced new apart: a person has to look."""
    world, _, _ = two_sites()
    force(world)
    drain = Site(ZONE, b"\x0e" * 16, world)
    opening, _ = operations(world.records, ZONE, drain.incarnation, "x", NOON, "france", world.index, "")
    world.verdict(opening)
    before = queries.generations(world.records)
    verdict = drain.do(ForceNewCluster("x", NOON, "france", 4, generation))
    assert (verdict.kind, verdict.reason) == (
        REFUSED,
        f"the cluster is in generation 1; the next is 2, not {generation}",
    )
    assert queries.generations(world.records) == before


@pytest.mark.parametrize("connected", [True, False])
def test_everybody_is_refused_at_the_door(connected: bool) -> None:
    """No site, no zone, in charge of anything or not."""
    world, _, _ = two_sites()
    command = ForceNewCluster("x", NOON, "france", 4, 1)
    for site in (A, B, ZONE, ""):
        refused = permitted(world.records, site, command, connected)
        assert refused.kind is PermissionKind.REFUSED
        assert "offline tool" in refused.reason
    assert set(TABLE["force-new-cluster"].values()) == {PermissionKind.REFUSED}


def test_a_zone_does_not_take_it_from_a_connection() -> None:
    """A site that does not ask its own core first is turned away where its bytes come in; in an entry of the log they
    are read."""
    world, a, _ = two_sites()
    forced = a.operation(ForceNewCluster("x", NOON, "france", 4, 1))
    data = encode_operation(forced)
    with pytest.raises(RemoteProtocolError, match="force-new-cluster is the offline tool's alone"):
        decode_operation(data)
    assert decode_batch(batch(NOON, 1, [data], 2)) == Batch(NOON, 1, (forced,), 2)
    assert world.index == 2
