"""`replica verdicts`, `why`, `conflicts`: what became of what people did, and what waits for a person."""

from __future__ import annotations

import csv
import getpass
import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter, validators
from rich.console import Group
from rich.table import Table
from rich.text import Text

from replica.admin import show
from replica.admin import why as telling
from replica.admin.reach import DEFAULT_AT, At, Json, ask, moment_ms
from replica.cases.commands import DecideConflict
from replica.cases.operations import OperationId
from replica.errors import ConfigError, NotPermitted
from replica.runtime.client import Client

COLUMNS = ("operation", "act", "subject", "author", "act_ms", "agreed_ms", "index", "kind", "reason")
BUDGET_MS = 5000
Kind = Literal["applied", "merged", "superseded", "conflict", "proposed", "refused", "duplicate", ""]
Language = Annotated[Literal["fr", "en"], Parameter(name="--language", help="of the sentences")]

conflicts = cyclopts.App(name="conflicts", help="The inbox of conflicts: list, show, decide.")


def verdicts(
    *,
    site: str = "",
    case: str = "",
    since: str = "",
    kind: Kind = "",
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=100_000))] = 100,
    at: At = DEFAULT_AT,
    csv_file: Annotated[Path | None, Parameter(name="--csv", allow_leading_hyphen=True)] = None,
    json: Json = None,
) -> None:
    """What became of acts, the newest first. Asked at a site: of all that was done there, as far back as it remembers.

    Of another site: what is kept for it. Of a case: all that was said about it and was no plain "applied".

    Parameters
    ----------
    site:
        Acts of this site.
    case:
        Acts on this case, whoever's.
    since:
        Agreed since then: 2026-11-27T03:00:00+01:00, or 2h for two hours ago.
    kind:
        Only these: applied, merged, superseded, conflict, proposed, refused, duplicate.
    limit:
        The newest so many.
    csv_file:
        Write them there as CSV (- for stdout).
    """
    since_ms = moment_ms(since, "--since")
    answer = ask(at, lambda client: client.verdicts(site=site, case=case, kind=kind, since_ms=since_ms, limit=limit))
    if csv_file is not None:
        _write_csv(csv_file, answer["verdicts"])
        return
    counts = ", ".join(f"{count} {name}" for name, count in answer["counts"].items() if count)
    parts: list[Any] = [show.freshness(answer["freshness"]), _table(answer["verdicts"])]
    parts += [Text(f"in all: {counts}")] if counts else []
    parts += [] if answer["whole"] else [Text("what was plainly applied is known at the site that did it", style="dim")]
    show.write(json, Group(*parts), answer)


def _table(acts: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("agreed", "verdict", "act", "on", "by", "done at", "because", "operation"):
        table.add_column(title)
    for one in acts:
        because = one.get("reason") or "; ".join(
            f"{finding.get('field', '')} {finding['kind']} by {finding.get('rule', '')}"
            for finding in one.get("findings", ())
        )
        agreed = show.moment(one["agreed_ms"]) if one["agreed_ms"] else ""
        done = show.moment(one["act_ms"]) if one["act_ms"] else ""
        subject = one.get("subject", "")
        table.add_row(agreed, one["kind"], one["act"], subject, one["author"], done, because, one["operation"])
    return table


def _write_csv(file: Path, acts: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows(acts)
    if str(file) == "-":
        sys.stdout.write(text.getvalue())
    else:
        file.write_text(text.getvalue(), encoding="utf-8")


def why(what: str, *, language: Language = "en", at: At = DEFAULT_AT, json: Json = None) -> None:
    """What became of an act, or how a case came to its values: who, when, which rule, which entry.

    Parameters
    ----------
    what:
        An operation (as receipts name it: site/incarnation/number), or a case.
    """
    told = ask(at, lambda client: _why(client, what, language))
    show.write(json, Text("\n".join(told)), {"what": what, "language": language, "sentences": told})


async def _why(client: Client, what: str, language: telling.Language) -> list[str]:
    try:
        OperationId.parse(what)
    except ValueError:
        answer = await client.show_case(what)
        return list(telling.of_case(answer["case"], language))
    found = (await client.verdicts(operation=what, site=what.rsplit("/", 2)[0]))["verdicts"]
    if found:
        return list(telling.of_act(found[0], language))
    outcome = await client.outcome(what)
    if outcome.verdict is not None:
        kind = telling.KINDS[outcome.verdict.kind.value][language]
        return [telling.tell("agreed", language, index=outcome.index or "-", when="-", kind=kind)]
    return [telling.tell("waits" if outcome.state == "journalled" else "unknown", language)]


# ---- conflicts


@conflicts.command(name="list")
def list_conflicts(*, owner: str = "", at: At = DEFAULT_AT, json: Json = None) -> None:
    """What waits for a person: each conflict with its values; the first of them holds meanwhile.

    Parameters
    ----------
    owner:
        Only those of this organisation's cases and resources.
    """
    answer = ask(at, lambda client: client.conflicts(owner=owner))
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("number", "on", "field", "holds meanwhile", "against", "since", "owner"):
        table.add_column(title)
    for number, one in enumerate(answer["conflicts"], 1):
        holds, *others = (_short(value) for value in one["values"])
        since = show.moment(one["since_ms"])
        table.add_row(str(number), one["id"], _field(one), holds, "; ".join(others), since, one["owner"])
    shown = table if answer["conflicts"] else Text("no conflict is open")
    show.write(json, Group(show.freshness(answer["freshness"]), shown), answer)


@conflicts.command(name="show")
def show_conflict(id: str, field: str, *, key: str = "", at: At = DEFAULT_AT, json: Json = None) -> None:  # noqa: A002
    """One conflict: each value with who said it, when it happened, when and by which entry it was agreed.

    Parameters
    ----------
    id:
        The case or resource.
    field:
        As `replica conflicts list` names it.
    key:
        Of a field that has several values by key.
    """
    one = _one(ask(at, lambda client: client.conflicts()), id, field, key)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("", "value", "by", "done at", "agreed", "entry", "in charge", "operation"):
        table.add_column(title)
    for place, value in enumerate(one["values"]):
        charge = "yes" if value["with_authority"] else "no"
        done, agreed = show.moment(value["act_ms"]), show.moment(value["agreed_ms"])
        mark = "holds" if place == 0 else ""
        table.add_row(
            mark, value["value"], value["author"], done, agreed, str(value["index"]), charge, value["operation"]
        )
    show.write(json, table, one)


@conflicts.command(name="decide")
def decide_conflict(
    id: str,  # noqa: A002
    field: str,
    value: str,
    *,
    key: str = "",
    author: str = "",
    at: At = DEFAULT_AT,
    json: Json = None,
) -> None:
    """Decide: this value holds. An operation like any other: who decides otherwise apart makes a conflict again.

    Parameters
    ----------
    id:
        The case or resource.
    value:
        One of the values in conflict, or another that the field may have.
    author:
        Who decides; by default the user of this command.
    """

    async def decide(client: Client) -> Any:
        one = _one(await client.conflicts(), id, field, key)
        command = DecideConflict(one["subject"], id, field, key, value)
        return await client.submit(command, BUDGET_MS, author=author or getpass.getuser())

    receipt = ask(at, decide)
    if receipt.verdict is not None and receipt.verdict.kind.value == "refused":
        raise NotPermitted(receipt.verdict.reason)
    show.write(json, show.receipts([receipt]), show.receipt_values([receipt]))


def _one(answer: dict[str, Any], id: str, field: str, key: str) -> dict[str, Any]:  # noqa: A002
    for one in answer["conflicts"]:
        if (one["id"], one["field"], one.get("key", "")) == (id, field, key):
            found: dict[str, Any] = one
            return found
    raise ConfigError("conflict", f"there is none about {field} of {id} here")


def _field(one: dict[str, Any]) -> str:
    return f"{one['field']}[{one['key']}]" if one.get("key") else str(one["field"])


def _short(value: dict[str, Any]) -> str:
    return f"{value['value']} ({value['author']}, {show.moment(value['act_ms'])})"
