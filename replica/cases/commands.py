"""What can be done or reported: the payload of an operation.

A **report** says what a partner's message says happened; it is always accepted and merged, whoever owns the case. A
**command** is what a person decides here; it is checked against authority before it is journalled, and again where it
is applied. Values are text: a plain word for coded fields (`P1`), canonical JSON for structured ones (keys sorted, no
blanks, numbers as the shortest text that reads back to the same number). No float, dict or set enters an operation,
so every replica handles the same bytes.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Fact(Struct, frozen=True, array_like=True):
    """One value said about one field. `field` is a name of cases/fields.py, `key` the element within a keyed field (a
    patient's id, an organisation, a key of the open map), `at_ms` the value's own time where its rule goes by it (0:
    the operation's)."""

    field: str
    value: str
    key: str = ""
    at_ms: int = 0


class Subject(Struct, frozen=True, array_like=True):
    """All that one message says about one case, resource or request.

    kind: "case" | "resource" | "request". `id`: its identifier; empty for a case known only by (organisation, sender's
    case number), then `sender_case` names it. `organisation`: the owner the message names for it, or empty. `case`:
    for a resource or request, the case it is said for (may be empty). `creates`: this message type creates it
    (RS-EDA), rather than updating it.
    """

    kind: str
    id: str
    facts: tuple[Fact, ...]
    organisation: str = ""
    case: str = ""
    sender_case: str = ""
    creates: bool = False


class Opening(Struct, frozen=True, array_like=True, tag="opening"):
    """`seq` 0 of an incarnation (rule 3). `prev` and `prev_last`: the life of this store before, and its durable
    counter; `replaces`: the incarnation that is current as far as this store knows (rule 6). `drain`: never current
    (rule 8)."""

    prev: bytes | None
    prev_last: int
    replaces: bytes | None
    drain: bool = False


class Tombstone(Struct, frozen=True, array_like=True, tag="tombstone"):
    """In place of a journal record that cannot be read any more: its number is used up, and a person is told."""

    problem: str


class Report(Struct, frozen=True, array_like=True, tag="report"):
    """A hub message's content. `message` is its idempotence key (distribution id and place in it, or a hash of a bare
    content); `kind` the standard's type name (RS-EDA); `sender` the organisation it speaks for; `documents` whole
    contents kept unread with the case (canonical JSON, a type each)."""

    message: str
    kind: str
    sender: str
    subjects: tuple[Subject, ...]
    documents: tuple[Fact, ...] = ()


class ChangePriority(Struct, frozen=True, array_like=True, tag="change-priority"):
    case: str
    priority: str


class ChangeCareLevel(Struct, frozen=True, array_like=True, tag="change-care-level"):
    case: str
    care_level: str
    patient: str = ""


class AddNote(Struct, frozen=True, array_like=True, tag="add-note"):
    """A medical note (`medicalNote`). `note` is its id, made by the site that writes it."""

    case: str
    note: str
    text: str
    patient: str = ""
    role: str = "INCONNU"


class SetStatus(Struct, frozen=True, array_like=True, tag="set-status"):
    """A step of a resource in its current mission."""

    resource: str
    case: str
    status: str


class EngageResource(Struct, frozen=True, array_like=True, tag="engage-resource"):
    """The resource serves this case now. Its owner decides that; needs the quorum unless the owner is here."""

    resource: str
    case: str
    mission: str = ""


class ReleaseResource(Struct, frozen=True, array_like=True, tag="release-resource"):
    resource: str
    case: str


class TransferCase(Struct, frozen=True, array_like=True, tag="transfer-case"):
    """Hand the charge of a case to another organisation. Needs the quorum."""

    case: str
    to: str


class CloseCase(Struct, frozen=True, array_like=True, tag="close-case"):
    case: str


class ReopenCase(Struct, frozen=True, array_like=True, tag="reopen-case"):
    case: str


class RegisterOrganisation(Struct, frozen=True, array_like=True, tag="register-organisation"):
    """`alias` is another name of `organisation`, which is served by `site` (empty: by none of ours)."""

    alias: str
    organisation: str
    site: str = ""


class TakeOver(Struct, frozen=True, array_like=True, tag="take-over"):
    """`by` takes the charge of `owner`'s work (rule 13). Compared with the epoch when applied. `cases`: empty for
    all. From level 3 on (returning.py): `forced`: though whoever is in charge is heard; `until_ms`: it ends by itself
    at this time of the zones, 0 for not; `automatic`: handed back as soon as it is asked back."""

    owner: str
    by: str
    epoch: int
    reason: str
    cases: tuple[str, ...] = ()
    forced: bool = False
    until_ms: int = 0
    automatic: bool = False


class HandBack(Struct, frozen=True, array_like=True, tag="hand-back"):
    """The charge goes back to `owner` (rule 13): an operation in the issuer's own sequence. `now`, from level 3 on:
    though the owner has not asked for it, and so may not have handed in all it did."""

    owner: str
    reason: str
    cases: tuple[str, ...] = ()
    now: bool = False


class AskHandBack(Struct, frozen=True, array_like=True, tag="ask-hand-back"):
    """A site whose work was taken over is back and asks for it (level 3). It stands in the site's own sequence: when it
    is applied, all that the site did before has its verdict."""

    owner: str
    reason: str


class EndTakeOver(Struct, frozen=True, array_like=True, tag="end-take-over"):
    """The time is over for which the take-over of `epoch` was made (level 3). Handed in by a zone, compared with the
    zones' time when applied."""

    owner: str
    epoch: int


class DecideConflict(Struct, frozen=True, array_like=True, tag="decide-conflict"):
    """A person has looked at both values: this one holds. `subject` is "case" or "resource"."""

    subject: str
    id: str
    field: str
    key: str
    value: str


class RaiseLevel(Struct, frozen=True, array_like=True, tag="raise-level"):
    """The replicated feature level becomes `level`, from the next entry on."""

    level: int


class ForceNewCluster(Struct, frozen=True, array_like=True, tag="force-new-cluster"):
    """The cluster goes on with fewer voters than agreed to it, or from a backup: what was acknowledged after
    `from_index` may be missing from here on. Appended by the offline tool alone, to a stopped store, and accepted from
    nobody.

    `who` did it, and when (`wall_ms`); `from_cluster`: the id the cluster had; `generation`: the one that begins here,
    which is the state's and one; `cluster`: the new id, empty where it keeps its own.
    """

    who: str
    wall_ms: int
    from_cluster: str
    from_index: int
    generation: int
    cluster: str = ""


Command: TypeAlias = (
    ChangePriority
    | ChangeCareLevel
    | AddNote
    | SetStatus
    | EngageResource
    | ReleaseResource
    | TransferCase
    | CloseCase
    | ReopenCase
    | RegisterOrganisation
    | TakeOver
    | HandBack
    | AskHandBack
    | EndTakeOver
    | DecideConflict
    | RaiseLevel
    | ForceNewCluster
)
Payload: TypeAlias = Opening | Tombstone | Report | Command
