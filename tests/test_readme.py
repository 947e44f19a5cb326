"""The README tells the truth: its example runs as printed, its commands exist, its map is the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

import replica
from tests.runtime.nodes import CASE, Plan, free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_folder_of_the_map_is_there() -> None:
    """A path in the first column of the map exists."""
    rows = re.findall(r"^\| (`.+?) \|", README, flags=re.MULTILINE)
    paths = [path for row in rows for path in re.findall(r"`([^`]+)`", row)]
    assert len(paths) > 10
    missing = [path for path in paths if not (ROOT / path).exists() and not (ROOT / "replica" / path).exists()]
    assert missing == []


def test_both_commands_are_targets() -> None:
    """`make demo` and `make test` are in the Makefile, and CI calls the second."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "make demo" in README
    assert "make test" in README
    assert re.search(r"^demo:", makefile, flags=re.MULTILINE)
    assert re.search(r"^test:", makefile, flags=re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.processes
def test_the_example_runs_as_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ten lines, with a site's configuration in place of CONFIG and a zone in reach."""
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert "trio.run(main)" in code
    plan = Plan(tmp_path)
    config = tmp_path / "site.toml"
    config.write_text(
        f'[cluster]\nid = "test"\n[site]\nname = "fr.health.samu440"\nlisten = "127.0.0.1:{free_port()}"\n'
        f'data = "site"\n[[zones]]\nnumber = 1\nname = "zone-1"\naddress = "{plan.peers[0].address}"\n'
    )

    async def with_a_zone() -> None:
        async with replica.open_zone(plan.zone(), found=True):
            async with replica.open_site(config) as site:
                await site.submit_message(CASE.replace(b"samu440.T1", b"samu440.42"), budget_ms=10_000)
            await trio.to_thread.run_sync(exec, compile(code, "README.md", "exec"), {"CONFIG": config})

    trio.run(with_a_zone)
    printed = capsys.readouterr().out
    assert "fr.health.samu440/" in printed
    assert "priority P0" in printed
