"""What a sheet says, as plain values without a language: codes, texts, times in ms since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """One value, who said it and when it happened. `tentative`: not agreed yet, this site's own."""

    value: str
    author: str
    when_ms: int
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class Clash:
    """What a person has yet to decide about one field: values in conflict, the one that holds first, and proposals."""

    field: str
    key: str
    values: tuple[Said, ...]
    conflict: bool
    proposed: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was written down: `kind` is note, decision, alert or freetext."""

    kind: str
    said: Said
    patient: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """`lines`: (label, what is known), in the order they are read."""

    id: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Engaged:
    """A resource as one case sees it. `state`: engaged, conflict, proposed or over."""

    resource: str
    vehicle: str
    state: str
    status: str
    status_ms: int
    tentative: bool


@dataclass(frozen=True, slots=True)
class CaseSheet:
    """One open case. `numbers`: (organisation, its own number). `lines`: (label, text) of place, motive and caller.
    `holder`: the site in charge, where that is not the owner's own. `unreadable`: what of it could not be read (words
    of `PARTS`)."""

    id: str
    numbers: tuple[tuple[str, str], ...]
    owner: str
    holder: str
    epoch: int
    status: str
    priority: Said | None
    care_level: Said | None
    opened_ms: int
    incomplete: bool
    tentative: bool
    lines: tuple[tuple[str, str], ...] = ()
    patients: tuple[Patient, ...] = ()
    engaged: tuple[Engaged, ...] = ()
    clashes: tuple[Clash, ...] = ()
    notes: tuple[Note, ...] = ()
    documents: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceSheet:
    """`available`: None: not known, which is an answer (nobody guesses it)."""

    id: str
    vehicle: str
    name: str
    status: str
    status_ms: int
    available: bool | None
    serves: str
    owner: str
    clashes: tuple[Clash, ...] = ()
    tentative: bool = False
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class PaperAct:
    """An undecided act that could not be shown in its place: as it was journalled."""

    when_ms: int
    author: str
    act: str
    subject: str
    value: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What could not be read, for the top of the sheet: `what` is a word of words.py (`trouble.…`)."""

    what: str
    detail: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Whose sheet it is and how far it can be trusted.

    `made_ms`: when it was made, by the clock of the machine that made it. `confirmed_ms`: when a quorum was last heard
    of, None where that is not known. `mode`: connected, cut-off, replaying; stopped; beside (read beside a running
    process). `oldest_undecided_ms`: 0 where not known. `role`: site or zone; a zone answers for no case, and keeps no
    journal and no time."""

    whose: str
    cluster: str
    mode: str
    made_ms: int
    index: int | None
    confirmed_ms: int | None
    authority: str = ""
    epoch: int = 0
    undecided: int | None = 0
    oldest_undecided_ms: int = 0
    unconfirmed_since_ms: int | None = None
    clock_unsure: bool = False
    restored: bool = False
    fenced: bool = False
    role: str = "site"


@dataclass(frozen=True, slots=True)
class Sheet:
    """All of it. `elsewhere`: open cases that are not on it, because others answer for them."""

    facts: Facts
    troubles: tuple[Trouble, ...]
    cases: tuple[CaseSheet, ...]
    resources: tuple[ResourceSheet, ...]
    acts: tuple[PaperAct, ...] = ()
    closed: int = 0
    elsewhere: int = 0
