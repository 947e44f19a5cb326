"""Keeps the emergency sheet fresh on disk while a site runs, so that it is there when nothing runs any more.

Every `every_s` the loop reads the working view, a case at a time and other tasks in between; laying out and writing is
done beside the loop. The file is replaced as a whole (written beside it, fsync, rename): whoever opens it, at whatever
moment, after whatever death, finds a whole sheet, the last one. A sheet that cannot be written is logged and tried
again; it never ends the site it is for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import trio

from replica.cases.records import Records
from replica.runtime.bell import now_ms, wall_ms
from replica.runtime.outside import REAL, Outside
from replica.sheet.collect import Damage, Look, Scope, collecting
from replica.sheet.compose import Clock, compose
from replica.sheet.html import as_html
from replica.sheet.model import Facts, Sheet
from replica.sheet.text import as_text
from replica.sheet.words import Words
from replica.storage.folder import sync_folder

if TYPE_CHECKING:
    from replica.runtime.site import SiteNode


UNFINISHED = ".new"
"""What the name of a sheet ends in while it is being written."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept where: `path` ends in .html or .txt. `time_zone`: such as Europe/Paris; empty for the machine's."""

    path: Path
    every_s: float
    language: str = "fr"
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class Now:
    """What a node knows at one moment: its records with the undecided on top, up to where they are agreed, and the
    head of its sheet."""

    records: Records
    index: int
    facts: Facts


class SheetKeeper:
    """`run` is a task of the site's, for ever."""

    def __init__(self, plan: Plan, now: Callable[[], Now], log: Any, outside: Outside = REAL) -> None:
        self._plan = plan
        self._now = now
        self._log = log
        self._outside = outside
        self._clock = clock_of(plan.time_zone)
        self.written = 0
        """How many sheets were written."""

    async def run(self) -> None:
        """A sheet now, and every so often afterwards."""
        await self._outside.in_worker(partial(remove_leftovers, self._plan.path))
        while True:
            try:
                await self.write()
            except Exception as problem:  # whatever is wrong with a sheet, the site that it is for goes on
                self._log.error("sheet-not-written", path=str(self._plan.path), problem=str(problem))
            await trio.sleep(self._plan.every_s)

    async def write(self) -> Sheet:
        """One sheet, as of now. Raises OSError where it cannot be written; the one before is still there then."""
        made = await self.collect()
        work = partial(write_sheet, made, self._plan.path, self._plan.language, self._clock)
        await self._outside.in_worker(work)
        self.written += 1
        return made

    async def collect(self) -> Sheet:
        """Read the sheet out of the node, a step at a time."""
        facts = self._now().facts
        steps = collecting(self._look, facts, Scope(site=facts.whose), Damage())
        while True:
            try:
                next(steps)
            except StopIteration as done:
                sheet: Sheet = done.value
                return sheet
            await trio.lowlevel.checkpoint()

    def _look(self) -> Look:
        now = self._now()
        return Look(now.records, now.index)


def of_site(node: SiteNode) -> Callable[[], Now]:
    """What a running site knows, for its keeper."""

    def now() -> Now:
        fresh = node.desk.core.freshness(now_ms(), None)
        made = wall_ms()
        confirmed = None if fresh.confirmed_age_ms is None else made - fresh.confirmed_age_ms
        facts = Facts(
            whose=node.config.site.name,
            cluster=node.config.cluster.id,
            mode=fresh.mode.value,
            made_ms=made,
            index=fresh.index,
            confirmed_ms=confirmed,
            authority=fresh.authority,
            epoch=fresh.epoch,
            undecided=fresh.undecided,
            unconfirmed_since_ms=fresh.unconfirmed_since_ms,
            clock_unsure=fresh.clock_unsure,
            restored=fresh.restored,
            fenced=fresh.fenced,
        )
        return Now(node.desk.core.view(), node.desk.core.agreed_up_to, facts)

    return now


def clock_of(time_zone: str) -> Clock:
    """The clock on the wall there. A zone that this machine does not know is shown as UTC, which the sheet says."""
    if not time_zone:
        return lambda ms: datetime.fromtimestamp(ms / 1000, UTC).astimezone()
    zone: ZoneInfo | None = None
    with suppress(OSError, ValueError, KeyError):
        zone = ZoneInfo(time_zone)
    return lambda ms: datetime.fromtimestamp(ms / 1000, zone or UTC)


def laid_out(sheet: Sheet, kind: str, language: str, clock: Clock) -> str:
    """The sheet's text: `kind` is html or txt."""
    document = compose(sheet, Words(language), clock)
    return as_html(document) if kind == "html" else as_text(document)


def write_sheet(sheet: Sheet, path: Path, language: str, clock: Clock) -> None:
    """Lay the sheet out by the ending of `path` and put it there, whole or not at all. Raises OSError."""
    kind = "html" if path.suffix.lower() in (".html", ".htm") else "txt"
    write_file(path, laid_out(sheet, kind, language, clock))


def remove_leftovers(path: Path) -> None:
    """What a death in the middle of a write has left beside the sheet. Only its one keeper calls this."""
    with suppress(OSError):
        for left in path.parent.iterdir():
            if left.name.startswith(f".{path.name}.") and left.name.endswith(UNFINISHED):
                left.unlink()


def write_file(path: Path, text: str) -> None:
    """Replace the file at `path`: written beside it, made durable, renamed. For its owner's eyes only: it holds the
    health of people. Raises OSError; the file before is still there then."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(path.parent)
