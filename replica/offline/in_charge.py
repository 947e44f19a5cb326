"""Who is in charge, as this site sees it: what may be issued here, under which epoch, and whom a read names.

All three are asked of the working view, where a case this site opened a minute ago is its own; or of the agreed state,
where no undecided operation could make a difference (shaping.py) and it says the same for less.

Every operation asks for the epoch and every read for a charge, so both answers are kept until what they hang on moves.

Left out: what is permitted to whom (cases/authority.py), and that a fenced site issues nothing (core.py).
"""

from __future__ import annotations

from contextlib import suppress

from replica.cases import authority, registry
from replica.cases.commands import Command
from replica.cases.draft import drafted
from replica.cases.records import Records
from replica.errors import StoreDamaged
from replica.offline.events import TurnedAway
from replica.offline.ledger import Ledger
from replica.offline.preview import Views
from replica.offline.shaping import Shapers

MOST_CHARGES = 1000
"""Of how many owners the present charge is kept for those who read."""


class InCharge:
    """`applied`, where a method asks for it: the agreed state's (index, term), which says whether it has moved."""

    __slots__ = ("_charged", "_charged_as_of", "_epoch", "_epoch_as_of", "_ledger", "_shapers", "_site", "_view")

    def __init__(self, site: str, ledger: Ledger, view: Views, shapers: Shapers) -> None:
        self._site = site
        self._ledger = ledger
        self._view = view
        self._shapers = shapers
        self._epoch = 0
        """Of this site's own work, as last read."""
        self._epoch_as_of: tuple[int, ...] = ()
        """When that was: the state's (index, term) and `Shapers.changes`; empty where it has to be read anew."""
        self._charged: dict[str | None, tuple[str, int]] = {}
        """Owner (None: this site) → (holder, epoch), as the agreed state says as of `_charged_as_of`."""
        self._charged_as_of: tuple[int, ...] = ()

    def refusal(self, token: int, command: Command, connected: bool) -> TurnedAway | None:
        """Why a command is turned away; None where it is not. Where a damaged record hides whose authority it is, only
        what would be refused to somebody is turned away: nobody is refused for one bad bit what all may do."""
        try:
            records = self._shaped_view() if self._shapers.may_change(command) else self._view.agreed
            why_not = authority.refusal(records, self._site, command, connected)
        except StoreDamaged as damaged:
            cells = authority.TABLE[authority.tag_of(command)].values()
            if authority.PermissionKind.REFUSED not in cells:
                return None
            why = f"whether this is permitted cannot be told now, {damaged.record} is damaged here and being rebuilt"
            return TurnedAway(token, why, untold=True)
        return None if why_not is None else TurnedAway(token, why_not)

    def epoch(self, applied: tuple[int, int]) -> int:
        """This site's own epoch, for what it issues now. Where the record that says so is damaged, the last one known:
        at worst the operation is merged as a stranger's, under an epoch that is over."""
        as_of = (*applied, self._shapers.changes)
        if as_of != self._epoch_as_of or self._view.preview is not None:
            self._epoch_as_of = ()
            with suppress(StoreDamaged):
                self._epoch = authority.epoch_of(self._charges, self._site)
                self._epoch_as_of = as_of
        return self._epoch

    def reworded(self) -> None:
        """An opening was worded anew, which `Shapers.changes` does not count: the epoch is read again."""
        self._epoch_as_of = ()

    def charge_of(self, owner: str | None, applied: tuple[int, int]) -> tuple[str, int]:
        """Who answers for the work of `owner` (None: this site), and its epoch. ("", 0) where the record that says so
        is damaged; of this site, the epoch last known."""
        agreed_alone = self._view.preview is None and not self._shapers.may_change_charges
        if self._charged_as_of != applied:
            self._charged, self._charged_as_of = {}, applied
        found = self._charged.get(owner) if agreed_alone else None
        if found is not None:
            return found
        try:
            draft = drafted(self._charges)
            asked = self._site if owner is None else owner
            charge = authority.charge_of(draft, registry.site_of(draft, asked) or asked)
        except StoreDamaged:
            return "", self._epoch if owner is None else 0
        if agreed_alone and len(self._charged) < MOST_CHARGES:
            self._charged[owner] = charge.holder, charge.epoch
        return charge.holder, charge.epoch

    @property
    def _charges(self) -> Records:
        return self._shaped_view() if self._shapers.may_change_charges else self._view.agreed

    def _shaped_view(self) -> Records:
        """The working view as far as it can say who is in charge: plain operations at the end of this life are not
        taken in for that, however many they are, but for who reads."""
        own = self._ledger.own
        if self._view.preview is not None or self._ledger.journal.runs[-1] is not own:
            return self._view.records(self._ledger.undecided)
        plain = own.last - max(self._shapers.last_seq(own.incarnation), own.decided)
        view = self._view.records(self._ledger.undecided, 0)
        others = self._view.pending - plain
        return view if others <= 0 else self._view.records(self._ledger.undecided, others)
