"""The charge of a case: its creation, its transfer, and its status, which is its owner's.

An owner named at the creation holds at the creation only: a re-sent RS-EDA never takes a case back. Afterwards only
a transfer changes it, from the present owner or by the named new one; anybody else's is *proposed*. Messages
overtake each other: a transfer may come before the creation it follows, and still holds when the creation arrives.
"""

from __future__ import annotations

from msgspec.structs import replace

from replica.cases import registry
from replica.cases.act import NO_AUTHORITY, Act
from replica.cases.authority import has_authority, is_nobodys, reach, serves
from replica.cases.fields import CASE_STATUSES, Rule
from replica.cases.merge import Outcome, furthest, keep_all, replaced, values_differ
from replica.cases.state import Held, Slot
from replica.cases.subjects import (
    CASE,
    Target,
    change_head,
    propose,
    put_slot,
    remember,
    settle,
    slot_of,
    split,
    write,
)
from replica.cases.verdicts import VerdictKind

OWNER = CASE["owner"]
STATUS = CASE["status"]
CLOSED_STATUSES = frozenset(CASE_STATUSES[CASE_STATUSES.index("CLOTURE") :])
"""A case whose own status is one of these is closed."""


def create(act: Act, target: Target, owner: str) -> None:
    """A message that creates the case. The first one completes it; a later one is a re-send."""
    head = target.head
    if head.created is not None:
        _resend(act, target, owner)
        return
    change_head(act, target, created=act.mark, created_owner=owner)
    if not owner:
        return
    slot = slot_of(act, target, OWNER)
    if not slot.siblings:
        target.authority = has_authority(act, replace(target.head, owner=owner))
    new = act.held(owner, target.authority)
    if slot.siblings:
        # A transfer overtook the creation: the owner it was created with is the past of the one that holds.
        if not registry.is_same(act.draft, owner, slot.siblings[0].value):
            remember(act, target, OWNER, "", new, VerdictKind.SUPERSEDED, Rule.OWNER.value, slot.siblings[0])
            act.find(target.id, "owner", "", VerdictKind.SUPERSEDED, Rule.OWNER.value, slot.siblings[0].operation)
        return
    _settle_owner(act, target, slot, replaced((), new))
    _accept_from_creator(act, target)


def _accept_from_creator(act: Act, target: Target) -> None:
    """A transfer that came before the creation was proposed, since nobody knew whose the case was; if it came from
    the owner now known, it holds."""
    slot = slot_of(act, target, OWNER)
    holder = reach(act.draft, target.head).holder
    for held in slot.proposed:
        if holder and held.operation.site == holder:
            rest = tuple(other for other in slot.proposed if other is not held)
            before = slot.siblings[0]
            accepted = replace(held, before=before.value)
            remember(act, target, OWNER, "", before, VerdictKind.MERGED, Rule.OWNER.value, accepted)
            _put_owner(act, target, slot, Slot((accepted,), rest))
            return


def _resend(act: Act, target: Target, owner: str) -> None:
    head = target.head
    if not owner or registry.is_same(act.draft, owner, head.created_owner):
        return
    slot = slot_of(act, target, OWNER)
    new = act.held(owner, False)
    if not slot.siblings:
        target.authority = has_authority(act, replace(target.head, owner=owner))
        _settle_owner(act, target, slot, replaced((), act.held(owner, target.authority)))
        change_head(act, target, created_owner=owner)
        return
    holder = slot.siblings[0]
    created = head.created
    assert created is not None, f"{target.id} is created again, and was not created: {created}"
    if not act.seen(created.operation, created.index):
        # Two creations made apart name two owners: neither saw the other.
        outcome = Outcome((*slot.siblings, new), (), VerdictKind.CONFLICT, Rule.OWNER.value, holder.operation)
        if all(held.value != owner for held in slot.siblings):
            _settle_owner(act, target, slot, outcome)
        return
    remember(act, target, OWNER, "", new, VerdictKind.SUPERSEDED, Rule.OWNER.value, holder)
    act.find(target.id, "owner", "", VerdictKind.SUPERSEDED, Rule.OWNER.value, holder.operation)


def transfer(act: Act, target: Target, to: str) -> VerdictKind:
    """Hand the case to `to`: by the present owner or the named new one; by anybody else it is proposed."""
    slot = slot_of(act, target, OWNER)
    holder = slot.siblings[0] if slot.siblings else None
    if not _may_transfer(act, target, holder, to):
        if holder is not None and registry.is_same(act.draft, to, holder.value):
            act.find(target.id, "owner", "", VerdictKind.MERGED, NO_AUTHORITY, holder.operation)
            return VerdictKind.MERGED  # a stranger who says what holds anyway
        return propose(act, target, OWNER, "", to, Rule.OWNER.value)
    seen, unseen = split(act, slot.siblings)
    new = act.held(to, target.authority, before=holder.value if holder is not None else "")
    return _settle_owner(act, target, slot, _outcome(seen, unseen, new))


def _may_transfer(act: Act, target: Target, holder: Held | None, to: str) -> bool:
    if target.authority or serves(act, to):
        return True
    if holder is None:
        return False
    if is_nobodys(act.draft, target.head):
        return True
    # The author was the owner as far as it knew: it had not seen the transfer that took the case from it.
    return not act.seen(holder.operation, holder.index) and serves(act, holder.before)


def _outcome(seen: tuple[Held, ...], unseen: tuple[Held, ...], new: Held) -> Outcome:
    """Apart, both stay, for a person; the one with authority holds meanwhile, else the earlier in the log. Two names
    of one organisation count as two here: what the registry says may change, and a list of conflicts must not hang on
    that."""
    siblings = (new, *unseen) if new.authority else (*unseen, new)
    return keep_all(seen, unseen, new, Rule.OWNER.value, values_differ, siblings.index)


def decide_owner(act: Act, target: Target, to: str) -> VerdictKind:
    """A person in charge has decided: `to` owns the case (rule 11 holds for the decision too)."""
    slot = slot_of(act, target, OWNER)
    seen, unseen = split(act, slot.siblings)
    before = slot.siblings[0].value if slot.siblings else ""
    return _settle_owner(act, target, slot, _outcome(seen, unseen, act.held(to, target.authority, before=before)))


def _settle_owner(act: Act, target: Target, slot: Slot, outcome: Outcome) -> VerdictKind:
    """The owner as any field, then what follows from it: the head, the case's own status, proposals that came true."""
    kind = settle(act, target, OWNER, "", slot, outcome)
    after = slot_of(act, target, OWNER)
    rest = tuple(held for held in after.proposed if held.value != outcome.siblings[0].value)
    _put_owner(act, target, after, Slot(after.siblings, rest))
    return kind


def _put_owner(act: Act, target: Target, before: Slot, after: Slot) -> None:
    put_slot(act, target, OWNER, "", before, after)
    owner = after.siblings[0].value
    if owner != target.head.owner:
        change_head(act, target, owner=owner, charge=None)  # a delegation was of the former owner's work
    refresh_status(act, target)


# --- status: kept per organisation, the case's own is its owner's ---


def status_key(act: Act, organisation: str) -> str:
    return registry.canonical(act.draft, organisation)


def refresh_status(act: Act, target: Target) -> None:
    """The case's own status, in its head for lists."""
    slot = slot_of(act, target, STATUS, status_key(act, target.head.owner))
    if not slot.siblings:
        # Said before the registry knew that this is another name of the owner.
        slot = slot_of(act, target, STATUS, target.head.owner)
    status = slot.siblings[0].value if slot.siblings else ""
    if status != target.head.status:
        change_head(act, target, status=status)


def say_status(act: Act, target: Target, organisation: str, value: str) -> VerdictKind:
    """`organisation` is this far with the case. A stranger who says that the *owner* has closed it only proposes
    that: an emergency that is being treated does not disappear from the list by somebody else's word."""
    key = status_key(act, organisation)
    if key and key == status_key(act, target.head.owner):
        closing = value in CLOSED_STATUSES and target.head.status not in CLOSED_STATUSES
        if closing and not target.authority and not is_nobodys(act.draft, target.head):
            return propose(act, target, STATUS, key, value, Rule.FURTHEST.value)
    kind = write(act, target, STATUS, key, value)
    _drop_proposed_status(act, target, key, value)
    refresh_status(act, target)
    return kind


def reopen(act: Act, target: Target, key: str, value: str = "ACTIF") -> VerdictKind:
    """Going back along the vocabulary, explicitly; `key`: whose status (`status_key`). A closing its author had not
    seen stands (furthest)."""
    slot = slot_of(act, target, STATUS, key)
    seen, unseen = split(act, slot.siblings)
    new = act.held(value, target.authority)
    outcome = furthest((), unseen, new) if unseen else replaced(seen, new)
    lost = outcome.lost if not unseen else (*seen, *outcome.lost)
    settled = Outcome(outcome.siblings, lost, outcome.kind, Rule.FURTHEST.value, outcome.other)
    kind = settle(act, target, STATUS, key, slot, settled)
    refresh_status(act, target)
    return kind


def _drop_proposed_status(act: Act, target: Target, key: str, value: str) -> None:
    slot = slot_of(act, target, STATUS, key)
    rest = tuple(held for held in slot.proposed if held.value != value)
    if len(rest) != len(slot.proposed):
        put_slot(act, target, STATUS, key, slot, Slot(slot.siblings, rest))
