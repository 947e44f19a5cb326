"""What a node does for those who ask it, whether they stand in its own process or come in through its door.

Reads are from the local copy and say how old it is; nothing is read without its freshness. Writes go over the desk.

How much a read asks for (`hold`):

* `local`: what this node knows now, its own undecided operations on top.
* `session`: the same, but never older than what the asker has seen before (`after_index`, from its earlier answers and
  receipts, at whichever node it was given them), and so always its own writes.
* `linearizable`: the agreed state with everything that was agreed anywhere before the question was asked; the leader
  confirms it with a quorum (dissertation 6.4). Nothing tentative is in it. Cut off from the quorum there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import trio
from msgspec import Struct

from replica.cases import queries
from replica.cases.charge_reading import ChargeStateView, charge_state, charge_states
from replica.cases.commands import Payload, Report
from replica.cases.operations import OperationId
from replica.cases.records import Records
from replica.cases.remembered import Remembered
from replica.cases.verdicts import Decided, Effects, Verdict
from replica.cases.views import ChargeChangeView
from replica.errors import InvalidMessage, NotAvailable, Place, StoreDamaged
from replica.hubsante.decode import read
from replica.hubsante.speakers import speakers, with_sender
from replica.offline import events
from replica.offline.freshness import Freshness
from replica.runtime.acts import Acts, Asked, Verdicts, verdicts
from replica.runtime.bell import now_ms, wall_ms
from replica.runtime.desk import Desk
from replica.runtime.together import Together

DEFAULT_BUDGET_MS = 250
REMEMBERED = 10_000
"""Entries and operations whose effects a node remembers for those who follow changes."""


class Handed(Struct, frozen=True):
    """One operation handed in: what is known of it, and the receipt's word (`agreed` or `journalled`)."""

    operation: OperationId
    state: str
    index: int
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the agreed log, as those who follow it see it: the verdicts it brought, and the subjects it changed,
    each as (kind, id), kind being "case", "resource" or "request". `conflicts`: those it opened or left open with other
    values, as (kind, id, field, key): what waits for a person now.

    Without a verdict and with `time_ms` 0: these subjects are shown ahead of all the rest from now on, as they will be
    agreed further on (a site that was far away is back); `index` is still that of the entry before."""

    index: int
    time_ms: int
    decided: tuple[Decided, ...]
    subjects: tuple[tuple[str, str], ...]
    conflicts: tuple[tuple[str, str, str, str], ...] = ()


class Changes:
    """An endless iterator over what is agreed. Nothing needs closing: who stops asking has stopped."""

    def __init__(self, service: Service, after: int) -> None:
        self._service = service
        self.index = after
        """The last entry handed out: where to go on from another time."""
        self._previews = service.previews

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        """The next entry's changes. Raises NotAvailable where they are not remembered any more."""
        await trio.lowlevel.checkpoint()
        while self._previews == self._service.previews:
            effects = self._service.effects_after(self.index)
            if effects is not None:
                self.index = effects.index
                return self._service.change(effects)
            await self._service.until_moved()
        self._previews = self._service.previews
        return Change(self.index, 0, (), self._service.previewed_subjects)


class Service:
    """One node's desk and copy, asked for by name."""

    def __init__(
        self,
        desk: Desk,
        records: Callable[[], Records],
        position: Callable[[], tuple[int, int]],
        confirm: Callable[[], Awaitable[int]],
        check: Callable[[Payload], None],
        agreed: Callable[[], Records] | None = None,
        acts: Acts | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        self._ready = ready
        self._views = remembered
        self._acts = acts
        self._desk = desk
        self._records = records
        self._agreed = agreed or records
        self._position = position
        self._confirm = Together(confirm)
        self._check = check
        self._moved = trio.Event()
        self._recent: deque[Effects] = deque()
        self._remembered = 0
        self.previews = 0
        """How many previews were put in place."""
        self.previewed_subjects: tuple[tuple[str, str], ...] = ()

    # ------------------------------------------------------------------ writing

    async def submit(
        self,
        payload: Payload,
        *,
        author: str = "",
        budget_ms: int = DEFAULT_BUDGET_MS,
        act_ms: int = 0,
        key: str = "",
    ) -> Handed:
        """Hand one operation in. Raises as `Desk.submit`."""
        self._check(payload)
        receipt = await self._desk.submit(payload, author=author, budget_ms=budget_ms, act_ms=act_ms, key=key)
        if isinstance(receipt, events.Agreed):
            return Handed(receipt.operation, "agreed", receipt.index, receipt.verdict)
        return Handed(receipt.operation, "journalled", 0, None)

    async def submit_message(
        self, data: bytes, *, sender: str = "", author: str = "", budget_ms: int = DEFAULT_BUDGET_MS, key: str = ""
    ) -> list[Handed]:
        """Hand a hub message in: one operation for each content that touches the state, all of them at once.

        Raises InvalidMessage for a message that is wrong anywhere; nothing of it is applied then.
        """
        parsed = read(data, default_sender=sender or None)
        reports = [
            (self._spoken_for(content.outcome), content.act_ms)
            for content in parsed.contents
            if isinstance(content.outcome, Report)
        ]
        handed: list[Handed | None] = [None] * len(reports)

        async def one(at: int, report: Report, act_ms: int) -> None:
            own_key = f"{key}/{at}" if key and len(reports) > 1 else key
            handed[at] = await self.submit(
                report, author=author or report.sender, budget_ms=budget_ms, act_ms=act_ms, key=own_key
            )

        if len(reports) == 1:
            await one(0, *reports[0])
        else:
            async with trio.open_nursery() as nursery:
                for at, (report, act_ms) in enumerate(reports):
                    nursery.start_soon(one, at, report, act_ms)
        return [result for result in handed if result is not None]

    def _spoken_for(self, report: Report) -> Report:
        """A report that names no sender speaks for its case's present owner; else for whom its own content points
        to."""
        if report.sender:
            return report
        owners = [self._owner_of(subject.id) for subject in report.subjects if subject.kind == "case"]
        candidates = [*owners, *speakers(report)]
        return with_sender(report, next((name for name in candidates if name), ""))

    def _owner_of(self, case_id: str) -> str:
        """Empty also where the record that says so is damaged: a report is never refused for what this node lacks."""
        with suppress(StoreDamaged):
            return queries.owner_of(self._records(), case_id)
        return ""

    # ------------------------------------------------------------------ reading

    def freshness(self, owner: str | None = None, subject: tuple[str, str] | None = None) -> Freshness:
        """How much what is read here can be trusted now; of one `subject`, as (kind, id), where it is that alone."""
        return self._desk.core.freshness(now_ms(), owner, subject)

    async def hold(
        self,
        consistency: str = "local",
        after_index: int = 0,
        budget_ms: int = DEFAULT_BUDGET_MS,
        subject: tuple[str, str] | None = None,
    ) -> Records:
        """The records that a read of this consistency may be answered from, now: read them before anything else runs.
        `subject`: the only one that will be read of them, as (kind, id), where it is one.

        Raises NotAvailable where they cannot be had within `budget_ms` and Overloaded where too much waits: surely not
        read. InvalidMessage for another word.
        """
        at_s = trio.current_time() + budget_ms / 1000
        if consistency == "linearizable":
            confirmed = await self._confirm.until(at_s)
            if confirmed is None:
                raise self._too_late(budget_ms)
            await self._reach(max(confirmed, after_index), at_s, budget_ms)
            return self._agreed()
        await trio.lowlevel.checkpoint()
        if self._ready is not None:
            await self._ready()
        match consistency:
            case "local":
                return self._records()
            case "session":
                if self._desk.core.known_to(subject)[0] < after_index:
                    await self._reach(after_index, at_s, budget_ms)
                return self._records()
        raise InvalidMessage((Place("consistency", f"{consistency!r} is not local, session or linearizable"),))

    async def _reach(self, index: int, at_s: float, budget_ms: int) -> None:
        """Wait until what is here is as of `index`, or later."""
        if self._position()[0] < index:
            with trio.CancelScope(deadline=at_s):
                while self._position()[0] < index:
                    await self._moved.wait()
                return
            raise self._too_late(budget_ms)

    def _too_late(self, budget_ms: int) -> NotAvailable:
        return NotAvailable(f"not confirmed within {budget_ms} ms; what is known here is as of {self._position()[0]}")

    def case(self, case_id: str, held: Records | None = None) -> queries.CaseView | None:
        """A case as this node knows it, tentative values marked; None where it was never heard of."""
        records = self._of(held)
        if self._views is None:
            return queries.read_case(records, case_id, self._agreed_up_to)
        return self._views.case(case_id, records, self._agreed_up_to)

    def resource(self, resource_id: str, held: Records | None = None) -> queries.ResourceView | None:
        return queries.read_resource(self._of(held), resource_id, self._agreed_up_to)

    @property
    def _agreed_up_to(self) -> int:
        """What stands above is tentative. No agreed value that can be read stands higher, wherever it is read."""
        return max(self._position()[0], self._desk.core.agreed_up_to)

    def _of(self, held: Records | None) -> Records:
        return self._records() if held is None else held

    def cases(
        self,
        owner: str | None = None,
        open: bool | None = None,  # noqa: A002
        held: Records | None = None,
    ) -> Iterator[queries.CaseView]:
        """Cases, whole; of one owner, open or closed ones only, where asked."""
        records, index = self._of(held), self._agreed_up_to
        for case_id in queries.list_cases(records, owner=owner, open=open):
            view = queries.read_case(records, case_id, index)
            if view is not None:
                yield view

    def resources(self, owner: str | None = None, held: Records | None = None) -> Iterator[queries.ResourceView]:
        records, index = self._of(held), self._agreed_up_to
        for resource_id in queries.list_resources(records, owner=owner):
            view = queries.read_resource(records, resource_id, index)
            if view is not None:
                yield view

    def conflicts(self, owner: str | None = None, held: Records | None = None) -> list[Any]:
        """The conflicts that wait for a person."""
        return list(queries.list_conflicts(self._of(held), owner=owner))

    def charges(self, samu: str | None = None, held: Records | None = None) -> list[ChargeStateView]:
        """Who answers for whose work: of one Samu (any of its names), or of all whose charge ever changed."""
        records = self._of(held)
        if samu is None:
            return charge_states(records)
        return [charge_state(records, queries.site_of(records, samu) or samu)]

    def charge_changes(self, samu: str) -> list[ChargeChangeView]:
        """How the charge of a Samu's work (any of its names) came to where it is."""
        records = self._records()
        return queries.charge_changes(records, queries.site_of(records, samu) or samu)

    def verdicts(self, asked: Asked) -> Verdicts:
        """What became of acts, the newest first: of this site's own all that are remembered, of others' what the state
        keeps."""
        core, index = self._desk.core, self._agreed_up_to
        zone_ms = core.zone_ms(now_ms()) or wall_ms()
        return verdicts(asked, core.site, self._acts, self._records(), index, zone_ms)

    def outcome(self, operation: OperationId) -> events.Outcome:
        """What became of an operation of this node, across restarts."""
        return self._desk.core.outcome(operation)

    async def verdict(self, operation: OperationId) -> tuple[int, Verdict]:
        """Wait until the verdict on an operation is known: (index, verdict). Cancel it to stop waiting.

        Raises NotAvailable where this node has never heard of the operation.
        """
        while True:
            outcome = self.outcome(operation)
            if outcome.verdict is not None:
                return outcome.index, outcome.verdict
            if outcome.state == "unknown":
                raise NotAvailable(f"{operation} is not known here")
            await self._moved.wait()

    def changes(self, since: int | None) -> Changes:
        """What is agreed after index `since`, or from now on, for ever."""
        return Changes(self, self._position()[0] if since is None else since)

    def effects_after(self, index: int) -> Effects | None:
        """The effects of the entry after `index`; None where there is none yet. Raises NotAvailable where it is
        gone."""
        if index >= self._position()[0]:
            return None
        if not self._recent or self._recent[0].index > index + 1:
            raise NotAvailable(f"changes after {index} are not remembered any more: read anew, then follow")
        return self._recent[index + 1 - self._recent[0].index]

    def change(self, effects: Effects) -> Change:
        subjects = queries.changed_subjects(self._records(), effects)
        return Change(effects.index, effects.time_ms, effects.decided, subjects, queries.conflicts_in(effects))

    def arrived(self, effects: Effects) -> None:
        """The effects of the next entry are in the state."""
        self._recent.append(effects)
        self._remembered += 1 + len(effects.decided)
        while self._remembered > REMEMBERED and len(self._recent) > 1:
            self._remembered -= 1 + len(self._recent.popleft().decided)
        self.moved()

    def replaced(self) -> None:
        """A whole state was put in place: the effects remembered do not lead to it."""
        self._recent.clear()
        self._remembered = 0
        self.moved()

    def previewed(self, subjects: tuple[tuple[str, str], ...]) -> None:
        """These are shown otherwise from now on, though the state is where it was."""
        self.previews += 1
        self.previewed_subjects = subjects
        self.moved()

    def moved(self) -> None:
        """The state or the journal moved: whoever waits looks again."""
        self._moved.set()
        self._moved = trio.Event()

    async def until_moved(self) -> None:
        await self._moved.wait()

    # ------------------------------------------------------------------ as JSON

    def json_case(self, case_id: str, held: Records | None = None) -> bytes:
        return self._json("case", self.case(case_id, held), case_id, self._known_by("case", case_id, held))

    def json_resource(self, resource_id: str, held: Records | None = None) -> bytes:
        return self._json(
            "resource", self.resource(resource_id, held), resource_id, self._known_by("resource", resource_id, held)
        )

    def _known_by(self, kind: str, name: str, held: Records | None) -> tuple[str, str] | None:
        """What is confirmed is read from the copy alone, whatever is shown ahead of it."""
        return None if held is not None and held is self._agreed() else (kind, name)

    def json_cases(self, owner: str | None, open: bool | None, held: Records | None = None) -> bytes:  # noqa: A002
        return self._json("cases", list(self.cases(owner, open, held)), "")

    def json_resources(self, owner: str | None, held: Records | None = None) -> bytes:
        return self._json("resources", list(self.resources(owner, held)), "")

    def json_conflicts(self, owner: str | None, held: Records | None = None) -> bytes:
        return self._json("conflicts", self.conflicts(owner, held), "")

    def json_charges(self, samu: str) -> bytes:
        """One Samu's with all its changes, or everybody's."""
        states = self.charges(samu or None)
        changes = self.charge_changes(samu) if samu else []
        return msgspec.json.encode({"freshness": self.freshness(), "charges": states, "changes": changes})

    def json_verdicts(self, asked: Asked) -> bytes:
        found = msgspec.to_builtins(self.verdicts(asked))
        return msgspec.json.encode({"freshness": self.freshness(), **found})

    def json_digest(self) -> bytes:
        index, term = self._position()
        records = self._records()
        return msgspec.json.encode(
            {"index": index, "term": term, "digest": queries.digest(records), "owners": queries.digests(records)}
        )

    def _json(self, what: str, value: Any, name: str, subject: tuple[str, str] | None = None) -> bytes:
        if value is None:
            raise InvalidMessage((Place(what, f"{name!r} is not known here"),))
        return msgspec.json.encode({"freshness": self.freshness(subject=subject), what: value})
