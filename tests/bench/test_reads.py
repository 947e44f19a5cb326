"""Reads are counted with their freshness, and none that found nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

import replica
from bench.__main__ import main
from bench.reads import read_locally


class OneCase:
    """A node that knows one case, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def read_case(self, case: str) -> Any:
        self.asked += 1
        view = SimpleNamespace(value=lambda field: "P1") if case == "known" else None
        return SimpleNamespace(value=view, freshness=object())


async def test_every_local_read_is_counted_and_a_sample_of_them_timed() -> None:
    """The warm-up is in neither."""
    node = OneCase()
    found = await read_locally(cast(replica.Site, node), ["known"] * 40, "field", 0.01, {})
    assert 0 < found.operations < node.asked
    assert found.operations % 200 == 0
    assert not found.failed
    assert 0 < found.p50 <= found.p99


async def test_a_local_read_that_found_nothing_has_failed() -> None:
    """Half of the cases asked for are not there."""
    found = await read_locally(cast(replica.Site, OneCase()), ["known", "unknown"] * 20, "case", 0.01, {})
    assert found.failed["not there"] >= found.operations // 2


@pytest.mark.parametrize("words", [["--cases", "0"], ["--seconds", "0"], ["--callers", "0"], ["--rate", "0"]])
def test_reads_that_cannot_be_measured_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    assert main(["reads", *words]) == 2
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.processes
def test_reads_are_measured_by_what_they_promise(tmp_path: Path) -> None:
    """Each kind idle and while writing, none failed; etcd was not asked for, and the report says so."""
    words = ["reads", "--quick", "--cases", "10", "--seconds", "0.1", "--callers", "5"]
    assert main([*words, "--json", str(tmp_path / "report.json")]) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    kinds = {(one["consistency"], one["where"], one["what"], one["while_writing"]) for one in report["kinds"]}
    assert len(report["kinds"]) == len(kinds) == 14
    assert {consistency for consistency, *_ in kinds} == {"local", "session", "linearizable"}
    assert all(one["per_s"] > 0 and one["failed"] == 0 for one in report["kinds"])
    assert all((one["written_per_s"] > 0) == one["while_writing"] for one in report["kinds"])
    assert report["etcd"] is None
    assert report["ratio_linearizable"] is None
    assert any("--peer" in one for one in report["not_measured"])
