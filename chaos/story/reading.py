"""The stores of a night, read when every process is gone, so that the demo's audit can judge them.

Two things are otherwise here than in a demo, and the audit is told so rather than made milder:

* **A site may have had more than one disk.** What its callers were told stands on the one they were told it from: a
  disk that was emptied or restored since (a copy was set aside before), or a clone's. Their verdicts are read together,
  and two disks that say different things of one operation are a problem.
* **A closed operation goes on under another id.** A clone's, or a fenced process's, is decided under a drain (rule 8 of
  docs/offline.md), whose id follows from its own and from where its life was closed. The receipt is looked for there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from replica.cases import queries
from replica.cases.operations import OperationId
from replica.demo.audit import Audit, audit
from replica.demo.ledger import Held, Ledger
from replica.demo.stores import StoreRead, read_store, read_stores
from replica.demo.supervisor import Plan
from replica.errors import StoreError
from replica.offline.lives import drained_id
from replica.storage import open_store, peek_identity
from replica.wire.client import Receipt


def audited(
    plan: Plan,
    ledger: Ledger,
    decided: Mapping[str, Receipt],
    set_aside: Mapping[str, Sequence[Path]],
    clones: Mapping[str, Path],
) -> Audit:
    """The demo's judgement of this night. `set_aside`: site → its former disks; `clones`: site → the store of a second
    process of it, which has to be as whole as every other. Raises nothing for what is wrong."""
    try:
        moved = drains_of(plan.folder / plan.zone_names[0], ledger.operations())
    except StoreError as problem:
        return Audit(problems=(f"{plan.zone_names[0]}: {problem}",))
    told = renamed(ledger, moved)
    verdicts = {moved.get(name, name): _renamed(receipt, moved) for name, receipt in decided.items()}
    stores = read_stores(plan.folder, plan, told.operations())
    contradictions: list[str] = []
    for store in stores:
        others = [*set_aside.get(store.node, ()), *(clones[name] for name in clones if name == store.node)]
        for folder in others:
            contradictions += add_disk(store, folder, told.operations())
    stores += [_clone(name, folder, told.operations()) for name, folder in clones.items()]
    found = audit(told, verdicts, stores)
    found.problems = (*contradictions, *found.problems)
    return found


def drains_of(zone: Path, operations: Iterable[str]) -> dict[str, str]:
    """Operation → the id it was decided under, for those whose life was closed before it. Raises StoreError."""
    moved = {}
    with open_store(zone, peek_identity(zone), create=False, read_only=True) as store:
        for name in operations:
            ident = OperationId.parse(name)
            stream = queries.stream(store.state, ident.site, ident.incarnation)
            if stream is not None and stream.closed_at is not None and ident.seq > stream.closed_at:
                moved[name] = str(drained_id(ident, stream.closed_at))
    return moved


def renamed(ledger: Ledger, moved: Mapping[str, str]) -> Ledger:
    """The same ledger, with receipts for drained operations under their drain's ids."""
    told = Ledger()
    for held in ledger.held:
        receipts = tuple(_renamed(receipt, moved) for receipt in held.receipts)
        told.open(Held(held.key, held.site, held.what, held.text, receipts))
    return told


def add_disk(store: StoreRead, folder: Path, operations: Iterable[str]) -> list[str]:
    """Add the verdicts that another disk of this site keeps; where the two contradict each other, in words."""
    try:
        with open_store(folder, peek_identity(folder), create=False, read_only=True) as other:
            own = read_store(other, store.node, operations).own
    except StoreError as problem:
        return [f"{folder.name}: {problem}"]
    contradicted = [
        f"{folder.name} says {kind} of {name}, {store.node} says {store.own[name]}"
        for name, kind in own.items()
        if store.own.get(name, kind) != kind
    ]
    store.own = own | store.own
    return contradicted


def _clone(site: str, folder: Path, operations: Iterable[str]) -> StoreRead:
    try:
        with open_store(folder, peek_identity(folder), create=False, read_only=True) as store:
            read = read_store(store, site, operations)
    except StoreError as problem:
        read = StoreRead(site, "site", problem=f"{type(problem).__name__}: {problem}")
    read.node = folder.name
    return read


def _renamed(receipt: Receipt, moved: Mapping[str, str]) -> Receipt:
    return replace(receipt, operation=moved.get(receipt.operation, receipt.operation))
