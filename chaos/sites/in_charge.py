"""Whether who decides is in charge: AuthorityIsOne, by the agreed turns of each charge (charges.py) and what each
author knew of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from chaos.nodes.checks import violated
from chaos.sites.charges import Charges, Opened, Turn
from chaos.sites.papers import Issued, Life, name_of
from replica.cases import authority, keys
from replica.cases.commands import (
    CloseCase,
    Command,
    DecideConflict,
    EndTakeOver,
    EngageResource,
    HandBack,
    ReleaseResource,
    ReopenCase,
    Report,
    SetStatus,
    TakeOver,
    TransferCase,
)
from replica.cases.draft import Draft
from replica.cases.levels import HIGHEST_LEVEL
from replica.cases.operations import Operation
from replica.cases.state import HEAD
from replica.cases.verdicts import Effects, Verdict, VerdictKind
from replica.offline.lives import is_drain

TURNS_LEVEL = 3
"""From this feature level on several turns in one entry are told apart."""
TURNS = (TakeOver, HandBack, EndTakeOver)


class InCharge:
    """Told each turn and each decision, in the order of the log. `issued`: the acts of people, live."""

    def __init__(self, issued: dict[str, Issued], counts: Counter[str]) -> None:
        self._issued = issued
        self._counts = counts
        self.level = HIGHEST_LEVEL
        """By whose rules the present entry is applied."""
        self.charges = Charges()
        self.opened: dict[tuple[str, str], Opened] = {}
        """(kind, id) → how it stands in the state."""
        self._holders: dict[tuple[str, str, int, int], str] = {}
        """(kind, id, since when it is its owner's, epoch) → who has decided there plainly."""

    def decided(self, operation: Operation, verdict: Verdict, issued: Issued, moved: set[tuple[str, str]]) -> None:
        """A person's act has its verdict. `moved`: what changed hands earlier in this entry, and is left alone."""
        payload = operation.payload
        # Under the first levels to reopen what is open was plain, whoever did it.
        said = Report if self.level >= TURNS_LEVEL else Report | ReopenCase
        if verdict.kind is VerdictKind.APPLIED and not isinstance(payload, said):
            subject = subject_of(payload)
            if subject is not None and subject not in moved:
                self._plainly(operation, issued, subject)
        if isinstance(payload, Report):
            moved.update((subject.kind, subject.id) for subject in payload.subjects)
        elif isinstance(payload, TransferCase | DecideConflict):
            moved.add(("case", payload.case if isinstance(payload, TransferCase) else payload.id))

    def turn(self, effects: Effects, operation: Operation, payload: TakeOver | HandBack | EndTakeOver) -> None:
        """The charge of a Samu's work, or of some of its cases, is another's from here on."""
        samu, site, index, name = payload.owner, operation.id.site, effects.index, name_of(operation)
        if name not in self._issued:  # a node's own doing
            seen = operation.seen
            self._issued[name] = Issued(name, site, Life(site, frozenset()), 0, seen, payload, "")
        if isinstance(payload, TakeOver):
            if payload.epoch != self.charges.epoch(samu):
                told = f"for epoch {payload.epoch}", f"it is {self.charges.epoch(samu)}"
                raise violated("AuthorityIsOne", f"a take-over of {samu} was agreed", *told)
            cases = payload.cases or None
            self._turned(samu, Turn(index, name, site, payload.by, cases, payload.until_ms))
        elif isinstance(payload, HandBack):
            holders = {self.charges.holder(samu)}
            if payload.cases:
                holders = {self.charges.of(case, self.opened["case", case])[0] for case in payload.cases}
            if holders != {site}:
                raise violated("AuthorityIsOne", f"{site} handed {samu} back, in the hands of", holders, operation)
            self._turned(samu, Turn(index, name, site, samu, payload.cases or None))
        else:
            self._ends(effects, payload, name)

    def _ends(self, effects: Effects, payload: EndTakeOver, name: str) -> None:
        turn = self.charges.raised(payload.owner, payload.epoch)
        if turn is None or not turn.until_ms or turn.until_ms > effects.time_ms:
            told = f"{turn}", f"the zones' time is {effects.time_ms}"
            raise violated("AuthorityIsOne", f"a take-over of {payload.owner} has ended before its time", *told)
        cases = None
        if turn.cases is not None:
            taken = [case for case in turn.cases if self.charges.of(case, self.opened["case", case])[1] is turn]
            cases = tuple(taken)
        self._turned(payload.owner, Turn(effects.index, name, turn.holder, payload.owner, cases))

    def _turned(self, samu: str, turn: Turn) -> None:
        self.charges.turn(samu, turn, told_apart=self.level >= TURNS_LEVEL)

    def _plainly(self, operation: Operation, issued: Issued, subject: tuple[str, str]) -> None:
        """It was applied as of somebody in charge: that must be so, and its author must have known it."""
        opened = self.opened.get(subject)
        if opened is None:
            return  # opened in this very entry
        if self.charges.is_muddled(opened.owner, opened.opened_index, opened.owned_since):
            self._counts["two turns in one entry"] += 1
            return
        holder, turn = self.charges.of(subject[1], opened)
        site = operation.id.site
        if site != holder or is_drain(operation.id.incarnation):
            text = f"{issued.name} decided on {subject[1]} plainly"
            raise violated("AuthorityIsOne", text, f"{holder} is in charge", operation)
        if turn is not None:
            by = self._issued[turn.name]
            if not issued.knew(by, turn.index):
                text = f"{issued.name} decided on {subject[1]} plainly, not knowing whose it was"
                raise violated("AuthorityIsOne", text, f"turned at {turn.index}", f"seen {issued.seen}")
        epoch = self.charges.epoch(opened.owner)
        first = self._holders.setdefault((*subject, opened.owned_since, epoch), site)
        if first != site:
            raise violated("AuthorityIsOne", f"two decide on {subject[1]} in epoch {epoch}", first, site)

    def compare(self, draft: Draft, samu: str) -> None:
        """The state says of a Samu's charge what the turns say."""
        charge = authority.charge_of(draft, samu)
        mine = self.charges.holder(samu), self.charges.epoch(samu)
        if (charge.holder, charge.epoch) != mine:
            raise violated("AuthorityIsOne", f"the charge of {samu}", charge, mine)

    def learn(self, draft: Draft, subject: tuple[str, str], index: int) -> None:
        """See whose a subject is behind entry `index`."""
        head = draft.load(keys.head(*subject), HEAD)
        if head is None:
            return
        known = self.opened.get(subject)
        if known is None:
            self.opened[subject] = Opened(head.owner, head.opened_by, head.opened.index)
        elif known.owner != head.owner:
            self._counts["owner changed"] += 1
            self.opened[subject] = Opened(head.owner, head.opened_by, head.opened.index, index)


def subject_of(payload: Command | Any) -> tuple[str, str] | None:
    """Whose authority a command asks for."""
    match payload:
        case SetStatus(resource=resource) | EngageResource(resource=resource) | ReleaseResource(resource=resource):
            return "resource", resource
        case DecideConflict(subject=kind, id=ident):
            return kind, ident
        case CloseCase(case=case) | ReopenCase(case=case) | TransferCase(case=case):
            return "case", case
    of_case: str | None = getattr(payload, "case", None)
    return None if of_case is None else ("case", of_case)


def subjects_of(payload: Any) -> list[tuple[str, str]]:
    """All that an operation may have changed."""
    if isinstance(payload, Report):
        return [(subject.kind, subject.id) for subject in payload.subjects]
    subject = subject_of(payload)
    return [] if subject is None else [subject]
