"""`replica demo`: the whole walk with real processes, and its exit code."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
from cyclopts import Parameter
from rich.console import Console

from replica.demo.options import Options
from replica.demo.result import DemoResult, Shown
from replica.demo.run import run_demo
from replica.demo.show import Watch, last_line, show

INTERRUPTED: Final = 130
"""What a shell expects of a command that was told to stop."""


def demo(
    *,
    messages: Path | None = None,
    zones: int = 3,
    sites: int = 2,
    cut_after: int | None = None,
    kill: bool = True,
    also_kill: str = "",
    also_kill_at: str = "cut",
    data: Path | None = None,
    json: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    seed: int = 1,
    quiet: bool = False,
) -> int:
    """Play emergencies over real zones and sites; kill the leader, cut a line, and compare every store at the end.

    Parameters
    ----------
    messages:
        A folder with message contents or envelopes, searched recursively; by default the project's own stories.
    zones:
        How many zones vote.
    sites:
        How many sites there are; the organisations in the messages are spread over them.
    cut_after:
        Cut the line of the site whose turn it is after so many operations; by default half-way.
    kill:
        Kill the leading zone with SIGKILL after a third of the messages, and start it again later.
    also_kill:
        Kill one process more and start it again: a node's name, or random, leader, follower, site or cut-site.
    also_kill_at:
        When: after so many operations, or at the cut, or at the replay after it.
    data:
        Keep the stores there, one folder a node. By default they are removed at the end.
    json:
        Write the result there as JSON; - is standard output, and then nothing else is printed there.
    seed:
        Decides who shares a site, and whatever else is left to chance.
    quiet:
        Print nothing but the last line.
    """
    to_stdout = json is not None and str(json) == "-"
    console = Console(stderr=to_stdout, quiet=quiet)
    options = Options(messages, zones, sites, cut_after, kill, data, seed, also_kill, also_kill_at)
    watch = Watch(console)
    with watch.running():
        outcome = trio.run(_until_told_to_stop, options, watch)
    if outcome is None:
        Console(stderr=True).print("stopped; every process is ended")
        return INTERRUPTED
    result, shown = outcome
    show(console, result, shown)
    if quiet:
        Console(stderr=to_stdout).print(last_line(result))
    if json is not None:
        write_json(json, result)
    return 0 if result.ok else 1


async def _until_told_to_stop(options: Options, watch: Watch) -> tuple[DemoResult, Shown] | None:
    """The run's outcome; None where Ctrl-C or SIGTERM came first. Then everything is ended and tidied up."""
    outcome = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            outcome = await run_demo(options, watch)
            nursery.cancel_scope.cancel()
    return outcome


def write_json(path: Path, result: DemoResult) -> None:
    """The result as JSON, to a file or to standard output (`-`)."""
    text = msgspec.json.format(msgspec.json.encode(result), indent=2)
    if str(path) == "-":
        sys.stdout.write(text.decode() + "\n")
    else:
        path.write_bytes(text + b"\n")
