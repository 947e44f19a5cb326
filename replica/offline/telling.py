"""What is told with a read, put together: the mode, the hour, whose charge it is, and what is undecided.

It is told with every value, so it is made once for all who read in one turn of the loop, and kept until anything
happens: the core drops it with every event.

Left out: what each of the fields means to who reads (freshness.py).
"""

from __future__ import annotations

from replica.offline.clock import SiteClock
from replica.offline.events import Mode
from replica.offline.freshness import Freshness
from replica.offline.in_charge import InCharge
from replica.offline.journal import Journal
from replica.offline.mode import ModeWatch
from replica.offline.preview import Views


class Telling:
    """`applied`, `restored`, `fenced` and `drill`, where a method asks for them: as the core says they are now."""

    __slots__ = ("_clock", "_in_charge", "_journal", "_modes", "_view", "kept")

    def __init__(self, modes: ModeWatch, clock: SiteClock, view: Views, in_charge: InCharge, journal: Journal) -> None:
        self._modes = modes
        self._clock = clock
        self._view = view
        self._in_charge = in_charge
        self._journal = journal
        self.kept: tuple[int, str | None, Freshness] | None = None
        """What was last told: (now_ms, owner, freshness); None once anything has happened since."""

    def freshness(
        self,
        now_ms: int,
        owner: str | None,
        subject: tuple[str, str] | None,
        applied: tuple[int, int],
        restored: bool,
        fenced: bool,
        drill: bool,
    ) -> Freshness:
        """As `SiteCore.freshness`. A drill begins and ends without an event, so it is looked at each time."""
        kept = self.kept
        if kept is not None and kept[0] == now_ms and kept[1] == owner and kept[2].drill is drill:
            return kept[2]
        preview, confirmed_ms = self._view.preview, self._modes.confirmed_ms
        index, term = self._view.known_to(subject, applied)
        holder, epoch = self._in_charge.charge_of(owner, applied)
        told = Freshness(
            mode=self._modes.mode,
            index=index,
            term=term,
            confirmed_age_ms=None if confirmed_ms is None else max(0, now_ms - confirmed_ms),
            authority=holder,
            epoch=epoch,
            unconfirmed_since_ms=self._unconfirmed_since_ms(confirmed_ms),
            clock_unsure=self._clock.unsure,
            undecided=self._journal.undecided,
            restored=restored,
            fenced=fenced,
            drill=drill,
            preview_index=0 if preview is None else preview.index,
        )
        if preview is None:  # else it depends on the subject
            self.kept = now_ms, owner, told
        return told

    def _unconfirmed_since_ms(self, confirmed_ms: int | None) -> int | None:
        if self._modes.mode is not Mode.CUT_OFF:
            return None
        return 0 if confirmed_ms is None else self._clock.zone_ms(confirmed_ms) or 0
