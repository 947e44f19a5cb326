"""What became of this site's own acts, by the time it was agreed: the answer to "what did we do, and what of it".

Every act with a verdict has a record in the local table, `applied` ones too, which the replicated state does not keep
(docs/offline.md, "Verdicts kept"). Records are forgotten after `limits.verdict_days`; what was no plain `applied`
stands in its case's history all the same.

Leaves out: acts without a verdict, which are in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from struct import Struct as Pack

import msgspec
from msgspec import Struct

from replica.cases import queries
from replica.cases.judging import kept_of_site, of_case
from replica.cases.operations import OperationId
from replica.cases.reading import finding_view
from replica.cases.records import Records
from replica.cases.verdicts import Verdict
from replica.cases.views import VerdictView
from replica.offline.events import Decision
from replica.runtime.state import State

ACTS = b"acts/"
WINDOW_BYTES = 5
"""Of the eight bytes of a time: records are looked for window by window, 2**24 ms (four and a half hours) each, so that
the newest are found without reading the rest."""
WINDOW_MS = 1 << (8 * (8 - WINDOW_BYTES))
FORGET_AT_ONCE = 2000
AHEAD_MS = 86_400_000
"""Records of a time to come are looked for this far: zones' clocks may have been set back since."""
_TIME = Pack(">Q")


class Act(Struct, frozen=True, array_like=True):
    """One act of this site. `act`: the command, or the message's type; `subject`: the case or resource it names
    first."""

    incarnation: bytes
    seq: int
    index: int
    verdict: Verdict
    agreed_ms: int
    act_ms: int
    author: str
    act: str
    subject: str


class Asked(Struct, frozen=True):
    """Which verdicts somebody wants to see. `site` empty: this one's, or with `case` everybody's. `kind`: "applied",
    "merged" …, empty for all. `since_ms`: agreed then (zone time) or later. `limit`: the newest so many."""

    site: str = ""
    case: str = ""
    kind: str = ""
    operation: str = ""
    since_ms: int = 0
    limit: int = 1000


class ActView(VerdictView, frozen=True, omit_defaults=True):
    """A verdict, and the case or resource that the act named first."""

    subject: str = ""


class Verdicts(Struct, frozen=True):
    """`counts`: all verdicts ever given to the site asked about, by kind. `whole`: whether every one of them that is
    remembered was looked at; else only those that the replicated state keeps, and `applied` is not among them."""

    verdicts: tuple[ActView, ...]
    counts: dict[str, int]
    whole: bool


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Act).decode


class Acts:
    """The acts of one site, in its local table."""

    def __init__(self, site: str, state: State) -> None:
        self._site = site
        self._state = state

    def keep(self, decision: Decision, agreed_ms: int) -> None:
        """Remember what became of one. `agreed_ms`: for where the entry's own time is not known."""
        name, at_ms = decision.operation, decision.agreed_ms or agreed_ms
        act = Act(
            name.incarnation,
            name.seq,
            decision.index,
            decision.verdict,
            at_ms,
            decision.act_ms,
            decision.author,
            decision.act,
            decision.subject,
        )
        self._state.put_local(_key(act), _encode(act))

    def newest(self, since_ms: int, until_ms: int) -> Iterator[tuple[OperationId, Act]]:
        """Those agreed in this time (zone time, both ends included), the newest first."""
        for window in range(until_ms // WINDOW_MS, since_ms // WINDOW_MS - 1, -1):
            prefix = ACTS + _TIME.pack(window * WINDOW_MS)[:WINDOW_BYTES]
            for _, record in reversed(list(self._state.scan_local(prefix))):
                act = _decode(record)
                if since_ms <= act.agreed_ms <= until_ms:
                    yield OperationId(self._site, act.incarnation, act.seq), act

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest one that is remembered was agreed; None where there is none."""
        first = next(iter(self._state.scan_local(ACTS)), None)
        return None if first is None else _TIME.unpack(first[0][len(ACTS) : len(ACTS) + 8])[0]

    def forget(self, before_ms: int) -> list[OperationId]:
        """Let go of what was agreed before, some thousands at a time. Returns which."""
        gone = []
        for key, record in islice(self._state.scan_local(ACTS), FORGET_AT_ONCE):
            act = _decode(record)
            if act.agreed_ms >= before_ms:
                break
            gone.append(OperationId(self._site, act.incarnation, act.seq))
            self._state.put_local(key, None)
        return gone


def verdicts(asked: Asked, me: str, acts: Acts | None, records: Records, index: int, now_ms: int) -> Verdicts:
    """What became of acts, the newest first. `me`: the site whose `acts` are asked (None at a zone); `records`,
    `index`: the state, agreed up to there; `now_ms`: zone time."""
    of = asked.site or ("" if asked.case else me)
    found, whole = _found(asked, of, acts if of == me else None, records, index, now_ms)
    chosen = sorted(islice(filter(_wanted(asked), found), asked.limit), key=lambda one: (-one.index, one.operation))
    known = queries.site(records, of) if of else None
    return Verdicts(tuple(chosen), {} if known is None else known.verdicts, whole)


def _found(
    asked: Asked, of: str, acts: Acts | None, records: Records, index: int, now_ms: int
) -> tuple[Iterator[ActView], bool]:
    if asked.case:
        return (_with_subject(view, asked.case) for view in of_case(records, asked.case, index)), False
    if acts is None:
        return (_with_subject(view, "") for view in kept_of_site(records, of, index)), False
    since_ms = max(asked.since_ms, acts.oldest_ms or now_ms)
    return (_view(name, act) for name, act in acts.newest(since_ms, now_ms + AHEAD_MS)), True


def _wanted(asked: Asked) -> Callable[[ActView], bool]:
    def is_wanted(one: ActView) -> bool:
        return (
            (not asked.site or one.operation.startswith(f"{asked.site}/"))
            and (not asked.kind or one.kind == asked.kind)
            and (not asked.operation or one.operation == asked.operation)
            and one.agreed_ms >= asked.since_ms
        )

    return is_wanted


def _with_subject(view: VerdictView, subject: str) -> ActView:
    return ActView(**{name: getattr(view, name) for name in view.__struct_fields__}, subject=subject)


def _view(name: OperationId, act: Act) -> ActView:
    return ActView(
        str(name),
        act.act,
        act.author,
        act.act_ms,
        act.agreed_ms,
        act.index,
        act.verdict.kind.value,
        tuple(finding_view(finding) for finding in act.verdict.findings),
        act.verdict.reason,
        subject=act.subject,
    )


def _key(act: Act) -> bytes:
    return ACTS + _TIME.pack(max(0, act.agreed_ms)) + act.incarnation + _TIME.pack(act.seq)
