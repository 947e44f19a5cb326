"""The audit reads stores from disk and finds each way in which they can betray a receipt, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from replica.cases import keys
from replica.cases.operations import OperationId
from replica.cases.state import JUDGED
from replica.cases.verdicts import Verdict, VerdictKind
from replica.demo.audit import Audit, audit
from replica.demo.ledger import Held, Ledger
from replica.demo.stores import LogRead, StoreRead, read_stores
from replica.runtime.site import decision_key
from replica.storage import open_store, peek_identity
from replica.wire.client import Receipt
from replica.wire.operation_codec import encode_verdict
from tests.demo.small_cluster import CASE, SITES, build, callers_operations, operations, plan

LAST = operations()[-1].id


def judge(folder: Path, ledger: Ledger) -> Audit:
    return audit(ledger, {}, read_stores(folder, plan(folder), ledger.operations()))


def doctor(folder: Path, node: str, changes: Mapping[bytes, bytes | None], local: Mapping[bytes, bytes | None]) -> None:
    """Write these records into one node's store, as a bug or a bad disk might."""
    with open_store(folder / node, peek_identity(folder / node), create=False) as store:
        store.state.flush(changes, store.state.applied(), local)


def test_stores_that_keep_their_promises_pass(tmp_path: Path) -> None:
    """Every operation has one verdict in every store, digests are equal, nothing is reported."""
    ledger, decided = build(tmp_path)
    found = judge(tmp_path, ledger)
    assert found.problems == ()
    assert (found.lost, found.duplicated, found.digests_equal) == (set(), set(), True)
    assert found.verdicts_total == len(callers_operations()) == sum(found.verdicts.values())
    assert len(decided) == len(callers_operations()) + len(SITES)
    assert set(found.digests) == {*plan(tmp_path).zone_names, *SITES}


def test_a_receipt_for_what_no_store_has_is_lost(tmp_path: Path) -> None:
    """The callers' word counts: one operation more than the stores know of."""
    ledger, _ = build(tmp_path)
    unknown = str(OperationId(LAST.site, LAST.incarnation, LAST.seq + 1))
    held = Held("key", LAST.site, "note", receipts=(Receipt("agreed", unknown, 99, Verdict(VerdictKind.APPLIED)),))
    ledger.open(held)
    found = judge(tmp_path, ledger)
    assert found.lost == {unknown}
    assert found.verdicts_total == len(callers_operations())
    assert len(found.problems) == 2


def test_one_store_behind_the_others_has_lost_what_it_lacks(tmp_path: Path) -> None:
    """A single zone whose gate has not counted the last operation: that one is lost, and its records differ."""
    ledger, _ = build(tmp_path)
    with open_store(tmp_path / "zone-2", peek_identity(tmp_path / "zone-2"), create=False) as store:
        key = keys.stream(LAST.site, LAST.incarnation)
        record = store.state.get(key)
        assert record is not None
        old = msgspec.msgpack.decode(record)
        store.state.flush({key: msgspec.msgpack.encode([LAST.seq - 1, *old[1:]])}, store.state.applied())
    found = judge(tmp_path, ledger)
    assert found.lost == {str(LAST)}
    assert not found.digests_equal
    assert any(problem.startswith("zone-2: its log gives digest") for problem in found.problems)


def test_a_site_that_keeps_another_verdict_than_it_told_has_lost_it(tmp_path: Path) -> None:
    """The receipt said one thing, the site's own table says another."""
    ledger, _ = build(tmp_path)
    other = bytes(8) + encode_verdict(Verdict(VerdictKind.REFUSED))
    doctor(tmp_path, LAST.site, {}, {decision_key(LAST): other})
    assert judge(tmp_path, ledger).lost == {str(LAST)}


def test_a_site_that_forgot_its_verdict_has_lost_it(tmp_path: Path) -> None:
    """Counted by the gate, and yet the site could not say what became of it."""
    ledger, _ = build(tmp_path)
    doctor(tmp_path, LAST.site, {}, {decision_key(LAST): None})
    assert judge(tmp_path, ledger).lost == {str(LAST)}


def test_a_receipt_without_any_verdict_is_lost(tmp_path: Path) -> None:
    """Journalled, and no verdict ever came to the caller: that is no end."""
    ledger, _ = build(tmp_path)
    held = ledger.held[-1]
    held.receipts = (Receipt("journalled", held.receipts[0].operation),)
    assert judge(tmp_path, ledger).lost == {held.receipts[0].operation}
    verdict = Receipt("agreed", held.receipts[0].operation, 3, build_verdict(tmp_path, held))
    stores = read_stores(tmp_path, plan(tmp_path), ledger.operations())
    assert audit(ledger, {verdict.operation: verdict}, stores).lost == set()


def build_verdict(folder: Path, held: Held) -> Verdict:
    """The verdict that the stores hold on the first operation of `held`."""
    (store,) = (one for one in read_stores(folder, plan(folder), [held.receipts[0].operation]) if one.node == held.site)
    return Verdict(VerdictKind(store.own[held.receipts[0].operation]))


def test_an_operation_judged_twice_in_one_store_is_duplicated(tmp_path: Path) -> None:
    """A second verdict on it stands in the case's history, under another entry: it was applied once more."""
    ledger, _ = build(tmp_path)
    prefix = keys.parts("case", CASE)
    with open_store(tmp_path / SITES[1], peek_identity(tmp_path / SITES[1]), create=False) as store:
        judged = [JUDGED.decode(value) for key, value in store.state.scan(prefix) if key[len(prefix) :][:1] == b"v"]
        assert judged, "no verdict other than applied among the operations: this test needs one"
        again = msgspec.structs.replace(judged[-1], index=99)
        key = keys.judged(prefix, 99, 0, again.operation)
        store.state.flush({key: msgspec.msgpack.encode(again)}, store.state.applied())
    found = judge(tmp_path, ledger)
    assert found.duplicated == {str(again.operation)}
    assert found.verdicts_total == len(callers_operations()) - 1
    assert not found.digests_equal


def test_a_changed_record_shows_though_every_count_is_right(tmp_path: Path) -> None:
    """One note's text altered in one store: nothing lost, nothing twice, and not equal."""
    ledger, _ = build(tmp_path)
    with open_store(tmp_path / "zone-3", peek_identity(tmp_path / "zone-3"), create=False) as store:
        (key, value), *_ = store.state.scan(keys.parts("case", CASE) + b"u")
        store.state.flush({key: value.replace(b"text", b"tixt")}, store.state.applied())
    found = judge(tmp_path, ledger)
    assert (found.lost, found.duplicated, found.digests_equal) == (set(), set(), False)
    assert any(problem.startswith("zone-3: its records give digest") for problem in found.problems)


def test_a_store_that_cannot_be_read_is_a_problem_with_its_reason(tmp_path: Path) -> None:
    """Nothing is equal to what is not there."""
    ledger, _ = build(tmp_path)
    (tmp_path / "zone-1" / "state" / "data.mdb").unlink()
    found = judge(tmp_path, ledger)
    assert not found.digests_equal
    assert any(problem.startswith("zone-1: StoreError") for problem in found.problems)


def test_an_act_that_took_effect_under_two_numbers_is_duplicated() -> None:
    """One caller's key, two operations with an effect each: one of them is too many."""
    ledger, stores = one_operation()
    assert audit(ledger, {}, stores).problems == ()
    log = stores[0].log
    assert log is not None
    log.by_key[SITES[0], "key"] = {str(FIRST), str(SECOND)}
    found = audit(ledger, {}, stores)
    assert found.duplicated == {str(SECOND)}
    assert found.problems == (f"duplicated: {SECOND}",)


def test_an_operation_decided_twice_by_the_log_is_duplicated() -> None:
    """The replay of the log gave it two verdicts."""
    ledger, stores = one_operation()
    log = stores[0].log
    assert log is not None
    log.decided[str(FIRST)] += 1
    found = audit(ledger, {}, stores)
    assert found.duplicated == {str(FIRST)}
    assert found.verdicts_total == 0


def test_one_receipt_given_for_two_acts_is_duplicated() -> None:
    """Two callers were told the same operation: one of their acts is nowhere."""
    ledger, stores = one_operation()
    ledger.open(Held("other", SITES[0], "note", receipts=ledger.held[0].receipts))
    assert audit(ledger, {}, stores).duplicated == {str(FIRST)}


def test_two_stores_each_at_one_with_itself_may_still_differ() -> None:
    """Equal is between the nodes; what a node kept of its own digest proves nothing."""
    ledger, stores = one_operation()
    stores[1].digest = stores[1].kept_digest = "e"
    found = audit(ledger, {}, stores)
    assert not found.digests_equal
    assert found.problems == (f"the records differ: zone-1 d, {SITES[0]} e",)


def test_a_journal_with_something_undecided_is_a_problem() -> None:
    """Nothing may still wait for its verdict at the end."""
    ledger, stores = one_operation()
    stores[1].undecided = 2
    assert audit(ledger, {}, stores).problems == (f"{SITES[0]}: 2 operations in its journal without a verdict",)


FIRST = OperationId(SITES[0], b"1" * 16, 1)
SECOND = OperationId(SITES[0], b"1" * 16, 2)


def one_operation() -> tuple[Ledger, list[StoreRead]]:
    """A zone and a site that agree on one applied operation."""
    ledger, name = Ledger(), str(FIRST)
    receipt = Receipt("agreed", name, 3, Verdict(VerdictKind.APPLIED))
    ledger.open(Held("key", SITES[0], "note", receipts=(receipt,)))
    zone = StoreRead("zone-1", "zone", 3, "d", "d", {(SITES[0], FIRST.incarnation): 1})
    zone.log = LogRead(kinds={name: "applied"}, by_key={(SITES[0], "key"): {name}}, digest="d")
    zone.log.decided[name] = 1
    site = StoreRead(SITES[0], "site", 3, "d", "d", {(SITES[0], FIRST.incarnation): 1}, own={name: "applied"})
    return ledger, [zone, site]
