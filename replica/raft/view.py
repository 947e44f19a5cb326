"""What a status, a driver or an invariant may ask of a node. Reading only: nothing here changes anything.

Leaves out: whatever moves (core.py).
"""

from __future__ import annotations

from replica.raft.progress import ProgressView
from replica.raft.state import ROLES, Leader, State
from replica.raft.types import Entry, HardState, Index, Membership, NodeId, Role, Term


class View:
    """The reading half of `Raft`."""

    _state: State

    @property
    def role(self) -> Role:
        return ROLES[type(self._state.role)]

    @property
    def term(self) -> Term:
        return self._state.term

    @property
    def vote(self) -> NodeId:
        return self._state.hard.vote

    @property
    def hard_state(self) -> HardState:
        """As decided; what of it is durable only the driver knows better than this node's own messages."""
        return self._state.hard

    @property
    def leader(self) -> NodeId:
        return self._state.leader

    @property
    def commit_index(self) -> Index:
        return self._state.commit_index

    @property
    def first_index(self) -> Index:
        return self._state.log.first_index

    @property
    def last_index(self) -> Index:
        return self._state.log.last_index

    @property
    def stable_index(self) -> Index:
        """Durable up to here, and no Ready to come replaces any of it."""
        return self._state.log.stable_index

    @property
    def membership(self) -> Membership:
        return self._state.membership

    @property
    def progress(self) -> tuple[ProgressView, ...]:
        """A leader's followers by id; of any other role nothing."""
        role = self._state.role
        if not isinstance(role, Leader):
            return ()
        return tuple(
            ProgressView(
                peer,
                p.phase,
                p.match_index,
                p.next_index,
                len(p.inflight),
                p.inflight_bytes,
                p.heard_ms,
                peer in role.readmissions,
            )
            for peer, p in role.progress.items()
        )

    def entry_term(self, index: Index) -> Term | None:
        """The term of the entry at `index`, the not yet durable ones included; None where the log does not reach."""
        return self._state.log.term(index)

    def entries(self, first: Index, last: Index) -> tuple[Entry, ...]:
        """Entries first..last, both included, the not yet durable ones too."""
        return self._state.log.entries(first, last, max_bytes=1 << 62)
