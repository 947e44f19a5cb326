"""One night: zones and sites as processes, a desk at each site, and what the people there do, see and expect.

A `Samu` is a desk: what it hands in is in the ledger under a key of its own, so that it is looked for afterwards in
every store. What it reads comes with its freshness, from its own site.

Left out: how a night begins and ends (play.py), and what is said in messages (words.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from chaos.story import words
from chaos.story.expecting import Expectations
from replica.cases.commands import Command, RaiseLevel
from replica.cases.levels import FIRST_LEVEL
from replica.cases.operations import OperationId
from replica.cases.values import parse
from replica.demo.caller import Caller
from replica.demo.clash import note
from replica.demo.ledger import Held, Ledger
from replica.demo.looking import leader_of, status_of, until_equal, until_mode
from replica.demo.processes import Child, hold_port
from replica.demo.supervisor import CONFIG_FILE, LOG_FILE, Cluster, Node
from replica.runtime.client import Client
from replica.wire.client import Receipt

MODE_SECONDS: Final = 20.0
VERDICT_SECONDS: Final = 30.0
EQUAL_SECONDS: Final = 30.0
SOON_SECONDS: Final = 10.0
LEVEL_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.02
LEVEL_BUDGET_MS: Final = 5000
STOP_SECONDS: Final = 10.0
BESIDE: Final = "beside"
"""The role of a clone: it is no node of the plan."""
LEADER_SECONDS: Final = 10.0
AT_ONCE: Final = 200
"""Operations of one desk that are handed in together, where a story wants many."""


@dataclass(eq=False)
class Samu:
    """The desk of one site. `caller`: how it speaks to its site's process."""

    name: str
    caller: Caller
    night: Night

    # ------------------------------------------------------------------ what it does

    async def takes_call(self, case: str, priority: str, what: str) -> Held:
        """A call: the case is created here, and it is this Samu's."""
        return await self.hears(words.call(case, self.name, priority, what, words.now()), f"takes call {case}")

    async def hears(self, message: bytes, what: str) -> Held:
        """A hub message comes in."""
        return self.night.keep(self, await self.caller.message(message, self.night.key(), what, sender=self.name))

    async def does(self, command: Command, what: str, budget_ms: int = 250) -> Held:
        """What a person decides here."""
        return self.night.keep(self, await self.caller.command(command, self.night.key(), what, budget_ms=budget_ms))

    async def notes(self, case: str, text: str) -> Held:
        """A note on a case that is known here."""
        written = note(case, self.name, text)
        assert written.note is not None, "a note is a command"
        return self.night.keep(
            self, await self.caller.command(written.note, self.night.key(), "writes a note", text=text)
        )

    async def notes_many(self, case: str, texts: Sequence[str]) -> None:
        """Many notes, `AT_ONCE` at a time."""
        limit = trio.CapacityLimiter(AT_ONCE)

        async def one(text: str) -> None:
            async with limit:
                await self.notes(case, text)

        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(one, text)

    # ------------------------------------------------------------------ what it sees

    async def status(self) -> dict[str, Any]:
        """Empty where its site does not answer now."""
        return await status_of(self.caller)

    async def case(self, case: str) -> dict[str, Any]:
        """A case as its site shows it now; empty where it does not know it, or does not answer."""
        answer = await self.caller.read(lambda client: client.show_case(case))
        found: Any = {} if answer is None else answer["case"]
        return dict(found)

    async def resource(self, resource: str) -> dict[str, Any]:
        answer = await self.caller.read(lambda client: client.show_resource(resource))
        found: Any = {} if answer is None else answer["resource"]
        return dict(found)

    async def values(self, case: str, of: str, key: str = "") -> list[str]:
        """The values of a case's field, the one that holds first."""
        return values_in(await self.case(case), of, key)

    async def serves(self, resource: str) -> tuple[str, list[str]]:
        """(the case a resource serves, the cases of all engagements that are held)."""
        shown = await self.resource(resource)
        return str(shown.get("serves", "")), [parse(value).case for value in values_in(shown, "engagement")]

    async def charge(self, case: str) -> tuple[str, int]:
        """(who is in charge of a case, since which epoch)."""
        found = (await self.case(case)).get("charge", {})
        return str(found.get("holder", "")), int(found.get("epoch", 0))

    async def charges(self, samu: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """(who answers for all of a Samu's work, every change of that, oldest first)."""
        answer = await self.caller.read(lambda client: client.charges(samu))
        shown: Any = answer or {"charges": [{}], "changes": []}
        return dict(shown["charges"][0]), list(shown["changes"])

    async def stands(self, case: str) -> tuple[str, bool, list[str]]:
        """(a case's own status, whether it is open, the statuses that strangers propose)."""
        shown = await self.case(case)
        return str(shown.get("status", "")), bool(shown.get("open")), proposed_in(shown, "status")

    async def texts(self, case: str) -> list[str]:
        """The notes of a case, sorted."""
        return notes_in(await self.case(case))

    async def conflicts(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """What waits for a person: (subject's id, field, values)."""
        answer = await self.caller.read(lambda client: client.conflicts())
        found: Any = [] if answer is None else answer["conflicts"]
        return [(one["id"], one["field"], tuple(value["value"] for value in one["values"])) for one in found]

    async def reason(self, held: Held) -> str:
        """Why the one operation of `held` was refused where it was applied; empty where it was not."""
        await self.verdict(held)
        (receipt,) = held.receipts
        verdict = self.night.decided.get(receipt.operation, receipt).verdict
        return "" if verdict is None else verdict.reason

    async def verdict(self, held: Held) -> str:
        """The kind of the verdict on the one operation of `held`, waited for; what was said where there is none."""
        if not held.receipts:
            return f"no operation: {held.not_permitted or held.invalid}"
        (receipt,) = held.receipts
        known = self.night.decided.get(receipt.operation, receipt)
        if known.verdict is None:
            with trio.fail_after(VERDICT_SECONDS):
                known = self.night.decided[receipt.operation] = await self.caller.decided(receipt.operation)
        assert known.verdict is not None, f"{receipt.operation} is decided and has no verdict"
        return known.verdict.kind.value

    async def until(self, mode: str, within_s: float = MODE_SECONDS) -> float:
        """Wait until its site says that it is connected, cut-off or replaying. Raises NotAvailable."""
        return await until_mode(self.caller, mode, within_s)


@dataclass(eq=False)
class Night:
    """A cluster that stands, and all that is done to it and said at it."""

    cluster: Cluster
    callers: dict[str, Caller]
    ledger: Ledger
    expect: Expectations
    tell: Callable[[str], None]
    nursery: trio.Nursery
    decided: dict[str, Receipt] = field(default_factory=dict)
    showed: dict[str, object] = field(default_factory=dict)
    set_aside: dict[str, list[Path]] = field(default_factory=dict)
    """Site → its former disks: what its callers were told may stand there."""
    clones: dict[str, Path] = field(default_factory=dict)
    """Site → the store of a second process of it."""
    began: float = field(default_factory=trio.current_time)
    _keys: int = 0
    _asked: list[tuple[Samu, Held]] = field(default_factory=list)

    def say(self, what: str) -> None:
        """A sentence of the story, with its hour."""
        self.tell(f"{trio.current_time() - self.began:6.1f} s  {what}")

    def samu(self, name: str) -> Samu:
        return Samu(name, self.callers[name], self)

    @property
    def samus(self) -> list[Samu]:
        """Every desk there is by plan."""
        return [self.samu(node.name) for node in self.cluster.sites if node.name in self.callers]

    def key(self) -> str:
        """A key of the caller's own, never given twice."""
        self._keys += 1
        return f"story/{self._keys}"

    def keep(self, samu: Samu, held: Held) -> Held:
        """Remember who was told what."""
        self._asked.append((samu, held))
        return held

    async def everywhere(self, what: str, look: Callable[[Samu], Awaitable[object]], expected: object) -> None:
        """Expect that every Samu comes to see the same."""
        for samu in self.samus:
            await self.expect.becomes(f"{what}, at {samu.name}", partial(look, samu), expected, SOON_SECONDS)

    async def raise_level(self, wanted: int) -> None:
        """Raise the cluster's feature level, one step at a time, as an operator does: at a zone, and of no Samu's
        doing, so not in the ledger. Returns when every site knows. Raises TooSlowError."""
        zone = self.callers[self.cluster.zones[0].name]
        with trio.fail_after(LEVEL_SECONDS):
            for level in range(FIRST_LEVEL + 1, wanted + 1):
                raised = partial(_raised, level)
                # Refused until every zone has met every other one.
                while await zone.read(raised) is None:  # noqa: ASYNC110 - asked as an operator asks
                    await trio.sleep(LOOK_SECONDS)
            for samu in self.samus:
                while (await samu.status()).get("feature_level") != wanted:  # noqa: ASYNC110 - asked as a caller asks
                    await trio.sleep(LOOK_SECONDS)

    # ------------------------------------------------------------------ what befalls it

    async def cuts(self, samu: Samu, silently: bool = True) -> float:
        """Cut every line of its site and wait until it has noticed: how many ms that took."""
        cut = self.cluster.cut(samu.name, silently=silently)
        return (await samu.until("cut-off") - cut) * 1000

    async def heals(self, samu: Samu) -> None:
        """Its lines are whole again; wait until it is connected."""
        self.cluster.heal(samu.name)
        await samu.until("connected")

    async def leader(self) -> str:
        return await leader_of([self.callers[zone.name] for zone in self.cluster.zones], LEADER_SECONDS)

    async def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        await self.cluster.kill(name)

    async def start(self, name: str) -> None:
        """Start it again, and wait until its caller speaks to it."""
        await self.cluster.start(name)
        with trio.fail_after(MODE_SECONDS):
            while not await status_of(self.callers[name]):  # noqa: ASYNC110 - asked as a caller asks
                await trio.sleep(0.01)

    def copy_store(self, name: str, to: str) -> Path:
        """A copy of the folder of a node that does not run: a backup, or a spare machine's disk."""
        node = self.cluster.nodes[name]
        assert not node.child.alive, f"{name} runs: its store cannot be copied"
        return Path(shutil.copytree(node.data, self.cluster.plan.folder / to))

    def empty_store(self, name: str, aside: str) -> None:
        """A new disk: nothing but the configuration. What was on the old one is set aside, to be read at the end."""
        self.set_aside.setdefault(name, []).append(self.copy_store(name, aside))
        for path in self.cluster.nodes[name].data.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (CONFIG_FILE, LOG_FILE):
                path.unlink()

    def restore_store(self, name: str, backup: Path, aside: str) -> None:
        """Put a backup in place of the store of a node that does not run."""
        self.empty_store(name, aside)
        ignore = shutil.ignore_patterns(CONFIG_FILE, LOG_FILE)
        shutil.copytree(backup, self.cluster.nodes[name].data, dirs_exist_ok=True, ignore=ignore)

    async def beside(self, samu: Samu, folder: Path) -> Samu:
        """A second process on a copy of its site's store, with a door of its own and lines that nobody has cut."""
        held = hold_port()
        host, port = held.getsockname()
        name, file = f"{samu.name} beside", folder / CONFIG_FILE
        config = file.read_text(encoding="utf-8")
        config = config.replace(self.cluster.nodes[samu.name].address, f"{host}:{port}")
        for (_, zone), line in self.cluster.lines.items():
            config = config.replace(line.address, self.cluster.nodes[zone].address)
        file.write_text(config, encoding="utf-8")
        child = Child(name, (*self.cluster.plan.program, "site", str(file)), folder / LOG_FILE)
        self.cluster.nodes[name] = Node(name, BESIDE, f"{host}:{port}", folder, child, held)
        self.clones[samu.name] = folder
        await child.start(MODE_SECONDS)
        self.callers[name] = Caller(samu.name, f"{host}:{port}", self.ledger)
        self.nursery.start_soon(self.callers[name].keep_connected)
        await self.callers[name].client()
        return Samu(samu.name, self.callers[name], self)

    def logged(self, name: str, event: str) -> list[dict[str, Any]]:
        """The lines of a node's log about one kind of event, oldest first."""
        lines = (self.cluster.nodes[name].data / LOG_FILE).read_bytes().splitlines()
        found = (msgspec.json.decode(line, type=dict[str, Any]) for line in lines if line.startswith(b"{"))
        return [line for line in found if line.get("event") == event]

    # ------------------------------------------------------------------ how it ends

    async def settle(self) -> None:
        """Every line whole, every node up, every operation decided, every node equal. Raises what stands against it."""
        self.cluster.heal()
        for node in (*self.cluster.zones, *self.cluster.sites):
            if not node.child.alive:
                await self.start(node.name)
        with trio.fail_after(VERDICT_SECONDS):
            async with trio.open_nursery() as nursery:
                limit = trio.CapacityLimiter(AT_ONCE)
                for samu, held in self._asked:
                    for receipt in held.receipts:
                        if receipt.verdict is None and receipt.operation not in self.decided:
                            nursery.start_soon(self._decide, samu, receipt.operation, limit)
        beside = [self.callers[name] for name, node in self.cluster.nodes.items() if node.role == BESIDE]
        nodes = [caller for caller in self.callers.values() if caller not in beside]
        for some in (nodes, *([nodes[0], clone] for clone in beside)):  # a clone has its site's name
            await until_equal(some, EQUAL_SECONDS)

    async def stop(self) -> dict[str, int]:
        """Stop every process: name → exit code."""
        codes = {}
        for node in self.cluster.nodes.values():
            if node.role == BESIDE:
                codes[node.name] = await node.child.stop(STOP_SECONDS)
                node.held.close()
        return codes | await self.cluster.stop_all()

    async def _decide(self, samu: Samu, operation: str, limit: trio.CapacityLimiter) -> None:
        async with limit:
            self.decided[operation] = await samu.caller.decided(operation)


async def _raised(level: int, client: Client) -> dict[str, object]:
    receipt = await client.submit(RaiseLevel(level), LEVEL_BUDGET_MS)
    return {"state": receipt.state}


def field_in(shown: dict[str, Any], of: str, key: str = "") -> dict[str, Any]:
    """One field of a case or resource as it is shown; empty where nothing was said of it."""
    every: tuple[dict[str, Any], ...] = (*shown.get("fields", ()), *shown.get("statuses", ()))
    return next((one for one in every if one["field"] == of and key in ("", one.get("key", ""))), {})


def values_in(shown: dict[str, Any], of: str, key: str = "") -> list[str]:
    """The values of one field, the one that holds first."""
    return [value["value"] for value in field_in(shown, of, key).get("values", ())]


def proposed_in(shown: dict[str, Any], of: str) -> list[str]:
    """What strangers propose for a field."""
    return [value["value"] for value in field_in(shown, of).get("proposed", ())]


def notes_in(case: dict[str, Any]) -> list[str]:
    """The texts of its notes, sorted; each as often as it is there."""
    values = (one["value"]["value"] for one in case.get("elements", ()) if one["field"] == "medical_note")
    return sorted(freetext(value) for value in values)


def freetext(value: str) -> str:
    """The text of a note as it is kept."""
    return str(msgspec.json.decode(value, type=dict[str, Any])["freetext"])


def number_of(held: Held) -> tuple[str, bytes, int]:
    """Site, life and number of the one operation of `held`."""
    (receipt,) = held.receipts
    ident = OperationId.parse(receipt.operation)
    return ident.site, ident.incarnation, ident.seq
