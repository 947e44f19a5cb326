"""Who answers for whose work now, under which terms, and how that came about: questions to a state.

Nothing here changes anything. Any `Records` will do, as in queries.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from replica.cases import keys
from replica.cases.authority import charge_of
from replica.cases.draft import drafted
from replica.cases.records import Records
from replica.cases.state import CHARGE, CHARGE_ASK, CHARGE_CHANGE, CHARGE_TERMS, ChargeAsk, ChargeTerms


class TakeOverView(Struct, frozen=True, omit_defaults=True):
    """A take-over that stands: `holder` answers for `samu`'s work (`cases` empty), or for these cases. `until_ms`: zone
    time at which it ends by itself, 0 for not; `asked`: the Samu has asked for it since."""

    samu: str
    holder: str
    epoch: int
    cases: tuple[str, ...] = ()
    forced: bool = False
    until_ms: int = 0
    automatic: bool = False
    asked: bool = False
    since_index: int = 0


class AskedView(Struct, frozen=True):
    """A Samu has asked for its work: who, why, when."""

    author: str
    reason: str
    act_ms: int
    agreed_ms: int
    operation: str
    index: int


class ChargeStateView(Struct, frozen=True, omit_defaults=True):
    """A Samu's work: who is in charge of all of it, since which change (who, why, when; empty where it never changed),
    what else stands, and whether the Samu has asked for it since."""

    samu: str
    holder: str
    epoch: int
    author: str = ""
    reason: str = ""
    since_ms: int = 0
    since_index: int = 0
    take_overs: tuple[TakeOverView, ...] = ()
    asked: AskedView | None = None

    @property
    def is_taken(self) -> bool:
        """Whether another answers for all of it, or for some cases."""
        return self.holder != self.samu or bool(self.take_overs)

    @property
    def is_asked(self) -> bool:
        """Whether it was asked for after all that stands was taken."""
        since = max((one.since_index for one in self.take_overs), default=self.since_index)
        return self.asked is not None and self.asked.index > since


def charge_state(records: Records, samu: str) -> ChargeStateView:
    """Who answers for the work of `samu`, a site's name."""
    draft = drafted(records)
    charge = charge_of(draft, samu)
    change = draft.load(keys.charge_change(samu, charge.since_epoch), CHARGE_CHANGE)
    asked = draft.load(keys.charge_ask(samu), CHARGE_ASK)
    return ChargeStateView(
        samu,
        charge.holder,
        charge.epoch,
        "" if change is None else change.author,
        "" if change is None else change.reason,
        0 if change is None else change.time_ms,
        0 if change is None else change.mark.index,
        tuple(_view(terms, asked) for terms in _standing(records, keys.all_charge_terms(samu))),
        None if asked is None else _asked(asked),
    )


def charge_states(records: Records) -> list[ChargeStateView]:
    """Of every Samu whose charge ever changed, in order of names."""
    return [charge_state(records, CHARGE.decode(value).samu) for _, value in records.scan(keys.CHARGES)]


def take_overs(records: Records) -> list[TakeOverView]:
    """All that stand."""
    draft = drafted(records)
    return [
        _view(terms, draft.load(keys.charge_ask(terms.samu), CHARGE_ASK))
        for terms in _standing(records, keys.CHARGE_TERMS)
    ]


def held_by(records: Records, site: str) -> list[TakeOverView]:
    """Those by which `site` answers for others' work."""
    return [one for one in take_overs(records) if one.holder == site]


def _standing(records: Records, prefix: bytes) -> Iterator[ChargeTerms]:
    found = (CHARGE_TERMS.decode(value) for _, value in records.scan(prefix))
    return (terms for terms in found if terms.ended is None)


def _view(terms: ChargeTerms, asked: ChargeAsk | None) -> TakeOverView:
    return TakeOverView(
        terms.samu,
        terms.holder,
        terms.epoch,
        terms.cases,
        terms.forced,
        terms.until_ms,
        terms.automatic,
        asked is not None and asked.mark.index > terms.mark.index,
        terms.mark.index,
    )


def _asked(asked: ChargeAsk) -> AskedView:
    mark = asked.mark
    return AskedView(asked.author, asked.reason, asked.act_ms, asked.time_ms, str(mark.operation), mark.index)
