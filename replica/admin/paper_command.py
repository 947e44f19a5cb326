"""`replica resume-paper`: what was written by hand while nothing worked, entered with its true act times."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import trio
from cyclopts import Parameter, validators
from rich.table import Table
from rich.text import Text

from replica.admin import show as tables
from replica.cases.commands import AddNote
from replica.errors import ConfigError, InvalidMessage, NotPermitted, Place, ReplicaError
from replica.hubsante.decode import read as read_message
from replica.runtime.client import Client, open_client
from replica.sheet.acts import Entry, entries, later_value
from replica.sheet.example import EXAMPLES
from replica.sheet.form import Act, Form, read_form

DAY_MS = 86_400_000
DEFAULT_AT = "127.0.0.1:7101"


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of one operation: `state` is agreed, journalled, refused (surely not done), would-be (a dry run) or
    not-entered (an error came before it; `problem` says which)."""

    entry: Entry
    state: str
    operation: str = ""
    index: int = 0
    verdict: str = ""
    problem: str = ""

    @property
    def is_done(self) -> bool:
        return self.state in ("agreed", "journalled", "would-be") and self.verdict != "refused"


def resume_paper(
    form: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    *,
    at: Annotated[str, Parameter(name="--at", env_var="REPLICA_AT", help="host:port of a running site")] = DEFAULT_AT,
    example: Annotated[bool, Parameter(name="--example", negative="")] = False,
    language: Literal["fr", "en"] = "en",
    dry_run: Annotated[bool, Parameter(name="--dry-run", negative="")] = False,
    organisation: str = "",
    oldest_days: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=3650))] = 31,
    budget_ms: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=3_600_000))] = 1000,
    json: Annotated[Path | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
) -> int:
    """Enter what was written by hand on the sheet: each act with its own time and author, as an operation like any.

    The form is TOML: `replica resume-paper --example > FORM.toml` is one to fill in. Everything is checked first, and a
    form that is wrong anywhere enters nothing; each wrong place is named with its line. The same form again does
    nothing twice, and a corrected one enters what is new in it. A change that is older than what holds by now is
    entered as a note beside it. Exit code 1: something was not entered, or its verdict is "refused".

    Parameters
    ----------
    form:
        The form; - is standard input.
    example:
        Print a form to fill in, and do nothing.
    language:
        Of the example. A form may be written in either.
    dry_run:
        Check everything and show what would be entered.
    organisation:
        Whose case numbers the short ones are, where the form does not say; by default the site's own.
    oldest_days:
        An act further back than that is taken for a wrong date.
    budget_ms:
        How long to wait for each act's verdict before "journalled" is the answer.
    json:
        Write the whole answer there as JSON (- for stdout).
    """
    if example:
        sys.stdout.write(EXAMPLES[language])
        return 0
    if form is None:
        raise ConfigError("FORM", "is missing; `replica resume-paper --example` prints one to fill in")
    data = _bytes_of(form)
    entered = trio.run(_enter, at, data, organisation, oldest_days, budget_ms, dry_run)
    tables.write(json, _table(entered), [_values(one) for one in entered])
    return 0 if all(one.is_done for one in entered) else 1


def _bytes_of(form: Path) -> bytes:
    if str(form) == "-":
        return sys.stdin.buffer.read()
    try:
        return form.read_bytes()
    except OSError as problem:
        raise ConfigError(str(form), f"cannot be read: {problem.strerror}") from problem


async def _enter(
    at: str, data: bytes, organisation: str, oldest_days: int, budget_ms: int, dry_run: bool
) -> list[Entered]:
    async with open_client(at) as client:
        return await enter(client, data, organisation, oldest_days, budget_ms, dry_run=dry_run)


async def enter(
    client: Client, data: bytes, organisation: str, oldest_days: int, budget_ms: int, *, dry_run: bool
) -> list[Entered]:
    """Check the form against the site, then enter it act by act, in order of act time.

    Raises InvalidMessage with every wrong place; nothing was entered then. An act that is refused does not stop those
    behind it; whatever else goes wrong does, since the next would fail as well: enter the same form again later.
    """
    status = await client.status()
    now_ms = int(status.get("wall_ms") or time.time_ns() // 1_000_000)
    own = organisation or (str(status["node"]) if status.get("role") == "site" else "")
    form = read_form(data, now_ms, now_ms - oldest_days * DAY_MS, own)
    known = await _look_up(client, form)
    form = replace(form, acts=tuple(known.completed(act) for act in form.acts))
    _check(form, known)
    planned = [one for act in form.acts for one in entries(act, known.later(act), form.organisation, form.language)]
    if dry_run:
        return [Entered(one, "would-be") for one in planned]
    return await _hand_in(client, form, planned, budget_ms)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the site shows of the cases and resources a form names; None of what it does not know."""

    cases: dict[str, dict[str, Any] | None]
    resources: dict[str, dict[str, Any] | None]

    def later(self, act: Act) -> str:
        return later_value(act, self.cases.get(act.case), self.resources.get(act.resource))

    def completed(self, act: Act) -> Act:
        """A status without a case is of the case that the resource serves."""
        resource = self.resources.get(act.resource)
        if act.what == "status" and not act.case and resource is not None:
            return replace(act, case=str(resource.get("serves", "")))
        return act


async def _look_up(client: Client, form: Form) -> _Known:
    opened = {act.case for act in form.acts if act.what == "new-case"}
    cases = {act.case for act in form.acts if act.case} - opened
    resources = {act.resource for act in form.acts if act.resource}
    return _Known(
        {case: await _shown(client, "case", case) for case in sorted(cases)},
        {resource: await _shown(client, "resource", resource) for resource in sorted(resources)},
    )


async def _shown(client: Client, kind: str, name: str) -> dict[str, Any] | None:
    """The case or resource; None where the site does not know it. What it cannot read it is not asked about."""
    try:
        answer = await (client.show_case(name) if kind == "case" else client.show_resource(name))
    except InvalidMessage:
        return None
    except ReplicaError:
        return {}
    found: dict[str, Any] = answer[kind]
    return found


def _check(form: Form, known: _Known) -> None:
    """Everything that a form alone cannot tell. Raises InvalidMessage with every wrong place."""
    places: list[Place] = []
    for act in form.acts:
        if act.case in known.cases and known.cases[act.case] is None:
            places.append(act.place("case", f"{act.case!r} is not known at this site: is it copied rightly?"))
        if act.resource in known.resources and known.resources[act.resource] is None:
            places.append(act.place("resource", f"{act.resource!r} is not known at this site: is it copied rightly?"))
        if act.what == "status" and not act.case:
            places.append(act.place("case", "is missing, and the resource serves none"))
        places += _message_problems(act, form)
    if places:
        raise InvalidMessage(tuple(places))


def _message_problems(act: Act, form: Form) -> Iterable[Place]:
    """What is wrong with the message that would open a case."""
    for one in entries(act, "", form.organisation, form.language):
        try:
            if one.message:
                read_message(one.message, default_sender=form.organisation)
        except InvalidMessage as wrong:
            yield from (act.place(place.path.rpartition(".")[2], place.problem) for place in wrong.places)


async def _hand_in(client: Client, form: Form, planned: Sequence[Entry], budget_ms: int) -> list[Entered]:
    entered: list[Entered] = []
    for at, one in enumerate(planned):
        try:
            entered.append(await _hand_in_one(client, form, one, budget_ms))
        except (InvalidMessage, NotPermitted) as refused:
            entered.append(Entered(one, "refused", problem=str(refused)))
        except ReplicaError as problem:
            rest = [Entered(each, "not-entered", problem=str(problem)) for each in planned[at:]]
            return entered + rest
    return entered


async def _hand_in_one(client: Client, form: Form, one: Entry, budget_ms: int) -> Entered:
    if one.command is not None:
        receipt = await client.submit(
            one.command, budget_ms, author=one.act.author, act_ms=one.act.act_ms, key=one.key
        )  # fmt: skip
    else:
        (receipt,) = await client.submit_message(
            one.message, budget_ms, sender=form.organisation, author=one.act.author, key=one.key
        )
    verdict = receipt.verdict
    return Entered(
        one,
        receipt.state,
        receipt.operation,
        receipt.index,
        "" if verdict is None else verdict.kind.value,
        "" if verdict is None else verdict.reason,
    )


def _what(one: Entry) -> str:
    """What was entered: an act, its note, or the note in place of an act that came too late."""
    if isinstance(one.command, AddNote) and one.act.what != "note":
        return f"{one.act.what} → note"
    return one.act.what


def _table(entered: Sequence[Entered]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("line", "time", "author", "act", "of", "value", "receipt", "index", "verdict", "because"):
        table.add_column(column, overflow="fold")
    for one in entered:
        act = one.entry.act
        table.add_row(
            str(act.line),
            act.time.strftime("%m-%d %H:%M%z"),
            Text(act.author),
            _what(one.entry),
            Text(act.resource or act.case),
            Text(act.value),
            Text(one.state, style="green" if one.is_done else "red"),
            str(one.index or ""),
            one.verdict,
            Text(one.problem),
        )
    return table


def _values(one: Entered) -> dict[str, Any]:
    """As scripts read it."""
    act = one.entry.act
    return {
        "line": act.line,
        "time": act.time.isoformat(),
        "author": act.author,
        "what": act.what,
        "entered_as": _what(one.entry),
        "case": act.case,
        "resource": act.resource,
        "value": act.value,
        "key": one.entry.key,
        "operation": one.operation,
        "state": one.state,
        "index": one.index,
        "verdict": one.verdict,
        "problem": one.problem,
    }
