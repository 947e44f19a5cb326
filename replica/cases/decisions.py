"""What a person decides: each command, with authority checked again where it is applied.

A command was permitted by the state its site saw; by the time it is applied that may have changed. What adds to a
case goes in as anybody's report would. What decides (engage, release, transfer, close, reopen, decide a conflict)
and comes without authority is *proposed* to whoever is in charge: it is neither lost nor does it win. Only what
makes no sense is refused."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from replica.cases import keys
from replica.cases.act import NO_AUTHORITY, Act, plain, refused
from replica.cases.authority import is_nobodys
from replica.cases.charges import hand_back, take_over
from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    CloseCase,
    Command,
    DecideConflict,
    EngageResource,
    ForceNewCluster,
    HandBack,
    RaiseLevel,
    RegisterOrganisation,
    ReleaseResource,
    ReopenCase,
    SetStatus,
    TakeOver,
    TransferCase,
)
from replica.cases.engagement import decide_engagement, engage, order_release
from replica.cases.fields import FIELDS, Field, Rule
from replica.cases.generations import force_new_cluster
from replica.cases.levels import FIRST_LEVEL
from replica.cases.merge import RULES, by_log, keep_all, values_differ
from replica.cases.owners import CLOSED_STATUSES, decide_owner, reopen, say_status, status_key, transfer
from replica.cases.reports import VOCABULARY, take_step
from replica.cases.state import NUMBER, ORGANISATION, Organisation, Slot
from replica.cases.subjects import (
    CASE,
    RESOURCE,
    Target,
    change_head,
    find,
    open_subject,
    propose,
    put_slot,
    remember,
    settle,
    slot_of,
    split,
    write,
)
from replica.cases.values import Engaged
from replica.cases.verdicts import Verdict, VerdictKind

_CONFLICTING = (Rule.FIRST, Rule.MORE_SEVERE, Rule.OWNER, Rule.ENGAGEMENT, Rule.ANSWER)
"""Rules that keep both values for a person."""
_json = msgspec.json.Encoder(order="deterministic").encode


def apply_command(act: Act, command: Command) -> Verdict:
    """One command, by its type. A switch, and nothing else."""
    match command:
        case ChangePriority(case, priority):
            return _say(act, case, "priority", "", priority)
        case ChangeCareLevel(case, level, patient):
            return _say(act, case, "patient.care_level" if patient else "care_level", patient, level)
        case AddNote():
            return _note(act, command)
        case SetStatus():
            return _status(act, command)
        case EngageResource(resource, case, mission):
            return _engage(act, resource, Engaged(case, mission))
        case ReleaseResource(resource, case):
            return _release(act, resource, case)
        case TransferCase(case, to):
            return _transfer(act, case, to)
        case CloseCase(case):
            return _close(act, case)
        case ReopenCase(case):
            return _reopen(act, case)
        case RegisterOrganisation():
            return _register(act, command)
        case TakeOver():
            return take_over(act, command)
        case HandBack():
            return hand_back(act, command)
        case DecideConflict():
            return _decide(act, command)
        case RaiseLevel(level):
            return _raise_level(act, level)
        case _:
            # Commands are a closed list; what is none of it never got through a decoder.
            assert isinstance(command, ForceNewCluster), f"{type(command).__name__} has no rule"
            return force_new_cluster(act, command)


def _case(act: Act, case: str) -> Target | None:
    act.anchor = case
    return find(act, "case", case)


def _unknown(kind: str, subject: str) -> Verdict:
    return refused(f"there is no {kind} {subject}")


def _say(act: Act, case: str, field: str, key: str, value: str) -> Verdict:
    target = _case(act, case)
    if target is None:
        return _unknown("case", case)
    words = VOCABULARY[("case", field)]
    if value not in words:
        return refused(f"{field} is {value!r}, not one of {' '.join(words)}")
    write(act, target, CASE[field], key, value)
    return act.verdict()


def _note(act: Act, command: AddNote) -> Verdict:
    target = _case(act, command.case)
    if target is None:
        return _unknown("case", command.case)
    note = {
        "creation": timestamp(act.operation.act_ms),
        "freetext": command.text,
        "medicalNoteId": command.note,
        "operator": {"role": command.role},
    }
    if command.patient:
        note["patientId"] = command.patient
    write(act, target, CASE["medical_note"], command.note, _json(note).decode())
    return act.verdict()


def timestamp(ms: int) -> str:
    """UTC in the standard's form, `2024-05-26T11:20:00+00:00`: no library, so that every release says the same. Years
    outside 1 to 9999 are taken as the nearest of them."""
    return _second(min(max(ms // 1000, -62135596800), 253402300799))


@lru_cache(maxsize=1 << 10)  # what is done within seconds is done by many
def _second(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    # Days to a date of the Gregorian calendar, counted in eras of 400 years that begin in March.
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * march_month + 2) // 5 + 1
    month = march_month + 3 if march_month < 10 else march_month - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}+00:00"


def _status(act: Act, command: SetStatus) -> Verdict:
    act.anchor = command.case
    target = find(act, "resource", command.resource)
    if target is None:
        return _unknown("resource", command.resource)
    words = VOCABULARY[("resource", "status")]
    if command.status not in words:
        return refused(f"status is {command.status!r}, not one of {' '.join(words)}")
    if command.case:
        open_subject(act, "case", command.case)
    take_step(act, target, command.case, command.status, act.operation.act_ms)
    return act.verdict()


def _engage(act: Act, resource: str, wanted: Engaged) -> Verdict:
    act.anchor = wanted.case
    target = find(act, "resource", resource)
    if target is None:
        return _unknown("resource", resource)
    if not wanted.case:
        return refused(f"engaging {resource} needs a case")
    open_subject(act, "case", wanted.case)
    engage(act, target, wanted)
    return act.verdict()


def _release(act: Act, resource: str, case: str) -> Verdict:
    act.anchor = case
    target = find(act, "resource", resource)
    if target is None:
        return _unknown("resource", resource)
    if order_release(act, target, case) is None:
        return refused(f"{resource} does not serve {case}")
    return act.verdict()


def _transfer(act: Act, case: str, to: str) -> Verdict:
    target = _case(act, case)
    if target is None:
        return _unknown("case", case)
    if not to:
        return refused(f"{case} cannot be handed to nobody")
    transfer(act, target, to)
    return act.verdict()


def _close(act: Act, case: str) -> Verdict:
    target = _case(act, case)
    if target is None:
        return _unknown("case", case)
    say_status(act, target, target.head.owner, "CLOTURE")
    return act.verdict()


def _reopen(act: Act, case: str) -> Verdict:
    target = _case(act, case)
    if target is None:
        return _unknown("case", case)
    key = status_key(act, target.head.owner)
    if target.authority or is_nobodys(act.draft, target.head):
        reopen(act, target, key)
    elif target.head.status in CLOSED_STATUSES:
        propose(act, target, CASE["status"], key, "ACTIF", Rule.FURTHEST.value)
    elif act.rules.level >= 3:
        # There was nothing to open again; under the first levels this had a plain `applied`, a stranger's too.
        act.find(target.id, "status", key, plain(target.authority), NO_AUTHORITY)
    return act.verdict()


def _register(act: Act, command: RegisterOrganisation) -> Verdict:
    """An entry that its author had not seen is not overwritten: the registry decides who has authority over what."""
    if not command.alias or not command.organisation:
        return refused("an entry of the registry needs an alias and an organisation")
    place = keys.organisation(command.alias)
    before = act.draft.load(place, ORGANISATION)
    entry = Organisation(command.alias, command.organisation, command.site, act.mark, act.operation.author)
    if before is not None:
        if (before.organisation, before.site) == (entry.organisation, entry.site):
            return act.verdict()
        if not act.seen(before.entered.operation, before.entered.index):
            return refused(f"{command.alias} was registered as {before.organisation} meanwhile, by {before.author}")
    act.draft.put(place, entry)
    return act.verdict()


def _raise_level(act: Act, level: int) -> Verdict:
    """One at a time, since what stands between two levels is for the rules of each step to say; and never before every
    voter speaks it, by what the leader wrote into the entry."""
    now = act.draft.load(keys.LEVEL, NUMBER) or FIRST_LEVEL
    if level <= now:
        return refused(f"the feature level is {now} already")
    if level > now + 1:
        return refused(f"the feature level is {now}; it can become {now + 1}, not {level}")
    if level > act.spoken:
        return refused(f"not every voter speaks feature level {level} yet: all of them speak up to {act.spoken}")
    act.draft.put(keys.LEVEL, level)
    return act.verdict()


# --- a conflict is decided ---


def _decide(act: Act, command: DecideConflict) -> Verdict:
    act.anchor = command.id if command.subject == "case" else ""
    field = FIELDS.get(command.subject, {}).get(command.field)
    if field is None:
        return refused(f"a {command.subject} has no field {command.field!r}")
    target = find(act, command.subject, command.id)
    if target is None:
        return _unknown(command.subject, command.id)
    key = status_key(act, command.key) if field is CASE["status"] else command.key
    words = VOCABULARY.get((command.subject, command.field))
    if words is not None and command.value not in words:
        return refused(f"{command.field} is {command.value!r}, not one of {' '.join(words)}")
    if key and not field.keyed:
        return refused(f"{command.field} takes no key, but has {key!r}")
    slot = slot_of(act, target, field, key)
    if not slot.proposed and not (slot.siblings and field.rule in _CONFLICTING):
        return refused(f"{command.field} of {command.id} has nothing to decide (its rule: {field.rule.value})")
    if not (target.authority or is_nobodys(act.draft, target.head)):
        propose(act, target, field, key, command.value, field.rule.value)
    else:
        _decided(act, target, field, key, command.value)
    return act.verdict()


def _decided(act: Act, target: Target, field: Field, key: str, value: str) -> None:
    if field.rule is Rule.ENGAGEMENT:
        decide_engagement(act, target, value)
        return
    _answer_proposals(act, target, field, key, value)
    if field.rule is Rule.OWNER:
        decide_owner(act, target, value)
        return
    if field.rule is Rule.FURTHEST:
        slot = slot_of(act, target, field, key)
        if slot.siblings and slot.siblings[0].value in CLOSED_STATUSES and value not in CLOSED_STATUSES:
            reopen(act, target, key, value)
        else:
            say_status(act, target, key, value)
        return
    slot = slot_of(act, target, field, key)
    seen, unseen = split(act, slot.siblings)
    new = act.held(value, target.authority)
    # Rule 11 for the decision as for any write: what the person had not seen stays beside it. The rule `first` alone
    # never lets a seen value go, so a decision about such a field goes by what it has in common with the others.
    if field.rule is Rule.FIRST:
        outcome = keep_all(seen, unseen, new, field.rule.value, values_differ, by_log)
    else:
        outcome = RULES[field.rule](seen, unseen, new)
    settle(act, target, field, key, slot, outcome)
    if field is RESOURCE["organisation"]:
        change_head(act, target, owner=slot_of(act, target, field).siblings[0].value)


def _answer_proposals(act: Act, target: Target, field: Field, key: str, value: str) -> None:
    """Accept or decline what was proposed and seen by whoever decided."""
    slot = slot_of(act, target, field, key)
    answered = tuple(held for held in slot.proposed if act.seen(held.operation, held.index))
    for held in answered:
        if held.value != value:
            remember(act, target, field, key, held, VerdictKind.SUPERSEDED, field.rule.value)
    rest = tuple(held for held in slot.proposed if held not in answered)
    put_slot(act, target, field, key, slot, Slot(slot.siblings, rest))
