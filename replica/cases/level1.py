"""The rules of feature level 1: what one operation that the gate lets pass does to the state.

An entry is applied by the rules of the level it was appended under (levels.py). When a rule changes, this module and
those it names stay as they are under level 1, and the changed one stands in the module of the next level. The logs in
tests/recorded hold that: they are applied anew in the tests, and every verdict and every digest must be the recorded
one."""

from __future__ import annotations

from replica.cases.act import Act, refused
from replica.cases.commands import AskHandBack, EndTakeOver, Opening, Report, Tombstone
from replica.cases.decisions import apply_command
from replica.cases.reports import apply_report
from replica.cases.rules import Rules
from replica.cases.verdicts import Verdict

_LATER = (AskHandBack, EndTakeOver)


def decide(act: Act) -> Verdict:
    """The verdict on one operation, and in `act.draft` all that it changed."""
    payload = act.operation.payload
    if isinstance(payload, Report):
        return apply_report(act, payload)
    if isinstance(payload, Tombstone):
        return refused(f"the journal record could not be read: {payload.problem}")
    if isinstance(payload, Opening):
        return refused(f"an opening has number 0, not {act.operation.id.seq}")
    if isinstance(payload, _LATER):
        return refused("this needs feature level 3")
    return apply_command(act, payload)


LEVEL_1 = Rules(1, decide)
