"""I1 to I9 of docs/offline.md, on the shipped core and the shipped state machine, in the worst world (world.py).

Set REPLICA_THOROUGH=20 for twenty times as many; `python -m tests.offline.walker 2000` walks without end.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.offline import ruins
from tests.offline.invariants import Broken, check_healed
from tests.offline.walker import EVERYTHING, PROFILES, do, walk
from tests.offline.world import Ruin, World

THOROUGH = int(os.environ.get("REPLICA_THOROUGH", "1"))
WALKS = 25 * THOROUGH
STEPS = [step for step, often in EVERYTHING.items() for _ in range(often)]


class WorstWorld(RuleBasedStateMachine):
    """Every step there is, in any order; after the last one everything is healed and looked at once more."""

    def __init__(self, ruin: Ruin | None = None) -> None:
        super().__init__()
        self.world = World(ruin)

    @rule(
        step=st.sampled_from(STEPS),
        phys=st.integers(0, 2),
        passes_ms=st.sampled_from((1, 40, 300)),
        chance=st.randoms(use_true_random=False),
    )
    def step(self, step: str, phys: int, passes_ms: int, chance: random.Random) -> None:
        self.world.now_ms += passes_ms
        do(self.world, step, phys, chance)

    def teardown(self) -> None:
        self.world.heal()
        check_healed(self.world)


def _ruined(ruin: Ruin) -> type[WorstWorld]:
    class Ruined(WorstWorld):
        def __init__(self) -> None:
            super().__init__(ruin)

    return Ruined


def test_the_stateful_test_catches_a_broken_rule_too() -> None:
    """What hypothesis drives is the same world: it finds a view without its gate."""
    quick = settings(TestWorstWorld.settings, phases=(Phase.generate,), database=None)
    with ruins.view_without_gate() as ruin, pytest.raises(Broken, match="I3"):
        run_state_machine_as_test(_ruined(ruin), settings=quick)


TestWorstWorld = WorstWorld.TestCase
TestWorstWorld.settings = settings(
    max_examples=100 * THOROUGH,
    stateful_step_count=60,
    deadline=None,
    derandomize=THOROUGH == 1,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_invariant_holds_on_random_walks(name: str) -> None:
    """I1 to I9 hold after every step of long walks through cuts, crashes, restores, clones, take-overs and foundings
    anew."""
    for seed in range(WALKS):
        walk(seed, PROFILES[name], steps=100)


def test_a_view_waits_for_nothing_that_a_drain_holds() -> None:
    """Found by this walk and by the world of sites (seed 879): closed records had gone into a drain, the process died
    before the copy with the closing was flushed, and the view waited for them under their old life."""
    walk(20812, PROFILES["clones"], steps=100)


def test_walks_reach_what_they_are_for() -> None:
    """The walks are no stroll: they meet conflicts, drains, fenced processes and restored stores, and agree on most."""
    worlds = [walk(seed, PROFILES[name], steps=100) for name in ("clones", "restores") for seed in range(8)]
    boxes = [box for world in worlds for box in world.boxes]
    assert sum(box.drained for box in boxes) >= 2
    assert sum(box.core.fenced for box in boxes) >= 4
    assert sum(box.core.restored for box in boxes) >= 8
    kinds = {verdict.kind.value for world in worlds for times in world.decided.values() for _, verdict in times}
    assert {"applied", "merged", "conflict"} <= kinds
    assert sum(len(world.receipted) for world in worlds) >= 50
    founded = [walk(seed, PROFILES["forgetting"], steps=100) for seed in range(20)]
    assert sum(world.offered_again for world in founded) >= 8
    assert sum(len(world.given_up) for world in founded) >= 2


Broke = Callable[[], AbstractContextManager[Ruin]]


@pytest.mark.parametrize(
    ("broke", "profile", "names"),
    [
        (ruins.no_order, "cuts", {"I2", "I5"}),
        (ruins.trim_at_the_feed, "crashes", {"I3", "I6"}),
        (ruins.counted_incarnations, "restores", {"I5"}),
        (ruins.view_without_gate, "cuts", {"I3"}),
        (ruins.early_receipts, "crashes", {"I1", "I3"}),
        (ruins.no_seen_test, "cuts", {"I3", "I4"}),
        (ruins.no_drain, "clones", {"I1", "I9"}),
        (ruins.no_replacing, "restores", {"I1", "I9"}),
        (ruins.old_epochs_decide, "take-overs", {"I8"}),
        (ruins.no_looking_back, "foundings", {"I3", "I9"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_rule_is_caught(broke: Broke, profile: str, names: set[str]) -> None:
    """Leave one rule out, and the invariant that needs it is found broken."""
    found = None
    for seed in range(150):
        with broke() as ruin:
            try:
                walk(seed, PROFILES[profile], ruin=ruin)
            except Broken as broken:
                found = broken.name
        if found in names:
            return
    pytest.fail(f"150 walks found {found}, expected one of {sorted(names)}")
