"""A site that may be cut off, as one pure machine: events in, one `Todo` out (decide here, act there).

Its whole promise: a person at this site is never kept waiting and never refused because a cable is cut, is always told
which of "agreed" and "kept here" it is, and every operation kept here gets one verdict, once, in order, whatever dies
in between. The sixteen rules of docs/offline.md are what it takes; each is quoted where it is obeyed.

    Issue → journal → Journalled → send → Arrived (the verdict, by the feed) → Flushed → trim

The parts that keep what a site has do not know each other: ledger (journal, writing, trimming, lives), replay (the
window), receipts (callers), mode, clock, view. This file decides which of them an event concerns. Three more only read
in them, and change nothing: in_charge (who decides), telling (what is told with a read), outcomes (what became of it).

Where a state is put in place that lacks what this site had agreed (a cluster founded anew), that is taken back from
what the store remembers and offered again (ahead.py).

Left out: the snapshot itself and the choice of zone (runtime), the bytes of operations (wire), what an operation does
(cases).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from replica.cases.commands import Opening, Report, Tombstone
from replica.cases.operations import Operation, OperationId
from replica.cases.records import Layer, Overlay, Records
from replica.cases.verdicts import Effects, Verdict
from replica.errors import StoreDamaged
from replica.offline import lives
from replica.offline.ahead import Break, Span, TakenBack, breaks_in
from replica.offline.backlog import Backlog
from replica.offline.clock import SiteClock, is_sure
from replica.offline.deciding import decision_of
from replica.offline.events import (
    AllClosed,
    Arrived,
    Event,
    Flushed,
    Heard,
    Hinted,
    Issue,
    Journalled,
    JournalRefused,
    LineDown,
    LineUp,
    Mode,
    Outcome,
    Previewed,
    Recalled,
    Replaced,
    Tick,
    Todo,
    TurnedAway,
)
from replica.offline.freshness import Freshness
from replica.offline.in_charge import InCharge
from replica.offline.ledger import Ledger
from replica.offline.mode import Change, ModeWatch
from replica.offline.outbox import Outbox
from replica.offline.outcomes import Outcomes
from replica.offline.preview import Preview, Shown, Views
from replica.offline.receipts import Callers
from replica.offline.replay import Replay
from replica.offline.shaping import Shapers
from replica.offline.telling import Telling

DEFAULT_BUDGET_MS = 250
"""A caller's budget where it names none, whatever the mode."""

IDLE_MS = 60_000
"""A core with nothing to wait for wants to be looked at this often."""


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """Times and windows. `forgetful`: the journal does not outlive the process (a zone's own callers), so nobody is
    ever told that something is kept here."""

    cut_off_after_ms: int = 1500
    stable_ms: int = 500
    resend_ms: int = 500
    window_first: int = 256
    window_operations: int = 2048
    window_bytes: int = 1 << 20
    retry_journal_ms: int = 1000
    forgetful: bool = False


class SiteCore:
    """One life of a site's store.

    * `site`: its organisation id. `incarnation`: 16 random bytes drawn for this opening (rule 2).
    * `base`: the replicated state, live: the runtime puts an entry's records in place and then steps `Arrived`, with no
      read and no other event in between. `applied`: its (index, term).
    * `journal`: the records found on disk, in order; `damaged`: (incarnation, seq) of those that could not be read.
    * `latest`: the life before and its durable counter (rule 3); `lives.last_life` finds it.
    * `decided`: looks a verdict up in the local table; `zone_ms`: the latest zone time on disk, 0 for none.
    * `counted`: every life the journal has counted, in order, with its last number. `generation`: how many foundings of
      the cluster this store has gone through, durably; `gone`: the numbers it had to let go then.

    Raises StoreDamaged where the journal has a gap: a person has to look. The first `todo()` holds this life's opening.
    """

    def __init__(
        self,
        site: str,
        incarnation: bytes,
        base: Records,
        applied: tuple[int, int],
        journal: Sequence[Operation],
        latest: tuple[bytes, int] | None,
        config: SiteConfig,
        now_ms: int,
        decided: Callable[[OperationId], tuple[int, Verdict] | None],
        damaged: Sequence[tuple[bytes, int]] = (),
        zone_ms: int = 0,
        counted: Sequence[tuple[bytes, int]] = (),
        generation: int = 0,
        gone: Sequence[Span] = (),
    ) -> None:
        self.site = site
        self.incarnation = incarnation
        self.base = base
        self.config = config
        self.restored = False
        """This store was restored from a backup, or emptied (rule 7)."""
        self.fenced = False
        """Another process has opened this identity: no more operations here (rule 8)."""
        self.drill = False
        """The cut is a drill (the runtime says so): nothing here hangs on it, but every read tells it."""
        self._now_ms = now_ms
        self._applied = applied
        self._ledger = Ledger(site, incarnation, base, config.retry_journal_ms, counted, gone)
        self._journal = self._ledger.journal
        self._callers = Callers()
        self._modes = ModeWatch(now_ms, config.cut_off_after_ms, config.stable_ms)
        self._replay = Replay(config.resend_ms, config.window_first, config.window_operations, config.window_bytes)
        self._view = Views(base)
        self._shapers = Shapers()
        self._clock = SiteClock(max([zone_ms, *(op.clock.wall_ms for op in journal if is_sure(op.clock))]))
        self._in_charge = InCharge(site, self._ledger, self._view, self._shapers)
        self._telling = Telling(self._modes, self._clock, self._view, self._in_charge, self._journal)
        self._outcomes = Outcomes(site, base, self._ledger, decided, config.forgetful)
        self._backlog = Backlog()
        self._heard_commit = 0
        self._look_when_written = False
        """What the state says of this site's lives could not all be acted upon while a write was under way."""
        self.generation = generation
        """How many foundings of the cluster are behind the state in place."""
        self._breaks: tuple[Break, ...] = ()
        self._recalling: dict[bytes, int] = {}
        """Lives that are looked for in what the store remembers, with the gate's number when that was asked."""
        self.taken_back: list[TakenBack] = []
        """What was done about operations that the state lacks, for the runtime to tell; it empties the list."""
        self._number = 0
        self._out = Outbox()
        for ident in self._ledger.take_over(journal, damaged):
            self._out.notes.append(f"damaged: journal record {ident}")
        self._ledger.open(latest, self._clock.read(now_ms, 0))
        self._meet_generation()
        self._look_back()
        if gone:
            self._take_back({}, ())  # a crash may have come between letting go and what follows from it
        for operation in self._ledger.undecided():
            self._shapers.add(operation)
        self._look_again()

    # ------------------------------------------------------------------ the switchboard

    def step(self, *arrived: Event) -> None:
        """Take events in, in order. What follows from them is in the next `todo()`; what only the hour brings is looked
        at once, after the last."""
        for event in arrived:
            self._take(event)
        self._keep_time(self._now_ms)

    def _take(self, event: Event) -> None:
        now_ms = self._now_ms = max(self._now_ms, event.now_ms)
        self._telling.kept = None
        match event:
            case Issue():
                self._issue(event)
            case Journalled(todo=number):
                self._journalled(number)
            case JournalRefused(todo=number, problem=problem):
                self._journal_refused(number, problem)
            case Arrived(effects=effects):
                self._arrived(effects)
            case Replaced(index=index, term=term):
                self._replaced(index, term)
            case Previewed(preview=preview):
                self._previewed(preview)
            case Recalled(recall=recall, operations=operations):
                self._recalled(dict(recall), operations)
            case Flushed(index=index):
                self._ledger.flushed_to(index)
            case Heard(term=term, commit=commit, leader_ms=leader_ms):
                self._heard(term, commit, leader_ms)
            case LineUp():
                self._modes.line_changed()
                self._replay.line_up(now_ms, self._journal)
            case LineDown():
                self._line_down()
            case AllClosed():
                self._line_down()
                self._changed(self._modes.all_closed(now_ms))
            case Hinted():
                self._replay.hinted(now_ms)
            case Tick():
                pass

    def has_todo(self) -> bool:
        """Whether `todo()` would hold anything."""
        return bool(
            self._callers.ready
            or self._ledger.trim
            or self._out.has_any()
            or self._ledger.writing.can_start(self._now_ms)
        )

    def todo(self) -> Todo:
        """Everything that is wanted done now. Carry it out in the order its fields state."""
        self._number += 1
        write = self._ledger.writing.start(self._number) if self._ledger.writing.can_start(self._now_ms) else None
        todo = self._out.todo(self._number, write, self._callers.ready, self._ledger.trim)
        self._callers.ready, self._ledger.trim = [], []
        return todo

    @property
    def deadline_ms(self) -> int:
        """When to step `Tick`, if nothing happens before."""
        due = [
            self._now_ms + IDLE_MS,
            self._modes.deadline_ms(self._now_ms),
            self._replay.deadline_ms(),
            self._callers.deadline_ms(),
            self._ledger.writing.deadline_ms(),
        ]
        return min(at_ms for at_ms in due if at_ms is not None and at_ms > self._now_ms)

    def _keep_time(self, now_ms: int) -> None:
        """All that the hour alone brings. Done after every event, so that no deadline is ever in the past."""
        self._changed(self._modes.tick(now_ms, self.mode is Mode.REPLAYING and self._is_settled))
        for operation in self._callers.overdue(now_ms):
            if self._journal.is_durable(operation) and not self.config.forgetful:
                self._callers.kept(operation)
            else:
                self._callers.not_known(operation)
        self._replay.tick(now_ms, self._journal)
        self._out.send += self._replay.refill(now_ms, self._journal)

    # ------------------------------------------------------------------ issuing

    def _issue(self, issue: Issue) -> None:
        away = self._why_not(issue)
        if away is not None:
            self._callers.ready.append(away)
            return
        operation = self._operation(issue)
        self._ledger.issue(operation)
        self._view.add(operation)
        self._shapers.add(operation)
        self._callers.wait(issue.token, operation.id, issue.now_ms + max(0, issue.budget_ms))

    def _why_not(self, issue: Issue) -> TurnedAway | None:
        """Why this is turned away, before any journal. A command is checked against authority first; a report is never
        refused, cut off or not: it is an emergency's data."""
        payload = issue.payload
        assert not isinstance(payload, Opening | Tombstone), f"{type(payload).__name__} is the core's own to issue"
        if self.fenced:
            why = "another process has opened this site's identity: this one takes no more operations"
            return TurnedAway(issue.token, why)
        if isinstance(payload, Report):
            return None
        return self._in_charge.refusal(issue.token, payload, self.mode is not Mode.CUT_OFF)

    def _operation(self, issue: Issue) -> Operation:
        """Rule 1: id, the author's epoch, the index its state had, its clock, and what was done."""
        clock = self._clock.read(self._now_ms, issue.wall_ms)
        return Operation(
            id=OperationId(self.site, self.incarnation, self._ledger.own.last + 1),
            epoch=self._in_charge.epoch(self._applied),
            seen=self._applied[0],  # not a preview's index: see offline/preview.py
            clock=clock,
            act_ms=issue.act_ms or clock.wall_ms,
            author=issue.author,
            payload=issue.payload,
            have=max(0, self._ledger.flushed.last(self.incarnation)),
            key=issue.key,
        )

    # ------------------------------------------------------------------ the journal

    def _journalled(self, number: int) -> None:
        write = self._ledger.journalled(number)
        if write is None:
            return
        for operation in write.operations:
            self._callers.told.discard(operation.id)
            self._answer(operation.id)
        if self._look_when_written:
            self._look_again()

    def _answer(self, operation: OperationId) -> None:
        """The receipt of a durable operation, as far as one can be given already."""
        run = self._journal.run(operation.incarnation)
        if run is None or operation.seq <= run.decided:
            with suppress(StoreDamaged):  # the caller is then told, when the budget is over, that it is kept here
                found = self.outcome(operation)
                if found.verdict is not None:
                    self._callers.agreed(operation, found.index, found.verdict)
        elif self.mode is Mode.CUT_OFF and self._modes.known and not self.config.forgetful:
            # Nobody is made to wait for a line that is known to be cut.
            self._callers.kept(operation)

    def _journal_refused(self, number: int, problem: str) -> None:
        """A full disk: nothing of the write under way is there, and everything issued since came behind it."""
        unwritten = self._ledger.unwritten(number, self._now_ms)
        if unwritten is None:
            return
        again, away = self._callers.not_written(unwritten, self.incarnation, problem)
        for ident in away:
            self._shapers.remove(ident)
        self._ledger.write_again(again)
        self._view.invalidate()
        self._look_again()

    # ------------------------------------------------------------------ what the feed brings

    def _arrived(self, effects: Effects) -> None:
        assert effects.index > self._applied[0], f"effects of {effects.index} after {self._applied[0]}"
        self._applied = (effects.index, effects.term)
        self._view.reached(self._applied[0])
        if any(decided.id.seq == 0 for decided in effects.decided):
            self._view.invalidate_below()  # a life was opened, somewhere
        own = [decided.id for decided in effects.decided if decided.id.site == self.site]
        self._view.moved((key for key, _ in effects.changes), own)
        opened = False
        for decided in effects.decided:
            if decided.id.site == self.site:
                self._own_decided(decided.id, effects.index, decided.verdict, effects.time_ms)
                opened = opened or decided.id.seq == 0
        if opened:
            self._look_again()
        if any(ident.site == self.site for ident, _ in effects.held):
            self._replay.hinted(self._now_ms)

    def _own_decided(self, ident: OperationId, index: int, verdict: Verdict, agreed_ms: int = 0) -> None:
        """A verdict on an operation of this site, whichever of its lives issued it."""
        self._out.decisions.append(decision_of(self._journal.get(ident), ident, index, verdict, agreed_ms))
        self._ledger.flushed.decided(self._applied[0], ident, index, verdict)
        self._shapers.remove(ident)
        run = self._journal.run(ident.incarnation)
        if run is None:
            return
        self._replay.decided(self._now_ms, run, max(run.decided, ident.seq))
        if ident.seq <= run.durable:
            self._callers.agreed(ident, index, verdict)

    def _replaced(self, index: int, term: int) -> None:
        """A whole state took the place of the old one: the gate says what became of the journal meanwhile."""
        if index < self._applied[0]:
            self._out.notes.append(f"the zones' state goes back from {self._applied[0]} to {index}")
            self._view.drop()
        self._applied = (index, term)
        self._view.reached(self._applied[0])
        self._view.invalidate()
        went_back = self._ledger.went_back()
        for run in list(self._journal.runs):
            self._catch_up_with_gate(run.incarnation)
        self._meet_generation()
        if went_back:
            self._ledger.fit(self._breaks)
            for operation in self._ledger.undecided():
                self._shapers.add(operation)
            self._replay.rewind(self._now_ms, self._journal)
        self._look_back()
        self._look_again()

    def _previewed(self, preview: Preview) -> None:
        if self._view.offer(preview, self._applied[0]):
            self._out.notes.append(f"preview: own cases as of {preview.index}, the rest as of {self._applied[0]}")

    # ------------------------------------------------------------------ ahead of the state: a cluster founded anew

    def _meet_generation(self) -> None:
        """What the state says of foundings that this store has not gone through yet: the history it followed was given
        up. What is undecided says so from now on, and verdicts given there are compared with those given here."""
        if self.config.forgetful:
            return
        self._breaks = breaks_in(self.base)
        new, self.generation = self._breaks[self.generation :], max(self.generation, len(self._breaks))
        if new:
            self._out.notes.append(f"generation: the cluster was founded anew, {len(self._breaks)} times by now")
            for ident, index, verdict in self._outcomes.decided_anew(min(one.agreed for one in new)):
                self._ledger.flushed.lower(ident.incarnation, ident.seq - 1)
                self._own_decided(ident, index, verdict)
        if self._breaks:
            self._ledger.fit(self._breaks)

    def _look_back(self) -> None:
        """Ask for what the state lacks and the journal does not hold any more."""
        lacks = {} if self.config.forgetful else self._ledger.lacking()
        if any(self._recalling.get(incarnation, gate + 1) > gate for incarnation, gate in lacks.items()):
            self._recalling, self._out.recall = lacks, tuple(lacks.items())
            self._out.notes.append(f"ahead: the state lacks what was agreed of {len(lacks)} lives of this site")

    def _recalled(self, answered: Mapping[bytes, int], operations: Sequence[Operation]) -> None:
        """All that the store remembers of the lives `answered`. The gate may have moved meanwhile: where it went back
        once more, this is the answer to an old question, and what it does not name is not missing."""
        lacks = self._ledger.lacking()
        if any(answered.get(incarnation, gate + 1) > gate for incarnation, gate in lacks.items()):
            self._look_back()
            return
        self._recalling, self._out.recall = {}, ()
        self._take_back(lacks, operations)

    def _take_back(self, lacks: Mapping[bytes, int], operations: Sequence[Operation]) -> None:
        taken = self._ledger.take_back(lacks, operations)
        self.taken_back.append(taken)
        for operation in chain(*taken.back, taken.reworded):
            self._shapers.add(operation)
        for back in taken.back:
            self._out.notes.append(f"offered again: {len(back)} operations, the first of them {back[0].id}")
        for span in (*taken.filled, *taken.gone):
            self._out.notes.append(f"missing: {span.incarnation.hex()} {span.first} to {span.last}")
        self._ledger.fit(self._breaks)
        self._view.invalidate()
        self._replay.rewind(self._now_ms, self._journal)
        if self.mode is Mode.REPLAYING:
            self._backlog.add(self._journal.ends())
        self._look_again()

    @property
    def offers_again(self) -> int:
        """How many operations are offered again and have no verdict yet: what is remembered of them is needed."""
        waiting = (operation for run in self._journal.runs for operation in run.offered_again)
        return sum(operation.id.seq > 0 and not isinstance(operation.payload, Tombstone) for operation in waiting)

    @property
    def looks_back(self) -> bool:
        """Whether what is lacking is not found yet, or not decided."""
        return bool(self._recalling) or any(True for run in self._journal.runs for _ in run.offered_again)

    # ------------------------------------------------------------------ lives: restored, fenced, drained

    def _look_again(self) -> None:
        """What the state says of this site's lives: after every opening of this site that was agreed, and after
        whatever else may have changed the answer."""
        self._look_when_written = self._ledger.writing.is_under_way
        current, restored = lives.current_of(self.base, self.site)
        for ident in self._ledger.reopen():
            self._in_charge.reworded()
            self._out.notes.append(f"restored: {ident.incarnation.hex()} opens in place of another life")
            self.restored = True
            self._view.invalidate()
            self._replay.rewind(self._now_ms, self._journal)
        if restored and not self.restored:
            self._out.notes.append("restored: this store is a backup, or was emptied")
            self.restored = True
        own = lives.stream_of(self.base, self.site, self.incarnation)
        if own is not None and own.closed_at is not None and not self.fenced:
            self._out.notes.append(f"fenced: {'nobody' if current is None else current.hex()} is this site's life now")
            self.fenced = True
        self._drain()

    def _drain(self) -> None:
        """Rule 8: closed records go on as a stranger's, and their callers with them. All of them: not while some are
        looked for that the state lacks."""
        moved = [] if self._recalling else self._ledger.drain()
        if not moved:
            return
        for before, after in moved:
            self._callers.renamed(before.id, after.id)
            self._shapers.remove(before.id)
            self._shapers.add(after)
        self._view.invalidate()
        self._replay.rewind(self._now_ms, self._journal)
        self._out.notes.append(f"drained: {len(moved)} records, the first of them {moved[0][0].id}")
        for incarnation in sorted({after.id.incarnation for _, after in moved}):
            # Another process that held the same records may have drained them already.
            self._catch_up_with_gate(incarnation)

    def _catch_up_with_gate(self, incarnation: bytes) -> None:
        """Take from the state what became of a run while no effects were seen."""
        for operation in self._ledger.overtaken(incarnation, self._applied[0]):
            self._own_decided(operation.id, *self._outcomes.in_state(operation.id))

    # ------------------------------------------------------------------ the line and the mode

    def _heard(self, term: int, commit: int, leader_ms: int) -> None:
        is_news, change = self._modes.heard(self._now_ms, term, commit, leader_ms)
        if is_news:
            self._heard_commit = commit
            self._clock.heard(self._now_ms, leader_ms)
            self._replay.heard(self._now_ms, term, self._journal)
        self._changed(change)

    def _line_down(self) -> None:
        self._modes.line_changed()
        self._replay.line_down()
        self._out.send = []

    def _changed(self, change: Change | None) -> None:
        if change is None:
            return
        self._out.mode = change.after
        self._out.notes.append(str(change))
        if change.after is Mode.REPLAYING:
            self._backlog.begin(self._journal.ends(), self._heard_commit)
        elif change.after is Mode.CUT_OFF:
            for operation in self._callers.waiting():
                if self._journal.is_durable(operation):
                    self._answer(operation)

    @property
    def _is_settled(self) -> bool:
        """What a return waits for is done, and what the state lacks is found."""
        return not self._recalling and self._backlog.is_done(self._applied[0], self._journal)

    # ------------------------------------------------------------------ reading

    @property
    def mode(self) -> Mode:
        return self._modes.mode

    @property
    def applied(self) -> tuple[int, int]:
        return self._applied

    def zone_ms(self, now_ms: int) -> int | None:
        """The zones' time, as far as it is known here."""
        return self._clock.zone_ms(now_ms)

    @property
    def breaks(self) -> tuple[Break, ...]:
        """The histories that were given up on the way to the state in place."""
        return self._breaks

    @property
    def undecided(self) -> int:
        """How many operations of this site have no verdict yet."""
        return self._journal.undecided

    def view(self) -> Overlay | Shown:
        """The working view (rule 14), for reading now: ask again for each read, it is remade when the state moves."""
        return self._view.records(self._ledger.undecided)

    @property
    def preview(self) -> Preview | None:
        """What is shown ahead of the copy."""
        return self._view.preview

    @property
    def agreed(self) -> Records:
        """The agreed state as far as it is known here: the copy, with what is shown ahead of it."""
        return self._view.agreed

    @property
    def agreed_up_to(self) -> int:
        """What is read of the view and stands above is tentative."""
        return self._applied[0] if self._view.preview is None else self._view.preview.index

    def known_to(self, subject: tuple[str, str] | None) -> tuple[int, int]:
        """As of which (index, term) a case, resource or request, as (kind, id), is known here."""
        return self._view.known_to(subject, self._applied)

    def prepare_view(self, most: int) -> int:
        """Take at most so many operations more into the view, ahead of who reads it. Returns how many are left."""
        self._view.records(self._ledger.undecided, most)
        return self._view.pending

    def is_tentative(self, prefix: bytes) -> bool:
        """Whether any record whose key begins with `prefix` is in the view otherwise than agreed."""
        changes = self.view().changes
        assert isinstance(changes, Layer), f"the view's changes are a {type(changes).__name__}"
        return bool(changes.beginning(prefix))

    def freshness(self, now_ms: int, owner: str | None = None, subject: tuple[str, str] | None = None) -> Freshness:
        """What holds for a read made now; `owner`: whose case or resource is read (None: this site's own); `subject`:
        which one, as (kind, id), where it is one alone.

        All who read in one turn of the loop are told the same, so it is made once for them."""
        applied, restored, fenced, drill = self._applied, self.restored, self.fenced, self.drill
        return self._telling.freshness(now_ms, owner, subject, applied, restored, fenced, drill)

    def outcome(self, operation: OperationId) -> Outcome:
        """What became of an operation of this site, of this life or an earlier one; a closed one is found under its
        drain. Raises StoreDamaged where the one record that knows cannot be read."""
        return self._outcomes.outcome(operation, self._recalling)
