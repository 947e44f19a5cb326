"""What a caller is told, and when (rule 9)."""

from __future__ import annotations

from replica.cases.commands import TransferCase
from replica.cases.operations import OperationId
from replica.cases.verdicts import VerdictKind
from replica.offline.core import SiteConfig
from replica.offline.events import Agreed, KeptHere, Mode, NotKnown, TurnedAway
from tests.offline.solo import LIFE, Solo, note, report
from tests.offline.world import A, B


def test_no_receipt_before_the_record_is_durable() -> None:
    """Cut off and the budget not over: nothing is said until the disk has answered."""
    solo = Solo()
    solo.journalled()
    solo.cut()
    solo.issue()
    assert solo.receipts(KeptHere) == []
    solo.journalled()
    assert solo.receipts(KeptHere) == [KeptHere(1, OperationId(A, LIFE, 1))]


def test_kept_here_comes_at_once_where_the_line_is_known_to_be_cut() -> None:
    """Nobody is made to wait a budget for a line that is known to be cut; callers who wait when it breaks go home
    too."""
    solo = Solo().connected()
    solo.issue(budget_ms=10_000)
    solo.journalled()
    assert solo.receipts(KeptHere) == []
    solo.cut()
    assert [receipt.token for receipt in solo.receipts(KeptHere)] == [1]


def test_a_store_just_opened_waits_the_budget() -> None:
    """It has heard nobody yet, but it does not know that it is cut off."""
    solo = Solo()
    solo.journalled()
    solo.issue(budget_ms=250)
    solo.journalled()
    assert (solo.core.mode, solo.receipts(KeptHere)) == (Mode.CUT_OFF, [])
    solo.pass_ms(249)
    assert solo.receipts(KeptHere) == []
    solo.pass_ms(1)
    assert [receipt.token for receipt in solo.receipts(KeptHere)] == [1]


def test_agreed_brings_index_and_verdict() -> None:
    """Durable here and in the feed: the caller is told where and what."""
    solo = Solo().connected()
    token = solo.issue()
    solo.journalled()
    solo.agree(solo.sent()[-1])
    [receipt] = solo.receipts(Agreed)
    assert (receipt.token, receipt.index, receipt.verdict.kind) == (token, solo.index, VerdictKind.APPLIED)


def test_a_disk_that_is_silent_leaves_the_outcome_unknown() -> None:
    """The budget is over and neither disk nor quorum has answered; later `outcome` answers."""
    solo = Solo().connected()
    solo.issue(budget_ms=250)
    solo.pass_ms(250)
    [receipt] = solo.receipts(NotKnown)
    assert solo.core.outcome(receipt.operation).state == "unknown"
    solo.journalled()
    assert solo.core.outcome(receipt.operation).state == "journalled"
    solo.agree(solo.sent()[-1])
    assert solo.core.outcome(receipt.operation).state == "agreed"
    assert solo.receipts(Agreed) == []


def test_nobody_is_told_twice() -> None:
    """After `KeptHere` the verdict goes to the local table, not to the caller again."""
    solo = Solo().connected()
    solo.issue(budget_ms=0)
    solo.journalled()
    solo.pass_ms(1)
    solo.agree(*solo.sent()[-1:])
    told = [receipt for todo in solo.done for receipt in todo.receipts]
    assert len(told) == 1


def test_a_report_is_taken_in_any_mode_and_a_command_that_needs_others_is_not() -> None:
    """An emergency's data is never refused; a transfer cannot be decided alone, and that is said before any journal."""
    solo = Solo()
    solo.journalled()
    solo.cut()
    before = len(solo.journal)
    solo.issue(TransferCase(f"{A}.case1", B))
    [receipt] = solo.receipts(TurnedAway)
    assert "cut off" in receipt.why
    assert len(solo.journal) == before
    solo.issue(report(f"{B}.case9", B))
    solo.journalled()
    assert [receipt.token for receipt in solo.receipts(KeptHere)] == [2]


def test_a_case_opened_here_while_cut_off_is_this_sites_own_at_once() -> None:
    """A command on it is judged in the working view, where the report that opened it counts already."""
    solo = Solo()
    solo.journalled()
    solo.cut()
    solo.issue(report(f"{A}.new"))
    solo.issue(type(note())(f"{A}.new", "n", "text"))
    solo.journalled()
    assert [receipt.token for receipt in solo.receipts(KeptHere)] == [1, 2]


def test_a_zones_own_callers_are_never_told_that_something_is_kept() -> None:
    """Their journal does not outlive the process."""
    solo = Solo(config=SiteConfig(forgetful=True))
    solo.journalled()
    solo.cut()
    solo.issue(budget_ms=100)
    solo.journalled()
    solo.pass_ms(100)
    assert (len(solo.receipts(NotKnown)), solo.receipts(KeptHere)) == (1, [])


def test_a_full_disk_turns_away_and_the_number_is_free_again() -> None:
    """Surely not done: the next operation has the number, and rule 5 sees no gap."""
    solo = Solo().connected()
    solo.issue(budget_ms=10_000)
    solo.issue(budget_ms=10_000)
    solo.refused()
    assert [(receipt.token, receipt.full) for receipt in solo.receipts(TurnedAway)] == [(1, True), (2, True)]
    assert solo.core.undecided == 0
    solo.issue()
    assert solo.journal[-1].id == OperationId(A, LIFE, 1)


def test_an_operation_asked_for_by_name_keeps_its_number_over_a_full_disk() -> None:
    """Told `NotKnown`, its caller may ask: it is tried again, and a tombstone fills what was turned away below it."""
    solo = Solo().connected()
    solo.issue(budget_ms=10_000)
    solo.issue(budget_ms=100)
    solo.pass_ms(100)
    [told] = solo.receipts(NotKnown)
    solo.refused()
    assert [receipt.token for receipt in solo.receipts(TurnedAway)] == [1]
    solo.pass_ms(1000)
    solo.journalled()
    again = [(operation.id.seq, type(operation.payload).__name__) for operation in solo.journal[-2:]]
    assert again == [(1, "Tombstone"), (2, "AddNote")]
    assert solo.core.outcome(told.operation).state == "journalled"


def test_an_opening_refused_by_a_full_disk_is_tried_again() -> None:
    """It is nobody's to turn away; the site recovers by itself when space returns."""
    solo = Solo()
    solo.refused()
    assert solo.core.deadline_ms == solo.now_ms + 1000
    solo.pass_ms(1000)
    assert [operation.id.seq for operation in solo.journal] == [0, 0]
