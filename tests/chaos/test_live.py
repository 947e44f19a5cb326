"""Live chaos: its arithmetic, its options, and one short run that comes out clean."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest

from chaos.live import add_parser, run
from chaos.live.run import LiveOptions, unavailable_ms
from replica.errors import ConfigError


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["live", *words])


def test_unavailable_is_the_longest_gap_between_agreed_receipts_under_load() -> None:
    """The time before the first and after the last counts too; what is outside the load does not."""
    assert unavailable_ms([1.0, 1.5, 4.0], (0.0, 5.0)) == 2500
    assert unavailable_ms([4.0, 1.0, 1.5], (0.0, 5.0)) == 2500
    assert unavailable_ms([1.0], (0.0, 5.0)) == 4000
    assert unavailable_ms([-9.0, 99.0], (0.0, 5.0)) == 5000
    assert unavailable_ms([], (0.0, 5.0)) == 5000


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (LiveOptions(faults=("kill", "gossip")), "--faults"),
        (LiveOptions(seconds=0), "--seconds"),
        (LiveOptions(sites=0), "--sites"),
        (LiveOptions(callers=0), "--callers"),
        (LiveOptions(zones=8), "--zones"),
        (LiveOptions(pause_ms=-1), "--pause-ms"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: LiveOptions, where: str) -> None:
    with pytest.raises(ConfigError, match=f"^{where}: "):
        options.check()


def test_a_wrong_fault_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started, and with the names there are."""
    assert run(arguments("--faults", "kill,gossip")) == 2
    assert "quorum-loss" in capsys.readouterr().err


@pytest.mark.processes
def test_a_short_run_with_every_kind_of_fault_loses_nothing(tmp_path: Path) -> None:
    """Kills, cuts, restarts and pauses under load: one verdict for each operation on every replica."""
    words = ("--seconds", "6", "--seed", "3", "--faults", "kill,cut,restart,pause", "--json", str(tmp_path / "r.json"))
    assert run(arguments(*words)) == 0
    result = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    assert result["problems"] == []
    assert (result["ok"], result["lost"], result["duplicated"], result["digests_equal"]) == (True, 0, 0, True)
    assert result["operations"] > 50
    assert result["faults"] == sum(result["faults_by_kind"].values()) >= 1
    assert sum(result["verdicts"].values()) == result["operations"]
