"""What a reader sees of the state: whole, with where every value comes from. Plain types that turn into JSON as
they are.

`msgspec.to_builtins(view)` or `msgspec.json.encode(view)`; operation ids are text (`OperationId.parse` reads them
back)."""

from __future__ import annotations

from msgspec import Struct


class ValueView(Struct, frozen=True, omit_defaults=True):
    """One value: who said it, when it happened (`act_ms`), the value's own time (`at_ms`), when and by which entry
    of the log it was agreed. `tentative`: not agreed yet, this site's own. `clock_said_ms`: the author's clock
    where it ran ahead."""

    value: str
    author: str
    act_ms: int
    at_ms: int
    agreed_ms: int
    operation: str
    index: int
    with_authority: bool
    tentative: bool = False
    clock_said_ms: int | None = None


class FieldView(Struct, frozen=True, omit_defaults=True):
    """A field, or one key of a keyed one. `values`: the holder first; more than one is a conflict."""

    field: str
    values: tuple[ValueView, ...]
    key: str = ""
    conflict: bool = False
    proposed: tuple[ValueView, ...] = ()


class ElementView(Struct, frozen=True, omit_defaults=True):
    """A note, decision, patient, alert, document: an element that only ever was added."""

    field: str
    value: ValueView
    key: str = ""


class PastView(Struct, frozen=True, omit_defaults=True):
    """A value that does not hold: `became`: replaced, superseded or released; `rule` and `by` the operation that
    decided it."""

    subject: str
    field: str
    value: ValueView
    became: str
    rule: str
    by: str
    by_index: int
    key: str = ""


class VerdictView(Struct, frozen=True, omit_defaults=True):
    operation: str
    act: str
    author: str
    act_ms: int
    agreed_ms: int
    index: int
    kind: str
    findings: tuple[dict[str, str], ...] = ()
    reason: str = ""
    tentative: bool = False


class StepView(Struct, frozen=True):
    mission: int
    status: ValueView


class EngagementView(Struct, frozen=True, omit_defaults=True):
    """A resource as one case sees it. `state`: "engaged", "conflict" (also engaged elsewhere), "proposed" (a
    stranger says so), "over". `missions`: each mission's number, status, whether it is over; `steps` by act
    time."""

    resource: str
    state: str
    holds: bool
    values: tuple[ValueView, ...] = ()
    proposed: tuple[ValueView, ...] = ()
    missions: tuple[tuple[int, str, bool], ...] = ()
    steps: tuple[StepView, ...] = ()


class ChargeView(Struct, frozen=True, omit_defaults=True):
    """Who answers for this. `samu`: the site that serves the owner; `holder`: the site in charge (empty: nobody of
    ours)."""

    samu: str
    holder: str
    epoch: int
    since_index: int = 0


class CaseView(Struct, frozen=True, omit_defaults=True):
    """A case, whole. `status` is its own (its owner's), `statuses` each organisation's. `incomplete`: only updates
    named it so far. `history`: every value that does not hold any more or never did, oldest first; `linked`: cases
    opened under its sender's number alone, with what they hold."""

    id: str
    owner: str
    charge: ChargeView
    open: bool
    status: str
    incomplete: bool
    tentative: bool
    opened_ms: int
    opened_by: str
    opened_index: int
    fields: tuple[FieldView, ...]
    statuses: tuple[FieldView, ...] = ()
    elements: tuple[ElementView, ...] = ()
    documents: tuple[ElementView, ...] = ()
    engagements: tuple[EngagementView, ...] = ()
    requests: tuple[RequestView, ...] = ()
    conflicts: tuple[str, ...] = ()
    history: tuple[PastView, ...] = ()
    verdicts: tuple[VerdictView, ...] = ()
    linked: tuple[CaseView, ...] = ()
    same_as: str = ""

    def value(self, field: str, key: str = "") -> str | None:
        """The value that holds; None where nothing was said."""
        for view in (*self.fields, *self.statuses):
            if view.field == field and view.key == key:
                return view.values[0].value if view.values else None
        return None


class ResourceView(Struct, frozen=True, omit_defaults=True):
    """A resource, whole. `status` and `serves` are what holds; empty where nothing was said."""

    id: str
    owner: str
    charge: ChargeView
    incomplete: bool
    tentative: bool
    status: str
    serves: str
    fields: tuple[FieldView, ...]
    elements: tuple[ElementView, ...] = ()
    mission_case: str = ""
    mission: int = 0
    cases: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    history: tuple[PastView, ...] = ()

    def value(self, field: str) -> str | None:
        for view in self.fields:
            if view.field == field:
                return view.values[0].value if view.values else None
        return None


class RequestView(Struct, frozen=True, omit_defaults=True):
    id: str
    owner: str
    case: str
    incomplete: bool
    tentative: bool
    fields: tuple[FieldView, ...]
    conflicts: tuple[str, ...] = ()
    history: tuple[PastView, ...] = ()


class ConflictView(Struct, frozen=True, omit_defaults=True):
    """An open conflict: the values, the holder first, and since when."""

    subject: str
    id: str
    field: str
    values: tuple[ValueView, ...]
    owner: str
    since_index: int
    since_ms: int
    key: str = ""


class StreamView(Struct, frozen=True, omit_defaults=True):
    """One incarnation of a site as the agreed state knows it (rule 4)."""

    incarnation: bytes
    last: int
    closed_at: int | None
    prev: bytes | None
    prev_last: int
    drain: bool
    current: bool


class SiteView(Struct, frozen=True):
    """A site as the agreed state knows it: verdicts counted by kind, whether it was ever restored from a backup
    (rule 7)."""

    site: str
    current: bytes | None
    restored: bool
    epoch: int
    holder: str
    verdicts: dict[str, int]


class GenerationView(Struct, frozen=True):
    """One time that the cluster was forced new: `agreed_ms` and `index` of the entry that says so."""

    generation: int
    who: str
    wall_ms: int
    from_cluster: str
    from_index: int
    cluster: str
    agreed_ms: int
    operation: str
    index: int


class ChargeChangeView(Struct, frozen=True):
    samu: str
    before: str
    holder: str
    epoch: int
    cases: tuple[str, ...]
    reason: str
    author: str
    act_ms: int
    agreed_ms: int
    operation: str
    index: int
