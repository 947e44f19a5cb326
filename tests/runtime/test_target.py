"""What a change of who votes comes down to: the membership that an operator's words ask the log's core for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replica.admin import members
from replica.errors import NotPermitted
from replica.raft.types import Membership
from replica.runtime.directory import Directory, Listed
from replica.runtime.members import role_of, target_of
from replica.wire.client import ChangeMembers, NewZone
from tests.runtime.nodes import CASE, Plan, cluster, until

NAMES = {number: f"zone-{number}" for number in range(1, 10)}


def beginning(voters: int = 3) -> Membership:
    """So many voters, listed."""
    zones = tuple(Listed(number, NAMES[number], f"127.0.0.1:{number}") for number in range(1, voters + 1))
    return Membership(frozenset(range(1, voters + 1)), directory=Directory(zones).encode())


def new(number: int) -> NewZone:
    return NewZone(number, NAMES[number], f"127.0.0.1:{number}")


def asked(now: Membership, *, add: tuple[int, ...] = (), remove: tuple[int, ...] = (), **more: object) -> Membership:
    """The target of adding and removing these."""
    request = ChangeMembers(1, tuple(map(new, add)), remove=tuple(NAMES[number] for number in remove), **more)  # type: ignore[arg-type]
    return target_of(now, Directory.decode(now.directory), request)


def pending(now: Membership, target: Membership) -> Membership:
    """The first step of a change, as the core takes it where somebody is new (membership.plan)."""
    incoming = target.voters - now.voters
    assert incoming, "nobody is waited for"
    return replace(
        target,
        voters=now.voters,
        learners=target.learners | incoming,
        incoming=incoming,
        leaving=now.voters - target.voters,
    )


def replacing(now: Membership, old: int, by: int) -> Membership:
    """`replica member replace OLD BY`, and BY has not caught up."""
    return pending(now, asked(now, add=(by,), remove=(old,)))


def roles(now: Membership) -> dict[str, str]:
    return {zone.name: role_of(zone, now) for zone in Directory.decode(now.directory).zones}


def parts(now: Membership) -> list[frozenset[int]]:
    """Who votes, who is to come, who is to go."""
    return [now.voters, now.incoming, now.leaving]


def test_a_replace_takes_the_new_zone_in_and_the_old_one_out() -> None:
    now = replacing(beginning(), 3, by=4)
    assert parts(now) == [{1, 2, 3}, {4}, {3}]
    assert roles(now) == {"zone-1": "voter", "zone-2": "voter", "zone-3": "leaving", "zone-4": "joining"}


def test_withdrawing_the_new_zone_of_a_replace_keeps_the_old_one() -> None:
    """Else the cluster loses a vote that nobody asked it to give away."""
    target = asked(replacing(beginning(), 3, by=4), remove=(4,))
    assert target.voters == {1, 2, 3}
    assert target.learners == set()
    assert roles(target) == {"zone-1": "voter", "zone-2": "voter", "zone-3": "voter", "zone-4": "retired"}


def test_the_old_zone_that_was_kept_can_be_removed_or_replaced_again() -> None:
    """It is not retired for having been about to go."""
    kept = asked(replacing(beginning(), 3, by=4), remove=(4,))
    assert asked(kept, remove=(3,)).voters == {1, 2}
    again = replacing(kept, 3, by=5)
    assert parts(again) == [{1, 2, 3}, {5}, {3}]
    assert asked(again, remove=(5,)).voters == {1, 2, 3}


def test_both_can_be_withdrawn_at_once() -> None:
    """Who names the old zone as well means it."""
    for names in ((3, 4), (4, 3)):
        target = asked(replacing(beginning(), 3, by=4), remove=names)
        assert target.voters == {1, 2}
        assert roles(target) == {"zone-1": "voter", "zone-2": "voter", "zone-3": "retired", "zone-4": "retired"}


def test_of_two_replaces_under_way_the_one_that_is_not_withdrawn_goes_on() -> None:
    """Each of the old zones is kept for its own new one."""
    now = replacing(replacing(beginning(), 1, by=4), 2, by=5)
    assert parts(now) == [{1, 2, 3}, {4, 5}, {1, 2}]
    rest = asked(now, remove=(4,))
    assert rest.voters == {1, 3, 5}
    assert roles(pending(beginning(), rest))["zone-2"] == "leaving"
    assert asked(now, remove=(5,)).voters == {2, 3, 4}
    assert asked(now, remove=(4, 5)).voters == {1, 2, 3}


def test_who_comes_for_a_zone_that_has_not_come_comes_for_the_old_one() -> None:
    """The new machine is broken too: another in its place, and the old zone still goes."""
    now = replacing(replacing(beginning(), 3, by=4), 4, by=5)
    assert parts(now) == [{1, 2, 3}, {5}, {3}]
    assert roles(now)["zone-4"] == "retired"
    assert asked(now, remove=(5,)).voters == {1, 2, 3}


def test_a_learner_that_is_promoted_in_the_place_of_another_is_withdrawn_alike() -> None:
    """However the new zone came to be here."""
    learning = asked(beginning(), add=(4,), learners=True)
    assert learning.learners == {4}
    now = pending(learning, asked(learning, promote=("zone-4",), remove=(3,)))
    assert parts(now) == [{1, 2, 3}, {4}, {3}]
    assert asked(now, remove=(4,)).voters == {1, 2, 3}


def test_a_zone_that_goes_for_nobody_goes_whoever_is_withdrawn() -> None:
    """Two were asked to go and one to come: the second goes in any case."""
    now = pending(beginning(4), asked(beginning(4), add=(5,), remove=(3, 4)))
    assert now.leaving == {3, 4}
    assert asked(now, remove=(5,)).voters == {1, 2, 3}


def test_once_the_new_zone_votes_its_removal_brings_nobody_back() -> None:
    """The replace is done, and the old zone is gone for good."""
    done = asked(beginning(), add=(4,), remove=(3,))
    assert asked(done, remove=(4,)).voters == {1, 2}
    with pytest.raises(NotPermitted, match="zone-3 is no zone of this cluster"):
        asked(done, remove=(3,))


@pytest.mark.processes
async def test_a_replace_whose_new_zone_never_comes_is_withdrawn_and_the_old_zone_votes_on(tmp_path: Path) -> None:
    """At running zones: nothing is at the new one's address. Afterwards the old one can still be removed."""
    async with cluster(Plan(tmp_path, zones=3)) as (zones, site):
        at = zones[0].address

        async def change(wanted: dict[str, str], **more: Any) -> None:
            await members.at_leader(at, lambda client: client.change_members(**more), 20)
            seen = await members.until_settled(at, lambda now: wanted.items() <= now.items(), 20, lambda words: None)
            assert "pending" not in seen

        await members.at_leader(at, lambda client: client.change_members(add=(new(4),), remove=("zone-3",)), 20)
        await until(lambda: zones[0].status()["raft"]["learners"] == [4])
        await change({"zone-3": "voter", "zone-4": "retired"}, remove=("zone-4",))
        await until(lambda: all(zone.status()["raft"]["voters"] == [1, 2, 3] for zone in zones))
        assert not zones[2].status()["removed"]
        await site.submit_message(CASE, budget_ms=20_000)
        await change({"zone-3": "retired"}, remove=("zone-3",))
        await until(lambda: bool(zones[2].status()["removed"]))
