"""Which commands are judged by the working view, and which the agreed state can answer for."""

from __future__ import annotations

import pytest

from replica.cases.commands import (
    ChangePriority,
    EngageResource,
    HandBack,
    Opening,
    Payload,
    Report,
    Subject,
    TakeOver,
    TransferCase,
)
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.offline.events import TurnedAway
from replica.offline.shaping import Shapers
from tests.offline.solo import CASE, LIFE, Solo, note, report
from tests.offline.world import A, B


def operation(payload: Payload, seq: int = 1) -> Operation:
    return Operation(OperationId(A, LIFE, seq), 1, 0, HybridTime(0), 0, "arm", payload)


def test_a_report_concerns_the_subjects_it_names_and_no_other() -> None:
    """The case opened a minute ago is looked up in the view, the one beside it is not."""
    shapers = Shapers()
    shapers.add(operation(report("case1")))
    assert shapers.may_change(ChangePriority("case1", "P0"))
    assert not shapers.may_change(ChangePriority("case2", "P0"))
    assert not shapers.may_change(EngageResource("case1", "case2"))
    assert not shapers.may_change_charges


def test_a_report_that_names_no_id_may_concern_any() -> None:
    """Its case is found by the sender's number only when it is applied."""
    shapers = Shapers()
    shapers.add(operation(Report("m", "RS-RPIS", B, (Subject("case", "", (), sender_case="17"),))))
    assert shapers.may_change(ChangePriority("case2", "P0"))


@pytest.mark.parametrize("payload", [TakeOver(A, B, 1, "x"), HandBack(A, "x"), Opening(None, 0, None)])
def test_what_moves_a_charge_concerns_everything(payload: Payload) -> None:
    shapers = Shapers()
    shapers.add(operation(payload))
    assert shapers.may_change(ChangePriority("case1", "P0"))
    assert shapers.may_change_charges


@pytest.mark.parametrize("payload", [note(), ChangePriority("case1", "P0"), Opening(LIFE, 3, LIFE)])
def test_most_operations_concern_nobody(payload: Payload) -> None:
    """So most commands cost three reads, however long the journal."""
    shapers = Shapers()
    shapers.add(operation(payload))
    assert not shapers.may_change(TransferCase("case1", B))
    assert not shapers.may_change_charges


def test_what_is_decided_counts_no_more() -> None:
    shapers = Shapers()
    first, second = operation(report("case1"), 1), operation(report("case1"), 2)
    shapers.add(first)
    shapers.add(second)
    shapers.remove(first.id)
    assert shapers.may_change(ChangePriority("case1", "P0"))
    shapers.remove(second.id)
    shapers.remove(second.id)
    assert not shapers.may_change(ChangePriority("case1", "P0"))


def test_another_wording_of_an_operation_counts_in_place_of_the_first() -> None:
    """Taken in twice, it is let go once."""
    shapers = Shapers()
    for _ in range(2):
        shapers.add(operation(HandBack(A, "x")))
    shapers.remove(operation(HandBack(A, "x")).id)
    assert not shapers.may_change_charges


def test_the_last_that_counts_is_known_even_when_it_is_decided() -> None:
    """What lies behind it never counted, however often what is before it is worded anew."""
    shapers = Shapers()
    assert shapers.last_seq(LIFE) == 0
    payloads: list[Payload] = [report("case1"), note(), report("case2"), note()]
    for seq, payload in enumerate(payloads, 1):
        shapers.add(operation(payload, seq))
    shapers.add(operation(report("case1"), 1))
    shapers.remove(operation(report("case2"), 3).id)
    assert shapers.last_seq(LIFE) == 3


def test_plain_operations_are_left_to_who_reads_even_where_the_case_was_opened_here() -> None:
    """So a command costs a site that is cut off as little as one that is connected."""
    solo = Solo(knows_case=False)
    solo.journalled()
    solo.cut()
    solo.issue(report())
    for _ in range(9):
        solo.issue(note())
        solo.journalled()
    assert solo.core._view.pending == 9
    solo.issue(ChangePriority(f"{A}.nowhere", "P0"))
    assert [one.why for one in solo.receipts(TurnedAway)] == [f"there is no case {A}.nowhere here"]
    solo.issue(ChangePriority(CASE, "P0"))
    assert len(solo.receipts(TurnedAway)) == 1
    view = solo.core.view()
    solo.core._view.invalidate()
    assert dict(solo.core.view().scan(b"")) == dict(view.scan(b""))


def test_a_case_opened_behind_plain_operations_is_found_by_the_next_command() -> None:
    solo = Solo(knows_case=False)
    solo.journalled()
    solo.cut()
    solo.issue(report())
    for number in range(5):
        solo.issue(note())
        solo.issue(report(f"{A}.more{number}"))
        solo.issue(ChangePriority(f"{A}.more{number}", "P0"))
    assert not solo.receipts(TurnedAway)
