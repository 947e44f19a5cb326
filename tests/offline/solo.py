"""One core, and the test in the place of disk, line and zones: what goes in, and exactly what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from replica.cases import generations, machine, queries
from replica.cases.commands import AddNote, ChangePriority, Fact, Opening, Payload, Report, Subject
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.verdicts import Effects, Verdict
from replica.offline import events
from replica.offline.ahead import Span
from replica.offline.core import SiteConfig, SiteCore
from replica.offline.events import Todo
from tests.offline.world import JUMP, NOON, A, B, Memory

LIFE = bytes([7] * 16)
CASE = f"{A}.case1"
ReceiptT = TypeVar("ReceiptT", bound=events.Receipt)


def note(text: str = "breathing") -> AddNote:
    return AddNote(CASE, text, text)


def report(case: str = CASE, owner: str = A) -> Report:
    return Report(f"m-{case}", "RS-EDA", owner, (Subject("case", case, (Fact("owner", owner),), owner, creates=True),))


class Solo:
    """`now_ms` is the test's clock. `zone` is the agreed state; `base` the site's copy of it."""

    def __init__(
        self,
        *,
        life: bytes = LIFE,
        journal: Sequence[Operation] = (),
        latest: tuple[bytes, int] | None = None,
        config: SiteConfig | None = None,
        damaged: Sequence[tuple[bytes, int]] = (),
        zone: Memory | None = None,
        index: int = 0,
        zone_ms: int = 0,
        knows_case: bool = True,
        bad: Iterable[bytes] = (),
        counted: Sequence[tuple[bytes, int]] = (),
        generation: int = 0,
        gone: Sequence[Span] = (),
        local: Mapping[OperationId, tuple[int, Verdict]] | None = None,
    ) -> None:
        self.now_ms = 1000
        self.tokens = 0
        self.term = 1
        self.zone = Memory() if zone is None else zone
        self.index = index
        self.local = dict(local or {})
        self.done: list[Todo] = []
        self.remembered: list[Operation] = list(journal)
        """All that was ever in the journal of this store."""
        self.journal: list[Operation] = []
        """Every record asked to be journalled, in order."""
        self._sent: list[Operation] = []
        self._asked = self._written = 0
        """The last write asked for, and the last one answered."""
        if knows_case and zone is None:
            self.partner(Opening(None, 0, None), 0)
            self.partner(report(), 1)
        self.base = Memory(dict(self.zone.records))
        self.base.bad.update(bad)
        self.core = SiteCore(
            site=A,
            incarnation=life,
            base=self.base,
            applied=(self.index, self.term),
            journal=list(journal),
            latest=latest,
            config=config or SiteConfig(),
            now_ms=self.now_ms,
            decided=self.local.get,
            damaged=damaged,
            zone_ms=zone_ms,
            counted=counted,
            generation=generation,
            gone=gone,
        )
        self.work()

    # --- the core's side ---

    def step(self, event: events.Event) -> list[Todo]:
        self.core.step(event)
        return self.work()

    def work(self) -> list[Todo]:
        """Take every Todo there is."""
        taken = []
        while self.core.has_todo():
            taken.append(self.core.todo())
        self.done += taken
        for todo in taken:
            self.journal += todo.journal
            self.remembered += todo.journal
            self._sent += todo.send
            self._asked = todo.number if todo.journal or todo.rewrite else self._asked
            self.local.update({one.operation: (one.index, one.verdict) for one in todo.decisions})
        return taken

    def issue(self, payload: Payload | None = None, budget_ms: int = 250, wall_ms: int = NOON, key: str = "") -> int:
        self.tokens += 1
        said = note(f"n{self.tokens}") if payload is None else payload
        self.step(events.Issue(self.now_ms, wall_ms, self.tokens, said, "arm", budget_ms, key=key))
        return self.tokens

    def journalled(self) -> list[Todo]:
        """The last write asked for is durable, and those that follow from that."""
        taken: list[Todo] = []
        while self._asked > self._written:
            self._written = self._asked
            taken += self.step(events.Journalled(self.now_ms, self._asked))
        return taken

    def refused(self) -> list[Todo]:
        self._written = self._asked
        return self.step(events.JournalRefused(self.now_ms, self._asked, "the disk is full"))

    def pass_ms(self, ms: int) -> list[Todo]:
        self.now_ms += ms
        return self.step(events.Tick(self.now_ms))

    def line_up(self) -> list[Todo]:
        return self.step(events.LineUp(self.now_ms, 1))

    def hear(self, term: int = 1) -> list[Todo]:
        return self.step(events.Heard(self.now_ms, term, self.index, NOON + self.now_ms))

    def cut(self) -> list[Todo]:
        taken = self.step(events.LineDown(self.now_ms, 1, True))
        return taken + self.step(events.AllClosed(self.now_ms))

    def connected(self) -> Solo:
        """Opened, heard, and its opening agreed."""
        self.journalled()
        self.line_up()
        self.hear()
        self.agree(*self.sent())
        return self

    # --- what came out ---

    def sent(self) -> list[Operation]:
        """Every operation sent, in order, repeats included."""
        return self._sent

    def forget(self) -> None:
        """Look only at what comes from here on."""
        self.done, self.journal, self._sent = [], [], []

    def receipts(self, kind: type[ReceiptT]) -> list[ReceiptT]:
        return [one for todo in self.done for one in todo.receipts if isinstance(one, kind)]

    def notes(self) -> list[str]:
        return [text for todo in self.done for text in todo.notes]

    def trims(self) -> list[tuple[bytes, int]]:
        return [one for todo in self.done for one in todo.trim]

    # --- the zones' side ---

    def partner(self, payload: Payload, seq: int) -> Effects:
        """Another site's operation is agreed, unseen by this one."""
        ident = OperationId(B, bytes([9] * 16), seq)
        return self.take(Operation(ident, 1, 0, HybridTime(NOON), NOON, "partner", payload))

    def take(self, operation: Operation) -> Effects:
        self.index += 1
        effects = machine.apply(self.zone, Batch(NOON + self.now_ms, 1, (operation,)), self.index, self.term)
        self.zone.change(effects.changes)
        return effects

    def feed(self, effects: Effects) -> list[Todo]:
        self.base.change(effects.changes)
        return self.step(events.Arrived(self.now_ms, effects))

    def agree(self, *operations: Operation) -> list[Todo]:
        """The log takes them, and the feed brings it."""
        return [todo for operation in operations for todo in self.feed(self.take(operation))]

    def replaced(self) -> list[Todo]:
        self.base.records.clear()
        self.base.bad.clear()
        self.base.records.update(self.zone.records)
        return self.step(events.Replaced(self.now_ms, self.index, self.term))

    def found_anew(self, state: dict[bytes, bytes], index: int, tail: Sequence[Operation] = ()) -> None:
        """The cluster goes on from a zone that had `state`, as of `index`, and behind it `tail`, never agreed.
        Nobody has told the site yet."""
        self.zone.records, self.index = dict(state), index
        for operation in tail:
            self.take(operation)
        life = bytes([90 + queries.generation(self.zone)] * 16)
        made = generations.operations(self.zone, "zone-1", life, "operator", NOON, "c", index, "c")
        self.index, self.term = self.index + JUMP, self.term + 1
        self.zone.change(machine.apply(self.zone, Batch(NOON + self.now_ms, 1, made), self.index, self.term).changes)

    def recalls(self) -> list[tuple[tuple[bytes, int], ...]]:
        return [todo.recall for todo in self.done if todo.recall]

    def recalled(
        self, found: Iterable[Operation] | None = None, recall: tuple[tuple[bytes, int], ...] | None = None
    ) -> list[Todo]:
        """What is remembered of what was asked for last; all of it, where nothing else is said."""
        recall = self.recalls()[-1] if recall is None else recall
        above = dict(recall)
        found = self.remembered if found is None else found
        back = tuple(one for one in found if one.id.seq > above.get(one.id.incarnation, one.id.seq))
        return self.step(events.Recalled(self.now_ms, recall, back))

    def flush(self) -> list[Todo]:
        return self.step(events.Flushed(self.now_ms, self.core.applied[0]))


def priority(value: str) -> ChangePriority:
    return ChangePriority(CASE, value)
