"""What a hub process imports: open a zone or a site, hand operations in, read, follow changes.

    async with replica.open_site(config) as site:
        receipt = await site.submit(ChangePriority(case, "P0"), author="Dr Martin")
        view = site.read_case(case)

Everything here belongs to the trio run it was opened in. Nothing installs a signal handler. Never run it with `python
-O`: the asserts of the core are part of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

from msgspec import Struct

from replica.cases.charge_reading import ChargeStateView
from replica.cases.commands import Command, DecideConflict, Report
from replica.cases.operations import OperationId
from replica.cases.queries import CaseView, ConflictView, ResourceView
from replica.cases.records import Records
from replica.cases.verdicts import Verdict
from replica.cases.views import ChargeChangeView
from replica.config import SiteConfig, ZoneConfig, load_site, load_zone
from replica.offline.events import Outcome
from replica.offline.freshness import Freshness
from replica.runtime.acts import Asked, Verdicts
from replica.runtime.node import Running, run_site, run_zone
from replica.runtime.service import DEFAULT_BUDGET_MS, Changes, Handed

T = TypeVar("T")

Waits: TypeAlias = Literal["session", "linearizable"]
Consistency: TypeAlias = Literal["local", "session", "linearizable"]


@dataclass(frozen=True, slots=True)
class Agreed:
    """A quorum has it, at `index`, with this verdict; the site's own disk has it too."""

    operation: OperationId
    index: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Journalled:
    """This site's disk has it; the verdict will follow: `await site.verdict(operation)`."""

    operation: OperationId


Receipt: TypeAlias = Agreed | Journalled


class Read(Struct, Generic[T], frozen=True):
    """A value with how fresh it is. There is no way to have the one without the other."""

    value: T
    freshness: Freshness


class Node:
    """What a zone and a site have in common."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._service = running.service
        self._session_index = 0

    @property
    def address(self) -> str:
        """Where this node listens, `host:port`."""
        return self._running.address

    async def submit(
        self,
        command: Command | Report,
        *,
        author: str = "",
        budget_ms: int = DEFAULT_BUDGET_MS,
        act_ms: int = 0,
        key: str = "",
    ) -> Receipt:
        """Hand in a command or a report; a receipt within `budget_ms`.

        `author`: who did it. `act_ms`: when it happened, ms since 1970 UTC; 0 for now. `key`: your own idempotency
        key: the same key handed in twice is one operation's effect, and the second's verdict is `duplicate`.

        Raises NotPermitted, StorageFull, Overloaded, Closed: surely not done. OutcomeUnknown: neither this disk nor a
        quorum answered in time; ask `outcome`. Cancelling never tears anything: before it is handed in it surely was
        not done, afterwards the work goes on and `outcome` answers.
        """
        handed = await self._service.submit(command, author=author, budget_ms=budget_ms, act_ms=act_ms, key=key)
        return _receipt(handed)

    async def submit_message(
        self, data: bytes, *, sender: str = "", author: str = "", budget_ms: int = DEFAULT_BUDGET_MS, key: str = ""
    ) -> tuple[Receipt, ...]:
        """Hand in a hub message, an envelope or a bare content: a receipt for each operation it makes.

        Raises InvalidMessage, with every wrong place, and nothing is applied; otherwise as `submit`.
        """
        handed = await self._service.submit_message(data, sender=sender, author=author, budget_ms=budget_ms, key=key)
        return tuple(_receipt(one) for one in handed)

    async def verdict(self, operation: OperationId) -> tuple[int, Verdict]:
        """Wait for the verdict on an operation of this node: (index, verdict); index 0 where it is not known any
        more."""
        return await self._service.verdict(operation)

    def outcome(self, operation: OperationId) -> Outcome:
        """What became of an operation of this node, now, and across restarts."""
        return self._service.outcome(operation)

    @overload
    def read_case(self, case_id: str, consistency: Literal["local"] = "local") -> Read[CaseView | None]: ...
    @overload
    def read_case(
        self, case_id: str, consistency: Waits, budget_ms: int = ..., after_index: int = ...
    ) -> Awaitable[Read[CaseView | None]]: ...
    def read_case(
        self,
        case_id: str,
        consistency: Consistency = "local",
        budget_ms: int = DEFAULT_BUDGET_MS,
        after_index: int = 0,
    ) -> Read[CaseView | None] | Awaitable[Read[CaseView | None]]:
        """A case, whole, tentative values marked; None where this node never heard of it.

        `local`, at once: what this node knows. The others are awaited. `session`: never older than what this object has
        answered and acknowledged before, nor than `after_index` (of a receipt or a freshness, from any node).
        `linearizable`: with all that was agreed anywhere before now, confirmed by a quorum, and nothing tentative.

        Raises NotAvailable where that cannot be had within `budget_ms` (cut off: at once), Overloaded: surely not read.
        """
        return self._read(
            lambda held: self._service.case(case_id, held),
            None,
            consistency,
            budget_ms,
            after_index,
            ("case", case_id),
        )

    @overload
    def read_resource(self, resource_id: str, consistency: Literal["local"] = "local") -> Read[ResourceView | None]: ...
    @overload
    def read_resource(
        self, resource_id: str, consistency: Waits, budget_ms: int = ..., after_index: int = ...
    ) -> Awaitable[Read[ResourceView | None]]: ...
    def read_resource(
        self,
        resource_id: str,
        consistency: Consistency = "local",
        budget_ms: int = DEFAULT_BUDGET_MS,
        after_index: int = 0,
    ) -> Read[ResourceView | None] | Awaitable[Read[ResourceView | None]]:
        """A resource, whole; otherwise as `read_case`."""
        return self._read(
            lambda held: self._service.resource(resource_id, held),
            None,
            consistency,
            budget_ms,
            after_index,
            ("resource", resource_id),
        )

    @overload
    def cases(
        self,
        owner: str | None = None,
        open: bool | None = None,
        consistency: Literal["local"] = "local",
    ) -> Read[tuple[CaseView, ...]]: ...
    @overload
    def cases(
        self,
        owner: str | None = None,
        open: bool | None = None,
        *,
        consistency: Waits,
        budget_ms: int = ...,
        after_index: int = ...,
    ) -> Awaitable[Read[tuple[CaseView, ...]]]: ...
    def cases(
        self,
        owner: str | None = None,
        open: bool | None = None,  # noqa: A002
        consistency: Consistency = "local",
        budget_ms: int = DEFAULT_BUDGET_MS,
        after_index: int = 0,
    ) -> Read[tuple[CaseView, ...]] | Awaitable[Read[tuple[CaseView, ...]]]:
        """Cases, of one owner or all, open, closed or both; otherwise as `read_case`."""
        return self._read(
            lambda held: tuple(self._service.cases(owner, open, held)), owner, consistency, budget_ms, after_index
        )

    @overload
    def resources(
        self, owner: str | None = None, consistency: Literal["local"] = "local"
    ) -> Read[tuple[ResourceView, ...]]: ...
    @overload
    def resources(
        self, owner: str | None = None, *, consistency: Waits, budget_ms: int = ..., after_index: int = ...
    ) -> Awaitable[Read[tuple[ResourceView, ...]]]: ...
    def resources(
        self,
        owner: str | None = None,
        consistency: Consistency = "local",
        budget_ms: int = DEFAULT_BUDGET_MS,
        after_index: int = 0,
    ) -> Read[tuple[ResourceView, ...]] | Awaitable[Read[tuple[ResourceView, ...]]]:
        """Resources, of one organisation or all; otherwise as `read_case`."""
        return self._read(
            lambda held: tuple(self._service.resources(owner, held)), owner, consistency, budget_ms, after_index
        )

    @overload
    def conflicts(
        self, owner: str | None = None, consistency: Literal["local"] = "local"
    ) -> Read[tuple[ConflictView, ...]]: ...
    @overload
    def conflicts(
        self, owner: str | None = None, *, consistency: Waits, budget_ms: int = ..., after_index: int = ...
    ) -> Awaitable[Read[tuple[ConflictView, ...]]]: ...
    def conflicts(
        self,
        owner: str | None = None,
        consistency: Consistency = "local",
        budget_ms: int = DEFAULT_BUDGET_MS,
        after_index: int = 0,
    ) -> Read[tuple[ConflictView, ...]] | Awaitable[Read[tuple[ConflictView, ...]]]:
        """The conflicts that wait for a person; otherwise as `read_case`."""
        return self._read(
            lambda held: tuple(self._service.conflicts(owner, held)), owner, consistency, budget_ms, after_index
        )

    def charges(self, samu: str | None = None) -> Read[tuple[ChargeStateView, ...]]:
        """Who answers for whose work, as this node knows it now: of one Samu, or of all whose charge ever changed."""
        return self._seen(tuple(self._service.charges(samu)), samu)

    def charge_changes(self, samu: str) -> tuple[ChargeChangeView, ...]:
        """Every take-over and hand-back of a Samu's work, oldest first: who, when, why, from which index."""
        return tuple(self._service.charge_changes(samu))

    def verdicts(self, asked: Asked | None = None) -> Read[Verdicts]:
        """What became of acts, the newest first: by default of this site's own. See `Asked` for what may be asked."""
        return self._seen(self._service.verdicts(asked or Asked()), None)

    async def decide(self, conflict: ConflictView, value: str, *, author: str = "", budget_ms: int = 250) -> Receipt:
        """Decide a conflict: `value` holds. An operation like any other: another person may decide otherwise apart, and
        then that is a conflict again. Raises as `submit`."""
        command = DecideConflict(conflict.subject, conflict.id, conflict.field, conflict.key, value)
        return await self.submit(command, author=author, budget_ms=budget_ms)

    def _read(
        self,
        look: Callable[[Records | None], T],
        owner: str | None,
        consistency: Consistency,
        budget_ms: int,
        after_index: int,
        subject: tuple[str, str] | None = None,
    ) -> Read[T] | Awaitable[Read[T]]:
        if consistency == "local":
            return self._seen(look(None), owner, subject)
        return self._when_held(look, owner, consistency, budget_ms, after_index, subject)

    async def _when_held(
        self,
        look: Callable[[Records | None], T],
        owner: str | None,
        consistency: Waits,
        budget_ms: int,
        after_index: int,
        subject: tuple[str, str] | None,
    ) -> Read[T]:
        held = await self._service.hold(consistency, max(after_index, self._session_index), budget_ms, subject)
        # What is confirmed is read from the copy, whatever is shown ahead of it.
        return self._seen(look(held), owner, subject if consistency == "session" else None)

    def _seen(self, value: T, owner: str | None, subject: tuple[str, str] | None = None) -> Read[T]:
        """What was just read, with its freshness; this object's session is never older from now on."""
        read = Read(value, self._service.freshness(owner, subject))
        self._session_index = max(self._session_index, read.freshness.index)
        return read

    def changes(self, since: int | None = None) -> Changes:
        """What is agreed from now on, or after index `since`, entry by entry.

        Raises NotAvailable where `since` is further back than this node remembers: read the cases, then follow from
        there.
        """
        return self._service.changes(since)

    def freshness(self, owner: str | None = None) -> Freshness:
        """How much what is read here can be trusted now."""
        return self._service.freshness(owner)

    def status(self) -> dict[str, Any]:
        """How this node stands, as plain values."""
        return self._running.status()


class Zone(Node):
    """A zone node in this process. In production a zone is a process of its own: `replica zone CONFIG`."""


class Site(Node):
    """A Samu's full copy and durable journal in this process."""


@asynccontextmanager
async def open_zone(config: ZoneConfig | Path, *, found: bool = False, join: bool = False) -> AsyncIterator[Zone]:
    """A zone node, serving until the context is left. `found`: a new cluster, once (docs/decisions/0001). `join`: a
    new zone of a running one, once, with a number that was never used. A zone that leads hands over when it is left.

    Raises ConfigError, StoreError, NotAvailable (the address is taken) before anything runs; a failed background task
    raises out of the context.
    """
    loaded = load_zone(config) if isinstance(config, Path) else config
    async with run_zone(loaded, found=found, join=join) as running:
        yield Zone(running)


@asynccontextmanager
async def open_site(config: SiteConfig | Path) -> AsyncIterator[Site]:
    """A site, serving until the context is left, with or without any zone in reach. Raises as `open_zone`."""
    async with run_site(load_site(config) if isinstance(config, Path) else config) as running:
        yield Site(running)


def _receipt(handed: Handed) -> Receipt:
    if handed.verdict is None:
        return Journalled(handed.operation)
    return Agreed(handed.operation, handed.index, handed.verdict)
