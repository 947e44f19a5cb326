"""Whether this site is connected: a table of five transitions, entered and left without an operator.

`CONNECTED → CUT_OFF → REPLAYING → CONNECTED`. What moves it is *confirmation*: a heartbeat of the feed that carries
what a quorum has confirmed (term, commit, the leader's time). An open socket is none, and neither is a zone node that
is cut off from the other zones itself and goes on repeating the leader's last word: a heartbeat that says nothing new
on its line is not counted.

Damping. A line that flaps fifty times a minute must not make the mode flap with it (docs/survives.md, O10):

* Losing the one line that is followed is no cut. Another zone is found in milliseconds; only silence of
  `cut_off_after_ms`, or the kernel's word that *every* line is closed, is a cut.
* The first return within a minute is believed at once, so that replay begins at once. After the second cut within
  `FLAP_WINDOW_MS` a quorum must have been heard without a break for `stable_ms`, after the third for twice as long, and
  so on up to `MOST_PATIENCE` times `stable_ms`. Operations are sent all the same while the mode waits: a mode is what
  people and callers are told, it never holds an operation back.
* REPLAYING is left only after `stable_ms` without a break.

Left out: which zone is followed and when the next one is tried (runtime), and what is replayed (replay.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from replica.offline.events import Mode

FLAP_WINDOW_MS = 60_000
MOST_PATIENCE = 16


class Signal(Enum):
    """What moves the mode. The text is what an operator reads."""

    ALL_CLOSED = "every line is closed"
    SILENT = "no quorum was heard for cut_off_after_ms"
    HEARD = "a quorum is heard again"
    SETTLED = "what was kept here is decided, the feed has caught up, and the line was stable"


@dataclass(frozen=True, slots=True)
class Transition:
    before: Mode
    signal: Signal
    after: Mode


TABLE = (
    Transition(Mode.CONNECTED, Signal.ALL_CLOSED, Mode.CUT_OFF),
    Transition(Mode.CONNECTED, Signal.SILENT, Mode.CUT_OFF),
    Transition(Mode.CUT_OFF, Signal.HEARD, Mode.REPLAYING),
    Transition(Mode.REPLAYING, Signal.ALL_CLOSED, Mode.CUT_OFF),
    Transition(Mode.REPLAYING, Signal.SILENT, Mode.CUT_OFF),
    Transition(Mode.REPLAYING, Signal.SETTLED, Mode.CONNECTED),
)
"""Every transition there is. A signal that has no row for the present mode changes nothing."""

_NEXT = {(row.before, row.signal): row.after for row in TABLE}


def next_mode(mode: Mode, signal: Signal) -> Mode | None:
    """The mode that follows, or None where the signal changes nothing."""
    return _NEXT.get((mode, signal))


def render_table() -> str:
    """The table as docs/offline.md prints it."""
    lines = ["| mode | when | becomes |", "|---|---|---|"]
    lines += [f"| {row.before.value} | {row.signal.value} | {row.after.value} |" for row in TABLE]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Change:
    """The mode was changed, and by what."""

    before: Mode
    after: Mode
    signal: Signal

    def __str__(self) -> str:
        return f"mode {self.before.value} → {self.after.value}: {self.signal.value}"


class ModeWatch:
    """The present mode and what it is judged by. Every method returns the change it made, or None.

    A site opens cut off: it has heard nobody. Whether it *is* cut off is known (`known`) only once `cut_off_after_ms`
    have passed or the kernel has spoken; until then nobody is told `journalled` before the budget is over.
    """

    __slots__ = (
        "_beat",
        "_cut_off_after_ms",
        "_cuts",
        "_heard_since_ms",
        "_line_beat",
        "_opened_ms",
        "_stable_ms",
        "_was_cut",
        "confirmed_ms",
        "known",
        "mode",
    )

    def __init__(self, now_ms: int, cut_off_after_ms: int, stable_ms: int) -> None:
        self.mode = Mode.CUT_OFF
        self.known = False
        self.confirmed_ms: int | None = None
        """When the last confirmation came; None before the first."""
        self._opened_ms = now_ms
        self._cut_off_after_ms = cut_off_after_ms
        self._stable_ms = stable_ms
        self._heard_since_ms: int | None = None
        """Since when a quorum has been heard without a break; None while it is not."""
        self._beat = (0, 0, 0)
        """The furthest confirmation ever heard: (term, leader_ms, commit)."""
        self._line_beat: tuple[int, int, int] | None = None
        """The last one heard on the present line."""
        self._cuts: deque[int] = deque()
        """When the cuts of the last FLAP_WINDOW_MS were."""
        self._was_cut = False

    def line_changed(self) -> None:
        """The line went up or down: hearing without a break begins anew."""
        self._heard_since_ms = None
        self._line_beat = None

    def all_closed(self, now_ms: int) -> Change | None:
        """Every line is closed, the kernel says."""
        if self.mode is Mode.CUT_OFF and self._heard_since_ms is not None:
            self._count_cut(now_ms)
        self.line_changed()
        self.known = True
        return self._move(now_ms, Signal.ALL_CLOSED)

    def heard(self, now_ms: int, term: int, commit: int, leader_ms: int) -> tuple[bool, Change | None]:
        """A heartbeat came. Whether it confirms anything, and the change it made.

        New is what goes beyond all that was heard before. A leader's clock that was set back goes beyond nothing and
        yet moves: it counts from its second heartbeat on the same line.
        """
        beat = (term, leader_ms, commit)
        fresh = beat > self._beat or (self._line_beat is not None and beat != self._line_beat and term >= self._beat[0])
        self._line_beat = beat
        if not fresh:
            return False, None
        self._beat = beat
        self.confirmed_ms = now_ms
        if self._heard_since_ms is None:
            self._heard_since_ms = now_ms
        return True, self._heard_long_enough(now_ms)

    def tick(self, now_ms: int, settled: bool) -> Change | None:
        """Time has passed. `settled`: what was kept here before the return is decided and the feed has caught up."""
        if now_ms >= self._silent_at_ms():
            if self._heard_since_ms is not None and self.mode is Mode.CUT_OFF:
                self._count_cut(now_ms)
            self._heard_since_ms = None
            self.known = self.known or self.mode is Mode.CUT_OFF
            return self._move(now_ms, Signal.SILENT)
        if self.mode is Mode.CUT_OFF:
            return self._heard_long_enough(now_ms)
        if self.mode is Mode.REPLAYING and settled and self._is_stable(now_ms):
            return self._move(now_ms, Signal.SETTLED)
        return None

    def deadline_ms(self, now_ms: int) -> int | None:
        """When `tick` would change something by time alone, after `now_ms`; None where only an event can."""
        due = []
        silent_at_ms = self._silent_at_ms()
        if self.mode is not Mode.CUT_OFF or not self.known or self._heard_since_ms is not None:
            due.append(silent_at_ms)
        if self._heard_since_ms is not None:
            if self.mode is Mode.CUT_OFF:
                due.append(self._heard_since_ms + self.patience_ms(self._heard_since_ms))
            elif self.mode is Mode.REPLAYING:
                due.append(self._heard_since_ms + self._stable_ms)
        return min((at_ms for at_ms in due if at_ms > now_ms), default=None)

    def patience_ms(self, now_ms: int) -> int:
        """How long a quorum must be heard without a break before a cut is called over."""
        while self._cuts and self._cuts[0] <= now_ms - FLAP_WINDOW_MS:
            self._cuts.popleft()
        again = len(self._cuts) - 1
        return 0 if again <= 0 else self._stable_ms * min(1 << (again - 1), MOST_PATIENCE)

    def _silent_at_ms(self) -> int:
        last_ms = self._opened_ms if self.confirmed_ms is None else self.confirmed_ms
        return last_ms + self._cut_off_after_ms

    def _heard_long_enough(self, now_ms: int) -> Change | None:
        since_ms = self._heard_since_ms
        if since_ms is None or now_ms - since_ms < self.patience_ms(now_ms):
            return None
        return self._move(now_ms, Signal.HEARD)

    def _is_stable(self, now_ms: int) -> bool:
        # A store just opened was not cut: there is nothing to be damped.
        stable_ms = self._stable_ms if self._was_cut else 0
        return self._heard_since_ms is not None and now_ms - self._heard_since_ms >= stable_ms

    def _count_cut(self, now_ms: int) -> None:
        self._cuts.append(now_ms)
        self._was_cut = True

    def _move(self, now_ms: int, signal: Signal) -> Change | None:
        after = next_mode(self.mode, signal)
        if after is None:
            return None
        before, self.mode = self.mode, after
        if after is Mode.CUT_OFF:
            self._count_cut(now_ms)
        self.known = after is Mode.CUT_OFF
        return Change(before, after, signal)
