"""Who may decide what: charges, epochs, and the table of what a site may do connected and cut off (rules 12 and 13).

Authority is data. Each case and resource has an owner, an organisation; the registry says which site serves it; the
*charge* of that site's work lies with the site itself until somebody takes it over, which raises its epoch. An
operation has authority over a subject iff its site is in charge, its author had seen the raising of the epoch, and
it does not come from a draining incarnation. Without authority nothing is lost: reports merge as a stranger's,
decisions are kept as *proposed*.

Cases a site opens after its work was taken over are its own (rule 13): it could not know, and nobody else knows of
them.

Left out: whether a site is heard at present (a take-over of a site that is heard wants a reason); the runtime asks
that."""

from __future__ import annotations

from enum import Enum
from typing import get_args

from msgspec import Struct

from replica.cases import keys, registry
from replica.cases.act import Act
from replica.cases.commands import (
    AskHandBack,
    Command,
    DecideConflict,
    EndTakeOver,
    HandBack,
    RaiseLevel,
    RegisterOrganisation,
    TakeOver,
    TransferCase,
)
from replica.cases.draft import Draft, drafted
from replica.cases.fields import FIELDS, Rule
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.records import Records
from replica.cases.state import CHARGE, CHARGE_TURNS, HEAD, NO_TURNS, Charge, Delegation, Head, Mark

FIRST_EPOCH = 1


class Reach(Struct, frozen=True):
    """Who is in charge of a subject: `holder` (a site; empty: nobody of ours), in place of `samu`, the site that
    serves its owner. `epoch` and `raised`: of the last change that concerns this subject; None: never raised."""

    samu: str
    holder: str
    epoch: int = FIRST_EPOCH
    raised: Mark | None = None


NOBODY = Reach("", "")


def charge_of(draft: Draft, samu: str) -> Charge:
    return draft.load(keys.charge(samu), CHARGE) or Charge(samu, samu, FIRST_EPOCH, FIRST_EPOCH, None)


def reach(draft: Draft, head: Head) -> Reach:
    """Who is in charge of this case, resource or request now."""
    samu = registry.site_of(draft, head.owner)
    if not samu:
        return NOBODY
    charge = draft.load(keys.charge(samu), CHARGE)
    if charge is None:
        return Reach(samu, samu)
    delegation = head.charge
    if delegation is not None and _stands(draft, charge, delegation):
        return Reach(samu, delegation.holder, delegation.epoch, delegation.raised)
    turns = draft.load(keys.charge_turns(samu), CHARGE_TURNS) or NO_TURNS
    if turns.taken_epoch and head.opened_by == samu and head.opened.index > charge.taken_index:
        # Its own since it was opened, and not given back with the rest: from level 3 on that stays so afterwards.
        return Reach(samu, samu)
    taken = charge.raised if charge.holder != samu else None
    if taken is not None and head.opened_by == samu and head.opened.index > taken.index:
        return Reach(samu, samu)
    return Reach(samu, charge.holder, charge.since_epoch, charge.raised)


def _stands(draft: Draft, charge: Charge, delegation: Delegation) -> bool:
    """Whether the charge of one case is still its own: it is younger than the last take-over of everything, and was not
    its holder's to hand back with everything.

    Several turns may stand in one entry, so from level 3 on they are compared by their epochs, of which no two are the
    same; before that by the index of their entries.
    """
    turns = draft.load(keys.charge_turns(charge.samu), CHARGE_TURNS) or NO_TURNS
    is_younger = delegation.raised.index > charge.taken_index
    is_older = delegation.raised.index < charge.handed_index
    if turns.taken_epoch:
        is_younger = delegation.epoch > turns.taken_epoch
    if turns.handed_epoch:
        is_older = delegation.epoch < turns.handed_epoch
    return is_younger and not (delegation.holder == charge.handed_by and is_older)


def has_authority(act: Act, head: Head) -> bool:
    """Rule 12: owner, and current epoch, and not drain."""
    return not act.drain and is_in_charge(act, reach(act.draft, head))


def is_in_charge(act: Act, held: Reach) -> bool:
    if not held.holder or held.holder != act.site:
        return False
    if held.raised is None:
        return True
    if held.samu == act.site and act.operation.epoch < held.epoch:
        return False
    return act.seen(held.raised.operation, held.raised.index)


def serves(act: Act, organisation: str) -> bool:
    """Whether the operation's site is in charge of `organisation`'s work as a whole: it may receive a case for it."""
    samu = registry.site_of(act.draft, organisation)
    if not samu or act.drain:
        return False
    charge = charge_of(act.draft, samu)
    return is_in_charge(act, Reach(samu, charge.holder, charge.since_epoch, charge.raised))


def is_nobodys(draft: Draft, head: Head) -> bool:
    """Owned by an organisation that no site of ours serves: nobody's say is limited by another's."""
    return not registry.site_of(draft, head.owner)


def epoch_of(records: Records, site: str) -> int:
    """The epoch of a site's own work as `records` shows it: what the site writes into its operations (rule 1)."""
    return charge_of(drafted(records), site).epoch


# --- the table ---


class Place(Enum):
    """Where the charge of a command's subject lies, as the asking site sees it."""

    HERE = "owner here"
    ELSEWHERE = "owner elsewhere"
    NOBODY = "nobody's"


class PermissionKind(Enum):
    ALLOWED = "allowed"
    NOTE = "allowed as a note"
    """It goes in, as a stranger's: merged by the rules, or kept as proposed for whoever is in charge."""
    REFUSED = "refused: needs the others"


_A, _N, _R = PermissionKind.ALLOWED, PermissionKind.NOTE, PermissionKind.REFUSED
_HERE, _ELSE, _NONE = Place.HERE, Place.ELSEWHERE, Place.NOBODY

Row = dict[tuple[Place, bool], PermissionKind]


def _row(here: str, elsewhere: str, nobody: str) -> Row:
    """Two letters each: connected, cut off. A allowed, N as a note, R refused."""
    letters = {"A": _A, "N": _N, "R": _R}
    cells = ((_HERE, here), (_ELSE, elsewhere), (_NONE, nobody))
    return {(place, line): letters[two[0 if line else 1]] for place, two in cells for line in (True, False)}


TABLE: dict[str, Row] = {
    #                              here  elsewhere  nobody's    (connected, cut off)
    "change-priority": _row("AA", "NN", "NN"),
    "change-care-level": _row("AA", "NN", "NN"),
    "add-note": _row("AA", "NN", "NN"),
    "set-status": _row("AA", "NN", "NN"),
    "engage-resource": _row("AA", "NR", "AR"),
    "release-resource": _row("AA", "NR", "AR"),
    "transfer-case": _row("AR", "NR", "AR"),
    "close-case": _row("AA", "NR", "AR"),
    "reopen-case": _row("AA", "NR", "AR"),
    "register-organisation": _row("AR", "AR", "AR"),
    "take-over": _row("AR", "AR", "AR"),
    "hand-back": _row("AR", "RR", "RR"),
    "ask-hand-back": _row("RR", "AA", "RR"),
    "end-take-over": _row("AR", "AR", "AR"),
    "decide-conflict": _row("AA", "NR", "AR"),
    "decide-conflict (owner)": _row("AR", "NR", "AR"),
    "raise-level": _row("AR", "AR", "AR"),
    "force-new-cluster": _row("RR", "RR", "RR"),
}
"""Command × (owner here / elsewhere / nobody's) × (connected, cut off). `replica authority` and docs/offline.md
print it."""

REASONS: dict[str, str] = {
    "transfer-case": "the charge of a case changes by a quorum's decision, and no quorum can be asked while cut off",
    "register-organisation": "the registry changes by a quorum's decision, and no quorum can be asked while cut off",
    "take-over": "a take-over is a quorum's decision, and no quorum can be asked while cut off",
    "end-take-over": "a take-over ends by a quorum's decision, and no quorum can be asked while cut off",
    "raise-level": "every voter has to know the new level, and none can be asked while cut off",
    "decide-conflict (owner)": "the charge of a case changes by a quorum's decision; none can be asked while cut off",
    "force-new-cluster": "only the offline tool forces a cluster new, on a stopped node's store",
}
"""Why a cell refuses, where it is not only that the subject's owner cannot be asked."""


class Permission(Struct, frozen=True):
    """What a site may tell the person who asks. `reason` is empty where it is plainly allowed."""

    kind: PermissionKind
    reason: str = ""


def tag_of(command: Command) -> str:
    """The command's name in the table."""
    tag = str(command.__struct_config__.tag)
    if isinstance(command, DecideConflict):
        field = FIELDS.get(command.subject, {}).get(command.field)
        if field is not None and field.rule is Rule.OWNER:
            return "decide-conflict (owner)"
    return tag


NEVER_REFUSED = frozenset(tag for tag, row in TABLE.items() if _R not in row.values())
"""What anybody may say of a subject that is known, connected or not: the verdict tells what it came to."""


def refusal(records: Records, site: str, command: Command, connected: bool) -> str | None:
    """Why `permitted` refuses; None where it does not. For most commands it is enough that their subject is there."""
    if str(command.__struct_config__.tag) in NEVER_REFUSED:
        subject = subject_of(command)
        if subject is None or records.get(keys.head(*subject)) is not None:
            return None
    answer = permitted(records, site, command, connected)
    return answer.reason if answer.kind is _R else None


def permitted(records: Records, site: str, command: Command, connected: bool) -> Permission:
    """May `site` do this now, by `records` (its working view), before anything is journalled?

    REFUSED: tell the person the reason and journal nothing. NOTE: journal it; the verdict will be merged or proposed.
    """
    draft, tag = drafted(records), tag_of(command)
    subject = subject_of(command)
    head = None
    if subject is not None:
        head = draft.load(keys.head(*subject), HEAD)
        if head is None:
            return Permission(_R, f"there is no {subject[0]} {subject[1]} here")
    if isinstance(command, RaiseLevel) and command.level > HIGHEST_LEVEL:
        return Permission(_R, f"this release knows feature levels up to {HIGHEST_LEVEL}")
    place, holder = _place(draft, site, command, head)
    kind = TABLE[tag][(place, connected)]
    if kind is _A:
        return Permission(kind)
    whose = f"{holder} is in charge" if holder else "it is nobody's"
    if kind is _N:
        return Permission(kind, f"{whose}; it goes in as a note or a proposal")
    if isinstance(command, HandBack):
        return Permission(kind, f"{holder or command.owner} is in charge" if place is not _HERE else "cut off")
    if isinstance(command, AskHandBack):
        said = f"{site} is in charge of it" if place is _HERE else f"{command.owner} is not served here"
        return Permission(kind, said)
    return Permission(kind, REASONS.get(tag, f"{whose}, and the others cannot be asked while cut off"))


def _place(draft: Draft, site: str, command: Command, head: Head | None) -> tuple[Place, str]:
    if isinstance(command, HandBack):
        holder = _holder_of_all(draft, command)
        return (_HERE, holder) if holder == site else (_ELSE, holder)
    if isinstance(command, AskHandBack):
        return _place_of_work(draft, site, command)
    if head is None:
        return _NONE, ""
    holder = reach(draft, head).holder
    if isinstance(command, TransferCase) and holder and holder != site:
        samu = registry.site_of(draft, command.to)
        if samu and charge_of(draft, samu).holder == site:
            return _HERE, site  # who receives a case may take it as well as who gives it
    if not holder:
        return _NONE, ""
    return (_HERE, site) if holder == site else (_ELSE, holder)


def _place_of_work(draft: Draft, site: str, command: AskHandBack) -> tuple[Place, str]:
    """Where the charge of this site's own work lies; nobody's where it is another's work that is asked for."""
    if registry.site_of(draft, command.owner) != site:
        return _NONE, ""
    holder = charge_of(draft, site).holder
    taken = holder != site or any(True for _ in draft.scan(keys.all_charge_terms(site)))
    return (_ELSE, holder) if taken else (_HERE, site)


def _holder_of_all(draft: Draft, command: HandBack) -> str:
    """The one holder of all that is to be handed back; empty where there is none or more than one."""
    samu = registry.site_of(draft, command.owner)
    if not command.cases:
        holder = charge_of(draft, samu).holder if samu else ""
        return "" if holder == samu else holder
    heads = [draft.load(keys.head("case", case), HEAD) for case in command.cases]
    holders = {reach(draft, head).holder if head is not None else "" for head in heads}
    return holders.pop() if len(holders) == 1 else ""


_OF_NO_SUBJECT = (TakeOver, HandBack, AskHandBack, EndTakeOver, RegisterOrganisation)


def _named_by(command: type) -> str:
    """The kind that a command's field of the same name names, a resource before a case; empty for none."""
    fields: tuple[str, ...] = getattr(command, "__struct_fields__", ())
    if command in _OF_NO_SUBJECT:
        return ""
    return next((kind for kind in ("resource", "case") if kind in fields), "")


_NAMED = {command: _named_by(command) for command in get_args(Command)}
"""Looked up for each operation several times, so it is found out once."""


def subject_of(command: Command) -> tuple[str, str] | None:
    """(kind, id) of the case or resource whose owner has to be asked; None where it is about neither."""
    kind = _NAMED[type(command)]
    if kind:
        return kind, getattr(command, kind)
    if isinstance(command, DecideConflict) and command.subject in keys.PARTS:
        return command.subject, command.id
    return None


assert {str(command.__struct_config__.tag) for command in get_args(Command)} <= set(TABLE), "a command without a row"
