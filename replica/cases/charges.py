"""Take-over and hand-back: who answers for a Samu's work (rule 13 of docs/offline.md).

A take-over is a quorum decision, compared with the epoch its author saw, and raises it. A hand-back is an operation
in the issuer's own sequence, so that it cannot overtake the issuer's writes before it; it raises the epoch too.
Both concern all of a Samu's work, or chosen cases. Everything is recorded: who, when, why, from which index.

Left out: who is heard, terms, and asking for a charge, which came with level 3 (returning.py)."""

from __future__ import annotations

from msgspec.structs import replace

from replica.cases import keys, registry
from replica.cases.act import Act, refused
from replica.cases.authority import Reach, charge_of, has_authority, is_in_charge
from replica.cases.commands import HandBack, TakeOver
from replica.cases.state import Charge, ChargeChange, Delegation
from replica.cases.subjects import Target, change_head, find
from replica.cases.verdicts import Verdict


def take_over(act: Act, command: TakeOver) -> Verdict:
    """`by` answers for the work of `owner` from here on. Refused where the epoch has moved since: look, and ask
    again."""
    samu, taker = registry.site_of(act.draft, command.owner), registry.site_of(act.draft, command.by)
    if not samu or not taker:
        return refused(f"no site of ours serves {command.by if samu else command.owner}")
    if act.drain:
        return refused("a fenced process takes nothing over")
    charge = charge_of(act.draft, samu)
    if command.epoch != charge.epoch:
        return refused(
            f"the epoch of {samu} is {charge.epoch} by now, not {command.epoch}: {charge.holder} is in charge"
        )
    if command.cases:
        return _take_cases(act, command, charge, taker)
    if charge.holder == taker:
        return refused(f"{taker} is in charge of {samu} already")
    epoch = charge.epoch + 1
    after = Charge(samu, taker, epoch, epoch, act.mark, act.index, charge.handed_index, charge.handed_by)
    return record(act, charge, after, taker, command.reason, ())


def _take_cases(act: Act, command: TakeOver, charge: Charge, taker: str) -> Verdict:
    targets = []
    for case in command.cases:
        target = find(act, "case", case)
        if target is None:
            return refused(f"there is no case {case}")
        if registry.site_of(act.draft, target.head.owner) != charge.samu:
            return refused(f"{case} is not a case of {charge.samu}")
        targets.append(target)
    after = replace(charge, epoch=charge.epoch + 1)
    delegate(act, targets, taker, after.epoch)
    return record(act, charge, after, taker, command.reason, command.cases)


def hand_back(act: Act, command: HandBack) -> Verdict:
    """The issuer gives the charge back to the Samu itself; only who holds it can."""
    samu = registry.site_of(act.draft, command.owner)
    if not samu:
        return refused(f"no site of ours serves {command.owner}")
    charge = charge_of(act.draft, samu)
    if command.cases:
        return _hand_back_cases(act, command, charge)
    held = Reach(samu, charge.holder, charge.since_epoch, charge.raised)
    if charge.holder == samu:
        return refused(f"{samu} is in charge of its own work")
    if not is_in_charge(act, held):
        return refused(f"{charge.holder} is in charge of {samu}, since epoch {charge.since_epoch}")
    epoch = charge.epoch + 1
    after = Charge(samu, samu, epoch, epoch, act.mark, charge.taken_index, act.index, act.site)
    return record(act, charge, after, samu, command.reason, ())


def _hand_back_cases(act: Act, command: HandBack, charge: Charge) -> Verdict:
    targets = []
    for case in command.cases:
        target = find(act, "case", case)
        if target is None:
            return refused(f"there is no case {case}")
        if registry.site_of(act.draft, target.head.owner) != charge.samu:
            return refused(f"{case} is not a case of {charge.samu}")
        if not has_authority(act, target.head):
            return refused(f"{act.site} is not in charge of {case}")
        targets.append(target)
    after = replace(charge, epoch=charge.epoch + 1)
    delegate(act, targets, charge.samu, after.epoch)
    return record(act, charge, after, charge.samu, command.reason, command.cases)


def delegate(act: Act, targets: list[Target], holder: str, epoch: int) -> None:
    """`holder` answers for these cases, since `epoch`."""
    for target in targets:
        change_head(act, target, charge=Delegation(holder, epoch, act.mark))


def record(act: Act, before: Charge, after: Charge, holder: str, reason: str, cases: tuple[str, ...]) -> Verdict:
    """Put the new charge in place, and what was before it on record. Returns the verdict."""
    act.draft.put(keys.charge(after.samu), after)
    operation = act.operation
    change = ChargeChange(
        after.samu,
        before.holder,
        holder,
        after.epoch,
        cases,
        reason,
        operation.author,
        operation.act_ms,
        act.time_ms,
        act.mark,
    )
    act.draft.put(keys.charge_change(after.samu, after.epoch), change)
    return act.verdict()
