"""The site's hybrid clock: the zones' time, carried on by a clock that only goes forward while the line is cut.

A site's wall clock may be three hours ahead, or in 1970. It must neither win every "latest holds" nor lose it. So the
wall clock is the last resort. While the site is connected, its time is the leader's; cut off, it is the leader's last
word plus the milliseconds that have passed since ("Cut off, a site's clock is the last zone time plus monotonic time
elapsed"). Only after a restart while cut off is there nothing but the wall clock: the clock is then *unsure*, says so,
and loses ties.

A reading is `(wall_ms, counter)`. The counter keeps the order of what happens within one millisecond, as in any hybrid
logical clock (Kulkarni and others, 2014), and carries one more fact: readings of a sure clock count from `SURE`
upwards, those of an unsure one from 0. Where two readings have the same millisecond, the unsure one is therefore the
lower.

Left out: the clamp to the leader's time + 500 ms. It is decided where an operation is applied (cases), on every replica
alike, since only the log knows the leader's time of the entry. A host that sleeps (a suspended laptop) stops the clock
this one is carried by; the next heartbeat puts it right.
"""

from __future__ import annotations

from replica.cases.operations import HybridTime

SURE = 1 << 31
"""Counters of a sure clock begin here."""

AHEAD_MS = 500
"""How far own earlier readings may run ahead of the zones' time before they are forgotten; the clamp's own bound."""


class SiteClock:
    """Readings for new operations. `floor_ms`: the latest zone time this store knew of when it was opened, 0 for
    none."""

    __slots__ = ("_anchor", "_last", "floor_ms")

    def __init__(self, floor_ms: int = 0) -> None:
        self._anchor: tuple[int, int] | None = None
        self._last = HybridTime(0, 0)
        self.floor_ms = floor_ms

    @property
    def unsure(self) -> bool:
        """Whether no zone has told the time since this store was opened."""
        return self._anchor is None

    def heard(self, now_ms: int, leader_ms: int) -> None:
        """The leader's clock said `leader_ms` (wall) in a heartbeat that came at `now_ms` (going forward only)."""
        self._anchor = (leader_ms, now_ms)

    def zone_ms(self, now_ms: int) -> int | None:
        """The zones' time, as far as it can be known here; None for an unsure clock."""
        if self._anchor is None:
            return None
        leader_ms, at_ms = self._anchor
        return leader_ms + (now_ms - at_ms)

    def read(self, now_ms: int, wall_ms: int) -> HybridTime:
        """The next reading, above every earlier one of this clock but where those proved to be far ahead.

        An earlier reading may be hours ahead: it was taken by a wrong wall clock before the first heartbeat. To go on
        from it, counting, would poison every later operation with the same wrong hour. It is safe to step back: a
        site's later operation has seen its earlier ones (rule 10), so their clocks are never compared.
        """
        zone_ms = self.zone_ms(now_ms)
        time_ms = max(wall_ms, self.floor_ms) if zone_ms is None else zone_ms
        first = 0 if zone_ms is None else SURE
        last = self._last
        if zone_ms is not None and last.wall_ms > zone_ms + AHEAD_MS:
            last = HybridTime(0, 0)
        if time_ms > last.wall_ms:
            self._last = HybridTime(time_ms, first)
        else:
            self._last = HybridTime(last.wall_ms, max(first, last.counter + 1))
        return self._last


def is_sure(reading: HybridTime) -> bool:
    """Whether the reading was taken by a clock that went by the zones' time."""
    return reading.counter >= SURE
