"""What a partner's message says, turned into writes. A report is always accepted: an emergency's data is never refused.

A message is applied once: its id is kept with the case it speaks of, and goes into the archive with that case. For
messages that name no case (a vehicle's position) the resource remembers its last `MESSAGES_KEPT`; one that comes
again after more than those says what was said before, and "latest by its own time" makes nothing of it.

An update that names a case or resource nobody has created opens it *incomplete*; its creation completes it. A case
known only by (organisation, sender's case number) is found by the index; unknown, it is opened under a derived id,
and joined to the case that turns out to carry that number.

Only nonsense is refused, whole, before anything is written: a field that does not exist, a word outside its vocabulary.
"""

from __future__ import annotations

from msgspec.structs import replace

from replica.cases import keys, registry
from replica.cases.act import Act, refused
from replica.cases.authority import is_nobodys, reach
from replica.cases.commands import Fact, Report, Subject
from replica.cases.engagement import imply, release
from replica.cases.fields import CARE_LEVELS, CASE_STATUSES, FIELDS, PRIORITIES, RESOURCE_STATUSES, Rule
from replica.cases.merge import MISSION_PROGRESS, Outcome
from replica.cases.missions import present_case, step
from replica.cases.owners import create, say_status, transfer
from replica.cases.state import HASHES, IDENTITY, NAMES, Element
from replica.cases.subjects import (
    CASE,
    RESOURCE,
    Target,
    change_head,
    find,
    link,
    open_subject,
    propose,
    settle,
    slot_of,
    split,
    write,
)
from replica.cases.values import Engaged, parse
from replica.cases.verdicts import Finding, Verdict, VerdictKind

MESSAGES_KEPT = 64
"""Message ids remembered per resource, for messages that name no case."""

VOCABULARY: dict[tuple[str, str], tuple[str, ...]] = {
    ("case", "priority"): PRIORITIES,
    ("case", "care_level"): CARE_LEVELS,
    ("case", "patient.care_level"): CARE_LEVELS,
    ("case", "status"): CASE_STATUSES,
    ("resource", "status"): RESOURCE_STATUSES,
}
"""Fields whose rule goes by an order of words: no other word has a place in it."""


def apply_report(act: Act, report: Report) -> Verdict:
    """Every subject, then the documents, in the order the message has them."""
    problem = nonsense(report)
    if problem:
        return refused(problem)
    repeated = _repeated(act, report)
    if repeated is not None:
        return repeated
    placeholders = 0
    for subject in report.subjects:
        if subject.kind == "case":
            _case(act, report, subject)
        elif subject.kind == "resource":
            placeholders += not subject.id
            _resource(act, report, subject, placeholders)
        else:
            placeholders += not subject.id
            _request(act, report, subject, placeholders)
    for document in report.documents:
        _document(act, report, document)
    return act.verdict()


def nonsense(report: Report) -> str:
    """What in the report no rule can handle; empty for nothing."""
    for place, subject in enumerate(report.subjects):
        fields = FIELDS.get(subject.kind)
        if fields is None:
            return f"subject {place}: {subject.kind!r} is no kind of subject"
        if subject.kind == "case" and not subject.id and not subject.sender_case:
            return f"subject {place}: a case without an id and without a sender's case number"
        for fact in subject.facts:
            problem = _nonsense_fact(subject.kind, fact)
            if problem:
                return f"subject {place} ({subject.id}): {problem}"
    return ""


def _nonsense_fact(kind: str, fact: Fact) -> str:
    field = FIELDS[kind].get(fact.field)
    if field is None:
        return f"a {kind} has no field {fact.field!r}"
    words = VOCABULARY.get((kind, fact.field))
    if words is not None and fact.value not in words:
        return f"{fact.field} is {fact.value!r}, not one of {' '.join(words)}"
    if fact.key and not field.keyed and field.rule is not Rule.UNION:
        return f"{fact.field} takes no key, but has {fact.key!r}"
    if fact.field == "owner" and not fact.value:
        return "owner is empty"
    return ""


# --- messages are applied once ---


def _anchor(act: Act, report: Report) -> tuple[str, str]:
    """(kind, id) of the subject with which this message's id is kept: its first case, else its first resource or
    request."""
    for subject in report.subjects:
        if subject.kind == "case":
            return "case", known_case(act, subject) or derived_id(subject)
        if subject.case:
            return "case", subject.case
    if not report.subjects:
        return "", ""
    return report.subjects[0].kind, report.subjects[0].id


def _repeated(act: Act, report: Report) -> Verdict | None:
    """The verdict on a message that was applied before; else None, and it is remembered."""
    kind, subject = _anchor(act, report)
    if not kind or not report.message:
        return None
    act.anchor = subject if kind == "case" else ""
    place = keys.message(keys.parts(kind, subject), report.message)
    before = act.draft.load(place, IDENTITY) if kind == "case" else None
    if before is not None:
        finding = Finding(subject, "", "", VerdictKind.DUPLICATE, "message", before)
        return Verdict(VerdictKind.DUPLICATE, (finding,))
    if kind == "case":
        act.draft.put(place, act.operation.id)
        return None
    return _repeated_in_ring(act, keys.messages_ring(keys.parts(kind, subject)), subject, place[-8:])


def _repeated_in_ring(act: Act, ring: bytes, subject: str, message: bytes) -> Verdict | None:
    last = act.draft.load(ring, HASHES) or ()
    if message in last:
        return Verdict(VerdictKind.DUPLICATE, (Finding(subject, "", "", VerdictKind.DUPLICATE, "message"),))
    act.draft.put(ring, (*last, message)[-MESSAGES_KEPT:])
    return None


# --- cases ---


def derived_id(subject: Subject) -> str:
    """The id under which a case is opened that is known only by its sender's number: the standard's own form."""
    assert not subject.id, f"{subject.id} has an id, and {subject.sender_case!r} is not asked for one"
    return f"{subject.organisation}.{subject.sender_case}"


def known_case(act: Act, subject: Subject) -> str:
    """The id of the case this subject speaks of; empty where it is known only by a number nobody has named yet."""
    return subject.id or registry.case_numbered(act.draft, subject.organisation, subject.sender_case)


def _case(act: Act, report: Report, subject: Subject) -> None:
    case = known_case(act, subject)
    target = open_subject(act, "case", case or derived_id(subject))
    if not subject.id:
        _index_number(act, target, subject.organisation, subject.sender_case)
    owner = next((fact.value for fact in subject.facts if fact.field == "owner"), "")
    completes = subject.creates and target.head.incomplete
    if subject.creates:
        if target.head.same_as:
            _part(act, target)
        create(act, target, owner or subject.organisation)
    for fact in subject.facts:
        if not (completes and _was_overtaken(act, target, fact)):
            _case_fact(act, report, target, fact)
    if owner and not subject.creates:
        # Last, since what else the message says is said by the owner it transfers from.
        transfer(act, target, owner)


def _was_overtaken(act: Act, target: Target, fact: Fact) -> bool:
    """Whether an update of this field has overtaken the creation that is only coming now.

    Messages overtake each other; the creation then *completes* the case. What it was created with is the past of what
    an update has said since, as with the owner (owners.create), and goes to the history beside it. Its author had the
    update in its copy, so rule 11 alone would let the older word replace the newer one, a P0 among them.
    """
    field = CASE[fact.field]
    if field.rule not in (Rule.LATEST, Rule.MORE_SEVERE):
        return False
    slot = slot_of(act, target, field, fact.key)
    seen, unseen = split(act, slot.siblings)
    if not seen or unseen or slot.siblings[0].value == fact.value:
        return False
    new = act.held(fact.value, target.authority, fact.at_ms)
    overtaken = Outcome(slot.siblings, (new,), VerdictKind.SUPERSEDED, "overtaken", slot.siblings[0].operation)
    settle(act, target, field, fact.key, slot, overtaken)
    return True


def _case_fact(act: Act, report: Report, target: Target, fact: Fact) -> None:
    if fact.field == "owner":
        return
    if fact.field == "status":
        say_status(act, target, fact.key or report.sender, fact.value)
        return
    write(act, target, CASE[fact.field], fact.key, fact.value, fact.at_ms)
    if fact.field == "sender_case":
        _index_number(act, target, fact.key or report.sender, fact.value)


def _index_number(act: Act, target: Target, organisation: str, number: str) -> None:
    """(organisation, sender's case number) leads to this case; a case opened under that number alone is joined to
    it."""
    for alias in dict.fromkeys((organisation, registry.canonical(act.draft, organisation))):
        place = keys.sender_case(alias, number)
        known = act.draft.load(place, NAMES) or ()
        if target.id in known:
            continue
        first = find(act, "case", known[0]) if known else None
        if first is not None and first.id == f"{organisation}.{number}" and first.head.incomplete:
            _join(act, target, first)
            known = tuple(case for case in known if case != first.id)
            act.draft.put(place, (target.id, first.id, *known))
        else:
            act.draft.put(place, (*known, target.id))


def _join(act: Act, target: Target, stub: Target) -> None:
    if stub.id in target.head.linked or stub.head.same_as:
        return
    change_head(act, target, linked=(*target.head.linked, stub.id))
    change_head(act, stub, same_as=target.id)


def _part(act: Act, stub: Target) -> None:
    """It was joined to another case by its number, and now it is created under its own id: it is a case of its own."""
    other = find(act, "case", stub.head.same_as)
    assert other is not None, f"{stub.id} was joined to {stub.head.same_as}, and no case is ever taken away"
    change_head(act, other, linked=tuple(case for case in other.head.linked if case != stub.id))
    change_head(act, stub, same_as="")


# --- resources ---


def _resource(act: Act, report: Report, subject: Subject, n: int) -> None:
    """Its description, then its steps in the order they happened, then what they imply."""
    case = subject.case
    if case:
        open_subject(act, "case", case)
    resource = subject.id or f"{case}.placeholder.{report.message}.{n}"
    named = next((fact.value for fact in subject.facts if fact.field == "organisation"), subject.organisation)
    target = open_subject(act, "resource", resource, named or registry.named_in_id(resource))
    if subject.creates and target.head.incomplete:
        change_head(act, target, created=act.mark)
    for fact in subject.facts:
        if fact.field == "organisation":
            _organisation(act, target, fact)
        elif fact.field not in ("status", "engagement"):
            write(act, target, RESOURCE[fact.field], fact.key, fact.value, fact.at_ms)
    if subject.organisation:
        _adopt(act, target, subject.organisation)
    steps = [fact for fact in subject.facts if fact.field == "status"]
    for fact in sorted(steps, key=_by_step):
        take_step(act, target, case, fact.value, fact.at_ms)
    for fact in subject.facts:
        if fact.field == "engagement" and parse(fact.value, case).case:
            imply(act, target, parse(fact.value, case))
    if case:
        imply(act, target, Engaged(case))


def _by_step(fact: Fact) -> tuple[int, int]:
    return fact.at_ms, MISSION_PROGRESS[fact.value]


def take_step(act: Act, target: Target, case: str, status: str, at_ms: int) -> None:
    """A status, and what it implies: the resource serves the case; at the end of its mission it is released."""
    served = case or present_case(act, target)
    stepped = step(act, target, served, status, at_ms)
    if not served:
        return
    if stepped.ended:
        release(act, target, served)
    else:
        imply(act, target, Engaged(served))


def _organisation(act: Act, target: Target, fact: Fact) -> None:
    """Whose the resource is. Only who is in charge of it, or whom its very id names, may say that it is another's:
    else a stranger would make himself its owner by describing it."""
    if _may_adopt(act, target, fact.value):
        write(act, target, RESOURCE["organisation"], "", fact.value, fact.at_ms)
        # Under the first levels whoever said it was the owner, also where another value holds by the clock.
        is_first = act.rules.level < 3
        owner = fact.value if is_first else slot_of(act, target, RESOURCE["organisation"]).siblings[0].value
        change_head(act, target, owner=owner)
    else:
        propose(act, target, RESOURCE["organisation"], "", fact.value, Rule.LATEST.value)


def _adopt(act: Act, target: Target, organisation: str) -> None:
    if target.head.owner != organisation and _may_adopt(act, target, organisation):
        change_head(act, target, owner=organisation)


def _may_adopt(act: Act, target: Target, organisation: str) -> bool:
    if registry.is_same(act.draft, organisation, target.head.owner) or is_nobodys(act.draft, target.head):
        return True
    if target.authority:
        return True
    named = replace(target.head, owner=registry.named_in_id(target.id))
    wanted = replace(target.head, owner=organisation)
    return reach(act.draft, named).holder == act.site == reach(act.draft, wanted).holder


# --- requests, documents ---


def _request(act: Act, report: Report, subject: Subject, n: int) -> None:
    request = subject.id or f"{subject.case}.request.{report.message}.{n}"
    owner = subject.organisation
    if subject.case:
        case = open_subject(act, "case", subject.case)
        owner = owner or case.head.owner
        link(act, subject.case, request)
    target = open_subject(act, "request", request, owner, subject.case)
    if subject.case and not target.head.case:
        change_head(act, target, case=subject.case)
    if subject.creates and target.head.incomplete:
        change_head(act, target, created=act.mark, owner=target.head.owner or owner)
    for fact in subject.facts:
        write(act, target, FIELDS["request"][fact.field], fact.key, fact.value, fact.at_ms)


def _document(act: Act, report: Report, fact: Fact) -> None:
    """A content kept unread, with its case; one that names none apart."""
    case = ""
    for subject in report.subjects:
        case = known_case(act, subject) if subject.kind == "case" else subject.case
        # The subjects come before the documents, so the case is known by now, under its derived id at least.
        assert case or subject.kind != "case", f"{subject.organisation} {subject.sender_case} was opened as {case!r}"
        if case:
            break
    target = open_subject(act, "case", case) if case else None
    if target is not None:
        place = keys.document(target.prefix, fact.field, fact.key, fact.value)
    else:
        place = keys.loose_document(fact.field, fact.key, fact.value)
    if not act.draft.has(place):
        authority = target is not None and target.authority
        act.draft.put(place, Element(fact.field, fact.key, act.held(fact.value, authority, fact.at_ms)))
