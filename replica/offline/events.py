"""What can happen to a site, and what it then wants done: events in, one `Todo` out, as in the log's core.

Every event carries `now_ms` of a clock that only goes forward. The wall clock, which may be wrong, comes only with
`Issue`."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from replica.cases.commands import Payload
from replica.cases.operations import Operation, OperationId
from replica.cases.verdicts import Effects, Verdict

if TYPE_CHECKING:
    from replica.offline.preview import Preview


class Mode(Enum):
    """CONNECTED → CUT_OFF → REPLAYING → CONNECTED: the table is in mode.py; entered and left without an operator."""

    CONNECTED = "connected"
    CUT_OFF = "cut-off"
    REPLAYING = "replaying"


class Tick(Struct, frozen=True):
    now_ms: int


class Issue(Struct, frozen=True):
    """Somebody here does or reports something. The receipt comes under `token`, within `budget_ms`.

    `act_ms` is when it happened in the world (0: now); `key` the caller's idempotency key or empty.
    """

    now_ms: int
    wall_ms: int
    token: int
    payload: Payload
    author: str
    budget_ms: int
    act_ms: int = 0
    key: str = ""


class Journalled(Struct, frozen=True):
    """All that Todo number `todo` (and those before it) asked to journal is durable."""

    now_ms: int
    todo: int


class JournalRefused(Struct, frozen=True):
    """The disk was full: nothing of what Todo number `todo` asked to journal was written."""

    now_ms: int
    todo: int
    problem: str


class LineUp(Struct, frozen=True):
    """A zone node is followed now: its feed goes on from our applied index, operations may be sent."""

    now_ms: int
    zone: int


class LineDown(Struct, frozen=True):
    """The line to the zone followed is gone. `closed`: the kernel said so, it is not a guess by silence."""

    now_ms: int
    zone: int
    closed: bool


class AllClosed(Struct, frozen=True):
    """No zone can be reached: since the line was lost each was tried, and the kernel closed or refused every one.

    Optional: whoever never steps it leaves the detection of a cut to silence (`cut_off_after_ms`).
    """

    now_ms: int


class Heard(Struct, frozen=True):
    """A heartbeat of the feed: in `term` a quorum has confirmed `commit`, at the leader's time `leader_ms` (wall).

    One that says nothing new on its line (a zone that repeats an old leader's time) confirms nothing.
    """

    now_ms: int
    term: int
    commit: int
    leader_ms: int


class Arrived(Struct, frozen=True):
    """Effects of the next entry; their records are already in the base state when this is stepped."""

    now_ms: int
    effects: Effects


class Replaced(Struct, frozen=True):
    """The whole base state was replaced by a zone's at (index, term): this site was too far behind for the feed."""

    now_ms: int
    index: int
    term: int


class Previewed(Struct, frozen=True):
    """A zone has sent this site its own cases as of a later entry than the copy's; the copy follows."""

    now_ms: int
    preview: Preview


class Recalled(Struct, frozen=True):
    """All that the store has of what `Todo.recall` asked for. `recall`: that question."""

    now_ms: int
    recall: tuple[tuple[bytes, int], ...]
    operations: tuple[Operation, ...]


class Flushed(Struct, frozen=True):
    """The base state up to `index`, and the verdicts that came with it, are durable here."""

    now_ms: int
    index: int


class Hinted(Struct, frozen=True):
    """A zone says that an operation was not taken (gap, stale, closed, no leader). A hint: the feed is the truth."""

    now_ms: int
    operation: OperationId
    why: str


Event: TypeAlias = (
    Tick
    | Issue
    | Journalled
    | JournalRefused
    | LineUp
    | LineDown
    | AllClosed
    | Heard
    | Arrived
    | Replaced
    | Previewed
    | Recalled
    | Flushed
    | Hinted
)


class Agreed(Struct, frozen=True):
    """A quorum has it at `index`; the verdict is known, and this site's own disk holds the operation too."""

    token: int
    operation: OperationId
    index: int
    verdict: Verdict


class KeptHere(Struct, frozen=True):
    """This site's disk has it; the verdict will follow (`journalled`)."""

    token: int
    operation: OperationId


class NotKnown(Struct, frozen=True):
    """The budget is over and neither this disk nor a quorum has answered."""

    token: int
    operation: OperationId


class TurnedAway(Struct, frozen=True):
    """Surely not done: not permitted here and now, or the disk is full, or this life of the site is fenced. `untold`:
    nobody can say at present whether it is permitted, since the record that says so is damaged; try again."""

    token: int
    why: str
    full: bool = False
    untold: bool = False


Receipt: TypeAlias = Agreed | KeptHere | NotKnown | TurnedAway


class Outcome(Struct, frozen=True):
    """What became of an operation of this site. `state`: "agreed", "journalled", "unknown" (never heard of, or not
    durable yet). `index` is 0 where it is not known any more (an old `applied`)."""

    state: str
    index: int = 0
    verdict: Verdict | None = None


class Decision(Struct, frozen=True):
    """A verdict on one of this site's own operations, to be stored in the site's local table with the next flush.

    `agreed_ms`: the leader's time of its entry, 0 where it is not known (it came with a whole state). `act`, `subject`:
    the command or message type, and what it names first; empty, as author and `act_ms`, where the journal does not
    hold the operation any more."""

    operation: OperationId
    index: int
    verdict: Verdict
    agreed_ms: int = 0
    act: str = ""
    subject: str = ""
    author: str = ""
    act_ms: int = 0


class Todo(Struct, frozen=True):
    """What the site's core wants done, in this order.

    1. `journal` (and `rewrite`, openings written anew under the same number) in one durable write, then `Journalled`.
    2. `send` to the zone followed: every operation here is durable already (rule 9).
    3. `receipts` to the callers. `decisions` into the local table with the next flush. `trim`: journal records up to
    and including these numbers may go (rule 15), in the transaction that keeps the counters.
    4. `recall`: look, per life, for its operations above that number in what the store still has or remembers, then
    `Recalled`. Only where the state lacks what was agreed (O17).
    """

    number: int
    journal: tuple[Operation, ...] = ()
    rewrite: tuple[Operation, ...] = ()
    send: tuple[Operation, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    decisions: tuple[Decision, ...] = ()
    trim: tuple[tuple[bytes, int], ...] = ()
    recall: tuple[tuple[bytes, int], ...] = ()
    mode: Mode | None = None
    notes: tuple[str, ...] = ()
