"""The state machine: one entry of the agreed log in, verdicts and changed records out. The same on every replica.

`apply` is a pure function of the records, the entry and its place: no clock, no dice. It is total but for one
exception: an entry of a feature level that this release does not have stops the node (levels.py). Every decodable
operation gets a verdict, or is held at the gate with its number unused. A site's working view (rule 14) runs the same
code over its own journal, one operation at a time.

Left out: who may submit, how entries come to be agreed, and where records are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replica.cases import gate, keys
from replica.cases.act import Act, clamped
from replica.cases.commands import Opening
from replica.cases.draft import Draft, Traced
from replica.cases.gate import Gate
from replica.cases.level1 import LEVEL_1
from replica.cases.level2 import LEVEL_2
from replica.cases.level3 import LEVEL_3
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL, check_known
from replica.cases.operations import Batch, Operation, OperationId
from replica.cases.records import Overlay, Records
from replica.cases.rules import Rules
from replica.cases.state import HEAD, NUMBER, Judged, Kept
from replica.cases.verdicts import Decided, Effects, Finding, Verdict, VerdictKind

RULES: Mapping[int, Rules] = {rules.level: rules for rules in (LEVEL_1, LEVEL_2, LEVEL_3)}
"""Level → its rules: all that this release has. They are kept for as long as a log or a recording holds an entry of
theirs."""
assert sorted(RULES) == list(range(FIRST_LEVEL, HIGHEST_LEVEL + 1)), f"{sorted(RULES)}, {HIGHEST_LEVEL} is offered"


def apply(records: Records, batch: Batch, index: int, term: int, known: Mapping[int, Rules] = RULES) -> Effects:
    """Apply one entry of the log to `records`, which stay as they are.

    Returns the verdicts in the order of the operations, and the records that changed. Duplicates and operations
    that have to wait use no number and get no verdict; `Effects.held` names them with the gate's word, as hints.

    Raises UnknownLevel where the entry was appended under a level that is not in `known`, or raises the level to one:
    the node stops then, and nothing of the entry has happened. `known` is this release's; tests hand in another's.
    """
    check_known(batch.level, f"entry {index}", min(known), max(known))
    draft = Draft(records)
    before = draft.load(keys.LEVEL, NUMBER) or FIRST_LEVEL
    # Its leader took the level from a state that this one has behind it.
    assert batch.level <= before, f"entry {index} was appended under level {batch.level}, but the level is {before}"
    rules = known[batch.level]
    decided: list[Decided] = []
    held: list[tuple[OperationId, str]] = []
    for position, operation in enumerate(batch.operations):
        passed = gate.judge(draft, operation)
        if passed is Gate.OK:
            decided.append(_take(draft, operation, index, position, batch, rules))
        else:
            held.append((operation.id, passed.value))
    # A node that cannot apply what comes next stops here, not at the first entry of the new level: no store and no
    # working view ever stands at a level that its release does not have.
    check_known(draft.load(keys.LEVEL, NUMBER) or FIRST_LEVEL, f"what entry {index} raises", min(known), max(known))
    return Effects(index, term, batch.time_ms, tuple(decided), draft.finish(), tuple(held))


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What an undecided operation does to a working view: the verdict it may get, and the keys of the records that it
    looked at or set, but for those that only count (`is_count`). `scanned`: it also looked at all that begin with
    something."""

    decided: Decided
    touched: frozenset[bytes]
    written: frozenset[bytes]
    scanned: bool


def apply_tentative(
    overlay: Overlay, operation: Operation, index: int, time_ms: int, known: Mapping[int, Rules] = RULES
) -> Decided | None:
    """As `foresee`, for who wants the verdict alone."""
    seen = foresee(overlay, operation, index, time_ms, known)
    return None if seen is None else seen.decided


def foresee(
    overlay: Overlay,
    operation: Operation,
    index: int,
    time_ms: int,
    known: Mapping[int, Rules] = RULES,
    again: bool = False,
) -> Foreseen | None:
    """Apply one operation of a site's own journal to its working view: its own openings, and its own records of a
    closed incarnation, count as accepted (rule 14). None where the gate does not let it pass; the view is then as
    it was.

    `index` is any number above the applied index: what is read with it is *tentative*. The verdict is a forecast.
    `again`: the gate has let it pass in this view before, and its number is used up; what it did was taken out.
    """
    draft = Traced(overlay)
    if not again and gate.judge(draft, operation, mine=True) is not Gate.OK:
        return None
    # A site puts the zones' records in place and needs no rules for them, so it may be of an older release than its
    # cluster's level (the voters alone have to speak it). It goes on, and forecasts by the nearest rules it has.
    level = min(draft.load(keys.LEVEL, NUMBER) or FIRST_LEVEL, max(known))
    batch = Batch(time_ms, level, (), max(known))
    take = _take_again if again else _take
    decided = take(draft, operation, index, 0, batch, known[level])
    for key, value in draft.finish(with_digest=False):
        if key[:1] != keys.KEPT_VERDICTS:  # kept for the site itself: what is agreed of it stands below
            overlay.put(key, value)
    touched = frozenset(key for key in draft.touched if not is_count(key))
    written = frozenset(key for key in draft.written if not is_count(key))
    return Foreseen(decided, touched, written, draft.scanned)


def is_count(key: bytes) -> bool:
    """Whether a record only counts: lives and numbers of sites, and what is kept until they hold it."""
    return key[:1] in (keys.SITES, keys.STREAMS, keys.KEPT_VERDICTS)


def _take(draft: Draft, operation: Operation, index: int, position: int, batch: Batch, rules: Rules) -> Decided:
    """An operation that the gate let pass: its number is used up, its verdict counted, and kept if it needs to be."""
    if isinstance(operation.payload, Opening) and operation.id.seq == 0:
        gate.accept_opening(draft, operation, operation.payload)
        verdict = Verdict(VerdictKind.APPLIED)
        gate.count(draft, operation.id.site, verdict.kind)
        return Decided(operation.id, verdict)
    drain = gate.consume(draft, operation).drain
    verdict = _judge(draft, operation, index, position, batch, rules, drain)
    gate.count(draft, operation.id.site, verdict.kind)
    return Decided(operation.id, verdict)


def _take_again(draft: Draft, operation: Operation, index: int, position: int, batch: Batch, rules: Rules) -> Decided:
    """The same, of a number that is used up and counted."""
    stream = gate.load_stream(draft, operation.id.site, operation.id.incarnation)
    assert stream is not None, f"{operation.id} was taken before, and its life is not known"
    return Decided(operation.id, _judge(draft, operation, index, position, batch, rules, stream.drain))


def _judge(
    draft: Draft, operation: Operation, index: int, position: int, batch: Batch, rules: Rules, drain: bool
) -> Verdict:
    clock = clamped(operation.clock, batch.time_ms)
    act = Act(draft, operation, index, position, batch.time_ms, drain, clock, rules, batch.spoken, batch.heard)
    verdict = _repeated_key(draft, operation) or rules.decide(act)
    if verdict.kind is not VerdictKind.APPLIED:
        _keep(act, verdict)
    return verdict


def _repeated_key(draft: Draft, operation: Operation) -> Verdict | None:
    """A caller that tries again under its own key is told of the first time; nothing happens twice."""
    first = gate.first_with_key(draft, operation) if operation.key else None
    if first is None:
        return None
    return Verdict(VerdictKind.DUPLICATE, (Finding("", "", "", VerdictKind.DUPLICATE, "key", first),))


def _keep(act: Act, verdict: Verdict) -> None:
    """Every verdict other than applied is kept under its operation's id until the site holds it durably. It stands
    in the history of the case it was said about from the first, and stays there when the other is let go."""
    draft, ident = act.draft, act.operation.id
    kept = Kept(index=act.index, verdict=verdict)
    if act.anchor and draft.load(keys.head("case", act.anchor), HEAD) is not None:
        at = keys.judged(keys.parts("case", act.anchor), act.index, act.position, ident)
        name = str(act.operation.payload.__struct_config__.tag)
        operation = act.operation
        entry = Judged(ident, act.index, act.time_ms, operation.act_ms, operation.author, name, verdict)
        draft.put_new(at, entry)
        kept = Kept(at=at)
    draft.put_new(keys.kept_verdict(ident.site, ident.incarnation, ident.seq), kept)
