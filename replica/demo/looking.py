"""What can be seen of a running cluster through its nodes' own doors: who leads, who is connected, who agrees.

Nothing here decides whether a run was good: that is read from the stores on disk when all processes are gone
(audit.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import trio

from replica.demo.caller import Caller
from replica.errors import NotAvailable

LOOK_SECONDS: Final = 0.02


async def status_of(caller: Caller) -> dict[str, Any]:
    """The node's status, or an empty one where it does not answer now."""
    return await caller.read(lambda client: client.status()) or {}


async def leader_of(zones: Iterable[Caller], within_s: float) -> str:
    """The name of the leading zone: of those that say they lead, the one of the latest term.

    Raises NotAvailable where none says so in time.
    """
    with trio.move_on_after(within_s):
        while True:
            found: list[tuple[int, str]] = []
            for zone in zones:
                raft = (await status_of(zone)).get("raft", {})
                if raft.get("role") == "leader":
                    found.append((int(raft["term"]), zone.name))
            if found:
                return max(found)[1]
            await trio.sleep(LOOK_SECONDS)
    raise NotAvailable(f"no zone leads after {within_s:g} s")


async def until_level(zones: Iterable[Caller], within_s: float) -> float:
    """Wait until every zone follows one leader and has applied all that any had at the beginning, so that the quorum
    can spare one again: `trio.current_time()` then. Raises NotAvailable past `within_s`."""
    zones = list(zones)
    target = max([(await status_of(zone)).get("applied_index", 0) for zone in zones], default=0)
    with trio.move_on_after(within_s):
        while True:
            seen = [await status_of(zone) for zone in zones]
            leaders = {(one.get("raft", {}).get("leader", 0), one.get("raft", {}).get("term", 0)) for one in seen}
            if len(leaders) == 1 and max(leaders)[0] and all(one["applied_index"] >= target for one in seen):
                return trio.current_time()
            await trio.sleep(LOOK_SECONDS)
    raise NotAvailable(f"the zones are not level after {within_s:g} s: {[one.get('raft') for one in seen]}")


async def until_mode(site: Caller, mode: str, within_s: float) -> float:
    """Wait until a site says it is in this mode: `trio.current_time()` then. Raises NotAvailable past `within_s`."""
    last: object = None
    with trio.move_on_after(within_s):
        while True:
            last = (await status_of(site)).get("mode")
            if last == mode:
                return trio.current_time()
            await trio.sleep(LOOK_SECONDS)
    raise NotAvailable(f"{site.name} is not {mode} after {within_s:g} s, but {last or 'silent'}")


async def elections_seen(zones: Iterable[Caller]) -> int:
    """The most leaders that any zone alive has seen since it was started."""
    seen = [(await status_of(zone)).get("raft", {}).get("elections_seen", 0) for zone in zones]
    return max(seen, default=0)


async def until_equal(nodes: Iterable[Caller], within_s: float) -> float:
    """Wait until all nodes answer with one digest and nothing is undecided: `trio.current_time()` then.

    Raises NotAvailable past `within_s`, with what each said last.
    """
    nodes = list(nodes)
    last: dict[str, str] = {}
    with trio.move_on_after(within_s):
        while True:
            for node in nodes:
                last[node.name] = await _position(node)
            if len(set(last.values())) == 1 and "" not in last.values():
                return trio.current_time()
            await trio.sleep(LOOK_SECONDS)
    said = "; ".join(f"{name}: {position or 'no answer, or undecided'}" for name, position in last.items())
    raise NotAvailable(f"the nodes are not equal after {within_s:g} s: {said}")


async def _position(node: Caller) -> str:
    """Its digest as text; empty where it does not answer, or still has operations without a verdict."""
    digest = await node.read(lambda client: client.digest())
    undecided = (await status_of(node)).get("undecided", 0)
    return "" if digest is None or undecided else f"{digest['index']} {digest['digest']}"
