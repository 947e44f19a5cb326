"""`python -m chaos history FILE`: was what the callers saw linearizable?"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from chaos.history.check import DEFAULT_STEPS, Checked, Verdict, check
from chaos.history.explain import explain
from chaos.history.models import MODELS, BadHistory
from chaos.history.operations import Operation
from chaos.history.record import Recorded, read_files

HELP = "check a recorded history of client operations: linearizable, or from which answer on not"

DESCRIPTION = """\
Reads what callers recorded (chaos/history/record.py: JSON lines of invoke, ok, fail, unknown) and looks, key by key,
for an order in which a single copy could have answered all of it. Where there is none, the shortest prefix without one
is printed as a table. Several files are one history, if they were recorded on one machine.

Exit status: 0 linearizable, 1 not, 2 a file that cannot be read, 3 undecided within --steps and --seconds.
"""

STATUS = {Verdict.LINEARIZABLE: 0, Verdict.NOT_LINEARIZABLE: 1, Verdict.UNDECIDED: 3}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers `history` with the command line of `chaos`."""
    style = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser("history", help=HELP, description=DESCRIPTION, formatter_class=style)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--model", choices=tuple(MODELS), help="what a key is (default: what the file says)")
    steps = f"steps of the search for each key, then undecided (default {DEFAULT_STEPS})"
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, metavar="N", help=steps)
    parser.add_argument("--seconds", type=float, default=60.0, metavar="T", help="for all keys together (default 60)")
    parser.add_argument(
        "--json", type=Path, metavar="F", help="write the verdict as JSON to this file; - for the screen"
    )


def run(args: argparse.Namespace) -> int:
    """Checks what the command line names. The exit status is that of the description."""
    begun = time.monotonic()
    try:
        recorded = read_files(args.files)
        model = args.model or recorded.model
        if model not in MODELS:
            named = f"the file names the model {model!r}" if model else "the file names no model"
            raise BadHistory(f"{named}; --model is one of {', '.join(MODELS)}")
        late_at = begun + args.seconds
        checked = check(
            recorded.operations, MODELS[model], steps=args.steps, is_late=lambda: time.monotonic() > late_at
        )
    except (BadHistory, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    _print(checked, recorded, time.monotonic() - begun, to_stderr=str(args.json) == "-")
    if args.json is not None:
        _write_json(checked, args.json, time.monotonic() - begun)
    return STATUS[checked.verdict]


def _print(checked: Checked, recorded: Recorded, seconds: float, to_stderr: bool) -> None:
    out = sys.stderr if to_stderr else sys.stdout
    for failure in checked.failures:
        print("\n".join(explain(failure)) + "\n", file=out)
    if checked.undecided:
        print(f"undecided: {', '.join(checked.undecided)}", file=out)
    if recorded.torn:
        print(f"{recorded.torn} files end in the middle of a line, which was left out", file=out)
    counted = f"{checked.operations} operations, {checked.keys} keys, {checked.steps} steps, {seconds:.2f} s"
    print(f"{counted}: {checked.verdict.value}", file=out)


def _write_json(checked: Checked, path: Path, seconds: float) -> None:
    failures = [
        {
            "key": failure.key,
            "culprit": as_json(failure.culprit),
            "prefix": [as_json(one) for one in failure.prefix],
            "is_shortest": failure.is_shortest,
        }
        for failure in checked.failures
    ]
    report = {
        "ok": checked.verdict is Verdict.LINEARIZABLE,
        "verdict": checked.verdict.value,
        "operations": checked.operations,
        "keys": checked.keys,
        "steps": checked.steps,
        "seconds": round(seconds, 3),
        "failures": failures,
        "undecided": list(checked.undecided),
    }
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


def as_json(operation: Operation) -> dict[str, object]:
    """One operation with its fields by name; `returned_at` is null where the outcome is unknown."""
    names = ("process", "key", "what", "value", "invoked_at", "returned_at", "result")
    return {name: getattr(operation, name) for name in names}
