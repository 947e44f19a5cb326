"""The stores of a small cluster that never ran: three zones and two sites, a few operations, all as a run would leave
them. Tests then damage one of them and see whether the audit finds it."""

from __future__ import annotations

from pathlib import Path

from replica.cases.commands import AddNote, Opening, Payload, Report
from replica.cases.machine import apply
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Empty, Overlay
from replica.cases.verdicts import Decided, Verdict
from replica.demo.ledger import Held, Ledger
from replica.demo.supervisor import Plan, SitePlan
from replica.hubsante.decode import read
from replica.raft.types import Entry, EntryKind, HardState
from replica.runtime.site import decision_key
from replica.storage import Identity, open_store
from replica.wire.client import Receipt
from replica.wire.operation_codec import batch, decode_batch, encode_operation, encode_verdict

SITES = ("fr.health.samu440", "fr.health.samu690")
CASE = "fr.health.samu440.1"
STORE_ID = "0" * 32
NOTES = 4
"""Notes of each site. Each site's first operation is a report that opens the case."""


def plan(folder: Path) -> Plan:
    return Plan(folder, 3, tuple(SitePlan(name) for name in SITES))


def incarnation(site: str) -> bytes:
    return bytes([SITES.index(site) + 1]) * 16


def operations() -> list[Operation]:
    """In the order of the log: openings, then each site's report and notes in turn."""
    found = [_operation(site, 0, Opening(None, 0, None)) for site in SITES]
    found += [_operation(site, 1, _report(site)) for site in SITES]
    for number in range(NOTES):
        found += [_operation(site, 2 + number, AddNote(CASE, f"{site}.medicalNote.{number}", "text")) for site in SITES]
    return found


def callers_operations() -> list[str]:
    """Those that a caller holds a receipt for: all but the openings."""
    return [str(one.id) for one in operations() if one.id.seq > 0]


def build(folder: Path) -> tuple[Ledger, list[Decided]]:
    """Every node's store below `folder`, and what the callers were told."""
    records, entries, decided = Overlay(Empty()), [Entry(1, 1, EntryKind.NOOP, b"")], list[Decided]()
    for index, operation in enumerate(operations(), 2):
        data = batch(1_000 * index, 1, [encode_operation(operation)])
        effects = apply(records, decode_batch(data), index, 1)
        records.update(dict(effects.changes))
        entries.append(Entry(index, 1, EntryKind.DATA, data))
        decided += effects.decided
    changes = {key: value for key, value in records.changes.items() if value is not None}
    verdicts = {one.id: one.verdict for one in decided}
    for name in (*plan(folder).zone_names, *SITES):
        role = "site" if name in SITES else "zone"
        with open_store(folder / name, Identity("demo", name, role, STORE_ID), create=True) as store:
            if role == "zone":
                store.log.save(HardState(1, 1), entries)
            store.state.flush(changes, (len(entries), 1), _own(name, verdicts) if role == "site" else {})
    return _ledger(verdicts), decided


def _own(site: str, verdicts: dict[OperationId, Verdict]) -> dict[bytes, bytes]:
    """A site's local table: index and verdict of each of its operations."""
    return {decision_key(name): bytes(8) + encode_verdict(one) for name, one in verdicts.items() if name.site == site}


def _ledger(verdicts: dict[OperationId, Verdict]) -> Ledger:
    ledger = Ledger()
    for number, (ident, verdict) in enumerate(verdicts.items()):
        if ident.seq > 0:
            held = Held(f"key-{number}", ident.site, "note")
            held.receipts = (Receipt("agreed", str(ident), number, verdict),)
            ledger.open(held)
    return ledger


def _operation(site: str, seq: int, payload: Payload) -> Operation:
    ident = OperationId(site, incarnation(site), seq)
    return Operation(ident, 1, 0, HybridTime(1_000), 1_000, "somebody", payload, key=f"{seq}" if seq else "")


def _report(site: str) -> Report:
    text = f'{{"createCaseHealthUpdate": {{"caseId": "{CASE}", "freetext": "said by {site}"}}}}'
    (content,) = read(text.encode(), default_sender=site).contents
    assert isinstance(content.outcome, Report)
    return content.outcome
