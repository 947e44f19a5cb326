"""The forms of the standard's texts, each checked by hand in one pass over a text of capped length.

The published pattern of a case id, `^([a-zA-Z0-9_-]+\\.?){4,10}$`, lets an engine try every way to cut a text into
groups: a 40-character id with one wrong character at its end costs it seconds. So no published pattern runs here. What
stands here instead accepts the same texts (the tests compare the two), and is linear: at most `MAX_ID` characters, each
looked at a fixed number of times.

Left out: check digits (NIR, FINESS), which the standard does not ask for either.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass

from replica.hubsante.times import instant_ms

MAX_ID = 200
"""Characters of an identifier. The longest in real messages has under 70."""

ID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
DIGITS = frozenset(string.digits)
CAPITALS = frozenset(string.ascii_uppercase)
LETTERS = frozenset(string.ascii_letters)


@dataclass(frozen=True, slots=True)
class Format:
    """A form of text: `expected` says it to a person, `accepts` checks it. `sample` is a text of that form; `values`
    all there are, where it is a list of words."""

    expected: str
    accepts: Callable[[str], bool]
    sample: str
    values: tuple[str, ...] = ()


def one_of(values: tuple[str, ...]) -> Format:
    """A word of a list. Up to 63 allowed values are named, of longer lists the first ones and how many there are."""
    known = frozenset(values)
    shown = ", ".join(values) if len(values) <= 63 else f"{', '.join(values[:8])} … ({len(values)} codes)"
    return Format(f"expected one of {shown}", known.__contains__, values[0], values)


def _parts(text: str) -> list[str] | None:
    """The parts between dots, or None where a character is foreign, a part is empty or the text too long."""
    if len(text) > MAX_ID:
        return None
    parts = text.split(".")
    return parts if all(part and ID_CHARACTERS.issuperset(part) for part in parts) else None


def _is_dotted(text: str, most_parts: int) -> bool:
    """The language of `^([a-zA-Z0-9_-]+\\.?){4,most}$`: a group may end anywhere within a part, so "at least 4 groups"
    only means four characters beside the dots, and a dot may end the text."""
    parts = _parts(text.removesuffix("."))
    return parts is not None and len(parts) <= most_parts and sum(map(len, parts)) >= 4


def _is_named(text: str, word: str) -> bool:
    """The language of `^([a-zA-Z0-9_-]+\\.){3,8}word(\\.[a-zA-Z0-9_-]+){1,2}$`."""
    parts = _parts(text)
    if parts is None:
        return False
    return any(parts[at] == word and len(parts) - at - 1 in (1, 2) for at in range(3, min(9, len(parts))))


_CLASSES = {
    "9": DIGITS,
    "@": CAPITALS,
    "#": LETTERS,
    "*": DIGITS | CAPITALS,
    "~": DIGITS | frozenset("+-"),
    "?": frozenset("YMWD"),
}
"""What a character of a template stands for; any other stands for itself."""


def _matches(text: str, template: str) -> bool:
    if len(text) != len(template):
        return False
    return all(
        char in _CLASSES[want] if want in _CLASSES else char == want for char, want in zip(text, template, strict=True)
    )


def _templates(what: str, sample: str, *templates: str) -> Format:
    return Format(f"expected {what}", lambda text: any(_matches(text, template) for template in templates), sample)


def _is_phone(text: str) -> bool:
    return text[:1] == "+" and 5 <= len(text) - 1 <= 18 and DIGITS.issuperset(text[1:])


def _is_time(text: str) -> bool:
    return instant_ms(text) is not None


def _is_far_time(text: str) -> bool:
    return instant_ms(text, last_year=9999) is not None


_LETTERS = f"of letters, digits, - and _ between dots, {MAX_ID} characters at most"
CASE_ID = Format(
    f"expected a case id {{country}}.{{domain}}.{{organisation}}.{{number}}, up to 10 parts {_LETTERS}",
    lambda text: _is_dotted(text, 10),
    "fr.health.samu440.DRFR154402414300123",
)
ORGANISATION_ID = Format(
    f"expected an organisation {{country}}.{{domain}}.{{organisation}}, up to 9 parts {_LETTERS}",
    lambda text: _is_dotted(text, 9),
    "fr.health.samu440",
)


def _named(word: str) -> Format:
    return Format(
        f"expected an id {{organisation}}.{word}.{{number}}, parts {_LETTERS}",
        lambda text: _is_named(text, word),
        f"fr.health.samu440.{word}.1",
    )


RESOURCE_ID = _named("resource")
REQUEST_ID = _named("request")
PATIENT_ID = _named("patient")
NOTE_ID = _named("medicalNote")
_INSTANT = "2024-05-26T13:20:00+02:00"
DATE_TIME = Format(
    f"expected a date-time with offset, like {_INSTANT} (no Z, no fractions), of the years 1970 to 2199",
    _is_time,
    _INSTANT,
)
EXPIRY = Format(f"expected a date-time with offset, like {_INSTANT} (no Z, no fractions)", _is_far_time, _INSTANT)
BIRTH_DATE = _templates("a date, like 1967-09-17", "1967-09-17", "9999-99-99")
"""Only the form, as the standard asks: months and days that are not known are written 00."""
WHATS_HAPPEN_CODE = _templates("a code like C02.08.05", "C02.08.05", "C99.99.99")
LOCATION_KIND_CODE = _templates("a code like L01.01.04", "L01.01.04", "L99.99.99")
MOTIVE_CODE = _templates("a code like M01.02 or M17.03.01", "M01.02", "M99.99", "M99.99.99")
RISK_CODE = _templates("a code like R05", "R05", "R99")
DIAGNOSIS_CODE = _templates("a diagnosis code like I64 or S06.9", "S06.9", "@99", "@99.~", "@99.~~", "@99.~~~")
AGE = _templates("an age like P65Y (years), P6M, P3W or P12D", "P65Y", "P9?", "P99?", "P999?")
COMMUNE_CODE = _templates("a commune code of five digits", "44109", "99999")
PLACE_ID = _templates(
    "a FINESS, SIREN, SIRET or APE number", "680020096", "**0999999", "999999999", "99999999999999", "9999#"
)
PHONE = Format("expected a telephone number: + and 5 to 18 digits", _is_phone, "+33261910100")
SHORT = Format(f"expected at most {MAX_ID} characters", lambda text: len(text) <= MAX_ID, "1")
"""For names that become part of a key: the standard gives them no length."""
KEY = Format(f"expected a text of 1 to {MAX_ID} characters", lambda text: 0 < len(text) <= MAX_ID, "1")
