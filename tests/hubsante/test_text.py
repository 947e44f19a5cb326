"""JSON as it is read (strictly) and written (canonically)."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.errors import InvalidMessage
from replica.hubsante.text import MAX_BYTES, Repeated, canonical, parse

NUMBERS = st.integers(-(10**14), 10**14) | st.floats(-1e14, 1e14)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES)
def test_canonical_text_reads_back_the_same(value: object) -> None:
    """Writing loses nothing: the text reads back as an equal value, and writes as the same text again."""
    text = canonical(value)
    assert parse(text.encode()) == value
    assert canonical(parse(text.encode())) == text


@settings(deadline=None)
@given(st.dictionaries(st.text("abcé"), NUMBERS, min_size=2))
def test_the_order_of_keys_does_not_matter(members: dict[str, float]) -> None:
    """Two partners who order their keys differently say the same bytes."""
    backwards = dict(reversed(members.items()))
    assert canonical(members) == canonical(backwards)


def test_equal_numbers_are_equal_texts() -> None:
    """48 and 48.0 are one number; so are 0 and -0.0."""
    assert canonical({"lat": 48.0, "lon": -0.0, "cap": 94.5}) == '{"cap":94.5,"lat":48,"lon":0}'


def test_numbers_are_the_shortest_text() -> None:
    """A coordinate keeps its seventeen digits where it needs them, and no more."""
    assert canonical([49.4484999719139, 0.1, 1e-7]) == "[49.4484999719139,0.1,1e-07]"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_canonical_text_for_what_is_no_number(value: float) -> None:
    """What the checks should have stopped stops here."""
    with pytest.raises((ValueError, OverflowError)):
        canonical({"lat": value})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"{} {}", "expected JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": "\xff"}', "expected UTF-8 text, byte 7"),
        (b'{"a": ' + b"1" * 5000 + b"}", "expected JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 50_000, "nested"),
        (b'"' + b"x" * MAX_BYTES + b'"', f"expected at most {MAX_BYTES} bytes"),
    ],
    ids=["empty", "open", "two", "nan", "infinity", "utf8", "digits", "lists", "objects", "long"],
)
def test_what_is_no_json_is_refused_with_a_reason(data: bytes, problem: str) -> None:
    """Each with one place, the whole message."""
    with pytest.raises(InvalidMessage) as refused:
        parse(data)
    (place,) = refused.value.places
    assert place.path == "$"
    assert problem in place.problem


def test_a_byte_order_mark_is_no_fault() -> None:
    """Some systems put one in front."""
    assert parse(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_a_key_named_twice_is_remembered() -> None:
    """The reader marks the object; who walks it knows the place."""
    found = parse(b'{"a": {"b": 1, "c": 2, "b": 3, "b": 4}}')["a"]
    assert isinstance(found, Repeated)
    assert found.twice == ("b",)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_json_or_refused(data: bytes) -> None:
    """Nothing else comes out: a value that the standard library reads too, or InvalidMessage."""
    try:
        value = parse(data)
    except InvalidMessage:
        return
    assert canonical(value) == canonical(json.loads(data.decode("utf-8-sig")))
