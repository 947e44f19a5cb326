"""Against the published messages and schemas: the oracle for what is accepted, refused and understood."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from replica.cases.commands import Report
from replica.errors import InvalidMessage
from replica.hubsante.answer import error_answer, error_content
from replica.hubsante.check import Anything, Flag, Many, Number, Object, Open, Shape, Text, shape_of
from replica.hubsante.decode import read
from replica.hubsante.kinds import BY_NAME, KINDS, Kind
from replica.hubsante.models.envelope import DistributionElement
from replica.hubsante.speakers import speakers
from replica.hubsante.times import instant_ms
from replica.hubsante.values import Noted, Parsed, Query

from .conftest import HUB
from .samples import message

pytestmark = pytest.mark.hub_messages

NOT_STATE = {"GEO-REQ": Query, "RS-ERROR": Noted}
OPEN_FORMS = {"expected at most 200 characters", "expected a text of 1 to 200 characters"}
"""Lengths that are ours: the standard gives names that become keys none."""


def parsed(path: Path) -> Parsed:
    return read(path.read_bytes(), default_sender=None)


def validate(value: Any, schema: dict[str, Any]) -> None:
    Draft7Validator(schema).validate(value)


# --- examples ---


def test_an_example_is_accepted_as_its_type(example: Path) -> None:
    """Every published example is read, under the type its folder names, as state where its type has any."""
    (content,) = parsed(example).contents
    assert content.kind == example.parent.name
    assert isinstance(content.outcome, NOT_STATE.get(content.kind, Report))


def test_an_example_says_something(example: Path) -> None:
    """Every subject has facts, or a document beside it; and somebody it could speak for."""
    outcome = parsed(example).contents[0].outcome
    if isinstance(outcome, Report):
        assert outcome.documents or all(subject.facts for subject in outcome.subjects)
        assert outcome.subjects
        assert speakers(outcome)


def test_an_example_loses_nothing(example: Path) -> None:
    """Every text, number and truth of an example stands somewhere in what was read."""
    outcome = parsed(example).contents[0].outcome
    if not isinstance(outcome, Report):
        return
    ((_, body),) = json.loads(example.read_bytes()).items()
    kept: set[str] = set()
    for subject in outcome.subjects:
        kept |= {subject.id, subject.case, subject.sender_case}
        for fact in subject.facts:
            kept |= {fact.key, fact.value} | {str(at) for at in leaves_of(fact.value)} | {str(fact.at_ms)}
    kept |= {str(leaf) for document in outcome.documents for leaf in leaves_of(document.value)}
    missing = [leaf for leaf in leaves(body) if str(leaf) not in kept and not _is_known_otherwise(leaf, kept)]
    assert missing == []


def _is_known_otherwise(leaf: Any, kept: set[str]) -> bool:
    """A truth as a plain word; a status's time as milliseconds; a whole number written with a point."""
    if isinstance(leaf, bool):
        return str(leaf).lower() in kept
    if isinstance(leaf, str):
        return str(instant_ms(leaf)) in kept
    return str(float(leaf)) in kept or str(int(leaf)) in kept


def leaves_of(text: str) -> list[Any]:
    try:
        return leaves(json.loads(text))
    except json.JSONDecodeError:
        return [text]


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for member in value.values() for leaf in leaves(member)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def test_an_envelope_is_accepted() -> None:
    """The published envelope, with its two technical messages."""
    if not HUB.is_dir():
        pytest.skip(f"no published messages at {HUB}")
    found = parsed(HUB / "envelopes" / "EDXL-DE.json")
    assert [type(content.outcome) for content in found.contents] == [Noted, Noted]


# --- failing ---


def expected_places(errors: str) -> set[str]:
    """The paths of a `.errors` file: of the envelope as they are, of a header below the message they name."""
    prefix, found = "", set()
    for line in errors.splitlines():
        header = re.match(r"Issues found on the (\$\S+) header", line)
        if header:
            prefix = header[1] + "."
        place = re.match(r" - (\S+): ", line)
        if place:
            found.add(place[1] if place[1].startswith("$") else prefix + place[1])
    return found


def test_a_failing_message_is_answered_with_every_place(failing: Path, published: dict[str, Any]) -> None:
    """All that the publisher names, and what was expected there, in an answer of the standard's own shape."""
    data = failing.read_bytes()
    errors = failing.with_name(failing.name + ".errors").read_text()
    with pytest.raises(InvalidMessage) as refused:
        read(data, default_sender=None)
    wanted = expected_places(errors)
    assert wanted
    assert wanted <= {place.path for place in refused.value.places}
    answer = error_content(refused.value, data)["error"]
    validate(answer, published["RS-ERROR"])
    for place in refused.value.places:
        assert f"{place.path}: {place.problem}" in answer["errorCause"]
    if "Could not detect any schemas" in errors:
        assert any("expected exactly one content" in place.problem for place in refused.value.places)


def test_a_failing_message_gets_an_envelope_back(failing: Path, published: dict[str, Any]) -> None:
    """The whole answer keeps the published schema of envelopes, and is read as a note by us."""
    data = failing.read_bytes()
    with pytest.raises(InvalidMessage) as refused:
        read(data, default_sender=None)
    answer = error_answer(refused.value, data, distribution_id="fr.health.hub_1", sender="fr.health.hub", sent_ms=1)
    validate(json.loads(answer), published["EDXL-DE-envelope-only"])
    found = read(answer, default_sender=None)
    assert found.envelope is not None
    assert found.envelope.recipients == ("fr.health.samuA",)
    assert isinstance(found.contents[0].outcome, Noted)


# --- schemas ---


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_type_has_the_published_shape(kind: Kind, published: dict[str, Any]) -> None:
    """Same members, same required ones, same types, words, bounds; what has a pattern has a form."""
    schema = published[kind.name]
    assert differences(shape_of(kind.model), schema, schema, "$") == []


def test_every_published_type_is_known(published: dict[str, Any]) -> None:
    """No schema in the folder without a model, but for the envelope and the one that allows anything."""
    assert set(published) - {"EDXL-DE-full", "EDXL-DE-envelope-only", "customContent"} == set(BY_NAME)


def test_the_envelope_has_the_published_shape(published: dict[str, Any]) -> None:
    """EDXL-DE; the statuses of an exchange wider than this one are known too, and set aside."""
    schema = published["EDXL-DE-envelope-only"]
    found = differences(shape_of(DistributionElement), schema, schema, "$")
    assert [line.partition(":")[0] for line in found] == ["$.distributionStatus"]


def differences(shape: Shape, schema: dict[str, Any], root: dict[str, Any], path: str) -> list[str]:
    """What a shape and a published schema say differently."""
    schema = resolve(schema, root)
    match shape:
        case Object(members=members, required=required):
            return object_differences(members, required, schema, root, path)
        case Many(item=item, least=least, most=most):
            bounds = (least, most)
            ours = (schema.get("minItems", 0), schema.get("maxItems"))
            wrong = [] if bounds == ours or path == "$.content" else [f"{path}: {bounds} in the list, not {ours}"]
            return wrong + differences(item, schema["items"], root, f"{path}[]")
        case Text(format=form):
            if schema["type"] != "string":
                return [f"{path}: a text"]
            words = form.values if form else ()
            if sorted(words) != sorted(schema.get("enum", [])):
                return [f"{path}: words {words}"]
            formed = form is not None and not form.values and form.expected not in OPEN_FORMS
            wanted = "pattern" in schema or "format" in schema
            return [] if formed == wanted else [f"{path}: form {form and form.expected}"]
        case Number(whole=whole):
            return [] if schema["type"] == ("integer" if whole else "number") else [f"{path}: a number"]
        case Flag():
            return [] if schema["type"] == "boolean" else [f"{path}: true or false"]
        case Open() | Anything():
            return [] if schema["type"] == "object" else [f"{path}: an object"]


def object_differences(
    members: dict[str, Shape], required: tuple[str, ...], schema: dict[str, Any], root: dict[str, Any], path: str
) -> list[str]:
    found = []
    if set(members) != set(schema["properties"]):
        found.append(f"{path}: members {sorted(set(members) ^ set(schema['properties']))}")
    if set(required) != set(schema.get("required", [])):
        found.append(f"{path}: required {sorted(set(required) ^ set(schema.get('required', [])))}")
    if schema.get("additionalProperties") is not False:
        found.append(f"{path}: more members allowed")
    for name in sorted(set(members) & set(schema["properties"])):
        found += differences(members[name], schema["properties"][name], root, f"{path}.{name}")
    return found


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_message_with_every_member_keeps_the_published_schema(kind: Kind, published: dict[str, Any]) -> None:
    """What our own samples of every form look like is valid there, patterns included."""
    validate(message(kind)[kind.key], published[kind.name])


def test_an_example_keeps_the_published_schema(example: Path, published: dict[str, Any]) -> None:
    """The oracle itself: so that a test that trusts it is not trusting a broken file."""
    ((_, body),) = json.loads(example.read_bytes()).items()
    validate(body, published[example.parent.name])
