"""Makes a failing run small: fewer faults, fewer nodes, fewer events, as long as the same invariant fails.

A run is named by seed, steps and weather, and so is a smaller one (softer.py): whatever comes out can be replayed by
one command. What is left away changes the run, since fault and luck draw from the same dice; so each smaller world is
tried with several others (`again=1`, `again=2`, …), and any run of it that violates the same invariant will do.

Worked example: seed 4711 violates LogMatching after 1,830 events of a storm with seven faults and five nodes. Without
`crash` it still does at `again=3`; without `cut` it never does in eight tries, so cuts stay. At the end the run with
the fewest events is kept, and told as a scenario where that can be done (retell.py).

Leaves out: the smallest run there is. It takes what it finds within a number of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from chaos.world.report import DEFAULT_STEPS, WEATHERS, replay_command, run_seed
from chaos.world.softer import OTHER_DICE, softened, softer_words
from chaos.world.weather import Weather

DICE = 8
"""How many runs of a smaller world are tried before it counts as sound."""
LAST_DICE = 60
"""And of the smallest, to find its shortest run."""
MOST_RUNS = 600


@dataclass(frozen=True, slots=True)
class Run:
    """What names a run."""

    seed: int
    steps: int = DEFAULT_STEPS
    weather: str = "storm"

    @property
    def command(self) -> str:
        return replay_command(self.seed, self.steps, self.weather)


@dataclass(frozen=True, slots=True)
class Broken:
    """How a run failed: the invariant (or the exception of the core), in words, and at which event."""

    invariant: str
    text: str
    events: int


Fails = Callable[[Run], Broken | None]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest failing run found, how it fails, and what finding it took."""

    first: Run
    first_broken: Broken
    run: Run
    broken: Broken
    runs: int


def fails(run: Run) -> Broken | None:
    """Runs it with the core as it is."""
    result = run_seed(run.seed, run.steps, run.weather)
    if result.failure is None:
        return None
    return Broken(result.failure.invariant, result.failure.text, result.events)


def shrink(run: Run, fails: Fails = fails, most_runs: int = MOST_RUNS) -> Shrunk | None:
    """Makes a failing run smaller; None where it does not fail."""
    broken = fails(run)
    if broken is None:
        return None
    search = _Search(fails, broken.invariant, most_runs)
    search.accept(run, broken)
    search.leave_away()
    search.shorten()
    return Shrunk(run, broken, search.run, search.broken, search.runs)


class _Search:
    """The smallest run so far, and the way to smaller ones."""

    def __init__(self, fails: Fails, invariant: str, most_runs: int) -> None:
        self._fails = fails
        self._invariant = invariant
        self._most_runs = most_runs
        self.runs = 1

    def accept(self, run: Run, broken: Broken) -> None:
        """A storm in which it failed need not be longer; where it failed afterwards the storm stays as it is."""
        self.run, self.broken = replace(run, steps=min(run.steps, broken.events)), broken

    def leave_away(self) -> None:
        """One thing after the other, over and over, until nothing more can go."""
        sound: set[str] = set()
        going_on = True
        while going_on:
            going_on = False
            for word in self._words():
                if word not in sound and self.runs < self._most_runs:
                    if self._still_fails(f"{self.run.weather},{word}"):
                        going_on = True
                        break
                    sound.add(word)

    def _words(self) -> list[str]:
        weather = softened(self.run.weather, WEATHERS)(Random(self.run.seed))
        return softer_words(weather)

    def _still_fails(self, weather: str) -> bool:
        return any(self._try(replace(self.run, weather=candidate)) for candidate in dice(weather, DICE))

    def _try(self, run: Run) -> bool:
        """Whether this run fails alike, and in no more events; then it is the smallest so far."""
        if self.runs >= self._most_runs:
            return False
        self.runs += 1
        broken = self._fails(run)
        if broken is None or broken.invariant != self._invariant or broken.events > self.broken.events:
            return False
        self.accept(run, broken)
        return True

    def shorten(self) -> None:
        """The same world, with shorter storms and other dice."""
        for candidate in dice(self.run.weather, LAST_DICE):
            self._try(replace(self.run, weather=candidate))
        for part in (8, 4, 2):
            for candidate in dice(self.run.weather, DICE):
                if self._try(replace(self.run, weather=candidate, steps=max(1, self.run.steps // part))):
                    break


def dice(weather: str, count: int) -> Iterator[str]:
    """The same weather: as it is, then with other dice."""
    yield weather
    plain = [word for word in weather.split(",") if not word.startswith(f"{OTHER_DICE}=")]
    for again in range(1, count + 1):
        yield ",".join([*plain, f"{OTHER_DICE}={again}"])


def describe(shrunk: Shrunk) -> list[str]:
    """The lines to print below a failure."""
    before, after = _world(shrunk.first), _world(shrunk.run)
    faults = f"from {len(before.faults)} faults to {len(after.faults)}: {', '.join(after.faults) or 'none'}"
    events = f"from {shrunk.first_broken.events} events to {shrunk.broken.events}"
    return [
        f"shrunk in {shrunk.runs} runs, {events}, from {before.nodes} nodes to {after.nodes}, {faults}",
        f"it fails alike: {shrunk.broken.text}",
        f"replay:\n  {shrunk.run.command}",
    ]


def _world(run: Run) -> Weather:
    return softened(run.weather, WEATHERS)(Random(run.seed))
