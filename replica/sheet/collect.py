"""From records to a sheet's plain values: open cases of a scope, most severe first, and the resources with them.

It goes in steps, a case at a time, so that a running site can do something else in between; each step asks for the
records anew, so what it reads is never older than the step. Whatever cannot be read is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from replica.cases import keys, queries, registry
from replica.cases.authority import reach
from replica.cases.draft import Draft, drafted
from replica.cases.fields import PRIORITIES
from replica.cases.owners import CLOSED_STATUSES
from replica.cases.records import Records
from replica.cases.state import HEAD, Head
from replica.cases.views import ResourceView
from replica.errors import StoreDamaged, StoreError
from replica.sheet import view
from replica.sheet.model import CaseSheet, Facts, PaperAct, ResourceSheet, Sheet, Trouble
from replica.sheet.tolerant import subject_of, tolerant

HEADS_A_STEP = 500
MOST_TROUBLES = 12
"""Damaged records that are named one by one; a file that is damaged all over would fill the page with names."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose cases: of one `owner` (any of its names), else what `site` answers for and what nobody of ours does, else
    all (both empty)."""

    site: str = ""
    owner: str = ""

    def covers(self, draft: Draft, head: Head) -> bool:
        if self.owner:
            return registry.is_same(draft, self.owner, head.owner)
        if not self.site:
            return True
        held = reach(draft, head)
        return held.holder in (self.site, "") or held.samu == self.site


@dataclass(slots=True)
class Damage:
    """What was found damaged on the way: which parts of which subject, and the rest."""

    parts: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    troubles: dict[Trouble, None] = field(default_factory=dict)

    def note(self, key: bytes | None, damaged: StoreDamaged) -> None:
        """As `tolerant.OnDamage`."""
        if key is None:
            self.troubles[Trouble("structure", damaged.record)] = None
            return
        subject = subject_of(key)
        if subject is None:
            self.troubles[Trouble("other-record", damaged.record)] = None
            return
        self.parts.setdefault(subject, {})[_part(key)] = None
        self.troubles[Trouble("record", damaged.record, subject[1])] = None

    def all(self) -> tuple[Trouble, ...]:
        """Every trouble, the first ones by name, the rest counted."""
        found = tuple(self.troubles)
        rest = len(found) - MOST_TROUBLES
        return found if rest <= 0 else (*found[:MOST_TROUBLES], Trouble("more", str(rest)))


_PARTS = {b"m": "mission", b"t": "mission", b"M": "mission", b"h": "history", b"v": "history", b"n": "history"}
_GROUPS = ("core", "location", "patient", "alerts", "notes", "decisions", "additional")
_ELEMENTS = {"medical_note": "notes", "freetext": "notes", "decision": "decisions", "patient": "patient",
             "initial_alert": "alerts", "new_alert": "alerts"}  # fmt: skip


def _part(key: bytes) -> str:
    """What a damaged record of a subject held, as a word of words.py (`part.…`)."""
    if key[:1] in keys.HEADS.values():
        return "head"
    rest = key.partition(b"\0")[2]
    name = rest[1:].partition(b"\0")[0].decode("ascii", "replace")
    if rest[:1] == b"f" and name in _GROUPS:
        return name
    if rest[:1] == b"u":
        return _ELEMENTS.get(name, "location" if name.startswith("location") else "other")
    return _PARTS.get(rest[:1], "other")


@dataclass(frozen=True, slots=True)
class Look:
    """The records as they are now, and up to where they are agreed: what stands above `index` is tentative."""

    records: Records
    index: int


def collect(look: Look, facts: Facts, scope: Scope, damage: Damage, acts: Iterable[PaperAct] = ()) -> Sheet:
    """The whole sheet at once, from a state that stands still."""
    steps = collecting(lambda: look, facts, scope, damage, acts)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            sheet: Sheet = done.value
            return sheet


def collecting(
    look: Callable[[], Look], facts: Facts, scope: Scope, damage: Damage, acts: Iterable[PaperAct] = ()
) -> Generator[None, None, Sheet]:
    """The sheet, a small step at a time; its value is what the generator returns.

    `look` is asked at each step. `damage` may already know of some, and is filled.
    """
    reader = _Reader(look, damage)
    counted, ids, heads = _Counted(), [], reader.heads("case")
    for number, head in enumerate(heads):
        if number % HEADS_A_STEP == HEADS_A_STEP - 1:
            yield
        if reader.guarded(head.id, partial(_takes, counted, scope, reader, head)):
            ids.append(head.id)
    cases: list[CaseSheet] = []
    for case_id in ids:
        yield
        cases.append(reader.case(case_id))
    engaged = {one.resource for case in cases for one in case.engaged}
    resources: list[ResourceSheet] = []
    for head in list(reader.heads("resource")):
        yield
        if head.id in engaged or reader.guarded(head.id, partial(_covers, scope, reader, head)):
            resources.append(reader.resource(head.id))
    return Sheet(
        facts,
        damage.all(),
        tuple(sorted(cases, key=severity)),
        tuple(resources),
        tuple(acts),
        counted.closed,
        counted.elsewhere,
    )


def severity(case: CaseSheet) -> tuple[int, int, str]:
    """What a dispatcher must see first: P0 before P1; what nobody has ranked after all that is; then the oldest."""
    priority = case.priority.value if case.priority is not None else ""
    rank = PRIORITIES.index(priority) if priority in PRIORITIES else len(PRIORITIES)
    return rank, case.opened_ms, case.id


@dataclass(slots=True)
class _Counted:
    closed: int = 0
    elsewhere: int = 0

    def takes(self, scope: Scope, draft: Draft, head: Head) -> bool:
        """Whether this case is on the sheet; counts those that are not."""
        if head.same_as:
            return False  # it is inside the case it turned out to be
        covered = scope.covers(draft, head)
        is_open = head.status not in CLOSED_STATUSES
        self.closed += covered and not is_open
        self.elsewhere += is_open and not covered
        return covered and is_open


def _takes(counted: _Counted, scope: Scope, reader: _Reader, head: Head) -> bool:
    return counted.takes(scope, reader.draft(), head)


def _covers(scope: Scope, reader: _Reader, head: Head) -> bool:
    return scope.covers(reader.draft(), head)


class _Reader:
    """Reads subject by subject, whatever is damaged."""

    def __init__(self, look: Callable[[], Look], damage: Damage) -> None:
        self._look = look
        self._damage = damage

    def _records(self) -> Records:
        return tolerant(self._look().records, self._damage.note)

    def draft(self) -> Draft:
        return drafted(self._records())

    def heads(self, kind: str) -> Iterator[Head]:
        return (HEAD.decode(value) for _, value in self._records().scan(keys.HEADS[kind]))

    def guarded(self, subject: str, ask: Callable[[], T]) -> T | None:
        """The answer; None where it cannot be had, which is then said on the sheet."""
        try:
            return ask()
        except (StoreError, AssertionError) as problem:
            # A record left out may be one that another names: the core asserts what only damage can break.
            self._damage.troubles[Trouble("subject", str(problem), subject)] = None
            return None

    def case(self, case_id: str) -> CaseSheet:
        look = self._look()
        found = self.guarded(case_id, lambda: queries.read_case(self._records(), case_id, look.index))
        if found is None:
            return view.unreadable_case(case_id)
        vehicles = {one.resource: self._vehicle(one.resource, look.index) for one in found.engagements}
        return view.case_sheet(found, vehicles, tuple(self._damage.parts.get(("case", case_id), ())))

    def resource(self, resource_id: str) -> ResourceSheet:
        index = self._look().index
        found = self._resource(resource_id, index)
        damaged = ("resource", resource_id) in self._damage.parts
        return view.unreadable_resource(resource_id) if found is None else view.resource_sheet(found, damaged)

    def _resource(self, resource_id: str, index: int) -> ResourceView | None:
        return self.guarded(resource_id, lambda: queries.read_resource(self._records(), resource_id, index))

    def _vehicle(self, resource_id: str, index: int) -> ResourceView | None:
        return self._resource(resource_id, index)
