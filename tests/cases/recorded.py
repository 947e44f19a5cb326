"""Recorded logs: what the state machine made of a log once, it must make of it for ever.

A cluster's replicas are upgraded one by one, over years, and each applies the same entries. So logs are recorded with
every verdict and every digest, and applied anew in the tests: whoever changes what a level's rules do to any of them is
told at which entry. A change of a rule is a new level, and a new recording.

A file of tests/recorded is text, a line each thing:

    log NAME                                       an empty state begins
    entry INDEX TERM LEVEL SPOKEN TIME_MS HEX,…    one entry and its operations as they stand in a log
    verdict ["site/life/3","merged",[[…]],""]      what each operation was told, in order
    held ["site/life/5","gap"]                     what the gate did not let pass
    digest INDEX HEX                               of the state after the entry

Recordings are made by tests/cases/record.py and never by this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from replica.cases import queries
from replica.cases.machine import RULES, apply
from replica.cases.operations import Batch
from replica.cases.records import Empty, Overlay
from replica.cases.rules import Rules
from replica.cases.verdicts import Effects
from replica.wire import batch, decode_batch, encode_operation

FOLDER = Path(__file__).parents[1] / "recorded"


class Differs(AssertionError):
    """The rules do something else to a recorded log than they did."""


class BadRecording(Exception):
    """A line that no recording has."""


@dataclass
class Recording:
    """One log: its entries, as (index, term, the entry's bytes), and after each what it said then."""

    name: str
    entries: list[tuple[int, int, bytes]] = field(default_factory=list)
    said: list[list[str]] = field(default_factory=list)


def said_of(effects: Effects, records: Overlay) -> list[str]:
    """What is recorded of an entry's effects. `records`: after it."""
    lines = [
        _line(
            "verdict",
            str(one.id),
            one.verdict.kind.value,
            [
                [each.subject, each.field, each.key, each.kind.value, each.rule, str(each.other or "")]
                for each in one.verdict.findings
            ],
            one.verdict.reason,
        )
        for one in effects.decided
    ]
    lines += [_line("held", str(ident), why) for ident, why in effects.held]
    return [*lines, f"digest {effects.index} {queries.digest(records)}"]


def _line(what: str, *told: object) -> str:
    return f"{what} {json.dumps(told, separators=(',', ':'))}"


def written(name: str, log: Iterable[Batch]) -> Iterator[str]:
    """The lines of a recording of `log`, by the rules as they are now."""
    yield f"log {name}"
    records = Overlay(Empty())
    for index, one in enumerate(log, 1):
        operations = ",".join(encode_operation(operation).hex() for operation in one.operations)
        heard = " " + ",".join(one.heard) if one.heard else ""
        yield f"entry {index} 1 {one.level} {one.spoken} {one.time_ms} {operations}{heard}".rstrip()
        effects = apply(records, one, index, 1)
        records.update(dict(effects.changes))
        yield from said_of(effects, records)


def read(path: Path) -> list[Recording]:
    """The recordings of a file. Raises BadRecording, naming file and line."""
    found: list[Recording] = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        what, _, rest = line.partition(" ")
        if what == "log":
            found.append(Recording(rest))
        elif what == "entry" and found:
            found[-1].entries.append(_entry(rest))
            found[-1].said.append([])
        elif what in ("verdict", "held", "digest") and found and found[-1].said:
            found[-1].said[-1].append(line)
        elif line and what != "#":
            raise BadRecording(f"{path.name}:{number}: {line[:60]!r}")
    return found


def _entry(rest: str) -> tuple[int, int, bytes]:
    index, term, level, spoken, time_ms, operations, heard = (*rest.split(" "), "", "")[:7]
    encoded = [bytes.fromhex(one) for one in operations.split(",") if one]
    sites = tuple(heard.split(",")) if heard else ()
    return int(index), int(term), batch(int(time_ms), int(level), encoded, int(spoken), sites)


def replayed(recording: Recording, known: Mapping[int, Rules] = RULES) -> Overlay:
    """Apply the recorded log by today's rules; the state at its end. Raises Differs at the first entry that is told
    anything else than it was."""
    records = Overlay(Empty())
    for (index, term, data), was in zip(recording.entries, recording.said, strict=True):
        effects = apply(records, decode_batch(data), index, term, known)
        records.update(dict(effects.changes))
        now = said_of(effects, records)
        if now != was:
            pairs = [*zip(was, now, strict=False), (f"{len(was)} lines", f"{len(now)} lines")]
            one, other = next((before, after) for before, after in pairs if before != after)
            raise Differs(f"{recording.name}, entry {index}: recorded {one}, now {other}")
    return records
