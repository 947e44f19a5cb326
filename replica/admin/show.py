"""Answers as people read them: tables; and as scripts do: JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from replica.cases.verdicts import Verdict


def write(json: Path | None, shown: RenderableType, answer: Any) -> None:
    """Print the table; with `--json` write the answer there instead (`-`: standard output) and print nothing else."""
    if json is None:
        Console().print(shown)
        return
    text = msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"
    if str(json) == "-":
        sys.stdout.write(text.decode())
    else:
        json.write_bytes(text)


def plain(answer: Any) -> Any:
    """Views and JSON values alike as plain dicts and lists."""
    return msgspec.to_builtins(answer)


def receipts(items: Iterable[Any]) -> Table:
    """What became of what was handed in."""
    table = _table("operation", "receipt", "index", "verdict", "because")
    for item in items:
        verdict = item.verdict
        words = (
            [] if verdict is None else [f"{one.field} {one.kind.value} by rule {one.rule}" for one in verdict.findings]
        )
        reason = "" if verdict is None else verdict.reason or "; ".join(words)
        table.add_row(
            item.operation,
            _state(item.state),
            str(item.index or ""),
            "" if verdict is None else verdict.kind.value,
            reason,
        )
    return table


def receipt_values(items: Iterable[Any]) -> list[dict[str, Any]]:
    """Receipts as scripts read them: names, not places."""
    return [
        {
            "operation": item.operation,
            "state": item.state,
            "index": item.index,
            "verdict": None if item.verdict is None else _verdict_values(item.verdict),
        }
        for item in items
    ]


def _verdict_values(verdict: Verdict) -> dict[str, Any]:
    findings = [
        {
            "subject": one.subject,
            "field": one.field,
            "key": one.key,
            "kind": one.kind.value,
            "rule": one.rule,
            "other": "" if one.other is None else str(one.other),
        }
        for one in verdict.findings
    ]
    return {"kind": verdict.kind.value, "reason": verdict.reason, "findings": findings}


def status(answer: dict[str, Any]) -> Table:
    """Every figure of a node's status, one a line."""
    table = _table("", "")
    for name, value in _flat(answer):
        table.add_row(name, Text(str(value)))
    return table


def cases(answer: Any) -> RenderableType:
    """A line a case."""
    answer = plain(answer)
    table = _table("case", "owner", "status", "priority", "care", "what", "conflicts", "")
    for one in answer["cases"]:
        table.add_row(
            one["id"],
            one["owner"],
            one["status"],
            _value(one, "priority"),
            _value(one, "care_level"),
            _label(_value(one, "whats_happen")),
            ", ".join(one.get("conflicts", ())),
            _marks(one),
        )
    return Group(freshness(answer["freshness"]), table)


def resources(answer: Any) -> RenderableType:
    """A line a resource."""
    answer = plain(answer)
    table = _table("resource", "owner", "type", "status", "serves", "conflicts", "")
    for one in answer["resources"]:
        table.add_row(
            one["id"],
            one["owner"],
            _value(one, "vehicle_type"),
            one["status"],
            one["serves"],
            ", ".join(one.get("conflicts", ())),
            _marks(one),
        )
    return Group(freshness(answer["freshness"]), table)


def case(answer: Any) -> RenderableType:
    """A case, whole: what holds, what was added, who serves it, what does not hold any more."""
    answer = plain(answer)
    one = answer["case"]
    head = Text(f"{one['id']}  owner {one['owner'] or '-'}  status {one['status'] or '-'}  {_marks(one)}", style="bold")
    parts: list[RenderableType] = [freshness(answer["freshness"]), head, _values(one)]
    if one.get("elements") or one.get("documents"):
        parts.append(_elements([*one.get("elements", ()), *one.get("documents", ())]))
    if one.get("engagements"):
        parts.append(_engagements(one["engagements"]))
    if one.get("history"):
        parts.append(_history(one["history"]))
    return Group(*parts)


def resource(answer: Any) -> RenderableType:
    """A resource, whole."""
    answer = plain(answer)
    one = answer["resource"]
    head = Text(
        f"{one['id']}  owner {one['owner'] or '-'}  {one['status']}  serves {one['serves'] or '-'}", style="bold"
    )
    parts: list[RenderableType] = [freshness(answer["freshness"]), head, _values(one)]
    if one.get("elements"):
        parts.append(_elements(one["elements"]))
    if one.get("history"):
        parts.append(_history(one["history"]))
    return Group(*parts)


def freshness(fresh: dict[str, Any]) -> Text:
    """How far what follows can be trusted, in one line."""
    words = [fresh["mode"], f"index {fresh['index']}"]
    if fresh.get("confirmed_age_ms") is not None:
        words.append(f"confirmed {fresh['confirmed_age_ms']} ms ago")
    if fresh.get("unconfirmed_since_ms"):
        words.append(f"authority unconfirmed since {moment(fresh['unconfirmed_since_ms'])}")
    if fresh.get("undecided"):
        words.append(f"{fresh['undecided']} own operations undecided")
    words += [word for word in ("clock_unsure", "restored", "fenced") if fresh.get(word)]
    style = "green" if fresh["mode"] == "connected" else "yellow"
    return Text(" · ".join(words), style=style)


def moment(ms: int) -> str:
    """A time in ms since 1970 as an operator reads it, UTC; empty for none."""
    if not ms:
        return ""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def _values(one: dict[str, Any]) -> Table:
    table = _table("field", "key", "value", "author", "happened (UTC)", "")
    for field in [*one["fields"], *one.get("statuses", ())]:
        for at, value in enumerate(field["values"]):
            mark = "" if not field.get("conflict") else "CONFLICT, holds" if at == 0 else "CONFLICT"
            _row(table, field, value, mark)
        for value in field.get("proposed", ()):
            _row(table, field, value, "proposed")
    return table


def _elements(elements: list[dict[str, Any]]) -> Table:
    table = _table("added", "key", "value", "author", "happened (UTC)", "")
    for element in elements:
        _row(table, element, element["value"], "")
    return table


def _row(table: Table, field: dict[str, Any], value: dict[str, Any], mark: str) -> None:
    marks = " ".join(word for word in (mark, "tentative" if value.get("tentative") else "") if word)
    when = moment(value["at_ms"] or value["act_ms"])
    table.add_row(field["field"], field.get("key", ""), Text(value["value"]), value["author"], when, marks)


def _engagements(engagements: list[dict[str, Any]]) -> Table:
    table = _table("resource", "engagement", "holds", "statuses")
    for one in engagements:
        steps = ", ".join(step["status"]["value"] for step in one.get("steps", ()))
        table.add_row(one["resource"], one["state"], "yes" if one["holds"] else "no", steps)
    return table


def _history(history: list[dict[str, Any]]) -> Table:
    table = _table("does not hold", "key", "value", "became", "rule", "author", "happened (UTC)")
    for past in history:
        value = past["value"]
        table.add_row(
            past["field"],
            past.get("key", ""),
            Text(value["value"]),
            past["became"],
            past["rule"],
            value["author"],
            moment(value["act_ms"]),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _value(one: dict[str, Any], name: str) -> str:
    for field in one["fields"]:
        if field["field"] == name and not field.get("key") and field["values"]:
            return str(field["values"][0]["value"])
    return ""


def _label(value: str) -> str:
    """A coded value's label, where the value is one."""
    try:
        coded = msgspec.json.decode(value, type=dict[str, Any]) if value else {}
    except msgspec.DecodeError:
        return value
    return str(coded.get("label", ""))


def _marks(one: dict[str, Any]) -> str:
    return " ".join(word for word in ("incomplete", "tentative") if one.get(word))


def _state(state: str) -> Text:
    return Text(state, style="green" if state == "agreed" else "yellow")


def _flat(answer: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in answer.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
