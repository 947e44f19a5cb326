"""An operation: what somebody did or reported, with what its author had seen when it was issued.

Operations are what sites journal, send and replay; values are never sent, because the merge is decided where an
operation is applied, on every replica alike, and not where it was made (Bayou). The rules named here are those of
docs/offline.md.
"""

from __future__ import annotations

from msgspec import Struct

from replica.cases.commands import Payload


class HybridTime(Struct, frozen=True, array_like=True, order=True):
    """A hybrid logical clock reading: wall time in ms since 1970 (UTC), and a counter for what happened within one
    ms."""

    wall_ms: int
    counter: int = 0


class OperationId(Struct, frozen=True, array_like=True, order=True):
    """`(site, incarnation, seq)` (rule 1). The incarnation is 16 random bytes drawn at each opening of the store
    (rule 2); `seq` counts from 1 within it, 0 being the opening itself (rule 3)."""

    site: str
    incarnation: bytes
    seq: int

    def __str__(self) -> str:
        return f"{self.site}/{self.incarnation.hex()}/{self.seq}"

    @classmethod
    def parse(cls, text: str) -> OperationId:
        """The reverse of `str`. Raises ValueError where the text is not of that form."""
        site, incarnation, seq = text.rsplit("/", 2)
        return cls(site, bytes.fromhex(incarnation), int(seq))


class Operation(Struct, frozen=True, array_like=True):
    """One operation, as journalled and as it stands in the agreed log (rule 1).

    `epoch` is the epoch of the author's own owner (its Samu) as its state showed it; `seen` the applied index of the
    author's state; `clock` the author's hybrid clock; `act_ms` when the act happened in the world (what a person or a
    message says; it orders only what its rule says). `have` is the highest number of this incarnation (rule "verdicts
    kept") whose verdict the author holds durably: kept verdicts up to it may be let go.
    """

    id: OperationId
    epoch: int
    seen: int
    clock: HybridTime
    act_ms: int
    author: str
    payload: Payload
    have: int = 0
    key: str = ""
    """The caller's own idempotency key; empty for none."""


class Batch(Struct, frozen=True, array_like=True):
    """What one entry of the agreed log holds: operations, in order, with the leader's time and the feature level they
    are applied under. Empty for a leader's first entry of its term.

    `spoken`: the highest level that every voter spoke when the leader appended this, 0 where it did not know: the
    level is not raised above it (levels.py). `heard`: the sites that some zone heard then, where an operation asks for
    it: what is heard is not taken over unless somebody forces it (returning.py)."""

    time_ms: int
    level: int
    operations: tuple[Operation, ...]
    spoken: int = 0
    heard: tuple[str, ...] = ()
