"""Sending: the whole journal in order, again from where the gate stands, and never more at once than the window.

Rule 16: "Send the whole journal in order. Replies are hints; the feed is the truth." So nothing here counts replies.
What has left and is not decided yet is *in flight*; when the feed shows that the gate moved on, the window is refilled.
A rewind sends again from the gate's `last` + 1; what was in flight may arrive twice, and the gate calls it duplicate.
Rewinds come

* when a line comes up;
* when a heartbeat shows a new term: what the old leader had not agreed may be gone. Once per term, and at once, since
  every millisecond of it is seen by a caller;
* when a zone hints at a gap, not more often than every `resend_ms`;
* when nothing was decided for `resend_ms`, and then ever more seldom (up to `MOST_BACKOFF` times), so that sites do not
  pour the same backlog into a quorum that is down.

The window begins small after each rewind and doubles with what is decided, as TCP does: a backlog of 100,000 reaches
full speed within some round trips, and a site that shouts into the void shouts briefly.

Left out: fairness between sites, which is the zones' admission; encoding. Bytes are estimated: a window does not need
more."""

from __future__ import annotations

from collections.abc import Iterator

from replica.cases.commands import AddNote, Report
from replica.cases.operations import Operation
from replica.offline.journal import Journal, Run

MOST_BACKOFF = 8
OVERHEAD_BYTES = 160
"""An operation's id, clock, author and framing, roughly."""


def weight_bytes(operation: Operation) -> int:
    """About how many bytes the operation has when encoded."""
    payload = operation.payload
    match payload:
        case Report():
            facts = [fact for subject in payload.subjects for fact in subject.facts]
            texts = sum(len(fact.field) + len(fact.value) + len(fact.key) + 16 for fact in [*facts, *payload.documents])
            return OVERHEAD_BYTES + texts
        case AddNote():
            return OVERHEAD_BYTES + len(payload.text)
        case _:
            return OVERHEAD_BYTES


class Replay:
    """What has been sent on the present line and what may follow. `now_ms` is the core's clock in every call."""

    __slots__ = (
        "_backoff",
        "_first",
        "_in_flight_bytes",
        "_most_bytes",
        "_most_operations",
        "_moved_ms",
        "_resend_ms",
        "_rewind_at_ms",
        "_rewound_ms",
        "_term",
        "_window",
        "in_flight",
        "is_up",
    )

    def __init__(self, resend_ms: int, first_operations: int, most_operations: int, most_bytes: int) -> None:
        self.is_up = False
        self.in_flight = 0
        """Operations sent on this line and not decided yet."""
        self._in_flight_bytes = 0
        self._resend_ms = resend_ms
        self._first = first_operations
        self._most_operations = most_operations
        self._most_bytes = most_bytes
        self._window = first_operations
        self._term = 0
        self._moved_ms = 0
        """When something was decided, or sent into an empty window, last."""
        self._rewound_ms = 0
        self._rewind_at_ms: int | None = None
        """When a rewind that was hinted at is due."""
        self._backoff = 1

    def line_up(self, now_ms: int, journal: Journal) -> None:
        self.is_up = True
        self._backoff = 1
        self.rewind(now_ms, journal)

    def line_down(self) -> None:
        self.is_up = False
        self._rewind_at_ms = None

    def heard(self, now_ms: int, term: int, journal: Journal) -> None:
        """A confirmed heartbeat; a new term rewinds."""
        if term <= self._term:
            return
        known, self._term = self._term, term
        if known and self.is_up and self.in_flight:
            self._backoff = 1
            self.rewind(now_ms, journal)

    def hinted(self, now_ms: int) -> None:
        """A zone did not take something: go back, but not more often than every `resend_ms`."""
        if self.is_up and self.in_flight and self._rewind_at_ms is None:
            self._rewind_at_ms = max(now_ms, self._rewound_ms + self._resend_ms)

    def decided(self, now_ms: int, run: Run, last: int) -> None:
        """The gate of `run` has moved to `last`: make room, and believe the line a little more."""
        room = max(0, min(run.sent, last) - run.decided)
        for seq in range(run.decided + 1, run.decided + 1 + room):
            operation = run.get(seq)
            self._in_flight_bytes -= 0 if operation is None else weight_bytes(operation)
        self.in_flight -= room
        run.decided = last
        run.sent = max(run.sent, last)
        self._moved_ms = now_ms
        self._backoff = 1
        self._window = min(self._most_operations, self._window + max(room, 0))

    def rewind(self, now_ms: int, journal: Journal) -> None:
        """Everything undecided counts as not sent."""
        for run in journal.runs:
            run.sent = run.decided
        self.in_flight = self._in_flight_bytes = 0
        self._window = self._first
        self._rewound_ms = self._moved_ms = now_ms
        self._rewind_at_ms = None

    def tick(self, now_ms: int, journal: Journal) -> None:
        """Rewind where a hint is due, or where nothing moves."""
        if not self.is_up or not self.in_flight:
            return
        if self._rewind_at_ms is not None and now_ms >= self._rewind_at_ms:
            self.rewind(now_ms, journal)
        elif now_ms >= self._moved_ms + self._resend_ms * self._backoff:
            self._backoff = min(MOST_BACKOFF, self._backoff * 2)
            self.rewind(now_ms, journal)

    def deadline_ms(self) -> int | None:
        """When `tick` would do something; None where only an event can."""
        if not self.is_up or not self.in_flight:
            return None
        stalled_ms = self._moved_ms + self._resend_ms * self._backoff
        return stalled_ms if self._rewind_at_ms is None else min(stalled_ms, self._rewind_at_ms)

    def refill(self, now_ms: int, journal: Journal) -> list[Operation]:
        """What may leave now: durable records (rule 9), in order, while the window has room."""
        if not self.is_up or self.in_flight >= self._window:
            return []
        if not self.in_flight:
            self._moved_ms = now_ms
        sent = []
        for run, operation in self._sendable(journal):
            if self.in_flight >= self._window or self._in_flight_bytes >= self._most_bytes:
                break
            run.sent = operation.id.seq
            self.in_flight += 1
            self._in_flight_bytes += weight_bytes(operation)
            sent.append(operation)
        return sent

    def _sendable(self, journal: Journal) -> Iterator[tuple[Run, Operation]]:
        for run in journal.runs:
            if run.held:
                return
            for operation in run.after(run.sent):
                if operation.id.seq > run.durable:
                    break
                yield run, operation
