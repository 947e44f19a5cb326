"""Every wrong place of a message is named, each with its path, and nothing but InvalidMessage ever comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replica.cases.commands import Report
from replica.errors import InvalidMessage, Place
from replica.hubsante.check import MAX_DEPTH, MAX_PLACES, MAX_VALUES, OPEN, Checker, shape_of
from replica.hubsante.decode import read
from replica.hubsante.kinds import BY_NAME, KINDS, Kind
from replica.hubsante.models.envelope import MAX_CONTENTS
from replica.hubsante.text import MAX_BYTES

from .samples import least, message, mutations, whole

CASE = "fr.health.samu440.DRFR154402414300123"


def places(data: bytes | dict[str, Any]) -> tuple[Place, ...]:
    """What is wrong with a message; empty for nothing."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    try:
        read(raw, default_sender=None)
    except InvalidMessage as refused:
        return refused.places
    return ()


def paths(data: bytes | dict[str, Any]) -> list[str]:
    return [place.path for place in places(data)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_message_with_every_member_is_accepted(kind: Kind) -> None:
    """The samples the mutations start from are valid, the fullest and the barest."""
    assert places(message(kind)) == ()
    assert places({kind.key: least(shape_of(kind.model))}) == ()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_mutation_of_every_member_is_named_with_its_path(kind: Kind) -> None:
    """Dropped, unknown, null, of another type, of another form, too few, too many: that place and no other."""
    count = 0
    for mutation in mutations(kind):
        found = places(mutation.message)
        assert [place.path for place in found] == [mutation.path], str(mutation)
        assert found[0].problem, str(mutation)
        count += 1
    assert count > 10


def test_a_list_of_words_names_what_is_allowed() -> None:
    """An unknown priority is answered with the five there are."""
    body = {"caseId": CASE, "qualification": {"details": {"priority": "P9"}}}
    (place,) = places({"createCaseHealthUpdate": body})
    assert place.path == "$.createCaseHealthUpdate.qualification.details.priority"
    assert place.problem == "expected one of P0, P1, P2, P3, NR, got 'P9'"


def test_all_wrong_places_come_at_once() -> None:
    """Five faults in one message, one answer."""
    body = {
        "caseId": "!",
        "qualification": {"details": {"priority": "P9", "careLevel": 1}},
        "patient": [{}, {"patientId": "x"}],
        "inconnu": None,
    }
    assert sorted(paths({"createCaseHealthUpdate": body})) == [
        "$.createCaseHealthUpdate.caseId",
        "$.createCaseHealthUpdate.inconnu",
        "$.createCaseHealthUpdate.patient[0].patientId",
        "$.createCaseHealthUpdate.patient[1].patientId",
        "$.createCaseHealthUpdate.qualification.details.careLevel",
        "$.createCaseHealthUpdate.qualification.details.priority",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"qualification": {}},
        {"qualification": {"details": {}}},
        {"patient": []},
        {"patient": [{"patientId": "fr.health.samu440.patient.1"}]},
        {"owner": "fr.health.samu780"},
        {"location": {}, "initialAlert": {}, "additionalInformation": {}},
    ],
)
def test_an_update_takes_any_part_of_a_case(body: dict[str, Any]) -> None:
    """Only the case's number is required of an update."""
    assert places({"createCaseHealthUpdate": {"caseId": CASE, **body}}) == ()


def test_a_creation_is_not_partial() -> None:
    """What an update may leave out a creation may not."""
    assert paths({"createCaseHealth": {"caseId": CASE}}) == [
        "$.createCaseHealth.creation",
        "$.createCaseHealth.qualification",
        "$.createCaseHealth.location",
        "$.createCaseHealth.owner",
    ]


def test_a_key_named_twice_is_refused_where_it_stands() -> None:
    """Also where both say the same."""
    data = (
        b'{"createCaseHealthUpdate": {"caseId": "%s", "owner": "fr.health.samu440", "owner": "fr.health.samu440"}}'
        % CASE.encode()
    )
    assert paths(data) == ["$.createCaseHealthUpdate.owner"]
    assert places(data)[0].problem == "named twice in one object"


def test_half_a_surrogate_pair_is_no_text() -> None:
    """JSON can escape it, but no journal can hold it."""
    data = b'{"createCaseHealthUpdate": {"caseId": "%s", "freetext": "\\ud800"}}' % CASE.encode()
    assert paths(data) == ["$.createCaseHealthUpdate.freetext"]


@pytest.mark.parametrize(
    "data", [b"[]", b"1", b"null", b'"x"', b"{}", b'{"a": 1}', b'{"a": {}, "b": {}}', b'{"a": {}}']
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """Valid JSON that is neither an envelope nor one content of a known or case-naming type."""
    assert len(paths(data)) == 1


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "data",
    [
        b'{"createCaseHealthUpdate": {"freetext": "' + b"x" * 10_000_000 + b'"}}',
        b'{"createCaseHealthUpdate": ' * 100_000,
        b'{"rapport": {"caseId": "%s", "a": %s}}' % (CASE.encode(), json.dumps(deep(MAX_DEPTH + 1)).encode()),
        json.dumps({"rapport": {"caseId": CASE, "a": [0] * MAX_VALUES}}).encode(),
        json.dumps({"content": [{}] * 10_000}).encode(),
        json.dumps({"createCaseHealthUpdate": {"caseId": "a" * 39 + "!"}}).encode(),
        json.dumps({"createCaseHealthUpdate": {"caseId": "a." * 100_000}}).encode(),
        b'{"createCaseHealthUpdate": {' + b", ".join(b'"k": 1' for _ in range(20_000)) + b"}}",
    ],
    ids=["text of 10 MB", "unclosed", "deep", "long list", "10,000 contents", "backtracking", "long id", "one key"],
)
def test_hostile_input_is_refused(data: bytes) -> None:
    """Whatever its size or shape, a few places and no other exception."""
    assert 1 <= len(places(data)) <= MAX_PLACES + 1


def test_too_many_contents_are_not_looked_into() -> None:
    """10,000 contents get one finding for their number, none for themselves."""
    found = places({**whole_envelope(), "content": [{}] * 10_000})
    assert [place.path for place in found] == ["$.content"]
    assert str(MAX_CONTENTS) in found[0].problem


def whole_envelope() -> dict[str, Any]:
    return {
        "distributionID": "fr.health.samu440_1",
        "senderID": "fr.health.samu440",
        "dateTimeSent": "2024-05-26T13:20:00+02:00",
        "dateTimeExpires": "9999-12-31T23:59:59+00:00",
        "distributionStatus": "Actual",
        "distributionKind": "Report",
        "descriptor": {
            "language": "fr-FR",
            "explicitAddress": {"explicitAddressScheme": "hubex", "explicitAddressValue": "fr.health.samu780"},
        },
    }


def test_the_walk_is_bounded_in_values() -> None:
    """However much a message holds, no more than so many values are looked at."""
    checker = Checker()
    checker.check({"a": [[0] * 1000] * 1000}, OPEN, "$")
    assert checker.values == MAX_VALUES
    assert len(checker.places) == 1


def test_the_answer_is_bounded_in_places() -> None:
    """A message that is wrong everywhere gets its first places and the remark that there are more."""
    checker = Checker()
    checker.check({f"k{at}": 1 for at in range(5000)}, shape_of(BY_NAME["RS-SR"].model), "$")
    assert len(checker.places) == MAX_PLACES + 1
    assert checker.places[-1].path == "$"


def test_many_wrong_contents_are_one_bounded_answer() -> None:
    """Once the answer is full, further contents are refused with it, unread."""
    holder: dict[str, Any] = {
        "jsonContent": {"embeddedJsonContent": {"message": {"createCaseHealthUpdate": {"patient": [{}] * 200}}}}
    }
    found = places({**whole_envelope(), "content": [holder] * MAX_CONTENTS})
    assert len(found) == MAX_PLACES + 1
    assert found[-1].path == "$"


def test_names_from_outside_are_shown_cut_and_escaped() -> None:
    """A member's name can be anything; the path stays one short line of plain characters."""
    (place,) = places({"createCaseHealthUpdate": {"caseId": CASE, "é\n" * 5000: 1}})
    assert place.path.isascii()
    assert "\n" not in place.path
    assert len(place.path) < 500


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_any_json_under_a_known_key_is_read_or_refused(kind: Kind, data: st.DataObject) -> None:
    """Members of the right names with whatever values: a report, a query, a note, or InvalidMessage."""
    names = sorted(shape_of(kind.model).members)
    body = data.draw(st.dictionaries(st.sampled_from(names), ANYTHING) | ANYTHING)
    found = places(json.dumps({kind.key: body}).encode())
    assert all(place.path.startswith("$") and place.problem for place in found)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(kind=st.sampled_from(KINDS), at=st.integers(0), junk=st.binary(min_size=1, max_size=3))
def test_bytes_changed_anywhere_are_read_or_refused(kind: Kind, at: int, junk: bytes) -> None:
    """A valid message with a few bytes overwritten."""
    data = json.dumps(message(kind)).encode()
    assert len(data) < MAX_BYTES
    at %= len(data)
    found = places(data[:at] + junk + data[at + len(junk) :])
    assert all(place.problem for place in found)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(kind=st.sampled_from(KINDS))
def test_a_refused_message_says_nothing(kind: Kind) -> None:
    """A message whose last member is wrong is not half read: no report comes out of it at all."""
    body = whole(shape_of(kind.model))
    good = read(json.dumps({kind.key: body}).encode(), default_sender="fr.health.samu440")
    assert len(good.contents) == 1
    body["zzz"] = 1
    with pytest.raises(InvalidMessage):
        read(json.dumps({kind.key: body}).encode(), default_sender="fr.health.samu440")
    assert isinstance(good.contents[0].outcome, Report) == (kind.name not in ("GEO-REQ", "RS-ERROR"))
