"""A drill: a site behaves as cut off on live traffic, and nobody has pulled a cable.

For the site's own core the line is gone: mode, authority, journal and view are those of a cut. In truth the line is
followed all the same, and what it brings is kept at hand: so the drill is over in an instant, whenever somebody wants
it to be. It ends by itself: after its time, when more is held than it may hold, or when the site is sent a whole state.

    start   the core is told that every line is closed
    while   what the feed brings is held back, in order; what people do is journalled
    end     what was held back is put in place, the line is "up" again, and the journal is replayed

The report says what it would have been: what was refused and why, what got a receipt from the journal alone, what was
decided otherwise than plainly applied, how long the replay took.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import trio

from replica.cases.commands import Payload
from replica.cases.operations import OperationId
from replica.cases.verdicts import Effects
from replica.errors import NotPermitted
from replica.offline import events
from replica.offline.events import Mode
from replica.runtime.bell import now_ms

MOST_HELD_ENTRIES = 50_000
SETTLES_WITHIN_S = 60.0


@dataclass(slots=True)
class Drill:
    """One drill, under way or over. Times are of the loop's clock, in ms."""

    author: str
    reason: str
    since_ms: int
    until_ms: int
    held: list[Effects] = field(default_factory=list)
    """What the feed brought meanwhile."""
    up: int = 0
    """The zone that is followed all the while; 0 where the line has gone in earnest."""
    heard: events.Heard | None = None
    """The last confirmation that came."""
    issued: list[OperationId] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    why_refused: dict[str, str] = field(default_factory=dict)
    ended_ms: int = 0
    why_ended: str = ""
    replay_ms: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)

    def standing(self, now: int) -> dict[str, Any]:
        """How it stands, as plain values."""
        return {
            "under_way": not self.ended_ms,
            "author": self.author,
            "reason": self.reason,
            "since_s": round((now - self.since_ms) / 1000, 1),
            "left_s": 0.0 if self.ended_ms else round(max(0, self.until_ms - now) / 1000, 1),
            "journalled": len(self.issued),
            "refused": sum(self.refused.values()),
            "held_entries": len(self.held),
        }

    def report(self) -> dict[str, Any]:
        """What came of it."""
        return {
            "under_way": False,
            "author": self.author,
            "reason": self.reason,
            "lasted_ms": self.ended_ms - self.since_ms,
            "why_ended": self.why_ended,
            "delayed": len(self.issued),
            "refused": dict(self.refused),
            "why_refused": dict(self.why_refused),
            "verdicts": dict(self.verdicts),
            "conflicted": self.verdicts["conflict"],
            "replay_ms": self.replay_ms,
        }


class Drills:
    """The drills of one site; at most one at a time. `site`: a SiteNode."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self.current: Drill | None = None
        self.last: Drill | None = None
        self._changed = trio.Event()

    async def ask(self, for_ms: int, author: str, reason: str) -> dict[str, Any]:
        """Begin a drill of `for_ms`, or with 0 end the one under way: how it stands, or its report.

        Raises NotPermitted: nothing to end, one under way already, or the site is not connected."""
        if for_ms:
            self.begin(for_ms, author, reason)
            assert self.current is not None, "a drill was begun, and there is none"
            return self.current.standing(now_ms())
        if self.current is not None:
            self.end("somebody ended it")
        if self.last is None:
            raise NotPermitted("there was no drill since this node was started")
        await self._until_replayed(self.last)
        return self.last.report()

    def begin(self, for_ms: int, author: str, reason: str) -> None:
        site = self._site
        if self.current is not None:
            raise NotPermitted(f"a drill of {self.current.author or 'somebody'} is under way")
        if site.desk.core.mode is not Mode.CONNECTED:
            raise NotPermitted(f"this site is {site.desk.core.mode.value}: a drill begins on a sound line")
        now = now_ms()
        self.current = Drill(author, reason, now, now + for_ms, up=site.line.zone_number)
        site.desk.core.drill = True
        site.log.warning("drill-begun", author=author, reason=reason, for_ms=for_ms)
        site.desk.step(events.LineDown(now, self.current.up, closed=True))
        site.desk.step(events.AllClosed(now))
        self._ring()

    def end(self, why: str) -> None:
        """Put in place what was held back, and go on as if the line had come back this instant."""
        drill, site = self.current, self._site
        if drill is None:
            return
        self.current, self.last = None, drill
        drill.ended_ms, drill.why_ended = now_ms(), why
        site.desk.core.drill = False
        for effects in drill.held:
            site.arrived(effects)
        drill.held.clear()
        if drill.up:
            site.desk.step(events.LineUp(now_ms(), drill.up))
            if drill.heard is not None:
                heard = drill.heard
                site.desk.step(events.Heard(now_ms(), heard.term, heard.commit, heard.leader_ms))
        site.log.warning("drill-ended", why=why, journalled=len(drill.issued), refused=sum(drill.refused.values()))
        self._ring()

    # ------------------------------------------------------------------ what happens meanwhile

    def holds(self, event: events.Event) -> bool:
        """Whether something the line noticed is kept from the core; then it is remembered here."""
        drill = self.current
        if drill is None:
            return False
        match event:
            case events.LineUp(zone=zone):
                drill.up = zone
            case events.LineDown() | events.AllClosed():
                drill.up = 0
            case events.Heard():
                drill.heard = event
            case _:
                pass
        return True

    def holds_back(self, effects: Effects) -> bool:
        """Whether the next entry's effects are held back. Too many, and the drill is over: they are put in place."""
        if self.current is None:
            return False
        self.current.held.append(effects)
        if len(self.current.held) >= MOST_HELD_ENTRIES:
            self.end(f"{MOST_HELD_ENTRIES} entries were held back")
        return True

    def position(self) -> tuple[int, int] | None:
        """(index, term) of the last entry held back; None where there is none."""
        held = self.current.held if self.current is not None else []
        return (held[-1].index, held[-1].term) if held else None

    def answered(self, payload: Payload, receipt: events.Receipt | None) -> None:
        """Somebody was answered while a drill was under way."""
        match self.current, receipt:
            case None, _:
                return
            case drill, events.KeptHere(operation=operation) | events.NotKnown(operation=operation):
                drill.issued.append(operation)
            case drill, events.TurnedAway(why=why):
                name = str(payload.__struct_config__.tag)
                drill.refused[name] += 1
                drill.why_refused[name] = why
            case _:
                pass

    # ------------------------------------------------------------------ its end

    async def watch(self) -> None:
        """End a drill whose time is over, and see how long the replay takes; for ever."""
        while True:
            changed = self._changed
            if self.current is not None:
                with trio.move_on_after(max(0, self.current.until_ms - now_ms()) / 1000):
                    await changed.wait()
                if self._is_over:
                    self.end("its time was over")
            elif self.last is not None and not self.last.replay_ms:
                await self._until_replayed(self.last)
            else:
                await changed.wait()

    @property
    def _is_over(self) -> bool:
        return self.current is not None and now_ms() >= self.current.until_ms

    async def _until_replayed(self, drill: Drill) -> None:
        with trio.move_on_after(SETTLES_WITHIN_S):
            while not drill.replay_ms and any(self._kind(operation) is None for operation in drill.issued):
                await self._site.service.until_moved()
        if not drill.replay_ms:
            drill.replay_ms = max(1, now_ms() - drill.ended_ms)
            drill.verdicts.update(self._kind(operation) or "none yet" for operation in drill.issued)

    def _kind(self, operation: OperationId) -> str | None:
        verdict = self._site.service.outcome(operation).verdict
        return None if verdict is None else str(verdict.kind.value)

    def _ring(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
