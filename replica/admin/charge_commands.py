"""`replica authority`, `charges`, `takeover`, `handback`: who may decide what, and who answers for whose work."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from replica.admin import show
from replica.admin.reach import DEFAULT_AT, At, Json, ask, seconds
from replica.cases.authority import TABLE, Place
from replica.cases.commands import AskHandBack, Command, HandBack, TakeOver
from replica.errors import ConfigError, NotAvailable, NotPermitted
from replica.runtime.bell import wall_ms
from replica.runtime.client import Client, open_client
from replica.wire.client import Receipt

BUDGET_MS = 5000
Reason = Annotated[str, Parameter(name="--reason", help="why: it is kept, and shown to whoever comes back")]
Case = Annotated[tuple[str, ...], Parameter(name="--case", help="only this case (more than once: these)", negative="")]
By = Annotated[str, Parameter(name="--author", help="who does this; by default the user of this command")]


def authority(*, json: Json = None) -> None:
    """Who may do what: each command, where the charge of its subject lies, connected and cut off.

    allowed: it holds at once. a note: it goes in, and whoever is in charge decides. refused: the others have to be
    asked, so cut off it is refused at once, and nothing is journalled.
    """
    columns = [(place, line) for place in Place for line in (True, False)]
    rows = {
        command: {f"{place.value}, {_line(line)}": row[(place, line)].value for place, line in columns}
        for command, row in TABLE.items()
    }
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("command", *(f"{place.value}, {_line(line)}" for place, line in columns)):
        table.add_column(title)
    styles = {"allowed": "green", "allowed as a note": "yellow", "refused: needs the others": "red"}
    words = {"allowed": "allowed", "allowed as a note": "a note", "refused: needs the others": "refused"}
    for command, row in rows.items():
        table.add_row(command, *(Text(words[kind], style=styles[kind]) for kind in row.values()))
    show.write(json, table, rows)


def _line(connected: bool) -> str:
    return "connected" if connected else "cut off"


def charges(samu: str = "", *, at: At = DEFAULT_AT, json: Json = None) -> None:
    """Who answers for whose work: of every Samu whose charge ever changed, or of one with all its changes.

    Parameters
    ----------
    samu:
        One Samu, by any of its names.
    """
    answer = ask(at, lambda client: client.charges(samu))
    show.write(json, _charges(answer), answer)


def _charges(answer: dict[str, Any]) -> RenderableType:
    now = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("samu", "in charge", "epoch", "since", "by whom", "why", "ends", ""):
        now.add_column(title)
    for one in answer["charges"]:
        now.add_row(*_charge(one), _asked(one))
        for taken in one.get("take_overs", ()):
            if taken.get("cases"):
                ends = show.moment(taken["until_ms"]) if taken.get("until_ms") else ""
                now.add_row(f"  {' '.join(taken['cases'])}", taken["holder"], str(taken["epoch"]), "", "", "", ends, "")
    if not answer["charges"]:
        return Group(show.freshness(answer["freshness"]), Text("every Samu answers for its own work, and always did"))
    changes = [_changes(answer["changes"])] if answer["changes"] else []
    return Group(show.freshness(answer["freshness"]), now, *changes)


def _charge(one: dict[str, Any]) -> list[str]:
    whole: dict[str, Any] = next((taken for taken in one.get("take_overs", ()) if not taken.get("cases")), {})
    return [
        one["samu"],
        one["holder"],
        str(one["epoch"]),
        show.moment(one["since_ms"]) if one.get("since_ms") else "",
        one.get("author", ""),
        one.get("reason", "") + (" (forced)" if whole.get("forced") else ""),
        show.moment(whole["until_ms"]) if whole.get("until_ms") else "",
    ]


def _asked(one: dict[str, Any]) -> str:
    asked = one.get("asked")
    return f"asked for it: {asked['reason']}" if asked and one["holder"] != one["samu"] else ""


def _changes(changes: list[dict[str, Any]]) -> Table:
    table = Table(title="changes", title_justify="left", box=None, header_style="dim", pad_edge=False)
    for title in ("when", "epoch", "from", "to", "cases", "by whom", "why", "index"):
        table.add_column(title)
    for one in changes:
        cases = " ".join(one["cases"]) or "all"
        table.add_row(
            show.moment(one["agreed_ms"]),
            str(one["epoch"]),
            one["before"],
            one["holder"],
            cases,
            one["author"],
            one["reason"],
            str(one["index"]),
        )
    return table


def takeover(
    samu: str,
    *,
    by: str,
    reason: Reason,
    case: Case = (),
    force: Annotated[bool, Parameter(name="--force", negative="")] = False,
    lasting: Annotated[str, Parameter(name="--for")] = "",
    automatic: Annotated[bool, Parameter(name="--automatic", negative="")] = False,
    author: By = "",
    at: At = DEFAULT_AT,
    json: Json = None,
) -> None:
    """Answer for another Samu's work, agreed by a quorum: what it does from now on counts as a stranger's report.

    Refused while whoever is in charge is heard by any zone, unless forced. Nothing of theirs is lost either way; they
    are told the moment they are heard again, and their work goes home by `replica handback`, when they have handed in
    all that they did.

    Parameters
    ----------
    samu:
        Whose work.
    by:
        Who answers for it from now on.
    force:
        Though they are heard. The reason is kept.
    lasting:
        End by itself after this time: 90s, 10m, 4h, 2d.
    automatic:
        Hand back without anybody, as soon as they ask for it; a site that is back asks by itself.
    """
    until_ms = wall_ms() + seconds(lasting, "--for") * 1000 if lasting else 0
    name = author or getpass.getuser()

    async def take(client: Client) -> Receipt:
        epoch = (await client.charges(samu))["charges"][0]["epoch"]
        command = TakeOver(samu, by, epoch, reason, case, force, until_ms, automatic)
        return await client.submit(command, BUDGET_MS, author=name)

    _done(ask(at, take), json)


def handback(
    samu: str,
    *,
    reason: Reason,
    case: Case = (),
    ask_for: Annotated[bool, Parameter(name="--ask", negative="")] = False,
    wait: Annotated[str, Parameter(name="--wait")] = "",
    now: Annotated[bool, Parameter(name="--now", negative="")] = False,
    author: By = "",
    at: At = DEFAULT_AT,
    json: Json = None,
) -> None:
    """Give another Samu's work back to it: at the site that answers for it (--at).

    Refused until that Samu has asked for it, which it does when it is back and has handed in all it did; a site asks by
    itself.

    Parameters
    ----------
    ask_for:
        Ask for one's own work, at the site whose work was taken over.
    wait:
        Until it was asked for, this long at most: 90s, 10m, 4h.
    now:
        Without waiting for it: what they did and have not handed in will count as a stranger's.
    """
    name = author or getpass.getuser()
    command: Command = AskHandBack(samu, reason) if ask_for else HandBack(samu, reason, case, now)
    wait_s = seconds(wait, "--wait") if wait else 0
    if wait_s and (ask_for or now):
        raise ConfigError("--wait", "is for a hand-back that waits until it was asked for")
    _done(trio.run(_hand_back, at, samu, command, name, wait_s), json)


async def _hand_back(at: str, samu: str, command: Command, author: str, wait_s: int) -> Receipt:
    with trio.move_on_after(wait_s or float("inf")) as patience:
        async with open_client(at) as client:
            while wait_s:
                (state,) = (await client.charges(samu))["charges"]
                if all(one.get("asked") for one in state.get("take_overs", ({},))):
                    break
                await trio.sleep(0.5)
            return await client.submit(command, BUDGET_MS, author=author)
    assert patience.cancelled_caught, "neither answered nor out of patience"
    raise NotAvailable(f"{samu} has not asked for its work within {wait_s} s; it is still taken over")


def _done(receipt: Receipt, json: Path | None) -> None:
    """Print what became of it; a refusal is an error, so that a script sees it."""
    verdict = receipt.verdict
    if verdict is not None and verdict.kind.value == "refused":
        raise NotPermitted(verdict.reason)
    show.write(json, show.receipts([receipt]), show.receipt_values([receipt]))
