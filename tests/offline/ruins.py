"""Broken variants: one rule of docs/offline.md left out each, so that the checkers can be seen to catch it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from replica.cases import gate, keys
from replica.cases.commands import Opening
from replica.cases.draft import Draft, drafted
from replica.cases.gate import Gate
from replica.cases.machine import apply_tentative
from replica.cases.operations import Operation, OperationId
from replica.cases.records import Records
from replica.cases.state import Stream
from replica.cases.verdicts import Effects, Verdict
from replica.offline.core import SiteCore
from replica.offline.flushed import FlushedGate
from replica.offline.ledger import Ledger
from replica.offline.view import TENTATIVE_INDEX, WorkingView
from tests.offline.world import Ruin


@contextmanager
def no_order() -> Iterator[Ruin]:
    """Rule 5 without order: a number above the next is taken, and what was below it is then a duplicate."""
    judge, consume = gate.judge, gate.consume

    def any_above(records: Records, operation: Operation, mine: bool = False) -> Gate:
        passed = judge(records, operation, mine)
        stream = gate.load_stream(drafted(records), operation.id.site, operation.id.incarnation)
        above = stream is not None and operation.id.seq > stream.last
        return Gate.OK if passed is Gate.GAP and above and not isinstance(operation.payload, Opening) else passed

    def jump(draft: Draft, operation: Operation) -> Stream:
        ident = operation.id
        stream = gate.load_stream(draft, ident.site, ident.incarnation)
        assert stream is not None
        draft.put(keys.stream(ident.site, ident.incarnation), replace(stream, last=ident.seq - 1))
        return consume(draft, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "judge", any_above)
        patch.setattr(gate, "consume", jump)
        yield Ruin()


@contextmanager
def trim_at_the_feed() -> Iterator[Ruin]:
    """Rule 15 without *flushed*: what the feed calls duplicate is trimmed."""
    decided = FlushedGate.decided

    def at_once(self: FlushedGate, at_index: int, ident: OperationId, index: int, verdict: Verdict) -> None:
        decided(self, at_index, ident, index, verdict)
        self.opened(ident.incarnation, max(ident.seq, self.last(ident.incarnation)))

    arrived = SiteCore._arrived

    def and_trim(self: SiteCore, effects: Effects) -> None:
        arrived(self, effects)
        self._ledger.let_go()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlushedGate, "decided", at_once)
        patch.setattr(SiteCore, "_arrived", and_trim)
        yield Ruin()


@contextmanager
def counted_incarnations() -> Iterator[Ruin]:
    """Rule 2 with a counter on the disk: a restored backup counts the same again."""
    yield Ruin(counted_incarnations=True)


@contextmanager
def view_without_gate() -> Iterator[Ruin]:
    """Rule 14 without the gate: the state and the whole journal, whatever the state holds already."""

    def whatever(self: WorkingView, operation: Operation) -> None:
        overlay, ident = self._overlay, operation.id
        assert overlay is not None
        stream = gate.load_stream(drafted(overlay), ident.site, ident.incarnation)
        if stream is not None and ident.seq > 0:
            ident = OperationId(ident.site, ident.incarnation, stream.last + 1)
        apply_tentative(overlay, replace(operation, id=ident), TENTATIVE_INDEX, operation.clock.wall_ms)

    def everything(self: WorkingView, changed: Iterable[bytes], decided: Collection[OperationId]) -> None:
        self.invalidate()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkingView, "moved", everything)
        patch.setattr(WorkingView, "_take_in", whatever)
        patch.setattr(Ledger, "undecided", lambda self: iter(self.journal))
        yield Ruin()


@contextmanager
def early_receipts() -> Iterator[Ruin]:
    """Rule 9 without the wait: what was asked of the disk is taken for durable."""
    yield Ruin(early_receipts=True)


@contextmanager
def no_seen_test() -> Iterator[Ruin]:
    """Rule 10 with "same site" as seen, and everything else too: every write replaces what stands there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "seen", lambda draft, operation, other, index: True)
        yield Ruin()


@contextmanager
def no_drain() -> Iterator[Ruin]:
    """Rule 8 without draining: closed records stay where they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "drain", lambda self: [])
        yield Ruin()


@contextmanager
def no_replacing() -> Iterator[Ruin]:
    """Rule 7 without writing the opening anew: it claims to follow its own predecessor for ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "reopen", lambda self: [])
        yield Ruin()


@contextmanager
def old_epochs_decide() -> Iterator[Ruin]:
    """Rule 12 without the epoch: whoever owns the case is in charge, taken over or not."""
    from replica.cases import authority

    def owner_only(act: object, head: object) -> bool:
        return head is not None and getattr(head, "owner", "") == act.site  # type: ignore[attr-defined]  # an Act

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authority, "has_authority", owner_only)
        for name in ("subjects", "decisions", "reports", "owners", "engagement", "charges", "missions"):
            module = __import__(f"replica.cases.{name}", fromlist=[name])
            if hasattr(module, "has_authority"):
                patch.setattr(module, "has_authority", owner_only)
        yield Ruin()


@contextmanager
def no_looking_back() -> Iterator[Ruin]:
    """O17 without looking back: what the state lacks and the journal has let go of is nowhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "lacking", lambda self: {})
        yield Ruin()
