"""What must hold of whole nodes, whatever happens: told at once where it can be, else when the storm is over.

While it runs, after every applied entry of every node:

* `OneHistory`: at one index all nodes have one digest, one term and the same verdicts; a node's index moves by one.
* `OnDisks`: an entry that is applied anywhere has been durable on a majority of those who vote.
* `Once`: no operation is decided by two entries.
* `ElectionSafety`: a term has one leader (chaos/world/invariants.py).

And what callers were told, against all that: `Receipts` (what is called agreed is, with this verdict; what is called
journalled is on the site's disk), `OwnWrites` and `NeverBack` (a read shows what its node has said it keeps, and is
never older than the one before), `Session` (a session's read is never older than anything that session was told), and
at the end `Linearizable`: one copy could have given all answers to linearizable reads, each between its question and
its answer (chaos/history).

Leaves out: who may vote for whom; chaos/world looks at every message of the core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.history.check import check
from chaos.history.models import Bag
from chaos.history.operations import Operation
from chaos.nodes.process import Host, Process
from chaos.world.invariants import ElectionSafety, InvariantViolated
from chaos.world.later_invariants import is_quorum
from replica.cases import queries
from replica.cases.operations import OperationId
from replica.cases.verdicts import Decided, Effects, Verdict, VerdictKind
from replica.raft.types import Membership
from replica.storage.memory import MemoryStore
from replica.wire.client import Receipt


def violated(name: str, text: str, *facts: object) -> InvariantViolated:
    """A property that does not hold, with the facts that cannot all be true."""
    first, *others = [str(fact) for fact in facts] or [""]
    return InvariantViolated(name, text, (first, "; ".join(others)))


@dataclass(frozen=True, slots=True)
class Applied:
    """What one entry came to, at whoever applied it first."""

    who: str
    term: int
    digest: str
    decided: tuple[Decided, ...]


@dataclass(slots=True)
class Act:
    """One thing one caller wanted done, and what it was told of it."""

    host: str
    text: str
    """In the note's text, and nowhere else; empty for an act that is no note."""
    key: str
    receipts: list[Receipt] = field(default_factory=list)
    unsure: bool = False
    """An answer was lost: it may have been done."""
    refused: bool = False
    """At the door, each time it was handed in: surely not done."""
    empties: int = 0
    """How often its node's disk had been emptied when it was answered."""


class Checks:
    """Told what happens; raises InvariantViolated."""

    def __init__(self, zones: Sequence[Host], ever: Mapping[str, Host], counts: Counter[str]) -> None:
        self._zones = zones
        self._ever = ever
        self._counts = counts
        everybody = frozenset(zone.number for zone in zones)
        self._memberships: dict[int, Membership] = {0: Membership(everybody)}
        """By the index they were seen to stand at; of two at one index, the later."""
        self._undone: set[int] = set()
        """Where a membership stood that some zone has seen replaced: it may hold no more."""
        self.history: list[Operation] = []
        self._elections = ElectionSafety()
        self.entries: dict[int, Applied] = {}
        self.decided: dict[OperationId, tuple[int, Verdict]] = {}
        self.applied = 0
        """How many entries were applied, at all nodes together."""
        self._index: dict[Process, int] = {}
        self._read: dict[Process, int] = {}
        self.acts: list[Act] = []
        self.damaged: set[OperationId] = set()
        """Operations whose journal record was made unreadable."""

    # ------------------------------------------------------------------ OneHistory, OnDisks, Once

    def started(self, process: Process, index: int, digest: str) -> None:
        """A life begins with the state it found."""
        self._index[process] = index
        self._same(process, index, digest)

    def replaced(self, process: Process, index: int, digest: str) -> None:
        """It took a whole state in."""
        if index < self._index[process]:
            raise violated("OneHistory", f"{process.host.name} went back", self._index[process], index)
        self._index[process] = index
        self._same(process, index, digest)

    def arrived(self, process: Process, effects: Effects, digest: str) -> None:
        """It applied an entry, or was told of its effects."""
        self.applied += 1
        name, before = process.host.name, self._index[process]
        if effects.index != before + 1:
            raise violated("OneHistory", f"{name} left entries out", f"applied {effects.index}", f"after {before}")
        self._index[process] = effects.index
        first = self.entries.get(effects.index)
        if first is None:
            self._on_disks(effects)
            self._once(effects)
            self.entries[effects.index] = Applied(name, effects.term, digest, effects.decided)
        elif (first.term, first.digest) != (effects.term, digest):
            here = f"{name}: term {effects.term}, {digest}"
            raise violated("OneHistory", f"two states at {effects.index}", here, f"{first.who}: {first}")
        elif first.decided != effects.decided:
            raise violated("OneHistory", f"two sets of verdicts at {effects.index}", effects.decided, first.decided)

    def _same(self, process: Process, index: int, digest: str) -> None:
        known = self.entries.get(index)
        if known is not None and known.digest != digest:
            text = f"{process.host.name} holds another state at {index}"
            raise violated("OneHistory", text, digest, f"{known.who} had {known.digest}")

    def membership(self, index: int, membership: Membership) -> None:
        """A zone has this membership in its log."""
        self._memberships[index] = membership
        self._undone.discard(index)

    def membership_undone(self, index: int) -> None:
        """A zone's log was cut from `index` on, and a membership with it."""
        self._undone.update(at for at in self._memberships if at >= index > 0)

    def _on_disks(self, effects: Effects) -> None:
        """A leader counts by the latest membership in its log: the one in force at the entry, or a later one."""
        zones = [host for host in self._ever.values() if host.is_zone]
        holders = {zone.number for zone in zones if zone.disk.written.get(effects.index) == effects.term}
        in_force = max(index for index in self._memberships if index <= effects.index and index not in self._undone)
        by = [membership for index, membership in self._memberships.items() if index >= in_force]
        if not any(is_quorum(membership, holders) for membership in by):
            text = f"entry {effects.index} of term {effects.term} was applied before a majority had it"
            raise violated("OnDisks", text, f"it was durable at zones {sorted(holders)}", f"voters: {by}")

    def _once(self, effects: Effects) -> None:
        for one in effects.decided:
            before = self.decided.get(one.id)
            if before is not None:
                raise violated("Once", f"{one.id} was decided twice", f"at {before[0]}", f"at {effects.index}")
            self.decided[one.id] = (effects.index, one.verdict)
            self._counts[f"verdict: {one.verdict.kind.value}"] += 1

    # ------------------------------------------------------------------ what the log of a node says

    def leads(self, number: int, term: int) -> None:
        self._elections.leads(number, term)

    # ------------------------------------------------------------------ what callers are told

    def answered(self, act: Act, receipt: Receipt, host: Host) -> None:
        """A caller has its receipt: it must be true now."""
        act.receipts.append(receipt)
        operation = OperationId.parse(receipt.operation)
        self._counts[f"receipt: {receipt.state}"] += 1
        if receipt.state == "agreed":
            self._is_agreed(operation, receipt)
        elif act.empties == host.disk.empties and operation not in self.decided and not _journalled(host, operation):
            raise violated("Receipts", "called journalled and on no disk", receipt.operation, host.name)

    def _is_agreed(self, operation: OperationId, receipt: Receipt) -> None:
        known = self.decided.get(operation)
        if known is None:
            raise violated("Receipts", "called agreed and applied nowhere", receipt)
        index, verdict = known
        if receipt.verdict != verdict or receipt.index not in (0, index):
            # Only `applied` may be told without being remembered (docs/offline.md, "Verdicts kept").
            if receipt.index == 0 and receipt.verdict is not None and receipt.verdict.kind is VerdictKind.APPLIED:
                self._counts["receipt: applied as far as is remembered"] += 1
                return
            raise violated("Receipts", "agreed, but not this", receipt, f"at {index}: {verdict}")

    def read(self, process: Process, index: int) -> None:
        """A node answered a read as of `index`."""
        before = self._read.get(process, 0)
        if index < before:
            raise violated("NeverBack", f"reads at {process.host.name} went back", f"from {before}", f"to {index}")
        self._read[process] = index

    def session(self, name: str, before: tuple[int, set[str]], now: tuple[int, set[str]]) -> None:
        """Somebody who had been told of an index and of notes has read, in the same session, an index and notes."""
        if now[0] < before[0] or not before[1] <= now[1]:
            text = f"{name} reads what is older than it has seen"
            raise violated("Session", text, f"seen as of {before[0]}", f"now {now[0]}, without {before[1] - now[1]}")

    def own_write_missing(self, host: Host, text: str) -> None:
        raise violated("OwnWrites", f"{host.name} does not show what it took", text)

    # ------------------------------------------------------------------ when all is calm

    def settle(self, hosts: Sequence[Host]) -> None:
        """Every node is up and level: all that was promised must be there."""
        self._linearizable()
        self._level(hosts)
        self._logs_agree()
        # A flipped bit that nobody has met yet must not be met by the check.
        zone = next(zone for zone in self._zones if not zone.flipped)
        assert zone.running is not None, "settled without a zone"
        texts = notes_of(zone.running.node.state)
        for act in self.acts:
            self._settle_act(act, texts, self._ever)

    def _linearizable(self) -> None:
        checked = check(self.history, Bag)
        self._counts["history: a key undecided"] += len(checked.undecided)
        if checked.failures:
            failure = checked.failures[0]
            raise violated("Linearizable", f"no one copy answers so: {failure.culprit}", *failure.prefix[-8:])

    def _level(self, hosts: Sequence[Host]) -> None:
        stands: dict[str, tuple[int, str]] = {}
        for host in hosts:
            assert host.running is not None, f"{host.name} is not up"
            state = host.running.node.state
            stands[host.name] = (state.index, queries.digest(state))
        if len(set(stands.values())) != 1:
            raise violated("OneHistory", "the nodes are not level", stands)

    def _logs_agree(self) -> None:
        """Up to what is applied everywhere all zones hold the same entries."""
        sound = (zone for zone in self._zones if not zone.flipped)
        logs = [(zone.name, zone.disk.store.log) for zone in sound if zone.disk.store is not None]
        last = min([log.last_index() for _, log in logs] + [max(self.entries, default=0)])
        for index in range(max(log.first_index() for _, log in logs), last + 1):
            held = {name: log.entries(index, index, 1)[0] for name, log in logs}
            if len({(entry.term, entry.data) for entry in held.values()}) != 1:
                raise violated("OneHistory", f"the logs differ at {index}", held)

    def _settle_act(self, act: Act, texts: Counter[str], hosts: Mapping[str, Host]) -> None:
        if act.text and texts[act.text] > 1:
            raise violated("Once", f"an act took effect {texts[act.text]} times", act)
        for receipt in act.receipts:
            operation = OperationId.parse(receipt.operation)
            host = hosts[act.host]
            verdict = self._verdict(operation, host)
            if verdict is None and (operation in self.damaged or act.empties != host.disk.empties):
                self._counts["journalled and lost with its disk"] += 1
            elif verdict is None:
                raise violated("Receipts", f"a receipt for {operation}, and no verdict", act)
            elif act.text and verdict.kind is VerdictKind.APPLIED and texts[act.text] != 1:
                raise violated("Receipts", f"applied, and not in the state: {act.text}", act, verdict)

    def _verdict(self, operation: OperationId, host: Host) -> Verdict | None:
        known = self.decided.get(operation)
        if known is not None:
            return known[1]
        if host.retired:
            return None
        assert host.running is not None, f"{host.name} is not up"
        return host.running.service.outcome(operation).verdict


def _journalled(host: Host, operation: OperationId) -> bool:
    store: MemoryStore | None = host.disk.store
    last = None if store is None else store.journal.last_seq(operation.incarnation)
    return last is not None and last >= operation.seq


def notes_of(state: Any) -> Counter[str]:
    """How often each note's own text stands in the state."""
    texts: Counter[str] = Counter()
    for case in queries.list_cases(state):
        view = queries.read_case(state, case)
        assert view is not None, f"{case} is listed and is not there"
        for element in view.elements:
            if element.field == "medical_note":
                texts[element.value.value.partition('"freetext":"')[2].partition('"')[0]] += 1
    return texts
