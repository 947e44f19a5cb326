"""Steps of the world by name, and long random walks made of them: one seed, one walk.

The stateful test (test_invariants.py) chooses the same steps by hypothesis, which shrinks what it finds; a walk is
cheap and is what the broken variants are hunted with. `python -m tests.offline.walker 2000` walks further than the
suite does."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping

from replica.cases import authority
from replica.cases.draft import Draft
from replica.offline import events
from tests.offline.invariants import check_decided, check_healed, check_now
from tests.offline.world import CASES, A, Memory, Ruin, World

VALUES = ("P0", "P1", "P2", "P3")
BUDGETS_MS = (0, 250, 3_000, 20_000)

Profile = Mapping[str, int]
"""Step → how often."""

DAILY: Profile = {"note": 2, "priority": 4, "sync": 5, "deliver": 12, "feed": 7, "flush": 2, "hear": 2, "tick": 2}
CUTS: Profile = {**DAILY, "cut": 2, "connect": 3}
CRASHES: Profile = {**CUTS, "crash": 2, "fill": 1}
RESTORES: Profile = {**CRASHES, "back up": 2, "restore": 1, "wipe": 1, "jump": 1}
CLONES: Profile = {**CRASHES, "back up": 2, "clone": 2}
TAKE_OVERS: Profile = {**CUTS, "hear": 4, "take over": 3, "hand back": 2, "crash": 1}
FOUNDINGS: Profile = {**RESTORES, "note": 4, "flush": 4, "wipe": 0, "restore": 0, "found": 1, "answer": 4}
FORGETTING: Profile = {**FOUNDINGS, "found": 2, "forget": 3}
EVERYTHING: Profile = {**RESTORES, **CLONES, **TAKE_OVERS}
ALL_AT_ONCE: Profile = {**EVERYTHING, "flush": 4, "found": 2, "answer": 6}
PROFILES: dict[str, Profile] = {
    "cuts": CUTS,
    "crashes": CRASHES,
    "restores": RESTORES,
    "clones": CLONES,
    "take-overs": TAKE_OVERS,
    "foundings": FOUNDINGS,
    "forgetting": FORGETTING,
    "everything": EVERYTHING,
    "all at once": ALL_AT_ONCE,
}


def do(world: World, step: str, phys: int, chance: random.Random) -> None:
    """One step, on store `phys`, and what has to hold after it."""
    box = world.boxes[phys % len(world.boxes)]
    match step:
        case "note" | "priority":
            box.issue(step, chance.choice(VALUES), chance.choice(list(CASES.values())), chance.choice(BUDGETS_MS))
        case "take over":
            epoch = authority.charge_of(Draft(world.boxes[1].base), A).epoch
            world.boxes[1].issue("take-over", str(epoch), CASES[A])
        case "hand back":
            world.boxes[1].issue("hand-back", "", CASES[A])
        case "deliver":
            deliver(world, chance)
        case "tick":
            box.step(events.Tick(world.now_ms))
        case "connect":
            if not box.line_up:
                box.connect()
        case "clone":
            world.clone(phys % 2)
        case "found":
            found_anew(world, chance)
        case _:
            steps: dict[str, Callable[[], None]] = {
                "sync": box.sync,
                "feed": box.feed,
                "flush": box.flush,
                "hear": box.hear,
                "cut": box.cut,
                "crash": box.crash,
                "back up": box.back_up,
                "restore": box.restore,
                "wipe": box.wipe,
                "jump": box.jump,
                "fill": box.fill_up,
                "answer": box.answer,
                "forget": box.forget,
            }
            steps[step]()
    check_now(world)


def found_anew(world: World, chance: random.Random) -> None:
    """Out of a zone that lacks up to twenty entries; in some of their places it has others, that were never agreed."""
    kept = max(0 if world.begins else 2, len(world.log) - chance.randrange(20))
    sent = list(world.net)
    world.found_anew(kept, chance.sample(sent, min(len(sent), chance.randrange(4))))
    for box in world.boxes:
        if box.line_up:
            box.cut()


def deliver(world: World, chance: random.Random) -> None:
    """Anything ever sent arrives."""
    if not world.net:
        return
    sent = list(world.net)
    operation = sent[chance.randrange(len(sent))]
    before = Memory(dict(world.zone.records))
    if world.deliver(operation) is not None:
        check_decided(world, operation, before)


def walk(seed: int, profile: Profile, steps: int = 60, ruin: Ruin | None = None) -> World:
    """One walk, healed at its end. Raises what it finds."""
    chance = random.Random(seed)
    world = World(ruin)
    names, weights = list(profile), list(profile.values())
    for _ in range(steps):
        world.now_ms += chance.choice((1, 5, 40, 300))
        do(world, chance.choices(names, weights)[0], chance.randrange(3), chance)
    world.heal()
    check_healed(world)
    return world


def main() -> None:
    """Walk every profile: `python -m tests.offline.walker SEEDS [FIRST]`."""
    seeds, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for name, profile in PROFILES.items():
        for seed in range(first, first + seeds):
            try:
                walk(seed, profile, steps=120)
            except AssertionError as problem:
                print(f"{name} {seed}: {problem}")
        print(f"{name}: {seeds} walks")


if __name__ == "__main__":
    main()
