"""The naive model's fields: the table of docs/offline.md, and what each rule does with a value (naive_merge.py).

Rule 11: what the author had seen goes, what it had not seen stays; some left, the field's own rule. A field is the list
of what was said and stands there.
"""

from __future__ import annotations

from replica.cases.operations import OperationId
from replica.cases.verdicts import VerdictKind
from tests.cases.naive_log import Log, Said, Thing, Values

APPLIED, DUPLICATE, MERGED = VerdictKind.APPLIED, VerdictKind.DUPLICATE, VerdictKind.MERGED
PROPOSED, SUPERSEDED = VerdictKind.PROPOSED, VerdictKind.SUPERSEDED
CONFLICT, REFUSED = VerdictKind.CONFLICT, VerdictKind.REFUSED
WORSE = [APPLIED, DUPLICATE, MERGED, PROPOSED, SUPERSEDED, CONFLICT, REFUSED]
"""An operation that says several things gets the last of these that any of them got."""

SEVERITY = ["P0", "P1", "P2", "P3", "NR", "R1", "R2", "R3", "R4"]
PROGRESS = ["PROGRAM", "ACTIF", "ACHEVE", "VALIDE", "CLOTURE", "CLASSE", "ARCHIVE"]
CLOSED = ["CLOTURE", "CLASSE", "ARCHIVE"]
STEPS = [
    "DECISION",
    "DECLENCHE",
    "DEPART",
    "ANNULE",
    "ARRIVEE",
    "PEC",
    "BILAN",
    "ORIENTAT",
    "TRANSP",
    "ETAPE1",
    "TRANSP2",
    "ETAPE2",
    "TRANSP3",
    "DESTIN",
    "FINPEC",
    "RETOUR",
    "RET-BASE",
    "REN-BASE",
]
"""Of a mission; who has arrived was not called off in time, so ANNULE comes just before ARRIVEE."""
STARTS = ["DECISION", "DECLENCHE"]
ENDS = ["FINPEC", "RETOUR", "RET-BASE", "REN-BASE", "ANNULE"]
WORDS = {
    ("case", "priority"): SEVERITY[:5],
    ("case", "care_level"): SEVERITY[5:],
    ("case", "patient.care_level"): SEVERITY[5:],
    ("case", "status"): PROGRESS,
    ("resource", "status"): STEPS,
}

RULES = {
    "case": {
        "first": "creation perimeter intervention_type",
        "latest": """reference_version origin attribution whats_happen health_motive location_kind victims.count
            victims.main_victim victims.freetext location.loc_id location.loc_label location.name location.address
            location.city location.country location.access.floor location.access.room_number location.access.interphone
            location.access.elevator location.access.building_name location.access.entrance location.access.entity
            location.access.phone_number location.freetext patient.general_practitioner patient.birth_name
            patient.birth_date patient.sex patient.name patient.weight patient.height patient.age
            patient.medical_history patient.treatment patient.main_diagnosis additional""",
        "latest-at": "location.geometry location.sketch",
        "more-severe": "priority care_level patient.care_level",
        "furthest": "status",
        "owner": "owner",
        "union": """sender_case risk_threat location.external_id location.access.access_code location.external_info
            initial_alert new_alert patient patient.external_id patient.other_diagnosis medical_note decision
            freetext""",
    },
    "resource": {
        "latest": """organisation vehicle_type name center_name center_city team.medical_level team.name contact
            resource_type nature mobility capacity request operation""",
        "latest-at": "described_at availability position",
        "union": "contacts freetext",
        "status": "status",
        "engagement": "engagement",
    },
    "request": {
        "latest-at": "details convention deadline freetext",
        "latest": "cancelled",
        "answer": "answer",
    },
}
"""The table of docs/offline.md, by rule (test_naive_model.py compares them)."""
RULE = {(kind, name): rule for kind, rules in RULES.items() for rule, names in rules.items() for name in names.split()}


def engaged(case: str, released: bool = False) -> str:
    return f'{{"case":"{case}","released":true}}' if released else f'{{"case":"{case}"}}'


def case_in(value: str) -> str:
    """The case of an engagement: the text after `"case":"` or `"caseId":"`, else the whole text."""
    return value.split('"')[3] if value.startswith("{") else value


class Fields(Log):
    """What is said of fields, and what was found of it."""

    def say(self, kind: VerdictKind) -> VerdictKind:
        self.found.append(kind)
        return kind

    def plain(self, authority: bool) -> VerdictKind:
        return APPLIED if authority else MERGED

    def new(self, value: str, authority: bool, at_ms: int = 0, before: str = "") -> Said:
        at_ms = at_ms or self.operation.act_ms
        return Said(value, self.operation.id, self.place, self.time_ms, self.clock, at_ms, authority, before)

    def propose(self, thing: Thing, name: str, key: str, value: str, at_ms: int = 0) -> VerdictKind:
        values = thing.of(name, key)
        if value not in [said.value for said in values.proposed]:
            values.proposed.append(self.new(value, False, at_ms))
        return self.say(PROPOSED)

    def write(self, thing: Thing, name: str, key: str, value: str, authority: bool, at_ms: int = 0) -> VerdictKind:
        """Rule 11: what was seen goes, what was not seen stays; then the field's own rule."""
        rule = RULE[thing.kind, name]
        if rule == "union":
            thing.elements.add((name, key, value))
            return self.say(self.plain(authority))
        values, new = thing.of(name, key), self.new(value, authority, at_ms)
        if not values.holds:
            values.holds = [new]
            return self.say(self.plain(authority))
        unseen = [said for said in values.holds if not self.saw(said)]
        quiet = MERGED if unseen else self.plain(authority)
        old = values.holds[0]
        if rule == "latest":
            if unseen and (old.clock, old.by) >= (new.clock, new.by):
                return self.say(SUPERSEDED)
            values.holds = [new]
            return self.say(quiet)
        if rule == "latest-at":  # seen or not: who relays a message may have seen what its sender had not
            if old.own_time > new.own_time:
                return self.say(SUPERSEDED)
            values.holds = [new]
            return self.say(quiet)
        if rule == "furthest":
            return self._furthest(values, unseen, new, quiet)
        if rule == "first":
            return self._first(values, new)
        return self.keep_both(values, new, rule)

    def _furthest(self, values: Values, unseen: list[Said], new: Said, quiet: VerdictKind) -> VerdictKind:
        before, now = PROGRESS.index(values.holds[0].value), PROGRESS.index(new.value)
        if now < before:
            return self.say(SUPERSEDED)
        values.holds = [new] if now > before else [*unseen, new]
        return self.say(quiet)

    def _first(self, values: Values, new: Said) -> VerdictKind:
        """Set once: nothing takes the first one's place, and a differing one stays beside it."""
        values.holds.sort(key=self.by_log)
        if any(said.value == new.value and self.saw(said) for said in values.holds):
            return self.say(self.plain(new.authority))
        same = any(said.value == new.value for said in values.holds)
        values.holds.append(new)
        return self.say(MERGED if same else CONFLICT)

    def by_log(self, said: Said) -> tuple[int, int | OperationId]:
        return said.place if "by-id" in self.strictly else (said.place[0], said.by)

    def keep_both(self, values: Values, new: Said, rule: str) -> VerdictKind:
        """Those unseen stay beside the new one; they are a conflict where they differ."""
        unseen = [said for said in values.holds if not self.saw(said)]
        if rule in ("owner", "engagement"):  # the one with authority holds, else who came first
            values.holds = [new, *unseen] if new.authority else [*unseen, new]
        elif rule == "more-severe":
            values.holds = sorted([*unseen, new], key=lambda said: (SEVERITY.index(said.value), self.by_log(said)))
        elif rule == "answer":
            values.holds = sorted([*unseen, new], key=lambda said: said.own_time, reverse=True)
        else:
            values.holds = sorted([*unseen, new], key=self.by_log)
        if not unseen:
            return self.say(self.plain(new.authority))
        meaning = case_in if rule == "engagement" else str
        return self.say(CONFLICT if any(meaning(one.value) != meaning(new.value) for one in unseen) else MERGED)
