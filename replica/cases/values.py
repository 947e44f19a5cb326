"""Values that a rule has to look into: an engagement, an answer. All others are compared as the text they are.

Messages word them in the standard's names, commands in ours; both are read here, and ours is what is kept. Text that is
no JSON object of that shape still says something: it is taken as the plain word.
"""

from __future__ import annotations

import msgspec

from replica.cases.state import Held


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


def engagement(case: str, mission: str = "", patient: str = "", released: bool = False) -> str:
    """The value that stands for this engagement."""
    return msgspec.json.encode(Engaged(case, mission, patient, released)).decode()


def parse(value: str, case: str = "") -> Engaged:
    """The engagement that a value says; text that is no JSON object names a case."""
    try:
        said = _engaged.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Engaged(value or case)
    return Engaged(
        said.case or said.caseId or case, said.mission or said.missionId, said.patient or said.patientId, said.released
    )


def case_of(held: Held) -> str:
    """The case that a held engagement is to."""
    return parse(held.value).case


def answer_of(held: Held) -> str:
    """The word of an answer, whether it stands alone or in the standard's structure."""
    try:
        return _answered.decode(held.value).answer
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return held.value
