"""The recorded scenarios still do what is recorded, and each says which fact it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.raft.scenario import SCENARIOS, BadScenario, run

FILES = sorted(SCENARIOS.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_does_what_is_recorded(path: Path) -> None:
    """To change a recording on purpose: python -m tests.raft.scenario --rewrite FILE, and read the difference."""
    recorded = path.read_text()
    assert run(recorded) == recorded


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_opens_with_its_fact_and_source(path: Path) -> None:
    """A sentence, and in brackets where it comes from."""
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(")")


def test_there_are_enough_scenarios_and_the_papers_figures_are_among_them() -> None:
    """At least 60, with figures 7 and 8."""
    names = {path.stem for path in FILES}
    assert len(names) >= 60
    assert {"election_figure_7", "commit_figure_8_overwritten", "commit_figure_8_committed"} <= names


def test_a_changed_recording_is_found() -> None:
    """The comparison can fail: output that is not what happens is replaced by what does."""
    text = "# fact (source)\n> cluster 1\n> status\n1 leader term=9 vote=1 leader=1 commit=0 stable=0 last=0\n"
    assert "1 follower term=0" in run(text)


@pytest.mark.parametrize("command", ["dance", "status", "cluster 3 speed=9"])
def test_a_bad_command_names_its_line(command: str) -> None:
    """So does whatever fails inside it."""
    with pytest.raises(BadScenario, match="line 1"):
        run(f"> {command}\n")
