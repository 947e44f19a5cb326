"""`python -m chaos`: the command line of the proofs. Each command is a module that registers itself.

A command's module offers `add_parser(subparsers)` and `run(args) -> int` (the exit status). It is imported only when
it is asked for, or when the help of all commands is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

COMMANDS = {
    "sim": "chaos.world.command",
    "live": "chaos.live",
    "live-commits": "chaos.live.commits",
    "live-members": "chaos.live.members",
    "saturate": "chaos.live.saturate",
    "story": "chaos.story",
    "cuts": "chaos.cuts",
    "journals": "chaos.live.journals",
    "mutants": "chaos.mutants.command",
    "history": "chaos.history.command",
}
"""Name → module. A command whose module this release does not have is left out of the help."""


def parser_for(wanted: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the subcommands named in `wanted`."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Breaks the system in every way it must survive."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in wanted:
        import_module(COMMANDS[name]).add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit status; argparse itself exits with 2 on a wrong command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    present = [name for name, module in COMMANDS.items() if find_spec(module) is not None]
    chosen = [words[0]] if words and words[0] in present else present
    args = parser_for(chosen).parse_args(words)
    status: int = import_module(COMMANDS[args.command]).run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
