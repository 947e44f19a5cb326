"""What the callers of the bench do: small operations on cases that exist, as people make them.

An operation goes the whole walk: checked, numbered, agreed, applied by the rules of its kind, with a verdict, to every
site's feed. Half are notes, whose text makes the size; half say a case's priority.
"""

from __future__ import annotations

from typing import Final

import msgspec

from replica.cases.commands import AddNote, ChangePriority, Command, Fact, Report, Subject
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.wire.operation_codec import encode_operation

PRIORITIES: Final = ("P0", "P1", "P2", "P3")
DEFAULT_BYTES: Final = 256
"""Of a note's text: an operation is some hundred bytes more."""


def case_id(samu: str, number: int) -> str:
    """The id of the bench's case `number` of this Samu."""
    return f"{samu}.bench{number}"


def creation(samu: str, number: int) -> Report:
    """A new case of this Samu, as its RS-EDA says it."""
    facts = (
        Fact("health_motive", '{"code":"M01.01","label":"Malaise"}'),
        Fact("priority", PRIORITIES[number % 4]),
        Fact("location.city", '{"inseeCode":"44109","name":"Nantes"}'),
        Fact("location.address", f'{{"street":"{number} rue de Strasbourg"}}'),
    )
    case = case_id(samu, number)
    return Report(f"create/{case}", "RS-EDA", samu, (Subject("case", case, facts, samu, creates=True),))


def act(samu: str, case: str, number: int, text_bytes: int = DEFAULT_BYTES) -> Command | Report:
    """The operation `number` on a case: a note of `text_bytes` for even numbers, its priority for odd ones."""
    if number % 2 == 0:
        return AddNote(case, f"{case}.{number}", f"Note {number} ".ljust(text_bytes, "."))
    facts = (
        Fact("priority", PRIORITIES[number // 2 % 4]),
        Fact("location.freetext", f"Access {number} ".ljust(text_bytes, ".")),
    )
    return Report(f"{case}/{number}", "RS-EDA-MAJ", samu, (Subject("case", case, facts, samu),))


def command(case: str, number: int, text_bytes: int = DEFAULT_BYTES) -> Command:
    """The decision `number` on a case: a note of `text_bytes` for even numbers, its priority for odd ones. It says
    nothing that only a hub message could say, so a thin client can hand it in as well as a program that embeds a
    node."""
    if number % 2 == 0:
        return AddNote(case, f"{case}.{number}", f"Note {number} ".ljust(text_bytes, "."))
    return ChangePriority(case, PRIORITIES[number // 2 % 4])


def opening(samu: str, number: int) -> bytes:
    """The hub message that makes the case `number` known, handed in by whoever answers for this Samu."""
    details = {"details": {"priority": PRIORITIES[number % 4]}}
    content = {"caseId": case_id(samu, number), "owner": samu, "qualification": details}
    return msgspec.json.encode({"createCaseHealthUpdate": content})


def encoded_bytes(samu: str, text_bytes: int) -> int:
    """What a `command` takes in the log, the mean of both kinds: the value that another system is given to store."""
    name, case = OperationId(samu, bytes(16), 1000), case_id(samu, 100)
    two = (
        Operation(name, 1, 1000, HybridTime(1 << 40), 1 << 40, "bench", command(case, n, text_bytes)) for n in (0, 1)
    )
    return sum(len(encode_operation(one)) for one in two) // 2
