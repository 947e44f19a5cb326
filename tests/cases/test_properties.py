"""Laws over generated histories."""

from __future__ import annotations

from itertools import permutations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from replica.cases import queries
from replica.cases.commands import AddNote, ChangePriority, DecideConflict, Fact, Opening, Payload, Report, Subject
from replica.cases.fields import CASE_STATUSES, PRIORITIES, Rule
from replica.cases.machine import apply, apply_tentative
from replica.cases.merge import RULES, SEVERITY, by_log
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.records import Empty, Overlay
from replica.cases.state import CONFLICT, Held
from replica.cases.verdicts import VerdictKind
from tests.cases.histories import CASES, VEHICLES, Played, Step, histories, payloads, play, told
from tests.cases.world import FIRE, NOON, A, B, C, creation, three_sites, update

many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def contents(records: Overlay) -> dict[bytes, bytes]:
    return dict(records.scan(b""))


@many
@given(histories)
def test_replicas_are_equal(history: list[Step]) -> None:
    """One that applies the log, and one that puts the effects' records in place, hold the same bytes at every index;
    and effects name no record that stayed as it was."""
    world = play(history).world
    applied, fed = Overlay(Empty()), Overlay(Empty())
    for index, batch in enumerate(world.log, 1):
        effects = apply(applied, batch, index, 1)
        assert all(applied.get(key) != value for key, value in effects.changes)
        applied.update(dict(effects.changes))
        for key, value in effects.changes:
            fed.put(key, value)
        assert queries.digest(applied) == queries.digest(fed)
    assert contents(applied) == contents(fed) == contents(world.records)


@many
@given(histories)
def test_how_operations_are_packed_into_entries_does_not_matter_to_records_of_one(history: list[Step]) -> None:
    """Applying through one draft for a whole entry is the same as one operation at a time at the same index."""
    world = play(history).world
    together, apart = Overlay(Empty()), Overlay(Empty())
    for index, batch in enumerate(world.log, 1):
        whole = apply(together, batch, index, 1)
        together.update(dict(whole.changes))
        kinds = []
        for operation in batch.operations:
            one = apply(apart, Batch(batch.time_ms, batch.level, (operation,)), index, 1)
            apart.update(dict(one.changes))
            kinds += [decided.verdict.kind for decided in one.decided]
        assert kinds == [decided.verdict.kind for decided in whole.decided]


@many
@given(histories)
def test_every_operation_has_one_verdict(history: list[Step]) -> None:
    """#operations = #verdicts: of all said, once each, whatever was doubled or came ahead; the counters agree."""
    played = play(history)
    decided = [one.id for _, one in played.decided]
    assert sorted(decided) == sorted(operation.id for operation in played.said)
    counted = 0
    for site in played.sites:
        view = queries.site(played.world.records, site.name)
        assert view is not None
        counted += sum(view.verdicts.values()) - 1  # the opening
    assert counted == len(played.said)
    for index, one in played.decided:
        found = queries.verdict_of(played.world.records, one.id)
        assert found is not None
        assert found == (index, one.verdict) or (found[0] == 0 and found[1].kind is VerdictKind.APPLIED)


@many
@given(histories)
def test_the_digests_are_those_of_the_records(history: list[Step]) -> None:
    """Kept at each change, moved with a case; from scratch they are the same."""
    played = play(history)
    played.world.check()


@many
@given(histories)
def test_delivering_everything_again_changes_nothing(history: list[Step]) -> None:
    """A duplicate has no effect: no verdict, no record."""
    played = play(history)
    if played.said:
        effects = played.world.agree(*played.said)
        assert (effects.decided, effects.changes) == ((), ())
        assert {why for _, why in effects.held} == {"duplicate"}


@many
@given(histories)
def test_notes_are_never_lost(history: list[Step]) -> None:
    """Every note of an operation that was neither refused nor a repetition stands in its case."""
    played = play(history)
    verdicts = {one.id: one.verdict.kind for _, one in played.decided}
    for operation in played.said:
        if verdicts[operation.id] in (VerdictKind.REFUSED, VerdictKind.DUPLICATE):
            continue
        for case, key, text in _notes(operation.payload):
            view = queries.read_case(played.world.records, case)
            assert view is not None
            assert any(one.key == key and text in one.value.value for one in view.elements), (case, key, text)


def _notes(payload: Payload) -> list[tuple[str, str, str]]:
    if isinstance(payload, AddNote):
        return [(payload.case, payload.note, payload.text)]
    if isinstance(payload, Report):
        return [
            (subject.id, fact.key, fact.value)
            for subject in payload.subjects
            for fact in subject.facts
            if fact.field == "medical_note"
        ]
    return []


@many
@given(histories)
def test_no_priority_is_replaced_by_who_had_not_seen_it_and_the_more_severe_holds(history: list[Step]) -> None:
    """Rule 11, by brute force: what stands is what no later write had seen; the most severe of it holds."""
    played = play(history)
    for case in CASES:
        writes: list[tuple[int, Operation, str]] = []
        for index, one in played.decided:
            operation = next(said for said in played.said if said.id == one.id)
            if one.verdict.kind in (VerdictKind.REFUSED, VerdictKind.DUPLICATE):
                continue
            proposed = [finding.field for finding in one.verdict.findings if finding.kind is VerdictKind.PROPOSED]
            if isinstance(operation.payload, DecideConflict) and "priority" in proposed:
                continue
            writes += [(index, operation, value) for value in _priorities(operation.payload, case)]
        standing = [
            (old.id, value)
            for place, (index, old, value) in enumerate(writes)
            if not any(_saw(new, old, index) for _, new, _ in writes[place + 1 :])
        ]
        view = queries.read_case(played.world.records, case)
        shown = [one for one in view.fields if one.field == "priority"] if view is not None else []
        found = [(OperationId.parse(one.operation), one.value) for field in shown for one in field.values]
        assert sorted(found) == sorted(standing)
        if found:
            assert SEVERITY[found[0][1]] == min(SEVERITY[value] for _, value in standing)


def _saw(new: Operation, old: Operation, index: int) -> bool:
    """Each site has one life in these histories."""
    return index <= new.seen or (new.id.site == old.id.site and old.id.seq <= new.id.seq)


def _priorities(payload: Payload, case: str) -> list[str]:
    if isinstance(payload, ChangePriority):
        return [payload.priority] if payload.case == case else []
    if isinstance(payload, DecideConflict):
        return [payload.value] if (payload.id, payload.field) == (case, "priority") else []
    if isinstance(payload, Report):
        mine = [subject for subject in payload.subjects if (subject.kind, subject.id) == ("case", case)]
        return [fact.value for subject in mine for fact in subject.facts if fact.field == "priority"]
    return []


@many
@given(histories)
def test_what_was_said_holds_or_is_in_the_history_or_was_told(history: list[Step]) -> None:
    """No divergent write lost without a word: what was applied or merged stands in the field or in the history."""
    played = play(history)
    for _, one in played.decided:
        operation = next(said for said in played.said if said.id == one.id)
        if one.verdict.kind is VerdictKind.DUPLICATE or not isinstance(operation.payload, ChangePriority):
            continue
        view = queries.read_case(played.world.records, operation.payload.case)
        if view is None or one.verdict.kind is VerdictKind.REFUSED:
            continue
        where = [value.operation for field in view.fields for value in field.values]
        where += [past.value.operation for past in view.history]
        assert str(operation.id) in where


WORDS = {Rule.MORE_SEVERE: PRIORITIES, Rule.FURTHEST: CASE_STATUSES}
"""Rules that go by an order of words; the others take any."""


@many
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=1, max_size=6)
)
@example([(0, 1, 1, False), (1, 2, 2, False), (2, 3, 3, False), (0, 0, 0, False)])
def test_whatever_a_rule_decides_each_value_holds_stands_beside_or_is_let_go(
    said: list[tuple[int, int, int, bool]],
) -> None:
    """Never dropped, never doubled, however many stood there, seen or not; what is let go is in the history then."""
    for rule, merge in RULES.items():
        words = WORDS.get(rule, ("a", "b", "c"))
        *before, new = (
            Held(
                words[word],
                OperationId(A, bytes(16), place),
                place,
                NOON,
                HybridTime(NOON + clock),
                NOON,
                NOON + own,
                "someone",
                True,
            )
            for place, (word, clock, own, _) in enumerate(said)
        )
        seen = tuple(held for held, (*_, was_seen) in zip(before, said, strict=False) if was_seen)
        unseen = tuple(held for held in before if held not in seen)
        outcome = merge(seen, unseen, new)
        assert outcome.siblings
        assert sorted((*outcome.siblings, *outcome.lost), key=by_log) == [*before, new], rule


@many
@example(told(50548, 59))  # an alias registered after two transfers under its two names
@given(histories)
def test_the_list_of_conflicts_is_that_of_the_cases(history: list[Step]) -> None:
    """A conflict is listed as long as a reader of the case or resource sees it, and no longer."""
    played = play(history)
    records = played.world.records
    listed = {(one.kind, one.id) for one in map(CONFLICT.decode, (value for _, value in records.scan(b"x")))}
    seen = set()
    for case in [view for view in (queries.read_case(records, case) for case in CASES) if view is not None]:
        if case.conflicts:
            seen.add(("case", case.id))
    for resource in [queries.read_resource(records, vehicle) for vehicle in VEHICLES]:
        if resource is not None and resource.conflicts:
            seen.add(("resource", resource.id))
    assert {place for place in listed if place[1] in (*CASES, *VEHICLES)} == seen


@many
@given(histories)
def test_authority_is_one(history: list[Step]) -> None:
    """At most one site is in charge of a case; a decision of anybody else is never `applied`."""
    world = play(history).world
    for case in queries.list_cases(world.records):
        view = world.case(case)
        assert view.charge.holder in ("", A, B, C)
        if view.owner == FIRE:
            assert view.charge.holder == ""


@many
@given(histories)
def test_a_working_view_is_the_state_it_becomes(history: list[Step]) -> None:
    """A journal through the view shows the same values as once it is agreed, where nobody else wrote meanwhile."""
    played = play(history)
    world, site = played.world, played.sites[0]
    site.heal()
    journal = [site.operation(ChangePriority("c1", "P0")), site.operation(AddNote("c1", "own", "text"))]
    view = Overlay(world.records)
    forecast = [apply_tentative(view, operation, world.index + 1, world.now_ms) for operation in journal]
    tentative = queries.read_case(view, "c1")
    effects = world.agree(*journal)
    assert [one.verdict.kind for one in forecast if one] == [one.verdict.kind for one in effects.decided]
    agreed = queries.read_case(world.records, "c1")
    if tentative is not None and agreed is not None:
        assert [(one.field, [value.value for value in one.values]) for one in tentative.fields] == [
            (one.field, [value.value for value in one.values]) for one in agreed.fields
        ]


@many
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("xyz"), st.sampled_from("kl")), min_size=1, max_size=4))
def test_union_does_not_depend_on_the_order(said: list[tuple[int, str, str]]) -> None:
    """Lists grow: commutative, associative, idempotent."""
    outcomes = set()
    for order in permutations(range(len(said))):
        world, *sites = three_sites()
        sites[0].do(creation())
        for site in sites:
            site.cut()
        for place in order:
            who, text, key = said[place]
            sites[who].do(update("c1", Fact("medical_note", text, key)))
        outcomes.add(frozenset((one.key, one.value.value) for one in world.case().elements))
    assert outcomes == {frozenset((key, text) for _, text, key in said)}


@many
@given(st.lists(st.tuples(st.sampled_from(("P0", "P1", "P2", "P3", "NR")), st.integers(-300, 300)), max_size=3))
def test_what_holds_of_writes_made_apart_does_not_depend_on_the_order(said: list[tuple[str, int]]) -> None:
    """Where the rule says so: the most severe, the latest clock, the latest own time, whichever was agreed first."""
    outcomes = set()
    for order in permutations(range(len(said))):
        world, *sites = three_sites()
        sites[0].do(creation())
        operations = []
        for place, (priority, clock) in enumerate(said):
            site = sites[place].cut()
            site.clock_ms = clock
            facts = (
                Fact("priority", priority),
                Fact("origin", f"{place}"),
                Fact("location.geometry", f"{place}", at_ms=NOON + clock),
            )
            operations.append(site.operation(update("c1", *facts)))
        for place in order:
            world.verdict(operations[place])
        case = world.case()
        outcomes.add(tuple(case.value(name) for name in ("priority", "origin", "location.geometry")))
    assert len(outcomes) == 1


# --- any decodable operation ---

strange = st.sampled_from(("", "c1", "\0", "#", "x" * 200, "é\0", A))
any_fact = st.builds(
    Fact,
    st.sampled_from(("priority", "owner", "status", "organisation", "medical_note", "answer", "nonsense", "")),
    strange,
    strange,
    st.integers(-(2**63), 2**63 - 1),
)
any_operation = st.builds(
    Operation,
    st.builds(OperationId, st.sampled_from((A, "", "\0")), st.sampled_from((b"\1" * 16, b"")), st.integers(-1, 4)),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.builds(HybridTime, st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)),
    st.integers(-(2**63), 2**63 - 1),
    strange,
    st.one_of(
        payloads,
        st.builds(Opening, st.sampled_from((None, b"\1" * 16, b"")), st.integers(-1, 3), st.sampled_from((None, b""))),
        st.builds(
            Report,
            strange,
            strange,
            strange,
            st.lists(
                st.builds(
                    Subject,
                    st.sampled_from(("case", "resource", "request", "")),
                    strange,
                    st.lists(any_fact, max_size=2).map(tuple),
                    strange,
                    strange,
                    strange,
                ),
                max_size=2,
            ).map(tuple),
            st.lists(any_fact, max_size=1).map(tuple),
        ),
    ),
    st.integers(-(2**63), 2**63 - 1),
    strange,
)


@many
@given(st.lists(any_operation, max_size=12))
def test_apply_is_total(operations: list[Operation]) -> None:
    """Every decodable operation gets a verdict or is held; nothing raises, and the digests stay true."""
    world, *_ = three_sites()
    for operation in operations:
        effects = world.agree(operation)
        assert len(effects.decided) + len(effects.held) == 1
    world.check()


def test_the_histories_reach_what_they_are_for() -> None:
    """A generator that never conflicts proves nothing: over its examples every verdict kind occurs."""
    found: set[VerdictKind] = set()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(histories)
    def collect(history: list[Step]) -> None:
        played: Played = play(history)
        found.update(one.verdict.kind for _, one in played.decided)

    collect()
    assert found == set(VerdictKind)
