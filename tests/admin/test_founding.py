"""The day when the quorum is gone for good, as an operator meets it: which zone, is it meant, and who did it when."""

from __future__ import annotations

from pathlib import Path

import pytest

import replica
from replica.admin.founding import found_anew
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import Identity, open_store
from tests.admin.typed import answer, answer_beside, typed, typed_beside
from tests.runtime.nodes import Plan, until

CONFIG = """
[cluster]
id = "samu-test"
[zone]
name = "zone-1"
number = 1
listen = "127.0.0.1:0"
data = "zone-1"
[[zones]]
number = 1
name = "zone-1"
address = "127.0.0.1:7001"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A stopped zone with three entries in its log: the file that it was started with."""
    path = tmp_path / "zone.toml"
    path.write_text(CONFIG, encoding="utf-8")
    a_store(tmp_path / "zone-1", (1, 1, 2))
    return path


def a_store(folder: Path, terms: tuple[int, ...]) -> None:
    """A store whose log has entries of these terms."""
    identity = Identity("samu-test", folder.name, "zone", "0" * 32)
    with open_store(folder, identity, create=True) as store:
        entries = [Entry(index, term, EntryKind.NOOP, b"") for index, term in enumerate(terms, 1)]
        store.log.save(HardState(max(terms)), entries)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("data.mdb"))}


def test_the_status_of_a_stopped_zone_has_the_term_of_its_last_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two zones the longer log may be the older one: Raft's order needs both figures."""
    last = {}
    for name, terms in (("zone-2", (1, 1, 1, 1, 1)), ("zone-3", (1, 1, 4))):
        a_store(tmp_path / name, terms)
        seen = answer(capsys, tmp_path / "seen.json", "status", "--data", str(tmp_path / name))
        last[name] = seen["last_term"], seen["last_index"]
    assert last == {"zone-2": (1, 5), "zone-3": (4, 3)}
    assert max(last, key=lambda name: last[name]) == "zone-3"


def test_the_status_of_an_empty_store_has_a_last_entry_of_term_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no entry, and nothing that is below it."""
    with open_store(tmp_path / "zone-1", Identity("samu-test", "zone-1", "zone", "0" * 32), create=True):
        pass
    seen = answer(capsys, tmp_path / "seen.json", "status", "--data", str(tmp_path / "zone-1"))
    assert (seen["last_term"], seen["last_index"]) == (0, 0)


@pytest.mark.parametrize("name", ["zone-1", "samu-tset", ""])
def test_a_wrongly_typed_name_is_refused_as_a_name_and_nothing_is_written(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Who types it never wrote `--yes-cluster`, and is not told of it. Exit status 2."""
    monkeypatch.setattr("builtins.input", lambda prompt: name)
    before = contents(config.parent)
    done = typed(capsys, "member", "force-new-cluster", "--config", str(config))
    assert done.code == 2
    assert f"the cluster's name: {name!r} is not the name of this cluster; nothing was written" in done.err
    assert "--yes-cluster" not in done.err
    assert contents(config.parent) == before


def test_the_prompt_says_which_zone_goes_on_and_does_not_offer_the_answer(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that only needs to be copied asks nobody anything."""
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "samu-test"

    monkeypatch.setattr("builtins.input", ask)
    done = typed(capsys, "member", "force-new-cluster", "--config", str(config), "--by", "Dr Martin")
    assert done.code == 0
    assert "samu-test generation 2 is zone-1 alone, by Dr Martin" in done.out
    assert "zone-1" in prompts[0]
    assert "(" not in prompts[0]
    assert "samu-test" not in prompts[0]


def test_without_anybody_to_ask_it_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that has no standard input is no consent."""

    def nobody(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert typed(capsys, "member", "force-new-cluster", "--config", str(config)).code == 2


def test_a_wrong_name_on_the_command_line_is_refused_by_its_option(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(config.parent)
    done = typed(capsys, "member", "force-new-cluster", "--config", str(config), "--yes-cluster", "other")
    assert done.code == 2
    assert "--yes-cluster: 'other' is not the name" in done.err
    assert contents(config.parent) == before


@pytest.mark.processes
async def test_the_members_are_listed_with_the_generation_and_how_each_came_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When, by whom and out of which zone: of every founding there was, as a table and for a script."""
    plan = Plan(tmp_path)
    async with replica.open_zone(plan.zone(), found=True) as zone:
        await until(lambda: zone.status()["raft"]["role"] == "leader")
        first = await typed_beside(capsys, "member", "list", "--at", zone.address)
        assert "generation 1\n" in first.out
        assert "founded" not in first.out
    for by, at_ms in (("Dr Martin", 1_700_000_000_000), ("Dr Petit", 1_700_000_060_000)):
        found_anew(plan.zone(), by, at_ms)
    async with replica.open_zone(plan.zone()) as zone:
        await until(lambda: zone.status()["raft"]["role"] == "leader")
        shown = await typed_beside(capsys, "member", "list", "--at", zone.address)
        assert "generation 2 was founded 2023-11-14 22:13:20 UTC by Dr Martin out of zone-1" in shown.out
        assert "generation 3 was founded 2023-11-14 22:14:20 UTC by Dr Petit out of zone-1" in shown.out
        seen = await answer_beside(capsys, tmp_path / "seen.json", "member", "list", "--at", zone.address)
        assert seen["generation"] == 3
        assert seen["foundings"] == [
            {"generation": 2, "at_ms": 1_700_000_000_000, "by": "Dr Martin", "zone": "zone-1"},
            {"generation": 3, "at_ms": 1_700_000_060_000, "by": "Dr Petit", "zone": "zone-1"},
        ]
