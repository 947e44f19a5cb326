"""The naive model's log: which operation is next, what its author had seen, and who was in charge (naive_merge.py).

Rules 5, 6, 10, 12 and 13 of docs/offline.md. What an author had seen is a set of operations; who is in charge is found
by walking through every take-over and hand-back there ever was.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from replica.cases.commands import Opening
from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import VerdictKind

AHEAD_MS = 500
"""A clock is believed up to so much ahead of the leader's."""

DEVIATIONS = {
    "one-entry": """What stands in one entry happens at once: neither is a case opened *after* a take-over in the same
        entry, nor is one case taken or handed back after or before all of them.""",
    "by-id": "Of what was said in one entry the first is the one of the lowest id, not the one that stands first.",
    "organisation": """A vehicle belongs to whoever was named last by somebody who may, though by "latest" another
        organisation holds.""",
    "handed-back": """A hand-back of all work (or a take-over by the Samu itself) also renews the charge of what the
        Samu opened itself meanwhile: it has no authority over that before it has seen the hand-back.""",
}
"""Where the product (of feature levels 1 and 2, which stay as they are) does otherwise than the rules say. The model
follows it, unless it is told to be strict, so that it finds what else there may be."""

Place = tuple[int, int]
"""Where an operation stands in the log: entry, and place in the entry."""


@dataclass
class Said:
    """One value that somebody said of a field."""

    value: str
    by: OperationId
    place: Place
    heard_ms: int
    clock: tuple[int, int]
    at_ms: int
    authority: bool
    before: str = ""

    @property
    def own_time(self) -> tuple[int, tuple[int, int], OperationId]:
        return min(self.at_ms, self.heard_ms + AHEAD_MS), self.clock, self.by


@dataclass
class Values:
    """What is said of one field: the holder first, and what strangers proposed."""

    holds: list[Said] = field(default_factory=list)
    proposed: list[Said] = field(default_factory=list)


@dataclass
class Thing:
    """A case, a resource or a request. `owned`: since when it is its present owner's."""

    kind: str
    id: str
    owner: str
    opened: Place
    opened_by: str
    owned: Place
    created: OperationId | None = None
    created_owner: str = ""
    case: str = ""
    fields: dict[tuple[str, str], Values] = field(default_factory=dict)
    elements: set[tuple[str, ...]] = field(default_factory=set)

    def of(self, name: str, key: str = "") -> Values:
        return self.fields.setdefault((name, key), Values())


@dataclass
class Change:
    """A take-over or a hand-back. `cases`: () for all of the Samu's work."""

    is_take_over: bool
    giver: str
    to: str
    cases: tuple[str, ...]
    epoch: int
    by: OperationId
    place: Place


@dataclass
class Run:
    n: int
    said: Said
    ended: bool


@dataclass
class Missions:
    """Of one resource for one case."""

    runs: list[Run] = field(default_factory=list)
    engaged: bool = False
    steps: set[tuple[str, int]] = field(default_factory=set)


@dataclass
class Life:
    """One incarnation. `past`: every operation that its author's own journal has behind it."""

    last: int
    drain: bool
    past: set[OperationId]
    closed_at: int | None = None


class Log:
    """The gate, who has seen what, and who is in charge. `strictly`: names of `DEVIATIONS` in which it goes by the
    rules and not by the product."""

    def __init__(self, strictly: Collection[str] = ()) -> None:
        assert set(strictly) <= DEVIATIONS.keys(), f"{strictly}, there are {', '.join(DEVIATIONS)}"
        self.strictly = strictly
        self.agreed: list[tuple[int, OperationId]] = []
        self.lives: dict[tuple[str, bytes], Life] = {}
        self.current: dict[str, bytes] = {}
        self.restored: set[str] = set()
        self.keys: set[tuple[str, str]] = set()
        self.things: dict[tuple[str, str], Thing] = {}
        self.changes: list[tuple[str, Change]] = []
        self.missions: dict[tuple[str, str], Missions] = {}
        self.present: dict[str, tuple[str, int]] = {}
        self.said_before: dict[tuple[str, str], list[str]] = {}

    # ---------------------------------------------------------------- the gate

    def _life(self, ident: OperationId) -> Life:
        return self.lives[ident.site, ident.incarnation]

    def _gate(self, operation: Operation) -> str:
        """Rules 5 and 6."""
        ident, opening = operation.id, operation.payload
        life = self.lives.get((ident.site, ident.incarnation))
        if isinstance(opening, Opening):
            return "duplicate" if life is not None else self._gate_of_opening(ident.site, opening)
        if life is None:
            return "gap"
        if ident.seq <= life.last:
            return "duplicate"
        if life.closed_at is not None and ident.seq > life.closed_at:
            return "closed"
        return "ok" if ident.seq == life.last + 1 else "gap"

    def _gate_of_opening(self, site: str, opening: Opening) -> str:
        before = self.lives.get((site, opening.prev)) if opening.prev is not None else None
        if opening.prev is not None and before is None:
            return "gap"
        if not opening.drain and opening.replaces != self.current.get(site):
            return "stale"
        if before is not None and before.last < opening.prev_last and before.closed_at is None:
            return "gap"
        return "ok"

    def _open(self, ident: OperationId, opening: Opening) -> VerdictKind:
        """A new life knows what the one before had on disk, and what that knew."""
        past: set[OperationId] = set()
        if opening.prev is not None:
            past |= self.lives[ident.site, opening.prev].past
            past = {one for one in past if one.incarnation != opening.prev or one.seq <= opening.prev_last}
        if not opening.drain:
            # Rule 7: another life came between, or the one before went further than this disk knows.
            before = self.lives[ident.site, opening.prev].last if opening.prev is not None else 0
            if self.current.get(ident.site) != opening.prev or before > opening.prev_last:
                self.restored.add(ident.site)
            for name in (opening.prev, self.current.get(ident.site)):
                closed = self.lives[ident.site, name] if name is not None else None
                if closed is not None and closed.closed_at is None and not closed.drain:
                    closed.closed_at = closed.last
            self.current[ident.site] = ident.incarnation
        self.lives[ident.site, ident.incarnation] = Life(0, opening.drain, past)
        return VerdictKind.APPLIED

    def _begin(self, operation: Operation, time_ms: int, place: Place) -> None:
        """What every rule needs to know of the operation that is decided now."""
        self.operation, self.place, self.time_ms = operation, place, time_ms
        self.site, self.found = operation.id.site, [VerdictKind.APPLIED]
        wall, limit = operation.clock.wall_ms, time_ms + AHEAD_MS
        self.clock = (min(wall, limit), operation.clock.counter)
        self.seen = {ident for index, ident in self.agreed if index <= operation.seen} | {operation.id}
        if not isinstance(operation.payload, Opening):
            self.seen |= self._life(operation.id).past

    # ---------------------------------------------------------------- who has seen what, who may what

    def saw(self, said: Said) -> bool:
        """Rule 10: by what had come to the author, or by its own journal. Never "the same site"."""
        return said.by in self.seen

    def samu(self, organisation: str) -> str:
        """The site that serves it; "" for none of ours."""
        return organisation if organisation in self.current else ""

    def epoch(self, samu: str) -> int:
        return 1 + sum(whose == samu for whose, _ in self.changes)

    def in_charge(self, thing: Thing, owner: str = "") -> tuple[str, Change | None]:
        """Rule 13, by walking through all that happened: who, and since which change."""
        samu = self.samu(owner or thing.owner)
        holder, since, taken = samu, None, (0, 0)
        renews = "handed-back" not in self.strictly
        for change in [change for whose, change in self.changes if whose == samu]:
            of_one = since is not None and bool(since.cases)
            if change.cases:
                named = thing.kind == "case" and thing.id in change.cases
                # What was taken of a former owner's work is over.
                if named and change.place >= thing.owned and self.after(change.place, taken):
                    holder, since = change.to, change
            elif change.is_take_over:
                # "Cases the site opens after the take-over are its own."
                own = thing.opened_by == samu and self.after(thing.opened, change.place)
                own = own and not (renews and change.to == samu)
                holder, since, taken = (samu, None, change.place) if own else (change.to, change, change.place)
            else:
                # It gives back what it has.
                at_once = of_one and since is not None and not self.after(change.place, since.place)
                if (holder == change.giver and not at_once) or (renews and not of_one):
                    holder, since = samu, change
        return holder, since

    def after(self, one: Place, other: Place) -> bool:
        return one > other if "one-entry" in self.strictly else one[0] > other[0]

    def charge(self, samu: str) -> tuple[str, Change | None]:
        """Of a Samu's work as a whole."""
        whole = [change for whose, change in self.changes if whose == samu and not change.cases]
        return (whole[-1].to, whole[-1]) if whole else (samu, None)

    def may(self, samu: str, holder: str, since: Change | None) -> bool:
        """Rule 12: in charge, and current epoch, and not drain."""
        if self._life(self.operation.id).drain or not holder or holder != self.site:
            return False
        if since is None:
            return True
        return since.by in self.seen and (samu != self.site or self.operation.epoch >= since.epoch)

    def authority(self, thing: Thing, owner: str = "") -> bool:
        return self.may(self.samu(owner or thing.owner), *self.in_charge(thing, owner))

    def serves(self, organisation: str) -> bool:
        samu = self.samu(organisation)
        return bool(samu) and self.may(samu, *self.charge(samu))

    def nobodys(self, thing: Thing) -> bool:
        return not self.samu(thing.owner)
