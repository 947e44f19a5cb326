"""What a status, a driver or an invariant may ask of a node. Reading only: nothing here changes anything.

Leaves out: whatever moves (core.py).
"""

from __future__ import annotations

from replica.raft import membership, snapshots
from replica.raft.memberships import encode_membership
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
        """The latest in the log, committed or not."""
        return self._state.membership

    @property
    def membership_index(self) -> Index:
        """Where the latest membership stands in the log; 0 for the one the log began with."""
        return self._state.memberships.latest_index

    @property
    def membership_is_open(self) -> bool:
        """Whether a step of a change is not committed, or a joint membership not left."""
        return membership.is_open(self._state)

    @property
    def transferring(self) -> bool:
        """Whether this leader hands over: it takes no proposals until that has ended."""
        role = self._state.role
        return isinstance(role, Leader) and role.transfer is not None

    @property
    def election_timeout_ms(self) -> int:
        """The present one, as adapted to the round trips."""
        return self._state.election_timeout_ms

    def membership_at(self, index: Index) -> tuple[Index, bytes]:
        """The membership in force at a committed `index`, as a snapshot carries it: where it stands, and its bytes."""
        at, found = self._state.memberships.at(index)
        return at, encode_membership(found)

    def compaction_index(self, flushed_index: Index, keep_from: Index, sending: Index | None = None) -> Index:
        """Up to which index the log may be dropped (snapshots.py)."""
        return snapshots.compaction_index(self._state, flushed_index, keep_from, sending)

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
                p.round_trip.most_ms,
                p.catch_up is not None and p.catch_up.quick,
                p.same,
            )
            for peer, p in role.progress.items()
        )

    def entry_term(self, index: Index) -> Term | None:
        """The term of the entry at `index`, the not yet durable ones included; None where the log does not reach."""
        return self._state.log.term(index)

    def entries(self, first: Index, last: Index) -> tuple[Entry, ...]:
        """Entries first..last, both included, the not yet durable ones too."""
        return self._state.log.entries(first, last, max_bytes=1 << 62)
