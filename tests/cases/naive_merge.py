"""A second model of the merge, naive on purpose: slow, obvious, and written from the rules alone.

`Naive` is told entries of the log and says a verdict kind for every operation and what holds afterwards. It shares with
the product what both have to speak (commands, operations, kinds of verdict) and nothing else: what an author had seen
is a set of operations here and not a number; who is in charge is found by walking through all that ever happened to
the charge; a field is a list of what was said. Where the two agree, either both are right or two readings of the same
sentences went wrong in the same way.

    python -m tests.cases.naive_merge --histories 100000      compares them on random histories (naive_check.py)

Left out: aliases in the registry, a sender's own case numbers, documents, placeholders for nameless vehicles, and the
history of values that do not hold. Rules are those of feature level 1.
"""

from __future__ import annotations

from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    CloseCase,
    DecideConflict,
    EngageResource,
    Fact,
    HandBack,
    Opening,
    ReleaseResource,
    ReopenCase,
    Report,
    SetStatus,
    Subject,
    TakeOver,
    Tombstone,
    TransferCase,
)
from replica.cases.operations import Batch, Operation, OperationId
from replica.cases.verdicts import VerdictKind
from tests.cases.naive_fields import (
    CLOSED,
    CONFLICT,
    DUPLICATE,
    MERGED,
    REFUSED,
    RULE,
    STEPS,
    SUPERSEDED,
    WORDS,
    WORSE,
    case_in,
    engaged,
)
from tests.cases.naive_log import Change, Thing
from tests.cases.naive_vehicles import Vehicles


class Naive(Vehicles):
    """The whole model: entries in, a verdict's kind for each operation out; `things` is what holds."""

    def take(self, batch: Batch, index: int) -> list[tuple[OperationId, VerdictKind | str]]:
        """One entry: for each operation its verdict's kind, or the gate's word where it does not pass."""
        said: list[tuple[OperationId, VerdictKind | str]] = []
        for position, operation in enumerate(batch.operations):
            word = self._gate(operation)
            if word != "ok":
                said.append((operation.id, word))
                continue
            self._begin(operation, batch.time_ms, (index, position))
            said.append((operation.id, self._decide(operation)))
            self.agreed.append((index, operation.id))
            self._life(operation.id).past.add(operation.id)
        return said

    def _decide(self, operation: Operation) -> VerdictKind:
        payload = operation.payload
        if isinstance(payload, Opening):
            return self._open(operation.id, payload)
        self._life(operation.id).last = operation.id.seq
        if operation.key:
            if (self.site, operation.key) in self.keys:
                return DUPLICATE
            self.keys.add((self.site, operation.key))
        if isinstance(payload, Report):
            kind = self._report(payload)
        elif isinstance(payload, Tombstone):
            kind = REFUSED
        else:
            kind = self._command(payload)
        return kind or max(self.found, key=WORSE.index)

    # ---------------------------------------------------------------- what a person decides

    def _command(self, command: object) -> VerdictKind | None:
        """REFUSED for what makes no sense; else None, and what was found says the rest."""
        match command:
            case ChangePriority(case, value):
                return self._word(case, "priority", "", value)
            case ChangeCareLevel(case, value, patient):
                return self._word(case, "patient.care_level" if patient else "care_level", patient, value)
            case AddNote():
                return self._note(command)
            case SetStatus(resource, case, status):
                return self._set_status(resource, case, status)
            case EngageResource(resource, case):
                return self._engage(resource, case)
            case ReleaseResource(resource, case):
                return self._release(resource, case)
            case TransferCase() | CloseCase() | ReopenCase():
                thing = self.things.get(("case", command.case))
                return self._about(thing, command) if thing else REFUSED
            case TakeOver():
                return self._take_over(command)
            case HandBack():
                return self._hand_back(command)
            case DecideConflict():
                thing = self.things.get((command.subject, command.id))
                return self._decide_conflict(thing, command) if thing else REFUSED
            case _:
                raise AssertionError(f"the naive model has no rule for {command}")

    def _word(self, case: str, name: str, key: str, value: str) -> VerdictKind | None:
        thing = self.things.get(("case", case))
        if thing is None or value not in WORDS["case", name]:
            return REFUSED
        self.write(thing, name, key, value, self.authority(thing))
        return None

    def _note(self, said: AddNote) -> VerdictKind | None:
        thing = self.things.get(("case", said.case))
        if thing is None:
            return REFUSED
        note = f"{self.operation.act_ms // 1000} {said.role} {said.patient} {said.text}"
        self.write(thing, "medical_note", said.note, note, self.authority(thing))
        return None

    def _set_status(self, resource: str, case: str, status: str) -> VerdictKind | None:
        thing = self.things.get(("resource", resource))
        if thing is None or status not in STEPS:
            return REFUSED
        authority = self.authority(thing)
        if case:
            self.open("case", case)
        self.step(thing, case, status, self.operation.act_ms, authority)
        return None

    def _engage(self, resource: str, case: str) -> VerdictKind | None:
        thing = self.things.get(("resource", resource))
        if thing is None or not case:
            return REFUSED
        self.open("case", case)
        self.engage(thing, case, self.authority(thing))
        return None

    def _release(self, resource: str, case: str) -> VerdictKind | None:
        """A stranger's word is proposed; what does not serve the case cannot be released from it."""
        thing = self.things.get(("resource", resource))
        if thing is None:
            return REFUSED
        authority = self.authority(thing)
        if self.is_own(thing, authority):
            return None if self.release(thing, case, authority) else REFUSED
        if case not in [case_in(said.value) for said in thing.of("engagement").holds]:
            return REFUSED
        self.propose(thing, "engagement", "", engaged(case, released=True))
        return None

    def _about(self, case: Thing, command: TransferCase | CloseCase | ReopenCase) -> VerdictKind | None:
        authority = self.authority(case)
        if isinstance(command, TransferCase):
            if not command.to:
                return REFUSED
            self.transfer(case, command.to, authority)
        elif isinstance(command, CloseCase):
            self.status(case, case.owner, "CLOTURE", authority)
        else:
            self._reopen(case, authority)
        return None

    def _reopen(self, case: Thing, authority: bool) -> None:
        if authority or self.nobodys(case):
            self.go_back(case, case.owner, "ACTIF", authority)
        elif self.own_status(case) in CLOSED:
            self.propose(case, "status", case.owner, "ACTIF")

    def _take_over(self, said: TakeOver) -> VerdictKind | None:
        """Rule 13: a quorum's decision, compared with the epoch."""
        samu, taker, cases = self.samu(said.owner), self.samu(said.by), said.cases
        drain = self._life(self.operation.id).drain
        if not samu or not taker or drain or said.epoch != self.epoch(samu) or self._strange(samu, cases):
            return REFUSED
        holder, _ = self.charge(samu)
        if not cases and holder == taker:
            return REFUSED
        self._changed(samu, True, holder, taker, cases)
        return None

    def _hand_back(self, said: HandBack) -> VerdictKind | None:
        """The issuer gives back what it is in charge of."""
        samu, cases = self.samu(said.owner), said.cases
        if not samu or self._strange(samu, cases):
            return REFUSED
        holder, since = self.charge(samu)
        whole = holder != samu and self.may(samu, holder, since)
        if not (all(self.authority(self.things["case", case]) for case in cases) if cases else whole):
            return REFUSED
        self._changed(samu, False, self.site, samu, cases)
        return None

    def _strange(self, samu: str, cases: tuple[str, ...]) -> bool:
        things = [self.things.get(("case", case)) for case in cases]
        return any(thing is None or self.samu(thing.owner) != samu for thing in things)

    def _changed(self, samu: str, is_take_over: bool, giver: str, to: str, cases: tuple[str, ...]) -> None:
        change = Change(is_take_over, giver, to, cases, self.epoch(samu) + 1, self.operation.id, self.place)
        self.changes.append((samu, change))

    def _decide_conflict(self, thing: Thing, said: DecideConflict) -> VerdictKind | None:
        """A person has looked: this one holds. Whoever was not seen stays beside it all the same."""
        name, key, value = said.field, said.key, said.value
        rule = RULE[thing.kind, name]
        values = thing.of(name, key)
        words = WORDS.get((thing.kind, name))
        waits = values.holds and rule in ("first", "more-severe", "owner", "engagement", "answer")
        if (words and value not in words) or not (values.proposed or waits):
            return REFUSED
        authority = self.authority(thing)
        if not authority and not self.nobodys(thing):
            self.propose(thing, name, key, value)
            return None
        values.proposed = [one for one in values.proposed if not self.saw(one)]
        if rule == "owner":
            before = values.holds[0].value if values.holds else ""
            self.keep_both(values, self.new(value, authority, before=before), rule)
            self._owned_anew(thing)
        elif rule == "engagement":
            case = case_in(value)
            self.of_mission(thing, case).engaged = True
            self.keep_both(values, self.new(engaged(case), authority), rule)
            values.proposed = [one for one in values.proposed if case_in(one.value) != case]
        elif rule == "furthest" and values.holds and values.holds[0].value in CLOSED and value not in CLOSED:
            self.go_back(thing, key, value, authority)
        elif rule == "furthest":
            self.status(thing, key, value, authority)
        elif rule == "first":
            self.keep_both(values, self.new(value, authority), rule)
        else:
            self.write(thing, name, key, value, authority)
        if (thing.kind, name) == ("resource", "organisation"):
            thing.owner = values.holds[0].value
        return None

    # ---------------------------------------------------------------- whose a case is, and how far

    def create(self, case: Thing, owner: str, authority: bool) -> bool:
        """The owner named at the creation holds at the creation only. Returns the author's authority from now on."""
        values = case.of("owner")
        if case.created is not None:
            return self._resend(case, owner, authority)
        case.created, case.created_owner = self.operation.id, owner
        if not owner:
            return authority
        if values.holds:
            if owner != values.holds[0].value:  # a transfer overtook the creation
                self.say(SUPERSEDED)
            return authority
        authority = self._first_owner(case, owner)
        self._accept_what_came_early(case)
        return authority

    def _first_owner(self, case: Thing, owner: str) -> bool:
        authority = self.authority(case, owner)
        case.of("owner").holds = [self.new(owner, authority)]
        self.say(self.plain(authority))
        self._owned_anew(case)
        return authority

    def _accept_what_came_early(self, case: Thing) -> None:
        """A transfer from the owner now known, which came when nobody knew whose the case was."""
        values = case.of("owner")
        holder, _ = self.in_charge(case)
        early = [said for said in values.proposed if holder and said.by.site == holder]
        if early:
            values.proposed.remove(early[0])
            early[0].before = values.holds[0].value
            values.holds = [early[0]]
            self._own(case, early[0].value)

    def _resend(self, case: Thing, owner: str, authority: bool) -> bool:
        """A late re-send never takes a case back."""
        values = case.of("owner")
        if not owner or owner == case.created_owner:
            return authority
        if not values.holds:
            case.created_owner = owner
            return self._first_owner(case, owner)
        if case.created in self.seen:
            self.say(SUPERSEDED)
        elif owner not in [said.value for said in values.holds]:  # two creations made apart
            values.holds.append(self.new(owner, False))
            self.say(CONFLICT)
            self._owned_anew(case)
        return authority

    def transfer(self, case: Thing, to: str, authority: bool) -> None:
        """From the present or the named new owner; anybody else's is proposed."""
        values = case.of("owner")
        holder = values.holds[0] if values.holds else None
        may = authority or self.serves(to)
        if holder is not None and not may:
            may = self.nobodys(case) or (not self.saw(holder) and self.serves(holder.before))
        if may:
            before = holder.value if holder is not None else ""
            self.keep_both(values, self.new(to, authority, before=before), "owner")
            self._owned_anew(case)
        elif holder is not None and holder.value == to:
            self.say(MERGED)
        else:
            self.propose(case, "owner", "", to)

    def _owned_anew(self, case: Thing) -> None:
        values = case.of("owner")
        values.proposed = [said for said in values.proposed if said.value != values.holds[0].value]
        self._own(case, values.holds[0].value)

    def _own(self, case: Thing, owner: str) -> None:
        """What was taken over of the former owner's work is over."""
        if owner != case.owner:
            case.owner, case.owned = owner, self.place

    def own_status(self, case: Thing) -> str:
        holds = case.of("status", case.owner).holds
        return holds[0].value if holds else ""

    def status(self, case: Thing, organisation: str, value: str, authority: bool) -> None:
        """Each organisation's own; by a stranger's word the owner's case is not closed."""
        closing = value in CLOSED and self.own_status(case) not in CLOSED
        if organisation and organisation == case.owner and closing and not authority and not self.nobodys(case):
            self.propose(case, "status", organisation, value)
            return
        self.write(case, "status", organisation, value, authority)
        values = case.of("status", organisation)
        values.proposed = [said for said in values.proposed if said.value != value]

    def go_back(self, case: Thing, organisation: str, value: str, authority: bool) -> None:
        """Explicitly; a closing that its author had not seen stands."""
        values = case.of("status", organisation)
        values.holds = [said for said in values.holds if not self.saw(said)]
        self.write(case, "status", organisation, value, authority)

    # ---------------------------------------------------------------- what a message says

    def _report(self, report: Report) -> VerdictKind | None:
        facts = [(subject.kind, fact) for subject in report.subjects for fact in subject.facts]
        if any(fact.value not in WORDS.get((kind, fact.field), (fact.value,)) for kind, fact in facts):
            return REFUSED
        kept_with = self._kept_with(report.subjects)
        said_before = self.said_before.setdefault(kept_with, [])
        if report.message in said_before:
            return DUPLICATE
        said_before.append(report.message)
        for subject in report.subjects:
            if subject.kind == "case":
                self._case(report, subject)
            elif subject.kind == "resource":
                self._resource(subject)
            else:
                self._request(subject)
        return None

    def _kept_with(self, subjects: tuple[Subject, ...]) -> tuple[str, str]:
        """A message is applied once: known by the case it speaks of, else by its vehicle or request."""
        for subject in subjects:
            if subject.kind == "case" or subject.case:
                return "case", subject.case or subject.id
        return subjects[0].kind, subjects[0].id

    def _case(self, report: Report, subject: Subject) -> None:
        case = self.open("case", subject.id)
        authority = self.authority(case)
        owners = [fact.value for fact in subject.facts if fact.field == "owner"]
        completes = subject.creates and case.created is None
        if subject.creates:
            authority = self.create(case, owners[0] if owners else subject.organisation, authority)
        for fact in subject.facts:
            if fact.field == "owner" or (completes and self._was_overtaken(case, fact)):
                continue
            if fact.field == "status":
                self.status(case, fact.key or report.sender, fact.value, authority)
            else:
                self.write(case, fact.field, fact.key, fact.value, authority, fact.at_ms)
        if owners and not subject.creates:
            self.transfer(case, owners[0], authority)

    def _was_overtaken(self, case: Thing, fact: Fact) -> bool:
        """What a case was created with is the past of what an update said that its author has in its copy already."""
        values = case.of(fact.field, fact.key)
        if RULE["case", fact.field] not in ("latest", "more-severe") or not values.holds:
            return False
        if values.holds[0].value == fact.value or not all(self.saw(said) for said in values.holds):
            return False
        self.say(SUPERSEDED)
        return True

    def _resource(self, subject: Subject) -> None:
        case, facts = subject.case, subject.facts
        if case:
            self.open("case", case)
        named = [fact.value for fact in facts if fact.field == "organisation"] + [subject.organisation]
        thing = self.open("resource", subject.id, named[0])
        authority = self.authority(thing)
        for fact in facts:
            if fact.field == "organisation":
                self._organisation(thing, fact.value, authority)
            elif fact.field not in ("status", "engagement"):
                self.write(thing, fact.field, fact.key, fact.value, authority, fact.at_ms)
        if subject.organisation and self.may_adopt(thing, subject.organisation, authority):
            thing.owner = subject.organisation
        steps = [fact for fact in facts if fact.field == "status"]
        for fact in sorted(steps, key=lambda one: (one.at_ms, STEPS.index(one.value))):
            self.step(thing, case, fact.value, fact.at_ms, authority)
        for wanted in [case_in(fact.value) for fact in facts if fact.field == "engagement"] + [case]:
            if wanted:
                self.imply(thing, wanted, authority)

    def _organisation(self, thing: Thing, organisation: str, authority: bool) -> None:
        """Whose a vehicle is, only who is in charge of it may say."""
        if self.may_adopt(thing, organisation, authority):
            self.write(thing, "organisation", "", organisation, authority)
            strict = "organisation" in self.strictly
            thing.owner = thing.of("organisation").holds[0].value if strict else organisation
        else:
            self.propose(thing, "organisation", "", organisation)

    def may_adopt(self, thing: Thing, organisation: str, authority: bool) -> bool:
        return authority or organisation == thing.owner or self.nobodys(thing)

    def _request(self, subject: Subject) -> None:
        owner = subject.organisation
        if subject.case:
            case = self.open("case", subject.case)
            owner = owner or case.owner
        thing = self.open("request", subject.id, owner, subject.case)
        authority = self.authority(thing)
        thing.case = thing.case or subject.case
        if subject.creates and thing.created is None:
            thing.created, thing.owner = self.operation.id, thing.owner or owner
        for fact in subject.facts:
            self.write(thing, fact.field, fact.key, fact.value, authority, fact.at_ms)


if __name__ == "__main__":
    from tests.cases.naive_check import main

    raise SystemExit(main())
