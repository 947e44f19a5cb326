"""The command line: what an operator types at 3 a.m., and what a script reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import replica
from tests.runtime.nodes import CASE, CASE_ID, Plan, cluster

pytestmark = pytest.mark.processes


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """One `replica` command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "replica", *arguments], input=stdin, capture_output=True, timeout=60, check=False
    )


async def run_beside(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The same while nodes run in this process."""
    return await trio.to_thread.run_sync(lambda: run(*arguments, stdin=stdin))


def marks(folder: Path) -> list[tuple[Path, int]]:
    """Every file below a folder with the time it was written."""
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.mark.parametrize("command", ["zone", "site", "submit", "show", "status", "demo", "version"])
def test_every_command_has_help_that_teaches(command: str) -> None:
    """`--help` names the command and says what it is for."""
    done = run(command, "--help")
    assert done.returncode == 0
    assert b"Usage" in done.stdout


def test_version_is_the_packages() -> None:
    """One place for the version."""
    assert run("version").stdout.decode().strip() == replica.__version__


def test_a_wrong_configuration_exits_with_2_and_the_path(tmp_path: Path) -> None:
    """I5: said in one line, nothing started."""
    (tmp_path / "zone.toml").write_text('[cluster]\nid = "x"\n[zone]\nname = "z"\nnumber = 0\n')
    done = run("zone", str(tmp_path / "zone.toml"))
    assert done.returncode == 2
    assert b"$.zone" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "zone.toml"]


def test_a_node_that_is_not_there_exits_with_1() -> None:
    """The answer is no, and says which address."""
    done = run("status", "--at", "127.0.0.1:1")
    assert done.returncode == 1
    assert b"127.0.0.1:1" in done.stderr


async def test_a_message_is_submitted_shown_and_read_again_from_the_stopped_store(tmp_path: Path) -> None:
    """The whole way of a hub message through the command line; the stopped store says the same as the running node."""
    (tmp_path / "message.json").write_bytes(CASE)
    async with cluster(Plan(tmp_path)) as (_, site):
        at = site.address
        submitted = await run_beside("submit", str(tmp_path / "message.json"), "--at", at, "--json", "-")
        (receipt,) = json.loads(submitted.stdout)
        assert receipt["state"] == "agreed"
        shown = await run_beside("show", "case", CASE_ID, "--at", at, "--json", "-")
        case = json.loads(shown.stdout)["case"]
        listed = await run_beside("show", "cases", "--at", at, "--json", "-")
        assert [one["id"] for one in json.loads(listed.stdout)] == [CASE_ID]
        status = json.loads((await run_beside("status", "--at", at, "--json", "-")).stdout)
        assert status["mode"] == "connected"
        table = await run_beside("show", "cases", "--at", at)
        assert b"connected" in table.stdout
        assert b"P2" in table.stdout
    data = str(tmp_path / "fr.health.samu440")
    before = marks(Path(data))
    stopped = await run_beside("show", "case", CASE_ID, "--data", data, "--json", "-")
    answer = json.loads(stopped.stdout)
    assert answer["case"] == case
    assert answer["freshness"]["mode"] == "stopped"
    assert marks(Path(data)) == before


async def test_a_command_is_json_on_standard_input(tmp_path: Path) -> None:
    """A command that is wrong exits with 2 and every wrong place; a right one is agreed."""
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        right = json.dumps({"command": "change-priority", "case": CASE_ID, "priority": "P0"}).encode()
        done = await run_beside(
            "submit", "-", "--at", site.address, "--author", "Dr Martin", "--json", "-", stdin=right
        )
        assert json.loads(done.stdout)[0]["verdict"]["kind"] == "applied"
        wrong = json.dumps({"command": "change-priority", "cas": CASE_ID}).encode()
        done = await run_beside("submit", "-", "--at", site.address, stdin=wrong)
        assert done.returncode == 2
        assert b"$.cas" in done.stderr
        assert b"$.priority" in done.stderr
        broken = await run_beside("submit", "-", "--at", site.address, stdin=b'{"createCaseHealth": {"caseId": 7}}')
        assert broken.returncode == 2
        assert b"caseId" in broken.stderr


async def test_a_store_in_use_is_not_opened_by_a_second_process(tmp_path: Path) -> None:
    """The second zone process says who holds the store, and ends."""
    plan = Plan(tmp_path)
    config = tmp_path / "again.toml"
    config.write_text(
        '[cluster]\nid = "test"\n[zone]\nname = "zone-1"\nnumber = 1\nlisten = "127.0.0.1:0"\ndata = "zone-1"\n'
        '[[zones]]\nnumber = 1\nname = "zone-1"\naddress = "127.0.0.1:7001"\n'
    )
    async with replica.open_zone(plan.zone(), found=True):
        done = await run_beside("zone", str(config))
        assert done.returncode == 1
        assert b"zone-1" in done.stderr
