"""Defects that the simulated world of nodes has found, each in its shortest form."""

from __future__ import annotations

from replica.cases.commands import Opening
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Empty
from replica.offline import lives
from replica.runtime.ingress import Ingress, Waiting

SITE = "fr.health.samu440"


def opening(life: bytes, prev: bytes | None) -> Operation:
    return Operation(OperationId(SITE, life, 0), 0, 0, HybridTime(0), 0, SITE, Opening(prev, 0, prev))


def test_an_opening_that_was_overtaken_on_its_way_may_come_again() -> None:
    """It passed at the door and not when it was applied: it is not on its way any more."""
    ingress = Ingress(Empty(), 10)
    one = opening(b"1" * 16, None)
    assert ingress.offer(Waiting(one, b"")) is None
    assert len(ingress.take()) == 1
    assert ingress.offer(Waiting(one, b"")) is None
    assert ingress.take() == [], "it is on its way"
    ingress.applied([one])
    assert ingress.offer(Waiting(one, b"")) is None
    assert len(ingress.take()) == 1


def test_a_damaged_opening_is_not_made_again_behind_a_life_that_came_after_it() -> None:
    """Nothing else of it is left in the journal; that the later one names it as its past shows where it stood."""
    first, second, third = b"1" * 16, b"2" * 16, b"3" * 16
    found = [opening(first, None), opening(third, second)]
    (mended,) = lives.mend(Empty(), SITE, found, [(second, 0)])
    assert isinstance(mended.payload, Opening)
    assert mended.payload.prev == first
