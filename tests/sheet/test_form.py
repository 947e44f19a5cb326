"""The form: read whole or not at all, with every wrong place named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from replica.cases import commands
from replica.cases.commands import Report
from replica.errors import InvalidMessage
from replica.hubsante.decode import read
from replica.sheet.acts import entries, later_value
from replica.sheet.example import EXAMPLES
from replica.sheet.form import ACTS, FIELDS, WHATS, Act, Form, read_form

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
OLDEST_MS = NOW_MS - 31 * 86_400_000
ORG = "fr.health.samu440"
CASE = f"{ORG}.A12"


def form(*acts: str, head: str = 'form = "f1"\norganisation = "fr.health.samu440"') -> bytes:
    return "\n".join([head, *(f"[[act]]\n{act}" for act in acts)]).encode()


def act(more: str = f'case = "{CASE}"\nwhat = "close"', time: str = "2026-11-27T03:12:00+01:00") -> str:
    return f'time = {time}\nauthor = "Dr Martin"\n{more}'


def taken(data: bytes) -> Form:
    return read_form(data, NOW_MS, OLDEST_MS)


def wrong(data: bytes) -> list[str]:
    with pytest.raises(InvalidMessage) as refused:
        taken(data)
    return [f"{place.path}: {place.problem}" for place in refused.value.places]


@pytest.mark.parametrize("language", EXAMPLES)
def test_the_printed_examples_are_forms(language: str) -> None:
    """What a person copies is right, in both languages, and both say the same."""
    read_one = taken(EXAMPLES[language].encode())
    assert [one.what for one in read_one.acts] == ["new-case", "priority", "engage", "status", "note"]
    assert read_one.language == language
    assert read_one.acts[0].case == "fr.health.samu440.P0305"
    for one in read_one.acts:
        for entry in entries(one, "", read_one.organisation, language):
            if entry.message:
                assert isinstance(read(entry.message, default_sender=ORG).contents[0].outcome, Report)


def test_the_time_of_an_act_is_the_one_written_down_to_the_offset() -> None:
    (one,) = taken(form(act())).acts
    assert datetime.fromtimestamp(one.act_ms / 1000, UTC) == datetime(2026, 11, 27, 2, 12, tzinfo=UTC)


def test_acts_are_entered_in_the_order_they_were_done_not_written() -> None:
    """The later of two priorities holds, wherever it stands on the paper."""
    late = act(f'case = "{CASE}"\nwhat = "priority"\nvalue = "P0"', "2026-11-27T03:40:00+01:00")
    early = act(f'case = "{CASE}"\nwhat = "priority"\nvalue = "P2"')
    assert [one.value for one in taken(form(late, early)).acts] == ["P2", "P0"]


def test_every_wrong_place_is_named_at_once_with_its_line() -> None:
    """One look at the form mends it all."""
    data = form(
        act(time="2026-11-27T03:12:00"),
        act('case = "A 12"\nwhat = "priority"\nvalue = "P9"'),
        'time = "tonight"\nwhat = "sing"',
        act(f'case = "{CASE}"\nwhat = "close"\nvalue = "x"\ncolour = "red"', "2026-11-27T05:12:00+01:00"),
    )
    lines = data.decode().split("\n")
    found = wrong(data)
    for number, path, problem in [
        (4, "$.act[0].time", "has no offset"),
        (11, "$.act[1].case", "expected a case id"),
        (13, "$.act[1].value", "'P9' is not one of P0 P1 P2 P3 NR"),
        (15, "$.act[2].time", "expected a date and time with offset"),
        (14, "$.act[2].author", "is missing"),
        (16, "$.act[2].what", "expected one of note"),
        (18, "$.act[3].time", "72 min ahead of the site's clock"),
        (22, "$.act[3].value", "is not for close"),
        (23, "$.act[3].colour", "is not known"),
    ]:
        assert any(one.startswith(f"line {number}: {path}: ") and problem in one for one in found), (
            number,
            path,
            found,
        )
        assert path.rpartition(".")[2] in lines[number - 1] or number == 14
    assert len(found) == 9


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        ("2026-11-27T04:02:00+01:00", "ahead of the site's clock"),
        ("2026-10-20T04:02:00+01:00", "too far back"),
        ("2025-11-27T03:12:00+01:00", "too far back"),
        ("2026-11-27T03:12:00", "has no offset"),
        ("2026-11-27T03:12:00+15:00", "no time zone is"),
        ("2026-11-27T03:12:00+01:07", "no time zone is"),
        ("2026-11-27", "expected a date and time"),
        ("03:12:00", "expected a date and time"),
        ('"2026-11-27T03:12:00+01:00"', "without quotes"),
        ("1764209520", "expected a date and time"),
    ],
)
def test_a_time_that_cannot_be_is_refused(time: str, problem: str) -> None:
    (only,) = wrong(form(act(time=time)))
    assert problem in only


def test_a_minute_ahead_is_two_clocks_and_no_mistake() -> None:
    ahead = (NOW + timedelta(seconds=59)).isoformat(timespec="seconds")
    assert len(taken(form(act(time=ahead))).acts) == 1


@pytest.mark.parametrize("what", ACTS)
def test_an_act_that_lacks_what_it_needs_is_refused(what: str) -> None:
    """Each need by its name."""
    for missing in ACTS[what].must:
        values = {"case": CASE, "resource": f"{ORG}.resource.V1", "value": {"priority": "P1", "care-level": "R1",
                  "status": "PEC", "transfer": ORG}.get(what, "x")}  # fmt: skip
        given = [f'{name} = "{values[name]}"' for name in ACTS[what].must if name != missing]
        (only,) = wrong(form(act("\n".join([f'what = "{what}"', *given]))))
        assert f".{missing}: is missing; {what} needs" in only


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "$.form: is missing"),
        (b'form = "x"', "expected one [[act]]"),
        (b"act = 3", "expected one [[act]]"),
        (b"[[act]", "is not TOML"),
        (b"\xff", "is not UTF-8"),
        (b'x = "' + b"a" * (1 << 20) + b'"', "a form has at most"),
    ],
)
def test_what_is_no_form_is_refused(data: bytes, problem: str) -> None:
    assert any(problem in one for one in wrong(data))


def test_a_number_alone_needs_an_organisation_and_then_makes_the_id() -> None:
    """`{org}.{senderCaseId}`: made where the case is made, with nobody to ask."""
    paper = act('case = "P0305"\nwhat = "new-case"')
    assert "has to name its organisation" in wrong(form(paper, head='form = "f1"'))[0]
    (one,) = taken(form(paper)).acts
    assert one.case == f"{ORG}.P0305"
    (entry,) = entries(one, "", ORG, "en")
    (content,) = read(entry.message, default_sender=ORG).contents
    assert isinstance(content.outcome, Report)
    (subject,) = content.outcome.subjects
    assert (subject.id, subject.creates) == (f"{ORG}.P0305", True)
    assert content.act_ms == one.act_ms
    assert {fact.field: fact.value for fact in subject.facts}["sender_case"] == "P0305"


def test_a_case_is_opened_once_and_before_what_was_done_for_it() -> None:
    opening = 'case = "P1"\nwhat = "new-case"'
    early = act('case = "P1"\nwhat = "close"', "2026-11-27T03:00:00+01:00")
    found = wrong(form(act(opening), early, act(opening, "2026-11-27T03:20:00+01:00")))
    assert any("is before the case was opened" in one for one in found)
    assert any("is opened on line 3 already" in one for one in found)


def test_the_same_form_has_the_same_keys_and_a_corrected_one_new_ones_only_where_it_differs() -> None:
    """So entering it again does nothing twice, and nothing new is taken for something old."""
    first, second = act(), act(f'case = "{CASE}"\nwhat = "note"\nvalue = "seen"')
    keys = [one.key for one in taken(form(first, second)).acts]
    assert keys == [one.key for one in taken(form(first, second)).acts]
    assert len(set(keys)) == 2
    corrected = [one.key for one in taken(form(first, second.replace("seen", "not seen"))).acts]
    assert corrected[0] == keys[0]
    assert corrected[1] != keys[1]
    inserted = [one.key for one in taken(form(act(f'case = "{CASE}"\nwhat = "reopen"'), first, second)).acts]
    assert set(keys) < set(inserted)
    other = [one.key for one in taken(form(first, second, head='form = "f2"')).acts]
    assert not set(other) & set(keys)


def test_the_same_line_twice_on_one_form_is_two_acts() -> None:
    one, two = taken(form(act(), act())).acts
    assert one.key != two.key


def test_french_names_are_as_good_as_english_ones() -> None:
    """Every field and act has both; a field given under both names is told."""
    french = form(head='formulaire = "f1"').decode() + (
        f'\n[[ligne]]\nheure = 2026-11-27T03:12:00+01:00\nauteur = "Dr Martin"\nacte = "clore"\ndossier = "{CASE}"\n'
    )
    (one,) = taken(french.encode()).acts
    (same,) = taken(form(act())).acts
    assert (one.what, one.case, one.key) == (same.what, same.case, same.key)
    assert set(WHATS.values()) == set(ACTS)
    assert {"time", "author", "what", "case", "value"} <= set(FIELDS.values())
    assert "is there twice" in wrong(form(act() + '\ndossier = "x"'))[0]


def only(what: str, **more: str) -> Act:
    given = "\n".join(f'{name} = "{text}"' for name, text in {"case": CASE, **more}.items() if text)
    return taken(form(act(f'what = "{what}"\n{given}'))).acts[0]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (only("priority", value="P0"), commands.ChangePriority(CASE, "P0")),
        (only("care-level", value="R1"), commands.ChangeCareLevel(CASE, "R1")),
        (only("close"), commands.CloseCase(CASE)),
        (only("reopen"), commands.ReopenCase(CASE)),
        (only("transfer", value="fr.health.samu690"), commands.TransferCase(CASE, "fr.health.samu690")),
        (only("engage", resource=f"{ORG}.resource.V"), commands.EngageResource(f"{ORG}.resource.V", CASE)),
        (only("release", resource=f"{ORG}.resource.V"), commands.ReleaseResource(f"{ORG}.resource.V", CASE)),
        (
            only("status", resource=f"{ORG}.resource.V", value="PEC"),
            commands.SetStatus(f"{ORG}.resource.V", CASE, "PEC"),
        ),
    ],
)
def test_each_act_is_the_command_that_anybody_would_give(one: Act, expected: commands.Command) -> None:
    (entry,) = entries(one, "", ORG, "en")
    assert entry.command == expected


def test_a_change_older_than_what_holds_is_entered_as_a_note_beside_it() -> None:
    """Paper comes late; what somebody decided in full knowledge since is not undone by it without a word."""
    one = only("priority", value="P2")
    holds = {"values": [{"value": "P0", "act_ms": one.act_ms + 60_000}], "field": "priority"}
    assert later_value(one, {"fields": [holds]}, None) == "priority P0"
    (entry,) = entries(one, "priority P0", ORG, "fr")
    assert isinstance(entry.command, commands.AddNote)
    assert "priority P2" in entry.command.text
    assert "priority P0 est plus récent" in entry.command.text
    assert entry.key == one.key
    older = {"values": [{"value": "P0", "act_ms": one.act_ms - 60_000}], "field": "priority"}
    same = {"values": [{"value": "P2", "act_ms": one.act_ms + 60_000}], "field": "priority"}
    assert later_value(one, {"fields": [older]}, None) == later_value(one, {"fields": [same]}, None) == ""


def test_a_vehicle_sent_elsewhere_since_stays_where_it_is() -> None:
    one = only("engage", resource=f"{ORG}.resource.V")
    later = {"field": "engagement", "values": [{"value": '{"case":"fr.health.samu440.B"}', "act_ms": one.act_ms + 1}]}
    assert later_value(one, {}, {"fields": [later]}) == "engagement fr.health.samu440.B"
    here = {"field": "engagement", "values": [{"value": f'{{"case":"{CASE}"}}', "act_ms": one.act_ms + 1}]}
    assert later_value(one, {}, {"fields": [here]}) == ""
