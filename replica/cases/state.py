"""What the records hold: one frozen type a kind, and its decoder.

A value never stands alone: it stands as `Held`, with who said it, when it happened, when it was agreed and by which
operation, because rule 10 (seen) and every reader need that. A field's values stand in a `Slot`: the siblings of
rule 4, the holder first, and beside them what strangers proposed."""

from __future__ import annotations

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder

from replica.cases.operations import HybridTime, OperationId
from replica.cases.verdicts import Verdict, VerdictKind


class Held(Struct, frozen=True, array_like=True):
    """One value, and where it came from.

    `index`: of the log entry; `time_ms`: the leader's time of that entry; `clock`: the author's hybrid clock,
    clamped to the leader's time + 500 ms, `said` the original where it was clamped; `act_ms`: when the act
    happened; `at_ms`: the value's own time, where its rule goes by it; `authority`: whether it was said with
    authority (rule 12); `before`: for an owner, the owner it replaced."""

    value: str
    operation: OperationId
    index: int
    time_ms: int
    clock: HybridTime
    act_ms: int
    at_ms: int
    author: str
    authority: bool
    before: str = ""
    said: HybridTime | None = None


class Slot(Struct, frozen=True, array_like=True):
    """A field's values: the holder first. More than one sibling is a conflict that waits for a person."""

    siblings: tuple[Held, ...] = ()
    proposed: tuple[Held, ...] = ()


NO_SLOT = Slot()


class Element(Struct, frozen=True, array_like=True):
    """One element of a union field, or a document. It never changes and never goes."""

    field: str
    key: str
    held: Held


class Mark(Struct, frozen=True, array_like=True):
    """An operation and where it stands in the log."""

    operation: OperationId
    index: int


class Delegation(Struct, frozen=True, array_like=True):
    """The charge of one case, where it was taken or handed back case by case."""

    holder: str
    epoch: int
    raised: Mark


class Head(Struct, frozen=True, array_like=True):
    """What is said of a case, resource or request as a whole; small, because lists read it.

    `owner` is the holder of the owner field, `status` a case's own status (its owner's), both kept here for lists.
    `opened` and `opened_by`: the operation and site that first named it. `created` is None while it is
    *incomplete*: only updates named it so far; `created_owner` the owner its creation named. `charge`: see
    `Delegation`. `same_as`: this incomplete case was opened under (organisation, sender's number), and that turned
    out to be case `same_as`, whose `linked` names this one."""

    kind: str
    id: str
    owner: str
    opened: Mark
    opened_ms: int
    created: Mark | None = None
    created_owner: str = ""
    status: str = ""
    charge: Delegation | None = None
    case: str = ""
    same_as: str = ""
    linked: tuple[str, ...] = ()

    @property
    def opened_by(self) -> str:
        return self.opened.operation.site

    @property
    def incomplete(self) -> bool:
        return self.created is None


class Stream(Struct, frozen=True, array_like=True):
    """One incarnation of a site (rule 4), never forgotten. `released`: kept verdicts up to here were let go;
    `behind`: the earlier incarnation whose kept verdicts are to be let go next, None for none."""

    last: int
    closed_at: int | None
    prev: bytes | None
    prev_last: int
    drain: bool
    released: int = 0
    behind: bytes | None = None


class SiteRecord(Struct, frozen=True, array_like=True):
    """A site (rule 4). `counters`: verdicts by kind, in the order of `VerdictKind`. `keyed`: how many of its operations
    carried a caller's key."""

    site: str
    current: bytes | None
    restored: bool
    counters: tuple[int, ...]
    keyed: int = 0


class Kept(Struct, frozen=True, array_like=True):
    """A verdict other than applied, until its site holds it durably. It stands in the case's history (`at`, a key),
    or here where there is no such case."""

    at: bytes = b""
    index: int = 0
    verdict: Verdict | None = None


class Judged(Struct, frozen=True, array_like=True):
    """A verdict in a case's history."""

    operation: OperationId
    index: int
    time_ms: int
    act_ms: int
    author: str
    act: str
    verdict: Verdict


class Past(Struct, frozen=True, array_like=True):
    """A value that does not hold any more, or never did: what became of it, by which rule and which operation."""

    subject_kind: str
    subject: str
    field: str
    key: str
    held: Held
    kind: VerdictKind
    rule: str
    by: OperationId
    by_index: int


class Organisation(Struct, frozen=True, array_like=True):
    """An entry of the registry: `alias` is `organisation`, served by `site` (empty: see registry.py)."""

    alias: str
    organisation: str
    site: str
    entered: Mark
    author: str


class Charge(Struct, frozen=True, array_like=True):
    """Who answers for a Samu's work (rule 13). No record: the Samu itself, epoch 1, never raised.

    `epoch` counts every take-over and hand-back, and is what a take-over is compared with; `since_epoch` and
    `raised` are of the last one that concerned all of the work. A delegation of one case counts if it is younger
    than `taken_index`, the last take-over of everything, and was not its holder's to hand back with everything at
    `handed_index`."""

    samu: str
    holder: str
    epoch: int
    since_epoch: int
    raised: Mark | None
    taken_index: int = 0
    handed_index: int = 0
    handed_by: str = ""


class ChargeChange(Struct, frozen=True, array_like=True):
    """One take-over or hand-back, kept for ever: who, when, why, from which index."""

    samu: str
    before: str
    holder: str
    epoch: int
    cases: tuple[str, ...]
    reason: str
    author: str
    act_ms: int
    time_ms: int
    mark: Mark


class ChargeTerms(Struct, frozen=True, array_like=True):
    """Under which terms a take-over of level 3 was made: `cases` empty for all of the work; `until_ms` 0: until it is
    handed back. `ended`: the operation that ended it, None while it stands."""

    samu: str
    epoch: int
    holder: str
    cases: tuple[str, ...]
    forced: bool
    until_ms: int
    automatic: bool
    mark: Mark
    ended: Mark | None = None


class ChargeTurns(Struct, frozen=True, array_like=True):
    """The epochs in which all of a Samu's work was last taken over, and last given back; 0: not since level 3."""

    taken_epoch: int = 0
    handed_epoch: int = 0


NO_TURNS = ChargeTurns()


class ChargeAsk(Struct, frozen=True, array_like=True):
    """The last time that a Samu asked for its work: back, with all it did handed in."""

    samu: str
    reason: str
    author: str
    act_ms: int
    time_ms: int
    mark: Mark


class Generation(Struct, frozen=True, array_like=True):
    """One time that the cluster was forced new, kept for ever: who, when, out of which cluster, from which index on.
    The one of the highest number is present; none: the cluster is as it was founded, which is generation 0."""

    number: int
    who: str
    wall_ms: int
    from_cluster: str
    from_index: int
    cluster: str
    time_ms: int
    mark: Mark


class Run(Struct, frozen=True, array_like=True):
    """One mission of a resource for a case: its number, its furthest status, whether that ended it."""

    n: int
    held: Held
    ended: bool


class Mission(Struct, frozen=True, array_like=True):
    """All missions of one resource for one case. `engaged`: an engagement was accepted for the last run already."""

    resource: str
    runs: tuple[Run, ...] = ()
    engaged: bool = False


class Step(Struct, frozen=True, array_like=True):
    """One status that was reported, in the mission it was counted to."""

    resource: str
    case: str
    n: int
    held: Held


class Current(Struct, frozen=True, array_like=True):
    """The mission whose status is the resource's: the one begun last; `cases`: the last cases it was sent to."""

    case: str
    n: int
    cases: tuple[str, ...] = ()


class SubjectDigest(Struct, frozen=True, array_like=True):
    """The sum over one subject's records, and the owner to whose sum it is added at present."""

    owner: str
    total: bytes


class ConflictRecord(Struct, frozen=True, array_like=True):
    """That a slot holds more than one value, so that open conflicts are found without reading every case."""

    kind: str
    id: str
    field: str
    key: str
    since: int
    since_ms: int


SITE = Decoder(SiteRecord)
STREAM = Decoder(Stream)
KEPT = Decoder(Kept)
JUDGED = Decoder(Judged)
PAST = Decoder(Past)
ORGANISATION = Decoder(Organisation)
CHARGE = Decoder(Charge)
CHARGE_CHANGE = Decoder(ChargeChange)
CHARGE_TERMS = Decoder(ChargeTerms)
CHARGE_TURNS = Decoder(ChargeTurns)
CHARGE_ASK = Decoder(ChargeAsk)
GENERATION = Decoder(Generation)
HEAD = Decoder(Head)
SLOT = Decoder(Slot)
GROUP = Decoder(dict[str, Raw])
ELEMENT = Decoder(Element)
MISSION = Decoder(Mission)
STEP = Decoder(Step)
CURRENT = Decoder(Current)
SUBJECT_DIGEST = Decoder(SubjectDigest)
CONFLICT = Decoder(ConflictRecord)
IDENTITY = Decoder(OperationId)
NAMES = Decoder(tuple[str, ...])
HASHES = Decoder(tuple[bytes, ...])
NUMBER = Decoder(int)
BYTES = Decoder(bytes)
