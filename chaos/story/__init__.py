"""`python -m chaos story NAME …`: nights at a Samu, told on real processes, with the facts that must come out.

Each story is a short script (apart, charge, outage, machine, backlog) over three zones and two or three sites, each a
process of its own with its own disk, and lines between them that can be cut. It states facts on the way, of what people
see and are told; at the end everything heals, every operation gets its verdict, everything stops, and the callers'
receipts are laid beside the stores read from disk (the demo's audit). A story is ok when its own facts and the
bookkeeping are.

Left out: faults at random (chaos live) and everything that needs a seed (chaos sim).
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import msgspec
import trio

from chaos.story.catalogue import BY_NAME, STORIES
from chaos.story.play import told
from chaos.story.result import StoryResult, line, together

ALL = "all"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The `story` command and its options."""
    parser = subparsers.add_parser("story", help="nights at a Samu, on real processes", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"stories, in this order, or {ALL}; see --list")
    parser.add_argument("--list", action="store_true", help="print each story's name and its sentence, and stop")
    parser.add_argument("--data", type=Path, default=None, help="keep the nodes' folders there, a folder a story")
    parser.add_argument("--json", type=Path, default=None, help="write the result there; - is standard output")


def run(args: argparse.Namespace) -> int:
    """Tell the stories: 0 where all are ok, 1 where one is not, 2 for a name there is none of."""
    if args.list:
        print("\n".join(listing()))
        return 0
    names = list(BY_NAME) if ALL in args.names else list(dict.fromkeys(args.names))
    unknown = [name for name in names if name not in BY_NAME]
    if unknown or not names:
        print(f"{', '.join(unknown) or 'no story'}: not one of {', '.join(BY_NAME)}, {ALL}", file=sys.stderr)
        return 2
    to_stdout = args.json is not None and str(args.json) == "-"
    tell = partial(print, file=sys.stderr if to_stdout else sys.stdout, flush=True)
    results = []
    for name in names:
        tell(f"{name}: {BY_NAME[name].sentence}")
        data = None if args.data is None else args.data / name
        results.append(trio.run(told, BY_NAME[name], data, tell))
        for problem in results[-1].problems:
            tell(f"✗ {problem}")
        tell(f"{line(results[-1])}\n")
    if args.json is not None:
        _write(args.json, results)
    return 0 if all(result.ok for result in results) else 1


def listing() -> list[str]:
    """One story a line: its name, and its sentence."""
    width = max(len(story.name) for story in STORIES)
    return [f"{story.name:<{width}}  {story.sentence}" for story in STORIES]


def _write(path: Path, results: list[StoryResult]) -> None:
    """One story's result as it is; of several, their sums and each (`stories`): the same fields lead in both."""
    answer = results[0] if len(results) == 1 else together(results)
    text = msgspec.json.format(msgspec.json.encode(answer), indent=2)
    if str(path) == "-":
        sys.stdout.write(text.decode() + "\n")
    else:
        path.write_bytes(text + b"\n")
