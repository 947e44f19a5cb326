"""The worst world a site can live in: one agreed log, a few stores, and a line that does anything it likes.

What was ever sent may be delivered at any later time, any number of times, in any order, or never: `net` only grows.
The feed is in order and may lag. A crash loses the records that were not synced and the state that was not flushed.
Stores are backed up and restored, emptied, and started twice.

The log applies with the shipped state machine, and every store runs the shipped core; only the disk and the line are
made here. What is true and what somebody only believes is written down beside it, by the author of each operation (its
`uid`, in the operation's `author`), so that invariants.py can compare: an operation drained under another id keeps its
author."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import blake2b

from replica.cases import machine
from replica.cases.commands import AddNote, ChangePriority, Fact, HandBack, Opening, Payload, Report, Subject, TakeOver
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.records import Records
from replica.cases.verdicts import Effects, Verdict
from replica.errors import StoreDamaged
from replica.offline import events
from replica.offline.core import SiteConfig, SiteCore
from replica.offline.lives import last_life

A, B = "fr.health.samu440", "fr.health.samu690"
CASES = {A: f"{A}.case1", B: f"{B}.case1"}
NOON = 1_700_000_000_000
"""The leader's time when the world begins."""


class Memory:
    """Records in a dict. Those under the keys in `bad` fail their checksum, until they are written anew."""

    def __init__(self, records: dict[bytes, bytes] | None = None) -> None:
        self.records = {} if records is None else records
        self.bad: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        if key in self.bad:
            raise StoreDamaged(f"state record {key!r}", "its checksum does not match its bytes")
        return self.records.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(key for key in self.records if key.startswith(prefix)):
            value = self.get(key)
            assert value is not None, f"{key!r} is held without a value"
            yield key, value

    def change(self, changes: tuple[tuple[bytes, bytes | None], ...]) -> None:
        for key, value in changes:
            self.bad.discard(key)
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value


@dataclass
class Disk:
    """What survives a crash: journal and counters, the flushed state, the local table of verdicts."""

    journal: list[Operation] = field(default_factory=list)
    counters: dict[bytes, int] = field(default_factory=dict)
    state: dict[bytes, bytes] = field(default_factory=dict)
    applied: tuple[int, int] = (0, 0)
    local: dict[OperationId, tuple[int, Verdict]] = field(default_factory=dict)
    openings: int = 0

    def append(self, operation: Operation) -> None:
        incarnation, seq = operation.id.incarnation, operation.id.seq
        expected = self.counters.get(incarnation, -1) + 1
        assert seq == expected, f"{operation.id} journalled, expected number {expected}"
        self.counters[incarnation] = seq
        self.journal.append(operation)

    def replace(self, operation: Operation) -> None:
        places = [place for place, held in enumerate(self.journal) if held.id == operation.id]
        assert len(places) == 1, f"{operation.id} is written over, and {len(places)} records have that id"
        self.journal[places[0]] = operation

    def trim(self, incarnation: bytes, seq: int) -> list[Operation]:
        gone = [op for op in self.journal if op.id.incarnation == incarnation and op.id.seq <= seq]
        self.journal = [op for op in self.journal if op not in gone]
        return gone


@dataclass
class Issued:
    """An operation as its author meant it. `truth`: whose operations the author had before the eyes."""

    uid: str
    phys: int
    site: str
    life: int
    kind: str
    value: str
    case: str
    truth: frozenset[str]
    at: int
    """The how-manyth of its store."""
    id: OperationId | None = None


@dataclass
class Ruin:
    """How a variant is broken on purpose; the shipped one is `Ruin()`."""

    early_receipts: bool = False
    counted_incarnations: bool = False
    core: Callable[[SiteCore], None] | None = None


class Box:
    """One store with its process. `phys` tells it apart from a clone of the same site."""

    def __init__(self, world: World, phys: int, site: str, disk: Disk | None = None) -> None:
        self.world, self.phys, self.site = world, phys, site
        self.disk = Disk() if disk is None else disk
        self.backup: tuple[Disk, frozenset[str]] | None = None
        self.line_up = False
        self.life = 0
        self.receipted: set[str] = set()
        """Operations with a receipt that this store answers for: its reads must show them (I3)."""
        self.receipts: dict[str, list[events.Receipt]] = {}
        self.drained = False
        self.boot()

    def boot(self) -> None:
        self.life += 1
        self.disk.openings += 1
        self.base = Memory(dict(self.disk.state))
        self.applied = self.disk.applied
        self.local = dict(self.disk.local)
        self.jobs: list[tuple[int, tuple[Operation, ...], tuple[Operation, ...], tuple[tuple[bytes, int], ...]]] = []
        self.tokens: dict[int, str] = {}
        self.refused: set[str] = set()
        self.known = set(self.world.uids_to(self.applied[0])) | {op.author for op in self.disk.journal}
        self.core = SiteCore(
            site=self.site,
            incarnation=self._incarnation(),
            base=self.base,
            applied=self.applied,
            journal=list(self.disk.journal),
            latest=last_life(self.disk.counters.items()),
            config=SiteConfig(window_first=4, window_operations=8),
            now_ms=self.world.now_ms,
            decided=self.local.get,
        )
        if self.world.ruin.core is not None:
            self.world.ruin.core(self.core)
        self.pump()
        if self.line_up:
            self.connect()

    def _incarnation(self) -> bytes:
        if self.world.ruin.counted_incarnations:
            return blake2b(f"{self.site} {self.disk.openings}".encode(), digest_size=16).digest()
        self.world.lives += 1
        return blake2b(f"{self.world.lives}".encode(), digest_size=16).digest()

    # --- the runtime's part ---

    def step(self, event: events.Event) -> None:
        self.core.step(event)
        self.pump()

    def pump(self) -> None:
        while self.core.has_todo():
            todo = self.core.todo()
            self.jobs.append((todo.number, todo.journal, todo.rewrite, ()))
            for operation in todo.send:
                self.world.send(operation)
            for receipt in todo.receipts:
                self._receipt(receipt)
            for decision in todo.decisions:
                self.local[decision.operation] = (decision.index, decision.verdict)
            if todo.trim:
                self.jobs.append((todo.number, (), (), todo.trim))
            self.drained = self.drained or any(note.startswith("drained") for note in todo.notes)
            if self.world.ruin.early_receipts and (todo.journal or todo.rewrite):
                self.core.step(events.Journalled(self.world.now_ms, todo.number))

    def _receipt(self, receipt: events.Receipt) -> None:
        uid = self.tokens[receipt.token]
        self.receipts.setdefault(uid, []).append(receipt)
        if isinstance(receipt, events.Agreed | events.KeptHere):
            self.receipted.add(uid)
            self.world.receipted.add(uid)
            self.world.issued[uid].id = receipt.operation
        elif isinstance(receipt, events.TurnedAway):
            self.refused.add(uid)

    def sync(self) -> None:
        """The disk catches up with everything asked of it, in order."""
        while self.jobs:
            number, journal, rewrite, trim = self.jobs.pop(0)
            for operation in rewrite:
                self.disk.replace(operation)
            for operation in journal:
                self.disk.append(operation)
            for incarnation, seq in trim:
                for operation in self.disk.trim(incarnation, seq):
                    self.world.trimmed(self, operation)
            if (journal or rewrite) and not self.world.ruin.early_receipts:
                self.step(events.Journalled(self.world.now_ms, number))

    def fill_up(self) -> None:
        """The disk is full: the write under way is refused, what was asked before it is done."""
        for place, (number, journal, rewrite, _) in enumerate(self.jobs):
            if journal or rewrite:
                del self.jobs[place]
                self.step(events.JournalRefused(self.world.now_ms, number, "full"))
                return

    def feed(self) -> None:
        if self.line_up and self.applied[0] < len(self.world.log):
            effects = self.world.log[self.applied[0]]
            self.base.change(effects.changes)
            self.applied = (effects.index, effects.term)
            self.known.update(self.world.uids_at(effects.index))
            self.step(events.Arrived(self.world.now_ms, effects))

    def jump(self) -> None:
        """Too far behind for the feed: the whole state, durable before it is stepped."""
        if self.line_up and self.applied[0] < len(self.world.log):
            self.base.records.clear()
            self.base.records.update(self.world.zone.records)
            self.applied = (len(self.world.log), 1)
            self.disk.state, self.disk.applied = dict(self.base.records), self.applied
            self.known.update(self.world.uids_to(self.applied[0]))
            self.step(events.Replaced(self.world.now_ms, *self.applied))

    def flush(self) -> None:
        self.disk.state, self.disk.applied = dict(self.base.records), self.applied
        self.disk.local = dict(self.local)
        self.step(events.Flushed(self.world.now_ms, self.applied[0]))

    def connect(self) -> None:
        self.line_up = True
        self.step(events.LineUp(self.world.now_ms, 1))
        self.hear()

    def hear(self) -> None:
        if self.line_up:
            self.step(events.Heard(self.world.now_ms, 1, len(self.world.log), NOON + self.world.now_ms))

    def cut(self) -> None:
        self.line_up = False
        self.step(events.LineDown(self.world.now_ms, 1, True))
        self.step(events.AllClosed(self.world.now_ms))

    def issue(self, kind: str, value: str, case: str, budget_ms: int = 250) -> None:
        uid = f"u{len(self.world.issued) + 1}"
        token = len(self.world.issued) + 1
        self.tokens[token] = uid
        truth = frozenset(self.known - self.refused)
        self.world.issued[uid] = Issued(uid, self.phys, self.site, self.life, kind, value, case, truth, token)
        self.known.add(uid)
        payload = self.world.payload(kind, uid, value, case)
        now_ms = self.world.now_ms
        self.step(events.Issue(now_ms, NOON + now_ms, token, payload, uid, budget_ms))

    # --- what happens to a store ---

    def crash(self) -> None:
        self.jobs = []
        self.boot()

    def back_up(self) -> None:
        if self.backup is None:
            self.backup = deepcopy(self.disk), frozenset(self.receipted)

    def restore(self) -> None:
        """The disk is lost; the backup takes its place. What only the lost disk had is gone, and nobody can know of
        it."""
        if self.backup is None:
            return
        disk, receipted = self.backup
        lost = {op.author for op in self.disk.journal} - {op.author for op in disk.journal}
        self.world.forgive(self, lost)
        kept = {op.author for op in disk.journal} | set(self.world.uids_to(disk.applied[0]))
        self.receipted = set(receipted) & kept
        openings = self.disk.openings if not self.world.ruin.counted_incarnations else disk.openings
        self.disk, self.jobs = deepcopy(disk), []
        self.disk.openings = openings
        self.boot()

    def wipe(self) -> None:
        self.world.forgive(self, {op.author for op in self.disk.journal})
        self.receipted, self.disk, self.jobs = set(), Disk(), []
        self.boot()


class World:
    """The agreed log, the line, and the stores."""

    def __init__(self, ruin: Ruin | None = None, sites: tuple[str, ...] = (A, B)) -> None:
        self.ruin = Ruin() if ruin is None else ruin
        self.now_ms = 1000
        self.lives = 0
        self.zone = Memory()
        self.log: list[Effects] = []
        self.entries: list[Operation] = []
        self.net: dict[Operation, None] = {}
        self.issued: dict[str, Issued] = {}
        self.decided: dict[str, list[tuple[int, Verdict]]] = {}
        """Author → every time one of its operations was applied: (index, verdict)."""
        self.receipted: set[str] = set()
        self.lost_trims: list[str] = []
        self.boxes: list[Box] = []
        self._begin()
        for phys, site in enumerate(sites):
            self.boxes.append(Box(self, phys, site))
        for box in self.boxes:
            box.sync()
            box.connect()
            while box.applied[0] < len(self.log):
                box.feed()
            box.flush()

    def _begin(self) -> None:
        """Each site's case is there already, told by a partner of each."""
        for owner, case in CASES.items():
            incarnation = blake2b(owner.encode(), digest_size=16).digest()
            subject = Subject("case", case, (Fact("owner", owner), Fact("priority", "NR")), owner, creates=True)
            payloads: tuple[Payload, ...] = (Opening(None, 0, None), Report(case, "RS-EDA", owner, (subject,)))
            for seq, payload in enumerate(payloads):
                ident = OperationId(f"before.{owner}", incarnation, seq)
                self.take(Operation(ident, 0, 0, HybridTime(NOON), NOON, f"before {owner}", payload))

    def payload(self, kind: str, uid: str, value: str, case: str) -> Payload:
        match kind:
            case "note":
                return AddNote(case, uid, uid)
            case "priority":
                return ChangePriority(case, value)
            case "take-over":
                return TakeOver(A, B, int(value), "drowned")
            case "hand-back":
                return HandBack(A, "back")
        raise AssertionError(f"no such kind {kind}")

    # --- the log and the line ---

    def send(self, operation: Operation) -> None:
        self.net.setdefault(operation)

    def deliver(self, operation: Operation) -> Effects | None:
        """The log takes it, if the gate lets it pass; else nothing comes of it."""
        effects = machine.apply(self.zone, self.batch(operation), len(self.log) + 1, 1)
        if not effects.decided:
            return None
        self.take(operation, effects)
        return effects

    def batch(self, operation: Operation) -> Batch:
        return Batch(NOON + self.now_ms, 1, (operation,))

    def take(self, operation: Operation, effects: Effects | None = None) -> None:
        effects = machine.apply(self.zone, self.batch(operation), len(self.log) + 1, 1) if effects is None else effects
        self.zone.change(effects.changes)
        self.log.append(effects)
        self.entries.append(operation)
        for decided in effects.decided:
            self.decided.setdefault(operation.author, []).append((effects.index, decided.verdict))

    def uids_at(self, index: int) -> list[str]:
        return [self.entries[index - 1].author]

    def uids_to(self, index: int) -> list[str]:
        return [operation.author for operation in self.entries[:index]]

    # --- what the checkers need to know ---

    def trimmed(self, box: Box, operation: Operation) -> None:
        """A record goes from a disk: its author must be in what that disk has flushed, or still in its journal (a
        drain's)."""
        flushed: Records = Memory(box.disk.state)
        if operation.author in self.issued:
            agreed = any(index <= box.disk.applied[0] for index, _ in self.decided.get(operation.author, []))
            drained = any(held.author == operation.author for held in box.disk.journal)
            if not agreed and not drained:
                self.lost_trims.append(f"{operation.author} trimmed at {box.disk.applied[0]}")
        elif isinstance(operation.payload, Opening):
            gone = machine.apply(flushed, self.batch(operation), 1 << 40, 1).decided
            if gone:
                self.lost_trims.append(f"opening {operation.id} trimmed at {box.disk.applied[0]}")

    def forgive(self, box: Box, lost: set[str]) -> None:
        """What only a lost disk had: nobody is to find it again."""
        elsewhere = {op.author for other in self.boxes if other is not box for op in other.disk.journal}
        self.receipted -= {uid for uid in lost if uid not in self.decided and uid not in elsewhere}

    def clone(self, phys: int) -> None:
        """The backup of a store starts as a second live process of the same identity."""
        box = self.boxes[phys]
        if box.backup is None or len(self.boxes) > 2:
            return
        twin = Box(self, len(self.boxes), box.site, deepcopy(box.backup[0]))
        twin.receipted = set()
        self.boxes.append(twin)
        twin.sync()
        twin.connect()

    def heal(self) -> None:
        """Everything works again, for as long as it takes."""
        for _ in range(60):
            self.now_ms += 600
            for box in self.boxes:
                if not box.line_up:
                    box.connect()
                box.sync()
                box.step(events.Tick(self.now_ms))
                box.hear()
            for operation in list(self.net):
                self.deliver(operation)
            for box in self.boxes:
                while box.applied[0] < len(self.log):
                    box.feed()
                box.sync()
                box.flush()
                box.sync()
            if self.is_quiet():
                return

    def is_quiet(self) -> bool:
        return all(
            not (box.jobs or box.disk.journal or list(box.core._journal))
            and box.applied[0] == len(self.log) == box.disk.applied[0]
            for box in self.boxes
        )
