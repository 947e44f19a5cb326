"""Percentiles of measured times, and how they are printed. All times in ms."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct


class Distribution(Struct, frozen=True):
    """Nearest-rank percentiles: each is a value that was measured, none is made up between two. `ms`: all of them, in
    the order they were measured."""

    p50: float
    p90: float
    p99: float
    max: float
    ms: tuple[float, ...]

    def line(self) -> str:
        return (
            f"p50 {self.p50:.1f}  p90 {self.p90:.1f}  p99 {self.p99:.1f}  max {self.max:.1f} ms  (n = {len(self.ms)})"
        )


def distribution(values_ms: Sequence[float]) -> Distribution:
    """Raises ValueError for no values: there is no such distribution."""
    if not values_ms:
        raise ValueError("no values")
    ordered = sorted(values_ms)
    return Distribution(
        percentile(ordered, 50),
        percentile(ordered, 90),
        percentile(ordered, 99),
        round(ordered[-1], 3),
        tuple(round(value, 3) for value in values_ms),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the ordered ones do not exceed."""
    if not 0 < percent <= 100:
        raise ValueError(f"percentile {percent:g} is not above 0 and up to 100")
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 3)
