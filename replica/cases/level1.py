"""The rules of feature level 1: what one operation that the gate lets pass does to the state.

An entry is applied by the rules of the level it was appended under (docs/architecture.md, "Years"). When a rule
changes, this module and those it names stay as they are under level 1, and the changed ones stand beside them under
the next."""

from __future__ import annotations

from replica.cases.act import Act, refused
from replica.cases.commands import Opening, Report, Tombstone
from replica.cases.decisions import apply_command
from replica.cases.reports import apply_report
from replica.cases.verdicts import Verdict

LEVEL = 1


def decide(act: Act) -> Verdict:
    """The verdict on one operation, and in `act.draft` all that it changed."""
    payload = act.operation.payload
    if isinstance(payload, Report):
        return apply_report(act, payload)
    if isinstance(payload, Tombstone):
        return refused(f"the journal record could not be read: {payload.problem}")
    if isinstance(payload, Opening):
        return refused(f"an opening has number 0, not {act.operation.id.seq}")
    return apply_command(act, payload)
