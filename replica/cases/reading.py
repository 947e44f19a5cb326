"""A case, resource or request put together from its records, as a view.

Everything of a subject lies under one prefix, so a view costs one scan; the byte after the prefix says what a
record is.

Left out: which subjects there are (queries.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.msgpack import Decoder

from replica.cases import keys, registry
from replica.cases.authority import reach
from replica.cases.draft import Draft
from replica.cases.fields import FIELDS
from replica.cases.owners import CLOSED_STATUSES
from replica.cases.state import (
    CURRENT,
    ELEMENT,
    GROUP,
    HEAD,
    JUDGED,
    MISSION,
    PAST,
    SLOT,
    STEP,
    Element,
    Head,
    Held,
    Judged,
    Mission,
    Past,
    Slot,
    Step,
)
from replica.cases.subjects import RESOURCE, is_conflict
from replica.cases.values import case_of
from replica.cases.verdicts import Finding, VerdictKind
from replica.cases.views import (
    CaseView,
    ChargeView,
    ElementView,
    EngagementView,
    FieldView,
    PastView,
    RequestView,
    ResourceView,
    StepView,
    ValueView,
    VerdictView,
)

_TEXT = Decoder(str)


@dataclass(slots=True)
class Parts:
    """All records of one subject, decoded and sorted by what they are."""

    slots: dict[str, Slot] = field(default_factory=dict)
    elements: list[Element] = field(default_factory=list)
    documents: list[Element] = field(default_factory=list)
    history: list[Past] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    missions: list[Mission] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def parts_of(draft: Draft, kind: str, subject: str) -> Parts:
    found, prefix = Parts(), keys.parts(kind, subject)
    for key, value in draft.scan(prefix):
        match key[len(prefix) :][:1]:
            case b"f":
                found.slots.update((name, SLOT.decode(raw)) for name, raw in GROUP.decode(value).items())
            case b"u":
                found.elements.append(ELEMENT.decode(value))
            case b"w":
                found.documents.append(ELEMENT.decode(value))
            case b"h":
                found.history.append(PAST.decode(value))
            case b"v":
                found.judged.append(JUDGED.decode(value))
            case b"m":
                found.missions.append(MISSION.decode(value))
            case b"t":
                found.steps.append(STEP.decode(value))
            case b"q":
                found.requests.append(_TEXT.decode(value))
    return found


def value_view(held: Held, applied_index: int) -> ValueView:
    return ValueView(
        held.value,
        held.author,
        held.act_ms,
        held.at_ms,
        held.time_ms,
        str(held.operation),
        held.index,
        held.authority,
        held.index > applied_index,
        None if held.said is None else held.said.wall_ms,
    )


def slot_view(kind: str, name: str, slot: Slot, applied_index: int) -> FieldView:
    title, _, key = name.partition("\0")
    values = tuple(value_view(held, applied_index) for held in slot.siblings)
    proposed = tuple(value_view(held, applied_index) for held in slot.proposed)
    return FieldView(title, values, key, is_conflict(FIELDS[kind][title], slot.siblings), proposed)


def _fields(kind: str, parts: Parts, applied_index: int) -> tuple[FieldView, ...]:
    """In order of their names; a field with neither value nor proposal (a vehicle released) is not shown."""
    shown = ((name, slot) for name, slot in sorted(parts.slots.items()) if slot.siblings or slot.proposed)
    return tuple(slot_view(kind, name, slot, applied_index) for name, slot in shown)


def _elements(elements: list[Element], applied_index: int) -> tuple[ElementView, ...]:
    """By field, then by act time: versions of one note come together, the newest last."""
    ordered = sorted(elements, key=lambda one: (one.field, one.key, one.held.at_ms, one.held.index, one.held.value))
    return tuple(ElementView(one.field, value_view(one.held, applied_index), one.key) for one in ordered)


def _history(parts: Parts, applied_index: int) -> tuple[PastView, ...]:
    ordered = sorted(parts.history, key=lambda past: (past.by_index, past.held.index))
    return tuple(past_view(past, applied_index) for past in ordered)


def _became(past: Past) -> str:
    """What became of a value: a word for people."""
    if past.rule == "released":
        return "released"
    return "superseded" if past.kind is VerdictKind.SUPERSEDED else "replaced"


def past_view(past: Past, applied_index: int) -> PastView:
    value = value_view(past.held, applied_index)
    return PastView(past.subject, past.field, value, _became(past), past.rule, str(past.by), past.by_index, past.key)


def _conflicts(fields: tuple[FieldView, ...]) -> tuple[str, ...]:
    return tuple(f"{one.field}[{one.key}]" if one.key else one.field for one in fields if one.conflict)


def charge_view(draft: Draft, head: Head) -> ChargeView:
    held = reach(draft, head)
    return ChargeView(held.samu, held.holder, held.epoch, held.raised.index if held.raised is not None else 0)


def case_view(draft: Draft, head: Head, applied_index: int, with_linked: bool = True) -> CaseView:
    """The case, whole; cases joined to it are inside it, one deep."""
    parts = parts_of(draft, "case", head.id)
    shown = _fields("case", parts, applied_index)
    linked = [_named(draft, "case", other) for other in head.linked] if with_linked else []
    return CaseView(
        id=head.id,
        owner=head.owner,
        charge=charge_view(draft, head),
        open=head.status not in CLOSED_STATUSES,
        status=head.status,
        incomplete=head.incomplete,
        tentative=head.opened.index > applied_index,
        opened_ms=head.opened_ms,
        opened_by=head.opened_by,
        opened_index=head.opened.index,
        fields=tuple(one for one in shown if one.field != "status"),
        statuses=tuple(one for one in shown if one.field == "status"),
        elements=_elements(parts.elements, applied_index),
        documents=_elements(parts.documents, applied_index),
        engagements=_engagements(draft, head.id, parts, applied_index),
        requests=_requests(draft, parts, applied_index),
        conflicts=_conflicts(shown),
        history=_history(parts, applied_index),
        verdicts=tuple(verdict_view(one, applied_index) for one in parts.judged),
        linked=tuple(case_view(draft, one, applied_index, False) for one in linked),
        same_as=head.same_as,
    )


def _named(draft: Draft, kind: str, subject: str) -> Head:
    """A case or request that a case names as its own. It was opened then, and none is ever taken away."""
    head = draft.load(keys.head(kind, subject), HEAD)
    assert head is not None, f"the {kind} {subject} is named by a case, and there is {head}"
    return head


def verdict_view(judged: Judged, applied_index: int) -> VerdictView:
    return VerdictView(
        str(judged.operation),
        judged.act,
        judged.author,
        judged.act_ms,
        judged.time_ms,
        judged.index,
        judged.verdict.kind.value,
        tuple(finding_view(finding) for finding in judged.verdict.findings),
        judged.verdict.reason,
        judged.index > applied_index,
    )


def finding_view(finding: Finding) -> dict[str, str]:
    """What a rule said of one field, without what is empty."""
    said = {
        "subject": finding.subject,
        "field": finding.field,
        "key": finding.key,
        "kind": finding.kind.value,
        "rule": finding.rule,
        "other": str(finding.other) if finding.other is not None else "",
    }
    return {name: text for name, text in said.items() if text}


def _engagements(draft: Draft, case: str, parts: Parts, applied_index: int) -> tuple[EngagementView, ...]:
    """Every resource that was ever engaged, proposed or heard of for this case."""
    return tuple(
        _engagement(draft, case, mission, parts, applied_index)
        for mission in sorted(parts.missions, key=lambda one: one.resource)
    )


def _engagement(draft: Draft, case: str, mission: Mission, parts: Parts, applied_index: int) -> EngagementView:
    group = keys.group(keys.parts("resource", mission.resource), RESOURCE["engagement"].group, "")
    slot = draft.slot(group, "engagement")
    mine = tuple(held for held in slot.siblings if case_of(held) == case)
    proposed = tuple(held for held in slot.proposed if case_of(held) == case)
    state = "proposed" if proposed else "over"
    if mine:
        state = "conflict" if is_conflict(RESOURCE["engagement"], slot.siblings) else "engaged"
    steps = sorted((step for step in parts.steps if step.resource == mission.resource), key=_by_act_time)
    return EngagementView(
        mission.resource,
        state,
        bool(mine) and slot.siblings[0] in mine,
        tuple(value_view(held, applied_index) for held in slot.siblings) if mine else (),
        tuple(value_view(held, applied_index) for held in proposed),
        tuple((run.n, run.held.value, run.ended) for run in mission.runs),
        tuple(StepView(step.n, value_view(step.held, applied_index)) for step in steps),
    )


def _by_act_time(step: Step) -> tuple[int, int, int, str]:
    return step.n, step.held.at_ms, step.held.index, step.held.value


def _requests(draft: Draft, parts: Parts, applied_index: int) -> tuple[RequestView, ...]:
    heads = [_named(draft, "request", request) for request in parts.requests]
    return tuple(request_view(draft, head, applied_index) for head in heads)


def request_view(draft: Draft, head: Head, applied_index: int) -> RequestView:
    parts = parts_of(draft, "request", head.id)
    shown = _fields("request", parts, applied_index)
    return RequestView(
        head.id,
        head.owner,
        head.case,
        head.incomplete,
        head.opened.index > applied_index,
        shown,
        _conflicts(shown),
        _history(parts, applied_index),
    )


def resource_view(draft: Draft, head: Head, applied_index: int) -> ResourceView:
    parts = parts_of(draft, "resource", head.id)
    shown = _fields("resource", parts, applied_index)
    status, engagement = parts.slots.get("status"), parts.slots.get("engagement")
    # Nobody proposes a status, and one that was said is only ever replaced.
    assert status is None or status.siblings, f"the status of {head.id} holds {status}"
    current = draft.load(keys.current_mission(keys.parts("resource", head.id)), CURRENT)
    return ResourceView(
        id=head.id,
        owner=registry.canonical(draft, head.owner),
        charge=charge_view(draft, head),
        incomplete=head.incomplete,
        tentative=head.opened.index > applied_index,
        status=status.siblings[0].value if status is not None else "",
        serves=case_of(engagement.siblings[0]) if engagement is not None and engagement.siblings else "",
        fields=shown,
        elements=_elements(parts.elements, applied_index),
        mission_case=current.case if current is not None else "",
        mission=current.n if current is not None else 0,
        cases=current.cases if current is not None else (),
        conflicts=_conflicts(shown),
        history=_history(parts, applied_index),
    )
