"""The worst world a site can live in: one agreed log, a few stores, and a line that does anything it likes.

What was ever sent may be delivered at any later time, any number of times, in any order, or never: `net` only grows.
The feed is in order and may lag. A crash loses the records that were not synced and the state that was not flushed.
Stores are backed up and restored, emptied, and started twice. And the cluster is founded anew out of a zone that was
behind, or had written down what was never agreed.

The log applies with the shipped state machine, and every store runs the shipped core; only the disk and the line are
made here. What is true and what somebody only believes is written down beside it, by the author of each operation (its
`uid`, in the operation's `author`), so that invariants.py can compare: an operation drained under another id keeps its
author."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import blake2b

from replica.cases import generations, machine
from replica.cases.commands import AddNote, ChangePriority, Fact, HandBack, Opening, Payload, Report, Subject, TakeOver
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.records import Records
from replica.cases.verdicts import Effects, Verdict
from replica.errors import StoreDamaged
from replica.offline import events
from replica.offline.ahead import Span
from replica.offline.core import SiteConfig, SiteCore
from replica.offline.lives import last_life

A, B = "fr.health.samu440", "fr.health.samu690"
CASES = {A: f"{A}.case1", B: f"{B}.case1"}
NOON = 1_700_000_000_000
"""The leader's time when the world begins."""
JUMP = 10_000
"""By so many entries no store is ahead of a cluster that is founded anew."""


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
    """What survives a crash: journal and counters, what the journal remembers, the flushed state, the local table."""

    journal: list[Operation] = field(default_factory=list)
    counters: dict[bytes, int] = field(default_factory=dict)
    state: dict[bytes, bytes] = field(default_factory=dict)
    applied: tuple[int, int] = (0, 0)
    local: dict[OperationId, tuple[int, Verdict]] = field(default_factory=dict)
    openings: int = 0
    past: list[Operation] = field(default_factory=list)
    fed: frozenset[str] = frozenset()
    generation: int = 0
    gone: tuple[Span, ...] = ()

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
        self.past += gone
        return gone

    def remembered(self) -> list[Operation]:
        return [*self.journal, *self.past]


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
        self.recalls: list[tuple[tuple[bytes, int], ...]] = []
        self.gone = list(self.disk.gone)
        self.tokens: dict[int, str] = {}
        self.refused: set[str] = set()
        self.fed = set(self.disk.fed)
        """Whose operations are in its copy of the state."""
        self.known = self.fed | {op.author for op in self.disk.remembered()}
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
            counted=list(self.disk.counters.items()),
            generation=self.disk.generation,
            gone=self.disk.gone,
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
            if todo.recall:
                self.recalls.append(todo.recall)
            self.drained = self.drained or any(note.startswith("drained") for note in todo.notes)
            if self.world.ruin.early_receipts and (todo.journal or todo.rewrite):
                self.core.step(events.Journalled(self.world.now_ms, todo.number))

        for taken in self.core.taken_back:
            self.gone += taken.gone
            self.world.given_up.update((self.site, span) for span in (*taken.gone, *taken.filled))
            self.world.offered_again += sum(map(len, taken.back))
        self.core.taken_back.clear()

    def answer(self) -> None:
        """What is remembered of what the core asks for, its oldest question first."""
        if self.recalls:
            recall = self.recalls.pop(0)
            found = [op for op in self.disk.remembered() if op.id.seq > dict(recall).get(op.id.incarnation, op.id.seq)]
            self.step(events.Recalled(self.world.now_ms, recall, tuple(found)))

    def forget(self) -> None:
        """The older half of what is remembered is too old."""
        if not self.core.looks_back and self.core.generation == self.world.generation:
            self.disk.past = self.disk.past[len(self.disk.past) // 2 + 1 :]

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
        if self.line_up and self.applied[0] < self.world.top:
            effects = self.world.log[self.applied[0] - self.world.begins]
            self.base.change(effects.changes)
            self.applied = (effects.index, effects.term)
            self.fed.update(self.world.uids_at(effects.index))
            self.known |= self.fed
            self.step(events.Arrived(self.world.now_ms, effects))

    def jump(self) -> None:
        """Too far behind for the feed: the whole state, durable before it is stepped."""
        if self.line_up and self.applied[0] < self.world.top:
            self.base.records.clear()
            self.base.records.update(self.world.zone.records)
            self.applied = (self.world.top, self.world.term)
            self.disk.state, self.disk.applied = dict(self.base.records), self.applied
            self.fed = set(self.world.uids_to(self.applied[0]))
            self.disk.fed = frozenset(self.fed)
            self.known |= self.fed
            self.step(events.Replaced(self.world.now_ms, *self.applied))

    def flush(self) -> None:
        self.disk.state, self.disk.applied = dict(self.base.records), self.applied
        self.disk.local = dict(self.local)
        self.disk.fed = frozenset(self.fed)
        self.disk.generation, self.disk.gone = self.core.generation, tuple(self.gone)
        self.step(events.Flushed(self.world.now_ms, self.applied[0]))

    def connect(self) -> None:
        self.line_up = True
        if self.applied[0] < self.world.begins:
            self.jump()  # no effects lead there, and a zone is worked with only once its state is in place
        self.step(events.LineUp(self.world.now_ms, 1))
        self.hear()

    def hear(self) -> None:
        if self.line_up:
            self.step(events.Heard(self.world.now_ms, self.world.term, self.world.top, NOON + self.world.now_ms))

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
        lost = {op.author for op in self.disk.remembered()} - {op.author for op in disk.remembered()}
        self.world.forgive(self, lost)
        kept = {op.author for op in disk.remembered()} | disk.fed
        self.receipted = set(receipted) & kept
        openings = self.disk.openings if not self.world.ruin.counted_incarnations else disk.openings
        self.disk, self.jobs = deepcopy(disk), []
        self.disk.openings = openings
        self.boot()

    def wipe(self) -> None:
        self.world.forgive(self, {op.author for op in self.disk.remembered()})
        self.receipted, self.disk, self.jobs = set(), Disk(), []
        self.boot()


class World:
    """The agreed log, the line, and the stores."""

    def __init__(self, ruin: Ruin | None = None, sites: tuple[str, ...] = (A, B)) -> None:
        self.ruin = Ruin() if ruin is None else ruin
        self.now_ms = 1000
        self.lives = 0
        self.zone = Memory()
        self.begins = 0
        """The index before the first entry of `log`: what the cluster was founded with."""
        self.founded: dict[bytes, bytes] = {}
        """The state at that index."""
        self.term = 1
        self.generation = 0
        self.given_up: set[tuple[str, Span]] = set()
        """(site, numbers) that could not be offered again."""
        self.offered_again = 0
        self.log: list[Effects] = []
        self.author_at: dict[int, str] = {}
        self.abandoned: set[str] = set()
        """Operations that were agreed in a history that was given up."""
        self.forgiven: set[str] = set()
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
            while box.applied[0] < self.top:
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
        effects = self.apply(operation)
        if not effects.decided:
            return None
        self.take(operation, effects)
        return effects

    def batch(self, operation: Operation) -> Batch:
        return Batch(NOON + self.now_ms, 1, (operation,))

    def take(self, operation: Operation, effects: Effects | None = None) -> None:
        effects = self.apply(operation) if effects is None else effects
        self.zone.change(effects.changes)
        self.log.append(effects)
        self.author_at[effects.index] = operation.author
        for decided in effects.decided:
            self.decided.setdefault(operation.author, []).append((effects.index, decided.verdict))

    def apply(self, operation: Operation) -> Effects:
        return machine.apply(self.zone, self.batch(operation), self.top + 1, self.term)

    @property
    def top(self) -> int:
        """The index of the last entry."""
        return self.begins + len(self.log)

    def uids_at(self, index: int) -> list[str]:
        return [self.author_at[index]]

    def uids_to(self, index: int) -> list[str]:
        return [author for at, author in self.author_at.items() if at <= index]

    def found_anew(self, kept: int, tail: list[Operation]) -> None:
        """The cluster goes on from a zone that had `kept` entries of the log, and behind them some that were never
        agreed. Nothing that was on its way gets anywhere."""
        kept = min(kept, len(self.log))
        agreed = self.begins + kept
        self._give_up(agreed)
        del self.log[kept:]
        self.zone = Memory(dict(self.founded))
        for effects in self.log:
            self.zone.change(effects.changes)
        for operation in tail:
            self.deliver(operation)
        self.net.clear()
        self.generation += 1
        life = blake2b(f"founding {self.generation}".encode(), digest_size=16).digest()
        made = generations.operations(self.zone, "zone", life, "operator", NOON, "c", agreed, "c")
        index, self.term = self.top + JUMP, self.term + 1
        effects = machine.apply(self.zone, Batch(NOON + self.now_ms, 1, made), index, self.term)
        self.zone.change(effects.changes)
        self.begins, self.log, self.founded = index, [], dict(self.zone.records)
        self._forgive_what_nobody_has()

    def _give_up(self, agreed: int) -> None:
        self.author_at = {index: author for index, author in self.author_at.items() if index <= agreed}
        for author, times in self.decided.items():
            if any(index > agreed for index, _ in times):
                self.abandoned.add(author)
            times[:] = [(index, verdict) for index, verdict in times if index <= agreed]
        self.decided = {author: times for author, times in self.decided.items() if times}

    def _forgive_what_nobody_has(self) -> None:
        here = set(self.author_at.values())
        anywhere = {op.author for box in self.boxes for op in box.disk.remembered()}
        lost = self.receipted - here - anywhere
        self.forgiven |= lost
        self.receipted -= lost
        for box in self.boxes:
            box.receipted &= here | {op.author for op in box.disk.remembered()}

    # --- what the checkers need to know ---

    def trimmed(self, box: Box, operation: Operation) -> None:
        """A record goes from a disk: its author must be in what that disk has flushed, or still in its journal (a
        drain's)."""
        flushed: Records = Memory(box.disk.state)
        if operation.author in self.issued:
            agreed = any(index <= box.disk.applied[0] for index, _ in self.decided.get(operation.author, []))
            drained = any(held.author == operation.author for held in box.disk.journal)
            if not agreed and not drained and operation.author not in self.abandoned:
                self.lost_trims.append(f"{operation.author} trimmed at {box.disk.applied[0]}")
        elif isinstance(operation.payload, Opening) and not self.generation:
            gone = machine.apply(flushed, self.batch(operation), 1 << 40, 1).decided
            if gone:
                self.lost_trims.append(f"opening {operation.id} trimmed at {box.disk.applied[0]}")

    def forgive(self, box: Box, lost: set[str]) -> None:
        """What only a lost disk had: nobody is to find it again."""
        elsewhere = {op.author for other in self.boxes if other is not box for op in other.disk.remembered()}
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
                while box.applied[0] < self.top:
                    box.feed()
                while box.recalls:
                    box.answer()
                box.sync()
                box.flush()
                box.sync()
            if self.is_quiet():
                return

    def is_quiet(self) -> bool:
        return all(
            not (box.jobs or box.recalls or box.disk.journal or list(box.core._journal))
            and box.applied[0] == self.top == box.disk.applied[0]
            for box in self.boxes
        )
