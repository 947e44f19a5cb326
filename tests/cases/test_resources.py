"""What is said of a resource: whose it is, its missions, which case it serves."""

from __future__ import annotations

from replica.cases import queries
from replica.cases.commands import (
    DecideConflict,
    EngageResource,
    Fact,
    RegisterOrganisation,
    ReleaseResource,
    Report,
    SetStatus,
    Subject,
)
from replica.cases.verdicts import VerdictKind
from tests.cases.world import (
    APPLIED,
    CONFLICT,
    FIRE,
    MERGED,
    NOON,
    PROPOSED,
    REFUSED,
    SUPERSEDED,
    A,
    B,
    Site,
    World,
    about,
    creation,
    past,
    proposals,
    report,
    status,
    two_sites,
    values,
    vehicle,
)


def ready() -> tuple[World, Site, Site]:
    """A vehicle of A, a case of A (c1) and one of B (c2)."""
    world, a, b = two_sites()
    a.do(vehicle("r1", A))
    a.do(creation("c1", A))
    b.do(creation("c2", B))
    return world, a, b


def states(world: World, case: str) -> dict[str, str]:
    return {one.resource: one.state for one in world.case(case).engagements}


# --- whose it is ---


def test_the_owner_is_the_organisation_field_through_the_registry() -> None:
    """Ids do not tell the owner: sis077 in the id, sdis77 in the field."""
    world, a, _ = two_sites()
    a.do(RegisterOrganisation("sdis77", A))
    a.do(about("fr.fire.sis077.resource.V1", "", Fact("organisation", "sdis77"), creates=True))
    assert world.resource("fr.fire.sis077.resource.V1").charge.holder == A
    assert queries.list_resources(world.records, owner=A) == ["fr.fire.sis077.resource.V1"]


def test_before_it_is_described_the_id_is_the_best_guess() -> None:
    """`{organisation}.resource.{id}`; the description says better."""
    world, a, _ = two_sites()
    a.do(about(f"{A}.resource.V1", "", Fact("position", "{}", at_ms=1)))
    view = world.resource(f"{A}.resource.V1")
    assert (view.owner, view.incomplete) == (A, True)


def test_a_stranger_cannot_make_a_vehicle_his_by_describing_it() -> None:
    """Whose it is decides who engages it, so only who is in charge of it may say so; others only propose."""
    world, a, b = ready()
    assert b.do(vehicle("r1", B)).kind is PROPOSED
    assert world.resource().charge.holder == A
    assert proposals(world.resource(), "organisation") == [B]
    assert a.do(DecideConflict("resource", "r1", "organisation", "", B)).kind is APPLIED
    assert (world.resource().charge.holder, proposals(world.resource(), "organisation")) == (B, [])


def test_what_is_only_proposed_of_a_vehicle_does_not_hold() -> None:
    """A reader who asks for the value gets none, and finds the proposal beside."""
    world, a, b = two_sites()
    a.do(about(f"{A}.resource.V1", "", Fact("name", "VSAV")))
    assert b.do(about(f"{A}.resource.V1", "", Fact("organisation", B))).kind is PROPOSED
    view = world.resource(f"{A}.resource.V1")
    assert (view.value("organisation"), proposals(view, "organisation"), view.owner) == (None, [B], A)


def test_a_message_that_only_names_an_organisation_beside_moves_nothing_of_a_strangers() -> None:
    """`Subject.organisation` counts for who may say so, and where nobody is known."""
    world, _, b = ready()
    b.do(report(Subject("resource", "r1", (), organisation=B), sender=B))
    assert world.resource().charge.holder == A
    b.do(report(Subject("resource", "r7", (), organisation=B), sender=B))
    assert world.resource("r7").charge.holder == B


def test_who_is_named_by_the_id_may_claim_it() -> None:
    """A vehicle first described under a wrong organisation is not lost to its own."""
    world, a, b = two_sites()
    b.do(about(f"{A}.resource.V1", "", Fact("organisation", B), creates=True))
    assert world.resource(f"{A}.resource.V1").charge.holder == B
    assert a.do(about(f"{A}.resource.V1", "", Fact("organisation", A))).kind is MERGED
    assert world.resource(f"{A}.resource.V1").charge.holder == A
    assert b.do(about(f"{A}.resource.V1", "", Fact("organisation", B))).kind is PROPOSED
    assert world.resource(f"{A}.resource.V1").charge.holder == A


def test_a_vehicle_without_an_id_is_a_placeholder_of_case_message_and_number() -> None:
    """RS-ER may name a vehicle with none; only a person links it."""
    world, a, _ = ready()
    nameless = Subject("resource", "", (Fact("name", "VSAV"),), case="c1")
    a.do(report(nameless, nameless, message="m"))
    assert states(world, "c1") == {"c1.placeholder.m.1": "engaged", "c1.placeholder.m.2": "engaged"}


def test_a_request_without_an_id_is_known_by_case_message_and_number() -> None:
    """As a vehicle without one: two in a message are two."""
    world, a, _ = ready()
    nameless = Subject("request", "", (Fact("details", "{}"),), case="c1", creates=True)
    a.do(report(nameless, nameless, message="m"))
    assert [one.id for one in world.case("c1").requests] == ["c1.request.m.1", "c1.request.m.2"]


def test_availability_nobody_stated_is_legal_and_the_latest_word_holds() -> None:
    """true, false, unknown: latest by its own time, never guessed."""
    world, a, _ = ready()
    assert world.resource().value("availability") is None
    a.do(about("r1", "", Fact("availability", "true", at_ms=NOON)))
    a.do(about("r1", "", Fact("availability", "unknown", at_ms=NOON + 1)))
    assert world.resource().value("availability") == "unknown"


# --- missions ---


def test_steps_may_be_skipped_and_an_earlier_one_is_history() -> None:
    """An earlier one that arrives late is history, not a step back."""
    world, a, _ = ready()
    assert a.do(about("r1", "c1", status("DECLENCHE", NOON))).kind is APPLIED
    assert a.do(about("r1", "c1", status("ARRIVEE", NOON + 20))).kind is APPLIED
    assert a.do(about("r1", "c1", status("DEPART", NOON + 10))).kind is SUPERSEDED
    assert world.resource().status == "ARRIVEE"
    (served,) = world.case("c1").engagements
    assert [step.status.value for step in served.steps] == ["DECLENCHE", "DEPART", "ARRIVEE"]


def test_steps_of_one_message_count_in_the_order_they_happened() -> None:
    """RS-RI lists the newest first."""
    world, a, _ = ready()
    verdict = a.do(about("r1", "c1", status("DECLENCHE", NOON + 2), status("DECISION", NOON)))
    assert verdict.kind is APPLIED
    assert world.resource().status == "DECLENCHE"


def test_two_partners_who_report_one_step_agree() -> None:
    """The same status again is neither a step nor a loss."""
    world, a, b = ready()
    a.do(about("r1", "c1", status("DEPART", NOON)))
    assert b.do(about("r1", "c1", status("DEPART", NOON))).kind is MERGED
    assert b.do(about("r1", "c1", status("DEPART", NOON + 7))).kind is MERGED
    assert world.resource().status == "DEPART"


def test_a_new_mission_begins_only_with_decision_or_dispatch_after_a_terminal_status() -> None:
    """In log order; anything else after the end is history of the old one."""
    world, a, _ = ready()
    a.do(about("r1", "c1", status("DECLENCHE", NOON)))
    a.do(about("r1", "c1", status("FINPEC", NOON + 1)))
    assert a.do(about("r1", "c1", status("DEPART", NOON + 2))).kind is SUPERSEDED
    assert world.resource().status == "FINPEC"
    a.do(about("r1", "c1", status("RETOUR", NOON + 3)))
    assert a.do(about("r1", "c1", status("DECISION", NOON + 4))).kind is APPLIED
    assert (world.resource().status, world.resource().mission) == ("DECISION", 2)
    (served,) = world.case("c1").engagements
    assert served.missions == ((1, "RETOUR", True), (2, "DECISION", False))
    assert served.state == "engaged"


def test_the_first_status_of_another_case_begins_a_mission_there() -> None:
    """Mission = (resource, case, n); the status shown is that of the one begun last."""
    world, a, _ = ready()
    a.do(about("r1", "c1", status("ARRIVEE", NOON)))
    a.do(about("r1", "c2", status("DECLENCHE", NOON + 1)))
    assert (world.resource().status, world.resource().mission_case) == ("DECLENCHE", "c2")
    a.do(about("r1", "c1", status("BILAN", NOON + 2)))
    assert world.resource().status == "DECLENCHE"
    a.do(about("r1", "c9", status("RET-BASE", NOON - 9)))
    assert (world.resource().status, world.resource().mission_case) == ("DECLENCHE", "c2")


def test_a_status_without_a_case_is_about_the_present_mission() -> None:
    """RS-SR names a resource and a status; the mission is the one it is on."""
    world, a, _ = ready()
    a.do(about("r1", "c1", status("DECLENCHE", NOON)))
    a.do(about("r1", "", status("DEPART", NOON + 1)))
    assert world.case("c1").engagements[0].missions == ((1, "DEPART", False),)


def test_a_call_off_ends_a_mission_before_arrival_and_not_after() -> None:
    """ANNULE before ARRIVEE, whichever word came first."""
    world, a, _ = ready()
    a.do(about("r1", "c1", status("DEPART", NOON)))
    a.do(about("r1", "c1", status("ANNULE", NOON + 1)))
    assert (world.resource().status, states(world, "c1")) == ("ANNULE", {"r1": "over"})
    a.do(about("r1", "c1", status("ARRIVEE", NOON + 2)))
    assert (world.resource().status, states(world, "c1")) == ("ARRIVEE", {"r1": "engaged"})
    assert a.do(about("r1", "c1", status("ANNULE", NOON + 3))).kind is SUPERSEDED
    assert (world.resource().status, states(world, "c1")) == ("ARRIVEE", {"r1": "engaged"})


def test_set_status_is_a_step_like_any_other() -> None:
    """The command goes the way of a report; nonsense is refused."""
    world, a, b = ready()
    assert a.do(SetStatus("r1", "c1", "DECLENCHE")).kind is APPLIED
    assert b.do(SetStatus("r1", "c1", "DEPART")).kind is MERGED
    assert world.resource().status == "DEPART"
    assert a.do(SetStatus("r1", "c1", "FLYING")).kind is REFUSED
    assert a.do(SetStatus("r9", "c1", "DEPART")).kind is REFUSED


def test_a_vehicle_of_years_does_not_grow() -> None:
    """What it did for a case is in that case's records; its own are bounded."""
    world, a, _ = ready()
    sizes = []
    for n in range(60):
        for word in ("DECLENCHE", "RET-BASE"):
            a.do(about("r1", f"d{n}", status(word, NOON + n)))
        sizes.append(sum(len(key) + len(value) for key, value in world.records.scan(b"rr1\0")))
    assert max(sizes[30:]) - min(sizes[30:]) < 200
    assert world.resource().cases == tuple(f"d{n}" for n in range(44, 60))


# --- engagement ---


def test_a_report_for_a_case_engages_the_owners_vehicle() -> None:
    """RS-RI, RS-ER and RS-SR for a case imply the engagement of that resource to that case."""
    world, a, _ = ready()
    assert a.do(about("r1", "c1", Fact("name", "AR 1"))).kind is APPLIED
    assert (world.resource().serves, states(world, "c1")) == ("c1", {"r1": "engaged"})


def test_a_strangers_report_of_an_engagement_is_proposed_beside_what_holds() -> None:
    """Its owner engages; the owner may accept what a stranger says."""
    world, a, b = ready()
    a.do(EngageResource("r1", "c1"))
    assert b.do(about("r1", "c2", status("DECLENCHE"))).kind is PROPOSED
    assert (world.resource().serves, states(world, "c2")) == ("c1", {"r1": "proposed"})
    assert b.do(about("r1", "c2", status("DEPART"))).kind is MERGED
    assert len(proposals(world.resource(), "engagement")) == 1
    assert a.do(EngageResource("r1", "c2")).kind is APPLIED
    assert (world.resource().serves, proposals(world.resource(), "engagement")) == ("c2", [])
    assert states(world, "c1") == {"r1": "over"}


def test_a_strangers_report_of_what_holds_anyway_is_merged() -> None:
    """Agreement needs nobody's acceptance."""
    world, a, b = ready()
    a.do(EngageResource("r1", "c1"))
    assert b.do(EngageResource("r1", "c1")).kind is MERGED
    assert proposals(world.resource(), "engagement") == []


def test_two_engagements_apart_are_the_conflict_double_engagement() -> None:
    """Both shown, the owner's holds meanwhile, whichever was agreed first."""
    for owner_first in (True, False):
        world, a, b = two_sites()
        a.do(vehicle("r1", FIRE))
        a.do(RegisterOrganisation(FIRE, FIRE, A))
        a.do(creation("c1", A))
        b.do(creation("c2", B))
        accepted(a, b)
        owners, others = a.operation(EngageResource("r1", "c1")), b.operation(about("r1", "c2", Fact("request", "q1")))
        verdicts = [world.verdict(one).kind for one in ((owners, others) if owner_first else (others, owners))]
        assert verdicts[1] is CONFLICT
        assert world.resource().serves == "c1"
        assert len(values(world.resource(), "engagement")) == 2
        assert (states(world, "c1"), states(world, "c2")) == ({"r1": "conflict"}, {"r1": "conflict"})
        (conflict,) = queries.list_conflicts(world.records, FIRE)
        assert (conflict.subject, conflict.id, conflict.field) == ("resource", "r1", "engagement")
        assert a.do(DecideConflict("resource", "r1", "engagement", "", "c2")).kind is APPLIED
        assert (world.resource().serves, world.resource().conflicts) == ("c2", ())
        world.check()


def accepted(a: Site, b: Site, word: str = "ACCEPTEE") -> None:
    """B asks for a vehicle for c2 under q1, A answers."""
    b.do(report(Subject("request", "q1", (Fact("details", "{}"),), case="c2", creates=True), sender=B))
    a.do(report(Subject("request", "q1", (Fact("answer", f'{{"answer":"{word}"}}'),), case="c2")))


def sent(case: str = "c2", request: str = "q1") -> Report:
    return about("r1", case, Fact("request", request), sender=B)


def test_an_accepted_request_engages() -> None:
    """Its owner engages, or an accepted request: then the asking side's report holds."""
    world, a, b = ready()
    accepted(a, b)
    assert b.do(sent()).kind is MERGED
    assert world.resource().serves == "c2"


def test_a_refused_request_and_one_for_another_case_engage_nothing() -> None:
    """Only an acceptance by the vehicle's own side, for that case."""
    world, a, b = ready()
    accepted(a, b, "REFUSEE")
    assert b.do(sent()).kind is PROPOSED
    accepted(a, b)
    assert b.do(sent(case="c1")).kind is PROPOSED
    assert world.resource().serves == ""


def test_an_answer_by_the_asking_side_is_no_acceptance() -> None:
    """Else a stranger would accept his own request."""
    world, _, b = ready()
    accepted(b, b)
    assert b.do(sent()).kind is PROPOSED
    assert world.resource().serves == ""


def test_a_terminal_status_releases_and_a_description_sent_again_does_not_call_back() -> None:
    """Released by terminal statuses of its mission; a list sent again later says nothing new of it."""
    world, a, _ = ready()
    a.do(about("r1", "c1", status("DECLENCHE")))
    a.do(about("r1", "c1", status("RET-BASE")))
    assert (world.resource().serves, states(world, "c1")) == ("", {"r1": "over"})
    a.do(about("r1", "c1", Fact("name", "AR 1"), Fact("engagement", '{"caseId":"c1"}')))
    assert world.resource().serves == ""
    a.do(EngageResource("r1", "c2"))
    a.do(about("r1", "c1", Fact("name", "AR 1"), Fact("engagement", '{"caseId":"c1"}')))
    assert world.resource().serves == "c2"


def test_a_late_end_of_one_mission_does_not_release_the_other() -> None:
    """Released is the case whose mission ended."""
    world, a, _ = ready()
    a.do(about("r1", "c1", status("ARRIVEE")))
    a.do(EngageResource("r1", "c2"))
    a.do(about("r1", "c1", status("RET-BASE")))
    assert world.resource().serves == "c2"


def test_a_list_that_lacks_a_vehicle_does_not_disengage_it() -> None:
    """RS-RI without a vehicle does not disengage it."""
    world, a, _ = ready()
    a.do(EngageResource("r1", "c1"))
    a.do(vehicle("r2", A, "c1"))
    assert world.resource().serves == "c1"


def test_a_resource_of_nobodys_is_engaged_by_whoever_says_so() -> None:
    """No owner of ours can accept, so nobody's word is limited by another's."""
    world, _, b = two_sites()
    b.do(creation("c1", B))
    assert b.do(vehicle("r1", FIRE, "c1")).kind is MERGED
    assert world.resource().serves == "c1"


def test_a_mission_number_said_later_is_added() -> None:
    """engagement (caseId, missionId, patientId): what is known of it grows."""
    world, a, _ = ready()
    a.do(EngageResource("r1", "c1"))
    a.do(about("r1", "c1", Fact("engagement", '{"caseId":"c1","missionId":"M7"}')))
    assert values(world.resource(), "engagement") == ['{"case":"c1","mission":"M7"}']


def test_of_a_double_engagement_only_the_one_that_is_spoken_of_is_told_more() -> None:
    """A mission's number belongs to one case, and the other stands as it was said."""
    world, a, b = ready()
    accepted(a, b)
    one, two = a.operation(EngageResource("r1", "c1")), b.operation(sent())
    world.verdict(one)
    assert world.verdict(two).kind is CONFLICT
    a.do(about("r1", "c2", Fact("engagement", '{"caseId":"c2","missionId":"M7"}')))
    assert values(world.resource(), "engagement") == ['{"case":"c1"}', '{"case":"c2","mission":"M7"}']
    assert world.resource().conflicts == ("engagement",)


def test_an_engagement_that_names_no_case_is_to_the_one_its_message_is_about() -> None:
    """In our words, in the standard's, or in none at all; without any case it says nothing."""
    for said, held in (
        ('{"missionId":"M7"}', '{"case":"c1","mission":"M7"}'),
        ('{"patientId":"p"}', '{"case":"c1","patient":"p"}'),
        ("", '{"case":"c1"}'),
    ):
        world, a, _ = ready()
        a.do(about("r1", "c1", Fact("engagement", said)))
        assert values(world.resource(), "engagement") == [held], said
        world, a, _ = ready()
        assert a.do(about("r1", "", Fact("engagement", said))).kind is APPLIED
        assert (world.resource().serves, values(world.resource(), "engagement")) == ("", []), said


def test_release_is_the_owners_command_and_a_strangers_is_proposed() -> None:
    """ReleaseResource; what the resource does not serve cannot be released."""
    world, a, b = ready()
    a.do(EngageResource("r1", "c1"))
    assert b.do(ReleaseResource("r1", "c1")).kind is PROPOSED
    assert world.resource().serves == "c1"
    assert a.do(ReleaseResource("r1", "c1")).kind is APPLIED
    assert (world.resource().serves, proposals(world.resource(), "engagement")) == ("", [])
    assert a.do(ReleaseResource("r1", "c1")).kind is REFUSED
    assert [one.became for one in world.case("c1").history if one.field == "engagement"] == ["released"] * 2


def test_commands_that_name_nothing_known_are_refused() -> None:
    """A command names what a person sees."""
    _, a, _ = ready()
    for command in (EngageResource("r9", "c1"), EngageResource("r1", ""), ReleaseResource("r9", "c1")):
        assert a.do(command).kind is REFUSED


def test_text_that_is_no_json_names_a_case() -> None:
    """A value nobody can parse still says something, and breaks nothing."""
    world, a, _ = ready()
    assert a.do(about("r1", "", Fact("engagement", "c1"))).kind is APPLIED
    assert world.resource().serves == "c1"
    for text in ("[", "[1]", '{"case":5}', "\ud7ff" * 3, "[" * 5000):
        assert a.do(about("r1", "", Fact("engagement", text))).kind in VerdictKind


def test_positions_are_not_kept_once_replaced() -> None:
    """High rate, low value each."""
    world, a, _ = ready()
    for n in range(5):
        a.do(about("r1", "", Fact("position", str(n), at_ms=NOON + n)))
    assert past(world.resource(), "position") == []
    assert values(world.resource(), "position") == ["4"]


def test_what_is_said_of_a_case_and_its_vehicles_in_one_message_has_one_verdict() -> None:
    """An operation on several fields gets its highest."""
    world, _, b = ready()
    verdict = b.do(
        report(
            Subject("case", "c2", (Fact("origin", "15"),)),
            Subject("resource", "r1", (status("DECLENCHE"),), case="c2"),
        )
    )
    assert verdict.kind is PROPOSED
    assert [finding.kind.value for finding in verdict.findings] == ["merged", "proposed"]
    assert [one.kind for one in world.case("c2").verdicts] == ["proposed"]


def test_a_decided_engagement_answers_the_proposals_that_were_seen() -> None:
    """The one decided for serves; another proposal that the person had before them is history; one that came apart
    still waits."""
    world, a, b = ready()
    for case in ("c3", "c4", "c5"):
        b.do(creation(case, B))
    for case in ("c3", "c4"):
        assert b.do(EngageResource("r1", case)).kind is PROPOSED
    decision = a.operation(DecideConflict("resource", "r1", "engagement", "", "c4"))
    assert b.do(EngageResource("r1", "c5")).kind is PROPOSED
    assert world.verdict(decision).kind is APPLIED
    assert world.resource().serves == "c4"
    assert proposals(world.resource(), "engagement") == ['{"case":"c5"}']
    assert past(world.case("c3"), "engagement") == ['{"case":"c3"}']
    assert past(world.case("c4"), "engagement") == []
    world.check()


def test_a_vehicles_own_side_may_say_that_it_belongs_to_another() -> None:
    """By the organisation its message names beside the vehicle, too; a stranger's word moves nothing."""
    world, a, b = ready()
    assert b.do(report(Subject("resource", "r1", (), FIRE), sender=B)).kind is APPLIED
    assert world.resource().owner == A
    a.do(report(Subject("resource", "r1", (), FIRE), sender=A))
    assert world.resource().owner == FIRE


def test_a_request_may_be_known_before_its_case_is() -> None:
    """Messages overtake each other: the case it is for is filled in once, and finds the request."""
    world, a, _ = two_sites()
    a.do(report(Subject("request", "q1", (Fact("details", "x"),), A, creates=True)))
    request = queries.read_request(world.records, "q1")
    assert request is not None
    assert (request.case, request.owner, request.incomplete) == ("", A, False)
    a.do(creation("c1", A))
    a.do(report(Subject("request", "q1", (), A, "c1")))
    a.do(report(Subject("request", "q1", (), A, "c2")))
    request = queries.read_request(world.records, "q1")
    assert request is not None
    assert request.case == "c1"
    assert [one.id for one in world.case().requests] == ["q1"]


def test_a_value_nested_beyond_any_message_is_the_plain_word_it_is() -> None:
    """How deep a reader follows hangs on the stack it stands on; what an engagement says must not."""
    for depth, serves in ((400, True), (600, False), (100_000, False)):
        world, a, _ = ready()
        value = '{"case":"c1","x":' + "[" * depth + "]" * depth + "}"
        a.do(about("r1", "", Fact("engagement", value)))
        assert world.resource().serves == ("c1" if serves else value), depth


def test_brackets_side_by_side_or_in_text_are_no_nesting() -> None:
    """Only depth counts, outside of strings and whatever is escaped in them."""
    for inside in ("[" + ",".join(["[]"] * 900) + "]", '"' + '{[\\"\\\\' * 900 + '"'):
        world, a, _ = ready()
        a.do(about("r1", "", Fact("engagement", '{"case":"c1","x":' + inside + "}")))
        assert world.resource().serves == "c1", inside


def test_an_answer_may_be_a_plain_word() -> None:
    """A command's word stands alone, a message's in the standard's structure; both accept."""
    for answer in ("ACCEPTEE", '{"answer":"ACCEPTEE"}'):
        world, a, b = ready()
        b.do(report(Subject("request", "q1", (), B, "c2", creates=True), sender=B))
        a.do(report(Subject("request", "q1", (Fact("answer", answer),), B, "c2"), sender=A))
        assert b.do(about("r1", "c2", Fact("request", "q1"), sender=B)).kind is MERGED
        assert world.resource().serves == "c2", answer
