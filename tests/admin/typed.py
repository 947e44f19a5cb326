"""A `replica` command as an operator types it, run in this process: its exit status, and what it printed."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from replica.cli import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """Run it to its end."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["replica", *arguments])
        patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as left:
            main()
    printed = capsys.readouterr()
    return Done(int(left.value.code or 0), printed.out, printed.err)


def answer(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> Any:
    """What the command answers a script: in a file, since nodes in this process write their log beside it."""
    done = typed(capsys, *arguments, "--json", str(file))
    assert done.code == 0, done.err
    return json.loads(file.read_bytes())


async def answer_beside(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> Any:
    """The same while nodes run in this test."""
    return await trio.to_thread.run_sync(lambda: answer(capsys, file, *arguments))


async def typed_beside(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """The same while nodes run in this test."""
    return await trio.to_thread.run_sync(lambda: typed(capsys, *arguments))
