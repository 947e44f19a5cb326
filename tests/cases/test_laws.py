"""Laws of the merge, for every field of the table and over histories with many lives (test_properties.py has those of
the log: replicas, digests, verdicts, notes and priorities where each site lives once).

For what was said *apart*, no author having seen another's word: order, packing and repetition make no difference but
where the rule itself goes by the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replica.cases import queries
from replica.cases.commands import (
    AddNote,
    ChangeCareLevel,
    ChangePriority,
    DecideConflict,
    Fact,
    HandBack,
    Opening,
    Payload,
    Report,
    Subject,
    TakeOver,
)
from replica.cases.fields import CARE_LEVELS, CASE_STATUSES, FIELDS, PRIORITIES, RESOURCE_STATUSES, Field, Rule
from replica.cases.merge import SEVERITY
from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import VerdictKind
from replica.cases.views import FieldView
from tests.cases.histories import Teller as TellerOfOne
from tests.cases.naive_check import Played
from tests.cases.naive_histories import CASES, REQUEST, SITES, VEHICLES, Teller
from tests.cases.world import APPLIED, DUPLICATE, NOON, REFUSED, A, B, Site, World, creation, three_sites, vehicle

laws = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
many_lives = st.integers(0, 2**32).map(lambda seed: Played(Teller(seed).history()))

ALL = [(kind, field) for kind, fields in FIELDS.items() for field in fields.values() if field.rule is not Rule.OWNER]
"""But for a case's owner, which changes by a quorum's decision: whoever comes second may have lost the say by then."""
WORDS = {
    ("case", "priority"): PRIORITIES,
    ("case", "care_level"): CARE_LEVELS,
    ("case", "patient.care_level"): CARE_LEVELS,
    ("case", "status"): CASE_STATUSES,
    ("resource", "organisation"): (B,),
    ("resource", "engagement"): ("c1", "c2"),
    # Of one mission that is not over; what begins and ends one goes by the log.
    ("resource", "status"): RESOURCE_STATUSES[2:13],
}
BY_THE_LOG = {Rule.FIRST, Rule.ENGAGEMENT}
"""Rules whose holder is who came first, or who was in charge; what stands beside it does not hang on the order."""

Shown = dict[tuple[str, str], list[str]]


def known() -> tuple[World, list[Site]]:
    """Two cases, a vehicle on its way for the first of them, a request; all three sites have seen that and are cut."""
    world, *sites = three_sites()
    sites[0].do(creation("c1", A))
    sites[0].do(creation("c2", A))
    sites[0].do(vehicle("r1", A, "c1"))
    sites[0].do(Report("step", "RS-SR", A, (Subject("resource", "r1", (Fact("status", "DECISION"),), case="c1"),)))
    sites[0].do(Report("ask", "RS-DR", A, (Subject("request", "q1", (), A, "c1", creates=True),)))
    for site in sites:
        site.cut()
    return world, sites


IDS = {"case": "c1", "resource": "r1", "request": "q1"}


def one_word(kind: str, field: Field, value: str, at_ms: int, message: str) -> Report:
    """A report that says one thing of one field."""
    fact = Fact(field.name, value, "k" if field.keyed else "", at_ms)
    return Report(message, "RS-EDA", A, (Subject(kind, IDS[kind], (fact,)),))


def shown(world: World) -> Shown:
    """Every field with its values, the holder first and the others sorted; and every element of a union."""
    case = queries.read_case(world.records, "c1")
    resource = queries.read_resource(world.records, "r1")
    request = queries.read_request(world.records, "q1")
    assert case is not None
    assert resource is not None
    assert request is not None
    found: Shown = {}
    for element in (*case.elements, *resource.elements):
        found.setdefault((element.field, element.key), []).append(element.value.value)
    found = {name: sorted(values) for name, values in found.items()}
    for one in (*case.fields, *case.statuses, *resource.fields, *request.fields):
        values = [value.value for value in one.values]
        found[one.field, one.key] = [*values[:1], *sorted(values[1:])]
    return found


@st.composite
def words_apart(draw: st.DrawFn) -> tuple[str, Field, list[tuple[str, int]]]:
    """Two or three words on one field of the table, each with its own time."""
    kind, field = draw(st.sampled_from(ALL))
    words = WORDS.get((kind, field.name), ("x", "y", "z"))
    times = st.integers(-3000, 400)
    return kind, field, draw(st.lists(st.tuples(st.sampled_from(words), times), min_size=2, max_size=3))


def said_in(
    order: Sequence[int], kind: str, field: Field, words: list[tuple[str, int]], together: bool = False
) -> tuple[World, list[VerdictKind]]:
    """Each site says one word; they are agreed in this order, one entry each or all in one."""
    world, sites = known()
    operations = []
    for place, (value, time_ms) in enumerate(words):
        sites[place].clock_ms = time_ms
        operations.append(sites[place].operation(one_word(kind, field, value, NOON + time_ms, f"word {place}")))
    for entry in [order] if together else [[place] for place in order]:
        effects = world.agree(*(operations[place] for place in entry))
        assert len(effects.decided) == len(entry)
    kinds = [queries.verdict_of(world.records, operation.id) for operation in operations]
    return world, [APPLIED if found is None else found[1].kind for found in kinds]


@laws
@given(words_apart())
def test_the_order_of_words_said_apart_makes_no_difference(said: tuple[str, Field, list[tuple[str, int]]]) -> None:
    """Commutative, for every field: what stands there in the end; and what holds, where the rule goes by the values."""
    kind, field, words = said
    ends = []
    for order in permutations(range(len(words))):
        world, _ = said_in(order, kind, field, words)
        end = shown(world)
        ends.append({name: sorted(values) for name, values in end.items()} if field.rule in BY_THE_LOG else end)
    assert all(end == ends[0] for end in ends), (field, words)


@laws
@given(words_apart())
def test_the_packing_of_words_said_apart_makes_no_difference(said: tuple[str, Field, list[tuple[str, int]]]) -> None:
    """Associative: one entry for all, or one each; in either the verdicts are the same."""
    kind, field, words = said
    order = range(len(words))
    one, their_kinds = said_in(order, kind, field, words)
    other, kinds = said_in(order, kind, field, words, together=True)
    assert shown(one) == shown(other)
    assert their_kinds == kinds


@laws
@given(words_apart())
def test_what_holds_said_again_by_somebody_else_makes_no_difference(
    said: tuple[str, Field, list[tuple[str, int]]],
) -> None:
    """Idempotent: another site that says, apart as well, what holds already changes no value and no holder."""
    kind, field, words = said
    words = words[:2]
    before = shown(said_in(range(2), kind, field, words)[0])
    holder = before[field.name, "k" if field.keyed else ""][0]
    again = next((word for word in words if word[0] == holder), words[0])
    after = shown(said_in(range(3), kind, field, [*words, again])[0])
    assert after.keys() == before.keys()
    for name, values in before.items():
        assert set(after[name]) == set(values)
        assert after[name][0] == values[0] or field.rule in BY_THE_LOG


@laws
@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(1, 4))
def test_a_journal_replayed_in_part_and_then_whole_is_one_replayed_once(seed: int, part: int, size: int) -> None:
    """Killed after any prefix, sent again from its beginning, packed otherwise: the same verdicts, the same values.

    But for charges: what stands in one entry with a take-over counts as having happened with it (naive_log.py).
    """
    teller = TellerOfOne(seed)
    payloads = [payload for payload in (teller.payload() for _ in range(12)) if not _moves_a_charge(payload)]
    ends = []
    for prefix in (0, min(part, len(payloads))):
        world, sites = known()
        journal = [sites[0].operation(payload) for payload in payloads]
        decided = []
        entries = [journal[:prefix], *(journal[at : at + size] for at in range(0, len(journal), size))]
        for entry in entries if prefix else [[operation] for operation in journal]:
            decided += [(one.id, one.verdict.kind) for one in world.agree(*entry).decided]
        ends.append((decided, shown(world)))
    assert ends[0] == ends[1]


def _moves_a_charge(payload: Payload) -> bool:
    return isinstance(payload, TakeOver | HandBack)


# --- over histories with many lives ---


@laws
@given(many_lives)
def test_no_operation_is_decided_twice_and_none_without_a_verdict(played: Played) -> None:
    """Reopened, restored, drained, late, doubled: as many verdicts as numbers the gate has taken, each once."""
    decided = [ident for ident, _ in _decided(played)]
    assert len(decided) == len(set(decided))
    records = played.world.records
    taken = [
        OperationId(site, stream.incarnation, seq)
        for site in SITES
        for stream in queries.streams(records, site)
        for seq in range(stream.last + 1)
    ]
    assert sorted(decided) == sorted(taken)
    counted = [view.verdicts for view in (queries.site(records, site) for site in SITES) if view is not None]
    assert sum(sum(verdicts.values()) for verdicts in counted) == len(decided)


def _decided(played: Played) -> list[tuple[OperationId, VerdictKind]]:
    """Every verdict, in the order of the log: the log is applied anew."""
    again = World()
    found = []
    for batch in played.world.log:
        effects = again.agree(*batch.operations, level=batch.level)
        found += [(one.id, one.verdict.kind) for one in effects.decided]
    return found


@laws
@given(many_lives)
def test_no_note_is_lost_whatever_lives_its_site_had(played: Played) -> None:
    """What was neither refused nor a repetition stands in its case for ever."""
    kinds = dict(_decided(played))
    for operation in _said(played):
        if kinds.get(operation.id, REFUSED) in (REFUSED, DUPLICATE):
            continue
        for case, key, text in _notes(operation.payload):
            view = queries.read_case(played.world.records, case)
            assert view is not None
            assert any(one.key == key and text in one.value.value for one in view.elements), (case, key, text)


def _said(played: Played) -> list[Operation]:
    return [operation for batch in played.world.log for operation in batch.operations]


def _notes(payload: Payload) -> list[tuple[str, str, str]]:
    if isinstance(payload, AddNote):
        return [(payload.case, payload.note, payload.text)]
    facts = [(one.id, fact) for one in getattr(payload, "subjects", ()) for fact in one.facts]
    return [(case, fact.key, fact.value) for case, fact in facts if fact.field == "medical_note"]


@laws
@given(many_lives)
def test_the_more_severe_is_never_lost(played: Played) -> None:
    """Of priorities and care levels the most severe one that stands holds; and none went but by who knew it."""
    said = {operation.id: operation for operation in _said(played)}
    order = {ident: place for place, ident in enumerate(said)}
    for case in [
        view for view in (queries.read_case(played.world.records, case) for case in CASES) if view is not None
    ]:
        for one in case.fields:
            if FIELDS["case"][one.field].rule is Rule.MORE_SEVERE and one.values:
                assert SEVERITY[one.values[0].value] == min(SEVERITY[value.value] for value in one.values)
        for past in case.history:
            ident, by = OperationId.parse(past.value.operation), OperationId.parse(past.by)
            # One that comes after what it names, be it in one entry, said the field twice itself, and its first word
            # went by the second.
            if past.rule == Rule.MORE_SEVERE.value and past.became == "replaced" and order[ident] <= order[by]:
                assert past.value.index <= said[by].seen or _in_own_past(said, by, ident), (past.field, past.by)


def _in_own_past(said: dict[OperationId, Operation], by: OperationId, other: OperationId) -> bool:
    """Rule 10: in the same life before, or in a life before it, as far as that was on disk."""
    life, upto = by.incarnation, by.seq
    while other.incarnation != life:
        opening = said[OperationId(by.site, life, 0)].payload
        assert isinstance(opening, Opening)
        if opening.prev is None:
            return False
        life, upto = opening.prev, opening.prev_last
    return by.site == other.site and other.seq <= upto


@laws
@given(many_lives)
def test_what_stands_side_by_side_never_saw_each_other(played: Played) -> None:
    """A conflict is between people who could not know; of one journal's two words the later took the other's place."""
    said = {operation.id: operation for operation in _said(played)}
    records = played.world.records
    views = [queries.read_case(records, case) for case in CASES]
    more = [queries.read_resource(records, resource) for resource in VEHICLES]
    for view in (*views, *more, queries.read_request(records, REQUEST)):
        for one in view.fields if view is not None else ():
            if one.field not in ("priority", "care_level", "patient.care_level", "engagement", "answer"):
                continue
            for earlier, later in permutations(
                [(value.index, OperationId.parse(value.operation)) for value in one.values], 2
            ):
                if earlier[0] < later[0]:
                    assert earlier[0] > said[later[1]].seen, one
                assert not _in_own_past(said, later[1], earlier[1]), one


@laws
@given(many_lives)
def test_a_value_that_was_written_stands_or_gave_way_in_writing(played: Played) -> None:
    """No divergent write is lost without a word: it is a sibling, a proposal, or in the history with what replaced
    it."""
    kinds = dict(_decided(played))
    written = (ChangePriority, ChangeCareLevel)
    for operation in _said(played):
        if not isinstance(operation.payload, written) or kinds.get(operation.id, REFUSED) in (REFUSED, DUPLICATE):
            continue
        case = queries.read_case(played.world.records, operation.payload.case)
        assert case is not None
        stands = {value.operation for one in case.fields for value in (*one.values, *one.proposed)}
        assert str(operation.id) in stands | {past.value.operation for past in case.history}


@laws
@given(many_lives)
def test_whoever_is_in_charge_and_has_seen_all_settles_every_conflict(played: Played) -> None:
    """A person decides once, and that is that: no conflict is for ever."""
    world = played.world
    for place, name in enumerate(SITES):
        fresh = Site(name, bytes((200 + place,)) * 16, world)
        opening = Opening(None, 0, queries.current(world.records, name))
        world.verdict(fresh.numbered(0, opening))
        for kind, subject in (*(("case", case) for case in CASES), *(("resource", one) for one in VEHICLES)):
            _settle_all(world, fresh, kind, subject)


def _settle_all(world: World, site: Site, kind: str, subject: str) -> None:
    for field in list(_in_conflict(world, kind, subject)):
        view = queries.read_case(world.records, subject) or queries.read_resource(world.records, subject)
        assert view is not None
        if view.charge.holder != site.name:
            return
        value = field.values[-1].value
        said = value.split('"')[3] if value.startswith("{") else value
        assert site.do(DecideConflict(kind, subject, field.field, field.key, said)).kind is APPLIED
        after = [one for one in _in_conflict(world, kind, subject) if (one.field, one.key) == (field.field, field.key)]
        assert after == []


def _in_conflict(world: World, kind: str, subject: str) -> list[FieldView]:
    read = {"case": queries.read_case, "resource": queries.read_resource}[kind]
    view = read(world.records, subject)
    return [] if view is None else [one for one in view.fields if one.conflict]


@laws
@given(many_lives, st.integers(0, 2))
def test_a_message_that_comes_again_by_another_way_changes_nothing(played: Played, place: int) -> None:
    """Its id is known with its case: the second is a duplicate, whoever brings it, whatever came between."""
    world = played.world
    kinds = dict(_decided(played))
    messages = [operation for operation in _said(played) if isinstance(operation.payload, Report)]
    taken = [operation for operation in messages if kinds.get(operation.id) not in (None, REFUSED, DUPLICATE)]
    site = Site(SITES[place], bytes((200,)) * 16, world)
    world.verdict(site.numbered(0, Opening(None, 0, queries.current(world.records, site.name))))
    before = [queries.read_case(world.records, case) for case in CASES]
    for operation in taken[-3:]:
        assert site.do(operation.payload).kind is DUPLICATE
    for was, case in zip(before, CASES, strict=True):
        now = queries.read_case(world.records, case)
        assert (was is None) == (now is None)
        if was is not None and now is not None:
            assert (was.fields, was.elements, was.history) == (now.fields, now.elements, now.history)


def test_the_histories_have_many_lives() -> None:
    """Else these were the laws of test_properties.py again."""
    played = [Played(Teller(seed).history()) for seed in range(120)]
    streams = [stream for one in played for site in SITES for stream in queries.streams(one.world.records, site)]
    assert sum(stream.closed_at is not None for stream in streams) >= 60
    assert sum(stream.drain and stream.last > 0 for stream in streams) >= 3
    assert any(queries.read_request(one.world.records, REQUEST) is not None for one in played)
