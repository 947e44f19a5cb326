"""For whom a message speaks, where no envelope says so.

A bare content enters at the site of the case's present owner, which only the state knows. Where the state knows none,
the candidates are named here: the owner the message names, the call-taker's organisation, the resource's, the
request's, the case number's. Ids do not tell the owner for certain (the case of one organisation may be owned by
another), so the id comes last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from replica.cases.commands import Fact, Report, Subject
from replica.hubsante.mapping import CASE
from replica.hubsante.subjects import is_placeholder

SPOKEN_FOR = frozenset(line.field for line in CASE if line.by_speaker)
"""Fields of a case that are kept per organisation, the one that speaks."""


def speakers(report: Report) -> tuple[str, ...]:
    """Organisations that may be the sender of a report, the likeliest first. Empty where the report names none."""
    found = [
        *(subject.organisation for subject in report.subjects if subject.kind == "case"),
        *(_call_taker(fact) for subject in report.subjects for fact in subject.facts if _is_alert(subject, fact)),
        *(subject.organisation for subject in report.subjects if subject.kind == "resource"),
        *(_before(subject.id, f".{subject.kind}.") for subject in report.subjects if _has_own_id(subject)),
        *(name for subject in report.subjects for name in _of_case(subject)),
    ]
    return tuple(dict.fromkeys(name for name in found if name))


def _has_own_id(subject: Subject) -> bool:
    return subject.kind != "case" and not is_placeholder(subject.id)


def _is_alert(subject: Subject, fact: Fact) -> bool:
    return subject.kind == "case" and fact.field in ("initial_alert", "new_alert")


def _call_taker(alert: Fact) -> str:
    taker = json.loads(alert.value).get("callTaker", {})
    return str(taker.get("organization", ""))


def _before(identifier: str, word: str) -> str:
    head, found, _ = identifier.partition(word)
    return head if found else ""


def _of_case(subject: Subject) -> Iterator[str]:
    """`{organisation}.{number}`, from the longest organisation to one of three parts."""
    parts = (subject.id if subject.kind == "case" else subject.case).split(".")
    for length in range(len(parts) - 1, 2, -1):
        yield ".".join(parts[:length])


def with_sender(report: Report, sender: str) -> Report:
    """The report as `sender` says it: what is kept per speaking organisation gets its name."""
    return msgspec.structs.replace(
        report,
        sender=sender,
        subjects=tuple(
            msgspec.structs.replace(subject, facts=tuple(_spoken(fact, sender) for fact in subject.facts))
            if subject.kind == "case"
            else subject
            for subject in report.subjects
        ),
    )


def _spoken(fact: Fact, sender: str) -> Fact:
    return msgspec.structs.replace(fact, key=sender) if fact.field in SPOKEN_FOR else fact
