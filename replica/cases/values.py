"""Values that a rule has to look into: an engagement, an answer, what is said in several members. All others are
compared as the text they are.

Messages word them in the standard's names, commands in ours; both are read here, and ours is what is kept. Text that is
no JSON object of that shape still says something: it is taken as the plain word. So is text nested deeper than
any message is: a reader's patience with nesting hangs on the stack it stands on, and must not decide on one replica
what it does not on another.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from replica.cases.state import Held

T = TypeVar("T")

MAX_DEPTH = 500
"""Values nested deeper are not looked into. Readers fail at a depth near a thousand, less what the stack holds
already."""


class Engaged(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of the engagement field, as canonical JSON: keys sorted, what is not known left out."""

    case: str
    mission: str = ""
    patient: str = ""
    released: bool = False


class _Said(msgspec.Struct):
    """An engagement as a message may word it: our names or the standard's."""

    case: str = ""
    mission: str = ""
    patient: str = ""
    caseId: str = ""  # noqa: N815 - the standard's own name
    missionId: str = ""  # noqa: N815
    patientId: str = ""  # noqa: N815
    released: bool = False


class _Answered(msgspec.Struct):
    answer: str = ""


_engaged = msgspec.json.Decoder(_Said)
_answered = msgspec.json.Decoder(_Answered)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder(order="deterministic").encode


def _read(value: str, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The value as an object; None where it is none of that shape, or nested too deep."""
    if _is_deep(value):
        return None
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _is_deep(value: str) -> bool:
    """Whether brackets outside of strings nest beyond `MAX_DEPTH`. Nearly always answered by their number."""
    if value.count("{") + value.count("[") <= MAX_DEPTH:
        return False
    depth, quoted, escaped = 0, False, False
    for character in value:
        if quoted:
            quoted = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif character == '"':
            quoted = True
        elif character in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif character in "}]":
            depth -= 1
    return False


def engagement(case: str, mission: str = "", patient: str = "", released: bool = False) -> str:
    """The value that stands for this engagement."""
    return msgspec.json.encode(Engaged(case, mission, patient, released)).decode()


def parse(value: str, case: str = "") -> Engaged:
    """The engagement that a value says; text that is no JSON object names a case."""
    said = _read(value, _engaged)
    if said is None:
        return Engaged(value or case)
    return Engaged(
        said.case or said.caseId or case, said.mission or said.missionId, said.patient or said.patientId, said.released
    )


def case_of(held: Held) -> str:
    """The case that a held engagement is to."""
    return parse(held.value).case


def answer_of(held: Held) -> str:
    """The word of an answer, whether it stands alone or in the standard's structure."""
    said = _read(held.value, _answered)
    return held.value if said is None else said.answer


def completed(value: str, before: str) -> str:
    """`value` with the members that it leaves out and `before` has, where the two agree: both are objects with a member
    in common, and no common member differs. Else `value` as it is. Members are compared as the canonical text they
    are."""
    said, held = _read(value, _members), _read(before, _members)
    if said is None or held is None:
        return value
    common = said.keys() & held.keys()
    if not common or any(bytes(said[name]) != bytes(held[name]) for name in common):
        return value
    return _encode(held | said).decode() if held.keys() - said.keys() else value
