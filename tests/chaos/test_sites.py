"""The world of sites: one seed is one run, its faults are all there, and each of its invariants is seen to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace as altered

from chaos.nodes.process import Host, Process
from chaos.sites import report
from chaos.sites.charges import Charges, Opened, Turn
from chaos.sites.checks import SiteChecks
from chaos.sites.invariants import INVARIANTS
from chaos.sites.nemesis import DOERS
from chaos.sites.papers import Drawer, Issued, Life
from chaos.sites.reading import Reading, Session, Shown, Truth
from chaos.sites.severity import Said, Severities
from chaos.sites.weather import FAULTS, storm
from chaos.world.invariants import InvariantViolated
from replica.cases import machine, merge, subjects
from replica.cases.act import Act
from replica.cases.commands import AddNote, ChangePriority
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Overlay
from replica.cases.state import Held
from replica.cases.verdicts import Decided, Effects, Verdict, VerdictKind
from replica.cases.views import CaseView, ChargeView, ElementView, ValueView
from replica.offline.core import SiteCore
from replica.offline.events import Mode
from replica.offline.freshness import Freshness
from replica.offline.ledger import Ledger
from replica.offline.replay import Replay
from replica.storage import JournalAppend, JournalTrim
from replica.wire.operation_codec import encode_operation

STEPS = 1_500
ROOT = Path(__file__).resolve().parents[2]
SITE, CASE = "fr.health.samu440", "fr.health.samu440.SIM0"
LIFE = b"\1" * 16
APPLIED, REFUSED = Verdict(VerdictKind.APPLIED), Verdict(VerdictKind.REFUSED, (), "there is no such case")


# ---- one seed, one run


def digest(seed: int) -> str:
    result = report.run_seed(seed, STEPS, hashed=True)
    assert result.failure is None, result.failure
    return result.digest


def test_a_seed_is_the_same_run_every_time() -> None:
    """Byte by byte what was on every wire and when, and another seed is another run."""
    assert digest(2) == digest(2)
    assert digest(2) != digest(3)


def test_a_seed_is_the_same_run_in_another_process() -> None:
    """With another hash seed, so nothing hangs on the order of a set."""
    told = f"from chaos.sites import report; print(report.run_seed(2, {STEPS}, hashed=True).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", told], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.strip() == digest(2), ran.stderr


@pytest.mark.parametrize("seed", range(1, 7))
def test_the_shipped_sites_hold(seed: int) -> None:
    """Six seeds of every test run; two thousand by command."""
    result = report.run_seed(seed, STEPS)
    assert result.failure is None, result.failure
    assert result.events > STEPS
    assert result.counts["receipt: agreed"]


def test_every_fault_has_its_doer() -> None:
    """And is drawn by some seeds and left out by others; 2 to 6 sites."""
    assert set(DOERS) == set(FAULTS)
    drawn = [storm(Random(seed)) for seed in range(40)]
    assert set.union(*(set(one.faults) for one in drawn)) == set(FAULTS)
    assert not set.intersection(*(set(one.faults) for one in drawn))
    assert {len(one.sites) for one in drawn} == {2, 3, 4, 6}


def test_a_fault_that_never_happened_fails_a_run_of_a_thousand_seeds() -> None:
    """The simulator is to blame then, and says for what."""
    told = report.report()
    told.seeds = 1_000
    told.faults.update(dict.fromkeys(set(report.EXPECTED_FAULTS) - {"site: fenced"}, 1))
    assert told.missing() == ["site: fenced"]
    assert not told.ok


# ---- lies of the nodes, each caught under its name


LIES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def lie(name: str) -> Callable[[Callable[[pytest.MonkeyPatch], None]], Callable[[pytest.MonkeyPatch], None]]:
    def keep(told: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
        LIES[name] = told
        return told

    return keep


@lie("ReadYourWrites")
def _the_view_is_without_the_journal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SiteCore, "view", lambda self: Overlay(self.base))


@lie("NothingLostSilently")
def _everything_counts_as_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Act, "seen", lambda self, other, index: True)


@lie("LaterOfOneSiteHolds")
def _nothing_counts_as_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Act, "seen", lambda self, other, index: False)


@lie("MoreSevereHolds")
def _the_less_severe_holds(patch: pytest.MonkeyPatch) -> None:
    by = merge._by_severity
    patch.setattr(merge, "_by_severity", lambda held: (-by(held)[0], *by(held)[1:]))


@lie("AuthorityIsOne")
def _everybody_is_in_charge(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(subjects, "has_authority", lambda act, head: True)


@lie("JournalEmptiesAfterHeal")
def _nothing_is_let_go(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "let_go", lambda self: None)


@lie("TrimmingLosesNothing")
def _what_was_sent_is_let_go(patch: pytest.MonkeyPatch) -> None:
    sent = Replay.refill

    def refill(self: Replay, now_ms: int, journal: Any) -> list[Operation]:
        leaving = sent(self, now_ms, journal)
        CORES[id(self)]._ledger.trim += [(one.id.incarnation, one.id.seq) for one in leaving if one.id.seq]
        return leaving

    made = SiteCore.__init__

    def make(self: SiteCore, **options: Any) -> None:
        made(self, **options)
        CORES[id(self._replay)] = self

    patch.setattr(SiteCore, "__init__", make)
    patch.setattr(Replay, "refill", refill)


CORES: dict[int, SiteCore] = {}


@lie("FreshnessIsTrue")
def _all_is_well(patch: pytest.MonkeyPatch) -> None:
    true = SiteCore.freshness

    def freshness(
        self: SiteCore, now_ms: int, owner: str | None = None, subject: tuple[str, str] | None = None
    ) -> Freshness:
        told = true(self, now_ms, owner, subject)
        return altered(told, mode=Mode.CONNECTED, unconfirmed_since_ms=None)

    patch.setattr(SiteCore, "freshness", freshness)


@lie("ClocksAreBounded")
def _clocks_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "clamped", lambda clock, time_ms: clock)


@pytest.mark.parametrize("name", LIES)
def test_a_node_that_lies_is_caught_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a few seeds, and the seed says how to see it again."""
    LIES[name](monkeypatch)
    found = (report.run_seed(seed, STEPS).failure for seed in range(1, 13))
    failure = next((one for one in found if one is not None), None)
    assert failure is not None
    assert failure.invariant == name, failure.text
    assert (
        failure.replay == f"python -m chaos sim --seeds 1 --start {failure.seed} --depth sites --steps {STEPS} --trace"
    )
    assert failure.timeline


# ---- facts that cannot be, each caught under its name


class Court:
    """Checks, one site, one life of it, and whatever a test says."""

    def __init__(self) -> None:
        store = SimpleNamespace(state=SimpleNamespace(applied=lambda: (0, 0)))
        disk = SimpleNamespace(written={}, empties=0, store=store)
        self.host = cast(Host, SimpleNamespace(name=SITE, site=SITE, is_zone=False, disk=disk, retired=False))
        self.checks = SiteChecks([], {SITE: self.host}, Counter())
        self.process = Process(self.host, 1)
        self.checks.opens(self.process)
        self.checks.in_charge.opened["case", CASE] = Opened(SITE, SITE, 1)

    def issue(self, at: int, payload: Any = None, seen: int = 0) -> Issued:
        payload = AddNote(CASE, f"n{at}", f"text {at}") if payload is None else payload
        text = getattr(payload, "text", "")
        issued = Issued(f"act-{at}", SITE, self.checks.lives[self.process], at, seen, payload, CASE, text)
        self.checks.issues(issued)
        return issued

    def journal(self, issued: Issued, seq: int) -> Operation:
        one = operation(issued, seq)
        self.checks.took(self.host, [JournalAppend([(LIFE, seq, encode_operation(one))])])
        return one

    def agree(self, index: int, one: Operation, verdict: Verdict = APPLIED, *, records: Any = None) -> None:
        self.checks.decided[one.id] = (index, verdict)
        state = Records() if records is None else records
        self.checks.agreed(Effects(index, 1, 0, (Decided(one.id, verdict),), ()), [one], state)

    def read(self, index: int, *texts: str, shown: Shown | None = None, session: Session | None = None) -> None:
        notes = tuple(element(text, self.checks) for text in texts)
        reading = Reading(self.checks, self.process, CASE, case_of(notes))
        reading.look(fresh(index, self.undecided(index)), truth(index), shown or Shown(), session)

    def undecided(self, index: int) -> int:
        held = self.checks.drawer(self.host).held.values()
        return sum(self.checks.agreed_at.get(name, index + 1) > index for name in held)


class Records:
    """A state of nothing."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes) -> Any:
        return iter(())


def truth(index: int, apart_since_s: float | None = None) -> Truth:
    return Truth(index, 10.0, apart_since_s, 1.5, True, False, False)


def operation(issued: Issued, seq: int, incarnation: bytes = LIFE) -> Operation:
    return Operation(OperationId(SITE, incarnation, seq), 1, 0, HybridTime(1), 0, issued.name, issued.payload)


def element(text: str, checks: SiteChecks) -> ElementView:
    author = next((name for name, one in checks.issued.items() if one.text == text), "")
    tentative = author not in checks.agreed_at
    value = ValueView(f'{{"freetext":"{text}"}}', author, 0, 0, 0, "", 0, True, tentative)
    return ElementView("medical_note", value)


def case_of(elements: tuple[ElementView, ...]) -> CaseView:
    charge = ChargeView(SITE, SITE, 1)
    return CaseView(CASE, SITE, charge, True, "", False, False, 0, SITE, 1, (), elements=elements)


def fresh(index: int, undecided: int) -> Freshness:
    return Freshness(Mode.CONNECTED, index, 1, 100, SITE, 1, None, False, undecided, False, False)


@pytest.fixture
def court() -> Court:
    return Court()


def caught(name: str) -> Any:
    assert name in INVARIANTS
    return pytest.raises(InvariantViolated, match=name)


def test_what_is_right_passes(court: Court) -> None:
    """Issued, journalled, receipted, read, agreed, read again."""
    note = court.issue(1)
    one = court.journal(note, 1)
    court.checks.receipt(court.host, note, one.id, None)
    shown = Shown()
    court.read(1, "text 1", shown=shown)
    court.agree(2, one)
    court.read(2, "text 1", shown=shown, session=Session())


def test_an_entry_that_does_not_add_up_is_caught(court: Court) -> None:
    """EveryOperationHasOneVerdict: an operation of it has neither a verdict nor a word of the gate."""
    with caught("EveryOperationHasOneVerdict"):
        court.checks.agreed(Effects(1, 1, 0, (), ()), [operation(court.issue(1), 1)], Records())


def test_what_was_turned_away_and_is_agreed_is_caught(court: Court) -> None:
    """EveryOperationHasOneVerdict: surely not done is surely not done."""
    note = court.issue(1)
    court.checks.turned_away(note)
    with caught("EveryOperationHasOneVerdict"):
        court.agree(1, operation(note, 1))


def test_a_receipt_with_another_verdict_is_caught(court: Court) -> None:
    """EveryOperationHasOneVerdict: told applied, and the log has refused it."""
    priority = court.issue(1, ChangePriority(CASE, "P0"))
    one = court.journal(priority, 1)
    court.agree(1, one, REFUSED)
    with caught("EveryOperationHasOneVerdict"):
        court.checks.receipt(court.host, priority, one.id, (1, APPLIED))


def test_an_act_under_two_ids_is_caught(court: Court) -> None:
    """NothingAppliedTwice: as itself and as what a drain made of it."""
    note = court.issue(1)
    court.agree(1, court.journal(note, 1))
    with caught("NothingAppliedTwice"):
        court.agree(2, operation(note, 1, b"\2" * 16))


def test_an_id_decided_by_two_entries_is_caught(court: Court) -> None:
    """NothingAppliedTwice."""
    one = court.journal(court.issue(1), 1)
    court.agree(1, one)
    with caught("NothingAppliedTwice"):
        court.checks._once(Effects(2, 1, 0, (Decided(one.id, APPLIED),), ()))


def test_an_agreed_note_that_is_not_shown_is_caught(court: Court) -> None:
    """NotesNeverLost: as of its own index and later; nor may its site have taken it and the log refuse it."""
    court.agree(3, court.journal(court.issue(1), 1))
    court.read(2)
    with caught("NotesNeverLost"):
        court.read(3)
    with caught("NotesNeverLost"):
        court.agree(4, court.journal(court.issue(2), 2), REFUSED)


def test_an_own_write_that_is_not_shown_or_twice_is_caught(court: Court) -> None:
    """ReadYourWrites."""
    note = court.issue(1)
    court.checks.receipt(court.host, note, court.journal(note, 1).id, None)
    court.read(1, "text 1")
    with caught("ReadYourWrites"):
        court.read(1)
    with caught("ReadYourWrites"):
        court.read(1, "text 1", "text 1")


def test_a_number_that_stands_for_two_acts_is_caught(court: Court) -> None:
    """NoNumberReused: on a disk, and in the log."""
    court.journal(court.issue(1), 1)
    with caught("NoNumberReused"):
        court.journal(court.issue(2), 1)
    with caught("NoNumberReused"):
        court.agree(1, operation(court.issue(3), 1))


def test_a_record_that_goes_too_early_is_caught(court: Court) -> None:
    """TrimmingLosesNothing: it has its verdict, and the flushed state does not."""
    court.agree(5, court.journal(court.issue(1), 1))
    with caught("TrimmingLosesNothing"):
        court.checks.took(court.host, [JournalTrim([(LIFE, 1)])])


def test_who_decides_apart_and_is_not_told_is_caught(court: Court) -> None:
    """NothingLostSilently: a priority said without knowing of another that stands is no plain one."""
    court.checks.severities.said(CASE, "priority", Said("P1", 1, issued("act-other", 1), False))
    apart = court.issue(2, ChangePriority(CASE, "P3"))
    with caught("NothingLostSilently"):
        court.agree(2, court.journal(apart, 2))


def test_what_was_on_no_disk_and_is_agreed_is_caught(court: Court) -> None:
    """DurableFirst: sent before the fsync; nor may there be a receipt for it."""
    note = court.issue(1)
    with caught("DurableFirst"):
        court.checks.receipt(court.host, note, operation(note, 1).id, None)
    with caught("DurableFirst"):
        court.agree(1, operation(note, 1))


def test_two_states_at_one_index_are_caught(court: Court) -> None:
    """DigestsEqual: whoever comes second, and whoever takes a whole state in."""
    court.checks.entries[4] = cast(Any, SimpleNamespace(who="zone-1", term=1, digest="one", decided=()))
    with caught("DigestsEqual"):
        court.checks._same(court.process, 4, "other")
    with caught("DigestsEqual"):
        court.checks.started(court.process, 4, "other")


def test_reads_that_go_back_are_caught(court: Court) -> None:
    """ReadsNeverOlder: of one life of a node, and of one session wherever it goes: an older index, or a note less."""
    shown, session = Shown(), Session(index=5)
    court.issue(1)
    court.read(3, "text 1", shown=shown)
    with caught("ReadsNeverOlder"):
        court.read(2, "text 1", shown=shown)
    with caught("ReadsNeverOlder"):
        court.read(4, shown=shown)
    with caught("ReadsNeverOlder"):
        court.read(4, "text 1", session=session)


def test_a_freshness_that_is_not_so_is_caught(court: Court) -> None:
    """FreshnessIsTrue: index, undecided, authority, epoch, age, mode, tentative."""
    note = court.issue(1)
    one = court.journal(note, 1)
    reading = Reading(court.checks, court.process, CASE, case_of(()))
    right = fresh(1, 1)
    lies = (
        altered(right, index=2),
        altered(right, undecided=0),
        altered(right, undecided=9),
        altered(right, authority="fr.health.samu690"),
        altered(right, epoch=2),
        altered(right, confirmed_age_ms=9_000),
        altered(right, unconfirmed_since_ms=1),
        altered(right, clock_unsure=True),
        altered(right, fenced=True),
        altered(right, restored=True),
    )
    reading.look(right, truth(1), Shown(), None)
    for told in lies:
        with caught("FreshnessIsTrue"):
            reading.look(told, truth(1), Shown(), None)
    with caught("FreshnessIsTrue"):
        reading.look(right, truth(1, apart_since_s=2.0), Shown(), None)
    early = replace(court.issue(2), name="act-early")
    court.checks.issued["act-early"] = early
    court.agree(2, one)
    agreed = ElementView("medical_note", ValueView('{"freetext":"text 1"}', "act-1", 0, 0, 0, "", 0, True, True))
    with caught("FreshnessIsTrue"):
        Reading(court.checks, court.process, CASE, case_of((agreed,))).look(fresh(2, 0), truth(2), Shown(), None)


def test_a_stranger_who_decides_plainly_is_caught(court: Court) -> None:
    """AuthorityIsOne: the case was taken over, and its Samu decides as if it were not; or not knowing that it is."""
    court.checks.in_charge.charges.turn(SITE, Turn(2, "act-9", "fr.health.samu690", "fr.health.samu690"))
    with caught("AuthorityIsOne"):
        court.agree(3, court.journal(court.issue(1), 1))
    court.checks.issued["act-8"] = replace(
        court.issue(2), name="act-8", site="fr.health.samu690", life=Life("", frozenset())
    )
    court.checks.in_charge.charges.turn(SITE, Turn(4, "act-8", "fr.health.samu690", SITE))
    with caught("AuthorityIsOne"):
        court.agree(5, court.journal(court.issue(3), 3))


# ---- what is told a second time


def issued(name: str, at: int, *known: str, seen: int = 0, life: Life | None = None) -> Issued:
    return Issued(name, SITE, life or Life(name, frozenset(known)), at, seen, ChangePriority(CASE, "P0"), CASE)


def test_a_value_stands_until_somebody_who_knew_it_has_said_another() -> None:
    """Whoever did not know of it stands beside it."""
    told = Severities()
    first, apart, knowing = issued("a", 1), issued("b", 2), issued("c", 3, "a")
    for index, one in enumerate((first, apart, knowing), 1):
        told.said(CASE, "priority", Said("P1", index, one, False))
    of = told.of(CASE, "priority")
    assert [said.by.name for said in of.standing] == ["b", "c"]
    assert set(of.over) == {"a"}


def test_who_is_in_charge_told_plainly() -> None:
    """Taken over whole, a case opened since, one taken from the taker, all handed back."""
    charges, one, two = Charges(), Opened("A", "A", 1), Opened("A", "A", 5)
    charges.turn("A", Turn(3, "t1", "B", "B"))
    assert (charges.holder("A"), charges.epoch("A"), charges.epoch("A", 2)) == ("B", 2, 1)
    assert charges.of("one", one)[0] == "B"
    assert charges.of("two", two)[0] == "A"
    charges.turn("A", Turn(7, "t2", "C", "C", ("one",)))
    assert charges.of("one", one)[0] == "C"
    charges.turn("A", Turn(8, "t3", "B", "A"))
    assert (charges.of("one", one)[0], charges.holder("A"), charges.epoch("A")) == ("C", "A", 4)


def test_a_backup_of_a_drawer_is_its_own() -> None:
    """What is journalled after it was taken is not in it."""
    drawer = Drawer(names={"a"}, promised={CASE: {"text"}})
    kept = drawer.copy()
    drawer.names.add("b")
    drawer.promised[CASE].add("more")
    assert (kept.names, kept.promised) == ({"a"}, {CASE: {"text"}})


def test_values_in_the_state_that_cannot_be_are_caught(court: Court) -> None:
    """NothingLostSilently, LaterOfOneSiteHolds, MoreSevereHolds: told by what stands in a slot."""
    slots: list[tuple[Held, ...]] = [()]
    draft = cast(Any, SimpleNamespace(slot=lambda group, name: SimpleNamespace(siblings=slots[0])))
    first, apart, knowing = issued("a", 1), issued("b", 2), issued("c", 3, "a")

    def held(one: Issued, value: str) -> Held:
        return Held(value, OperationId(SITE, LIFE, one.at), one.at, 0, HybridTime(0), 0, 0, one.name, True)

    for index, (one, value) in enumerate(((first, "P0"), (apart, "P1"), (knowing, "P3")), 1):
        court.checks.severities.said(CASE, "priority", Said(value, index, one, False))
    slots[0] = (held(apart, "P1"), held(knowing, "P3"))
    court.checks.severities.stands(CASE, "priority", draft)
    slots[0] = (held(apart, "P1"),)
    with caught("NothingLostSilently"):
        court.checks.severities.stands(CASE, "priority", draft)
    slots[0] = (held(first, "P0"), held(apart, "P1"), held(knowing, "P3"))
    with caught("LaterOfOneSiteHolds"):
        court.checks.severities.stands(CASE, "priority", draft)
    slots[0] = (held(knowing, "P3"), held(apart, "P1"))
    with caught("MoreSevereHolds"):
        court.checks.severities.stands(CASE, "priority", draft)
