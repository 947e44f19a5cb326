"""`replica drill cut` and `replica drill takeover`: practise on live traffic, and be back in an instant."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import cyclopts
import trio
from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.table import Table

from replica.admin import show
from replica.admin.reach import DEFAULT_AT, At, Json, seconds
from replica.cases.commands import TakeOver
from replica.errors import NotPermitted
from replica.runtime.bell import wall_ms
from replica.runtime.client import Client, open_client

LOOK_S = 1.0
BUDGET_MS = 5000
For = Annotated[str, Parameter(name="--for", help="how long: 90s, 10m, 1h; Ctrl-C ends it at once")]
Reason = Annotated[str, Parameter(name="--reason", help="what for; shown in every status meanwhile")]

drill = cyclopts.App(name="drill", help="Practise a cut or a take-over on live traffic: nobody pulls a cable.")


@drill.command(name="cut")
def cut(*, lasting: For, reason: Reason = "drill", at: At = DEFAULT_AT, json: Json = None) -> None:
    """Let a site (--at) behave as cut off: it journals, decides what it may decide alone, and refuses the rest.

    What the feed brings is kept at hand, so the end is an instant. It ends by itself after its time, though this
    command be gone. The report: what would have been refused, delayed and conflicted, and how long the replay took.
    """
    report = trio.run(_cut, at, seconds(lasting, "--for"), reason)
    show.write(json, _report(report), report)


async def _cut(at: str, for_s: int, reason: str) -> dict[str, Any]:
    console = Console(stderr=True)
    async with open_client(at) as client:
        await client.drill(for_s * 1000, author=getpass.getuser(), reason=reason)
        try:
            await _watch(client, console)
        except KeyboardInterrupt:
            console.print("ended by hand", highlight=False)
        return await client.drill(0)


async def _watch(client: Client, console: Console) -> None:
    while (standing := (await client.status())["drill"]) is not None:
        told = f"{standing['left_s']:>6} s left, {standing['journalled']} journalled, {standing['refused']} refused"
        console.print(f"{told}, {standing['held_entries']} entries of the feed held back", highlight=False)
        await trio.sleep(LOOK_S)


def _report(report: dict[str, Any]) -> RenderableType:
    table = Table(box=None, header_style="dim", pad_edge=False, show_header=False)
    table.add_row("lasted", f"{report['lasted_ms'] / 1000:.1f} s ({report['why_ended']})")
    table.add_row("delayed", f"{report['delayed']} acts had a receipt from the journal alone")
    for name, count in sorted(report["refused"].items()):
        table.add_row("refused", f"{count} x {name}: {report['why_refused'].get(name, '')}")
    for kind, count in sorted(report["verdicts"].items()):
        table.add_row("decided", f"{count} {kind}")
    table.add_row("replay", f"{report['replay_ms']} ms until the last verdict")
    return table


@drill.command(name="takeover")
def takeover(
    samu: str, *, by: str, lasting: For, reason: Reason = "drill", at: At = DEFAULT_AT, json: Json = None
) -> None:
    """Let another Samu answer for one's work, for so long: agreed, on record as a drill, and ending by itself.

    Parameters
    ----------
    samu:
        Whose work.
    by:
        Who answers for it meanwhile.
    """
    answer = trio.run(_take_over, at, samu, by, seconds(lasting, "--for"), f"drill: {reason}")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("epoch", "from", "to", "why"):
        table.add_column(title)
    for one in answer["changes"]:
        table.add_row(str(one["epoch"]), one["before"], one["holder"], one["reason"])
    show.write(json, table, answer)


async def _take_over(at: str, samu: str, by: str, for_s: int, reason: str) -> dict[str, Any]:
    console = Console(stderr=True)
    async with open_client(at) as client:
        before = (await client.charges(samu))["charges"][0]["epoch"]
        command = TakeOver(samu, by, before, reason, (), True, wall_ms() + for_s * 1000, False)
        receipt = await client.submit(command, BUDGET_MS, author=getpass.getuser())
        if receipt.verdict is not None and receipt.verdict.kind.value == "refused":
            raise NotPermitted(receipt.verdict.reason)
        while True:
            answer = await client.charges(samu)
            state = answer["charges"][0]
            if state["epoch"] > before + 1:
                return {"samu": samu, "changes": [one for one in answer["changes"] if one["epoch"] > before]}
            console.print(f"{state['holder']} answers for {samu}, epoch {state['epoch']}", highlight=False)
            await trio.sleep(LOOK_S)
