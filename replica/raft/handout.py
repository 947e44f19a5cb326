"""What has been handed out to the driver, so that nothing is handed out twice and nothing is forgotten.

A Ready has only news: the hard state where it changed, entries that no Ready had, committed entries the state machine
was not given, a standing that is another one. Which hard state is durable is remembered by the number of the Ready that
had it, as the log does for its entries.

Leaves out: what a leader has to say (replication.send_due comes before `take`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replica.raft.ready import Ready, Standing
from replica.raft.state import ROLES, Outbox, State
from replica.raft.types import Entry, HardState, Index, Membership, NodeId, Term


@dataclass(slots=True)
class Handout:
    saved: HardState
    """The hard state as the latest Ready that had one has it; before the first, as the store had it."""
    given_index: Index
    """Up to here the state machine was given what is committed."""
    number: int = 0
    """Of the latest Ready."""
    saving: list[tuple[int, HardState]] = field(default_factory=list)
    """Hard states not known to be durable, by the number of their Ready."""
    given_standing: tuple[type, NodeId, Term] | None = None
    given_membership: Membership | None = None

    def has_news(self, state: State) -> bool:
        """Whether there is anything that no Ready had."""
        return (
            bool(state.outbox)
            or state.hard != self.saved
            or state.log.has_unsaved
            or self.given_index < state.commit_index
            or self.given_membership is not state.membership
            or self.given_standing != (type(state.role), state.leader, state.hard.term)
        )

    def take(self, state: State) -> Ready:
        """The next Ready."""
        self.number += 1
        outbox, state.outbox = state.outbox, Outbox()
        if outbox.install is not None:
            self.given_index = outbox.install.index
        return Ready(
            number=self.number,
            send_now=tuple(outbox.send_now),
            install=outbox.install,
            hard_state=self._take_hard_state(state),
            entries=state.log.take_unsaved(self.number),
            send_saved=tuple(outbox.send_saved),
            committed=self._take_committed(state),
            commit_index=state.commit_index,
            accepted=tuple(outbox.accepted),
            refused=tuple(outbox.refused),
            reads=tuple(outbox.reads),
            transfers=tuple(outbox.transfers),
            snapshots=tuple(outbox.snapshots),
            membership=self._take_membership(state),
            standing=self._take_standing(state),
            notes=tuple(outbox.notes),
        )

    def persisted(self, number: int) -> HardState | None:
        """Ready `number` and all before it are saved: the hard state that became durable, None for no other one."""
        assert number <= self.number, f"Persisted({number}), the latest Ready is {self.number}"
        durable = None
        while self.saving and self.saving[0][0] <= number:
            durable = self.saving.pop(0)[1]
        return durable

    def _take_hard_state(self, state: State) -> HardState | None:
        if state.hard == self.saved:
            return None
        self.saved = state.hard
        self.saving.append((self.number, self.saved))
        return self.saved

    def _take_committed(self, state: State) -> tuple[Entry, ...]:
        """What the state machine has not been given: in order, each once, a bounded piece at a time."""
        taken = state.log.entries(self.given_index + 1, state.commit_index, state.config.max_apply_bytes)
        self.given_index += len(taken)
        return taken

    def _take_standing(self, state: State) -> Standing | None:
        standing = (type(state.role), state.leader, state.hard.term)
        if standing == self.given_standing:
            return None
        self.given_standing = standing
        return Standing(ROLES[type(state.role)], state.leader, state.term)

    def _take_membership(self, state: State) -> Membership | None:
        if state.membership is self.given_membership:
            return None
        self.given_membership = state.membership
        return self.given_membership
