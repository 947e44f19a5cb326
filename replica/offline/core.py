"""A site that may be cut off, as one pure machine: events in, one `Todo` out (STYLE: decide here, act there).

Its whole promise: a person at this site is never kept waiting and never refused because a cable is cut, is always told
which of "agreed" and "kept here" it is, and every operation kept here gets one verdict, once, in order, whatever dies
in between. The sixteen rules of docs/offline.md are what it takes; each is quoted where it is obeyed.

    Issue → journal → Journalled → send → Arrived (the verdict, by the feed) → Flushed → trim

Only one durable write is asked for at a time. What is issued meanwhile waits for the next one: that is the group
commit, and it means that a write refused by a full disk never has a later one behind it that was taken.

The core's parts do not know each other: lives (openings, drains), journal (runs), replay (the window), receipts
(callers), mode, clock, view. This file decides which of them an event concerns.

Left out: the snapshot itself and the choice of zone (runtime), the bytes of operations (wire), what an operation does
(cases). Later: a cluster's `generation` (a state that goes back is named here, not yet set aside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from replica.cases import authority, queries, registry
from replica.cases.commands import Opening, Payload, Report, Tombstone
from replica.cases.draft import drafted
from replica.cases.operations import Operation, OperationId
from replica.cases.records import Overlay, Records
from replica.cases.verdicts import Effects, Verdict, VerdictKind
from replica.offline import lives
from replica.offline.clock import SiteClock, is_sure
from replica.offline.events import (
    AllClosed,
    Arrived,
    Decision,
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
    Replaced,
    Tick,
    Todo,
    TurnedAway,
)
from replica.offline.flushed import FlushedGate
from replica.offline.freshness import Freshness
from replica.offline.journal import Journal, Run, runs_found
from replica.offline.mode import Change, ModeWatch
from replica.offline.receipts import Callers
from replica.offline.replay import Replay
from replica.offline.shaping import Shapers
from replica.offline.view import WorkingView
from replica.offline.writing import Writing

DEFAULT_BUDGET_MS = 250
"""A caller's budget where it names none, whatever the mode."""

IDLE_MS = 60_000
"""A core with nothing to wait for wants to be looked at this often."""


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """Times and windows. `forgetful`: the journal does not outlive the process (a zone's own callers), so nobody is
    ever
    told that something is kept here."""

    cut_off_after_ms: int = 1500
    stable_ms: int = 500
    resend_ms: int = 500
    window_first: int = 64
    window_operations: int = 2048
    window_bytes: int = 1 << 20
    retry_journal_ms: int = 1000
    forgetful: bool = False


class SiteCore:
    """One life of a site's store.

    * `site`: its organisation id. `incarnation`: 16 random bytes drawn for this opening (rule 2).
    * `base`: the replicated state, live: the runtime puts an entry's records in place and then steps `Arrived`, with no
      read
      and no other event in between. `applied`: its (index, term).
    * `journal`: the records found on disk, in order; `damaged`: (incarnation, seq) of those that could not be read.
    * `latest`: the life before and its durable counter (rule 3); `lives.last_life` finds it.
    * `decided`: looks a verdict up in the local table; `zone_ms`: the latest zone time on disk, 0 for none.

    Raises StoreDamaged where the journal has a gap. Nothing is decided before the first `todo()` was carried out: its
    journal
    holds this life's opening.
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
    ) -> None:
        self.site = site
        self.incarnation = incarnation
        self.base = base
        self.config = config
        self.restored = False
        """This store was restored from a backup, or emptied (rule 7)."""
        self.fenced = False
        """Another process has opened this identity: no more operations here (rule 8)."""
        self._now_ms = now_ms
        self._applied = applied
        self._decided = decided
        self._journal = Journal()
        self._callers = Callers()
        self._modes = ModeWatch(now_ms, config.cut_off_after_ms, config.stable_ms)
        self._replay = Replay(config.resend_ms, config.window_first, config.window_operations, config.window_bytes)
        self._view = WorkingView(base)
        self._writing = Writing(config.retry_journal_ms)
        self._flushed = FlushedGate()
        self._shapers = Shapers()
        self._drained: dict[bytes, int] = {}
        """Incarnation → `closed_at`, of the lives whose records above that are in a drain (rule 8)."""
        self._leftovers: dict[bytes, int] = {}
        """Incarnation → the last of its records that are still on disk though a drain holds them."""
        self._backlog: dict[bytes, int] = {}
        """What has to be decided before a return is complete: incarnation → number."""
        self._heard_commit = self._catch_up = 0
        self._number = 0
        self._send: list[Operation] = []
        self._decisions: list[Decision] = []
        self._trim: list[tuple[bytes, int]] = []
        self._mode_out: Mode | None = None
        self._notes: list[str] = []
        self._clock = SiteClock(max([zone_ms, *(op.clock.wall_ms for op in journal if is_sure(op.clock))]))
        self._take_over_journal(journal, damaged)
        self._open(latest)
        self._look_again()

    # ------------------------------------------------------------------ opening

    def _take_over_journal(self, found: Sequence[Operation], damaged: Sequence[tuple[bytes, int]]) -> None:
        """What is on disk. The base is as flushed now, so what its gate calls duplicate may go at once (rule 15)."""
        mended = lives.mend(self.base, self.site, found, damaged)
        runs = runs_found(self.site, found, mended)
        self._drained = lives.drains_in(runs, self.base, self.site)
        for run in runs:
            # A drain was journalled in one write with every record it drains: those are in it, or decided.
            drained_from = self._drained.get(run.incarnation)
            if drained_from is not None and run.last > drained_from:
                self._leftovers[run.incarnation] = run.last
                run.cut_after(drained_from)
            self._journal.open(run)
            stream = lives.stream_of(self.base, self.site, run.incarnation)
            if stream is not None:
                run.decided = run.sent = stream.last
                self._flushed.opened(run.incarnation, stream.last)
        self._let_go()
        for operation in mended:
            self._reword(operation, f"damaged journal record {operation.id}")
        for operation in self._undecided_operations():
            self._shapers.add(operation)

    def _open(self, latest: tuple[bytes, int] | None) -> None:
        """Rule 3: "seq 0 of the incarnation, journalled like any operation"."""
        if latest is not None and lives.is_drain(latest[0]):
            latest = self._life_before_drain(latest)
        clock = self._clock.read(self._now_ms, 0)
        opening = lives.opening(self.site, self.incarnation, latest, clock)
        self._journal.open(Run(self.incarnation, [opening])).durable = -1
        self._writing.add([opening])
        self._shapers.add(opening)

    def _life_before_drain(self, drain: tuple[bytes, int]) -> tuple[bytes, int] | None:
        """Which life came before, where the journal counted a drain last: the one that journalled beside it, else the
        one
        that was drained, all of whose records above its closing have a number in the drain."""
        own = [run for run in self._journal.runs if not lives.is_drain(run.incarnation)]
        if own:
            return own[-1].incarnation, own[-1].last
        for source, closed_at in sorted(self._drained.items()):
            if lives.drain_incarnation(source, closed_at) == drain[0]:
                return source, closed_at + drain[1]
        stream = lives.stream_of(self.base, self.site, drain[0])
        if stream is None or stream.prev is None:
            return None
        return stream.prev, stream.prev_last + drain[1]

    # ------------------------------------------------------------------ the switchboard

    def step(self, event: Event) -> None:
        """Take one event in. What follows from it is in the next `todo()`."""
        now_ms = self._now_ms = max(self._now_ms, event.now_ms)
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
            case Flushed(index=index):
                self._flushed_to(index)
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
        self._keep_time(now_ms)

    def has_todo(self) -> bool:
        """Whether `todo()` would hold anything."""
        return bool(
            self._send
            or self._callers.ready
            or self._decisions
            or self._trim
            or self._notes
            or self._mode_out is not None
            or self._writing.can_start(self._now_ms)
        )

    def todo(self) -> Todo:
        """Everything that is wanted done now. Carry it out in the order its fields state."""
        self._number += 1
        write = self._writing.start(self._number) if self._writing.can_start(self._now_ms) else None
        todo = Todo(
            number=self._number,
            journal=() if write is None else write.operations,
            rewrite=() if write is None else write.rewrites,
            send=tuple(self._send),
            receipts=tuple(self._callers.ready),
            decisions=tuple(self._decisions),
            trim=tuple(self._trim),
            mode=self._mode_out,
            notes=tuple(self._notes),
        )
        self._send, self._callers.ready, self._decisions, self._trim = [], [], [], []
        self._mode_out, self._notes = None, []
        return todo

    @property
    def deadline_ms(self) -> int:
        """When to step `Tick`, if nothing happens before."""
        due = [
            self._now_ms + IDLE_MS,
            self._modes.deadline_ms(),
            self._replay.deadline_ms(),
            self._callers.deadline_ms(),
            self._writing.deadline_ms(),
        ]
        return min(at_ms for at_ms in due if at_ms is not None and at_ms > self._now_ms)

    def _keep_time(self, now_ms: int) -> None:
        """All that the hour alone brings. Done after every event, so that no deadline is ever in the past."""
        self._changed(self._modes.tick(now_ms, self._is_settled))
        for operation in self._callers.overdue(now_ms):
            if self._journal.is_durable(operation) and not self.config.forgetful:
                self._callers.kept(operation)
            else:
                self._callers.not_known(operation)
        self._replay.tick(now_ms, self._journal)
        self._send += self._replay.refill(now_ms, self._journal)

    # ------------------------------------------------------------------ issuing

    def _issue(self, issue: Issue) -> None:
        why = self._why_not(issue.payload)
        if why is not None:
            self._callers.ready.append(TurnedAway(issue.token, why))
            return
        operation = self._operation(issue)
        self._own.append(operation)
        self._writing.add([operation])
        self._writing.issued()
        self._view.add(operation)
        self._shapers.add(operation)
        self._callers.wait(issue.token, operation.id, issue.now_ms + max(0, issue.budget_ms))

    def _why_not(self, payload: Payload) -> str | None:
        """Why this is turned away, before any journal. "A command is checked against authority first; cut off or not,
        an
        emergency's data is never refused." (DOMAIN.md)"""
        assert not isinstance(payload, Opening | Tombstone), f"{type(payload).__name__} is the core's own to issue"
        if self.fenced:
            return "another process has opened this site's identity: this one takes no more operations"
        if isinstance(payload, Report):
            return None
        records: Records = self.view() if self._shapers.may_change(payload) else self.base
        answer = authority.permitted(records, self.site, payload, self.mode is not Mode.CUT_OFF)
        return answer.reason if answer.kind is authority.PermissionKind.REFUSED else None

    def _operation(self, issue: Issue) -> Operation:
        """Rule 1: id, the author's epoch, the index its state had, its clock, and what was done."""
        clock = self._clock.read(self._now_ms, issue.wall_ms)
        records: Records = self.view() if self._shapers.may_change_epochs else self.base
        return Operation(
            id=OperationId(self.site, self.incarnation, self._own.last + 1),
            epoch=authority.epoch_of(records, self.site),
            seen=self._applied[0],
            clock=clock,
            act_ms=issue.act_ms or clock.wall_ms,
            author=issue.author,
            payload=issue.payload,
            have=max(0, self._flushed.last(self.incarnation)),
            key=issue.key,
        )

    # ------------------------------------------------------------------ the journal

    def _reword(self, operation: Operation, note: str) -> None:
        """Put another wording in a record's place. Nothing of its life leaves before that is durable (rule 9)."""
        run = self._journal.run(operation.id.incarnation)
        if run is None or run.get(operation.id.seq) is None:
            return
        run.put(operation)
        run.held = self._writing.reword(operation) or run.held
        self._view.invalidate()
        self._notes.append(note)

    def _journalled(self, number: int) -> None:
        write = self._writing.done(number)
        if write is None:
            return
        for operation in write.operations:
            run = self._journal.run(operation.id.incarnation)
            if run is not None:
                run.durable = max(run.durable, min(operation.id.seq, run.last))
            self._callers.told.discard(operation.id)
            self._answer(operation.id)
        for operation in write.rewrites:
            run = self._journal.run(operation.id.incarnation)
            if run is not None:
                run.held = self._writing.is_reworded(operation.id.incarnation)
        self._leftovers.update(write.leftovers)
        self._let_go()
        self._look_again()

    def _answer(self, operation: OperationId) -> None:
        """The receipt of a durable operation, as far as one can be given already."""
        run = self._journal.run(operation.incarnation)
        if run is None or operation.seq <= run.decided:
            found = self.outcome(operation)
            if found.verdict is not None:
                self._callers.agreed(operation, found.index, found.verdict)
        elif self.mode is Mode.CUT_OFF and self._modes.known and not self.config.forgetful:
            # Nobody is made to wait for a line that is known to be cut.
            self._callers.kept(operation)

    def _journal_refused(self, number: int, problem: str) -> None:
        """A full disk: nothing of the write under way is there, and everything issued since came behind it.

        Callers who still wait are told that it is surely not done, and those numbers are free again: they never left
        this
        process. But a caller who was told `NotKnown` may ask for its operation by name, so that one keeps its number
        and is
        tried again; a number below it that was turned away is filled with a tombstone, since rule 5 allows no gap.
        """
        unwritten = self._writing.refused(number, self._now_ms)
        if unwritten is None:
            return
        kept_to = max((ident.seq for ident in self._callers.told if ident.incarnation == self.incarnation), default=0)
        remaining = []
        for operation in unwritten:
            ident = operation.id
            run = self._journal.run(ident.incarnation)
            present = None if run is None else run.get(ident.seq)
            if present is None:
                continue
            if not self._callers.waits_for(ident):
                remaining.append(present)
                continue
            self._callers.turned_away(ident, problem, full=True)
            self._shapers.remove(ident)
            if ident.seq <= kept_to or ident.incarnation != self.incarnation:
                filler = lives.tombstone(ident, "turned away: the disk was full")
                self._journal.put(filler)
                remaining.append(filler)
        own = [operation.id.seq for operation in remaining if operation.id.incarnation == self.incarnation]
        self._own.cut_after(max(own, default=self._own.durable))
        self._writing.keep(remaining)
        for run in self._journal.runs:
            run.held = self._writing.is_reworded(run.incarnation)
        self._view.invalidate()
        self._look_again()

    # ------------------------------------------------------------------ what the feed brings

    def _arrived(self, effects: Effects) -> None:
        assert effects.index > self._applied[0], f"effects of {effects.index} after {self._applied[0]}"
        self._applied = (effects.index, effects.term)
        if effects.changes:
            self._view.invalidate()
        opened = False
        for decided in effects.decided:
            if decided.id.site == self.site:
                self._own_decided(decided.id, effects.index, decided.verdict)
                opened = opened or decided.id.seq == 0
        if opened:
            self._look_again()
        if any(ident.site == self.site for ident, _ in effects.held):
            self._replay.hinted(self._now_ms)

    def _own_decided(self, ident: OperationId, index: int, verdict: Verdict) -> None:
        """A verdict on an operation of this site, whichever of its lives issued it."""
        self._decisions.append(Decision(ident, index, verdict))
        self._flushed.decided(self._applied[0], ident, index, verdict)
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
            self._notes.append(f"the zones' state goes back from {self._applied[0]} to {index}")
        self._applied = (index, term)
        self._view.invalidate()
        went_back = False
        for run in self._journal.runs:
            stream = lives.stream_of(self.base, self.site, run.incarnation)
            last = -1 if stream is None else stream.last
            went_back = went_back or last < run.decided
            run.decided = min(run.decided, last)
            for operation in list(run.after(run.decided)):
                if operation.id.seq <= last:
                    self._own_decided(operation.id, *self._verdict_in_state(operation.id))
        if went_back:
            self._flushed.went_back()
            self._replay.rewind(self._now_ms, self._journal)
        self._look_again()

    def _verdict_in_state(self, ident: OperationId) -> tuple[int, Verdict]:
        """ "A number ≤ `last` with no kept verdict was applied." The index it had is not known any more."""
        return queries.verdict_of(self.base, ident) or (0, Verdict(VerdictKind.APPLIED))

    def _flushed_to(self, index: int) -> None:
        self._flushed.flushed(index)
        self._let_go()

    def _let_go(self) -> None:
        """Trim (rule 15): "only what the gate calls duplicate in the *flushed* state … look again after each fsync and
        flush"."""
        for incarnation, closed_at in sorted(self._drained.items()):
            if incarnation in self._leftovers and self._flushed.last(incarnation) >= closed_at:
                self._trim.append((incarnation, self._leftovers.pop(incarnation)))
        for run in list(self._journal.runs):
            upto = min(self._flushed.last(run.incarnation), run.durable)
            if run.operations and run.first <= upto:
                self._trim.append((run.incarnation, upto))
                self._writing.forget(operation.id for operation in run.drop_through(upto))
            if not run.operations and run.incarnation != self.incarnation:
                self._journal.close(run)

    # ------------------------------------------------------------------ lives: restored, fenced, drained

    def _look_again(self) -> None:
        """What the state says of this site's lives: after each opening of this site that was agreed, and each
        replacement."""
        current, restored = lives.current_of(self.base, self.site)
        if restored and not self.restored:
            self.restored = True
            self._notes.append("restored: this store is a backup, or was emptied")
        for run in list(self._journal.runs):
            self._reopen(run)
        own = lives.stream_of(self.base, self.site, self.incarnation)
        if own is not None and own.closed_at is not None and not self.fenced:
            self.fenced = True
            self._notes.append(f"fenced: {'nobody' if current is None else current.hex()} is this site's life now")
        if not self._writing.is_under_way:
            for run in list(self._journal.runs):
                self._drain(run)

    def _reopen(self, run: Run) -> None:
        """Rule 7: "On *stale* the site marks itself restored and writes its opening anew"."""
        first = run.get(0)
        if first is None or run.decided >= 0:
            return
        again = lives.reopened(self.base, first)
        if again is not None:
            self.restored = True
            self._reword(again, f"restored: {run.incarnation.hex()} opens in place of another life")

    def _drain(self, run: Run) -> None:
        """Rule 8: "sends its *closed* records, unsynced ones too, under a `drain` incarnation". Also the closed records
        of an
        earlier life of this store, which nobody else may have. Never while a write is under way: it may be refused."""
        stream = lives.stream_of(self.base, self.site, run.incarnation)
        if stream is None or stream.closed_at is None or run.last <= stream.closed_at:
            return
        closed_at, durable = stream.closed_at, run.durable
        closed = run.cut_after(closed_at)
        self._writing.forget(operation.id for operation in closed)
        drained = lives.relabelled(self.site, closed, run.incarnation, closed_at)
        self._drained[run.incarnation] = closed_at
        for before, after in zip(closed, drained[1:], strict=True):
            self._callers.renamed(before.id, after.id)
            self._shapers.remove(before.id)
        self._journal_drain(drained)
        if durable > closed_at:
            self._writing.leave(run.incarnation, durable)
        self._notes.append(f"drained: {len(closed)} records of {run.incarnation.hex()} above {closed_at}")
        self._replay.rewind(self._now_ms, self._journal)
        self._view.invalidate()

    def _journal_drain(self, drained: Sequence[Operation]) -> None:
        """Somebody with the same records may have drained them already: what the gate has counted is decided."""
        run = self._journal.open(Run(drained[0].id.incarnation, drained))
        run.durable = -1
        self._writing.add(drained)
        stream = lives.stream_of(self.base, self.site, run.incarnation)
        last = -1 if stream is None else stream.last
        for operation in drained:
            if operation.id.seq <= last:
                self._own_decided(operation.id, *self._verdict_in_state(operation.id))
            else:
                self._shapers.add(operation)

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
        self._send = []

    def _changed(self, change: Change | None) -> None:
        if change is None:
            return
        self._mode_out = change.after
        self._notes.append(str(change))
        if change.after is Mode.REPLAYING:
            self._backlog, self._catch_up = self._journal.ends(), self._heard_commit
        elif change.after is Mode.CUT_OFF:
            for operation in self._callers.waiting():
                if self._journal.is_durable(operation):
                    self._answer(operation)

    @property
    def _is_settled(self) -> bool:
        """What was here before the return is decided, and the feed has caught up with what was agreed then."""
        if self._applied[0] < self._catch_up:
            return False
        for incarnation in sorted(self._backlog):
            run = self._journal.run(incarnation)
            if run is None or run.decided >= min(self._backlog[incarnation], run.last):
                del self._backlog[incarnation]
        return not self._backlog

    # ------------------------------------------------------------------ reading

    @property
    def mode(self) -> Mode:
        return self._modes.mode

    @property
    def applied(self) -> tuple[int, int]:
        return self._applied

    @property
    def undecided(self) -> int:
        """How many operations of this site have no verdict yet."""
        return self._journal.undecided

    def view(self) -> Overlay:
        """The working view (rule 14), for reading now: ask again for each read, it is remade when the state moves."""
        return self._view.records(self._undecided_operations(), self._applied[0])

    def is_tentative(self, prefix: bytes) -> bool:
        """Whether any record whose key begins with `prefix` is in the view otherwise than agreed."""
        return any(key.startswith(prefix) for key in self.view().changes)

    def freshness(self, now_ms: int, owner: str | None = None) -> Freshness:
        """What holds for a read made now; `owner`: whose case or resource is read (None: this site's own)."""
        draft = drafted(self.view())
        asked = self.site if owner is None else owner
        charge = authority.charge_of(draft, registry.site_of(draft, asked) or asked)
        confirmed_ms = self._modes.confirmed_ms
        return Freshness(
            mode=self.mode,
            index=self._applied[0],
            term=self._applied[1],
            confirmed_age_ms=None if confirmed_ms is None else max(0, now_ms - confirmed_ms),
            authority=charge.holder,
            epoch=charge.epoch,
            unconfirmed_since_ms=self._unconfirmed_since_ms(confirmed_ms),
            clock_unsure=self._clock.unsure,
            undecided=self.undecided,
            restored=self.restored,
            fenced=self.fenced,
        )

    def outcome(self, operation: OperationId) -> Outcome:
        """What became of an operation of this site, of this life or an earlier one; a closed one is found under its
        drain."""
        operation = self._present_id(operation)
        known = self._flushed.verdict(operation) or self._decided(operation)
        if known is not None:
            return Outcome("agreed", *known)
        if self._journal.is_durable(operation):
            run = self._journal.run(operation.incarnation)
            if run is None or operation.seq > run.decided:
                return Outcome("unknown" if self.config.forgetful else "journalled")
        stream = lives.stream_of(self.base, operation.site, operation.incarnation)
        if stream is not None and operation.seq <= stream.last:
            return Outcome("agreed", *self._verdict_in_state(operation))
        return Outcome("unknown")

    @property
    def _own(self) -> Run:
        run = self._journal.run(self.incarnation)
        assert run is not None, "the own life has no run"
        return run

    def _undecided_operations(self) -> Iterator[Operation]:
        for run in self._journal.runs:
            yield from run.after(run.decided)

    def _present_id(self, operation: OperationId) -> OperationId:
        closed_at = self._drained.get(operation.incarnation)
        if closed_at is None:
            stream = lives.stream_of(self.base, operation.site, operation.incarnation)
            closed_at = None if stream is None else stream.closed_at
        if closed_at is None or operation.seq <= closed_at or self._journal.get(operation) is not None:
            return operation
        return lives.drained_id(operation, closed_at)

    def _unconfirmed_since_ms(self, confirmed_ms: int | None) -> int | None:
        if self.mode is not Mode.CUT_OFF:
            return None
        return 0 if confirmed_ms is None else self._clock.zone_ms(confirmed_ms) or 0
