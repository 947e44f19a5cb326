"""A failing seed becomes small and is told as a scenario: the same harm, in fewer words."""

from __future__ import annotations

from dataclasses import fields, replace
from random import Random

import pytest

from chaos.__main__ import main
from chaos.world import retell
from chaos.world.invariants import InvariantViolated
from chaos.world.report import WEATHERS, run_seed
from chaos.world.shrink import Broken, Run, describe, shrink
from chaos.world.softer import softened, softer_words
from chaos.world.weather import Driving, Weather
from chaos.world.world import World
from replica.raft import election
from replica.raft.core import Raft
from replica.raft.election import Judgement
from tests.chaos.test_checkers_catch import GrantsEveryVote, IgnoresConflicts


def world(run: Run, core: type[Raft]) -> World:
    return World(run.seed, weather=softened(run.weather, WEATHERS), core=core)


def broken_by(core: type[Raft], run: Run) -> Broken | None:
    """How this run fails with this core."""
    there = world(run, core)
    try:
        there.run(run.steps)
    except InvariantViolated as violated:
        return Broken(violated.name, str(violated), there.events)
    except AssertionError as failed:
        return Broken("AssertionError", str(failed), there.events)
    return None


def first_failing(core: type[Raft]) -> Run:
    """The first seed in which an invariant is violated before the core notices."""
    for seed in range(1, 60):
        broken = broken_by(core, Run(seed))
        if broken is not None and broken.invariant != "AssertionError":
            return Run(seed)
    raise AssertionError(f"{core.__name__} fails in none of 59 seeds")


# ---- softer weathers by name


def test_a_weather_without_words_is_the_weather() -> None:
    """The same draws, so the same run, byte by byte."""
    for name, plain in WEATHERS.items():
        one, other = Random(5), Random(5)
        assert softened(name, WEATHERS)(one) == plain(other)
        assert one.random() == other.random()


def test_a_word_changes_what_it_names_and_nothing_else() -> None:
    """Neither the other parameters nor the dice that follow."""
    seed = next(seed for seed in range(99) if {"crash", "cut"} <= set(WEATHERS["storm"](Random(seed)).faults))
    one, other = Random(seed), Random(seed)
    plain = WEATHERS["storm"](one)
    soft = softened("storm,-crash,-ring,loss=0.5,nodes=2,driving=BLOCKING,pre_vote=no", WEATHERS)(other)
    expected = replace(plain, loss=0.5, nodes=2, driving=Driving.BLOCKING, pre_vote=False)
    expected.faults = tuple(name for name in plain.faults if name != "crash")
    expected.cuts = tuple(name for name in plain.cuts if name != "ring") or plain.cuts
    assert soft == expected
    assert one.random() == other.random()


def test_other_dice_give_the_same_weather_another_run() -> None:
    """And the same one each time."""
    results = [run_seed(3, 300, name, hashed=True).digest for name in ("storm", "storm,again=1", "storm,again=1")]
    assert results[0] != results[1]
    assert results[1] == results[2]


@pytest.mark.parametrize(
    "name",
    ["sunshine", "storm,crash", "storm,-earthquake", "storm,loss=much", "storm,faults=2", "storm,colour=3",
     "storm,again=x", "storm,pre_vote=1", "storm,driving=FAST"],
)  # fmt: skip
def test_a_word_that_means_nothing_is_refused(name: str) -> None:
    """With the word, before anything runs; the command line says it too."""
    with pytest.raises(ValueError, match=name.rpartition(",")[2]):
        softened(name, WEATHERS)
    with pytest.raises(SystemExit):
        main(["sim", "--seeds", "1", "--weather", name])


@pytest.mark.parametrize("seed", range(1, 40))
def test_everything_that_might_be_left_away_is_a_word_that_changes_something(seed: int) -> None:
    """Else shrinking would go round in circles."""
    plain = WEATHERS["storm"](Random(seed))
    for word in softer_words(plain):
        soft = softened(f"storm,{word}", WEATHERS)(Random(seed))
        differing = [one.name for one in fields(Weather) if getattr(soft, one.name) != getattr(plain, one.name)]
        assert len(differing) == 1, (word, differing)
        assert word not in softer_words(soft)


# ---- shrinking


def test_a_failing_run_gets_smaller_and_still_fails() -> None:
    """The same invariant, fewer events, fewer faults, no more nodes; its command replays it."""
    run = first_failing(GrantsEveryVote)
    shrunk = shrink(run, lambda candidate: broken_by(GrantsEveryVote, candidate))
    assert shrunk is not None
    assert broken_by(GrantsEveryVote, shrunk.run) == shrunk.broken
    assert shrunk.broken.invariant == shrunk.first_broken.invariant
    assert shrunk.broken.events < shrunk.first_broken.events // 5
    before, after = world(run, Raft).weather, world(shrunk.run, Raft).weather
    assert len(after.faults) < len(before.faults) or not before.faults
    assert after.nodes <= before.nodes
    lines = describe(shrunk)
    assert f"from {shrunk.first_broken.events} events to {shrunk.broken.events}" in lines[0]
    assert f"--weather {shrunk.run.weather}" in lines[-1]


def test_a_sound_run_cannot_be_shrunk() -> None:
    """There is nothing to keep."""
    assert shrink(Run(1, 200)) is None


def test_shrinking_ends_after_so_many_runs() -> None:
    """With what it has by then, which fails."""
    run = first_failing(GrantsEveryVote)
    shrunk = shrink(run, lambda candidate: broken_by(GrantsEveryVote, candidate), most_runs=12)
    assert shrunk is not None
    assert shrunk.runs <= 12
    assert broken_by(GrantsEveryVote, shrunk.run) == shrunk.broken


# ---- telling


@pytest.mark.parametrize("core", [GrantsEveryVote, IgnoresConflicts])
def test_a_failing_run_is_told_as_a_scenario_that_ends_in_the_same_harm(core: type[Raft]) -> None:
    """With the broken core; with the shipped one it ends well. No line can be left away."""

    def fails(candidate: Run) -> Broken | None:
        return broken_by(core, candidate)

    shrunk = shrink(first_failing(core), fails)
    assert shrunk is not None
    found = retell.tell(shrunk, fails, lambda run: world(run, core), core)
    assert found is not None
    told = found.commands
    assert retell.harm(told, core) == shrunk.broken.invariant
    assert retell.harm(told) is None
    for place in range(2, len(told)):
        assert retell.harm(told[:place] + told[place + 1 :], core) != shrunk.broken.invariant, told[place]


def test_what_the_language_cannot_show_is_not_told() -> None:
    """A run that is sound has no harm in it, whatever is asked for; neither has a lack of progress."""
    assert retell.retell(Run(1, 300), "Progress") is None
    assert retell.retell(Run(1, 300), "LogMatching") is None


def test_fewest_leaves_away_all_it_can() -> None:
    """Two lines of forty are needed, and the head."""
    lines = [f"line {number}" for number in range(40)]
    assert retell.fewest(lines, lambda fewer: {"line 7", "line 31"} <= set(fewer)) == [
        "line 0", "line 1", "line 7", "line 31",
    ]  # fmt: skip


def test_the_command_shrinks_and_tells(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A core that votes for everybody stops at its own assert; the scenario shows that."""
    monkeypatch.setattr(election, "judge_vote", lambda state, ask: Judgement(True, "always"))
    failures = filter(None, (run_seed(seed).failure for seed in range(1, 60)))
    seed = next(failure.seed for failure in failures if failure.invariant == "AssertionError")
    assert main(["sim", "--seeds", "1", "--start", str(seed), "--shrink"]) == 1
    printed = capsys.readouterr().out
    assert "shrunk in" in printed
    assert "as a scenario:\n# Ended in: vote of term" in printed
    commands = [line.removeprefix("> ") for line in printed.splitlines() if line.startswith("> ")]
    assert retell.harm(commands) == "AssertionError"
