"""Writes histories while they happen, and reads them back: one JSON object a line.

    {"history": 1, "model": "register"}
    {"at": 1000, "type": "invoke", "token": 1, "process": "p1", "key": "c", "what": "write", "value": 7}
    {"at": 1800, "type": "ok", "token": 1, "result": null}

A caller asks the recorder *before* it sends and tells it *after* it heard; in between it may die. What was asked and
never told is of unknown outcome, and so is what was told to be. `fail` is for what was surely not done, and leaves the
history.

    token = recorder.invoke("p1", "c", "write", 7)
    try:
        await client.write("c", 7)
    except Refused:              # surely not done
        recorder.fail(token)
    except OutcomeUnknown:
        recorder.unknown(token)
    else:
        recorder.ok(token)

Several processes may each write a file and be checked together, as long as their clocks are one: `time.monotonic_ns`
is the same for all processes of one machine.

Leaves out: histories from several machines; their clocks agree less than their operations last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.history.models import BadHistory
from chaos.history.operations import Operation, frozen

FORMAT = 1
_TELLS = ("ok", "fail", "unknown")


class Recorder:
    """One file of a history. `write` takes a line of text with its end; flush it as far as the callers may die."""

    def __init__(
        self, write: Callable[[str], object], model: str = "", clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._write = write
        self._clock = clock
        self._tokens = 0
        self._open: set[int] = set()
        self._line({"history": FORMAT, "model": model})

    def invoke(self, process: str, key: str, what: str, value: object = None) -> int:
        """A caller is about to ask. Returns the token to tell the outcome with."""
        self._tokens += 1
        self._open.add(self._tokens)
        asked = {"process": process, "key": key, "what": what, "value": value}
        self._line({"at": self._clock(), "type": "invoke", "token": self._tokens, **asked})
        return self._tokens

    def ok(self, token: int, result: object = None) -> None:
        """It was done, and this came back."""
        at = self._clock()
        self._told(token)
        self._line({"at": at, "type": "ok", "token": token, "result": result})

    def fail(self, token: int) -> None:
        """It was surely not done, and never will be."""
        self._told(token)
        self._line({"at": self._clock(), "type": "fail", "token": token})

    def unknown(self, token: int) -> None:
        """Nobody can say. The same as never telling, for those who read the file."""
        self._told(token)
        self._line({"at": self._clock(), "type": "unknown", "token": token})

    def _told(self, token: int) -> None:
        if token not in self._open:
            raise BadHistory(f"token {token} was never invoked, or its outcome was told already")
        self._open.remove(token)

    def _line(self, record: dict[str, object]) -> None:
        self._write(json.dumps(record, ensure_ascii=False) + "\n")


@dataclass(slots=True)
class Recorded:
    """What files say: the operations without those that surely failed, and the model the files name, "" for none."""

    model: str = ""
    operations: list[Operation] = field(default_factory=list)
    failed: int = 0
    torn: int = 0
    """Files whose last line has no end: their process died while it wrote. Such a line is left out."""


def read_files(paths: Sequence[Path]) -> Recorded:
    """Read a history out of one file or several. Raises BadHistory with file and line, OSError for what cannot be
    read."""
    whole = Recorded()
    for path in paths:
        try:
            with path.open(encoding="utf-8", newline="\n") as lines:  # no other character ends a line of JSON
                one = read(lines, str(path))
        except UnicodeDecodeError as error:
            raise BadHistory(f"{path}: not UTF-8: {error.reason}") from error
        if whole.model and one.model and one.model != whole.model:
            raise BadHistory(f"{path}: its model is {one.model!r}, that of the files before {whole.model!r}")
        whole.model = whole.model or one.model
        whole.operations += one.operations
        whole.failed += one.failed
        whole.torn += one.torn
    return whole


def read(lines: Iterable[str], name: str = "history") -> Recorded:
    """Read one file's lines, each with its end. `name` stands in the errors."""
    recorded = Recorded()
    asked: dict[int, Operation] = {}
    told: dict[int, Operation | None] = {}
    for where, line in _whole_lines(lines, name, recorded):
        record = _parsed(line, where)
        if "history" in record:
            recorded.model = _header(record, where)
        elif record.get("type") == "invoke":
            token, operation = _asked(record, where)
            if token in asked:
                raise BadHistory(f"{where}: token {token} was invoked before")
            asked[token] = operation
        else:
            token, operation_told = _told(record, asked, where)
            if token in told:
                raise BadHistory(f"{where}: the outcome of token {token} was told before")
            told[token] = operation_told
    outcomes = [told.get(token, operation) for token, operation in asked.items()]
    recorded.operations = [one for one in outcomes if one is not None]
    recorded.failed = len(outcomes) - len(recorded.operations)
    return recorded


def _whole_lines(lines: Iterable[str], name: str, recorded: Recorded) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            recorded.torn += 1
        elif line.strip():
            yield f"{name}, line {number}", line


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise BadHistory(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadHistory(f"{where}: an object is wanted, not {type(record).__name__}")
    return record


def _header(record: dict[str, Any], where: str) -> str:
    if record["history"] != FORMAT:
        raise BadHistory(f"{where}: format {record['history']!r}, this release reads {FORMAT}")
    return str(record.get("model", ""))


def _asked(record: dict[str, Any], where: str) -> tuple[int, Operation]:
    process, key, what = (_field(record, name, str, where) for name in ("process", "key", "what"))
    at = _field(record, "at", int, where)
    return _field(record, "token", int, where), Operation(process, key, what, frozen(record.get("value")), at)


def _told(record: dict[str, Any], asked: dict[int, Operation], where: str) -> tuple[int, Operation | None]:
    """The operation with its outcome, None where it failed."""
    kind, token = record.get("type"), _field(record, "token", int, where)
    if kind not in _TELLS:
        raise BadHistory(f"{where}: the type is invoke, {', '.join(_TELLS)}, not {kind!r}")
    if token not in asked:
        raise BadHistory(f"{where}: token {token} was never invoked")
    one, at = asked[token], _field(record, "at", int, where)
    if at < one.invoked_at:
        raise BadHistory(f"{where}: token {token} was answered at {at}, before it was invoked at {one.invoked_at}")
    if kind == "fail":
        return token, None
    if kind == "unknown":
        return token, one
    result = frozen(record.get("result"))
    return token, Operation(one.process, one.key, one.what, one.value, one.invoked_at, at, result)


def _field(record: dict[str, Any], name: str, kind: type, where: str) -> Any:
    value = record.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadHistory(f"{where}: {name} must be {kind.__name__}, not {value!r}")
    return value
