"""`python -m bench`: the command line of the measurements. Each command is a module that registers itself.

A command's module offers `add_parser(subparsers)` and `run(args) -> int` (the exit status). It is imported only when
it is asked for, or when the help of all commands is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "failover": "bench.failover",
    "throughput": "bench.throughput",
    "reads": "bench.reads",
    "journal": "bench.journal",
    "feed": "bench.feed",
    "reconcile": "bench.reconcile",
    "recovery": "bench.recovery",
    "sites": "bench.sites",
    "day": "bench.day",
    "peers": "bench.peers_table",
    "profile": "bench.profile",
    "all": "bench.everything",
}
"""Name → module."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status; argparse itself exits with 2 on a wrong command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the system on this machine.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in [words[0]] if words and words[0] in COMMANDS else COMMANDS:
        import_module(COMMANDS[name]).add_parser(subparsers)
    args = parser.parse_args(words)
    status: int = import_module(COMMANDS[args.command]).run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
