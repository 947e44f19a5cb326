"""Who votes, changed from the command line: ask, be sent on to the leading zone, and watch until it is done.

    asked of any zone     →  it leads: taken, or refused in words
                          →  it does not: {"redirect": the leading zone}; asked there
    then, every so often  →  who votes now? until the change is committed, or the budget is spent

A change that was taken goes on whether anybody watches or not, under this leader or the next. So past the budget the
answer is not a failure but how far it is.

Leaves out: what is right to ask for; docs/operating.md says that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import trio
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from replica.admin import show
from replica.errors import ConfigError, NotAvailable
from replica.runtime.client import Client, open_client
from replica.wire.client import NewZone

MOST_REDIRECTS = 8
RETRY_S = 0.3
LOOK_S = 0.2
HERE = frozenset({"voter", "learner", "joining", "leaving"})


def new_zone(text: str) -> NewZone:
    """`NUMBER:NAME@HOST:PORT`, with `/PRIORITY` at the end where it has one. Raises ConfigError."""
    head, at, address = text.partition("@")
    number, colon, name = head.partition(":")
    address, slash, priority = address.partition("/")
    try:
        if not (at and colon and name and ":" in address):
            raise ValueError(text)
        return NewZone(int(number), name, address, int(priority) if slash else 0)
    except ValueError:
        raise ConfigError("ZONE", f"{text!r} is not NUMBER:NAME@HOST:PORT[/PRIORITY]") from None


async def at_leader(at: str, ask: Callable[[Client], Awaitable[dict[str, Any]]], budget_s: float) -> dict[str, Any]:
    """The leading zone's answer, wherever asking begins. Raises what it refuses with; NotAvailable past the budget."""
    address, problem = at, NotAvailable(f"no zone leads as far as {at} knows")
    with trio.move_on_after(budget_s):
        for _ in range(MOST_REDIRECTS):
            try:
                async with open_client(address) as client:
                    answer = await ask(client)
            except NotAvailable as raised:
                problem, address = raised, at
                await trio.sleep(RETRY_S)
                continue
            if "redirect" not in answer:
                return answer
            address = str(answer["redirect"]["address"])
    raise problem


async def look(at: str) -> dict[str, Any]:
    """The membership as the leading zone knows it, or where none is in reach as the zone at `at` does."""
    async with open_client(at) as client:
        answer = await client.members()
    if answer["leader"] and answer["leader"] != answer["asked"]:
        try:
            async with open_client(str(answer["leader_address"])) as client:
                return await client.members()
        except NotAvailable:
            return answer
    return answer


async def until_settled(
    at: str, done: Callable[[dict[str, str]], bool], budget_s: float, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Watch until `done` says so of the roles by name and all of it is committed: the last membership seen.

    Zones come and go meanwhile: when the one that is asked is gone, any of those it named is asked.
    """
    addresses, said, seen = [at], "", None
    with trio.move_on_after(budget_s):
        while True:
            try:
                seen = await look(addresses[0])
                there = [str(zone["address"]) for zone in seen["zones"] if zone["role"] in HERE]
                addresses = there or addresses
                if seen["settled"] and done({str(zone["name"]): str(zone["role"]) for zone in seen["zones"]}):
                    return seen
                if (progress := _progress(seen)) != said:
                    said = progress
                    tell(progress)
            except NotAvailable:
                addresses = [*addresses[1:], addresses[0]]
            await trio.sleep(LOOK_S)
    if seen is None:
        raise NotAvailable(f"the change was taken, but no zone has answered since within {budget_s:g} s")
    return seen | {"pending": True}


def _progress(seen: dict[str, Any]) -> str:
    moving = [zone for zone in seen["zones"] if zone["role"] in ("joining", "leaving", "learner")]
    return ", ".join(f"{zone['name']} {zone['role']}{_how_far(zone, seen)}" for zone in moving) or "committing"


def _how_far(zone: dict[str, Any], seen: dict[str, Any]) -> str:
    if "waits" in zone:
        return f" (waits to be upgraded: {zone['waits']})"
    if "match_index" not in zone:
        return ""
    words = [f"{zone['match_index']} of {seen['commit_index']}"]
    if zone["role"] == "joining":
        words += [word for word, yes in (("keeps up", zone.get("quick")), ("same", zone.get("same"))) if yes]
    return f" ({', '.join(words)})"


def table(seen: dict[str, Any]) -> RenderableType:
    """A line a zone; below it the generation, and how it came to be the present one."""
    return Group(_zones(seen), *_waiting(seen), *_generations(seen))


def _waiting(seen: dict[str, Any]) -> Iterator[Text]:
    """Why a zone does not get its vote, where it is not only a matter of time."""
    for zone in seen["zones"]:
        if "waits" in zone:
            yield Text(f"{zone['name']} gets no vote before it is upgraded: {zone['waits']}", style="yellow")


def _generations(seen: dict[str, Any]) -> Iterator[Text]:
    """What happened on the day when a quorum was gone for good is nothing to be looked for in a log."""
    yield Text(f"generation {seen['generation']}")
    for founding in seen.get("foundings", ()):
        when = show.moment(founding["at_ms"])
        yield Text(
            f"generation {founding['generation']} was founded {when} UTC by {founding['by']} out of {founding['zone']}",
            style="yellow",
        )


def _zones(seen: dict[str, Any]) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("number", "zone", "role", "leads", "address", "priority", "holds", "answered"):
        shown.add_column(column, overflow="fold")
    for zone in seen["zones"]:
        shown.add_row(
            str(zone["number"]),
            zone["name"],
            Text(zone["role"], style="green" if zone["role"] == "voter" else "yellow"),
            "leads" if zone["leads"] else "",
            zone["address"],
            str(zone["priority"]),
            str(zone.get("match_index", "")),
            f"{zone['silent_ms']} ms ago" if "silent_ms" in zone else "",
        )
    return shown
