"""Checks one read: a case as a node shows it, with the freshness that came with it.

`Reading` is what was shown and what is true beside it; `look` compares the two. A session's memory is the reader's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chaos.nodes.checks import violated
from chaos.nodes.process import NOON_MS, Process
from chaos.sites.checks import NEVER, SiteChecks
from chaos.sites.severity import SCALES, rank
from replica.cases.queries import CaseView
from replica.cases.views import ValueView
from replica.offline.events import Mode
from replica.offline.freshness import Freshness

SLACK_S = 0.35
"""What was on the wire when a line was cut still arrives, and a heartbeat is heard; then a timer has to ring."""

ABOUT_MS = 3_000
"""How far what a node says of the zones' time may be from it: as old as a heartbeat may be when it comes."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the world knows of the node that was read, at that moment."""

    index: int
    """Of its copy."""
    now_s: float
    apart_since_s: float | None
    """Since when nothing can have come to it from any zone; None where something can."""
    cut_off_after_s: float
    clocks_sound: bool
    """No zone's clock was ever wrong: the zones' time is the world's."""
    ever_replaced: bool
    """Its disk was emptied or put back, or another one of its name was, ever."""
    ever_cloned: bool


@dataclass(slots=True)
class Session:
    """What one person was shown and told: a session's read is never older, wherever it is made."""

    index: int = 0
    notes: dict[str, set[str]] = field(default_factory=dict)
    """Case → texts of agreed notes."""

    def copy(self) -> Session:
        return Session(self.index, {case: set(texts) for case, texts in self.notes.items()})


@dataclass(slots=True)
class Shown:
    """What one life of a node has shown."""

    indexes: dict[str, int] = field(default_factory=dict)
    """Case → as of which entry. A node may show its own cases ahead of the rest."""
    notes: dict[str, set[str]] = field(default_factory=dict)


class Reading:
    """One read of one case. `view`: None where the node has never heard of it."""

    def __init__(self, checks: SiteChecks, process: Process, case: str, view: CaseView | None) -> None:
        self._checks = checks
        self._process = process
        self._host = process.host
        self._case = case
        self.view = view
        self._drawer = checks.drawer(process.host)
        elements = () if view is None else view.elements
        self.notes = [(one.value, text_in(one.value.value)) for one in elements if one.field == "medical_note"]
        self.texts = Counter(text for _, text in self.notes)

    def look(self, fresh: Freshness, truth: Truth, shown: Shown, session: Session | None) -> None:
        """Raises InvariantViolated. `shown`: what this life has shown before; `session`: of the reader, where the read
        was to be of it."""
        opened = self._checks.in_charge.opened.get(("case", self._case))
        if opened is None or opened.opened_index <= fresh.index or self._case in self._drawer.opens:
            self._own_writes(fresh.index)
        # Else the copy went back behind the case itself, since it was not flushed yet; its line brings it again.
        self._agreed_notes(fresh.index)
        self._levels(fresh.index)
        self._never_older(fresh.index, shown, session)
        self._freshness(fresh, truth)

    # ------------------------------------------------------------------ ReadYourWrites, NotesNeverLost

    def _own_writes(self, index: int) -> None:
        where = f"{self._host.name} shows {self._case}"
        twice = [text for text, count in self.texts.items() if count > 1]
        if twice:
            raise violated("ReadYourWrites", f"{where} with a note twice", twice)
        missing = self._drawer.promised.get(self._case, set()) - self.texts.keys()
        if missing:
            raise violated("ReadYourWrites", f"{where} without what it has given a receipt for", sorted(missing))
        for name in SCALES:
            issued = self._drawer.levels.get((self._case, name))
            if issued is None:
                continue
            authors = {value.author for value in self._values(name)}
            over = self._checks.severities.of(self._case, name).over.get(issued.name)
            decided = self._checks.agreed_at.get(issued.name, NEVER) <= index
            replaced = decided and over is not None and over.index <= index
            # A later act of this disk that knew of it may stand in its place, still undecided.
            later = any(self._knew(author, issued.name) for author in authors)
            if issued.name not in authors and not replaced and not later:
                raise violated("ReadYourWrites", f"{where} without {issued.name}", issued.payload, authors)

    def _knew(self, author: str, name: str) -> bool:
        one, other = self._checks.issued.get(author), self._checks.issued[name]
        return one is not None and one.knew(other, self._checks.agreed_at.get(name, NEVER))

    def _agreed_notes(self, index: int) -> None:
        agreed = self._checks.notes.get(self._case, {})
        missing = [text for text, at in agreed.items() if at <= index and text not in self.texts]
        if missing:
            text = f"{self._host.name} shows {self._case} as of {index} without"
            raise violated("NotesNeverLost", text, [(one, agreed[one]) for one in missing])
        for value, text in self.notes:
            decided = self._checks.agreed_at.get(value.author, NEVER) <= index
            if value.tentative == decided:
                word = "tentative" if value.tentative else "agreed"
                at = self._checks.agreed_at.get(value.author)
                said = f"{self._host.name} calls {text} {word}"
                raise violated("FreshnessIsTrue", said, f"it is agreed at {at}, read as of {index}")

    # ------------------------------------------------------------------ MoreSevereHolds

    def _values(self, name: str) -> tuple[ValueView, ...]:
        fields = () if self.view is None else self.view.fields
        return next((one.values for one in fields if one.field == name), ())

    def _levels(self, index: int) -> None:
        for one in () if self.view is None else self.view.fields:
            if one.field not in SCALES or not one.values:
                continue
            said = [value.value for value in one.values]
            if rank(one.field, said[0]) > min(rank(one.field, value) for value in said):
                text = f"{self._host.name} shows {said[0]} as {one.field} of {self._case}"
                raise violated("MoreSevereHolds", text, said)
            if one.conflict != (len(set(said)) > 1):
                raise violated("FreshnessIsTrue", f"{one.field} of {self._case} says conflict: {one.conflict}", said)

    # ------------------------------------------------------------------ ReadsNeverOlder

    def _never_older(self, index: int, shown: Shown, session: Session | None) -> None:
        texts, seen = set(self.texts), shown.indexes.get(self._case, 0)
        whats = [("this node", seen, shown.notes)]
        if session is not None:
            whats.append(("this session", session.index, session.notes))
        for what, before, notes in whats:
            lost = notes.get(self._case, set()) - texts
            if index < before or lost:
                text = f"{self._host.name} answers what is older than {what} was shown"
                raise violated("ReadsNeverOlder", text, f"{before}, now {index}", sorted(lost))
        shown.indexes[self._case] = index
        shown.notes.setdefault(self._case, set()).update(texts)

    # ------------------------------------------------------------------ FreshnessIsTrue

    def _freshness(self, fresh: Freshness, truth: Truth) -> None:
        where = f"{self._host.name} reads"
        if fresh.index not in (truth.index, fresh.preview_index):
            raise violated("FreshnessIsTrue", f"{where} as of another index", fresh.index, truth.index)
        if fresh.preview_index and fresh.preview_index <= truth.index:
            raise violated("FreshnessIsTrue", f"{where} what it has passed", fresh.preview_index, truth.index)
        self._undecided(fresh, truth)
        self._mode(fresh, truth)
        self._authority(fresh)
        if fresh.fenced and not truth.ever_cloned:
            raise violated("FreshnessIsTrue", f"{where} as fenced, and nobody else was ever of its name")
        if fresh.restored and not truth.ever_replaced:
            raise violated("FreshnessIsTrue", f"{where} as restored, and no disk of its name was ever replaced")

    def _undecided(self, fresh: Freshness, truth: Truth) -> None:
        """What lies on the disk without a verdict, and what is handed in on top of that."""
        if self._host.is_zone:
            return
        agreed_at = self._checks.agreed_at
        here = {name for name in self._drawer.held.values() if agreed_at.get(name, NEVER) > truth.index}
        waiting = [name for name in self._checks.undurable[self._host.name] if name not in here]
        least, most = len(here), len(here) + len(waiting) + 2  # its own registrations are nobody's act
        if not least <= fresh.undecided <= most:
            said = f"{self._host.name} says that {fresh.undecided} are undecided"
            raise violated("FreshnessIsTrue", said, f"{least} to {most} are", sorted(here)[:5])

    def _mode(self, fresh: Freshness, truth: Truth) -> None:
        said = f"{self._host.name} says {fresh.mode.value}, confirmed {fresh.confirmed_age_ms} ms ago"
        age_s = None if fresh.confirmed_age_ms is None else fresh.confirmed_age_ms / 1000
        silent_s = truth.cut_off_after_s + SLACK_S
        if fresh.mode is not Mode.CUT_OFF and (age_s is None or age_s > silent_s):
            raise violated("FreshnessIsTrue", f"{said}", "and is silent for longer than it may be")
        if fresh.clock_unsure != (age_s is None):
            raise violated("FreshnessIsTrue", f"{said}, clock unsure: {fresh.clock_unsure}")
        if (fresh.unconfirmed_since_ms is None) != (fresh.mode is not Mode.CUT_OFF):
            raise violated("FreshnessIsTrue", f"{said}, unconfirmed since {fresh.unconfirmed_since_ms}")
        if truth.apart_since_s is not None:
            apart_s = truth.now_s - truth.apart_since_s
            if apart_s > silent_s and fresh.mode is not Mode.CUT_OFF:
                raise violated("FreshnessIsTrue", said, f"nothing can have come to it for {apart_s:.3f} s")
            if apart_s > SLACK_S and age_s is not None and age_s < apart_s - SLACK_S:
                raise violated("FreshnessIsTrue", said, f"nothing can have come to it for {apart_s:.3f} s")
        if fresh.unconfirmed_since_ms and truth.clocks_sound and age_s is not None:
            right_ms = NOON_MS + (truth.now_s - age_s) * 1000
            if abs(fresh.unconfirmed_since_ms - right_ms) > ABOUT_MS:
                raise violated("FreshnessIsTrue", f"{said}, unconfirmed since {fresh.unconfirmed_since_ms}", right_ms)

    def _authority(self, fresh: Freshness) -> None:
        """Of its own work, as agreed up to the index it names, or ahead of that with all that is its own: nothing that
        a site does alone changes that."""
        if self._host.is_zone:
            return
        site, charges = self._host.site, self._checks.in_charge.charges
        index = max(fresh.index, fresh.preview_index)
        right = charges.holder(site, index), charges.epoch(site, index)
        if (fresh.authority, fresh.epoch) != right:
            said = f"{self._host.name} says {fresh.authority}, epoch {fresh.epoch}"
            raise violated("FreshnessIsTrue", said, f"as of {index} it is {right}")


def text_in(note: str) -> str:
    """The free text of a medical note."""
    return note.partition('"freetext":"')[2].partition('"')[0]
