"""What a demo run came to: the fields of its JSON, and whether it was good."""

from __future__ import annotations

from msgspec import Struct

from replica.demo.play import Moment


class Conflict(Struct, frozen=True):
    """One that waits for a person: where, and the values side by side, the holder first."""

    subject: str
    field: str
    values: tuple[str, ...]


class DemoResult(Struct, frozen=True, kw_only=True):
    """Times in ms, None for what did not happen in this run.

    `agreed` and `journalled`: what the callers were told first. `lost`: operations a caller holds a receipt for that
    some store does not have, or has with another verdict. `duplicated`: acts that some store has more than once.
    `verdicts_total`: operations that have exactly one verdict. All three come from laying the receipts beside the
    stores on disk.
    """

    messages: int = 0
    operations: int = 0
    agreed: int = 0
    journalled: int = 0
    verdicts: dict[str, int] = {}
    verdicts_total: int = 0
    lost: int = 0
    duplicated: int = 0
    refused_messages: int = 0
    digests_equal: bool = False
    conflicts_open: int = 0
    failover_ms: float | None = None
    cut_off_detected_ms: float | None = None
    longest_submit_ms: float = 0.0
    reconcile_ms: float | None = None
    seconds: float = 0.0
    ok: bool = False
    problems: tuple[str, ...] = ()
    """What is not as it should be, in words; empty where `ok`."""


class Shown(Struct, frozen=True, kw_only=True):
    """What is shown to a person beside the result."""

    timeline: tuple[Moment, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    digests: dict[str, str] = {}
    """Node → digest of the records in its store, read from disk."""
    refused: tuple[tuple[str, str], ...] = ()
    """(message, what is wrong with it)."""
    data: str = ""
    """Where the stores stay; empty where they are gone."""
