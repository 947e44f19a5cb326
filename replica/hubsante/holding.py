"""What holds in the state, as facts: from a view of a case, resource or request to what encode.py lets out.

One value a field, the one that holds; every element of the growing fields. Proposals, the other sides of conflicts and
history stay here: the standard has no word for them, and a partner must not read them as said.
"""

from __future__ import annotations

from collections.abc import Iterable

from replica.cases.commands import Fact
from replica.cases.views import CaseView, ElementView, EngagementView, FieldView, RequestView, ResourceView, ValueView


def case_facts(case: CaseView) -> tuple[Fact, ...]:
    facts = [*_fields(case.fields), *_fields(case.statuses), *_elements(case.elements)]
    if case.owner and all(fact.field != "owner" for fact in facts):
        facts.append(Fact("owner", case.owner))
    return tuple(facts)


def resource_facts(resource: ResourceView, mission: EngagementView | None = None) -> tuple[Fact, ...]:
    """mission: the resource's part in the case it is sent for, with its statuses; None for what it is without one."""
    fields = _fields(one for one in resource.fields if one.field != "status")
    steps = () if mission is None else (_fact("status", "", step.status) for step in mission.steps)
    return (*fields, *_elements(resource.elements), *steps)


def request_facts(request: RequestView) -> tuple[Fact, ...]:
    return _fields(request.fields)


def _fields(fields: Iterable[FieldView]) -> tuple[Fact, ...]:
    return tuple(_fact(one.field, one.key, one.values[0]) for one in fields if one.values)


def _elements(elements: Iterable[ElementView]) -> tuple[Fact, ...]:
    return tuple(_fact(one.field, one.key, one.value) for one in elements)


def _fact(field: str, key: str, value: ValueView) -> Fact:
    return Fact(field, value.value, key, value.at_ms)
