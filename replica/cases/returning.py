"""How a charge is taken over and comes home, from level 3 on. What a charge is, and who may change it, is rule 13 and
stands in charges.py; here is what a Samu that may come back at any moment needs besides.

* **Who is heard is not taken over**, unless somebody forces it and says why. Only the leader knows which sites the
  zones hear, so it writes that into the entry (`Batch.heard`), and every replica decides the same. Whoever is in charge
  may let another take over without that.
* **A take-over may end by itself**: an operation of a zone (`EndTakeOver`), compared with the leader's time of its
  entry. It changes the charge as a take-over by the Samu itself would (rule 13).
* **A charge goes home when its Samu has handed in all it did.** The Samu asks for it (`AskHandBack`) in its own
  sequence, after everything it did while it was away; so where the asking is applied, all of that has its verdict
  (rule 5). A hand-back before that is refused, unless `now` says that it is meant.

The terms of a take-over are kept for ever beside the record of it, and say by which operation they ended.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from replica.cases import charges, keys, registry
from replica.cases.act import Act, refused
from replica.cases.authority import Reach, charge_of, is_in_charge, reach
from replica.cases.commands import AskHandBack, EndTakeOver, HandBack, TakeOver
from replica.cases.draft import Draft
from replica.cases.state import CHARGE_ASK, CHARGE_TERMS, CHARGE_TURNS, HEAD, NO_TURNS, Charge, ChargeAsk, ChargeTerms
from replica.cases.subjects import Target, find
from replica.cases.verdicts import Verdict, VerdictKind


def take_over(act: Act, command: TakeOver) -> Verdict:
    """`charges.take_over`, of what is not heard, under terms."""
    samu = registry.site_of(act.draft, command.owner)
    if samu:
        why = _why_not(act, command, charge_of(act.draft, samu))
        if why:
            return refused(why)
    verdict = charges.take_over(act, command)
    if verdict.kind is VerdictKind.REFUSED:
        return verdict
    for terms in list(standing(act.draft, samu)):
        if not command.cases or _is_over(act, terms, some=True):
            _end(act, terms)
    epoch, taker = charge_of(act.draft, samu).epoch, registry.site_of(act.draft, command.by)
    if not command.cases:
        _turn(act, samu, taken_epoch=epoch)
    if taker != samu:
        terms = ChargeTerms(
            samu, epoch, taker, command.cases, command.forced, command.until_ms, command.automatic, act.mark
        )
        act.draft.put(keys.charge_terms(samu, epoch), terms)
    return verdict


def _why_not(act: Act, command: TakeOver, charge: Charge) -> str:
    if command.epoch != charge.epoch:
        return ""  # that is the reason which charges.take_over gives
    if command.forced and not command.reason.strip():
        return "a take-over that is forced needs its reason"
    if command.until_ms and command.until_ms <= act.time_ms:
        return f"its end, {command.until_ms}, is past: the zones' time is {act.time_ms}"
    if command.forced:
        return ""
    heard = sorted(name for name in _holders(act.draft, command, charge) if name != act.site and name in act.heard)
    return f"{heard[0]} is heard, and in charge: ask there, or force it with a reason" if heard else ""


def _holders(draft: Draft, command: TakeOver, charge: Charge) -> set[str]:
    """Who is in charge of what is to be taken."""
    if not command.cases:
        return {charge.holder}
    heads = (draft.load(keys.head("case", case), HEAD) for case in command.cases)
    return {reach(draft, head).holder for head in heads if head is not None}


def hand_back(act: Act, command: HandBack) -> Verdict:
    """`charges.hand_back`, once the Samu has asked for it."""
    samu = registry.site_of(act.draft, command.owner)
    if samu and not command.now:
        why = _not_asked(act, command, charge_of(act.draft, samu))
        if why:
            return refused(why)
    verdict = charges.hand_back(act, command)
    if verdict.kind is not VerdictKind.REFUSED:
        if not command.cases:
            _turn(act, samu, handed_epoch=charge_of(act.draft, samu).epoch)
        _end_some(act, samu, command.cases)
    return verdict


def _not_asked(act: Act, command: HandBack, charge: Charge) -> str:
    if command.cases:
        heads = (draft_head for case in command.cases if (draft_head := act.draft.load(keys.head("case", case), HEAD)))
        since = max((head.charge.raised.index for head in heads if head.charge is not None), default=0)
    else:
        held = Reach(charge.samu, charge.holder, charge.since_epoch, charge.raised)
        if charge.raised is None or not is_in_charge(act, held):
            return ""  # charges.hand_back says what is wrong
        since = charge.raised.index
    asked = act.draft.load(keys.charge_ask(charge.samu), CHARGE_ASK)
    if asked is not None and asked.mark.index > since:
        return ""
    return f"{charge.samu} has not asked for it since: what it did meanwhile may not be in yet; `now` hands it back so"


def ask(act: Act, command: AskHandBack) -> Verdict:
    """A Samu is back and has handed in all it did: its holder may hand back."""
    samu = registry.site_of(act.draft, command.owner)
    if samu != act.site or act.drain:
        return refused(f"only the site that serves {command.owner} asks for its work")
    charge = charge_of(act.draft, samu)
    if charge.holder == samu and not any(True for _ in standing(act.draft, samu)):
        return refused(f"{samu} is in charge of its own work")
    operation = act.operation
    asked = ChargeAsk(samu, command.reason, operation.author, operation.act_ms, act.time_ms, act.mark)
    act.draft.put(keys.charge_ask(samu), asked)
    return act.verdict()


def end(act: Act, command: EndTakeOver) -> Verdict:
    """The time of a take-over is over: the charge goes home."""
    samu = registry.site_of(act.draft, command.owner)
    terms = act.draft.load(keys.charge_terms(samu, command.epoch), CHARGE_TERMS) if samu else None
    if terms is None:
        return refused(f"there was no take-over of {command.owner} in epoch {command.epoch}")
    if terms.ended is not None:
        return refused(f"the take-over of epoch {command.epoch} has ended already")
    if not terms.until_ms or act.time_ms < terms.until_ms:
        return refused(f"the take-over of epoch {command.epoch} is not over yet")
    charge = charge_of(act.draft, samu)
    epoch = charge.epoch + 1
    if terms.cases:
        charges.delegate(act, list(_still_taken(act, terms)), samu, epoch)
        after = replace(charge, epoch=epoch)
    else:
        # Standing terms of everything are the latest take-over's: another one, or a hand-back, would have ended them.
        assert charge.holder == terms.holder, f"{samu}: {charge.holder} is in charge, {terms.holder} by its terms"
        after = Charge(samu, samu, epoch, epoch, act.mark, charge.taken_index, act.index, terms.holder)
        _turn(act, samu, handed_epoch=epoch)
    _end(act, terms)
    return charges.record(act, replace(charge, holder=terms.holder), after, samu, "its time is over", terms.cases)


def _still_taken(act: Act, terms: ChargeTerms) -> Iterator[Target]:
    """The cases whose charge nobody has changed since."""
    for case in terms.cases:
        target = find(act, "case", case)
        assert target is not None, f"{case} was taken over, and there is {target}"
        if target.head.charge is not None and target.head.charge.raised == terms.mark:
            yield target


def _turn(act: Act, samu: str, **epoch: int) -> None:
    """All of the work was taken over, or given back, in this epoch."""
    turns = act.draft.load(keys.charge_turns(samu), CHARGE_TURNS) or NO_TURNS
    act.draft.put(keys.charge_turns(samu), replace(turns, **epoch))


# ---- terms


def standing(draft: Draft, samu: str) -> Iterator[ChargeTerms]:
    """The terms of all take-overs of a Samu's work that have not ended, oldest first."""
    for _, value in draft.scan(keys.all_charge_terms(samu)):
        terms = CHARGE_TERMS.decode(value)
        if terms.ended is None:
            yield terms


def _end(act: Act, terms: ChargeTerms) -> None:
    act.draft.put(keys.charge_terms(terms.samu, terms.epoch), replace(terms, ended=act.mark))


def _end_some(act: Act, samu: str, cases: tuple[str, ...]) -> None:
    """Everything was handed back, or these cases."""
    for terms in list(standing(act.draft, samu)):
        if _is_over(act, terms, bool(cases)):
            _end(act, terms)


def _is_over(act: Act, terms: ChargeTerms, some: bool) -> bool:
    """Whether nothing is left of what was taken under these terms, now that `act` moved the charge of some cases, or
    handed all back."""
    if not terms.cases:
        return not some
    return (not some and terms.holder == act.site) or not any(True for _ in _still_taken(act, terms))
