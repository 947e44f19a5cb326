"""What the system must reach on one machine, and how it is read out of the commands' reports."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from msgspec import Struct

Read: TypeAlias = Callable[[dict[str, Any]], float | None]
"""A report → the value, None where it does not have it."""


class Row(Struct, frozen=True, kw_only=True):
    """One target. `most`: the value may be at most that; else at least. `values`: one per round, in order."""

    act: str
    target: str
    limit: float
    most: bool
    unit: str
    values: tuple[float, ...]

    @property
    def met(self) -> bool:
        """Whether the median of the rounds reaches it."""
        if not self.values:
            return False
        middle = statistics.median(self.values)
        return middle <= self.limit if self.most else middle >= self.limit

    def reached(self) -> float:
        """The median as a share of the target; above 1 is better, whichever way the target goes."""
        middle = statistics.median(self.values)
        if self.most:
            return self.limit / middle if middle > 0 else 2.0
        return middle / self.limit if self.limit else 2.0

    def text(self) -> str:
        """The values, in the order of the rounds."""
        digits = 2 if self.limit < 10 else 1 if self.limit < 100 else 0
        return " / ".join(f"{value:,.{digits}f}" for value in self.values) + f" {self.unit}" if self.values else "-"

    def word(self) -> str:
        """How it stands."""
        if not self.values:
            return "not measured"
        return "reached" if self.met else "missed"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a row comes from: the report's name, and how the value is read out of it."""

    act: str
    target: str
    report: str
    read: Read
    limit: float
    most: bool
    unit: str


def rows(reports: Sequence[dict[str, Any]]) -> tuple[Row, ...]:
    """Every target, with one value for each round that has it. `reports`: per round, name → report."""
    return tuple(
        Row(
            act=one.act,
            target=one.target,
            limit=one.limit,
            most=one.most,
            unit=one.unit,
            values=tuple(
                round(value, 4)
                for reported in reports
                if one.report in reported and (value := one.read(reported[one.report])) is not None
            ),
        )
        for one in TARGETS
    )


def at(*path: str | int) -> Read:
    """The value at a path of names and places; None where there is none."""

    def read(report: dict[str, Any]) -> float | None:
        found: Any = report
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return None if found is None else float(found)

    return read


def _most(act: str, target: str, report: str, read: Read, limit: float, unit: str) -> Target:
    return Target(act, target, report, read, limit, True, unit)


def _least(act: str, target: str, report: str, read: Read, limit: float, unit: str) -> Target:
    return Target(act, target, report, read, limit, False, unit)


def _where(name: str, field: str, **matching: object) -> Read:
    """`field` of the first element of the list `name` that has these values."""

    def read(report: dict[str, Any]) -> float | None:
        for element in report.get(name, ()):
            if all(element.get(key) == value for key, value in matching.items()):
                return None if element.get(field) is None else float(element[field])
        return None

    return read


def _failovers(report: str, act: str, p50_ms: float, p99_ms: float) -> tuple[Target, Target]:
    return (
        _most(f"{act}: p50", f"≤ {p50_ms:g} ms", report, at("replica", "p50"), p50_ms, "ms"),
        _most(f"{act}: p99", f"≤ {p99_ms:g} ms", report, at("replica", "p99"), p99_ms, "ms"),
    )


def _handed_over(report: str, act: str) -> tuple[Target, Target]:
    return (
        _most(f"{act}: longest wait", "≤ 30 ms", report, at("replica", "max"), 30, "ms"),
        _most(f"{act}: failed writes", "0", report, at("replica", "failed_writes"), 0, ""),
    )


def _against_etcd(callers: int, limit: float, way: str = "embedded") -> Target:
    name = f"agreed writes, {way}, {callers} callers, against etcd"
    return _least(name, f"≥ {limit:g} ×", "throughput", at("callers", str(callers), f"ratio_{way}"), limit, "×")


TARGETS: Final[tuple[Target, ...]] = (
    *_failovers("failover-kill", "leader killed → agreed at a site", 20, 60),
    _least("the same, against tuned etcd", "≥ 5 ×", "failover-kill-etcd", at("ratio_p50"), 5, "×"),
    *_failovers("failover-kill-load", "the same under load", 40, 120),
    *_failovers("failover-kill-state", "the same with 200,000 cases", 40, 120),
    *_handed_over("failover-leave", "graceful leave"),
    *_handed_over("failover-transfer", "transfer"),
    *_failovers("failover-stop", "leader stopped", 300, 600),
    *_failovers("failover-cut", "leader cut", 300, 600),
    _most("false elections while saturated", "0", "false-elections", at("false_elections", "elections"), 0, ""),
    *(_against_etcd(callers, limit) for callers, limit in ((1, 1.0), (10, 1.5), (100, 2.0), (1000, 1.5))),
    _against_etcd(100, 1.0, "remote"),
    _least("linearizable reads, 100 callers, against etcd", "≥ 2 ×", "reads", at("ratio_linearizable"), 2, "×"),
    _least(
        "local whole-case reads with freshness",
        "≥ 100,000 a second",
        "reads",
        _where("kinds", "per_s", consistency="local", what="case", while_writing=False),
        100_000,
        "/s",
    ),
    _most("journalled write against a bare commit", "≤ 1.5 ×", "journal", at("ratio"), 1.5, "×"),
    _least("reconcile, 1,000", "≥ 10,000 a second", "reconcile", at("runs", 0, "per_s"), 10_000, "/s"),
    _least("reconcile, 10,000", "≥ 10,000 a second", "reconcile", at("runs", 1, "per_s"), 10_000, "/s"),
    _least("reconcile, 100,000", "≥ 10,000 a second", "reconcile", at("runs", 2, "per_s"), 10_000, "/s"),
    _most("reconcile: flatness", "≤ 1.5", "reconcile", at("flatness"), 1.5, ""),
    _most("restart, 1,000,000 entries, 200,000 cases", "< 1 s", "recovery", at("runs", 0, "serving_ms"), 1000, "ms"),
    _most("the same: resident", "< 300 MB", "recovery", at("runs", 0, "rss_mb"), 300, "MB"),
    _most("an idle site", "< 1 % of a core", "sites", at("idle_site_cpu_percent"), 1, "%"),
    _most("a site at 50 operations a second", "< 10 % of a core", "sites", at("busy_site_cpu_percent"), 10, "%"),
    _most("feed to the last of 50 sites: p99", "≤ 20 ms", "feed", at("last", "p99"), 20, "ms"),
    _most("the day: longest submit, of a budget of 250", "≤ 350 ms", "day", at("longest_submit_ms"), 350, "ms"),
    _most("the day: lost", "0", "day", at("lost"), 0, ""),
)
