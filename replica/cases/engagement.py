"""Which case a resource serves now.

Its owner engages it, or an accepted request does; a stranger's report is *proposed*. One case at a time: two
written apart are the conflict "double engagement", both shown, the owner's holds meanwhile. A status that ends the
mission releases it.

A report that names a resource for a case implies its engagement there, once per mission: a description sent again
later, when the vehicle has long been sent elsewhere, does not call it back.

A vehicle's own Samu may engage it even where its work was taken over without its knowing: the vehicle has really
left. Such an engagement comes without authority, so it never holds over the one of whoever is in charge."""

from __future__ import annotations

from msgspec.structs import replace

from replica.cases import registry
from replica.cases.act import NO_AUTHORITY, Act, plain
from replica.cases.authority import is_nobodys, reach
from replica.cases.fields import Rule
from replica.cases.merge import Outcome, Siblings, keep_all
from replica.cases.missions import load_mission, put_mission
from replica.cases.state import Held, Mission, Slot
from replica.cases.subjects import REQUEST, RESOURCE, Target, find, propose, put_slot, remember, slot_of, split
from replica.cases.values import Engaged, answer_of, case_of, engagement, parse
from replica.cases.verdicts import VerdictKind

ENGAGEMENT = RESOURCE["engagement"]
ANSWER = REQUEST["answer"]
ACCEPTING = ("ACCEPTEE", "PARTIELLE")
DOUBLE = "double-engagement"


def imply(act: Act, target: Target, wanted: Engaged) -> None:
    """A report says something of the resource for this case: it serves it, unless that was said before of this
    mission."""
    mission = load_mission(act, target, wanted.case) or Mission(target.id)
    if mission.runs and mission.runs[-1].ended:
        return
    slot = slot_of(act, target, ENGAGEMENT)
    if mission.engaged:
        _tell_more(act, target, slot, wanted)
    elif _may_engage(act, target, wanted.case) or all(case_of(held) != wanted.case for held in slot.proposed):
        engage(act, target, wanted)


def _tell_more(act: Act, target: Target, slot: Slot, wanted: Engaged) -> None:
    """The engagement stands; a mission's or a patient's number said for the first time is added to it."""
    for held in slot.siblings:
        known = parse(held.value)
        more = Engaged(wanted.case, known.mission or wanted.mission, known.patient or wanted.patient)
        if known.case == wanted.case and more != known:
            told = replace(held, value=engagement(more.case, more.mission, more.patient))
            siblings = tuple(told if other is held else other for other in slot.siblings)
            put_slot(act, target, ENGAGEMENT, "", slot, Slot(siblings, slot.proposed))
            return


def engage(act: Act, target: Target, wanted: Engaged) -> VerdictKind:
    """The resource serves `wanted.case`."""
    slot = slot_of(act, target, ENGAGEMENT)
    value = engagement(wanted.case, wanted.mission, wanted.patient)
    if not _may_engage(act, target, wanted.case):
        if any(case_of(held) == wanted.case for held in slot.siblings):
            act.find(target.id, "engagement", "", VerdictKind.MERGED, NO_AUTHORITY)
            return VerdictKind.MERGED
        _know(act, target, wanted.case, engaged=False)
        return propose(act, target, ENGAGEMENT, "", value, Rule.ENGAGEMENT.value)
    _know(act, target, wanted.case, engaged=True)
    seen, unseen = split(act, slot.siblings)
    new = act.held(value, target.authority)
    return put_outcome(act, target, slot, _outcome(seen, unseen, new), wanted.case)


def put_outcome(act: Act, target: Target, slot: Slot, outcome: Outcome, case: str) -> VerdictKind:
    """Put an engagement in place; what it ends is remembered by the case it served."""
    rest = tuple(held for held in slot.proposed if case_of(held) != case)
    put_slot(act, target, ENGAGEMENT, "", slot, Slot(outcome.siblings, rest))
    for held in outcome.lost:
        if held.value != outcome.siblings[0].value:
            remember(act, target, ENGAGEMENT, "", held, outcome.kind, Rule.ENGAGEMENT.value, case=case_of(held))
    act.find(target.id, "engagement", "", outcome.kind, outcome.rule, outcome.other)
    return outcome.kind


def decide_engagement(act: Act, target: Target, case: str) -> VerdictKind:
    """A person in charge has decided which case it serves (rule 11 holds for the decision too)."""
    slot = slot_of(act, target, ENGAGEMENT)
    seen, unseen = split(act, slot.siblings)
    dropped = tuple(held for held in slot.proposed if act.seen(held.operation, held.index))
    wanted = parse(case)
    for held in dropped:
        if case_of(held) != wanted.case:
            kind = VerdictKind.SUPERSEDED
            remember(act, target, ENGAGEMENT, "", held, kind, Rule.ENGAGEMENT.value, case=case_of(held))
    rest = tuple(held for held in slot.proposed if held not in dropped)
    put_slot(act, target, ENGAGEMENT, "", slot, Slot(slot.siblings, rest))
    _know(act, target, wanted.case, engaged=True)
    new = act.held(engagement(wanted.case, wanted.mission, wanted.patient), target.authority)
    return put_outcome(act, target, slot_of(act, target, ENGAGEMENT), _outcome(seen, unseen, new), wanted.case)


def _outcome(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    siblings = (new, *unseen) if new.authority else (*unseen, new)
    outcome = keep_all(seen, unseen, new, Rule.ENGAGEMENT.value, _cases_differ, siblings.index)
    return replace(outcome, rule=DOUBLE) if outcome.kind is VerdictKind.CONFLICT else outcome


def _cases_differ(one: Held, other: Held) -> bool:
    return case_of(one) != case_of(other)


def _may_engage(act: Act, target: Target, case: str) -> bool:
    return _is_own(act, target) or _is_accepted(act, target, case)


def _is_accepted(act: Act, target: Target, case: str) -> bool:
    """The resource is sent on a request for this case that its own side has accepted."""
    named = slot_of(act, target, RESOURCE["request"])
    request = find(act, "request", named.siblings[0].value) if named.siblings else None
    if request is None or request.head.case != case:
        return False
    standing = slot_of(act, request, ANSWER).siblings
    if not standing or answer_of(standing[0]) not in ACCEPTING:
        return False
    side = reach(act.draft, target.head)
    return standing[0].operation.site in (side.holder, side.samu)


def _is_own(act: Act, target: Target) -> bool:
    """Whether the author may engage and release it: in charge of it, or its own Samu, or nobody else is."""
    return (
        target.authority
        or is_nobodys(act.draft, target.head)
        or registry.site_of(act.draft, target.head.owner) == act.site
    )


def order_release(act: Act, target: Target, case: str) -> VerdictKind | None:
    """A person says that the resource serves this case no longer; a stranger's word is proposed. None: it did not."""
    if _is_own(act, target):
        return release(act, target, case)
    slot = slot_of(act, target, ENGAGEMENT)
    if all(case_of(held) != case for held in slot.siblings):
        return None
    return propose(act, target, ENGAGEMENT, "", engagement(case, released=True), Rule.ENGAGEMENT.value)


def release(act: Act, target: Target, case: str) -> VerdictKind | None:
    """The resource serves this case no longer: its mission is over, whoever reports it. None where it did not."""
    slot = slot_of(act, target, ENGAGEMENT)
    gone = tuple(held for held in slot.siblings if case_of(held) == case)
    proposed = tuple(held for held in slot.proposed if case_of(held) == case)
    if not gone and not proposed:
        return None
    kind = plain(target.authority)
    for held in (*gone, *proposed):
        remember(act, target, ENGAGEMENT, "", held, kind, "released", case=case)
    left = tuple(held for held in slot.siblings if held not in gone)
    rest = tuple(held for held in slot.proposed if held not in proposed)
    put_slot(act, target, ENGAGEMENT, "", slot, Slot(left, rest))
    act.find(target.id, "engagement", "", kind, "released")
    return kind


def _know(act: Act, target: Target, case: str, engaged: bool) -> None:
    """The case knows the resource, so that a reader of the case finds it, and whether it was engaged for this
    mission."""
    mission = load_mission(act, target, case)
    if mission is None or (engaged and not mission.engaged):
        runs = mission.runs if mission is not None else ()
        put_mission(act, target, case, Mission(target.id, runs, engaged))
