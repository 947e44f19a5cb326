"""The form: what was written on paper, typed into TOML, and read back with every wrong place named at once.

```toml
form = "samu440-2026-11-27-A"            # the form's own name; the same form again does nothing twice
organisation = "fr.health.samu440"       # whose case numbers the short ones are

[[act]]
time = 2026-11-27T03:12:00+01:00         # when it was done, with the offset
author = "Dr Martin"
case = "fr.health.samu440.A12"           # or its number alone: "A12"
what = "priority"
value = "P0"
```

Every name has a French one beside it (`FIELDS`, `ACTS`), and both may be used. What each act needs says `ACTS`.

An act's key is made of the form's name and of all that the act says, so a form that was corrected and entered again
enters what is new in it and nothing else.

Left out: whether the cases and resources are known (the site is asked), and what becomes of an act (acts.py).
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from replica.cases.fields import CARE_LEVELS, PRIORITIES, RESOURCE_STATUSES
from replica.errors import InvalidMessage, Place
from replica.hubsante.formats import CASE_ID, ORGANISATION_ID, PATIENT_ID, RESOURCE_ID

TOP: Final = {"form": "form", "formulaire": "form", "organisation": "organisation", "act": "act", "ligne": "act"}
FIELDS: Final = {
    "time": "time", "heure": "time", "author": "author", "auteur": "author", "what": "what", "acte": "what",
    "case": "case", "dossier": "case", "resource": "resource", "moyen": "resource", "value": "value",
    "valeur": "value", "patient": "patient", "address": "address", "adresse": "address", "city": "city",
    "commune": "city", "priority": "priority", "priorite": "priority", "care-level": "care-level",
    "soins": "care-level",
}  # fmt: skip
"""Name on the form, English or French → the field."""
WHATS: Final = {
    "note": "note", "priority": "priority", "priorite": "priority", "priorité": "priority", "care-level": "care-level",
    "soins": "care-level", "status": "status", "statut": "status", "engage": "engage", "engager": "engage",
    "release": "release", "liberer": "release", "libérer": "release", "close": "close", "clore": "close",
    "reopen": "reopen", "rouvrir": "reopen", "transfer": "transfer", "transferer": "transfer",
    "transférer": "transfer", "new-case": "new-case", "nouveau": "new-case",
}  # fmt: skip
"""What was done, English or French → the act."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What an act must say, and what it may, beside time, author and what."""

    must: tuple[str, ...]
    may: tuple[str, ...] = ()


ACTS: Final = {
    "note": Needs(("case", "value"), ("patient",)),
    "priority": Needs(("case", "value")),
    "care-level": Needs(("case", "value"), ("patient",)),
    "status": Needs(("resource", "value"), ("case",)),
    "engage": Needs(("resource", "case")),
    "release": Needs(("resource", "case")),
    "close": Needs(("case",)),
    "reopen": Needs(("case",)),
    "transfer": Needs(("case", "value")),
    "new-case": Needs(("case",), ("value", "address", "city", "priority", "care-level")),
}
VALUES: Final = {"priority": PRIORITIES, "care-level": CARE_LEVELS, "status": RESOURCE_STATUSES}

MOST_BYTES: Final = 1 << 20
MOST_ACTS: Final = 1000
MOST_TEXT: Final = 10_000
MOST_NAME: Final = 120
FUTURE_MS: Final = 60_000
"""Clocks on a wall and in a machine differ that much; beyond it the time is wrong."""
OFFSET_STEP_MINUTES: Final = 15
OFFSETS: Final = (timedelta(hours=-12), timedelta(hours=14))
"""No time zone on Earth lies outside, and each is a whole number of quarter hours."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act as it was written down. `line` and `path`: where. `time`: in the offset of the form. `key`: its
    idempotency key. Fields it does not have are empty."""

    line: int
    path: str
    time: datetime
    author: str
    what: str
    key: str
    case: str = ""
    resource: str = ""
    value: str = ""
    patient: str = ""
    address: str = ""
    city: str = ""
    priority: str = ""
    care_level: str = ""

    @property
    def act_ms(self) -> int:
        """The time in ms since 1970, UTC."""
        return round(self.time.timestamp() * 1000)

    def place(self, name: str, problem: str) -> Place:
        """A wrong place in this act."""
        return Place(f"line {self.line}: {self.path}.{name}", problem)


@dataclass(frozen=True, slots=True)
class Form:
    """`acts` in the order in which they were done. `language`: of the names it was written with."""

    name: str
    organisation: str
    language: str
    acts: tuple[Act, ...]


@dataclass(slots=True)
class _Reading:
    """A form being read, and every place that is wrong so far."""

    lines: _Lines
    now_ms: int
    oldest_ms: int
    organisation: str = ""
    name: str = ""
    places: list[Place] = field(default_factory=list)

    def wrong(self, at: int | None, name: str, problem: str) -> None:
        """`at`: the act's place, None for the form itself."""
        line = self.lines.of(at, name)
        self.places.append(Place(f"line {line}: {path_of(at)}.{name}", problem))


def path_of(at: int | None) -> str:
    return "$" if at is None else f"$.act[{at}]"


def read_form(data: bytes, now_ms: int, oldest_ms: int, organisation: str = "") -> Form:
    """The form's acts. `now_ms`: by the site's clock. `oldest_ms`: an act before it is taken for a wrong date.
    `organisation`: where the form names none.

    Raises InvalidMessage with every wrong place, each with its line; nothing may be entered then.
    """
    text, raw = _parsed(data)
    reading = _Reading(_Lines(text), now_ms, oldest_ms)
    top = _named(reading, None, raw, TOP)
    reading.name = _text(reading, None, top, "form", MOST_NAME)
    if not reading.name:
        reading.wrong(None, "form", "is missing: a name of its own for this sheet of paper")
    reading.organisation = _text(reading, None, top, "organisation", MOST_NAME) or organisation
    if reading.organisation and not ORGANISATION_ID.accepts(reading.organisation):
        reading.wrong(None, "organisation", ORGANISATION_ID.expected)
    acts = _unique_keys(_acts(reading, top.get("act")))
    ordered = sorted(acts, key=lambda act: act.act_ms)
    reading.places += _before_their_case(ordered)
    if reading.places:
        raise InvalidMessage(tuple(reading.places))
    language = "fr" if "formulaire" in raw or "ligne" in raw else "en"
    return Form(reading.name, reading.organisation, language, tuple(ordered))


def _parsed(data: bytes) -> tuple[str, dict[str, Any]]:
    if len(data) > MOST_BYTES:
        raise InvalidMessage((Place("$", f"{len(data)} bytes; a form has at most {MOST_BYTES}"),))
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        raise InvalidMessage((Place("$", f"is not UTF-8 at byte {problem.start}"),)) from problem
    try:
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise InvalidMessage((Place("$", f"is not TOML: {problem}"),)) from problem


def _acts(reading: _Reading, raw: Any) -> Iterator[Act]:
    if not isinstance(raw, list) or not raw or not all(isinstance(one, dict) for one in raw):
        reading.wrong(None, "act", "expected one [[act]] for each line that was written by hand")
        return
    if len(raw) > MOST_ACTS:
        reading.wrong(None, "act", f"{len(raw)} acts; a form has at most {MOST_ACTS}")
        return
    for at, one in enumerate(raw):
        act = _act(reading, at, one)
        if act is not None:
            yield act


def _act(reading: _Reading, at: int, raw: dict[str, Any]) -> Act | None:
    """One act; None where anything of it is wrong, and told."""
    before = len(reading.places)
    said = _named(reading, at, raw, FIELDS)
    time = _time(reading, at, said.pop("time", None))
    texts = {name: _text(reading, at, said, name, MOST_TEXT if name == "value" else MOST_NAME * 2) for name in said}
    what = WHATS.get(texts.pop("what", "").lower(), "")
    if not texts.get("author"):
        reading.wrong(at, "author", "is missing: who did it")
    if not what:
        reading.wrong(at, "what", f"expected one of {', '.join(WHATS)}")
    else:
        _check_needs(reading, at, what, texts)
    if len(reading.places) > before or time is None:
        return None
    fields = {name.replace("-", "_"): text for name, text in texts.items()}
    return Act(reading.lines.of(at), path_of(at), time, what=what, key=_key(reading.name, time, what, fields), **fields)


def _check_needs(reading: _Reading, at: int, what: str, texts: dict[str, str]) -> None:
    needs = ACTS[what]
    for name in needs.must:
        if not texts.get(name):
            reading.wrong(at, name, f"is missing; {what} needs {' and '.join(needs.must)}")
    for name in texts.keys() - {*needs.must, *needs.may, "author"}:
        reading.wrong(at, name, f"is not for {what}")
    for name in ("priority", "care-level"):
        _check_word(reading, at, name, texts.get(name, ""), name)
    _check_word(reading, at, "value", texts.get("value", ""), what)
    if texts.get("case"):
        texts["case"] = _case(reading, at, texts["case"])
    _check_form(reading, at, "resource", texts.get("resource", ""), RESOURCE_ID.accepts, RESOURCE_ID.expected)
    _check_form(reading, at, "patient", texts.get("patient", ""), PATIENT_ID.accepts, PATIENT_ID.expected)
    if what == "transfer":
        _check_form(reading, at, "value", texts.get("value", ""), ORGANISATION_ID.accepts, ORGANISATION_ID.expected)


def _check_word(reading: _Reading, at: int, name: str, value: str, kind: str) -> None:
    allowed = VALUES.get(kind)
    if value and allowed is not None and value not in allowed:
        reading.wrong(at, name, f"{value!r} is not one of {' '.join(allowed)}")


def _check_form(
    reading: _Reading, at: int, name: str, value: str, accepts: Callable[[str], bool], expected: str
) -> None:
    if value and not accepts(value):
        reading.wrong(at, name, f"{value!r}: {expected}")


def _case(reading: _Reading, at: int, case: str) -> str:
    """The case's id; of a number alone, `{organisation}.{number}`."""
    if "." not in case:
        if not reading.organisation:
            reading.wrong(at, "case", f"{case!r} is a number alone: the form has to name its organisation")
            return case
        case = f"{reading.organisation}.{case}"
    if not CASE_ID.accepts(case):
        reading.wrong(at, "case", f"{case!r}: {CASE_ID.expected}")
    return case


def _time(reading: _Reading, at: int, value: Any) -> datetime | None:
    """The time of an act; None where it is wrong, and told."""
    problem = _why_not(value, reading)
    if problem:
        reading.wrong(at, "time", problem)
        return None
    assert isinstance(value, datetime)
    return value


def _why_not(value: Any, reading: _Reading) -> str:
    if value is None:
        return "is missing: when it was done, like 2026-11-27T03:12:00+01:00"
    if not isinstance(value, datetime):
        return "expected a date and time with offset, without quotes, like 2026-11-27T03:12:00+01:00"
    offset = value.utcoffset()
    if offset is None:
        return "has no offset: add +01:00 (winter) or +02:00 (summer) for metropolitan France"
    if not OFFSETS[0] <= offset <= OFFSETS[1] or offset % timedelta(minutes=OFFSET_STEP_MINUTES):
        return f"no time zone is {offset} from UTC"
    at_ms = value.timestamp() * 1000
    if at_ms > reading.now_ms + FUTURE_MS:
        return f"lies {(at_ms - reading.now_ms) / 60_000:.0f} min ahead of the site's clock"
    if at_ms < reading.oldest_ms:
        return "lies too far back: is the date right? (--oldest-days says how far back is allowed)"
    return ""


def _named(reading: _Reading, at: int | None, raw: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The members under our names; what nobody knows, and what is said under both names, is told."""
    found: dict[str, Any] = {}
    for name, value in raw.items():
        ours = names.get(name)
        if ours is None:
            reading.wrong(at, name, f"is not known; there is {', '.join(names)}")
        elif ours in found:
            reading.wrong(at, name, "is there twice, in both languages")
        else:
            found[ours] = value
    return found


def _text(reading: _Reading, at: int | None, said: dict[str, Any], name: str, most: int) -> str:
    value = said.get(name, "")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a number that was typed without quotes
    if not isinstance(value, str):
        reading.wrong(at, name, "expected a text in quotes")
        return ""
    if len(value) > most:
        reading.wrong(at, name, f"{len(value)} characters; there is room for {most}")
    return value.strip()


def _key(form: str, time: datetime, what: str, fields: dict[str, str]) -> str:
    hashed = blake2b(digest_size=16)
    said = [form, str(round(time.timestamp() * 1000)), what]
    said += [text for name in sorted(fields) if fields[name] for text in (name, fields[name])]
    for text in said:
        raw = text.encode()
        hashed.update(len(raw).to_bytes(4, "big") + raw)  # the length says where a text ends
    return f"paper/{hashed.hexdigest()}"


def _unique_keys(acts: Iterable[Act]) -> list[Act]:
    """The same act written twice on one form was done twice: the second has a key of its own."""
    seen: Counter[str] = Counter()
    kept = []
    for act in acts:
        seen[act.key] += 1
        again = seen[act.key]
        members = {name: getattr(act, name) for name in Act.__slots__}
        kept.append(act if again == 1 else Act(**{**members, "key": f"{act.key}/{again}"}))
    return kept


def _before_their_case(ordered: list[Act]) -> Iterator[Place]:
    """Acts on a case that this form opens later, and cases that it opens twice."""
    opened: dict[str, Act] = {}
    for act in ordered:
        if act.what == "new-case":
            if act.case in opened:
                yield act.place("case", f"{act.case} is opened on line {opened[act.case].line} already")
            opened.setdefault(act.case, act)
    for act in ordered:
        opening = opened.get(act.case)
        if opening is not None and act.act_ms < opening.act_ms:
            yield act.place("time", f"is before the case was opened (line {opening.line})")


class _Lines:
    """Where things stand in the text: TOML's own reader does not tell."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        marks = [f"[[{name}]]" for name, ours in TOP.items() if ours == "act"]
        starts = (line.split("#")[0].replace(" ", "") for line in self._lines)
        self._acts = [number for number, line in enumerate(starts, 1) if line in marks]

    def of(self, at: int | None, name: str = "") -> int:
        """The line of a member of the form (`at` None) or of an act; of its beginning where it is not written out."""
        first = 1 if at is None else self._acts[at] if at < len(self._acts) else 1
        ends = [start for start in self._acts if start > first] if at is not None else self._acts
        last = ends[0] - 1 if ends else len(self._lines)
        names = {name, *(given for given, ours in {**TOP, **FIELDS}.items() if ours == name)}
        for number in range(first, last + 1):
            if self._lines[number - 1].partition("=")[0].strip().strip("\"'") in names:
                return number
        return first
