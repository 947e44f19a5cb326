"""The state machine: one entry of the agreed log in, verdicts and changed records out. The same on every replica.

`apply` is a pure function of the records, the entry and its place: no clock, no dice. It is total but for one
exception: an entry of a feature level that this release does not have stops the node (levels.py). Every decodable
operation gets a verdict, or is held at the gate with its number unused. A site's working view (rule 14) runs the same
code over its own journal, one operation at a time.

Left out: who may submit, how entries come to be agreed, and where records are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from replica.cases import gate, keys
from replica.cases.act import Act, clamped
from replica.cases.commands import Opening
from replica.cases.draft import Draft
from replica.cases.gate import Gate
from replica.cases.level1 import LEVEL_1
from replica.cases.level2 import LEVEL_2
from replica.cases.levels import FIRST_LEVEL, HIGHEST_LEVEL, check_known
from replica.cases.operations import Batch, Operation, OperationId
from replica.cases.records import Overlay, Records
from replica.cases.rules import Rules
from replica.cases.state import HEAD, NUMBER, Judged, Kept
from replica.cases.verdicts import Decided, Effects, Finding, Verdict, VerdictKind

RULES: Mapping[int, Rules] = {rules.level: rules for rules in (LEVEL_1, LEVEL_2)}
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
            decided.append(_take(draft, operation, index, position, batch.time_ms, rules, batch.spoken))
        else:
            held.append((operation.id, passed.value))
    # A node that cannot apply what comes next stops here, not at the first entry of the new level: no store and no
    # working view ever stands at a level that its release does not have.
    check_known(draft.load(keys.LEVEL, NUMBER) or FIRST_LEVEL, f"what entry {index} raises", min(known), max(known))
    return Effects(index, term, batch.time_ms, tuple(decided), draft.finish(), tuple(held))


def apply_tentative(
    overlay: Overlay, operation: Operation, index: int, time_ms: int, known: Mapping[int, Rules] = RULES
) -> Decided | None:
    """Apply one operation of a site's own journal to its working view: its own openings, and its own records of a
    closed incarnation, count as accepted (rule 14). None where the gate does not let it pass; the view is then as
    it was.

    `index` is any number above the applied index: what is read with it is *tentative*. The verdict is a forecast.
    """
    draft = Draft(overlay)
    if gate.judge(draft, operation, mine=True) is not Gate.OK:
        return None
    # A site puts the zones' records in place and needs no rules for them, so it may be of an older release than its
    # cluster's level (the voters alone have to speak it). It goes on, and forecasts by the nearest rules it has.
    level = min(draft.load(keys.LEVEL, NUMBER) or FIRST_LEVEL, max(known))
    decided = _take(draft, operation, index, 0, time_ms, known[level], max(known))
    for key, value in draft.finish(with_digest=False):
        overlay.put(key, value)
    return decided


def _take(
    draft: Draft, operation: Operation, index: int, position: int, time_ms: int, rules: Rules, spoken: int
) -> Decided:
    """An operation that the gate let pass: its number is used up, its verdict counted, and kept if it needs to be."""
    if isinstance(operation.payload, Opening) and operation.id.seq == 0:
        gate.accept_opening(draft, operation, operation.payload)
        verdict = Verdict(VerdictKind.APPLIED)
        gate.count(draft, operation.id.site, verdict.kind)
        return Decided(operation.id, verdict)
    stream = gate.consume(draft, operation)
    clock = clamped(operation.clock, time_ms)
    act = Act(draft, operation, index, position, time_ms, stream.drain, clock, rules, spoken)
    verdict = _repeated_key(draft, operation) or rules.decide(act)
    gate.count(draft, operation.id.site, verdict.kind)
    if verdict.kind is not VerdictKind.APPLIED:
        _keep(act, verdict)
    return Decided(operation.id, verdict)


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
        draft.put(at, entry)
        kept = Kept(at=at)
    draft.put(keys.kept_verdict(ident.site, ident.incarnation, ident.seq), kept)
