"""The callers' receipts laid beside the stores: what is lost, what is there twice, whether all replicas are equal.

Lost: an operation somebody holds a receipt for, which some store has not counted, or whose verdict is missing or
another than its receipt says. Duplicated: an operation that some store judges more than once, or one act (one caller's
key) that took effect under two numbers. Each operation is counted once, however many stores are wrong about it.

Run and replay of the log use the same shipped rules. So the replayed records are not all: they must be those on disk,
and those on disk must be equal on all nodes, each of which came to them in its own way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from replica.cases.operations import OperationId
from replica.cases.verdicts import VerdictKind
from replica.demo.ledger import Ledger
from replica.demo.stores import LogRead, StoreRead
from replica.wire.client import Receipt

NAMED = 5
"""How many wrong operations a problem names."""


@dataclass(slots=True)
class Audit:
    """What was found. `problems` is empty where everything is as it should be."""

    lost: set[str] = field(default_factory=set)
    duplicated: set[str] = field(default_factory=set)
    verdicts: dict[str, int] = field(default_factory=dict)
    """Kind → operations, in the order of the kinds."""
    verdicts_total: int = 0
    digests_equal: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    conflicts: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    problems: tuple[str, ...] = ()


def audit(ledger: Ledger, decided: Mapping[str, Receipt], stores: Sequence[StoreRead]) -> Audit:
    """Judge a run. `decided`: receipts with the verdict that came after a first one without. Raises nothing."""
    told = _told(ledger, decided)
    kinds = _kinds(stores)
    found = Audit(lost=set(_lost(told, stores, kinds)), duplicated=set(_duplicated(ledger, told, stores)))
    counts = Counter(kinds[operation] for operation in told if operation in kinds)
    found.verdicts = {kind.value: counts[kind.value] for kind in VerdictKind if counts[kind.value]}
    found.verdicts_total = sum(operation in kinds and operation not in found.duplicated for operation in told)
    found.digests = {store.node: store.digest for store in stores}
    found.digests_equal = len(set(found.digests.values())) == 1 and "" not in found.digests.values()
    found.conflicts = stores[0].conflicts if stores else ()
    found.problems = tuple(_problems(found, told, stores))
    return found


def _told(ledger: Ledger, decided: Mapping[str, Receipt]) -> dict[str, str]:
    """Operation → the kind of verdict its caller was told last; empty where none was."""
    told: dict[str, str] = {}
    for _, receipt in ledger.receipts():
        known = decided.get(receipt.operation, receipt) if receipt.verdict is None else receipt
        told[receipt.operation] = "" if known.verdict is None else known.verdict.kind.value
    return told


def _kinds(stores: Sequence[StoreRead]) -> dict[str, str]:
    """Operation → its verdict as the site it came from keeps it on disk, and as the zones' logs give it."""
    kinds: dict[str, str] = {}
    for store in stores:
        kinds |= store.own
    for log in _logs(stores):
        kinds |= log.kinds
    return kinds


def _logs(stores: Sequence[StoreRead]) -> Iterator[LogRead]:
    for store in stores:
        if store.log is not None and store.log.whole:
            yield store.log


def _lost(told: Mapping[str, str], stores: Sequence[StoreRead], kinds: Mapping[str, str]) -> Iterator[str]:
    for operation, word in told.items():
        ident = OperationId.parse(operation)
        everywhere = all(store.has(ident) for store in stores)
        if not (everywhere and kinds.get(operation) == word and _everyone_says(operation, word, stores)):
            yield operation


def _everyone_says(operation: str, word: str, stores: Sequence[StoreRead]) -> bool:
    """Whether the site it came from keeps this verdict, and every whole log gives it, once or more."""
    site = OperationId.parse(operation).site
    kept = [store.own.get(operation) for store in stores if store.node == site]
    return all(one == word for one in (*kept, *(log.kinds.get(operation) for log in _logs(stores))))


def _duplicated(ledger: Ledger, told: Mapping[str, str], stores: Sequence[StoreRead]) -> Iterator[str]:
    """Operations judged twice, and those that share their act with another one."""
    for judged in (*(store.judged for store in stores), *(log.decided for log in _logs(stores))):
        yield from (operation for operation, times in judged.items() if times > 1)
    for log in _logs(stores):
        for operations in log.by_key.values():
            yield from sorted(operations)[1:]
    held: Counter[str] = Counter(receipt.operation for _, receipt in ledger.receipts())
    yield from (operation for operation, times in held.items() if times > 1)


def _problems(found: Audit, told: Mapping[str, str], stores: Sequence[StoreRead]) -> Iterator[str]:
    """Everything that is not as it should be, in words."""
    if found.lost:
        yield f"lost: {_some(found.lost)}"
    if found.duplicated:
        yield f"duplicated: {_some(found.duplicated)}"
    if found.verdicts_total != len(told):
        yield f"{found.verdicts_total} operations with exactly one verdict, of {len(told)}"
    if not found.digests_equal:
        yield "the records differ: " + ", ".join(f"{name} {value[:12]}" for name, value in found.digests.items())
    for store in stores:
        yield from _problems_of(store)


def _problems_of(store: StoreRead) -> Iterator[str]:
    if store.problem:
        yield f"{store.node}: {store.problem}"
    elif store.digest != store.kept_digest:
        yield f"{store.node}: its records give digest {store.digest}, it kept {store.kept_digest}"
    if store.undecided:
        yield f"{store.node}: {store.undecided} operations in its journal without a verdict"
    if store.log is not None and store.log.whole and store.log.digest != store.digest:
        yield f"{store.node}: its log gives digest {store.log.digest}, its records {store.digest}"


def _some(operations: Iterable[str]) -> str:
    names = sorted(operations)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
