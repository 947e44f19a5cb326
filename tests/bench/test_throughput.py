"""Rates are of what was agreed; what was not is counted as failed and makes the command fail."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from bench.__main__ import main
from bench.callers import AGREED, CLIENT, Window, drive, figure, ratio, window, word_of
from bench.peer_load import as_window
from bench.peers.etcd import PeerLoad
from bench.work import case_id, command, encoded_bytes
from replica.api import Agreed, Journalled
from replica.cases.operations import OperationId
from replica.cases.verdicts import Verdict, VerdictKind
from replica.errors import NotAvailable
from replica.wire.client import Receipt

ID = OperationId("fr.health.samu440", bytes(16), 7)


def got(operations: int, seconds: float = 2.0, **cpu_s: float) -> Window:
    """A window with so many answers, each after 1 ms."""
    return window(seconds, [1.0] * operations, cpu_s, {})


def test_a_figure_is_the_median_of_its_runs() -> None:
    """Rates 100, 200 and 900 a second are 200, from 100 to 900; every run's answers are counted."""
    found = figure([got(200), got(1800), got(400)])
    assert found is not None
    assert (found.per_s, found.spread.least, found.spread.most) == (200.0, 100.0, 900.0)
    assert (found.operations, found.p50, found.p99) == (2400, 1.0, 1.0)


def test_cpu_of_the_system_leaves_the_client_out() -> None:
    """Two zones' seconds are added, per thousand operations; the client's stand apart."""
    found = figure([got(2000, zone_1=1.0, zone_2=0.5, **{CLIENT: 3.0})])
    assert found is not None
    assert found.cpu_s_per_1000 == 0.75
    assert found.cpu_by_process == {"zone_1": 0.5, "zone_2": 0.25}
    assert found.client_cpu_s_per_1000 == 1.5


def test_a_run_without_an_answer_has_no_figure() -> None:
    """Not zero, and not the median of the others."""
    assert figure([got(10), got(0)]) is None
    assert figure([]) is None
    assert ratio([got(10)], [got(0)]) is None
    assert ratio([got(10)], []) is None


def test_a_ratio_is_taken_run_by_run() -> None:
    """2, 1 and 4 times as much: 2."""
    assert ratio([got(20), got(10), got(40)], [got(10), got(10), got(10)]) == 2.0


def test_only_an_agreed_receipt_counts() -> None:
    """Journalled is not agreed, and an agreed refusal took nothing."""
    applied, refused = Verdict(VerdictKind.APPLIED), Verdict(VerdictKind.REFUSED, reason="no such case")
    assert word_of(Agreed(ID, 3, applied)) == AGREED
    assert word_of(Agreed(ID, 3, refused)) == "refused"
    assert word_of(Journalled(ID)) == "journalled"
    assert word_of(Receipt("agreed", str(ID), 3, applied)) == AGREED
    assert word_of(Receipt("agreed", str(ID), 3, refused)) == "refused"
    assert word_of(Receipt("journalled", str(ID))) == "journalled"


async def test_what_was_not_agreed_is_counted_apart(autojump_clock: trio.testing.MockClock) -> None:
    """Of every three operations one is agreed, one journalled, one raises: the rate is of the first kind alone."""

    async def act(number: int) -> str:
        await trio.sleep(0.01)
        if number % 3 == 2:
            raise NotAvailable("nobody there")
        return AGREED if number % 3 == 0 else "journalled"

    found = await drive(2, act, 3.0, {})
    assert found.operations > 0
    assert set(found.failed) == {"journalled", "NotAvailable"}
    assert abs(found.failed["journalled"] - found.failed["NotAvailable"]) <= 2


def test_what_etcd_did_stands_in_the_same_shape() -> None:
    """Writes that did not happen are no operations; CPU per thousand becomes seconds and back."""
    load = PeerLoad(
        per_s=1000.0,
        p50=1.0,
        p99=2.0,
        cpu_s_per_1000=0.5,
        client_cpu_s_per_1000=0.1,
        client="h2load",
        done=2000,
        failed=0,
    )
    found = figure([as_window(load)])
    assert found is not None
    assert (found.per_s, found.operations, found.failed) == (1000.0, 2000, 0)
    assert (found.cpu_s_per_1000, found.client_cpu_s_per_1000) == (0.5, 0.1)
    assert as_window(msgspec.structs.replace(load, failed=500)).operations == 1500


def test_an_operation_has_the_bytes_that_were_asked_for() -> None:
    """Another system stores as much: the mean of both kinds, of which one carries the text."""
    small, large = encoded_bytes("fr.health.samu440", 100), encoded_bytes("fr.health.samu440", 300)
    assert large - small == pytest.approx(100, abs=2)
    assert len({command(case_id("a", 1), number) for number in range(4)}) == 4


@pytest.mark.parametrize(
    "words", [["--runs", "0"], ["--seconds", "0"], ["--size", "1"], ["--ways", "embedded,by-pigeon"]]
)
def test_a_throughput_that_cannot_be_measured_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    assert main(["throughput", *words]) == 2
    assert "--ways of" in capsys.readouterr().err


@pytest.mark.processes
def test_throughput_is_measured_by_every_way_in(tmp_path: Path) -> None:
    """Two callers, each way: agreed operations, nothing failed, CPU of every process told apart."""
    words = ["throughput", "--quick", "--callers", "2", "--seconds", "0.5"]
    assert main([*words, "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    row = report["callers"]["2"]
    for way in ("embedded", "site", "remote"):
        assert row[way]["per_s"] > 0
        assert 0 < row[way]["p50"] <= row[way]["p99"]
        assert row[way]["failed"] == 0
    assert set(row["embedded"]["cpu_by_process"]) == {"embedded", "zone-2", "zone-3"}
    assert row["remote"]["client_cpu_s_per_1000"] is not None
    assert row["etcd"] is None
    assert row["ratio_embedded"] is None
    assert report["failed"] == 0
    assert any("--peer" in one for one in report["not_measured"])
