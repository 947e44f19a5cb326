"""What a message does to a case: creation, owner, status, incomplete cases, documents, repeated messages."""

from __future__ import annotations

from replica.cases import keys, queries
from replica.cases.commands import (
    CloseCase,
    DecideConflict,
    Fact,
    RegisterOrganisation,
    ReopenCase,
    Report,
    Subject,
    TransferCase,
)
from replica.cases.state import NAMES
from tests.cases.world import (
    APPLIED,
    CONFLICT,
    DUPLICATE,
    FIRE,
    MERGED,
    NOON,
    PROPOSED,
    REFUSED,
    SUPERSEDED,
    A,
    B,
    C,
    about,
    creation,
    past,
    proposals,
    report,
    three_sites,
    two_sites,
    update,
    values,
    vehicle,
)

# --- creation, incomplete ---


def test_a_creation_opens_a_case_of_its_owner() -> None:
    """RS-EDA creates; the owner it names holds."""
    world, a, _ = two_sites()
    assert a.do(creation("c1", A)).kind is APPLIED
    case = world.case()
    assert (case.owner, case.incomplete, case.open, case.charge.holder) == (A, False, True, A)


def test_what_an_update_said_holds_against_a_creation_it_has_overtaken() -> None:
    """The creation completes the case: its own word is the past, a P0 said meanwhile is not undone by it."""
    world, site, _ = two_sites()
    site.do(update("c1", Fact("priority", "P0")))
    completed = site.do(creation("c1", A, Fact("priority", "P1"), Fact("origin", "15")))
    assert completed.kind.value == "superseded"
    assert [(one.field, one.rule) for one in completed.findings] == [("priority", "overtaken")]
    view = world.case()
    assert values(view, "priority") == ["P0"]
    assert values(view, "origin") == ["15"]
    assert past(view, "priority") == ["P1"]
    assert not view.incomplete
    site.do(update("c1", Fact("priority", "P2")))
    assert values(world.case(), "priority") == ["P2"]


def test_a_creation_that_says_what_an_update_has_said_already_is_no_loss() -> None:
    """Nothing was overtaken: both say P0, and there is no history of one word."""
    world, site, _ = two_sites()
    site.do(update("c1", Fact("priority", "P0")))
    completed = site.do(creation("c1", A, Fact("priority", "P0")))
    assert "overtaken" not in [one.rule for one in completed.findings]
    assert values(world.case(), "priority") == ["P0"]


def test_a_creation_made_apart_from_an_update_is_no_older_word() -> None:
    """Its author had not seen the update: neither is the other's past, so both stay for a person (rule 11)."""
    world, a, b = two_sites()
    made = a.operation(creation("c1", A, Fact("priority", "P2")))
    b.do(update("c1", Fact("priority", "P1"), sender=B))
    verdict = world.verdict(made)
    assert [(one.field, one.kind) for one in verdict.findings if one.field == "priority"] == [("priority", CONFLICT)]
    assert values(world.case(), "priority") == ["P1", "P2"]


def test_a_creation_that_has_seen_one_of_two_updates_made_apart_goes_beside_the_other() -> None:
    """What it had before it is its own past to replace; what it had not stays (rule 11)."""
    world, a, b, c = three_sites()
    a.cut()
    b.cut()
    b.do(update("c1", Fact("priority", "P0"), sender=B))
    a.seen = world.index
    c.seen = world.index - 1
    assert c.do(update("c1", Fact("priority", "P3"), sender=C)).kind is CONFLICT
    assert values(world.case(), "priority") == ["P0", "P3"]
    a.do(creation("c1", A, Fact("priority", "P1")))
    assert values(world.case(), "priority") == ["P1", "P3"]
    assert past(world.case(), "priority") == ["P0"]


def test_an_update_of_an_unknown_case_opens_it_incomplete_and_its_creation_completes_it() -> None:
    """Messages overtake each other, and an emergency's data is never thrown away."""
    world, a, _ = two_sites()
    assert a.do(update("c1", Fact("priority", "P0"))).kind is MERGED
    assert (world.case().incomplete, world.case().owner, world.case().charge.holder) == (True, "", "")
    a.do(creation("c1", A, Fact("origin", "15")))
    case = world.case()
    assert (case.incomplete, case.owner) == (False, A)
    assert (values(case, "priority"), values(case, "origin")) == (["P0"], ["15"])


def test_a_resource_for_an_unknown_case_opens_that_too() -> None:
    """A valid update that names a case or resource nobody has created yet opens it as incomplete."""
    world, a, _ = two_sites()
    a.do(about("r1", "c1", Fact("status", "DECLENCHE")))
    assert (world.case().incomplete, world.resource().incomplete) == (True, True)
    assert [one.resource for one in world.case().engagements] == ["r1"]


def test_a_creation_by_a_stranger_is_merged_and_its_owner_holds() -> None:
    """A message enters at its sender's site, whoever owns the case it creates."""
    world, _, b = two_sites()
    assert b.do(creation("c1", A)).kind is MERGED
    assert world.case().owner == A


# --- owner ---


def test_a_late_resend_never_takes_a_case_back() -> None:
    """In RS-EDA the owner holds at creation only."""
    world, a, _ = two_sites()
    a.do(creation("c1", A))
    assert a.do(update("c1", Fact("owner", B))).kind is APPLIED
    assert world.case().owner == B
    assert a.do(creation("c1", A, Fact("origin", "15"))).kind is MERGED
    assert world.case().owner == B
    assert values(world.case(), "origin") == ["15"]


def test_a_resend_that_names_another_owner_is_history() -> None:
    """Neither the first owner nor a transfer: superseded, and kept."""
    world, a, _ = two_sites()
    a.do(creation("c1", A))
    assert a.do(creation("c1", B)).kind is SUPERSEDED
    assert world.case().owner == A
    assert past(world.case(), "owner") == [B]


def test_two_creations_made_apart_with_two_owners_are_a_conflict() -> None:
    """owner, apart: conflict, kept for a person."""
    world, a, b = two_sites()
    one, two = a.operation(creation("c1", A)), b.operation(creation("c1", B))
    world.verdict(one)
    assert world.verdict(two).kind is CONFLICT
    assert values(world.case(), "owner") == [A, B]
    assert a.do(DecideConflict("case", "c1", "owner", "", B)).kind is APPLIED
    assert (world.case().owner, world.case().conflicts) == (B, ())
    world.check()


def test_the_present_owner_and_the_named_new_one_may_transfer() -> None:
    """Only an RS-EDA-MAJ transfers, from the present or the named new owner."""
    world, a, b = two_sites()
    a.do(creation("c1", A))
    assert b.do(update("c1", Fact("owner", B), sender=B)).kind is MERGED
    assert world.case().owner == B
    assert b.do(update("c1", Fact("owner", A), sender=B)).kind is APPLIED
    assert world.case().owner == A


def test_a_transfer_by_anybody_else_is_proposed_and_the_owner_may_accept() -> None:
    """A case's transfer by someone who neither holds nor receives it is kept as proposed, beside what holds."""
    world, a, b, c = three_sites()
    a.do(creation("c1", A))
    assert c.do(update("c1", Fact("owner", B))).kind is PROPOSED
    assert (values(world.case(), "owner"), proposals(world.case(), "owner")) == ([A], [B])
    assert b.do(TransferCase("c1", C)).kind is PROPOSED
    assert a.do(DecideConflict("case", "c1", "owner", "", B)).kind is APPLIED
    assert (world.case().owner, proposals(world.case(), "owner")) == (B, [])
    assert C in past(world.case(), "owner")


def test_a_transfer_that_overtook_the_creation_holds() -> None:
    """The creation came later, but its owner is the one before."""
    world, a, b = two_sites()
    assert b.do(update("c1", Fact("owner", B), sender=B)).kind is MERGED
    assert a.do(creation("c1", A)).kind is SUPERSEDED
    assert world.case().owner == B
    assert past(world.case(), "owner") == [A]


def test_a_transfer_by_the_creator_that_overtook_the_creation_holds_once_it_is_known() -> None:
    """Without a creation nobody knew whose the case was, so it was proposed; now it is known."""
    world, a, _ = two_sites()
    assert a.do(update("c1", Fact("owner", B))).kind is PROPOSED
    assert world.case().owner == ""
    a.do(creation("c1", A))
    assert (world.case().owner, proposals(world.case(), "owner")) == (B, [])
    assert past(world.case(), "owner") == [A]


def test_a_transfer_apart_from_the_new_owners_own_is_a_conflict() -> None:
    """The former owner had not seen that the case was taken: both stay, the agreed one holds meanwhile."""
    world, a, b, _ = three_sites()
    a.do(creation("c1", A))
    a.cut()
    assert b.do(update("c1", Fact("owner", B), sender=B)).kind is MERGED
    assert a.do(TransferCase("c1", C)).kind is CONFLICT
    assert values(world.case(), "owner") == [B, C]
    assert world.case().owner == B


def test_the_owner_is_compared_by_all_its_names() -> None:
    """samu940 and samu94 are one."""
    world, a, _ = two_sites()
    a.do(RegisterOrganisation("samu94", A))
    a.do(creation("c1", "samu94"))
    assert world.case().charge.holder == A
    assert a.do(creation("c1", A)).kind is APPLIED
    assert queries.list_cases(world.records, owner=A) == ["c1"]
    assert queries.list_cases(world.records, owner="samu94") == ["c1"]


def test_a_case_of_an_organisation_without_a_site_is_nobodys() -> None:
    """Fire services run no site of ours: everybody's word is merged, and may hand it over."""
    world, a, b = two_sites()
    assert a.do(creation("c1", FIRE)).kind is MERGED
    assert world.case().charge.holder == ""
    assert b.do(update("c1", Fact("owner", A))).kind is MERGED
    assert world.case().owner == A


# --- status ---


def test_statuses_are_kept_per_organisation_each_furthest_along() -> None:
    """The state in the sending system; the case's own is its owner's."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "ACTIF")))
    b.do(update("c1", Fact("status", "CLOTURE", B), sender=B))
    case = world.case()
    assert (values(case, "status", A), values(case, "status", B)) == (["ACTIF"], ["CLOTURE"])
    assert (case.status, case.open) == ("ACTIF", True)
    assert a.do(update("c1", Fact("status", "PROGRAM", A))).kind is SUPERSEDED
    assert world.case().status == "ACTIF"
    assert a.do(update("c1", Fact("status", "CLOTURE", A))).kind is APPLIED
    assert (world.case().status, world.case().open) == ("CLOTURE", False)


def test_a_stranger_only_proposes_that_the_owner_has_closed_it() -> None:
    """An emergency that is treated does not leave the list by another's word."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "ACTIF")))
    assert b.do(update("c1", Fact("status", "CLOTURE", A))).kind is PROPOSED
    assert world.case().open
    assert proposals(world.case(), "status", A) == ["CLOTURE"]
    assert a.do(DecideConflict("case", "c1", "status", A, "CLOTURE")).kind is APPLIED
    assert not world.case().open
    assert proposals(world.case(), "status", A) == []


def test_a_proposed_closing_is_accepted_where_the_owner_has_said_no_status_yet() -> None:
    """There is nothing to go back from."""
    world, a, b = two_sites()
    a.do(creation("c1", A))
    assert b.do(CloseCase("c1")).kind is PROPOSED
    assert values(world.case(), "status", A) == []
    assert a.do(DecideConflict("case", "c1", "status", A, "CLOTURE")).kind is APPLIED
    assert (world.case().status, proposals(world.case(), "status", A)) == ("CLOTURE", [])


def test_an_owner_who_declines_a_reopening_may_go_further_instead() -> None:
    """The answer to a proposal is a decision: the case stays closed, and the reopening is history."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "CLOTURE", A)))
    assert b.do(ReopenCase("c1")).kind is PROPOSED
    assert a.do(DecideConflict("case", "c1", "status", A, "CLASSE")).kind is APPLIED
    assert (world.case().status, world.case().open, proposals(world.case(), "status", A)) == ("CLASSE", False, [])
    assert "ACTIF" in past(world.case(), "status")


def test_an_organisation_that_the_registry_names_by_itself_is_that_organisation() -> None:
    """So a site may serve a fire service under the name it has: the entry is no other name to look for."""
    world, a, _ = two_sites()
    a.do(RegisterOrganisation(FIRE, FIRE, A))
    a.do(creation("c1", FIRE, Fact("status", "ACTIF", FIRE)))
    case = world.case()
    assert (case.charge.holder, case.status, values(case, "status", FIRE)) == (A, "ACTIF", ["ACTIF"])
    a.do(RegisterOrganisation(FIRE, FIRE))
    assert (queries.site_of(world.records, FIRE), world.case().charge.holder) == ("", "")


def test_closing_and_reopening_are_explicit_and_the_owners() -> None:
    """Re-opening is an explicit command; anybody else's closing or re-opening is proposed."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "ACTIF")))
    assert b.do(CloseCase("c1")).kind is PROPOSED
    assert a.do(CloseCase("c1")).kind is APPLIED
    assert not world.case().open
    assert queries.list_cases(world.records, open=True) == []
    assert queries.list_cases(world.records, status="CLOTURE") == ["c1"]
    assert b.do(ReopenCase("c1")).kind is PROPOSED
    assert not world.case().open
    assert a.do(ReopenCase("c1")).kind is APPLIED
    assert world.case().open
    assert a.do(update("c1", Fact("status", "CLOTURE", A))).kind is APPLIED
    assert not world.case().open


def test_the_cases_own_status_follows_its_owner() -> None:
    """After a transfer the new owner's status is the case's."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "CLOTURE")))
    b.do(update("c1", Fact("status", "ACTIF", B), sender=B))
    assert not world.case().open
    a.do(TransferCase("c1", B))
    assert (world.case().status, world.case().open) == ("ACTIF", True)


def test_a_status_said_before_the_registry_knew_the_owners_name_still_counts() -> None:
    """An alias may be registered after it was used."""
    world, a, b = two_sites()
    a.do(creation("c1", "samu94", Fact("status", "VALIDE", "samu94")))
    a.do(RegisterOrganisation("samu94", A))
    b.do(update("c1", Fact("status", "ACTIF", B), sender=B))
    assert world.case().status == "VALIDE"


# --- messages are applied once ---


def test_a_message_seen_twice_changes_nothing() -> None:
    """distributionID and place are its idempotence key, whichever site brings it again."""
    world, a, b = two_sites()
    message = creation("c1", A, Fact("freetext", "x"), message="once")
    a.do(message)
    before = world.case()
    verdict = b.do(message)
    assert verdict.kind is DUPLICATE
    after = world.case()
    assert (after.fields, after.elements) == (before.fields, before.elements)
    a.do(about("r1", "c1", Fact("status", "DECLENCHE"), message="sr"))
    assert a.do(about("r1", "c1", Fact("status", "DECLENCHE"), message="sr")).kind is DUPLICATE


def test_messages_without_a_case_are_remembered_by_their_resource_and_bounded() -> None:
    """A vehicle lives for years: it remembers its last 64 messages."""
    world, a, _ = two_sites()
    a.do(vehicle("r1", A))

    def position(n: int) -> Report:
        return about("r1", "", Fact("position", str(n), at_ms=NOON - 10_000_000 + n), message=f"p{n}")

    for n in range(70):
        assert a.do(position(n)).kind is APPLIED
    assert a.do(position(69)).kind is DUPLICATE
    assert a.do(position(0)).kind is SUPERSEDED
    size = len(list(world.records.scan(b"rr1\0")))
    for n in range(70, 140):
        a.do(position(n))
    assert len(list(world.records.scan(b"rr1\0"))) == size


def test_messages_without_an_id_are_each_a_message() -> None:
    """What cannot be recognised is not taken for what was said before."""
    world, a, _ = two_sites()
    a.do(creation("c1", A))
    for text in ("one", "two"):
        said = Report("", "RS-EDA-MAJ", A, (Subject("case", "c1", (Fact("freetext", text),)),))
        assert a.do(said).kind is APPLIED
    assert [one.value.value for one in world.case().elements] == ["one", "two"]


# --- known by the sender's number only; documents ---


def rpis(number: str, organisation: str, text: str, message: str = "") -> Report:
    subject = Subject("case", "", (), organisation=organisation, sender_case=number)
    return report(subject, message=message, sender=organisation, documents=(Fact("RS-RPIS", text),))


def test_a_document_finds_its_case_by_the_senders_number() -> None:
    """RS-RPIS carries no caseId: only organisation and its case number."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("sender_case", "N1", A)))
    a.do(rpis("N1", A, "{}"))
    assert [one.value.value for one in world.case().documents] == ["{}"]
    assert queries.find_case(world.records, A, "N1") == "c1"


def test_a_document_of_an_unknown_number_opens_a_case_that_is_joined_later() -> None:
    """Opened incomplete under a derived id; once a case carries the number, it is inside that case."""
    world, a, _ = two_sites()
    a.do(rpis("N1", A, "{}", message="first"))
    assert world.case(f"{A}.N1").incomplete
    a.do(creation("c1", A, Fact("sender_case", "N1", A)))
    assert world.case(f"{A}.N1").same_as == "c1"
    (linked,) = world.case().linked
    assert [one.value.value for one in linked.documents] == ["{}"]
    assert queries.list_cases(world.records) == ["c1"]
    a.do(rpis("N1", A, "[]"))
    assert [one.value.value for one in world.case().documents] == ["[]"]


def test_a_joined_case_that_is_created_after_all_is_a_case_of_its_own() -> None:
    """Two cases may carry one number; what was created is never hidden inside another."""
    world, a, _ = two_sites()
    a.do(rpis("N1", A, "{}"))
    a.do(creation("c1", A, Fact("sender_case", "N1", A)))
    a.do(creation(f"{A}.N1", A))
    assert queries.list_cases(world.records) == ["c1", f"{A}.N1"]
    assert (world.case("c1").linked, world.case(f"{A}.N1").same_as) == ((), "")


def test_of_two_joined_cases_the_one_that_is_created_after_all_leaves_alone() -> None:
    """A case may carry several numbers; the others stay inside it."""
    world, a, _ = two_sites()
    for number in ("N1", "N2"):
        a.do(rpis(number, A, "{}"))
    a.do(creation("c1", A, Fact("sender_case", "N1", A), Fact("sender_case", "N2", A)))
    assert [one.id for one in world.case().linked] == [f"{A}.N1", f"{A}.N2"]
    a.do(creation(f"{A}.N1", A))
    assert [one.id for one in world.case().linked] == [f"{A}.N2"]
    assert queries.list_cases(world.records) == ["c1", f"{A}.N1"]


def test_a_case_that_was_created_under_its_derived_id_is_not_hidden_in_another_with_its_number() -> None:
    """Only one that is known by nothing but the number is the same case."""
    world, a, _ = two_sites()
    a.do(creation(f"{A}.N1", A, Fact("sender_case", "N1", A)))
    a.do(creation("c1", A, Fact("sender_case", "N1", A)))
    assert queries.list_cases(world.records) == ["c1", f"{A}.N1"]
    assert queries.find_case(world.records, A, "N1") == f"{A}.N1"


def test_a_number_without_an_organisation_is_the_senders() -> None:
    """A message that gives its own number need not say whose it is."""
    world, a, _ = two_sites()
    a.do(creation("c1", A, Fact("sender_case", "N1")))
    assert queries.find_case(world.records, A, "N1") == "c1"


def test_a_case_that_is_joined_already_is_not_joined_to_a_second_one() -> None:
    """Its number leads there by another name of the organisation, which the registry has given to another meanwhile."""
    world, a, _ = two_sites()
    a.do(RegisterOrganisation("samu44", A))
    a.do(rpis("N1", "samu44", "{}"))
    a.do(RegisterOrganisation("samu44", B))
    a.do(creation("c1", A, Fact("sender_case", "N1", "samu44")))
    a.do(RegisterOrganisation("samu44", A))
    a.do(creation("c2", A, Fact("sender_case", "N1", "samu44")))
    assert world.case("samu44.N1").same_as == "c1"
    assert ([one.id for one in world.case("c1").linked], world.case("c2").linked) == (["samu44.N1"], ())
    world.check()


def test_a_number_whose_first_case_turns_out_to_be_another_still_leads_to_the_rest() -> None:
    """Under the organisation's own name a second case had the number too: it stays indexed, behind the one the first
    belongs to."""
    world, a, _ = two_sites()
    a.do(RegisterOrganisation("samu44", A))
    a.do(rpis("N1", "samu44", "{}"))
    a.do(creation("c1", A, Fact("sender_case", "N1", A)))
    a.do(creation("c2", A, Fact("sender_case", "N1", "samu44")))
    assert [one.id for one in world.case("c2").linked] == ["samu44.N1"]
    found = NAMES.decode(world.records.get(keys.sender_case(A, "N1")) or b"")
    assert found == ("c2", "samu44.N1", "c1")


def test_an_id_that_reads_as_two_numbers_leads_to_the_case_it_was_joined_to() -> None:
    """A name may have dots, and so may a number; the derived id does not say where one ends."""
    world, a, _ = two_sites()
    a.do(rpis("N1.7", A, "{}"))
    a.do(creation("c1", A, Fact("sender_case", "N1.7", A)))
    assert queries.find_case(world.records, A, "N1.7") == "c1"
    assert queries.find_case(world.records, f"{A}.N1", "7") == "c1"


def test_a_free_text_with_a_key_is_another_than_one_without() -> None:
    """An element of a union is its key and its content, whether the field has keys or not."""
    world, a, _ = two_sites()
    said = (Fact("freetext", "x"), Fact("freetext", "x", "k"), Fact("freetext", "x", "k"))
    assert a.do(creation("c1", A, *said)).kind is APPLIED
    assert [(one.key, one.value.value) for one in world.case().elements] == [("", "x"), ("k", "x")]


# --- lists ---


def test_cases_and_vehicles_are_listed_by_owner_state_and_status() -> None:
    """Each question narrows the list; together they are asked of the same case."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "ACTIF", A)))
    a.do(creation("c2", A, Fact("status", "CLOTURE", A)))
    b.do(creation("c3", B, Fact("status", "ACTIF", B)))
    a.do(vehicle("r1", A))
    b.do(vehicle("r2", B))
    records = world.records
    assert queries.list_cases(records) == ["c1", "c2", "c3"]
    assert queries.list_cases(records, owner=A) == ["c1", "c2"]
    assert queries.list_cases(records, open=True) == ["c1", "c3"]
    assert queries.list_cases(records, open=False) == ["c2"]
    assert queries.list_cases(records, status="ACTIF") == ["c1", "c3"]
    assert queries.list_cases(records, owner=A, open=True, status="ACTIF") == ["c1"]
    assert queries.list_cases(records, owner=A, open=False, status="ACTIF") == []
    assert queries.list_resources(records) == ["r1", "r2"]
    assert queries.list_resources(records, owner=B) == ["r2"]
    assert (queries.owner_of(records, "c3"), queries.owner_of(records, "c9")) == (B, "")


def test_a_case_whose_id_is_the_derived_one_is_that_case() -> None:
    """caseId is `{organisation}.{senderCaseId}`: nothing to join."""
    world, a, _ = two_sites()
    a.do(creation(f"{A}.N1", A))
    a.do(rpis("N1", A, "{}"))
    assert [one.value.value for one in world.case(f"{A}.N1").documents] == ["{}"]
    assert queries.list_cases(world.records) == [f"{A}.N1"]


def test_a_document_without_a_case_is_kept_apart() -> None:
    """Nothing that was said is thrown away."""
    world, a, _ = two_sites()
    assert a.do(report(documents=(Fact("RS-NEW", "{}"),))).kind is APPLIED
    assert [one.value.value for one in queries.loose_documents(world.records)] == ["{}"]


def test_a_report_without_subjects_changes_nothing() -> None:
    """RS-ERROR is noted elsewhere; the operation still has its verdict."""
    _, a, _ = two_sites()
    assert a.do(report()).kind is APPLIED


def test_nonsense_is_refused_with_its_place() -> None:
    """A case without any name, a kind that does not exist."""
    _, a, _ = two_sites()
    assert "0" in a.do(report(Subject("case", "", ()))).reason
    assert a.do(report(Subject("patient", "p", ()))).kind is REFUSED
    assert a.do(update("c1", Fact("owner", ""))).kind is REFUSED
    assert a.do(TransferCase("c1", B)).reason == "there is no case c1"


# --- owners that come late, and twice ---


def test_a_case_may_be_created_without_an_owner_and_a_later_message_names_it() -> None:
    """Nobody's until then; the first that names one settles it, and from there on only a transfer changes it."""
    world, a, b = two_sites()
    a.do(creation("c1", "", Fact("priority", "P1")))
    assert (world.case().incomplete, world.case().owner, world.case().charge.holder) == (False, "", "")
    assert b.do(creation("c1", "", Fact("origin", "15"))).kind is MERGED
    assert world.case().owner == ""
    assert a.do(creation("c1", A)).kind is APPLIED
    assert (world.case().owner, world.case().charge.holder) == (A, A)
    assert a.do(creation("c1", B)).kind is SUPERSEDED
    assert (world.case().owner, past(world.case(), "owner")) == (A, [B])
    world.check()


def test_a_creation_that_names_the_owner_a_transfer_has_named_already_adds_nothing() -> None:
    """Messages overtake each other; two that say the same leave no history."""
    world, a, b = two_sites()
    b.do(update("c1", Fact("owner", B), sender=B))
    assert b.do(creation("c1", B)).kind is APPLIED
    assert (world.case().owner, past(world.case(), "owner")) == (B, [])
    assert a.name == A


def test_of_transfers_that_overtook_the_creation_the_creators_own_comes_true() -> None:
    """What a stranger had proposed stays proposed."""
    world, a, b, c = three_sites()
    world.verdict(b.operation(update("c1", Fact("owner", "elsewhere"), sender=B)))
    world.verdict(a.operation(update("c1", Fact("owner", FIRE), sender=A)))
    assert c.do(creation("c1", A)).kind is MERGED
    assert world.case().owner == FIRE
    assert proposals(world.case(), "owner") == ["elsewhere"]


def test_a_transfer_that_overtook_the_creation_of_a_case_that_is_nobodys_stays_proposed() -> None:
    """Nobody of ours created it, so nobody's proposal comes true by that."""
    world, a, b = two_sites()
    assert a.do(update("c1", Fact("owner", B))).kind is PROPOSED
    b.do(creation("c1", FIRE))
    assert (world.case().owner, proposals(world.case(), "owner")) == (FIRE, [B])


def test_of_a_case_nobody_has_created_anybody_may_accept_a_proposed_owner() -> None:
    """It is nobody's, so nobody's say is limited by another's."""
    world, a, b = two_sites()
    assert a.do(update("c1", Fact("owner", B))).kind is PROPOSED
    assert world.case().owner == ""
    assert b.do(DecideConflict("case", "c1", "owner", "", B)).kind is MERGED
    assert (world.case().owner, proposals(world.case(), "owner"), world.case().incomplete) == (B, [], True)
    world.check()


def test_a_third_creation_apart_that_names_an_owner_of_the_conflict_adds_nothing() -> None:
    """Both owners stand already, for a person to decide."""
    world, a, b, c = three_sites()
    said = [site.operation(creation("c1", owner)) for site, owner in ((a, A), (b, B), (c, B))]
    kinds = [world.verdict(one).kind for one in said]
    assert kinds[1] is CONFLICT
    assert values(world.case(), "owner") == [A, B]


def test_a_stranger_who_says_what_the_owner_is_anyway_proposes_nothing() -> None:
    world, a, b = two_sites()
    a.do(creation("c1", A))
    assert b.do(TransferCase("c1", A)).kind is MERGED
    assert (world.case().owner, proposals(world.case(), "owner")) == (A, [])


def test_a_number_indexed_under_two_names_of_its_organisation_joins_once() -> None:
    """The number leads to the case under the name it came with and under the organisation's own."""
    world, a, _ = two_sites()
    a.do(RegisterOrganisation("samu44", A))
    document = (Fact("RS-RPIS", "{}"),)
    numbered = Subject("case", "", (), "samu44", sender_case="N1")
    a.do(report(numbered, sender=A, documents=document))
    a.do(creation("c1", A, Fact("sender_case", "N1", "samu44")))
    case = world.case()
    assert [one.id for one in case.linked] == ["samu44.N1"]
    assert world.case("samu44.N1").same_as == "c1"
    assert queries.find_case(world.records, "samu44", "N1") == queries.find_case(world.records, A, "N1") == "c1"
    world.check()


def test_a_reopening_that_was_proposed_is_the_status_of_whom_it_was_proposed_for() -> None:
    """The owner was another when the stranger proposed it: deciding about the former owner's status leaves the new
    owner's as it is."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "CLOTURE", A)))
    assert b.do(ReopenCase("c1")).kind is PROPOSED
    a.do(TransferCase("c1", B))
    b.do(update("c1", Fact("status", "CLASSE", B)))
    assert world.case().status == "CLASSE"
    assert b.do(DecideConflict("case", "c1", "status", A, "ACTIF")).kind is APPLIED
    assert (world.case().status, world.case().value("status", A)) == ("CLASSE", "ACTIF")
    assert not world.case().open
    world.check()


def test_the_owner_may_accept_a_reopening() -> None:
    """And the case is open again, as by the owner's own command."""
    world, a, b = two_sites()
    a.do(creation("c1", A, Fact("status", "CLOTURE", A)))
    b.do(ReopenCase("c1"))
    assert proposals(world.case(), "status", A) == ["ACTIF"]
    assert a.do(DecideConflict("case", "c1", "status", A, "ACTIF")).kind is APPLIED
    assert world.case().open
    assert proposals(world.case(), "status", A) == []
