"""The forms of texts accept what the published patterns accept, without running them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.hubsante import formats
from replica.hubsante.formats import MAX_ID, Format

PATTERNS: list[tuple[Format, str]] = [
    (formats.CASE_ID, r"([a-zA-Z0-9_-]+\.?){4,10}"),
    (formats.ORGANISATION_ID, r"([a-zA-Z0-9_-]+\.?){4,9}"),
    (formats.RESOURCE_ID, r"([a-zA-Z0-9_-]+\.){3,8}resource(\.[a-zA-Z0-9_-]+){1,2}"),
    (formats.REQUEST_ID, r"([a-zA-Z0-9_-]+\.){3,8}request(\.[a-zA-Z0-9_-]+){1,2}"),
    (formats.PATIENT_ID, r"([a-zA-Z0-9_-]+\.){3,8}patient(\.[a-zA-Z0-9_-]+){1,2}"),
    (formats.NOTE_ID, r"([a-zA-Z0-9_-]+\.){3,8}medicalNote(\.[a-zA-Z0-9_-]+){1,2}"),
    (formats.BIRTH_DATE, r"\d{4}-\d{2}-\d{2}"),
    (formats.WHATS_HAPPEN_CODE, r"C\d{2}(\.\d{2}){2}"),
    (formats.LOCATION_KIND_CODE, r"L\d{2}(\.\d{2}){2}"),
    (formats.MOTIVE_CODE, r"M\d{2}\.\d{2}(\.\d{2})?"),
    (formats.RISK_CODE, r"R\d{2}"),
    (formats.DIAGNOSIS_CODE, r"[A-Z]\d{2}(\.[\d\+\-]{1,3})?"),
    (formats.AGE, r"P[0-9]{1,3}[YMWD]"),
    (formats.COMMUNE_CODE, r"[0-9]{5}"),
    (formats.PLACE_ID, r"([0-9A-Z]{2}0\d{5}\d|\d{9}|\d{14}|\d{4}[A-Za-z])"),
    (formats.PHONE, r"\+\d{5,18}"),
]
IDS = [form for form, pattern in PATTERNS if "a-zA-Z0-9_-" in pattern]


@pytest.mark.parametrize(("form", "pattern"), PATTERNS, ids=[pattern for _, pattern in PATTERNS])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_form_accepts_what_its_pattern_matches(form: Format, pattern: str, data: st.DataObject) -> None:
    """Texts made from the pattern are accepted."""
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True).filter(lambda it: len(it) <= MAX_ID))
    assert form.accepts(text)


@pytest.mark.parametrize(("form", "pattern"), PATTERNS, ids=[pattern for _, pattern in PATTERNS])
@settings(max_examples=30, deadline=None)
@given(text=st.text("aZ0._-+PCLMRresourcequestpatientmedicalNoteY19 é\n", max_size=12))
def test_a_form_refuses_what_its_pattern_refuses(form: Format, pattern: str, text: str) -> None:
    """On short texts, where the published pattern still comes to an end, both always agree."""
    assert form.accepts(text) == (re.fullmatch(pattern, text, re.ASCII) is not None)


@pytest.mark.parametrize(("form", "pattern"), PATTERNS, ids=[pattern for _, pattern in PATTERNS])
def test_a_sample_has_its_form(form: Format, pattern: str) -> None:
    """What is shown as an example is one."""
    assert form.accepts(form.sample)
    assert re.fullmatch(pattern, form.sample)


class Counted(str):
    """A text that counts how often it is cut up: the one thing a checker may do with all of it."""

    __slots__ = ()
    cuts = 0

    def split(self, *args: Any, **kwargs: Any) -> list[str]:
        Counted.cuts += 1
        return super().split(*args, **kwargs)


@pytest.mark.parametrize("form", IDS, ids=lambda form: form.sample)
def test_an_id_is_cut_once_and_a_long_one_not_at_all(form: Format) -> None:
    """The text that keeps the published pattern busy for ever is looked at once; one over the cap not even that."""
    Counted.cuts = 0
    assert not form.accepts(Counted("a" * 39 + "!"))
    assert Counted.cuts <= 1
    Counted.cuts = 0
    assert not form.accepts(Counted("a." * MAX_ID))
    assert Counted.cuts == 0


def test_an_enumeration_says_what_is_allowed() -> None:
    """A short list is named whole, a long one by its beginning and its length."""
    assert formats.one_of(("P0", "P1")).expected == "expected one of P0, P1"
    assert "(100 codes)" in formats.one_of(tuple(str(code) for code in range(100))).expected
